//! How a request becomes an environ and a response goes back: one file for each protocol.
//!
//! A door knows the syntax of its protocol and the gateway, and nothing of sockets and threads. HTTP/1.1 is the first; what the
//! doors share is here: what is known before a request arrives.

pub(crate) mod http;

use crate::gateway::{Gateway, Pairs};

/// What is the same for every request that comes through one listener.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) gateway: Gateway,
    /// The server's own variables with fixed values.
    pub(crate) variables: Pairs,
    /// Those of the deployer, which win over everything a client sends.
    pub(crate) deployed: Pairs,
    /// SERVER_NAME where the request does not say one.
    pub(crate) server_name: String,
    /// SERVER_PORT: the local port, or that of the scheme on a Unix socket.
    pub(crate) server_port: String,
}

impl Origin {
    pub(crate) fn new(gateway: Gateway, server_name: String, server_port: Option<u16>, deployed: Pairs) -> Origin {
        let mut variables = Pairs::default();
        variables.push(b"GATEWAY_INTERFACE", b"CGI/1.1");
        variables.push(b"SERVER_SOFTWARE", format!("doorway/{}", crate::VERSION).as_bytes());
        variables.push(b"SCRIPT_NAME", b"");
        let port = server_port.unwrap_or(if gateway.https { 443 } else { 80 });
        Origin { gateway, variables, deployed, server_name, server_port: port.to_string() }
    }
}

/// Who is at the other end of a connection; empty on a Unix socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// REMOTE_ADDR and REMOTE_PORT.
    pub(crate) address: Option<(std::net::IpAddr, u16)>,
    /// The address as text, made once for all requests of the connection.
    pub(crate) text: String,
}

impl Peer {
    pub(crate) fn new(address: std::net::SocketAddr) -> Peer {
        // An IPv4 client of an IPv6 listener is the same client as before.
        let ip = address.ip().to_canonical();
        Peer { address: Some((ip, address.port())), text: ip.to_string() }
    }
}

/// Appends a number in decimal digits without going through the formatter.
pub(crate) fn push_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::push_decimal;

    #[test]
    fn numbers_are_written_as_decimal_digits() {
        for number in [0, 7, 10, 99, 100, 65_535, u64::MAX] {
            let mut out = b"x".to_vec();
            push_decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{number}"));
        }
    }
}
