//! A directory as a web site: an index or a listing, ranges for players, nothing hidden, nothing outside.
//!
//! Run: `cargo run --example files` (or `-- 8001` for another port)
//! It serves the current directory; `-- 8001 /srv/www` serves another one.
//! Try: `curl http://127.0.0.1:8000/`, `curl -H 'Accept: application/json' http://127.0.0.1:8000/`, `curl -r 0-9 http://127.0.0.1:8000/README.md`

use std::io;

use doorway::app::Files;
use doorway::{Application, Server};

/// What a browser asks again each time, so that a file that was just saved is never stale.
pub fn site(directory: &str) -> io::Result<impl Application> {
    Ok(Files::new(directory)?.listing(true).precompressed(true).cache_control("no-cache"))
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "8000".into());
    let directory = arguments.next().unwrap_or_else(|| ".".into());
    let server = Server::bind(format!("127.0.0.1:{port}"))?;
    println!("{directory} at http://127.0.0.1:{port}/");
    server.serve(site(&directory)?)
}
