//! Which type a file has: by the end of its name, and by its first bytes where that says too little.
//!
//! The table is nearly all there is: the registry of the system is not asked, because on many machines it calls JavaScript `text/plain`, and a
//! browser runs no module then. What is text has its charset said, since a browser would guess otherwise. Sources and notes are plain text,
//! whatever more special type they have been given, because a browser shows that and downloads the rest (`text/csv`, `text/calendar`).
//!
//! The first bytes are looked at for a name without an end (`README`, `Makefile`, `.gitignore`) and for `.ts`, which is TypeScript or a transport
//! stream of video. They decide between two harmless types and never make markup or a script of anything.

/// The type of whatever the table does not name.
const UNKNOWN: &str = "application/octet-stream";

/// The type of what is shown as it is.
const TEXT: &str = "text/plain; charset=utf-8";

/// So many bytes at the beginning of a file are looked at.
pub(super) const LOOK: usize = 1024;

/// Ends of names of what is shown as it is, in lower case, sorted.
const SHOWN: &[&str] = &[
    "adoc",
    "asc",
    "asm",
    "bash",
    "bat",
    "bib",
    "c",
    "cc",
    "cfg",
    "clj",
    "cmake",
    "conf",
    "cpp",
    "cs",
    "csv",
    "cxx",
    "dart",
    "diff",
    "dockerignore",
    "editorconfig",
    "el",
    "env",
    "erl",
    "ex",
    "exs",
    "f90",
    "fish",
    "gitattributes",
    "gitignore",
    "go",
    "gradle",
    "graphql",
    "h",
    "hh",
    "hpp",
    "hs",
    "hxx",
    "ics",
    "ini",
    "java",
    "jl",
    "jsx",
    "kt",
    "less",
    "lisp",
    "lock",
    "log",
    "lua",
    "mk",
    "ml",
    "mm",
    "nix",
    "npmrc",
    "org",
    "patch",
    "php",
    "pl",
    "properties",
    "proto",
    "ps1",
    "py",
    "rb",
    "rs",
    "rst",
    "sass",
    "scala",
    "scss",
    "sh",
    "sql",
    "srt",
    "svelte",
    "swift",
    "tex",
    "text",
    "toml",
    "ts",
    "tsv",
    "tsx",
    "txt",
    "vcf",
    "vim",
    "vue",
    "yaml",
    "yml",
    "zig",
    "zsh",
];

/// Ends of other names in lower case, sorted, with their types.
const TYPES: &[(&str, &str)] = &[
    ("3gp", "video/3gpp"),
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apk", "application/vnd.android.package-archive"),
    ("apng", "image/apng"),
    ("atom", "application/atom+xml; charset=utf-8"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("br", "application/x-brotli"),
    ("bz2", "application/x-bzip2"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("geojson", "application/geo+json; charset=utf-8"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json; charset=utf-8"),
    ("gz", "application/gzip"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jar", "application/java-archive"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json; charset=utf-8"),
    ("jsonld", "application/ld+json; charset=utf-8"),
    ("jxl", "image/jxl"),
    ("ktx2", "image/ktx2"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json; charset=utf-8"),
    ("markdown", "text/markdown; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mka", "audio/matroska"),
    ("mkv", "video/matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("mpeg", "video/mpeg"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("parquet", "application/vnd.apache.parquet"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("rss", "application/rss+xml; charset=utf-8"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml; charset=utf-8"),
    ("svgz", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("ttf", "font/ttf"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json; charset=utf-8"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml; charset=utf-8"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "application/xml; charset=utf-8"),
    ("xz", "application/x-xz"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// The types of files: the table, and before it what the deployer says.
#[derive(Debug, Default)]
pub(super) struct Types {
    own: Vec<(String, String)>,
}

impl Types {
    /// Has files that end in `.extension` be of a type.
    pub(super) fn add(&mut self, extension: &str, content_type: &str) {
        self.own.push((extension.trim_start_matches('.').to_ascii_lowercase(), content_type.to_owned()));
    }

    /// The type of a file of this name, whose first [`LOOK`] bytes are read where they are asked for.
    pub(super) fn of(&self, name: &[u8], first: impl FnOnce() -> Vec<u8>) -> &str {
        let extension = extension(name);
        if let Some((_, own)) = self.own.iter().rev().find(|(own, _)| own.as_bytes() == extension) {
            return own;
        }
        match found(&extension) {
            Some(_) if extension == b"ts" => {
                if is_transport_stream(&first()) {
                    "video/mp2t"
                } else {
                    TEXT
                }
            }
            Some(content_type) => content_type,
            None if is_bare(name) && is_text(&first()) => TEXT,
            None => UNKNOWN,
        }
    }
}

/// Whether the name is that of something that pages load, as `main.js` and `logo.png` are, and `1.1` and `jane@x.org` are not.
pub(super) fn is_part_of_a_page(name: &[u8]) -> bool {
    found(&extension(name)).is_some_and(|content_type| content_type != TEXT && !content_type.starts_with("text/html"))
}

/// What stands behind the last point, in lower case.
fn extension(name: &[u8]) -> Vec<u8> {
    let mut parts = name.rsplitn(2, |byte| *byte == b'.');
    match (parts.next(), parts.next()) {
        (Some(extension), Some(_)) => extension.to_ascii_lowercase(),
        _ => Vec::new(),
    }
}

/// Whether a name has no end but what begins it: `Makefile`, `.profile`.
fn is_bare(name: &[u8]) -> bool {
    !name.strip_prefix(b".").unwrap_or(name).contains(&b'.')
}

fn found(extension: &[u8]) -> Option<&'static str> {
    if SHOWN.binary_search_by(|other| other.as_bytes().cmp(extension)).is_ok() {
        return Some(TEXT);
    }
    let place = TYPES.binary_search_by(|(other, _)| other.as_bytes().cmp(extension)).ok()?;
    TYPES.get(place).map(|(_, content_type)| *content_type)
}

/// UTF-8 without controls other than those of text; the last character may be cut.
fn is_text(first: &[u8]) -> bool {
    let is_control =
        |byte: &u8| (*byte < 0x20 && !matches!(*byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b)) || *byte == 0x7f;
    let is_utf_8 = std::str::from_utf8(first).map_or_else(|error| error.error_len().is_none(), |_| true);
    is_utf_8 && !first.iter().any(is_control)
}

/// Packets of 188 bytes, each of which begins with `G` (ISO/IEC 13818-1 section 2.4.3.2).
fn is_transport_stream(first: &[u8]) -> bool {
    let mut starts = first.iter().step_by(188);
    first.len() > 188 && starts.all(|byte| *byte == b'G')
}

#[cfg(test)]
mod tests {
    use super::{LOOK, SHOWN, TEXT, TYPES, Types, UNKNOWN, is_part_of_a_page};

    fn type_of(name: &str) -> String {
        Types::default().of(name.as_bytes(), Vec::new).to_owned()
    }

    fn type_with(name: &str, first: &[u8]) -> String {
        Types::default().of(name.as_bytes(), || first.to_vec()).to_owned()
    }

    #[test]
    fn the_table_is_sorted_and_every_entry_is_found_in_any_case() {
        assert!(TYPES.windows(2).all(|pair| pair[0].0 < pair[1].0) && SHOWN.windows(2).all(|pair| pair[0] < pair[1]));
        for (extension, content_type) in TYPES.iter().copied().chain(SHOWN.iter().map(|extension| (*extension, TEXT))) {
            assert_eq!(type_of(&format!("a.b.{extension}")), content_type);
            assert_eq!(type_of(&format!("A.{}", extension.to_ascii_uppercase())), content_type);
        }
    }

    #[test]
    fn what_browsers_refuse_under_a_wrong_type_has_the_right_one() {
        for (name, expected) in [
            ("module.mjs", "text/javascript; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.js.map", "application/json; charset=utf-8"),
            ("module.wasm", "application/wasm"),
            ("style.css", "text/css; charset=utf-8"),
            ("site.webmanifest", "application/manifest+json; charset=utf-8"),
            ("font.woff2", "font/woff2"),
            ("image.svg", "image/svg+xml; charset=utf-8"),
        ] {
            assert_eq!(type_of(name), expected, "{name}");
        }
    }

    #[test]
    fn text_has_a_charset_and_nothing_but_text_has_one() {
        for (extension, content_type) in TYPES {
            let is_text = content_type.starts_with("text/")
                || content_type.contains("json")
                || content_type.contains("+xml")
                || *extension == "xml";
            let has = content_type.ends_with("; charset=utf-8");
            assert_eq!(has, is_text && !matches!(*extension, "svgz" | "mpd"), "{extension}");
        }
    }

    #[test]
    fn what_people_write_is_shown_and_not_downloaded() {
        let all = "toml yaml yml csv tsv go rs ts tsx jsx java kt c h cc cpp hpp py rb php pl lua sh bat sql scss less vue svelte \
                   diff patch lock cfg conf ini env log srt ics vcf tex";
        for extension in all.split_whitespace() {
            assert_eq!(type_of(&format!("a.{extension}")), TEXT, "{extension}");
        }
        for name in ["README", "LICENSE", "Makefile", "Dockerfile", ".profile", "\u{e4}"] {
            assert_eq!(type_with(name, "all:\n\techo caf\u{e9}\r\n".as_bytes()), TEXT, "{name}");
        }
        let cut = "\u{20ac}".repeat(400);
        assert_eq!(type_with("README", &cut.as_bytes()[..LOOK]), TEXT, "a character is cut");
        for binary in [&b"\x7fELF\x02"[..], b"a\0b", b"caf\xe9 au lait", b"\xff\xfea\0", b"\x01"] {
            assert_eq!(type_with("program", binary), UNKNOWN, "{}", binary.escape_ascii());
        }
        assert_eq!(type_with("a.unheard", b"text"), UNKNOWN);
    }

    #[test]
    fn ts_is_text_unless_it_begins_as_a_transport_stream() {
        let mut stream = vec![0xff; LOOK];
        (0..LOOK).step_by(188).for_each(|at| stream[at] = b'G');
        assert_eq!(type_with("part.ts", &stream), "video/mp2t");
        assert_eq!(type_with("part.ts", &stream[..189]), "video/mp2t");
        for text in [&b"Get()"[..], b"", b"G", &[b"G", [b' '; 400].as_slice()].concat()] {
            assert_eq!(type_with("app.ts", text), TEXT);
        }
        assert_eq!(type_with("app.tsx", &stream), TEXT);
    }

    #[test]
    fn what_the_deployer_says_stands_before_the_table() {
        let mut types = Types::default();
        types.add("glb", "application/x-own");
        types.add(".HTML", "text/plain");
        types.add("foo", "one/two");
        types.add("foo", "three/four");
        for (name, expected) in [
            ("a.GLB", "application/x-own"),
            ("a.html", "text/plain"),
            ("a.foo", "three/four"),
            ("a.png", "image/png"),
            ("foo", UNKNOWN),
        ] {
            assert_eq!(types.of(name.as_bytes(), || vec![0]), expected, "{name}");
        }
    }

    #[test]
    fn a_script_is_a_part_of_a_page_and_a_version_or_an_address_is_none() {
        for name in ["main.js", "a.CSS", "logo.png", "data.json", "a.wasm", "film.mp4", "favicon.ico", "a.js.map"] {
            assert!(is_part_of_a_page(name.as_bytes()), "{name}");
        }
        for name in ["1.1", "jane@x.org", "jane@x.rs", "v2.", ".", "", "users", "a.html", "main.ts"] {
            assert!(!is_part_of_a_page(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_without_a_known_end_are_bytes() {
        for name in ["", ".", "a", "a.", "html", "a.unheard", "a.html.", "a.\u{fc}"] {
            assert_eq!(type_with(name, b"\0"), UNKNOWN, "{name}");
        }
        assert_eq!(type_of(".html"), "text/html; charset=utf-8");
    }
}
