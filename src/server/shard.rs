//! A set of connections: where they are while they wait, and how a thread finds the next that needs it.
//!
//! A worker attends a shard: it holds the lock while it sweeps, and lets go of it to run a job. One word says who has the shard: whether its
//! worker attends it, blocks on the only connection or runs a job, or it waits for one, and how often that has changed. Whoever changes the word
//! as it was known has the shard: its worker coming back, the monitor that has seen the same job twice, or whoever brings a connection to a worker
//! that blocks. A worker that fails to has lost it.
//!
//! A connection is hot for a moment (1 to 10 ms) after it did something, and looked at in every sweep; then it is cold, and looked at after a
//! time proportional to how long it has been quiet. A look is one non-blocking read or write. One whose blocks another thread sends waits for
//! that, and is not looked at. A cold connection gives its buffer back. The hot ones are a ring, in which also stays what waits for a thread.
//!
//! When that time is the longest there is, a TCP connection that waits for its client is *quiet*: left to the [rounds].
//!
//! Invariant: a connection is at every moment in exactly one place: in one of the collections of a shard, in its inbox, or owned by one
//! thread. It moves only by being moved, so it can be neither lost nor served twice.

mod rounds;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use rounds::Rounds;

use super::connection::{Connection, Step, WaitsFor};
use super::pool::Unattended;
use super::settings::{COOL, COOL_EACH, LONGEST, LONGEST_EACH, SHORTEST, SLOW_CALL, STAY};
use super::shared::{Shared, lock, wait};
use crate::cause::Cause;
use crate::gateway::Wake;
use crate::log::Answer;

/// The connections of one shard, and who has it.
#[derive(Default)]
pub(super) struct Shard {
    state: Mutex<State>,
    inbox: Mutex<Inbox>,
    signal: Condvar,
    /// Whether the worker is to look around: something was brought, or somebody wakes it.
    has_mail: AtomicBool,
    /// In its two lowest bits what its worker does, above them how often that has changed.
    word: AtomicUsize,
    /// Nanoseconds that calls of the application last, as a moving average with weight 1/16.
    average: AtomicUsize,
    /// How many jobs were found while no thread was free for them, and have not been run since.
    pub(super) queued: AtomicUsize,
    /// What the bell had said before the round that led to a rest; 0 when the shard does not rest, or it has rung since.
    rests_on: AtomicUsize,
    unattended: Weak<Unattended>,
}

/// What the worker of a shard does, if it has one.
pub(super) const UNATTENDED: usize = 0;
pub(super) const ATTENDS: usize = 1;
pub(super) const BLOCKS: usize = 2;
pub(super) const WORKS: usize = 3;

/// What other threads bring: connections that were accepted, and those whose call lasted so long that the shard went on without them; and
/// the numbers of those that are woken.
#[derive(Default)]
struct Inbox {
    arrived: VecDeque<Box<Connection>>,
    awake: Vec<u64>,
    is_asleep: bool,
}

/// What is swept. In boxes, so that a connection goes from thread to thread without being copied.
#[derive(Default)]
pub(super) struct State {
    hot: VecDeque<Box<Connection>>,
    /// Those that wait for longer, by numbers: none has that of another, so that whoever wakes one wakes no other.
    parked: BTreeMap<u64, Parked>,
    /// The last of the numbers.
    last: u64,
    /// When they are looked at, whether or not somebody wakes them.
    timers: BTreeSet<(Instant, u64)>,
    /// How many of them are quiet.
    quiet: usize,
    rounds: Rounds,
    /// How far a stop had come when every connection was looked at for it.
    stop_seen: (bool, bool),
}

/// A connection that waits for longer than a moment.
struct Parked {
    connection: Box<Connection>,
    /// When it is looked at. Not where it is woken: by whoever sends its blocks, leaves it a seat or sleeps on its socket.
    due: Option<Instant>,
    is_quiet: bool,
}

/// How many whose time has come go into one sweep: with all of ten thousand deadlines that come together, who has something to do would wait for
/// tens of milliseconds.
const DUE: usize = 64;

/// What a sweep found.
pub(super) enum Found {
    /// A connection for which a thread is needed.
    Job(Box<Connection>),
    /// The only hot connection, and it says nothing. Another is due at a time.
    Alone(Box<Connection>, Option<Instant>),
    /// Nothing now: look again after this time, or when somebody wakes the worker.
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
    pub(super) fn exchange(&self, word: usize, does: usize) -> Option<usize> {
        let next = (word | 3).wrapping_add(1) | does;
        self.word.compare_exchange(word, next, Ordering::SeqCst, Ordering::SeqCst).is_ok().then_some(next)
    }

    /// Takes it from its worker, if the word is still that, and has another come.
    pub(super) fn change_worker(self: &Arc<Shard>, word: usize) {
        if let Some(unattended) = self.unattended.upgrade().filter(|_| self.exchange(word, UNATTENDED).is_some()) {
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
    pub(super) fn wake_worker(&self) {
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
            self.wake_worker();
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

    /// Sleeps until the time is over, or somebody brings something or wakes the worker. The caller holds no lock.
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
    /// thread. While no thread is free, those that need one stay in the ring instead; `most` of them may be requests.
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
            let awake = std::mem::take(&mut inbox.awake);
            // One that ends here may have a seat, which goes to another, who may be of this shard.
            drop(inbox);
            awake.into_iter().for_each(|number| state.make_hot(number));
        }
        state.sweep(self, shared, now, most)
    }
}

/// For the connection with a number a block was sent or a seat is free, or its client has said something.
impl Wake for Shard {
    fn wake(self: Arc<Shard>, number: u64) {
        self.mail(|inbox| inbox.awake.push(number));
        self.relieve();
    }
}

impl State {
    fn sweep(&mut self, shard: &Arc<Shard>, shared: &Shared, now: Instant, most: Option<usize>) -> Found {
        self.note_stop(shared);
        self.go_round(shard, shared, now, most.is_none());
        let (mut more, mut requests, mut calls) = (self.rounds.under_way.is_some(), 0, 0);
        // A turn over many takes longer: what waits for its own is not cold.
        let cool = proportional(COOL_EACH, self.hot.len(), COOL);
        for _ in 0..DUE {
            let Some((_, number)) = self.timers.first().copied().filter(|(due, _)| *due <= now) else { break };
            self.make_hot(number);
        }
        for _ in 0..self.hot.len() {
            let Some(mut connection) = self.hot.pop_front() else { break };
            match (connection.step(shared, now), most) {
                (Step::End, _) => {}
                (Step::Job, None) => {
                    shard.queued.store(shard.queued.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
                    return Found::Job(connection);
                }
                (Step::Job, Some(most)) => {
                    if connection.call.is_none() {
                        requests += 1;
                        connection.wait_for_thread(requests <= most, shared, now);
                        connection.count_memory();
                    } else {
                        calls += 1;
                    }
                    self.hot.push_back(connection);
                }
                (Step::Wait, _) => self.park(connection, cool, shard, shared, now),
                (Step::More, _) => {
                    more = true;
                    connection.count_memory();
                    self.hot.push_back(connection);
                }
            }
        }
        shard.queued.store(requests + calls, Ordering::Relaxed);
        if more {
            return Found::Nothing(Some(Duration::ZERO));
        }
        let due = self.timers.first().map(|(due, _)| *due).into_iter().chain(self.round_due(shard, now)).min();
        let may_block = most.is_none() && self.hot.len() == 1 && !shared.is_stopping();
        if may_block && self.hot.front().is_some_and(|connection| connection.is_worth_waiting_for()) {
            if let Some(connection) = self.hot.pop_front() {
                return Found::Alone(connection, due);
            }
        }
        let until_due = due.map(|due| due.saturating_duration_since(now));
        Found::Nothing(if self.hot.is_empty() { until_due } else { Some(SHORTEST) })
    }

    /// Puts a connection where it waits without being looked at in every sweep: one that is to be woken, and one that is cold.
    fn park(
        &mut self,
        mut connection: Box<Connection>,
        cool: Duration,
        shard: &Arc<Shard>,
        shared: &Shared,
        now: Instant,
    ) {
        self.last += 1;
        let quiet_for = now.saturating_duration_since(connection.since);
        let is_woken = match connection.register(shard, self.last) {
            WaitsFor::Waker => true,
            WaitsFor::Client if quiet_for > cool => false,
            WaitsFor::Client | WaitsFor::Nothing => {
                connection.count_memory();
                return self.hot.push_back(connection);
            }
        };
        connection.rest();
        let longest = self.longest();
        let interval = (quiet_for / 16).clamp(SHORTEST, longest);
        let may_be_slept_on = quiet_for > STAY && connection.is_idle() && !shared.is_stopping();
        let is_woken = is_woken || may_be_slept_on && shared.sleepers.watch(&connection, now, (shard, self.last));
        // That of a client which has taken everything means nothing, and may be over.
        let deadline = Some(connection.deadline).filter(|deadline| *deadline > now);
        let is_patient = interval == longest && deadline.is_some() && !shared.is_stopping();
        // The bell says nothing of Unix sockets, which have no address.
        let has_bell = connection.peer.address.is_some();
        let is_quiet = !is_woken && is_patient && has_bell && connection.waits_for_client();
        let due = match deadline {
            _ if is_woken => connection.late(shared),
            Some(deadline) if is_quiet || deadline < now + interval => Some(deadline),
            _ => Some(now + interval),
        };
        self.timers.extend(due.map(|due| (due, self.last)));
        self.quiet += usize::from(is_quiet);
        self.parked.insert(self.last, Parked { connection, due, is_quiet });
    }

    /// Takes one out again, whose socket waits no longer for whoever has slept on it.
    fn unpark(&mut self, number: u64) -> Option<Box<Connection>> {
        let Parked { connection, due, is_quiet } = self.parked.remove(&number)?;
        due.map(|due| self.timers.remove(&(due, number)));
        self.quiet -= usize::from(is_quiet);
        connection.socket.set_waiting(false).is_ok().then_some(connection)
    }

    fn make_hot(&mut self, number: u64) {
        let connection = self.unpark(number);
        self.hot.extend(connection);
    }

    /// The longest time between two looks at a connection without a bell.
    fn longest(&self) -> Duration {
        proportional(LONGEST_EACH, self.hot.len() + self.timers.len(), LONGEST)
    }

    /// When a stop begins, and when its grace is over, every connection is looked at once more.
    fn note_stop(&mut self, shared: &Shared) {
        let stop = (shared.is_stopping(), shared.is_over());
        if stop > self.stop_seen {
            self.stop_seen = stop;
            while let Some(number) = self.parked.first_key_value().map(|(number, _)| *number) {
                self.make_hot(number);
            }
        }
    }

    /// Everything that waits.
    pub(super) fn all(&self) -> impl Iterator<Item = &Connection> {
        self.hot.iter().chain(self.parked.values().map(|parked| &parked.connection)).map(|connection| &**connection)
    }

    /// Closes all such connections. Tells whether bodies among them wait for a thread that closes them.
    pub(super) fn close(&mut self, cause: Cause, mut is_it: impl FnMut(&Connection) -> bool, shared: &Shared) -> bool {
        let parked = self.parked.iter().filter(|(_, parked)| is_it(&parked.connection)).map(|(number, _)| *number);
        let parked: Vec<_> = parked.collect();
        let all = std::mem::take(&mut self.hot).into_iter();
        let (mut closed, hot) = all.partition::<VecDeque<_>, _>(|connection| is_it(connection));
        self.hot = hot;
        closed.extend(parked.into_iter().filter_map(|number| self.unpark(number)));
        let mut has_bodies = false;
        for mut closed in closed {
            if closed.cut(cause) == Step::Job {
                // Reported when its body is closed; whoever makes room need not wait for that.
                (closed.place, has_bodies) = (None, true);
                self.hot.push_back(closed);
            } else {
                closed.report(cause, Answer::Closed, shared);
            }
        }
        has_bodies
    }
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
    use crate::server::answer::{Calls, PIPELINED};
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
        let lost = shard.exchange(shard.word(), WORKS).unwrap();
        let over = shard.exchange(lost, UNATTENDED).unwrap();
        assert!(shard.exchange(over, ATTENDS).is_some(), "it goes away, and the shard is taken over");
        for does in [WORKS, BLOCKS, WORKS] {
            let next = shard.exchange(shard.word(), does).unwrap();
            assert!(shard.exchange(lost, ATTENDS).is_none(), "{lost} is not {next}");
            assert_eq!(shard.word_of(does), Some(next));
            assert!(shard.exchange(next, ATTENDS).is_some());
        }
        // The count begins anew, and changes nothing of what the worker does.
        shard.word.store(usize::MAX, Ordering::SeqCst);
        assert_eq!(shard.exchange(usize::MAX, BLOCKS), Some(BLOCKS));
    }

    #[test]
    fn a_connection_that_was_served_goes_behind_the_others_however_much_more_it_asks_for() {
        let (shared, shard) = (shared(), Arc::new(Shard::default()));
        let clients = clients::<3>(&shared, &"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3 * PIPELINED));
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
    fn deadlines_that_come_together_keep_nobody_waiting_who_has_something_to_do() {
        const COUNT: usize = 3 * DUE + 1;
        let (shared, shard) = (shared(), Arc::new(Shard::default()));
        let later = Instant::now() + Duration::from_secs(3_600);
        let mut state = shard.lock();
        let _clients = clients::<COUNT>(&shared, "").map(|(client, connection)| {
            let number = state.last;
            state.last += 1;
            state.parked.insert(number, Parked { connection, due: Some(later), is_quiet: false });
            state.timers.insert((later, number));
            client
        });
        drop(state);
        let left = || {
            let found = shard.sweep(None, &shared, later, None);
            assert!(
                matches!(found, Found::Nothing(time) if time == (!shard.lock().parked.is_empty()).then_some(Duration::ZERO))
            );
            shard.lock().parked.len()
        };
        assert_eq!(std::array::from_fn(|_| left()), [COUNT - DUE, COUNT - 2 * DUE, 1, 0]);
    }

    #[test]
    fn a_stop_looks_at_once_at_connections_whose_turn_is_far_away() {
        let (shared, shard) = (shared(), Arc::new(Shard::default()));
        let [(_client, connection), (_other, left)] = clients::<2>(&shared, "");
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(3_600));
        let mut state = shard.lock();
        (state.quiet, state.rounds.earliest) = (1, Some(later));
        for (number, connection, is_quiet) in [(1, connection, false), (2, left, true)] {
            state.parked.insert(number, Parked { connection, due: Some(later), is_quiet });
            state.timers.insert((later, number));
        }
        drop(state);
        let sweep = |now| shard.sweep(None, &shared, now, None);
        assert!(matches!(sweep(now), Found::Nothing(Some(time)) if time >= SELDOM));
        shared.stop(Duration::MAX);
        // It has had its time for a last request.
        assert!(matches!(sweep(now + LAST_REQUEST), Found::Nothing(None)));
        assert!(shard.lock().all().next().is_none());
    }

    #[test]
    fn a_connection_that_a_thread_has_stayed_with_to_the_end_is_slept_on_and_not_looked_at() {
        let (shared, shard) = (shared(), Arc::new(Shard::default()));
        let [(_client, connection)] = clients::<1>(&shared, "");
        let since = connection.since;
        shard.deliver(connection);
        let sweep = |back, now| shard.sweep(back, &shared, now, None);
        let Found::Alone(connection, _) = sweep(None, since) else { panic!("it is hot") };
        let behind = since + STAY + Duration::from_millis(1);
        assert!(matches!(sweep(Some(connection), behind), Found::Nothing(None)));
        assert_eq!(shared.sleepers.free(), shared.settings.sleepers - 1);
        shard.lock().parked.clear();
        shared.sleepers.close();
    }
}
