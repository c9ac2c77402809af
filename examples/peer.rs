//! The application that doorway is measured with beside other servers: small, large, echoed and streamed answers.
//!
//! Run: `cargo run --release --example peer -- --port 8000` (`--threads N` for another pool than the default)
//! Try: `curl http://127.0.0.1:8000/hello`, `curl -d hello http://127.0.0.1:8000/echo`

use std::error::Error;
use std::io::{self, Read};
use std::str::FromStr;
use std::sync::LazyLock;

use doorway::{Body, Environ, Server, Settings, StartResponse};

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| vec![b'x'; 8 * 1024 * 1024]);

pub fn application(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let path = environ.path();
    match (environ.method(), &*path) {
        ("GET", "/hello") => {
            start_response.start("200 OK", &[("Content-Type", "text/plain")]);
            Ok(Body::from("Hello, World!"))
        }
        ("POST", "/echo") => {
            let mut content = Vec::new();
            environ.input().read_to_end(&mut content)?;
            start_response.start("200 OK", &[("Content-Type", "application/octet-stream")]);
            Ok(Body::from(content))
        }
        ("GET", "/stream") => {
            start_response.start("200 OK", &[("Content-Type", "application/octet-stream")]);
            let blocks = (0..64).map(|_| &FILE[..1024]);
            Ok(Body::blocks(blocks))
        }
        ("GET", path) if path.starts_with("/file/") => Ok(file(path, start_response)),
        _ => Ok(not_found(start_response)),
    }
}

fn file(path: &str, start_response: &mut StartResponse) -> Body {
    let size = path.strip_prefix("/file/").and_then(|size| size.parse().ok());
    match size.and_then(|size: usize| FILE.get(..size)) {
        Some(bytes) => {
            start_response.start("200 OK", &[("Content-Type", "application/octet-stream")]);
            Body::from(bytes)
        }
        None => not_found(start_response),
    }
}

fn not_found(start_response: &mut StartResponse) -> Body {
    start_response.start("404 Not Found", &[("Content-Type", "text/plain")]);
    Body::from("not found\n")
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind(("127.0.0.1", argument("--port", 8000)?))?
        .threads(argument("--threads", Settings::default().threads)?);
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
