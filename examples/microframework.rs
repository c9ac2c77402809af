//! A router in one screen: named segments, 404, 405 with Allow, HEAD. What a framework adds to the gateway need not be more.
//!
//! Run: `cargo run --example microframework` (or `-- 8001` for another port)
//! Try: `curl -i http://127.0.0.1:8000/users/ada/posts/7`, `curl -i -X DELETE http://127.0.0.1:8000/users/ada`

use doorway::{Application, Body, Environ, Response, Server, StartResponse};

/// The named segments of a path.
pub struct Segments<'path>(Vec<(&'static str, &'path str)>);

impl Segments<'_> {
    /// The segment that stands where the pattern has `{name}`.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(other, _)| *other == name).map_or("", |(_, segment)| *segment)
    }
}

type Handler = Box<dyn Fn(&Environ, &Segments<'_>) -> Response + Send + Sync>;

/// Handlers by method and pattern; of those that match, the first one answers.
#[derive(Default)]
pub struct Router {
    routes: Vec<(&'static str, &'static str, Handler)>,
}

impl Router {
    /// Adds a handler. A pattern is a path, in which `{name}` stands for any one segment that is not empty.
    pub fn on<H>(mut self, method: &'static str, pattern: &'static str, handler: H) -> Router
    where
        H: Fn(&Environ, &Segments<'_>) -> Response + Send + Sync + 'static,
    {
        self.routes.push((method, pattern, Box::new(handler)));
        self
    }

    fn answer(&self, environ: &Environ) -> Response {
        let path = environ.path();
        let mut allowed = Vec::new();
        for (method, pattern, handler) in &self.routes {
            if let Some(segments) = matched(pattern, &path) {
                // What answers GET answers HEAD too: the server sends the head and drops the body.
                let methods: &[&str] = if *method == "GET" { &["GET", "HEAD"] } else { &[*method] };
                if methods.contains(&environ.method()) {
                    return handler(environ, &segments);
                }
                allowed.extend_from_slice(methods);
            }
        }
        if allowed.is_empty() {
            return not_found();
        }
        let response = Response::text("Not like this.\n").with_status("405 Method Not Allowed");
        response.with_header("Allow", allowed.join(", "))
    }
}

impl Application for Router {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        self.answer(environ).start(start_response)
    }
}

/// The named segments of a path that fits a pattern.
fn matched<'path>(pattern: &'static str, path: &'path str) -> Option<Segments<'path>> {
    let (mut named, mut segments) = (Vec::new(), path.split('/'));
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => named.push((name, segment)),
            None if segment == expected => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(Segments(named))
}

fn not_found() -> Response {
    Response::text("Nothing is here.\n").with_status("404 Not Found")
}

/// What one builds with it.
pub fn site() -> Router {
    Router::default()
        .on("GET", "/", |environ, _| Response::text(format!("Try {}users/ada\n", environ.application_uri())))
        .on("GET", "/users/{user}", |_, segments| Response::text(format!("I am {}.\n", segments.get("user"))))
        .on("PUT", "/users/{user}", |_, _| Response::new("204 No Content", ()))
        .on("GET", "/users/{user}/posts/{post}", |_, segments| match segments.get("post").parse::<u32>() {
            Ok(post) => Response::text(format!("post {post} of {}\n", segments.get("user"))),
            Err(_) => not_found(),
        })
}

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    server.addrs().for_each(|address| println!("{}", address.url()));
    server.serve(site())
}
