//! The doors of front servers at the command: `--uwsgi`, `--scgi`, `--fastcgi`, and CGI.
//!
//! An address is `host:port` or `unix:PATH`. With `GATEWAY_INTERFACE` in its environment the command is a CGI program: then its arguments
//! are a part of the query (RFC 3875 section 4.4) and must not be read as flags.

use std::io;

use doorway::{Door, Server};

use crate::options::Options;
use crate::site;

/// What is listened at, each with what is spoken there.
pub type Servers = Vec<(Door, Server)>;

/// Answers the one request of a CGI program with what the command serves without flags, if this process was started as one. Tells whether
/// it was.
pub fn serve_as_cgi() -> io::Result<bool> {
    let is_cgi = std::env::var_os("GATEWAY_INTERFACE").is_some();
    if is_cgi {
        let (site, _) = site::build(&Options::default(), &mut Vec::new())?;
        Server::unbound().serve_cgi(site);
    }
    Ok(is_cgi)
}

/// Reads the address of a door.
pub fn read(door: Door, address: &str) -> Result<(Door, String), String> {
    let is_path = address.strip_prefix("unix:").is_some_and(|path| !path.is_empty());
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    if is_path || port.is_some_and(|port| port.parse::<u16>().is_ok()) {
        Ok((door, address.to_owned()))
    } else {
        Err("an address is HOST:PORT or unix:PATH".into())
    }
}

/// Opens the doors.
pub fn open(doors: &[(Door, String)]) -> io::Result<Servers> {
    let mut servers = Servers::new();
    for (door, address) in doors {
        servers.push((*door, bind(address)?.door(*door)));
    }
    Ok(servers)
}

/// A line for each address of a door: `uwsgi 127.0.0.1:3031`.
pub fn lines(servers: &[(Door, Server)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (door, server) in servers.iter().filter(|(door, _)| *door != Door::Http) {
        lines.extend(server.addrs().map(|address| format!("{} {address}", door.name())));
    }
    lines
}

fn bind(address: &str) -> io::Result<Server> {
    match address.strip_prefix("unix:") {
        #[cfg(unix)]
        Some(path) => Server::bind_unix(path),
        #[cfg(not(unix))]
        Some(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "Unix sockets need a Unix system")),
        None => Server::bind(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port_or_a_path() {
        for address in ["127.0.0.1:3031", "[::1]:0", "localhost:65535", "unix:/run/app.sock", "unix:app"] {
            assert_eq!(read(Door::Uwsgi, address), Ok((Door::Uwsgi, address.to_owned())));
        }
        for address in ["", ":3031", "3031", "127.0.0.1", "127.0.0.1:65536", "unix:", "127.0.0.1:http"] {
            assert!(read(Door::Scgi, address).is_err(), "{address}");
        }
    }
}
