//! What the server answers by itself: a status, its reason, and nothing more.
//!
//! RFC 9110 section 15. Nothing of the request, of the application or of the machine goes into it.

use super::settings::RETRY_AFTER;
use super::shared::{self, Shared};
use crate::door::http::ALLOW;
use crate::door::{Facts, Persistence, Reply};
use crate::gateway::Headers;
use crate::http::framing;

/// A response of the server itself: the reason and nothing more.
pub(super) fn refusal(status: u16, mut addressee: Facts, shared: &Shared) -> Vec<u8> {
    let mut headers = Headers::from(&[("Content-Type", "text/plain")]);
    match status {
        405 => headers.add("Allow", ALLOW),
        503 => headers.add("Retry-After", RETRY_AFTER),
        _ => {}
    }
    let reason = reason_of(status);
    let framing = framing::response(addressee.version, addressee.is_head, status, None, Some(reason.len() as u64 + 1));
    let mut end = Vec::new();
    shared.write_end(&mut end, shared::unix_time().as_secs());
    let reply =
        Reply { status: (status, reason), headers: &headers, framing, persistence: Persistence::Close, end: &end };
    let mut out = Vec::new();
    addressee.door.protocol().write_head(&mut out, &reply);
    if !addressee.is_head {
        out.extend_from_slice(reason.as_bytes());
        out.push(b'\n');
    }
    if let Some(framer) = &mut addressee.framer {
        framer.enclose(&mut out, 0);
        out.extend_from_slice(&framer.end(status == 503));
    }
    out
}

/// The reasons of the statuses that the server gives by itself (RFC 9110 section 15).
pub(super) fn reason_of(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Internal Server Error",
    }
}
