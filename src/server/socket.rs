//! The byte stream under a connection: a TCP or Unix socket, or anything that reads and writes.
//!
//! A socket either returns at once (while it waits for its turn without a thread) or blocks for one [`SLICE`] at a time (while a thread
//! stays with it). Nothing here blocks longer, so total deadlines can be kept by whoever calls. A stream of the caller's own blocks as long
//! as it likes.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::settings::SLICE;
use super::shared::lock;
use crate::gateway::uninterrupted;

/// What a connection reads from and writes to. Both sides of a call share it, so everything takes `&self`.
pub(crate) struct Socket {
    stream: Stream,
    waits: AtomicBool,
    /// Whether its timeouts have been set: most sockets never wait.
    has_timeouts: AtomicBool,
}

pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Other(Mutex<Box<dyn Duplex>>),
}

/// A stream that the caller owns: TLS, a serial line, memory in a test.
pub(crate) trait Duplex: Read + Write + Send {}

impl<S: Read + Write + Send> Duplex for S {}

/// Runs one call on whichever socket it is, or something else on another stream.
macro_rules! on_socket {
    ($stream:expr, $socket:ident => $call:expr, $other:pat => $else:expr) => {
        match $stream {
            Stream::Tcp($socket) => $call,
            #[cfg(unix)]
            Stream::Unix($socket) => $call,
            $other => $else,
        }
    };
}

impl Socket {
    /// Takes over an accepted socket: it returns at once, and small writes are not held back.
    pub(super) fn accepted(stream: Stream) -> io::Result<Socket> {
        on_socket!(&stream, socket => socket.set_nonblocking(true)?, Stream::Other(_) => ());
        if let Stream::Tcp(socket) = &stream {
            // Nagle's delay costs 44 ms where two writes follow each other. A socket that refuses it still works.
            let _ = socket.set_nodelay(true);
        }
        Ok(Socket { stream, waits: AtomicBool::new(false), has_timeouts: AtomicBool::new(false) })
    }

    /// Takes over any stream.
    pub(crate) fn over(stream: impl Read + Write + Send + 'static) -> Socket {
        let stream = Stream::Other(Mutex::new(Box::new(stream)));
        Socket { stream, waits: AtomicBool::new(true), has_timeouts: AtomicBool::new(true) }
    }

    /// Reads what is there. `WouldBlock` and `TimedOut` mean: nothing yet.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            on_socket!(&self.stream, socket => { let mut socket = socket; socket.read(buffer) },
            // No stream of somebody else's can say that it read more than there was room for.
            Stream::Other(stream) => {
                let read = lock(stream).read(buffer).map_err(past_its_own_deadline)?;
                Ok(read.min(buffer.len()))
            })
        })
    }

    /// Writes as much as is taken. `WouldBlock` and `TimedOut` mean: nothing taken.
    pub(super) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| match (&self.stream, slices) {
            (Stream::Other(stream), slices) => {
                let mut stream = lock(stream);
                let written = stream.write_vectored(slices).map_err(past_its_own_deadline)?;
                stream.flush().map_err(past_its_own_deadline)?;
                Ok(written.min(slices.iter().map(|slice| slice.len()).sum()))
            }
            // A plain write costs less than a gathering one.
            (Stream::Tcp(socket), [slice]) => {
                let mut socket = socket;
                socket.write(slice)
            }
            (Stream::Tcp(socket), slices) => {
                let mut socket = socket;
                socket.write_vectored(slices)
            }
            #[cfg(unix)]
            (Stream::Unix(socket), slices) => {
                let mut socket = socket;
                socket.write_vectored(slices)
            }
        })
    }

    /// Chooses whether reads and writes wait, for one slice at most, or return at once.
    pub(super) fn set_waiting(&self, waits: bool) -> io::Result<()> {
        if waits == self.waits() {
            return Ok(());
        }
        on_socket!(&self.stream, socket => {
            if !self.has_timeouts.load(Ordering::Relaxed) {
                socket.set_read_timeout(Some(SLICE))?;
                socket.set_write_timeout(Some(SLICE))?;
                self.has_timeouts.store(true, Ordering::Relaxed);
            }
            socket.set_nonblocking(!waits)?;
            self.waits.store(waits, Ordering::Relaxed);
        }, Stream::Other(_) => ());
        Ok(())
    }

    /// Has whoever waits to read wait for so long. Not every stream can be peeked at.
    pub(super) fn set_peeking(&self, time: Duration) -> io::Result<()> {
        let Stream::Tcp(socket) = &self.stream else { return Err(io::ErrorKind::Unsupported.into()) };
        self.has_timeouts.store(false, Ordering::Relaxed);
        socket.set_read_timeout(Some(time.max(SLICE)))?;
        socket.set_nonblocking(false)?;
        self.waits.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until something can be read or that time is over. What it was is seen by whoever reads.
    pub(super) fn wait_to_read(&self) {
        if let Stream::Tcp(socket) = &self.stream {
            let _ = uninterrupted(|| socket.peek(&mut [0]));
        }
    }

    /// Whether reads and writes may wait.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// How long one read may wait, where the socket has left the engine.
    pub(super) fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        on_socket!(&self.stream, socket => socket.set_read_timeout(time), Stream::Other(_) => Err(io::ErrorKind::Unsupported.into()))
    }

    /// How long one write may wait then.
    pub(super) fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        on_socket!(&self.stream, socket => socket.set_write_timeout(time), Stream::Other(_) => Err(io::ErrorKind::Unsupported.into()))
    }

    /// Whether one thread can read while another writes.
    pub(super) fn is_duplex(&self) -> bool {
        !matches!(self.stream, Stream::Other(_))
    }

    /// Ends one or both directions, and tells whether this stream can. Errors are ignored: the peer may have been first.
    pub(super) fn shutdown(&self, how: Shutdown) -> bool {
        on_socket!(&self.stream, socket => { let _ = socket.shutdown(how); true }, Stream::Other(_) => false)
    }
}

/// Whether an error only says that the time was too short. A socket with a timeout says either, depending on the system.
pub(super) fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A stream with a deadline of its own, which has passed, is not asked again.
fn past_its_own_deadline(error: io::Error) -> io::Error {
    if is_not_yet(&error) { io::Error::new(io::ErrorKind::ConnectionAborted, error) } else { error }
}
