//! Response fields: an ordered multimap that compares names without case.
//!
//! PEP 3333, "The start_response() Callable"; `wsgiref.headers`. Spelling, order and repeats go out exactly as they were given
//! (P-HDR-02). What no application may send is refused by [`Headers::check`], which `start` calls. A field is kept as the line in which it is
//! sent, in one run of memory, so that fields which are cleared and filled again allocate nothing (the steady state of the server).
//!
//! Against `wsgiref`: a replaced field keeps the place of the first of its name. The rest of what `wsgiref` can do with fields is no
//! part of the contract and stands in the room `web`.

use std::borrow::Cow;
use std::fmt;

use crate::cause::Cause;
use crate::scan::{decimal, is_token, is_value};

/// The fields of a response, in the order in which they will be sent.
///
/// Names and values are bytes on the wire; [`get`](Headers::get) shows a value as text, [`iter`](Headers::iter) gives the bytes.
///
/// ```
/// use doorway::Headers;
///
/// let mut headers = Headers::from(&[("Content-Type", "text/html"), ("Set-Cookie", "a=1")]);
/// headers.add("set-cookie", "b=2");
/// assert_eq!(headers.get("CONTENT-TYPE").as_deref(), Some("text/html"));
/// assert_eq!(headers.get_all("Set-Cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
/// headers.set("Set-Cookie", "c=3");
/// assert_eq!(headers.len(), 2);
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    /// Removed and replaced fields leave their lines here until it is cleared.
    text: Vec<u8>,
    /// Where a line begins, and where its value begins and ends.
    fields: Vec<(usize, usize, usize)>,
}

/// As much memory stays for the next response.
const MAX_KEPT: usize = 16 * 1024;

impl Headers {
    /// No fields.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// Appends a field, whether or not one of this name is there.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let line = self.text.len();
        self.text.extend_from_slice(name.as_ref());
        self.text.extend_from_slice(b": ");
        let start = self.text.len();
        self.text.extend_from_slice(value.as_ref());
        self.fields.push((line, start, self.text.len()));
        self.text.extend_from_slice(b"\r\n");
    }

    /// Replaces every field of this name by one, in the place of the first; appends it when there was none.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref();
        let first = self.iter().position(|(other, _)| other.eq_ignore_ascii_case(name));
        self.remove(name);
        self.add(name, value);
        if let Some(behind) = first.and_then(|first| self.fields.get_mut(first..)) {
            behind.rotate_right(1);
        }
    }

    /// Removes every field of this name; no error when there is none.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        let text = &self.text;
        self.fields.retain(|&(line, value, _)| !part(text, line, value - 2).eq_ignore_ascii_case(name.as_ref()));
    }

    /// Whether a field of this name is there.
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.get_bytes(name).is_some()
    }

    /// The first value of this name as text; bytes that are not UTF-8 show as U+FFFD.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Cow<'_, str>> {
        self.get_bytes(name).map(String::from_utf8_lossy)
    }

    /// The first value of this name.
    pub fn get_bytes(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name.as_ref())).map(|(_, value)| value)
    }

    /// Every value of this name as text, in order.
    pub fn get_all(&self, name: impl AsRef<[u8]>) -> impl Iterator<Item = Cow<'_, str>> {
        let name = name.as_ref().to_vec();
        let of_name = self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(&name));
        of_name.map(|(_, value)| String::from_utf8_lossy(value))
    }

    /// Every field in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        let name_and_value = |&(line, value, end)| (part(&self.text, line, value - 2), part(&self.text, value, end));
        self.fields.iter().map(name_and_value)
    }

    /// Every field's name, and the line in which it is sent.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let name_and_line = |&(line, value, end)| (part(&self.text, line, value - 2), part(&self.text, line, end + 2));
        self.fields.iter().map(name_and_line)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes every field; the memory is kept.
    pub fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(MAX_KEPT);
        self.fields.clear();
    }

    /// Appends every field of `other`.
    pub fn extend(&mut self, other: &Headers) {
        // One by one: what was replaced or removed in the other is not copied.
        other.iter().for_each(|(name, value)| self.add(name, value));
    }

    /// Refuses what no application may send (P-SR-03, P-HDR-03, P-HDR-04, P-HDR-06), naming the field.
    ///
    /// # Errors
    /// The cause, and the name of the first field that is wrong.
    pub fn check(&self) -> Result<(), (Cause, String)> {
        let mut has_length = false;
        for (name, line) in self.lines() {
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            let cause = match name {
                // Most responses have this one.
                _ if name != b"Content-Type" && !is_token(name) => Cause::HeaderName,
                // What stands before the value could stand in it.
                _ if !is_value(part(line, 0, line.len() - 2)) => Cause::HeaderValue,
                _ if is_hop_by_hop(name) => Cause::HopByHop,
                // At the CGI-shaped doors this field would change the status of the response.
                _ if is(b"status") => Cause::StatusHeader,
                _ if !is(b"content-length") => continue,
                _ if std::mem::replace(&mut has_length, true) || self.content_length().is_none() => Cause::HeaderLength,
                _ => continue,
            };
            return Err((cause, String::from_utf8_lossy(name).into_owned()));
        }
        Ok(())
    }

    /// The declared Content-Length, where one is there and valid.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.get_bytes("content-length").and_then(decimal)
    }
}

fn part(text: &[u8], start: usize, end: usize) -> &[u8] {
    text.split_at(end).0.split_at(start).1
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> From<&[(N, V)]> for Headers {
    fn from(fields: &[(N, V)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.add(name, value);
        }
        headers
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const COUNT: usize> From<&[(N, V); COUNT]> for Headers {
    fn from(fields: &[(N, V); COUNT]) -> Headers {
        Headers::from(fields.as_slice())
    }
}

/// Names and values as text, with U+FFFD for bytes that are not UTF-8.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.iter().map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        f.debug_list().entries(fields).finish()
    }
}

/// Whether a field concerns one connection only and so belongs to the server (RFC 9110 section 7.6.1).
///
/// `wsgiref` lists `trailers` here, a misprint; the field is called `Trailer`.
///
/// ```
/// assert!(doorway::is_hop_by_hop("Transfer-Encoding") && !doorway::is_hop_by_hop("Content-Length"));
/// ```
pub fn is_hop_by_hop(name: impl AsRef<[u8]>) -> bool {
    let name = name.as_ref();
    HOP_BY_HOP.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

const HOP_BY_HOP: [&str; 9] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Proxy-Authenticate",
    "Proxy-Authorization",
];

#[cfg(test)]
mod tests {
    use super::{Cause, Headers};

    fn cause_of(name: &str, value: &str) -> Option<Cause> {
        Headers::from(&[(name, value)]).check().err().map(|(cause, _)| cause)
    }

    #[test]
    fn p_hdr_02_names_compare_without_case_and_keep_spelling_order_and_repeats() {
        let headers = Headers::from(&[("ETag", "\"1\""), ("x-a", "1"), ("X-A", "2")]);
        let fields: Vec<_> = headers.iter().collect();
        assert_eq!(fields, [(&b"ETag"[..], &b"\"1\""[..]), (b"x-a", b"1"), (b"X-A", b"2")]);
        assert_eq!(headers.get("etag").as_deref(), Some("\"1\""));
    }

    #[test]
    fn set_replaces_all_fields_of_the_name_in_the_place_of_the_first() {
        let mut headers = Headers::from(&[("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")]);
        headers.set("a", "9");
        let fields: Vec<_> = headers.iter().collect();
        assert_eq!(fields, [(&b"a"[..], &b"9"[..]), (b"B", b"2"), (b"C", b"4")]);
        headers.remove("b");
        headers.remove("none");
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn p_sr_03_forbids_names_that_are_no_tokens_and_values_with_controls() {
        for name in ["", "X A", "X:", "X\r\nY", "Ä", "X(", "X\0"] {
            assert_eq!(cause_of(name, "v"), Some(Cause::HeaderName), "{name:?}");
        }
        for value in ["a\rb", "a\nb", "a\r\nX: y", "\0", "\u{1}", "\u{7f}"] {
            assert_eq!(cause_of("X", value), Some(Cause::HeaderValue), "{value:?}");
        }
    }

    #[test]
    fn p_sr_03_allows_tab_and_bytes_above_127_in_values() {
        assert_eq!(cause_of("X", "a\tb ä"), None);
        assert!(Headers::from(&[(&b"X"[..], &b"\xff\x80"[..])]).check().is_ok());
    }

    #[test]
    fn p_sr_03_a_byte_of_a_value_is_judged_wherever_it_stands_in_a_short_or_a_long_one() {
        for length in 1..=40 {
            for (place, byte) in
                (0..length).flat_map(|place| [0, 8, 9, 10, 13, 31, 32, 127, 128].map(|byte| (place, byte)))
            {
                let mut value = vec![b'x'; length];
                value[place] = byte;
                let is_allowed = byte == 9 || byte >= 32 && byte != 127;
                let headers = Headers::from(&[("X", b"next".to_vec()), ("Content-Type", value)]);
                assert_eq!(headers.check().is_ok(), is_allowed, "{byte} at {place} of {length}");
            }
        }
    }

    #[test]
    fn p_hdr_03_forbids_hop_by_hop_fields() {
        for name in ["Connection", "KEEP-ALIVE", "te", "Trailer", "Transfer-Encoding", "upgrade", "Proxy-Connection"] {
            assert_eq!(cause_of(name, "x"), Some(Cause::HopByHop), "{name}");
        }
        for name in ["Trailers", "T", "Date"] {
            assert_eq!(cause_of(name, "x"), None, "{name}");
        }
    }

    #[test]
    fn p_hdr_04_forbids_a_field_called_status() {
        assert_eq!(cause_of("status", "200 OK"), Some(Cause::StatusHeader));
    }

    #[test]
    fn p_hdr_06_forbids_a_content_length_that_is_not_one_run_of_digits() {
        for value in ["", "+3", "-1", "3, 3", "0x3", " 3", "12345678901234567890"] {
            assert_eq!(cause_of("Content-Length", value), Some(Cause::HeaderLength), "{value:?}");
        }
        let twice = Headers::from(&[("Content-Length", "3"), ("content-length", "3")]);
        assert_eq!(twice.check().map_err(|(cause, _)| cause), Err(Cause::HeaderLength));
        assert_eq!(cause_of("Content-Length", "0042"), None);
    }

    #[test]
    fn p_hdr_04_06_names_as_long_as_status_and_content_length_are_names_like_any_other() {
        for name in ["Server", "Accept", "Accept-Charset", "X-Frame-Option"] {
            assert_eq!(cause_of(name, "x"), None, "{name}");
        }
    }

    #[test]
    fn p_hdr_06_a_declared_length_is_read_in_any_case_up_to_19_digits() {
        for (value, expected) in [
            ("0", Some(0)),
            ("0042", Some(42)),
            ("9999999999999999999", Some(9_999_999_999_999_999_999)),
            ("10000000000000000000", None),
            ("", None),
            ("+1", None),
            ("1, 1", None),
        ] {
            assert_eq!(Headers::from(&[("CONTENT-length", value)]).content_length(), expected, "{value}");
            assert_eq!(cause_of("CONTENT-length", value).is_none(), expected.is_some(), "{value}");
        }
        assert_eq!(Headers::from(&[("Content-Range", "1")]).content_length(), None);
    }

    #[test]
    fn headers_show_their_fields_as_text_in_debug() {
        let headers = Headers::from(&[("A", "1\"2"), ("a", "\u{e4}")]);
        assert_eq!(format!("{headers:?}"), "[(\"A\", \"1\\\"2\"), (\"a\", \"\u{e4}\")]");
    }

    #[test]
    fn a_line_is_what_a_head_has_of_its_field() {
        let mut headers = Headers::from(&[("A", "1"), ("B", "")]);
        headers.set("a", "2");
        assert_eq!(headers.lines().collect::<Vec<_>>(), [(&b"a"[..], &b"a: 2\r\n"[..]), (b"B", b"B: \r\n")]);
    }

    #[test]
    fn memory_is_used_again_does_not_grow_with_copies_and_that_of_an_unusual_response_is_given_back() {
        let mut headers = Headers::from(&[("A", "x".repeat(1_000_000))]);
        headers.clear();
        assert!(headers.text.capacity() <= super::MAX_KEPT, "{}", headers.text.capacity());
        let capacity = headers.text.capacity();
        for _ in 0..20 {
            headers.extend(&headers.clone());
            headers.remove("a");
            headers.add("a", "b");
        }
        assert!(headers.text.len() < 500 && headers.text.capacity() == capacity, "{}", headers.text.len());
    }

    #[test]
    fn extend_appends_every_field_even_of_names_that_are_there() {
        let mut headers = Headers::from(&[("A", "1")]);
        headers.extend(&Headers::from(&[("a", "2"), ("B", "")]));
        let fields: Vec<_> = headers.iter().collect();
        assert_eq!(fields, [(&b"A"[..], &b"1"[..]), (b"a", b"2"), (b"B", b"")]);
        assert!(!headers.is_empty());
        headers.clear();
        assert!(headers.is_empty());
    }
}
