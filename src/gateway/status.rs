//! The status of a response: a code and its reason.
//!
//! PEP 3333, "The start_response() Callable"; RFC 9112 section 4. A status never holds a control character, because a CR LF
//! in it would split the response (P-SR-02: four of the five Python servers measured let it through).

use std::fmt;

use crate::cause::Cause;

/// A status code from 200 to 599, or 101, with its reason phrase.
///
/// ```
/// use doorway::{Cause, Status};
///
/// let status = Status::parse("404 Not Found").unwrap();
/// assert_eq!((status.code(), status.reason()), (404, "Not Found"));
/// assert_eq!(Status::parse("200 OK\r\nSet-Cookie: a=b"), Err(Cause::StatusInvalid));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    code: u16,
    /// Code and reason.
    text: String,
}

impl Status {
    /// Reads `"200 OK"`: three digits from 200 to 599 (or 101, for [`Body::upgrade`](crate::Body::upgrade)), one space, a reason (which may be empty) without control characters.
    ///
    /// # Errors
    /// [`Cause::StatusInvalid`] for anything else. Other codes below 200 are interim responses, which only the server sends.
    pub fn parse(text: &str) -> Result<Status, Cause> {
        let mut status = Status::default();
        status.set(text)?;
        Ok(status)
    }

    /// The same, into a status whose memory is used again.
    pub(crate) fn set(&mut self, text: &str) -> Result<(), Cause> {
        if self.text == text {
            // Most responses have the status of the one before.
            return Ok(());
        }
        let parts = text.split_at_checked(4).filter(|(_, reason)| !reason.chars().any(char::is_control));
        let (code, _) = parts.ok_or(Cause::StatusInvalid)?;
        let digits = code.strip_suffix(' ').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let code = digits.and_then(|digits| digits.parse().ok()).filter(|code| matches!(code, 101 | 200..=599));
        self.code = code.ok_or(Cause::StatusInvalid)?;
        text.clone_into(&mut self.text);
        Ok(())
    }

    /// Code and reason, as they are written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The three digits as a number.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text behind the code.
    pub fn reason(&self) -> &str {
        self.text.split_at(4).1
    }
}

/// `200 OK`.
impl Default for Status {
    fn default() -> Status {
        Status { code: 200, text: "200 OK".into() }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn p_sr_02_allows_three_digits_a_space_and_any_reason_without_controls() {
        for text in ["200 OK", "599 ", "404 Nicht gefunden: ä", "204 No  Content"] {
            let status = Status::parse(text).unwrap();
            assert_eq!(status.to_string(), text);
            assert_eq!(text.split_once(' '), Some((&*status.code().to_string(), status.reason())));
        }
    }

    #[test]
    fn p_sr_02_forbids_every_other_status() {
        let wrong = [
            "",
            "200",
            "2000 OK",
            "20 OK",
            "abc OK",
            "+20 OK",
            "199 Early",
            "100 Continue",
            "600 Far",
            "999 X",
            "200\tOK",
            "200 O\rK",
            "200 O\nK",
            "200 OK\r\nX: y",
            "200 \0",
            "200 \u{7f}",
            "200 \u{85}",
            " 200 OK",
            "２００ OK",
        ];
        for text in wrong {
            assert!(Status::parse(text).is_err(), "{text:?}");
        }
    }
}
