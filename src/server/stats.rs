//! What a server does and has done, counted without a lock.
//!
//! The hot path adds to a counter and never reads one; whoever asks gets a copy. The counters do not belong together: a copy that is
//! taken under load may hold a request in one of them and not yet in another. They are as wide as the processor counts at once, which not
//! every 32-bit one does to 64 bits: there they begin anew at 2^32.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cause::Cause;

/// What a server does at the moment and has done since it started. On 32-bit systems counts begin anew at 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open.
    pub open: usize,
    /// Connections that wait for their client without a thread.
    pub parked: usize,
    /// Requests that wait for a thread.
    pub queued: usize,
    /// Threads of the pool that work with a connection.
    pub busy: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Requests answered by the application.
    pub served: u64,
    /// Requests refused and connections closed or cut by the server, each with its cause in the log.
    pub refused: u64,
    /// Bytes of content sent in responses.
    pub content: u64,
    /// Request fields dropped because of an underscore in their name.
    pub fields_dropped: u64,
    causes: Counts<u64>,
}

impl Stats {
    /// How often a cause was reported: refusals, ends of connections, and faults of the application.
    ///
    /// ```
    /// use doorway::{Cause, Server, app};
    ///
    /// let handle = Server::bind("127.0.0.1:0")?.spawn(app::demo)?;
    /// assert_eq!(handle.stats().count(Cause::HostMissing), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn count(&self, cause: Cause) -> u64 {
        self.causes.of(cause).copied().unwrap_or_default()
    }

    /// The causes that were reported, each with how often.
    pub fn causes(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.iter().copied().zip(self.causes.0).filter(|(_, count)| *count > 0)
    }
}

/// One count for each cause, in the order of [`Cause::ALL`].
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts<T>([T; Cause::ALL.len()]);

impl<T> Counts<T> {
    fn of(&self, cause: Cause) -> Option<&T> {
        self.0.get(cause.index()?)
    }
}

/// The causes that were met, by name.
impl fmt::Debug for Counts<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = Cause::ALL.iter().zip(self.0).filter(|(_, count)| *count > 0);
        f.debug_list().entries(met.map(|(cause, count)| (cause.name(), count))).finish()
    }
}

impl Default for Counts<AtomicUsize> {
    fn default() -> Self {
        Counts([const { AtomicUsize::new(0) }; Cause::ALL.len()])
    }
}

/// What happened so far, counted without a lock.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicUsize,
    pub(super) served: AtomicUsize,
    pub(super) refused: AtomicUsize,
    pub(super) content: AtomicUsize,
    pub(super) fields_dropped: AtomicUsize,
    pub(super) busy: AtomicUsize,
    causes: Counts<AtomicUsize>,
}

impl Counters {
    /// What was counted, with what is known elsewhere.
    pub(super) fn read(&self, open: usize, parked: usize, queued: usize) -> Stats {
        let now = |count: &AtomicUsize| count.load(Ordering::Relaxed) as u64;
        Stats {
            open,
            parked,
            queued,
            busy: self.busy.load(Ordering::Relaxed),
            accepted: now(&self.accepted),
            served: now(&self.served),
            refused: now(&self.refused),
            content: now(&self.content),
            fields_dropped: now(&self.fields_dropped),
            causes: Counts(self.causes.0.each_ref().map(now)),
        }
    }

    /// Counts a cause.
    pub(super) fn note(&self, cause: Cause) {
        self.causes.of(cause).map(|count| count.fetch_add(1, Ordering::Relaxed));
    }

    pub(super) fn count(&self, cause: Cause) {
        self.note(cause);
        // 40xx are the application's: the request was served, though badly.
        if cause.number() < 4000 {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_dropped_fields(&self, dropped: u64) {
        if dropped > 0 {
            self.fields_dropped.fetch_add(dropped as usize, Ordering::Relaxed);
        }
    }
}
