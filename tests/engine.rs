//! Promise: whatever mixture of quick and slow calls, short and long connections there is, no connection is lost, none is served twice and
//! none starves. The shards are given from thread to thread all the time here: calls last from nothing to twice the monitor's patience.

mod support;

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use doorway::{Application, Body, Cause, Environ, StartResponse};
use support::{Client, House, locked, serve_with};

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    /// Neighbours among the seeds must not give neighbours among the numbers.
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Stands still for less than so many microseconds: what the other side does meanwhile is another thing every time.
    fn pause(&mut self, microseconds: u64) {
        std::thread::sleep(Duration::from_micros(self.below(microseconds)));
    }

    /// Lets others have the core, up to so often.
    fn give_way(&mut self, times: u64) {
        (0..self.below(times)).for_each(|_| std::thread::yield_now());
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

// --------------------------------------------------------------------------------------------------------- the storm

/// A large response: more than the system takes for a client that does not read. No two neighbouring blocks are the same.
const BLOCK: usize = 64 * 1024;
const BLOCKS: u8 = 64;

/// Within this time every request is answered, whatever else is going on. Nothing in a storm lasts a hundredth of it.
const BOUND: Duration = Duration::from_secs(20);

/// How many connections each of the four storms has: `DOORWAY_CASES=100000 cargo test --release --test engine storm` has so many in all, for
/// a change of the engine.
fn connections() -> u64 {
    std::env::var("DOORWAY_CASES").map_or(800, |cases| cases.parse().expect("DOORWAY_CASES")) / 4
}

/// What the content of a request is.
fn content(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Answers as the query says, in ways that hand connections from thread to thread, and keeps every path it has seen.
fn weather(calls: &Arc<Mutex<Vec<String>>>) -> impl Application {
    let calls = Arc::clone(calls);
    move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
        let name = environ.path().into_owned();
        locked(&calls).push(name.clone());
        let query = environ.query_string();
        let (what, number) = query.split_once('-').expect("what to do");
        let number: u64 = number.parse().expect("how much");
        let mut random = Random::new(number);
        match what {
            // The application that is tested with is slow: this is no wait for something to happen.
            "lasts" => std::thread::sleep(Duration::from_micros(number)),
            "yields" => random.give_way(number),
            "takes" => {
                let mut got = Vec::new();
                environ.input().read_to_end(&mut got)?;
                assert!(got == content(number));
            }
            _ => {}
        }
        let length = (BLOCK * usize::from(BLOCKS)).to_string();
        let large = |number: u8| vec![number; BLOCK];
        Ok(match what {
            "large" => {
                start_response.start("200 OK", &[("Content-Length", &length)]);
                Body::blocks((0..BLOCKS).map(large))
            }
            "pours" => {
                start_response.start("200 OK", &[("Content-Length", &length)]);
                let (sender, body) = Body::channel(2);
                // A client may leave before the end.
                std::thread::spawn(move || (0..BLOCKS).try_for_each(|number| sender.send(large(number))));
                body
            }
            "streams" => {
                start_response.start("200 OK", &[]);
                let (sender, body) = Body::channel(1 + random.below(3) as usize);
                std::thread::spawn(move || {
                    for _ in 0..number {
                        if random.one_in(4) {
                            random.pause(4_000);
                        }
                        random.give_way(4);
                        sender.send(name.clone().into_bytes()).expect("the client stays");
                    }
                });
                body
            }
            _ => {
                start_response.start("200 OK", &[]);
                Body::from(name)
            }
        })
    }
}

/// One storm, and what is counted in it.
struct Storm {
    house: House,
    calls: Arc<Mutex<Vec<String>>>,
    asked: AtomicU64,
    /// Microseconds that the last byte of a response came after the last byte of its request, at most.
    longest: AtomicU64,
}

impl Storm {
    /// One client, with its few requests.
    fn visit(&self, number: u64) {
        let mut random = Random::new(number);
        let mut client = self.house.client();
        client.stream.set_read_timeout(Some(BOUND)).unwrap();
        let requests = 1 + random.below(4);
        for request in 0..requests {
            // Some connections have been waiting for a moment, some for so long that they are looked at seldom, or a thread sleeps on them.
            match random.below(12) {
                0 if random.one_in(3) => random.pause(150_000),
                0 => random.pause(15_000),
                1..=4 => random.pause(1_500),
                _ => {}
            }
            let closes = request + 1 == requests && random.one_in(2);
            if !self.ask(&mut client, &format!("/{number}/{request}"), closes, &mut random) {
                return;
            }
            if closes {
                client.is_closed();
            }
        }
    }

    /// Asks for something. Gives whether the client stays.
    fn ask(&self, client: &mut Client<TcpStream>, name: &str, closes: bool, random: &mut Random) -> bool {
        let (what, number) = match random.below(40) {
            // Longer than the monitor waits, and longer than a thread keeps its shard for.
            0 | 1 => ("lasts", 6_000),
            2..=4 => ("lasts", 300),
            5..=10 => ("yields", 1 + random.below(30)),
            // So little that it is gathered before the call, and so much that the application waits for it.
            11..=16 => ("takes", random.below(300)),
            17 | 18 => ("takes", 20_000 + random.below(60_000)),
            19 if random.one_in(2) => (if random.one_in(2) { "large" } else { "pours" }, 0),
            20..=26 => ("streams", 1 + random.below(6)),
            _ => ("nothing", 0),
        };
        let close = if closes { "Connection: close\r\n" } else { "" };
        let mut bytes = Vec::new();
        // Sometimes another comes in front of it, in the same piece or not.
        let is_second = random.one_in(8);
        if is_second {
            bytes.extend_from_slice(format!("GET {name}/first?nothing-0 HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        }
        if what == "takes" {
            let fields = format!("Host: a\r\nContent-Length: {number}\r\n{close}");
            bytes.extend_from_slice(format!("POST {name}?takes-{number} HTTP/1.1\r\n{fields}\r\n").as_bytes());
            bytes.extend(content(number));
        } else {
            bytes
                .extend_from_slice(format!("GET {name}?{what}-{number} HTTP/1.1\r\nHost: a\r\n{close}\r\n").as_bytes());
        }
        self.asked.fetch_add(1 + u64::from(is_second), Ordering::Relaxed);
        let mut left = &bytes[..];
        while random.one_in(3) && !left.is_empty() {
            let (piece, rest) = left.split_at(random.below(left.len() as u64) as usize);
            client.send(piece);
            random.pause(2_000);
            left = rest;
        }
        client.send(left);
        let begin = Instant::now();
        if is_second {
            assert_eq!(client.response().text(), format!("{name}/first"));
        }
        match what {
            "large" | "pours" if !is_second => return take_slowly(&client.stream, random),
            "large" | "pours" => assert_eq!(client.response().body.len(), BLOCK * usize::from(BLOCKS)),
            "streams" => assert_eq!(client.response().text(), name.repeat(number as usize)),
            _ => assert_eq!(client.response().text(), name),
        }
        self.longest.fetch_max(begin.elapsed().as_micros() as u64, Ordering::Relaxed);
        true
    }

    /// As many clients as there are seats are waited for at the same time: none has kept its seat.
    fn has_all_seats(&self, threads: usize) {
        let mut clients: Vec<_> = (0..(threads * 3 / 4).max(1)).map(|_| self.house.client()).collect();
        let busy = clients.len();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(format!("POST /end/{number}?takes-30000 HTTP/1.1\r\nHost: a\r\n").as_bytes());
            client.send(b"Content-Length: 30000\r\n\r\n");
        }
        self.house.until("every seat is taken", |stats| stats.busy == busy);
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&content(30_000));
            assert_eq!(client.response().text(), format!("/end/{number}"));
        }
    }
}

/// Takes a large response, and looks away now and then. Gives whether it has taken all of it: some leave.
fn take_slowly(stream: &TcpStream, random: &mut Random) -> bool {
    let (mut stream, mut line) = (BufReader::new(stream), String::new());
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).expect("a head") > 0);
    }
    let leaves_at = random.below(u64::from(BLOCKS) * 2);
    random.pause(20_000);
    let mut block = vec![0; BLOCK];
    for number in 0..BLOCKS {
        if u64::from(number) == leaves_at {
            return false;
        }
        stream.read_exact(&mut block).expect("a block");
        assert!(block == vec![number; BLOCK], "block {number}");
        if random.one_in(16) {
            random.pause(5_000);
        }
    }
    true
}

/// So many connections, from so many clients at a time. Every hand-over is delayed by whatever else happens: there are more threads and
/// shards than cores, the application yields and lasts, clients stand still between any two bytes.
fn storm(threads: usize, shards: usize, clients: u64) {
    let (all, mut done) = (connections(), 0);
    // A server has not more than so many: its end is a part of the storm, too.
    while done < all {
        let until = all.min(done + 2_500);
        let calls = Arc::default();
        let house = serve_with(weather(&calls), |settings| {
            settings.threads = threads;
            settings.shards = shards;
            // Not enough for all that are quiet.
            settings.sleepers = 3;
        });
        let storm = Storm { house, calls, asked: AtomicU64::new(0), longest: AtomicU64::new(0) };
        let next = AtomicU64::new(done);
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= until {
                            break;
                        }
                        storm.visit(number);
                    }
                });
            }
        });
        let calls = std::mem::take(&mut *locked(&storm.calls));
        let distinct: HashSet<_> = calls.iter().collect();
        let asked = storm.asked.load(Ordering::Relaxed);
        assert_eq!((calls.len() as u64, distinct.len() as u64), (asked, asked));
        let longest = Duration::from_micros(storm.longest.load(Ordering::Relaxed));
        assert!(longest < BOUND, "{longest:?}");
        storm.house.until("everything is over", |stats| (stats.open, stats.busy, stats.queued) == (0, 0, 0));
        storm.has_all_seats(threads);
        let causes = storm.house.log.causes();
        assert!(causes.iter().all(|cause| *cause == Cause::ClientGone), "{causes:?}");
        done = until;
        stops(storm.house);
    }
}

/// A server stops at once though a client is there that says nothing.
fn stops(house: House) {
    let mut quiet = house.client();
    quiet.send(b"GET /quiet?nothing-0 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(quiet.response().text(), "/quiet");
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        house.handle.shutdown(BOUND * 2);
        // The test has given up if nobody hears it.
        let _ = sender.send(());
    });
    ended.recv_timeout(BOUND).expect("the server ends");
    quiet.is_closed();
}

#[test]
fn a_storm_is_answered_once_with_more_threads_and_shards_than_cores() {
    storm(16, 6, 32);
}

#[test]
fn a_storm_is_answered_once_with_as_many_shards_as_threads() {
    storm(4, 4, 24);
}

#[test]
fn a_storm_is_answered_once_by_one_thread() {
    storm(1, 1, 12);
}

#[test]
fn a_storm_is_answered_once_by_two_threads_that_share_one_shard() {
    storm(2, 1, 16);
}

// ------------------------------------------------------------------------------------------------- one promise at a time

/// A socket that somebody else has opened may have a name that is no path: whoever waits there is woken to end.
#[test]
#[cfg(target_os = "linux")]
fn a_stop_ends_a_server_at_an_abstract_unix_socket() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    let name = format!("doorway-engine-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let server = doorway::Server::from_listener(UnixListener::bind_addr(&address).unwrap());
    let handle = server.spawn(doorway::app::demo).unwrap();
    let mut client = UnixStream::connect_addr(&address).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    let (sender, ends) = mpsc::channel();
    std::thread::spawn(move || {
        handle.shutdown(Duration::from_secs(5));
        sender.send(())
    });
    assert!(ends.recv_timeout(support::PATIENCE).is_ok(), "it does not end");
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
        // No wait for something to happen: the client is quiet for so long that the monitor sleeps and the connection is cold, and if they
        // are not yet, that must pass as well.
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
            // The application that is tested with is slow: this is no wait for something to happen.
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
fn a_new_connection_is_served_while_the_worker_of_its_shard_blocks_on_another() {
    let house = house(2, 1, &Arc::default());
    let mut kept = house.client();
    let served = (0..40).map(|number| {
        ask(&mut kept, &format!("/kept/{number}"), 0, "");
        // No wait for something to happen: by now its shard waits for this client only, for 5 ms, and if it does not, the new one is served
        // at once in any case.
        std::thread::sleep(Duration::from_micros(300));
        let begin = Instant::now();
        let mut client = house.client();
        ask(&mut client, &format!("/{number}"), 0, "Connection: close\r\n");
        client.is_closed();
        begin.elapsed()
    });
    // Every one would have to wait until the worker looks up of itself.
    assert!(served.min() < Some(Duration::from_millis(3)));
}

/// Lasts for a time that is too short to sleep.
fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A block comes in every moment that there is between a look at the channel and the sleep of the worker. Nothing else happens that would
/// wake it.
#[test]
fn no_block_comes_at_a_moment_in_which_nobody_waits_for_it() {
    const SENT: u64 = 4_000;
    let application = |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        let (sender, body) = Body::channel(4);
        std::thread::spawn(move || {
            let mut random = Random::new(SENT);
            for _ in 0..SENT {
                let microseconds = if random.one_in(4) { 300 } else { 60 };
                spin(Duration::from_micros(random.below(microseconds)));
                sender.send(b"block").expect("the client stays");
            }
        });
        body
    };
    let house = serve_with(application, |settings| settings.shards = 1);
    let mut client = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let blocks = client.until_close().windows(5).filter(|part| part == b"block").count();
    assert_eq!(blocks as u64, SENT);
}

#[test]
fn a_client_that_always_has_another_request_is_not_served_before_the_others() {
    const REQUESTS: u64 = 5_000;
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    let application = move |environ: &Environ, start_response: &mut StartResponse| {
        if environ.path() == "/greedy" {
            count.fetch_add(1, Ordering::SeqCst);
            // Neither so quick that answers are gathered nor so slow that the shard is given away.
            spin(Duration::from_micros(40));
        }
        start_response.start("200 OK", &[]);
        environ.path().into_owned()
    };
    let house = serve_with(application, |settings| settings.threads = 1);
    let mut greedy = house.client();
    greedy.send("GET /greedy HTTP/1.1\r\nHost: a\r\n\r\n".repeat(REQUESTS as usize).as_bytes());
    house.until("the calls run", |stats| stats.served > 10);
    ask(&mut house.client(), "/modest", 0, "");
    assert!(calls.load(Ordering::SeqCst) < REQUESTS);
}

#[test]
fn clients_that_take_nothing_keep_the_only_thread_from_nobody() {
    let application = |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        match &*environ.path() {
            "/large" => Body::blocks(std::iter::repeat_with(|| vec![b'x'; BLOCK])),
            path => Body::from(path.to_owned()),
        }
    };
    let house = serve_with(application, |settings| settings.threads = 1);
    let mut stalled = Vec::new();
    for number in 1..=12 {
        let mut client = house.client();
        // No wait for something to happen: for a moment the thread waits for this client only, and then it must not, whether or not it did.
        ask(&mut client, "/small", 0, "");
        std::thread::sleep(Duration::from_millis(10));
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
        client.until(b"xxx");
        house.until("the body waits for its client", |stats| stats.parked == number && stats.busy == 0);
        stalled.push(client);
    }
    let (begin, mut client) = (Instant::now(), house.client());
    (0..30).for_each(|number| ask(&mut client, &format!("/{number}"), 0, ""));
    let lasted = begin.elapsed();
    // A look at one of them that waited would last for 5 ms and more, and there are twelve before every answer.
    assert!(lasted < Duration::from_millis(1_200), "{lasted:?}");
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
        Body::blocks((0..blocks).map(|_| vec![b'x'; 256 * 1024]))
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
