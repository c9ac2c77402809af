//! What `proxy` and `pass` share: an upstream on a socket that says what the input says, and a careful reading of that.
//!
//! Whoever passes a request on connects, sends the head and asks for the content, all in one thread. So it is the content that accepts
//! the connection and says the whole answer when it is asked for: no other thread is woken, and an input costs a few system calls. Only
//! an answer that is to come in pieces takes a thread that says them, which costs a hundred times as much, so that a fuzzer has this done
//! for one input of many; the request has no content then.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;

use doorway::http::head::{Limits, Spans};
use doorway::http::response_head::{self, Parsed};
use doorway::testing::{Request, Response};
use doorway::{Application, Cause, Environ, StartResponse};

use super::Input;
use crate::reference::chunked::read_chunked;
use crate::reference::{Policy, Stop};
use crate::support::{locked, show};

/// What fits into the buffer of a socket, so that it can be said while nobody reads, and is shorter than any limit.
const MOST: usize = 8_000;

const CONTENT: &[u8] = b"content";

/// A request, and what the upstream says to it. One byte chooses the method, one how the answer comes, two where it is cut; the answer is
/// what `make` makes of the rest.
pub struct Scene {
    pub method: &'static str,
    pub said: Vec<u8>,
    /// Where there are several, they come one by one.
    pieces: Vec<Vec<u8>>,
}

impl Scene {
    pub fn of(input: &mut Input<'_>, make: impl FnOnce(&[u8]) -> Vec<u8>) -> Scene {
        let method = ["GET", "HEAD", "POST", "GET"][input.below(4)];
        let how = input.below(16);
        let place = usize::from(input.byte()) << 8 | usize::from(input.byte());
        let mut said = make(input.rest);
        said.truncate(MOST);
        let cut = place % (said.len() + 1);
        let sum = said.iter().fold(place as u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        let is_cut = sum % 256 == 0 || !crate::IS_FUZZER;
        let pieces: Vec<&[u8]> = match how {
            1 if is_cut => vec![&said[..cut], &said[cut..]],
            2 if is_cut => said.chunks(cut.max(1 + said.len() / 16)).collect(),
            _ => Vec::new(),
        };
        let pieces = pieces.into_iter().map(<[u8]>::to_vec).collect();
        // It breaks off there.
        if matches!(how, 3..=5) {
            said.truncate(cut);
        }
        Scene { method, said, pieces }
    }

    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

pub struct Upstream {
    listener: TcpListener,
    /// Kept until the next one: to close it while something is unread would break the connection, and not end it.
    accepted: Mutex<Option<TcpStream>>,
}

impl Upstream {
    pub fn new() -> Upstream {
        Upstream { listener: TcpListener::bind("127.0.0.1:0").unwrap(), accepted: Mutex::default() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Passes the request of a scene on.
    pub fn ask(&'static self, application: &(impl Application + Clone), scene: &Scene) -> Response {
        let request = Request::new(scene.method, "/a?b");
        if scene.pieces.len() > 1 {
            return thread::scope(|scope| {
                scope.spawn(|| self.say(&scene.pieces));
                request.call(application)
            });
        }
        let (application, said) = (application.clone(), scene.said.clone());
        let with_content = move |environ: &Environ, start_response: &mut StartResponse| {
            let mut environ = environ.clone();
            environ.set_input(Content { upstream: self, says: Some(said.clone()), left: CONTENT });
            application.call(&environ, start_response)
        };
        request.header("Content-Length", CONTENT.len().to_string()).call(&with_content)
    }

    /// Says these things to whoever connects, and then no more. (Who has heard enough may be gone.)
    fn say(&self, pieces: &[Vec<u8>]) {
        let (mut stream, _) = self.listener.accept().unwrap();
        for (number, piece) in pieces.iter().enumerate() {
            if number > 0 {
                thread::yield_now();
            }
            let _ = stream.write_all(piece);
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        *locked(&self.accepted) = Some(stream);
    }
}

/// The content of a request, before the first byte of which the upstream says its answer.
struct Content {
    upstream: &'static Upstream,
    says: Option<Vec<u8>>,
    left: &'static [u8],
}

impl BufRead for Content {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(said) = self.says.take() {
            self.upstream.say(&[said]);
        }
        Ok(self.left)
    }

    fn consume(&mut self, length: usize) {
        self.left = &self.left[length..];
    }
}

impl Read for Content {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(room)?;
        self.consume(length);
        Ok(length)
    }
}

/// What a careful reader makes of the bytes of an upstream that then closes.
pub enum Told {
    Broken,
    Whole(u16, Vec<u8>),
}

/// Reads an answer in HTTP.
pub fn read_answer(mut bytes: &[u8], to_head: bool) -> Told {
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
            Ok(response_head::Content::None) => Told::Whole(status, Vec::new()),
            Ok(response_head::Content::Close) => Told::Whole(status, rest.to_vec()),
            Ok(response_head::Content::Length(length)) => {
                match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
                    Some(content) => Told::Whole(status, content.to_vec()),
                    None => Told::Broken,
                }
            }
            Ok(response_head::Content::Chunked) => match read_chunked(rest, &policy) {
                Ok(read) => Told::Whole(status, read.content),
                Err(Stop::More | Stop::Fault(_)) => Told::Broken,
            },
        };
    }
    Told::Broken
}

/// Broken content never looks whole, whole content is passed on byte for byte, and no field of the connection passes.
pub fn check_response(response: &Response, told: &Told, scene: &Scene) {
    let (status, said) = (response.status.code(), show(&scene.said));
    match told {
        Told::Broken => assert!(is_refusal(response), "{status} looks whole: {said}"),
        Told::Whole(expected, content) => {
            // A server sends no content with it (RFC 9110 section 15.3.6), and says so.
            let is_dropped = status == 205 && !response.body().is_empty();
            let wrong = response.error.as_ref().map(|(cause, _)| *cause);
            assert!(
                status == *expected && wrong == is_dropped.then_some(Cause::BodyDropped),
                "{status} {wrong:?} {said}"
            );
            let expected: &[u8] = if scene.is_head() { b"" } else { content };
            assert!(response.body() == expected, "{}\n{said}", show(&response.body()));
            for name in ["connection", "transfer-encoding", "keep-alive", "upgrade", "trailer", "te", "status"] {
                assert!(!response.headers.contains(name), "{name}: {said}");
            }
        }
    }
}

/// An answer of whoever passes requests on, or one that breaks visibly.
pub fn is_refusal(response: &Response) -> bool {
    // Causes of an upstream have numbers from 4000 on.
    let is_own = matches!(response.status.code(), 502..=504)
        && response.error.as_ref().is_none_or(|(cause, _)| cause.number() >= 4000);
    is_own || response.error.is_some()
}
