//! A directory as one ZIP file, made while it is sent.
//!
//! APPNOTE.TXT 6.3 (ISO/IEC 21320-1 but for its limit of 4 GiB): entries are stored as they are, names are UTF-8, sizes and places beyond 32 bits are
//! those of ZIP64. Nothing is written to a disk, and no more than one block of one file is held, beside the names of directories that wait and
//! what the directory at the end says of each entry that has been sent, [`MOST`] at most: whoever asks for many archives and takes nothing
//! of them costs little memory. So entries stand in the order in which the system names them, each directory before what is in it.
//!
//! What can be asked for is in it: nothing hidden, no name that no path has. Links are left out, so that there is no way out and no circle; what is
//! neither file nor directory is never opened; what cannot be read is left out, and the log says how much, unless no descriptor is free: then the
//! archive is cut. A file that grows while it is
//! read ends where it ended when it was looked at; one that shrinks is as long as it was found to be.

mod record;

use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::time::UNIX_EPOCH;

use self::record::{Crc, Record};
use super::open::{self, Place, Refused};
use crate::app::path::bytes_of;
use crate::gateway::{Block, Body, Environ, Errors};
use crate::web::{Response, content, percent_encode};

/// So many entries are in an archive at most. Beyond, it is cut, and so shows as incomplete: better than an archive that looks whole.
const MOST: usize = 100_000;

/// How much of a file goes into one block. A file that fits is read before its head is written, which then says all there is to say.
const BLOCK: usize = 64 * 1024;

/// The archive of a directory, under the name of the directory. One that cannot be read is found out while there is another answer.
pub(super) fn answer(place: Place, hidden: bool, environ: &Environ) -> Result<Response, Refused> {
    drop(fs::read_dir(&place.path)?);
    let name = place.path.file_name().and_then(bytes_of).unwrap_or(b"files");
    let name = String::from_utf8_lossy(name).into_owned();
    // RFC 6266 section 4.3: for those who do not read the second form, which says it exactly.
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-. ".contains(c) { c } else { '_' }).collect();
    let mut exact = String::new();
    percent_encode(name.as_bytes(), b"", &mut exact);
    let archive = Archive {
        hidden,
        errors: environ.errors().clone(),
        directories: vec![Found { place, name: format!("{name}/") }],
        entries: Box::new(std::iter::empty()),
        within: String::new(),
        open: None,
        records: Vec::new(),
        found: 1,
        left_out: 0,
        position: 0,
        ending: Ending::NotYet,
    };
    let response = Response::new("200 OK", Body::blocks(archive))
        .with_header("Content-Type", "application/zip")
        .with_header(
            "Content-Disposition",
            format!("attachment; filename=\"{plain}.zip\"; filename*=UTF-8''{exact}.zip"),
        )
        .with_header("X-Content-Type-Options", "nosniff");
    Ok(response)
}

/// Something that will be an entry.
struct Found {
    place: Place,
    /// As it stands in the archive; a directory has a slash at its end.
    name: String,
}

/// A file of which a part has been sent.
struct Open {
    file: io::Take<File>,
    record: Record,
    crc: Crc,
}

/// How far the directory at the end is.
enum Ending {
    NotYet,
    /// Where it begins, and how many records have been sent.
    Records(u64, usize),
    Sent,
}

/// The blocks of an archive.
struct Archive {
    hidden: bool,
    errors: Errors,
    /// Those that have not been read.
    directories: Vec<Found>,
    /// What is still in the one that is being read, and its name.
    entries: Box<dyn Iterator<Item = (DirEntry, Vec<u8>)> + Send>,
    within: String,
    open: Option<Open>,
    /// What has been sent.
    records: Vec<Record>,
    found: usize,
    left_out: usize,
    /// Bytes that have been sent.
    position: u64,
    ending: Ending,
}

impl Archive {
    /// The next block, which may be empty; `None` behind the last.
    fn step(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(open) = self.open.take() {
            return self.go_on(open).map(Some);
        }
        if let Some((entry, name)) = self.entries.next() {
            let name = format!("{}{}", self.within, String::from_utf8_lossy(&name));
            return self.take(&entry, name).map(Some);
        }
        match self.directories.pop() {
            Some(found) => self.read_directory(&found).map(Some),
            None => Ok(self.end()),
        }
    }

    /// Nothing of it is in the archive. Where it is the server that is short of something, there is none.
    fn leave_out(&mut self, refused: Refused) -> io::Result<Vec<u8>> {
        if let Refused::Busy = refused {
            return Err(io::Error::other("no descriptor is free"));
        }
        self.left_out += 1;
        Ok(Vec::new())
    }

    /// The entry of a directory, which is read from here on.
    fn read_directory(&mut self, found: &Found) -> io::Result<Vec<u8>> {
        let entries = match open::entries(&found.place.path, self.hidden) {
            Ok(entries) => entries,
            Err(error) => return self.leave_out(error.into()),
        };
        (self.entries, self.within) = (Box::new(entries), found.name.clone());
        let record = self.record(found, 0);
        let head = record.local_head();
        self.records.push(record);
        Ok(head)
    }

    /// What is in a directory: a file begins, a directory waits.
    fn take(&mut self, entry: &DirEntry, mut name: String) -> io::Result<Vec<u8>> {
        // Of the entry itself: a link is neither file nor directory.
        let metadata = entry.metadata();
        if metadata.as_ref().is_ok_and(|metadata| !metadata.is_dir() && !metadata.is_file()) {
            return Ok(Vec::new());
        }
        self.found += 1;
        if self.found > MOST {
            return Err(io::Error::other(format!("an archive has {MOST} entries at most, and there are more")));
        }
        let Ok(metadata) = metadata else { return self.leave_out(Refused::NotFound) };
        let is_directory = metadata.is_dir();
        name.push_str(if is_directory { "/" } else { "" });
        let found = Found { place: Place { path: entry.path(), metadata }, name };
        if is_directory {
            self.directories.push(found);
            return Ok(Vec::new());
        }
        self.begin(&found).or_else(|refused| self.leave_out(refused))
    }

    /// The head of a file, and all of it where that is one block.
    fn begin(&mut self, found: &Found) -> Result<Vec<u8>, Refused> {
        let (file, metadata) = open::open(&found.place)?;
        let (size, mut crc) = (metadata.len(), Crc::new());
        let mut record = self.record(found, size);
        let mut file = file.take(size);
        if size <= BLOCK as u64 {
            let mut content = Vec::new();
            content::read(&mut file, size, &mut content)?;
            crc.add(&content);
            record.complete(content.len() as u64, crc);
            let mut block = record.local_head();
            block.extend_from_slice(&content);
            self.records.push(record);
            return Ok(block);
        }
        let head = record.local_head();
        self.open = Some(Open { file, record, crc });
        Ok(head)
    }

    /// The next block of a file; behind the last what it came to.
    fn go_on(&mut self, mut open: Open) -> io::Result<Vec<u8>> {
        let mut block = Vec::with_capacity(BLOCK);
        // An error here is one in the middle of an entry, which nothing but a cut can show.
        content::read(&mut open.file, BLOCK as u64, &mut block)?;
        open.crc.add(&block);
        open.record.sent += block.len() as u64;
        if block.is_empty() {
            let Open { mut record, crc, .. } = open;
            record.complete(record.sent, crc);
            block = record.descriptor();
            self.records.push(record);
        } else {
            self.open = Some(open);
        }
        Ok(block)
    }

    fn record(&self, found: &Found, size: u64) -> Record {
        let since = found.place.metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = since.map_or(0, |since| since.as_secs());
        Record::new(found.name.clone(), modified, self.position, size, size > BLOCK as u64)
    }

    /// The directory at the end, block by block, and what stands behind it.
    fn end(&mut self) -> Option<Vec<u8>> {
        let (begin, sent) = match self.ending {
            Ending::NotYet => (self.position, 0),
            Ending::Records(begin, sent) => (begin, sent),
            Ending::Sent => return None,
        };
        let mut block = Vec::new();
        let mut next = sent;
        while let Some(record) = self.records.get(next).filter(|_| block.len() < BLOCK) {
            record.push_central_head(&mut block);
            next += 1;
        }
        self.ending = Ending::Records(begin, next);
        if next == self.records.len() {
            let end = self.position + block.len() as u64;
            record::push_end(next as u64, begin, end, &mut block);
            self.ending = Ending::Sent;
            if self.left_out > 0 {
                let count = self.left_out;
                self.errors.write(&format!(
                    "{count} of {} entries could not be read and are not in the archive\n",
                    self.found
                ));
            }
        }
        Some(block)
    }
}

impl Iterator for Archive {
    type Item = io::Result<Block>;

    fn next(&mut self) -> Option<io::Result<Block>> {
        loop {
            match self.step().transpose()? {
                Ok(block) if block.is_empty() => {}
                Ok(block) => {
                    self.position += block.len() as u64;
                    return Some(Ok(block.into()));
                }
                Err(error) => {
                    self.ending = Ending::Sent;
                    (self.entries, self.directories, self.open) = (Box::new(std::iter::empty()), Vec::new(), None);
                    return Some(Err(error));
                }
            }
        }
    }
}
