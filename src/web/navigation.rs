//! Whether a browser asks for a page to show, or for a part of one.
//!
//! Fetch Metadata (`Sec-Fetch-Dest`) says so, but browsers send it to trustworthy origins alone: over plain HTTP at the address of a machine in
//! the network it is missing. There a navigation is told by what its `Accept` names. Libraries that fetch fragments of pages (htmx,
//! Turbo's predecessors, jQuery) may name `text/html` too, and mark themselves.

use super::weights::weight;
use crate::gateway::Environ;

/// Whether the request is a navigation: what it gets is shown as a page, in a window or a frame, and is not read by a script.
///
/// `Sec-Fetch-Dest: document`, `iframe` or `frame`; where that field is missing, an `Accept` that names `text/html`, without `HX-Request` and
/// without `X-Requested-With`. An `Accept` of `*/*` alone, as programs send it, is none.
///
/// ```
/// use doorway::{testing::Request, web::is_navigation};
///
/// let of_a_browser = Request::get("/").header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
/// assert!(is_navigation(&of_a_browser.environ()));
/// assert!(!is_navigation(&Request::get("/").header("Accept", "*/*").environ()));
/// ```
pub fn is_navigation(environ: &Environ) -> bool {
    if let Some(what) = environ.header_bytes("sec-fetch-dest") {
        return matches!(what, b"document" | b"iframe" | b"frame");
    }
    let names_html = environ.header_bytes("accept").and_then(|accept| weight(accept, &["text/html"])).unwrap_or(0) > 0;
    let is_marked = ["hx-request", "x-requested-with"].iter().any(|name| environ.header_bytes(name).is_some());
    names_html && !is_marked
}

#[cfg(test)]
mod tests {
    use super::is_navigation;
    use crate::testing::Request;

    #[test]
    fn a_navigation_is_known_by_its_destination_and_without_one_by_an_accept_that_names_html() {
        let html = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
        for (fields, expected) in [
            (&[("Sec-Fetch-Dest", "document")][..], true),
            (&[("Sec-Fetch-Dest", "iframe")], true),
            (&[("Sec-Fetch-Dest", "frame")], true),
            (&[("Sec-Fetch-Dest", "empty"), html], false),
            (&[("Sec-Fetch-Dest", "script"), html], false),
            (&[("Sec-Fetch-Dest", "")], false),
            (&[html], true),
            (&[("Accept", "*/*")], false),
            (&[("Accept", "text/*")], false),
            (&[("Accept", "text/html;q=0, */*")], false),
            (&[], false),
            (&[html, ("HX-Request", "true")], false),
            (&[html, ("X-Requested-With", "XMLHttpRequest")], false),
        ] {
            let request = fields.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value));
            assert_eq!(is_navigation(&request.environ()), expected, "{fields:?}");
        }
    }
}
