//! What each thread of a server is called for, and what it has answered.
//!
//! On the day on which no thread is free whoever asks waits, and finally gets 503, and the operator has to know for what. As in Apache's, each
//! thread has a score of its own, so that no call waits for another here; they are read when somebody asks how the server is, and the longest call
//! is told when no thread has been free for [`LONG`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stats::Served;
use super::{Phase, Stats};
use crate::gateway::{Environ, Vars};

/// How long no thread may be free until it is said.
const LONG: Duration = Duration::from_secs(10);

/// How much of a method and of a path is shown.
const SHOWN: usize = 200;

/// What a thread is called for, and what it has answered. For as long as the thread works for a connection, its phase is that.
#[derive(Default)]
pub(crate) struct Score {
    call: Mutex<Option<Called>>,
    served: Served,
}

/// Since when it is called, and in which phase the connection is counted, if it is. Of the environ only the variables: with a share of the input
/// in here the next request could not use its memory again.
#[derive(Clone)]
struct Called {
    since: Instant,
    vars: Arc<Vars>,
    from: Option<Phase>,
}

impl Score {
    pub(crate) fn begin(&self, since: Instant, environ: &Environ, from: Option<Phase>) {
        *lock(&self.call) = Some(Called { since, vars: Arc::clone(&environ.vars), from });
    }

    pub(crate) fn end(&self) {
        *lock(&self.call) = None;
    }

    /// Counts an answered request.
    pub(crate) fn serve(&self, content: u64, lasted: Duration) {
        self.served.count(content, lasted);
    }
}

/// The scores of all threads, also of those that have ended: what they have answered still counts.
#[derive(Default)]
pub(crate) struct Scoreboard(Mutex<Vec<Arc<Score>>>);

impl Scoreboard {
    /// One for one more thread.
    pub(crate) fn score(&self) -> Arc<Score> {
        let score = Arc::default();
        lock(&self.0).push(Arc::clone(&score));
        score
    }

    /// Adds what they have answered, and has the connections for which they are called counted in that phase.
    pub(super) fn add_to(&self, stats: &mut Stats) {
        for score in lock(&self.0).iter() {
            score.served.add_to(stats);
            lock(&score.call).iter().for_each(|call| stats.count_call(call.from));
        }
    }

    /// The call that has lasted longest, as text.
    fn longest(&self, now: Instant) -> Option<String> {
        let scores = lock(&self.0);
        let calls = scores.iter().filter_map(|score| lock(&score.call).clone());
        let Called { since, vars, .. } = calls.min_by_key(|call| call.since)?;
        let text = |wanted: &str| {
            let value = vars.variables.find(|name| name == wanted.as_bytes()).unwrap_or_default();
            String::from_utf8_lossy(value.get(..SHOWN).unwrap_or(value)).into_owned()
        };
        let seconds = now.saturating_duration_since(since).as_secs();
        Some(format!("; the longest for {seconds} s: {} {}", text("REQUEST_METHOD"), text("PATH_INFO")))
    }
}

/// Since when no thread has been free, and whether that was said.
#[derive(Default)]
pub(crate) struct Full {
    since: Option<Instant>,
    is_said: bool,
}

impl Full {
    /// Looks once more; without stats a thread is known to be free. Gives what is to be said: once, until a thread has been seen free again.
    pub(crate) fn look(&mut self, stats: Option<&Stats>, scoreboard: &Scoreboard, now: Instant) -> Option<String> {
        // One that has just ended a call has another at once while requests wait.
        let Some(stats) = stats.filter(|stats| stats.busy + stats.queued >= stats.threads) else {
            *self = Full::default();
            return None;
        };
        let since = *self.since.get_or_insert(now);
        if self.is_said || now.saturating_duration_since(since) < LONG {
            return None;
        }
        self.is_said = true;
        let longest = scoreboard.longest(now).unwrap_or_default();
        Some(format!("all {} threads are in calls{longest}", stats.threads))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Counters, Phases};
    use crate::testing::Request;

    fn stats(busy: usize, queued: usize) -> Stats {
        let mut stats = Counters::default().read(&Phases::default());
        (stats.threads, stats.busy, stats.queued) = (3, busy, queued);
        stats
    }

    #[test]
    fn that_no_thread_is_free_is_said_once_after_ten_seconds_and_again_when_one_was() {
        let (mut full, scoreboard, start) = (Full::default(), Scoreboard::default(), Instant::now());
        let mut look = |second, busy, queued| {
            let text = full.look(Some(&stats(busy, queued)), &scoreboard, start + Duration::from_secs(second));
            text.is_some_and(|text| text == "all 3 threads are in calls")
        };
        assert!(!look(0, 3, 0) && !look(9, 3, 0) && look(10, 3, 0) && !look(11, 3, 0) && !look(3_600, 3, 0));
        assert!(!look(3_601, 2, 0) && !look(3_610, 3, 0) && !look(3_619, 2, 1), "nine seconds");
        assert!(look(3_620, 3, 9), "a thread between two of the calls that wait for it is not free");
        assert!(full.look(None, &scoreboard, start + Duration::from_secs(3_621)).is_none() && full.since.is_none());
    }

    #[test]
    fn of_the_calls_that_run_the_longest_is_told_and_none_that_has_ended() {
        let (scoreboard, start) = (Scoreboard::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        let (first, second) = (scoreboard.score(), scoreboard.score());
        first.begin(later(1), &Request::get("/report?secret").environ(), None);
        second.begin(later(2), &Request::post("/other", "").environ(), None);
        assert_eq!(scoreboard.longest(later(32)).unwrap(), "; the longest for 31 s: GET /report");
        first.end();
        assert_eq!(scoreboard.longest(later(32)).unwrap(), "; the longest for 30 s: POST /other");
        second.end();
        assert_eq!(scoreboard.longest(later(32)), None);
    }

    #[test]
    fn what_a_thread_works_for_counts_in_that_phase_only_and_what_it_has_answered_when_it_has_gone_too() {
        let (counters, phases, environ) = (Counters::default(), Phases::default(), Request::get("/").environ());
        let (first, second) = (counters.scoreboard.score(), counters.scoreboard.score());
        (0..3).for_each(|_| phases.change(None, Some(Phase::Idle)));
        first.begin(Instant::now(), &environ, Some(Phase::Idle));
        second.begin(Instant::now(), &environ, None);
        let count = |wanted| counters.read(&phases).phases().find(|(phase, _)| *phase == wanted).unwrap().1;
        assert_eq!((count(Phase::Idle), count(Phase::Call), counters.read(&phases).busy), (2, 2, 2));
        assert_eq!(counters.read(&phases).parked, 2);
        first.serve(7, Duration::from_millis(2));
        second.serve(1, Duration::from_millis(1));
        first.end();
        drop(first);
        let stats = counters.read(&phases);
        assert_eq!((stats.served, stats.content, stats.duration), (2, 8, Duration::from_millis(3)));
        assert_eq!((stats.busy, count(Phase::Idle), count(Phase::Call)), (1, 3, 1));
    }
}
