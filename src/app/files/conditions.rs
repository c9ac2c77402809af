//! Validators of a file, and the preconditions that a request makes on them.
//!
//! RFC 9110 sections 8.8 and 13. The entity tag is made of time and length, so it is weak: a file can change twice within the tick of a
//! clock. A weak tag never matches strongly, so If-Match is met by `*` alone and If-Range by the date, which is strong once the file has
//! not changed for two seconds (section 8.8.2.2). Pure: the time is a parameter.

use std::fs::Metadata;
use std::time::UNIX_EPOCH;

use crate::gateway::Environ;
use crate::http::date::imf_fixdate;
use crate::web::date::parse_http_date;
use crate::web::entity_tags::{matches_any, strongly, weakly};

/// What says which version of a file this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    pub(super) etag: String,
    /// In seconds since 1970, where the system knows and the year is after that.
    modified: Option<u64>,
}

impl Validators {
    /// Those of a file, or of its form in a coding.
    pub(super) fn of(metadata: &Metadata, coding: Option<&str>, now: u64) -> Validators {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let nanoseconds = since.map_or(0, |since| since.as_nanos());
        // A date in the future is replaced by that of the message (section 8.8.2.1).
        let modified = since.map(|since| since.as_secs().min(now));
        let (dash, coding) = coding.map_or(("", ""), |coding| ("-", coding));
        Validators { etag: format!("W/\"{nanoseconds:x}-{:x}{dash}{coding}\"", metadata.len()), modified }
    }

    /// The value of Last-Modified.
    pub(super) fn last_modified(&self) -> Option<[u8; 29]> {
        self.modified.map(imf_fixdate)
    }
}

/// What the preconditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The request is answered as if there were none.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client thinks.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD in the order of section 13.2.2, its first four steps.
pub(super) fn evaluate(environ: &Environ, validators: &Validators, now: u64) -> Verdict {
    let date = |name| environ.header_bytes(name).and_then(|value| parse_http_date(value, now)).zip(validators.modified);
    if let Some(tags) = environ.header_bytes("if-match") {
        if !matches_any(tags, &validators.etag, strongly) {
            return Verdict::Failed;
        }
    } else if date("if-unmodified-since").is_some_and(|(since, modified)| modified > since) {
        return Verdict::Failed;
    }
    if let Some(tags) = environ.header_bytes("if-none-match") {
        if matches_any(tags, &validators.etag, weakly) {
            return Verdict::NotModified;
        }
    } else if date("if-modified-since").is_some_and(|(since, modified)| modified <= since) {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a Range counts: the fifth step. Without If-Range it does.
pub(super) fn allows_range(environ: &Environ, validators: &Validators, now: u64) -> bool {
    let Some(value) = environ.header_bytes("if-range") else { return true };
    if value.ends_with(b"\"") {
        return strongly(value, validators.etag.as_bytes());
    }
    // Section 13.1.5: the very date, and only if it is a strong validator.
    validators
        .modified
        .is_some_and(|modified| parse_http_date(value, now) == Some(modified) && now.saturating_sub(modified) >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Gateway;

    /// 1994-11-06 08:49:37, and a time long after it.
    const MODIFIED: u64 = 784_111_777;
    const NOW: u64 = 1_700_000_000;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn environ(fields: &[(&str, &str)]) -> Environ {
        let mut environ = Environ::new(Gateway::default());
        for (name, value) in fields {
            environ.set(&format!("HTTP_{}", name.to_uppercase().replace('-', "_")), value);
        }
        environ
    }

    fn verdict(fields: &[(&str, &str)]) -> Verdict {
        let validators = Validators { etag: "W/\"a,b\"".into(), modified: Some(MODIFIED) };
        evaluate(&environ(fields), &validators, NOW)
    }

    #[test]
    fn rfc9110_13_1_each_precondition_by_itself() {
        use Verdict::{Failed, NotModified, Proceed};
        for (name, value, expected) in [
            ("If-Match", "*", Proceed),
            // The tag is weak and If-Match compares strongly.
            ("If-Match", "W/\"a,b\"", Failed),
            ("If-Match", "\"a,b\"", Failed),
            ("If-Match", "", Failed),
            ("If-Unmodified-Since", DATE, Proceed),
            ("If-Unmodified-Since", AFTER, Proceed),
            ("If-Unmodified-Since", BEFORE, Failed),
            ("If-Unmodified-Since", "yesterday", Proceed),
            ("If-None-Match", "*", NotModified),
            ("If-None-Match", "\"a,b\"", NotModified),
            ("If-None-Match", "W/\"a,b\"", NotModified),
            ("If-None-Match", "\"x\", W/\"y\" ,\t,W/\"a,b\"", NotModified),
            ("If-None-Match", "\"a\", \"b\"", Proceed),
            ("If-None-Match", "a,b", Proceed),
            ("If-None-Match", "\"a,b", Proceed),
            ("If-None-Match", "w/\"a,b\"", Proceed),
            ("If-None-Match", "\"x\" \"a,b\"", Proceed),
            ("If-None-Match", "", Proceed),
            ("If-Modified-Since", DATE, NotModified),
            ("If-Modified-Since", AFTER, NotModified),
            ("If-Modified-Since", BEFORE, Proceed),
            ("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
            ("If-Modified-Since", "yesterday", Proceed),
        ] {
            assert_eq!(verdict(&[(name, value)]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn rfc9110_13_2_2_the_order_of_precedence() {
        use Verdict::{Failed, NotModified, Proceed};
        for (fields, expected) in [
            // A tag that matches or not decides, and the date beside it is not looked at.
            ([("If-Match", "*"), ("If-Unmodified-Since", BEFORE)], Proceed),
            ([("If-Match", "\"x\""), ("If-Unmodified-Since", AFTER)], Failed),
            ([("If-None-Match", "\"x\""), ("If-Modified-Since", AFTER)], Proceed),
            ([("If-None-Match", "\"a,b\""), ("If-Modified-Since", BEFORE)], NotModified),
            // What fails fails before anything is found unchanged.
            ([("If-Match", "\"x\""), ("If-None-Match", "\"a,b\"")], Failed),
            ([("If-Match", "*"), ("If-None-Match", "\"a,b\"")], NotModified),
            ([("If-Unmodified-Since", BEFORE), ("If-Modified-Since", AFTER)], Failed),
            ([("If-Unmodified-Since", AFTER), ("If-Modified-Since", AFTER)], NotModified),
        ] {
            assert_eq!(verdict(&fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn rfc9110_13_1_5_if_range_is_met_by_the_very_date_of_an_old_file_alone() {
        let allows = |value: &str, now: u64| {
            let validators = Validators { etag: "W/\"a\"".into(), modified: Some(MODIFIED) };
            allows_range(&environ(&[("If-Range", value)]), &validators, now)
        };
        assert!(allows(DATE, NOW) && allows(DATE, MODIFIED + 2));
        assert!(!allows(DATE, MODIFIED + 1), "the file may change again within the second");
        for value in [BEFORE, AFTER, "W/\"a\"", "\"a\"", "*", "", "yesterday"] {
            assert!(!allows(value, NOW), "{value}");
        }
        assert!(allows_range(&environ(&[]), &Validators { etag: String::new(), modified: None }, NOW));
    }

    #[test]
    fn rfc9110_8_8_2_1_a_file_from_the_future_was_modified_now() {
        let metadata = std::fs::metadata("Cargo.toml").unwrap();
        let validators = Validators::of(&metadata, None, MODIFIED);
        assert_eq!(validators.last_modified().unwrap().escape_ascii().to_string(), DATE);
        assert!(validators.etag.starts_with("W/\"") && validators.etag.ends_with(&format!("-{:x}\"", metadata.len())));
    }
}
