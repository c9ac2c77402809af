//! Holds the pages about refusals and security to their word: every cause is listed as it is, every row names causes that exist, and
//! every attack class names tests that exist.

use std::fs;
use std::path::Path;

use doorway::Cause;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The rows of the first table behind a heading.
fn rows<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let behind = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let section = behind.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect()
}

fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect()
}

#[test]
fn the_table_of_causes_is_the_one_of_the_library() {
    let page = read("docs/refusals.md");
    let right: Vec<String> = Cause::ALL
        .iter()
        .map(|cause| {
            let status = cause.status().map_or_else(String::new, |status| status.to_string());
            let sentence = cause.sentence().trim().trim_end_matches('.');
            format!("| {} | {} | {status} | {sentence} |", cause.number(), cause.name())
        })
        .collect();
    assert!(rows(&page, "All causes") == right, "docs/refusals.md should end in this table:\n\n{}\n", right.join("\n"));
}

#[test]
fn every_row_about_refusals_names_causes_with_its_status_and_no_cause_of_a_request_is_left_out() {
    let page = read("docs/refusals.md");
    let mut named = Vec::new();
    for heading in [
        "Request line",
        "Request target",
        "Fields",
        "Host",
        "Content",
        "Forms and other content that an application reads by the library",
        "Packets of a front server",
        "Chunked coding",
        "Expect and the connection",
    ] {
        let rows = rows(&page, heading);
        assert!(rows.len() > 5, "{heading}");
        for row in rows {
            let [_, answer, causes] = cells(row)[..] else { panic!("not three cells: {row}") };
            let numbers = causes.split(", ").filter(|number| !number.is_empty());
            for number in numbers {
                let cause = Cause::ALL.iter().find(|cause| cause.number().to_string() == number);
                let cause = cause.unwrap_or_else(|| panic!("no cause {number}: {row}"));
                let status = cause.status().expect("a refusal has a status").to_string();
                assert!(answer.contains(&status), "{cause} is {status}: {row}");
                named.push(*cause);
            }
            let is_refusal = answer.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
            assert!(
                !is_refusal
                    || causes.starts_with(|first: char| first.is_ascii_digit())
                    || answer.starts_with("100 when"),
                "{row}"
            );
        }
    }
    for cause in Cause::ALL.iter().filter(|cause| cause.number() < 3000) {
        assert!(named.contains(cause), "no row of docs/refusals.md says {cause}");
    }
}

#[test]
fn every_attack_class_names_tests_that_exist() {
    let pages = read("docs/vulnerabilities.md") + &read("SECURITY.md");
    let rows: Vec<&str> = pages.lines().filter(|line| line.starts_with("| ") && line.contains("::")).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    for row in rows {
        let [_, _, _, tests] = cells(row)[..] else { panic!("not four cells: {row}") };
        let mut count = 0;
        for test in tests.split('`').skip(1).step_by(2) {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("not file::name: {test}"));
            let source = read(&format!("tests/{file}.rs"));
            let is_there = source.contains(&format!("#[test]\nfn {name}()"))
                || source.contains(&format!("#[cfg(unix)]\nfn {name}()"));
            assert!(is_there, "tests/{file}.rs has no test {name}: {row}");
            count += 1;
        }
        assert!(count > 0, "{row}");
    }
}

#[test]
fn the_pages_stand_alone() {
    for file in ["docs/refusals.md", "docs/vulnerabilities.md", "docs/conformance.md", "SECURITY.md"] {
        let page = read(file);
        let behind_links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in behind_links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).parent().expect("a folder").to_owned();
            let path = link.split('#').next().unwrap_or_default();
            assert!(folder.join(path).exists(), "{file}: {link}");
        }
    }
}

#[test]
fn every_saved_input_has_a_number_and_says_what_it_is() {
    for folder in ["corpus", "regress"] {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".http")).collect();
        names.sort();
        let numbers: Vec<&str> = names.iter().map(|name| name.split('-').next().unwrap_or_default()).collect();
        let counted: Vec<String> = (1..=names.len()).map(|number| format!("{number:03}")).collect();
        assert_eq!(numbers, counted, "{names:?}");
    }
}
