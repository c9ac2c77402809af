//! What stands behind the command at its place: other servers (`--proxy`, `--pass`), programs (`--cgi`) and Python (`--wsgi`).
//!
//! A value is read here without a look at the system; whether a folder or a program is there is found out by [`Behind::open`].

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doorway::app::{Files, Pass, Proxy};
use doorway::middleware::Buffered;
use doorway::{Application, Body, Environ, StartResponse};

use crate::options::Options;
use crate::values::placed;
use crate::wsgi::Workers;

/// How long a server or a program may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Up to here content is received into memory, and beyond into a file, before anybody is asked; and an answer is taken off the hands of
/// whoever makes it. So slow clients hold no process that has one request at a time.
pub const GATHERED: usize = 1024 * 1024;

/// How long such a content may be where `--upload-limit` does not say. All seats together may have so much in the temporary folder.
const KEPT: u64 = 1 << 30;

/// One thing behind, which takes the place of a folder.
#[derive(Clone, Debug)]
pub enum Behind {
    Proxy(Proxy),
    Pass(Pass),
    /// FastCGI for the PHP files of a folder.
    Php(Pass, PathBuf),
    Cgi(PathBuf),
    /// `module:callable`.
    Wsgi(String),
}

impl Behind {
    /// `/P=URL`.
    pub fn proxy(text: &str) -> Result<(String, Behind), String> {
        let (prefix, url) = placed(text, "/api=http://127.0.0.1:3000")?;
        Ok((prefix, Behind::Proxy(Proxy::to(url).map_err(|error| error.to_string())?)))
    }

    /// `/P=uwsgi:ADDR`, `scgi:ADDR` or `fastcgi:ADDR[,root=DIR]`.
    pub fn pass(text: &str) -> Result<(String, Behind), String> {
        let example = "/app=uwsgi:127.0.0.1:3031, scgi:ADDR or fastcgi:unix:/run/php.sock,root=DIR";
        let (prefix, rest) = placed(text, example)?;
        let (protocol, address) = rest.split_once(':').ok_or_else(|| format!("write it as {example}"))?;
        let (address, root) = match address.split_once(",root=") {
            Some((address, root)) => (address, Some(root)),
            None => (address, None),
        };
        let pass = match protocol {
            "uwsgi" => Pass::uwsgi(address),
            "scgi" => Pass::scgi(address),
            "fastcgi" => Pass::fastcgi(address),
            _ => return Err(format!("a protocol is uwsgi, scgi or fastcgi: write it as {example}")),
        };
        let pass = pass.map_err(|error| error.to_string())?;
        match root {
            None => Ok((prefix, Behind::Pass(pass))),
            Some(_) if protocol != "fastcgi" => Err("only FastCGI has scripts below a root".into()),
            Some("") => Err(format!("write it as {example}")),
            Some(root) => Ok((prefix, Behind::Php(pass, root.into()))),
        }
    }

    /// `/P=DIR` or `/P=PROGRAM`.
    pub fn cgi(text: &str) -> Result<(String, Behind), String> {
        let (prefix, path) = placed(text, "/cgi-bin=DIR or /git=PROGRAM")?;
        Ok((prefix, Behind::Cgi(path.into())))
    }

    /// `MODULE:CALLABLE`, at `/` or as `/P=MODULE:CALLABLE`.
    pub fn wsgi(text: &str) -> Result<(String, Behind), String> {
        let example = "package.module:application";
        let (prefix, application) =
            if text.starts_with('/') { placed(text, "/app=module:application")? } else { (String::new(), text) };
        let module = application.split(':').next().unwrap_or_default();
        if module.ends_with(".py") || module.contains('/') {
            return Err(format!("that is a file; write the module it is: {example}"));
        }
        let is_name = |name: &str| !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit());
        let is_word = |name: &str| {
            name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || !letter.is_ascii())
        };
        if !module.split('.').all(|name| is_name(name) && is_word(name)) {
            return Err(format!("an application is {example}, or a call that makes it: module:create_app()"));
        }
        Ok((prefix, Behind::Wsgi(application.to_owned())))
    }

    /// The flag that names it.
    pub fn flag(&self) -> &'static str {
        match self {
            Behind::Proxy(_) => "--proxy",
            Behind::Pass(_) | Behind::Php(..) => "--pass",
            Behind::Cgi(_) => "--cgi",
            Behind::Wsgi(_) => "--wsgi",
        }
    }

    /// What it is, in a few words.
    pub fn describe(&self, options: &Options) -> String {
        match self {
            Behind::Proxy(_) => "what is behind the proxy".to_owned(),
            Behind::Pass(pass) => format!("what is behind {pass}"),
            Behind::Php(_, root) => format!("the PHP of {}", root.display()),
            Behind::Cgi(path) => format!("the programs of {}", path.display()),
            Behind::Wsgi(application) => {
                let (workers, threads) = (options.python.workers, options.python.threads);
                format!("{application} by Python, {workers} x {threads} calls at once")
            }
        }
    }

    /// The folder whose files it shows.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Behind::Php(_, root) => Some(root),
            Behind::Proxy(_) | Behind::Pass(_) | Behind::Cgi(_) | Behind::Wsgi(_) => None,
        }
    }

    /// Whether it may run what somebody puts into a folder or below: a PHP file that is asked for, a module that Python finds before its own. A program
    /// must be executable, which no file is that was sent.
    pub fn runs_files_of(&self, folder: &Path) -> bool {
        match self {
            Behind::Php(_, root) => {
                root.canonicalize().is_ok_and(|root| root.starts_with(folder) || folder.starts_with(&root))
            }
            Behind::Wsgi(_) => std::env::current_dir().is_ok_and(|own| own.starts_with(folder)),
            Behind::Proxy(_) | Behind::Pass(_) | Behind::Cgi(_) => false,
        }
    }

    /// The application that answers for it. Workers that are started for it are added to those there are.
    pub fn open(&self, options: &Options, workers: &mut Vec<Workers>) -> io::Result<Box<dyn Application>> {
        let silence = options.proxy_timeout.unwrap_or(SILENCE);
        let patient =
            |pass: &Pass| pass.clone().first_byte_deadline(silence).progress_deadline(silence).gather_answer(GATHERED);
        Ok(match self {
            Behind::Proxy(proxy) => Box::new(proxy.clone().first_byte_deadline(silence).progress_deadline(silence)),
            Behind::Pass(pass) => Box::new(gathered(patient(pass), options)),
            Behind::Php(pass, root) => Box::new(Php::new(patient(pass), root, options)?),
            Behind::Cgi(path) => Box::new(gathered(cgi(path, silence)?, options)),
            Behind::Wsgi(application) => {
                let started = Workers::start(options.plan(application, workers.len()))?;
                let application = gathered(started.application(), options);
                workers.push(started);
                Box::new(application)
            }
        })
    }
}

/// With the content of a request received first.
fn gathered(application: impl Application, options: &Options) -> Buffered<Box<dyn Application>> {
    let application: Box<dyn Application> = Box::new(application);
    Buffered::new(application).memory(GATHERED).limit(options.upload_limit.unwrap_or(KEPT))
}

fn named(flag: &str, path: &Path, error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "it is not there".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("{flag} {}: {advice}", path.display()))
}

#[cfg(unix)]
fn cgi(path: &Path, silence: Duration) -> io::Result<Box<dyn Application>> {
    use doorway::app::Cgi;

    let cgi = if path.is_dir() { Cgi::directory(path) } else { Cgi::program(path) };
    Ok(Box::new(cgi.map_err(|error| named("--cgi", path, error))?.silent_deadline(silence)))
}

/// Ends the programs that would run on without this process, which may take so long for what they have left to do.
pub fn end_programs(within: Duration) {
    #[cfg(unix)]
    doorway::app::Cgi::end_all(within);
    #[cfg(not(unix))]
    let _ = within;
}

#[cfg(not(unix))]
fn cgi(path: &Path, _silence: Duration) -> io::Result<Box<dyn Application>> {
    Err(named("--cgi", path, io::Error::new(io::ErrorKind::Unsupported, "CGI programs need a Unix system")))
}

/// A folder of PHP files and what they show: scripts for the interpreter, all other files as they are.
struct Php {
    scripts: Buffered<Box<dyn Application>>,
    files: Files,
    root: PathBuf,
}

impl Php {
    fn new(pass: Pass, root: &Path, options: &Options) -> io::Result<Php> {
        let wrong = |error| named("--pass root", root, error);
        let root = root.canonicalize().map_err(wrong)?;
        let scripts = gathered(pass.script_root(&root).map_err(wrong)?, options);
        let files = Files::new(&root).map_err(wrong)?.listing(false).cache_control("no-cache");
        Ok(Php { scripts, files, root })
    }

    /// Whether a path is that of a file which is no script. The application that gets it decides again whether it may be seen. Nothing is looked for by
    /// a name that begins with a dot, `..` least of all: who answers would tell what there is on the disk.
    fn is_plain(&self, path: &str) -> bool {
        let is_hidden = |name: &str| name.starts_with('.') && name != ".well-known";
        let is_script = |name: &str| name.to_ascii_lowercase().contains(".ph");
        !path.split('/').any(|name| is_hidden(name) || is_script(name))
            && self.root.join(path.trim_start_matches('/')).is_file()
    }
}

impl Application for Php {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        match self.is_plain(&environ.path()) {
            true => self.files.call(environ, start_response),
            false => self.scripts.call(environ, start_response),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorway::testing::Request;

    #[test]
    fn a_protocol_and_an_address_are_passed_to_and_php_has_a_root() {
        for (text, flag, is_php) in [
            ("/=uwsgi:127.0.0.1:3031", "--pass", false),
            ("/a=scgi:unix:/run/a.sock", "--pass", false),
            ("/a=fastcgi:[::1]:9000", "--pass", false),
            ("/a=fastcgi:unix:/run/php.sock,root=/srv/www", "--pass", true),
        ] {
            let (_, behind) = Behind::pass(text).unwrap();
            assert_eq!((behind.flag(), matches!(behind, Behind::Php(..))), (flag, is_php), "{text}");
        }
        for (text, part) in [
            ("/a", "write it as"),
            ("/a=http://localhost", "a protocol is uwsgi"),
            ("/a=uwsgi", "write it as"),
            ("/a=uwsgi:3031", "HOST:PORT or unix:PATH"),
            ("/a=scgi:localhost:1,root=x", "only FastCGI"),
            ("/a=fastcgi:localhost:1,root=", "write it as"),
            ("a=fastcgi:localhost:1", "begins with one slash"),
        ] {
            let error = Behind::pass(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn an_application_is_a_module_and_a_name_or_a_call() {
        for (text, prefix, application) in [
            ("app:app", "", "app:app"),
            ("mysite.wsgi", "", "mysite.wsgi"),
            ("/app=a.b:create_app(debug=True)", "/app", "a.b:create_app(debug=True)"),
        ] {
            let (found, behind) = Behind::wsgi(text).unwrap();
            assert!(matches!(behind, Behind::Wsgi(name) if name == application) && found == prefix, "{text}");
        }
        for (text, part) in [
            ("app.py", "write the module it is"),
            ("./app:app", "write the module it is"),
            ("", "an application is"),
            (":app", "an application is"),
            ("-c:app", "an application is"),
            ("/app", "write it as /app=module:application"),
        ] {
            let error = Behind::wsgi(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn files_beside_scripts_are_served_and_the_source_of_a_script_never_is() {
        let folder = std::env::temp_dir().join(format!("doorway-php-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("img")).unwrap();
        for name in ["index.php", "a.PHP", "old.php.bak", "img/a.svg", ".env", "x.phtml"] {
            std::fs::write(folder.join(name), "source").unwrap();
        }
        let (_, behind) = Behind::pass(&format!("/=fastcgi:127.0.0.1:1,root={}", folder.display())).unwrap();
        let site = behind.open(&Options::default(), &mut Vec::new()).unwrap();
        let status = |path: &str| Request::get(path).call(&site).status.code();
        assert_eq!(Request::get("/img/a.svg").call(&site).text(), "source");
        // Nobody listens there, so that a script is a 502.
        assert_eq!(status("/"), 502);
        assert_eq!(status("/index.php/img/a.svg"), 502);
        for path in ["/a.PHP", "/old.php.bak", "/x.phtml", "/.env", "/none", "/img/../.env"] {
            assert_eq!(status(path), 404, "{path}");
        }
        // Nor is told whether there is something where nothing is served.
        let text = |path: &str| Request::get(path).call(&site).text();
        for (there, missing) in
            [("/.env", "/.none"), ("/../../etc/passwd", "/../../etc/none"), ("/img/../.env", "/.none")]
        {
            assert_eq!(text(there), text(missing), "{there}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
