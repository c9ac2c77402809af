//! The flags of the command: one table from which parsing, help and completions are made.
//!
//! `--flag value`, `--flag=value`, `-f value`; an optional value only behind `=`; `--` ends the flags; one folder may stand anywhere.
//! What is not understood is an error that says what to write instead, because a command that guesses serves the wrong folder to
//! the wrong people. Nothing here looks at the system: whether a folder is there is found out later.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use doorway::Door;

use crate::behind::Behind;
use crate::doors;
use crate::options::{Colour, Format, Options};
use crate::values::{WITH_PAGE, distance, host_of, page_of, placed, prefix_of};

/// What one flag is.
pub struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    pub value: Value,
    /// One short sentence; that of a flag which shares a line stands behind that of the flag before it.
    pub help: &'static str,
    /// Whether it stands on the line of the flag before it in the help.
    pub shares_line: bool,
    pub apply: Apply,
}

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value {
    None,
    /// Anything, with its name in the help.
    Text(&'static str),
    /// A file or a folder, with its name in the help.
    Path(&'static str),
    /// One of these.
    Choice(&'static str, &'static [&'static str]),
    /// May be left out.
    Optional(&'static str),
}

/// What a flag does.
#[derive(Clone, Copy)]
pub enum Apply {
    Set(fn(&mut Options)),
    Take(fn(&mut Options, &str) -> Result<(), String>),
    Ask(Asked),
}

/// What can be asked for instead of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Help,
    Version,
}

/// What the arguments come to.
#[derive(Debug)]
pub enum Parsed {
    Serve(Box<Options>),
    Completions(String),
    Asked(Asked),
}

const fn flag(long: &'static str, value: Value, help: &'static str, apply: Apply) -> Flag {
    Flag { long, short: None, value, help, shares_line: false, apply }
}

const fn with_short(mut flag: Flag, short: char) -> Flag {
    flag.short = Some(short);
    flag
}

const fn beside(mut flag: Flag) -> Flag {
    flag.shares_line = true;
    flag
}

const fn door(long: &'static str, help: &'static str, apply: Apply) -> Flag {
    flag(long, Value::Text("A"), help, apply)
}

fn add_door(options: &mut Options, door: Door, address: &str) -> Result<(), String> {
    options.doors.push(doors::read(door, address)?);
    Ok(())
}

fn up_to(text: &str, most: usize, what: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{what} are a number from 1 to {most}"))
}

fn add_behind(options: &mut Options, read: Result<(String, Behind), String>) -> Result<(), String> {
    options.behind.push(read?);
    Ok(())
}

use Apply::{Ask, Set, Take};
use Value::{Choice, Optional, Path, Text};

/// Every flag, in the order of the help.
pub const FLAGS: &[Flag] = &[
    with_short(
        flag(
            "port",
            Text("PORT"),
            "port; 0 takes any (default 8000 or the next free)",
            Take(|options, text| {
                options.port = Some(text.parse().map_err(|_| "a port is a number from 0 to 65535")?);
                Ok(())
            }),
        ),
        'p',
    ),
    flag(
        "host",
        Text("ADDR"),
        "address (default: this machine only); 0.0.0.0: all",
        Take(|options, text| {
            options.hosts.push(text.to_owned());
            Ok(())
        }),
    ),
    flag(
        "mount",
        Path("/P=DIR"),
        "serve another folder under /P; may be repeated",
        Take(|options, text| {
            let (prefix, folder) = placed(text, "/docs=DIR")?;
            options.mounts.push((prefix, PathBuf::from(folder)));
            Ok(())
        }),
    ),
    flag(
        "proxy",
        Text("/P=URL"),
        "pass /P on to the server at URL; may be repeated",
        Take(|options, text| add_behind(options, Behind::proxy(text))),
    ),
    flag(
        "pass",
        Text("/P=PROTO:A"),
        "by uwsgi, scgi or fastcgi",
        Take(|options, text| add_behind(options, Behind::pass(text))),
    ),
    beside(flag("cgi", Path("/P=X"), "CGI programs", Take(|options, text| add_behind(options, Behind::cgi(text))))),
    flag(
        "wsgi",
        Text("M:F"),
        "application F of Python module M",
        Take(|options, text| add_behind(options, Behind::wsgi(text))),
    ),
    beside(flag(
        "python",
        Path("PATH"),
        "by this Python",
        Take(|options, text| {
            options.python = Some(PathBuf::from(text));
            Ok(())
        }),
    )),
    flag(
        "workers",
        Text("N"),
        "its processes (1)",
        Take(|options, text| {
            options.workers = up_to(text, 256, "workers")?;
            Ok(())
        }),
    ),
    beside(flag(
        "worker-threads",
        Text("N"),
        "threads of each (4)",
        Take(|options, text| {
            options.worker_threads = up_to(text, 256, "threads of a worker")?;
            Ok(())
        }),
    )),
    flag(
        "worker-timeout",
        Text("S"),
        "for a call (30)",
        Take(|options, text| {
            let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
            options.worker_timeout = Duration::from_secs_f64(seconds.ok_or("a timeout is seconds, from 0.1 to 86400")?);
            Ok(())
        }),
    ),
    beside(flag(
        "max-requests",
        Text("N"),
        "then a new process",
        Take(|options, text| {
            let most = text.parse().ok().filter(|most| *most > 0);
            options.max_requests = Some(most.ok_or("requests are a number from 1 on")?);
            Ok(())
        }),
    )),
    flag(
        "prefix",
        Text("/P"),
        "serve all under /P",
        Take(|options, text| {
            options.prefix = Some(prefix_of(text)?);
            Ok(())
        }),
    ),
    beside(flag(
        "allow-host",
        Text("NAME"),
        "answer to NAME too",
        Take(|options, text| {
            options.allowed_hosts.push(host_of(text)?);
            Ok(())
        }),
    )),
    flag(
        "spa",
        Optional("FILE"),
        "answer unknown routes with FILE",
        Take(|options, text| {
            options.spa = Some(page_of(if text.is_empty() { "index.html" } else { text })?);
            Ok(())
        }),
    ),
    beside(flag(
        "index",
        Text("FILE"),
        "for a folder",
        Take(|options, text| {
            if text.is_empty() || text.contains(['/', '\\']) {
                return Err("an index is the name of a file, without a path".into());
            }
            options.index.push(text.to_owned());
            Ok(())
        }),
    )),
    flag(
        "error-page",
        Path("FILE"),
        "page for 404; or 403=, 405=, 412=, 416=, 503=FILE",
        Take(|options, text| {
            let (status, file) = match text.split_once('=') {
                Some((status, file)) => (status.parse().ok().filter(|status| WITH_PAGE.contains(status)), file),
                None => (Some(404), text),
            };
            let status = status.ok_or("a page is for 403, 404, 405, 412, 416 or 503")?;
            options.error_pages.push((status, page_of(file)?));
            Ok(())
        }),
    ),
    flag(
        "header",
        Text("'K: V'"),
        "add a field to every response; may be repeated",
        Take(|options, text| {
            let (name, value) = text.split_once(':').ok_or("a field is 'Name: value'")?;
            let mut one = doorway::Headers::new();
            one.add(name, value.trim());
            one.check().map_err(|(cause, _)| format!("no response can have that:{}", cause.sentence()))?;
            if one.contains("Content-Length") {
                return Err("the length is the server's".into());
            }
            options.headers.extend(&one);
            Ok(())
        }),
    ),
    flag("cors", Value::None, "let any site read", Set(|options| options.cors = true)),
    beside(flag("coi", Value::None, "isolate", Set(|options| options.coi = true))),
    beside(flag("gz", Value::None, "send FILE.br, FILE.gz", Set(|options| options.gz = true))),
    flag("dotfiles", Value::None, "serve .names", Set(|options| options.dotfiles = true)),
    beside(flag("follow", Value::None, "follow links out", Set(|options| options.follow = true))),
    beside(flag("no-list", Value::None, "no listings", Set(|options| options.list = false))),
    with_short(flag("open", Value::None, "open a browser", Set(|options| options.open = true)), 'o'),
    beside(flag("reload", Value::None, "reload when a file changes", Set(|options| options.reload = true))),
    flag(
        "log",
        Choice("FORMAT", &["auto", "off", "short", "common", "combined", "json"]),
        "auto, off, short, common, combined or json",
        Take(|options, text| {
            options.log = match text {
                "auto" => Format::Auto,
                "off" => Format::Off,
                "short" => Format::Short,
                "common" => Format::Common,
                "combined" => Format::Combined,
                "json" => Format::Json,
                _ => return Err("a format is off, short, common, combined or json".into()),
            };
            Ok(())
        }),
    ),
    with_short(flag("quiet", Value::None, "errors only", Set(|options| options.quiet = true)), 'q'),
    beside(flag(
        "color",
        Choice("WHEN", &["auto", "always", "never"]),
        "auto, always or never",
        Take(|options, text| {
            options.colour = match text {
                "auto" => Colour::Auto,
                "always" => Colour::Always,
                "never" => Colour::Never,
                _ => return Err("colour is auto, always or never".into()),
            };
            Ok(())
        }),
    )),
    flag(
        "threads",
        Text("N"),
        "threads",
        Take(|options, text| {
            options.threads = Some(up_to(text, 1024, "threads")?);
            Ok(())
        }),
    ),
    beside(flag("stdin", Value::None, "at its socket", Set(|options| options.stdin = true))),
    beside(flag("until-eof", Value::None, "stop with it", Set(|options| options.until_eof = true))),
    door("uwsgi", "for front servers", Take(|options, text| add_door(options, Door::Uwsgi, text))),
    beside(door("scgi", "A: host:port", Take(|options, text| add_door(options, Door::Scgi, text)))),
    beside(door("fastcgi", "unix:path", Take(|options, text| add_door(options, Door::FastCgi, text)))),
    flag("demo", Value::None, "show the request", Set(|options| options.demo = true)),
    beside(flag(
        "completions",
        Choice("SHELL", crate::completions::SHELLS),
        "for bash, zsh or fish",
        Take(|options, text| {
            if !crate::completions::SHELLS.contains(&text) {
                return Err("a shell is bash, zsh or fish".into());
            }
            options.completions = Some(text.to_owned());
            Ok(())
        }),
    )),
    with_short(flag("help", Value::None, "this text", Ask(Asked::Help)), 'h'),
    beside(with_short(flag("version", Value::None, "the version", Ask(Asked::Version)), 'V')),
];

/// Reads the arguments.
pub fn parse(arguments: &[OsString]) -> Result<Parsed, String> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            rest.try_for_each(|argument| take_folder(&mut options, argument))?;
            break;
        }
        if argument == "-" || !argument.as_encoded_bytes().starts_with(b"-") {
            take_folder(&mut options, argument)?;
            continue;
        }
        let argument = argument.to_str().ok_or_else(|| format!("{} is not text", argument.to_string_lossy()))?;
        let (name, mut value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
        let flag = FLAGS.iter().find(|flag| flag.is_called(name)).ok_or_else(|| unknown(name))?;
        if value.is_none() && !matches!(flag.value, Value::None | Optional(_)) {
            value = rest.next().and_then(|value| value.to_str());
        }
        match (&flag.apply, value) {
            (Ask(asked), None) => return Ok(Parsed::Asked(*asked)),
            (Set(set), None) => set(&mut options),
            (Ask(_) | Set(_), Some(_)) => return Err(format!("--{} takes no value", flag.long)),
            (Take(take), _) => {
                let optional = matches!(flag.value, Optional(_)).then_some("");
                let text = value.or(optional).ok_or_else(|| format!("--{} needs a value", flag.long))?;
                take(&mut options, text).map_err(|wrong| format!("--{} {text}: {wrong}", flag.long))?;
            }
        }
    }
    match options.completions.take() {
        Some(shell) => Ok(Parsed::Completions(shell)),
        None => options.settle().map(|()| Parsed::Serve(Box::new(options))),
    }
}

fn take_folder(options: &mut Options, argument: &OsStr) -> Result<(), String> {
    match &options.folder {
        None => {
            options.folder = Some(PathBuf::from(argument));
            Ok(())
        }
        Some(first) => Err(format!(
            "one folder is served at /, and there are two: {} and {}; use --mount /name=DIR for another",
            first.display(),
            argument.to_string_lossy()
        )),
    }
}

/// The text of `--help`. It fits a screen of 80 columns and 24 lines.
pub fn help() -> String {
    let mut text = String::from("doorway [FLAGS] [DIR] serves a folder (default: this one) over HTTP.\n\n");
    let mut flags = FLAGS.iter().peekable();
    while let Some(flag) = flags.next() {
        let (mut names, mut helps) = (flag.names(), flag.help.to_owned());
        while let Some(next) = flags.next_if(|next| next.shares_line) {
            names.push_str(&format!(", {}", next.names().trim_start()));
            helps.push_str(&format!("; {}", next.help));
        }
        text.push_str(&format!("{names:<26} {helps}\n"));
    }
    text
}

impl Flag {
    fn is_called(&self, name: &str) -> bool {
        let short = self.short.is_some_and(|short| name.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4])));
        short || name.strip_prefix("--") == Some(self.long)
    }

    fn names(&self) -> String {
        let short = self.short.map_or("    ".into(), |short| format!("-{short}, "));
        let value = match self.value {
            Value::None => String::new(),
            Text(name) | Path(name) | Choice(name, _) => format!(" {name}"),
            Optional(name) => format!("[={name}]"),
        };
        format!("{short}--{}{value}", self.long)
    }
}

fn unknown(name: &str) -> String {
    let bare = name.trim_start_matches('-');
    let nearest = FLAGS.iter().map(|flag| (distance(flag.long, bare), flag.long)).min();
    match nearest.filter(|(distance, long)| *distance * 2 <= long.len()) {
        Some((_, long)) => format!("unknown flag {name}; did you mean --{long}?"),
        None => format!("unknown flag {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Parsed, String> {
        parse(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn options(arguments: &[&str]) -> Options {
        match parsed(arguments) {
            Ok(Parsed::Serve(options)) => *options,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn flags_take_their_value_behind_a_space_or_an_equals_sign() {
        for arguments in
            [&["--port", "80", "--host", "::1", "--threads", "2"][..], &["-p=80", "--host=::1", "--threads=2"]]
        {
            let options = options(arguments);
            assert_eq!((options.port, options.threads), (Some(80), Some(2)));
            assert_eq!(options.hosts, ["::1"]);
        }
        assert!(matches!(parsed(&["-h"]), Ok(Parsed::Asked(Asked::Help))));
        assert!(matches!(parsed(&["x", "--version"]), Ok(Parsed::Asked(Asked::Version))));
        assert!(matches!(parsed(&["--completions", "fish"]), Ok(Parsed::Completions(shell)) if shell == "fish"));
    }

    #[test]
    fn a_folder_stands_anywhere_and_behind_two_hyphens_it_may_begin_with_one() {
        let folder = |arguments: &[&str]| options(arguments).folder.unwrap();
        assert_eq!(folder(&["site", "-q"]).to_str(), Some("site"));
        assert_eq!(folder(&["-q", "site"]).to_str(), Some("site"));
        assert_eq!(folder(&["--", "--version"]).to_str(), Some("--version"));
        assert!(parsed(&["a", "b"]).unwrap_err().contains("--mount /name=DIR"));
    }

    #[test]
    fn an_optional_value_stands_only_behind_an_equals_sign() {
        let both = options(&["--spa", "site"]);
        assert_eq!((both.spa.as_deref(), both.folder.unwrap().to_str()), (Some("index.html"), Some("site")));
        assert_eq!(options(&["--spa=app.html"]).spa.as_deref(), Some("app.html"));
    }

    #[test]
    fn what_may_be_repeated_is_kept_in_its_order() {
        let options = options(&[
            "--mount=/a=x",
            "--mount",
            "/b/=y=z",
            "--proxy",
            "/api=http://127.0.0.1:3000",
            "--header",
            "A: b",
            "--header=A:c",
            "--error-page=404.html",
            "--error-page",
            "503=oops.html",
        ]);
        assert_eq!(options.mounts, [("/a".into(), PathBuf::from("x")), ("/b".into(), PathBuf::from("y=z"))]);
        assert_eq!(options.behind.len(), 1);
        assert_eq!(options.headers.get_all("a").collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(options.error_pages, [(404, "404.html".to_owned()), (503, "oops.html".to_owned())]);
    }

    #[test]
    fn wrong_usage_is_an_error_that_says_what_to_write_instead() {
        for (arguments, part) in [
            (&["--prot", "1"][..], "did you mean --port?"),
            (&["--relaod"], "did you mean --reload?"),
            (&["--port"], "--port needs a value"),
            (&["--port", "65536"], "a port is a number"),
            (&["--threads", "0"], "from 1 to 1024"),
            (&["--help=yes"], "takes no value"),
            (&["-x"], "unknown flag -x"),
            (&["--mount", "docs"], "write it as /docs=DIR"),
            (&["--mount", "docs=DIR"], "a prefix begins with one slash"),
            (&["--proxy", "/api=https://localhost"], "there is no TLS here"),
            (&["--proxy", "/api="], "write it as /api=http://"),
            (&["--pass", "/api=http:x"], "a protocol is uwsgi, scgi or fastcgi"),
            (&["--cgi", "/api="], "write it as /cgi-bin=DIR"),
            (&["--wsgi", "app.py"], "write the module it is"),
            (&["--wsgi", "app:app", "--demo"], "two things at /: --demo and --wsgi /"),
            (&["--workers", "0"], "workers are a number from 1 to 256"),
            (&["--worker-timeout", "0"], "from 0.1 to 86400"),
            (&["--max-requests", "0"], "from 1 on"),
            (&["--cgi", "/=x", "--pass", "/=scgi:localhost:1"], "two things at /: --cgi / and --pass /"),
            (&["--header", "nothing"], "a field is 'Name: value'"),
            (&["--header", "A: b\r\nC: d"], "a control character"),
            (&["--header", "Connection: close"], "hop-by-hop"),
            (&["--header", "Content-Length: 5"], "the length is the server's"),
            (&["--log", "loud"], "off, short, common"),
            (&["--color=blue"], "auto, always or never"),
            (&["--index", "../x"], "without a path"),
            (&["--allow-host", "http://example.org"], "without http:// and without a port"),
            (&["--allow-host", "example.org:80"], "without a port"),
            (&["--error-page", "200=x"], "403, 404, 405, 412, 416 or 503"),
            (&["--error-page", "500=x"], "403, 404, 405, 412, 416 or 503"),
            (&["--error-page", "../404.html"], "without .."),
            (&["--error-page", "/404.html"], "from the folder"),
            (&["--spa=pages/../../app.html"], "without .."),
            (&["--spa", "--proxy", "/=http://localhost"], "there is no folder at /"),
            (&["--error-page=404.html", "--proxy", "/=http://localhost"], "there is no folder at /"),
            (&["--demo", "folder"], "--demo serves no folder"),
            (&["--demo", "--error-page=404.html"], "--demo serves no folder"),
            (&["--demo", "--mount", "/=site"], "two things at /: --demo and --mount /=site"),
            (&["--demo", "--proxy", "/=http://localhost"], "two things at /: --demo and --proxy"),
            (&["dist", "--proxy", "/=http://localhost"], "two things at /: the folder dist and --proxy"),
            (&["dist", "--mount", "/=site"], "two things at /: the folder dist and --mount /=site; leave one out"),
            (&["--mount=/a=x", "--mount", "/a/=y"], "two things at /a: --mount /a=x and --mount /a=y"),
            (&["--mount=/a=x", "--proxy", "/a=http://localhost"], "give each a place of its own"),
            (&["--stdin", "--port", "1"], "--stdin"),
            (&["--uwsgi", "3031"], "HOST:PORT or unix:PATH"),
            (&["--completions", "tcsh"], "bash, zsh or fish"),
        ] {
            let wrong = parsed(arguments).unwrap_err();
            assert!(wrong.contains(part), "{arguments:?}: {wrong}");
        }
    }

    #[test]
    fn a_mount_at_the_root_is_the_folder() {
        let options = options(&["--mount=/=site", "--spa", "--mount=/a=x"]);
        assert_eq!(options.folder, Some(PathBuf::from("site")));
        assert_eq!(options.mounts, [("/a".into(), PathBuf::from("x"))]);
    }

    #[test]
    fn the_help_names_every_flag_and_fits_a_screen() {
        let help = help();
        assert!(FLAGS.iter().all(|flag| help.contains(&format!("--{}", flag.long))), "{help}");
        assert!(help.lines().all(|line| line.len() < 80) && help.lines().count() < 24, "{help}");
    }

    #[test]
    fn no_two_flags_have_the_same_name() {
        let names = FLAGS.iter().map(|flag| flag.long.to_owned());
        let mut names: Vec<_> = names.chain(FLAGS.iter().filter_map(|flag| flag.short.map(String::from))).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
