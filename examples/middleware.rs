//! Middleware: functions that take an application and give another one.
//!
//! `timed` adds a field to the head, `shout` changes the body block by block. Neither waits for the whole response, so a
//! streamed one stays streamed.
//!
//! Run: `cargo run --example middleware` (or `-- 8001` for another port)
//! Try: `curl -i http://127.0.0.1:8000/` and `curl -i http://127.0.0.1:8000/written`

use std::io::{self, Write};
use std::time::Instant;

use doorway::{Application, Block, Body, Environ, Server, StartResponse};

/// Adds `Server-Timing`: how long the application took to start its response.
pub fn timed(inner: impl Application) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| {
        let begin = Instant::now();
        start_response.on_start(move |_status, headers| {
            let milliseconds = begin.elapsed().as_secs_f64() * 1000.0;
            // Added, not set: an application may report times of its own.
            headers.add("Server-Timing", format!("app;dur={milliseconds:.3}"));
        });
        inner.call(environ, start_response)
    }
}

/// Doubles every exclamation mark.
pub fn shout(inner: impl Application) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| {
        start_response.on_start(|_status, headers| {
            // These say something about bytes that the client will not get.
            for name in ["Content-Length", "ETag", "Accept-Ranges"] {
                headers.remove(name);
            }
        });
        // A body goes to the client by two ways: what is written, and what is returned.
        start_response.on_write(shouted);
        let body = inner.call(environ, start_response);
        body.map_blocks(shouted)
    }
}

fn shouted(block: Block) -> io::Result<Block> {
    let mut louder = Vec::with_capacity(block.len());
    for byte in block.iter() {
        louder.push(*byte);
        if *byte == b'!' {
            louder.push(b'!');
        }
    }
    Ok(louder.into())
}

/// An application that knows nothing of its middleware.
pub fn greeting(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let headers = [("Content-Type", "text/plain"), ("Content-Length", "12"), ("ETag", "\"1\"")];
    let mut writer = start_response.start("200 OK", &headers);
    if environ.path() == "/written" {
        writer.write_all(b"Hello, ")?;
        return Ok(Body::from("web!\n"));
    }
    Ok(Body::from("Hello, web!\n"))
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    for address in server.addrs() {
        println!("{}", address.url());
    }
    server.serve(timed(shout(greeting)))
}
