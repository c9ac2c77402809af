//! A server in a process that somebody else starts for it: as a CGI program, or with a listening socket on file descriptor 0.
//!
//! RFC 3875; FastCGI Specification 1.0 sections 2.2 and 3.2. spawn-fcgi, inetd in wait mode and systemd (`StandardInput=socket`) hand over a
//! listening socket on descriptor 0, which safe std can take. Other descriptors need the caller: std cannot tell who owns them.

use std::ffi::OsStr;
use std::io::{self, Cursor, Read, Write};
use std::net::IpAddr;
#[cfg(unix)]
use std::os::fd::{AsFd, OwnedFd};

use crate::door::{Door, cgi};
use crate::gateway::Application;
#[cfg(unix)]
use crate::server::Listener;
use crate::server::Server;

/// The process's own streams, without the buffers of std: its output has one that ends at each line.
#[cfg(unix)]
type Stream = std::fs::File;

impl Server {
    /// Answers the one request that is in the environment and on the standard input of this process, on its standard output: a CGI
    /// program is `main` with this call. The server's own sockets are not used, and arguments of the process are not looked at, since a
    /// server may put words of the query there (RFC 3875 section 4.4).
    ///
    /// Standard input is read as far as CONTENT_LENGTH says and no further. Errors go to the log, by default standard error, and to the
    /// client as a status; the process should end with success all the same. Deadlines are those of the server that started it.
    ///
    /// ```no_run
    /// use doorway::Server;
    ///
    /// Server::unbound().serve_cgi(doorway::app::demo);
    /// ```
    pub fn serve_cgi(self, application: impl Application) {
        let environment: Vec<_> = std::env::vars_os().collect();
        let pairs = environment.iter().map(|(name, value)| (name.as_encoded_bytes(), value.as_encoded_bytes()));
        let (head, length) = cgi::enclose(pairs);
        let Ok((input, output)) = streams() else { return };
        let streams = Streams { input: Cursor::new(head).chain(input.take(length)), output };
        self.door(Door::Cgi).serve_connection(streams, application);
    }

    /// Serves in the way this process was started, as the FastCGI specification tells the two apart: as a CGI program where
    /// `GATEWAY_INTERFACE` is set, else FastCGI at the socket that is listening on file descriptor 0, for the addresses in
    /// `FCGI_WEB_SERVER_ADDRS` if that is set.
    ///
    /// # Errors
    /// When it was started in neither way, and as [`serve`](Server::serve).
    pub fn serve_as_started(self, application: impl Application) -> io::Result<()> {
        if std::env::var_os("GATEWAY_INTERFACE").is_some() {
            self.serve_cgi(application);
            return Ok(());
        }
        let addresses = std::env::var_os("FCGI_WEB_SERVER_ADDRS");
        self.and_web_servers(Server::inherited()?, addresses.as_deref())?.serve(application)
    }

    /// FastCGI at an inherited socket, for the addresses that are listed. The list says nothing of the server's other addresses.
    fn and_web_servers(self, inherited: Server, addresses: Option<&OsStr>) -> io::Result<Server> {
        Ok(self.and(inherited.door(Door::FastCgi).allow(read_addresses(addresses.unwrap_or_default())?)))
    }

    /// The socket that is listening on file descriptor 0: from spawn-fcgi, inetd in wait mode, or systemd (`StandardInput=socket`). Several sockets of
    /// systemd are taken as [`Listener`] says.
    ///
    /// # Errors
    /// When file descriptor 0 is something else.
    #[cfg(unix)]
    pub fn inherited() -> io::Result<Server> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        Listener::try_from(socket).map(Server::from_listener).map_err(|_| not_listening())
    }

    #[cfg(windows)]
    fn inherited() -> io::Result<Server> {
        Err(not_listening())
    }
}

/// A socket of any kind that is listening, as a service manager hands it over.
///
/// systemd puts sockets at the descriptors 3, 4, ..., as many as `LISTEN_FDS` says, for the process that `LISTEN_PID` names (sd_listen_fds(3)). Safe std
/// cannot take these, and so this library has no function that does: a number becomes an [`OwnedFd`] by the `unsafe` of `from_raw_fd`
/// alone, whose caller vouches that nothing else in the program owns that number, and a library cannot know. What seems to be a way around is none:
///
/// - [`Server::inherited`] can, because std owns descriptor 0 and lends it. With `StandardInput=socket` systemd puts one socket there, never
///   several, which is enough where one address is: `ListenStream=80` takes IPv4 and IPv6.
/// - Opening `/proc/self/fd/3` fails for a socket (ENXIO), and std on stable Rust receives no descriptors through a Unix socket.
/// - A child gets descriptors 0 to 2 from `Command`, which takes `OwnedFd` and no numbers.
///
/// So the program has these lines, before it opens anything and before it starts a thread. The `doorway` command has the same in its one unsafe file.
///
/// ```
/// use std::io;
/// use std::os::fd::{FromRawFd, OwnedFd};
/// use doorway::{Listener, Server};
///
/// /// A server of all sockets that systemd has opened for this process. To be called once, first of all.
/// fn inherited_all() -> io::Result<Server> {
///     let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u32>().ok());
///     // A child inherits the variables, and not the sockets.
///     let is_ours = number("LISTEN_PID") == Some(std::process::id());
///     let count = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or(0);
///     let mut server = Server::unbound();
///     for descriptor in (3..).take(count as usize) {
///         // SAFETY: systemd has opened it for this process alone, and nothing in here has taken it yet.
///         let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
///         // Its copy is closed in children, unlike what systemd hands over.
///         server = server.and(Server::from_listener(Listener::try_from(socket)?));
///     }
///     Ok(server)
/// }
///
/// let server = inherited_all()?;
/// # assert_eq!(server.addrs().count(), 0);
/// # Ok::<(), io::Error>(())
/// ```
#[cfg(unix)]
impl TryFrom<OwnedFd> for Listener {
    type Error = io::Error;

    /// Asks it in both families what its address is: the wrong one is an error. A socket with a peer is a connection and not a listener
    /// (FastCGI section 2.2).
    fn try_from(socket: OwnedFd) -> io::Result<Listener> {
        use std::net::{TcpListener, TcpStream};
        use std::os::unix::net::{UnixListener, UnixStream};

        let own = || socket.try_clone();
        let is_connected = TcpStream::from(own()?).peer_addr().is_ok() || UnixStream::from(own()?).peer_addr().is_ok();
        let (tcp, unix) = (TcpListener::from(own()?), UnixListener::from(own()?));
        match (is_connected, tcp.local_addr(), unix.local_addr()) {
            (false, Ok(_), _) => Ok(tcp.into()),
            (false, Err(_), Ok(_)) => Ok(unix.into()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a listening socket")),
        }
    }
}

fn not_listening() -> io::Error {
    let message = "file descriptor 0 is not a listening socket, and GATEWAY_INTERFACE is not set: \
                   start this from a web server as CGI, or from spawn-fcgi, inetd (wait) or systemd (StandardInput=socket)";
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// `FCGI_WEB_SERVER_ADDRS`: addresses with commas between them. One that cannot be read must not open the door to everybody.
fn read_addresses(text: &OsStr) -> io::Result<Vec<IpAddr>> {
    let text = text.to_str().ok_or_else(|| invalid_address(&text.to_string_lossy()))?;
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| name.parse().map_err(|_| invalid_address(name))).collect()
}

fn invalid_address(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("FCGI_WEB_SERVER_ADDRS: {name} is no address"))
}

#[cfg(unix)]
fn streams() -> io::Result<(Stream, Stream)> {
    Ok((io::stdin().as_fd().try_clone_to_owned()?.into(), io::stdout().as_fd().try_clone_to_owned()?.into()))
}

#[cfg(windows)]
fn streams() -> io::Result<(io::Stdin, io::Stdout)> {
    Ok((io::stdin(), io::stdout()))
}

/// What is read and what is written as one stream.
struct Streams<R, W> {
    input: R,
    output: W,
}

impl<R: Read, W> Read for Streams<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl<R, W: Write> Write for Streams<R, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.output.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::log::Lines;
    use crate::server::Address;

    #[test]
    fn fastcgi_3_2_the_list_of_addresses_has_commas_and_nothing_unreadable() {
        let read = |text: &str| read_addresses(text.as_ref());
        assert_eq!(read("").unwrap(), Vec::<IpAddr>::new());
        assert_eq!(read("199.170.183.28, 10.0.0.1,").unwrap(), [[199, 170, 183, 28], [10, 0, 0, 1]].map(IpAddr::from));
        assert!(read("10.0.0.1,web.example").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn fastcgi_3_2_a_list_that_is_not_text_opens_the_door_to_nobody() {
        use std::os::unix::ffi::OsStrExt;

        let open = || Server::bind("127.0.0.1:0").unwrap();
        assert!(open().and_web_servers(open(), Some(OsStr::from_bytes(b"10.0.0.1,\xff"))).is_err());
    }

    #[test]
    fn fastcgi_3_2_the_list_of_web_servers_is_for_the_inherited_socket_alone() {
        /// FCGI_GET_VALUES without names, which FastCGI answers in kind and HTTP does not.
        const GET_VALUES: [u8; 8] = [1, 9, 0, 0, 0, 0, 0, 0];
        let open = || Server::bind("127.0.0.1:0").unwrap();
        for (list, second) in [("192.0.2.7", None), ("127.0.0.1", Some(1))] {
            let server = open().and_web_servers(open(), Some(list.as_ref())).unwrap().log(Lines::errors(io::sink()));
            let handle = server.threads(1).spawn(crate::app::demo).unwrap();
            let addresses: Vec<_> = handle.addrs().cloned().collect();
            let first_byte = |address: &Address, bytes: &[u8]| {
                let mut client = TcpStream::connect(address).unwrap();
                // A peer that may not connect is cut off, perhaps before it has said anything.
                let _ = client.write_all(bytes);
                let mut first = [0];
                client.read_exact(&mut first).ok().map(|()| first[0])
            };
            assert_eq!(first_byte(&addresses[0], b"GET / HTTP/1.0\r\n\r\n"), Some(b'H'), "{list}");
            assert_eq!(first_byte(&addresses[1], &GET_VALUES), second, "{list}");
        }
    }
}
