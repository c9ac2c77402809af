//! Promise: what fuzzing has found stays found. The checks of the fuzz targets (`tests/fuzz`), without a fuzzer: on every find and seed in
//! `tests/corpus`, on every beginning of them, and on small changes of them that are the same in every run.

mod apps;
mod checks;
mod packets;
mod readings;
mod reference;
mod support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use reference::generator::{Random, mutate};

/// Nothing is left out here.
const IS_FUZZER: bool = false;

/// The files of a folder of `tests/corpus`, by name.
fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file() && path.extension().is_some_and(|end| end == "bin" || end == "http"));
    files.sort();
    files
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read(&path).unwrap()))
        .collect()
}

/// Checks an input; a panic names it, and says where to put it.
fn check(target: &str, check: fn(&[u8]), name: &str, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err() {
        panic!("tests/corpus/{target}/{name}, or a change of it: {}", bytes.escape_ascii());
    }
}

/// The finds and seeds of a target, and `seeds` with each of the choices before them; `count` changes of these.
fn check_all(target: &str, check_one: fn(&[u8]), choices: &[&[u8]], count: usize) {
    let finds = corpus(target);
    let mut inputs = finds.clone();
    for (name, bytes) in corpus(".") {
        inputs.extend(choices.iter().map(|choice| (name.clone(), [choice, &bytes[..]].concat())));
    }
    assert!(!inputs.is_empty(), "nothing in tests/corpus/{target}");
    for (name, bytes) in &inputs {
        check(target, check_one, name, bytes);
    }
    for (name, bytes) in &finds {
        for length in 0..bytes.len().min(200) {
            check(target, check_one, name, &bytes[..length]);
        }
    }
    let others: Vec<Vec<u8>> = inputs.iter().map(|(_, bytes)| bytes.clone()).collect();
    for case in 0..count {
        let mut random = Random(0x5EED_0000 + (case as u64) * 0x9E37);
        let (name, bytes) = &inputs[random.below(inputs.len())];
        let mut changed = bytes.clone();
        mutate(&mut random, &mut changed, &others);
        changed.truncate(2_000);
        check(target, check_one, name, &changed);
    }
    println!("{target}: {} inputs, {count} changes", inputs.len());
}

#[test]
fn every_parser_reads_what_fuzzing_has_found() {
    let choices: Vec<Vec<u8>> = (0..checks::parsers::PARSERS).map(|parser| vec![parser as u8, 0, 9]).collect();
    let choices: Vec<&[u8]> = choices.iter().map(|choice| &choice[..]).collect();
    check_all("parsers", checks::parsers::check, &choices, 4_000);
}

#[test]
fn every_connection_that_fuzzing_has_found_is_answered_alike_however_it_is_cut() {
    let choices: [&[u8]; 3] = [&[0, 0, 0, 0, 0, 241, 0], &[0, 1, 9, 15, 0, 0, 140], &[4, 0, 9, 12, 0, 12, 0]];
    check_all("connection", checks::connection::check, &choices, 300);
}

#[test]
fn the_files_of_a_directory_answer_what_fuzzing_has_found() {
    check_all("files", checks::files::check, &[&[0, 0], &[1], &[2]], 1_000);
}

#[test]
fn the_proxy_passes_on_or_refuses_what_fuzzing_has_found() {
    check_all("proxy", checks::proxy::check, &[&[0, 1, 0, 20]], 100);
}

#[test]
fn what_is_passed_by_a_gateway_protocol_comes_back_whole_or_is_refused_as_fuzzing_has_found() {
    check_all("pass", checks::pass::check, &[&[0, 0, 0, 1, 0, 20], &[3, 9, 0, 0, 0, 0]], 300);
}

#[test]
fn files_that_clients_send_are_stored_whole_or_not_at_all_as_fuzzing_has_found() {
    check_all("upload", checks::upload::check, &[&[0, 0], &[1, 1, 0]], 300);
}
