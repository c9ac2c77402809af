//! `HostAllowList`: requests for other hosts than the listed ones do not reach the application.
//!
//! RFC 9110 sections 7.4 and 15.5.20. A page of another site can make its own name resolve to 127.0.0.1 or to an address of the
//! inner network and then reads what a server there answers, as its own (DNS rebinding). The browser still says the name it
//! believes in the Host field, so comparing that is the cure. It also keeps forged names out of the links that an application
//! builds from `HTTP_HOST`. It says nothing about who may connect.
//!
//! The other way to a server that only listens inside is a request that a page of another site sends to its right name: a form, an image, a
//! WebSocket. The page cannot read the answer, but what the request does is done. A browser says in Origin whose page it was (the Fetch
//! Standard, "Origin header"; RFC 6454 section 7), with everything that may change something, and with every WebSocket. Comparing that as well is
//! [`check_origin`](HostAllowList::check_origin); the Model Context Protocol asks the same of its local servers.
//!
//! Behind a front server that replaces Host, put this inside of a [`TrustProxy`](super::TrustProxy) that takes the host.

use std::net::Ipv6Addr;

use crate::gateway::{Application, Body, Environ, StartResponse};

/// Answers 421 (Misdirected Request) unless the Host of the request is in the list. A request without Host, which HTTP/1.0 allows,
/// is answered 421 too.
///
/// | in the list | allows |
/// |---|---|
/// | `example.com`, `127.0.0.1`, `[::1]` | this name or address, at any port |
/// | `*.example.com` | every name below `example.com`, but not that itself |
/// | `example.com:8443` | the name at this port; a Host without a port means that of the scheme |
///
/// Names compare without case and without a point at their end. [`local_only`] is the list for a tool on one's own machine.
///
/// ```
/// use doorway::{app::demo, middleware::HostAllowList, testing::Request};
///
/// let application = HostAllowList::new(demo, ["localhost", "*.example.com"]);
/// let status = |host| Request::get("/").header("Host", host).call(&application).status.code();
/// assert_eq!((status("localhost:8000"), status("www.example.com")), (200, 200));
/// assert_eq!((status("rebound.attacker.example"), status("example.com")), (421, 421));
/// ```
pub struct HostAllowList<A> {
    inner: A,
    allowed: Vec<String>,
    checks_origin: bool,
}

/// For a tool that serves the machine it runs on: only requests for `localhost` (and names below it), `127.0.0.1` and `[::1]`, at any port, and none
/// that a page of another site has sent. Listen on a loopback address as well: this says nothing about who may connect.
///
/// ```
/// use doorway::{app::demo, middleware::local_only, testing::Request};
///
/// let application = local_only(demo);
/// let status = |request: Request| request.call(&application).status.code();
/// assert_eq!(status(Request::post("/", "")), 200);
/// assert_eq!(status(Request::post("/", "").header("Origin", "http://localhost:5173")), 200);
/// assert_eq!(status(Request::post("/", "").header("Origin", "https://evil.example")), 403);
/// assert_eq!(status(Request::get("/").header("Host", "rebound.evil.example")), 421);
/// ```
pub fn local_only<A: Application>(inner: A) -> HostAllowList<A> {
    HostAllowList::new(inner, ["localhost", "*.localhost", "127.0.0.1", "[::1]"]).check_origin()
}

impl<A: Application> HostAllowList<A> {
    /// Puts itself around an application. An empty list allows nothing.
    pub fn new<H: Into<String>>(inner: A, hosts: impl IntoIterator<Item = H>) -> HostAllowList<A> {
        HostAllowList { inner, allowed: hosts.into_iter().map(Into::into).collect(), checks_origin: false }
    }

    /// Also answers 403 to a request that a page of another site has sent: one whose Origin is no `http` or `https` origin of a host in the list
    /// (`null` is none), or, where a browser sends no Origin with a method that may change something, whose Sec-Fetch-Site is not
    /// `same-origin` or `none`. Programs other than browsers send neither field and are not affected.
    ///
    /// An OPTIONS request changes nothing and goes through, so that a [`Cors`](super::Cors) inside can answer it.
    pub fn check_origin(mut self) -> HostAllowList<A> {
        self.checks_origin = true;
        self
    }

    /// Whether the page that sent the request, if one did, is of a host in the list.
    fn allows_origin(&self, environ: &Environ) -> bool {
        if environ.method() == "OPTIONS" {
            return true;
        }
        if let Some(origin) = environ.header_bytes("origin") {
            let schemes = [(&b"http://"[..], "http"), (b"https://", "https")];
            let mut hosts =
                schemes.iter().filter_map(|(prefix, scheme)| Some((origin.strip_prefix(*prefix)?, *scheme)));
            return hosts.next().is_some_and(|(host, scheme)| self.covers(host, scheme));
        }
        let is_safe = matches!(environ.method(), "GET" | "HEAD");
        is_safe || matches!(environ.header_bytes("sec-fetch-site"), None | Some(b"same-origin" | b"none"))
    }

    /// Whether a host is in the list, at its port or that of the scheme.
    fn covers(&self, host: &[u8], scheme: &str) -> bool {
        // What no name may hold (`evil.test/.example.com`) would lead elsewhere in a link.
        let Some((name, port)) = parts(host).filter(|(name, _)| is_host(name)) else {
            return false;
        };
        let of_scheme: &[u8] = if scheme == "https" { b"443" } else { b"80" };
        let port = port.unwrap_or(of_scheme);
        self.allowed
            .iter()
            .filter_map(|allowed| parts(allowed.as_bytes()))
            .any(|(pattern, wanted)| wanted.is_none_or(|wanted| wanted == port) && covers(pattern, name))
    }
}

impl<A: Application> Application for HostAllowList<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let is_for_us = environ.bytes("HTTP_HOST").is_some_and(|host| self.covers(host, environ.url_scheme()));
        let (status, text) = match is_for_us {
            true if !self.checks_origin || self.allows_origin(environ) => {
                return self.inner.call(environ, start_response);
            }
            true => ("403 Forbidden", "A page of another site sent this request.\n"),
            false => ("421 Misdirected Request", "Misdirected Request\n"),
        };
        start_response.start(status, &[("Content-Type", "text/plain")]);
        Body::from(text)
    }
}

/// Name and port of a Host; `None` for what is none.
///
/// ```text
/// Host = uri-host [ ":" port ]     ; RFC 9110 section 7.2; an IPv6 address stands in brackets
/// ```
pub(super) fn parts(host: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end_of_name = match host.iter().position(|byte| *byte == b']') {
        Some(bracket) if host.starts_with(b"[") => bracket + 1,
        Some(_) => return None,
        None => host.iter().position(|byte| *byte == b':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at_checked(end_of_name)?;
    let name = name.strip_suffix(b".").unwrap_or(name);
    let port = match rest.split_first() {
        None | Some((b':', [])) => None,
        Some((b':', digits)) if digits.iter().all(u8::is_ascii_digit) => Some(digits),
        Some(_) => return None,
    };
    (!name.is_empty()).then_some((name, port))
}

/// Whether a host is an address in brackets, or a name of the characters that names of hosts have.
pub(super) fn is_host(name: &[u8]) -> bool {
    let bare = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]"));
    match bare {
        Some(bare) => std::str::from_utf8(bare).is_ok_and(|bare| bare.parse::<Ipv6Addr>().is_ok()),
        None => name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte)),
    }
}

/// Whether a name is the pattern's, or below it where it starts with `*.`.
fn covers(pattern: &[u8], name: &[u8]) -> bool {
    let Some(suffix) = pattern.strip_prefix(b"*") else {
        return pattern.eq_ignore_ascii_case(name);
    };
    // The suffix begins with its point, so that `*.example.com` does not cover `badexample.com`.
    let Some(below) = name.len().checked_sub(suffix.len()).filter(|below| *below > 0) else {
        return false;
    };
    suffix.starts_with(b".") && name.get(below..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::{is_host, parts};

    #[test]
    fn rfc9110_7_2_a_host_has_a_name_and_perhaps_a_port() {
        for (host, expected) in [
            ("a.test", Some(("a.test", None))),
            ("a.test.:80", Some(("a.test", Some("80")))),
            ("a.test:", Some(("a.test", None))),
            ("[::1]", Some(("[::1]", None))),
            ("[::1]:443", Some(("[::1]", Some("443")))),
            ("", None),
            (".", None),
            (":80", None),
            ("a.test]", None),
            ("a]:80", None),
            ("[::1].", None),
            ("[::1]80", None),
            ("a:80:80", None),
            ("a:8o", None),
        ] {
            let bytes = expected.map(|(name, port): (&str, Option<&str>)| (name.as_bytes(), port.map(str::as_bytes)));
            assert_eq!(parts(host.as_bytes()), bytes, "{host}");
        }
    }

    #[test]
    fn rfc3986_3_2_2_a_name_of_a_host_holds_nothing_that_leads_elsewhere() {
        for name in ["a-b_c.d~e%20", "127.0.0.1", "[::1]", "[2001:db8::7]"] {
            assert!(is_host(name.as_bytes()), "{name}");
        }
        for name in ["a/b", "a@b", "a b", "a\\b", "[1.2.3.4]", "[a]", "[::1", "::1]", "[::1%eth0]", "\u{e4}"] {
            assert!(!is_host(name.as_bytes()), "{name}");
        }
    }
}
