//! The fixed pool of threads that call the application: each attends a shard, or waits for one to need it.
//!
//! A worker sweeps its shard, and when a connection has a request it calls the application itself: a fast application costs no hand-over
//! between threads, and a sweep under load no sleep, which makes the design as cheap as an event loop. When a call lasts longer than a look of
//! the monitor, the shard is taken over by an idle worker; the slow one finds that when it comes back, brings its connection to the inbox and
//! becomes idle. Where calls are slow as a rule (a moving average says so, or the last call for the same connection), the shard is given
//! away before the call.
//!
//! # Why it is right
//! - *No connection is lost or served twice*: it is owned by value, by a collection of a shard or by one thread's variable. A thread that has
//!   lost its shard still owns the connection of its job and delivers it.
//! - *At most one worker attends a shard*: one that is away has it again only if the word is still its own, and each word is changed once.
//! - *No shard is left*: a shard is attended, or its worker is away and will try to come back, or it stands in the queue of
//!   [`Unattended`]. While it stands there because no thread is free, the monitor sweeps it: deadlines, refusals and slow clients go on.
//! - *None starves*: hot connections, and what waits for a thread, stand in a ring; a served one goes to its end; a worker leaves its shard
//!   for one that has work and no worker.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::answer::Calls;
use super::connection::{Connection, Step};
use super::engine::Engine;
use super::settings::{IDLE_PASSES, LONG_CALL, SHORTEST, SLOW_CALL, STAY, YIELD_AFTER};
use super::shard::{ATTENDS, BLOCKS, Found, Shard, WORKS};
use super::shared::{lock, wait};
use super::upgrade;
use crate::gateway::discard_panic;

/// Shards that need a worker, in the order in which they lost theirs.
#[derive(Default)]
pub(super) struct Unattended {
    shards: Mutex<VecDeque<Arc<Shard>>>,
    signal: Condvar,
    /// How many workers wait for a shard, less how many shards wait for a worker.
    idle: AtomicIsize,
    is_closed: AtomicBool,
}

impl Unattended {
    pub(super) fn push(&self, shard: &Arc<Shard>) {
        self.idle.fetch_sub(1, Ordering::SeqCst);
        lock(&self.shards).push_back(Arc::clone(shard));
        self.signal.notify_one();
    }

    /// Waits for a shard; `None` when the server has ended.
    fn take(&self) -> Option<Arc<Shard>> {
        self.idle.fetch_add(1, Ordering::SeqCst);
        let mut shards = lock(&self.shards);
        while !self.is_closed() {
            if let Some(shard) = shards.pop_front() {
                return Some(shard);
            }
            shards = wait(&self.signal, shards, None);
        }
        None
    }

    /// Whether a worker waits that no shard is for yet.
    pub(super) fn has_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst) > 0
    }

    /// Whether no shard waits but for a worker that is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.idle.load(Ordering::SeqCst) >= 0
    }

    /// Whether jobs wait in one of them, because no thread is free.
    pub(super) fn have_work(&self) -> bool {
        !self.is_empty() && lock(&self.shards).iter().any(|shard| shard.queued.load(Ordering::Relaxed) > 0)
    }

    /// Sends every worker home.
    pub(super) fn close(&self) {
        let _shards = lock(&self.shards);
        self.is_closed.store(true, Ordering::SeqCst);
        self.signal.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }
}

/// A thread of the pool.
pub(super) struct Worker<'a> {
    engine: &'a Engine,
    calls: Calls,
}

/// A shard that a worker has. Whatever ends that hands it on, a panic of ours included, unless it is another's already.
struct Attendance {
    shard: Arc<Shard>,
    /// Its word, `None` once the shard is another's.
    word: Option<usize>,
}

impl Attendance {
    /// Goes away, to run a job or to block on the only connection, or comes back. Tells whether the shard is still its own.
    fn exchange(&mut self, does: usize) -> bool {
        self.word = self.word.and_then(|word| self.shard.exchange(word, does));
        self.word.is_some()
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.word.iter().for_each(|word| self.shard.change_worker(*word));
    }
}

impl Worker<'_> {
    /// Attends one shard after the other until the server ends.
    pub(super) fn run(engine: &Engine) {
        let mut worker = Worker { engine, calls: Calls::new(&engine.shared) };
        while let Some(shard) = engine.unattended.take() {
            worker.attend(Attendance { word: shard.exchange(shard.word(), ATTENDS), shard });
        }
    }

    /// Attends a shard until it is another's, another needs a worker more, or the server ends.
    fn attend(&mut self, mut own: Attendance) {
        let (engine, shard) = (self.engine, Arc::clone(&own.shard));
        let (mut back, mut fruitless, mut turns) = (None, 0_u32, 0_u32);
        // Not before a sweep: two shards without a worker would be exchanged for each other by the one thread that is free, for ever.
        while turns == 0 || !engine.unattended.have_work() {
            turns = turns.wrapping_add(1);
            // Now and then it lets clients and other workers have the core.
            if turns % YIELD_AFTER == 0 {
                std::thread::yield_now();
            }
            engine.keep_within_memory();
            let now = Instant::now();
            match shard.sweep(back.take(), &engine.shared, now, None) {
                Found::Nothing(Some(Duration::ZERO)) => continue,
                // Looked at after the sweep, which takes the mail: whoever closes wakes the worker after that.
                Found::Nothing(_) if engine.unattended.is_closed() => break,
                Found::Nothing(time) => {
                    self.pause(&shard, time, &mut fruitless);
                    continue;
                }
                Found::Job(connection) => {
                    fruitless = 0;
                    back = self.run_job(&mut own, connection, now);
                }
                Found::Alone(connection, due) => {
                    own.exchange(BLOCKS);
                    back = self.block_on(&mut own, connection, due);
                }
            }
            // Among the others no read and no write may wait.
            back = back.filter(|connection| connection.socket.set_waiting(false).is_ok());
            if !own.exchange(ATTENDS) {
                break;
            }
        }
        if let Some(connection) = back {
            shard.deliver(connection);
        }
    }

    /// Nothing is to be done in the shard: accepts what comes in a rush, yields, and sleeps when that has led to nothing for long.
    fn pause(&self, shard: &Shard, time: Option<Duration>, fruitless: &mut u32) {
        // A hot connection is looked at after each yield. Without one there is nothing to find but what is brought.
        let is_hot = time.is_some_and(|time| time <= SHORTEST);
        while !self.engine.accept_in_rush() {
            if *fruitless == IDLE_PASSES {
                // Nobody wakes a worker for a connection that it is to accept itself.
                let look = self.engine.has_rush().then_some(SHORTEST);
                return shard.sleep(time.into_iter().chain(look).min());
            }
            *fruitless += 1;
            // Under load the next request or connection is a moment away, and a sleep would cost more than it.
            std::thread::yield_now();
            if is_hot || shard.has_mail() {
                return;
            }
        }
        *fruitless = 0;
    }

    /// Runs what a connection has for a thread. Gives it back unless it has ended.
    fn run_job(
        &mut self,
        own: &mut Attendance,
        mut connection: Box<Connection>,
        mut now: Instant,
    ) -> Option<Box<Connection>> {
        let (shared, average) = (&self.engine.shared, own.shard.average_call());
        // Run even if the shard is another's by now: nobody else would find the job again. When the call is likely to last, the shard is given
        // away before it, whether or not a thread is free to take it at once, so that the first that becomes free does.
        own.exchange(WORKS);
        if let Some(word) = own.word.filter(|_| average > SLOW_CALL || connection.last_call > LONG_CALL) {
            own.shard.change_worker(word);
            // The time of a hand-over is not the application's.
            now = Instant::now();
        }
        // It looks after a call that lasts, and after a shard that no thread is free for. Not before: it would see neither, and sleep.
        shared.monitor.notice();
        // The application's panics are caught where they are answered. What is caught here is a value of the application's that
        // panics when it is dropped: the connection is lost and its call, and the thread goes on.
        let run = catch_unwind(AssertUnwindSafe(|| self.calls.run(&mut connection, now)));
        match run {
            Ok(lasted) => {
                connection.last_call = lasted;
                connection.count_phase();
                own.shard.note_call(connection.last_call);
                upgrade::stay_or_leave(connection, shared)
            }
            Err(panic) => {
                discard_panic(panic);
                self.calls.score.end();
                None
            }
        }
    }

    /// Stays with the shard's only hot connection until a sleeper may: blocks on it, one slice at a time, so that the kernel wakes the thread when
    /// its client says something. Two system calls a request, and no sleep of any other kind.
    fn block_on(
        &mut self,
        own: &mut Attendance,
        mut connection: Box<Connection>,
        due: Option<Instant>,
    ) -> Option<Box<Connection>> {
        let shared = &*self.engine.shared;
        let mut now = Instant::now();
        // Whoever brings something looks whether the worker blocks, and this looks for mail after it has said so: one sees the other. Mail is
        // also how the worker is told that another shard waits for a thread.
        while !own.shard.has_mail()
            && due.is_none_or(|due| now < due)
            && connection.is_worth_waiting_for()
            && connection.socket.set_waiting(true).is_ok()
        {
            // The reading of before the wait is good enough for a deadline; one call of the clock is spared.
            let step = connection.step(shared, now);
            now = Instant::now();
            match step {
                Step::End => return None,
                Step::Wait if now.saturating_duration_since(connection.since) > STAY => break,
                Step::Wait | Step::More => {}
                Step::Job => {
                    connection = self.run_job(own, connection, now)?;
                    if !own.exchange(BLOCKS) {
                        break;
                    }
                }
            }
        }
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::gateway::{Body, Environ, StartResponse, Variables};
    use crate::log::Lines;
    use crate::server::listener::Listener;
    use crate::server::settings::Settings;
    use crate::server::shared::Shared;

    /// Lasts from nothing to longer than the monitor waits.
    fn application(environ: &Environ, start_response: &mut StartResponse) -> &'static str {
        let milliseconds = environ.query_string().parse().unwrap_or(0);
        if milliseconds > 0 {
            // The application that is tested with is slow: this is no wait for something to happen.
            std::thread::sleep(Duration::from_millis(milliseconds));
        }
        start_response.start("200 OK", &[]);
        "done"
    }

    /// Runs with a server and its address, and ends it.
    fn with_engine(threads: usize, shards: usize, run: impl FnOnce(&Engine, &str)) {
        with_application(application, threads, shards, run);
    }

    fn with_application(
        application: impl crate::gateway::Application,
        threads: usize,
        shards: usize,
        run: impl FnOnce(&Engine, &str),
    ) {
        let listener = Listener::open_tcp("127.0.0.1:0").unwrap().remove(0);
        let address = listener.address.to_string();
        let settings = Settings { threads, shards, ..Settings::default() };
        let shared = Arc::new(Shared::new(settings, Box::new(application), Arc::new(Lines::errors(io::sink()))));
        let (engine, threads) = Engine::start(shared, vec![listener], &Variables::default()).unwrap();
        run(&engine, &address);
        engine.stop(Duration::from_secs(5));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// Waits for something that happens.
    fn until(what: &str, mut happens: impl FnMut() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !happens() {
            assert!(Instant::now() < give_up, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_socket_that_was_waited_for_returns_at_once_when_it_is_among_others() {
        with_engine(1, 1, |engine, address| {
            let shard = &engine.shards[0];
            let mut client = TcpStream::connect(address).unwrap();
            until("the worker blocks on the only connection", || {
                client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"done") {
                    let mut byte = [0];
                    client.read_exact(&mut byte).unwrap();
                    answer.extend(byte);
                }
                shard.word_of(BLOCKS).is_some()
            });
            let _other = TcpStream::connect(address).unwrap();
            until("both are in the shard", || {
                let state = shard.lock();
                assert!(state.all().all(|connection| !connection.socket.waits()));
                state.all().count() == 2
            });
        });
    }

    #[test]
    fn a_socket_is_not_waited_for_among_others_though_another_thread_reads_content_from_it() {
        let application = |environ: &Environ, start_response: &mut StartResponse| {
            let (own, (sender, body)) = (environ.clone(), Body::channel(2));
            std::thread::spawn(move || {
                sender.send(vec![b'y'; 16 << 20]).unwrap();
                // Until the client leaves.
                let _ = own.input().read(&mut [0]);
            });
            start_response.start("200 OK", &[]);
            body
        };
        with_application(application, 2, 1, |engine, address| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n").unwrap();
            client.read_exact(&mut [0]).unwrap();
            let shard = &engine.shards[0];
            let waits = || shard.lock().all().next().map(|connection| connection.socket.waits());
            until("the client takes nothing more", || waits().is_some() && engine.stats().parked == 1);
            // The reader begins to wait again and again.
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(1));
                assert_ne!(waits(), Some(true));
            }
        });
    }

    #[test]
    fn a_socket_that_lingers_is_not_waited_for_though_another_thread_still_reads_content_from_it() {
        let application = |environ: &Environ, start_response: &mut StartResponse| {
            let (own, (sender, body)) = (environ.clone(), Body::channel(1));
            std::thread::spawn(move || {
                let mut input = own.input();
                sender.send(&b"y"[..]).unwrap();
                drop(sender);
                // Until the connection ends.
                let _ = input.read(&mut [0]);
            });
            start_response.start("200 OK", &[]);
            body
        };
        with_application(application, 2, 1, |engine, address| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n").unwrap();
            client.read_to_end(&mut Vec::new()).unwrap();
            let shard = &engine.shards[0];
            let waits = || shard.lock().all().next().map(|connection| connection.socket.waits());
            until("it lingers", || waits().is_some());
            // The reader begins to wait again and again.
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(1));
                assert_ne!(waits(), Some(true));
            }
            assert!(waits().is_some(), "it still lingers");
        });
    }

    #[test]
    fn a_shard_has_one_worker_again_after_any_number_of_exchanges() {
        const THREADS: usize = 8;
        for shards in 1..4 {
            with_engine(THREADS, shards, |engine, address| {
                std::thread::scope(|scope| {
                    for client in 0..12 {
                        scope.spawn(move || {
                            let mut stream = TcpStream::connect(address).unwrap();
                            for request in 0..20 {
                                let milliseconds = if (client + request) % 5 == 0 { 8 } else { 0 };
                                let end = if request == 19 { "Connection: close\r\n" } else { "" };
                                write!(stream, "GET /?{milliseconds} HTTP/1.1\r\nHost: a\r\n{end}\r\n").unwrap();
                                if request % 3 == 0 {
                                    std::thread::yield_now();
                                }
                            }
                            let mut answers = String::new();
                            stream.read_to_string(&mut answers).unwrap();
                            assert_eq!(answers.matches("done").count(), 20);
                        });
                    }
                });
                until("all but one a shard are idle", || {
                    engine.unattended.idle.load(Ordering::SeqCst) == (THREADS - shards) as isize
                });
            });
        }
    }
}
