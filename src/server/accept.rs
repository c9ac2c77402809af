//! How connections come in: one thread for each listener, and the workers themselves while connections come in a rush.
//!
//! The thread blocks in accept, so that a server nobody calls costs nothing. Each connection that it brings to a shard costs a wake-up of
//! the worker, though. While many come in a short time and end as quickly there is a *rush*: the listener does not block, and workers that
//! find nothing to do in their shards accept; the thread only looks how many still come. It takes over again when they are few, when no
//! worker has time for them, when they stay, or when there is no place for one more: std's queue holds 128 connections, a client that finds it
//! full tries again after 200 ms, and nobody empties it as fast as a thread that does nothing else.
//!
//! Invariant: nobody but the thread accepts while the socket may block, or waits for room. A worker accepts only in a rush, and under the lock
//! under which the thread begins and ends that. No error ends accepting: what the system refuses is waited out, making room meanwhile. A stop
//! does: what the system had accepted by then is brought in within its grace, and nothing after it. Of a socket that others have too that is known
//! by the connection that wakes the thread, which stands behind all of it, and which over a Unix socket is known by its end, as one is whose client has left without a word; they may take that,
//! so it is woken until it is out.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bounds::Place;
use super::connection::Connection;
use super::engine::Engine;
use super::listener::{LEFT, Listener};
use super::settings::{LOOK, RUSH, RUSH_TIME};
use super::shared::lock;
use super::socket::Socket;
use crate::cause::Cause;
use crate::door::{Origin, Peer};
use crate::log::{Answer, Report};

/// A listener, and who accepts from it at the moment.
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    origin: Arc<Origin>,
    /// Whether the workers accept, which they do under this lock; the socket does not block then.
    is_rush: Mutex<bool>,
    /// How many connections have come, whoever accepted them.
    pub(super) come: AtomicUsize,
    /// From where its thread was woken to end, until it does.
    woken_from: Mutex<Option<Vec<Whence>>>,
}

/// From where a connection comes: over a Unix socket nowhere, or as [`left`] says; or nowhere, where there is none.
type Whence = Option<(IpAddr, u16)>;

/// Where a connection over a Unix socket comes from whose client has left, as one does that wakes a thread.
fn left(stream: &TcpStream) -> Whence {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    peeked.ok().filter(|length| *length == 0).and_then(|_| Peer::new(LEFT).address)
}

/// How many connections had come at a moment, and how many were open.
struct Count {
    at: Instant,
    come: usize,
    open: usize,
}

impl Acceptor {
    pub(super) fn new(listener: Listener, origin: Arc<Origin>) -> Acceptor {
        let (is_rush, come, woken_from) = (Mutex::default(), AtomicUsize::new(0), Mutex::new(Some(Vec::new())));
        Acceptor { listener, origin, is_rush, come, woken_from }
    }

    /// Ends an accept that blocks in another thread: at every look of the monitor, since somebody else who has the socket may have taken the
    /// connection that was to wake it.
    pub(super) fn wake(&self) {
        const WAKES: usize = 256;
        // Behind its end nobody accepts, and a Unix socket whose queue is full would be waited for without end.
        if let Some(woken_from) = &mut *lock(&self.woken_from) {
            woken_from.push(self.listener.wake().and_then(|from| Peer::new(from).address));
            if woken_from.len() > WAKES {
                // This machine cannot reach its own address.
                self.listener.close();
            }
        }
    }

    /// Whether a stop ends accepting with this connection: the one that woke the thread, or any where this machine cannot reach its own address.
    fn take_end(&self, last: Whence) -> bool {
        let ends = |woken_from: &mut Vec<Whence>| woken_from.iter().any(|from| from.is_none() || *from == last);
        // Whoever wakes it in this moment may wait for it to accept.
        let woken_from = self.woken_from.try_lock();
        self.listener.is_own() || woken_from.is_ok_and(|mut woken_from| woken_from.take_if(ends).is_some())
    }

    /// Has the workers accept, or the thread. A socket that cannot be made to block again says at once that nothing is there, and is waited for
    /// like any other failure.
    fn set_rush(&self, begins: bool) {
        let mut is_rush = lock(&self.is_rush);
        if *is_rush != begins {
            *is_rush = self.listener.set_nonblocking(begins).is_ok() && begins;
        }
    }
}

impl Engine {
    /// The life of an acceptor's thread.
    pub(super) fn accept(&self, acceptor: &Acceptor) {
        // A stop waits for it.
        const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
        const QUIET: Duration = Duration::from_secs(10);
        let mut backoff = BACKOFF.0;
        let mut failed: Option<Instant> = None;
        let (mut before, mut last) = (self.count(acceptor), None);
        while !(self.shared.is_stopping() && acceptor.take_end(last)) {
            let is_rush = acceptor.listener.is_own() && self.judge_rush(acceptor, &mut before);
            acceptor.set_rush(is_rush);
            if is_rush {
                // There is nothing to be woken for but its end.
                std::thread::sleep(LOOK);
                continue;
            }
            match acceptor.listener.accept() {
                Ok(accepted) => {
                    backoff = BACKOFF.0;
                    let whence = || if self.shared.is_stopping() { left(&accepted.0) } else { None };
                    last = accepted.1.address.or_else(whence);
                    self.let_in(acceptor, accepted, None);
                }
                // The client was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Somebody else who has the socket has set it so: there is no other way to wait for it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(BACKOFF.0),
                Err(_) if self.shared.is_stopping() => {}
                Err(error) => {
                    // Mostly EMFILE: one line when it begins. Each connection that is closed for another lets one in before the next
                    // failure, so it is only over when it has not come back for a while.
                    if failed.replace(Instant::now()).is_none_or(|last| last.elapsed() > QUIET) {
                        self.shared.report(Cause::AcceptFailed, &error.to_string());
                    }
                    self.make_room();
                    // std tells of no descriptor that becomes free.
                    std::thread::sleep(backoff);
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
        acceptor.set_rush(false);
        // What the system had accepted when the stop began; who comes later is not let wait for nothing.
        if acceptor.listener.is_own() && acceptor.listener.set_nonblocking(true).is_ok() {
            while let Ok(accepted) = acceptor.listener.accept() {
                self.let_in(acceptor, accepted, None);
            }
        }
        acceptor.listener.close();
    }

    fn count(&self, acceptor: &Acceptor) -> Count {
        let come = acceptor.come.load(Ordering::Relaxed);
        Count { at: Instant::now(), come, open: self.shared.open() }
    }

    /// Whether many connections have come in a short time, and half of them have ended. At the limit the thread makes room for each.
    fn judge_rush(&self, acceptor: &Acceptor, before: &mut Count) -> bool {
        let now = self.count(acceptor);
        let come = now.come.wrapping_sub(before.come);
        let is_late = now.at.saturating_duration_since(before.at) > RUSH_TIME;
        if come < RUSH && !is_late {
            return false;
        }
        let has_room = now.open < self.shared.settings.max_connections;
        let is_rush = !is_late && has_room && now.open <= before.open + come / 2;
        *before = now;
        is_rush
    }

    /// Whether a worker is to look for connections.
    pub(super) fn has_rush(&self) -> bool {
        self.acceptors.iter().any(|acceptor| *lock(&acceptor.is_rush))
    }

    /// Accepts one connection, if there is a rush and one has come. The caller holds no shard's lock.
    pub(super) fn accept_in_rush(&self) -> bool {
        self.acceptors.iter().any(|acceptor| {
            // Another worker accepts, or the thread takes over: it sees to what is there.
            let Some(is_rush) = acceptor.is_rush.try_lock().ok().filter(|is_rush| **is_rush) else { return false };
            // Its place first: no server ends before what has one. Where it would be one too many the thread makes room.
            let place = Place::new(&self.shared.places);
            if self.shared.is_stopping() || self.is_crowded() {
                return false;
            }
            let Ok(accepted) = acceptor.listener.accept() else { return false };
            drop(is_rush);
            self.let_in(acceptor, accepted, Some(place));
            true
        })
    }

    /// Brings an accepted connection to a shard, if it may come in. If it has no place yet, room is made for one.
    fn let_in(&self, acceptor: &Acceptor, (stream, peer): (TcpStream, Peer), place: Option<Place>) {
        // Nobody's: it woke the thread. Not asked where it has no address: whoever wakes a Unix socket waits under that lock until it is let in.
        let has_woken = || lock(&acceptor.woken_from).iter().flatten().any(|from| *from == peer.address);
        if self.shared.is_stopping() && peer.address.is_some() && has_woken() {
            return;
        }
        if !acceptor.listener.allows(&peer) {
            let (cause, answer) = (Cause::PeerRefused, Answer::Closed);
            return self.shared.error(&Report { cause, peer: peer.address, request: b"", answer, detail: "" });
        }
        let place = place.unwrap_or_else(|| self.make_place());
        let number = acceptor.come.fetch_add(1, Ordering::Relaxed);
        let Ok(socket) = Socket::accepted(stream) else { return };
        let origin = Arc::clone(&acceptor.origin);
        let connection = Connection::new(socket, peer, origin, &self.shared, Some(place), Instant::now());
        // The shards have their turns.
        if let Some(shard) = self.shards.get(number % self.shards.len()) {
            shard.deliver(connection);
        }
    }

    /// Counts one more. What is too many then is closed.
    fn make_place(&self) -> Place {
        // Two that wait would be one too many for each other, for ever.
        let _alone = lock(&self.shared.placing);
        let place = Place::new(&self.shared.places);
        while self.is_crowded() && !self.shared.is_stopping() {
            if !self.make_room() {
                // All are in calls, which end without telling this thread: a signal for it would cost every connection.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        place
    }

    /// Whether more connections are open than may be.
    fn is_crowded(&self) -> bool {
        self.shared.open() > self.shared.settings.max_connections
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddrV6, TcpListener};
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;
    use std::thread::JoinHandle;

    use super::*;
    use crate::gateway::{Application, Environ, StartResponse, Variables};
    use crate::log::{Lines, Log};
    use crate::server::listener::Address;
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
        with_application(hello, Settings::default(), vec![listener], run);
    }

    fn with_application(
        application: impl Application,
        settings: Settings,
        listeners: Vec<Listener>,
        run: impl FnOnce(&Engine),
    ) {
        let settings = Settings { threads: 4, shards: 2, ..settings };
        let shared = Arc::new(Shared::new(settings, Box::new(application), Arc::new(Lines::errors(io::sink()))));
        let (engine, threads) = Engine::start(shared, listeners, &Variables::default()).unwrap();
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
                        seen.fetch_or(engine.has_rush(), Ordering::Relaxed);
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
            while engine.has_rush() {
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

    /// Its own thread accepts there, whatever the workers find elsewhere.
    #[test]
    fn a_rush_at_one_address_is_none_at_another() {
        with_application(hello, Settings::default(), vec![own(), own()], |engine| {
            assert!(has_rush(engine));
            assert_eq!(engine.count(&engine.acceptors[1]).come, 0);
            assert!(!*lock(&engine.acceptors[1].is_rush));
        });
    }

    #[test]
    #[cfg(unix)]
    fn a_rush_ends_when_the_socket_is_handed_over_though_connections_still_come() {
        with_engine(own(), |engine| {
            let is_done = AtomicBool::new(false);
            let ask_on = || {
                while !is_done.load(Ordering::Relaxed) {
                    assert!(ask(engine, "/").ends_with('/'))
                }
            };
            std::thread::scope(|scope| {
                (0..4).for_each(|_| drop(scope.spawn(ask_on)));
                while !engine.has_rush() {
                    std::thread::yield_now();
                }
                let _shared = engine.acceptors[0].listener.hand_over().unwrap();
                while engine.has_rush() {
                    std::thread::yield_now();
                }
                is_done.store(true, Ordering::Relaxed);
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
        with_application(application, settings, vec![own()], |engine| {
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(ask(engine, "/").ends_with("let go")));
                while engine.stats().busy == 0 {
                    std::thread::yield_now();
                }
                // Somebody else has taken a place since there was room, and nobody can be closed for it.
                let (listener, place) = (TcpListener::bind("127.0.0.1:0").unwrap(), Place::new(&engine.shared.places));
                let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (stream, peer) = listener.accept().unwrap();
                engine.let_in(&engine.acceptors[0], (stream, Peer::new(peer)), Some(place));
                let_go.send(()).unwrap();
            });
        });
    }

    #[test]
    fn connections_that_come_at_two_addresses_of_a_full_server_are_let_in_one_after_the_other() {
        let settings = Settings { max_connections: 1, ..Settings::default() };
        with_application(hello, settings, vec![own(), own()], |engine| {
            let place = Place::new(&engine.shared.places);
            let clients = [0, 1].map(|listener| {
                let mut client = TcpStream::connect(&engine.acceptors[listener].listener.address).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
                client
            });
            while engine.shared.placing.try_lock().is_ok() {
                std::thread::yield_now();
            }
            // There is no sign that the other thread waits as well.
            std::thread::sleep(Duration::from_millis(50));
            drop(place);
            for mut client in clients {
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 OK"));
            }
        });
    }

    /// Workers do not make room: connections would wait for the thread to look again.
    #[test]
    fn a_server_at_its_limit_has_no_rush() {
        let settings = Settings { max_connections: 4, ..Settings::default() };
        with_application(hello, settings, vec![own()], |engine| {
            let mut places: Vec<_> = (0..4).map(|_| Place::new(&engine.shared.places)).collect();
            let is_rush = || {
                let acceptor = &engine.acceptors[0];
                let mut before = engine.count(acceptor);
                // However late this thread is.
                before.at += Duration::from_secs(3_600);
                acceptor.come.fetch_add(RUSH, Ordering::Relaxed);
                engine.judge_rush(acceptor, &mut before)
            };
            assert!(!is_rush());
            places.pop();
            assert!(is_rush());
        });
    }

    /// A stop does not take for ever.
    fn end(threads: Vec<JoinHandle<()>>) {
        let (sender, ends) = mpsc::channel();
        std::thread::spawn(move || {
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            sender.send(()).unwrap();
        });
        assert!(ends.recv_timeout(Duration::from_secs(20)).is_ok(), "it does not end");
    }

    /// Nobody is looked after any longer.
    fn end_without_grace(engine: &Engine, threads: Vec<JoinHandle<()>>) {
        let before = engine.stats().looks;
        engine.stop(Duration::ZERO);
        end(threads);
        assert!(engine.stats().looks - before < 20);
    }

    /// A log that connects once more for each connection that is refused.
    struct Again(Address, AtomicBool);

    impl Log for Again {
        fn error(&self, report: &Report<'_>) {
            if report.cause == Cause::PeerRefused {
                self.1.store(true, Ordering::SeqCst);
                // The address is that of a server which ends.
                drop(TcpStream::connect(&self.0));
            }
        }
    }

    #[test]
    fn a_stop_ends_with_its_grace_though_there_is_always_one_more_connection() {
        let mut listener = own();
        listener.allowed = vec![Ipv4Addr::new(127, 9, 9, 9).into()];
        let log = Arc::new(Again(listener.address.clone(), AtomicBool::new(false)));
        let shared = Arc::new(Shared::new(Settings::default(), Box::new(hello), Arc::clone(&log) as Arc<dyn Log>));
        let _client = TcpStream::connect(&listener.address).unwrap();
        let (engine, threads) = Engine::start(shared, vec![listener], &Variables::default()).unwrap();
        while !log.1.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        end_without_grace(&engine, threads);
    }

    #[test]
    #[cfg(unix)]
    fn a_stop_waits_no_longer_than_its_grace_for_an_address_that_this_machine_cannot_reach() {
        let mut listener = own();
        let real = std::mem::replace(&mut listener.address, own().address.clone());
        let shared = Arc::new(Shared::new(Settings::default(), Box::new(hello), Arc::new(Lines::errors(io::sink()))));
        let (engine, threads) = Engine::start(shared, vec![listener], &Variables::default()).unwrap();
        // Its thread waits for the next.
        let mut client = TcpStream::connect(real).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        client.read_to_string(&mut String::new()).unwrap();
        end_without_grace(&engine, threads);
    }

    /// An address that says nothing without its interface.
    #[test]
    #[cfg(unix)]
    fn a_stop_ends_a_server_at_a_link_local_address_though_others_have_its_socket() {
        let all = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let Some(line) = all.lines().find(|line| line.starts_with("fe80")) else {
            return println!("skipped: there is no link-local address");
        };
        let number = |at: usize| line.split_whitespace().nth(at).and_then(|text| u128::from_str_radix(text, 16).ok());
        let (address, interface) = (number(0).unwrap().into(), number(1).unwrap() as u32);
        let Ok(socket) = TcpListener::bind(SocketAddrV6::new(address, 0, 0, interface)) else {
            return println!("skipped: the link-local address is not to be listened at");
        };
        let shared = Arc::new(Shared::new(Settings::default(), Box::new(hello), Arc::new(Lines::errors(io::sink()))));
        let (engine, threads) = Engine::start(shared, vec![socket.into()], &Variables::default()).unwrap();
        assert!(ask(&engine, "/").ends_with('/'));
        engine.stop(Duration::from_secs(5));
        end(threads);
    }

    #[test]
    #[cfg(unix)]
    fn a_stop_ends_though_the_queue_of_a_unix_socket_that_others_have_is_full() {
        use std::os::unix::net::{UnixListener, UnixStream};

        let path = std::env::temp_dir().join(format!("doorway-accept-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        // As whoever has started the server.
        let _shared = listener.try_clone().unwrap();
        let (let_go, waits) = mpsc::channel::<()>();
        let waits = Mutex::new(waits);
        let application = move |_: &Environ, start_response: &mut StartResponse| {
            // Until the test is over.
            let _ = lock(&waits).recv();
            start_response.start("200 OK", &[]);
            ""
        };
        let settings = Settings { max_connections: 1, ..Settings::default() };
        let shared = Arc::new(Shared::new(settings, Box::new(application), Arc::new(Lines::errors(io::sink()))));
        let (engine, threads) = Engine::start(shared, vec![listener.into()], &Variables::default()).unwrap();
        let mut busy = UnixStream::connect(&path).unwrap();
        busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        while engine.stats().busy == 0 {
            std::thread::yield_now();
        }
        // The next is accepted and waits for room, and those behind it for that: the last of them are not even connected.
        let connected = Arc::new(AtomicUsize::new(0));
        for _ in 0..4 {
            let (path, connected) = (path.clone(), Arc::clone(&connected));
            std::thread::spawn(move || {
                while UnixStream::connect(&path).is_ok() {
                    connected.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let (mut before, now) = (0, || connected.load(Ordering::SeqCst));
        while before == 0 || now() > before {
            before = now();
            // There is no sign of a queue that is full but that nothing goes on.
            std::thread::sleep(Duration::from_millis(50));
        }
        engine.stop(Duration::from_secs(5));
        drop(let_go);
        end(threads);
        std::fs::remove_file(path).unwrap();
    }

    /// Those that had come when the stop began, however many wait behind one another.
    #[test]
    #[cfg(unix)]
    fn a_stop_answers_what_waits_at_a_socket_that_the_server_did_not_open() {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::{UnixListener, UnixStream};

        let path = std::env::temp_dir().join(format!("doorway-accept-stop-{}", std::process::id()));
        let (unix, tcp) = (UnixListener::bind(&path).unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = tcp.local_addr().unwrap();
        let connect = |is_unix: bool| -> TcpStream {
            let client = if is_unix {
                OwnedFd::from(UnixStream::connect(&path).unwrap()).into()
            } else {
                TcpStream::connect(address).unwrap()
            };
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            (&client).write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
            client
        };
        let settings = Settings { max_connections: 1, ..Settings::default() };
        with_application(hello, settings, vec![unix.into(), tcp.into()], |engine| {
            let place = Place::new(&engine.shared.places);
            let clients: Vec<_> = (0..20).map(|number| connect(number % 2 == 0)).collect();
            engine.stop(Duration::from_secs(20));
            drop(place);
            for (number, mut client) in clients.into_iter().enumerate() {
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 OK"), "{number}");
            }
        });
        std::fs::remove_file(path).unwrap();
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
                assert!(blocks() && !engine.has_rush(), "{request}");
            }
        });
    }
}
