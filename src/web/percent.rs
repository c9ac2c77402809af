//! Percent-encoding for URLs, over bytes (RFC 3986 section 2.1; P-URL-02). The other way is the gateway's, whose paths are decoded.

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

#[cfg(test)]
mod tests {
    use super::percent_encode;
    use crate::gateway::percent_decode;

    #[test]
    fn p_url_02_every_byte_but_the_unreserved_and_the_safe_is_escaped_and_comes_back() {
        let every: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        percent_encode(&every, b"/\xE4", &mut text);
        let plain = text.bytes().filter(|byte| *byte != b'%').count() - 2 * text.matches('%').count();
        assert_eq!((plain, text.matches('%').count()), (26 + 26 + 10 + 4 + 1, 256 - 67));
        assert!(text.contains("%00") && text.contains("%E4") && text.contains("%FF"));
        let mut back = Vec::new();
        percent_decode(text.as_bytes(), &mut back);
        assert_eq!(back, every);
    }
}
