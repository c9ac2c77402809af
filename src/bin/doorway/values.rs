//! The values of flags, as text that is read: prefixes, names of pages, names of hosts. Each error says what to write instead.

/// `/docs=folder` as `/docs` and the rest.
pub fn placed<'text>(text: &'text str, example: &str) -> Result<(String, &'text str), String> {
    let (prefix, rest) = text.split_once('=').ok_or_else(|| format!("write it as {example}"))?;
    if rest.is_empty() {
        return Err(format!("write it as {example}"));
    }
    Ok((prefix_of(prefix)?, rest))
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
pub const WITH_PAGE: &[u16] = &[403, 404, 405, 412, 416, 503];

/// The name of a page as the folder serves it: nothing that leads out of it, which would be accepted and never sent.
pub fn page_of(text: &str) -> Result<String, String> {
    let leads_away = text.starts_with('/') || text.split('/').any(|name| name == "..");
    match text.is_empty() || leads_away || text.contains(|letter: char| letter == '\\' || letter.is_control()) {
        true => Err("write its path from the folder that is served on, with / and without ..".into()),
        false => Ok(text.to_owned()),
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

/// How many letters have to be added, left out or replaced to make one word of the other (Levenshtein).
pub fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, second) in other.chars().enumerate() {
            let replaced = diagonal + usize::from(letter != second);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[row.len() - 1]
}
