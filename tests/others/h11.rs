//! What h11's tests read (its readers and its check of fields), as requests.

use doorway::Cause;

use super::{Row, coded, get, last, line, no, post, yes};

const SIZE: &str = "RFC 9112 7.1";
const NAME: &str = "RFC 9110 5.1";
const VALUE: &str = "RFC 9110 5.5";
const LENGTH: &str = "RFC 9110 8.6";

pub fn rows() -> Vec<Row> {
    let aa = "x".repeat(0xAA);
    let mut rows = vec![
        last(&[""], "RFC 9112 2.3", "HEAD /foo HTTP/1.0\r\nSome: header\r\n\r\n"),
        last(&[""], "RFC 9112 3.2", "HEAD /foo HTTP/1.0\r\n\r\n"),
        yes(&[""], VALUE, get("Foo: a a a a a \r\n")),
        yes(&[""], VALUE, get("Foo:\r\n")),
        yes(&[""], VALUE, get("Foo: \t \t \r\n")),
        // h11 unfolds, and takes LF for a line end; RFC 9112 lets a server refuse both.
        no(Cause::FieldFold, "RFC 9112 5.2", get("Some: multi-line\r\n header\r\n\tnonsense\r\n")),
        no(Cause::FieldFold, "RFC 9112 2.2", "HEAD /foo HTTP/1.1\r\n  folded: line\r\n\r\n"),
        no(Cause::BareLf, "RFC 9112 2.2", "GET / HTTP/1.1\r\nHost: a\nX: y\n\r\n"),
        no(Cause::BareLf, "RFC 9112 2.2", "GET / HTTP/1.1\nHost: a\n\n"),
        no(Cause::FieldSpace, "RFC 9112 5.1", get("foo  : line\r\n")),
        no(Cause::FieldSpace, "RFC 9112 5.1", get("foo\t: line\r\n")),
        no(Cause::FieldName, NAME, get(": line\r\n")),
        no(Cause::FieldSpace, NAME, get("foo bar: baz\r\n")),
        no(Cause::FieldName, NAME, get("foo\0bar: baz\r\n")),
        no(Cause::FieldName, NAME, get(b"foo\xFFbar: baz\r\n")),
        no(Cause::FieldName, NAME, get("foo\x01bar: baz\r\n")),
        no(Cause::BareCr, VALUE, get("foo: bar\rbaz\r\n")),
        no(Cause::BareLf, VALUE, get("foo: bar\nbaz\r\n")),
        no(Cause::FieldValue, VALUE, get("foo: bar\0baz\r\n")),
        // h11 lets controls in cookies pass.
        no(Cause::FieldValue, VALUE, get("Cookie: a=kUd\x01UpAt; b\r\n")),
        yes(&["1"], LENGTH, post("Content-Length: 1\r\n", "1")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: asdf\r\n", "")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: 1x\r\n", "1")),
        no(Cause::FieldRepeated, LENGTH, post("Content-Length: 1\r\nContent-Length: 2\r\n", "12")),
        // h11 takes equal lengths for one; RFC 9110 section 8.6 lets a recipient refuse them.
        no(Cause::FieldRepeated, LENGTH, post("Content-Length: 0\r\nContent-Length: 0\r\n", "")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: 0 , 0\r\n", "")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: 1 , 1,2\r\n", "1")),
        no(Cause::ContentLength, LENGTH, post(format!("Content-Length: {}\r\n", "1".repeat(21)), "1")),
        yes(&["0123456789"], LENGTH, post("Content-Length: 10\r\n", "0123456789")),
        yes(&[""], "RFC 9112 6.1", post("Transfer-Encoding: cHuNkEd\r\n", "0\r\n\r\n")),
        no(Cause::CodingUnknown, "RFC 9112 6.1", post("Transfer-Encoding: gzip\r\n", "")),
        no(
            Cause::FieldRepeated,
            "RFC 9112 6.1",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", "0\r\n\r\n"),
        ),
        yes(&[""], SIZE, coded("0\r\nSome: header\r\n\r\n")),
        yes(
            &["012340123456789abcdef"],
            SIZE,
            coded("5\r\n01234\r\n10\r\n0123456789abcdef\r\n0\r\nSome: header\r\n\r\n"),
        ),
        yes(&["012340123456789abcdef"], SIZE, coded("5\r\n01234\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n")),
        yes(&[&aa], SIZE, coded(format!("aA\r\n{aa}\r\n0\r\n\r\n"))),
        no(Cause::ChunkSize, SIZE, coded(format!("{}\r\nxxx", "9".repeat(100)))),
        no(Cause::ChunkSize, SIZE, coded("10\0\r\nxxx")),
        yes(
            &["xxxxx"],
            "RFC 9112 7.1.1",
            coded("5; hello=there\r\nxxxxx\r\n0; random=\"junk\"; some=more; canbe=lonnnnngg\r\n\r\n"),
        ),
        // h11 takes white space behind a size, which no extension follows; the grammar has none there.
        no(Cause::ChunkExtension, SIZE, coded("5   \t \r\n01234\r\n0\r\n\r\n")),
        no(Cause::ChunkEnd, SIZE, coded("3\r\nxxx__1a\r\n")),
        no(Cause::ChunkEnd, SIZE, coded("3\r\nxxx\r_1a\r\n")),
        no(Cause::ChunkEnd, SIZE, coded("3\r\nxxx_\n1a\r\n")),
        no(Cause::RequestLine, "RFC 9112 3", line("HEAD /foo HTTP/1.1 xxxxxx")),
        no(Cause::FieldValue, VALUE, "HEAD /foo HTTP/1.1\r\nHost: foo\0bar\r\n\r\n"),
        no(Cause::Version, "RFC 9112 3", line("HEAD / x HTTP/1.1")),
    ];
    for byte in [0, 0x7F, 0xEE] {
        rows.push(no(Cause::TargetByte, "RFC 9112 3.2", line([b"HEAD /", &[byte][..], b" HTTP/1.1"].concat())));
    }
    rows
}
