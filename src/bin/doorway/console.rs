//! What the command says while it serves: one line for each request, for the person before the terminal or for a file.
//!
//! ```text
//! 200 GET  /                                  1.2 kB     0.4 ms
//! 404 GET  /favicon.ico                         10 B     0.1 ms
//! ```
//!
//! Whatever a client or an upstream sent is escaped before it gets here, or here: a control character would reach the terminal.

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use doorway::Environ;
use doorway::log::{Access, Log, Queue, Report};

use crate::log_file::LogFile;
use crate::options::Format;

/// The log of the command.
pub struct Console {
    /// How requests are shown: in one of its own two formats, or not by this.
    pub requests: Format,
    /// Whether what live reload asks is its own affair.
    pub reload: bool,
    pub colour: bool,
    pub queue: Queue,
}

// Select graphic rendition, ECMA-48 8.3.117.
const PLAIN: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";

impl Console {
    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn short(&self, environ: &Environ, status: u16, bytes: u64, duration: Duration) -> String {
        let colour = match status {
            ..300 => GREEN,
            300..400 => CYAN,
            400..500 => YELLOW,
            _ => RED,
        };
        let status = self.coloured(colour, &status.to_string());
        let target = escaped(environ.bytes("REQUEST_URI").unwrap_or_default());
        let method = escaped(environ.method().as_bytes());
        let figures = format!("{:>9}{:>10}", size(bytes), time(duration));
        let figures = self.coloured(if duration >= SLOW { YELLOW } else { DIM }, &figures);
        format!("{status} {method:<4} {target:<42} {figures}")
    }
}

/// From here on a request is shown as slow.
const SLOW: Duration = Duration::from_secs(1);

impl Log for Console {
    fn access(&self, access: &Access<'_>) {
        if self.reload && crate::reload::is_own(access.environ.path_info()) {
            return;
        }
        match self.requests {
            Format::Short => {
                self.queue.line(&Late(|| self.short(access.environ, access.status, access.bytes, access.duration())))
            }
            Format::Common => self.queue.access(access),
            _ => {}
        }
    }

    fn error(&self, report: &Report<'_>) {
        self.queue.report(report, &Late(|| self.coloured(YELLOW, &report.to_string())));
    }

    fn application(&self, text: &str) {
        let text = text.trim_end_matches('\n').as_bytes();
        self.queue.line(&Late(|| shown(text, |letter| letter != '\n' && must_be_escaped(letter))));
    }
}

/// Text that is made when it is shown: not for a log that takes no line.
struct Late<F>(F);

impl<F: Fn() -> String> fmt::Display for Late<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.0)())
    }
}

/// Where everything goes that the command says while it serves: a log that is stuck must not keep anything, an end least of all.
pub fn queue() -> Queue {
    QUEUE.get_or_init(|| Queue::new(std::io::stderr())).clone()
}

/// Has it go to a file, unless something was said already.
pub fn log_to(file: LogFile) {
    QUEUE.get_or_init(|| Queue::new(file));
}

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Says something beside the log: whole lines, in one piece.
pub fn say(text: &str) {
    // It takes all, or drops it.
    let _ = queue().write_all(text.as_bytes());
}

/// Text for a terminal that may be a traceback: controls but tabs, and what is no text, as `\xHH`.
pub fn printable(bytes: &[u8]) -> String {
    shown(bytes, |letter| letter.is_control() && letter != '\t')
}

/// Text for a terminal: controls (C1 too), quotes, backslashes and what is no text as `\xHH`.
fn escaped(bytes: &[u8]) -> String {
    shown(bytes, must_be_escaped)
}

fn must_be_escaped(letter: char) -> bool {
    letter.is_control() || letter == '"' || letter == '\\'
}

fn shown(bytes: &[u8], is_escaped: fn(char) -> bool) -> String {
    let mut out = String::new();
    let push_hex = |out: &mut String, bytes: &[u8]| {
        bytes.iter().for_each(|byte| out.push_str(&format!("\\x{byte:02X}")));
    };
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match is_escaped(letter) {
                true => push_hex(&mut out, letter.encode_utf8(&mut [0; 4]).as_bytes()),
                false => out.push(letter),
            }
        }
        push_hex(&mut out, chunk.invalid());
    }
    out
}

/// `10 B`, `1.2 kB`, `34 MB`: powers of 1000, as files are shown elsewhere.
fn size(bytes: u64) -> String {
    scaled(bytes, 1000, &["B", "kB", "MB", "GB", "TB"])
}

/// `0.4 ms`, `12 ms`, `3.4 s`.
fn time(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    scaled(micros, 1000, &["us", "ms", "s"])
}

/// In the largest unit that leaves at least one whole; one decimal below ten.
fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let (mut whole, mut rest, mut at) = (number, 0, 0);
    while whole >= step && at + 1 < units.len() {
        (rest, whole, at) = (whole % step, whole / step, at + 1);
    }
    match at > 0 && whole < 10 {
        true => format!("{whole}.{} {}", rest * 10 / step, units[at]),
        false => format!("{whole} {}", units[at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pieces(std::sync::mpsc::Sender<Vec<u8>>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(colour: bool, target: &str, status: u16, micros: u64) -> String {
        let environ = doorway::testing::Request::get(target).environ();
        let console = Console { requests: Format::Short, reload: false, colour, queue: Queue::new(std::io::sink()) };
        console.short(&environ, status, 1_234, Duration::from_micros(micros))
    }

    #[test]
    fn a_request_is_a_line_that_a_person_can_read() {
        let line = logged(false, "/a?b", 200, 412);
        assert_eq!(line, format!("200 GET  {:<42}    1.2 kB    412 us", "/a?b"));
        assert!(logged(false, "/", 404, 12_345).ends_with(" 12 ms"));
        assert!(logged(false, "/", 500, 3_456_789).ends_with(" 3.4 s"));
        assert!(!logged(false, "/", 500, 3_456_789).contains('\x1b'));
    }

    #[test]
    fn colours_tell_the_class_of_the_status_and_end_where_they_should() {
        for (status, colour) in [(200, GREEN), (304, CYAN), (404, YELLOW), (502, RED)] {
            let line = logged(true, "/", status, 1);
            assert!(line.starts_with(&format!("{colour}{status}{PLAIN} ")) && line.ends_with("\x1b[0m"), "{line:?}");
        }
    }

    #[test]
    fn no_control_character_reaches_a_terminal_raw() {
        assert_eq!(escaped(b"/\x1b[2J\x07\x7f\"\\\xff"), r"/\x1B[2J\x07\x7F\x22\x5C\xFF");
        assert_eq!(escaped("/\u{9b}2Jä".as_bytes()), r"/\xC2\x9B2Jä");
        assert_eq!(printable(b"  File \"a.py\"\t\\\x1b[2J\xff"), "  File \"a.py\"\t\\\\x1B[2J\\xFF");
        let (sender, pieces) = std::sync::mpsc::channel();
        let console =
            Console { requests: Format::Off, reload: false, colour: false, queue: Queue::new(Pieces(sender)) };
        console.application("one\x1b[31m\ntwo\n");
        assert_eq!(pieces.recv().unwrap(), b"one\\x1B[31m\ntwo\n");
    }

    #[test]
    fn figures_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_999, "9.9 kB"),
            (12_345, "12 kB"),
            (5_000_000_000_000_000, "5000 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
