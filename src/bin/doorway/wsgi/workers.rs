//! All workers of an application: who gets a request, who is started again, who replaces whom.
//!
//! Each worker has a thread that starts it, waits for its end, and starts it again unless it was to go. A worker that is to go gets no request
//! any more, and is told to end when it has answered those it has; whoever takes its place is there before.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use doorway::app::Pass;
use doorway::{Application, Body, Environ, StartResponse, escape_html};

use super::process::{Process, Started};
use super::{Plan, unforeseen};
use crate::behind::GATHERED;
use crate::{console, threads};

/// How long a request waits for a worker.
const QUEUE: Duration = Duration::from_secs(30);

/// A worker that ended sooner than that is started again only after a pause, which doubles up to [`MAX_PAUSE`].
const SOON: Duration = Duration::from_secs(1);
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The workers of one application.
#[derive(Clone)]
pub struct Workers(Arc<Shared>);

struct Shared {
    plan: Plan,
    state: Mutex<State>,
    /// For whoever waits for a worker to come or to go.
    changed: Condvar,
    /// For requests that wait for a thread of a worker. Of its own: one that is told of a free thread must be one that wants it.
    freed: Condvar,
    numbers: AtomicUsize,
}

#[derive(Default)]
struct State {
    workers: Vec<Worker>,
    /// Rises with each reload.
    generation: u64,
    /// Processes that have been started and not been reaped.
    living: usize,
    is_stopping: bool,
    /// A file has changed, and nobody is there who has read it.
    is_stale: bool,
    /// Why there is no application: only with `--reload`.
    failure: Option<String>,
}

struct Worker {
    process: Arc<Process>,
    pass: Pass,
    generation: u64,
    /// Requests that it has.
    busy: usize,
    served: u64,
    /// After so many requests another one takes its place.
    limit: Option<u64>,
    /// That other one is being started.
    is_due: bool,
    /// It gets no more requests.
    is_leaving: bool,
    /// It accepts no connection: it has just died, and is started again.
    is_dead: bool,
}

impl Worker {
    fn is_free(&self, threads: usize) -> bool {
        !self.is_leaving && !self.is_dead && self.busy < threads
    }
}

impl Workers {
    /// Starts them, and waits for the first.
    ///
    /// # Errors
    /// Why the application is not there. Python's own words about it have been passed on by then.
    pub fn start(plan: Plan) -> io::Result<Workers> {
        DirBuilder::new().mode(0o700).create(&plan.folder)?;
        let shared = Arc::new(Shared {
            plan,
            state: Mutex::default(),
            changed: Condvar::new(),
            freed: Condvar::new(),
            numbers: AtomicUsize::new(0),
        });
        let workers = Workers(shared);
        match workers.0.start_one() {
            Ok(started) => workers.0.fill(started, 0),
            Err(error) if workers.0.plan.reload && error.kind() != io::ErrorKind::NotFound => {
                workers.0.state().failure = Some(error.to_string());
                console::say(&format!("doorway: {error}; waiting for a change\n"));
            }
            Err(error) => {
                workers.clean();
                return Err(error);
            }
        }
        Ok(workers)
    }

    /// The application, for content that is there: a worker has few threads, and waits for no client.
    pub fn application(&self) -> impl Application + use<> {
        let shared = Arc::clone(&self.0);
        move |environ: &Environ, start_response: &mut StartResponse| shared.call(environ, start_response)
    }

    /// Starts new workers and lets the old ones finish. Where the new ones do not start, the old ones go on.
    pub fn reload(&self) {
        let shared = &self.0;
        shared.state().is_stale = shared.plan.reload;
        let started = shared.start_one();
        let mut state = shared.state();
        state.is_stale = false;
        match started {
            Ok(started) => {
                state.generation += 1;
                state.failure = None;
                let generation = state.generation;
                if shared.plan.reload {
                    // Nobody who works on a page wants it from the old ones.
                    (0..state.workers.len()).for_each(|at| shared.dismiss(&mut state, at));
                }
                drop(state);
                shared.fill(started, generation);
                if !shared.plan.quiet {
                    console::say(&format!("doorway: {} is loaded anew\n", shared.plan.application));
                }
            }
            Err(error) => {
                if shared.plan.reload {
                    state.failure = Some(error.to_string());
                    console::say(&format!("doorway: {error}; waiting for a change\n"));
                } else {
                    console::say(&format!("doorway: {error}; the workers that are there go on\n"));
                }
            }
        }
        shared.tell();
    }

    /// Ends all of them: kindly, and after the time by force.
    pub fn stop(&self, grace: Duration) {
        let shared = &self.0;
        let mut state = shared.state();
        state.is_stopping = true;
        (0..state.workers.len()).for_each(|at| shared.dismiss(&mut state, at));
        shared.tell();
        let waited = shared.changed.wait_timeout_while(state, grace, |state| state.living > 0);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.workers.iter().for_each(|worker| worker.process.kill());
        drop(state);
        self.clean();
    }

    /// Removes what is on the disk.
    pub fn clean(&self) {
        let _ = std::fs::remove_dir_all(&self.0.plan.folder);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody that the workers are others now.
    fn tell(&self) {
        self.changed.notify_all();
        self.freed.notify_all();
    }

    /// Starts one worker and waits until it is ready.
    fn start_one(&self) -> io::Result<Started> {
        let starting = Process::start(&self.plan, self.numbers.fetch_add(1, Ordering::Relaxed))?;
        self.state().living += 1;
        starting.wait().map_err(|reason| {
            self.state().living -= 1;
            self.tell();
            io::Error::other(format!("cannot load {}: {reason}", self.plan.application))
        })
    }

    /// Gives a worker its thread, and starts as many others as are to be.
    fn fill(self: &Arc<Shared>, first: Started, generation: u64) {
        self.keep(Some(first), generation);
        for _ in 1..self.plan.workers {
            self.keep(None, generation);
        }
    }

    /// Keeps one worker alive, in a thread of its own.
    fn keep(self: &Arc<Shared>, started: Option<Started>, generation: u64) {
        let shared = Arc::clone(self);
        let spawned = threads::start("wsgi-worker", move || {
            let (mut started, mut pause) = (started, MIN_PAUSE);
            while started.is_some() || shared.is_wanted(generation) {
                let begin = Instant::now();
                let worker = match started.take().map_or_else(|| shared.start_one(), Ok) {
                    Ok(worker) => worker,
                    Err(error) => {
                        console::say(&format!("doorway: {error}; it is tried again\n"));
                        pause = shared.pause(pause);
                        continue;
                    }
                };
                let process = Arc::clone(&worker.process);
                shared.enter(&process, generation);
                let how = worker.wait();
                let was_wanted = shared.leave(process.id);
                if !was_wanted {
                    return;
                }
                console::say(&format!(
                    "doorway: worker {} {how}, and another one is started{}\n",
                    process.id,
                    process.last_words()
                ));
                pause = if begin.elapsed() < SOON { shared.pause(pause) } else { MIN_PAUSE };
            }
        });
        if let Err(error) = spawned {
            console::say(&format!("doorway: no thread for a worker: {error}\n"));
        }
    }

    fn is_wanted(&self, generation: u64) -> bool {
        let state = self.state();
        !state.is_stopping && state.generation == generation
    }

    /// Waits, and gives the next pause.
    fn pause(&self, pause: Duration) -> Duration {
        let waited = self.changed.wait_timeout_while(self.state(), pause, |state| !state.is_stopping);
        drop(waited);
        (pause * 2).min(MAX_PAUSE)
    }

    /// A worker is ready. It takes the place of one that is to go, where there is one.
    fn enter(self: &Arc<Shared>, process: &Arc<Process>, generation: u64) {
        let mut state = self.state();
        let address = format!("unix:{}", process.socket.display());
        // The name of the folder is ours, so that this is an address.
        let Ok(pass) = Pass::scgi(&address) else { return };
        let pass = pass.kept().gather_answer(GATHERED);
        let pass = pass.first_byte_deadline(self.plan.timeout).progress_deadline(self.plan.timeout);
        state.workers.push(Worker {
            process: Arc::clone(process),
            pass,
            generation,
            busy: 0,
            served: 0,
            limit: self.plan.max_requests.map(jittered),
            is_due: false,
            is_leaving: false,
            is_dead: false,
        });
        let last = state.workers.len() - 1;
        let active = state.workers.iter().filter(|worker| !worker.is_leaving && !worker.is_dead).count();
        if state.is_stopping || generation < state.generation {
            self.dismiss(&mut state, last);
        } else if active > self.plan.workers {
            // Whoever was to go; itself, where that one has gone by itself and was started again.
            let leaves = |worker: &Worker| !worker.is_leaving && (worker.generation < generation || worker.is_due);
            let leaving = state.workers.iter().position(leaves).unwrap_or(last);
            self.dismiss(&mut state, leaving);
        }
        self.tell();
    }

    /// A worker has ended. Gives whether that was not to be.
    fn leave(&self, id: u32) -> bool {
        let mut state = self.state();
        state.living -= 1;
        let found = state.workers.iter().position(|worker| worker.process.id == id);
        let was_wanted = found.is_some_and(|at| !state.workers.remove(at).is_leaving) && !state.is_stopping;
        self.tell();
        was_wanted
    }

    /// A worker gets no more requests, and ends with the last of those it has.
    fn dismiss(self: &Arc<Shared>, state: &mut State, at: usize) {
        let worker = &mut state.workers[at];
        worker.is_leaving = true;
        if worker.busy == 0 {
            self.end(&worker.process);
        }
    }

    /// Ends a worker: kindly, and by force where it does not within the time that a call may take.
    fn end(self: &Arc<Shared>, process: &Arc<Process>) {
        process.end();
        let (shared, process) = (Arc::clone(self), Arc::clone(process));
        // Without a thread it ends by itself or not at all.
        let _ = threads::start("wsgi-end", move || {
            let is_there = |state: &mut State| {
                !state.is_stopping && state.workers.iter().any(|worker| worker.process.id == process.id)
            };
            let waited = shared.changed.wait_timeout_while(shared.state(), shared.plan.timeout, is_there);
            if waited.is_ok_and(|(_, waited)| waited.timed_out()) {
                process.kill();
            }
        });
    }

    fn call(self: &Arc<Shared>, environ: &Environ, start_response: &mut StartResponse) -> Body {
        loop {
            let seat = match self.take_seat() {
                Ok(seat) => seat,
                Err(refusal) => return refusal.answer(start_response),
            };
            let begin = Instant::now();
            let body = match seat.pass.try_call(environ, start_response) {
                Ok(body) => body,
                // It has just died: nothing has been sent, so that another one can be asked.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                    seat.mark_dead();
                    continue;
                }
                Err(error) => return Body::from(Err::<Body, _>(error)),
            };
            let is_504 = start_response.status().is_some_and(|status| status.code() == 504);
            if is_504 && begin.elapsed() >= self.plan.timeout {
                seat.kill(&request_line(environ));
            }
            if body.known_len().is_some() {
                return body;
            }
            let timeout = self.plan.timeout;
            let line = request_line(environ);
            let (seat, mut last) = (Arc::new(seat), Instant::now());
            let other = Arc::clone(&seat);
            let watched = body.inspect_blocks(move |block| {
                if block.is_err() && last.elapsed() >= timeout {
                    other.kill(&line);
                }
                last = Instant::now();
            });
            return watched.on_close(move || drop(seat));
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
            if let Some(worker) = free.min_by_key(|worker| (worker.busy, worker.served)) {
                worker.busy += 1;
                worker.served += 1;
                let generation = worker.generation;
                let is_due = !worker.is_due && worker.limit.is_some_and(|limit| worker.served >= limit);
                worker.is_due |= is_due;
                let seat =
                    Seat { shared: Arc::clone(self), process: Arc::clone(&worker.process), pass: worker.pass.clone() };
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
}

/// `--max-requests` and up to a tenth more, so that not all workers are replaced at the same time.
fn jittered(limit: u64) -> u64 {
    limit + unforeseen() % (limit / 10 + 1)
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
}

impl Seat {
    fn mark_dead(&self) {
        let mut state = self.shared.state();
        if let Some(worker) = state.workers.iter_mut().find(|worker| worker.process.id == self.process.id) {
            worker.is_dead = true;
        }
    }

    fn kill(&self, line: &str) {
        // From here on nobody else is sent to it.
        self.mark_dead();
        let seconds = self.shared.plan.timeout.as_secs();
        console::say(&format!("doorway: worker {} is silent for {seconds} s in {line}, and killed\n", self.process.id));
        self.process.show_and_kill();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(at) = state.workers.iter().position(|worker| worker.process.id == self.process.id) {
            let worker = &mut state.workers[at];
            worker.busy = worker.busy.saturating_sub(1);
            if worker.is_leaving && worker.busy == 0 {
                self.shared.end(&self.process);
            }
        }
        // Whoever is told wants the lock.
        drop(state);
        self.shared.freed.notify_one();
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
