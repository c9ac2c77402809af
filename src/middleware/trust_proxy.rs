//! `TrustProxy`: who the client is, and how and where it has asked, from the mouth of a front server.
//!
//! RFC 7239; docs/rules.md. Anybody can send `X-Forwarded-Proto: https`. So nothing is believed by
//! default: the deployer lists the networks of the proxies, the one family of fields that they write, and of `X-Forwarded-*`
//! each single field (a proxy passes on what it does not know, so the field that it forgets is the client's). Every other field of both
//! families, and all of them from anybody else, is removed, so that no application can be misled by one.
//!
//! | from | becomes |
//! |---|---|
//! | `for`, `X-Forwarded-For` | `REMOTE_ADDR` and `REMOTE_PORT`; absent when the proxy hides them; `REMOTE_HOST` and `REMOTE_IDENT` go |
//! | `proto`, `X-Forwarded-Proto` | `wsgi.url_scheme`, `HTTPS` |
//! | `host`, `X-Forwarded-Host` | `HTTP_HOST`, `SERVER_NAME` |
//! | `X-Forwarded-Port`, or else the port of the host or of the scheme | `SERVER_PORT` |
//!
//! What the proxy does not say stays as the server has it. It never changes `SCRIPT_NAME`: where an application is mounted is said
//! by [`Mount`](super::Mount) and not by a request.

mod forwarded;
mod network;
mod said;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use forwarded::{Element, Node, elements};
pub use network::{Network, NetworkError};
pub use said::XForwarded;
use said::{Reason, Said, is_https, port_of};

use crate::gateway::{Application, Body, Environ, StartResponse};

/// Takes from trusted proxies what they say about the client. Where that contradicts itself or makes no sense, the answer is 400
/// and a line in the log.
///
/// ```
/// use doorway::{Body, Environ, StartResponse, testing::Request};
/// use doorway::middleware::{TrustProxy, XForwarded::{For, Proto}};
///
/// fn who(environ: &Environ, start_response: &mut StartResponse) -> Body {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     Body::from(format!("{:?} by {}", environ.remote_addr(), environ.url_scheme()))
/// }
///
/// # fn main() -> Result<(), doorway::middleware::NetworkError> {
/// let application = TrustProxy::x_forwarded(who, [For, Proto]).network("10.0.0.0/8".parse()?);
/// let ask = |peer| {
///     let request = Request::get("/").variable("REMOTE_ADDR", peer);
///     request.header("X-Forwarded-For", "192.0.2.7").header("X-Forwarded-Proto", "https").call(&application).text()
/// };
/// assert_eq!(ask("10.1.2.3"), "Some(192.0.2.7) by https");
/// assert_eq!(ask("203.0.113.9"), "Some(203.0.113.9) by http");
/// # Ok(())
/// # }
/// ```
pub struct TrustProxy<A> {
    inner: A,
    family: Family,
    networks: Vec<Network>,
    unix_sockets: bool,
    hops: usize,
    has_warned: AtomicBool,
}

enum Family {
    Forwarded,
    XForwarded(Vec<XForwarded>),
}

impl<A: Application> TrustProxy<A> {
    /// Believes `Forwarded` (RFC 7239), from nobody yet.
    pub fn forwarded(inner: A) -> TrustProxy<A> {
        TrustProxy::new(inner, Family::Forwarded)
    }

    /// Believes these `X-Forwarded-*` fields, from nobody yet. Name those that the proxy always writes itself, and no other.
    pub fn x_forwarded(inner: A, fields: impl IntoIterator<Item = XForwarded>) -> TrustProxy<A> {
        TrustProxy::new(inner, Family::XForwarded(fields.into_iter().collect()))
    }

    /// Trusts the proxies of a network.
    pub fn network(mut self, network: Network) -> TrustProxy<A> {
        self.networks.push(network);
        self
    }

    /// Trusts whoever connects by a Unix socket, where there is no address to look at.
    pub fn unix_sockets(mut self) -> TrustProxy<A> {
        self.unix_sockets = true;
        self
    }

    /// The number of proxies that a request passes on its way, 1 if this is not called. The second one and those behind it must be
    /// in a trusted network as well.
    pub fn hops(mut self, hops: usize) -> TrustProxy<A> {
        self.hops = hops.max(1);
        self
    }

    fn new(inner: A, family: Family) -> TrustProxy<A> {
        let has_warned = AtomicBool::new(false);
        TrustProxy { inner, family, networks: Vec::new(), unix_sockets: false, hops: 1, has_warned }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    fn trusts_peer(&self, environ: &Environ) -> bool {
        match environ.bytes("REMOTE_ADDR") {
            Some(_) => environ.remote_addr().is_some_and(|address| self.trusts(address)),
            None => self.unix_sockets,
        }
    }

    /// Whether a variable is a field that is believed.
    fn takes(&self, variable: &str) -> bool {
        match &self.family {
            Family::Forwarded => variable == "HTTP_FORWARDED",
            Family::XForwarded(fields) => fields.iter().any(|field| field.variable() == variable),
        }
    }

    /// Goes from proxy to proxy as far as they are trusted. Gives the number of proxies and whom the last of them names as its client.
    fn walk<'a>(&self, clients: impl Iterator<Item = Option<&'a str>>) -> Result<(usize, Option<Node>), Reason> {
        let (mut passed, mut client) = (0, None::<Node>);
        for named in clients.take(self.hops) {
            if passed > 0 && !client.and_then(|node| node.address).is_some_and(|address| self.trusts(address)) {
                break;
            }
            passed += 1;
            let Some(named) = named else { break };
            client = Some(Node::parse(named).ok_or("the client has no address that can be read")?);
        }
        Ok((passed, client))
    }

    fn said(&self, environ: &Environ) -> Result<Said, Reason> {
        match &self.family {
            Family::Forwarded => self.said_by_forwarded(environ),
            Family::XForwarded(fields) => self.said_by_x_forwarded(environ, fields),
        }
    }

    fn said_by_forwarded(&self, environ: &Environ) -> Result<Said, Reason> {
        let field = text_of(environ, "HTTP_FORWARDED")?.unwrap_or_default();
        let elements = elements(field).ok_or("Forwarded breaks its grammar")?;
        let (passed, client) = self.walk(elements.iter().rev().map(|element| element.client.as_deref()))?;
        // What the outermost proxy says; the elements before it are anybody's.
        let outermost = elements.into_iter().rev().nth(passed.saturating_sub(1));
        let Element { proto, host, .. } = outermost.unwrap_or_default();
        let https = proto.as_deref().map(is_https).transpose()?;
        Ok(Said { client, https, host, port: None })
    }

    fn said_by_x_forwarded(&self, environ: &Environ, fields: &[XForwarded]) -> Result<Said, Reason> {
        let values = |field: XForwarded| -> Result<Vec<&str>, Reason> {
            let text = if fields.contains(&field) { text_of(environ, field.variable())? } else { None };
            let values = text.unwrap_or_default().split(',').map(|value| value.trim_matches([' ', '\t']));
            Ok(values.filter(|value| !value.is_empty()).collect())
        };
        let clients = values(XForwarded::For)?;
        let (mut passed, client) = self.walk(clients.iter().rev().map(|client| Some(*client)))?;
        if passed == 0 {
            passed = self.hops;
        }
        // The outermost proxy's value. A proxy that sets its own leaves one, one that appends leaves one for each.
        let value = |field: XForwarded| -> Result<Option<&str>, Reason> {
            let values = values(field)?;
            if values.len() > self.hops {
                return Err("an X-Forwarded field has more values than there are proxies");
            }
            Ok(values.iter().rev().take(passed).next_back().copied())
        };
        let https = value(XForwarded::Proto)?.map(is_https).transpose()?;
        let port = value(XForwarded::Port)?.map(|port| port_of(port.as_bytes())).transpose()?;
        Ok(Said { client, https, host: value(XForwarded::Host)?.map(str::to_owned), port })
    }
}

impl<A: Application> Application for TrustProxy<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let of_proxies = |name: &&str| *name == "HTTP_FORWARDED" || name.starts_with("HTTP_X_FORWARDED");
        let names: Vec<&str> = environ.iter().map(|(name, _)| name).filter(of_proxies).collect();
        let Some(first) = names.first() else {
            return self.inner.call(environ, start_response);
        };
        let mut inner = environ.clone();
        let trusted = self.trusts_peer(environ);
        if trusted {
            if let Err(reason) = self.said(environ).and_then(|said| said.tell(&mut inner)) {
                writeln!(environ.errors(), "400 for what a trusted proxy says: {reason}");
                start_response.start("400 Bad Request", &[("Content-Type", "text/plain")]);
                return Body::from("Bad Request\n");
            }
        } else if !self.has_warned.swap(true, Ordering::Relaxed) {
            let peer = environ.remote_addr().map_or("a Unix socket".to_owned(), |address| address.to_string());
            writeln!(environ.errors(), "{first} from {peer}, which is no trusted proxy, is removed (said only once)");
        }
        for name in names {
            if !(trusted && self.takes(name)) {
                inner.remove(name);
            }
        }
        self.inner.call(&inner, start_response)
    }
}

fn text_of<'environ>(environ: &'environ Environ, name: &str) -> Result<Option<&'environ str>, Reason> {
    environ.bytes(name).map(std::str::from_utf8).transpose().map_err(|_| "a field with bytes that are no text")
}
