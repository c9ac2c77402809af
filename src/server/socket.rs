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
use std::sync::atomic::{AtomicU8, Ordering};

use super::settings::SLICE;
use super::shared::lock;

/// What a connection reads from and writes to. Both sides of a call share it, so everything takes `&self`.
pub(crate) struct Socket {
    stream: Stream,
    mode: AtomicU8,
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

/// How long a read or write may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Not at all.
    No,
    /// One [`SLICE`].
    Slice,
}

impl Socket {
    const RETURNS: u8 = 0;
    const WAITS: u8 = 1;
    /// Returns at once, and its timeouts have never been set.
    const FRESH: u8 = 2;

    /// Takes over an accepted socket: it returns at once, and small writes are not held back.
    pub(super) fn accepted(stream: Stream) -> io::Result<Socket> {
        on_socket!(&stream, socket => socket.set_nonblocking(true)?, Stream::Other(_) => ());
        if let Stream::Tcp(socket) = &stream {
            // Nagle's delay costs 44 ms where two writes follow each other. A socket that refuses it still works.
            let _ = socket.set_nodelay(true);
        }
        Ok(Socket { stream, mode: AtomicU8::new(Socket::FRESH) })
    }

    /// Takes over any stream.
    pub(crate) fn over(stream: impl Read + Write + Send + 'static) -> Socket {
        Socket { stream: Stream::Other(Mutex::new(Box::new(stream))), mode: AtomicU8::new(Socket::WAITS) }
    }

    /// Reads what is there. `WouldBlock` and `TimedOut` mean: nothing yet.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| {
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
        retry(|| match (&self.stream, slices) {
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

    /// Chooses whether reads and writes return at once or wait for at most one slice.
    pub(super) fn set_wait(&self, wait: Wait) -> io::Result<()> {
        let mode = self.mode.load(Ordering::Relaxed);
        let waits = wait == Wait::Slice;
        if waits == (mode == Socket::WAITS) {
            return Ok(());
        }
        on_socket!(&self.stream, socket => {
            if mode == Socket::FRESH {
                socket.set_read_timeout(Some(SLICE))?;
                socket.set_write_timeout(Some(SLICE))?;
            }
            socket.set_nonblocking(!waits)?;
            self.mode.store(if waits { Socket::WAITS } else { Socket::RETURNS }, Ordering::Relaxed);
        }, Stream::Other(_) => ());
        Ok(())
    }

    /// Whether reads and writes may wait.
    pub(super) fn waits(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == Socket::WAITS
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

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
