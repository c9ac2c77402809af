//! What every part of a running server shares: settings, application, log, counters, and whether it is stopping.
//!
//! Nothing here takes a lock on the way of a request, but for the log's own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::buffer::Reserve;
use super::settings::Settings;
use super::share::Share;
use super::stats::Counters;
use crate::door::Policy;
use crate::gateway::{Application, Errors, discard_panic};
use crate::http::date::imf_fixdate;
use crate::log::{Access, Log, Report, ToLog};

/// The shared parts.
pub(super) struct House {
    pub(super) settings: Arc<Settings>,
    /// What of the settings the doors must know.
    pub(super) policy: Policy,
    pub(super) application: Box<dyn Application>,
    log: Arc<dyn Log>,
    pub(super) reserve: Arc<Reserve>,
    pub(super) stats: Counters,
    pub(super) places: Arc<Places>,
    pub(super) share: Arc<Share>,
    /// Bytes that all connections hold.
    pub(super) held: Arc<AtomicUsize>,
    /// Held by the shard that closes connections because of that.
    pub(super) shedding: Mutex<()>,
    pub(super) shards: usize,
    stopping: Arc<AtomicBool>,
}

impl House {
    pub(super) fn new(settings: Settings, application: Box<dyn Application>, log: Arc<dyn Log>) -> House {
        House {
            shards: settings.shards.clamp(1, settings.threads.max(1)),
            share: Arc::new(Share::new(settings.threads.max(1))),
            policy: settings.policy(),
            settings: Arc::new(settings),
            application,
            log,
            reserve: Arc::default(),
            stats: Counters::default(),
            places: Arc::default(),
            held: Arc::default(),
            shedding: Mutex::default(),
            stopping: Arc::default(),
        }
    }

    /// Reports an answered request. A log that panics does not take a thread with it.
    pub(super) fn access(&self, access: &Access<'_>) {
        catch_unwind(AssertUnwindSafe(|| self.log.access(access))).unwrap_or_else(discard_panic);
    }

    /// Counts and reports what went wrong.
    pub(super) fn error(&self, report: &Report<'_>) {
        self.stats.count(report.cause);
        catch_unwind(AssertUnwindSafe(|| self.log.error(report))).unwrap_or_else(discard_panic);
    }

    /// Reports a connection that ended as it should.
    pub(super) fn closed(&self, report: &Report<'_>) {
        self.stats.note(report.cause);
        catch_unwind(AssertUnwindSafe(|| self.log.closed(report))).unwrap_or_else(discard_panic);
    }

    /// The error stream of every environ.
    pub(super) fn errors(&self) -> Errors {
        Errors::new(Arc::new(ToLog(Arc::clone(&self.log))))
    }

    /// Whether connections should end as soon as they decently can.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The same, for the writing side of an exchange, which says so to the client.
    pub(super) fn stopping(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopping)
    }

    pub(super) fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.places.notify();
    }

    /// The value of Date, for the rare responses of the server itself.
    pub(super) fn date(&self) -> [u8; 29] {
        imf_fixdate(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()))
    }
}

/// How many connections are open, and a place to wait for one to end.
#[derive(Default)]
pub(super) struct Places {
    open: AtomicUsize,
    lock: Mutex<()>,
    freed: Condvar,
    /// How many wait: to notify nobody is a system call too, and would be one for every connection.
    waiting: AtomicUsize,
}

impl Places {
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Counts a connection for as long as the ticket lives.
    pub(super) fn take(self: &Arc<Places>) -> Ticket {
        self.open.fetch_add(1, Ordering::SeqCst);
        Ticket(Arc::clone(self))
    }

    /// Waits until a connection ends, at most for a time.
    pub(super) fn wait(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // One that ended a moment ago is missed; that is why there is a time.
        let _guard = self.freed.wait_timeout(guard, time);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn notify(&self) {
        // The lock orders this after the waiter's look at its condition.
        drop(self.lock.lock());
        self.freed.notify_all();
    }
}

/// A connection's place, given back when it is dropped.
pub(super) struct Ticket(Arc<Places>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.notify();
        }
    }
}
