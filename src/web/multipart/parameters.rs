//! A field with parameters behind its value, as multipart content uses them: `form-data; name="a"; filename="b"`.
//!
//! RFC 9110 section 5.6.6, RFC 7578 section 4.2, RFC 8187 for names that end in `*`. Between quotes a backslash escapes a quote or a backslash and nothing else: some
//! browsers send Windows paths as they are. Two parameters of one name could be read in two ways, so such a field is none.

use crate::gateway::percent_decode;
use crate::http::scan::{is_token, trim_ows};

/// So many parameters a field may have: each is compared with all before it.
const MOST: usize = 16;

pub(super) struct Parameters<'field> {
    /// What stands before the first parameter.
    pub(super) value: &'field [u8],
    pairs: Vec<(&'field [u8], Vec<u8>)>,
}

impl<'field> Parameters<'field> {
    /// `None` for what breaks the grammar.
    pub(super) fn of(field: &'field [u8]) -> Option<Parameters<'field>> {
        let (value, mut rest) = until_semicolon(field);
        let mut parameters = Parameters { value, pairs: Vec::new() };
        while let Some(text) = rest.strip_prefix(b";") {
            let text = trim_ows(text);
            if text.is_empty() {
                break;
            }
            let equals = text.iter().position(|byte| *byte == b'=')?;
            let (name, behind) = text.split_at_checked(equals)?;
            let behind = behind.strip_prefix(b"=")?;
            let (value, left) = match behind.strip_prefix(b"\"") {
                Some(quoted) => unquoted(quoted)?,
                None => {
                    let (value, left) = until_semicolon(behind);
                    // Of the characters of a boundary some may stand in no token, and mail libraries write them without quotes.
                    let is_boundary = name.eq_ignore_ascii_case(b"boundary") && !value.contains(&b'"');
                    (is_token(value) || is_boundary).then(|| (value.to_vec(), left))?
                }
            };
            let is_second = parameters.pairs.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
            if !is_token(name) || is_second || parameters.pairs.len() == MOST {
                return None;
            }
            parameters.pairs.push((name, value));
            rest = trim_ows(left);
        }
        (rest.is_empty() || rest == b";").then_some(parameters)
    }

    /// The value of a parameter, by its name in any case.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let pair = self.pairs.iter().find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        pair.map(|(_, value)| &value[..])
    }

    /// The value of a parameter as text: that of `name*`, which says its encoding, or else that of `name`.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let extended = self.get(&format!("{name}*")).and_then(decoded);
        extended.or_else(|| self.get(name).map(|value| String::from_utf8_lossy(value).into_owned()))
    }
}

fn until_semicolon(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end).unwrap_or((text, b""));
    (value.trim_ascii_end(), rest)
}

/// The text up to the closing quote, and what stands behind it.
fn unquoted(quoted: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut text, mut rest) = (Vec::new(), quoted);
    loop {
        match rest {
            [b'"', behind @ ..] => return Some((text, behind)),
            [b'\\', byte @ (b'"' | b'\\'), behind @ ..] | [byte, behind @ ..] => {
                text.push(*byte);
                rest = behind;
            }
            [] => return None,
        }
    }
}

/// ```text
/// ext-value = charset "'" [ language ] "'" value-chars     ; RFC 8187 section 3.2.1
/// ```
fn decoded(extended: &[u8]) -> Option<String> {
    let mut parts = extended.splitn(3, |byte| *byte == b'\'');
    let (charset, _language, value) = (parts.next()?, parts.next()?, parts.next()?);
    let mut bytes = Vec::new();
    percent_decode(value, &mut bytes);
    if charset.eq_ignore_ascii_case(b"UTF-8") {
        return Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    charset.eq_ignore_ascii_case(b"ISO-8859-1").then(|| bytes.into_iter().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use super::Parameters;

    fn text(field: &str, name: &str) -> Option<String> {
        Parameters::of(field.as_bytes()).and_then(|parameters| parameters.text(name))
    }

    #[test]
    fn rfc9110_5_6_6_parameters_are_read_with_quotes_and_without() {
        for (field, expected) in [
            ("form-data; name=a", Some("a")),
            ("form-data;name=\"a\"", Some("a")),
            ("form-data ; NAME = a", None),
            ("form-data; NAME=a ;", Some("a")),
            ("form-data; name=a b", None),
            ("form-data; name=a:b", None),
            ("form-data; x=\"name=b\"; name=\"a\"", Some("a")),
            ("form-data; name=\"a;b\"; x=y", Some("a;b")),
            ("form-data; name=\"a\\\"b\\\\c\"", Some("a\"b\\c")),
            ("form-data; name=\"C:\\dir\\new.txt\"", Some("C:\\dir\\new.txt")),
            ("form-data; name=\"\"", Some("")),
            ("form-data", None),
            ("form-data; name=\"a", None),
            ("form-data; name=\"a\"b", None),
            ("form-data; name", None),
            ("form-data; name=a; name=b", None),
            ("form-data; name=a; Name=b", None),
            ("form-data; na me=a", None),
            ("form-data; =a", None),
            ("form-data; name=", None),
            ("form-data; name= a", None),
            ("form-data; name =a", None),
            ("form-data; name= \"a\"", None),
            ("form-data; name=a\"b", None),
        ] {
            assert_eq!(text(field, "name").as_deref(), expected, "{field}");
        }
    }

    #[test]
    fn a_field_has_as_many_parameters_as_anybody_sends_and_no_more() {
        let many = |count| (0..count).map(|number| format!("; n{number}=a")).collect::<String>();
        assert_eq!(text(&format!("form-data{}", many(16)), "n15").as_deref(), Some("a"));
        assert_eq!(text(&format!("form-data{}", many(17)), "n0"), None);
    }

    #[test]
    fn rfc2046_5_1_1_a_boundary_needs_no_quotes() {
        let field = "multipart/form-data; boundary=----=_Part_1/2; x=y";
        assert_eq!(text(field, "boundary").as_deref(), Some("----=_Part_1/2"));
        assert_eq!(text("multipart/form-data; boundary=a\"b", "boundary"), None);
    }

    #[test]
    fn rfc8187_3_2_a_value_that_says_its_encoding_comes_first() {
        for (field, expected) in [
            ("x; f=\"a\"; f*=UTF-8''%e2%82%ac%20rates", Some("\u{20ac} rates")),
            ("x; f*=utf-8'en'%C3%A4; f=a", Some("\u{e4}")),
            ("x; f*=iso-8859-1''%E4", Some("\u{e4}")),
            ("x; f=\"a\"; f*=KOI8-R''%E4", Some("a")),
            ("x; f=a; f*=UTF-8", Some("a")),
            ("x; f*=UTF-8''%FF", Some("\u{fffd}")),
            ("x; f=\"na\u{ef}ve%22.txt\"", Some("na\u{ef}ve%22.txt")),
        ] {
            assert_eq!(text(field, "f").as_deref(), expected, "{field}");
        }
    }
}
