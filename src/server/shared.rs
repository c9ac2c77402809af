//! What every part of a running server shares: settings, application, log, counters, bounds, and whether it is stopping.
//!
//! On the way of a small request nothing here takes a lock but the log and the score of the thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::bell::Bell;
use super::bounds::{Places, Seats};
use super::monitor::Monitor;
use super::response::Response;
use super::settings::{SLEEPER_STACK, Settings, after};
use super::sleepers::Sleepers;
use super::upgrade::Upgrades;
use crate::cause::Cause;
use crate::door::{Door, Origin, Policy};
use crate::gateway::{Application, Errors, Gateway, Variables, discard_panic};
use crate::log::{Access, Answer, Counters, Log, Report, ToLog};

/// The shared parts.
pub(super) struct Shared {
    pub(super) settings: Settings,
    /// What of the settings the doors must know.
    pub(super) policy: Policy,
    pub(super) application: Box<dyn Application>,
    log: Arc<dyn Log>,
    pub(super) counters: Counters,
    pub(super) places: Arc<Places>,
    pub(super) seats: Arc<Seats>,
    /// Held by whoever closes connections because of that.
    pub(super) shedding: Mutex<()>,
    /// Held by whoever waits for a place.
    pub(super) placing: Mutex<()>,
    /// Responses with blocks that wait for those behind them: whoever looks every 3 ms sends them.
    pub(super) delayed: Mutex<Vec<Arc<Mutex<Response>>>>,
    pub(super) upgrades: Upgrades,
    pub(super) monitor: Monitor,
    pub(super) sleepers: Arc<Sleepers>,
    pub(super) bell: Bell,
    /// When the grace of a stop is over, from its beginning on.
    grace: OnceLock<Mutex<Instant>>,
}

impl Shared {
    pub(super) fn new(mut settings: Settings, application: Box<dyn Application>, log: Arc<dyn Log>) -> Shared {
        // Without one of each there is no server.
        settings.threads = settings.threads.max(1);
        settings.shards = settings.shards.clamp(1, settings.threads);
        settings.max_connections = settings.max_connections.max(1);
        Shared {
            seats: Arc::new(Seats::new(settings.threads)),
            sleepers: Sleepers::new(settings.sleepers, SLEEPER_STACK),
            policy: settings.policy(),
            settings,
            application,
            log,
            counters: Counters::default(),
            places: Arc::default(),
            shedding: Mutex::default(),
            placing: Mutex::default(),
            delayed: Mutex::default(),
            upgrades: Upgrades::default(),
            monitor: Monitor::default(),
            bell: Bell::default(),
            grace: OnceLock::new(),
        }
    }

    /// How many connections are open. Where it matters that there is none, whoever could bring one has ended, and was waited for.
    pub(super) fn open(&self) -> usize {
        Arc::strong_count(&self.places) - 1
    }

    /// Reports an answered request. A log that panics does not take a thread with it.
    pub(super) fn access(&self, access: &Access<'_>) {
        catch_unwind(AssertUnwindSafe(|| self.log.access(access))).unwrap_or_else(discard_panic);
    }

    /// Counts and reports what went wrong.
    pub(super) fn error(&self, report: &Report<'_>) {
        self.counters.count(report.cause);
        catch_unwind(AssertUnwindSafe(|| self.log.error(report))).unwrap_or_else(discard_panic);
    }

    /// Counts and reports what concerns no single connection.
    pub(super) fn report(&self, cause: Cause, detail: &str) {
        self.error(&Report { cause, peer: None, request: b"", answer: Answer::Nothing, detail });
    }

    /// Reports a connection that ended as it should.
    pub(super) fn closed(&self, report: &Report<'_>) {
        self.counters.note(report.cause);
        catch_unwind(AssertUnwindSafe(|| self.log.closed(report))).unwrap_or_else(discard_panic);
    }

    /// Starts a thread that may run the application. In a box: std has the start of a thread once for every type.
    pub(super) fn start(&self, name: String, work: Box<dyn FnOnce() + Send>) -> std::io::Result<JoinHandle<()>> {
        self.settings.stack.into_iter().fold(Builder::new().name(name), Builder::stack_size).spawn(work)
    }

    /// What is the same for every request that comes through a door.
    pub(super) fn origin(&self, door: Door, port: Option<u16>, multithread: bool, variables: Variables) -> Arc<Origin> {
        let https = self.settings.https;
        // A program that is started for one request.
        let alone = !door.protocol().has_addresses();
        let gateway = Gateway { https, multithread, multiprocess: alone, run_once: alone, ..Gateway::default() };
        Arc::new(Origin::new(door, gateway, self.settings.server_name.clone(), port, variables))
    }

    /// The error stream of every environ.
    pub(super) fn errors(&self) -> Errors {
        Errors::new(Arc::new(ToLog(Arc::clone(&self.log))))
    }

    /// Begins to stop: what runs may go on for the grace. A second call can only shorten it.
    pub(super) fn stop(&self, grace: Duration) {
        let until = after(Instant::now(), grace);
        let mut current = lock(self.grace.get_or_init(|| Mutex::new(until)));
        *current = until.min(*current);
    }

    /// Whether connections should end as soon as they decently can.
    pub(super) fn is_stopping(&self) -> bool {
        self.grace.get().is_some()
    }

    /// Whether the grace of a stop is over, so that whatever waits for a client gives up.
    pub(super) fn is_over(&self) -> bool {
        self.grace.get().is_some_and(|until| Instant::now() >= *lock(until))
    }
}

/// Locks. A panic elsewhere does not make what is locked unusable: everything of ours stays whole at every step.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a signal, at most for a time.
pub(super) fn wait<'a, T>(signal: &Condvar, guard: MutexGuard<'a, T>, time: Option<Duration>) -> MutexGuard<'a, T> {
    signal.wait_timeout(guard, time.unwrap_or(Duration::MAX)).unwrap_or_else(PoisonError::into_inner).0
}
