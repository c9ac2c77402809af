//! The thread that looks after the shards whose drivers are away and after blocks that are held back, and that ends the server.
//!
//! It sleeps as long as no driver is in a call, so that an idle server uses no CPU. While calls are made it looks every 3 ms: a
//! shard whose driver has been away for longer gets another. Measured with a prototype: looks every 0.1 to 0.5 ms take shards from
//! drivers that are merely preempted and cost up to 1.75 times the CPU at 256 connections and more; 3 ms does not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::settings::LOOK;
use super::shard::Shard;
use crate::door::Room;

/// How the others reach the monitor.
#[derive(Default)]
pub(super) struct Monitor {
    woken: Mutex<bool>,
    signal: Condvar,
    asleep: AtomicBool,
}

impl Monitor {
    /// A driver leaves its shard for a call: the monitor must be looking.
    pub(super) fn notice(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.signal.notify_one();
    }

    fn sleep(&self, time: Option<Duration>) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if !*woken {
            woken = match time {
                Some(time) => self.signal.wait_timeout(woken, time).unwrap_or_else(PoisonError::into_inner).0,
                None => self.signal.wait(woken).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *woken = false;
    }
}

/// The life of the thread.
pub(super) fn watch(engine: &Engine) {
    let mut scratch = Vec::new();
    let mut room = Room::default();
    let mut quiet = 0;
    loop {
        let stopping = engine.house.is_stopping();
        if stopping && end(engine) {
            return;
        }
        // Seen twice without a driver away, nothing is going on; then a driver that leaves its shard calls.
        let sleeps = quiet >= 2 && !stopping;
        engine.monitor.asleep.store(sleeps, Ordering::SeqCst);
        // Looked at again after `asleep` was set: a driver that left before did not see it. One that holds its shard's lock may be
        // about to leave.
        let for_good = sleeps && !somebody_is_away(engine);
        engine.monitor.sleep((!for_good).then_some(LOOK));
        engine.monitor.asleep.store(false, Ordering::SeqCst);

        let now = Instant::now();
        let served = engine.house.stats.served.load(Ordering::Relaxed);
        let mut busy = false;
        for (index, shard) in engine.shards.iter().enumerate() {
            // A shard that is locked is being swept: its driver is there.
            let Some(mut state) = shard.try_lock() else { continue };
            if let Some(since) = state.away_since {
                busy = true;
                if now.saturating_duration_since(since) >= LOOK {
                    engine.replace_driver(index, &mut state);
                }
            }
        }
        for station in engine.stations.iter().filter(|station| station.holds()) {
            busy = true;
            station.send_held();
        }
        let mut place = 0;
        while let Some(index) = engine.vacancies.waiting_at(place) {
            place += 1;
            busy = true;
            if let Some(shard) = engine.shards.get(index) {
                let mut state = shard.lock();
                shard.take_mail(&mut state);
                state.sweep_aside(&engine.house, now, engine.queue_each(), &mut scratch, &mut room);
                shard.publish(&state);
                drop(state);
                // A new driver may have found nothing a moment ago, and be about to sleep.
                shard.wake();
            }
        }
        if engine.has_work_waiting() {
            if !engine.vacancies.has_standby() {
                // No thread is free: a slow client that holds one may have to go.
                engine.house.share.want();
            }
            // The drivers of other shards may have nothing to do.
            engine.shards.iter().for_each(Shard::wake);
        }
        busy |= engine.house.stats.served.load(Ordering::Relaxed) != served;
        quiet = if busy { 0 } else { quiet + 1 };
    }
}

fn somebody_is_away(engine: &Engine) -> bool {
    let away = |shard: &Shard| shard.try_lock().is_none_or(|state| state.away_since.is_some());
    engine.shards.iter().any(away)
        || engine.vacancies.has_waiting()
        || engine.stations.iter().any(|station| station.holds())
}

/// Ends what can be ended while the server stops, and tells whether everything has.
fn end(engine: &Engine) -> bool {
    let over = engine.grace_is_over();
    if over {
        engine.cut_what_runs();
    }
    let mut empty = true;
    for shard in &engine.shards {
        {
            let mut state = shard.lock();
            shard.take_mail(&mut state);
            empty &= state.end(over, &engine.house);
        }
        // Its driver may sleep until the next is due.
        shard.wake();
    }
    empty && engine.is_quiet()
}
