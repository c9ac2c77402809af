//! The file of `--pid-file`: the number of the process that serves, for whoever sends it signals.
//!
//! It is written when the server is there, over that of the process which it replaces, and goes with the process whose number it has.

use std::io;
use std::path::Path;

pub fn write(path: &Path) -> io::Result<()> {
    let wrong = |error: io::Error| io::Error::new(error.kind(), format!("--pid-file {}: {error}", path.display()));
    std::fs::write(path, format!("{}\n", std::process::id())).map_err(wrong)
}

pub fn remove(path: &Path) {
    let is_own = |text: String| text.trim_end().parse() == Ok(std::process::id());
    if std::fs::read_to_string(path).is_ok_and(is_own) {
        // Where the folder is root's it stays, and names nobody.
        let _ = std::fs::remove_file(path);
    }
}
