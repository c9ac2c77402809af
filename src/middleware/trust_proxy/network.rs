//! A range of addresses in the notation of RFC 4632 and RFC 4291 section 2.3: `10.0.0.0/8`, `2001:db8::/32`.
//!
//! An IPv6 address that stands for an IPv4 one (`::ffff:10.1.2.3`) counts as that, because a socket for both sees it so.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network: an address and how many of its leading bits count. An address alone is a network of one.
///
/// ```
/// use doorway::middleware::Network;
///
/// # fn main() -> Result<(), doorway::middleware::NetworkError> {
/// let inner: Network = "10.0.0.0/8".parse()?;
/// assert!(inner.contains([10, 1, 2, 3].into()) && !inner.contains([11, 0, 0, 1].into()));
/// assert!("::1".parse::<Network>()?.contains("::1".parse().unwrap()));
/// assert!("10.1.2.3/8".parse::<Network>().is_err(), "which one was meant, 10.0.0.0/8 or 10.1.2.3?");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Those of the address; one of IPv4 stands behind the 96 bits of `::ffff:0:0/96`.
    bits: u128,
    prefix: u32,
}

impl Network {
    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = bits_of(address);
        is_v4(bits) == is_v4(self.bits) && (bits ^ self.bits) & mask(self.prefix) == 0
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        Network { bits: bits_of(address), prefix: u128::BITS }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let error = || NetworkError { text: text.to_owned() };
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let Some(prefix) = prefix else {
            return Ok(address.into());
        };
        let (bits, before) = (bits_of(address), if address.is_ipv4() { 96 } else { 0 });
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u32 = prefix.parse().ok().filter(|_| is_number).ok_or_else(error)?;
        let prefix = prefix.checked_add(before).filter(|prefix| *prefix <= u128::BITS).ok_or_else(error)?;
        if bits & !mask(prefix) != 0 {
            return Err(error());
        }
        Ok(Network { bits, prefix })
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Whether these are the bits of an address of IPv4, or of a network of them.
fn is_v4(bits: u128) -> bool {
    bits >> 32 == 0xFFFF
}

/// As many leading ones.
fn mask(prefix: u32) -> u128 {
    // A shift by all bits would overflow.
    u128::MAX.checked_shr(prefix).map_or(u128::MAX, |rest| !rest)
}

/// A text that is no network: not an address, more bits than it has, or bits behind the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError {
    text: String,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an address or an address/prefix whose other bits are 0", self.text)
    }
}

impl Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4632_a_network_contains_the_addresses_with_its_leading_bits() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("192.168.1.128/25", "192.168.1.127", false),
            ("192.168.1.128/25", "192.168.1.128", true),
            ("192.168.1.7", "192.168.1.7", true),
            ("192.168.1.7/32", "192.168.1.6", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "ffff::", true),
            ("::/0", "1.2.3.4", false),
            ("::1", "::1", true),
            ("fe80::/10", "febf::1", true),
            ("fe80::/10", "fec0::1", false),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "::ffff:11.1.2.3", false),
            ("::ffff:0:0/96", "1.2.3.4", true),
            ("::ffff:0:0/96", "::1", false),
            ("::/8", "0.0.0.1", false),
        ];
        for (network, address, expected) in cases {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), expected, "{address} in {network}");
        }
    }

    #[test]
    fn rfc4632_what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "10.0.0.1/8",
            "::1/64",
            "::/129",
            "localhost",
            "10.0.0.0 /8",
            "[::1]",
            "0.0.0.0/99999999999",
            "::ffff:0:0/95",
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("{text:?} is not an address")), "{error}");
        }
    }
}
