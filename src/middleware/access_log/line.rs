//! The formats of the access log: common, combined and JSON lines.
//!
//! Whatever a client can choose is escaped, because a line feed would forge a line, a quote a field, and an escape sequence reaches the
//! terminal of whoever reads the log. A field that is not there is `-`, or `null` in JSON.

use std::fmt::{self, Display, Write};
use std::time::UNIX_EPOCH;

use super::Served;
use crate::gateway::Environ;
use crate::http::date::{Civil, civil};
use crate::middleware::basic_auth::credentials;

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
    let (Civil { year, month, day, hour, minute, second, .. }, millisecond) = moment(served);
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
    let civil = moment(served).0;
    let (month, Civil { year, day, hour, minute, second, .. }) = (civil.month_name().escape_ascii(), civil);
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

/// When it was asked, in GMT, with the milliseconds of the second.
fn moment(served: &Served<'_>) -> (Civil, u32) {
    let since = served.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (civil(since.as_secs()), since.subsec_millis())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::Request;

    #[test]
    fn a_line_has_the_moment_of_the_request_in_gmt() {
        let environ = Request::get("/").environ();
        let served = Served {
            environ: &environ,
            time: UNIX_EPOCH + Duration::from_millis(784_111_777_007),
            status: 200,
            bytes: 14,
            duration: Duration::from_micros(85),
        };
        let expected = "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET / HTTP/1.1\" 200 14 85us\n";
        assert_eq!(common(&served), expected);
        assert!(json(&served).starts_with("{\"time\":\"1994-11-06T08:49:37.007Z\","), "{}", json(&served));
    }
}
