//! WebSockets by hand (RFC 6455): an echo and a chat, over the connection that the server hands over.
//!
//! Run: `cargo run --example websocket` (or `-- 8001` for another port)
//! Try: a browser with two tabs, or `python3 -m websockets ws://127.0.0.1:8000/echo`
//!
//! The server sees to the handshake of HTTP and to how many connections may be taken over; what is here is the answer to the key (SHA-1 and
//! Base64) and the frames. Each connection has two threads: the one that the server gives it reads, and one of its own writes what stands in a
//! short queue. A client that takes nothing is let go, and one that is silent is asked whether it is there. It passes the cases 1 to 7 of the
//! Autobahn test suite, which `tests/websocket.rs` runs.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use doorway::web::{base64_decode, base64_encode};
use doorway::{Application, Body, Environ, Server, StartResponse, Upgraded, middleware};

/// The longest message that is taken.
const LONGEST: usize = 1024 * 1024;
/// So many frames may wait for one client.
const AHEAD: usize = 16;

const PAGE: &str = r#"<!DOCTYPE html>
<meta charset="utf-8">
<title>Chat</title>
<form><input name="text" autofocus><button>Send</button></form>
<ul></ul>
<script>
const socket = new WebSocket(Object.assign(new URL("chat", location), {protocol: "ws:"}));
socket.onmessage = event => {
    const line = document.createElement("li");
    line.textContent = event.data;
    document.querySelector("ul").prepend(line);
};
document.forms[0].onsubmit = event => {
    event.preventDefault();
    socket.send(event.target.text.value);
    event.target.reset();
};
</script>
"#;

/// What a client says, or is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Message {
    Text(String),
    Binary(Vec<u8>),
}

/// Why there is no further message.
enum End {
    /// The client is done: what it said is said back.
    Closed(Vec<u8>),
    /// It broke the rules (1002), sent what is no text (1007), or too much (1009).
    Fault(u16),
    Gone,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Gone
    }
}

/// Opcodes (RFC 6455 section 5.2). From `CLOSE` on they are of control frames.
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame of a server: whole, and not masked.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

impl Message {
    fn frame(&self) -> Vec<u8> {
        match self {
            Message::Text(text) => frame(TEXT, text.as_bytes()),
            Message::Binary(bytes) => frame(BINARY, bytes),
        }
    }
}

/// What a client sends.
struct Incoming {
    reader: BufReader<Box<dyn Upgraded>>,
    outgoing: SyncSender<Vec<u8>>,
}

/// The head of a frame.
struct Head {
    is_last: bool,
    opcode: u8,
    length: u64,
    mask: [u8; 4],
}

impl Incoming {
    /// The next message. What has to be answered on the way is.
    fn message(&mut self) -> Result<Message, End> {
        let (mut kind, mut content, mut valid) = (CONTINUATION, Vec::new(), 0);
        loop {
            let head = self.head()?;
            if head.opcode >= CLOSE {
                self.control(&head)?;
                continue;
            }
            kind = match (kind, head.opcode) {
                (CONTINUATION, TEXT | BINARY) => head.opcode,
                (TEXT | BINARY, CONTINUATION) => kind,
                _ => return Err(End::Fault(1002)),
            };
            if head.length > (LONGEST - content.len()) as u64 {
                return Err(End::Fault(1009));
            }
            let whole = content.len() + head.length as usize;
            let begin = content.len();
            while content.len() < whole {
                let block = self.reader.fill_buf()?;
                if block.is_empty() {
                    return Err(End::Gone);
                }
                let length = block.len().min(whole - content.len());
                let from = content.len() - begin;
                content.extend(block[..length].iter().zip(from..).map(|(byte, at)| byte ^ head.mask[at % 4]));
                self.reader.consume(length);
                // As soon as it is known, and not only when the rest is there.
                if kind == TEXT {
                    valid = valid_up_to(&content, valid)?;
                }
            }
            match (head.is_last, kind) {
                (false, _) => {}
                (true, BINARY) => return Ok(Message::Binary(content)),
                (true, _) => return String::from_utf8(content).map(Message::Text).map_err(|_| End::Fault(1007)),
            }
        }
    }

    /// Waits for a frame. A client that says nothing is asked once whether it is there.
    fn head(&mut self) -> Result<Head, End> {
        if let Err(error) = self.reader.fill_buf() {
            if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                return Err(End::Gone);
            }
            self.send(frame(PING, b""))?;
        }
        let mut two = [0; 2];
        self.reader.read_exact(&mut two)?;
        let (first, second) = (two[0], two[1]);
        // No extension was agreed on, and a client masks.
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(End::Fault(1002));
        }
        let length = match second & 0x7F {
            126 => {
                self.reader.read_exact(&mut two)?;
                u64::from(u16::from_be_bytes(two))
            }
            127 => {
                let mut eight = [0; 8];
                self.reader.read_exact(&mut eight)?;
                u64::from_be_bytes(eight)
            }
            length => u64::from(length),
        };
        let mut mask = [0; 4];
        self.reader.read_exact(&mut mask)?;
        Ok(Head { is_last: first & 0x80 != 0, opcode: first & 0x0F, length, mask })
    }

    /// Control frames may stand between those of a message (RFC 6455 section 5.5).
    fn control(&mut self, head: &Head) -> Result<(), End> {
        if !head.is_last || head.length > 125 {
            return Err(End::Fault(1002));
        }
        let mut payload = vec![0; head.length as usize];
        self.reader.read_exact(&mut payload)?;
        payload.iter_mut().zip(head.mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        match head.opcode {
            PING => self.send(frame(PONG, &payload)),
            PONG => Ok(()),
            CLOSE => Err(closed(payload)),
            _ => Err(End::Fault(1002)),
        }
    }

    fn send(&self, frame: Vec<u8>) -> Result<(), End> {
        self.outgoing.send(frame).map_err(|_| End::Gone)
    }
}

/// Up to where a text is whole, if nothing of it can be wrong.
fn valid_up_to(text: &[u8], valid: usize) -> Result<usize, End> {
    match std::str::from_utf8(&text[valid..]) {
        Ok(rest) => Ok(valid + rest.len()),
        Err(error) if error.error_len().is_none() => Ok(valid + error.valid_up_to()),
        Err(_) => Err(End::Fault(1007)),
    }
}

/// A code, if any, and a reason (RFC 6455 section 7.4).
fn closed(payload: Vec<u8>) -> End {
    match payload.as_slice() {
        [] => End::Closed(payload),
        [_] => End::Fault(1002),
        [high, low, reason @ ..] => match u16::from_be_bytes([*high, *low]) {
            1000..=1003 | 1007..=1011 | 3000..=4999 if std::str::from_utf8(reason).is_ok() => End::Closed(payload),
            1000..=1003 | 1007..=1011 | 3000..=4999 => End::Fault(1007),
            _ => End::Fault(1002),
        },
    }
}

/// Speaks with one client until one of the two ends it. `take` gets each message, and says no when it is enough.
fn converse(
    connection: Box<dyn Upgraded>,
    (outgoing, frames): (SyncSender<Vec<u8>>, Receiver<Vec<u8>>),
    mut take: impl FnMut(&Message, &SyncSender<Vec<u8>>) -> bool,
) -> io::Result<()> {
    let mut writer = connection.try_clone()?;
    // What `take` holds of the queue goes before the writer is waited for.
    thread::scope(move |scope| {
        scope.spawn(move || {
            // When it cannot write any more, the queue is gone, and with it the conversation.
            frames.iter().try_for_each(|frame| writer.write_all(&frame))
        });
        let mut incoming = Incoming { reader: BufReader::new(connection), outgoing };
        let end = loop {
            match incoming.message() {
                Ok(message) if take(&message, &incoming.outgoing) => {}
                Ok(_) => break End::Gone,
                Err(end) => break end,
            }
        };
        let _ = match end {
            End::Gone => Ok(()),
            End::Closed(payload) => incoming.send(frame(CLOSE, &payload)),
            End::Fault(code) => incoming.send(frame(CLOSE, &code.to_be_bytes())),
        };
    });
    Ok(())
}

/// Everybody who is in the chat.
#[derive(Default)]
pub struct Room(Mutex<Members>);

#[derive(Default)]
struct Members {
    count: u64,
    lines: HashMap<u64, Line>,
}

/// How a member is reached, and let go.
struct Line {
    queue: SyncSender<Vec<u8>>,
    connection: Box<dyn Upgraded>,
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, queue: SyncSender<Vec<u8>>, connection: Box<dyn Upgraded>) -> Member<'_> {
        let mut members = self.lock();
        members.count += 1;
        let number = members.count;
        members.lines.insert(number, Line { queue, connection });
        Member { room: self, number }
    }

    /// Tells everybody. Whoever is too far behind has to come back.
    fn tell(&self, message: &Message) {
        let frame = message.frame();
        self.lock().lines.retain(|_, line| {
            let is_heard = line.queue.try_send(frame.clone()).is_ok();
            is_heard || line.connection.shutdown(Shutdown::Both).is_err()
        });
    }
}

/// One of them, as long as it is there.
struct Member<'room> {
    room: &'room Room,
    number: u64,
}

impl Member<'_> {
    fn says(&self, message: &Message) {
        self.room.tell(message);
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.room.lock().lines.remove(&self.number);
    }
}

fn echo(connection: Box<dyn Upgraded>) -> io::Result<()> {
    converse(connection, sync_channel(AHEAD), |message, outgoing| outgoing.send(message.frame()).is_ok())
}

fn chat(room: &Room, connection: Box<dyn Upgraded>) -> io::Result<()> {
    let queue = sync_channel(AHEAD);
    let member = room.join(queue.0.clone(), connection.try_clone()?);
    converse(connection, queue, move |message, _| {
        member.says(message);
        true
    })
}

/// Answers a handshake (RFC 6455 section 4.2), or says what it must be.
fn handshake(
    environ: &Environ,
    start_response: &mut StartResponse,
    run: impl FnOnce(Box<dyn Upgraded>) -> io::Result<()> + Send + 'static,
) -> Body {
    let is_offered = environ.method() == "GET" && environ.offers_upgrade("websocket");
    let is_13 = environ.header("Sec-WebSocket-Version").as_deref() == Some("13");
    let key = environ.header("Sec-WebSocket-Key");
    match key.filter(|key| base64_decode(key.as_bytes()).is_some_and(|bytes| bytes.len() == 16)) {
        Some(key) if is_offered && is_13 => {
            start_response.start("101 Switching Protocols", &[("Sec-WebSocket-Accept", &accept(&key))]);
            // How it ended the client knows.
            Body::upgrade("websocket", |connection| drop(run(connection)))
        }
        _ => {
            let fields = [("Content-Type", "text/plain"), ("Sec-WebSocket-Version", "13")];
            start_response.start("400 Bad Request", &fields);
            Body::from("This is a WebSocket.\n")
        }
    }
}

/// The answer to a key (RFC 6455 section 1.3).
pub fn accept(key: &str) -> String {
    base64_encode(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()))
}

/// SHA-1 (RFC 3174): broken for signatures, and all that a handshake needs.
fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    // Up to the length, which ends a block.
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0];
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, four) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = four.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match at / 20 {
                0 => (b & c | !b & d, 0x5A827999),
                1 => (b ^ c ^ d, 0x6ED9EBA1),
                2 => (b & c | b & d | c & d, 0x8F1BBCDC),
                _ => (b ^ c ^ d, 0xCA62C1D6),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(word).wrapping_add(constant);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, value) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(value);
        }
    }
    let mut digest = [0; 20];
    digest.iter_mut().zip(state.iter().flat_map(|word| word.to_be_bytes())).for_each(|(to, byte)| *to = byte);
    digest
}

/// The page, the echo and the chat. A page of another site could open a socket with the reader's cookies, so that only our own may.
pub fn application(room: Arc<Room>) -> impl Application {
    middleware::local_only(move |environ: &Environ, start_response: &mut StartResponse| match &*environ.path() {
        "/" => {
            start_response.start("200 OK", &[("Content-Type", "text/html; charset=utf-8")]);
            Body::from(PAGE)
        }
        "/echo" => handshake(environ, start_response, echo),
        "/chat" => {
            let room = Arc::clone(&room);
            handshake(environ, start_response, move |connection| chat(&room, connection))
        }
        _ => {
            start_response.start("404 Not Found", &[("Content-Type", "text/plain")]);
            Body::from("Nothing is here.\n")
        }
    })
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    for address in server.addrs() {
        println!("{}", address.url());
    }
    server.serve(application(Arc::default()))
}
