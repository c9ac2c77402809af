//! `app::Proxy` before an upstream that says what the input says, cut where the input says.
//!
//! What must hold: no panic, no hang; the client gets one answer, and it is a 502 or 504 of the proxy or what the upstream said; content
//! that a naive reading finds broken or cut never looks whole; content that is whole is passed on byte for byte; no field of the
//! connection to the upstream reaches the client.
//!
//! One byte chooses the request, one how the bytes are cut, two where; the rest is the upstream's answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use doorway::app::Proxy;
use doorway::http::head::{Limits, Spans};
use doorway::http::response_head::{self, Content, Parsed};
use doorway::testing::Request;

use super::Input;
use crate::reference::chunked::read_chunked;
use crate::reference::{Policy, Stop};
use crate::support::{locked, show};

/// An upstream that says to each connection what it was given for it.
struct Upstream {
    scenes: Mutex<Sender<Vec<Vec<u8>>>>,
    proxy: Proxy,
}

fn upstream() -> &'static Upstream {
    static UPSTREAM: OnceLock<Upstream> = OnceLock::new();
    UPSTREAM.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (scenes, given) = channel::<Vec<Vec<u8>>>();
        std::thread::spawn(move || {
            for pieces in given {
                let (stream, _) = listener.accept().unwrap();
                play(stream, &pieces);
            }
        });
        let limit = Duration::from_secs(15);
        let proxy = Proxy::to(&format!("http://{address}")).unwrap();
        let proxy = proxy.connect_deadline(limit).first_byte_deadline(limit).progress_deadline(limit);
        Upstream { scenes: Mutex::new(scenes), proxy }
    })
}

const CONTENT: &[u8] = b"content";

fn play(mut stream: TcpStream, pieces: &[Vec<u8>]) {
    let _ = stream.set_nodelay(true);
    // The proxy sends its request in one piece or in a few; what is not read would make the end a reset.
    let (mut request, mut room) = (Vec::new(), [0; 4096]);
    let is_whole = |request: &[u8]| {
        let end: &[u8] = if request.starts_with(b"POST") { CONTENT } else { b"\r\n\r\n" };
        request.ends_with(end)
    };
    while !is_whole(&request) {
        match stream.read(&mut room) {
            Ok(length) if length > 0 => request.extend_from_slice(&room[..length]),
            _ => return,
        }
    }
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            return;
        }
        std::thread::yield_now();
    }
}

/// What a careful reader makes of the bytes of an upstream that then closes.
enum Told {
    Broken,
    Whole(u16, Vec<u8>),
}

fn read_answer(mut bytes: &[u8], to_head: bool) -> Told {
    let mut spans = Spans::new();
    for _ in 0..=16 {
        let Parsed::Complete(head) = response_head::parse(bytes, &Limits::default(), &mut spans) else { break };
        let rest = &bytes[head.len()..];
        if head.status() < 200 && head.status() != 101 {
            bytes = rest;
            continue;
        }
        let status = head.status();
        if status == 101 || status > 599 {
            return Told::Broken;
        }
        let policy = Policy { content: None, ..Policy::default() };
        return match response_head::content(&head, to_head) {
            Err(_) => Told::Broken,
            Ok(Content::None) => Told::Whole(status, Vec::new()),
            Ok(Content::Close) => Told::Whole(status, rest.to_vec()),
            Ok(Content::Length(length)) => match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
                Some(content) => Told::Whole(status, content.to_vec()),
                None => Told::Broken,
            },
            Ok(Content::Chunked) => match read_chunked(rest, &policy) {
                Ok(read) => Told::Whole(status, read.content),
                Err(Stop::More | Stop::Fault(_)) => Told::Broken,
            },
        };
    }
    Told::Broken
}

pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let method = ["GET", "HEAD", "POST", "GET"][input.below(4)];
    let how = input.below(3);
    let place = usize::from(input.byte()) << 8 | usize::from(input.byte());
    let said = input.rest;
    let cut = place % (said.len() + 1);
    let pieces: Vec<Vec<u8>> = match how {
        0 => vec![said.to_vec()],
        1 => vec![said[..cut].to_vec(), said[cut..].to_vec()],
        _ => said.chunks(cut.max(1)).map(<[u8]>::to_vec).collect(),
    };
    let upstream = upstream();
    locked(&upstream.scenes).send(pieces).unwrap();
    let request = if method == "POST" { Request::post("/a?b", CONTENT) } else { Request::new(method, "/a?b") };
    let response = request.call(&upstream.proxy);
    let status = response.status.code();
    match read_answer(said, method == "HEAD") {
        Told::Broken => {
            let is_refusal =
                matches!(status, 502 | 504) && response.error.as_ref().is_none_or(|(cause, _)| cause.number() >= 4000);
            assert!(is_refusal || response.error.is_some(), "{status} looks whole: {}", show(said));
        }
        Told::Whole(expected, content) => {
            assert!(status == expected && response.error.is_none(), "{status} {:?} {}", response.error, show(said));
            let expected: &[u8] = if method == "HEAD" { b"" } else { &content };
            assert!(response.body() == expected, "{}\n{}", show(&response.body()), show(said));
            for name in ["connection", "transfer-encoding", "keep-alive", "upgrade", "trailer", "te", "status"] {
                assert!(!response.headers.contains(name), "{name}: {}", show(said));
            }
        }
    }
}
