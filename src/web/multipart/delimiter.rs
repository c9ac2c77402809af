//! Where a delimiter stands in bytes: linear, and with little to choose for who sends near ones.
//!
//! RFC 2046 section 5.1.1: a delimiter is CRLF, two hyphens and the boundary, of which no character is CR. So an occurrence that begins in a window
//! no longer than itself begins at the last CR there, and each window has one place to look at. There the first and the last eight bytes are
//! compared as numbers, so that what is random costs no wrong guess of the processor; only where both agree all are.

use super::LONGEST_BOUNDARY;

/// So many places are passed over in one go where none may be a beginning.
const BLOCK: usize = 64;

/// So many bytes are looked at for that: a delimiter may begin in the last byte of a window that begins at the last place.
const REACH: usize = BLOCK + WORD - 1 + BEGINNING.len() + LONGEST_BOUNDARY;

const BEGINNING: &[u8; 4] = b"\r\n--";

const WORD: usize = size_of::<u64>();

pub(super) struct Delimiter {
    bytes: Vec<u8>,
    /// How long a window is: a word, or a shorter delimiter.
    width: usize,
    /// The bits of a word that are in a window.
    mask: u64,
    first: u64,
    last: u64,
}

impl Delimiter {
    pub(super) fn of(boundary: &[u8]) -> Delimiter {
        let bytes = [BEGINNING, boundary].concat();
        let width = bytes.len().min(WORD);
        let mask = u64::MAX >> (8 * (WORD - width));
        let mut padded = bytes.clone();
        padded.resize(bytes.len() + WORD - width, 0);
        let (first, last) = (word(&padded, 0), word(&padded, bytes.len() - width));
        Delimiter { bytes, width, mask, first, last }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The first place where the delimiter begins or, at the end of the bytes, may begin; their length where there is none.
    pub(super) fn place_in(&self, bytes: &[u8]) -> usize {
        let (mut start, mut rest) = (0, bytes);
        while let Some(block) = rest.first_chunk::<REACH>() {
            if may_hold_beginning(block) {
                let mut window = 0;
                while window < BLOCK {
                    let place = window + last_cr(word(block, window), self.mask);
                    if self.is_at(block, place) {
                        return start + place;
                    }
                    window += self.width;
                }
            }
            start += BLOCK;
            rest = rest.split_at(BLOCK).1;
        }
        let may_begin = |place: &usize| {
            let there = rest.split_at(*place).1;
            there.starts_with(b"\r") && (there.starts_with(&self.bytes) || self.bytes.starts_with(there))
        };
        start + (0..rest.len()).find(may_begin).unwrap_or(rest.len())
    }

    fn is_at(&self, block: &[u8; REACH], place: usize) -> bool {
        let behind = place + self.bytes.len() - self.width;
        let difference = (word(block, place) ^ self.first) | (word(block, behind) ^ self.last);
        difference & self.mask == 0 && block.split_at(place).1.starts_with(&self.bytes)
    }
}

/// Eight bytes as a number, the first of them its lowest; zero where they are not there.
fn word(bytes: &[u8], place: usize) -> u64 {
    bytes.get(place..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}

/// The place of the last CR in a word, as far as the mask lets it be seen; 0 where there is none.
fn last_cr(word: u64, mask: u64) -> usize {
    const EACH: u64 = u64::MAX / 255;
    const LOW: u64 = EACH * 0x7F;
    // The highest bit of each byte that differs in none from CR.
    let other = word ^ (EACH * b'\r' as u64);
    let found = !(((other & LOW) + LOW) | other | LOW) & mask;
    found.checked_ilog2().unwrap_or(0) as usize / 8
}

/// Whether a beginning may stand at one of the first [`BLOCK`] places, by its two bytes in the middle, which are rare beside each other: without
/// a branch for a byte, so that compilers make vectors of it.
fn may_hold_beginning(block: &[u8; REACH]) -> bool {
    let pairs = block[1..=BLOCK].iter().zip(&block[2..BLOCK + 2]);
    pairs.fold(false, |found, (one, next)| found | ((*one == b'\n') & (*next == b'-')))
}

#[cfg(test)]
mod tests {
    use super::Delimiter;
    use crate::web::multipart::LONGEST_BOUNDARY;

    /// Small numbers below a bound, always the same ones.
    fn numbers() -> impl FnMut(usize) -> usize {
        let mut state = 1_u64;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        }
    }

    /// The same, place by place.
    fn naive(bytes: &[u8], delimiter: &[u8]) -> usize {
        let may_begin =
            |place: &usize| bytes[*place..].starts_with(delimiter) || delimiter.starts_with(&bytes[*place..]);
        (0..bytes.len()).find(may_begin).unwrap_or(bytes.len())
    }

    #[test]
    fn rfc2046_5_1_1_a_delimiter_of_any_length_is_found_wherever_it_stands_among_pieces_of_itself() {
        let mut below = numbers();
        for length in 1..=LONGEST_BOUNDARY {
            for round in 0..300 {
                // Few letters, so that pieces look like each other.
                let letters = 1 + round % 3;
                let boundary: Vec<u8> = (0..length).map(|_| b"a-b"[below(letters)]).collect();
                let delimiter = [b"\r\n--", &boundary[..]].concat();
                let mut bytes = Vec::new();
                while bytes.len() < 400 {
                    match below(8) {
                        0 => bytes.push(b"\r\n-ab\0"[below(6)]),
                        1 => bytes.extend_from_slice(&delimiter[below(delimiter.len())..]),
                        2 => bytes.extend_from_slice(&[b'x'; 90][below(90)..]),
                        _ => bytes.extend_from_slice(&delimiter[..below(delimiter.len())]),
                    }
                }
                if below(2) == 0 {
                    let place = below(bytes.len());
                    bytes.splice(place..place, delimiter.iter().copied());
                }
                bytes.truncate(bytes.len() - below(100));
                let found = Delimiter::of(&boundary).place_in(&bytes);
                assert_eq!(found, naive(&bytes, &delimiter), "{} in {}", boundary.escape_ascii(), bytes.escape_ascii());
            }
        }
    }
}
