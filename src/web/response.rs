//! A response as one value, for those who would rather return it than start it.
//!
//! PEP 444 had this shape. It stands on top of the contract and adds nothing to it: [`Response::start`] is an ordinary call of
//! `start_response`, with all its rules.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use super::SetCookie;
use crate::gateway::{Application, Body, Environ, Headers, StartResponse};

/// Status, fields and body.
///
/// ```
/// use doorway::{Environ, Response, SetCookie, escape_html, simple};
///
/// fn page(environ: &Environ) -> Response {
///     match environ.query_value("name") {
///         Some(name) => Response::html(format!("<p>Hello, {}!", escape_html(&name)))
///             .with_cookie(&SetCookie::new("greeted", "yes").http_only()),
///         None => Response::redirect("/?name=web"),
///     }
/// }
///
/// let application = simple(page);
/// # let response = doorway::testing::Request::get("/?name=%3CAda%3E").call(&application);
/// # assert_eq!(response.text(), "<p>Hello, &lt;Ada&gt;!");
/// # assert_eq!(response.headers.get("set-cookie").as_deref(), Some("greeted=yes; HttpOnly"));
/// # let response = doorway::testing::Request::get("/").call(&application);
/// # assert_eq!((response.status.code(), response.headers.get("location").as_deref()), (303, Some("/?name=web")));
/// ```
#[must_use = "a response is sent when it is returned or started"]
pub struct Response {
    /// Code and reason, such as `200 OK`.
    pub status: Cow<'static, str>,
    /// The fields, without those that the server adds.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

impl Response {
    /// A response without fields.
    ///
    /// ```
    /// use doorway::{Body, Response};
    ///
    /// let blocks = Body::blocks((1..=3).map(|n| format!("{n}\n")));
    /// let response = Response::new("200 OK", blocks).with_header("Content-Type", "text/plain");
    /// assert_eq!((response.headers.len(), response.body.known_len()), (1, None));
    /// ```
    pub fn new(status: impl Into<Cow<'static, str>>, body: impl Into<Body>) -> Response {
        Response { status: status.into(), headers: Headers::new(), body: body.into() }
    }

    /// 200 with plain text in UTF-8.
    pub fn text(text: impl Into<Body>) -> Response {
        Response::new("200 OK", text).with_header("Content-Type", "text/plain; charset=utf-8")
    }

    /// 200 with HTML in UTF-8. What comes from outside goes through [`escape_html`](crate::escape_html) first.
    pub fn html(html: impl Into<Body>) -> Response {
        Response::new("200 OK", html).with_header("Content-Type", "text/html; charset=utf-8")
    }

    /// 200 with JSON that is written already.
    pub fn json(json: impl Into<Body>) -> Response {
        Response::new("200 OK", json).with_header("Content-Type", "application/json")
    }

    /// 200 with events ([`Event`](crate::Event)), which no cache keeps and nginx does not gather.
    pub fn events(events: impl Into<Body>) -> Response {
        Response::new("200 OK", events)
            .with_header("Content-Type", "text/event-stream")
            .with_header("Cache-Control", "no-store")
            .with_header("X-Accel-Buffering", "no")
    }

    /// 303: the client gets `location` next, by GET. [`with_status`](Response::with_status) makes another redirect of it.
    pub fn redirect(location: impl AsRef<[u8]>) -> Response {
        Response::new("303 See Other", ()).with_header("Location", location)
    }

    /// Sets the status.
    ///
    /// ```
    /// use doorway::Response;
    ///
    /// let missing = Response::text("no such page\n").with_status("404 Not Found");
    /// assert_eq!(missing.status, "404 Not Found");
    /// ```
    pub fn with_status(mut self, status: impl Into<Cow<'static, str>>) -> Response {
        self.status = status.into();
        self
    }

    /// Sets a field in place of those of its name.
    pub fn with_header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Response {
        self.headers.set(name, value);
        self
    }

    /// Adds a cookie. One that [`SetCookie::build`] refuses turns the response into a 500, with the error in the log.
    pub fn with_cookie(mut self, cookie: &SetCookie) -> Response {
        match cookie.build() {
            Ok(value) => self.headers.add("Set-Cookie", value),
            Err(error) => self.body = Body::from(Err::<Body, _>(error)),
        }
        self
    }

    /// Starts the response and gives the body, for an application that is called with `start_response`.
    ///
    /// ```
    /// use doorway::{Body, Environ, Response, StartResponse};
    ///
    /// fn application(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    ///     Response::text("Hello, web!").start(start_response)
    /// }
    /// # assert_eq!(doorway::testing::Request::get("/").call(&application).text(), "Hello, web!");
    /// ```
    pub fn start(self, start_response: &mut StartResponse) -> Body {
        start_response.start_with(&self.status, &self.headers);
        self.body
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.body.known_len();
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("length", &length)
            .finish()
    }
}

/// With this, `?` works in a [`simple`] application: the error is logged and answered 500, or what the failure of the
/// request's content asks for.
impl<E: Into<Box<dyn Error + Send + Sync>>> From<Result<Response, E>> for Response {
    fn from(result: Result<Response, E>) -> Response {
        result.unwrap_or_else(|error| Response::new("500 Internal Server Error", Body::from(Err::<Body, E>(error))))
    }
}

/// Makes an [`Application`] of a function that returns a [`Response`], or a `Result` of one with any error.
///
/// ```
/// use doorway::{Environ, Response, Server, simple};
///
/// fn number(environ: &Environ) -> Result<Response, std::num::ParseIntError> {
///     let number: u64 = environ.query_string().parse()?;
///     Ok(Response::json(format!("{{\"next\":{}}}", number.wrapping_add(1))))
/// }
///
/// let application = simple(number);
/// # assert_eq!(doorway::testing::Request::get("/?41").call(&application).text(), "{\"next\":42}");
/// # assert_eq!(doorway::testing::Request::get("/?x").call(&application).status.code(), 500);
/// ```
pub fn simple<R: Into<Response>>(call: impl Fn(&Environ) -> R + Send + Sync + 'static) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| call(environ).into().start(start_response)
}

#[cfg(test)]
mod tests {
    use super::Response;

    #[test]
    fn a_response_shows_its_status_its_fields_and_the_length_of_its_body_but_not_the_body() {
        let shown = format!("{:?}", Response::text("secret").with_status("404 Not Found"));
        for part in ["404", "text/plain", "length: Some(6)"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains("secret"), "{shown}");
    }
}
