//! Forms with files: by the clauses of RFC 7578 and RFC 2046, as real clients send them, against two readings of the same forms, however they
//! are cut, and up to every limit.
//!
//! `DOORWAY_CASES=1000000` makes more random forms than the usual number, `DOORWAY_SEED=7` others. `multipart/` has what real clients
//! sent: Chromium 142, curl 7.88, Node 20, PHP 8.2 and requests 2.34, each with its Content-Type before the content.

#[path = "readings/form.rs"]
mod form;
mod reference;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use doorway::multipart::{Limits, Parts};
use doorway::testing::Request;
use doorway::{Body, Cause, Environ, StartResponse};
use form::{assert_agree, parts_with};
use reference::generator::Random;
use reference::multipart::Part;

const USUAL_CASES: usize = 4_000;

fn number_from(name: &str, usual: usize) -> usize {
    let Ok(text) = std::env::var(name) else { return usual };
    text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} is no number: {text}"))
}

/// Content in pieces, each of which is all that has arrived.
struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    fn of(content: &[u8], cuts: &[usize]) -> Pieces {
        let (mut pieces, mut rest, mut from) = (VecDeque::new(), content, 0);
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut - from);
            pieces.push_back(piece.to_vec());
            (rest, from) = (behind, *cut);
        }
        pieces.push_back(rest.to_vec());
        pieces.retain(|piece| !piece.is_empty());
        Pieces(pieces)
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.0.front().map_or(&[], |piece| &piece[..]))
    }

    fn consume(&mut self, amount: usize) {
        if let Some(piece) = self.0.front_mut() {
            piece.drain(..amount);
            if piece.is_empty() {
                self.0.pop_front();
            }
        }
    }
}

fn parts(content: &[u8], boundary: &str) -> (Vec<Part>, Option<Cause>) {
    parts_with(content, boundary, Limits::default())
}

/// Name, file name and content of a part, as written in a test.
type Meant<'part> = (&'part str, Option<&'part str>, &'part [u8]);

fn named(parts: &[Meant]) -> Vec<Part> {
    parts.iter().map(|(name, file, content)| ((*name).into(), file.map(Into::into), content.to_vec())).collect()
}

const FIELD: &str = "Content-Disposition: form-data; name=\"a\"";

#[test]
fn rfc2046_5_1_1_the_line_end_before_a_boundary_is_the_boundarys_and_every_other_is_content() {
    for (content, expected) in [
        ("--x\r\n{F}\r\n\r\nabc\r\n--x--\r\n", Some("abc")),
        ("--x\r\n{F}\r\n\r\nabc\r\n--x--", Some("abc")),
        ("--x  \t\r\n{F}\r\n\r\nabc\r\n--x-- \t\r\nepilogue --x\r\n", Some("abc")),
        ("preamble\r\n--y\r\n\r\n--x\r\n{F}\r\n\r\nabc\r\n--x--", Some("abc")),
        ("\r\n--x\r\n{F}\r\n\r\nabc\r\n--x--", Some("abc")),
        ("--x\r\n{F}\r\n\r\n\r\n\r\nabc\r\n\r\n\r\n--x--", Some("\r\n\r\nabc\r\n\r\n")),
        ("--x\r\n{F}\r\n\r\n\r\n--x--", Some("")),
        // No line of content at all: the empty line is the one before the boundary.
        ("--x\r\n{F}\r\n\r\n--x--", Some("")),
        ("--x\r\n{F}\r\n\r\n--y\r\n-x\n--x\r--x\r\r\n--x--", Some("--y\r\n-x\n--x\r--x\r")),
        ("--x\r\n{F}\r\n\r\na--x--\r\n--x--", Some("a--x--")),
        ("--x--", None),
        ("--x--\r\n", None),
    ] {
        let content = content.replace("{F}", FIELD);
        let expected: Vec<_> = expected.iter().map(|text| ("a", None, text.as_bytes())).collect();
        assert_eq!(parts(content.as_bytes(), "x"), (named(&expected), None), "{content:?}");
    }
}

#[test]
fn rfc2046_5_1_1_what_could_be_read_in_two_ways_is_refused() {
    for (content, cause) in [
        ("", Cause::MultipartTruncated),
        ("--", Cause::MultipartTruncated),
        ("--x", Cause::MultipartTruncated),
        ("--x-", Cause::MultipartTruncated),
        ("--x\r", Cause::MultipartTruncated),
        ("--x\r\n", Cause::MultipartTruncated),
        ("--x\r\n{F}\r\n", Cause::MultipartTruncated),
        ("--x\r\n{F}\r\n\r\nabc", Cause::MultipartTruncated),
        ("--x\r\n{F}\r\n\r\nabc\r\n--x", Cause::MultipartTruncated),
        ("--x\r\n{F}\r\n\r\nabc\n--x--\n", Cause::MultipartTruncated),
        ("--X--", Cause::MultipartTruncated),
        ("--xy\r\n", Cause::MultipartBoundary),
        ("--x\n", Cause::MultipartBoundary),
        ("--x\r\r\n", Cause::MultipartBoundary),
        ("--x-\r\n", Cause::MultipartBoundary),
        ("--x--y", Cause::MultipartBoundary),
        ("--x--\n", Cause::MultipartBoundary),
        ("--x\r\n{F}\r\n\r\nabc\r\n--xy--\r\n--x--", Cause::MultipartBoundary),
        ("--x\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\nContent-Type: text/plain\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\nContent-Disposition: attachment; name=a\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\n{F}; name=\"b\"\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\n{F}\r\n{F}\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\n{F}\"\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\n{F}\r\n folded\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\n{F}\nContent-Type: text/plain\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\n{F}\r\nX : y\r\n\r\nabc\r\n--x--", Cause::PartHead),
        ("--x\r\n{F}; filename=\"a\0b\"\r\n\r\nabc\r\n--x--", Cause::PartHead),
    ] {
        let content = content.replace("{F}", FIELD);
        assert_eq!(parts(content.as_bytes(), "x").1, Some(cause), "{content:?}");
    }
    let long = format!("--x{}\r\n", " ".repeat(200));
    assert_eq!(parts(long.as_bytes(), "x").1, Some(Cause::MultipartBoundary));
}

#[test]
fn what_is_broken_stays_broken_and_what_is_over_stays_over() {
    let content = format!("--x\r\n{FIELD}\r\n\r\nabc\r\n--xy\r\n--x\r\n{FIELD}\r\n\r\nabc\r\n--x--");
    let mut parts = Parts::new(content.as_bytes(), b"x", Limits::default()).unwrap();
    assert!(parts.next_part().unwrap().is_some());
    for _ in 0..2 {
        let error = parts.next_part().map(|_| ()).unwrap_err();
        assert_eq!((error.kind(), Cause::of(&error)), (ErrorKind::InvalidData, Some(Cause::MultipartBoundary)));
    }
    let mut parts = Parts::new(&b"--x--"[..], b"x", Limits::default()).unwrap();
    assert!(parts.next_part().unwrap().is_none() && parts.next_part().unwrap().is_none());
}

#[test]
fn rfc2046_5_1_1_a_boundary_is_1_to_70_of_its_characters_and_stands_once_in_a_type_that_is_read() {
    let seventy = "b".repeat(70);
    let verdict = |content_type: &str| {
        let environ = Request::post("/", "").header("Content-Type", content_type).environ();
        Parts::of(&environ, Limits::default()).map(|_| ()).map_err(|error| Cause::of(&error))
    };
    for boundary in ["x", "\"x\"", "\"a b\"", "'()+_,-./:=?", "\"'()+_,-./:=?\"", "----=_Part_1", &seventy] {
        assert_eq!(verdict(&format!("multipart/form-data; boundary={boundary}")), Ok(()), "{boundary}");
    }
    let seventy_one = format!("multipart/form-data; boundary={}", "b".repeat(71));
    for content_type in [
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"x \"",
        "multipart/form-data; boundary=\"x",
        "multipart/form-data; boundary=x\u{e4}",
        "multipart/form-data; boundary=x; boundary=y",
        "multipart/form-data; boundary=x; Boundary=x",
        "multipart/form-datas; boundary=x",
        "multipart/mixed; boundary=x",
        "application/x-www-form-urlencoded; boundary=x",
        &seventy_one,
    ] {
        assert_eq!(verdict(content_type), Err(Some(Cause::ContentType)), "{content_type}");
    }
    assert_eq!(verdict("Multipart/FORM-data;charset=utf-8 ; BOUNDARY=x"), Ok(()));
}

// ---------------------------------------------------------------------------------------------------------------- clients

/// What a client sent: the value of its Content-Type, and the content.
fn sent(name: &str) -> (String, Vec<u8>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/multipart").join(format!("{name}.form"));
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let (head, content) = bytes.split_at(end);
    let content_type = std::str::from_utf8(head).unwrap().strip_prefix("Content-Type: ").unwrap();
    (content_type.to_owned(), content[4..].to_vec())
}

/// A content that is as near to a boundary as it can be.
const BINARY: &[u8] = b"\0\r\n--\r\n\xFF";

#[test]
fn rfc7578_4_every_real_client_is_read_as_it_meant() {
    let file = Some("na\u{ef}ve %22file%22.bin");
    let text = b"Ada & \"Lovelace\"";
    let rows: &[(&str, &[Meant])] = &[
        (
            "chromium-fetch",
            &[
                ("text", None, b"Ada & \"Lovelace\"\r\nsecond line"),
                ("quote%22name%0D%0A", None, b"x"),
                ("empty", None, b""),
                ("file", file, BINARY),
                ("file", Some("back\\slash.txt"), b"second"),
                ("none", Some(""), b""),
            ],
        ),
        ("chromium-empty", &[]),
        (
            "chromium-form",
            &[("a", None, b"1 < 2"), ("t", None, "one\r\ntwo \u{2615}".as_bytes()), ("f", Some(""), b"")],
        ),
        (
            "curl",
            &[
                ("text", None, text),
                ("file", Some("bin.bin"), BINARY),
                ("file", Some("sec%22ond.txt"), b"second"),
                ("quo%22te", None, b"x"),
                ("none", Some(""), b""),
            ],
        ),
        ("curl-escape", &[("a", None, b"b"), ("file", Some("C:\\x \"y\".bin"), BINARY)]),
        (
            "requests",
            &[
                ("text", None, b"Ada"),
                ("text", None, b"B"),
                ("file", file, BINARY),
                ("file", Some("second.txt"), b"second"),
            ],
        ),
        ("node", &[("text", None, "Ada\r\n\u{2615}".as_bytes()), ("file", file, BINARY), ("none", None, b"")]),
        ("php", &[("text", None, b"Ada \"L\""), ("file", file, BINARY), ("string", Some("second.txt"), b"second")]),
    ];
    for (client, expected) in rows {
        let (content_type, content) = sent(client);
        let environ = Request::post("/", &content).header("Content-Type", &content_type).environ();
        let mut parts = Parts::of(&environ, Limits::default()).unwrap();
        let mut found = Vec::new();
        while let Some(mut part) = parts.next_part().unwrap() {
            let content = part.content(1_000).unwrap();
            found.push((part.name().to_owned(), part.file_name().map(str::to_owned), content));
        }
        assert_eq!(found, named(expected), "{client}");
        // What a client sends is read alike wherever the network cuts it.
        let boundary = content_type.split("boundary=").nth(1).unwrap();
        for cut in 0..=content.len() {
            let cut = Pieces::of(&content, &[cut]);
            assert_eq!(parts_with(cut, boundary, Limits::default()), (named(expected), None), "{client}");
        }
    }
}

#[test]
fn a_part_has_its_type_its_fields_and_names_to_show_and_to_store() {
    let (content_type, content) = sent("requests");
    let environ = Request::post("/", &content).header("Content-Type", &content_type).environ();
    let mut parts = Parts::of(&environ, Limits::default()).unwrap();
    let text = parts.next_part().unwrap().unwrap();
    assert_eq!((text.content_type(), text.file_name(), text.safe_file_name()), (None, None, None));
    parts.next_part().unwrap().unwrap();
    let file = parts.next_part().unwrap().unwrap();
    assert_eq!(file.content_type(), Some("application/octet-stream"));
    assert_eq!(file.safe_file_name().as_deref(), Some("na\u{ef}ve %22file%22.bin"));
    let mut file = parts.next_part().unwrap().unwrap();
    assert_eq!(file.headers().get("x-mark").as_deref(), Some("1"));
    assert_eq!(file.text(6).unwrap(), "second");
    assert!(parts.next_part().unwrap().is_none());
}

// ----------------------------------------------------------------------------------------------------------------- limits

/// Never ends, and counts what was taken of it.
struct Endless<'count> {
    begin: VecDeque<u8>,
    block: &'static [u8],
    rest: &'static [u8],
    taken: &'count std::cell::Cell<usize>,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Endless<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(if self.begin.is_empty() { self.rest } else { self.begin.as_slices().0 })
    }

    fn consume(&mut self, amount: usize) {
        self.taken.set(self.taken.get() + amount);
        let own = amount.min(self.begin.len());
        self.begin.drain(..own);
        self.rest = &self.rest[amount - own..];
        if self.rest.is_empty() {
            self.rest = self.block;
        }
    }
}

#[test]
fn everything_that_a_client_can_make_grow_has_a_limit_and_nothing_is_read_far_beyond_it() {
    let limits = Limits { parts: 3, head: 200, fields: 4, preamble: 300, content: 1_000_000 };
    let part = format!("--x\r\n{FIELD}\r\n\r\n");
    let rows: &[(&str, &str, &[u8], Cause, usize)] = &[
        ("a preamble", "", b"preamble ", Cause::ContentLong, 300),
        ("a head", "--x\r\n", b"A: b", Cause::ContentLong, 205),
        ("a line in a head", "--x\r\nA:", b"bbbb", Cause::ContentLong, 205),
        ("white space behind a boundary", "--x", b"    ", Cause::MultipartBoundary, 140),
        ("parts", "--x", b"\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--x", Cause::ContentLong, 200),
        ("a part", &part, b"content ", Cause::ContentLong, 1_000_000),
        ("a part of lines", &part, b"\r\n", Cause::ContentLong, 1_000_000),
    ];
    for (what, begin, block, cause, most) in rows {
        let taken = std::cell::Cell::new(0);
        let content = Endless { begin: begin.bytes().collect(), block, rest: block, taken: &taken };
        let mut parts = Parts::new(content, b"x", limits).unwrap();
        let error = loop {
            match parts.next_part() {
                Ok(part) => assert!(part.is_some()),
                Err(error) => break error,
            }
        };
        assert_eq!(Cause::of(&error), Some(*cause), "{what}");
        // What comes at once may go beyond it.
        assert!(taken.get() <= *most + block.len(), "{what}: {} bytes", taken.get());
    }
    let fields = format!("--x\r\n{FIELD}\r\n{}\r\n--x--", "A: b\r\n".repeat(4));
    assert_eq!(parts_with(fields.as_bytes(), "x", limits).1, Some(Cause::PartHead));
    // Each parameter is compared with all before it.
    for (more, cause) in [(15, None), (16, Some(Cause::PartHead))] {
        let parameters: String = (0..more).map(|number| format!("; p{number}=v")).collect();
        let form = format!("--x\r\n{FIELD}{parameters}\r\n\r\n\r\n--x--");
        assert_eq!(parts_with(form.as_bytes(), "x", Limits::default()).1, cause, "{more}");
    }
}

#[test]
fn a_limit_that_is_just_kept_is_kept() {
    let content = format!("{}\r\n--x\r\n{FIELD}\r\n\r\nabc\r\n--x--", "p".repeat(100));
    let head = FIELD.len() + 4;
    let limits = Limits { parts: 1, head, fields: 1, preamble: 100, content: content.len() as u64 };
    let expected = named(&[("a", None, b"abc")]);
    assert_eq!(parts_with(content.as_bytes(), "x", limits), (expected, None));
    for (limits, cause) in [
        (Limits { parts: 0, ..limits }, Cause::ContentLong),
        (Limits { head: head - 1, ..limits }, Cause::ContentLong),
        (Limits { fields: 0, ..limits }, Cause::PartHead),
        (Limits { preamble: 99, ..limits }, Cause::ContentLong),
        (Limits { content: content.len() as u64 - 1, ..limits }, Cause::ContentLong),
    ] {
        assert_eq!(parts_with(content.as_bytes(), "x", limits).1, Some(cause), "{limits:?}");
    }
    let mut parts = Parts::new(content.as_bytes(), b"x", Limits::default()).unwrap();
    let error = parts.next_part().unwrap().unwrap().content(2).unwrap_err();
    assert_eq!((error.kind(), Cause::of(&error)), (ErrorKind::FileTooLarge, Some(Cause::ContentLong)));
}

#[test]
fn an_error_answers_by_itself_where_an_application_passes_it_on() {
    fn application(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
        let mut parts = Parts::of(environ, Limits { parts: 1, ..Limits::default() })?;
        while let Some(mut part) = parts.next_part()? {
            part.content(10)?;
        }
        start_response.start("200 OK", &[]);
        Ok("read".into())
    }
    let part = format!("--x\r\n{FIELD}\r\n\r\nabc\r\n");
    for (content, content_type, status) in [
        (format!("{part}--x--"), "multipart/form-data; boundary=x", 200),
        (format!("{part}{part}--x--"), "multipart/form-data; boundary=x", 413),
        (part.replace("abc", "more than ten") + "--x--", "multipart/form-data; boundary=x", 413),
        (part.clone(), "multipart/form-data; boundary=x", 400),
        (format!("{part}--x--"), "text/plain", 415),
    ] {
        let response = Request::post("/", &content).header("Content-Type", content_type).call(&application);
        assert_eq!(response.status.code(), status, "{content:?}");
    }
}

#[test]
fn a_failure_of_the_input_comes_through_and_an_interrupted_read_is_no_failure() {
    struct Faulty(Vec<ErrorKind>, &'static [u8]);
    impl Read for Faulty {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.fill_buf()?.read(buffer)?;
            self.consume(length);
            Ok(length)
        }
    }
    impl BufRead for Faulty {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            self.0.pop().map_or(Ok(self.1), |kind| Err(kind.into()))
        }
        fn consume(&mut self, amount: usize) {
            self.1 = &self.1[amount..];
        }
    }
    let content = b"preamble\r\n--x\r\nContent-Disposition: form-data; name=a\r\n\r\nabc\r\n--x--";
    let mut parts = Parts::new(Faulty(vec![ErrorKind::Interrupted; 3], content), b"x", Limits::default()).unwrap();
    assert_eq!(parts.next_part().unwrap().unwrap().text(10).unwrap(), "abc");
    let mut parts = Parts::new(Faulty(vec![ErrorKind::TimedOut], content), b"x", Limits::default()).unwrap();
    assert_eq!(parts.next_part().map(|_| ()).unwrap_err().kind(), ErrorKind::TimedOut);
    // It may go on, as the input itself may.
    assert!(parts.next_part().unwrap().is_some());
    // But not in the middle of a head, of which a part is lost.
    let cut = (&content[..30]).chain(Faulty(vec![ErrorKind::TimedOut], &content[30..]));
    let mut parts = Parts::new(cut, b"x", Limits::default()).unwrap();
    for expected in [None, Some(Cause::MultipartTruncated), Some(Cause::MultipartTruncated)] {
        assert_eq!(Cause::of(&parts.next_part().map(|_| ()).unwrap_err()), expected);
    }
}

// ----------------------------------------------------------------------------------------------------------------- random

/// A form of what forms are made of, right or wrong.
fn random_form(random: &mut Random) -> Vec<u8> {
    let tokens: &[&[u8]] = &[
        b"\r\n",
        b"\r",
        b"\n",
        b"-",
        b"--",
        b"--bo",
        b"\r\n--bou",
        b"--bound",
        b"\r\n--bound\r\n",
        b"\r\n--bound--",
        b"\r\n--bound--\r\n",
        b"\r\n\r\n",
        b" ",
        b"abc",
        b"\0\xFF",
        b"Content-Disposition: form-data; name=\"a\"",
        b"Content-Disposition: form-data; name=\"b\"; filename=\"c.d\"\r\n\r\n",
        b"content-disposition:form-data;name=\"\"\r\nContent-Type: text/plain\r\n\r\n",
        b"Content-Disposition: form-data\r\n\r\n",
        b"A: b\r\n",
        // More than is looked at in one go.
        &[b'x'; 150],
        &[b'\r'; 150],
        b"\r\n--bounc\r\n--boun\r\n-\r\n--xound\r\r\n--boun\n\r\n--b\r\n--bou-\r\n--bo\r\n--\r\n\r\n--bnund\r\n--bouns\r\n--boun\r\n--\
            \r\n--bounc\r\n--boun\r\n-\r\n--xound\r\r\n--boun\n\r\n--b\r\n--bou-\r\n--bo\r\n--\r\n\r\n--bnund\r\n--bouns\r\n--boun\r\n--",
    ];
    let mut form = Vec::new();
    let parts = random.below(4);
    for _ in 0..parts {
        form.extend_from_slice(b"--bound\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n");
        for _ in 0..random.below(6) {
            form.extend_from_slice(tokens[random.below(tokens.len())]);
        }
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--bound--");
    // Most are spoilt.
    for _ in 0..random.below(4) {
        let at = random.below(form.len() + 1);
        match random.below(3) {
            0 => {
                let until = (at + random.below(8)).min(form.len());
                form.drain(at..until);
            }
            1 => {
                let token = tokens[random.below(tokens.len())];
                form.splice(at..at, token.iter().copied());
            }
            _ => {
                form.insert(at, random.byte());
            }
        }
    }
    form
}

#[test]
fn random_forms_are_read_as_the_naive_reading_reads_them_however_they_are_cut() {
    let (cases, seed) = (number_from("DOORWAY_CASES", USUAL_CASES), number_from("DOORWAY_SEED", 1) as u64);
    let mut whole_forms = 0;
    for case in 0..cases {
        let mut random = Random(seed.wrapping_mul(0x1000_0001) ^ ((case as u64) << 20));
        let content = random_form(&mut random);
        let whole = parts(&content, "bound");
        whole_forms += usize::from(whole.1.is_none());
        assert_agree(&content, "bound", &whole);
        let check = |cuts: &[usize]| {
            let cut = parts_with(Pieces::of(&content, cuts), "bound", Limits::default());
            assert_eq!(cut, whole, "{} cut at {cuts:?}", content.escape_ascii());
        };
        check(&(0..=content.len()).collect::<Vec<_>>());
        if case % 64 == 0 {
            (0..=content.len()).for_each(|cut| check(&[cut]));
        }
        let mut cuts: Vec<_> = (0..4).map(|_| random.below(content.len() + 1)).collect();
        cuts.sort_unstable();
        check(&cuts);
    }
    assert!(whole_forms > cases / 5, "{whole_forms} of {cases} forms are whole");
}

#[test]
fn a_part_may_be_read_in_any_way_or_left() {
    let content = format!("--x\r\n{FIELD}\r\n\r\none\r\n-two\r\n--thr\r\n--x\r\n{FIELD}\r\n\r\nlast\r\n--x--");
    for first in 0..15 {
        let mut parts = Parts::new(Pieces::of(content.as_bytes(), &[50, 60]), b"x", Limits::default()).unwrap();
        let mut part = parts.next_part().unwrap().unwrap();
        let mut read = vec![0; first];
        let length = part.read(&mut read).unwrap();
        assert_eq!(read[..length], b"one\r\n-two\r\n--thr"[..length]);
        assert_eq!(parts.next_part().unwrap().unwrap().text(10).unwrap(), "last");
    }
    let mut parts = Parts::new(content.as_bytes(), b"x", Limits::default()).unwrap();
    let lines: Vec<_> = parts.next_part().unwrap().unwrap().lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["one", "-two", "--thr"]);
    let bytes: io::Result<Vec<u8>> = parts.next_part().unwrap().unwrap().bytes().collect();
    assert_eq!(bytes.unwrap(), b"last");
}

// ----------------------------------------------------------------------------------------------------------- differential

/// A Python that has both libraries: one that `.ci/run` has made, or else that of the system.
fn python() -> Option<PathBuf> {
    let target = std::env::current_exe().ok()?.ancestors().nth(3)?.to_owned();
    let own = target.join("venv/bin/python");
    let candidates = [own, PathBuf::from("python3")];
    let found = candidates.into_iter().find(|python| {
        let check = Command::new(python).args(["-c", "import multipart, werkzeug; multipart.MultipartParser"]).output();
        check.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        println!("skipped: no Python with the packages multipart and werkzeug");
    }
    found
}

/// One word of the answer of `differential.py`.
fn from_hex(word: &str) -> Vec<u8> {
    word.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Whether each boundary stands behind CRLF, and behind content. werkzeug takes any line end before one, and none before the first; multipart takes
/// a boundary that follows the empty line of a head for content, which by the grammar of RFC 2046 ends a part without content.
fn has_plain_boundaries(content: &[u8], boundary: &str) -> bool {
    let delimiter = format!("--{boundary}");
    (0..content.len()).filter(|at| content[*at..].starts_with(delimiter.as_bytes())).all(|at| {
        let before = &content[..at];
        before.is_empty() || before.ends_with(b"\r\n") && !before.ends_with(b"\r\n\r\n")
    })
}

#[test]
fn a_form_that_is_accepted_has_the_parts_that_two_python_libraries_see_in_it_or_they_refuse_it() {
    let Some(python) = python() else { return };
    let mut forms: Vec<(String, Vec<u8>, bool)> = Vec::new();
    // Not curl-escape: its file name is a path of Windows, of which one of them keeps the last component.
    for client in ["chromium-fetch", "chromium-form", "curl", "requests", "node", "php"] {
        let (content_type, content) = sent(client);
        forms.push((content_type.split("boundary=").nth(1).unwrap().to_owned(), content, true));
    }
    for case in 0..number_from("DOORWAY_CASES", USUAL_CASES).min(50_000) {
        let mut random = Random(case as u64);
        forms.push(("bound".into(), random_form(&mut random), false));
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/multipart/differential.py");
    let mut child =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: String =
        forms.iter().map(|(boundary, form, _)| format!("{},{}\n", hex(boundary.as_bytes()), hex(form))).collect();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), forms.len());

    let (mut accepted, mut agreed) = (0, [0, 0]);
    for ((boundary, content, must_agree), answer) in forms.iter().zip(answers.lines()) {
        let (found, cause) = parts(content, boundary);
        if cause.is_some() || !(*must_agree || has_plain_boundaries(content, boundary)) {
            continue;
        }
        accepted += 1;
        // Both undo the escapes that browsers use, which doorway gives as they were sent; and a backslash that escapes nothing is dropped by
        // one of them, although Windows paths have it.
        let undone = |name: &str| name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n").replace('\\', "");
        let ours: Vec<Part> = found
            .into_iter()
            .map(|(name, file, content)| (undone(&name), file.map(|file| undone(&file)), content))
            .collect();
        for (library, theirs) in answer.split('\t').enumerate() {
            let Some(theirs) = theirs.strip_prefix("parts ") else {
                assert!(!must_agree, "library {library} refuses {}", content.escape_ascii());
                continue;
            };
            let text = |word: &str| word.strip_prefix('=').map(|hex| String::from_utf8(from_hex(hex)).unwrap());
            let theirs: Vec<Part> = theirs
                .split(' ')
                .filter(|part| !part.is_empty())
                .map(|part| {
                    let mut words = part.split(',');
                    let mut word = || words.next().unwrap();
                    (
                        undone(&text(word()).unwrap_or("no name".into())),
                        text(word()).map(|file| undone(&file)),
                        from_hex(word()),
                    )
                })
                .collect();
            assert_eq!(ours, theirs, "library {library}: {}", content.escape_ascii());
            agreed[library] += 1;
        }
    }
    println!("{accepted} of {} forms were accepted; the libraries agree on {agreed:?}", forms.len());
    assert!(agreed.iter().all(|agreed| *agreed > accepted / 2), "{agreed:?} of {accepted}");
}
