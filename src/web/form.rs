//! Names and values of a query string, and of a form that a browser sends: `application/x-www-form-urlencoded`.
//!
//! URL Standard, section 5.1: pairs are parted by `&`, a name ends at the first `=`, `+` is a space, the rest is
//! percent-encoding. Reading is forgiving (bad escapes stay literal, a pair without `=` has an empty value) and lazy. Forms with
//! files are read by [`multipart`](super::multipart).

use std::borrow::Cow;

use super::content::is_of_type;
use crate::gateway::{Environ, percent_decode};

/// The names and values of a form or query string as text, in order and with repeats; U+FFFD stands for bytes that are not UTF-8.
///
/// ```
/// use doorway::form_pairs;
///
/// let mut pairs = form_pairs("name=Ada+Lovelace&tag=a%26b&tag=");
/// assert_eq!(pairs.next(), Some(("name".into(), "Ada Lovelace".into())));
/// let tags: Vec<_> = pairs.filter(|(name, _)| name == "tag").map(|(_, value)| value).collect();
/// assert_eq!(tags, ["a&b", ""]);
/// ```
pub fn form_pairs<T: AsRef<[u8]> + ?Sized>(form: &T) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_bytes(form).map(|(name, value)| (text(name), text(value)))
}

/// As [`form_pairs`], byte for byte.
///
/// ```
/// let mut pairs = doorway::form_bytes("a=%FF");
/// assert_eq!(pairs.next(), Some((b"a".into(), b"\xFF".into())));
/// ```
pub fn form_bytes<T: AsRef<[u8]> + ?Sized>(form: &T) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    let pairs = form.as_ref().split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        (decoded(parts.next().unwrap_or_default()), decoded(parts.next().unwrap_or_default()))
    })
}

/// The names and values of a form that was sent, in order and with repeats: [`Environ::form`] reads it.
///
/// ```
/// # let request = doorway::testing::Request::post("/", "to=Ada&tag=a&tag=b");
/// # let environ = request.header("Content-Type", "application/x-www-form-urlencoded").environ();
/// let form = environ.form(10_000)?;
/// assert_eq!((form.get("to"), form.get("from")), (Some("Ada"), None));
/// assert_eq!(form.get_all("tag").collect::<Vec<_>>(), ["a", "b"]);
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Each field that was filled in, or left empty.
    pub pairs: Vec<(String, String)>,
}

impl Form {
    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// Every value of this name, as boxes that were ticked send them.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

impl Environ {
    /// The names and values of `QUERY_STRING`, decoded, in order and with repeats.
    ///
    /// ```
    /// let environ = doorway::testing::Request::get("/?q=a+b&page=2").environ();
    /// let pairs: Vec<_> = environ.query_pairs().collect();
    /// assert_eq!(pairs, [("q".into(), "a b".into()), ("page".into(), "2".into())]);
    /// ```
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_pairs(self.query_string())
    }

    /// The first value of this name in `QUERY_STRING`, decoded.
    ///
    /// ```
    /// let environ = doorway::testing::Request::get("/?q=a+b&q=c").environ();
    /// assert_eq!(environ.query_value("q").as_deref(), Some("a b"));
    /// assert_eq!(environ.query_value("p"), None);
    /// ```
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// Whether the content is a form that [`form_pairs`] reads: `CONTENT_TYPE` is `application/x-www-form-urlencoded`, in any case and
    /// with any parameters.
    ///
    /// ```
    /// let request = doorway::testing::Request::post("/", "a=1&b=2");
    /// let environ = request.header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8").environ();
    /// assert!(environ.is_form());
    /// ```
    pub fn is_form(&self) -> bool {
        is_of_type(self, "application/x-www-form-urlencoded")
    }
}

/// A space is sent as `+` and a `+` as `%2B`, so the plus signs go before the escapes are decoded.
fn decoded(part: &[u8]) -> Cow<'_, [u8]> {
    if !part.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(part);
    }
    let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let mut out = Vec::with_capacity(spaced.len());
    percent_decode(&spaced, &mut out);
    Cow::Owned(out)
}

fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{form_bytes, form_pairs};
    use crate::gateway::{Environ, Gateway};

    #[test]
    fn pairs_are_read_as_browsers_send_them() {
        let form = "a=1+2&b=%2B%26%3D&c&&=x&d=e=f&g=%zz&h=%ff&a=%C3%A4&";
        let expected = [
            ("a", "1 2"),
            ("b", "+&="),
            ("c", ""),
            ("", "x"),
            ("d", "e=f"),
            ("g", "%zz"),
            ("h", "\u{FFFD}"),
            ("a", "\u{e4}"),
        ];
        let pairs: Vec<_> = form_pairs(form).collect();
        assert_eq!(pairs, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(form_pairs("").count(), 0);
        // No decoded `&` or `=` parts a pair again, and `;` parts none.
        assert_eq!(form_pairs("a%3Db=c%26d;e").collect::<Vec<_>>(), [("a=b".into(), "c&d;e".into())]);
    }

    #[test]
    fn what_needs_no_decoding_is_borrowed() {
        assert!(matches!(form_bytes(b"a=b").next(), Some((Cow::Borrowed(b"a"), Cow::Borrowed(b"b")))));
        assert!(matches!(form_bytes(b"a=%41").next(), Some((Cow::Borrowed(b"a"), Cow::Owned(_)))));
    }

    #[test]
    fn the_query_of_an_environ_is_read_in_order_and_a_value_is_the_first_of_its_name() {
        let mut environ = Environ::new(Gateway::default());
        assert_eq!((environ.query_pairs().count(), environ.query_value("")), (0, None));
        environ.set("QUERY_STRING", "p=0&q=a+b&Q=d&q=c&%C3%A4=%2B");
        let pairs: Vec<_> = environ.query_pairs().collect();
        let expected = [("p", "0"), ("q", "a b"), ("Q", "d"), ("q", "c"), ("\u{e4}", "+")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.into(), value.into())));
        for (name, expected) in [("q", Some("a b")), ("Q", Some("d")), ("\u{e4}", Some("+")), ("r", None)] {
            assert_eq!(environ.query_value(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn rfc9110_8_3_1_a_form_is_known_by_its_media_type_in_any_case_and_with_any_parameters() {
        let mut environ = Environ::new(Gateway::default());
        assert!(!environ.is_form());
        for (content_type, expected) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-URLencoded ; charset=utf-8;x=y", true),
            ("", false),
            ("text/plain", false),
            ("text/plain; application/x-www-form-urlencoded", false),
            ("application/x-www-form-urlencoded-not", false),
            ("multipart/form-data; boundary=x", false),
        ] {
            environ.set("CONTENT_TYPE", content_type);
            assert_eq!(environ.is_form(), expected, "{content_type}");
        }
    }
}
