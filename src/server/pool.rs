//! The fixed pool of threads that call the application: each attends a shard, or waits for one to need it.
//!
//! A worker sweeps its shard, and when a connection has a request it calls the application itself: a fast application costs no hand-over
//! between threads, and a sweep under load no sleep, which makes the design as cheap as an event loop. When a call lasts longer than a look of
//! the monitor, the shard is taken over by an idle worker; the slow one finds that when it comes back, brings its connection to the inbox and
//! becomes idle. Where calls are slow as a rule (a moving average says so, or the last call for the same connection), the shard is given
//! away before the call. `docs/performance.md` says what other designs cost.
//!
//! # Why it is right
//! - *No connection is lost or served twice*: it is owned by value, by a collection of a shard or by one thread's variable. A thread that has
//!   lost its shard still owns the connection of its job and delivers it.
//! - *At most one worker attends a shard*: one that is away has it again only if it ends its own absence, and each absence is ended once.
//! - *No shard is left*: a shard is attended, or its worker is away and will try to end that absence, or it stands in the queue of
//!   [`Unattended`]. While it stands there because no thread is free, the monitor sweeps it: deadlines, refusals and slow clients go on.
//! - *None starves*: hot connections stand in a ring, a served one goes to its end; queued requests go before the ring; a worker leaves its shard
//!   for one that has queued requests and no worker.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::answer::Calls;
use super::connection::{Connection, Step};
use super::engine::Engine;
use super::settings::{IDLE_PASSES, LONG_CALL, QUICK_CALL, RUSH, SHORTEST, SLICES, SLOW_CALL, TURNS};
use super::shard::{Found, Shard, State};
use super::shared::lock;
use crate::gateway::discard_panic;

/// Shards that need a worker, in the order in which they lost theirs, and the workers that wait for one.
#[derive(Default)]
pub(super) struct Unattended {
    queue: Mutex<(VecDeque<usize>, bool)>,
    signal: Condvar,
    length: AtomicUsize,
    idle: AtomicUsize,
}

impl Unattended {
    pub(super) fn push(&self, shard: usize) {
        let mut queue = lock(&self.queue);
        queue.0.push_back(shard);
        self.length.store(queue.0.len(), Ordering::SeqCst);
        drop(queue);
        self.signal.notify_one();
    }

    /// Waits for a shard; `None` when the server has ended.
    fn take(&self) -> Option<usize> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.1 {
                return None;
            }
            if let Some(shard) = queue.0.pop_front() {
                self.length.store(queue.0.len(), Ordering::SeqCst);
                return Some(shard);
            }
            self.idle.fetch_add(1, Ordering::SeqCst);
            queue = self.signal.wait(queue).unwrap_or_else(PoisonError::into_inner);
            self.idle.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether a worker waits that no shard has called yet.
    pub(super) fn has_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst) > self.length.load(Ordering::SeqCst)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length.load(Ordering::SeqCst) == 0
    }

    pub(super) fn shards(&self) -> Vec<usize> {
        lock(&self.queue).0.iter().copied().collect()
    }

    /// Sends every worker home.
    pub(super) fn close(&self) {
        lock(&self.queue).1 = true;
        self.signal.notify_all();
    }
}

/// A thread of the pool.
pub(super) struct Worker<'a> {
    engine: &'a Engine,
    calls: Calls,
}

/// A shard that a worker has. Whatever ends that hands it on, a panic of ours included, unless it is another's already.
struct Attendance<'a> {
    engine: &'a Engine,
    index: usize,
    shard: &'a Arc<Shard>,
    /// While it is away.
    absence: Option<u64>,
    is_lost: bool,
}

impl Attendance<'_> {
    /// Comes back. Tells whether the shard is still its own.
    fn come_back(&mut self) -> bool {
        if let Some(absence) = self.absence.take() {
            self.is_lost = !self.shard.end_absence(absence);
        }
        !self.is_lost
    }

    /// Goes from one absence into another. Tells whether the shard is still its own.
    fn stay_away(&mut self, blocks: bool) -> bool {
        let next = self.absence.and_then(|absence| self.shard.stay_away(absence, blocks));
        self.absence = next.or(self.absence);
        next.is_some()
    }

    /// When the call for this connection is likely to last, the shard is given away before it, whether or not a thread is free to
    /// take it at once, so that the first that becomes free does.
    fn give_away_if_slow(&self, connection: &Connection) {
        if let Some(absence) = self.absence {
            if self.shard.average_call() > SLOW_CALL || connection.last_call > LONG_CALL {
                self.engine.take_over(self.index, absence);
            }
        }
    }
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        if self.come_back() && !self.engine.has_ended() {
            self.engine.unattended.push(self.index);
        }
    }
}

impl<'a> Worker<'a> {
    pub(super) fn new(engine: &'a Engine) -> Worker<'a> {
        Worker { engine, calls: Calls::new(&engine.shared) }
    }

    /// Attends one shard after the other until the server ends.
    pub(super) fn run(mut self) {
        while let Some(index) = self.engine.unattended.take() {
            let Some(shard) = self.engine.shards.get(index) else { continue };
            let attendance = Attendance { engine: self.engine, index, shard, absence: None, is_lost: false };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.attend(attendance))) {
                self.engine.report_fault(panic);
                self.calls = Calls::new(&self.engine.shared);
            }
        }
    }

    /// Attends a shard until it is another's, another needs a worker more, or the server ends.
    fn attend(&mut self, mut own: Attendance<'_>) {
        let (engine, shard, shared) = (self.engine, own.shard, &*self.engine.shared);
        let (mut fruitless, mut turns) = (0, 0_u32);
        let mut state = shard.lock();
        while !engine.has_ended() {
            // Not before a sweep: two shards without a worker would be exchanged for each other by the one thread that is free, for ever.
            if turns > 0 && engine.has_work_waiting() {
                return drop(state);
            }
            turns = turns.wrapping_add(1);
            if turns % RUSH.turns == 0 && (turns % TURNS == 0 || engine.is_rush()) {
                state = self.look_up(shard, state, turns);
                continue;
            }
            shard.take_mail(&mut state);
            let now = Instant::now();
            let found = shard.sweep(&mut state, shared, now, &mut self.calls.scratch, None);
            shard.publish(&state);
            let back = match found {
                Found::Nothing(Some(Duration::ZERO)) => continue,
                Found::Nothing(time) => {
                    state = self.pause(shard, state, time, &mut fruitless);
                    continue;
                }
                Found::Job(connection) => {
                    own.absence = Some(shard.leave(false));
                    drop(state);
                    fruitless = 0;
                    own.give_away_if_slow(&connection);
                    self.run_job(shard, connection, now)
                }
                Found::Alone(connection, due) => {
                    own.absence = Some(shard.leave(true));
                    drop(state);
                    self.block_on(&mut own, connection, due)
                }
            };
            let back = back.filter(|connection| connection.may_join_the_others());
            if !own.come_back() {
                // The others have it by now.
                if let Some(connection) = back {
                    engine.deliver(own.index, connection);
                }
                return;
            }
            state = shard.lock();
            if let Some(connection) = back {
                state.put(connection);
            }
        }
    }

    /// Now and then: accepts in a rush, and lets clients and other workers have the core.
    fn look_up<'s>(&self, shard: &'s Shard, state: MutexGuard<'s, State>, turns: u32) -> MutexGuard<'s, State> {
        drop(state);
        self.engine.accept_in_rush();
        if turns % TURNS == 0 {
            std::thread::yield_now();
        }
        shard.lock()
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
            // Nobody wakes a worker for a connection that it is to accept itself.
            return shard.sleep(shard.lock(), Some(time.map_or(SHORTEST, |time| time.min(SHORTEST))));
        } else {
            // Under load the next request or connection is a moment away, and a sleep would cost more than it.
            std::thread::yield_now();
        }
        shard.lock()
    }

    /// Runs what a connection has for a thread. Gives it back unless it has ended.
    fn run_job(&mut self, shard: &Shard, mut connection: Box<Connection>, now: Instant) -> Option<Box<Connection>> {
        let shared = &self.engine.shared;
        // It looks after a call that lasts, and after a shard that no thread is free for.
        shared.monitor.notice();
        let busy = shared.counters.busy();
        let gathers = shard.average_call() < QUICK_CALL;
        // The application's panics are caught where they are answered. What is caught here is a value of the application's that
        // panics when it is dropped: the connection is lost, and the thread goes on with fresh memory.
        let run = catch_unwind(AssertUnwindSafe(|| self.calls.run(&mut connection, now, gathers)));
        drop(busy);
        match run {
            Ok(lasted) => {
                connection.last_call = lasted;
                shard.note_call(lasted);
                Some(connection)
            }
            Err(panic) => {
                discard_panic(panic);
                self.calls = Calls::new(shared);
                None
            }
        }
    }

    /// Stays with the shard's only hot connection: blocks on it, one slice at a time, so that the kernel wakes the thread when its
    /// client says something. Two system calls a request, and no sleep of any other kind.
    fn block_on(
        &mut self,
        own: &mut Attendance<'_>,
        mut connection: Box<Connection>,
        due: Option<Instant>,
    ) -> Option<Box<Connection>> {
        let (shard, shared) = (own.shard, &*self.engine.shared);
        let mut slices = 0;
        let mut now = Instant::now();
        // Whoever brings something looks whether the worker blocks, and this looks for mail after it has said so: one sees the other.
        while slices < SLICES
            && !shard.has_mail()
            && !shared.is_stopping()
            && due.is_none_or(|due| now < due)
            && connection.is_worth_waiting_for()
            && connection.socket.set_waiting(true).is_ok()
        {
            // The reading of before the wait is good enough for a deadline; one call of the clock is spared.
            let step = connection.step(shared, now, &mut self.calls.scratch);
            now = Instant::now();
            match step {
                Step::End => return None,
                Step::Wait | Step::More => slices += 1,
                Step::Job => {
                    // A job that was found is run, whoever has the shard by now: nobody else would find it again.
                    own.stay_away(false);
                    own.give_away_if_slow(&connection);
                    connection = self.run_job(shard, connection, now)?;
                    slices = 0;
                    if !own.stay_away(true) {
                        break;
                    }
                }
            }
        }
        Some(connection)
    }
}
