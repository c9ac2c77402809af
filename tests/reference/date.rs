//! Dates (RFC 9110 section 5.6.7), by counting days one year and one month after the other.

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Year, month, day, hour, minute, second.
pub type Moment = (u64, u64, u64, u64, u64, u64);

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 => 29,
        2 => 28,
        _ => 31,
    }
}

/// The calendar time of a number of seconds since 1970.
pub fn moment(seconds: u64) -> Moment {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut month) = (1970, 1);
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    (year, month, days + 1, second / 3600, second / 60 % 60, second % 60)
}

/// Seconds since 1970 of a moment that exists.
pub fn seconds((year, month, day, hour, minute, second): Moment) -> Option<u64> {
    let exists = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    // A leap second has no number of its own.
    if !exists || day == 0 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let whole_months = (1970..year).flat_map(|year| (1..=12).map(move |month| (year, month)));
    let months = whole_months.chain((1..month).map(|month| (year, month)));
    let days: u64 = months.map(|(year, month)| days_in(year, month)).sum();
    Some((days + day - 1) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The three forms of a date: IMF-fixdate, RFC 850, asctime.
pub fn write(at: u64, form: usize) -> String {
    let (year, month, day, hour, minute, second) = moment(at);
    // 1970-01-01 was a Thursday.
    let day_name = DAYS[((at / 86_400 + 3) % 7) as usize];
    let month_name = MONTHS[month as usize - 1];
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    match form {
        0 => format!("{}, {day:02} {month_name} {year:04} {time} GMT", &day_name[..3]),
        1 => format!("{day_name}, {day:02}-{month_name}-{:02} {time} GMT", year % 100),
        _ => format!("{} {month_name} {day:2} {time} {year:04}", &day_name[..3]),
    }
}

/// Reads a date; the second value says that a two-digit year lies so near to 50 years ahead that one may quarrel about it.
pub fn read(text: &[u8], now: u64) -> (Option<u64>, bool) {
    let Ok(text) = std::str::from_utf8(text) else {
        return (None, false);
    };
    if !text.is_ascii() {
        return (None, false);
    }
    for form in ["Www, DD Mmm YYYY hh:mm:ss GMT", "Www Mmm _D hh:mm:ss YYYY", "Www Mmm DD hh:mm:ss YYYY"] {
        if let Some(moment) = fits(text, form) {
            return (seconds(moment), false);
        }
    }
    for day in DAYS {
        if let Some(rest) = text.strip_prefix(day) {
            if let Some(moment) = fits(rest, ", DD-Mmm-YY hh:mm:ss GMT") {
                return in_century(moment, now);
            }
        }
    }
    (None, false)
}

/// The latest year with these two digits that is not more than 50 years ahead.
fn in_century(at: Moment, now: u64) -> (Option<u64>, bool) {
    let present = moment(now);
    let border = (present.0 + 50, present.1, present.2, present.3, present.4, present.5);
    let year = (0..=border.0).rev().find(|year| year % 100 == at.0 && (*year, at.1, at.2, at.3, at.4, at.5) <= border);
    let Some(year) = year else { return (None, false) };
    let is_close = at.0 == border.0 % 100 && at.1.abs_diff(border.1) <= 1;
    (seconds((year, at.1, at.2, at.3, at.4, at.5)), is_close)
}

/// Whether a text has a form, letter for letter, and the numbers in it.
fn fits(text: &str, form: &str) -> Option<Moment> {
    if text.len() != form.len() {
        return None;
    }
    let all = |letter: char| {
        let places = form.char_indices().filter(|(_, other)| *other == letter);
        places.map(|(at, _)| &text[at..=at]).collect::<String>()
    };
    let number = |letter: char| {
        let digits = all(letter);
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    for (at, letter) in form.char_indices() {
        let given = &text[at..=at];
        let is_name_or_number = "WwDMmYhs".contains(letter);
        let is_same = if letter == '_' { given == " " } else { given.starts_with(letter) };
        // The last three letters are literal.
        if (!is_name_or_number || (form.ends_with("GMT") && at >= form.len() - 3)) && !is_same {
            return None;
        }
    }
    if form.starts_with('W') && !DAYS.iter().any(|day| day[..3] == text[..3]) {
        return None;
    }
    let month_at = form.find("Mmm")?;
    let month = MONTHS.iter().position(|month| *month == &text[month_at..month_at + 3])? as u64 + 1;
    let time_at = form.find("hh:mm:ss")?;
    let part = |at: usize| {
        let digits = &text[at..at + 2];
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    Some((number('Y')?, month, number('D')?, part(time_at)?, part(time_at + 3)?, part(time_at + 6)?))
}
