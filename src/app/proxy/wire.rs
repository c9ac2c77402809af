//! One connection to the upstream: the request goes out, the answer comes in, each step under a deadline.
//!
//! While content goes out, the answer may come in already: a server that echoes stops taking content when nobody takes its answer, and
//! both would wait for ever. So when the upstream takes nothing for a moment, what it has sent is passed to the client at once.
//! Otherwise the answer waits until the content is out, and its content is read as the client takes it.

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::answer::{Answer, HeadReader, Reading};
use super::request::{Content, Outgoing};
use super::upstream::Upstream;
use super::{Deadlines, Failure, Fault};
use crate::cause::Cause;
use crate::gateway::{Block, Body, Environ, StartResponse, Writer};
use crate::http::chunked;

/// How much is read at once, and up to which length content is gathered, so that it waits for a slow client without a thread.
const BLOCK: usize = 64 * 1024;

/// For how long short content is gathered: about as long as a program takes that writes it in a few pieces. What comes later goes to the
/// client as it comes.
const SHORT_WHILE: Duration = Duration::from_millis(100);

/// For how long the upstream takes nothing before the proxy looks whether it has answered.
const MOMENT: Duration = Duration::from_millis(20);

/// As good as no limit.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One request on its way.
pub(super) struct Exchange<'call> {
    line: Line,
    deadlines: Deadlines,
    upstream: &'call Upstream,
    environ: &'call Environ,
    head: HeadReader,
}

/// The connection, and what it has brought that nobody has taken.
struct Line {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Line {
    /// Reads what is there, or waits for the first byte of it. 0 is the end of the connection.
    fn read(&mut self, limit: Duration) -> io::Result<usize> {
        // A limit of 0 would be none, and not every system takes one that its clock cannot hold.
        self.stream.set_read_timeout(Some(limit.clamp(Duration::from_millis(1), A_YEAR)))?;
        let old = self.received.len();
        self.received.resize(old + BLOCK, 0);
        let mut place = io::Result::Ok(0);
        if let Some(room) = self.received.get_mut(old..) {
            place = loop {
                match self.stream.read(room) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
        }
        self.received.truncate(old + place.as_ref().map_or(0, |length| *length));
        place
    }

    /// The next piece of the content, waited for; `None` at its end.
    fn block(&mut self, reading: &mut Reading, progress: Duration) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            let block = reading.take(&mut self.received)?;
            if !block.is_empty() {
                return Ok(Some(block));
            }
            if reading.is_whole() {
                return Ok(None);
            }
            if !self.receive(progress)? {
                reading.end()?;
            }
        }
    }

    /// As [`Line::read`], with what an error means. `false` is the end of the connection.
    fn receive(&mut self, limit: Duration) -> Result<bool, Fault> {
        match self.read(limit) {
            Ok(length) => Ok(length > 0),
            Err(error) if is_timeout(&error) => Err(Fault::new(Cause::UpstreamDeadline, "it sends nothing")),
            Err(error) => Err(Fault::new(Cause::UpstreamTruncated, error)),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The client's side, before and after the response has begun.
struct Client<'call> {
    waits: Option<&'call mut StartResponse>,
    gets: Option<(Writer<'call>, Reading)>,
}

impl<'call> Exchange<'call> {
    pub(super) fn new(
        stream: TcpStream,
        deadlines: Deadlines,
        upstream: &'call Upstream,
        environ: &'call Environ,
    ) -> Result<Exchange<'call>, Fault> {
        let broken = |error: io::Error| Fault::new(Cause::UpstreamUnreachable, error);
        stream.set_nodelay(true).map_err(broken)?;
        stream.set_write_timeout(Some(MOMENT)).map_err(broken)?;
        let line = Line { stream, received: Vec::new() };
        Ok(Exchange { line, deadlines, upstream, environ, head: HeadReader::default() })
    }

    /// Sends the request and gives the body of the response, which has been started then.
    pub(super) fn run(
        mut self,
        outgoing: &Outgoing,
        environ: &Environ,
        start_response: &'call mut StartResponse,
    ) -> Result<Body, Failure> {
        let mut client = Client { waits: Some(start_response), gets: None };
        if self.send(&outgoing.head, &mut client)? {
            self.send_content(outgoing.content, environ, &mut client)?;
        }
        match (client.gets, client.waits) {
            (None, Some(start_response)) => self.answer(start_response),
            (Some((_, reading)), _) => Ok(self.rest(Vec::new(), reading)?),
            (None, None) => Ok(Body::empty()),
        }
    }

    fn send_content(&mut self, content: Content, environ: &Environ, client: &mut Client<'call>) -> Result<(), Failure> {
        let mut left = match content {
            Content::None => return Ok(()),
            Content::Length(length) => length,
            Content::Chunked => u64::MAX,
        };
        let mut input = environ.input();
        let mut chunk = Vec::new();
        while left > 0 {
            let block = input.fill_buf().map_err(Failure::OfContent)?;
            let length = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
            let Some(block) = block.get(..length).filter(|block| !block.is_empty()) else { break };
            let takes_more = if content == Content::Chunked {
                chunk.clear();
                chunk.extend_from_slice(chunked::size_line(length, &mut [0; 18]));
                chunk.extend_from_slice(block);
                chunk.extend_from_slice(chunked::CRLF);
                self.send(&chunk, client)?
            } else {
                self.send(block, client)?
            };
            if !takes_more {
                return Ok(());
            }
            left -= length as u64;
            input.consume(length);
        }
        match content {
            Content::Chunked => self.send(chunked::LAST_CHUNK, client).map(|_| ()),
            // The upstream must not take what follows for the rest: the connection ends here.
            _ if left > 0 => Err(Failure::OfContent(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    /// Sends bytes. `false`: the upstream wants no more, and may have said why.
    fn send(&mut self, mut bytes: &[u8], client: &mut Client<'call>) -> Result<bool, Failure> {
        let mut last = Instant::now();
        while !bytes.is_empty() {
            match self.line.stream.write(bytes) {
                Ok(length) => {
                    bytes = bytes.get(length..).unwrap_or_default();
                    last = Instant::now();
                    if length == 0 {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
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

    /// Passes on what the upstream says before it has taken the whole request. `false`: it says nothing.
    fn take_early(&mut self, client: &mut Client<'call>) -> Result<bool, Failure> {
        match self.line.read(Duration::ZERO) {
            Ok(0) => {
                match &mut client.gets {
                    Some((_, reading)) => reading.end()?,
                    None => return Err(Fault::new(Cause::UpstreamTruncated, "before its answer").into()),
                }
                return Ok(true);
            }
            Ok(_) => {}
            Err(error) if is_timeout(&error) => return Ok(false),
            Err(error) => return Err(Fault::new(Cause::UpstreamTruncated, error).into()),
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

    fn take_head(&mut self) -> Result<Option<Answer>, Fault> {
        let to_head = self.environ.method() == "HEAD";
        self.head.take(&mut self.line.received, to_head, self.upstream, self.environ.script_name())
    }

    /// Reads the answer's head, and its content where that is short and there, and starts the response.
    fn answer(mut self, start_response: &mut StartResponse) -> Result<Body, Failure> {
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
                return Err(Fault::new(Cause::UpstreamTruncated, "before its answer").into());
            }
        };
        let mut gathered = Vec::new();
        if answer.reading.left().is_some_and(|left| left <= BLOCK as u64) {
            gathered = self.gather(&mut answer.reading)?;
        }
        start_response.start_with(&answer.status, &answer.headers);
        if answer.reading.is_whole() {
            return Ok(Body::from(gathered));
        }
        Ok(self.rest(gathered, answer.reading)?)
    }

    /// The whole of a short content, or what has come of it within a short while.
    fn gather(&mut self, reading: &mut Reading) -> Result<Vec<u8>, Fault> {
        let begin = Instant::now();
        let mut content = reading.take(&mut self.line.received)?;
        while !reading.is_whole() {
            let left = SHORT_WHILE.saturating_sub(begin.elapsed());
            if left.is_zero() {
                break;
            }
            match self.line.receive(left.min(self.deadlines.progress)) {
                Ok(true) => {}
                Ok(false) => reading.end()?,
                Err(fault) if fault.cause == Cause::UpstreamDeadline && left < self.deadlines.progress => break,
                Err(fault) => return Err(fault),
            }
            content.append(&mut reading.take(&mut self.line.received)?);
        }
        Ok(content)
    }

    /// The body of what is still to come. It begins with a block that is there: a head goes out with the first block, so what is wrong
    /// before that can still be answered.
    fn rest(mut self, mut gathered: Vec<u8>, mut reading: Reading) -> Result<Body, Fault> {
        let progress = self.deadlines.progress;
        if gathered.is_empty() {
            gathered = self.line.block(&mut reading, progress)?.unwrap_or_default();
        }
        Ok(Body::blocks(Rest { gathered, line: self.line, reading, progress, failed: false }))
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
    line: Line,
    reading: Reading,
    progress: Duration,
    failed: bool,
}

impl Rest {
    fn block(&mut self) -> Result<Option<Block>, Fault> {
        let gathered = std::mem::take(&mut self.gathered);
        if !gathered.is_empty() {
            return Ok(Some(gathered.into()));
        }
        Ok(self.line.block(&mut self.reading, self.progress)?.map(Block::from))
    }
}

impl Iterator for Rest {
    type Item = io::Result<Block>;

    fn next(&mut self) -> Option<io::Result<Block>> {
        if self.failed {
            return None;
        }
        let block = self.block();
        self.failed = block.is_err();
        block.map_err(io::Error::other).transpose()
    }
}
