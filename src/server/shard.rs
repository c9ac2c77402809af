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

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
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
    /// The absence of its worker, or 0.
    away: AtomicUsize,
    absences: AtomicUsize,
    /// Nanoseconds that calls of the application last, as a moving average with weight 1/16.
    average: AtomicUsize,
    /// How many connections waited for their clients, and how many jobs for a thread, at the last sweep.
    pub(super) waiting: AtomicUsize,
    pub(super) queued: AtomicUsize,
    ear: AtomicU8,
    unattended: Weak<Unattended>,
}

/// Whether a shard listens for the bell, and whether it has rung since.
const LISTENS: u8 = 1;
const RUNG: u8 = 2;

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
    cold: BTreeMap<(Instant, usize), Box<Connection>>,
    /// Those that another thread calls by their number: it sends their blocks, or sleeps on their socket.
    called: BTreeMap<usize, Box<Connection>>,
    /// How many were parked so far: none has the number of another.
    parked: usize,
    /// Requests that were found while no thread was free to answer them, and calls that may go on.
    ready: VecDeque<Box<Connection>>,
    begun: VecDeque<Box<Connection>>,
    /// A ring of the bell is not answered before this.
    next_ring: Option<Instant>,
    /// How far a stop had come when every connection was looked at for it.
    stop_seen: u8,
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

impl Shard {
    pub(super) fn new(unattended: &Arc<Unattended>) -> Arc<Shard> {
        Arc::new(Shard { unattended: Arc::downgrade(unattended), ..Shard::default() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The present absence, or 0.
    pub(super) fn absence(&self) -> usize {
        self.away.load(Ordering::SeqCst)
    }

    /// Turns an absence into another, or into none. Whoever succeeds has the shard.
    pub(super) fn turn(&self, absence: usize, next: usize) -> bool {
        self.away.compare_exchange(absence, next, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// No number is used twice, so that none can be mistaken for another; or, with 32 bits, not before 2^31 others.
    pub(super) fn next_absence(&self, blocks: bool) -> usize {
        self.absences.fetch_add(2, Ordering::Relaxed).wrapping_add(2).max(2) + usize::from(blocks)
    }

    /// Takes it from its worker, which is away since that, and calls for another.
    pub(super) fn take_over(self: &Arc<Shard>, absence: usize) {
        if let Some(unattended) = self.unattended.upgrade().filter(|_| self.turn(absence, 0)) {
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
        let absence = self.absence();
        if absence % 2 == 1 && self.unattended.upgrade().is_some_and(|unattended| unattended.has_idle()) {
            self.take_over(absence);
        }
    }

    /// Has the worker look around.
    pub(super) fn wake(&self) {
        self.mail(|_| {});
    }

    /// Whether the bell is to be listened to.
    pub(super) fn listens(&self) -> bool {
        self.ear.load(Ordering::SeqCst) == LISTENS
    }

    /// The bell has rung.
    pub(super) fn ring(&self) {
        if self.ear.compare_exchange(LISTENS, RUNG, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
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
        state.hot.extend(back);
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
        self.waiting.store(state.hot.len() + state.cold.len() + state.called.len(), Ordering::Relaxed);
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
        // Before any look, so that what comes after one makes the bell say something else.
        let heard = shared.bell.heard();
        self.answer_ring(shard, now);
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
        let mut hot = self.hot.len();
        while let Some(mut connection) = self.take_next(&mut hot, now) {
            let before = connection.heard.take();
            let step = connection.step(shared, now);
            let has_come = before.filter(|_| matches!(step, Step::More | Step::Job));
            if has_come.is_some_and(|before| shared.bell.has_missed(before)) {
                shared.report(Cause::BellWrong, "");
            }
            match (step, most) {
                (Step::End, _) => {}
                (Step::Job, None) => return Found::Job(connection),
                (Step::Job, Some(most)) => self.queue(connection, most, shared, now),
                (Step::Wait, _)
                    if now.saturating_duration_since(connection.since) > cool || connection.receiver().is_some() =>
                {
                    self.park(connection, shard, shared, now, heard);
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
        if self.cold.is_empty() {
            shard.ear.store(0, Ordering::SeqCst);
        }
        let ring = self.next_ring.filter(|_| shard.ear.load(Ordering::SeqCst) == RUNG);
        let due = self.cold.first_key_value().map(|((due, _), _)| *due).into_iter().chain(ring).min();
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
    fn park(
        &mut self,
        mut connection: Box<Connection>,
        shard: &Arc<Shard>,
        shared: &Shared,
        now: Instant,
        heard: usize,
    ) {
        connection.rest(shared);
        self.parked = self.parked.wrapping_add(1);
        match connection.receiver().map(|receiver| receiver.wait(shard, self.parked)) {
            Some(true) => return drop(self.called.insert(self.parked, connection)),
            // A block has come meanwhile.
            Some(false) => return self.hot.push_back(connection),
            None => {}
        }
        let longest = self.longest();
        let mut interval = (now.saturating_duration_since(connection.since) / 16).clamp(SHORTEST, longest);
        // Neither is there for Unix sockets, which have no address.
        let is_idle = connection.is_idle() && connection.peer.address.is_some();
        if interval > LOOK && is_idle && !shared.is_stopping() {
            if shared.sleepers.watch(&connection, now, (shard, self.parked)) {
                return drop(self.called.insert(self.parked, connection));
            }
            if interval == longest && shared.bell.is_there() {
                interval = SELDOM;
                connection.heard = Some(heard);
                if shard.ear.compare_exchange(0, LISTENS, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                    shared.monitor.notice();
                    // What rang for another shard since the look will not ring again.
                    if shared.bell.heard() != heard {
                        shard.ring();
                    }
                }
            }
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
        proportional(LONGEST_EACH, self.cold.len(), LONGEST)
    }

    /// When the bell has rung, every connection is looked at now instead of later. So that whoever else is sent something costs nothing, it is
    /// no more often than without a bell, but for the looks that were spared for [`SELDOM`].
    fn answer_ring(&mut self, shard: &Shard, now: Instant) {
        if shard.ear.load(Ordering::SeqCst) == RUNG && self.next_ring.is_none_or(|next| next <= now) {
            shard.ear.store(0, Ordering::SeqCst);
            self.next_ring = self.next_ring.max(now.checked_sub(SELDOM)).map(|next| next + self.longest());
            self.hot.extend(std::mem::take(&mut self.cold).into_values());
        }
    }

    /// The next to look at: those that are due, then each of the hot ones once.
    fn take_next(&mut self, hot: &mut usize, now: Instant) -> Option<Box<Connection>> {
        if self.cold.first_key_value().is_some_and(|((due, _), _)| *due <= now) {
            return self.cold.pop_first().map(|(_, connection)| connection);
        }
        *hot = hot.checked_sub(1)?;
        self.hot.pop_front()
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
            self.hot.extend(std::mem::take(&mut self.called).into_values().filter_map(awake));
        }
    }

    /// Everything that waits.
    pub(super) fn all(&self) -> impl Iterator<Item = &Connection> {
        let parked = self.cold.values().chain(self.called.values());
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
        let key = self.cold.iter().find_map(|(key, connection)| is_it(connection).then_some(*key))?;
        self.cold.remove(&key)
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
            (client, Box::new(connection))
        })
    }

    #[test]
    fn a_worker_that_has_lost_its_shard_cannot_take_it_from_the_next_that_is_away() {
        let shard = Shard::default();
        let lost = shard.next_absence(false);
        assert!(shard.turn(0, lost) && shard.turn(lost, 0), "it goes away, and the shard is taken over");
        for blocks in [false, true, false] {
            let next = shard.next_absence(blocks);
            assert!(shard.turn(0, next), "another worker goes away");
            assert!(!shard.turn(lost, 0), "{lost} is not {next}");
            assert!(shard.turn(next, 0));
        }
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
        let [(_client, connection)] = clients::<1>(&shared, "");
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(3_600));
        shard.lock().cold.insert((later, 1), connection);
        let sweep = |now| shard.sweep(None, &shared, now, None);
        assert!(matches!(sweep(now), Found::Nothing(Some(time)) if time > Duration::from_secs(3_000)));
        shared.stop.fetch_max(1, Ordering::SeqCst);
        // It has had its time for a last request.
        assert!(matches!(sweep(now + LAST_REQUEST), Found::Nothing(None)));
        assert!(shard.lock().all().next().is_none());
    }

    #[test]
    fn a_ring_that_another_shard_was_told_of_between_a_look_and_the_listening_is_not_lost() {
        let settings = Settings { sleepers: 0, ..Settings::default() };
        let shared = Arc::new(Shared::new(settings, Box::new(hello), Arc::new(Lines::errors(io::sink()))));
        let (shard, [(_client, connection)]) = (Arc::new(Shard::default()), clients::<1>(&shared, ""));
        let now = connection.since + Duration::from_secs(5);
        // What the bell says now, it did not say before the look.
        let before = shared.bell.heard().wrapping_add(1);
        shard.lock().park(connection, &shard, &shared, now, before);
        assert!(!shared.bell.is_there() || shard.ear.load(Ordering::SeqCst) == RUNG);
    }

    fn nothing(_: &Environ, _: &mut StartResponse) {}

    /// With a clock of the test's: whoever else is sent something in this system must not make a server look without end.
    #[test]
    fn rings_without_end_are_answered_as_often_as_without_a_bell_and_once_more_for_what_was_saved() {
        let log = Arc::new(Lines::errors(io::sink()));
        let shared = Shared::new(Settings::default(), Box::new(nothing), log);
        let origin = Origin::new(Door::Http, Gateway::default(), "a".into(), None, Variables::default());
        let (shard, mut state, mut now) = (Shard::default(), State::default(), Instant::now() + 2 * SELDOM);
        let socket = Socket::over(io::Cursor::new(Vec::new()));
        let connection = Connection::new(socket, Peer::default(), Arc::new(origin), &shared, None, now);
        state.hot.push_back(Box::new(connection));
        let mut answered = 0;
        for _ in 0..10_000 {
            state.cold.extend(state.hot.pop_front().map(|connection| ((now + SELDOM, 0), connection)));
            shard.ear.store(RUNG, Ordering::SeqCst);
            state.answer_ring(&shard, now);
            answered += state.hot.len();
            now += Duration::from_millis(1);
        }
        let as_often = (Duration::from_secs(10).as_millis() / LONGEST.0.as_millis()) as usize;
        let saved = (SELDOM.as_millis() / LONGEST.0.as_millis()) as usize;
        assert!((as_often + saved - 1..=as_often + saved + 1).contains(&answered), "{answered}");
    }
}
