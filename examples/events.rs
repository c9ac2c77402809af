//! Server-sent events: a clock that ticks for everybody, and a chat.
//!
//! Run: `cargo run --example events` (or `-- 8001` for another port)
//! Try: a browser, or `curl -N http://127.0.0.1:8000/events` and, elsewhere, `curl -d hello http://127.0.0.1:8000/`
//!
//! A stream holds no thread: its body waits for what is sent to it, and one thread sends to all. What a client does not take waits for it in
//! a queue of sixteen blocks; one that is so far behind is let go, and comes back by itself with the number of what it has seen. A stream costs
//! about 7 KiB of memory, most of it the head of its request.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorway::{Application, Body, Environ, Event, Response, Sender, Server, simple};

/// So many events are kept for those who come back.
const KEPT: usize = 100;
/// So many blocks may wait for one client.
const AHEAD: usize = 16;
const LONGEST: u64 = 1024;

const PAGE: &str = r#"<!DOCTYPE html>
<title>Events</title>
<p id="clock"></p>
<form><input name="text" autofocus><button>Send</button></form>
<ul></ul>
<script>
const events = new EventSource("events");
events.addEventListener("clock", event => document.getElementById("clock").textContent = event.data);
events.onmessage = event => {
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

/// What was posted, and who watches.
#[derive(Default)]
pub struct Events(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many events there were in all, and the last of them.
    count: usize,
    kept: Vec<Event>,
    watchers: Vec<Sender>,
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, text: &str) {
        let mut state = self.lock();
        state.count += 1;
        let event = Event::new(text).id(&state.count.to_string());
        state.send(&event);
        state.kept.push(event);
        if state.kept.len() > KEPT {
            state.kept.remove(0);
        }
    }

    /// Tells everybody the time. It also tells the server which clients are still there.
    pub fn tick(&self, seconds: u64) {
        self.lock().send(&Event::new(seconds.to_string()).name("clock"));
    }

    /// A body that begins behind the event with this number, where that is one of ours, and gets whatever comes from now on.
    fn watch(&self, last: Option<usize>) -> Body {
        let mut state = self.lock();
        let (sender, body) = Body::events(AHEAD);
        let first = state.count - state.kept.len();
        let seen = last.filter(|last| *last <= state.count).unwrap_or(state.count).saturating_sub(first);
        let soon = Event::comment("").retry(Duration::from_secs(1));
        let missed: String = std::iter::once(&soon).chain(state.kept.iter().skip(seen)).map(Event::to_string).collect();
        if sender.try_send(missed.into_bytes()).is_ok() {
            state.watchers.push(sender);
        }
        body
    }
}

impl State {
    /// Sends to all, and lets those go who have left or are too far behind.
    fn send(&mut self, event: &Event) {
        self.watchers.retain(|watcher| watcher.try_send(event.clone()).is_ok());
    }
}

/// The page, what is posted to it, and the stream of events.
pub fn application(events: Arc<Events>) -> impl Application {
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
            ("GET" | "HEAD", "/events") => {
                // A browser that was cut off says what it has seen last.
                let last = environ.header("last-event-id").and_then(|id| id.parse().ok());
                Response::events(events.watch(last))
            }
            _ => Response::text("Nothing is here.\n").with_status("404 Not Found"),
        })
    })
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    for address in server.addrs() {
        println!("{}", address.url());
    }
    let events = Arc::<Events>::default();
    let clock = Arc::clone(&events);
    std::thread::spawn(move || {
        for seconds in 0.. {
            clock.tick(seconds);
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    server.serve(application(events))
}
