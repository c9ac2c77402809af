//! A response on its way to the client: head, framing, and what of it is unsent.
//!
//! RFC 9112 sections 6 and 7, docs/rules.md P-LEN-01 to P-LEN-07, P-BODY-01, P-BODY-02. A response is shared by the call that makes it, by
//! the `Writer` that the application may have of it, and by whoever sends what is delayed: PEP 3333, "Buffering and Streaming", says that a
//! server must not delay a block, but need not have sent it before it asks for the next if it goes on sending it meanwhile with another
//! thread (P-BODY-01). So small blocks that follow each other within [`QUICK_BLOCK`] travel together, and the monitor, which looks every
//! 3 ms, sends what it finds. The first block of a response, and every one that took the application longer, is sent at once.

use std::io;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::bounds::Seat;
use super::connection::Connection;
use super::reader::{ContentState, Pace};
use super::send::{COPIED, FLAT, QUANTUM, SendQueue};
use super::settings::{QUICK_BLOCK, RETRY_AFTER, Settings};
use super::shared::{Shared, lock};
use super::socket::Socket;
use super::upgrade::Entry;
use crate::cause::Cause;
use crate::door::http::{ALLOW, write_end};
use crate::door::{Facts, Reply};
use crate::gateway::{Block, Headers, Status, Transmit};
use crate::http::chunked::{CRLF, LAST_CHUNK, size_line};
use crate::http::date::imf_fixdate;
use crate::http::framing::{self, Content, Delimiter};

/// How far a response has come.
#[derive(Default)]
pub(super) enum Stage {
    /// The head is not made.
    #[default]
    Head,
    /// Content is framed so; of a declared length, it is what is still to come.
    Content(Delimiter),
    /// Everything is in the queue, and the client sees that it is all.
    Whole,
    /// Nothing more comes into the queue, and the client sees that it is not all.
    Cut,
}

/// The writing side of a call; its memory is used for the next.
#[derive(Default)]
pub(super) struct Response {
    /// None between calls: whoever has kept the `StartResponse` can send nothing any more.
    pub(super) socket: Option<Arc<Socket>>,
    pub(super) queue: SendQueue,
    /// As it came, but for what becomes of the connection, which may be known late.
    pub(super) request: Facts,
    /// Where the request has content.
    pub(super) content_state: Option<Arc<Mutex<ContentState>>>,
    pub(super) stage: Stage,
    /// The status that goes out, and the content that was framed behind it.
    pub(super) status: u16,
    pub(super) content: u64,
    /// Where the connection goes on in another protocol behind the head.
    pub(super) upgrade: Option<Arc<Entry>>,
    /// Why the response cannot go on, or goes out other than the application meant it.
    pub(super) failure: Option<Cause>,
    /// The head may not fit where a front server puts it.
    pub(super) head_is_large: bool,
    /// Whether it may wait for the next response of the connection, to be sent with it.
    has_next: bool,
    /// How a `Writer` has waited for the client in all: one that takes each block a little late is as slow as one that takes one of them late.
    pace: Pace,
    /// When the last block was framed.
    last_block: Option<Instant>,
    /// Whether the monitor will look.
    pub(super) is_delayed: bool,
    head_end: HeadEnd,
}

impl Response {
    /// Turns to the new request. What is unsent in its connection are responses to earlier ones.
    pub(super) fn begin(&mut self, connection: &mut Connection) {
        if !connection.queue.is_empty() {
            std::mem::swap(&mut self.queue, &mut connection.queue);
        }
        // Where a monitor looks after it: a stream of the caller's own has none.
        self.has_next = !connection.buffer.is_empty()
            && matches!(self.request.content, Content::None)
            && connection.socket.system().is_ok()
            && self.queue.len() < COPIED;
        self.socket = Some(Arc::clone(&connection.socket));
        (self.stage, self.status, self.content) = (Stage::Head, 0, 0);
        (self.failure, self.head_is_large) = (None, false);
        (self.last_block, self.pace) = (None, Pace::default());
    }

    /// Gives the rest of the response up, and with it the connection: whatever still comes from the application is dropped. The first cause counts.
    pub(super) fn cut(&mut self, cause: Cause) {
        self.failure = self.cut_for().or(Some(cause));
        (self.stage, self.upgrade) = (Stage::Cut, None);
        self.content = self.content.saturating_sub(self.queue.len() as u64);
        self.queue = SendQueue::default();
    }

    /// Why it was cut, if it was. Otherwise nothing but the application, if that, is at fault: the client still takes what there is.
    pub(super) fn cut_for(&self) -> Option<Cause> {
        self.failure.filter(|cause| cause.number() < 4000)
    }

    /// Whether this response is whole, and to be sent with the next.
    pub(super) fn waits_for_next(&self) -> bool {
        self.has_next && matches!(self.stage, Stage::Whole) && self.queue.is_flat() && self.request.keep_alive
    }

    /// Whether nothing goes behind what has been framed, whatever the body holds (HEAD, 204, 304, or the end, as it was meant or not).
    #[inline]
    pub(super) fn drops_content(&self) -> bool {
        matches!(self.stage, Stage::Content(Delimiter::None) | Stage::Whole | Stage::Cut)
    }

    /// Whether everything that will be sent is in the queue.
    #[inline]
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Whole | Stage::Cut)
    }

    /// Takes unsent content back, all but `keep` bytes.
    pub(super) fn take_back(&mut self, keep: usize) -> u64 {
        // Frames have promised what stands in them.
        let (Stage::Content(Delimiter::Length(left)), None) = (&mut self.stage, &self.request.framer) else { return 0 };
        let taken = self.queue.take_back(keep) as u64;
        *left += taken;
        self.content -= taken;
        taken
    }

    /// Writes the head in front, once. `known` is the length of a body that is all there.
    pub(super) fn make_head(&mut self, status: (u16, &str), headers: &Headers, known: Option<u64>, shared: &Shared) {
        let Stage::Head = self.stage else { return };
        let request = &mut self.request;
        let framing = framing::response(request.version, request.is_head, status.0, headers.content_length(), known);
        // A stop may have begun while the application ran: the client is told with this response.
        let is_delimited = framing.delimiter != Delimiter::Close || request.framer.is_some();
        let drain = shared.settings.drain;
        let content_ends = self.content_state.as_ref().is_some_and(|state| lock(state).end_expectation(drain));
        request.keep_alive &= is_delimited && !content_ends && !shared.is_stopping();
        let end = self.head_end.at(SystemTime::now(), &shared.settings);
        let upgrade = self.upgrade.as_ref().map(|entry| &*entry.protocol);
        let (keep_alive, version) = (request.keep_alive, request.version);
        let reply = Reply { status: status.1, headers, framing, upgrade, keep_alive, version, end };
        (self.stage, self.status) = (Stage::Content(framing.delimiter), status.0);
        let front = self.queue.flatten();
        let start = front.len();
        request.door.protocol().write_head(front, &reply);
        // G-09: nginx's first buffer has 4 KiB, and it answers 502 to a head that does not fit.
        self.head_is_large = front.len() - start > LARGE_HEAD && request.door.trusts_its_peer();
        if let Some(framer) = &mut request.framer {
            framer.enclose(front, start);
        }
    }

    /// Frames a block behind what is unsent. What passes the declared length is cut off and noted (P-LEN-02).
    pub(super) fn push(&mut self, mut block: Block) {
        match &mut self.stage {
            Stage::Content(Delimiter::Close | Delimiter::Chunked) => {}
            Stage::Content(Delimiter::Length(left)) if block.len() as u64 <= *left => *left -= block.len() as u64,
            Stage::Content(Delimiter::Length(left)) => {
                self.failure.get_or_insert(Cause::BodyLong);
                block.to_mut().truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                self.stage = Stage::Content(Delimiter::None);
            }
            // With HEAD there is nothing to say: the application answers as for GET.
            _ => {
                if !self.request.is_head && !block.is_empty() {
                    self.failure.get_or_insert(Cause::BodyDropped);
                }
                return;
            }
        }
        self.content += block.len() as u64;
        match &self.request.framer {
            _ if matches!(self.stage, Stage::Content(Delimiter::Chunked)) => {
                self.queue.push_bytes(size_line(block.len(), &mut [0; 18]));
                self.queue.push(block);
                self.queue.push(Block::Borrowed(CRLF));
            }
            Some(framer) => {
                for part in block.chunks(framer.most()) {
                    self.queue.push_bytes(&framer.header(part.len()));
                    self.queue.push_bytes(part);
                }
            }
            None => self.queue.push(block),
        }
    }

    /// Ends the content: the last chunk, or the note that it was too short (P-LEN-03), with which the connection ends.
    pub(super) fn finish(&mut self, is_overloaded: bool) {
        match self.stage {
            Stage::Content(Delimiter::Chunked) => self.queue.push(Block::Borrowed(LAST_CHUNK)),
            Stage::Content(Delimiter::Length(1..)) => {
                self.failure.get_or_insert(Cause::BodyShort);
                self.stage = Stage::Cut;
                return;
            }
            Stage::Content(_) => {}
            Stage::Head | Stage::Whole | Stage::Cut => return,
        }
        // P-ERR-05: a response that is not whole ends without this.
        if let Some(framer) = &self.request.framer {
            self.queue.push_bytes(&framer.end(is_overloaded));
        }
        self.stage = Stage::Whole;
    }

    /// What the server answers by itself: a status, its reason, and nothing of the request, of the application or of the machine.
    pub(super) fn answer(&mut self, status: u16, shared: &Shared) {
        let mut headers = Headers::from(&[("Content-Type", "text/plain")]);
        match status {
            405 => headers.add("Allow", ALLOW),
            503 => headers.add("Retry-After", RETRY_AFTER),
            _ => {}
        }
        let text = text_of(status);
        let content = format!("{}\n", text.split_at(4).1).into_bytes();
        self.make_head((status, text), &headers, Some(content.len() as u64), shared);
        self.push(content.into());
        self.finish(status == 503);
    }

    /// Sends what the socket takes at once, and tells whether nothing is left. Where that fails, there is nothing more to send.
    #[inline]
    pub(super) fn send(&mut self) -> bool {
        let _ = self.flush();
        self.queue.is_empty()
    }

    /// Sends what the socket takes at once, and gives how much that was. Of a response that was cut there is nothing to send.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        let socket = self.socket.as_deref().ok_or(io::ErrorKind::NotConnected)?;
        self.queue.flush(socket).inspect_err(|_| self.cut(Cause::ClientGone))
    }

    /// Notes when a block was framed. Tells whether it may wait for those behind it. While the application still reads content, the socket
    /// may block, and whoever sends what is delayed must not wait for a client.
    pub(super) fn note_block(&mut self, now: Instant) -> bool {
        let last = self.last_block.replace(now);
        last.is_some_and(|last| now.saturating_duration_since(last) < QUICK_BLOCK)
            && self.content_state.is_none()
            && self.queue.is_flat()
            && self.queue.len() <= FLAT
            && self.returns_at_once()
    }

    /// Whether nobody who flushes it can come to wait for the client.
    fn returns_at_once(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| !socket.waits())
    }

    /// Sends everything for a `Writer`, which waits for the client as long as that makes progress and nobody else needs the thread more.
    fn send_all(&mut self, shared: &Shared) -> io::Result<()> {
        let (mut begin, mut seat) = (Instant::now(), None::<Seat>);
        loop {
            let sent = self.flush()?;
            let since = self.pace.note(&mut begin, Instant::now(), sent);
            // A client that takes everything does not keep a stop from its end, unless that is all that it gets.
            let is_all = matches!(self.stage, Stage::Content(Delimiter::Length(0) | Delimiter::None));
            let may_go_on = is_all || !shared.is_over();
            if may_go_on && self.queue.is_empty() {
                return Ok(());
            }
            if may_go_on && sent >= QUANTUM {
                continue;
            }
            self.socket.as_deref().ok_or(io::ErrorKind::NotConnected)?.set_waiting(true)?;
            // One thread has one seat: that of the content, as long as there is some to come.
            let content = self.content_state.as_ref().map(|state| lock(state));
            let of_content = content.as_ref().and_then(|state| state.seat.as_ref());
            let seat = of_content.unwrap_or_else(|| seat.get_or_insert_with(|| shared.seats.take()));
            let stall = (shared.settings.response_stall, Cause::ResponseStalled);
            let verdict = self.pace.verdict(since, stall, Some(seat), shared);
            drop(content);
            if let Some(cause) = verdict {
                self.cut(cause);
                return Err(io::Error::new(io::ErrorKind::TimedOut, cause));
            }
        }
    }
}

/// What the `write` callable of an application sends through, for one call after the other.
pub(super) struct ResponseWriter {
    pub(super) shared: Arc<Shared>,
    pub(super) response: Arc<Mutex<Response>>,
}

impl Transmit for ResponseWriter {
    fn head(&mut self, status: &Status, headers: &Headers, block: &[u8]) -> io::Result<()> {
        lock(&self.response).make_head((status.code(), status.text()), headers, None, &self.shared);
        self.block(block)
    }

    fn block(&mut self, block: &[u8]) -> io::Result<()> {
        let mut response = lock(&self.response);
        let (now, is_over) = (Instant::now(), self.shared.is_over());
        let dropped_since = response.last_block.filter(|_| response.drops_content());
        // Written blocks are borrowed, so they are copied once; what is yielded is not.
        response.push(block.to_vec().into());
        match dropped_since.map(|since| now.saturating_duration_since(since)) {
            // No client ends what it gets nothing of.
            Some(time) if time >= self.shared.settings.response_stall || is_over => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing of what is written is sent"));
            }
            Some(_) => {}
            None if !is_over && response.note_block(now) => delay(&mut response, &self.response, &self.shared),
            None => response.send_all(&self.shared)?,
        }
        match response.failure {
            None | Some(Cause::BodyDropped) => Ok(()),
            Some(cause) => Err(io::Error::other(cause)),
        }
    }
}

/// Has the monitor send what is unsent at its next look.
pub(super) fn delay(response: &mut Response, own: &Arc<Mutex<Response>>, shared: &Shared) {
    if !std::mem::replace(&mut response.is_delayed, true) {
        lock(&shared.delayed).push(Arc::clone(own));
        shared.monitor.notice();
    }
}

/// Sends what is delayed in all responses, as far as the clients take it. Errors are met again by whoever makes them. A response that is
/// locked is being sent already, or added to, and looked at the next time: its `Writer` may be waiting for the client.
pub(super) fn send_delayed(shared: &Shared) {
    // Not under the lock, in which whoever delays a block would wait for all these writes.
    let mut all = std::mem::take(&mut *lock(&shared.delayed));
    all.retain(|delayed| {
        let mut response = match delayed.try_lock() {
            Ok(response) => response,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return true,
        };
        // One whose call waits in the connection by now is sent there. Otherwise the rest goes when the client takes more, though the application
        // may give nothing for long.
        response.is_delayed = response.is_delayed && response.returns_at_once() && !response.send();
        response.is_delayed
    });
    lock(&shared.delayed).append(&mut all);
}

/// The statuses that the server gives by itself (RFC 9110 section 15).
fn text_of(status: u16) -> &'static str {
    match status {
        400 => "400 Bad Request",
        405 => "405 Method Not Allowed",
        408 => "408 Request Timeout",
        411 => "411 Length Required",
        413 => "413 Content Too Large",
        414 => "414 URI Too Long",
        417 => "417 Expectation Failed",
        431 => "431 Request Header Fields Too Large",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Unavailable",
        504 => "504 Gateway Timeout",
        505 => "505 HTTP Version Not Supported",
        508 => "508 Loop Detected",
        _ => "500 Internal Server Error",
    }
}

/// Bytes of a head from which on a front server may refuse it.
const LARGE_HEAD: usize = 3_584;

/// The end of a head, made anew when the second has changed.
#[derive(Default)]
pub(super) struct HeadEnd {
    text: Vec<u8>,
    second: Option<u64>,
}

impl HeadEnd {
    pub(super) fn at(&mut self, time: SystemTime, settings: &Settings) -> &[u8] {
        let second = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.second.replace(second) != Some(second) {
            self.text.clear();
            let date = settings.date_field.then(|| imf_fixdate(second));
            write_end(&mut self.text, settings.server_field.as_deref(), date);
        }
        &self.text
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use std::time::Duration;

    use super::*;
    use crate::gateway::{Environ, StartResponse};
    use crate::log::Lines;

    #[test]
    fn rfc9110_6_6_1_a_date_follows_a_clock_that_jumps() {
        let (mut end, settings) = (HeadEnd::default(), Settings::default());
        let noon = UNIX_EPOCH + Duration::from_secs(784_123_200);
        for (jump, shown) in
            [(0, "12:00:00"), (200, "12:00:00"), (3_600_000, "13:00:00"), (200, "12:00:00"), (1_000, "12:00:01")]
        {
            let text = end.at(noon + Duration::from_millis(jump), &settings).escape_ascii().to_string();
            assert!(text.contains(&format!("Date: Sun, 06 Nov 1994 {shown} GMT")), "{text}");
        }
    }

    /// What all calls share, and the socket of a response beside its client.
    fn setup() -> (Arc<Shared>, UnixStream, UnixStream) {
        let application = |_: &Environ, _: &mut StartResponse| "";
        let log = Arc::new(Lines::errors(io::sink()));
        let (own, client) = UnixStream::pair().unwrap();
        (Arc::new(Shared::new(Settings::default(), Box::new(application), log)), own, client)
    }

    /// An application may go on for long though every write fails.
    #[test]
    fn p_body_07_nothing_is_held_of_what_is_written_to_a_client_that_has_gone() {
        let (shared, own, client) = setup();
        let response = Arc::new(Mutex::new(Response::default()));
        lock(&response).socket = Some(Arc::new(Socket::accepted(OwnedFd::from(own).into()).unwrap()));
        let mut writer = ResponseWriter { shared, response: Arc::clone(&response) };
        drop(client);
        assert!(writer.head(&Status::default(), &Headers::default(), &[7; 100_000]).is_err());
        for _ in 0..10 {
            assert!(writer.block(&[7; 100_000]).is_err());
        }
        let response = lock(&response);
        assert!(response.queue.is_empty() && response.queue.memory() < 100_000 && matches!(response.stage, Stage::Cut));
        assert_eq!((response.cut_for(), response.content), (Some(Cause::ClientGone), 0));
    }

    #[test]
    fn what_the_client_did_not_take_of_delayed_blocks_goes_out_when_it_takes_more() {
        let (shared, mut own, mut client) = setup();
        own.set_nonblocking(true).unwrap();
        while own.write(&[0; 4096]).is_ok() {}
        let socket = Arc::new(Socket::accepted(OwnedFd::from(own).into()).unwrap());
        let delayed = Arc::new(Mutex::new(Response::default()));
        lock(&delayed).socket = Some(socket);
        lock(&delayed).queue.push(vec![7; 2 * COPIED].into());
        delay(&mut lock(&delayed), &delayed, &shared);
        send_delayed(&shared);
        assert!(!lock(&delayed).queue.is_empty(), "the client has no room");

        client.set_nonblocking(true).unwrap();
        while client.read(&mut [0; 4096]).is_ok() {}
        lock(&delayed).is_delayed = false;
        send_delayed(&shared);
        assert!(!lock(&delayed).queue.is_empty(), "its connection sends it");
        delay(&mut lock(&delayed), &delayed, &shared);
        send_delayed(&shared);
        assert!(lock(&delayed).queue.is_empty());
        assert!(lock(&shared.delayed).is_empty());
    }
}
