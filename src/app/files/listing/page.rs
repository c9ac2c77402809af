//! A listing as a page: light or dark as the reader likes it, for keyboard, screen reader and telephone, and small beside its names. What the
//! links do needs no script; times of the reader's own zone and the filter do, and the policy names that script by its digest.
//!
//! Ten thousand rows are laid out in one pass, because the widths of the columns do not depend on what stands in them.

use super::{Asked, Entries, Environ, Key, Order, PAGE, Response, Write, escape_html, percent_encode, shown};
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
table{width:100%;border-collapse:collapse;table-layout:fixed}\
caption{caption-side:bottom;text-align:left;color:var(--m);padding:.75rem .5rem;font-size:.875rem}\
th,td{padding:.3rem .5rem;text-align:left;font-weight:400;border-bottom:1px solid var(--l);vertical-align:top}\
thead th{color:var(--m);font-size:.875rem}\
tbody tr:hover{background:var(--h)}\
tbody th{overflow-wrap:anywhere}\
th+th,td{width:6rem}th+th+th{width:10.5rem}\
thead a{color:inherit}\
td{white-space:nowrap;color:var(--m);font-variant-numeric:tabular-nums}\
td:nth-child(2),th:nth-child(2){text-align:right}\
.d a{font-weight:600}\
.bar{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;padding:0 .5rem;margin:0 0 .75rem;font-size:.875rem}\
input{font:inherit;color:inherit;background:var(--b);border:1px solid var(--m);border-radius:4px;padding:.25rem .5rem;min-width:0}\
section{margin-top:1.5rem;border:1px solid var(--l);border-radius:6px}\
h2{font-size:.875rem;font-weight:600;margin:0;padding:.5rem;border-bottom:1px solid var(--l)}\
pre{margin:0;padding:.75rem .5rem;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.875rem}\
.n{padding:0 .5rem}\
button{font:inherit;color:var(--t);background:var(--h);border:1px solid var(--m);border-radius:4px;padding:.25rem .75rem}\
body.over{outline:3px dashed var(--a);outline-offset:-6px}\
@media(max-width:34rem){td:nth-child(3),th:nth-child(3){display:none}}";

/// Works by itself; the script adds progress, a way to stop, and files that are dropped on the page.
const FORM: &str = "<form class=\"bar\" id=\"upload\" method=\"post\" enctype=\"multipart/form-data\">\
    <input type=\"file\" name=\"file\" multiple required aria-label=\"Files to upload\"><button>Upload</button>\
    <progress max=\"1\" value=\"0\" hidden></progress><button type=\"button\" hidden>Stop</button><output></output></form>\n";

const SCRIPT: &str = include_str!("page.js");

/// The page, with the policy that guards it.
pub(super) fn answer(entries: &Entries, asked: &Asked<'_>) -> Response {
    Response::html(write(entries, asked)).with_header("Content-Security-Policy", Files::LISTING_POLICY)
}

fn write(entries: &Entries, asked: &Asked<'_>) -> String {
    let place: Vec<String> = asked.names.iter().map(|name| shown(name)).collect();
    let mount = shown(asked.mount);
    let mut title = format!("Index of {mount}/");
    for name in &place {
        title.push_str(name);
        title.push('/');
    }
    let mut page = begin(&title);
    push_trail(&mount, &place, &place, &mut page);
    push_bar(asked, entries, &mut page);
    if asked.options.takes_files {
        page.push_str(FORM);
    }
    // A caption stands before the rows in HTML; the style puts it below them.
    page.push_str("<table>\n<caption>");
    page.push_str(&summary(entries));
    page.push_str("</caption>\n<thead><tr>");
    [Key::Name, Key::Size, Key::Date].into_iter().for_each(|key| push_column(asked, key, &mut page));
    page.push_str("</tr></thead>\n<tbody>\n");
    if !place.is_empty() {
        page.push_str(
            "<tr class=\"d\"><th scope=\"row\"><a href=\"../\" aria-label=\"Parent directory\">../</a></th><td></td><td></td></tr>\n",
        );
    }
    let pages = entries.all.len().div_ceil(PAGE).max(1);
    let shown_page = asked.page.clamp(1, pages);
    for entry in entries.all.iter().skip((shown_page - 1) * PAGE).take(PAGE) {
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
            let _ = write!(page, "<time datetime=\"{date}T{time}Z\">{date} {time:.5}</time>");
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
    push_pages(asked, shown_page, pages, &mut page);
    if let Some((name, text)) = &asked.text {
        let _ = writeln!(page, "<section><h2>{}</h2><pre>{}</pre></section>", escape_html(name), escape_html(text));
    }
    page.push_str("<script>");
    page.push_str(SCRIPT);
    page.push_str("</script>\n");
    end(page)
}

/// Of a path of more names a page leads to its top alone: the link to each step is as long as the way up to it, and a client chooses how many
/// names it sends.
const DEEPEST: usize = 100;

/// The page that says that nothing is there, and leads up. The names are those of the path, none where it has none that could be served.
pub(crate) fn missing(environ: &Environ, names: &[&[u8]]) -> Response {
    let names: &[&[u8]] = if names.len() > DEEPEST { &[] } else { names };
    let place: Vec<String> = names.iter().map(|name| shown(name)).collect();
    let mount = shown(environ.script_name());
    let mut page = begin("Not Found");
    let is_directory = environ.path_info().ends_with(b"/");
    // Where the path has a last name without a slash, the links are seen from the directory that it is in.
    let above = if is_directory { place.as_slice() } else { place.split_last().map_or(&[][..], |(_, above)| above) };
    push_trail(&mount, &place, above, &mut page);
    let asked = shown(&[environ.script_name(), environ.path_info()].concat());
    let _ = writeln!(page, "<p class=\"n\">Not Found: there is no <strong>{}</strong> here.</p>", escape_html(&asked));
    let mut top = String::new();
    if names.is_empty() {
        percent_encode(environ.script_name(), b"/", &mut top);
        top.push('/');
    } else {
        top = format!("./{}", "../".repeat(above.len()));
    }
    let up = match (above, is_directory) {
        ([], _) => "",
        (_, true) => "<a href=\"../\">One up</a> · ",
        (_, false) => "<a href=\"./\">One up</a> · ",
    };
    let _ = writeln!(page, "<p class=\"n\">{up}<a href=\"{top}\">To the top</a></p>");
    Response::html(end(page)).with_header("Content-Security-Policy", Files::LISTING_POLICY)
}

fn begin(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
        <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape_html(title)
    )
}

fn end(page: String) -> String {
    page + "</main>\n</body>\n</html>\n"
}

/// The way from the top to here, each step a link. `above` are the steps that are directories, the last of which the page is in.
fn push_trail(mount: &str, place: &[String], above: &[String], page: &mut String) {
    page.push_str("<nav aria-label=\"Path\"><h1>");
    let top = format!("{mount}/");
    let steps = std::iter::once(top.as_str()).chain(place.iter().map(String::as_str));
    for (index, step) in steps.enumerate() {
        let is_here = index == place.len();
        // A file has none behind it.
        let slash = if index == 0 || (is_here && above.len() < place.len()) { "" } else { "<span>/</span>" };
        let _ = match above.len().checked_sub(index) {
            Some(up) if !is_here => {
                let up = if up == 0 { "./".to_owned() } else { "../".repeat(up) };
                write!(page, "<a href=\"{up}\">{}</a>{slash}", escape_html(step))
            }
            _ => write!(page, "<span aria-current=\"page\">{}</span>{slash}", escape_html(step)),
        };
    }
    page.push_str("</h1></nav>\n");
}

/// What can be done with all of it.
fn push_bar(asked: &Asked<'_>, entries: &Entries, page: &mut String) {
    if entries.all.is_empty() && asked.filter.is_empty() {
        return;
    }
    // Sent by the Enter key: then the names of all pages are looked through.
    let _ = write!(
        page,
        "<form class=\"bar\"><input id=\"filter\" name=\"filter\" type=\"search\" placeholder=\"Filter\" aria-label=\"Filter by name\" value=\"{}\">",
        escape_html(asked.filter)
    );
    if asked.options.has_archive {
        page.push_str("<a href=\"?zip\" download>Download all as .zip</a>");
    }
    page.push_str("</form>\n");
}

/// The head of a column, by which it is sorted: once more turns it around.
fn push_column(asked: &Asked<'_>, key: Key, page: &mut String) {
    let order = asked.order;
    let text = match key {
        Key::Name => "Name",
        Key::Size => "Size",
        Key::Date => "Modified<span id=\"zone\"> (UTC)</span>",
    };
    let (sorted, arrow) = match (order.key == key, order.is_descending) {
        (false, _) => ("", ""),
        (true, false) => (" aria-sort=\"ascending\"", " ↑"),
        (true, true) => (" aria-sort=\"descending\"", " ↓"),
    };
    let next = Order { key, is_descending: order.key == key && !order.is_descending };
    let _ =
        write!(page, "<th scope=\"col\"{sorted}><a href=\"{}\">{text}</a>{arrow}</th>", query(next, asked.filter, 1));
}

/// The way to the other pages, where there are some.
fn push_pages(asked: &Asked<'_>, shown: usize, pages: usize, page: &mut String) {
    if pages < 2 {
        return;
    }
    let link = |to: usize, text: &str| match to {
        to if to < 1 || to > pages => format!("<span>{text}</span>"),
        to => format!("<a href=\"{}\">{text}</a>", query(asked.order, asked.filter, to)),
    };
    let (back, on) = (link(shown - 1, "← Back"), link(shown + 1, "Next →"));
    let _ =
        writeln!(page, "<nav class=\"bar\" aria-label=\"Pages\">{back}<span>Page {shown} of {pages}</span>{on}</nav>");
}

/// The query for a page in an order, as an attribute.
fn query(order: Order, filter: &str, page: usize) -> String {
    let name = match order.key {
        Key::Name => "name",
        Key::Size => "size",
        Key::Date => "date",
    };
    let mut query = format!("?sort={name}");
    if order.is_descending {
        query.push_str("&amp;order=desc");
    }
    if !filter.is_empty() {
        query.push_str("&amp;filter=");
        percent_encode(filter.as_bytes(), b"", &mut query);
    }
    if page > 1 {
        let _ = write!(query, "&amp;page={page}");
    }
    query
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
    let (mut unit, mut one) = ("B", 1_u64);
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if bytes / one < 1000 {
            break;
        }
        (unit, one) = (larger, one * 1000);
    }
    // Rounded down, so that no size looks larger than it is.
    match (bytes / one, bytes / one.div_ceil(10) % 10) {
        (whole @ ..10, tenths) if one > 1 => format!("{whole}.{tenths} {unit}"),
        (whole, _) => format!("{whole} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;

    fn entry(name: &[u8]) -> Entry {
        Entry { name: name.to_vec(), is_directory: false, size: 5, modified: Some(0) }
    }

    fn asked<'a>(mount: &'a [u8], names: &'a [&'a [u8]]) -> Asked<'a> {
        let order = Order { key: Key::Name, is_descending: false };
        let options = super::super::Options { is_on: true, has_archive: true, takes_files: true };
        Asked { mount, names, order, filter: "", page: 1, options, text: None }
    }

    fn page(names: &[&[u8]], mount: &[u8], place: &[&[u8]]) -> String {
        let asked = asked(mount, place);
        write(&Entries { all: names.iter().map(|name| entry(name)).collect(), is_cut: false }, &asked)
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
        let summary = summary(&Entries { all: vec![entry], is_cut: true });
        assert_eq!(summary, "The first 1 entries; there are more.");
    }

    #[test]
    fn the_trail_leads_to_every_directory_above_and_not_beyond_the_mount() {
        let page = page(&[], b"/docs", &[b"a b", b"<c>"]);
        assert!(page.contains("<a href=\"../../\">/docs/</a><a href=\"../\">a b</a><span>/</span>"), "{page}");
        assert!(page.contains("<span aria-current=\"page\">&lt;c&gt;</span>"), "{page}");
        assert!(page.contains("<title>Index of /docs/a b/&lt;c&gt;/</title>"), "{page}");
    }

    #[test]
    fn beside_the_names_a_page_is_below_7_kb() {
        let one = page(&[b"a"], b"", &[]);
        assert!(one.len() < 7 * 1024, "{} bytes", one.len());
        let more = page(&[b"a", b"b"], b"", &[]).len() - one.len();
        assert!(more < 200, "{more} bytes an entry");
        assert!(!one.contains("http://") && !one.contains("https://") && one.matches("<script").count() == 1);
    }

    #[test]
    fn the_head_of_a_column_sorts_by_it_and_once_more_turns_it_around() {
        let column = |order: Order, key| {
            let mut page = String::new();
            push_column(&Asked { order, ..asked(b"", &[]) }, key, &mut page);
            page
        };
        let by_size = Order { key: Key::Size, is_descending: false };
        assert_eq!(column(by_size, Key::Name), "<th scope=\"col\"><a href=\"?sort=name\">Name</a></th>");
        let size = "<th scope=\"col\" aria-sort=\"ascending\"><a href=\"?sort=size&amp;order=desc\">Size</a> ↑</th>";
        assert_eq!(column(by_size, Key::Size), size);
        let turned = Order { is_descending: true, ..by_size };
        let size = "<th scope=\"col\" aria-sort=\"descending\"><a href=\"?sort=size\">Size</a> ↓</th>";
        assert_eq!(column(turned, Key::Size), size);
    }

    #[test]
    fn a_thousand_entries_stand_on_a_page_with_links_to_the_others() {
        let names: Vec<String> = (0..2 * PAGE + 1).map(|number| format!("{number:04}")).collect();
        let entries = Entries { all: names.iter().map(|name| entry(name.as_bytes())).collect(), is_cut: false };
        for (page, first, links) in [
            (
                1,
                "0000",
                "<span>← Back</span><span>Page 1 of 3</span><a href=\"?sort=name&amp;filter=%3C0&amp;page=2\">Next →</a>",
            ),
            (2, "1000", "<a href=\"?sort=name&amp;filter=%3C0\">← Back</a><span>Page 2 of 3</span>"),
            (3, "2000", "<span>Page 3 of 3</span><span>Next →</span>"),
            (0, "0000", "<span>Page 1 of 3</span>"),
            (usize::MAX, "2000", "<span>Page 3 of 3</span>"),
        ] {
            let text = write(&entries, &Asked { filter: "<0", page, ..asked(b"", &[]) });
            let first = format!("<tbody>\n<tr><th scope=\"row\"><a href=\"./{first}\">");
            assert!(text.contains(links) && text.contains(&first), "{page}: {text}");
            assert_eq!(text.matches("<tr><th scope=\"row\">").count(), if links.contains("3 of 3") { 1 } else { PAGE });
            assert!(text.contains("value=\"&lt;0\"") && text.contains("<caption>0 directories, 2001 files"));
        }
    }

    #[test]
    fn the_page_of_what_is_missing_says_what_and_leads_up_wherever_it_is() {
        let page = |path: &str, names: &[&[u8]]| {
            let mut environ = crate::testing::Request::get("/").environ();
            environ.set("SCRIPT_NAME", "/docs");
            environ.set("PATH_INFO", path);
            let Response { body, .. } = missing(&environ, names);
            body.into_blocks().map(|block| String::from_utf8(block.unwrap().into_owned()).unwrap()).collect::<String>()
        };
        let file = page("/a/<b>", &[b"a", b"<b>"]);
        assert!(file.contains("there is no <strong>/docs/a/&lt;b&gt;</strong> here"), "{file}");
        assert!(file.contains("<a href=\"../\">/docs/</a><a href=\"./\">a</a><span>/</span>"), "{file}");
        assert!(file.contains("<a href=\"./\">One up</a> · <a href=\"./../\">To the top</a>"), "{file}");
        let directory = page("/a/b/", &[b"a", b"b"]);
        assert!(directory.contains("<a href=\"../../\">/docs/</a><a href=\"../\">a</a>"), "{directory}");
        assert!(directory.contains("<a href=\"../\">One up</a> · <a href=\"./../../\">To the top</a>"), "{directory}");
        // Nothing of such a path is a name; the links do not depend on it.
        let refused = page("/a/../b", &[]);
        assert!(refused.contains("<a href=\"/docs/\">To the top</a>"), "{refused}");
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
    fn the_policy_lets_in_this_style_and_this_script_and_no_other() {
        for (directive, text) in [("style-src", STYLE), ("script-src", SCRIPT)] {
            let Some(hash) = crate::app::sha256_of(text) else { return };
            let named = Files::LISTING_POLICY.split("; ").find(|part| part.starts_with(directive));
            assert_eq!(named, Some(format!("{directive} 'sha256-{hash}'").as_str()));
        }
    }
}
