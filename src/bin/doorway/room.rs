//! How much may be written to a disk: what is free on it, less a part that is kept for everybody else.
//!
//! std cannot ask the system for that; `df`, which every Unix has, can. Where it is missing or says something else, nothing is kept, and a disk that is full
//! is an error of the write, as it is anyway.
//!
//! Clients choose how often they ask. So one process runs at a time, and its answer is good for a second. One that does not answer, on a mount whose server
//! has gone, stays the only one: until it ends nobody knows, and nothing is kept.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// So much of a disk is kept free: a twentieth, and no more than this.
const KEPT: u64 = 1024 * 1024 * 1024;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// How long the answer may take.
const LIMIT: Duration = Duration::from_secs(2);

static LAST: Mutex<Last> = Mutex::new(Last { answer: None, late: None });

struct Last {
    /// Where and when it was given.
    answer: Option<(PathBuf, Instant, Option<u64>)>,
    /// What has not answered in time.
    late: Option<Child>,
}

/// Bytes that may be written where a path is.
pub fn left(path: &Path) -> Option<u64> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.late.as_mut().is_some_and(is_running) {
        return None;
    }
    match &last.answer {
        Some((place, asked, left)) if place == path && asked.elapsed() < FRESH => *left,
        _ => {
            let left = last.ask(path);
            last.answer = Some((path.to_owned(), Instant::now(), left));
            left
        }
    }
}

fn is_running(process: &mut Child) -> bool {
    matches!(process.try_wait(), Ok(None))
}

impl Last {
    fn ask(&mut self, path: &Path) -> Option<u64> {
        let mut df = Command::new("df");
        df.arg("-Pk").arg(path).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let (begin, mut df, mut text) = (Instant::now(), df.spawn().ok()?, Vec::new());
        // std waits for a process for ever or not at all. What it says fits into the pipe.
        while is_running(&mut df) {
            if begin.elapsed() > LIMIT {
                self.late = Some(df);
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
        df.stdout?.read_to_end(&mut text).ok()?;
        of_df(&String::from_utf8_lossy(&text))
    }
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
