//! What a syntactically valid head asks for: target, host, content and the fate of the connection.
//!
//! RFC 9110 sections 7.2, 7.6.1 and 10.1.1, RFC 9112 sections 3.2, 6 and 9.3. One pass over the fields, no allocation.
//! Invariant: where a head has several faults, the first in this order is named, whatever the order of the fields:
//! target, repeated fields, Host, content, Expect. It does not interpret any other field.

use super::field::Known;
use super::framing::{self, Content};
use super::head::{Head, Version};
use super::scan;
use super::target::{self, Target};
use crate::cause::Cause;

/// A valid request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'buf> {
    /// The head it was read from.
    pub head: Head<'buf>,
    /// The request target, taken apart.
    pub target: Target<'buf>,
    /// The authority the request is for: that of an absolute target, else the Host field; `None` where that is missing
    /// (HTTP/1.0) or empty.
    pub host: Option<&'buf [u8]>,
    /// How the content is delimited.
    pub content: Content,
    /// The client waits for `100 Continue` before it sends the content.
    pub expects_continue: bool,
    /// The connection may persist as far as the client is concerned. A client of HTTP/1.0 has asked for it then, and a response that keeps
    /// the connection must say `Connection: keep-alive`.
    pub keep_alive: bool,
    /// What the client would rather speak behind this request, where it could: it is HTTP/1.1, has no content, and Connection names the field
    /// (RFC 9110 section 7.8). Of several fields it is the last.
    pub upgrade: Option<&'buf [u8]>,
}

/// Reads a request from its head.
///
/// ```
/// use doorway::http::{head::{Limits, Parsed, Spans, parse}, request::read};
///
/// let mut spans = Spans::new();
/// let bytes = b"GET /hello HTTP/1.1\r\nHost: example.org\r\n\r\n";
/// let Parsed::Complete(head) = parse(bytes, &Limits::default(), &mut spans) else { panic!("a valid head") };
/// let request = read(head).unwrap();
/// assert_eq!((request.host, request.keep_alive), (Some(&b"example.org"[..]), true));
/// ```
pub fn read<'buf>(head: Head<'buf>) -> Result<Request<'buf>, Cause> {
    read_after(head, &mut Vec::new())
}

/// The same, beside the last host that was valid: the next is likely to be the same, which is quicker to see than whether it is valid.
pub(crate) fn read_after<'buf>(head: Head<'buf>, valid: &mut Vec<u8>) -> Result<Request<'buf>, Cause> {
    let version = head.version();
    let target = target::parse(head.target(), head.method())?;
    // Two values of these would leave it to each recipient which to believe.
    let mut once = [None; Known::ONCE];
    let (mut close, mut keep_alive, mut upgrades, mut upgrade) = (false, false, false, None);
    // Most fields mean nothing here.
    for span in head.spans.iter().filter(|span| span.known <= Known::UPGRADE) {
        if let Some(place) = once.get_mut(span.known.index()) {
            if place.replace(span.value(head.bytes)).is_some() {
                return Err(Cause::FieldRepeated);
            }
        } else if span.known == Known::CONNECTION {
            // Connection = #connection-option
            for option in span.value(head.bytes).split(|&byte| byte == b',').map(scan::trim_ows) {
                close |= option.eq_ignore_ascii_case(b"close");
                keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                upgrades |= option.eq_ignore_ascii_case(b"upgrade");
            }
        } else if span.known == Known::UPGRADE {
            upgrade = Some(span.value(head.bytes));
        }
    }
    let [host, length, _content_type, _authorization, coding, expect] = once;
    let host = read_host(version, &target, host, valid)?;
    let content = framing::content(version, length, coding)?;
    let has_content = !matches!(content, Content::None | Content::Length(0));
    // Expect = #expectation, of which 100-continue is the only one, and to be ignored in HTTP/1.0 (RFC 9110 section 10.1.1).
    let expect = expect.filter(|_| version == Version::Http11);
    if expect.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Cause::ExpectUnknown);
    }
    Ok(Request {
        head,
        target,
        host,
        content,
        // No 100 where no content will follow.
        expects_continue: expect.is_some() && has_content,
        // RFC 9112 section 9.3: close is stronger than everything, HTTP/1.1 persists, HTTP/1.0 on request.
        keep_alive: !close && (version == Version::Http11 || keep_alive),
        // RFC 9110 section 7.8: to be ignored in HTTP/1.0; and content would have to be whole before anything else could be spoken.
        upgrade: upgrade.filter(|_| upgrades && version == Version::Http11 && !has_content),
    })
}

/// The value of a field, where it was sent.
type Field<'buf> = Option<&'buf [u8]>;

// RFC 9112 section 3.2: 400 for a request of HTTP/1.1 without Host and for any with an invalid one. In section 3.2.2 the
// authority of an absolute target replaces the field, which must be sent and valid all the same.
fn read_host<'buf>(
    version: Version,
    target: &Target<'buf>,
    field: Field<'buf>,
    valid: &mut Vec<u8>,
) -> Result<Field<'buf>, Cause> {
    if let Some(host) = field.filter(|host| !host.is_empty() && **host != **valid) {
        if !target::is_host(host) {
            return Err(Cause::HostInvalid);
        }
        host.clone_into(valid);
    }
    match (target, field) {
        (_, None) if version == Version::Http11 => Err(Cause::HostMissing),
        // Empty means that the target has no authority, so here it contradicts the target.
        (Target::Absolute { .. }, Some(b"")) => Err(Cause::HostInvalid),
        (Target::Absolute { authority, .. }, _) => Ok(Some(*authority)),
        (_, field) => Ok(field.filter(|host| !host.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Limits, Parsed, Spans, parse};

    fn with<T>(bytes: &str, look: impl Fn(Result<Request<'_>, Cause>) -> T) -> T {
        let mut spans = Spans::new();
        match parse(bytes.as_bytes(), &Limits::default(), &mut spans) {
            Parsed::Complete(head) => look(read(head)),
            other => panic!("{other:?}: {bytes}"),
        }
    }

    fn cause(line: &str, fields: &str) -> Option<Cause> {
        with(&format!("{line}\r\n{fields}\r\n"), |request| request.err())
    }

    const GET_11: &str = "GET / HTTP/1.1";
    const GET_10: &str = "GET / HTTP/1.0";

    #[test]
    fn rfc9112_3_2_host_is_required_in_1_1_and_valid_everywhere() {
        let host = |line: &str, fields: &str| {
            with(&format!("{line}\r\n{fields}\r\n"), |request| request.map(|request| request.host.map(<[u8]>::to_vec)))
        };
        assert_eq!(host(GET_11, "hOST: a:1\r\n"), Ok(Some(b"a:1".to_vec())));
        assert_eq!(host(GET_11, ""), Err(Cause::HostMissing));
        assert_eq!(host("GET / HTTP/1.2", ""), Err(Cause::HostMissing));
        assert_eq!(host(GET_10, ""), Ok(None));
        assert_eq!(host(GET_11, "Host:\r\n"), Ok(None));
        assert_eq!(host("OPTIONS * HTTP/1.1", "Host:\r\n"), Ok(None));
        for line in [GET_10, GET_11, "GET http://b/ HTTP/1.1"] {
            for value in ["a b", "a/b", "a, b", "u@a", "a:x"] {
                assert_eq!(host(line, &format!("Host: {value}\r\n")), Err(Cause::HostInvalid), "{value}");
            }
        }
        assert_eq!(host("GET http://b:2/ HTTP/1.1", "Host: a\r\n"), Ok(Some(b"b:2".to_vec())));
        assert_eq!(host("GET http://b/ HTTP/1.0", ""), Ok(Some(b"b".to_vec())));
        assert_eq!(host("GET http://b/ HTTP/1.1", ""), Err(Cause::HostMissing));
        assert_eq!(host("GET http://b/ HTTP/1.1", "Host:\r\n"), Err(Cause::HostInvalid));
    }

    #[test]
    fn rfc9110_5_3_fields_of_one_value_are_refused_when_repeated() {
        let values = [
            ("Host", "a"),
            ("Content-Length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Type", "text/plain"),
            ("Expect", "100-continue"),
            ("Authorization", "Basic YTpi"),
        ];
        for (name, value) in values {
            let host = if name == "Host" { "" } else { "Host: a\r\n" };
            let once = format!("{host}{name}: {value}\r\n");
            let twice = format!("{once}X: y\r\n{}: {value}\r\n", name.to_uppercase());
            assert_eq!(cause(GET_11, &once), None, "{name}");
            assert_eq!(cause(GET_11, &twice), Some(Cause::FieldRepeated), "{name}");
        }
        assert_eq!(cause(GET_11, "Host: a\r\nCookie: a\r\nCookie: b\r\nAccept: c\r\nAccept: d\r\n"), None);
    }

    #[test]
    fn the_first_fault_in_the_documented_order_is_named_whatever_the_order_of_the_fields() {
        let fields =
            ["Expect: x\r\n", "Content-Length: x\r\n", "Host: a b\r\n", "Content-Type: a\r\nContent-Type: b\r\n"];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let given = |used: usize| order.iter().filter(|&&at| at < used).map(|&at| fields[at]).collect::<String>();
            let host = "Host: a\r\n";
            assert_eq!(cause(GET_11, &format!("{host}{}", given(1))), Some(Cause::ExpectUnknown));
            assert_eq!(cause(GET_11, &format!("{host}{}", given(2))), Some(Cause::ContentLength));
            assert_eq!(cause(GET_11, &given(3)), Some(Cause::HostInvalid));
            assert_eq!(cause(GET_11, &given(4)), Some(Cause::FieldRepeated));
            assert_eq!(cause("GET * HTTP/1.1", &given(4)), Some(Cause::TargetForm));
        }
    }

    #[test]
    fn rfc9112_6_3_the_framing_fields_are_found_in_any_case_and_order() {
        let content = |fields: &str| {
            with(&format!("{GET_11}\r\nHost: a\r\n{fields}\r\n"), |request| request.map(|request| request.content))
        };
        assert_eq!(content(""), Ok(Content::None));
        assert_eq!(content("CONTENT-length: 7\r\n"), Ok(Content::Length(7)));
        assert_eq!(content("transfer-ENCODING: \tChunked \r\n"), Ok(Content::Chunked));
        assert_eq!(content("Content-Length: 7\r\nTransfer-Encoding: gzip\r\n"), Err(Cause::LengthAndCoding));
        assert_eq!(content("Transfer-Encoding: x\r\nContent-Length: y\r\n"), Err(Cause::LengthAndCoding));
        assert_eq!(content("Content-Length: 7, 7\r\n"), Err(Cause::ContentLength));
    }

    #[test]
    fn rfc9110_10_1_1_expect_100_continue_counts_in_1_1_with_content() {
        let expects = |line: &str, fields: &str| {
            with(&format!("{line}\r\nHost: a\r\n{fields}\r\n"), |request| {
                request.map(|request| request.expects_continue)
            })
        };
        assert_eq!(expects(GET_11, "Expect: 100-Continue\r\nContent-Length: 1\r\n"), Ok(true));
        assert_eq!(expects(GET_11, "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"), Ok(true));
        assert_eq!(expects(GET_11, "Expect: 100-continue\r\nContent-Length: 0\r\n"), Ok(false));
        assert_eq!(expects(GET_11, "Expect: 100-continue\r\n"), Ok(false));
        assert_eq!(expects(GET_10, "Expect: 100-continue\r\nContent-Length: 1\r\n"), Ok(false));
        assert_eq!(expects(GET_10, "Expect: x\r\n"), Ok(false));
        for value in ["", "x", "100-continue, x", "100-continue;a", "100-continue, 100-continue"] {
            assert_eq!(expects(GET_11, &format!("Expect: {value}\r\n")), Err(Cause::ExpectUnknown), "{value}");
        }
    }

    #[test]
    fn rfc9112_9_3_close_wins_and_1_0_persists_on_request_only() {
        for (fields, on_11, on_10) in [
            ("", true, false),
            ("Connection: close\r\n", false, false),
            ("Connection: Keep-Alive\r\n", true, true),
            ("Connection: keep-alive, CLOSE\r\n", false, false),
            ("Connection: close\r\nConnection: keep-alive\r\n", false, false),
            ("Connection: keep-alive\r\nX: y\r\ncONNECTION: upgrade\t,close ,\r\n", false, false),
            ("Connection: Upgrade\r\nUpgrade: h2c\r\n", true, false),
            ("Connection: ,, ,keep-alive\r\n", true, true),
            ("Connection: closed, not-keep-alive, clos\r\n", true, false),
            ("Connection: \"close\"\r\n", true, false),
            ("Connection:\r\n", true, false),
            ("Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n", true, false),
        ] {
            for (line, expected) in [(GET_11, on_11), (GET_10, on_10)] {
                with(&format!("{line}\r\nHost: a\r\n{fields}\r\n"), |request| {
                    let request = request.unwrap();
                    assert_eq!(request.keep_alive, expected, "{line} {fields}");
                });
            }
        }
    }
}
