//! `Cors`: pages of other origins may read what an application answers.
//!
//! The Fetch Standard, "HTTP-responses to CORS requests" and "CORS-preflight request". A browser that shows a page of one origin asks another
//! only what that one allows, and asks it first (a preflight) for anything that a plain form could not send. This answers the preflight and
//! adds the fields; the application sees nothing of it. It is no guard: a request whose origin is not listed reaches the application all the
//! same, and only its answer is kept from the page. What the server answers by itself (a 500, a 413) has no such fields.

use std::time::Duration;

use crate::gateway::{Application, Body, Environ, StartResponse};
use crate::web::Response;

/// Lets pages of the listed origins read the responses.
///
/// | the request | answer |
/// |---|---|
/// | a preflight (OPTIONS with `Access-Control-Request-Method`) of a listed origin | 204 with what is allowed |
/// | a preflight of another origin | 403 |
/// | any other of a listed origin | the application's, with `Access-Control-Allow-Origin` |
/// | any other | the application's |
///
/// A list varies the response by `Origin`, and says so (`Vary`), so that no cache gives one origin what was meant for another.
///
/// ```
/// use doorway::{app::demo, middleware::Cors, testing::Request};
///
/// let application = Cors::new(demo, ["https://app.example.com"]).methods(["GET", "PUT"]);
/// let allowed = |origin| {
///     let response = Request::get("/").header("Origin", origin).call(&application);
///     response.headers.get("Access-Control-Allow-Origin").map(|value| value.into_owned())
/// };
/// assert_eq!(allowed("https://app.example.com").as_deref(), Some("https://app.example.com"));
/// assert_eq!(allowed("https://evil.example"), None);
/// ```
pub struct Cors<A> {
    inner: A,
    /// `None`: all of them.
    origins: Option<Vec<String>>,
    methods: String,
    headers: String,
    exposed: String,
    credentials: bool,
    max_age: Option<Duration>,
}

impl<A: Application> Cors<A> {
    /// Allows origins, each `scheme://host` with `:port` where it is not the scheme's own, as a browser sends them. They may send GET, HEAD and POST,
    /// and the field `Content-Type`.
    pub fn new<O: Into<String>>(inner: A, origins: impl IntoIterator<Item = O>) -> Cors<A> {
        Cors { origins: Some(origins.into_iter().map(Into::into).collect()), ..Cors::any(inner) }
    }

    /// Allows every origin, and says so to every request. With [`credentials`](Cors::credentials) that would let any page act as its visitor, so it does not go with it: the
    /// browser refuses `*` then.
    pub fn any(inner: A) -> Cors<A> {
        Cors {
            inner,
            origins: None,
            methods: "GET, HEAD, POST".to_owned(),
            headers: "Content-Type".to_owned(),
            exposed: String::new(),
            credentials: false,
            max_age: None,
        }
    }

    /// The methods that a page may use.
    pub fn methods<'name>(mut self, methods: impl IntoIterator<Item = &'name str>) -> Cors<A> {
        self.methods = joined(&mut methods.into_iter());
        self
    }

    /// The fields that a page may send besides those of a plain form.
    pub fn headers<'name>(mut self, names: impl IntoIterator<Item = &'name str>) -> Cors<A> {
        self.headers = joined(&mut names.into_iter());
        self
    }

    /// The fields of the response that a page may read besides the plainest (`Content-Type`, `Last-Modified` and the like).
    pub fn expose<'name>(mut self, names: impl IntoIterator<Item = &'name str>) -> Cors<A> {
        self.exposed = joined(&mut names.into_iter());
        self
    }

    /// Lets a page send the cookies and passwords that the browser has for this server. Pages of the listed origins can then do whatever
    /// their visitor can.
    pub fn credentials(mut self) -> Cors<A> {
        self.credentials = true;
        self
    }

    /// How long a browser may remember the answer to a preflight, in whole seconds. Otherwise it is its own 5 s.
    pub fn max_age(mut self, max_age: Duration) -> Cors<A> {
        self.max_age = Some(max_age);
        self
    }

    /// What `Access-Control-Allow-Origin` says to an origin.
    fn allowed(&self, origin: &[u8]) -> Option<&str> {
        match &self.origins {
            None => Some("*"),
            Some(origins) => origins.iter().find(|other| other.as_bytes() == origin).map(String::as_str),
        }
    }

    fn fields(&self, origin: &str) -> Vec<(&'static str, String)> {
        let mut fields = vec![("Access-Control-Allow-Origin", origin.to_owned())];
        if self.credentials {
            fields.push(("Access-Control-Allow-Credentials", "true".to_owned()));
        }
        fields
    }

    fn preflight(&self, origin: &[u8]) -> Response {
        let response = match self.allowed(origin) {
            None => Response::text("Origin not allowed\n").with_status("403 Forbidden"),
            Some(origin) => {
                let mut response = Response::new("204 No Content", ());
                let lists =
                    [("Access-Control-Allow-Methods", &self.methods), ("Access-Control-Allow-Headers", &self.headers)];
                self.fields(origin).iter().for_each(|(name, value)| response.headers.set(name, value));
                lists
                    .iter()
                    .filter(|(_, list)| !list.is_empty())
                    .for_each(|(name, list)| response.headers.set(name, list));
                if let Some(max_age) = self.max_age {
                    response.headers.set("Access-Control-Max-Age", max_age.as_secs().to_string());
                }
                response
            }
        };
        // A cache on the way keeps no preflight, but one that does must not mix them up.
        response.with_header("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
    }
}

impl<A: Application> Application for Cors<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let origin = environ.header_bytes("origin");
        if let Some(origin) = origin.filter(|_| is_preflight(environ)) {
            return self.preflight(origin).start(start_response);
        }
        // Where all are allowed, it is said to whoever asks: a cache gives the answer to a page of another origin as well.
        let allowed = self.allowed(origin.unwrap_or_default());
        let mut fields = allowed.map_or_else(Vec::new, |origin| self.fields(origin));
        if !fields.is_empty() && !self.exposed.is_empty() {
            fields.push(("Access-Control-Expose-Headers", self.exposed.clone()));
        }
        let varies = self.origins.is_some();
        start_response.on_start(move |_, headers| {
            fields.iter().for_each(|(name, value)| headers.set(name, value));
            if varies {
                headers.add("Vary", "Origin");
            }
        });
        self.inner.call(environ, start_response)
    }
}

fn is_preflight(environ: &Environ) -> bool {
    environ.method() == "OPTIONS" && environ.header_bytes("access-control-request-method").is_some()
}

fn joined(names: &mut dyn Iterator<Item = &str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
