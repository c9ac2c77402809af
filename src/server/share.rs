//! The share of the pool that may be held by slow clients.
//!
//! Two things need a thread for as long as a client likes: long content that the application reads, and a response that it makes
//! block by block. Together they may hold three quarters of the pool. A request with long content waits for its place in the share, without a
//! thread; a slow response joins when its client first lets it wait. While others want in, the slowest goes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::settings::{PATIENCE, WISH};

/// The places of a server, and who is slow in them.
pub(super) struct Share {
    most: usize,
    taken: AtomicUsize,
    /// When somebody last waited for a place or a thread, in milliseconds since the start; 0 for never.
    wanted: AtomicU64,
    start: Instant,
    next: AtomicU64,
    /// Places whose client was waited for, with the bytes a second that it managed.
    slow: Mutex<Vec<(u64, u64)>>,
}

impl Share {
    pub(super) fn new(threads: usize) -> Share {
        Share {
            most: (threads * 3 / 4).max(1),
            taken: AtomicUsize::new(0),
            wanted: AtomicU64::new(0),
            start: Instant::now(),
            next: AtomicU64::new(0),
            slow: Mutex::default(),
        }
    }

    /// Takes a place, if one is free; otherwise says that one is wanted.
    pub(super) fn try_take(self: &Arc<Share>) -> Option<Place> {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        if self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_err() {
            self.want();
            return None;
        }
        Some(self.place())
    }

    /// Takes a place even if none is free: the thread is held already.
    pub(super) fn join(self: &Arc<Share>) -> Place {
        self.taken.fetch_add(1, Ordering::SeqCst);
        self.place()
    }

    pub(super) fn has_room(&self) -> bool {
        self.taken.load(Ordering::SeqCst) < self.most
    }

    /// Somebody waits because of those who hold places. Who goes on waiting says so again: a wish is soon forgotten.
    pub(super) fn want(&self) {
        self.wanted.store(self.now(), Ordering::SeqCst);
    }

    /// Grants a wish, if there is a fresh one.
    fn grant(&self) -> bool {
        let wanted = self.wanted.swap(0, Ordering::SeqCst);
        wanted > 0 && self.now() - wanted <= WISH
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn place(self: &Arc<Share>) -> Place {
        Place { share: Arc::clone(self), id: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

/// A place in the share, given back when it is dropped.
pub(super) struct Place {
    share: Arc<Share>,
    id: u64,
}

impl Place {
    /// The client has been waited for so long in all and has moved so many bytes. Whether it is the one to be cut: the share is
    /// full, somebody wants in, and no other is slower.
    pub(super) fn must_go(&self, waited: Duration, moved: u64) -> bool {
        let rate = moved.saturating_mul(1000) / u64::try_from(waited.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut slow = self.share.slow.lock().unwrap_or_else(PoisonError::into_inner);
        match slow.iter_mut().find(|(id, _)| *id == self.id) {
            Some(entry) => entry.1 = rate,
            None => slow.push((self.id, rate)),
        }
        let is_slowest = slow.iter().all(|(_, other)| *other >= rate);
        is_slowest && waited >= PATIENCE && !self.share.has_room() && self.share.grant()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.slow.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != self.id);
        self.share.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn three_quarters_of_the_threads_are_places_and_one_thread_is_one() {
        for (threads, places) in [(1, 1), (2, 1), (4, 3), (16, 12)] {
            let share = Arc::new(Share::new(threads));
            let taken: Vec<_> = std::iter::from_fn(|| share.try_take()).collect();
            assert_eq!(taken.len(), places);
            drop(taken);
            assert!(share.try_take().is_some());
        }
    }

    #[test]
    fn only_the_slowest_goes_and_only_when_somebody_wants_in() {
        let share = Arc::new(Share::new(2));
        let (slow, fast) = (share.join(), share.join());
        assert!(!fast.must_go(LONG, 1_000_000) && !slow.must_go(LONG, 10), "nobody wants in");
        assert!(share.try_take().is_none());
        assert!(!fast.must_go(LONG, 1_000_000), "another is slower");
        assert!(!slow.must_go(Duration::from_millis(1), 0), "hardly waited for");
        assert!(slow.must_go(LONG, 10));
        assert!(!slow.must_go(LONG, 10), "one goes for one who wants in");
    }
}
