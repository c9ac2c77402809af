//! `ConditionalGet`: who has a response already is told so, and not sent it again.
//!
//! RFC 9110 sections 8.8 and 13.2.2 (the first four steps; ranges are the application's). It works on responses of 200 to GET and HEAD. What the
//! application says of itself, by ETag or Last-Modified, is used as it stands. A response without an ETag whose body is all there gets one
//! made of its content. What streams is passed on as it comes, without a tag.
//!
//! If-Match on a PUT or DELETE guards against lost updates, and only the application knows what it is about to overwrite: such requests go
//! through untouched. The tag is made by SipHash without a secret: it tells versions apart and does not stand against somebody who
//! writes two contents with one tag on purpose.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::gateway::{Application, Body, Environ, Kind, StartResponse};
use crate::web::Response;
use crate::web::date::parse_http_date;
use crate::web::entity_tags::{matches_any, strongly, weakly};

/// Fields that describe a content which is not sent with 304. What is about the response stays (RFC 9110 section 15.4.5).
const OF_THE_CONTENT: [&str; 6] =
    ["Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Range"];

/// Gives whole responses an `ETag` of their content, and answers 304 or 412 where the request's conditions ask for it.
///
/// The application is still called: what is saved is the way to the client. A body that it writes through [`Writer`](crate::Writer) is kept in
/// memory first (see [`Response::of`]).
///
/// ```
/// use doorway::{Environ, Response, middleware::ConditionalGet, simple, testing::Request};
///
/// let application = ConditionalGet::new(simple(|_: &Environ| Response::json("{\"version\":7}")));
/// let first = Request::get("/").call(&application);
/// let tag = first.headers.get("ETag").unwrap().into_owned();
///
/// let again = Request::get("/").header("If-None-Match", &tag).call(&application);
/// assert_eq!((first.status.code(), again.status.code(), &*again.text()), (200, 304, ""));
/// ```
pub struct ConditionalGet<A> {
    inner: A,
    limit: usize,
}

impl<A: Application> ConditionalGet<A> {
    /// Puts itself around an application. Bodies of up to 1 MiB get a tag.
    pub fn new(inner: A) -> ConditionalGet<A> {
        ConditionalGet { inner, limit: 1024 * 1024 }
    }

    /// How long a body may be, in bytes, to get a tag. A longer one goes out as it is.
    pub fn limit(mut self, bytes: usize) -> ConditionalGet<A> {
        self.limit = bytes;
        self
    }
}

impl<A: Application> Application for ConditionalGet<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        if !matches!(environ.method(), "GET" | "HEAD") {
            return self.inner.call(environ, start_response);
        }
        let mut response = Response::of(&self.inner, environ);
        if response.status.starts_with("200") {
            self.tag(environ, &mut response);
            response = conditional(environ, response);
        }
        response.start(start_response)
    }
}

impl<A: Application> ConditionalGet<A> {
    fn tag(&self, environ: &Environ, response: &mut Response) {
        let is_stored =
            !response.headers.get_all("Cache-Control").any(|value| value.to_ascii_lowercase().contains("no-store"));
        // A body that is not all there may take its time. An application may leave out what a HEAD is not sent anyway.
        let is_whole = match response.body.known_len() {
            Some(0) => environ.method() == "GET",
            known => known.is_some(),
        };
        if response.headers.contains("ETag") || !is_stored || !is_whole {
            return;
        }
        if let Some(tag) = response.content(self.limit).map(tag_of) {
            response.headers.set("ETag", tag);
        }
    }
}

/// 128 bits of the content, and its length.
fn tag_of(content: &[u8]) -> String {
    let [high, low] = [0_u8, 1].map(|half| {
        let mut hasher = DefaultHasher::new();
        (half, content).hash(&mut hasher);
        hasher.finish()
    });
    format!("\"{high:016x}{low:016x}-{:x}\"", content.len())
}

/// The response, or what the conditions of the request make of it, in the order of section 13.2.2.
fn conditional(environ: &Environ, response: Response) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let tag = response.headers.get("ETag");
    let modified = response.headers.get_bytes("Last-Modified").and_then(|value| parse_http_date(value, now));
    let date = |name| environ.header_bytes(name).and_then(|value| parse_http_date(value, now)).zip(modified);
    // `*` is met by any representation, and there is one.
    let has = |tags, same| matches_any(tags, tag.as_deref().unwrap_or_default(), same);

    let is_failed = match environ.header_bytes("if-match") {
        Some(tags) => !has(tags, strongly),
        None => date("if-unmodified-since").is_some_and(|(since, modified)| modified > since),
    };
    let is_known = match environ.header_bytes("if-none-match") {
        Some(tags) => has(tags, weakly),
        None => date("if-modified-since").is_some_and(|(since, modified)| modified <= since),
    };
    drop(tag);
    if is_failed {
        let body = response.body.with_kind(Kind::Bytes(b"Precondition Failed\n".into()));
        return Response::text(body).with_status("412 Precondition Failed");
    }
    if is_known {
        let mut headers = response.headers;
        OF_THE_CONTENT.iter().for_each(|name| headers.remove(name));
        return Response { status: "304 Not Modified".into(), headers, body: response.body.with_kind(Kind::Empty) };
    }
    response
}
