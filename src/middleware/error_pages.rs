//! `ErrorPages`: the deployer's pages in place of the bodies that an application gives its errors.
//!
//! PEP 3333, "Error Handling"; docs/rules.md P-MW-06 and P-MW-07. The decision is made anew for every head that is stored, so that
//! a `restart` counts as it does without this middleware, and its error still reaches the log. What was sent stays sent: a page can
//! only take the place of a response that has not begun.
//!
//! The server itself answers what never reaches an application, a panic, a wrong `start`, and an `Err` that has a cause of its own or may come
//! from the content of the request (it knows whether that means 400, 408 or 413).

use std::error::Error;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cause::Cause;
use crate::gateway::{Application, Block, Body, Environ, Headers, StartResponse, Status};

/// Fields that describe the body which is replaced. Content-Range stays: with 416 it speaks of the resource (RFC 9110 section 15.5.17).
const OF_THE_BODY: [&str; 10] = [
    "Content-Length",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Content-Disposition",
    "Content-Digest",
    "Repr-Digest",
    "ETag",
    "Last-Modified",
    "Accept-Ranges",
];

/// Replaces the body of a response by a page, chosen by its status. The status and the fields that are not about the body stay.
///
/// An application that returns `Err` gets the page of 500, and the error goes to the log as ever.
///
/// ```
/// use doorway::{Body, Environ, StartResponse, middleware::ErrorPages, testing::Request};
///
/// fn shop(_environ: &Environ, start_response: &mut StartResponse) -> Body {
///     start_response.start("404 Not Found", &[("Content-Type", "text/plain"), ("Cache-Control", "no-store")]);
///     Body::from("no row in table articles")
/// }
///
/// let application = ErrorPages::new(shop)
///     .page(404..=404, "text/html", |environ, _status| {
///         format!("<h1>Nothing here</h1><a href='{}/'>Home</a>", String::from_utf8_lossy(environ.script_name()))
///     })
///     .page(400..=599, "text/html", |_environ, status| format!("<h1>{}</h1>", status.reason()));
///
/// let response = Request::get("/7").call(&application);
/// assert_eq!((response.status.code(), &*response.text()), (404, "<h1>Nothing here</h1><a href='/'>Home</a>"));
/// assert_eq!(response.headers.get("Content-Type").as_deref(), Some("text/html"));
/// assert_eq!(response.headers.get("Cache-Control").as_deref(), Some("no-store"));
/// ```
pub struct ErrorPages<A> {
    inner: A,
    pages: Vec<Arc<Page>>,
}

struct Page {
    statuses: RangeInclusive<u16>,
    content_type: String,
    make: Make,
}

type Make = Box<dyn Fn(&Environ, &Status) -> String + Send + Sync>;

/// What one response has come to. The page that takes the place of the body stands here with the status it is for; `None` as long
/// as the response is no error.
struct Choice {
    pages: Vec<Arc<Page>>,
    chosen: Mutex<Option<(Arc<Page>, Status)>>,
}

impl<A: Application> ErrorPages<A> {
    /// Puts itself around an application, without a page yet.
    pub fn new(inner: A) -> ErrorPages<A> {
        ErrorPages { inner, pages: Vec::new() }
    }

    /// A page for the errors (400 to 599) of a range. It is made from the request it is for; of several that fit, the first counts.
    pub fn page(
        mut self,
        statuses: RangeInclusive<u16>,
        content_type: &str,
        make: impl Fn(&Environ, &Status) -> String + Send + Sync + 'static,
    ) -> ErrorPages<A> {
        self.pages.push(Arc::new(Page { statuses, content_type: content_type.to_owned(), make: Box::new(make) }));
        self
    }
}

impl<A: Application> Application for ErrorPages<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let choice = Arc::new(Choice { pages: self.pages.clone(), chosen: Mutex::default() });
        let of_start = Arc::clone(&choice);
        start_response.on_start(move |status, headers| of_start.choose(status, headers));
        // What is written to a response that a page replaces is swallowed.
        let of_write = Arc::clone(&choice);
        start_response.on_write(move |block| Ok(if of_write.chosen().is_some() { Block::default() } else { block }));

        let body = self.inner.call(environ, start_response);
        if body.known_len().is_some() {
            return choice.replaced(body, environ, start_response);
        }
        // It may start as late as when it is asked for its first block (P-SR-10).
        let environ = environ.clone();
        Body::deferred(move |start_response| {
            let body = body.resolve(start_response);
            choice.replaced(body, &environ, start_response)
        })
    }
}

impl Choice {
    /// Chooses the page for a head that was stored, and makes the head fit it.
    fn choose(&self, status: &Status, headers: &mut Headers) {
        let page = self.page_of(status.code());
        if let Some(page) = page {
            OF_THE_BODY.iter().for_each(|name| headers.remove(name));
            headers.set("Content-Type", &page.content_type);
        }
        *self.chosen() = page.map(|page| (Arc::clone(page), status.clone()));
    }

    fn page_of(&self, code: u16) -> Option<&Arc<Page>> {
        self.pages.iter().find(|page| code >= 400 && page.statuses.contains(&code))
    }

    fn chosen(&self) -> MutexGuard<'_, Option<(Arc<Page>, Status)>> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body with the page that was chosen in the place of its blocks, or as it is. What is to run when it is closed stays with it.
    fn replaced(&self, body: Body, environ: &Environ, start_response: &mut StartResponse) -> Body {
        if start_response.is_sent() {
            return body;
        }
        let error = body.failure().filter(|error| self.page_of(500).is_some() && !may_be_of_content(*error));
        if let Some(error) = error.map(ToString::to_string) {
            // Chooses the page by the hook, and leads the error to the log.
            if start_response.restart("500 Internal Server Error", &[], error).is_err() {
                return body;
            }
        }
        let chosen = self.chosen().take();
        if let Some((page, status)) = chosen {
            let page = std::mem::take(Body::from((page.make)(environ, &status)).kind());
            return body.with_kind(page);
        }
        body
    }
}

/// Whether an error has a cause, or may have come from reading the content of the request (see [`Input`](crate::Input)).
fn may_be_of_content(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    if Cause::of(error).is_some() {
        return true;
    }
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{FileTooLarge, InvalidData, TimedOut, UnexpectedEof};
            return matches!(error.kind(), FileTooLarge | InvalidData | TimedOut | UnexpectedEof);
        }
        next = error.source();
    }
    false
}
