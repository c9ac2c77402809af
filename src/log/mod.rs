//! What the server says about its work: one line for each request (access), one for each thing that went wrong (error), and counts of all of it.
//!
//! The library writes nowhere else. What is said are values ([`Access`], [`Report`]); [`Lines`] writes them as text, by a [`Queue`] that
//! keeps nobody waiting, and whoever wants another form implements [`Log`].

mod lines;
mod queue;
mod scoreboard;
mod stats;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use lines::Lines;
pub use queue::Queue;
pub(crate) use scoreboard::{Full, Score, Scoreboard};
pub(crate) use stats::{Counters, Phases};
pub use stats::{Phase, Stats};

use crate::cause::Cause;
use crate::gateway::{Environ, ErrorStream};

/// Where a server reports to. Every method may be called by several threads at once and should be quick.
///
/// ```
/// use doorway::log::{Access, Log, Report};
///
/// /// Counts, and keeps nothing.
/// struct Counter(std::sync::atomic::AtomicUsize);
///
/// impl Log for Counter {
///     fn access(&self, _access: &Access<'_>) {
///         self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///     }
///     fn error(&self, _report: &Report<'_>) {}
/// }
/// ```
pub trait Log: Send + Sync + 'static {
    /// A request was answered. The default does nothing.
    fn access(&self, _access: &Access<'_>) {}

    /// Something went wrong: a refusal, a cut, an error of the application.
    fn error(&self, report: &Report<'_>);

    /// A connection was closed as it should be, without anything having gone wrong: [`Cause::FirstByteDeadline`],
    /// [`Cause::IdleDeadline`] or [`Cause::Stopping`]. The default does nothing, since every idle client ends so.
    fn closed(&self, report: &Report<'_>) {
        let _ = report;
    }

    /// Text that an application wrote to its error stream, in one piece.
    fn application(&self, text: &str) {
        let _ = text;
    }
}

/// One answered request. `Display` is the common log format, followed by the time in microseconds.
///
/// ```text
/// 127.0.0.1 - - [01/Jan/2026:12:00:00 +0000] "GET /hello HTTP/1.1" 200 14 85us
/// ```
pub struct Access<'a> {
    /// The request.
    pub environ: &'a Environ,
    /// The status that was sent.
    pub status: u16,
    /// Bytes of content that were sent, or queued for a slow client; without heads and framing.
    pub bytes: u64,
    /// When the whole head was seen.
    pub(crate) begin: Instant,
}

impl Access<'_> {
    /// From the whole head to now, which is the end of the response's hand-over.
    ///
    /// The clock is read when this is called, and so for nobody who keeps no access log.
    pub fn duration(&self) -> Duration {
        self.begin.elapsed()
    }
}

/// One thing that went wrong. `Display` is one line: the cause with its number, peer, request line, what the client got, detail.
///
/// ```text
/// 1031 host-missing: an HTTP/1.1 request without a Host field. peer 127.0.0.1:40312, request "GET / HTTP/1.1", client got 400
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// What it was.
    pub cause: Cause,
    /// The other end of the connection; `None` on a Unix socket and where there is no connection.
    pub peer: Option<(IpAddr, u16)>,
    /// The first line of the request as it was sent, as far as it had arrived; at most 200 bytes.
    pub request: &'a [u8],
    /// What the client got.
    pub answer: Answer,
    /// More about it, such as the text of an error; may be empty.
    pub detail: &'a str,
}

/// What became of a request that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A response with this status.
    Status(u16),
    /// The response had begun and was cut off visibly.
    Cut,
    /// The response was sent, though not as the application meant it.
    Sent,
    /// The connection was closed without a response.
    Closed,
    /// It concerns no client.
    Nothing,
}

/// Leads the error stream of an environ to a log.
pub(crate) struct ToLog(pub(crate) Arc<dyn Log>);

impl ErrorStream for ToLog {
    fn write(&self, text: &str) {
        self.0.application(text);
    }
}
