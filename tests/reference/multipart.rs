//! A naive reading of `multipart/form-data`, with the whole of it in hand. Written from RFC 2046 section 5.1.1 and RFC 7578 alone, for forms
//! whose fields need no unescaping.

/// Why a form is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Truncated,
    Boundary,
    Head,
}

/// Name, file name and content of a part.
pub type Part = (String, Option<String>, Vec<u8>);

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    (0..text.len()).find(|at| text[*at..].starts_with(what))
}

/// The parts before the first fault, and the fault.
pub fn read_form(content: &[u8], boundary: &str) -> (Vec<Part>, Option<Fault>) {
    let mut parts = Vec::new();
    let fault = read_into(&mut parts, content, boundary).err();
    (parts, fault)
}

fn read_into(parts: &mut Vec<Part>, content: &[u8], boundary: &str) -> Result<(), Fault> {
    // A delimiter at the very beginning needs no line end before it.
    let text = [b"\r\n", content].concat();
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let first = find(&text, &delimiter).ok_or(Fault::Truncated)?;
    let mut rest = &text[first + delimiter.len()..];
    loop {
        let is_last = rest.starts_with(b"-");
        if is_last {
            match rest.get(1) {
                Some(b'-') => rest = &rest[2..],
                Some(_) => return Err(Fault::Boundary),
                None => return Err(Fault::Truncated),
            }
        }
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest = &rest[padding..];
        match rest {
            [] if is_last => return Ok(()),
            [] | [b'\r'] => return Err(Fault::Truncated),
            [b'\r', b'\n', ..] if is_last => return Ok(()),
            [b'\r', b'\n', behind @ ..] => rest = behind,
            _ => return Err(Fault::Boundary),
        }
        // The line end of an empty line may be that of the delimiter, so it is left in front of the content.
        let (head, content) = if rest.starts_with(b"\r\n") {
            (&rest[..0], rest)
        } else {
            let end = find(rest, b"\r\n\r\n").ok_or(Fault::Truncated)?;
            (&rest[..end], &rest[end + 2..])
        };
        let (name, file_name) = names(head).ok_or(Fault::Head)?;
        let Some(end) = find(content, &delimiter) else {
            return Err(Fault::Truncated);
        };
        parts.push((name, file_name, content.get(2..end).unwrap_or_default().to_vec()));
        rest = &content[end + delimiter.len()..];
    }
}

/// The names in a head of lines without anything that is escaped or cut.
fn names(head: &[u8]) -> Option<(String, Option<String>)> {
    let head = String::from_utf8_lossy(head);
    let mut found = None;
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':')?;
        if !is_token(name) || value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return None;
        }
        if name.eq_ignore_ascii_case("content-disposition") {
            if found.is_some() {
                return None;
            }
            found = Some(disposition(value)?);
        }
    }
    found
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn disposition(value: &str) -> Option<(String, Option<String>)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut is_quoted = false;
    let at_semicolon = |char: char| {
        is_quoted ^= char == '"';
        char == ';' && !is_quoted
    };
    let mut pieces = value.split(at_semicolon).map(|piece| piece.trim_matches([' ', '\t']));
    if !pieces.next()?.eq_ignore_ascii_case("form-data") {
        return None;
    }
    while let Some(piece) = pieces.next() {
        // Nothing behind the last semicolon is no parameter, and no fault.
        if piece.is_empty() && pieces.next().is_none() {
            break;
        }
        let (key, value) = piece.split_once('=')?;
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            None if !is_token(value) => return None,
            None => value,
        };
        let key = key.to_ascii_lowercase();
        if !is_token(&key) || value.contains('"') || pairs.iter().any(|(other, _)| *other == key) {
            return None;
        }
        pairs.push((key, value.to_owned()));
    }
    let mut take = |name| pairs.iter().position(|(key, _)| key == name).map(|at| pairs.remove(at).1);
    Some((take("name")?, take("filename")))
}
