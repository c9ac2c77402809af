//! Connections that have left the engine: behind `101 Switching Protocols` they are the application's.
//!
//! RFC 9110 section 7.8. The engine hands a connection over with its call when the head is out, and forgets both: no shard has it any more, no
//! thread of the pool and none of its deadlines. It keeps its place among the open connections, so that a server which stops waits for it
//! as for a call; when the grace is over its socket is shut down. At most [`Settings::upgrades`](super::Settings::upgrades) may have left, each
//! in a thread of its own. What is spoken there is not known here.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::connection::{Connection, Step};
use super::failure::Failure;
use super::response::Response;
use super::settings::SLICE;
use super::shared::{Shared, lock};
use super::socket::Socket;
use crate::cause::Cause;
use crate::gateway::{Kind, Upgrade, Upgraded, bounded};
use crate::log::{Answer, Phase};

/// The connections that have left, or are about to, as long as they live.
#[derive(Default)]
pub(super) struct Upgrades(Mutex<Vec<Weak<Entry>>>);

/// One of them: its socket, the protocol that is spoken on it, and the thread that it is the application's in.
pub(super) struct Entry {
    socket: Arc<Socket>,
    pub(super) protocol: String,
    thread: OnceLock<ThreadId>,
}

impl Upgrades {
    /// Ends them all: the grace of a stop is over.
    pub(super) fn cut(&self) {
        for entry in lock(&self.0).iter().filter_map(Weak::upgrade) {
            entry.socket.shutdown(Shutdown::Both);
        }
    }

    /// Whether one of them is the application's in this thread.
    pub(super) fn are_in(&self, thread: ThreadId) -> bool {
        lock(&self.0).iter().filter_map(Weak::upgrade).any(|entry| entry.thread.get() == Some(&thread))
    }
}

/// Enters the socket of a response, and has the head say so.
pub(super) fn enter(protocol: &str, response: &mut Response, shared: &Shared) -> Result<(), Failure> {
    let socket = response.socket.clone().filter(|_| response.request.offers_upgrade);
    let socket = socket.ok_or_else(|| Failure::new(Cause::UpgradeMisused, "there is no upgrade at this door"))?;
    let mut left = lock(&shared.upgrades.0);
    left.retain(|entry| entry.strong_count() > 0);
    // Nobody can be closed for another where all have left.
    let most = shared.settings.max_connections;
    if left.len() >= shared.settings.upgrades.min(most - most.div_ceil(4)) {
        return Err(Failure::new(Cause::UpgradeLimit, ""));
    }
    let entry = Arc::new(Entry { socket, protocol: protocol.to_owned(), thread: OnceLock::new() });
    left.push(Arc::downgrade(&entry));
    (response.upgrade, response.request.keep_alive) = (Some(entry), false);
    Ok(())
}

/// Whether the connection has nothing left to do but to leave.
pub(super) fn leaves(connection: &mut Connection) -> bool {
    connection.call.as_mut().is_some_and(|call| call.leaves())
}

/// Starts a thread for a connection that leaves, and gives any other back.
pub(super) fn stay_or_leave(mut connection: Box<Connection>, shared: &Arc<Shared>) -> Option<Box<Connection>> {
    if !leaves(&mut connection) {
        return Some(connection);
    }
    connection.place.iter_mut().for_each(|place| place.enter(Phase::Upgraded));
    // A thread that does not start takes with it what it was given.
    let leaving = Arc::new(Mutex::new(connection));
    let (own, given) = (Arc::clone(shared), Arc::clone(&leaving));
    let work = move || converse(&mut lock(&given), &own);
    let Err(error) = shared.start("doorway-upgrade".into(), Box::new(work)) else { return None };
    let mut connection = lock(&leaving);
    let mut call = connection.call.take()?;
    call.report(Cause::ServerFault, Answer::Cut, &error.to_string(), &connection);
    call.finish(&mut connection);
    None
}

/// Has the application speak on a connection that leaves, to its end.
pub(super) fn converse(connection: &mut Connection, shared: &Arc<Shared>) {
    let Some(mut call) = connection.call.take() else { return };
    let entry = call.response().upgrade.clone();
    let (Some(entry), Kind::Upgrade(Upgrade { run, .. })) = (entry, std::mem::take(call.body.kind())) else { return };
    let socket = &entry.socket;
    entry.thread.get_or_init(|| thread::current().id());
    if socket.set_waiting(true).is_ok() {
        if let Ok(system) = socket.system() {
            let _ = system.set_read_timeout(Some(bounded(shared.settings.idle_deadline)));
            let _ = system.set_write_timeout(Some(bounded(shared.settings.response_stall)));
        }
        let stream = Stream(Arc::new(Taken {
            shared: Arc::clone(shared),
            socket: Arc::clone(socket),
            before: Mutex::new(std::mem::take(&mut connection.buffer)),
            sent: AtomicUsize::new(0),
        }));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(Box::new(stream.clone())))) {
            let failure = Failure::of_panic(panic);
            call.report(failure.cause, Answer::Cut, &failure.detail, connection);
        }
        call.response().content = stream.0.sent.load(Ordering::Relaxed) as u64;
    }
    call.finish(connection);
    // What the engine does at its end, with a thread of its own.
    connection.enter_lingering(shared, Instant::now());
    // A clone that is left may still set timeouts, which hold for whoever waits.
    while socket.set_waiting(false).is_ok() && connection.step(shared, Instant::now()) != Step::End {
        thread::sleep(SLICE);
    }
}

/// A connection that was taken over: what had been read from it before, and how much was sent.
struct Taken {
    shared: Arc<Shared>,
    socket: Arc<Socket>,
    before: Mutex<Buffer>,
    sent: AtomicUsize,
}

/// One handle of it.
#[derive(Clone)]
struct Stream(Arc<Taken>);

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut before = lock(&self.0.before);
        if before.is_empty() {
            drop(before);
            let length = self.0.socket.read(room)?;
            // A client that has stopped sending may still read; nobody reads where the server has cut.
            let is_cut = length == 0 && self.0.shared.is_over();
            return if is_cut { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(length) };
        }
        let length = before.filled().read(room)?;
        before.consume(length);
        Ok(length)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.0.socket.write(&[IoSlice::new(bytes)])?;
        self.0.sent.fetch_add(length, Ordering::Relaxed);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upgraded for Stream {
    fn try_clone(&self) -> io::Result<Box<dyn Upgraded>> {
        self.0.socket.system().map(|_| Box::new(self.clone()) as Box<dyn Upgraded>)
    }

    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.0.socket.system()?.set_read_timeout(time)
    }

    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.0.socket.system()?.set_write_timeout(time)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.socket.shutdown(how).then_some(()).ok_or(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::channel;

    use super::*;
    use crate::door::{Door, Origin, Peer};
    use crate::gateway::{Body, Environ, Gateway, StartResponse, Variables};
    use crate::log::Lines;
    use crate::server::answer::Calls;
    use crate::server::bounds::Place;
    use crate::server::settings::Settings;

    /// A connection that leaves, with some memory to its name, for this function; and its client.
    fn leaving(
        settings: Settings,
        run: impl Fn() + Send + Sync + 'static,
    ) -> (Arc<Shared>, Box<Connection>, TcpStream) {
        let run = Arc::new(run);
        let application = move |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("101 Switching Protocols", &[]);
            let run = Arc::clone(&run);
            Body::upgrade("echo", move |_| run())
        };
        let shared = Arc::new(Shared::new(settings, Box::new(application), Arc::new(Lines::errors(io::sink()))));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").unwrap();
        let socket = Socket::accepted(listener.accept().unwrap().0).unwrap();
        let origin = Arc::new(Origin::new(Door::Http, Gateway::default(), "a".into(), None, Variables::default()));
        let (place, now) = (Some(Place::new(&shared.places)), Instant::now());
        let mut connection = Connection::new(socket, Peer::default(), origin, &shared, place, now);
        while connection.step(&shared, now) != Step::Job {}
        connection.hold(1_000);
        Calls::new(&shared).run(&mut connection, now);
        assert!(leaves(&mut connection));
        (shared, connection, client)
    }

    #[test]
    fn what_has_left_counts_for_no_memory_that_waits() {
        let (sender, end) = channel::<()>();
        let end = Mutex::new(end);
        let (shared, connection, _client) = leaving(Settings::default(), move || {
            let _ = lock(&end).recv();
        });
        assert!(stay_or_leave(connection, &shared).is_none());
        assert_eq!((shared.places.memory.load(Ordering::Relaxed), shared.open()), (0, 1));
        drop(sender);
    }

    #[test]
    fn where_the_system_gives_no_thread_of_the_stack_that_was_set_the_connection_ends_and_the_log_says_so() {
        let settings = Settings { stack: Some(usize::MAX / 8 * 7), ..Settings::default() };
        let (shared, connection, mut client) = leaving(settings, || panic!("there is no thread for it"));
        assert!(stay_or_leave(connection, &shared).is_none());
        client.read_to_end(&mut Vec::new()).unwrap();
        let stats = shared.counters.read(&shared.places.phases);
        assert_eq!((stats.count(Cause::ServerFault), stats.served), (1, 1), "an error, and a line like any other's");
        assert!(shared.open() == 0 && lock(&shared.upgrades.0).iter().all(|entry| entry.strong_count() == 0));
    }
}
