//! The application that the conformance suite talks to: one path for each thing that a server can get wrong.
//!
//! Run: `cargo run --example probe -- --port 8000 --threads 32` (or with `--door fastcgi`, for a front server in between)
//! Try: `curl -i -d hello 'http://127.0.0.1:8000/echo?a=1&id=x'`, then `curl 'http://127.0.0.1:8000/count?id=x'`
//!
//! The server keeps its default settings, but for the limit of the content that the suite asks for. It answers CONNECT with 405
//! by itself.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use doorway::{Body, Door, Environ, Headers, Server, Settings, StartResponse};

const TEXT: (&str, &str) = ("Content-Type", "text/plain");
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// For each id, how often the application was entered, and how often it read the content to its end.
static COUNTS: Mutex<BTreeMap<Vec<u8>, (u64, u64)>> = Mutex::new(BTreeMap::new());

pub fn application(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let path = environ.path_info();
    let mut content = Vec::new();
    if path != b"/count" {
        count(environ, 1, 0);
        if path != b"/noread" {
            // An error means that the content is broken, slow or too long: the server answers 400, 408 or 413.
            environ.input().read_to_end(&mut content)?;
            count(environ, 0, 1);
        }
    }
    let (status, headers, body): (&str, &[(&str, &str)], Body) = match path {
        b"/" => ("200 OK", &[TEXT], Body::from(content)),
        b"/echo" => ("200 OK", &[TEXT], Body::from(description(environ, &content))),
        b"/count" => {
            let (seen, done) = count(environ, 0, 0);
            ("200 OK", &[TEXT], Body::from(format!("seen {seen} done {done}\n")))
        }
        b"/length" => ("200 OK", &[TEXT], Body::list(vec![&LETTERS[..10], &LETTERS[10..]])),
        b"/stream" => {
            let lines = (1..=5).map(|n| format!("block-{n}\n"));
            ("200 OK", &[TEXT], Body::blocks(lines))
        }
        b"/empty" => ("200 OK", &[TEXT], Body::blocks([""; 0])),
        b"/status/204" => ("204 No Content", &[], Body::blocks([""; 0])),
        b"/status/304" => ("304 Not Modified", &[("ETag", "\"probe\"")], Body::blocks([""; 0])),
        b"/body204" => ("204 No Content", &[], one_block(b"must-not-appear")),
        b"/noread" => ("200 OK", &[TEXT], Body::from("noread\n")),
        b"/slow" => {
            std::thread::sleep(Duration::from_millis(300));
            ("200 OK", &[TEXT], Body::from("slow\n"))
        }
        b"/big" => ("200 OK", &[TEXT], Body::list(vec![&[b'x'; 65_536]; 16])),
        b"/short" => ("200 OK", &[TEXT, ("Content-Length", "26")], one_block(&LETTERS[..10])),
        b"/long" => ("200 OK", &[TEXT, ("Content-Length", "10")], one_block(LETTERS)),
        b"/cookies" => {
            let headers = &[TEXT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")];
            ("200 OK", headers, Body::from("ok\n"))
        }
        b"/crash" => panic!("crash requested"),
        b"/crash-mid" => {
            let blocks = (0..2).map(|n| match n {
                0 => "first-block\n",
                _ => panic!("crash in the middle requested"),
            });
            ("200 OK", &[TEXT], Body::blocks(blocks))
        }
        b"/bad-header" => ("200 OK", &[("X-Bad", "a\r\nX-Injected: yes")], Body::from(LETTERS)),
        _ => ("404 Not Found", &[TEXT], Body::from(description(environ, &content))),
    };
    let mut headers = Headers::from(headers);
    if let Some(length) = body.known_len() {
        headers.set("Content-Length", length.to_string());
    }
    start_response.start_with(status, &headers);
    Ok(body)
}

/// Adds to the counts of the request's id, where it has one, and gives them.
fn count(environ: &Environ, seen: u64, done: u64) -> (u64, u64) {
    let id = environ.query_string().split('&').find_map(|pair| pair.strip_prefix("id="));
    let Some(id) = id.map(str::as_bytes).or_else(|| environ.header_bytes("x-probe-id")) else {
        return (0, 0);
    };
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(id.to_vec()).or_default();
    *count = (count.0 + seen, count.1 + done);
    *count
}

/// A block whose length the server does not know beforehand.
fn one_block(block: &'static [u8]) -> Body {
    Body::blocks([block])
}

/// What the server made of the request, one `key: value` a line.
fn description(environ: &Environ, content: &[u8]) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &[u8]| {
        text += key;
        for byte in value {
            // Writing to a String cannot fail.
            let _ = match byte {
                b'%' | ..=0x20 | 0x7f.. => write!(text, "%{byte:02X}"),
                _ => write!(text, "{}", char::from(*byte)),
            };
        }
        text += "\n";
    };
    for (key, name) in [
        ("method: ", "REQUEST_METHOD"),
        ("target: ", "REQUEST_URI"),
        ("path: ", "PATH_INFO"),
        ("query: ", "QUERY_STRING"),
        ("version: ", "SERVER_PROTOCOL"),
    ] {
        line(key, environ.bytes(name).unwrap_or_default());
    }
    for (name, value) in environ.iter() {
        let field = name.strip_prefix("HTTP_").or(name.starts_with("CONTENT_").then_some(name));
        if let Some(field) = field {
            line(&format!("header: {}=", field.to_lowercase().replace('_', "-")), value);
        }
    }
    // FNV-1a with 64 bits.
    let hash = content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    text + &format!("body-length: {}\nbody-fnv1a64: {hash:016x}\n", content.len())
}

fn main() -> Result<(), Box<dyn Error>> {
    let door = match &*argument("--door", "http".to_owned())? {
        "uwsgi" => Door::Uwsgi,
        "scgi" => Door::Scgi,
        "fastcgi" => Door::FastCgi,
        _ => Door::Http,
    };
    let server = Server::bind(("127.0.0.1", argument("--port", 8000)?))?
        .door(door)
        .threads(argument("--threads", Settings::default().threads)?)
        .configure(|settings| settings.max_content = Some(1_048_576));
    for address in server.addrs() {
        println!("{}", address.url());
    }
    Ok(server.serve(application)?)
}

/// The value behind an argument.
fn argument<T: FromStr>(name: &str, default: T) -> Result<T, T::Err> {
    let value = std::env::args().skip_while(|argument| argument != name).nth(1);
    value.map_or(Ok(default), |value| value.parse())
}
