//! A set of connections: where they are while they wait, and how a thread finds the next that needs it.
//!
//! A worker attends a shard: it holds the lock while it sweeps, and lets go of it to run a job. One word says who has the shard: whether its
//! worker attends it (or it waits for one), blocks on the only connection or runs a job, and how often that has changed. Whoever changes the word
//! as it was known has the shard: its worker coming back, the monitor that has seen the same job twice, or whoever brings a connection to a worker
//! that blocks. A worker that fails to has lost it.
//!
//! A connection is hot for a moment (1 to 10 ms) after it did something, and looked at in every sweep; then it is cold, and looked at after a
//! time proportional to how long it has been quiet. A look is one non-blocking read or write. One whose blocks another thread sends waits for
//! that, and is not looked at. A cold connection gives its buffer back.
//!
//! When that time is the longest there is, a connection that waits for its client is *quiet*: left to the *rounds*, in which a peek at each tells
//! who has something to say, and nobody else is moved. Without a [`bell`](super::bell) a round follows the other after that longest time. With one
//! the shard *rests* behind a round: everybody was looked at since the bell said something, so as long as it says the same nobody need be looked at
//! again. The monitor ends a rest when it says something else, and if nothing is hot a round begins. That is paid for by the time that passes: in
//! the long run no more rounds begin so than without a bell, however often it rings.
//!
//! A segment is counted a moment before its socket has it, so a look behind a ring may come too early: the first rest is as short as if there were
//! no bell. A round that finds the bell silent begins a long one, and what the next finds though it still is proves the bell wrong.
//!
//! Invariant: a connection is at every moment in exactly one place: in one of the collections of a shard, in its inbox, or owned by one
//! thread. It moves only by being moved, so it can be neither lost nor served twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::connection::{Connection, Step};
use super::pool::Unattended;
use super::settings::{COOL, COOL_EACH, LONGEST, LONGEST_EACH, LOOK, SELDOM, SHORTEST, SLOW_CALL, TOGETHER};
use super::shared::{Shared, lock, wait};
use crate::cause::Cause;
use crate::door::{NotReady, Room};
use crate::gateway::Wake;
use crate::log::Answer;

/// The connections of one shard, and who has it.
#[derive(Default)]
pub(super) struct Shard {
    state: Mutex<State>,
    inbox: Mutex<Inbox>,
    signal: Condvar,
    /// Whether the worker is to look around: something was brought, or somebody calls.
    has_mail: AtomicBool,
    /// What its worker does, and how often that has changed.
    word: AtomicUsize,
    /// Nanoseconds that calls of the application last, as a moving average with weight 1/16.
    average: AtomicUsize,
    /// How many jobs waited for a thread at the last sweep.
    pub(super) queued: AtomicUsize,
    /// What the bell had said before the round that led to a rest; 0 when the shard does not rest, or it has rung since.
    rests_on: AtomicUsize,
    unattended: Weak<Unattended>,
}

/// What the worker of a shard does.
pub(super) const ATTENDS: usize = 0;
pub(super) const BLOCKS: usize = 1;
pub(super) const WORKS: usize = 2;

/// What other threads bring: connections that were accepted, and those whose call lasted so long that the shard went on without them; and
/// the numbers of those that are called.
#[derive(Default)]
struct Inbox {
    arrived: VecDeque<Box<Connection>>,
    awake: Vec<usize>,
    is_asleep: bool,
}

/// What is swept. In boxes, so that a connection goes from thread to thread without being copied.
#[derive(Default)]
pub(super) struct State {
    hot: VecDeque<Box<Connection>>,
    /// By the time of the next look at them.
    cold: Parked,
    /// Left to the rounds, by their deadlines.
    quiet: Parked,
    /// Those that another thread calls by their number: it sends their blocks, or sleeps on their socket.
    called: BTreeMap<usize, Box<Connection>>,
    /// How many were parked so far: none has the number of another.
    parked: usize,
    /// Requests that were found while no thread was free to answer them, and calls that may go on.
    ready: VecDeque<Box<Connection>>,
    begun: VecDeque<Box<Connection>>,
    /// When a ring may begin the next round at the earliest, the longer ago the more was spared; and when it begins in any case.
    earliest: Option<Instant>,
    latest: Option<Instant>,
    /// Whether the bell was silent before the last one.
    was_silent: bool,
    /// How far a stop had come when every connection was looked at for it.
    stop_seen: u8,
}

/// Connections by a time, and by their numbers where that is the same.
type Parked = BTreeMap<(Instant, usize), Box<Connection>>;

/// What a sweep found.
pub(super) enum Found {
    /// A connection for which a thread is needed.
    Job(Box<Connection>),
    /// The only hot connection, and it says nothing. Another is due at a time.
    Alone(Box<Connection>, Option<Instant>),
    /// Nothing now: look again after this time, or when somebody calls.
    Nothing(Option<Duration>),
}

impl Shard {
    pub(super) fn new(unattended: &Arc<Unattended>) -> Arc<Shard> {
        Arc::new(Shard { unattended: Arc::downgrade(unattended), ..Shard::default() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The present word.
    pub(super) fn word(&self) -> usize {
        self.word.load(Ordering::SeqCst)
    }

    /// The present word, if its worker does that.
    pub(super) fn word_of(&self, does: usize) -> Option<usize> {
        Some(self.word()).filter(|word| word & 3 == does)
    }

    /// Has its worker do something else, if the word is still that. Whoever succeeds has the shard, and the new word: none is used twice, so that
    /// it cannot be mistaken for another; or, with 32 bits, not before 2^30 others.
    pub(super) fn turn(&self, word: usize, does: usize) -> Option<usize> {
        let next = (word | 3).wrapping_add(1) | does;
        self.word.compare_exchange(word, next, Ordering::SeqCst, Ordering::SeqCst).is_ok().then_some(next)
    }

    /// Takes it from its worker, if the word is still that, and calls for another.
    pub(super) fn take_over(self: &Arc<Shard>, word: usize) {
        if let Some(unattended) = self.unattended.upgrade().filter(|_| self.turn(word, ATTENDS).is_some()) {
            unattended.push(self);
        }
    }

    /// Brings a connection.
    pub(super) fn deliver(self: &Arc<Shard>, connection: Box<Connection>) {
        self.mail(|inbox| inbox.arrived.push_back(connection));
        self.relieve();
    }

    /// A worker that blocks on another connection would see what was brought up to 8 ms late: it is relieved if one is idle.
    fn relieve(self: &Arc<Shard>) {
        let has_idle = || self.unattended.upgrade().is_some_and(|unattended| unattended.has_idle());
        if let Some(word) = self.word_of(BLOCKS).filter(|_| has_idle()) {
            self.take_over(word);
        }
    }

    /// Has the worker look around.
    pub(super) fn wake(&self) {
        self.mail(|_| {});
    }

    /// What the bell says as long as the shard rests, or 0.
    pub(super) fn rests_on(&self) -> usize {
        self.rests_on.load(Ordering::SeqCst)
    }

    /// Ends a rest unless it is on what the bell says now.
    pub(super) fn ring(&self, says: usize) {
        let on = self.rests_on();
        if on != says && on != 0 && self.rests_on.compare_exchange(on, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.wake();
        }
    }

    fn mail(&self, bring: impl FnOnce(&mut Inbox)) {
        let mut inbox = lock(&self.inbox);
        bring(&mut inbox);
        self.has_mail.store(true, Ordering::SeqCst);
        let is_asleep = inbox.is_asleep;
        drop(inbox);
        if is_asleep {
            self.signal.notify_all();
        }
    }

    /// Sleeps until the time is over or somebody brings something or calls. The caller holds no lock.
    pub(super) fn sleep(&self, time: Option<Duration>) {
        let mut inbox = lock(&self.inbox);
        if !self.has_mail() {
            inbox.is_asleep = true;
            inbox = wait(&self.signal, inbox, time);
            inbox.is_asleep = false;
        }
    }

    /// Whether something was brought that the worker has not seen.
    pub(super) fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::SeqCst)
    }

    /// Notes how long a call lasted.
    pub(super) fn note_call(&self, lasted: Duration) {
        // A thread that was preempted once must not look like a slow application: one call moves the average by a quarter of the
        // threshold at most.
        let lasted = lasted.min(4 * SLOW_CALL).as_nanos() as usize;
        let average = self.average.load(Ordering::Relaxed);
        // Lost updates between threads do not matter to an average.
        self.average.store(average - average / 16 + lasted / 16, Ordering::Relaxed);
    }

    pub(super) fn average_call(&self) -> Duration {
        Duration::from_nanos(self.average.load(Ordering::Relaxed) as u64)
    }

    /// Takes what was brought, `back` with it, and looks at every hot connection once and at the cold ones that are due, until one needs a
    /// thread. While no thread is free (`most` requests may wait for one), those that need one are queued instead, or refused when too
    /// many are.
    pub(super) fn sweep(
        self: &Arc<Shard>,
        back: Option<Box<Connection>>,
        shared: &Shared,
        now: Instant,
        most: Option<usize>,
    ) -> Found {
        let mut state = self.lock();
        back.into_iter().for_each(|back| state.hot.push_back(back));
        if self.has_mail() {
            let mut inbox = lock(&self.inbox);
            self.has_mail.store(false, Ordering::SeqCst);
            state.hot.append(&mut inbox.arrived);
            for number in inbox.awake.drain(..) {
                let woken = state.called.remove(&number).and_then(awake);
                state.hot.extend(woken);
            }
        }
        let found = state.sweep(self, shared, now, most);
        self.queued.store(state.ready.len() + state.begun.len(), Ordering::Relaxed);
        found
    }
}

/// A block was sent for the connection with a number, or its client has said something.
impl Wake for Shard {
    fn wake(self: Arc<Shard>, number: usize) {
        self.mail(|inbox| inbox.awake.push(number));
        self.relieve();
    }
}

impl State {
    fn sweep(&mut self, shard: &Arc<Shard>, shared: &Shared, now: Instant, most: Option<usize>) -> Found {
        self.note_stop(shared);
        if self.go_round(shard, shared, now) {
            // The looks have taken a while: what they found is served by a new reading of the clock.
            return Found::Nothing(Some(Duration::ZERO));
        }
        self.keep_within_memory(shared);
        self.refuse_late(shared, now);
        if most.is_none() {
            // What was begun first: it holds more, and there is an end to it.
            if let Some(connection) = self.begun.pop_front().or_else(|| self.ready.pop_front()) {
                return Found::Job(connection);
            }
        }
        let mut more = false;
        // A turn over many takes longer: what waits for its own is not cold.
        let cool = proportional(COOL_EACH, self.hot.len(), COOL);
        for parked in [&mut self.cold, &mut self.quiet] {
            while let Some(entry) = parked.first_entry().filter(|entry| entry.key().0 <= now) {
                self.hot.push_back(entry.remove());
            }
        }
        for _ in 0..self.hot.len() {
            let Some(mut connection) = self.hot.pop_front() else { break };
            match (connection.step(shared, now), most) {
                (Step::End, _) => {}
                (Step::Job, None) => return Found::Job(connection),
                (Step::Job, Some(most)) => self.queue(connection, most, shared, now),
                (Step::Wait, _)
                    if now.saturating_duration_since(connection.since) > cool || connection.receiver().is_some() =>
                {
                    self.park(connection, shard, shared, now);
                }
                (step, _) => {
                    more |= step == Step::More;
                    connection.count_memory();
                    self.hot.push_back(connection);
                }
            }
        }
        if more {
            return Found::Nothing(Some(Duration::ZERO));
        }
        let next = [&self.cold, &self.quiet].into_iter().filter_map(|parked| parked.first_key_value());
        let due = next.map(|((due, _), _)| *due).chain(self.round_due(shard, now)).min();
        let may_block = self.hot.len() == 1 && !shared.is_stopping();
        if may_block && self.hot.front().is_some_and(|connection| connection.is_worth_waiting_for()) {
            if let Some(connection) = self.hot.pop_front() {
                return Found::Alone(connection, due);
            }
        }
        let until_due = due.map(|due| due.saturating_duration_since(now));
        Found::Nothing(if self.hot.is_empty() { until_due } else { Some(SHORTEST) })
    }

    /// Puts a connection where it waits for its client or, without being looked at, for another thread.
    fn park(&mut self, mut connection: Box<Connection>, shard: &Arc<Shard>, shared: &Shared, now: Instant) {
        connection.rest(shared);
        self.parked = self.parked.wrapping_add(1);
        match connection.receiver().map(|receiver| receiver.wait(shard, self.parked)) {
            Some(true) => return drop(self.called.insert(self.parked, connection)),
            // A block has come meanwhile.
            Some(false) => return self.hot.push_back(connection),
            None => {}
        }
        let longest = self.longest();
        let interval = (now.saturating_duration_since(connection.since) / 16).clamp(SHORTEST, longest);
        let may_be_slept_on = connection.is_idle() && !shared.is_stopping();
        if interval > LOOK && may_be_slept_on && shared.sleepers.watch(&connection, now, (shard, self.parked)) {
            return drop(self.called.insert(self.parked, connection));
        }
        let may_be_left = interval == longest && connection.deadline > now && !shared.is_stopping();
        if may_be_left && connection.waits_for_client() {
            // The bell says nothing of Unix sockets, which have no address.
            if connection.peer.address.is_none() {
                shard.rests_on.store(0, Ordering::SeqCst);
            }
            return drop(self.quiet.insert((connection.deadline, self.parked), connection));
        }
        let mut due = now + interval;
        if interval >= TOGETHER {
            // One waking serves many: it waits for the next that is due soon after.
            let soon = self.cold.range((due, 0)..(due + TOGETHER.max(interval / 4), 0)).next();
            due = soon.map_or(due, |((soon, _), _)| *soon);
        }
        if connection.deadline > now {
            due = due.min(connection.deadline);
        }
        self.cold.insert((due, self.parked), connection);
    }

    /// The longest time between two looks at a connection without a bell.
    fn longest(&self) -> Duration {
        proportional(LONGEST_EACH, self.hot.len() + self.cold.len() + self.quiet.len(), LONGEST)
    }

    /// When the next round begins, if there is anybody for it, or a rest to be ended. The bell always rings where something is hot.
    fn round_due(&self, shard: &Shard, now: Instant) -> Option<Instant> {
        let rests = shard.rests_on() != 0;
        let due = if rests || !self.hot.is_empty() { self.latest } else { self.earliest };
        (rests || !self.quiet.is_empty()).then(|| due.unwrap_or(now))
    }

    /// Looks at everybody who waits for a client, when it is time: peeks at the idle ones, so that nothing of them changes. Those that have
    /// something are hot then, those whose look is another, and all that sleepers are free for. Tells whether there are any.
    fn go_round(&mut self, shard: &Shard, shared: &Shared, now: Instant) -> bool {
        if shard.rests_on() == 0 {
            // Of a long rest that has ended before its time.
            self.latest = self.latest.min(Some(now + self.longest()));
        }
        if self.round_due(shard, now).is_none_or(|due| due > now) {
            return false;
        }
        // Before the looks, so that what comes after one makes the bell say something else.
        let heard = shared.bell.listen();
        let is_silent = heard != 0 && heard == shard.rests_on();
        let may_rest =
            !self.quiet.is_empty() && self.quiet.values().all(|connection| connection.peer.address.is_some());
        let rests_on = if may_rest { heard } else { 0 };
        let (longest, hot, mut speaks) = (self.longest(), self.hot.len(), false);
        let may_sleep = self.quiet.len() <= shared.sleepers.free();
        for parked in [&mut self.cold, &mut self.quiet] {
            let mut is_wanted = |connection: &Connection| {
                let says = connection.is_idle() && connection.socket.wait_to_read();
                speaks |= says;
                says || may_sleep || !connection.is_idle()
            };
            let wanted = parked.iter().filter(|(_, connection)| connection.waits_for_client() && is_wanted(connection));
            let wanted: Vec<_> = wanted.map(|(key, _)| *key).collect();
            self.hot.extend(wanted.iter().filter_map(|key| parked.remove(key)));
        }
        if speaks && is_silent && self.was_silent && shared.bell.has_missed(heard) {
            shared.report(Cause::BellWrong, "");
        }
        self.latest = Some(now + if is_silent { SELDOM } else { longest });
        // Of what a rest has spared no more is made up for than this.
        let price = if is_silent { Duration::ZERO } else { longest };
        let paid = self.earliest.max(now.checked_sub(SELDOM)).unwrap_or(now) + price;
        self.earliest = if rests_on == 0 { self.latest } else { Some(paid) };
        self.was_silent = is_silent;
        shard.rests_on.store(rests_on, Ordering::SeqCst);
        if rests_on != 0 {
            shared.monitor.notice();
        }
        self.hot.len() > hot
    }

    /// A job waits for a thread. What has been begun goes on; of requests only so many may wait.
    fn queue(&mut self, mut connection: Box<Connection>, most: usize, shared: &Shared, now: Instant) {
        connection.count_memory();
        if connection.call.is_some() {
            return self.begun.push_back(connection);
        }
        let examined = connection.examine(&shared.policy, &mut Room::default()).map(drop);
        let room = if self.ready.len() < most { Ok(()) } else { Err(NotReady::Refused(Cause::QueueFull)) };
        if let Err(why) = examined.and(room) {
            connection.put_off(why, shared, now);
            return self.hot.push_back(connection);
        }
        connection.queued.get_or_insert(now);
        connection.count_phase();
        self.ready.push_back(connection);
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
        let stop = shared.stop.load(Ordering::SeqCst);
        if stop > self.stop_seen {
            self.stop_seen = stop;
            self.hot.extend(std::mem::take(&mut self.cold).into_values());
            self.hot.extend(std::mem::take(&mut self.quiet).into_values());
            self.hot.extend(std::mem::take(&mut self.called).into_values().filter_map(awake));
        }
    }

    /// Everything that waits.
    pub(super) fn all(&self) -> impl Iterator<Item = &Connection> {
        let parked = self.cold.values().chain(self.quiet.values()).chain(self.called.values());
        self.hot.iter().chain(&self.ready).chain(&self.begun).chain(parked).map(|connection| &**connection)
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
            let largest = self.all().map(|connection| connection.memory.counted).max().unwrap_or(0);
            if sum <= shared.settings.held || largest == 0 || largest < sum / shared.places.open().max(1) {
                return;
            }
            self.close_one(Cause::HeldLimit, |connection| connection.memory.counted == largest, shared);
        }
    }

    /// Closes the first such connection, and tells whether there is one.
    pub(super) fn close_one(&mut self, cause: Cause, is_it: impl Fn(&Connection) -> bool, shared: &Shared) -> bool {
        let Some(mut closed) = self.remove(is_it) else { return false };
        if closed.cut(cause) == Step::Job {
            // Reported when its body is closed; whoever makes room need not wait for that.
            closed.memory.count(0);
            closed.place = None;
            self.begun.push_back(closed);
        } else {
            closed.report(cause, Answer::Closed, shared);
        }
        true
    }

    fn remove(&mut self, is_it: impl Fn(&Connection) -> bool) -> Option<Box<Connection>> {
        for queue in [&mut self.hot, &mut self.ready, &mut self.begun] {
            if let Some(at) = queue.iter().position(|connection| is_it(connection)) {
                return queue.remove(at);
            }
        }
        if let Some(number) = self.called.iter().find_map(|(number, called)| is_it(called).then_some(*number)) {
            return self.called.remove(&number);
        }
        [&mut self.cold, &mut self.quiet].into_iter().find_map(|parked| {
            let key = parked.iter().find_map(|(key, connection)| is_it(connection).then_some(*key))?;
            parked.remove(&key)
        })
    }
}

/// Its socket waits no longer for whoever has slept on it.
fn awake(connection: Box<Connection>) -> Option<Box<Connection>> {
    connection.socket.set_waiting(false).is_ok().then_some(connection)
}

/// So much time for each, within bounds.
fn proportional(each: Duration, count: usize, (least, most): (Duration, Duration)) -> Duration {
    each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::door::{Door, Origin, Peer};
    use crate::gateway::{Body, Environ, Gateway, StartResponse, Variables};
    use crate::log::Lines;
    use crate::server::answer::Calls;
    use crate::server::settings::{LAST_REQUEST, Settings};
    use crate::server::socket::Socket;

    fn hello(_: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("200 OK", &[]);
        Body::empty()
    }

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(Settings::default(), Box::new(hello), Arc::new(Lines::errors(io::sink()))))
    }

    /// Clients that have said so much, and their connections.
    fn clients<const COUNT: usize>(shared: &Shared, said: &str) -> [(TcpStream, Box<Connection>); COUNT] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = Arc::new(Origin::new(Door::Http, Gateway::default(), String::new(), None, Variables::default()));
        std::array::from_fn(|_| {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.write_all(said.as_bytes()).unwrap();
            let (stream, peer) = listener.accept().unwrap();
            let socket = Socket::accepted(stream).unwrap();
            let connection =
                Connection::new(socket, Peer::new(peer), Arc::clone(&origin), shared, None, Instant::now());
            (client, connection)
        })
    }

    #[test]
    fn a_worker_that_has_lost_its_shard_cannot_take_it_from_the_next_that_is_away() {
        let shard = Shard::default();
        let lost = shard.turn(shard.word(), WORKS).unwrap();
        assert!(shard.turn(lost, ATTENDS).is_some(), "it goes away, and the shard is taken over");
        for does in [WORKS, BLOCKS, WORKS] {
            let next = shard.turn(shard.word(), does).unwrap();
            assert!(shard.turn(lost, ATTENDS).is_none(), "{lost} is not {next}");
            assert_eq!(shard.word_of(does), Some(next));
            assert!(shard.turn(next, ATTENDS).is_some());
        }
        // The count begins anew, and changes nothing of what the worker does.
        shard.word.store(usize::MAX - 1, Ordering::SeqCst);
        assert_eq!(shard.turn(usize::MAX - 1, BLOCKS), Some(BLOCKS));
    }

    #[test]
    fn a_connection_that_was_served_goes_behind_the_others_however_much_more_it_asks_for() {
        let (shared, shard) = (shared(), Arc::new(Shard::default()));
        let clients = clients::<3>(&shared, &"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
        let peers = clients.each_ref().map(|(_, connection)| connection.peer.address);
        // The clients stay until the end.
        let _clients = clients.map(|(client, connection)| {
            shard.deliver(connection);
            client
        });
        let (mut calls, mut back) = (Calls::new(&shared), None);
        for round in 0..9 {
            let found = shard.sweep(back.take(), &shared, Instant::now(), None);
            let Found::Job(mut served) = found else { panic!("no job in round {round}") };
            assert_eq!(served.peer.address, peers[round % 3], "{round}");
            calls.run(&mut served, Instant::now(), false);
            back = Some(served);
        }
    }

    #[test]
    fn a_stop_looks_at_once_at_connections_whose_turn_is_far_away() {
        let (shared, shard) = (shared(), Arc::new(Shard::default()));
        let [(_client, connection), (_other, left)] = clients::<2>(&shared, "");
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(3_600));
        let mut state = shard.lock();
        state.cold.insert((later, 1), connection);
        state.quiet.insert((later, 2), left);
        state.earliest = Some(later);
        drop(state);
        let sweep = |now| shard.sweep(None, &shared, now, None);
        assert!(matches!(sweep(now), Found::Nothing(Some(time)) if time >= SELDOM));
        shared.begin_to_stop();
        // It has had its time for a last request.
        assert!(matches!(sweep(now + LAST_REQUEST), Found::Nothing(None)));
        assert!(shard.lock().all().next().is_none());
    }

    /// With a bell of the test's, and a clock of the test's.
    #[cfg(unix)]
    mod rests {
        use std::cell::Cell;

        use super::*;
        use crate::server::bell::Bell;
        use crate::server::bell::tests::Counter;
        use crate::server::settings::SLEEPER_STACK;
        use crate::server::sleepers::Sleepers;

        /// A shard with connections that have been quiet for long.
        struct Quiet<const COUNT: usize> {
            shared: Shared,
            shard: Arc<Shard>,
            now: Instant,
            clients: [TcpStream; COUNT],
        }

        impl<const COUNT: usize> Quiet<COUNT> {
            fn new(bell: Bell) -> Quiet<COUNT> {
                let first_byte_deadline = Duration::from_secs(3_600);
                let settings = Settings { sleepers: 0, first_byte_deadline, ..Settings::default() };
                let mut shared = Shared::new(settings, Box::new(hello), Arc::new(Lines::errors(io::sink())));
                shared.bell = bell;
                let shard = Arc::new(Shard::default());
                let clients = clients::<COUNT>(&shared, "").map(|(client, connection)| {
                    shard.deliver(connection);
                    client
                });
                Quiet { shared, shard, now: Instant::now() + Duration::from_secs(5), clients }
            }

            /// Lets so much time pass as the worker would sleep for at most, and sweeps.
            fn sweep(&mut self, passes: Duration) -> Found {
                self.now += passes;
                self.shard.sweep(None, &self.shared, self.now, None)
            }

            /// The monitor listens.
            fn listen(&self) {
                self.shard.ring(self.shared.bell.listen());
            }

            /// The bell says something else, and the monitor hears it.
            fn ring(&self, counter: &Counter, segments: usize) {
                counter.says(segments);
                self.listen();
            }

            /// How many looks so many milliseconds take, if this is done at every one of them.
            fn looks(&mut self, milliseconds: u32, mut every: impl FnMut(&Self)) -> usize {
                let (parked, mut rounds) = (self.shard.lock().parked, 0);
                for _ in 0..milliseconds {
                    every(self);
                    let before = self.shard.lock().latest;
                    assert!(matches!(self.sweep(Duration::from_millis(1)), Found::Nothing(_)));
                    rounds += usize::from(self.shard.lock().latest != before);
                }
                rounds * COUNT + self.shard.lock().parked - parked
            }

            /// Rests for long: until long after the bell has been silent for two rounds.
            fn fall_asleep(&mut self) {
                self.looks(100, Self::listen);
                assert!(self.shard.rests_on() != 0 && self.shard.lock().was_silent);
            }

            fn speak(&mut self) {
                self.clients[0].write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            }

            fn wrong(&self) -> u64 {
                self.shared.counters.read(&self.shared.places.phases).count(Cause::BellWrong)
            }
        }

        /// Whoever else is sent something in this system must not make a server look without end.
        #[test]
        fn rings_without_end_cause_no_more_looks_than_there_are_without_a_bell_and_were_spared() {
            let (counter, segments) = (Counter::new("often"), Cell::new(10_000));
            let bell = counter.bell();
            assert!(bell.has_missed(10_000), "it is none");
            let without = Quiet::<3>::new(bell).looks(10_000, |_| {});
            let mut quiet = Quiet::<3>::new(counter.bell());
            let mut others = |quiet: &Quiet<3>| {
                segments.set(segments.get() + 1);
                quiet.ring(&counter, segments.get());
            };
            let in_turn = |time: Duration| 3 * (time.as_millis() / LONGEST.0.as_millis()) as usize;
            assert!(without <= in_turn(Duration::from_secs(10)) + 9, "{without}");
            for _ in 0..2 {
                for spared in [in_turn(SELDOM), 0] {
                    let with = quiet.looks(10_000, &mut others);
                    let most = without + spared + 9;
                    assert!(with > without / 2 && with <= most, "{with} with a bell, {without} without");
                }
                let silent = quiet.looks(10_000, Quiet::listen);
                assert!(silent <= 3 * (10 / SELDOM.as_secs() as usize + 2), "{silent} in silence");
            }
        }

        #[test]
        fn a_round_moves_only_those_that_have_something_and_costs_a_time_that_is_due_to_so_many() {
            const COUNT: usize = 220;
            let counter = Counter::new("many");
            let mut quiet = Quiet::<COUNT>::new(counter.bell());
            quiet.fall_asleep();
            let parked = quiet.shard.lock().parked;
            quiet.speak();
            quiet.ring(&counter, 10_001);
            assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Nothing(Some(Duration::ZERO))));
            let state = quiet.shard.lock();
            assert_eq!((state.hot.len(), state.quiet.len(), state.parked), (1, COUNT - 1, parked));
            assert!(state.longest() == LONGEST_EACH * COUNT as u32 && state.longest() > LONGEST.0);
            drop(state);
            assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Job(_)));
        }

        #[test]
        fn a_limit_closes_those_that_are_left_to_the_rounds_and_nobody_rests_for_nobody() {
            let mut quiet = Quiet::<2>::new(Counter::new("limit").bell());
            quiet.fall_asleep();
            let mut state = quiet.shard.lock();
            let mut close = || state.close_one(Cause::ConnectionLimit, |_| true, &quiet.shared);
            assert_eq!([close(), close(), close()], [true, true, false]);
            drop(state);
            assert!(quiet.shard.rests_on() != 0 && matches!(quiet.sweep(SELDOM), Found::Nothing(None)));
            assert_eq!(quiet.shard.rests_on(), 0);
        }

        #[test]
        fn a_sleeper_that_is_free_again_has_a_connection_that_was_left_to_the_rounds_and_says_nothing() {
            let mut quiet = Quiet::<2>::new(Counter::new("free").bell());
            quiet.fall_asleep();
            for (sleepers, slept_on) in [(1, 0), (2, 2)] {
                quiet.shared.sleepers = Sleepers::new(sleepers, SLEEPER_STACK);
                quiet.sweep(SELDOM);
                quiet.sweep(Duration::from_millis(1));
                let state = quiet.shard.lock();
                assert_eq!((state.called.len(), state.quiet.len()), (slept_on, 2 - slept_on));
            }
        }

        #[test]
        fn a_shard_with_something_hot_goes_its_rounds_as_if_nothing_had_rung_and_begins_one_when_that_is_cold() {
            let counter = Counter::new("hot");
            let mut quiet = Quiet::<2>::new(counter.bell());
            quiet.fall_asleep();
            let mut busy = quiet.shard.lock().quiet.pop_first().unwrap().1;
            busy.since = quiet.now;
            let latest = quiet.shard.lock().latest;
            quiet.ring(&counter, 10_001);
            let sweep = |busy| quiet.shard.sweep(Some(busy), &quiet.shared, quiet.now, None);
            let Found::Alone(busy, due) = sweep(busy) else { panic!("a round was begun") };
            assert!(due == Some(quiet.now + LONGEST.0) && due < latest, "and not at the end of the rest");
            let Found::Alone(..) = sweep(busy) else { panic!("a round was begun") };
            assert!(quiet.shard.rests_on() == 0 && quiet.shard.lock().earliest < Some(quiet.now));
            assert!(matches!(quiet.sweep(Duration::ZERO), Found::Nothing(_)));
            assert_eq!(quiet.shard.rests_on(), 10_001);
        }

        #[test]
        fn a_segment_behind_a_round_ends_the_rest() {
            let counter = Counter::new("behind");
            let mut quiet = Quiet::<1>::new(counter.bell());
            quiet.fall_asleep();
            counter.says(10_001);
            quiet.speak();
            assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Nothing(_)), "nobody has told it");
            quiet.listen();
            assert!(quiet.shard.rests_on() == 0 && quiet.shard.has_mail());
            assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Nothing(Some(Duration::ZERO))));
            assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Job(_)));
        }

        /// The system counts first, and may be kept from the rest for a while.
        #[test]
        fn a_segment_that_is_counted_before_its_socket_has_it_is_found_soon_and_proves_nothing() {
            let counter = Counter::new("early");
            let mut quiet = Quiet::<1>::new(counter.bell());
            quiet.fall_asleep();
            quiet.ring(&counter, 10_001);
            assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Nothing(Some(_))));
            assert_eq!(quiet.shard.rests_on(), 10_001, "it was looked at");
            quiet.speak();
            quiet.listen();
            assert!(matches!(quiet.sweep(LONGEST.0), Found::Nothing(Some(Duration::ZERO))));
            assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Job(_)));
            assert_eq!(quiet.wrong(), 0);
        }

        #[test]
        fn what_is_found_though_the_bell_was_silent_for_two_rounds_proves_it_wrong() {
            let counter = Counter::new("wrong");
            let mut quiet = Quiet::<1>::new(counter.bell());
            quiet.fall_asleep();
            quiet.speak();
            quiet.listen();
            assert!(matches!(quiet.sweep(SELDOM), Found::Nothing(Some(Duration::ZERO))));
            assert_eq!((quiet.wrong(), quiet.shared.bell.listen()), (1, 0));
            assert!(matches!(quiet.sweep(Duration::from_millis(1)), Found::Job(_)));
        }

        #[test]
        fn a_deadline_is_kept_though_the_shard_rests_and_nobody_rests_beside_a_unix_socket() {
            let counter = Counter::new("others");
            let mut quiet = Quiet::<2>::new(counter.bell());
            quiet.fall_asleep();
            let mut connection = quiet.shard.lock().quiet.pop_first().unwrap().1;
            connection.deadline = quiet.now + Duration::from_millis(500);
            connection.place = Some(quiet.shared.places.take());
            quiet.shard.deliver(connection);
            for passed in 0..500 {
                assert_eq!(quiet.shared.places.open(), 1, "{passed}");
                quiet.sweep(Duration::from_millis(1));
            }
            assert_eq!(quiet.shared.places.open(), 0);
            // As over a Unix socket.
            let mut state = quiet.shard.lock();
            let mut connection = state.quiet.pop_first().unwrap().1;
            connection.peer = Peer::default();
            state.hot.push_back(connection);
            drop(state);
            let looks = quiet.looks(10_000, Quiet::listen);
            let most = 2 * 10_000 / LONGEST.0.as_millis() as usize;
            assert!(looks > most / 2 && looks < most + 9 && quiet.shard.rests_on() == 0, "{looks}");
        }
    }
}
