//! How connections come in: one thread for each listener, and the drivers themselves while connections come in a rush.
//!
//! The thread blocks in accept, so that a server nobody calls costs nothing. Each connection that it brings to a shard costs a wake-up of
//! the driver, though. Once connections follow and end each other in quick succession a *rush* begins: the listener blocks no more, and the
//! drivers accept between their sweeps; the thread only looks how many still come. It takes over again when they are few, when no driver has
//! time for them, or when they stay: std's queue holds 128 connections, a client that finds it full tries again after 200 ms,
//! and nobody empties it as fast as a thread that does nothing else. The figures stand at [`RUSH`].
//!
//! Invariant: nobody but the thread accepts while the socket may block. A driver accepts under the lock of the gate and only in a
//! rush; the thread begins and ends the rush under that lock. No error ends accepting: what the system refuses is waited out, making
//! room meanwhile.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::engine::Engine;
use super::house::Ticket;
use super::listener::Listener;
use super::settings::RUSH;
use super::transport::{Socket, Stream};
use crate::cause::Cause;
use crate::door::{Origin, Peer};
use crate::log::{Answer, Report};

/// A listener, and who accepts from it at the moment.
pub(super) struct Gate {
    pub(super) listener: Listener,
    origin: Arc<Origin>,
    /// Whether drivers may accept; the socket does not block then.
    rush: Mutex<bool>,
    /// The same, to be looked at without the lock.
    is_rush: AtomicBool,
    /// How many connections drivers have accepted since the thread last looked.
    has_come: AtomicUsize,
}

impl Gate {
    pub(super) fn new(listener: Listener, origin: Origin) -> Gate {
        Gate {
            listener,
            origin: Arc::new(origin),
            rush: Mutex::new(false),
            is_rush: AtomicBool::new(false),
            has_come: AtomicUsize::new(0),
        }
    }

    /// Lets the drivers accept, until too little comes, what comes stays, or the server stops.
    fn rush(&self, engine: &Engine) {
        let open = engine.house.places.open();
        if self.set_rush(true).is_ok() {
            loop {
                // The drivers accept meanwhile; there is nothing to be woken for but the end of the rush.
                std::thread::sleep(RUSH.look);
                let goes_on = self.has_come.swap(0, Ordering::Relaxed) >= RUSH.begins;
                if !goes_on || engine.house.places.open() > open + RUSH.begins || engine.house.is_stopping() {
                    break;
                }
            }
        }
        // A socket that cannot be made to block again says at once that nothing is there, and is waited for like any other failure.
        let _ = self.set_rush(false);
    }

    fn set_rush(&self, begins: bool) -> io::Result<()> {
        let mut rush = self.rush.lock().unwrap_or_else(PoisonError::into_inner);
        *rush = false;
        self.is_rush.store(false, Ordering::Relaxed);
        self.listener.set_nonblocking(begins)?;
        *rush = begins;
        self.is_rush.store(begins, Ordering::Relaxed);
        Ok(())
    }
}

impl Engine {
    /// The life of a gate's thread.
    pub(super) fn accept(&self, gate: &Gate) {
        const PATIENCE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
        const QUIET: Duration = Duration::from_secs(10);
        let mut patience = PATIENCE.0;
        let mut failed: Option<Instant> = None;
        let (mut last, mut quick, mut open) = (Instant::now(), 0, 0);
        while !self.house.is_stopping() {
            match gate.listener.accept() {
                Ok((stream, peer)) => {
                    patience = PATIENCE.0;
                    let now = Instant::now();
                    quick = if now.saturating_duration_since(last) < RUSH.gap { quick + 1 } else { 0 };
                    last = now;
                    if quick == 0 {
                        open = self.house.places.open();
                    }
                    if self.lets_in(gate, &peer) {
                        let ticket = self.take_place();
                        self.admit(stream, peer, gate, ticket, now);
                    }
                    if quick >= RUSH.begins {
                        if self.house.places.open() <= open + RUSH.begins / 2 && gate.listener.is_own() {
                            gate.rush(self);
                        }
                        (quick, open) = (0, self.house.places.open());
                    }
                }
                // The client was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) if self.house.is_stopping() => return,
                Err(error) => {
                    // Mostly EMFILE: one line when it begins. Each connection that is closed for another lets one in before the next
                    // failure, so it is only over when it has not come back for a while.
                    if failed.replace(Instant::now()).is_none_or(|last| last.elapsed() > QUIET) {
                        self.report(Cause::AcceptFailed, &error.to_string());
                    }
                    self.make_room();
                    self.house.places.wait(patience);
                    patience = (patience * 2).min(PATIENCE.1);
                }
            }
        }
    }

    /// Whether a driver is to look for connections.
    pub(super) fn is_rush(&self) -> bool {
        self.gates.iter().any(|gate| gate.is_rush.load(Ordering::Relaxed))
    }

    /// Accepts one connection, if there is a rush and one has come. The caller holds no shard's lock.
    pub(super) fn accept_in_rush(&self) -> bool {
        self.gates.iter().filter(|gate| gate.is_rush.load(Ordering::Relaxed)).any(|gate| {
            // Another driver accepts, or the thread takes over: it sees to what is there.
            let Ok(rush) = gate.rush.try_lock() else { return false };
            if !*rush || self.house.is_stopping() {
                return false;
            }
            // The place first: making room may take its time, which a driver does not have. That is for the thread, and so are errors.
            let ticket = self.house.places.take();
            if self.is_crowded() {
                return false;
            }
            let Ok((stream, peer)) = gate.listener.accept() else { return false };
            drop(rush);
            gate.has_come.fetch_add(1, Ordering::Relaxed);
            if self.lets_in(gate, &peer) {
                self.admit(stream, peer, gate, ticket, Instant::now());
            }
            true
        })
    }

    fn admit(&self, stream: Stream, peer: Peer, gate: &Gate, ticket: Ticket, now: Instant) {
        self.house.stats.accepted.fetch_add(1, Ordering::Relaxed);
        let Ok(socket) = Socket::new(stream) else { return };
        let origin = Arc::clone(&gate.origin);
        let connection = Connection::new(Arc::new(socket), peer, origin, &self.house, Some(ticket), now);
        self.bring(Box::new(connection));
    }

    fn lets_in(&self, gate: &Gate, peer: &Peer) -> bool {
        let allows = gate.listener.allows(peer);
        if !allows {
            let (cause, answer) = (Cause::PeerRefused, Answer::Closed);
            self.house.error(&Report { cause, peer: peer.address, request: b"", answer, detail: "" });
        }
        allows
    }

    /// A place for a connection, made by closing another if need be.
    fn take_place(&self) -> Ticket {
        let ticket = self.house.places.take();
        while self.is_crowded() && !self.house.is_stopping() {
            if !self.make_room() {
                self.house.places.wait(Duration::from_millis(20));
            }
        }
        ticket
    }

    fn report(&self, cause: Cause, detail: &str) {
        self.house.error(&Report { cause, peer: None, request: b"", answer: Answer::Closed, detail });
    }

    /// Closes the connection that has waited longest of the address that has most waiting. Tells whether there was one.
    fn make_room(&self) -> bool {
        let mut counts = HashMap::new();
        for shard in &self.shards {
            shard.lock().count_addresses(&mut counts);
        }
        let Some((busiest, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return false };
        let oldest = self.shards.iter().filter_map(|shard| Some((shard.lock().oldest_of(busiest)?, shard)));
        match oldest.min_by_key(|(since, _)| *since) {
            Some((since, shard)) => shard.lock().close_oldest(busiest, since, &self.house),
            None => false,
        }
    }

    /// Whether more connections are open than may be.
    fn is_crowded(&self) -> bool {
        self.house.places.open() > self.house.settings.max_connections.max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::gateway::{Environ, Pairs, StartResponse};
    use crate::log::Lines;
    use crate::server::house::House;
    use crate::server::settings::Settings;

    fn hello(environ: &Environ, start_response: &mut StartResponse) -> String {
        if environ.path() == "/slow" {
            // The application that is tested with is slow: this is no wait for something to happen.
            std::thread::sleep(Duration::from_millis(300));
        }
        start_response.start("200 OK", &[]);
        environ.path().into_owned()
    }

    fn ask(engine: &Engine, path: &str) -> String {
        let address = engine.gates[0].listener.address();
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Runs with a server of four threads, and ends it.
    fn with_engine(listener: Listener, run: impl FnOnce(&Engine)) {
        let settings = Settings { threads: 4, shards: 2, ..Settings::default() };
        let house = House::new(settings, Box::new(hello), Arc::new(Lines::errors(io::sink())));
        let (engine, threads) = Engine::start(house, vec![listener], &Pairs::default()).unwrap();
        run(&engine);
        engine.stop(Duration::from_secs(5));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn own() -> Listener {
        Listener::open_tcp("127.0.0.1:0").unwrap().remove(0)
    }

    /// Asks until a rush was seen, from several clients, and tells whether it was.
    fn has_rush(engine: &Engine) -> bool {
        let (until, seen) = (Instant::now() + Duration::from_secs(20), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for client in 0..4 {
                let seen = &seen;
                scope.spawn(move || {
                    for request in 0.. {
                        let path = format!("/{client}/{request}");
                        assert!(ask(engine, &path).ends_with(&path));
                        seen.fetch_or(engine.is_rush(), Ordering::Relaxed);
                        if request >= 200 && (seen.load(Ordering::Relaxed) || Instant::now() > until) {
                            break;
                        }
                    }
                });
            }
        });
        seen.into_inner()
    }

    #[test]
    fn a_rush_begins_with_many_connections_ends_with_them_and_every_connection_is_answered() {
        with_engine(own(), |engine| {
            assert!(has_rush(engine));
            while engine.is_rush() {
                std::thread::yield_now();
            }
            assert!(ask(engine, "/after").ends_with("/after"));
            assert_eq!(
                engine.house.stats.accepted.load(Ordering::Relaxed),
                engine.house.stats.served.load(Ordering::Relaxed)
            );
        });
    }

    #[test]
    fn in_a_rush_a_connection_is_accepted_while_the_drivers_are_in_calls() {
        with_engine(own(), |engine| {
            std::thread::scope(|scope| {
                // Three of four threads are held again and again, and connections come all the time.
                for _ in 0..3 {
                    scope.spawn(|| (0..5).for_each(|_| assert!(ask(engine, "/slow").ends_with("/slow"))));
                }
                assert!(has_rush(engine));
            });
        });
    }

    #[test]
    fn a_rush_does_not_keep_a_server_from_stopping() {
        with_engine(own(), |engine| assert!(has_rush(engine)));
    }

    #[test]
    #[cfg(unix)]
    fn a_socket_that_was_handed_over_goes_on_blocking_for_those_who_share_it() {
        use std::os::fd::AsRawFd;

        const O_NONBLOCK: u32 = 0o4000;
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = socket.try_clone().unwrap();
        let blocks = || {
            // Where the system does not tell, only the rush is looked at.
            let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", shared.as_raw_fd())) else {
                return true;
            };
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            u32::from_str_radix(flags.trim(), 8).unwrap() & O_NONBLOCK == 0
        };
        with_engine(Listener::from(socket), |engine| {
            for request in 0..200 {
                assert!(ask(engine, "/").ends_with('/'));
                assert!(blocks() && !engine.is_rush(), "{request}");
            }
        });
    }
}
