//! The content of a request on its way to the application.
//!
//! RFC 9112 sections 6 and 7, RFC 9110 section 10.1.1, docs/rules.md P-IN-01 to P-IN-11 and P-EXP-01. It runs in the thread that
//! runs the application: what the buffer does not hold is read from the transport slice by slice, under the deadlines of the
//! settings. A failure is remembered: every later read fails alike, and the server answers with its cause.

use std::io::{self, BufRead, IoSlice, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::buffer::{Buffer, Reserve};
use super::settings::Settings;
use super::share::Place;
use super::transport::{Transport, Wait, is_not_yet};
use crate::cause::Cause;
use crate::door::fastcgi::Stdin;
use crate::door::{Content, Facts};
use crate::http::chunked::{Decoder, Step};

/// How much is received at once where it cannot go straight to the application.
const RECEIVED: usize = 16 * 1024;

/// Reads of at least this much go straight to the application's memory. std's `read_to_end` asks for 8 KiB at first, and for more only
/// when that was filled: with 16 KiB here it received 100 KB in 25 pieces of 4 KiB, at 1.5 times the CPU.
const DIRECT: usize = 4 * 1024;

/// How much memory is laid out at once for content that is announced: a client that promises much and sends nothing costs no more.
const AHEAD: usize = 256 * 1024;

/// How much of a content is still to come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Coding {
    Length { left: u64 },
    Chunked(Decoder),
    Records(Stdin),
}

/// What stands next in a buffer, read by a [`Coding`].
pub(super) enum Next {
    /// This many bytes of data are in front.
    Data(usize),
    /// More bytes are needed.
    Nothing,
    /// The content is whole.
    End,
    /// The content is malformed.
    Broken(Cause),
}

impl Coding {
    /// The coding of a request's content, if it has any.
    pub(super) fn of(facts: &Facts, limits: crate::http::head::Limits) -> Option<Coding> {
        match facts.content {
            Content::None | Content::Length(0) => None,
            Content::Length(left) => Some(Coding::Length { left }),
            Content::Chunked => Some(Coding::Chunked(Decoder::new(limits))),
            Content::Records { length, .. } => Some(Coding::Records(Stdin::new(facts.record_id.unwrap_or(0), length))),
        }
    }

    /// Looks at the buffer, consuming what is not data.
    pub(super) fn next(&mut self, buffer: &mut Buffer) -> Next {
        match self {
            Coding::Length { left: 0 } => Next::End,
            Coding::Length { left } => match buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX)) {
                0 => Next::Nothing,
                length => Next::Data(length),
            },
            Coding::Chunked(decoder) => found(decoder.step(buffer.filled()), buffer),
            Coding::Records(stdin) => found(stdin.step(buffer.filled()), buffer),
        }
    }

    /// Notes that data was taken.
    pub(super) fn advance(&mut self, taken: u64) {
        match self {
            Coding::Length { left } => *left = left.saturating_sub(taken),
            Coding::Chunked(decoder) => decoder.advance(taken),
            Coding::Records(stdin) => stdin.advance(taken),
        }
    }

    /// How many bytes of data are known to come next, so that they may be read straight into their place.
    fn announced(&self) -> u64 {
        match self {
            Coding::Length { left } => *left,
            Coding::Chunked(decoder) => decoder.remaining(),
            Coding::Records(stdin) => stdin.remaining(),
        }
    }

    /// Whether everything was taken.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Coding::Length { left } => *left == 0,
            Coding::Chunked(decoder) => decoder.is_end(),
            Coding::Records(stdin) => stdin.is_end(),
        }
    }

    /// Whether more than `bytes` are certain to come.
    pub(super) fn exceeds(&self, bytes: u64) -> bool {
        match self {
            Coding::Length { left } => *left > bytes,
            Coding::Chunked(decoder) => decoder.remaining() > bytes,
            // An answered request leaves nothing behind that must be waited for.
            Coding::Records(_) => false,
        }
    }

    /// The request is answered and the connection stays: what of the content must still be passed over is all that is left.
    pub(super) fn give_up(&mut self) {
        if let Coding::Records(stdin) = self {
            stdin.finish_record();
        }
    }
}

fn found((consumed, step): (usize, Step), buffer: &mut Buffer) -> Next {
    buffer.consume(consumed);
    match step {
        Step::Incomplete => Next::Nothing,
        Step::Data { len } => Next::Data(len),
        Step::End => Next::End,
        Step::Invalid(cause) => Next::Broken(cause),
    }
}

/// How long content was waited for and how much of it came: the minimum rate in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    waited: Duration,
    received: u64,
}

impl Pace {
    /// How much longer the next byte may take, and what it is called when it takes longer.
    pub(super) fn allowance(&self, settings: &Settings) -> (Duration, Cause) {
        let by_rate =
            Duration::from_secs(self.received.checked_div(settings.content_rate).unwrap_or(u64::from(u32::MAX)));
        let for_rate = by_rate.max(settings.content_rate_after).saturating_sub(self.waited);
        if for_rate < settings.content_stall {
            (for_rate, Cause::ContentSlow)
        } else {
            (settings.content_stall, Cause::ContentStalled)
        }
    }

    pub(super) fn note(&mut self, waited: Duration, received: usize) {
        self.waited += waited;
        self.received += received as u64;
    }
}

/// What the reading side of an exchange tells the writing side, which may be in another thread.
#[derive(Debug)]
pub(super) struct Intake {
    expected: Mutex<Expected>,
    failed: AtomicBool,
}

/// Whether the client waits to be told to send its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// It does not wait, or was told.
    No,
    Pending,
    /// The final head went out first: the client need not send its content any more.
    Overtaken,
}

impl Intake {
    pub(super) fn new(expects_continue: bool) -> Intake {
        let expected = if expects_continue { Expected::Pending } else { Expected::No };
        Intake { expected: Mutex::new(expected), failed: AtomicBool::new(false) }
    }

    /// Sends `100 Continue`, once, and never behind the final head.
    fn answer_expectation(&self, transport: &dyn Transport) -> io::Result<()> {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if *expected == Expected::Pending {
            *expected = Expected::No;
            // 25 bytes: where the socket cannot even take these, the client has not read a response for long.
            transport.write(&[IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")])?;
        }
        Ok(())
    }

    /// The final head goes out now. Tells whether the connection must end with this response: the content failed, or the client
    /// was never told to send it and may or may not do so.
    pub(super) fn ends_connection(&self) -> bool {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if *expected == Expected::Pending {
            *expected = Expected::Overtaken;
        }
        *expected == Expected::Overtaken || self.failed.load(Ordering::Relaxed)
    }
}

/// The content as the application reads it.
pub(super) struct Incoming {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) buffer: Buffer,
    pub(super) coding: Coding,
    intake: Arc<Intake>,
    pub(super) failure: Option<Cause>,
    settings: Arc<Settings>,
    reserve: Arc<Reserve>,
    /// Data bytes at the front of the buffer.
    ready: usize,
    taken: u64,
    pace: Pace,
    /// None where all of the content had arrived before the call.
    place: Option<Place>,
}

impl Incoming {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        buffer: Buffer,
        coding: Coding,
        intake: Arc<Intake>,
        settings: Arc<Settings>,
        reserve: Arc<Reserve>,
        place: Option<Place>,
    ) -> Incoming {
        let pace = Pace::default();
        Incoming {
            transport,
            buffer,
            coding,
            intake,
            failure: None,
            settings,
            reserve,
            ready: 0,
            taken: 0,
            pace,
            place,
        }
    }

    /// Makes data ready, receiving it where necessary. Gives how much there is; 0 is the end.
    fn prepare(&mut self) -> io::Result<usize> {
        while self.ready == 0 {
            let next = self.coding.next(&mut self.buffer);
            self.check_limit()?;
            match next {
                Next::Data(length) => self.ready = length,
                Next::End => return Ok(0),
                Next::Broken(cause) => return Err(self.fail(cause)),
                Next::Nothing => {
                    self.receive(None)?;
                }
            }
        }
        Ok(self.ready)
    }

    /// Chunks have no length in advance: the limit counts what is announced, before it is received.
    fn check_limit(&mut self) -> io::Result<()> {
        let most = self.settings.max_content.unwrap_or(u64::MAX);
        if self.taken.saturating_add(self.coding.announced()) > most {
            return Err(self.fail(Cause::ContentLong));
        }
        Ok(())
    }

    /// Waits for bytes, under the deadlines: into `direct`, or behind what is in the buffer.
    fn receive(&mut self, mut direct: Option<&mut [u8]>) -> io::Result<usize> {
        // Content that is on its way already answers the expectation (RFC 9110 section 10.1.1).
        if self.buffer.is_empty() {
            self.intake.answer_expectation(&*self.transport)?;
        }
        // What is there already needs no clock, and a socket that does not block no change: both only for a client that is waited for.
        let mut begin = self.transport.waits().then(Instant::now);
        loop {
            let result = match &mut direct {
                Some(place) => self.transport.read(place),
                None => self.buffer.fill(&*self.transport, RECEIVED, &self.reserve),
            };
            match (result, begin) {
                // P-IN-07: never a quiet end.
                (Ok(0), _) => return Err(self.fail(Cause::ContentTruncated)),
                (Ok(received), begin) => {
                    self.pace.note(begin.map_or(Duration::ZERO, |begin| begin.elapsed()), received);
                    // A client that never lets a slice pass is held to the pace like any other.
                    if begin.is_some() {
                        self.go_on_waiting(Duration::ZERO)?;
                    }
                    return Ok(received);
                }
                (Err(error), waits) if is_not_yet(&error) => {
                    match waits {
                        Some(begin) => self.go_on_waiting(begin.elapsed())?,
                        None => begin = Some(Instant::now()),
                    }
                    self.transport.wait(Wait::Slice)?;
                }
                (Err(_), _) => return Err(self.fail(Cause::ContentTruncated)),
            }
        }
    }

    /// Whether a client that has sent nothing for so long may go on.
    fn go_on_waiting(&mut self, waited: Duration) -> io::Result<()> {
        let (allowance, cause) = self.pace.allowance(&self.settings);
        if waited >= allowance {
            return Err(self.fail(cause));
        }
        let (waited, received) = (self.pace.waited + waited, self.pace.received);
        if self.place.as_ref().is_some_and(|place| place.must_go(waited, received)) {
            return Err(self.fail(Cause::CrowdedOut));
        }
        Ok(())
    }

    fn fail(&mut self, cause: Cause) -> io::Error {
        self.failure = Some(cause);
        self.intake.failed.store(true, Ordering::Relaxed);
        failed(cause)
    }
}

/// The error an application reads.
fn failed(cause: Cause) -> io::Error {
    let kind = match cause {
        Cause::ContentTruncated | Cause::RequestAborted => io::ErrorKind::UnexpectedEof,
        Cause::ContentStalled | Cause::ContentSlow | Cause::CrowdedOut => io::ErrorKind::TimedOut,
        Cause::ContentLong => io::ErrorKind::FileTooLarge,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, cause)
}

impl Read for Incoming {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(cause) = self.failure {
            return Err(failed(cause));
        }
        if out.is_empty() {
            return Ok(0);
        }
        // A large read with nothing buffered goes straight to the application's memory.
        if self.ready == 0 && self.buffer.is_empty() && out.len() >= DIRECT && self.coding.announced() > 0 {
            let length = out.len().min(usize::try_from(self.coding.announced()).unwrap_or(usize::MAX));
            let received = self.receive(out.get_mut(..length))?;
            self.coding.advance(received as u64);
            self.taken += received as u64;
            return Ok(received);
        }
        // A slice reads by copying from its front.
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }

    /// In memory laid out for what is announced, so that content of a known length is received in as few pieces as it arrives in.
    fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let begin = out.len();
        let mut end = begin;
        let result = loop {
            if end == out.len() {
                if self.failure.is_none() && self.coding.is_end() {
                    break Ok(end - begin);
                }
                let announced = usize::try_from(self.coding.announced()).unwrap_or(AHEAD);
                out.resize(end + announced.clamp(DIRECT, AHEAD), 0);
            }
            match self.read(out.get_mut(end..).unwrap_or_default()) {
                Ok(0) => break Ok(end - begin),
                Ok(length) => end += length,
                Err(error) => break Err(error),
            }
        };
        out.truncate(end);
        result
    }
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(cause) = self.failure {
            return Err(failed(cause));
        }
        let ready = self.prepare()?;
        Ok(self.buffer.filled().get(..ready).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.ready);
        self.buffer.consume(amount);
        self.ready -= amount;
        self.coding.advance(amount as u64);
        self.taken += amount as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::server::transport::Over;

    #[test]
    fn content_may_pause_for_the_stall_time_and_must_keep_the_rate_after_ten_seconds() {
        let settings = Settings { content_stall: Duration::from_secs(5), content_rate: 100, ..Settings::default() };
        let mut pace = Pace::default();
        assert_eq!(pace.allowance(&settings), (Duration::from_secs(5), Cause::ContentStalled));
        pace.note(Duration::from_secs(8), 10);
        assert_eq!(pace.allowance(&settings), (Duration::from_secs(2), Cause::ContentSlow));
        pace.note(Duration::ZERO, 2_000);
        assert_eq!(pace.allowance(&settings), (Duration::from_secs(5), Cause::ContentStalled));
    }

    /// A client that counts how often it is read from.
    struct Counting(io::Cursor<Vec<u8>>, Arc<AtomicUsize>);

    impl Read for Counting {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read(out)
        }
    }

    impl io::Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn incoming(sent: Vec<u8>, announced: u64) -> (Incoming, Arc<AtomicUsize>) {
        let reads = Arc::<AtomicUsize>::default();
        let transport = Arc::new(Over::new(Counting(io::Cursor::new(sent), Arc::clone(&reads))));
        let coding = Coding::Length { left: announced };
        let intake = Arc::new(Intake::new(false));
        let (settings, reserve) = (Arc::new(Settings::default()), Arc::default());
        (Incoming::new(transport, Buffer::default(), coding, intake, settings, reserve, None), reads)
    }

    #[test]
    fn content_of_a_known_length_is_read_in_as_few_pieces_as_it_arrives_in_and_not_beyond_its_end() {
        let (mut incoming, reads) = incoming(vec![7; 100_005], 100_000);
        let mut content = vec![1];
        assert_eq!(incoming.read_to_end(&mut content).unwrap(), 100_000);
        assert_eq!((content.len(), content[0], content[100_000]), (100_001, 1, 7));
        // One into the buffer of the connection, which the head would have come with, and one for the rest.
        assert!(reads.load(Ordering::Relaxed) <= 2, "{reads:?}");
        assert_eq!(incoming.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn memory_for_announced_content_is_laid_out_as_it_comes_and_what_came_before_a_failure_is_kept() {
        let (mut incoming, _) = incoming(vec![7; 300_000], 1 << 40);
        incoming.settings = Arc::new(Settings { max_content: None, ..Settings::default() });
        let mut content = Vec::new();
        let error = incoming.read_to_end(&mut content).unwrap_err();
        assert_eq!((error.kind(), content.len()), (io::ErrorKind::UnexpectedEof, 300_000));
        assert!(content.capacity() <= 4 * AHEAD);
        assert!(incoming.read_to_end(&mut content).is_err());
    }
}
