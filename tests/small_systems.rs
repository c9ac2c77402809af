//! What docs/small-systems.md says: the settings for a small machine, what a server with them takes of it, what no target lacks, and the
//! systemd units, which are units and take away what the page says they do.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use doorway::Settings;
use support::rustc::{Compiled, compile, library};
use support::tree::Tree;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/small-systems.md")).unwrap()
}

/// 131072 as `128 KiB`.
fn size(bytes: impl TryInto<u64>) -> String {
    match bytes.try_into().ok().unwrap() {
        bytes if bytes % (1024 * 1024) == 0 => format!("{} MiB", bytes / (1024 * 1024)),
        bytes => format!("{} KiB", bytes / 1024),
    }
}

#[test]
fn every_number_of_the_small_settings_is_the_one_on_the_page_and_no_other_differs() {
    let small = Settings::small();
    let rows = [
        ("threads", small.threads.to_string()),
        ("shards", small.shards.to_string()),
        ("stack", size(small.stack.unwrap())),
        ("max_connections", small.max_connections.to_string()),
        ("queue", small.queue.to_string()),
        ("max_head", size(small.max_head)),
        ("max_content", size(small.max_content.unwrap())),
        ("gathered_content", size(small.gathered_content)),
        ("held", size(small.held)),
        ("linger", size(small.linger)),
        ("idle_deadline", format!("{} s", small.idle_deadline.as_secs())),
    ];
    let page = page();
    let table = page.lines().skip_while(|line| *line != "| setting | small | default |").skip(2);
    let table: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(table.len(), rows.len());
    for (row, (name, value)) in table.iter().zip(&rows) {
        println!("{name}: {value}");
        assert!(row.starts_with(&format!("| `{name}` | {value} | ")), "{row} is not {name} {value}");
    }
    let usual = Settings::default();
    let mut rest = small;
    (rest.threads, rest.shards, rest.stack, rest.queue) = (usual.threads, usual.shards, usual.stack, usual.queue);
    (rest.max_connections, rest.max_head, rest.max_content) =
        (usual.max_connections, usual.max_head, usual.max_content);
    (rest.gathered_content, rest.held, rest.linger) = (usual.gathered_content, usual.held, usual.linger);
    rest.idle_deadline = usual.idle_deadline;
    assert_eq!(format!("{rest:?}"), format!("{usual:?}"), "another one differs");
}

/// A row of `/proc/PID/status`, as a number.
#[cfg(target_os = "linux")]
fn status(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let row = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    row.split_whitespace().next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_with_the_small_settings_has_five_threads_and_little_memory() {
    const PROGRAM: &str = "use std::io::{self, Read};
        use doorway::{Environ, Response, Server, Settings, escape_html, simple};

        fn page(environ: &Environ) -> Response {
            let form = environ.form(10_000).unwrap_or_default();
            Response::html(format!(\"{} {}\", escape_html(&environ.path()), form.pairs.len()))
        }

        fn main() -> io::Result<()> {
            let server = Server::bind(\"127.0.0.1:0\")?.configure(|settings| *settings = Settings::small());
            server.addrs().for_each(|address| println!(\"{}\", address.url()));
            let _server = server.spawn(simple(page))?;
            io::stdin().read_to_end(&mut Vec::new()).map(drop)
        }";
    let Some(library) = library() else { return };
    let folder = Tree::new();
    let program = match compile(&library, folder.outside(), PROGRAM, false) {
        None => return,
        Some(Compiled::Program(program)) => program,
        Some(Compiled::Errors(errors)) => panic!("{errors}"),
    };
    let mut server = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let address = url.trim().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    // As many as may be open, and a head of 16 KB among them.
    let field = "a".repeat(7_500);
    for number in 0..64 {
        let mut client = TcpStream::connect(&address).unwrap();
        let fields = if number == 0 { format!("A: {field}\r\nB: {field}\r\n") } else { String::new() };
        let request = format!(
            "POST /{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n{fields}Content-Length: 7\r\n\r\na=1&b=2"
        );
        client.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        assert!(response.ends_with(&format!("\r\n\r\n/{number} 2")), "{response}");
    }
    let (threads, resident) = (status(server.id(), "Threads"), status(server.id(), "VmRSS"));
    println!("{threads} threads, {resident} KiB resident");
    drop(server.stdin.take());
    server.wait().unwrap();
    assert_eq!(threads, 5);
    // What the page says is of a release; a debug build has twice the code.
    assert!(resident < 8 * 1024, "{resident} KiB");
}

/// Every file in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn nothing_needs_64_bit_atomics_which_32_bit_mips_and_armv5_have_not() {
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        for name in ["AtomicU64", "AtomicI64", "atomic::*"] {
            assert!(!text.contains(name), "{}: {name}", file.display());
        }
    }
}

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
