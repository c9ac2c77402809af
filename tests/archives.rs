//! A folder as one ZIP file (`Files::archive`), read by the programs that people have: Python's `zipfile` and Info-ZIP's `unzip`. Where they are not
//! installed, it says so, and what is left is checked by the bytes.
#![cfg(unix)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
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
        assert_eq!(names(&lines), expected);
        assert_eq!(lines[1], "root/a.txt|5|1994-11-06 08:49:36", "the even second before it, in UTC");
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
    let paths: Vec<PathBuf> = ["grows", "shrinks", "vanishes"].iter().map(|name| tree.write(name, "")).collect();
    let set = |path: &Path, length| File::options().write(true).open(path).unwrap().set_len(length).unwrap();
    paths.iter().for_each(|path| set(path, LARGE));
    let house = house(&tree);
    let mut client = house.client();
    // By HTTP/1.0 the archive ends with the connection.
    client.send(b"GET /?zip HTTP/1.0\r\n\r\n");
    client.until(b"root/grows");
    // No system takes so much at once: the first file is still being read.
    set(&paths[0], LARGE + 1000);
    set(&paths[1], 70_000);
    fs::remove_file(&paths[2]).unwrap();
    let whole = client.until_end();
    let begin = whole.windows(4).position(|part| part == b"PK\x03\x04").unwrap();
    if let Some(lines) = read(&tree, &whole[begin..]) {
        assert_eq!(names(&lines), ["root/|0", &format!("root/grows|{LARGE}"), "root/shrinks|70000"]);
    }
    assert_eq!(house.log.texts(), ["1 of 4 entries could not be read and are not in the archive\n"]);
}
