//! Dates as HTTP writes them, from seconds since 1970.
//!
//! RFC 9110 section 5.6.7: IMF-fixdate alone is written. Invariants: pure functions of numbers, no clock, no time zone but GMT,
//! no leap seconds; years 1970 to 9999. No server reads a date; who must finds [`parse_http_date`] here too.

// A leaf of the crate, given out here as well: the room `web` reads what no server needs to read.
pub use crate::web::date::parse_http_date;

/// The last second that has a date here: 9999-12-31 23:59:59.
pub const MAX_SECONDS: u64 = 253_402_300_799;

pub(crate) const DAY: u64 = 86_400;
pub(crate) const DAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
pub(crate) const MONTHS: [&[u8; 3]; 12] =
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

/// Dates that others have computed, for tests.
#[cfg(test)]
pub(crate) const KNOWN: [(u64, &str); 10] = [
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_5_6_7_known_dates_are_written() {
        for (seconds, text) in KNOWN {
            assert_eq!(imf_fixdate(seconds).escape_ascii().to_string(), text);
        }
        assert_eq!(imf_fixdate(u64::MAX), imf_fixdate(MAX_SECONDS));
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
}
