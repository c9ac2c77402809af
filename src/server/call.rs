//! One request and its response: the application is called, its body is asked for block by block, and what was used is given back.
//!
//! PEP 3333, "Specification Details"; docs/rules.md P-ERR-01 to P-ERR-06, P-LEN, P-BODY. A [`Call`] begins in a thread of the pool. When the
//! client takes no more of the response it moves into the connection, without a thread, and goes on in whichever thread finds that everything
//! was sent. The application runs under `catch_unwind`, and so does every step of its body: a panic is a 500 while nothing was sent, a visible
//! abort after that, and never the end of the thread (with `panic = "abort"` it is the end of the process: that is what the setting says).

use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::bounds::Seat;
use super::connection::Connection;
use super::failure::Failure;
use super::reader::{Coding, ContentState, Reader};
use super::refusal::text_of;
use super::response::{Response, WriteEnd, hold};
use super::send::{Flushed, PIECE, TURN};
use super::settings::after;
use super::shared::{Shared, lock};
use super::upgrade::Leave;
use crate::cause::Cause;
use crate::door::{Content, Facts, Request};
use crate::gateway::{Block, Body, Environ, Errors, Gateway, Headers, Kind, Receiver, StartResponse};
use crate::http::framing::Delimiter;
use crate::log::{Access, Answer, Report, ToLog};

/// A request that is being answered.
pub(super) struct Call {
    shared: Arc<Shared>,
    pub(super) environ: Environ,
    start_response: StartResponse,
    /// The identity of the `start_response`: an application could exchange it for another.
    own: usize,
    response: Arc<Mutex<Response>>,
    body: Body,
    begin: Instant,
    /// When the application gave what was asked for last.
    pub(super) answered: Instant,
    /// Whether the body has given a block that is not empty; since when it has given nothing but empty ones, and until when it rests.
    has_block: bool,
    empty: Option<(Instant, Instant)>,
    /// While the body is asked for more than its first block.
    seat: Option<Seat>,
    /// Everything that will be sent is in the queue.
    is_finished: bool,
    /// What becomes of the connection when that is out.
    pub(super) leave: Option<Leave>,
}

/// How far a response has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Produced {
    /// Everything was sent, or is gathered to be sent with the next response.
    All,
    /// The client, a sender of blocks, or other connections come first.
    Waits,
}

/// What a call leaves behind for its connection.
pub(super) struct After {
    /// Content that has not been read.
    pub(super) unread: Option<Coding>,
    pub(super) keep_alive: bool,
    /// The response is sent with the next one.
    pub(super) is_gathered: bool,
    /// What the protocol says behind the response.
    pub(super) replies: Vec<u8>,
}

/// Empty blocks in a row before the others have their turn, and how long that lasts at least.
const EMPTY_BLOCKS: usize = 64;
const EMPTY_PAUSE: Duration = Duration::from_millis(10);

impl Call {
    pub(super) fn new(shared: &Arc<Shared>) -> Call {
        let mut environ = Environ::new(Gateway::default());
        environ.set_errors(Errors::new(Arc::new(ToLog(Arc::clone(&shared.log)))));
        let response = Arc::new(Mutex::new(Response::new(shared)));
        let start_response = StartResponse::new(Box::new(WriteEnd(Arc::clone(&response))));
        let now = Instant::now();
        Call {
            shared: Arc::clone(shared),
            environ,
            own: start_response.id(),
            start_response,
            response,
            body: Body::empty(),
            begin: now,
            answered: now,
            has_block: false,
            empty: None,
            seat: None,
            is_finished: false,
            leave: None,
        }
    }

    pub(super) fn response(&self) -> MutexGuard<'_, Response> {
        lock(&self.response)
    }

    /// How many bytes of memory it holds for its client: what is unsent, and what an unusual request has said.
    pub(super) fn memory(&self) -> usize {
        const USUAL: usize = 8 * 1024;
        self.response().queue.memory() + self.environ.memory().saturating_sub(USUAL)
    }

    /// Fills the environ with a request that is still in the buffer of its connection.
    pub(super) fn fill(&mut self, request: &Request<'_>, connection: &Connection) {
        let dropped = request.fill(&mut self.environ, &connection.origin, &connection.peer);
        self.shared.counters.count_dropped_fields(dropped);
    }

    /// Calls the application for the request that the environ was filled with, and sends what it answers as far as the client takes it.
    /// `seat` is for content that has to be waited for.
    pub(super) fn start(
        &mut self,
        connection: &mut Connection,
        mut facts: Facts,
        seat: Option<Seat>,
        gathers: bool,
        now: Instant,
    ) -> Produced {
        connection.buffer.consume(facts.head_len);
        (self.begin, self.answered) = (now, now);
        (self.has_block, self.empty, self.is_finished) = (false, None, facts.is_options_asterisk);
        let content = std::mem::replace(&mut facts.content, Content::None);
        let gathers = gathers && matches!(content, Content::None) && !connection.buffer.is_empty();
        let content_state = self.open_input(connection, content, facts.expects_continue, seat);
        let mut response = lock(&self.response);
        response.begin(&connection.socket, facts, content_state, gathers);
        // Earlier answers have been gathered in it. This call may last, unlike those: the monitor sends them then.
        if !response.queue.is_empty() && connection.socket.set_waiting(false).is_ok() {
            hold(&mut response, &self.response);
        }
        drop(response);
        if self.is_finished {
            self.response().answer_asterisk();
        } else if let Err(failure) = self.call() {
            return self.fail(failure, connection);
        }
        self.go_on(connection)
    }

    /// Goes on where the client, a sender or the others came first.
    pub(super) fn go_on(&mut self, connection: &Connection) -> Produced {
        self.produce().unwrap_or_else(|failure| self.fail(failure, connection))
    }

    /// Puts the content of the request where the application reads it.
    fn open_input(
        &mut self,
        connection: &mut Connection,
        content: Content,
        expects_continue: bool,
        seat: Option<Seat>,
    ) -> Option<Arc<Mutex<ContentState>>> {
        let opened = Coding::of(content, &self.shared.policy).map(|coding| {
            let expects_continue = expects_continue && connection.buffer.is_empty();
            let state = Arc::new(Mutex::new(ContentState { expects_continue, seat, ..ContentState::default() }));
            let buffer = std::mem::take(&mut connection.buffer);
            let reader = Reader::new(&self.shared, &connection.socket, buffer, coding, &state);
            (Box::new(reader) as Box<dyn BufRead + Send>, state)
        });
        let (reader, content_state) = opened.unzip();
        self.environ.open_input(reader);
        content_state
    }

    /// Ends the application's access to the content: what is left of it comes back, unless a reader outlives this.
    fn close_input(&self) -> Option<Arc<Mutex<ContentState>>> {
        let content_state = self.response().content_state.clone()?;
        self.environ.close_input();
        Some(content_state)
    }

    fn call(&mut self) -> Result<(), Failure> {
        self.start_response.reset();
        let Call { shared, environ, start_response, body, .. } = self;
        let called = catch_unwind(AssertUnwindSafe(|| {
            // A deferred body runs the application once more, to start late (P-SR-10).
            *body = shared.application.call(environ, start_response).resolve(start_response);
        }));
        self.answered = Instant::now();
        // What the hooks of middleware hold ends with the call, however that ends, and so does a panic in it.
        let ended = catch_unwind(AssertUnwindSafe(|| self.start_response.end())).map_err(Failure::of_panic);
        called.map_err(Failure::of_panic)?;
        ended?;
        if self.is_spoiled() {
            // Nothing can be said on this connection any more.
            return Err(Failure::new(Cause::NotStarted, "the start_response was exchanged for another"));
        }
        if let Some(misuse) = self.start_response.misuse() {
            return Err(Failure::new(misuse.cause(), misuse.detail()));
        }
        if let Kind::Failed(error) = self.body.kind() {
            return Err(Failure::of_error(&**error, Cause::ApplicationError));
        }
        let upgrade = self.body.take_upgrade(self.start_response.status(), &self.environ);
        if let Some(upgrade) = upgrade.map_err(|wrong| Failure::new(Cause::UpgradeMisused, wrong))? {
            self.leave = Some(Leave::prepare(upgrade, &mut lock(&self.response), &self.shared)?);
        }
        match self.body.known_len() {
            Some(known) if !self.start_response.is_sent() => self.begin_whole(known),
            _ => Ok(()),
        }
    }

    /// The head of a body whose length is known, and the body if it is in memory.
    fn begin_whole(&mut self, known: u64) -> Result<(), Failure> {
        // A reader outlives the call, or more is to come than will be drained: the head can still say that the connection ends.
        let drain = self.shared.settings.drain;
        let stays = self.close_input().is_none_or(|state| lock(&state).is_soon_over(drain));
        let mut response = lock(&self.response);
        response.keep_alive &= stays;
        self.make_head(&mut response, Some(known))?;
        let body = self.body.kind();
        match std::mem::take(body) {
            _ if response.drops_content() => {}
            Kind::Bytes(block) => response.push(block),
            Kind::List(blocks) => blocks.for_each(|block| response.push(block)),
            kind => *body = kind,
        }
        if let (Kind::Range(range), Some(Delimiter::Length(declared))) = (body, response.delimiter) {
            if range.left > declared {
                response.failure = Some(Cause::BodyLong);
                range.left = declared;
            }
        }
        Ok(())
    }

    fn make_head(&self, response: &mut Response, known: Option<u64>) -> Result<(), Failure> {
        match (self.start_response.status(), self.start_response.headers()) {
            _ if response.head_is_made() => {}
            (Some(status), Some(headers)) => {
                response.make_head((status.code(), status.text()), headers, known);
            }
            _ => return Err(Failure::new(Cause::NotStarted, "")),
        }
        Ok(())
    }

    /// Asks the body for block after block, each on its way before the next is asked for (P-BODY-01). The head goes with the first that is
    /// not empty, so that until then an error can still become a 500 (P-SR-06).
    fn produce(&mut self) -> Result<Produced, Failure> {
        let mut moved = 0;
        loop {
            let next = if self.is_finished { Poll::Pending } else { self.next()? };
            let is_pending = next.is_pending();
            let mut response = lock(&self.response);
            let ends = match next {
                Poll::Pending => false,
                Poll::Ready(None) => {
                    // No block at all is a body of length 0.
                    self.make_head(&mut response, Some(0))?;
                    true
                }
                Poll::Ready(Some(block)) => {
                    self.answered = Instant::now();
                    (self.has_block, self.empty) = (true, None);
                    moved += block.len();
                    self.make_head(&mut response, None)?;
                    response.push(block);
                    let is_long = response.failure == Some(Cause::BodyLong) && response.is_complete();
                    let ends = response.drops_content() || is_long;
                    if !ends && response.may_be_held(self.answered) {
                        hold(&mut response, &self.response);
                        continue;
                    }
                    ends
                }
            };
            if ends {
                response.finish();
                self.is_finished = true;
            }
            if self.is_finished && response.is_gathering() {
                return Ok(Produced::All);
            }
            match response.flush().map_err(|error| Failure::new(Cause::ClientGone, error))? {
                Flushed::Whole if self.is_finished => return Ok(Produced::All),
                Flushed::Whole if !is_pending && moved < TURN && !self.shared.seats.is_wanted() => {}
                Flushed::Whole | Flushed::Partly(_) | Flushed::Turn => return Ok(Produced::Waits),
            }
        }
    }

    /// What the body gives next, if that is not waited for. To be asked for more than its first block it takes a seat: without one it waits
    /// for its turn.
    fn next(&mut self) -> Result<Poll<Option<Block>>, Failure> {
        match self.body.kind() {
            Kind::Empty => return Ok(Poll::Ready(None)),
            Kind::Range(range) if range.left == 0 => return Ok(Poll::Ready(None)),
            Kind::Channel(receiver) => {
                // Middleware may change its blocks, and panic.
                let took = catch_unwind(AssertUnwindSafe(|| receiver.take())).map_err(Failure::of_panic)?;
                return Ok(took.map_err(Failure::of_body)?);
            }
            _ => {}
        }
        if self.has_block && !self.take_seat() {
            return Ok(Poll::Pending);
        }
        if let Kind::Range(range) = self.body.kind() {
            let length = usize::try_from(range.left).unwrap_or(PIECE).min(PIECE);
            let memory = lock(&self.response).queue.take_spare(length);
            let piece = range.read(memory).map_err(|error| Failure::new(Cause::BodyShort, error))?;
            return Ok(Poll::Ready(Some(piece.into())));
        }
        for _ in 0..EMPTY_BLOCKS {
            let next = catch_unwind(AssertUnwindSafe(|| self.body.next_block())).map_err(Failure::of_panic)?;
            match next.transpose().map_err(Failure::of_body)? {
                Some(block) if block.is_empty() => {}
                next => return Ok(Poll::Ready(next)),
            }
        }
        let now = Instant::now();
        let since = self.empty.map_or(now, |(since, _)| since);
        if now.saturating_duration_since(since) >= self.shared.settings.response_stall {
            return Err(Failure::new(Cause::BodyFailed, "nothing but empty blocks"));
        }
        // The answer will be the same in a moment.
        self.empty = Some((since, after(now, EMPTY_PAUSE)));
        Ok(Poll::Pending)
    }

    fn take_seat(&mut self) -> bool {
        self.seat = self.seat.take().or_else(|| self.shared.seats.try_take());
        self.seat.is_some()
    }

    /// The response cannot go on: another status while nothing is out, a visible end otherwise. What was produced before that goes out.
    fn fail(&mut self, Failure { mut cause, mut detail }: Failure, connection: &Connection) -> Produced {
        // An error of reading, passed on by the application, is the client's and not the application's.
        if let Some(of_input) = self.close_input().and_then(|state| lock(&state).failure) {
            (cause, detail) = (of_input, String::new());
        }
        (self.is_finished, self.leave) = (true, None);
        let is_own = cause.number() >= 4000;
        let mut response = lock(&self.response);
        let answer = if !response.is_sound() {
            response.cut(None);
            Answer::Cut
        } else if response.is_complete() && is_own {
            // The client gets all that was promised; only the application is not content.
            response.finish();
            Answer::Sent
        } else if response.head_is_made() || self.is_spoiled() {
            // No last chunk, fewer bytes than promised: the client sees that the response is not whole (P-ERR-04).
            response.keep_alive = false;
            Answer::Cut
        } else {
            let status = cause.status().unwrap_or(500);
            response.keep_alive &= is_own;
            let (text, headers) = (text_of(status), Headers::from(&[("Content-Type", "text/plain")]));
            let body = format!("{}\n", text.split_at(4).1);
            response.make_head((status, text), &headers, Some(body.len() as u64));
            response.push(body.into_bytes().into());
            response.finish();
            Answer::Status(status)
        };
        response.failure = None;
        drop(response);
        self.report(cause, answer, &detail, connection);
        // The client may be gone as well.
        self.produce().unwrap_or_else(|_| {
            self.response().cut(None);
            Produced::All
        })
    }

    /// Ends the call: what the application must know, what the log says, what goes back to the connection.
    pub(super) fn finish(&mut self, connection: &mut Connection) -> After {
        let (failure, is_large, status, is_cut) = {
            let response = self.response();
            let is_short = response.failure == Some(Cause::BodyShort);
            let is_cut = is_short || !response.is_sound() && !response.keep_alive;
            (response.failure, response.head_is_large, response.status, is_cut)
        };
        if let Some(cause) = failure {
            self.report(cause, if is_cut { Answer::Cut } else { Answer::Sent }, "", connection);
        }
        if is_large {
            self.report(Cause::HeadLarge, Answer::Sent, "", connection);
        }
        if let Some(error) = self.start_response.take_replaced() {
            self.report(Cause::ApplicationError, Answer::Status(status), &error, connection);
        }
        // Also that of a reader which outlives this: none of the pool's threads waits for it.
        self.leave_seats();
        // Where the client did not take the head of it.
        self.leave = None;
        // Before the next request on the connection, whatever happened (P-BODY-04).
        let closes_late = self.body.closes_late();
        for _ in 0..self.body.close() {
            self.report(Cause::ClosePanic, Answer::Sent, "", connection);
        }
        if closes_late {
            self.answered = Instant::now();
        }
        self.close_input();
        let mut response = lock(&self.response);
        let mut unread = response.content_state.take().and_then(|state| {
            let mut state = lock(&state);
            // Without what is left, a reader outlives the call. What it reads belongs to nobody now, so the connection ends.
            response.keep_alive &= state.failure.is_none() && state.left.is_some();
            let (buffer, coding) = state.left.take()?;
            connection.buffer = buffer;
            Some(coding)
        });
        let (keep_alive, is_gathered) = (response.keep_alive, response.is_gathering() && self.is_finished);
        let bytes = response.end(is_gathered);
        drop(response);
        let lasted = self.answered.saturating_duration_since(self.begin);
        self.shared.access(&Access { environ: &self.environ, status, bytes, begin: self.begin }, lasted);
        let mut replies = Vec::new();
        if let Some(Coding::Door(reader)) = &mut unread {
            replies = reader.replies();
            if keep_alive {
                reader.finish();
            }
        }
        After { unread: unread.filter(|coding| !coding.is_end()), keep_alive, is_gathered, replies }
    }

    /// Whether the application has kept the `start_response`: this call is not used again then.
    pub(super) fn is_spoiled(&self) -> bool {
        self.start_response.id() != self.own
    }

    /// Whether it is done with but for what the application does with the connection.
    pub(super) fn leaves(&self) -> bool {
        let is_out = |response: &Response| response.failure.is_none() && response.queue.is_empty();
        self.leave.is_some() && self.is_finished && is_out(&self.response())
    }

    /// Whether a thread can go on with it, everything so far being sent. Takes a seat where the application is to be asked for more.
    pub(super) fn may_go_on(&mut self) -> bool {
        match self.body.kind() {
            _ if self.is_finished => true,
            Kind::Channel(receiver) => receiver.is_ready(),
            _ if self.empty.is_some_and(|(_, rests_until)| Instant::now() < rests_until) => false,
            _ => self.take_seat(),
        }
    }

    /// Where its blocks come from, if another thread sends them.
    pub(super) fn receiver(&mut self) -> Option<&mut Receiver> {
        match self.body.kind() {
            Kind::Channel(receiver) if !self.is_finished => Some(receiver),
            _ => None,
        }
    }

    /// Gives back what it needs only in a thread.
    pub(super) fn leave_seats(&mut self) {
        self.seat = None;
        if let Some(state) = &self.response().content_state {
            lock(state).seat = None;
        }
    }

    /// Gives memory back while the client takes nothing: a piece of a file can be read again.
    pub(super) fn rest(&mut self) {
        const KEPT: usize = 4 * 1024;
        if let Kind::Range(range) = self.body.kind() {
            range.rewind(lock(&self.response).take_back(KEPT));
        }
    }

    /// Gives up what is unsent. Whichever thread finds it closes the body, and says in the log what happened.
    pub(super) fn cut(&mut self, cause: Cause) {
        self.is_finished = true;
        self.response().cut(Some(cause));
    }

    pub(super) fn report(&self, cause: Cause, answer: Answer, detail: &str, connection: &Connection) {
        let target = self.environ.bytes("REQUEST_URI").unwrap_or_default();
        let mut request = [self.environ.method().as_bytes(), target].join(&b' ');
        request.truncate(200);
        self.shared.error(&Report { cause, peer: connection.peer.address, request: &request, answer, detail });
    }
}
