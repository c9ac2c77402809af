//! Files of a directory, as an ordinary application.
//!
//! RFC 9110 throughout: GET, HEAD and OPTIONS (section 9), validators and preconditions (sections 8.8 and 13), ranges (section 14). A request
//! goes through the rooms in this order:
//!
//! ```text
//! PATH_INFO ─▶ path (names, pure) ─▶ open (links, kinds, errors) ─▶ coding (siblings) ─▶ conditions ─▶ ranges ─▶ Body
//!                                         └─▶ directory: redirect to the slash, index, listing
//! ```
//!
//! Invariants: nothing outside the root and nothing but a regular file is read; one file that cannot be read is one answer and no more;
//! what is sent is as long as what was promised. It keeps nothing between requests, so it never serves a stale file. It writes nothing unless
//! uploads are turned on, and then nothing over anything.

mod coding;
mod conditions;
mod listing;
mod mime;
mod multipart;
mod open;
mod ranges;
mod upload;
mod zip;

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use self::conditions::{Validators, Verdict};
pub use self::upload::Uploads;

use self::mime::Types;
use self::open::{Place, Refused, Root, Served};
use self::ranges::Asked;
use super::path;
use crate::gateway::{Application, Body, Environ, Headers, StartResponse};
use crate::web::weights::weight;
use crate::web::{Response, content, is_navigation};

/// What a file may be asked for by.
const ALLOW: &str = "GET, HEAD";

/// What may be done where files are taken.
const ALLOW_UPLOADS: &str = "GET, HEAD, POST, PUT";

/// Serves the files of a directory.
///
/// As it comes from [`new`](Files::new) it answers with files and with the `index.html` of a directory, and hides what begins with a dot;
/// directories are not listed, and links may not lead outside.
///
/// | asked for | answer |
/// |---|---|
/// | a file | 200, or 206, 304, 412, 416 as the request asks |
/// | a directory without its slash | 302 to the same path with the slash, query kept |
/// | a directory | its index, or a listing where that is on, or 404 |
/// | nothing there, `..`, what is hidden, a link that leads outside, a FIFO, a device, a socket, a file with a slash behind it | 404 |
/// | what the system does not let us read | 403 |
/// | anything, while no descriptor is free | 503 with Retry-After |
/// | by another method than GET and HEAD | 405 (OPTIONS: 204) with Allow |
///
/// ```
/// use doorway::{app::Files, middleware::Mount, testing::Request};
///
/// # fn main() -> std::io::Result<()> {
/// let site = Mount::new().at("/docs", Files::new("docs")?.listing(true).cache_control("no-cache"));
/// let response = Request::get("/docs/rules.md").call(&site);
/// assert_eq!(response.headers.get("content-type").as_deref(), Some("text/markdown; charset=utf-8"));
/// # assert_eq!(response.status.code(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Files {
    served: Served,
    index: Vec<String>,
    hidden: bool,
    listing: listing::Options,
    uploads: Option<Uploads>,
    clean: bool,
    precompressed: bool,
    spa: Option<String>,
    error_pages: Vec<(u16, String)>,
    types: Types,
    headers: Headers,
}

impl Files {
    /// The `Content-Security-Policy` of a listing: nothing is loaded and nothing else runs, whatever a name should manage to become. The one style
    /// and the one script are named by their digests. Middleware that puts something into listings knows by it that it may ask for more.
    pub const LISTING_POLICY: &'static str = "default-src 'none'; style-src 'sha256-j6YqfL24Uvi2h/m+fBcIk9aDdV65j0bl9rCNa8cY0Jw='; \
        script-src 'sha256-mqx60rE+/9pIFuAHHPjAQPkBWxuCeSZsvOJgXZvy1L4='; connect-src 'self'; base-uri 'none'; form-action 'self'";

    /// The files below a directory. Where it is, is looked up for each request: a path that leads over a link (`current`) is served where
    /// the link leads then, and a directory that is removed and made anew is served again. A relative path is one from the current directory
    /// of now.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is no directory.
    pub fn new(root: impl AsRef<Path>) -> io::Result<Files> {
        Ok(Files::of(Served::new(root.as_ref())?))
    }

    /// One file, at `/` and by its own name, and nothing else of its directory: no page that would stand for it, and no coded form of it. It may be
    /// a link, to anywhere.
    ///
    /// # Errors
    /// When it is not there, cannot be looked at, or is no regular file; when its name holds what no path can spell.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Files> {
        Ok(Files::of(Served::of_file(path.as_ref())?))
    }

    fn of(served: Served) -> Files {
        Files {
            served,
            index: vec!["index.html".into()],
            hidden: false,
            listing: listing::Options::default(),
            uploads: None,
            clean: false,
            precompressed: false,
            spa: None,
            error_pages: Vec::new(),
            types: Types::default(),
            headers: Headers::new(),
        }
    }

    /// The names that stand for their directory, the first that is there; none for no index. At first `index.html`.
    pub fn index(mut self, names: &[&str]) -> Files {
        self.index = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Whether names with a leading dot are served and listed. At first they are not, but for what is below `/.well-known/`.
    pub fn hidden(mut self, hidden: bool) -> Files {
        self.hidden = hidden;
        self
    }

    /// Whether links may lead out of the directory. At first they may not, and such a link is 404; one that stays inside is served.
    pub fn follow_symlinks(mut self, follow: bool) -> Files {
        self.served.follow = follow;
        self
    }

    /// Whether a directory without an index is listed: as HTML, or as JSON where the client asks for `application/json` by name. At first it is
    /// not.
    ///
    /// The JSON is an array of `{"name":"a b","size":1,"url":"./a%20b","mod_time":"1994-11-06T08:49:37Z","is_dir":false}`. Either form has at
    /// most 10,000 entries, and only what can be asked for: nothing hidden, no link that leads outside, no FIFO. Names with control
    /// characters or a backslash are neither listed nor served.
    pub fn listing(mut self, listing: bool) -> Files {
        self.listing.is_on = listing;
        self
    }

    /// Whether a listed directory can be had as one archive, by `?zip`: a ZIP file of what can be asked for in it and below, not compressed, made while it
    /// is sent. Links are left out, and so is what cannot be read; the log says how much. At first it cannot.
    ///
    /// It is cut, and so shows as incomplete, beyond 100,000 entries, and where no descriptor is free for one.
    pub fn archive(mut self, archive: bool) -> Files {
        self.listing.has_archive = archive;
        self
    }

    /// Takes files: those of a form that is posted to a directory, and one that is put under its name. A listing has the form. At first nothing is taken
    /// and nothing written.
    ///
    /// | sent | answer |
    /// |---|---|
    /// | POST of `multipart/form-data` to a directory | 201 and the names, one a line, a number added to those that were taken; to a browser's form 303 back to the listing |
    /// | PUT of a whole file under a free name | 201 |
    /// | PUT under a name that is taken | 409, and what is there stays |
    /// | PUT with `If-Match` under a free name | 412 |
    /// | by a page of another origin; below `/.well-known/` | 403 |
    /// | more than the limit; more than the disk has room for | 413; 507 |
    pub fn uploads(mut self, uploads: Uploads) -> Files {
        self.uploads = Some(uploads);
        self
    }

    /// Whether `/about` is answered with `about.html` where there is no `about`. `/about.html` stays as it is. At first it is not.
    pub fn clean_urls(mut self, clean: bool) -> Files {
        self.clean = clean;
        self
    }

    /// Whether `app.js.br` or `app.js.gz`, where it is not older than `app.js` or there is no `app.js`, is sent in its place to a client that takes
    /// it. By its own name `app.js.gz` is always sent as JavaScript in that coding, and so are `.mjs`, `.wasm`, `.data` and `.symbols.json`.
    pub fn precompressed(mut self, precompressed: bool) -> Files {
        self.precompressed = precompressed;
        self
    }

    /// Has files whose name ends in `.extension` (in any case) be of this type, in place of what they would be: `("glsl", "text/plain")`.
    pub fn content_type(mut self, extension: &str, content_type: &str) -> Files {
        self.types.add(extension, content_type);
        self
    }

    /// Answers with this file (a path from the root, as in `index.html`) where otherwise nothing is there and the client wants HTML: the routes of a
    /// single-page application, and not its missing scripts and images. A last name with a point (`/items/1.1`, `/u/jane@x.org`) is a
    /// route where a browser opens it as a page ([`is_navigation`]) and it does not end as what pages load does.
    pub fn spa(mut self, path: &str) -> Files {
        self.spa = Some(path.to_owned());
        self
    }

    /// Sends this file (a path from the root, as in `404.html`) with an error of this status, where it is there. Otherwise an error is one line of
    /// text, but for what a browser opens as a page and is not there: then it is a page that says so and leads up.
    pub fn error_page(mut self, status: u16, path: &str) -> Files {
        self.error_pages.push((status, path.to_owned()));
        self
    }

    /// A field for every answer. It takes the place of the field of the same name that would stand there, except that `Vary` is added to.
    ///
    /// What no application may send ([`Headers::check`]) makes every answer a 500, as for any application.
    pub fn header(mut self, name: &str, value: &str) -> Files {
        self.headers.add(name, value);
        self
    }

    /// `Cache-Control` for every answer: `no-cache` to have browsers ask each time (which costs a 304), `max-age=3600`, and the like. Without
    /// it browsers guess.
    pub fn cache_control(self, value: &str) -> Files {
        self.header("Cache-Control", value)
    }

    fn find(&self, environ: &Environ) -> Result<Response, Refused> {
        // A file that was named is served whatever its name.
        let wanted =
            path::map(environ.path_info(), self.hidden || self.served.only.is_some()).ok_or(Refused::NotFound)?;
        let root = self.served.root()?;
        let place = match root.locate(&wanted.names) {
            Err(Refused::NotFound) if !wanted.has_slash && self.served.only.is_none() => {
                return self.stand_in(environ, &root, &wanted.names);
            }
            place => place?,
        };
        if !place.metadata.is_dir() {
            if wanted.has_slash {
                return Err(Refused::NotFound);
            }
            return self.negotiate(environ, &root, &wanted.names, place);
        }
        if !wanted.has_slash {
            let target = environ.bytes("REQUEST_URI").unwrap_or_default();
            let location = path::location(target, environ.script_name(), &wanted.names, environ.query_string());
            // 302, because 301 and 308 are kept by browsers longer than a directory keeps its name.
            return Ok(Response::redirect(location).with_status("302 Found"));
        }
        let only = self.served.only.as_deref();
        for index in only.into_iter().chain(self.index.iter().map(String::as_bytes).filter(|_| only.is_none())) {
            // As a path, so that each name of it is looked at.
            let Some(index) = path::map(index, true) else { continue };
            let names = [wanted.names.as_slice(), &index.names].concat();
            match root.locate(&names) {
                Ok(place) if place.metadata.is_file() => return self.negotiate(environ, &root, &names, place),
                Ok(_) | Err(Refused::NotFound) => {}
                Err(refused) => return Err(refused),
            }
        }
        if self.listing.is_on && only.is_none() {
            if self.listing.has_archive && environ.query_value("zip").is_some() {
                return zip::answer(place, self.hidden, environ);
            }
            let takes_files = self.uploads.as_ref().is_some_and(|uploads| uploads.are_taken_at(&wanted.names));
            let options = listing::Options { takes_files, ..self.listing };
            return listing::answer(&root, &place, &wanted.names, self.hidden, options, environ);
        }
        Err(Refused::NotFound)
    }

    /// What stands for a name that is not there: its coded form, where the client takes that, or the page of that name.
    fn stand_in(&self, environ: &Environ, root: &Root, names: &[&[u8]]) -> Result<Response, Refused> {
        if let Some((place, coding)) = self.sibling(environ, root, names, None) {
            return self.send(environ, names, open::open(&place)?, Some(coding));
        }
        let (last, above) = names.split_last().filter(|_| self.clean).ok_or(Refused::NotFound)?;
        let page = [*last, b".html"].concat();
        let names = [above, &[page.as_slice()]].concat();
        self.negotiate(environ, root, &names, root.locate(&names)?)
    }

    fn sibling(
        &self,
        environ: &Environ,
        root: &Root,
        names: &[&[u8]],
        plain: Option<&Metadata>,
    ) -> Option<(Place, &'static str)> {
        let accepted = environ.header_bytes("accept-encoding").unwrap_or_default();
        self.precompressed.then(|| coding::choose(root, names, plain, accepted)).flatten()
    }

    /// A file, or its coded form.
    fn negotiate(&self, environ: &Environ, root: &Root, names: &[&[u8]], place: Place) -> Result<Response, Refused> {
        let (last, above) = names.split_last().ok_or(Refused::NotFound)?;
        if let Some((inner, coding)) = coding::of_name(last) {
            return self.send(environ, &[above, &[inner]].concat(), open::open(&place)?, Some(coding));
        }
        // A sibling that cannot be read takes nothing away from its file.
        let sibling = self.sibling(environ, root, names, Some(&place.metadata));
        match sibling.and_then(|(place, coding)| Some((open::open(&place).ok()?, coding))) {
            Some((opened, coding)) => self.send(environ, names, opened, Some(coding)),
            None => self.send(environ, names, open::open(&place)?, None),
        }
    }

    /// An open file, as far as the request wants it. The name says its type, the coding how that has been compressed.
    fn send(
        &self,
        environ: &Environ,
        names: &[&[u8]],
        (mut file, metadata): (File, Metadata),
        coding: Option<&str>,
    ) -> Result<Response, Refused> {
        let now = SystemTime::now();
        let name = names.last().copied().unwrap_or_default();
        // Of a coded form the first bytes say nothing.
        let content_type = self.types.of(name, || if coding.is_none() { first_bytes(&mut file) } else { Vec::new() });
        let validators = Validators::of(&metadata, coding, now);
        let complete = metadata.len();

        let mut response = match conditions::evaluate(environ, &validators, now) {
            Verdict::Failed => return Ok(self.error(environ, 412, "Precondition Failed")),
            Verdict::NotModified => Response::new("304 Not Modified", ()),
            Verdict::Proceed => match asked(environ, &validators, complete, now) {
                Asked::Nothing => {
                    let range = format!("bytes */{complete}");
                    return Ok(self.error(environ, 416, "Range Not Satisfiable").with_header("Content-Range", range));
                }
                Asked::Everything => Response::new("200 OK", Body::file_range(file, 0, complete)),
                Asked::Parts(parts) => match parts.as_slice() {
                    [part] => Response::new("206 Partial Content", Body::file_range(file, part.start, part.length))
                        .with_header("Content-Range", part.content_range(complete)),
                    _ => multipart::answer(file, parts, complete, content_type),
                },
            },
        };
        let headers = &mut response.headers;
        if !has_no_content(&response.status) {
            headers.set_default("Content-Type", content_type);
            headers.add("Accept-Ranges", "bytes");
            headers.add("X-Content-Type-Options", "nosniff");
            if let Some(coding) = coding {
                headers.add("Content-Encoding", coding);
            }
        }
        headers.add("ETag", &validators.etag);
        if let Some(date) = validators.last_modified() {
            headers.add("Last-Modified", date);
        }
        if self.precompressed {
            headers.add("Vary", "Accept-Encoding");
        }
        Ok(response)
    }

    /// What a client sends to be stored.
    fn receive(&self, environ: &Environ) -> Result<Response, Refused> {
        let uploads = self.uploads.as_ref().filter(|_| self.served.only.is_none()).ok_or(Refused::Forbidden)?;
        // No dot names, also where they are served.
        let wanted = path::map(environ.path_info(), false).ok_or(upload::NO_DIRECTORY)?;
        let is_post = environ.method() == "POST";
        if is_post && !wanted.has_slash {
            return Ok(self.error(environ, 405, "Method Not Allowed").with_header("Allow", ALLOW));
        }
        let root = self.served.root()?;
        uploads.receive(environ, &root, &wanted.names, wanted.has_slash)
    }

    fn allowed(&self) -> &'static str {
        if self.uploads.is_some() { ALLOW_UPLOADS } else { ALLOW }
    }

    /// The answer where there is no file to send.
    fn refuse(&self, environ: &Environ, refused: Refused) -> Response {
        match refused {
            Refused::NotFound => {
                let mut response = match self.route(environ) {
                    Ok(page) => page,
                    Err(Refused::NotFound) => self.error(environ, 404, "Not Found"),
                    Err(refused) => self.refuse(environ, refused),
                };
                if self.spa.is_some() {
                    response.headers.add("Vary", "Accept");
                }
                response
            }
            Refused::Forbidden => self.error(environ, 403, "Forbidden"),
            Refused::Busy => self.error(environ, 503, "Service Unavailable").with_header("Retry-After", "1"),
            Refused::Said(status, text) => upload::said(status, format!("{}\n", text.trim_start())),
            Refused::Failed(error) => Response::new("500 Internal Server Error", Body::from(Err::<Body, _>(error))),
        }
    }

    /// The page of a single-page application, where the path is one of its routes.
    fn route(&self, environ: &Environ) -> Result<Response, Refused> {
        let page = self.spa.as_ref().and_then(|page| path::map(page.as_bytes(), true));
        let wanted = path::map(environ.path_info(), self.hidden);
        let (page, wanted) = page.zip(wanted).ok_or(Refused::NotFound)?;
        let is_route = wanted
            .names
            .last()
            .is_none_or(|name| !name.contains(&b'.') || (is_navigation(environ) && !mime::is_part_of_a_page(name)));
        // A script or an image that is missing must not become a page, so `*/*` is not enough.
        let accept = environ.header_bytes("accept").unwrap_or_default();
        if !is_route || weight(accept, &["text/html"]).unwrap_or_default() == 0 {
            return Err(Refused::NotFound);
        }
        let root = self.served.root()?;
        self.negotiate(environ, &root, &page.names, root.locate(&page.names)?)
    }

    /// An error with the page that the deployer has for it, or with its name; a page that leads up where a browser opens what is not there.
    fn error(&self, environ: &Environ, status: u16, reason: &str) -> Response {
        let status_line = format!("{status} {reason}");
        let page = self.error_pages.iter().find(|(of, _)| *of == status && self.served.only.is_none()).and_then(
            |(_, page)| {
                let page = path::map(page.as_bytes(), true)?;
                let (mut file, metadata) = open::open(&self.served.root().ok()?.locate(&page.names).ok()?).ok()?;
                let name = page.names.last().copied().unwrap_or_default();
                let content_type = self.types.of(name, || first_bytes(&mut file));
                let body = Body::file_range(file, 0, metadata.len());
                Some(Response::new("", body).with_header("Content-Type", content_type))
            },
        );
        let response = page.unwrap_or_else(|| match status {
            404 if is_navigation(environ) => {
                let wanted = path::map(environ.path_info(), self.hidden);
                listing::missing(environ, wanted.as_ref().map_or(&[], |wanted| &wanted.names))
            }
            _ => Response::text(format!("{reason}\n")),
        });
        response.with_status(status_line).with_header("X-Content-Type-Options", "nosniff")
    }
}

/// The beginning of a file, by which its type is known; nothing where it cannot be read, which whoever reads on will say.
fn first_bytes(file: &mut File) -> Vec<u8> {
    let mut first = Vec::with_capacity(mime::LOOK);
    let _ = content::read(file, mime::LOOK as u64, &mut first);
    first
}

/// What of a file a request asks for. A range is one of GET alone (RFC 9110 section 14.2).
fn asked(environ: &Environ, validators: &Validators, complete: u64, now: SystemTime) -> Asked {
    match environ.header_bytes("range") {
        Some(range) if environ.method() == "GET" && conditions::allows_range(environ, validators, now) => {
            ranges::read(range, complete)
        }
        _ => Asked::Everything,
    }
}

/// Whether an answer of this status never has content (RFC 9110 sections 15.3.5 and 15.4.5).
fn has_no_content(status: &str) -> bool {
    status.starts_with("204 ") || status.starts_with("304 ")
}

impl Application for Files {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        let mut response = match environ.method() {
            "GET" | "HEAD" => self.find(environ).unwrap_or_else(|refused| self.refuse(environ, refused)),
            "POST" | "PUT" if self.uploads.is_some() => {
                self.receive(environ).unwrap_or_else(|refused| self.refuse(environ, refused))
            }
            "OPTIONS" => Response::new("204 No Content", ()).with_header("Allow", self.allowed()),
            _ => self.error(environ, 405, "Method Not Allowed").with_header("Allow", self.allowed()),
        };
        // Said here, because with HEAD the server cannot tell an empty file from a body that was left out.
        if let Some(length) = response.body.known_len().filter(|_| !has_no_content(&response.status)) {
            response.headers.set_default("Content-Length", length.to_string());
        }
        for (name, _) in self.headers.iter() {
            if !name.eq_ignore_ascii_case(b"vary") {
                response.headers.remove(name);
            }
        }
        response.headers.extend(&self.headers);
        response.start(start_response)
    }
}
