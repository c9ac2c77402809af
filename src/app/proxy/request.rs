//! The head of the request that is sent to the upstream, built anew from the environ.
//!
//! RFC 9110 sections 7.6.1 (Connection), 7.6.2 (Max-Forwards), 7.6.3 (Via). Nothing a client sent is copied as a line: each field is
//! written from name and value, and both are checked, because an environ may come from another door or middleware.

use super::Proxy;
use crate::app::origin;
use crate::app::relay::exchange::{Content, Outgoing};
use crate::app::relay::{Failure, Fault};
use crate::cause::Cause;
use crate::gateway::{Environ, Headers, is_hop_by_hop};
use crate::http::scan;

/// Fields that end at this proxy, besides the hop-by-hop ones: it writes its own, or they speak of the connection to it.
const OWN: [&str; 8] =
    ["Host", "Content-Length", "Expect", "Via", "Max-Forwards", "Forwarded", "X-Real-Ip", "Http2-Settings"];

/// Builds the head, and looks at the content only as far as is needed to know whether there is any.
pub(super) fn build(
    proxy: &Proxy,
    environ: &Environ,
    target: &str,
    upgrade: Option<&str>,
) -> Result<Outgoing, Failure> {
    if upgrade.is_none() && environ.header_bytes("Sec-WebSocket-Key").is_some() {
        let advice =
            "a WebSocket handshake in a request that cannot switch; let the page connect to the upstream itself";
        return Err(Fault::new(Cause::UpgradeRefused, advice).into());
    }
    let content = content(environ)?;
    let mut fields = fields(proxy, environ)?;
    match content {
        // RFC 9110 section 8.6: a method that expects content says that there is none, and no other does.
        Content::Length(0) if !matches!(environ.method(), "POST" | "PUT" | "PATCH") => {}
        Content::Length(length) => fields.add("Content-Length", length.to_string()),
        _ => {}
    }
    if !scan::is_token(environ.method().as_bytes()) || fields.check().is_err() {
        return Err(Failure::Refused("400 Bad Request", "a method or a field that HTTP cannot carry"));
    }
    let mut head = format!("{} {target} HTTP/1.1\r\n", environ.method()).into_bytes();
    if matches!(content, Content::Chunked) {
        head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    match upgrade {
        Some(protocol) => head.extend_from_slice(format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n").as_bytes()),
        None => head.extend_from_slice(b"Connection: close\r\n"),
    }
    // Ends in the empty line.
    head.extend_from_slice(&fields.to_bytes());
    Ok(Outgoing { head, content })
}

fn content(environ: &Environ) -> Result<Content, Failure> {
    use std::io::BufRead;

    if let Some(length) = environ.content_length() {
        return Ok(Content::Length(length));
    }
    let is_empty = environ.input().fill_buf().map_err(Failure::OfContent)?.is_empty();
    Ok(if is_empty { Content::Length(0) } else { Content::Chunked })
}

fn fields(proxy: &Proxy, environ: &Environ) -> Result<Headers, Failure> {
    let mut fields = Headers::new();
    let host = environ.bytes("HTTP_HOST").filter(|host| !host.is_empty());
    match host.filter(|_| proxy.keep_host) {
        Some(host) => fields.add("Host", host),
        None => fields.add("Host", proxy.upstream.authority()),
    }
    for (name, value) in environ.iter() {
        let Some(name) = field_name(name) else { continue };
        let is_own = OWN.iter().any(|own| own.eq_ignore_ascii_case(&name)) || name.starts_with("X-Forwarded-");
        if is_own || is_hop_by_hop(&name) {
            continue;
        }
        if name == "Origin" && !proxy.keep_host && origin::is_own(environ, value) {
            // To the upstream, which compares it with Host, a page of this server is one of its own; that of another stays one.
            fields.add(name, format!("http://{}", proxy.upstream.authority()));
        } else {
            fields.add(name, value);
        }
    }
    fields.add("Via", via(proxy, environ)?);
    if let Some(hops) = max_forwards(environ)? {
        fields.add("Max-Forwards", hops.to_string());
    }
    if let Some(address) = environ.bytes("REMOTE_ADDR") {
        fields.add("X-Forwarded-For", address);
    }
    if let Some(host) = host {
        fields.add("X-Forwarded-Host", host);
    }
    fields.add("X-Forwarded-Proto", environ.url_scheme());
    if proxy.upstream.replaces_prefix() && !environ.script_name().is_empty() {
        fields.add("X-Forwarded-Prefix", environ.script_name());
    }
    Ok(fields)
}

/// `HTTP_USER_AGENT` as `User-Agent`; `None` for a variable that is no field.
fn field_name(variable: &str) -> Option<String> {
    let words = match variable {
        "CONTENT_TYPE" => "CONTENT_TYPE",
        // An empty name would be the httpoxy of somebody else.
        _ => variable.strip_prefix("HTTP_").filter(|name| !name.is_empty() && *name != "PROXY")?,
    };
    let mut begins = true;
    let letters = words.chars().map(|letter| {
        let shown = match letter {
            '_' => '-',
            letter if begins => letter.to_ascii_uppercase(),
            letter => letter.to_ascii_lowercase(),
        };
        begins = letter == '_';
        shown
    });
    Some(letters.collect())
}

/// What came with the request, and this proxy behind it. One that is there already has gone round in a circle.
fn via(proxy: &Proxy, environ: &Environ) -> Result<Vec<u8>, Failure> {
    let mut via = environ.header_bytes("Via").unwrap_or_default().to_vec();
    let name = proxy.pseudonym.as_bytes();
    if via.windows(name.len()).any(|window| window == name) {
        return Err(Fault::new(Cause::ProxyLoop, "the upstream leads back to this server").into());
    }
    if !via.is_empty() {
        via.extend_from_slice(b", ");
    }
    let version = environ.server_protocol().strip_prefix("HTTP/").unwrap_or("1.1");
    via.extend_from_slice(version.as_bytes());
    via.push(b' ');
    via.extend_from_slice(name);
    Ok(via)
}

/// RFC 9110 section 7.6.2: of TRACE and OPTIONS, one hop less; at none left this proxy is the recipient, and says 501.
fn max_forwards(environ: &Environ) -> Result<Option<u64>, Failure> {
    if !matches!(environ.method(), "TRACE" | "OPTIONS") {
        return Ok(None);
    }
    let Some(hops) = environ.header("Max-Forwards").and_then(|value| value.parse::<u64>().ok()) else {
        return Ok(None);
    };
    match hops.checked_sub(1) {
        Some(hops) => Ok(Some(hops)),
        None => {
            Err(Failure::Refused("501 Not Implemented", "Max-Forwards ends here, and the proxy itself answers nothing"))
        }
    }
}
