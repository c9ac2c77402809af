//! Base64, the one way that HTTP needs (RFC 4648 section 4): strict, so that two texts never stand for the same bytes.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of bytes, with padding.
///
/// ```
/// use doorway::web::base64_encode;
///
/// assert_eq!(base64_encode(b"user:secret"), "dXNlcjpzZWNyZXQ=");
/// ```
pub fn base64_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * place)) as usize % 64).filter(|_| place <= three.len());
            text.push(digit.map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

/// The bytes of Base64 with its padding; `None` for anything else, bits that stand for nothing included.
///
/// RFC 4648 section 4: the alphabet of `+` and `/`, whole groups of four, and no white space.
///
/// ```
/// use doorway::web::base64_decode;
///
/// assert_eq!(base64_decode(b"Zm9v").as_deref(), Some(&b"foo"[..]));
/// assert_eq!(base64_decode(b"Zm9"), None);
/// ```
pub fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let groups = text.chunks_exact(4);
    if !groups.remainder().is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let last = groups.len().saturating_sub(1);
    for (index, group) in groups.enumerate() {
        let digits = match group {
            [digits @ .., b'=', b'='] | [digits @ .., b'='] if index == last => digits,
            digits => digits,
        };
        let mut bits = 0_u32;
        for digit in digits {
            bits = bits << 6 | value_of(*digit)?;
        }
        // 2, 3 or 4 digits stand for 1, 2 or 3 bytes; the rest of the last digit is 0.
        let bytes = digits.len() - 1;
        bits <<= 6 * (4 - digits.len());
        let [_, three @ ..] = bits.to_be_bytes();
        let (used, unused) = three.split_at_checked(bytes)?;
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(used);
    }
    Some(out)
}

fn value_of(digit: u8) -> Option<u32> {
    DIGITS.iter().position(|other| *other == digit).and_then(|value| u32::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::{base64_decode, base64_encode};

    #[test]
    fn rfc4648_10_test_vectors() {
        let vectors = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ];
        for (text, expected) in vectors {
            assert_eq!(base64_decode(text.as_bytes()).as_deref(), Some(expected.as_bytes()), "{text}");
            assert_eq!(base64_encode(expected.as_bytes()), text);
        }
        for text in ["Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zh==", "Zm9=", "Zm 9v", "Zm9-", "Zm9v\n", "=Zg="] {
            assert_eq!(base64_decode(text.as_bytes()), None, "{text:?}");
        }
    }
}
