//! `Normalize`: no dot segments and no doubled slashes in the path that an application sees.
//!
//! RFC 3986 section 5.2.4; docs/rules.md P-ENV-06. The HTTP door passes a path on as it was sent, because then server and
//! application never disagree about it. But a front server may: nginx checks access on the resolved path and, with a
//! `proxy_pass` that names no URI, forwards the raw one. So an application that maps paths to files, or stands behind such
//! rules, wants this around it.
//!
//! It changes `PATH_INFO` alone and works on decoded bytes, so that `%2e%2e` and `%2F` are what they stand for and bytes that
//! are not UTF-8 stay as they are; `REQUEST_URI` still says what was sent. It does not redirect, and it does not know what else a
//! file system takes for a separator (`\` on Windows).

use crate::gateway::{Application, Body, Environ, StartResponse};

/// Resolves `.` and `..` and merges slashes; a path that leads above the root is answered 400. To be put around a
/// [`Mount`](super::Mount) and not below it, so that prefixes are found in the path as it is meant.
///
/// ```
/// use doorway::{Body, Environ, StartResponse, middleware::Normalize, testing::Request};
///
/// fn show(environ: &Environ, start_response: &mut StartResponse) -> Body {
///     start_response.start("200 OK", &[("Content-Type", "text/plain")]);
///     Body::from(environ.path().into_owned())
/// }
///
/// let application = Normalize::new(show);
/// assert_eq!(Request::get("//a/./b/%2e%2e/c/").call(&application).text(), "/a/c/");
/// assert_eq!(Request::get("/a/../../etc/passwd").call(&application).status.code(), 400);
/// ```
pub struct Normalize<A> {
    inner: A,
}

impl<A: Application> Normalize<A> {
    /// Puts itself around an application.
    pub fn new(inner: A) -> Normalize<A> {
        Normalize { inner }
    }
}

impl<A: Application> Application for Normalize<A> {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        match normalized(environ.path_info()) {
            Some(path) if path == environ.path_info() => self.inner.call(environ, start_response),
            Some(path) => {
                let mut inner = environ.clone();
                inner.set("PATH_INFO", path);
                self.inner.call(&inner, start_response)
            }
            None => {
                start_response.start("400 Bad Request", &[("Content-Type", "text/plain")]);
                Body::from("Bad Request\n")
            }
        }
    }
}

/// The path without `.`, `..` and empty segments; `None` when it leads above the root. An empty path, which is the root of
/// something mounted, stays empty (P-ENV-04), and a slash at the end stays one.
fn normalized(path: &[u8]) -> Option<Vec<u8>> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop()?;
            }
            name => kept.push(name),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for name in &kept {
        out.push(b'/');
        out.extend_from_slice(name);
    }
    // RFC 3986 section 5.2.4: what ends in a slash or a dot segment names a collection.
    let names_collection =
        path.rsplit(|byte| *byte == b'/').next().is_none_or(|last| matches!(last, b"" | b"." | b".."));
    if names_collection && !path.is_empty() {
        out.push(b'/');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn rfc3986_5_2_4_dot_segments_and_doubled_slashes_are_gone_and_all_other_bytes_stay() {
        let vectors: [(&[u8], &[u8]); 16] = [
            (b"", b""),
            (b"/", b"/"),
            (b"//", b"/"),
            (b"/.", b"/"),
            (b"/a", b"/a"),
            (b"/a/", b"/a/"),
            (b"/a/.", b"/a/"),
            (b"/a/..", b"/"),
            (b"/a/b/..", b"/a/"),
            (b"/a/b/c/./../../g", b"/a/g"),
            (b"///a//b///", b"/a/b/"),
            (b"/a/../b", b"/b"),
            (b"/.../..a/b..", b"/.../..a/b.."),
            (b"/\xE4/../\xFF\\..", b"/\xFF\\.."),
            (b"/ /%2e%2e", b"/ /%2e%2e"),
            (b"//a/b c/../d\xE4", b"/a/d\xE4"),
        ];
        for (path, expected) in vectors {
            assert_eq!(normalized(path).as_deref(), Some(expected), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn a_path_above_the_root_has_no_normal_form() {
        for path in [&b"/.."[..], b"/../", b"/a/../..", b"/./../a", b"//..", b"/a/../../a"] {
            assert_eq!(normalized(path), None, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn normalizing_twice_changes_nothing_more() {
        let mut path = Vec::new();
        for number in 0..4096_u32 {
            path.clear();
            path.push(b'/');
            path.extend((0..6).map(|at| b"/./a"[usize::try_from(number >> (2 * at) & 3).unwrap()]));
            if let Some(once) = normalized(&path) {
                assert_eq!(normalized(&once).as_ref(), Some(&once));
                assert!(!once.windows(2).any(|pair| pair == b"//"), "{}", once.escape_ascii());
            }
        }
    }
}
