//! `Proxy`: the application of another server, passed on under this one.
//!
//! RFC 9110 section 7.6, RFC 9112. A gateway (a reverse proxy) for local work and small installations: one upstream, by plain
//! HTTP/1.1. Content streams both ways in bounded memory, also while both ways are busy at once: how is the affair of
//! `relay`, which reads the answers too.
//!
//! | file | what it is for |
//! |---|---|
//! | `upstream` | where requests go, and how a target of this server becomes one of the upstream |
//! | `request` | the head that is sent |
//!
//! Smuggling. Each request has a connection of its own, with `Connection: close`: whatever two parsers may disagree about, there
//! is no next request to be mistaken. A request is built anew and carries one length, made here: the number of CONTENT_LENGTH, or
//! the chunked coding. A response that could be read in two ways is answered 502.
//!
//! A WebSocket is passed on: where the upstream answers the handshake with 101, bytes pass both ways as they are. No other upgrade is, unless the
//! deployer names it: behind one to HTTP/2 (`h2c`) a client could ask the upstream for what this server would refuse.
//!
//! What it does not do: no TLS, no cache, no balancing, no retry (a
//! request that failed may have had an effect), no trailers. A field that a client names in Connection is passed on unless it is one
//! of the fixed list, because the environ does not show that field: a client can so not have Authorization or a proxy's field dropped.

mod request;
mod upstream;

use std::time::Duration;

pub use upstream::UpstreamError;

use super::relay::exchange::Exchange;
use super::relay::head::HttpHead;
use super::relay::link::Link;
use super::relay::{Deadlines, Failure};
use crate::gateway::{Application, Body, Environ, StartResponse};
use crate::web::token::unforeseen;
use upstream::Upstream;

/// Passes requests on to another server, and its responses back.
///
/// | upstream | mounted at | path asked for | path of the upstream |
/// |---|---|---|---|
/// | `http://127.0.0.1:3000` | `/api` | `/api/users?a=1` | `/api/users?a=1` |
/// | `http://127.0.0.1:3000/` | `/api` | `/api/users?a=1` | `/users?a=1` |
/// | `http://127.0.0.1:3000/v2` | `/api` | `/api/users?a=1` | `/v2/users?a=1` |
///
/// So an upstream without a path gets paths as they are, and a path takes the place of the prefix. A path with a `..` segment, which could
/// leave the place it is mounted for, is answered 400.
///
/// Of the request, the upstream gets method, target, content and fields, but: `Host` is its own (see
/// [`keep_host`](Proxy::keep_host)); hop-by-hop fields and `Expect` end here; `Forwarded`, `X-Forwarded-*` and `X-Real-IP` of the client
/// are dropped, since anybody can write them, and `X-Forwarded-For`, `-Host`, `-Proto` (and `-Prefix`, where a path took its place) say
/// what this server knows (a [`TrustProxy`](crate::middleware) around it decides whom that believes); `Via` is added. A redirect to the
/// upstream's own address is rewritten to one of this server; cookies are not.
///
/// | what happens | answer | cause in the log |
/// |---|---|---|
/// | nobody listens there, or the name is unknown | 502 | [`Cause::UpstreamUnreachable`](crate::Cause::UpstreamUnreachable) |
/// | the answer is not HTTP/1.1, or could be read in two ways | 502 | [`Cause::UpstreamInvalid`](crate::Cause::UpstreamInvalid) |
/// | the connection ends before the answer, or before any of its content was passed on | 502 | [`Cause::UpstreamTruncated`](crate::Cause::UpstreamTruncated) |
/// | a deadline passes before that | 504 | [`Cause::UpstreamDeadline`](crate::Cause::UpstreamDeadline) |
/// | any of these once content was passed on | the response is cut | the same |
/// | a WebSocket where the client's connection cannot be had: HTTP/1.0, a gateway door | 501 | [`Cause::UpgradeRefused`](crate::Cause::UpgradeRefused) |
/// | the request has been through here before | 508 | [`Cause::ProxyLoop`](crate::Cause::ProxyLoop) |
///
/// A WebSocket is passed on, with the handshake as the two make it, and so is each protocol that [`upgrade_to`](Proxy::upgrade_to) names. Such a
/// connection holds no thread of the pool but two of its own, counts among [`Settings::upgrades`](crate::Settings::upgrades), and ends when
/// nothing was said for an hour ([`tunnel_deadline`](Proxy::tunnel_deadline)).
///
/// A request that is passed on holds a thread of the pool until the upstream has answered. Content that has a length of up to 64 KiB is waited for, 100 ms at
/// most: when all of it has come by then, a slow client that takes it holds no thread, and if it breaks off, that is a 502. All other content
/// goes to the client as it comes, and holds a thread until it has. A server-sent event stream holds one for as long as it lasts, and its head reaches the client with its first event, since
/// a head goes out with the first block.
///
/// ```
/// use doorway::{Server, app, middleware::Mount};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let upstream = Server::bind("127.0.0.1:0")?.spawn(app::demo)?;
/// let proxy = app::Proxy::to(&format!("http://{}", upstream.addr()))?;
/// let site = Mount::new().at("/api", proxy);
/// let response = doorway::testing::Request::get("/api/users?a=1").call(&site);
/// assert!(response.text().contains("REQUEST_URI = \"/api/users?a=1\"\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Proxy {
    upstream: Upstream,
    keep_host: bool,
    deadlines: Deadlines,
    upgrades: Vec<String>,
    /// The name in Via. Of this proxy alone, so that a request which comes by again is known.
    pseudonym: String,
}

impl Proxy {
    /// A proxy to `http://host[:port][/path]`. The name is looked up for each request; of several addresses each is tried.
    ///
    /// # Errors
    /// When it is no such URL, and says why.
    pub fn to(url: &str) -> Result<Proxy, UpstreamError> {
        Ok(Proxy {
            upstream: Upstream::parse(url)?,
            keep_host: false,
            deadlines: Deadlines::default(),
            upgrades: vec!["websocket".to_owned()],
            pseudonym: format!("doorway-{:016x}", unforeseen()),
        })
    }

    /// Sends the client's own Host on, for an upstream that tells sites apart by it.
    pub fn keep_host(mut self) -> Proxy {
        self.keep_host = true;
        self
    }

    /// How long all addresses of the upstream together may take to accept a connection, each an equal part of what is left; the default is
    /// 5 seconds. The lookup of the name is the system's, with the deadlines of the system (`/etc/resolv.conf`), and does not count.
    pub fn connect_deadline(mut self, limit: Duration) -> Proxy {
        self.deadlines.connect = limit;
        self
    }

    /// How long the head of the answer may take once the request is sent; the default is 60 seconds.
    pub fn first_byte_deadline(mut self, limit: Duration) -> Proxy {
        self.deadlines.first_byte = limit;
        self
    }

    /// How long the upstream may take no content and send none; the default is 60 seconds.
    pub fn progress_deadline(mut self, limit: Duration) -> Proxy {
        self.deadlines.progress = limit;
        self
    }

    /// How long a connection that has switched to another protocol may be without a byte in either direction; the default is an hour.
    pub fn tunnel_deadline(mut self, limit: Duration) -> Proxy {
        self.deadlines.tunnel = limit;
        self
    }

    /// Passes upgrades to this protocol on as well. What is said in it, nothing here looks at: no rule of this server holds for it.
    pub fn upgrade_to(mut self, protocol: &str) -> Proxy {
        self.upgrades.push(protocol.to_owned());
        self
    }

    fn pass(&self, environ: &Environ, start_response: &mut StartResponse) -> Result<Body, Failure> {
        let target =
            self.upstream.target(environ).ok_or(Failure::Refused("400 Bad Request", "a path with a .. segment"))?;
        let upgrade = self.upgrades.iter().map(String::as_str).find(|protocol| environ.offers_upgrade(protocol));
        let outgoing = request::build(self, environ, &target, upgrade)?;
        let stream = self.upstream.place().connect(self.deadlines.connect)?;
        let rewrite = |location: &[u8]| self.upstream.rewrite_location(location, environ.script_name());
        let head = HttpHead::new(environ.method() == "HEAD", rewrite).or_upgrade(upgrade);
        Exchange::new(Link::new(stream)?, self.deadlines, head).run(&outgoing, environ, start_response)
    }
}

impl Application for Proxy {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        self.pass(environ, start_response).unwrap_or_else(|failure| failure.answer(&self.upstream, start_response))
    }
}
