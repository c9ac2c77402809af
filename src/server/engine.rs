//! A running server: the threads, what they share, and how it all ends.
//!
//! ```text
//!   acceptors ──▶ shards ◀──▶ pool ──▶ application
//!       ▲           ▲          │
//!       │        monitor       │
//!       └───────(a rush)───────┘
//! ```
//!
//! One thread for each listener, the monitor, and the pool; later only [`sleepers`](super::sleepers), and a thread for each connection that
//! [leaves](super::upgrade). What a thread holds it gives back whatever ends it.
//! Stopping: the acceptors bring what the system had accepted and end; every connection is looked at once more, and what had arrived is
//! answered; what runs has the grace, then it is cut. The monitor sees to that and goes last.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use super::accept::Acceptor;
use super::failure::Failure;
use super::listener::Listener;
use super::monitor;
use super::pool::{Unattended, Worker};
use super::shard::{Shard, WORKS};
use super::shared::{Shared, lock};
use crate::cause::Cause;
use crate::gateway::Variables;
use crate::log::Stats;

/// What the threads of a server share.
pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) unattended: Arc<Unattended>,
    pub(super) acceptors: Vec<Arc<Acceptor>>,
}

impl Engine {
    /// Starts every thread of a server. If one cannot be started, those before it are stopped again.
    pub(super) fn start(
        shared: Arc<Shared>,
        listeners: Vec<Listener>,
        variables: &Variables,
    ) -> io::Result<(Arc<Engine>, Vec<JoinHandle<()>>)> {
        let settings = &shared.settings;
        let acceptors = listeners.into_iter().map(|listener| {
            let (door, port) = (listener.door, listener.address.port());
            let origin = shared.origin(door, port, settings.threads > 1, variables.clone());
            Arc::new(Acceptor::new(listener, origin))
        });
        let unattended = Arc::new(Unattended::default());
        let engine = Arc::new(Engine {
            acceptors: acceptors.collect(),
            shards: (0..settings.shards).map(|_| Shard::new(&unattended)).collect(),
            unattended,
            shared: Arc::clone(&shared),
        });
        let mut started = Vec::new();
        if let Err(error) = engine.start_threads(&mut started) {
            engine.stop(Duration::ZERO);
            let (got, wanted) = (started.len(), settings.threads.saturating_add(1 + engine.acceptors.len()));
            started.into_iter().for_each(|thread| drop(thread.join()));
            let text = format!("only {got} of {wanted} threads can be started: {error}; set fewer, or allow more");
            return Err(io::Error::new(error.kind(), text));
        }
        Ok((engine, started))
    }

    fn start_threads(self: &Arc<Engine>, started: &mut Vec<JoinHandle<()>>) -> io::Result<()> {
        // First of all, because it ends the others.
        started.push(self.thread("doorway-monitor".into(), |engine| {
            monitor::watch(engine);
            engine.shared.sleepers.close();
            engine.unattended.close();
            engine.shards.iter().for_each(|shard| shard.wake_worker());
        })?);
        for index in 0..self.shared.settings.threads {
            started.push(self.thread(format!("doorway-{index}"), Worker::run)?);
        }
        self.shards.iter().for_each(|shard| self.unattended.push(shard));
        for (index, acceptor) in self.acceptors.iter().enumerate() {
            let (own, name) = (Arc::clone(acceptor), format!("doorway-accept-{index}"));
            started.push(self.thread(name, move |engine| engine.accept(&own))?);
        }
        Ok(())
    }

    /// Starts a thread that begins again should it panic, which should be impossible: what it held it has handed on by then.
    fn thread(self: &Arc<Engine>, name: String, run: impl Fn(&Engine) + Send + 'static) -> io::Result<JoinHandle<()>> {
        let engine = Arc::clone(self);
        let work = move || {
            while let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&engine))) {
                engine.shared.report(Cause::ServerFault, &Failure::of_panic(panic).detail);
            }
        };
        self.shared.start(name, Box::new(work))
    }

    /// Whether a shard rests on the bell.
    pub(super) fn listens(&self) -> bool {
        self.shards.iter().any(|shard| shard.rests_on() != 0)
    }

    /// Whether a worker is in a call, a shard has none, blocks are delayed, or it stops.
    pub(super) fn has_work_to_watch(&self) -> bool {
        self.shards.iter().any(|shard| shard.word_of(WORKS).is_some())
            || !self.unattended.is_empty()
            || !lock(&self.shared.delayed).is_empty()
            || self.shared.is_stopping()
    }

    /// What it does at the moment and has done so far.
    pub(super) fn stats(&self) -> Stats {
        let shared = &self.shared;
        let mut stats = shared.counters.read(&shared.places.phases);
        stats.open = shared.open();
        stats.accepted = self.acceptors.iter().map(|acceptor| acceptor.come.load(Ordering::Relaxed) as u64).sum();
        stats.queued = self.shards.iter().map(|shard| shard.queued.load(Ordering::Relaxed)).sum();
        stats.threads = shared.settings.threads;
        stats.stopping = shared.is_stopping();
        stats.looks = shared.monitor.looks.load(Ordering::SeqCst) as u64;
        stats
    }

    /// Begins to stop. A second call can only shorten the grace.
    pub(super) fn stop(&self, grace: Duration) {
        self.shared.stop(grace);
        // It wakes all the others. Not only if it is asleep: it may be about to be.
        self.shared.monitor.thread.get().map(Thread::unpark);
    }

    /// Reminds everybody of a stop, if there is one, and cuts what its grace is over for. Tells whether the server has ended: nothing is accepted
    /// any more, and no connection is left.
    pub(super) fn try_end(&self) -> bool {
        if !self.shared.is_stopping() {
            return false;
        }
        if self.shared.is_over() {
            self.shared.upgrades.cut();
            // However many still come, and wherever it is that this machine cannot reach its own address.
            self.acceptors.iter().for_each(|acceptor| acceptor.listener.close());
        }
        // The thread of an acceptor has it, as long as it accepts.
        let accepting = self.acceptors.iter().filter(|acceptor| Arc::strong_count(acceptor) > 1);
        let accepting = accepting.map(|acceptor| acceptor.wake()).count();
        // What a thread that has gone brought is seen below.
        fence(Ordering::Acquire);
        self.shards.iter().for_each(|shard| shard.wake_worker());
        accepting == 0 && self.shared.open() == 0 && self.shards.iter().all(|shard| shard.lock().all().next().is_none())
    }
}
