//! Holds the README, and the pages that it sends to, to their word: tables say what is so, links lead somewhere. `blocks.rs` has what stands in code.

#[path = "support/pages.rs"]
mod pages;

use std::fs;
use std::path::Path;
use std::time::Duration;

use doorway::{Cause, Settings};
use pages::{pages, read};

/// Settings that bound nothing and so have no row in the table of limits.
const NO_LIMIT: &[&str] = &["stack", "server_field", "date_field", "refuse_underscores", "https", "server_name"];

/// 8190 as `8,190`.
fn count(number: impl ToString) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

/// Bytes in the largest unit that leaves a whole number.
fn size(bytes: u64) -> String {
    match (bytes % (1024 * 1024), bytes % 1024) {
        (0, _) => format!("{} MiB", bytes / (1024 * 1024)),
        (_, 0) => format!("{} KiB", bytes / 1024),
        _ => format!("{bytes} B"),
    }
}

fn seconds(time: Duration) -> String {
    assert_eq!(time.subsec_nanos(), 0);
    format!("{} s", time.as_secs())
}

/// The first two columns of the table of limits, as the defaults of the library make them.
fn limits() -> Vec<(&'static str, String)> {
    let s = Settings::default();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    assert_eq!((s.threads, s.shards), ((4 * cores).max(16), cores));
    assert!(s.max_connections <= 20_000);
    let stall = seconds(s.content_stall);
    vec![
        ("`threads`, `shards`", "4 for each core, at least 16; one for each core".into()),
        ("`sleepers`", count(s.sleepers)),
        ("`max_connections`", "soft descriptor limit less 64, at most 20,000".into()),
        ("`upgrades`", format!("{} connections that the application has taken over", count(s.upgrades))),
        ("`queue`, `queue_timeout`", format!("{} requests, {}", count(s.queue), seconds(s.queue_timeout))),
        ("`max_target`, `max_field_line`", format!("{} bytes, {} bytes", count(s.max_target), count(s.max_field_line))),
        ("`max_fields`, `max_head`", format!("{} fields, {} bytes", count(s.max_fields), count(s.max_head))),
        ("`max_content`", format!("{} (`None`: no limit)", size(s.max_content.unwrap()))),
        ("`gathered_content`", size(s.gathered_content as u64)),
        ("`held`", format!("{} by all connections that wait", size(s.held as u64))),
        ("`first_byte_deadline`", seconds(s.first_byte_deadline)),
        ("`head_deadline`", format!("{} from the first byte", seconds(s.head_deadline))),
        ("`idle_deadline`", seconds(s.idle_deadline)),
        (
            "`content_stall`, `content_rate`, `content_rate_after`",
            format!("{stall} without progress, {} B/s, after {}", s.content_rate, seconds(s.content_rate_after)),
        ),
        ("`response_stall`", format!("{} without progress", seconds(s.response_stall))),
        ("`drain`, `drain_deadline`", format!("{}, {}", size(s.drain), seconds(s.drain_deadline))),
        ("`linger`, `linger_deadline`", format!("{}, {}", size(s.linger), seconds(s.linger_deadline))),
        ("`grace`", seconds(s.grace)),
    ]
}

/// The lines of the table of limits in a file.
fn table(file: &str) -> Vec<String> {
    let text = read(file);
    let rows = text.lines().skip_while(|line| *line != "| setting | default | on breach |").skip(2);
    rows.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[test]
fn the_limits_are_those_of_the_library() {
    let (rows, limits) = (table("SECURITY.md"), limits());
    assert_eq!(rows.len(), limits.len());
    for (row, (names, default)) in rows.iter().zip(limits) {
        assert!(row.starts_with(&format!("| {names} | {default} | ")), "{row}\nis not\n| {names} | {default} |");
    }
    assert!(table("README.md").is_empty(), "the limits stand once");
}

#[test]
fn the_answers_to_a_breach_are_those_of_the_library() {
    let rows = table("SECURITY.md");
    for (name, cause) in [
        ("queue", Cause::QueueFull),
        ("queue_timeout", Cause::QueueTimeout),
        ("max_target", Cause::TargetLong),
        ("max_field_line", Cause::FieldLong),
        ("max_fields", Cause::FieldCount),
        ("max_head", Cause::HeadLong),
        ("max_content", Cause::ContentLong),
        ("head_deadline", Cause::HeadDeadline),
        ("content_stall", Cause::ContentStalled),
        ("content_rate", Cause::ContentSlow),
    ] {
        let row = rows.iter().find(|row| row.contains(&format!("`{name}`"))).unwrap();
        let answer = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(answer.contains(&cause.status().unwrap().to_string()), "{cause}\n{row}");
    }
}

#[test]
fn every_setting_that_bounds_something_has_a_row() {
    let (rows, settings) = (table("SECURITY.md").concat(), read("src/server/settings.rs"));
    let structure = settings.split("pub struct Settings {").nth(1).unwrap().split("\n}").next().unwrap();
    let names = structure.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
    for name in names {
        assert_ne!(rows.contains(&format!("`{name}`")), NO_LIMIT.contains(&name), "{name}");
    }
}

#[test]
fn the_examples_are_those_that_are_there() {
    let page = read("examples/README.md");
    let mut listed: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    listed.sort_unstable();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut there: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    there.sort_unstable();
    assert_eq!(listed, there);
}

#[test]
fn the_oldest_compiler_and_the_licence_are_right() {
    let (readme, manifest) = (read("README.md"), read("Cargo.toml"));
    let value = |key: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
        line.unwrap().trim_end_matches('"').to_owned()
    };
    assert!(readme.contains(&format!("Rust {}, edition {}.", value("rust-version"), value("edition"))));
    assert!(readme.contains(&format!("The licence is {};", value("license"))));
}

#[test]
fn a_whole_site_takes_as_many_lines_as_it_says() {
    let site = read("examples/notes.rs");
    let lines = site.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    assert!(lines <= 110, "{lines} lines");
}

#[test]
fn the_readme_is_read_in_a_few_minutes() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= 1_300, "{words} words");
}

/// The anchors of a page: its headings in lower case, with hyphens for spaces and without punctuation.
fn anchors(page: &str) -> Vec<String> {
    let headings =
        page.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept = heading.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        })
        .collect()
}

#[test]
fn every_link_of_every_page_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        let folder = Path::new(&page).parent().unwrap();
        // Code may look like a link.
        let prose: String = text.split("```").step_by(2).collect();
        for link in prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            links += 1;
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let place = if path.is_empty() { page.clone().into() } else { folder.join(path) };
            assert!(root.join(&place).exists(), "{page}: {link}");
            if let Some(anchor) = anchor {
                let there = anchors(&fs::read_to_string(root.join(&place)).unwrap());
                assert!(there.iter().any(|other| other == anchor), "{page}: {link} is none of {there:?}");
            }
        }
    }
    assert!(links > 40, "{links} links");
}
