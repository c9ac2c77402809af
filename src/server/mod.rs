//! A server for an application: sockets, threads and time, from std alone.
//!
//! The way of a request: [`listener`] → `accept` → `connection` (a state machine that no thread owns while it waits) → `answer` and `call` (one
//! request and its response, in a thread of the pool, with `reader` and `response`) → `send` → `connection` again. While a connection waits for its client it is in
//! a `shard`, which a thread of the `pool` sweeps and the `monitor` looks after. `engine` starts and ends it all; every limit stands in [`settings`].

mod accept;
mod answer;
mod bell;
mod bounds;
mod buffer;
mod call;
mod connection;
mod engine;
mod failure;
mod listener;
mod monitor;
mod pool;
mod reader;
mod response;
mod send;
mod settings;
mod shard;
mod shared;
mod shedding;
mod sleepers;
mod socket;
mod upgrade;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, ToSocketAddrs};
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use listener::no_address;
pub use listener::{Address, Listener};
pub use settings::Settings;

use crate::door::{Door, Peer};
use crate::gateway::{Application, Variables};
use crate::log::{Lines, Log, Stats};
use answer::Calls;
use connection::{Connection, Step};
use engine::Engine;
use settings::SHORTEST;
use shared::Shared;
use socket::Socket;

/// A server that is listening and not yet serving.
///
/// ```no_run
/// use doorway::{Body, Environ, Server, StartResponse};
///
/// fn application(_environ: &Environ, start_response: &mut StartResponse) -> Body {
///     start_response.start("200 OK", &[("Content-Type", "text/html")]);
///     Body::from("<h1>Hello, web!</h1>")
/// }
///
/// fn main() -> std::io::Result<()> {
///     Server::bind("127.0.0.1:8000")?.serve(application)
/// }
/// ```
#[must_use = "a server does nothing before serve or spawn"]
pub struct Server {
    listeners: Vec<Listener>,
    /// What serve_connection speaks.
    door: Door,
    settings: Settings,
    variables: Variables,
    log: Arc<dyn Log>,
    observer: Observer,
}

impl Server {
    /// Listens at every address that `addresses` stands for: `"127.0.0.1:8000"`, `"localhost:8000"` (both loopback addresses where
    /// the system has both), `("::", 8000)`, a slice of several. Port 0 takes a free port; the [`Handle`] tells which.
    ///
    /// # Errors
    /// When an address is taken or not permitted; the error says which one, and what to do.
    pub fn bind(addresses: impl ToSocketAddrs) -> io::Result<Server> {
        Ok(Server::over(Listener::open_tcp(addresses)?))
    }

    /// Listens at a Unix socket that only the same user may connect to (mode 0600; `std::fs::set_permissions` opens it to others).
    ///
    /// # Errors
    /// When something is at the path that is not a left-over socket, or the folder does not permit it.
    #[cfg(unix)]
    pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Server> {
        Ok(Server::over(vec![Listener::open_unix(path.as_ref())?]))
    }

    /// Serves a socket that is listening already: inherited, or opened before privileges were dropped.
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use doorway::Server;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let handle = Server::from_listener(listener).spawn(doorway::app::demo)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_listener(listener: impl Into<Listener>) -> Server {
        Server::over(vec![listener.into()])
    }

    /// A server without a socket, for [`serve_connection`](Server::serve_connection).
    pub fn unbound() -> Server {
        Server::over(Vec::new())
    }

    /// Serves the addresses of `other` too; its settings are forgotten.
    ///
    /// ```
    /// use doorway::Server;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = Server::bind("127.0.0.1:0")?.and(Server::bind("127.0.0.1:0")?);
    /// assert_eq!(server.addrs().count(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn and(mut self, mut other: Server) -> Server {
        self.listeners.append(&mut other.listeners);
        self
    }

    /// Speaks another protocol at the addresses so far and in [`serve_connection`](Server::serve_connection): one of those in which a
    /// front server passes on what it has read of a request.
    /// Everything else stays as it is: threads, limits, deadlines and logs are those of the server.
    ///
    /// ```
    /// use doorway::{Door, Server};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = Server::bind("127.0.0.1:0")?
    ///     .and(Server::bind("127.0.0.1:0")?.door(Door::Uwsgi))
    ///     .and(Server::bind("127.0.0.1:0")?.door(Door::FastCgi));
    /// let handle = server.spawn(doorway::app::demo)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Whoever connects to such an address is believed who its client is. Therefore [`spawn`](Server::spawn) refuses an address that
    /// is neither a loopback address nor a Unix socket, unless [`allow`](Server::allow) names who may connect.
    pub fn door(mut self, door: Door) -> Server {
        self.door = door;
        for listener in &mut self.listeners {
            listener.door = door;
        }
        self
    }

    /// Lets only these peers connect to the addresses so far; others are closed and logged.
    ///
    /// ```
    /// use doorway::{Door, Server};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let open = || Server::bind("0.0.0.0:0").map(|server| server.door(Door::Scgi));
    /// let error = open()?.spawn(doorway::app::demo).unwrap_err();
    /// assert!(error.to_string().contains("Server::allow"));
    /// let handle = open()?.allow([[10, 0, 0, 7].into()]).spawn(doorway::app::demo)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn allow(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Server {
        let addresses: Vec<IpAddr> = addresses.into_iter().map(|address| address.to_canonical()).collect();
        for listener in &mut self.listeners {
            listener.allowed.extend(&addresses);
        }
        self
    }

    /// Changes settings.
    pub fn configure(mut self, change: impl FnOnce(&mut Settings)) -> Server {
        change(&mut self.settings);
        self
    }

    /// Sets the number of threads that call the application. With 1, calls are serialised and
    /// [`Environ::multithread`](crate::Environ::multithread) is false.
    pub fn threads(self, threads: usize) -> Server {
        self.configure(|settings| settings.threads = threads)
    }

    /// Adds a variable to the environ of every request. It wins over one of the same name that a client sends.
    pub fn env(mut self, name: &str, value: impl AsRef<[u8]>) -> Server {
        self.variables.set(name.as_bytes(), value.as_ref());
        self
    }

    /// Reports to `log`. The default writes errors to standard error, and no access log.
    pub fn log(mut self, log: impl Log) -> Server {
        self.log = Arc::new(log);
        self
    }

    /// Tells what the server does when it serves: for an application that is served by it and must be there before it.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// Where it listens.
    pub fn addrs(&self) -> impl Iterator<Item = &Address> {
        self.listeners.iter().map(|listener| &listener.address)
    }

    /// The sockets it listens at, each with what is spoken there, for a process that takes over: this one, when it starts another program, or
    /// another. They are shared from then on.
    ///
    /// # Errors
    /// When there are no descriptors left.
    #[cfg(unix)]
    pub fn hand_over(&self) -> io::Result<Vec<(Door, OwnedFd)>> {
        self.listeners.iter().map(Listener::hand_over).collect()
    }

    /// Serves until a [`Stopper`] ends it, which is for ever without one.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn serve(self, application: impl Application) -> io::Result<()> {
        self.spawn(application)?.join();
        Ok(())
    }

    /// Serves in the background.
    ///
    /// # Errors
    /// When a thread cannot be started.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    /// use doorway::Server;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let handle = Server::bind("127.0.0.1:0")?.threads(2).spawn(doorway::app::demo)?;
    /// let mut client = TcpStream::connect(handle.addr())?;
    /// client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    /// let mut response = String::new();
    /// client.read_to_string(&mut response)?;
    /// assert!(response.starts_with("HTTP/1.1 200 OK\r\n"));
    /// handle.shutdown(Duration::from_secs(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn(self, application: impl Application) -> io::Result<Handle> {
        let address = self.addrs().next().cloned().ok_or_else(no_address)?;
        self.listeners.iter().try_for_each(Listener::check)?;
        let shared = Arc::new(Shared::new(self.settings, Box::new(application), self.log));
        let (engine, threads) = Engine::start(shared, self.listeners, &self.variables)?;
        self.observer.engine.get_or_init(|| Arc::downgrade(&engine));
        Ok(Handle { address, engine, threads })
    }

    /// Waits for one connection at the first address, answers one request on it and returns: a program that needs a browser to tell it
    /// something, once. It returns when the client has closed, or [`Settings::linger_deadline`] behind the answer.
    ///
    /// # Errors
    /// When no connection can be accepted. What goes wrong on the connection goes to the log.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    /// use doorway::{Environ, Server, StartResponse};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = Server::bind("127.0.0.1:0")?;
    /// # let address = server.addrs().next().cloned().unwrap();
    /// # let client = std::thread::spawn(move || {
    /// #     let mut client = TcpStream::connect(address).unwrap();
    /// #     client.write_all(b"GET /callback?code=42 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    /// #     let mut response = String::new();
    /// #     client.read_to_string(&mut response).unwrap();
    /// #     assert!(response.contains("Connection: close") && response.ends_with("You may close this window.\n"));
    /// # });
    /// let (sender, code) = std::sync::mpsc::channel();
    /// server.handle_one(move |environ: &Environ, start_response: &mut StartResponse| {
    ///     sender.send(environ.query_string().to_owned())?;
    ///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    ///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>("You may close this window.\n")
    /// })?;
    /// assert_eq!(code.recv().as_deref(), Ok("code=42"));
    /// # client.join().unwrap();
    /// # Ok(())
    /// # }
    /// ```
    pub fn handle_one(mut self, application: impl Application) -> io::Result<()> {
        let listener = self.listeners.drain(..).next().ok_or_else(no_address)?;
        listener.check()?;
        let (mut stream, mut peer) = listener.accept()?;
        while !listener.allows(&peer) {
            (stream, peer) = listener.accept()?;
        }
        let socket = Socket::accepted(stream)?;
        socket.set_waiting(true)?;
        self.door = listener.door;
        self.converse(socket, peer, listener.address.port(), true, application);
        Ok(())
    }

    /// Serves one connection over a stream that the caller has accepted, in the calling thread, until it ends. The server's own
    /// sockets are not used. What only the caller knows is said with [`env`](Server::env) (such as `REMOTE_ADDR`) and
    /// [`Settings::https`].
    ///
    /// The rules and limits are those of every server, but for time: a stream that blocks for ever keeps this call for ever, so
    /// give the stream deadlines of its own.
    pub fn serve_connection(self, stream: impl Read + Write + Send + 'static, application: impl Application) {
        self.converse(Socket::over(stream), Peer::default(), None, false, application);
    }

    /// Serves one connection in the calling thread: to its end, or one request only (`once`).
    fn converse(self, socket: Socket, peer: Peer, port: Option<u16>, once: bool, application: impl Application) {
        let shared = Arc::new(Shared::new(self.settings, Box::new(application), self.log));
        let origin = shared.origin(self.door, port, false, self.variables);
        let mut connection = Connection::new(socket, peer, origin, &shared, None, Instant::now());
        let mut calls = Calls::new(&shared);
        loop {
            match connection.step(&shared, Instant::now()) {
                Step::Job => {
                    if once {
                        // As when a server stops: what has begun is answered, and that ends the connection.
                        shared.stop(Duration::MAX);
                    }
                    // Not the time of before the step: that may have waited for the request as long as its stream does.
                    calls.run(&mut connection, Instant::now());
                    if upgrade::leaves(&mut connection) {
                        return upgrade::converse(&mut connection, &shared);
                    }
                }
                // A socket that waits has waited: its deadlines are looked at again.
                Step::Wait | Step::More if connection.call.is_none() => {}
                // The next block is waited for here.
                Step::Wait | Step::More => match connection.receiver() {
                    Some(receiver) => receiver.wait_here(),
                    None => std::thread::sleep(SHORTEST),
                },
                Step::End => return,
            }
        }
    }

    fn over(listeners: Vec<Listener>) -> Server {
        let (settings, variables, observer) = (Settings::default(), Variables::default(), Observer::default());
        let log = Arc::new(Lines::errors(io::stderr()));
        Server { listeners, door: Door::Http, settings, variables, log, observer }
    }
}

/// A server that runs in the background. Dropping it ends the server at once, waiting only for calls of the application.
#[must_use = "dropping the handle ends the server"]
pub struct Handle {
    address: Address,
    engine: Arc<Engine>,
    threads: Vec<JoinHandle<()>>,
}

impl Handle {
    /// The first address it listens at; with port 0, here is the port it got.
    pub fn addr(&self) -> &Address {
        &self.address
    }

    /// Every address it listens at.
    pub fn addrs(&self) -> impl Iterator<Item = &Address> {
        self.engine.acceptors.iter().map(|acceptor| &acceptor.listener.address)
    }

    /// How many threads the server has from its start to its end: the pool, one for each address, the monitor. Up to [`Settings::sleepers`] and
    /// [`Settings::upgrades`] more come when they are needed.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// What it does at the moment and has done so far.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Something small that can stop the server from anywhere.
    pub fn stopper(&self) -> Stopper {
        Stopper { engine: Arc::downgrade(&self.engine) }
    }

    /// Stops: no new connections, idle ones end, what runs has the time of `grace` to finish and is cut then. Returns when every
    /// thread has ended, for which calls of the application that do not return are waited. Gives the last counts.
    pub fn shutdown(mut self, grace: Duration) -> Stats {
        self.engine.stop(grace);
        self.join_threads();
        self.stats()
    }

    /// Waits until the server has ended.
    pub fn join(mut self) {
        self.join_threads();
    }

    fn join_threads(&mut self) {
        let (own, threads) = (std::thread::current().id(), std::mem::take(&mut self.threads));
        // An application that drops the handle of its own server must not wait for itself, nor for those who wait for its call.
        let is_own =
            threads.iter().any(|thread| thread.thread().id() == own) || self.engine.shared.upgrades.are_in(own);
        if !is_own {
            // No thread of the server panics; if one did, there is nobody left to tell.
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.engine.stop(Duration::ZERO);
            self.join_threads();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("addr", self.addr()).finish_non_exhaustive()
    }
}

/// Stops a server from another thread. It may be cloned and kept anywhere; stopping twice is harmless.
///
/// ```
/// use doorway::Server;
///
/// # fn main() -> std::io::Result<()> {
/// let handle = Server::bind("127.0.0.1:0")?.spawn(doorway::app::demo)?;
/// let stopper = handle.stopper();
/// std::thread::spawn(move || stopper.stop());
/// handle.join();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Stopper {
    /// A server that has ended is not kept by it.
    engine: Weak<Engine>,
}

impl Stopper {
    /// Stops with the grace of the settings, and returns at once.
    pub fn stop(&self) {
        self.engine.upgrade().iter().for_each(|engine| engine.stop(engine.shared.settings.grace));
    }

    /// The same as [`Server::hand_over`], of a server that runs. When the other process is ready, this one can stop: what both have accepted is
    /// answered, by one or the other. A server that has ended has no sockets.
    ///
    /// # Errors
    /// When there are no descriptors left.
    #[cfg(unix)]
    pub fn hand_over(&self) -> io::Result<Vec<(Door, OwnedFd)>> {
        let engine = self.engine.upgrade();
        engine.iter().flat_map(|engine| &engine.acceptors).map(|acceptor| acceptor.listener.hand_over()).collect()
    }

    /// Stops with a grace of one's own, and returns at once. A further call can shorten the grace.
    pub fn stop_within(&self, grace: Duration) {
        self.engine.upgrade().iter().for_each(|engine| engine.stop(grace));
    }
}

/// Tells what a server does, from anywhere. It may be cloned and kept as long as one likes.
///
/// ```
/// use doorway::Server;
///
/// # fn main() -> std::io::Result<()> {
/// let server = Server::bind("127.0.0.1:0")?;
/// let observer = server.observer();
/// assert!(observer.stats().is_none());
/// let handle = server.spawn(doorway::app::demo)?;
/// assert_eq!(observer.stats().map(|stats| stats.stopping), Some(false));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Observer {
    /// A server that has ended is not kept by it.
    engine: Arc<OnceLock<Weak<Engine>>>,
}

impl Observer {
    /// What the server does at the moment and has done so far; `None` before it serves, and when it has ended.
    pub fn stats(&self) -> Option<Stats> {
        let engine = self.engine.get()?.upgrade()?;
        engine.shared.monitor.notice();
        Some(engine.stats())
    }
}

/// Serves one connection over anything that reads and writes: a TLS stream, a serial line, memory in a test.
///
/// It returns when the connection has ended. This is [`Server::serve_connection`] with the default settings.
///
/// ```
/// use std::io::{self, Cursor, Read, Write};
/// use std::sync::{Arc, Mutex};
///
/// /// A client that has said everything it will say.
/// struct Client(Cursor<&'static [u8]>, Arc<Mutex<Vec<u8>>>);
///
/// impl Read for Client {
///     fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> { self.0.read(buffer) }
/// }
/// impl Write for Client {
///     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> { self.1.lock().unwrap().write(bytes) }
///     fn flush(&mut self) -> io::Result<()> { Ok(()) }
/// }
///
/// let answer = Arc::new(Mutex::new(Vec::new()));
/// let client = Client(Cursor::new(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Arc::clone(&answer));
/// doorway::serve_connection(client, doorway::app::demo);
/// assert!(answer.lock().unwrap().starts_with(b"HTTP/1.1 200 OK\r\n"));
/// ```
pub fn serve_connection(stream: impl Read + Write + Send + 'static, application: impl Application) {
    Server::unbound().serve_connection(stream, application);
}
