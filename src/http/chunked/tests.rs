//! The decoder however the bytes are cut, against a reader of whole contents that does it by splitting lines.

use super::*;
use crate::http::proof::Random;
use naive::naive;

mod naive;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// `None` while incomplete.
    verdict: Option<Result<(), Cause>>,
    content: Vec<u8>,
    consumed: usize,
}

/// Decodes `bytes` delivered in pieces that end at `cuts`.
fn decode(bytes: &[u8], limits: Limits, cuts: impl Iterator<Item = usize>) -> Outcome {
    let mut decoder = Decoder::new(limits);
    let (mut content, mut at) = (Vec::new(), 0);
    for cut in cuts.chain([bytes.len()]) {
        while at <= cut {
            let given = &bytes[at..cut];
            let (consumed, step) = decoder.step(given);
            assert!(consumed <= given.len());
            at += consumed;
            match step {
                Step::Data { len } => {
                    assert!(len > 0 && len <= given.len() - consumed && len as u64 <= decoder.remaining());
                    content.extend_from_slice(&bytes[at..at + len]);
                    decoder.advance(len as u64);
                    at += len;
                }
                Step::Incomplete => {
                    assert_eq!(at, cut);
                    break;
                }
                Step::End => {
                    assert!(decoder.is_end() && decoder.announced() == content.len() as u64);
                    assert_eq!(decoder.step(b"5\r\nhello"), (0, Step::End));
                    return Outcome { verdict: Some(Ok(())), content, consumed: at };
                }
                Step::Invalid(cause) => {
                    assert_eq!(decoder.step(b"0\r\n\r\n"), (0, Step::Invalid(cause)));
                    return Outcome { verdict: Some(Err(cause)), content, consumed: at };
                }
            }
        }
    }
    assert!(!decoder.is_end());
    Outcome { verdict: None, content, consumed: at }
}

/// The one outcome of the bytes, delivered at once, byte by byte and cut in two at every place.
fn outcome(bytes: &[u8]) -> Outcome {
    let limits = Limits::default();
    let whole = decode(bytes, limits, [].into_iter());
    assert_eq!(decode(bytes, limits, 0..bytes.len()), whole, "{}", bytes.escape_ascii());
    let every = (bytes.len() / 50).max(1);
    for cut in (0..bytes.len()).step_by(every) {
        assert_eq!(decode(bytes, limits, [cut].into_iter()), whole, "{} cut at {cut}", bytes.escape_ascii());
        // Before the byte that decides, nothing is decided.
        let prefix = decode(&bytes[..cut], limits, [].into_iter());
        let decided = match whole.verdict {
            None => usize::MAX,
            Some(Ok(())) => whole.consumed,
            Some(Err(_)) => whole.consumed + 1,
        };
        assert_eq!(prefix.verdict, if cut < decided { None } else { whole.verdict });
    }
    whole
}

fn accepted(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let Outcome { verdict, content, consumed } = outcome(bytes);
    assert_eq!((verdict, consumed), (Some(Ok(())), bytes.len()), "{}", bytes.escape_ascii());
    content
}

fn refused(bytes: impl AsRef<[u8]>, cause: Cause) {
    let bytes = bytes.as_ref();
    assert_eq!(outcome(bytes).verdict, Some(Err(cause)), "{}", bytes.escape_ascii());
}

#[test]
fn rfc9112_7_1_chunks_make_up_the_content_and_the_next_request_is_untouched() {
    assert_eq!(accepted("0\r\n\r\n"), b"");
    assert_eq!(accepted("5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n000\r\n\r\n"), b"hello world");
    assert_eq!(accepted("00000000000000a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n"), b"\r\n\r\n\r\n\r\n\r\n");
    assert_eq!(accepted("a\r\n0123456789\r\nF\r\n0123456789abcde\r\n0\r\n\r\n").len(), 25);
    let next = outcome(b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n");
    assert_eq!((next.verdict, next.consumed), (Some(Ok(())), 11));
    for unfinished in
        ["", "5", "5\r", "5\r\n", "5\r\nhell", "5\r\nhello", "5\r\nhello\r\n", "0", "0\r\n", "0\r\n\r", "0\r\nA: b\r\n"]
    {
        assert_eq!(outcome(unfinished.as_bytes()).verdict, None, "{unfinished:?}");
    }
}

#[test]
fn rfc9112_7_1_a_size_is_1_to_16_hexadecimal_digits() {
    for size in ["0x5", "+5", "-5", " 5", "5g ", ";a", "", "g", "5g", "00000000000000005", "5,", "\u{665}"] {
        refused(format!("{size}\r\nhello\r\n0\r\n\r\n"), Cause::ChunkSize);
    }
    accepted("0000000000000005\r\nhello\r\n0\r\n\r\n");
    refused("5\nhello\r\n0\r\n\r\n", Cause::BareLf);
    refused("5\rhello\r\n0\r\n\r\n", Cause::BareCr);
    let mut decoder = Decoder::default();
    assert_eq!(decoder.step(b"ffffffffffffffff\r\nab"), (18, Step::Data { len: 2 }));
    assert_eq!((decoder.remaining(), decoder.announced()), (u64::MAX, u64::MAX));
    decoder.advance(u64::MAX);
    // The sum is at its end, not back at the start.
    assert_eq!(decoder.step(b"\r\n2\r\n"), (5, Step::Incomplete));
    assert_eq!((decoder.remaining(), decoder.announced()), (2, u64::MAX));
}

#[test]
fn rfc9112_7_1_chunk_data_ends_in_crlf() {
    for end in ["", "\n", "\r", "x\r\n", "\r\r\n", " \r\n", "\n\n"] {
        refused(format!("5\r\nhello{end}0\r\n\r\n"), Cause::ChunkEnd);
    }
}

#[test]
fn rfc9112_7_1_1_extensions_follow_the_grammar_and_are_ignored() {
    // BWS of RFC 9110 section 5.6.3: bad white space that a recipient must take, wherever the grammar has it.
    for extension in [
        ";a",
        ";a=b",
        ";a=\"\"",
        ";a=\"b;c \t\\\"\\\\\u{e4}\";d",
        ";a;b;c=d",
        ";!#=~",
        "; a",
        " ;a",
        "\t ; \ta \t= \tb \t; c",
        ";a =b",
        ";a= b",
        ";a= \"b\" ;c",
        ";a ;b",
    ] {
        assert_eq!(accepted(format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n")), b"hello");
    }
    for extension in [
        ";",
        ";=b",
        ";a=",
        ";a=b=c",
        ";a=\"b",
        ";a=\"b\"c",
        ";a=\"b\\",
        ";;a",
        ";a;",
        ";(",
        "; ",
        ";a ",
        ";a =",
        ";a = ",
        ";a b",
        ";a=b c",
        ";a=b =c",
        ";a=\"b\" ",
        "; ;a",
        ";a\u{b};b",
        " ",
        "\t",
        " 5",
        " a",
        " =b",
        ";a=b ",
        ";a=\"\0\"",
        ";a=\"\\\0\"",
        ";a=b\"",
        ";a=\"\r\n\"",
    ] {
        refused(format!("5{extension}\r\nhello\r\n0\r\n\r\n"), Cause::ChunkExtension);
    }
    for extension in [";\n", ";a\n", ";a=\n", ";a=b\n", ";a=\"\n", ";a=\"\\\n", ";a=\"b\"\n", " \n", "; \n", ";a \n"] {
        refused(format!("5{extension}hello\r\n0\r\n\r\n"), Cause::BareLf);
    }
    refused("5;a\rX\r\nhello\r\n", Cause::BareCr);
}

#[test]
fn chunk_extensions_are_limited_to_256_bytes_a_chunk_and_16_kib_in_all() {
    let chunk = |extension: usize| format!("200;{}\r\n{}\r\n", "a".repeat(extension - 1), "x".repeat(512));
    accepted(format!("{}0\r\n\r\n", chunk(256)));
    refused(chunk(257), Cause::ChunkExtensionLong);
    accepted(format!("{}0\r\n\r\n", chunk(256).repeat(64)));
    refused(format!("{}0;a\r\n\r\n", chunk(256).repeat(64)), Cause::ChunkExtensionLong);
    refused(format!("5;{}(", "a".repeat(255)), Cause::ChunkExtension);
}

#[test]
fn tiny_chunks_are_refused_when_overhead_is_over_64_kib_and_more_than_the_data() {
    let ends = |chunk: &str, times: usize| {
        let bytes = [chunk.repeat(times).as_bytes(), LAST_CHUNK].concat();
        let whole = decode(&bytes, Limits::default(), [].into_iter());
        assert_eq!(decode(&bytes, Limits::default(), 0..bytes.len()), whole);
        whole.verdict
    };
    // Five bytes of overhead a chunk, and three of the last chunk's line.
    assert_eq!(ends("1\r\na\r\n", 13_106), Some(Ok(())));
    assert_eq!(ends("1\r\na\r\n", 13_107), Some(Err(Cause::ChunkOverhead)));
    assert_eq!(ends("4\r\nabcd\r\n", 50_000), Some(Err(Cause::ChunkOverhead)));
    assert_eq!(ends("6\r\nabcdef\r\n", 50_000), Some(Ok(())));
}

#[test]
fn rfc9112_7_1_2_trailers_follow_the_field_rules_and_are_discarded() {
    assert_eq!(accepted("1\r\na\r\n0\r\nA: b\r\nX_c:\t\u{e4} \r\nContent-Length: 5\r\nE:\r\n\r\n"), b"a");
    for trailer in ["A", ": b", "A : b", " A: b", "\tb", "A: b\r\n c", "A(: b", "A: \0", "A: \x7f", "A\0: b"] {
        refused(format!("0\r\n{trailer}\r\n\r\n"), Cause::Trailer);
    }
    for trailer in ["\n", "A: b\n", "A\n", "A: b\r\n\n"] {
        refused(format!("0\r\n{trailer}\r\n\r\n"), Cause::BareLf);
    }
    for trailer in ["\rA: b\r\n", "A: b\rc: d\r\n", "A: b\r\n\rX"] {
        refused(format!("0\r\n{trailer}\r\n"), Cause::BareCr);
    }
}

#[test]
fn trailers_have_the_limits_of_fields() {
    let body = |trailers: &str| format!("0\r\n{trailers}\r\n");
    let line = |len: usize| format!("A:{}\r\n", "b".repeat(len - 2));
    accepted(body(&line(8_190)));
    refused(body(&line(8_191)), Cause::TrailerLong);
    refused(body(&"a".repeat(8_191)), Cause::TrailerLong);
    accepted(body(&"A:\r\n".repeat(100)));
    refused(body(&"A:\r\n".repeat(101)), Cause::TrailerLong);
    let seven = line(8_190).repeat(7);
    accepted(body(&format!("{seven}{}", line(8_188))));
    refused(body(&format!("{seven}{}", line(8_189))), Cause::TrailerLong);
}

#[test]
fn data_can_be_read_past_the_decoder_in_any_portions() {
    let mut decoder = Decoder::default();
    assert_eq!(decoder.remaining(), 0);
    decoder.advance(7);
    assert_eq!(decoder.step(b"a\r"), (2, Step::Incomplete));
    assert_eq!(decoder.remaining(), 0);
    assert_eq!(decoder.step(b"\n"), (1, Step::Incomplete));
    assert_eq!(decoder.remaining(), 10);
    decoder.advance(4);
    assert_eq!((decoder.step(b""), decoder.remaining()), ((0, Step::Incomplete), 6));
    // Looking twice counts nothing.
    assert_eq!(decoder.step(b"abcdefgh"), (0, Step::Data { len: 6 }));
    assert_eq!(decoder.step(b"abc"), (0, Step::Data { len: 3 }));
    decoder.advance(0);
    decoder.advance(6);
    assert_eq!(decoder.remaining(), 0);
    assert_eq!(decoder.step(b"\r\n0\r\n\r\nX"), (7, Step::End));
}

#[test]
fn rfc9112_7_1_size_lines_are_hexadecimal_and_read_back() {
    let mut random = Random(3);
    let lens = (0..64).map(|_| random.next() as usize >> random.below(usize::BITS as usize));
    for len in lens.chain([1, 9, 10, 15, 16, 255, 256, 4096, usize::MAX]).filter(|&len| len > 0) {
        let mut room = [0; 18];
        let line = size_line(len, &mut room);
        assert_eq!(line, format!("{len:x}\r\n").as_bytes());
        let mut decoder = Decoder::default();
        assert_eq!(decoder.step(line), (line.len(), Step::Incomplete));
        assert_eq!(decoder.remaining(), len as u64);
    }
    assert_eq!(size_line(0, &mut [0; 18]), b"");
    let mut coded = Vec::new();
    for block in [&b"hello "[..], b"world"] {
        coded.extend([size_line(block.len(), &mut [0; 18]), block, CRLF].concat());
    }
    assert_eq!(accepted([&coded, LAST_CHUNK].concat()), b"hello world");
}

#[test]
fn random_contents_are_decoded_as_by_the_slow_reader_however_cut() {
    let mut random = Random(0x7_1);
    let seeds: [&[u8]; 4] = [
        b"5\r\nhello\r\n0\r\n\r\nGET",
        b"5;a=\"b\\\"c\";d=e\r\nhello\r\n00;f\r\n\r\n",
        b"1\r\na\r\n2\r\nbc\r\nA\r\n0123456789\r\n0\r\nA: b\r\nC:\r\n\r\n",
        b"0\r\nAb:\t c d \r\n\r\n0\r\n\r\n",
    ];
    let (mut whole, mut broken) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = random.pick(&seeds).to_vec();
        random.mutate(&mut bytes, b"\r\n\r\n;=\"\\ 05aF:\0\x80");
        let limits = Limits::default();
        let once = decode(&bytes, limits, [].into_iter());
        let text = bytes.escape_ascii().to_string();
        assert_eq!(decode(&bytes, limits, 0..bytes.len()), once, "{text}");
        let mut cuts: Vec<usize> = (0..random.below(4)).map(|_| random.below(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        assert_eq!(decode(&bytes, limits, cuts.iter().copied()), once, "{text} cut at {cuts:?}");
        let prefix = decode(&bytes[..random.below(bytes.len() + 1)], limits, [].into_iter());
        assert!(prefix.verdict.is_none() || prefix == once, "{text}");
        let accepted = once.verdict == Some(Ok(()));
        assert_eq!(naive(&bytes), accepted.then_some((once.content, once.consumed)), "{text}");
        whole += usize::from(accepted);
        broken += usize::from(matches!(once.verdict, Some(Err(_))));
    }
    assert!(whole > 4_000 && broken > 4_000, "{whole} whole, {broken} broken");
}
