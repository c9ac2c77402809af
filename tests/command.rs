//! The `doorway` command as a script sees it: its first line, its log, its flags, its exit codes.

mod serving;

use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serving::{Folder, PATIENCE, Serving, ask, run};

const SITE: &[(&str, &str)] =
    &[("index.html", "<h1>home</h1>"), ("a.txt", "text"), ("sub/b.txt", "below"), (".env", "secret")];

#[test]
fn the_first_line_of_output_is_the_url_and_the_folder_is_behind_it() {
    let folder = Folder::new(SITE);
    let serving = Serving::folder(folder.path(), &[]);
    assert!(!serving.address().ends_with(":0"), "{}", serving.first_line);
    assert!(serving.address().starts_with("127.0.0.1:"), "{}", serving.first_line);
    let response = serving.get("/");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\n<h1>home</h1>"), "{response}");
    assert!(response.contains("\r\nCache-Control: no-cache\r\n"), "{response}");
    assert!(serving.get("/.env").starts_with("HTTP/1.1 404 "));
    assert!(serving.get("/sub/").contains("b.txt"), "no listing");
}

#[test]
fn without_a_folder_the_current_one_is_served() {
    let folder = Folder::new(SITE);
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    let serving = Serving::with(command.args(["-p", "0"]).current_dir(folder.path()));
    assert!(serving.get("/a.txt").ends_with("\r\n\r\ntext"));
}

#[test]
fn both_loopback_addresses_answer_at_the_same_port() {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let mut serving = Serving::start(&["--demo", "--port", "0"]);
    let port = serving.address().rsplit(':').next().unwrap().to_owned();
    let mut second = String::new();
    serving.out.read_line(&mut second).unwrap();
    assert_eq!(second, format!("http://[::1]:{port}/\n"));
    let response = ask(&format!("[::1]:{port}"), "GET /here HTTP/1.0\r\n\r\n");
    assert!(response.contains("REMOTE_ADDR = \"::1\"\n"), "{response}");
}

#[test]
fn the_demo_application_shows_the_request() {
    let serving = Serving::start(&["--demo", "--port", "0"]);
    let response = serving.ask("GET /here HTTP/1.0\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("\r\n\r\nHello world!\n"), "{response}");
    assert!(response.contains("PATH_INFO = \"/here\"\n"), "{response}");
}

#[test]
fn each_request_is_one_plain_line_on_standard_error_where_that_is_no_terminal() {
    let mut serving = Serving::start(&["--demo", "--port=0", "--threads", "2"]);
    let mut lines = serving.requests();
    for path in ["/first", "/second"] {
        serving.ask(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        let line = lines.next().unwrap();
        assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
        assert!(line.contains(&format!("\"GET {path} HTTP/1.0\" 200 ")), "{line}");
    }
}

#[test]
fn the_log_is_in_the_format_that_is_asked_for() {
    let json = "{\"time\":\"";
    for (flags, begin, part) in [
        (&["--log", "short"][..], "200 GET  /x", " B "),
        (&["--log=short", "--color=always"], "\x1b[32m200\x1b[0m GET  /x", "\x1b[2m"),
        (&["--log", "combined"], "127.0.0.1 - - [", "\"GET /x HTTP/1.0\" 200 "),
        (&["--log", "json"], json, "\"method\":\"GET\""),
    ] {
        let mut serving = Serving::start(&[&["--demo", "--port", "0"], flags].concat());
        let mut lines = serving.requests();
        serving.ask("GET /x HTTP/1.0\r\n\r\n");
        let line = lines.next().unwrap();
        assert!(line.starts_with(begin) && line.contains(part), "{flags:?}: {line:?}");
    }
    for flags in [&["--log", "off"][..], &["-q"]] {
        let mut serving = Serving::start(&[&["--demo", "--port", "0"], flags].concat());
        let mut lines = serving.requests();
        serving.ask("GET /x HTTP/1.0\r\n\r\n");
        serving.ask("GET / HTTP/1.1\r\n\r\n");
        // The first line is about the second request, which was wrong.
        let line = lines.next().unwrap();
        assert!(line.starts_with("1031 host-missing: "), "{flags:?}: {line:?}");
    }
}

#[test]
fn a_refused_request_is_one_line_with_the_number_of_its_cause() {
    let mut serving = Serving::start(&["--demo", "--port", "0"]);
    let mut lines = serving.requests();
    assert!(serving.ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let line = lines.next().unwrap();
    assert!(line.starts_with("1031 host-missing: "), "{line}");
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_one_clear_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_, port) = address.split_once(':').unwrap();
    let (code, out, err) = run(&["--demo", "--port", port]);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    for part in ["doorway: ", &address, "another program listens there", "--port 0"] {
        assert!(err.contains(part), "{part}: {err}");
    }
}

#[test]
fn without_a_port_the_next_free_one_is_taken_and_it_says_so() {
    // Whether this takes 8000 or somebody else has it: for the command it is taken at both addresses.
    let taken = [TcpListener::bind("127.0.0.1:8000"), TcpListener::bind("[::1]:8000")];
    let mut serving = Serving::start(&["--demo"]);
    let port: u16 = serving.address().rsplit(':').next().unwrap().parse().unwrap();
    assert!((8001..=8100).contains(&port), "{port}");
    let mut line = String::new();
    serving.log().read_line(&mut line).unwrap();
    assert_eq!(line, "doorway: port 8000 is taken, so this is the next free one; --port chooses\n");
    drop(taken);
}

#[test]
fn an_address_that_this_machine_does_not_have_is_one_clear_line_and_exit_code_1() {
    // TEST-NET-1 of RFC 5737, which no machine has.
    let (code, out, err) = run(&["--demo", "--host", "192.0.2.1", "--port", "0"]);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    assert!(err.lines().count() == 1 && err.contains("192.0.2.1"), "{err}");
}

#[test]
fn on_loopback_only_names_of_this_machine_addresses_and_allowed_names_are_answered() {
    let status = |serving: &Serving, host: &str| {
        let response = serving.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        response.split(' ').nth(1).unwrap().to_owned()
    };
    let mut serving =
        Serving::start(&["--demo", "--port=0", "--allow-host=site.example", "--allow-host", "*.Wild.example"]);
    for host in [
        "localhost",
        "LocalHost.:8000",
        "app.localhost:8000",
        "127.0.0.1",
        "192.0.2.7:80",
        "[::1]",
        "[2001:db8::7]:8000",
        "site.example",
        "SITE.example:8000",
        "a.wild.example",
    ] {
        assert_eq!(status(&serving, host), "200", "{host}");
    }
    assert!(serving.ask("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
    let refused = [
        "rebound.example",
        "localhost.example",
        "notlocalhost",
        "www.site.example",
        "wild.example",
        "127.0.0.1.example",
    ];
    for host in refused {
        assert_eq!(status(&serving, host), "421", "{host}");
    }
    let mut lines = serving.requests();
    let line = lines.find(|line| line.contains("--allow-host")).unwrap();
    assert!(line.contains("rebound.example"), "{line}");

    // Who lets others in is asked by names that nobody can know here, unless the names are given.
    let open = Serving::start(&["--demo", "--port=0", "--host=0.0.0.0"]);
    assert_eq!(status(&open, "rebound.example"), "200");
    let closed = Serving::start(&["--demo", "--port=0", "--host=0.0.0.0", "--allow-host=site.example"]);
    assert_eq!((status(&closed, "rebound.example"), status(&closed, "site.example")), ("421".into(), "200".into()));
}

#[test]
fn a_proxied_server_gets_long_cookies_and_may_be_silent_for_as_long_as_the_flag_says() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("/=http://{}", upstream.local_addr().unwrap());
    let serving = Serving::start(&["--port=0", "--proxy", &proxy, "--proxy-timeout", "1"]);
    let line = format!("Cookie: {}", "c".repeat(16_384 - "Cookie: ".len()));
    let mut client = TcpStream::connect(serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
        .write_all(format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{line}\r\n\r\n").as_bytes())
        .unwrap();
    let (mut stream, _) = upstream.accept().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut room = [0; 4096];
        let length = stream.read(&mut room).unwrap();
        assert!(length > 0);
        head.extend_from_slice(&room[..length]);
    }
    assert!(String::from_utf8(head).unwrap().contains(&line));
    // It has not said a word.
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 504 "), "{response}");
}

#[test]
fn a_download_may_pause_for_as_long_as_the_flag_says() {
    let folder = Folder::new(&[]);
    std::fs::File::create(folder.path().join("large")).unwrap().set_len(64 << 20).unwrap();
    let mut serving = Serving::folder(folder.path(), &["--stall", "1"]);
    let mut lines = serving.requests();
    let mut client = TcpStream::connect(serving.address()).unwrap();
    client.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let begin = Instant::now();
    let line = lines.find(|line| line.contains("stall")).unwrap();
    assert!((Duration::from_millis(900)..Duration::from_secs(25)).contains(&begin.elapsed()), "{line}");
    drop(client);
}

#[test]
fn pages_have_clean_urls_and_404_html_is_the_error_page_unless_a_flag_says_otherwise() {
    let folder = Folder::new(&[
        ("about.html", "about"),
        ("404.html", "gone"),
        ("other.html", "other"),
        ("docs/404.html", "no docs"),
    ]);
    let mount = format!("/docs={}/docs", folder.path().display());
    let serving = Serving::folder(folder.path(), &["--mount", &mount]);
    assert!(serving.get("/about").ends_with("\r\n\r\nabout"));
    for (path, page) in [("/none", "gone"), ("/none/", "gone"), ("/docs/none", "no docs")] {
        let response = serving.get(path);
        assert!(response.starts_with("HTTP/1.1 404 ") && response.ends_with(page), "{path}: {response}");
    }
    // It comes and goes with the file.
    std::fs::remove_file(folder.path().join("404.html")).unwrap();
    assert!(serving.get("/none").ends_with("Not Found\n"));
    folder.write("404.html", "gone");
    let other = Serving::folder(folder.path(), &["--no-clean", "--error-page", "other.html"]);
    for path in ["/about", "/none"] {
        let response = other.get(path);
        assert!(response.starts_with("HTTP/1.1 404 ") && response.ends_with("other"), "{path}: {response}");
    }
}

#[test]
fn one_file_is_served_at_the_root_and_by_its_name_and_nothing_else_of_its_folder() {
    let folder =
        Folder::new(&[("page.html", "<p>one"), ("other.html", "<p>two"), (".secret", "key"), ("404.html", "gone")]);
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    let serving = Serving::folder(&folder.path().join("page.html"), &[]);
    for path in ["/", "/page.html"] {
        let response = serving.get(path);
        assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("\r\n\r\n<p>one"), "{response}");
    }
    for path in ["/other.html", "/404.html", "/.secret", "/sub/", "/sub", "/page.html/", "/page", "/../page.html"] {
        assert!(serving.get(path).starts_with("HTTP/1.1 404 "), "{path}");
    }
    // Nor is anything that stands for it elsewhere.
    for (name, text) in [("page.html.html", "<p>three"), ("page.html.gz", "coded")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let coded = Serving::folder(&folder.path().join("page.html"), &["--gz"]);
    let request = "GET /page.html HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n";
    assert!(coded.ask(request).ends_with("\r\n\r\n<p>one"));
    // When it is gone there is no listing either.
    std::fs::remove_file(folder.path().join("page.html")).unwrap();
    let response = serving.get("/");
    assert!(response.starts_with("HTTP/1.1 404 ") && !response.contains("other"), "{response}");
    assert!(serving.get("/page.html").starts_with("HTTP/1.1 404 "));
    assert!(coded.ask(request).starts_with("HTTP/1.1 404 "));
    // Nor is it a page for what is missing.
    let gone = Serving::folder(&folder.path().join("404.html"), &[]);
    assert!(gone.get("/").ends_with("gone") && !gone.get("/none").contains("gone"));
    let hidden = Serving::folder(&folder.path().join(".secret"), &[]);
    assert!(hidden.get("/").ends_with("key") && hidden.get("/.secret").ends_with("key"));
    let (code, _, err) = run(&["--spa", folder.path().join("other.html").to_str().unwrap()]);
    assert!(code == Some(1) && err.contains("--spa is about a folder"), "{err}");
}

#[cfg(unix)]
#[test]
fn one_file_that_is_a_link_is_what_the_link_leads_to_now_and_reload_sees_it_change() {
    let (folder, elsewhere) = (Folder::new(&[("r1.html", "one")]), Folder::new(&[("r2.html", "two")]));
    let link = |to: &Path| {
        std::os::unix::fs::symlink(to, folder.path().join("new")).unwrap();
        std::fs::rename(folder.path().join("new"), folder.path().join("page.html")).unwrap();
    };
    link("r1.html".as_ref());
    let serving = Serving::folder(&folder.path().join("page.html"), &["--reload"]);
    let stamp = || serving.get("/.doorway/stamp").split_once("\r\n\r\n").unwrap().1.to_owned();
    let first = stamp();
    assert!(serving.get("/").ends_with("one"));
    link(&elsewhere.path().join("r2.html"));
    assert!(serving.get("/").ends_with("two"));
    let begin = Instant::now();
    while stamp() == first {
        assert!(begin.elapsed() < PATIENCE);
    }
}

#[test]
fn host_without_an_address_is_all_of_them_and_what_follows_is_served() {
    let folder = Folder::new(&[("a.txt", "text")]);
    let serving = Serving::start(&["--port=0", "--host", folder.path().to_str().unwrap()]);
    let (_, port) = serving.address().rsplit_once(':').unwrap();
    assert!(ask(&format!("127.0.0.1:{port}"), "GET /a.txt HTTP/1.0\r\n\r\n").ends_with("text"));
    if TcpListener::bind("[::1]:0").is_ok() {
        assert!(ask(&format!("[::1]:{port}"), "GET /a.txt HTTP/1.0\r\n\r\n").ends_with("text"));
    }
    let (code, _, err) = run(&["--demo", "--port=0", "--host=127.0.0.1", "--host"]);
    assert!(code == Some(1) && err.contains("stands alone"), "{err}");
}

#[test]
fn a_qr_code_leads_a_telephone_to_the_address() {
    let mut serving = Serving::start(&["--demo", "--port=0", "--host=0.0.0.0", "--qr"]);
    let is_code = |line: &String| line.contains(['█', '▀', '▄']);
    let lines: Vec<String> =
        serving.log().lines().map(Result::unwrap).skip_while(|line| !is_code(line)).take_while(is_code).collect();
    // Four dots a module, as `qr.rs` shows it.
    let (width, height) = (4 * lines[0].chars().count(), 8 * lines.len());
    let mut picture = format!("P5 {width} {height} 255\n").into_bytes();
    for y in 0..height {
        let line: Vec<char> = lines[y / 8].chars().collect();
        picture.extend((0..width).map(|x| match (line[x / 4], y % 8 < 4) {
            ('█', _) | ('▀', true) | ('▄', false) => 255,
            _ => 0,
        }));
    }
    let folder = Folder::new(&[]);
    folder.write("code.pgm", picture);
    match Command::new("zbarimg").args(["--raw", "--quiet"]).arg(folder.path().join("code.pgm")).output() {
        Ok(output) => {
            let read = String::from_utf8_lossy(&output.stdout).into_owned();
            // A machine without a network has loopback alone.
            let (_, port) = serving.address().rsplit_once(':').unwrap();
            assert!(read.starts_with("http://") && read.ends_with(&format!(":{port}/\n")), "{read:?}");
            let address = read.trim_end().trim_start_matches("http://").trim_end_matches('/');
            assert!(ask(address, "GET /here HTTP/1.0\r\n\r\n").contains("PATH_INFO = \"/here\"\n"));
        }
        Err(_) => println!("skipped: zbarimg is not installed"),
    }
}

#[test]
fn thirteen_kinds_of_project_files_are_shown_and_not_downloaded() {
    let folder = Folder::new(&[]);
    let serving = Serving::folder(folder.path(), &[]);
    let names = "Cargo.toml ci.yaml main.rs main.go app.ts app.py run.sh table.csv server.log setup.ini NOTES.md README Makefile";
    for name in names.split(' ') {
        folder.write(name, "text\n");
        let response = serving.get(&format!("/{name}"));
        let shown = ["text/plain; charset=utf-8", "text/markdown; charset=utf-8"];
        assert!(shown.iter().any(|shown| response.contains(&format!("\r\nContent-Type: {shown}\r\n"))), "{response}");
        assert!(!response.contains("Content-Disposition"), "{response}");
    }
    assert_eq!(names.split(' ').count(), 13);
}

#[test]
fn every_cell_of_the_comparison_with_servers_for_local_work_has_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/comparison.md")).unwrap();
    let section = text.split("\n## Servers for local work\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 13, "{rows:?}");
    for row in rows {
        let test = row.trim_end_matches(" |").rsplit(" | ").next().unwrap().trim_matches('`');
        let (file, name) = test.split_once("::").unwrap();
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(source.contains(&format!("fn {name}(")), "{row}");
    }
}

#[test]
fn a_type_that_is_given_stands_before_those_that_are_known() {
    let folder = Folder::new(&[("a.glsl", "void"), ("b.html", "<p>")]);
    let serving = Serving::folder(folder.path(), &["--type", "glsl=text/x-shader", "--type=.HTML=text/plain"]);
    assert!(serving.get("/a.glsl").contains("\r\nContent-Type: text/x-shader\r\n"));
    assert!(serving.get("/b.html").contains("\r\nContent-Type: text/plain\r\n"));
}

/// A file of users outside of what is served, for its owner alone.
fn users(folder: &Folder) -> String {
    folder.write("users", "Aladdin:open sesame\n");
    let path = folder.path().join("users");
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn with_auth_nothing_is_answered_without_a_password() {
    let (folder, secrets) = (Folder::new(SITE), Folder::new(&[]));
    let file = users(&secrets);
    let upstream = Serving::start(&["--demo", "--port", "0"]);
    let proxy = format!("/api={}", upstream.url());
    let flags = ["--auth", &file, "--reload", "--log", "combined", "--proxy", &proxy];
    let mut serving = Serving::folder(folder.path(), &flags);
    let ask = |path: &str, fields: &str| {
        serving.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"))
    };
    let websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for (path, fields) in [
        ("/", ""),
        ("/a.txt", ""),
        ("/none", ""),
        ("/.doorway/stamp", ""),
        ("/.doorway/reload.js", ""),
        ("/api/x", ""),
        ("/api/x", websocket),
    ] {
        let response = ask(path, fields);
        assert!(response.starts_with("HTTP/1.1 401 "), "{path}: {response}");
        assert!(
            response.contains("\r\nWWW-Authenticate: Basic realm=\"doorway\", charset=\"UTF-8\"\r\n"),
            "{response}"
        );
    }
    let right = "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
    assert!(ask("/a.txt", right).ends_with("\r\n\r\ntext"));
    assert!(ask("/.doorway/stamp", right).starts_with("HTTP/1.1 200 "));
    let passed = ask("/api/x", right);
    assert!(
        passed.starts_with("HTTP/1.1 200 ") && !passed.contains("AUTHORIZATION"),
        "the password was passed on: {passed}"
    );
    assert!(ask("/a.txt", "Authorization: Basic QWxhZGRpbjpzZXNhbWU=\r\n").starts_with("HTTP/1.1 401 "));
    // Who was turned away is in the log, and what live reload asks is not.
    let lines: Vec<String> = serving.requests().take(5).collect();
    assert!(lines[0].contains("\"GET / HTTP/1.1\" 401 "), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains(".doorway")), "{lines:?}");
}

#[test]
fn a_head_of_ten_megabytes_is_cut_off_before_a_password_is_looked_for() {
    let (folder, secrets) = (Folder::new(SITE), Folder::new(&[]));
    let serving = Serving::folder(folder.path(), &["--auth", &users(&secrets)]);
    let mut client = TcpStream::connect(serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ");
    // It answers as soon as the line is too long; what is sent from then on nobody reads.
    for _ in 0..10 * 16 {
        if client.write_all(&[b'A'; 64 * 1024]).is_err() {
            break;
        }
    }
    let mut response = Vec::new();
    let _ = client.read_to_end(&mut response);
    let response = String::from_utf8_lossy(&response);
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 431 "), "{response}");
    assert!(serving.get("/").starts_with("HTTP/1.1 401 "));
}

#[test]
fn a_file_of_users_that_cannot_be_used_is_one_line_that_says_what_to_do() {
    let (folder, secrets) = (Folder::new(SITE), Folder::new(&[]));
    let file = users(&secrets);
    let run_with = |file: &str| {
        let (code, out, err) = run(&["--port=0", "--auth", file, folder.path().to_str().unwrap()]);
        assert_eq!((code, &*out, err.lines().count()), (Some(1), "", 1), "{err}");
        err
    };
    assert!(run_with("/none/users").contains("--auth /none/users: "));
    secrets.write("users", "# nobody yet\n");
    assert!(run_with(&file).contains("there is no user in it"));
    secrets.write("users", "a:b\nmistake\n");
    assert!(run_with(&file).contains("line 2 is not user:password"));
    let served = users(&folder);
    assert!(run_with(&served).contains("which is served; put it elsewhere"));
    #[cfg(unix)]
    for mode in [0o640, 0o604, 0o620, 0o666] {
        users(&secrets);
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        assert!(run_with(&file).contains("others can read it; chmod 600 "), "{mode:o}");
    }
}

#[test]
fn an_address_that_others_can_reach_is_shown_with_a_warning() {
    let mut serving = Serving::start(&["--demo", "--host", "0.0.0.0", "--port", "0"]);
    assert!(serving.address().starts_with("127.0.0.1:"), "{}", serving.first_line);
    let mut lines = serving.log().lines().map(Result::unwrap).skip(1);
    let line = lines.next().unwrap();
    assert!(line.contains("whoever can reach this machine"), "{line}");
    let recipe = format!("caddy reverse-proxy --from example.org --to {}", serving.address());
    let line = lines.next().unwrap();
    assert!(line.starts_with("doorway: ") && line.ends_with(&recipe), "{line}");
    // Behind it the name of the site has to be allowed.
    assert!(line.contains("--allow-host example.org"), "{line}");
}

#[test]
fn a_folder_that_cannot_be_served_is_one_line_that_says_what_to_do() {
    let folder = Folder::new(SITE);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let root = path("");
    for (arguments, part) in [
        (vec![path("none")], "it is not there; give a folder that is"),
        (vec!["--host".into(), "machine.local".into()], "a name of this machine as --host=NAME"),
        (vec![format!("--mount=/x={}", path("none"))], "it is not there"),
        (vec!["--spa=app.html".into(), root.clone()], "--spa app.html: there is no such file in "),
        (vec!["--error-page=404.html".into(), root], "--error-page 404.html: there is no such file in "),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, out, err) = run(&arguments);
        assert_eq!((code, &*out, err.lines().count()), (Some(1), "", 1), "{arguments:?}: {err}");
        assert!(err.starts_with("doorway: ") && err.contains(part), "{arguments:?}: {err}");
    }
}

#[test]
fn wrong_usage_says_what_is_wrong_and_exits_with_2() {
    for (arguments, part) in [
        (&["--prot", "1"][..], "did you mean --port?"),
        (&["--port"], "--port needs a value"),
        (&["--port", "eighty"], "a port is a number"),
        (&["one", "two"], "use --mount /name=DIR for another"),
        (&["--proxy", "/api=localhost:3000"], "an upstream begins with http://"),
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, &*out), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(part) && err.contains("--help"), "{arguments:?}: {err}");
    }
}

#[test]
fn help_and_version_go_to_standard_output_and_exit_with_0() {
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, &*err), (Some(0), ""));
    assert!(out.starts_with("doorway [FLAGS] [DIR") && out.contains("\nExamples:\n"), "{out}");
    let (code, brief, err) = run(&["-h"]);
    assert_eq!((code, &*err), (Some(0), ""));
    assert!(brief.starts_with("doorway [FLAGS] [DIR") && brief.lines().count() <= 25, "{brief}");
    let version = concat!("doorway ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run(&["--version"]), (Some(0), version.to_owned(), String::new()));
}

#[test]
fn the_manual_page_is_shown_without_a_warning() {
    let (code, page, err) = run(&["--man"]);
    assert_eq!((code, &*err), (Some(0), ""));
    let folder = Folder::new(&[("doorway.1", &page)]);
    let file = folder.path().join("doorway.1");
    let man = Command::new("man")
        .arg("--warnings=w")
        .arg("-l")
        .arg(&file)
        .env("MANPAGER", "cat")
        .env("MANWIDTH", "80")
        .output();
    let groff = Command::new("groff").args(["-ww", "-man", "-Tutf8", "-rCHECKSTYLE=3"]).arg(&file).output();
    for (program, output) in [("man", man), ("groff", groff)] {
        match output {
            // Without groff, man cannot format.
            Ok(output) if output.status.success() && !output.stdout.is_empty() => {
                assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program}");
                let shown = String::from_utf8_lossy(&output.stdout).replace('\u{8}', "");
                assert!(shown.contains("serve a folder over HTTP"), "{program}: {shown}");
            }
            _ => println!("skipped: {program} is not installed, so it did not read the manual page"),
        }
    }
}

#[test]
fn completions_are_scripts_that_their_shells_understand() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let (code, script, err) = run(&["--completions", shell]);
        assert_eq!((code, &*err), (Some(0), ""));
        assert!(script.contains("error-page") && script.contains("auto off short"), "{script}");
        let Ok(mut child) = Command::new(shell).arg(check).stdin(Stdio::piped()).spawn() else {
            println!("skipped: {shell} is not installed, so its script was not read by it");
            continue;
        };
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{shell}: {script}");
    }
}

#[test]
fn bash_completes_names_of_flags_and_their_values() {
    let script = run(&["--completions", "bash"]).1;
    let folder = Folder::new(&[("site/a.html", ""), ("single.html", "")]);
    // Words as bash splits them: an equals sign is one.
    for (words, expected) in [
        ("doorway --lo", "--log --log-file"),
        ("doorway --log js", "json"),
        ("doorway --log = sh", "short"),
        ("doorway --completions = ", "bash fish zsh"),
        ("doorway --mount /docs = si", "site"),
        ("doorway si", "single.html site"),
        ("doorway --error-page si", "single.html site"),
        ("doorway --port 8", ""),
    ] {
        let complete = format!(
            "source /dev/stdin; COMP_WORDS=({words}); [[ '{words}' == *' ' ]] && COMP_WORDS+=(''); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _doorway; printf '%s\\n' \"${{COMPREPLY[@]}}\" | sort | xargs"
        );
        let mut command = Command::new("bash");
        command.args(["-c", &complete]).current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else { return println!("skipped: bash is not installed") };
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{words}");
    }
}

#[test]
fn mounts_and_proxies_stand_beside_the_folder_and_a_prefix_before_all() {
    let (site, docs) = (Folder::new(SITE), Folder::new(&[("index.html", "docs"), ("c.txt", "other")]));
    let upstream = Serving::start(&["--demo", "--port", "0"]);
    let mount = format!("/docs={}", docs.path().display());
    let second = format!("/more/docs={}", docs.path().display());
    let proxy = format!("/api={}", upstream.url());
    let serving =
        Serving::folder(site.path(), &["--mount", &mount, "--mount", &second, "--proxy", &proxy, "--prefix", "/p"]);
    for (path, end) in [
        ("/p/", "<h1>home</h1>"),
        ("/p/a.txt", "text"),
        ("/p/docs/", "docs"),
        ("/p/docs/c.txt", "other"),
        ("/p/more/docs/c.txt", "other"),
    ] {
        let response = serving.get(path);
        assert!(response.ends_with(end), "{path}: {response}");
    }
    assert!(serving.get("/a.txt").starts_with("HTTP/1.1 404 "));
    let response = serving.get("/p/api/users?x");
    assert!(response.contains("REQUEST_URI = \"/p/api/users?x\"\n"), "{response}");
}

#[test]
fn a_mount_at_the_root_takes_the_place_of_the_current_folder() {
    let (current, site) = (Folder::new(SITE), Folder::new(&[("b.txt", "other")]));
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    command.args(["--port=0", "--mount", &format!("/={}", site.path().display())]).current_dir(current.path());
    let mut serving = Serving::with(&mut command);
    assert!(serving.get("/b.txt").ends_with("\r\n\r\nother"));
    assert!(serving.get("/a.txt").starts_with("HTTP/1.1 404 "));
    let mut line = String::new();
    serving.log().read_line(&mut line).unwrap();
    assert!(line.contains(&format!("serving {};", site.path().display())), "{line}");
}

#[cfg(unix)]
#[test]
fn a_page_behind_a_link_that_leads_outside_is_refused_at_the_start_and_served_where_links_are_followed() {
    let (outside, folder) = (Folder::new(&[("gone.html", "gone")]), Folder::new(SITE));
    std::os::unix::fs::symlink(outside.path().join("gone.html"), folder.path().join("404.html")).unwrap();
    let (code, _, err) = run(&["--error-page=404.html", folder.path().to_str().unwrap()]);
    assert!(code == Some(1) && err.contains("it leads out of ") && err.contains("--follow"), "{err}");
    let serving = Serving::folder(folder.path(), &["--error-page=404.html", "--follow"]);
    assert!(serving.get("/missing").ends_with("gone"));
}

#[test]
fn routes_of_a_single_page_application_get_its_page_and_missing_files_do_not() {
    let folder = Folder::new(&[("index.html", "app"), ("404.html", "gone")]);
    let serving = Serving::folder(folder.path(), &["--spa", "--error-page", "404.html"]);
    let page = |path: &str, accept: &str| {
        serving.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: {accept}\r\n\r\n"))
    };
    let response = page("/users/7", "text/html");
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("app"), "{response}");
    for (path, accept) in [("/main.js", "*/*"), ("/logo.png", "text/html"), ("/users/7", "application/json")] {
        let response = page(path, accept);
        assert!(response.starts_with("HTTP/1.1 404 ") && response.ends_with("gone"), "{path}: {response}");
    }
}

#[test]
fn flags_for_front_end_work_reach_every_response() {
    let folder = Folder::new(SITE);
    let flags =
        ["--cors", "--coi", "--header", "X-Own: 1", "--header=Cache-Control: no-store", "--dotfiles", "--no-list"];
    let serving = Serving::folder(folder.path(), &flags);
    for path in ["/", "/.env", "/missing"] {
        let response = serving.get(path);
        for field in [
            "Access-Control-Allow-Origin: *",
            "Cross-Origin-Opener-Policy: same-origin",
            "Cross-Origin-Embedder-Policy: require-corp",
            "X-Own: 1",
            "Cache-Control: no-store",
        ] {
            assert_eq!(response.matches(&format!("\r\n{field}\r\n")).count(), 1, "{path} {field}: {response}");
        }
        assert_eq!(response.matches("Cache-Control").count(), 1, "{response}");
    }
    assert!(serving.get("/.env").ends_with("secret"));
    assert!(serving.get("/sub/").starts_with("HTTP/1.1 404 "));
    // What a page of another site may see of it, and a preflight request.
    let exposed = "\r\nAccess-Control-Expose-Headers: Accept-Ranges, Content-Length, Content-Range, ETag, Location\r\n";
    assert!(
        serving.get("/").contains(exposed)
            && serving.get("/").contains("\r\nCross-Origin-Resource-Policy: cross-origin\r\n")
    );
    let preflight = |serving: &Serving| {
        serving.ask(
            "OPTIONS /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nOrigin: https://a.example\r\n\
             Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: authorization\r\n\r\n",
        )
    };
    let allowed = preflight(&serving);
    for field in ["Origin: *", "Methods: *", "Headers: *, Authorization"] {
        assert!(allowed.contains(&format!("\r\nAccess-Control-Allow-{field}\r\n")), "{field}: {allowed}");
    }
    assert!(allowed.starts_with("HTTP/1.1 204 "), "{allowed}");
    assert!(!preflight(&Serving::folder(folder.path(), &[])).contains("Access-Control"));
}

#[test]
fn standard_input_that_ends_stops_it_where_that_is_asked_for() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    let mut serving = Serving::with(command.args(["--demo", "--port=0", "--until-eof"]).stdin(Stdio::piped()));
    assert!(serving.ask("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
    drop(serving.child.stdin.take());
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[cfg(unix)]
mod on_unix {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::process::ExitStatusExt;

    fn send(signal: &str, serving: &Serving) {
        let sent = Command::new("kill").args([signal, &serving.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// A client in the middle of a request: the upstream behind the proxy has it and says nothing.
    fn waiting_client(flags: &[&str]) -> (Serving, TcpListener, TcpStream, TcpStream) {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("/=http://{}", upstream.local_addr().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
        let serving = Serving::with(command.args(["--port=0", "--proxy", &proxy]).args(flags).stdin(Stdio::piped()));
        let mut client = TcpStream::connect(serving.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let (mut taken, _) = upstream.accept().unwrap();
        taken.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut byte = [0];
        taken.read_exact(&mut byte).unwrap();
        (serving, upstream, client, taken)
    }

    #[test]
    fn sigint_and_sigterm_end_it_with_exit_code_0() {
        for signal in ["-INT", "-TERM"] {
            let mut serving = Serving::start(&["--demo", "--port", "0"]);
            // An idle connection is no reason to wait.
            let _idle = TcpStream::connect(serving.address()).unwrap();
            let begin = Instant::now();
            send(signal, &serving);
            assert_eq!(serving.child.wait().unwrap().code(), Some(0), "{signal}");
            assert!(begin.elapsed() < Duration::from_secs(2), "{signal} took {:?}", begin.elapsed());
        }
    }

    #[test]
    fn a_response_on_its_way_is_finished_before_it_ends() {
        let (mut serving, _upstream, mut client, mut taken) = waiting_client(&[]);
        send("-TERM", &serving);
        // When it says so it has heard the signal.
        let line = serving.log().lines().map(Result::unwrap).find(|line| line.contains("stopping"));
        assert_eq!(line.as_deref(), Some("doorway: stopping; once more stops at once"));
        taken.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        assert!(response.ends_with("\r\n\r\nlate"), "{response}");
        assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    }

    #[test]
    fn a_second_signal_ends_it_at_once_with_a_code_that_says_so() {
        for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
            let (mut serving, _upstream, _client, _taken) = waiting_client(&[]);
            let mut log = serving.log();
            send(signal, &serving);
            let mut line = String::new();
            while !line.contains("stopping") {
                line.clear();
                assert!(log.read_line(&mut line).unwrap() > 0);
            }
            send(signal, &serving);
            let status = serving.child.wait().unwrap();
            assert_eq!((status.code(), status.signal()), (Some(code), None), "{signal}");
        }
    }

    #[test]
    fn a_call_that_does_not_return_ends_with_the_three_seconds() {
        for flag in ["--quiet", "--until-eof"] {
            let (mut serving, _upstream, _client, _taken) = waiting_client(&[flag]);
            let begin = Instant::now();
            match flag {
                "--until-eof" => drop(serving.child.stdin.take()),
                _ => send("-TERM", &serving),
            }
            // std has no wait with a limit: a process that never ends must fail this test and not keep it.
            let ended = loop {
                match serving.child.try_wait().unwrap() {
                    None if begin.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
                    ended => break ended,
                }
            };
            assert_eq!(ended.and_then(|status| status.code()), Some(0), "{flag}");
            assert!((2..6).contains(&begin.elapsed().as_secs()), "{flag}: {:?}", begin.elapsed());
        }
    }

    #[test]
    fn a_socket_at_standard_input_is_served_and_anything_else_there_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
        let serving = Serving::with(command.args(["--demo", "--stdin"]).stdin(OwnedFd::from(listener)));
        assert_eq!(serving.address(), address);
        assert!(serving.ask("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
        let (code, _, err) = run(&["--demo", "--stdin"]);
        assert!(code == Some(1) && err.contains("no listening socket"), "{err}");
    }

    #[test]
    fn as_process_1_of_a_container_it_still_ends_by_sigterm() {
        let unshare = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
        let can = Command::new("unshare").args(unshare).arg("true").output();
        if !can.is_ok_and(|output| output.status.success()) {
            println!("skipped: unshare cannot make a namespace of processes here");
            return;
        }
        let mut command = Command::new("unshare");
        let mut serving = Serving::with(
            command
                .args(unshare)
                .arg(env!("CARGO_BIN_EXE_doorway"))
                .args(["--demo", "--port", "0"])
                .stdin(Stdio::null()),
        );
        assert!(serving.ask("GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
        // The only child of unshare is the command; from outside of its namespace it has another number.
        let children = format!("/proc/{0}/task/{0}/children", serving.child.id());
        let child = std::fs::read_to_string(children).unwrap();
        assert!(Command::new("kill").args(["-TERM", child.trim()]).status().unwrap().success());
        assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    }
}
