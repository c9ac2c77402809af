//! An application's whole response in the hands of middleware: called like a function, looked at, changed, sent on.
//!
//! PEP 3333, "Middleware: Components that Play Both Sides" (P-MW-01 to P-MW-09). The application gets a `start_response` of its own, and its rules hold: a
//! wrong call, a response that was never started and an `Err` are a [`Response`] whose body is that failure, which the server logs and
//! answers once it is started. Nothing is asked of a body before somebody asks here, so what streams goes on streaming.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Response;
use crate::cause::Cause;
use crate::gateway::{Application, Block, Body, Environ, Headers, Kind, StartResponse, Status, Transmit};

impl Response {
    /// Calls an application and gives what it answers, before any of it is sent. Sent it is by [`start`](Response::start), or by returning it
    /// from a [`simple`](crate::simple) application.
    ///
    /// The body is as the application made it: a list, a file, or blocks that are still to come, with its `on_close` functions. What the application
    /// wrote through [`Writer`](crate::Writer) stands before that, kept in memory whatever its length. The error of a
    /// [`restart`](StartResponse::restart) goes to [`Environ::errors`].
    ///
    /// ```
    /// use doorway::{Application, Environ, Response, simple};
    ///
    /// /// Turns every error page into JSON.
    /// fn json_errors(inner: impl Application) -> impl Application {
    ///     simple(move |environ: &Environ| {
    ///         let response = Response::of(&inner, environ);
    ///         match response.status.starts_with(['4', '5']) {
    ///             true => Response::json(format!("{{\"error\":\"{}\"}}", response.status)).with_status(response.status),
    ///             false => response,
    ///         }
    ///     })
    /// }
    /// # let missing = |_: &Environ| Response::html("<h1>nothing").with_status("404 Not Found");
    /// # let response = doorway::testing::Request::get("/").call(&json_errors(simple(missing)));
    /// # assert_eq!((response.status.code(), &*response.text()), (404, "{\"error\":\"404 Not Found\"}"));
    /// ```
    pub fn of(inner: &(impl Application + ?Sized), environ: &Environ) -> Response {
        let written = Written::default();
        let mut start_response = StartResponse::new(Box::new(written.clone()));
        let mut body = inner.call(environ, &mut start_response).resolve(&mut start_response);
        // The only way to the log from here.
        if let Some(error) = start_response.take_replaced() {
            environ.errors().write(&format!("{error}\n"));
        }
        let failure = match (start_response.misuse(), start_response.status()) {
            _ if body.failure().is_some() => return Response::new("500 Internal Server Error", body),
            (Some(misuse), _) => io::Error::other(misuse.clone()),
            (None, None) => io::Error::other(Cause::NotStarted),
            (None, Some(status)) => {
                let headers = start_response.headers().cloned().unwrap_or_default();
                let written = std::mem::take(&mut *written.lock());
                if !written.is_empty() {
                    precede(written, None, body.kind());
                }
                return Response { status: status.to_string().into(), headers, body };
            }
        };
        Response::new("500 Internal Server Error", body.with_kind(Kind::Failed(failure.into())))
    }

    /// The whole content, if it ends within `limit` bytes and without an error; otherwise `None`. In both cases it is still to be sent, and goes
    /// on where it was left.
    ///
    /// Blocks that are still to come are waited for, up to the limit. Where an application may stream slowly (events), look at
    /// [`Body::known_len`] of the body first, which is `None` then.
    ///
    /// ```
    /// use doorway::{Body, Response};
    ///
    /// let mut response = Response::text(Body::list(vec!["ab", "c"].into_iter().map(str::as_bytes).collect()));
    /// assert_eq!(response.content(2), None);
    /// assert_eq!(response.content(3), Some(&b"abc"[..]));
    /// assert_eq!(response.body.known_len(), Some(3));
    /// ```
    pub fn content(&mut self, limit: usize) -> Option<&[u8]> {
        use Kind::{Bytes, Deferred, Empty, Failed, Upgrade};
        if !matches!(self.body.kind(), Empty | Bytes(_) | Deferred(_) | Failed(_) | Upgrade(_)) {
            if self.body.known_len().is_some_and(|known| known > limit as u64) {
                return None;
            }
            gather(&mut self.body, limit);
        }
        match self.body.kind() {
            Kind::Empty => Some(&[]),
            Kind::Bytes(bytes) => Some(&bytes[..]).filter(|bytes| bytes.len() <= limit),
            _ => None,
        }
    }
}

/// Makes one piece of a body if it ends within the limit, or what was taken of it and the rest.
fn gather(body: &mut Body, mut limit: usize) {
    let mut taken: Vec<Block> = Vec::new();
    loop {
        match body.kind().next_block() {
            None => {
                return *body = std::mem::replace(body, Body::empty()).with_kind(Kind::Bytes(taken.concat().into()));
            }
            Some(Ok(block)) if block.len() <= limit => {
                limit -= block.len();
                taken.push(block);
            }
            last => return precede(taken, last, body.kind()),
        }
    }
}

/// Puts blocks, and perhaps an error, before a body.
fn precede(blocks: Vec<Block>, last: Option<io::Result<Block>>, body: &mut Kind) {
    let mut before = blocks.into_iter().map(Ok).chain(last);
    let mut behind = std::mem::take(body);
    *body = Kind::Blocks(Box::new(move || before.next().or_else(|| behind.next_block())));
}

/// What an application writes, kept.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<Block>>>);

impl Written {
    fn lock(&self) -> MutexGuard<'_, Vec<Block>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transmit for Written {
    fn head(&mut self, _status: &Status, _headers: &Headers, block: &[u8]) -> io::Result<()> {
        self.block(block)
    }

    fn block(&mut self, block: &[u8]) -> io::Result<()> {
        self.lock().push(block.to_vec().into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::gateway::Gateway;
    use crate::testing::Request;

    fn of<R: Into<Body>>(application: impl Fn(&mut StartResponse) -> R + Send + Sync + 'static) -> Response {
        let application = move |_: &Environ, start_response: &mut StartResponse| application(start_response);
        Response::of(&application, &Environ::new(Gateway::default()))
    }

    /// What a server makes of it, by the rules of the gateway.
    fn sent(response: Response) -> crate::testing::Response {
        let response = Mutex::new(Some(response));
        Request::get("/").call(&move |_: &Environ, start_response: &mut StartResponse| {
            response.lock().unwrap().take().unwrap().start(start_response)
        })
    }

    #[test]
    fn p_mw_01_a_response_is_given_as_it_was_started_written_and_returned() {
        let response = of(|start_response| {
            start_response.start("201 Created", &[("A", "1"), ("A", "2")]).write_all(b"w").unwrap();
            Body::list(vec!["x".as_bytes(), b"y"])
        });
        assert_eq!((&*response.status, response.headers.len()), ("201 Created", 2));
        assert_eq!(sent(response).blocks, [b"w", b"x", b"y"]);
        let late = of(|_| {
            Body::deferred(|start_response| {
                start_response.start("202 Accepted", &[]);
                "late"
            })
        });
        assert_eq!((&*late.status, late.body.known_len()), ("202 Accepted", Some(4)));
    }

    #[test]
    fn p_mw_06_what_is_wrong_is_as_wrong_as_without_the_middleware() {
        let never = of(|_| "never started");
        assert_eq!(sent(never).error.map(|(cause, _)| cause), Some(Cause::NotStarted));
        let wrong = sent(of(|start_response| {
            start_response.start("200 OK", &[("TE", "x")]);
        }));
        assert_eq!(wrong.status.code(), 500);
        assert!(wrong.error.unwrap().1.starts_with("4006 hop-by-hop"));
        let failed = sent(of(|_| Err::<Body, _>(io::Error::new(io::ErrorKind::FileTooLarge, Cause::ContentLong))));
        assert_eq!(failed.status.code(), 413);
        let torn = of(|start_response| {
            start_response.start("200 OK", &[]);
            Body::blocks(vec![Ok(Block::Borrowed(b"a")), Err(io::Error::other("torn"))])
        });
        assert_eq!(sent(torn).error, Some((Cause::BodyFailed, "torn".into())));
    }

    #[test]
    fn p_sr_08_the_error_of_a_restart_goes_to_the_error_stream() {
        let inner = |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            start_response.restart("503 Busy", &[], "no database").map(|_| "later")
        };
        let outer = crate::simple(move |environ: &Environ| Response::of(&inner, environ));
        let response = Request::get("/").call(&outer);
        assert_eq!((response.status.code(), &*response.text(), &*response.errors), (503, "later", "no database\n"));
    }

    #[test]
    fn content_is_the_whole_or_nothing_and_always_goes_on_where_it_was_left() {
        let blocks = |failure: bool| {
            let end = failure.then(|| Err(io::Error::other("torn")));
            let blocks = ["ab", "", "cd"].map(|block| Ok(Block::Borrowed(block.as_bytes())));
            Response::new("200 OK", Body::blocks(blocks.into_iter().chain(end)))
        };
        for limit in 0..=5 {
            let mut response = blocks(false);
            assert_eq!(response.content(limit).is_some(), limit >= 4, "{limit}");
            assert_eq!(response.body.known_len(), (limit >= 4).then_some(4), "{limit}");
            assert_eq!(response.content(5), Some(&b"abcd"[..]), "{limit}");
            assert_eq!(sent(response).text(), "abcd");
            let mut response = blocks(true);
            assert_eq!(response.content(limit), None);
            let sent = sent(response.with_header("A", "b"));
            assert_eq!((&*sent.text(), sent.error.unwrap().0), ("abcd", Cause::BodyFailed), "{limit}");
        }
        // What is still to be made needs the start_response for that.
        let mut late = Response::text(Body::deferred(|_| "late"));
        assert_eq!(late.content(9), None);
        assert_eq!(sent(late).text(), "late");
        assert_eq!(Response::text("abc").content(2), None);
        assert_eq!(Response::text(()).content(0), Some(&b""[..]));
        assert_eq!(Response::text(Body::reader(&b"abc"[..])).content(3), Some(&b"abc"[..]));
    }

    #[test]
    fn p_body_04_what_runs_on_close_runs_once_and_when_the_response_is_over() {
        let closed = Arc::new(AtomicUsize::new(0));
        let body = |blocks: Vec<&'static [u8]>| {
            let count = Arc::clone(&closed);
            Body::blocks(blocks).on_close(move || {
                count.fetch_add(1, Ordering::SeqCst);
            })
        };
        for (expected, limit) in [(1, 1), (2, 9)] {
            let mut response = Response::new("200 OK", body(vec![b"a", b"b"]));
            response.content(limit);
            assert_eq!(closed.load(Ordering::SeqCst), expected - 1);
            assert_eq!(sent(response).text(), "ab");
            assert_eq!(closed.load(Ordering::SeqCst), expected);
        }
        let unstarted = Mutex::new(Some(body(vec![])));
        let response = of(move |_| unstarted.lock().unwrap().take().unwrap());
        assert_eq!(closed.load(Ordering::SeqCst), 2);
        drop(response);
        assert_eq!(closed.load(Ordering::SeqCst), 3);
    }
}
