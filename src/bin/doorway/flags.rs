//! The flags of the command: one table from which parsing, help, manual page and completions are made, and what each of them does.
//!
//! The table is the text that `--help` shows. It says by the name of a value what that is; one line a flag, in groups, in the order in which they
//! are explained. Nothing here is about one use of them.

use std::time::Duration;

use doorway::Door;

use crate::behind::Behind;
use crate::doors;
use crate::options::{Colour, Format, Options};
use crate::values::{
    error_page_of, field_of, host_of, page_of, placed, prefix_of, seconds_of, size_of, status_of, type_of, up_to,
};

/// Every flag, as the help shows it.
pub const TABLE: &str = "\
What is served:
    --mount /P=DIR         another folder, under /P; may be repeated
    --proxy /P=URL         pass /P on to the server at URL; may be repeated
    --pass /P=PROTO:A      the same by uwsgi, scgi or fastcgi, to address A
    --cgi /P=DIR           CGI programs of DIR, or a program; may be repeated
    --proxy-timeout SEC    silence of these three (default 60; 0: no limit)
    --prefix /P            all of it under /P
    --demo                 a page that shows the request, and no folder

Applications in Python:
    --wsgi [/P=]M:F        application F of module M, at / or under /P
    --python PATH          by this Python (default: that of the environment)
    --workers N            processes of each application (default 1)
    --worker-threads N     calls that a process answers at once (default 4)
    --worker-timeout SEC   how long a call may last (default 30)
    --max-requests N       requests until a process is replaced (default: none)

How a folder is served:
    --spa[=FILE]           answer unknown routes with FILE (default index.html)
    --index FILE           FILE stands for its folder (default index.html)
    --error-page FILE      page for 404; or 403=, 405=, 412=, 416=, 503=FILE
    --upload[=DIR]         take files in the listings, or below DIR in them
    --upload-limit SIZE    bytes of an upload; of content to programs behind
    --no-list              no listings of folders
    --no-clean             /about is not about.html
    --dotfiles             names that begin with a dot, too
    --follow               follow links that lead out of the folder
    --gz                   FILE.br or .gz in place of FILE, if clients take it
    --type EXT=TYPE        the type of files that end in .EXT; may be repeated
    --reload               load pages anew when a file changes

Where:
-p, --port PORT            0 takes any (default 8000, or the next free)
    --host [ADDR]          an address of this machine; without ADDR all
    --uwsgi ADDRESS        for a front server; HOST:PORT or unix:PATH
    --scgi ADDRESS         the same, by SCGI
    --fastcgi ADDRESS      the same, by FastCGI
    --stdin                standard input is the socket (inetd, systemd)

For whom:
    --allow-host NAME      answer to NAME, or *.NAME, too; may be repeated
    --auth FILE            ask for a password; FILE has user:password lines
    --cors                 let any site read what is served
    --coi                  isolate pages, for SharedArrayBuffer and threads
    --header 'K: V'        a field for every response; may be repeated

How it shows:
-o, --open                 open a browser
    --qr                   a QR code of the address, also without a terminal
    --log FORMAT           auto, off, short, common, combined or json
    --log-file FILE        append the log to FILE; SIGUSR1 opens it anew
-q, --quiet                say nothing but errors
    --color WHEN           auto, always or never

More:
    --threads N            threads that answer (default 4 a core, at least 16)
    --stall SEC            pause of a transfer (default 30; 0: no limit)
    --status /P[=WHO]      how it is, at /P, for this machine and WHO
    --user NAME            serve as NAME, or UID:GID, when root starts it
    --pid-file FILE        the number of the process that serves, in FILE
    --until-eof            stop when standard input ends
    --completions SHELL    print the completions for bash, zsh or fish
    --man                  print the manual page: doorway --man | man -l -
-h, --help                 -h: the most used flags; --help: all of them
-V, --version              print the version
";

/// How far the names of a line go, with what a flag takes. What it does stands behind them.
const NAMES: usize = 27;

/// The flags that `-h` shows.
pub const OFTEN_USED: &str = "mount proxy wsgi spa upload no-list dotfiles reload port host auth cors open quiet help";

/// What one flag is.
#[derive(Clone, Copy)]
pub struct Flag {
    /// `-p, --port PORT`.
    pub names: &'static str,
    pub long: &'static str,
    /// With its hyphen; empty where there is none.
    pub short: &'static str,
    /// The name of its value, as the help shows it.
    pub name: &'static str,
    pub value: Value,
    /// What it does, in a few words that fit its line.
    pub help: &'static str,
}

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value {
    None,
    /// Anything.
    Text,
    File,
    /// A folder behind an equals sign.
    Folder,
    /// One of these words.
    Choice(&'static str),
    /// May be left out; stands behind an equals sign.
    Optional,
    /// May be left out; the next argument is meant where it is an address.
    Address,
}

/// The flags, in the order of the help.
pub fn flags() -> impl Iterator<Item = Flag> {
    TABLE.lines().filter_map(Flag::of)
}

impl Flag {
    /// The flag of a line of the help; `None` for the title of a group.
    pub fn of(line: &'static str) -> Option<Flag> {
        let (names, help) = line.split_at_checked(NAMES)?;
        let (short, rest) = names.split_once("--")?;
        let (long, name) = rest.split_at(rest.find([' ', '[']).unwrap_or(rest.len()));
        let (short, name) = (short.trim().trim_end_matches(','), name.trim());
        let value = match (long, name) {
            (_, "") => Value::None,
            ("log", _) => Value::Choice("auto off short common combined json"),
            ("color", _) => Value::Choice("auto always never"),
            ("completions", _) => Value::Choice("bash zsh fish"),
            (_, "FILE" | "PATH") => Value::File,
            (_, "[ADDR]") => Value::Address,
            _ if name.starts_with("[=") => Value::Optional,
            _ if name.ends_with("=DIR") => Value::Folder,
            _ => Value::Text,
        };
        Some(Flag { names: names.trim(), long, short, name, value, help })
    }

    pub fn is_called(&self, name: &str) -> bool {
        name.strip_prefix("--") == Some(self.long) || name == self.short
    }

    /// Does what it says. The text is empty where it takes none.
    pub fn apply(&self, text: &str, options: &mut Options) -> Result<(), String> {
        match self.long {
            "mount" => {
                let (prefix, folder) = placed(text, "/docs=DIR")?;
                options.mounts.push((prefix, folder.into()));
            }
            "proxy" => options.behind.push(Behind::proxy(text)?),
            "pass" => options.behind.push(Behind::pass(text)?),
            "cgi" => options.behind.push(Behind::cgi(text)?),
            "proxy-timeout" => options.proxy_timeout = Some(seconds_of(text)?),
            "prefix" => options.prefix = Some(prefix_of(text)?),
            "demo" => options.demo = true,
            "wsgi" => options.behind.push(Behind::wsgi(text)?),
            "python" => options.python.path = Some(text.into()),
            "workers" => options.python.workers = up_to(text, 256, "workers")?,
            "worker-threads" => options.python.threads = up_to(text, 256, "threads of a worker")?,
            "worker-timeout" => options.python.timeout = Duration::from_secs(up_to(text, 86_400, "seconds")? as u64),
            "max-requests" => {
                let most = text.parse().ok().filter(|most| *most > 0);
                options.python.max_requests = Some(most.ok_or("requests are a number from 1 on")?);
            }
            "spa" => options.spa = Some(page_of(if text.is_empty() { "index.html" } else { text })?),
            "index" if text.is_empty() || text.contains(['/', '\\']) => {
                return Err("an index is the name of a file, without a path".into());
            }
            "index" => options.index.push(text.to_owned()),
            "error-page" => options.error_pages.push(error_page_of(text)?),
            "upload" => options.upload = Some(if text.is_empty() { String::new() } else { page_of(text)? }),
            "upload-limit" => options.upload_limit = Some(size_of(text)?),
            "no-list" => options.no_list = true,
            "no-clean" => options.no_clean = true,
            "dotfiles" => options.dotfiles = true,
            "follow" => options.follow = true,
            "gz" => options.gz = true,
            "type" => options.types.push(type_of(text)?),
            "reload" => options.reload = true,
            "port" => options.port = Some(text.parse().map_err(|_| "a port is a number from 0 to 65535")?),
            "host" => options.hosts.push(text.to_owned()),
            "uwsgi" => options.doors.push(doors::read(Door::Uwsgi, text)?),
            "scgi" => options.doors.push(doors::read(Door::Scgi, text)?),
            "fastcgi" => options.doors.push(doors::read(Door::FastCgi, text)?),
            "stdin" => options.stdin = true,
            "allow-host" => options.allowed_hosts.push(host_of(text)?),
            "auth" => options.auth = Some(text.into()),
            "cors" => options.cors = true,
            "coi" => options.coi = true,
            "header" => options.headers.extend(&field_of(text)?),
            "open" => options.open = true,
            "qr" => options.qr = true,
            "log" => {
                options.log = match text {
                    "auto" => Format::Auto,
                    "off" => Format::Off,
                    "short" => Format::Short,
                    "common" => Format::Common,
                    "combined" => Format::Combined,
                    "json" => Format::Json,
                    _ => return Err("a format is off, short, common, combined or json".into()),
                }
            }
            "log-file" => options.log_file = Some(text.into()),
            "quiet" => options.quiet = true,
            "color" => {
                options.colour = match text {
                    "auto" => Colour::Auto,
                    "always" => Colour::Always,
                    "never" => Colour::Never,
                    _ => return Err("colour is auto, always or never".into()),
                }
            }
            "threads" => options.threads = Some(up_to(text, 1024, "threads")?),
            "stall" => options.stall = Some(seconds_of(text)?),
            "status" => options.status = Some(status_of(text)?),
            "user" => options.user = Some(text.into()),
            "pid-file" => options.pid_file = Some(text.into()),
            "until-eof" => options.until_eof = true,
            _ => return Err("it is in the help and nowhere else, which is a fault of doorway".into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments;

    #[test]
    fn no_two_flags_have_the_same_name() {
        let names = flags().flat_map(|flag| [flag.long, flag.short]).filter(|name| !name.is_empty());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_line_of_the_table_is_a_title_or_a_flag_that_does_something() {
        for line in TABLE.lines().filter(|line| !line.is_empty()) {
            let Some(flag) = Flag::of(line) else {
                assert!(line.ends_with(':') && !line.contains("--"), "{line}");
                continue;
            };
            assert!(!flag.help.is_empty() && !flag.help.starts_with(' '), "{line}");
            assert!(line.get(NAMES - 1..NAMES) == Some(" "), "{line}");
            let answer = arguments::parse(&[format!("--{}=x", flag.long).into()]);
            assert!(!format!("{answer:?}").contains("a fault of doorway"), "{line}");
            let answer = arguments::parse(&[format!("--{}", flag.long).into(), "x".into()]);
            assert!(!format!("{answer:?}").contains("a fault of doorway"), "{line}");
        }
    }
}
