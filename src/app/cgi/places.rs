//! How many programs run at once: places that are taken and given back, and a wait for one that has an end.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    pub(super) fn new(most: usize) -> Places {
        Places { free: Mutex::new(most.max(1)), freed: Condvar::new() }
    }

    /// Waits for a free place; `None` when there is none in time.
    pub(super) fn take(places: &Arc<Places>, limit: Duration) -> Option<Place> {
        let begin = Instant::now();
        let mut free = places.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return None;
            }
            free = places.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Place(Arc::clone(places)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped_and_a_wait_for_one_ends() {
        let places = Arc::new(Places::new(1));
        let first = Places::take(&places, Duration::ZERO).unwrap();
        assert!(Places::take(&places, Duration::from_millis(5)).is_none());
        let waiting = {
            let places = Arc::clone(&places);
            std::thread::spawn(move || Places::take(&places, Duration::from_secs(30)).is_some())
        };
        drop(first);
        assert!(waiting.join().unwrap());
        assert!(Places::take(&places, Duration::ZERO).is_some());
    }
}
