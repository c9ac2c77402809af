//! `app::Proxy` over real sockets: what an upstream is sent, what a client gets, and what neither of them can do to the other.

mod apps;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use doorway::middleware::Mount;
use doorway::{Body, Cause, Environ, Server, StartResponse, app};
use support::{Delimiter, House, PATIENCE, has_head, parse, scripted, serve, serve_with};

/// An upstream that says these bytes and closes.
fn saying(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    scripted(has_head, move |mut stream, _| stream.write_all(&bytes).unwrap())
}

/// An upstream that hands out each request with its content, which `whole` tells the end of, and says `fine`.
fn recording(whole: fn(&[u8]) -> bool) -> (SocketAddr, Receiver<String>) {
    let (sender, requests) = channel();
    let address = scripted(has_head, move |mut stream, mut request| {
        let mut byte = [0];
        while !whole(&request) && stream.read(&mut byte).unwrap() > 0 {
            request.push(byte[0]);
        }
        sender.send(String::from_utf8(request).unwrap()).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").unwrap();
    });
    (address, requests)
}

fn proxy(address: SocketAddr) -> app::Proxy {
    app::Proxy::to(&format!("http://{address}")).unwrap()
}

#[test]
fn rfc9110_7_6_1_the_upstream_gets_the_request_and_nothing_that_belonged_to_the_connection() {
    let (address, requests) = recording(|_| true);
    let house = serve(proxy(address));
    let request = "GET /a%2Fb?c=%20d HTTP/1.1\r\nHost: site.example\r\nUser-Agent: test\r\nCookie: a=b\r\n\
        Accept-Encoding: br\r\nConnection: close, X-Mine\r\nX-Mine: kept\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nProxy-Authorization: secret\r\nProxy-Connection: close\r\nProxy: evil\r\n\r\n";
    assert_eq!(house.ask_one(request.as_bytes()).text(), "fine");
    let sent = requests.recv_timeout(PATIENCE).unwrap();
    assert!(sent.starts_with("GET /a%2Fb?c=%20d HTTP/1.1\r\n"), "{sent}");
    let mut names: Vec<_> = sent.lines().skip(1).filter_map(|line| line.split_once(": ")).collect();
    names.sort_unstable();
    let (via, rest): (Vec<_>, Vec<_>) = names.into_iter().partition(|(name, _)| *name == "Via");
    assert!(via.len() == 1 && via[0].1.starts_with("1.1 doorway-"), "{sent}");
    let own = address.to_string();
    assert_eq!(
        rest,
        [
            ("Accept-Encoding", "br"),
            ("Connection", "close"),
            ("Cookie", "a=b"),
            ("Host", own.as_str()),
            ("User-Agent", "test"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Host", "site.example"),
            ("X-Forwarded-Proto", "http"),
            ("X-Mine", "kept"),
        ]
    );
}

#[test]
fn what_a_client_says_about_itself_is_not_believed_and_not_passed_on() {
    let (address, requests) = recording(|_| true);
    let house = serve(Mount::new().at("/api", app::Proxy::to(&format!("http://{address}/v2")).unwrap().keep_host()));
    let request = "GET /api/x HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.66\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-User: root\r\nX-Real-IP: 192.0.2.66\r\n\
        Forwarded: for=192.0.2.66\r\nVia: 1.0 fred\r\n\r\n";
    assert_eq!(house.ask_one(request.as_bytes()).status, 200);
    let sent = requests.recv_timeout(PATIENCE).unwrap();
    assert!(sent.starts_with("GET /v2/x HTTP/1.1\r\n"), "{sent}");
    assert!(!sent.contains("192.0.2.66") && !sent.contains("evil") && !sent.contains("root"), "{sent}");
    for line in [
        "Host: site.example",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: site.example",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Prefix: /api",
    ] {
        assert_eq!(sent.lines().filter(|other| *other == line).count(), 1, "{line}\n{sent}");
    }
    assert!(sent.contains("\r\nVia: 1.0 fred, 1.1 doorway-"), "{sent}");
}

#[test]
fn rfc9112_6_3_content_is_passed_on_with_one_length_and_never_with_two() {
    let (address, requests) = recording(|request| request.ends_with(b"hello"));
    let house = serve(proxy(address));
    house.ask_one(
        b"PUT /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: text/x\r\nContent-Length: 5\r\n\r\nhello",
    );
    let sent = requests.recv_timeout(PATIENCE).unwrap();
    assert!(sent.contains("\r\nContent-Length: 5\r\n") && sent.contains("\r\nContent-Type: text/x\r\n"), "{sent}");
    assert!(!sent.contains("Transfer-Encoding") && sent.ends_with("\r\n\r\nhello"), "{sent}");

    let (address, requests) = recording(|request| request.ends_with(b"0\r\n\r\n"));
    let house = serve(proxy(address));
    house.ask_one(
        b"PUT /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n\
        3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n",
    );
    let sent = requests.recv_timeout(PATIENCE).unwrap();
    assert!(sent.contains("\r\nTransfer-Encoding: chunked\r\n") && !sent.contains("Content-Length"), "{sent}");
    let (_, content) = sent.split_once("\r\n\r\n").unwrap();
    assert!(["5\r\nhello\r\n0\r\n\r\n", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"].contains(&content), "{sent}");

    let (address, requests) = recording(|_| true);
    let house = serve(proxy(address));
    house.ask_one(b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(requests.recv_timeout(PATIENCE).unwrap().contains("\r\nContent-Length: 0\r\n"));
}

/// Sends each block back as it comes.
fn parrot(environ: &Environ, start_response: &mut StartResponse) -> std::io::Result<Body> {
    let length = environ.content_length().unwrap().to_string();
    let mut writer = start_response.start("200 OK", &[("Content-Length", &length)]);
    let (mut input, mut block) = (environ.input(), vec![0; 64 * 1024]);
    loop {
        match input.read(&mut block)? {
            0 => return Ok(Body::empty()),
            length => writer.write_all(&block[..length])?,
        }
    }
}

#[test]
fn content_streams_both_ways_at_once_through_an_upstream_that_holds_nothing_back() {
    const LENGTH: usize = 24 * 1024 * 1024;
    let unlimited = |settings: &mut doorway::Settings| settings.max_content = None;
    let upstream = serve_with(parrot, unlimited);
    let house = serve_with(proxy(upstream.tcp()), unlimited);
    let pattern = |at: usize| (at % 251) as u8;
    let mut sender = TcpStream::connect(house.tcp()).unwrap();
    let mut reader = sender.try_clone().unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    let sending = std::thread::spawn(move || {
        let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n");
        sender.write_all(head.as_bytes()).unwrap();
        let content: Vec<u8> = (0..LENGTH).map(pattern).collect();
        sender.write_all(&content).unwrap();
    });
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).unwrap();
    sending.join().unwrap();
    let (response, _) = parse(&answer, false, true).unwrap();
    assert_eq!((response.status, response.delimiter), (200, Delimiter::Length(LENGTH)));
    assert!(response.body.iter().enumerate().all(|(at, byte)| *byte == pattern(at)), "changed on the way");
}

#[test]
fn an_upstream_that_refuses_in_the_middle_of_the_content_is_heard() {
    let address = scripted(has_head, |mut stream, _| {
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n").unwrap();
    });
    let house = serve_with(proxy(address), |settings| settings.max_content = None);
    let mut client = house.client();
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 50000000\r\n\r\n");
    assert_eq!(client.response().status, 100);
    // As much as the sockets hold; the server takes no more once it has an answer.
    let _ = client.stream.write_all(&vec![b'x'; 50_000_000]);
    let end = client.until_end();
    assert!(end.is_empty() || end.starts_with(b"HTTP/1.1 413 Content Too Large\r\n"), "{}", support::show(&end));
    assert_eq!(house.log.take_accesses(1)[0].0, 413);
}

#[test]
fn each_block_of_an_answer_is_passed_on_before_the_next_one_comes() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let address = scripted(has_head, move |mut stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
        wait.recv_timeout(PATIENCE).unwrap();
        stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    });
    let house = serve(proxy(address));
    let mut client = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.until(b"one");
    go.send(()).unwrap();
    let response = client.response();
    assert_eq!(response.chunks, [b"one", b"two"]);
}

#[test]
fn a_short_answer_that_drips_reaches_the_client_as_it_comes_and_keeps_its_length() {
    const LENGTH: usize = 1000;
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let address = scripted(has_head, move |mut stream, _| {
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes()).unwrap();
        let mut sent = 0;
        while sent < LENGTH - 1 && wait.recv_timeout(Duration::from_millis(10)).is_err() {
            stream.write_all(b"x").unwrap();
            sent += 1;
        }
        // Whoever waits for the whole sees no more than this.
        assert!(sent < LENGTH - 1, "nobody has seen a byte");
        stream.write_all(&vec![b'x'; LENGTH - sent]).unwrap();
    });
    let house = serve(proxy(address));
    let mut client = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.until(b"xxx");
    go.send(()).unwrap();
    let response = client.response();
    assert_eq!((response.delimiter, response.body), (Delimiter::Length(LENGTH), vec![b'x'; LENGTH]));
}

#[test]
fn rfc9112_6_3_the_three_ways_to_end_an_answer_are_understood() {
    for (answer, body, delimiter) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellobeyond", "hello", Delimiter::Length(5)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nA: b\r\n\r\nbeyond",
            "hello",
            Delimiter::Chunked,
        ),
        ("HTTP/1.0 200 OK\r\n\r\nhello", "hello", Delimiter::Chunked),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", Delimiter::Length(0)),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            "hi",
            Delimiter::Length(2),
        ),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "", Delimiter::None),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", "", Delimiter::None),
    ] {
        let response = serve(proxy(saying(answer))).get("/");
        assert_eq!((response.text(), response.delimiter), (body, delimiter), "{answer}");
    }
    let house = serve(proxy(saying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")));
    let response = house.ask_one(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((response.status, response.field("Content-Length")), (200, Some("5")));
}

#[test]
fn an_upstream_that_streams_a_byte_a_chunk_is_passed_on_whole() {
    const LENGTH: usize = 100_000;
    let answer =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", "1\r\nx\r\n".repeat(LENGTH));
    assert_eq!(serve(proxy(saying(answer))).get("/").body, vec![b'x'; LENGTH]);
}

#[test]
fn a_deadline_may_be_as_long_as_a_duration_can_be() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
    let (ever, address) = (Duration::MAX, saying(answer));
    let house = serve(proxy(address).connect_deadline(ever).first_byte_deadline(ever).progress_deadline(ever));
    assert_eq!(house.get("/").text(), "fine");
}

#[test]
fn the_answer_keeps_its_fields_but_those_of_the_connection() {
    let house = serve(Mount::new().at(
        "/api",
        app::Proxy::to(&format!(
            "http://{}/",
            scripted(has_head, |mut stream, _| {
                let location = format!("http://{}/login", stream.local_addr().unwrap());
                let answer = format!(
                    "HTTP/1.1 302 Gone \u{85}Fishing\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: close, X-Hop\r\n\
                    X-Hop: gone\r\nKeep-Alive: 5\r\nStatus: 200 OK\r\nTrailer: X\r\nLocation: {location}\r\nServer: other\r\n\
                    Content-Length: 0\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            })
        ))
        .unwrap(),
    ));
    let response = house.get("/api/x");
    assert_eq!((response.status, &*response.reason), (302, "Gone Fishing"));
    assert_eq!(response.all("Set-Cookie"), [b"a=1", b"b=2"]);
    assert_eq!((response.field("Location"), response.field("Server")), (Some("/api/login"), Some("other")));
    for name in ["X-Hop", "Keep-Alive", "Status", "Trailer"] {
        assert_eq!(response.field(name), None, "{name}");
    }
}

#[test]
fn field_lines_of_16_kib_are_taken_from_an_upstream_and_longer_ones_are_a_502() {
    let answer = |length: usize| {
        let cookie = "c".repeat(length - "Set-Cookie: ".len());
        (format!("HTTP/1.1 200 OK\r\nSet-Cookie: {cookie}\r\nContent-Length: 2\r\n\r\nok"), cookie)
    };
    let (said, cookie) = answer(16_384);
    let response = serve(proxy(saying(said))).get("/");
    assert_eq!((response.status, response.field("Set-Cookie")), (200, Some(&*cookie)));
    assert_eq!(serve(proxy(saying(answer(16_385).0))).get("/").status, 502);
}

#[test]
fn rfc9112_6_3_an_answer_that_could_be_read_in_two_ways_is_a_502_with_its_cause_in_the_log() {
    for (answer, cause) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "2002"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "1029"),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "2001"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "2004"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "2005"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "1024"),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "1022"),
        ("HTTP/1.1 200 OK\r\nA: b\n\r\n", "1001"),
        ("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", "1025"),
        ("HTTP/1.1 999 What\r\n\r\n", "status 999"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "switches"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "5001"),
    ] {
        serve(proxy(saying(answer))).has_a_broken_upstream(cause);
    }
    let endless = "HTTP/1.1 102 Processing\r\n\r\n".repeat(40);
    assert_eq!(serve(proxy(saying(endless))).get("/").status, 502);
    let huge = format!("HTTP/1.1 200 OK\r\n{}\r\n", format!("A: {}\r\n", "x".repeat(4000)).repeat(20));
    assert_eq!(serve(proxy(saying(huge))).get("/").status, 502);
}

#[test]
fn content_that_breaks_its_coding_cuts_the_response_where_it_has_begun() {
    let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
    for (rest, cause) in
        [("3\r\ntwoX", Cause::UpstreamInvalid), ("-1\r\n", Cause::UpstreamInvalid), ("", Cause::UpstreamTruncated)]
    {
        let (go, wait): (Sender<()>, Receiver<()>) = channel();
        let address = scripted(has_head, move |mut stream, _| {
            stream.write_all(broken.as_bytes()).unwrap();
            wait.recv_timeout(PATIENCE).unwrap();
            stream.write_all(rest.as_bytes()).unwrap();
        });
        let house = serve(proxy(address));
        let mut client = house.client();
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.until(b"one");
        go.send(()).unwrap();
        let end = client.until_end();
        assert!(parse(&end, false, true).is_none(), "whole after {rest:?}: {}", support::show(&end));
        house.log.take(cause);
    }
}

#[test]
fn content_that_is_broken_before_any_of_it_was_passed_on_is_a_502_however_it_is_framed() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    for (answer, cause) in [
        (format!("{chunked}5\r\nhello\r\nzz\r\n"), Cause::UpstreamInvalid),
        (format!("{chunked}zz\r\n"), Cause::UpstreamInvalid),
        (format!("{chunked}5\r\nhelloX"), Cause::UpstreamInvalid),
        (chunked.to_owned(), Cause::UpstreamTruncated),
        (format!("{chunked}5\r\n"), Cause::UpstreamTruncated),
        (long.to_owned(), Cause::UpstreamTruncated),
    ] {
        let house = serve(proxy(saying(answer.clone())));
        assert_eq!(house.get("/").status, 502, "{answer}");
        house.log.take(cause);
    }
}

#[test]
fn an_answer_that_breaks_its_coding_is_a_502_or_a_visible_cut_wherever_the_network_cuts_it() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n";
    for cut in 1..answer.len() {
        let address = scripted(has_head, move |mut stream, _| {
            stream.set_nodelay(true).unwrap();
            stream.write_all(&answer[..cut]).unwrap();
            // Two segments, as far as one can have them: the proxy has most likely read the first by then.
            std::thread::yield_now();
            stream.write_all(&answer[cut..]).unwrap();
        });
        let house = serve(proxy(address));
        let mut client = house.client();
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let out = client.until_end();
        match parse(&out, false, true) {
            Some((response, _)) => assert_eq!(response.status, 502, "cut at {cut}"),
            None => assert!(out.starts_with(b"HTTP/1.1 200 "), "cut at {cut}: {}", support::show(&out)),
        }
    }
}

#[test]
fn an_answer_that_breaks_while_the_request_still_goes_out_is_a_502_where_nothing_was_passed_on() {
    for (content, cause) in [("zz\r\n", "5003"), ("", "5004")] {
        let (done, wait): (Sender<()>, Receiver<()>) = channel();
        let address = scripted(has_head, move |mut stream, _| {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{content}");
            stream.write_all(answer.as_bytes()).unwrap();
            if content.is_empty() {
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
            // Nothing of the content is taken, so the proxy has to look at the answer first.
            wait.recv_timeout(PATIENCE).unwrap();
        });
        let house = serve_with(proxy(address), |settings| settings.max_content = None);
        let mut client = house.client();
        let content = vec![b'x'; 8 << 20];
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", content.len());
        client.send(head.as_bytes());
        let _ = client.stream.write_all(&content);
        let out = client.until_end();
        done.send(()).unwrap();
        let (response, _) = parse(&out, false, true).unwrap_or_else(|| panic!("{}", support::show(&out)));
        let seen = house.log.take(Cause::ApplicationError);
        assert_eq!((response.status, seen.detail.contains(cause)), (502, true), "{}", seen.line);
    }
}

#[test]
fn an_upstream_that_is_not_there_is_a_502_that_does_not_tell_the_client_where_it_should_be() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let house = serve(proxy(address));
    let response = house.get("/");
    assert_eq!(
        (response.status, response.text()),
        (502, "502 Bad Gateway: no connection to the upstream could be made.\n")
    );
    let seen = house.log.take(Cause::ApplicationError);
    assert!(seen.detail.starts_with(&format!("http://{address}: 5002 upstream-unreachable")), "{}", seen.line);
    assert!(seen.detail.ends_with("nobody listens there: start it, or correct the address"), "{}", seen.line);
}

#[test]
fn an_upstream_that_goes_away_before_its_answer_is_whole_is_a_502() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"] {
        let house = serve(proxy(saying(answer)));
        assert_eq!(house.get("/").status, 502, "{answer:?}");
        let seen = house.log.take(Cause::ApplicationError);
        assert!(seen.detail.contains("5004 upstream-truncated"), "{answer:?}: {}", seen.line);
    }
}

#[test]
fn an_upstream_that_is_silent_or_slow_is_a_504_after_the_deadline() {
    for answer in
        ["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nA", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"]
    {
        let (done, over) = channel::<()>();
        let address = scripted(has_head, move |mut stream, _| {
            stream.write_all(answer.as_bytes()).unwrap();
            let _ = over.recv_timeout(PATIENCE);
        });
        let short = Duration::from_millis(30);
        let house = serve(proxy(address).first_byte_deadline(short).progress_deadline(short));
        let response = house.get("/");
        assert_eq!(response.status, 504, "{answer:?}: {response:?}");
        assert!(house.log.take(Cause::ApplicationError).detail.contains("5005 upstream-deadline"), "{answer:?}");
        drop(done);
    }
}

#[test]
fn an_upstream_that_drips_its_head_cannot_outlive_the_deadline() {
    let address = scripted(has_head, |mut stream, _| {
        for byte in b"HTTP/1.1 200 OK\r\nA: ".iter().chain(std::iter::repeat(&b'x')) {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            // The upstream that is tested with drips.
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let house = serve(proxy(address).first_byte_deadline(Duration::from_millis(60)));
    assert_eq!(house.get("/").status, 504);
}

#[test]
fn an_upstream_that_takes_no_content_is_a_504() {
    let (done, over) = channel::<()>();
    let address = scripted(has_head, move |stream, _| {
        let _ = over.recv_timeout(PATIENCE);
        drop(stream);
    });
    let change = |settings: &mut doorway::Settings| settings.max_content = None;
    let house = serve_with(proxy(address).progress_deadline(Duration::from_millis(50)), change);
    let mut client = house.client();
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
    let _ = client.stream.write_all(&vec![b'x'; 50_000_000]);
    assert_eq!(house.log.take_accesses(1)[0].0, 504);
    drop(done);
}

#[test]
fn a_client_that_breaks_off_its_content_never_looks_whole_to_the_upstream() {
    for framing in ["Content-Length: 50000", "Transfer-Encoding: chunked"] {
        let (sender, seen) = channel();
        let address = scripted(has_head, move |mut stream, _| {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            sender.send(rest).unwrap();
        });
        let house = serve(proxy(address));
        let mut client = house.client();
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nhello\r\n").as_bytes());
        client.stop_sending();
        let rest = seen.recv_timeout(PATIENCE).unwrap();
        assert!(rest.len() < 50_000 && !rest.ends_with(b"0\r\n\r\n"), "{}", support::show(&rest));
        assert_eq!(client.response().status, 400, "{framing}");
    }
}

#[test]
fn rfc9110_7_6_3_a_proxy_that_leads_to_itself_is_a_508_and_not_a_circle() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let itself = proxy(listener.local_addr().unwrap());
    let log = support::Collected::default();
    let handle = Server::from_listener(listener).threads(4).log(log.clone()).spawn(itself).unwrap();
    let house = House { handle, log };
    let response = house.get("/");
    assert_eq!(
        (response.status, response.text()),
        (508, "508 Loop Detected: the request has been through this proxy before.\n")
    );
}

#[test]
fn rfc9110_7_6_2_max_forwards_counts_down_and_ends_here() {
    let (address, requests) = recording(|_| true);
    let house = serve(proxy(address));
    let ask = |hops| {
        house.ask_one(
            format!("OPTIONS /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nMax-Forwards: {hops}\r\n\r\n").as_bytes(),
        )
    };
    assert_eq!(ask(2).status, 200);
    assert!(requests.recv_timeout(PATIENCE).unwrap().contains("\r\nMax-Forwards: 1\r\n"));
    assert_eq!(ask(0).status, 501);
    assert!(requests.try_recv().is_err());
}

#[test]
fn a_path_that_leaves_the_prefix_is_a_400_and_reaches_no_upstream() {
    let (address, requests) = recording(|_| true);
    let house = serve(Mount::new().at("/api", app::Proxy::to(&format!("http://{address}/v2")).unwrap()));
    for path in ["/api/../secret", "/api/%2e%2e/secret", "/api/..%2Fsecret", "/api/x/..%5c..%5csecret"] {
        assert_eq!(house.get(path).status, 400, "{path}");
    }
    assert!(requests.try_recv().is_err());
}
