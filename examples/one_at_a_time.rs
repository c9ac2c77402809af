//! The server that a tutorial on WSGI writes by hand: one thread, one request after the other. It reads a head with `doorway::http`, fills an environ and
//! calls an application by `doorway::gateway`. To see how it is done, and not to be used: one slow client stops everybody.
//!
//! Run: `cargo run --example one_at_a_time` (or `-- 8001` for another port)
//! Try: `curl -i 'http://127.0.0.1:8000/hello?name=web'`

use std::io::{self, Cursor, Read, Write};
use std::net::TcpListener;

use doorway::gateway::{Application, Environ, Gateway};
use doorway::http::head::{self, Head, Limits, Parsed, Spans};
use doorway::http::{framing::Content, request, target::Target};
use doorway::{Cause, Response, app, percent_decode};

/// Content is read before the call, so it has to be short.
const LONGEST_CONTENT: u64 = 1024 * 1024;

/// Reads a request, calls the application, writes the response. The connection ends with it.
pub fn answer(mut client: impl Read + Write, application: &impl Application) -> io::Result<()> {
    let mut received = Vec::new();
    let (environ, is_head) = loop {
        let mut buffer = [0; 4096];
        let length = client.read(&mut buffer)?;
        received.extend_from_slice(&buffer[..length]);
        match head::parse(&received, &Limits::default(), &mut Spans::new()) {
            Parsed::Incomplete if length == 0 => return Ok(()),
            Parsed::Incomplete => {}
            Parsed::Invalid(cause) => return refuse(client, cause),
            Parsed::Complete(head) => match environ_of(head, &received[head.len()..], &mut client) {
                Ok(environ) => break (environ, head.method() == b"HEAD"),
                Err(error) => return refuse(client, Cause::of(&error).ok_or(error)?),
            },
        }
    };
    // Any status, any fields, any body: what `start_response` was told, and what was returned.
    let response = Response::of(application, &environ);
    write!(client, "HTTP/1.1 {}\r\nConnection: close\r\n", response.status)?;
    client.write_all(&response.headers.to_bytes())?;
    for block in response.body.into_blocks().filter(|_| !is_head) {
        client.write_all(&block?)?;
    }
    client.flush()
}

/// What the request says, as CGI variables; `rest` is the beginning of its content.
fn environ_of(head: Head<'_>, rest: &[u8], client: &mut impl Read) -> io::Result<Environ> {
    let request = request::read(head).map_err(io::Error::other)?;
    let Target::Origin { path, query } = request.target else { return Err(io::Error::other(Cause::TargetForm)) };
    let mut environ = Environ::new(Gateway { multithread: false, ..Gateway::default() });
    let mut path_info = Vec::new();
    percent_decode(path, &mut path_info);
    environ.set("REQUEST_METHOD", head.method());
    environ.set("SCRIPT_NAME", "");
    environ.set("PATH_INFO", path_info);
    environ.set("QUERY_STRING", query.unwrap_or_default());
    environ.set("SERVER_NAME", "localhost");
    environ.set("SERVER_PORT", "8000");
    environ.set("SERVER_PROTOCOL", head.version().as_str());
    for (name, value) in head.fields() {
        let name = String::from_utf8_lossy(name).to_uppercase().replace('-', "_");
        let is_bare = name == "CONTENT_TYPE" || name == "CONTENT_LENGTH";
        environ.set(&if is_bare { name } else { format!("HTTP_{name}") }, value);
    }
    match request.content {
        Content::None => {}
        Content::Length(length) if length <= LONGEST_CONTENT => {
            let mut content = Vec::new();
            // A client that breaks off is found by whoever reads: there is less than was announced.
            rest.chain(client).take(length).read_to_end(&mut content)?;
            environ.set_input(Cursor::new(content));
        }
        Content::Length(_) => return Err(io::Error::other(Cause::ContentLong)),
        Content::Chunked => return Err(io::Error::other(Cause::CodingUnknown)),
    }
    Ok(environ)
}

fn refuse(mut client: impl Write, cause: Cause) -> io::Result<()> {
    let status = cause.status().unwrap_or(400);
    write!(client, "HTTP/1.1 {status} {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", cause.name())
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let listener = TcpListener::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    println!("http://{}/", listener.local_addr()?);
    for client in listener.incoming() {
        // A client that breaks off is no reason to stop.
        if let Err(error) = client.and_then(|client| answer(client, &app::demo)) {
            eprintln!("{error}");
        }
    }
    Ok(())
}
