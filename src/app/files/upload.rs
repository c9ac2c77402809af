//! Files that clients send: a form (POST to a directory) or one file by its path (PUT).
//!
//! Whoever may ask may write, so all of it is off until the deployer turns it on. What is kept:
//!
//! - No file is ever written over, and none is written through a link: a name is taken by making it, which fails where there is one. A form's
//!   file gets a number then, a PUT is 409.
//! - A file is seen when it is whole: it grows under a hidden name beside its place, and goes when the client leaves or the disk is full.
//! - Names are one plain component, from [`safe_file_name`]; no dot names.
//! - A page of another origin cannot send one, though a browser would let it: `Sec-Fetch-Site` or `Origin` gives it away. A program has neither.
//! - No more than a buffer of a file is in memory.

use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use super::open::{Refused, Root};
use crate::app::{origin, path};
use crate::cause::Cause;
use crate::gateway::{Body, Environ};
use crate::web::multipart::{Limits, Parts, safe_file_name};
use crate::web::token::unforeseen;
use crate::web::{Response, is_navigation};

/// So many names are tried for a file of a form, each by a call of the system; behind them stands a number that nobody has taken.
const NAMES: u64 = 100;

/// So many bytes are written between two looks at how much room is left.
const LOOK: u64 = 64 * 1024 * 1024;

/// What clients may send to a directory that [`Files`](super::Files) serves.
///
/// ```
/// use doorway::app::{Files, Uploads};
///
/// # fn main() -> std::io::Result<()> {
/// let site = Files::new("docs")?.listing(true).uploads(Uploads::new().below("inbox").limit(10 * 1024 * 1024));
/// # Ok(())
/// # }
/// ```
///
/// The server's own bound on content (`Settings::max_content`) holds besides.
#[derive(Clone, Debug, Default)]
pub struct Uploads {
    below: Option<String>,
    limit: Option<u64>,
    room: Option<fn(&Path) -> Option<u64>>,
}

impl Uploads {
    /// Files of any size, to every directory.
    pub fn new() -> Uploads {
        Uploads::default()
    }

    /// Only to this directory (a path from the root, as in `inbox`) and those below it.
    pub fn below(mut self, path: &str) -> Uploads {
        self.below = Some(path.to_owned());
        self
    }

    /// At most so many bytes in a request; more is 413.
    pub fn limit(mut self, bytes: u64) -> Uploads {
        self.limit = Some(bytes);
        self
    }

    /// Asks `room` how many bytes may be written where a path is, before an upload and after each 64 MiB of it: more is 507. So a part of the disk can be
    /// kept free; std cannot say how much there is. While it says nothing, only a disk that is full is 507.
    pub fn room(mut self, room: fn(&Path) -> Option<u64>) -> Uploads {
        self.room = Some(room);
        self
    }

    /// Whether files may be sent to the directory of these names. To none that is hidden, also where those are served; `/.well-known/` is served
    /// anywhere, and who may write there is given certificates for the site (RFC 8555 section 8.3).
    pub(super) fn are_taken_at(&self, names: &[&[u8]]) -> bool {
        let is_below =
            |below: &String| path::map(below.as_bytes(), true).is_some_and(|below| names.starts_with(&below.names));
        self.below.as_ref().is_none_or(is_below) && !names.iter().any(|name| path::is_hidden(name))
    }

    /// Takes what a request sends. The names are those of its path.
    pub(super) fn receive(
        &self,
        environ: &Environ,
        root: &Root,
        names: &[&[u8]],
        is_directory: bool,
    ) -> Result<Response, Refused> {
        if !is_of_own_page(environ) {
            return Err(Refused::Said("403 Forbidden", "a page of another site may not send files here"));
        }
        match environ.method() {
            "PUT" if is_directory => Err(Refused::Said("409 Conflict", "there is a directory; give the file a name")),
            "PUT" => self.put(environ, root, names),
            _ => self.post(environ, root, names),
        }
    }

    /// One file, under its own name and no other.
    fn put(&self, environ: &Environ, root: &Root, names: &[&[u8]]) -> Result<Response, Refused> {
        let (name, above) = names.split_last().ok_or(NO_DIRECTORY)?;
        let directory = self.directory(environ, root, above)?;
        // RFC 9110 section 14.5: a part of a file is not the file.
        if environ.header_bytes("content-range").is_some() {
            return Err(Refused::Said("400 Bad Request", "a part of a file cannot be put; send all of it"));
        }
        let name = std::str::from_utf8(name).ok().filter(|name| safe_file_name(name).as_deref() == Some(name));
        let plain = "a file of this name would not be the same on every system; choose a plain one";
        let name = name.ok_or(Refused::Said("400 Bad Request", plain))?;
        // Before the content is asked for.
        if fs::symlink_metadata(directory.join(name)).is_ok() {
            return Err(TAKEN);
        }
        // RFC 9110 section 13.1.1: whoever means to replace a version does not mean to make a new file.
        if environ.header_bytes("if-match").is_some() {
            return Err(Refused::Said("412 Precondition Failed", "there is no file of this name"));
        }
        let mut unfinished = Unfinished::new(&directory)?;
        self.copy(&mut environ.input(), &mut unfinished)?;
        match unfinished.finish(name)? {
            true => Ok(said("201 Created", format!("{name}\n"))),
            false => Err(TAKEN),
        }
    }

    /// The files of a form, each under a name that is free.
    fn post(&self, environ: &Environ, root: &Root, names: &[&[u8]]) -> Result<Response, Refused> {
        let directory = self.directory(environ, root, names)?;
        let parts = Parts::of(environ, Limits { content: self.limit.unwrap_or(u64::MAX), ..Limits::default() });
        let mut parts = parts.map_err(of_content)?;
        let mut stored = String::new();
        while let Some(mut part) = parts.next_part().map_err(of_content)? {
            // A field that is no file, and one for which none was chosen.
            if part.file_name().is_none_or(str::is_empty) {
                continue;
            }
            let name = part.safe_file_name().unwrap_or_else(|| "file".into());
            let mut unfinished = Unfinished::new(&directory)?;
            self.copy(&mut part, &mut unfinished)?;
            let mut numbers = (0..NAMES).chain([unforeseen()]);
            let name = loop {
                let name = numbered(&name, numbers.next().ok_or(TAKEN)?);
                if unfinished.finish(&name)? {
                    break name;
                }
            };
            stored.push_str(&format!("{name}\n"));
        }
        match (stored.is_empty(), is_navigation(environ)) {
            (true, _) => Err(Refused::Said("400 Bad Request", "there is no file in this form")),
            // The form of the page: back to the listing, which shows them.
            (false, true) => Ok(Response::redirect("./")),
            (false, false) => Ok(said("201 Created", stored)),
        }
    }

    /// The directory of these names, which no link leads to. What is too long is refused before any of it is read, so that a client that waits for
    /// `100 Continue` sends none.
    fn directory(&self, environ: &Environ, root: &Root, names: &[&[u8]]) -> Result<PathBuf, Refused> {
        if !self.are_taken_at(names) {
            return Err(NOT_TAKEN);
        }
        let directory = root.locate_directory(names).map_err(|refused| match refused {
            Refused::NotFound => NO_DIRECTORY,
            Refused::Forbidden => NOT_TAKEN,
            refused => refused,
        })?;
        let length = environ.content_length().unwrap_or_default();
        if self.limit.is_some_and(|limit| length > limit) {
            return Err(LONG);
        }
        self.check_room(&directory, length)?;
        Ok(directory)
    }

    fn check_room(&self, directory: &Path, length: u64) -> Result<(), Refused> {
        match self.room.and_then(|room| room(directory)) {
            Some(room) if room <= length => Err(FULL),
            _ => Ok(()),
        }
    }

    fn copy(&self, from: &mut impl BufRead, to: &mut Unfinished) -> Result<(), Refused> {
        let (mut written, mut look) = (0_u64, LOOK);
        loop {
            let block = from.fill_buf().map_err(of_content)?;
            if block.is_empty() {
                return Ok(());
            }
            to.file.write_all(block).map_err(of_disk)?;
            let length = block.len();
            from.consume(length);
            written = written.saturating_add(length as u64);
            if self.limit.is_some_and(|limit| written > limit) {
                return Err(LONG);
            }
            if written > look {
                look = written.saturating_add(LOOK);
                self.check_room(&to.directory, 0)?;
            }
        }
    }
}

const LONG: Refused = Refused::Said("413 Content Too Large", "that is more than may be sent");
const FULL: Refused = Refused::Said("507 Insufficient Storage", "there is no room for that");
const TAKEN: Refused = Refused::Said("409 Conflict", "there is something of this name; it was left as it is");
pub(super) const NO_DIRECTORY: Refused = Refused::Said("404 Not Found", "there is no such directory");
const NOT_TAKEN: Refused = Refused::Said("403 Forbidden", "files are not taken there");

fn of_disk(error: io::Error) -> Refused {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => FULL,
        io::ErrorKind::NotFound => NO_DIRECTORY,
        io::ErrorKind::PermissionDenied => NOT_TAKEN,
        _ => error.into(),
    }
}

/// It is no form or broken, the client was too slow, or is gone. What is not wrong with the form itself the server knows best.
fn of_content(error: io::Error) -> Refused {
    match Cause::of(&error) {
        Some(Cause::ContentLong) => LONG,
        Some(Cause::ContentType) => {
            Refused::Said("415 Unsupported Media Type", "files are posted as multipart/form-data")
        }
        Some(cause @ (Cause::MultipartTruncated | Cause::MultipartBoundary | Cause::PartHead)) => {
            Refused::Said("400 Bad Request", cause.sentence())
        }
        _ => Refused::Failed(error),
    }
}

pub(super) fn said(status: &'static str, text: impl Into<Body>) -> Response {
    Response::text(text).with_status(status).with_header("X-Content-Type-Options", "nosniff")
}

/// Whether a request comes from a page of this origin, or from no page at all.
fn is_of_own_page(environ: &Environ) -> bool {
    if let Some(site) = environ.header_bytes("sec-fetch-site") {
        return matches!(site, b"same-origin" | b"none");
    }
    // Over plain HTTP to another machine browsers say the origin alone.
    environ.header_bytes("origin").is_none_or(|origin| origin::is_own(environ, origin))
}

/// `a (1).txt` for `a.txt`; with 0 the name itself.
fn numbered(name: &str, number: u64) -> String {
    match name.rsplit_once('.') {
        _ if number == 0 => name.to_owned(),
        Some((stem, extension)) if !stem.is_empty() => format!("{stem} ({number}).{extension}"),
        _ => format!("{name} ({number})"),
    }
}

/// A file that is not whole, under a hidden name of its own; it is removed unless it was finished.
struct Unfinished {
    directory: PathBuf,
    path: PathBuf,
    file: File,
}

impl Unfinished {
    fn new(directory: &Path) -> Result<Unfinished, Refused> {
        let path = directory.join(format!(".{:016x}.part", unforeseen()));
        let file = File::create_new(&path).map_err(of_disk)?;
        Ok(Unfinished { directory: directory.to_owned(), path, file })
    }

    /// Gives it a name, if that is free.
    fn finish(&mut self, name: &str) -> Result<bool, Refused> {
        let place = self.directory.join(name);
        let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AlreadyExists;
        // Another name for the same file, which there cannot be where something is; the first name goes with `self`.
        match fs::hard_link(&self.path, &place) {
            Ok(()) => return Ok(true),
            Err(error) if is_taken(&error) => return Ok(false),
            // A file system without links, such as that of a memory card: the name is taken by an empty file, which is then replaced.
            Err(_) => {}
        }
        match File::create_new(&place) {
            Ok(_) => fs::rename(&self.path, &place).map(|()| true).map_err(of_disk),
            Err(error) if is_taken(&error) => Ok(false),
            Err(error) => Err(of_disk(error)),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename it is not there.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Request;

    #[test]
    fn a_number_stands_before_the_extension() {
        for (name, expected) in
            [("a.txt", "a (2).txt"), ("a", "a (2)"), ("a.tar.gz", "a.tar (2).gz"), ("\u{e4} b.c", "\u{e4} b (2).c")]
        {
            assert_eq!((numbered(name, 2), numbered(name, 0)), (expected.into(), name.into()));
        }
    }

    #[test]
    fn a_page_of_another_origin_gives_itself_away() {
        for (fields, expected) in [
            (&[][..], true),
            (&[("Sec-Fetch-Site", "same-origin")], true),
            (&[("Sec-Fetch-Site", "none")], true),
            (&[("Sec-Fetch-Site", "same-site")], false),
            (&[("Sec-Fetch-Site", "cross-site"), ("Origin", "http://here:8000")], false),
            (&[("Origin", "http://here:8000")], true),
            (&[("Origin", "http://there:8000")], false),
        ] {
            let request = Request::post("/", "").header("Host", "here:8000");
            let request = fields.iter().fold(request, |request, (name, value)| request.header(name, value));
            assert_eq!(is_of_own_page(&request.environ()), expected, "{fields:?}");
        }
    }
}
