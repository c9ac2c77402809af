//! Calls an application without a socket: build a request, read the response.
//!
//! The application sees an ordinary environ and start_response, and the rules of the gateway hold: a wrong call shows as the
//! error that a server would log. Nothing is caught here: a panic of the application is a panic of the test.

use std::io::{self, Cursor};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cause::Cause;
use crate::gateway::{
    Application, Environ, ErrorStream, Errors, Gateway, Headers, Kind, StartResponse, Status, Transmit, Upgrade,
    Upgraded, percent_decode, variable_byte,
};

/// A request to call an application with.
///
/// ```
/// use doorway::{Body, Environ, StartResponse};
/// use doorway::testing::Request;
///
/// fn greet(environ: &Environ, start_response: &mut StartResponse) -> Body {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     Body::from(format!("Hello, {}!", environ.query_string()))
/// }
///
/// let response = Request::get("/greet?Ada").header("Accept", "text/plain").call(&greet);
/// assert_eq!(response.status.code(), 200);
/// assert_eq!(response.headers.get("content-type").as_deref(), Some("text/plain"));
/// assert_eq!(response.text(), "Hello, Ada!");
/// assert!(response.error.is_none());
/// ```
#[must_use = "a request does nothing before it is called"]
pub struct Request {
    environ: Environ,
}

impl Request {
    /// A GET without content. The target is a path, with a query behind `?` where there is one.
    pub fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    /// A POST with content and its length.
    pub fn post(target: &str, content: impl AsRef<[u8]>) -> Request {
        Request::new("POST", target).content(content)
    }

    /// A request by any method, as it arrives at a server on localhost:8000 by HTTP/1.1.
    pub fn new(method: &str, target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut path_info = Vec::new();
        percent_decode(path.as_bytes(), &mut path_info);
        let mut environ = Environ::new(Gateway { door: "test", ..Gateway::default() });
        environ.set("REQUEST_METHOD", method);
        environ.set("SCRIPT_NAME", "");
        environ.set("PATH_INFO", path_info);
        environ.set("QUERY_STRING", query);
        environ.set("REQUEST_URI", target);
        environ.set("SERVER_NAME", "localhost");
        environ.set("SERVER_PORT", "8000");
        environ.set("SERVER_PROTOCOL", "HTTP/1.1");
        environ.set("SERVER_SOFTWARE", "doorway");
        environ.set("GATEWAY_INTERFACE", "CGI/1.1");
        environ.set("REMOTE_ADDR", "127.0.0.1");
        environ.set("HTTP_HOST", "localhost:8000");
        Request { environ }
    }

    /// Sets a field of the request by its name on the wire.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Request {
        let name: String = name.bytes().map(|byte| char::from(variable_byte(byte))).collect();
        match name.as_str() {
            "CONTENT_TYPE" | "CONTENT_LENGTH" => self.variable(&name, value),
            _ => self.variable(&format!("HTTP_{name}"), value),
        }
    }

    /// Sets a variable of the environ by its name.
    pub fn variable(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.environ.set(name, value);
        self
    }

    /// Offers to go on in another protocol behind the request, as a client does by Upgrade and Connection.
    pub fn offer_upgrade(self, protocol: &str) -> Request {
        self.variable("doorway.upgrade", protocol)
    }

    /// Sets the content, and its length.
    pub fn content(mut self, content: impl AsRef<[u8]>) -> Request {
        let content = content.as_ref().to_vec();
        self.environ.set("CONTENT_LENGTH", content.len().to_string());
        self.environ.set_input(Cursor::new(content));
        self
    }

    /// The environ alone.
    pub fn environ(self) -> Environ {
        self.environ
    }

    /// Calls the application and takes its whole body. What it would do with a connection that it takes over is dropped.
    pub fn call(self, application: &impl Application) -> Response {
        self.answer(application, None)
    }

    /// Calls an application that takes the connection over, and has it speak on this one until it is done. Where it answers something else
    /// than 101, the connection is dropped.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::{TcpListener, TcpStream};
    /// use doorway::{Body, Environ, StartResponse, testing::Request};
    ///
    /// fn greet(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    ///     start_response.start("101 Switching Protocols", &[]);
    ///     Body::upgrade("greeting", |mut connection| drop(connection.write_all(b"hello")))
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let response = Request::get("/").offer_upgrade("greeting").converse(&greet, listener.accept()?.0);
    /// let mut said = String::new();
    /// client.read_to_string(&mut said)?;
    /// assert_eq!((response.status.code(), said.as_str()), (101, "hello"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn converse(self, application: &impl Application, connection: impl Upgraded + 'static) -> Response {
        self.answer(application, Some(Box::new(connection)))
    }

    fn answer(mut self, application: &impl Application, connection: Option<Box<dyn Upgraded>>) -> Response {
        let errors = Arc::new(Collected::default());
        self.environ.set_errors(Errors::new(errors.clone()));
        let sent = Arc::new(Mutex::new(Sent::default()));
        let mut start_response = StartResponse::new(Box::new(Recorder { sent: Arc::clone(&sent) }));
        let mut body = application.call(&self.environ, &mut start_response).resolve(&mut start_response);

        let mut error =
            body.failure().map(|error| (Cause::of(error).unwrap_or(Cause::ApplicationError), error.to_string()));
        match (body.upgrades_to(start_response.status(), &self.environ).map(|protocol| protocol.is_some()), connection)
        {
            (Err(wrong), _) => error = error.take().or(Some((Cause::UpgradeMisused, wrong.to_owned()))),
            (Ok(true), Some(connection)) => {
                if let Kind::Upgrade(Upgrade { run, .. }) = std::mem::take(body.kind()) {
                    run(connection);
                }
            }
            (Ok(_), _) => {}
        }
        let mut blocks = Vec::new();
        let mut body = body.into_blocks();
        if start_response.misuse().is_none() && error.is_none() {
            for block in &mut body {
                match block {
                    Ok(block) => blocks.push(block.into_owned()),
                    Err(failed) => error = Some((Cause::of(&failed).unwrap_or(Cause::BodyFailed), failed.to_string())),
                }
                if error.is_some() {
                    break;
                }
            }
        }
        drop(body);
        if let Some(misuse) = start_response.misuse() {
            error = Some((misuse.cause(), misuse.detail().to_owned()));
        } else if start_response.status().is_none() && error.is_none() {
            error = Some((Cause::NotStarted, String::new()));
        }

        let mut sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
        let head =
            sent.head.take().or_else(|| Some((start_response.status()?.clone(), start_response.headers()?.clone())));
        // A server answers with the status of the cause as long as it can, which is as long as nothing was sent.
        let (status, headers) = match (&error, head) {
            (None, Some(head)) => head,
            (Some(_), Some(head)) if start_response.is_sent() || blocks.iter().any(|block| !block.is_empty()) => head,
            (error, _) => (refusal(error.as_ref().map(|(cause, _)| *cause)), Headers::new()),
        };
        sent.blocks.append(&mut blocks);
        if error.is_none() {
            let length = sent.blocks.iter().map(Vec::len).sum();
            error = wrong_length(self.environ.method(), &status, &headers, length).map(|cause| (cause, String::new()));
        }
        let errors = std::mem::take(&mut *errors.0.lock().unwrap_or_else(PoisonError::into_inner));
        Response { status, headers, blocks: sent.blocks, errors, error }
    }
}

/// What an application answered.
#[derive(Debug)]
pub struct Response {
    /// The status it started with, or that of the error where a server would answer so: 500, or 400 and the like where the error is, or
    /// carries, a [`Cause`] of the client's.
    pub status: Status,
    /// The fields it gave, without those that a server adds.
    pub headers: Headers,
    /// What it wrote and then the blocks of its body, one by one, the empty ones included.
    pub blocks: Vec<Vec<u8>>,
    /// What it wrote to [`Environ::errors`].
    pub errors: String,
    /// What a server would have logged as an error, with its detail.
    pub error: Option<(Cause, String)>,
}

impl Response {
    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.blocks.concat()
    }

    /// The whole body as text, with U+FFFD for bytes that are not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }
}

/// What a server says of content that is not as long as its head says, and sends or leaves out all the same.
fn wrong_length(method: &str, status: &Status, headers: &Headers, length: usize) -> Option<Cause> {
    let length = length as u64;
    match (status.code(), headers.content_length()) {
        // The application answers as for GET.
        _ if method == "HEAD" => None,
        (100..=199 | 204 | 205 | 304, _) => (length > 0).then_some(Cause::BodyDropped),
        (_, Some(declared)) if length < declared => Some(Cause::BodyShort),
        (_, Some(declared)) if length > declared => Some(Cause::BodyLong),
        _ => None,
    }
}

/// The status in place of that of the application.
fn refusal(cause: Option<Cause>) -> Status {
    let status = match cause.and_then(|cause| Some((cause.status()?, cause.name()))) {
        None | Some((500, _)) => Status::parse("500 Internal Server Error"),
        Some((code, name)) => Status::parse(&format!("{code} {name}")),
    };
    status.unwrap_or_default()
}

/// What stands for the connection of a client in a test.
impl Upgraded for TcpStream {
    fn try_clone(&self) -> io::Result<Box<dyn Upgraded>> {
        TcpStream::try_clone(self).map(|clone| Box::new(clone) as Box<dyn Upgraded>)
    }

    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        TcpStream::set_read_timeout(self, time)
    }

    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        TcpStream::set_write_timeout(self, time)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        TcpStream::shutdown(self, how)
    }
}

#[derive(Default)]
struct Sent {
    head: Option<(Status, Headers)>,
    blocks: Vec<Vec<u8>>,
}

struct Recorder {
    sent: Arc<Mutex<Sent>>,
}

impl Transmit for Recorder {
    fn head(&mut self, status: &Status, headers: &Headers, block: &[u8]) -> io::Result<()> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).head = Some((status.clone(), headers.clone()));
        self.block(block)
    }

    fn block(&mut self, block: &[u8]) -> io::Result<()> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).blocks.push(block.to_vec());
        Ok(())
    }
}

#[derive(Default)]
struct Collected(Mutex<String>);

impl ErrorStream for Collected {
    fn write(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::gateway::Body;

    #[test]
    fn p_wr_02_what_was_written_comes_before_what_is_yielded() {
        let application = |_: &Environ, start_response: &mut StartResponse| {
            let mut writer = start_response.start("200 OK", &[]);
            writer.write_all(b"w1").unwrap();
            writer.write_all(b"w2").unwrap();
            "it"
        };
        assert_eq!(Request::get("/").call(&application).blocks, [b"w1", b"w2", b"it"]);
    }

    #[test]
    fn p_sr_10_a_deferred_body_may_start_the_response_late() {
        let application = |_: &Environ, _: &mut StartResponse| {
            Body::deferred(|start_response| {
                start_response.start("202 Accepted", &[]);
                "late"
            })
        };
        let response = Request::get("/").call(&application);
        assert_eq!((response.status.code(), &*response.text()), (202, "late"));
    }

    #[test]
    fn p_sr_11_a_response_that_was_never_started_is_a_500_with_its_cause() {
        let response = Request::get("/").call(&|_: &Environ, _: &mut StartResponse| "x");
        assert_eq!((response.status.code(), response.error), (500, Some((Cause::NotStarted, String::new()))));
    }

    #[test]
    fn p_sr_04_a_wrong_start_is_a_500_with_its_cause() {
        let application = |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[("X", "a\r\nb")]);
            "x"
        };
        let response = Request::get("/").call(&application);
        assert_eq!((response.status.code(), response.error.unwrap().0), (500, Cause::HeaderValue));
    }

    #[test]
    fn p_len_02_03_04_a_body_that_is_not_as_long_as_its_head_says_is_an_error_with_its_cause() {
        let answered = |method: &str, status: &'static str, length: Option<&'static str>, body: &'static str| {
            let application = move |_: &Environ, start_response: &mut StartResponse| {
                let mut headers = Headers::new();
                length.into_iter().for_each(|length| headers.add("Content-Length", length));
                start_response.start_with(status, &headers);
                body
            };
            let response = Request::new(method, "/").call(&application);
            assert_eq!((response.status.to_string().as_str(), &*response.text()), (status, body));
            response.error.map(|(cause, _)| cause)
        };
        assert_eq!(answered("GET", "200 OK", Some("10"), "hello"), Some(Cause::BodyShort));
        assert_eq!(answered("GET", "200 OK", Some("10"), ""), Some(Cause::BodyShort));
        assert_eq!(answered("GET", "200 OK", Some("2"), "hello"), Some(Cause::BodyLong));
        assert_eq!(answered("GET", "204 No Content", None, "hello"), Some(Cause::BodyDropped));
        for (method, status, length, body) in [
            ("GET", "200 OK", Some("5"), "hello"),
            ("GET", "200 OK", None, "hello"),
            ("HEAD", "200 OK", Some("10"), ""),
            ("HEAD", "200 OK", None, "hello"),
            ("GET", "304 Not Modified", Some("10"), ""),
        ] {
            assert_eq!(answered(method, status, length, body), None, "{method} {status} {length:?}");
        }
    }
}
