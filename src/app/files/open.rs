//! From names to an open file: links, kinds of files, and what each error of the system means to a client.
//!
//! Nothing but a regular file is ever read. A path is looked at before it is opened, and the open handle once more: the first spares devices
//! from being opened at all, the second decides. The open itself cannot wait (`O_NONBLOCK`): one FIFO in the tree stops most servers.
//!
//! Where the root is, is looked up for each request, because it may be behind a link that is put on another release (`ln -sfn r2 current`), or
//! have been made anew. A request keeps to the place it found, whatever is exchanged meanwhile.
//!
//! Links are served while they lead to something inside the root, by every name on the way. Who may write in the tree can still exchange a
//! name between the look and the open; `std` has no `openat`. A tree is the operator's, and so is who writes to it.

use std::fs::{self, DirEntry, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::app::os;
use crate::app::path::{bytes_of, is_hidden, is_plain, os_name};

/// Why there is no file to send.
#[derive(Debug)]
pub(super) enum Refused {
    /// 404: nothing there, or nothing that is served.
    NotFound,
    /// 403: the system does not let us read it.
    Forbidden,
    /// 503: no descriptor is free at the moment.
    Busy,
    /// This status and text, of what a client wants to store.
    Said(&'static str, &'static str),
    /// 500, with the reason in the log alone, or what the server knows of the content of the request.
    Failed(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        let is_one_of = |numbers: &[i32]| error.raw_os_error().is_some_and(|number| numbers.contains(&number));
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Refused::NotFound,
            // With NUL in a name; the mapping lets none pass.
            io::ErrorKind::InvalidInput => Refused::NotFound,
            io::ErrorKind::PermissionDenied => Refused::Forbidden,
            _ if is_one_of(os::NO_SUCH_FILE) => Refused::NotFound,
            _ if is_one_of(os::NO_DESCRIPTOR) => Refused::Busy,
            _ => Refused::Failed(error),
        }
    }
}

/// The directory that is served, by the name that it was given.
#[derive(Debug)]
pub(super) struct Served {
    /// Absolute; may lead over links, which lead elsewhere tomorrow.
    path: PathBuf,
    /// Whether links may lead out of it.
    pub(super) follow: bool,
    /// The one name in it that is served, where it is one. It may be a link to anywhere, since nothing but what was named can be asked for.
    pub(super) only: Option<Vec<u8>>,
}

/// Where the directory is, for one request.
#[derive(Debug)]
pub(super) struct Root {
    /// Without links.
    path: PathBuf,
    follow: bool,
    only: Option<Vec<u8>>,
}

/// Something below the root that is there.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) metadata: Metadata,
}

impl Served {
    pub(super) fn new(path: &Path) -> io::Result<Served> {
        if !path.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", path.display())));
        }
        Ok(Served { path: std::path::absolute(path)?, follow: false, only: None })
    }

    /// One file, in the directory it is in.
    pub(super) fn of_file(path: &Path) -> io::Result<Served> {
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{} {why}", path.display()));
        if !path.metadata()?.is_file() {
            return Err(wrong("is not a file"));
        }
        let path = std::path::absolute(path)?;
        let name = path.file_name().and_then(bytes_of).filter(|name| is_plain(name, cfg!(windows)));
        let (Some(name), Some(directory)) = (name, path.parent()) else {
            return Err(wrong("has a name that no URL has"));
        };
        Ok(Served { path: directory.to_owned(), follow: false, only: Some(name.to_vec()) })
    }

    /// Where it is now.
    pub(super) fn root(&self) -> Result<Root, Refused> {
        let only = self.only.clone();
        Ok(Root { path: self.path.canonicalize()?, follow: self.follow || only.is_some(), only })
    }
}

impl Root {
    /// What the names lead to. The directory itself stands for the only file in it.
    pub(super) fn locate(&self, names: &[&[u8]]) -> Result<Place, Refused> {
        if self.only.as_ref().is_some_and(|only| !names.is_empty() && names != [only.as_slice()]) {
            return Err(Refused::NotFound);
        }
        let mut path = self.path.clone();
        let mut last = None;
        let mut is_linked = false;
        for name in names {
            path.push(os_name(name).ok_or(Refused::NotFound)?);
            if !self.follow && !is_linked {
                let metadata = fs::symlink_metadata(&path)?;
                is_linked = metadata.is_symlink();
                last = Some(metadata);
            }
        }
        match last {
            Some(_) if is_linked => self.resolve(&path),
            Some(metadata) => Ok(Place { path, metadata }),
            None => fs::metadata(&path).map(|metadata| Place { path, metadata }).map_err(Refused::from),
        }
    }

    /// The directory that the names lead to without a link on the way.
    pub(super) fn locate_directory(&self, names: &[&[u8]]) -> Result<PathBuf, Refused> {
        let mut path = self.path.clone();
        for name in names {
            path.push(os_name(name).ok_or(Refused::NotFound)?);
            if !fs::symlink_metadata(&path)?.is_dir() {
                return Err(Refused::NotFound);
            }
        }
        Ok(path)
    }

    /// What an entry of a directory below the root is, or what a link there leads to.
    pub(super) fn look_at(&self, entry: &DirEntry) -> Result<Metadata, Refused> {
        let metadata = entry.metadata()?;
        match (metadata.is_symlink(), self.follow) {
            (false, _) => Ok(metadata),
            (true, true) => Ok(fs::metadata(entry.path())?),
            (true, false) => Ok(self.resolve(&entry.path())?.metadata),
        }
    }

    /// Where links lead, if that is inside.
    fn resolve(&self, path: &Path) -> Result<Place, Refused> {
        let path = path.canonicalize()?;
        if !path.starts_with(&self.path) {
            return Err(Refused::NotFound);
        }
        let metadata = fs::symlink_metadata(&path)?;
        Ok(Place { path, metadata })
    }
}

/// The entries of a directory whose names a path can have, with these names; what has gone meanwhile is not among them.
pub(super) fn entries(path: &Path, hidden: bool) -> io::Result<impl Iterator<Item = (DirEntry, Vec<u8>)> + use<>> {
    Ok(fs::read_dir(path)?.flatten().filter_map(move |entry| {
        let name = bytes_of(&entry.file_name())?.to_vec();
        let is_open = is_plain(&name, cfg!(windows)) && (hidden || !is_hidden(&name));
        is_open.then_some((entry, name))
    }))
}

/// Opens a regular file; gives what the handle says of it.
pub(super) fn open(place: &Place) -> Result<(File, Metadata), Refused> {
    if !place.metadata.is_file() {
        return Err(Refused::NotFound);
    }
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, os::OPEN_FLAGS);
    let file = options.open(&place.path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(Refused::NotFound) }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_that_took_the_place_of_a_file_after_the_look_is_refused_at_once() {
        let directory = std::env::temp_dir().join(format!("doorway-open-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        let (path, fifo) = (directory.join("file"), directory.join("fifo"));
        fs::write(&path, "x").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let metadata = fs::metadata(&path).unwrap();
        // The look said a file. Without O_NONBLOCK the open would wait for a writer that never comes.
        let exchanged = Place { path: fifo, metadata };
        assert!(matches!(open(&exchanged), Err(Refused::NotFound)));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn every_error_of_the_system_has_its_answer() {
        use io::ErrorKind;
        let refused = |number: i32| Refused::from(io::Error::from_raw_os_error(number));
        for number in os::NO_SUCH_FILE {
            assert!(matches!(refused(*number), Refused::NotFound), "{number}");
        }
        for number in os::NO_DESCRIPTOR {
            assert!(matches!(refused(*number), Refused::Busy), "{number}");
        }
        for (kind, expected) in [
            (ErrorKind::NotFound, "NotFound"),
            (ErrorKind::NotADirectory, "NotFound"),
            (ErrorKind::PermissionDenied, "Forbidden"),
        ] {
            assert_eq!(format!("{:?}", Refused::from(io::Error::from(kind))), expected);
        }
        assert!(matches!(Refused::from(io::Error::other("torn")), Refused::Failed(_)));
        // EIO: nobody's fault and nobody's business.
        assert!(matches!(refused(5), Refused::Failed(_)));
    }
}
