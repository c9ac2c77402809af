//! One request and its response: environ, application, framing, clean-up.
//!
//! PEP 3333, "Specification Details"; docs/rules.md P-ERR-01 to P-ERR-06, P-LEN, P-BODY. A [`Desk`] is what a thread needs for
//! it, used again for every exchange. The application runs under `catch_unwind`, and so does every step of its body: a panic
//! is a 500 while nothing was sent, a visible abort after that, and never the end of the thread (with `panic = "abort"` it is the
//! end of the process: that is what the setting says).

use std::io::Seek;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::connection::{After, Connection};
use super::failure::{Failure, error_text, panic_text};
use super::house::House;
use super::incoming::{Coding, Incoming, Intake};
use super::outgoing::Outgoing;
use super::refusal::reason_of;
use super::share::Place;
use super::station::Station;
use super::unsent::{Back, Flushed};
use crate::cause::Cause;
use crate::door::{Content, Examined, Facts, Room};
use crate::gateway::{Body, Environ, Gateway, Headers, Kind, StartResponse};
use crate::log::{Access, Answer, Report};

/// What a thread uses for one exchange after the other.
pub(super) struct Desk {
    environ: Environ,
    start_response: StartResponse,
    /// Away while the application has it, inside of `start_response`.
    outgoing: Option<Box<Outgoing>>,
    incoming: Option<Box<Incoming>>,
    room: Room,
    pub(super) scratch: Vec<u8>,
    request_line: Vec<u8>,
    /// The thread's, if it has one.
    station: Option<Arc<Station>>,
}

impl Desk {
    pub(super) fn new(house: &House, station: Option<Arc<Station>>) -> Desk {
        let mut environ = Environ::new(Gateway::default());
        environ.set_errors(house.errors());
        Desk {
            environ,
            start_response: StartResponse::idle(),
            outgoing: None,
            incoming: None,
            room: Room::default(),
            scratch: Vec::new(),
            request_line: Vec::new(),
            station,
        }
    }

    /// Answers the requests that a connection holds, as far as they are whole. Gives the time that the application took.
    ///
    /// With `gathers`, answers to pipelined requests are sent in one write: the application is known to be quick, so none of them waits
    /// long for the next.
    pub(super) fn serve(
        &mut self,
        connection: &mut Connection,
        house: &House,
        mut now: Instant,
        gathers: bool,
    ) -> Duration {
        let mut lasted = Duration::ZERO;
        for _ in 0..GATHERED {
            let Some(took) = self.serve_one(connection, house, now, gathers) else { break };
            lasted += took;
            if !self.has_gathered() {
                return lasted;
            }
            now += took;
        }
        self.send_gathered(connection, house);
        lasted
    }

    /// Answers one request. `None` where there is none, or where gathered answers must go out before it.
    fn serve_one(
        &mut self,
        connection: &mut Connection,
        house: &House,
        now: Instant,
        gathers: bool,
    ) -> Option<Duration> {
        let has_gathered = self.has_gathered();
        let examined = match connection.examine(&house.policy, &mut self.room) {
            Examined::Ready(request) => {
                let (origin, peer) = (&connection.origin, &connection.peer);
                let variables = self.environ.refill(request.gateway(origin.gateway));
                let dropped = request.fill_environ(origin, peer, variables);
                house.stats.fields_dropped.fetch_add(dropped, Ordering::Relaxed);
                Ok(request.facts())
            }
            // The connection is looked at again when the gathered answers are out.
            _ if has_gathered => return None,
            Examined::Refused(cause) => Err(cause),
            Examined::Answered { consumed, reply, ends } => {
                connection.answer_protocol(consumed, &reply, ends, house, now);
                return None;
            }
            Examined::Incomplete => {
                connection.keep_receiving(house, now);
                return None;
            }
            Examined::Gather(whole) => {
                connection.keep_gathering(whole, house, now);
                return None;
            }
        };
        match examined {
            Ok(facts) if facts.is_all_here(connection.buffer.len()) => {
                Some(self.exchange(connection, facts, None, house, now, gathers))
            }
            _ if has_gathered => None,
            Ok(facts) => match house.share.try_take() {
                Some(place) => Some(self.exchange(connection, facts, Some(place), house, now, false)),
                None => {
                    connection.postpone(house, now);
                    None
                }
            },
            Err(cause) => {
                connection.refuse(cause, house, now);
                None
            }
        }
    }

    /// Whether answers are gathered that have not been sent.
    fn has_gathered(&self) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| !outgoing.unsent.is_empty())
    }

    /// Sends what was gathered; what the client does not take at once stays with the connection.
    fn send_gathered(&mut self, connection: &mut Connection, house: &House) {
        let Some(outgoing) = &mut self.outgoing else { return };
        match outgoing.unsent.flush(&*connection.transport, &mut self.scratch) {
            Ok(Flushed::Whole) => {}
            Ok(Flushed::Partly(_) | Flushed::Share) => {
                connection.send_later(std::mem::take(&mut outgoing.unsent), house, Instant::now());
            }
            Err(_) => {
                outgoing.unsent.clear();
                connection.transport.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    fn exchange(
        &mut self,
        connection: &mut Connection,
        facts: Facts,
        place: Option<Place>,
        house: &House,
        begin: Instant,
        gathers: bool,
    ) -> Duration {
        connection.buffer.consume(facts.head_len);
        let gathers = gathers && facts.content == Content::None && connection.has_more();
        let intake = self.lay_out(connection, facts, place, house);
        let mut outgoing = self.outgoing.take().unwrap_or_else(|| Box::new(Outgoing::new(house, self.station.clone())));
        outgoing.begin(Arc::clone(&connection.transport), facts, intake, gathers);
        if facts.record_id.is_some() {
            outgoing.unsent.front().append(&mut self.room.replies);
        }

        let mut outgoing = if facts.is_options_asterisk {
            outgoing.answer_asterisk(begin);
            outgoing
        } else {
            self.call(outgoing, connection, house)
        };
        let lasted = outgoing.produced.map_or(Duration::ZERO, |produced| produced.saturating_duration_since(begin));

        let unread = self.take_up(connection, facts, &mut outgoing, house);
        self.log_access(&outgoing, house, begin);
        let now = outgoing.lately.unwrap_or_else(Instant::now);
        let gathered = outgoing.is_gathering();
        let waits = !outgoing.unsent.is_empty() && !gathered;
        let unsent = waits.then(|| std::mem::take(&mut outgoing.unsent));
        let after = After { unsent, unread, keep_alive: outgoing.keep_alive, gathered };
        outgoing.end();
        self.outgoing = Some(outgoing);
        connection.finish_call(after, house, now);
        lasted
    }

    /// Puts the content of the request where the application reads it.
    fn lay_out(
        &mut self,
        connection: &mut Connection,
        facts: Facts,
        place: Option<Place>,
        house: &House,
    ) -> Option<Arc<Intake>> {
        let Some(coding) = Coding::of(&facts, house.policy.head) else {
            self.environ.open_input(None);
            return None;
        };
        let intake = Arc::new(Intake::new(facts.expects_continue && connection.buffer.is_empty()));
        let incoming = Incoming::new(
            Arc::clone(&connection.transport),
            std::mem::take(&mut connection.buffer),
            coding,
            Arc::clone(&intake),
            Arc::clone(&house.settings),
            Arc::clone(&house.reserve),
            place,
        );
        self.environ.open_input(Some(Box::new(incoming)));
        Some(intake)
    }

    /// Calls the application and sends what it answers.
    fn call(&mut self, outgoing: Box<Outgoing>, connection: &Connection, house: &House) -> Box<Outgoing> {
        self.start_response.begin(outgoing);
        let mut body = Body::empty();
        let called = catch_unwind(AssertUnwindSafe(|| {
            let called = house.application.call(&self.environ, &mut self.start_response);
            // A deferred body runs the application once more, to start late (P-SR-10).
            body = called.resolve(&mut self.start_response);
        }));
        let outgoing = self.start_response.end().map(|transmit| transmit.into_any().downcast::<Outgoing>());
        let mut outgoing = match outgoing {
            Some(Ok(outgoing)) => outgoing,
            // Somebody has exchanged the start_response for another: nothing can be said on this connection any more.
            _ => {
                let mut outgoing = Box::new(Outgoing::new(house, self.station.clone()));
                outgoing.failure = Some(Cause::NotStarted);
                connection.transport.shutdown(std::net::Shutdown::Both);
                return outgoing;
            }
        };

        let result = match called {
            Ok(()) => self.send(&mut body, &mut outgoing, house.settings.drain),
            Err(panic) => Err(Failure::new(Cause::ApplicationPanic, panic_text(panic))),
        };
        if let Err(failure) = result {
            self.fail(failure, &mut outgoing, connection, house);
        } else if let Some(cause) = outgoing.failure {
            self.report(cause, Answer::Sent, "", connection, house);
        }
        if outgoing.head_is_large {
            self.report(Cause::HeadLarge, Answer::Sent, "", connection, house);
        }
        if let Some(error) = self.start_response.take_replaced() {
            self.report(Cause::ApplicationError, Answer::Status(outgoing.status), &error, connection, house);
        }
        // Before the next request on the connection, whatever happened (P-BODY-04).
        if body.closes_late() {
            outgoing.lately = None;
        }
        for _ in 0..body.close() {
            self.report(Cause::ClosePanic, Answer::Sent, "", connection, house);
        }
        outgoing
    }

    /// Sends a body, as its form allows.
    fn send(&mut self, body: &mut Body, outgoing: &mut Outgoing, drain: u64) -> Result<(), Failure> {
        if let Some(misuse) = self.start_response.misuse() {
            return Err(Failure::new(misuse.cause(), misuse.detail().to_owned()));
        }
        if let Kind::Failed(error) = body.kind() {
            return Err(Failure::new(Cause::ApplicationError, error_text(error)));
        }
        match body.known_len() {
            Some(known) if !self.start_response.has_written() => {
                self.send_whole(std::mem::take(body.kind()), known, outgoing, drain)
            }
            _ => self.send_blocks(body, outgoing),
        }
    }

    /// A body that is all there goes out in one piece with its head; what the client does not take at once waits without a thread.
    fn send_whole(&mut self, kind: Kind, known: u64, outgoing: &mut Outgoing, most: u64) -> Result<(), Failure> {
        let has_content = outgoing.has_content();
        match self.close_input() {
            // More than will be drained: the head can still say that the connection ends.
            Some(incoming) => {
                outgoing.keep_alive &= !incoming.coding.exceeds(most.saturating_add(incoming.buffer.len() as u64));
            }
            // A reader outlives the call.
            None => outgoing.keep_alive &= !has_content,
        }
        let now = Instant::now();
        self.make_head(outgoing, Some(known), now)?;
        let back = match kind {
            Kind::Bytes(block) => Back::Bytes { block, sent: 0 },
            Kind::List(mut rest) => match rest.find(|block| !block.is_empty()) {
                Some(block) => Back::List { block, sent: 0, rest, left: known },
                None => Back::Nothing,
            },
            Kind::File(mut file) => {
                let position =
                    file.stream_position().map_err(|error| Failure::new(Cause::BodyFailed, error.to_string()))?;
                Back::File { file, position, left: known }
            }
            Kind::Range(range) => Back::File { file: range.file, position: range.position, left: known },
            Kind::Empty | Kind::Blocks(_) | Kind::Reader(_) | Kind::Deferred(_) | Kind::Failed(_) => Back::Nothing,
        };
        outgoing.push_whole(back, known);
        outgoing.finish();
        outgoing.note_produced(now);
        if outgoing.is_gathering() {
            return Ok(());
        }
        match outgoing.flush() {
            Ok(Flushed::Whole | Flushed::Partly(_) | Flushed::Share) => Ok(()),
            Err(error) => Err(undelivered(outgoing, &error)),
        }
    }

    /// A body of blocks: each is on its way before the next is asked for (P-BODY-01). The head goes with the first that is not
    /// empty, so that until then an error can still become a 500 (P-SR-06).
    fn send_blocks(&mut self, body: &mut Body, outgoing: &mut Outgoing) -> Result<(), Failure> {
        loop {
            let next = catch_unwind(AssertUnwindSafe(|| body.next_block()));
            let block = match next {
                Ok(Some(Ok(block))) if block.is_empty() => continue,
                Ok(Some(Ok(block))) => block,
                Ok(Some(Err(error))) => return Err(Failure::new(Cause::BodyFailed, error_text(&error))),
                Ok(None) => break,
                Err(panic) => return Err(Failure::new(Cause::ApplicationPanic, panic_text(panic))),
            };
            if !outgoing.head_is_made() {
                self.make_head(outgoing, None, Instant::now())?;
            }
            outgoing.push(block);
            if outgoing.drops_content() {
                break;
            }
            let overrun = outgoing.failure.is_some();
            outgoing.send_block().map_err(|error| undelivered(outgoing, &error))?;
            if overrun {
                break;
            }
        }
        let now = Instant::now();
        if !outgoing.head_is_made() {
            // No block at all is a body of length 0.
            self.make_head(outgoing, Some(0), now)?;
        }
        outgoing.finish();
        outgoing.note_produced(now);
        outgoing.deliver().map_err(|error| undelivered(outgoing, &error))
    }

    fn make_head(&self, outgoing: &mut Outgoing, known: Option<u64>, now: Instant) -> Result<(), Failure> {
        match (self.start_response.status(), self.start_response.headers()) {
            (Some(status), Some(headers)) => {
                outgoing.make_head((status.code(), status.reason()), headers, known, now);
                Ok(())
            }
            _ => Err(Failure::new(Cause::NotStarted, String::new())),
        }
    }

    /// The response cannot go on: another status while nothing is out, a visible end otherwise.
    fn fail(&mut self, failure: Failure, outgoing: &mut Outgoing, connection: &Connection, house: &House) {
        let Failure { mut cause, mut detail } = failure;
        // An error of reading, passed on by the application, is the client's and not the application's.
        if let Some(of_input) = self.close_input().and_then(|incoming| incoming.failure) {
            cause = of_input;
            detail.clear();
        }
        outgoing.send_held();
        outgoing.failure = Some(cause);
        if outgoing.is_complete() && cause.number() >= 4000 {
            // The client has got all that was promised; only the application is not content.
            self.report(cause, Answer::Sent, &detail, connection, house);
            return;
        }
        if outgoing.head_is_made() {
            // No last chunk, fewer bytes than promised: the client sees that the response is not whole (P-ERR-04).
            outgoing.keep_alive = false;
            outgoing.cut();
            connection.transport.shutdown(std::net::Shutdown::Write);
            self.report(cause, Answer::Cut, &detail, connection, house);
            return;
        }
        let status = cause.status().unwrap_or(500);
        if cause.number() < 4000 {
            outgoing.keep_alive = false;
        }
        let (reason, now) = (reason_of(status), Instant::now());
        let headers = Headers::from(&[("Content-Type", "text/plain")]);
        outgoing.make_head((status, reason), &headers, Some(reason.len() as u64 + 1), now);
        outgoing.push(format!("{reason}\n").into_bytes().into());
        outgoing.finish();
        // The client may be gone as well; the report below is the same.
        let _ = outgoing.flush();
        outgoing.failure = Some(cause);
        self.report(cause, Answer::Status(status), &detail, connection, house);
    }

    /// Ends the application's access to the content and keeps what it was read from.
    fn close_input(&mut self) -> Option<&mut Incoming> {
        if let Some(content) = self.environ.close_input() {
            self.incoming = content.into_any().downcast().ok();
        }
        self.incoming.as_deref_mut()
    }

    /// Takes the content back from where the application read it. Gives what of it is unread.
    fn take_up(
        &mut self,
        connection: &mut Connection,
        facts: Facts,
        outgoing: &mut Outgoing,
        house: &House,
    ) -> Option<Coding> {
        self.close_input();
        let taken = self.incoming.take();
        if matches!(facts.content, Content::None | Content::Length(0)) {
            return None;
        }
        let Some(mut incoming) = taken else {
            // A reader outlives the call. What it reads belongs to nobody now, so the connection ends.
            outgoing.keep_alive = false;
            return None;
        };
        connection.buffer = std::mem::take(&mut incoming.buffer);
        if incoming.failure.is_some() {
            outgoing.keep_alive = false;
        }
        if let Coding::Records(stdin) = &incoming.coding {
            outgoing.unsent.append(&stdin.answers_to_others(house.policy.threads));
        }
        if outgoing.keep_alive {
            incoming.coding.give_up();
        }
        if incoming.coding.is_end() { None } else { Some(incoming.coding) }
    }

    fn log_access(&mut self, outgoing: &Outgoing, house: &House, begin: Instant) {
        let (status, bytes) = (outgoing.status, outgoing.content);
        house.stats.count_answer(bytes);
        house.access(&Access { environ: &self.environ, status, bytes, begin });
    }

    fn report(&mut self, cause: Cause, answer: Answer, detail: &str, connection: &Connection, house: &House) {
        self.request_line.clear();
        for part in [self.environ.method().as_bytes(), b" ", self.environ.bytes("REQUEST_URI").unwrap_or_default()] {
            self.request_line.extend_from_slice(part);
        }
        self.request_line.truncate(200);
        house.error(&Report { cause, peer: connection.peer.address, request: &self.request_line, answer, detail });
    }
}

/// How many answers to pipelined requests go into one write at most.
const GATHERED: usize = 32;

fn undelivered(outgoing: &Outgoing, error: &std::io::Error) -> Failure {
    Failure::new(outgoing.failure.unwrap_or(Cause::ClientGone), error.to_string())
}
