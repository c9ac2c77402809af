//! The formats of the access log: common, combined and JSON lines.
//!
//! Whatever a client can choose is escaped, because a line feed would forge a line, a quote a field, and an escape sequence reaches the
//! terminal of whoever reads the log. A field that is not there is `-`, or `null` in JSON.

use std::fmt::{self, Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Served;
use crate::gateway::Environ;
use crate::middleware::basic_auth::credentials;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `192.0.2.7 - ada [01/Jan/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 14 85us`.
pub(super) fn common(served: &Served<'_>) -> String {
    format!("{} {}us\n", beginning(served), served.duration.as_micros() as u64)
}

/// The same with Referer and User-Agent.
pub(super) fn combined(served: &Served<'_>) -> String {
    let field = |name| Text(served.environ.header_bytes(name).unwrap_or(b"-"));
    let (referer, agent) = (field("Referer"), field("User-Agent"));
    format!("{} \"{referer}\" \"{agent}\" {}us\n", beginning(served), served.duration.as_micros() as u64)
}

/// One object; the keys are always the same.
pub(super) fn json(served: &Served<'_>) -> String {
    let environ = served.environ;
    let Civil { year, month, day, hour, minute, second, millisecond } = Civil::of(served.time);
    let mut line =
        format!("{{\"time\":\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z\"");
    let (user, target) = (user_of(environ), target_of(environ));
    let texts = [
        ("remote_addr", environ.bytes("REMOTE_ADDR")),
        ("user", user.as_deref()),
        ("method", Some(environ.method().as_bytes())),
        ("target", Some(&*target)),
        ("protocol", Some(environ.server_protocol().as_bytes())),
        ("host", environ.header_bytes("Host")),
        ("referer", environ.header_bytes("Referer")),
        ("user_agent", environ.header_bytes("User-Agent")),
    ];
    for (name, value) in texts {
        // Writing to a String cannot fail.
        let _ = write!(line, ",\"{name}\":{}", Json(value));
    }
    let duration = served.duration.as_micros() as u64;
    let _ = writeln!(line, ",\"status\":{},\"bytes\":{},\"duration_us\":{duration}}}", served.status, served.bytes);
    line
}

/// What the text formats have in common.
fn beginning(served: &Served<'_>) -> String {
    let environ = served.environ;
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of(served.time);
    let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&"-");
    let (user, target) = (user_of(environ), target_of(environ));
    format!(
        "{} - {} [{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000] \"{} {} {}\" {} {}",
        Word(environ.bytes("REMOTE_ADDR")),
        Word(user.as_deref()),
        Text(environ.method().as_bytes()),
        Text(&target),
        Text(environ.server_protocol().as_bytes()),
        served.status,
        served.bytes,
    )
}

/// Who asks, as far as somebody says so.
fn user_of(environ: &Environ) -> Option<Vec<u8>> {
    let user = environ.bytes("REMOTE_USER").map(<[u8]>::to_vec);
    let user = user.or_else(|| Some(credentials(environ.header_bytes("Authorization")?)?.0));
    user.filter(|user| !user.is_empty())
}

/// The target as it was sent; at a door that does not know it, the path that was decoded from it.
fn target_of(environ: &Environ) -> Vec<u8> {
    environ.bytes("REQUEST_URI").map_or_else(|| [environ.script_name(), environ.path_info()].concat(), <[u8]>::to_vec)
}

/// Bytes within quotes.
struct Text<'a>(&'a [u8]);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0, |byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\')
    }
}

/// Bytes without quotes around them, where a space would forge a field.
struct Word<'a>(Option<&'a [u8]>);

impl Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.filter(|bytes| !bytes.is_empty()).unwrap_or(b"-");
        write_escaped(f, bytes, |byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    }
}

/// Writes what is not plain as `\xHH`.
fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8], is_plain: fn(u8) -> bool) -> fmt::Result {
    bytes.iter().try_for_each(|byte| match byte {
        plain if is_plain(*plain) => f.write_char(char::from(*plain)),
        other => write!(f, "\\x{other:02X}"),
    })
}

/// A string of JSON (RFC 8259 section 7), or `null`. Bytes that are not UTF-8 become U+FFFD.
struct Json<'a>(Option<&'a [u8]>);

impl Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0 else {
            return f.write_str("null");
        };
        f.write_char('"')?;
        for character in String::from_utf8_lossy(bytes).chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                // All of them, though JSON asks for those below U+0020 only: U+009B begins a sequence at some terminals.
                control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

/// A moment of the calendar, in UTC.
struct Civil {
    year: u64,
    month: usize,
    day: usize,
    hour: u64,
    minute: u64,
    second: u64,
    millisecond: u32,
}

impl Civil {
    fn of(time: SystemTime) -> Civil {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs();
        let (mut year, mut days) = (1970, seconds / 86_400);
        while days >= days_of_year(year) {
            days -= days_of_year(year);
            year += 1;
        }
        let february = if days_of_year(year) == 366 { 29 } else { 28 };
        let (mut month, mut day) = (1, usize::try_from(days).unwrap_or_default());
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if day < length {
                break;
            }
            day -= length;
            month += 1;
        }
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        Civil { year, month, day: day + 1, hour, minute, second, millisecond: since.subsec_millis() }
    }
}

fn days_of_year(year: u64) -> u64 {
    if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_the_one_that_the_calendar_says() {
        // As `date -u -d @N` says it.
        for (seconds, expected) in [
            (0, "1970-1-1 0:0:0"),
            (86_399, "1970-1-1 23:59:59"),
            (31 * 86_400 - 1, "1970-1-31 23:59:59"),
            (31 * 86_400, "1970-2-1 0:0:0"),
            (68_169_599, "1972-2-28 23:59:59"),
            (68_169_600, "1972-2-29 0:0:0"),
            (784_111_777, "1994-11-6 8:49:37"),
            (951_782_400, "2000-2-29 0:0:0"),
            (978_307_199, "2000-12-31 23:59:59"),
            (1_767_268_800, "2026-1-1 12:0:0"),
            (4_107_542_400, "2100-3-1 0:0:0"),
        ] {
            let Civil { year, month, day, hour, minute, second, .. } =
                Civil::of(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(format!("{year}-{month}-{day} {hour}:{minute}:{second}"), expected);
        }
        assert_eq!(Civil::of(UNIX_EPOCH + Duration::from_millis(1_007)).millisecond, 7);
    }
}
