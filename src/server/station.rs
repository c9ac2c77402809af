//! What a thread of the pool works with, as far as other threads must reach it: the transport, which is cut at the end of a grace, and
//! blocks of a response that are held back for the moment.
//!
//! PEP 3333, "Buffering and Streaming": a server must not delay a block, but it need not have sent it either before it asks for the next,
//! if it guarantees to go on sending it meanwhile, with another thread if need be (P-BODY-01). An application that yields many small blocks
//! in quick succession would pay a system call for each: 4.5 µs for a KiB, and 7.7 times the CPU of a peer that gathers them.
//! So blocks that follow each other within [`QUICK_BLOCK`](super::settings::QUICK_BLOCK) are held here, and the monitor, which looks every
//! 3 ms, sends what it finds. The first block of a response, and every one that took the application longer, is sent at once.
//!
//! Invariant: what is held belongs to the response of the transport beside it and comes before all that is not held; both are changed
//! under one lock, and only the thread whose station it is adds to them.

use std::io::IoSlice;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::monitor::Monitor;
use super::transport::Transport;

/// How many looks pass after one that a client kept waiting.
const RESTS: u32 = 16;

/// The station of one thread.
pub(super) struct Station {
    work: Mutex<Work>,
    /// Whether anything is held, to be looked at without the lock.
    holds: AtomicBool,
    monitor: Arc<Monitor>,
}

#[derive(Default)]
struct Work {
    transport: Option<Arc<dyn Transport>>,
    held: Vec<u8>,
    /// So many looks pass before the next try: the last one waited for a client that took nothing.
    rests: u32,
}

impl Work {
    fn is_with(&self, transport: &Arc<dyn Transport>) -> bool {
        self.transport.as_ref().is_some_and(|own| Arc::ptr_eq(own, transport))
    }
}

impl Station {
    pub(super) fn new(monitor: Arc<Monitor>) -> Station {
        Station { work: Mutex::default(), holds: AtomicBool::new(false), monitor }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread begins to work with a connection.
    pub(super) fn enter(&self, transport: &Arc<dyn Transport>) {
        self.lock().transport = Some(Arc::clone(transport));
    }

    /// The thread is done with it. What is still held belongs to a response that was given up.
    pub(super) fn leave(&self) {
        let mut work = self.lock();
        work.transport = None;
        work.held.clear();
        work.rests = 0;
        self.holds.store(false, Ordering::SeqCst);
    }

    /// Ends the connection that the thread works with; it notices when it next reads or writes.
    pub(super) fn cut(&self) {
        if let Some(transport) = &self.lock().transport {
            transport.shutdown(Shutdown::Both);
        }
    }

    /// Whether something is held.
    pub(super) fn holds(&self) -> bool {
        self.holds.load(Ordering::SeqCst)
    }

    /// Moves bytes behind what is held, to be sent soon, and tells whether it did: somebody who has kept a response beyond its call must not
    /// add to that of another.
    pub(super) fn hold(&self, transport: &Arc<dyn Transport>, bytes: &mut Vec<u8>) -> bool {
        let mut work = self.lock();
        if !work.is_with(transport) {
            return false;
        }
        work.held.append(bytes);
        let calls = !self.holds.swap(true, Ordering::SeqCst);
        drop(work);
        if calls {
            self.monitor.notice();
        }
        true
    }

    /// Gives back what has not been sent yet, in front of other bytes.
    pub(super) fn take_back(&self, transport: &Arc<dyn Transport>, bytes: &mut Vec<u8>) {
        let mut work = self.lock();
        if work.is_with(transport) && !work.held.is_empty() {
            work.held.append(bytes);
            std::mem::swap(&mut work.held, bytes);
            self.holds.store(false, Ordering::SeqCst);
        }
    }

    /// Sends what is held, as far as the client takes it. An error is met again by the thread whose station it is.
    pub(super) fn send_held(&self) {
        if !self.holds() {
            return;
        }
        let mut work = self.lock();
        let Work { transport: Some(transport), held, rests } = &mut *work else { return };
        if *rests > 0 {
            *rests -= 1;
            return;
        }
        match transport.write(&[IoSlice::new(held)]) {
            Ok(sent) => drop(held.drain(..sent.min(held.len()))),
            // The application has been reading since, so that the socket blocks for a slice: the others must not wait for this client.
            Err(_) if transport.waits() => *rests = RESTS,
            Err(_) => {}
        }
        if held.is_empty() {
            self.holds.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};

    use super::*;
    use crate::server::transport::Over;

    /// A client that takes so many bytes at a time.
    #[derive(Clone)]
    struct Client {
        received: Arc<Mutex<Vec<u8>>>,
        takes: usize,
    }

    impl Read for Client {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.takes);
            self.received.lock().unwrap().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn client(takes: usize) -> (Client, Arc<dyn Transport>) {
        let client = Client { received: Arc::default(), takes };
        (client.clone(), Arc::new(Over::new(client)))
    }

    #[test]
    fn what_the_monitor_has_not_sent_comes_back_in_front_of_what_follows() {
        let (client, transport) = client(4);
        let station = Station::new(Arc::default());
        station.enter(&transport);
        station.send_held();
        assert!(station.hold(&transport, &mut b"abc".to_vec()) && station.hold(&transport, &mut b"def".to_vec()));
        assert!(station.holds());
        station.send_held();
        let mut bytes = b"ghi".to_vec();
        station.take_back(&transport, &mut bytes);
        assert_eq!((client.received.lock().unwrap().as_slice(), bytes.as_slice()), (&b"abcd"[..], &b"efghi"[..]));
        assert!(!station.holds());
        station.hold(&transport, &mut b"xyz".to_vec());
        station.send_held();
        assert!(!station.holds());
        station.take_back(&transport, &mut bytes);
        assert_eq!((client.received.lock().unwrap().as_slice(), bytes.as_slice()), (&b"abcdxyz"[..], &b"efghi"[..]));
    }

    #[test]
    fn a_response_kept_beyond_its_call_cannot_add_to_that_of_another_nor_take_from_it() {
        let ((_, old), (new_client, new)) = (client(9), client(9));
        let station = Station::new(Arc::default());
        station.enter(&old);
        assert!(station.hold(&old, &mut b"given up".to_vec()));
        station.leave();
        station.enter(&new);
        let mut late = b"late".to_vec();
        assert!(!station.hold(&old, &mut late));
        assert!(station.hold(&new, &mut b"new".to_vec()));
        station.take_back(&old, &mut late);
        assert_eq!(late, b"late");
        station.send_held();
        assert_eq!(new_client.received.lock().unwrap().as_slice(), b"new");
    }
}
