//! Live reload: a page asks once a second whether anything has changed, and loads itself or its stylesheets anew.
//!
//! A stream (server-sent events, a WebSocket) would hold one of the six connections a browser opens to a host, so that the seventh tab
//! never loads, and a thread here. A question a second holds nothing: it is answered from the modification times of the
//! files, which are read when a page asks and not otherwise, by one thread at a time and for at most a tenth of the time. A hidden page
//! does not ask. The page asks next when it has its answer, so nothing piles up.
//!
//! The script is added to the end of every 200 with `text/html` that a browser opens as a page or in a frame, whether or not there is a
//! `</body>`, and of every 404, so that a tab which asked in the middle of a build comes back; what a script fetches stays as it is. Such a
//! response is not cached, and its length is exact.
//!
//! What it does not do: see files behind links, in folders called `.name`, `node_modules` or `__pycache__`, in virtual environments of Python, or more
//! than [`MAX_FILES`]; notice that a
//! proxied server changed; keep the state of the page; run where a page's own Content-Security-Policy forbids `'self'` scripts. A
//! stylesheet that comes by `@import` is loaded anew only with the page, on a page that links none itself.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use doorway::app::Files;
use doorway::web::is_navigation;
use doorway::{Application, Body, Environ, Headers, StartResponse};

use crate::wsgi::Workers;

const STAMP: &[u8] = b"/.doorway/stamp";
const SCRIPT: &[u8] = b"/.doorway/reload.js";

/// How many files and folders are looked at.
pub const MAX_FILES: usize = 20_000;

/// How old an answer may be.
const FRESH: Duration = Duration::from_millis(100);

/// Up to here a page is put together in memory, so that its length stays known.
const MAX_GATHERED: u64 = 4 * 1024 * 1024;

/// Whether a path is one that only the script asks for, which nobody wants in a log.
pub fn is_own(path: &[u8]) -> bool {
    path == STAMP || path == SCRIPT
}

/// Adds live reload to an application.
pub struct Reload<A> {
    inner: A,
    watch: Watch,
}

impl<A: Application> Reload<A> {
    /// Watches these folders, and the current one with what workers load.
    pub fn new(inner: A, folders: Vec<PathBuf>, workers: Vec<Workers>) -> Reload<A> {
        Reload { inner, watch: Watch { folders, workers, last: Mutex::default(), tells: AtomicBool::new(true) } }
    }
}

impl<A: Application> Application for Reload<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        match environ.path_info() {
            STAMP => {
                start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Cache-Control", "no-store")]);
                Body::from(self.watch.stamp(environ))
            }
            SCRIPT => {
                let kind = "text/javascript; charset=utf-8";
                start_response.start("200 OK", &[("Content-Type", kind), ("Cache-Control", "no-store")]);
                Body::from(include_str!("reload.js"))
            }
            _ => self.page(environ, start_response),
        }
    }
}

impl<A: Application> Reload<A> {
    fn page(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        if !is_navigation(environ) || !matches!(environ.method(), "GET" | "HEAD") {
            return self.inner.call(environ, start_response);
        }
        let mut environ = environ.clone();
        // A 304 would leave the browser with a page that has no script, or an old one; a coded or partial page cannot get one.
        for name in ["HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_ACCEPT_ENCODING", "HTTP_RANGE"] {
            environ.remove(name);
        }
        // Taken before the page is read: what changes from now on is news to it.
        let stamp = self.watch.stamp(&environ);
        let tag = format!("<script src=\"/.doorway/reload.js\" data-stamp=\"{stamp}\"></script>\n");
        let (is_page, length) = (Arc::new(AtomicBool::new(false)), tag.len() as u64);
        let decided = Arc::clone(&is_page);
        start_response.on_start(move |status, headers| {
            let is_page = matches!(status.code(), 200 | 404) && is_html(headers);
            decided.store(is_page, Ordering::Relaxed);
            if is_page {
                adapt(headers, length);
            }
        });
        let body = self.inner.call(&environ, start_response);
        if body.known_len().is_some() {
            return append(body, &is_page, tag);
        }
        // It may start as late as when its first block is asked for.
        Body::deferred(move |start_response| append(body.resolve(start_response), &is_page, tag))
    }
}

fn is_html(headers: &Headers) -> bool {
    let kind = headers.get("Content-Type").unwrap_or_default().to_ascii_lowercase();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let is_attachment =
        headers.get("Content-Disposition").is_some_and(|value| value.trim_start().starts_with("attachment"));
    essence == "text/html" && !kind.contains("utf-16") && !headers.contains("Content-Encoding") && !is_attachment
}

/// Makes the fields fit a page with the script, which is as long as the page and the tag and differs with every change.
fn adapt(headers: &mut Headers, length: u64) {
    let declared = headers.get("Content-Length").and_then(|declared| declared.parse::<u64>().ok());
    if let Some(declared) = declared {
        headers.set("Content-Length", (declared + length).to_string());
    }
    for name in ["ETag", "Last-Modified", "Accept-Ranges", "Content-MD5", "Content-Digest", "Repr-Digest"] {
        headers.remove(name);
    }
    headers.set("Cache-Control", "no-store");
    // Any other policy is that of whoever made the page, and means what it says.
    if headers.get("Content-Security-Policy").is_some_and(|policy| policy == Files::LISTING_POLICY) {
        // It lets in one script, by its digest, and lets it ask.
        headers.set("Content-Security-Policy", Files::LISTING_POLICY.replace("script-src ", "script-src 'self' "));
    }
}

fn append(body: Body, is_page: &AtomicBool, tag: String) -> Body {
    if !is_page.load(Ordering::Relaxed) || body.failure().is_some() {
        return body;
    }
    let is_short = body.known_len().is_some_and(|length| length <= MAX_GATHERED);
    let blocks = body.into_blocks().chain([Ok(tag.into_bytes().into())]);
    if !is_short {
        return Body::blocks(blocks);
    }
    let mut gathered = Vec::new();
    for block in blocks {
        match block {
            Ok(block) => gathered.push(block),
            Err(error) => return Body::from(Err::<Body, _>(error)),
        }
    }
    Body::list(gathered)
}

/// What the files look like at the moment, as two numbers: one for all files but stylesheets, one for these.
struct Watch {
    folders: Vec<PathBuf>,
    workers: Vec<Workers>,
    last: Mutex<Option<Look>>,
    /// Whether it has still to be said that there are too many files.
    tells: AtomicBool,
}

/// One look at all files.
struct Look {
    others: u64,
    sheets: u64,
    ended: Instant,
    took: Duration,
}

impl Watch {
    /// Two numbers of 16 hexadecimal digits. Always as long, and the same for the same files after a restart too.
    fn stamp(&self, environ: &Environ) -> String {
        // Of an application it is not the files that count but their load: what asks before it gets a page of the old one.
        let loads: u64 = self.workers.iter().map(Workers::loads).sum();
        let (others, sheets) = self.look(environ);
        format!("{:016x} {sheets:016x}", others.wrapping_add(loads))
    }

    fn look(&self, environ: &Environ) -> (u64, u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = &*last {
            if look.ended.elapsed() < FRESH.max(look.took * 9) {
                return (look.others, look.sheets);
            }
        }
        let begin = Instant::now();
        let mut sums = Sums::of(|_| true);
        self.folders.iter().for_each(|folder| sums.add_folder(folder));
        if !self.workers.is_empty() {
            sums.counts = |path| !is_python(path);
            sums.add_folder(Path::new("."));
        }
        if sums.files >= MAX_FILES && self.tells.swap(false, Ordering::Relaxed) {
            environ.errors().write(&format!(
                "--reload watches {MAX_FILES} files; there are more, and changes of the rest are not seen\n"
            ));
        }
        let (others, sheets) = (sums.others, sums.sheets);
        *last = Some(Look { others, sheets, ended: Instant::now(), took: begin.elapsed() });
        (others, sheets)
    }
}

/// Whether a file is one that Python loads.
pub fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py")
}

/// Sums of a hash for each file, so that the order in which a folder lists them does not matter.
pub struct Sums {
    /// Which files count.
    counts: fn(&Path) -> bool,
    files: usize,
    /// Of all files but stylesheets.
    pub others: u64,
    sheets: u64,
}

impl Sums {
    pub fn of(counts: fn(&Path) -> bool) -> Sums {
        Sums { counts, files: 0, others: 0, sheets: 0 }
    }

    pub fn add_folder(&mut self, folder: &Path) {
        if let Some(metadata) = fs::metadata(folder).ok().filter(fs::Metadata::is_file) {
            return self.add_file(folder, &metadata);
        }
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            // A folder that cannot be read has nothing to serve either.
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let Ok(entry) = entry else { continue };
                if self.files >= MAX_FILES {
                    return;
                }
                let name = entry.file_name();
                if name.as_encoded_bytes().starts_with(b".") || name == "node_modules" || name == "__pycache__" {
                    continue;
                }
                self.files += 1;
                // Of the entry itself: a link is not followed, so nothing is looked at twice or for ever.
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    // What is installed in a virtual environment is nobody's work of the moment.
                    if !entry.path().join("pyvenv.cfg").exists() {
                        folders.push(entry.path());
                    }
                } else if (self.counts)(Path::new(&name)) {
                    self.add_file(&entry.path(), &metadata);
                }
            }
        }
    }

    fn add_file(&mut self, path: &Path, metadata: &fs::Metadata) {
        // Its keys are fixed, so that a restarted server does not make every page reload.
        let mut hasher = DefaultHasher::new();
        (path, metadata.len(), metadata.modified().ok(), identity(metadata)).hash(&mut hasher);
        let is_sheet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("css"));
        let sum = if is_sheet { &mut self.sheets } else { &mut self.others };
        *sum = sum.wrapping_add(hasher.finish());
    }
}

/// Which file it is and when anything about it last changed: two builds may leave the same date on files of the same length.
#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> impl Hash + use<> {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

/// What std says of it besides its date: nothing.
#[cfg(not(unix))]
fn identity(_metadata: &fs::Metadata) -> impl Hash + use<> {}

#[cfg(test)]
mod tests {
    use super::*;
    use doorway::testing::Request;

    fn site(
        status: &'static str,
        fields: &'static [(&'static str, &'static str)],
        body: fn() -> Body,
    ) -> Reload<impl Application> {
        let application = move |_: &Environ, start_response: &mut StartResponse| {
            start_response.start(status, fields);
            body()
        };
        Reload::new(application, Vec::new(), Vec::new())
    }

    fn opened() -> Request {
        Request::get("/").header("Sec-Fetch-Dest", "document")
    }

    const HTML: &[(&str, &str)] = &[("Content-Type", "text/html; charset=utf-8"), ("ETag", "\"1\"")];

    #[test]
    fn a_page_gets_the_script_at_its_end_and_an_exact_length() {
        for body in [|| Body::from("<p>hi"), || Body::blocks(["<p>", "hi"])] {
            let response = opened().call(&site("200 OK", HTML, body));
            assert!(
                response.text().starts_with("<p>hi<script src=\"/.doorway/reload.js\" data-stamp=\""),
                "{}",
                response.text()
            );
            assert!(response.text().ends_with("</script>\n") && !response.headers.contains("ETag"));
            assert_eq!(response.headers.get("Cache-Control").as_deref(), Some("no-store"));
        }
        let declared =
            site("200 OK", &[("Content-Type", "text/html"), ("Content-Length", "5")], || Body::from("<p>hi"));
        let response = opened().call(&declared);
        assert_eq!(response.headers.get("Content-Length").as_deref(), Some(&*response.body().len().to_string()));
    }

    #[test]
    fn what_is_no_page_stays_as_it_is() {
        let page = || Body::from("<p>hi");
        for (status, fields) in [
            ("200 OK", &[("Content-Type", "text/plain")][..]),
            ("200 OK", &[("Content-Type", "text/html"), ("Content-Encoding", "gzip")]),
            ("200 OK", &[("Content-Type", "text/html; charset=UTF-16LE")]),
            ("200 OK", &[("Content-Type", "text/html"), ("Content-Disposition", "attachment")]),
            ("500 Internal Server Error", HTML),
            ("206 Partial Content", HTML),
        ] {
            let response = opened().call(&site(status, fields, page));
            assert_eq!(
                (response.text(), response.headers.len()),
                ("<p>hi".into(), fields.len()),
                "{status} {fields:?}"
            );
        }
        for what in ["empty", "image", "script"] {
            let response = Request::get("/").header("Sec-Fetch-Dest", what).call(&site("200 OK", HTML, page));
            assert_eq!(response.text(), "<p>hi", "{what}");
        }
        let response = Request::post("/", "x").header("Accept", "text/html").call(&site("200 OK", HTML, page));
        assert_eq!(response.text(), "<p>hi");
    }

    #[test]
    fn a_page_is_never_answered_from_the_cache_or_in_part() {
        fn seen(environ: &Environ, start_response: &mut StartResponse) -> Body {
            start_response.start("200 OK", &[("Content-Type", "text/plain")]);
            let names = ["If-None-Match", "If-Modified-Since", "Accept-Encoding", "Range"];
            Body::from(names.map(|name| environ.header(name).is_some().to_string()).join(" "))
        }
        let ask = |name: &str, what: &str| {
            let request = Request::get("/").header("If-None-Match", "\"1\"").header("Range", "bytes=0-1");
            let request = request.header("If-Modified-Since", "x").header("Accept-Encoding", "gzip");
            request.header(name, what).call(&Reload::new(seen, Vec::new(), Vec::new())).text()
        };
        assert_eq!(ask("Sec-Fetch-Dest", "document"), "false false false false");
        assert_eq!(ask("Accept", "text/html, */*;q=0.8"), "false false false false");
        assert_eq!(ask("Sec-Fetch-Dest", "video"), "true true true true");
        assert_eq!(ask("Accept", "*/*"), "true true true true");
    }

    #[test]
    fn a_change_changes_one_of_the_two_numbers_and_nothing_else_does() {
        let folder = std::env::temp_dir().join(format!("doorway-reload-{}", std::process::id()));
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::create_dir_all(folder.join(".git")).unwrap();
        fs::write(folder.join("index.html"), "one").unwrap();
        fs::write(folder.join("sub/a.css"), "one").unwrap();
        let sums = || {
            let mut sums = Sums::of(|_| true);
            sums.add_folder(&folder);
            (sums.others, sums.sheets)
        };
        let first = sums();
        fs::write(folder.join(".git/index"), "one").unwrap();
        assert_eq!(sums(), first);
        fs::write(folder.join("sub/a.css"), "other").unwrap();
        let second = sums();
        assert!(second.0 == first.0 && second.1 != first.1);
        fs::write(folder.join("index.html"), "other").unwrap();
        let third = sums();
        assert!(third.0 != second.0 && third.1 == second.1);
        fs::remove_file(folder.join("index.html")).unwrap();
        assert_ne!(sums().0, third.0);
        #[cfg(unix)]
        {
            // A link to where it is itself must not be walked.
            std::os::unix::fs::symlink(&folder, folder.join("sub/loop")).unwrap();
            sums();
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
