//! Cookies: those of a request, and the `Set-Cookie` of a response.
//!
//! RFC 6265 and its revision. Values are opaque: nothing is decoded when they are read, nor encoded when they are written, and a value that would
//! need it is refused, because one that holds `;` could add attributes of its own. No `Expires`: every browser in use obeys `Max-Age`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};
use std::time::Duration;

use crate::gateway::Environ;
use crate::http::scan::is_token;

impl Environ {
    /// The cookies of the request, as sent and in that order; pieces without `=` are left out.
    ///
    /// ```
    /// let environ = doorway::testing::Request::get("/").header("Cookie", "a=1; b=x=y").environ();
    /// let cookies: Vec<_> = environ.cookies().collect();
    /// assert_eq!(cookies, [("a".into(), "1".into()), ("b".into(), "x=y".into())]);
    /// ```
    pub fn cookies(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let pieces = self.bytes("HTTP_COOKIE").unwrap_or_default().split(|byte| *byte == b';');
        pieces.filter_map(|piece| {
            let at = piece.iter().position(|byte| *byte == b'=')?;
            let (name, value) = piece.split_at_checked(at)?;
            Some((trimmed(name), trimmed(value.strip_prefix(b"=")?)))
        })
    }

    /// The first cookie of this name, which is the one with the longest path where there are several.
    ///
    /// ```
    /// let environ = doorway::testing::Request::get("/").header("Cookie", "theme=dark").environ();
    /// assert_eq!(environ.cookie("theme").as_deref(), Some("dark"));
    /// ```
    pub fn cookie(&self, name: &str) -> Option<Cow<'_, str>> {
        self.cookies().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

/// A cookie to set, with its attributes. [`build`](SetCookie::build) checks it and gives the value of a `Set-Cookie` field.
///
/// ```
/// use doorway::{CookieError, SameSite, SetCookie};
///
/// let cookie = SetCookie::new("session", "3f9a").path("/").http_only().same_site(SameSite::Lax);
/// assert_eq!(cookie.build().unwrap(), "session=3f9a; Path=/; HttpOnly; SameSite=Lax");
/// assert_eq!(SetCookie::new("a", "b; Domain=evil.example").build(), Err(CookieError::Value));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a cookie is set by sending it"]
pub struct SetCookie {
    name: String,
    value: String,
    path: Option<String>,
    domain: Option<String>,
    max_age: Option<Duration>,
    secure: bool,
    http_only: bool,
    same_site: Option<SameSite>,
}

/// To which requests from other sites a browser adds a cookie.
///
/// ```
/// use doorway::{SameSite, SetCookie};
///
/// let cookie = SetCookie::new("shop", "7").same_site(SameSite::None).secure();
/// assert_eq!(cookie.build().unwrap(), "shop=7; Secure; SameSite=None");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// To none.
    Strict,
    /// To links that the user follows.
    Lax,
    /// To all; only with [`SetCookie::secure`].
    None,
}

/// Why a cookie was refused.
///
/// ```
/// use doorway::{CookieError, SetCookie};
///
/// assert_eq!(SetCookie::new("a b", "").build(), Err(CookieError::Name));
/// assert_eq!(SetCookie::new("__Host-id", "7").path("/").build(), Err(CookieError::Combination));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is empty or no token.
    Name,
    /// The value holds a control, a space, a byte beyond ASCII, or one of `"`, `,`, `;` and `\`.
    Value,
    /// The path or domain holds a control, a byte beyond ASCII, or `;`, or the path does not begin with `/`.
    Attribute,
    /// The attributes do not fit the name (`__Secure-`, `__Host-`) or each other (`SameSite=None` without `Secure`), so that a browser would not take it.
    Combination,
}

impl SetCookie {
    /// A cookie for the session of the browser, for this host, and for paths below that of the request.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> SetCookie {
        SetCookie {
            name: name.into(),
            value: value.into(),
            path: None,
            domain: None,
            max_age: None,
            secure: false,
            http_only: false,
            same_site: None,
        }
    }

    /// The one that removes a cookie; path and domain must be those that it was set with.
    ///
    /// ```
    /// use doorway::SetCookie;
    ///
    /// assert_eq!(SetCookie::removal("a").path("/").build().unwrap(), "a=; Path=/; Max-Age=0");
    /// ```
    pub fn removal(name: impl Into<String>) -> SetCookie {
        SetCookie::new(name, "").max_age(Duration::ZERO)
    }

    /// For paths below this one.
    pub fn path(mut self, path: impl Into<String>) -> SetCookie {
        self.path = Some(path.into());
        self
    }

    /// For this domain and those below it.
    pub fn domain(mut self, domain: impl Into<String>) -> SetCookie {
        self.domain = Some(domain.into());
        self
    }

    /// Kept for so long, in whole seconds.
    pub fn max_age(mut self, max_age: Duration) -> SetCookie {
        self.max_age = Some(max_age);
        self
    }

    /// Sent over TLS only.
    pub fn secure(mut self) -> SetCookie {
        self.secure = true;
        self
    }

    /// Not shown to scripts.
    pub fn http_only(mut self) -> SetCookie {
        self.http_only = true;
        self
    }

    /// To which requests from other sites it is added.
    pub fn same_site(mut self, same_site: SameSite) -> SetCookie {
        self.same_site = Some(same_site);
        self
    }

    /// The value of the `Set-Cookie` field.
    ///
    /// # Errors
    /// When a part holds what could change another part, or when no browser would take the cookie.
    pub fn build(&self) -> Result<String, CookieError> {
        if !is_token(self.name.as_bytes()) {
            return Err(CookieError::Name);
        }
        if !self.value.bytes().all(is_cookie_octet) {
            return Err(CookieError::Value);
        }
        let attributes = [&self.path, &self.domain].into_iter().flatten();
        let is_relative = self.path.as_ref().is_some_and(|path| !path.starts_with('/'));
        if is_relative || attributes.flat_map(|text| text.bytes()).any(|byte| !is_attribute_byte(byte)) {
            return Err(CookieError::Attribute);
        }
        if !self.may_be_taken() {
            return Err(CookieError::Combination);
        }
        let mut text = format!("{}={}", self.name, self.value);
        for (name, value) in [("; Path=", &self.path), ("; Domain=", &self.domain)] {
            if let Some(value) = value {
                text.push_str(name);
                text.push_str(value);
            }
        }
        if let Some(max_age) = self.max_age {
            // Writing to a String cannot fail.
            let _ = write!(text, "; Max-Age={}", max_age.as_secs());
        }
        for (name, is_set) in [("; Secure", self.secure), ("; HttpOnly", self.http_only)] {
            text.push_str(if is_set { name } else { "" });
        }
        text.push_str(match self.same_site {
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        });
        Ok(text)
    }

    /// RFC 6265bis sections 4.1.2.7 and 4.1.3: what browsers throw away without a word.
    fn may_be_taken(&self) -> bool {
        let begins =
            |prefix: &str| self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let needs_secure = begins("__Secure-") || begins("__Host-") || self.same_site == Some(SameSite::None);
        let is_host_only = self.domain.is_none() && self.path.as_deref() == Some("/");
        (self.secure || !needs_secure) && (is_host_only || !begins("__Host-"))
    }
}

fn trimmed(part: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(part.trim_ascii())
}

/// `cookie-octet = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E`
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

/// `av-octet = %x20-3A / %x3C-7E`
fn is_attribute_byte(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && byte != b';'
}

impl fmt::Display for CookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CookieError::Name => "the name of a cookie is not a token",
            CookieError::Value => "the value of a cookie holds a byte that needs an encoding",
            CookieError::Attribute => "the path or domain of a cookie is not valid",
            CookieError::Combination => "the attributes of a cookie do not fit its name or each other",
        })
    }
}

impl Error for CookieError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Gateway;

    #[test]
    fn cookies_are_read_in_order_whatever_stands_between_them() {
        let mut environ = Environ::new(Gateway::default());
        assert_eq!(environ.cookies().count(), 0);
        environ.set("HTTP_COOKIE", "a=1;b = \"q\" ;; c; =d; a=2;e==;f=%20+");
        let expected = [("a", "1"), ("b", "\"q\""), ("", "d"), ("a", "2"), ("e", "="), ("f", "%20+")];
        let cookies: Vec<_> = environ.cookies().collect();
        assert_eq!(cookies, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(environ.cookie("a").as_deref(), Some("1"));
        assert_eq!(environ.cookie("A"), None);
    }

    #[test]
    fn every_attribute_is_written_in_a_fixed_order() {
        let cookie = SetCookie::new("__Secure-id", "a=b:c")
            .same_site(SameSite::None)
            .http_only()
            .secure()
            .max_age(Duration::from_millis(90_999))
            .domain("example.org")
            .path("/a b");
        let text = "__Secure-id=a=b:c; Path=/a b; Domain=example.org; Max-Age=90; Secure; HttpOnly; SameSite=None";
        assert_eq!(cookie.build().unwrap(), text);
        assert_eq!(SetCookie::new("a", "").same_site(SameSite::Strict).build().unwrap(), "a=; SameSite=Strict");
    }

    #[test]
    fn nothing_can_be_injected_through_any_part() {
        for name in ["", "a b", "a=b", "a;", "a\r\n", "\u{e4}"] {
            assert_eq!(SetCookie::new(name, "v").build(), Err(CookieError::Name), "{name:?}");
        }
        for value in ["a b", "a;b", "a,b", "\"a\"", "a\\b", "a\r\nSet-Cookie: b=c", "\0", "\u{7f}", "\u{e4}"] {
            assert_eq!(SetCookie::new("a", value).build(), Err(CookieError::Value), "{value:?}");
        }
        for part in ["/; Domain=b", "/\r\nX: y", "/\u{e4}", "/\u{7f}"] {
            assert_eq!(SetCookie::new("a", "b").path(part).build(), Err(CookieError::Attribute), "{part:?}");
            assert_eq!(SetCookie::new("a", "b").domain(part).build(), Err(CookieError::Attribute), "{part:?}");
        }
        for path in ["", "a"] {
            assert_eq!(SetCookie::new("a", "b").path(path).build(), Err(CookieError::Attribute), "{path:?}");
        }
    }

    #[test]
    fn what_no_browser_takes_is_an_error() {
        let host = SetCookie::new("__Host-a", "b").secure().path("/");
        assert!(host.build().is_ok() && SetCookie::new("__secure-a", "b").secure().build().is_ok());
        for cookie in [
            SetCookie::new("__secure-a", "b"),
            SetCookie::new("__HOST-a", "b").path("/"),
            SetCookie::new("__Host-a", "b").secure(),
            host.clone().path("/x"),
            host.domain("example.org"),
            SetCookie::new("a", "b").same_site(SameSite::None),
        ] {
            assert_eq!(cookie.build(), Err(CookieError::Combination), "{cookie:?}");
        }
    }

    #[test]
    fn an_error_of_a_cookie_says_which_part_of_it_is_wrong() {
        for (error, part) in [
            (CookieError::Name, "name"),
            (CookieError::Value, "value"),
            (CookieError::Attribute, "path or domain"),
            (CookieError::Combination, "fit"),
        ] {
            assert!(error.to_string().contains(part), "{error:?} {error}");
        }
    }
}
