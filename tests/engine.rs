//! Promise: whatever mixture of quick and slow calls, short and long connections there is, no connection is lost, none is served twice and
//! none starves. The shards are given from thread to thread all the time here: calls last from nothing to twice the monitor's patience.

mod support;

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use doorway::{Body, Cause, Environ, StartResponse};
use support::{Client, House, locked, serve_with};

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Echoes the path after as many microseconds as the query says, and keeps every path it has seen.
fn house(threads: usize, shards: usize, calls: &Arc<Mutex<Vec<String>>>) -> House {
    let calls = Arc::clone(calls);
    let application = move |environ: &Environ, start_response: &mut StartResponse| {
        locked(&calls).push(environ.path().into_owned());
        let microseconds = environ.query_string().parse().unwrap_or(0);
        if microseconds > 0 {
            // The application that is tested with is slow: this is no wait for something to happen.
            std::thread::sleep(Duration::from_micros(microseconds));
        }
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        Body::from(environ.path().into_owned())
    };
    serve_with(application, |settings| {
        settings.threads = threads;
        settings.shards = shards;
    })
}

fn ask(client: &mut Client<TcpStream>, name: &str, microseconds: u64, more: &str) {
    client.send(format!("GET {name}?{microseconds} HTTP/1.1\r\nHost: a\r\n{more}\r\n").as_bytes());
    assert_eq!(client.response().text(), name);
}

fn storm(threads: usize, shards: usize, clients: u64, requests: u64) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let house = house(threads, shards, &calls);
    std::thread::scope(|scope| {
        for number in 0..clients {
            let house = &house;
            scope.spawn(move || {
                let mut random = Random(number + 1);
                let mut client = house.client();
                for request in 0..requests {
                    let name = format!("/{number}/{request}");
                    // Mostly quick, sometimes longer than a hand-over in advance, sometimes longer than the monitor waits.
                    let microseconds = match random.below(20) {
                        0 => 6_000,
                        1 => 300,
                        _ => 0,
                    };
                    if random.below(10) == 0 {
                        ask(&mut client, &name, microseconds, "Connection: close\r\n");
                        client.is_closed();
                        client = house.client();
                    } else {
                        ask(&mut client, &name, microseconds, "");
                    }
                    if random.below(8) == 0 {
                        // Long enough for the connection to grow cold.
                        std::thread::sleep(Duration::from_micros(random.below(3_000)));
                    }
                }
            });
        }
    });
    let calls = locked(&calls);
    let distinct: HashSet<_> = calls.iter().collect();
    assert_eq!((calls.len() as u64, distinct.len() as u64), (clients * requests, clients * requests));
}

#[test]
fn every_request_is_answered_once_with_threads_to_spare() {
    storm(16, 2, 24, 60);
}

#[test]
fn every_request_is_answered_once_with_as_many_shards_as_threads() {
    storm(4, 4, 24, 40);
}

#[test]
fn every_request_is_answered_once_by_one_thread() {
    storm(1, 1, 12, 40);
}

#[test]
fn every_request_is_answered_once_by_two_threads_that_share_one_shard() {
    storm(2, 1, 16, 40);
}

#[test]
fn calls_that_block_get_the_whole_pool() {
    const THREADS: usize = 8;
    let calls = Arc::new(AtomicU64::new(0));
    let together = Arc::new(Barrier::new(THREADS));
    let (count, meeting) = (Arc::clone(&calls), Arc::clone(&together));
    let application = move |_: &Environ, start_response: &mut StartResponse| {
        // Returns only when as many calls are made at the same time as there are threads.
        meeting.wait();
        count.fetch_add(1, Ordering::SeqCst);
        start_response.start("200 OK", &[]);
        "met"
    };
    let house = serve_with(application, |settings| settings.threads = THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut client = house.client();
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(client.response().text(), "met");
            });
        }
    });
    assert_eq!(calls.load(Ordering::SeqCst), THREADS as u64);
}

/// `/wait` returns when the test says so, everything else after 5 ms.
fn until_told(threads: usize, shards: usize, change: impl FnOnce(&mut doorway::Settings)) -> (House, Arc<Barrier>) {
    let told = Arc::new(Barrier::new(threads));
    let waits = Arc::clone(&told);
    let application = move |environ: &Environ, start_response: &mut StartResponse| {
        if environ.path() == "/wait" {
            waits.wait();
        } else {
            // The application that is tested with is slow: this is no wait for something to happen.
            std::thread::sleep(Duration::from_millis(5));
        }
        start_response.start("200 OK", &[]);
        environ.path().into_owned()
    };
    let house = serve_with(application, |settings| {
        settings.threads = threads;
        settings.shards = shards;
        change(settings);
    });
    (house, told)
}

#[test]
fn the_last_free_thread_answers_for_all_shards_when_the_others_are_held() {
    let (house, told) = until_told(3, 2, |_| {});
    let mut held: Vec<_> = (0..2).map(|_| house.client()).collect();
    for (number, client) in held.iter_mut().enumerate() {
        client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        house.until("the call runs", |stats| stats.busy > number);
    }
    std::thread::scope(|scope| {
        for number in 0..20 {
            let house = &house;
            scope.spawn(move || {
                let mut client = house.client();
                (0..5).for_each(|request| ask(&mut client, &format!("/{number}/{request}"), 0, ""));
            });
        }
    });
    told.wait();
    held.iter_mut().for_each(|client| assert_eq!(client.response().text(), "/wait"));
}

#[test]
fn deadlines_are_kept_while_a_slow_call_holds_the_only_thread() {
    let (house, told) = until_told(2, 1, |settings| {
        settings.threads = 1;
        settings.head_deadline = Duration::from_millis(300);
    });
    for round in 0..3 {
        let mut client = house.client();
        (0..8).for_each(|request| ask(&mut client, &format!("/{round}/{request}"), 0, ""));
        // Long enough for the monitor to sleep and for the connection to go cold.
        std::thread::sleep(Duration::from_millis(50));
        client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        house.until("the call runs", |stats| stats.busy > 0);
        let mut half = house.client();
        half.send(b"GET / HTTP/1.1\r\n");
        assert_eq!(half.response().status, 408);
        told.wait();
        assert_eq!(client.response().text(), "/wait");
    }
}

#[test]
fn a_quick_request_does_not_wait_for_a_slow_one_on_its_shard() {
    let calls = Arc::default();
    let house = house(4, 1, &calls);
    let mut slow = house.client();
    slow.send(b"GET /slow?2000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    house.until("the slow call runs", |stats| stats.busy > 0);
    let begin = Instant::now();
    for number in 0..20 {
        ask(&mut house.client(), &format!("/{number}"), 0, "");
    }
    // On an order of magnitude: all twenty are answered long before the slow one is.
    assert!(begin.elapsed() < Duration::from_millis(1_500));
    assert_eq!(slow.response().text(), "/slow");
}

/// Small blocks that follow each other are held back for the monitor, which must not wait for a client when it comes to send them.
#[test]
fn a_writer_whose_client_takes_nothing_does_not_keep_the_monitor_from_its_work() {
    let much = vec![b'y'; 16 << 20];
    let told = Arc::new(Barrier::new(2));
    let waits = Arc::clone(&told);
    let application = move |environ: &Environ, start_response: &mut StartResponse| -> std::io::Result<Body> {
        let mut writer = start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        match &*environ.path() {
            "/much" => {
                for _ in 0..200 {
                    writer.write_all(b"x")?;
                }
                writer.write_all(&much)?;
            }
            "/wait" => {
                waits.wait();
                waits.wait();
            }
            "/nap" => std::thread::sleep(Duration::from_millis(20)),
            _ => {}
        }
        Ok(Body::from("z"))
    };
    let house = serve_with(application, |settings| {
        settings.threads = 8;
        settings.shards = 1;
        settings.response_stall = Duration::from_secs(3);
    });
    let ask = |client: &mut Client<TcpStream>, paths: &[&str]| {
        let requests = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.send(requests.collect::<String>().as_bytes());
    };
    // After a call that lasted, the connection is among the others, where its socket never waits; for one that does nothing is held back.
    let mut stalled: Vec<_> = (0..5).map(|_| house.client()).collect();
    for client in &mut stalled {
        ask(client, &["/nap"]);
        assert_eq!(client.response().text(), "z");
        ask(client, &["/nap", "/much"]);
        client.until(b"y");
    }
    let mut slow = house.client();
    ask(&mut slow, &["/wait"]);
    told.wait();
    let begin = Instant::now();
    assert_eq!(house.ask_one(b"GET /quick HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").text(), "z");
    let lasted = begin.elapsed();
    told.wait();
    assert_eq!(slow.response().text(), "z");
    assert!(lasted < Duration::from_secs(1), "{lasted:?}");
}

/// Everything that was promised is written, the client takes only a part of it, and then the application fails: nothing may follow that part.
#[test]
fn no_response_follows_one_that_stalled_before_its_end() {
    let much = vec![b'y'; 16 << 20];
    let application = move |environ: &Environ, start_response: &mut StartResponse| -> std::io::Result<Body> {
        if environ.path() == "/much" {
            let length = much.len().to_string();
            let mut writer = start_response.start("200 OK", &[("Content-Length", &length)]);
            writer.write_all(&much)?;
            return Ok(Body::empty());
        }
        start_response.start("200 OK", &[]);
        Ok(Body::from("z"))
    };
    let house = serve_with(application, |settings| settings.response_stall = Duration::from_millis(100));
    let mut client = house.client();
    client.send(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    house.until("the call begins", |stats| stats.busy > 0);
    house.until("the client is given up", |stats| stats.busy == 0);
    let got = client.until_end();
    assert_eq!(got.windows(9).filter(|part| part == b"HTTP/1.1 ").count(), 1);
}

#[test]
fn one_busy_client_does_not_keep_the_last_thread_from_the_other_shards() {
    let house = house(2, 2, &Arc::default());
    // Connections go to the shards in turn.
    let (mut slow, mut busy, mut other) = (house.client(), house.client(), house.client());
    for client in [&mut slow, &mut busy, &mut other] {
        ask(client, "/", 0, "");
    }
    slow.send(b"GET /slow?2000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    house.until("the slow call runs", |stats| stats.busy > 0);
    let (begin, is_answered) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_answered.load(Ordering::SeqCst) {
                ask(&mut busy, "/busy", 0, "");
            }
        });
        ask(&mut other, "/other", 0, "");
        is_answered.store(true, Ordering::SeqCst);
    });
    // On an order of magnitude: it is answered long before the slow one is.
    assert!(begin.elapsed() < Duration::from_millis(500));
    assert_eq!(slow.response().text(), "/slow");
}

#[test]
fn a_request_behind_a_body_that_waits_for_a_thread_is_refused_in_time() {
    let application = |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        if environ.path() == "/slow" {
            // The application that is tested with is slow: this is no wait for something to happen.
            std::thread::sleep(Duration::from_secs(3));
        }
        let blocks = if environ.path() == "/large" { 64 } else { 1 };
        Body::blocks((0..blocks).map(|_| Ok(vec![b'x'; 256 * 1024].into())))
    };
    let house = serve_with(application, |settings| {
        settings.threads = 1;
        settings.queue_timeout = Duration::from_millis(300);
    });
    let (mut large, mut slow, mut late) = (house.client(), house.client(), house.client());
    large.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    house.until("the body waits for its client", |stats| stats.parked == 3 && stats.busy == 0);
    slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    house.until("the slow call runs", |stats| stats.busy > 0);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(large.response().status, 200));
        house.until("the body waits for a thread", |stats| stats.queued > 0);
        let begin = Instant::now();
        late.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(late.response().status, 503);
        assert!(begin.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn every_refusal_is_counted_by_its_cause() {
    let house = house(2, 1, &Arc::default());
    for (request, times) in [("GET / HTTP/1.1\r\n\r\n", 3), ("GET / HTTP/1.1\nHost: a\r\n\r\n", 2)] {
        for _ in 0..times {
            assert_eq!(house.ask_one(request.as_bytes()).status, 400);
        }
    }
    let stats = house.handle.stats();
    let causes: Vec<_> = stats.causes().collect();
    assert_eq!(causes, [(Cause::BareLf, 2), (Cause::HostMissing, 3)]);
    assert_eq!((stats.count(Cause::HostMissing), stats.count(Cause::QueueFull), stats.refused), (3, 0, 5));
}
