//! One application at every door: HTTP, uwsgi, SCGI and FastCGI side by side, and CGI where a web server starts it so. It tells what it
//! was asked, which is the same whatever stands in front; `tests/deploy.rs` asks it through nginx, lighttpd and HAProxy.
//!
//! `cargo run --example five_doors` listens at 127.0.0.1, ports 8000 to 8003. The nginx for it (all of it in `examples/deploy/nginx.conf`):
//!
//! ```text
//! location /http/    { proxy_pass http://127.0.0.1:8000; proxy_http_version 1.1; proxy_set_header Host $http_host; }
//! location /uwsgi/   { include uwsgi_params;   uwsgi_pass 127.0.0.1:8001; }
//! location /scgi/    { include scgi_params;    scgi_pass 127.0.0.1:8002; }
//! location /fastcgi/ { include fastcgi_params; fastcgi_pass 127.0.0.1:8003; }
//! ```

use std::io::{self, Read};

use doorway::{Body, Door, Environ, Server, Settings, StartResponse};

/// FNV-1a: enough to see that not a byte is missing.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What was asked, without what differs from door to door.
fn tell(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let mut content = Vec::new();
    environ.input().read_to_end(&mut content)?;
    let header = |name| environ.header(name).unwrap_or_default().into_owned();
    let text = format!(
        "{} {}{}\nquery {}\ntype {}\ncontent {} {:016x}\nx-a {}\ncookie {}\nuser-agent {}\nproxy {}\n",
        environ.method(),
        environ.script_name().escape_ascii(),
        environ.path_info().escape_ascii(),
        environ.query_string(),
        environ.content_type().unwrap_or_default(),
        content.len(),
        hash(&content),
        header("x-a"),
        header("cookie"),
        header("user-agent"),
        // httpoxy: programs take a variable of that name for a setting, so no door hands a client's on.
        if environ.get("HTTP_PROXY").is_some() { "present" } else { "absent" },
    );
    let headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")];
    start_response.start("200 OK", &headers);
    Ok(text.into())
}

pub fn application(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let path = [environ.script_name(), environ.path_info()].concat();
    let is = |end: &str| path.ends_with(end.as_bytes());
    if is("/nothing") {
        start_response.start("204 No Content", &[]);
        return Ok(Body::empty());
    }
    if is("/unchanged") {
        start_response.start("304 Not Modified", &[("ETag", "\"1\"")]);
        return Ok(Body::empty());
    }
    if is("/fails") {
        return Err(io::Error::other("before the first block"));
    }
    if is("/breaks") {
        start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", "10")]);
        return Ok(Body::blocks([Ok("first"), Err(io::Error::other("after the first block"))]));
    }
    if is("/unread") {
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        return Ok(vec![b'x'; 300_000].into());
    }
    tell(environ, start_response)
}

/// The same limits at every door.
pub fn limits(settings: &mut Settings) {
    settings.max_content = Some(2 * 1024 * 1024);
}

fn main() -> io::Result<()> {
    if std::env::var_os("GATEWAY_INTERFACE").is_some() {
        Server::unbound().configure(limits).serve_cgi(application);
        return Ok(());
    }
    let server = Server::bind("127.0.0.1:8000")?
        .and(Server::bind("127.0.0.1:8001")?.door(Door::Uwsgi))
        .and(Server::bind("127.0.0.1:8002")?.door(Door::Scgi))
        .and(Server::bind("127.0.0.1:8003")?.door(Door::FastCgi));
    for address in server.addrs() {
        println!("listening at {address}");
    }
    server.configure(limits).serve(application)
}
