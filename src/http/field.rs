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

pub(crate) static NAMES: LazyLock<[&[u8]; COUNT]> = LazyLock::new(|| {
    let mut names = TEXT.split(' ');
    std::array::from_fn(|_| names.next().unwrap_or_default().as_bytes())
});

/// Where a name stands in [`NAMES`], by its [`slot_of`]: no two share one.
static SLOTS: LazyLock<[Known; 256]> = LazyLock::new(|| {
    let known = |slot| NAMES.iter().position(|name| slot_of(name) == slot);
    std::array::from_fn(|slot| known(slot as u8).map_or(Known::OTHER, |at| Known(at as u8)))
});

/// A number that is the same for names which differ in case only.
fn slot_of(name: &[u8]) -> u8 {
    let ([first, ..], [.., last_but_one, last]) = (name, name) else { return 0 };
    let sum = (*first | 0x20).wrapping_mul(18).wrapping_add((*last_but_one | 0x20).wrapping_mul(17));
    sum.wrapping_add((*last | 0x20).wrapping_mul(4)).wrapping_add(name.len() as u8)
}

impl Known {
    /// So many, from the first on, may stand once in a head.
    pub(crate) const ONCE: usize = 6;
    pub(crate) const HOST: Known = Known(0);
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
        // In a token nothing but the other case of a letter of a known name differs from it in this bit alone.
        let is_other_case = |other: &[u8]| {
            other.len() == name.len() && other.iter().zip(name).fold(0, |all, (a, b)| all | ((a ^ b) & !0x20)) == 0
        };
        let other = known.name();
        if other == name || is_other_case(other) { known } else { Known::OTHER }
    }

    /// The name as it is usually spelt; empty for one that is not in the table.
    #[inline]
    pub(crate) fn name(self) -> &'static [u8] {
        NAMES.get(self.index()).copied().unwrap_or_default()
    }

    /// Its place in [`NAMES`].
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_5_1_a_name_is_found_in_any_case_and_no_other_is() {
        for (index, name) in NAMES.iter().enumerate() {
            let (upper, lower) = (name.to_ascii_uppercase(), name.to_ascii_lowercase());
            for name in [name, &upper[..], &lower] {
                assert_eq!(Known::of(name).index(), index, "{}", name.escape_ascii());
            }
            for at in 0..name.len() {
                let mut other = name.to_vec();
                other[at] ^= 1;
                let expected = NAMES.iter().position(|name| name.eq_ignore_ascii_case(&other)).unwrap_or(COUNT);
                assert_eq!(Known::of(&other).index(), expected, "{}", other.escape_ascii());
                assert_eq!(
                    Known::of(&name[..at]),
                    NAMES.iter().position(|known| *known == &name[..at]).map_or(Known::OTHER, |at| Known(at as u8))
                );
            }
        }
        assert_eq!((Known::of(b""), Known::of(b"x")), (Known::OTHER, Known::OTHER));
    }

    #[test]
    fn no_two_names_have_one_slot() {
        let slots: std::collections::BTreeSet<u8> = NAMES.iter().map(|name| slot_of(name)).collect();
        assert_eq!((slots.len(), TEXT.split(' ').count()), (COUNT, COUNT));
    }

    #[test]
    fn the_numbers_that_are_asked_for_are_those_of_their_names() {
        let named: [(Known, &[u8]); 5] = [
            (Known::HOST, b"host"),
            (Known::TRANSFER_ENCODING, b"transfer-encoding"),
            (Known::CONNECTION, b"connection"),
            (Known::PROXY, b"proxy"),
            (Known::COOKIE, b"cookie"),
        ];
        assert!(named.iter().all(|(known, name)| Known::of(name) == *known));
    }
}
