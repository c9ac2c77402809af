//! Promise: FastCGI records of any size and padding are read as what they hold, and every record that the protocol knows has its answer.

mod packets;
mod support;

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

use doorway::log::Answer;
use doorway::{Body, Cause, Door, Environ, Server, StartResponse};
use packets::{Reply, begin, fastcgi, fastcgi_in, get, params, post, read_record, read_reply, record, variables};
use support::{Client, Collected, House, in_memory_over, serve_over};

/// Path and content, as they came.
fn echo(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let mut content = Vec::new();
    environ.input().read_to_end(&mut content)?;
    start_response.start("200 OK", &[("X-Path", &environ.path())]);
    Ok(content.into())
}

fn exchange(bytes: &[u8]) -> (Vec<u8>, Collected) {
    in_memory_over(Server::unbound().door(Door::FastCgi), [bytes], echo, |_| {})
}

fn ask(bytes: &[u8]) -> Reply {
    let (out, log) = exchange(bytes);
    let reply = read_reply(Door::FastCgi, &out).unwrap_or_else(|| panic!("no answer: {:?}", log.reports()));
    assert!(reply.code() != 200 || reply.ended, "{reply:?}");
    reply
}

fn house() -> House {
    serve_over(Server::bind("127.0.0.1:0").unwrap().door(Door::FastCgi), echo, |_| {})
}

/// One answer on a connection that stays: its id, and what STDOUT held.
fn next_answer(client: &mut Client<TcpStream>) -> (u16, Vec<u8>) {
    let mut stdout = Vec::new();
    loop {
        let (kind, id, content) = next_record(client);
        match kind {
            6 => stdout.extend(content),
            3 => {
                assert_eq!(content, [0; 8], "the end of a whole answer");
                return (id, stdout);
            }
            other => panic!("a record of type {other}"),
        }
    }
}

fn next_record(client: &mut Client<TcpStream>) -> (u8, u16, Vec<u8>) {
    let mut header = [0; 8];
    client.stream.read_exact(&mut header).expect("a record");
    let mut rest = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) + usize::from(header[6])];
    client.stream.read_exact(&mut rest).expect("a whole record");
    rest.truncate(usize::from(u16::from_be_bytes([header[4], header[5]])));
    (header[1], u16::from_be_bytes([header[2], header[3]]), rest)
}

const END: [u8; 16] = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn fastcgi_3_4_the_vectors_of_the_specification() {
    let pair = params(&variables(&[("REQUEST_METHOD", "GET")]));
    assert_eq!(pair, b"\x0e\x03REQUEST_METHODGET");
    let long = params(&[(b"A".to_vec(), vec![b'x'; 300])]);
    assert_eq!(&long[..6], b"\x01\x80\x00\x01\x2cA");
    let (out, _) = exchange(&fastcgi(1, false, &get("/"), b""));
    assert!(out.ends_with(&END), "{}", out.escape_ascii());
    assert!(out.starts_with(b"\x01\x06\x00\x01"));
}

#[test]
fn fastcgi_3_3_records_of_any_size_and_padding_hold_the_same_request() {
    let mut pairs = post("/straddled/caf\u{e9}", 3_000);
    pairs.push((b"HTTP_X_LONG".to_vec(), vec![b'v'; 300]));
    let content: Vec<u8> = (0..3_000u32).map(|number| number.to_le_bytes()[0]).collect();
    let mut shapes: Vec<(usize, u8)> = (1..24).map(|size| (size, 0)).collect();
    shapes.extend([(1, 255), (7, 3), (8, 8), (100, 255), (32_768, 1), (65_535, 255)]);
    for (size, padding) in shapes {
        let bytes = fastcgi_in(1, false, &pairs, &content, |_| (size, padding));
        let reply = ask(&bytes);
        assert_eq!(reply.content, content, "{size} {padding}");
    }
    // Every record another size, and another padding.
    let bytes = fastcgi_in(1, false, &pairs, &content, |number| (1 + number * 37 % 91, (number * 101 % 256) as u8));
    assert_eq!(ask(&bytes).content, content);
}

#[test]
fn fastcgi_3_3_ids_above_255_come_back_whole() {
    for id in [1, 255, 256, 300, 65_535] {
        let (mut rest, mut seen) = (exchange(&fastcgi(id, false, &get("/"), b"")).0, 0);
        while !rest.is_empty() {
            let (_, other, _, behind) = read_record(&rest);
            assert_eq!(other, id);
            seen += 1;
            rest = behind.to_vec();
        }
        assert!(seen >= 3);
    }
}

#[test]
fn fastcgi_3_5_keep_conn_keeps_the_connection_and_its_absence_ends_it() {
    let house = house();
    let mut client = house.client();
    for number in 0..5u16 {
        client.send(&fastcgi(number + 1, true, &post("/", 4), b"data"));
        let (id, stdout) = next_answer(&mut client);
        assert_eq!(id, number + 1);
        assert!(stdout.ends_with(b"\r\n\r\ndata"));
    }
    client.send(&fastcgi(1, false, &get("/"), b""));
    assert!(next_answer(&mut client).1.starts_with(b"Status: 200 OK\r\n"));
    client.is_closed();
}

#[test]
fn fastcgi_3_5_a_streamed_answer_without_length_keeps_the_connection() {
    fn application(_environ: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("200 OK", &[]);
        Body::blocks([vec![b'a'; 70_000], Vec::new(), b"end".to_vec()])
    }
    let house = serve_over(Server::bind("127.0.0.1:0").unwrap().door(Door::FastCgi), application, |_| {});
    let mut client = house.client();
    for _ in 0..2 {
        client.send(&fastcgi(1, true, &get("/"), b""));
        let (_, stdout) = next_answer(&mut client);
        let at = stdout.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(stdout[at..], [&[b'a'; 70_000][..], b"end"].concat());
    }
}

#[test]
fn fastcgi_pipelined_requests_are_answered_in_order() {
    let house = house();
    let mut client = house.client();
    let bytes: Vec<u8> = (1..=40).flat_map(|id| fastcgi(id, true, &get(&format!("/{id}")), b"")).collect();
    client.send(&bytes);
    for id in 1..=40 {
        let (other, stdout) = next_answer(&mut client);
        assert_eq!(other, id);
        assert!(String::from_utf8(stdout).unwrap().contains(&format!("X-Path: /{id}\r\n")));
    }
}

#[test]
fn fastcgi_content_without_content_length_ends_with_the_stream() {
    // nginx with fastcgi_request_buffering off passes a chunked upload on like this.
    let pairs = variables(&[
        ("REQUEST_METHOD", "POST"),
        ("PATH_INFO", "/"),
        ("CONTENT_LENGTH", ""),
        ("HTTP_TRANSFER_ENCODING", "chunked"),
    ]);
    for content in [&b""[..], b"hellofoo", &[b'z'; 100_000]] {
        let bytes = fastcgi_in(1, false, &pairs, content, |_| (5, 3));
        assert_eq!(ask(&bytes).content, content);
    }
    // The limit counts what came (413), and a stream that breaks off is no content (400).
    let long = fastcgi(1, false, &pairs, &[b'z'; 3_000]);
    let change = |settings: &mut doorway::Settings| {
        settings.max_content = Some(1_000);
        settings.gathered_content = 100;
    };
    let (out, log) = in_memory_over(Server::unbound().door(Door::FastCgi), [&long[..]], echo, change);
    assert_eq!(read_reply(Door::FastCgi, &out).unwrap().code(), 413);
    assert_eq!(log.causes(), [Cause::ContentLong]);
    let (out, log) = exchange(&long[..long.len() - 1_500]);
    assert_eq!(read_reply(Door::FastCgi, &out).unwrap().code(), 400);
    assert_eq!(log.causes(), [Cause::ContentTruncated]);
}

#[test]
fn fastcgi_6_2_a_stream_that_ends_before_content_length_is_cut_short() {
    for (length, sent) in [(10, 3), (50_000, 20_000)] {
        let bytes = fastcgi(1, false, &post("/", length), &vec![b'x'; sent]);
        let (out, log) = exchange(&bytes);
        let reply = read_reply(Door::FastCgi, &out).unwrap();
        assert_eq!((reply.code(), log.causes()), (400, vec![Cause::ContentTruncated]), "{length}");
    }
}

#[test]
fn fastcgi_what_passes_content_length_is_nobodys_and_harms_no_later_request() {
    let house = house();
    let mut client = house.client();
    for length in [0, 3, 20_000] {
        let content = vec![b'x'; 30_000];
        // More data than promised, in many records, then the end, then records of nobody.
        client.send(&fastcgi_in(1, true, &post("/", length), &content, |_| (1_000, 7)));
        let (_, stdout) = next_answer(&mut client);
        let at = stdout.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(stdout.len() - at, length);
        client.send(&record(5, 1, b"left over", 5));
        client.send(&record(2, 9, b"", 0));
    }
    client.send(&fastcgi(2, false, &get("/last"), b""));
    assert!(String::from_utf8(next_answer(&mut client).1).unwrap().contains("X-Path: /last"));
    client.is_closed();
    assert_eq!(house.log.reports(), []);
}

#[test]
fn fastcgi_content_of_which_a_part_of_a_record_was_read_harms_no_later_request() {
    for read in [0, 100] {
        let application = move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            environ.input().read_exact(&mut vec![0; if environ.path() == "/" { read } else { 0 }])?;
            start_response.start("200 OK", &[("X-Path", &environ.path())]);
            Ok(Body::empty())
        };
        let house = serve_over(Server::bind("127.0.0.1:0").unwrap().door(Door::FastCgi), application, |_| {});
        let mut client = house.client();
        let whole = fastcgi_in(1, true, &post("/", 50_000), &[b'x'; 50_000], |_| (30_000, 7));
        // The first record has come in part when the request is answered.
        let (begun, rest) = whole.split_at(whole.len() - 40_000);
        client.send(begun);
        assert!(next_answer(&mut client).1.starts_with(b"Status: 200 OK\r\n"));
        client.send(&[rest, &fastcgi(1, false, &get("/last"), b"")].concat());
        assert!(String::from_utf8(next_answer(&mut client).1).unwrap().contains("X-Path: /last"), "{read}");
        client.is_closed();
        assert_eq!(house.log.reports(), []);
    }
}

/// A request up to its content, of which a part of a record has come.
fn begun(variables: &[(Vec<u8>, Vec<u8>)], content: usize, came: usize) -> Vec<u8> {
    let variables = [record(4, 1, &params(variables), 0), record(4, 1, b"", 0)].concat();
    let content = record(5, 1, &vec![b'x'; content], 0);
    [&begin(1, 1, true)[..], &variables, content.split_at(8 + came).0].concat()
}

#[test]
fn fastcgi_5_1_a_second_beginning_or_variables_in_the_middle_of_content_are_no_content() {
    for (between, code) in
        [(begin(1, 1, true), 400), (record(4, 1, b"", 0), 400), (record(5, 1, b"", 0), 400), (vec![], 200)]
    {
        let (out, log) = exchange(&[begun(&post("/", 10), 5, 5), between, record(5, 1, b"other", 0)].concat());
        let reply = read_reply(Door::FastCgi, &out).unwrap();
        assert_eq!(reply.code(), code, "{:?}", log.reports());
    }
}

#[test]
fn fastcgi_content_without_a_length_is_not_waited_for_where_it_is_long() {
    let answers = |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        "at once"
    };
    let house = serve_over(Server::bind("127.0.0.1:0").unwrap().door(Door::FastCgi), answers, |_| {});
    let mut client = house.client();
    client.send(&begun(&get("/"), 60_000, 10));
    let (_, stdout) = next_answer(&mut client);
    assert!(stdout.ends_with(b"at once"), "{}", stdout.escape_ascii());
}

#[test]
fn fastcgi_4_1_get_values_names_the_limits_that_are_known() {
    let asked = variables(&[("FCGI_MAX_CONNS", ""), ("FCGI_MAX_REQS", ""), ("FCGI_MPXS_CONNS", ""), ("FCGI_ELSE", "")]);
    let (house, ask) = (house(), record(9, 0, &params(&asked), 4));
    let mut client = house.client();
    client.send(&ask);
    let (kind, id, content) = next_record(&mut client);
    assert_eq!((kind, id), (10, 0));
    assert_eq!(
        content,
        params(&variables(&[("FCGI_MAX_CONNS", "2"), ("FCGI_MAX_REQS", "2"), ("FCGI_MPXS_CONNS", "0")]))
    );
    // Asked for one, told one; and in the middle of a head it is answered with the request.
    client.send(&record(9, 0, &params(&variables(&[("FCGI_MPXS_CONNS", "")])), 0));
    assert_eq!(next_record(&mut client).2, params(&variables(&[("FCGI_MPXS_CONNS", "0")])));
    let whole = fastcgi(1, true, &get("/"), b"");
    client.send(&[&whole[..16], &ask, &whole[16..]].concat());
    assert_eq!(next_record(&mut client).0, 10);
    assert!(next_answer(&mut client).1.starts_with(b"Status: 200"));
    // With the default number of threads, 16, the content has 53 bytes: the length that the vector has.
    let (out, _) = in_memory_over(Server::unbound().door(Door::FastCgi).threads(16), [&ask[..]], echo, |_| {});
    assert_eq!(&out[..8], b"\x01\x0a\x00\x00\x00\x35\x00\x00");
}

#[test]
fn fastcgi_4_2_a_management_record_of_an_unknown_type_is_told_so() {
    let house = house();
    let mut client = house.client();
    for kind in [12, 77, 255] {
        client.send(&record(kind, 0, b"whatever", 3));
        assert_eq!(next_record(&mut client), (11, 0, vec![kind, 0, 0, 0, 0, 0, 0, 0]));
    }
    client.send(&fastcgi(1, false, &get("/"), b""));
    assert!(next_answer(&mut client).1.starts_with(b"Status: 200"));
}

#[test]
fn fastcgi_5_1_a_role_that_is_not_responder_is_told_so() {
    let house = house();
    for role in [2, 3, 77] {
        let mut client = house.client();
        // As lighttpd sends AUTHORIZER: no STDIN at all.
        client.send(&[begin(1, role, true), record(4, 1, &params(&get("/")), 0), record(4, 1, b"", 0)].concat());
        let (kind, id, content) = next_record(&mut client);
        assert_eq!((kind, id, content[4]), (3, 1, 3), "UNKNOWN_ROLE");
        client.send(&fastcgi(2, false, &get("/"), b""));
        assert_eq!(next_answer(&mut client).0, 2);
        client.is_closed();
        let mut client = house.client();
        client.send(&begin(1, role, false));
        assert_eq!(next_record(&mut client).0, 3);
        client.is_closed();
    }
}

#[test]
fn fastcgi_5_1_a_second_request_while_one_is_active_is_told_so_and_the_first_goes_on() {
    let house = house();
    let mut client = house.client();
    let (pairs, second) = (params(&post("/", 60_000)), begin(300, 1, true));
    let content = vec![b'c'; 60_000];
    // In the middle of PARAMS, and in the middle of STDIN.
    for in_params in [true, false] {
        let mut bytes = begin(1, 1, true);
        bytes.extend(record(4, 1, &pairs[..9], 0));
        bytes.extend(if in_params { second.clone() } else { Vec::new() });
        bytes.extend(record(4, 1, &pairs[9..], 0));
        bytes.extend(record(4, 1, b"", 0));
        bytes.extend(record(5, 1, &content[..30_000], 0));
        bytes.extend(if in_params { Vec::new() } else { second.clone() });
        bytes.extend(record(4, 300, b"ignored", 0));
        bytes.extend(record(5, 1, &content[30_000..], 0));
        bytes.extend(record(5, 1, b"", 0));
        client.send(&bytes);
        let mut refused = false;
        let mut stdout = Vec::new();
        let mut ended = false;
        while !(refused && ended) {
            match next_record(&mut client) {
                (3, 300, content) => {
                    assert_eq!(content[4], 1, "CANT_MPX_CONN");
                    refused = true;
                }
                (3, 1, content) => {
                    assert_eq!(content, [0; 8]);
                    ended = true;
                }
                (6, 1, content) => stdout.extend(content),
                other => panic!("{other:?}"),
            }
        }
        assert!(stdout.ends_with(&content[..]) && stdout.starts_with(b"Status: 200"));
    }
}

/// Every record of an answer, until `count` requests have ended.
fn records_until_ends(client: &mut Client<TcpStream>, count: usize) -> Vec<(u8, u16, Vec<u8>)> {
    let mut records: Vec<(u8, u16, Vec<u8>)> = Vec::new();
    while records.iter().filter(|(kind, ..)| *kind == 3).count() < count {
        records.push(next_record(client));
    }
    records
}

const CANT_MPX_CONN: [u8; 8] = [0, 0, 0, 0, 1, 0, 0, 0];

/// GET_VALUES for one name.
fn ask_values() -> Vec<u8> {
    record(9, 0, &params(&variables(&[("FCGI_MPXS_CONNS", "")])), 3)
}

fn values() -> (u8, u16, Vec<u8>) {
    (10, 0, params(&variables(&[("FCGI_MPXS_CONNS", "0")])))
}

fn unknown(kind: u8) -> (u8, u16, Vec<u8>) {
    (11, 0, vec![kind, 0, 0, 0, 0, 0, 0, 0])
}

#[test]
fn fastcgi_5_1_what_comes_before_the_end_of_no_content_is_answered() {
    let house = house();
    let mut client = house.client();
    let head = [begin(1, 1, true), record(4, 1, &params(&get("/")), 0), record(4, 1, b"", 0)].concat();
    let between = [begin(2, 1, true), ask_values(), record(77, 0, b"", 0)].concat();
    for pieces in [
        vec![[&head[..], &between].concat(), record(5, 1, b"", 0)],
        vec![[&head[..], &between, &record(5, 1, b"", 0)].concat()],
    ] {
        for piece in pieces {
            client.send(&piece);
        }
        let records = records_until_ends(&mut client, 2);
        for expected in [(3, 2, CANT_MPX_CONN.to_vec()), values(), unknown(77), (3, 1, vec![0; 8])] {
            assert_eq!(records.iter().filter(|record| **record == expected).count(), 1, "{expected:?}: {records:?}");
        }
    }
    client.send(&fastcgi(2, false, &get("/"), b""));
    assert_eq!(next_answer(&mut client).0, 2);
    client.is_closed();
}

#[test]
fn fastcgi_5_1_a_second_request_is_told_so_when_the_first_is_aborted() {
    let house = house();
    let mut client = house.client();
    let head = [begin(1, 1, true), record(4, 1, &params(&post("/", 9)), 0)].concat();
    let second = begin(2, 1, true);
    let in_content = [&head[..], &record(4, 1, b"", 0), &second, &record(5, 1, b"abc", 0)].concat();
    for bytes in [[begin(1, 1, true), second.clone()].concat(), [&head[..], &second].concat(), in_content] {
        client.send(&[&bytes[..], &ask_values(), &record(2, 1, b"", 0)].concat());
        let records = records_until_ends(&mut client, 2);
        let expected = [(3, 2, CANT_MPX_CONN.to_vec()), values(), (6, 1, vec![]), (3, 1, vec![0; 8])];
        assert_eq!(records, expected);
    }
}

#[test]
fn fastcgi_4_1_and_4_2_management_records_between_those_of_the_content_are_answered() {
    let between = [ask_values(), record(77, 0, b"whatever", 5), begin(0, 1, true), begin(9, 1, true)].concat();
    for length in [6, 60_000] {
        let content = vec![b'c'; length];
        let mut bytes =
            [begin(1, 1, true), record(4, 1, &params(&post("/", length)), 0), record(4, 1, b"", 0)].concat();
        bytes.extend(record(5, 1, &content[..length / 2], 2));
        bytes.extend(&between);
        bytes.extend(record(5, 1, &content[length / 2..], 0));
        bytes.extend(record(5, 1, b"", 0));
        for size in [bytes.len(), 1_000, 7, 1] {
            let server = Server::unbound().door(Door::FastCgi);
            let (out, log) = in_memory_over(server, bytes.chunks(size), echo, |_| {});
            let (mut rest, mut records, mut stdout) = (&out[..], Vec::new(), Vec::new());
            while !rest.is_empty() {
                let (kind, id, content, behind) = read_record(rest);
                rest = behind;
                match kind {
                    6 => stdout.extend_from_slice(content),
                    _ => records.push((kind, id, content.to_vec())),
                }
            }
            assert!(stdout.ends_with(&content), "{length} in pieces of {size}");
            records.sort();
            let expected = [(3, 1, vec![0; 8]), (3, 9, CANT_MPX_CONN.to_vec()), values(), unknown(1), unknown(77)];
            assert_eq!(records, expected, "{length} in pieces of {size}");
            assert_eq!(log.reports(), []);
        }
    }
}

#[test]
fn fastcgi_5_1_a_beginning_with_the_number_of_management_is_an_unknown_type() {
    let house = house();
    let mut client = house.client();
    let whole = fastcgi(1, true, &get("/"), b"");
    let end = whole.len() - 8;
    // Before a request, in its head, before its end.
    for at in [0, 16, end] {
        client.send(&[&whole[..at], &begin(0, 1, true), &whole[at..]].concat());
        let records = records_until_ends(&mut client, 1);
        assert!(records.contains(&unknown(1)), "{at}: {records:?}");
        assert_eq!(records.last(), Some(&(3, 1, vec![0; 8])), "{at}");
    }
}

#[test]
fn fastcgi_g_10_more_records_of_others_than_anybody_sends_in_a_content_are_refused() {
    for between in [ask_values(), record(77, 0, b"", 0), begin(9, 1, true)] {
        for (count, status) in [(8, 200), (9, 400)] {
            let mut bytes =
                [begin(1, 1, false), record(4, 1, &params(&post("/", 60_000)), 0), record(4, 1, b"", 0)].concat();
            bytes.extend(between.repeat(count));
            bytes.extend(record(5, 1, &[b'c'; 60_000], 0));
            bytes.extend(record(5, 1, b"", 0));
            let (out, _) = exchange(&bytes);
            let head = format!("Status: {status} ");
            assert!(out.windows(head.len()).any(|part| part == head.as_bytes()), "{count}: {}", support::show(&out));
        }
    }
}

#[test]
fn fastcgi_5_4_abort_ends_the_request_and_not_the_connection() {
    let house = house();
    let mut client = house.client();
    let head = [begin(7, 1, true), record(4, 7, &params(&post("/", 9)), 0)].concat();
    // Before the variables are whole, before small content is.
    for middle in [Vec::new(), [record(4, 7, b"", 0), record(5, 7, b"abc", 0)].concat()] {
        client.send(&[&head[..], &middle, &record(2, 7, b"", 0)].concat());
        assert_eq!(next_answer(&mut client), (7, Vec::new()));
    }
    client.send(&fastcgi(8, true, &get("/"), b""));
    assert_eq!(next_answer(&mut client).0, 8);
    // While the application reads: its read fails, the request is ended, and nothing after it is understood.
    let long = [begin(9, 1, true), record(4, 9, &params(&post("/", 90_000)), 0), record(4, 9, b"", 0)].concat();
    client.send(&[&long[..], &record(5, 9, b"abc", 0), &record(2, 9, b"", 0)].concat());
    assert_eq!(next_answer(&mut client).0, 9);
    client.is_closed();
    house.log.take(Cause::RequestAborted);
}

#[test]
fn fastcgi_5_5_an_overloaded_server_says_so_in_both_languages() {
    let (application, called, release) = sleepy();
    let server = Server::bind("127.0.0.1:0").unwrap().door(Door::FastCgi);
    let log = Collected::default();
    let server =
        server.threads(1).log(log.clone()).configure(|settings| settings.queue_timeout = Duration::from_millis(50));
    let handle = server.spawn(application).unwrap();
    let address = handle.addr().to_string().parse().unwrap();
    let mut first = Client::connect(address);
    first.send(&fastcgi(1, false, &get("/"), b""));
    called.recv().unwrap();
    let mut second = Client::connect(address);
    second.send(&fastcgi(2, false, &get("/"), b""));
    let out = second.until_close();
    let reply = read_reply(Door::FastCgi, &out).unwrap();
    assert_eq!((reply.code(), reply.field("Retry-After").is_some()), (503, true));
    assert_eq!(out[out.len() - 4], 2, "OVERLOADED: {}", out.escape_ascii());
    assert_eq!(log.take(Cause::QueueTimeout).answer, Answer::Status(503));
    release.send(()).unwrap();
    assert_eq!(next_answer(&mut first).0, 1);
}

/// Says that it was called, and waits.
fn sleepy() -> (
    impl Fn(&Environ, &mut StartResponse) -> Body + Send + Sync,
    std::sync::mpsc::Receiver<()>,
    std::sync::mpsc::Sender<()>,
) {
    let (called, was_called) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel();
    let both = std::sync::Mutex::new((called, released));
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        let both = support::locked(&both);
        both.0.send(()).unwrap();
        let _ = both.1.recv();
        start_response.start("200 OK", &[]);
        Body::empty()
    };
    (application, was_called, release)
}

#[test]
fn fastcgi_g_10_records_that_break_the_format_end_the_connection() {
    let begun = begin(1, 1, true);
    let rows: Vec<(Vec<u8>, Cause)> = vec![
        (b"\x02\x01\x00\x01\x00\x08\x00\x00".to_vec(), Cause::PacketFormat),
        (record(1, 1, b"short", 0), Cause::PacketFormat),
        ([&begun[..], &record(5, 1, b"early", 0)].concat(), Cause::PacketFormat),
        ([&begun[..], &begun].concat(), Cause::PacketFormat),
        ([&begun[..], b"\x03\x04"].concat(), Cause::PacketFormat),
        ([&begun[..], &record(4, 1, b"\x05\x05ab", 0), &record(4, 1, b"", 0)].concat(), Cause::PacketFormat),
        ([&begun[..], &record(4, 1, b"\x00\x01a", 0), &record(4, 1, b"", 0)].concat(), Cause::PacketFormat),
        // A length of 2 GiB costs nothing.
        ([&begun[..], &record(4, 1, b"\xff\xff\xff\xff\x01a", 0), &record(4, 1, b"", 0)].concat(), Cause::PacketFormat),
        ([&begun[..], &record(4, 9, b"", 0).repeat(10_001), &record(4, 1, b"", 0)].concat(), Cause::PacketFormat),
        ([&begun[..], &record(4, 1, &[b'x'; 65_535], 0).repeat(3)].concat(), Cause::PacketLong),
        (begun.clone(), Cause::HeadTruncated),
    ];
    for (bytes, cause) in rows {
        let (out, log) = exchange(&bytes);
        assert_eq!(log.causes(), [cause], "{}", support::show(&bytes));
        // Where a request has begun it is ended, else there is nobody to answer.
        match read_reply(Door::FastCgi, &out) {
            Some(reply) => assert!(reply.ended && reply.code() >= 400 && bytes.starts_with(&begun), "{reply:?}"),
            None => assert!(!bytes.starts_with(&begun), "{}", support::show(&bytes)),
        }
    }
}

#[test]
fn fastcgi_a_body_of_any_kind_and_size_goes_out_in_records() {
    const SIZES: [usize; 7] = [0, 1, 16_384, 16_385, 65_535, 65_536, 300_000];
    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|number| (number % 251) as u8).collect()
    }
    fn application(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
        let size: usize = environ.query_string().parse().map_err(io::Error::other)?;
        let all = content(size);
        start_response.start("200 OK", &[]);
        Ok(match environ.path().as_ref() {
            "/bytes" => all.into(),
            "/list" => Body::list(all.chunks(1_000).map(<[u8]>::to_vec).collect::<Vec<_>>()),
            "/blocks" => Body::blocks([all[..size / 2].to_vec(), all[size / 2..].to_vec()]),
            "/reader" => Body::reader(io::Cursor::new(all)),
            _ => {
                let path = std::env::temp_dir().join(format!("doorway-records-{}-{size}", std::process::id()));
                std::fs::write(&path, &all)?;
                let file = std::fs::File::open(&path)?;
                std::fs::remove_file(path)?;
                file.into()
            }
        })
    }
    let house = serve_over(Server::bind("127.0.0.1:0").unwrap().door(Door::FastCgi), application, |_| {});
    let mut client = house.client();
    for path in ["/bytes", "/list", "/blocks", "/reader", "/file"] {
        for size in SIZES {
            let mut pairs = get(path);
            pairs.extend(variables(&[("QUERY_STRING", &size.to_string())]));
            client.send(&fastcgi(1, true, &pairs, b""));
            let (_, stdout) = next_answer(&mut client);
            let at = stdout.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
            assert!(stdout[at..] == content(size), "{path} {size}: {} bytes", stdout.len() - at);
        }
    }
}
