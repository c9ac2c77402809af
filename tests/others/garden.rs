//! The faults that the HTTP Garden found in servers and in what forwards to them, as inputs: each is one that somebody read wrongly.

use doorway::Cause;

use super::{Row, coded, cut, get, last, line, no, post, then, yes};

const SIZE: &str = "RFC 9112 7.1";
const EXTENSION: &str = "RFC 9112 7.1.1";
const LINES: &str = "RFC 9112 2.2";
const NAME: &str = "RFC 9110 5.1";
const VALUE: &str = "RFC 9110 5.5";
const LENGTH: &str = "RFC 9110 8.6";
const CODING: &str = "RFC 9112 6.1";
const BOTH: &str = "RFC 9112 6.3";
const VERSION: &str = "RFC 9112 2.3";
const TARGET: &str = "RFC 9112 3.2";

const INNER: &str = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";

pub fn rows() -> Vec<Row> {
    let delimiters: Vec<u8> = (0..0x20).filter(|byte| !b"\r\n".contains(byte)).chain(*b" \"(),/;<=>?@[]{}").collect();
    vec![
        // Numbers read as a language reads them, or as far as they go.
        no(Cause::ChunkSize, SIZE, coded(format!("0_2e\r\n\r\n{INNER}0\r\n\r\n"))),
        no(Cause::ChunkSize, SIZE, coded("0x1\r\nZ\r\n0\r\n\r\n")),
        no(Cause::ChunkSize, SIZE, coded("-0x0\r\n\r\n")),
        no(Cause::ChunkSize, SIZE, coded("+1\r\nZ\r\n0\r\n\r\n")),
        no(Cause::ChunkSize, SIZE, coded("1anything\r\nZ\r\n0\r\n\r\n")),
        no(Cause::ChunkSize, SIZE, coded(format!("INVALID!!!\r\n{INNER}"))),
        no(Cause::ChunkSize, SIZE, coded("Z\r\nZZ\r\nZZZ\r\n\r\n")),
        no(Cause::ChunkSize, SIZE, coded("           0\r\n\r\n")),
        no(Cause::ChunkSize, SIZE, coded("\r\n\r\n")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: +1_0\r\n", "0123456789")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: -48\r\n", "")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: 1Z\r\n", "Z")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: 0x10\r\n", "Z")),
        no(Cause::ContentLength, LENGTH, get("Content-Length: \r\n")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: \r\n", INNER)),
        // Leading zeros are digits and not octal.
        yes(&["0123456789"], LENGTH, post("Content-Length: 010\r\n", "0123456789")),
        // Control bytes in values, and ends of lines that are none.
        no(Cause::FieldValue, VALUE, get("X: v\0\ralue\r\n")),
        no(Cause::FieldValue, VALUE, get("X: test\0dropped by some\r\n")),
        no(Cause::FieldValue, VALUE, get("X: evil\0\r\n")),
        no(Cause::FieldValue, VALUE, "GET / HTTP/1.1\r\nHost: a.example\0.b.example\r\n\r\n"),
        no(Cause::BareCr, LINES, get("X: va\rlue\r\n")),
        no(Cause::BareCr, LINES, get("X: this\rvalue\ris\rinvalid\r\n")),
        no(Cause::BareCr, LINES, get("Visible: :/\rSmuggled: :)\r\n")),
        no(Cause::BareCr, LINES, format!("GET / HTTP/1.1\r\nHost: a\r\n\rZ{INNER}")),
        no(Cause::BareLf, LINES, format!("GET / HTTP/1.1\r\nHost: a\r\nUseless:\n\n{INNER}")),
        no(Cause::BareLf, LINES, "GET / HTTP/1.1\nHost: a\nConnection: close\n\n"),
        no(Cause::BareLf, LINES, get("Te\nst: test\r\n")),
        no(Cause::BareLf, LINES, "GET /\nHTTP/1.1\r\n\r\n"),
        no(Cause::ChunkEnd, SIZE, coded("a\r\n0123456789\n0\r\n\r\n")),
        no(Cause::BareCr, SIZE, coded("1\r0\n")),
        no(Cause::BareCr, EXTENSION, coded(format!("5\r\r;ABCD\r\n34\r\nE\r\n0\r\n\r\n{INNER}"))),
        no(Cause::BareCr, EXTENSION, coded(format!("2\r\r;a\r\n02\r\n41\r\n0\r\n\r\n{INNER}"))),
        no(Cause::BareCr, EXTENSION, coded(format!("41;a=b\r\r{}\r\n0\r\n\r\n{INNER}", "X".repeat(65)))),
        no(Cause::ChunkSize, SIZE, coded("17\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n\r\n\r\n0\r\n\r\n")),
        // Names.
        no(Cause::FieldSpace, "RFC 9112 5.1", post("Content-Length : 34\r\n", INNER)),
        no(Cause::FieldFold, LINES, "GET / HTTP/1.1\r\n\tContent-Length: 1\r\n\r\nX"),
        no(Cause::FieldName, NAME, get(b"\xEFoo: bar\r\n")),
        no(Cause::FieldName, NAME, get(b"Content-Length\x85: 10\r\n")),
        no(Cause::FieldName, NAME, get(b"Header\x85: value\r\n")),
        no(Cause::FieldName, NAME, get([b"A", &delimiters[..1], b": whatever\r\n"].concat())),
        no(Cause::FieldName, NAME, get([&delimiters[..], b": whatever\r\n"].concat())),
        no(Cause::FieldName, NAME, get(": ignored\r\n")),
        no(Cause::FieldName, NAME, get(":\r\nI: am chopped off\r\n")),
        no(Cause::FieldSpace, NAME, post("Content-Length 10\r\n", "0123456789")),
        no(Cause::FieldColon, NAME, post("Transfer-\r\nEncoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
        no(Cause::FieldName, NAME, get("a:b\r\nc\0\r\n")),
        // What no space is stripped from: it is part of the value.
        yes(&[""], VALUE, get(b"User: \x85admin\xA0\r\n")),
        no(Cause::CodingInvalid, CODING, post(b"Transfer-Encoding: \xA0chunked\xA0\r\n", "0\r\n\r\n")),
        no(Cause::CodingInvalid, CODING, post(b"Transfer-Encoding: \xFFchunked\xFF\r\n", "1\r\nZ\r\n0\r\n\r\n")),
        no(Cause::HostInvalid, TARGET, b"GET / HTTP/1.1\r\nHost: \xFFa\xFF\r\n\r\n"),
        // Two lengths, and lengths beside codings.
        no(Cause::FieldRepeated, BOTH, post("Content-Length: 1\r\nContent-Length: 0\r\n", "Z")),
        no(Cause::FieldRepeated, BOTH, post("Content-Length: 0\r\nContent-Length: 1\r\n", "Z")),
        no(Cause::FieldRepeated, BOTH, post("Content-Length: 0\r\nContent-Length: 31\r\n", INNER)),
        no(Cause::FieldRepeated, BOTH, post("Content-Length: \r\nContent-Length: 43\r\n", INNER)),
        no(
            Cause::FieldRepeated,
            CODING,
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "1\r\nZ\r\n0\r\n\r\n"),
        ),
        no(Cause::LengthAndCoding, BOTH, post("Transfer-Encoding: ,chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
        no(Cause::LengthAndCoding, BOTH, post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        no(Cause::CodingInvalid, CODING, post("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n")),
        no(Cause::CodingUnknown, CODING, post("Transfer-Encoding: blegh\r\n", "1\r\nZ\r\n0\r\n\r\n")),
        // A length counts with every method, and what stands behind it is the next request.
        yes(&["1234567890"], LENGTH, [get("Content-Length: 10\r\n"), b"1234567890".to_vec()].concat()),
        yes(
            &["", INNER],
            LENGTH,
            [post("Content-Length: 0\r\nConnection:keep-alive\r\n", ""), post("Content-Length: 31\r\n", INNER)]
                .concat(),
        ),
        // Ends that do not come.
        cut(Cause::ContentTruncated, SIZE, coded("")),
        cut(Cause::ContentTruncated, SIZE, coded("0\r\nX:POST / HTTP/1.1\r\n")),
        // Versions and methods as far as they go.
        no(Cause::Version, VERSION, line("GET / HTTP/1.32")),
        no(Cause::Version, VERSION, line("GET / HTTP/4294967295.255")),
        no(Cause::BareCr, LINES, "GET / HTTP/\r\r1.1\r\n\r\n"),
        no(Cause::Method, "RFC 9110 9.1", line("G=\":<>(e),[T];?\" /get HTTP/1.1")),
        no(Cause::Method, "RFC 9110 9.1", "\0 / HTTP/............0596.7407.\r\n\r\n"),
        no(Cause::TargetForm, TARGET, line("GET ! HTTP/1.1")),
        no(Cause::RequestLine, "RFC 9112 3", line("POST /  HTTP/1.1")),
        // Behind a request that ends the connection, nothing is read; and behind a whole content the next byte begins a request.
        last(&[""], "RFC 9112 9.6", get("Connection: close\r\n\r\nInvalid\r\n")),
        then(&[""], Cause::Method, SIZE, coded("0\r\n\r\n\0")),
        yes(&["Z"], SIZE, coded("1\r\nZ\r\n0\r\n\r\n")),
        no(Cause::VersionUnsupported, VERSION, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    ]
}
