//! The variables of a request as they are sent, and the packets of uwsgi and SCGI that hold them.
//!
//! docs/rules.md P-ENV-13 to P-ENV-15 and P-ENV-30, said once more on the way out, because middleware may have set what no door lets in.
//! RFC 3875 section 4.1; `uwsgi-docs`, "The uwsgi Protocol"; "SCGI: A Simple Common Gateway Interface alternative" (2008-06-23). A
//! client chooses names that begin with `HTTP_` and nothing else, so that no field of its becomes another variable.

use crate::app::relay::Failure;
use crate::gateway::Environ;

/// Whether a variable is the business of whoever gets the request.
pub(crate) fn is_sent(name: &str) -> bool {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    // To uWSGI names that begin with UWSGI_ are orders to load code or to read files; HTTP_PROXY is httpoxy.
    let is_order = name.starts_with("UWSGI_") || name == "HTTP_PROXY";
    let is_said_twice = matches!(name, "HTTP_CONTENT_TYPE" | "HTTP_CONTENT_LENGTH");
    is_name && !name.is_empty() && !is_order && !is_said_twice
}

/// Every variable that is sent, but the length of the content and the scheme, which each protocol says in its own way.
pub(crate) fn of(environ: &Environ) -> impl Iterator<Item = (&[u8], &[u8])> {
    let said = |name: &str| matches!(name, "CONTENT_LENGTH" | "HTTPS" | "REQUEST_SCHEME" | "SCGI");
    let sent = environ.iter().filter(move |(name, _)| is_sent(name) && !said(name));
    let scheme = environ.url_scheme();
    let https: Option<(&[u8], &[u8])> = (scheme == "https").then_some((b"HTTPS", b"on"));
    sent.map(|(name, value)| (name.as_bytes(), value))
        .chain([(b"REQUEST_SCHEME".as_slice(), scheme.as_bytes())])
        .chain(https)
}

/// `<len>:CONTENT_LENGTH NUL value NUL SCGI NUL 1 NUL ...,`
pub(super) fn scgi(environ: &Environ, length: u64) -> Result<Vec<u8>, Failure> {
    let mut block = format!("CONTENT_LENGTH\0{length}\0SCGI\x001\0").into_bytes();
    for (name, value) in of(environ) {
        if value.contains(&0) {
            return Err(Failure::Refused("400 Bad Request", "a variable that SCGI cannot carry"));
        }
        for text in [name, value] {
            block.extend_from_slice(text);
            block.push(0);
        }
    }
    let mut packet = format!("{}:", block.len()).into_bytes();
    packet.append(&mut block);
    packet.push(b',');
    Ok(packet)
}

/// `modifier1 datasize:u16 modifier2`, then each text with its length in front, little-endian.
pub(super) fn uwsgi(environ: &Environ, length: u64) -> Result<Vec<u8>, Failure> {
    // uwsgi has no room for more than 64 KiB of variables.
    let too_long = || Failure::Refused("431 Request Header Fields Too Large", "more than a packet of uwsgi can hold");
    let digits = length.to_string();
    let mut packet = vec![0; 4];
    let content: [(&[u8], &[u8]); 1] = [(b"CONTENT_LENGTH", digits.as_bytes())];
    for (name, value) in of(environ).chain(content) {
        for text in [name, value] {
            packet.extend_from_slice(&u16::try_from(text.len()).map_err(|_| too_long())?.to_le_bytes());
            packet.extend_from_slice(text);
        }
    }
    let size = u16::try_from(packet.len() - 4).map_err(|_| too_long())?;
    if let Some(place) = packet.get_mut(1..3) {
        place.copy_from_slice(&size.to_le_bytes());
    }
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Request;

    fn text(pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Vec<String> {
        let line = |(name, value): (Vec<u8>, Vec<u8>)| {
            format!("{}={}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value))
        };
        let mut lines: Vec<_> = pairs.map(line).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn p_env_15_what_middleware_or_a_client_may_have_set_becomes_no_other_variable() {
        let mut environ = Request::get("/a?b").header("X-A", "1").environ();
        for name in ["HTTP_PROXY", "HTTP_CONTENT_LENGTH", "UWSGI_FILE", "doorway.front", "wsgi.url_scheme", "A=B", ""] {
            environ.set(name, "evil");
        }
        environ.set("HTTPS", "forged");
        let sent = text(of(&environ).map(|(name, value)| (name.to_vec(), value.to_vec())));
        assert!(!sent.iter().any(|line| line.contains("evil") || line.contains("forged")), "{sent:?}");
        for line in ["HTTP_X_A=1", "PATH_INFO=/a", "QUERY_STRING=b", "REQUEST_METHOD=GET", "REQUEST_SCHEME=http"] {
            assert!(sent.iter().any(|other| other == line), "{line}: {sent:?}");
        }
        environ.set_https(true);
        assert!(text(of(&environ).map(|(name, value)| (name.to_vec(), value.to_vec()))).contains(&"HTTPS=on".into()));
    }

    #[test]
    fn scgi_has_its_length_first_and_always() {
        let mut environ = Environ::new(crate::gateway::Gateway::default());
        environ.set("A", "b");
        let packet = scgi(&environ, 0).ok().unwrap();
        assert_eq!(
            String::from_utf8(packet).unwrap(),
            "48:CONTENT_LENGTH\x000\0SCGI\x001\0A\0b\0REQUEST_SCHEME\0http\0,"
        );
        environ.set("A", "b\0CONTENT_LENGTH\x009");
        assert!(scgi(&environ, 0).is_err());
    }

    #[test]
    fn uwsgi_has_a_length_before_each_text_and_room_for_64_kib() {
        let mut environ = Environ::new(crate::gateway::Gateway::default());
        environ.set("A", "b");
        let packet = uwsgi(&environ, 5).ok().unwrap();
        assert_eq!(&packet[..10], b"\0\x2f\0\0\x01\0A\x01\0b");
        assert_eq!(packet.len(), 4 + 0x2f);
        environ.set("A", "x".repeat(65_500));
        assert!(matches!(uwsgi(&environ, 5), Err(Failure::Refused(status, _)) if status.starts_with("431 ")));
        environ.set("A", "x".repeat(70_000));
        assert!(uwsgi(&environ, 5).is_err());
    }
}
