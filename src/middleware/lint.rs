//! `Lint`: tells who breaks which rule of the gateway, while the request goes on as if nobody looked.
//!
//! PEP 3333 and `wsgiref.validate`, whose checks have the ids V-01 to V-43 in the table at [`Lint`]. It changes nothing of what is
//! answered: status, fields, blocks, known lengths and errors pass as they are. It does not judge content, and it
//! does not see what never passes by it: between server and socket the server's own tests look.

use std::fmt;
use std::sync::Arc;

use crate::gateway::{Application, Body, Environ, StartResponse};

mod rules;
mod tap;
mod watch;

use watch::Watch;

/// An application under observation: every rule broken on either side of it becomes a [`Finding`].
///
/// It goes around any application at any door. What stands inside of a `Lint` counts as the application, what stands outside as the
/// server. To tell middleware from both, put one `Lint` inside of it and one outside: the outer one leaves a note for the inner
/// one in the environ, so nothing is reported twice, and what only one of them sees is the middleware's.
///
/// ```
/// use doorway::middleware::{Culprit, Finding, Level, Lint};
/// use doorway::testing::Request;
/// use doorway::{Application, Body, Environ, StartResponse};
/// use std::sync::{Arc, Mutex};
///
/// fn forgetful(_environ: &Environ, start_response: &mut StartResponse) -> Body {
///     start_response.start("200 OK", &[]);
///     Body::from("what is this?")
/// }
///
/// fn hasty<A: Application>(inner: A) -> impl Application {
///     move |environ: &Environ, start_response: &mut StartResponse| {
///         start_response.on_start(|_status, headers| headers.set("Content-Length", "3"));
///         inner.call(environ, start_response)
///     }
/// }
///
/// let findings = Arc::new(Mutex::new(Vec::new()));
/// let keep = {
///     let findings = Arc::clone(&findings);
///     move |finding: &Finding| findings.lock().unwrap().push((finding.rule, finding.culprit, finding.level))
/// };
/// let application = Lint::with(hasty(Lint::with(forgetful, keep.clone())), keep);
/// Request::get("/").call(&application);
/// assert_eq!(
///     *findings.lock().unwrap(),
///     [("V-32", Culprit::Application, Level::Warning), ("V-38", Culprit::Middleware, Level::Error)]
/// );
/// ```
///
/// # The checks
/// What Python finds out at run time, Rust mostly refuses to compile. What is left is checked, in the level of the last column.
///
/// | id | rule | here |
/// |---|---|---|
/// | V-01 | the application takes two arguments | kept by type: [`Application::call`] |
/// | V-02 | no keyword arguments | kept by type: there are none |
/// | V-03 | the environ is a real dictionary | kept by type: [`Environ`] |
/// | V-04 | CGI values are strings | kept by type: [`Environ::set`] takes bytes, other values are extensions |
/// | V-05 | the version is a tuple | kept by type: [`Environ::version`] |
/// | V-06 | the input can be read in every way | kept by type: [`Input`](crate::Input) is `Read + BufRead` |
/// | V-07 | the errors can be written in every way | kept by type: [`Errors`](crate::Errors) |
/// | V-08 | status, names and values are strings | kept by type: [`StartResponse::start`] |
/// | V-09 | the fields are a list of pairs | kept by type: [`StartResponse::start`] |
/// | V-10 | `exc_info` is a tuple or None | kept by type: [`StartResponse::restart`] takes an error |
/// | V-11 | the result is not None | kept by type: every application returns a [`Body`] |
/// | V-12 | the result is not a bare string | kept by type: text becomes one block |
/// | V-13 | blocks and what is written are bytes | kept by type: [`Block`](crate::Block) |
/// | V-14 | nobody closes input or errors | kept by type: there is no such method |
/// | V-15 | `write` is only called | kept by type: [`Writer`](crate::Writer) can do nothing else |
/// | V-16 | REQUEST_METHOD, SERVER_NAME, SERVER_PORT and SERVER_PROTOCOL are there and not empty | checked: error |
/// | V-17 | no HTTP_CONTENT_TYPE and no HTTP_CONTENT_LENGTH | checked: error |
/// | V-18 | QUERY_STRING is there | checked: warning |
/// | V-19 | the scheme is http or https | kept by type: [`Environ::set_https`] takes a `bool` |
/// | V-20 | the method is one of RFC 9110 or PATCH | checked: warning |
/// | V-21 | SCRIPT_NAME and PATH_INFO are empty or start with `/` | checked: error |
/// | V-22 | one of the two is not empty | checked: error |
/// | V-23 | SCRIPT_NAME is not `/` | checked: error |
/// | V-24 | CONTENT_LENGTH is a number, or empty | checked: error |
/// | V-25 | a body is not iterated after it was closed | kept by type: closing a [`Body`] consumes it |
/// | V-26 | a body is closed, and not just dropped | checked: error. Dropping closes, so this finds middleware that neither passes a body on nor drops it; it takes a `Lint` on both sides |
/// | V-27 | the status code is three digits, 200 to 599 | checked: error |
/// | V-28 | a space follows the code | checked: error, because the server answers 500 |
/// | V-29 | no field is called Status | checked: error |
/// | V-30 | a name is a token | checked: error; warning for one that does not start with a letter, ends in `-` or `_` or has other signs |
/// | V-31 | a value has no control character | checked: error; info for a tab, which RFC 9110 allows |
/// | V-32 | Content-Type where there is content, and not with 204 and 304 | checked: warning. Python asks for it without content too; RFC 9110 section 8.3 does not |
/// | V-33 | no block before `start` | checked: error |
/// | V-34 | `read` and `readline` have the right arguments | kept by type: `std::io::Read` and `BufRead` |
/// | V-35 | reads of the input give bytes | kept by type: `std::io::Read` and `BufRead` |
/// | V-36 | no hop-by-hop field | checked: error |
/// | V-37 | no content with 204, 205, 304 | checked: warning; info for blocks made for a HEAD, but not for a body that was all there, whose length the server says |
/// | V-38 | the body is as long as Content-Length says | checked: error, but not for HEAD and statuses without content |
/// | V-39 | no read past CONTENT_LENGTH | does not apply: such a read is right here, it gives 0 bytes ([`Environ::input_terminated`]) |
/// | V-40 | `start` is called before the body ends | checked: error |
/// | V-41 | middleware gives a block for every block | checked: error, for bodies that are made block by block; it takes a `Lint` on both sides |
/// | V-42 | Content-Type, Content-Length and Location stand once | checked: error |
/// | V-43 | content that was announced is read | checked: info, but not for an answer from 400 on, which may refuse it unread |
///
/// Four findings have the id of a requirement, because `validate` has no check of their kind: P-SR-02 (a control character in the
/// reason), P-SR-07 (a second `start`), P-SR-09 (`restart` came too late and its error was not returned) and P-HDR-06 (a
/// Content-Length that is no number).
pub struct Lint<A> {
    application: A,
    sink: Sink,
}

/// Where findings go.
#[derive(Clone)]
enum Sink {
    /// To the error stream of the request.
    Errors,
    /// To whoever asked for them.
    Function(Arc<dyn Fn(&Finding) + Send + Sync>),
}

impl<A: Application> Lint<A> {
    /// Writes each finding as a line to [`Environ::errors`], which at a server is its log.
    ///
    /// ```
    /// use doorway::middleware::Lint;
    /// use doorway::testing::Request;
    /// use doorway::{Environ, StartResponse};
    ///
    /// let application = Lint::new(|_: &Environ, start_response: &mut StartResponse| {
    ///     start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", "9")]);
    ///     "short"
    /// });
    /// assert_eq!(
    ///     Request::get("/a").call(&application).errors,
    ///     "lint: V-38 error of the application, GET /a, body: Content-Length promises 9 bytes, 5 came\n"
    /// );
    /// ```
    pub fn new(application: A) -> Lint<A> {
        Lint { application, sink: Sink::Errors }
    }

    /// Gives each finding to a function, in the thread that is at the request. A panic in it is swallowed: `Lint` changes nothing.
    ///
    /// ```
    /// use doorway::app;
    /// use doorway::middleware::{Finding, Level, Lint};
    ///
    /// let strict = Lint::with(app::demo, |finding: &Finding| {
    ///     if finding.level >= Level::Warning {
    ///         eprintln!("{finding}");
    ///     }
    /// });
    /// # doorway::testing::Request::get("/").call(&strict);
    /// ```
    pub fn with(application: A, sink: impl Fn(&Finding) + Send + Sync + 'static) -> Lint<A> {
        Lint { application, sink: Sink::Function(Arc::new(sink)) }
    }
}

impl<A: Application> Application for Lint<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let (watch, environ) = Watch::begin(environ, self.sink.clone());
        Watch::look_at_calls(&watch, start_response);
        let calling = watch.calling();
        let body = self.application.call(&environ, start_response);
        drop(calling);
        Watch::look_at_body(watch, body)
    }
}

/// One broken rule. `Display` is the line that [`Lint::new`] writes.
///
/// ```
/// use doorway::middleware::{Finding, Lint};
/// use doorway::testing::Request;
/// use doorway::{Environ, StartResponse};
///
/// let silent = |_: &Environ, _: &mut StartResponse| "no head";
/// let application = Lint::with(silent, |finding: &Finding| {
///     assert_eq!((finding.rule, &*finding.request), ("V-33", "GET /x"));
///     assert_eq!(finding.to_string(), "V-33 error of the application, GET /x, body: a block came and start was never called");
/// });
/// Request::get("/x").call(&application);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The id of the rule, as in the table at [`Lint`].
    pub rule: &'static str,
    /// Who broke it.
    pub culprit: Culprit,
    /// How bad that is.
    pub level: Level,
    /// Method and path of the request, with what is not ASCII escaped.
    pub request: String,
    /// At what it showed.
    pub place: Place,
    /// What was wrong, in a sentence.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { rule, culprit, level, request, place, text } = self;
        write!(f, "{rule} {level} of the {culprit}, {request}, {place}: {text}")
    }
}

/// Who broke a rule.
///
/// ```
/// assert_eq!(doorway::middleware::Culprit::Middleware.to_string(), "middleware");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Culprit {
    /// Whoever filled the environ, outside of every `Lint`.
    Server,
    /// What stands inside of the innermost `Lint`.
    Application,
    /// What stands between two of them.
    Middleware,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Culprit::Server => "server",
            Culprit::Application => "application",
            Culprit::Middleware => "middleware",
        })
    }
}

/// How bad a finding is; a later one is worse.
///
/// ```
/// use doorway::middleware::Level;
///
/// assert!(Level::Info < Level::Warning && Level::Warning < Level::Error);
/// assert_eq!(Level::Warning.to_string(), "warning");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing; it may be meant so.
    Info,
    /// Allowed, or mended by the server, and yet hardly meant so.
    Warning,
    /// Against the contract: another server, or this one, gives the client something else than was meant.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        })
    }
}

/// At what a rule was broken.
///
/// ```
/// assert_eq!(doorway::middleware::Place::Environ.to_string(), "environ");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The environ that came in.
    Environ,
    /// A call of `start` or `restart`.
    Start,
    /// A block that was written.
    Write,
    /// The body, or one of its blocks.
    Body,
    /// The end of the request, when the body was closed.
    Close,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Environ => "environ",
            Place::Start => "start",
            Place::Write => "write",
            Place::Body => "body",
            Place::Close => "close",
        })
    }
}
