//! `Pass`: an application behind this one, by one of the protocols of front servers.
//!
//! The other side of the doors: uwsgi, SCGI and FastCGI outward, for applications in other languages (uWSGI, PHP-FPM, Python workers).
//! The environ is sent as it is, so that the application sees the request that a Rust one would see. What is sent and what comes back
//! is the affair of `relay`, with the deadlines and causes of [`Proxy`](super::Proxy).
//!
//! | file | what it is for |
//! |---|---|
//! | `variables` | which variables are sent, and the packets of uwsgi and SCGI |
//! | `fastcgi` | records, and the connections that are kept |
//!
//! What it does not do: no balancing between several servers, no AUTHORIZER and no FILTER of FastCGI, no several requests on one connection
//! at a time; `X-Sendfile` and `X-Accel-Redirect` are fields like others, because whoever answers must not choose files of this server.

mod fastcgi;
pub(crate) mod variables;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::proxy::UpstreamError;
use super::relay::exchange::{Content, Exchange, Outgoing};
use super::relay::head::{CgiHead, Form};
use super::relay::link::{BLOCK, Kept, Link};
use super::relay::stream::Place;
use super::relay::{Deadlines, Failure, Fault, content};
use super::script::Scripts;
use crate::cause::Cause;
use crate::gateway::{Application, Body, Environ, StartResponse};
use fastcgi::{Asked, Records};

/// Passes requests on by uwsgi, SCGI or FastCGI, and the answers back.
///
/// An address is `host:port` or `unix:PATH`. All variables of the environ are sent, but those that are orders to somebody
/// (`HTTP_PROXY`, `UWSGI_*`) or no names of CGI. Content has a length at all three protocols: where the request has none (the chunked
/// coding), it is received first, up to [`gather`](Pass::gather), and beyond that refused with 411.
///
/// The answer has the head of CGI (`Status: 404 Not Found`) or, by uwsgi and SCGI, a status line. Its content streams: it goes to the client as
/// it comes, but what is up to 64 KiB ([`gather_answer`](Pass::gather_answer)) and there within 100 ms waits for a slow client without a thread.
///
/// | what happens | answer | cause in the log |
/// |---|---|---|
/// | nobody listens there | 502 | [`Cause::UpstreamUnreachable`] |
/// | the answer breaks the protocol, or could be read in two ways | 502 | [`Cause::UpstreamInvalid`] |
/// | the connection ends before the head of the answer | 502 | [`Cause::UpstreamTruncated`] |
/// | a deadline passes before the head of the answer | 504 | [`Cause::UpstreamDeadline`] |
/// | FastCGI: it says that it is overloaded | 503 | [`Cause::UpstreamBusy`] |
/// | one of these in the middle of the content | the response is cut | the same |
/// | a path that is no script below [`script_root`](Pass::script_root) | 404 | – |
///
/// By uwsgi and SCGI an answer without a length ends with its connection, so one that was cut short cannot be told from a whole one; FastCGI
/// says where it ends.
///
/// FastCGI keeps up to eight connections for later requests, for two seconds. A kept connection that turns out to be closed is replaced and the request made once more
/// where nothing has come back, its method is idempotent (RFC 9110 section 9.2.2) and it has no content. Any other request that goes out as the other side
/// closes behind its last answer is a 502, because nobody knows whether it was seen. STDERR goes to the error log line by line.
///
/// ```
/// use doorway::{Server, Door, app};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let behind = Server::bind("127.0.0.1:0")?.door(Door::Scgi).spawn(app::demo)?;
/// let pass = app::Pass::scgi(&behind.addr().to_string())?;
/// let response = doorway::testing::Request::get("/a?b=1").call(&pass);
/// assert!(response.text().contains("QUERY_STRING = \"b=1\"\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Pass {
    place: Place,
    protocol: Protocol,
    deadlines: Deadlines,
    gather: usize,
    gather_answer: usize,
    scripts: Option<Scripts>,
    /// Connections for later requests.
    kept: Arc<Kept>,
    keeps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Uwsgi,
    Scgi,
    FastCgi,
}

impl Pass {
    fn new(protocol: Protocol, address: &str) -> Result<Pass, UpstreamError> {
        Ok(Pass {
            place: Place::parse(address).ok_or(UpstreamError::Address)?,
            protocol,
            deadlines: Deadlines::default(),
            gather: 1024 * 1024,
            gather_answer: BLOCK,
            scripts: None,
            kept: Arc::default(),
            keeps: protocol == Protocol::FastCgi,
        })
    }

    /// By uwsgi, the protocol of uWSGI, to `host:port` or `unix:PATH`.
    ///
    /// # Errors
    /// When it is no such address.
    pub fn uwsgi(address: &str) -> Result<Pass, UpstreamError> {
        Pass::new(Protocol::Uwsgi, address)
    }

    /// By SCGI, to `host:port` or `unix:PATH`.
    ///
    /// # Errors
    /// When it is no such address.
    pub fn scgi(address: &str) -> Result<Pass, UpstreamError> {
        Pass::new(Protocol::Scgi, address)
    }

    /// By FastCGI, the protocol of PHP-FPM, to `host:port` or `unix:PATH`.
    ///
    /// # Errors
    /// When it is no such address.
    pub fn fastcgi(address: &str) -> Result<Pass, UpstreamError> {
        Pass::new(Protocol::FastCgi, address)
    }

    /// Requests are for the PHP files below this directory: the first name on the way down that is one is the script, and what follows is its
    /// `PATH_INFO` (`/index.php/rest`). It is named in `SCRIPT_FILENAME`, the directory in `DOCUMENT_ROOT`. `index.php` stands for its
    /// folder, which is moved to its slash. A path that leads to no `.php` file, through a hidden name or out of the directory is a 404 that
    /// the interpreter never sees.
    ///
    /// The interpreter must know the files by the same path.
    ///
    /// # Errors
    /// When the directory is not there.
    pub fn script_root(mut self, directory: impl AsRef<Path>) -> io::Result<Pass> {
        let is_php = |file: &Path| file.extension().is_some_and(|extension| extension == "php");
        self.scripts = Some(Scripts::new(directory.as_ref(), Some("index.php"), is_php)?);
        Ok(self)
    }

    /// How many bytes of content without a length are received before the request is passed on; the default is 1 MiB. More is a
    /// 411. [`Buffered`](crate::middleware::Buffered) around it takes any amount.
    pub fn gather(mut self, bytes: usize) -> Pass {
        self.gather = bytes;
        self
    }

    /// How many bytes of an answer wait for a slow client in memory, so that whoever answers is free for the next request; the default is 64 KiB.
    /// Where the answer is longer, in the chunked coding, or not whole within 100 ms of its head, it streams.
    pub fn gather_answer(mut self, bytes: usize) -> Pass {
        self.gather_answer = bytes;
        self
    }

    /// By SCGI and uwsgi, too: one connection for several requests, one after the other. Both protocols end a connection with its answer, so this is for
    /// a server of which one knows better, and up to eight connections wait for their next request, for two seconds. Nothing is sent twice: a request on one that
    /// the other side closes meanwhile is a 502, as is one that kills whoever gets it. One is kept behind an answer with a status line
    /// of HTTP/1.1 that has a length or the chunked coding and does not say `Connection: close`.
    pub fn kept(mut self) -> Pass {
        self.keeps = true;
        self
    }

    /// How long all addresses of the name together may take to accept a connection; the default is 5 seconds. While the queue of a Unix socket's
    /// owner is full, the system keeps one thread there, without a deadline; every other request has its 504, at once when that has lasted as long.
    pub fn connect_deadline(mut self, limit: Duration) -> Pass {
        self.deadlines.connect = limit;
        self
    }

    /// How long the head of the answer may take once the request is sent; the default is 60 seconds.
    pub fn first_byte_deadline(mut self, limit: Duration) -> Pass {
        self.deadlines.first_byte = limit;
        self
    }

    /// How long it may take no content and send none; the default is 60 seconds.
    pub fn progress_deadline(mut self, limit: Duration) -> Pass {
        self.deadlines.progress = limit;
        self
    }

    /// As a call, but where no connection can be made nothing is answered: nothing of the request has been sent, and another server may be
    /// asked.
    ///
    /// # Errors
    /// Why there is no connection: `ConnectionRefused` or `NotFound` where nobody listens.
    ///
    /// ```
    /// use doorway::{StartResponse, app::Pass, testing::Request};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let servers = [Pass::scgi("127.0.0.1:1")?, Pass::scgi("127.0.0.1:2")?];
    /// let first_that_is_up = move |environ: &doorway::Environ, start_response: &mut StartResponse| {
    ///     match servers.iter().find_map(|server| server.try_call(environ, start_response).ok()) {
    ///         Some(body) => body,
    ///         None => {
    ///             start_response.start("503 Service Unavailable", &[]);
    ///             doorway::Body::empty()
    ///         }
    ///     }
    /// };
    /// assert_eq!(Request::get("/").call(&first_that_is_up).status.code(), 503);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_call(&self, environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
        match self.pass(environ, start_response) {
            Ok(body) => Ok(body),
            Err(Failure::Upstream(fault)) if fault.cause == Cause::UpstreamUnreachable => {
                Err(io::Error::new(fault.kind, fault))
            }
            Err(failure) => Ok(failure.answer(&self, start_response)),
        }
    }

    fn pass(&self, environ: &Environ, start_response: &mut StartResponse) -> Result<Body, Failure> {
        let mut environ = environ.clone();
        if let Some(scripts) = &self.scripts {
            let script = scripts.find(&environ).or_answer(start_response, "there is no such script")?;
            script.describe(scripts.root(), &mut environ);
        }
        let length = content::measure(&mut environ, self.gather)?;
        let is_head = environ.method() == "HEAD";
        match self.protocol {
            Protocol::Uwsgi | Protocol::Scgi => {
                let packet = match self.protocol {
                    Protocol::Uwsgi => variables::uwsgi(&environ, length)?,
                    _ => variables::scgi(&environ, length)?,
                };
                let link = self.kept.take().map_or_else(|| self.connect(), Ok)?;
                let exchange = self.exchange(link, CgiHead::new(is_head, Form::CgiOrHttp));
                exchange.run(&Outgoing { head: packet, content: Content::Length(length) }, &environ, start_response)
            }
            Protocol::FastCgi => self.pass_records(&environ, length, start_response),
        }
    }

    fn connect(&self) -> Result<Link, Fault> {
        Link::new(self.place.connect(self.deadlines.connect)?)
    }

    fn exchange(&self, link: Link, head: CgiHead) -> Exchange<'static> {
        let kept = self.keeps.then_some(&self.kept);
        Exchange::new(link, self.deadlines, head).kept_in(kept).gathering(self.gather_answer)
    }

    fn pass_records(
        &self,
        environ: &Environ,
        length: u64,
        start_response: &mut StartResponse,
    ) -> Result<Body, Failure> {
        let digits = length.to_string();
        let content: Option<(&[u8], &[u8])> = (length > 0).then_some((b"CONTENT_LENGTH", digits.as_bytes()));
        let may_repeat = length == 0 && is_idempotent(environ.method());
        let (asked, kept) = Asked::new(&self.kept);
        let mut ask = |mut link: Link| {
            // An id of 0 is that of no request.
            link.number = link.number.wrapping_add(1).max(1);
            let id = link.number;
            let mut head = fastcgi::begin(id, variables::of(environ).chain(content));
            let content = match length {
                0 => {
                    fastcgi::stdin(id, b"", &mut head);
                    Content::Length(0)
                }
                length => Content::Packets(length, id, fastcgi::stdin),
            };
            let outgoing = Outgoing { head, content };
            let name = format!("fastcgi {}", self.place);
            let records = Records::new(Arc::clone(&asked), id, environ.errors().clone(), name);
            let head = CgiHead::new(environ.method() == "HEAD", Form::Cgi);
            self.exchange(link, head).in_envelope(records).run(&outgoing, environ, start_response)
        };
        if let Some(kept) = kept {
            match ask(kept) {
                // It was closed while it was idle; nobody has seen the request.
                Err(Failure::Upstream(fault))
                    if may_repeat && fault.cause == Cause::UpstreamTruncated && !asked.is_heard() => {}
                answered => return answered,
            }
        }
        ask(self.connect()?)
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

impl Application for Pass {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        self.pass(environ, start_response).unwrap_or_else(|failure| failure.answer(&self, start_response))
    }
}

/// The protocol and the address: `fastcgi unix:/run/php.sock`.
impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Uwsgi => "uwsgi",
            Protocol::Scgi => "scgi",
            Protocol::FastCgi => "fastcgi",
        };
        write!(f, "{protocol} {}", self.place)
    }
}
