//! A running server: the threads, what they share, and how it all ends.
//!
//! ```text
//!   accept threads ──▶ shards ◀──▶ pool (drivers and standbys) ──▶ application
//!                        ▲
//!                     monitor
//! ```
//!
//! One thread for each listener, the monitor, and the pool: no thread is started later. Stopping: the listeners
//! close, connections without a request end at once, what runs has the grace, then it is cut; the monitor sees to that
//! and goes last.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::accept::Gate;
use super::connection::Connection;
use super::house::House;
use super::listener::Listener;
use super::monitor::{self, Monitor};
use super::pool::{Vacancies, Vacancy, Worker};
use super::settings::Settings;
use super::shard::{Shard, State};
use super::station::Station;
use crate::door::Origin;
use crate::gateway::{Gateway, Pairs};

/// What the threads of a server share.
pub(super) struct Engine {
    pub(super) house: House,
    pub(super) shards: Vec<Shard>,
    pub(super) vacancies: Vacancies,
    pub(super) monitor: Arc<Monitor>,
    /// One for each thread of the pool.
    pub(super) stations: Vec<Arc<Station>>,
    pub(super) gates: Vec<Gate>,
    accepting: AtomicUsize,
    ended: AtomicBool,
    next_shard: AtomicUsize,
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
        let shards = (0..house.shards).map(|_| Shard::default()).collect();
        let vacancies = Vacancies::new(house.shards);
        let gates = listeners.into_iter().map(|listener| {
            let origin = origin(&house.settings, &listener, variables);
            Gate::new(listener, origin)
        });
        let monitor = Arc::<Monitor>::default();
        let engine = Arc::new(Engine {
            gates: gates.collect(),
            house,
            shards,
            vacancies,
            stations: (0..threads).map(|_| Arc::new(Station::new(Arc::clone(&monitor)))).collect(),
            monitor,
            ended: AtomicBool::new(false),
            next_shard: AtomicUsize::new(0),
            accepting: AtomicUsize::new(0),
            grace_until: Mutex::default(),
        });
        let mut started = Vec::new();
        let result = engine.start_threads(&mut started);
        match result {
            Ok(()) => Ok((engine, started)),
            Err(error) => {
                engine.stop(Duration::ZERO);
                engine.send_home();
                for thread in started {
                    let _ = thread.join();
                }
                Err(error)
            }
        }
    }

    fn start_threads(self: &Arc<Engine>, started: &mut Vec<JoinHandle<()>>) -> std::io::Result<()> {
        for (index, station) in self.stations.iter().enumerate() {
            let station = Arc::clone(station);
            let thread = self.thread(format!("doorway-{index}"), move |engine| Worker::new(engine, station).run());
            started.push(thread?);
        }
        for (shard, state) in self.shards.iter().enumerate() {
            self.replace_driver(shard, &mut state.lock());
        }
        started.push(self.thread("doorway-monitor".into(), |engine| {
            monitor::watch(engine);
            engine.send_home();
        })?);
        for index in 0..self.gates.len() {
            self.accepting.fetch_add(1, Ordering::SeqCst);
            let thread = self.thread(format!("doorway-accept-{index}"), move |engine| {
                if let Some(gate) = engine.gates.get(index) {
                    engine.accept(gate);
                }
                engine.accepting.fetch_sub(1, Ordering::SeqCst);
                engine.monitor.wake();
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

    /// Brings a new connection to the shard whose turn it is.
    pub(super) fn bring(&self, connection: Box<Connection>) {
        let index = self.next_shard.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        if let Some(shard) = self.shards.get(index) {
            shard.deliver(connection);
            // Its driver stays with another connection, and would see this one up to 8 ms late.
            if self.vacancies.has_standby() {
                if let Some(mut state) = shard.lock_if_blocked() {
                    self.replace_driver(index, &mut state);
                }
            }
        }
    }

    /// Takes a shard from its driver, which is in a call or blocked on one connection, and calls for another. Never from a driver
    /// that sleeps: it would not notice.
    pub(super) fn replace_driver(&self, index: usize, state: &mut State) {
        state.tenure += 1;
        state.away_since = None;
        if let Some(shard) = self.shards.get(index) {
            shard.set_blocked(state, false);
        }
        self.vacancies.push(Vacancy { shard: index, tenure: state.tenure });
    }

    /// Whether whole requests wait in a shard that has no driver, because no thread is free.
    pub(super) fn has_work_waiting(&self) -> bool {
        let shard_at = |place| self.vacancies.waiting_at(place).and_then(|index| self.shards.get(index));
        self.vacancies.has_waiting()
            && (0..).map_while(shard_at).any(|shard: &Shard| {
                let (_, queued) = shard.counts();
                queued > 0
            })
    }

    /// The share of one shard in the queue of requests that wait for a thread.
    pub(super) fn queue_each(&self) -> usize {
        (self.house.settings.queue / self.shards.len()).max(1)
    }

    /// Whether every thread should go home.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn send_home(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.vacancies.close();
        for shard in &self.shards {
            shard.wake();
        }
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
        for listener in self.listeners() {
            listener.unblock();
        }
        self.monitor.wake();
    }

    /// Whether the time for what still runs is over.
    pub(super) fn grace_is_over(&self) -> bool {
        let until = self.grace_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() >= until)
    }

    /// Cuts every connection that a thread works with; the thread notices when it next reads or writes.
    pub(super) fn cut_what_runs(&self) {
        self.stations.iter().for_each(|station| station.cut());
    }

    /// Whether no thread does anything but wait, and none accepts.
    pub(super) fn is_quiet(&self) -> bool {
        self.accepting.load(Ordering::SeqCst) == 0
            && self.house.stats.busy.load(Ordering::SeqCst) == 0
            && self.house.places.open() == 0
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.gates.iter().map(|gate| &gate.listener)
    }
}

/// What every connection of a listener has in common.
fn origin(settings: &Settings, listener: &Listener, variables: &Pairs) -> Origin {
    let gateway = Gateway { https: settings.https, multithread: settings.threads > 1, ..Gateway::default() };
    Origin::new(listener.door, gateway, settings.server_name.clone(), listener.address().port(), variables.clone())
}
