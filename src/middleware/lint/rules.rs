//! The rules that can be read off a value: an environ, a refused status, the fields of a head.
//!
//! rules V-16 to V-24, V-27 to V-31, V-36, V-42. Pure functions: they remember nothing and tell nobody. Which fields
//! are refused is asked of [`Headers::check`], so that it is said in one place.

use super::Level;
use crate::cause::Cause;
use crate::gateway::{Environ, Headers};

/// What is wrong, before it is known who did it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) rule: &'static str,
    pub(super) level: Level,
    pub(super) text: String,
}

impl Fault {
    pub(super) fn error(rule: &'static str, text: impl Into<String>) -> Fault {
        Fault { rule, level: Level::Error, text: text.into() }
    }

    pub(super) fn warning(rule: &'static str, text: impl Into<String>) -> Fault {
        Fault { rule, level: Level::Warning, text: text.into() }
    }

    pub(super) fn info(rule: &'static str, text: impl Into<String>) -> Fault {
        Fault { rule, level: Level::Info, text: text.into() }
    }
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// V-16 to V-24.
pub(super) fn check_environ(environ: &Environ) -> Vec<Fault> {
    let mut faults = Vec::new();
    for name in ["REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL"] {
        if environ.bytes(name).is_none_or(<[u8]>::is_empty) {
            faults.push(Fault::error("V-16", format!("{name} is missing or empty")));
        }
    }
    for name in ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"] {
        if environ.bytes(name).is_some() {
            faults.push(Fault::error("V-17", format!("{name} is there, and should go without HTTP_")));
        }
    }
    if environ.bytes("QUERY_STRING").is_none() {
        faults.push(Fault::warning("V-18", "QUERY_STRING is missing, and should be empty"));
    }
    let method = environ.bytes("REQUEST_METHOD").unwrap_or_default();
    if !method.is_empty() && !METHODS.iter().any(|known| known.as_bytes() == method) {
        faults.push(Fault::warning("V-20", format!("the method {} is unknown", method.escape_ascii())));
    }
    let (script_name, path_info) = (environ.script_name(), environ.path_info());
    for (name, path) in [("SCRIPT_NAME", script_name), ("PATH_INFO", path_info)] {
        if !path.is_empty() && !path.starts_with(b"/") {
            faults.push(Fault::error("V-21", format!("{name} does not start with /: {}", path.escape_ascii())));
        }
    }
    if script_name.is_empty() && path_info.is_empty() {
        faults.push(Fault::error("V-22", "SCRIPT_NAME and PATH_INFO are both empty, and PATH_INFO should be /"));
    }
    if script_name == b"/" {
        faults.push(Fault::error("V-23", "SCRIPT_NAME is /, and should be empty"));
    }
    let length = environ.bytes("CONTENT_LENGTH").unwrap_or_default();
    if !length.iter().all(u8::is_ascii_digit) {
        faults.push(Fault::error("V-24", format!("CONTENT_LENGTH is no number: {}", length.escape_ascii())));
    }
    faults
}

/// V-27 and V-28, for a status that was refused with this detail: its text in quotes.
pub(super) fn check_status(detail: &str) -> Fault {
    let bytes = detail.strip_prefix('"').unwrap_or(detail).as_bytes();
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let first = bytes.first().copied().unwrap_or_default();
    if digits != 3 || !(b'2'..=b'5').contains(&first) {
        Fault::error("V-27", format!("the status {detail} does not begin with a code from 200 to 599"))
    } else if bytes.get(3) != Some(&b' ') {
        Fault::error("V-28", format!("no space follows the code in the status {detail}"))
    } else {
        Fault::error("P-SR-02", format!("a control character in the status {detail}"))
    }
}

/// V-29 to V-31, V-36 and V-42.
pub(super) fn check_fields(headers: &Headers) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, value) in headers.iter() {
        faults.extend(check_field(name, value));
    }
    for name in ["Content-Type", "Content-Length", "Location"] {
        if headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).count() > 1 {
            faults.push(Fault::error("V-42", format!("{name} stands more than once")));
        }
    }
    faults
}

fn check_field(name: &[u8], value: &[u8]) -> Option<Fault> {
    let shown = name.escape_ascii();
    let refused = Headers::from(&[(name, value)]).check().err();
    Some(match refused.map(|(cause, _)| cause) {
        Some(Cause::HeaderName) => Fault::error("V-30", format!("the name \"{shown}\" is no token")),
        Some(Cause::HeaderValue) => Fault::error("V-31", format!("a control character in the value of {shown}")),
        Some(Cause::HopByHop) => Fault::error("V-36", format!("{shown} is the server's affair")),
        Some(Cause::StatusHeader) => Fault::error("V-29", "a field is called Status"),
        Some(_) => Fault::error("P-HDR-06", format!("{shown} is no number: {}", value.escape_ascii())),
        None if !is_usual(name) => Fault::warning("V-30", format!("the name {shown} is unusual")),
        None if value.contains(&b'\t') => Fault::info("V-31", format!("a tab in the value of {shown}")),
        None => return None,
    })
}

/// A letter, then letters, digits, `-` and `_`, none of the two at the end: what everybody on the way understands.
fn is_usual(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.last().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_27_and_v_28_tell_a_wrong_code_from_a_missing_space() {
        let rule = |status: &str| check_status(&format!("{status:?}")).rule;
        for status in ["", "abc OK", "20 OK", "2000 OK", "100 Continue", "600 Far", "２００ OK", " 200 OK"] {
            assert_eq!(rule(status), "V-27", "{status:?}");
        }
        for status in ["200", "200OK", "200\tOK", "404-Not Found"] {
            assert_eq!(rule(status), "V-28", "{status:?}");
        }
        assert_eq!(rule("200 OK\r\nX: y"), "P-SR-02");
    }

    #[test]
    fn v_30_unusual_names_are_a_warning_and_usual_ones_nothing() {
        for name in ["1st", "X.Y", "X-", "X_", "_X", "-", "~"] {
            let faults = check_fields(&Headers::from(&[(name, "v")]));
            assert_eq!(
                faults.iter().map(|fault| (fault.rule, fault.level)).collect::<Vec<_>>(),
                [("V-30", Level::Warning)]
            );
        }
        for name in ["X", "ETag", "Content-MD5", "x_y", "P3P"] {
            assert_eq!(check_fields(&Headers::from(&[(name, "v")])), []);
        }
    }
}
