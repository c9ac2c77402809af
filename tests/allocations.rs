//! Promise: the steady state allocates nothing. A counting allocator watches the whole process, client included.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use doorway::log::Lines;
use doorway::multipart::{Limits, Parts};
use doorway::{Body, Environ, Server, StartResponse};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Those of this thread: the harness allocates when another test has ended.
    static OWN: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    OWN.set(OWN.get() + 1);
}

/// The counter is of the whole process, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The README's application, with a header value that it computes without allocating.
fn application(environ: &Environ, start_response: &mut StartResponse) -> Body {
    let mut digits = [b'0'; 3];
    let mut rest = environ.path_info().len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap();
        rest /= 10;
    }
    let path_length = std::str::from_utf8(&digits).unwrap();
    start_response.start("200 OK", &[("Content-Type", "text/html"), ("X-Path-Length", path_length)]);
    Body::from("<h1>Hello, web!</h1>")
}

const REQUEST: &[u8] = b"GET /some/path?query=1 HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=1; b=2\r\n\r\n";

fn exchange(client: &mut TcpStream, buffer: &mut [u8]) {
    client.write_all(REQUEST).unwrap();
    let mut filled = 0;
    while !buffer[..filled].ends_with(b"</h1>") {
        let read = client.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the server closed the connection");
        filled += read;
    }
    assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn promise_8_ten_thousand_keep_alive_requests_allocate_nothing() {
    let _alone = ALONE.lock().unwrap();
    // One thread: with several, whichever gets the connection first grows its memory to the size of the requests then.
    let server = Server::bind("127.0.0.1:0").unwrap().threads(1).log(Lines::all(io::sink()));
    let handle = server.spawn(application).unwrap();
    let mut client = TcpStream::connect(handle.addr()).unwrap();
    let mut buffer = [0; 1024];
    for _ in 0..2 {
        for _ in 0..50 {
            exchange(&mut client, &mut buffer);
        }
        // The client is quiet for so long that the connection is everywhere where one waits, which nothing tells from outside: where a
        // connection comes for the first time, memory is made.
        std::thread::sleep(Duration::from_millis(50));
    }
    // A client that is late, on a machine that does other things as well, has its connection put where quiet ones are, and memory is made for
    // that: then the next ten thousand count. What a request allocates, or one in a thousand, is in all of them.
    let runs = (0..10).map(|_| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..10_000 {
            exchange(&mut client, &mut buffer);
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    });
    let found = runs.take_while(|allocations| *allocations > 0).collect::<Vec<_>>();
    assert!(found.len() < 10, "{found:?}");
    drop(client);
    handle.shutdown(Duration::from_secs(5));
}

#[test]
fn rfc7578_a_part_of_any_length_is_read_without_an_allocation_even_of_near_boundaries() {
    let _alone = ALONE.lock().unwrap();
    for block in [&[0xAB; 32][..], b"\r\n--boundarx", b"\r\n--", b"\r"] {
        let content = block.repeat(4 * 1024 * 1024 / block.len());
        let head = &b"--boundary\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\n"[..];
        let input = BufReader::new(head.chain(&content[..]).chain(&b"\r\n--boundary--\r\n"[..]));
        let mut parts = Parts::new(input, b"boundary", Limits::default()).unwrap();
        let mut part = parts.next_part().unwrap().unwrap();
        let mut buffer = [0; 8 * 1024];
        let (mut length, before) = (0, OWN.get());
        loop {
            let read = part.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            length += read;
        }
        let allocations = OWN.get() - before;
        assert_eq!((length, allocations), (content.len(), 0), "{}", block.escape_ascii());
        assert!(parts.next_part().unwrap().is_none());
    }
}
