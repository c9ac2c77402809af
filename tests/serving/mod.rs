//! The `doorway` command as a test runs it: started with arguments, asked over a socket, ended in any case.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running command, with the first line it printed. It is killed however the test ends.
pub struct Serving {
    pub child: Child,
    pub out: BufReader<ChildStdout>,
    pub first_line: String,
}

impl Serving {
    pub fn start(arguments: &[&str]) -> Serving {
        Serving::with(Command::new(env!("CARGO_BIN_EXE_doorway")).args(arguments).stdin(Stdio::null()))
    }

    /// Serves an application of Python in a folder, with further flags.
    pub fn wsgi(folder: &Path, python: &Path, application: &str, flags: &[&str]) -> Serving {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
        command.args(["--port", "0", "--log", "off", "--wsgi", application, "--python"]).arg(python).args(flags);
        Serving::with(command.current_dir(folder).stdin(Stdio::null()).env("PYTHONDONTWRITEBYTECODE", "1"))
    }

    /// Serves a folder at a free port, with further flags.
    pub fn folder(folder: &Path, flags: &[&str]) -> Serving {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
        command.args(["--port", "0"]).args(flags).arg(folder).stdin(Stdio::null());
        Serving::with(&mut command)
    }

    pub fn with(command: &mut Command) -> Serving {
        serve_as_root(command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut serving = Serving { child, out, first_line: String::new() };
        serving.out.read_line(&mut serving.first_line).unwrap();
        serving
    }

    pub fn address(&self) -> &str {
        self.first_line.strip_prefix("http://").and_then(|url| url.strip_suffix("/\n")).expect("a URL")
    }

    pub fn url(&self) -> &str {
        self.first_line.trim_end().trim_end_matches('/')
    }

    pub fn ask(&self, request: &str) -> String {
        ask(self.address(), request)
    }

    pub fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// By HTTP/1.0, so that the content stands in the response as it is. Every field has its line end.
    pub fn post(&self, path: &str, fields: &str, content: &[u8]) -> String {
        let length = content.len();
        let head = format!("POST {path} HTTP/1.0\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n");
        ask(self.address(), [head.as_bytes(), content].concat())
    }

    pub fn log(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.child.stderr.take().unwrap())
    }

    /// The log from its first line about a request on: what the command says of itself is passed over.
    pub fn requests(&mut self) -> impl Iterator<Item = String> + use<> {
        self.log().lines().map(Result::unwrap).filter(|line| !line.starts_with("doorway: "))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Killed, it cannot remove the folder of its workers' sockets.
        let begin = format!("doorway-{}-", self.child.id());
        for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&begin) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Root says that it is to serve where more than browsers of this machine are served; nobody else may say so.
pub fn serve_as_root(command: &mut Command) {
    let has = |flag: &str| command.get_args().any(|argument| argument.to_string_lossy().starts_with(flag));
    let services = ["--host", "--allow-host", "--stdin", "--uwsgi", "--scgi", "--fastcgi"];
    if services.into_iter().any(has) && !has("--user") && is_root() {
        command.args(["--user", "root"]);
    }
}

/// Whether the command is the program itself, which can be copied and which starts its successor, and no script that runs it: by an emulator of
/// another processor, or from a folder that only root can enter.
pub fn is_program() -> bool {
    let is_script = fs::read(env!("CARGO_BIN_EXE_doorway")).unwrap().starts_with(b"#!");
    if is_script {
        println!("skipped: the command is a script that runs it");
    }
    !is_script
}

pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t0\t"))
}

pub fn ask(address: &str, request: impl AsRef<[u8]>) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(request.as_ref()).unwrap();
    let mut response = Vec::new();
    client.read_to_end(&mut response).unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

/// What a command that ends by itself says. One that serves instead is killed, and fails the test.
pub fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut serving = Serving::start(arguments);
    assert!(!serving.first_line.starts_with("http://"), "{arguments:?} serves at {}", serving.first_line);
    let (mut out, mut err) = (std::mem::take(&mut serving.first_line), String::new());
    serving.out.read_to_string(&mut out).unwrap();
    serving.log().read_to_string(&mut err).unwrap();
    (serving.child.wait().unwrap().code(), out, err)
}

/// Waits for something that must happen.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "never {what}");
        std::thread::yield_now();
    }
}

/// Whether a program is installed; says so where it is not.
pub fn is_there(program: &str, argument: &str) -> bool {
    let there = Command::new(program).arg(argument).output().is_ok();
    if !there {
        println!("skipped: {program} is not installed");
    }
    there
}

/// A program that goes on, killed with its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder of its own for a test, gone with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(files: &[(&str, &str)]) -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("doorway-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Folder(fs::canonicalize(path).unwrap());
        files.iter().for_each(|(name, text)| folder.write(name, text));
        folder
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The Python that has a module; says so where there is none.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let has = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = [venv, "python3".into()].into_iter().find(has);
    if found.is_none() {
        println!("skipped: the Python package {module} is not installed");
    }
    found
}

/// A site as Django's own `startproject` makes it, with a user `ada` and its static files in `static`.
pub fn django_site(python: &Path) -> Folder {
    let folder = Folder::new(&[]);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(python);
        command.args(arguments).current_dir(folder.path()).env("DJANGO_SUPERUSER_PASSWORD", "only-for-a-test");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["-m", "django", "startproject", "mysite", "."]);
    run(&["manage.py", "migrate", "-v", "0"]);
    run(&["manage.py", "createsuperuser", "--noinput", "--username", "ada", "--email", "ada@site.example"]);
    let settings = fs::read_to_string(folder.path().join("mysite/settings.py")).unwrap();
    folder.write("mysite/settings.py", settings + "\nSTATIC_ROOT = BASE_DIR / 'static'\n");
    run(&["manage.py", "collectstatic", "--noinput", "-v", "0"]);
    folder
}
