//! A response that grows while the client watches: a line a second, each sent when it is made.
//!
//! Run: `cargo run --example stream` (or `-- 8001` for another port)
//! Try: `curl -N http://127.0.0.1:8000/`

use std::time::Duration;

use doorway::{Application, Body, Environ, Server, StartResponse};

/// So many lines, so far apart.
///
/// The server asks for a block when the one before has been sent, in a thread of its pool. So as many clients can watch as it
/// has threads (`Server::threads`); when one of them goes away, the next line notices and the thread is free again.
pub fn ticker(lines: u64, interval: Duration) -> impl Application {
    move |_environ: &Environ, start_response: &mut StartResponse| {
        // No Content-Length: the server sends chunks, and proxies that keep to the next line do not gather them.
        let headers = [("Content-Type", "text/plain"), ("Cache-Control", "no-transform"), ("X-Accel-Buffering", "no")];
        start_response.start("200 OK", &headers);
        Body::blocks((1..=lines).map(move |line| {
            // Between the lines and not before the first, which the client gets at once.
            if line > 1 {
                std::thread::sleep(interval);
            }
            format!("line {line} of {lines}\n")
        }))
    }
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    for address in server.addrs() {
        println!("{}", address.url());
    }
    server.serve(ticker(60, Duration::from_secs(1)))
}
