//! The thread that looks after the shards whose workers are away and after blocks that are delayed, says when no thread has been free for
//! long, and ends the server.
//!
//! It sleeps as long as no worker is in a call, so that an idle server uses no CPU. While calls are made it looks every 3 ms: a
//! shard whose worker has been away for longer gets another. It listens to the [`bell`](super::bell) for the shards, every 5 ms, while one of them
//! rests on it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

use super::bounds::Seat;
use super::engine::Engine;
use super::response::send_delayed;
use super::settings::{LISTEN, LOOK};
use super::shard::{UNATTENDED, WORKS};
use crate::cause::Cause;
use crate::log::Full;

/// How the others reach the monitor.
#[derive(Default)]
pub(super) struct Monitor {
    /// Whoever notices something before it is there need not wake it: it looks when it begins.
    pub(super) thread: OnceLock<Thread>,
    is_asleep: AtomicBool,
    /// How often it has looked around.
    pub(super) looks: AtomicUsize,
}

impl Monitor {
    /// There is something to look after: the monitor must be looking.
    pub(super) fn notice(&self) {
        self.thread.get().filter(|_| self.is_asleep.load(Ordering::SeqCst)).map(Thread::unpark);
    }
}

/// The life of the thread: returns when the server has ended.
pub(super) fn watch(engine: &Engine) {
    let monitor = &engine.shared.monitor;
    monitor.thread.get_or_init(thread::current);
    let mut seen = vec![None; engine.shards.len()];
    let (mut quiet, mut full, mut place) = (0_u32, Full::default(), None);
    while !engine.try_end() {
        // Seen twice without anything to look after, nothing is going on; then whoever begins something wakes it.
        let sleeps = quiet >= 2;
        monitor.is_asleep.store(sleeps, Ordering::SeqCst);
        // Looked at again after `is_asleep` was set: who began before did not see it.
        let time = if !sleeps || engine.has_work_to_watch() { Some(LOOK) } else { engine.listens().then_some(LISTEN) };
        time.map_or_else(thread::park, thread::park_timeout);
        monitor.is_asleep.store(false, Ordering::SeqCst);

        quiet = if engine.has_work_to_watch() { 0 } else { quiet.saturating_add(1) };
        for (shard, seen) in engine.shards.iter().zip(&mut seen) {
            let last = std::mem::replace(seen, shard.word_of(WORKS));
            if let Some(word) = last.filter(|_| last == *seen) {
                shard.change_worker(word);
            }
        }
        if engine.listens() {
            let says = engine.shared.bell.listen();
            engine.shards.iter().for_each(|shard| shard.ring(says));
        }
        send_delayed(&engine.shared);
        engine.keep_within_memory();
        sweep_unattended(engine, &mut place);
        let stats = (!engine.unattended.has_idle()).then(|| engine.stats());
        if let Some(text) = full.look(stats.as_ref(), &engine.shared.counters.scoreboard, Instant::now()) {
            engine.shared.report(Cause::ThreadsBusy, &text);
        }
        // Last: whoever counts them knows that nothing above is stuck.
        monitor.looks.fetch_add(1, Ordering::SeqCst);
    }
}

/// Sweeps the shards that wait for a worker, because no thread is free or it is still on its way: only applications are not called. As long as
/// there is work in them that stands in the line for seats, though nobody will sit there: a slow client that holds a thread may have to go for it.
fn sweep_unattended(engine: &Engine, place: &mut Option<Seat>) {
    // Each has its part in the queue of requests that wait for a thread.
    let most = (engine.shared.settings.queue / engine.shards.len()).max(1);
    for shard in engine.shards.iter().filter(|shard| shard.word_of(UNATTENDED).is_some()) {
        shard.sweep(None, &engine.shared, Instant::now(), Some(most));
        // A new worker may have found nothing a moment ago, and be about to sleep.
        shard.wake_worker();
    }
    let has_work = engine.unattended.have_work();
    *place = has_work.then(|| engine.shared.seats.ask()).filter(|seat| !seat.has_come());
    if has_work {
        // The workers of other shards may have nothing to do, or block on their only connection.
        engine.shards.iter().for_each(|shard| shard.wake_worker());
    }
}
