//! A listing as a page: light or dark as the reader likes it, for keyboard and screen reader, without script and below 4 KB beside the names.

use super::{Entries, Environ, Response, Write, escape_html, shown};
use crate::app::Files;

const STYLE: &str = "\
:root{color-scheme:light dark;--t:#1b1f24;--b:#fff;--m:#57606a;--l:#d8dee4;--h:#f3f6f9;--a:#0757b8}\
@media(prefers-color-scheme:dark){:root{--t:#e6edf3;--b:#0d1117;--m:#9aa5b1;--l:#2b333d;--h:#161c24;--a:#79b8ff}}\
*{box-sizing:border-box}\
body{margin:0 auto;padding:2rem 1rem 3rem;max-width:60rem;font:1rem/1.5 system-ui,sans-serif;color:var(--t);background:var(--b)}\
h1{font-size:1.25rem;font-weight:400;margin:0 0 1rem;padding:0 .5rem;overflow-wrap:anywhere;color:var(--m)}\
[aria-current]{color:var(--t);font-weight:600}\
a{color:var(--a);text-decoration:none}a:hover{text-decoration:underline}\
:focus-visible{outline:2px solid var(--a);outline-offset:2px;border-radius:2px}\
table{width:100%;border-collapse:collapse}\
caption{caption-side:bottom;text-align:left;color:var(--m);padding:.75rem .5rem;font-size:.875rem}\
th,td{padding:.3rem .5rem;text-align:left;font-weight:400;border-bottom:1px solid var(--l);vertical-align:top}\
thead th{color:var(--m);font-size:.875rem}\
tbody tr:hover{background:var(--h)}\
tbody th{overflow-wrap:anywhere;width:99%}\
td{white-space:nowrap;color:var(--m);font-variant-numeric:tabular-nums}\
td:nth-child(2),th:nth-child(2){text-align:right}\
.d a{font-weight:600}\
@media(max-width:34rem){td:nth-child(3),th:nth-child(3){display:none}}";

/// The page, with the policy that guards it.
pub(super) fn answer(entries: &Entries, environ: &Environ, names: &[&[u8]]) -> Response {
    Response::html(write(entries, environ.script_name(), names))
        .with_header("Content-Security-Policy", Files::LISTING_POLICY)
}

fn write(entries: &Entries, mount: &[u8], names: &[&[u8]]) -> String {
    let place: Vec<String> = names.iter().map(|name| shown(name)).collect();
    let mount = shown(mount);
    let title = format!("{mount}/{}", place.iter().map(|name| format!("{name}/")).collect::<String>());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
        <title>Index of {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape_html(&title)
    );
    push_trail(&mount, &place, &mut page);
    // A caption stands before the rows in HTML; the style puts it below them.
    page.push_str("<table>\n<caption>");
    page.push_str(&summary(entries));
    page.push_str(
        "</caption>\n<thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Size</th><th scope=\"col\">Modified (UTC)</th></tr></thead>\n<tbody>\n",
    );
    if !place.is_empty() {
        page.push_str(
            "<tr class=\"d\"><th scope=\"row\"><a href=\"../\" aria-label=\"Parent directory\">../</a></th><td></td><td></td></tr>\n",
        );
    }
    for entry in &entries.all {
        let name = entry.shown();
        let (class, slash) = if entry.is_directory { (" class=\"d\"", "/") } else { ("", "") };
        let size = if entry.is_directory { String::new() } else { size(entry.size) };
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "<tr{class}><th scope=\"row\"><a href=\"{}\"><bdi>{}</bdi>{slash}</a></th><td>{size}</td><td>",
            entry.href(),
            escape_html(&name)
        );
        if let Some((date, time)) = entry.date_and_time() {
            let minute = time.get(..5).unwrap_or_default();
            let _ = write!(page, "<time datetime=\"{date}T{time}Z\">{date} {minute}</time>");
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</main>\n</body>\n</html>\n");
    page
}

/// The way from the top to here, each step a link.
fn push_trail(mount: &str, place: &[String], page: &mut String) {
    page.push_str("<nav aria-label=\"Path\"><h1>");
    let top = format!("{mount}/");
    let steps = std::iter::once(top.as_str()).chain(place.iter().map(String::as_str));
    for (index, step) in steps.enumerate() {
        let slash = if index == 0 { "" } else { "<span>/</span>" };
        let up = place.len() - index;
        let _ = match up {
            0 => write!(page, "<span aria-current=\"page\">{}</span>{slash}", escape_html(step)),
            up => write!(page, "<a href=\"{}\">{}</a>{slash}", "../".repeat(up), escape_html(step)),
        };
    }
    page.push_str("</h1></nav>\n");
}

fn summary(entries: &Entries) -> String {
    if entries.is_cut {
        return format!("The first {} entries; there are more.", entries.all.len());
    }
    let count = |number: usize, one: &str, more: &str| format!("{number} {}", if number == 1 { one } else { more });
    let directories = entries.all.iter().filter(|entry| entry.is_directory).count();
    let files = entries.all.iter().filter(|entry| !entry.is_directory);
    let bytes = files.clone().map(|entry| entry.size).fold(0, u64::saturating_add);
    let files = count(files.count(), "file", "files");
    format!("{}, {files}, {}", count(directories, "directory", "directories"), size(bytes))
}

/// Bytes in the unit in which they have up to three digits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // In tenths, rounded down, so that no size looks larger than it is.
    let mut tenths = u128::from(bytes) / 100;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while tenths >= 10_000 {
        tenths /= 1000;
        unit = units.next().copied().unwrap_or(unit);
    }
    if tenths < 100 { format!("{}.{} {unit}", tenths / 10, tenths % 10) } else { format!("{} {unit}", tenths / 10) }
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;

    fn page(names: &[&[u8]], mount: &[u8], place: &[&[u8]]) -> String {
        let entry = |name: &&[u8]| Entry { name: name.to_vec(), is_directory: false, size: 5, modified: Some(0) };
        write(&Entries { all: names.iter().map(entry).collect(), is_cut: false }, mount, place)
    }

    #[test]
    fn sizes_have_at_most_three_digits() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1099, "1.0 kB"),
            (9_999, "9.9 kB"),
            (10_000, "10 kB"),
            (999_999, "999 kB"),
            (1_000_000, "1.0 MB"),
            (1 << 30, "1.0 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn a_listing_that_was_cut_says_so() {
        let entry = Entry { name: b"a".to_vec(), is_directory: true, size: 5, modified: None };
        let page = write(&Entries { all: vec![entry], is_cut: true }, b"", &[]);
        assert!(page.contains("<caption>The first 1 entries; there are more.</caption>"), "{page}");
    }

    #[test]
    fn the_trail_leads_to_every_directory_above_and_not_beyond_the_mount() {
        let page = page(&[], b"/docs", &[b"a b", b"<c>"]);
        assert!(page.contains("<a href=\"../../\">/docs/</a><a href=\"../\">a b</a><span>/</span>"), "{page}");
        assert!(page.contains("<span aria-current=\"page\">&lt;c&gt;</span>"), "{page}");
        assert!(page.contains("<title>Index of /docs/a b/&lt;c&gt;/</title>"), "{page}");
    }

    #[test]
    fn beside_the_names_a_page_is_below_4_kb() {
        let empty = page(&[], b"", &[]);
        assert!(empty.len() < 4096, "{} bytes", empty.len());
        let one = page(&[b"a"], b"", &[]).len() - empty.len();
        assert!(one < 200, "{one} bytes an entry");
        assert!(!empty.contains("<script") && !empty.contains("http://") && !empty.contains("https://"));
    }

    #[test]
    fn contrast_is_enough_for_every_reader_in_both_themes() {
        let value = |name: &str, nth: usize| -> Vec<f64> {
            let text = STYLE.split(&format!("--{name}:#")).nth(nth + 1).unwrap().split([';', '}']).next().unwrap();
            let wide: String = if text.len() == 3 { text.chars().flat_map(|c| [c, c]).collect() } else { text.into() };
            (0..3).map(|at| f64::from(u8::from_str_radix(&wide[2 * at..2 * at + 2], 16).unwrap()) / 255.0).collect()
        };
        // WCAG 2.2, relative luminance.
        let luminance = |color: Vec<f64>| {
            let linear = |part: f64| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
            0.2126 * linear(color[0]) + 0.7152 * linear(color[1]) + 0.0722 * linear(color[2])
        };
        for theme in 0..2 {
            for front in ["t", "m", "a"] {
                for back in ["b", "h"] {
                    let (one, other) = (luminance(value(front, theme)), luminance(value(back, theme)));
                    let ratio = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                    assert!(ratio >= 4.5, "{front} on {back} in theme {theme}: {ratio:.2}");
                }
            }
        }
    }

    #[test]
    fn the_policy_lets_in_this_style_and_no_other() {
        use std::io::Write;
        use std::process::{Command, Stdio};

        let mut digest = Command::new("openssl");
        digest.args(["dgst", "-sha256", "-binary"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut digest) = digest.spawn() else { return println!("skipped: openssl is not installed") };
        digest.stdin.take().unwrap().write_all(STYLE.as_bytes()).unwrap();
        let base64 =
            Command::new("openssl").args(["base64", "-A"]).stdin(digest.stdout.take().unwrap()).output().unwrap();
        let hash = String::from_utf8(base64.stdout).unwrap();
        digest.wait().unwrap();
        let style = Files::LISTING_POLICY.split("; ").find(|part| part.starts_with("style-src "));
        assert_eq!(style, Some(format!("style-src 'sha256-{}'", hash.trim()).as_str()));
    }
}
