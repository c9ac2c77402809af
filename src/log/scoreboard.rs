//! What the threads of a server are called for, for the day on which none of them is free.
//!
//! Then whoever asks waits, and finally gets 503, and the operator has to know for what. As in Apache's, each thread has a score of its own, so that
//! calls do not wait for one another here; they are read only when no thread has been free for [`LONG`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Stats;
use crate::gateway::{Environ, Vars};

/// How long no thread may be free until it is said.
const LONG: Duration = Duration::from_secs(10);

/// How much of a method and of a path is shown.
const SHOWN: usize = 200;

/// What a thread is called for, and since when. Of the environ only the variables: with a share of the input in here the next request could not
/// use its memory again.
#[derive(Default)]
pub(crate) struct Score(Mutex<Option<(Instant, Arc<Vars>)>>);

impl Score {
    pub(crate) fn begin(&self, now: Instant, environ: &Environ) {
        *lock(&self.0) = Some((now, Arc::clone(&environ.vars)));
    }

    pub(crate) fn end(&self) {
        *lock(&self.0) = None;
    }
}

/// The scores of all threads.
#[derive(Default)]
pub(crate) struct Scoreboard(Mutex<Vec<Weak<Score>>>);

impl Scoreboard {
    /// One for one more thread.
    pub(crate) fn score(&self) -> Arc<Score> {
        let score = Arc::default();
        let mut scores = lock(&self.0);
        scores.retain(|other| other.strong_count() > 0);
        scores.push(Arc::downgrade(&score));
        score
    }

    /// The call that has lasted longest, as text.
    fn longest(&self, now: Instant) -> Option<String> {
        let scores: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        let calls = scores.iter().filter_map(|score| lock(&score.0).clone());
        let (since, vars) = calls.min_by_key(|(since, _)| *since)?;
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
    fn of_the_calls_that_run_the_longest_is_told_and_none_that_has_ended_or_whose_thread_has() {
        let (scoreboard, start) = (Scoreboard::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        let (gone, first, second) = (scoreboard.score(), scoreboard.score(), scoreboard.score());
        gone.begin(start, &Request::get("/gone").environ());
        first.begin(later(1), &Request::get("/report?secret").environ());
        second.begin(later(2), &Request::post("/other", "").environ());
        drop(gone);
        assert_eq!(scoreboard.longest(later(32)).unwrap(), "; the longest for 31 s: GET /report");
        first.end();
        assert_eq!(scoreboard.longest(later(32)).unwrap(), "; the longest for 30 s: POST /other");
        second.end();
        assert_eq!(scoreboard.longest(later(32)), None);
        scoreboard.score();
        assert_eq!(lock(&scoreboard.0).len(), 3, "of threads that have gone nothing is kept");
    }
}
