//! How long a message is: one table for requests, one for responses.
//!
//! RFC 9112 sections 6 and 7, RFC 9110 section 8.6. Invariant: each message has exactly one length, known before its
//! first byte of content is read or sent; a request that could be read in two ways is refused. It does not read fields
//! or content.

use super::{head::Version, scan};
use crate::cause::Cause;

/// How the content of a request is delimited. A request without content ends with its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Neither Content-Length nor Transfer-Encoding: no content.
    #[default]
    None,
    /// As many bytes as Content-Length says.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// The content of a request from its version and the values of Content-Length and Transfer-Encoding (each at most once in the head).
///
/// ```
/// use doorway::http::{framing::{Content, content}, head::Version};
///
/// assert_eq!(content(Version::Http11, Some(b"12"), None), Ok(Content::Length(12)));
/// assert_eq!(content(Version::Http11, None, Some(b"chunked")), Ok(Content::Chunked));
/// ```
pub fn content(version: Version, length: Option<&[u8]>, coding: Option<&[u8]>) -> Result<Content, Cause> {
    match (length, coding, version) {
        (None, None, _) => Ok(Content::None),
        // Smuggling: RFC 9112 section 6.3 rule 3 allows to refuse it, and two recipients may not pick different fields.
        (Some(_), Some(_), _) => Err(Cause::LengthAndCoding),
        (Some(value), None, _) => scan::decimal(value).map(Content::Length).ok_or(Cause::ContentLength),
        // RFC 9112 section 6.1: with HTTP/1.0 the framing is faulty.
        (None, Some(_), Version::Http10) => Err(Cause::CodingVersion),
        (None, Some(value), _) if value.eq_ignore_ascii_case(b"chunked") => Ok(Content::Chunked),
        // RFC 9112 section 6.1: a coding the server does not understand is answered with 501.
        (None, Some(value), _) if scan::is_token(value) => Err(Cause::CodingUnknown),
        (None, Some(_), _) => Err(Cause::CodingInvalid),
    }
}

/// How a client finds the end of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// The response ends with its head, whatever that says: HEAD, 1xx, 204, 205, 304. What the body holds is dropped.
    None,
    /// As many bytes as Content-Length says.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// The end of the connection.
    Close,
}

/// The delimiter of a response, which says whether to send `Transfer-Encoding: chunked`, and its Content-Length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// How the client finds the end.
    pub delimiter: Delimiter,
    /// The Content-Length to send; an application's own value counts only where it stands here.
    pub content_length: Option<u64>,
}

/// The framing of a response, where `to_head` says that the request was a HEAD: `declared` is the application's own Content-Length,
/// `known` the length of a body that is already whole.
///
/// ```
/// use doorway::http::{framing::{Delimiter, response}, head::Version};
///
/// let framing = response(Version::Http11, false, 200, None, None);
/// assert_eq!((framing.delimiter, framing.content_length), (Delimiter::Chunked, None));
/// ```
pub fn response(version: Version, to_head: bool, status: u16, declared: Option<u64>, known: Option<u64>) -> Framing {
    let (delimiter, content_length) = match (status, to_head, declared.or(known), version) {
        // RFC 9110 section 8.6: neither field in 1xx and 204.
        (100..=199 | 204, _, _, _) => (Delimiter::None, None),
        // RFC 9110 section 15.4.5: a length is that of the 200 not sent, which only the application knows.
        (304, _, _, _) => (Delimiter::None, declared),
        // RFC 9110 section 15.3.6: no content, said with a length of 0.
        (205, _, _, _) => (Delimiter::None, Some(0)),
        // RFC 9110 section 8.6: only the length that GET would have. An empty body may just be an application that knows
        // it answers HEAD, so its 0 is no length of anything.
        (_, true, _, _) => (Delimiter::None, declared.or(known.filter(|&length| length > 0))),
        (_, _, Some(length), _) => (Delimiter::Length(length), Some(length)),
        (_, _, None, Version::Http11) => (Delimiter::Chunked, None),
        (_, _, None, Version::Http10) => (Delimiter::Close, None),
    };
    Framing { delimiter, content_length }
}

/// Appends a number in decimal digits without going through the formatter.
pub(crate) fn push_decimal(out: &mut Vec<u8>, number: u64) {
    if number > 9 {
        push_decimal(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use Version::{Http10, Http11};

    #[test]
    fn numbers_are_written_as_decimal_digits() {
        for number in [0, 7, 10, 99, 100, 65_535, u64::MAX] {
            let mut out = b"x".to_vec();
            push_decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }

    #[test]
    fn rfc9112_6_3_a_content_length_is_1_to_19_digits() {
        for (value, length) in [
            ("0", 0),
            ("5", 5),
            ("0005", 5),
            ("1234567890", 1_234_567_890),
            ("9999999999999999999", 9_999_999_999_999_999_999),
        ] {
            for version in [Http10, Http11] {
                assert_eq!(content(version, Some(value.as_bytes()), None), Ok(Content::Length(length)), "{value}");
            }
        }
        for value in [
            "",
            "+5",
            "-1",
            "0x5",
            "5 5",
            "3, 3",
            "3,3",
            " 5",
            "5 ",
            "1e3",
            "a",
            "5.0",
            "\u{661}",
            "00000000000000000001",
            "18446744073709551616",
            "99999999999999999999",
        ] {
            assert_eq!(content(Http11, Some(value.as_bytes()), None), Err(Cause::ContentLength), "{value}");
        }
        assert_eq!(content(Http11, None, None), Ok(Content::None));
    }

    #[test]
    fn rfc9112_6_3_content_length_with_transfer_encoding_is_refused_before_either_is_judged() {
        for version in [Http10, Http11] {
            for (length, coding) in [("5", "chunked"), ("x", "chunked"), ("5", "gzip"), ("", "")] {
                let read = content(version, Some(length.as_bytes()), Some(coding.as_bytes()));
                assert_eq!(read, Err(Cause::LengthAndCoding));
            }
        }
    }

    #[test]
    fn rfc9112_6_1_only_chunked_alone_is_a_transfer_coding() {
        for value in ["chunked", "Chunked", "CHUNKED"] {
            assert_eq!(content(Http11, None, Some(value.as_bytes())), Ok(Content::Chunked));
            assert_eq!(content(Http10, None, Some(value.as_bytes())), Err(Cause::CodingVersion));
        }
        for value in ["gzip", "identity", "xchunked", "chunkedx"] {
            assert_eq!(content(Http11, None, Some(value.as_bytes())), Err(Cause::CodingUnknown), "{value}");
        }
        for value in [
            "",
            "gzip, chunked",
            "chunked, chunked",
            "chunked,",
            ",chunked",
            "chunked;a=b",
            "chunked chunked",
            "\"chunked\"",
            " chunked",
            "chunked\u{b}",
            "chunked ",
        ] {
            assert_eq!(content(Http11, None, Some(value.as_bytes())), Err(Cause::CodingInvalid), "{value:?}");
        }
    }

    #[test]
    fn rfc9110_8_6_a_response_has_one_delimiter_and_the_fields_that_say_so() {
        use Delimiter::{Chunked, Close, Length, None as Nothing};
        let rows = [
            // version, HEAD, status, declared, known => delimiter, Content-Length
            (Http11, false, 200, Some(5), None, Length(5), Some(5)),
            (Http11, false, 200, None, Some(7), Length(7), Some(7)),
            (Http11, false, 200, None, Some(0), Length(0), Some(0)),
            (Http11, false, 200, Some(5), Some(7), Length(5), Some(5)),
            (Http11, false, 200, None, None, Chunked, None),
            (Http10, false, 200, None, None, Close, None),
            (Http10, false, 404, Some(5), None, Length(5), Some(5)),
            (Http11, true, 200, Some(5), Some(0), Nothing, Some(5)),
            (Http11, true, 200, Some(0), None, Nothing, Some(0)),
            (Http11, true, 200, None, Some(7), Nothing, Some(7)),
            (Http11, true, 200, None, Some(0), Nothing, None),
            (Http11, true, 200, None, None, Nothing, None),
            (Http10, true, 200, None, None, Nothing, None),
            (Http11, false, 100, Some(5), Some(5), Nothing, None),
            (Http11, false, 199, None, None, Nothing, None),
            (Http11, false, 204, Some(5), Some(5), Nothing, None),
            (Http10, true, 204, Some(5), None, Nothing, None),
            (Http11, false, 205, Some(5), Some(5), Nothing, Some(0)),
            (Http11, true, 205, None, None, Nothing, Some(0)),
            (Http11, false, 304, Some(5), Some(0), Nothing, Some(5)),
            (Http11, false, 304, None, Some(0), Nothing, None),
            (Http10, true, 304, Some(5), None, Nothing, Some(5)),
        ];
        for (version, head, status, declared, known, delimiter, content_length) in rows {
            let framing = response(version, head, status, declared, known);
            let expected = Framing { delimiter, content_length };
            assert_eq!(framing, expected, "{version:?} {head} {status} {declared:?} {known:?}");
        }
    }
}
