//! Python frameworks from PyPI, unchanged, by `doorway --wsgi`: Flask, Django, Bottle and web.py. Where `.ci/run` has not installed them the
//! tests say that they were skipped.
#![cfg(unix)]

mod serving;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use serving::{Folder, PATIENCE, Serving, django_site, python_with};

/// By HTTP/1.0, so that the content stands in the response as it is.
fn get(serving: &Serving, path: &str, cookies: &str) -> String {
    serving.ask(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n"))
}

fn cookie(response: &str, name: &str) -> String {
    let begin = format!("Set-Cookie: {name}=");
    let line = response.lines().find_map(|line| line.strip_prefix(&begin));
    line.and_then(|line| line.split(';').next()).unwrap_or_else(|| panic!("no cookie {name}: {response}")).to_owned()
}

fn upload(length: usize) -> Vec<u8> {
    let mut upload = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.bin\"\r\n\r\n".to_vec();
    upload.resize(upload.len() + length, b'x');
    upload.extend_from_slice(b"\r\n--b--\r\n");
    upload
}

/// `wsgiref.validate` around an application sees both sides of PEP 3333: it ends a call that breaks a rule with an AssertionError.
const VALIDATED: &str = "
from wsgiref.validate import validator
from app import NAME
validated = validator(NAME)
";

/// What goes wrong when the standard's own checker stands between the worker and an application: nothing.
fn validate(folder: &Folder, python: &Path, name: &str) {
    folder.write("checked.py", VALIDATED.replace("NAME", name));
    let mut serving = Serving::wsgi(folder.path(), python, "checked:validated", &[]);
    assert!(get(&serving, "/?name=web%20%C3%A4", "").ends_with("hello web ä"));
    assert!(get(&serving, "/move", "").starts_with("HTTP/1.1 30"));
    assert!(get(&serving, "/none", "").starts_with("HTTP/1.1 404 "));
    let uploaded = serving.post("/upload", "Content-Type: multipart/form-data; boundary=b\r\n", &upload(100_000));
    assert!(uploaded.ends_with("x.bin 100000"), "{uploaded}");
    assert!(get(&serving, "/go", "").ends_with("gone"));
    assert!(get(&serving, "/stream", "").ends_with("block 0\nblock 1\n"));
    // The last line of the log that is waited for; all before it are read with it.
    let log = serving.log();
    drop(serving);
    let said: Vec<_> =
        log.lines().map_while(Result::ok).filter(|line| line.contains("Assert") || line.contains("Warning")).collect();
    assert!(said.is_empty(), "{said:?}");
}

/// What every framework is asked for.
fn check(serving: &mut Serving, error: &str) {
    let hello = get(serving, "/?name=web%20%C3%A4", "");
    assert!(hello.starts_with("HTTP/1.1 200 OK\r\n") && hello.ends_with("hello web ä"), "{hello}");
    let moved = get(serving, "/move", "");
    assert!(moved.starts_with("HTTP/1.1 30") && moved.contains("\r\nLocation: "), "{moved}");
    let set = get(serving, "/cookie", "");
    let value = cookie(&set, "a");
    assert!(get(serving, "/cookie", &format!("a={value}")).ends_with("again"));
    let uploaded = serving.post("/upload", "Content-Type: multipart/form-data; boundary=b\r\n", &upload(30_000_000));
    assert!(uploaded.ends_with("x.bin 30000000"), "{uploaded}");
    let head = serving.ask("HEAD / HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(get(serving, "/none", "").starts_with("HTTP/1.1 404 "));
    let mut client = TcpStream::connect(serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(client).lines().map(Result::unwrap).filter(|line| line.starts_with("block"));
    assert_eq!(lines.next().as_deref(), Some("block 0"));
    // The next block is not made before this.
    assert!(get(serving, "/go", "").ends_with("gone"));
    assert_eq!(lines.next().as_deref(), Some("block 1"));
    let failed = get(serving, "/fail", "");
    assert!(failed.starts_with("HTTP/1.1 500 ") && !failed.contains("Traceback"), "{failed}");
    let mut log = serving.log().lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains(error)), "no {error} in the log");
}

#[test]
fn flask_runs_as_it_is_from_a_factory_too() {
    let Some(python) = python_with("flask") else { return };
    let folder = Folder::new(&[(
        "app.py",
        r#"
import threading
from flask import Flask, Response, redirect, request

def create_app():
    app = Flask(__name__)
    app.go = threading.Event()

    @app.get("/")
    def hello():
        return "hello " + request.args["name"]

    @app.get("/move")
    def move():
        return redirect("/")

    @app.get("/cookie")
    def cookie():
        response = Response("again" if "a" in request.cookies else "first")
        response.set_cookie("a", "b")
        return response

    @app.post("/upload")
    def upload():
        file = request.files["file"]
        return "%s %d" % (file.filename, len(file.read()))

    @app.get("/stream")
    def stream():
        def blocks():
            yield "block 0\n"
            app.go.wait()
            yield "block 1\n"
        return Response(blocks())

    @app.get("/go")
    def go():
        app.go.set()
        return "gone"

    @app.get("/fail")
    def fail():
        raise ValueError("on purpose")

    return app

app = create_app()
"#,
    )]);
    check(&mut Serving::wsgi(folder.path(), &python, "app:app", &[]), "ValueError: on purpose");
    validate(&folder, &python, "app");
    assert!(
        get(&Serving::wsgi(folder.path(), &python, "app:create_app()", &[]), "/?name=you", "").ends_with("hello you")
    );
}

#[test]
fn bottle_runs_as_it_is() {
    let Some(python) = python_with("bottle") else { return };
    let folder = Folder::new(&[(
        "app.py",
        r#"
import threading
from bottle import BaseRequest, default_app, get, post, redirect, request, response

BaseRequest.MEMFILE_MAX = 64 * 1024 * 1024
event = threading.Event()

@get("/")
def hello():
    return "hello " + request.query.name

@get("/move")
def move():
    redirect("/")

@get("/cookie")
def cookie():
    response.set_cookie("a", "b")
    return "again" if request.get_cookie("a") else "first"

@post("/upload")
def upload():
    file = request.files["file"]
    return "%s %d" % (file.raw_filename, len(file.file.read()))

@get("/stream")
def stream():
    yield "block 0\n"
    event.wait()
    yield "block 1\n"

@get("/go")
def go():
    event.set()
    return "gone"

@get("/fail")
def fail():
    raise ValueError("on purpose")

app = default_app()
"#,
    )]);
    check(&mut Serving::wsgi(folder.path(), &python, "app", &[]), "ValueError: on purpose");
    validate(&folder, &python, "app");
}

#[test]
fn web_py_runs_as_it_is() {
    let Some(python) = python_with("web") else { return };
    let folder = Folder::new(&[(
        "app.py",
        r#"
import threading
import web

web.config.debug = False
event = threading.Event()

class Hello:
    def GET(self):
        web.header("Content-Type", "text/plain; charset=utf-8")
        return "hello " + web.input().name

class Move:
    def GET(self):
        raise web.seeother("/")

class Cookie:
    def GET(self):
        web.setcookie("a", "b")
        return "again" if web.cookies().get("a") else "first"

class Upload:
    def POST(self):
        web.header("Content-Type", "text/plain")
        file = web.input(file={})["file"]
        return "%s %d" % (file.filename, len(file.file.read()))

class Stream:
    def GET(self):
        web.header("Content-Type", "text/plain")
        yield "block 0\n"
        event.wait()
        yield "block 1\n"

class Go:
    def GET(self):
        web.header("Content-Type", "text/plain")
        event.set()
        return "gone"

class Fail:
    def GET(self):
        raise ValueError("on purpose")

urls = ("/", "Hello", "/move", "Move", "/cookie", "Cookie", "/upload", "Upload", "/stream", "Stream", "/go", "Go", "/fail", "Fail")
application = web.application(urls, globals()).wsgifunc()
"#,
    )]);
    check(&mut Serving::wsgi(folder.path(), &python, "app:application", &[]), "ValueError: on purpose");
    validate(&folder, &python, "application");
}

#[test]
fn django_runs_as_startproject_makes_it_with_its_admin_and_static_files_beside_it() {
    let Some(python) = python_with("django") else { return };
    let folder = django_site(&python);
    let serving = Serving::wsgi(
        folder.path(),
        &python,
        "mysite.wsgi:application",
        &["--workers", "2", "--mount", "/static=static"],
    );
    assert!(get(&serving, "/", "").contains("The install worked successfully"));
    let css = get(&serving, "/static/admin/css/base.css", "");
    assert!(css.starts_with("HTTP/1.1 200 OK\r\n") && css.contains("\r\nETag: "), "{}", &css[..200]);
    let moved = get(&serving, "/admin/", "");
    assert!(
        moved.starts_with("HTTP/1.1 302 ") && moved.contains("\r\nLocation: /admin/login/?next=/admin/\r\n"),
        "{moved}"
    );
    let page = get(&serving, "/admin/login/", "");
    let token =
        page.split("name=\"csrfmiddlewaretoken\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let cookies = format!("csrftoken={}", cookie(&page, "csrftoken"));
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let form = format!("csrfmiddlewaretoken={token}&username=ada&password=only-for-a-test&next=/admin/");
    let forged = serving.post("/admin/login/", kind, form.as_bytes());
    assert!(forged.starts_with("HTTP/1.1 403 "), "{forged}");
    let entered = serving.post("/admin/login/", &format!("Cookie: {cookies}\r\n{kind}"), form.as_bytes());
    assert!(entered.starts_with("HTTP/1.1 302 ") && entered.contains("\r\nLocation: /admin/\r\n"), "{entered}");
    let session = format!("sessionid={}", cookie(&entered, "sessionid"));
    let admin = get(&serving, "/admin/", &session);
    assert!(admin.starts_with("HTTP/1.1 200 OK\r\n") && admin.contains("Site administration"), "{admin}");
    let users = get(&serving, "/admin/auth/user/", &session);
    assert!(users.contains("ada@site.example"), "{users}");
    assert!(get(&serving, "/none", "").starts_with("HTTP/1.1 404 "));
    folder.write(
        "checked.py",
        "from wsgiref.validate import validator\nfrom mysite.wsgi import application\nvalidated = validator(application)\n",
    );
    let serving = Serving::wsgi(folder.path(), &python, "checked:validated", &[]);
    let page = get(&serving, "/admin/login/", "");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("csrfmiddlewaretoken"), "{page}");
    let entered = serving.post("/admin/login/", &format!("Cookie: {cookies}\r\n{kind}"), form.as_bytes());
    assert!(entered.starts_with("HTTP/1.1 302 "), "{entered}");
}
