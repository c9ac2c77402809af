//! Promise: a thread is held by an application that runs, never by a client that waits, and no setting, no client and no stop makes the
//! server lose what it holds: threads, seats, memory, or requests that had arrived.

mod support;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::{Duration, Instant};

use doorway::log::{Answer, Phase};
use doorway::{Application, Body, Cause, Environ, Handle, Server, StartResponse};
use support::{Client, House, PATIENCE, locked, serve, serve_with};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn hello(_: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[]);
    Body::from("hello")
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// A shutdown that returns.
#[track_caller]
fn ends(handle: Handle, grace: Duration) {
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        handle.shutdown(grace);
        // The test has given up if nobody hears it.
        let _ = sender.send(());
    });
    ended.recv_timeout(PATIENCE).expect("the server ends");
}

/// Something that lasts until the test says so.
#[derive(Clone, Default)]
struct Told(Arc<(Mutex<bool>, Condvar)>);

impl Told {
    fn wait(&self) {
        let (told, signal) = &*self.0;
        drop(signal.wait_while(locked(told), |told| !*told));
    }

    fn tell(&self) {
        *locked(&self.0.0) = true;
        self.0.1.notify_all();
    }
}

// ------------------------------------------------------------------------------------------------- settings and sockets

#[test]
fn a_deadline_beyond_the_clock_is_none_and_costs_no_thread() {
    let house = serve_with(hello, |settings| {
        for time in [
            &mut settings.first_byte_deadline,
            &mut settings.head_deadline,
            &mut settings.idle_deadline,
            &mut settings.content_stall,
            &mut settings.content_rate_after,
            &mut settings.response_stall,
            &mut settings.drain_deadline,
            &mut settings.linger_deadline,
            &mut settings.queue_timeout,
            &mut settings.grace,
        ] {
            *time = Duration::MAX;
        }
    });
    for _ in 0..3 {
        let mut client = house.client();
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n");
        client.send(&[b'x'; 30_000]);
        assert_eq!(client.response().text(), "hello");
    }
    ends(house.handle, Duration::from_secs(1));
}

#[test]
fn limits_beyond_the_address_space_overflow_nothing() {
    let house = serve_with(hello, |settings| {
        settings.gathered_content = usize::MAX;
        settings.max_head = usize::MAX;
        settings.held = usize::MAX;
        settings.max_content = Some(u64::MAX);
        settings.drain = u64::MAX;
        settings.linger = u64::MAX;
        settings.queue = usize::MAX;
        settings.max_connections = usize::MAX;
    });
    for _ in 0..3 {
        let mut client = house.client();
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n");
        client.send(&[b'x'; 300]);
        assert_eq!(client.response().text(), "hello");
    }
    assert_eq!(house.log.causes(), []);
    ends(house.handle, Duration::from_secs(1));
}

#[test]
fn more_threads_than_there_can_be_are_an_error_and_overflow_nothing() {
    let server = Server::bind("127.0.0.1:0").unwrap().threads(usize::MAX);
    // No system has that much to give, not even one of 32 bits, so that the first does not start.
    let error = server.configure(|settings| settings.stack = Some(usize::MAX / 8 * 7)).spawn(hello).unwrap_err();
    assert!(error.to_string().starts_with("only 0 of "), "{error}");
    let (request, log) = (io::Cursor::new(GET.to_vec()), support::Collected::default());
    Server::unbound().threads(usize::MAX).log(log.clone()).serve_connection(request, hello);
    assert_eq!(log.take_accesses(1), [(200, 5)]);
}

#[test]
fn a_server_ends_though_another_takes_the_connections_of_their_listener() {
    for first in [0, 1] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = Server::from_listener(listener.try_clone().unwrap()).spawn(hello).unwrap();
        let other = Server::from_listener(listener).spawn(hello).unwrap();
        let address = one.addr().clone();
        let mut both = vec![one, other];
        ends(both.remove(first), Duration::from_secs(1));
        // The one that is left serves.
        let mut client = Client::over(TcpStream::connect(address).unwrap());
        client.send(GET);
        assert_eq!(client.response().text(), "hello");
        drop(client);
        ends(both.remove(0), Duration::from_secs(1));
    }
}

#[test]
fn a_listener_that_was_handed_over_without_blocking_costs_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let log = support::Collected::default();
    let handle = Server::from_listener(listener).log(log.clone()).spawn(hello).unwrap();
    let mut kept = Client::over(TcpStream::connect(handle.addr()).unwrap());
    for _ in 0..5 {
        let mut client = Client::over(TcpStream::connect(handle.addr()).unwrap());
        client.send(GET);
        assert_eq!(client.response().text(), "hello");
    }
    kept.send(GET);
    assert_eq!(kept.response().text(), "hello");
    assert_eq!(log.causes(), []);
    ends(handle, Duration::from_secs(1));
}

#[test]
fn that_no_thread_has_been_free_for_ten_seconds_is_in_the_log_once_with_the_call_that_lasts_longest() {
    let told = Told::default();
    let application = {
        let told = told.clone();
        move |environ: &Environ, start_response: &mut StartResponse| {
            told.wait();
            hello(environ, start_response)
        }
    };
    let house = serve_with(application, |_| {});
    let mut clients = [house.client(), house.client(), house.client()];
    for (client, path) in clients.iter_mut().zip(["/report?secret", "/other", "/waits"]) {
        client.send(&get(path));
        house.until("is called or waits", |stats| stats.busy == 2 || path == "/report?secret" && stats.busy == 1);
    }
    let seen = house.log.take(Cause::ThreadsBusy);
    let begin = "4019 threads-busy: no thread of the pool has been free for ten seconds. all 2 threads are in calls; ";
    assert!(seen.line.starts_with(&format!("{begin}the longest for 1")), "{}", seen.line);
    assert!(seen.line.ends_with(" s: GET /report"), "{}", seen.line);
    told.tell();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!((house.handle.stats().refused, house.log.reports()), (0, Vec::new()));
}

#[test]
fn a_stopper_that_is_kept_keeps_nothing_of_a_server_that_has_ended() {
    let state = Arc::new(());
    let kept = Arc::clone(&state);
    let handle = Server::bind("127.0.0.1:0")
        .unwrap()
        .spawn(move |_: &Environ, start_response: &mut StartResponse| {
            let _state = &kept;
            start_response.start("200 OK", &[]);
            ""
        })
        .unwrap();
    let (address, stopper) = (handle.addr().clone(), handle.stopper());
    handle.shutdown(Duration::from_secs(1));
    assert_eq!(Arc::strong_count(&state), 1);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    stopper.stop();
}

#[test]
fn an_application_that_drops_the_handle_of_its_own_server_does_not_wait_for_itself() {
    let own = Arc::new(Mutex::new(None::<Handle>));
    let (kept, (sender, dropped)) = (Arc::clone(&own), mpsc::channel());
    let sender = Mutex::new(sender);
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        drop(locked(&kept).take());
        locked(&sender).send(()).unwrap();
        start_response.start("200 OK", &[]);
        ""
    };
    let handle = Server::bind("127.0.0.1:0").unwrap().spawn(application).unwrap();
    let mut client = Client::over(TcpStream::connect(handle.addr()).unwrap());
    *locked(&own) = Some(handle);
    client.send(GET);
    dropped.recv_timeout(PATIENCE).expect("the call goes on");
}

#[test]
fn a_stop_reports_nothing_of_the_connections_that_it_makes_itself() {
    let log = support::Collected::default();
    let server = Server::bind("0.0.0.0:0").unwrap().allow([[192, 0, 2, 1].into()]).log(log.clone());
    let stats = server.spawn(hello).unwrap().shutdown(Duration::ZERO);
    assert_eq!((log.causes(), stats.accepted), (vec![], 0));
    let stats = Server::bind("127.0.0.1:0").unwrap().spawn(hello).unwrap().shutdown(Duration::ZERO);
    assert_eq!(stats.accepted, 0);
}

#[test]
#[cfg(unix)]
fn a_unix_socket_is_taken_away_at_the_end_whoever_keeps_a_stopper() {
    let place = std::env::temp_dir().join(format!("doorway-kept-{}", std::process::id()));
    let handle = Server::bind_unix(&place).unwrap().spawn(hello).unwrap();
    let stopper = handle.stopper();
    stopper.stop();
    handle.join();
    assert!(!place.exists());
    drop(stopper);
}

// ---------------------------------------------------------------------------------------------------------------- seats

#[test]
fn content_that_has_been_read_holds_no_seat_while_the_application_goes_on() {
    const CONTENT: usize = 20_000;
    let (told, told_too) = (Told::default(), Told::default());
    let (wait, read) = (told.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&read);
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            let mut content = vec![0; CONTENT];
            environ.input().read_exact(&mut content)?;
            count.fetch_add(1, Ordering::SeqCst);
            if environ.path() == "/wait" {
                wait.wait();
            }
            start_response.start("200 OK", &[]);
            Ok(Body::from("read"))
        },
        |settings| settings.threads = 4,
    );
    let post = |path: &str| {
        let mut client = house.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {CONTENT}\r\n\r\n").as_bytes());
        client.send(&[b'x'; CONTENT]);
        client
    };
    let mut waiting: Vec<_> = (0..3).map(|_| post("/wait")).collect();
    house.until("three have read their content", |_| read.load(Ordering::SeqCst) == 3);
    assert_eq!(post("/").response().text(), "read");
    told.tell();
    waiting.iter_mut().for_each(|client| assert_eq!(client.response().text(), "read"));
    told_too.tell();
}

/// Of its content only the first byte is read; the rest is still the client's to send when the response waits for it.
#[test]
fn content_that_is_not_read_to_its_end_holds_no_seat_while_the_response_waits_for_its_client() {
    const CONTENT: usize = 20_000;
    let application = |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
        let mut input = environ.input();
        input.read_exact(&mut [0])?;
        start_response.start("200 OK", &[]);
        if environ.path() == "/large" {
            return Ok(megabytes(&Arc::default()));
        }
        io::copy(&mut input, &mut io::sink())?;
        Ok(Body::from("read"))
    };
    let house = serve_with(application, |settings| {
        settings.threads = 4;
        settings.queue_timeout = Duration::from_secs(1);
    });
    let post = |path: &str| {
        let mut client = house.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {CONTENT}\r\n\r\n").as_bytes());
        client
    };
    let mut stalled: Vec<_> = (0..3).map(|_| post("/large")).collect();
    for client in &mut stalled {
        client.send(b"x");
        client.until(b"xxx");
    }
    house.until("three responses wait for their clients", |stats| stats.parked == 3 && stats.busy == 0);
    let mut client = post("/");
    house.until("its content is waited for", |stats| stats.busy == 1);
    client.send(&[b'x'; CONTENT]);
    assert_eq!(client.response().text(), "read");
}

/// `/echo` gives a large block if it is told to, and then each byte of its content as it comes; everything else reads its content first.
fn echoes(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    start_response.start("200 OK", &[]);
    if environ.path() != "/echo" {
        io::copy(&mut environ.input(), &mut io::sink())?;
        return Ok(Body::from("read"));
    }
    let own = environ.clone();
    let mut large = environ.query_string().parse::<usize>().ok();
    Ok(Body::blocks(std::iter::from_fn(move || {
        if let Some(length) = large.take() {
            return Some(Ok(vec![b'y'; length]));
        }
        let mut byte = [0];
        Some(own.input().read_exact(&mut byte).map(|()| byte.to_vec()))
    })))
}

const SOME: usize = 20_000;

fn post_to(house: &House, path: &str) -> Client<TcpStream> {
    let mut client = house.client();
    client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {SOME}\r\n\r\n").as_bytes());
    client
}

#[test]
fn a_body_that_reads_content_as_it_goes_has_one_seat_and_nobody_is_cut_for_a_second_one() {
    let house = serve_with(echoes, |settings| settings.threads = 4);
    let mut waited_for: Vec<_> = (0..2).map(|_| post_to(&house, "/")).collect();
    house.until("the content of two is waited for", |stats| stats.busy == 2);
    // These clients are slow: this is no wait for something to happen.
    std::thread::sleep(Duration::from_secs(1));
    let mut echo = post_to(&house, "/echo");
    for byte in [b"a", b"b", b"c"] {
        echo.send(byte);
        echo.until(byte);
    }
    std::thread::sleep(Duration::from_millis(100));
    for client in &mut waited_for {
        client.send(&[b'x'; SOME]);
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn whoever_stalls_a_body_that_reads_content_as_it_goes_is_cut_for_one_who_wants_in() {
    let house = serve_with(echoes, |settings| {
        settings.threads = 4;
        settings.queue_timeout = Duration::from_secs(5);
    });
    let stalled: Vec<_> = (0..3)
        .map(|_| {
            let mut client = post_to(&house, "/echo?600000");
            client.stream.read_exact(&mut vec![0; 600_000]).unwrap();
            client
        })
        .collect();
    house.until("the content of three is waited for", |stats| stats.busy == 3);
    let mut client = post_to(&house, "/");
    client.send(&[b'x'; SOME]);
    assert_eq!(client.response().status, 200);
    drop(stalled);
}

/// `/stall` yields for ever; `/sleep` gives a block and then waits until it is told; everything else is answered at once.
fn streams(told: &Told) -> impl doorway::Application {
    let told = told.clone();
    move |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        match &*environ.path() {
            "/stall" => Body::blocks(std::iter::repeat_with(|| vec![b'x'; 65_536])),
            "/sleep" => {
                let (told, mut first) = (told.clone(), true);
                Body::blocks(std::iter::from_fn(move || {
                    if std::mem::take(&mut first) {
                        return Some("begun");
                    }
                    told.wait();
                    None
                }))
            }
            _ => Body::from("hello"),
        }
    }
}

/// Eight clients of bodies that sleep behind their first block: three have the seats of four threads, and the others want one.
fn take_the_seats(house: &House) -> Vec<Client<TcpStream>> {
    let sleeping = (0..8).map(|_| {
        let mut client = house.client();
        client.send(&get("/sleep"));
        client.until(b"begun");
        client
    });
    let sleeping = sleeping.collect();
    house.until("three sleep", |stats| stats.busy == 3);
    sleeping
}

/// Where the seats are taken and more are wanted, what has sent all of a file needs none to say so.
#[test]
fn a_request_behind_a_whole_file_waits_for_no_seat() {
    let path = std::env::temp_dir().join(format!("doorway-small-{}", std::process::id()));
    std::fs::write(&path, "hello").unwrap();
    let (told, place) = (Told::default(), path.clone());
    let stream = streams(&told);
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| {
            if environ.path() == "/file" {
                start_response.start("200 OK", &[]);
                return std::fs::File::open(&place).map(Body::from).into();
            }
            stream.call(environ, start_response)
        },
        |settings| settings.threads = 4,
    );
    let sleeping = take_the_seats(&house);
    let mut client = house.client();
    client.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..20 {
            client.send(&get("/file"));
            assert_eq!(client.response().text(), "hello");
        }
    }));
    // In any case, or the server would wait for them for ever.
    told.tell();
    drop(sleeping);
    std::fs::remove_file(path).unwrap();
    asked.unwrap();
}

#[test]
fn readers_that_stall_on_a_body_made_block_by_block_hold_no_thread() {
    let house = serve_with(streams(&Told::default()), |settings| settings.threads = 2);
    let stalled: Vec<_> = (0..12)
        .map(|_| {
            let mut client = house.client();
            client.send(&get("/stall"));
            client.until(b"\r\n\r\n");
            client
        })
        .collect();
    house.until("nobody works", |stats| stats.busy == 0);
    for _ in 0..20 {
        assert_eq!(house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").text(), "hello");
    }
    drop(stalled);
}

#[test]
fn bodies_that_sleep_between_their_blocks_never_have_more_than_three_quarters_of_the_pool() {
    let told = Told::default();
    let house = serve_with(streams(&told), |settings| settings.threads = 4);
    let mut sleeping = take_the_seats(&house);
    for _ in 0..20 {
        assert_eq!(house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").text(), "hello");
        assert!(house.handle.stats().busy <= 4);
    }
    told.tell();
    sleeping.iter_mut().for_each(|client| {
        client.until(b"0\r\n\r\n");
    });
}

#[test]
fn a_body_of_nothing_but_empty_blocks_spins_no_thread_and_is_cut() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            if environ.path() != "/empty" {
                return Body::from("hello");
            }
            let count = Arc::clone(&count);
            Body::blocks(std::iter::repeat_with(move || {
                count.fetch_add(1, Ordering::Relaxed);
                ""
            }))
        },
        |settings| {
            settings.threads = 1;
            settings.response_stall = Duration::from_millis(500);
        },
    );
    let mut client = house.client();
    client.send(&get("/empty"));
    house.until("it is asked", |_| asked.load(Ordering::Relaxed) > 0);
    assert_eq!(house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").text(), "hello");
    assert_eq!(client.response().status, 500);
    assert_eq!(house.log.take(Cause::BodyFailed).answer, Answer::Status(500));
    assert!(asked.load(Ordering::Relaxed) < 200_000, "{asked:?}");
}

/// How often this thread has given up the processor by itself.
#[cfg(target_os = "linux")]
fn voluntary_switches() -> usize {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_body_of_nothing_but_empty_blocks_lets_the_thread_sleep_that_serves_a_stream_alone() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let request = io::Cursor::new(b"GET / HTTP/1.0\r\n\r\n".to_vec());
    let begin = voluntary_switches();
    let server = Server::unbound().configure(|settings| settings.response_stall = Duration::from_millis(200));
    server.log(support::Collected::default()).serve_connection(
        request,
        move |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            let count = Arc::clone(&count);
            Body::blocks(std::iter::repeat_with(move || {
                count.fetch_add(1, Ordering::Relaxed);
                ""
            }))
        },
    );
    // It is asked so often before it gets a pause.
    let pauses = asked.load(Ordering::Relaxed) / 64;
    assert!(pauses > 1 && voluntary_switches() - begin >= pauses - 1, "{pauses}");
}

#[test]
fn content_that_the_end_of_a_grace_cuts_off_is_said_to_be_so_and_is_nobodys_mistake() {
    let house = serve_with(
        |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            let mut content = Vec::new();
            environ.input().read_to_end(&mut content)?;
            start_response.start("200 OK", &[]);
            Ok(Body::from("read"))
        },
        |_| {},
    );
    let mut client = house.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\nx");
    house.until("it is read", |stats| stats.busy == 1);
    ends(house.handle, Duration::from_millis(50));
    assert_eq!(client.response().status, 503);
    assert_eq!(house.log.take(Cause::Stopping).answer, Answer::Status(503));
}

#[test]
fn a_writer_whom_the_end_of_a_grace_cuts_off_is_not_called_slow() {
    let house = serve_with(
        |_: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            let mut writer = start_response.start("200 OK", &[]);
            loop {
                writer.write_all(&[b'x'; 65_536])?;
            }
        },
        |_| {},
    );
    let mut client = house.client();
    client.send(GET);
    client.until(b"x");
    ends(house.handle, Duration::from_millis(50));
    assert_eq!(house.log.take(Cause::Stopping).answer, Answer::Cut);
}

/// As a stream of events does, whose client takes each of them at once.
#[test]
fn what_an_application_says_without_end_ends_with_the_grace_of_a_stop_though_its_client_takes_everything() {
    for path in ["/written", "/blocks", "/empty"] {
        // Each waits until the test has heard of it.
        let (sender, said) = mpsc::sync_channel(0);
        let sender = Mutex::new(Some(sender));
        let house = serve(move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            let mut writer = start_response.start("200 OK", &[]);
            let (sender, text) = (locked(&sender).take(), if environ.path() == "/empty" { "" } else { "x" });
            let sender = sender.expect("one request");
            let say = move || sender.send(()).is_ok().then_some(text);
            if environ.path() != "/written" {
                return Ok(Body::blocks(std::iter::from_fn(say)));
            }
            while let Some(text) = say() {
                writer.write_all(text.as_bytes())?;
            }
            Ok(Body::empty())
        });
        let mut client = house.client();
        client.send(&get(path));
        (0..100).for_each(|_| said.recv_timeout(PATIENCE).unwrap());
        house.handle.stopper().stop_within(Duration::ZERO);
        // One may be under way, and the next asked for by then.
        let more = said.iter().take(10).count();
        drop(said);
        ends(house.handle, Duration::ZERO);
        assert!(more <= 2, "{path}: {more}");
        assert_eq!(house.log.take(Cause::Stopping).answer, Answer::Cut, "{path}");
    }
}

#[test]
fn a_call_that_outlasts_the_grace_of_a_stop_is_answered_where_all_that_it_promises_is_there() {
    let too_long = [Cause::BodyLong];
    for (method, path, causes) in [
        ("GET", "/written", &[][..]),
        ("GET", "/blocks", &[]),
        ("HEAD", "/written", &[]),
        ("HEAD", "/blocks", &[]),
        // What is at fault is the application and not the stop.
        ("GET", "/written/and/more", &too_long),
        ("GET", "/blocks/and/more", &too_long),
    ] {
        let (called, (release, released)) = (Told::default(), mpsc::channel::<()>());
        let (call, released) = (called.clone(), Mutex::new(released));
        let house = serve(move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            call.tell();
            let _ = locked(&released).recv_timeout(PATIENCE);
            let mut writer = start_response.start("200 OK", &[("Content-Length", "5")]);
            let text = if environ.path().ends_with("more") { "hello, world" } else { "hello" };
            if environ.path().starts_with("/blocks") {
                return Ok(Body::blocks([text]));
            }
            // Of what is too long it is told.
            let _ = writer.write_all(text.as_bytes());
            Ok(Body::empty())
        });
        let mut client = house.client();
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        called.wait();
        house.handle.stopper().stop_within(Duration::ZERO);
        release.send(()).unwrap();
        let content = if method == "HEAD" { "" } else { "hello" };
        assert_eq!(client.response_to(method).text(), content, "{method} {path}");
        drop(client);
        ends(house.handle, Duration::ZERO);
        let logged = (house.log.causes(), house.log.take_accesses(1));
        assert_eq!(logged, (causes.to_vec(), vec![(200, content.len() as u64)]), "{method} {path}");
    }
}

/// Of the content to HEAD nothing is sent, so that it makes no difference to a writer whether the client is still there.
#[test]
fn an_application_that_writes_without_end_to_head_is_told_so_and_keeps_no_thread() {
    let house = serve_with(
        |_: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            let mut writer = start_response.start("200 OK", &[]);
            loop {
                writer.write_all(b"x")?;
            }
        },
        |settings| (settings.threads, settings.response_stall) = (1, Duration::from_millis(50)),
    );
    for _ in 0..3 {
        let mut client = house.client();
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.until(b"\r\n\r\n");
        drop(client);
        let seen = house.log.take(Cause::ApplicationError);
        assert_eq!((seen.answer, &*seen.detail), (Answer::Sent, "nothing of what is written is sent"));
    }
    ends(house.handle, PATIENCE);
}

/// Otherwise the longer one waits, the seldomer it is looked at, and the less it gets.
#[test]
fn content_that_has_waited_longest_for_a_seat_has_the_next_however_much_comes_later() {
    let (told, order) = (Told::default(), Arc::new(Mutex::new(Vec::new())));
    let (stream, called) = (streams(&told), Arc::clone(&order));
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| {
            if environ.path() == "/sleep" {
                return stream.call(environ, start_response);
            }
            locked(&called).push(environ.path().into_owned());
            let read = io::copy(&mut environ.input(), &mut io::sink());
            start_response.start("200 OK", &[]);
            read.map(|_| Body::empty()).into()
        },
        |settings| (settings.threads, settings.shards) = (2, 2),
    );
    let mut sleeping = house.client();
    sleeping.send(&get("/sleep"));
    sleeping.until(b"begun");
    house.until("the only seat is taken", |stats| stats.busy == 1);
    let mut clients = Vec::new();
    for at in 1..=10 {
        let mut client = post_to(&house, &format!("/{at}"));
        house.until("it waits", |stats| stats.phases().any(|count| count == (Phase::Queued, at)));
        client.send(&[b'x'; SOME]);
        clients.push(client);
        // The clients that are tested with are slow: this is no wait for something to happen.
        std::thread::sleep(Duration::from_millis(50));
    }
    told.tell();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!(*locked(&order), (1..=10).map(|at| format!("/{at}")).collect::<Vec<_>>());
}

#[test]
fn a_request_waits_for_a_thread_and_a_seat_together_no_longer_than_it_may() {
    let told = Told::default();
    let wait = told.clone();
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            // The only seat is held by a content that does not come.
            let mut content = Vec::new();
            let read = environ.input().read_to_end(&mut content);
            wait.wait();
            read?;
            start_response.start("200 OK", &[]);
            Ok(Body::empty())
        },
        |settings| {
            settings.threads = 1;
            settings.queue_timeout = Duration::from_millis(300);
        },
    );
    let long = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n";
    let mut first = house.client();
    first.send(long);
    house.until("the seat is taken", |stats| stats.busy == 1);
    let mut second = house.client();
    let begin = Instant::now();
    second.send(long);
    assert_eq!(second.response().status, 503);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    told.tell();
    drop(first);
}

#[test]
fn a_head_that_comes_in_pieces_is_answered_while_its_shard_goes_from_thread_to_thread() {
    let house = serve_with(hello, |settings| {
        settings.threads = 8;
        settings.shards = 1;
    });
    std::thread::scope(|scope| {
        // A worker that blocks on its only connection is relieved whenever another comes.
        scope.spawn(|| {
            for _ in 0..400 {
                let mut client = house.client();
                client.send(GET);
                assert_eq!(client.response().text(), "hello");
            }
        });
        let mut client = house.client();
        for round in 0..300 {
            let at = 1 + round % (GET.len() - 1);
            client.send(&GET[..at]);
            std::thread::yield_now();
            client.send(&GET[at..]);
            assert_eq!(client.response().text(), "hello", "{round}");
        }
    });
}

/// A reader that another thread of the application goes on with is none of the pool's.
#[test]
fn a_reader_that_outlives_its_call_has_no_seat() {
    const CONTENT: usize = 20_000;
    let told = Told::default();
    let wait = told.clone();
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            start_response.start("200 OK", &[]);
            if environ.path() == "/kept" {
                let (kept, wait, (sender, begun)) = (environ.clone(), wait.clone(), mpsc::channel());
                std::thread::spawn(move || {
                    let mut input = kept.input();
                    input.read_exact(&mut [0]).expect("the first byte is there");
                    sender.send(()).expect("the call waits");
                    wait.wait();
                });
                begun.recv().expect("it reads");
            } else {
                io::copy(&mut environ.input(), &mut io::sink())?;
            }
            Ok(Body::from("read"))
        },
        |settings| settings.queue_timeout = Duration::from_secs(2),
    );
    let head =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {CONTENT}\r\n\r\n").into_bytes();
    let mut kept = house.client();
    kept.send(&head("/kept"));
    kept.send(b"x");
    assert_eq!(kept.response().text(), "read");
    let mut client = house.client();
    client.send(&head("/"));
    client.send(&[b'x'; CONTENT]);
    let status = client.response().status;
    told.tell();
    assert_eq!(status, 200);
}

/// Each block is taken after a short wait, so that no single one of them makes a client slow.
#[test]
fn clients_that_take_every_written_block_a_little_late_do_not_keep_all_threads() {
    let much = vec![b'y'; 512 * 1024];
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            let mut writer = start_response.start("200 OK", &[("Content-Type", "text/plain")]);
            while environ.path() == "/much" {
                writer.write_all(&much)?;
            }
            Ok(Body::from("z"))
        },
        |settings| settings.queue_timeout = Duration::from_secs(8),
    );
    let (done, begun) = (AtomicBool::new(false), Barrier::new(3));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = house.client();
                client.send(&get("/much"));
                client.until(b"y");
                begun.wait();
                let mut taken = vec![0; 1 << 20];
                while !done.load(Ordering::SeqCst) && client.stream.read(&mut taken).is_ok_and(|read| read > 0) {
                    // The client that is tested with is slow: this is no wait for something to happen.
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        begun.wait();
        house.until("both threads are held", |stats| stats.busy == 2);
        let mut client = house.client();
        client.send(GET);
        let status = client.response().status;
        done.store(true, Ordering::SeqCst);
        assert_eq!(status, 200);
    });
}

/// Nobody who could be refused a seat asks for one here: the request waits for a thread, and the monitor says so for it.
#[test]
fn a_request_that_no_thread_is_free_for_has_the_slowest_client_cut_that_holds_one() {
    let told = Told::default();
    let (wait, much) = (told.clone(), vec![b'y'; 64 << 20]);
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
            let mut writer = start_response.start("200 OK", &[("Content-Type", "text/plain")]);
            match &*environ.path() {
                "/much" => writer.write_all(&much)?,
                "/wait" => wait.wait(),
                _ => {}
            }
            Ok(Body::from("z"))
        },
        |settings| {
            settings.threads = 4;
            settings.queue_timeout = Duration::from_secs(5);
        },
    );
    // The three seats, and then the last thread.
    let mut held: Vec<_> = ["/much", "/much", "/much", "/wait"].iter().map(|path| (house.client(), path)).collect();
    for (number, (client, path)) in held.iter_mut().enumerate() {
        client.send(&get(path));
        house.until("the call runs", |stats| stats.busy > number);
    }
    let mut client = house.client();
    client.send(GET);
    let status = client.response().status;
    told.tell();
    assert_eq!(status, 200);
}

/// However quick the application was so far, an answer does not wait for a call that is not.
#[test]
fn an_answer_does_not_wait_for_the_slow_call_of_a_pipelined_request_behind_it() {
    let told = Told::default();
    let wait = told.clone();
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| {
            if environ.path() == "/slow" {
                wait.wait();
            }
            start_response.start("200 OK", &[]);
            Body::from("hello")
        },
        |settings| settings.shards = 1,
    );
    let mut client = house.client();
    for _ in 0..400 {
        client.send(&get("/quick"));
        client.response();
    }
    client.stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    client.send(&[get("/quick"), get("/slow")].concat());
    let mut first = [0; 5];
    let read = client.stream.read_exact(&mut first);
    told.tell();
    assert!(read.is_ok() && &first == b"HTTP/", "{read:?}");
}

/// What a request says is held as long as its response is not taken.
#[test]
fn heads_of_requests_whose_responses_nobody_takes_count_as_memory() {
    let house = serve_with(
        |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            Body::blocks(std::iter::repeat_with(|| vec![b'x'; 20_000]))
        },
        |settings| settings.held = 1_000_000,
    );
    let field = format!("X-Long: {}\r\n", "v".repeat(8_000)).repeat(7);
    let stalled: Vec<_> = (0..20)
        .map(|_| {
            let mut client = house.client();
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n").as_bytes());
            client.until(b"\r\n\r\n");
            client
        })
        .collect();
    house.until("some are shed", |stats| stats.count(Cause::HeldLimit) >= 4);
    drop(stalled);
}

// ---------------------------------------------------------------------------------------------------------------- hooks

#[test]
fn what_a_hook_of_middleware_holds_ends_with_the_call() {
    struct Guard(mpsc::Sender<String>, String);
    impl Drop for Guard {
        fn drop(&mut self) {
            // Nobody listens at the end of the test.
            let _ = self.0.send(self.1.clone());
            assert!(self.1 != "/panics" || std::thread::panicking(), "on purpose, while dropped");
        }
    }
    let (sender, dropped) = mpsc::channel();
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| {
            if environ.path() != "/plain" {
                let guard = Guard(sender.clone(), environ.path().into_owned());
                start_response.on_start(move |_, _| assert!(!guard.1.is_empty()));
            }
            start_response.start("200 OK", &[]);
            Body::from("hello")
        },
        |settings| settings.threads = 1,
    );
    let mut client = house.client();
    client.send(&get("/held"));
    assert_eq!(client.response().text(), "hello");
    assert_eq!(dropped.recv_timeout(PATIENCE).as_deref(), Ok("/held"));
    client.send(&get("/panics"));
    assert_eq!(client.response().status, 500);
    let mut innocent = house.client();
    for _ in 0..3 {
        innocent.send(&get("/plain"));
        assert_eq!(innocent.response().text(), "hello");
    }
}

/// What middleware wants of the head of one request is nothing to the next, even if the application panics in between.
#[test]
fn a_hook_of_a_call_that_panics_changes_nothing_of_the_next_response() {
    let house = serve_with(
        |environ: &Environ, start_response: &mut StartResponse| {
            if environ.path() == "/panics" {
                start_response.on_start(|_, headers| headers.set("Set-Cookie", "secret"));
                panic!("on purpose, after a hook");
            }
            start_response.start("200 OK", &[]);
            Body::from("hello")
        },
        |settings| settings.threads = 1,
    );
    let mut client = house.client();
    client.send(&get("/panics"));
    assert_eq!(client.response().status, 500);
    let mut innocent = house.client();
    innocent.send(&get("/plain"));
    let response = innocent.response();
    assert_eq!((response.text(), response.field("set-cookie")), ("hello", None));
}

// ----------------------------------------------------------------------------------------------------------------- stop

#[test]
fn p_conn_requests_that_had_arrived_before_a_stop_are_answered_on_kept_new_and_queued_connections() {
    for round in 0..40 {
        let house = serve(hello);
        let mut clients: Vec<_> = (0..8).map(|_| house.client()).collect();
        for client in clients.iter_mut().take(4) {
            client.send(GET);
            assert_eq!(client.response().text(), "hello");
        }
        // Some grow cold, some are new, and what connects now may still be in the system's queue.
        clients.extend((0..8).map(|_| house.client()));
        for client in &mut clients {
            client.send(GET);
        }
        house.handle.stopper().stop_within(Duration::from_secs(10));
        for (number, client) in clients.iter_mut().enumerate() {
            // With Connection: close, unless it was out before the stop.
            assert_eq!(client.response().status, 200, "{round} {number}");
        }
        // Whoever is told of the end ends it, too.
        drop(clients);
        ends(house.handle, Duration::from_secs(10));
    }
}

// ------------------------------------------------------------------------------------------------ what the log says

#[test]
fn the_access_log_says_what_was_sent_when_it_was_sent_and_not_what_was_promised() {
    const LENGTH: usize = 60_000_000;
    let house = serve(|_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        Body::from(vec![b'x'; LENGTH])
    });
    let mut client = house.client();
    client.send(GET);
    client.stream.read_exact(&mut [0; 1000]).unwrap();
    drop(client);
    let [(200, bytes)] = house.log.take_accesses(1)[..] else { panic!("one line") };
    assert!((500..LENGTH as u64 / 2).contains(&bytes), "{bytes}");
    assert_eq!(house.log.take(Cause::ClientGone).answer, Answer::Cut);
}

#[test]
fn p_len_03_the_log_says_that_a_body_shorter_than_it_promised_was_cut() {
    let house = serve(|_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[("Content-Length", "10")]);
        Body::blocks(["abc"])
    });
    let mut client = house.client();
    client.send(GET);
    client.until_end();
    assert_eq!(house.log.take(Cause::BodyShort).answer, Answer::Cut);
}

#[test]
fn p_len_02_of_a_file_that_is_longer_than_it_promised_all_that_was_promised_is_sent() {
    let path = std::env::temp_dir().join(format!("doorway-long-{}", std::process::id()));
    std::fs::write(&path, vec![b'x'; 300_000]).unwrap();
    let place = path.clone();
    let house = serve(move |_: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
        start_response.start("200 OK", &[("Content-Length", "200000")]);
        Ok(std::fs::File::open(&place)?.into())
    });
    let mut client = house.client();
    for _ in 0..2 {
        client.send(GET);
        assert_eq!(client.response().text().len(), 200_000);
        house.log.take(Cause::BodyLong);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn an_error_of_a_body_that_carries_a_cause_has_the_status_of_that() {
    let house = serve(|environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
        let error = || io::Error::other(Cause::UpstreamTruncated);
        if environ.path() == "/returned" {
            return Err(error());
        }
        start_response.start("200 OK", &[]);
        Ok(Body::blocks(std::iter::once_with(move || Err::<Body, _>(error()))))
    });
    for path in ["/yielded", "/returned"] {
        let mut client = house.client();
        client.send(&get(path));
        assert_eq!(client.response().status, 502, "{path}");
        assert_eq!(house.log.take(Cause::UpstreamTruncated).answer, Answer::Status(502));
    }
}

#[test]
fn the_blocks_of_a_list_go_out_in_one_write_with_their_head() {
    #[derive(Clone, Default)]
    struct Counted(Arc<AtomicUsize>, Arc<Mutex<io::Cursor<Vec<u8>>>>);
    impl Read for Counted {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            locked(&self.1).read(room)
        }
    }
    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(bytes.len())
        }
        fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
            self.write(&slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let stream = Counted::default();
    *locked(&stream.1) = io::Cursor::new(GET.to_vec());
    doorway::serve_connection(stream.clone(), |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        Body::list((0..10).map(|_| vec![b'x'; 20_000]).collect::<Vec<_>>())
    });
    assert_eq!(stream.0.load(Ordering::SeqCst), 1);
}

#[test]
fn requests_that_wait_for_a_thread_are_shed_when_all_that_waits_holds_too_much() {
    let told = Told::default();
    let wait = told.clone();
    let house = serve_with(
        move |_: &Environ, start_response: &mut StartResponse| {
            wait.wait();
            start_response.start("200 OK", &[]);
            ""
        },
        |settings| {
            settings.threads = 1;
            settings.held = 100_000;
        },
    );
    let mut first = house.client();
    first.send(GET);
    house.until("the thread is held", |stats| stats.busy == 1);
    let waiting: Vec<_> = (0..12)
        .map(|_| {
            let mut client = house.client();
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15000\r\n\r\n");
            client.send(&[b'x'; 15_000]);
            client
        })
        .collect();
    house.until("some are shed", |stats| stats.count(Cause::HeldLimit) >= 4);
    told.tell();
    drop((first, waiting));
}

#[test]
fn a_connection_that_is_closed_for_another_while_its_response_waits_is_counted_once() {
    let house = serve_with(streams(&Told::default()), |settings| settings.max_connections = 1);
    let mut stalled = house.client();
    stalled.send(&get("/stall"));
    stalled.until(b"\r\n\r\n");
    house.until("nobody works", |stats| stats.busy == 0 && stats.parked == 1);
    let mut client = house.client();
    client.send(GET);
    assert_eq!(client.response().text(), "hello");
    house.until("the body is closed", |stats| stats.served == 2);
    assert_eq!(house.log.causes(), [Cause::ConnectionLimit]);
    assert_eq!(house.handle.stats().count(Cause::ConnectionLimit), 1);
}

#[test]
fn a_connection_is_closed_for_another_once_though_no_thread_closes_its_body() {
    let told = Told::default();
    let (wait, stream, is_held) = (told.clone(), streams(&told), Arc::new(AtomicBool::new(false)));
    let holds = Arc::clone(&is_held);
    let house = serve_with(
        move |environ: &Environ, start_response: &mut StartResponse| {
            if environ.path() == "/wait" {
                holds.store(true, Ordering::SeqCst);
                wait.wait();
            }
            stream.call(environ, start_response)
        },
        |settings| (settings.threads, settings.max_connections) = (1, 2),
    );
    let mut stalled = house.client();
    stalled.send(&get("/stall"));
    stalled.until(b"\r\n\r\n");
    house.until("nobody works", |stats| stats.busy == 0 && stats.parked == 1);
    let mut waiting = house.client();
    waiting.send(&get("/wait"));
    house.until("the thread is held", |_| is_held.load(Ordering::SeqCst));
    // The stream makes room for one, which makes room for the next.
    let _idle = house.client();
    house.until("it is let in", |stats| stats.accepted == 3);
    let mut client = house.client();
    client.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send(b"no request\r\n\r\n");
    let mut begin = [0; 12];
    let read = client.stream.read_exact(&mut begin);
    told.tell();
    assert!(read.is_ok() && begin.ends_with(b"400"), "{read:?}");
    assert_eq!(waiting.response().text(), "hello");
}

// ------------------------------------------------------------------------------------------------------------- channels

/// Keeps the senders of all streams.
#[derive(Clone, Default)]
struct Broadcast(Arc<Mutex<Vec<doorway::Sender>>>);

impl Broadcast {
    fn house(&self, threads: usize) -> House {
        let senders = Arc::clone(&self.0);
        serve_with(
            move |environ: &Environ, start_response: &mut StartResponse| {
                start_response.start("200 OK", &[("Content-Type", "text/event-stream")]);
                if environ.path() != "/events" {
                    return Body::from("hello");
                }
                let (sender, body) = Body::channel(4);
                sender.send(&b":\n\n"[..]).expect("a new body");
                locked(&senders).push(sender);
                body
            },
            |settings| {
                settings.threads = threads;
                settings.response_stall = Duration::from_millis(700);
            },
        )
    }

    fn send(&self, event: usize) {
        for sender in locked(&self.0).iter() {
            sender.send(format!("data: {event}\n\n").into_bytes()).expect("a client that listens");
        }
    }
}

fn subscribe(house: &House) -> Client<TcpStream> {
    let mut client = house.client();
    client.send(&get("/events"));
    client.until(b":\n\n");
    client
}

#[test]
fn a_hundred_event_streams_need_no_thread_and_every_event_arrives_in_order() {
    const CLIENTS: usize = 100;
    let broadcast = Broadcast::default();
    let house = broadcast.house(2);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| subscribe(&house)).collect();
    house.until("nobody works", |stats| stats.busy == 0);
    for event in 0..20 {
        broadcast.send(event);
        assert_eq!(house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").text(), "hello");
    }
    for client in &mut clients {
        for event in 0..20 {
            client.until(format!("data: {event}\n\n").as_bytes());
        }
    }
    locked(&broadcast.0).clear();
    clients.iter_mut().for_each(|client| {
        client.until(b"0\r\n\r\n");
    });
}

#[test]
fn a_client_that_has_left_or_takes_nothing_is_an_error_of_send() {
    let broadcast = Broadcast::default();
    let house = broadcast.house(2);
    let left = subscribe(&house);
    drop(left);
    let _stalled = subscribe(&house);
    let (sends, begin) = (locked(&broadcast.0).drain(..).collect::<Vec<_>>(), Instant::now());
    for sender in sends {
        // Either sees it as an error in the end, and waits for no longer than a client may stall.
        while sender.send(vec![b'x'; 100_000]).is_ok() {
            assert!(begin.elapsed() < PATIENCE);
        }
        assert!(matches!(sender.try_send(&b"x"[..]), Err(TrySendError::Disconnected(_))));
    }
    house.until("both are gone", |stats| stats.open == 0);
}

#[test]
fn a_stream_that_fails_is_cut_and_one_that_waits_ends_with_the_grace_of_a_stop() {
    let broadcast = Broadcast::default();
    let house = broadcast.house(2);
    let mut failed = subscribe(&house);
    locked(&broadcast.0).remove(0).fail("torn");
    failed.until_end();
    assert_eq!(house.log.take(Cause::BodyFailed).answer, Answer::Cut);
    let mut waiting = subscribe(&house);
    ends(house.handle, Duration::from_millis(100));
    waiting.until_end();
    let sender = locked(&broadcast.0).remove(0);
    assert!(sender.send(&b"x"[..]).is_err());
}

#[test]
fn a_stream_that_is_closed_for_another_connection_ends_at_once_though_its_worker_sleeps() {
    let closed = Arc::new(Mutex::new(Vec::new()));
    let (paths, (give, senders)) = (Arc::clone(&closed), mpsc::channel());
    let application = move |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        let (sender, body) = Body::channel(1);
        sender.send(&b"first"[..]).expect("a new body");
        give.send(sender).expect("a test that goes on");
        let (paths, path) = (Arc::clone(&paths), environ.path().into_owned());
        body.on_close(move || locked(&paths).push(path))
    };
    let house = serve_with(application, |settings| (settings.shards, settings.max_connections) = (2, 2));
    let mut streams = [house.client(), house.client()];
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.send(&get(&format!("/{number}")));
        stream.until(b"first");
    }
    // The first has waited for less long than the second, which is in the other shard than the next.
    let sender = senders.recv_timeout(PATIENCE).expect("the call's sender");
    sender.send(&b"second"[..]).expect("a client that listens");
    streams[0].until(b"second");
    house.until("both wait", |stats| stats.busy == 0);
    let _third = house.client();
    house.until("a body is closed", |_| !locked(&closed).is_empty());
    // It is the first where a thread has not put the second back yet.
    let closed = usize::from(*locked(&closed) == ["/1"]);
    streams[closed].until_end();
}

#[test]
fn a_body_is_closed_once_whichever_thread_ends_it() {
    let closed = Arc::new(AtomicUsize::new(0));
    let (count, (give, senders)) = (Arc::clone(&closed), mpsc::channel());
    let house = serve(move |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        let (sender, body) = Body::channel(1);
        sender.send(environ.path().into_owned().into_bytes()).expect("a new body");
        give.send(sender).expect("a test that goes on");
        let count = Arc::clone(&count);
        body.map_blocks(Ok).on_close(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
    });
    let mut client = house.client();
    // The connection stays.
    for round in 0..3 {
        let path = format!("/{round}");
        client.send(&get(&path));
        client.until(path.as_bytes());
        assert_eq!(closed.load(Ordering::SeqCst), round);
        drop(senders.recv_timeout(PATIENCE).expect("the call's sender"));
        house.until("it is closed", |_| closed.load(Ordering::SeqCst) == round + 1);
    }
}

#[test]
fn streams_of_one_connection_over_any_stream_wait_in_their_own_thread() {
    let (client, server) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
    let meet = Arc::clone(&server);
    let thread = std::thread::spawn(move || {
        let request = io::Cursor::new(b"GET / HTTP/1.0\r\n\r\n".to_vec());
        struct Wire(io::Cursor<Vec<u8>>, Arc<AtomicBool>);
        impl Read for Wire {
            fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
                self.0.read(room)
            }
        }
        impl Write for Wire {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1.fetch_or(bytes.ends_with(b"later"), Ordering::SeqCst);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let wire = Wire(request, client.clone());
        doorway::serve_connection(wire, move |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            let (sender, body) = Body::channel(1);
            let meet = Arc::clone(&meet);
            std::thread::spawn(move || {
                meet.wait();
                sender.send(&b"later"[..]).expect("somebody who waits");
            });
            body
        });
        assert!(client.load(Ordering::SeqCst));
    });
    server.wait();
    thread.join().unwrap();
}

// --------------------------------------------------------------------------------------------------- what a client takes

/// Blocks of a megabyte, and how many were asked for.
fn megabytes(asked: &Arc<AtomicUsize>) -> Body {
    let asked = Arc::clone(asked);
    Body::blocks((0..64).map(move |_| {
        asked.fetch_add(1, Ordering::SeqCst);
        vec![b'x'; 1 << 20]
    }))
}

#[test]
fn a_body_is_asked_for_more_only_when_what_there_was_is_sent() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        megabytes(&count)
    };
    let house = serve(application);
    let mut client = house.client();
    client.send(GET);
    house.until("the body waits for its client", |stats| stats.parked == 1 && stats.busy == 0);
    // What the system takes for a client that takes nothing.
    let ahead = asked.load(Ordering::SeqCst);
    let (mut taken, mut room) = (0, vec![0; 32 * 1024]);
    while taken < 12 << 20 {
        taken += client.stream.read(&mut room).unwrap();
        // The client that is tested with is slow: every time a little room for the server.
        std::thread::sleep(Duration::from_millis(1));
        let asked = asked.load(Ordering::SeqCst);
        // The system may take more with time, which is a few megabytes at most.
        assert!(asked <= taken / (1 << 20) + ahead + 8, "{asked} after {taken} bytes, {ahead} ahead");
    }
}

#[test]
fn a_body_that_waits_for_its_client_keeps_no_seat() {
    let application = |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        match &*environ.path() {
            "/large" => megabytes(&Arc::default()),
            _ => Body::blocks((0..3).map(|_| "small")),
        }
    };
    let house = serve(application);
    let mut stalled: Vec<_> = (0..3).map(|_| house.client()).collect();
    for client in &mut stalled {
        client.send(&get("/large"));
        client.until(b"xxx");
        house.until("the body waits for its client", |stats| stats.parked == 3 && stats.busy == 0);
    }
    let begin = Instant::now();
    let mut client = house.client();
    client.send(&get("/small"));
    assert_eq!(client.response().text(), "smallsmallsmall");
    // Long before one of the others is given up.
    assert!(begin.elapsed() < Duration::from_secs(10));
}
