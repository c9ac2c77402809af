//! Which type a file has, by the end of its name.
//!
//! The table is all there is: the registry of the system is not asked, because on many machines it calls JavaScript `text/plain`, and a
//! browser runs no module then. What is text has its charset said, since a browser would guess otherwise.

/// The type of whatever the table does not name.
const UNKNOWN: &str = "application/octet-stream";

/// Extensions in lower case, sorted, with their types.
const TYPES: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("atom", "application/atom+xml; charset=utf-8"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("br", "application/x-brotli"),
    ("bz2", "application/x-bzip2"),
    ("c", "text/plain; charset=utf-8"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("conf", "text/plain; charset=utf-8"),
    ("cpp", "text/plain; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("geojson", "application/geo+json; charset=utf-8"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json; charset=utf-8"),
    ("gz", "application/gzip"),
    ("h", "text/plain; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("ini", "text/plain; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json; charset=utf-8"),
    ("jsonld", "application/ld+json; charset=utf-8"),
    ("jxl", "image/jxl"),
    ("log", "text/plain; charset=utf-8"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json; charset=utf-8"),
    ("markdown", "text/markdown; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("mpeg", "video/mpeg"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("py", "text/plain; charset=utf-8"),
    ("rs", "text/plain; charset=utf-8"),
    ("rss", "application/rss+xml; charset=utf-8"),
    ("rtf", "application/rtf"),
    ("sh", "text/plain; charset=utf-8"),
    ("svg", "image/svg+xml; charset=utf-8"),
    ("svgz", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("text", "text/plain; charset=utf-8"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml; charset=utf-8"),
    ("tsv", "text/tab-separated-values; charset=utf-8"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
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
    ("xml", "application/xml; charset=utf-8"),
    ("xz", "application/x-xz"),
    ("yaml", "application/yaml; charset=utf-8"),
    ("yml", "application/yaml; charset=utf-8"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// The type of a file of this name.
pub(super) fn type_of(name: &[u8]) -> &'static str {
    let Some(point) = name.iter().rposition(|byte| *byte == b'.') else { return UNKNOWN };
    let extension = name.get(point + 1..).unwrap_or_default().to_ascii_lowercase();
    let found = TYPES.binary_search_by(|(other, _)| other.as_bytes().cmp(&extension));
    found.ok().and_then(|index| TYPES.get(index)).map_or(UNKNOWN, |(_, content_type)| content_type)
}

#[cfg(test)]
mod tests {
    use super::{TYPES, UNKNOWN, type_of};

    #[test]
    fn the_table_is_sorted_and_every_entry_is_found_in_any_case() {
        assert!(TYPES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (extension, content_type) in TYPES {
            assert_eq!(type_of(format!("a.b.{extension}").as_bytes()), *content_type);
            assert_eq!(type_of(format!("A.{}", extension.to_ascii_uppercase()).as_bytes()), *content_type);
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
            assert_eq!(type_of(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn text_has_a_charset_and_nothing_but_text_has_one() {
        for (extension, content_type) in TYPES {
            let is_text =
                content_type.starts_with("text/") || content_type.contains("json") || content_type.contains("+xml");
            let is_xml = matches!(*extension, "xml" | "toml" | "yaml" | "yml");
            let has = content_type.ends_with("; charset=utf-8");
            assert_eq!(has, (is_text || is_xml) && !matches!(*extension, "svgz" | "mpd"), "{extension}");
        }
    }

    #[test]
    fn names_without_a_known_end_are_bytes() {
        for name in ["", ".", "a", "a.", "html", "a.unheard", "a.html.", "a.\u{fc}"] {
            assert_eq!(type_of(name.as_bytes()), UNKNOWN, "{name}");
        }
        assert_eq!(type_of(b".html"), "text/html; charset=utf-8");
    }
}
