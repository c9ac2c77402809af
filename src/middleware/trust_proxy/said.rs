//! What proxies say of a request, checked and written into an environ, whichever fields it came by.
//!
//! A host goes into links and a port into redirects, so nothing but what these may be is let through (RFC 9110 section 7.2).

use super::super::host_allow_list::{is_host, parts};
use super::forwarded::Node;
use crate::gateway::Environ;

/// One of the `X-Forwarded-*` fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XForwarded {
    /// `X-Forwarded-For`: the address of the client, with one more for each further proxy.
    For,
    /// `X-Forwarded-Proto`: `http` or `https`.
    Proto,
    /// `X-Forwarded-Host`: what the client has sent as Host.
    Host,
    /// `X-Forwarded-Port`: the port that the client has connected to.
    Port,
}

impl XForwarded {
    /// The variable that it is in an environ.
    pub(super) fn variable(self) -> &'static str {
        match self {
            XForwarded::For => "HTTP_X_FORWARDED_FOR",
            XForwarded::Proto => "HTTP_X_FORWARDED_PROTO",
            XForwarded::Host => "HTTP_X_FORWARDED_HOST",
            XForwarded::Port => "HTTP_X_FORWARDED_PORT",
        }
    }
}

/// What the proxies say; `None` where they say nothing.
pub(super) struct Said {
    pub(super) client: Option<Node>,
    pub(super) https: Option<bool>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
}

/// Why a request is answered 400.
pub(super) type Reason = &'static str;

impl Said {
    /// Says it in the words of an environ.
    pub(super) fn tell(self, environ: &mut Environ) -> Result<(), Reason> {
        if let Some(client) = self.client {
            set_or_remove(environ, "REMOTE_ADDR", client.address.map(|address| address.to_string()));
            set_or_remove(environ, "REMOTE_PORT", client.port.map(|port| port.to_string()));
            // A front server may have said these of the proxy (RFC 3875 sections 4.1.9 and 4.1.10).
            ["REMOTE_HOST", "REMOTE_IDENT"].iter().for_each(|name| environ.remove(name));
        }
        if let Some(https) = self.https {
            environ.set_https(https);
            set_or_remove(environ, "HTTPS", https.then(|| "on".to_owned()));
        }
        if let Some(host) = &self.host {
            let (name, _) = parts(host.as_bytes()).filter(|(name, _)| is_host(name)).ok_or("a host that is none")?;
            environ.set("SERVER_NAME", name);
            environ.set("HTTP_HOST", host);
        }
        if self.https.is_none() && self.host.is_none() && self.port.is_none() {
            return Ok(());
        }
        let of_host = environ.bytes("HTTP_HOST").and_then(parts).and_then(|(_, port)| port);
        let of_host = of_host.map(port_of).transpose()?;
        if self.host.is_some() && self.port.zip(of_host).is_some_and(|(port, other)| port != other) {
            return Err("X-Forwarded-Host and X-Forwarded-Port name different ports");
        }
        let of_scheme = if environ.url_scheme() == "https" { 443 } else { 80 };
        environ.set("SERVER_PORT", self.port.or(of_host).unwrap_or(of_scheme).to_string());
        Ok(())
    }
}

fn set_or_remove(environ: &mut Environ, name: &str, value: Option<String>) {
    match value {
        Some(value) => environ.set(name, value),
        None => environ.remove(name),
    }
}

pub(super) fn is_https(scheme: &str) -> Result<bool, Reason> {
    let is = |other: &str| scheme.eq_ignore_ascii_case(other);
    if is("https") || is("http") { Ok(is("https")) } else { Err("a scheme that is neither http nor https") }
}

pub(super) fn port_of(digits: &[u8]) -> Result<u16, Reason> {
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port > 0);
    port.ok_or("a port that is no number from 1 to 65535")
}
