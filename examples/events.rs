//! Server-sent events: whoever has the page open sees what anybody posts, at once.
//!
//! Run: `cargo run --example events` (or `-- 8001` for another port)
//! Try: a browser, or `curl -N http://127.0.0.1:8000/events` and, elsewhere, `curl -d hello http://127.0.0.1:8000/`
//!
//! Each open stream holds a thread of the pool until its client goes away, and a client that is gone is noticed when the next
//! line is sent to it. So streams get three quarters of the threads and no more, and the next one 503. This is
//! right for a tool with a few dozen watchers; thousands of them want an asynchronous server.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorway::{Application, Environ, Response, Server, simple};

const THREADS: usize = 64;
/// So many events are kept for those who come back.
const KEPT: usize = 100;
const LONGEST: u64 = 1024;

const PAGE: &str = r#"<!DOCTYPE html>
<title>Events</title>
<form><input name="text" autofocus><button>Send</button></form>
<ul></ul>
<script>
new EventSource("events").onmessage = event => {
    const line = document.createElement("li");
    line.textContent = event.data;
    document.querySelector("ul").prepend(line);
};
document.forms[0].onsubmit = event => {
    event.preventDefault();
    fetch("", {method: "POST", body: event.target.text.value});
    event.target.reset();
};
</script>
"#;

/// What was posted, and who is waiting for it.
#[derive(Default)]
pub struct Events {
    /// How many there were in all, and the last of them.
    lines: Mutex<(usize, Vec<String>)>,
    more: Condvar,
    streams: AtomicUsize,
}

impl Events {
    fn lines(&self) -> MutexGuard<'_, (usize, Vec<String>)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, text: &str) {
        let mut lines = self.lines();
        // A line feed would end the event early.
        lines.1.push(text.split(['\r', '\n']).collect::<Vec<_>>().join(" "));
        lines.0 += 1;
        if lines.1.len() > KEPT {
            lines.1.remove(0);
        }
        self.more.notify_all();
    }

    /// The events behind the first `seen`, as soon as there are any; a comment where nothing happens for a while, which
    /// tells the client that the server is there, and the server whether the client is.
    fn next(&self, seen: &mut usize, patience: Duration) -> String {
        let nothing_new = |lines: &mut (usize, Vec<String>)| lines.0 == *seen;
        let waited = self.more.wait_timeout_while(self.lines(), patience, nothing_new);
        let (lines, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let first = lines.0 - lines.1.len();
        let new = lines.1.iter().enumerate().skip(seen.saturating_sub(first));
        let text: String = new.map(|(at, line)| format!("id: {}\ndata: {line}\n\n", first + at + 1)).collect();
        *seen = lines.0;
        if text.is_empty() { ":\n\n".into() } else { text }
    }
}

/// The page, what is posted to it, and the stream of events, for at most so many clients at a time.
pub fn application(events: Arc<Events>, most: usize, patience: Duration) -> impl Application {
    simple(move |environ: &Environ| -> io::Result<Response> {
        let path = environ.path();
        Ok(match (environ.method(), &*path) {
            ("GET" | "HEAD", "/") => Response::html(PAGE),
            ("POST", "/") => {
                let mut text = Vec::new();
                environ.input().take(LONGEST).read_to_end(&mut text)?;
                events.post(&String::from_utf8_lossy(&text));
                Response::new("204 No Content", ())
            }
            ("GET" | "HEAD", "/events") => stream(environ, &events, most, patience),
            _ => Response::text("Nothing is here.\n").with_status("404 Not Found"),
        })
    })
}

fn stream(environ: &Environ, events: &Arc<Events>, most: usize, patience: Duration) -> Response {
    let place = Place(Arc::clone(events));
    // The place is given back when it is dropped: here, or with the body.
    if events.streams.fetch_add(1, Ordering::SeqCst) >= most {
        drop(place);
        return Response::text("Too many are watching.\n")
            .with_status("503 Service Unavailable")
            .with_header("Retry-After", "10");
    }
    // A browser that was cut off says what it has seen last. A number that is not ours begins with what is new.
    let count = events.lines().0;
    let last = environ.header("last-event-id").and_then(|id| id.parse().ok());
    let mut seen = last.filter(|last| *last <= count).unwrap_or(count);
    // The first block at once, so that the client sees the head.
    let begin = std::iter::once(String::from("retry: 1000\n\n"));
    let blocks = begin.chain(std::iter::repeat_with(move || place.0.next(&mut seen, patience)));
    Response::new("200 OK", doorway::Body::blocks(blocks.map(|text| Ok(text.into_bytes().into()))))
        .with_header("Content-Type", "text/event-stream")
        .with_header("Cache-Control", "no-store")
        // nginx would gather the events otherwise.
        .with_header("X-Accel-Buffering", "no")
}

/// The place of one stream.
struct Place(Arc<Events>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?.threads(THREADS);
    for address in server.addrs() {
        println!("{}", address.url());
    }
    server.serve(application(Arc::default(), THREADS * 3 / 4, Duration::from_secs(15)))
}
