//! What hyper's tests read: sizes and extensions of chunks, framing of requests, request lines.

use doorway::Cause;

use super::{Row, coded, cut, get, last, line, no, post, yes};

const SIZE: &str = "RFC 9112 7.1";
const EXTENSION: &str = "RFC 9112 7.1.1";
const BOTH: &str = "RFC 9112 6.3";
const CODING: &str = "RFC 9112 6.1";

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (size, length) in [("1", 1), ("01", 1), ("A", 10), ("a", 10), ("Ff", 255), ("00", 0), ("0", 0)] {
        let data = "x".repeat(length);
        let chunk = if length == 0 { String::new() } else { format!("{size}\r\n{data}\r\n") };
        rows.push(yes(&[&data], SIZE, coded(format!("{chunk}{}\r\n\r\n", if length == 0 { size } else { "0" }))));
    }
    for (size, cause) in [
        ("F\rF", Cause::BareCr),
        ("\r\n", Cause::ChunkSize),
        ("", Cause::ChunkSize),
        ("X", Cause::ChunkSize),
        ("1X", Cause::ChunkSize),
        ("-", Cause::ChunkSize),
        ("-1", Cause::ChunkSize),
        ("f0000000000000003", Cause::ChunkSize),
        // What hyper overlooks in extensions is checked here: white space before the line end, a name that is none.
        ("1   ", Cause::ChunkExtension),
        ("1;ext name=value", Cause::ChunkExtension),
        ("1;;;  ;", Cause::ChunkExtension),
        ("3   ;", Cause::ChunkExtension),
        ("3   ;   ", Cause::ChunkExtension),
        ("1 invalid extension", Cause::ChunkExtension),
        ("1 A", Cause::ChunkExtension),
        ("1;reject\nnewlines", Cause::BareLf),
    ] {
        rows.push(no(cause, SIZE, coded(format!("{size}\r\nx\r\n0\r\n\r\n"))));
    }
    for size in ["1;extension", "1;extension;extension2", "1; extension...", "1   ; extension=123"] {
        rows.push(yes(&["x"], EXTENSION, coded(format!("{size}\r\nx\r\n0\r\n\r\n"))));
    }
    // Extensions that outweigh the data: hyper counts 16 KiB of all, and so does this server.
    let heavy = format!("1;{}\r\nA\r\n", "x".repeat(199));
    rows.push(no(Cause::ChunkExtensionLong, EXTENSION, coded(format!("{}0\r\n\r\n", heavy.repeat(83)))));
    rows.push(yes(&["A".repeat(80).as_str()], EXTENSION, coded(format!("{}0\r\n\r\n", heavy.repeat(80)))));
    rows.extend([
        cut(Cause::ContentTruncated, SIZE, coded("F")),
        cut(Cause::ContentTruncated, SIZE, coded("1;no CRLF").strip_suffix(b" CRLF").unwrap()),
        cut(Cause::ContentTruncated, SIZE, coded("9\r\nfoo bar")),
        cut(Cause::ContentTruncated, SIZE, coded("10\r\n1234567890abcdef\r\n0\r\n")),
        no(Cause::ChunkSize, SIZE, coded("1\r\nZ\r\n\r\n\r\n")),
        no(Cause::BareCr, "RFC 9112 7.1.2", coded("10\r\n1234567890abcdef\r\n0\r\nbad: x\r\r\n")),
        yes(&["1234567890abcdef"], SIZE, coded("10\r\n1234567890abcdef\r\n0\r\n\r\n")),
        yes(
            &["1234567890abcdef"],
            "RFC 9112 7.1.2",
            coded("10\r\n1234567890abcdef\r\n0\r\nX-Trace: a\r\nX-Trace: b\r\n\r\n"),
        ),
        // hyper reads `htt:p//` as an authority that breaks.
        no(Cause::TargetForm, "RFC 9112 3.2", line("GET htt:p// HTTP/1.1")),
        yes(&[""], "RFC 9112 3", line("GET /echo HTTP/1.1")),
        no(Cause::TargetByte, "RFC 9112 3", line("GET  /echo  HTTP/1.1")),
        yes(&[""], "RFC 9110 5.1", get("X-BREAD: baguette\r\n")),
        yes(&[""], BOTH, post("", "")),
        yes(&[""], BOTH, post("transfer-encoding: chunked\r\n", "0\r\n\r\n")),
        no(Cause::CodingInvalid, CODING, post("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        no(
            Cause::FieldRepeated,
            CODING,
            post("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        no(
            Cause::FieldRepeated,
            CODING,
            post("transfer-encoding: chunked\r\ntransfer-encoding: afterlol\r\n", "0\r\n\r\n"),
        ),
        no(Cause::CodingInvalid, CODING, post("transfer-encoding: chunked, gzip\r\n", "")),
        no(Cause::CodingUnknown, CODING, post("transfer-encoding: gzip\r\n", "")),
        yes(&["0123456789"], BOTH, post("content-length: 10\r\n", "0123456789")),
        no(Cause::LengthAndCoding, BOTH, post("content-length: 10\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n")),
        no(Cause::LengthAndCoding, BOTH, post("transfer-encoding: chunked\r\ncontent-length: 10\r\n", "0\r\n\r\n")),
        no(
            Cause::FieldRepeated,
            CODING,
            post("transfer-encoding: gzip\r\ncontent-length: 10\r\ntransfer-encoding: chunked\r\n", ""),
        ),
        no(
            Cause::LengthAndCoding,
            BOTH,
            post("connection: keep-alive\r\ncontent-length: 10\r\ntransfer-encoding: chunked\r\n", ""),
        ),
        // hyper takes equal lengths for one.
        no(Cause::FieldRepeated, BOTH, post("content-length: 10\r\ncontent-length: 10\r\n", "0123456789")),
        no(Cause::FieldRepeated, BOTH, post("content-length: 10\r\ncontent-length: 11\r\n", "0123456789")),
        no(Cause::ContentLength, BOTH, post("content-length: +10\r\n", "0123456789")),
        last(&["0123456789"], BOTH, "POST / HTTP/1.0\r\ncontent-length: 10\r\n\r\n0123456789"),
        no(Cause::CodingVersion, CODING, "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        no(Cause::BareLf, "RFC 9112 2.2", "GET / HTTP/1.1\na: b\n\n"),
        no(Cause::BareLf, "RFC 9112 2.2", "GET / HTTP/1.1\r\na: b\n\r\n"),
    ]);
    rows
}
