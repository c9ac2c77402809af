//! `BasicAuth`: who has no password does not reach the application.
//!
//! RFC 7617, RFC 9110 section 11. Of anything but the whole grammar nothing is taken: another scheme, bad base64 and credentials without a
//! colon are none. Credentials are compared with those of every user to their last byte, so that the time says nothing about how much was right, or
//! whether there is such a user (CVE-2024-23771, CVE-2026-27480 in other servers).
//!
//! Guessing is slowed down for each address, and not by having a thread wait, which would let whoever guesses hold them all: for a time
//! that doubles with every further failure, what comes from that address with credentials is 429 without a look at them. What is kept of
//! addresses is bounded.
//!
//! Passwords travel as they are: without TLS, whoever is on the way can read them.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::{Application, Body, Environ, StartResponse, network};
use crate::web::base64_decode;

/// So many failures cost nothing: people mistype.
const FREE: u32 = 5;

/// How long an address waits after the first failure that does.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How long it waits at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// So long after its last failure an address is forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// So many addresses are remembered; of more, the one whose last failure is the oldest is forgotten.
const ADDRESSES: usize = 1024;

/// Answers 401 (Unauthorized) unless a request has the name and password of a user, by Basic authentication.
///
/// | the request has | answer |
/// |---|---|
/// | the credentials of a user | the application's; it finds `REMOTE_USER` and `AUTH_TYPE`, and no `Authorization` |
/// | none, or none that can be read | 401 with `WWW-Authenticate` |
/// | wrong ones | 401; from the sixth in succession on, the address has to wait for 1 s, 2 s, 4 s, at most 60 s |
/// | any, while its address has to wait | 429 with `Retry-After` |
///
/// An IPv6 client counts as its network of 64 bits. Behind a front server put this inside of a [`TrustProxy`](super::TrustProxy), or all clients
/// wait together. Nothing else is exempt: put it around everything that is to be guarded.
///
/// ```
/// use doorway::{app::demo, middleware::BasicAuth, testing::Request};
///
/// let application = BasicAuth::new(demo, "the workshop", [("Aladdin", "open sesame")]);
/// let status = |value| Request::get("/").header("Authorization", value).call(&application).status.code();
/// assert_eq!(status("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), 200);
/// assert_eq!(status("Basic QWxhZGRpbjpzZXNhbWU="), 401);
/// assert_eq!(Request::get("/").call(&application).status.code(), 401);
/// ```
pub struct BasicAuth<A> {
    inner: A,
    challenge: String,
    users: Vec<(Vec<u8>, Vec<u8>)>,
    /// Those that were remembered last stand last.
    failures: Mutex<Vec<Failures>>,
}

/// What is remembered of an address.
#[derive(Clone, Copy)]
struct Failures {
    address: Option<IpAddr>,
    count: u32,
    last: Instant,
}

impl Failures {
    /// Until when nothing is looked at.
    fn waits_until(self) -> Option<Instant> {
        let doublings = self.count.checked_sub(FREE + 1)?;
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT);
        self.last.checked_add(wait)
    }
}

/// What credentials come to.
enum Verdict {
    /// They are those of this user.
    User(Vec<u8>),
    Wrong,
    /// They were not looked at, and will not be for so long.
    Wait(Duration),
}

impl<A: Application> BasicAuth<A> {
    /// Puts itself around an application. The realm is what browsers may show to those they ask; users are names, without a colon, and passwords.
    /// Without users nobody gets in.
    pub fn new<U, P>(inner: A, realm: &str, users: impl IntoIterator<Item = (U, P)>) -> BasicAuth<A>
    where
        U: Into<Vec<u8>>,
        P: Into<Vec<u8>>,
    {
        // quoted-string, RFC 9110 section 5.6.4.
        let is_plain = |letter: &char| !letter.is_control();
        let realm: String =
            realm.chars().filter(is_plain).collect::<String>().replace('\\', "\\\\").replace('"', "\\\"");
        BasicAuth {
            inner,
            challenge: format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
            users: users.into_iter().map(|(user, password)| (user.into(), password.into())).collect(),
            failures: Mutex::default(),
        }
    }

    /// Looks at credentials, and remembers if they are wrong. The lock is held for the comparison, so that guesses at the same time count one after
    /// the other.
    fn judge(&self, address: Option<IpAddr>, user: Vec<u8>, password: &[u8], now: Instant) -> Verdict {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|failures| now.saturating_duration_since(failures.last) < FORGET);
        let known = failures.iter().find(|failures| failures.address == address).copied();
        if let Some(until) = known.and_then(Failures::waits_until).filter(|until| *until > now) {
            return Verdict::Wait(until.saturating_duration_since(now));
        }
        failures.retain(|failures| failures.address != address);
        // All are compared, and both parts of each.
        let is_right = self.users.iter().fold(false, |found, (name, word)| {
            let (same_name, same_word) = (are_equal(&user, name), are_equal(password, word));
            found | (same_name & same_word)
        });
        if is_right {
            return Verdict::User(user);
        }
        if failures.len() >= ADDRESSES {
            failures.remove(0);
        }
        let count = known.map_or(0, |known| known.count).saturating_add(1);
        failures.push(Failures { address, count, last: now });
        Verdict::Wrong
    }
}

impl<A: Application> Application for BasicAuth<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let verdict = match environ.header_bytes("authorization").and_then(credentials) {
            Some((user, password)) => self.judge(environ.remote_addr().map(network), user, &password, Instant::now()),
            None => Verdict::Wrong,
        };
        match verdict {
            Verdict::User(user) => {
                let mut environ = environ.clone();
                environ.set("REMOTE_USER", user);
                environ.set("AUTH_TYPE", "Basic");
                // It was meant for this and nobody behind it, least of all for another server.
                environ.remove("HTTP_AUTHORIZATION");
                self.inner.call(&environ, start_response)
            }
            Verdict::Wrong => {
                let fields = [("Content-Type", "text/plain"), ("WWW-Authenticate", &self.challenge)];
                start_response.start("401 Unauthorized", &fields);
                Body::from("Unauthorized\n")
            }
            Verdict::Wait(wait) => {
                let seconds = (wait.as_secs() + 1).to_string();
                let fields = [("Content-Type", "text/plain"), ("Retry-After", &seconds)];
                start_response.start("429 Too Many Requests", &fields);
                Body::from("Too Many Requests: there were wrong passwords from this address\n")
            }
        }
    }
}

/// User-id and password of `Basic` credentials.
///
/// ```text
/// credentials = "Basic" 1*SP token68
/// user-pass   = user-id ":" password
/// ```
pub(super) fn credentials(authorization: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = base64_decode(encoded.trim_ascii_start())?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let mut password = user.split_off(colon);
    password.remove(0);
    Some((user, password))
}

/// Whether two texts are the same, in a time that depends on the length of the given one alone.
fn are_equal(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != secret.len());
    // For as long as something is given, whatever its place in the secret is.
    for (byte, other) in given.iter().zip(secret.iter().chain([&0]).cycle()) {
        difference |= black_box(byte ^ other);
    }
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Request, Response};

    fn show(environ: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("200 OK", &[]);
        let value = |name| environ.get(name).unwrap_or_default().into_owned();
        Body::from(format!("{} {} {}", value("REMOTE_USER"), value("AUTH_TYPE"), value("HTTP_AUTHORIZATION")))
    }

    fn auth() -> BasicAuth<fn(&Environ, &mut StartResponse) -> Body> {
        let show: fn(&Environ, &mut StartResponse) -> Body = show;
        BasicAuth::new(show, "a \"b\"\r\n", [("Aladdin", "open sesame"), ("test", "123\u{a3}"), ("empty", "")])
    }

    fn ask(application: &impl Application, authorization: &str) -> Response {
        Request::get("/").header("Authorization", authorization).call(application)
    }

    #[test]
    fn rfc7617_2_each_user_gets_in_by_the_own_password_and_the_application_is_told_who_it_is() {
        let auth = auth();
        for (value, user) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin"),
            ("bASIC   dGVzdDoxMjPCow==", "test"),
            ("Basic ZW1wdHk6", "empty"),
        ] {
            let response = ask(&auth, value);
            assert_eq!((response.status.code(), response.text()), (200, format!("{user} Basic ")), "{value}");
        }
    }

    #[test]
    fn rfc9110_15_5_2_anything_else_is_401_with_a_challenge() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic !",
            "Basic Zg==",
            "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Digest username=\"Aladdin\"",
            // Aladdin:open sesam, Aladdin:open sesamee, aladdin:open sesame, Aladdin:123£, ":", "Aladdin:"
            "Basic QWxhZGRpbjpvcGVuIHNlc2Ft",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZWU=",
            "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic QWxhZGRpbjoxMjPCow==",
            "Basic Og==",
            "Basic QWxhZGRpbjo=",
        ] {
            let response = ask(&auth(), value);
            assert_eq!(response.status.code(), 401, "{value}");
            let challenge = response.headers.get("WWW-Authenticate");
            assert_eq!(challenge.as_deref(), Some("Basic realm=\"a \\\"b\\\"\", charset=\"UTF-8\""));
        }
        assert_eq!(Request::get("/").call(&auth()).status.code(), 401);
        let nobody = BasicAuth::new(show, "", Vec::<(String, String)>::new());
        assert_eq!(ask(&nobody, "Basic Og==").status.code(), 401);
    }

    #[test]
    fn texts_are_equal_only_as_a_whole() {
        for (given, secret, expected) in [
            ("", "", true),
            ("a", "a", true),
            ("", "a", false),
            ("a", "", false),
            ("\0", "", false),
            ("aa", "a", false),
            ("a\0", "a", false),
            ("a\0a", "a", false),
            ("abc", "abd", false),
        ] {
            assert_eq!(are_equal(given.as_bytes(), secret.as_bytes()), expected, "{given:?} {secret:?}");
        }
    }

    #[test]
    fn an_address_that_guesses_waits_longer_and_longer_and_others_do_not() {
        let (auth, begin) = (auth(), Instant::now());
        let here = Some("192.0.2.7".parse().unwrap());
        let judge = |address, password: &str, after: u64| {
            auth.judge(address, b"Aladdin".to_vec(), password.as_bytes(), begin + Duration::from_secs(after))
        };
        for _ in 0..FREE {
            assert!(matches!(judge(here, "sesame", 0), Verdict::Wrong));
        }
        // The sixth is looked at, and from then on there is a wait; the right password is not looked at then either.
        let mut now = 0;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(matches!(judge(here, "sesame", now), Verdict::Wrong), "{wait}");
            assert!(matches!(judge(here, "open sesame", now), Verdict::Wait(left) if left.as_secs() == wait), "{wait}");
            now += wait;
        }
        assert!(matches!(judge(Some("192.0.2.8".parse().unwrap()), "open sesame", now), Verdict::User(_)));
        assert!(matches!(judge(None, "open sesame", now), Verdict::User(_)));
        // Who knows it begins anew.
        assert!(matches!(judge(here, "open sesame", now), Verdict::User(_)));
        assert!(matches!(judge(here, "sesame", now), Verdict::Wrong));
        assert!(matches!(judge(here, "open sesame", now), Verdict::User(_)));
    }

    #[test]
    fn while_an_address_waits_it_hears_429_and_how_long() {
        let auth = auth();
        for _ in 0..=FREE {
            assert_eq!(ask(&auth, "Basic Og==").status.code(), 401);
        }
        let response = ask(&auth, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!((response.status.code(), response.headers.get("Retry-After").as_deref()), (429, Some("1")));
        // Without credentials nothing is guessed.
        assert_eq!(Request::get("/").call(&auth).status.code(), 401);
    }

    #[test]
    fn what_is_remembered_of_addresses_is_bounded_and_forgotten() {
        let (auth, begin) = (auth(), Instant::now());
        let address = |number: u32| Some(IpAddr::from(number.to_be_bytes()));
        for number in 0..3 * u32::try_from(ADDRESSES).unwrap() {
            let now = begin + Duration::from_millis(u64::from(number));
            auth.judge(address(number), Vec::new(), b"", now);
            assert!(auth.failures.lock().unwrap().len() <= ADDRESSES);
        }
        let remembered: Vec<_> = auth.failures.lock().unwrap().iter().map(|failures| failures.address).collect();
        assert_eq!(remembered, (2 * 1024..3 * 1024).map(address).collect::<Vec<_>>(), "the last ones");
        auth.judge(address(0), b"Aladdin".to_vec(), b"open sesame", begin + 2 * FORGET);
        assert!(auth.failures.lock().unwrap().is_empty());
    }

    #[test]
    fn a_client_cannot_choose_among_the_addresses_of_its_network() {
        let same = |one: &str, other: &str| network(one.parse().unwrap()) == network(other.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:0:0:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.7", "192.0.2.7") && !same("192.0.2.7", "192.0.2.8"));
    }
}
