//! Server-sent events, as the `EventSource` of a browser reads them.
//!
//! HTML Standard, section 9.2 (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). Whatever a text holds, it cannot end its
//! event or begin a field: each of its lines becomes one, and a name or an id has one line. How events travel is the affair of the body
//! that they are blocks of.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::gateway::{Block, Body, Sender};

/// A server-sent event, or a comment. It is a block of a body, and shows itself as it stands on the wire.
///
/// ```
/// use std::time::Duration;
/// use doorway::{Body, Environ, Event, Response, simple};
///
/// fn events(_environ: &Environ) -> Response {
///     let (sender, body) = Body::events(16);
///     std::thread::spawn(move || {
///         let _ = sender.send(Event::new("hello").id("7").retry(Duration::from_secs(1)));
///         let _ = sender.send(Event::new("two\nlines").name("news"));
///     });
///     Response::events(body)
/// }
/// # let wire = doorway::testing::Request::get("/").call(&simple(events)).text();
/// # assert_eq!(wire, ":\n\nid: 7\nretry: 1000\ndata: hello\n\nevent: news\ndata: two\ndata: lines\n\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What stands before the text of each line.
    field: &'static str,
    text: String,
    /// Whole lines that come first.
    fields: String,
}

impl Event {
    /// An event with this text, which may have several lines. A page hears it as `message`.
    pub fn new(text: impl Into<String>) -> Event {
        Event { field: "data: ", text: text.into(), fields: String::new() }
    }

    /// A comment, which no page hears: sent now and then, it shows both sides whether the other is still there.
    pub fn comment(text: impl Into<String>) -> Event {
        Event { field: ":", text: text.into(), fields: String::new() }
    }

    /// Under which name a page hears it (`addEventListener`). A line end becomes a space.
    pub fn name(self, name: &str) -> Event {
        self.with("event", name)
    }

    /// What a browser sends as `Last-Event-ID` when it comes back. A line end becomes a space, and so does NUL, with which it would not count.
    pub fn id(self, id: &str) -> Event {
        self.with("id", id)
    }

    /// How long a browser waits before it comes back, in whole milliseconds.
    pub fn retry(self, time: Duration) -> Event {
        self.with("retry", &time.as_millis().to_string())
    }

    fn with(mut self, field: &str, value: &str) -> Event {
        self.fields += &format!("{field}: {}\n", value.replace(['\r', '\n', '\0'], " "));
        self
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fields)?;
        // CR LF, LF and CR each end a line for a browser.
        for line in self.text.replace("\r\n", "\n").split(['\r', '\n']) {
            writeln!(f, "{}{line}", self.field)?;
        }
        f.write_char('\n')
    }
}

impl From<Event> for Block {
    fn from(event: Event) -> Block {
        event.to_string().into_bytes().into()
    }
}

impl From<Event> for Body {
    fn from(event: Event) -> Body {
        Block::from(event).into()
    }
}

impl Body {
    /// A body of [`Event`]s that other threads send, at most `ahead` of them ahead of the client: [`Body::channel`] with a comment as its
    /// first block, so that a browser knows at once that it is connected. [`Response::events`](crate::Response::events) says what it is.
    pub fn events(ahead: usize) -> (Sender, Body) {
        let (sender, body) = Body::channel(ahead.saturating_add(1));
        // The queue is new, so there is room in it.
        let _ = sender.try_send(Event::comment(""));
        (sender, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_9_2_6_nothing_in_an_event_ends_it_or_begins_a_field() {
        let hostile = "a\r\nid: 1\rdata: x\n\nevent: y";
        for (event, expected) in [
            (Event::new(hostile), "data: a\ndata: id: 1\ndata: data: x\ndata: \ndata: event: y\n\n"),
            (Event::comment(hostile), ":a\n:id: 1\n:data: x\n:\n:event: y\n\n"),
            (Event::new("").name("a\r\nid: 1").id("7\n\n\0"), "event: a  id: 1\nid: 7   \ndata: \n\n"),
            (Event::new("a\n"), "data: a\ndata: \n\n"),
        ] {
            assert_eq!(event.to_string(), expected, "{event:?}");
        }
    }

    #[test]
    fn p_body_01_events_are_blocks_of_a_body_however_it_is_made() {
        let wire =
            |body: Body| body.into_blocks().map(|block| block.unwrap().into_owned()).collect::<Vec<_>>().concat();
        assert_eq!(wire(Body::blocks([Event::new("a"), Event::comment("b")])), b"data: a\n\n:b\n\n");
        let (sender, body) = Body::events(1);
        sender.try_send(Event::new("a")).unwrap();
        assert!(sender.try_send(Event::new("b")).is_err(), "one ahead");
        drop(sender);
        assert_eq!(wire(body), b":\n\ndata: a\n\n");
    }
}
