//! Keeps what the architecture promises: arrows between the rooms of `src` point one way, every file says what it is for, there
//! is one configuration to audit, no `unsafe` in the library and no dependency.
//!
//! The checker reads source text with `std` alone: comments and literals are blanked, code under `#[cfg(test)]` is left out
//! (a test may reach for anything), and every path that is left is resolved to the room it leads to. Its own tests at the end
//! show that it catches what it must.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may know. `lib.rs` may know all; the command is another crate, which has the public interface only.
const ARROWS: &[(&str, &[&str])] = &[
    ("cause", &[]),
    ("scan", &[]),
    // Names, values and lengths of fields are judged in one way, whoever says them.
    ("gateway", &["scan", "cause"]),
    ("http", &["scan", "cause"]),
    ("door", &["http", "gateway", "cause"]),
    // Lines of the access log have a date.
    ("log", &["http", "gateway", "cause"]),
    ("server", &["door", "http", "log", "gateway", "cause"]),
    // From here on they are leaves: nothing above knows them.
    ("process", &["server", "door", "gateway"]),
    // Cookies, and heads and dates that were received, follow the rules of the public parser.
    ("web", &["http", "gateway", "cause"]),
    // Credentials are in base64, middleware that answers builds whole responses, and lines of the access log have a date.
    ("middleware", &["web", "http", "gateway", "cause"]),
    // app::Proxy asks another server, and the rules of the wire are those of the public parser. app::Status writes the counts.
    ("app", &["web", "http", "gateway", "log", "cause"]),
    ("testing", &["gateway", "cause"]),
];

/// What a room gives out besides its own: leaves whose public names stand beside what they belong to. Nothing but these very items
/// is excepted from the table above.
const GIVEN_OUT: &[(&str, &str)] = &[
    ("http/mod.rs", "pub use crate :: web :: response_head ;"),
    ("http/date.rs", "pub use crate :: web :: date :: parse_http_date ;"),
];

/// What `cfg` may ask for: one configuration for each platform family, and tests.
const CFG: &[&str] = &["unix", "windows", "test", "doctest", "not", "any", "all"];

/// What it may ask for besides in a file called `os.rs`, the place for constants that differ between systems.
const CFG_OF_OS: &[&str] = &["target_os", "target_env", "target_arch", "target_vendor", "target_pointer_width"];

#[test]
fn arrows_between_the_rooms_point_one_way() {
    let sources = sources();
    let root = reexports(&sources["lib.rs"]);
    let hidden: Vec<Vec<String>> = sources.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
    let mut wrong = Vec::new();
    for (file, text) in &sources {
        let module = module_of(file);
        if !hidden.iter().any(|test| module.starts_with(test)) {
            wrong.extend(wrong_arrows(file, text, &root));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(file, _)| file).collect();
    assert!(silent.is_empty(), "these files do not open with //!: {silent:?}");
}

#[test]
fn the_library_forbids_unsafe_and_only_the_signals_of_the_command_use_it() {
    let sources = sources();
    assert!(sources["lib.rs"].lines().any(|line| line == "#![forbid(unsafe_code)]"));
    for (file, text) in &sources {
        let has = tokens(&plain(text)).iter().any(|token| token == "unsafe");
        assert!(!has || file == "bin/doorway/signals.rs", "unsafe in {file}");
    }
}

#[test]
fn there_is_one_configuration_for_each_platform() {
    let wrong: Vec<_> = sources().iter().flat_map(|(file, text)| wrong_cfg(file, text)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let manifest = manifest();
    assert!(!headers(&manifest).any(|header| header.starts_with("features")), "there is a feature table");
}

#[test]
fn the_package_depends_on_nothing_and_builds_by_no_script() {
    let manifest = manifest();
    assert_eq!(dependencies(&manifest), Vec::<String>::new());
    for line in ["edition = \"2024\"", "rust-version = \"1.85\""] {
        assert!(manifest.lines().any(|other| other == line), "Cargo.toml does not say {line}");
    }
    for key in ["build", "links", "proc-macro"] {
        assert!(!manifest.lines().any(|line| key_of(line) == key), "Cargo.toml has {key}");
    }
    assert!(!root().join("build.rs").exists());
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert_eq!(lock.lines().filter(|line| *line == "[[package]]").count(), 1);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest() -> String {
    fs::read_to_string(root().join("Cargo.toml")).unwrap()
}

/// Every file of `src` by its path, with `/` on every system.
fn sources() -> BTreeMap<String, String> {
    let src = root().join("src");
    let (mut folders, mut sources) = (vec![src.clone()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
                sources.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(sources.len() > 20, "only {} files in {}", sources.len(), src.display());
    sources
}

/// The names of the tables of a manifest.
fn headers(manifest: &str) -> impl Iterator<Item = &str> {
    manifest.lines().filter_map(|line| line.trim().strip_prefix('[')).map(|header| header.trim_start_matches('['))
}

fn key_of(line: &str) -> &str {
    line.split_once('=').map_or("", |(key, _)| key.trim().split('.').next().unwrap_or_default())
}

/// Whatever in a manifest names a dependency, of any kind and for any target.
fn dependencies(manifest: &str) -> Vec<String> {
    let tables = headers(manifest).filter(|header| header.contains("dependencies"));
    let keys = manifest.lines().filter(|line| key_of(line).ends_with("dependencies"));
    tables.chain(keys).map(str::to_owned).collect()
}

/// The module of a file: `server/mod.rs` is `["server"]`, `http/head/tests.rs` is `["http", "head", "tests"]`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The text with comments, strings and characters blanked; line ends stay where they are.
fn plain(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut index = 0;
    while index < chars.len() {
        let end = match (at(index), at(index + 1)) {
            ('/', '/') => (index..chars.len()).find(|i| at(*i) == '\n').unwrap_or(chars.len()),
            ('/', '*') => block_comment_end(&chars, index),
            ('"', _) => string_end(&chars, index),
            ('r', '"' | '#') if index == 0 || !is_word(at(index - 1)) || matches!(at(index - 1), 'b' | 'c') => {
                raw_string_end(&chars, index)
            }
            ('\'', '\\') => (index + 3..chars.len()).find(|i| at(*i) == '\'').map_or(chars.len(), |i| i + 1),
            // Otherwise it is a lifetime or a label.
            ('\'', _) if at(index + 2) == '\'' => index + 3,
            _ => index,
        };
        if end == index {
            out.push(at(index));
            index += 1;
        } else {
            out.extend(chars[index..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            index = end;
        }
    }
    out
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut index) = (0, start);
    while index + 1 < chars.len() {
        match (chars[index], chars[index + 1]) {
            ('/', '*') => (depth, index) = (depth + 1, index + 2),
            ('*', '/') => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut index = start + 1;
    while index < chars.len() {
        match chars[index] {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    chars.len()
}

/// The end of `r"..."` or `r#"..."#`; `start` itself where it is a raw identifier (`r#type`).
fn raw_string_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return start;
    }
    let is_end =
        |i: usize| chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    (open + 1..chars.len()).find(|i| is_end(*i)).map_or(chars.len(), |i| i + 1 + hashes)
}

/// Words, `::`, and every other visible character by itself.
fn tokens(plain: &str) -> Vec<String> {
    let chars: Vec<char> = plain.chars().collect();
    let (mut tokens, mut index) = (Vec::new(), 0);
    while index < chars.len() {
        let word = chars[index..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
        let length = match (word, chars[index..].get(..2)) {
            (0, Some([':', ':'])) => 2,
            (0, _) => 1,
            (word, _) => word,
        };
        if !chars[index].is_whitespace() {
            tokens.push(chars[index..index + length].iter().collect());
        }
        index += length;
    }
    tokens
}

fn words(source: &str) -> Vec<&str> {
    source.split(' ').filter(|word| !word.is_empty()).collect()
}

/// Whether `tokens` at `index` begin with the tokens of `pattern`, which are separated by spaces.
fn begins(tokens: &[String], index: usize, pattern: &str) -> bool {
    let pattern = words(pattern);
    tokens.get(index..index + pattern.len()).is_some_and(|part| part == pattern)
}

/// The index behind the item that starts at `index`: behind its `;`, or behind the braces it ends with.
fn item_end(tokens: &[String], index: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(index) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

const TEST_ONLY: &str = "# [ cfg ( test ) ]";

/// The tokens without the items under `#[cfg(test)]`.
fn library_tokens(text: &str) -> Vec<String> {
    let tokens = tokens(&plain(text));
    let (mut kept, mut index) = (Vec::new(), 0);
    while index < tokens.len() {
        if begins(&tokens, index, TEST_ONLY) {
            index = item_end(&tokens, index + words(TEST_ONLY).len());
        } else {
            kept.push(tokens[index].clone());
            index += 1;
        }
    }
    kept
}

/// The modules that a file declares for tests only, whose own files are therefore no part of the library.
fn test_modules(file: &str, text: &str) -> Vec<Vec<String>> {
    let tokens = tokens(&plain(text));
    let after = words(TEST_ONLY).len();
    (0..tokens.len())
        .filter(|index| begins(&tokens, *index, TEST_ONLY) && begins(&tokens, index + after, "mod"))
        .map(|index| [module_of(file), vec![tokens[index + after + 1].clone()]].concat())
        .collect()
}

/// Every path that a `use` tree stands for, with `*` for a glob and without the names given by `as`.
fn use_tree(tokens: &[String], index: &mut usize, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(*index).map(String::as_str) {
            Some("::") => *index += 1,
            Some("{") => {
                *index += 1;
                while *index < tokens.len() && tokens[*index] != "}" {
                    use_tree(tokens, index, &path, found);
                    if tokens.get(*index).is_some_and(|token| token == ",") {
                        *index += 1;
                    }
                }
                *index += 1;
                return;
            }
            Some("as") => *index += 2,
            Some("," | "}" | ";") | None => break,
            Some("self") if !path.is_empty() => *index += 1,
            Some(segment) => {
                path.push(segment.to_owned());
                *index += 1;
            }
        }
    }
    found.push(path);
}

/// Every path of a file that starts at `crate`, `self` or `super`, as an absolute one, and every path of a `use` that does.
fn absolute_paths(file: &str, tokens: &[String]) -> Vec<Vec<String>> {
    let mut module = module_of(file);
    let mut closing = Vec::new();
    let (mut depth, mut index, mut found) = (0, 0, Vec::new());
    while index < tokens.len() {
        let mut paths = Vec::new();
        match tokens[index].as_str() {
            "mod" if tokens.get(index + 2).is_some_and(|token| token == "{") => {
                module.push(tokens[index + 1].clone());
                closing.push(depth);
                index += 2;
            }
            "{" => (depth, index) = (depth + 1, index + 1),
            "}" => {
                depth -= 1;
                index += 1;
                if closing.last() == Some(&depth) {
                    closing.pop();
                    module.pop();
                }
            }
            // `use<'a>` captures lifetimes and names no path.
            "use" if tokens.get(index + 1).is_some_and(|token| token != "<") => {
                index += 1;
                use_tree(tokens, &mut index, &[], &mut paths);
            }
            "crate" | "self" | "super" if tokens.get(index + 1).is_some_and(|token| token == "::") => {
                let mut path = vec![tokens[index].clone()];
                index += 1;
                while tokens.get(index).is_some_and(|token| token == "::") {
                    path.extend(tokens.get(index + 1).cloned());
                    index += 2;
                }
                paths.push(path);
            }
            _ => index += 1,
        }
        found.extend(paths.iter().filter_map(|path| absolute(&module, path)));
    }
    found
}

/// A path from the root of the crate; `None` for one that leads into another crate or to a name in reach.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut rest = path.iter().map(String::as_str).peekable();
    let mut base = match rest.next()? {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module.split_last().map(|(_, outer)| outer.to_vec()).unwrap_or_default(),
        _ => return None,
    };
    while rest.next_if_eq(&"super").is_some() {
        base.pop();
    }
    base.extend(rest.map(str::to_owned));
    Some(base)
}

/// Which room each name comes from that `lib.rs` gives out at the root.
fn reexports(lib: &str) -> BTreeMap<String, String> {
    let tokens = library_tokens(lib);
    let mut root = BTreeMap::new();
    for index in (0..tokens.len()).filter(|index| tokens[*index] == "use") {
        let mut paths = Vec::new();
        use_tree(&tokens, &mut (index + 1), &[], &mut paths);
        for path in paths.into_iter().filter(|path| path.len() > 1) {
            root.insert(path[path.len() - 1].clone(), path[0].clone());
        }
    }
    root
}

/// The tokens of a file without the items that [`GIVEN_OUT`] lists for it.
fn without_given_out(file: &str, mut tokens: Vec<String>) -> Vec<String> {
    for (_, item) in GIVEN_OUT.iter().filter(|(of, _)| *of == file) {
        if let Some(index) = (0..tokens.len()).find(|index| begins(&tokens, *index, item)) {
            tokens.drain(index..index + words(item).len());
        }
    }
    tokens
}

/// What is wrong with the arrows of one file.
fn wrong_arrows(file: &str, text: &str, root: &BTreeMap<String, String>) -> Vec<String> {
    let module = module_of(file);
    let tokens = library_tokens(text);
    let mut wrong = Vec::new();
    for hole in ["# [ path", "include !", "extern crate"] {
        if (0..tokens.len()).any(|index| begins(&tokens, index, hole)) {
            wrong.push(format!("{file}: {hole} would go round the arrows"));
        }
    }
    // lib.rs knows every room, and the command is a crate of its own.
    let Some(from) = module.first().filter(|room| *room != "bin") else { return wrong };
    let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| room == from) else {
        wrong.push(format!("{file}: the room {from} is not in the table of this test"));
        return wrong;
    };
    for path in absolute_paths(file, &without_given_out(file, tokens)) {
        let name = path.first().map_or("*", String::as_str);
        let is_room = ARROWS.iter().any(|(room, _)| *room == name);
        let to = if is_room { name } else { root.get(name).map_or(name, String::as_str) };
        // The version is a fact about the package and leads to no room.
        if to != from && to != "VERSION" && !allowed.contains(&to) {
            wrong.push(format!("{file}: {from} must not know {to} (crate::{})", path.join("::")));
        }
    }
    wrong
}

/// What a file asks of `cfg` that it may not.
fn wrong_cfg(file: &str, text: &str) -> Vec<String> {
    let tokens = tokens(&plain(text));
    let is_os = file.rsplit('/').next() == Some("os.rs");
    let is_allowed = |word: &str| CFG.contains(&word) || (is_os && CFG_OF_OS.contains(&word));
    let mut wrong = Vec::new();
    for index in (0..tokens.len()).filter(|index| matches!(tokens[*index].as_str(), "cfg" | "cfg_attr")) {
        let open = if begins(&tokens, index + 1, "!") { index + 2 } else { index + 1 };
        if !begins(&tokens, open, "(") {
            continue;
        }
        let mut depth = 0;
        for token in &tokens[open..] {
            match token.as_str() {
                "(" => depth += 1,
                ")" => depth -= 1,
                // What cfg_attr adds stands behind the condition.
                "," if depth == 1 && tokens[index] == "cfg_attr" => break,
                word if word.starts_with(char::is_alphabetic) && !is_allowed(word) => {
                    wrong.push(format!("{file}: cfg({word})"));
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    wrong
}

mod the_checker {
    use super::*;

    fn arrows(file: &str, text: &str) -> usize {
        let root = reexports("mod server; pub use cause::Cause; pub use server::{Handle, log::{self, Log}};");
        wrong_arrows(file, text, &root).len()
    }

    #[test]
    fn catches_every_way_to_write_a_wrong_arrow() {
        for text in [
            "use crate::server::Server;",
            "pub(crate) use crate::server;",
            "use crate::{cause::Cause, server::Server};",
            "use crate::{cause::Cause, server::{log::{self, Lines}, Settings as Limits}};",
            "use crate::{self as root};",
            "use crate::*;",
            "use super::super::server::Server;",
            "use super::{super::server::Server, Body};",
            "use self::super::super::server::Server;",
            "fn f(server: &crate::server::Server) {}",
            "fn f() { crate::server::run::<u8>() }",
            "fn f() { super::super::server::run() }",
            "use crate::Handle;",
            "use crate::log::Lines;",
            "use crate::Unheard;",
            "mod inner { use super::super::super::server::Server; }",
            "mod inner { fn f() {} } use super::super::server::Server;",
            "macro_rules! m { () => { $crate::server::Server } }",
            "use\n    crate\n    ::server /* here */ ::Server;",
            "#[path = \"../server/log.rs\"] mod log;",
            "include!(\"../server/log.rs\");",
            "extern crate self as doorway;",
            "#[cfg(not(test))] use crate::server::Server;",
            "#[cfg(test)] use crate::server::Server; use crate::server::Settings;",
            "const A: char = '\"'; use crate::server::Server; const B: char = '\"';",
            "fn f<'a>(x: &'a u8) {} use crate::server::Server; fn g<'a>(x: &'a u8) {}",
        ] {
            assert_ne!(arrows("gateway/body.rs", text), 0, "{text}");
        }
        assert_eq!(arrows("cause.rs", "use super::gateway::Body;"), 1);
        assert_eq!(arrows("door/mod.rs", "use super::server::Server;"), 1);
        assert_eq!(arrows("app/demo.rs", "use crate::server::log;"), 1);
        assert_eq!(arrows("attic/mod.rs", ""), 1);
    }

    #[test]
    fn lets_the_right_arrows_and_everything_that_is_no_arrow_pass() {
        for text in [
            "use crate::cause::Cause; use crate::Cause as Reason;",
            "use crate::gateway::Body; use super::{Body, super::gateway::Environ}; use self::inner::X; mod inner {}",
            "//! see [`crate::server`]\n/// `use crate::server::Server;`\nfn f() {}",
            "/* /* use crate::server::A; */ use crate::server::B; */",
            "const A: &str = \"use crate::server::Server;\"; const B: &str = r#\"\"use crate::server::Server;\"\"#;",
            "const C: &[u8] = br\"\\\"; const D: &str = \"\\\" use crate::server::Server;\";",
            "pub(crate) fn f(&self) { self.server() } pub(super) fn g() {}",
            "fn f() -> impl Iterator + use<'_> {}",
            "#[cfg(test)]\nmod tests { use crate::server::Server; fn f() { { crate::testing::g() } } }",
            "#[cfg(test)]\n#[allow(dead_code)]\nfn f() -> [u8; 2] { crate::server::g() }",
            "use std::sync::{Arc, Mutex}; use server::x;",
        ] {
            assert_eq!(arrows("gateway/body.rs", text), 0, "{text}");
        }
        assert_eq!(arrows("server/mod.rs", "use crate::door::Door; use crate::Handle; use super::http;"), 0);
        assert_eq!(arrows("lib.rs", "pub use server::Server; use crate::gateway;"), 0);
        assert_eq!(arrows("bin/doorway/main.rs", "use crate::flags; use doorway::Server;"), 0);
    }

    #[test]
    fn lets_a_room_give_out_the_listed_items_of_a_leaf_and_no_other() {
        assert_eq!(arrows("http/mod.rs", "pub mod a; pub use crate::web::response_head;"), 0);
        for (file, text) in [
            ("http/head.rs", "pub use crate::web::response_head;"),
            ("http/mod.rs", "use crate::web::response_head;"),
            ("http/mod.rs", "pub use crate::web::response_head; fn f() { crate::web::response_head::parse() }"),
            ("http/mod.rs", "pub use crate::web::response_head; pub use crate::web::response_head;"),
            ("http/mod.rs", "pub use crate::web::response_head::parse;"),
            ("http/date.rs", "pub use crate::web::date;"),
            ("gateway/mod.rs", "pub use crate::web::Response;"),
        ] {
            assert_eq!(arrows(file, text), 1, "{file}: {text}");
        }
    }

    #[test]
    fn knows_which_files_are_tests_only() {
        let found = test_modules("http/head.rs", "mod a; #[cfg(test)]\nmod tests; #[cfg(test)] use x::y;");
        assert_eq!(found, [["http", "head", "tests"]]);
    }

    #[test]
    fn catches_a_cfg_beyond_the_platform_families() {
        for text in [
            "#[cfg(feature = \"x\")] fn f() {}",
            "#[cfg(all(unix, not(target_os = \"linux\")))] fn f() {}",
            "fn f() { if cfg!(debug_assertions) {} }",
            "#![cfg_attr(docsrs, feature(doc_cfg))]",
        ] {
            assert_eq!(wrong_cfg("server/mod.rs", text).len(), 1, "{text}");
        }
        assert_eq!(wrong_cfg("server/mod.rs", "#[cfg(any(unix, windows))] fn f() { cfg!(test); } // cfg(x)"), [""; 0]);
        assert_eq!(wrong_cfg("bin/doorway/os.rs", "#[cfg(target_os = \"linux\")] const A: i32 = 0;"), [""; 0]);
    }

    #[test]
    fn catches_a_dependency_wherever_a_manifest_may_name_one() {
        for text in [
            "[dependencies]",
            "[dev-dependencies]",
            "[build-dependencies.cc]",
            "[target.'cfg(unix)'.dependencies]",
            "dependencies.libc = \"1\"",
            "dev-dependencies = { a = \"1\" }",
        ] {
            assert_eq!(dependencies(text).len(), 1, "{text}");
        }
        assert!(dependencies("[package]\nname = \"no-dependencies\"").is_empty());
    }
}
