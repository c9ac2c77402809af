//! Who may ask: the file of `--auth`.
//!
//! A line is `user:password`; empty lines and those that begin with `#` say nothing. Passwords stand in a file and not in an argument, which
//! everybody on the machine can read; a file that others can read too is refused, and so is one in a folder that is served.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// So long a file of users may be.
const MAX_LENGTH: u64 = 1024 * 1024;

/// Names and passwords.
pub type Users = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads the users of a file; an error says what to do.
pub fn read(path: &Path, served: &[PathBuf]) -> io::Result<Users> {
    let wrong =
        |text: String| io::Error::new(io::ErrorKind::InvalidInput, format!("--auth {}: {text}", path.display()));
    let named = |error: io::Error| wrong(error.to_string());
    let file = File::open(path).map_err(named)?;
    if is_open_to_others(&file.metadata().map_err(named)?) {
        return Err(wrong(format!("others can read it; chmod 600 {}", path.display())));
    }
    let place = fs::canonicalize(path).map_err(named)?;
    let is_served = |folder: &PathBuf| fs::canonicalize(folder).is_ok_and(|folder| place.starts_with(folder));
    if let Some(folder) = served.iter().find(|folder| is_served(folder)) {
        return Err(wrong(format!("it is in {}, which is served; put it elsewhere", folder.display())));
    }
    let mut text = Vec::new();
    file.take(MAX_LENGTH + 1).read_to_end(&mut text).map_err(named)?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(wrong("it is longer than 1 MiB; is it the right file?".into()));
    }
    let users = users_of(&text).map_err(|line| wrong(format!("line {line} is not user:password")))?;
    if users.is_empty() {
        return Err(wrong("there is no user in it; write one on each line, as user:password".into()));
    }
    Ok(users)
}

#[cfg(unix)]
fn is_open_to_others(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

/// Who can read a file is not a matter of its mode here.
#[cfg(not(unix))]
fn is_open_to_others(_metadata: &fs::Metadata) -> bool {
    false
}

/// The users of a text; the number of the first line that is none.
fn users_of(text: &[u8]) -> Result<Users, usize> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut users = Vec::new();
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#")) {
        match line.iter().position(|byte| *byte == b':') {
            // Without a password anybody is that user.
            Some(colon) if colon > 0 && colon + 1 < line.len() => {
                users.push((line[..colon].to_vec(), line[colon + 1..].to_vec()));
            }
            _ => return Err(number + 1),
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::users_of;

    #[test]
    fn a_line_is_a_user_and_a_password_that_may_hold_colons_and_spaces() {
        let users = users_of("# who\r\n\na:b\r\nj\u{e4}n: c:d \n".as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let users: Vec<_> = users.iter().map(|(user, password)| (text(user), text(password))).collect();
        assert_eq!(users, [("a".into(), "b".into()), ("j\u{e4}n".into(), " c:d ".into())]);
        for (text, line) in [("a", 1), ("a:b\n:c", 2), ("a:b\n\nc:", 3), ("a:b\n c", 2)] {
            assert_eq!(users_of(text.as_bytes()), Err(line), "{text:?}");
        }
    }
}
