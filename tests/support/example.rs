//! An example as a program to start.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// Where the example is, built now if it was not: a single test file is run without the examples. Without cargo there are none, which
/// is said.
pub fn example(name: &str) -> Option<PathBuf> {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let Some(cargo) = std::env::var_os("CARGO") else {
        println!("skipped: without cargo the example {name} is not built");
        return None;
    };
    let test = std::env::current_exe().expect("a path of this test");
    let profile = test.ancestors().nth(2).expect("tests are built in a folder of the profile");
    let mut built = BUILT.lock().expect("every example builds");
    if !built.iter().any(|other| other == name) {
        let mut cargo = Command::new(cargo);
        cargo.args(["build", "--quiet", "--offline", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success(), "the example {name} does not build");
        built.push(name.to_owned());
    }
    let path = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "no {}", path.display());
    Some(path)
}
