//! How an application begins its response: the `start_response` callable and the `write` it returns.
//!
//! PEP 3333, "The start_response() Callable", "The write() Callable", "Error Handling" (P-SR-01 to P-SR-13, P-WR-01 to
//! P-WR-06). `start` checks and stores a head and sends nothing; the head goes out with the first non-empty block. A wrong call
//! is recorded with its cause and never panics: the server logs it and answers 500.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Block, Headers, Status};
use crate::cause::Cause;

/// What a server puts behind [`StartResponse`]: where the head and the written blocks go.
pub trait Transmit: Send {
    /// Sends a head and the first block, which is not empty.
    fn head(&mut self, status: &Status, headers: &Headers, block: &[u8]) -> io::Result<()>;

    /// Sends a further block, which is not empty. It has been handed over when this returns (P-WR-01).
    fn block(&mut self, block: &[u8]) -> io::Result<()>;
}

/// The server's half of a response, to be started exactly once.
///
/// ```
/// use doorway::{Body, Environ, StartResponse};
///
/// fn application(environ: &Environ, start_response: &mut StartResponse) -> Body {
///     if environ.method() != "GET" {
///         start_response.start("405 Method Not Allowed", &[("Allow", "GET")]);
///         return Body::empty();
///     }
///     let length = "Hello".len().to_string();
///     start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Content-Length", &length)]);
///     Body::from("Hello")
/// }
/// # assert_eq!(doorway::testing::Request::get("/").call(&application).text(), "Hello");
/// ```
pub struct StartResponse {
    /// Which one it is: two can be exchanged for each other.
    id: usize,
    transmit: Box<dyn Transmit>,
    status: Status,
    headers: Headers,
    state: State,
    misuse: Option<StartError>,
    replaced: Option<String>,
    hooks: Option<Box<Hooks>>,
}

/// What middleware does, the innermost last. In a box: most calls have none.
#[derive(Default)]
#[expect(clippy::type_complexity, reason = "each is said once, where its name is")]
struct Hooks {
    on_start: Vec<Box<dyn FnMut(&mut Status, &mut Headers) + Send>>,
    on_write: Vec<Box<dyn FnMut(Block) -> io::Result<Block> + Send>>,
    on_refused: Vec<Box<dyn FnMut(&StartError, &Headers) + Send>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Not called yet, or in the wrong way, which only `restart` can mend (P-SR-07).
    #[default]
    Idle,
    /// A head is stored and can still be replaced.
    Started,
    /// The head is out.
    Sent,
}

impl StartResponse {
    /// A start_response over what a server sends through. Servers, and middleware that calls an application on its own
    /// account, make one; an application gets one.
    pub fn new(transmit: Box<dyn Transmit>) -> StartResponse {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        StartResponse {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            transmit,
            status: Status::default(),
            headers: Headers::new(),
            state: State::Idle,
            misuse: None,
            replaced: None,
            hooks: None,
        }
    }

    /// Stores the status (`"200 OK"`) and the fields of the response, and gives the `write` callable, which most applications
    /// ignore. Nothing is sent before the first non-empty block.
    ///
    /// A wrong call is recorded: the server answers 500 and logs the cause. Wrong are a second call ([`Cause::StartedTwice`]),
    /// a status or a field that could break the response ([`Cause::StatusInvalid`], [`Cause::HeaderName`],
    /// [`Cause::HeaderValue`]), a hop-by-hop field ([`Cause::HopByHop`]), a field `Status` ([`Cause::StatusHeader`]) and a
    /// Content-Length that is not one number ([`Cause::HeaderLength`]).
    pub fn start(&mut self, status: &str, headers: &[(&str, &str)]) -> Writer<'_> {
        // The error stays recorded in `misuse`, and the writer refuses to write because of it.
        let _recorded = self.try_start(status, headers).err();
        Writer { start_response: self }
    }

    /// As [`start`](StartResponse::start), with fields built before, whose values may be any bytes.
    pub fn start_with(&mut self, status: &str, headers: &Headers) -> Writer<'_> {
        let _recorded = self.first(status, |own| own.extend(headers)).err();
        Writer { start_response: self }
    }

    /// As [`start`](StartResponse::start), but hands the error to the caller as well. Only
    /// [`restart`](StartResponse::restart) can mend a response after it.
    ///
    /// # Errors
    /// As listed at [`start`](StartResponse::start).
    pub fn try_start(&mut self, status: &str, headers: &[(&str, &str)]) -> Result<Writer<'_>, StartError> {
        self.first(status, |own| headers.iter().for_each(|(name, value)| own.add(name, value)))
    }

    /// The `exc_info` form: replaces status and all fields by those of an error page, as long as the head has not been sent. The
    /// error goes to the log.
    ///
    /// # Errors
    /// Once the head is out, an error that carries `error` on, which the application returns: the server then aborts the response
    /// visibly (P-SR-09).
    ///
    /// ```
    /// use doorway::{Body, Environ, StartResponse};
    ///
    /// fn application(_environ: &Environ, start_response: &mut StartResponse) -> Result<Body, Box<dyn std::error::Error + Send + Sync>> {
    ///     start_response.start("200 OK", &[("Content-Type", "text/html")]);
    ///     if let Err(error) = "x".parse::<i32>() {
    ///         start_response.restart("502 Bad Gateway", &[], error)?;
    ///         return Ok(Body::from("no number today"));
    ///     }
    ///     Ok(Body::from("<p>fine"))
    /// }
    /// # let response = doorway::testing::Request::get("/").call(&application);
    /// # assert_eq!((response.status.code(), response.headers.len()), (502, 0));
    /// ```
    pub fn restart(
        &mut self,
        status: &str,
        headers: &[(&str, &str)],
        error: impl fmt::Display,
    ) -> Result<Writer<'_>, StartError> {
        self.restart_with(status, &Headers::from(headers), error)
    }

    /// As [`restart`](StartResponse::restart), with fields built before.
    ///
    /// # Errors
    /// As [`restart`](StartResponse::restart).
    pub fn restart_with(
        &mut self,
        status: &str,
        headers: &Headers,
        error: impl fmt::Display,
    ) -> Result<Writer<'_>, StartError> {
        let error = error.to_string();
        if self.state == State::Sent {
            return Err(self.refuse(Cause::HeadSent, error));
        }
        // It mends a wrong call, too.
        (self.misuse, self.replaced) = (None, Some(error));
        self.store(status, |own| own.extend(headers))
    }

    /// Exchanges status and all fields of a response that has not begun, or starts one. Nothing is wrong, so the log says nothing: this is for
    /// middleware, and for an application that learns late what it answers. A wrong call before it stays one.
    ///
    /// # Errors
    /// Once the head is out ([`Cause::HeadSent`]), after a wrong call (that one), and as listed at [`start`](StartResponse::start).
    ///
    /// ```
    /// use doorway::{Body, Environ, Headers, StartResponse};
    ///
    /// fn application(_environ: &Environ, start_response: &mut StartResponse) -> Result<Body, doorway::StartError> {
    ///     start_response.start("200 OK", &[("Content-Type", "text/html")]);
    ///     start_response.replace("302 Found", &Headers::from(&[("Location", "/elsewhere")]))?;
    ///     Ok(Body::empty())
    /// }
    /// # let response = doorway::testing::Request::get("/").call(&application);
    /// # assert_eq!((response.status.code(), response.headers.len(), response.error), (302, 1, None));
    /// ```
    pub fn replace(&mut self, status: &str, headers: &Headers) -> Result<Writer<'_>, StartError> {
        match (self.state, &self.misuse) {
            (State::Sent, _) => Err(self.refuse(Cause::HeadSent, status.to_owned())),
            (_, Some(misuse)) => Err(misuse.clone()),
            (State::Idle | State::Started, None) => self.store(status, |own| own.extend(headers)),
        }
    }

    /// The status, once `start` was called.
    pub fn status(&self) -> Option<&Status> {
        matches!(self.state, State::Started | State::Sent).then_some(&self.status)
    }

    /// The fields, once `start` was called.
    pub fn headers(&self) -> Option<&Headers> {
        matches!(self.state, State::Started | State::Sent).then_some(&self.headers)
    }

    /// Whether the head is out, so that nothing of it can change.
    pub fn is_sent(&self) -> bool {
        self.state == State::Sent
    }

    /// Lets middleware see and change every head that the application stores, at the call of `start` or `restart`; called
    /// again when the head is replaced. What was added last runs first, as the innermost middleware is the nearest to the application.
    ///
    /// ```
    /// use doorway::{Application, Body, Environ, StartResponse};
    ///
    /// fn no_store<A: Application>(inner: A) -> impl Application {
    ///     move |environ: &Environ, start_response: &mut StartResponse| {
    ///         start_response.on_start(|_status, headers| headers.set("Cache-Control", "no-store"));
    ///         inner.call(environ, start_response)
    ///     }
    /// }
    /// # let response = doorway::testing::Request::get("/").call(&no_store(doorway::app::demo));
    /// # assert_eq!(response.headers.get("cache-control").as_deref(), Some("no-store"));
    /// ```
    pub fn on_start(&mut self, change: impl FnMut(&mut Status, &mut Headers) + Send + 'static) {
        self.hooks.get_or_insert_default().on_start.push(Box::new(change));
    }

    /// Lets middleware change every block that the application sends through [`Writer`]. What is returned as a body is changed with
    /// [`Body::map_blocks`](crate::Body::map_blocks) instead.
    pub fn on_write(&mut self, change: impl FnMut(Block) -> io::Result<Block> + Send + 'static) {
        self.hooks.get_or_insert_default().on_write.push(Box::new(change));
    }

    /// Shows middleware every wrong call of `start` and `restart` with the fields that it was about, also one that a later `restart`
    /// mends. What a hook of [`on_start`](StartResponse::on_start) spoils is no wrong call: the hooks outside of it see that themselves.
    pub(crate) fn on_refused(&mut self, look: impl FnMut(&StartError, &Headers) + Send + 'static) {
        self.hooks.get_or_insert_default().on_refused.push(Box::new(look));
    }

    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Makes it ready for a request, keeping its memory.
    pub(crate) fn reset(&mut self) {
        (self.state, self.misuse, self.replaced) = Default::default();
    }

    /// The call is over, and with it what the hooks of middleware hold.
    pub(crate) fn end(&mut self) {
        self.hooks = None;
    }

    /// The first wrong call that no `restart` has mended.
    pub(crate) fn misuse(&self) -> Option<&StartError> {
        self.misuse.as_ref()
    }

    /// The error for which `restart` replaced the head, for the log.
    pub(crate) fn take_replaced(&mut self) -> Option<String> {
        self.replaced.take()
    }

    fn first(&mut self, status: &str, fill: impl FnOnce(&mut Headers)) -> Result<Writer<'_>, StartError> {
        if self.state == State::Idle && self.misuse.is_none() {
            return self.store(status, fill);
        }
        // The first call counts even if it failed (P-SR-07), and its cause is the one worth reading.
        Err(self.refuse(Cause::StartedTwice, status.to_owned()))
    }

    fn store(&mut self, status: &str, fill: impl FnOnce(&mut Headers)) -> Result<Writer<'_>, StartError> {
        self.state = State::Idle;
        self.status.set(status).map_err(|cause| self.refuse(cause, format!("{status:?}")))?;
        self.headers.clear();
        fill(&mut self.headers);
        // Checked before the hooks, so that a wrong call of the application is never mended silently, and after them.
        self.headers.check().map_err(|(cause, name)| self.refuse(cause, format!("{name:?}")))?;
        if let Some(hooks) = &mut self.hooks {
            for change in hooks.on_start.iter_mut().rev() {
                change(&mut self.status, &mut self.headers);
            }
            self.headers.check().map_err(|(cause, name)| self.record(cause, format!("{name:?}")))?;
        }
        self.state = State::Started;
        Ok(Writer { start_response: self })
    }

    /// Records a wrong call and shows it to whoever looks, the innermost first.
    fn refuse(&mut self, cause: Cause, detail: String) -> StartError {
        let error = self.record(cause, detail);
        for look in self.hooks.iter_mut().flat_map(|hooks| hooks.on_refused.iter_mut().rev()) {
            look(&error, &self.headers);
        }
        error
    }

    /// Keeps the first error, and gives this one to the caller.
    fn record(&mut self, cause: Cause, detail: String) -> StartError {
        let error = StartError { cause, detail };
        self.misuse.get_or_insert_with(|| error.clone());
        error
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        if let Some(error) = &self.misuse {
            return Err(io::Error::other(error.clone()));
        }
        let mut block = Cow::Borrowed(block);
        for change in self.hooks.iter_mut().flat_map(|hooks| hooks.on_write.iter_mut().rev()) {
            block = change(Block::Owned(block.into_owned()))?;
        }
        if block.is_empty() {
            return Ok(());
        }
        if self.status.code() == 101 {
            return Err(io::Error::other(self.refuse(Cause::UpgradeMisused, "content behind 101".into())));
        }
        match std::mem::replace(&mut self.state, State::Sent) {
            State::Sent => self.transmit.block(&block),
            _ => self.transmit.head(&self.status, &self.headers, &block),
        }
    }
}

impl fmt::Debug for StartResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status().map(Status::to_string);
        f.debug_struct("StartResponse").field("status", &status).finish_non_exhaustive()
    }
}

/// The `write` callable of PEP 3333, as `std::io::Write`: sends a block at once, before anything the body yields.
///
/// It borrows the [`StartResponse`], so it cannot outlive the call or be used from inside a body (P-WR-04). Its first use sends the
/// head, and turns the automatic Content-Length off. Prefer returning blocks: PEP 3333 keeps `write` for code that can only push.
///
/// # Errors
/// When the client is gone or stalled, when the response was started wrongly, when more is written than Content-Length promised, and when the
/// grace of a stop is over. Where nothing of it is sent (to HEAD, behind 204, 205 and 304) no client ends it, and it is an error behind
/// [`Settings::response_stall`](crate::Settings::response_stall).
///
/// ```
/// use std::io::{self, Write};
/// use doorway::{Body, Environ, StartResponse};
///
/// fn table(_environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
///     let mut writer = start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     for n in 1..=3 {
///         writeln!(writer, "{n} {}", n * n)?;
///     }
///     Ok(Body::empty())
/// }
/// # assert_eq!(doorway::testing::Request::get("/").call(&table).text(), "1 1\n2 4\n3 9\n");
/// ```
///
/// A body outlives the call, so it cannot hold one:
///
/// ```compile_fail,E0521
/// use std::io::Write;
/// use doorway::{Body, Environ, StartResponse};
///
/// fn application(_environ: &Environ, start_response: &mut StartResponse) -> Body {
///     let mut writer = start_response.start("200 OK", &[]);
///     Body::blocks(std::iter::once_with(move || {
///         writer.write_all(b"from the iterable")?; // P-WR-04
///         Ok(b"block".into())
///     }))
/// }
/// ```
pub struct Writer<'call> {
    start_response: &'call mut StartResponse,
}

impl io::Write for Writer<'_> {
    fn write(&mut self, block: &[u8]) -> io::Result<usize> {
        self.start_response.write(block)?;
        Ok(block.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Formats first, so that a `write!` is one block on the wire and not one for each of its pieces.
    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.write_all(text.to_string().as_bytes())
    }
}

/// A wrong call of `start` or `restart`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    cause: Cause,
    detail: String,
}

impl StartError {
    /// Why the call was refused.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// What the call was refused for: the status, the name of the field, or the error behind a `restart` that came too late.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cause, self.detail)
    }
}

impl Error for StartError {}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what it is given, as lines that a test can read.
    #[derive(Default, Clone)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Transmit for Kept {
        fn head(&mut self, status: &Status, headers: &Headers, block: &[u8]) -> io::Result<()> {
            let names: Vec<_> = headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
            self.0.lock().unwrap().push(format!("{status} {names:?}"));
            self.block(block)
        }

        fn block(&mut self, block: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().push(String::from_utf8_lossy(block).into());
            Ok(())
        }
    }

    fn fixture() -> (StartResponse, Kept) {
        let kept = Kept::default();
        (StartResponse::new(Box::new(kept.clone())), kept)
    }

    fn cause<T>(result: Result<T, StartError>) -> Option<Cause> {
        result.err().map(|error| error.cause())
    }

    #[test]
    fn p_sr_05_start_sends_nothing_and_p_sr_06_the_head_goes_with_the_first_non_empty_block() {
        let (mut start_response, kept) = fixture();
        let mut writer = start_response.start("200 OK", &[("A", "1")]);
        writer.write_all(b"").unwrap();
        assert!(kept.0.lock().unwrap().is_empty());
        writer.write_all(b"x").unwrap();
        let one = 1;
        write!(writer, "y{one}").unwrap();
        assert_eq!(*kept.0.lock().unwrap(), ["200 OK [\"A\"]", "x", "y1"]);
    }

    #[test]
    fn p_sr_07_a_second_start_is_an_error_even_when_the_first_failed() {
        let (mut start_response, _) = fixture();
        assert_eq!(cause(start_response.try_start("bad", &[])), Some(Cause::StatusInvalid));
        assert_eq!(cause(start_response.try_start("200 OK", &[])), Some(Cause::StartedTwice));
        assert_eq!(start_response.misuse().map(StartError::cause), Some(Cause::StatusInvalid));
        assert!(start_response.restart("500 Oops", &[], "mended").is_ok());
        assert!(start_response.misuse().is_none());
    }

    #[test]
    fn p_sr_08_restart_replaces_status_and_all_fields() {
        let (mut start_response, _) = fixture();
        start_response.start("200 OK", &[("A", "1"), ("B", "2")]);
        assert!(!start_response.is_sent() && format!("{start_response:?}").contains("200 OK"));
        start_response.restart("500 Oops", &[("C", "3")], "error").unwrap();
        assert_eq!(start_response.status().unwrap().code(), 500);
        assert_eq!(start_response.headers().unwrap().iter().collect::<Vec<_>>(), [(&b"C"[..], &b"3"[..])]);
        assert_eq!(start_response.take_replaced().as_deref(), Some("error"));
    }

    #[test]
    fn p_sr_08_replace_exchanges_a_head_that_is_not_out_and_leaves_nothing_for_the_log() {
        let (mut start_response, kept) = fixture();
        start_response.on_start(|_, headers| headers.add("Outer", "1"));
        start_response.replace("200 OK", &Headers::from(&[("A", "1")])).unwrap();
        let mut writer = start_response.replace("404 Gone", &Headers::from(&[("B", "2")])).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(*kept.0.lock().unwrap(), ["404 Gone [\"B\", \"Outer\"]", "x"]);
        assert_eq!(cause(start_response.replace("200 OK", &Headers::new())), Some(Cause::HeadSent));
        assert_eq!(start_response.take_replaced(), None);
    }

    #[test]
    fn p_sr_07_replace_does_not_mend_a_wrong_call_and_restart_does() {
        let (mut start_response, _) = fixture();
        start_response.start("200 OK", &[("TE", "x")]);
        assert_eq!(cause(start_response.replace("200 OK", &Headers::new())), Some(Cause::HopByHop));
        start_response.restart_with("500 Oops", &Headers::from(&[("A", "1")]), "mended").unwrap();
        assert!(start_response.misuse().is_none() && start_response.headers().unwrap().contains("a"));
        assert_eq!(cause(start_response.replace("200 OK", &Headers::from(&[("A", "\r")]))), Some(Cause::HeaderValue));
    }

    #[test]
    fn p_sr_09_restart_after_the_head_was_sent_carries_the_error_on() {
        let (mut start_response, _) = fixture();
        start_response.start("200 OK", &[]).write_all(b"x").unwrap();
        assert!(start_response.is_sent());
        let error = start_response.restart("500 Oops", &[], "the disk is full").map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("4011 head-sent") && error.to_string().ends_with("(the disk is full)"));
        assert_eq!((error.cause(), error.detail()), (Cause::HeadSent, "the disk is full"));
        assert!(start_response.misuse().is_some());
    }

    #[test]
    fn a_writer_of_a_response_that_was_started_wrongly_writes_nothing() {
        let (mut start_response, kept) = fixture();
        assert!(start_response.start("200 OK\r\nX: y", &[]).write_all(b"x").is_err());
        assert!(kept.0.lock().unwrap().is_empty());
    }

    #[test]
    fn p_mw_06_a_hook_sees_every_head_and_the_innermost_runs_first() {
        let (mut start_response, kept) = fixture();
        start_response.on_start(|_, headers| headers.add("Outer", "1"));
        start_response.on_start(|_, headers| headers.add("Inner", "1"));
        start_response.on_write(|block| Ok(block.to_ascii_uppercase().into()));
        start_response.start("200 OK", &[]);
        start_response.restart("203 Changed", &[], "again").unwrap().write_all(b"abc").unwrap();
        assert_eq!(*kept.0.lock().unwrap(), ["203 Changed [\"Inner\", \"Outer\"]", "ABC"]);
    }

    #[test]
    fn every_wrong_call_is_shown_and_what_a_hook_spoils_is_not() {
        let (mut start_response, _) = fixture();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let show = Arc::clone(&shown);
        start_response.on_refused(move |error, headers| show.lock().unwrap().push((error.cause(), headers.len())));
        start_response.on_start(|status, headers| {
            if status.code() == 203 {
                headers.add("Upgrade", "x");
            }
        });
        start_response.start("200 OK", &[("A", "1"), ("TE", "x")]);
        assert!(start_response.restart("500 Oops", &[], "mended").is_ok());
        assert_eq!(cause(start_response.restart("203 Spoilt", &[], "again")), Some(Cause::HopByHop));
        start_response.start("200 OK", &[]);
        assert_eq!(*shown.lock().unwrap(), [(Cause::HopByHop, 2), (Cause::StartedTwice, 1)]);
    }

    #[test]
    fn a_hook_that_adds_a_forbidden_field_is_a_recorded_error() {
        let (mut start_response, _) = fixture();
        start_response.on_start(|_, headers| headers.add("Upgrade", "x"));
        assert_eq!(cause(start_response.try_start("200 OK", &[])), Some(Cause::HopByHop));
    }
}
