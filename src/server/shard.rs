//! A set of connections and the sweep over it: where connections are while they wait for their clients, and how a thread finds
//! the next that needs it.
//!
//! Whoever sweeps holds the shard's lock; while it runs an application it holds none, so that the shard can be given to another
//! thread meanwhile. A connection is hot for a moment (1 to 10 ms) after it did something, and looked at in every sweep; then it is cold,
//! and looked at after a time proportional to how long it has been quiet. A look is one non-blocking read or write: 0.23 µs
//! when there is nothing. A cold connection gives its buffer back.
//!
//! Invariant: a connection is at every moment in exactly one place: in one of the three collections of a shard, in its inbox,
//! or owned by one thread. It moves only by being moved, so it can be neither lost nor served twice.

use std::cmp::Ordering as Order;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, Shutdown};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Next};
use super::house::House;
use super::settings::{COOL, COOL_EACH, GRID, LONGEST, LONGEST_EACH, SHORTEST, SLOW_CALL};
use crate::cause::Cause;
use crate::door::{Examined, Room};
use crate::log::Answer;

/// The connections of one shard, and who drives it.
pub(super) struct Shard {
    state: Mutex<State>,
    inbox: Mutex<Inbox>,
    signal: Condvar,
    has_mail: AtomicBool,
    /// Whether the driver may be blocking on the shard's only hot connection; [`State::blocked`] is the truth.
    blocked: AtomicBool,
    /// Nanoseconds that calls of the application last, as a moving average with weight 1/16.
    average: AtomicU64,
    waiting: AtomicUsize,
    queued: AtomicUsize,
}

/// Connections that other threads bring: accepted ones, and those whose call lasted so long that the shard went on without them.
struct Inbox {
    arrived: Arrived,
    asleep: bool,
    woken: bool,
}

/// By their pointers: a connection goes from thread to thread without being copied.
pub(super) type Arrived = Vec<Box<Connection>>;

/// What the driver of a shard works on.
pub(super) struct State {
    /// Which driver the shard belongs to: one that finds another number here has lost it.
    pub(super) tenure: u64,
    /// Since when the driver has been in a call of the application.
    pub(super) away_since: Option<Instant>,
    /// Whether the driver blocks on the only hot connection.
    blocked: bool,
    hot: VecDeque<Box<Connection>>,
    cold: BinaryHeap<Parked>,
    /// Whole requests that were found while no thread was free to answer them.
    ready: VecDeque<(Box<Connection>, Instant)>,
    arrived: Arrived,
    epoch: Instant,
    last_report: Option<Instant>,
}

/// A cold connection and when it is looked at next.
struct Parked {
    due: Instant,
    connection: Box<Connection>,
}

/// What a sweep found.
pub(super) enum Found {
    /// A connection with something to answer.
    Ready(Box<Connection>),
    /// One that was ready before, and so long ago.
    Queued(Box<Connection>, Duration),
    /// The only hot connection, and it says nothing.
    Alone(Box<Connection>),
    /// Nothing now: look again after this time, or when somebody calls.
    Nothing(Option<Duration>),
}

impl Default for Shard {
    fn default() -> Shard {
        // Room for a usual crowd from the start, so that the steady state of a small server never allocates.
        let state = State {
            tenure: 0,
            away_since: None,
            blocked: false,
            hot: VecDeque::with_capacity(256),
            cold: BinaryHeap::with_capacity(256),
            ready: VecDeque::with_capacity(64),
            arrived: Vec::with_capacity(64),
            epoch: Instant::now(),
            last_report: None,
        };
        Shard {
            state: Mutex::new(state),
            inbox: Mutex::new(Inbox { arrived: Vec::with_capacity(64), asleep: false, woken: false }),
            signal: Condvar::new(),
            has_mail: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            average: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
        }
    }
}

impl Shard {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if nobody is sweeping.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Brings a connection.
    pub(super) fn deliver(&self, connection: Box<Connection>) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.arrived.push(connection);
        self.has_mail.store(true, Ordering::SeqCst);
        let asleep = inbox.asleep;
        drop(inbox);
        if asleep {
            self.signal.notify_all();
        }
    }

    /// Has the driver look around.
    pub(super) fn wake(&self) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).woken = true;
        self.signal.notify_all();
    }

    /// Sleeps without the lock until the time is over or somebody brings something.
    pub(super) fn sleep<'a>(&'a self, state: MutexGuard<'a, State>, time: Option<Duration>) -> MutexGuard<'a, State> {
        drop(state);
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.arrived.is_empty() && !inbox.woken {
            inbox.asleep = true;
            inbox = match time {
                Some(time) => self.signal.wait_timeout(inbox, time).unwrap_or_else(PoisonError::into_inner).0,
                None => self.signal.wait(inbox).unwrap_or_else(PoisonError::into_inner),
            };
            inbox.asleep = false;
        }
        inbox.woken = false;
        drop(inbox);
        self.lock()
    }

    /// Whether something was brought that the driver has not seen.
    pub(super) fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::SeqCst)
    }

    /// Takes what was brought.
    pub(super) fn take_mail(&self, state: &mut State) {
        if !self.has_mail() {
            return;
        }
        let mut arrived = std::mem::take(&mut state.arrived);
        {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut inbox.arrived, &mut arrived);
            self.has_mail.store(false, Ordering::SeqCst);
        }
        state.hot.extend(arrived.drain(..));
        state.arrived = arrived;
    }

    /// The driver is about to block on one connection, or no longer. It looks for mail after that, as whoever brings mail looks at
    /// this after the delivery: one of them sees the other.
    pub(super) fn set_blocked(&self, state: &mut State, blocked: bool) {
        state.blocked = blocked;
        self.blocked.store(blocked, Ordering::SeqCst);
    }

    /// The state, if its driver blocks on one connection.
    pub(super) fn lock_if_blocked(&self) -> Option<MutexGuard<'_, State>> {
        if !self.blocked.load(Ordering::SeqCst) {
            return None;
        }
        Some(self.lock()).filter(|state| state.blocked)
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
        self.waiting.store(state.hot.len() + state.cold.len(), Ordering::Relaxed);
        self.queued.store(state.ready.len(), Ordering::Relaxed);
    }
}

impl State {
    /// Whether a driver that stays with one connection should look at the others.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        !self.ready.is_empty() || !self.hot.is_empty() || self.cold.peek().is_some_and(|parked| parked.due <= now)
    }

    /// Puts a connection among the hot ones.
    pub(super) fn put(&mut self, connection: Box<Connection>) {
        self.hot.push_back(connection);
    }

    /// Looks at every hot connection once and at the cold ones that are due, until one needs a thread.
    pub(super) fn sweep(&mut self, house: &House, now: Instant, scratch: &mut Vec<u8>) -> Found {
        if house.held.load(Ordering::Relaxed) > house.settings.held {
            self.keep_within_memory(house);
        }
        if let Some((connection, since)) = self.ready.pop_front() {
            return Found::Queued(connection, now.saturating_duration_since(since));
        }
        while self.cold.peek().is_some_and(|parked| parked.due <= now) {
            if let Some(ready) = self.take_cold().and_then(|connection| self.look(connection, house, now, scratch)) {
                return Found::Ready(ready);
            }
        }
        let mut more = false;
        let cool = proportional(COOL_EACH, self.hot.len(), COOL);
        for _ in 0..self.hot.len() {
            let Some(mut connection) = self.hot.pop_front() else { break };
            match connection.advance(house, now, scratch) {
                Next::Look => return Found::Ready(connection),
                Next::End => {}
                Next::More => {
                    more = true;
                    connection.count_held();
                    self.hot.push_back(connection);
                }
                Next::Wait if now.saturating_duration_since(connection.since) > cool => {
                    self.park(connection, house, now)
                }
                Next::Wait => {
                    connection.count_held();
                    self.hot.push_back(connection);
                }
            }
        }
        if more {
            return Found::Nothing(Some(Duration::ZERO));
        }
        if self.hot.len() == 1 && self.hot.front().is_some_and(|connection| connection.is_worth_waiting_for()) {
            if let Some(connection) = self.hot.pop_front() {
                return Found::Alone(connection);
            }
        }
        let due = self.cold.peek().map(|parked| parked.due.saturating_duration_since(now));
        if self.hot.is_empty() { Found::Nothing(due) } else { Found::Nothing(Some(SHORTEST)) }
    }

    /// The same without a thread for applications: whole requests are queued, or refused when too many are.
    pub(super) fn sweep_aside(
        &mut self,
        house: &House,
        now: Instant,
        most: usize,
        scratch: &mut Vec<u8>,
        room: &mut Room,
    ) {
        for _ in 0..self.hot.len() {
            if let Some(connection) = self.hot.pop_front() {
                self.settle(connection, house, now, most, scratch, room);
            }
        }
        while self.cold.peek().is_some_and(|parked| parked.due <= now) {
            if let Some(connection) = self.take_cold() {
                self.settle(connection, house, now, most, scratch, room);
            }
        }
        while self
            .ready
            .front()
            .is_some_and(|(_, since)| now.saturating_duration_since(*since) > house.settings.queue_timeout)
        {
            if let Some((mut connection, _)) = self.ready.pop_front() {
                connection.refuse(Cause::QueueTimeout, house, now);
                self.park(connection, house, now);
            }
        }
        self.keep_within_memory(house);
    }

    fn settle(
        &mut self,
        mut connection: Box<Connection>,
        house: &House,
        now: Instant,
        most: usize,
        scratch: &mut Vec<u8>,
        room: &mut Room,
    ) {
        loop {
            match connection.advance(house, now, scratch) {
                Next::Wait | Next::More => return self.park(connection, house, now),
                Next::End => return,
                Next::Look => match connection.examine(&house.policy, room) {
                    Examined::Incomplete => connection.keep_receiving(house, now),
                    Examined::Gather(whole) => connection.keep_gathering(whole, house, now),
                    Examined::Refused(cause) => {
                        connection.refuse(cause, house, now);
                    }
                    Examined::Answered { consumed, reply, ends } => {
                        connection.answer_protocol(consumed, &reply, ends, house, now);
                    }
                    Examined::Ready(_) if self.ready.len() >= most => {
                        connection.refuse(Cause::QueueFull, house, now);
                    }
                    Examined::Ready(_) => {
                        connection.await_thread(now);
                        return self.ready.push_back((connection, now));
                    }
                },
            }
        }
    }

    /// One look at one cold connection. Gives it back when it needs a thread.
    fn look(
        &mut self,
        mut connection: Box<Connection>,
        house: &House,
        now: Instant,
        scratch: &mut Vec<u8>,
    ) -> Option<Box<Connection>> {
        match connection.advance(house, now, scratch) {
            Next::Look => return Some(connection),
            Next::Wait => self.park(connection, house, now),
            Next::More => self.hot.push_back(connection),
            Next::End => {}
        }
        None
    }

    fn take_cold(&mut self) -> Option<Box<Connection>> {
        self.cold.pop().map(|parked| parked.connection)
    }

    /// Puts a connection among the cold ones.
    pub(super) fn park(&mut self, mut connection: Box<Connection>, house: &House, now: Instant) {
        if connection.rest(house).is_err() {
            return;
        }
        let longest = proportional(LONGEST_EACH, self.cold.len(), LONGEST);
        let quiet = now.saturating_duration_since(connection.since);
        let interval = (quiet / 16).clamp(SHORTEST, longest);
        let due = if interval < GRID { now + interval } else { self.next_on_grid(now + interval) };
        let due = due.min(connection.deadline().max(now + SHORTEST));
        connection.count_held();
        self.cold.push(Parked { due, connection });
    }

    fn next_on_grid(&self, time: Instant) -> Instant {
        let grid = GRID.as_micros();
        let past = time.duration_since(self.epoch).as_micros() % grid;
        time + Duration::from_micros(u64::try_from(grid - past).unwrap_or(0))
    }

    /// Counts the waiting connections of each address.
    pub(super) fn count_addresses(&self, counts: &mut HashMap<Option<IpAddr>, usize>) {
        for connection in self.hot.iter().chain(self.cold.iter().map(|parked| &parked.connection)) {
            *counts.entry(connection.address()).or_default() += 1;
        }
    }

    /// Since when the connection of an address has been waiting that has waited longest.
    pub(super) fn oldest_of(&self, address: Option<IpAddr>) -> Option<Instant> {
        let all = self.hot.iter().chain(self.cold.iter().map(|parked| &parked.connection));
        all.filter(|connection| connection.address() == address).map(|connection| connection.since).min()
    }

    /// Closes the connection of an address that has been waiting since then.
    pub(super) fn close_oldest(&mut self, address: Option<IpAddr>, since: Instant, house: &House) -> bool {
        let is_it = |connection: &Connection| connection.address() == address && connection.since == since;
        self.close_one(Cause::ConnectionLimit, is_it, house)
    }

    /// Over the limit of memory the largest of the shard goes, if it holds its part or more: one in some shard always does.
    fn keep_within_memory(&mut self, house: &House) {
        // Two shards that close one each for the same excess would close one too many.
        let _alone = house.shedding.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let sum = house.held.load(Ordering::Relaxed);
            if sum <= house.settings.held {
                return;
            }
            let all = self.hot.iter().chain(self.cold.iter().map(|parked| &parked.connection));
            let largest = all.map(|connection| connection.held()).max().unwrap_or(0);
            if largest == 0 || largest < sum / house.places.open().max(1) {
                return;
            }
            self.close_one(Cause::HeldLimit, |connection| connection.held() == largest, house);
        }
    }

    fn close_one(&mut self, cause: Cause, is_it: impl Fn(&Connection) -> bool, house: &House) -> bool {
        let of_hot = self.hot.iter().position(|connection| is_it(connection)).and_then(|at| self.hot.remove(at));
        let closed = of_hot.or_else(|| {
            let mut all = std::mem::take(&mut self.cold).into_vec();
            let found = all.iter().position(|parked| is_it(&parked.connection));
            let closed = found.map(|index| all.swap_remove(index).connection);
            self.cold = all.into();
            closed
        });
        if let Some(closed) = &closed {
            self.report(cause, closed, house);
        }
        closed.is_some()
    }

    /// A flood of connections must not become a flood of log lines: one a second.
    fn report(&mut self, cause: Cause, connection: &Connection, house: &House) {
        let now = Instant::now();
        if self.last_report.is_some_and(|last| now.duration_since(last) < Duration::from_secs(1)) {
            return house.stats.count(cause);
        }
        self.last_report = Some(now);
        connection.report(cause, Answer::Closed, house);
    }

    /// The server stops: what waits for nothing ends, and at the end of the grace everything. Tells whether nothing is left.
    pub(super) fn end(&mut self, grace_is_over: bool, house: &House) -> bool {
        let keeps = |connection: &Connection| {
            if grace_is_over {
                connection.transport.shutdown(Shutdown::Both);
            }
            let stays = !grace_is_over && !connection.is_idle();
            if !stays {
                connection.note_closed(Cause::Stopping, house);
            }
            stays
        };
        self.hot.retain(|connection| keeps(connection));
        self.ready.retain(|_| !grace_is_over);
        let mut all = std::mem::take(&mut self.cold).into_vec();
        all.retain(|parked| keeps(&parked.connection));
        self.cold = all.into();
        self.hot.is_empty() && self.cold.is_empty() && self.ready.is_empty()
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
