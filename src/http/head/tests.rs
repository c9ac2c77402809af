//! The parser of heads against a slow one that reads byte by byte, however the bytes are cut.

use super::*;
use crate::http::proof::Random;
use naive::naive;

mod naive;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Incomplete,
    Invalid(Cause),
    Complete { len: usize, line: (Vec<u8>, Vec<u8>, Version), fields: Vec<(Vec<u8>, Vec<u8>)> },
}

fn verdict(bytes: &[u8], limits: &Limits, spans: &mut Spans) -> Verdict {
    match parse(bytes, limits, spans) {
        Parsed::Incomplete => Verdict::Incomplete,
        Parsed::Invalid(cause) => Verdict::Invalid(cause),
        Parsed::Complete(head) => {
            assert_eq!(head.fields().len(), head.fields().count());
            Verdict::Complete {
                len: head.len(),
                line: (head.method().to_vec(), head.target().to_vec(), head.version()),
                fields: head.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
            }
        }
    }
}

/// Delivers `bytes` in pieces that end at `cuts` through the gate, parsing only where it is open.
fn through_the_gate(bytes: &[u8], cuts: impl Iterator<Item = usize>, limits: &Limits, spans: &mut Spans) -> Verdict {
    let mut progress = Progress::default();
    for cut in cuts {
        if may_be_decided(&bytes[..cut], &mut progress, limits) {
            let verdict = verdict(&bytes[..cut], limits, spans);
            if verdict != Verdict::Incomplete {
                return verdict;
            }
        }
    }
    Verdict::Incomplete
}

/// Delivers the bytes in every way and returns the one verdict.
fn decide(bytes: &[u8], limits: &Limits) -> Verdict {
    let spans = &mut Spans::new();
    let (expected, taken) = naive(bytes, limits);
    let every = if bytes.len() < 100 { 1 } else { bytes.len() / 20 };
    let cuts = || (0..bytes.len()).step_by(every).chain([taken - taken.min(1), taken, bytes.len()]);
    for cut in cuts() {
        let prefix = if cut < taken { &Verdict::Incomplete } else { &expected };
        assert_eq!(
            &verdict(&bytes[..cut], limits, spans),
            prefix,
            "{:?} cut at {cut}",
            bytes.escape_ascii().to_string()
        );
    }
    // A fault behind the last line end may wait at the gate until the line ends.
    let ended = [bytes, b"\n"].concat();
    let ended_verdict = naive(&ended, limits).0;
    for cut in cuts() {
        let gated = through_the_gate(&ended, [cut, bytes.len(), ended.len()].into_iter(), limits, spans);
        assert_eq!(gated, ended_verdict, "{:?} cut at {cut}", bytes.escape_ascii().to_string());
    }
    assert_eq!(through_the_gate(&ended, 0..=ended.len(), limits, spans), ended_verdict);
    if let Verdict::Complete { .. } = expected {
        assert_eq!(through_the_gate(bytes, 0..=bytes.len(), limits, spans), expected);
    }
    expected
}

fn refused(bytes: impl AsRef<[u8]>, cause: Cause) {
    let bytes = bytes.as_ref();
    assert_eq!(decide(bytes, &Limits::default()), Verdict::Invalid(cause), "{:?}", bytes.escape_ascii().to_string());
}

/// The head is valid; returns its fields.
fn accepted(bytes: impl AsRef<[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes = bytes.as_ref();
    match decide(bytes, &Limits::default()) {
        Verdict::Complete { len, fields, .. } => {
            assert_eq!(len, bytes.len());
            fields
        }
        other => panic!("{other:?}: {:?}", bytes.escape_ascii().to_string()),
    }
}

#[test]
fn rfc9112_2_2_two_empty_lines_are_skipped_and_a_third_is_refused() {
    accepted("GET / HTTP/1.1\r\n\r\n");
    accepted("\r\nGET / HTTP/1.1\r\n\r\n");
    accepted("\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    refused("\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", Cause::EmptyLines);
    refused("\nGET / HTTP/1.1\r\n\r\n", Cause::BareLf);
    refused("\r\n\n", Cause::BareLf);
    refused("\rGET / HTTP/1.1\r\n\r\n", Cause::BareCr);
    // A CR is the name of no field.
    refused("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\r: 0123456789abcdef\r\n\r\n", Cause::BareCr);
}

#[test]
fn rfc9112_2_2_bare_lf_and_bare_cr_are_refused_everywhere() {
    let valid = b"GET /a HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\n";
    accepted(valid);
    for at in 0..valid.len() {
        for (byte, cause) in [(b'\n', Cause::BareLf), (b'\r', Cause::BareCr)] {
            let mut bytes = valid.to_vec();
            bytes.insert(at, byte);
            // Before an LF, either makes a second line end of some kind.
            let before_a_line = at == 0 || valid[at - 1] == b'\n';
            let cause =
                if byte == b'\n' && at > 0 && valid[at - 1] == b'\r' && !before_a_line { None } else { Some(cause) };
            match cause {
                // CR LF LF: the line ends, then a bare LF starts the next; at the very end the head is whole before it.
                None if at + 1 == valid.len() => drop(accepted(valid)),
                None => refused(&bytes, Cause::BareLf),
                Some(cause) => refused(&bytes, cause),
            }
        }
    }
    refused("GET / HTTP/1.1\nHost: a\n\n", Cause::BareLf);
    refused("GET / HTTP/1.1\rHost: a\r\r", Cause::BareCr);
}

#[test]
fn rfc9112_3_a_request_line_is_three_parts_and_two_spaces() {
    for line in [" GET / HTTP/1.1", "GET\t/ HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 ", "GET /", "GET / ", "GET"] {
        refused(format!("{line}\r\n\r\n"), Cause::RequestLine);
    }
    refused("GET  / HTTP/1.1\r\n\r\n", Cause::TargetByte);
    refused("GET /\tHTTP/1.1\r\n\r\n", Cause::TargetByte);
    refused("GET / HTTP/1.1\t\r\n\r\n", Cause::RequestLine);
    refused("GET /\r\n", Cause::RequestLine);
    refused("GET / a HTTP/1.1\r\n\r\n", Cause::Version);
}

#[test]
fn rfc9112_3_1_a_method_is_a_token_of_at_most_32_bytes_in_its_own_case() {
    for method in ["get", "M-SEARCH", "!#$%&'*+-.^_`|~", &"A".repeat(32)] {
        accepted(format!("{method} / HTTP/1.1\r\n\r\n"));
    }
    refused("A".repeat(33), Cause::MethodLong);
    refused(format!("{}(", "A".repeat(32)), Cause::Method);
    for method in ["G(T", "G:T", "G\0T", "G\u{e4}T", "{}", "\"", "/"] {
        refused(format!("{method} / HTTP/1.1\r\n\r\n"), Cause::Method);
    }
    // A client that speaks TLS is answered at its first byte.
    refused(b"\x16\x03\x01", Cause::Method);
}

#[test]
fn rfc9112_3_2_a_target_is_visible_ascii_without_fragment_up_to_8190_bytes() {
    for byte in 0..=255u8 {
        let bytes = [b"GET /", &[byte][..], b"x HTTP/1.1\r\n\r\n"].concat();
        match byte {
            b'\n' => refused(&bytes, Cause::BareLf),
            b'\r' => refused(&bytes, Cause::BareCr),
            b' ' => refused(&bytes, Cause::Version),
            0x21..=0x7E if byte != b'#' => drop(accepted(&bytes)),
            _ => refused(&bytes, Cause::TargetByte),
        }
    }
    accepted(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(8_189)));
    refused(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(8_190)), Cause::TargetLong);
    refused(format!("GET /{}", "a".repeat(8_190)), Cause::TargetLong);
    refused(format!("GET /{}#", "a".repeat(8_189)), Cause::TargetByte);
}

#[test]
fn rfc9112_2_3_versions_1_x_are_served_and_others_named() {
    for (version, read) in [("HTTP/1.0", Version::Http10), ("HTTP/1.1", Version::Http11), ("HTTP/1.9", Version::Http11)]
    {
        match decide(format!("GET / {version}\r\n\r\n").as_bytes(), &Limits::default()) {
            Verdict::Complete { line, .. } => assert_eq!(line, (b"GET".to_vec(), b"/".to_vec(), read)),
            other => panic!("{version}: {other:?}"),
        }
    }
    for version in ["HTTP/0.9", "HTTP/2.0", "HTTP/3.0"] {
        refused(format!("GET / {version}\r\n\r\n"), Cause::VersionUnsupported);
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Cause::VersionUnsupported);
    for version in
        ["http/1.1", "HTTP/1.10", "HTTP/01.1", "HTTP/ 1.1", "HTTP/1", "HTTP/2", "HTTP/1.", "HTTP/a.1", "HTTPS/1.1", "X"]
    {
        refused(format!("GET / {version}\r\n\r\n"), Cause::Version);
    }
    assert_eq!((Version::Http10.as_str(), Version::Http11.as_str()), ("HTTP/1.0", "HTTP/1.1"));
}

#[test]
fn rfc9112_5_1_a_field_name_is_a_token_right_before_its_colon() {
    let field = |line: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
    assert_eq!(accepted(field("X_A!: b"))[1], (b"X_A!".to_vec(), b"b".to_vec()));
    refused(field("X-A : b"), Cause::FieldSpace);
    refused(field("X-A\t: b"), Cause::FieldSpace);
    refused(field("X A: b"), Cause::FieldSpace);
    refused(field(": b"), Cause::FieldName);
    refused(field("X(A: b"), Cause::FieldName);
    refused(field("X\0A: b"), Cause::FieldName);
    refused(field("X\u{e4}: b"), Cause::FieldName);
    refused(field("X-A b"), Cause::FieldSpace);
    refused(field("X-A"), Cause::FieldColon);
}

#[test]
fn rfc9112_5_2_folding_is_refused_on_the_first_line_and_on_later_ones() {
    for white in [" ", "\t"] {
        refused(format!("GET / HTTP/1.1\r\n{white}Host: a\r\n\r\n"), Cause::FieldFold);
        refused(format!("GET / HTTP/1.1\r\nHost: a\r\n{white}b\r\n\r\n"), Cause::FieldFold);
        refused(format!("GET / HTTP/1.1\r\n{white}\r\n\r\n"), Cause::FieldFold);
    }
}

#[test]
fn rfc9110_5_5_a_value_holds_no_control_byte_but_htab_and_keeps_high_bytes() {
    for byte in 0..=255u8 {
        let bytes = [b"GET / HTTP/1.1\r\nX: a", &[byte][..], b"b\r\n\r\n"].concat();
        match byte {
            b'\n' => refused(&bytes, Cause::BareLf),
            b'\r' => refused(&bytes, Cause::BareCr),
            b'\t' | b' '..=0x7E | 0x80.. => assert_eq!(accepted(&bytes)[0].1, [b'a', byte, b'b']),
            _ => refused(&bytes, Cause::FieldValue),
        }
    }
    for (value, trimmed) in [("", ""), (" ", ""), ("\t a \t b \t", "a \t b"), ("a", "a")] {
        assert_eq!(accepted(format!("GET / HTTP/1.1\r\nX:{value}\r\n\r\n"))[0].1, trimmed.as_bytes());
    }
}

#[test]
fn limits_hold_at_their_value_and_break_one_above() {
    let head = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n");
    let line = |len: usize| format!("X: {}", "a".repeat(len - 3));
    accepted(head(&format!("{}\r\n", line(8_190))));
    refused(head(&format!("{}\r\n", line(8_191))), Cause::FieldLong);
    refused(head(&line(9_000)), Cause::FieldLong);
    refused(head(&format!("X: {}\0{}", "a".repeat(97), "a".repeat(9_000))), Cause::FieldValue);
    refused(head(&format!("{}\0", line(8_190))), Cause::FieldValue);
    refused(head(&"a".repeat(8_191)), Cause::FieldLong);
    refused(head(&format!("{}:", "a".repeat(8_190))), Cause::FieldLong);
    assert_eq!(accepted(head(&"X:\r\n".repeat(100))).len(), 100);
    refused(head(&"X:\r\n".repeat(101)), Cause::FieldCount);
    refused(head(&format!("{}(", "X:\r\n".repeat(100))), Cause::FieldName);
    // 16 bytes of request line, 2 of the last line, seven lines of 8,192 and one of 8,174 make 65,536.
    let lines = format!("{}\r\n", line(8_190)).repeat(7);
    accepted(head(&format!("{lines}{}\r\n", line(8_172))));
    refused(head(&format!("{lines}{}\r\n", line(8_173))), Cause::HeadLong);
    refused(head(&format!("{lines}{}", line(8_180))), Cause::HeadLong);
    // Whatever stands in the byte behind the limit: it is the limit that is broken.
    let full = head(&format!("{lines}{}\r\n", line(8_173)));
    assert_eq!(decide(&full.as_bytes()[..65_536], &Limits::default()), Verdict::Invalid(Cause::HeadLong));
    assert_eq!(decide(&full.as_bytes()[..65_535], &Limits::default()), Verdict::Incomplete);
}

#[test]
fn the_gate_looks_at_each_byte_once_and_opens_for_lines_without_end() {
    let limits = Limits { target: 20, field_line: 30, fields: 3, head: 200 };
    let mut progress = Progress::default();
    assert!(!may_be_decided(b"", &mut progress, &limits));
    let bytes = [b'a'; 300];
    let open: Vec<usize> = (1..300).filter(|&len| may_be_decided(&bytes[..len], &mut progress, &limits)).collect();
    // The first byte, and everything longer than a method, a target and a version together.
    assert_eq!(open[..3], [1, 64, 65]);
    decide(&bytes, &limits);
}

#[test]
fn what_follows_the_head_is_not_looked_at() {
    let first = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = [&first[..], b"\0\n\r\xFF"].concat();
    match decide(&bytes, &Limits::default()) {
        Verdict::Complete { len, .. } => assert_eq!(len, first.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn random_heads_have_the_verdict_of_the_slow_parser_however_cut() {
    let mut random = Random(0x9112);
    let spans = &mut Spans::new();
    let seeds: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nOPTIONS * HTTP/1.0\r\nA:b \r\nC-D: \te\r\nF:\r\nG: h\r\n\r\nX",
        b"POST http://a/b?c HTTP/1.7\r\nContent-Length: 12345\r\n\r\n",
        b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/2.0\r\nCookie: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
    ];
    let (mut complete, mut invalid) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = random.pick(&seeds).to_vec();
        random.mutate(&mut bytes, b"\r\n\r\n \t:\0#aA/1.\x7F\x80");
        let limits = match random.below(2) {
            0 => Limits::default(),
            _ => Limits {
                target: 1 + random.below(40),
                field_line: 1 + random.below(80),
                fields: random.below(5),
                head: 1 + random.below(150),
            },
        };
        let (expected, taken) = naive(&bytes, &limits);
        match expected {
            Verdict::Complete { .. } => complete += 1,
            Verdict::Invalid(_) => invalid += 1,
            Verdict::Incomplete => {}
        }
        for cut in [taken - taken.min(1), taken, bytes.len(), random.below(bytes.len() + 1)] {
            let prefix = if cut < taken { &Verdict::Incomplete } else { &expected };
            let text = bytes.escape_ascii().to_string();
            assert_eq!(&verdict(&bytes[..cut], &limits, spans), prefix, "{text} cut at {cut} with {limits:?}");
        }
        bytes.push(b'\n');
        let ended = naive(&bytes, &limits).0;
        assert_eq!(through_the_gate(&bytes, 0..=bytes.len(), &limits, spans), ended, "{bytes:?}");
    }
    assert!(complete > 2_000 && invalid > 5_000, "{complete} complete, {invalid} invalid");
}
