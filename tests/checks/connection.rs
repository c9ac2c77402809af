//! A whole connection at each door, with an application that reads, writes, yields, fails and panics as the input says.
//!
//! What must hold: no panic but the application's own; the same bytes, cut in another way or written in small pieces, give the same
//! calls, the same answers and the same reports; at the HTTP door there are never more answers than requests, each is what a careful
//! client reads, and the application sees what the naive reading of `tests/reference` sees; at the gateway doors what is answered can be
//! read as that protocol. (A hang is what the fuzzer's own clock finds.)
//!
//! The first byte chooses the door (and at the HTTP door whether each GET is a HEAD), the next the settings, two what the application does
//! (the first request, the others), two a place to cut (every eighth: everywhere), one how much a write takes, or how the connection breaks
//! behind its last byte. In place of a door the first byte may choose all three of the gateway: then the rest is one request, which each is
//! sent in its own form.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use doorway::log::{Log, Report};
use doorway::{Application, Body, Cause, Door, Environ, Server, StartResponse};

use super::Input;
use crate::packets;
use crate::readings::served::{Outcome, Seen, expected_outcome, heads_of, is_of_request};
use crate::readings::{Cuts, Variant, variants};
use crate::reference::connection::read_all;
use crate::support::{Pieces, in_memory_to, locked, parse, show};

pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (door, asks_head) = match input.below(6) {
        0 => (Door::Http, false),
        1 => (Door::Uwsgi, false),
        2 => (Door::Scgi, false),
        3 => (Door::FastCgi, false),
        4 => (Door::Http, true),
        _ => return check_doors(&mut input),
    };
    let variant = &variants()[input.below(variants().len())];
    let does = [input.byte(), input.byte()];
    let place = usize::from(input.byte()) << 8 | usize::from(input.byte());
    let (most, breaks) = match input.byte() {
        0..=111 => (usize::MAX, None),
        112..=119 => (usize::MAX, Some(io::ErrorKind::TimedOut)),
        120..=127 => (usize::MAX, Some(io::ErrorKind::ConnectionReset)),
        most => (usize::from(most - 127), None),
    };
    let wire = &if asks_head { replaced(input.rest, b"GET ", b"HEAD ") } else { input.rest.to_vec() }[..];
    let cuts = if place % 8 == 0 { Cuts::Everywhere } else { Cuts::After(place / 8 % (wire.len() + 1)) };

    let whole = serve(door, variant, does, Pieces::new([wire]).breaking(breaks));
    if door == Door::Http {
        if check_http(&whole, variant, does, wire, breaks.is_none()) {
            return;
        }
    } else {
        check_packets(door, &whole.out);
    }
    let other = serve(door, variant, does, Pieces::new(cuts.pieces(wire)).taking(most).breaking(breaks));
    // Bytes that were not yet a request are looked at once more when a client ends, and not when nobody is left to be answered.
    assert!(
        if breaks.is_none() { whole == other } else { whole.calls == other.calls },
        "{door:?} {does:?}, {cuts:?}, {most} bytes a write, {breaks:?}\n{other:?}\nwhole: {whole:?}\n{}",
        show(wire)
    );
}

/// One request as the front server of each door sends it: the application sees the same, and its answer comes out the same.
fn check_doors(input: &mut Input<'_>) {
    const NAMES: [&[u8]; 11] = [
        b"REQUEST_METHOD",
        b"REQUEST_URI",
        b"SCRIPT_NAME",
        b"PATH_INFO",
        b"QUERY_STRING",
        b"SERVER_PROTOCOL",
        b"CONTENT_TYPE",
        b"HTTP_HOST",
        b"HTTP_COOKIE",
        b"HTTP_X_NAME",
        b"HTTPS",
    ];
    let variant = &variants()[input.below(variants().len())];
    let (does, shape) = ([input.byte(); 2], usize::from(input.byte()));
    let mut pairs = Vec::new();
    for _ in 0..input.below(16) {
        let name = match NAMES.get(input.below(NAMES.len() + 1)) {
            Some(name) => name,
            None => input.until(0),
        };
        let value = input.until(0);
        // The length is said below, and what is called SCGI makes a packet one of that protocol.
        if !name.is_empty() && name != b"CONTENT_LENGTH" && name != b"SCGI" {
            pairs.push((name.to_vec(), value.to_vec()));
        }
    }
    pairs.push((b"CONTENT_LENGTH".to_vec(), input.rest.len().to_string().into_bytes()));
    let records = |number: usize| (1 + shape * (number + 7) % 60, (shape * number % 256) as u8);
    let packets = [
        (Door::Uwsgi, packets::uwsgi(&pairs, input.rest)),
        (Door::Scgi, packets::scgi(&pairs, input.rest)),
        (Door::FastCgi, packets::fastcgi_in(1, false, &pairs, input.rest, records)),
    ];
    let [uwsgi, others @ ..] = packets.map(|(door, packet)| {
        let served = serve(door, variant, does, Pieces::new([&packet[..]]));
        let reply = packets::read_reply(door, &served.out);
        (served.calls, served.causes, reply.map(|reply| (reply.status, reply.fields, reply.content)))
    });
    for other in others {
        assert!(other == uwsgi, "{other:?}\nuwsgi: {uwsgi:?}");
    }
}

/// What an application does with a request.
fn answer(does: u8, environ: &Environ, start_response: &mut StartResponse, seen: &mut Vec<Seen>) -> io::Result<Body> {
    let variables = environ.iter().filter(|(name, _)| is_of_request(name));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    let most = match does % 3 {
        0 => u64::MAX,
        1 => 0,
        _ => u64::from(does / 3),
    };
    let (mut content, mut input) = (Vec::new(), environ.input());
    let read = if most == 0 { Ok(0) } else { (&mut input).take(most).read_to_end(&mut content) };
    seen.push((variables, read.as_ref().map(|_| content.clone()).map_err(drop)));
    drop(input);
    // An application that does not look at errors is the exception.
    if does & 128 == 0 {
        read?;
    }
    let plain = [("Content-Type", "text/plain")];
    // In small letters: nothing in an echo looks like a 100 of the server's.
    content.make_ascii_lowercase();
    Ok(match does / 3 % 16 {
        0..=2 => {
            start_response.start("200 OK", &plain);
            Body::from(content)
        }
        3 => {
            start_response.start("200 OK", &plain);
            Body::blocks(["one ", "", "two"])
        }
        4 => {
            let mut writer = start_response.start("201 Created", &plain);
            writer.write_all(&content)?;
            writer.write_all(b"written")?;
            Body::from("rest")
        }
        5 => return Err(io::Error::other("it fails")),
        6 => {
            start_response.start("200 OK", &plain);
            Body::blocks([Ok("one"), Err(io::Error::other("half-way"))])
        }
        7 => {
            start_response.start("200 OK", &[("Content-Length", "7")]);
            Body::blocks(["short"])
        }
        8 => {
            start_response.start("200 OK", &[("Content-Length", "3")]);
            Body::blocks(["too ", "long"])
        }
        9 => {
            start_response.start("204 No Content", &[("X", "y")]);
            Body::from("not sent")
        }
        10 => Body::deferred(move |start_response: &mut StartResponse| {
            start_response.start("200 OK", &plain);
            Body::list(vec![&b"de"[..], b"ferred"])
        }),
        // The hook of the fuzzer sees every other panic, and takes it for a find.
        11 => std::panic::resume_unwind(Box::new("the application panics")),
        12 => {
            start_response.start("200 OK", &plain);
            Body::blocks(["one", "two"]).map_blocks(|block| match &*block {
                b"two" => std::panic::resume_unwind(Box::new("a body panics")),
                _ => Ok(block),
            })
        }
        13 => {
            start_response.start("200 OK", &[("A", "b\r\nc")]);
            Body::from("never")
        }
        14 => {
            start_response.start("304 Not Modified", &[("ETag", "\"a\"")]);
            Body::empty()
        }
        _ => Body::empty(),
    })
}

#[derive(Clone)]
struct Puppet {
    does: [u8; 2],
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Application for Puppet {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let mut seen = locked(&self.seen);
        let does = self.does[usize::from(!seen.is_empty())];
        Body::from(answer(does, environ, start_response, &mut seen))
    }
}

/// What a connection came to.
#[derive(PartialEq)]
struct Served {
    calls: Vec<Seen>,
    /// But for what depends on what had arrived: whether a 100 was needed.
    out: Vec<u8>,
    causes: Vec<Cause>,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (variables, content) in &self.calls {
            for (name, value) in variables {
                write!(f, "{name}={} ", show(value))?;
            }
            writeln!(f, "{:?}", content.as_ref().map(|content| show(content)))?;
        }
        write!(f, "{} {:?}", self.out.escape_ascii(), self.causes)
    }
}

/// Remembers the causes and nothing else: a line for each would cost more than the request.
#[derive(Clone, Default)]
struct Causes(Arc<Mutex<Vec<Cause>>>);

impl Log for Causes {
    fn error(&self, report: &Report<'_>) {
        locked(&self.0).push(report.cause);
    }
}

fn serve(door: Door, variant: &Variant, does: [u8; 2], client: Pieces) -> Served {
    let log = Causes::default();
    let puppet = Puppet { does, seen: Arc::default() };
    let server = Server::unbound().door(door).configure(variant.configure).log(log.clone());
    // A date would differ between two runs.
    let server = server.configure(|settings| settings.date_field = false);
    let out = in_memory_to(server, client, puppet.clone());
    let calls = std::mem::take(&mut *locked(&puppet.seen));
    let causes = std::mem::take(&mut *locked(&log.0));
    // Whether a client gets a 100 depends on what had arrived; where one stands, it is whole.
    Served { calls, out: replaced(&out, b"HTTP/1.1 100 Continue\r\n\r\n", b""), causes }
}

/// Bytes with some others in place of each of `these`.
fn replaced(bytes: &[u8], these: &[u8], others: &[u8]) -> Vec<u8> {
    let (mut rest, mut all) = (bytes, Vec::with_capacity(bytes.len()));
    while let Some(at) = rest.windows(these.len()).position(|part| part == these) {
        all.extend_from_slice(&rest[..at]);
        all.extend_from_slice(others);
        rest = &rest[at + these.len()..];
    }
    all.extend_from_slice(rest);
    all
}

/// The answers of an HTTP connection: whole ones, and what is left of one that was cut. Gives whether they depend on what had arrived:
/// a client that waits for 100, of an application that does not read.
fn check_http(served: &Served, variant: &Variant, does: [u8; 2], wire: &[u8], ends: bool) -> bool {
    let conversation = read_all(wire, &variant.policy, true);
    let lazy = read_all(wire, &variant.policy, false);
    let heads = heads_of(&conversation);
    let (mut rest, mut statuses) = (&served.out[..], Vec::new());
    while !rest.is_empty() {
        let is_head = heads.get(statuses.len()).copied().unwrap_or(false);
        let Some((response, used)) = parse(rest, is_head, true) else { break };
        if response.status != 100 {
            statuses.push(response.status);
        }
        rest = &rest[used..];
    }
    let answers = conversation.answers.len().max(lazy.answers.len());
    let count = statuses.len() + usize::from(!rest.is_empty());
    assert!(count <= answers, "{count} answers to {answers} requests: {}\n{}", show(wire), show(&served.out));
    let calls = if conversation.calls.len() < lazy.calls.len() { &lazy.calls } else { &conversation.calls };
    assert!(served.calls.len() <= calls.len(), "{} calls, not {}: {}", served.calls.len(), calls.len(), show(wire));
    for (seen, call) in served.calls.iter().zip(calls) {
        assert!(seen.0 == call.variables, "{seen:?}\nthe reference says {call:?}");
        if let (Ok(seen), Ok(content)) = (&seen.1, &call.content) {
            let is_part = if calls.len() == conversation.calls.len() { content.starts_with(seen) } else { true };
            assert!(is_part, "{}\nthe reference says {}", show(seen), show(content));
        }
    }
    // An application that reads and echoes everything is the one that the naive reading knows.
    if ends && does.iter().all(|does| does % 3 == 0 && does / 3 % 16 < 3 && does & 128 == 0) {
        let outcome = Outcome { calls: served.calls.clone(), statuses, causes: served.causes.clone() };
        let expected = expected_outcome(&conversation);
        assert!(
            conversation.depends_on_delivery || outcome == expected,
            "{outcome:?}\nthe reference says {expected:?}\n{}",
            show(wire)
        );
    }
    let reads_all = does.iter().all(|does| does % 3 == 0);
    conversation.depends_on_delivery || (!reads_all && lazy.depends_on_delivery)
}

/// The output of a gateway door is of its protocol: one head, or whole records. (To bytes that are HTTP the door says so in HTTP.)
fn check_packets(door: Door, out: &[u8]) {
    if out.is_empty() || is_said_in_http(out) {
        return;
    }
    if door != Door::FastCgi {
        let begin: &[u8] = if door == Door::Uwsgi { b"HTTP/1.1 " } else { b"Status: " };
        assert!(out.starts_with(begin), "{}", show(out));
        return;
    }
    let mut rest = out;
    while let [version, _, _, _, high, low, padding, _, behind @ ..] = rest {
        assert_eq!(*version, 1, "{}", show(out));
        let length = usize::from(u16::from_be_bytes([*high, *low])) + usize::from(*padding);
        assert!(length <= behind.len(), "half a record: {}", show(out));
        rest = &behind[length..];
    }
    assert!(rest.is_empty(), "half a record: {}", show(out));
}

fn is_said_in_http(out: &[u8]) -> bool {
    out.starts_with(b"HTTP/1.1 400 ")
}
