//! A running server: the threads, what they share, and how it all ends.
//!
//! ```text
//!   accept threads ──▶ ready queue ──▶ pool ──▶ application
//!         └────────▶ waiting room ──┘  └──▶ waiting room
//! ```
//!
//! One thread for each listener, one for the waiting room, and the pool: no thread is started later. Stopping: the listeners
//! close, connections without a request end at once, what runs has the grace, then it is cut; the waiting room's thread sees to
//! that and goes last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::house::House;
use super::listener::Listener;
use super::log::{Answer, Report};
use super::pool::{self, Ready};
use super::transport::{Socket, Stream, Transport, Wait};
use super::waiting_room::{Keeper, WaitingRoom};
use crate::cause::Cause;
use crate::door::{Origin, Peer};
use crate::gateway::{Gateway, Pairs};

/// What the threads of a server share.
pub(super) struct Engine {
    pub(super) house: House,
    pub(super) ready: Ready,
    pub(super) room: WaitingRoom,
    /// For each thread of the pool, the transport it works with.
    places: Vec<Mutex<Option<Arc<dyn Transport>>>>,
    listeners: Vec<Listener>,
    accepting: AtomicUsize,
    grace_until: Mutex<Option<Instant>>,
}

impl Engine {
    /// Starts every thread of a server. If one cannot be started, those before it are stopped again.
    pub(super) fn start(
        house: House,
        listeners: Vec<Listener>,
        variables: &Pairs,
    ) -> std::io::Result<(Arc<Engine>, Vec<JoinHandle<()>>)> {
        let threads = house.settings.threads.max(1);
        let engine = Arc::new(Engine {
            house,
            ready: Ready::default(),
            room: WaitingRoom::default(),
            places: (0..threads).map(|_| Mutex::default()).collect(),
            accepting: AtomicUsize::new(0),
            listeners,
            grace_until: Mutex::default(),
        });
        let mut started = Vec::new();
        let result = engine.start_threads(variables, &mut started);
        match result {
            Ok(()) => Ok((engine, started)),
            Err(error) => {
                engine.stop(Duration::ZERO);
                engine.ready.close();
                for thread in started {
                    let _ = thread.join();
                }
                Err(error)
            }
        }
    }

    fn start_threads(self: &Arc<Engine>, variables: &Pairs, started: &mut Vec<JoinHandle<()>>) -> std::io::Result<()> {
        for index in 0..self.places.len() {
            started.push(self.thread(format!("doorway-{index}"), move |engine| {
                if let Some(place) = engine.places.get(index) {
                    pool::work(engine, place);
                }
            })?);
        }
        started.push(self.thread("doorway-room".into(), |engine| {
            Keeper::new(engine).run();
            engine.ready.close();
        })?);
        for (index, listener) in self.listeners.iter().enumerate() {
            let origin = Arc::new(self.origin(listener, variables));
            self.accepting.fetch_add(1, Ordering::SeqCst);
            let thread = self.thread(format!("doorway-accept-{index}"), move |engine| {
                if let Some(listener) = engine.listeners.get(index) {
                    engine.accept(listener, &origin);
                }
                engine.accepting.fetch_sub(1, Ordering::SeqCst);
                engine.room.wake();
            });
            started.push(thread.inspect_err(|_| {
                self.accepting.fetch_sub(1, Ordering::SeqCst);
            })?);
        }
        Ok(())
    }

    fn thread(
        self: &Arc<Engine>,
        name: String,
        run: impl FnOnce(&Engine) + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let engine = Arc::clone(self);
        Builder::new().name(name).spawn(move || run(&engine))
    }

    fn origin(&self, listener: &Listener, variables: &Pairs) -> Origin {
        let settings = &self.house.settings;
        let gateway = Gateway {
            door: "http",
            https: settings.https,
            multithread: settings.threads > 1,
            multiprocess: false,
            run_once: false,
        };
        let mut origin = Origin::new(gateway, settings.server_name.clone(), listener.address().port());
        origin.variables.extend(variables);
        origin
    }

    /// Accepts until the server stops. No error ends it: what the system refuses is waited out, making room meanwhile.
    fn accept(&self, listener: &Listener, origin: &Arc<Origin>) {
        const PATIENCE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
        let mut patience = PATIENCE.0;
        while !self.house.is_stopping() {
            match listener.accept() {
                Ok((stream, peer)) => {
                    patience = PATIENCE.0;
                    self.admit(stream, peer, origin);
                }
                // The client was gone before it was accepted.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                Err(_) if self.house.is_stopping() => return,
                Err(error) => {
                    // Mostly EMFILE: one line when it begins, and none until it worked again.
                    if patience == PATIENCE.0 {
                        self.report(Cause::AcceptFailed, &error.to_string());
                    }
                    self.room.make_room();
                    self.house.places.wait(patience);
                    patience = (patience * 2).min(PATIENCE.1);
                }
            }
        }
    }

    fn admit(&self, stream: Stream, peer: Peer, origin: &Arc<Origin>) {
        let ticket = self.house.places.take();
        self.house.stats.accepted.fetch_add(1, Ordering::Relaxed);
        while self.is_crowded() && !self.house.is_stopping() {
            self.room.make_room();
            self.house.places.wait(Duration::from_millis(20));
        }
        let Ok(socket) = Socket::new(stream) else { return };
        let settings = &self.house.settings;
        let connection = Box::new(Connection::new(Arc::new(socket), peer, Arc::clone(origin), settings, Some(ticket)));
        // A free thread reads the request as soon as it comes; without one, the waiting room does.
        if self.ready.has_free_thread() {
            match self.ready.push(connection, settings.queue, Instant::now()) {
                Ok(()) => {}
                Err(back) => self.room.admit(back),
            }
        } else {
            self.room.admit(connection);
        }
    }

    /// Puts a connection where it waits without a thread.
    pub(super) fn park(&self, connection: Box<Connection>) {
        if connection.transport.wait(Wait::No).is_ok() {
            self.room.admit(connection);
        }
    }

    /// Whether more connections are open than may be.
    pub(super) fn is_crowded(&self) -> bool {
        self.house.places.open() > self.house.settings.max_connections.max(1)
    }

    /// Begins to stop: what runs may go on for the grace. A second call can only shorten it.
    pub(super) fn stop(&self, grace: Duration) {
        let until = Instant::now().checked_add(grace);
        {
            let mut current = self.grace_until.lock().unwrap_or_else(PoisonError::into_inner);
            *current = match (*current, until) {
                (Some(current), Some(until)) => Some(current.min(until)),
                (current, until) => current.or(until),
            };
        }
        self.house.begin_to_stop();
        for listener in &self.listeners {
            listener.unblock();
        }
        self.room.wake();
    }

    /// Whether the time for what still runs is over.
    pub(super) fn grace_is_over(&self) -> bool {
        let until = self.grace_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() >= until)
    }

    /// Cuts every connection that a thread works with; the thread notices when it next reads or writes.
    pub(super) fn cut_what_runs(&self) {
        self.ready.clear();
        for place in &self.places {
            if let Some(transport) = &*place.lock().unwrap_or_else(PoisonError::into_inner) {
                transport.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Whether no thread does anything but wait, and none accepts.
    pub(super) fn is_quiet(&self) -> bool {
        self.ready.len() == 0
            && self.accepting.load(Ordering::SeqCst) == 0
            && self.house.stats.busy.load(Ordering::SeqCst) == 0
            && self.house.places.open() == 0
    }

    pub(super) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    fn report(&self, cause: Cause, detail: &str) {
        self.house.error(&Report { cause, peer: None, request: b"", answer: Answer::Closed, detail });
    }
}
