//! What the tests of waitress read, which its own parser was hardened with.

use doorway::Cause;

use super::{Row, coded, cut, get, last, line, no, post, yes};

const VALUE: &str = "RFC 9110 5.5";
const LENGTH: &str = "RFC 9110 8.6";
const CODING: &str = "RFC 9112 6.1";
const LINES: &str = "RFC 9112 2.2";
const TARGET: &str = "RFC 9112 3.2";
const LINE: &str = "RFC 9112 3";

pub fn rows() -> Vec<Row> {
    let text = "This string has 29 characters";
    vec![
        no(Cause::Method, LINE, "HTTP/1.0 GET /foobar\r\n\r\n"),
        no(Cause::Method, LINE, "HTTP/1.0 GET /foobar\r\n Host: foo\r\n\r\n"),
        no(Cause::FieldRepeated, TARGET, "GET / HTTP/1.1\r\nHOST: a.example\r\nHost: b.example\r\n\r\n"),
        no(Cause::FieldRepeated, LENGTH, get("Content-Length: 10\r\nContent-Length: 20\r\n")),
        no(Cause::FieldRepeated, "RFC 9110 8.3", get("Content-Type: text/plain\r\nContent-Type: text/html\r\n")),
        no(Cause::CodingUnknown, CODING, post("Transfer-Encoding: foo\r\n", format!("1d;\r\n{text}\r\n0\r\n\r\n"))),
        no(Cause::VersionUnsupported, "RFC 9112 2.3", line("GET /foobar HTTP/8.4")),
        cut(Cause::HeadTruncated, "RFC 9112 8", "\r\nGET /foobar HTTP/1.1\r\n"),
        // An extension without a name, which waitress overlooks.
        no(Cause::ChunkExtension, "RFC 9112 7.1.1", coded(format!("1d;\r\n{text}\r\n0\r\n\r\n"))),
        no(Cause::ChunkSize, "RFC 9112 7.1", coded("garbage\r\n")),
        yes(&[text], "RFC 9112 7.1", coded(format!("1d\r\n{text}\r\n0\r\n\r\n"))),
        no(Cause::ContentLength, LENGTH, post("content-length: abc\r\n", "")),
        no(Cause::ContentLength, LENGTH, post("content-length: +10\r\n", "")),
        no(Cause::ContentLength, LENGTH, post("content-length: -10\r\n", "")),
        no(Cause::FieldRepeated, LENGTH, post("content-length: 10\r\ncontent-length: 20\r\n", "")),
        yes(&[""], CODING, post("transfer-encoding: ChUnKed\r\n", "0\r\n\r\n")),
        no(
            Cause::LengthAndCoding,
            "RFC 9112 6.3",
            post("transfer-encoding: chunked\r\ncontent-length: 10\r\n", "0\r\n\r\n"),
        ),
        no(Cause::CodingUnknown, CODING, post("transfer-encoding: gzip\r\n", "")),
        no(Cause::FieldRepeated, CODING, post("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", "")),
        no(Cause::FieldRepeated, CODING, post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "")),
        no(Cause::CodingInvalid, CODING, post(b"Transfer-Encoding:\x85chunked\r\n", "0\r\n\r\n")),
        // U+212A, the sign of Kelvin, is a k in lower case to Unicode.
        no(Cause::CodingInvalid, CODING, post("Transfer-Encoding: chun\u{212A}ed\r\n", "0\r\n\r\n")),
        yes(&[""], "RFC 9110 10.1.1", get("expect: 100-continue\r\n")),
        last(&[""], "RFC 9112 9.6", get("Connection: close\r\n")),
        no(Cause::BareLf, LINES, "GET /foobar HTTP/1.1\nfoo: bar"),
        no(Cause::BareCr, LINES, "GET /foobar HTTP/1.1\rfoo: bar"),
        no(Cause::BareLf, LINES, get("foo: \nbar\r\n")),
        no(Cause::BareLf, LINES, "GET /foobar\n HTTP/1.1\r\n"),
        no(Cause::FieldSpace, "RFC 9112 5.1", get("foo : bar\r\n")),
        no(Cause::FieldValue, VALUE, get("foo:\x0bbar\r\n")),
        no(Cause::FieldColon, "RFC 9112 5", get("foo: bar\r\nnotvalid\r\n")),
        no(Cause::FieldFold, "RFC 9112 5.2", get("foo: bar\r\n\t\x0bbaz\r\n")),
        no(Cause::FieldValue, VALUE, get("foo: bar\r\nfoo: \x0bbaz\r\n")),
        yes(&[""], VALUE, get(b"foo: \xA0something\x85\r\n")),
        yes(&[""], VALUE, get("foo: bar\r\nempty:\r\n")),
        yes(&[""], "RFC 9110 5.6.1", get("foo: bar, whatever, more, please, yes\r\n")),
        no(Cause::FieldFold, "RFC 9112 5.2", get("foo: bar, whatever,\r\n more, please, yes\r\n")),
        no(Cause::FieldFold, "RFC 9112 5.2", get("foo: bar, whatever,\r\n more\r\nfoo: please, yes\r\n")),
        yes(&[""], VALUE, get("foo: abrowser/0.001 (C O M M E N T)\r\n")),
        no(Cause::FieldValue, VALUE, get("foo: bar\r\nfoo: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\x10\r\n")),
        yes(&[""], VALUE, get("one: 1\r\ntwo: 22\r\n")),
        yes(&[""], "RFC 9112 3.2.2", line("GET http://localhost:8080/abc%20def HTTP/1.1")),
        no(Cause::Version, LINE, line("GET http://localhost:8080/abc def HTTP/1.1")),
        yes(&[""], "RFC 9112 3.2.2", line("GET http://localhost:8080/abc?a=1&b=2 HTTP/1.1")),
        yes(&[""], "RFC 9112 3.2.2", line("GET http://localhost:8080/abc? HTTP/1.1")),
        no(Cause::TargetByte, TARGET, line("GET http://localhost:8080/#foo HTTP/1.1")),
        no(Cause::TargetScheme, "RFC 9110 7.4", line("GET https://localhost:8080/ HTTP/1.1")),
        no(Cause::TargetByte, TARGET, line(b"GET /\xD0 HTTP/1.1")),
        yes(&[""], "RFC 9112 3.2.1", line("GET //testing/whatever?a=1&b=2 HTTP/1.1")),
        no(Cause::TargetByte, TARGET, line("GET //testing/whatever?a=1&b=2#fragment HTTP/1.1")),
        last(&[""], LINE, "GET / HTTP/1.0\r\n\r\n"),
        // waitress refuses methods in lower case; they are methods like any.
        last(&[""], "RFC 9110 9.1", "get / HTTP/1.0\r\n\r\n"),
        no(Cause::Version, LINE, line("GET / bleh")),
        no(Cause::Version, LINE, line("GET /info?txtAirPlay&txtRAOP RTSP/1.0")),
        no(Cause::RequestLine, LINE, line("GET /")),
        no(Cause::Method, LINE, line("GE\0 /foobar HTTP/1.1")),
        no(Cause::Version, LINE, line("GET /foobar HTTP/.1.")),
        yes(&["Hello."], LENGTH, post("FirstName: mickey\r\nlastname: Mouse\r\ncontent-length: 6\r\n", "Hello.")),
        yes(
            &[""],
            "RFC 3986 2.1",
            line("GET /foo/a+%2B%2F%C3%A4%3D%26a%3Aint?d=b+%2B%2F%3D%26b%3Aint&c+%2B%2F%3D%26c%3Aint=6 HTTP/1.1"),
        ),
        // A name with an underscore is dropped, not joined with one that has a hyphen.
        yes(
            &[""],
            "RFC 9110 5.3",
            get(
                "x-forwarded-for: 10.11.12.13\r\nx-forwarded-for: unknown,127.0.0.1\r\nX-Forwarded_for: 255.255.255.255\r\n",
            ),
        ),
        yes(&[""], "RFC 3875 4.1.18", get("x-auth_user: bob\r\n")),
    ]
}
