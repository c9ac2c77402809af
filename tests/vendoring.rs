//! The ways to vendor doorway that docs/vendoring.md describes, done exactly as it says: a program is made in a folder of its own,
//! compiled and run, and asks its own server once. A copy without the leaves, and one without any door but HTTP, does the same.

#[path = "support/pages.rs"]
mod pages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pages::{block, read};

const PAGE: &str = "docs/vendoring.md";

/// What a program does that has vendored doorway, behind the lines that bring it in.
const PROGRAM: &str = r#"
use doorway::{Body, Environ, Server, StartResponse};
use std::io::{Read, Write};

fn application(environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Body::from(format!("vendored at {}", environ.path()))
}

fn main() -> std::io::Result<()> {
    let handle = Server::bind("127.0.0.1:0")?.spawn(application)?;
    let mut client = std::net::TcpStream::connect(handle.addr())?;
    client.write_all(b"GET /home HTTP/1.0\r\n\r\n")?;
    let mut response = String::new();
    client.read_to_string(&mut response)?;
    println!("{response}");
    handle.shutdown(std::time::Duration::ZERO);
    Ok(())
}
"#;

/// What brings in a copy that is a module.
const DECLARATION: &str = "#[allow(dead_code, unused_imports)] mod doorway;";

/// A folder with `doorway`, a copy of what is shipped, and `program`, an empty program; removed when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("doorway-{}-{name}", std::process::id()));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&root.join("src"), &folder.join("doorway/src"));
        for file in ["Cargo.toml", "LICENSE", "README.md"] {
            fs::copy(root.join(file), folder.join("doorway").join(file)).unwrap();
        }
        fs::create_dir_all(folder.join("program/src")).unwrap();
        Folder(folder)
    }

    fn program(&self) -> PathBuf {
        self.0.join("program")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// What the command prints; it must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Compiles a program that holds a copy as a module.
fn compile(rustc: &str, program: &Path) {
    let options = ["--edition", "2024", "-D", "warnings", "-o", "program", "src/main.rs"];
    run(Command::new(rustc).args(options).current_dir(program));
}

fn assert_answered(response: &str) {
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("\r\n\r\nvendored at /home"), "{response}");
}

/// Whether a tool is there; says so where it is not.
fn is_there(tool: &str, argument: &str) -> bool {
    let there = Command::new(tool).arg(argument).output().is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: {tool} is not installed");
    }
    there
}

#[test]
fn src_copied_as_a_module_compiles_with_rustc_alone_and_serves() {
    assert!(read(PAGE).contains(DECLARATION));
    let Some((rustc, folder)) = vendored("module", &[]) else { return };
    assert!(!folder.program().join("src/doorway/bin").exists());
    compile(&rustc, &folder.program());
    assert_answered(&run(&mut Command::new(folder.program().join("program"))));
}

/// The leaves, which no server needs.
const LEAVES: [&str; 5] = ["app", "middleware", "web", "process.rs", "testing.rs"];

/// The doors other than HTTP, with what cannot be there without them.
const DOORS: [&[&str]; 4] =
    [&["door/uwsgi.rs"], &["door/scgi.rs"], &["door/fastcgi", "process.rs"], &["door/cgi.rs", "process.rs"]];

/// What only these doors need.
const OF_ALL_DOORS: &str = "door/variables.rs";

/// What is left where all of that is gone.
const HTTP_ONLY: [&str; 10] = [
    "cause.rs",
    "door/http.rs",
    "door/mistaken.rs",
    "door/mod.rs",
    "gateway",
    "http",
    "log",
    "mod.rs",
    "scan.rs",
    "server",
];

/// Takes files and folders out of a copy, and the lines that declare them or give out what is theirs.
fn remove(src: &Path, parts: &[&str]) {
    let mut names = Vec::new();
    for part in parts {
        let place = src.join(part);
        names.push(place.file_stem().unwrap().to_str().unwrap().to_owned());
        if place.is_dir() { fs::remove_dir_all(place).unwrap() } else { fs::remove_file(place).unwrap() }
    }
    for file in ["mod.rs", "door/mod.rs", "http/mod.rs", "http/date.rs"] {
        let text = fs::read_to_string(src.join(file)).unwrap();
        let mut kept = String::new();
        let mut is_of_part = false;
        for line in text.lines() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let is_named = words.iter().any(|word| names.iter().any(|name| name == word));
            is_of_part |= is_named && !line.starts_with("//") && (words.contains(&"mod") || words.contains(&"use"));
            if !is_of_part {
                kept.extend([line, "\n"]);
            }
            is_of_part &= !line.ends_with(';');
        }
        fs::write(src.join(file), kept).unwrap();
    }
}

/// A program with a copy as a module, made as the page says, without some of it. Nothing where a tool is missing.
fn vendored(name: &str, without: &[&str]) -> Option<(String, Folder)> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    if !is_there(&rustc, "--version") || !is_there("sed", "--version") {
        return None;
    }
    let folder = Folder::new(name);
    let program = folder.program();
    fs::write(program.join("src/main.rs"), format!("{DECLARATION}\n{PROGRAM}")).unwrap();
    run(Command::new("sh").arg("-ec").arg(block(PAGE, "src/doorway")).current_dir(&program));
    remove(&program.join("src/doorway"), without);
    Some((rustc, folder))
}

#[test]
fn the_core_without_its_leaves_compiles_with_rustc_alone_and_serves() {
    let Some((rustc, folder)) = vendored("core", &LEAVES) else { return };
    compile(&rustc, &folder.program());
    assert_answered(&run(&mut Command::new(folder.program().join("program"))));
}

#[test]
fn each_door_other_than_http_can_be_deleted_with_its_mod_line() {
    for (number, door) in DOORS.iter().enumerate() {
        let Some((rustc, folder)) = vendored(&format!("door-{number}"), door) else { return };
        // That it compiles is all there is to know, so no machine code is made.
        let options = ["--edition", "2024", "-D", "warnings", "--emit", "metadata", "src/main.rs"];
        run(Command::new(rustc).args(options).current_dir(folder.program()));
    }
}

#[test]
fn the_core_that_speaks_http_alone_is_what_the_page_says_and_serves() {
    let mut without: Vec<&str> = DOORS.concat();
    without.extend(LEAVES.iter().chain([&OF_ALL_DOORS]));
    without.sort_unstable();
    without.dedup();
    let Some((rustc, folder)) = vendored("http", &without) else { return };
    let src = folder.program().join("src/doorway");
    let entries = |part: &str| fs::read_dir(src.join(part)).unwrap().map(|entry| entry.unwrap().path());
    let mut left: Vec<_> = entries("").chain(entries("door")).filter(|path| *path != src.join("door")).collect();
    left.sort_unstable();
    assert_eq!(left, HTTP_ONLY.map(|part| src.join(part)));
    let page = read(PAGE);
    let section = page.split("## ").find(|section| section.starts_with("As a module")).unwrap();
    for part in without.iter().chain(&HTTP_ONLY) {
        assert!(section.contains(&format!("`{part}`")), "the page does not say what becomes of {part}");
    }
    compile(&rustc, &folder.program());
    assert_answered(&run(&mut Command::new(folder.program().join("program"))));
}

#[test]
fn a_path_dependency_builds_without_network_and_serves() {
    let Some(cargo) = std::env::var_os("CARGO") else {
        println!("skipped: there is no CARGO in the environment");
        return;
    };
    let folder = Folder::new("path");
    let program = folder.program();
    let dependency = block(PAGE, "[dependencies]");
    copy(&folder.0.join("doorway"), &program.join("third_party/doorway"));
    let package = "[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n";
    fs::write(program.join("Cargo.toml"), format!("{package}{dependency}")).unwrap();
    fs::write(program.join("src/main.rs"), PROGRAM).unwrap();
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--offline"]).current_dir(&program);
    assert_answered(&run(command.env("CARGO_TARGET_DIR", program.join("target"))));
}

#[test]
fn a_workspace_that_leaves_the_copy_out_is_checked_without_a_warning_and_does_not_own_it() {
    let Some(cargo) = std::env::var_os("CARGO") else {
        println!("skipped: there is no CARGO in the environment");
        return;
    };
    let folder = Folder::new("workspace");
    let root = &folder.0;
    copy(&root.join("doorway"), &root.join("third_party/doorway"));
    fs::write(root.join("program/src/main.rs"), PROGRAM).unwrap();
    let dependency = block(PAGE, "[dependencies]").replace("third_party", "../third_party");
    let package = "[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n";
    fs::write(root.join("program/Cargo.toml"), format!("{package}{dependency}")).unwrap();

    let asked = |manifest: &str, arguments: &[&str]| {
        fs::write(root.join("Cargo.toml"), manifest).unwrap();
        let mut command = Command::new(&cargo);
        command.args(arguments).arg("--offline").current_dir(root).env("CARGO_TARGET_DIR", root.join("target"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let page = block(PAGE, "[workspace]");
    let without = format!("{}resolver = \"3\"\n", page.replace("exclude = [\"third_party/doorway\"]\n", ""));
    assert!(!without.contains("exclude"), "{without}");
    let metadata = ["metadata", "--format-version", "1", "--no-deps"];
    // What the page spares a workspace.
    let (owned, said) = asked(&without, &metadata);
    assert!(owned.contains("third_party/doorway#") && said.contains("profiles for the non root package"), "{said}");

    let with = format!("{page}resolver = \"3\"\n");
    let (_, said) = asked(&with, &["check"]);
    assert!(!said.contains("warning"), "{said}");
    let (owned, said) = asked(&with, &metadata);
    assert!(!owned.contains("third_party/doorway#") && !said.contains("warning"), "{said}");
}
