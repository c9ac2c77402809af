//! What people who share a folder see in a real browser (`browsing`): films that are played from the middle, uploads, passwords, archives, long folders,
//! telephones, and fragments of pages at an address of the network.
#![cfg(unix)]

mod browsing;
mod serving;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use browsing::{Browser, PATIENCE, quoted, text_of};
use serving::{Folder, Serving};

/// The head of a WAVE file of so many bytes of sound: 44,100 samples a second, two channels, 16 bits.
fn wave_head(length: u32) -> Vec<u8> {
    let mut head = b"RIFF".to_vec();
    head.extend((36 + length).to_le_bytes());
    head.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    head.extend(44_100_u32.to_le_bytes());
    head.extend(176_400_u32.to_le_bytes());
    head.extend(b"\x04\0\x10\0data");
    head.extend(length.to_le_bytes());
    head
}

/// nginx with one folder, ended with the test.
struct Nginx {
    child: Child,
    port: u16,
    _place: Folder,
}

impl Nginx {
    fn start(root: &Path) -> Option<Nginx> {
        let place = Folder::new(&[]);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = place.path().display();
        let settings = format!(
            "daemon off; pid {at}/pid; error_log {at}/error; worker_processes 1; user root;\nevents {{ }}\nhttp {{ access_log off; types {{ audio/wav wav; text/html html; }} \
             client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
             server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
            root.display()
        );
        place.write("conf", settings);
        let mut command = Command::new("nginx");
        command.args(["-p", place.path().to_str().unwrap(), "-c"]).arg(place.path().join("conf"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "nginx does not listen");
        }
        Some(Nginx { child, port, _place: place })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// Plays a film of 400 MB from four places; then leaves the page, so that every response ends.
fn seek_around(browser: &Browser, url: &str) {
    browser.open(&format!("{url}/index.html"));
    browser.until("return v.readyState > 0 && v.seekable.length > 0 && v.seekable.end(0) > 2000", "true");
    for place in [2000, 500, 1500, 1000] {
        let script = format!(
            "await new Promise((done, failed) => {{ v.onseeked = done; v.onerror = failed; v.currentTime = {place} }}); return v.currentTime"
        );
        assert_eq!(browser.run(&script), place.to_string());
    }
    browser.open("about:blank");
}

#[test]
fn seeking_in_400_mb_costs_no_more_bytes_than_with_nginx() {
    const LENGTH: u32 = 400_000_000;
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[("index.html", "<!doctype html><video id=v src=film.wav preload=metadata></video>")]);
    folder.write("film.wav", wave_head(LENGTH));
    fs::File::options()
        .write(true)
        .open(folder.path().join("film.wav"))
        .unwrap()
        .set_len(u64::from(LENGTH) + 44)
        .unwrap();
    // A film is not played in the second in which it was written. Another server is asked, whose log nobody has to read.
    let quiet = Serving::folder(folder.path(), &["-q"]);
    let begin = Instant::now();
    while quiet.ask("HEAD /film.wav HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").contains("ETag: W/") {
        assert!(begin.elapsed() < PATIENCE, "the tag stays weak");
    }
    let measure = |port: u16| {
        // Beside what is asked for, buffers on the way are as full as they happen to be: the best of three.
        let turns = (0..3).map(|_| {
            let (relay, bytes) = relay(port);
            seek_around(&browser, &format!("http://127.0.0.1:{relay}"));
            bytes.load(Ordering::Relaxed)
        });
        turns.min().unwrap()
    };
    let own = measure(quiet.address().rsplit_once(':').unwrap().1.parse().unwrap());
    let Some(nginx) = Nginx::start(folder.path()) else {
        println!("skipped: nginx is not installed, so nothing to compare {own} bytes with");
        assert!(own < 100 << 20, "{own} bytes");
        return;
    };
    let other = measure(nginx.port);
    println!("bytes for four seeks in 400 MB: doorway {own}, nginx {other}");
    assert!(own as f64 <= 1.2 * other as f64 + (4 << 20) as f64, "doorway {own}, nginx {other}");
}

/// A port that leads to another one, and the bytes that have come back from there.
fn relay(to: u16) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, bytes) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&bytes);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { return };
            let (mut asks, mut asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut asks, &mut asked);
                let _ = asked.shutdown(Shutdown::Both);
            });
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                let (mut client, mut server, mut room) = (client, server, vec![0; 16 * 1024]);
                while let Ok(length @ 1..) = server.read(&mut room) {
                    if client.write_all(&room[..length]).is_err() {
                        break;
                    }
                    counted.fetch_add(length as u64, Ordering::Relaxed);
                }
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    (port, bytes)
}

/// Gives files to the form of a listing, as a person does by the dialog.
fn choose(browser: &Browser, paths: &[std::path::PathBuf]) {
    let found = browser.command("/element", "{\"using\":\"css selector\",\"value\":\"#upload input\"}");
    let element = text_of(&found, "element-6066-11e4-a52e-4f735466cecf").unwrap();
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    browser.command(&format!("/element/{element}/value"), &format!("{{\"text\":{}}}", quoted(&paths.join("\n"))));
}

#[test]
fn three_files_are_uploaded_with_progress_and_one_that_is_stopped_leaves_nothing() {
    let Some(browser) = Browser::start() else { return };
    let (folder, source) = (Folder::new(&[("a.txt", "old")]), Folder::new(&[("a.txt", "new"), ("b c.txt", "b")]));
    source.write("large.bin", vec![7; 3 << 20]);
    let serving = Serving::folder(folder.path(), &["--upload"]);
    let slow = "{\"offline\":false,\"latency\":0,\"downloadThroughput\":-1,\"uploadThroughput\":2000000}";
    browser.open(serving.url());
    browser.devtools("Network.enable", "{}");
    browser.devtools("Network.emulateNetworkConditions", slow);
    choose(&browser, &["a.txt", "b c.txt", "large.bin"].map(|name| source.path().join(name)));
    browser.run(
        "window.seen = []; new MutationObserver(() => { const p = document.querySelector('progress'); \
         if (!p.hidden) { seen.push(p.value); sessionStorage.seen = JSON.stringify(seen) } }).observe(document.querySelector('output'), { childList: true }); \
         document.querySelector('#upload button').click()",
    );
    // The page loads itself anew, with the files in the listing.
    browser.until(
        "return [...document.querySelectorAll('tbody bdi')].map((n) => n.textContent).join()",
        "a (1).txt,a.txt,b c.txt,large.bin",
    );
    let seen = browser.run(
        "const seen = JSON.parse(sessionStorage.seen); return seen.length > 2 && seen.some((n) => n > 0.1 && n < 0.9)",
    );
    assert_eq!(seen, "true", "{}", browser.run("return sessionStorage.seen"));
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert_eq!(
        (&*read("a.txt"), &*read("a (1).txt"), &*read("b c.txt"), read("large.bin").len()),
        (&b"old"[..], &b"new"[..], &b"b"[..], 3 << 20)
    );

    source.write("stopped.bin", vec![7; 30 << 20]);
    choose(&browser, &[source.path().join("stopped.bin")]);
    browser.run("document.querySelector('#upload button').click()");
    browser.until("return document.querySelector('progress').value > 0.01", "true");
    browser.run("document.querySelector('#upload button[type=button]').click()");
    browser.until("return document.querySelector('output').textContent.startsWith('Stopped')", "true");
    let begin = Instant::now();
    loop {
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        if names.len() == 4 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{names:?}");
    }
}

#[test]
fn a_page_with_a_password_is_shown_with_all_it_loads_to_who_knows_it() {
    let Some(browser) = Browser::start() else { return };
    let page = "<!doctype html><title>in</title><link rel=stylesheet href=a.css><p>text";
    let (folder, secrets) = (
        Folder::new(&[("index.html", page), ("a.css", "p { color: rgb(1, 2, 3) }")]),
        Folder::new(&[("users", "ada:love:lace\n")]),
    );
    fs::set_permissions(secrets.path().join("users"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let serving =
        Serving::folder(folder.path(), &["--auth", secrets.path().join("users").to_str().unwrap(), "--reload"]);
    // Nobody is there to answer the dialog.
    browser.open(serving.url());
    assert_eq!(browser.run("return document.title + document.styleSheets.length"), "0");
    browser.open(&serving.url().replace("http://", "http://ada:love%3Alace@"));
    browser.until("return document.title + getComputedStyle(document.querySelector('p')).color", "inrgb(1, 2, 3)");
    // From now on the browser knows it, and what live reload asks knows it too.
    browser.open(serving.url());
    folder.write("index.html", page.replace(">in<", ">changed<"));
    browser.until("return document.title", "changed");
}

#[test]
fn a_listing_is_sorted_by_a_click_and_filtered_while_one_types_and_had_as_an_archive() {
    let Some(browser) = Browser::start() else { return };
    let (folder, downloads) =
        (Folder::new(&[("b.txt", "1"), ("a.txt", "333"), ("c.md", "22"), ("sub/d", "")]), Folder::new(&[]));
    let serving = Serving::folder(folder.path(), &[]);
    browser.open(serving.url());
    let names = "return [...document.querySelectorAll('tbody tr')].filter((r) => !r.hidden).map((r) => r.querySelector('bdi').textContent).join()";
    assert_eq!(browser.run(names), "sub,a.txt,b.txt,c.md");
    browser.run("[...document.links].find((a) => a.textContent == 'Size').click()");
    browser.until(names, "sub,b.txt,c.md,a.txt");
    browser.run("[...document.links].find((a) => a.textContent == 'Size').click()");
    browser.until(names, "sub,a.txt,c.md,b.txt");
    browser.run("const f = document.querySelector('#filter'); f.value = 'TXT'; f.oninput()");
    assert_eq!(browser.run(names), "a.txt,b.txt");
    browser.run("document.querySelector('form').submit()");
    browser.until(names, "a.txt,b.txt");
    browser.until("return location.search", "?filter=TXT");
    // Times are those of the reader.
    browser.open(serving.url());
    browser.devtools("Emulation.setTimezoneOverride", "{\"timezoneId\":\"Asia/Kolkata\"}");
    browser.command("/refresh", "{}");
    let time = "const t = document.querySelector('time'), d = new Date(t.dateTime); d.setMinutes(d.getMinutes() + 330); \
                return t.textContent == d.toISOString().slice(0, 16).replace('T', ' ') && document.querySelector('#zone').hidden";
    browser.until(time, "true");

    let path = quoted(downloads.path().to_str().unwrap());
    browser.devtools("Browser.setDownloadBehavior", &format!("{{\"behavior\":\"allow\",\"downloadPath\":{path}}}"));
    browser.run("[...document.links].find((a) => a.textContent.includes('.zip')).click()");
    let begin = Instant::now();
    let archive = loop {
        let names = fs::read_dir(downloads.path()).unwrap().map(|entry| entry.unwrap().path());
        if let Some(path) = names.into_iter().find(|path| path.extension().is_some_and(|end| end == "zip")) {
            break path;
        }
        assert!(begin.elapsed() < PATIENCE, "nothing is downloaded");
    };
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(archive.file_name().unwrap().to_str(), Some(&*format!("{name}.zip")));
    match Command::new("unzip").arg("-t").arg(&archive).output() {
        Ok(output) => {
            assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("sub/d"), "{output:?}")
        }
        Err(_) => println!("skipped: unzip is not installed"),
    }
}

#[test]
fn ten_thousand_files_are_shown_at_once_and_the_rest_on_demand() {
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[]);
    for number in 0..10_000 {
        fs::File::create(folder.path().join(format!("file number {number:05} with a name.txt"))).unwrap();
    }
    let serving = Serving::folder(folder.path(), &[]);
    // The time of the page's thread and of the server's: a wall clock would measure what else this machine does.
    browser.devtools("Performance.enable", "{\"timeDomain\":\"threadTicks\"}");
    let of_page = || {
        let metrics = browser.devtools("Performance.getMetrics", "{}");
        let (_, behind) = metrics.split_once("\"TaskDuration\",\"value\":").unwrap_or_else(|| panic!("{metrics}"));
        behind.split(['}', ',']).next().unwrap().parse::<f64>().unwrap() * 1_000.0
    };
    let of_server = || {
        let threads = fs::read_dir(format!("/proc/{}/task", serving.child.id())).into_iter().flatten().flatten();
        let times = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
        times.map(|times| times.split(' ').next().unwrap().parse::<f64>().unwrap() / 1_000_000.0).sum::<f64>()
    };
    browser.open(serving.url());
    browser.run("await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); return 1");
    let (page, server) = (of_page(), of_server());
    let clock = browser.run("return Math.round(performance.now())");
    println!(
        "until ten thousand files are shown: {page:.0} ms of the page, {server:.0} of the server, {clock} by the clock"
    );
    assert!(page + server <= 1_000.0, "{page} and {server} ms");
    assert_eq!(browser.run("return document.querySelectorAll('tbody tr').length"), "1000");
    browser.run("[...document.links].find((a) => a.textContent.startsWith('Next')).click()");
    browser.until("return document.querySelector('tbody bdi').textContent", "file number 01000 with a name.txt");
}

#[test]
fn live_reload_sees_a_file_that_is_saved_by_a_rename() {
    let Some(browser) = Browser::start() else { return };
    let folder = Folder::new(&[("index.html", "<!doctype html><title>one</title>")]);
    let serving = Serving::folder(folder.path(), &["--reload"]);
    browser.open(serving.url());
    for title in ["two", "six"] {
        // Of the same length, as editors save: beside it, then in its place.
        folder.write(".index.html.swp", format!("<!doctype html><title>{title}</title>"));
        fs::rename(folder.path().join(".index.html.swp"), folder.path().join("index.html")).unwrap();
        browser.until("return document.title", title);
    }
}

#[test]
fn a_telephone_sees_a_listing_and_the_page_of_what_is_missing_without_scrolling_sideways() {
    let Some(browser) = Browser::start() else { return };
    let long = "a-name-without-a-single-space-in-it-that-goes-on-and-on-and-on-".repeat(3);
    let folder = Folder::new(&[("README.md", &format!("# {long}\n")), ("b.txt", "x")]);
    folder.write(&long, "x");
    let serving = Serving::folder(folder.path(), &["--upload"]);
    let phone = "{\"width\":390,\"height\":844,\"deviceScaleFactor\":2,\"mobile\":true}";
    browser.devtools("Emulation.setDeviceMetricsOverride", phone);
    for scheme in ["light", "dark"] {
        let feature = format!("{{\"features\":[{{\"name\":\"prefers-color-scheme\",\"value\":\"{scheme}\"}}]}}");
        browser.devtools("Emulation.setEmulatedMedia", &feature);
        for path in ["/", &format!("/{long}/none")] {
            browser.open(&format!("{}{path}", serving.url()));
            let fits = "return [innerWidth, document.documentElement.scrollWidth].join()";
            assert_eq!(browser.run(fits), "390,390", "{path}");
            let background = browser.run("return getComputedStyle(document.body).backgroundColor");
            assert_eq!(background == "rgb(255, 255, 255)", scheme == "light", "{background}");
            let picture = browser.picture();
            assert!(picture.len() > 1_000);
            // For whoever wants to see it.
            if let Some(place) = std::env::var_os("DOORWAY_PICTURES") {
                let what = if path == "/" { "listing" } else { "missing" };
                fs::write(Path::new(&place).join(format!("phone-{what}-{scheme}.png")), picture).unwrap();
            }
        }
    }
}

#[test]
fn fragments_that_are_fetched_at_an_address_of_the_network_stay_clean() {
    // In a network of its own, which has one address that is not loopback: there browsers do not say what they fetch for.
    let network = "ip link set lo up && ip addr add 192.168.77.1/24 dev lo && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", network]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "fragments_in_a_network_of_its_own"]);
    match command.output() {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains(" 1 passed;"), "{said}");
            said.lines().filter(|line| line.starts_with("skipped")).for_each(|line| println!("{line}"));
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(!said.contains("running 1 test"), "{said}{}", String::from_utf8_lossy(&output.stderr));
            println!("skipped: no network can be made here: {}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => println!("skipped: unshare: {error}"),
    }
}

#[test]
#[ignore = "run by the test above, in a network of its own"]
fn fragments_in_a_network_of_its_own() {
    let Some(browser) = Browser::start() else { return };
    let page = "<!doctype html><title>page</title><p id=into></p>";
    let folder = Folder::new(&[("index.html", page), ("part.html", "<b>part</b>")]);
    let serving = Serving::start(&["--port=0", "--host=192.168.77.1", "--reload", folder.path().to_str().unwrap()]);
    browser.open(serving.url());
    browser.until("return document.title + isSecureContext", "pagefalse");
    assert_eq!(
        browser.run("return document.scripts.length && document.scripts[0].src.endsWith('/.doorway/reload.js')"),
        "true"
    );
    // As htmx, fetch() and older libraries ask.
    for fetch in [
        "fetch('part.html', { headers: { 'HX-Request': 'true' } })",
        "fetch('part.html')",
        "fetch('part.html', { headers: { 'X-Requested-With': 'XMLHttpRequest', Accept: 'text/html, */*' } })",
        "fetch('part.html', { headers: { 'HX-Request': 'true', Accept: 'text/html' } })",
    ] {
        assert_eq!(browser.run(&format!("return (await {fetch}).text()")), "<b>part</b>", "{fetch}");
    }
    folder.write("index.html", page.replace(">page<", ">changed<"));
    browser.until("return document.title", "changed");
}
