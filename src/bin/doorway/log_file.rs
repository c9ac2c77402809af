//! The file of `--log-file`: lines are appended, and SIGUSR1 has it opened anew, as programs that rotate logs ask for.
//!
//! A file that was renamed is written on until then, so nothing is lost between the two. Each write is of whole lines, and at the end of the file
//! wherever that is by then (`O_APPEND`).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the file is to be opened anew before the next line.
static REOPEN: AtomicBool = AtomicBool::new(false);

pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    pub fn open(path: &Path) -> io::Result<LogFile> {
        let wrong = |error| io::Error::new(io::Error::kind(&error), format!("--log-file {}: {error}", path.display()));
        // Absolute, so that it is the same file however often it is opened.
        let path = std::path::absolute(path)?;
        let file = open(&path).map_err(wrong)?;
        Ok(LogFile { path, file })
    }
}

/// Has the file opened anew.
pub fn reopen() {
    REOPEN.store(true, Ordering::Relaxed);
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if REOPEN.swap(false, Ordering::Relaxed) {
            match open(&self.path) {
                Ok(file) => self.file = file,
                Err(error) => {
                    let path = self.path.display();
                    writeln!(
                        self.file,
                        "doorway: {path} cannot be opened anew ({error}); the log goes on in the file that it was"
                    )?;
                }
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
