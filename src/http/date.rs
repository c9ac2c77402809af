//! Dates as HTTP writes them, from and to seconds since 1970.
//!
//! RFC 9110 section 5.6.7. All three forms are read, IMF-fixdate alone is written. Invariants: pure functions of numbers,
//! no clock, no time zone but GMT, no leap seconds (second 60 is read as the first of the next minute); years 1970 to 9999.
//! A day name must be one, but not the right one: a recipient has no use for it, and two-digit years make it ambiguous.

/// The last second that has a date here: 9999-12-31 23:59:59.
pub const MAX_SECONDS: u64 = 253_402_300_799;

const DAY: u64 = 86_400;
const DAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const LONG_DAYS: [&[u8]; 7] = [
    b"Sunday",
    b"Monday",
    b"Tuesday",
    b"Wednesday",
    b"Thursday",
    b"Friday",
    b"Saturday",
];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

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
        MONTHS
            .get(usize::from(self.month).wrapping_sub(1))
            .unwrap_or(&MONTHS[0])
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
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
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

/// Seconds since 1970 of a date that exists, or `None`. The inverse of [`civil`].
fn seconds_of(year: u64, month: u64, day: u64, (hour, minute, second): (u64, u64, u64)) -> Option<u64> {
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
    let (year, month_from_march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
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
    parse_imf_fixdate(text)
        .or_else(|| parse_rfc850(text, now))
        .or_else(|| parse_asctime(text))
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
    let rest = LONG_DAYS
        .iter()
        .find_map(|name| text.strip_prefix(*name))?
        .strip_prefix(b", ")?;
    let (day, rest) = digits::<2>(rest)?;
    let (month, rest) = month(rest.strip_prefix(b"-")?)?;
    let (year, rest) = digits::<2>(rest.strip_prefix(b"-")?)?;
    let (time, rest) = time_of_day(rest.strip_prefix(b" ")?)?;
    if rest != b" GMT" {
        return None;
    }
    // RFC 9110 section 5.6.7: what appears to be more than 50 years ahead is the most recent past year with these digits.
    let today = civil(now);
    let this_year = u64::from(today.year);
    let year = this_year - this_year % 100 + year;
    let year = if year + 50 < this_year { year + 100 } else { year };
    let ahead = seconds_of(year, month, day, time).or_else(|| seconds_of(year, month, day.min(28), time))?;
    let (hour, minute, second) = (today.hour.into(), today.minute.into(), today.second.into());
    let limit = seconds_of(
        this_year + 50,
        today.month.into(),
        today.day.min(28).into(),
        (hour, minute, second),
    );
    let year = if limit.is_some_and(|limit| ahead > limit) {
        year - 100
    } else {
        year
    };
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
fn time_of_day(text: &[u8]) -> Option<((u64, u64, u64), &[u8])> {
    let (hour, rest) = digits::<2>(text)?;
    let (minute, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    let (second, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    Some(((hour, minute, second), rest))
}
