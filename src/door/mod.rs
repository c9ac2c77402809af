//! How a request becomes an environ and a response goes back: one file for each protocol.
//!
//! A door knows the syntax of its protocol and the gateway, and nothing of sockets and threads. [`Protocol`] is what a door must be
//! able to do, and a [`Door`] names one. A call (environ, application, clean-up, logging) exists once, in the server, and asks the door only
//! where protocols differ: where a head ends, what it says ([`Facts`], and the variables), how the head of a response is written; and where a
//! protocol has frames of its own, how content is read out of them ([`ContentReader`]) and a response put into them ([`Framer`]).
//!
//! HTTP is part of the core; every other protocol is a file or folder that can be taken out with its `mod` line.

pub(crate) mod cgi;
pub(crate) mod fastcgi;
pub(crate) mod http;
pub(crate) mod mistaken;
mod scgi;
mod uwsgi;
mod variables;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::cause::Cause;
use crate::gateway::{self, Environ, Gateway, Headers};
use crate::http::chunked::Step;
use crate::http::framing::{Content, Framing, push_decimal};
use crate::http::head::{self, Spans, Version};

/// The protocol that is spoken at an address. Each stands in the file of its protocol: [`Door::Http`], [`Door::Uwsgi`], [`Door::Scgi`],
/// [`Door::FastCgi`], and [`Door::Cgi`], which is not spoken at addresses.
///
/// ```
/// use doorway::Door;
///
/// assert_eq!((Door::Http.name(), Door::default()), ("http", Door::Http));
/// ```
#[derive(Clone, Copy)]
pub struct Door {
    name: &'static str,
    protocol: &'static dyn Protocol,
}

/// What a protocol must be able to do. Its bytes come from a client: nothing here panics on them or stores more than the policy says.
pub(crate) trait Protocol: Sync {
    /// How many bytes a head may have.
    fn longest_head(&self, policy: &Policy) -> usize;

    /// Whether anything of a request has arrived.
    fn has_begun(&self, bytes: &[u8]) -> bool {
        !bytes.is_empty()
    }

    /// Whether [`examine`](Protocol::examine) may know more than when this was last asked: a cheap gate, so that a client which sends
    /// byte by byte does not have its head read at each.
    fn may_be_decided(&self, bytes: &[u8], progress: &mut Progress, policy: &Policy) -> bool;

    /// Reads what has arrived as a request, and fills an environ with it.
    fn examine(&self, bytes: &[u8], policy: &Policy, room: &mut Room, filling: Option<Filling<'_>>) -> Examined;

    /// Whom a refusal of these bytes answers, or nothing where no answer would be understood. Whether they are the first of their connection
    /// matters where it stays.
    fn addressee(&self, bytes: &[u8], is_first: bool) -> Option<Facts>;

    /// What was asked for, on one line for a log, as far as it has arrived; at most 200 bytes, escaped when shown.
    fn request_line(&self, bytes: &[u8]) -> Vec<u8>;

    /// Writes the head of a response.
    fn write_head(&self, out: &mut Vec<u8>, reply: &Reply<'_>);

    /// Whether content of unknown length ends visibly.
    fn shows_end_of_content(&self) -> bool {
        false
    }

    /// Whether it is spoken at addresses.
    fn has_addresses(&self) -> bool {
        true
    }
}

impl Door {
    /// The name, as in `doorway.door`.
    ///
    /// ```
    /// assert_eq!(doorway::Door::Http.name(), "http");
    /// ```
    pub const fn name(self) -> &'static str {
        self.name
    }

    pub(crate) fn protocol(self) -> &'static dyn Protocol {
        self.protocol
    }

    /// Whether whoever reaches the address is believed what it says about clients (G-01): that is for front servers.
    pub(crate) fn trusts_its_peer(self) -> bool {
        self != Door::Http
    }
}

impl Default for Door {
    fn default() -> Door {
        Door::Http
    }
}

impl PartialEq for Door {
    fn eq(&self, other: &Door) -> bool {
        self.name == other.name
    }
}

impl Eq for Door {}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Door").field(&self.name).finish()
    }
}

/// What the settings say about requests: which lengths, names and schemes are served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) head: head::Limits,
    /// Bytes of content; `None` for no limit.
    pub(crate) max_content: Option<u64>,
    /// Content up to this many bytes is gathered before the call.
    pub(crate) gathered_content: usize,
    pub(crate) refuse_underscores: bool,
    pub(crate) https: bool,
    /// Calls of the application at the same time.
    pub(crate) threads: usize,
}

impl Policy {
    /// Refuses content of too great a length.
    pub(crate) fn admit(&self, length: u64) -> Result<(), Cause> {
        if self.max_content.is_some_and(|most| length > most) { Err(Cause::ContentLong) } else { Ok(()) }
    }

    /// Whether all of a request has been received. Content must be there before the call if it is short (G-07).
    pub(crate) fn gather(&self, head_len: usize, length: u64, received: usize) -> Result<bool, NotReady> {
        let whole = head_len.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let (is_here, is_short) = (received >= whole, length <= self.gathered_content as u64);
        if is_short && !is_here { Err(NotReady::Gather(whole)) } else { Ok(is_here) }
    }
}

/// How far a head that is still arriving has been looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) head: head::Progress,
    /// Bytes that were there when it was last asked what they are.
    pub(crate) seen: usize,
    /// Bytes of whole records, and the request that has begun in them.
    pub(crate) searched: usize,
    pub(crate) id: u16,
}

/// Room for what is found in a head, used again so that reading one allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Whether the bytes are the first of their connection.
    pub(crate) is_first: bool,
    pub(crate) spans: Spans,
    /// The last Host that was valid.
    pub(crate) host: Vec<u8>,
    /// Variables that came in pieces, put together.
    pub(crate) params: Vec<u8>,
}

/// What the received bytes are: a request to answer, or not yet, or none.
pub(crate) type Examined = Result<Facts, NotReady>;

/// Why received bytes are nothing that an application answers.
pub(crate) enum NotReady {
    /// The head is not whole.
    Incomplete,
    /// The head is whole; so many bytes are needed before the call.
    Gather(usize),
    /// So many bytes are no request: the protocol answers them itself, if at all, and the connection may end with that.
    Answered { consumed: usize, reply: Vec<u8>, ends: bool },
    /// It is refused.
    Refused(Cause),
}

impl From<Cause> for NotReady {
    fn from(cause: Cause) -> NotReady {
        NotReady::Refused(cause)
    }
}

/// Where the variables of a request go, and what they say besides it (P-ENV-02 to P-ENV-17).
pub(crate) struct Filling<'a> {
    pub(crate) environ: &'a mut Environ,
    pub(crate) origin: &'a Origin,
    pub(crate) peer: &'a Peer,
}

/// Reads content off the bytes in which a protocol encloses it, as the decoder of chunks does.
pub(crate) trait ContentReader: Send {
    /// Consumes everything up to the next data byte, the end or a fault; gives how many bytes that were.
    fn step(&mut self, bytes: &[u8]) -> (usize, Step);

    /// Notes that data was taken.
    fn advance(&mut self, taken: u64);

    /// How many bytes of data are certain to stand next to one another.
    fn remaining(&self) -> u64;

    /// Whether its end has been seen and nothing of it will follow.
    fn is_end(&self) -> bool;

    /// The request is answered: what of the content must still be passed over is all that is left.
    fn finish(&mut self);

    /// What is to be said behind the response to what came in between.
    fn replies(&self) -> Vec<u8>;
}

/// Puts a response into the frames of a protocol that has its own.
pub(crate) trait Framer: Send {
    /// The most content that one frame can have.
    fn most(&self) -> usize;

    /// Encloses what stands in `out` from `start` on, behind what is to be said before the response.
    fn enclose(&mut self, out: &mut Vec<u8>, start: usize);

    /// What stands before so many bytes of content.
    fn header(&self, length: usize) -> Vec<u8>;

    /// What stands behind a response that is whole.
    fn end(&self, is_overloaded: bool) -> Vec<u8>;
}

/// What of a request outlives its head: the bytes go to the environ, these few facts to the call. By default somebody who is answered
/// without having been understood.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) door: Door,
    pub(crate) head_len: usize,
    /// How the response may be framed.
    pub(crate) version: Version,
    pub(crate) is_head: bool,
    pub(crate) content: Content,
    /// Whether all of the content has arrived. Of chunked content that is not known in advance.
    pub(crate) is_here: bool,
    pub(crate) expects_continue: bool,
    pub(crate) keep_alive: bool,
    /// `OPTIONS *`, which the server answers by itself.
    pub(crate) is_options_asterisk: bool,
    /// The client offers to go on in another protocol.
    pub(crate) offers_upgrade: bool,
    /// How many fields were dropped for their names.
    pub(crate) dropped: u64,
    /// Where the protocol has frames of its own for content, which is then chunked as far as anybody else knows.
    pub(crate) reader: Option<Box<dyn ContentReader>>,
    /// Where it has them for responses.
    pub(crate) framer: Option<Box<dyn Framer>>,
}

/// The head of a response, to be written as the protocol has it.
pub(crate) struct Reply<'a> {
    /// The status, such as `200 OK`.
    pub(crate) status: &'a str,
    pub(crate) headers: &'a Headers,
    pub(crate) framing: Framing,
    /// The protocol in which the connection goes on.
    pub(crate) upgrade: Option<&'a str>,
    /// Whether the connection stays, and the version that the client speaks.
    pub(crate) keep_alive: bool,
    pub(crate) version: Version,
    /// What stands at the end of a head of HTTP: Server and Date, where they are sent, and the empty line.
    pub(crate) end: &'a [u8],
}

/// What is the same for every request that comes through one listener.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) door: Door,
    pub(crate) gateway: Gateway,
    /// The server's own variables with fixed values, among them HTTPS, and SERVER_PORT where no front server says it.
    pub(crate) variables: Arc<gateway::Variables>,
    /// Those of the deployer, which win over everything a client sends.
    pub(crate) deployed: gateway::Variables,
    /// SERVER_NAME where the request does not say it.
    pub(crate) server_name: String,
}

impl Origin {
    pub(crate) fn new(
        door: Door,
        gateway: Gateway,
        server_name: String,
        server_port: Option<u16>,
        deployed: gateway::Variables,
    ) -> Origin {
        let gateway = Gateway { door: door.name(), ..gateway };
        let mut variables = gateway::Variables::default();
        variables.set(b"GATEWAY_INTERFACE", b"CGI/1.1");
        variables.set(b"SERVER_SOFTWARE", format!("doorway/{}", crate::VERSION).as_bytes());
        variables.set(b"SCRIPT_NAME", b"");
        // The local port, or that of the scheme on a Unix socket.
        let server_port = server_port.unwrap_or(if gateway.https { 443 } else { 80 });
        variables.set(b"SERVER_PORT", server_port.to_string().as_bytes());
        if gateway.https && door == Door::Http {
            variables.set(b"HTTPS", b"on");
        }
        Origin { door, gateway, variables: Arc::new(variables), deployed, server_name }
    }
}

/// Who is at the other end of a connection; empty on a Unix socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) address: Option<(IpAddr, u16)>,
    /// REMOTE_ADDR and, from `port` on, REMOTE_PORT, made once for all requests of the connection.
    pub(crate) text: Vec<u8>,
    pub(crate) port: usize,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Peer {
        // An IPv4 client of an IPv6 listener is the same client as before.
        let ip = address.ip().to_canonical();
        let mut text = Vec::with_capacity("255.255.255.255".len() + "65535".len());
        if let IpAddr::V4(ip) = ip {
            // Every connection has one made: the formatter would take ten times as long.
            for (octet, point) in ip.octets().into_iter().zip(["", ".", ".", "."]) {
                text.extend_from_slice(point.as_bytes());
                push_decimal(&mut text, octet.into());
            }
        } else {
            text.extend_from_slice(ip.to_string().as_bytes());
        }
        let port = text.len();
        push_decimal(&mut text, address.port().into());
        Peer { address: Some((ip, address.port())), text, port }
    }
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[test]
    fn p_env_17_a_client_is_its_address_and_its_port_as_text() {
        for (address, shown) in [
            ("127.0.0.1:80", ("127.0.0.1", "80")),
            ("[::ffff:10.0.100.255]:65535", ("10.0.100.255", "65535")),
            ("[2001:db8::1]:0", ("2001:db8::1", "0")),
        ] {
            let peer = Peer::new(address.parse().unwrap());
            assert_eq!(peer.text.split_at(peer.port), (shown.0.as_bytes(), shown.1.as_bytes()), "{address}");
        }
    }
}
