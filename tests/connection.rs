//! The life of connections and of the server itself: keep-alive, deadlines, slow clients, limits, stopping, listeners.
//!
//! RFC 9112 section 9; docs/rules.md P-CONN, P-THR; the table of defaults. Tests wait for what happens and not for time to pass;
//! where a deadline is the point, it is a short one, and only the order of events is asserted.

mod apps;
mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use apps::{Called, Recorder, Release, echo, hello, path, sleepy};
use doorway::{Address, Application, Body, Cause, Environ, Phase, Server, StartResponse, Stats};
use support::{Client, House, PATIENCE, in_memory, parse_all, serve, serve_over, serve_with};

/// A deadline that passes while a test waits for it.
const SHORT: Duration = Duration::from_millis(50);

/// A deadline that no test waits for.
const FAR: Duration = Duration::from_secs(3_600);

/// More than sockets take on their own: the rest stays with the server.
const LARGE: usize = 16 * 1024 * 1024;

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn post(length: usize) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

fn are_in(wanted: &[Phase], stats: &Stats) -> usize {
    stats.phases().filter(|(phase, _)| wanted.contains(phase)).map(|(_, count)| count).sum()
}

/// Answers `/large` with 8 MiB that are all there, and everything else with its path.
fn large(environ: &Environ, start_response: &mut StartResponse) -> Body {
    if environ.path() != "/large" {
        return path(environ, start_response);
    }
    start_response.start("200 OK", &[]);
    Body::from(vec![b'x'; LARGE])
}

// ---------------------------------------------------------------------------------------------- keep-alive, pipelining

#[test]
fn rfc9112_9_3_a_connection_of_http_1_1_serves_one_request_after_the_other() {
    let house = serve(path);
    let mut client = house.client();
    for at in 0..20 {
        client.send(&get(&format!("/{at}")));
        let response = client.response();
        assert_eq!((response.text(), response.field("Connection")), (&*format!("/{at}"), None));
    }
    assert_eq!(house.handle.stats().accepted, 1);
    client.stop_sending();
    client.is_closed();
    assert_eq!(house.log.causes(), []);
}

#[test]
fn rfc9112_9_3_a_connection_of_http_1_0_persists_when_asked_to() {
    let house = serve(path);
    let mut client = house.client();
    for at in 0..3 {
        client.send(format!("GET /{at} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").as_bytes());
        let response = client.response();
        assert_eq!((response.text(), response.field("Connection")), (&*format!("/{at}"), Some("keep-alive")));
    }
    client.send(b"GET /last HTTP/1.0\r\n\r\n");
    assert!(client.response().closes());
    client.is_closed();
}

#[test]
fn p_conn_01_a_thousand_pipelined_requests_are_answered_in_order_by_one_thread() {
    let house = serve_with(path, |settings| settings.threads = 1);
    let mut client = house.client();
    let requests: Vec<u8> = (0..1_000).flat_map(|at| get(&format!("/{at}"))).collect();
    let mut sending = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || sending.write_all(&requests).unwrap());
    for at in 0..1_000 {
        assert_eq!(client.response().text(), format!("/{at}"));
    }
    sender.join().unwrap();
}

#[test]
fn p_conn_01_a_client_that_never_stops_sending_does_not_keep_others_from_the_only_thread() {
    let house = serve_with(path, |settings| settings.threads = 1);
    let mut busy = house.client();
    let stop = Arc::new(AtomicBool::new(false));
    let mut sending = busy.stream.try_clone().unwrap();
    let stopped = Arc::clone(&stop);
    let sender = std::thread::spawn(move || {
        let requests = get("/busy").repeat(100);
        while !stopped.load(Ordering::SeqCst) && sending.write_all(&requests).is_ok() {}
        // What is still on its way need not be answered.
        let _ = sending.shutdown(Shutdown::Both);
    });
    let reader = std::thread::spawn(move || while busy.stream.read(&mut [0; 64 * 1024]).is_ok_and(|read| read > 0) {});
    for _ in 0..5 {
        let mut client = house.client();
        client.send(&get("/other"));
        assert_eq!(client.response().text(), "/other");
    }
    stop.store(true, Ordering::SeqCst);
    sender.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn a_request_that_drips_in_byte_by_byte_is_answered() {
    let house = serve(echo);
    let mut client = house.client();
    let request = [post(5), b"hello".to_vec()].concat();
    for byte in request.iter().chain(&request) {
        client.send(&[*byte]);
    }
    for _ in 0..2 {
        assert_eq!(client.response().text(), "hello");
    }
}

#[test]
fn a_half_closed_client_still_gets_its_whole_response() {
    let house = serve(large);
    let mut client = house.client();
    client.send(&get("/large"));
    client.stop_sending();
    assert_eq!(client.response().body.len(), LARGE);
    client.is_closed();
    // With a thread that streams as well.
    let house = serve(|_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        Body::blocks((0..LARGE / 65_536).map(|_| vec![b'y'; 65_536]))
    });
    let mut client = house.client();
    client.send(&get("/"));
    client.stop_sending();
    assert_eq!(client.response().body.len(), LARGE);
    client.is_closed();
}

#[test]
fn a_half_closed_client_still_gets_the_answer_of_a_call_that_takes_long() {
    let (application, called, release) = sleepy();
    let house = serve(application);
    let mut client = house.client();
    client.send(&get("/slow"));
    client.stop_sending();
    called.wait();
    release.one();
    assert_eq!(client.response().text(), "/slow");
}

// ---------------------------------------------------------------------------------------- what is left unread, the end

/// Answers 300 KB and reads nothing of the request.
fn three_hundred_kilobytes(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[]);
    Body::from(vec![b'r'; 300_000])
}

#[test]
fn p_conn_03_a_reply_to_a_post_whose_content_is_not_read_arrives_whole() {
    let house = serve(three_hundred_kilobytes);
    for _ in 0..20 {
        let mut client = house.client();
        let mut sending = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            // The server may have had enough of it.
            let _ = sending.write_all(&post(1_000_000));
            let _ = sending.write_all(&vec![b'c'; 1_000_000]);
        });
        let out = client.until_end();
        let responses = parse_all(&out, &[]);
        assert_eq!(responses.len(), 1);
        assert!(responses[0].closes() && responses[0].body.len() == 300_000);
        sender.join().unwrap();
    }
}

#[test]
fn p_conn_03_a_reply_arrives_whole_at_a_client_that_sends_everything_first() {
    let house = serve(hello);
    for _ in 0..20 {
        let mut client = house.client();
        let _ = client.stream.write_all(&post(300_000));
        let _ = client.stream.write_all(&vec![b'c'; 300_000]);
        let responses = parse_all(&client.until_end(), &[]);
        assert!(responses.len() == 1 && responses[0].closes() && responses[0].text() == "hello", "{responses:?}");
    }
}

#[test]
fn p_conn_03_a_large_reply_arrives_whole_at_a_client_that_sends_everything_first() {
    let house = serve(three_hundred_kilobytes);
    let mut whole = 0;
    for _ in 0..20 {
        let mut client = house.client();
        let _ = client.stream.write_all(&post(1_000_000));
        let _ = client.stream.write_all(&vec![b'c'; 1_000_000]);
        whole += usize::from(client.until_end().len() > 300_000);
    }
    assert_eq!(whole, 20);
}

#[test]
fn p_conn_03_p_in_11_a_reply_arrives_whole_though_a_reader_outlives_the_call() {
    const LENGTH: usize = 10_000_000;
    let house = serve(|environ: &Environ, start_response: &mut StartResponse| {
        let (own, (ready, is_ready)) = (environ.clone(), mpsc::channel());
        std::thread::spawn(move || {
            let mut input = own.input();
            ready.send(input.read_exact(&mut [0])).unwrap();
            // As long as there is any.
            let _ = std::io::copy(&mut input, &mut std::io::sink());
        });
        is_ready.recv_timeout(PATIENCE).unwrap().unwrap();
        three_hundred_kilobytes(environ, start_response)
    });
    for _ in 0..20 {
        let mut client = house.client();
        let _ = client.stream.write_all(&post(LENGTH));
        // But for the last byte: a reader that came to the end while the call is kept from its core would leave the connection to the next request.
        let _ = client.stream.write_all(&vec![b'c'; LENGTH - 1]);
        let responses = parse_all(&client.until_end(), &[]);
        assert!(responses.len() == 1 && responses[0].closes() && responses[0].body.len() == 300_000);
    }
}

#[test]
fn p_conn_03_a_refusal_arrives_whole_while_the_client_still_sends() {
    let house = serve(hello);
    for _ in 0..20 {
        let mut client = house.client();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n";
        let mut sending = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            let _ = sending.write_all(head).and_then(|()| sending.write_all(&vec![b'c'; 1_000_000]));
        });
        let responses = parse_all(&client.until_end(), &[]);
        assert!(responses.len() == 1 && responses[0].status == 413, "{responses:?}");
        sender.join().unwrap();
    }
}

/// A client of a server that stops while it is called for it, and answers then.
fn ask_and_stop(house: &House, called: &Called, release: &Release) -> Client<TcpStream> {
    let mut client = house.client();
    client.send(&get("/slow"));
    called.wait();
    house.handle.stopper().stop_within(PATIENCE);
    release.one();
    client
}

#[test]
fn p_conn_03_a_reply_arrives_whole_at_a_client_that_did_not_ask_for_the_end_and_sends_into_it() {
    let (inner, called, release) = sleepy();
    let application = move |environ: &Environ, start_response: &mut StartResponse| {
        drop(inner.call(environ, start_response));
        // More than the client's side takes on its own, and no more than the server's.
        vec![b'x'; 300_000]
    };
    let house = serve_with(application, |settings| settings.linger_deadline = FAR);
    let mut client = ask_and_stop(&house, &called, &release);
    let is_said = |stats: &Stats| stats.busy == 0 && are_in(&[Phase::Sending, Phase::Closing], stats) == stats.open;
    house.until("everything is said", is_said);
    if are_in(&[Phase::Closing], &house.handle.stats()) == 0 {
        println!("skipped: the socket takes less than the response");
    }
    client.send(&get("/too-late"));
    let responses = parse_all(&client.until_end(), &[]);
    assert!(responses.len() == 1 && responses[0].closes() && responses[0].body.len() == 300_000);
    // It knows now, and ends it: the stop waits for nothing else.
    drop(client);
    house.handle.join();
}

#[test]
fn p_conn_03_a_connection_whose_client_asked_for_the_end_is_closed_at_once() {
    let house = serve_with(hello, |settings| settings.linger_deadline = FAR);
    let mut clients =
        [&b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..], b"GET / HTTP/1.0\r\n\r\n"].map(|request| {
            let mut client = house.client();
            client.send(request);
            client
        });
    house.until("both are closed", |stats| stats.served == 2 && stats.open == 0);
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "hello"));
}

#[test]
fn a_client_that_reads_on_behind_the_end_keeps_a_stop_for_no_longer_than_its_grace() {
    let (application, called, release) = sleepy();
    let house = serve_with(application, |settings| settings.linger_deadline = FAR);
    let mut client = ask_and_stop(&house, &called, &release);
    client.response();
    client.is_closed();
    house.until("it lingers", |stats| stats.busy == 0 && are_in(&[Phase::Closing], stats) == 1);
    house.handle.shutdown(SHORT);
}

#[test]
fn p_in_10_a_small_unread_content_is_skipped_and_the_connection_kept() {
    let house = serve(hello);
    for length in [1, 1_000, 16_384, 16_385, 60_000, 65_536] {
        let mut client = house.client();
        for _ in 0..2 {
            client.send(&[post(length), vec![b'c'; length]].concat());
            let response = client.response();
            assert!(response.text() == "hello" && !response.closes(), "{length}: {response:?}");
        }
    }
    let mut client = house.client();
    let chunks =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n".to_owned() + &"c".repeat(2_000);
    for _ in 0..2 {
        client.send(format!("{chunks}\r\n0\r\nX: y\r\n\r\n").as_bytes());
        let response = client.response();
        assert!(response.text() == "hello" && !response.closes(), "{response:?}");
    }
    assert_eq!(house.log.causes(), []);
}

#[test]
fn p_in_10_what_follows_a_skipped_content_is_never_taken_for_a_request_too_early() {
    let house = serve(hello);
    // The content looks like a request.
    let content = get("/smuggled").repeat(100);
    let mut client = house.client();
    client.send(&[post(content.len()), content, get("/next")].concat());
    client.stop_sending();
    assert_eq!(parse_all(&client.until_close(), &[]).len(), 2);
}

#[test]
fn p_in_10_a_large_unread_content_ends_the_connection_and_the_head_says_so() {
    let fails = |_: &Environ, _: &mut StartResponse| Err::<Body, _>("of an application");
    for application in [Box::new(hello) as Box<dyn Application>, Box::new(fails)] {
        let house = serve(application);
        let mut client = house.client();
        client.send(&post(1_000_000));
        let response = client.response();
        assert!(response.closes(), "{response:?}");
        client.is_closed();
    }
}

#[test]
fn p_in_10_content_that_does_not_come_ends_the_connection_after_the_drain_deadline() {
    let house = serve_with(hello, |settings| settings.drain_deadline = SHORT);
    let mut client = house.client();
    client.send(&post(20_000));
    client.send(b"only this");
    assert_eq!(client.response().text(), "hello");
    client.is_closed();
}

#[test]
fn p_in_10_a_malformed_unread_content_ends_the_connection() {
    let house = serve(hello);
    let mut client = house.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nXYZ\r\n");
    client.send(&get("/next"));
    assert_eq!(client.response().text(), "hello");
    client.is_closed();
}

// -------------------------------------------------------------------------------------------------------- deadlines

#[test]
fn rfc9110_15_5_9_a_head_that_is_not_whole_at_its_deadline_is_408() {
    let house = serve_with(hello, |settings| settings.head_deadline = SHORT);
    // An empty line is the beginning of no request (tests/left_on_the_wire.rs).
    for part in ["G", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\nG"] {
        let mut client = house.client();
        client.send(part.as_bytes());
        let response = client.response();
        assert!(response.status == 408 && response.closes(), "{response:?}");
        client.is_closed();
        let seen = house.log.take(Cause::HeadDeadline);
        assert_eq!(seen.request, part.trim_start().lines().next().unwrap().as_bytes());
    }
    // Behind a response as well.
    let mut client = house.client();
    client.send(&[get("/"), b"GET /".to_vec()].concat());
    assert_eq!((client.response().status, client.response().status), (200, 408));
}

#[test]
fn a_head_that_drips_in_is_408_at_one_deadline_for_all_of_it() {
    let house = serve_with(hello, |settings| settings.head_deadline = 2 * SHORT);
    let mut client = house.client();
    client.send(b"GET / HTTP/1.1\r\n");
    let mut sending = client.stream.try_clone().unwrap();
    let dripper = std::thread::spawn(move || {
        // Until the server has closed: each byte comes long before the deadline.
        while sending.write_all(b"X: y\r\n").is_ok() {
            std::thread::sleep(SHORT / 10);
        }
    });
    let responses = parse_all(&client.until_end(), &[]);
    assert!(responses.len() == 1 && responses[0].status == 408, "{responses:?}");
    client.stream.shutdown(Shutdown::Both).unwrap_or_default();
    dripper.join().unwrap();
}

#[test]
fn a_connection_without_a_byte_is_closed_silently() {
    let house = serve_with(hello, |settings| settings.first_byte_deadline = SHORT);
    house.client().is_closed();
    assert_eq!(house.log.causes(), []);
}

#[test]
fn an_idle_connection_is_closed_silently() {
    let house = serve_with(hello, |settings| settings.idle_deadline = SHORT);
    let mut client = house.client();
    client.send(&get("/"));
    assert_eq!(client.response().text(), "hello");
    client.is_closed();
    assert_eq!(house.log.causes(), []);
}

#[test]
fn p_in_08_content_that_stops_arriving_is_408() {
    let recorder = Recorder::default();
    let house = serve_with(recorder.clone(), |settings| settings.content_stall = SHORT);
    // What is read while the application runs, and what is gathered before.
    for (head, calls) in [(post(20_000), 1), (post(100), 0)] {
        let mut client = house.client();
        client.send(&[head, b"ten bytes.".to_vec()].concat());
        let response = client.response();
        assert!(response.status == 408 && response.closes(), "{response:?}");
        client.is_closed();
        house.log.take(Cause::ContentStalled);
        let seen = recorder.take();
        assert_eq!(seen.len(), calls);
        assert!(seen.iter().all(|call| call.content == Err(std::io::ErrorKind::TimedOut)));
    }
    assert_eq!(house.log.causes(), []);
}

#[test]
fn a_client_that_takes_nothing_of_its_response_is_cut() {
    let house = serve_with(large, |settings| settings.response_stall = 2 * SHORT);
    let mut client = house.client();
    client.send(&get("/large"));
    let seen = house.log.take(Cause::ResponseStalled);
    assert_eq!(seen.answer, doorway::log::Answer::Cut);
    let out = client.until_end();
    assert!(out.len() < LARGE, "nothing was missing");
    house.until("the connection is gone", |stats| stats.open == 0);
}

#[test]
fn p_body_07_a_client_that_takes_nothing_of_a_stream_is_cut_and_the_body_closed() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&closed);
    let house = serve_with(
        move |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            let counted = Arc::clone(&counted);
            Body::blocks(std::iter::repeat_with(|| vec![b'x'; 65_536])).on_close(move || {
                counted.fetch_add(1, Ordering::SeqCst);
            })
        },
        |settings| settings.response_stall = 2 * SHORT,
    );
    let mut client = house.client();
    client.send(&get("/"));
    assert_eq!(house.log.take(Cause::ResponseStalled).answer, doorway::log::Answer::Cut);
    house.until("the connection is gone", |stats| stats.open == 0);
    assert_eq!(closed.load(Ordering::SeqCst), 1);
    client.until_end();
}

#[test]
fn p_body_07_behind_a_block_that_could_not_be_sent_the_next_is_not_asked_for_which_might_last() {
    enum Said {
        Asked,
        Closed,
    }
    let (sender, said) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let once = std::sync::Mutex::new(Some((sender, may_go)));
    let house = serve(move |_: &Environ, start_response: &mut StartResponse| {
        let (sender, may_go) = once.lock().unwrap().take().unwrap();
        let at_close = sender.clone();
        start_response.start("200 OK", &[]);
        Body::blocks(std::iter::from_fn(move || {
            sender.send(Said::Asked).unwrap();
            may_go.recv().ok()?;
            // So slow that it is sent at once, and does not wait for the one behind it.
            std::thread::sleep(Duration::from_millis(1));
            Some("block")
        }))
        .on_close(move || at_close.send(Said::Closed).unwrap())
    });
    let mut client = house.client();
    client.send(&get("/"));
    assert!(matches!(said.recv_timeout(PATIENCE), Ok(Said::Asked)));
    go.send(()).unwrap();
    assert!(matches!(said.recv_timeout(PATIENCE), Ok(Said::Asked)));
    // The first block is there, and nobody reads it: the system tells the server so at once.
    assert!(client.stream.peek(&mut [0]).unwrap() > 0);
    drop(client);
    go.send(()).unwrap();
    let next = said.recv_timeout(PATIENCE);
    // Whatever is still asked for ends.
    drop(go);
    assert!(matches!(next, Ok(Said::Closed)));
}

#[test]
fn a_client_that_takes_nothing_of_what_is_written_is_cut_whatever_the_application_makes_of_that() {
    let (sender, failed) = mpsc::channel();
    let house = serve_with(
        move |_: &Environ, start_response: &mut StartResponse| {
            let result = start_response.start("200 OK", &[]).write_all(&vec![b'x'; LARGE]);
            sender.send(result.is_err()).unwrap();
            Body::from("as if nothing had happened")
        },
        |settings| settings.response_stall = SHORT,
    );
    let mut client = house.client();
    client.send(&get("/"));
    assert!(failed.recv_timeout(PATIENCE).unwrap());
    let out = client.until_end();
    assert!(out.len() < LARGE && !out.ends_with(b"0\r\n\r\n"), "{}", out.len());
    assert_eq!(house.log.take(Cause::ResponseStalled).answer, doorway::log::Answer::Cut);
}

// ------------------------------------------------------------------------------------- slow clients and few threads

#[test]
fn a_slow_reader_does_not_hold_the_only_thread() {
    let house = serve_with(large, |settings| settings.threads = 1);
    let mut slow = house.client();
    slow.send(&get("/large"));
    slow.until(b"\r\n\r\n");
    let mut quick = house.client();
    for _ in 0..3 {
        quick.send(&get("/quick"));
        assert_eq!(quick.response().text(), "/quick");
    }
    assert_eq!(slow.response().body.len(), LARGE);
    slow.send(&get("/again"));
    assert_eq!(slow.response().text(), "/again");
}

#[test]
fn a_slow_reader_of_a_file_or_a_list_does_not_hold_the_only_thread() {
    let file = std::env::temp_dir().join(format!("doorway-connection-{}", std::process::id()));
    std::fs::write(&file, vec![b'f'; LARGE]).unwrap();
    let name = file.clone();
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| -> std::io::Result<Body> {
            start_response.start("200 OK", &[]);
            Ok(match &*environ.path() {
                "/file" => Body::from(std::fs::File::open(&name)?),
                "/list" => Body::list((0..16).map(|_| vec![b'l'; LARGE / 16]).collect()),
                _ => Body::from("quick"),
            })
        },
        |settings| settings.threads = 1,
    );
    for target in ["/file", "/list"] {
        let mut slow = house.client();
        slow.send(&get(target));
        slow.until(b"\r\n\r\n");
        let mut quick = house.client();
        quick.send(&get("/quick"));
        assert_eq!(quick.response().text(), "quick");
        let body = slow.response().body;
        assert!(body.len() == LARGE && body.iter().all(|byte| *byte == target.as_bytes()[1]), "{target}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn slow_heads_and_slow_small_contents_do_not_hold_the_only_thread() {
    let house = serve_with(echo, |settings| settings.threads = 1);
    let mut slow: Vec<_> = (0..8).map(|_| house.client()).collect();
    for (at, client) in slow.iter_mut().enumerate() {
        match at % 4 {
            0 => {}
            1 => client.send(b"P"),
            2 => client.send(&post(5)),
            _ => client.send(&[post(5), b"hel".to_vec()].concat()),
        }
    }
    for _ in 0..3 {
        let mut quick = house.client();
        quick.send(&[post(5), b"quick".to_vec()].concat());
        assert_eq!(quick.response().text(), "quick");
    }
    for (at, client) in slow.iter_mut().enumerate() {
        let whole = [post(5), b"hello".to_vec()].concat();
        let sent = [0, 1, post(5).len(), post(5).len() + 3][at % 4];
        client.send(&whole[sent..]);
        assert_eq!(client.response().text(), "hello");
    }
}

#[test]
fn two_hundred_idle_connections_and_four_threads_leave_room_for_a_hundred_more() {
    let house = serve_with(path, |settings| settings.threads = 4);
    let mut idle: Vec<_> = (0..200).map(|_| house.client()).collect();
    for client in &mut idle {
        client.send(&get("/idle"));
    }
    for client in &mut idle {
        assert_eq!(client.response().text(), "/idle");
    }
    let mut others: Vec<_> = (0..100).map(|_| house.client()).collect();
    for client in &mut others {
        client.send(&get("/other"));
    }
    for client in &mut others {
        assert_eq!(client.response().text(), "/other");
    }
    for client in &mut idle {
        client.send(&get("/still"));
    }
    for client in &mut idle {
        assert_eq!(client.response().text(), "/still");
    }
    assert_eq!(house.handle.stats().open, 300);
}

#[test]
fn p_thr_02_one_thread_serialises_calls_and_multithread_is_false() {
    for threads in [0, 1] {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = (Arc::clone(&running), Arc::clone(&most));
        let house = serve_with(
            move |environ: &Environ, start_response: &mut StartResponse| {
                let (running, most) = &seen;
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                start_response.start("200 OK", &[]);
                running.fetch_sub(1, Ordering::SeqCst);
                format!("{} {} {}", environ.multithread(), environ.multiprocess(), environ.run_once())
            },
            |settings| settings.threads = threads,
        );
        let mut clients: Vec<_> = (0..20).map(|_| house.client()).collect();
        for client in &mut clients {
            client.send(&get("/").repeat(5));
        }
        for client in &mut clients {
            for _ in 0..5 {
                assert_eq!(client.response().text(), "false false false");
            }
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn p_thr_01_two_threads_call_at_once_and_multithread_is_true() {
    let (application, called, release) = sleepy();
    let house = serve(application);
    let mut clients = [house.client(), house.client()];
    for client in &mut clients {
        client.send(&get("/slow"));
    }
    // Both are being called, and neither has been let go.
    called.wait();
    called.wait();
    release.one();
    release.one();
    for client in &mut clients {
        assert_eq!(client.response().text(), "/slow");
    }
    let house = serve(|environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        environ.multithread().to_string()
    });
    assert_eq!(house.ask_one(b"GET / HTTP/1.0\r\n\r\n").text(), "true");
}

// ----------------------------------------------------------------------------------------------------------- limits

/// A server with one thread that a call already holds.
fn busy(change: impl FnOnce(&mut doorway::Settings)) -> (House, Client<TcpStream>, Called, Release) {
    let (application, called, release) = sleepy();
    let house = serve_with(application, |settings| {
        settings.threads = 1;
        change(settings);
    });
    let mut first = house.client();
    first.send(&get("/first"));
    assert_eq!(called.wait(), "/first");
    (house, first, called, release)
}

#[test]
fn rfc9110_15_6_4_a_full_queue_is_503_with_retry_after() {
    let (house, mut first, _called, release) = busy(|settings| settings.queue = 1);
    let mut second = house.client();
    second.send(&get("/second"));
    house.until("the second waits", |stats| stats.queued == 1);
    let mut third = house.client();
    third.send(&get("/third"));
    let response = third.response();
    assert!(response.status == 503 && response.closes(), "{response:?}");
    assert!(response.field("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    third.is_closed();
    house.log.take(Cause::QueueFull);
    for (client, text) in [(&mut first, "/first"), (&mut second, "/second")] {
        release.one();
        assert_eq!(client.response().text(), text);
    }
}

#[test]
fn rfc9110_15_6_4_a_request_that_waits_too_long_for_a_thread_is_503() {
    let (house, mut first, called, release) = busy(|settings| settings.queue_timeout = 4 * SHORT);
    let mut second = house.client();
    second.send(&get("/second"));
    house.until("the second waits", |stats| stats.queued == 1);
    // The only thread is held all the time.
    let response = second.response();
    assert!(response.status == 503 && response.closes() && response.field("Retry-After").is_some(), "{response:?}");
    house.log.take(Cause::QueueTimeout);
    release.one();
    assert_eq!(first.response().text(), "/first");
    assert!(called.is_none());
}

#[test]
fn at_the_connection_limit_the_oldest_idle_connection_makes_room() {
    let house = serve_with(path, |settings| settings.max_connections = 4);
    let mut clients: Vec<_> = (0..4)
        .map(|at| {
            let mut client = house.client();
            client.send(&get("/idle"));
            assert_eq!(client.response().text(), "/idle");
            // In this order they begin to wait.
            house.until("it waits", |stats| stats.parked == at + 1);
            client
        })
        .collect();
    let mut fifth = house.client();
    fifth.send(&get("/fifth"));
    assert_eq!(fifth.response().text(), "/fifth");
    clients.remove(0).is_closed();
    house.log.take(Cause::ConnectionLimit);
    for client in &mut clients {
        client.send(&get("/still"));
        assert_eq!(client.response().text(), "/still");
    }
}

#[test]
fn at_the_connection_limit_running_calls_are_not_cut_and_new_clients_wait() {
    let (application, called, release) = sleepy();
    let house = serve_with(application, |settings| settings.max_connections = 2);
    let mut running = [house.client(), house.client()];
    for client in &mut running {
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        called.wait();
    }
    let mut third = house.client();
    third.send(&get("/quick"));
    release.one();
    release.one();
    for client in &mut running {
        assert_eq!(client.response().text(), "/slow");
    }
    assert_eq!(third.response().text(), "/quick");
}

#[test]
fn waiting_responses_hold_a_bounded_amount_of_memory() {
    let house = serve_with(large, |settings| settings.held = LARGE + LARGE / 2);
    let mut slow = [house.client(), house.client()];
    for client in &mut slow {
        client.send(&get("/large"));
        client.until(b"\r\n\r\n");
    }
    house.log.take(Cause::HeldLimit);
    let whole = slow.iter_mut().map(|client| usize::from(client.until_whole_or_cut(LARGE))).sum::<usize>();
    assert_eq!(whole, 1, "one was closed and the other was not");
    assert_eq!(house.ask_one(b"GET /quick HTTP/1.0\r\n\r\n").text(), "/quick");
}

impl Client<TcpStream> {
    /// Reads a body of so many bytes, or as much as comes.
    fn until_whole_or_cut(&mut self, length: usize) -> bool {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.until_end().len() > length
    }
}

#[test]
fn the_statistics_say_what_happened() {
    let house = serve(path);
    let mut client = house.client();
    client.send(&[get("/12345"), get("/")].concat());
    client.response();
    client.response();
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().status, 400);
    client.is_closed();
    drop(client);
    house.until("the connection is gone", |stats| stats.open == 0 && stats.busy == 0);
    let stats = house.handle.stats();
    assert_eq!((stats.accepted, stats.served, stats.refused, stats.content), (1, 2, 1, 7), "{stats:?}");
    assert_eq!(house.log.take_accesses(2), [(200, 6), (200, 1)]);
}

// ---------------------------------------------------------------------------------------------------------- stopping

#[test]
fn shutdown_ends_a_server_whose_threads_block_in_accept() {
    for server in [
        Server::bind("127.0.0.1:0").unwrap(),
        Server::bind("0.0.0.0:0").unwrap(),
        Server::from_listener(TcpListener::bind("127.0.0.1:0").unwrap()),
        Server::bind("127.0.0.1:0").unwrap().and(Server::bind("127.0.0.1:0").unwrap()),
    ] {
        let addresses: Vec<_> = server.addrs().cloned().collect();
        let handle = server.spawn(hello).unwrap();
        handle.shutdown(PATIENCE);
        for address in addresses {
            let Address::Tcp(address) = address else { panic!("{address}") };
            let local = SocketAddr::from(([127, 0, 0, 1], address.port()));
            assert!(TcpStream::connect(local).is_err(), "{address} still listens");
        }
    }
}

#[test]
fn a_stopped_address_can_be_listened_at_again_at_once() {
    let house = serve(hello);
    let address = house.tcp();
    let mut client = house.client();
    client.send(&get("/"));
    client.response();
    house.handle.shutdown(Duration::ZERO);
    let house = serve_over(Server::bind(address).unwrap(), hello, |_| {});
    assert_eq!(house.ask_one(b"GET / HTTP/1.0\r\n\r\n").text(), "hello");
    drop(client);
}

#[test]
fn a_graceful_stop_closes_idle_connections_and_lets_a_running_call_finish() {
    let (application, called, release) = sleepy();
    let house = serve(application);
    let mut idle = house.client();
    idle.send(&get("/quick"));
    idle.response();
    let mut fresh = house.client();
    let mut running = house.client();
    running.send(&get("/slow"));
    called.wait();
    house.until("all are open", |stats| stats.open == 3);
    house.handle.stopper().stop_within(PATIENCE);
    idle.is_closed();
    fresh.is_closed();
    release.one();
    let response = running.response();
    assert!(response.text() == "/slow" && response.closes(), "{response:?}");
    running.is_closed();
    house.handle.join();
    assert_eq!(house.log.causes(), []);
}

#[test]
fn a_graceful_stop_finishes_a_response_that_a_slow_client_is_taking() {
    let house = serve(large);
    let mut slow = house.client();
    slow.send(&get("/large"));
    slow.until(b"\r\n\r\n");
    house.until("it waits", |stats| stats.parked == 1 && stats.busy == 0);
    house.handle.stopper().stop_within(PATIENCE);
    assert_eq!(slow.response().body.len(), LARGE);
    slow.is_closed();
    // Until then the server lingers, because the client did not ask for the end.
    drop(slow);
    house.handle.join();
}

#[test]
fn when_the_grace_is_over_what_still_runs_is_cut() {
    let house = serve(echo);
    let mut head = house.client();
    head.send(b"GET / HTTP/1.1\r\n");
    let mut content = house.client();
    content.send(&post(100_000));
    house.until("both have begun", |stats| stats.open == 2 && stats.busy == 1);
    house.handle.shutdown(SHORT);
    assert!(!head.until_end().starts_with(b"HTTP/1.1 200"));
    assert!(!content.until_end().starts_with(b"HTTP/1.1 200"));
}

#[test]
fn dropping_the_handle_waits_for_the_call_in_flight() {
    let (inner, called, release) = sleepy();
    let finished = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&finished);
    let house = serve(move |environ: &Environ, start_response: &mut StartResponse| {
        let body = inner.call(environ, start_response);
        flag.store(environ.path() == "/slow", Ordering::SeqCst);
        body
    });
    let mut idle = house.client();
    idle.send(&get("/quick"));
    idle.response();
    let mut client = house.client();
    client.send(&get("/slow"));
    called.wait();
    let dropper = std::thread::spawn(move || {
        drop(house);
        finished.load(Ordering::SeqCst)
    });
    // The server has begun to stop.
    idle.is_closed();
    release.one();
    assert!(dropper.join().unwrap(), "dropped while the call was running");
}

#[test]
fn a_stopper_ends_serve_and_may_be_used_twice() {
    let (sender, receiver) = mpsc::channel();
    let server = Server::bind("127.0.0.1:0").unwrap();
    let handle = server.spawn(hello).unwrap();
    let stopper = handle.stopper();
    let waiter = std::thread::spawn(move || {
        handle.join();
        sender.send(()).unwrap();
    });
    stopper.stop();
    stopper.clone().stop();
    receiver.recv_timeout(PATIENCE).expect("join returns");
    waiter.join().unwrap();
    stopper.stop();
}

#[test]
fn a_second_stop_can_only_shorten_the_grace() {
    let house = serve(echo);
    let mut client = house.client();
    client.send(&post(100_000));
    house.until("it runs", |stats| stats.busy == 1);
    let stopper = house.handle.stopper();
    stopper.stop_within(PATIENCE * 60);
    stopper.stop_within(Duration::ZERO);
    stopper.stop_within(PATIENCE * 60);
    house.handle.join();
    client.until_end();
}

// --------------------------------------------------------------------------------------------------------- listeners

#[test]
fn from_listener_serves_a_socket_that_listens_already() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kept = listener.try_clone().unwrap();
    let house = serve_over(Server::from_listener(listener), hello, |_| {});
    assert_eq!(house.ask_one(b"GET / HTTP/1.0\r\n\r\n").text(), "hello");
    house.handle.shutdown(PATIENCE);
    // It was lent: who else has it can go on.
    let address = kept.local_addr().unwrap();
    let waiting = std::thread::spawn(move || kept.accept().is_ok());
    TcpStream::connect(address).unwrap();
    assert!(waiting.join().unwrap());
}

#[test]
fn one_server_listens_at_several_addresses() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    drop((first, second));
    let house = serve_over(Server::bind(&addresses[..]).unwrap(), port, |_| {});
    assert_eq!(house.handle.addrs().count(), 2);
    for address in addresses {
        let mut client = Client::connect(address);
        client.send(&get("/"));
        assert_eq!(client.response().text(), address.port().to_string());
    }
}

fn port(environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[]);
    Body::from(environ.get("SERVER_PORT").unwrap_or_default().into_owned())
}

#[test]
fn ipv6_is_served() {
    let probe = TcpListener::bind((Ipv6Addr::LOCALHOST, 0));
    if let Err(error) = probe {
        println!("skipped: this machine has no ::1 ({error})");
        return;
    }
    let house = serve_over(
        Server::bind("[::1]:0").unwrap(),
        |environ: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            environ.remote_addr().map(|address| address.to_string()).unwrap_or_default()
        },
        |_| {},
    );
    let mut client = house.client();
    client.send(&get("/"));
    assert_eq!(client.response().text().parse::<IpAddr>().unwrap(), IpAddr::V6(Ipv6Addr::LOCALHOST));
    assert!(house.handle.addr().to_string().starts_with("[::1]:"));
    house.handle.shutdown(PATIENCE);
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let Err(error) = Server::bind(address) else { panic!("bound twice") };
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn the_environ_names_the_peer_and_the_port() {
    let house = serve(|environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        ["REMOTE_ADDR", "REMOTE_PORT", "SERVER_PORT", "SERVER_NAME"]
            .map(|name| environ.get(name).unwrap_or_default().into_owned())
            .join(" ")
    });
    let mut client = house.client();
    let own = client.stream.local_addr().unwrap().port();
    client.send(b"GET / HTTP/1.1\r\nHost: www.example:99\r\n\r\n");
    let expected = format!("127.0.0.1 {own} {} www.example", house.tcp().port());
    assert_eq!(client.response().text(), expected);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;

    use super::*;

    /// A path of this test alone, with nothing there.
    fn place(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("doorway-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&place);
        place
    }

    fn ask(place: &PathBuf) -> String {
        let mut client = Client::over(UnixStream::connect(place).unwrap());
        client.send(&get("/"));
        client.response().text().to_owned()
    }

    #[test]
    fn a_unix_socket_is_served_to_its_owner_and_removed_at_the_end() {
        let place = place("served");
        let house = serve_over(
            Server::bind_unix(&place).unwrap(),
            |environ: &Environ, start_response: &mut StartResponse| {
                start_response.start("200 OK", &[]);
                let get = |name| environ.get(name).unwrap_or("-".into()).into_owned();
                ["REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT"].map(get).join(" ")
            },
            |_| {},
        );
        assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(house.handle.addr().to_string(), format!("unix:{}", place.display()));
        assert_eq!(ask(&place), "- - a 80");
        house.handle.shutdown(PATIENCE);
        assert!(!place.exists());
    }

    #[test]
    fn a_socket_that_was_left_over_is_replaced_and_a_live_one_is_not() {
        let place = place("left");
        drop(UnixListener::bind(&place).unwrap());
        assert!(place.exists());
        let house = serve_over(Server::bind_unix(&place).unwrap(), hello, |_| {});
        assert_eq!(ask(&place), "hello");
        let Err(error) = Server::bind_unix(&place) else { panic!("replaced a live socket") };
        assert!(error.to_string().contains(&*place.to_string_lossy()), "{error}");
        assert_eq!(ask(&place), "hello");
        drop(house);
        assert!(!place.exists());
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_a_live_one_and_keeps_nobody_waiting() {
        let place = place("full");
        let listener = UnixListener::bind(&place).unwrap();
        let (connected, connections) = mpsc::channel();
        for _ in 0..4 {
            let (place, connected) = (place.clone(), connected.clone());
            std::thread::spawn(move || while UnixStream::connect(&place).is_ok_and(|_| connected.send(()).is_ok()) {});
        }
        // There is no sign of a queue that is full but that nobody gets into it any more.
        while connections.recv_timeout(Duration::from_millis(100)).is_ok() {}
        let (own, (tell, told)) = (place.clone(), mpsc::channel());
        std::thread::spawn(move || tell.send(Server::bind_unix(own).map(drop).map_err(|error| error.kind())));
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Err(std::io::ErrorKind::AddrInUse)));
        drop(listener);
        std::fs::remove_file(&place).unwrap();
    }

    #[test]
    fn a_file_in_the_way_of_a_unix_socket_stays() {
        let place = place("file");
        std::fs::write(&place, "kept").unwrap();
        assert!(Server::bind_unix(&place).is_err());
        assert_eq!(std::fs::read(&place).unwrap(), b"kept");
        std::fs::remove_file(&place).unwrap();
    }

    #[test]
    fn a_path_that_somebody_else_has_taken_over_is_left_to_him() {
        let place = place("taken");
        let house = serve_over(Server::bind_unix(&place).unwrap(), hello, |_| {});
        std::fs::remove_file(&place).unwrap();
        let other = UnixListener::bind(&place).unwrap();
        // Stopping must not depend on the path either.
        let stopped = std::thread::spawn(move || house.handle.shutdown(PATIENCE));
        stopped.join().unwrap();
        assert!(place.exists());
        drop(other);
        std::fs::remove_file(&place).unwrap();
    }

    #[test]
    fn serve_connection_serves_one_end_of_a_socket_pair() {
        let (client, server) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || doorway::serve_connection(server, path));
        let mut client = Client::over(client);
        for at in 0..3 {
            client.send(&get(&format!("/{at}")));
            assert_eq!(client.response().text(), format!("/{at}"));
        }
        client.send(b"GET / HTTP/1.0\r\n\r\n");
        client.response();
        thread.join().unwrap();
    }
}

#[test]
fn serve_connection_serves_anything_that_reads_and_writes() {
    let out = in_memory([&get("/a")[..], &get("/b"), b"GET / HTTP/1.1\r\n\r\n", &get("/c")], path);
    let responses = parse_all(&out, &[]);
    let seen: Vec<_> = responses.iter().map(|response| (response.status, response.text())).collect();
    assert_eq!(seen, [(200, "/a"), (200, "/b"), (400, "Bad Request\n")]);
}

/// A client whose first bytes come late, and each piece by itself.
struct Late(std::vec::IntoIter<Vec<u8>>, Duration, Arc<std::sync::Mutex<Vec<u8>>>);

impl Read for Late {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        // The client that is tested with is slow: this is no wait for something to happen.
        std::thread::sleep(std::mem::take(&mut self.1));
        self.0.next().map_or(Ok(0), |piece| piece.as_slice().read(room))
    }
}

impl Write for Late {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.2.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Its stream has waited for them, and the deadlines of what comes behind them do not begin before.
#[test]
fn over_a_stream_of_the_callers_own_a_request_in_pieces_is_answered_however_late_it_begins() {
    let whole = [&post(5)[..], b"hello"].concat();
    for cuts in [&[20][..], &[whole.len() - 5], &[20, 40, whole.len() - 3]] {
        let (mut pieces, mut rest) = (Vec::new(), whole.clone());
        for at in cuts.iter().rev() {
            pieces.insert(0, rest.split_off(*at));
        }
        pieces.insert(0, rest);
        let answer = Arc::<std::sync::Mutex<Vec<u8>>>::default();
        let server = Server::unbound().configure(|settings| {
            (settings.head_deadline, settings.content_rate_after) = (4 * SHORT, 4 * SHORT);
        });
        server.serve_connection(Late(pieces.into_iter(), 5 * SHORT, Arc::clone(&answer)), echo);
        let responses = parse_all(&answer.lock().unwrap(), &[]);
        assert!(responses.len() == 1 && responses[0].status == 200, "{cuts:?}: {responses:?}");
    }
}

#[test]
fn with_nothing_to_do_a_server_stops_at_once() {
    // Not a measure of speed: it must not wait for a grace that nobody needs.
    let begin = Instant::now();
    let house = serve(hello);
    house.handle.shutdown(PATIENCE);
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn a_wrong_line_gets_the_same_verdict_when_the_client_stops_sending_in_the_middle_of_it() {
    for (pieces, status) in
        [(&["T  "][..], 400), (&["T", "  "], 400), (&["M", &"M".repeat(32)], 501), (&["GET /"], 400)]
    {
        let house = serve(apps::echo);
        let mut client = house.client();
        for piece in pieces {
            client.send(piece.as_bytes());
        }
        client.stop_sending();
        assert_eq!(client.response().status, status, "{pieces:?}");
    }
}

/// Keeps the causes for which connections were closed as they should be.
struct Closed(std::sync::mpsc::Sender<Cause>);

impl doorway::log::Log for Closed {
    fn error(&self, _report: &doorway::log::Report<'_>) {}

    fn closed(&self, report: &doorway::log::Report<'_>) {
        // The test that listens may have ended.
        let _ = self.0.send(report.cause);
    }
}

#[test]
fn every_silent_close_has_a_numbered_cause_for_a_log_that_wants_it() {
    let (sender, causes) = std::sync::mpsc::channel();
    let server = doorway::Server::bind("127.0.0.1:0").unwrap().log(Closed(sender)).configure(|settings| {
        settings.first_byte_deadline = SHORT;
        settings.idle_deadline = SHORT;
    });
    let handle = server.spawn(hello).unwrap();
    let address = handle.addr().to_string().parse().unwrap();
    Client::connect(address).is_closed();
    assert_eq!(causes.recv(), Ok(Cause::FirstByteDeadline));
    let mut idle = Client::connect(address);
    idle.send(&get("/"));
    assert_eq!(idle.response().text(), "hello");
    idle.is_closed();
    assert_eq!(causes.recv(), Ok(Cause::IdleDeadline));
    handle.shutdown(SHORT);

    let (sender, causes) = std::sync::mpsc::channel();
    let handle = doorway::Server::bind("127.0.0.1:0").unwrap().log(Closed(sender)).spawn(hello).unwrap();
    let mut idle = Client::connect(handle.addr().to_string().parse().unwrap());
    idle.send(&get("/"));
    assert_eq!(idle.response().text(), "hello");
    handle.shutdown(SHORT);
    assert_eq!(causes.recv(), Ok(Cause::Stopping));
}
