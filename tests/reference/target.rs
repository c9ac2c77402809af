//! The forms of a request target (RFC 9112 section 3.2) and the hosts in them (RFC 3986 section 3.2.2).

use super::{Fault, hex_digit, same};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Of an absolute target: whether it says https, and its authority.
    pub absolute: Option<(bool, Vec<u8>)>,
    /// Encoded; `None` for `*`.
    pub path: Option<Vec<u8>>,
    pub query: Option<Vec<u8>>,
}

/// Takes a target of visible ASCII apart.
pub fn read_target(target: &[u8], method: &[u8]) -> Result<Target, Fault> {
    if method == b"CONNECT" {
        // authority-form = uri-host ":" port
        return Err(if is_host(target, true) { Fault::Tunnel } else { Fault::TargetNoForm });
    }
    if target.first() == Some(&b'/') {
        return with_path(None, target);
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok(Target { absolute: None, path: None, query: None });
    }
    // absolute-form = scheme "://" authority path-abempty [ "?" query ]
    let text = String::from_utf8_lossy(target).into_owned();
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Fault::TargetNoForm);
    };
    let is_scheme = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !is_scheme || !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(Fault::TargetNoForm);
    }
    let https = same(scheme.as_bytes(), "https");
    if !https && !same(scheme.as_bytes(), "http") {
        return Err(Fault::SchemeUnknown);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err(Fault::UserInformation);
    }
    if !is_host(authority.as_bytes(), false) {
        return Err(Fault::BadHost);
    }
    with_path(Some((https, authority.as_bytes().to_vec())), path.as_bytes())
}

fn with_path(absolute: Option<(bool, Vec<u8>)>, text: &[u8]) -> Result<Target, Fault> {
    let mark = text.iter().position(|byte| *byte == b'?');
    let path = &text[..mark.unwrap_or(text.len())];
    let query = mark.map(|mark| text[mark + 1..].to_vec());
    // No form of RFC 3986 has one. (In a query browsers send it as it is.)
    if path.contains(&b'\\') {
        return Err(Fault::TargetOctet);
    }
    for at in 0..path.len() {
        if path[at..].starts_with(b"%00") {
            return Err(Fault::EncodedNul);
        }
    }
    let path = if path.is_empty() { b"/".to_vec() } else { path.to_vec() };
    Ok(Target { absolute, path: Some(path), query })
}

/// Percent-decoding, once; what is no escape stays as it is.
pub fn decode(path: &[u8]) -> Vec<u8> {
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < path.len() {
        let digits = (path.get(at + 1).and_then(|b| hex_digit(*b)), path.get(at + 2).and_then(|b| hex_digit(*b)));
        match (path[at], digits) {
            (b'%', (Some(high), Some(low))) => {
                decoded.push(16 * high + low);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// uri-host [ ":" port ], or with a port that is needed and not empty (RFC 9110 section 9.3.6). The host is not empty, a port is a number
/// up to 65,535 of at most five digits, and there are no addresses of future kinds.
pub fn is_host(text: &[u8], needs_port: bool) -> bool {
    let host_end = match text.first() {
        Some(b'[') => match text.iter().position(|byte| *byte == b']') {
            Some(close) if is_ipv6(&text[1..close]) => close + 1,
            _ => return false,
        },
        // reg-name = *( unreserved / pct-encoded / sub-delims ), which every IPv4address is as well
        _ => {
            let mut at = 0;
            while at < text.len() && text[at] != b':' {
                let is_escape = text[at] == b'%'
                    && text.get(at + 1).is_some_and(u8::is_ascii_hexdigit)
                    && text.get(at + 2).is_some_and(u8::is_ascii_hexdigit);
                let is_plain = text[at].is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&text[at]);
                at += match (is_escape, is_plain) {
                    (true, _) => 3,
                    (_, true) => 1,
                    _ => return false,
                };
            }
            if at == 0 {
                return false;
            }
            at
        }
    };
    match text[host_end..].split_first() {
        None => !needs_port,
        Some((b':', port)) => is_port(port) || (port.is_empty() && !needs_port),
        Some(_) => false,
    }
}

fn is_port(port: &[u8]) -> bool {
    let digits = String::from_utf8_lossy(port);
    let plain = !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain && digits.parse::<u32>().is_ok_and(|port| port <= 65_535)
}

// IPv6address =                            6( h16 ":" ) ls32
//             /                       "::" 5( h16 ":" ) ls32
//             / [               h16 ] "::" 4( h16 ":" ) ls32
//             / ...
//             / [ *6( h16 ":" ) h16 ] "::"
// ls32        = ( h16 ":" h16 ) / IPv4address
fn is_ipv6(address: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(address) else {
        return false;
    };
    match text.split_once("::") {
        None => groups(text, true) == Some(8),
        Some((before, after)) => {
            let count = |part: &str, last| if part.is_empty() { Some(0) } else { groups(part, last) };
            match (count(before, false), count(after, true)) {
                (Some(before), Some(after)) => before + after <= 7,
                _ => false,
            }
        }
    }
}

/// How many groups of 16 bits a run of h16 is; an IPv4address may be the last and counts for two.
fn groups(text: &str, may_end_in_ipv4: bool) -> Option<usize> {
    let parts: Vec<&str> = text.split(':').collect();
    let mut count = 0;
    for (at, part) in parts.iter().enumerate() {
        if (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            count += 1;
        } else if may_end_in_ipv4 && at + 1 == parts.len() && is_ipv4(part) {
            count += 2;
        } else {
            return None;
        }
    }
    Some(count)
}

// IPv4address = dec-octet "." dec-octet "." dec-octet "." dec-octet
fn is_ipv4(text: &str) -> bool {
    let octets: Vec<&str> = text.split('.').collect();
    octets.len() == 4 && octets.iter().all(|octet| (0..=255).any(|number| number.to_string() == *octet))
}
