//! The forms of a request target and the decoding of its path.
//!
//! RFC 9112 section 3.2, RFC 3986 sections 2.1 and 3.2. Invariants: a target has one reading or none; a path is decoded
//! exactly once. It does not remove dot segments, merge slashes or change case: the application sees what was sent.

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
pub fn parse<'buf>(target: &'buf [u8], method: &[u8]) -> Result<Target<'buf>, Cause> {
    if method == b"CONNECT" {
        return Err(if is_authority_form(target) {
            Cause::ConnectRefused
        } else {
            Cause::TargetForm
        });
    }
    match target {
        // origin-form = absolute-path [ "?" query ]
        [b'/', ..] => {
            let (path, query) = split_query(target);
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
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, b""));
    // RFC 9110 section 4.2.4: user information can hide the true host from a reader; it is never needed here.
    if authority.contains(&b'@') {
        return Err(Cause::TargetUserinfo);
    }
    // RFC 9110 section 4.2.1: an empty host is invalid.
    if !is_host(authority) {
        return Err(Cause::HostInvalid);
    }
    let (path, query) = split_query(rest);
    let path = if path.is_empty() { b"/" } else { path };
    Ok(Target::Absolute {
        https,
        authority,
        path,
        query,
    })
}

// scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
fn split_scheme(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = target.iter().position(|&byte| byte == b':')?;
    let (scheme, rest) = target.split_at_checked(colon)?;
    let legal = scheme
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !legal || !scheme.first()?.is_ascii_alphabetic() {
        return None;
    }
    Some((scheme, rest.strip_prefix(b"://")?))
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = target.splitn(2, |&byte| byte == b'?');
    (parts.next().unwrap_or(target), parts.next())
}

// authority-form = uri-host ":" port
fn is_authority_form(target: &[u8]) -> bool {
    let tail = target
        .iter()
        .rposition(|&byte| byte == b':')
        .and_then(|colon| target.get(colon..));
    is_host(target) && tail.is_some_and(is_port)
}

/// Decodes the percent-encoded path once and appends it to `out`.
///
/// A `%` without two hexadecimal digits behind it stays as it is. An encoded NUL is refused: no path holds one, and
/// what follows it would be hidden from an application that hands the path to C. On error `out` is as before.
///
/// ```
/// let mut out = Vec::new();
/// assert_eq!(doorway::http::target::decode_path(b"/a%20b%2", &mut out), Ok(()));
/// assert_eq!(out, b"/a b%2");
/// ```
// pct-encoded = "%" HEXDIG HEXDIG
pub fn decode_path(path: &[u8], out: &mut Vec<u8>) -> Result<(), Cause> {
    let before = out.len();
    let mut parts = path.split(|&byte| byte == b'%');
    out.extend_from_slice(parts.next().unwrap_or(&[]));
    // Each further part followed a percent sign.
    for part in parts {
        let rest = match part {
            [high, low, rest @ ..] => hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, rest)),
            _ => None,
        };
        match rest {
            Some((0, _)) => {
                out.truncate(before);
                return Err(Cause::TargetNul);
            }
            Some((byte, rest)) => {
                out.push(byte);
                out.extend_from_slice(rest);
            }
            None => {
                out.push(b'%');
                out.extend_from_slice(part);
            }
        }
    }
    Ok(())
}

/// The value of a hexadecimal digit.
// HEXDIG = DIGIT / "A" / "B" / "C" / "D" / "E" / "F", in either case
pub(super) const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether the bytes are a host with an optional port, as Host and an authority without user information hold it
/// (RFC 9110 section 7.2, RFC 3986 section 3.2.2).
///
/// Stricter than the grammar in three points: the host is not empty, a colon has a port of at most 65,535 behind it,
/// and addresses of a future kind (`[v1.x]`) are refused.
///
/// ```
/// use doorway::http::target::is_host;
///
/// assert!(is_host(b"example.org:8080") && is_host(b"[::1]:80") && !is_host(b"a/b") && !is_host(b""));
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
    let end = bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at_checked(end).unwrap_or((bytes, b""));
    !name.is_empty() && is_reg_name(name) && (rest.is_empty() || is_port(rest))
}

// reg-name = *( unreserved / pct-encoded / sub-delims )
fn is_reg_name(mut name: &[u8]) -> bool {
    // Every IPv4address is a reg-name too.
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        }
    }
}

/// Whether the bytes are a colon and a port.
// port = *DIGIT
fn is_port(bytes: &[u8]) -> bool {
    let Some(digits) = bytes.strip_prefix(b":") else {
        return false;
    };
    let value = digits.iter().fold(0, |value: u32, digit| {
        value.saturating_mul(10).saturating_add(u32::from(digit & 15))
    });
    (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) && value <= 65_535
}
