//! Files that clients send to `app::Files` and the command: what is stored, under which name, and what hostile clients and full disks cannot do.
#![cfg(unix)]

mod serving;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use doorway::app::{Files, Uploads};
use serving::{Folder, Serving};
use support::tree::Tree;
use support::{House, PATIENCE, Response, serve, serve_with};

fn house(tree: &Tree, uploads: Uploads) -> House {
    let files = Files::new(tree.root()).unwrap().listing(true).hidden(true).uploads(uploads);
    serve_with(files, |settings| {
        settings.max_content = None;
        settings.threads = 8;
    })
}

fn send(house: &House, method: &str, target: &str, fields: &str, content: &[u8]) -> Response {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n",
        content.len()
    );
    house.ask_one(&[head.as_bytes(), content].concat())
}

fn put(house: &House, target: &str, content: &str) -> (u16, String) {
    let response = send(house, "PUT", target, "", content.as_bytes());
    (response.status, response.text().to_owned())
}

const FORM: &str = "Content-Type: multipart/form-data; boundary=x\r\n";

/// A form with these files, by name as a browser writes it.
fn form(files: &[(&str, &str)]) -> Vec<u8> {
    let parts = files.iter().map(|(name, content)| {
        format!("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n")
    });
    (parts.collect::<String>() + "--x--\r\n").into_bytes()
}

/// Everything in a folder, hidden names too, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_form_stores_its_files_under_free_names_and_says_which() {
    let tree = Tree::new();
    tree.write("sub/a.txt", "old");
    let house = house(&tree, Uploads::new());
    let files = form(&[("a.txt", "one"), ("a.txt", "two"), ("b", ""), ("", "")]);
    let response = send(&house, "POST", "/sub/", FORM, &files);
    assert_eq!((response.status, response.text()), (201, "a (1).txt\na (2).txt\nb\n"));
    let read = |name: &str| fs::read_to_string(tree.root().join("sub").join(name)).unwrap();
    assert_eq!(
        (read("a.txt"), read("a (1).txt"), read("a (2).txt"), read("b")),
        ("old".into(), "one".into(), "two".into(), String::new())
    );
    assert_eq!(names(&tree.root().join("sub")), ["a (1).txt", "a (2).txt", "a.txt", "b"], "nothing unfinished is left");
    // The form of a page goes back to the listing.
    let response = send(
        &house,
        "POST",
        "/sub/",
        &format!("{FORM}Accept: text/html\r\nOrigin: http://here\r\n"),
        &form(&[("c", "c")]),
    );
    assert_eq!((response.status, response.field("Location")), (303, Some("./")));
    assert!(
        house
            .ask_one(b"GET /sub/ HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            .text()
            .contains("<form class=\"bar\" id=\"upload\"")
    );
    assert_eq!(send(&house, "POST", "/sub/", FORM, b"--x--\r\n").status, 400);
    assert_eq!(send(&house, "POST", "/sub", FORM, &files).status, 405);
    assert_eq!(send(&house, "POST", "/none/", FORM, &files).status, 404);
    assert_eq!(send(&house, "POST", "/sub/", "Content-Type: text/plain\r\n", b"x").status, 415);
}

#[test]
fn a_put_stores_a_whole_file_under_its_name_and_never_over_another() {
    let tree = Tree::new();
    tree.write("dir/x", "x");
    symlink("/tmp/doorway-never", tree.root().join("dangling")).unwrap();
    let house = house(&tree, Uploads::new());
    assert_eq!(put(&house, "/dir/new.txt", "content"), (201, "new.txt\n".into()));
    assert_eq!(fs::read_to_string(tree.root().join("dir/new.txt")).unwrap(), "content");
    for target in ["/dir/new.txt", "/dir/x", "/dir", "/dangling", "/dir/"] {
        assert_eq!(put(&house, target, "other").0, 409, "{target}");
    }
    assert_eq!(send(&house, "PUT", "/part", "Content-Range: bytes 0-1/2\r\n", b"ab").status, 400);
    // RFC 9110 section 13.1.1.
    for field in ["If-Match: *\r\n", "If-Match: \"1\"\r\n"] {
        assert_eq!(send(&house, "PUT", "/matched", field, b"x").status, 412);
        assert_eq!(send(&house, "PUT", "/dir/x", field, b"y").status, 409);
    }
    assert_eq!(put(&house, "/none/x", "x").0, 404);
    let chunked = house.ask_one(b"PUT /chunked HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(chunked.status, 201);
    assert_eq!(fs::read_to_string(tree.root().join("chunked")).unwrap(), "abc");
    assert_eq!(fs::read_to_string(tree.root().join("dir/new.txt")).unwrap(), "content");
    assert_eq!(names(&tree.root()), ["chunked", "dangling", "dir"]);
    assert!(!Path::new("/tmp/doorway-never").exists());
    let options = send(&house, "OPTIONS", "/", "", b"");
    assert_eq!(options.field("Allow"), Some("GET, HEAD, POST, PUT"));
    let plain = serve(Files::new(tree.root()).unwrap());
    assert_eq!((put(&plain, "/y", "y").0, send(&plain, "POST", "/", FORM, &form(&[("y", "y")])).status), (405, 405));
}

#[test]
fn no_name_leads_out_hides_a_file_or_deceives_a_reader() {
    let tree = Tree::new();
    tree.write("sub/x", "");
    let long = "n".repeat(255);
    let house = house(&tree, Uploads::new());
    for (name, stored) in [
        ("../../up.txt", "up.txt"),
        ("..\\\\..\\\\up.txt", "up (1).txt"),
        ("/etc/passwd", "passwd"),
        (".htaccess", "htaccess"),
        ("..", "file"),
        ("a%00b", "a%00b"),
        ("gpj\u{202e}.exe", "gpj_.exe"),
        ("NUL.txt", "_NUL.txt"),
    ] {
        let response = send(&house, "POST", "/sub/", FORM, &form(&[(name, "x")]));
        assert_eq!((response.status, response.text()), (201, &*format!("{stored}\n")), "{name:?}");
    }
    let response = send(&house, "POST", "/sub/", FORM, &form(&[(&long, "x")]));
    assert!(response.status == 201 && response.text().len() <= 201, "{}", response.text());
    let with_nul = send(&house, "POST", "/sub/", FORM, &form(&[("a\0b", "x")]));
    assert_eq!(with_nul.status, 400);
    for target in [
        "/../up",
        "/sub/../../up",
        "/%2e%2e/up",
        "/sub/..%2f..%2fup",
        "/.htaccess",
        "/sub/.x",
        "/.git/config",
        "/a%00b",
        "/a%5cb",
    ] {
        let status = put(&house, target, "x").0;
        assert!([400, 404].contains(&status), "{target}: {status}");
    }
    for target in ["/gpj%E2%80%AE.exe", "/NUL.txt", "/x.", "/%20x", "/%FF", &format!("/{long}")] {
        assert_eq!(put(&house, target, "x").0, 400, "{target}");
    }
    assert_eq!(names(tree.outside()), ["root"]);
    assert_eq!(names(&tree.root()), ["sub"]);
    assert!(names(&tree.root().join("sub")).iter().all(|name| !name.starts_with('.')));
}

#[test]
fn of_ten_thousand_files_of_one_name_the_next_is_stored_like_the_first() {
    let tree = Tree::new();
    tree.write("a.txt", "old");
    for number in 1..10_000 {
        tree.write(format!("a ({number}).txt"), "");
    }
    let house = house(&tree, Uploads::new());
    let response = send(&house, "POST", "/", FORM, &form(&[("a.txt", "new")]));
    assert_eq!(response.status, 201, "{}", response.text());
    assert_eq!(fs::read_to_string(tree.root().join(response.text().trim_end())).unwrap(), "new");
    assert_eq!(names(&tree.root()).len(), 10_001);
}

#[test]
fn nothing_is_stored_through_a_link_or_beside_the_directory_that_takes_files() {
    let tree = Tree::new();
    tree.write("in/deep/x", "");
    tree.write("other/x", "");
    symlink("../other", tree.root().join("in/link")).unwrap();
    symlink("in", tree.root().join("way")).unwrap();
    let house = house(&tree, Uploads::new().below("in"));
    assert_eq!((put(&house, "/in/a", "a").0, put(&house, "/in/deep/a", "a").0), (201, 201));
    for (target, status) in [("/a", 403), ("/other/a", 403), ("/inner/a", 403), ("/way/a", 403), ("/in/link/a", 404)] {
        assert_eq!(put(&house, target, "x").0, status, "{target}");
        let directory = target.strip_suffix('a').unwrap();
        assert_eq!(send(&house, "POST", directory, FORM, &form(&[("f", "x")])).status, status, "{directory}");
    }
    let has_form = |target: &str| {
        let page =
            house.ask_one(format!("GET {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").as_bytes());
        page.text().contains("id=\"upload\"")
    };
    assert_eq!(
        (has_form("/in/"), has_form("/in/deep/"), has_form("/"), has_form("/other/")),
        (true, true, false, false)
    );
    // Whoever serves links outside does not store through them either.
    let followed = serve(Files::new(tree.root()).unwrap().follow_symlinks(true).uploads(Uploads::new()));
    assert_eq!(put(&followed, "/in/link/a", "x").0, 404);
    assert_eq!(names(&tree.root().join("other")), ["x"]);
}

#[test]
fn rfc8555_8_3_nobody_uploads_the_proof_that_the_site_is_theirs() {
    let tree = Tree::new();
    tree.write(".well-known/acme-challenge/old", "x");
    let house = house(&tree, Uploads::new());
    let directory = "/.well-known/acme-challenge/";
    assert_eq!(put(&house, &format!("{directory}token"), "x").0, 403);
    assert_eq!(send(&house, "POST", directory, FORM, &form(&[("token", "x")])).status, 403);
    assert_eq!(names(&tree.root().join(".well-known/acme-challenge")), ["old"]);
    let page = house.ask_one(format!("GET {directory} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").as_bytes());
    assert!(page.status == 200 && !page.text().contains("id=\"upload\""));
}

#[test]
fn a_page_of_another_origin_cannot_send_files() {
    let tree = Tree::new();
    let house = house(&tree, Uploads::new());
    for fields in [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://here:81\r\n",
    ] {
        assert_eq!(send(&house, "POST", "/", &format!("{FORM}{fields}"), &form(&[("a", "x")])).status, 403, "{fields}");
        assert_eq!(send(&house, "PUT", "/a", fields, b"x").status, 403, "{fields}");
    }
    assert_eq!(names(&tree.root()), Vec::<String>::new());
    for (name, fields) in [("a", "Sec-Fetch-Site: same-origin\r\n"), ("b", "Origin: http://here\r\n"), ("c", "")] {
        assert_eq!(send(&house, "PUT", &format!("/{name}"), fields, b"x").status, 201, "{fields}");
    }
}

#[test]
fn more_than_the_limit_is_413_and_leaves_nothing() {
    let tree = Tree::new();
    let house = house(&tree, Uploads::new().limit(1000));
    assert_eq!(put(&house, "/fits", &"x".repeat(1000)).0, 201);
    assert_eq!(put(&house, "/a", &"x".repeat(1001)).0, 413);
    let chunk = format!(
        "PUT /b HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "x".repeat(1001)
    );
    assert_eq!(house.ask_one(chunk.as_bytes()).status, 413);
    let form = form(&[("c", &"x".repeat(1100))]);
    assert_eq!(send(&house, "POST", "/", FORM, &form).status, 413);
    // Who waits to be told to go on is told at once, and sends nothing.
    let mut client = house.client();
    client.send(b"PUT /d HTTP/1.1\r\nHost: here\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n");
    assert!(client.until(b"\r\n").starts_with(b"HTTP/1.1 413 "));
    assert_eq!(names(&tree.root()), ["fits"]);
}

#[test]
fn a_thousand_parts_are_taken_and_a_head_of_a_megabyte_is_not() {
    let tree = Tree::new();
    let house = house(&tree, Uploads::new());
    let thousand: Vec<String> = (0..1000).map(|number| format!("{number:04}")).collect();
    let files: Vec<(&str, &str)> = thousand.iter().map(|name| (name.as_str(), "x")).collect();
    let response = send(&house, "POST", "/", FORM, &form(&files));
    assert_eq!((response.status, response.text().lines().count()), (201, 1000));
    assert_eq!(names(&tree.root()).len(), 1000);
    let more: Vec<(&str, &str)> = files.iter().copied().chain([("more", "x")]).collect();
    assert_eq!(send(&house, "POST", "/", FORM, &form(&more)).status, 413);
    let head = format!(
        "--x\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"huge\"\r\n\r\nx\r\n--x--\r\n",
        "n".repeat(1 << 20)
    );
    let response = send(&house, "POST", "/", FORM, head.as_bytes());
    assert_eq!(response.status, 413);
    assert!(names(&tree.root()).iter().all(|name| !name.starts_with('.') && name != "huge"));
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind_and_what_is_not_whole_is_never_seen() {
    let tree = Tree::new();
    let house = house(&tree, Uploads::new());
    let mut client = house.client();
    client.send(b"PUT /film HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\n");
    client.send(&vec![b'x'; 500_000]);
    let begin = Instant::now();
    while names(&tree.root()).is_empty() {
        assert!(begin.elapsed() < PATIENCE, "nothing is stored");
    }
    // It is there under a hidden name, which is neither served nor listed by the command; its own name is free.
    let hidden = names(&tree.root());
    assert!(hidden.len() == 1 && hidden[0].starts_with('.') && hidden[0].ends_with(".part"), "{hidden:?}");
    assert_eq!(house.ask_one(b"GET /film HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").status, 404);
    drop(client);
    while !names(&tree.root()).is_empty() {
        assert!(begin.elapsed() < PATIENCE, "{:?} stays", names(&tree.root()));
    }
}

#[test]
fn what_cannot_be_stored_is_no_route_of_a_single_page_application() {
    let tree = Tree::new();
    tree.write("index.html", "<p>route");
    let files = Files::new(tree.root()).unwrap().hidden(true).spa("index.html").uploads(Uploads::new());
    let house = serve(files);
    for (method, target) in [("POST", "/.hidden/"), ("POST", "/none/"), ("PUT", "/.hidden/x"), ("PUT", "/none/x")] {
        let response = send(&house, method, target, &format!("{FORM}Accept: text/html\r\n"), &form(&[("a", "a")]));
        assert_eq!((response.status, response.text()), (404, "there is no such directory\n"), "{method} {target}");
    }
}

#[test]
fn content_that_ends_early_is_answered_as_the_server_knows_it() {
    let tree = Tree::new();
    let house = house(&tree, Uploads::new());
    for (method, target, fields) in [("PUT", "/x", ""), ("POST", "/", FORM)] {
        let mut client = house.client();
        client.send(
            format!("{method} {target} HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n{fields}\r\n--x").as_bytes(),
        );
        client.stop_sending();
        assert_eq!(client.response().status, 400, "{method}");
    }
    assert!(names(&tree.root()).is_empty());
}

#[test]
fn of_two_uploads_of_one_name_at_once_both_are_kept_or_one_is_told() {
    let tree = Tree::new();
    let house = house(&tree, Uploads::new());
    let begin = |content: &str, method: &str, fields: &str| {
        let mut client = house.client();
        client.send(
            format!(
                "{method} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n",
                content.len()
            )
            .as_bytes(),
        );
        client
    };
    // Both have begun before one ends.
    let (one, other) = ("1".repeat(20_000), "2".repeat(20_000));
    let mut clients = [begin(&one, "PUT /same", ""), begin(&other, "PUT /same", "")];
    for (client, content) in clients.iter_mut().zip([&one, &other]) {
        client.send(&content.as_bytes()[..19_000]);
    }
    let begun = Instant::now();
    while names(&tree.root()).len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", names(&tree.root()));
    }
    let mut statuses = [0, 0];
    for ((client, content), status) in clients.iter_mut().zip([&one, &other]).zip(&mut statuses) {
        client.send(&content.as_bytes()[19_000..]);
        *status = client.response().status;
    }
    assert_eq!(statuses, [201, 409]);
    assert_eq!(fs::read_to_string(tree.root().join("same")).unwrap(), one);
    assert_eq!(names(&tree.root()), ["same"]);
}

#[test]
fn no_file_is_taken_where_php_would_run_it() {
    let folder = Folder::new(&[("inbox/a", "x"), ("site/index.php", "<?php"), ("site/sent/a", "x")]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pass = format!("--pass=/app=fastcgi:127.0.0.1:1,root={}", path("site"));
    for (upload, place) in [("--upload", ""), ("--upload", "site"), ("--upload=site", ""), ("--upload=sent", "site")] {
        let (code, _, err) = serving::run(&["--port=0", &pass, upload, &path(place)]);
        assert!(code == Some(1) && err.contains("--pass would run what is put into"), "{upload} {place}: {err}");
    }
    let serving = Serving::folder(folder.path(), &[&*pass, "--upload=inbox"]);
    assert!(serving.get("/inbox/").contains("id=\"upload\""));
}

#[test]
fn a_full_disk_is_507_with_nothing_left_behind() {
    let tree = Tree::new();
    let disk = tree.root().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return println!("skipped: no small disk can be mounted here");
    }
    let check = || {
        let house = house(&tree, Uploads::new());
        let large = "x".repeat(6 << 20);
        assert_eq!(put(&house, "/disk/small", "x").0, 201);
        assert_eq!(put(&house, "/disk/large", &large).0, 507);
        let response = send(&house, "POST", "/disk/", FORM, &form(&[("first", "x"), ("large", &large)]));
        assert_eq!(response.status, 507);
        // What was whole before stays.
        assert_eq!(names(&disk), ["first", "small"]);
        // Where somebody says how much room there is, it is told before anything is sent.
        let kept = serve(Files::new(tree.root()).unwrap().uploads(Uploads::new().room(|_| Some(1000))));
        let mut client = kept.client();
        client.send(b"PUT /disk/x HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
        assert!(client.until(b"\r\n").starts_with(b"HTTP/1.1 507 "));
        assert_eq!(put(&kept, "/disk/y", "x").0, 201);
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    result.unwrap();
}

/// The command with a folder that takes files and a `df` of one's own, which counts how often it is asked.
fn asking_df(script: &str) -> (Folder, Folder, Serving) {
    let (folder, tools) = (Folder::new(&[("inbox/a", "x"), ("inbox/sub/b", "x")]), Folder::new(&[]));
    tools.write("df", format!("#!/bin/sh\necho asked >> \"$0.count\"\n{script}\n"));
    assert!(Command::new("chmod").arg("+x").arg(tools.path().join("df")).status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorway"));
    command.args(["--port", "0", "--upload=inbox"]).arg(folder.path());
    let path = format!("{}:{}", tools.path().display(), std::env::var("PATH").unwrap());
    let serving = Serving::with(command.env("PATH", path).stdin(std::process::Stdio::null()));
    (folder, tools, serving)
}

/// Puts small files there; gives how often `df` was asked.
fn put_all(serving: &Serving, tools: &Folder, paths: impl Iterator<Item = String>) -> usize {
    for path in paths {
        let request = format!("PUT /inbox/{path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx");
        assert!(serving.ask(&request).starts_with("HTTP/1.1 201 "), "{path}");
    }
    fs::read_to_string(tools.path().join("df.count")).unwrap().lines().count()
}

#[test]
fn a_flood_of_small_uploads_does_not_start_a_process_for_each() {
    let (_folder, tools, serving) = asking_df("exec /bin/df \"$@\"");
    let asked = put_all(&serving, &tools, (0..100).map(|number| number.to_string()));
    assert!(asked < 50, "df was asked {asked} times");
}

#[test]
fn a_df_that_hangs_keeps_no_upload_and_is_the_only_one() {
    // As on a mount whose server has gone: not even a signal ends it. Another folder is asked for anew where it has ended.
    let (_folder, tools, serving) = asking_df("sleep 60");
    let began = Instant::now();
    assert_eq!(put_all(&serving, &tools, ["x", "sub/x", "y"].into_iter().map(str::to_owned)), 1);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn curl_puts_a_file_of_2_gib_into_the_command_which_keeps_less_than_8_mib_of_it() {
    const LENGTH: u64 = 2 << 30;
    let folder = Folder::new(&[("inbox/a", "x")]);
    let serving = Serving::folder(folder.path(), &["--upload=inbox", "--upload-limit", "3G"]);
    let source = Folder::new(&[]);
    fs::File::create(source.path().join("large.bin")).unwrap().set_len(LENGTH).unwrap();
    let output = Command::new("curl")
        .args(["-sS", "-T"])
        .arg(source.path().join("large.bin"))
        .arg(format!("{}/inbox/", serving.url()))
        .output();
    let Ok(output) = output else { return println!("skipped: curl is not installed") };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "large.bin\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::metadata(folder.path().join("inbox/large.bin")).unwrap().len(), LENGTH);
    // Of a script the process may be an emulator, which has memory of its own.
    if cfg!(target_os = "linux") && serving::is_program() {
        let status = fs::read_to_string(format!("/proc/{}/status", serving.child.id())).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap();
        println!("{peak} KiB of memory at most");
        assert!(peak < 8 * 1024, "{peak} KiB");
    }
    // Elsewhere, and by pages of others, nothing is taken.
    let mut client = TcpStream::connect(serving.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"PUT /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx").unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    // Nothing is written through a link, so that every file would be refused.
    fs::create_dir_all(folder.path().join("store/below")).unwrap();
    symlink("store", folder.path().join("link")).unwrap();
    for upload in ["--upload=none", "--upload=link", "--upload=link/below"] {
        let (code, _, err) = serving::run(&["--port=0", upload, folder.path().to_str().unwrap()]);
        assert!(code == Some(1) && err.contains("files are taken by a folder"), "{upload}: {err}");
    }
    let mut open = Serving::start(&["--port=0", "--host=0.0.0.0", "--upload", folder.path().to_str().unwrap()]);
    let mut lines = std::io::BufRead::lines(open.log()).map(Result::unwrap);
    assert!(lines.any(|line| line.contains("can put files there, too")));
}
