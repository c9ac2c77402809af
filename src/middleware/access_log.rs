//! `AccessLog`: one line for each request that an application has answered, written when the body is closed.
//!
//! Gateway-spec sections 3.1 ("access log") and 3.3 (34). The server can write such lines too ([`Lines::all`](crate::log::Lines::all));
//! this one stands where the deployer puts it: around one application of several, inside of a [`TrustProxy`](super::TrustProxy) that
//! knows the client, at any door.
//!
//! It changes nothing: a body of known length keeps it and its form. What it cannot know is what the server does afterwards: bytes are
//! those that the application has handed over, even if the client went away before the last of them, and what the server refuses
//! by itself never gets here. Nor does a panic of the body, which is a 500 as long as nothing was sent, or why content failed (400, 408, 413), where
//! the application answers with an error of its own that does not have the cause in it.

mod line;

use std::error::Error;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::cause::Cause;
use crate::gateway::{Application, Body, Environ, StartResponse, discard_panic};

/// Writes a line for each request, in the format of the constructor. A writer that fails or panics costs the line and nothing else.
///
/// ```text
/// common    192.0.2.7 - ada [01/Jan/2026:12:00:00 +0000] "GET /hello HTTP/1.1" 200 14 85us
/// combined  192.0.2.7 - ada [01/Jan/2026:12:00:00 +0000] "GET /hello HTTP/1.1" 200 14 "https://a.example/" "curl/8" 85us
/// json      {"time":"2026-01-01T12:00:00.000Z","remote_addr":"192.0.2.7","user":"ada","method":"GET", ...}
/// ```
///
/// The last number of the text formats is the time from the call to the end of the body, in microseconds. The user is `REMOTE_USER`, or
/// the name in a valid Basic Authorization, which nobody may have checked. Whatever a client sent is escaped: quotes, backslashes,
/// controls and bytes from 0x80 on as `\xHH` in the text formats, by the rules of JSON there.
///
/// ```
/// use doorway::{app::demo, middleware::AccessLog, testing::Request};
///
/// # use std::sync::{Arc, Mutex};
/// # #[derive(Clone, Default)]
/// # struct Kept(Arc<Mutex<Vec<u8>>>);
/// # impl std::io::Write for Kept {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let kept = Kept::default();
/// # let file = kept.clone();
/// let application = AccessLog::common(demo, file); // anything that takes bytes, such as `std::io::stdout()`
/// let response = Request::get("/hello?\"").call(&application);
/// # let line = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
/// assert!(line.starts_with("127.0.0.1 - - ["));
/// assert!(line.contains(&format!("] \"GET /hello?\\x22 HTTP/1.1\" 200 {} ", response.body().len())));
/// ```
pub struct AccessLog<A> {
    inner: A,
    format: Format,
    place: Arc<Mutex<dyn Write + Send>>,
}

#[derive(Clone, Copy)]
enum Format {
    Common,
    Combined,
    Json,
}

impl<A: Application> AccessLog<A> {
    /// Lines in the common log format.
    pub fn common(inner: A, writer: impl Write + Send + 'static) -> AccessLog<A> {
        AccessLog { inner, format: Format::Common, place: Arc::new(Mutex::new(writer)) }
    }

    /// Lines in the combined format, which adds Referer and User-Agent.
    pub fn combined(inner: A, writer: impl Write + Send + 'static) -> AccessLog<A> {
        AccessLog { inner, format: Format::Combined, place: Arc::new(Mutex::new(writer)) }
    }

    /// One JSON object a line, for programs.
    pub fn json(inner: A, writer: impl Write + Send + 'static) -> AccessLog<A> {
        AccessLog { inner, format: Format::Json, place: Arc::new(Mutex::new(writer)) }
    }
}

impl<A: Application> Application for AccessLog<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let answer = Arc::new(Mutex::new(Answer::default()));
        let entry = Entry {
            environ: environ.clone(),
            time: SystemTime::now(),
            begin: Instant::now(),
            answer: Arc::clone(&answer),
            format: self.format,
            place: Arc::clone(&self.place),
        };
        let of_start = Arc::clone(&answer);
        start_response.on_start(move |status, _headers| locked(&of_start).status = Some(status.code()));
        let of_refused = Arc::clone(&answer);
        start_response.on_refused(move |error, _headers| {
            let Answer { status, bytes, .. } = &mut *locked(&of_refused);
            // What is out stays so; otherwise there is no status but that of a restart.
            *status = status.filter(|_| *bytes > 0 && error.cause() != Cause::UpgradeMisused);
        });
        let of_write = Arc::clone(&answer);
        start_response.on_write(move |block| {
            locked(&of_write).bytes += block.len() as u64;
            Ok(block)
        });
        let body = self.inner.call(environ, start_response);
        let body = body.inspect_blocks(move |size| match size {
            Ok(size) => locked(&answer).bytes += size,
            Err(error) => locked(&answer).failed = Some(status_of(error)),
        });
        body.on_close(move || drop(entry))
    }
}

/// What the application has answered so far.
#[derive(Clone, Copy, Default)]
struct Answer {
    status: Option<u16>,
    bytes: u64,
    failed: Option<u16>,
}

/// A request on its way. It is logged when it is dropped: by the close of its body, or because the application panics.
struct Entry {
    environ: Environ,
    time: SystemTime,
    begin: Instant,
    answer: Arc<Mutex<Answer>>,
    format: Format,
    place: Arc<Mutex<dyn Write + Send>>,
}

impl Entry {
    /// The status that the client gets, as far as it can be known here. Until the first byte the server can still answer for an application
    /// that failed.
    fn status(&self, answer: Answer) -> u16 {
        let failed = if std::thread::panicking() { Some(500) } else { answer.failed };
        failed.filter(|_| answer.bytes == 0).or(answer.status).unwrap_or(500)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let answer = *locked(&self.answer);
        let status = self.status(answer);
        // These have no content, whatever body the application gives them.
        let has_content = self.environ.method() != "HEAD" && !matches!(status, 204 | 205 | 304);
        let served = Served {
            environ: &self.environ,
            time: self.time,
            status,
            bytes: if has_content { answer.bytes } else { 0 },
            duration: self.begin.elapsed(),
        };
        let line = match self.format {
            Format::Common => line::common(&served),
            Format::Combined => line::combined(&served),
            Format::Json => line::json(&served),
        };
        // Nobody could be told about a log that cannot be written. A panic of the writer stays here: this may run while that of an
        // application unwinds, and a second one would end the process (P-ERR-06).
        let written = catch_unwind(AssertUnwindSafe(|| {
            let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = place.write_all(line.as_bytes()).and_then(|()| place.flush());
        }));
        written.unwrap_or_else(discard_panic);
    }
}

/// One request that is over.
struct Served<'entry> {
    environ: &'entry Environ,
    time: SystemTime,
    status: u16,
    bytes: u64,
    duration: Duration,
}

/// The status that a server answers an error with: that of its cause, which errors of the content of a request have, or 500.
fn status_of(error: &(dyn Error + Send + Sync + 'static)) -> u16 {
    Cause::of(error).and_then(Cause::status).unwrap_or(500)
}

fn locked(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}
