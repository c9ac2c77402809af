//! Where a delimiter stands in bytes: linear, and with nothing to choose for who sends near ones.
//!
//! RFC 2046 section 5.1.1: a delimiter is CRLF, two hyphens and the boundary, of which no character is CR. So an occurrence that begins in a window
//! no longer than itself begins at the last CR there, and each window has one place to look at. There all bytes are compared, without
//! a branch for a byte: what a sender makes nearly alike costs no more than the rest, and no wrong guess of the processor.

use super::LONGEST_BOUNDARY;

/// So many places are looked at in one go, a bit for each.
const BLOCK: usize = u64::BITS as usize;

const BEGINNING: &[u8; 4] = b"\r\n--";

/// Compilers compare an array in vectors where its length is no variable, so a delimiter is compared as one of three lengths.
const SHORT: usize = 16;
const MEDIUM: usize = 32;
const LONG: usize = 80;

const _: () = assert!(BEGINNING.len() + LONGEST_BOUNDARY <= LONG);

/// So many bytes are looked at for a block: a delimiter may begin at its last place.
const REACH: usize = BLOCK + LONG;

pub(super) struct Delimiter {
    bytes: Vec<u8>,
    /// The bytes of the delimiter, and any behind them.
    wanted: [u8; LONG],
    /// All bits of a byte that is the delimiter's, none of one behind.
    care: [u8; LONG],
    /// The places of a window as long as the delimiter, or of a whole block, from the highest bit.
    window: u64,
}

impl Delimiter {
    pub(super) fn of(boundary: &[u8]) -> Delimiter {
        let bytes = [BEGINNING, boundary].concat();
        let (mut wanted, mut care) = ([0; LONG], [0; LONG]);
        for ((wanted, care), byte) in wanted.iter_mut().zip(&mut care).zip(&bytes) {
            (*wanted, *care) = (*byte, u8::MAX);
        }
        let window = u64::MAX << BLOCK.saturating_sub(bytes.len());
        Delimiter { bytes, wanted, care, window }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The first place where the delimiter begins or, at the end of the bytes, may begin; their length where there is none.
    pub(super) fn place_in(&self, bytes: &[u8]) -> usize {
        let (mut start, mut rest) = (0, bytes);
        while let Some(block) = rest.first_chunk() {
            if let Some(place) = self.beginnings(block).and_then(|beginnings| self.place_among(beginnings, block)) {
                return start + place;
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

    /// The first of these places where the delimiter begins. A call of its own, so that the loop over blocks without one has the registers.
    #[inline(never)]
    fn place_among(&self, beginnings: u64, block: &[u8; REACH]) -> Option<usize> {
        const FIRST: u64 = 1 << (BLOCK - 1);
        let mut window = 0;
        while window < BLOCK {
            let last = ((beginnings << window) & self.window) | FIRST;
            let place = window + BLOCK - 1 - last.trailing_zeros() as usize;
            let is_there = match self.bytes.len() {
                length if length <= SHORT => self.is_at::<SHORT>(block, place),
                length if length <= MEDIUM => self.is_at::<MEDIUM>(block, place),
                _ => self.is_at::<LONG>(block, place),
            };
            if is_there {
                return Some(place);
            }
            window += self.bytes.len();
        }
        None
    }

    /// At which places of a block a beginning may stand, by its first and its third byte, which are rare beside each other: the first place is
    /// the highest bit. `None` is what most blocks have. Of a delimiter that leaves room for a dozen in a block all bytes are asked for, or each
    /// window would be compared.
    fn beginnings(&self, block: &[u8; REACH]) -> Option<u64> {
        /// The lowest bits of eight bytes, the first of them its lowest, multiplied with this are its highest eight, the first of them the highest.
        const GATHER: u64 = 0x8040_2010_0804_0201;
        const TINY: usize = 8;
        let mut found = [0; BLOCK];
        for ((found, first), third) in found.iter_mut().zip(block).zip(&block[2..]) {
            *found = u8::from((*first == BEGINNING[0]) & (*third == BEGINNING[2]));
        }
        let any = |found: &[u8; BLOCK]| words(found).fold(0, |any, word| any | word) != 0;
        if any(&found) && self.bytes.len() <= TINY {
            for (behind, byte) in self.bytes.iter().enumerate() {
                for (found, there) in found.iter_mut().zip(block.split_at(behind).1) {
                    *found &= u8::from(there == byte);
                }
            }
        }
        any(&found).then(|| words(&found).fold(0, |bits, word| (bits << 8) | (word.wrapping_mul(GATHER) >> 56)))
    }

    fn is_at<const LENGTH: usize>(&self, block: &[u8; REACH], place: usize) -> bool {
        block.split_at(place).1.first_chunk::<LENGTH>().is_some_and(|there| {
            let bytes = there.iter().zip(&self.wanted).zip(&self.care);
            bytes.fold(0, |other, ((byte, wanted), care)| other | ((byte ^ wanted) & care)) == 0
        })
    }
}

fn words(bytes: &[u8; BLOCK]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).filter_map(<[u8]>::first_chunk).map(|word| u64::from_le_bytes(*word))
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
