//! What is in a directory: as a page for people, and as JSON for programs.
//!
//! The names are nobody's promise: a file can be called `<script>`, `javascript:alert(1)`, `#top` or something that is no text. So each is
//! percent-encoded in a link that begins with `./`, and escaped as text; the policy of the page lets no script run even so. Listed
//! is exactly what can be asked for: what is hidden, leads outside or is no file is left out. The page needs no script, and has one of a few
//! lines, which the policy names by its digest.

use std::fmt::Write;
use std::fs::Metadata;
use std::io;
use std::time::UNIX_EPOCH;

use super::open::{self, Place, Refused, Root};
use crate::gateway::Environ;
use crate::http::date::civil;
use crate::web::weights::weight;
use crate::web::{Response, content, escape_html, percent_encode};

mod json;
mod page;

pub(super) use page::missing;

/// So many entries are listed at most; of more, those that the system names first.
pub(super) const MOST: usize = 10_000;

/// So much of a text that explains a directory is shown below it.
const MOST_OF_TEXT: u64 = 64 * 1024;

/// What a directory is explained by, the first that is there.
const TEXTS: [&[u8]; 2] = [b"README.md", b"README.txt"];

/// What a listing says of one file or directory.
struct Entry {
    name: Vec<u8>,
    is_directory: bool,
    size: u64,
    /// Seconds since 1970.
    modified: Option<u64>,
}

/// The entries of a directory: directories first, then in the order that was asked for.
struct Entries {
    all: Vec<Entry>,
    /// Whether there are more.
    is_cut: bool,
}

/// What a listing is put in order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Name,
    Size,
    Date,
}

/// An order: `?sort=size&order=desc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    key: Key,
    is_descending: bool,
}

impl Order {
    /// What the query asks for; by name where it asks for nothing that is known.
    fn of(environ: &Environ) -> Order {
        let key = match environ.query_value("sort").as_deref() {
            Some("size") => Key::Size,
            Some("date") => Key::Date,
            _ => Key::Name,
        };
        Order { key, is_descending: environ.query_value("order").as_deref() == Some("desc") }
    }

    fn sort(self, entries: &mut [Entry]) {
        entries.sort_by_cached_key(|entry| {
            let rank = match self.key {
                Key::Name => None,
                Key::Size => Some(entry.size),
                Key::Date => entry.modified,
            };
            // Directories come first, and so last where all is turned round.
            let group = entry.is_directory == self.is_descending;
            (group, rank, folded(&entry.name), entry.name.clone())
        });
        if self.is_descending {
            entries.reverse();
        }
    }
}

/// So many entries stand on one page of a listing. A browser lays out a thousand in a tenth of a second, and ten thousand in some.
const PAGE: usize = 1_000;

/// What is asked for and where, beside the entries themselves.
struct Asked<'call> {
    mount: &'call [u8],
    names: &'call [&'call [u8]],
    order: Order,
    /// What the names have to contain.
    filter: &'call str,
    /// Which page of them, from 1.
    page: usize,
    options: Options,
    /// The name and the beginning of the text that explains the directory.
    text: Option<(String, String)>,
}

/// What of a listing the deployer chooses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) is_on: bool,
    /// Whether a directory can be had as one archive.
    pub(super) has_archive: bool,
    /// Whether files may be sent to it.
    pub(super) takes_files: bool,
}

impl Entry {
    fn new(name: Vec<u8>, metadata: &Metadata) -> Entry {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Entry {
            name,
            is_directory: metadata.is_dir(),
            size: metadata.len(),
            modified: since.map(|since| since.as_secs()),
        }
    }

    /// The address of the entry, seen from its directory. Without `./` a name with a colon would be a scheme.
    fn href(&self) -> String {
        let mut href = String::from("./");
        percent_encode(&self.name, b"", &mut href);
        if self.is_directory {
            href.push('/');
        }
        href
    }

    /// The name as a reader may see it: without characters that turn the direction of text or show as nothing.
    fn shown(&self) -> String {
        shown(&self.name)
    }

    /// `2026-11-21` and `03:51:07`, in GMT.
    fn date_and_time(&self) -> Option<(String, String)> {
        let at = civil(self.modified?);
        let date = format!("{:04}-{:02}-{:02}", at.year, at.month, at.day);
        Some((date, format!("{:02}:{:02}:{:02}", at.hour, at.minute, at.second)))
    }
}

/// Bytes as text in which nothing is invisible or runs backwards.
fn shown(name: &[u8]) -> String {
    let is_plain = |c: &char| {
        !c.is_control()
            && !matches!(*c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let text = String::from_utf8_lossy(name);
    text.chars().map(|c| if is_plain(&c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Bytes as text without a difference between large and small letters.
fn folded(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().flat_map(char::to_lowercase).collect()
}

/// The listing of a directory, in the form that the client prefers.
pub(super) fn answer(
    root: &Root,
    place: &Place,
    names: &[&[u8]],
    hidden: bool,
    options: Options,
    environ: &Environ,
) -> Result<Response, Refused> {
    let mut entries = read(root, place, hidden, MOST)?;
    let filter = folded(environ.query_value("filter").unwrap_or_default().as_bytes());
    entries.all.retain(|entry| folded(&entry.name).contains(&filter));
    let order = Order::of(environ);
    order.sort(&mut entries.all);
    let accept = environ.header_bytes("accept").unwrap_or_default();
    // By name: programs that ask for JSON take anything else as well (`application/json, text/plain, */*`), and curl just anything.
    let json = weight(accept, &["application/json"]).unwrap_or_default();
    let html = weight(accept, &["text/html"]).unwrap_or_default();
    let response = if json > html {
        Response::json(json::write(&entries))
    } else {
        let text = read_text(root, names, &entries);
        let page = environ.query_value("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        let mount = environ.script_name();
        page::answer(&entries, &Asked { mount, names, order, filter: &filter, page, options, text })
    };
    Ok(response.with_header("Vary", "Accept").with_header("X-Content-Type-Options", "nosniff"))
}

fn read(root: &Root, place: &Place, hidden: bool, most: usize) -> io::Result<Entries> {
    let mut entries = Entries { all: Vec::new(), is_cut: false };
    for (entry, name) in open::entries(&place.path, hidden)? {
        // What cannot be looked at is not listed.
        let Ok(metadata) = root.look_at(&entry) else { continue };
        if !metadata.is_dir() && !metadata.is_file() {
            continue;
        }
        if entries.all.len() == most {
            entries.is_cut = true;
            break;
        }
        entries.all.push(Entry::new(name, &metadata));
    }
    Ok(entries)
}

/// The beginning of the text that explains a directory, where one is listed and can be read.
fn read_text(root: &Root, names: &[&[u8]], entries: &Entries) -> Option<(String, String)> {
    let is_text = |entry: &&Entry, name: &[u8]| !entry.is_directory && entry.name.eq_ignore_ascii_case(name);
    let entry = TEXTS.iter().find_map(|name| entries.all.iter().find(|entry| is_text(entry, name)))?;
    let place = root.locate(&[names, &[entry.name.as_slice()]].concat()).ok()?;
    let (mut file, _) = open::open(&place).ok()?;
    let mut text = Vec::new();
    content::read(&mut file, MOST_OF_TEXT, &mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Some((entry.shown(), if entry.size > MOST_OF_TEXT { text + "\n…" } else { text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], is_directory: bool) -> Entry {
        Entry { name: name.to_vec(), is_directory, size: 1, modified: Some(784_111_777) }
    }

    #[test]
    fn a_link_stays_in_its_directory_whatever_the_name() {
        for (name, href) in [
            (&b"javascript:alert(1)"[..], "./javascript%3Aalert%281%29"),
            (b"//evil", "./%2F%2Fevil"),
            (b"#a?b=c%20", "./%23a%3Fb%3Dc%2520"),
            (b"\"><script>", "./%22%3E%3Cscript%3E"),
            (b"\xff\xe4", "./%FF%E4"),
            ("caf\u{e9} \u{202e}".as_bytes(), "./caf%C3%A9%20%E2%80%AE"),
        ] {
            assert_eq!(entry(name, false).href(), href);
            assert_eq!(entry(name, true).href(), format!("{href}/"));
        }
    }

    #[test]
    fn a_name_is_shown_without_what_deceives_a_reader() {
        assert_eq!(shown("gpj\u{202e}.exe".as_bytes()), "gpj\u{fffd}.exe");
        assert_eq!(shown("a\u{85}b\u{200b}\u{feff}".as_bytes()), "a\u{fffd}b\u{fffd}\u{fffd}");
        assert_eq!(shown(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(shown("\u{5e9}\u{5dc} \u{1F980}".as_bytes()), "\u{5e9}\u{5dc} \u{1F980}");
    }

    #[test]
    fn a_listing_ends_at_so_many_names_and_knows_it() {
        let directory = std::env::temp_dir().join(format!("doorway-listing-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).unwrap();
        for name in ["a", "b", "c", ".d"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        let root = crate::app::files::open::Served::new(&directory).unwrap().root().unwrap();
        let place = root.locate(&[]).unwrap();
        let cut = |most| read(&root, &place, false, most).map(|entries| (entries.all.len(), entries.is_cut)).unwrap();
        assert_eq!((cut(2), cut(3), cut(4)), ((2, true), (3, false), (3, false)));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn directories_come_first_in_any_order_and_equals_stay_by_name() {
        let entry = |name: &str, is_directory, size, modified| Entry {
            name: name.as_bytes().to_vec(),
            is_directory,
            size,
            modified: Some(modified),
        };
        let order = |query: &str| {
            let mut entries = [
                entry("b", false, 2, 30),
                entry("A", false, 3, 10),
                entry("c", false, 2, 20),
                entry("z", true, 9, 5),
                entry("y", true, 1, 6),
            ];
            Order::of(&crate::testing::Request::get(&format!("/?{query}")).environ()).sort(&mut entries);
            entries.map(|entry| String::from_utf8(entry.name).unwrap()).concat()
        };
        for (query, expected) in [
            ("", "yzAbc"),
            ("sort=name", "yzAbc"),
            ("sort=name&order=desc", "zycbA"),
            ("sort=size", "yzbcA"),
            ("sort=size&order=desc", "zyAcb"),
            ("sort=date&order=asc", "zyAcb"),
            ("sort=date&order=desc", "yzbcA"),
            ("sort=%00&order=x", "yzAbc"),
        ] {
            assert_eq!(order(query), expected, "{query}");
        }
    }

    #[test]
    fn dates_are_those_of_gmt() {
        assert_eq!(entry(b"a", false).date_and_time(), Some(("1994-11-06".into(), "08:49:37".into())));
    }
}
