//! What is counted so that it stays bounded: open connections, the memory that waiting ones hold, and the seats of clients that are waited
//! for in a thread.
//!
//! A thread of the pool is held by a client in three cases only: the application reads long content, it writes through `Writer`, or it
//! is asked for the next block of a body that it makes as it goes. Each takes a seat, and three quarters of the pool are seats, so that a
//! quarter always answers requests. Content takes its seat before the call and gives it back when it has been read; a body takes one for each
//! turn and waits without a thread where none is free. A `Writer` has its thread already when it first has to wait, so it takes a seat in any
//! case; while more are taken than there are, and while others wait for one, the slowest client that is waited for is cut.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::settings::{PATIENCE, WISH};
use super::shared::lock;
use crate::log::{Phase, Phases};

/// How many connections are open.
#[derive(Default)]
pub(super) struct Places {
    open: AtomicUsize,
    pub(super) phases: Phases,
}

impl Places {
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Counts a connection for as long as the place lives.
    pub(super) fn take(self: &Arc<Places>) -> Place {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.phases.change(None, Some(Phase::Fresh));
        Place { places: Arc::clone(self), phase: Phase::Fresh }
    }
}

/// A connection's place, given back when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    phase: Phase,
}

impl Place {
    /// Says what the connection does now.
    pub(super) fn enter(&mut self, phase: Phase) {
        if phase != self.phase {
            self.places.phases.change(Some(self.phase), Some(phase));
            self.phase = phase;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.phases.change(Some(self.phase), None);
        self.places.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection's part in the memory that all connections hold while they wait.
pub(super) struct Memory {
    /// The bytes that were counted last.
    pub(super) counted: usize,
    sum: Arc<AtomicUsize>,
}

impl Memory {
    pub(super) fn new(sum: &Arc<AtomicUsize>) -> Memory {
        Memory { counted: 0, sum: Arc::clone(sum) }
    }

    /// Says how many bytes it is now.
    pub(super) fn count(&mut self, bytes: usize) {
        if bytes != self.counted {
            // The sum wraps back where it is less.
            self.sum.fetch_add(bytes.wrapping_sub(self.counted), Ordering::Relaxed);
        }
        self.counted = bytes;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.count(0);
    }
}

/// The seats of a server, and how fast the clients are that are waited for in them.
pub(super) struct Seats {
    most: usize,
    taken: AtomicUsize,
    /// When somebody last waited for a seat or a thread, in milliseconds since the start; 0 for never.
    wanted: AtomicUsize,
    start: Instant,
    next: AtomicUsize,
    /// Seats whose client was waited for, with the bytes a second that it managed.
    slow: Mutex<Vec<(usize, u64)>>,
}

impl Seats {
    pub(super) fn new(threads: usize) -> Seats {
        Seats {
            most: (threads * 3 / 4).max(1),
            taken: AtomicUsize::new(0),
            wanted: AtomicUsize::new(0),
            start: Instant::now(),
            next: AtomicUsize::new(0),
            slow: Mutex::default(),
        }
    }

    /// Takes a seat, if one is free; otherwise says that one is wanted.
    pub(super) fn try_take(self: &Arc<Seats>) -> Option<Seat> {
        let more = |taken| (taken < self.most).then_some(taken + 1);
        if self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_err() {
            self.want();
            return None;
        }
        Some(self.seat())
    }

    /// Takes a seat even if none is free: the thread is held already.
    pub(super) fn take(self: &Arc<Seats>) -> Seat {
        self.taken.fetch_add(1, Ordering::SeqCst);
        self.seat()
    }

    /// Somebody waits because of those who have seats. Who goes on waiting says so again: a wish is soon forgotten.
    pub(super) fn want(&self) {
        self.wanted.store(self.now(), Ordering::SeqCst);
    }

    /// Whether somebody waits for a seat.
    pub(super) fn is_wanted(&self) -> bool {
        let wanted = self.wanted.load(Ordering::SeqCst);
        wanted > 0 && self.now().wrapping_sub(wanted) <= WISH
    }

    /// 32 bits begin anew after 49 days, and a wish lasts a quarter of a second.
    fn now(&self) -> usize {
        (self.start.elapsed().as_millis() as usize).wrapping_add(1)
    }

    fn seat(self: &Arc<Seats>) -> Seat {
        Seat { seats: Arc::clone(self), id: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

/// A seat, given back when it is dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    id: usize,
}

impl Seat {
    /// The client has been waited for so long in all and has moved so many bytes. Whether it is the one to be cut: the seats are taken,
    /// somebody wants one, and no other is slower.
    pub(super) fn must_go(&self, waited: Duration, moved: u64) -> bool {
        let rate = moved.saturating_mul(1000) / u64::try_from(waited.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut slow = lock(&self.seats.slow);
        match slow.iter_mut().find(|(id, _)| *id == self.id) {
            Some(entry) => entry.1 = rate,
            None => slow.push((self.id, rate)),
        }
        let is_slowest = slow.iter().all(|(_, other)| *other >= rate);
        let taken = self.seats.taken.load(Ordering::SeqCst);
        let is_wanted = || taken > self.seats.most || (taken == self.seats.most && self.seats.is_wanted());
        let goes = is_slowest && waited >= PATIENCE && is_wanted();
        if goes {
            // One goes for one who wants in.
            self.seats.wanted.store(0, Ordering::SeqCst);
        }
        goes
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.seats.slow).retain(|(id, _)| *id != self.id);
        self.seats.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn three_quarters_of_the_threads_are_seats_and_one_thread_is_one() {
        for (threads, seats) in [(1, 1), (2, 1), (4, 3), (16, 12)] {
            let all = Arc::new(Seats::new(threads));
            let taken: Vec<_> = std::iter::from_fn(|| all.try_take()).collect();
            assert_eq!(taken.len(), seats);
            drop(taken);
            assert!(all.try_take().is_some());
        }
    }

    #[test]
    fn only_the_slowest_goes_and_only_when_somebody_wants_in() {
        let seats = Arc::new(Seats::new(4));
        let (slow, fast, _other) = (seats.take(), seats.take(), seats.take());
        assert!(!fast.must_go(LONG, 1_000_000) && !slow.must_go(LONG, 10), "nobody wants in");
        assert!(seats.try_take().is_none());
        assert!(!fast.must_go(LONG, 1_000_000), "another is slower");
        assert!(!slow.must_go(Duration::from_millis(1), 0), "hardly waited for");
        assert!(slow.must_go(LONG, 10));
        assert!(!slow.must_go(LONG, 10), "one goes for one who wants in");
    }

    #[test]
    fn whoever_has_a_thread_already_takes_a_seat_and_the_slowest_goes_for_it() {
        let seats = Arc::new(Seats::new(2));
        let (slow, fast) = (seats.take(), seats.take());
        assert!(!slow.must_go(Duration::ZERO, 10) && !fast.must_go(LONG, 1_000_000));
        assert!(slow.must_go(LONG, 10));
        drop(slow);
        assert!(!fast.must_go(LONG, 1_000_000));
    }
}
