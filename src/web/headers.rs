//! What `wsgiref.headers` can do with the fields of a response beyond what a server needs: parameters, defaults, a head as text.
//!
//! Everything here goes through the public interface of [`Headers`]. Against `wsgiref`: names of parameters are left as they are,
//! because in Rust they can hold a hyphen.

use std::borrow::Cow;
use std::fmt;

use crate::gateway::Headers;

impl Headers {
    /// Appends a field with parameters behind its value, `; name="value"`, quoted and escaped as RFC 9110 section 5.6.6 asks. A
    /// parameter without a value stands bare, and an empty `value` is left out.
    ///
    /// ```
    /// use doorway::Headers;
    ///
    /// let mut headers = Headers::new();
    /// headers.add_header("Content-Disposition", "attachment", &[("filename", Some("the \"bud\".gif"))]);
    /// headers.add_header("X-Mark", "a", &[("final", None)]);
    /// assert_eq!(headers.get("content-disposition").as_deref(), Some(r#"attachment; filename="the \"bud\".gif""#));
    /// assert_eq!(headers.get("x-mark").as_deref(), Some("a; final"));
    /// ```
    pub fn add_header(&mut self, name: &str, value: &str, parameters: &[(&str, Option<&str>)]) {
        let mut whole = value.to_owned();
        for (name, value) in parameters {
            if !whole.is_empty() {
                whole.push_str("; ");
            }
            whole.push_str(name);
            if let Some(value) = value {
                whole.push_str("=\"");
                for char in value.chars() {
                    if matches!(char, '"' | '\\') {
                        whole.push('\\');
                    }
                    whole.push(char);
                }
                whole.push('"');
            }
        }
        self.add(name, whole);
    }

    /// Gives the first value of this name, after adding the field with `value` where none is there.
    ///
    /// ```
    /// let mut headers = doorway::Headers::new();
    /// assert_eq!(headers.set_default("Vary", "Accept"), "Accept");
    /// assert_eq!(headers.set_default("vary", "Cookie"), "Accept");
    /// ```
    pub fn set_default(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Cow<'_, str> {
        if !self.contains(&name) {
            self.add(&name, value);
        }
        self.get(name).unwrap_or_default()
    }

    /// The name of every field in order, repeats included.
    ///
    /// ```
    /// let headers = doorway::Headers::from(&[("A", "1"), ("b", "2"), ("a", "3")]);
    /// assert_eq!(headers.keys().collect::<Vec<_>>(), [b"A", b"b", b"a"]);
    /// assert_eq!(headers.values().collect::<Vec<_>>(), [b"1", b"2", b"3"]);
    /// ```
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.iter().map(|(name, _)| name)
    }

    /// The value of every field in order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.iter().map(|(_, value)| value)
    }

    /// The fields as they stand in a head: a line each, and the empty line that ends it.
    ///
    /// ```
    /// let headers = doorway::Headers::from(&[("ETag", "\"1\""), ("Vary", "Accept")]);
    /// assert_eq!(headers.to_bytes(), b"ETag: \"1\"\r\nVary: Accept\r\n\r\n");
    /// assert_eq!(headers.to_string().as_bytes(), headers.to_bytes());
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = Vec::new();
        for (name, value) in self.iter() {
            for part in [name, b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// As [`Headers::to_bytes`], with U+FFFD for bytes that are not UTF-8.
impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}
