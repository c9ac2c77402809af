//! Promise: one application answers byte for byte alike through every front server and every door. The real nginx, lighttpd and HAProxy
//! are started with the configurations of `examples/deploy`; where one is not installed its routes are left out, and the test says so.
//!
//! What cannot be alike is not asked for: lighttpd decodes `%41` in a query, both resolve dots and double slashes in a path, and the port of
//! the client differs. Framing and Date are the front server's. Everything else is compared: status, type, cookies, length, content.

#![cfg(unix)]

mod support;

#[path = "../examples/five_doors.rs"]
#[allow(dead_code)]
mod five_doors;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use doorway::{Cause, Door, Server};
use support::{House, PATIENCE, serve_over, show};

/// The ports in the example's configurations, and the routes that begin at them.
const DOORS: [(u16, Door); 4] = [(8000, Door::Http), (8001, Door::Uwsgi), (8002, Door::Scgi), (8003, Door::FastCgi)];
const ROUTES: [(&str, &str, u16); 9] = [
    ("nginx", "nginx to HTTP", 8080),
    ("nginx", "nginx to uwsgi", 8081),
    ("nginx", "nginx to SCGI", 8082),
    ("nginx", "nginx to FastCGI", 8083),
    ("lighttpd", "lighttpd to uwsgi", 8090),
    ("lighttpd", "lighttpd to SCGI", 8091),
    ("lighttpd", "lighttpd to FastCGI", 8092),
    ("lighttpd", "lighttpd to CGI", 8093),
    ("haproxy", "HAProxy to HTTP", 8070),
];

/// The application at every door, and front servers before it.
struct Deployment {
    house: House,
    ports: HashMap<u16, u16>,
    routes: Vec<(&'static str, u16)>,
    running: Vec<Child>,
    folder: PathBuf,
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for child in &mut self.running {
            // Asked first, so that nginx ends its workers too.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Deployment {
    fn start(name: &str) -> Deployment {
        let folder = std::env::temp_dir().join(format!("doorway-deploy-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("www")).unwrap();
        let open = |door| Server::bind("127.0.0.1:0").unwrap().door(door);
        let server = DOORS.into_iter().map(|(_, door)| open(door)).reduce(Server::and).unwrap();
        let house = serve_over(server, five_doors::application, five_doors::limits);
        let addresses = house.handle.addrs().map(|address| address.port().unwrap());
        let mut ports: HashMap<u16, u16> = DOORS.into_iter().map(|(port, _)| port).zip(addresses).collect();
        // Held all together, so that they differ; free again when the servers start.
        let free: Vec<_> = ROUTES.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        ports.extend(ROUTES.iter().zip(&free).map(|((.., port), free)| (*port, free.local_addr().unwrap().port())));
        drop(free);
        let routes = vec![("HTTP", ports[&8000])];
        let mut deployment = Deployment { house, ports, routes, running: Vec::new(), folder };
        deployment.start_front(
            "nginx",
            &["-p", ".", "-e", "stderr", "-g", "daemon off; pid nginx.pid;", "-c"],
            "nginx.conf",
        );
        if let Some(example) = support::example::example("five_doors") {
            fs::copy(example, deployment.folder.join("www/app")).unwrap();
            deployment.start_front("lighttpd", &["-D", "-f"], "lighttpd.conf");
        }
        deployment.start_front("haproxy", &["-db", "-f"], "haproxy.cfg");
        deployment
    }

    fn start_front(&mut self, program: &'static str, arguments: &[&str], config: &str) {
        let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let Some(path) = folders.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists()) else {
            println!("skipped: {program} is not installed, and with it its routes");
            return;
        };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy").join(config);
        let text = self.with_ports(&fs::read_to_string(example).unwrap());
        // What a system's package keeps in folders of its own goes to this test's.
        let text = text.replace("/var/www/doorway", self.folder.join("www").to_str().unwrap());
        let temporary =
            ["client_body", "proxy", "uwsgi", "scgi", "fastcgi"].map(|kind| format!("{kind}_temp_path {kind};"));
        let text = text.replace("http {\n", &format!("http {{\n{}\n", temporary.join("\n")));
        let place = self.folder.join(config);
        fs::write(&place, text).unwrap();
        let mut command = Command::new(path);
        command.args(arguments).arg(&place).current_dir(&self.folder).stdin(Stdio::null());
        let errors = fs::File::create(self.folder.join(format!("{program}.errors"))).unwrap();
        command.stdout(errors.try_clone().unwrap()).stderr(errors);
        let mut child = command.spawn().unwrap();
        let give_up = Instant::now() + PATIENCE;
        for (_, name, port) in ROUTES.iter().filter(|(front, ..)| *front == program) {
            let port = self.ports[port];
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                let ended = child.try_wait().unwrap();
                let errors = fs::read_to_string(self.folder.join(format!("{program}.errors"))).unwrap();
                assert!(ended.is_none() && Instant::now() < give_up, "{program}: {errors}");
                std::thread::yield_now();
            }
            self.routes.push((name, port));
        }
        self.running.push(child);
    }

    /// Every number of four digits that is a port of the example becomes the port of this run.
    fn with_ports(&self, text: &str) -> String {
        let mut out = String::new();
        let mut digits = String::new();
        for c in text.chars().chain(['\n']) {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            let port = digits.parse().ok().and_then(|port: u16| self.ports.get(&port));
            out.push_str(&port.map_or_else(|| std::mem::take(&mut digits), u16::to_string));
            digits.clear();
            out.push(c);
        }
        out
    }
}

/// What a client of the front server got.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    kind: Option<String>,
    cookies: Vec<String>,
    content: Vec<u8>,
    /// All of it came.
    whole: bool,
}

/// Sends everything, then reads everything.
fn ask(port: u16, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // A front server may answer before it has read everything.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert!(error.kind() == io::ErrorKind::ConnectionReset, "{error}: {}", show(&bytes));
    }
    read(&bytes, request.starts_with(b"HEAD"))
}

fn read(bytes: &[u8], is_head: bool) -> Answer {
    let at =
        bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {}", show(bytes)));
    let head = std::str::from_utf8(&bytes[..at]).unwrap();
    let status = head[9..12].parse().unwrap();
    let values = |name: &str| {
        let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
    };
    let one = |name: &str| -> Option<String> { Vec::into_iter(values(name)).next() };
    let mut rest = &bytes[at + 4..];
    let mut content = Vec::new();
    let mut whole = true;
    if one("Transfer-Encoding").is_some_and(|coding| coding == "chunked") {
        whole = loop {
            let Some(line) = rest.windows(2).position(|part| part == b"\r\n") else { break false };
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            let Some(data) = rest.get(line + 2..line + 2 + size) else {
                content.extend_from_slice(&rest[line + 2..]);
                break false;
            };
            content.extend_from_slice(data);
            rest = &rest[(line + 4 + size).min(rest.len())..];
            if size == 0 {
                break true;
            }
        };
    } else {
        content.extend_from_slice(rest);
        let length = one("Content-Length").and_then(|length| length.parse().ok());
        whole &= is_head || length.is_none_or(|length: usize| length == content.len());
    }
    Answer { status, kind: one("Content-Type"), cookies: values("Set-Cookie"), content, whole }
}

/// A request of HTTP/1.1 that ends its connection.
fn request(method: &str, target: &str, fields: &[&str], content: &[u8]) -> Vec<u8> {
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: doorway.example\r\nUser-Agent: test\r\nConnection: close\r\n");
    for field in fields {
        head.push_str(field);
        head.push_str("\r\n");
    }
    if method == "POST" && !fields.iter().any(|field| field.starts_with("Transfer-Encoding")) {
        head.push_str(&format!("Content-Length: {}\r\n", content.len()));
    }
    [head.as_bytes(), b"\r\n", content].concat()
}

/// The acceptance matrix: what is asked, what it is, and the status it must have.
fn matrix() -> Vec<(&'static str, Vec<u8>, u16)> {
    let post = |target: &str, content: &[u8]| request("POST", target, &["Content-Type: text/plain"], content);
    let bytes = |length: usize| -> Vec<u8> { (0..length).map(|number| (number % 251) as u8).collect() };
    vec![
        ("GET", request("GET", "/app/hello?a=b&c=%20d", &[], b""), 200),
        ("GET with an empty query", request("GET", "/app/hello?", &[], b""), 200),
        ("GET with %2F", request("GET", "/app/a%2Fb%20c", &[], b""), 200),
        ("GET with %E4", request("GET", "/app/%E4%C3%A4;x=1", &[], b""), 200),
        ("GET with fields", request("GET", "/app/", &["X-A: one", "Cookie: a=1; b=2", "Accept: */*"], b""), 200),
        ("GET with repeated fields", request("GET", "/app/", &["X-A: one", "X-A: two"], b""), 200),
        ("GET with an attack on CGI", request("GET", "/app/", &["Proxy: evil", "X-A: kept"], b""), 200),
        ("HEAD", request("HEAD", "/app/hello", &[], b""), 200),
        ("POST of nothing", post("/app/post", b""), 200),
        ("POST of one byte", post("/app/post", b"x"), 200),
        ("POST of 64 KiB", post("/app/post", &bytes(64 * 1024)), 200),
        ("POST of 1 MiB", post("/app/post", &bytes(1024 * 1024)), 200),
        (
            "chunked POST",
            request("POST", "/app/post", &["Transfer-Encoding: chunked"], b"5\r\nhello\r\n3\r\nfoo\r\n0\r\n\r\n"),
            200,
        ),
        ("204", request("GET", "/app/nothing", &[], b""), 204),
        ("304", request("GET", "/app/unchanged", &[], b""), 304),
        ("413", post("/app/post", &bytes(3 * 1024 * 1024)), 413),
        ("an error before the first block", request("GET", "/app/fails", &[], b""), 500),
        ("an error after the first block", request("GET", "/app/breaks", &[], b""), 200),
    ]
}

/// The ports that the front servers will open must not be given to the clients of another test meanwhile.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn one_application_answers_alike_through_every_front_server_and_door() {
    let _alone = support::locked(&ALONE);
    let deployment = Deployment::start("matrix");
    let mut wrong = Vec::new();
    for (name, request, status) in matrix() {
        let mut right: Option<Answer> = None;
        for (route, port) in &deployment.routes {
            let answer = ask(*port, &request);
            assert_eq!(answer.whole, name != "an error after the first block", "{name} through {route}: {answer:?}");
            assert_eq!(answer.status, status, "{name} through {route}: {answer:?}");
            match &right {
                None => right = Some(answer),
                Some(right) if *right == answer => {}
                Some(right) => wrong.push(format!("{name} through {route}:\n{answer:?}\nand not\n{right:?}")),
            }
        }
        let right = right.unwrap();
        match status {
            200 if name == "GET with an attack on CGI" => {
                let text = show(&right.content);
                assert!(text.contains("x-a kept") && text.contains("proxy absent"), "{text}");
            }
            200 if name.starts_with("POST") => assert!(show(&right.content).contains("content "), "{name}"),
            200 | 500 | 413 if name != "HEAD" => assert!(!right.content.is_empty(), "{name}"),
            _ => assert!(right.content.is_empty(), "{name}: {right:?}"),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let unexpected: Vec<_> = deployment.house.log.causes();
    let expected = [Cause::ContentLong, Cause::ApplicationError, Cause::BodyFailed];
    assert!(unexpected.iter().all(|cause| expected.contains(cause)), "{:?}", deployment.house.log.reports());
}

#[test]
fn p_conn_03_a_large_reply_to_content_that_was_not_read_arrives_whole_100_times_of_100() {
    let _alone = support::locked(&ALONE);
    let deployment = Deployment::start("unread");
    let request = request("POST", "/app/unread", &["Content-Type: text/plain"], &vec![b'y'; 200_000]);
    for (route, port) in &deployment.routes {
        let whole = (0..100).filter(|_| ask(*port, &request).content.len() == 300_000).count();
        assert_eq!(whole, 100, "through {route}");
    }
    println!("{} routes", deployment.routes.len());
}

/// The files for several hosts, which `examples/deploy/hosts.py` tries out; here they are only read.
#[test]
fn what_stands_before_several_hosts_is_read_by_haproxy_nginx_and_kubernetes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |name: &str| root.join("examples/deploy").join(name).into_os_string().into_string().unwrap();
    let folder = std::env::temp_dir().join(format!("doorway-deploy-{}-read", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let validate = root.join("target/venv/bin/kubernetes-validate");
    let prefix = format!("{}/", folder.display());
    for (program, arguments) in [
        ("/usr/sbin/haproxy", vec!["-c", "-f", &file("haproxy-hosts.cfg")]),
        (
            "/usr/sbin/nginx",
            vec!["-t", "-p", &prefix, "-g", "pid pid;", "-e", "stderr", "-c", &file("nginx-hosts.conf")],
        ),
        (validate.to_str().unwrap(), vec!["--strict", &file("kubernetes.yaml")]),
    ] {
        // An emulator of another processor does not tell whoever starts a program that there is none.
        if !Path::new(program).exists() {
            println!("skipped: there is no {program}");
            continue;
        }
        let output = Command::new(program).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&said));
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// What the units leave a service that was taken over, on the scale from 0 to 10 of systemd-analyze.
#[test]
fn the_units_of_systemd_are_read_by_it_and_leave_little_exposed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy");
    for unit in ["doorway.service", "program.service"] {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--threshold=25", "--no-pager"]).arg(folder.join(unit));
        match command.output() {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let last = text.lines().last().unwrap_or_default();
                assert!(
                    output.status.success() && last.contains("exposure level"),
                    "{unit}: {text}{:?}",
                    output.stderr
                );
                println!("{last}");
            }
            Err(error) => println!("skipped: systemd-analyze: {error}"),
        }
    }
}

/// One of the rows of docs/operations.md; the others take minutes.
#[test]
fn a_host_that_is_killed_behind_haproxy_costs_no_request_that_may_be_sent_twice() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy/hosts.py");
    let mut command = Command::new("python3");
    command.arg(script).arg("haproxy:kill").env("DOORWAY", env!("CARGO_BIN_EXE_doorway"));
    let is_there = |program: &str| Command::new(program).arg("-V").output().is_ok();
    if !is_there("ip") || !is_there("python3") || !Path::new("/usr/sbin/haproxy").exists() {
        return println!("skipped: ip, python3 or haproxy is not installed");
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    match output.status.code() {
        Some(75) => println!("skipped: no network namespace can be made here: {}", String::from_utf8_lossy(&said)),
        code => assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&said)),
    }
}
