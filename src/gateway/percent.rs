//! Percent-encoding of URLs, over bytes (RFC 3986 section 2.1; P-ENV-05, P-URL-02).
//!
//! Decoding happens once for each part of a target and is forgiving: what is not an escape stays as it is, because an
//! application that sees `100%` is better served than one that sees nothing.

/// Appends `text` to `out` with every `%XX` replaced by its byte; bad escapes stay literal.
///
/// ```
/// let mut out = Vec::new();
/// doorway::percent_decode(b"/a%2Fb%20c%zz%4", &mut out);
/// assert_eq!(out, b"/a/b c%zz%4");
/// ```
pub fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let digits = (escape.get(1).and_then(hex_digit), escape.get(2).and_then(hex_digit));
        let (byte, used) = match digits {
            (Some(high), Some(low)) => (high << 4 | low, 3),
            _ => (b'%', 1),
        };
        out.push(byte);
        rest = escape.get(used..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Appends `text` to `out` with every byte as `%XX` that is not a letter, a digit, one of `-._~`, or in `safe`.
///
/// ```
/// let mut out = String::from("/");
/// doorway::percent_encode("caf\u{e9} 50%/x".as_bytes(), b"/", &mut out);
/// assert_eq!(out, "/caf%C3%A9%2050%25/x");
/// ```
pub fn percent_encode(text: &[u8], safe: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        // A byte above ASCII is never safe: it would not be the same byte in a String.
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || (byte.is_ascii() && safe.contains(byte)) {
            out.push(char::from(*byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(DIGITS.get(usize::from(digit)).copied().map_or('0', char::from));
            }
        }
    }
}

fn hex_digit(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::{percent_decode, percent_encode};

    fn decoded(text: &[u8]) -> Vec<u8> {
        let mut out = b"kept".to_vec();
        percent_decode(text, &mut out);
        out.split_off(4)
    }

    #[test]
    fn p_env_05_escapes_are_decoded_once_and_bad_ones_stay_literal() {
        let vectors: [(&[u8], &[u8]); 9] = [
            (b"/a%2Fb%20c", b"/a/b c"),
            (b"/%E4", b"/\xE4"),
            (b"/%C3%A4", "/ä".as_bytes()),
            (b"/%25%41", b"/%A"),
            (b"/%252e", b"/%2e"),
            (b"%zz%4", b"%zz%4"),
            (b"%", b"%"),
            (b"%4%41", b"%4A"),
            (b"", b""),
        ];
        for (text, expected) in vectors {
            assert_eq!(decoded(text), expected, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn p_url_02_every_byte_but_the_unreserved_and_the_safe_is_escaped_and_comes_back() {
        let every: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        percent_encode(&every, b"/\xE4", &mut text);
        let plain = text.bytes().filter(|byte| *byte != b'%').count() - 2 * text.matches('%').count();
        assert_eq!((plain, text.matches('%').count()), (26 + 26 + 10 + 4 + 1, 256 - 67));
        assert!(text.contains("%00") && text.contains("%E4") && text.contains("%FF"));
        assert_eq!(decoded(text.as_bytes()), every);
    }
}
