//! The values of flags, as text that is read: prefixes, names of pages, names of hosts. Each error says what to write instead.

use std::time::Duration;

use doorway::Headers;

use crate::options::Askers;

/// `/docs=folder` as `/docs` and the rest.
pub fn placed<'text>(text: &'text str, example: &str) -> Result<(String, &'text str), String> {
    let (prefix, rest) = text.split_once('=').ok_or_else(|| format!("write it as {example}"))?;
    if rest.is_empty() {
        return Err(format!("write it as {example}"));
    }
    Ok((prefix_of(prefix)?, rest))
}

/// `/status`, `/status=10.0.0.7,10.0.0.8` or `/status=all`.
pub fn status_of(text: &str) -> Result<(String, Askers), String> {
    let (prefix, who) = text.split_once('=').unwrap_or((text, ""));
    let askers = match who {
        "" => Ok(Askers::These(Vec::new())),
        "all" => Ok(Askers::All),
        addresses => addresses.split(',').map(|address| address.parse()).collect::<Result<_, _>>().map(Askers::These),
    };
    match (prefix_of(prefix)?, askers) {
        (prefix, Ok(askers)) if !prefix.is_empty() => Ok((prefix, askers)),
        _ => Err("write it as /status, /status=10.0.0.7 or /status=all".into()),
    }
}

/// A prefix without a slash at its end: empty for the root.
pub fn prefix_of(text: &str) -> Result<String, String> {
    let is_fine = text.starts_with('/') && !text.contains("//") && !text.chars().any(char::is_control);
    match is_fine {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("a prefix begins with one slash: /docs".into()),
    }
}

/// The errors that a folder answers, so that a page for another one would never be seen.
const WITH_PAGE: &[u16] = &[403, 404, 405, 412, 416, 503];

/// The name of a page as the folder serves it: nothing that leads out of it, which would be accepted and never sent.
pub fn page_of(text: &str) -> Result<String, String> {
    let leads_away = text.starts_with('/') || text.split('/').any(|name| name == "..");
    match text.is_empty() || leads_away || text.contains(|letter: char| letter == '\\' || letter.is_control()) {
        true => Err("write its path from the folder that is served on, with / and without ..".into()),
        false => Ok(text.to_owned()),
    }
}

/// `404.html`, or `503=oops.html` for another error.
pub fn error_page_of(text: &str) -> Result<(u16, String), String> {
    let (status, file) = match text.split_once('=') {
        Some((status, file)) => (status.parse().ok().filter(|status| WITH_PAGE.contains(status)), file),
        None => (Some(404), text),
    };
    let status = status.ok_or("a page is for 403, 404, 405, 412, 416 or 503")?;
    Ok((status, page_of(file)?))
}

/// `Name: value` as a field that a response can have.
pub fn field_of(text: &str) -> Result<Headers, String> {
    let (name, value) = text.split_once(':').ok_or("a field is 'Name: value'")?;
    let mut one = Headers::new();
    one.add(name, value.trim());
    one.check().map_err(|(cause, _)| format!("no response can have that:{}", cause.sentence()))?;
    match one.contains("Content-Length") {
        true => Err("the length is the server's".into()),
        false => Ok(one),
    }
}

/// A number of something, from 1 on.
pub fn up_to(text: &str, most: usize, what: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{what} are a number from 1 to {most}"))
}

/// A time in whole seconds; 0 for as long as it takes, which is a year here: no clock has to count further.
pub fn seconds_of(text: &str) -> Result<Duration, String> {
    const YEAR: u64 = 365 * 24 * 60 * 60;
    match text.parse::<u64>() {
        Ok(0) => Ok(Duration::from_secs(YEAR)),
        Ok(seconds) if seconds <= YEAR => Ok(Duration::from_secs(seconds)),
        _ => Err("a time is a whole number of seconds; 0 for as long as it takes".into()),
    }
}

/// A number of bytes; `k`, `M`, `G` and `T` are powers of 1024.
pub fn size_of(text: &str) -> Result<u64, String> {
    let (digits, power) = match text.char_indices().last() {
        Some((at, unit)) if !unit.is_ascii_digit() => (&text[..at], "kMGT".find(unit).map(|power| power as u32 + 1)),
        _ => (text, Some(0)),
    };
    let size = digits.parse::<u64>().ok().zip(power).and_then(|(size, power)| size.checked_mul(1024_u64.pow(power)));
    size.ok_or_else(|| "a size is a number of bytes, or one with k, M, G or T behind it: 500M".into())
}

/// `glsl=text/plain` as the end of names and their type.
pub fn type_of(text: &str) -> Result<(String, String), String> {
    let (extension, content_type) = text.split_once('=').ok_or("write it as EXT=TYPE: glsl=text/plain")?;
    let is_end = |text: &str| !text.is_empty() && !text.contains(['/', '\\', '.']);
    let is_type = content_type.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
    let is_value = Headers::from(&[("Content-Type", content_type)]).check().is_ok();
    match is_end(extension.trim_start_matches('.')) && is_type && is_value {
        true => Ok((extension.to_owned(), content_type.to_owned())),
        false => {
            Err("write the end of the name without a point, and a type such as text/plain: glsl=text/plain".into())
        }
    }
}

/// A name that is answered to: `example.org`, or `*.example.org` for all names below it.
pub fn host_of(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    match !name.is_empty() && name.chars().all(is_name) {
        true => Ok(text.trim_end_matches('.').to_ascii_lowercase()),
        false => Err("write example.org or *.example.org, without http:// and without a port".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::size_of;

    #[test]
    fn a_size_is_a_number_with_a_unit_or_without() {
        for (text, expected) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("1k", Some(1024)),
            ("500M", Some(500 << 20)),
            ("2G", Some(2 << 30)),
            ("3T", Some(3 << 40)),
        ] {
            assert_eq!(size_of(text).ok(), expected, "{text}");
        }
        for text in ["", "k", "-1", "1.5G", "1K", "1GB", "99999999999T", "1\u{e4}"] {
            assert!(size_of(text).is_err(), "{text}");
        }
    }
}
