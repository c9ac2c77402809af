//! The command takes sockets from a service manager and gives them to its successor, says how it is, and is not root where it need not be.

#![cfg(unix)]

mod serving;

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serving::{Folder, PATIENCE, Serving, ask, run};

const REQUEST: &str = "GET / HTTP/1.0\r\n\r\n";

fn send(signal: &str, number: &str) {
    assert!(Command::new("kill").args([signal, number]).status().unwrap().success());
}

/// Reads a file until it says what is waited for.
fn wait_for(path: &Path, is_it: impl Fn(&str) -> bool) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if is_it(&text) {
            return text;
        }
        assert!(Instant::now() < until, "{}: {text}", path.display());
        std::thread::yield_now();
    }
}

/// Copies the command. By another process: one that is started here meanwhile would have the file open for writing, and it could not be run.
fn copy_to(program: &Path) {
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_doorway")).arg(program).status().unwrap().success());
}

/// Whether systemd-socket-activate is installed.
fn can_activate() -> bool {
    let can = Command::new("systemd-socket-activate").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !can {
        println!("skipped: systemd-socket-activate is not installed");
    }
    can
}

#[test]
fn sigusr2_has_the_next_program_take_over_and_nothing_is_refused_meanwhile() {
    if !serving::is_program() {
        return;
    }
    let folder = Folder::new(&[]);
    let file = folder.path().join("pid");
    let pid_file = file.to_str().unwrap();
    let mut serving = Serving::start(&["--demo", "--port=0", "--quiet", "--pid-file", pid_file]);
    let address = serving.address().to_owned();
    let mut number = wait_for(&file, |text| text.ends_with('\n')).trim().to_owned();
    assert_eq!(number, serving.child.id().to_string());
    for round in 0..3 {
        send("-USR2", &number);
        let old = number.clone();
        let is_new = |text: &str| text.ends_with('\n') && text.trim() != old;
        let until = Instant::now() + PATIENCE;
        while !std::fs::read_to_string(&file).is_ok_and(|text| is_new(&text)) {
            assert!(ask(&address, REQUEST).starts_with("HTTP/1.1 200 "), "round {round}");
            assert!(Instant::now() < until, "the next program does not take over in round {round}");
        }
        number = wait_for(&file, is_new).trim().to_owned();
        if round == 0 {
            assert_eq!(serving.child.wait().unwrap().code(), Some(0));
        }
        assert!(ask(&address, REQUEST).starts_with("HTTP/1.1 200 "), "round {round}");
    }
    send("-TERM", &number);
    let until = Instant::now() + PATIENCE;
    while file.exists() {
        assert!(Instant::now() < until, "the file of the process number stays");
        std::thread::yield_now();
    }
}

#[test]
fn where_the_next_program_does_not_come_to_serve_the_old_one_goes_on_and_says_so() {
    if !serving::is_program() {
        return;
    }
    let folder = Folder::new(&[]);
    let program = folder.path().join("program");
    copy_to(&program);
    let mut command = Command::new(&program);
    let mut serving = Serving::with(command.args(["--demo", "--port=0"]).stdin(Stdio::null()));
    let mut log = BufReader::new(serving.child.stderr.take().unwrap());
    std::fs::remove_file(&program).unwrap();
    for broken in [None, Some("false"), Some("true")] {
        let _ = std::fs::remove_file(&program);
        if let Some(broken) = broken {
            let script = format!("#!/bin/sh\n{broken}\n");
            std::fs::write(&program, script).unwrap();
            assert!(Command::new("chmod").args(["+x", program.to_str().unwrap()]).status().unwrap().success());
        }
        send("-USR2", &serving.child.id().to_string());
        let mut line = String::new();
        while !line.contains("this process goes on") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0);
        }
        assert!(serving.get("/").starts_with("HTTP/1.1 200 "), "{line}");
    }
}

#[test]
fn sockets_of_systemd_are_served_by_their_names() {
    if !can_activate() || !serving::is_program() {
        return;
    }
    let folder = Folder::new(&[]);
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (web, door) = (free(), free());
    let (socket, file) = (folder.path().join("web.sock"), folder.path().join("pid"));
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", &web, "-l", &door, "-l", socket.to_str().unwrap(), "--fdname=web:scgi:other"]);
    command.arg(env!("CARGO_BIN_EXE_doorway")).args(["--demo", "--quiet", "--pid-file", file.to_str().unwrap()]);
    if serving::is_root() {
        command.args(["--user", "root"]);
    }
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(&web).is_err() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    assert!(ask(&web, REQUEST).starts_with("HTTP/1.1 200 "));
    let words = ["CONTENT_LENGTH", "0", "SCGI", "1", "REQUEST_METHOD", "GET", "REQUEST_URI", "/deep"];
    let block = words.map(|word| format!("{word}\0")).concat();
    let reply = ask(&door, format!("{}:{block},", block.len()));
    assert!(reply.starts_with("Status: 200 OK\r\n") && reply.contains("PATH_INFO = \"/deep\""), "{reply}");
    let mut unix = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    std::io::Write::write_all(&mut unix, REQUEST.as_bytes()).unwrap();
    let mut reply = String::new();
    std::io::Read::read_to_string(&mut unix, &mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    // The sockets go on to the next process, too.
    let number = wait_for(&file, |text| text.ends_with('\n')).trim().to_owned();
    send("-USR2", &number);
    let next = wait_for(&file, |text| text.ends_with('\n') && text.trim() != number).trim().to_owned();
    assert!(ask(&web, REQUEST).starts_with("HTTP/1.1 200 "));
    send("-TERM", &next);
    assert!(child.wait().unwrap().success());
}

#[test]
fn sockets_of_systemd_and_an_address_contradict_each_other() {
    if !can_activate() {
        return;
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", &free, env!("CARGO_BIN_EXE_doorway"), "--demo", "--port", "0"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(&free).is_err() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line.contains("LISTEN_FDS") && line.contains("leave out --port")));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// A service manager with a watchdog, and a server of its.
fn managed(folder: &Folder) -> (UnixDatagram, Serving) {
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    command.args(["--demo", "--port=0", "--quiet"]).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    (manager, Serving::with(command.stdin(Stdio::null())))
}

#[test]
fn a_service_manager_hears_when_it_is_ready_how_it_is_and_when_it_stops() {
    let folder = Folder::new(&[]);
    let (manager, serving) = managed(&folder);
    let number = serving.child.id().to_string();
    let hear = |what: &str| {
        let mut room = [0; 1024];
        loop {
            let length = manager.recv(&mut room).unwrap_or_else(|error| panic!("{what}: {error}"));
            let text = String::from_utf8_lossy(&room[..length]).into_owned();
            if text.lines().any(|line| line.starts_with(what)) {
                return text;
            }
        }
    };
    assert_eq!(hear("READY=1"), format!("READY=1\nMAINPID={number}"));
    serving.get("/");
    let text = hear("WATCHDOG=1");
    assert!(text.contains("STATUS=") && text.contains(" connections, "), "{text}");
    while !hear("STATUS=").contains("; 1 answered, 0 refused or cut") {}
    send("-HUP", &number);
    send("-TERM", &number);
    hear("STOPPING=1");
}

#[test]
fn a_service_manager_that_reads_nothing_keeps_neither_the_start_nor_the_end() {
    let folder = Folder::new(&[]);
    let path = folder.path().join("notify");
    let _manager = UnixDatagram::bind(&path).unwrap();
    // One socket may have less under way than another takes.
    let mut senders: Vec<UnixDatagram> = Vec::new();
    loop {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        if (0..).take_while(|_| sender.send_to(b"full", &path).is_ok()).count() == 0 {
            break;
        }
        senders.push(sender);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    command.args(["--demo", "--port=0", "--quiet"]).env("NOTIFY_SOCKET", &path).stdin(Stdio::null());
    let mut serving = Serving::with(&mut command);
    assert!(serving.get("/").starts_with("HTTP/1.1 200 "));
    send("-TERM", &serving.child.id().to_string());
    serving::wait_for("it ended", || serving.child.try_wait().unwrap().is_some());
}

/// Stops one thread of a process, as a debugger does, until its input ends.
const STOP_ONE_THREAD: &str = "
import ctypes, os, sys
number = sys.argv[1]
tasks = [task for task in os.listdir(f'/proc/{number}/task') if open(f'/proc/{number}/task/{task}/comm').read() == 'doorway-monitor\\n']
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
ATTACH, DETACH, ALL = 16, 17, 0x40000000
if ptrace(ATTACH, int(tasks[0]), None, None) != 0:
    sys.exit(print(os.strerror(ctypes.get_errno()), flush=True))
os.waitpid(int(tasks[0]), ALL)
print('stopped', flush=True)
sys.stdin.read()
ptrace(DETACH, int(tasks[0]), None, None)
";

#[cfg(target_os = "linux")]
#[test]
fn a_watchdog_hears_nothing_of_a_server_whose_monitor_is_stuck() {
    let folder = Folder::new(&[]);
    let (manager, serving) = managed(&folder);
    let hear = || {
        let mut room = [0; 1024];
        let length = loop {
            match manager.recv(&mut room) {
                // A socket with a time limit is not asked again by the system when a child has ended.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        String::from_utf8_lossy(&room[..length]).into_owned()
    };
    let hear_alive = || while !hear().starts_with("WATCHDOG=1\nSTATUS=") {};
    (0..3).for_each(|_| hear_alive());
    let mut python = Command::new("python3");
    python.args(["-c", STOP_ONE_THREAD, &serving.child.id().to_string()]);
    let Ok(mut python) = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        return println!("skipped: python3 is not installed");
    };
    let mut line = String::new();
    BufReader::new(python.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line != "stopped\n" {
        return println!("skipped: a thread cannot be stopped here: {line}");
    }
    // What was said before, and the look that was asked for before.
    manager.set_nonblocking(true).unwrap();
    while manager.recv(&mut [0; 1024]).is_ok() {}
    manager.set_nonblocking(false).unwrap();
    (0..2).for_each(|_| drop(hear()));
    for _ in 0..4 {
        let text = hear();
        assert!(text.starts_with("STATUS="), "{text}");
    }
    drop(python.stdin.take());
    hear_alive();
    python.wait().unwrap();
}

#[test]
fn root_serves_as_the_user_that_is_named_and_only_browsers_of_the_machine_otherwise() {
    if !serving::is_root() {
        let (code, _, err) = run(&["--demo", "--port=0", "--user", "1:1"]);
        assert!(code == Some(1) && err.contains("only root"), "{err}");
        return println!("skipped in part: this is not root");
    }
    let services: [(&[&str], _); 4] = [
        (&["--port=0", "--host", "0.0.0.0"], Stdio::null()),
        (&["--port=0", "--allow-host", "site.example"], Stdio::null()),
        (&["--scgi", "127.0.0.1:0"], Stdio::null()),
        (&["--stdin"], OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()).into()),
    ];
    for (flags, stdin) in services {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
        let refused = command.arg("--demo").args(flags).stdin(stdin).output().unwrap();
        let err = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(1) && err.contains("--user NAME"), "{flags:?}: {err}");
    }
    // Somebody looks at a folder, in a container as likely as not.
    let mut serving = Serving::start(&["--demo", "--port=0"]);
    assert!(
        serving
            .log()
            .lines()
            .map(Result::unwrap)
            .any(|line| line.contains("this is root") && line.contains("--user NAME"))
    );
    let (code, _, err) = run(&["--demo", "--port=0", "--user", "nobody-of-that-name"]);
    assert!(code == Some(1) && err.contains("UID:GID"), "{err}");
    if !serving::is_program() {
        return;
    }
    // Where everybody may run it.
    let folder = Folder::new(&[]);
    let (program, log) = (folder.path().join("program"), folder.path().join("log"));
    copy_to(&program);
    for user in ["65534:65533", "root"] {
        let mut command = Command::new(&program);
        command.args(["--demo", "--port=0", "--host=0.0.0.0", "--log=common", "--user", user, "--log-file"]).arg(&log);
        let serving = Serving::with(command.current_dir("/").stdin(Stdio::null()));
        assert!(serving.get("/as").starts_with("HTTP/1.1 200 "));
        let status = std::fs::read_to_string(format!("/proc/{}/status", serving.child.id())).unwrap();
        let (user, group) = if user == "root" { (0, 0) } else { (65534, 65533) };
        assert!(status.contains(&format!("\nUid:\t{user}\t{user}\t{user}\t")), "{status}");
        assert!(status.contains(&format!("\nGid:\t{group}\t{group}\t{group}\t")), "{status}");
        if user != 0 {
            assert!(status.contains("\nGroups:\t \n") || status.contains("\nGroups:\t\n"), "{status}");
        }
        wait_for(&log, |text| text.contains("GET /as"));
    }
}

#[test]
fn root_gives_nobody_a_file_that_was_there_nor_writes_into_it() {
    if !serving::is_root() {
        return println!("skipped: this is not root");
    }
    if !serving::is_program() {
        return;
    }
    let folder = Folder::new(&[("secret", "of root's\n")]);
    let (program, secret, link) =
        (folder.path().join("program"), folder.path().join("secret"), folder.path().join("link"));
    copy_to(&program);
    // As the user puts it into a folder of its own.
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    for flag in ["--log-file", "--pid-file"] {
        let mut command = Command::new(&program);
        command.args(["--demo", "--port=0", "--user=65534:65533", flag]).arg(&link).current_dir("/");
        let mut serving = Serving::with(command.stdin(Stdio::null()));
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "of root's\n", "{flag}");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&secret).unwrap()), 0, "{flag}");
        let refused =
            serving.log().lines().map(Result::unwrap).any(|line| line.contains(flag) && line.contains("denied"));
        assert!(refused && serving.child.wait().unwrap().code() == Some(1), "{flag}");
    }
}
