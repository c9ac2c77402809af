//! Which bytes may stand where in a field and in a target, how a number is read, and fast searches for the first byte outside a class.
//!
//! RFC 9110 sections 5.5, 5.6.2 and 8.6, RFC 9112 section 3.2. The contract judges by it what an application says, the parsers what a client says.
//! Invariant: each search answers exactly what a walk over its predicate, byte by byte, would answer; the tests hold the two together. Sixteen bytes
//! are judged at once in an array, which needs neither `unsafe` nor a processor feature. It does not decode characters and knows no other room.

const TCHAR: u8 = 1;
const FIELD_VALUE: u8 = 2;
const TARGET: u8 = 4;
const REG_NAME: u8 = 8;
const PLAIN: u8 = 16;

/// One bit a class for each byte.
static CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index out of bounds")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let (letter_or_digit, visible) = (b.is_ascii_alphanumeric(), b.is_ascii_graphic());
        let tchar = matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        let reg_name = matches!(b, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=');
        table[byte] = (letter_or_digit || tchar) as u8 * TCHAR
            + (visible || b == b'\t' || b == b' ' || b >= 0x80) as u8 * FIELD_VALUE
            + (visible && b != b'#') as u8 * TARGET
            + (letter_or_digit || reg_name) as u8 * REG_NAME
            + !matches!(b, b'?' | b'%' | b'\\') as u8 * PLAIN;
        byte += 1;
    }
    table
}

const fn is(byte: u8, class: u8) -> bool {
    // The index of a 256-byte table by a byte is always within it; the compiler leaves the check out.
    #[expect(clippy::indexing_slicing, reason = "a u8 cannot leave a table of 256")]
    let classes = CLASSES[byte as usize];
    classes & class != 0
}

/// Whether the byte may stand in a token (RFC 9110 section 5.6.2), such as a method or a field name.
///
/// ```
/// use doorway::http::scan::is_tchar;
///
/// assert!(is_tchar(b'_') && !is_tchar(b':'));
/// ```
// tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA
pub const fn is_tchar(byte: u8) -> bool {
    is(byte, TCHAR)
}

/// Whether the byte may stand in a field value (RFC 9110 section 5.5): field-vchar, and within it SP or HTAB.
///
/// ```
/// use doorway::http::scan::is_field_value;
///
/// assert!(is_field_value(0xE4) && is_field_value(b' ') && !is_field_value(0x7F));
/// ```
// field-vchar = VCHAR / obs-text
// obs-text    = %x80-FF
pub const fn is_field_value(byte: u8) -> bool {
    is(byte, FIELD_VALUE)
}

/// Whether the byte may stand in a request target: visible ASCII but `#`, since no form has a fragment
/// (RFC 9112 section 3.2).
pub const fn is_target_byte(byte: u8) -> bool {
    is(byte, TARGET)
}

/// Whether the byte may stand for itself in a host name: unreserved or sub-delims (RFC 3986 section 3.2.2).
// unreserved = ALPHA / DIGIT / "-" / "." / "_" / "~"
// sub-delims = "!" / "$" / "&" / "'" / "(" / ")" / "*" / "+" / "," / ";" / "="
pub(crate) const fn is_reg_name_byte(byte: u8) -> bool {
    is(byte, REG_NAME)
}

/// Whether the bytes are a token (RFC 9110 section 5.6.2).
// token = 1*tchar
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// Whether all bytes may stand in a field value.
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    // Without a way out in between, so that the compiler judges sixteen of them at once.
    let is =
        |bytes: &[u8]| bytes.iter().fold(true, |all, &byte| all & ((byte >= b' ') | (byte == b'\t')) & (byte != 0x7F));
    match bytes.last_chunk::<16>() {
        // What is no sixteen of its own has been judged with those before it.
        Some(last) => is(last) && bytes.chunks_exact(last.len()).all(is),
        None => is(bytes),
    }
}

/// The number that 1 to 19 digits are, which always fits, so that nobody reads a Content-Length in two ways.
// Content-Length = 1*DIGIT
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    let is_number = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit & 15)))
}

/// Takes SP and HTAB off both ends (OWS, RFC 9110 section 5.6.3).
// OWS = *( SP / HTAB )
pub const fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The first byte of `rest` that is not in a class, and what follows it. What is not `doubtful` is in the class; what is, the table judges.
#[inline(always)]
fn behind(mut rest: &[u8], class: u8, doubtful: impl Fn(u8) -> bool) -> &[u8] {
    // Sixteen bytes at once without a branch, which the compiler turns into vector instructions where the processor has them. What ends a
    // search is mostly in the last of them, and found there.
    while let Some((sixteen, behind)) = rest.split_first_chunk::<16>() {
        if !sixteen.iter().fold(false, |any, &byte| any | doubtful(byte)) {
            rest = behind;
            continue;
        }
        let marked = u128::from_le_bytes(sixteen.map(|byte| u8::from(doubtful(byte)) * 0xFF));
        match rest.split_at((marked.trailing_zeros() / 8) as usize).1 {
            [byte, behind @ ..] if is(*byte, class) => rest = behind,
            end => return end,
        }
    }
    // So few are left only where the received bytes end.
    let end = rest.iter().position(|&byte| !is(byte, class)).unwrap_or(rest.len());
    rest.split_at(end).1
}

/// The position of the first byte at or behind `from` that is no tchar, or the length.
///
/// ```
/// assert_eq!(doorway::http::scan::token_end(b"Content-Length: 5", 0), 14);
/// ```
#[inline]
pub fn token_end(bytes: &[u8], from: usize) -> usize {
    bytes.len()
        - behind(bytes.get(from..).unwrap_or(&[]), TCHAR, |byte| !byte.is_ascii_alphabetic() & (byte != b'-')).len()
}

/// The position of the first byte at or behind `from` that may not stand in a field value, or the length.
///
/// ```
/// assert_eq!(doorway::http::scan::field_value_end(b"Host: a\r\n", 5), 7);
/// ```
pub fn field_value_end(bytes: &[u8], from: usize) -> usize {
    bytes.len() - behind_field_value(bytes.get(from..).unwrap_or(&[])).len()
}

/// The first byte that may not stand in a field value, and what follows it.
#[inline(always)]
pub(crate) fn behind_field_value(rest: &[u8]) -> &[u8] {
    behind(rest, FIELD_VALUE, |byte| (byte < b' ') | (byte == 0x7F))
}

/// The position of the first byte at or behind `from` that may not stand in a request target, or the length.
///
/// ```
/// assert_eq!(doorway::http::scan::target_end(b"GET /a?b HTTP/1.1", 4), 8);
/// ```
#[inline]
pub fn target_end(bytes: &[u8], from: usize) -> usize {
    bytes.len()
        - behind(bytes.get(from..).unwrap_or(&[]), TARGET, |byte| !byte.is_ascii_graphic() | (byte == b'#')).len()
}

/// The first byte of a target at which its path ends or is no longer what it seems, and what follows it: `?`, `%` or a backslash.
#[inline(always)]
pub(crate) fn behind_plain(target: &[u8]) -> &[u8] {
    behind(target, PLAIN, |byte| (byte == b'?') | (byte == b'%') | (byte == b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Search = (fn(&[u8], usize) -> usize, fn(u8) -> bool);
    const SEARCHES: [Search; 4] = [
        (token_end, is_tchar),
        (field_value_end, is_field_value),
        (target_end, is_target_byte),
        (|bytes, from| bytes.len() - behind_plain(&bytes[from..]).len(), |byte| !b"?%\\".contains(&byte)),
    ];

    #[test]
    fn rfc9110_5_6_2_every_byte_is_in_the_classes_of_its_grammar() {
        for byte in 0..=255u8 {
            let delimiter = b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            assert_eq!(is_tchar(byte), byte.is_ascii_graphic() && !delimiter, "{byte:#x}");
            let is_vchar_or_obs_text = (0x21..=0x7E).contains(&byte) || byte >= 0x80;
            assert_eq!(is_field_value(byte), is_vchar_or_obs_text || byte == 9 || byte == 32, "{byte:#x}");
            assert_eq!(is_target_byte(byte), (0x21..=0x7E).contains(&byte) && byte != b'#', "{byte:#x}");
        }
        assert!(is_token(b"a_b") && !is_token(b"") && !is_token(b"a b"));
        assert_eq!((trim_ows(b" \ta b\t "), trim_ows(b" \t "), trim_ows(b"")), (&b"a b"[..], &b""[..], &b""[..]));
    }

    #[test]
    fn every_search_agrees_with_its_predicate_for_every_byte_at_every_place() {
        for (search, inside) in SEARCHES {
            for filler in (0..=255).filter(|&byte| inside(byte)) {
                for byte in 0..=255u8 {
                    for place in [0, 1, 7, 8, 9, 31, 32, 33, 46] {
                        let mut bytes = [filler; 47];
                        bytes[place] = byte;
                        let end = if inside(byte) { 47 } else { place };
                        assert_eq!(search(&bytes, 0), end, "{filler:#x} {byte:#x} at {place}");
                    }
                }
            }
            assert_eq!((search(b"", 0), search(b"ab", 2)), (0, 2));
        }
    }

    #[test]
    fn every_search_agrees_with_its_predicate_on_random_bytes() {
        let mut random = crate::http::proof::Random(7);
        let mut bytes = [0u8; 64];
        for _ in 0..20_000 {
            // Mostly harmless bytes, so that the searches get somewhere before they stop.
            bytes.fill_with(|| if random.below(20) == 0 { random.byte() } else { b'a' + random.byte() % 26 });
            let from = random.below(65);
            for (search, inside) in SEARCHES {
                let walked = bytes[from..].iter().position(|&byte| !inside(byte)).map_or(64, |at| from + at);
                assert_eq!(search(&bytes, from), walked, "{bytes:?} from {from}");
            }
        }
    }
}
