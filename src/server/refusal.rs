//! What the server answers by itself: a status, its reason, and nothing more.
//!
//! RFC 9110 section 15. Nothing of the request, of the application or of the machine goes into it.

use std::time::SystemTime;

use super::response::End;
use super::settings::RETRY_AFTER;
use super::shared::Shared;
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
    let text = text_of(status);
    let reason = text.split_at(4).1;
    let framing = framing::response(addressee.version, addressee.is_head, status, None, Some(reason.len() as u64 + 1));
    let mut end = End::default();
    let reply = Reply {
        status: text,
        headers: &headers,
        framing,
        persistence: Persistence::Close,
        end: end.at(SystemTime::now(), &shared.settings),
    };
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

/// The statuses that the server gives by itself (RFC 9110 section 15).
pub(super) fn text_of(status: u16) -> &'static str {
    match status {
        400 => "400 Bad Request",
        405 => "405 Method Not Allowed",
        408 => "408 Request Timeout",
        411 => "411 Length Required",
        413 => "413 Content Too Large",
        414 => "414 URI Too Long",
        417 => "417 Expectation Failed",
        431 => "431 Request Header Fields Too Large",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Unavailable",
        504 => "504 Gateway Timeout",
        505 => "505 HTTP Version Not Supported",
        508 => "508 Loop Detected",
        _ => "500 Internal Server Error",
    }
}
