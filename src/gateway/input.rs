//! The content of a request as the application reads it: `wsgi.input`.
//!
//! PEP 3333, "Input and Error Streams" (P-IN-01 to P-IN-11). All clones of an environ share one input and its position. The
//! end is known: after it every read gives 0 (P-IN-02). A client that breaks off is an error, never a quiet end (P-IN-07).
//! How content arrives (lengths, chunks, deadlines) is the server's affair.

use std::io::{self, BufRead, Read};
use std::sync::{Mutex, MutexGuard, TryLockError};

/// The content of a request, as `Read` and `BufRead` (`read_line`, `lines`, `read_until`, `split`).
///
/// It comes from [`Environ::input`](crate::Environ::input) and ends where the content ends. While one is alive, a second one
/// reads an error: two readers would tear the content apart.
///
/// # Errors
/// A read fails with `UnexpectedEof` when the client broke off, `TimedOut` when it stopped sending, `InvalidData` when the
/// content is malformed, and `FileTooLarge` when it passes the server's limit. An application may pass the error on with `?`: the server
/// then answers 400, 408 or 413 by itself.
///
/// ```
/// use std::io::{self, BufRead};
/// use doorway::{Body, Environ, StartResponse};
///
/// fn count_lines(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
///     let mut lines = 0;
///     for line in environ.input().lines() {
///         line?;
///         lines += 1;
///     }
///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     Ok(Body::from(format!("{lines} lines\n")))
/// }
/// # let response = doorway::testing::Request::post("/", "one\ntwo\n").call(&count_lines);
/// # assert_eq!(response.text(), "2 lines\n");
/// ```
///
/// It only reads. Its end and its place on the connection are the server's:
///
/// ```compile_fail,E0599
/// fn application(environ: &doorway::Environ) {
///     environ.input().close(); // P-IN-06
/// }
/// ```
pub struct Input<'environ> {
    /// Nothing while another reader is alive.
    pub(super) slot: Option<MutexGuard<'environ, Slot>>,
}

/// The place in an environ where the server lays the content. It is empty when the call is over: what is still on the connection belongs to
/// the next request.
pub(super) type Slot = Option<Box<dyn BufRead + Send>>;

impl<'environ> Input<'environ> {
    pub(super) fn new(slot: &'environ Mutex<Slot>) -> Input<'environ> {
        let slot = match slot.try_lock() {
            Ok(slot) => Some(slot),
            // A panic while reading does not make the content unreadable: its state is the server's.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        Input { slot }
    }

    /// Puts what was read back in front of whoever reads next, clones of the environ included.
    pub(crate) fn put_back(&mut self, content: Vec<u8>) {
        if let Some(slot) = &mut self.slot {
            **slot = Some(Box::new(io::Cursor::new(content)));
        }
    }

    fn source(&mut self) -> io::Result<&mut dyn BufRead> {
        match self.slot.as_deref_mut() {
            Some(Some(content)) => Ok(content),
            Some(None) => Err(io::Error::other("the call that this input belongs to has ended")),
            None => Err(io::Error::new(io::ErrorKind::ResourceBusy, "another reader of this input is alive")),
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source()?.read(buffer)
    }

    // The server knows how much is to come.
    fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        self.source()?.read_to_end(out)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(content) = self.source() {
            content.consume(amount);
        }
    }
}
