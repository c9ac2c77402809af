//! Promise: every bound of the settings holds exactly, and what a client sends never decides how much memory is taken. A counting
//! allocator watches the live bytes of the whole process, client included.
//!
//! The bounds of heads, fields, contents, chunk extensions, trailers and chunk overhead by themselves stand in `http_rules.rs`; here are
//! the others just below, at and just above, and the attacks that would make a careless server allocate.

mod apps;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use apps::{Recorder, hello, path, sleepy};
use doorway::http::chunked::MAX_OVERHEAD;
use doorway::{Body, Cause, Environ, Phase, Settings, StartResponse, Stats};
use support::{Client, House, PATIENCE, Response, in_memory_with, locked, parse_all, serve_with, show};

struct Counting;

/// Bytes that are allocated now, and the most there were since somebody last looked.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The counters are of the whole process, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn grown(by: usize) {
    let live = LIVE.fetch_add(by, Ordering::Relaxed) + by;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may exist for a moment.
        grown(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// ------------------------------------------------------------------------------------------------- memory under attack

/// How far above its idle state a server may get while one client attacks it. What one connection can make it take: a buffer of
/// `max_head` and `gathered_content` together (80 KiB), for a moment beside the half as large one that it grew from; 256 KiB in a
/// thread that throws away what still arrives, in each of the threads that may do so (two); the log's line. That is less than
/// 700 KiB, whatever the client sends and however much.
const MOST_ABOVE_IDLE: usize = 768 * 1024;

/// Reads its content through a small room and keeps nothing of it.
fn counts(environ: &Environ, start_response: &mut StartResponse) -> std::io::Result<Body> {
    let (mut room, mut total) = ([0; 4096], 0u64);
    let mut input = environ.input();
    loop {
        match input.read(&mut room)? {
            0 => break,
            read => total += read as u64,
        }
    }
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Ok(Body::from(total.to_string()))
}

/// What an attack came to.
struct Attack {
    /// The beginning of what the server answered.
    answer: Vec<u8>,
    /// Bytes that could be sent before the connection ended or there were no more.
    sent: u64,
}

/// Sends `front` once, then `part` up to `times` times, while somebody reads; everything out of memory that is there before.
fn attack(change: impl FnOnce(&mut Settings), front: &[u8], part: &[u8], times: u64, end: &[u8]) -> Attack {
    let _alone = locked(&ALONE);
    let house = serve_with(counts, change);
    let mut room = [0; 4096];
    // Whatever is made once is made now.
    for _ in 0..3 {
        let mut stream = TcpStream::connect(house.tcp()).expect("the server listens");
        stream.write_all(b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello").expect("a request");
        while stream.read(&mut room).expect("an answer") > 0 {}
    }
    let mut stream = TcpStream::connect(house.tcp()).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let (mut answer, mut length, mut sent) = ([0; 4096], 0, 0);

    let (length, sent, peak) = scope(|scope| {
        let reading = scope.spawn(|| {
            // A reset ends it as well as an end does.
            while let Ok(read) = reader.read(&mut answer[length..]) {
                if read == 0 {
                    break;
                }
                length += read;
            }
            length
        });
        let idle = LIVE.load(Ordering::Relaxed);
        PEAK.store(idle, Ordering::Relaxed);
        let mut send = |bytes: &[u8]| {
            let is_sent = stream.write_all(bytes).is_ok();
            sent += if is_sent { bytes.len() as u64 } else { 0 };
            is_sent
        };
        let mut goes_on = send(front);
        for _ in 0..times {
            goes_on = goes_on && send(part);
        }
        if goes_on && send(end) {
            // The server may be gone already.
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let length = reading.join().expect("a reader");
        (length, sent, PEAK.load(Ordering::Relaxed) - idle)
    });

    // The server lives, and so do both of its threads.
    for _ in 0..4 {
        let mut stream = TcpStream::connect(house.tcp()).expect("the server still listens");
        stream.write_all(b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello").expect("a request");
        let mut whole = Vec::new();
        stream.read_to_end(&mut whole).expect("an answer");
        assert!(whole.ends_with(b"\r\n\r\n5"), "{}", show(&whole));
    }
    println!("{} bytes sent, peak {peak} bytes above idle, {}", sent, show(&answer[..length.min(15)]));
    assert!(peak < MOST_ABOVE_IDLE, "{peak} bytes above idle");
    Attack { answer: answer[..length].to_vec(), sent }
}

#[track_caller]
fn is_refused(attack: &Attack, cause: Cause) -> Response {
    let mut responses = parse_all(&attack.answer, &[]);
    assert_eq!(responses.len(), 1, "{responses:?}");
    assert!(responses[0].closes() && Some(responses[0].status) == cause.status(), "{cause}: {responses:?}");
    responses.remove(0)
}

/// How a test wants its server.
type Change = fn(&mut Settings);

const NOTHING_SPECIAL: Change = |_| {};
const NO_LIMIT: Change = |settings| settings.max_content = None;

/// A part that is long enough to be sent fast.
fn repeated(part: &[u8]) -> Vec<u8> {
    part.repeat(64 * 1024 / part.len())
}

fn chunked(more: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{more}").into_bytes()
}

#[test]
fn a_content_length_of_64_bits_allocates_nothing() {
    let of = |length: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    is_refused(&attack(NOTHING_SPECIAL, &of("18446744073709551615"), b"", 0, b""), Cause::ContentLength);
    is_refused(&attack(NOTHING_SPECIAL, &of("9999999999999999999"), b"", 0, b""), Cause::ContentLong);
    // Where there is no limit it is believed, and costs nothing all the same.
    is_refused(&attack(NO_LIMIT, &of("18446744073709551615"), b"", 0, b""), Cause::ContentLength);
    let long = attack(NO_LIMIT, &of("9999999999999999999"), &repeated(b"x"), 200, b"");
    is_refused(&long, Cause::ContentTruncated);
    assert!(long.sent > 10_000_000);
}

#[test]
fn a_chunk_size_of_16_digits_allocates_nothing() {
    for size in ["FFFFFFFFFFFFFFFF", "7fffffffffffffff", "8000000000000000"] {
        let front = chunked(&format!("{size}\r\n"));
        is_refused(&attack(NOTHING_SPECIAL, &front, b"", 0, b"x"), Cause::ContentLong);
        is_refused(&attack(NO_LIMIT, &front, &repeated(b"x"), 50, b""), Cause::ContentTruncated);
    }
    // Sizes that overflow when they are added up.
    let twice = chunked("1\r\nx\r\nFFFFFFFFFFFFFFFF\r\n");
    is_refused(&attack(NOTHING_SPECIAL, &twice, b"", 0, b"x"), Cause::ContentLong);
    is_refused(&attack(NO_LIMIT, &twice, b"", 0, b"x"), Cause::ContentTruncated);
}

#[test]
fn ten_thousand_header_lines_are_refused_at_the_101st() {
    let lines = b"X-Name: value\r\n".repeat(10_000);
    is_refused(&attack(NOTHING_SPECIAL, b"GET / HTTP/1.1\r\nHost: a\r\n", &lines, 1, b"\r\n"), Cause::FieldCount);
    is_refused(
        &attack(NOTHING_SPECIAL, b"GET / HTTP/1.1\r\nHost: a\r\n", b"A:\r\n", 10_000, b"\r\n"),
        Cause::FieldCount,
    );
}

#[test]
fn a_header_of_100_mb_is_refused_at_its_limit() {
    let megabytes = |front: &[u8], part: &[u8]| attack(NOTHING_SPECIAL, front, &repeated(part), 1_600, b"\r\n\r\n");
    is_refused(&megabytes(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"v"), Cause::FieldLong);
    is_refused(&megabytes(b"GET / HTTP/1.1\r\nHost: a\r\n", b"n"), Cause::FieldLong);
    is_refused(&megabytes(b"GET /", b"t"), Cause::TargetLong);
    is_refused(&megabytes(b"", b"M"), Cause::MethodLong);
    let line = [b"X: ", &b"v".repeat(8_000)[..], b"\r\n"].concat();
    let head = attack(NOTHING_SPECIAL, b"GET / HTTP/1.1\r\nHost: a\r\n", &line, 12_500, b"\r\n");
    is_refused(&head, Cause::HeadLong);
    // It does not have to take the rest: 64 MiB of it, and then the connection ends.
    assert!(head.sent < 100_000_000, "all of it was taken");
}

#[test]
fn a_million_chunks_of_one_byte_are_refused_at_64_kib_of_overhead() {
    let tiny = repeated(b"1\r\nx\r\n");
    let times = 1_000_000 * 6 / tiny.len() as u64;
    is_refused(&attack(NOTHING_SPECIAL, &chunked(""), &tiny, times, b"0\r\n\r\n"), Cause::ChunkOverhead);
    is_refused(&attack(NO_LIMIT, &chunked(""), &tiny, times, b"0\r\n\r\n"), Cause::ChunkOverhead);
}

#[test]
fn a_chunk_extension_without_end_is_refused() {
    for part in [&b"a"[..], b";a", b";a=\"b\"", b"=", b"\\\""] {
        let endless = attack(NOTHING_SPECIAL, &chunked("5;a=\""), &repeated(b"x"), 4_000, b"");
        is_refused(&endless, Cause::ChunkExtensionLong);
        let other = attack(NOTHING_SPECIAL, &chunked("5;a"), &repeated(part), 2, b"");
        let responses = parse_all(&other.answer, &[]);
        assert_eq!((responses.len(), responses[0].status), (1, 400), "{}", show(part));
    }
}

#[test]
fn trailers_without_end_are_refused() {
    let after = chunked("5\r\nhello\r\n0\r\n");
    is_refused(&attack(NOTHING_SPECIAL, &after, &repeated(b"X: y\r\n"), 4_000, b""), Cause::TrailerLong);
    is_refused(
        &attack(NOTHING_SPECIAL, &[&after[..], b"X: "].concat(), &repeated(b"v"), 4_000, b""),
        Cause::TrailerLong,
    );
    is_refused(&attack(NOTHING_SPECIAL, &after, &repeated(b"n"), 4_000, b""), Cause::TrailerLong);
    is_refused(
        &attack(NOTHING_SPECIAL, &after, &[b"X: ", &b"v".repeat(8_000)[..], b"\r\n"].concat(), 9, b""),
        Cause::TrailerLong,
    );
}

#[test]
fn what_waiting_connections_hold_together_is_bounded() {
    let _alone = locked(&ALONE);
    // 60 clients with 60,000 bytes of a head each would be 3.4 MiB, and half as much again with the room to grow.
    let house = serve_with(hello, |settings| settings.held = 512 * 1024);
    house.ask_one(b"GET / HTTP/1.0\r\n\r\n");
    let part = [&b"GET / HTTP/1.1\r\nHost: a\r\n"[..], &[b"X: ", &b"v".repeat(7_990)[..], b"\r\n"].concat().repeat(7)]
        .concat();
    let idle = LIVE.load(Ordering::Relaxed);
    PEAK.store(idle, Ordering::Relaxed);
    let mut clients = Vec::with_capacity(60);
    for _ in 0..60 {
        let mut stream = TcpStream::connect(house.tcp()).expect("the server listens");
        // One that was closed to make room for others may not take it all.
        let _ = stream.write_all(&part);
        clients.push(stream);
    }
    // 70 KB a head: no more than eight of them can stay.
    house.until("enough were closed", |stats| stats.accepted == 61 && stats.open <= 10);
    house.log.take(Cause::HeldLimit);
    let (live, peak) = (LIVE.load(Ordering::Relaxed) - idle, PEAK.load(Ordering::Relaxed) - idle);
    println!("peak {peak} bytes above idle, now {live}");
    assert!(live < 512 * 1024 + MOST_ABOVE_IDLE, "{live} bytes above idle");
    // Before it is noticed, and in all cases: as many as are open, times what one may hold.
    assert!(peak < 60 * 3 / 2 * (65_536 + 16_384) + MOST_ABOVE_IDLE, "{peak} bytes above idle");
    assert_eq!(house.ask_one(b"GET / HTTP/1.0\r\n\r\n").text(), "hello");
}

/// Counts looks at all connections: each closes some of them.
#[derive(Default)]
struct Looks {
    closed: u64,
    count: usize,
}

impl Looks {
    fn note(&mut self, stats: &Stats, cause: Cause) {
        let closed = stats.count(cause);
        self.count += usize::from(closed > self.closed);
        self.closed = closed;
    }
}

#[test]
fn at_the_connection_limit_a_hundredth_goes_at_once_so_that_not_every_newcomer_has_all_looked_at() {
    const MOST: usize = 350;
    let _alone = locked(&ALONE);
    let house = serve_with(path, |settings| settings.max_connections = MOST);
    let (mut crowd, mut looks) = (Vec::new(), Looks::default());
    for at in 1..=MOST + 30 {
        let mut client = house.client();
        client.send(b"GET /new HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "/new");
        crowd.push(client);
        looks.note(&house.handle.stats(), Cause::ConnectionLimit);
        assert!(at > MOST || looks.count == 0, "{at}");
    }
    // One, and a hundredth of those that no thread has at the moment.
    assert_eq!((looks.count, looks.closed), (8, 32));
}

#[test]
fn at_the_memory_limit_a_hundredth_goes_at_once_so_that_not_every_byte_has_all_looked_at() {
    const MOST: usize = 300;
    let _alone = locked(&ALONE);
    // The first byte of a head takes 4 KiB.
    let house = serve_with(path, |settings| settings.held = MOST * 4096);
    let (mut crowd, mut looks) = (Vec::new(), Looks::default());
    let waiting = |stats: &Stats| stats.phases().find(|(phase, _)| *phase == Phase::Head).map_or(0, |(_, count)| count);
    for at in 1..=MOST + 30 {
        let mut client = house.client();
        client.send(b"G");
        crowd.push(client);
        house.until("it waits", |stats| waiting(stats) + stats.count(Cause::HeldLimit) as usize == at);
        looks.note(&house.handle.stats(), Cause::HeldLimit);
        assert!(at > MOST || looks.count == 0, "{at}");
    }
    house.until("as many as may be", |stats| stats.count(Cause::HeldLimit) >= 30);
    // One look in four steps, seen while it closes and once more behind that.
    let closed = house.handle.stats().count(Cause::HeldLimit);
    assert!(closed <= 34 && looks.count <= 2 * 8, "{closed} {}", looks.count);
}

/// It could not be closed for that, and others are not.
#[test]
fn what_a_request_held_while_it_was_waited_for_is_not_counted_while_it_is_answered() {
    let _alone = locked(&ALONE);
    let (application, called, release) = sleepy();
    let house = serve_with(application, |settings| (settings.threads, settings.held) = (16, 100_000));
    let gathered = |stats: &Stats| stats.phases().any(|(phase, count)| phase == Phase::Content && count == 1);
    let mut clients: Vec<_> = (0..10).map(|_| house.client()).collect();
    for client in &mut clients {
        client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 15000\r\n\r\n");
        client.send(&[b'x'; 14_999]);
        house.until("it waits for the rest", gathered);
        client.send(b"x");
        assert_eq!(called.wait(), "/slow");
    }
    for client in &mut clients {
        release.one();
        assert_eq!(client.response().text(), "/slow");
    }
    assert_eq!(house.log.causes(), []);
}

// ------------------------------------------------------------------------------------- just below, at and just above

#[test]
fn content_up_to_gathered_content_is_there_before_the_application_is_called() {
    let _alone = locked(&ALONE);
    for (length, is_gathered) in [(999, true), (1_000, true), (1_001, false)] {
        let recorder = Recorder::default();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let content = "x".repeat(length - 1);
        let pieces = [head.as_bytes(), content.as_bytes()];
        let (out, log) = in_memory_with(pieces, recorder.clone(), |settings| settings.gathered_content = 1_000);
        assert_eq!(parse_all(&out, &[])[0].status, 400);
        assert_eq!(log.causes(), [Cause::ContentTruncated]);
        assert_eq!(recorder.take().is_empty(), is_gathered, "{length}");
    }
}

#[test]
fn content_up_to_max_content_is_read_with_a_length_and_in_chunks() {
    let _alone = locked(&ALONE);
    for (length, is_served) in [(999, true), (1_000, true), (1_001, false)] {
        let content = "x".repeat(length);
        let whole = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}");
        let halves = content.split_at(400);
        let in_chunks = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            halves.0,
            halves.1.len(),
            halves.1
        );
        for input in [whole, in_chunks] {
            let recorder = Recorder::default();
            let (out, log) =
                in_memory_with([input.as_bytes()], recorder.clone(), |settings| settings.max_content = Some(1_000));
            let status = parse_all(&out, &[])[0].status;
            assert_eq!(status, if is_served { 200 } else { 413 }, "{length}");
            assert_eq!(log.causes(), if is_served { vec![] } else { vec![Cause::ContentLong] });
        }
    }
}

#[test]
fn unread_content_up_to_drain_is_skipped_and_more_ends_the_connection() {
    let _alone = locked(&ALONE);
    let next = b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (length, is_skipped) in [(19_999, true), (20_000, true), (20_001, false)] {
        let content = "x".repeat(length);
        let chunks = format!("{length:x}\r\n{content}\r\n0\r\n\r\n");
        for (framing, content) in
            [(format!("Content-Length: {length}"), content), ("Transfer-Encoding: chunked".into(), chunks)]
        {
            let head = format!("POST /first HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            // Nothing of the content is there when the application answers.
            let pieces = [head.as_bytes(), content.as_bytes(), next];
            let (out, log) = in_memory_with(pieces, path, |settings| {
                (settings.drain, settings.gathered_content) = (20_000, 1_000);
            });
            let responses = parse_all(&out, &[]);
            assert_eq!(responses.len(), 1 + usize::from(is_skipped), "{framing} {length}: {responses:?}");
            assert_eq!(responses[0].text(), "/first");
            assert_eq!(log.causes(), []);
        }
    }
}

#[test]
fn after_the_last_response_up_to_linger_bytes_are_read() {
    let _alone = locked(&ALONE);
    let house = serve_with(hello, |settings| {
        settings.linger = 10_000;
        settings.linger_deadline = Duration::from_secs(3_600);
    });
    for behind in [1, 2] {
        let mut client = house.client();
        client.send(b"GET / HTTP/1.1\r\n\r\n");
        let out = client.until_close();
        assert_eq!(parse_all(&out, &[])[0].status, 400);
        client.send(&[b'x'; 9_999]);
        // Somebody else's request goes through the same thread, and the connection still lingers.
        assert_eq!(house.ask_one(b"GET / HTTP/1.0\r\n\r\n").text(), "hello");
        house.until("only this one is left", |stats| stats.open == 1);
        client.send(&vec![b'x'; behind]);
        house.until("it was closed", |stats| stats.open == 0);
    }
}

#[test]
fn as_many_requests_as_the_queue_holds_wait_and_one_more_is_503() {
    let _alone = locked(&ALONE);
    let (application, called, release) = sleepy();
    let house = serve_with(application, |settings| (settings.threads, settings.queue) = (1, 3));
    let ask = |path: &str| {
        let mut client = house.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        client
    };
    let first = ask("/0");
    assert_eq!(called.wait(), "/0");
    let mut waiting = vec![first];
    for at in 1..=3 {
        waiting.push(ask(&format!("/{at}")));
        house.until("it waits", |stats| stats.queued == at);
    }
    let mut client = ask("/more");
    assert_eq!(client.response().status, 503);
    house.log.take(Cause::QueueFull);
    for (at, client) in waiting.iter_mut().enumerate() {
        release.one();
        assert_eq!(client.response().text(), format!("/{at}"));
    }
}

#[test]
fn as_many_connections_as_max_connections_stay_and_one_more_closes_the_oldest() {
    let _alone = locked(&ALONE);
    let house = serve_with(path, |settings| settings.max_connections = 5);
    let mut clients: Vec<Client<TcpStream>> = Vec::new();
    for at in 1..=6 {
        let mut client = house.client();
        client.send(b"GET /new HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "/new");
        clients.push(client);
        house.until("as many as may be", |stats| stats.open == at.min(5));
        if at <= 5 {
            assert_eq!(house.log.causes(), [], "{at}");
        }
    }
    house.log.take(Cause::ConnectionLimit);
    // The oldest, or where a thread stays with that one for a moment, the next: one, and only one.
    let mut closed = Vec::new();
    for (at, client) in clients.iter_mut().enumerate() {
        let is_sent = client.stream.write_all(b"GET /still HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").is_ok();
        let out = if is_sent { client.until_end() } else { Vec::new() };
        match &parse_all(&out, &[])[..] {
            [] => closed.push(at),
            [response] => assert_eq!(response.text(), "/still"),
            more => panic!("{more:?}"),
        }
    }
    assert_eq!(closed.len(), 1, "{closed:?}");
    println!("number {} was closed", closed[0]);
    assert!(closed[0] < 5, "the newest was closed");
    assert_eq!(house.log.causes(), []);
}

#[test]
fn the_overhead_of_chunks_may_be_64_kib_and_not_a_byte_more() {
    let _alone = locked(&ALONE);
    // Each of these has five bytes around one of data: 13,106 make 65,530, and the last line the rest.
    let tiny = "1\r\nx\r\n".repeat(13_106);
    for (last, status) in [("000", 200), ("0000", 200), ("00000", 400)] {
        let overhead = 13_106 * 5 + last.len() as u64 + 2;
        assert_eq!(overhead > MAX_OVERHEAD, status == 400);
        let input = [chunked(&tiny), format!("{last}\r\n\r\n").into_bytes()].concat();
        let (out, _) = in_memory_with([&input[..]], Recorder::default(), |_| {});
        assert_eq!(parse_all(&out, &[])[0].status, status, "{last}");
    }
}

/// How long a client that did `begin` waits until the server ends the connection.
fn waited(house: &House, begin: &[u8]) -> (Duration, Vec<u8>) {
    let mut client = house.client();
    client.send(begin);
    let since = Instant::now();
    let out = client.until_close();
    (since.elapsed(), out)
}

#[test]
fn no_deadline_strikes_early() {
    let _alone = locked(&ALONE);
    const TIME: Duration = Duration::from_millis(400);
    let far = Duration::from_secs(3_600);
    let house = |change: Change| {
        serve_with(counts, move |settings| {
            for deadline in [
                &mut settings.first_byte_deadline,
                &mut settings.head_deadline,
                &mut settings.idle_deadline,
                &mut settings.content_stall,
                &mut settings.drain_deadline,
            ] {
                *deadline = far;
            }
            change(settings);
        })
    };
    let part: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\nhello";
    let cases: [(Change, &[u8], Option<u16>); 5] = [
        (|settings| settings.first_byte_deadline = TIME, b"", None),
        (|settings| settings.head_deadline = TIME, b"GET / HTTP/1.1\r\nHost: a\r\n", Some(408)),
        (|settings| settings.idle_deadline = TIME, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(200)),
        (|settings| settings.content_stall = TIME, part, Some(408)),
        (
            |settings| settings.content_stall = TIME,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello",
            Some(408),
        ),
    ];
    scope(|scope| {
        for (change, begin, status) in cases {
            scope.spawn(move || {
                let house = house(change);
                let (time, out) = waited(&house, begin);
                let statuses: Vec<u16> = parse_all(&out, &[]).iter().map(|response| response.status).collect();
                assert_eq!(statuses, Vec::from_iter(status), "{}", show(begin));
                // The clock of the system and the one of the client may disagree by their grain.
                assert!(time + Duration::from_millis(20) >= TIME, "{time:?}: {}", show(begin));
            });
        }
    });
    // What is in time is served, however near: half of the time is near enough for a machine under load.
    let house = house(|settings| settings.head_deadline = 8 * TIME);
    let mut client = house.client();
    client.send(b"GET / HTTP/1.0\r\n");
    // The client that is tested with is slow.
    std::thread::sleep(TIME);
    client.send(b"\r\n");
    assert_eq!(parse_all(&client.until_close(), &[])[0].status, 200);
}

#[test]
fn content_below_the_rate_is_refused_and_content_at_the_rate_is_read() {
    let _alone = locked(&ALONE);
    let slow = |bytes_at_once: usize, pause: u64, rate: u64| {
        let house = serve_with(counts, |settings| {
            settings.threads = 8;
            settings.content_rate = rate;
            settings.content_rate_after = Duration::from_millis(200);
        });
        let mut client = house.client();
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n");
        let mut left = 20_000;
        while left > 0 && house.log.causes().is_empty() {
            let part = left.min(bytes_at_once);
            // Once it was refused nobody takes it any more.
            let _ = client.stream.write_all(&vec![b'x'; part]);
            left -= part;
            // The client that is tested with is slow.
            std::thread::sleep(Duration::from_millis(pause));
        }
        (parse_all(&client.until_end(), &[])[0].status, house.log.causes())
    };
    // 50 bytes a second, and at least 25,000 unless the machine is 25 times as slow as it says.
    assert_eq!(slow(1, 20, 1_000), (408, vec![Cause::ContentSlow]));
    assert_eq!(slow(500, 20, 1_000), (200, vec![]));
    // Something comes within every slice, and far too little: at most 1,000 bytes a second of 100,000.
    assert_eq!(slow(1, 1, 100_000), (408, vec![Cause::ContentSlow]));
}
