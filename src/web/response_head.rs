//! The head of a response: status line and field lines, parsed in place, for whoever asks another server.
//!
//! RFC 9112 sections 4 and 5, RFC 9110 section 15. Field lines are read by the rules of a request's [`head`], so a
//! response whose head could be read in two ways is as invalid as a request: nothing is repaired and nothing merged. The one
//! leniency, `HTTP/1.1 200` without the space that should follow, has a single reading and is common. What follows a whole head
//! is found by [`content`], which knows each length or refuses. No socket, no thread, no clock.

use crate::cause::Cause;
pub use crate::http::head::Parsed;
use crate::http::head::{self, Limits, Spans, Stop, Version, expect_crlf, parse_fields, parse_within};
use crate::http::{framing, scan};

/// A syntactically valid head, borrowed from the buffer.
#[derive(Clone, Debug, Copy)]
pub struct ResponseHead<'buf> {
    bytes: &'buf [u8],
    spans: &'buf Spans,
    version: Version,
    status: u16,
    reason: &'buf [u8],
}

impl<'buf> ResponseHead<'buf> {
    /// The version (RFC 9112 section 2.3).
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The status code: 100 to 999, of which nothing from 600 on has a meaning (RFC 9110 section 15).
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, which may be empty and of any bytes but controls.
    pub const fn reason(&self) -> &'buf [u8] {
        self.reason
    }

    /// The fields in the order of arrival: name as spelt, value without the white space around it.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'buf [u8], &'buf [u8])> + Clone + use<'buf> {
        head::fields(self.bytes, &self.spans.places)
    }

    /// The values of a field, by its name in any case.
    pub fn values(&self, name: &'buf str) -> impl Iterator<Item = &'buf [u8]> + use<'buf> {
        let named = self.fields().filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| value)
    }

    /// The number of bytes of the head with the empty line that ends it: the content starts there.
    #[expect(clippy::len_without_is_empty, reason = "a head is never empty")]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Parses the head at the start of `bytes`; what follows it is not looked at.
///
/// ```
/// use doorway::http::head::{Limits, Spans};
/// use doorway::http::response_head::{Parsed, parse};
///
/// let mut spans = Spans::new();
/// let bytes = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
/// let Parsed::Complete(head) = parse(bytes, &Limits::default(), &mut spans) else { panic!("a valid head") };
/// assert_eq!((head.status(), head.reason(), head.len()), (404, &b"Not Found"[..], bytes.len()));
/// assert_eq!(head.values("content-length").next(), Some(&b"0"[..]));
/// ```
pub fn parse<'buf>(bytes: &'buf [u8], limits: &Limits, spans: &'buf mut Spans) -> Parsed<ResponseHead<'buf>> {
    parse_within(bytes, limits, |allowed| parse_allowed(allowed, limits, spans))
}

fn parse_allowed<'buf>(bytes: &'buf [u8], limits: &Limits, spans: &'buf mut Spans) -> Result<ResponseHead<'buf>, Stop> {
    let (version, status) = parse_status(bytes)?;
    let reason = if bytes.get(STATUS_END) == Some(&b' ') { STATUS_END + 1 } else { STATUS_END };
    let reason_end = scan::field_value_end(bytes, reason);
    if reason_end - reason > limits.field_line {
        return Err(Stop::Invalid(Cause::StatusLine));
    }
    match bytes.get(reason_end) {
        Some(b'\r') if reason_end == reason || reason > STATUS_END => {}
        None if reason > STATUS_END || reason_end == reason => return Err(Stop::Incomplete),
        _ => return Err(Stop::Invalid(Cause::StatusLine)),
    }
    let fields = expect_crlf(bytes.split_at(reason_end).1)?;
    let behind = parse_fields(bytes, fields, limits, spans)?;
    let bytes = bytes.split_at(bytes.len() - behind.len()).0;
    let reason = bytes.get(reason..reason_end).ok_or(Stop::Incomplete)?;
    Ok(ResponseHead { bytes, spans, version, status, reason })
}

/// Where the status code ends: `HTTP/1.1 200`.
const STATUS_END: usize = 12;

// status-line = HTTP-version SP status-code SP [ reason-phrase ]
// status-code = 3DIGIT
fn parse_status(bytes: &[u8]) -> Result<(Version, u16), Stop> {
    let mut status = 0;
    for (at, pattern) in b"HTTP/1.0 000".iter().enumerate() {
        let byte = *bytes.get(at).ok_or(Stop::Incomplete)?;
        let fits = match (at, pattern) {
            (9, _) => (b'1'..=b'9').contains(&byte),
            (_, b'0') => byte.is_ascii_digit(),
            _ => byte == *pattern,
        };
        if !fits {
            return Err(Stop::Invalid(Cause::StatusLine));
        }
        if at > 8 {
            status = status * 10 + u16::from(byte & 15);
        }
    }
    let version = if bytes.get(7) == Some(&b'0') { Version::Http10 } else { Version::Http11 };
    Ok((version, status))
}

/// How the content of a response is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// There is none: the response ends with its head.
    None,
    /// As many bytes as Content-Length says.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Everything until the connection ends.
    Close,
}

/// The content of a response to a request; `to_head` says that the request was a HEAD.
///
/// Smuggling: both lengths, two Content-Length fields (equal or not), a coding other than chunked, or any coding with HTTP/1.0 could
/// make two recipients find different ends, so such a response is refused, which RFC 9112 section 6.3 allows.
///
/// # Errors
/// [`Cause::LengthAndCoding`], [`Cause::FieldRepeated`], [`Cause::ContentLength`], [`Cause::CodingVersion`],
/// [`Cause::CodingUnknown`], [`Cause::CodingInvalid`].
pub fn content(head: &ResponseHead<'_>, to_head: bool) -> Result<Content, Cause> {
    // RFC 9112 section 6.3 rule 1: whatever the fields say.
    if to_head || matches!(head.status(), 100..=199 | 204 | 304) {
        return Ok(Content::None);
    }
    let one = |name| {
        let mut values = head.values(name);
        let value = values.next();
        if values.next().is_some() { Err(Cause::FieldRepeated) } else { Ok(value) }
    };
    match framing::content(head.version(), one("content-length")?, one("transfer-encoding")?)? {
        framing::Content::None => Ok(Content::Close),
        framing::Content::Length(length) => Ok(Content::Length(length)),
        framing::Content::Chunked => Ok(Content::Chunked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bytes: &[u8]) -> Result<Option<(u16, Vec<u8>, usize)>, Cause> {
        match parse(bytes, &Limits { head: 256, ..Limits::default() }, &mut Spans::new()) {
            Parsed::Incomplete => Ok(None),
            Parsed::Invalid(cause) => Err(cause),
            Parsed::Complete(head) => Ok(Some((head.status(), head.reason().to_vec(), head.len()))),
        }
    }

    fn delimited(bytes: &[u8], to_head: bool) -> Result<Content, Cause> {
        match parse(bytes, &Limits::default(), &mut Spans::new()) {
            Parsed::Complete(head) => content(&head, to_head),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rfc9112_4_a_status_line_is_version_code_and_reason() {
        for (line, status, reason) in [
            ("HTTP/1.1 200 OK", 200, "OK"),
            ("HTTP/1.0 404 Not Found", 404, "Not Found"),
            ("HTTP/1.1 200 ", 200, ""),
            ("HTTP/1.1 200", 200, ""),
            ("HTTP/1.9 599 \u{e4}\t!", 599, "\u{e4}\t!"),
        ] {
            let bytes = format!("{line}\r\nA: b\r\n\r\nrest");
            let whole = (status, reason.as_bytes().to_vec(), bytes.len() - 4);
            assert_eq!(verdict(bytes.as_bytes()), Ok(Some(whole)), "{line}");
            for end in 0..bytes.len() - 4 {
                assert_eq!(verdict(&bytes.as_bytes()[..end]), Ok(None), "{line} at {end}");
            }
        }
    }

    #[test]
    fn rfc9112_4_every_other_status_line_is_refused() {
        for line in [
            "ICY 200 OK",
            "http/1.1 200 OK",
            "HTTP/2.0 200 OK",
            "HTTP/1.10 200 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 099 OK",
            "HTTP/1.1 +20 OK",
            "HTTP/1.1\t200 OK",
            "HTTP/1.1 200 O\0K",
            "\r\nHTTP/1.1 200 OK",
        ] {
            assert_eq!(verdict(format!("{line}\r\n\r\n").as_bytes()), Err(Cause::StatusLine), "{line:?}");
        }
        assert_eq!(verdict(b"HTTP/1.1 200 OK\n\r\n"), Err(Cause::StatusLine));
        assert_eq!(verdict(b"HTTP/1.1 200 OK\rX"), Err(Cause::BareCr));
    }

    #[test]
    fn rfc9112_5_fields_are_read_as_strictly_as_those_of_a_request() {
        for (field, cause) in [
            ("A : b", Cause::FieldSpace),
            (" A: b", Cause::FieldFold),
            ("A", Cause::FieldColon),
            ("A: \x01", Cause::FieldValue),
            ("A: b\nB: c", Cause::BareLf),
        ] {
            assert_eq!(verdict(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n").as_bytes()), Err(cause), "{field:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(256));
        assert_eq!(verdict(long.as_bytes()), Err(Cause::HeadLong));
    }

    #[test]
    fn rfc9112_6_3_a_response_has_one_length_or_is_refused() {
        let rows: &[(&str, &str, Result<Content, Cause>)] = &[
            ("200 OK", "Content-Length: 5", Ok(Content::Length(5))),
            ("200 OK", "Transfer-Encoding: chunked", Ok(Content::Chunked)),
            ("200 OK", "A: b", Ok(Content::Close)),
            ("204 No Content", "Content-Length: 5", Ok(Content::None)),
            ("304 Not Modified", "Content-Length: 5", Ok(Content::None)),
            ("100 Continue", "A: b", Ok(Content::None)),
            ("200 OK", "Content-Length: 5\r\nTransfer-Encoding: chunked", Err(Cause::LengthAndCoding)),
            ("200 OK", "Content-Length: 5\r\ncontent-length: 5", Err(Cause::FieldRepeated)),
            ("200 OK", "Content-Length: 5, 5", Err(Cause::ContentLength)),
            ("200 OK", "Content-Length: -5", Err(Cause::ContentLength)),
            ("200 OK", "Transfer-Encoding: gzip, chunked", Err(Cause::CodingInvalid)),
            ("200 OK", "Transfer-Encoding: gzip", Err(Cause::CodingUnknown)),
            ("200 OK", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err(Cause::FieldRepeated)),
        ];
        for (status, fields, expected) in rows {
            let bytes = format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n");
            assert_eq!(delimited(bytes.as_bytes(), false), *expected, "{status} {fields}");
            assert_eq!(delimited(bytes.as_bytes(), true), Ok(Content::None), "HEAD: {status} {fields}");
        }
        let old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(delimited(old, false), Err(Cause::CodingVersion));
    }
}
