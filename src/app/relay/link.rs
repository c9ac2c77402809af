//! A connection to another server as it is used: read under limits, into room that is made once, and kept for the next request where the
//! other side goes on listening to it.
//!
//! The system is told a limit only when it is another one than before: on a kept connection, whose requests have all the same, never again.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Fault;
use super::stream::Stream;
use crate::cause::Cause;
use crate::gateway::{bounded, uninterrupted};

/// How much is read at once.
pub(crate) const BLOCK: usize = 64 * 1024;

/// For how long the other side takes nothing before it is looked whether it has answered.
const MOMENT: Duration = Duration::from_millis(20);

/// How many connections are kept that nobody uses, and for how long: whoever answers may listen to nobody else meanwhile.
const KEPT: usize = 8;
const IDLE: Duration = Duration::from_secs(2);

/// A connection, of which this is the only user.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: Stream,
    /// What is read into: made once, because to clear it costs more than to copy what has come.
    room: Vec<u8>,
    /// How long a read may take, as the system has been told.
    limit: Option<Duration>,
    /// Of the request that it has, where requests have numbers.
    pub(crate) number: u16,
}

impl Link {
    pub(crate) fn new(stream: Stream) -> Result<Link, Fault> {
        stream.set_write_timeout(Some(MOMENT)).map_err(|error| Fault::new(Cause::UpstreamUnreachable, error))?;
        Ok(Link { stream, room: vec![0; BLOCK], limit: None, number: 0 })
    }

    /// Adds what is there to `place`, or waits for the first byte of it.
    pub(crate) fn read(&mut self, limit: Duration, place: &mut Vec<u8>) -> io::Result<usize> {
        // In whole milliseconds it is the same for each request, a moment after whose begin it is told.
        let micros = bounded(limit).as_micros() as u64;
        let limit = Some(Duration::from_millis(micros.div_ceil(1000)));
        if self.limit != limit {
            self.stream.set_read_timeout(limit)?;
            self.limit = limit;
        }
        let length = uninterrupted(|| self.stream.read(&mut self.room))?;
        place.extend_from_slice(self.room.split_at(length).0);
        Ok(length)
    }

    /// The same connection for somebody else; this one has no room any more.
    pub(super) fn hand_over(&mut self) -> io::Result<Link> {
        let (stream, room) = (self.stream.try_clone()?, std::mem::take(&mut self.room));
        Ok(Link { stream, room, limit: self.limit, number: self.number })
    }
}

/// Connections that wait for their next request.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Each with the time when it came back, the last one last.
    idle: Mutex<Vec<(Instant, Link)>>,
    /// Whether there is a thread that ends those for which nothing comes.
    is_watched: AtomicBool,
    /// Requests that wait for their first byte, where that may come from whoever answers on one of these.
    pub(crate) unanswered: AtomicUsize,
}

impl Kept {
    /// Those that have not been idle for too long.
    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, Link)>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, _)| since.elapsed() < IDLE);
        idle
    }

    /// One that is still open and has nothing to say. It is the one that came back last, so that those which are not needed come to their end.
    pub(crate) fn take(&self) -> Option<Link> {
        loop {
            // The lock is not held while it is looked at.
            let (_, mut link) = self.idle().pop()?;
            if link.stream.is_quiet() {
                return Some(link);
            }
        }
    }

    /// Puts one back; or closes all, where a request waits that may need whoever answers there. Nobody takes one while that is decided.
    pub(crate) fn put(self: &Arc<Kept>, link: Link) {
        let mut idle = self.idle();
        if self.unanswered.load(Ordering::SeqCst) > 0 {
            idle.clear();
        } else if idle.len() < KEPT {
            idle.push((Instant::now(), link));
            // Under the lock, as the thread's last look is.
            if !self.is_watched.swap(true, Ordering::SeqCst) {
                self.watch();
            }
        }
    }

    /// Starts the thread. Where there is none, they end when the next one is taken or put back.
    fn watch(self: &Arc<Kept>) {
        let kept = Arc::downgrade(self);
        let watch: Box<dyn FnOnce() + Send> = Box::new(move || {
            loop {
                thread::sleep(IDLE);
                let Some(kept) = kept.upgrade() else { return };
                let idle = kept.idle();
                if idle.is_empty() {
                    return kept.is_watched.store(false, Ordering::SeqCst);
                }
            }
        });
        let thread = thread::Builder::new().name("doorway-kept".into()).stack_size(64 * 1024);
        self.is_watched.store(thread.spawn(watch).is_ok(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_connection_that_came_back_last_is_taken_first_and_one_that_nobody_takes_comes_to_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = |number| {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (Link { number, ..Link::new(Stream::Tcp(stream)).unwrap() }, listener.accept().unwrap().0)
        };
        let (kept, (old, _old), (first, mut other), (last, _last)) =
            (Arc::<Kept>::default(), link(1), link(2), link(3));
        // A system whose clock began a moment ago has no such time.
        if let Some(long_ago) = Instant::now().checked_sub(IDLE) {
            kept.idle.lock().unwrap().push((long_ago, old));
            assert!(kept.take().is_none());
        }
        kept.put(first);
        kept.put(last);
        assert_eq!(kept.take().map(|link| link.number), Some(3));
        other.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap(), 0, "closed, though nothing has been asked for meanwhile");
        assert!(kept.take().is_none());
    }
}
