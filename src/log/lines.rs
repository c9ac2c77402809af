//! The lines of the two logs.
//!
//! Whatever a client sent is escaped before it reaches a log, because a line feed would forge a line and an escape sequence would
//! reach a terminal.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Access, Answer, Log, Queue, Report};
use crate::http::date;

impl fmt::Display for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Line { access: self, time: SystemTime::now(), duration: self.duration() }.fmt(f)
    }
}

/// The line of an answered request at a time.
struct Line<'a> {
    access: &'a Access<'a>,
    time: SystemTime,
    duration: Duration,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access { environ, status, bytes, .. } = self.access;
        match environ.bytes("REMOTE_ADDR") {
            Some(address) => write_escaped(f, address)?,
            None => f.write_str("-")?,
        }
        f.write_str(" - - [")?;
        write_time(f, self.time)?;
        f.write_str("] \"")?;
        write_escaped(f, environ.method().as_bytes())?;
        f.write_str(" ")?;
        write_escaped(f, environ.bytes("REQUEST_URI").unwrap_or_default())?;
        f.write_str(" ")?;
        write_escaped(f, environ.server_protocol().as_bytes())?;
        write!(f, "\" {status} {bytes} {}us", self.duration.as_micros() as u64)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        if let Some((address, port)) = self.peer {
            match address {
                IpAddr::V4(address) => write!(f, " peer {address}:{port},")?,
                IpAddr::V6(address) => write!(f, " peer [{address}]:{port},")?,
            }
        }
        if !self.request.is_empty() {
            f.write_str(" request \"")?;
            write_escaped(f, self.request)?;
            f.write_str("\",")?;
        }
        match self.answer {
            Answer::Status(status) => write!(f, " client got {status}")?,
            Answer::Cut => f.write_str(" response cut")?,
            Answer::Sent => f.write_str(" response sent")?,
            Answer::Closed => f.write_str(" closed")?,
            Answer::Nothing => {}
        }
        if !self.detail.is_empty() {
            f.write_str(if self.answer == Answer::Nothing { " " } else { ", " })?;
            write_escaped(f, self.detail.as_bytes())?;
        }
        Ok(())
    }
}

/// Writes lines to anything that takes bytes, through a [`Queue`]: no request waits for that. The default of a server is
/// `Lines::errors(std::io::stderr())`.
///
/// ```
/// use doorway::{Server, log::Lines};
///
/// # fn main() -> std::io::Result<()> {
/// let server = Server::bind("127.0.0.1:0")?.log(Lines::all(std::io::stderr()));
/// # Ok(())
/// # }
/// ```
pub struct Lines {
    with_access: bool,
    queue: Queue,
}

impl Lines {
    /// Errors only.
    pub fn errors(writer: impl Write + Send + 'static) -> Lines {
        Lines { with_access: false, queue: Queue::new(writer) }
    }

    /// A line for each request as well.
    pub fn all(writer: impl Write + Send + 'static) -> Lines {
        Lines { with_access: true, queue: Queue::new(writer) }
    }
}

impl Log for Lines {
    fn access(&self, access: &Access<'_>) {
        if self.with_access {
            self.queue.line(access);
        }
    }

    fn error(&self, report: &Report<'_>) {
        self.queue.report(report, report);
    }

    fn application(&self, text: &str) {
        self.queue.line(&text.strip_suffix('\n').unwrap_or(text));
    }
}

/// `01/Jan/2026:12:00:00 +0000`.
fn write_time(f: &mut fmt::Formatter<'_>, time: SystemTime) -> fmt::Result {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let civil = date::civil(seconds);
    let month = std::str::from_utf8(civil.month_name()).unwrap_or_default();
    write!(f, "{:02}/{month}/{:04}:", civil.day, civil.year)?;
    write!(f, "{:02}:{:02}:{:02} +0000", civil.hour, civil.minute, civil.second)
}

/// Writes bytes with quotes, backslashes, controls and everything beyond ASCII as `\xHH`.
fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for run in bytes.chunk_by(|a, b| is_plain(*a) == is_plain(*b)) {
        match std::str::from_utf8(run) {
            Ok(text) if run.first().copied().is_some_and(is_plain) => f.write_str(text)?,
            _ => run.iter().try_for_each(|byte| write!(f, "\\x{byte:02X}"))?,
        }
    }
    Ok(())
}

fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cause::Cause;

    #[test]
    fn an_access_line_is_in_the_common_format() {
        let environ = crate::testing::Request::get("/a?b").environ();
        let time = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let access = Access { environ: &environ, status: 200, bytes: 14, begin: Instant::now() };
        let line = Line { access: &access, time, duration: Duration::from_micros(85) }.to_string();
        assert_eq!(line, "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b HTTP/1.1\" 200 14 85us");
        assert!(access.to_string().contains("\"GET /a?b HTTP/1.1\" 200 14 "));
    }

    #[test]
    fn a_line_of_the_access_log_is_one_request_whatever_its_protocol_is_called() {
        let mut environ = crate::testing::Request::get("/a").environ();
        environ.set("SERVER_PROTOCOL", "HTTP/1.1\" 200 5 1us\n192.0.2.7 - - [");
        let access = Access { environ: &environ, status: 404, bytes: 14, begin: Instant::now() };
        let line = access.to_string();
        assert!(line.contains("HTTP/1.1\\x22 200 5 1us\\x0A192.0.2.7 - - [\" 404 14 "), "{line}");
    }

    #[test]
    fn nothing_a_client_sent_reaches_a_log_as_a_control_or_a_quote() {
        let report = Report {
            cause: Cause::FieldValue,
            peer: None,
            request: b"GET /\x1b[2J\"\\\xff HTTP/1.1",
            answer: Answer::Status(400),
            detail: "line\nfeed ä",
        };
        let line = report.to_string();
        assert!(
            line.ends_with(
                "request \"GET /\\x1B[2J\\x22\\x5C\\xFF HTTP/1.1\", client got 400, line\\x0Afeed \\xC3\\xA4"
            )
        );
    }
}
