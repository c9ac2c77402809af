//! Whether a page of this server sent a request: what an upload and a proxied request are judged by.

use crate::gateway::Environ;

/// Whether an Origin is the server's own, which Host names (RFC 6454 section 7).
///
/// `https` is right in any case, since a front server may have taken TLS off without a word. `http` is not where the request came by TLS: whoever
/// sits on the way can write such a page.
pub(super) fn is_own(environ: &Environ, origin: &[u8]) -> bool {
    let plain = || origin.strip_prefix(b"http://").filter(|_| environ.url_scheme() == "http");
    let authority = origin.strip_prefix(b"https://").or_else(plain);
    let host = environ.bytes("HTTP_HOST").filter(|host| !host.is_empty());
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::is_own;
    use crate::testing::Request;

    #[test]
    fn rfc6454_7_an_origin_is_ours_when_it_names_our_host_by_a_scheme_that_nobody_on_the_way_can_forge() {
        for (origin, by_http, by_https) in [
            ("http://here:8000", true, false),
            ("https://HERE:8000", true, true),
            ("http://here", false, false),
            ("http://here:8000.evil.example", false, false),
            ("https://", false, false),
            ("null", false, false),
            ("", false, false),
            ("file://here:8000", false, false),
        ] {
            let mut environ = Request::get("/").header("Host", "here:8000").environ();
            assert_eq!(is_own(&environ, origin.as_bytes()), by_http, "{origin}");
            environ.set_https(true);
            assert_eq!(is_own(&environ, origin.as_bytes()), by_https, "{origin}");
        }
        let without = Request::get("/").header("Host", "").environ();
        assert!(!is_own(&without, b"https://") && !is_own(&without, b"http://"));
    }
}
