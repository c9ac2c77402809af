//! A set of connections: where they are while they wait, and how a thread finds the next that needs it.
//!
//! A worker attends a shard: it holds the lock while it sweeps, and lets go of it to run a job. One word says who has the shard: 0 while a
//! worker attends it (or it waits for one), otherwise the number of the absence of its worker, odd while that blocks on the only connection.
//! Whoever turns that number to 0 has the shard: its worker coming back, the monitor that has seen the same number twice, or whoever brings a
//! connection to a worker that blocks. A worker that fails to has lost it.
//!
//! A connection is hot for a moment (1 to 10 ms) after it did something, and looked at in every sweep; then it is cold, and looked at after a
//! time proportional to how long it has been quiet. A look is one non-blocking read or write. One whose blocks another thread sends waits for
//! that, and is not looked at. A cold connection gives its buffer back.
//!
//! Invariant: a connection is at every moment in exactly one place: in one of the collections of a shard, in its inbox, or owned by one
//! thread. It moves only by being moved, so it can be neither lost nor served twice.

use std::cmp::Ordering as Order;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Step};
use super::settings::{COOL, COOL_EACH, GRID, LONGEST, LONGEST_EACH, SHORTEST, SLOW_CALL};
use super::shared::{Shared, lock};
use crate::cause::Cause;
use crate::door::{NotReady, Room};
use crate::gateway::Wake;
use crate::log::Answer;

/// The connections of one shard, and who has it.
pub(super) struct Shard {
    state: Mutex<State>,
    inbox: Mutex<Inbox>,
    signal: Condvar,
    has_mail: AtomicBool,
    /// The absence of its worker, or 0.
    away: AtomicU64,
    absences: AtomicU64,
    /// Nanoseconds that calls of the application last, as a moving average with weight 1/16.
    average: AtomicU64,
    waiting: AtomicUsize,
    queued: AtomicUsize,
}

/// What other threads bring: connections that were accepted, and those whose call lasted so long that the shard went on without them; and
/// the places of those for which a block was sent.
#[derive(Default)]
struct Inbox {
    arrived: Vec<Box<Connection>>,
    awake: Vec<usize>,
    is_asleep: bool,
    is_woken: bool,
}

/// What is swept. In boxes, so that a connection goes from thread to thread without being copied.
pub(super) struct State {
    hot: VecDeque<Box<Connection>>,
    cold: BinaryHeap<Parked>,
    /// Those that wait for a block from another thread, and the places that are free.
    streams: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    /// Requests that were found while no thread was free to answer them, and calls that may go on.
    ready: VecDeque<Box<Connection>>,
    begun: VecDeque<Box<Connection>>,
    mail: (Vec<Box<Connection>>, Vec<usize>),
    start: Instant,
    last_report: Option<Instant>,
    /// How far a stop has come that every connection was looked at for: 1 when it began, 2 when its grace was over.
    stop_seen: u8,
}

/// A cold connection and when it is looked at next.
struct Parked {
    due: Instant,
    connection: Box<Connection>,
}

/// What a sweep found.
pub(super) enum Found {
    /// A connection for which a thread is needed.
    Job(Box<Connection>),
    /// The only hot connection, and it says nothing. Another is due at a time.
    Alone(Box<Connection>, Option<Instant>),
    /// Nothing now: look again after this time, or when somebody calls.
    Nothing(Option<Duration>),
}

impl Default for Shard {
    fn default() -> Shard {
        // Room for a usual crowd from the start, so that the steady state of a small server never allocates.
        let state = State {
            hot: VecDeque::with_capacity(256),
            cold: BinaryHeap::with_capacity(256),
            streams: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::with_capacity(64),
            begun: VecDeque::new(),
            mail: (Vec::with_capacity(64), Vec::new()),
            start: Instant::now(),
            last_report: None,
            stop_seen: 0,
        };
        Shard {
            state: Mutex::new(state),
            inbox: Mutex::new(Inbox { arrived: Vec::with_capacity(64), ..Inbox::default() }),
            signal: Condvar::new(),
            has_mail: AtomicBool::new(false),
            away: AtomicU64::new(0),
            absences: AtomicU64::new(0),
            average: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
        }
    }
}

impl Shard {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Its worker goes away: to run a job, or to block on the only connection. It comes back with the number.
    pub(super) fn leave(&self, blocks: bool) -> u64 {
        let absence = self.next_absence(blocks);
        self.away.store(absence, Ordering::SeqCst);
        absence
    }

    /// Goes from one absence into another, without looking at the shard in between. `None` when the shard is another's now.
    pub(super) fn stay_away(&self, absence: u64, blocks: bool) -> Option<u64> {
        let next = self.next_absence(blocks);
        self.away.compare_exchange(absence, next, Ordering::SeqCst, Ordering::SeqCst).is_ok().then_some(next)
    }

    /// Ends an absence. Whoever succeeds has the shard.
    pub(super) fn end_absence(&self, absence: u64) -> bool {
        self.away.compare_exchange(absence, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The present absence, or 0.
    pub(super) fn absence(&self) -> u64 {
        self.away.load(Ordering::SeqCst)
    }

    /// No number is used twice, so that none can be mistaken for another.
    fn next_absence(&self, blocks: bool) -> u64 {
        self.absences.fetch_add(2, Ordering::Relaxed) + 2 + u64::from(blocks)
    }

    /// Brings a connection. Gives the absence of a worker that blocks and would see it late.
    pub(super) fn deliver(&self, connection: Box<Connection>) -> Option<u64> {
        let mut inbox = lock(&self.inbox);
        inbox.arrived.push(connection);
        self.ring(inbox);
        let absence = self.absence();
        (absence % 2 == 1).then_some(absence)
    }

    /// Has the worker look around.
    pub(super) fn wake(&self) {
        let mut inbox = lock(&self.inbox);
        inbox.is_woken = true;
        drop(inbox);
        self.signal.notify_all();
    }

    fn ring(&self, inbox: MutexGuard<'_, Inbox>) {
        self.has_mail.store(true, Ordering::SeqCst);
        let is_asleep = inbox.is_asleep;
        drop(inbox);
        if is_asleep {
            self.signal.notify_all();
        }
    }

    /// Sleeps without the lock until the time is over or somebody brings something.
    pub(super) fn sleep<'a>(&'a self, state: MutexGuard<'a, State>, time: Option<Duration>) -> MutexGuard<'a, State> {
        drop(state);
        let mut inbox = lock(&self.inbox);
        if !self.has_mail() && !inbox.is_woken {
            inbox.is_asleep = true;
            inbox = match time {
                Some(time) => self.signal.wait_timeout(inbox, time).unwrap_or_else(PoisonError::into_inner).0,
                None => self.signal.wait(inbox).unwrap_or_else(PoisonError::into_inner),
            };
            inbox.is_asleep = false;
        }
        inbox.is_woken = false;
        drop(inbox);
        self.lock()
    }

    /// Whether something was brought that the worker has not seen.
    pub(super) fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::SeqCst)
    }

    /// Takes what was brought.
    pub(super) fn take_mail(&self, state: &mut State) {
        if !self.has_mail() {
            return;
        }
        {
            let mut inbox = lock(&self.inbox);
            std::mem::swap(&mut inbox.arrived, &mut state.mail.0);
            std::mem::swap(&mut inbox.awake, &mut state.mail.1);
            self.has_mail.store(false, Ordering::SeqCst);
        }
        let State { hot, streams, free, mail, .. } = state;
        hot.extend(mail.0.drain(..));
        for place in mail.1.drain(..) {
            // One that has been moved meanwhile needs no waking, and one that has come to its place bears a look too many.
            if let Some(connection) = streams.get_mut(place).and_then(Option::take) {
                free.push(place);
                hot.push_back(connection);
            }
        }
    }

    /// Notes how long a call lasted.
    pub(super) fn note_call(&self, lasted: Duration) {
        // A thread that was preempted once must not look like a slow application: one call moves the average by a quarter of the
        // threshold at most.
        let lasted = u64::try_from(lasted.min(4 * SLOW_CALL).as_nanos()).unwrap_or(u64::MAX);
        let average = self.average.load(Ordering::Relaxed);
        // Lost updates between threads do not matter to an average.
        self.average.store(average - average / 16 + lasted / 16, Ordering::Relaxed);
    }

    pub(super) fn average_call(&self) -> Duration {
        Duration::from_nanos(self.average.load(Ordering::Relaxed))
    }

    /// How many connections wait for their clients, and how many for a thread, at the last sweep.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.waiting.load(Ordering::Relaxed), self.queued.load(Ordering::Relaxed))
    }

    /// Publishes the counts.
    pub(super) fn publish(&self, state: &State) {
        let streams = state.streams.len() - state.free.len();
        self.waiting.store(state.hot.len() + state.cold.len() + streams, Ordering::Relaxed);
        self.queued.store(state.ready.len() + state.begun.len(), Ordering::Relaxed);
    }

    /// Looks at every hot connection once and at the cold ones that are due, until one needs a thread. While no thread is free (`most`
    /// requests may wait for one), those that need one are queued instead, or refused when too many are.
    pub(super) fn sweep(
        self: &Arc<Shard>,
        state: &mut State,
        shared: &Shared,
        now: Instant,
        scratch: &mut Vec<u8>,
        most: Option<usize>,
    ) -> Found {
        state.note_stop(shared);
        state.keep_within_memory(shared);
        state.refuse_late(shared, now);
        if most.is_none() {
            // What was begun first: it holds more, and there is an end to it.
            if let Some(connection) = state.begun.pop_front().or_else(|| state.ready.pop_front()) {
                return Found::Job(connection);
            }
        }
        let mut more = false;
        // A turn over many takes longer: what waits for its own is not cold.
        let cool = proportional(COOL_EACH, state.hot.len(), COOL);
        let mut hot = state.hot.len();
        while let Some(mut connection) = state.take_next(&mut hot, now) {
            match connection.step(shared, now, scratch) {
                Step::End => {}
                Step::Job => match most {
                    None => return Found::Job(connection),
                    Some(most) => state.queue(connection, most, shared, now),
                },
                Step::More => {
                    more = true;
                    connection.count_memory();
                    state.hot.push_back(connection);
                }
                Step::Wait => {
                    if now.saturating_duration_since(connection.since) > cool || connection.receiver().is_some() {
                        self.park(state, connection, shared, now);
                    } else {
                        connection.count_memory();
                        state.hot.push_back(connection);
                    }
                }
            }
        }
        if more {
            return Found::Nothing(Some(Duration::ZERO));
        }
        let due = state.cold.peek().map(|parked| parked.due);
        if state.hot.len() == 1 && state.hot.front().is_some_and(|connection| connection.is_worth_waiting_for()) {
            if let Some(connection) = state.hot.pop_front() {
                return Found::Alone(connection, due);
            }
        }
        let until_due = due.map(|due| due.saturating_duration_since(now));
        Found::Nothing(if state.hot.is_empty() { until_due } else { Some(SHORTEST) })
    }

    /// Puts a connection where it waits for its client or, without being looked at, for a block.
    fn park(self: &Arc<Shard>, state: &mut State, mut connection: Box<Connection>, shared: &Shared, now: Instant) {
        connection.rest(shared);
        if let Some(receiver) = connection.receiver() {
            let place = state.free.pop().unwrap_or_else(|| {
                state.streams.push(None);
                state.streams.len() - 1
            });
            let must_wait = receiver.wait(self, place);
            match state.streams.get_mut(place) {
                Some(free) if must_wait => *free = Some(connection),
                _ => {
                    state.free.push(place);
                    state.hot.push_back(connection);
                }
            }
            return;
        }
        let longest = proportional(LONGEST_EACH, state.cold.len(), LONGEST);
        let quiet = now.saturating_duration_since(connection.since);
        let interval = (quiet / 16).clamp(SHORTEST, longest);
        let due = if interval < GRID { now + interval } else { state.next_on_grid(now + interval) };
        let due = due.min(connection.deadline().max(now + SHORTEST));
        state.cold.push(Parked { due, connection });
    }
}

/// A block was sent for the connection at a place.
impl Wake for Shard {
    fn wake(&self, place: usize) {
        let mut inbox = lock(&self.inbox);
        inbox.awake.push(place);
        self.ring(inbox);
    }
}

impl State {
    /// Puts a connection among the hot ones.
    pub(super) fn put(&mut self, connection: Box<Connection>) {
        self.hot.push_back(connection);
    }

    /// The next to look at: those that are due, then each of the hot ones once.
    fn take_next(&mut self, hot: &mut usize, now: Instant) -> Option<Box<Connection>> {
        if self.cold.peek().is_some_and(|parked| parked.due <= now) {
            return self.cold.pop().map(|parked| parked.connection);
        }
        *hot = hot.checked_sub(1)?;
        self.hot.pop_front()
    }

    /// A job waits for a thread. What has been begun goes on; of requests only so many may wait.
    fn queue(&mut self, mut connection: Box<Connection>, most: usize, shared: &Shared, now: Instant) {
        connection.count_memory();
        if connection.has_call() {
            self.begun.push_back(connection);
        } else {
            let examined = connection.examine(&shared.policy, &mut Room::default()).map(drop);
            let ready = examined
                .and_then(|()| if self.ready.len() < most { Ok(()) } else { Err(NotReady::Refused(Cause::QueueFull)) });
            if let Err(why) = ready {
                connection.put_off(why, shared, now);
                return self.hot.push_back(connection);
            }
            connection.queued.get_or_insert(now);
            self.ready.push_back(connection);
        }
    }

    /// Answers those that have waited for a thread for too long.
    fn refuse_late(&mut self, shared: &Shared, now: Instant) {
        while self.ready.front().is_some_and(|connection| connection.has_waited_too_long(shared, now)) {
            let Some(mut connection) = self.ready.pop_front() else { break };
            connection.refuse(Cause::QueueTimeout, shared, now);
            self.hot.push_back(connection);
        }
    }

    /// When a stop begins, and when its grace is over, every connection is looked at once more.
    fn note_stop(&mut self, shared: &Shared) {
        let stop = u8::from(shared.is_stopping()) + u8::from(shared.is_over());
        if stop > self.stop_seen {
            self.stop_seen = stop;
            self.hot.extend(self.cold.drain().map(|parked| parked.connection));
            if shared.is_over() {
                self.free.clear();
                self.hot.extend(self.streams.drain(..).flatten());
            }
        }
    }

    fn next_on_grid(&self, time: Instant) -> Instant {
        let grid = GRID.as_micros();
        let past = time.duration_since(self.start).as_micros() % grid;
        time + Duration::from_micros(u64::try_from(grid - past).unwrap_or(0))
    }

    /// Everything that waits.
    fn all(&self) -> impl Iterator<Item = &Connection> {
        let cold = self.cold.iter().map(|parked| &parked.connection);
        let streams = self.streams.iter().flatten();
        self.hot.iter().chain(cold).chain(streams).chain(&self.ready).chain(&self.begun).map(|connection| &**connection)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Counts the waiting connections of each address.
    pub(super) fn count_addresses(&self, counts: &mut HashMap<Option<IpAddr>, usize>) {
        for connection in self.all() {
            *counts.entry(connection.address()).or_default() += 1;
        }
    }

    /// Since when the connection of an address has been waiting that has waited longest.
    pub(super) fn oldest_of(&self, address: Option<IpAddr>) -> Option<Instant> {
        self.all().filter(|connection| connection.address() == address).map(|connection| connection.since).min()
    }

    /// Closes the connection of an address that has been waiting since then.
    pub(super) fn close_oldest(&mut self, address: Option<IpAddr>, since: Instant, shared: &Shared) -> bool {
        let is_it = |connection: &Connection| connection.address() == address && connection.since == since;
        self.close_one(Cause::ConnectionLimit, is_it, shared)
    }

    /// Over the limit of memory the largest of the shard goes, if it holds its part or more: one in some shard always does.
    fn keep_within_memory(&mut self, shared: &Shared) {
        if shared.memory.load(Ordering::Relaxed) <= shared.settings.held {
            return;
        }
        // Two shards that close one each for the same excess would close one too many.
        let _alone = lock(&shared.shedding);
        loop {
            let sum = shared.memory.load(Ordering::Relaxed);
            let largest = self.all().map(Connection::memory).max().unwrap_or(0);
            if sum <= shared.settings.held || largest == 0 || largest < sum / shared.places.open().max(1) {
                return;
            }
            self.close_one(Cause::HeldLimit, |connection| connection.memory() == largest, shared);
        }
    }

    fn close_one(&mut self, cause: Cause, is_it: impl Fn(&Connection) -> bool, shared: &Shared) -> bool {
        let Some(mut closed) = self.remove(is_it) else { return false };
        // A flood of connections must not become a flood of log lines: one a second.
        let now = Instant::now();
        if self.last_report.is_some_and(|last| now.saturating_duration_since(last) < Duration::from_secs(1)) {
            shared.counters.count(cause);
        } else {
            self.last_report = Some(now);
            closed.report(cause, Answer::Closed, shared);
        }
        if closed.cut(cause) == Step::Job {
            closed.count_memory();
            // Whoever makes room need not wait until its body is closed.
            closed.place = None;
            self.begun.push_back(closed);
        }
        true
    }

    fn remove(&mut self, is_it: impl Fn(&Connection) -> bool) -> Option<Box<Connection>> {
        for queue in [&mut self.hot, &mut self.ready, &mut self.begun] {
            if let Some(at) = queue.iter().position(|connection| is_it(connection)) {
                return queue.remove(at);
            }
        }
        for (place, stream) in self.streams.iter_mut().enumerate() {
            if stream.as_deref().is_some_and(&is_it) {
                self.free.push(place);
                return stream.take();
            }
        }
        let mut all = std::mem::take(&mut self.cold).into_vec();
        let found = all.iter().position(|parked| is_it(&parked.connection));
        let removed = found.map(|at| all.swap_remove(at).connection);
        self.cold = all.into();
        removed
    }
}

/// So much time for each, within bounds.
fn proportional(each: Duration, count: usize, (least, most): (Duration, Duration)) -> Duration {
    each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)).clamp(least, most)
}

/// The heap gives the earliest first.
impl Ord for Parked {
    fn cmp(&self, other: &Parked) -> Order {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Parked {
    fn partial_cmp(&self, other: &Parked) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Parked {
    fn eq(&self, other: &Parked) -> bool {
        self.due == other.due
    }
}

impl Eq for Parked {}
