//! The flags of the command: one table from which parsing, help, manual page and completions are made.
//!
//! They stand in groups, in the order in which they are explained. Each has one line; nothing here is about one use of them.

use std::path::PathBuf;
use std::time::Duration;

use doorway::Door;

use crate::behind::Behind;
use crate::doors;
use crate::options::{Colour, Format, Options};
use crate::values::{
    error_page_of, field_of, host_of, page_of, placed, prefix_of, seconds_of, size_of, type_of, up_to,
};

/// What one flag is.
pub struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    pub value: Value,
    /// What it does, in a few words that fit its line.
    pub help: &'static str,
    /// The title of the group that begins with it.
    pub group: Option<&'static str>,
    pub apply: Apply,
}

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value {
    None,
    /// Anything, with its name in the help.
    Text(&'static str),
    /// A file, with its name in the help.
    File(&'static str),
    /// A folder behind an equals sign.
    Folder(&'static str),
    /// One of these.
    Choice(&'static str, &'static [&'static str]),
    /// May be left out; stands behind an equals sign.
    Optional(&'static str),
    /// May be left out; the next argument is meant where it is an address.
    Address(&'static str),
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
    Manual,
    Version,
}

const fn flag(long: &'static str, value: Value, help: &'static str, apply: Apply) -> Flag {
    Flag { long, short: None, value, help, group: None, apply }
}

const fn with_short(mut flag: Flag, short: char) -> Flag {
    flag.short = Some(short);
    flag
}

const fn group(title: &'static str, mut flag: Flag) -> Flag {
    flag.group = Some(title);
    flag
}

fn add_door(options: &mut Options, door: Door, address: &str) -> Result<(), String> {
    options.doors.push(doors::read(door, address)?);
    Ok(())
}

fn add_behind(options: &mut Options, read: Result<(String, Behind), String>) -> Result<(), String> {
    options.behind.push(read?);
    Ok(())
}

/// Takes a value as it is written.
fn put<T: for<'text> From<&'text str>>(place: &mut Option<T>, text: &str) -> Result<(), String> {
    *place = Some(T::from(text));
    Ok(())
}

use Apply::{Ask, Set, Take};
use Value::{Address, Choice, File, Folder, Optional, Text};

/// The flags that `-h` shows.
pub const OFTEN_USED: &[&str] = &[
    "mount", "proxy", "wsgi", "spa", "upload", "no-list", "dotfiles", "reload", "port", "host", "auth", "cors", "open",
    "quiet", "help",
];

/// Every flag, in the order of the help.
pub const FLAGS: &[Flag] = &[
    group(
        "What is served",
        flag(
            "mount",
            Folder("/P=DIR"),
            "another folder, under /P; may be repeated",
            Take(|options, text| {
                let (prefix, folder) = placed(text, "/docs=DIR")?;
                options.mounts.push((prefix, PathBuf::from(folder)));
                Ok(())
            }),
        ),
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
        "the same by uwsgi, scgi or fastcgi, to address A",
        Take(|options, text| add_behind(options, Behind::pass(text))),
    ),
    flag(
        "cgi",
        Folder("/P=DIR"),
        "CGI programs of DIR, or a program; may be repeated",
        Take(|options, text| add_behind(options, Behind::cgi(text))),
    ),
    flag(
        "proxy-timeout",
        Text("SEC"),
        "silence of these three (default 60; 0: no limit)",
        Take(|options, text| seconds_of(text).map(|value| options.proxy_timeout = Some(value))),
    ),
    flag(
        "prefix",
        Text("/P"),
        "all of it under /P",
        Take(|options, text| prefix_of(text).map(|value| options.prefix = Some(value))),
    ),
    flag("demo", Value::None, "a page that shows the request, and no folder", Set(|options| options.demo = true)),
    group(
        "Applications in Python",
        flag(
            "wsgi",
            Text("[/P=]M:F"),
            "application F of module M, at / or under /P",
            Take(|options, text| add_behind(options, Behind::wsgi(text))),
        ),
    ),
    flag(
        "python",
        File("PATH"),
        "by this Python (default: that of the environment)",
        Take(|options, text| put(&mut options.python.path, text)),
    ),
    flag(
        "workers",
        Text("N"),
        "processes of each application (default 1)",
        Take(|options, text| up_to(text, 256, "workers").map(|value| options.python.workers = value)),
    ),
    flag(
        "worker-threads",
        Text("N"),
        "calls that a process answers at once (default 4)",
        Take(|options, text| up_to(text, 256, "threads of a worker").map(|value| options.python.threads = value)),
    ),
    flag(
        "worker-timeout",
        Text("SEC"),
        "how long a call may last (default 30)",
        Take(|options, text| {
            options.python.timeout = Duration::from_secs(up_to(text, 86_400, "seconds")? as u64);
            Ok(())
        }),
    ),
    flag(
        "max-requests",
        Text("N"),
        "requests until a process is replaced (default: none)",
        Take(|options, text| {
            options.python.max_requests = text.parse().ok().filter(|most| *most > 0);
            options.python.max_requests.map(|_| ()).ok_or_else(|| "requests are a number from 1 on".into())
        }),
    ),
    group(
        "How a folder is served",
        flag(
            "spa",
            Optional("FILE"),
            "answer unknown routes with FILE (default index.html)",
            Take(|options, text| {
                options.spa = Some(page_of(if text.is_empty() { "index.html" } else { text })?);
                Ok(())
            }),
        ),
    ),
    flag(
        "index",
        Text("FILE"),
        "FILE stands for its folder (default index.html)",
        Take(|options, text| {
            if text.is_empty() || text.contains(['/', '\\']) {
                return Err("an index is the name of a file, without a path".into());
            }
            options.index.push(text.to_owned());
            Ok(())
        }),
    ),
    flag(
        "error-page",
        File("FILE"),
        "page for 404; or 403=, 405=, 412=, 416=, 503=FILE",
        Take(|options, text| error_page_of(text).map(|value| options.error_pages.push(value))),
    ),
    flag(
        "upload",
        Optional("DIR"),
        "take files in the listings, or below DIR in them",
        Take(|options, text| {
            options.upload = Some(if text.is_empty() { String::new() } else { page_of(text)? });
            Ok(())
        }),
    ),
    flag(
        "upload-limit",
        Text("SIZE"),
        "bytes of one upload, or of content for --pass and --wsgi",
        Take(|options, text| size_of(text).map(|value| options.upload_limit = Some(value))),
    ),
    flag("no-list", Value::None, "no listings of folders", Set(|options| options.no_list = true)),
    flag("no-clean", Value::None, "/about is not about.html", Set(|options| options.no_clean = true)),
    flag("dotfiles", Value::None, "names that begin with a dot, too", Set(|options| options.dotfiles = true)),
    flag("follow", Value::None, "follow links that lead out of the folder", Set(|options| options.follow = true)),
    flag("gz", Value::None, "FILE.br or .gz in place of FILE, if clients take it", Set(|options| options.gz = true)),
    flag(
        "type",
        Text("EXT=TYPE"),
        "the type of files that end in .EXT; may be repeated",
        Take(|options, text| type_of(text).map(|value| options.types.push(value))),
    ),
    flag("reload", Value::None, "load pages anew when a file changes", Set(|options| options.reload = true)),
    group(
        "Where",
        with_short(
            flag(
                "port",
                Text("PORT"),
                "0 takes any (default 8000, or the next free)",
                Take(|options, text| {
                    options.port = Some(text.parse().map_err(|_| "a port is a number from 0 to 65535")?);
                    Ok(())
                }),
            ),
            'p',
        ),
    ),
    flag(
        "host",
        Address("[ADDR]"),
        "an address of this machine; without ADDR all",
        Take(|options, text| {
            options.hosts.push(text.to_owned());
            Ok(())
        }),
    ),
    flag(
        "uwsgi",
        Text("ADDRESS"),
        "for a front server; HOST:PORT or unix:PATH",
        Take(|options, text| add_door(options, Door::Uwsgi, text)),
    ),
    flag("scgi", Text("ADDRESS"), "the same, by SCGI", Take(|options, text| add_door(options, Door::Scgi, text))),
    flag(
        "fastcgi",
        Text("ADDRESS"),
        "the same, by FastCGI",
        Take(|options, text| add_door(options, Door::FastCgi, text)),
    ),
    flag("stdin", Value::None, "standard input is the socket (inetd, systemd)", Set(|options| options.stdin = true)),
    group(
        "For whom",
        flag(
            "allow-host",
            Text("NAME"),
            "answer to NAME, or *.NAME, too; may be repeated",
            Take(|options, text| host_of(text).map(|value| options.allowed_hosts.push(value))),
        ),
    ),
    flag(
        "auth",
        File("FILE"),
        "ask for a password; FILE has user:password lines",
        Take(|options, text| put(&mut options.auth, text)),
    ),
    flag("cors", Value::None, "let any site read what is served", Set(|options| options.cors = true)),
    flag("coi", Value::None, "isolate pages, for SharedArrayBuffer and threads", Set(|options| options.coi = true)),
    flag(
        "header",
        Text("'K: V'"),
        "a field for every response; may be repeated",
        Take(|options, text| {
            options.headers.extend(&field_of(text)?);
            Ok(())
        }),
    ),
    group(
        "How it shows",
        with_short(flag("open", Value::None, "open a browser", Set(|options| options.open = true)), 'o'),
    ),
    flag("qr", Value::None, "a QR code of the address, also without a terminal", Set(|options| options.qr = true)),
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
    flag(
        "log-file",
        File("FILE"),
        "append the log to FILE; SIGUSR1 opens it anew",
        Take(|options, text| put(&mut options.log_file, text)),
    ),
    with_short(flag("quiet", Value::None, "say nothing but errors", Set(|options| options.quiet = true)), 'q'),
    flag(
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
    ),
    group(
        "More",
        flag(
            "threads",
            Text("N"),
            "threads that answer (default 4 a core, at least 16)",
            Take(|options, text| up_to(text, 1024, "threads").map(|value| options.threads = Some(value))),
        ),
    ),
    flag(
        "stall",
        Text("SEC"),
        "pause of a transfer (default 30; 0: no limit)",
        Take(|options, text| seconds_of(text).map(|value| options.stall = Some(value))),
    ),
    flag("status", Text("/P[=WHO]"), "how it is, at /P, for this machine and WHO", Take(Options::say_how_it_is)),
    flag(
        "user",
        Text("NAME"),
        "serve as NAME, or UID:GID, when root starts it",
        Take(|options, text| put(&mut options.user, text)),
    ),
    flag(
        "pid-file",
        File("FILE"),
        "the number of the process that serves, in FILE",
        Take(|options, text| put(&mut options.pid_file, text)),
    ),
    flag("until-eof", Value::None, "stop when standard input ends", Set(|options| options.until_eof = true)),
    flag(
        "completions",
        Choice("SHELL", crate::completions::SHELLS),
        "print the completions for bash, zsh or fish",
        Take(|options, text| {
            if !crate::completions::SHELLS.contains(&text) {
                return Err("a shell is bash, zsh or fish".into());
            }
            options.completions = Some(text.to_owned());
            Ok(())
        }),
    ),
    flag("man", Value::None, "print the manual page: doorway --man | man -l -", Ask(Asked::Manual)),
    with_short(flag("help", Value::None, "-h: the most used flags; --help: all of them", Ask(Asked::Help)), 'h'),
    with_short(flag("version", Value::None, "print the version", Ask(Asked::Version)), 'V'),
];

impl Flag {
    pub fn is_called(&self, name: &str) -> bool {
        let short = self.short.is_some_and(|short| name.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4])));
        short || name.strip_prefix("--") == Some(self.long)
    }

    /// `-p, --port PORT`, with room for the short name where there is none.
    pub fn names(&self) -> String {
        let short = self.short.map_or("    ".into(), |short| format!("-{short}, "));
        let value = match self.value {
            Value::None => String::new(),
            Text(name) | File(name) | Folder(name) | Address(name) | Choice(name, _) => format!(" {name}"),
            Optional(name) => format!("[={name}]"),
        };
        format!("{short}--{}{value}", self.long)
    }
}

#[cfg(test)]
mod tests {
    use super::FLAGS;

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
