//! Dates as HTTP writes them, from and to seconds since 1970.
//!
//! RFC 9110 section 5.6.7. All three forms are read, IMF-fixdate alone is written. Invariants: pure functions of numbers,
//! no clock, no time zone but GMT, no leap seconds (second 60 is read as the first of the next minute); years 1970 to 9999.
//! A day name must be one, but not the right one: a recipient has no use for it, and two-digit years make it ambiguous.

/// The last second that has a date here: 9999-12-31 23:59:59.
pub const MAX_SECONDS: u64 = 253_402_300_799;

const DAY: u64 = 86_400;
/// Fifty years have 12 or 13 leap days.
const FIFTY_YEARS: u64 = (50 * 365 + 13) * DAY;
const DAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const LONG_DAYS: [&[u8]; 7] = [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A second of the calendar, in GMT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// 1970 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 (Sunday) to 6.
    pub weekday: u8,
}

impl Civil {
    /// The month's three letters, as in `Nov`.
    pub fn month_name(&self) -> &'static [u8; 3] {
        MONTHS.get(usize::from(self.month).wrapping_sub(1)).unwrap_or(&MONTHS[0])
    }

    /// The day's three letters, as in `Sun`.
    pub fn day_name(&self) -> &'static [u8; 3] {
        DAYS.get(usize::from(self.weekday)).unwrap_or(&DAYS[0])
    }
}

/// The calendar second of a number of seconds since 1970; later ones than [`MAX_SECONDS`] count as that.
///
/// ```
/// let civil = doorway::http::date::civil(784_111_777);
/// assert_eq!((civil.year, civil.month, civil.day, civil.hour, civil.weekday), (1994, 11, 6, 8, 0));
/// ```
pub const fn civil(seconds: u64) -> Civil {
    let seconds = if seconds > MAX_SECONDS { MAX_SECONDS } else { seconds };
    let (days, second) = (seconds / DAY, seconds % DAY);
    // The year is counted from 1 March, so that a leap day comes last, and in eras of 400 years (146,097 days), which
    // are all alike. 719,468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, five months have 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + (month <= 2) as u64;
    // Every value below is in the small range that the fields of Civil name.
    Civil {
        year: year as u16,
        month: month as u8,
        day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
        hour: (second / 3_600) as u8,
        minute: (second / 60 % 60) as u8,
        second: (second % 60) as u8,
        // 1970-01-01 was a Thursday.
        weekday: ((days + 4) % 7) as u8,
    }
}

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

/// The date as `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// ```
/// assert_eq!(&doorway::http::date::imf_fixdate(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
// IMF-fixdate = day-name "," SP date1 SP time-of-day SP GMT
// date1       = day SP month SP year
pub fn imf_fixdate(seconds: u64) -> [u8; 29] {
    let civil = civil(seconds);
    let [day_1, day_2, day_3] = *civil.day_name();
    let [month_1, month_2, month_3] = *civil.month_name();
    let (century, year) = ((civil.year / 100) as u8, (civil.year % 100) as u8);
    let [[c1, c2], [y1, y2], [d1, d2]] = [century, year, civil.day].map(two_digits);
    let [[h1, h2], [m1, m2], [s1, s2]] = [civil.hour, civil.minute, civil.second].map(two_digits);
    [
        day_1, day_2, day_3, b',', b' ', d1, d2, b' ', month_1, month_2, month_3, b' ', c1, c2, y1, y2, b' ', h1, h2,
        b':', m1, m2, b':', s1, s2, b' ', b'G', b'M', b'T',
    ]
}

fn two_digits(value: u8) -> [u8; 2] {
    [b'0' + value / 10 % 10, b'0' + value % 10]
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

    const NOW: u64 = 1_700_000_000; // 2023-11-14 22:13:20

    #[test]
    fn rfc9110_5_6_7_known_dates_are_written_and_read() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_078_012_800, "Sun, 29 Feb 2004 00:00:00 GMT"),
            (1_234_567_890, "Fri, 13 Feb 2009 23:31:30 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (MAX_SECONDS, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(imf_fixdate(seconds).escape_ascii().to_string(), text);
            assert_eq!(parse_http_date(text.as_bytes(), NOW), Some(seconds), "{text}");
        }
        assert_eq!(imf_fixdate(u64::MAX), imf_fixdate(MAX_SECONDS));
    }

    #[test]
    fn random_seconds_come_back_from_all_three_forms() {
        let mut random = crate::http::proof::Random(11);
        for _ in 0..20_000 {
            let seconds = random.next() % (MAX_SECONDS + 1);
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
            let now = seconds.saturating_sub(random.next() % (49 * 365 * DAY));
            assert_eq!(parse_http_date(rfc850.as_bytes(), now), Some(seconds), "{rfc850} from {now}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil(0);
        for day in 1..=(MAX_SECONDS / DAY) {
            let now = civil(day * DAY);
            assert_eq!(u32::from(now.weekday), (u32::from(before.weekday) + 1) % 7);
            let next_day = (now.year, now.month, now.day) == (before.year, before.month, before.day + 1);
            let next_month = (now.year, now.month, now.day) == (before.year, before.month + 1, 1);
            let next_year = (now.year, now.month, now.day) == (before.year + 1, 1, 1) && before.month == 12;
            assert!(next_day || (next_month && before.day >= 28) || next_year, "{before:?} {now:?}");
            before = now;
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
