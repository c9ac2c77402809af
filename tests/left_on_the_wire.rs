//! Promise: nothing is left on the wire: what is sent is sent whole, however little a stream takes; an answer belongs to a request; and
//! what is answered does not depend on how the bytes were cut, at any door.

mod packets;
mod support;

use std::io::{self, Read};
use std::time::Duration;

use doorway::{Application, Body, Cause, Door, Environ, Server, StartResponse};
use packets::{fastcgi, get, packet, post, read_record, record};
use support::{Client, Collected, Pieces, in_memory_over, in_memory_to, parse_all, serve_with, show};

fn echo(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let mut content = Vec::new();
    environ.input().read_to_end(&mut content)?;
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Ok(content.into())
}

fn to_miser(door: Door, pieces: &[&[u8]], most: usize, application: impl Application) -> Vec<u8> {
    let server = Server::unbound().door(door).log(Collected::default());
    in_memory_to(server, Pieces::new(pieces.iter().copied()).taking(most), application)
}

// ------------------------------------------------------------------------------------------------- what is sent is whole

#[test]
fn rfc9110_15_2_1_a_100_is_whole_however_little_a_stream_takes() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    for most in 1..40 {
        let out = to_miser(Door::Http, &[head, b"hello"], most, echo);
        let responses = parse_all(&out, &[]);
        let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
        assert_eq!(statuses, [100, 200], "{most}: {}", show(&out));
        assert_eq!(responses[1].body, b"hello", "{most}");
    }
}

#[test]
fn every_answer_of_every_door_is_whole_however_little_a_stream_takes() {
    let http = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nGET  /".to_vec();
    let mut inputs = vec![(Door::Http, http)];
    for door in packets::DOORS {
        inputs.push((door, packet(door, &post("/a", 5), b"hello")));
        inputs.push((door, packet(door, &get("no root"), b"")));
    }
    inputs.push((
        Door::FastCgi,
        [record(9, 0, b"\x0e\0FCGI_MAX_CONNS", 0), record(77, 0, b"", 0), fastcgi(1, false, &get("/"), b"")].concat(),
    ));
    for (door, input) in inputs {
        let whole = timeless(to_miser(door, &[&input], usize::MAX, echo));
        assert!(!whole.is_empty(), "{door:?}");
        for most in [1, 2, 7, 10, 100] {
            assert_eq!(timeless(to_miser(door, &[&input], most, echo)), whole, "{door:?}, {most} bytes a write");
        }
    }
}

/// The bytes without the value of `Date`.
fn timeless(mut out: Vec<u8>) -> Vec<u8> {
    const DATE: &[u8] = b"\r\nDate: ";
    let mut at = 0;
    while let Some(found) = out[at..].windows(DATE.len()).position(|part| part == DATE) {
        at += found + DATE.len();
        let end = out.len().min(at + 29);
        out[at..end].fill(b'#');
    }
    out
}

// --------------------------------------------------------------------------------------------- an empty line is no request

#[test]
fn rfc9112_2_2_empty_lines_behind_a_request_are_no_request() {
    for stray in ["\r", "\r\n", "\r\n\r", "\r\n\r\n"] {
        let input = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{stray}");
        for cut in 1..input.len() {
            let (front, back) = input.as_bytes().split_at(cut);
            let (out, log) = in_memory_over(Server::unbound(), [front, back], echo, |_| {});
            let statuses: Vec<u16> = parse_all(&out, &[]).iter().map(|response| response.status).collect();
            assert_eq!((statuses, log.causes()), (vec![200], vec![]), "{stray:?} cut at {cut}");
        }
    }
    // What is not the beginning of an empty line is the beginning of a request, and a wrong one.
    for (stray, cause) in [
        ("\r\r", Cause::BareCr),
        ("\n", Cause::BareLf),
        ("\r\n\r\r", Cause::BareCr),
        ("\r\n\r\n\r\n", Cause::EmptyLines),
    ] {
        let input = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{stray}");
        for cut in 1..input.len() {
            let (front, back) = input.as_bytes().split_at(cut);
            let (out, log) = in_memory_over(Server::unbound(), [front, back], echo, |_| {});
            let statuses: Vec<u16> = parse_all(&out, &[]).iter().map(|response| response.status).collect();
            assert_eq!((statuses, log.causes()), (vec![200, 400], vec![cause]), "{stray:?} cut at {cut}");
        }
    }
}

#[test]
fn a_connection_with_an_empty_line_behind_its_request_is_idle_and_ends_without_a_word() {
    let house = serve_with(echo, |settings| {
        (settings.idle_deadline, settings.head_deadline) = (Duration::from_millis(200), Duration::from_millis(50));
    });
    let mut client: Client<_> = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n");
    assert_eq!(client.response().status, 200);
    // A 408 here would be taken for the answer to the next request of a pooled connection.
    client.is_closed();
    house.until("the idle connection ends", |stats| stats.count(Cause::IdleDeadline) == 1);
    let mut client: Client<_> = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

// ----------------------------------------------------------------------------- the answer does not depend on the cuts (doors)

/// What a door answers, and what the log was told, must be the same for every cut.
fn alike(door: Door, input: &[u8]) -> (Vec<u8>, Vec<Cause>) {
    let deliver = |pieces: Vec<&[u8]>| {
        let (out, log) = in_memory_over(Server::unbound().door(door), pieces, echo, |_| {});
        (timeless(out), log.causes())
    };
    let whole = deliver(vec![input]);
    assert_eq!(deliver(input.chunks(1).collect()), whole, "{door:?}, byte by byte: {}", show(input));
    for cut in 1..input.len() {
        let (front, back) = input.split_at(cut);
        assert_eq!(deliver(vec![front, back]), whole, "{door:?}, cut at {cut}: {}", show(input));
    }
    whole
}

#[test]
fn g_07_a_refusal_of_scgi_is_the_same_with_and_without_bytes_behind_its_end() {
    for input in [
        &b"24:CONTENT_LENGTH\x000\0SCGI\x001\0;"[..],
        b"24:CONTENT_LENGTH\x000\0SCGI\x001\0;GET / HTTP/1.1\r\n\r\n",
        b"24:CONTENT_LENGTH\x000\0SCGI\x002\0,",
        b"24:CONTENT_LENGTH\x000\0SCGI\x002\0,beyond",
        b"9:CONTENT_L,",
        b"9:CONTENT_L,and more",
        b"abc",
        b"\0\x05\0\0\x03\0abc",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0",
    ] {
        let (out, causes) = alike(Door::Scgi, input);
        assert_eq!(causes.len(), 1, "{}: {}", show(input), show(&out));
    }
}

#[test]
fn g_07_bytes_that_are_a_packet_and_a_request_line_are_judged_the_same_however_cut() {
    for input in [
        &b"Host: aOPTIONS *"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ] {
        for door in packets::DOORS {
            alike(door, input);
        }
    }
}

#[test]
fn fastcgi_replies_to_values_and_unknown_types_come_also_where_a_format_error_is_behind_them() {
    let values = record(9, 0, b"\x0e\0FCGI_MAX_CONNS", 0);
    for (before, kind) in [(values, 10), (record(77, 0, b"", 0), 11)] {
        for broken in [&b"\x02\x01\0\x01\0\x08\0\0"[..], &record(4, 1, b"\x7f", 0)[..], b"\x01\x01\0\x01\0\x03\0\0abc"]
        {
            let (out, _) = alike(Door::FastCgi, &[&before[..], broken].concat());
            assert!(!out.is_empty(), "no reply before {}", show(broken));
            assert_eq!(read_record(&out).0, kind, "{}", show(&out));
        }
    }
}

#[test]
fn fastcgi_bytes_that_look_like_http_behind_records_are_a_broken_record_and_not_another_protocol() {
    let begin = packets::begin(1, 1, true);
    for before in [
        begin.clone(),
        fastcgi(1, true, &get("/"), b""),
        record(9, 0, b"", 0),
        [begin, record(4, 1, &packets::params(&get("/")), 0)].concat(),
    ] {
        for http in ["OPTIONS * ", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let (out, causes) = alike(Door::FastCgi, &[&before[..], http.as_bytes()].concat());
            assert!(!out.windows(8).any(|part| part == b"HTTP/1.1"), "{}", show(&out));
            assert!(!causes.contains(&Cause::ProtocolMistaken), "{causes:?}");
        }
    }
    // Of the first bytes of a connection it is asked.
    let (out, causes) = alike(Door::FastCgi, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(out.starts_with(b"HTTP/1.1 400 ") && causes == [Cause::ProtocolMistaken], "{}", show(&out));
}

// ------------------------------------------------------------------------------------------- a cut response is visible

#[test]
fn a_response_that_fails_half_way_to_http_1_0_without_a_length_is_a_reset_or_the_table_says_so() {
    let house = serve_with(
        |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            Body::blocks([Ok("half"), Err(io::Error::other("half-way"))])
        },
        |_| {},
    );
    let mut client: Client<_> = house.client();
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    client.until(b"half");
    let mut room = [0; 16];
    let is_reset = loop {
        match client.stream.read(&mut room) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) => break error.kind() == io::ErrorKind::ConnectionReset,
        }
    };
    let said = include_str!("../src/lib.rs");
    let row = said.lines().find(|line| line.contains("a response that fails half-way is visible")).expect("the row");
    assert!(is_reset || row.contains("1.0"), "a plain end, and the table says: {row}");
}
