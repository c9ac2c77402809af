//! An application full of sins under `Lint`: what it says about each of them, and that the client gets the same as without it.
//!
//! Run: `cargo run --example lint` (or `-- 8001` for another port), which begins with a report on every sin
//! Try: `curl -i http://127.0.0.1:8000/short`, and read the terminal of the server

use std::error::Error;
use std::io;

use doorway::middleware::Lint;
use doorway::testing::Request;
use doorway::{Application, Block, Body, Environ, Server, StartResponse};

/// Where the sins are, with a word about each.
pub const SINS: [(&str, &str); 7] = [
    ("/untyped", "content, and nobody knows what it is"),
    ("/short", "fewer bytes than were promised"),
    ("/empty", "content with a status that has none"),
    ("/connection", "a field that is the server's affair"),
    ("/twice", "one Content-Type and then another"),
    ("/late", "a head that never comes"),
    ("/joined", "middleware that waits for two blocks to make one of them"),
];

/// One sin for each path; everywhere else all is well.
pub fn sinner(environ: &Environ, start_response: &mut StartResponse) -> Body {
    let text = ("Content-Type", "text/plain");
    match &*environ.path() {
        "/untyped" => start_response.start("200 OK", &[]),
        "/short" => start_response.start("200 OK", &[text, ("Content-Length", "20")]),
        "/empty" => start_response.start("204 No Content", &[]),
        "/connection" => start_response.start("200 OK", &[text, ("Connection", "keep-alive")]),
        "/twice" => start_response.start("200 OK", &[text, ("content-type", "text/html")]),
        "/late" => return Body::from("too late\n"),
        _ => start_response.start("200 OK", &[text]),
    };
    Body::blocks(["some ", "text\n"])
}

/// Middleware with a sin of its own: it asks for all blocks below `/joined` before it gives the first.
pub fn joined(inner: impl Application) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| -> io::Result<Body> {
        let body = inner.call(environ, start_response);
        if environ.path() != "/joined" {
            return Ok(body);
        }
        let blocks: Vec<Block> = body.into_blocks().collect::<io::Result<_>>()?;
        Ok(Body::from(blocks.concat()))
    }
}

/// A `Lint` on both sides of the middleware, so that each knows whose sin it sees.
pub fn application() -> impl Application {
    Lint::new(joined(Lint::new(sinner)))
}

/// The report on each sin, as a server would write it to its log.
pub fn report() -> String {
    let application = application();
    let mut report = String::new();
    for (path, sin) in SINS {
        let response = Request::get(path).call(&application);
        report += &format!("{path}: {sin}\n    the client gets {}\n", response.status);
        for line in response.errors.lines() {
            report += &format!("    {line}\n");
        }
    }
    report
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(8000), |port| port.parse())?;
    let server = Server::bind(("127.0.0.1", port))?;
    for address in server.addrs() {
        println!("{}", address.url());
    }
    print!("{}", report());
    Ok(server.serve(application())?)
}
