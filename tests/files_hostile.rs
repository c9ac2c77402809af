//! What hostile trees and hostile clients try with `app::Files`, over real sockets: paths that lead up and out, links, FIFOs and devices,
//! files that cannot be read, names that want to be markup, files that change while they are sent, readers that do not read.
//!
//! Each of these stops, crashes or betrays a server that is in use today.
#![cfg(unix)]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use doorway::app::Files;
use doorway::log::Answer;
use doorway::middleware::Mount;
use doorway::{Body, Cause, Environ, StartResponse};
use support::tree::Tree;
use support::{Client, House, Response, serve};

fn get(house: &House, target: &str, fields: &str) -> Response {
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    house.ask_one(head.as_bytes())
}

fn status(house: &House, target: &str) -> u16 {
    get(house, target, "").status
}

fn files(tree: &Tree) -> Files {
    Files::new(tree.root()).unwrap()
}

fn attribute<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    page.split(&format!(" {name}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn no_spelling_of_a_path_leads_out_of_the_root() {
    let tree = Tree::new();
    tree.write("a/b.txt", "inside");
    tree.write("..test", "two dots and more are a name");
    fs::write(tree.outside().join("secret"), "secret").unwrap();
    let house = serve(files(&tree).hidden(true).listing(true));
    for target in [
        "/../secret",
        "/a/../../secret",
        "/%2e%2e/secret",
        "/.%2e/secret",
        "/%2E%2E%2Fsecret",
        "/..%2fsecret",
        "/a/..%2f..%2fsecret",
        "/..%5csecret",
        "/%5c..%5csecret",
        "/%252e%252e/secret",
        "/%252e%252e%252fsecret",
        "/..%c0%afsecret",
        "/%c0%ae%c0%ae/secret",
        "/..;/secret",
        "/./../secret",
        "//../secret",
        "/a/b.txt/../../../secret",
        "/..",
        "/../",
        "/a/..",
        "/secret",
    ] {
        let response = get(&house, target, "");
        assert_eq!(response.status, 404, "{target}");
        assert!(!response.body.windows(6).any(|part| part == b"secret"), "{target}");
    }
    // The server refuses a NUL and a raw backslash before any application sees them.
    assert_eq!((status(&house, "/a/b.txt%00.html"), status(&house, "/..\\secret")), (400, 400));
    for target in ["/a/b.txt", "//a//b.txt", "/./a/./b.txt", "/a%2fb.txt", "/%61/b%2Etxt", "http://a/a/b.txt"] {
        assert_eq!(get(&house, target, "").text(), "inside", "{target}");
    }
    assert_eq!(status(&house, "/..test"), 200);
}

#[test]
fn a_path_that_cannot_be_a_file_is_404_and_never_500() {
    let tree = Tree::new();
    tree.write("file.txt", "x");
    tree.write("sub/x", "x");
    let house = serve(files(&tree));
    let long = |count: usize, name: &str| format!("/{}", name.repeat(count));
    for target in [
        // ENOTDIR, ENAMETOOLONG for one name, ENAMETOOLONG for the whole.
        "/file.txt/".to_owned(),
        "/file.txt/.".to_owned(),
        "/file.txt/more".to_owned(),
        "/sub/x/y/z".to_owned(),
        long(256, "n"),
        long(5_000, "n"),
        long(2_500, "d/"),
        "/%ff%fe".to_owned(),
        "/a%0ab".to_owned(),
        "/%1b[2J".to_owned(),
    ] {
        assert_eq!(status(&house, &target), 404, "{target}");
    }
    assert_eq!(house.log.reports(), vec![]);
}

#[test]
fn hidden_files_are_neither_served_nor_listed_unless_the_deployer_wants_it() {
    let tree = Tree::new();
    tree.write(".git/config", "secret");
    tree.write(".env", "secret");
    tree.write("sub/.htpasswd", "secret");
    tree.write(".well-known/acme-challenge/token", "token");
    tree.write("seen", "");
    let house = serve(files(&tree).listing(true));
    for target in ["/.git/config", "/.git", "/.git/", "/.env", "/%2eenv", "/sub/.htpasswd", "/.well-known/.x", "//.env"]
    {
        assert_eq!(status(&house, target), 404, "{target}");
    }
    assert_eq!(get(&house, "/.well-known/acme-challenge/token", "").text(), "token");
    for fields in ["", "Accept: application/json\r\n"] {
        let listing = get(&house, "/", fields);
        assert!(listing.text().contains("seen") && !listing.text().contains(".env"), "{}", listing.text());
    }
    let house = serve(files(&tree).hidden(true).listing(true));
    assert_eq!(get(&house, "/.git/config", "").text(), "secret");
    assert!(get(&house, "/", "").text().contains(".env"));
}

#[test]
fn links_are_followed_inside_and_not_outside_by_any_name_on_the_way() {
    let tree = Tree::new();
    tree.write("sub/file", "inside");
    let outside = tree.outside().join("out");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    // A neighbour whose path begins like that of the root.
    let neighbour = tree.outside().join("root2");
    fs::create_dir(&neighbour).unwrap();
    fs::write(neighbour.join("secret"), "secret").unwrap();
    let link = |to: &Path, name: &str| symlink(to, tree.root().join(name)).unwrap();
    link(Path::new("sub/file"), "to-file");
    link(Path::new("sub"), "to-sub");
    link(&tree.root().join("sub"), "to-sub-absolute");
    link(Path::new("to-sub/../sub/file"), "round");
    link(&outside.join("secret"), "out-file");
    link(&outside, "out-dir");
    link(Path::new("../out"), "out-relative");
    link(Path::new("out-dir/secret"), "out-twice");
    link(&neighbour, "out-neighbour");
    link(Path::new("/dev/null"), "out-device");
    link(Path::new("nowhere"), "dangling");
    link(Path::new("circle"), "circle");

    let house = serve(files(&tree).listing(true));
    for target in ["/to-file", "/to-sub/file", "/to-sub-absolute/file", "/round"] {
        assert_eq!(get(&house, target, "").text(), "inside", "{target}");
    }
    assert_eq!(get(&house, "/to-sub", "").field("Location"), Some("./to-sub/"));
    let out = ["/out-file", "/out-dir/secret", "/out-dir", "/out-dir/", "/out-relative/secret", "/out-twice"];
    let none = ["/out-neighbour/secret", "/out-device", "/dangling", "/circle", "/circle/x"];
    for target in out.iter().chain(&none) {
        assert_eq!(status(&house, target), 404, "{target}");
    }
    let listing = get(&house, "/", "");
    assert!(
        listing.text().contains("to-file") && !listing.text().contains("out-") && !listing.text().contains("dangling")
    );

    let house = serve(files(&tree).follow_symlinks(true).listing(true));
    for target in ["/out-file", "/out-dir/secret", "/out-relative/secret", "/out-twice", "/out-neighbour/secret"] {
        assert_eq!(get(&house, target, "").text(), "secret", "{target}");
    }
    for target in ["/out-device", "/dangling", "/circle"] {
        assert_eq!(status(&house, target), 404, "{target}");
    }
    assert_eq!(house.log.reports(), vec![]);
}

#[test]
fn a_fifo_a_device_and_a_socket_in_the_tree_are_404_and_hold_nobody_up() {
    let tree = Tree::new();
    tree.write("a.txt", "x");
    tree.write("index/x", "");
    let _socket = UnixListener::bind(tree.root().join("socket")).unwrap();
    for name in ["fifo", "index/index.html"] {
        let made = Command::new("mkfifo").arg(tree.root().join(name)).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo is part of every Unix");
    }
    symlink("/dev/zero", tree.root().join("zero")).unwrap();
    let house = serve(files(&tree).follow_symlinks(true).listing(true));
    let began = Instant::now();
    // More often than there are threads.
    for _ in 0..8 {
        for target in ["/fifo", "/socket", "/zero", "/index/index.html"] {
            assert_eq!(status(&house, target), 404, "{target}");
        }
    }
    assert_eq!(status(&house, "/a.txt"), 200);
    let listing = get(&house, "/", "");
    assert!(["fifo", "socket", "zero"].iter().all(|name| !listing.text().contains(name)), "{}", listing.text());
    assert_eq!(status(&house, "/index/"), 200);
    assert!(began.elapsed() < support::PATIENCE);
}

#[test]
fn a_file_that_cannot_be_read_is_403_and_the_server_lives() {
    let tree = Tree::new();
    let locked = tree.write("locked.txt", "secret");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    tree.write("dir/x", "");
    fs::set_permissions(tree.root().join("dir"), fs::Permissions::from_mode(0o000)).unwrap();
    tree.write("unlisted/x", "");
    fs::set_permissions(tree.root().join("unlisted"), fs::Permissions::from_mode(0o111)).unwrap();
    tree.write("a.txt", "x");
    let sibling = tree.write("a.txt.gz", "locked as well");
    fs::set_permissions(&sibling, fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(&locked).is_ok() {
        // Nothing is locked for root, so somebody else has to look.
        fs::set_permissions(tree.outside(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--ignored", "unreadable_files_as_somebody_else"]).env("DOORWAY_TREE", tree.root());
        match command.uid(65534).gid(65534).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                // A name that no test has is a success as well, of no test.
                assert!(output.status.success() && said.contains(" 1 passed;"), "{said}");
            }
            Err(error) => println!("skipped: root cannot become somebody else here ({error})"),
        }
    } else {
        check_unreadable(&tree.root());
    }
    for name in ["dir", "unlisted"] {
        fs::set_permissions(tree.root().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
#[ignore = "run by the test above, as a user who may not read the files"]
fn unreadable_files_as_somebody_else() {
    if let Some(root) = std::env::var_os("DOORWAY_TREE") {
        check_unreadable(Path::new(&root));
    }
}

fn check_unreadable(root: &Path) {
    let house = serve(Files::new(root).unwrap().listing(true).archive(true).precompressed(true));
    // An archive has the rest, and the log says so.
    let archive = get(&house, "/?zip", "");
    assert!(archive.status == 200 && archive.body.windows(12).any(|part| part == b"root/a.txtUT"));
    assert_eq!(house.log.texts(), ["4 of 6 entries could not be read and are not in the archive\n"]);
    for _ in 0..4 {
        for target in ["/locked.txt", "/dir/", "/dir/x", "/unlisted/", "/unlisted/?zip"] {
            let response = get(&house, target, "");
            assert_eq!((response.status, response.text()), (403, "Forbidden\n"), "{target}");
        }
    }
    for fields in ["", "Accept-Encoding: gzip\r\n"] {
        assert_eq!(get(&house, "/a.txt", fields).text(), "x");
    }
    assert_eq!(house.log.reports(), vec![]);
}

#[test]
fn without_a_free_descriptor_the_answer_is_503_with_retry_after_and_then_200_again() {
    // In a process of its own, because it takes every descriptor.
    let Some(test) = support::itself() else { return };
    let mut command = Command::new("sh");
    command.arg("-c").arg("ulimit -n 96 && exec \"$0\" --exact --ignored every_descriptor_is_taken").arg(test);
    let output = command.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && out.contains("1 passed"), "{out}");
}

#[test]
#[ignore = "run by the test above, in a process with few descriptors"]
fn every_descriptor_is_taken() {
    let tree = Tree::new();
    tree.write("a.txt", "x");
    tree.write("page.html", "<p>");
    let house = serve(files(&tree).listing(true).archive(true).spa("page.html"));
    let (mut client, mut second) = (Client::connect(house.tcp()), Client::connect(house.tcp()));
    let mut ask = |target: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n").as_bytes());
        client.response()
    };
    assert_eq!(ask("/a.txt").status, 200);
    // When this is answered the file of the first answer is closed, and its descriptor is free.
    assert_eq!(ask("/none.js").status, 404);
    second.send(b"GET /none.js HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(second.response().status, 404);
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
        assert!(taken.len() < 100_000, "the limit on descriptors is not in force");
    }
    for target in ["/a.txt", "/", "/?zip", "/route"] {
        let response = ask(target);
        assert_eq!((response.status, response.field("Retry-After")), (503, Some("1")), "{target}");
    }
    // With one for the directory and none for what is in it, an archive is cut, and is none that looks whole.
    drop(taken.pop());
    second.send(b"GET /?zip HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let archive = second.until_end();
    assert!(archive.starts_with(b"HTTP/1.1 200 ") && support::parse(&archive, false, true).is_none());
    drop(taken);
    assert_eq!(ask("/a.txt").text(), "x");
}

#[test]
fn a_redirect_never_leaves_the_host() {
    let tree = Tree::new();
    tree.write("evil.example/x", "");
    tree.write("sub/x", "");
    let house = serve(files(&tree));
    for target in [
        "//evil.example",
        "///evil.example",
        "//evil.example/..%2f..",
        "/%2fevil.example",
        "//sub",
        "/.//sub",
        "/%5cevil.example",
        "/sub%0d%0aSet-Cookie:a=b",
        "//evil.example/%2e%2e",
        "http://evil.example/sub",
    ] {
        let response = get(&house, target, "");
        let location = response.field("Location").unwrap_or("/404/");
        let path = location.strip_prefix('.').unwrap_or(location);
        let stays = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
        assert!(stays && [302, 404].contains(&response.status), "{target}: {} {location}", response.status);
        assert!(response.field("Set-Cookie").is_none());
    }
    assert_eq!(get(&house, "//evil.example", "").field("Location"), Some("./evil.example/"));
    assert_eq!(get(&house, "//sub?//x", "").field("Location"), Some("./sub/?//x"));
}

#[test]
fn a_page_about_a_path_of_thousands_of_names_is_about_as_long_as_that_path() {
    let tree = Tree::new();
    let house = serve(files(&tree));
    for (names, most) in [(100, 32 * 1024), (4_000, 16 * 1024)] {
        let response = get(&house, &"/a".repeat(names), "Accept: text/html\r\n");
        assert_eq!(response.status, 404);
        assert!(response.body.len() < most, "{names} names: {} bytes", response.body.len());
        assert!(response.text().contains(">To the top</a>"));
    }
}

/// Names that a Unix allows and a careless listing does not survive.
const HOSTILE: &[&[u8]] = &[
    b"a<b>\"&.txt",
    b"<script>alert(1)<",
    b"<img src=x onerror=alert(1)>",
    b"javascript:alert(1)",
    b"data:text,<x>",
    b"'onmouseover='alert(1)",
    b"\" autofocus onfocus=\"alert(1)",
    b"a#b",
    b"a?b=c",
    b"50%",
    b"%41",
    b"a b",
    b"a:b",
    b"c+d",
    b"a;b",
    b"\xff\xfe not text",
    "caf\u{e9} \u{202e}txt.exe".as_bytes(),
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd}".as_bytes(),
    b"--",
    b"~",
];

#[test]
fn a_listing_is_safe_for_every_name_and_each_link_gives_its_file() {
    let tree = Tree::new();
    for name in HOSTILE {
        let name = std::ffi::OsStr::from_bytes(name);
        tree.write(Path::new("sub").join(name), name.as_bytes());
    }
    tree.write("sub/dir: <b>/inner", "");
    // What could never be asked for is not listed.
    tree.write("sub/control\n\x1b[2J", "x");
    tree.write("sub/back\\slash", "x");
    let house = serve(files(&tree).listing(true));
    let response = get(&house, "/sub/", "");
    let page = response.text();
    assert_eq!(response.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(response.field("Content-Security-Policy").unwrap().starts_with("default-src 'none';"));
    // There is one script, which the policy names.
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    for bad in
        ["<script>alert", "<img", "<b>", "onerror=alert(1)>", "\"javascript:", "\x1b", "back\\", "\u{202e}", "control"]
    {
        assert!(!page.contains(bad), "{bad:?} in {page}");
    }
    let mut links = attribute(page, "href");
    links.retain(|link| !link.starts_with("?sort="));
    assert_eq!((links[0], links[1], links[2]), ("../", "../", "./dir%3A%20%3Cb%3E/"));
    assert_eq!(links.len(), 3 + HOSTILE.len());
    for link in &links[3..] {
        let target = format!("/sub/{}", link.strip_prefix("./").unwrap());
        let file = get(&house, &target, "");
        assert_eq!(file.status, 200, "{target}");
        assert!(HOSTILE.contains(&&*file.body), "{target}: {}", file.body.escape_ascii());
    }

    let response = get(&house, "/sub/", "Accept: application/json\r\n");
    assert_eq!((response.field("Content-Type"), response.field("Vary")), (Some("application/json"), Some("Accept")));
    let urls: Vec<&str> =
        response.text().split("\"url\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(urls, links[2..]);
    assert!(!response.text().contains('<') && !response.text().contains('\x1b'));
}

#[test]
fn a_listing_has_directories_first_and_says_size_and_date_to_every_reader() {
    let tree = Tree::new();
    for name in ["b.txt", "A.txt", "c.txt", "zz/x", "aa/x"] {
        tree.write(name, "x".repeat(1234));
    }
    let house = serve(files(&tree).listing(true));
    let response = get(&house, "/", "");
    let page = response.text();
    let entries = ["./aa/", "./zz/", "./A.txt", "./b.txt", "./c.txt"];
    assert_eq!(
        attribute(page, "href"),
        [&["?sort=name&amp;order=desc", "?sort=size", "?sort=date"], &entries[..]].concat()
    );
    let filtered = get(&house, "/?filter=B.T", "Accept: application/json\r\n");
    assert!(filtered.text().starts_with("[{\"name\":\"b.txt\"") && filtered.text().matches("name").count() == 1);
    let turned = get(&house, "/?sort=name&order=desc", "");
    assert_eq!(attribute(turned.text(), "href")[3..], ["./zz/", "./aa/", "./c.txt", "./b.txt", "./A.txt"]);
    for part in [
        "<html lang=\"en\">",
        "<title>Index of /</title>",
        "<nav aria-label=\"Path\">",
        "aria-current=\"page\"",
        "<main>",
        "<th scope=\"col\" aria-sort=\"ascending\"><a href=\"?sort=name&amp;order=desc\">Name</a>",
        "<th scope=\"row\"><a href=\"./A.txt\">",
        "<caption>2 directories, 3 files, 3.7 kB</caption>",
        "<td>1.2 kB</td>",
        "<time datetime=\"1994-11-06T08:49:37Z\">1994-11-06 08:49</time>",
        "prefers-color-scheme:dark",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    for fields in ["Accept: application/json\r\n", "Accept: application/json, text/plain, */*\r\n"] {
        assert_eq!(get(&house, "/", fields).field("Content-Type"), Some("application/json"), "{fields}");
    }
    let json = get(&house, "/", "Accept: application/json, text/html;q=0.9\r\n");
    assert!(json.text().contains(
        "{\"name\":\"A.txt\",\"size\":1234,\"url\":\"./A.txt\",\"mod_time\":\"1994-11-06T08:49:37Z\",\"is_dir\":false}"
    ));
    for fields in ["", "Accept: */*\r\n", "Accept: text/html, application/json\r\n"] {
        assert_eq!(get(&house, "/", fields).field("Content-Type"), Some("text/html; charset=utf-8"), "{fields}");
    }
}

#[test]
fn beside_its_names_a_listing_costs_less_than_6_kb() {
    let tree = Tree::new();
    tree.write("one/a", "");
    let house = serve(files(&tree).listing(true));
    let response = get(&house, "/one/", "");
    assert!(response.body.len() < 6 * 1024, "{} bytes", response.body.len());
}

/// So large that no system takes it from the server in one go.
const LARGE: u64 = 32 << 20;

fn large(tree: &Tree, name: &str) -> File {
    let file = File::options().write(true).open(tree.write(name, "")).unwrap();
    file.set_len(LARGE).unwrap();
    file
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection_and_is_not_padded() {
    let tree = Tree::new();
    let file = large(&tree, "large");
    let house = serve(files(&tree));
    let mut client = house.client();
    client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    client.until(b"\r\n\r\n");
    file.set_len(1000).unwrap();
    let got = client.until_end();
    assert!((got.len() as u64) < LARGE, "{} bytes of a file of 1000", got.len());
    assert_eq!(house.log.take(Cause::BodyShort).answer, Answer::Cut);
}

#[test]
fn a_range_beyond_the_end_of_a_file_ends_the_connection_and_is_not_padded() {
    let tree = Tree::new();
    let path = tree.write("short", "12345");
    let house = serve(move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        File::open(&path).map(|file| Body::file_range(file, 1, 10))
    });
    let mut client = house.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let got = client.until_end();
    assert!(got.ends_with(b"\r\n\r\n2345"), "{}", got.escape_ascii());
    assert_eq!(house.log.take(Cause::BodyShort).answer, Answer::Cut);
}

#[test]
fn p_err_02_a_file_of_which_nothing_can_be_read_is_a_500_and_no_head_of_something_else() {
    let tree = Tree::new();
    let path = tree.write("short", "12345");
    let house = serve(move |_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]);
        File::open(&path).map(|file| Body::file_range(file, 5, 10))
    });
    let mut client = house.client();
    for _ in 0..2 {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().status, 500);
        assert_eq!(house.log.take(Cause::BodyShort).answer, Answer::Status(500));
    }
}

#[test]
fn a_file_that_grows_while_it_is_sent_ends_where_it_was_said_to() {
    let tree = Tree::new();
    let mut file = large(&tree, "large");
    let house = serve(files(&tree));
    let mut client = house.client();
    client.send(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.until(format!("Content-Length: {LARGE}\r\n").as_bytes());
    use std::io::Seek;
    file.seek(std::io::SeekFrom::End(0)).unwrap();
    file.write_all(b"more").unwrap();
    let got = client.until_end();
    let head = got.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    assert_eq!((got.len() - head) as u64, LARGE);
    assert!(got[head..].chunks(4096).all(|part| part == &[0; 4096][..part.len()]));
}

#[test]
fn readers_that_do_not_read_hold_no_thread() {
    let tree = Tree::new();
    large(&tree, "large");
    tree.write("a.txt", "x");
    let house = serve(files(&tree));
    // Many more than the two threads, with whole files and with ranges.
    let slow: Vec<_> = (0..24)
        .map(|n| {
            let mut client = house.client();
            let range = if n % 2 == 0 { "" } else { "Range: bytes=1000-\r\n" };
            client.send(format!("GET /large HTTP/1.1\r\nHost: a\r\n{range}\r\n").as_bytes());
            let mut first = [0];
            client.stream.read_exact(&mut first).unwrap();
            client
        })
        .collect();
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(get(&house, "/a.txt", "").text(), "x");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?} for 50 small files", began.elapsed());
    drop(slow);
}

#[test]
fn a_file_written_between_two_requests_is_never_stale() {
    let tree = Tree::new();
    tree.write("a.txt", "one");
    let house = serve(files(&tree));
    let mut client = house.client();
    for content in ["one", "two!", "three"] {
        fs::write(tree.root().join("a.txt"), content).unwrap();
        client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), content);
    }
    fs::remove_file(tree.root().join("a.txt")).unwrap();
    client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 404);
    fs::remove_dir_all(tree.root()).unwrap();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 404);
}

/// Puts a link on another place at once, as `ln -sfn` and deployments do it.
fn put_link(link: &Path, to: &str) {
    let new = link.with_extension("new");
    let _ = fs::remove_file(&new);
    symlink(to, &new).unwrap();
    fs::rename(&new, link).unwrap();
}

#[test]
fn a_root_behind_a_link_is_where_the_link_leads_now() {
    let tree = Tree::new();
    for release in ["r1", "r2"] {
        tree.write(format!("{release}/site/name"), release);
    }
    let current = tree.root().join("current");
    put_link(&current, "r1");
    // The root itself is a link, or a directory on the way to it.
    let site = tree.root().join("site");
    put_link(&site, "r1/site");
    let mounted = Mount::new().at("/", Files::new(&site).unwrap()).at("/m", Files::new(current.join("site")).unwrap());
    let house = serve(mounted);
    let both = || [get(&house, "/name", "").text().to_owned(), get(&house, "/m/name", "").text().to_owned()];
    assert_eq!(both(), ["r1", "r1"]);
    put_link(&current, "r2");
    put_link(&site, "r2/site");
    assert_eq!(both(), ["r2", "r2"]);
    fs::remove_dir_all(tree.root().join("r1")).unwrap();
    assert_eq!(both(), ["r2", "r2"]);
    // Nothing is there for a while; then it is made anew.
    fs::remove_dir_all(tree.root().join("r2")).unwrap();
    assert_eq!((get(&house, "/name", "").status, get(&house, "/m/", "").status), (404, 404));
    tree.write("r2/site/name", "again");
    assert_eq!(both(), ["again", "again"]);
}

#[test]
fn nothing_outside_is_served_while_the_root_is_exchanged() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let tree = Tree::new();
    fs::write(tree.outside().join("secret"), "secret").unwrap();
    for release in ["r1", "r2"] {
        tree.write(format!("{release}/name"), "inside");
        symlink("../../secret", tree.root().join(release).join("out")).unwrap();
        symlink("name", tree.root().join(release).join("in")).unwrap();
        // What is inside of one release is outside of the other.
        let other = if release == "r1" { "r2" } else { "r1" };
        tree.write(format!("{release}/own"), "secret");
        symlink(format!("../{other}/own"), tree.root().join(release).join("across")).unwrap();
    }
    let current = tree.root().join("current");
    put_link(&current, "r1");
    let house = serve(Files::new(&current).unwrap());
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                put_link(&current, ["r1", "r2"][turn % 2]);
            }
        });
        for _ in 0..200 {
            for target in ["/name", "/in"] {
                let response = get(&house, target, "");
                assert_eq!((response.status, response.text()), (200, "inside"), "{target}");
            }
            for target in ["/out", "/across"] {
                assert_eq!(get(&house, target, "").status, 404, "{target}");
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
}
