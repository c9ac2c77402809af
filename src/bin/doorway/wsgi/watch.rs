//! `--reload` for Python: looks at the `.py` files below the current folder a few times a second, for at most a tenth of the time.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::Workers;
use crate::reload::{Sums, is_python};
use crate::threads;

/// How often, where looking takes next to no time.
const PAUSE: Duration = Duration::from_millis(300);

/// Replaces the workers whenever a file has changed since now, for as long as the process lives.
pub fn watch(workers: Workers) -> std::io::Result<u64> {
    let first = look();
    let mut last = first;
    threads::start("wsgi-watch", move || {
        let mut took = Duration::ZERO;
        loop {
            thread::sleep(PAUSE.max(took * 9));
            let begin = Instant::now();
            let now = look();
            took = begin.elapsed();
            if now != last {
                last = now;
                workers.reload();
            }
        }
    })?;
    Ok(first)
}

fn look() -> u64 {
    let mut sums = Sums::of(is_python);
    sums.add_folder(Path::new("."));
    sums.others
}
