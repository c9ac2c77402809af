//! Names of fields by number: those that mean something to the server, and those that clients and front servers usually send.
//!
//! A name is compared once, where its head is parsed; whoever comes after asks for the number. Invariant: [`Known::of`] says what a
//! comparison without case with every name of the table would say. It does not say what a field means.

use std::sync::LazyLock;

/// A name of the table, or [`Known::OTHER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) struct Known(u8);

/// Those that stand once, those of one connection, and the rest.
const TEXT: &str = "Host Content-Length Content-Type Authorization Transfer-Encoding Expect \
Connection Keep-Alive Proxy-Connection TE Trailer Upgrade Proxy \
Cookie Accept Accept-Charset Accept-Encoding Accept-Language Access-Control-Request-Headers Access-Control-Request-Method \
Cache-Control DNT Forwarded From If-Match If-Modified-Since If-None-Match If-Range If-Unmodified-Since Origin Pragma Priority Range \
Referer Save-Data Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-GPC \
Sec-WebSocket-Key Sec-WebSocket-Version Traceparent Upgrade-Insecure-Requests User-Agent Via X-CSRF-Token X-Forwarded-For \
X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto X-Real-IP X-Request-ID X-Requested-With";

/// How many names there are; a set of them fits in a `u64`.
pub(crate) const COUNT: usize = 57;

/// Where a name stands in the table, by its [`slot_of`]: no two share one.
static SLOTS: LazyLock<[Known; 256]> = LazyLock::new(|| {
    let known = |slot| names().position(|name| slot_of(name) == slot);
    std::array::from_fn(|slot| known(slot as u8).map_or(Known::OTHER, |at| Known(at as u8)))
});

/// Every name of the table as it is usually spelt.
pub(crate) fn names() -> impl Iterator<Item = &'static [u8]> {
    TEXT.split(' ').map(str::as_bytes)
}

/// A number that is the same for names which differ in case only.
fn slot_of(name: &[u8]) -> u8 {
    let ([first, ..], [.., last_but_one, last]) = (name, name) else { return 0 };
    let sum = (*first | 0x20).wrapping_mul(18).wrapping_add((*last_but_one | 0x20).wrapping_mul(17));
    sum.wrapping_add((*last | 0x20).wrapping_mul(4)).wrapping_add(name.len() as u8)
}

impl Known {
    /// So many, from the first on, may stand once in a head.
    pub(crate) const ONCE: usize = 6;
    pub(crate) const TRANSFER_ENCODING: Known = Known(4);
    pub(crate) const CONNECTION: Known = Known(6);
    pub(crate) const UPGRADE: Known = Known(11);
    pub(crate) const PROXY: Known = Known(12);
    pub(crate) const COOKIE: Known = Known(13);
    /// A name that is not in the table.
    pub(crate) const OTHER: Known = Known(COUNT as u8);

    /// The number of a name, which is a token.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Known {
        #[expect(clippy::indexing_slicing, reason = "a u8 cannot leave a table of 256")]
        let known = SLOTS[usize::from(slot_of(name))];
        if known.beginning().name.eq_ignore_ascii_case(name) { known } else { Known::OTHER }
    }

    /// How a line of it begins.
    pub(crate) fn beginning(self) -> &'static Beginning {
        #[expect(clippy::indexing_slicing, reason = "the table has a place for every number")]
        &BEGINNINGS[self.index()]
    }

    /// Its place in the table.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A name of the table as a field line begins with it. To see whether it does is quicker than to see which name it is.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) known: Known,
    /// As it is usually spelt.
    pub(crate) name: &'static [u8],
    /// The first 16 bytes of it and its colon, of which these bits count: all but the one that is the case of a letter.
    first: u128,
    mask: u128,
}

/// Those of all names, and behind them one that no line has: of no bits, one is set.
static BEGINNINGS: LazyLock<[Beginning; COUNT + 1]> = LazyLock::new(|| {
    const NONE: Beginning = Beginning { known: Known::OTHER, name: b"", first: 1, mask: 0 };
    let mut names = names();
    std::array::from_fn(|at| names.next().map_or(NONE, |name| Beginning::new(Known(at as u8), name)))
});

impl Beginning {
    fn new(known: Known, name: &'static [u8]) -> Beginning {
        let line = [name, b":"].concat();
        let sixteen = |bits: fn(&u8) -> u8| u128::from_le_bytes(std::array::from_fn(|at| line.get(at).map_or(0, bits)));
        let mask = sixteen(|byte| if byte.is_ascii_alphabetic() { !0x20 } else { 0xFF });
        Beginning { known, name, first: sixteen(|byte| *byte) & mask, mask }
    }

    /// What stands behind the name and the colon, where a line begins with them. Of a short line at the very end it may say nothing.
    #[inline]
    pub(crate) fn strip<'buf>(&self, line: &'buf [u8]) -> Option<&'buf [u8]> {
        if u128::from_le_bytes(*line.first_chunk()?) & self.mask != self.first {
            return None;
        }
        let (line, behind) = line.split_at_checked(self.name.len() + 1)?;
        let is_it = line.len() <= 16 || line.strip_suffix(b":")?.eq_ignore_ascii_case(self.name);
        is_it.then_some(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_5_1_a_name_is_found_in_any_case_and_no_other_is() {
        for (index, name) in names().enumerate() {
            let (upper, lower) = (name.to_ascii_uppercase(), name.to_ascii_lowercase());
            for name in [name, &upper[..], &lower] {
                assert_eq!(Known::of(name).index(), index, "{}", name.escape_ascii());
            }
            for at in 0..name.len() {
                let mut other = name.to_vec();
                other[at] ^= 1;
                let expected = names().position(|name| name.eq_ignore_ascii_case(&other)).unwrap_or(COUNT);
                assert_eq!(Known::of(&other).index(), expected, "{}", other.escape_ascii());
                assert_eq!(
                    Known::of(&name[..at]),
                    names().position(|known| *known == name[..at]).map_or(Known::OTHER, |at| Known(at as u8))
                );
            }
        }
        assert_eq!((Known::of(b""), Known::of(b"x")), (Known::OTHER, Known::OTHER));
    }

    #[test]
    fn rfc9110_5_1_a_line_begins_with_a_name_in_any_case_and_its_colon_and_with_no_other() {
        for (beginning, name) in BEGINNINGS.iter().zip(names()) {
            for name in [name.to_vec(), name.to_ascii_uppercase(), name.to_ascii_lowercase()] {
                let line = [&name[..], b": and a value\r\n"].concat();
                assert_eq!(beginning.strip(&line), Some(&b" and a value\r\n"[..]), "{}", line.escape_ascii());
                for (at, bit) in (0..=name.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                    let mut other = line.clone();
                    other[at] ^= 1 << bit;
                    let is_other_case = other[..=name.len()].eq_ignore_ascii_case(&line[..=name.len()]);
                    assert_eq!(beginning.strip(&other).is_some(), is_other_case, "{}", other.escape_ascii());
                }
            }
        }
        let none = Known::OTHER.beginning();
        assert_eq!(none.known, Known::OTHER);
        for line in [b": and a value without a name", b"\r: and a value behind a CR.."] {
            assert_eq!(none.strip(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn no_two_names_have_one_slot() {
        let slots: std::collections::BTreeSet<u8> = names().map(slot_of).collect();
        assert_eq!((slots.len(), TEXT.split(' ').count()), (COUNT, COUNT));
    }

    #[test]
    fn the_numbers_that_are_asked_for_are_those_of_their_names() {
        let named: [(Known, &[u8]); 5] = [
            (Known::TRANSFER_ENCODING, b"transfer-encoding"),
            (Known::CONNECTION, b"connection"),
            (Known::UPGRADE, b"upgrade"),
            (Known::PROXY, b"proxy"),
            (Known::COOKIE, b"cookie"),
        ];
        assert!(named.iter().all(|(known, name)| Known::of(name) == *known));
    }
}
