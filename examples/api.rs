//! An API that speaks JSON, read and written by hand, with errors as problem details (RFC 9457).
//!
//! Run: `cargo run --example api` (or `-- 8001` for another port)
//! Try: `curl -i -H 'Content-Type: application/json' -d '{"text": "Hello"}' http://127.0.0.1:8000/notes`, then
//! `curl http://127.0.0.1:8000/notes`, `curl -i -X DELETE http://127.0.0.1:8000/notes/1`, `curl -i http://127.0.0.1:8000/notes/x`
//!
//! A program that needs more of JSON than this takes a crate for it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use doorway::{Application, Environ, Response, Server, simple};

const LARGEST_CONTENT: u64 = 64 * 1024;
const MOST_NOTES: usize = 1000;

#[derive(Default)]
struct Notes {
    last: u64,
    texts: BTreeMap<u64, String>,
}

/// The application, with its own notes.
pub fn api() -> impl Application {
    let notes = Mutex::new(Notes::default());
    simple(move |environ: &Environ| answer(environ, &notes))
}

fn answer(environ: &Environ, notes: &Mutex<Notes>) -> io::Result<Response> {
    let (path, method) = (environ.path(), environ.method());
    let Some(rest) = path.strip_prefix("/notes") else {
        return Ok(problem("404 Not Found", "There are notes at /notes."));
    };
    let mut content = Vec::new();
    // Before the lock: a client that sends slowly keeps nobody waiting.
    if method == "POST" {
        environ.input().take(LARGEST_CONTENT + 1).read_to_end(&mut content)?;
    }
    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    if rest.is_empty() {
        let all: Vec<_> = notes.texts.iter().map(|(number, text)| note(*number, text)).collect();
        return Ok(match method {
            "GET" | "HEAD" => Response::json(format!("[{}]\n", all.join(","))),
            "POST" => create(environ, &content, &mut notes),
            _ => not_allowed("GET, HEAD, POST"),
        });
    }
    let number = rest.strip_prefix('/').and_then(|number| number.parse().ok()).unwrap_or(0);
    let Some(text) = notes.texts.get(&number) else {
        return Ok(problem("404 Not Found", "There is no such note."));
    };
    Ok(match method {
        "GET" | "HEAD" => Response::json(note(number, text) + "\n"),
        "DELETE" => {
            notes.texts.remove(&number);
            Response::new("204 No Content", ())
        }
        _ => not_allowed("GET, HEAD, DELETE"),
    })
}

fn create(environ: &Environ, content: &[u8], notes: &mut Notes) -> Response {
    let content_type = environ.content_type().unwrap_or_default();
    // A form of another site cannot have this type, so no browser is led to add notes.
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return problem("415 Unsupported Media Type", "Send application/json.");
    }
    if content.len() as u64 > LARGEST_CONTENT || notes.texts.len() == MOST_NOTES {
        return problem("413 Content Too Large", "A note has at most 64 KiB, and there are at most 1000.");
    }
    let Some(text) = std::str::from_utf8(content).ok().and_then(object).and_then(|mut all| all.remove("text")) else {
        return problem("422 Unprocessable Content", "Send an object of strings, with the key \"text\".");
    };
    notes.last += 1;
    let response = Response::json(note(notes.last, &text) + "\n").with_status("201 Created");
    let location = format!("{}/{}", environ.request_uri(false), notes.last);
    notes.texts.insert(notes.last, text);
    response.with_header("Location", location)
}

fn note(number: u64, text: &str) -> String {
    format!("{{\"number\":{number},\"text\":{}}}", quoted(text))
}

fn problem(status: &'static str, detail: &str) -> Response {
    let (code, title) = status.split_once(' ').unwrap_or_default();
    let json = format!("{{\"status\":{code},\"title\":{},\"detail\":{}}}\n", quoted(title), quoted(detail));
    Response::json(json).with_status(status).with_header("Content-Type", "application/problem+json")
}

fn not_allowed(allow: &str) -> Response {
    problem("405 Method Not Allowed", "Not like this.").with_header("Allow", allow)
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|char| match char {
        '"' | '\\' => format!("\\{char}"),
        '\0'..='\u{1f}' => format!("\\u{:04x}", u32::from(char)),
        _ => char.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// A JSON object whose values are strings.
pub fn object(json: &str) -> Option<BTreeMap<String, String>> {
    let (mut rest, mut object) = (json.trim().strip_prefix('{')?.trim_start(), BTreeMap::new());
    while !rest.starts_with('}') || !object.is_empty() {
        let (key, after) = string(rest)?;
        let (value, after) = string(after.trim_start().strip_prefix(':')?.trim_start())?;
        object.insert(key, value);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None => break,
        }
    }
    (rest == "}").then_some(object)
}

/// A JSON string from the front, and what stands behind it.
fn string(json: &str) -> Option<(String, &str)> {
    let (mut text, mut chars) = (Vec::new(), json.strip_prefix('"')?.chars());
    loop {
        let char = match chars.next()? {
            '"' => return Some((String::from_utf16(&text).ok()?, chars.as_str())),
            '\\' => match chars.next()? {
                'u' => {
                    let (digits, after) = chars.as_str().split_at_checked(4)?;
                    chars = after.chars();
                    // Half of a pair, perhaps: the other half follows, or the whole is refused at the end.
                    text.push(u16::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
                    continue;
                }
                escape => "\n\r\t\u{8}\u{c}\"\\/".chars().nth("nrtbf\"\\/".find(escape)?)?,
            },
            '\0'..='\u{1f}' => return None,
            char => char,
        };
        text.extend_from_slice(char.encode_utf16(&mut [0; 2]));
    }
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    server.addrs().for_each(|address| println!("{}", address.url()));
    server.serve(api())
}
