//! The user name in a Basic Authorization.
//!
//! RFC 7617 section 2, RFC 4648 section 4. Of anything but the whole grammar nothing is taken: another scheme, bad base64 and credentials
//! without a colon have no name (gunicorn once crashed on them).

/// The user-id of `Basic` credentials.
///
/// ```text
/// credentials = "Basic" 1*SP token68
/// user-pass   = user-id ":" password
/// ```
pub(super) fn of_basic(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = decode_base64(encoded.trim_ascii_start())?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    user.truncate(colon);
    Some(user)
}

/// Base64 with its padding; `None` for anything else, bits that stand for nothing included.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
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
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    DIGITS.iter().position(|other| *other == digit).and_then(|value| u32::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4648_10_test_vectors() {
        let vectors =
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmE=", "fooba")];
        for (text, expected) in vectors {
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), Some(expected.as_bytes()), "{text}");
        }
        for text in ["Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zh==", "Zm9=", "Zm 9v", "Zm9-", "Zm9v\n", "=Zg="] {
            assert_eq!(decode_base64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn rfc7617_2_the_user_is_what_stands_before_the_first_colon() {
        assert_eq!(of_basic(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(), Some(&b"Aladdin"[..]));
        assert_eq!(of_basic(b"bASIC   dGVzdDoxMjPCow==").as_deref(), Some(&b"test"[..]));
        for text in [
            "",
            "Basic",
            "Basic ",
            "Basic Zg==",
            "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Digest username=\"a\"",
            "Basic !",
        ] {
            assert_eq!(of_basic(text.as_bytes()), None, "{text}");
        }
    }
}
