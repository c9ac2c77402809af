//! What the wire tests share: a raw client with a strict parser, a server with a log that collects, and deliveries in memory.
//!
//! Nothing here sleeps to pass. Every read has a timeout that only a server that hangs can reach.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod pages;
pub mod rustc;
pub mod tree;

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub mod example;

use doorway::log::{Access, Answer, Log, Report};
use doorway::{Address, Application, Cause, Handle, Server, Settings};

/// How long a test waits for something that must happen before it gives up: generous, for emulated machines.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What arrives until `whole` says so, and not a byte more; less where it ends.
pub fn received(stream: &mut impl Read, whole: fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !whole(&bytes) && stream.read(&mut byte).unwrap_or(0) > 0 {
        bytes.push(byte[0]);
    }
    bytes
}

/// Somebody who plays one scene for each connection, with the request as [`received`].
pub fn scripted(whole: fn(&[u8]) -> bool, scene: impl Fn(TcpStream, Vec<u8>) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let request = received(&mut stream, whole);
            scene(stream, request);
        }
    });
    address
}

/// The head of HTTP is whole.
pub fn has_head(request: &[u8]) -> bool {
    request.ends_with(b"\r\n\r\n")
}

/// This test program, for a test that must start it again; where the system cannot (the program runs in an emulator), it says so.
pub fn itself() -> Option<PathBuf> {
    let program = std::env::current_exe().unwrap();
    match std::process::Command::new(&program).arg("--list").output() {
        Ok(output) if output.status.success() => Some(program),
        other => {
            println!(
                "skipped: this program cannot be started once more here ({:?})",
                other.map(|output| output.status)
            );
            None
        }
    }
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes as they stand on the wire, readable.
pub fn show(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() > 400 { format!("{}... ({} bytes)", &text[..400], bytes.len()) } else { text }
}

// ---------------------------------------------------------------------------------------------------------- the log

/// One report, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub cause: Cause,
    pub answer: Answer,
    pub request: Vec<u8>,
    pub detail: String,
    pub line: String,
}

/// A log that keeps what it is told. Clones share it.
#[derive(Clone, Default)]
pub struct Collected(Arc<(Mutex<Lists>, Condvar)>);

#[derive(Default)]
struct Lists {
    reports: Vec<Seen>,
    accesses: Vec<(u16, u64)>,
    texts: Vec<String>,
}

impl Log for Collected {
    fn access(&self, access: &Access<'_>) {
        locked(&self.0.0).accesses.push((access.status, access.bytes));
        self.0.1.notify_all();
    }

    fn error(&self, report: &Report<'_>) {
        locked(&self.0.0).reports.push(Seen {
            cause: report.cause,
            answer: report.answer,
            request: report.request.to_vec(),
            detail: report.detail.to_owned(),
            line: report.to_string(),
        });
        self.0.1.notify_all();
    }

    fn application(&self, text: &str) {
        locked(&self.0.0).texts.push(text.to_owned());
        self.0.1.notify_all();
    }
}

impl Collected {
    /// Waits until a report of this cause is there, and takes it out.
    pub fn take(&self, cause: Cause) -> Seen {
        self.wait(&format!("{cause:?}"), |lists| {
            let at = lists.reports.iter().position(|seen| seen.cause == cause)?;
            Some(lists.reports.remove(at))
        })
    }

    /// Waits until `count` requests were answered by the application, and takes their status and length out.
    pub fn take_accesses(&self, count: usize) -> Vec<(u16, u64)> {
        self.wait("accesses", |lists| (lists.accesses.len() >= count).then(|| std::mem::take(&mut lists.accesses)))
    }

    /// The reports that nobody has taken.
    pub fn reports(&self) -> Vec<Seen> {
        locked(&self.0.0).reports.clone()
    }

    pub fn causes(&self) -> Vec<Cause> {
        self.reports().iter().map(|seen| seen.cause).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        locked(&self.0.0).texts.clone()
    }

    fn wait<T>(&self, what: &str, mut find: impl FnMut(&mut Lists) -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        let mut lists = locked(&self.0.0);
        loop {
            if let Some(found) = find(&mut lists) {
                return found;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the log never said {what}: {:?}", lists.reports);
            lists = self.0.1.wait_timeout(lists, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

// -------------------------------------------------------------------------------------------------------- the server

/// A running server on a port of the system's choice, with its log.
pub struct House {
    pub handle: Handle,
    pub log: Collected,
}

impl House {
    pub fn client(&self) -> Client<TcpStream> {
        Client::connect(self.tcp())
    }

    /// The first TCP address.
    pub fn tcp(&self) -> SocketAddr {
        match self.handle.addr() {
            Address::Tcp(address) => *address,
            other => panic!("no TCP address: {other}"),
        }
    }

    /// Sends one or more requests, and reads everything until the server closes.
    pub fn ask(&self, bytes: &[u8]) -> Vec<Response> {
        let mut client = self.client();
        client.send(bytes);
        let out = client.until_close();
        parse_all(&out, &[is_head(bytes)])
    }

    /// Sends one request that ends its connection, and gives the only response.
    pub fn ask_one(&self, bytes: &[u8]) -> Response {
        let mut responses = self.ask(bytes);
        assert_eq!(responses.len(), 1, "{responses:?}");
        responses.remove(0)
    }

    /// Sends a request for `target` that ends its connection, and gives the only response.
    pub fn get(&self, target: &str) -> Response {
        self.ask_one(format!("GET {target} HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n").as_bytes())
    }

    /// The answer of what is behind it breaks the rules of its protocol: the client gets 502, and the log says why.
    #[track_caller]
    pub fn has_a_broken_upstream(&self, why: &str) {
        let response = self.get("/");
        let text = "502 Bad Gateway: the answer of the upstream breaks the rules of its protocol.\n";
        assert_eq!((response.status, response.text()), (502, text), "{why}");
        let seen = self.log.take(Cause::ApplicationError);
        assert!(seen.detail.contains("5003 upstream-invalid") && seen.detail.contains(why), "{why}: {}", seen.line);
    }

    /// Waits until the statistics say so.
    pub fn until(&self, what: &str, holds: impl Fn(&doorway::Stats) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !holds(&self.handle.stats()) {
            assert!(Instant::now() < give_up, "never {what}: {:?}", self.handle.stats());
            std::thread::yield_now();
        }
    }
}

/// A server with two threads and the default limits.
pub fn serve(application: impl Application) -> House {
    serve_with(application, |_| {})
}

pub fn serve_with(application: impl Application, change: impl FnOnce(&mut Settings)) -> House {
    let server = Server::bind("127.0.0.1:0").expect("a free port on the loopback address");
    serve_over(server, application, change)
}

pub fn serve_over(server: Server, application: impl Application, change: impl FnOnce(&mut Settings)) -> House {
    let log = Collected::default();
    let server = server.threads(2).configure(change).log(log.clone());
    let handle = server.spawn(application).expect("threads for a server");
    House { handle, log }
}

// -------------------------------------------------------------------------------------------------------- the client

/// What a client speaks over.
pub trait Wire: Read + Write + Debug {
    fn prepare(&self);
    fn stop_sending(&self);
}

impl Wire for TcpStream {
    fn prepare(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
        self.set_nodelay(true).unwrap();
    }

    fn stop_sending(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

#[cfg(unix)]
impl Wire for UnixStream {
    fn prepare(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
    }

    fn stop_sending(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

/// A client that sends what it is told, byte for byte, and believes nothing.
#[derive(Debug)]
pub struct Client<S> {
    pub stream: S,
    got: Vec<u8>,
}

impl Client<TcpStream> {
    pub fn connect(address: SocketAddr) -> Client<TcpStream> {
        Client::over(TcpStream::connect(address).expect("the server listens"))
    }
}

impl<S: Wire> Client<S> {
    pub fn over(stream: S) -> Client<S> {
        stream.prepare();
        Client { stream, got: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes what is sent");
    }

    pub fn stop_sending(&mut self) {
        self.stream.stop_sending();
    }

    /// The next response, which must be whole.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    pub fn response_to(&mut self, method: &str) -> Response {
        loop {
            if let Some((response, used)) = parse(&self.got, method == "HEAD", false) {
                self.got.drain(..used);
                return response;
            }
            if !self.more() {
                let (response, used) = parse(&self.got, method == "HEAD", true).unwrap_or_else(|| {
                    panic!("closed before a whole response: {}", show(&self.got));
                });
                assert_eq!(response.delimiter, Delimiter::Close, "cut off: {response:?}");
                self.got.drain(..used);
                return response;
            }
        }
    }

    /// Reads until so many bytes of a response are there, without waiting for more.
    pub fn until(&mut self, text: &[u8]) -> &[u8] {
        while !self.got.windows(text.len()).any(|part| part == text) {
            assert!(self.more(), "closed before {}: {}", show(text), show(&self.got));
        }
        &self.got
    }

    /// Everything until the server closes; a reset counts as a fault of the server.
    pub fn until_close(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.got)
    }

    /// The server has closed, and sent nothing further.
    #[track_caller]
    pub fn is_closed(&mut self) {
        let rest = self.until_close();
        assert!(rest.is_empty(), "more than was asked for: {}", show(&rest));
    }

    /// The server ends the connection somehow, with a reset or without; gives what it sent.
    pub fn until_end(&mut self) -> Vec<u8> {
        let mut room = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => break,
                Ok(read) => self.got.extend_from_slice(&room[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let gone = [io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted];
                    assert!(gone.contains(&error.kind()), "{error} after {} bytes", self.got.len());
                    break;
                }
            }
        }
        std::mem::take(&mut self.got)
    }

    fn more(&mut self) -> bool {
        let mut room = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return false,
                Ok(read) => {
                    self.got.extend_from_slice(&room[..read]);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("while reading: {error}, after {}", show(&self.got)),
            }
        }
    }
}

// -------------------------------------------------------------------------------------------------------- the parser

/// How the end of a response was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// No content by the rules (HEAD, 1xx, 204, 304).
    None,
    Length(usize),
    Chunked,
    Close,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub reason: String,
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub chunks: Vec<Vec<u8>>,
    pub delimiter: Delimiter,
}

impl Response {
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let of_name = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| &value[..]).collect()
    }

    /// The only value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} stands more than once: {self:?}");
        all.first().map(|value| std::str::from_utf8(value).expect("a value in ASCII"))
    }

    pub fn closes(&self) -> bool {
        self.field("Connection") == Some("close")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// The same without what differs between two runs.
    pub fn timeless(mut self) -> Response {
        self.fields.retain(|(name, _)| name != "Date");
        self
    }
}

pub fn is_head(request: &[u8]) -> bool {
    request.starts_with(b"HEAD ")
}

/// Everything a connection sent, response by response. `heads` says which requests were HEAD; those beyond it were not.
#[track_caller]
pub fn parse_all(mut bytes: &[u8], heads: &[bool]) -> Vec<Response> {
    let mut responses = Vec::new();
    let mut final_ones = 0;
    while !bytes.is_empty() {
        let head = heads.get(final_ones).copied().unwrap_or(false);
        let Some((response, used)) = parse(bytes, head, true) else {
            panic!("no whole response: {}, after {} whole ones", show(bytes), responses.len());
        };
        final_ones += usize::from(response.status >= 200);
        responses.push(response);
        bytes = &bytes[used..];
    }
    responses
}

/// One response from the front and how many bytes it has; `None` while it is not whole. `ended` says that no more will come.
/// Anything that a careful client would stumble over is a panic.
#[track_caller]
pub fn parse(bytes: &[u8], is_head: bool, ended: bool) -> Option<(Response, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = &bytes[..end];
    let mut lines = split_crlf(text).into_iter();
    let status_line = lines.next().expect("a status line");
    let line = std::str::from_utf8(status_line).expect("a status line in UTF-8");
    let rest = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("status line {line:?}"));
    let (code, reason) = rest.split_once(' ').unwrap_or_else(|| panic!("status line {line:?}"));
    assert!(code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()), "{line:?}");
    let status: u16 = code.parse().unwrap();
    let mut response = Response {
        status,
        reason: reason.to_owned(),
        fields: Vec::new(),
        body: Vec::new(),
        chunks: Vec::new(),
        delimiter: Delimiter::None,
    };
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or_else(|| panic!("{}", show(line)));
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let value = value.strip_prefix(b" ").unwrap_or_else(|| panic!("no space behind the colon: {}", show(line)));
        let name = String::from_utf8(name.to_vec()).expect("a name in ASCII");
        assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!~".contains(&b)),
            "{name:?}"
        );
        assert!(!value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7F), "{}", show(line));
        response.fields.push((name, value.to_vec()));
    }

    let length = response.field("Content-Length").map(|value| {
        assert!(value.bytes().all(|byte| byte.is_ascii_digit()), "{response:?}");
        value.parse::<usize>().expect("a Content-Length")
    });
    let chunked = match response.field("Transfer-Encoding") {
        None => false,
        Some("chunked") => true,
        Some(other) => panic!("Transfer-Encoding: {other}"),
    };
    assert!(!(chunked && length.is_some()), "two framings: {response:?}");
    response.field("Connection");
    if status < 200 || status == 204 {
        assert!(!chunked && length.is_none(), "framing fields with {status}: {response:?}");
    }
    if status == 304 {
        assert!(!chunked, "{response:?}");
    }

    let rest = &bytes[end + 4..];
    let mut used = end + 4;
    if status < 200 || status == 204 || status == 304 || is_head {
        return Some((response, used));
    }
    if chunked {
        response.delimiter = Delimiter::Chunked;
        let (chunks, length) = parse_chunks(rest)?;
        used += length;
        response.body = chunks.concat();
        response.chunks = chunks;
    } else if let Some(length) = length {
        response.delimiter = Delimiter::Length(length);
        response.body = rest.get(..length)?.to_vec();
        used += length;
    } else {
        response.delimiter = Delimiter::Close;
        assert!(response.closes(), "no framing and no close: {response:?}");
        if !ended {
            return None;
        }
        response.body = rest.to_vec();
        used = bytes.len();
    }
    Some((response, used))
}

fn parse_chunks(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (mut chunks, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let digits = std::str::from_utf8(&bytes[at..at + line]).expect("a chunk size");
        assert!(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()), "chunk size {digits:?}");
        let size = usize::from_str_radix(digits, 16).expect("a chunk size");
        at += line + 2;
        let data = bytes.get(at..at + size)?;
        let end = bytes.get(at + size..at + size + 2)?;
        assert_eq!(end, b"\r\n", "behind a chunk or in the trailers");
        at += size + 2;
        if size == 0 {
            return Some((chunks, at));
        }
        chunks.push(data.to_vec());
    }
}

fn split_crlf(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    for line in &lines {
        assert!(!line.contains(&b'\r') && !line.contains(&b'\n'), "bare CR or LF: {}", show(line));
    }
    lines
}

// ------------------------------------------------------------------------------------------------ delivery in memory

/// A client in memory that hands out its bytes in given pieces, one for each read, and then sends no more or breaks. It takes `most`
/// bytes a write; one with such a limit also interrupts every third call.
pub struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    /// Where the pieces end that are still to be read, the next one last.
    ends: Vec<usize>,
    out: Arc<Mutex<Vec<u8>>>,
    calls: usize,
    most: usize,
    breaks: Option<io::ErrorKind>,
}

impl Pieces {
    pub fn new<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Pieces {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            bytes.extend_from_slice(piece);
            ends.push(bytes.len());
        }
        ends.reverse();
        Pieces { bytes, at: 0, ends, out: Arc::default(), calls: 0, most: usize::MAX, breaks: None }
    }

    /// It takes so many bytes a write.
    pub fn taking(self, most: usize) -> Pieces {
        Pieces { most, ..self }
    }

    /// What its reads come to behind the last piece, instead of the end.
    pub fn breaking(self, breaks: Option<io::ErrorKind>) -> Pieces {
        Pieces { breaks, ..self }
    }

    fn interrupted(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.most != usize::MAX && self.calls % 3 == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    }
}

impl Read for Pieces {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.interrupted()?;
        let Some(end) = self.ends.last() else { return self.breaks.map_or(Ok(0), |kind| Err(kind.into())) };
        let length = room.len().min(end - self.at);
        room[..length].copy_from_slice(&self.bytes[self.at..self.at + length]);
        self.at += length;
        if self.at == *end {
            self.ends.pop();
        }
        Ok(length)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupted()?;
        let length = bytes.len().min(self.most);
        locked(&self.out).extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that keeps what is written. Clones share it.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        locked(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    pub fn text(&self) -> String {
        String::from_utf8(locked(&self.0).clone()).expect("a log is text")
    }
}

/// Serves one connection in memory; gives everything that was answered.
pub fn in_memory<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, application: impl Application) -> Vec<u8> {
    in_memory_with(pieces, application, |_| {}).0
}

/// As `in_memory`, with settings, and with what the log was told.
pub fn in_memory_with<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    application: impl Application,
    change: impl FnOnce(&mut Settings),
) -> (Vec<u8>, Collected) {
    in_memory_over(Server::unbound(), pieces, application, change)
}

/// As `in_memory_with`, with a server that was prepared.
pub fn in_memory_over<'a>(
    server: Server,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    application: impl Application,
    change: impl FnOnce(&mut Settings),
) -> (Vec<u8>, Collected) {
    let log = Collected::default();
    let out = in_memory_to(server.configure(change).log(log.clone()), Pieces::new(pieces), application);
    (out, log)
}

/// Serves one connection in memory to a client that was prepared.
pub fn in_memory_to(server: Server, client: Pieces, application: impl Application) -> Vec<u8> {
    let out = Arc::clone(&client.out);
    server.serve_connection(client, application);
    std::mem::take(&mut *locked(&out))
}

/// The same things in every order they can have.
pub fn orders<T: Clone>(things: &[T]) -> Vec<Vec<T>> {
    let Some((first, others)) = things.split_first() else { return vec![Vec::new()] };
    let with_first = |order: Vec<T>, at: usize| [&order[..at], std::slice::from_ref(first), &order[at..]].concat();
    let others = orders(others).into_iter();
    others.flat_map(|order| (0..=order.len()).map(move |at| with_first(order.clone(), at))).collect()
}

/// Where to cut an input in two: everywhere, or where it is long, at a sample of places with both ends in full.
pub fn cuts(length: usize) -> Vec<usize> {
    if length <= 2_048 {
        return (1..length).collect();
    }
    let middle = (64..length - 64).step_by(length / 24);
    (1..64).step_by(7).chain(middle).chain(length - 64..length).collect()
}
