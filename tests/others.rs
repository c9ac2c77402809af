//! Promise: what other projects try on servers gets the answer that its clause asks for, and what stands behind it is not misread.
//!
//! The inputs of the HTTP Garden's list of faults, of smuggler, Http11Probe, h11, hyper and waitress, rebuilt as a table of our own: an
//! input, the verdict, the clause. `docs/conformance.md` says which version of each was read, and where a suite asks for something else.
//! Every input arrives whole, byte by byte and cut in two at every place, with a request behind it that must not be reached once
//! something was refused, and must be answered where nothing was. What takes several steps is done over a socket, step by step.

mod apps;
mod support;

#[path = "others/garden.rs"]
mod garden;
#[path = "others/h11.rs"]
mod h11;
#[path = "others/hyper.rs"]
mod hyper;
#[path = "others/probe.rs"]
mod probe;
#[path = "others/smuggler.rs"]
mod smuggler;
#[path = "others/waitress.rs"]
mod waitress;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use apps::{Recorder, echo};
use doorway::Cause;
use support::{cuts, in_memory_with, is_head, parse_all, serve, show};

/// What stands behind every input.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n";

/// A name and its inputs.
type Suite = (&'static str, fn() -> Vec<Row>);

const SUITES: [Suite; 6] = [
    ("HTTP Garden", garden::rows),
    ("smuggler", smuggler::rows),
    ("Http11Probe", probe::rows),
    ("h11", h11::rows),
    ("hyper", hyper::rows),
    ("waitress", waitress::rows),
];

/// One input and what becomes of it.
struct Row {
    input: Vec<u8>,
    /// The content of each request that is served, in order.
    served: Vec<Vec<u8>>,
    end: End,
    /// Where it is written.
    clause: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// What stands behind the input is served too.
    Goes,
    /// The last request ends the connection.
    Closes,
    /// The next request, or its content, is refused for this.
    Refused(Cause),
    /// Refused because nothing more comes.
    Cut(Cause),
    /// The server answers by itself, and what stands behind the input is served.
    Own(u16),
}

fn row(input: impl AsRef<[u8]>, served: &[&str], end: End, clause: &'static str) -> Row {
    let served = served.iter().map(|content| content.as_bytes().to_vec()).collect();
    Row { input: input.as_ref().to_vec(), served, end, clause }
}

/// Refused.
fn no(cause: Cause, clause: &'static str, input: impl AsRef<[u8]>) -> Row {
    row(input, &[], End::Refused(cause), clause)
}

/// Refused once the client has ended.
fn cut(cause: Cause, clause: &'static str, input: impl AsRef<[u8]>) -> Row {
    row(input, &[], End::Cut(cause), clause)
}

/// Served, with these contents.
fn yes(served: &[&str], clause: &'static str, input: impl AsRef<[u8]>) -> Row {
    row(input, served, End::Goes, clause)
}

/// Served, as the last on its connection.
fn last(served: &[&str], clause: &'static str, input: impl AsRef<[u8]>) -> Row {
    row(input, served, End::Closes, clause)
}

/// Served, and what follows is refused.
fn then(served: &[&str], cause: Cause, clause: &'static str, input: impl AsRef<[u8]>) -> Row {
    row(input, served, End::Refused(cause), clause)
}

/// A GET for a host, with these field lines.
fn get(fields: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", fields.as_ref(), b"\r\n"].concat()
}

/// A POST with these field lines and what follows them.
fn post(fields: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Vec<u8> {
    [b"POST / HTTP/1.1\r\nHost: a\r\n", fields.as_ref(), b"\r\n", content.as_ref()].concat()
}

/// A POST in the chunked coding.
fn coded(content: impl AsRef<[u8]>) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", content)
}

/// A GET with this request line, for a host.
fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\nHost: a\r\n\r\n"].concat()
}

/// What a connection came to: the contents the application read, the statuses, and the causes in the log.
#[derive(Debug, PartialEq)]
struct Came {
    served: Vec<Vec<u8>>,
    statuses: Vec<u16>,
    causes: Vec<Cause>,
}

fn come<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, head: bool) -> Came {
    let recorder = Recorder::default();
    let (out, log) = in_memory_with(pieces, recorder.clone(), |_| {});
    let statuses = parse_all(&out, &[head]).into_iter().map(|response| response.status).filter(|status| *status != 100);
    let calls = recorder.take().into_iter().filter_map(|call| call.content.ok());
    Came { served: calls.collect(), statuses: statuses.collect(), causes: log.causes() }
}

impl Row {
    fn wire(&self) -> Vec<u8> {
        let behind = if matches!(self.end, End::Cut(_)) { &[] } else { NEXT };
        [&self.input[..], behind].concat()
    }

    fn expected(&self) -> Came {
        let mut came = Came { served: self.served.clone(), statuses: vec![200; self.served.len()], causes: Vec::new() };
        match self.end {
            End::Goes => {
                came.served.push(Vec::new());
                came.statuses.push(200);
            }
            End::Closes => {}
            End::Own(status) => {
                came.served.push(Vec::new());
                came.statuses.extend([status, 200]);
            }
            End::Refused(cause) | End::Cut(cause) => {
                came.statuses.push(cause.status().expect("a refusal with a status"));
                came.causes.push(cause);
            }
        }
        came
    }

    /// Cut in two at every place, or at every so many.
    fn check(&self, every: usize) {
        let (wire, expected) = (self.wire(), self.expected());
        let head = is_head(&self.input);
        let ways = cuts(wire.len()).into_iter().step_by(every + wire.len() / 400).map(|at| {
            let (front, back) = wire.split_at(at);
            vec![front, back]
        });
        let small = wire.chunks(if wire.len() > 4_096 { 97 } else { 1 }).collect();
        for pieces in [vec![&wire[..]], small].into_iter().chain(ways) {
            let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).take(2).collect();
            let came = come(pieces, head);
            assert_eq!(came, expected, "{} ({}), in pieces of {lengths:?}...", show(&self.input), self.clause);
        }
    }
}

/// Checks the rows of a suite and says how many had which verdict.
fn check_all((suite, rows): Suite, least: usize) {
    let rows = rows();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        // Those of a suite that goes through every byte differ in that byte alone.
        row.check(1 + rows.len() / 100);
        let verdict = match row.end {
            End::Refused(cause) | End::Cut(cause) => format!("{cause:?}"),
            _ => "served".to_owned(),
        };
        *counts.entry(verdict).or_insert(0) += 1;
    }
    println!("{suite}: {} inputs, {counts:?}", rows.len());
    assert!(rows.len() >= least, "{suite}: only {} inputs", rows.len());
}

#[test]
fn the_http_gardens_list_of_faults_is_answered_as_its_clauses_ask() {
    check_all(SUITES[0], 60);
}

#[test]
fn every_mutation_of_smuggler_is_refused_or_no_transfer_coding() {
    check_all(SUITES[1], 1_600);
}

#[test]
fn the_cases_of_http11probe_are_answered_as_their_clauses_ask() {
    check_all(SUITES[2], 150);
}

#[test]
fn the_inputs_of_h11s_tests_are_answered_as_their_clauses_ask() {
    check_all(SUITES[3], 40);
}

#[test]
fn the_inputs_of_hypers_tests_are_answered_as_their_clauses_ask() {
    check_all(SUITES[4], 40);
}

#[test]
fn the_inputs_of_waitress_tests_are_answered_as_their_clauses_ask() {
    check_all(SUITES[5], 50);
}

#[test]
fn what_takes_several_steps_leaves_no_second_answer_on_the_connection() {
    let recorder = Recorder::default();
    let house = serve(recorder.clone());
    for (name, steps) in probe::steps() {
        let mut client = house.client();
        let mut good = 0;
        for (sent, status) in &steps {
            client.send(sent);
            let mut response = client.response();
            if response.status == 100 {
                response = client.response();
            }
            assert_eq!(response.status, *status, "{name}: {}", show(sent));
            good += usize::from(response.status == 200);
            if response.closes() {
                // Whatever comes now is nobody's request.
                let _ = client.stream.write_all(NEXT);
                client.stop_sending();
                assert_eq!(client.until_end(), b"", "{name}");
                break;
            }
        }
        let calls = recorder.take().into_iter().filter(|call| call.content.is_ok()).count();
        assert_eq!(calls, good, "{name}: calls of the application");
    }
}

// ------------------------------------------------------------------------------------------------ other servers, scored

/// What a server elsewhere, which echoes contents, made of an input beside what the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Score {
    /// It served what the table serves, and refused what the table refuses.
    Same,
    /// It served what the table refuses, or took what stands behind for something to serve.
    Laxer,
    /// It refused what the table serves.
    Stricter,
    /// It served as much, and read something else.
    Other,
}

/// The contents of the successful answers, read as leniently as can be.
fn successes(mut bytes: &[u8], mut is_head: bool) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let rest = &bytes[end + 4..];
        let status: u16 = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_default();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let (content, used) = match length {
            _ if is_head || status < 200 || status == 204 => (Vec::new(), 0),
            Some(length) => (rest[..rest.len().min(length)].to_vec(), rest.len().min(length)),
            None if head.contains("transfer-encoding: chunked") => unchunked(rest),
            None => (rest.to_vec(), rest.len()),
        };
        if status >= 200 {
            is_head = false;
            if status < 300 {
                contents.push(content);
            }
        }
        bytes = &rest[used..];
    }
    contents
}

fn unchunked(bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut content, mut at) = (Vec::new(), 0);
    while let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") {
        let digits = String::from_utf8_lossy(&bytes[at..at + line]);
        let size = usize::from_str_radix(digits.trim(), 16).unwrap_or_default();
        let start = at + line + 2;
        let end = bytes.len().min(start + size);
        content.extend_from_slice(&bytes[start..end]);
        at = bytes.len().min(end + 2);
        if size == 0 {
            break;
        }
    }
    (content, at)
}

impl Row {
    fn score(&self, address: SocketAddr) -> Score {
        let mut stream = TcpStream::connect(address).expect("a server to score");
        stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        let _ = stream.write_all(&self.wire());
        // Some take the end of what is sent for the end of all interest.
        if let End::Cut(_) = self.end {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let (mut out, mut room) = (Vec::new(), [0; 65_536]);
        while let Ok(length) = stream.read(&mut room) {
            if length == 0 {
                break;
            }
            out.extend_from_slice(&room[..length]);
        }
        let head = is_head(&self.input);
        let came = successes(&out, head);
        let mut expected = self.expected().served;
        if let End::Own(200..=299) = self.end {
            expected.insert(0, Vec::new());
        }
        if let (true, Some(first)) = (head, expected.first_mut()) {
            first.clear();
        }
        match came.len().cmp(&expected.len()) {
            std::cmp::Ordering::Less => Score::Stricter,
            std::cmp::Ordering::Greater => Score::Laxer,
            std::cmp::Ordering::Equal if came == expected => Score::Same,
            std::cmp::Ordering::Equal => Score::Other,
        }
    }
}

/// `DOORWAY_SCORE=127.0.0.1:9000 cargo test --test others scored -- --nocapture` scores the server there, which must answer each request with
/// its content; without it, doorway is. `DOORWAY_SCORE_SHOW=1` lists where it differs.
#[test]
fn a_server_is_scored_by_the_same_table() {
    let house = serve(echo);
    let elsewhere = std::env::var("DOORWAY_SCORE").ok().map(|address| address.parse().expect("DOORWAY_SCORE"));
    let address = elsewhere.unwrap_or(house.tcp());
    let shows = std::env::var_os("DOORWAY_SCORE_SHOW").is_some();
    for (suite, rows) in SUITES {
        let mut scores: BTreeMap<Score, usize> = BTreeMap::new();
        let rows = rows();
        for row in &rows {
            let score = row.score(address);
            *scores.entry(score).or_insert(0) += 1;
            if shows && score != Score::Same {
                println!("{score:?}: {} ({})", show(&row.input), row.clause);
            }
        }
        println!("{address} {suite}: {} inputs, {scores:?}", rows.len());
        assert!(elsewhere.is_some() || scores.keys().all(|score| *score == Score::Same), "{suite}: {scores:?}");
    }
}
