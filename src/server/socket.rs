//! The byte stream under a connection: a socket of the system, or anything that reads and writes.
//!
//! A socket either returns at once (while it waits for its turn without a thread) or blocks for one [`SLICE`] at a time (while a thread
//! stays with it). Nothing here blocks longer, so total deadlines can be kept by whoever calls. A stream of the caller's own blocks as long
//! as it likes.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::settings::SLICE;
use super::shared::lock;
use crate::gateway::{is_not_yet, uninterrupted};

/// What a connection reads from and writes to. Both sides of a call share it, so everything takes `&self`.
pub(crate) struct Socket {
    stream: Stream,
    waits: AtomicBool,
    /// Whether its timeouts have been set: most sockets never wait.
    has_timeouts: AtomicBool,
}

enum Stream {
    /// Of whatever kind: the calls are the same for a Unix socket.
    System(TcpStream),
    Other(Mutex<Box<dyn Duplex>>),
}

/// A stream that the caller owns: TLS, a serial line, memory in a test.
trait Duplex: Read + Write + Send {}

impl<S: Read + Write + Send> Duplex for S {}

impl Socket {
    /// Takes over an accepted socket: it returns at once, and small writes are not held back.
    pub(super) fn accepted(socket: TcpStream) -> io::Result<Socket> {
        socket.set_nonblocking(true)?;
        // Nagle's delay costs 44 ms where two writes follow each other. A socket that refuses it still works.
        let _ = socket.set_nodelay(true);
        Ok(Socket { stream: Stream::System(socket), waits: false.into(), has_timeouts: false.into() })
    }

    /// Takes over any stream.
    pub(crate) fn over(stream: impl Read + Write + Send + 'static) -> Socket {
        let stream = Stream::Other(Mutex::new(Box::new(stream)));
        Socket { stream, waits: true.into(), has_timeouts: true.into() }
    }

    /// The system's socket, which a stream of the caller's own is not: that has deadlines of its own, and one thread at a time.
    pub(super) fn system(&self) -> io::Result<&TcpStream> {
        match &self.stream {
            Stream::System(socket) => Ok(socket),
            Stream::Other(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Reads what is there. `WouldBlock` and `TimedOut` mean: nothing yet.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match &self.stream {
            Stream::System(socket) => (&*socket).read(buffer),
            // No stream of somebody else's can say that it read more than there was room for.
            Stream::Other(stream) => {
                let read = lock(stream).read(buffer).map_err(past_its_own_deadline)?;
                Ok(read.min(buffer.len()))
            }
        })
    }

    /// Writes as much as is taken. `WouldBlock` and `TimedOut` mean: nothing taken.
    pub(super) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| match (&self.stream, slices) {
            // A plain write costs less than a gathering one.
            (Stream::System(socket), [slice]) => (&*socket).write(slice),
            (Stream::System(socket), slices) => (&*socket).write_vectored(slices),
            (Stream::Other(stream), slices) => {
                let mut stream = lock(stream);
                let written = stream.write_vectored(slices).map_err(past_its_own_deadline)?;
                // Interrupted, it is asked again by itself: what was written must not be written once more.
                uninterrupted(|| stream.flush().map(|()| written)).map_err(past_its_own_deadline)?;
                Ok(written.min(slices.iter().map(|slice| slice.len()).sum()))
            }
        })
    }

    /// Chooses whether reads and writes wait, for one slice at most, or return at once.
    pub(super) fn set_waiting(&self, waits: bool) -> io::Result<()> {
        let Stream::System(socket) = &self.stream else { return Ok(()) };
        if waits == self.waits() {
            return Ok(());
        }
        if !self.has_timeouts.load(Ordering::Relaxed) {
            socket.set_read_timeout(Some(SLICE))?;
            socket.set_write_timeout(Some(SLICE))?;
            self.has_timeouts.store(true, Ordering::Relaxed);
        }
        socket.set_nonblocking(!waits)?;
        self.waits.store(waits, Ordering::Relaxed);
        Ok(())
    }

    /// Has whoever waits to read wait for so long. Not every stream can be peeked at.
    pub(super) fn set_peeking(&self, time: Duration) -> io::Result<()> {
        let socket = self.system()?;
        self.has_timeouts.store(false, Ordering::Relaxed);
        socket.set_read_timeout(Some(time.max(SLICE)))?;
        socket.set_nonblocking(false)?;
        self.waits.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether something can be read, the end or an error among it; waits for that until the time is over if it may wait. What it is is seen by
    /// whoever reads.
    pub(super) fn peek(&self) -> bool {
        let peeked = self.system().and_then(|socket| uninterrupted(|| socket.peek(&mut [0])));
        !peeked.is_err_and(|error| is_not_yet(&error))
    }

    /// Whether reads and writes may wait.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Ends one or both directions, and tells whether this stream can. Errors are ignored: the peer may have been first.
    pub(super) fn shutdown(&self, how: Shutdown) -> bool {
        self.system().map(|socket| socket.shutdown(how)).is_ok()
    }
}

/// A stream with a deadline of its own, which has passed, is not asked again.
fn past_its_own_deadline(error: io::Error) -> io::Error {
    if is_not_yet(&error) { io::Error::new(io::ErrorKind::ConnectionAborted, error) } else { error }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A stream whose next flush a signal interrupts, if so.
    struct Interrupted(Arc<Mutex<Vec<u8>>>, bool);

    impl Read for Interrupted {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }

    impl Write for Interrupted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            if std::mem::take(&mut self.1) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn what_was_written_is_not_written_again_when_a_signal_interrupts_the_flush_behind_it() {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let socket = Socket::over(Interrupted(Arc::clone(&written), true));
        for bytes in [&b"one "[..], b"two"] {
            assert_eq!(socket.write(&[IoSlice::new(bytes)]).unwrap(), bytes.len());
        }
        assert_eq!(lock(&written).as_slice(), b"one two");
    }
}
