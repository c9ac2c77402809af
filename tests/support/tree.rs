//! A directory of its own for a test, removed at its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 1994-11-06 08:49:37, as [`Tree::write`] dates files, and how HTTP writes it.
pub const WRITTEN: u64 = 784_111_777;
pub const WRITTEN_DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

pub struct Tree(PathBuf);

impl Tree {
    pub fn new() -> Tree {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("doorway-tree-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // Left over by a process of the same number that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("root")).unwrap();
        Tree(path.canonicalize().unwrap())
    }

    /// The directory to serve; beside it is what no client may see.
    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    pub fn outside(&self) -> &Path {
        &self.0
    }

    /// Writes a file below the root, with the directories above it, and an old date.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        date(&path, WRITTEN);
        path
    }
}

/// Dates a file.
pub fn date(path: &Path, seconds: u64) {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
