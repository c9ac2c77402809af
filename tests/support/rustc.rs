//! Programs compiled by rustc alone, against the library that the tests are built with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What became of a program.
pub enum Compiled {
    Program(PathBuf),
    /// What rustc said.
    Errors(String),
}

/// The library of this very build, or else a word about why there is none.
pub fn library() -> Option<PathBuf> {
    let folder = std::env::current_exe().ok()?.parent()?.to_owned();
    let libraries = fs::read_dir(&folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("libdoorway-") && name.ends_with(".rlib")
    });
    let newest = libraries.max_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    if newest.is_none() {
        println!("skipped: no library of doorway in {}", folder.display());
    }
    newest
}

/// Compiles a program in a folder of its own, or only checks it; `None`, with a word about it, where there is no rustc.
pub fn compile(library: &Path, folder: &Path, program: &str, check_only: bool) -> Option<Compiled> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("main.rs"), program).unwrap();
    let mut command = Command::new(&rustc);
    command.args(["--edition", "2024", "main.rs", "--extern"]).arg(format!("doorway={}", library.display()));
    if check_only {
        command.arg("--emit=metadata");
    }
    match command.current_dir(folder).output() {
        Ok(output) if output.status.success() => {
            Some(Compiled::Program(folder.join("main").with_extension(std::env::consts::EXE_EXTENSION)))
        }
        Ok(output) => Some(Compiled::Errors(String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) => {
            println!("skipped: {rustc} does not start: {error}");
            None
        }
    }
}
