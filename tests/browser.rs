//! What developers of pages see: the `doorway` command in a real browser, driven through WebDriver (`browsing`).

mod browsing;
mod serving;

use browsing::{Browser, quoted, text_of};
use serving::{Folder, Serving};

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
