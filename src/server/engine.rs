//! A running server: the threads, what they share, and how it all ends.
//!
//! ```text
//!   acceptors ──▶ shards ◀──▶ pool ──▶ application
//!                   ▲
//!                monitor
//! ```
//!
//! One thread for each listener, the monitor, and the pool: no thread is started later. What a thread holds it gives back whatever ends it.
//! Stopping: the acceptors bring what the system had accepted and end; every connection is looked at once more, and what had arrived is
//! answered; what runs has the grace, then it is cut. The monitor sees to that and goes last.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::accept::Acceptor;
use super::connection::Connection;
use super::failure::Failure;
use super::listener::Listener;
use super::monitor;
use super::pool::{Unattended, Worker};
use super::settings::Settings;
use super::shard::Shard;
use super::shared::{Shared, lock};
use crate::cause::Cause;
use crate::door::Origin;
use crate::gateway::{Gateway, Pairs};
use crate::log::{Answer, Report};

/// What the threads of a server share.
pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) unattended: Unattended,
    pub(super) acceptors: Vec<Acceptor>,
    accepting: AtomicUsize,
    has_ended: AtomicBool,
    next_shard: AtomicUsize,
    grace_until: Mutex<Option<Instant>>,
}

/// Counts down when its thread ends, whatever ends it.
struct Counted<'a>(&'a Engine, &'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
        self.0.shared.monitor.wake();
    }
}

impl Engine {
    /// Starts every thread of a server. If one cannot be started, those before it are stopped again.
    pub(super) fn start(
        shared: Arc<Shared>,
        listeners: Vec<Listener>,
        variables: &Pairs,
    ) -> io::Result<(Arc<Engine>, Vec<JoinHandle<()>>)> {
        let settings = &shared.settings;
        let shards = settings.shards.clamp(1, settings.threads.max(1));
        let acceptors = listeners.into_iter().map(|listener| {
            let origin = origin(settings, &listener, variables);
            Acceptor::new(listener, origin)
        });
        let engine = Arc::new(Engine {
            acceptors: acceptors.collect(),
            shards: (0..shards).map(|_| Arc::default()).collect(),
            unattended: Unattended::default(),
            shared: Arc::clone(&shared),
            has_ended: AtomicBool::new(false),
            next_shard: AtomicUsize::new(0),
            accepting: AtomicUsize::new(0),
            grace_until: Mutex::default(),
        });
        let mut started = Vec::new();
        match engine.start_threads(&mut started) {
            Ok(()) => Ok((engine, started)),
            Err(error) => {
                engine.stop(Duration::ZERO);
                engine.end();
                for thread in started {
                    let _ = thread.join();
                }
                Err(error)
            }
        }
    }

    fn start_threads(self: &Arc<Engine>, started: &mut Vec<JoinHandle<()>>) -> io::Result<()> {
        for index in 0..self.shared.settings.threads.max(1) {
            started.push(self.thread(format!("doorway-{index}"), |engine| Worker::new(engine).run())?);
        }
        (0..self.shards.len()).for_each(|shard| self.unattended.push(shard));
        started.push(self.thread("doorway-monitor".into(), |engine| {
            while let Err(panic) = catch_unwind(AssertUnwindSafe(|| monitor::watch(engine))) {
                engine.report_fault(panic);
            }
            engine.end();
        })?);
        for index in 0..self.acceptors.len() {
            self.accepting.fetch_add(1, Ordering::SeqCst);
            let thread = self.thread(format!("doorway-accept-{index}"), move |engine| {
                let _counted = Counted(engine, &engine.accepting);
                let Some(acceptor) = engine.acceptors.get(index) else { return };
                while let Err(panic) = catch_unwind(AssertUnwindSafe(|| engine.accept(acceptor))) {
                    engine.report_fault(panic);
                }
            });
            started.push(thread.inspect_err(|_| drop(Counted(self, &self.accepting)))?);
        }
        Ok(())
    }

    fn thread(
        self: &Arc<Engine>,
        name: String,
        run: impl FnOnce(&Engine) + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let engine = Arc::clone(self);
        Builder::new().name(name).spawn(move || run(&engine))
    }

    /// Brings a new connection to the shard whose turn it is.
    pub(super) fn bring(&self, connection: Box<Connection>) {
        self.deliver(self.next_shard.fetch_add(1, Ordering::Relaxed) % self.shards.len(), connection);
    }

    /// Brings a connection to a shard. A worker that blocks on another would see it up to 8 ms late: it is relieved if one is idle.
    pub(super) fn deliver(&self, index: usize, connection: Box<Connection>) {
        let Some(shard) = self.shards.get(index) else { return };
        if let Some(absence) = shard.deliver(connection) {
            if self.unattended.has_idle() {
                self.take_over(index, absence);
            }
        }
    }

    /// Takes a shard from its worker, which is away since that, and calls for another.
    pub(super) fn take_over(&self, index: usize, absence: u64) {
        if self.shards.get(index).is_some_and(|shard| shard.end_absence(absence)) {
            self.unattended.push(index);
        }
    }

    /// Whether whole requests wait in a shard that has no worker, because no thread is free.
    pub(super) fn has_work_waiting(&self) -> bool {
        let has_queued = |index: usize| self.shards.get(index).is_some_and(|shard| shard.counts().1 > 0);
        !self.unattended.is_empty() && self.unattended.shards().into_iter().any(has_queued)
    }

    /// Whether a worker is in a call, a shard has none, or blocks are held back.
    pub(super) fn has_work_to_watch(&self) -> bool {
        let is_in_call = |absence: u64| absence != 0 && absence % 2 == 0;
        self.shards.iter().any(|shard| is_in_call(shard.absence()))
            || !self.unattended.is_empty()
            || !lock(&self.shared.held).is_empty()
    }

    /// The part of one shard in the queue of requests that wait for a thread.
    pub(super) fn queue_each(&self) -> usize {
        (self.shared.settings.queue / self.shards.len()).max(1)
    }

    /// Says what should be impossible, so that it is mended.
    pub(super) fn report_fault(&self, panic: Box<dyn Any + Send>) {
        let Failure { detail, .. } = Failure::of_panic(panic);
        self.report(Cause::ServerFault, &detail);
    }

    pub(super) fn report(&self, cause: Cause, detail: &str) {
        self.shared.error(&Report { cause, peer: None, request: b"", answer: Answer::Closed, detail });
    }

    /// Begins to stop: what runs may go on for the grace. A second call can only shorten it.
    pub(super) fn stop(&self, grace: Duration) {
        let until = Instant::now().checked_add(grace);
        {
            let mut current = lock(&self.grace_until);
            *current = current.into_iter().chain(until).min();
        }
        self.shared.begin_to_stop();
        self.acceptors.iter().for_each(Acceptor::wake);
        self.shared.monitor.wake();
    }

    /// Whether the server has ended: nothing is accepted any more, and no connection is left. Otherwise, while it stops, everybody is
    /// reminded of that.
    pub(super) fn ends(&self) -> bool {
        if !self.shared.is_stopping() {
            return false;
        }
        if lock(&self.grace_until).is_some_and(|until| Instant::now() >= until) {
            self.shared.end_the_grace();
        }
        let is_accepting = self.accepting.load(Ordering::SeqCst) > 0;
        if is_accepting {
            self.acceptors.iter().for_each(Acceptor::wake);
        }
        self.shards.iter().for_each(|shard| shard.wake());
        !is_accepting
            && self.shared.counters.busy.load(Ordering::SeqCst) == 0
            && self.shared.places.open() == 0
            && self.shards.iter().all(|shard| shard.lock().is_empty())
    }

    /// Sends every thread home.
    fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.unattended.close();
        self.shards.iter().for_each(|shard| shard.wake());
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.acceptors.iter().map(|acceptor| &acceptor.listener)
    }
}

/// What every connection of a listener has in common.
fn origin(settings: &Settings, listener: &Listener, variables: &Pairs) -> Origin {
    let gateway = Gateway { https: settings.https, multithread: settings.threads > 1, ..Gateway::default() };
    Origin::new(listener.door, gateway, settings.server_name.clone(), listener.address().port(), variables.clone())
}
