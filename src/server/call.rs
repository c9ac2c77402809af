//! One request and its response: the application is called, its body is asked for block by block, and what was used is given back.
//!
//! PEP 3333, "Specification Details"; docs/rules.md P-ERR-01 to P-ERR-06, P-LEN, P-BODY. A [`Call`] begins in a thread of the pool. When the
//! client takes no more of the response it moves into the connection, without a thread, and goes on in whichever thread finds that everything
//! was sent. The application runs under `catch_unwind`, and so does every step of its body: a panic is a 500 while nothing was sent, a visible
//! abort after that, and never the end of the thread (with `panic = "abort"` it is the end of the process: that is what the setting says).

use std::io::{BufRead, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::bounds::Seat;
use super::connection::Connection;
use super::failure::Failure;
use super::reader::{Coding, ContentState, RECEIVED, Reader};
use super::response::{Response, ResponseWriter, Stage, delay};
use super::send::QUANTUM;
use super::settings::after;
use super::shared::{Shared, lock};
use super::upgrade;
use crate::cause::Cause;
use crate::door::{NotReady, Room, http::ALLOW};
use crate::gateway::{Block, Body, Environ, FileRange, Gateway, Kind, Receiver, StartResponse, discard_panic};
use crate::http::framing::{Content, Delimiter};
use crate::log::{Access, Answer, Report, Score};

/// A request that is being answered.
pub(super) struct Call {
    shared: Arc<Shared>,
    score: Arc<Score>,
    pub(super) environ: Environ,
    start_response: StartResponse,
    /// The identity of the `start_response`: an application could exchange it for another.
    start_response_id: usize,
    response: Arc<Mutex<Response>>,
    pub(super) body: Body,
    begin: Instant,
    /// When the application gave what was asked for last.
    pub(super) answered: Instant,
    /// Where the body gives nothing but empty blocks: since when, and before when it is not asked again.
    rests: Option<(Instant, Instant)>,
    /// While the body is asked for more than its first block of a request without content: with some, it is where the reader finds it.
    seat: Option<Seat>,
    /// How many bytes of memory content has to which the application may have access.
    input_memory: usize,
}

/// Empty blocks in a row before the others have their turn, and how long that lasts at least.
const EMPTY_BLOCKS: usize = 64;
const EMPTY_PAUSE: Duration = Duration::from_millis(10);

impl Call {
    pub(super) fn new(shared: &Arc<Shared>, score: &Arc<Score>) -> Call {
        let mut environ = Environ::new(Gateway::default());
        environ.set_errors(shared.errors());
        let response = Arc::<Mutex<Response>>::default();
        let writer = ResponseWriter { shared: Arc::clone(shared), response: Arc::clone(&response) };
        let start_response = StartResponse::new(Box::new(writer));
        let now = Instant::now();
        Call {
            shared: Arc::clone(shared),
            score: Arc::clone(score),
            environ,
            start_response_id: start_response.id(),
            start_response,
            response,
            body: Body::empty(),
            begin: now,
            answered: now,
            rests: None,
            seat: None,
            input_memory: 0,
        }
    }

    pub(super) fn response(&self) -> MutexGuard<'_, Response> {
        lock(&self.response)
    }

    /// How many bytes of memory it holds for its client: what is unsent and what waits for that, and what the request has said, where that is
    /// unusual, and brought.
    pub(super) fn memory(&mut self) -> usize {
        const USUAL: usize = 8 * 1024;
        let waiting = self.receiver().map_or(0, |receiver| receiver.memory());
        waiting + self.response().queue.memory() + self.input_memory + self.environ.memory().saturating_sub(USUAL)
    }

    /// Takes in the request that has arrived on a connection. Tells whether it can be answered: content that has to be waited for needs a seat,
    /// for which it waits without a thread.
    pub(super) fn begin(
        &mut self,
        connection: &mut Connection,
        room: &mut Room,
        now: Instant,
    ) -> Result<bool, NotReady> {
        let Call { shared, environ, response: shared_response, .. } = self;
        let come = connection.seat.take();
        let mut response = lock(shared_response);
        response.request = connection.examine(&shared.policy, room, Some(environ))?;
        let is_here = response.request.is_here;
        let take = || come.or_else(|| shared.seats.try_take());
        let seat = if is_here || !connection.queue.is_empty() { None } else { take() };
        // When the grace of a stop is over, what is looked at next ends.
        if shared.is_over() || !is_here && seat.is_none() {
            return Ok(false);
        }
        shared.counters.count_dropped_fields(response.request.dropped);
        self.start_response.reset();
        if response.request.is_options_asterisk {
            // Of the server and not of anything in it (RFC 9110 section 9.3.7).
            self.start_response.start("204 No Content", &[("Allow", ALLOW)]);
        }
        (self.begin, self.answered, self.rests, connection.queued) = (now, now, None, None);

        connection.buffer.consume(response.request.head_len);
        response.begin(connection);
        let content = response.request.content;
        connection.asks_for_end = !response.request.keep_alive && matches!(content, Content::None | Content::Length(0));
        let here = if let Content::Length(length @ 1..) = content { connection.buffer.take(length) } else { None };
        self.input_memory = here.as_ref().map_or(0, Vec::len);
        let reader: Option<Box<dyn BufRead + Send>> = match here {
            // It stands apart from what has come behind it, and nobody waits for anything.
            Some(content) => Some(Box::new(Cursor::new(content))),
            None => Coding::of(&mut response.request, &shared.policy).map(|coding| {
                let expects_continue = response.request.expects_continue && connection.buffer.is_empty();
                let state = ContentState { expects_continue, seat, ..ContentState::default() };
                let buffer = std::mem::take(&mut connection.buffer);
                self.input_memory = buffer.capacity().max(if is_here { 0 } else { RECEIVED });
                let (reader, state) = Reader::open((&*shared, &connection.socket), buffer, coding, state);
                response.content_state = Some(state);
                reader as _
            }),
        };
        environ.open_input(reader);
        // Earlier answers wait for this one. This call may last, unlike those: the monitor sends them then.
        if !response.queue.is_empty() && connection.socket.set_waiting(false).is_ok() {
            delay(&mut response, shared_response, shared);
        }
        Ok(true)
    }

    /// Goes on where the client, a sender or the others came first.
    pub(super) fn go_on(&mut self) -> Result<bool, Failure> {
        self.response().content_state.iter().for_each(|state| lock(state).is_among_others = false);
        self.produce()
    }

    /// Calls the application for that request, and sends what it answers as far as the client takes it. Tells whether it is done with.
    pub(super) fn start(&mut self) -> Result<bool, Failure> {
        let Call { shared, environ, start_response, body, .. } = self;
        let called = catch_unwind(AssertUnwindSafe(|| {
            if start_response.status().is_none() {
                // A deferred body runs the application once more, to start late (P-SR-10).
                *body = shared.application.call(environ, start_response).resolve(start_response);
            }
            // What the hooks of middleware hold ends with the call, and so does a panic in it.
            start_response.end();
        }));
        self.answered = Instant::now();
        if let Err(panic) = called {
            catch_unwind(AssertUnwindSafe(|| self.start_response.end())).unwrap_or_else(discard_panic);
            return Err(Failure::of_panic(panic));
        }
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
        let protocol = self.body.upgrades_to(self.start_response.status(), &self.environ);
        if let Some(protocol) = protocol.map_err(|wrong| Failure::new(Cause::UpgradeMisused, wrong))? {
            upgrade::enter(protocol, &mut lock(&self.response), &self.shared)?;
            return self.produce();
        }
        match self.body.known_len() {
            Some(known) if !self.start_response.is_sent() => self.begin_whole(known),
            _ => self.produce(),
        }
    }

    /// A body whose length is known: all of it at once, with its head, if it is in memory.
    fn begin_whole(&mut self, known: u64) -> Result<bool, Failure> {
        // Where a reader outlives the call, the head can still say that the connection ends.
        let is_closed = self.close_input();
        let mut response = lock(&self.response);
        response.request.keep_alive &= is_closed;
        if let (Kind::Range(_), false) = (self.body.kind(), response.request.is_head) {
            drop(response);
            return self.produce();
        }
        self.make_head(&mut response, Some(known))?;
        match std::mem::take(self.body.kind()) {
            Kind::Bytes(block) => response.push(block),
            Kind::List(blocks) => blocks.for_each(|block| response.push(block)),
            _ => {}
        }
        response.finish(false);
        // What a body does at its end may last, and comes when everything is out.
        Ok(self.body.is_closed() && response.waits_for_next() || response.send())
    }

    /// Ends the application's access to content. Tells whether it had none, or has none any more.
    fn close_input(&mut self) -> bool {
        if self.input_memory > 0 && self.environ.close_input() {
            self.input_memory = 0;
        }
        self.input_memory == 0
    }

    fn make_head(&self, response: &mut Response, known: Option<u64>) -> Result<(), Failure> {
        match (self.start_response.status(), self.start_response.headers()) {
            (Some(status), Some(headers)) => {
                response.make_head((status.code(), status.text()), headers, known, &self.shared);
            }
            _ => return Err(Failure::new(Cause::NotStarted, "")),
        }
        Ok(())
    }

    /// Asks the body for block after block, each on its way before the next is asked for (P-BODY-01). The head goes with the first that is
    /// not empty, so that until then an error can still become a 500 (P-SR-06).
    fn produce(&mut self) -> Result<bool, Failure> {
        // Of a file it is asked before the first piece is read, by which it is less.
        let known = self.body.known_len();
        let mut response = self.response();
        if response.drops_content() {
            // Nothing of the body would be sent (P-BODY-07).
            response.finish(false);
            return Ok(response.send());
        }
        let (mut moved, mut is_first) = (0, response.content == 0);
        drop(response);
        loop {
            // To be asked for more than its first block a body takes a seat: without one it waits for its turn.
            let may_ask = std::mem::take(&mut is_first) || self.try_to_go_on(&mut None);
            let next = if may_ask { self.next()? } else { Poll::Pending };
            let mut response = lock(&self.response);
            let Poll::Ready(next) = next else { return Ok(response.send() && response.is_finished()) };
            (self.answered, self.rests) = (Instant::now(), None);
            // No block at all is a body of length 0.
            self.make_head(&mut response, known.or(next.is_none().then_some(0)))?;
            let is_last = next.is_none();
            if let Some(block) = next {
                moved += block.len();
                response.push(block);
            }
            if is_last || response.drops_content() {
                response.finish(false);
                return Ok(response.send());
            }
            if !self.shared.is_over() && response.note_block(self.answered) {
                delay(&mut response, &self.response, &self.shared);
            } else if !response.send() || response.is_finished() || self.shared.seats.is_wanted() {
                // Where it could not be sent the next is not asked for (P-BODY-07): that might last.
                return Ok(response.is_finished());
            }
            // Where all that was promised is there, the next is the end.
            let is_all = matches!(response.stage, Stage::Content(Delimiter::Length(0)));
            if moved >= QUANTUM || self.shared.is_over() && !is_all {
                return Ok(false);
            }
        }
    }

    /// What the body gives next, if that is not waited for.
    fn next(&mut self) -> Result<Poll<Option<Block>>, Failure> {
        if let Kind::Range(range @ FileRange { left: 1.., .. }) = self.body.kind() {
            let memory = lock(&self.response).queue.take_spare();
            let piece = range.next_block(memory).transpose();
            return piece.map(Poll::Ready).map_err(|error| Failure::new(Cause::BodyShort, error));
        }
        for _ in 0..EMPTY_BLOCKS {
            // Middleware may change the blocks of a channel, and panic; and so may an error that is dropped.
            let ask = || self.body.kind().poll_block().map_err(|error| Failure::of_error(&error, Cause::BodyFailed));
            match catch_unwind(AssertUnwindSafe(ask)).map_err(Failure::of_panic)?? {
                Poll::Ready(Some(block)) if block.is_empty() && self.shared.is_over() => break,
                Poll::Ready(Some(block)) if block.is_empty() => {
                    self.rests.get_or_insert_with(|| (Instant::now(), self.begin));
                }
                next => return Ok(next),
            }
        }
        if matches!(self.body.kind(), Kind::Channel(_)) {
            // The others have their turn; what is behind the empty blocks makes it ready at once.
            return Ok(Poll::Pending);
        }
        let now = Instant::now();
        // Not since its last block: its client may have taken long for that.
        let since = self.rests.map_or(now, |(since, _)| since);
        if now.saturating_duration_since(since) >= self.shared.settings.response_stall {
            return Err(Failure::new(Cause::BodyFailed, "nothing but empty blocks"));
        }
        // The answer will be the same in a moment.
        self.rests = Some((since, after(now, EMPTY_PAUSE)));
        Ok(Poll::Pending)
    }

    /// The response cannot go on: another status while nothing is out, a visible end otherwise. What was produced before that goes out.
    pub(super) fn fail(&mut self, Failure { mut cause, mut detail }: Failure, connection: &Connection) -> bool {
        self.answered = Instant::now();
        self.environ.close_input();
        let mut response = lock(&self.response);
        // An error of writing or reading, passed on by the application, is the client's and not the application's.
        let of_input = || response.content_state.as_ref().and_then(|state| lock(state).failure);
        if let Some(of_client) = response.cut_for().filter(|own| *own != cause).or_else(of_input) {
            (cause, detail) = (of_client, String::new());
        }
        let answer = match response.stage {
            // The client gets all that was promised; only the application is not content.
            Stage::Content(Delimiter::Length(0) | Delimiter::None) => {
                response.finish(false);
                Answer::Sent
            }
            Stage::Head if !self.is_spoiled() => {
                let status = cause.status().unwrap_or(500);
                response.request.keep_alive &= cause.number() >= 4000;
                response.answer(status, &self.shared);
                Answer::Status(status)
            }
            // No last chunk, fewer bytes than promised: the client sees that the response is not whole (P-ERR-04).
            _ => {
                response.stage = Stage::Cut;
                Answer::Cut
            }
        };
        // The client may be gone as well.
        let is_done = response.send();
        (response.failure, response.upgrade) = (None, None);
        drop(response);
        self.report(cause, answer, &detail, connection);
        is_done
    }

    /// Ends the call: what the application must know, what the log says, what goes back to the connection.
    pub(super) fn finish(&mut self, connection: &mut Connection) {
        // Before the next request on the connection, whatever happened (P-BODY-04).
        let mut panics = 0;
        if !self.body.is_closed() {
            panics = self.body.close();
            self.answered = Instant::now();
        }
        // Where a reader outlives the call, what it reads belongs to nobody now, so the connection ends.
        let is_closed = self.close_input();
        // Its seat goes as well: none of the pool's threads waits for it.
        self.seat = None;
        let mut response = lock(&self.response);
        let (failure, is_large, status) = (response.failure, response.head_is_large, response.status);
        let is_whole = matches!(response.stage, Stage::Whole);
        let mut keep_alive = response.request.keep_alive && is_whole && is_closed;
        if let Some(state) = response.content_state.take() {
            let mut state = lock(&state);
            keep_alive &= state.failure.is_none();
            state.give_back(connection, true);
        }
        if !response.queue.is_empty() {
            std::mem::swap(&mut response.queue, &mut connection.queue);
        }
        // What was sent of the content, or waits in the connection to be.
        let bytes = response.content;
        (response.socket, response.upgrade) = (None, None);
        response.queue.shrink();
        drop(response);
        if let Some(cause) = failure {
            self.report(cause, if is_whole { Answer::Sent } else { Answer::Cut }, "", connection);
        }
        if is_large {
            self.report(Cause::HeadLarge, Answer::Sent, "", connection);
        }
        if let Some(error) = self.start_response.take_replaced() {
            self.report(Cause::ApplicationError, Answer::Status(status), &error, connection);
        }
        (0..panics).for_each(|_| self.report(Cause::ClosePanic, Answer::Sent, "", connection));
        // From the whole head to what the application gave last.
        self.score.serve(bytes, self.answered.saturating_duration_since(self.begin));
        self.shared.access(&Access { environ: &self.environ, status, bytes, begin: self.begin });
        connection.finish_call(keep_alive, &self.shared, self.answered.max(connection.since));
    }

    /// Whether the application has kept the `start_response`: this call is not used again then.
    pub(super) fn is_spoiled(&self) -> bool {
        self.start_response.id() != self.start_response_id
    }

    /// Whether it is done with but for what the application does with the connection.
    pub(super) fn leaves(&mut self) -> bool {
        let Kind::Upgrade(_) = self.body.kind() else { return false };
        let response = self.response();
        response.upgrade.is_some() && response.is_finished() && response.queue.is_empty()
    }

    /// Whether its body can be asked for more, everything so far being sent. Takes a seat for that, or a place in the line for one.
    pub(super) fn try_to_go_on(&mut self, in_line: &mut Option<Seat>) -> bool {
        match self.body.kind() {
            _ if self.seat.is_some() => true,
            // It is only to be said that it is over.
            Kind::Empty | Kind::Range(FileRange { left: 0, .. }) => true,
            Kind::Channel(receiver) => receiver.is_ready(),
            _ if self.rests.is_some_and(|(_, until)| Instant::now() < until) => false,
            _ => {
                // It has one only: where content is read, its reader may have to go for another.
                let response = lock(&self.response);
                let mut state = response.content_state.as_ref().map(|state| lock(state));
                let seat = state.as_mut().map_or(&mut self.seat, |state| &mut state.seat);
                if seat.is_none() {
                    in_line.get_or_insert_with(|| self.shared.seats.ask());
                    *seat = in_line.take_if(|in_line| in_line.has_come());
                }
                seat.is_some()
            }
        }
    }

    /// Where its blocks come from, if another thread sends them.
    pub(super) fn receiver(&mut self) -> Option<&mut Receiver> {
        if let Kind::Channel(receiver) = self.body.kind() { Some(receiver) } else { None }
    }

    /// Leaves its thread for its connection: what it needs only in a thread is given back, and what is unsent or unread is left to the connection.
    pub(super) fn leave_thread(&mut self, connection: &mut Connection) {
        self.seat = None;
        let mut response = lock(&self.response);
        response.is_delayed = false;
        if let Some(state) = &response.content_state {
            // One that waits for a sender of blocks is not looked at.
            lock(state).give_back(connection, !response.queue.is_empty());
        }
    }

    /// Gives memory back while the client takes nothing, or there is nothing to take: a piece of a file can be read again.
    pub(super) fn rest(&mut self) {
        const KEPT: usize = 4 * 1024;
        let mut response = lock(&self.response);
        response.queue.release();
        if let Kind::Range(range) = self.body.kind() {
            range.rewind(response.take_back(KEPT));
        }
    }

    pub(super) fn report(&self, cause: Cause, answer: Answer, detail: &str, connection: &Connection) {
        let target = self.environ.bytes("REQUEST_URI").unwrap_or_default();
        let mut request = [self.environ.method().as_bytes(), target].join(&b' ');
        request.truncate(200);
        self.shared.error(&Report { cause, peer: connection.peer.address, request: &request, answer, detail });
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::door::{Door, Origin, Peer};
    use crate::gateway::{Application, Variables};
    use crate::log::Lines;
    use crate::server::answer::Calls;
    use crate::server::bounds::Place;
    use crate::server::connection::Step;
    use crate::server::settings::Settings;
    use crate::server::socket::Socket;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// A connection that has gone as far as it can with a request, and its client, who waits for nothing. A Unix socket takes little, and always as much.
    fn ask(application: impl Application, request: &[u8]) -> (Arc<Shared>, Box<Connection>, UnixStream) {
        ask_with(Settings::default(), application, request)
    }

    fn ask_with(
        settings: Settings,
        application: impl Application,
        request: &[u8],
    ) -> (Arc<Shared>, Box<Connection>, UnixStream) {
        let log = Arc::new(Lines::errors(io::sink()));
        let shared = Arc::new(Shared::new(settings, Box::new(application), log));
        let (own, mut client) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        let socket = Socket::accepted(OwnedFd::from(own).into()).unwrap();
        let origin = Arc::new(Origin::new(Door::Http, Gateway::default(), String::new(), None, Variables::default()));
        let place = Some(Place::new(&shared.places));
        let mut connection = Connection::new(socket, Peer::default(), origin, &shared, place, Instant::now());
        client.write_all(request).unwrap();
        go_on(&mut connection, &shared);
        (shared, connection, client)
    }

    /// Goes on with what is there until that waits for the client, or for blocks.
    fn go_on(connection: &mut Connection, shared: &Arc<Shared>) {
        let mut calls = Calls::new(shared);
        loop {
            match connection.step(shared, Instant::now()) {
                Step::Job => _ = calls.run(connection, Instant::now()),
                Step::More => {}
                Step::Wait | Step::End => return connection.rest(),
            }
        }
    }

    #[test]
    fn p_len_02_a_slow_client_of_a_file_that_is_longer_than_was_promised_gets_what_was() {
        // Little more than a Unix socket takes: the end of the last piece stays behind.
        const PROMISED: usize = 260_000;
        let path = std::env::temp_dir().join(format!("doorway-call-{}", std::process::id()));
        std::fs::write(&path, vec![b'x'; 2 * PROMISED]).unwrap();
        let place = path.clone();
        let application = move |_: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            start_response.start("200 OK", &[("Content-Length", &PROMISED.to_string())]);
            Ok(File::open(&place)?.into())
        };
        let (shared, mut connection, mut client) = ask(application, GET);
        let (mut answer, mut part) = (Vec::new(), vec![0; 50_000]);
        assert!(!connection.is_idle());
        while let Ok(received) = client.read(&mut part) {
            answer.extend_from_slice(&part[..received]);
            go_on(&mut connection, &shared);
        }
        std::fs::remove_file(path).unwrap();
        assert!(connection.is_idle());
        assert_eq!(answer.iter().filter(|byte| **byte == b'x').count(), PROMISED);
    }

    /// Nothing of its client's would end the stay: a thread went in a circle for 50 ms.
    #[test]
    fn nobody_stays_with_a_request_that_waits_for_a_seat() {
        let (shared, mut connection, mut client) = ask(|_: &Environ, _: &mut StartResponse| "", GET);
        assert!(connection.is_worth_waiting_for());
        let _taken: Vec<_> = (0..shared.settings.threads).map(|_| shared.seats.take()).collect();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n").unwrap();
        go_on(&mut connection, &shared);
        assert!(connection.queued.is_some() && !connection.is_worth_waiting_for());
    }

    /// It is as any block of it: until then there was nothing to take.
    #[test]
    fn a_client_has_its_time_for_the_end_of_a_stream_that_was_silent_for_long() {
        let (give, senders) = std::sync::mpsc::channel();
        let application = move |_: &Environ, start_response: &mut StartResponse| {
            let (sender, body) = Body::channel(1);
            give.send(sender).unwrap();
            start_response.start("200 OK", &[]);
            body
        };
        let (shared, mut connection, mut client) = ask(application, GET);
        let sender = senders.recv().unwrap();
        let is_unsent =
            |connection: &Connection| connection.call.as_ref().is_some_and(|call| !call.response().queue.is_empty());
        let fill = |connection: &mut Connection| {
            while !is_unsent(connection) {
                sender.send(vec![b'x'; 0x1000]).unwrap();
                go_on(connection, &shared);
            }
        };
        fill(&mut connection);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        // Each chunk is a write, which the socket takes whole or not at all. So much is taken that there is room for one more, and for nothing else.
        for chunks in [3, 1] {
            fill(&mut connection);
            client.read_exact(&mut vec![0; chunks * "1000\r\n\r\n".len() + chunks * 0x1000]).unwrap();
            go_on(&mut connection, &shared);
        }
        assert!(!is_unsent(&connection));
        connection.deadline = Instant::now();
        drop(sender);
        go_on(&mut connection, &shared);
        assert!(is_unsent(&connection), "its end is not taken, and nobody is cut");
        assert_eq!(connection.step(&shared, Instant::now()), Step::Wait);
    }

    #[test]
    fn a_body_whose_empty_blocks_take_long_is_cut_when_the_time_is_over_behind_the_first_of_them() {
        let application = |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            Body::blocks(std::iter::repeat_with(|| {
                std::thread::sleep(Duration::from_millis(1));
                Vec::new()
            }))
        };
        let settings = Settings { response_stall: Duration::from_millis(20), ..Settings::default() };
        let (_shared, connection, mut client) = ask_with(settings, application, GET);
        assert!(connection.call.is_none(), "as many as are asked for at once have taken longer");
        let mut status = [0; 12];
        client.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 500");
    }

    #[test]
    fn a_body_that_has_nothing_yet_is_not_cut_for_the_time_that_its_client_took_for_the_last_block() {
        let application = |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            Body::blocks(std::iter::once(vec![b'x'; 300_000]).chain(std::iter::repeat(Vec::new())))
        };
        let (shared, mut connection, mut client) = ask(application, GET);
        let call = connection.call.as_mut().expect("the client takes nothing");
        call.answered = call.answered.checked_sub(shared.settings.response_stall).unwrap();
        while client.read(&mut [0; 50_000]).is_ok_and(|received| received > 0) {
            go_on(&mut connection, &shared);
        }
        let call = connection.call.as_ref().expect("it waits for the next block");
        assert!(call.rests.is_some() && !call.response().is_finished());
    }

    /// It may take longer for it than a connection may be idle.
    #[test]
    fn a_connection_is_idle_from_when_its_client_has_taken_the_response_and_not_from_when_that_was_made() {
        let application = |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            vec![b'x'; 300_000]
        };
        let (shared, mut connection, mut client) = ask(application, GET);
        let later = Instant::now() + shared.settings.idle_deadline;
        while !connection.is_idle() {
            while client.read(&mut [0; 50_000]).is_ok() {}
            if connection.step(&shared, later) == Step::Job {
                Calls::new(&shared).run(&mut connection, later);
            }
        }
        assert_eq!(connection.deadline, later + shared.settings.idle_deadline);
    }

    #[test]
    fn a_stream_that_waits_for_its_next_block_holds_no_memory_of_the_last() {
        for length in [10_000, 100_000] {
            let (give, senders) = std::sync::mpsc::channel();
            let application = move |_: &Environ, start_response: &mut StartResponse| {
                let (sender, body) = Body::channel(1);
                sender.send(vec![b'x'; length]).unwrap();
                give.send(sender).unwrap();
                start_response.start("200 OK", &[]);
                body
            };
            let (shared, mut connection, mut client) = ask(application, GET);
            client.read_exact(&mut vec![0; length]).unwrap();
            go_on(&mut connection, &shared);
            let _sender = senders.recv().unwrap();
            assert!(connection.call.is_some() && connection.held() < 1_000, "{}", connection.held());
        }
    }

    #[test]
    fn what_has_arrived_behind_a_head_counts_as_memory_while_the_response_waits() {
        let application = |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            vec![b'x'; 300_000]
        };
        let field = format!("X-Long: {}\r\n", "v".repeat(8_000)).repeat(7);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}Content-Length: 50000\r\n\r\n");
        let (_shared, mut connection, _client) = ask(application, &[head.as_bytes(), b"some of it"].concat());
        let counted = connection.held();
        let response = connection.call.as_mut().expect("the client takes nothing").memory();
        assert!(response > 300_000 && counted >= response + head.len(), "{counted} {response}");
    }

    #[test]
    fn blocks_in_a_channel_and_content_that_was_read_count_as_memory_while_the_response_waits() {
        let counted = |length: usize| {
            let application = |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
                io::copy(&mut environ.input(), &mut io::sink())?;
                let (sender, body) = Body::channel(8);
                (0..8).for_each(|_| sender.send(vec![b'x'; 100_000]).unwrap());
                start_response.start("200 OK", &[]);
                Ok(body)
            };
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            let (_shared, connection, _client) = ask(application, &[head.into_bytes(), vec![b'c'; length]].concat());
            connection.held()
        };
        let (without, with, long) = (counted(0), counted(15_000), counted(50_000));
        assert!(without > 500_000 && with >= without + 15_000 && long >= without + RECEIVED, "{without} {with} {long}");
    }
}
