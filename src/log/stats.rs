//! What a server does and has done, counted without a lock.
//!
//! The hot path adds to a counter and never reads one; whoever asks gets a copy. What every request adds to is its thread's own, so that no
//! processor waits for another there. The counters do not belong together: a copy that is taken under load may hold a request in one of them and
//! not yet in another. They are as wide as the processor counts at once, which not every 32-bit one does to 64 bits: there they begin anew at
//! 2^32.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Scoreboard;
use crate::cause::Cause;

/// What a connection does, or waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Open, and nothing has arrived.
    Fresh,
    /// Between two requests.
    Idle,
    /// A request head is arriving.
    Head,
    /// Content that is gathered before the call is arriving.
    Content,
    /// The request waits for a thread, or for a seat where its content has to be waited for.
    Queued,
    /// A thread works for it: the application is called, reads content, or makes more of its answer.
    Call,
    /// The client takes the answer, or a block of it is waited for.
    Sending,
    /// Everything is said; what the client still sends is skipped.
    Closing,
    /// The application speaks another protocol, in a thread outside of the pool.
    Upgraded,
}

impl Phase {
    /// Every phase, in the order of a connection's life.
    pub const ALL: &'static [Phase] = &[
        Phase::Fresh,
        Phase::Idle,
        Phase::Head,
        Phase::Content,
        Phase::Queued,
        Phase::Call,
        Phase::Sending,
        Phase::Closing,
        Phase::Upgraded,
    ];

    /// The name, in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Fresh => "fresh",
            Phase::Idle => "idle",
            Phase::Head => "head",
            Phase::Content => "content",
            Phase::Queued => "queued",
            Phase::Call => "call",
            Phase::Sending => "sending",
            Phase::Closing => "closing",
            Phase::Upgraded => "upgraded",
        }
    }
}

/// What a server does at the moment and has done since it started. On 32-bit systems counts begin anew at 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open.
    pub open: usize,
    /// Connections that wait for their client without a thread, if only for a moment.
    pub parked: usize,
    /// Requests that wait for a thread, and answers that could go on in one.
    pub queued: usize,
    /// Threads of the pool.
    pub threads: usize,
    /// Threads of the pool that work with a connection.
    pub busy: usize,
    /// It stops: what is open is answered, and nothing is accepted any more.
    pub stopping: bool,
    /// How often the thread that looks after the others has looked around. [`Observer::stats`](crate::Observer::stats) has it look once more, so that
    /// of two copies the later one has a higher number, unless that thread is stuck: what a watchdog wants to know.
    pub looks: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Requests answered by the application.
    pub served: u64,
    /// Requests refused and connections closed or cut by the server, each with its cause in the log.
    pub refused: u64,
    /// Bytes of content sent in responses.
    pub content: u64,
    /// The sum of the [durations](Stats::durations).
    pub duration: Duration,
    /// Request fields dropped because of an underscore in their name.
    pub fields_dropped: u64,
    phases: Phases<usize>,
    durations: [u64; DURATIONS],
    causes: Counts<u64>,
}

/// The bounds of the durations that are counted: 1 µs, 2 µs, 4 µs ... 67 s, and one for whatever lasts longer.
const DURATIONS: usize = 28;

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

    /// The phases, each with how many of the open connections are in it.
    pub fn phases(&self) -> impl Iterator<Item = (Phase, usize)> {
        Phase::ALL.iter().copied().map(|phase| (phase, *self.phases.of(phase)))
    }

    /// How long requests took from their whole head to the last that the application gave of the answer. Each bound comes with how many took less
    /// than it and not less than the one before: powers of two in microseconds, the last [`Duration::MAX`].
    pub fn durations(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bound = |at| if at + 1 < DURATIONS { Duration::from_micros(1_u64 << at) } else { Duration::MAX };
        self.durations.into_iter().enumerate().map(move |(at, count)| (bound(at), count))
    }

    /// A thread works for a connection that is counted in a phase, or in none.
    pub(super) fn count_call(&mut self, from: Option<Phase>) {
        for (phase, count) in Phase::ALL.iter().zip(&mut self.phases.0) {
            // What was counted before may have changed meanwhile.
            *count = if from == Some(*phase) { count.saturating_sub(1) } else { *count };
            *count += usize::from(*phase == Phase::Call);
        }
    }
}

/// One count for each cause, in the order of [`Cause::ALL`].
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts<T>([T; Cause::ALL.len()]);

impl<T> Counts<T> {
    fn of(&self, cause: Cause) -> Option<&T> {
        Cause::ALL.iter().zip(&self.0).find(|(other, _)| **other == cause).map(|(_, count)| count)
    }
}

/// The causes that were met, by name.
impl fmt::Debug for Counts<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = Cause::ALL.iter().zip(self.0).filter(|(_, count)| *count > 0);
        f.debug_list().entries(met.map(|(cause, count)| (cause.name(), count))).finish()
    }
}

impl<T: Default> Default for Counts<T> {
    fn default() -> Self {
        Counts(std::array::from_fn(|_| T::default()))
    }
}

/// How many connections are in each phase, in the order of [`Phase::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phases<T = AtomicUsize>([T; Phase::ALL.len()]);

impl<T> Phases<T> {
    fn of(&self, phase: Phase) -> &T {
        let [fresh, idle, head, content, queued, call, sending, closing, upgraded] = &self.0;
        match phase {
            Phase::Fresh => fresh,
            Phase::Idle => idle,
            Phase::Head => head,
            Phase::Content => content,
            Phase::Queued => queued,
            Phase::Call => call,
            Phase::Sending => sending,
            Phase::Closing => closing,
            Phase::Upgraded => upgraded,
        }
    }
}

impl Phases {
    /// One comes from a phase, or is new, and goes to another, or ends.
    pub(crate) fn change(&self, from: Option<Phase>, to: Option<Phase>) {
        from.map(|phase| self.of(phase).fetch_sub(1, Ordering::Relaxed));
        to.map(|phase| self.of(phase).fetch_add(1, Ordering::Relaxed));
    }
}

/// The requests that a thread has answered.
#[derive(Default)]
pub(super) struct Served {
    content: AtomicUsize,
    /// In microseconds.
    duration: AtomicUsize,
    durations: [AtomicUsize; DURATIONS],
}

impl Served {
    pub(super) fn count(&self, content: u64, lasted: Duration) {
        let lasted = u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX);
        let bound = (u64::BITS - lasted.leading_zeros()) as usize;
        self.durations.get(bound.min(DURATIONS - 1)).map(|count| count.fetch_add(1, Ordering::Relaxed));
        self.duration.fetch_add(lasted as usize, Ordering::Relaxed);
        self.content.fetch_add(content as usize, Ordering::Relaxed);
    }

    pub(super) fn add_to(&self, stats: &mut Stats) {
        stats.content += now(&self.content);
        stats.duration += Duration::from_micros(now(&self.duration));
        stats.durations.iter_mut().zip(&self.durations).for_each(|(sum, count)| *sum += now(count));
    }
}

fn now(count: &AtomicUsize) -> u64 {
    count.load(Ordering::Relaxed) as u64
}

/// What happened so far, counted without a lock.
#[derive(Default)]
pub(crate) struct Counters {
    refused: AtomicUsize,
    fields_dropped: AtomicUsize,
    causes: Counts<AtomicUsize>,
    /// What each thread counts for itself.
    pub(crate) scoreboard: Scoreboard,
}

impl Counters {
    /// What was counted. What is not, because the server knows it at any moment, is zero. In `phases` each connection is counted where it was
    /// before a thread worked for it.
    pub(crate) fn read(&self, phases: &Phases) -> Stats {
        let mut stats = Stats {
            phases: Phases(phases.0.each_ref().map(|count| count.load(Ordering::Relaxed))),
            refused: now(&self.refused),
            fields_dropped: now(&self.fields_dropped),
            causes: Counts(self.causes.0.each_ref().map(now)),
            ..Stats::default()
        };
        self.scoreboard.add_to(&mut stats);
        let is_parked = |phase: &Phase| !matches!(phase, Phase::Queued | Phase::Call | Phase::Upgraded);
        stats.parked = stats.phases().filter(|(phase, _)| is_parked(phase)).map(|(_, count)| count).sum();
        (stats.busy, stats.served) = (*stats.phases.of(Phase::Call), stats.durations.iter().sum());
        stats
    }

    /// Counts a cause.
    pub(crate) fn note(&self, cause: Cause) {
        self.causes.of(cause).map(|count| count.fetch_add(1, Ordering::Relaxed));
    }

    pub(crate) fn count(&self, cause: Cause) {
        self.note(cause);
        // From 4000 on they are the application's: the request was served, though badly.
        if cause.number() < 4000 {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_dropped_fields(&self, dropped: u64) {
        if dropped > 0 {
            self.fields_dropped.fetch_add(dropped as usize, Ordering::Relaxed);
        }
    }
}
