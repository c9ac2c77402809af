//! Connections that an application takes over behind `101 Switching Protocols`: when it may, what it gets, and what the server still sees to.

mod support;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use doorway::middleware::{AccessLog, BasicAuth, Buffered, ConditionalGet, Cors, ErrorPages, Lint, Normalize};
use doorway::{Application, Body, Cause, Door, Environ, Phase, Response, Server, StartResponse, Stats, Upgraded};
use support::{Collected, House, Kept, PATIENCE, locked, serve, serve_with};

const OFFER: &str = "GET /e HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h9, Echo\r\n\r\n";

/// Sends back what it reads, until the client stops.
fn echo_all(mut connection: Box<dyn Upgraded>) {
    let mut room = [0; 1024];
    while let Ok(length @ 1..) = connection.read(&mut room) {
        if connection.write_all(&room[..length]).is_err() {
            break;
        }
    }
    // It can still say something to a client that has stopped sending.
    let _ = connection.write_all(b"bye");
}

/// Switches where it can, and says what it was offered where it cannot.
fn echo(environ: &Environ, start_response: &mut StartResponse) -> Body {
    if !environ.offers_upgrade("echo") {
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        return Body::from(format!("offered {:?}", environ.get("doorway.upgrade")));
    }
    start_response.start("101 Switching Protocols", &[("X-A", "b")]);
    Body::upgrade("echo", echo_all)
}

/// Whatever it is asked.
fn always(status: &'static str, body: fn() -> Body) -> impl Application {
    move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start(status, &[]);
        body()
    }
}

#[test]
fn rfc9110_7_8_the_connection_is_the_applications_when_the_client_offers_and_the_application_switches() {
    let house = serve(echo);
    let mut client = house.client();
    // What is sent behind the head without waiting belongs to the new protocol.
    client.send(format!("{OFFER}one").as_bytes());
    let response = client.response();
    assert_eq!((response.status, response.reason.as_str()), (101, "Switching Protocols"));
    assert_eq!((response.field("Upgrade"), response.field("Connection")), (Some("echo"), Some("Upgrade")));
    assert_eq!(response.field("X-A"), Some("b"));
    client.until(b"one");
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    client.stop_sending();
    assert_eq!(client.until_close(), b"oneGET / HTTP/1.1\r\n\r\nbye");
    assert_eq!(house.log.take_accesses(1), [(101, 24)], "logged at its end, with what was sent");
    assert!(house.log.reports().is_empty(), "{:?}", house.log.reports());
    assert_eq!(house.handle.shutdown(PATIENCE).open, 0);
}

#[test]
fn rfc9110_7_8_nothing_is_offered_by_http_1_0_with_content_or_without_connection() {
    let house = serve(echo);
    for (head, offered) in [
        ("GET / HTTP/1.1\r\nConnection: close, upgrade\r\nUpgrade: x/1, y", "Some(\"x/1, y\")"),
        ("HEAD / HTTP/1.1\r\nConnection: close, upgrade\r\nUpgrade: x", ""),
        ("POST / HTTP/1.1\r\nConnection: close, upgrade\r\nUpgrade: x\r\nContent-Length: 0", "Some(\"x\")"),
        ("GET / HTTP/1.1\r\nConnection: close\r\nUpgrade: echo", "None"),
        ("GET / HTTP/1.1\r\nConnection: close, upgrade", "None"),
        ("GET / HTTP/1.1\r\nConnection: close, upgrade\r\nUpgrade:", "Some(\"\")"),
        ("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo", "None"),
        ("GET / HTTP/1.1\r\nConnection: close, upgrade\r\ndoorway.upgrade: echo\r\nDoorway-Upgrade: echo", "None"),
        ("POST / HTTP/1.1\r\nConnection: close, upgrade\r\nUpgrade: echo\r\nContent-Length: 1\r\n\r\nx", "None"),
        (
            "POST / HTTP/1.1\r\nConnection: close, upgrade\r\nUpgrade: echo\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "None",
        ),
    ] {
        let (head, content) = head.split_once("\r\n\r\n").unwrap_or((head, ""));
        let response = house.ask_one(format!("{head}\r\nHost: a\r\n\r\n{content}").as_bytes());
        assert_eq!(response.status, 200, "{head}");
        let expected = if offered.is_empty() { String::new() } else { format!("offered {offered}") };
        assert_eq!(response.text(), expected, "{head}");
    }
}

#[test]
fn rfc9112_9_3_2_requests_before_it_are_answered_first_and_what_follows_is_no_request() {
    let house = serve(echo);
    let mut client = house.client();
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("{get}{get}{OFFER}{get}").as_bytes());
    assert_eq!([client.response().status, client.response().status, client.response().status], [200, 200, 101]);
    client.stop_sending();
    assert_eq!(client.until_close(), format!("{get}bye").as_bytes());
    assert_eq!(house.handle.shutdown(PATIENCE).served, 3);
}

#[test]
fn a_head_is_answered_as_any_other_method() {
    let house = serve(echo);
    let mut client = house.client();
    client.send(OFFER.replace("GET", "HEAD").as_bytes());
    assert_eq!(client.response_to("HEAD").status, 101);
    client.send(b"x");
    client.until(b"x");
}

#[test]
fn one_without_the_other_is_a_500_and_never_an_interim_response() {
    let write = |_: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
        start_response.start("101 Switching Protocols", &[]).write_all(b"x")?;
        Ok(Body::upgrade("echo", |_| ()))
    };
    let spoilt = |environ: &Environ, start_response: &mut StartResponse| {
        // As middleware that takes a body apart.
        Body::blocks(echo(environ, start_response).into_blocks())
    };
    let applications: [(Box<dyn Application>, &str); 7] = [
        (Box::new(always("101 Switching Protocols", Body::empty)), "101 without Body::upgrade"),
        (Box::new(always("101 Switching Protocols", || "x".into())), "101 without Body::upgrade"),
        (Box::new(always("200 OK", || Body::upgrade("echo", |_| ()))), "the status is not 101"),
        (Box::new(always("101 Switching Protocols", || Body::upgrade("other", |_| ()))), "has not offered"),
        (Box::new(always("101 Switching Protocols", || Body::upgrade("", |_| ()))), "has not offered"),
        (Box::new(write), "content behind 101"),
        (Box::new(spoilt), "101 without Body::upgrade"),
    ];
    for (application, detail) in applications {
        let house = serve(application);
        let mut client = house.client();
        client.send(OFFER.as_bytes());
        assert_eq!(client.response().status, 500, "{detail}");
        let seen = house.log.take(Cause::UpgradeMisused);
        assert!(seen.detail.contains(detail), "{}", seen.line);
        // Nothing has happened to the connection.
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_ne!(client.response().status, 101);
        client.is_closed();
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        // A second panic in the same thread would be an abort.
        assert!(thread::panicking(), "on purpose, while dropped");
    }
}

/// Whatever it is, the client has its answer before what it is made of is dropped.
#[test]
fn p_err_06_a_body_behind_101_that_panics_when_it_is_dropped_is_a_500_like_any_other() {
    let blocks = || {
        let bomb = Bomb;
        Body::blocks(std::iter::from_fn(move || {
            let _own = &bomb;
            Some("x")
        }))
    };
    let other = || {
        let bomb = Bomb;
        Body::upgrade("other", move |_| drop(bomb))
    };
    for body in [blocks as fn() -> Body, other] {
        let house = serve(always("101 Switching Protocols", body));
        let mut client = house.client();
        client.send(OFFER.as_bytes());
        assert_eq!(client.response().status, 500);
        house.log.take(Cause::UpgradeMisused);
        house.log.take(Cause::ClosePanic);
    }
}

#[test]
fn p_err_06_what_is_refused_past_the_limit_and_panics_when_it_is_dropped_is_a_503_like_any_other() {
    let body = || {
        let bomb = Bomb;
        Body::upgrade("echo", move |_| drop(bomb))
    };
    let house = serve_with(always("101 Switching Protocols", body), |settings| settings.upgrades = 0);
    let mut client = house.client();
    client.send(OFFER.as_bytes());
    assert_eq!(client.response().status, 503);
    house.log.take(Cause::UpgradeLimit);
    house.log.take(Cause::ClosePanic);
}

#[test]
fn no_other_interim_status_can_be_started() {
    for status in ["100 Continue", "102 Processing", "103 Early Hints", "199 x"] {
        let house = serve(always(status, Body::empty));
        let mut client = house.client();
        client.send(OFFER.as_bytes());
        assert_eq!(client.response().status, 500, "{status}");
        house.log.take(Cause::StatusInvalid);
    }
}

#[test]
fn g_05_there_is_no_upgrade_at_the_doors_of_front_servers() {
    let log = Collected::default();
    let server = Server::bind("127.0.0.1:0").unwrap().door(Door::Scgi).log(log.clone());
    let handle = server.spawn(always("101 Switching Protocols", || Body::upgrade("echo", |_| ()))).unwrap();
    let block = "CONTENT_LENGTH\x000\0SCGI\x001\0REQUEST_METHOD\0GET\0REQUEST_URI\0/\0SERVER_PROTOCOL\0HTTP/1.1\0\
        HTTP_UPGRADE\0echo\0HTTP_CONNECTION\0upgrade\0doorway.upgrade\0echo\0";
    let mut client = TcpStream::connect(handle.addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(client, "{}:{block},", block.len()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("Status: 500 "), "{answer}");
    assert!(log.take(Cause::UpgradeMisused).detail.contains("has not offered"));
}

#[test]
fn a_deployer_cannot_make_an_offer_that_the_client_has_not_made() {
    let server = Server::bind("127.0.0.1:0").unwrap().env("doorway.upgrade", "echo");
    let house = support::serve_over(server, echo, |_| {});
    assert_eq!(house.ask_one(b"GET / HTTP/1.0\r\n\r\n").status, 500);
    house.log.take(Cause::UpgradeMisused);
}

#[test]
fn past_the_limit_is_a_503_and_a_place_is_free_again_when_one_has_ended() {
    let house = serve_with(echo, |settings| settings.upgrades = 1);
    let mut first = house.client();
    first.send(OFFER.as_bytes());
    assert_eq!(first.response().status, 101);
    let mut second = house.client();
    second.send(OFFER.as_bytes());
    let refused = second.response();
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("5")));
    assert_eq!(house.log.take(Cause::UpgradeLimit).cause.number(), 3017);
    first.stop_sending();
    assert_eq!(first.until_close(), b"bye");
    house.until("one connection less", |stats| stats.open == 0);
    let mut third = house.client();
    third.send(OFFER.as_bytes());
    assert_eq!(third.response().status, 101);
}

#[test]
fn a_quarter_of_all_connections_is_never_theirs_so_that_others_can_come_in() {
    for (most, theirs) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        let house = serve_with(echo, |settings| settings.max_connections = most);
        let mut clients: Vec<_> = (0..=theirs).map(|_| house.client()).collect();
        let answers = clients.iter_mut().map(|client| {
            client.send(OFFER.as_bytes());
            client.response().status
        });
        let answers: Vec<_> = answers.collect();
        assert!(answers[..theirs].iter().all(|status| *status == 101) && answers[theirs] == 503, "{most} {answers:?}");
        assert_eq!(house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status, 200);
    }
}

#[test]
fn they_hold_no_thread_of_the_pool() {
    let house = serve(echo);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = house.client();
            client.send(OFFER.as_bytes());
            assert_eq!(client.response().status, 101);
            client
        })
        .collect();
    // The pool has two.
    assert_eq!(house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status, 200);
    let upgraded = |stats: &Stats| stats.phases().find(|(phase, _)| *phase == Phase::Upgraded).map(|(_, count)| count);
    house.until("eight are elsewhere, and the pool is free", |stats| {
        (stats.open, stats.busy, upgraded(stats)) == (8, 0, Some(8))
    });
    drop(clients);
    house.until("all ended", |stats| stats.open == 0);
}

#[test]
fn a_stop_waits_for_them_as_for_calls() {
    let house = serve(echo);
    let mut client = house.client();
    client.send(OFFER.as_bytes());
    assert_eq!(client.response().status, 101);
    house.handle.stopper().stop_within(PATIENCE);
    client.send(b"still there");
    client.until(b"still there");
    client.stop_sending();
    assert_eq!(client.until_close(), b"still therebye");
    house.handle.join();
}

#[test]
fn when_the_grace_is_over_they_are_cut() {
    let house = serve(echo);
    let mut client = house.client();
    client.send(OFFER.as_bytes());
    assert_eq!(client.response().status, 101);
    assert_eq!(house.handle.shutdown(Duration::from_millis(20)).open, 0);
    client.until_end();
}

#[test]
fn a_server_may_be_ended_in_a_connection_that_was_taken_over_as_in_a_call() {
    for is_upgrade in [true, false] {
        let slot = Arc::new(Mutex::new(None::<House>));
        let own = Arc::clone(&slot);
        let (sender, ended) = channel();
        let house = serve(move |_: &Environ, start_response: &mut StartResponse| {
            let (own, sender) = (Arc::clone(&own), sender.clone());
            let end = move || {
                let house = locked(&own).take().unwrap();
                sender.send(house.handle.shutdown(Duration::from_millis(10)).stopping).unwrap();
            };
            if !is_upgrade {
                end();
                start_response.start("200 OK", &[]);
                return Body::empty();
            }
            start_response.start("101 Switching Protocols", &[]);
            Body::upgrade("echo", move |_| end())
        });
        let mut client = house.client();
        *locked(&slot) = Some(house);
        client.send(OFFER.as_bytes());
        assert_eq!(ended.recv_timeout(PATIENCE), Ok(true), "{is_upgrade}");
    }
}

#[test]
fn a_client_that_falls_silent_or_takes_nothing_is_an_error_of_the_stream() {
    let (sender, ended) = channel();
    let told = Mutex::new(sender);
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("101 Switching Protocols", &[]);
        let sender = locked(&told).clone();
        Body::upgrade("echo", move |mut connection| {
            let read = connection.read(&mut [0]).map_err(|error| error.kind());
            let written = (0..).find_map(|_| connection.write(&[0; 64 * 1024]).err()).map(|error| error.kind());
            let _ = sender.send((read, written));
        })
    };
    let house = serve_with(application, |settings| {
        settings.idle_deadline = Duration::from_millis(30);
        settings.response_stall = Duration::from_millis(30);
    });
    let mut client = house.client();
    client.send(OFFER.as_bytes());
    assert_eq!(client.response().status, 101);
    let (read, written) = ended.recv_timeout(PATIENCE).unwrap();
    let late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
    assert!(late.contains(&read.unwrap_err()) && late.contains(&written.unwrap()), "{read:?} {written:?}");
}

#[test]
fn p_err_01_a_panic_ends_this_connection_and_is_logged_and_on_close_runs_once_behind_it() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("101 Switching Protocols", &[]);
        let count = Arc::clone(&count);
        Body::upgrade("echo", |_| panic!("in the middle")).on_close(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
    };
    let house = serve(application);
    let mut client = house.client();
    client.send(OFFER.as_bytes());
    assert_eq!(client.response().status, 101);
    client.is_closed();
    assert_eq!(house.log.take(Cause::ApplicationPanic).detail, "in the middle");
    house.log.take_accesses(1);
    assert_eq!(closed.load(Ordering::SeqCst), 1);
}

#[test]
fn clones_read_and_write_at_once_and_none_outlives_the_function() {
    let (sender, kept) = channel();
    let told = Mutex::new(sender);
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("101 Switching Protocols", &[]);
        let sender = locked(&told).clone();
        Body::upgrade("echo", move |connection| {
            let mut writer = connection.try_clone().unwrap();
            connection.set_read_timeout(None).unwrap();
            connection.set_write_timeout(Some(PATIENCE)).unwrap();
            let mut reader = connection.try_clone().unwrap();
            let read = thread::spawn(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).map(|_| all)
            });
            writer.write_all(b"hello").unwrap();
            connection.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read.join().unwrap().unwrap(), b"half and half");
            let _ = sender.send(connection);
        })
    };
    let house = serve(application);
    let mut client = house.client();
    client.send(format!("{OFFER}half ").as_bytes());
    assert_eq!(client.response().status, 101);
    assert_eq!(client.until_close(), b"hello");
    client.send(b"and half");
    client.stop_sending();
    let mut connection = kept.recv_timeout(PATIENCE).unwrap();
    house.until("it has ended", |stats| stats.open == 0);
    assert!(connection.write_all(&[0; 1024]).is_err() || connection.write_all(&[0; 1024]).is_err());
}

#[test]
fn a_clone_that_is_left_does_not_have_the_server_wait_for_its_client() {
    let (sender, kept) = channel();
    let told = Mutex::new(sender);
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("101 Switching Protocols", &[]);
        let sender = locked(&told).clone();
        Body::upgrade("echo", move |connection| sender.send(connection.try_clone().unwrap()).unwrap())
    };
    let house = serve_with(application, |settings| settings.linger_deadline = Duration::from_millis(200));
    let mut client = house.client();
    client.send(OFFER.as_bytes());
    assert_eq!(client.response().status, 101);
    let clone = kept.recv_timeout(PATIENCE).unwrap();
    house.until("it has ended", |stats| {
        let _ = clone.set_read_timeout(None);
        stats.open == 0
    });
}

#[test]
fn p_conn_03_what_was_said_last_arrives_though_the_client_goes_on_sending() {
    let application = |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("101 Switching Protocols", &[]);
        Body::upgrade("echo", |mut connection| connection.write_all(b"enough").unwrap())
    };
    let house = serve(application);
    let mut client = house.client();
    client.send(OFFER.as_bytes());
    client.send(&[b'x'; 100_000]);
    assert_eq!(client.response().status, 101);
    assert_eq!(client.until_close(), b"enough");
}

#[test]
fn p_mw_06_middleware_leaves_it_whole_and_says_what_it_says_of_every_response() {
    let lines = Kept::default();
    let shouting = |environ: &Environ, start_response: &mut StartResponse| {
        start_response.on_write(|block| Ok(block.to_ascii_uppercase().into()));
        echo(environ, start_response).map_blocks(|block| Ok(block.to_ascii_uppercase().into()))
    };
    let collected = move |environ: &Environ, start_response: &mut StartResponse| {
        let mut response = Response::of(&shouting, environ);
        assert_eq!(response.content(100), None, "it has none that could be looked at");
        response.with_header("X-Collected", "1").start(start_response)
    };
    let lint = Lint::new(collected);
    let inner = Buffered::new(Normalize::new(ErrorPages::new(ConditionalGet::new(lint))));
    let house = serve(AccessLog::common(Cors::new(inner, ["https://a.example"]), lines.clone()));
    let mut client = house.client();
    client.send(OFFER.replace("\r\n\r\n", "\r\nOrigin: https://a.example\r\n\r\n").as_bytes());
    let response = client.response();
    assert_eq!((response.status, response.field("X-Collected")), (101, Some("1")));
    assert_eq!(response.field("Access-Control-Allow-Origin"), Some("https://a.example"));
    client.send(b"as it is");
    client.until(b"as it is");
    assert_eq!(lines.text(), "", "not before its end");
    client.stop_sending();
    client.until_close();
    house.log.take_accesses(1);
    let line = lines.text();
    assert!(line.contains("\"GET /e HTTP/1.1\" 101 11 "), "what was sent, and not of a head: {line}");
    assert!(house.log.texts().is_empty() && house.log.reports().is_empty(), "{:?}", house.log.texts());
}

#[test]
fn a_password_is_asked_for_before_anything_is_switched() {
    let house = serve(BasicAuth::new(echo, "site", [("ada", "engine")]));
    let mut client = house.client();
    client.send(OFFER.as_bytes());
    assert_eq!(client.response().status, 401);
    client.send(OFFER.replace("\r\n\r\n", "\r\nAuthorization: Basic YWRhOmVuZ2luZQ==\r\n\r\n").as_bytes());
    assert_eq!(client.response().status, 101);
    client.send(b"in");
    client.until(b"in");
}

#[test]
fn one_connection_that_is_served_alone_is_taken_over_in_the_same_thread() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        let mut client = support::Client::connect(address);
        client.send(format!("{OFFER}x").as_bytes());
        assert_eq!(client.response().status, 101);
        client.until(b"x");
        client.stop_sending();
        client.until_close()
    });
    let (accepted, _) = listener.accept().unwrap();
    doorway::serve_connection(accepted, echo);
    assert_eq!(client.join().unwrap(), b"xbye");

    let server = Server::bind("127.0.0.1:0").unwrap();
    let address = server.addrs().next().cloned().unwrap();
    let client = thread::spawn(move || {
        let mut client = support::Client::over(TcpStream::connect(address).unwrap());
        client.send(OFFER.as_bytes());
        assert_eq!(client.response().status, 101);
        client.stop_sending();
        client.until_close()
    });
    server.handle_one(echo).unwrap();
    assert_eq!(client.join().unwrap(), b"bye");
}

#[test]
fn a_stream_of_the_callers_own_has_one_handle_and_no_timeouts() {
    let (sender, seen) = channel();
    let told = Mutex::new(sender);
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("101 Switching Protocols", &[]);
        let sender = locked(&told).clone();
        Body::upgrade("echo", move |connection| {
            let clone = connection.try_clone().map(|_| ()).map_err(|error| error.kind());
            let time = connection.set_read_timeout(None).map_err(|error| error.kind());
            let _ = sender.send((clone, time));
        })
    };
    doorway::serve_connection(io::Cursor::new(OFFER.as_bytes().to_vec()), application);
    let unsupported = Err(io::ErrorKind::Unsupported);
    assert_eq!(seen.recv().unwrap(), (unsupported, unsupported));
}

#[test]
fn many_come_and_go_at_once_and_none_is_lost() {
    let house: House = serve_with(echo, |settings| settings.upgrades = 500);
    let address = house.tcp();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                for round in 0..20 {
                    let mut client = support::Client::connect(address);
                    client.send(format!("{OFFER}{round}").as_bytes());
                    assert_eq!(client.response().status, 101);
                    client.stop_sending();
                    assert_eq!(client.until_close(), format!("{round}bye").as_bytes());
                }
            });
        }
    });
    let stats = house.handle.shutdown(PATIENCE);
    assert_eq!((stats.open, stats.served, stats.refused), (0, 160, 0));
}
