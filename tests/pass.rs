//! `app::Pass` over real sockets: what is behind it gets the request, what comes back is as good as from here, and what breaks the
//! protocol is refused with a cause.

mod packets;
#[allow(dead_code)]
#[path = "../examples/probe.rs"]
mod probe;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use doorway::middleware::Mount;
use doorway::{Application, Body, Cause, Door, Environ, Server, StartResponse, app};
use packets::{DOORS, read_record, record};
use support::{House, PATIENCE, Response, parse_all, received, scripted, serve, serve_over, serve_with};

fn pass(door: Door, address: &str) -> app::Pass {
    let pass = match door.name() {
        "uwsgi" => app::Pass::uwsgi(address),
        "scgi" => app::Pass::scgi(address),
        "fastcgi" => app::Pass::fastcgi(address),
        other => panic!("nothing is passed by {other}"),
    };
    pass.unwrap()
}

/// A request without content is whole.
fn whole_of(door: Door) -> fn(&[u8]) -> bool {
    match door.name() {
        "scgi" => |bytes| bytes.ends_with(b"\0,"),
        "uwsgi" => |bytes| bytes.len() > 4 && bytes.len() >= 4 + usize::from(u16::from_le_bytes([bytes[1], bytes[2]])),
        // The end of STDIN, of whichever request.
        _ => |bytes| matches!(*bytes, [.., 1, 5, _, _, 0, 0, 0, 0]),
    }
}

fn saying(door: Door, bytes: impl Into<Vec<u8>>) -> app::Pass {
    let bytes = bytes.into();
    let address = scripted(whole_of(door), move |mut stream, _| {
        let _ = stream.write_all(&bytes);
    });
    pass(door, &address.to_string())
}

/// What a client may compare: no date, and the lines of a description in one order.
fn comparable(responses: Vec<Response>) -> Vec<Response> {
    let sorted = |mut response: Response| {
        if response.body.starts_with(b"method: ") {
            let mut lines: Vec<&[u8]> = response.body.split(|byte| *byte == b'\n').collect();
            lines.sort_unstable();
            response.body = lines.join(&b'\n');
        }
        response.chunks.clear();
        response.timeless()
    };
    responses.into_iter().map(sorted).collect()
}

/// What is comparable of an answer that came through HTTP: the proxy says who asked, and passes the fields of the other server on in their order.
fn through_http(responses: Vec<Response>) -> Vec<Response> {
    let neutral = |mut response: Response| {
        let is_added = |line: &[u8]| line.starts_with(b"header: via=") || line.starts_with(b"header: x-forwarded-");
        if response.body.windows(8).any(|part| part == b"method: ") {
            let lines = response.body.split(|byte| *byte == b'\n').filter(|line| !is_added(line));
            response.body = lines.collect::<Vec<_>>().join(&b'\n');
            response.delimiter = support::Delimiter::None;
        }
        if response.delimiter == support::Delimiter::None {
            response.fields.retain(|(name, _)| name != "Content-Length");
        }
        response.fields.sort_unstable();
        response
    };
    responses.into_iter().map(neutral).collect()
}

#[test]
fn whatever_goes_through_a_door_and_back_is_what_it_would_be_without() {
    let direct = serve_with(probe::application, |settings| settings.max_content = Some(1 << 20));
    let upload = |fields: &str, content: &str| {
        format!("POST /echo?id=x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{fields}\r\n\r\n{content}")
    };
    let plain = upload("Content-Length: 5", "hello");
    let chunked = upload("Transfer-Encoding: chunked", "3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: t\r\n\r\n");
    let long = upload("Content-Length: 300000", &"0123456789".repeat(30_000));
    let one =
        |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{fields}\r\n");
    let mut requests = vec![long, plain.clone()];
    for line in [
        "GET /echo?id=x",
        "HEAD /echo?id=x",
        "DELETE /echo",
        "GET /d%2Fe%E9?p=%41&q=a=b?c=/d&&e=%20+",
        "GET /m%zz%4",
        "GET //echo",
        "GET /",
        "GET /length",
        "HEAD /length",
        "GET /stream",
        "HEAD /stream",
        "GET /empty",
        "GET /status/204",
        "GET /status/304",
        "GET /body204",
        "GET /big",
        "HEAD /big",
        "GET /cookies",
        "GET /long",
        "GET /crash",
        "GET /bad-header",
        "GET /none",
    ] {
        requests.push(one(line, "X-A: 1\r\nX-a: 2\r\nCookie: a=b\r\nCookie: c=d\r\nX-Empty:\r\nAccept: */*\r\n"));
    }
    for door in DOORS.into_iter().chain([Door::Http]) {
        let behind = Server::bind("127.0.0.1:0").unwrap().door(door);
        let behind = serve_over(behind, probe::application, |settings| settings.max_content = Some(1 << 20));
        let address = behind.tcp().to_string();
        let application: Box<dyn Application> = if door == Door::Http {
            Box::new(app::Proxy::to(&format!("http://{address}")).unwrap().keep_host())
        } else {
            Box::new(pass(door, &address))
        };
        let looped = serve_with(application, |settings| settings.max_content = Some(1 << 20));
        for request in &requests {
            let begin = &request[..request.len().min(80)];
            let mut expected = comparable(direct.ask(request.as_bytes()));
            let mut found = comparable(looped.ask(request.as_bytes()));
            if door == Door::Http {
                (expected, found) = (through_http(expected), through_http(found));
            } else if expected[0].delimiter == support::Delimiter::Chunked {
                // What is there within a moment has a length on the way back.
                for response in expected.iter_mut().chain(&mut found) {
                    response.delimiter = support::Delimiter::None;
                    response.fields.retain(|(name, _)| name != "Content-Length" && name != "Transfer-Encoding");
                }
            }
            assert_eq!(found, expected, "{door:?}: {begin}");
        }
        // The length that the chunked coding does not say is said on the way, but by HTTP, which has that coding too.
        let as_if = if door == Door::Http { &chunked } else { &plain };
        let expected = through_http(comparable(direct.ask(as_if.as_bytes())));
        assert_eq!(through_http(comparable(looped.ask(chunked.as_bytes()))), expected, "{door:?}: chunked");
        // What is cut there is cut here, where the protocol can tell.
        let cut = |house: &House, target: &str| {
            let mut client = house.client();
            client.send(one(&format!("GET {target}"), "").as_bytes());
            // Nothing has been sent where it is cut within a moment.
            support::parse(&client.until_end(), false, true).is_none_or(|(response, _)| response.status == 502)
        };
        // Short content is waited for, so that it is an error here and no cut.
        assert_eq!(looped.ask_one(one("GET /short", "").as_bytes()).status, 502, "{door:?}");
        assert_eq!(cut(&looped, "/crash-mid"), [Door::FastCgi, Door::Http].contains(&door), "{door:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_an_address_too() {
    for door in DOORS {
        let path = std::env::temp_dir().join(format!("doorway-pass-{}-{}", door.name(), std::process::id()));
        let behind = serve_over(Server::bind_unix(&path).unwrap().door(door), app::demo, |_| {});
        let house = serve(pass(door, &format!("unix:{}", path.display())));
        assert!(house.get("/here").text().contains("PATH_INFO = \"/here\"\n"), "{door:?}");
        drop(behind);
    }
}

#[test]
fn p_env_15_no_field_of_a_client_becomes_another_variable() {
    let house_behind = |door| serve_over(Server::bind("127.0.0.1:0").unwrap().door(door), app::demo, |_| {});
    for door in DOORS {
        let behind = house_behind(door);
        let house = serve(Mount::new().at("/app", pass(door, &behind.tcp().to_string())));
        let response = house.ask_one(
            b"GET /app/x?y HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\nProxy: evil\r\nUWSGI_FILE: evil\r\n\
            X_Under: evil\r\nX-Fine: yes\r\nContent-Type: text/x\r\n\r\n",
        );
        let text = response.text();
        assert!(!text.contains("evil"), "{door:?}: {text}");
        for line in [
            "HTTP_X_FINE = \"yes\"",
            "CONTENT_TYPE = \"text/x\"",
            "REMOTE_ADDR = \"127.0.0.1\"",
            "QUERY_STRING = \"y\"",
        ] {
            assert!(text.contains(line), "{door:?}: {line}\n{text}");
        }
    }
}

#[test]
fn a_response_comes_block_by_block_at_every_door() {
    for door in DOORS {
        let (go, wait): (Sender<()>, Receiver<()>) = channel();
        let address = scripted(whole_of(door), move |mut stream, _| {
            let part = |text: &str| if door == Door::FastCgi { record(6, 1, text.as_bytes(), 0) } else { text.into() };
            stream.write_all(&part("Content-Type: text/plain\r\n\r\none")).unwrap();
            wait.recv_timeout(PATIENCE).unwrap();
            stream.write_all(&part("two")).unwrap();
            stream.write_all(&if door == Door::FastCgi { record(3, 1, &[0; 8], 0) } else { Vec::new() }).unwrap();
        });
        let house = serve(pass(door, &address.to_string()));
        let mut client = house.client();
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.until(b"one");
        go.send(()).unwrap();
        let whole = parse_all(&client.until_close(), &[]);
        assert_eq!(whole[0].text(), "onetwo", "{door:?}");
    }
}

#[test]
fn an_answer_that_could_be_read_in_two_ways_is_a_502_with_its_cause_in_the_log() {
    let huge = format!("A: b\r\n{}", format!("B: {}\r\n", "x".repeat(8_000)).repeat(20));
    for door in DOORS {
        for (answer, cause) in [
            ("Status: 200 OK\r\nA: b\nB: c\r\n\r\n", "1001"),
            ("A: b\nB: c\r\n\n", "5003"),
            ("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "1029"),
            ("Content-Length: +5\r\n\r\nhello", "2001"),
            ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "5003"),
            ("Status: 200 OK\r\nStatus: 404 Not Found\r\n\r\n", "1029"),
            ("Status: 999 What\r\n\r\n", "5003"),
            ("A : b\r\n\r\n", "1022"),
            ("A: \0\r\n\r\n", "1025"),
            ("Location: /a\r\n\tX: y\r\n\r\n", "1024"),
            ("nothing of the kind\r\n\r\n", "5003"),
            (&huge, "1028"),
        ] {
            serve(saying(door, enclosed(door, answer))).has_a_broken_upstream(cause);
        }
    }
}

#[test]
fn a_head_without_end_is_a_502_and_is_not_read_to_its_end() {
    const LINE: &[u8] =
        b"A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
    const MOST: usize = 100 * 1000 * 1000;
    for door in DOORS {
        let block = match door == Door::FastCgi {
            true => record(6, 1, &LINE.repeat(500), 0),
            false => LINE.repeat(500),
        };
        let (sender, written) = channel();
        let address = scripted(whole_of(door), move |mut stream, _| {
            let blocks = (0..MOST / block.len()).take_while(|_| stream.write_all(&block).is_ok()).count();
            sender.send(blocks * block.len()).unwrap();
        });
        serve(pass(door, &address.to_string())).has_a_broken_upstream("1028");
        // What the system had room for on the way.
        let written = written.recv_timeout(PATIENCE).unwrap();
        assert!(written < MOST / 4, "{door:?}: {written} bytes");
    }
}

fn enclosed(door: Door, answer: &str) -> Vec<u8> {
    match door == Door::FastCgi {
        true => answer.as_bytes().chunks(60_000).flat_map(|part| record(6, 1, part, 0)).collect(),
        false => answer.as_bytes().to_vec(),
    }
}

#[test]
fn an_answer_that_ends_too_early_is_a_502_and_one_that_does_not_come_is_a_504() {
    for door in DOORS {
        for answer in ["", "Content-Type: text/", "Content-Length: 5\r\n\r\nhel"] {
            let bytes = if door == Door::FastCgi { record(6, 1, answer.as_bytes(), 0) } else { answer.into() };
            assert_eq!(serve(saying(door, bytes.clone())).get("/").status, 502, "{door:?} {answer:?}");
            let (done, over) = channel::<()>();
            let address = scripted(whole_of(door), move |mut stream, _| {
                stream.write_all(&bytes).unwrap();
                let _ = over.recv_timeout(PATIENCE);
            });
            let short = Duration::from_millis(30);
            let slow = pass(door, &address.to_string()).first_byte_deadline(short).progress_deadline(short);
            let house = serve(slow);
            assert_eq!(house.get("/").status, 504, "{door:?} {answer:?}");
            drop(done);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let house = serve(pass(door, &address.to_string()));
        assert_eq!(house.get("/").status, 502);
        let seen = house.log.take(Cause::ApplicationError);
        assert!(seen.detail.starts_with(&format!("{} {address}: 5002 ", door.name())), "{}", seen.line);
    }
}

#[test]
fn content_without_a_length_is_gathered_and_beyond_the_limit_refused_with_411() {
    fn length(environ: &Environ, start_response: &mut StartResponse) -> std::io::Result<Body> {
        let mut content = Vec::new();
        environ.input().read_to_end(&mut content)?;
        start_response.start("200 OK", &[]);
        Ok(Body::from(format!("{:?} {}", environ.content_length(), content.len())))
    }
    for door in DOORS {
        let behind = serve_over(Server::bind("127.0.0.1:0").unwrap().door(door), length, |_| {});
        let house = serve(pass(door, &behind.tcp().to_string()).gather(1_000));
        for (size, status, text) in [(1_000, 200, "Some(1000) 1000"), (1_001, 411, "411 Length Required")] {
            let request = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n",
                "x".repeat(size)
            );
            let response = house.ask_one(request.as_bytes());
            assert_eq!(response.status, status);
            assert!(response.text().starts_with(text), "{door:?}: {}", response.text());
        }
    }
}

#[test]
fn content_and_answer_may_be_on_their_way_at_the_same_time() {
    fn echo(environ: &Environ, start_response: &mut StartResponse) -> std::io::Result<Body> {
        let mut writer = start_response.start("200 OK", &[]);
        std::io::copy(&mut environ.input(), &mut writer)?;
        Ok(Body::empty())
    }
    const LENGTH: usize = 6_000_000;
    for door in DOORS {
        let change = |settings: &mut doorway::Settings| settings.max_content = None;
        let behind = serve_over(Server::bind("127.0.0.1:0").unwrap().door(door), echo, change);
        let house = serve_with(pass(door, &behind.tcp().to_string()), change);
        let mut client = house.client();
        let mut writer = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            write!(writer, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n")
                .unwrap();
            writer.write_all(&vec![b'x'; LENGTH]).unwrap();
        });
        let response = client.response();
        sender.join().unwrap();
        assert_eq!((response.status, response.body.len()), (200, LENGTH), "{door:?}");
    }
}

// ------------------------------------------------------------------------------------------------------- FastCGI only

/// The answer to a request, by the id that it has.
fn answer_to(request: &[u8], content: &str) -> Vec<u8> {
    let id = u16::from_be_bytes([request[2], request[3]]);
    [record(6, id, format!("A: b\r\n\r\n{content}").as_bytes(), 0), record(3, id, &[0; 8], 0)].concat()
}

/// Serves so many requests on each connection, counting connections and requests.
fn counting(requests: usize) -> (SocketAddr, Receiver<(usize, usize)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            for request in 0..requests {
                let bytes = received(&mut stream, whole_of(Door::FastCgi));
                if bytes.is_empty() {
                    break;
                }
                sender.send((number, request)).unwrap();
                stream.write_all(&answer_to(&bytes, "fine")).unwrap();
            }
        }
    });
    (address, seen)
}

#[test]
fn fastcgi_3_5_a_connection_is_kept_for_the_next_request() {
    let (address, seen) = counting(usize::MAX);
    let house = serve(pass(Door::FastCgi, &address.to_string()));
    for request in 0..5 {
        assert_eq!(house.get("/").text(), "fine");
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), (0, request));
    }
}

#[test]
fn fastcgi_3_3_what_comes_late_for_the_request_before_is_nobodys_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut first = Vec::new();
        for content in ["fine", "evil"] {
            let bytes = received(&mut stream, whole_of(Door::FastCgi));
            if first.is_empty() {
                first = bytes;
            }
            stream.write_all(&answer_to(&first, content)).unwrap();
        }
        // It goes on listening: what is wrong is the id alone.
        let _ = stream.read(&mut [0]);
    });
    let house = serve(pass(Door::FastCgi, &address.to_string()));
    assert_eq!(house.get("/").text(), "fine");
    let late = house.get("/");
    assert_eq!(late.status, 502, "{}", late.text());
    assert!(house.log.take(Cause::ApplicationError).detail.contains("5003"));
}

#[test]
fn an_answer_without_a_length_that_is_there_within_a_moment_is_off_the_hands_of_whoever_made_it() {
    let long = "x".repeat(20_000);
    let answer = [
        record(6, 1, format!("A: b\r\n\r\n{long}").as_bytes(), 0),
        record(6, 1, long.as_bytes(), 0),
        record(3, 1, &[0; 8], 0),
    ];
    for (most, is_gathered) in [(39_999, false), (40_000, true)] {
        let response = serve(saying(Door::FastCgi, answer.concat()).gather_answer(most)).get("/");
        assert_eq!((response.status, response.body.len()), (200, 40_000));
        assert_eq!(matches!(response.delimiter, support::Delimiter::Length(_)), is_gathered, "{most}");
    }
}

#[test]
fn an_answer_that_claims_more_than_there_is_memory_for_ends_no_process() {
    let answer = format!("Content-Length: {}\r\n\r\nhello", i64::MAX);
    let house = serve(saying(Door::Scgi, answer).gather_answer(usize::MAX));
    assert_eq!(house.get("/").status, 502);
    assert!(house.log.take(Cause::ApplicationError).detail.contains("5004 upstream-truncated"));
}

/// Somebody at a Unix socket who answers every request at its head, with this at the first and `fine` at the others, and reads on; tells on which
/// connection it was asked.
#[cfg(unix)]
fn at_heads(name: &str, first: String) -> (String, Receiver<usize>) {
    let path = std::env::temp_dir().join(format!("doorway-pass-{}-{name}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (mut stream, sender, first) = (stream.unwrap(), sender.clone(), first.clone());
            std::thread::spawn(move || {
                let (mut bytes, mut byte) = (Vec::new(), [0]);
                while stream.read(&mut byte).is_ok_and(|length| length > 0) {
                    bytes.push(byte[0]);
                    if bytes.ends_with(b"\0,") {
                        let is_first = number == 0 && !bytes.windows(9).any(|part| part == b"\0/second\0");
                        stream.write_all(if is_first { first.as_bytes() } else { FINE.as_bytes() }).unwrap();
                        sender.send(number).unwrap();
                        bytes.clear();
                    }
                    if bytes.starts_with(b"xx") {
                        // Content: this one reads nothing of it, and does not close either.
                        return std::thread::sleep(PATIENCE);
                    }
                }
            });
        }
    });
    (format!("unix:{}", path.display()), seen)
}

#[cfg(unix)]
const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

#[cfg(unix)]
#[test]
fn rfc9112_9_3_a_connection_is_kept_where_the_answer_allows_it_and_nothing_behind_an_answer_is_one() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n";
    let evil = FINE.replace("fine", "evil");
    let get = "GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let long = "x".repeat(1_000_000);
    let post = format!("POST /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n{long}");
    for (name, request, first, is_kept) in [
        ("length", get, FINE.to_owned(), true),
        ("chunked", get, CHUNKED.to_owned(), true),
        ("head", &get.replace("GET", "HEAD"), FINE.replace("fine", ""), true),
        ("close", get, FINE.replace("\r\n\r\n", "\r\nConnection: x, Close\r\n\r\n"), false),
        ("old", get, FINE.replace("/1.1", "/1.0"), false),
        ("cgi", get, FINE.replace("HTTP/1.1", "Status:"), false),
        ("behind-length", get, format!("{FINE}{evil}"), false),
        ("behind-chunks", get, format!("{CHUNKED}{evil}"), false),
        ("behind-nothing", get, format!("HTTP/1.1 304 Not Modified\r\n\r\n{evil}"), false),
        ("content-unread", &post, FINE.to_owned(), false),
    ] {
        let (address, seen) = at_heads(name, first);
        let house = serve(pass(Door::Scgi, &address).kept());
        assert!(house.ask_one(request.as_bytes()).status < 400, "{name}");
        assert_eq!(house.get("/second").text(), "fine", "{name}");
        let connections: Vec<usize> = seen.iter().take(2).collect();
        assert_eq!(connections, [0, usize::from(!is_kept)], "{name}");
        std::fs::remove_file(address.strip_prefix("unix:").unwrap()).unwrap();
    }
}

#[test]
fn rfc9110_9_2_2_a_kept_connection_that_was_closed_is_replaced_and_nothing_is_lost() {
    let (address, seen) = counting(2);
    let house = serve(pass(Door::FastCgi, &address.to_string()));
    for request in 0..6 {
        assert_eq!(house.get("/").text(), "fine", "{request}");
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), (request / 2, request % 2));
    }
}

#[test]
fn rfc9110_9_2_2_what_may_have_had_an_effect_is_not_asked_twice() {
    // Takes a second request on its connection, says nothing and closes.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            for is_second in [false, true] {
                let bytes = received(&mut stream, whole_of(Door::FastCgi));
                if !bytes.is_empty() {
                    sender.send(is_second).unwrap();
                }
                if !is_second {
                    stream.write_all(&answer_to(&bytes, "fine")).unwrap();
                }
            }
        }
    });
    let house = serve(pass(Door::FastCgi, &address.to_string()));
    let ask = |method: &str| {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        house.ask_one(request.as_bytes()).status
    };
    assert_eq!(ask("GET"), 200);
    assert_eq!(ask("POST"), 502);
    assert_eq!(ask("GET"), 200);
    assert_eq!(ask("GET"), 200, "asked again on a connection of its own");
    let calls: Vec<bool> = seen.try_iter().collect();
    assert_eq!(calls, [false, true, false, true, false]);
}

#[cfg(unix)]
#[test]
fn fastcgi_3_5_a_connection_on_which_half_a_request_lies_is_not_kept() {
    let path = std::env::temp_dir().join(format!("doorway-pass-half-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (mut stream, sender) = (stream.unwrap(), sender.clone());
            std::thread::spawn(move || {
                let (mut bytes, mut byte) = (Vec::new(), [0]);
                while stream.read(&mut byte).is_ok_and(|length| length > 0) {
                    bytes.push(byte[0]);
                    if bytes.ends_with(&record(4, 1, b"", 0)) {
                        sender.send(number).unwrap();
                        let head = b"Content-Length: 4\r\n\r\nfine";
                        stream.write_all(&[record(6, 1, head, 0), record(3, 1, &[0; 8], 0)].concat()).unwrap();
                        if bytes.windows(4).any(|part| part == b"POST") {
                            // It answers by the head alone, reads nothing of the content and does not close either.
                            return std::thread::sleep(PATIENCE);
                        }
                        bytes.clear();
                    }
                }
            });
        }
    });
    let pass = pass(Door::FastCgi, &format!("unix:{}", path.display())).progress_deadline(Duration::from_secs(2));
    let house = serve(pass);
    let long = "x".repeat(1_000_000);
    let post = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n{long}");
    assert_eq!(house.ask_one(post.as_bytes()).text(), "fine");
    let next = house.get("/next");
    std::fs::remove_file(path).unwrap();
    assert_eq!((next.status, next.text()), (200, "fine"));
    assert_eq!(seen.iter().take(2).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn fastcgi_3_5_whoever_goes_on_behind_a_whole_answer_without_end_is_left() {
    const MOST: usize = 100 * 1000 * 1000;
    let (sender, written) = channel();
    let address = scripted(whole_of(Door::FastCgi), move |mut stream, _| {
        stream.write_all(&record(6, 1, b"Content-Length: 4\r\n\r\nfine", 0)).unwrap();
        let more = record(6, 1, &[b'x'; 60_000], 0);
        let blocks = (0..MOST / more.len()).take_while(|_| stream.write_all(&more).is_ok()).count();
        sender.send(blocks * more.len()).unwrap();
    });
    let house = serve(pass(Door::FastCgi, &address.to_string()));
    for _ in 0..3 {
        assert_eq!(house.get("/").text(), "fine");
        // What the system had room for on the way.
        let written = written.recv_timeout(PATIENCE).unwrap();
        assert!(written < MOST / 4, "{written} bytes");
    }
}

#[test]
fn p_in_01_content_that_reached_no_server_is_there_for_the_next_one_that_is_asked() {
    fn content(environ: &Environ, start_response: &mut StartResponse) -> std::io::Result<Body> {
        let mut content = Vec::new();
        environ.input().read_to_end(&mut content)?;
        start_response.start("200 OK", &[]);
        Ok(Body::from(content))
    }
    for door in DOORS {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let behind = serve_over(Server::bind("127.0.0.1:0").unwrap().door(door), content, |_| {});
        let servers = [pass(door, &nobody.to_string()), pass(door, &behind.tcp().to_string())];
        let house = serve(move |environ: &Environ, start_response: &mut StartResponse| {
            servers.iter().find_map(|server| server.try_call(environ, start_response).ok()).unwrap()
        });
        for fields in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
            let request = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}");
            assert_eq!(house.ask_one(request.as_bytes()).text(), "hello", "{door:?} {fields:?}");
        }
    }
}

#[test]
fn fastcgi_5_4_a_client_that_leaves_aborts_its_request() {
    let (sender, seen) = channel();
    let address = scripted(whole_of(Door::FastCgi), move |mut stream, _| {
        let blocks = [record(6, 1, b"A: b\r\n\r\n", 0), record(6, 1, &[b'x'; 60_000], 0).repeat(4)].concat();
        let mut bytes = Vec::new();
        stream.write_all(&blocks).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || while writer.write_all(&record(6, 1, &[b'x'; 60_000], 0)).is_ok() {});
        let mut byte = [0; 8];
        while bytes.len() < 8 && stream.read(&mut byte).is_ok_and(|length| length > 0) {
            bytes.extend_from_slice(&byte);
        }
        drop(stream);
        let _ = writing.join();
        sender.send(bytes).unwrap();
    });
    let house = serve(pass(Door::FastCgi, &address.to_string()));
    let mut client = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.until(b"xxx");
    drop(client);
    let bytes = seen.recv_timeout(PATIENCE).unwrap();
    assert_eq!(read_record(&bytes).0, 2, "ABORT_REQUEST");
}

#[test]
fn fastcgi_stderr_goes_to_the_log_line_by_line_and_never_to_the_client() {
    let answer = [
        record(7, 1, b"PHP Warning: one\nPHP Notice: t", 5),
        record(6, 1, b"A: b\r\n\r\nfine", 0),
        record(7, 1, b"wo\n", 0),
        record(3, 1, &[0; 8], 0),
    ]
    .concat();
    let house = serve(saying(Door::FastCgi, answer));
    assert_eq!(house.get("/").text(), "fine");
    let texts = house.log.texts();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("fastcgi 127.0.0.1:") && texts[0].ends_with(": PHP Warning: one\n"), "{texts:?}");
    assert!(texts[1].ends_with(": PHP Notice: two\n"), "{texts:?}");
}

#[test]
fn fastcgi_5_5_a_server_that_is_overloaded_is_a_503() {
    let house = serve(saying(Door::FastCgi, record(3, 1, &[0, 0, 0, 0, 2, 0, 0, 0], 0)));
    assert_eq!(house.get("/").status, 503);
    assert!(house.log.take(Cause::ApplicationError).detail.contains("5008 upstream-busy"));
}

#[test]
fn rfc3875_4_1_13_a_script_is_named_by_its_file_and_a_path_that_is_none_reaches_nobody() {
    let folder = std::env::temp_dir().join(format!("doorway-pass-root-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    for name in ["index.php", "sub/index.php", "secret.txt"] {
        std::fs::write(folder.join(name), "").unwrap();
    }
    let root = folder.canonicalize().unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&called);
    let interpreter = move |environ: &Environ, start_response: &mut StartResponse| {
        calls.fetch_add(1, Ordering::Relaxed);
        app::demo(environ, start_response)
    };
    let behind = serve_over(Server::bind("127.0.0.1:0").unwrap().door(Door::FastCgi), interpreter, |_| {});
    let php = pass(Door::FastCgi, &behind.tcp().to_string()).script_root(&folder).unwrap();
    let house = serve(Mount::new().at("/app", php));
    for (target, file, rest) in [
        ("/app/", "index.php", None),
        ("/app/index.php/a/b%20c?d", "index.php", Some("/a/b c")),
        ("/app/sub/", "sub/index.php", None),
    ] {
        let response = house.get(target);
        let text = response.text();
        assert!(text.contains(&format!("SCRIPT_FILENAME = \"{}\"\n", root.join(file).display())), "{target}: {text}");
        assert!(text.contains(&format!("DOCUMENT_ROOT = \"{}\"\n", root.display())), "{target}: {text}");
        // The door joins what it is told; the interpreter gets both.
        let path = format!("PATH_INFO = \"/app/{file}{}\"\n", rest.unwrap_or_default());
        assert!(text.contains(&path), "{target}: {text}");
    }
    let moved = house.get("/app/sub?x=y");
    assert_eq!((moved.status, moved.field("Location")), (301, Some("./sub/?x=y")));
    assert_eq!(called.load(Ordering::Relaxed), 3);
    for target in
        ["/app/none.php", "/app/secret.txt", "/app/../index.php", "/app/sub/%2e%2e/index.php", "/app/index.php%00"]
    {
        let status = house.get(target).status;
        assert!(status == 404 || status == 400, "{target}: {status}");
    }
    assert_eq!(called.load(Ordering::Relaxed), 3);
    std::fs::remove_dir_all(folder).unwrap();
}
