//! An origin for the HTTP Garden: answers each request with what it read of it, as the WSGI origins of the Garden do.
//!
//! Run: `cargo run --example garden -- 127.0.0.1:8000`
//! Try: `curl -d hello -H 'X-A: b' http://127.0.0.1:8000/a?c`
//!
//! In the Garden, an image runs it at port 80 and `docker-compose.yml` names it beside the other origins; then `grid` and `fanout` compare what
//! doorway makes of a stream of bytes with what they make of it. Everything is in base64, because a request may hold any byte.

use std::io::{self, Read};

use doorway::web::base64_encode;
use doorway::{Body, Environ, Server, StartResponse};

pub fn application(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let mut content = Vec::new();
    environ.input().read_to_end(&mut content)?;
    let fields: Vec<String> = environ.iter().filter_map(field).collect();
    let mut uri = environ.path_info().to_vec();
    if !environ.query_string().is_empty() {
        uri.push(b'?');
        uri.extend_from_slice(environ.query_string().as_bytes());
    }
    let answer = format!(
        r#"{{"headers":[{}],"body":"{}","version":"{}","uri":"{}","method":"{}"}}"#,
        fields.join(","),
        base64_encode(&content),
        base64_encode(environ.server_protocol().as_bytes()),
        base64_encode(&uri),
        base64_encode(environ.method().as_bytes()),
    );
    start_response.start("200 OK", &[("Content-Type", "application/json")]);
    Ok(answer.into())
}

/// A field of the request as a pair of texts; `None` for a variable that is none.
fn field((name, value): (&str, &[u8])) -> Option<String> {
    let name = match name {
        "CONTENT_LENGTH" | "CONTENT_TYPE" => name,
        _ => name.strip_prefix("HTTP_")?,
    };
    Some(format!(r#"["{}","{}"]"#, base64_encode(name.as_bytes()), base64_encode(value)))
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let server = Server::bind(address.as_str())?;
    println!("http://{}/", server.addrs().next().map(ToString::to_string).unwrap_or_default());
    server.serve(application)
}
