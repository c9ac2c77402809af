//! The content of a request on its way to the application.
//!
//! RFC 9112 sections 6 and 7, RFC 9110 section 10.1.1, docs/rules.md P-IN-01 to P-IN-11 and P-EXP-01. It runs in the thread that
//! runs the application: what the buffer does not hold is read from the socket slice by slice, under the deadlines of the
//! settings. A failure is remembered: every later read fails alike, and the server answers with its cause. A [`Reader`] belongs to the environ;
//! when it is dropped, what it has not used goes back to the call through its [`ContentState`].

use std::io::{self, BufRead, Read};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bounds::Seat;
use super::buffer::Buffer;
use super::connection::Connection;
use super::send::SendQueue;
use super::settings::{SLICE, Settings};
use super::shared::{Shared, lock};
use super::socket::Socket;
use crate::cause::Cause;
use crate::door::{ContentReader, Facts, Policy};
use crate::gateway::is_not_yet;
use crate::http::chunked::{Decoder, Step};
use crate::http::framing::Content;

/// How much is received at once where it cannot go straight to the application.
pub(super) const RECEIVED: usize = 16 * 1024;

/// Reads of at least this much go straight to the application's memory: std's `read_to_end` asks for 8 KiB at first.
const DIRECT: usize = 4 * 1024;

/// How much memory is laid out at once for content that is announced: a client that promises much and sends nothing costs no more.
const AHEAD: usize = 256 * 1024;

/// How much of a content is still to come.
pub(super) enum Coding {
    /// Of a known length, so much.
    Length(u64),
    Chunked(Decoder),
    /// The protocol's own.
    Door(Box<dyn ContentReader>),
}

impl Coding {
    /// The coding of a request's content, if it has any.
    pub(super) fn of(request: &mut Facts, policy: &Policy) -> Option<Coding> {
        match (request.reader.take(), request.content) {
            (Some(reader), _) => Some(Coding::Door(reader)),
            (None, Content::None | Content::Length(0)) => None,
            (None, Content::Length(left)) => Some(Coding::Length(left)),
            (None, Content::Chunked) => Some(Coding::Chunked(Decoder::new(policy.head))),
        }
    }

    /// Looks at the buffer, consuming what is not data. Asked again before data is taken, it gives the same data.
    pub(super) fn find(&mut self, buffer: &mut Buffer) -> Step {
        let (consumed, step) = match self {
            Coding::Length(0) => return Step::End,
            Coding::Length(left) => match buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX)) {
                0 => return Step::Incomplete,
                len => return Step::Data { len },
            },
            Coding::Chunked(decoder) => decoder.step(buffer.filled()),
            Coding::Door(reader) => reader.step(buffer.filled()),
        };
        buffer.consume(consumed);
        step
    }

    /// Notes that data was taken.
    pub(super) fn advance(&mut self, taken: u64) {
        match self {
            Coding::Length(left) => *left = left.saturating_sub(taken),
            Coding::Chunked(decoder) => decoder.advance(taken),
            Coding::Door(reader) => reader.advance(taken),
        }
    }

    /// How many bytes of data are known to come next, so that they may be read straight into their place.
    fn announced(&self) -> u64 {
        match self {
            Coding::Length(left) => *left,
            Coding::Chunked(decoder) => decoder.remaining(),
            Coding::Door(reader) => reader.remaining(),
        }
    }

    /// Whether everything was taken.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Coding::Length(left) => *left == 0,
            Coding::Chunked(decoder) => decoder.is_end(),
            Coding::Door(reader) => reader.is_end(),
        }
    }
}

/// How long a client was waited for and how much came, or went, meanwhile: the minimum rate in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    waited: Duration,
    moved: u64,
}

impl Pace {
    /// How much longer the next byte may take, and what it is called when it takes longer.
    pub(super) fn allowance(&self, settings: &Settings) -> (Duration, Cause) {
        let by_rate = Duration::from_secs(self.moved.checked_div(settings.content_rate).unwrap_or(u64::from(u32::MAX)));
        let for_rate = by_rate.max(settings.content_rate_after).saturating_sub(self.waited);
        if for_rate < settings.content_stall {
            (for_rate, Cause::ContentSlow)
        } else {
            (settings.content_stall, Cause::ContentStalled)
        }
    }

    /// Notes what has moved since a client is waited for: where something has, the wait begins anew. Gives how long nothing has moved.
    pub(super) fn note(&mut self, begin: &mut Instant, now: Instant, moved: usize) -> Duration {
        let since = now.saturating_duration_since(*begin);
        if moved == 0 {
            return since;
        }
        (self.waited, self.moved) = (self.waited.saturating_add(since), self.moved + moved as u64);
        *begin = now;
        Duration::ZERO
    }

    /// Why a client that has moved nothing for so long is waited for no longer, if so: its time is over, or that of the server, or its seat is
    /// another's.
    pub(super) fn verdict(
        &self,
        idle_for: Duration,
        (allowance, too_slow): (Duration, Cause),
        seat: Option<&Seat>,
        shared: &Shared,
    ) -> Option<Cause> {
        match seat {
            _ if idle_for >= allowance => Some(too_slow),
            _ if shared.is_over() => Some(Cause::Stopping),
            Some(seat) if seat.must_go(self.waited.saturating_add(idle_for), self.moved) => Some(Cause::CrowdedOut),
            _ => None,
        }
    }
}

/// What the reading side of a call and its writing side, which may be in another thread, tell each other.
#[derive(Default)]
pub(super) struct ContentState {
    /// Whether the client waits for `100 Continue`.
    pub(super) expects_continue: bool,
    pub(super) failure: Option<Cause>,
    /// The connection is among others now, with a response that waits or after its end, and they look at its socket: nobody may wait for it.
    pub(super) is_among_others: bool,
    /// None where all of the content had arrived before the call, or has arrived since and the body is not asked for more.
    pub(super) seat: Option<Seat>,
    /// What the reader has left, once it is gone.
    pub(super) left: Option<(Buffer, Coding)>,
}

impl ContentState {
    fn fail(&mut self, cause: Cause) -> io::Error {
        self.failure = Some(cause);
        failed(cause)
    }

    /// Gives the seat back, and to the connection, which may be among others now, what the reader has left if it is gone.
    pub(super) fn give_back(&mut self, connection: &mut Connection, is_among_others: bool) {
        (self.seat, self.is_among_others) = (None, is_among_others);
        if let Some((buffer, coding)) = self.left.take() {
            (connection.buffer, connection.unread) = (buffer, Some(coding));
        }
    }

    /// The final head goes out now. Tells whether the connection must end with this response: the content failed, or the client was never
    /// told to send it and may or may not do so, or more of it is certain to come than is passed over. An answered request of a protocol with
    /// frames leaves nothing behind that must be waited for.
    pub(super) fn end_expectation(&mut self, passed_over: u64) -> bool {
        let is_long = |(buffer, coding): &(Buffer, Coding)| {
            !matches!(coding, Coding::Door(_)) && coding.announced() > passed_over.saturating_add(buffer.len() as u64)
        };
        std::mem::take(&mut self.expects_continue) || self.failure.is_some() || self.left.as_ref().is_some_and(is_long)
    }
}

/// The content as the application reads it.
pub(super) struct Reader {
    shared: Arc<Shared>,
    socket: Arc<Socket>,
    buffer: Buffer,
    coding: Coding,
    state: Arc<Mutex<ContentState>>,
    taken: u64,
    pace: Pace,
}

impl Reader {
    /// A reader of content of which so much has arrived, and what is told of it.
    pub(super) fn open(
        (shared, socket): (&Arc<Shared>, &Arc<Socket>),
        buffer: Buffer,
        coding: Coding,
        state: ContentState,
    ) -> (Box<Reader>, Arc<Mutex<ContentState>>) {
        let (shared, socket, state) = (Arc::clone(shared), Arc::clone(socket), Arc::new(Mutex::new(state)));
        let own = Arc::clone(&state);
        (Box::new(Reader { shared, socket, buffer, coding, state: own, taken: 0, pace: Pace::default() }), state)
    }

    /// Notes that the application has taken data, and gives the seat back with the last of it.
    fn note_taken(&mut self, amount: usize) {
        self.coding.advance(amount as u64);
        self.taken += amount as u64;
        if self.coding.is_end() {
            lock(&self.state).seat = None;
        }
    }

    /// Waits for bytes, under the deadlines: into `direct`, or behind what is in the buffer.
    fn receive(&mut self, mut direct: Option<&mut [u8]>) -> io::Result<usize> {
        let mut begin = Instant::now();
        loop {
            // Content that is on its way already answers the expectation (RFC 9110 section 10.1.1).
            if self.buffer.is_empty() {
                self.answer_expectation()?;
            }
            let result = match &mut direct {
                Some(place) => self.socket.read(place),
                None => self.buffer.fill(&self.socket, RECEIVED),
            };
            let mut state = lock(&self.state);
            let received = match result {
                Ok(received @ 1..) => received,
                Err(error) if is_not_yet(&error) => 0,
                // P-IN-07: never a quiet end.
                Ok(_) | Err(_) => return Err(state.fail(Cause::ContentTruncated)),
            };
            let since = self.pace.note(&mut begin, Instant::now(), received);
            let allowance = self.pace.allowance(&self.shared.settings);
            // A client that never lets a slice pass is held to the pace like any other.
            if let Some(cause) = self.pace.verdict(since, allowance, state.seat.as_ref(), &self.shared) {
                return Err(state.fail(cause));
            }
            if received > 0 {
                state.expects_continue = false;
                return Ok(received);
            }
            if state.is_among_others {
                drop(state);
                std::thread::sleep(SLICE);
            } else {
                // Under the lock: who puts the connection among others has it return at once behind that.
                self.socket.set_waiting(true)?;
            }
        }
    }

    /// Sends `100 Continue`, once and whole, and never behind the final head: who makes that waits for the lock, for one write.
    /// While the client takes nothing it is waited for as it is for content, and this is tried again.
    fn answer_expectation(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.expects_continue {
            let mut queue = SendQueue::default();
            queue.push_bytes(b"HTTP/1.1 100 Continue\r\n\r\n");
            match queue.flush(&self.socket) {
                Ok(_) if queue.is_empty() => state.expects_continue = false,
                Ok(0) => {}
                Ok(_) | Err(_) => {
                    // Nothing can stand behind a part of it.
                    self.socket.shutdown(Shutdown::Both);
                    return Err(state.fail(Cause::ContentTruncated));
                }
            }
        }
        Ok(())
    }

    /// A failure is remembered: every later read fails alike.
    fn check(&self) -> io::Result<()> {
        lock(&self.state).failure.map_or(Ok(()), |cause| Err(failed(cause)))
    }
}

/// The error an application reads.
fn failed(cause: Cause) -> io::Error {
    let kind = match cause {
        Cause::ContentTruncated | Cause::RequestAborted => io::ErrorKind::UnexpectedEof,
        Cause::ContentStalled | Cause::ContentSlow | Cause::CrowdedOut => io::ErrorKind::TimedOut,
        Cause::Stopping => io::ErrorKind::ConnectionAborted,
        Cause::ContentLong => io::ErrorKind::FileTooLarge,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, cause)
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        // A large read with nothing buffered goes straight to the application's memory.
        let direct = out.len().min(usize::try_from(self.coding.announced()).unwrap_or(usize::MAX));
        if direct > 0 && out.len() >= DIRECT && self.buffer.is_empty() {
            self.check()?;
            let received = self.receive(Some(out.split_at_mut(direct).0))?;
            self.note_taken(received);
            return Ok(received);
        }
        // A slice reads by copying from its front.
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }

    /// In memory laid out for what is announced, so that content of a known length is moved less as it grows.
    fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        out.reserve(usize::try_from(self.coding.announced()).unwrap_or(AHEAD).min(AHEAD));
        self.take(u64::MAX).read_to_end(out)
    }
}

impl BufRead for Reader {
    /// Makes data ready, receiving it where necessary.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        let ready = loop {
            let found = self.coding.find(&mut self.buffer);
            // Chunks have no length in advance: the limit counts what is announced, before it is received.
            let announced = self.taken.saturating_add(self.coding.announced());
            self.shared.policy.admit(announced).map_err(|cause| lock(&self.state).fail(cause))?;
            match found {
                Step::Data { len } => break len,
                Step::End => {
                    lock(&self.state).seat = None;
                    break 0;
                }
                Step::Invalid(cause) => return Err(lock(&self.state).fail(cause)),
                Step::Incomplete => self.receive(None)?,
            };
        };
        Ok(self.buffer.filled().split_at(ready).0)
    }

    fn consume(&mut self, amount: usize) {
        if let Step::Data { len } = self.coding.find(&mut self.buffer) {
            self.buffer.consume(amount.min(len));
            self.note_taken(amount.min(len));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let coding = std::mem::replace(&mut self.coding, Coding::Length(0));
        let mut state = lock(&self.state);
        state.seat = None;
        state.left = Some((std::mem::take(&mut self.buffer), coding));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::gateway::{Environ, StartResponse};
    use crate::log::Lines;

    #[test]
    fn content_may_pause_for_the_stall_time_and_must_keep_the_rate_after_ten_seconds() {
        let settings = Settings { content_stall: Duration::from_secs(5), content_rate: 100, ..Settings::default() };
        let mut pace = Pace::default();
        assert_eq!(pace.allowance(&settings), (Duration::from_secs(5), Cause::ContentStalled));
        pace = Pace { waited: Duration::from_secs(8), moved: 10 };
        assert_eq!(pace.allowance(&settings), (Duration::from_secs(2), Cause::ContentSlow));
        pace.moved += 2_000;
        assert_eq!(pace.allowance(&settings), (Duration::from_secs(5), Cause::ContentStalled));
    }

    /// A client that counts how often it is read from, and takes ten bytes a write.
    struct Counting(io::Cursor<Vec<u8>>, Arc<AtomicUsize>, Arc<Mutex<Vec<u8>>>);

    impl Read for Counting {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read(out)
        }
    }

    impl io::Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(10);
            lock(&self.2).extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Setup {
        reader: Box<Reader>,
        state: Arc<Mutex<ContentState>>,
        reads: Arc<AtomicUsize>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    fn reader(sent: Vec<u8>, announced: u64, max_content: Option<u64>) -> Setup {
        let application = |_: &Environ, _: &mut StartResponse| "";
        let settings = Settings { max_content, ..Settings::default() };
        let log = Arc::new(Lines::errors(io::sink()));
        let shared = Arc::new(Shared::new(settings, Box::new(application), log));
        let (reads, written) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<u8>>>::default());
        let client = Counting(io::Cursor::new(sent), Arc::clone(&reads), Arc::clone(&written));
        let (socket, coding) = (Arc::new(Socket::over(client)), Coding::Length(announced));
        let (reader, state) = Reader::open((&shared, &socket), Buffer::default(), coding, ContentState::default());
        Setup { reader, state, reads, written }
    }

    #[test]
    fn content_of_a_known_length_is_read_in_few_pieces_and_not_beyond_its_end() {
        let mut setup = reader(vec![7; 100_005], 100_000, None);
        let mut content = vec![1];
        assert_eq!(setup.reader.read_to_end(&mut content).unwrap(), 100_000);
        assert_eq!((content.len(), content[0], content[100_000]), (100_001, 1, 7));
        // Each as long as all before it, from 8 KiB on.
        assert!(setup.reads.load(Ordering::Relaxed) <= 4, "{:?}", setup.reads);
        assert_eq!(setup.reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn memory_for_announced_content_is_laid_out_as_it_comes_and_what_came_before_a_failure_is_kept() {
        let mut setup = reader(vec![7; 300_000], 1 << 40, None);
        let mut content = Vec::new();
        let error = setup.reader.read_to_end(&mut content).unwrap_err();
        assert_eq!((error.kind(), content.len()), (io::ErrorKind::UnexpectedEof, 300_000));
        assert!(content.capacity() <= 4 * AHEAD);
        assert!(setup.reader.read_to_end(&mut content).is_err());
    }

    #[test]
    fn p_exp_01_100_continue_is_whole_however_little_the_stream_takes_at_once() {
        let mut setup = reader(vec![7; 10], 10, None);
        lock(&setup.state).expects_continue = true;
        setup.reader.read_exact(&mut [0; 10]).unwrap();
        assert_eq!(lock(&setup.written).as_slice(), b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// A reader whose client waits for `100 Continue`, and takes nothing more.
    #[cfg(unix)]
    fn full() -> (Setup, std::os::unix::net::UnixStream) {
        use std::io::Write;
        use std::os::fd::OwnedFd;
        use std::os::unix::net::UnixStream;

        let (mut own, client) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        while own.write(&[0; 4096]).is_ok() {}
        while own.write(&[0]).is_ok() {}
        let mut setup = reader(Vec::new(), 10, None);
        setup.reader.socket = Arc::new(Socket::accepted(OwnedFd::from(own).into()).unwrap());
        lock(&setup.state).expects_continue = true;
        (setup, client)
    }

    /// It would wait in a thread of the pool for what a thread of the application waits for.
    #[test]
    #[cfg(unix)]
    fn p_exp_01_whoever_makes_the_head_does_not_wait_for_a_client_that_takes_no_100_continue() {
        let (mut setup, _client) = full();
        let (shared, begin) = (Arc::clone(&setup.reader.shared), Instant::now());
        std::thread::scope(|scope| {
            let reads = scope.spawn(|| setup.reader.read(&mut [0; 10]));
            // It may not have begun in the first of these.
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(5));
                assert!(lock(&setup.state).expects_continue && !reads.is_finished());
            }
            let waited = begin.elapsed();
            shared.stop(Duration::ZERO);
            assert!(reads.join().unwrap().is_err() && waited < Duration::from_secs(10), "{waited:?}");
        });
    }

    #[test]
    #[cfg(unix)]
    fn p_exp_01_a_client_that_does_not_take_100_continue_is_waited_for_no_longer_than_for_content() {
        for is_over in [true, false] {
            let (mut setup, _client) = full();
            // All seats are taken, its own among them, and in one case one more than there are.
            let seats = Arc::clone(&setup.reader.shared.seats);
            let mut taken: Vec<_> = std::iter::from_fn(|| seats.try_take()).collect();
            lock(&setup.state).seat = taken.pop();
            if is_over {
                setup.reader.shared.stop(Duration::ZERO);
            } else {
                taken.push(seats.take());
            }
            let begin = Instant::now();
            assert!(setup.reader.read(&mut [0; 10]).is_err());
            assert!(begin.elapsed() < Duration::from_secs(10), "{is_over} {:?}", begin.elapsed());
            let cause = if is_over { Cause::Stopping } else { Cause::CrowdedOut };
            assert_eq!(lock(&setup.state).failure, Some(cause));
        }
    }

    #[test]
    fn a_seat_is_given_back_with_the_last_byte_of_the_content_and_not_with_the_call() {
        let mut setup = reader(vec![7; 20_000], 20_000, None);
        let seats = Arc::clone(&setup.reader.shared.seats);
        lock(&setup.state).seat = seats.try_take();
        let mut content = vec![0; 19_999];
        setup.reader.read_exact(&mut content).unwrap();
        assert!(lock(&setup.state).seat.is_some());
        setup.reader.read_exact(&mut [0]).unwrap();
        assert!(lock(&setup.state).seat.is_none());
    }
}
