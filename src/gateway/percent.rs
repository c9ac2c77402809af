//! Percent-decoding of URLs, over bytes (RFC 3986 section 2.1; P-ENV-05).
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
        let digit = |place: usize| char::from(*escape.get(place)?).to_digit(16);
        let (byte, used) = match (digit(1), digit(2)) {
            // Two digits of four bits are a byte.
            (Some(high), Some(low)) => ((high << 4 | low) as u8, 3),
            _ => (b'%', 1),
        };
        out.push(byte);
        rest = escape.split_at(used).1;
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::percent_decode;

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
}
