//! A folder as one ZIP file (`Files::archive`), read by the programs that people have: Python's `zipfile` and Info-ZIP's `unzip`. Where they are not
//! installed, it says so, and what is left is checked by the bytes.
#![cfg(unix)]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use doorway::app::Files;
use support::tree::Tree;
use support::{House, Response, serve};

fn house(tree: &Tree) -> House {
    serve(Files::new(tree.root()).unwrap().listing(true).archive(true))
}

fn get(house: &House, target: &str) -> Response {
    house.ask_one(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
}

/// Names and contents of a sound archive, as Python reads it: `name length sum` on each line. `None`, with a word about it, without Python.
fn read(tree: &Tree, archive: &[u8]) -> Option<Vec<String>> {
    let path = tree.outside().join("archive.zip");
    fs::write(&path, archive).unwrap();
    match Command::new("unzip").arg("-t").arg(&path).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(_) => println!("skipped: unzip is not installed"),
    }
    let program = "import sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1]) as z:\n\
        \x20   assert z.testzip() is None\n\
        \x20   for i in z.infolist(): print(i.filename, i.file_size, '%04d-%02d-%02d %02d:%02d:%02d' % i.date_time, sep='|')\n";
    let Ok(output) = Command::new("python3").args(["-c", program]).arg(&path).env("PYTHONIOENCODING", "utf-8").output()
    else {
        println!("skipped: python3 is not installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// Lines without their dates.
fn names(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| line.rsplit_once('|').unwrap().0.to_owned()).collect()
}

#[test]
fn a_folder_is_an_archive_of_what_can_be_asked_for_in_it_and_below() {
    let tree = Tree::new();
    for (name, length) in
        [("a.txt", 5), ("empty", 0), ("sub/b c.bin", 200_000), ("sub/deep/Zürich ☕.txt", 3), ("edge", 65_536)]
    {
        tree.write(name, vec![b'x'; length]);
    }
    fs::create_dir(tree.root().join("nothing in it")).unwrap();
    for hidden in [".git/config", ".env"] {
        tree.write(hidden, "secret");
    }
    fs::write(tree.outside().join("secret"), "secret").unwrap();
    symlink("../secret", tree.root().join("out")).unwrap();
    symlink(".", tree.root().join("circle")).unwrap();
    symlink("a.txt", tree.root().join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(tree.root().join("fifo")).status().unwrap().success());
    let house = house(&tree);
    let response = get(&house, "/?zip");
    assert_eq!((response.status, response.field("Content-Type")), (200, Some("application/zip")));
    assert_eq!(
        response.field("Content-Disposition"),
        Some("attachment; filename=\"root.zip\"; filename*=UTF-8''root.zip")
    );
    assert!(!response.body.windows(6).any(|part| part == b"secret"));
    if let Some(lines) = read(&tree, &response.body) {
        let expected = [
            "root/|0",
            "root/a.txt|5",
            "root/edge|65536",
            "root/empty|0",
            "root/nothing in it/|0",
            "root/sub/|0",
            "root/sub/b c.bin|200000",
            "root/sub/deep/|0",
            "root/sub/deep/Zürich ☕.txt|3",
        ];
        let found = names(&lines);
        let place = |line: &str| found.iter().position(|other| other == line);
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(expected));
        assert!(found.len() == expected.len() && place("root/|0") == Some(0), "{found:?}");
        assert!(place("root/sub/|0") < place("root/sub/b c.bin|200000"), "{found:?}");
        assert!(lines.contains(&"root/a.txt|5|1994-11-06 08:49:36".into()), "the even second before it, in UTC");
    }
    let sub = get(&house, "/sub/?zip");
    assert_eq!(read(&tree, &sub.body).map(|lines| lines.len()).unwrap_or(4), 4);
    assert!(sub.field("Content-Disposition").unwrap().contains("filename=\"sub.zip\""));
    assert!(get(&house, "/").text().contains("<a href=\"?zip\" download>"));
    assert_eq!((house.log.reports(), house.log.texts()), (vec![], vec![]));
}

#[test]
fn the_head_of_an_archive_is_had_without_its_content_and_without_the_setting_there_is_none() {
    let tree = Tree::new();
    tree.write("a.txt", "x");
    let head = house(&tree).ask_one(b"HEAD /?zip HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.field("Content-Type"), head.body.len()), (200, Some("application/zip"), 0));
    let plain = serve(Files::new(tree.root()).unwrap().listing(true));
    assert_eq!(get(&plain, "/?zip").field("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(!get(&plain, "/").text().contains("?zip"));
    let unlisted = serve(Files::new(tree.root()).unwrap().archive(true));
    assert_eq!(get(&unlisted, "/?zip").status, 404);
}

#[test]
fn a_file_that_shrinks_or_grows_while_it_is_sent_leaves_the_archive_sound() {
    let tree = Tree::new();
    const LARGE: u64 = 48 << 20;
    let paths: Vec<PathBuf> = (0..3).map(|number| tree.write(format!("file-{number}"), "")).collect();
    let set =
        |number: usize, length| File::options().write(true).open(&paths[number]).unwrap().set_len(length).unwrap();
    (0..3).for_each(|number| set(number, LARGE));
    let house = house(&tree);
    let mut client = house.client();
    // By HTTP/1.0 the archive ends with the connection.
    client.send(b"GET /?zip HTTP/1.0\r\n\r\n");
    client.until(&[0; 64]);
    let begun = client.until(b"root/file-");
    let at = begun.windows(10).position(|part| part == b"root/file-").unwrap() + 10;
    let grows = usize::from(begun[at] - b'0');
    let (shrinks, vanishes) = ((grows + 1) % 3, (grows + 2) % 3);
    // No system takes so much at once: the first file, whichever that is, is still being read.
    set(grows, LARGE + 1000);
    set(shrinks, 70_000);
    fs::remove_file(&paths[vanishes]).unwrap();
    let whole = client.until_end();
    let begin = whole.windows(4).position(|part| part == b"PK\x03\x04").unwrap();
    if let Some(lines) = read(&tree, &whole[begin..]) {
        let (first, second) = (format!("root/file-{grows}|{LARGE}"), format!("root/file-{shrinks}|70000"));
        assert_eq!(names(&lines), ["root/|0", &first, &second]);
    }
    assert_eq!(house.log.texts(), ["1 of 4 entries could not be read and are not in the archive\n"]);
}

#[test]
fn archives_that_nobody_takes_hold_no_list_of_a_large_directory() {
    if !cfg!(target_os = "linux") {
        return println!("skipped: nobody says here how much memory this is");
    }
    let tree = Tree::new();
    for number in 0..20_000 {
        // So long that nobody is sent many of them.
        File::create(tree.root().join(format!("a file with the number {number}"))).unwrap().set_len(64 * 1024).unwrap();
    }
    let house = house(&tree);
    let held = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let before = held();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = house.client();
            client.send(b"GET /?zip HTTP/1.1\r\nHost: a\r\n\r\n");
            client.until(b"root/");
            client
        })
        .collect();
    let grown = held().saturating_sub(before) / clients.len();
    assert!(grown < 3 * 1024, "{grown} KiB for each");
}
