//! The byte stream under a connection: a socket, or anything that reads and writes.
//!
//! A socket is either non-blocking (while it waits for its turn without a thread) or blocks for one [`SLICE`] at a time (while
//! a thread stays with it). Nothing here blocks longer, so total deadlines can be kept by whoever calls.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use super::settings::SLICE;

/// What a connection needs from what carries it. Reading and writing share it, so both take `&self`.
pub(super) trait Transport: Send + Sync {
    /// Reads what is there. `WouldBlock` means: nothing yet.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as is taken. `WouldBlock` means: nothing taken.
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Chooses whether reads and writes return at once or wait for at most one slice.
    fn wait(&self, wait: Wait) -> io::Result<()>;

    /// Whether reads and writes may wait.
    fn waits(&self) -> bool;

    /// Ends one or both directions, and tells whether this transport can. Errors are ignored: the peer may have been first.
    fn shutdown(&self, how: Shutdown) -> bool;
}

/// How long a read or write may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Not at all.
    No,
    /// One [`SLICE`].
    Slice,
}

/// A TCP or Unix socket.
pub(super) struct Socket {
    stream: Stream,
    mode: AtomicU8,
}

pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Runs one call on whichever socket it is.
macro_rules! on_stream {
    ($stream:expr, $socket:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($socket) => $call,
            #[cfg(unix)]
            Stream::Unix($socket) => $call,
        }
    };
}

impl Socket {
    const NON_BLOCKING: u8 = 0;
    const SLICES: u8 = 1;
    /// Non-blocking, and its timeouts have never been set.
    const FRESH: u8 = 2;

    /// Takes over an accepted socket: non-blocking, and without the delay that holds small writes back.
    pub(super) fn new(stream: Stream) -> io::Result<Socket> {
        on_stream!(&stream, socket => socket.set_nonblocking(true))?;
        match &stream {
            // Nagle's delay costs 44 ms where two writes follow each other. A socket that refuses it still works.
            Stream::Tcp(socket) => drop(socket.set_nodelay(true)),
            #[cfg(unix)]
            Stream::Unix(_) => {}
        }
        Ok(Socket { stream, mode: AtomicU8::new(Socket::FRESH) })
    }
}

impl Transport for Socket {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| on_stream!(&self.stream, socket => { let mut socket = socket; socket.read(buffer) }))
    }

    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        retry(|| match slices {
            [slice] => on_stream!(&self.stream, socket => { let mut socket = socket; socket.write(slice) }),
            slices => on_stream!(&self.stream, socket => { let mut socket = socket; socket.write_vectored(slices) }),
        })
    }

    fn wait(&self, wait: Wait) -> io::Result<()> {
        let mode = self.mode.load(Ordering::Relaxed);
        match wait {
            Wait::No if mode == Socket::SLICES => {
                on_stream!(&self.stream, socket => socket.set_nonblocking(true))?;
                self.mode.store(Socket::NON_BLOCKING, Ordering::Relaxed);
            }
            Wait::Slice if mode != Socket::SLICES => {
                if mode == Socket::FRESH {
                    on_stream!(&self.stream, socket => socket.set_read_timeout(Some(SLICE)))?;
                    on_stream!(&self.stream, socket => socket.set_write_timeout(Some(SLICE)))?;
                }
                on_stream!(&self.stream, socket => socket.set_nonblocking(false))?;
                self.mode.store(Socket::SLICES, Ordering::Relaxed);
            }
            Wait::No | Wait::Slice => {}
        }
        Ok(())
    }

    fn waits(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == Socket::SLICES
    }

    fn shutdown(&self, how: Shutdown) -> bool {
        let _ = on_stream!(&self.stream, socket => socket.shutdown(how));
        true
    }
}

/// Any stream that the caller owns: TLS, a serial line, a test. It blocks as long as it likes.
pub(super) struct Over<S>(Mutex<S>);

impl<S: Read + Write + Send> Over<S> {
    pub(super) fn new(stream: S) -> Over<S> {
        Over(Mutex::new(stream))
    }

    fn with<T>(&self, call: impl FnMut(&mut S) -> io::Result<T>) -> io::Result<T> {
        let mut call = call;
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match retry(|| call(&mut stream)) {
            // The stream has a deadline of its own, and it has passed.
            Err(error) if is_not_yet(&error) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)),
            result => result,
        }
    }
}

impl<S: Read + Write + Send> Transport for Over<S> {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|stream| stream.read(buffer))
    }

    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(|stream| {
            let written = stream.write_vectored(slices)?;
            stream.flush()?;
            Ok(written)
        })
    }

    fn wait(&self, _wait: Wait) -> io::Result<()> {
        Ok(())
    }

    fn waits(&self) -> bool {
        true
    }

    fn shutdown(&self, _how: Shutdown) -> bool {
        false
    }
}

/// Whether an error only says that the time was too short. A socket with a timeout says either, depending on the system.
pub(super) fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
