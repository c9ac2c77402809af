//! What file a path asks for: a pure function from the bytes of `PATH_INFO` to the names on the way down from the root.
//!
//! The server has decoded the path once (P-ENV-05) and nothing is decoded here: `%252e` is a name that holds `%2e`. No name leads up, out or to
//! another drive, so what is joined from them lies below the root; where links lead is asked in `place`. Forbidden on every system are
//! `..`, NUL and other controls, and the backslash, which is a separator on one system and part of a name on another. On
//! Windows more names do not mean what they say. What is hidden by a leading dot stays so unless the deployer wants it, but for
//! `/.well-known/` (RFC 8615).

use std::ffi::OsStr;

use crate::gateway::percent_decode;
use crate::web::multipart::is_device;
use crate::web::percent_encode;

/// A path, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted<'path> {
    /// The names from the root down; none is empty.
    pub(super) names: Vec<&'path [u8]>,
    /// Whether the path ends as that of a directory does.
    pub(super) has_slash: bool,
}

/// Takes a path apart; `None` for one that no file can have. `hidden` lets names with a leading dot pass.
pub(super) fn map(path: &[u8], hidden: bool) -> Option<Wanted<'_>> {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        if matches!(name, b"" | b".") {
            continue;
        }
        let is_open = hidden || !is_hidden(name) || (names.is_empty() && name == b".well-known");
        if !is_open || !is_plain(name, cfg!(windows)) || os_name(name).is_none() {
            return None;
        }
        names.push(name);
    }
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // An application at a mount is asked for its own directory by an empty path, to which a slash belongs.
    Some(Wanted { names, has_slash: !path.is_empty() && matches!(last, b"" | b".") })
}

/// Whether a name is hidden by the custom of Unix.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".")
}

/// Whether a name means one thing in its directory, and nothing else.
pub(super) fn is_plain(name: &[u8], windows: bool) -> bool {
    let is_bad = |byte: &u8| *byte < 0x20 || matches!(*byte, 0x7f | b'\\' | b'/');
    let leads_away = matches!(name, b"" | b"." | b"..") || (windows && is_trap(name));
    !leads_away && !name.iter().any(is_bad)
}

/// Names that Windows takes for something else: streams and drives (`:`), devices (`NUL.txt`), short names (`GIT~1`) and names that
/// it strips at the end (`.git.`).
fn is_trap(name: &[u8]) -> bool {
    name.iter().any(|byte| b":*?\"<>|".contains(byte))
        || matches!(name.last(), Some(b'.' | b' '))
        || name.windows(2).any(|pair| matches!(pair, [b'~', digit] if digit.is_ascii_digit()))
        || is_device(name)
}

/// The bytes of a name as the system has names; `None` where it can have none such.
#[cfg(unix)]
pub(super) fn os_name(name: &[u8]) -> Option<&OsStr> {
    Some(std::os::unix::ffi::OsStrExt::from_bytes(name))
}

/// The bytes of a name as the system has names; `None` where it can have none such.
#[cfg(windows)]
pub(super) fn os_name(name: &[u8]) -> Option<&OsStr> {
    std::str::from_utf8(name).ok().map(OsStr::new)
}

/// The bytes of a name that the system gave; `None` where a path cannot spell it.
#[cfg(unix)]
pub(super) fn bytes_of(name: &OsStr) -> Option<&[u8]> {
    Some(std::os::unix::ffi::OsStrExt::as_bytes(name))
}

/// The bytes of a name that the system gave; `None` where a path cannot spell it.
#[cfg(windows)]
pub(super) fn bytes_of(name: &OsStr) -> Option<&[u8]> {
    name.to_str().map(str::as_bytes)
}

/// Where a directory is that was asked for without its slash: beside itself, because a front server may have taken a prefix away that the client
/// still sees. `target` is what the client asked for, whose last name counts.
///
/// It cannot be taken for another host: the relative form begins with `./` and holds one name; the absolute one, for a target whose last name is no
/// name here (`%2F`), is made anew from names that are not empty (`//evil.example/..` is an open redirect in other servers, CVE-2021-28861).
pub(super) fn location(target: &[u8], script_name: &[u8], names: &[&[u8]], query: &str) -> String {
    let mut all: Vec<&[u8]> = script_name.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    all.extend(names);
    let asked = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut name = Vec::new();
    percent_decode(asked.rsplit(|byte| *byte == b'/').next().unwrap_or_default(), &mut name);
    let (mut location, shown) = match all.last().filter(|last| name == **last) {
        Some(_) => (String::from("./"), all.split_at(all.len() - 1).1),
        None => (String::from("/"), all.as_slice()),
    };
    for name in shown {
        percent_encode(name, b"", &mut location);
        location.push('/');
    }
    if !query.is_empty() {
        location.push('?');
        location.push_str(query);
    }
    location
}

#[cfg(test)]
mod tests {
    use super::{Wanted, is_plain, location, map};

    fn names(path: &[u8]) -> Option<Vec<&[u8]>> {
        map(path, false).map(|wanted| wanted.names)
    }

    #[test]
    fn a_path_is_its_names_without_empty_ones_and_dots() {
        for path in ["/a/b.txt", "//a//b.txt", "/./a/././b.txt", "a/b.txt"] {
            assert_eq!(names(path.as_bytes()), Some(vec![&b"a"[..], b"b.txt"]), "{path}");
        }
        assert_eq!(names(b"/"), Some(vec![]));
        assert_eq!(names(b"/\xff\xe4 <>\"&%2e?#"), Some(vec![&b"\xff\xe4 <>\"&%2e?#"[..]]));
        // Names that only look like the way up (mongoose issue 1391).
        assert_eq!(names(b"/a..b/c../d...e"), Some(vec![&b"a..b"[..], b"c..", b"d...e"]));
    }

    #[test]
    fn a_slash_or_a_dot_at_the_end_asks_for_a_directory() {
        for (path, has_slash) in
            [("/", true), ("/a/", true), ("/a/.", true), ("/a", false), ("", false), ("/a.", false)]
        {
            assert_eq!(map(path.as_bytes(), false).map(|wanted| wanted.has_slash), Some(has_slash), "{path}");
        }
    }

    #[test]
    fn no_spelling_leads_up_or_out() {
        // As they are after the one decoding of the server.
        for path in [
            &b"/.."[..],
            b"/../etc/passwd",
            b"/a/../../etc/passwd",
            b"/a/..",
            b"..",
            b"/..\\..\\etc",
            b"/a\\b",
            b"/\\\\host\\share",
            b"/a\0.txt",
            b"/\0",
            b"/a\nb",
            b"/a\rb",
            b"/\x1b[31m",
            b"/\x7f",
        ] {
            assert_eq!(map(path, false), None, "{}", path.escape_ascii());
            assert_eq!(map(path, true), None, "{}", path.escape_ascii());
        }
        // Decoded a second time these would lead up.
        assert_eq!(names(b"/%2e%2e/%2e%2e%2fetc"), Some(vec![&b"%2e%2e"[..], b"%2e%2e%2fetc"]));
        // A host at the front is only a name.
        assert_eq!(names(b"//evil.example/a"), Some(vec![&b"evil.example"[..], b"a"]));
    }

    #[test]
    fn what_is_hidden_stays_so_but_for_what_is_well_known() {
        for path in
            ["/.git/config", "/a/.env", "/.", "/..test", "/a/.well-known/x", "/.well-known/.git", "/.well-knownx"]
        {
            assert_eq!(names(path.as_bytes()).is_some(), path == "/.", "{path}");
            assert!(map(path.as_bytes(), true).is_some(), "{path}");
        }
        assert_eq!(names(b"/.well-known/acme-challenge/x").map(|names| names.len()), Some(3));
    }

    #[test]
    fn names_that_windows_takes_for_something_else_are_refused_there() {
        for name in [
            "c:",
            "C:x",
            "a:$DATA",
            "a.txt::$DATA",
            "nul",
            "NUL.txt",
            "con ",
            "Aux",
            "com1",
            "LPT9.log",
            "COM\u{b9}",
            "GIT~1",
            "a.",
            "a ",
            "a*",
            "a?",
            "<a",
            "a|b",
            "CONIN$",
        ] {
            assert!(!is_plain(name.as_bytes(), true), "{name}");
        }
        for name in
            ["console", "common", "com.txt", "a~b", "null", "lpt", "auxiliary.h", "a.b c", "computer1", "coma", "com10"]
        {
            assert!(is_plain(name.as_bytes(), true), "{name}");
        }
        assert!(is_plain(b"Talk:Foo", false) && is_plain(b"nul", false) && is_plain(b"a.", false));
    }

    #[test]
    fn random_paths_give_only_names_that_stay_below_the_root() {
        let mut state: u64 = 88_172_645_463_325_252;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let pieces: [&[u8]; 12] =
            [b"/", b"..", b".", b"a", b"\\", b"\0", b"%2e", b".git", b".well-known", b"\xff", b"//", b"~1"];
        for _ in 0..20_000 {
            let path: Vec<u8> = (0..next() % 9).flat_map(|_| pieces[(next() % 12) as usize].to_vec()).collect();
            let hidden = next() % 2 == 0;
            let Some(Wanted { names, .. }) = map(&path, hidden) else { continue };
            for (depth, name) in names.iter().enumerate() {
                assert!(is_plain(name, false) && !name.contains(&b'/'), "{}", path.escape_ascii());
                let is_well_known = depth == 0 && *name == b".well-known";
                assert!(hidden || is_well_known || !name.starts_with(b"."), "{}", path.escape_ascii());
            }
            let location = location(b"", b"", &names, "");
            assert!(location.starts_with('/') && !location.starts_with("//") && location.ends_with('/'), "{location}");
            assert!(location.bytes().all(|byte| byte.is_ascii_graphic()) && !location.contains('\\'), "{location}");
        }
    }

    #[test]
    fn a_redirect_is_relative_to_what_the_client_asked_for_and_keeps_the_query() {
        for (target, script_name, names, expected) in [
            ("/sub", "", &["sub"][..], "./sub/"),
            // In front of it somebody has taken a prefix away, or has put one there.
            ("/prefix/sub", "", &["sub"], "./sub/"),
            ("/docs", "/docs", &[], "./docs/"),
            ("/docs/a%20b?c/d", "/docs", &["a b"], "./a%20b/"),
            ("/a:b", "", &["a:b"], "./a%3Ab/"),
            ("http://localhost/sub", "", &["sub"], "./sub/"),
            // What a client sees as one name is two here, or was rewritten.
            ("/a%2Fb", "", &["a", "b"], "/a/b/"),
            ("/elsewhere", "/docs", &["sub"], "/docs/sub/"),
            ("", "//evil.example", &[], "/evil.example/"),
            ("//evil.example", "", &["evil.example"], "./evil.example/"),
            ("/%2Fevil.example", "", &["evil.example"], "/evil.example/"),
        ] {
            let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
            for (query, end) in [("", ""), ("x=%20&y", "?x=%20&y")] {
                let location = location(target.as_bytes(), script_name.as_bytes(), &names, query);
                assert_eq!(location, format!("{expected}{end}"), "{target}");
            }
        }
        assert_eq!(location(b"/\xe4%25", b"", &[b"\xe4%"], ""), "./%E4%25/");
    }
}
