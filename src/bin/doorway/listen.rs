//! Where the command listens: which addresses and ports are tried, and which URLs lead there.
//!
//! Both loopback addresses by default, because `localhost` is one or the other, depending on the client. A port that was asked for is that
//! port or an error; one that was not may move by up to a hundred, and says so.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use doorway::{Address, Door, Server};

use crate::doors::{self, Servers};
use crate::options::Options;
use crate::sockets::Inherited;

/// The port where none is asked for, and how many behind it are tried.
const PORT: u16 = 8000;
const FURTHER: u16 = 100;

/// Opens all that is asked for, or takes what was inherited. The second value is the port that was taken, where another had to be found.
pub fn servers(options: &Options, inherited: &mut Inherited) -> io::Result<(Servers, Option<u16>)> {
    let asks = options.port.is_some() || !options.hosts.is_empty() || !options.doors.is_empty();
    if inherited.is_managed && asks {
        let advice = "the sockets come from the service manager (LISTEN_FDS): leave out --port, --host, --uwsgi, --scgi and --fastcgi";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, advice));
    }
    if !inherited.servers.is_empty() {
        return Ok((std::mem::take(&mut inherited.servers), None));
    }
    let (mut servers, mut taken) = (Servers::new(), None);
    if options.speaks_http() {
        let server;
        (server, taken) = open(options)?;
        servers.push((Door::Http, server));
    }
    servers.extend(doors::open(&options.doors)?);
    Ok((servers, taken))
}

/// Opens the sockets of HTTP.
fn open(options: &Options) -> io::Result<(Server, Option<u16>)> {
    if options.stdin {
        return Ok((of_stdin()?, None));
    }
    if let Some(port) = options.port {
        return bind(&options.hosts, port).map(|server| (server, None)).map_err(|error| advise(error, port));
    }
    for port in PORT..=PORT + FURTHER {
        match bind(&options.hosts, port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            other => return other.map(|server| (server, (port != PORT).then_some(PORT))),
        }
    }
    let last = PORT + FURTHER;
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("every port from {PORT} to {last} is taken; choose another with --port, or --port 0 for any"),
    ))
}

fn bind(hosts: &[String], port: u16) -> io::Result<Server> {
    if hosts.is_empty() {
        let both = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let mut tried = 0;
        loop {
            // Port 0 takes a free port of the first address, which may be taken at the second: then another.
            tried += 1;
            match Server::bind(&both.map(|ip| SocketAddr::new(ip, port))[..]) {
                Err(error) if port == 0 && tried < 20 && error.kind() == io::ErrorKind::AddrInUse => {}
                other => return other,
            }
        }
    }
    if hosts.iter().any(String::is_empty) {
        let is_alone = hosts.len() == 1;
        return if is_alone { bind_all(port) } else { Err(io::Error::other("--host without an address stands alone")) };
    }
    let mut server: Option<Server> = None;
    for host in hosts {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("--host {host}: {error}"));
        // Without its brackets, as a URL has them.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = server.as_ref().and_then(|server| server.addrs().next()?.port()).unwrap_or(port);
        let addresses: Vec<SocketAddr> = (bare, port)
            .to_socket_addrs()
            .map_err(|error| named(io::Error::new(error.kind(), format!("{error}; give an address of this machine"))))?
            .collect();
        let further = Server::bind(&addresses[..]).map_err(named)?;
        server = Some(if let Some(server) = server { server.and(further) } else { further });
    }
    server.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Listens at every address. Where a socket for IPv6 takes IPv4 too, one is all it needs; elsewhere the other one is free.
fn bind_all(port: u16) -> io::Result<Server> {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED));
    let Ok(both) = Server::bind(SocketAddr::new(v6, port)) else { return Server::bind(SocketAddr::new(v4, port)) };
    let port = both.addrs().next().and_then(Address::port).unwrap_or(port);
    match Server::bind(SocketAddr::new(v4, port)) {
        Ok(further) => Ok(both.and(further)),
        Err(_) => Ok(both),
    }
}

fn advise(error: io::Error, port: u16) -> io::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => io::Error::new(
            error.kind(),
            format!("{error} (--port 0 takes a free one; without --port the next free one behind {PORT} is taken)"),
        ),
        io::ErrorKind::PermissionDenied if port < 1024 => {
            io::Error::new(error.kind(), format!("{error} (a port from 1024 on needs none)"))
        }
        _ => error,
    }
}

/// Adopts the listening socket that an inetd or systemd has put at standard input.
#[cfg(unix)]
fn of_stdin() -> io::Result<Server> {
    Server::inherited().map_err(|error| {
        let advice = "standard input is no listening socket; --stdin is for a service manager that hands one over";
        io::Error::new(error.kind(), format!("{advice} (StandardInput=socket)"))
    })
}

#[cfg(not(unix))]
fn of_stdin() -> io::Result<Server> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "--stdin needs a Unix system; choose an address with --host and --port",
    ))
}

/// What a browser can be given, the best first. An address that stands for all of this machine's is replaced by them.
pub fn urls<'a>(addresses: impl Iterator<Item = &'a Address>) -> Vec<String> {
    let mut urls = Vec::new();
    for address in addresses {
        match address {
            Address::Tcp(address) if address.ip().is_unspecified() => {
                for ip in own_addresses(address.is_ipv6()) {
                    urls.push(format!("http://{}/", SocketAddr::new(ip, address.port())));
                }
            }
            other => urls.push(other.url()),
        }
    }
    urls.dedup();
    urls
}

/// Whether a URL of [`urls`] is one that only this machine can use.
pub fn leads_to_loopback(url: &str) -> bool {
    let authority = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).unwrap_or(url);
    authority.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

/// Whether others than this machine can connect.
pub fn is_public<'a>(mut addresses: impl Iterator<Item = &'a Address>) -> bool {
    addresses.any(|address| matches!(address, Address::Tcp(address) if !address.ip().is_loopback()))
}

/// Whether browsers of this machine can connect, and nobody else can.
pub fn is_loopback_only(addresses: &[Address]) -> bool {
    addresses.iter().all(|address| matches!(address, Address::Tcp(address) if address.ip().is_loopback()))
}

/// The loopback address and the one this machine would use to reach others. std cannot list interfaces; connecting a UDP socket
/// chooses a route, and sends nothing.
fn own_addresses(with_ipv6: bool) -> Vec<IpAddr> {
    let mut own = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    let mut add = |from: SocketAddr, to: SocketAddr| {
        let route = UdpSocket::bind(from).and_then(|socket| socket.connect(to).and_then(|()| socket.local_addr()));
        own.extend(route.ok().map(|route| route.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified()));
    };
    // TEST-NET-1 and the prefix for documentation (RFC 5737, RFC 3849): behind the default route, whatever that is.
    add((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into());
    if with_ipv6 {
        add((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into());
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_shown_as_addresses_one_can_connect_to() {
        let all = Address::Tcp((Ipv4Addr::UNSPECIFIED, 8000).into());
        let urls = urls([&all].into_iter());
        assert_eq!(urls[0], "http://127.0.0.1:8000/");
        assert!(urls.iter().all(|url| !url.contains("//0.0.0.0")), "{urls:?}");
        assert!(is_public([&all].into_iter()));
        assert!(!is_public([&Address::Tcp((Ipv6Addr::LOCALHOST, 8000).into())].into_iter()));
    }
}
