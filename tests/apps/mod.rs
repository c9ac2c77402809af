//! Applications to test a server with, named after what they do wrong, or do at all.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use doorway::{Application, Body, Environ, StartResponse};

pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What an application saw of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Every variable but those of the connection (peer and local port), which differ between deliveries.
    pub vars: BTreeMap<String, Vec<u8>>,
    /// The whole content, or the kind of error that reading it ended with.
    pub content: Result<Vec<u8>, io::ErrorKind>,
}

impl Call {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(|value| std::str::from_utf8(value).expect("a value in UTF-8"))
    }

    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.vars.get(name).map(|value| &value[..])
    }

    pub fn content(&self) -> &[u8] {
        self.content.as_deref().expect("the content was read")
    }
}

/// Reads the whole content, keeps what it saw, and answers `seen`. An error of reading is passed on.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Call>>>);

impl Recorder {
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Application for Recorder {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let mut content = Vec::new();
        let read = environ.input().read_to_end(&mut content);
        let of_connection = ["REMOTE_ADDR", "REMOTE_PORT", "SERVER_PORT"];
        let call = Call {
            vars: environ
                .iter()
                .filter(|(name, _)| !of_connection.contains(name))
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect(),
            content: read.as_ref().map(|_| content).map_err(io::Error::kind),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        if let Err(error) = read {
            return Body::from(Err::<Body, _>(error));
        }
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        Body::from("seen\n")
    }
}

/// Answers `hello` and reads nothing.
pub fn hello(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Body::from("hello")
}

/// Answers with the content of the request.
pub fn echo(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let mut content = Vec::new();
    environ.input().read_to_end(&mut content)?;
    start_response.start("200 OK", &[("Content-Type", "application/octet-stream")]);
    Ok(Body::from(content))
}

/// Answers with the path, so that answers can be told apart.
pub fn path(environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Body::from(environ.path().into_owned())
}

/// Two blocks whose length nobody knows.
pub fn no_length(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Body::blocks(["one ", "two"])
}

/// Promises ten bytes and yields five.
pub fn short_length(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Length", "10")]);
    Body::blocks(["hello"])
}

/// Promises ten bytes and returns five, all there.
pub fn short_length_whole(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Length", "10")]);
    Body::from("hello")
}

/// Promises five bytes and yields more, block after block for ever; `asked` counts the blocks.
pub fn long_length(asked: Arc<AtomicUsize>) -> impl Application {
    move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[("Content-Length", "5")]);
        let asked = Arc::clone(&asked);
        Body::blocks(std::iter::repeat_with(move || {
            asked.fetch_add(1, Ordering::SeqCst);
            "abc"
        }))
    }
}

/// Promises five bytes and returns eleven, all there.
pub fn long_length_whole(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Length", "5")]);
    Body::from("hello world")
}

pub fn panics(_environ: &Environ, _start_response: &mut StartResponse) -> Body {
    panic!("on purpose")
}

/// Panics after it has started its response, and before the first block.
pub fn panics_before_the_first_block(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("X-Gone", "yes")]);
    Body::blocks(std::iter::from_fn(|| -> Option<Body> { panic!("on purpose") }))
}

/// Yields one block and panics, with no length or a length given.
pub fn panics_mid_body(length: Option<&'static str>) -> impl Application {
    move |_: &Environ, start_response: &mut StartResponse| {
        match length {
            Some(length) => start_response.start("200 OK", &[("Content-Length", length)]),
            None => start_response.start("200 OK", &[]),
        };
        let mut first = true;
        Body::blocks(std::iter::from_fn(move || {
            assert!(first, "on purpose");
            first = false;
            Some("hello")
        }))
    }
}

/// Yields one block and then an error.
pub fn fails_mid_body(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[]);
    Body::blocks([Ok("hello"), Err(io::Error::other("the source broke"))])
}

pub fn returns_an_error(_environ: &Environ, _start_response: &mut StartResponse) -> Result<Body, Failed> {
    Err("secret text of an error".into())
}

pub fn start_twice(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[]);
    start_response.start("201 Created", &[]);
    Body::from("hello")
}

pub fn header_crlf(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("X-A", "b\r\nSet-Cookie: evil=1")]);
    Body::from("hello")
}

pub fn never_starts(_environ: &Environ, _start_response: &mut StartResponse) -> Body {
    Body::from("hello")
}

/// Starts with a status and fields that the test chooses.
pub fn starts_with(status: &'static str, fields: &'static [(&'static str, &'static str)]) -> impl Application {
    move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start(status, fields);
        Body::from("hello")
    }
}

/// Writes through the writer, then returns a block.
pub fn writes(_environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let mut writer = start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    writer.write_all(b"w1")?;
    writer.write_all(b"w2")?;
    Ok(Body::from("it"))
}

/// An application that says when it is called and answers when it is told to: no test needs to sleep.
pub fn sleepy() -> (impl Application, Called, Release) {
    let (called, is_called) = channel();
    let called = Mutex::new((0, called));
    let released = Arc::new((Mutex::new(0), Condvar::new()));
    let release = Release(released.clone());
    let application = move |environ: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[("Content-Type", "text/plain")]);
        let path = environ.path().into_owned();
        if path != "/quick" {
            // Told and counted in one: calls go on in the order in which the test hears of them.
            let mut called = called.lock().unwrap_or_else(PoisonError::into_inner);
            let before = called.0;
            called.0 += 1;
            // The test may be over already.
            let _ = called.1.send(path.clone());
            drop(called);
            let (count, changed) = &*released;
            let count = count.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = changed.wait_timeout_while(count, Duration::from_secs(60), |count| *count <= before);
        }
        Body::from(path)
    };
    (application, Called(is_called), release)
}

/// Tells which calls of [`sleepy`] have begun.
pub struct Called(Receiver<String>);

impl Called {
    /// The path of the next call.
    pub fn wait(&self) -> String {
        self.0.recv_timeout(Duration::from_secs(60)).expect("a call")
    }

    /// Whether no further call has begun.
    pub fn is_none(&self) -> bool {
        self.0.try_recv().is_err()
    }
}

/// Lets calls of [`sleepy`] go on, one at a time and in their order.
pub struct Release(Arc<(Mutex<u64>, Condvar)>);

impl Release {
    pub fn one(&self) {
        self.more(1);
    }

    fn more(&self, calls: u64) {
        let (count, changed) = &*self.0;
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_add(calls);
        changed.notify_all();
    }
}

/// A test that is over holds no call.
impl Drop for Release {
    fn drop(&mut self) {
        self.more(u64::MAX);
    }
}
