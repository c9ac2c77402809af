//! Where connections come from: TCP and Unix sockets that the server opened, or that somebody else opened for it.
//!
//! A listening socket of the server's own is closed, and its Unix path removed, when the server ends; one that was handed over
//! is only let go, since another process may use it too. std's listen queue holds 128 connections.
//!
//! At a gateway door whoever connects is believed who its client is (docs/rules.md G-01), so such a door is opened to the machine itself, or to
//! addresses that the deployer names.

use std::fmt;
use std::io;
#[cfg(unix)]
use std::net::Shutdown;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::fd::{AsFd, OwnedFd};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::door::{Door, Peer};

/// A listening socket.
pub struct Listener {
    socket: Kind,
    pub(super) address: Address,
    /// What is spoken here.
    pub(super) door: Door,
    /// Who may connect; nobody named is everybody.
    pub(super) allowed: Vec<IpAddr>,
    /// Opened by the server itself and not handed over: what is changed about the socket concerns nobody else.
    is_own: AtomicBool,
    /// What the server made at its path: device and number of the file.
    #[cfg(unix)]
    made: Option<(u64, u64)>,
}

/// What stands for the address of a connection over a Unix socket whose client has left.
pub(super) const LEFT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// Where a server listens. `Display` is `127.0.0.1:8000` or `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket; `None` for one without a name.
    #[cfg(unix)]
    Unix(Option<PathBuf>),
}

impl Address {
    /// What a browser is given: `http://127.0.0.1:8000/`.
    pub fn url(&self) -> String {
        format!("http://{self}/")
    }

    /// The port; `None` for a Unix socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Tcp(address) => Some(address.port()),
            #[cfg(unix)]
            Address::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            #[cfg(unix)]
            Address::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            #[cfg(unix)]
            Address::Unix(None) => f.write_str("unix:"),
        }
    }
}

/// So that `TcpStream::connect(handle.addr())` works; a Unix socket gives an error.
impl ToSocketAddrs for Address {
    type Iter = std::option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self {
            Address::Tcp(address) => address.to_socket_addrs(),
            #[cfg(unix)]
            Address::Unix(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "a Unix socket has no IP address")),
        }
    }
}

impl Listener {
    /// Opens every address that a name stands for. Addresses that this machine does not have are passed over as long as one is
    /// left; with port 0 the port of the first is used for all.
    pub(super) fn open_tcp(addresses: impl ToSocketAddrs) -> io::Result<Vec<Listener>> {
        let mut listeners: Vec<Listener> = Vec::new();
        let mut missing = None;
        for mut address in addresses.to_socket_addrs()? {
            if let (0, Some(port)) = (address.port(), listeners.first().and_then(|first| first.address.port())) {
                address.set_port(port);
            }
            match TcpListener::bind(address).map_err(|error| explain(&error, &address)) {
                Ok(socket) => {
                    let address = Address::Tcp(socket.local_addr()?);
                    listeners.push(Listener::over(Kind::Tcp(socket), address, true));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        if listeners.is_empty() { Err(missing.unwrap_or_else(no_address)) } else { Ok(listeners) }
    }

    /// Opens a Unix socket that only the same user may connect to (mode 0600). A socket that nobody listens at any more is
    /// replaced; anything else at the path is an error.
    #[cfg(unix)]
    pub(super) fn open_unix(path: &Path) -> io::Result<Listener> {
        use std::io::{Read, Write};
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};

        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
        // In a thread of its own, which says a byte where nobody is there: connect(2) waits for whoever has a full queue.
        let is_left_over = || {
            let ((mut told, mut tell), place) = (UnixStream::pair()?, path.to_owned());
            let connect: Box<dyn FnOnce() + Send> = Box::new(move || match UnixStream::connect(place) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => drop(tell.write(&[0])),
                _ => {}
            });
            told.set_read_timeout(Some(Duration::from_secs(1)))?;
            std::thread::Builder::new().spawn(connect)?;
            told.read(&mut [0])
        };
        if is_socket && is_left_over().is_ok_and(|length| length > 0) {
            std::fs::remove_file(path)?;
        }
        let socket = UnixListener::bind(path).map_err(|error| explain(&error, &format!("unix:{}", path.display())))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let mut listener = Listener::over(Kind::Unix(socket), Address::Unix(Some(path.to_owned())), true);
        listener.made = identity(path);
        Ok(listener)
    }

    fn over(socket: Kind, address: Address, is_own: bool) -> Listener {
        Listener {
            socket,
            address,
            door: Door::Http,
            allowed: Vec::new(),
            is_own: AtomicBool::new(is_own),
            #[cfg(unix)]
            made: None,
        }
    }

    /// Whether a peer may connect. A Unix socket is guarded by its permissions.
    pub(super) fn allows(&self, peer: &Peer) -> bool {
        self.allowed.is_empty() || peer.address.is_none_or(|(address, _)| self.allowed.contains(&address))
    }

    /// Refuses what would let anybody say who the client is.
    ///
    /// # Errors
    /// The address and the door do not go together.
    pub(super) fn check(&self) -> io::Result<()> {
        let is_open = self.allowed.is_empty()
            && matches!(self.address, Address::Tcp(address) if !address.ip().to_canonical().is_loopback());
        let reason = if !self.door.protocol().has_addresses() {
            "CGI is not spoken at an address: use Server::serve_cgi"
        } else if is_open && self.door.trusts_its_peer() {
            "whoever connects there is believed who its client is: listen at a loopback address or a Unix socket, \
             or name the front servers with Server::allow"
        } else {
            return Ok(());
        };
        let message = format!("{} at {}: {reason}", self.door.name(), self.address);
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    pub(super) fn is_own(&self) -> bool {
        self.is_own.load(Ordering::SeqCst)
    }

    #[cfg(unix)]
    fn descriptor(&self) -> io::Result<OwnedFd> {
        match &self.socket {
            Kind::Tcp(socket) => socket.as_fd().try_clone_to_owned(),
            Kind::Unix(socket) => socket.as_fd().try_clone_to_owned(),
        }
    }

    /// Gives what is spoken and the socket for another process, whose it is as well from now on.
    #[cfg(unix)]
    pub(super) fn hand_over(&self) -> io::Result<(Door, OwnedFd)> {
        self.is_own.store(false, Ordering::SeqCst);
        Ok((self.door, self.descriptor()?))
    }

    /// Whether accept returns at once when nobody is there.
    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match &self.socket {
            Kind::Tcp(socket) => socket.set_nonblocking(nonblocking),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.set_nonblocking(nonblocking),
        }
    }

    pub(super) fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        match &self.socket {
            Kind::Tcp(socket) => socket.accept().map(|(stream, peer)| (stream, Peer::new(peer))),
            #[cfg(unix)]
            Kind::Unix(socket) => socket.accept().map(|(stream, _)| (OwnedFd::from(stream).into(), Peer::default())),
        }
    }

    /// Has an accept return that blocks in another thread, by a connection that is left at once; gives the address of that. A Unix socket of one's
    /// own is closed for that, which leaves what the system has accepted.
    pub(super) fn wake(&self) -> Option<SocketAddr> {
        const TIME: Duration = Duration::from_millis(100);
        match self.address {
            Address::Tcp(mut address) => {
                match address.ip() {
                    ip if !ip.is_unspecified() => {}
                    IpAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                    IpAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                }
                // With the interface, without which a link-local address is none.
                TcpStream::connect_timeout(&address, TIME).ok()?.local_addr().ok()
            }
            #[cfg(unix)]
            Address::Unix(_) => match &self.socket {
                // It may have a name that is no path.
                Kind::Unix(socket) if !self.is_own() => {
                    let address = socket.local_addr().ok()?;
                    UnixStream::connect_addr(&address).ok().map(|_| LEFT)
                }
                _ => {
                    self.close();
                    None
                }
            },
        }
    }

    /// Lets nobody connect any more; what the system of a TCP socket has accepted is thrown away. Nothing of a socket that others have too is
    /// changed.
    pub(super) fn close(&self) {
        #[cfg(unix)]
        if self.is_own() {
            // The call is the same for every kind of socket.
            let _ = self.descriptor().map(|socket| UnixStream::from(socket).shutdown(Shutdown::Both));
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Listener {
        let address = socket.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        Listener::over(Kind::Tcp(socket), Address::Tcp(address), false)
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(socket: UnixListener) -> Listener {
        let path = socket.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        Listener::over(Kind::Unix(socket), Address::Unix(path), false)
    }
}

/// A path that the server made is the server's to remove, unless somebody has put another socket there.
#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        if let (Some(made), Address::Unix(Some(path))) = (self.made, &self.address) {
            if self.is_own() && identity(path) == Some(made) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no address to listen at")
}

/// Says which address could not be opened, and what to do about it.
fn explain(error: &io::Error, address: &impl fmt::Display) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there: stop it or choose another port",
        io::ErrorKind::PermissionDenied => {
            "not permitted: ports below 1024 and foreign folders need rights; choose another"
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        _ => return io::Error::new(error.kind(), format!("cannot listen at {address}: {error}")),
    };
    io::Error::new(error.kind(), format!("cannot listen at {address}: {advice}"))
}
