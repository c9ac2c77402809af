//! The pages of the repository and what stands in them.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::path::Path;

pub fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every page, by its path from the root. What is built and what is hidden has none.
pub fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages.sort_unstable();
    pages
}

/// The fenced blocks of a page: the language, which is all that stands behind the opening fence, and the text with the end of its last line.
pub fn fences(page: &str) -> Vec<(String, String)> {
    let mut fences = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            fences.push((language.to_owned(), text));
        } else {
            assert!(!line.trim_start().starts_with("```"), "no fence stands in a list: {line}");
        }
    }
    fences
}

/// The block of a page that has a part.
pub fn block(page: &str, part: &str) -> String {
    let found = fences(&read(page)).into_iter().map(|(_, text)| text).find(|text| text.contains(part));
    found.unwrap_or_else(|| panic!("no block of {page} has {part}"))
}
