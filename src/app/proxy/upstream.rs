//! Where requests go: the URL of an upstream, its addresses, and the targets it is asked for.
//!
//! RFC 9110 section 4.2.1, RFC 3986 section 3. A target is passed on as the client wrote it where it stands for the same path as
//! SCRIPT_NAME and PATH_INFO (so `%2F` stays `%2F`), and is otherwise encoded anew, because middleware may have changed the path.

use std::fmt;

use crate::app::relay::stream::Place;
use crate::gateway::{Environ, percent_decode};
use crate::http::{scan, target};
use crate::web::percent_encode;

/// One server that is asked. `Display` is its URL.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    /// As in Host: `localhost:3000`.
    authority: String,
    place: Place,
    /// What takes the place of the prefix, without a slash at its end; `None` where paths stay as they are.
    path: Option<String>,
}

/// Why a URL or an address cannot be an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamError {
    /// It begins with `https://`: there is no TLS here.
    Https,
    /// It does not begin with `http://`.
    Scheme,
    /// What follows is not `host` or `host:port`, as for one with a user name.
    Authority,
    /// The path holds a query, a fragment, a `..` segment or a byte that no path may hold.
    Path,
    /// Of [`Pass`](crate::app::Pass): it is neither `host:port` nor `unix:PATH`.
    Address,
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UpstreamError::Https => "there is no TLS here; give the http:// address of the upstream",
            UpstreamError::Scheme => "an upstream begins with http://",
            UpstreamError::Authority => "an upstream is http://host or http://host:port",
            UpstreamError::Address => "an address is HOST:PORT or unix:PATH",
            UpstreamError::Path => "the path of an upstream has no query, no fragment and no .. segment",
        })
    }
}

impl std::error::Error for UpstreamError {}

impl Upstream {
    pub(super) fn parse(url: &str) -> Result<Upstream, UpstreamError> {
        let scheme_is = |scheme: &str| url.get(..scheme.len()).is_some_and(|part| part.eq_ignore_ascii_case(scheme));
        if scheme_is("https://") {
            return Err(UpstreamError::Https);
        }
        let rest = url.get("http://".len()..).filter(|_| scheme_is("http://")).ok_or(UpstreamError::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || !target::is_host(authority.as_bytes()) {
            return Err(UpstreamError::Authority);
        }
        let is_path = |byte: u8| scan::is_target_byte(byte) && byte != b'?';
        if !path.bytes().all(is_path) || climbs(&decoded(path.as_bytes())) {
            return Err(UpstreamError::Path);
        }
        // The colon of a port stands behind the bracket of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| UpstreamError::Authority)?),
            None => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = (!path.is_empty()).then(|| path.trim_end_matches('/').to_owned());
        Ok(Upstream { authority: authority.to_owned(), place: Place::Tcp { host, port }, path })
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether a path takes the place of the prefix.
    pub(super) fn replaces_prefix(&self) -> bool {
        self.path.is_some()
    }

    /// Where it listens.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The target to ask for; `None` for a path with a `..` segment, by which one could leave the prefix at the upstream.
    pub(super) fn target(&self, environ: &Environ) -> Option<String> {
        let (script, path) = (environ.script_name(), environ.path_info());
        if climbs(path) {
            return None;
        }
        let uri = environ.bytes("REQUEST_URI").unwrap_or_default();
        if uri == b"*" && environ.method() == "OPTIONS" {
            return Some("*".into());
        }
        let asked = path_of(uri);
        let mut target = String::new();
        let rest = match &self.path {
            None => as_written(asked, &[script, path].concat()),
            Some(base) => {
                target.push_str(base);
                as_written(asked.strip_prefix(script).unwrap_or_default(), path)
            }
        };
        if !rest.starts_with('/') && (target.is_empty() || !rest.is_empty()) {
            target.push('/');
        }
        target.push_str(&rest);
        let query = environ.bytes("QUERY_STRING").unwrap_or_default();
        if !query.is_empty() {
            target.push('?');
            push_visible(query, &mut target);
        }
        Some(target)
    }

    /// A redirect to the upstream itself as one to this server. `None`: it stays as it is.
    pub(super) fn rewrite_location(&self, location: &[u8], script: &[u8]) -> Option<String> {
        let location = std::str::from_utf8(location).ok()?;
        let rest = location.strip_prefix("http://")?.strip_prefix(self.authority.as_str())?;
        // `http://127.0.0.1:30001` is another server, and `//host` would become one.
        if !(rest.is_empty() || rest.starts_with(['/', '?', '#'])) || rest.starts_with("//") {
            return None;
        }
        // Browsers read a backslash as a slash and drop tabs and line ends: `/\host` is `//host` to them, and so is `/<TAB>/host`.
        if rest.bytes().any(|byte| byte == b'\\' || !(scan::is_target_byte(byte) || byte == b'#')) {
            return None;
        }
        let mut rewritten = String::new();
        let rest = match &self.path {
            None => rest,
            Some(base) => {
                let below = rest.strip_prefix(base.as_str())?;
                if !below.is_empty() && !below.starts_with(['/', '?', '#']) || below.starts_with("//") {
                    return None;
                }
                percent_encode(script, PATH_SAFE, &mut rewritten);
                below
            }
        };
        if rewritten.is_empty() && !rest.starts_with('/') {
            rewritten.push('/');
        }
        rewritten.push_str(rest);
        Some(rewritten)
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path.as_deref().unwrap_or_default())
    }
}

// pchar = unreserved / pct-encoded / sub-delims / ":" / "@"
const PATH_SAFE: &[u8] = b"/-._~!$&'()*+,;=:@";

/// The path of a target in origin-form or absolute-form, as it was written.
fn path_of(uri: &[u8]) -> &[u8] {
    let end = uri.iter().position(|byte| *byte == b'?').unwrap_or(uri.len());
    let uri = uri.split_at(end).0;
    match uri.windows(3).position(|three| three == b"://").filter(|_| !uri.starts_with(b"/")) {
        Some(at) => {
            let behind = uri.split_at(at + 3).1;
            let slash = behind.iter().position(|byte| *byte == b'/').unwrap_or(behind.len());
            behind.split_at(slash).1
        }
        None => uri,
    }
}

/// The path as it was written, where that stands for `path`; otherwise encoded anew.
fn as_written(written: &[u8], path: &[u8]) -> String {
    match std::str::from_utf8(written) {
        Ok(text) if written.iter().copied().all(scan::is_target_byte) && decoded(written) == path => text.to_owned(),
        _ => {
            let mut encoded = String::new();
            percent_encode(path, PATH_SAFE, &mut encoded);
            encoded
        }
    }
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    percent_decode(text, &mut bytes);
    bytes
}

/// Whether a decoded path has a `..` segment. A backslash counts as a slash, and what follows a semicolon not at all, since some servers take
/// `..;x` for `..` (RFC 3986 section 3.3).
fn climbs(path: &[u8]) -> bool {
    let mut segments = path.split(|byte| matches!(byte, b'/' | b'\\'));
    segments.any(|segment| segment.split(|byte| *byte == b';').next() == Some(b".."))
}

/// Bytes that may not stand in a target (other doors than HTTP may bring them) as `%HH`.
fn push_visible(bytes: &[u8], out: &mut String) {
    use fmt::Write;
    for byte in bytes {
        if scan::is_target_byte(*byte) {
            out.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Request;

    fn upstream(url: &str) -> Upstream {
        Upstream::parse(url).unwrap()
    }

    #[test]
    fn an_upstream_is_an_http_url_and_anything_else_says_why() {
        for (url, authority, port) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000", 3000),
            ("HTTP://localhost", "localhost", 80),
            ("http://[::1]:3000/v2/", "[::1]:3000", 3000),
            ("http://[::1]/", "[::1]", 80),
        ] {
            let upstream = upstream(url);
            assert_eq!(upstream.authority(), authority, "{url}");
            assert!(matches!(upstream.place(), Place::Tcp { port: found, .. } if *found == port), "{url}");
        }
        for (url, error) in [
            ("https://localhost:3000", UpstreamError::Https),
            ("localhost:3000", UpstreamError::Scheme),
            ("ws://localhost:3000", UpstreamError::Scheme),
            ("http://", UpstreamError::Authority),
            ("http:///path", UpstreamError::Authority),
            ("http://user@localhost", UpstreamError::Authority),
            ("http://localhost:65536", UpstreamError::Authority),
            ("http://a b/", UpstreamError::Authority),
            ("http://localhost/?a", UpstreamError::Path),
            ("http://localhost/#a", UpstreamError::Path),
            ("http://localhost/a/../b", UpstreamError::Path),
            ("http://localhost/a/%2e%2e", UpstreamError::Path),
            ("http://localhost/a\r\nb", UpstreamError::Path),
        ] {
            assert_eq!(Upstream::parse(url).unwrap_err(), error, "{url}");
        }
    }

    fn target_below(url: &str, uri: &str, script: &str) -> Option<String> {
        let mut environ = Request::get(uri).environ();
        let path = environ.path_info().strip_prefix(script.as_bytes()).unwrap().to_vec();
        environ.set("SCRIPT_NAME", script);
        environ.set("PATH_INFO", path);
        upstream(url).target(&environ)
    }

    #[test]
    fn a_target_stays_as_it_was_written_or_a_path_takes_the_place_of_the_prefix() {
        for (url, uri, script, target) in [
            ("http://a", "/api/users?a=1", "/api", "/api/users?a=1"),
            ("http://a/", "/api/users?a=1", "/api", "/users?a=1"),
            ("http://a/v2", "/api/users", "/api", "/v2/users"),
            ("http://a/v2/", "/api/users", "/api", "/v2/users"),
            ("http://a/v2", "/api", "/api", "/v2"),
            ("http://a/v2", "/api/", "/api", "/v2/"),
            ("http://a/", "/api", "/api", "/"),
            ("http://a", "/", "", "/"),
            ("http://a/", "/api/a%2Fb//c%20d", "/api", "/a%2Fb//c%20d"),
            ("http://a", "/%61pi/a%2fb", "/api", "/%61pi/a%2fb"),
            ("http://a/", "/%61pi/a%2fb", "/api", "/a/b"),
            ("http://a", "/x?", "", "/x"),
        ] {
            assert_eq!(target_below(url, uri, script).as_deref(), Some(target), "{url} {uri} below {script}");
        }
    }

    #[test]
    fn a_path_that_middleware_changed_is_the_one_that_is_asked_for() {
        let mut environ = Request::get("/a%20b").environ();
        environ.set("PATH_INFO", "/c d/\u{e4}");
        assert_eq!(upstream("http://a").target(&environ).as_deref(), Some("/c%20d/%C3%A4"));
        environ.set("REQUEST_URI", "http://site.example/x");
        environ.set("PATH_INFO", "/x");
        environ.set("QUERY_STRING", b"a=\xE4");
        assert_eq!(upstream("http://a").target(&environ).as_deref(), Some("/x?a=%E4"));
    }

    #[test]
    fn a_path_with_a_dot_dot_segment_in_any_spelling_has_no_target() {
        for uri in
            ["/api/../x", "/api/%2e%2e/x", "/api/..%2fx", "/api/..%5cx", "/api/..", "/api/..;/x", "/api/..%3ba=b/x"]
        {
            assert_eq!(target_below("http://a/", uri, "/api"), None, "{uri}");
        }
        assert!(target_below("http://a/", "/api/..x/x../x;..", "/api").is_some());
    }

    #[test]
    fn a_redirect_to_the_upstream_leads_to_this_server_and_any_other_stays() {
        for (url, location, rewritten) in [
            ("http://a:1", "http://a:1/login?x", Some("/login?x")),
            ("http://a:1", "http://a:1", Some("/")),
            ("http://a:1/", "http://a:1/login", Some("/api/login")),
            ("http://a:1/v2", "http://a:1/v2/login", Some("/api/login")),
            ("http://a:1/v2", "http://a:1/v23", None),
            ("http://a:1", "http://a:12/login", None),
            ("http://a:1", "http://a:1//evil.example", None),
            ("http://a:1", "http://a:1/\\evil.example/", None),
            ("http://a:1", "http://a:1/\t/evil.example/", None),
            ("http://a:1/v2", "http://a:1/v2/\\evil.example/", None),
            ("http://a:1", "http://a:1/a?b#c", Some("/a?b#c")),
            ("http://a:1", "/login", None),
            ("http://a:1", "http://other.example/", None),
        ] {
            let found = upstream(url).rewrite_location(location.as_bytes(), b"/api");
            assert_eq!(found.as_deref(), rewritten, "{url} {location}");
        }
    }
}
