//! One connection's life, as phases that no thread owns while they wait.
//!
//! ```text
//!   Idle ─▶ Head ─▶ Gathering ─▶ (a call) ─▶ Sending ─▶ Draining ─▶ Idle ─▶ Head ...
//!                                    ▲          │  └─────▶ Lingering ─▶ end
//!                                    └──────────┘
//! ```
//!
//! Most requests take the short way: one arrives at once, so that its call begins in `Idle`, and is answered at once, so that it is `Idle` again. In a call
//! the phase is that before it, and its deadline means nothing. A request that waits for a thread or a seat does so in its phase, before anything else.
//!
//! [`Connection::step`] does what can be done without waiting and says what comes next. Each phase has one total deadline, from the settings;
//! what a phase may store is bounded there too. It runs under the lock of its shard, so it calls no application, reads no file and waits for
//! nobody, as long as the log does not: what needs a thread is a job.

mod counted;
mod waiting;

pub(super) use waiting::WaitsFor;

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bounds::{Place, Seat};
use super::buffer::Buffer;
use super::call::Call;
use super::reader::{Coding, Pace};
use super::response::Response;
use super::send::{QUANTUM, SendQueue};
use super::settings::{LAST_REQUEST, after};
use super::shared::Shared;
use super::socket::Socket;
use crate::cause::Cause;
use crate::door::{Examined, Filling, NotReady, Origin, Peer, Policy, Progress, Room, mistaken};
use crate::gateway::{Environ, is_not_yet};
use crate::http::chunked::Step as Content;
use crate::log::{Answer, Report};

/// A client at the other end of a socket.
pub(super) struct Connection {
    pub(super) socket: Arc<Socket>,
    pub(super) peer: Peer,
    pub(super) origin: Arc<Origin>,
    pub(super) buffer: Buffer,
    phase: Phase,
    pub(super) deadline: Instant,
    /// When it entered its phase, or made progress in one of those that have to; what has waited longest is closed first.
    pub(super) since: Instant,
    /// How long the application took for it the last time: the next time is likely to be of the same kind.
    pub(super) last_call: Duration,
    /// Since when a request has waited for a thread or a seat.
    pub(super) queued: Option<Instant>,
    /// Its place in the line for a seat, or that of its call.
    pub(super) seat: Option<Seat>,
    progress: Progress,
    /// What goes out before anything else: answers that wait for the next, and what the server itself says.
    pub(super) queue: SendQueue,
    /// The call that waits until what it has sent is taken, or for a block to send.
    pub(super) call: Option<Box<Call>>,
    /// Content of the request that has not been read: as long as there is a reader, only that knows.
    pub(super) unread: Option<Coding>,
    /// The connection ends with the response.
    close_after: bool,
    /// The client wants it so, and its request had no content: it should have nothing more to say.
    pub(super) asks_for_end: bool,
    /// Nothing of what arrived has been used yet.
    is_first: bool,
    /// None where it is counted nowhere: without a server around it, or when it was closed for another and waits for a thread that closes its body.
    pub(super) place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before the first request, or between two.
    Idle,
    /// A request head is arriving.
    Head,
    /// The head is whole, and so much of head and small content together is waited for.
    Gathering { whole: usize, pace: Pace },
    /// What there is of a response is being taken by the client, or has been, and there is more to come.
    Sending,
    /// Content nobody read is skipped, so that the next request can be found: at most so much more.
    Draining { most: u64 },
    /// Everything is said; the client may still be sending, at most so much more.
    Lingering { most: u64 },
}

/// What comes next for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It waits: for its client, for a block of another thread, or for a seat.
    Wait,
    /// It could go on at once, and has had its turn for now.
    More,
    /// A thread is to run what it has: there may be a request to answer, or a call to go on with.
    Job,
    /// It is over.
    End,
}

impl Connection {
    pub(super) fn new(
        socket: Socket,
        peer: Peer,
        origin: Arc<Origin>,
        shared: &Shared,
        place: Option<Place>,
        now: Instant,
    ) -> Box<Connection> {
        Box::new(Connection {
            socket: Arc::new(socket),
            peer,
            origin,
            buffer: Buffer::default(),
            phase: Phase::Idle,
            deadline: after(now, shared.settings.first_byte_deadline),
            since: now,
            last_call: Duration::ZERO,
            queued: None,
            seat: None,
            progress: Progress::default(),
            queue: SendQueue::default(),
            call: None,
            unread: None,
            close_after: false,
            asks_for_end: false,
            is_first: true,
            place,
        })
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn step(&mut self, shared: &Shared, now: Instant) -> Step {
        if shared.is_over() && self.call.is_none() {
            return self.end(Cause::Stopping, shared);
        }
        loop {
            let step = match self.phase {
                _ if self.queued.is_some() => self.wait_for_turn(shared, now),
                Phase::Idle | Phase::Head => self.receive_head(shared, now),
                Phase::Gathering { whole, pace } => self.gather(whole, pace, shared, now),
                Phase::Sending => self.send(shared, now),
                Phase::Draining { most } => self.drain(most, shared, now),
                Phase::Lingering { most } => self.linger(most, now),
            };
            if let Some(step) = step {
                self.count_phase();
                return step;
            }
        }
    }

    fn receive_head(&mut self, shared: &Shared, now: Instant) -> Option<Step> {
        // It may have come with the request before it.
        if !self.buffer.is_empty() && self.look_at_head(shared, now) {
            return Some(Step::Job);
        }
        if now >= self.deadline {
            return match self.phase {
                Phase::Head => self.refuse(Cause::HeadDeadline, shared, now),
                _ if self.is_first => Some(self.end(Cause::FirstByteDeadline, shared)),
                _ => Some(self.end(Cause::IdleDeadline, shared)),
            };
        }
        // A head and the content gathered with it share the buffer.
        let protocol = self.origin.door.protocol();
        let most = protocol.longest_head(&shared.policy).saturating_add(shared.policy.gathered_content);
        // Looked at before the read: what arrives between the two had arrived before the stop. One that has just begun, or had an answer, is
        // left to its client for a moment: nobody has told it that this would be the end.
        let is_last = shared.is_stopping() && self.phase != Phase::Head && now >= after(self.since, LAST_REQUEST);
        match self.buffer.fill(&self.socket, most) {
            Ok(0) if !protocol.has_begun(self.buffer.filled()) => Some(Step::End),
            // The verdict is that of all its bytes, not that of the last look at them.
            Ok(0) => match self.examine(&shared.policy, &mut Room::default(), None) {
                Err(NotReady::Incomplete) => self.refuse(Cause::HeadTruncated, shared, now),
                _ => Some(Step::Job),
            },
            Ok(_) if self.look_at_head(shared, now) => Some(Step::Job),
            // A stop ends it only now: what had arrived before it is answered.
            Err(error) if is_last && is_not_yet(&error) => Some(self.end(Cause::Stopping, shared)),
            // One read a turn: a client that sends byte by byte must not keep the thread that reads it.
            read => Some(after_read(&read)),
        }
    }

    /// Whether the head may be whole. With its first bytes comes its deadline.
    fn look_at_head(&mut self, shared: &Shared, now: Instant) -> bool {
        let (protocol, bytes) = (self.origin.door.protocol(), self.buffer.filled());
        let may_be = protocol.may_be_decided(bytes, &mut self.progress, &shared.policy);
        if !may_be {
            self.begin_head(shared, now);
        }
        may_be
    }

    fn begin_head(&mut self, shared: &Shared, now: Instant) {
        if self.phase != Phase::Head && self.origin.door.protocol().has_begun(self.buffer.filled()) {
            // A stream of the caller's own may have waited for its first bytes for long.
            self.enter(Phase::Head, shared.settings.head_deadline, now.max(Instant::now()));
        }
    }

    fn gather(&mut self, whole: usize, mut pace: Pace, shared: &Shared, now: Instant) -> Option<Step> {
        if self.buffer.len() >= whole {
            return Some(Step::Job);
        }
        if now >= self.deadline {
            let (_, cause) = pace.allowance(&shared.settings);
            return self.refuse(cause, shared, now);
        }
        match self.buffer.fill(&self.socket, whole) {
            Ok(0) => self.refuse(Cause::ContentTruncated, shared, now),
            Ok(received) => {
                pace.note(&mut self.since, now, received);
                let (allowance, _) = pace.allowance(&shared.settings);
                self.enter(Phase::Gathering { whole, pace }, allowance, now);
                Some(if self.buffer.len() >= whole { Step::Job } else { Step::More })
            }
            error => Some(after_read(&error)),
        }
    }

    fn send(&mut self, shared: &Shared, now: Instant) -> Option<Step> {
        let (sent, is_all) = match &self.call {
            Some(_) if shared.is_over() => return Some(self.cut(Cause::Stopping)),
            Some(call) => {
                let mut response = call.response();
                (response.flush(), response.queue.is_empty())
            }
            None => (self.queue.flush(&self.socket), self.queue.is_empty()),
        };
        match (sent, &mut self.call) {
            (Err(_), _) => Some(self.cut(Cause::ClientGone)),
            (Ok(_), Some(call)) if is_all => {
                let is_finished = call.response().is_finished();
                if is_finished {
                    // However long ago the application was done with it.
                    self.since = now;
                }
                Some(if is_finished || call.try_to_go_on(&mut self.seat) { Step::Job } else { Step::Wait })
            }
            (Ok(_), None) if is_all => {
                self.enter_after_response(shared, now);
                None
            }
            (Ok(0), _) if now < self.deadline => Some(Step::Wait),
            (Ok(0), call) => {
                if call.is_none() {
                    self.report(Cause::ResponseStalled, Answer::Cut, shared);
                }
                Some(self.cut(Cause::ResponseStalled))
            }
            (Ok(sent), _) => {
                self.enter(Phase::Sending, shared.settings.response_stall, now);
                Some(if sent >= QUANTUM { Step::More } else { Step::Wait })
            }
        }
    }

    /// Gives the response up; a thread closes its body and says so in the log.
    pub(super) fn cut(&mut self, cause: Cause) -> Step {
        self.socket.shutdown(Shutdown::Both);
        let Some(call) = &self.call else { return Step::End };
        call.response().cut(cause);
        Step::Job
    }

    fn drain(&mut self, most: u64, shared: &Shared, now: Instant) -> Option<Step> {
        let Some(coding) = &mut self.unread else {
            self.enter_idle(shared, now);
            return None;
        };
        match coding.find(&mut self.buffer) {
            Content::End => self.unread = None,
            Content::Data { len } if most > 0 => {
                let skipped = len.min(usize::try_from(most).unwrap_or(len));
                coding.advance(skipped as u64);
                self.buffer.consume(skipped);
                self.phase = Phase::Draining { most: most - skipped as u64 };
            }
            Content::Incomplete if now < self.deadline => {
                return Some(after_read(&self.buffer.fill(&self.socket, 16 * 1024)));
            }
            // Too much, too slow or malformed: where the next request starts will never be known.
            Content::Data { .. } | Content::Incomplete | Content::Invalid(_) => {
                self.unread = None;
                self.enter_lingering(shared, now);
            }
        }
        None
    }

    fn linger(&mut self, most: u64, now: Instant) -> Option<Step> {
        if most == 0 || now >= self.deadline {
            return Some(Step::End);
        }
        let read = self.socket.read(&mut [0; 16 * 1024]);
        self.phase = Phase::Lingering { most: most.saturating_sub(*read.as_ref().unwrap_or(&0) as u64) };
        Some(after_read(&read))
    }

    /// Reads what has arrived as a request, and fills an environ with it. The bytes stay in the buffer.
    pub(super) fn examine(&self, policy: &Policy, room: &mut Room, environ: Option<&mut Environ>) -> Examined {
        room.is_first = self.is_first;
        let filling = environ.map(|environ| Filling { environ, origin: &self.origin, peer: &self.peer });
        self.origin.door.protocol().examine(self.buffer.filled(), policy, room, filling)
    }

    /// What has arrived is no request to answer, or not yet.
    pub(super) fn put_off(&mut self, why: NotReady, shared: &Shared, now: Instant) {
        match why {
            NotReady::Incomplete => self.begin_head(shared, now),
            NotReady::Gather(whole) => {
                // In records the whole is known record by record: what was waited for so far counts.
                let pace = if let Phase::Gathering { pace, .. } = self.phase { pace } else { Pace::default() };
                let (allowance, _) = pace.allowance(&shared.settings);
                self.enter(Phase::Gathering { whole, pace }, allowance, now);
            }
            NotReady::Answered { consumed, reply, ends } => {
                self.buffer.consume(consumed);
                self.is_first = false;
                self.close_after = ends;
                self.queue.push_bytes(&reply);
                self.enter_after_response(shared, now);
            }
            NotReady::Refused(cause) => drop(self.refuse(cause, shared, now)),
        }
    }

    /// A call waits in it, until what is unsent is taken or there is more to send.
    pub(super) fn wait_with(&mut self, mut call: Box<Call>, shared: &Shared, now: Instant) {
        call.leave_thread(self);
        // Anything that was added to the response is progress.
        let has_moved = call.answered > self.since;
        self.call = Some(call);
        if has_moved || self.phase != Phase::Sending {
            self.enter(Phase::Sending, shared.settings.response_stall, now);
        }
    }

    /// A call is over, and its response out or in the queue: what is left of the request, and of the connection.
    pub(super) fn finish_call(&mut self, keep_alive: bool, shared: &Shared, now: Instant) {
        if let Some(Coding::Door(reader)) = &mut self.unread {
            self.queue.push_bytes(&reader.replies());
            if keep_alive {
                reader.finish();
            }
        }
        self.unread.take_if(|coding| coding.is_end());
        (self.close_after, self.is_first, self.seat) = (!keep_alive, false, None);
        self.enter_after_response(shared, now);
    }

    /// Answers with the status of a cause and ends the connection; whatever is unread is not interpreted.
    pub(super) fn refuse(&mut self, cause: Cause, shared: &Shared, now: Instant) -> Option<Step> {
        self.unread = None;
        (self.queued, self.seat) = (None, None);
        self.close_after = true;
        match (cause.status(), self.origin.door.protocol().addressee(self.buffer.filled(), self.is_first)) {
            (Some(status), Some(addressee)) => {
                self.report(cause, Answer::Status(status), shared);
                let mut response = Response::default();
                (response.queue, response.request) = (std::mem::take(&mut self.queue), addressee);
                response.answer(status, shared);
                self.queue = response.queue;
                self.buffer.consume(self.buffer.len());
                self.enter(Phase::Sending, shared.settings.response_stall, now);
            }
            // Whatever speaks there would not understand an answer.
            _ => {
                self.report(cause, Answer::Closed, shared);
                self.enter_lingering(shared, now);
            }
        }
        None
    }

    /// Tells the log what went wrong on this connection.
    pub(super) fn report(&self, cause: Cause, answer: Answer, shared: &Shared) {
        let (door, bytes) = (self.origin.door, self.buffer.filled());
        let (request, mistake) = (door.protocol().request_line(bytes), mistaken::mistake(bytes, door));
        let detail = mistake.as_deref().unwrap_or_default();
        shared.error(&Report { cause, peer: self.peer.address, request: &request, answer, detail });
    }

    /// Ends as it should, which the log is told.
    fn end(&self, cause: Cause, shared: &Shared) -> Step {
        let (peer, answer) = (self.peer.address, Answer::Closed);
        shared.closed(&Report { cause, peer, request: b"", answer, detail: "" });
        Step::End
    }

    /// Makes it ready to wait without a thread for longer than a moment.
    pub(super) fn rest(&mut self) {
        self.buffer.release();
        self.queue.release();
        if let Some(call) = &mut self.call {
            call.rest();
        }
        self.count_memory();
    }

    /// A response is out, or waits for the next. What is still to go out, by itself or behind it, does so before anything else ends the connection.
    fn enter_after_response(&mut self, shared: &Shared, now: Instant) {
        if !self.queue.is_empty() {
            self.enter(Phase::Sending, shared.settings.response_stall, now);
        } else if self.close_after {
            // Attack on the client's behalf: bytes that are unread at the end, or come behind it, are answered with a reset that eats the
            // response (P-CONN-03). Whoever did not ask for the end may be sending.
            if self.asks_for_end && self.buffer.is_empty() {
                self.phase = Phase::Lingering { most: 0 };
            } else {
                self.enter_lingering(shared, now);
            }
        } else if self.unread.is_some() {
            self.enter(Phase::Draining { most: shared.settings.drain }, shared.settings.drain_deadline, now);
        } else {
            self.enter_idle(shared, now);
        }
    }

    pub(super) fn enter_lingering(&mut self, shared: &Shared, now: Instant) {
        self.buffer.consume(self.buffer.len());
        // Without a half-close the client would wait for the end while this waits for the client.
        let most = if self.socket.shutdown(Shutdown::Write) { shared.settings.linger } else { 0 };
        self.enter(Phase::Lingering { most }, shared.settings.linger_deadline, now);
    }

    fn enter_idle(&mut self, shared: &Shared, now: Instant) {
        self.progress = Progress::default();
        self.enter(Phase::Idle, shared.settings.idle_deadline, now);
    }

    fn enter(&mut self, phase: Phase, within: Duration, now: Instant) {
        (self.phase, self.since, self.deadline) = (phase, now, after(now, within));
    }
}

/// What comes next when nothing else is made of a read.
fn after_read(read: &io::Result<usize>) -> Step {
    match read {
        Ok(1..) => Step::More,
        Err(error) if is_not_yet(error) => Step::Wait,
        _ => Step::End,
    }
}

/// Others hold the socket as well: a reader that the application has kept beyond its call, which must not keep the client waiting, and a sleeper,
/// whose wait ends with this.
impl Drop for Connection {
    fn drop(&mut self) {
        if Arc::strong_count(&self.socket) > 1 {
            self.socket.shutdown(Shutdown::Both);
        }
    }
}
