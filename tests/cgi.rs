//! `app::Cgi` with real programs: what they are given, what becomes of what they say, and that none of them outlives its request.
#![cfg(unix)]

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use doorway::middleware::Mount;
use doorway::{Application, Cause, Environ, StartResponse, app};
use support::{House, PATIENCE, Response, parse, serve, serve_with};

/// A folder of programs, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(scripts: &[(&str, &str)]) -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("doorway-cgi-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let folder = Folder(path.canonicalize().unwrap());
        for (name, script) in scripts {
            folder.write(name, &format!("#!/bin/sh\n{script}\n"), 0o755);
        }
        folder
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let file = self.0.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        // Written by another process: a descriptor for writing that a fork of another test has inherited would make it busy (ETXTBSY).
        let mut writer = Command::new("sh");
        let mut child =
            writer.args(["-c", "cat > \"$0\""]).arg(&file).stdin(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn cgi(&self) -> app::Cgi {
        app::Cgi::directory(&self.0).unwrap()
    }

    fn house(&self) -> House {
        serve(Mount::new().at("/cgi-bin", self.cgi()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn get(house: &House, target: &str) -> Response {
    house.ask_one(format!("GET {target} HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n").as_bytes())
}

fn post(house: &House, target: &str, content: &str) -> Response {
    let length = content.len();
    house.ask_one(
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{content}")
            .as_bytes(),
    )
}

/// Waits until a process is gone, which includes that it was reaped.
fn is_gone(pid: &str) {
    let give_up = Instant::now() + PATIENCE;
    while Path::new("/proc").join(pid).exists() || alive(pid) {
        assert!(Instant::now() < give_up, "process {pid} is still there");
        std::thread::yield_now();
    }
}

fn alive(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(std::process::Stdio::null()).status().unwrap().success()
}

fn written(file: &Path) -> String {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match std::fs::read_to_string(file) {
            Ok(text) if text.ends_with('\n') => return text.trim_end().to_owned(),
            _ => assert!(Instant::now() < give_up, "{} was never written", file.display()),
        }
        std::thread::yield_now();
    }
}

#[test]
fn rfc3875_4_1_a_program_gets_the_request_in_a_clean_environment() {
    let folder = Folder::new(&[("env.sh", "echo Content-Type: text/plain; echo; env; pwd; echo \"args: $*\"")]);
    let house = folder.house();
    let response = house.ask_one(
        b"GET /cgi-bin/env.sh/a%20b//c?one+two HTTP/1.1\r\nHost: site.example:81\r\nConnection: close\r\nProxy: evil\r\n\
        Authorization: Basic secret\r\nX-A: 1\r\nLD_PRELOAD: evil\r\n\r\n",
    );
    let text = response.text();
    let root = folder.0.display();
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1",
        "REQUEST_METHOD=GET",
        "SCRIPT_NAME=/cgi-bin/env.sh",
        "PATH_INFO=/a b//c",
        &format!("PATH_TRANSLATED={root}/a b//c"),
        &format!("SCRIPT_FILENAME={root}/env.sh"),
        "QUERY_STRING=one+two",
        "SERVER_NAME=site.example",
        "SERVER_PROTOCOL=HTTP/1.1",
        "REMOTE_ADDR=127.0.0.1",
        "HTTP_X_A=1",
        "HTTP_HOST=site.example:81",
        &root.to_string(),
        "args: ",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    assert!(text.contains("SERVER_PORT=") && text.contains("SERVER_SOFTWARE=doorway"), "{text}");
    for part in ["evil", "secret", "CARGO", "CONTENT_LENGTH"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
}

#[test]
fn rfc3875_4_2_content_is_the_standard_input_and_has_a_length() {
    let folder = Folder::new(&[("echo.sh", "echo \"X-Length: $CONTENT_LENGTH\"; echo; exec cat")]);
    let house = folder.house();
    let long = "0123456789".repeat(100_000);
    for content in ["hello", "", &long] {
        let response = post(&house, "/cgi-bin/echo.sh", content);
        assert!(response.text() == content, "{} bytes", content.len());
        assert_eq!(
            response.all("X-Length"),
            [if content.is_empty() { String::new() } else { content.len().to_string() }.as_bytes()]
        );
    }
    let chunked = house.ask_one(
        b"POST /cgi-bin/echo.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    assert_eq!((chunked.text(), chunked.field("X-Length")), ("hello", Some("5")));
}

#[test]
fn a_program_may_open_its_own_input_and_output_by_name() {
    if !Path::new("/dev/stdin").exists() {
        println!("skipped: there is no /dev/stdin");
        return;
    }
    let folder = Folder::new(&[("names.sh", "echo A: b; echo; cat /dev/stdin > /dev/stdout; echo oops > /dev/stderr")]);
    let house = folder.house();
    assert_eq!(post(&house, "/cgi-bin/names.sh", "hello").text(), "hello");
}

#[test]
fn rfc3875_6_documents_redirects_and_statuses() {
    let folder = Folder::new(&[
        ("status.sh", "echo 'Status: 418 Teapot'; echo 'X-A: 1'; echo; echo short"),
        ("away.sh", "echo 'Location: https://other.example/x'; echo"),
        ("local.sh", "echo 'Location: /cgi-bin/target.sh/p?q=1'; echo"),
        ("outside.sh", "echo 'Location: /elsewhere?q'; echo"),
        ("circle.sh", "echo 'Location: /cgi-bin/circle.sh'; echo"),
        (
            "target.sh",
            "echo 'Content-Type: text/plain'; echo; echo \"$REQUEST_METHOD $PATH_INFO $QUERY_STRING [$CONTENT_LENGTH]\"",
        ),
    ]);
    let house = folder.house();
    let response = get(&house, "/cgi-bin/status.sh");
    assert_eq!((response.status, &*response.reason, response.text()), (418, "Teapot", "short\n"));
    let response = get(&house, "/cgi-bin/away.sh");
    assert_eq!((response.status, response.field("Location")), (302, Some("https://other.example/x")));
    assert_eq!(post(&house, "/cgi-bin/local.sh", "hello").text(), "GET /p q=1 []\n");
    let response = get(&house, "/cgi-bin/outside.sh");
    assert_eq!((response.status, response.field("Location")), (302, Some("/elsewhere?q")));
    assert_eq!(get(&house, "/cgi-bin/circle.sh").status, 502);
    let head = house.ask_one(b"HEAD /cgi-bin/status.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (418, 0));
}

#[test]
fn rfc3875_6_2_2_a_program_that_names_another_path_here_does_what_it_has_left_to_do() {
    let folder = Folder::new(&[
        ("leave.sh", "echo 'Location: /cgi-bin/target.sh'; echo; sleep 0.2; cat > /dev/null; echo done > done"),
        ("target.sh", "echo A: b; echo; cat done; rm done"),
        ("never.sh", "echo $$ > pid; echo 'Location: /cgi-bin/target.sh'; echo; exec sleep 1000"),
        ("login.sh", "echo 'Set-Cookie: a=b'; echo 'Location: /cgi-bin/target.sh'; echo"),
    ]);
    let house = serve(Mount::new().at("/cgi-bin", folder.cgi().programs(1)));
    // The second has more content than it takes before it says so.
    for content in ["", &"x".repeat(1 << 20)] {
        assert_eq!(post(&house, "/cgi-bin/leave.sh", content).text(), "done\n");
    }
    assert_eq!(house.log.causes(), []);
    // With other fields it is no local redirect: they are for the client.
    let response = get(&house, "/cgi-bin/login.sh");
    let fields = ["Location", "Set-Cookie"].map(|name| response.field(name));
    assert_eq!((response.status, fields), (302, [Some("/cgi-bin/target.sh"), Some("a=b")]));
    let house = serve(Mount::new().at("/cgi-bin", folder.cgi().silent_deadline(Duration::from_secs(1))));
    assert_eq!(get(&house, "/cgi-bin/never.sh").status, 504);
    is_gone(&written(&folder.0.join("pid")));
}

#[test]
fn what_is_no_program_inside_the_directory_is_not_run() {
    let folder = Folder::new(&[
        ("a.sh", "echo A: b; echo; echo ran"),
        ("sub/b.sh", "echo A: b; echo; echo ran"),
        (".c.sh", "echo A: b; echo"),
        (".well-known/d.sh", "echo A: b; echo"),
        ("sub/.well-known/e.sh", "echo A: b; echo"),
    ]);
    folder.write("plain.sh", "#!/bin/sh\necho A: b; echo\n", 0o644);
    std::os::unix::fs::symlink("/bin/echo", folder.0.join("out")).unwrap();
    let house = folder.house();
    assert_eq!(get(&house, "/cgi-bin/sub/b.sh").text(), "ran\n");
    for target in [
        "/cgi-bin/",
        "/cgi-bin/sub/",
        "/cgi-bin/none.sh",
        "/cgi-bin/plain.sh",
        "/cgi-bin/.c.sh",
        "/cgi-bin/.well-known/d.sh",
        "/cgi-bin/sub/.well-known/e.sh",
        "/cgi-bin/out",
        "/cgi-bin/sub/../a.sh",
        "/cgi-bin/%2e%2e/a.sh",
        "/cgi-bin/a.sh%2f..%2f..%5c",
    ] {
        let response = get(&house, target);
        let ran_itself = target.starts_with("/cgi-bin/a.sh%2f");
        assert_eq!(response.status, if ran_itself { 200 } else { 404 }, "{target}");
    }
}

#[test]
fn a_program_that_cannot_run_is_a_502_and_the_log_says_what_to_do() {
    let folder = Folder::new(&[
        ("nph-a", "printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhi'"),
        ("line", "printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhi'"),
    ]);
    folder.write("no-head", "#!/bin/sh\necho hello\n", 0o755);
    folder.write("bad-interpreter", "#!/no/such/interpreter\n", 0o755);
    folder.write("no-line", "\u{1}\u{2}", 0o755);
    for (name, part) in [
        ("bad-interpreter", "the interpreter that its first line names is not there"),
        ("no-line", "#!/bin/sh"),
        ("no-head", "before the empty line that ends its head"),
        ("nph-a", "NPH"),
        ("line", "NPH"),
    ] {
        if part != "NPH" && Command::new(folder.0.join(name)).status().is_ok() {
            println!(
                "skipped in part: whoever starts a program is not told that it cannot run, as where a processor is emulated"
            );
            continue;
        }
        let house = folder.house();
        assert_eq!(get(&house, &format!("/cgi-bin/{name}")).status, 502, "{name}");
        let seen = house.log.take(Cause::ApplicationError);
        assert!(seen.detail.starts_with("cgi /") && seen.detail.contains(part), "{name}: {}", seen.line);
    }
    assert!(app::Cgi::program(folder.0.join("none")).is_err());
    assert!(app::Cgi::directory(folder.0.join("line")).is_err());
}

#[test]
fn an_answer_without_a_good_head_is_a_502() {
    let folder = Folder::new(&[
        ("nothing", "exit 3"),
        ("half", "printf 'Content-Type: text/pl'"),
        ("no-head", "echo hello; echo; echo"),
        ("two-lengths", "printf 'Content-Length: 5\\nContent-Length: 6\\n\\nhello'"),
        ("split", "printf 'A: b\\r\\nB: c\\nC: d\\r\\n\\r\\n'"),
        (
            "endless",
            "while :; do echo 'A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'; done",
        ),
    ]);
    let house = folder.house();
    for name in ["nothing", "half", "no-head", "two-lengths", "split", "endless"] {
        assert_eq!(get(&house, &format!("/cgi-bin/{name}")).status, 502, "{name}");
    }
    let give_up = Instant::now() + PATIENCE;
    while !house
        .log
        .texts()
        .iter()
        .any(|text| text.starts_with("nothing[") && text.ends_with("]: ended with exit code 3\n"))
    {
        assert!(Instant::now() < give_up, "{:?}", house.log.texts());
        std::thread::yield_now();
    }
}

#[test]
fn what_a_program_says_on_standard_error_is_logged_line_by_line_with_its_name_and_number() {
    let folder =
        Folder::new(&[("talk.sh", "echo one >&2; printf 'two\\n\\033[31mthree' >&2; echo A: b; echo; echo $$")]);
    let house = folder.house();
    let pid = get(&house, "/cgi-bin/talk.sh").text().trim().to_owned();
    let expected: Vec<String> = ["one", "two", r"\x1B[31mthree"].map(|text| format!("talk.sh[{pid}]: {text}\n")).into();
    let give_up = Instant::now() + PATIENCE;
    while house.log.texts() != expected {
        assert!(Instant::now() < give_up, "{:?}", house.log.texts());
        std::thread::yield_now();
    }
}

#[test]
fn output_goes_to_the_client_as_it_comes() {
    let folder = Folder::new(&[("slow.sh", "echo A: b; echo; echo one; read x < fifo; echo two")]);
    assert!(Command::new("mkfifo").arg(folder.0.join("fifo")).status().unwrap().success());
    let house = folder.house();
    let mut client = house.client();
    client.send(b"GET /cgi-bin/slow.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.until(b"one\n");
    std::fs::write(folder.0.join("fifo"), "go\n").unwrap();
    assert_eq!(client.response().text(), "one\ntwo\n");
}

/// The most memory that this process has had, in kB, where the system says so.
fn peak() -> Option<u64> {
    let memory = std::fs::read_to_string("/proc/self/status").ok()?;
    memory.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}

#[test]
fn a_program_that_prints_a_gigabyte_is_passed_on_whole_and_costs_no_memory() {
    const GIGABYTE: usize = 1 << 30;
    let folder = Folder::new(&[("long.sh", "echo A: b; echo; exec head -c 1073741824 /dev/zero")]);
    let house = folder.house();
    let mut client = house.client();
    client.send(b"GET /cgi-bin/long.sh HTTP/1.0\r\nHost: a\r\n\r\n");
    let (mut came, mut room) = (0, vec![0; 1 << 20]);
    loop {
        match std::io::Read::read(&mut client.stream, &mut room).unwrap() {
            0 => break,
            length => came += length,
        }
    }
    assert!((GIGABYTE..GIGABYTE + 1000).contains(&came), "{came} bytes with the head");
    if let Some(peak) = peak() {
        assert!(peak < 90_000, "{peak} kB after a gigabyte of output");
    }
}

#[test]
fn an_answer_of_up_to_a_mebibyte_is_off_the_hands_of_its_program_before_the_client_takes_any_of_it() {
    let folder = Folder::new(&[("long.sh", "echo A: b; echo; exec head -c 1048576 /dev/zero")]);
    // It has a length where its end has been seen; on a busy machine not each time.
    let is_gathered = |cgi: app::Cgi| {
        let house = serve(Mount::new().at("/cgi-bin", cgi));
        (0..20).any(|_| {
            let response = get(&house, "/cgi-bin/long.sh");
            assert_eq!((response.status, response.body.len()), (200, 1 << 20));
            matches!(response.delimiter, support::Delimiter::Length(_))
        })
    };
    assert!(is_gathered(folder.cgi()));
    assert!(!is_gathered(folder.cgi().gather_answer((1 << 20) - 1)));
}

#[test]
fn a_program_that_prints_without_end_dies_with_its_client() {
    let folder = Folder::new(&[("endless.sh", "echo $$ > pid; echo A: b; echo; exec yes")]);
    let house = folder.house();
    let mut client = house.client();
    client.send(b"GET /cgi-bin/endless.sh HTTP/1.1\r\nHost: a\r\n\r\n");
    client.until(&b"y\n".repeat(1000));
    drop(client);
    is_gone(&written(&folder.0.join("pid")));
}

#[test]
fn a_program_that_reads_nothing_of_a_large_content_can_still_answer() {
    let folder = Folder::new(&[("deaf.sh", "echo A: b; echo; echo deaf")]);
    let house = folder.house();
    assert_eq!(post(&house, "/cgi-bin/deaf.sh", &"x".repeat(3_000_000)).text(), "deaf\n");
}

#[test]
fn a_program_that_sleeps_for_ever_is_killed_at_the_deadline_with_whatever_it_has_started() {
    let folder = Folder::new(&[
        ("before.sh", "sleep 1000 & echo $$ $! > pids; wait"),
        ("after.sh", "sleep 1000 & echo $$ $! > pids; echo A: b; echo; echo begun; wait"),
        ("left.sh", "sleep 1000 & echo $! > pids; echo A: b; echo; echo begun"),
    ]);
    for (name, is_cut) in [("before.sh", false), ("after.sh", true), ("left.sh", true)] {
        let _ = std::fs::remove_file(folder.0.join("pids"));
        let house = serve(Mount::new().at("/cgi-bin", folder.cgi().silent_deadline(Duration::from_millis(150))));
        let mut client = house.client();
        client.send(format!("GET /cgi-bin/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        let bytes = client.until_end();
        if is_cut {
            assert!(bytes.windows(5).any(|part| part == b"begun") && parse(&bytes, false, true).is_none(), "{name}");
        } else {
            assert_eq!(parse(&bytes, false, true).unwrap().0.status, 504, "{name}");
        }
        written(&folder.0.join("pids")).split(' ').for_each(is_gone);
    }
}

#[test]
fn a_program_that_never_ends_by_itself_has_a_total_deadline() {
    let folder = Folder::new(&[("tick.sh", "echo $$ > pid; echo A: b; echo; while :; do echo tick; done")]);
    let house = serve(Mount::new().at("/cgi-bin", folder.cgi().total_deadline(Duration::from_millis(200))));
    let mut client = house.client();
    client.send(b"GET /cgi-bin/tick.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(parse(&client.until_end(), false, true).is_none());
    is_gone(&written(&folder.0.join("pid")));
}

#[test]
fn a_program_has_no_more_than_its_total_deadline_whatever_it_waits_for_and_whoever_waits_for_it() {
    let silent = "echo A: b; echo; echo begun; exec sleep 1000";
    for (method, script, status) in [
        // While its content is waited for before the response begins.
        ("GET", "sleep 0.35; echo A: b; echo; echo begun; exec sleep 1000", Some(504)),
        // Whole with its head, so that nobody waits for the rest.
        ("HEAD", silent, Some(200)),
        ("GET", "echo Status: 204; echo; exec sleep 1000", Some(204)),
        ("GET", "echo Content-Length: 2; echo; printf ok; exec sleep 1000", Some(200)),
        ("GET", silent, None),
        ("GET", "exec sleep 1000", Some(504)),
        // It has ended, and what it has started holds its output.
        ("GET", "sleep 1000 & echo $! > pid; echo A: b; echo; echo begun", None),
        // It reads nothing of its content.
        ("POST", "exec sleep 1000", Some(504)),
    ] {
        let folder =
            Folder::new(&[("x.sh", &format!("echo $$ > pid; {script}")), ("next.sh", "echo A: b; echo; echo ran")]);
        let cgi = folder.cgi().programs(1).total_deadline(Duration::from_millis(400));
        let house = serve(Mount::new().at("/cgi-bin", cgi));
        let content = if method == "POST" { "x".repeat(3_000_000) } else { String::new() };
        let mut client = house.client();
        let head = format!(
            "{method} /cgi-bin/x.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        client.send(&[head.as_bytes(), content.as_bytes()].concat());
        let answer = parse(&client.until_end(), method == "HEAD", true);
        assert_eq!(answer.map(|(response, _)| response.status), status, "{method} {script}");
        is_gone(&written(&folder.0.join("pid")));
        assert_eq!(get(&house, "/cgi-bin/next.sh").text(), "ran\n", "{method} {script}");
    }
}

#[test]
fn what_a_program_has_written_in_time_may_be_taken_later() {
    const TOTAL: Duration = Duration::from_millis(300);
    let folder = Folder::new(&[("x.sh", "echo $$ > pid; echo A: b; echo; exec head -c 100000 /dev/zero")]);
    let (cgi, pid) = (folder.cgi().gather_answer(0).total_deadline(TOTAL), folder.0.join("pid"));
    let late = move |environ: &Environ, start_response: &mut StartResponse| {
        let begin = Instant::now();
        let body = cgi.call(environ, start_response);
        is_gone(&written(&pid));
        while begin.elapsed() < 2 * TOTAL {
            std::thread::yield_now();
        }
        body
    };
    let response = get(&serve(late), "/x.sh");
    assert_eq!((response.status, response.body.len()), (200, 100_000));
}

#[test]
fn a_program_whose_answer_is_whole_does_what_it_has_left_to_do() {
    for script in ["echo Status: 204; echo", "echo Content-Length: 2; echo; printf ok", "echo A: b; echo; exec >&-"] {
        let folder = Folder::new(&[("x.sh", &format!("{script}; sleep 0.2; echo done > done"))]);
        let house = folder.house();
        assert!(get(&house, "/cgi-bin/x.sh").status < 300, "{script}");
        assert_eq!(written(&folder.0.join("done")), "done", "{script}");
    }
}

#[test]
fn a_process_that_has_left_the_group_keeps_the_place_of_no_program() {
    let folder = Folder::new(&[
        ("daemon.sh", "setsid sleep 1000 & echo $! > pid; echo A: b; echo; echo begun"),
        ("next.sh", "echo A: b; echo; echo ran"),
    ]);
    if Command::new("setsid").arg("true").status().is_err() {
        println!("skipped: setsid is not installed");
        return;
    }
    let cgi = folder.cgi().programs(1).silent_deadline(Duration::from_millis(400));
    let house = serve(Mount::new().at("/cgi-bin", cgi));
    let mut client = house.client();
    client.send(b"GET /cgi-bin/daemon.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(parse(&client.until_end(), false, true).is_none());
    let next = get(&house, "/cgi-bin/next.sh");
    Command::new("kill").arg(written(&folder.0.join("pid"))).status().unwrap();
    assert_eq!(next.text(), "ran\n");
}

#[test]
fn a_program_for_which_no_thread_can_be_started_is_killed_and_the_request_a_502() {
    const FOLDER: &str = "DOORWAY_TEST_WITHOUT_THREADS";
    if let Some(folder) = std::env::var_os(FOLDER) {
        // Room for what starts a process, and for no stack of a thread.
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let size = 4096 * pages.split(' ').next().unwrap().parse::<u64>().unwrap() + 100 * 1024;
        let cgi = app::Cgi::directory(folder).unwrap();
        let mut limit = Command::new("prlimit");
        assert!(
            limit
                .args(["--pid", &std::process::id().to_string(), &format!("--as={size}:")])
                .status()
                .unwrap()
                .success()
        );
        let response = doorway::testing::Request::get("/x.sh").call(&cgi);
        return println!("answered {}: {}", response.status.code(), response.errors);
    }
    let Some(itself) = support::itself() else { return };
    if Command::new("prlimit").output().is_err() || !Path::new("/proc/self/statm").exists() {
        println!("skipped: prlimit is not installed");
        return;
    }
    let folder = Folder::new(&[("x.sh", "echo $$ > pid; exec sleep 1000")]);
    let mut command = Command::new("timeout");
    command.arg("10").arg(itself).args([
        "--exact",
        "--nocapture",
        "a_program_for_which_no_thread_can_be_started_is_killed_and_the_request_a_502",
    ]);
    let output = command.env(FOLDER, &folder.0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let is_so = said.contains("answered 502: ") && said.contains("]: ended by signal 9\n");
    assert!(is_so, "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_program_that_a_signal_ends_cuts_its_response_or_is_a_502_where_nothing_of_it_was_sent() {
    let folder = Folder::new(&[
        ("begun.sh", "echo A: b; echo; echo begun; kill -SEGV $$"),
        ("long.sh", "echo A: b; echo; head -c 2000000 /dev/zero; kill -SEGV $$"),
    ]);
    let house = folder.house();
    assert_eq!(get(&house, "/cgi-bin/begun.sh").status, 502);
    assert!(house.log.take(Cause::ApplicationError).detail.contains("5004 upstream-truncated"));
    let mut client = house.client();
    client.send(b"GET /cgi-bin/long.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let bytes = client.until_end();
    assert!(parse(&bytes, false, true).is_none(), "{} bytes", bytes.len());
    house.log.take(Cause::UpstreamTruncated);
}

#[test]
fn no_more_programs_run_than_are_allowed_and_who_waits_too_long_is_told() {
    let folder = Folder::new(&[
        ("hold.sh", "echo $$ > pid; echo A: b; echo; read x < fifo; echo done"),
        ("quick.sh", "echo A: b; echo; echo ran"),
    ]);
    assert!(Command::new("mkfifo").arg(folder.0.join("fifo")).status().unwrap().success());
    let cgi = folder.cgi().programs(1).queue_deadline(Duration::from_millis(30));
    let house = serve(Mount::new().at("/cgi-bin", cgi));
    let mut client = house.client();
    client.send(b"GET /cgi-bin/hold.sh HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let pid = written(&folder.0.join("pid"));
    assert_eq!(get(&house, "/cgi-bin/quick.sh").status, 503);
    assert!(house.log.take(Cause::ApplicationError).detail.contains("5008 upstream-busy"));
    std::fs::write(folder.0.join("fifo"), "go\n").unwrap();
    assert_eq!(client.response().text(), "done\n");
    is_gone(&pid);
    let give_up = Instant::now() + PATIENCE;
    while get(&house, "/cgi-bin/quick.sh").status != 200 {
        assert!(Instant::now() < give_up);
    }
}

#[test]
fn git_clones_fetches_and_pushes_over_git_http_backend() {
    let backend = Command::new("git").arg("--exec-path").output().ok().filter(|output| output.status.success());
    let backend =
        backend.map(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("git-http-backend"));
    let Some(backend) = backend.filter(|backend| backend.exists()) else {
        println!("skipped: git has no http-backend here");
        return;
    };
    let folder = Folder::new(&[]);
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main"]);
        let output = command.args(arguments).current_dir(&folder.0).env("GIT_TERMINAL_PROMPT", "0").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "-q", "--bare", "srv/project.git"]);
    git(&["-C", "srv/project.git", "config", "http.receivepack", "true"]);
    let root = folder.0.join("srv");
    let cgi = app::Cgi::program(backend).unwrap();
    let cgi = cgi.env("GIT_PROJECT_ROOT", root.to_str().unwrap()).env("GIT_HTTP_EXPORT_ALL", "1");
    let house = serve_with(Mount::new().at("/git", cgi), |settings| settings.max_content = None);
    let url = format!("http://{}/git/project.git", house.tcp());
    git(&["clone", "-q", &url, "one"]);
    // More than git sends with a length: the push is chunked, beyond what its postBuffer holds.
    let noise: Vec<u8> = (0..3_000_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    std::fs::write(folder.0.join("one/large"), &noise).unwrap();
    git(&["-C", "one", "add", "."]);
    git(&["-C", "one", "commit", "-q", "-m", "first"]);
    git(&["-c", "http.postBuffer=8000000", "-C", "one", "push", "-q", "origin", "HEAD:main"]);
    git(&["clone", "-q", "-b", "main", &url, "two"]);
    assert!(std::fs::read(folder.0.join("two/large")).unwrap() == noise);
    std::fs::write(folder.0.join("one/small"), "second").unwrap();
    git(&["-C", "one", "add", "."]);
    git(&["-C", "one", "commit", "-q", "-m", "second"]);
    git(&["-C", "one", "push", "-q", "origin", "HEAD:main"]);
    git(&["-C", "two", "fetch", "-q"]);
    git(&["-C", "two", "merge", "-q", "origin/main"]);
    assert_eq!(std::fs::read_to_string(folder.0.join("two/small")).unwrap(), "second");
}
