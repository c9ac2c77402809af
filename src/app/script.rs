//! Which script a path asks for: the first name on the way down that is one, and what is left of the path behind it.
//!
//! RFC 3875 sections 3.2 and 4.1.5: `/index.php/rest` is the script `/index.php` with the path `/rest`. No name leads up, means something
//! else or is hidden, `.well-known` too: that is for files. Links are followed while they stay inside. A path that
//! leads to no script is an answer by itself: no interpreter is ever asked about a file that is not there.

use std::io;
use std::path::{Path, PathBuf};

use super::path::{self, os_name};
use super::relay::Failure;
use crate::gateway::{Environ, Headers, StartResponse};

/// A folder of scripts.
#[derive(Clone, Debug)]
pub(crate) struct Scripts {
    /// Without links.
    root: PathBuf,
    /// What stands for a folder.
    index: Option<&'static str>,
    is_script: fn(&Path) -> bool,
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Script(Script),
    /// A folder that was asked for without its slash; where it is.
    Folder(String),
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) file: PathBuf,
    /// The path of the script from the folder on: `/index.php`.
    pub(crate) name: Vec<u8>,
    /// What is behind it; empty or starting with a slash.
    pub(crate) rest: Vec<u8>,
}

impl Scripts {
    /// # Errors
    /// When the folder is not there.
    pub(crate) fn new(root: &Path, index: Option<&'static str>, is_script: fn(&Path) -> bool) -> io::Result<Scripts> {
        let root = root.canonicalize()?;
        if !root.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", root.display())));
        }
        Ok(Scripts { root, index, is_script })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What PATH_INFO asks for.
    pub(crate) fn find(&self, environ: &Environ) -> Found {
        let (mut place, mut name, mut rest) = (self.root.clone(), Vec::new(), environ.path_info());
        while let Some((segment, behind)) = next_name(rest) {
            let is_open = path::is_plain(segment, cfg!(windows)) && !path::is_hidden(segment);
            let Some(os) = os_name(segment).filter(|_| is_open) else { return Found::Nothing };
            place.push(os);
            name.push(b'/');
            name.extend_from_slice(segment);
            rest = behind;
            let Ok(metadata) = place.metadata() else { return Found::Nothing };
            if !metadata.is_dir() {
                return self.script(place, name, rest);
            }
        }
        let Some(index) = self.index else { return Found::Nothing };
        let file = place.join(index);
        if !self.is_own(&file) {
            return Found::Nothing;
        }
        if !rest.starts_with(b"/") {
            let names: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
            let target = environ.bytes("REQUEST_URI").unwrap_or_default();
            return Found::Folder(path::location(target, environ.script_name(), &names, environ.query_string()));
        }
        name.push(b'/');
        name.extend_from_slice(index.as_bytes());
        Found::Script(Script { file, name, rest: Vec::new() })
    }

    fn script(&self, file: PathBuf, name: Vec<u8>, rest: &[u8]) -> Found {
        // What is behind a script is data; a NUL in it would end it early for the interpreter.
        match self.is_own(&file) && !rest.contains(&0) {
            true => Found::Script(Script { file, name, rest: rest.to_vec() }),
            false => Found::Nothing,
        }
    }

    /// Whether it is a script, and lies inside.
    fn is_own(&self, file: &Path) -> bool {
        let inside = file.canonicalize().is_ok_and(|place| place.starts_with(&self.root));
        inside && file.metadata().is_ok_and(|metadata| metadata.is_file()) && (self.is_script)(file)
    }
}

impl Script {
    /// Says in the variables which script it is (RFC 3875 sections 4.1.5, 4.1.6 and 4.1.13). The last ones are those that PHP asks for.
    pub(crate) fn describe(&self, root: &Path, environ: &mut Environ) {
        let script_name = [environ.script_name(), &self.name].concat();
        let uri = [&*script_name, &self.rest].concat();
        environ.set("SCRIPT_NAME", script_name);
        environ.set("PATH_INFO", &self.rest);
        environ.set("SCRIPT_FILENAME", self.file.as_os_str().as_encoded_bytes());
        environ.set("DOCUMENT_ROOT", root.as_os_str().as_encoded_bytes());
        environ.set("DOCUMENT_URI", uri);
        // An interpreter that was asked for a script by a path of its own (php-cgi) answers only with this.
        environ.set("REDIRECT_STATUS", "200");
        if self.rest.is_empty() {
            environ.remove("PATH_INFO");
        } else {
            environ.set("PATH_TRANSLATED", [root.as_os_str().as_encoded_bytes(), &self.rest].concat());
        }
    }
}

impl Found {
    /// The script; what else there is is answered here, nothing with this detail.
    pub(crate) fn or_answer(
        self,
        start_response: &mut StartResponse,
        nothing: &'static str,
    ) -> Result<Script, Failure> {
        match self {
            Found::Script(script) => Ok(script),
            Found::Folder(location) => {
                let mut headers = Headers::new();
                headers.add("Location", location);
                start_response.start_with("301 Moved Permanently", &headers);
                Err(Failure::Answered)
            }
            Found::Nothing => Err(Failure::Refused("404 Not Found", nothing)),
        }
    }
}

/// The next name of a path and what is behind it; `None` where only slashes are left.
fn next_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let begin = path.iter().position(|byte| *byte != b'/')?;
    let (_, path) = path.split_at(begin);
    let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
    Some(path.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Request;

    fn find(scripts: &Scripts, path: &str) -> Found {
        let mut environ = Request::get("/").environ();
        environ.set("PATH_INFO", path);
        scripts.find(&environ)
    }

    #[test]
    fn rfc3875_3_2_the_first_script_on_the_way_is_asked_and_the_rest_is_its_path() {
        let folder = std::env::temp_dir().join(format!("doorway-script-{}", std::process::id()));
        for name in ["index.php", "sub/index.php", "sub/x.php", "plain.txt", ".hidden/a.php", "empty/y.txt"] {
            let file = folder.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let is_php = |file: &Path| file.extension().is_some_and(|extension| extension == "php");
        let scripts = Scripts::new(&folder, Some("index.php"), is_php).unwrap();
        for (path, name, rest) in [
            ("/", "/index.php", ""),
            ("/index.php", "/index.php", ""),
            ("/index.php/", "/index.php", "/"),
            ("/index.php/a//b/../c", "/index.php", "/a//b/../c"),
            ("//sub//x.php/r", "/sub/x.php", "/r"),
            ("/sub/", "/sub/index.php", ""),
        ] {
            let Found::Script(script) = find(&scripts, path) else { panic!("{path}") };
            assert_eq!((&*script.name, &*script.rest), (name.as_bytes(), rest.as_bytes()), "{path}");
            assert_eq!(script.file, scripts.root().join(&name[1..]), "{path}");
        }
        assert_eq!(find(&scripts, "/sub"), Found::Folder("/sub/".into()));
        for path in [
            "/plain.txt",
            "/none.php",
            "/index.phpx",
            "/sub/none.php/x",
            "/../index.php",
            "/sub/../index.php",
            "/.hidden/a.php",
            "/empty/",
            "/empty",
            "/index.php\0",
            "/index.php/\0",
            "/sub\\x.php",
        ] {
            assert_eq!(find(&scripts, path), Found::Nothing, "{path:?}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc/passwd", folder.join("out.php")).unwrap();
            assert_eq!(find(&scripts, "/out.php"), Found::Nothing);
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
