//! Dates as they were received, read into seconds since 1970.
//!
//! RFC 9110 section 5.6.7: all three forms are read. Invariants as for dates that are [written](crate::http::date): no clock, no time
//! zone but GMT, years 1970 to 9999; second 60 is read as the first of the next minute. A day name must be one, but not the
//! right one: a recipient has no use for it, and two-digit years make it ambiguous.

use crate::http::date::{DAY, DAYS, MONTHS, civil};

/// Fifty years have 12 or 13 leap days.
const FIFTY_YEARS: u64 = (50 * 365 + 13) * DAY;
const LONG_DAYS: [&[u8]; 7] = [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];

/// Hour, minute, second.
type Time = (u64, u64, u64);

/// Seconds since 1970 of a date that exists, or `None`. The inverse of [`civil`].
fn seconds_of(year: u64, month: u64, day: u64, (hour, minute, second): Time) -> Option<u64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    let exists = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_in_month).contains(&day);
    if !exists || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month_from_march + 2) / 5 + day - 1 - 719_468;
    Some(days * DAY + hour * 3_600 + minute * 60 + second)
}

/// Reads a date in any of the three forms a recipient must accept; `None` for everything else, and for dates before 1970.
///
/// `now` decides what the two-digit year of the obsolete RFC 850 form means.
///
/// ```
/// use doorway::http::date::parse_http_date;
///
/// let now = 1_700_000_000;
/// assert_eq!(parse_http_date(b"Sun, 06 Nov 1994 08:49:37 GMT", now), Some(784_111_777));
/// assert_eq!(parse_http_date(b"Sunday, 06-Nov-94 08:49:37 GMT", now), Some(784_111_777));
/// assert_eq!(parse_http_date(b"Sun Nov  6 08:49:37 1994", now), Some(784_111_777));
/// ```
// HTTP-date = IMF-fixdate / obs-date
// obs-date  = rfc850-date / asctime-date
pub fn parse_http_date(text: &[u8], now: u64) -> Option<u64> {
    parse_imf_fixdate(text).or_else(|| parse_rfc850(text, now)).or_else(|| parse_asctime(text))
}

fn parse_imf_fixdate(text: &[u8]) -> Option<u64> {
    let (day_name, rest) = text.split_first_chunk::<3>()?;
    let rest = DAYS.contains(&day_name).then(|| rest.strip_prefix(b", "))??;
    let (day, rest) = digits::<2>(rest)?;
    let (month, rest) = month(rest.strip_prefix(b" ")?)?;
    let (year, rest) = digits::<4>(rest.strip_prefix(b" ")?)?;
    let (time, rest) = time_of_day(rest.strip_prefix(b" ")?)?;
    (rest == b" GMT").then(|| seconds_of(year, month, day, time))?
}

// rfc850-date = day-name-l "," SP date2 SP time-of-day SP GMT
// date2       = day "-" month "-" 2DIGIT
fn parse_rfc850(text: &[u8], now: u64) -> Option<u64> {
    let rest = LONG_DAYS.iter().find_map(|name| text.strip_prefix(*name))?.strip_prefix(b", ")?;
    let (day, rest) = digits::<2>(rest)?;
    let (month, rest) = month(rest.strip_prefix(b"-")?)?;
    let (year, rest) = digits::<2>(rest.strip_prefix(b"-")?)?;
    let (time, rest) = time_of_day(rest.strip_prefix(b" ")?)?;
    if rest != b" GMT" {
        return None;
    }
    let this_year = u64::from(civil(now).year);
    let year = this_year - this_year % 100 + year;
    let year = if year + 50 <= this_year { year + 100 } else { year };
    // RFC 9110 section 5.6.7: what appears to be more than 50 years ahead is the most recent past year with these digits.
    // The month's first day tells, since 29 February may not exist in the one year and exist in the other.
    let ahead = seconds_of(year, month, 1, time)? + (day.max(1) - 1) * DAY;
    let year = if ahead > now.saturating_add(FIFTY_YEARS) { year - 100 } else { year };
    seconds_of(year, month, day, time)
}

// asctime-date = day-name SP date3 SP time-of-day SP year
// date3        = month SP ( 2DIGIT / ( SP 1DIGIT ))
fn parse_asctime(text: &[u8]) -> Option<u64> {
    let (day_name, rest) = text.split_first_chunk::<3>()?;
    let rest = DAYS.contains(&day_name).then(|| rest.strip_prefix(b" "))??;
    let (month, rest) = month(rest)?;
    let rest = rest.strip_prefix(b" ")?;
    let (day, rest) = match rest.strip_prefix(b" ") {
        Some(rest) => digits::<1>(rest)?,
        None => digits::<2>(rest)?,
    };
    let (time, rest) = time_of_day(rest.strip_prefix(b" ")?)?;
    let (year, rest) = digits::<4>(rest.strip_prefix(b" ")?)?;
    rest.is_empty().then(|| seconds_of(year, month, day, time))?
}

fn digits<const N: usize>(text: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<N>()?;
    let value = digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit & 15));
    digits.iter().all(u8::is_ascii_digit).then_some((value, rest))
}

fn month(text: &[u8]) -> Option<(u64, &[u8])> {
    let (name, rest) = text.split_first_chunk::<3>()?;
    let (number, _) = (1..).zip(MONTHS).find(|(_, month)| *month == name)?;
    Some((number, rest))
}

// time-of-day = hour ":" minute ":" second
fn time_of_day(text: &[u8]) -> Option<(Time, &[u8])> {
    let (hour, rest) = digits::<2>(text)?;
    let (minute, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    let (second, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    Some(((hour, minute, second), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::date::{KNOWN, MAX_SECONDS, imf_fixdate};

    const NOW: u64 = 1_700_000_000; // 2023-11-14 22:13:20

    #[test]
    fn rfc9110_5_6_7_known_dates_are_read() {
        for (seconds, text) in KNOWN {
            assert_eq!(parse_http_date(text.as_bytes(), NOW), Some(seconds), "{text}");
        }
    }

    #[test]
    fn random_seconds_come_back_from_all_three_forms() {
        let mut random = 11_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for _ in 0..20_000 {
            let seconds = next() % (MAX_SECONDS + 1);
            let text = imf_fixdate(seconds);
            assert_eq!(parse_http_date(&text, NOW), Some(seconds));
            let at = civil(seconds);
            let (day, month) = (at.day_name().escape_ascii().to_string(), at.month_name().escape_ascii().to_string());
            let time = format!("{:02}:{:02}:{:02}", at.hour, at.minute, at.second);
            let asctime = format!("{day} {month} {:2} {time} {}", at.day, at.year);
            assert_eq!(parse_http_date(asctime.as_bytes(), NOW), Some(seconds), "{asctime}");
            let long = LONG_DAYS[usize::from(at.weekday)].escape_ascii();
            let rfc850 = format!("{long}, {:02}-{month}-{:02} {time} GMT", at.day, at.year % 100);
            // Seen from within 50 years, the two digits mean the year they came from.
            let now = seconds.saturating_sub(next() % (49 * 365 * DAY));
            assert_eq!(parse_http_date(rfc850.as_bytes(), now), Some(seconds), "{rfc850} from {now}");
        }
    }

    #[test]
    fn rfc9110_5_6_7_two_digit_years_more_than_50_years_ahead_lie_in_the_past() {
        let year = |digits: u32, now| {
            parse_http_date(format!("Monday, 01-Jan-{digits:02} 00:00:00 GMT").as_bytes(), now).map(|at| civil(at).year)
        };
        assert_eq!([94, 23, 24, 73].map(|digits| year(digits, NOW)), [1994, 2023, 2024, 2073].map(Some));
        assert_eq!([74, 75, 99].map(|digits| year(digits, NOW)), [1974, 1975, 1999].map(Some));
        assert_eq!(year(5, 4_000_000_000), Some(2105)); // seen from 2096
        assert_eq!(year(96, 4_107_542_400), Some(2096)); // seen from 2100
        // 29 February exists in the year that is meant or not at all.
        assert_eq!(parse_http_date(b"Monday, 29-Feb-23 00:00:00 GMT", NOW), None);
        assert!(parse_http_date(b"Monday, 29-Feb-24 00:00:00 GMT", NOW).is_some());
    }

    #[test]
    fn shapes_and_ranges_outside_the_grammar_are_no_dates() {
        for text in [
            "",
            "Sun",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 1900 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  06 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "784111777",
        ] {
            assert_eq!(parse_http_date(text.as_bytes(), NOW), None, "{text}");
        }
        assert_eq!(parse_http_date(b"Sun, 06 Nov 1994 08:49:60 GMT", NOW), Some(784_111_800));
        assert_eq!(parse_http_date(b"Mon, 06 Nov 1994 08:49:37 GMT", NOW), Some(784_111_777));
    }
}
