//! How much may be written to a disk: what is free on it, less a part that is kept for everybody else.
//!
//! std cannot ask the system for that; `df`, which every Unix has, can. Where it is missing or says something else, nothing is kept, and a disk that is full
//! is an error of the write, as it is anyway.
//!
//! Clients choose how often they ask. So one process runs at a time, and its answer is good for a second.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So much of a disk is kept free: a twentieth, and no more than this.
const KEPT: u64 = 1024 * 1024 * 1024;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// The last answer, where and when it was given.
static LAST: Mutex<Option<(PathBuf, Instant, Option<u64>)>> = Mutex::new(None);

/// Bytes that may be written where a path is.
pub fn left(path: &Path) -> Option<u64> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some((place, asked, left)) if place == path && asked.elapsed() < FRESH => *left,
        _ => {
            let left = ask(path);
            *last = Some((path.to_owned(), Instant::now(), left));
            left
        }
    }
}

fn ask(path: &Path) -> Option<u64> {
    let mut df = Command::new("df");
    df.arg("-Pk").arg(path).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (mut df, mut text) = (df.spawn().ok()?, Vec::new());
    let read = df.stdout.as_mut()?.read_to_end(&mut text);
    df.wait().and(read).ok()?;
    of_df(&String::from_utf8_lossy(&text))
}

/// From the output of `df -Pk`: a line of names, then `device total used available percent place`.
fn of_df(text: &str) -> Option<u64> {
    // A device may have a space in its name, so it is the four words before the percentage that count.
    let words: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let percent = words.iter().position(|word| word.ends_with('%'))?;
    let kibibytes = |before: usize| words.get(percent.checked_sub(before)?)?.parse::<u64>().ok()?.checked_mul(1024);
    let (total, available) = (kibibytes(3)?, kibibytes(1)?);
    Some(available.saturating_sub(KEPT.min(total / 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_of_a_disk_is_kept_and_a_gibibyte_at_most() {
        let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        for (line, expected) in [
            ("tmpfs 10240 0 10240 0% /mnt/a b", Some((10240 - 512) * 1024)),
            ("/dev/my disk 10240 10000 240 98% /", Some(0)),
            ("/dev/vda 264000000 22000000 73000000 24% /", Some(73_000_000 * 1024 - KEPT)),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(of_df(&format!("{head}{line}\n")), expected, "{line}");
        }
        assert_eq!(of_df(""), None);
        if cfg!(unix) && Command::new("df").arg("/").output().is_ok() {
            assert!(left(Path::new("/")).is_some());
        }
    }
}
