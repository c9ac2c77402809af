//! One connection to the other side: the request goes out, the answer comes in, each step under a deadline.
//!
//! While content goes out, the answer may come in already: a server that echoes stops taking content when nobody takes its answer, and
//! both would wait for ever. So when the other side takes nothing for a moment, what it has sent is passed to the client at once.
//! Otherwise the answer waits until the content is out, and its content is read as the client takes it.

use std::io::{self, BufRead, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::{BLOCK, Kept, Link};
use super::reading::Reading;
use super::stream::Stream;
use super::{Answer, Deadlines, Failure, Fault, TakeHead, log_line, tunnel};
use crate::cause::Cause;
use crate::gateway::{Block, Body, Environ, Errors, StartResponse, Upgraded, Writer, is_not_yet};
use crate::http::chunked;

/// For how long short content is gathered: about as long as a program takes that writes it in a few pieces. What comes later goes to the
/// client as it comes.
const SHORT_WHILE: Duration = Duration::from_millis(100);

/// How often it is looked, behind a whole answer, whether an envelope ends.
const LAST_LOOKS: usize = 16;

/// What is sent.
pub(crate) struct Outgoing {
    /// Everything before the content.
    pub(crate) head: Vec<u8>,
    pub(crate) content: Content,
}

/// How the content of the request is delimited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// As many bytes; none for 0.
    Length(u64),
    Chunked,
    /// As many bytes, in packets with this number that the function writes; an empty packet ends them.
    Packets(u64, u16, fn(u16, &[u8], &mut Vec<u8>)),
}

/// What a protocol puts around the bytes of an answer.
pub(crate) trait Envelope: Send {
    /// Takes what is whole out of `raw`, and adds what is meant for the client to `received`. Gives whether the answer has ended.
    fn open(&mut self, raw: &mut Vec<u8>, received: &mut Vec<u8>) -> Result<bool, Fault>;

    /// The connection has ended: an error where that is no end of an answer.
    fn closed(&mut self) -> Result<(), Fault>;

    /// Nobody wants the rest of the answer.
    fn abort(&mut self, stream: &mut Stream);
}

/// One request on its way.
pub(crate) struct Exchange<'head> {
    line: Line,
    deadlines: Deadlines,
    gathered: usize,
    /// As much of an answer whose end alone says how long it is, and one more, so that the end is seen.
    to_end: usize,
    head: Box<dyn TakeHead + 'head>,
}

/// The connection, and what it has brought that nobody has taken.
struct Line {
    link: Link,
    /// As it came, where the protocol has an envelope.
    raw: Vec<u8>,
    received: Vec<u8>,
    envelope: Option<Box<dyn Envelope>>,
    /// Where it goes behind the answer, as long as nothing speaks against that.
    kept: Option<Arc<Kept>>,
    /// The other side has not taken all of the request: what comes next on the connection would be the rest of it.
    has_half: bool,
    has_ended: bool,
}

/// What a look at the connection has brought.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Bytes,
    /// Nothing within the limit.
    Nothing,
    /// The end of the answer, or of the connection.
    End,
}

impl Line {
    /// Takes what is there, or waits for the first byte of it.
    fn read(&mut self, limit: Duration) -> Result<Came, Fault> {
        if self.has_ended {
            return Ok(Came::End);
        }
        let broken = |error: io::Error| Fault::new(Cause::UpstreamTruncated, error);
        let place = if self.envelope.is_some() { &mut self.raw } else { &mut self.received };
        match self.link.read(limit, place) {
            Ok(0) => {
                self.has_ended = true;
                match &mut self.envelope {
                    Some(envelope) => envelope.closed().map(|()| Came::End),
                    None => Ok(Came::End),
                }
            }
            Ok(_) => {
                if let Some(envelope) = &mut self.envelope {
                    self.has_ended = envelope.open(&mut self.raw, &mut self.received)?;
                }
                Ok(Came::Bytes)
            }
            Err(error) if is_not_yet(&error) => Ok(Came::Nothing),
            Err(error) => Err(broken(error)),
        }
    }

    /// As [`Line::read`], where it is a fault that nothing comes. `false` is the end.
    fn receive(&mut self, limit: Duration) -> Result<bool, Fault> {
        match self.read(limit)? {
            Came::Bytes => Ok(true),
            Came::End => Ok(false),
            Came::Nothing => Err(silence()),
        }
    }

    /// The answer is whole: the connection may be used again, if the protocol allows that and says so at once.
    fn finish(mut self) {
        let Some(mut envelope) = self.envelope.take() else {
            // What stands behind an answer would be taken for the next one.
            if !self.has_ended && self.received.is_empty() {
                self.keep();
            }
            return;
        };
        for _ in 0..LAST_LOOKS {
            if self.has_ended {
                return self.keep();
            }
            self.received.clear();
            if !self.link.read(Duration::ZERO, &mut self.raw).is_ok_and(|length| length > 0) {
                return;
            }
            match envelope.open(&mut self.raw, &mut self.received) {
                Ok(has_ended) => self.has_ended = has_ended,
                Err(_) => return,
            }
        }
    }

    fn keep(&mut self) {
        if let Some(kept) = self.kept.take().filter(|_| !self.has_half) {
            let _ = self.link.hand_over().map(|link| kept.put(link));
        }
    }
}

fn silence() -> Fault {
    Fault::new(Cause::UpstreamDeadline, "it sends nothing")
}

/// A line that is dropped before its answer was whole is given up.
impl Drop for Line {
    fn drop(&mut self) {
        if let Some(envelope) = self.envelope.as_mut().filter(|_| !self.has_ended) {
            envelope.abort(&mut self.link.stream);
        }
    }
}

/// The client's side, before and after the response has begun.
struct Client<'call> {
    waits: Option<&'call mut StartResponse>,
    gets: Option<(Writer<'call>, Reading)>,
}

impl<'call, 'head> Exchange<'head> {
    pub(crate) fn new(link: Link, deadlines: Deadlines, head: impl TakeHead + 'head) -> Exchange<'head> {
        let (raw, received) = (Vec::new(), Vec::new());
        let line = Line { link, raw, received, envelope: None, kept: None, has_half: false, has_ended: false };
        Exchange { line, deadlines, gathered: BLOCK, to_end: 0, head: Box::new(head) }
    }

    /// The other side takes another request behind the answer, unless that says otherwise.
    pub(crate) fn kept_in(mut self, kept: Option<&Arc<Kept>>) -> Exchange<'head> {
        self.line.kept = kept.cloned();
        self
    }

    /// The answer comes in an envelope.
    pub(crate) fn in_envelope(mut self, envelope: impl Envelope + 'static) -> Exchange<'head> {
        self.line.envelope = Some(Box::new(envelope));
        self
    }

    /// Content up to this length, said or not, waits for a slow client in memory, if it comes within a short while.
    pub(crate) fn gathering(mut self, bytes: usize) -> Exchange<'head> {
        (self.gathered, self.to_end) = (bytes, bytes.saturating_add(1));
        self
    }

    /// Sends the request and gives the body of the response, which has been started then.
    pub(crate) fn run(
        mut self,
        outgoing: &Outgoing,
        environ: &Environ,
        start_response: &'call mut StartResponse,
    ) -> Result<Body, Failure> {
        let mut client = Client { waits: Some(start_response), gets: None };
        if !self.send(&outgoing.head, &mut client)? || !self.send_content(outgoing.content, environ, &mut client)? {
            self.line.has_half = true;
        }
        match (client.gets, client.waits) {
            (None, Some(start_response)) => self.answer(start_response, environ.errors().clone()),
            (Some((_, reading)), _) => Ok(self.rest(Vec::new(), reading)),
            (None, None) => Ok(Body::empty()),
        }
    }

    /// Sends the content; `false` as with [`Exchange::send`].
    fn send_content(
        &mut self,
        content: Content,
        environ: &Environ,
        client: &mut Client<'call>,
    ) -> Result<bool, Failure> {
        let mut left = match content {
            Content::Length(length) | Content::Packets(length, ..) => length,
            Content::Chunked => u64::MAX,
        };
        let mut input = environ.input();
        let mut packed = Vec::new();
        while left > 0 {
            let block = input.fill_buf().map_err(Failure::OfContent)?;
            let length = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
            let (block, _) = block.split_at_checked(length).unwrap_or((block, &[]));
            if block.is_empty() {
                break;
            }
            packed.clear();
            let takes_more = match content {
                Content::Length(_) => self.send(block, client)?,
                Content::Packets(_, number, pack) => {
                    pack(number, block, &mut packed);
                    self.send(&packed, client)?
                }
                Content::Chunked => {
                    packed.extend_from_slice(chunked::size_line(length, &mut [0; 18]));
                    packed.extend_from_slice(block);
                    packed.extend_from_slice(chunked::CRLF);
                    self.send(&packed, client)?
                }
            };
            if !takes_more {
                return Ok(false);
            }
            left -= length as u64;
            input.consume(length);
        }
        match content {
            Content::Chunked => self.send(chunked::LAST_CHUNK, client),
            // The other side must not take what follows for the rest: the connection ends here.
            _ if left > 0 => Err(Failure::OfContent(io::ErrorKind::UnexpectedEof.into())),
            Content::Packets(_, number, pack) => {
                packed.clear();
                pack(number, b"", &mut packed);
                self.send(&packed, client)
            }
            Content::Length(_) => Ok(true),
        }
    }

    /// Sends bytes. `false`: the other side wants no more, and may have said why.
    fn send(&mut self, mut bytes: &[u8], client: &mut Client<'call>) -> Result<bool, Failure> {
        let mut last = Instant::now();
        while !bytes.is_empty() {
            match self.line.link.stream.write(bytes) {
                Ok(length) => {
                    bytes = bytes.split_at(length).1;
                    last = Instant::now();
                    if length == 0 {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_not_yet(&error) => {
                    if self.take_early(client)? {
                        last = Instant::now();
                    }
                    if client.gets.as_ref().is_some_and(|(_, reading)| reading.is_whole()) {
                        return Ok(false);
                    }
                    if last.elapsed() > self.deadlines.progress {
                        return Err(Fault::new(Cause::UpstreamDeadline, "it takes no content").into());
                    }
                }
                // It has closed its side. What it said before that is the answer.
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn take_head(&mut self) -> Result<Option<Answer>, Failure> {
        let answer = match self.head.take(&mut self.line.received) {
            // Whoever says that may have something left to do, and has nothing left to say: it is over when it has ended, with what it has got.
            Err(elsewhere @ Failure::Elsewhere(_)) => {
                let _ = self.line.link.stream.shutdown(Shutdown::Write);
                while self.line.receive(self.deadlines.progress)? {
                    self.line.received.clear();
                }
                return Err(elsewhere);
            }
            other => other?,
        };
        // An envelope says itself where it ends.
        if self.line.envelope.is_none() && answer.as_ref().is_some_and(|answer| answer.is_last) {
            self.line.kept = None;
        }
        Ok(answer)
    }

    /// Passes on what the other side says before it has taken the whole request. `false`: it says nothing.
    fn take_early(&mut self, client: &mut Client<'call>) -> Result<bool, Failure> {
        match self.line.read(Duration::ZERO)? {
            Came::Bytes => {}
            Came::Nothing => return Ok(false),
            Came::End => {
                match &mut client.gets {
                    Some((_, reading)) => reading.end()?,
                    None => return Err(Fault::new(Cause::UpstreamTruncated, "before its answer").into()),
                }
                return Ok(true);
            }
        }
        if client.gets.is_none() {
            let Some(answer) = self.take_head()? else { return Ok(true) };
            client.begin(answer);
        }
        if let Some((writer, reading)) = &mut client.gets {
            let block = reading.take(&mut self.line.received)?;
            writer.write_all(&block).map_err(Failure::OfContent)?;
        }
        Ok(true)
    }

    /// Reads the answer's head, and its content where that is short and there, and starts the response.
    fn answer(mut self, start_response: &mut StartResponse, errors: Errors) -> Result<Body, Failure> {
        let begin = Instant::now();
        let mut answer = loop {
            if let Some(answer) = self.take_head()? {
                break answer;
            }
            // Counted from the begin: an Instant that lies as far ahead as a Duration may be long cannot be had.
            let left = self.deadlines.first_byte.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(Fault::new(Cause::UpstreamDeadline, "the head of its answer is not whole").into());
            }
            if !self.line.receive(left)? {
                let is_begun = !self.line.received.is_empty();
                let detail = if is_begun { "before the empty line that ends its head" } else { "before its answer" };
                return Err(Fault::new(Cause::UpstreamTruncated, detail).into());
            }
        };
        if let Some(protocol) = &answer.upgrade {
            start_response.start_with(&answer.status, &answer.headers);
            return Ok(self.tunnel(protocol, errors)?);
        }
        let mut gathered = Vec::new();
        let awaited = answer.reading.awaited(self.gathered, self.to_end);
        if awaited > 0 {
            gathered = self.gather(&mut answer.reading, awaited)?;
        }
        start_response.start_with(&answer.status, &answer.headers);
        if answer.reading.is_whole() {
            self.line.finish();
            return Ok(Body::from(gathered));
        }
        Ok(self.rest(gathered, answer.reading))
    }

    /// The connection is the client's and the other side's behind this head.
    fn tunnel(mut self, protocol: &str, errors: Errors) -> Result<Body, Fault> {
        let lost = |error| Fault::new(Cause::UpstreamTruncated, error);
        let (stream, received) =
            (self.line.link.stream.try_clone().map_err(lost)?, std::mem::take(&mut self.line.received));
        Ok(Body::upgrade(protocol, move |client| {
            if let Err(error) = tunnel::run(&*client, &stream, &received, self.deadlines.tunnel) {
                log_line(&errors, "tunnel", error.to_string().as_bytes());
            }
        }))
    }

    /// The whole of a short content, or what has come of it within a short while. It stays where it is received.
    fn gather(&mut self, reading: &mut Reading, awaited: usize) -> Result<Vec<u8>, Fault> {
        let begin = Instant::now();
        if let Reading::Length(_) = reading {
            // Where there is not so much, it is seen how much comes.
            let _ = self.line.received.try_reserve_exact(awaited.saturating_sub(self.line.received.len()));
        }
        while self.line.received.len() < awaited && !matches!(reading, Reading::Closed) {
            let left = SHORT_WHILE.saturating_sub(begin.elapsed());
            if left.is_zero() {
                break;
            }
            match self.line.read(left.min(self.deadlines.progress))? {
                Came::Bytes => {}
                Came::End => reading.end()?,
                Came::Nothing if left < self.deadlines.progress => break,
                Came::Nothing => return Err(silence()),
            }
        }
        reading.take(&mut self.line.received)
    }

    fn rest(self, gathered: Vec<u8>, reading: Reading) -> Body {
        let progress = self.deadlines.progress;
        Body::blocks(Rest { gathered, line: Some(self.line), reading, progress })
    }
}

impl Client<'_> {
    fn begin(&mut self, answer: Answer) {
        if let Some(start_response) = self.waits.take() {
            self.gets = Some((start_response.start_with(&answer.status, &answer.headers), answer.reading));
        }
    }
}

/// The content of the answer as it comes in.
struct Rest {
    /// What was there before the response began.
    gathered: Vec<u8>,
    /// Until the content is whole, or has failed.
    line: Option<Line>,
    reading: Reading,
    progress: Duration,
}

impl Rest {
    fn block(&mut self, line: &mut Line) -> Result<Option<Block>, Fault> {
        let gathered = std::mem::take(&mut self.gathered);
        if !gathered.is_empty() {
            return Ok(Some(gathered.into()));
        }
        loop {
            let block = self.reading.take(&mut line.received)?;
            if !block.is_empty() {
                return Ok(Some(block.into()));
            }
            if self.reading.is_whole() {
                return Ok(None);
            }
            if !line.receive(self.progress)? {
                self.reading.end()?;
            }
        }
    }
}

impl Iterator for Rest {
    type Item = io::Result<Block>;

    fn next(&mut self) -> Option<io::Result<Block>> {
        let mut line = self.line.take()?;
        match self.block(&mut line) {
            Ok(Some(block)) => {
                self.line = Some(line);
                Some(Ok(block))
            }
            Ok(None) => {
                line.finish();
                None
            }
            Err(fault) => Some(Err(io::Error::other(fault))),
        }
    }
}
