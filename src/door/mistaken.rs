//! What arrives at a port that expects something else: recognised by its first bytes and named in the log.
//!
//! A front server that speaks the wrong protocol is the most frequent mistake of a deployment, and without a name it shows as silence on
//! both sides. Nothing is decided by these looks but the words of a log line and whether a client of HTTP gets an answer it can read.

/// What the bytes look like.
fn recognise(bytes: &[u8]) -> Option<&'static str> {
    match *bytes {
        [0x16, 3, ..] => Some("TLS"),
        [1, 1, _, _, 0, 8, ..] | [1, 9, 0, 0, ..] => Some("FastCGI"),
        // Its first variable: a name of at most 255 bytes that starts with a capital letter.
        [0 | 30, _, _, 0, length, 0, b'A'..=b'Z', ..] if length > 0 => Some("uwsgi"),
        _ if is_http(bytes) => Some("HTTP"),
        _ if is_scgi(bytes) => Some("SCGI"),
        _ => None,
    }
}

/// A method in capital letters and a target.
pub(super) fn is_http(bytes: &[u8]) -> bool {
    let method = bytes.iter().take(12).take_while(|byte| byte.is_ascii_uppercase()).count();
    method >= 3 && bytes.get(method) == Some(&b' ') && matches!(bytes.get(method + 1), Some(b'/' | b'h' | b'*'))
}

/// A length and the first variable.
fn is_scgi(bytes: &[u8]) -> bool {
    let digits = bytes.iter().take(8).take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && bytes.get(digits..).is_some_and(|rest| rest.starts_with(b":CONTENT_LENGTH\0"))
}

/// Whether the bytes look like another protocol than this.
pub(super) fn is_another(bytes: &[u8], protocol: &str) -> bool {
    recognise(bytes).is_some_and(|spoken| spoken != protocol)
}

/// What a log says about bytes that look like another protocol than that of the port.
pub(super) fn mistake(bytes: &[u8], protocol: &str) -> Option<String> {
    let spoken = recognise(bytes).filter(|spoken| *spoken != protocol)?;
    // "an HTTP port" and "an SCGI port" are spoken with a vowel.
    let article = if matches!(protocol, "HTTP" | "SCGI") { "an" } else { "a" };
    Some(format!("this is {spoken} on {article} {protocol} port"))
}
