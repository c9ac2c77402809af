//! The application that the flags describe: folders, other servers and programs at their places, and what is put around them.
//!
//! From the outside to the inside: fields of every response, the access log of the formats that are middleware, which hosts are answered and how the
//! server is (both put there by `main`), CORS, the password, live reload, the prefix, the mounts. What is missing on the disk is found here, before a
//! port is opened.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorway::app::{self, Files, Uploads};
use doorway::middleware::{AccessLog, BasicAuth, Cors, Mount};
use doorway::{Application, Environ, StartResponse};

use crate::fields::Fields;
use crate::options::{Format, Options};
use crate::reload::{self, Reload};
use crate::wsgi::Workers;
use crate::{console, room, users};

/// Applications whose makeup is known only when the command runs.
type Site = Box<dyn Application>;

/// Builds the site, and says what it is in a few words. Workers that are started for it are added to those there are.
pub fn build(options: &Options, workers: &mut Vec<Workers>) -> io::Result<(Site, String)> {
    let mut folders = Vec::new();
    let mut mounts = Mount::new();
    for (prefix, folder) in &options.mounts {
        let (folder, files) = open(folder, options)?;
        mounts = mounts.at(prefix, files);
        folders.push(folder);
    }
    for (prefix, behind) in &options.behind {
        mounts = mounts.at(prefix, behind.open(options, workers)?);
        folders.extend(behind.folder().map(Path::to_owned));
    }
    let served = if options.demo {
        mounts = mounts.at("/", app::demo);
        "the demo application".to_owned()
    } else if let Some(behind) = options.behind_at_root() {
        behind.describe(options)
    } else {
        let (folder, files) = open(options.folder.as_deref().unwrap_or(Path::new(".")), options)?;
        mounts = mounts.at("/", with_pages(files, &folder, options)?);
        let name = folder.display().to_string();
        folders.push(folder);
        name
    };
    let mut site: Site = Box::new(mounts);
    if let Some(prefix) = &options.prefix {
        site = Box::new(Mount::new().at(prefix, site));
    }
    let users = options.auth.as_ref().map(|path| users::read(path, &folders)).transpose()?;
    if options.reload {
        site = Box::new(Reload::new(site, folders, workers.clone()));
    }
    if let Some(users) = users {
        // Around all there is: what asks for changes, too.
        site = Box::new(BasicAuth::new(site, "doorway", users));
    }
    if options.cors {
        // `*` does not cover Authorization. Of the answer a script sees a handful of fields only, without those by which it fetches parts of a file.
        let cors = Cors::any(site).methods(["*"]).headers(["*", "Authorization"]).max_age(Duration::from_secs(600));
        site = Box::new(cors.expose(["Accept-Ranges", "Content-Length", "Content-Range", "ETag", "Location"]));
    }
    Ok((site, served))
}

/// With what is about every answer: its line in the log, and the fields that the flags want.
pub fn shown(site: Site, options: &Options) -> Site {
    let site = logged(site, options);
    match options.headers.is_empty() && !options.coi {
        true => site,
        false => Box::new(Fields::new(site, &options.headers, options.cors, options.coi)),
    }
}

/// With the access log of a format that has one, of all but what live reload asks, which nobody wants in it.
fn logged(site: Site, options: &Options) -> Site {
    let site: Arc<dyn Application> = Arc::from(site);
    let with_log = match options.format() {
        Format::Combined => AccessLog::combined(Arc::clone(&site), console::queue()),
        Format::Json => AccessLog::json(Arc::clone(&site), console::queue()),
        _ => return Box::new(site),
    };
    let reload = options.reload;
    Box::new(move |environ: &Environ, start_response: &mut StartResponse| {
        match reload && reload::is_own(environ.path_info()) {
            true => site.call(environ, start_response),
            false => with_log.call(environ, start_response),
        }
    })
}

/// A folder as the flags want it served, and its absolute path; an error that says what to do where it cannot be.
fn open(folder: &Path, options: &Options) -> io::Result<(PathBuf, Files)> {
    let wrong = |error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound if options.hosts.iter().any(String::is_empty) => {
                "it is not there; give a folder that is, and a name of this machine as --host=NAME"
            }
            io::ErrorKind::NotFound => "it is not there; give a folder that is",
            io::ErrorKind::PermissionDenied => "it may not be read; give it to this user, or give another folder",
            _ => return io::Error::new(error.kind(), format!("cannot serve {}: {error}", folder.display())),
        };
        io::Error::new(error.kind(), format!("cannot serve {}: {advice}", folder.display()))
    };
    // As it was named: where links lead may change while it is served.
    let files = if folder.is_file() { Files::file(folder) } else { Files::new(folder) };
    let mut files = files
        .map_err(wrong)?
        .listing(!options.no_list)
        .archive(true)
        .clean_urls(!options.no_clean)
        .hidden(options.dotfiles)
        .follow_symlinks(options.follow)
        .precompressed(options.gz)
        // Browsers ask each time and mostly hear 304: never a stale file.
        .cache_control("no-cache");
    if !options.error_pages.iter().any(|(status, _)| *status == 404) {
        files = files.error_page(404, "404.html");
    }
    for (extension, content_type) in &options.types {
        files = files.content_type(extension, content_type);
    }
    if !options.index.is_empty() {
        let names: Vec<&str> = options.index.iter().map(String::as_str).collect();
        files = files.index(&names);
    }
    Ok((std::path::absolute(folder)?, files))
}

/// What is about the folder at `/` alone: the pages that take the place of others, and uploads.
fn with_pages(mut files: Files, folder: &Path, options: &Options) -> io::Result<Files> {
    let found = |flag: &str, name: &str| {
        if folder.is_file() {
            let text = format!("{flag} is about a folder, and {} is a file; leave it out", folder.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let place = folder.display();
        let wrong = |text: String| io::Error::new(io::ErrorKind::NotFound, format!("{flag} {name}: {text}"));
        let page = std::fs::canonicalize(folder.join(name)).ok().filter(|page| page.is_file());
        let page = page.ok_or_else(|| wrong(format!("there is no such file in {place}; give its path from there")))?;
        match options.follow || page.starts_with(std::fs::canonicalize(folder)?) {
            true => Ok(()),
            false => Err(wrong(format!("it leads out of {place}; put it there, or allow that with --follow"))),
        }
    };
    if let Some(name) = &options.spa {
        found("--spa", name)?;
        files = files.spa(name);
    }
    if let Some(name) = &options.upload {
        let place = folder.join(name);
        // Every file would be refused, for nothing is written through a link.
        if !place.is_dir() || place.ancestors().take_while(|above| *above != folder).any(Path::is_symlink) {
            let text =
                format!("--upload: files are taken by a folder, behind no link, and {} is none", place.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
        }
        let own = std::fs::canonicalize(&place)?;
        if let Some((_, behind)) = options.behind.iter().find(|(_, behind)| behind.runs_files_of(&own)) {
            let text = format!(
                "--upload: {} would run what is put into {}; take files where nothing is run, as in --upload=inbox",
                behind.flag(),
                place.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let uploads = Uploads::new().below(name).room(room::left);
        files = files.uploads(options.upload_limit.into_iter().fold(uploads, Uploads::limit));
    }
    for (status, name) in &options.error_pages {
        found("--error-page", name)?;
        files = files.error_page(*status, name);
    }
    Ok(files)
}
