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

/// Ends of names of what is shown as it is, in lower case.
const SHOWN: &str = "adoc asc asm bash bat bib c cc cfg clj cmake conf cpp cs csv cxx dart diff dockerignore editorconfig el env \
    erl ex exs f90 fish gitattributes gitignore go gradle graphql h hh hpp hs hxx ics ini java jl jsx kt less \
    lisp lock log lua mk ml mm nix npmrc org patch php pl properties proto ps1 py rb rs rst sass scala scss sh \
    sql srt svelte swift tex text toml ts tsv tsx txt vcf vim vue yaml yml zig zsh";

/// Other types, each with the ends of names that have it. One text: as a table of pairs it would be five times as large.
const TYPES: &str = "application/atom+xml; charset=utf-8|atom, application/dash+xml|mpd, application/epub+zip|epub, \
    application/geo+json; charset=utf-8|geojson, application/gzip|gz, application/java-archive|jar, \
    application/json; charset=utf-8|json map, application/ld+json; charset=utf-8|jsonld, \
    application/manifest+json; charset=utf-8|webmanifest, application/msword|doc, application/pdf|pdf, \
    application/rss+xml; charset=utf-8|rss, application/rtf|rtf, application/vnd.android.package-archive|apk, \
    application/vnd.apache.parquet|parquet, application/vnd.apple.mpegurl|m3u8, application/vnd.ms-excel|xls, \
    application/vnd.ms-fontobject|eot, application/vnd.ms-powerpoint|ppt, \
    application/vnd.oasis.opendocument.presentation|odp, application/vnd.oasis.opendocument.spreadsheet|ods, \
    application/vnd.oasis.opendocument.text|odt, \
    application/vnd.openxmlformats-officedocument.presentationml.presentation|pptx, \
    application/vnd.openxmlformats-officedocument.spreadsheetml.sheet|xlsx, \
    application/vnd.openxmlformats-officedocument.wordprocessingml.document|docx, application/wasm|wasm, \
    application/x-7z-compressed|7z, application/x-brotli|br, application/x-bzip2|bz2, application/x-tar|tar, \
    application/x-xz|xz, application/xhtml+xml; charset=utf-8|xhtml, application/xml; charset=utf-8|xml, \
    application/zip|zip, application/zstd|zst, \
    audio/aac|aac, audio/flac|flac, audio/matroska|mka, audio/midi|mid midi, audio/mp4|m4a, audio/mpeg|mp3, \
    audio/ogg|oga ogg opus, audio/wav|wav, audio/webm|weba, \
    font/otf|otf, font/ttf|ttf, font/woff|woff, font/woff2|woff2, \
    image/apng|apng, image/avif|avif, image/bmp|bmp, image/gif|gif, image/heic|heic, image/heif|heif, \
    image/jpeg|jpeg jpg, image/jxl|jxl, image/ktx2|ktx2, image/png|png, image/svg+xml|svgz, \
    image/svg+xml; charset=utf-8|svg, image/tiff|tif tiff, image/webp|webp, image/x-icon|ico, \
    model/gltf+json; charset=utf-8|gltf, model/gltf-binary|glb, \
    text/css; charset=utf-8|css, text/html; charset=utf-8|htm html, text/javascript; charset=utf-8|cjs js mjs, \
    text/markdown; charset=utf-8|markdown md, text/vtt; charset=utf-8|vtt, \
    video/3gpp|3gp, video/matroska|mkv, video/mp4|m4v mp4, video/mpeg|mpeg, video/ogg|ogv, video/quicktime|mov, \
    video/webm|webm";

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
    let has = |ends: &str| ends.split(' ').any(|end| end.as_bytes() == extension);
    if has(SHOWN) {
        return Some(TEXT);
    }
    types().find(|(_, ends)| has(ends)).map(|(content_type, _)| content_type)
}

fn types() -> impl Iterator<Item = (&'static str, &'static str)> {
    TYPES.split(',').filter_map(|one| one.trim_start().split_once('|'))
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
    use super::{LOOK, SHOWN, TEXT, Types, UNKNOWN, is_part_of_a_page, types};

    fn type_of(name: &str) -> String {
        Types::default().of(name.as_bytes(), Vec::new).to_owned()
    }

    fn type_with(name: &str, first: &[u8]) -> String {
        Types::default().of(name.as_bytes(), || first.to_vec()).to_owned()
    }

    /// Every end with its type.
    fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
        let typed = types().flat_map(|(content_type, ends)| ends.split(' ').map(move |end| (end, content_type)));
        typed.chain(SHOWN.split(' ').map(|end| (end, TEXT)))
    }

    #[test]
    fn every_end_stands_in_the_table_once_and_is_found_in_any_case() {
        for (extension, content_type) in all() {
            assert_eq!(type_of(&format!("a.b.{extension}")), content_type);
            assert_eq!(type_of(&format!("A.{}", extension.to_ascii_uppercase())), content_type);
            assert_eq!(all().filter(|(other, _)| *other == extension).count(), 1, "{extension}");
            assert!(!extension.is_empty() && extension == extension.to_ascii_lowercase());
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
        for (extension, content_type) in all() {
            let is_text = content_type.starts_with("text/")
                || content_type.contains("json")
                || content_type.contains("+xml")
                || extension == "xml";
            let has = content_type.ends_with("; charset=utf-8");
            assert_eq!(has, is_text && !matches!(extension, "svgz" | "mpd"), "{extension}");
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
