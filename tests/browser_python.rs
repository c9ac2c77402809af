//! Python web sites in a real browser (`browsing`): Flask, Bottle, web.py and Django by `doorway --wsgi`, Tornado with its WebSocket behind
//! `--proxy`. Each is used as a person does: a link, a form, a cookie, a file, a page that is not there. What is not installed is said.
#![cfg(unix)]

mod browsing;
mod serving;

use std::io::BufRead;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use browsing::{Browser, quoted};
use serving::{Folder, Running, Serving, django_site, free_port, python_with, wait_for};

fn start(folder: &Folder, python: &Path, application: &str, flags: &[&str]) -> Serving {
    let mut serving = Serving::wsgi(folder.path(), python, application, flags);
    let log = serving.log();
    // Read all the time, so that nobody waits for that.
    std::thread::spawn(move || log.lines().for_each(drop));
    serving
}

/// The page that each of them shows at `/`: who one is, by a cookie that the form sets, and the size of a file that was sent.
const PAGE: &str = "<!DOCTYPE html><title>{name} {size}</title><form method=post enctype=multipart/form-data><input name=name>\
    <input type=file name=file><button>go</button></form><a href=/move>move</a>";

/// Uses a site of that page.
fn visit(browser: &Browser, url: &str) {
    browser.open(&format!("{url}/"));
    browser.until("return document.title", "nobody 0");
    let fill = "document.querySelector('[name=name]').value = 'ada'; const files = new DataTransfer(); \
        files.items.add(new File([new Uint8Array(3_000_000)], 'gr\u{fc}\u{df}e.bin')); \
        document.querySelector('[name=file]').files = files.files; document.querySelector('button').click()";
    browser.run(fill);
    browser.until("return document.title", "ada 3000000");
    // A redirect, and the cookie is still there.
    browser.run("document.querySelector('a').click()");
    browser.until("return location.pathname + ' ' + document.title", "/moved ada 0");
    let fetched = "const get = async path => (await fetch(path)).status; \
        const head = await fetch('/', {method: 'HEAD'}); \
        const reader = (await fetch('/stream')).body.getReader(); let text = '', blocks = 0; \
        for (;;) { const {done, value} = await reader.read(); if (done) break; text += new TextDecoder().decode(value); blocks++; } \
        return [await get('/none'), await get('/fail'), head.status < 500, (await head.text()).length, text, blocks > 1]";
    assert_eq!(browser.run(fetched), "404,500,true,0,block 0block 1,true");
}

#[test]
fn flask_in_a_browser() {
    let Some(python) = python_with("flask") else { return };
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[(
        "app.py",
        &r#"
import time
from flask import Flask, Response, redirect, request

app = Flask(__name__)

@app.route("/", methods=["GET", "POST"])
@app.get("/moved")
def page():
    file = request.files.get("file")
    name = request.form.get("name") or request.cookies.get("name", "nobody")
    response = Response(PAGE.replace("{name}", name).replace("{size}", str(len(file.read()) if file else 0)))
    response.set_cookie("name", name)
    return response

@app.get("/move")
def move():
    return redirect("/moved")

@app.get("/stream")
def stream():
    def blocks():
        yield "block 0"
        time.sleep(0.3)
        yield "block 1"
    return Response(blocks())

@app.get("/fail")
def fail():
    raise ValueError("on purpose")
"#
        .replace("PAGE", &quoted(PAGE)),
    )]);
    visit(&browser, start(&folder, &python, "app:app", &[]).url());
}

#[test]
fn bottle_in_a_browser() {
    let Some(python) = python_with("bottle") else { return };
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[(
        "app.py",
        &r#"
import time
from bottle import BaseRequest, default_app, get, redirect, request, response, route

BaseRequest.MEMFILE_MAX = 64 * 1024 * 1024

@route("/", method=["GET", "POST"])
@get("/moved")
def page():
    file = request.files.get("file")
    name = request.forms.get("name") or request.get_cookie("name") or "nobody"
    response.set_cookie("name", name, path="/")
    return PAGE.replace("{name}", name).replace("{size}", str(len(file.file.read()) if file else 0))

@get("/move")
def move():
    redirect("/moved")

@get("/stream")
def stream():
    yield "block 0"
    time.sleep(0.3)
    yield "block 1"

@get("/fail")
def fail():
    raise ValueError("on purpose")

app = default_app()
"#
        .replace("PAGE", &quoted(PAGE)),
    )]);
    visit(&browser, start(&folder, &python, "app", &[]).url());
}

#[test]
fn web_py_in_a_browser() {
    let Some(python) = python_with("web") else { return };
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[(
        "app.py",
        &r#"
import time
import web

web.config.debug = False

def page(name, size):
    web.setcookie("name", name, path="/")
    web.header("Content-Type", "text/html; charset=utf-8")
    return PAGE.replace("{name}", name).replace("{size}", str(size))

class Page:
    def GET(self):
        return page(web.cookies().get("name", "nobody"), 0)
    HEAD = GET
    def POST(self):
        form = web.input(file={})
        return page(form.name, len(form["file"].file.read()))

class Move:
    def GET(self):
        raise web.seeother("/moved")

class Stream:
    def GET(self):
        yield "block 0"
        time.sleep(0.3)
        yield "block 1"

class Fail:
    def GET(self):
        raise ValueError("on purpose")

urls = ("/", "Page", "/moved", "Page", "/move", "Move", "/stream", "Stream", "/fail", "Fail")
application = web.application(urls, globals()).wsgifunc()
"#
        .replace("PAGE", &quoted(PAGE)),
    )]);
    visit(&browser, start(&folder, &python, "app:application", &[]).url());
}

#[test]
fn the_admin_of_django_in_a_browser_with_its_forms_its_styles_and_its_scripts() {
    let Some(python) = python_with("django") else { return };
    let Some(browser) = Browser::start() else { return };
    let folder = django_site(&python);
    let serving = start(&folder, &python, "mysite.wsgi:application", &["--workers", "2", "--mount", "/static=static"]);
    // By itself, and behind another doorway: its forms compare Origin with Host.
    let front = Serving::start(&["--port", "0", "--quiet", "--proxy", &format!("/={}", serving.url())]);
    for url in [serving.url(), front.url()] {
        browser.open(&format!("{url}/admin/"));
        browser.until("return location.pathname", "/admin/login/");
        browser.run(
            "document.querySelector('#id_username').value = 'ada'; document.querySelector('#id_password').value = 'only-for-a-test'; \
            document.querySelector('[type=submit]').click()",
        );
        browser.until("return location.pathname + document.title.split(' |')[0]", "/admin/Site administration");
        // The style of the page is that of its file.
        browser.until(
            "return getComputedStyle(document.querySelector('#header')).backgroundColor != 'rgba(0, 0, 0, 0)'",
            "true",
        );
        browser.open(&format!("{url}/admin/auth/group/add/"));
        let name = if url == serving.url() { "direct" } else { "behind" };
        browser.run(&format!(
            "document.querySelector('#id_name').value = '{name}'; document.querySelector('[name=_save]').click()"
        ));
        browser.until("return location.pathname", "/admin/auth/group/");
        browser.until("return document.querySelector('.success')?.textContent.includes('was added')", "true");
        browser.run("document.querySelector('#logout-form button').click()");
        browser.until("return location.pathname + document.title.split(' |')[0]", "/admin/logout/Logged out");
    }
}

#[test]
fn tornado_and_its_websocket_behind_the_proxy_in_a_browser() {
    let Some(python) = python_with("tornado") else { return };
    let Some(browser) = Browser::start() else { return };
    let port = free_port();
    let folder = Folder::new(&[(
        "app.py",
        &r#"
import asyncio
import tornado.web
import tornado.websocket

class Page(tornado.web.RequestHandler):
    def get(self):
        self.show(self.get_cookie("name", "nobody"), 0)
    head = get
    def post(self):
        self.show(self.get_argument("name"), len(self.request.files["file"][0]["body"]))
    def show(self, name, size):
        self.set_cookie("name", name)
        self.write(PAGE.replace("{name}", name).replace("{size}", str(size)))

class Move(tornado.web.RequestHandler):
    def get(self):
        self.redirect("/moved")

class Stream(tornado.web.RequestHandler):
    async def get(self):
        self.write("block 0")
        await self.flush()
        await asyncio.sleep(0.3)
        self.write("block 1")

class Fail(tornado.web.RequestHandler):
    def get(self):
        raise ValueError("on purpose")

class Live(tornado.websocket.WebSocketHandler):
    # It compares Origin with Host, as it comes.
    def select_subprotocol(self, offered):
        return offered[0] if offered else None
    def get_compression_options(self):
        return {}
    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))
    def on_close(self):
        print("closed", self.close_code, flush=True)

async def main():
    handlers = [("/", Page), ("/moved", Page), ("/move", Move), ("/stream", Stream), ("/fail", Fail), ("/live", Live)]
    tornado.web.Application(handlers).listen(PORT, "127.0.0.1", max_buffer_size=64 * 1024 * 1024)
    await asyncio.Event().wait()

asyncio.run(main())
"#
        .replace("PAGE", &quoted(PAGE))
        .replace("PORT", &port.to_string()),
    )]);
    let mut command = Command::new(python);
    command.arg("app.py").current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    wait_for("tornado listened", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let proxy = format!("/=http://127.0.0.1:{port}");
    let mut serving = Serving::start(&["--port", "0", "--log", "common", "--proxy", &proxy]);
    visit(&browser, serving.url());
    let live = "const live = new WebSocket(new URL('/live', location).href.replace('http', 'ws'), ['talk', 'other']); live.binaryType = 'arraybuffer'; \
        const next = () => new Promise((ok, no) => { live.onmessage = e => ok(e.data); live.onclose = e => no(e.code); }); \
        await new Promise((ok, no) => { live.onopen = ok; live.onerror = no; }); \
        live.send('gr\u{fc}\u{df} dich'); const text = await next(); \
        live.send(new Uint8Array(300000)); const bytes = (await next()).byteLength; \
        const closed = new Promise(ok => live.onclose = e => ok(`${e.code} ${e.wasClean}`)); live.close(4001); \
        return [text, bytes, live.protocol, live.extensions.includes('deflate'), await closed]";
    assert_eq!(browser.run(live), "gr\u{fc}\u{df} dich,300000,talk,true,4001 true");
    let said = std::io::BufReader::new(running.0.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert_eq!(said, "closed 4001");
    let line = serving.requests().find(|line| line.contains("/live")).unwrap();
    assert!(line.contains("\"GET /live HTTP/1.1\" 101 "), "{line}");
    let foreign = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    let refused = serving.ask(&format!(
        "GET /live HTTP/1.1\r\nHost: {}\r\nOrigin: http://evil.example\r\n{foreign}\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        serving.address()
    ));
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
}
