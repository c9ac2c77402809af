//! What docs/small-systems.md hands out: the systemd units are units, and take away what the page says they do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy").join(name)
}

#[test]
fn the_units_are_valid_and_leave_a_program_little_of_the_system() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        println!("skipped: systemd-analyze is not installed");
        return;
    };
    // `systemd 252 (...)`: the check of a file that is not installed came with 250.
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let number: u32 = version.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    if number < 250 {
        println!("skipped: systemd-analyze is of version {number}");
        return;
    }
    let folder = std::env::temp_dir().join(format!("doorway-units-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).current_dir(&folder).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    for name in ["program", "doorway"] {
        let (service, socket) = (format!("{name}.service"), format!("{name}.socket"));
        let text = fs::read_to_string(deploy(&service)).unwrap();
        // It has to be there to be verified.
        fs::write(folder.join(&service), text.replace(&format!("/usr/local/bin/{name}"), "/bin/sh")).unwrap();
        fs::copy(deploy(&socket), folder.join(&socket)).unwrap();
        let (is_valid, said) = run(&["verify", &format!("./{service}"), &format!("./{socket}")]);
        assert!(is_valid && !said.contains(&format!("{name}.")), "{said}");
        // 10 is a unit that may do everything; these are at 1.2.
        let (is_confined, said) = run(&["security", "--offline=true", "--threshold=15", &format!("./{service}")]);
        assert!(is_confined, "{said}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
