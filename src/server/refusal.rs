//! What the server answers by itself: a status, its reason, and nothing more.
//!
//! RFC 9110 section 15. Nothing of the request, of the application or of the machine goes into it.

use super::house::House;
use super::settings::RETRY_AFTER;
use super::unsent::Unsent;
use crate::door::http::ALLOW;
use crate::door::{Facts, Persistence, Reply, fastcgi};
use crate::gateway::Headers;
use crate::http::framing;

/// A response of the server itself: the reason and nothing more.
pub(super) fn refusal(status: u16, addressee: Facts, house: &House) -> Unsent {
    let mut headers = Headers::new();
    headers.add("Content-Type", "text/plain");
    match status {
        405 => headers.add("Allow", ALLOW),
        503 => headers.add("Retry-After", RETRY_AFTER),
        _ => {}
    }
    let reason = reason_of(status);
    let framing = framing::response(addressee.version, addressee.is_head, status, None, Some(reason.len() as u64 + 1));
    let settings = &house.settings;
    let date = house.date();
    let reply = Reply {
        status: (status, reason),
        headers: &headers,
        framing,
        persistence: Persistence::Close,
        date: settings.date_field.then_some(&date),
        server: settings.server_field.as_deref(),
    };
    let mut unsent = Unsent::default();
    addressee.door.write_head(unsent.front(), &reply);
    if !addressee.is_head {
        unsent.front().extend_from_slice(reason.as_bytes());
        unsent.front().push(b'\n');
    }
    if let Some(id) = addressee.record_id {
        fastcgi::enclose(unsent.front(), 0, id);
        unsent.append(&fastcgi::end_request(id, status == 503));
    }
    unsent
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
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}
