//! How connections come in: one thread for each listener, and the workers themselves while connections come in a rush.
//!
//! The thread blocks in accept, so that a server nobody calls costs nothing. Each connection that it brings to a shard costs a wake-up of
//! the worker, though. Once connections follow and end each other in quick succession a *rush* begins: the listener blocks no more, and the
//! workers accept between their sweeps; the thread only looks how many still come. It takes over again when they are few, when no worker has
//! time for them, or when they stay: std's queue holds 128 connections, a client that finds it full tries again after 200 ms,
//! and nobody empties it as fast as a thread that does nothing else.
//!
//! Invariant: nobody but the thread accepts while the socket may block. A worker accepts under the lock of the acceptor and only in a
//! rush; the thread begins and ends the rush under that lock. No error ends accepting: what the system refuses is waited out, making
//! room meanwhile. A stop does: what the system had accepted by then is brought in, and nothing after it. Of a socket that others have too that
//! is known by the connection that wakes the thread, which stands behind all of it; they may take that, so it is woken until it is out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bounds::Place;
use super::connection::Connection;
use super::engine::Engine;
use super::listener::Listener;
use super::settings::{RUSH_BEGINS, RUSH_GAP, RUSH_LOOK};
use super::shared::lock;
use super::socket::Socket;
use crate::cause::Cause;
use crate::door::{Origin, Peer};
use crate::log::{Answer, Report};

/// A listener, and who accepts from it at the moment.
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    origin: Arc<Origin>,
    /// Whether workers may accept; the socket does not block then. Changed under the lock, under which they accept.
    is_rush: AtomicBool,
    lock: Mutex<()>,
    /// How many connections workers have accepted since the thread last looked.
    has_come: AtomicUsize,
    /// From where its thread was woken to end.
    woken_from: Mutex<Vec<Option<(IpAddr, u16)>>>,
}

/// How quickly connections follow each other.
struct Succession {
    last: Instant,
    quick: usize,
    /// How many were open when it began.
    open: usize,
}

impl Acceptor {
    pub(super) fn new(listener: Listener, origin: Arc<Origin>) -> Acceptor {
        Acceptor {
            listener,
            origin,
            is_rush: AtomicBool::new(false),
            lock: Mutex::default(),
            has_come: AtomicUsize::new(0),
            woken_from: Mutex::default(),
        }
    }

    /// Ends an accept that blocks in another thread: at every look of the monitor, since somebody else who has the socket may have taken the
    /// connection that was to wake it.
    pub(super) fn wake(&self) {
        const LOOKS: usize = 256;
        let mut woken_from = lock(&self.woken_from);
        woken_from.push(self.listener.wake().and_then(|from| Peer::new(from).address));
        if woken_from.len() > LOOKS {
            // This machine cannot reach its own address.
            self.listener.close();
        }
    }

    /// Whether a stop ends accepting with this connection: the one that woke the thread, or any where this machine cannot reach its own address.
    fn ends_with(&self, last: Option<(IpAddr, u16)>) -> bool {
        let is_it = |from: &Option<_>| from.is_none() || *from == last;
        self.listener.is_own() || last.is_none() || lock(&self.woken_from).iter().any(is_it)
    }

    /// Lets the workers accept, until too little comes, what comes stays, or the server stops.
    fn rush(&self, engine: &Engine) {
        let most = engine.shared.places.open() + RUSH_BEGINS;
        let mut goes_on = self.set_rush(true).is_ok();
        while goes_on && engine.shared.places.open() <= most && !engine.shared.is_stopping() {
            // The workers accept meanwhile; there is nothing to be woken for but the end of the rush.
            std::thread::sleep(RUSH_LOOK);
            goes_on = self.has_come.swap(0, Ordering::Relaxed) >= RUSH_BEGINS;
        }
        // A socket that cannot be made to block again says at once that nothing is there, and is waited for like any other failure.
        let _ = self.set_rush(false);
    }

    fn set_rush(&self, begins: bool) -> io::Result<()> {
        let _alone = lock(&self.lock);
        self.is_rush.store(false, Ordering::Relaxed);
        self.listener.set_nonblocking(begins)?;
        self.is_rush.store(begins, Ordering::Relaxed);
        Ok(())
    }
}

impl Engine {
    /// The life of an acceptor's thread.
    pub(super) fn accept(&self, acceptor: &Acceptor) {
        // A stop waits for it.
        const PATIENCE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
        const QUIET: Duration = Duration::from_secs(10);
        let mut patience = PATIENCE.0;
        let mut failed: Option<Instant> = None;
        let mut succession = Succession { last: Instant::now(), quick: 0, open: 0 };
        let mut last = None;
        while !(self.shared.is_stopping() && acceptor.ends_with(last)) {
            match acceptor.listener.accept() {
                Ok(accepted) => {
                    patience = PATIENCE.0;
                    last = accepted.1.address;
                    let now = Instant::now();
                    self.let_in(acceptor, accepted, None, now);
                    if self.is_in_a_rush(&mut succession, now) && acceptor.listener.is_own() {
                        acceptor.rush(self);
                    }
                }
                // The client was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Somebody else who has the socket has set it so: there is no other way to wait for it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PATIENCE.0),
                Err(_) if self.shared.is_stopping() => {}
                Err(error) => {
                    // Mostly EMFILE: one line when it begins. Each connection that is closed for another lets one in before the next
                    // failure, so it is only over when it has not come back for a while.
                    if failed.replace(Instant::now()).is_none_or(|last| last.elapsed() > QUIET) {
                        self.shared.report(Cause::AcceptFailed, &error.to_string());
                    }
                    self.make_room();
                    // std tells of no descriptor that becomes free.
                    std::thread::sleep(patience);
                    patience = (patience * 2).min(PATIENCE.1);
                }
            }
        }
        // What the system had accepted when the stop began; who comes later is not let wait for nothing.
        if acceptor.listener.is_own() && acceptor.listener.set_nonblocking(true).is_ok() {
            while let Ok(accepted) = acceptor.listener.accept() {
                self.let_in(acceptor, accepted, None, Instant::now());
            }
        }
        acceptor.listener.close();
    }

    /// Whether many connections have come in quick succession, and half of them have ended.
    fn is_in_a_rush(&self, succession: &mut Succession, now: Instant) -> bool {
        let is_quick = now.saturating_duration_since(succession.last) < RUSH_GAP;
        succession.last = now;
        if is_quick && succession.quick + 1 < RUSH_BEGINS {
            succession.quick += 1;
            return false;
        }
        let open = self.shared.places.open();
        let is_rush = is_quick && open <= succession.open + RUSH_BEGINS / 2;
        (succession.quick, succession.open) = (0, open);
        is_rush
    }

    /// Whether a worker is to look for connections.
    pub(super) fn is_rush(&self) -> bool {
        self.acceptors.iter().any(|acceptor| acceptor.is_rush.load(Ordering::Relaxed))
    }

    /// Accepts one connection, if there is a rush and one has come. The caller holds no shard's lock.
    pub(super) fn accept_in_rush(&self) -> bool {
        self.acceptors.iter().filter(|acceptor| acceptor.is_rush.load(Ordering::Relaxed)).any(|acceptor| {
            // Another worker accepts, or the thread takes over: it sees to what is there.
            let Ok(alone) = acceptor.lock.try_lock() else { return false };
            // Its place first: no server ends before what has one. Where that is one too many nobody is accepted, since a worker waits for nobody.
            let place = self.shared.places.take();
            if !acceptor.is_rush.load(Ordering::Relaxed) || self.shared.is_stopping() || self.is_crowded() {
                return false;
            }
            let Ok(accepted) = acceptor.listener.accept() else { return false };
            drop(alone);
            acceptor.has_come.fetch_add(1, Ordering::Relaxed);
            self.let_in(acceptor, accepted, Some(place), Instant::now());
            true
        })
    }

    /// Brings an accepted connection to a shard, if it may come in. If it has no place yet, room is made for one.
    fn let_in(&self, acceptor: &Acceptor, (stream, peer): (TcpStream, Peer), place: Option<Place>, now: Instant) {
        // Nobody's: it woke the thread.
        if self.shared.is_stopping() && peer.address.is_some() && lock(&acceptor.woken_from).contains(&peer.address) {
            return;
        }
        if !acceptor.listener.allows(&peer) {
            let (cause, answer) = (Cause::PeerRefused, Answer::Closed);
            return self.shared.error(&Report { cause, peer: peer.address, request: b"", answer, detail: "" });
        }
        let place = place.unwrap_or_else(|| self.make_place());
        let number = self.shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let Ok(socket) = Socket::accepted(stream) else { return };
        let origin = Arc::clone(&acceptor.origin);
        let connection = Connection::new(socket, peer, origin, &self.shared, Some(place), now);
        // The shards have their turns.
        if let Some(shard) = self.shards.get(number % self.shards.len()) {
            shard.deliver(connection);
        }
    }

    /// Counts one more. What is too many then is closed.
    fn make_place(&self) -> Place {
        let place = self.shared.places.take();
        while self.is_crowded() && !self.shared.is_stopping() {
            if !self.make_room() {
                // All are in calls, which end without telling this thread: a signal for it would cost every connection.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        place
    }

    /// Closes the connection that has waited longest of the address that has most waiting. Tells whether there was one.
    fn make_room(&self) -> bool {
        // How many each address has, since when the oldest of them waits, and where.
        let mut waiting = HashMap::new();
        for shard in &self.shards {
            // One without a place has been closed already, and waits for a thread that closes its body.
            for connection in shard.lock().all().filter(|connection| connection.place.is_some()) {
                let (count, oldest) = waiting.entry(connection.address()).or_insert((0, (connection.since, shard)));
                *count += 1;
                if connection.since < oldest.0 {
                    *oldest = (connection.since, shard);
                }
            }
        }
        let busiest = waiting.into_iter().max_by_key(|(_, (count, _))| *count);
        busiest.is_some_and(|(address, (_, (since, shard)))| {
            let is_it = |connection: &Connection| {
                connection.place.is_some() && connection.address() == address && connection.since == since
            };
            shard.lock().close_one(Cause::ConnectionLimit, is_it, &self.shared)
        })
    }

    /// Whether more connections are open than may be.
    fn is_crowded(&self) -> bool {
        self.shared.places.open() > self.shared.settings.max_connections
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::*;
    use crate::gateway::{Application, Environ, StartResponse, Variables};
    use crate::log::Lines;
    use crate::server::settings::Settings;
    use crate::server::shared::Shared;

    fn hello(environ: &Environ, start_response: &mut StartResponse) -> String {
        if environ.path() == "/slow" {
            // The application that is tested with is slow: this is no wait for something to happen.
            std::thread::sleep(Duration::from_millis(300));
        }
        start_response.start("200 OK", &[]);
        environ.path().into_owned()
    }

    fn ask(engine: &Engine, path: &str) -> String {
        let address = &engine.acceptors[0].listener.address;
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Runs with a server of four threads, and ends it.
    fn with_engine(listener: Listener, run: impl FnOnce(&Engine)) {
        with_application(hello, Settings::default(), listener, run);
    }

    fn with_application(
        application: impl Application,
        settings: Settings,
        listener: Listener,
        run: impl FnOnce(&Engine),
    ) {
        let settings = Settings { threads: 4, shards: 2, ..settings };
        let shared = Arc::new(Shared::new(settings, Box::new(application), Arc::new(Lines::errors(io::sink()))));
        let (engine, threads) = Engine::start(shared, vec![listener], &Variables::default()).unwrap();
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
            let stats = engine.stats();
            assert_eq!(stats.accepted, stats.served);
        });
    }

    #[test]
    fn in_a_rush_a_connection_is_accepted_while_the_workers_are_in_calls() {
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
    fn a_worker_brings_what_it_has_accepted_and_waits_for_no_room() {
        let (let_go, waits) = mpsc::channel();
        let waits = Mutex::new(waits);
        let application = move |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("200 OK", &[]);
            let was_let_go = lock(&waits).recv_timeout(Duration::from_secs(5)).is_ok();
            if was_let_go { "let go" } else { "waited for" }
        };
        let settings = Settings { max_connections: 1, ..Settings::default() };
        with_application(application, settings, own(), |engine| {
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(ask(engine, "/").ends_with("let go")));
                while engine.stats().busy == 0 {
                    std::thread::yield_now();
                }
                // Somebody else has taken a place since there was room, and nobody can be closed for it.
                let (listener, place) = (TcpListener::bind("127.0.0.1:0").unwrap(), engine.shared.places.take());
                let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (stream, peer) = listener.accept().unwrap();
                engine.let_in(&engine.acceptors[0], (stream, Peer::new(peer)), Some(place), Instant::now());
                let_go.send(()).unwrap();
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
