//! All workers of an application: who is started again, who replaces whom. Who gets a request is the affair of `calls`.
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
use doorway::{Application, Environ, StartResponse};

use super::process::{Process, Started};
use super::{Plan, unforeseen, watch};
use crate::behind::GATHERED;
use crate::{console, threads};

mod calls;

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
    /// Held while the application is loaded anew: who comes later loads what is there later.
    reloading: Mutex<()>,
    /// For whoever waits for a worker to come or to go.
    changed: Condvar,
    /// For requests that wait for a thread of a worker. Of its own: one that is told of a free thread must be one that wants it.
    freed: Condvar,
    numbers: AtomicUsize,
}

#[derive(Default)]
struct State {
    workers: Vec<Worker>,
    /// Rises with each load that the workers, or the page that says what is wrong, are of.
    generation: u64,
    /// Processes that have been started and not been reaped: the workers, and those that are still loading.
    living: Vec<Arc<Process>>,
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
    /// The numbers of those that threads of it have.
    calls: Vec<u64>,
    /// How many it has had; the last one's number.
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
        !self.is_leaving && !self.is_dead && self.calls.len() < threads
    }
}

impl Workers {
    /// Starts them, and waits for the first.
    ///
    /// # Errors
    /// Why the application is not there. Python's own words about it have been passed on by then.
    pub fn start(plan: Plan) -> io::Result<Workers> {
        let shared = Arc::new(Shared {
            plan,
            state: Mutex::default(),
            reloading: Mutex::default(),
            changed: Condvar::new(),
            freed: Condvar::new(),
            numbers: AtomicUsize::new(0),
        });
        let workers = Workers(shared);
        if workers.0.plan.reload {
            // What changes from here on is loaded anew, behind this load.
            let files = watch::watch(workers.clone())?;
            // So that a page of the files before this start is loaded anew, too; half of it, because it rises.
            workers.0.state().generation = files >> 1;
        }
        let generation = workers.loads();
        let alone = workers.0.reloading.lock();
        DirBuilder::new().mode(0o700).create(&workers.0.plan.folder)?;
        match workers.0.start_one() {
            Ok(started) => workers.0.fill(started, generation),
            Err(error) if workers.0.plan.reload && error.kind() != io::ErrorKind::NotFound => {
                workers.0.state().failure = Some(error.to_string());
                workers.0.not_started(&error, "waiting for a change");
            }
            Err(error) => {
                workers.kill();
                return Err(error);
            }
        }
        drop(alone);
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
        let _alone = shared.reloading.lock();
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
            Err(error) if shared.plan.reload => {
                state.generation += 1;
                state.failure = Some(error.to_string());
                drop(state);
                shared.not_started(&error, "waiting for a change");
            }
            Err(error) => {
                drop(state);
                shared.not_started(&error, "the workers that are there go on");
            }
        }
        shared.tell();
    }

    /// How often the application was loaded anew, or could not be, of which every page tells.
    pub fn loads(&self) -> u64 {
        self.0.state().generation
    }

    /// Ends all of them: kindly, and after the time by force.
    pub fn stop(&self, grace: Duration) {
        let shared = &self.0;
        let mut state = shared.state();
        state.is_stopping = true;
        (0..state.workers.len()).for_each(|at| shared.dismiss(&mut state, at));
        shared.tell();
        let waited = shared.changed.wait_timeout_while(state, grace, |state| !state.living.is_empty());
        drop(waited);
        self.kill();
    }

    /// Ends all of them at once, and removes what is on the disk.
    pub fn kill(&self) {
        let mut state = self.0.state();
        state.is_stopping = true;
        state.living.iter().for_each(|process| process.kill());
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
        let id = starting.process.id;
        let mut state = self.state();
        state.living.push(Arc::clone(&starting.process));
        if state.is_stopping {
            starting.process.kill();
        }
        drop(state);
        starting.wait().map_err(|reason| {
            self.state().living.retain(|process| process.id != id);
            self.tell();
            io::Error::other(format!("cannot load {}: {reason}", self.plan.application))
        })
    }

    /// Says that a worker is not there, unless it was ended because all are.
    fn not_started(&self, error: &io::Error, then: &str) {
        if !self.state().is_stopping {
            console::say(&format!("doorway: {error}; {then}\n"));
        }
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
                        shared.not_started(&error, "it is tried again");
                        pause = shared.pause(pause);
                        continue;
                    }
                };
                let process = Arc::clone(&worker.process);
                shared.enter(&process, generation);
                let how = worker.wait(|number| {
                    shared.end_call(process.id, number);
                    // Whoever limits that call.
                    shared.changed.notify_all();
                });
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
            calls: Vec::new(),
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
        state.living.retain(|process| process.id != id);
        let found = state.workers.iter().position(|worker| worker.process.id == id);
        let was_wanted = found.is_some_and(|at| !state.workers.remove(at).is_leaving) && !state.is_stopping;
        self.tell();
        was_wanted
    }

    /// A worker gets no more requests, and ends with the last of those it has.
    fn dismiss(self: &Arc<Shared>, state: &mut State, at: usize) {
        let worker = &mut state.workers[at];
        worker.is_leaving = true;
        if worker.calls.is_empty() {
            self.end(&worker.process);
        }
    }

    /// Ends a worker: kindly, and by force where it does not within the time that a call may take.
    fn end(self: &Arc<Shared>, process: &Arc<Process>) {
        process.end();
        self.limit(process, None);
    }

    /// Kills a worker that is still there when the time is over that a call may take; of a call, given by its number and request, only where it still has that.
    fn limit(self: &Arc<Shared>, process: &Arc<Process>, call: Option<(u64, String)>) {
        let (shared, process) = (Arc::clone(self), Arc::clone(process));
        // Without a thread it ends by itself or not at all.
        let _ = threads::start("wsgi-end", move || {
            let lasts = |state: &mut State| {
                let is_it = |worker: &Worker| {
                    worker.process.id == process.id
                        && call.as_ref().is_none_or(|(number, _)| worker.calls.contains(number))
                };
                !state.is_stopping && state.workers.iter().any(is_it)
            };
            let waited = shared.changed.wait_timeout_while(shared.state(), shared.plan.timeout, lasts);
            if waited.is_ok_and(|(_, waited)| waited.timed_out()) {
                match &call {
                    None => process.kill(),
                    Some((_, line)) => shared.kill(&process, line),
                }
            }
        });
    }

    /// From here on nobody is sent to it.
    fn mark_dead(&self, process: &Process) {
        if let Some(worker) = self.state().workers.iter_mut().find(|worker| worker.process.id == process.id) {
            worker.is_dead = true;
        }
    }

    /// A worker hangs.
    fn kill(&self, process: &Process, line: &str) {
        self.mark_dead(process);
        let seconds = self.plan.timeout.as_secs();
        console::say(&format!("doorway: worker {} is silent for {seconds} s in {line}, and killed\n", process.id));
        process.show_and_kill();
    }
}

/// `--max-requests` and up to a tenth more, so that not all workers are replaced at the same time.
fn jittered(limit: u64) -> u64 {
    limit + unforeseen() % (limit / 10 + 1)
}
