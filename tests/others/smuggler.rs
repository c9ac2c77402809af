//! The mutations of smuggler (all its configurations): `Transfer-Encoding: chunked` beside a Content-Length, with a byte in the places
//! where a lenient reader might overlook it. The verdict follows from the byte and the place alone, from left to right.

use doorway::Cause;

use super::{Row, no, yes};

/// RFC 9112 section 6.3, rule 3.
const BOTH: &str = "RFC 9112 6.3";

fn probe(line: impl AsRef<[u8]>, content: &str) -> Vec<u8> {
    let rest = format!("\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}", content.len());
    [b"POST / HTTP/1.1\r\n", line.as_ref(), rest.as_bytes()].concat()
}

/// `before name between : after chunked behind`, where each of the four may be a byte.
fn gadget(places: [Option<u8>; 4]) -> Row {
    let byte = |place: usize| places[place].into_iter().collect::<Vec<u8>>();
    let after = if places[2].is_some() { byte(2) } else { b" ".to_vec() };
    let line = [&byte(0)[..], b"Transfer-Encoding", &byte(1), b":", &after, b"chunked", &byte(3)].concat();
    let fault = |place: usize, byte: u8| match (place, byte) {
        (_, b'\n') => Some((Cause::BareLf, "RFC 9112 2.2")),
        (_, b'\r') => Some((Cause::BareCr, "RFC 9112 2.2")),
        (0, b' ' | b'\t') => Some((Cause::FieldFold, "RFC 9112 2.2")),
        (1, b' ' | b'\t') => Some((Cause::FieldSpace, "RFC 9112 5.1")),
        (0 | 1, _) => Some((Cause::FieldName, "RFC 9110 5.1")),
        // White space around a value is no part of it, and bytes above ASCII are: the field is Transfer-Encoding either way.
        (_, b' ' | b'\t' | 0x80..) => None,
        _ => Some((Cause::FieldValue, "RFC 9110 5.5")),
    };
    let mut set = places.iter().enumerate().filter_map(|(place, byte)| Some((place, (*byte)?)));
    let (cause, clause) = set.find_map(|(place, byte)| fault(place, byte)).unwrap_or((Cause::LengthAndCoding, BOTH));
    no(cause, clause, probe(line, "0\r\n\r\nX"))
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (line, cause, clause) in [
        (&b" Transfer-Encoding: chunked"[..], Cause::FieldFold, "RFC 9112 2.2"),
        (b"Transfer-Encoding\t:\tchunked", Cause::FieldSpace, "RFC 9112 5.1"),
        (b"Transfer Encoding: chunked", Cause::FieldSpace, "RFC 9112 5.1"),
        (b"Transfer Encoding:chunked", Cause::FieldSpace, "RFC 9112 5.1"),
        (b"Transfer-Encoding:  chunked", Cause::LengthAndCoding, BOTH),
        (b"Transfer-Encoding: chunked, cow", Cause::LengthAndCoding, BOTH),
        (b"Transfer-Encoding: cow, chunked", Cause::LengthAndCoding, BOTH),
        (b"Transfer-Encoding:\n chunked", Cause::BareLf, "RFC 9112 2.2"),
        (b"Transfer-Encoding: \"chunked\"", Cause::LengthAndCoding, BOTH),
        (b"Transfer-Encoding: 'chunked'", Cause::LengthAndCoding, BOTH),
        (b"Transfer-Encoding: chunk", Cause::LengthAndCoding, BOTH),
        (b"TrAnSFer-EnCODinG: cHuNkeD", Cause::LengthAndCoding, BOTH),
        (b"TRANSFER-ENCODING: CHUNKED", Cause::LengthAndCoding, BOTH),
        (b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", Cause::FieldRepeated, "RFC 9112 6.1"),
        (b"Transfer\r-Encoding: chunked", Cause::BareCr, "RFC 9112 2.2"),
        (b"Transfer-Encoding: cow chunked bar", Cause::LengthAndCoding, BOTH),
        (b"Transfer-Encoding: ch\x96nked", Cause::LengthAndCoding, BOTH),
        (b"Transf\x82r-Encoding: chunked", Cause::FieldName, "RFC 9110 5.1"),
        (b"X:X\rTransfer-Encoding: chunked", Cause::BareCr, "RFC 9112 2.2"),
        (b"X:X\nTransfer-Encoding: chunked", Cause::BareLf, "RFC 9112 2.2"),
    ] {
        rows.push(no(cause, clause, probe(line, "0\r\n\r\nX")));
        // The other way round: a length that ends inside of the chunk.
        rows.push(no(cause, clause, probe(line, "1\r\nZ\r\nQ\r\n\r\n")));
    }
    for line in ["Transfer_Encoding: chunked", "Content-Encoding: chunked"] {
        rows.push(yes(&["0\r\n\r\nX"], "RFC 9112 6.3", probe(line, "0\r\n\r\nX")));
    }
    for byte in (1..=0x20).chain(0x7F..=0xFF) {
        for place in 0..4 {
            let mut places = [None; 4];
            places[place] = Some(byte);
            rows.push(gadget(places));
            for other in place + 1..4 {
                let mut both = places;
                both[other] = Some(byte);
                rows.push(gadget(both));
            }
        }
    }
    rows
}
