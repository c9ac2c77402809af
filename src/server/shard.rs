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
//! When that time is the longest there is, a connection that waits for its client is *quiet*: left to the [rounds].
//!
//! Invariant: a connection is at every moment in exactly one place: in one of the collections of a shard, in its inbox, or owned by one
//! thread. It moves only by being moved, so it can be neither lost nor served twice.

mod rounds;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use rounds::Rounds;

use super::connection::{Connection, Step};
use super::pool::Unattended;
use super::settings::{COOL, COOL_EACH, LONGEST, LONGEST_EACH, LOOK, SHORTEST, SLOW_CALL, TOGETHER};
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
    rounds: Rounds,
    /// How far a stop had come when every connection was looked at for it.
    stop_seen: (bool, bool),
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
    pub(super) fn change_worker(self: &Arc<Shard>, word: usize) {
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
            self.change_worker(word);
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
        if self.go_round(shard, shared, now, most.is_none()) {
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
        let mut more = self.rounds.under_way.is_some();
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
        connection.rest();
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
        let stop = (shared.is_stopping(), shared.is_over());
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
pub(super) mod tests {
    use std::io::{self, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::door::{Door, Origin, Peer};
    use crate::gateway::{Body, Environ, Gateway, StartResponse, Variables};
    use crate::log::Lines;
    use crate::server::answer::{Calls, GATHERED};
    use crate::server::settings::{LAST_REQUEST, SELDOM, Settings};
    use crate::server::socket::Socket;

    pub(super) fn hello(_: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("200 OK", &[]);
        Body::empty()
    }

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(Settings::default(), Box::new(hello), Arc::new(Lines::errors(io::sink()))))
    }

    /// Clients that have said so much, and their connections.
    pub(super) fn clients<const COUNT: usize>(shared: &Shared, said: &str) -> [(TcpStream, Box<Connection>); COUNT] {
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
        let clients = clients::<3>(&shared, &"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3 * GATHERED));
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
            calls.run(&mut served, Instant::now());
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
        state.rounds.earliest = Some(later);
        drop(state);
        let sweep = |now| shard.sweep(None, &shared, now, None);
        assert!(matches!(sweep(now), Found::Nothing(Some(time)) if time >= SELDOM));
        shared.stop(Duration::MAX);
        // It has had its time for a last request.
        assert!(matches!(sweep(now + LAST_REQUEST), Found::Nothing(None)));
        assert!(shard.lock().all().next().is_none());
    }
}
