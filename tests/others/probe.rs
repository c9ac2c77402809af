//! The cases of Http11Probe: compliance, smuggling, malformed input and normalisation, and those that take several steps.

use doorway::Cause;

use super::{End, Row, coded, cut, get, last, line, no, post, row, then, yes};

const LINES: &str = "RFC 9112 2.2";
const REQUEST_LINE: &str = "RFC 9112 3";
const TARGET: &str = "RFC 9112 3.2";
const VERSION: &str = "RFC 9112 2.3";
const HOST: &str = "RFC 9110 7.2";
const NAME: &str = "RFC 9112 5.1";
const VALUE: &str = "RFC 9110 5.5";
const LENGTH: &str = "RFC 9110 8.6";
const CODING: &str = "RFC 9112 6.1";
const BOTH: &str = "RFC 9112 6.3";
const SIZE: &str = "RFC 9112 7.1";
const EXTENSION: &str = "RFC 9112 7.1.1";
const TRAILER: &str = "RFC 9110 6.5.1";
const EXPECT: &str = "RFC 9110 10.1.1";
const UPGRADE: &str = "RFC 9110 7.8";
const LIMIT: &str = "RFC 9110 15.5";

const HELLO: &str = "hello";
const LEN5: &str = "Content-Length: 5\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const INNER: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

pub fn rows() -> Vec<Row> {
    let mut rows = compliance();
    rows.extend(smuggling());
    rows.extend(malformed());
    rows
}

/// A field line beside a Content-Length of 5 and its content.
fn beside_length(line: impl AsRef<[u8]>) -> Vec<u8> {
    post([line.as_ref(), b"\r\n", LEN5.as_bytes()].concat(), HELLO)
}

fn compliance() -> Vec<Row> {
    let websocket = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    vec![
        yes(&[""], REQUEST_LINE, get("")),
        no(Cause::BareLf, LINES, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        no(Cause::BareLf, LINES, "GET / HTTP/1.1\r\nHost: a\nX-Test: value\r\n\r\n"),
        no(Cause::FieldFold, "RFC 9112 5.2", get("X-Test: value\r\n continued\r\n")),
        no(Cause::FieldSpace, NAME, get("X-Test : value\r\n")),
        no(Cause::TargetByte, REQUEST_LINE, line("GET  / HTTP/1.1")),
        no(Cause::HostMissing, TARGET, "GET / HTTP/1.1\r\n\r\n"),
        no(Cause::VersionUnsupported, VERSION, line("GET / HTTP/9.9")),
        no(Cause::FieldName, NAME, get(": empty-name\r\n")),
        no(Cause::BareCr, LINES, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        no(Cause::RequestLine, REQUEST_LINE, line("GET HTTP/1.1")),
        no(Cause::TargetByte, TARGET, line("GET /path#frag HTTP/1.1")),
        no(Cause::RequestLine, VERSION, "GET /\r\n"),
        no(Cause::FieldName, NAME, get("Bad[Name: value\r\n")),
        no(Cause::FieldColon, NAME, get("NoColonHere\r\n")),
        no(Cause::FieldRepeated, TARGET, get("Host: other.example.com\r\n")),
        no(Cause::FieldRepeated, TARGET, get("Host: a\r\n")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: abc\r\n", "")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: +5\r\n", HELLO)),
        no(Cause::FieldFold, LINES, "GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"),
        no(Cause::HostInvalid, HOST, "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
        no(Cause::HostInvalid, HOST, "GET / HTTP/1.1\r\nHost: a/path\r\n\r\n"),
        // The suite asks for 400. An empty field says that the target has no authority, and is valid.
        yes(&[""], HOST, "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
        no(Cause::TargetForm, "RFC 9112 3.2.4", line("GET * HTTP/1.1")),
        row(line("OPTIONS * HTTP/1.1"), &[], End::Own(204), "RFC 9112 3.2.4"),
        no(Cause::CodingUnknown, CODING, post("Transfer-Encoding: gzip\r\n", "")),
        yes(&[""], LINES, [b"\r\n\r\n", &get("")[..]].concat()),
        yes(&[""], "RFC 9112 3.2.2", line("GET http://a/ HTTP/1.1")),
        yes(&[""], "RFC 9110 9.1", line("get / HTTP/1.1")),
        yes(&[HELLO], LENGTH, post(LEN5, HELLO)),
        yes(&[""], LENGTH, post("Content-Length: 0\r\n", "")),
        yes(&[""], BOTH, post("", "")),
        cut(Cause::ContentTruncated, BOTH, post("Content-Length: 10\r\n", HELLO)),
        yes(&[HELLO], SIZE, coded("5\r\nhello\r\n0\r\n\r\n")),
        yes(&["hello world"], SIZE, coded("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")),
        yes(&[""], SIZE, coded("0\r\n\r\n")),
        cut(Cause::ContentTruncated, "RFC 9112 8", coded("5\r\nhello\r\n")),
        yes(&["helloworld"], SIZE, coded("A\r\nhelloworld\r\n0\r\n\r\n")),
        yes(&[HELLO], EXTENSION, coded("5;ext=value\r\nhello\r\n0\r\n\r\n")),
        yes(&[HELLO], "RFC 9112 7.1.2", coded("5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n")),
        yes(&[""], UPGRADE, post(format!("Connection: Upgrade\r\n{websocket}Sec-WebSocket-Version: 13\r\n"), "")),
        yes(&[""], UPGRADE, get(format!("{websocket}Sec-WebSocket-Version: 13\r\n"))),
        yes(&[""], UPGRADE, get("Connection: Upgrade\r\nUpgrade: totally-made-up/1.0\r\n")),
        yes(&[""], UPGRADE, get(format!("Connection: Upgrade\r\n{websocket}Sec-WebSocket-Version: 99\r\n"))),
        last(&[""], UPGRADE, format!("GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\n{websocket}\r\n")),
        no(Cause::ConnectRefused, "RFC 9110 9.3.6", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        no(Cause::ExpectUnknown, EXPECT, get("Expect: 200-ok\r\n")),
        yes(&[HELLO], LENGTH, [get(LEN5), HELLO.into()].concat()),
        // What a method means is for the application.
        yes(&[""], "RFC 9110 9.3.8", line("TRACE / HTTP/1.1")),
        yes(&[HELLO], "RFC 9110 9.3.8", [b"TRACE / HTTP/1.1\r\nHost: a\r\n", LEN5.as_bytes(), b"\r\nhello"].concat()),
        yes(&[""], "RFC 9110 9.1", line("FOOBAR / HTTP/1.1")),
        yes(&[""], "RFC 9110 9.3.2", line("HEAD / HTTP/1.1")),
        no(Cause::RequestLine, REQUEST_LINE, line("GET\t/ HTTP/1.1")),
        no(Cause::Version, VERSION, line("GET / HTTP/1")),
        no(Cause::Version, VERSION, line("GET / HTTP/01.01")),
        no(Cause::Version, VERSION, line("GET / HTTP/ 1.1")),
        no(Cause::Version, VERSION, line("GET / http/1.1")),
        last(&[""], "RFC 9112 9.6", get("Connection: close\r\n")),
        last(&[""], "RFC 9112 9.3", line("GET / HTTP/1.0")),
        last(&[""], TARGET, "GET / HTTP/1.0\r\n\r\n"),
        yes(&[""], "RFC 9110 2.5", line("GET / HTTP/1.2")),
        yes(&[HELLO], "RFC 9110 14.2", post(format!("{LEN5}Range: bytes=0-10\r\n"), HELLO)),
        yes(&[""], "RFC 9110 14.2", get("Range: bytes=abc-xyz\r\n")),
        last(&[HELLO], EXPECT, format!("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n{LEN5}\r\nhello")),
        yes(&[""], LIMIT, line(format!("GET /{} HTTP/1.1", "a".repeat(7_900)))),
        no(Cause::Version, REQUEST_LINE, line("GET /pa th HTTP/1.1")),
        no(
            Cause::FieldRepeated,
            "RFC 9110 8.3",
            post(format!("{LEN5}Content-Type: text/plain\r\nContent-Type: text/html\r\n"), HELLO),
        ),
        yes(&[HELLO], "RFC 9110 8.3", post(format!("{LEN5}Content-Type: application/x-nonsense\r\n"), HELLO)),
        yes(&[""], "RFC 9110 12.5.1", get("Accept: application/x-nonsense\r\n")),
    ]
}

fn smuggling() -> Vec<Row> {
    let mut rows = Vec::new();
    // Whatever Transfer-Encoding says beside a length, and however it is spelt, the two together are refused.
    for value in [
        &b"chunked"[..],
        b"xchunked",
        b"chunked ",
        b"chunked, chunked",
        b"Chunked",
        b"",
        b", chunked",
        b"identity",
        b"chunked;ext=val",
        b"chunked,",
        b"\tchunked",
    ] {
        rows.push(no(Cause::LengthAndCoding, BOTH, beside_length([b"Transfer-Encoding: ", value].concat())));
    }
    for (value, cause) in [
        (&b"\x0bchunked"[..], Cause::FieldValue),
        (b"\x0cchunked", Cause::FieldValue),
        (b"chunked\0", Cause::FieldValue),
        (b"\r\n chunked", Cause::FieldFold),
    ] {
        rows.push(no(cause, VALUE, beside_length([b"Transfer-Encoding: ", value].concat())));
    }
    rows.extend([
        no(Cause::FieldSpace, NAME, beside_length("Transfer-Encoding : chunked")),
        no(Cause::FieldRepeated, BOTH, beside_length("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
        no(Cause::LengthAndCoding, BOTH, format!("POST / HTTP/1.0\r\nHost: a\r\n{CHUNKED}{LEN5}\r\nhello")),
        no(Cause::CodingInvalid, CODING, post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")),
        // No tchar is equal to another: this is a field like any, which is dropped.
        yes(&[HELLO], NAME, beside_length("Transfer_Encoding: chunked")),
        no(Cause::LengthAndCoding, BOTH, post(format!("Content-Length: 4\r\n{CHUNKED}"), format!("0\r\n\r\n{INNER}"))),
        no(Cause::LengthAndCoding, BOTH, post(format!("{CHUNKED}Content-Length: 30\r\n"), format!("0\r\n\r\n{INNER}"))),
    ]);
    for length in ["-1", "0o5", "0x5", "1 0", "5, 10", "5, 5", "5, 5, 5", "1_0", "-0", "5x", "+5"] {
        rows.push(no(Cause::ContentLength, LENGTH, post(format!("Content-Length: {length}\r\n"), "hello12345")));
    }
    rows.push(no(Cause::FieldRepeated, BOTH, post("Content-Length: 5\r\nContent-Length: 10\r\n", "helloworld")));
    for (length, content) in [("005", HELLO), ("5 ", HELLO), ("  5", HELLO), ("\t5", HELLO), ("00", "")] {
        rows.push(yes(&[content], LENGTH, post(format!("Content-Length:{length}\r\n"), content)));
    }
    let octal = "x".repeat(200);
    rows.push(yes(&[&octal], LENGTH, post("Content-Length: 0200\r\n", &octal)));
    for (content, cause, clause) in [
        ("5;\r\nhello\r\n0\r\n\r\n", Cause::ChunkExtension, EXTENSION),
        ("5;bad[=x\r\nhello\r\n0\r\n\r\n", Cause::ChunkExtension, EXTENSION),
        ("5;\0ext\r\nhello\r\n0\r\n\r\n", Cause::ChunkExtension, EXTENSION),
        ("5;a\rX\r\nhello\r\n0\r\n\r\n", Cause::BareCr, EXTENSION),
        ("5;a\nhello\r\n0\r\n\r\n", Cause::BareLf, EXTENSION),
        ("1_0\r\nhello world!!!!!\r\n0\r\n\r\n", Cause::ChunkSize, SIZE),
        ("0x5\r\nhello\r\n0\r\n\r\n", Cause::ChunkSize, SIZE),
        ("+5\r\nhello\r\n0\r\n\r\n", Cause::ChunkSize, SIZE),
        ("-1\r\nhello\r\n0\r\n\r\n", Cause::ChunkSize, SIZE),
        (" 5\r\nhello\r\n0\r\n\r\n", Cause::ChunkSize, SIZE),
        ("5 \r\nhello\r\n0\r\n\r\n", Cause::ChunkExtension, SIZE),
        ("5\nhello\r\n0\r\n\r\n", Cause::BareLf, SIZE),
        ("5\rhello\r\n0\r\n\r\n", Cause::BareCr, SIZE),
        ("5\r\nhello0\r\n\r\n", Cause::ChunkEnd, SIZE),
        ("5\r\nhello!!\r\n0\r\n\r\n", Cause::ChunkEnd, SIZE),
        ("5\r\nhello\r\n0\n\n", Cause::BareLf, SIZE),
        ("5\r\nhello\r\n0\r\nX: y\n\r\n", Cause::BareLf, "RFC 9112 7.1.2"),
        ("+0\r\n\r\nX", Cause::ChunkSize, SIZE),
    ] {
        rows.push(no(cause, clause, coded(content)));
    }
    // What a trailer must not say is said to nobody.
    for trailer in [
        "Content-Length: 50",
        "Transfer-Encoding: chunked",
        "Host: evil.example",
        "Authorization: x",
        "Content-Type: a/b",
    ] {
        rows.push(yes(&[HELLO], TRAILER, coded(format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"))));
    }
    rows.extend([
        yes(&[HELLO], EXPECT, post(format!("{LEN5}Expect: 100-continue\r\n"), HELLO)),
        yes(&[HELLO], LENGTH, format!("HEAD / HTTP/1.1\r\nHost: a\r\n{LEN5}\r\nhello")),
        yes(&[HELLO], LENGTH, format!("OPTIONS / HTTP/1.1\r\nHost: a\r\n{LEN5}\r\nhello")),
        yes(&[""], "RFC 9112 3.2.2", line("GET http://other.example/ HTTP/1.1")),
        no(Cause::HostInvalid, HOST, "GET / HTTP/1.1\r\nHost: a, other.example\r\n\r\n"),
        no(Cause::BareCr, LINES, get("X: a\rTransfer-Encoding: chunked\r\n")),
        then(&[""], Cause::Version, LENGTH, [post("Content-Length: 0\r\n", "X"), b" y z\r\n\r\n".to_vec()].concat()),
        yes(&[HELLO, ""], LENGTH, [get(LEN5), HELLO.into(), get("")].concat()),
        yes(&["", ""], "RFC 9112 9.3.2", [get(""), get("")].concat()),
        // A name that only looks like another: dropped, and never a second length.
        yes(&["hello world"], NAME, post("Content-Length: 11\r\nContent_Length: 99\r\n", "hello world")),
        no(Cause::FieldSpace, NAME, post("Content-Length: 11\r\nContent-Length : 5\r\n", "hello world")),
        no(Cause::FieldSpace, NAME, post("Content-Length: 11\r\nContent\tLength: 99\r\n", "hello world")),
        no(Cause::LengthAndCoding, BOTH, post("Content-Length: 11\r\nTRANSFER-ENCODING: chunked\r\n", "hello world")),
        yes(&["hello world"], NAME, post("Content-Length: 11\r\nTransfer_Encoding: chunked\r\n", "hello world")),
    ]);
    rows
}

fn malformed() -> Vec<Row> {
    let many: String = (0..10_000).map(|number| format!("X-H-{number}: value\r\n")).collect();
    let garbage: Vec<u8> = (0..256u32).map(|at| (at.wrapping_mul(197).wrapping_add(0x91) % 251) as u8 | 0x80).collect();
    let ranges = vec!["0-"; 1_000].join(",");
    vec![
        no(Cause::Method, REQUEST_LINE, garbage),
        no(Cause::TargetLong, LIMIT, line(format!("GET /{} HTTP/1.1", "A".repeat(100_000)))),
        no(Cause::FieldLong, LIMIT, get(format!("X-Big: {}\r\n", "B".repeat(100_000)))),
        no(Cause::FieldLong, LIMIT, get(format!("{}: val\r\n", "A".repeat(100_000)))),
        no(Cause::FieldCount, LIMIT, get(many)),
        no(Cause::MethodLong, LIMIT, line(format!("{} / HTTP/1.1", "A".repeat(100_000)))),
        no(Cause::TargetByte, TARGET, line("GET /\0test HTTP/1.1")),
        no(Cause::FieldValue, VALUE, get("X-Test: abc\x07\x08\x0Bdef\r\n")),
        no(Cause::FieldValue, VALUE, get("X-Test: val\0ue\r\n")),
        cut(Cause::HeadTruncated, "RFC 9112 8", "GET / HTTP/1.1\r\nHost: a\r\nX-Test: value"),
        no(Cause::FieldName, NAME, get("X-T\u{eb}st: value\r\n")),
        no(Cause::TargetByte, TARGET, line("GET /caf\u{e9} HTTP/1.1")),
        no(Cause::TargetByte, TARGET, line(b"GET /\xC0\xAF HTTP/1.1")),
        no(Cause::ContentLength, LENGTH, post("Content-Length: 99999999999999999999\r\n", "")),
        no(Cause::RequestLine, REQUEST_LINE, " \r\n\r\n"),
        no(Cause::ChunkSize, SIZE, coded("FFFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n")),
        no(Cause::VersionUnsupported, VERSION, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        no(Cause::ContentLength, LENGTH, post("Content-Length: \r\n", "")),
        no(Cause::TargetByte, "RFC 3986 3.3", line("GET /path\\file HTTP/1.1")),
        no(Cause::TargetNul, "RFC 3986 7.3", line("GET /path%00.html HTTP/1.1")),
        yes(&[""], "RFC 3986 2.1", line("GET /path%0d%0aX-Injected:%20true HTTP/1.1")),
        no(Cause::ChunkExtensionLong, EXTENSION, coded(format!("5;ext={}\r\nhello\r\n0\r\n\r\n", "a".repeat(65_536)))),
        yes(&[""], "RFC 9110 14.2", get(format!("Range: bytes={ranges}\r\n"))),
        no(Cause::ContentLong, "RFC 9110 15.5.14", post("Content-Length: 999999999\r\n", "")),
    ]
}

/// A name, and what is sent with the status that answers it.
pub type Steps = (&'static str, Vec<(Vec<u8>, u16)>);

/// What is sent in steps on one connection: each waits for the answer to the one before.
pub fn steps() -> Vec<Steps> {
    let next = || (get(""), 200);
    let beside =
        |coding: &str, content: &str| post(format!("Content-Length: {}\r\n{coding}\r\n", content.len()), content);
    let smuggled = format!("0\r\n\r\n{INNER}");
    vec![
        ("a length and a coding", vec![(beside("Transfer-Encoding: chunked", "0\r\n\r\nX"), 400), next()]),
        ("a request inside of both", vec![(beside("Transfer-Encoding: chunked", &smuggled), 400), next()]),
        ("the same, the coding behind a space", vec![(beside("Transfer-Encoding : chunked", &smuggled), 400), next()]),
        ("the same, the coding folded", vec![(beside("Transfer-Encoding:\r\n chunked", &smuggled), 400), next()]),
        ("the same, the coding behind a comma", vec![(beside("Transfer-Encoding: , chunked", &smuggled), 400), next()]),
        ("the same, the coding in another case", vec![(beside("Transfer-Encoding: Chunked", &smuggled), 400), next()]),
        ("two lengths", vec![(post("Content-Length: 4\r\nContent-Length: 31\r\n", &smuggled), 400), next()]),
        ("a length that is a sum", vec![(post("Content-Length: +31\r\n", &smuggled), 400), next()]),
        ("a size that is a sum", vec![(coded("+0\r\n\r\nX"), 400), next()]),
        ("a GET with content", vec![([get(LEN5), HELLO.into()].concat(), 200), next(), next()]),
        (
            "OPTIONS with content",
            vec![(format!("OPTIONS / HTTP/1.1\r\nHost: a\r\n{LEN5}\r\nhello").into(), 200), next()],
        ),
        (
            "content in two steps",
            vec![([post("Content-Length: 27\r\n", ""), INNER.as_bytes()[..27].to_vec()].concat(), 200), next()],
        ),
        ("an expectation", vec![(post(format!("{LEN5}Expect: 100-continue\r\n"), HELLO), 200), next()]),
        (
            "a byte behind an empty content",
            vec![(post("Content-Length: 0\r\n", ""), 200), ([b"X", &get("")[..]].concat(), 200)],
        ),
        ("two plain ones", vec![next(), next()]),
    ]
}
