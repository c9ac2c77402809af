//! A CGI program: put the binary into the web server's `cgi-bin`, and it answers one request for each start. Started by spawn-fcgi or
//! systemd with a listening socket on file descriptor 0, the same binary is a FastCGI server.
//!
//! ```text
//! cargo build --release --example cgi_script
//! GATEWAY_INTERFACE=CGI/1.1 REQUEST_METHOD=GET PATH_INFO=/ada target/release/examples/cgi_script
//! ```

use doorway::{Body, Environ, Server, StartResponse};

fn application(environ: &Environ, start_response: &mut StartResponse) -> Body {
    let name = environ.path().trim_start_matches('/').to_owned();
    let name = if name.is_empty() { "world".to_owned() } else { name };
    start_response.start("200 OK", &[("Content-Type", "text/plain; charset=utf-8")]);
    Body::from(format!("Hello, {name}! This is {} at {}.\n", environ.door(), environ.server_name()))
}

fn main() -> std::io::Result<()> {
    Server::unbound().serve_as_started(application)
}
