//! What arrives at a port that expects something else: recognised by its first bytes and named in the log.
//!
//! A front server that speaks the wrong protocol is the most frequent mistake of a deployment, and without a name it shows as silence on
//! both sides. Nothing is decided by these looks but the words of a log line and whether a client of HTTP gets an answer it can read.

use super::Door;

/// What the bytes look like.
fn recognise(bytes: &[u8]) -> Option<Spoken> {
    match *bytes {
        [0x16, 3, ..] => Some(Spoken::Tls),
        [1, 1, _, _, 0, 8, ..] | [1, 9, 0, 0, ..] => Some(Spoken::Door(Door::FastCgi)),
        // Its first variable: a name of at most 255 bytes that starts with a capital letter.
        [0 | 30, _, _, 0, length, 0, b'A'..=b'Z', ..] if length > 0 => Some(Spoken::Door(Door::Uwsgi)),
        _ if is_http(bytes) => Some(Spoken::Door(Door::Http)),
        _ if is_scgi(bytes) => Some(Spoken::Door(Door::Scgi)),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Door(Door),
    Tls,
}

/// A method in capital letters and a target.
pub(super) fn is_http(bytes: &[u8]) -> bool {
    let method = bytes.iter().take(12).take_while(|byte| byte.is_ascii_uppercase()).count();
    method >= 3 && bytes.get(method) == Some(&b' ') && matches!(bytes.get(method + 1), Some(b'/' | b'h' | b'*'))
}

/// A length and the first variable.
fn is_scgi(bytes: &[u8]) -> bool {
    let digits = bytes.iter().take(8).take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && bytes.get(digits..).is_some_and(|rest| rest.starts_with(b":CONTENT_LENGTH\0"))
}

/// Whether the bytes look like another protocol than that of the door.
pub(super) fn is_another(bytes: &[u8], door: Door) -> bool {
    recognise(bytes).is_some_and(|spoken| spoken != Spoken::Door(door))
}

/// What a log says about it.
pub(crate) fn mistake(bytes: &[u8], door: Door) -> Option<String> {
    // Nobody connects to a CGI program: what it reads was put together from its environment, in a form that looks like SCGI.
    if door == Door::Cgi {
        return None;
    }
    let spoken = recognise(bytes).filter(|spoken| *spoken != Spoken::Door(door))?;
    let name = |door: Door| match door {
        Door::Http => "HTTP",
        Door::Uwsgi => "uwsgi",
        Door::Scgi => "SCGI",
        Door::FastCgi => "FastCGI",
        Door::Cgi => "CGI",
    };
    let spoken = match spoken {
        Spoken::Door(door) => name(door),
        Spoken::Tls => "TLS",
    };
    // "an HTTP port" and "an SCGI port" are spoken with a vowel.
    let article = if matches!(door, Door::Http | Door::Scgi) { "an" } else { "a" };
    Some(format!("this is {spoken} on {article} {} port", name(door)))
}
