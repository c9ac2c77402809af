//! The shortest server: `cargo run --example hello`, then `curl http://127.0.0.1:8000/`.

use doorway::{Body, Environ, Server, StartResponse};

pub fn application(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/html")]);
    Body::from("<h1>Hello, web!</h1>")
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1);
    Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?.serve(application)
}
