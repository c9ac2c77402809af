//! One connection's life, as a state machine that no thread owns while it waits.
//!
//! ```text
//!   Fresh ─┐           ┌─▶ Gathering ─┐
//!          ├─▶ Head ───┤              ├─▶ Whole ─▶ (a call) ─▶ Flushing ─▶ Draining ─▶ Idle ─▶ Head ...
//!   Idle ──┘           └──────────────┘                             └─────▶ Lingering ─▶ end
//! ```
//!
//! [`Connection::advance`] does what can be done without waiting and says what comes next. Each phase has one total deadline,
//! from the settings; what a phase may store is bounded there too. It calls no application and holds no lock.

use std::io;
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::held::Held;
use super::house::{House, Ticket};
use super::incoming::{Coding, Next as Content, Pace};
use super::refusal::refusal;
use super::transport::{Transport, Wait, is_not_yet};
use super::unsent::{Flushed, SHARE, Unsent};
use crate::cause::Cause;
use crate::door::{Examined, Origin, Peer, Policy, Progress, Room};
use crate::log::{Answer, Report};

/// A client at the other end of a transport.
pub(super) struct Connection {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) peer: Peer,
    pub(super) origin: Arc<Origin>,
    pub(super) buffer: Buffer,
    phase: Phase,
    deadline: Instant,
    /// When the present phase began; what was open longest is closed first.
    pub(super) since: Instant,
    /// How long the last call for it lasted: the next is likely to be of the same kind.
    pub(super) last_call: Duration,
    progress: Progress,
    unsent: Unsent,
    /// Content of the answered request that has not been read.
    unread: Option<Coding>,
    ending: bool,
    /// The client has stopped sending: what has arrived is all there will be.
    ended: bool,
    held: Held,
    _ticket: Option<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Open, and nothing has arrived.
    Fresh,
    /// Between two requests.
    Idle,
    /// A request head is arriving.
    Head,
    /// The head is whole, and so much of head and small content together is waited for.
    Gathering { whole: usize, pace: Pace },
    /// A whole request is here and waits for a thread.
    Whole,
    /// The head is here, and its long content waits for a place among the slow clients.
    Postponed,
    /// What is left of a response is being taken by the client.
    Flushing,
    /// Content nobody read is skipped, so that the next request can be found: at most so much more.
    Draining { most: u64 },
    /// Everything is said; the client may still be sending, at most so much more.
    Lingering { most: u64 },
}

/// What comes next for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits for its client.
    Wait,
    /// It could go on at once, and has had its share for now.
    More,
    /// There may be a request to answer: [`Connection::examine`] tells.
    Look,
    /// It is over.
    End,
}

/// What an exchange leaves behind.
pub(super) struct After {
    pub(super) unsent: Option<Unsent>,
    pub(super) unread: Option<Coding>,
    pub(super) keep_alive: bool,
    /// The response is sent with the next one.
    pub(super) gathered: bool,
}

impl Connection {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        peer: Peer,
        origin: Arc<Origin>,
        house: &House,
        ticket: Option<Ticket>,
        now: Instant,
    ) -> Connection {
        Connection {
            transport,
            peer,
            origin,
            buffer: Buffer::default(),
            phase: Phase::Fresh,
            deadline: now + house.settings.first_byte_deadline,
            since: now,
            last_call: Duration::ZERO,
            progress: Progress::default(),
            unsent: Unsent::default(),
            unread: None,
            ending: false,
            ended: false,
            held: Held::new(&house.held),
            _ticket: ticket,
        }
    }

    /// Goes on as far as it can without waiting. `scratch` is memory for file blocks and for what is thrown away.
    pub(super) fn advance(&mut self, house: &House, now: Instant, scratch: &mut Vec<u8>) -> Next {
        loop {
            let step = match self.phase {
                Phase::Fresh | Phase::Idle | Phase::Head => self.receive_head(house, now),
                Phase::Gathering { whole, pace } => self.gather(whole, pace, house, now),
                Phase::Whole => Some(Next::Look),
                Phase::Postponed => self.wait_for_place(house, now),
                Phase::Flushing => self.flush(house, now, scratch),
                Phase::Draining { most } => self.drain(most, house, now),
                Phase::Lingering { most } => self.linger(most, now, scratch),
            };
            if let Some(next) = step {
                return next;
            }
        }
    }

    fn receive_head(&mut self, house: &House, now: Instant) -> Option<Next> {
        let door = self.origin.door;
        if !self.buffer.is_empty() {
            self.begin_head(house, now);
        }
        if door.may_be_decided(self.buffer.filled(), &mut self.progress, &house.policy) {
            return Some(Next::Look);
        }
        if self.phase != Phase::Head && house.is_stopping() {
            self.note_closed(Cause::Stopping, house);
            return Some(Next::End);
        }
        if now >= self.deadline {
            return match self.phase {
                Phase::Head => self.refuse(Cause::HeadDeadline, house, now),
                phase => {
                    let cause = if phase == Phase::Fresh { Cause::FirstByteDeadline } else { Cause::IdleDeadline };
                    self.note_closed(cause, house);
                    Some(Next::End)
                }
            };
        }
        // A head and the content gathered with it share the buffer.
        let most = door.longest_head(&house.policy) + house.policy.gathered_content;
        match self.buffer.fill(&*self.transport, most, &house.reserve) {
            Ok(0) if self.buffer.is_empty() => Some(Next::End),
            // The verdict is that of all its bytes, not that of the last look at them.
            Ok(0) => {
                self.ended = true;
                Some(Next::Look)
            }
            // One read a turn: a client that sends byte by byte must not keep the thread that reads it.
            Ok(_) if !door.may_be_decided(self.buffer.filled(), &mut self.progress, &house.policy) => {
                Some(self.begin_head(house, now))
            }
            Ok(_) => Some(Next::Look),
            Err(error) => Some(self.waits_or_ends(&error)),
        }
    }

    /// The first bytes of a head have come, and with them its deadline.
    fn begin_head(&mut self, house: &House, now: Instant) -> Next {
        if self.phase != Phase::Head {
            self.enter(Phase::Head, house.settings.head_deadline, now);
        }
        Next::More
    }

    fn gather(&mut self, whole: usize, mut pace: Pace, house: &House, now: Instant) -> Option<Next> {
        if self.buffer.len() >= whole {
            return Some(Next::Look);
        }
        if now >= self.deadline {
            let (_, cause) = pace.allowance(&house.settings);
            return self.refuse(cause, house, now);
        }
        match self.buffer.fill(&*self.transport, whole, &house.reserve) {
            Ok(0) => self.refuse(Cause::ContentTruncated, house, now),
            Ok(received) => {
                pace.note(now.saturating_duration_since(self.since), received);
                let (allowance, _) = pace.allowance(&house.settings);
                self.enter(Phase::Gathering { whole, pace }, allowance, now);
                Some(if self.buffer.len() >= whole { Next::Look } else { Next::More })
            }
            Err(error) => Some(self.waits_or_ends(&error)),
        }
    }

    fn wait_for_place(&mut self, house: &House, now: Instant) -> Option<Next> {
        if now >= self.deadline {
            return self.refuse(Cause::QueueTimeout, house, now);
        }
        if house.share.has_room() {
            return Some(Next::Look);
        }
        house.share.want();
        Some(Next::Wait)
    }

    fn flush(&mut self, house: &House, now: Instant, scratch: &mut Vec<u8>) -> Option<Next> {
        match self.unsent.flush(&*self.transport, scratch) {
            Ok(Flushed::Whole) => {
                self.unsent = Unsent::default();
                self.enter_after_response(house, now);
                None
            }
            Ok(Flushed::Partly(0)) if now >= self.deadline => {
                self.report(Cause::ResponseStalled, Answer::Cut, house);
                Some(Next::End)
            }
            Ok(Flushed::Partly(0)) => Some(Next::Wait),
            Ok(flushed) => {
                self.enter(Phase::Flushing, house.settings.response_stall, now);
                Some(if flushed == Flushed::Share { Next::More } else { Next::Wait })
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    self.report(Cause::BodyShort, Answer::Cut, house);
                }
                Some(Next::End)
            }
        }
    }

    fn drain(&mut self, most: u64, house: &House, now: Instant) -> Option<Next> {
        let Some(coding) = &mut self.unread else {
            self.enter_idle(house, now);
            return None;
        };
        let skipped = match coding.next(&mut self.buffer) {
            Content::Data(length) => length.min(usize::try_from(most).unwrap_or(length)),
            Content::End => {
                self.unread = None;
                return None;
            }
            Content::Nothing if now < self.deadline => {
                return match self.buffer.fill(&*self.transport, 16 * 1024, &house.reserve) {
                    Ok(0) => Some(Next::End),
                    Ok(_) => Some(Next::More),
                    Err(error) => Some(self.waits_or_ends(&error)),
                };
            }
            Content::Nothing | Content::Broken(_) => 0,
        };
        if skipped == 0 {
            // Too much, too slow or malformed: where the next request starts will never be known.
            self.unread = None;
            self.enter_lingering(house, now);
            return None;
        }
        self.buffer.consume(skipped);
        coding.advance(skipped as u64);
        self.phase = Phase::Draining { most: most - skipped as u64 };
        None
    }

    fn linger(&mut self, most: u64, now: Instant, scratch: &mut Vec<u8>) -> Option<Next> {
        if most == 0 || now >= self.deadline {
            return Some(Next::End);
        }
        scratch.resize(scratch.len().max(SHARE), 0);
        match self.transport.read(scratch) {
            Ok(0) => Some(Next::End),
            Ok(read) => {
                self.phase = Phase::Lingering { most: most.saturating_sub(read as u64) };
                Some(Next::More)
            }
            Err(error) => Some(self.waits_or_ends(&error)),
        }
    }

    /// Reads what has arrived as a request. The bytes stay in the buffer.
    pub(super) fn examine<'buf>(&'buf self, policy: &Policy, room: &'buf mut Room) -> Examined<'buf> {
        self.origin.door.examine(self.buffer.filled(), policy, room)
    }

    /// Whether a whole request is here that the application is to answer.
    pub(super) fn is_answerable(&self, policy: &Policy) -> bool {
        matches!(self.examine(policy, &mut Room::default()), Examined::Ready(_))
    }

    /// The head is not whole yet: it goes on arriving.
    pub(super) fn keep_receiving(&mut self, house: &House, now: Instant) {
        if self.ended {
            self.refuse(Cause::HeadTruncated, house, now);
        } else {
            self.begin_head(house, now);
        }
    }

    /// The head is whole and its small content is not: so many bytes belong together.
    pub(super) fn keep_gathering(&mut self, whole: usize, house: &House, now: Instant) {
        if self.ended {
            self.refuse(Cause::ContentTruncated, house, now);
            return;
        }
        // In records the whole is known record by record: what was waited for so far counts.
        let pace = if let Phase::Gathering { pace, .. } = self.phase { pace } else { Pace::default() };
        let (allowance, _) = pace.allowance(&house.settings);
        self.enter(Phase::Gathering { whole, pace }, allowance, now);
    }

    /// The request is whole: whoever advances the connection next is to look at it.
    pub(super) fn await_thread(&mut self, now: Instant) {
        self.phase = Phase::Whole;
        self.since = now;
    }

    /// Gathered answers that the client did not take at once: they go out before anything else happens.
    pub(super) fn send_later(&mut self, unsent: Unsent, house: &House, now: Instant) {
        self.unsent = unsent;
        self.enter(Phase::Flushing, house.settings.response_stall, now);
    }

    /// The first bytes are no request; the protocol says something to them, or nothing.
    pub(super) fn answer_protocol(&mut self, consumed: usize, reply: &[u8], ends: bool, house: &House, now: Instant) {
        self.buffer.consume(consumed);
        self.progress = Progress::default();
        self.ending = ends;
        if ends || !reply.is_empty() {
            self.unsent.append(reply);
            self.enter(Phase::Flushing, house.settings.response_stall, now);
        } else if self.buffer.is_empty() {
            self.enter_idle(house, now);
        }
    }

    /// Whether bytes that were received already may hold the next request.
    pub(super) fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Slow clients hold their whole share of the threads: this one waits until one of them is done.
    pub(super) fn postpone(&mut self, house: &House, now: Instant) {
        if self.phase != Phase::Postponed {
            self.enter(Phase::Postponed, house.settings.queue_timeout, now);
        }
    }

    /// A response was made: what is left of it, of the request, and of the connection.
    pub(super) fn finish_call(&mut self, after: After, house: &House, now: Instant) {
        self.progress = Progress::default();
        self.unread = after.unread;
        self.ending = !after.keep_alive;
        if after.gathered {
            // Nothing may end the connection before it is out, not even a stop.
            return self.enter_idle(house, now);
        }
        match after.unsent {
            Some(unsent) => {
                self.unsent = unsent;
                self.enter(Phase::Flushing, house.settings.response_stall, now);
            }
            None => self.enter_after_response(house, now),
        }
    }

    /// Answers with the status of a cause and ends the connection; whatever is unread is not interpreted.
    pub(super) fn refuse(&mut self, cause: Cause, house: &House, now: Instant) -> Option<Next> {
        self.unread = None;
        self.ending = true;
        match (cause.status(), self.origin.door.addressee(self.buffer.filled())) {
            (Some(status), Some(addressee)) => {
                self.report(cause, Answer::Status(status), house);
                self.unsent = refusal(status, addressee, house);
                self.buffer.consume(self.buffer.len());
                self.enter(Phase::Flushing, house.settings.response_stall, now);
            }
            // Whatever speaks there would not understand an answer.
            _ => {
                self.report(cause, Answer::Closed, house);
                self.enter_lingering(house, now);
            }
        }
        None
    }

    /// Tells the log what went wrong on this connection.
    pub(super) fn report(&self, cause: Cause, answer: Answer, house: &House) {
        let request = self.origin.door.request_line(self.buffer.filled());
        let detail = self.origin.door.mistake(self.buffer.filled()).unwrap_or_default();
        house.error(&Report { cause, peer: self.peer.address, request: &request, answer, detail: &detail });
    }

    /// Tells the log that the connection ends as it should.
    pub(super) fn note_closed(&self, cause: Cause, house: &House) {
        let (peer, answer) = (self.peer.address, Answer::Closed);
        house.closed(&Report { cause, peer, request: b"", answer, detail: "" });
    }

    /// Whether a thread with nothing better to do may stay with it for a moment: a request is likely to come soon.
    pub(super) fn is_worth_waiting_for(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Idle | Phase::Head | Phase::Gathering { .. })
    }

    /// Whether nothing of a request has arrived and nothing of a response is left.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Idle) && self.buffer.is_empty()
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.peer.address.map(|(address, _)| address)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Counts the memory that it holds at the moment: what has arrived of a request and what has not been taken of a response.
    pub(super) fn count_held(&mut self) -> usize {
        let received = if self.buffer.is_empty() { 0 } else { self.buffer.capacity() };
        self.held.count(received + self.unsent.held());
        self.held.counted()
    }

    /// The memory that was counted last.
    pub(super) fn held(&self) -> usize {
        self.held.counted()
    }

    /// Makes it ready to wait without a thread.
    pub(super) fn rest(&mut self, house: &House) -> io::Result<()> {
        self.buffer.release(&house.reserve);
        self.transport.wait(Wait::No)
    }

    fn enter_after_response(&mut self, house: &House, now: Instant) {
        if self.ending || house.is_stopping() {
            if !self.ending {
                // The stop came between the head, which said that the connection stays, and here.
                self.note_closed(Cause::Stopping, house);
            }
            // Attack on the client's behalf: closing with unread bytes sends a reset that eats the response (P-CONN-03).
            if self.unread.is_some() || !self.buffer.is_empty() || self.ending_is_sudden() {
                self.enter_lingering(house, now);
            } else {
                self.enter(Phase::Lingering { most: 0 }, Duration::ZERO, now);
            }
        } else if self.unread.is_some() {
            self.enter(Phase::Draining { most: house.settings.drain }, house.settings.drain_deadline, now);
        } else {
            self.enter_idle(house, now);
        }
    }

    /// The response had to wait for its client, or was a refusal: the client may not expect the end, and still be sending.
    fn ending_is_sudden(&self) -> bool {
        self.phase == Phase::Flushing
    }

    fn enter_lingering(&mut self, house: &House, now: Instant) {
        self.buffer.consume(self.buffer.len());
        if !self.transport.shutdown(Shutdown::Write) {
            // Without a half-close the client would wait for the end while this waits for the client.
            return self.enter(Phase::Lingering { most: 0 }, Duration::ZERO, now);
        }
        self.enter(Phase::Lingering { most: house.settings.linger }, house.settings.linger_deadline, now);
    }

    fn enter_idle(&mut self, house: &House, now: Instant) {
        self.progress = Progress::default();
        self.enter(Phase::Idle, house.settings.idle_deadline, now);
    }

    fn enter(&mut self, phase: Phase, within: Duration, now: Instant) {
        self.phase = phase;
        self.since = now;
        // A time beyond the clock's range is no deadline at all.
        self.deadline = now.checked_add(within).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)));
    }

    fn waits_or_ends(&self, error: &io::Error) -> Next {
        if is_not_yet(error) { Next::Wait } else { Next::End }
    }
}

/// A reader that the application has kept beyond its call holds the transport as well: it must not keep the client waiting.
impl Drop for Connection {
    fn drop(&mut self) {
        if Arc::strong_count(&self.transport) > 1 {
            self.transport.shutdown(Shutdown::Both);
        }
    }
}
