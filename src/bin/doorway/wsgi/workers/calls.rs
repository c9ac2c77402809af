//! One request at a worker: who gets it, and until when a thread there has it.
//!
//! An answer that is taken to its end is over on both sides, unless its head says that what the application does behind it may last (`LASTS`). Where
//! nobody wants the rest of one, the worker hears that with its next block, and is at that for as long as it takes. In both cases the call is its until it
//! says that it has closed the connection, or is killed because that lasts too long: nobody is sent to a thread that is not free.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use doorway::app::Pass;
use doorway::{Block, Body, Cause, Environ, StartResponse, escape_html};

use super::{Process, Shared};
use crate::console;

/// How long a request waits for a worker.
const QUEUE: Duration = Duration::from_secs(30);

/// The field of a worker's by which an answer says that its thread is not free when it is whole.
const LASTS: &str = "Doorway-Lasts";

impl Shared {
    pub(super) fn call(self: &Arc<Shared>, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let lasts = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&lasts);
        start_response.on_start(move |_, headers| {
            if headers.contains(LASTS) {
                headers.remove(LASTS);
                said.store(true, Ordering::Relaxed);
            }
        });
        loop {
            let mut seat = match self.take_seat() {
                Ok(seat) => seat,
                Err(refusal) => return refusal.answer(start_response),
            };
            let mut environ = environ.clone();
            environ.set("DOORWAY_CALL", seat.number.to_string());
            let begin = Instant::now();
            let body = match seat.pass.try_call(&environ, start_response) {
                Ok(body) => body,
                // It has just died: nothing has been sent, so that another one can be asked.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                    self.mark_dead(&seat.process);
                    continue;
                }
                Err(error) => return Body::from(Err::<Body, _>(error)),
            };
            // One of the application's has a length, or comes in blocks, and the worker may have been busy with its content for as long. To HEAD the two
            // look alike.
            let is_silence = body.known_len().is_some()
                && start_response.status().is_some_and(|status| status.code() == 504)
                && start_response.headers().is_some_and(|headers| !headers.contains("Content-Length"));
            if is_silence && begin.elapsed() >= self.plan.timeout {
                self.kill(&seat.process, &request_line(&environ));
            }
            let (is_there, lasts) = (body.known_len().is_some(), lasts.load(Ordering::Relaxed));
            if !is_there || lasts {
                seat.line = Some(request_line(&environ));
            }
            if is_there {
                return body;
            }
            return Body::blocks(Answer { blocks: Box::new(body.into_blocks()), seat, lasts });
        }
    }

    /// A thread of a worker for one request: of the one that has the fewest.
    fn take_seat(self: &Arc<Shared>) -> Result<Seat, Refusal> {
        let begin = Instant::now();
        let mut state = self.state();
        loop {
            if let Some(failure) = state.failure.as_ref().filter(|_| !state.is_stale) {
                return Err(Refusal::NotLoaded(failure.clone()));
            }
            let is_stale = state.is_stale;
            let free = state.workers.iter_mut().filter(|worker| worker.is_free(self.plan.threads) && !is_stale);
            // Of several with as few, the one that has served the least.
            if let Some(worker) = free.min_by_key(|worker| (worker.calls.len(), worker.served)) {
                worker.served += 1;
                let number = worker.served;
                worker.calls.push(number);
                let generation = worker.generation;
                let is_due = !worker.is_due && worker.limit.is_some_and(|limit| worker.served >= limit);
                worker.is_due |= is_due;
                let (process, pass) = (Arc::clone(&worker.process), worker.pass.clone());
                let seat = Seat { shared: Arc::clone(self), process, pass, number, line: None };
                drop(state);
                if is_due {
                    self.keep(None, generation);
                }
                return Ok(seat);
            }
            let left = QUEUE.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(Refusal::Busy);
            }
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The thread that had this call is free.
    pub(super) fn end_call(self: &Arc<Shared>, id: u32, number: u64) {
        let mut state = self.state();
        let Some(worker) = state.workers.iter_mut().find(|worker| worker.process.id == id) else { return };
        let Some(at) = worker.calls.iter().position(|call| *call == number) else { return };
        worker.calls.swap_remove(at);
        if worker.is_leaving && worker.calls.is_empty() {
            self.end(&worker.process);
        }
        // Whoever is told wants the lock.
        drop(state);
        self.freed.notify_one();
    }
}

fn request_line(environ: &Environ) -> String {
    let target = environ.get("REQUEST_URI").unwrap_or_else(|| environ.path());
    console::printable(format!("{} {target}", environ.method()).as_bytes())
}

/// A thread of a worker, for one request.
struct Seat {
    shared: Arc<Shared>,
    process: Arc<Process>,
    pass: Pass,
    /// That of the call.
    number: u64,
    /// What was asked for, where the worker has still to say that the thread is free.
    line: Option<String>,
}

impl Drop for Seat {
    /// Where nobody wants the rest, the worker hears it with its next block. Until it is free it may be as silent as in any other call.
    fn drop(&mut self) {
        match self.line.take() {
            None => self.shared.end_call(self.process.id, self.number),
            Some(line) => self.shared.limit(&self.process, Some((self.number, line))),
        }
    }
}

/// An answer that comes block by block.
struct Answer {
    /// Closed before the seat is given back.
    blocks: Box<dyn Iterator<Item = io::Result<Block>> + Send>,
    seat: Seat,
    /// The thread is not free when it is whole.
    lasts: bool,
}

impl Iterator for Answer {
    type Item = io::Result<Block>;

    fn next(&mut self) -> Option<io::Result<Block>> {
        let (block, Seat { shared, process, line, .. }) = (self.blocks.next(), &mut self.seat);
        match &block {
            None if !self.lasts => *line = None,
            // Any other end is no silence, however long the client has taken over the block before.
            Some(Err(error)) if Cause::of(error) == Some(Cause::UpstreamDeadline) => {
                shared.kill(process, line.as_deref().unwrap_or_default());
            }
            _ => {}
        }
        block
    }
}

/// Why a request reaches no worker.
enum Refusal {
    Busy,
    NotLoaded(String),
}

impl Refusal {
    fn answer(self, start_response: &mut StartResponse) -> Body {
        match self {
            Refusal::Busy => {
                start_response
                    .start("503 Service Unavailable", &[("Content-Type", "text/plain"), ("Retry-After", "5")]);
                Body::from("503 Service Unavailable: every worker is busy\n")
            }
            Refusal::NotLoaded(reason) => {
                let kind = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")];
                start_response.start("500 Internal Server Error", &kind);
                Body::from(format!(
                    "<!doctype html>\n<meta http-equiv=refresh content=1>\n<title>not loaded</title>\n<h1>The application is not loaded</h1>\n<pre>{}</pre>\n\
                    <p>The log has the traceback. With the next change of a .py file it is tried again.\n",
                    escape_html(&reason)
                ))
            }
        }
    }
}
