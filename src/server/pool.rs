//! The fixed pool of threads that call the application, and the queue of connections that are ready for one.
//!
//! A thread takes a ready connection, answers what it holds, and stays with it for two short slices while nobody else is
//! waiting: as long as there are threads to spare, the kernel wakes the right one directly, which costs half of what handing a
//! connection over does. As soon as more connections are ready than threads are free, a thread parks its connection after the
//! answer and takes the next. No application call is ever made by another thread than these.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::connection::{Connection, Next};
use super::engine::Engine;
use super::exchange::{Desk, Served};
use super::settings::SLICES;
use super::transport::{Transport, Wait};
use crate::cause::Cause;

/// Connections that need a thread, in the order in which they became ready.
pub(super) struct Ready {
    queue: Mutex<VecDeque<Queued>>,
    signal: Condvar,
    /// The length of the queue and the number of threads that wait at it, readable without its lock.
    length: AtomicUsize,
    free: AtomicUsize,
    closed: AtomicBool,
}

struct Queued {
    connection: Box<Connection>,
    since: Instant,
}

impl Default for Ready {
    fn default() -> Ready {
        Ready {
            queue: Mutex::new(VecDeque::with_capacity(64)),
            signal: Condvar::new(),
            length: AtomicUsize::new(0),
            free: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }
}

impl Ready {
    /// Puts a connection at the end.
    ///
    /// # Errors
    /// Gives it back when the queue is full or closed.
    pub(super) fn push(&self, connection: Box<Connection>, most: usize, since: Instant) -> Result<(), Box<Connection>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= most || self.closed.load(Ordering::Relaxed) {
            return Err(connection);
        }
        queue.push_back(Queued { connection, since });
        self.length.store(queue.len(), Ordering::Relaxed);
        drop(queue);
        self.signal.notify_one();
        Ok(())
    }

    /// Waits for a connection; `None` when the queue is closed.
    fn take(&self) -> Option<Queued> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(queued) = queue.pop_front() {
                self.length.store(queue.len(), Ordering::Relaxed);
                return Some(queued);
            }
            if self.closed.load(Ordering::Relaxed) {
                return None;
            }
            self.free.fetch_add(1, Ordering::Relaxed);
            queue = self.signal.wait(queue).unwrap_or_else(PoisonError::into_inner);
            self.free.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether connections are ready that no thread is free for.
    fn others_wait(&self) -> bool {
        self.length.load(Ordering::Relaxed) > self.free.load(Ordering::Relaxed)
    }

    /// Whether a further connection would find a thread at once.
    pub(super) fn has_free_thread(&self) -> bool {
        self.free.load(Ordering::Relaxed) > self.length.load(Ordering::Relaxed)
    }

    pub(super) fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    /// Drops what is queued.
    pub(super) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        self.length.store(0, Ordering::Relaxed);
        drop(dropped);
    }

    /// Sends every thread home once the queue is empty.
    pub(super) fn close(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Relaxed);
        drop(queue);
        self.signal.notify_all();
    }
}

/// The life of a thread of the pool. `place` is where the transport it works with can be found by who must cut it.
pub(super) fn work(engine: &Engine, place: &Mutex<Option<Arc<dyn Transport>>>) {
    let house = &engine.house;
    let mut desk = Desk::new(house);
    while let Some(Queued { mut connection, since }) = engine.ready.take() {
        house.stats.busy.fetch_add(1, Ordering::SeqCst);
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&connection.transport));
        let now = Instant::now();
        if now.duration_since(since) > house.settings.queue_timeout {
            connection.refuse(Cause::QueueTimeout, house, now);
        }
        // The application's panics are caught where they are answered. What is caught here is a value of the application's that
        // panics when it is dropped: the connection is lost, and the thread goes on with fresh memory.
        if catch_unwind(AssertUnwindSafe(|| drive(connection, engine, &mut desk))).is_err() {
            desk = Desk::new(house);
        }
        *place.lock().unwrap_or_else(PoisonError::into_inner) = None;
        house.stats.busy.fetch_sub(1, Ordering::SeqCst);
        if house.is_stopping() {
            engine.room.wake();
        }
    }
}

/// Stays with a connection as long as that is the best use of the thread.
fn drive(mut connection: Box<Connection>, engine: &Engine, desk: &mut Desk) {
    let house = &engine.house;
    let mut slices = 0;
    loop {
        let now = Instant::now();
        match connection.advance(house, now, &mut desk.scratch) {
            Next::Look => {
                if desk.serve(&mut connection, house, now) == Served::NotYet {
                    continue;
                }
                slices = 0;
                if engine.ready.others_wait() {
                    // One client that never stops sending must not keep the others waiting.
                    if !connection.has_more() {
                        return engine.park(connection);
                    }
                    match engine.ready.push(connection, house.settings.queue, now) {
                        Ok(()) => return,
                        Err(back) => connection = back,
                    }
                }
            }
            Next::Wait => {
                let stays = slices < SLICES
                    && connection.is_worth_waiting_for()
                    && !engine.ready.others_wait()
                    && !house.is_stopping();
                if !stays || connection.transport.wait(Wait::Slice).is_err() {
                    return engine.park(connection);
                }
                slices += 1;
            }
            // A fast reader of a large response: worth a thread as long as nobody else wants it.
            Next::More => {
                if engine.ready.others_wait() || house.is_stopping() {
                    return engine.park(connection);
                }
            }
            Next::End => return,
        }
    }
}
