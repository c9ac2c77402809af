//! The values of `Forwarded` and `X-Forwarded-For` as text: pure functions.
//!
//! RFC 7239 sections 4 and 6. More than the grammar allows is accepted in one place: white space around `;`, which many send.
//! `None` is the only complaint; which field it was about is known to the caller.

use std::net::{IpAddr, SocketAddr};

use crate::http::scan::is_token;

/// One element of `Forwarded`: what one proxy says of the request it has received.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) client: Option<String>,
    pub(super) proto: Option<String>,
    pub(super) host: Option<String>,
}

/// The elements of a `Forwarded` field, from the client's end.
///
/// ```text
/// Forwarded         = 1#forwarded-element
/// forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
/// forwarded-pair    = token "=" value
/// value             = token / quoted-string
/// ```
pub(super) fn elements(field: &str) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for text in split_outside_quotes(field, b',')? {
        if text.is_empty() {
            continue;
        }
        let mut element = Element::default();
        for pair in split_outside_quotes(text, b';')? {
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').filter(|(name, _)| is_token(name.as_bytes()))?;
            let value = if is_token(value.as_bytes()) { value.to_owned() } else { unquoted(value)? };
            let place = match name.to_ascii_lowercase().as_str() {
                "for" => &mut element.client,
                "proto" => &mut element.proto,
                "host" => &mut element.host,
                // `by`, and extensions.
                _ => continue,
            };
            // "Each parameter MUST NOT occur more than once per field-value" of a proxy.
            if place.replace(value).is_some() {
                return None;
            }
        }
        elements.push(element);
    }
    Some(elements)
}

/// The address and port of a node; no address for `unknown` and for names that hide one (`_gazonk`).
///
/// ```text
/// node     = nodename [ ":" node-port ]
/// nodename = IPv4address / "[" IPv6address "]" / "unknown" / obfnode
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
}

impl Node {
    /// Reads a node, and the bare IPv6 address that stands in `X-Forwarded-For`.
    pub(super) fn parse(text: &str) -> Option<Node> {
        // A port may be hidden as well.
        let text = text.split_once(":_").map_or(text, |(name, _)| name);
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Some(Node { address: Some(socket.ip().to_canonical()), port: Some(socket.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if bare.is_none_or(|bare| bare.contains(':')) {
            if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
                return Some(Node { address: Some(address.to_canonical()), port: None });
            }
        }
        let name = text.split_once(':').map_or(text, |(name, _)| name);
        let is_hidden = name.starts_with('_') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        (is_hidden || name.eq_ignore_ascii_case("unknown")).then_some(Node { address: None, port: None })
    }
}

/// The parts between separators that do not stand in a quoted string, without white space around them.
fn split_outside_quotes(text: &str, separator: u8) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(|c: char| {
        let is_escaped = std::mem::take(&mut escaped);
        match c {
            '"' if !is_escaped => quoted = !quoted,
            '\\' => escaped = !is_escaped,
            _ => {}
        }
        !quoted && c == char::from(separator)
    });
    let parts = parts.map(|part| part.trim_matches([' ', '\t'])).collect();
    (!quoted).then_some(parts)
}

/// The text of a quoted-string (RFC 9110 section 5.6.4).
fn unquoted(text: &str) -> Option<String> {
    let mut characters = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut out = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.push(characters.next()?),
            '"' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(client: &str, proto: &str, host: &str) -> Element {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Element { client: some(client), proto: some(proto), host: some(host) }
    }

    #[test]
    fn rfc7239_4_elements_and_pairs_are_read_in_order_and_names_without_case() {
        let vectors = [
            ("for=\"_gazonk\"", vec![element("_gazonk", "", "")]),
            ("For=\"[2001:db8:cafe::17]:4711\"", vec![element("[2001:db8:cafe::17]:4711", "", "")]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", vec![element("192.0.2.60", "http", "")]),
            (
                "for=192.0.2.43, for=198.51.100.17",
                vec![element("192.0.2.43", "", ""), element("198.51.100.17", "", "")],
            ),
            (" , for=a;;HOST=\"x,y;z\\\"\" ; proto=https,,", vec![element("a", "https", "x,y;z\"")]),
            ("secret=x;by=_proxy", vec![element("", "", "")]),
            ("", vec![]),
        ];
        for (field, expected) in vectors {
            assert_eq!(elements(field), Some(expected), "{field}");
        }
    }

    #[test]
    fn rfc7239_4_what_breaks_the_grammar_is_refused() {
        for field in [
            "for",
            "=a",
            "for=",
            "for=a b",
            "for=[::1]",
            "for=\"a",
            "for=a\"b\"",
            "for=\"a\"\"b\"",
            "for=\"a\\\"",
            "f r=a",
            "for=a;for=b",
            "for=a, proto=http;proto=http",
            "for =a",
            "for= a",
            "for=a:80",
            "for=\u{e4}",
        ] {
            assert_eq!(elements(field), None, "{field}");
        }
    }

    #[test]
    fn rfc7239_6_a_node_is_an_address_with_or_without_port_or_a_name_that_hides_one() {
        let address = |text: &str, port| Some(Node { address: Some(text.parse().unwrap()), port });
        let hidden = Some(Node { address: None, port: None });
        let vectors = [
            ("192.0.2.1", address("192.0.2.1", None)),
            ("192.0.2.1:80", address("192.0.2.1", Some(80))),
            ("[2001:db8::1]", address("2001:db8::1", None)),
            ("[2001:db8::1]:65535", address("2001:db8::1", Some(65535))),
            ("2001:db8::1", address("2001:db8::1", None)),
            ("::ffff:10.0.0.1", address("10.0.0.1", None)),
            ("192.0.2.1:_port", address("192.0.2.1", None)),
            ("unknown", hidden),
            ("UNKNOWN:4711", hidden),
            ("_hidden-1.x", hidden),
        ];
        for (text, expected) in vectors {
            assert_eq!(Node::parse(text), expected, "{text}");
        }
        for text in [
            "",
            "_a b",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "[192.0.2.1]",
            "[::1",
            "::1]",
            "a.example",
            "localhost",
        ] {
            assert_eq!(Node::parse(text), None, "{text}");
        }
    }
}
