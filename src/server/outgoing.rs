//! A response on its way to the client: framing and sending, block by block.
//!
//! RFC 9112 sections 6 and 7, docs/rules.md P-LEN-01 to P-LEN-07, P-BODY-01, P-BODY-02. It runs in the thread that runs the
//! application. Every block is handed to the system before the next is asked for, or to the [`Station`] where blocks come in quick
//! succession. A client is waited for slice by slice under the stall deadline; only the last part of a body that is all there may be left over, for the waiting room to send.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::house::House;
use super::incoming::Intake;
use super::settings::{QUICK_BLOCK, Settings};
use super::share::{Place, Share};
use super::station::Station;
use super::transport::{Transport, Wait};
use super::unsent::{Back, COPIED, Flushed, Unsent, shorten};
use crate::cause::Cause;
use crate::door::http::ALLOW;
use crate::door::{Facts, Persistence, Reply, fastcgi};
use crate::gateway::{Block, Headers, Status, Transmit};
use crate::http::chunked::{CRLF, LAST_CHUNK, size_line};
use crate::http::date::imf_fixdate;
use crate::http::framing::{self, Delimiter};

/// The writing side of one exchange; its memory is used for the next.
pub(super) struct Outgoing {
    settings: Arc<Settings>,
    stopping: Arc<AtomicBool>,
    transport: Option<Arc<dyn Transport>>,
    intake: Option<Arc<Intake>>,
    pub(super) unsent: Unsent,
    scratch: Vec<u8>,
    /// Where blocks are held back, how many bytes of this response may be there, and when the last block came.
    station: Option<Arc<Station>>,
    held: usize,
    last_block: Option<Instant>,
    /// Bytes of answers to earlier requests that go out with this one, and whether this one waits for the next.
    gathered: usize,
    gathers: bool,
    date: Date,
    request: Option<Facts>,
    /// Whether the connection may stay, as far as is known.
    pub(super) keep_alive: bool,
    /// Known once the head was made.
    delimiter: Option<Delimiter>,
    /// Of a declared length, what is still to come.
    left: u64,
    /// When the application had produced the whole body.
    pub(super) produced: Option<Instant>,
    /// A reading of the clock since which nothing has waited: it is still the time.
    pub(super) lately: Option<Instant>,
    /// The status that went out, and how much content with it.
    pub(super) status: u16,
    pub(super) content: u64,
    /// The head may not fit where a front server puts it.
    pub(super) head_is_large: bool,
    /// A place in the share of slow clients, once this one was waited for; how long, and what it took meanwhile.
    share: Arc<Share>,
    place: Option<Place>,
    waited: Duration,
    moved: u64,
    /// Why the response cannot go on, or went out other than the application meant it.
    pub(super) failure: Option<Cause>,
}

impl Outgoing {
    pub(super) fn new(house: &House, station: Option<Arc<Station>>) -> Outgoing {
        Outgoing {
            settings: Arc::clone(&house.settings),
            stopping: house.stopping(),
            transport: None,
            intake: None,
            unsent: Unsent::default(),
            scratch: Vec::new(),
            station,
            held: 0,
            last_block: None,
            gathered: 0,
            gathers: false,
            date: Date::default(),
            request: None,
            keep_alive: false,
            delimiter: None,
            left: 0,
            produced: None,
            lately: None,
            status: 0,
            content: 0,
            head_is_large: false,
            share: Arc::clone(&house.share),
            place: None,
            waited: Duration::ZERO,
            moved: 0,
            failure: None,
        }
    }

    /// Turns to a new request.
    pub(super) fn begin(
        &mut self,
        transport: Arc<dyn Transport>,
        request: Facts,
        intake: Option<Arc<Intake>>,
        gathers: bool,
    ) {
        self.transport = Some(transport);
        self.intake = intake;
        // What stands there already are gathered answers to earlier requests of the connection.
        self.gathered = self.unsent.len();
        self.gathers = gathers && self.gathered < COPIED;
        self.request = Some(request);
        self.keep_alive = request.keep_alive;
        self.held = 0;
        self.last_block = None;
        self.delimiter = None;
        self.left = 0;
        self.produced = None;
        self.lately = None;
        self.status = 0;
        self.content = 0;
        self.head_is_large = false;
        self.waited = Duration::ZERO;
        self.moved = 0;
        self.failure = None;
    }

    /// Lets go of the connection.
    pub(super) fn end(&mut self) {
        self.transport = None;
        self.intake = None;
        self.place = None;
    }

    pub(super) fn head_is_made(&self) -> bool {
        self.delimiter.is_some()
    }

    /// Whether this answer is whole and waits to be sent with the next.
    pub(super) fn is_gathering(&self) -> bool {
        self.gathers
            && self.unsent.is_flat()
            && self.keep_alive
            && self.produced.is_some()
            && self.failure.is_none_or(|cause| cause.number() >= 4000)
    }

    /// Gives this response up: only what was gathered before it is sent.
    pub(super) fn cut(&mut self) {
        self.unsent.truncate(self.gathered);
        // The connection ends anyway.
        let _ = self.flush();
        self.unsent.clear();
    }

    /// Whether the request has content, which the application may still be reading.
    pub(super) fn has_content(&self) -> bool {
        self.intake.is_some()
    }

    /// Whether everything that the head promised went out.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.delimiter, Some(Delimiter::Length(_) | Delimiter::None))
            && self.left == 0
            && self.unsent.is_empty()
    }

    /// Whether the body is dropped whatever it holds (HEAD, 204, 304).
    pub(super) fn drops_content(&self) -> bool {
        self.delimiter == Some(Delimiter::None)
    }

    /// Writes the head in front. `known` is the length of a body that is all there, `now` what Date says.
    pub(super) fn make_head(&mut self, status: (u16, &str), headers: &Headers, known: Option<u64>, now: Instant) {
        let Some(request) = self.request else { return };
        let framing = framing::response(request.version, request.is_head, status.0, headers.content_length(), known);
        // A stop may have begun while the application ran: the client is told with this response.
        let is_delimited = framing.delimiter != Delimiter::Close || request.record_id.is_some();
        let ends = !is_delimited || self.stopping.load(Ordering::Relaxed);
        if self.intake.as_deref().is_some_and(Intake::ends_connection) || ends {
            self.keep_alive = false;
        }
        let persistence = match (self.keep_alive, request.keep_alive_named) {
            (false, _) => Persistence::Close,
            (true, true) => Persistence::KeepAlive,
            (true, false) => Persistence::Silent,
        };
        let date = if self.settings.date_field { Some(self.date.at(now)) } else { None };
        let reply =
            Reply { status, headers, framing, persistence, date, server: self.settings.server_field.as_deref() };
        let front = self.unsent.front();
        let start = front.len();
        request.door.write_head(front, &reply);
        // G-09: nginx's first buffer has 4 KiB, and it answers 502 to a head that does not fit.
        self.head_is_large = request.door.trusts_its_peer() && front.len() - start > LARGE_HEAD;
        if let Some(id) = request.record_id {
            fastcgi::enclose(front, start, id);
        }
        self.delimiter = Some(framing.delimiter);
        if let Delimiter::Length(length) = framing.delimiter {
            self.left = length;
        }
        self.status = status.0;
    }

    /// Frames a block behind what is unsent. What passes the declared length is cut off and noted (P-LEN-02).
    pub(super) fn push(&mut self, mut block: Block) {
        match self.delimiter {
            None => {}
            Some(Delimiter::None) => self.note_dropped(),
            Some(Delimiter::Length(_)) => {
                if block.len() as u64 > self.left {
                    self.failure.get_or_insert(Cause::BodyLong);
                    shorten(&mut block, self.left);
                }
                self.left -= block.len() as u64;
                self.content += block.len() as u64;
                self.push_content(block);
            }
            Some(Delimiter::Close) => {
                self.content += block.len() as u64;
                self.push_content(block);
            }
            Some(Delimiter::Chunked) => {
                let mut room = [0; 18];
                self.unsent.front().extend_from_slice(size_line(block.len(), &mut room));
                self.content += block.len() as u64;
                self.unsent.push(block);
                self.unsent.push_tail(CRLF);
            }
        }
    }

    /// Content that has no frame but the protocol's own.
    fn push_content(&mut self, block: Block) {
        match self.request.and_then(|request| request.record_id) {
            Some(id) if !block.is_empty() => {
                let length = block.len() as u64;
                self.unsent.set_back(Back::Bytes { block, sent: 0 });
                self.unsent.cut_into_records(id, length);
            }
            _ => self.unsent.push(block),
        }
    }

    /// Puts a whole body behind the head: `known` bytes, of which no more go out than were declared.
    pub(super) fn push_whole(&mut self, back: Back, known: u64) {
        let Some(Delimiter::Length(length)) = self.delimiter else {
            return;
        };
        if known > length {
            self.failure.get_or_insert(Cause::BodyLong);
        }
        let sent = known.min(length);
        self.left = length - sent;
        self.content = sent;
        if sent == 0 {
            return;
        }
        match back {
            Back::Bytes { mut block, .. } => {
                shorten(&mut block, sent);
                return self.push_content(block);
            }
            Back::List { mut block, rest, .. } => {
                shorten(&mut block, sent);
                self.unsent.set_back(Back::List { block, sent: 0, rest, left: sent });
            }
            Back::File { file, position, .. } => self.unsent.set_back(Back::File { file, position, left: sent }),
            Back::Nothing => {}
        }
        if let Some(id) = self.request.and_then(|request| request.record_id) {
            self.unsent.cut_into_records(id, sent);
        }
    }

    /// A body with a status that has none (P-LEN-06). With HEAD there is nothing to say: the application answers as for GET.
    fn note_dropped(&mut self) {
        if self.request.is_some_and(|request| !request.is_head) {
            self.failure.get_or_insert(Cause::BodyDropped);
        }
    }

    /// `OPTIONS *` asks about the server and not about anything in it (RFC 9110 section 9.3.7).
    pub(super) fn answer_asterisk(&mut self, now: Instant) {
        self.make_head((204, "No Content"), &Headers::from(&[("Allow", ALLOW)]), Some(0), now);
        self.finish();
        // A client that is gone is noticed by what follows.
        let _ = self.flush();
    }

    /// The application has produced the whole body: what is left to do is the system's work.
    pub(super) fn note_produced(&mut self, now: Instant) {
        self.produced = Some(now);
        self.lately = Some(now);
    }

    /// Ends the content: the last chunk, or the note that it was too short (P-LEN-03).
    pub(super) fn finish(&mut self) {
        match self.delimiter {
            Some(Delimiter::Chunked) => self.unsent.front().extend_from_slice(LAST_CHUNK),
            Some(Delimiter::Length(_)) if self.left > 0 => {
                self.failure.get_or_insert(Cause::BodyShort);
                self.keep_alive = false;
                return;
            }
            _ => {}
        }
        // P-ERR-05: a response that is not whole ends without this.
        if let Some(id) = self.request.and_then(|request| request.record_id) {
            self.unsent.append(&fastcgi::end_request(id, false));
        }
    }

    /// Sends what the socket takes at once; the rest stays in `unsent`.
    pub(super) fn flush(&mut self) -> io::Result<Flushed> {
        let transport = self.transport.as_deref().ok_or(io::ErrorKind::NotConnected)?;
        self.unsent.flush(transport, &mut self.scratch).inspect_err(|error| {
            // The end of a file that was to be longer; no transport says this of a write.
            let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
            self.failure = Some(if is_short { Cause::BodyShort } else { Cause::ClientGone });
        })
    }

    /// Sends a block that was framed, or holds it back where it came right behind another.
    pub(super) fn send_block(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let last = self.last_block.replace(now);
        let is_quick = last.is_some_and(|last| now.saturating_duration_since(last) < QUICK_BLOCK);
        if is_quick && self.hold() { Ok(()) } else { self.deliver() }
    }

    fn hold(&mut self) -> bool {
        // The monitor sends it, and must not be kept by a client that is slow.
        let (Some(station), Some(transport), None) = (&self.station, &self.transport, &self.place) else {
            return false;
        };
        if self.unsent.is_empty() {
            return true;
        }
        let size = self.held + self.unsent.len();
        if self.failure.is_some()
            || size > COPIED
            || !self.unsent.is_flat()
            || transport.waits()
            || !station.hold(transport, self.unsent.front())
        {
            return false;
        }
        self.held = size;
        true
    }

    fn take_back(&mut self) {
        if let (1.., Some(station), Some(transport)) = (self.held, &self.station, &self.transport) {
            station.take_back(transport, self.unsent.front());
        }
        self.held = 0;
    }

    /// Sends what is held back of a response that goes wrong: it was produced before that.
    pub(super) fn send_held(&mut self) {
        if self.held > 0 {
            // The client may be gone as well.
            let _ = self.deliver();
        }
    }

    /// Sends everything, waiting for the client as long as it makes progress and nobody else needs the thread more.
    pub(super) fn deliver(&mut self) -> io::Result<()> {
        self.take_back();
        let mut progress = Instant::now();
        let mut last = progress;
        loop {
            match self.flush()? {
                Flushed::Whole => {
                    self.gathered = 0;
                    return Ok(());
                }
                Flushed::Share => {
                    progress = Instant::now();
                    last = progress;
                }
                Flushed::Partly(gone) => {
                    self.lately = None;
                    let transport = self.transport.as_deref().ok_or(io::ErrorKind::NotConnected)?;
                    transport.wait(Wait::Slice)?;
                    let now = Instant::now();
                    let place = self.place.get_or_insert_with(|| self.share.join());
                    self.waited += now.saturating_duration_since(last);
                    last = now;
                    self.moved += gone;
                    if place.must_go(self.waited, self.moved) {
                        return Err(self.fail(Cause::CrowdedOut));
                    }
                    if gone > 0 {
                        progress = now;
                    } else if now.saturating_duration_since(progress) >= self.settings.response_stall {
                        return Err(self.fail(Cause::ResponseStalled));
                    }
                }
            }
        }
    }

    fn fail(&mut self, cause: Cause) -> io::Error {
        self.failure = Some(cause);
        io::Error::new(io::ErrorKind::TimedOut, cause)
    }
}

impl Transmit for Outgoing {
    fn head(&mut self, status: &Status, headers: &Headers, block: &[u8]) -> io::Result<()> {
        self.make_head((status.code(), status.reason()), headers, None, Instant::now());
        self.block(block)
    }

    fn block(&mut self, block: &[u8]) -> io::Result<()> {
        // Written blocks are borrowed, so they are copied once; what is yielded is not.
        self.push(block.to_vec().into());
        self.send_block()?;
        match self.failure {
            None | Some(Cause::BodyDropped) => Ok(()),
            Some(cause) => Err(io::Error::other(cause)),
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Bytes of a head from which on a front server may refuse it.
const LARGE_HEAD: usize = 3_584;

/// The value of Date, made anew once a second; in between the monotonic clock tells that the second is not over, which spares the
/// reading of the other. A clock that was set shows within a second.
struct Date {
    text: [u8; 29],
    second: Option<Instant>,
}

impl Default for Date {
    fn default() -> Date {
        Date { text: imf_fixdate(0), second: None }
    }
}

impl Date {
    fn at(&mut self, now: Instant) -> &[u8; 29] {
        let is_over = |begin: Instant| now.saturating_duration_since(begin) >= Duration::from_secs(1);
        if self.second.is_none_or(is_over) {
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.text = imf_fixdate(time.as_secs());
            self.second = now.checked_sub(Duration::from_nanos(time.subsec_nanos().into()));
        }
        &self.text
    }
}
