//! What is counted so that it stays bounded: open connections, the memory that waiting ones hold, and the seats of clients that are waited
//! for in a thread.
//!
//! A thread of the pool is held by a client in three cases only: the application reads long content, it writes through `Writer`, or it
//! is asked for the next block of a body that it makes as it goes. Each takes a seat, and three quarters of the pool are seats, so that a
//! quarter always answers requests. Content takes its seat before the call and gives it back when it has been read; a body takes one for each
//! turn. Where none is free they wait without a thread, in one line: whoever came first has the next seat. A `Writer` has its
//! thread already when it first has to wait, so it takes a seat in any case; while more are taken than there are, and while others wait for one,
//! the slowest client that is waited for is cut.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::settings::PATIENCE;
use super::shared::lock;
use crate::gateway::Wake;
use crate::log::{Phase, Phases};

/// What the open connections do and hold together. They are as many as share it.
#[derive(Default)]
pub(super) struct Places {
    pub(super) phases: Phases,
    /// Bytes that those hold that wait.
    pub(super) memory: AtomicUsize,
}

/// A connection's place among those that are open; given back when it is dropped.
pub(super) struct Place {
    all: Arc<Places>,
    /// What the connection is counted to do. That a thread works for it is not counted here: every request would change it twice.
    pub(super) phase: Phase,
    /// The bytes that it is counted to hold.
    pub(super) memory: usize,
}

impl Place {
    pub(super) fn new(all: &Arc<Places>) -> Place {
        all.phases.change(None, Some(Phase::Fresh));
        Place { all: Arc::clone(all), phase: Phase::Fresh, memory: 0 }
    }

    /// Says what the connection does now.
    pub(super) fn enter(&mut self, phase: Phase) {
        if phase != self.phase {
            self.all.phases.change(Some(self.phase), Some(phase));
            self.phase = phase;
        }
    }

    /// Says how many bytes it holds now.
    pub(super) fn hold(&mut self, bytes: usize) {
        if bytes != self.memory {
            // The sum wraps back where it is less.
            self.all.memory.fetch_add(bytes.wrapping_sub(self.memory), Ordering::Relaxed);
            self.memory = bytes;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hold(0);
        self.all.phases.change(Some(self.phase), None);
    }
}

/// The seats of a server, and the line of those who wait for one.
pub(super) struct Seats {
    most: usize,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    /// The number of the last that asked.
    last: u64,
    /// Those that are taken, each with the bytes a second of the client that was waited for there, if one was.
    taken: Vec<(u64, u64)>,
    /// Who is woken when a seat is theirs. It is the first's as soon as it is free, however late that looks.
    waiting: BTreeMap<u64, Option<Waiter>>,
}

type Waiter = (Arc<dyn Wake>, u64);

impl Seats {
    pub(super) fn new(threads: usize) -> Seats {
        Seats { most: (threads - threads.div_ceil(4)).max(1), line: Mutex::default() }
    }

    /// A seat, or the last place in the line for one.
    pub(super) fn ask(self: &Arc<Seats>) -> Seat {
        self.seat(self.most)
    }

    /// A seat, if one is free.
    pub(super) fn try_take(self: &Arc<Seats>) -> Option<Seat> {
        Some(self.ask()).filter(Seat::has_come)
    }

    /// A seat even if none is free: the thread is held already.
    pub(super) fn take(self: &Arc<Seats>) -> Seat {
        self.seat(usize::MAX)
    }

    fn seat(self: &Arc<Seats>, most: usize) -> Seat {
        let mut line = lock(&self.line);
        line.last += 1;
        let number = line.last;
        if line.taken.len() < most {
            line.taken.push((number, u64::MAX));
        } else {
            line.waiting.insert(number, None);
        }
        Seat { seats: Arc::clone(self), number }
    }

    /// Whether somebody waits because of those who have seats.
    pub(super) fn is_wanted(&self) -> bool {
        !lock(&self.line).waiting.is_empty()
    }
}

/// A seat, or a place in the line for one. Given back when it is dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seat {
    /// Whether it is a seat.
    pub(super) fn has_come(&self) -> bool {
        lock(&self.seats.line).taken.iter().any(|(number, _)| *number == self.number)
    }

    /// Has `waiter` woken when it is one. Tells whether it must wait for that.
    pub(super) fn register(&self, waiter: &Arc<impl Wake + 'static>, number: u64) -> bool {
        let mut line = lock(&self.seats.line);
        let waiting = line.waiting.get_mut(&self.number);
        waiting.map(|own| *own = Some((Arc::clone(waiter) as Arc<dyn Wake>, number))).is_some()
    }

    /// The client has been waited for so long in all and has moved so many bytes. Whether it is the one to be cut: the seats are taken,
    /// somebody wants one, and no other is slower. It is the slowest as long as it keeps its seat, so that one goes for one who wants in.
    pub(super) fn must_go(&self, waited: Duration, moved: u64) -> bool {
        let rate = moved.saturating_mul(1000) / u64::try_from(waited.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut line = lock(&self.seats.line);
        line.taken.iter_mut().filter(|(number, _)| *number == self.number).for_each(|(_, own)| *own = rate);
        let is_slowest = line.taken.iter().all(|(_, other)| *other >= rate);
        let wanted = line.taken.len() + usize::from(!line.waiting.is_empty());
        is_slowest && waited >= PATIENCE && wanted > self.seats.most
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut line = lock(&self.seats.line);
        let left = line.waiting.remove(&self.number);
        line.taken.retain(|(number, _)| *number != self.number);
        let next = if line.taken.len() < self.seats.most { line.waiting.pop_first() } else { None };
        line.taken.extend(next.iter().map(|(number, _)| (*number, u64::MAX)));
        drop(line);
        drop(left);
        if let Some((_, Some((waiter, number)))) = next {
            waiter.wake(number);
        }
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
        let wants = seats.ask();
        assert!(!fast.must_go(LONG, 1_000_000), "another is slower");
        assert!(!slow.must_go(Duration::from_millis(1), 0), "hardly waited for");
        assert!(slow.must_go(LONG, 10) && !fast.must_go(LONG, 1_000_000), "one goes for one who wants in");
        drop(slow);
        assert!(wants.has_come() && !fast.must_go(LONG, 1_000_000));
    }

    #[test]
    fn whoever_has_a_thread_already_takes_a_seat_and_the_slowest_goes_for_it() {
        let seats = Arc::new(Seats::new(2));
        let (slow, fast) = (seats.take(), seats.take());
        assert!(!slow.must_go(Duration::ZERO, 10) && !fast.must_go(LONG, 1_000_000));
        assert!(slow.must_go(LONG, 10));
        let waits = seats.ask();
        drop(slow);
        assert!(!waits.has_come(), "there was one too many");
        drop(fast);
        assert!(waits.has_come());
    }

    /// Keeps the numbers that are woken.
    #[derive(Default)]
    struct Woken(Mutex<Vec<u64>>);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>, number: u64) {
            lock(&self.0).push(number);
        }
    }

    #[test]
    fn whoever_came_first_has_the_next_seat_however_many_come_and_whoever_gives_up_meanwhile() {
        let (seats, woken) = (Arc::new(Seats::new(1)), Arc::new(Woken::default()));
        let taken = seats.ask();
        let mut line: Vec<_> = (0..5).map(|_| seats.ask()).collect();
        assert!(taken.has_come() && (0..5).all(|number| line[number].register(&woken, number as u64)));
        drop((line.remove(3), line.remove(0)));
        assert!(lock(&woken.0).is_empty());
        drop(taken);
        for (at, number) in [1, 2, 4].into_iter().enumerate() {
            assert!(seats.try_take().is_none(), "it is not for those who come now");
            assert_eq!(*lock(&woken.0).last().unwrap(), number);
            let seat = line.remove(0);
            assert!(seat.has_come() && !seat.register(&woken, 9) && !line.iter().any(Seat::has_come));
            assert_eq!(lock(&woken.0).len(), at + 1);
        }
        assert!(seats.try_take().is_some() && !seats.is_wanted());
    }
}
