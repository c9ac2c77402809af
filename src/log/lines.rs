//! The lines of the two logs.
//!
//! Whatever a client sent is escaped before it reaches a log, because a line feed would forge a line and an escape sequence would
//! reach a terminal.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Access, Answer, Log, Queue, Report};
use crate::http::date;
use crate::http::framing::push_decimal;

impl fmt::Display for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Vec::new();
        push_access(&mut line, self, &mut Stamp::default(), SystemTime::now());
        f.write_str(&String::from_utf8_lossy(&line))
    }
}

/// Adds the line of a request that was answered just now. It is made for every request, in 1,500 instructions; by the formatting of `std` in 5,300.
pub(super) fn push_access(line: &mut Vec<u8>, access: &Access<'_>, stamp: &mut Stamp, now: SystemTime) {
    let Access { environ, status, bytes, .. } = access;
    push_escaped(line, environ.bytes("REMOTE_ADDR").unwrap_or(b"-"));
    line.extend_from_slice(b" - - [");
    line.extend_from_slice(stamp.at(now));
    line.extend_from_slice(b"] \"");
    push_escaped(line, environ.bytes("REQUEST_METHOD").unwrap_or_default());
    line.push(b' ');
    push_escaped(line, environ.bytes("REQUEST_URI").unwrap_or_default());
    line.push(b' ');
    push_escaped(line, environ.bytes("SERVER_PROTOCOL").unwrap_or_default());
    line.extend_from_slice(b"\" ");
    push_decimal(line, (*status).into());
    line.push(b' ');
    push_decimal(line, *bytes);
    line.push(b' ');
    push_decimal(line, u64::try_from(access.duration().as_micros()).unwrap_or(u64::MAX));
    line.extend_from_slice(b"us");
}

/// The time as a line has it, made once a second: `01/Jan/2026:12:00:00 +0000`.
#[derive(Default)]
pub(super) struct Stamp {
    second: Option<u64>,
    text: [u8; 26],
}

impl Stamp {
    fn at(&mut self, time: SystemTime) -> &[u8] {
        let second = time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        if self.second != Some(second) {
            let [_, _, _, _, _, d1, d2, _, m1, m2, m3, _, y1, y2, y3, y4, _, time @ ..] = date::imf_fixdate(second);
            let [h1, h2, _, n1, n2, _, s1, s2, ..] = time;
            self.text = [
                d1, d2, b'/', m1, m2, m3, b'/', y1, y2, y3, y4, b':', h1, h2, b':', n1, n2, b':', s1, s2, b' ', b'+',
                b'0', b'0', b'0', b'0',
            ];
            self.second = Some(second);
        }
        &self.text
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
            write!(f, " request \"{}\",", escaped(self.request))?;
        }
        match self.answer {
            Answer::Status(status) => write!(f, " client got {status}")?,
            Answer::Cut => f.write_str(" response cut")?,
            Answer::Sent => f.write_str(" response sent")?,
            Answer::Closed => f.write_str(" closed")?,
            Answer::Nothing => {}
        }
        if !self.detail.is_empty() {
            let between = if self.answer == Answer::Nothing { "" } else { "," };
            write!(f, "{between} {}", escaped(self.detail.as_bytes()))?;
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
            self.queue.access(access);
        }
    }

    fn error(&self, report: &Report<'_>) {
        self.queue.report(report, report);
    }

    fn application(&self, text: &str) {
        self.queue.line(&text.strip_suffix('\n').unwrap_or(text));
    }
}

/// Adds bytes with quotes, backslashes, controls and everything beyond ASCII as `\xHH`.
fn push_escaped(line: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.iter().all(|byte| is_plain(*byte)) {
        return line.extend_from_slice(bytes);
    }
    for byte in bytes {
        match is_plain(*byte) {
            true => line.push(*byte),
            // Memory takes all there is.
            false => drop(write!(line, "\\x{byte:02X}")),
        }
    }
}

/// The same as text.
fn escaped(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    push_escaped(&mut text, bytes);
    String::from_utf8_lossy(&text).into_owned()
}

fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::cause::Cause;

    #[test]
    fn an_access_line_is_in_the_common_format() {
        let environ = crate::testing::Request::get("/a?b").environ();
        let time = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let access = Access { environ: &environ, status: 200, bytes: 14, begin: Instant::now() };
        let mut line = Vec::new();
        push_access(&mut line, &access, &mut Stamp::default(), time);
        let line = String::from_utf8(line).unwrap();
        let duration = line.strip_prefix("127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b HTTP/1.1\" 200 14 ");
        let duration = duration.and_then(|rest| rest.strip_suffix("us")).unwrap_or_else(|| panic!("{line}"));
        assert!(duration.parse::<u64>().is_ok(), "{line}");
        assert!(access.to_string().contains("\"GET /a?b HTTP/1.1\" 200 14 "));
    }

    #[test]
    fn the_time_of_a_line_is_that_of_the_clock_whichever_way_it_goes() {
        let mut stamp = Stamp::default();
        for (seconds, expected) in [
            (0, "01/Jan/1970:00:00:00 +0000"),
            (784_111_777, "06/Nov/1994:08:49:37 +0000"),
            (784_111_778, "06/Nov/1994:08:49:38 +0000"),
            (951_827_696, "29/Feb/2000:12:34:56 +0000"),
            (784_111_777, "06/Nov/1994:08:49:37 +0000"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            (0..2).for_each(|_| assert_eq!(stamp.at(time), expected.as_bytes()));
        }
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
