//! The slow reader of chunked contents: it has all bytes and splits lines.

use super::{CRLF, scan};

/// Takes a line and its CRLF off the front; the line holds neither CR nor LF.
fn take_line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = bytes.windows(2).position(|pair| pair == CRLF)?;
    let (line, rest) = bytes.split_at(end);
    *bytes = &rest[2..];
    (!line.contains(&b'\r') && !line.contains(&b'\n')).then_some(line)
}

fn without_bws(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| **byte == b' ' || **byte == b'\t').count()..]
}

fn is_extension(mut text: &[u8]) -> bool {
    let token = |text: &[u8]| text.iter().take_while(|&&byte| scan::is_tchar(byte)).count();
    while let Some(rest) = without_bws(text).strip_prefix(b";") {
        let rest = without_bws(rest);
        let name = token(rest);
        text = &rest[name..];
        if name == 0 {
            return false;
        }
        if let Some(rest) = without_bws(text).strip_prefix(b"=") {
            let rest = without_bws(rest);
            text = if let Some(mut quoted) = rest.strip_prefix(b"\"") {
                loop {
                    quoted = match quoted {
                        [b'"', rest @ ..] => break rest,
                        [b'\\', byte, rest @ ..] | [byte, rest @ ..]
                            if *byte != b'\\' || quoted.len() > rest.len() + 1 =>
                        {
                            if !scan::is_field_value(*byte) {
                                return false;
                            }
                            rest
                        }
                        _ => return false,
                    };
                }
            } else {
                let value = token(rest);
                if value == 0 {
                    return false;
                }
                &rest[value..]
            };
        }
    }
    text.is_empty()
}

/// Reads a whole content, or says that there is none. Knows no limits.
pub fn naive(mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (all, mut content) = (bytes.len(), Vec::new());
    loop {
        let line = take_line(&mut bytes)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        if digits > 16 || !is_extension(&line[digits..]) {
            return None;
        }
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok().filter(|&size| size <= bytes.len())?;
        content.extend_from_slice(&bytes[..size]);
        bytes = bytes[size..].strip_prefix(CRLF)?;
    }
    loop {
        let line = take_line(&mut bytes)?;
        if line.is_empty() {
            return Some((content, all - bytes.len()));
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        if !scan::is_token(&line[..colon]) || !line[colon + 1..].iter().all(|&byte| scan::is_field_value(byte)) {
            return None;
        }
    }
}
