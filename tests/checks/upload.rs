//! Files that clients send to `app::Files`, under names and with content that the input chooses.
//!
//! What must hold: no panic; what is stored lies in the directory that takes files, under a name that is safe and was free, and holds
//! every byte; what was there before is as it was; where the answer is no success, nothing that is unfinished is left; forms are read
//! as the naive reading of `tests/reference` reads them.
//!
//! One byte chooses the method, one where the content breaks off; then the name, up to a NUL, and the content.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use doorway::app::{Files, Uploads};
use doorway::multipart::safe_file_name;
use doorway::testing::{Request, Response};
use doorway::{Application, Environ, StartResponse};

use super::Input;
use crate::reference::multipart::read_form;
use crate::support::tree::Tree;
use crate::support::{locked, show};

/// More is 413.
const LIMIT: usize = 400;

/// Files by path, hidden ones too.
type Stored = BTreeMap<PathBuf, Vec<u8>>;

struct Site {
    files: Arc<Files>,
    tree: Tree,
    before: Stored,
}

impl Site {
    fn new() -> Site {
        let tree = Tree::new();
        tree.write("out.txt", "not to be written to");
        tree.write("inbox/a.txt", "old");
        fs::create_dir(tree.root().join("inbox/sub")).unwrap();
        fs::write(tree.outside().join("secret"), "outside").unwrap();
        let files = Files::new(tree.root()).unwrap().uploads(Uploads::new().below("inbox").limit(LIMIT as u64));
        Site { files: Arc::new(files), before: all_below(tree.outside()), tree }
    }

    /// What an answer has left behind that was not there before; it is removed.
    fn take_new(&self) -> Stored {
        let mut new = all_below(self.tree.outside());
        for (path, content) in &self.before {
            assert!(new.remove(path).as_ref() == Some(content), "{} is not as it was", path.display());
        }
        for path in new.keys() {
            fs::remove_file(path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(path.starts_with(self.tree.root().join("inbox")), "{} is outside", path.display());
            assert_eq!(safe_file_name(name).as_deref(), Some(name));
        }
        new
    }
}

fn all_below(directory: &Path) -> Stored {
    let mut found = Stored::new();
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            found.append(&mut all_below(&entry.path()));
        } else {
            found.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    found
}

pub fn check(bytes: &[u8]) {
    static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
    let site = locked(SITE.get_or_init(|| Mutex::new(Site::new())));
    let mut input = Input::new(bytes);
    let (is_form, ends) = (input.below(2) == 1, input.byte());
    let path = [b"/inbox/", input.until(0)].concat();
    let content = input.rest.to_vec();
    if is_form { form(&site, content, ends) } else { put(&site, &path, content, ends) }
}

/// Sends content: some with its length, some breaking off.
fn send(site: &Site, request: Request, content: Vec<u8>, ends: u8) -> Response {
    let files = Arc::clone(&site.files);
    let request = if ends % 2 == 0 { request.header("Content-Length", content.len().to_string()) } else { request };
    request.call(&move |environ: &Environ, start_response: &mut StartResponse| {
        let mut environ = environ.clone();
        let content = Cursor::new(content.clone());
        if breaks(ends) {
            environ.set_input(BufReader::with_capacity(usize::from(ends), content.chain(Broken)));
        } else {
            environ.set_input(BufReader::with_capacity(1 + usize::from(ends), content));
        }
        files.call(&environ, start_response)
    })
}

fn breaks(ends: u8) -> bool {
    ends >= 224
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _room: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

fn put(site: &Site, path: &[u8], content: Vec<u8>, ends: u8) {
    let response = send(site, Request::new("PUT", "/").variable("PATH_INFO", path), content.clone(), ends);
    let new = site.take_new();
    let is_stored = response.status.code() == 201;
    assert_eq!(new.len(), usize::from(is_stored), "{new:?} {}", response.status);
    assert!(!is_stored || !breaks(ends) && content.len() <= LIMIT, "{}", show(&content));
    assert!(new.values().all(|stored| *stored == content), "{new:?} {}", show(&content));
    // What there is no reason to refuse is stored.
    let name = std::str::from_utf8(&path[b"/inbox/".len()..]).ok();
    let is_fine =
        name.is_some_and(|name| safe_file_name(name).as_deref() == Some(name) && name != "a.txt" && name != "sub");
    if is_fine && !breaks(ends) && content.len() <= LIMIT {
        assert!(is_stored, "{} {}", show(path), response.status);
    }
}

fn form(site: &Site, content: Vec<u8>, ends: u8) {
    let request = Request::new("POST", "/inbox/").header("Content-Type", "multipart/form-data; boundary=b");
    let response = send(site, request, content.clone(), ends);
    let new = site.take_new();
    // The naive reading undoes no escape, and has no limits.
    if breaks(ends) || content.len() > LIMIT || content.contains(&b'\\') {
        return;
    }
    let (parts, fault) = read_form(&content, "b");
    let (inbox, mut expected) = (site.tree.root().join("inbox"), Stored::new());
    for (_, name, content) in parts {
        let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
        let name = safe_file_name(&name).unwrap_or_else(|| "file".to_owned());
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (&*name, String::new()),
        };
        let numbered = (1..).map(|number| inbox.join(format!("{stem} ({number}){extension}")));
        let is_free = |path: &PathBuf| !expected.contains_key(path) && !path.exists();
        let path = [inbox.join(&name)].into_iter().chain(numbered).find(is_free).unwrap();
        expected.insert(path, content);
    }
    assert!(new == expected, "{new:?}\nthe reference says {expected:?}\n{}", show(&content));
    let status = if fault.is_none() && !expected.is_empty() { 201 } else { 400 };
    assert_eq!(response.status.code(), status, "{}", show(&content));
}
