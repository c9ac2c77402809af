//! The forms of a request target and the decoding of its path.
//!
//! RFC 9112 section 3.2, RFC 3986 sections 2.1 and 3.2. Invariants: a target has one reading or none; a path is decoded
//! exactly once. It does not remove dot segments, merge slashes or change case: the application sees what was sent.

use super::scan;
use crate::cause::Cause;

/// A request target, taken apart. The authority-form belongs to CONNECT and is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'buf> {
    /// `/path?query`.
    Origin {
        /// The path, still encoded; starts with `/`.
        path: &'buf [u8],
        /// What stands behind the first `?`.
        query: Option<&'buf [u8]>,
    },
    /// `http://authority/path?query`.
    Absolute {
        /// The scheme is https, not http.
        https: bool,
        /// host or host:port; it replaces the Host field.
        authority: &'buf [u8],
        /// The path, still encoded; `/` where the target has none.
        path: &'buf [u8],
        /// What stands behind the first `?`.
        query: Option<&'buf [u8]>,
    },
    /// `*`, the server as a whole; with OPTIONS only.
    Asterisk,
}

/// Takes a request target apart.
///
/// ```
/// use doorway::http::target::{Target, parse};
///
/// assert_eq!(parse(b"/a?b", b"GET"), Ok(Target::Origin { path: b"/a", query: Some(b"b") }));
/// ```
// request-target = origin-form / absolute-form / authority-form / asterisk-form
#[inline]
pub fn parse<'buf>(target: &'buf [u8], method: &[u8]) -> Result<Target<'buf>, Cause> {
    if method == b"CONNECT" {
        return Err(if is_authority_form(target) { Cause::ConnectRefused } else { Cause::TargetForm });
    }
    match target {
        // origin-form = absolute-path [ "?" query ]
        [b'/', ..] => {
            let (path, query) = split_query(target)?;
            Ok(Target::Origin { path, query })
        }
        // asterisk-form = "*"
        b"*" if method == b"OPTIONS" => Ok(Target::Asterisk),
        _ => parse_absolute(target),
    }
}

// absolute-form = scheme "://" authority path-abempty [ "?" query ]
fn parse_absolute(target: &[u8]) -> Result<Target<'_>, Cause> {
    let (scheme, rest) = split_scheme(target).ok_or(Cause::TargetForm)?;
    let https = scheme.eq_ignore_ascii_case(b"https");
    if !https && !scheme.eq_ignore_ascii_case(b"http") {
        return Err(Cause::TargetScheme);
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    // RFC 9110 section 4.2.4: user information can hide the true host from a reader; it is never needed here.
    if authority.contains(&b'@') {
        return Err(Cause::TargetUserinfo);
    }
    // RFC 9110 section 4.2.1: an empty host is invalid.
    if !is_host(authority) {
        return Err(Cause::HostInvalid);
    }
    let (path, query) = split_query(rest)?;
    let path = if path.is_empty() { b"/" } else { path };
    Ok(Target::Absolute { https, authority, path, query })
}

// scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
fn split_scheme(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = target.iter().position(|&byte| byte == b':')?;
    let (scheme, rest) = target.split_at(colon);
    let legal = scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !legal || !scheme.first()?.is_ascii_alphabetic() {
        return None;
    }
    Some((scheme, rest.strip_prefix(b"://")?))
}

/// Path and query, parted at the first `?`.
///
/// A raw backslash in the path is refused: RFC 3986 section 3.3 has none, and browsers, front servers and file systems take it for a slash
/// or for itself. (In a query browsers send it as it was typed, and nothing is named by it.) An encoded NUL in the path is refused too: no
/// application wants it, and what follows it would be hidden from one that hands the path to C.
#[inline(always)]
fn split_query(target: &[u8]) -> Result<(&[u8], Option<&[u8]>), Cause> {
    let behind = scan::behind_plain(target);
    let (rest, query) = behind.split_at(behind.iter().position(|&byte| byte == b'?').unwrap_or(behind.len()));
    if rest.contains(&b'\\') {
        return Err(Cause::TargetByte);
    }
    if rest.windows(3).any(|escape| escape == b"%00") {
        return Err(Cause::TargetNul);
    }
    Ok((target.split_at(target.len() - query.len()).0, query.strip_prefix(b"?")))
}

// authority-form = uri-host ":" port
fn is_authority_form(target: &[u8]) -> bool {
    let colon = target.iter().rposition(|&byte| byte == b':');
    // RFC 9110 section 9.3.6: a port is needed here, and an empty one is none.
    is_host(target) && !target.ends_with(b":") && colon.is_some_and(|colon| is_port(target.split_at(colon).1))
}

/// Whether the bytes are a host with an optional port, as Host and an authority without user information hold it
/// (RFC 9110 section 7.2, RFC 3986 section 3.2.2).
///
/// Stricter than the grammar in three points: the host is not empty, a port has at most five digits and is at most 65,535,
/// and addresses of a future kind (`[v1.x]`) are refused. A port may be empty (RFC 3986 section 3.2.3).
///
/// ```
/// use doorway::http::target::is_host;
///
/// assert!(is_host(b"example.org:8080") && is_host(b"[::1]:") && !is_host(b"a/b") && !is_host(b""));
/// ```
// Host = uri-host [ ":" port ]
// host = IP-literal / IPv4address / reg-name
pub fn is_host(bytes: &[u8]) -> bool {
    if let Some(literal) = bytes.strip_prefix(b"[") {
        // IP-literal = "[" ( IPv6address / IPvFuture ) "]"
        let mut parts = literal.splitn(2, |&byte| byte == b']');
        let address = parts.next().and_then(|address| std::str::from_utf8(address).ok());
        return address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
            && parts.next().is_some_and(|rest| rest.is_empty() || is_port(rest));
    }
    // reg-name = *( unreserved / pct-encoded / sub-delims ), and every IPv4address is one too.
    let mut rest = bytes;
    loop {
        let end = rest.iter().position(|&byte| !scan::is_reg_name_byte(byte)).unwrap_or(rest.len());
        rest = match rest.split_at(end).1 {
            [] => return !bytes.is_empty(),
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            port => return port.len() < bytes.len() && is_port(port),
        }
    }
}

/// Whether the bytes are a colon and a port, which may be empty.
// port = *DIGIT
fn is_port(bytes: &[u8]) -> bool {
    let Some(digits) = bytes.strip_prefix(b":") else { return false };
    digits.is_empty() || digits.len() <= 5 && scan::decimal(digits).is_some_and(|port| port <= 65_535)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9112_3_2_1_origin_form_is_split_at_the_first_question_mark() {
        let origin = |path, query| Ok(Target::Origin { path, query });
        assert_eq!(parse(b"/", b"GET"), origin(b"/", None));
        assert_eq!(parse(b"/a?", b"GET"), origin(b"/a", Some(b"")));
        assert_eq!(parse(b"/a?b?c=/d", b"get"), origin(b"/a", Some(b"b?c=/d")));
        // No dot-segment removal, no slash merging, and no authority in a path.
        assert_eq!(parse(b"//a/../b", b"GET"), origin(b"//a/../b", None));
        assert_eq!(parse(b"/*", b"OPTIONS"), origin(b"/*", None));
    }

    #[test]
    fn an_encoded_nul_is_refused_and_an_encoded_percent_before_zeros_is_none() {
        for target in [&b"/%00"[..], b"/a%00.html?b", b"/%%00", b"/%2%00", b"http://a/%00"] {
            assert_eq!(parse(target, b"GET"), Err(Cause::TargetNul));
        }
        for target in [&b"/%2500"[..], b"/%0", b"/%01", b"/a?%00"] {
            assert!(parse(target, b"GET").is_ok());
        }
    }

    #[test]
    fn rfc3986_3_3_a_raw_backslash_is_no_byte_of_a_path_and_may_stand_in_a_query() {
        for target in [&b"/\\"[..], b"/a\\..\\b?c", b"http://a/\\", b"/\\%00", b"/%00\\", b"/a/long/path%20and/a\\?b"] {
            assert_eq!(parse(target, b"GET"), Err(Cause::TargetByte));
        }
        for target in [&b"/?\\"[..], b"/a?b\\c", b"http://a?\\", b"/%5C"] {
            assert!(parse(target, b"GET").is_ok());
        }
    }

    #[test]
    fn rfc9112_3_2_2_absolute_form_is_taken_apart() {
        let absolute = |https, authority, path, query| Ok(Target::Absolute { https, authority, path, query });
        assert_eq!(parse(b"http://a", b"GET"), absolute(false, b"a", b"/", None));
        assert_eq!(parse(b"http://a?b", b"GET"), absolute(false, b"a", b"/", Some(b"b")));
        assert_eq!(parse(b"HtTpS://a:443/b?c@d", b"GET"), absolute(true, b"a:443", b"/b", Some(b"c@d")));
        assert_eq!(parse(b"http://[::1]:80/", b"OPTIONS"), absolute(false, b"[::1]:80", b"/", None));
        for scheme in [&b"ftp://a/"[..], b"h2://a/", b"file:///etc", b"httpx://a/"] {
            assert_eq!(parse(scheme, b"GET"), Err(Cause::TargetScheme));
        }
        for userinfo in [&b"http://u@a/"[..], b"http://u:p@a/", b"http://@a/"] {
            assert_eq!(parse(userinfo, b"GET"), Err(Cause::TargetUserinfo));
        }
        assert_eq!(parse(b"http://a:/", b"GET"), absolute(false, b"a:", b"/", None));
        for host in [&b"http:///a"[..], b"http://:80/", b"http://:/", b"http://a:99999/", b"http://a\\b/"] {
            assert_eq!(parse(host, b"GET"), Err(Cause::HostInvalid));
        }
        for form in [&b"a"[..], b"a:80", b"http:/a", b"http:a", b"1http://a", b"://a", b"?a", b"a/b", b"**"] {
            assert_eq!(parse(form, b"GET"), Err(Cause::TargetForm), "{}", form.escape_ascii());
        }
    }

    #[test]
    fn rfc9112_3_2_3_connect_is_refused_and_authority_form_is_for_connect_only() {
        for target in [&b"a:443"[..], b"[::1]:443"] {
            assert_eq!(parse(target, b"CONNECT"), Err(Cause::ConnectRefused));
            assert_eq!(parse(target, b"GET"), Err(Cause::TargetForm));
        }
        for target in [&b"/"[..], b"*", b"a", b"http://a/", b"[::1]", b"u@a:1", b"a:", b"[::1]:"] {
            assert_eq!(parse(target, b"CONNECT"), Err(Cause::TargetForm));
        }
    }

    #[test]
    fn rfc9112_3_2_4_asterisk_form_is_for_options_only() {
        assert_eq!(parse(b"*", b"OPTIONS"), Ok(Target::Asterisk));
        for method in [&b"GET"[..], b"options", b"PRI"] {
            assert_eq!(parse(b"*", method), Err(Cause::TargetForm));
        }
    }

    #[test]
    fn rfc3986_3_2_2_a_host_is_a_name_or_an_address_with_an_optional_port() {
        for host in [
            "a",
            "example.org",
            "EXAMPLE.org.",
            "a_b-c~d",
            "127.0.0.1",
            "127.0.0.1:0",
            "a:1",
            "a:",
            "a:65535",
            "a%20b",
            "a!$&'()*+,;=",
            "[::]",
            "[::1]:8080",
            "[::1]:",
            "[2001:db8::1]",
            "[::ffff:1.2.3.4]:1",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":",
            ":80",
            "a::",
            "a:65536",
            "a:080000",
            "a:+1",
            "a:1x",
            "a:1:2",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "a\\b",
            "a\"b",
            "a%2",
            "a%zz",
            "a<",
            "::1",
            "[",
            "[]",
            "[::1",
            "[::1]a",
            "[::1]:x",
            "[::1]80",
            "[1.2.3.4]",
            "[v1.a]",
            "[::1%25eth0]",
            "[:::]",
            "[::1]]",
            "\u{e4}",
            "a\t",
            "a|b",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
