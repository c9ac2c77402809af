//! What an application is told of a request: the variables that RFC 3875 and PEP 3333 make of it.

use std::collections::BTreeMap;

use super::request::{Framing, Request};
use super::same;
use super::target::decode;

/// Fields that concern the connection, and one that would be taken for a setting of the process.
const WITHHELD: [&str; 9] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Expect",
    "Proxy",
];

/// The variables of a request that is not for `*`. Those of the server and of the connection are not among them.
pub fn variables(request: &Request) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let head = &request.head;
    let path = request.target.path.clone().unwrap_or_default();
    all.insert("REQUEST_METHOD".to_owned(), head.method.clone());
    all.insert("REQUEST_URI".to_owned(), head.target.clone());
    all.insert("PATH_INFO".to_owned(), decode(&path));
    all.insert("QUERY_STRING".to_owned(), request.target.query.clone().unwrap_or_default());
    all.insert("SERVER_PROTOCOL".to_owned(), if head.minor == 0 { b"HTTP/1.0".to_vec() } else { b"HTTP/1.1".to_vec() });
    all.insert("SERVER_NAME".to_owned(), request.host.as_deref().map_or(b"localhost".to_vec(), without_port));
    for (name, value) in &head.fields {
        if WITHHELD.iter().any(|withheld| same(name, withheld)) || name.contains(&b'_') || name.contains(&b'.') {
            continue;
        }
        if same(name, "Content-Length") {
            if matches!(request.framing, Framing::Length(_)) {
                all.insert("CONTENT_LENGTH".to_owned(), value.clone());
            }
        } else if same(name, "Content-Type") {
            all.insert("CONTENT_TYPE".to_owned(), value.clone());
        } else {
            let variable = String::from_utf8_lossy(name).to_ascii_uppercase().replace('-', "_");
            let separator: &[u8] = if same(name, "Cookie") { b"; " } else { b", " };
            all.entry(format!("HTTP_{variable}"))
                .and_modify(|joined| *joined = [&joined[..], separator, value].concat())
                .or_insert(value.clone());
        }
    }
    if let Some((_, authority)) = &request.target.absolute {
        all.insert("HTTP_HOST".to_owned(), authority.clone());
    }
    all
}

fn without_port(host: &[u8]) -> Vec<u8> {
    let behind_address = host.iter().position(|byte| *byte == b']').map(|close| close + 1);
    let colon = host.iter().position(|byte| *byte == b':');
    host[..behind_address.or(colon).unwrap_or(host.len())].to_vec()
}
