//! Two applications in one server, each under a prefix of the path, each thinking it is alone.
//!
//! What is mounted at `/api` sees `/api/users` as SCRIPT_NAME `/api` and PATH_INFO `/users`, and builds its links from both.
//!
//! Run: `cargo run --example mount` (or `-- 8001` for another port)
//! Try: `curl http://127.0.0.1:8000/api/users`, `curl http://127.0.0.1:8000/blog`, `curl -i http://127.0.0.1:8000/apix`

use doorway::{Application, Body, Environ, Server, StartResponse};

/// Applications by their prefixes; 404 where none matches.
#[derive(Default)]
pub struct Mount {
    places: Vec<(&'static str, Box<dyn Application>)>,
}

impl Mount {
    /// Mounts an application at a prefix such as `/api`, which has no slash at its end.
    pub fn at(mut self, prefix: &'static str, application: impl Application) -> Mount {
        self.places.push((prefix, Box::new(application)));
        // The longest prefix first, so that `/api/v2` is found before `/api`.
        self.places.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        self
    }
}

impl Application for Mount {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        for (prefix, application) in &self.places {
            let Some(rest) = below(environ.path_info(), prefix) else {
                continue;
            };
            let script_name = [environ.script_name(), prefix.as_bytes()].concat();
            // The copy is cheap and shares the content of the request; the environ of whoever called stays as it was.
            let mut inner = environ.clone();
            inner.set("SCRIPT_NAME", script_name);
            inner.set("PATH_INFO", rest);
            return application.call(&inner, start_response);
        }
        start_response.start("404 Not Found", &[("Content-Type", "text/plain")]);
        Body::from("Nothing is mounted here.\n")
    }
}

/// What is left of a path below a prefix: `/api` and `/api/x` are below `/api`, `/apix` is not. Bytes, because a path
/// need not be UTF-8.
fn below<'path>(path: &'path [u8], prefix: &str) -> Option<&'path [u8]> {
    let rest = path.strip_prefix(prefix.as_bytes())?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

/// Says where it is, as an application does that links to itself.
pub fn api(environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    let mount = String::from_utf8_lossy(environ.script_name());
    Body::from(format!("api at {mount:?}, asked for {:?}\n", environ.path()))
}

/// Answers its own root with or without the slash.
pub fn blog(environ: &Environ, start_response: &mut StartResponse) -> Body {
    match &*environ.path() {
        "" | "/" => {
            start_response.start("200 OK", &[("Content-Type", "text/html; charset=utf-8")]);
            let mount = String::from_utf8_lossy(environ.script_name());
            Body::from(format!("<a href=\"{mount}/first\">The first post</a>\n"))
        }
        "/first" => {
            start_response.start("200 OK", &[("Content-Type", "text/plain")]);
            Body::from("Hello!\n")
        }
        _ => {
            start_response.start("404 Not Found", &[("Content-Type", "text/plain")]);
            Body::from("No such post.\n")
        }
    }
}

/// The whole site.
pub fn site() -> Mount {
    Mount::default().at("/api", api).at("/blog", blog)
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    for address in server.addrs() {
        println!("{}", address.url());
    }
    server.serve(site())
}
