//! The fixed pool of threads that call the application: drivers of shards, and standbys that wait for one to need them.
//!
//! A thread that drives a shard sweeps it, and when a connection has a request it calls the application itself: a fast
//! application costs no hand-over between threads, and a sweep under load no sleep, which makes the design as cheap as an event loop.
//! While the driver is in a call its shard is unattended. When the call lasts longer than a look of the monitor, the monitor
//! raises the shard's tenure and gives it to a standby; the slow thread finds another tenure when it returns, brings its
//! connection back and becomes a standby. Where calls are slow as a rule (a moving average says so, or the last call for the same
//! connection), the shard is given away before the call, whether or not a thread is free to take it: then the first that is does. So slow
//! applications get the whole pool: calls that block for 1 ms, 16 threads, 64 clients: 13,500 calls a second, 12,650 when a shard was only
//! given to a thread that was free; 32 busy clients beside 8 whose calls block for 50 ms: 120,000 requests a second, 86,000 without the memory
//! of each connection.
//!
//! # Why this design
//! Two designs were built and measured on one machine of two cores with 16 threads, CPU a request as a ratio to an asynchronous
//! server (hyper) in the same run:
//!
//! | | 16 connections | 64 | 256 | 1,000 | beside 1,000 idle | beside 900 slow |
//! |---|--:|--:|--:|--:|--:|--:|
//! | a pool whose threads block on their connection while nobody waits, and a thread that parks the others | 1.70 | 1.59 | 2.48 | – | 1.05 | – |
//! | shards with take-over | 1.01 | 0.95 | 1.03 | 1.05 | 0.94 | 0.67 |
//!
//! (`examples/peer` under `wrk -c N -t 2 -d 2` beside the peer, CPU from the process; single runs on a busy machine: only the
//! ratios say something.) The first pays a hand-over between threads for every request as soon as connections outnumber threads.
//!
//! # Why it is right
//! - *No connection is lost or served twice*: a connection is owned by value, by a collection of a shard or by one thread's variable; the
//!   compiler sees to the rest. A thread that has lost its shard still owns the connection of its call and delivers it to the inbox.
//! - *At most one driver sweeps*: sweeping needs the shard's lock, and every sweep begins by comparing the tenure under that lock. A tenure is
//!   raised only under the lock, together with one vacancy; a vacancy is taken by one thread.
//! - *No shard is left*: a shard always has a driver that will compare its tenure, or a vacancy in the queue. While a vacancy waits for a thread, the
//!   monitor sweeps the shard aside: deadlines, refusals and slow clients go on, only applications are not called.
//! - *None starves*: hot connections stand in a ring, a served one goes to its end; queued requests go before the ring; a driver leaves its shard
//!   for one that has queued requests and no driver.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Next};
use super::engine::Engine;
use super::exchange::Desk;
use super::settings::{IDLE_PASSES, LONG_CALL, QUICK_CALL, RUSH, SHORTEST, SLICES, SLOW_CALL, TURNS};
use super::shard::{Found, Shard, State};
use super::station::Station;
use super::transport::Wait;
use crate::cause::Cause;
use crate::gateway::discard_panic;

/// Shards that need a driver, in the order in which they lost theirs.
pub(super) struct Vacancies {
    queue: Mutex<Queue>,
    signal: Condvar,
    length: AtomicUsize,
    standbys: AtomicUsize,
}

struct Queue {
    vacancies: VecDeque<Vacancy>,
    closed: bool,
}

/// A shard and the tenure that its new driver begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vacancy {
    pub(super) shard: usize,
    pub(super) tenure: u64,
}

impl Vacancies {
    /// An empty queue for so many shards.
    pub(super) fn new(shards: usize) -> Vacancies {
        // A shard whose drivers are replaced again and again may stand in it more than once.
        let queue = Queue { vacancies: VecDeque::with_capacity(4 * shards), closed: false };
        Vacancies {
            queue: Mutex::new(queue),
            signal: Condvar::new(),
            length: AtomicUsize::new(0),
            standbys: AtomicUsize::new(0),
        }
    }

    pub(super) fn push(&self, vacancy: Vacancy) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.vacancies.push_back(vacancy);
        self.length.store(queue.vacancies.len(), Ordering::SeqCst);
        drop(queue);
        self.signal.notify_one();
    }

    /// Waits as a standby; `None` when the server has ended.
    fn take(&self) -> Option<Vacancy> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if queue.closed {
                return None;
            }
            if let Some(vacancy) = queue.vacancies.pop_front() {
                self.length.store(queue.vacancies.len(), Ordering::SeqCst);
                return Some(vacancy);
            }
            self.standbys.fetch_add(1, Ordering::SeqCst);
            queue = self.signal.wait(queue).unwrap_or_else(PoisonError::into_inner);
            self.standbys.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether a thread waits that no vacancy has called yet.
    pub(super) fn has_standby(&self) -> bool {
        self.standbys.load(Ordering::SeqCst) > self.length.load(Ordering::SeqCst)
    }

    /// Whether a shard waits for a driver.
    pub(super) fn has_waiting(&self) -> bool {
        self.length.load(Ordering::SeqCst) > 0
    }

    /// The shard that is at a place in the queue.
    pub(super) fn waiting_at(&self, place: usize) -> Option<usize> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.vacancies.get(place).map(|vacancy| vacancy.shard)
    }

    /// Sends every thread home.
    pub(super) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.signal.notify_all();
    }
}

/// A thread of the pool.
pub(super) struct Worker<'a> {
    engine: &'a Engine,
    station: Arc<Station>,
    desk: Desk,
}

impl<'a> Worker<'a> {
    pub(super) fn new(engine: &'a Engine, station: Arc<Station>) -> Worker<'a> {
        Worker { engine, desk: Desk::new(&engine.house, Some(Arc::clone(&station))), station }
    }

    /// Drives one shard after the other until the server ends.
    pub(super) fn run(mut self) {
        while let Some(vacancy) = self.engine.vacancies.take() {
            if let Some(shard) = self.engine.shards.get(vacancy.shard) {
                self.drive(shard, vacancy);
            }
        }
    }

    /// Drives a shard until it is lost or the server ends.
    fn drive(&mut self, shard: &Shard, vacancy: Vacancy) {
        let house = &self.engine.house;
        let mut fruitless = 0;
        let mut turns = 0_u32;
        let mut state = shard.lock();
        while state.tenure == vacancy.tenure && !self.engine.has_ended() {
            // Not before a sweep: two shards without a driver would be exchanged for each other by the one thread that is free, for ever.
            if turns > 0 && self.engine.has_work_waiting() {
                // The other shard has nobody: take turns.
                self.engine.replace_driver(vacancy.shard, &mut state);
                return;
            }
            turns = turns.wrapping_add(1);
            if turns % RUSH.turns == 0 && (turns % TURNS == 0 || self.engine.is_rush()) {
                drop(state);
                self.engine.accept_in_rush();
                if turns % TURNS == 0 {
                    std::thread::yield_now();
                }
                state = shard.lock();
                continue;
            }
            shard.take_mail(&mut state);
            let now = Instant::now();
            let found = state.sweep(house, now, &mut self.desk.scratch);
            shard.publish(&state);
            state = match found {
                Found::Ready(connection) => {
                    fruitless = 0;
                    let Some(state) = self.attend(shard, state, vacancy, connection, now) else { return };
                    state
                }
                Found::Queued(mut connection, waited) => {
                    fruitless = 0;
                    if waited > house.settings.queue_timeout {
                        connection.refuse(Cause::QueueTimeout, house, now);
                        state.put(connection);
                        continue;
                    }
                    let Some(state) = self.attend(shard, state, vacancy, connection, now) else { return };
                    state
                }
                Found::Alone(connection) => {
                    let Some(state) = self.stay_with(shard, state, vacancy, connection) else { return };
                    state
                }
                Found::Nothing(Some(Duration::ZERO)) => state,
                Found::Nothing(time) => self.pause(shard, state, time, &mut fruitless),
            };
        }
    }

    /// Nothing is to be done in the shard: accepts what comes in a rush, yields, and sleeps when that has led to nothing for long.
    fn pause<'s>(
        &self,
        shard: &'s Shard,
        state: MutexGuard<'s, State>,
        time: Option<Duration>,
        fruitless: &mut u32,
    ) -> MutexGuard<'s, State> {
        *fruitless += 1;
        let is_rush = self.engine.is_rush();
        if *fruitless > IDLE_PASSES && !is_rush {
            return shard.sleep(state, time);
        }
        drop(state);
        if is_rush && self.engine.accept_in_rush() {
            *fruitless = 0;
        } else if *fruitless > IDLE_PASSES {
            // Nobody wakes a driver for a connection that it is to accept itself.
            return shard.sleep(shard.lock(), Some(time.map_or(SHORTEST, |time| time.min(SHORTEST))));
        } else {
            // Under load the next request or connection is a moment away, and a sleep would cost more than it.
            std::thread::yield_now();
        }
        shard.lock()
    }

    /// Answers what a connection holds. Gives the shard's lock back, or nothing when the shard is somebody else's now.
    fn attend<'s>(
        &mut self,
        shard: &'s Shard,
        mut state: MutexGuard<'s, State>,
        vacancy: Vacancy,
        connection: Box<Connection>,
        now: Instant,
    ) -> Option<MutexGuard<'s, State>> {
        let engine = self.engine;
        let gives_away = is_slow(shard, &connection);
        if gives_away {
            engine.replace_driver(vacancy.shard, &mut state);
        } else {
            state.away_since = Some(now);
        }
        drop(state);
        // It looks after a call that lasts, and after a shard that no thread is free for.
        engine.monitor.notice();
        let (connection, lasted) = self.serve(shard, connection, now);
        shard.note_call(lasted);
        if gives_away {
            self.bring_back(shard, connection);
            return None;
        }
        self.come_back(shard, vacancy, connection)
    }

    /// Stays with the shard's only hot connection: blocks on it, one slice at a time, so that the kernel wakes the thread when its
    /// client says something. Two system calls a request, and no sleep of any other kind.
    fn stay_with<'s>(
        &mut self,
        shard: &'s Shard,
        mut state: MutexGuard<'s, State>,
        vacancy: Vacancy,
        mut connection: Box<Connection>,
    ) -> Option<MutexGuard<'s, State>> {
        let house = &self.engine.house;
        shard.set_blocked(&mut state, true);
        drop(state);
        let mut slices = 0;
        let mut now = Instant::now();
        while slices < SLICES && !house.is_stopping() && connection.is_worth_waiting_for() {
            let may_wait = !shard.has_mail() && connection.transport.wait(Wait::Slice).is_ok();
            // The reading of before the wait is good enough for a deadline; one call of the clock is spared.
            let next = if may_wait { connection.advance(house, now, &mut self.desk.scratch) } else { Next::Wait };
            now = Instant::now();
            let mut state = shard.lock();
            let is_lost = state.tenure != vacancy.tenure;
            match next {
                Next::Look => {}
                Next::End if is_lost => return None,
                Next::End => {
                    shard.set_blocked(&mut state, false);
                    return Some(state);
                }
                Next::Wait | Next::More if may_wait && !is_lost && !state.is_wanted(now) => {
                    slices += 1;
                    continue;
                }
                Next::Wait | Next::More => break,
            }
            // Once more a slow application: its calls need the shard for others.
            let gives_away = !is_lost && is_slow(shard, &connection);
            if gives_away {
                self.engine.replace_driver(vacancy.shard, &mut state);
            } else if !is_lost {
                shard.set_blocked(&mut state, false);
                state.away_since = Some(now);
            }
            drop(state);
            self.engine.monitor.notice();
            let (back, lasted) = self.serve(shard, connection, now);
            shard.note_call(lasted);
            slices = 0;
            let Some(back) = back else { return self.come_back(shard, vacancy, None) };
            connection = back;
            let mut state = shard.lock();
            if state.tenure != vacancy.tenure {
                break;
            }
            state.away_since = None;
            shard.set_blocked(&mut state, true);
            if state.is_wanted(now) {
                break;
            }
        }
        self.come_back(shard, vacancy, Some(connection))
    }

    /// Takes the shard up again, if it has not been given to another.
    fn come_back<'s>(
        &self,
        shard: &'s Shard,
        vacancy: Vacancy,
        connection: Option<Box<Connection>>,
    ) -> Option<MutexGuard<'s, State>> {
        // Among the others no read may wait.
        let connection = connection.filter(|connection| connection.transport.wait(Wait::No).is_ok());
        let mut state = shard.lock();
        if state.tenure != vacancy.tenure {
            drop(state);
            self.bring_back(shard, connection);
            return None;
        }
        state.away_since = None;
        shard.set_blocked(&mut state, false);
        if let Some(connection) = connection {
            state.put(connection);
        }
        Some(state)
    }

    fn bring_back(&self, shard: &Shard, connection: Option<Box<Connection>>) {
        if let Some(connection) = connection.filter(|connection| connection.transport.wait(Wait::No).is_ok()) {
            shard.deliver(connection);
        }
        if self.engine.house.is_stopping() {
            self.engine.monitor.wake();
        }
    }

    /// Answers the requests that a connection holds. Gives it back unless it has ended, and how long that took.
    fn serve(
        &mut self,
        shard: &Shard,
        mut connection: Box<Connection>,
        begin: Instant,
    ) -> (Option<Box<Connection>>, Duration) {
        let house = &self.engine.house;
        let gathers = shard.average_call() < QUICK_CALL;
        house.stats.busy.fetch_add(1, Ordering::SeqCst);
        self.station.enter(&connection.transport);
        // The application's panics are caught where they are answered. What is caught here is a value of the application's that
        // panics when it is dropped: the connection is lost, and the thread goes on with fresh memory.
        let served = catch_unwind(AssertUnwindSafe(|| self.desk.serve(&mut connection, house, begin, gathers)));
        self.station.leave();
        house.stats.busy.fetch_sub(1, Ordering::SeqCst);
        match served {
            Ok(lasted) => {
                connection.last_call = lasted;
                (Some(connection), lasted)
            }
            Err(panic) => {
                discard_panic(panic);
                self.desk = Desk::new(house, Some(Arc::clone(&self.station)));
                (None, Duration::ZERO)
            }
        }
    }
}

/// Whether the call for this connection is likely to last: the shard is given away before it then, whether or not a thread is free to take
/// it at once, so that the first that becomes free does.
fn is_slow(shard: &Shard, connection: &Connection) -> bool {
    shard.average_call() > SLOW_CALL || connection.last_call > LONG_CALL
}
