//! `doorway --wsgi`: the worker keeps the rules of PEP 3333, and the supervisor loses no request, whatever becomes of a worker. Needs
//! python3; the frameworks are in tests/wsgi_frameworks.rs.
#![cfg(unix)]

mod serving;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serving::{Folder, PATIENCE, Serving, ask, wait_for};

const SINS: &str = include_str!("python/sins.py");

/// Whether there is a Python; says so where there is none.
fn has_python() -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: python3 is not installed");
    }
    there
}

fn doorway(folder: &Folder, application: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    command.args(["--port", "0", "--log", "off", "--wsgi", application]).args(flags);
    command
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .env_remove("VIRTUAL_ENV")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A command whose log is read all the time, so that it never waits for that.
struct House {
    serving: Serving,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl House {
    fn start(folder: &Folder, application: &str, flags: &[&str]) -> House {
        let mut serving = Serving::with(&mut doorway(folder, application, flags));
        let (sender, lines) = channel();
        let log = serving.log();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        House { serving, lines, seen: Vec::new() }
    }

    fn sins(flags: &[&str]) -> (Folder, House) {
        let folder = Folder::new(&[("sins.py", SINS)]);
        let house = House::start(&folder, "sins:application", flags);
        (folder, house)
    }

    /// By HTTP/1.0, so that the content stands in the response as it is.
    fn get(&self, path: &str) -> String {
        self.serving.ask(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
    }

    fn post(&self, path: &str, content: &str) -> String {
        let length = content.len();
        self.serving
            .ask(&format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{content}"))
    }

    /// The worker, in a call that never ends, and the client of that.
    fn hangs(&mut self) -> (String, TcpStream) {
        let pid = body(&self.get("/pid")).to_owned();
        let mut client = TcpStream::connect(self.serving.address()).unwrap();
        client.write_all(b"GET /hang HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        self.logged("hanging");
        (pid, client)
    }

    /// Waits for a line of the log that holds this.
    fn logged(&mut self, part: &str) -> String {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.iter().position(|line| line.contains(part)) {
                return self.seen.remove(at);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("the log never said {part:?} ({error}): {:#?}", self.seen),
            }
        }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.serving.child.id().to_string()]).status().unwrap().success());
    }
}

fn status(response: &str) -> &str {
    response
        .split("\r\n")
        .next()
        .unwrap()
        .strip_prefix("HTTP/1.1 ")
        .unwrap_or_else(|| panic!("no response: {response}"))
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {response}")).1
}

/// Sends requests from several clients until it is told to stop; gives how many were answered, and what was wrong.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<std::thread::JoinHandle<(usize, Vec<String>)>>,
}

impl Load {
    fn start(house: &House, clients: usize, path: &'static str) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..clients)
            .map(|_| {
                let (stop, address) = (Arc::clone(&stop), house.serving.address().to_owned());
                std::thread::spawn(move || {
                    let (mut fine, mut wrong) = (0, Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        let response = ask(&address, format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
                        if response.starts_with("HTTP/1.1 200 ") { fine += 1 } else { wrong.push(response) }
                    }
                    (fine, wrong)
                })
            })
            .collect();
        Load { stop, clients }
    }

    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = (0, Vec::new());
        for client in self.clients {
            let (fine, wrong) = client.join().unwrap();
            all.0 += fine;
            all.1.extend(wrong);
        }
        all
    }
}

// ------------------------------------------------------------------------------------------------------------ PEP 3333

#[test]
fn pep3333_what_an_application_gets_is_what_the_client_has_sent() {
    if !has_python() {
        return;
    }
    let folder = Folder::new(&[("sins.py", SINS)]);
    let house = House::start(&folder, "/app=sins:application", &["--workers", "2", "--worker-threads", "3"]);
    let response = house.serving.ask(
        "POST /app/caf%C3%A9%2Fx?a=%20b HTTP/1.0\r\nHost: localhost\r\nX-A: 1\r\nX-A: 2\r\nProxy: evil\r\n\
        Content-Type: text/x\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert_eq!(
        body(&response),
        "REQUEST_METHOD='POST'\nSCRIPT_NAME='/app'\nPATH_INFO='/cafÃ©/x'\nQUERY_STRING='a=%20b'\n\
        CONTENT_TYPE='text/x'\nCONTENT_LENGTH='5'\nHTTP_X_A='1, 2'\nwsgi.version=(1, 0)\nwsgi.url_scheme='http'\n\
        wsgi.multithread=True\nwsgi.multiprocess=True\nwsgi.run_once=False\nwsgi.input_terminated=True\nhello"
    );
    let folder = Folder::new(&[("sins.py", SINS)]);
    let single = House::start(&folder, "sins:application", &["--worker-threads", "1"]);
    let text = single.get("/anything");
    assert!(
        text.contains("wsgi.multithread=False\nwsgi.multiprocess=False\n") && !text.contains("CONTENT_LENGTH"),
        "{text}"
    );
    assert!(text.contains("SCRIPT_NAME=''\nPATH_INFO='/anything'\n"), "{text}");
}

#[test]
fn p_sr_02_03_07_11_p_hdr_03_04_06_a_wrong_start_is_a_500_and_nothing_of_it_reaches_the_client() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&[]);
    for (path, part) in [
        ("/status-crlf", "no status: '200 OK\\r\\nX-Injected: yes'"),
        ("/value-crlf", "no header can be 'X-A'"),
        ("/name-space", "no header can be 'X A'"),
        ("/start-twice", "start_response was called a second time"),
        ("/start-twice-after-bad", "start_response was called a second time"),
        ("/never-starts", "before start_response was called"),
        ("/hop-by-hop", "Connection is a header of the server's"),
        ("/status-header", "Status is a header of the server's"),
        ("/two-lengths", "Content-Length is one number"),
        ("/not-bytes", "a block of a body is bytes, and not str"),
        ("/raises", "ValueError: secret"),
        ("/exits", "SystemExit: 7"),
    ] {
        let response = house.get(path);
        assert_eq!(
            (status(&response), body(&response)),
            ("500 Internal Server Error", "500 Internal Server Error\n"),
            "{path}"
        );
        assert!(!response.contains("X-Injected"), "{path}: {response}");
        house.logged(&format!("error in GET {path}"));
        house.logged(part);
    }
    assert_eq!(body(&house.get("/hello")), "hello");
}

#[test]
fn p_sr_06_08_09_10_the_head_waits_for_the_first_block_and_can_be_replaced_until_then() {
    if !has_python() {
        return;
    }
    let (_folder, house) = House::sins(&[]);
    let swapped = house.get("/empty-first");
    assert_eq!((status(&swapped), body(&swapped)), ("503 Swapped", "swapped"));
    assert!(swapped.contains("\r\nX-Second: 1\r\n") && !swapped.contains("X-First"), "{swapped}");
    let late = house.get("/late-start");
    assert_eq!((status(&late), body(&late)), ("201 Late", "late"));
    let cookies = house.get("/cookies");
    assert!(cookies.contains("\r\nSet-Cookie: a=1\r\nLocation: /x\r\nSet-Cookie: b=2\r\n"), "{cookies}");
    assert!(cookies.contains("\r\nContent-Length: 0\r\n"), "{cookies}");
    for path in ["/exc-info-late", "/raises-later"] {
        let cut = house.serving.get(path);
        assert!(
            cut.starts_with("HTTP/1.1 200 OK\r\n") && !cut.ends_with("\r\n0\r\n\r\n") && !cut.contains("never"),
            "{cut}"
        );
    }
}

#[test]
fn p_len_01_to_06_a_body_has_the_length_that_is_said_and_none_where_there_is_none() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&[]);
    assert!(house.get("/hello").contains("\r\nContent-Length: 5\r\n"));
    let chunked = house.serving.get("/two-blocks");
    assert!(chunked.contains("\r\nTransfer-Encoding: chunked\r\n") && chunked.ends_with("\r\n0\r\n\r\n"), "{chunked}");
    assert_eq!(body(&house.get("/two-blocks")), "onetwo");
    assert_eq!(body(&house.get("/too-long")), "abc");
    house.logged("the body of GET /too-long is longer than its Content-Length of 3");
    let short = house.get("/too-short");
    assert!(short.contains("\r\nContent-Length: 2000000\r\n") && short.ends_with("\r\n\r\nabc"), "{short}");
    house.logged("the body has 3 bytes, and Content-Length said 2000000");
    for path in ["/hello", "/two-blocks", "/too-long", "/endless"] {
        let head = house.serving.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }
    let none = house.get("/no-content");
    assert!(status(&none) == "204 No Content" && !none.contains("Content-Length") && body(&none).is_empty(), "{none}");
    let same = house.get("/not-modified");
    assert!(status(&same) == "304 Not Modified" && same.contains("ETag: \"a\"") && body(&same).is_empty(), "{same}");
    assert_eq!(body(&house.get("/writes")), "w1w2it");
}

#[test]
fn p_in_01_to_05_the_input_reads_as_a_file_and_ends_where_the_content_ends() {
    if !has_python() {
        return;
    }
    let (_folder, house) = House::sins(&[]);
    let content = "abcdef\nghi\njkl\nmno\nlast";
    let expected = "[b'ab', b'cde', b'f\\n', [b'ghi\\n'], b'jkl\\n', b'', b'mno\\nlast', b'', b'', [], []]";
    assert_eq!(body(&house.post("/lines", content)), expected);
    let chunked = house.serving.ask(
        "POST /lines HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
        8\r\nabcdef\ng\r\n9;x=y\r\nhi\njkl\nmn\r\n6\r\no\nlast\r\n0\r\n\r\n",
    );
    assert_eq!(body(&chunked), expected);
    // What comes with the head, what is received whole before the call, and what is not; then what nobody reads, before the next request.
    for length in [1, 15_000, 16_384, 60_000, 1_048_576, 1_048_577, 2_000_000] {
        let long = "0123456789".repeat(200_000);
        let (long, _) = long.split_at(length);
        assert!(house.post("/echo", long).ends_with(&format!("wsgi.input_terminated=True\n{long}")), "{length}");
        for _ in 0..5 {
            assert_eq!(body(&house.post("/hello", long)), "hello", "{length}");
        }
    }
    // Two requests, of which the second is no content of the first.
    let both = house.serving.ask(
        "POST /lines HTTP/1.1\r\nHost: localhost\r\nContent-Length: 24\r\n\r\nabcdef\nghi\njkl\nmno\nlast\
        \nGET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(both.ends_with("hello"), "{both}");
}

#[test]
fn p_body_01_a_block_is_on_its_way_before_the_next_is_asked_for() {
    if !has_python() {
        return;
    }
    let (folder, house) = House::sins(&[]);
    let mut client = TcpStream::connect(house.serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(client).lines().map(Result::unwrap).filter(|line| line.starts_with("block"));
    for n in 0..3 {
        assert_eq!(lines.next().unwrap(), format!("block {n}"));
        folder.write(&format!("go{n}"), "");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn p_body_04_close_is_called_whatever_becomes_of_the_answer() {
    if !has_python() {
        return;
    }
    let (folder, house) = House::sins(&[]);
    for path in ["/hello", "/raises-later", "/too-long", "/too-short", "/no-content", "/not-bytes"] {
        house.get(path);
    }
    house.serving.ask("HEAD /two-blocks HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut client = TcpStream::connect(house.serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /endless HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 100_000]).unwrap();
    drop(client);
    let closed = || std::fs::read_to_string(folder.path().join("closed")).unwrap_or_default();
    wait_for("all were closed", || closed().lines().count() == 8);
    let expected =
        ["/endless", "/hello", "/no-content", "/not-bytes", "/raises-later", "/too-long", "/too-short", "/two-blocks"];
    assert_eq!(closed().lines().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(body(&house.get("/hello")), "hello");
}

#[test]
fn p_file_01_to_06_a_file_is_sent_from_its_position_on_as_far_as_its_length() {
    if !has_python() {
        return;
    }
    let (_folder, house) = House::sins(&[]);
    assert!(body(&house.get("/file")) == &SINS[3..]);
    assert_eq!(body(&house.get("/file-length")), &SINS[3..10]);
    // Not the bytes of its descriptor, where it makes others of them.
    assert_eq!(body(&house.get("/file-unpacked")), "hello".repeat(1_000));
}

#[test]
fn p_el_01_to_06_what_an_application_says_is_in_the_log_in_any_script() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&[]);
    assert_eq!(body(&house.get("/errors")), "ok");
    house.logged("café ☃ \\udcff");
    for line in ["first line", "second line", "printed"] {
        assert_eq!(house.logged(line), line);
    }
}

#[test]
fn wsgiref_validate_has_nothing_to_say_and_a_factory_makes_an_application() {
    if !has_python() {
        return;
    }
    let (_folder, house) = House::sins(&[]);
    assert_eq!(body(&house.get("/validated")), "hello");
    let folder = Folder::new(&[("pkg/__init__.py", ""), ("pkg/sins.py", SINS)]);
    let made = House::start(&folder, "pkg.sins:application_factory(1, a=[2])", &[]);
    assert_eq!(body(&made.get("/")), "hello");
    assert_eq!(body(&made.post("/", "content")), "hello");
}

// ---------------------------------------------------------------------------------------------------------- supervision

#[test]
fn an_application_that_cannot_be_imported_is_exit_code_1_with_its_traceback_once() {
    if !has_python() {
        return;
    }
    let folder =
        Folder::new(&[("broken.py", "import no_such_module\n"), ("fine.py", "application = 5\nother = None\n")]);
    for (application, part) in [
        ("broken:app", "doorway: cannot load broken:app: ModuleNotFoundError: No module named 'no_such_module'"),
        ("missing:app", "doorway: cannot load missing:app: ModuleNotFoundError: No module named 'missing'"),
        ("fine:nothing", "doorway: cannot load fine:nothing: AttributeError"),
        ("fine", "cannot be called"),
        ("fine:1 + 1", "is neither a name nor a call of one"),
    ] {
        let output = doorway(&folder, application, &["--workers", "3"]).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{application}: {err}");
        assert!(err.contains(part) && err.matches("Traceback").count() == 1, "{application}: {err}");
    }
    // An emulator of another processor does not tell the command that there is no such program.
    if !serving::is_program() {
        return;
    }
    let output = doorway(&folder, "fine:other", &["--python", "/no/such/python"]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        err,
        "doorway: cannot run /no/such/python: there is no such program; install Python 3, or name it with --python PATH\n"
    );
}

#[test]
fn no_file_is_taken_where_python_looks_for_modules() {
    if !has_python() {
        return;
    }
    let folder = Folder::new(&[("sins.py", SINS), ("inbox/a", "")]);
    let mut refused = Serving::with(&mut doorway(&folder, "/app=sins:application", &["--upload"]));
    assert_eq!(refused.first_line, "", "it serves");
    let mut err = String::new();
    refused.log().read_to_string(&mut err).unwrap();
    assert!(
        refused.child.wait().unwrap().code() == Some(1) && err.contains("--wsgi would run what is put into"),
        "{err}"
    );
    let house = House::start(&folder, "/app=sins:application", &["--upload=inbox"]);
    assert_eq!(body(&house.get("/app/hello")), "hello");
}

#[test]
fn a_worker_that_ends_is_started_again_and_costs_the_request_it_had() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&["--workers", "2", "--worker-threads", "1"]);
    assert_eq!(status(&house.get("/die")), "502 Bad Gateway");
    let line = house.logged("ended with exit code 3, and another one is started");
    assert!(line.starts_with("doorway: worker "), "{line}");
    assert_eq!(body(&house.get("/hello")), "hello");
}

#[test]
fn a_worker_that_leaves_a_process_behind_is_started_again_all_the_same() {
    if !has_python() {
        return;
    }
    let (folder, mut house) = House::sins(&[]);
    assert_eq!(status(&house.get("/fork-and-die")), "502 Bad Gateway");
    house.logged("ended with exit code 4, and another one is started");
    assert_eq!(body(&house.get("/hello")), "hello");
    let child = || std::fs::read_to_string(folder.path().join("child")).unwrap_or_default();
    wait_for("the child said who it is", || child().ends_with('\n'));
    assert!(Command::new("kill").args(["-KILL", child().trim()]).status().unwrap().success());
}

/// When a process was started, in seconds as Python's `time.time()` gives them; Linux says so, in hundredths.
fn started(pid: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
    let ticks: f64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    Some(now() - (uptime - ticks / 100.0))
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn a_worker_killed_under_load_costs_at_most_the_requests_it_had_and_is_back_within_a_second() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&["--workers", "2", "--worker-threads", "2"]);
    let load = Load::start(&house, 4, "/hello");
    let mut known = BTreeSet::new();
    wait_for("both workers answer", || {
        known.insert(body(&house.get("/pid")).to_owned());
        known.len() == 2
    });
    for _ in 0..3 {
        let pid = body(&house.get("/pid")).to_owned();
        let killed = now();
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        // Who takes its place says when the application was there and when it was called.
        let (mut new, mut loaded, mut called) = (String::new(), 0.0, 0.0);
        wait_for("another one answers", || {
            let response = house.get("/times");
            let said: Vec<&str> = body(&response).split(' ').collect();
            if let [id, imported, asked] = said.as_slice() {
                (new, loaded, called) = ((*id).to_owned(), imported.parse().unwrap(), asked.parse().unwrap());
            }
            !new.is_empty() && known.insert(new.clone())
        });
        house.logged(&format!("worker {pid} was ended by signal 9, and another one is started"));
        let Some(started) = started(&new) else {
            println!("not timed: the system does not say when a process was started");
            continue;
        };
        // What Python takes to start and to import the application is its own. It is less than a tenth of a second, unless the machine is so
        // busy that everything takes longer.
        let (ours, python) = ((started - killed) + (called - loaded), loaded - started);
        println!("back after {:.3} s, of which {python:.3} s are Python's start", called - killed);
        assert!(ours < python.max(1.0), "{ours} s besides Python's start of {python} s");
    }
    let (fine, wrong) = load.stop();
    assert!(fine > 20, "{fine}");
    assert!(wrong.len() <= 3 * 2 && wrong.iter().all(|response| status(response) == "502 Bad Gateway"), "{wrong:?}");
}

#[test]
fn a_worker_that_hangs_is_killed_and_its_client_gets_504_and_the_log_says_where() {
    if !has_python() {
        return;
    }
    let (folder, mut house) = House::sins(&["--worker-timeout", "1", "--worker-threads", "2"]);
    let response = house.get("/sleep?100");
    assert_eq!(status(&response), "504 Gateway Timeout");
    house.logged("is silent for 1 s in GET /sleep?100, and killed");
    house.logged("in sleep");
    house.logged("was ended by signal 9, and another one is started");
    assert_eq!(body(&house.get("/hello")), "hello");
    // In the middle of an answer the client sees it cut.
    let cut = house.serving.get("/stream");
    assert!(cut.contains("block 0\n") && !cut.ends_with("\r\n0\r\n\r\n"), "{cut}");
    house.logged("is silent for 1 s in GET /stream, and killed");
    assert_eq!(body(&house.get("/hello")), "hello");
    // Behind a whole answer it is as silent, once a close has lasted.
    assert_eq!(body(&house.get("/lasting")), "whole");
    let closed = || std::fs::read_to_string(folder.path().join("closed")).unwrap_or_default();
    wait_for("it is closed", || closed().contains("/lasting"));
    assert_eq!(body(&house.get("/hello")), "hello");
    assert_eq!(body(&house.get("/lasting")), "whole");
    house.logged("is silent for 1 s in GET /lasting, and killed");
    assert_eq!(body(&house.get("/hello")), "hello");
}

#[test]
fn a_client_that_takes_its_time_makes_no_worker_hang() {
    if !has_python() {
        return;
    }
    let folder = Folder::new(&[("sins.py", SINS)]);
    let door = folder.path().join("door");
    let door_flag = format!("unix:{}", door.display());
    let flags = ["--worker-timeout", "1", "--worker-threads", "32", "--scgi", &door_flag];
    let house = House::start(&folder, "sins:application", &flags);
    let pid = body(&house.get("/pid")).to_owned();
    // Of one of them the last block does not fit into the socket, whatever that holds.
    let clients: Vec<_> = (8..32)
        .map(|sixteenths| {
            let length = sixteenths << 14;
            let mut client = UnixStream::connect(&door).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let variables = format!(
                "CONTENT_LENGTH\x000\x00SCGI\x001\x00REQUEST_METHOD\x00GET\x00REQUEST_URI\x00/breaks-off?{length}\x00\
                PATH_INFO\x00/breaks-off\x00QUERY_STRING\x00{length}\x00SERVER_PROTOCOL\x00HTTP/1.1\x00"
            );
            client.write_all(format!("{}:{variables},", variables.len()).as_bytes()).unwrap();
            client
        })
        .collect();
    // They take nothing for longer than a worker may be silent.
    assert_eq!(body(&house.get("/ticks?15")), "tick".repeat(15));
    for mut client in clients {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
    }
    assert_eq!(body(&house.get("/pid")), pid);
}

#[test]
fn a_504_of_the_application_is_no_silence_of_its_worker() {
    if !has_python() {
        return;
    }
    let (_folder, house) = House::sins(&["--worker-timeout", "1", "--worker-threads", "2"]);
    let pid = body(&house.get("/pid")).to_owned();
    let answer = house.post("/slow-504", &"x".repeat(2 << 20));
    assert_eq!((status(&answer), body(&answer)), ("504 Gateway Timeout", "mine"));
    assert_eq!(body(&house.get("/pid")), pid);
}

#[test]
fn a_worker_that_had_no_descriptor_for_a_moment_has_all_its_threads() {
    if !has_python() {
        return;
    }
    let (_folder, house) = House::sins(&["--worker-threads", "2"]);
    let pid = body(&house.get("/pid")).to_owned();
    // Content of which something may be left ends its connection, so that a thread waits for another one.
    assert_eq!(body(&house.post("/no-descriptors", &"x".repeat(2 << 20))), "hello");
    assert_eq!(body(&house.get("/descriptors")), "hello");
    let address = house.serving.address();
    std::thread::scope(|scope| {
        let meet = || assert_eq!(body(&ask(address, "GET /meet HTTP/1.0\r\nHost: localhost\r\n\r\n")), "hello");
        (0..2).for_each(|_| drop(scope.spawn(meet)));
    });
    assert_eq!(body(&house.get("/pid")), pid);
}

#[test]
fn an_error_is_in_the_log_whatever_the_application_has_made_of_standard_error() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&[]);
    assert_eq!(body(&house.get("/no-stderr")), "hello");
    assert_eq!(status(&house.get("/raises")), "500 Internal Server Error");
    house.logged("ValueError: secret");
}

#[test]
fn an_error_of_which_no_traceback_can_be_made_is_a_500_and_costs_no_thread() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&["--worker-threads", "2"]);
    let pid = body(&house.get("/pid")).to_owned();
    for _ in 0..3 {
        assert_eq!(status(&house.get("/raises-oddly")), "500 Internal Server Error");
        house.logged("error in GET /raises-oddly");
    }
    assert_eq!(body(&house.get("/pid")), pid);
}

#[test]
fn a_thread_at_the_next_block_for_a_client_that_has_left_gets_no_request() {
    if !has_python() {
        return;
    }
    let (folder, mut house) = House::sins(&["--workers", "2", "--worker-threads", "1"]);
    wait_for("both workers are there", || {
        (0..4).map(|_| body(&house.get("/pid")).to_owned()).collect::<BTreeSet<_>>().len() == 2
    });
    let mut client = TcpStream::connect(house.serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    // What it does not read resets the connection, so that the next block finds that out.
    client.read_exact(&mut [0; 12]).unwrap();
    drop(client);
    folder.write("go0", "");
    house.logged("3012 client-gone");
    let pids: BTreeSet<String> = (0..8).map(|_| body(&house.get("/pid")).to_owned()).collect();
    assert_eq!(pids.len(), 1, "the other one is at a block that nobody wants");
    folder.write("go1", "");
    folder.write("go2", "");
    wait_for("the thread is free again", || !pids.contains(body(&house.get("/pid"))));
}

#[test]
fn a_thread_that_lasts_in_the_close_of_an_answer_gets_no_request() {
    if !has_python() {
        return;
    }
    for (workers, threads) in [("1", "2"), ("2", "1")] {
        let (folder, house) = House::sins(&["--workers", workers, "--worker-threads", threads]);
        let closed = || {
            let text = std::fs::read_to_string(folder.path().join("closed")).unwrap_or_default();
            text.lines().filter(|path| *path == "/lasting").count()
        };
        // A worker is believed to close at once until it once has not.
        wait_for("others answer meanwhile", || {
            let before = closed();
            assert_eq!(body(&house.get("/lasting")), "whole");
            let is_free = (0..4).all(|_| body(&house.get("/hello")) == "hello" && closed() == before);
            wait_for("it is closed", || closed() > before);
            is_free
        });
        folder.write("go", "");
        assert_eq!(body(&house.get("/lasting")), "whole");
        assert_eq!(body(&house.get("/hello")), "hello");
    }
}

#[test]
fn sighup_loads_the_application_anew_and_no_request_is_lost() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&["--workers", "2", "--worker-threads", "2"]);
    let load = Load::start(&house, 4, "/hello");
    for _ in 0..20 {
        house.signal("-HUP");
        house.logged("sins:application is loaded anew");
    }
    let (fine, wrong) = load.stop();
    assert!(fine > 100 && wrong.is_empty(), "{fine} fine, {wrong:?}");
}

#[test]
fn a_reload_that_fails_leaves_the_workers_that_are_there() {
    if !has_python() {
        return;
    }
    let (folder, mut house) = House::sins(&[]);
    folder.write("sins.py", "syntax error");
    house.signal("-HUP");
    house.logged("doorway: cannot load sins:application: SyntaxError");
    assert_eq!(body(&house.get("/hello")), "hello");
    folder.write("sins.py", SINS.replace("b\"hello\"", "b\"changed\""));
    house.signal("-HUP");
    house.logged("is loaded anew");
    wait_for("the new ones answer", || body(&house.get("/hello")) == "changed");
}

/// The application, which writes its process into a file and loads until there is another one.
fn slow_to_load() -> String {
    let wait = "import os, time\nopen('loading', 'w').write(f'{os.getpid()}\\n')\nwhile not os.path.exists('go'): time.sleep(0.01)\n";
    format!("{wait}{SINS}")
}

/// Waits until that is being loaded; gives its process.
fn loading(folder: &Folder) -> String {
    let read = || std::fs::read_to_string(folder.path().join("loading")).unwrap_or_default();
    wait_for("it is being loaded", || read().ends_with('\n'));
    read().trim_end().to_owned()
}

#[test]
fn a_sighup_while_a_load_lasts_loads_anew_behind_it() {
    if !has_python() {
        return;
    }
    let (folder, mut house) = House::sins(&[]);
    folder.write("sins.py", slow_to_load().replace("b\"hello\"", "b\"first\""));
    house.signal("-HUP");
    loading(&folder);
    folder.write("sins.py", SINS.replace("b\"hello\"", "b\"second\""));
    house.signal("-HUP");
    // Other signals are heard meanwhile.
    house.signal("-USR1");
    house.logged("there is no file to open anew");
    folder.write("go", "");
    (0..2).for_each(|_| drop(house.logged("is loaded anew")));
    wait_for("the new one answers", || body(&house.get("/hello")) == "second");
}

#[test]
fn a_stop_while_the_next_program_is_starting_stops_that_too() {
    if !has_python() || !serving::is_program() {
        return;
    }
    let (folder, mut house) = House::sins(&[]);
    folder.write("sins.py", slow_to_load());
    house.signal("-USR2");
    let pid = loading(&folder);
    let stat = std::fs::read_to_string(Path::new("/proc").join(&pid).join("stat")).unwrap();
    let next = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    house.signal("-TERM");
    assert_eq!(house.serving.child.wait().unwrap().code(), Some(0));
    folder.write("go", "");
    // Killed, it cannot remove the folder of its workers' sockets.
    let begin = format!("doorway-{next}-");
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&begin) {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    wait_for("nobody listens", || TcpStream::connect(house.serving.address()).is_err());
    wait_for("the worker ended", || has_ended(&pid));
}

#[test]
fn a_stop_while_a_load_lasts_waits_for_no_load_and_leaves_no_process() {
    if !has_python() {
        return;
    }
    let (folder, mut house) = House::sins(&[]);
    folder.write("sins.py", slow_to_load());
    house.signal("-HUP");
    let pid = loading(&folder);
    let begin = Instant::now();
    house.signal("-TERM");
    assert_eq!(house.serving.child.wait().unwrap().code(), Some(0));
    // A load may last for a minute.
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    wait_for("the worker ended", || !Path::new("/proc").join(&pid).exists());
}

#[test]
fn max_requests_replaces_workers_and_loses_nothing() {
    if !has_python() {
        return;
    }
    let (_folder, house) = House::sins(&["--workers", "2", "--worker-threads", "2", "--max-requests", "50"]);
    let address = house.serving.address().to_owned();
    // At least so many requests, and as many more as it takes until new workers have come up.
    let (pids, begin) = (Mutex::new(BTreeSet::new()), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for request in 0.. {
                    let response = ask(&address, "GET /pid HTTP/1.0\r\nHost: localhost\r\n\r\n");
                    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
                    let mut pids = pids.lock().unwrap();
                    pids.insert(body(&response).to_owned());
                    if request >= 2_500 && (pids.len() >= 5 || begin.elapsed() > Duration::from_secs(30)) {
                        break;
                    }
                }
            });
        }
    });
    let pids = pids.into_inner().unwrap();
    assert!(pids.len() >= 5, "{pids:?}");
}

#[test]
fn a_change_of_a_file_loads_the_application_anew_and_a_page_says_what_is_wrong() {
    if !has_python() {
        return;
    }
    let folder = Folder::new(&[("sins.py", "syntax error")]);
    let mut house = House::start(&folder, "sins:application", &["--reload"]);
    house.logged("doorway: cannot load sins:application: SyntaxError");
    let wrong = house.get("/");
    assert!(
        status(&wrong) == "500 Internal Server Error"
            && wrong.contains("<pre>cannot load sins:application: SyntaxError"),
        "{wrong}"
    );
    folder.write("sins.py", SINS);
    house.logged("is loaded anew");
    assert_eq!(body(&house.get("/hello")), "hello");
    folder.write("sub/other.py", "");
    house.logged("is loaded anew");
    folder.write("sins.py", SINS.replace("b\"hello\"", "b\"changed\""));
    house.logged("is loaded anew");
    assert_eq!(body(&house.get("/hello")), "changed");
}

#[test]
fn a_file_that_changes_while_the_application_is_loaded_at_the_start_is_loaded_anew() {
    if !has_python() {
        return;
    }
    let folder = Folder::new(&[("sins.py", &slow_to_load())]);
    let mut house = std::thread::scope(|scope| {
        scope.spawn(|| {
            loading(&folder);
            folder.write("sins.py", SINS.replace("b\"hello\"", "b\"changed\""));
            folder.write("go", "");
        });
        House::start(&folder, "sins:application", &["--reload"])
    });
    house.logged("is loaded anew");
    assert_eq!(body(&house.get("/hello")), "changed");
}

#[test]
fn a_page_of_the_application_before_a_change_is_loaded_anew_behind_it() {
    if !has_python() {
        return;
    }
    let page = |text: &str| {
        format!(
            "def app(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/html')])\n    return [b'{text}']\n"
        )
    };
    let folder = Folder::new(&[("page.py", &page("before"))]);
    let mut house = House::start(&folder, "page:app", &["--reload"]);
    let ask =
        |house: &House| house.serving.ask("GET / HTTP/1.0\r\nHost: localhost\r\nSec-Fetch-Dest: document\r\n\r\n");
    // Who asks between a change and the load that it leads to.
    folder.write("page.py", page("behind"));
    let answer = ask(&house);
    house.logged("is loaded anew");
    assert!(body(&ask(&house)).starts_with("behind"));
    let stamp = house.get("/.doorway/stamp");
    let is_new = body(&answer).starts_with("behind");
    assert!(is_new || !answer.contains(body(&stamp)), "{answer} is not asked for anew: {stamp}");
    // Or while nobody serves it.
    drop(house);
    folder.write("page.py", page("at last"));
    let house = House::start(&folder, "page:app", &["--reload"]);
    assert_ne!(body(&house.get("/.doorway/stamp")), body(&stamp));
}

#[test]
fn sigterm_lets_calls_in_flight_end_and_leaves_no_process_and_no_file() {
    if !has_python() {
        return;
    }
    let (folder, mut house) = House::sins(&["--workers", "2"]);
    let pids: BTreeSet<String> = (0..20).map(|_| body(&house.get("/pid")).to_owned()).collect();
    let mut client = TcpStream::connect(house.serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"block 0\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    house.signal("-TERM");
    house.logged("doorway: stopping");
    (0..3).for_each(|n| folder.write(&format!("go{n}"), ""));
    client.read_to_end(&mut seen).unwrap();
    assert!(seen.ends_with(b"block 2\n"), "{}", String::from_utf8_lossy(&seen));
    assert_eq!(house.serving.child.wait().unwrap().code(), Some(0));
    let begins = format!("doorway-{}-", house.serving.child.id());
    let mut left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    assert!(!left.any(|entry| entry.file_name().to_string_lossy().starts_with(&begins)));
    for pid in pids {
        wait_for("the worker ended", || !Path::new("/proc").join(&pid).exists());
    }
}

#[test]
fn a_signal_to_all_processes_as_a_service_manager_sends_it_lets_calls_in_flight_end() {
    if !has_python() {
        return;
    }
    let (folder, mut house) = House::sins(&["--worker-threads", "2"]);
    let pid = body(&house.get("/pid")).to_owned();
    // What the application forks is no worker, and ends as any other process.
    let child = body(&house.get("/fork")).to_owned();
    let mut client = TcpStream::connect(house.serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"block 0\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    let command = house.serving.child.id().to_string();
    let send = |signal, all: &[&str]| {
        assert!(Command::new("kill").arg(signal).args(all).status().unwrap().success());
    };
    // As `systemctl kill --signal=USR1` does it for a rotation of the log.
    send("-USR1", &[&pid, &command]);
    house.logged("doorway: SIGUSR1");
    // And with `KillSignal=SIGINT`.
    send("-INT", &[&pid]);
    send("-TERM", &[&pid, &child, &command]);
    house.logged("doorway: stopping");
    wait_for("the child ended", || has_ended(&child));
    (0..3).for_each(|n| folder.write(&format!("go{n}"), ""));
    client.read_to_end(&mut seen).unwrap();
    assert!(seen.ends_with(b"block 2\n"), "{}", String::from_utf8_lossy(&seen));
    assert_eq!(house.serving.child.wait().unwrap().code(), Some(0));
    wait_for("the worker ended", || has_ended(&pid));
}

#[test]
fn a_second_sigterm_ends_the_workers_too_whatever_they_do() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&["--worker-timeout", "3600"]);
    let (pid, _client) = house.hangs();
    house.signal("-TERM");
    house.logged("doorway: stopping");
    house.signal("-TERM");
    assert_eq!(house.serving.child.wait().unwrap().code(), Some(143));
    wait_for("the worker ended", || has_ended(&pid));
}

/// A process that has ended and that nobody has reaped yet is no worker any more.
fn has_ended(pid: &str) -> bool {
    let state = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    state.is_empty() || state.contains(") Z ")
}

#[test]
fn workers_end_with_the_command_however_that_ends() {
    if !has_python() {
        return;
    }
    let (_folder, mut house) = House::sins(&["--worker-timeout", "2"]);
    // A call that would never end does not keep it.
    let (pid, _client) = house.hangs();
    house.serving.child.kill().unwrap();
    house.serving.child.wait().unwrap();
    wait_for("the worker ended", || has_ended(&pid));
}

#[test]
fn idle_clients_leave_descriptors_for_the_calls_of_others() {
    if !has_python() || !serving::is_program() {
        return;
    }
    let folder = Folder::new(&[("sins.py", SINS)]);
    // There are no more calls than connections: where the calls there may be are many, half of the descriptors are for clients.
    for (workers, threads, descriptors, idle, calls) in [("2", "40", "256", 150, 80), ("1", "64", "128", 0, 24)] {
        let flags = ["--workers", workers, "--worker-threads", threads];
        let served = doorway(&folder, "sins:application", &flags);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$0\"; exec \"$@\"", descriptors]);
        command.arg(served.get_program()).args(served.get_args());
        let serving = Serving::with(command.current_dir(folder.path()).stdin(Stdio::null()));
        let _idle: Vec<_> = (0..idle).map(|_| TcpStream::connect(serving.address()).unwrap()).collect();
        std::thread::scope(|scope| {
            let ask = || ask(serving.address(), "GET /sleep?1 HTTP/1.0\r\nHost: localhost\r\n\r\n");
            let asked: Vec<_> = (0..calls).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().for_each(|asked| assert_eq!(body(&asked.join().unwrap()), "hello"));
        });
    }
}

#[test]
fn a_worker_that_loads_for_ever_ends_with_the_command_however_that_ends() {
    if !has_python() || !serving::is_program() {
        return;
    }
    let (folder, mut house) = House::sins(&["--worker-timeout", "1"]);
    folder.write("sins.py", slow_to_load());
    house.signal("-HUP");
    let pid = loading(&folder);
    house.serving.child.kill().unwrap();
    house.serving.child.wait().unwrap();
    wait_for("the worker ended", || has_ended(&pid));
}

#[test]
fn slow_clients_cost_a_worker_nothing() {
    if !has_python() {
        return;
    }
    let (_folder, house) = House::sins(&["--worker-threads", "1", "--worker-timeout", "20"]);
    let open = |bytes: &str| {
        let mut client = TcpStream::connect(house.serving.address()).unwrap();
        client.write_all(bytes.as_bytes()).unwrap();
        client
    };
    // Uploads that drip, and answers of 300 kB that nobody takes.
    let drips: Vec<_> =
        (0..6).map(|_| open("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nhello")).collect();
    let long = "x".repeat(300_000);
    let reads: Vec<_> = (0..6)
        .map(|_| open(&format!("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n{long}")))
        .collect();
    for _ in 0..50 {
        assert_eq!(body(&house.get("/hello")), "hello");
    }
    drop((drips, reads));
}
