//! A connection to another server: over TCP, or over a Unix socket.
//!
//! std looks names up without a deadline, so a lookup is the system's affair; connecting has one, shared by all addresses of a name. connect(2) to
//! a Unix socket has none: it waits while the queue of whoever listens is full, for ever if that hangs. So one thread at a time connects there, and
//! no second one is lost to it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Fault;
use crate::cause::Cause;
use crate::gateway::{Upgraded, is_not_yet};

/// Where a server listens. `Display` is as it is written: `127.0.0.1:9000` or `unix:/run/php.sock`.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf, Arc<Turn>),
}

/// Since when somebody connects to a Unix socket, if anybody does.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    taken: Mutex<Option<Instant>>,
    given_back: Condvar,
}

impl Turn {
    /// Runs what may last when it is nobody else's turn. Where somebody's has lasted for the limit, whoever comes does not even wait.
    fn take<T>(&self, limit: Duration, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let begin = Instant::now();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(since) = *taken {
            let left = limit.saturating_sub(since.min(begin).elapsed());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "whoever listens there accepts nobody"));
            }
            taken = self.given_back.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = Some(Instant::now());
        drop(taken);
        let result = run();
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.given_back.notify_one();
        result
    }
}

impl Place {
    /// Reads `host:port` or `unix:PATH`; `None` for anything else.
    pub(crate) fn parse(address: &str) -> Option<Place> {
        if let Some(path) = address.strip_prefix("unix:") {
            return (!path.is_empty()).then(|| Place::Unix(path.into(), Arc::default()));
        }
        let (host, port) = address.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // The colons of an IPv6 address stand in brackets, so that the last one is that of the port.
        if host.is_empty() || bare.is_none() && host.contains(':') {
            return None;
        }
        Some(Place::Tcp { host: bare.unwrap_or(host).to_owned(), port: port.parse().ok()? })
    }

    /// Connects to the first address that accepts.
    pub(crate) fn connect(&self, limit: Duration) -> Result<Stream, Fault> {
        match self {
            Place::Tcp { host, port } => connect_tcp(host, *port, limit),
            Place::Unix(path, turn) => turn.take(limit, || connect_unix(path)).map_err(fault_of),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port } => write!(f, "{host}:{port}"),
            Place::Unix(path, _) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn connect_tcp(host: &str, port: u16, limit: Duration) -> Result<Stream, Fault> {
    let unreachable = |error: io::Error| Fault::new(Cause::UpstreamUnreachable, error);
    // `localhost` is ::1 or 127.0.0.1, and a program often listens at one of them only.
    let addresses = (host, port).to_socket_addrs().map_err(unreachable)?.collect::<Vec<_>>();
    let stream = first_that_accepts(&addresses, limit, TcpStream::connect_timeout).map_err(fault_of)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(Stream::Tcp(stream))
}

#[cfg(unix)]
fn connect_unix(path: &Path) -> io::Result<Stream> {
    UnixStream::connect(path).map(Stream::Unix)
}

#[cfg(not(unix))]
fn connect_unix(_path: &Path) -> io::Result<Stream> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "Unix sockets need a Unix system"))
}

fn fault_of(error: io::Error) -> Fault {
    match error.kind() {
        _ if is_not_yet(&error) => Fault::new(Cause::UpstreamDeadline, error),
        io::ErrorKind::ConnectionRefused => {
            let advice = "nobody listens there: start it, or correct the address";
            Fault::of(Cause::UpstreamUnreachable, &error, advice)
        }
        _ => Fault::of(Cause::UpstreamUnreachable, &error, &error),
    }
}

/// Tries each address, within the time for all of them. Each has an equal part of what is left, so that one where nothing answers does not
/// use up the time of those behind it.
fn first_that_accepts<T>(
    addresses: &[SocketAddr],
    limit: Duration,
    mut connect: impl FnMut(&SocketAddr, Duration) -> io::Result<T>,
) -> io::Result<T> {
    let begin = Instant::now();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (address, still) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let left = limit.saturating_sub(begin.elapsed());
        let part = u32::try_from(still).ok().and_then(|still| left.checked_div(still)).unwrap_or(left);
        if part.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match connect(address, part) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// One connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    pub(crate) fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(limit),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.set_read_timeout(limit),
        }
    }

    pub(crate) fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_write_timeout(limit),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.set_write_timeout(limit),
        }
    }

    pub(crate) fn try_clone(&self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            #[cfg(unix)]
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
        })
    }

    /// Whether nothing has come and nothing has ended: what an idle connection should be.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let set = |stream: &Stream, non_blocking| match stream {
            Stream::Tcp(stream) => stream.set_nonblocking(non_blocking),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.set_nonblocking(non_blocking),
        };
        if set(self, true).is_err() {
            return false;
        }
        let is_quiet = matches!(self.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        is_quiet && set(self, false).is_ok()
    }
}

/// Behind an upgrade, this side is as good as the client's.
impl Upgraded for Stream {
    fn try_clone(&self) -> io::Result<Box<dyn Upgraded>> {
        Ok(Box::new(Stream::try_clone(self)?))
    }

    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        Stream::set_read_timeout(self, time)
    }

    fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        Stream::set_write_timeout(self, time)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(room),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.read(room),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_host_and_port_or_a_path_and_is_shown_as_it_was_written() {
        for address in ["127.0.0.1:9000", "[::1]:9000", "localhost:1", "unix:/run/php.sock", "unix:app"] {
            assert_eq!(Place::parse(address).map(|place| place.to_string()).as_deref(), Some(address));
        }
        for address in ["", ":9000", "9000", "localhost", "localhost:65536", "unix:", "::1:9000", "http://a:1"] {
            assert!(Place::parse(address).is_none(), "{address}");
        }
    }

    #[test]
    fn an_address_that_nobody_answers_at_leaves_time_for_the_next_ones() {
        let addresses = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"].map(|text| text.parse().unwrap());
        let mut given = Vec::new();
        let found = first_that_accepts(&addresses, Duration::from_millis(300), |address, limit| {
            given.push(limit);
            if given.len() < 3 {
                // As long as an address that drops everything would keep it.
                std::thread::sleep(limit);
                return Err(io::ErrorKind::TimedOut.into());
            }
            Ok(address.port())
        });
        assert_eq!(found.unwrap(), 80);
        assert!(given[0] <= Duration::from_millis(100) && given[1] <= Duration::from_millis(101), "{given:?}");
        // What an address does not use is for the others.
        let mut given = Vec::new();
        let refused: io::Result<()> = first_that_accepts(&addresses, Duration::from_secs(3), |_, limit| {
            given.push(limit);
            Err(io::ErrorKind::ConnectionRefused.into())
        });
        assert_eq!(refused.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionRefused));
        assert!(given[0] <= Duration::from_secs(1) && given[2] > Duration::from_secs(2), "{given:?}");
    }

    #[test]
    #[cfg(unix)]
    fn a_unix_socket_whose_owner_accepts_nobody_keeps_one_thread_and_no_other() {
        let path = std::env::temp_dir().join(format!("doorway-full-{}", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let place = Place::parse(&format!("unix:{}", path.display())).unwrap();
        let (sender, ends) = std::sync::mpsc::channel();
        // Until the queue is full: connect(2) keeps the first of them then.
        let threads = [0; 4].map(|_| {
            let (place, sender) = (place.clone(), sender.clone());
            std::thread::spawn(move || {
                let mut open = Vec::new();
                let fault = loop {
                    match place.connect(Duration::from_millis(50)) {
                        Ok(stream) => open.push(stream),
                        Err(fault) => break fault,
                    }
                };
                sender.send(fault.cause).unwrap();
            })
        });
        for _ in 1..threads.len() {
            assert_eq!(ends.recv_timeout(Duration::from_secs(30)), Ok(Cause::UpstreamDeadline));
        }
        drop(listener);
        assert_eq!(ends.recv_timeout(Duration::from_secs(30)), Ok(Cause::UpstreamUnreachable));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        std::fs::remove_file(path).unwrap();
    }
}
