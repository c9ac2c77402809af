//! One request and its response: the application is called, its body is asked for block by block, and what was used is given back.
//!
//! PEP 3333, "Specification Details"; docs/rules.md P-ERR-01 to P-ERR-06, P-LEN, P-BODY. A [`Call`] begins in a thread of the pool. When the
//! client takes no more of the response it moves into the connection, without a thread, and goes on in whichever thread finds that everything
//! was sent. The application runs under `catch_unwind`, and so does every step of its body: a panic is a 500 while nothing was sent, a visible
//! abort after that, and never the end of the thread (with `panic = "abort"` it is the end of the process: that is what the setting says).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::bounds::Seat;
use super::connection::Connection;
use super::failure::{Failure, error_text};
use super::reader::{Coding, ContentState, Reader};
use super::refusal::reason_of;
use super::response::{Response, WriteEnd, hold};
use super::send::{Flushed, PIECE, TURN};
use super::settings::after;
use super::shared::{Shared, lock};
use crate::cause::Cause;
use crate::door::{Content, Facts, Request};
use crate::gateway::{Block, Body, Environ, Gateway, Headers, Kind, Receiver, StartResponse};
use crate::log::{Access, Answer, Report};

/// A request that is being answered.
pub(super) struct Call {
    shared: Arc<Shared>,
    environ: Environ,
    start_response: StartResponse,
    /// The identity of the `start_response`: an application could exchange it for another.
    own: u64,
    response: Arc<Mutex<Response>>,
    /// Where the request has content.
    content: Option<Arc<Mutex<ContentState>>>,
    body: Body,
    begin: Instant,
    /// When the application gave what was asked for last.
    pub(super) answered: Instant,
    /// Whether the body has given a block that is not empty, and since when it has given nothing but empty ones.
    has_block: bool,
    empty_since: Option<Instant>,
    rests_until: Instant,
    /// Whether anything was added to the response since it last waited.
    has_moved: bool,
    /// While the body is asked for more than its first block.
    seat: Option<Seat>,
    /// Everything that will be sent is in the queue.
    is_finished: bool,
    /// What went wrong stands in the log.
    is_reported: bool,
    /// The connection was given up while the call waited in it.
    is_cut: bool,
    request_line: Vec<u8>,
}

/// How far a response has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Produced {
    /// Everything was sent, or is gathered to be sent with the next response.
    All,
    /// The client, a sender of blocks, or other connections come first.
    Waits,
}

/// What a body gives.
enum Next {
    Block(Block),
    /// Nothing for the moment.
    Nothing,
    End,
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
        environ.set_errors(shared.errors());
        let response = Arc::new(Mutex::new(Response::new(shared)));
        let start_response = StartResponse::new(Box::new(WriteEnd(Arc::clone(&response))));
        let now = Instant::now();
        Call {
            shared: Arc::clone(shared),
            environ,
            own: start_response.id(),
            start_response,
            response,
            content: None,
            body: Body::empty(),
            begin: now,
            answered: now,
            has_block: false,
            empty_since: None,
            rests_until: now,
            has_moved: false,
            seat: None,
            is_finished: false,
            is_reported: false,
            is_cut: false,
            request_line: Vec::new(),
        }
    }

    pub(super) fn response(&self) -> MutexGuard<'_, Response> {
        lock(&self.response)
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
        facts: Facts,
        seat: Option<Seat>,
        gathers: bool,
        now: Instant,
    ) -> Produced {
        connection.buffer.consume(facts.head_len);
        (self.begin, self.answered) = (now, now);
        (self.has_block, self.empty_since) = (false, None);
        (self.is_finished, self.is_reported, self.is_cut) = (false, false, false);
        let gathers = gathers && matches!(facts.content, Content::None) && !connection.buffer.is_empty();
        let facts = self.open_input(connection, facts, seat);
        let is_asterisk = facts.is_options_asterisk;
        self.response().begin(&connection.socket, facts, self.content.clone(), gathers);
        if is_asterisk {
            self.response().answer_asterisk(now);
            self.is_finished = true;
        } else if let Err(failure) = self.call() {
            return self.fail(failure, connection);
        }
        self.go_on(connection)
    }

    /// Goes on where the client, a sender or the others came first.
    pub(super) fn go_on(&mut self, connection: &Connection) -> Produced {
        if self.is_cut {
            let cause = self.response().failure.unwrap_or(Cause::ClientGone);
            self.report(cause, Answer::Cut, "", connection);
            self.response().keep_alive = false;
            return Produced::All;
        }
        match self.produce() {
            Ok(produced) => produced,
            Err(failure) => self.fail(failure, connection),
        }
    }

    /// Puts the content of the request where the application reads it. Gives the facts that are left.
    fn open_input(&mut self, connection: &mut Connection, mut facts: Facts, seat: Option<Seat>) -> Facts {
        let content = std::mem::replace(&mut facts.content, Content::None);
        let Some(coding) = Coding::of(content, &self.shared.policy) else {
            self.environ.open_input(None);
            self.content = None;
            return facts;
        };
        let expects_continue = facts.expects_continue && connection.buffer.is_empty();
        let state = Arc::new(Mutex::new(ContentState { expects_continue, seat, ..ContentState::default() }));
        let buffer = std::mem::take(&mut connection.buffer);
        let reader = Reader::new(&self.shared, &connection.socket, buffer, coding, &state);
        self.environ.open_input(Some(Box::new(reader)));
        self.content = Some(state);
        facts
    }

    /// Ends the application's access to the content: what is left of it comes back, unless a reader outlives this.
    fn close_input(&self) -> Option<&Arc<Mutex<ContentState>>> {
        let content = self.content.as_ref()?;
        self.environ.close_input();
        Some(content)
    }

    fn call(&mut self) -> Result<(), Failure> {
        self.start_response.reset();
        let Call { shared, environ, start_response, body, .. } = self;
        let called = catch_unwind(AssertUnwindSafe(|| {
            // A deferred body runs the application once more, to start late (P-SR-10).
            *body = shared.application.call(environ, start_response).resolve(start_response);
        }));
        self.answered = Instant::now();
        called.map_err(Failure::of_panic)?;
        if self.start_response.id() != self.own {
            // Nothing can be said on this connection any more.
            self.response().failure = Some(Cause::NotStarted);
            return Err(Failure::new(Cause::NotStarted, "the start_response was exchanged for another"));
        }
        // What the hooks of middleware hold ends with the call, and so does a panic in it.
        catch_unwind(AssertUnwindSafe(|| self.start_response.end())).map_err(Failure::of_panic)?;
        if let Some(misuse) = self.start_response.misuse() {
            return Err(Failure::new(misuse.cause(), misuse.detail()));
        }
        if let Kind::Failed(error) = self.body.kind() {
            let cause = Failure::own_cause(&**error).unwrap_or(Cause::ApplicationError);
            return Err(Failure::new(cause, error_text(error)));
        }
        match self.body.known_len() {
            Some(known) if !self.start_response.is_sent() => self.begin_whole(known),
            _ => Ok(()),
        }
    }

    /// The head of a body whose length is known, and the body if it is in memory.
    fn begin_whole(&mut self, known: u64) -> Result<(), Failure> {
        let stays = match self.close_input() {
            None => true,
            // A reader outlives the call, or more is to come than will be drained: the head can still say that the connection ends.
            Some(state) => match &lock(state).left {
                None => false,
                Some((buffer, coding)) => {
                    !coding.exceeds(self.shared.settings.drain.saturating_add(buffer.len() as u64))
                }
            },
        };
        let mut response = lock(&self.response);
        response.keep_alive &= stays;
        make_head(&mut response, &self.start_response, Some(known), self.answered)?;
        let body = self.body.kind();
        match std::mem::take(body) {
            _ if response.drops_content() => {}
            Kind::Bytes(block) => response.push(block),
            Kind::List(blocks) => {
                for block in blocks {
                    response.push(block);
                }
            }
            kind => *body = kind,
        }
        if let Kind::Range(range) = body {
            if range.left > response.declared() {
                response.failure = Some(Cause::BodyLong);
                range.left = response.declared();
            }
        }
        Ok(())
    }

    /// Asks the body for block after block, each on its way before the next is asked for (P-BODY-01). The head goes with the first that is
    /// not empty, so that until then an error can still become a 500 (P-SR-06).
    fn produce(&mut self) -> Result<Produced, Failure> {
        let mut moved = 0;
        loop {
            let next = if self.is_finished { Next::End } else { self.next()? };
            let mut response = lock(&self.response);
            match next {
                Next::Block(block) => {
                    self.answered = Instant::now();
                    (self.has_block, self.empty_since, self.has_moved) = (true, None, true);
                    moved += block.len();
                    if !response.head_is_made() {
                        make_head(&mut response, &self.start_response, None, self.answered)?;
                    }
                    response.push(block);
                    if response.drops_content() || response.failure == Some(Cause::BodyLong) {
                        response.finish();
                        self.is_finished = true;
                    } else if response.may_be_held(self.answered) {
                        hold(&mut response, &self.response);
                        continue;
                    }
                }
                Next::Nothing => {
                    response.flush().map_err(|error| Failure::new(Cause::ClientGone, error))?;
                    return Ok(Produced::Waits);
                }
                Next::End if self.is_finished => {}
                Next::End => {
                    if !response.head_is_made() {
                        // No block at all is a body of length 0.
                        make_head(&mut response, &self.start_response, Some(0), self.answered)?;
                    }
                    response.finish();
                    self.is_finished = true;
                }
            }
            if self.is_finished && response.is_gathering() {
                return Ok(Produced::All);
            }
            match response.flush().map_err(|error| Failure::new(Cause::ClientGone, error))? {
                Flushed::Whole if self.is_finished => return Ok(Produced::All),
                Flushed::Whole if moved < TURN && !self.shared.seats.is_wanted() => {}
                Flushed::Whole | Flushed::Partly(_) | Flushed::Turn => return Ok(Produced::Waits),
            }
        }
    }

    /// What the body gives next. To be asked for more than its first block it takes a seat: without one it waits for its turn.
    fn next(&mut self) -> Result<Next, Failure> {
        match self.body.kind() {
            Kind::Empty => return Ok(Next::End),
            Kind::Range(range) if range.left == 0 => return Ok(Next::End),
            Kind::Channel(receiver) => {
                // Middleware may change its blocks, and panic.
                return match catch_unwind(AssertUnwindSafe(|| receiver.take())).map_err(Failure::of_panic)? {
                    Poll::Pending => Ok(Next::Nothing),
                    Poll::Ready(None) => Ok(Next::End),
                    Poll::Ready(Some(block)) => block.map(Next::Block).map_err(Failure::of_body),
                };
            }
            _ => {}
        }
        if self.has_block && !self.take_seat() {
            return Ok(Next::Nothing);
        }
        if let Kind::Range(range) = self.body.kind() {
            let length = usize::try_from(range.left).unwrap_or(PIECE).min(PIECE);
            let memory = lock(&self.response).queue.take_spare(length);
            return match range.read(memory) {
                Ok(piece) => Ok(Next::Block(piece.into())),
                Err(error) => Err(Failure::new(Cause::BodyShort, error)),
            };
        }
        for _ in 0..EMPTY_BLOCKS {
            match catch_unwind(AssertUnwindSafe(|| self.body.next_block())).map_err(Failure::of_panic)? {
                Some(Ok(block)) if block.is_empty() => {}
                Some(Ok(block)) => return Ok(Next::Block(block)),
                Some(Err(error)) => return Err(Failure::of_body(error)),
                None => return Ok(Next::End),
            }
        }
        let now = Instant::now();
        let since = *self.empty_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= self.shared.settings.response_stall {
            return Err(Failure::new(Cause::BodyFailed, "nothing but empty blocks"));
        }
        // The answer will be the same in a moment.
        self.rests_until = after(now, EMPTY_PAUSE);
        Ok(Next::Nothing)
    }

    fn take_seat(&mut self) -> bool {
        if self.seat.is_none() {
            self.seat = self.shared.seats.try_take();
        }
        self.seat.is_some()
    }

    /// The response cannot go on: another status while nothing is out, a visible end otherwise.
    fn fail(&mut self, failure: Failure, connection: &Connection) -> Produced {
        let Failure { mut cause, mut detail } = failure;
        // An error of reading, passed on by the application, is the client's and not the application's.
        if let Some(of_input) = self.close_input().and_then(|state| lock(state).failure) {
            cause = of_input;
            detail.clear();
        }
        self.is_finished = true;
        let own = Arc::clone(&self.response);
        let mut response = lock(&own);
        let is_sound = response.failure.is_none_or(|cause| cause.number() >= 4000);
        let answer = if response.is_complete() && cause.number() >= 4000 {
            // The client gets all that was promised; only the application is not content.
            response.finish();
            Answer::Sent
        } else if response.head_is_made() || self.start_response.id() != self.own {
            // No last chunk, fewer bytes than promised: the client sees that the response is not whole (P-ERR-04).
            response.keep_alive = false;
            Answer::Cut
        } else {
            let status = cause.status().unwrap_or(500);
            response.keep_alive &= cause.number() >= 4000;
            let (reason, headers) = (reason_of(status), Headers::from(&[("Content-Type", "text/plain")]));
            response.make_head((status, reason), &headers, Some(reason.len() as u64 + 1), self.answered);
            response.push(format!("{reason}\n").into_bytes().into());
            response.finish();
            Answer::Status(status)
        };
        // What was produced before that goes out. The client may be gone as well.
        let produced = match response.flush() {
            Ok(Flushed::Partly(_) | Flushed::Turn) if is_sound => Produced::Waits,
            Ok(_) => Produced::All,
            Err(_) => {
                response.keep_alive = false;
                Produced::All
            }
        };
        response.failure = Some(cause);
        drop(response);
        self.report(cause, answer, &detail, connection);
        produced
    }

    /// Ends the call: what the application must know, what the log says, what goes back to the connection.
    pub(super) fn finish(&mut self, connection: &mut Connection) -> After {
        let (failure, is_large, status) = {
            let response = self.response();
            (response.failure, response.head_is_large, response.status)
        };
        if let Some(cause) = failure.filter(|_| !self.is_reported) {
            self.report(cause, Answer::Sent, "", connection);
        }
        if is_large {
            self.report(Cause::HeadLarge, Answer::Sent, "", connection);
        }
        if let Some(error) = self.start_response.take_replaced() {
            self.report(Cause::ApplicationError, Answer::Status(status), &error, connection);
        }
        self.seat = None;
        // Before the next request on the connection, whatever happened (P-BODY-04).
        let closes_late = self.body.closes_late();
        for _ in 0..self.body.close() {
            self.report(Cause::ClosePanic, Answer::Sent, "", connection);
        }
        if closes_late {
            self.answered = Instant::now();
        }
        let mut unread = None;
        if let Some(state) = self.close_input() {
            let mut response = lock(&self.response);
            let mut state = lock(state);
            match state.left.take() {
                Some((buffer, coding)) => {
                    connection.buffer = buffer;
                    response.keep_alive &= state.failure.is_none();
                    unread = Some(coding);
                }
                // A reader outlives the call. What it reads belongs to nobody now, so the connection ends.
                None => response.keep_alive = false,
            }
        }
        self.content = None;
        let mut response = lock(&self.response);
        let (keep_alive, is_gathered) = (response.keep_alive, response.is_gathering() && self.is_finished);
        let bytes = response.end(is_gathered);
        drop(response);
        self.shared.access(&Access { environ: &self.environ, status, bytes, begin: self.begin });
        let replies = if let Some(Coding::Door(reader)) = &mut unread {
            let replies = reader.replies();
            if keep_alive {
                reader.finish();
            }
            replies
        } else {
            Vec::new()
        };
        After { unread: unread.filter(|coding| !coding.is_end()), keep_alive, is_gathered, replies }
    }

    /// Whether the application has kept the `start_response`: this call is not used again then.
    pub(super) fn is_spoiled(&self) -> bool {
        self.start_response.id() != self.own
    }

    /// Whether a thread can go on with it, everything so far being sent. Takes a seat where the application is to be asked for more.
    pub(super) fn may_go_on(&mut self) -> bool {
        match self.body.kind() {
            _ if self.is_finished || self.is_cut => true,
            Kind::Channel(receiver) => receiver.is_ready(),
            _ if self.empty_since.is_some() && Instant::now() < self.rests_until => false,
            _ => self.take_seat(),
        }
    }

    /// Where its blocks come from, if another thread sends them.
    pub(super) fn receiver(&mut self) -> Option<&mut Receiver> {
        match self.body.kind() {
            Kind::Channel(receiver) if !self.is_finished && !self.is_cut => Some(receiver),
            _ => None,
        }
    }

    /// Makes it ready to wait without a thread, for which no seat is needed. Tells whether anything was added to the response.
    pub(super) fn wait(&mut self) -> bool {
        self.seat = None;
        if let Some(state) = &self.content {
            lock(state).seat = None;
        }
        std::mem::take(&mut self.has_moved)
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
        self.is_cut = true;
        self.response().drop_unsent(cause);
    }

    fn report(&mut self, cause: Cause, answer: Answer, detail: &str, connection: &Connection) {
        self.is_reported = true;
        self.request_line.clear();
        for part in [self.environ.method().as_bytes(), b" ", self.environ.bytes("REQUEST_URI").unwrap_or_default()] {
            self.request_line.extend_from_slice(part);
        }
        self.request_line.truncate(200);
        self.shared.error(&Report {
            cause,
            peer: connection.peer.address,
            request: &self.request_line,
            answer,
            detail,
        });
    }
}

fn make_head(
    response: &mut Response,
    start_response: &StartResponse,
    known: Option<u64>,
    now: Instant,
) -> Result<(), Failure> {
    match (start_response.status(), start_response.headers()) {
        (Some(status), Some(headers)) => {
            response.make_head((status.code(), status.reason()), headers, known, now);
            Ok(())
        }
        _ => Err(Failure::new(Cause::NotStarted, "")),
    }
}
