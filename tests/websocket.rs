//! `examples/websocket.rs`: the handshake and the frames of RFC 6455, by the vectors of the standard, the cases of the Autobahn test suite, Python's
//! `websockets` and a real browser. What is not installed is said.

mod browsing;
mod serving;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use browsing::Browser;
use doorway::testing::Request;
use doorway::{Handle, Server};
use serving::PATIENCE;

#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/websocket.rs"]
mod websocket;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ANSWER: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn serve() -> Handle {
    Server::bind("127.0.0.1:0").unwrap().spawn(websocket::application(Arc::default())).unwrap()
}

/// A client that does what it is told.
struct Client(TcpStream);

impl Client {
    fn connect(handle: &Handle, path: &str) -> Client {
        let mut stream = TcpStream::connect(handle.addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", answer.escape_ascii());
            answer.push(byte[0]);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains(ANSWER), "{answer}");
        Client(stream)
    }

    /// A masked frame: the first byte as it is, and its length in as few bytes as there may be.
    fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match u8::try_from(payload.len()) {
            Ok(length @ 0..=125) => frame.push(0x80 | length),
            _ => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[1, 2, 3, 4]);
        frame.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        // Who has broken a rule may not be heard to the end.
        let _ = self.0.write_all(&frame);
    }

    /// The next frame: its first byte and what is in it.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut two = [0; 2];
                self.0.read_exact(&mut two).unwrap();
                usize::from(u16::from_be_bytes(two))
            }
            127 => {
                let mut eight = [0; 8];
                self.0.read_exact(&mut eight).unwrap();
                usize::try_from(u64::from_be_bytes(eight)).unwrap()
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

#[test]
fn rfc6455_1_3_the_answer_to_the_key_of_the_standard() {
    assert_eq!(websocket::accept(KEY), ANSWER);
    // RFC 6455 section 1.2, and a key as a browser makes it.
    assert_eq!(websocket::accept("x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
}

#[test]
fn rfc6455_4_2_1_a_handshake_is_get_by_http_1_1_with_a_key_of_16_bytes_and_version_13() {
    let application = websocket::application(Arc::default());
    let request = || {
        let request = Request::get("/echo").header("Host", "localhost").offer_upgrade("websocket");
        request.header("Sec-WebSocket-Key", KEY).header("Sec-WebSocket-Version", "13")
    };
    let response = request().call(&application);
    assert_eq!(response.status.code(), 101);
    assert_eq!(response.headers.get("Sec-WebSocket-Accept").as_deref(), Some(ANSWER));
    for wrong in [
        request().offer_upgrade("h2c"),
        request().header("Sec-WebSocket-Version", "8"),
        request().header("Sec-WebSocket-Key", "dGhlIHNhbXBsZQ=="),
        request().header("Sec-WebSocket-Key", "not base64"),
        request().variable("REQUEST_METHOD", "POST"),
    ] {
        let response = wrong.call(&application);
        assert_eq!(response.status.code(), 400);
        assert_eq!(response.headers.get("Sec-WebSocket-Version").as_deref(), Some("13"));
    }
    let foreign = request().header("Origin", "http://evil.example").call(&application);
    assert_eq!(foreign.status.code(), 403, "a page of another site");
}

#[test]
fn rfc6455_5_messages_come_back_whole_also_in_pieces_with_control_frames_between_them() {
    let handle = serve();
    let mut client = Client::connect(&handle, "/echo");
    client.send(0x81, "h\u{e9}llo".as_bytes());
    assert_eq!(client.frame(), (0x81, "h\u{e9}llo".into()));
    for length in [0, 125, 126, 65_535, 65_536, 1024 * 1024] {
        client.send(0x82, &vec![7; length]);
        assert_eq!(client.frame(), (0x82, vec![7; length]));
    }
    // A letter may be cut in two.
    client.send(0x01, b"a\xC3");
    client.send(0x89, b"still there?");
    client.send(0x8A, b"unasked");
    client.send(0x80, b"\xA9b");
    assert_eq!(client.frame(), (0x8A, b"still there?".into()));
    assert_eq!(client.frame(), (0x81, "a\u{e9}b".into()));
    client.send(0x88, b"\x03\xE8bye");
    assert_eq!(client.frame(), (0x88, b"\x03\xE8bye".into()));
    assert!(client.has_ended());
}

#[test]
fn rfc6455_7_4_what_breaks_the_rules_is_told_why_and_ended() {
    let handle = serve();
    type Frames = &'static [(u8, &'static [u8])];
    let frames: [(Frames, u16); 12] = [
        (&[(0x81, b"\xFF")], 1007),
        (&[(0x01, b"\xC3"), (0x80, b"a")], 1007),
        (&[(0x81, b"\xC3")], 1007),
        (&[(0xC1, b"a")], 1002),
        (&[(0x83, b"a")], 1002),
        (&[(0x8B, b"a")], 1002),
        (&[(0x80, b"a")], 1002),
        (&[(0x01, b"a"), (0x81, b"b")], 1002),
        (&[(0x09, b"a")], 1002),
        (&[(0x89, &[0; 126])], 1002),
        (&[(0x88, b"\x03")], 1002),
        (&[(0x88, b"\x03\xED")], 1002),
    ];
    for (sent, code) in frames {
        let mut client = Client::connect(&handle, "/echo");
        sent.iter().for_each(|(first, payload)| client.send(*first, payload));
        assert_eq!(client.frame(), (0x88, code.to_be_bytes().into()), "{sent:?}");
        assert!(client.has_ended());
    }
    // As much as is said, and nothing of it waited for or kept.
    for length in [1024 * 1024 + 1, u64::MAX] {
        let mut client = Client::connect(&handle, "/echo");
        client.0.write_all(&[&[0x82, 0xFF][..], &length.to_be_bytes(), &[0; 4]].concat()).unwrap();
        assert_eq!(client.frame(), (0x88, 1009_u16.to_be_bytes().into()));
    }
    let mut unmasked = Client::connect(&handle, "/echo");
    unmasked.0.write_all(b"\x81\x01a").unwrap();
    assert_eq!(unmasked.frame(), (0x88, 1002_u16.to_be_bytes().into()));
}

#[test]
fn what_one_says_in_the_chat_all_hear_and_who_takes_nothing_is_let_go() {
    let handle = serve();
    let (mut ada, mut ben) = (Client::connect(&handle, "/chat"), Client::connect(&handle, "/chat"));
    // Who has heard himself has joined.
    ben.send(0x81, b"I am here");
    assert_eq!(ben.frame().1, b"I am here");
    ada.send(0x81, b"hello");
    while ada.frame().1 != b"hello" {}
    assert_eq!(ben.frame(), (0x81, b"hello".into()));
    // From now on one of them takes nothing.
    let large = vec![b'x'; 512 * 1024];
    for _ in 0..64 {
        ada.send(0x82, &large);
        while ada.frame().1 != large {}
    }
    let mut heard = 0;
    while !matches!(ben.0.read(&mut vec![0; 64 * 1024]), Ok(0) | Err(_)) {
        heard += 1;
    }
    assert!(heard > 0);
    ada.send(0x81, b"alone");
    assert_eq!(ada.frame().1, b"alone");
}

fn tool(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there; .ci/run installs it", path.display());
    None
}

/// The cases of the Autobahn test suite as the runner of `kosoku` runs them: its own wants Python 2.
#[test]
fn rfc6455_the_cases_1_to_7_of_the_autobahn_test_suite_pass() {
    let Some(kosoku) = tool("kosoku") else { return };
    let (handle, reports) = (serve(), serving::Folder::new(&[]));
    let mut command = Command::new(kosoku);
    for number in 1..=7 {
        command.args(["-i", &format!("{number}.*")]);
    }
    command.arg("-o").arg(reports.path()).arg(format!("ws://{}/echo", handle.addr())).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("246 cases passed"), "{said}");
}

#[test]
fn pythons_websockets_talks_to_it() {
    let Some(python) = tool("python") else { return };
    if !Command::new(&python).args(["-c", "import websockets"]).output().unwrap().status.success() {
        println!("skipped: websockets is not installed; .ci/run does that");
        return;
    }
    let handle = serve();
    let program = format!(
        "from websockets.sync.client import connect\n\
        with connect('ws://{0}/echo') as one, connect('ws://{0}/chat') as two:\n\
        \x20   one.send('text'); one.send(b'bytes'); one.send(['in ', 'pieces'])\n\
        \x20   print(one.recv(), one.recv(), one.recv())\n\
        \x20   one.ping().wait(30)\n\
        \x20   two.send('chat'); print(two.recv())\n\
        print(one.close_code, two.close_code)\n",
        handle.addr()
    );
    let output = Command::new(python).args(["-c", &program]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "text b'bytes' in pieces\nchat\n1000 1000\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_browser_chats_and_is_echoed() {
    let Some(browser) = Browser::start() else { return };
    let handle = serve();
    browser.open(&format!("http://{}/", handle.addr()));
    browser.until("return socket.readyState", "1");
    let mut other = Client::connect(&handle, "/chat");
    browser
        .run("document.querySelector('input').value = 'gr\u{fc}\u{df} dich'; document.querySelector('button').click()");
    assert_eq!(other.frame(), (0x81, "gr\u{fc}\u{df} dich".into()));
    other.send(0x81, "and you".as_bytes());
    browser.until("return document.querySelector('li')?.textContent", "and you");
    let script = "const echo = new WebSocket(new URL('echo', location).href.replace('http', 'ws')); echo.binaryType = 'arraybuffer'; \
        const next = () => new Promise((ok, no) => { echo.onmessage = e => ok(e.data); echo.onclose = no; echo.onerror = no; }); \
        await new Promise(ok => echo.onopen = ok); \
        echo.send('x'.repeat(100000)); const text = (await next()).length; \
        echo.send(new Uint8Array(70000)); const bytes = (await next()).byteLength; \
        const closed = new Promise(ok => echo.onclose = e => ok(`${e.code} ${e.wasClean}`)); echo.close(4000, 'done'); \
        return `${text} ${bytes} ${await closed}`";
    assert_eq!(browser.run(script), "100000 70000 4000 true");
}
