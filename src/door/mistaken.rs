//! What arrives at a port that expects something else: recognised by its first bytes and named in the log.
//!
//! A front server that speaks the wrong protocol is the most frequent mistake of a deployment, and without a name it shows as silence on
//! both sides. Nothing is decided by these looks but the words of a log line, the cause of a refusal, and whether a client of HTTP gets an
//! answer it can read; and they are for the first bytes of a connection only.

use super::Door;
use crate::cause::Cause;

/// Whether bytes are those of a protocol, as far as they go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    No,
    SoFar,
    Whole,
}

/// What the bytes look like, and how well. The first byte tells the protocols apart, so the answer to more bytes never contradicts that to
/// fewer.
fn recognise(bytes: &[u8]) -> (Fit, &'static str) {
    const ANY: (u8, u8) = (0, 255);
    // Of uwsgi the first variable: a name of at most 255 bytes that starts with a capital letter.
    const UWSGI: [(u8, u8); 6] = [ANY, ANY, (0, 0), (1, 255), (0, 0), (b'A', b'Z')];
    let fits = |first: u8, rest: &[(u8, u8)]| match bytes.split_first() {
        Some((byte, behind)) if *byte == first => {
            let is_so = behind.iter().zip(rest).all(|(byte, (least, most))| (least..=most).contains(&byte));
            if !is_so {
                Fit::No
            } else if behind.len() < rest.len() {
                Fit::SoFar
            } else {
                Fit::Whole
            }
        }
        _ => Fit::No,
    };
    let candidates = [
        (fits(0x16, &[(3, 3)]), "TLS"),
        (fits(1, &[(1, 1), ANY, ANY, (0, 0), (8, 8)]), "FastCGI"),
        (fits(1, &[(9, 9), (0, 0), (0, 0)]), "FastCGI"),
        (fits(0, &UWSGI), "uwsgi"),
        (fits(30, &UWSGI), "uwsgi"),
        (fits_http(bytes), "HTTP"),
        (fits_scgi(bytes), "SCGI"),
    ];
    let best = |fit| candidates.into_iter().find(|(other, _)| *other == fit);
    best(Fit::Whole).or_else(|| best(Fit::SoFar)).unwrap_or((Fit::No, ""))
}

/// A method in capital letters and a target.
fn fits_http(bytes: &[u8]) -> Fit {
    let method = bytes.iter().take(12).take_while(|byte| byte.is_ascii_uppercase()).count();
    match (bytes.get(method), bytes.get(method + 1)) {
        (None, _) => Fit::SoFar,
        (Some(b' '), None) if method >= 3 => Fit::SoFar,
        (Some(b' '), Some(b'/' | b'h' | b'*')) if method >= 3 => Fit::Whole,
        _ => Fit::No,
    }
}

/// A length and the first variable.
fn fits_scgi(bytes: &[u8]) -> Fit {
    const FIRST: &[u8] = b":CONTENT_LENGTH\0";
    let digits = bytes.iter().take(8).take_while(|byte| byte.is_ascii_digit()).count();
    let rest = bytes.split_at(digits).1;
    match digits {
        1.. if rest.starts_with(FIRST) => Fit::Whole,
        1.. if FIRST.starts_with(rest) => Fit::SoFar,
        _ => Fit::No,
    }
}

/// Whether the bytes are a request of HTTP.
pub(super) fn is_http(bytes: &[u8]) -> bool {
    recognise(bytes) == (Fit::Whole, "HTTP")
}

/// What the first bytes of a connection are refused for, which are not this protocol: as long as they may still become another, nothing
/// is decided, so that the verdict does not depend on how they were cut.
pub(super) fn judge(bytes: &[u8], door: Door, cause: Cause) -> Option<Cause> {
    match recognise(bytes) {
        (_, spoken) if spoken.eq_ignore_ascii_case(door.name()) => Some(cause),
        (Fit::No, _) => Some(cause),
        (Fit::SoFar, _) => None,
        (Fit::Whole, _) => Some(Cause::ProtocolMistaken),
    }
}

/// What a log says about bytes that look like another protocol than that of the port.
pub(crate) fn mistake(bytes: &[u8], door: Door) -> Option<String> {
    let (Fit::Whole, spoken) = recognise(bytes) else { return None };
    // Nobody connects to a CGI program: what it reads was put together from its environment, in a form that looks like SCGI.
    let is_mistake = door.protocol().has_addresses() && !spoken.eq_ignore_ascii_case(door.name());
    is_mistake.then(|| format!("this is {spoken} on a port for {}", door.name()))
}
