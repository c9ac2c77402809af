//! What docs/behind.md says can stand behind the command, with the real parts. Where one is not installed the test says that it was skipped.
#![cfg(unix)]

mod serving;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serving::{Folder, PATIENCE, Running, Serving, free_port, wait_for};

/// A program of the virtual environment that `.ci/run` makes, or of the system; says so where it is not there.
fn tool(name: &str) -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin").join(name);
    let is_there =
        |path: &Path| Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success());
    let found = [venv, PathBuf::from(name)].into_iter().find(|path| is_there(path));
    if found.is_none() {
        println!("skipped: {name} is not installed");
    }
    found
}

fn executable(folder: &Folder, name: &str, text: &str) {
    folder.write(name, text);
    fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Whoever is announced so much gets 413, and nothing that is there is asked.
fn is_too_much(serving: &Serving, path: &str, length: u64) -> bool {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    serving.ask(&head).starts_with("HTTP/1.1 413 ")
}

/// By HTTP/1.0, so that the content stands in the response as it is.
fn get(serving: &Serving, path: &str) -> String {
    serving.ask(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
}

#[test]
fn programs_and_doors_stand_beside_a_folder() {
    let folder = Folder::new(&[("site/index.html", "home")]);
    executable(
        &folder,
        "cgi-bin/hello",
        "#!/bin/sh\necho Content-Type: text/plain; echo; echo \"$SCRIPT_NAME$PATH_INFO\"\n",
    );
    let mut behind = Command::new(env!("CARGO_BIN_EXE_doorway"));
    behind.args(["--demo", "--scgi", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    serving::serve_as_root(&mut behind);
    let mut behind = Running(behind.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(behind.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pass = format!("/app=scgi:{}", line.trim().strip_prefix("scgi ").unwrap());
    let cgi = format!("/cgi-bin={}", folder.path().join("cgi-bin").display());
    let one = format!("/one={}", folder.path().join("cgi-bin/hello").display());
    let mut serving =
        Serving::folder(&folder.path().join("site"), &["--pass", &pass, "--cgi", &cgi, "--cgi", &one, "--log", "off"]);
    assert!(get(&serving, "/").ends_with("\r\n\r\nhome"));
    assert!(get(&serving, "/cgi-bin/hello/a").ends_with("/cgi-bin/hello/a\n"));
    assert!(get(&serving, "/one/a").ends_with("/one/a\n"));
    assert!(get(&serving, "/app/x?y").contains("QUERY_STRING = \"y\"\n"));
    drop(behind);
    assert!(get(&serving, "/app/x").starts_with("HTTP/1.1 502 "));
    let line = serving.requests().next().unwrap();
    assert!(line.contains("5002 upstream-unreachable") && line.contains("scgi 127.0.0.1:"), "{line}");
}

#[test]
fn no_program_runs_on_without_the_command_that_would_have_ended_it() {
    let folder = Folder::new(&[("index.html", "home")]);
    executable(&folder, "cgi-bin/hang", "#!/bin/sh\necho $$ > pid; echo A: b; echo; sleep 1000 & exec sleep 1000\n");
    let (cgi, pid) =
        (format!("/cgi-bin={}", folder.path().join("cgi-bin").display()), folder.path().join("cgi-bin/pid"));
    // One whose answer is whole has the grace of the stop; a second signal waits for nothing.
    for (method, code) in [("HEAD", 0), ("GET", 143)] {
        let mut serving = Serving::folder(folder.path(), &["--cgi", &cgi]);
        let mut client = TcpStream::connect(serving.address()).unwrap();
        write!(client, "{method} /cgi-bin/hang HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        if method == "HEAD" {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        wait_for("a program", || fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
        let group = fs::read_to_string(&pid).unwrap().trim().to_owned();
        let mut log = serving.log();
        let send = || {
            assert!(Command::new("kill").args(["-TERM", &serving.child.id().to_string()]).status().unwrap().success())
        };
        send();
        if code != 0 {
            let mut line = String::new();
            while !line.contains("stopping") {
                line.clear();
                assert!(log.read_line(&mut line).unwrap() > 0);
            }
            send();
        }
        assert_eq!(serving.child.wait().unwrap().code(), Some(code), "{method}");
        // Whoever adopts them may take its time to reap them.
        wait_for("the end of its programs", || {
            let listed = Command::new("ps").args(["-e", "-o", "pgid=,stat="]).output().unwrap().stdout;
            let is_left = |line: &str| line.split_whitespace().next() == Some(&group) && !line.contains('Z');
            !String::from_utf8(listed).unwrap().lines().any(is_left)
        });
        fs::remove_file(&pid).unwrap();
    }
}

#[test]
fn a_program_whose_answer_is_whole_has_the_grace_of_a_stop_for_what_it_has_left_to_do() {
    let folder = Folder::new(&[("index.html", "home")]);
    let script = "#!/bin/sh\necho Status: 204; echo; until [ -e go ]; do sleep 0.01; done; echo done > done\n";
    executable(&folder, "cgi-bin/late", script);
    let cgi = format!("/cgi-bin={}", folder.path().join("cgi-bin").display());
    let mut serving = Serving::folder(folder.path(), &["--cgi", &cgi]);
    assert!(get(&serving, "/cgi-bin/late").starts_with("HTTP/1.1 204 "));
    let id = serving.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    wait_for("the end of the server", || TcpStream::connect(serving.address()).is_err());
    fs::write(folder.path().join("cgi-bin/go"), "").unwrap();
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(folder.path().join("cgi-bin/done")).unwrap(), "done\n");
}

#[test]
fn p_in_09_content_that_is_received_before_anybody_is_asked_has_a_bound() {
    let folder = Folder::new(&[("index.php", "")]);
    let (pass, php) = ("/app=scgi:127.0.0.1:1", format!("/php=fastcgi:127.0.0.1:1,root={}", folder.path().display()));
    let flags = ["--pass", pass, "--pass", &php, "--log", "off"];
    let serving = Serving::folder(folder.path(), &flags);
    assert!(is_too_much(&serving, "/app/", (1 << 30) + 1) && is_too_much(&serving, "/php/index.php", (1 << 30) + 1));
    let serving = Serving::folder(folder.path(), &[&flags[..], &["--upload-limit", "64k"]].concat());
    assert!(is_too_much(&serving, "/app/", 65_537) && is_too_much(&serving, "/php/index.php", 65_537));
    // What is not too much is asked for, and somebody is asked, who is not there.
    let small =
        format!("POST /app/ HTTP/1.0\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n{}", "a".repeat(65_536));
    assert!(serving.ask(&small).starts_with("HTTP/1.1 502 "));
}

#[test]
fn what_is_not_there_is_an_error_before_a_port_is_opened() {
    for (flag, value, part) in [
        ("--cgi", "/a=/no/such/place", "--cgi /no/such/place: it is not there"),
        ("--cgi", "/a=/etc/passwd", "is not an executable file"),
        ("--pass", "/a=fastcgi:127.0.0.1:1,root=/no/such/place", "--pass root /no/such/place: it is not there"),
    ] {
        let (code, out, err) = serving::run(&["--port", "0", flag, value]);
        assert!(code == Some(1) && out.is_empty() && err.contains(part), "{value}: {code:?} {err}");
    }
}

/// Uploads that drip.
fn drips(serving: &Serving, path: &str) -> Vec<TcpStream> {
    let open = |_| {
        let mut client = TcpStream::connect(serving.address()).unwrap();
        write!(client, "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nhello").unwrap();
        client
    };
    (0..6).map(open).collect()
}

/// Whether nobody has answered them: they were not in the way of others, who did not have to wait until they were cut.
fn still_drip(clients: &[TcpStream]) -> bool {
    clients.iter().all(|client| {
        client.set_nonblocking(true).unwrap();
        matches!(client.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    })
}

#[test]
fn slow_clients_hold_no_program() {
    let folder = Folder::new(&[]);
    executable(&folder, "hello", "#!/bin/sh\ncat > /dev/null\necho Content-Type: text/plain; echo; echo hello\n");
    let cgi = format!("/cgi-bin={}", folder.path().display());
    let serving = Serving::folder(folder.path(), &["--log", "off", "--threads", "64", "--cgi", &cgi]);
    // More than programs may run at once.
    let drips: Vec<_> = (0..3).flat_map(|_| drips(&serving, "/cgi-bin/hello")).collect();
    for _ in 0..20 {
        assert!(get(&serving, "/cgi-bin/hello").ends_with("\r\n\r\nhello\n"));
    }
    assert!(still_drip(&drips));
}

#[test]
fn slow_clients_hold_nobody_who_answers_behind_pass() {
    let folder = Folder::new(&[]);
    let socket = folder.path().join("scgi.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        // One request at a time, until it is whole or has ended.
        for stream in listener.incoming() {
            let (mut stream, mut bytes, mut byte) = (stream.unwrap(), Vec::new(), [0]);
            while stream.read(&mut byte).is_ok_and(|length| length > 0) {
                bytes.push(byte[0]);
                if bytes.ends_with(b"\0,") && bytes.windows(17).any(|part| part == b"CONTENT_LENGTH\x000\0") {
                    stream.write_all(b"Status: 200 OK\r\n\r\nfine").unwrap();
                    break;
                }
            }
        }
    });
    let pass = format!("/=scgi:unix:{}", socket.display());
    let serving = Serving::start(&["--port", "0", "--log", "off", "--pass", &pass]);
    let drips = drips(&serving, "/");
    for _ in 0..20 {
        assert!(get(&serving, "/").ends_with("\r\n\r\nfine"));
    }
    assert!(still_drip(&drips));
}

#[test]
fn php_fpm_runs_a_folder_of_php() {
    let names = ["php-fpm", "php-fpm8.4", "php-fpm8.3", "php-fpm8.2", "php-fpm8.1"];
    let found = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let Some(fpm) = names.into_iter().find(found) else {
        println!("skipped: php-fpm is not installed");
        return;
    };
    let folder = Folder::new(&[
        (
            "www/index.php",
            "<?php echo 'path=', $_SERVER['PATH_INFO'] ?? '-', ' script=', $_SERVER['SCRIPT_NAME'], ' ', $_GET['q'] ?? '';",
        ),
        ("www/info.php", "<?php phpinfo();"),
        ("www/form.php", "<?php echo htmlspecialchars($_POST['name']), ' ', $_SERVER['CONTENT_TYPE'];"),
        ("www/upload.php", "<?php echo $_FILES['file']['name'], ' ', md5_file($_FILES['file']['tmp_name']);"),
        (
            "www/status.php",
            "<?php http_response_code(404); header('X-A: 1'); header('Set-Cookie: a=b'); error_log('said'); echo 'gone';",
        ),
        ("www/move.php", "<?php header('Location: /index.php');"),
        (
            "www/stream.php",
            "<?php echo 'one'; flush(); while (!file_exists('go')) { usleep(1000); clearstatcache(); } echo 'two';",
        ),
        ("www/fatal.php", "<?php nothing();"),
        ("www/style.css", "p { }"),
    ]);
    let root = folder.path().join("www");
    let socket = folder.path().join("fpm.sock");
    let pool = format!(
        "[global]\nerror_log = {0}/fpm.log\ndaemonize = no\n[www]\nlisten = {1}\npm = static\npm.max_children = 2\n\
        catch_workers_output = no\nphp_admin_value[upload_max_filesize] = 64M\nphp_admin_value[post_max_size] = 64M\n\
        php_admin_value[output_buffering] = 0\n",
        folder.path().display(),
        socket.display()
    );
    folder.write("fpm.conf", pool);
    let mut command = Command::new(fpm);
    // Root may run it in a test, with its own user.
    command.args(["--nodaemonize", "--allow-to-run-as-root", "--fpm-config"]).arg(folder.path().join("fpm.conf"));
    let text = fs::read_to_string(folder.path().join("fpm.conf")).unwrap();
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if is_root {
        folder.write("fpm.conf", text + "user = root\ngroup = root\n");
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _running = Running(child);
    wait_for("php-fpm listened", || socket.exists());
    let pass = format!("/=fastcgi:unix:{},root={}", socket.display(), root.display());
    let mut serving = Serving::start(&["--port", "0", "--log", "off", "--pass", &pass]);
    assert!(get(&serving, "/").ends_with("\r\n\r\npath=- script=/index.php "), "{}", get(&serving, "/"));
    assert!(get(&serving, "/index.php/rest/a%20b?q=x").ends_with("path=/rest/a b script=/index.php x"));
    assert!(get(&serving, "/info.php").contains("FPM/FastCGI"));
    assert!(get(&serving, "/style.css").ends_with("p { }"));
    for path in ["/none.php", "/none.php/index.php", "/style.css/x.php", "/.env"] {
        let response = get(&serving, path);
        assert!(response.starts_with("HTTP/1.1 404 ") && !response.contains("X-Powered-By"), "{path}: {response}");
    }
    let form = serving.post("/form.php", "Content-Type: application/x-www-form-urlencoded\r\n", b"name=%3Cme%3E+you");
    assert!(form.ends_with("&lt;me&gt; you application/x-www-form-urlencoded"), "{form}");
    let content: Vec<u8> = (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut upload = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.bin\"\r\n\r\n".to_vec();
    upload.extend_from_slice(&content);
    upload.extend_from_slice(b"\r\n--b--\r\n");
    fs::write(root.join("x.bin"), &content).unwrap();
    let sum = Command::new("md5sum").arg(root.join("x.bin")).output().unwrap();
    let sum = String::from_utf8_lossy(&sum.stdout[..32]).into_owned();
    let uploaded = serving.post("/upload.php", "Content-Type: multipart/form-data; boundary=b\r\n", &upload);
    assert!(uploaded.ends_with(&format!("x.bin {sum}")), "{uploaded}");
    let status = get(&serving, "/status.php");
    assert!(status.starts_with("HTTP/1.1 404 ") && status.ends_with("gone"), "{status}");
    assert!(status.contains("\r\nX-A: 1\r\n") && status.contains("\r\nSet-Cookie: a=b\r\n"), "{status}");
    assert!(get(&serving, "/move.php").starts_with("HTTP/1.1 302 "));
    assert!(get(&serving, "/fatal.php").starts_with("HTTP/1.1 500 "));
    let mut client = TcpStream::connect(serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /stream.php HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"one\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    fs::write(root.join("go"), "").unwrap();
    client.read_to_end(&mut seen).unwrap();
    assert!(seen.ends_with(b"3\r\ntwo\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&seen));
    // More slow clients than there are processes.
    let drips = drips(&serving, "/form.php");
    for _ in 0..20 {
        assert!(get(&serving, "/").ends_with("script=/index.php "));
    }
    assert!(still_drip(&drips));
    // More clients at once than there are processes, again and again: no kept connection holds the one that another waits for.
    let address = serving.address().to_owned();
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || {
                for _ in 0..20 {
                    let response = serving::ask(&address, "GET /?q=1 HTTP/1.0\r\nHost: localhost\r\n\r\n");
                    assert!(response.ends_with("script=/index.php 1"), "{response}");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let log: Vec<String> = serving.requests().take(2).collect();
    assert!(log[0].starts_with("fastcgi unix:") && log[0].contains("said"), "{log:?}");
    assert!(log[1].contains("nothing()"), "{log:?}");
}

#[test]
fn a_real_uwsgi_is_passed_to() {
    let Some(uwsgi) = tool("uwsgi") else { return };
    let folder = Folder::new(&[(
        "app.py",
        "def application(environ, start_response):\n\
        \x20   if environ['PATH_INFO'] == '/stream':\n\
        \x20       start_response('200 OK', [('Content-Type', 'text/plain')])\n\
        \x20       return iter([b'one', b'two'])\n\
        \x20   body = repr([environ[n] for n in ('SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'REQUEST_METHOD')]).encode()\n\
        \x20   body += environ['wsgi.input'].read()\n\
        \x20   start_response('201 Made', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body))), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2')])\n\
        \x20   return [body]\n",
    )]);
    let port = free_port();
    let socket = format!("127.0.0.1:{port}");
    let mut command = Command::new(uwsgi);
    command.args(["--socket", &socket, "--wsgi-file", "app.py", "--master", "--die-on-term", "--need-app"]);
    let child = command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Running(child.spawn().unwrap());
    wait_for("uwsgi listened", || TcpStream::connect(&socket).is_ok());
    let pass = format!("/app=uwsgi:{socket}");
    let serving = Serving::folder(folder.path(), &["--log", "off", "--pass", &pass]);
    let response = serving.post("/app/a%20b?c=d", "Content-Type: text/plain\r\n", b"hello");
    assert!(response.starts_with("HTTP/1.1 201 Made\r\n"), "{response}");
    assert!(response.contains("\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"), "{response}");
    assert!(response.ends_with("['/app', '/a b', 'c=d', 'POST']hello"), "{response}");
    assert!(get(&serving, "/app/stream").contains("one"));
    assert!(get(&serving, "/app.py").contains("def application"), "the folder is beside it");
}

#[test]
fn tornado_stands_behind_the_proxy() {
    let Some(python) = tool("python") else { return };
    let has = Command::new(&python).args(["-c", "import tornado"]).output().unwrap().status.success();
    if !has {
        println!("skipped: tornado is not installed");
        return;
    }
    let port = free_port();
    let folder = Folder::new(&[(
        "app.py",
        &format!(
            "import asyncio, tornado.web\n\
            class Main(tornado.web.RequestHandler):\n\
            \x20   def get(self):\n\
            \x20       self.set_cookie('a', 'b'); self.write('hello ' + self.get_argument('q', ''))\n\
            \x20   def post(self):\n\
            \x20       f = self.request.files['file'][0]; self.write('%s %d' % (f['filename'], len(f['body'])))\n\
            class Move(tornado.web.RequestHandler):\n\
            \x20   def get(self): self.redirect('/')\n\
            class Stream(tornado.web.RequestHandler):\n\
            \x20   async def get(self):\n\
            \x20       for n in range(3):\n\
            \x20           self.write('block %d\\n' % n); await self.flush()\n\
            class Fail(tornado.web.RequestHandler):\n\
            \x20   def get(self): raise ValueError('on purpose')\n\
            async def main():\n\
            \x20   tornado.web.Application([('/', Main), ('/move', Move), ('/stream', Stream), ('/fail', Fail)]).listen({port}, '127.0.0.1', max_buffer_size=64*1024*1024)\n\
            \x20   await asyncio.Event().wait()\n\
            asyncio.run(main())\n"
        ),
    )]);
    let mut command = Command::new(python);
    command.arg("app.py").current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Running(command.spawn().unwrap());
    wait_for("tornado listened", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let serving = Serving::start(&["--port", "0", "--log", "off", "--proxy", &format!("/=http://127.0.0.1:{port}")]);
    let response = get(&serving, "/?q=web");
    assert!(response.ends_with("hello web") && response.contains("\r\nSet-Cookie: a=b"), "{response}");
    assert!(get(&serving, "/move").contains("\r\nLocation: /\r\n"));
    let stream = get(&serving, "/stream");
    assert!((0..3).all(|n| stream.contains(&format!("block {n}\n"))), "{stream}");
    assert!(get(&serving, "/none").starts_with("HTTP/1.1 404 "));
    assert!(get(&serving, "/fail").starts_with("HTTP/1.1 500 "));
    // Tornado has no HEAD by itself.
    let head = serving.ask("HEAD / HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 405 ") && head.ends_with("\r\n\r\n"), "{head}");
    let mut upload = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.bin\"\r\n\r\n".to_vec();
    upload.resize(upload.len() + 30_000_000, b'x');
    upload.extend_from_slice(b"\r\n--b--\r\n");
    let uploaded = serving.post("/", "Content-Type: multipart/form-data; boundary=b\r\n", &upload);
    assert!(uploaded.ends_with("x.bin 30000000"), "{uploaded}");
}
