//! Validators of a file, and the preconditions that a request makes on them.
//!
//! RFC 9110 sections 8.8 and 13. The entity tag is made of everything that the system says when a file is another one: its times to the
//! nanosecond, its length, and on Unix the file itself and the time of its last change, which nobody can set. So two files of one date and one
//! length (`SOURCE_DATE_EPOCH`, `tar -x`, `cp -p`) have two tags. A file can change twice within the tick of a clock: the tag is weak until
//! it has been still for [`STILL`], and strong from then on, so that a download goes on and a film is played from its middle.
//!
//! A date says much less. If-Modified-Since is met by a date later than the second of the last change alone, and If-Range by the date of a
//! file that was not touched since (section 8.8.2.2). Pure: the time is a parameter.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::gateway::Environ;
use crate::http::date::imf_fixdate;
use crate::web::date::parse_http_date;
use crate::web::entity_tags::{matches_any, strongly, weakly};

/// How long a file must not have changed before its tag is strong: longer than the tick of any file system (FAT: 2 s).
const STILL: Duration = Duration::from_secs(2);

/// What says which version of a file this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    pub(super) etag: String,
    /// Since 1970, where the system knows and the year is after that; of content.
    modified: Option<Duration>,
    /// When anything about the file last changed: its content, its date, its name.
    changed: Option<Duration>,
    /// Whether it has not for long enough.
    is_still: bool,
}

impl Validators {
    /// Those of a file, or of its form in a coding.
    pub(super) fn of(metadata: &Metadata, coding: Option<&str>, now: SystemTime) -> Validators {
        let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
        let now = since_1970(now).unwrap_or_default();
        let (modified, identity) = (metadata.modified().ok().and_then(since_1970), identity(metadata));
        let changed = identity.map(|(_, changed)| changed).or(modified);
        // A hash, because the number of a file says more about a machine than its clients have to know (CVE-2003-1418). Its keys are fixed.
        let mut hasher = DefaultHasher::new();
        (modified, identity).hash(&mut hasher);
        let is_still = changed.and_then(|changed| now.checked_sub(changed)).is_some_and(|quiet| quiet >= STILL);
        let weak = if is_still { "" } else { "W/" };
        let (dash, coding) = coding.map_or(("", ""), |coding| ("-", coding));
        Validators {
            etag: format!("{weak}\"{:016x}-{:x}{dash}{coding}\"", hasher.finish(), metadata.len()),
            // A date in the future is replaced by that of the message (section 8.8.2.1).
            modified: modified.map(|modified| modified.min(now)),
            changed,
            is_still,
        }
    }

    /// The value of Last-Modified.
    pub(super) fn last_modified(&self) -> Option<[u8; 29]> {
        self.modified.map(|modified| imf_fixdate(modified.as_secs()))
    }
}

/// Which file it is, and when anything about it last changed. A date can be put back (`touch -d`), this time cannot.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<((u64, u64), Duration)> {
    use std::os::unix::fs::MetadataExt;
    let seconds = u64::try_from(metadata.ctime()).ok()?;
    let changed = Duration::new(seconds, u32::try_from(metadata.ctime_nsec()).ok()?);
    Some(((metadata.dev(), metadata.ino()), changed))
}

/// Which file it is, and when anything about it last changed: std does not know.
#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> Option<((u64, u64), Duration)> {
    None
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
pub(super) fn evaluate(environ: &Environ, validators: &Validators, now: SystemTime) -> Verdict {
    let date = |name, of: Option<Duration>| {
        let date = environ.header_bytes(name).and_then(|value| parse_http_date(value, seconds(now)));
        date.zip(of.map(|of| of.as_secs()))
    };
    if let Some(tags) = environ.header_bytes("if-match") {
        if !matches_any(tags, &validators.etag, strongly) {
            return Verdict::Failed;
        }
    } else if date("if-unmodified-since", validators.modified).is_some_and(|(since, modified)| modified > since) {
        return Verdict::Failed;
    }
    if let Some(tags) = environ.header_bytes("if-none-match") {
        if matches_any(tags, &validators.etag, weakly) {
            return Verdict::NotModified;
        }
    // Not in the very second of the change: it may have changed again before that second was over, and other files may bear its date.
    } else if date("if-modified-since", validators.changed.max(validators.modified))
        .is_some_and(|(since, changed)| changed < since)
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a Range counts: the fifth step. Without If-Range it does.
pub(super) fn allows_range(environ: &Environ, validators: &Validators, now: SystemTime) -> bool {
    let Some(value) = environ.header_bytes("if-range") else { return true };
    if value.ends_with(b"\"") {
        return strongly(value, validators.etag.as_bytes());
    }
    // Section 13.1.5: the very date, and only if it is a strong validator, which the date of a file that was given one later is not.
    let modified = validators.modified.filter(|modified| {
        validators.is_still && validators.changed.is_some_and(|changed| changed.as_secs() == modified.as_secs())
    });
    modified.is_some_and(|modified| parse_http_date(value, seconds(now)) == Some(modified.as_secs()))
}

/// A time in seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Gateway;

    /// 1994-11-06 08:49:37.
    const MODIFIED: Duration = Duration::from_secs(784_111_777);
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    /// A time long after it.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn environ(fields: &[(&str, &str)]) -> Environ {
        let mut environ = Environ::new(Gateway::default());
        for (name, value) in fields {
            environ.set(&format!("HTTP_{}", name.to_uppercase().replace('-', "_")), value);
        }
        environ
    }

    fn validators(etag: &str, changed: Duration) -> Validators {
        let is_still = !etag.starts_with("W/");
        Validators { etag: etag.into(), modified: Some(MODIFIED), changed: Some(changed), is_still }
    }

    fn verdict(etag: &str, fields: &[(&str, &str)]) -> Verdict {
        evaluate(&environ(fields), &validators(etag, MODIFIED), now())
    }

    #[test]
    fn rfc9110_13_1_each_precondition_by_itself() {
        use Verdict::{Failed, NotModified, Proceed};
        for (name, value, of_a_still_file, of_a_fresh_one) in [
            ("If-Match", "*", Proceed, Proceed),
            // If-Match compares strongly.
            ("If-Match", "W/\"a,b\"", Failed, Failed),
            ("If-Match", "\"a,b\"", Proceed, Failed),
            ("If-Match", "\"x\", \"a,b\"", Proceed, Failed),
            ("If-Match", "", Failed, Failed),
            ("If-Unmodified-Since", DATE, Proceed, Proceed),
            ("If-Unmodified-Since", AFTER, Proceed, Proceed),
            ("If-Unmodified-Since", BEFORE, Failed, Failed),
            ("If-Unmodified-Since", "yesterday", Proceed, Proceed),
            ("If-None-Match", "*", NotModified, NotModified),
            ("If-None-Match", "\"a,b\"", NotModified, NotModified),
            ("If-None-Match", "W/\"a,b\"", NotModified, NotModified),
            ("If-None-Match", "\"x\", W/\"y\" ,\t,W/\"a,b\"", NotModified, NotModified),
            ("If-None-Match", "\"a\", \"b\"", Proceed, Proceed),
            ("If-None-Match", "a,b", Proceed, Proceed),
            ("If-None-Match", "\"a,b", Proceed, Proceed),
            ("If-None-Match", "w/\"a,b\"", Proceed, Proceed),
            ("If-None-Match", "\"x\" \"a,b\"", Proceed, Proceed),
            ("If-None-Match", "", Proceed, Proceed),
            ("If-Modified-Since", AFTER, NotModified, NotModified),
            ("If-Modified-Since", DATE, Proceed, Proceed),
            ("If-Modified-Since", BEFORE, Proceed, Proceed),
            ("If-Modified-Since", "Sunday, 06-Nov-94 08:49:38 GMT", NotModified, NotModified),
            ("If-Modified-Since", "yesterday", Proceed, Proceed),
        ] {
            assert_eq!(verdict("\"a,b\"", &[(name, value)]), of_a_still_file, "{name}: {value}");
            assert_eq!(verdict("W/\"a,b\"", &[(name, value)]), of_a_fresh_one, "{name}: {value}");
        }
    }

    #[test]
    fn rfc9110_13_1_3_a_date_that_was_put_back_says_nothing_about_what_changed_later() {
        let ask = |changed| evaluate(&environ(&[("If-Modified-Since", AFTER)]), &validators("\"a\"", changed), now());
        assert_eq!(ask(MODIFIED), Verdict::NotModified);
        // `cp -p` of a file of the same date, in that second and years later.
        assert_eq!(ask(MODIFIED + Duration::from_secs(1)), Verdict::Proceed);
        assert_eq!(ask(MODIFIED * 2), Verdict::Proceed);
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
            ([("If-Match", "\"a,b\""), ("If-None-Match", "\"a,b\"")], NotModified),
            ([("If-Unmodified-Since", BEFORE), ("If-Modified-Since", AFTER)], Failed),
            ([("If-Unmodified-Since", AFTER), ("If-Modified-Since", AFTER)], NotModified),
        ] {
            assert_eq!(verdict("\"a,b\"", &fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn rfc9110_13_1_5_if_range_is_met_by_a_strong_tag_or_the_very_date_of_a_file_that_was_not_touched_since() {
        let allows =
            |value: &str, validators: &Validators| allows_range(&environ(&[("If-Range", value)]), validators, now());
        let still = validators("\"a\"", MODIFIED + Duration::from_millis(20));
        assert!(allows(DATE, &still) && allows("\"a\"", &still));
        for value in [BEFORE, AFTER, "W/\"a\"", "\"b\"", "*", "", "yesterday"] {
            assert!(!allows(value, &still), "{value}");
        }
        let fresh = validators("W/\"a\"", MODIFIED);
        let dated_later = validators("\"a\"", MODIFIED + Duration::from_secs(1));
        assert!(!allows(DATE, &fresh), "the file may change again within the second");
        assert!(!allows(DATE, &dated_later), "another file may have had this date");
        assert!(!allows("W/\"a\"", &fresh) && !allows("\"a\"", &fresh));
        assert!(allows_range(&environ(&[]), &fresh, now()));
    }

    #[test]
    fn a_tag_is_strong_once_the_file_has_been_still_for_two_seconds() {
        let metadata = std::fs::metadata("Cargo.toml").unwrap();
        let changed = identity(&metadata)
            .map_or_else(|| metadata.modified().unwrap().duration_since(UNIX_EPOCH).unwrap(), |(_, changed)| changed);
        let etag = |after: Duration| Validators::of(&metadata, None, UNIX_EPOCH + changed + after).etag;
        let (weak, strong) = (etag(STILL - Duration::from_nanos(1)), etag(STILL));
        assert!(weak.starts_with("W/\"") && strong.starts_with('"'), "{weak} {strong}");
        // One version has one opaque tag, so that who has got the weak one hears 304.
        assert_eq!(weak.strip_prefix("W/"), Some(&*strong));
        assert!(strong.ends_with(&format!("-{:x}\"", metadata.len())));
        let before_the_change = Validators::of(&metadata, None, UNIX_EPOCH + changed - Duration::from_secs(60));
        assert!(before_the_change.etag.starts_with("W/"), "a clock that runs behind that of the disk");
    }

    #[test]
    fn rfc9110_8_8_2_1_a_file_from_the_future_was_modified_now() {
        let metadata = std::fs::metadata("Cargo.toml").unwrap();
        let validators = Validators::of(&metadata, None, UNIX_EPOCH + MODIFIED);
        assert_eq!(validators.last_modified().unwrap().escape_ascii().to_string(), DATE);
    }
}
