//! What developers of pages see: the `doorway` command in a real browser, driven through WebDriver (`browsing`).

mod browsing;
mod serving;

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use browsing::{Browser, quoted, text_of};
use serving::{Folder, Serving};

#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/notes.rs"]
mod notes;

/// A log that keeps every status, and what went wrong.
#[derive(Clone, Default)]
struct Kept {
    statuses: Arc<Mutex<Vec<u16>>>,
    errors: Arc<Mutex<Vec<String>>>,
}

impl doorway::log::Log for Kept {
    fn access(&self, access: &doorway::log::Access<'_>) {
        self.statuses.lock().unwrap().push(access.status);
    }

    fn error(&self, report: &doorway::log::Report<'_>) {
        self.errors.lock().unwrap().push(report.to_string());
    }

    fn application(&self, text: &str) {
        self.errors.lock().unwrap().push(text.to_owned());
    }
}

#[test]
fn a_whole_site_is_used_as_a_person_uses_it_and_its_log_shows_no_error() {
    let Some(browser) = Browser::start() else { return };
    let (folder, log) = (Folder::new(&[]), Kept::default());
    let site = notes::site("open sesame".into(), folder.path().into()).unwrap();
    let handle = doorway::Server::bind("127.0.0.1:0").unwrap().log(log.clone()).spawn(site).unwrap();
    let url = format!("http://{}", handle.addr());
    let log_in = |password: &str| {
        browser.open(&format!("{url}/"));
        assert_eq!(browser.run("return document.title"), "Log in");
        browser.run(&format!("document.forms[0].password.value = \"{password}\"; document.forms[0].submit()"));
    };
    log_in("wrong");
    browser.until("return document.title + (await fetch('/notes')).status", "Log in403");
    log_in("open sesame");
    browser.until("return document.title", "Notes");

    // What is added is heard of by an event, and shown as text whatever it holds.
    let shown = "return [...document.querySelectorAll('li')].map(line => line.textContent).join('|')";
    for (note, expected) in
        [("<b>first</b>", "<b>first</b>"), ("\\u2028 & \\\"second\\\"", "<b>first</b>|\u{2028} & \"second\"")]
    {
        browser.run(&format!("note.text.value = \"{note}\"; note.requestSubmit()"));
        browser.until(shown, expected);
    }
    // A browser asks again with the tag, and is told that it has the notes already.
    assert_eq!(browser.run("await fetch('/notes'); return (await fetch('/notes')).status"), "200");
    assert!(log.statuses.lock().unwrap().contains(&304), "{:?}", log.statuses);

    // Three files at once, one of them of two megabytes and one with a name that leads elsewhere.
    let upload = "const form = new FormData();
        form.append('file', new File([new Uint8Array(2 << 20).fill(13)], 'large.bin'));
        form.append('file', new File(['hidden'], '../../.profile'));
        form.append('file', new File(['<script>'], 'na\u{ef}ve \"page\".html'));
        return (await fetch('/upload', {method: 'POST', body: form})).url.endsWith('/files/')";
    assert_eq!(browser.run(upload), "true");
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["large.bin", "na\u{ef}ve %22page%22.html", "profile"]);
    assert_eq!(
        browser.run("return (await (await fetch('/files/large.bin')).arrayBuffer()).byteLength"),
        (2 << 20).to_string()
    );
    assert_eq!(browser.run("return await (await fetch('/files/na%C3%AFve%20%2522page%2522.html')).text()"), "<script>");
    // The stream of events is open all the time.
    assert_eq!(*log.errors.lock().unwrap(), [""; 0]);
    // The page goes before the server does.
    browser.open("about:blank");
    handle.shutdown(Duration::from_secs(5));
}

#[test]
fn a_listing_leads_into_a_folder_to_a_file_with_a_difficult_name_and_back() {
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[("sub/a file #1 100%?.txt", "found"), ("b.txt", "b")]);
    let serving = Serving::folder(folder.path(), &[]);
    browser.open(serving.url());
    let follow = |name: &str| {
        browser.run(&format!("[...document.links].find((a) => a.textContent.includes({})).click()", quoted(name)));
    };
    follow("sub");
    browser.until("return document.readyState + location.pathname", "complete/sub/");
    follow("a file #1");
    browser.until("return document.readyState + document.body.textContent", "completefound");
    browser.command("/back", "{}");
    browser.until("return document.readyState + location.pathname", "complete/sub/");
    follow("..");
    browser.until("return document.readyState + location.pathname", "complete/");
}

/// Five minutes of a tone: long enough that a browser does not fetch it whole.
fn wave() -> Vec<u8> {
    const RATE: u32 = 8_000;
    let samples: Vec<u8> = (0..300 * RATE).flat_map(|n| (((n % 40) as i16 - 20) * 500).to_le_bytes()).collect();
    let size = samples.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(RATE.to_le_bytes());
    file.extend((2 * RATE).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(size.to_le_bytes());
    file.extend(samples);
    file
}

#[test]
fn media_can_be_played_from_the_middle() {
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[("index.html", "<video id=v src=tone.wav preload=metadata></video>")]);
    folder.write("tone.wav", wave());
    let mut serving = Serving::folder(folder.path(), &[]);
    let mut lines = serving.requests();
    browser.open(serving.url());
    browser.until("return v.readyState > 0 && v.seekable.length > 0 && v.seekable.end(0) > 299", "true");
    let place = browser.run(
        "await new Promise((done, failed) => { v.onseeked = done; v.onerror = failed; v.currentTime = 250 }); return v.currentTime",
    );
    assert_eq!(place, "250");
    assert!(lines.any(|line| line.contains("/tone.wav") && line.contains("\" 206 ")), "no part was asked for");
}

#[test]
fn a_module_and_a_webassembly_file_load() {
    let Some(browser) = Browser::start() else { return };
    let page = "<script type=module>import { f } from './m.mjs'; \
        const { instance } = await WebAssembly.instantiateStreaming(fetch('f.wasm')); document.title = f(instance.exports.f());</script>";
    let folder = Folder::new(&[("index.html", page), ("m.mjs", "export const f = (n) => `answer ${n}`;")]);
    // (module (func (export "f") (result i32) i32.const 42))
    let wasm =
        b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x07\x05\x01\x01f\0\0\x0a\x06\x01\x04\0\x41\x2a\x0b";
    folder.write("f.wasm", wasm);
    let serving = Serving::folder(folder.path(), &[]);
    browser.open(serving.url());
    browser.until("return document.title", "answer 42");
}

#[test]
fn a_route_of_a_single_page_application_survives_a_reload() {
    let Some(browser) = Browser::start() else { return };
    let page = "<base href=/><script src=app.js></script>";
    let app = "addEventListener('load', () => { if (location.pathname == '/') history.pushState(0, '', '/users/7'); \
        document.title = 'at ' + location.pathname })";
    let folder = Folder::new(&[("index.html", page), ("app.js", app)]);
    let serving = Serving::folder(folder.path(), &["--spa"]);
    browser.open(serving.url());
    browser.until("return document.title", "at /users/7");
    browser.command("/refresh", "{}");
    browser.until("return document.title + performance.getEntriesByType('navigation')[0].type", "at /users/7reload");
}

#[test]
fn live_reload_swaps_a_stylesheet_without_a_load_and_loads_a_changed_page() {
    let Some(browser) = Browser::start() else { return };
    let page =
        |title: &str| format!("<!doctype html><title>{title}</title><link rel=stylesheet href=style.css><p>text");
    let folder = Folder::new(&[("index.html", &page("one")), ("style.css", "p { color: rgb(1, 2, 3) }")]);
    let serving = Serving::folder(folder.path(), &["--reload"]);
    browser.open(serving.url());
    let colour = "return getComputedStyle(document.querySelector('p')).color";
    browser.until(colour, "rgb(1, 2, 3)");
    browser.run("window.same = 'the same page'");
    for turn in 4..7 {
        folder.write("style.css", format!("p {{ color: rgb(1, 2, {turn}) }} /* {} */", "x".repeat(turn)));
        browser.until(colour, &format!("rgb(1, 2, {turn})"));
        browser.until("return document.querySelectorAll('link').length", "1");
    }
    assert_eq!(browser.run("return window.same"), "the same page");
    folder.write("index.html", page("another"));
    browser.until("return document.title + window.same", "anotherundefined");
    // It has settled: the page that was loaded is not loaded over and over.
    browser.run("window.same = 'the same page'");
    folder.write("style.css", "p { color: rgb(7, 8, 9) }");
    browser.until(colour, "rgb(7, 8, 9)");
    assert_eq!(browser.run("return window.same"), "the same page");
}

#[test]
fn live_reload_shows_a_new_file_in_a_listing_and_brings_a_page_back_that_was_missing() {
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[("a.txt", "x")]);
    let serving = Serving::folder(folder.path(), &["--reload"]);
    browser.open(serving.url());
    folder.write("b.txt", "x");
    browser.until("return document.querySelectorAll('tbody tr').length", "2");
    browser.open(&format!("{}/page.html", serving.url()));
    browser.until("return document.title", "Not Found");
    folder.write("page.html", "<!doctype html><p>back");
    browser.until("return document.body.innerText.trim()", "back");
}

#[test]
fn a_page_is_isolated_with_coi_and_not_without() {
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[("index.html", "<script src=a.js></script>"), ("a.js", "window.loaded = true")]);
    for (flags, isolated) in [(&["--coi"][..], "true true function"), (&[], "false true undefined")] {
        let serving = Serving::folder(folder.path(), flags);
        browser.open(serving.url());
        assert_eq!(browser.run("return `${crossOriginIsolated} ${loaded} ${typeof SharedArrayBuffer}`"), isolated);
    }
}

#[test]
fn twenty_open_tabs_do_not_slow_the_next_one() {
    let Some(browser) = Browser::start() else { return };
    let folder =
        Folder::new(&[("index.html", "<!doctype html><title>tab</title><script src=a.js></script>"), ("a.js", "")]);
    let serving = Serving::folder(folder.path(), &["--reload", "--threads", "2"]);
    let mut times = Vec::new();
    for _ in 0..21 {
        let made = browser.command("/window/new", "{\"type\":\"tab\"}");
        let handle = text_of(&made, "handle").unwrap();
        browser.command("/window", &format!("{{\"handle\":{}}}", quoted(&handle)));
        browser.open(serving.url());
        // What the network took, as the page saw it: a busy machine draws slowly.
        let took =
            browser.run("const n = performance.getEntriesByType('navigation')[0]; return n.responseEnd - n.startTime");
        times.push(took.parse::<f64>().unwrap());
    }
    println!("milliseconds until each tab had its page: {times:.1?}");
    let mut first = times[..10].to_vec();
    first.sort_by(f64::total_cmp);
    assert!(times[20] < 10.0 * first[5] + 500.0, "the tabs took {times:.1?} ms");
    assert_eq!(browser.run("return document.title"), "tab");
}

#[cfg(unix)]
#[test]
fn a_page_made_by_python_takes_a_form_and_loads_itself_anew_when_its_code_has_changed() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: python3 is not installed");
        return;
    }
    let Some(browser) = Browser::start() else { return };
    let program = |title: &str| {
        format!(
            "from http.cookies import SimpleCookie\n\
            from urllib.parse import parse_qs\n\
            def app(environ, start_response):\n\
            \x20   form = parse_qs(environ['wsgi.input'].read().decode())\n\
            \x20   if form:\n\
            \x20       start_response('303 See Other', [('Location', '/'), ('Set-Cookie', 'name=' + form['name'][0])])\n\
            \x20       return []\n\
            \x20   cookies = SimpleCookie(environ.get('HTTP_COOKIE', ''))\n\
            \x20   name = cookies['name'].value if 'name' in cookies else 'nobody'\n\
            \x20   start_response('200 OK', [('Content-Type', 'text/html')])\n\
            \x20   return [f'<title>{title} {{name}}</title><form method=post><input name=name><button>go</button></form>'.encode()]\n"
        )
    };
    let folder = Folder::new(&[("app.py", &program("hello"))]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    command.args(["--port", "0", "--reload", "--wsgi", "app:app"]).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut serving = Serving::with(command.current_dir(folder.path()).stdin(Stdio::null()));
    let log = serving.log();
    // Read all the time, so that the command never waits for that.
    std::thread::spawn(move || log.lines().for_each(drop));
    browser.open(serving.url());
    browser.until("return document.title", "hello nobody");
    browser.run("document.querySelector('input').value = 'ada'; document.querySelector('button').click()");
    browser.until("return document.title", "hello ada");
    folder.write("app.py", program("goodbye"));
    browser.until("return document.title", "goodbye ada");
    folder.write("app.py", "syntax error");
    browser.until("return document.title", "not loaded");
    folder.write("app.py", program("welcome"));
    browser.until("return document.title", "welcome ada");
}
