//! Text that nobody can guess: for sessions, forms, names of files.
//!
//! std has no random numbers to give away. On Unix they come from the system's own source, `/dev/urandom`; elsewhere from the keys that std draws
//! from the system for its hash tables, by way of SipHash.

use std::hash::{BuildHasher, RandomState};
use std::io;

/// 32 hexadecimal digits that the system has drawn: 128 bits, for the id of a session or a token in a form, where guessing is all that an
/// attacker can do. No two are the same.
///
/// On Unix that is as good as the keys of the system. On other systems the same bits go through a hash that is not made for
/// cryptography: good against guessing, and not to be used as a key.
///
/// # Errors
/// There is no `/dev/urandom` (a container without `/dev`), or no descriptor to open it with.
///
/// ```
/// use doorway::{Response, SameSite, SetCookie, random_token};
///
/// # fn login() -> std::io::Result<Response> {
/// let session = SetCookie::new("session", random_token()?).path("/").http_only().same_site(SameSite::Lax);
/// Ok(Response::redirect("/").with_cookie(&session))
/// # }
/// # assert_ne!(random_token().unwrap(), random_token().unwrap());
/// # assert_eq!(login().unwrap().headers.len(), 2);
/// ```
pub fn random_token() -> io::Result<String> {
    Ok(format!("{:032x}", random()?))
}

#[cfg(unix)]
fn random() -> io::Result<u128> {
    use std::fs::File;
    use std::io::Read;

    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}

#[cfg(not(unix))]
fn random() -> io::Result<u128> {
    // Each thread draws keys of its own, and counts up from them for every further table.
    let drawn = std::thread::Builder::new().spawn(|| u128::from(unforeseen()) << 64 | u128::from(unforeseen()))?;
    drawn.join().map_err(|_| io::Error::other("no random number could be drawn"))
}

/// 64 bits that nobody else can foresee, each time others: enough for the name of a file, or a line that no file holds. The keys of hash tables are the
/// only numbers of that kind in std.
pub(crate) fn unforeseen() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::random_token;

    #[test]
    fn tokens_are_32_digits_of_which_every_bit_is_drawn_and_no_two_are_the_same() {
        let tokens: HashSet<String> = (0..256).map(|_| random_token().unwrap()).collect();
        assert_eq!(tokens.len(), 256);
        let numbers = tokens.iter().map(|token| u128::from_str_radix(token, 16).unwrap());
        let (mut ever, mut always) = (0, u128::MAX);
        for number in numbers {
            (ever, always) = (ever | number, always & number);
        }
        assert_eq!((ever, always), (u128::MAX, 0));
        assert!(tokens.iter().all(|token| token.len() == 32));
    }
}
