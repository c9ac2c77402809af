//! What the command was told: one value for each flag, with what holds where none was given.

use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use doorway::{Door, Headers};

use crate::behind::Behind;
use crate::wsgi::{self, Plan};

/// Everything the arguments say.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is served at `/`; the current folder where none is named.
    pub folder: Option<PathBuf>,
    /// `None`: 8000, or the next free one.
    pub port: Option<u16>,
    /// Empty: both loopback addresses; an empty one in it: all addresses.
    pub hosts: Vec<String>,
    /// Names that are answered to besides `localhost` and addresses.
    pub allowed_hosts: Vec<String>,
    /// The file of users who may ask; everybody where there is none.
    pub auth: Option<PathBuf>,
    pub mounts: Vec<(String, PathBuf)>,
    /// What takes the place of a folder: other servers and programs.
    pub behind: Vec<(String, Behind)>,
    /// How long another server or program may be silent.
    pub proxy_timeout: Option<Duration>,
    pub python: Python,
    /// The folder below the served one that takes files; empty for all of it.
    pub upload: Option<String>,
    pub upload_limit: Option<u64>,
    pub prefix: Option<String>,
    pub spa: Option<String>,
    /// Empty: `index.html`.
    pub index: Vec<String>,
    pub error_pages: Vec<(u16, String)>,
    /// Ends of names and their types.
    pub types: Vec<(String, String)>,
    pub headers: Headers,
    pub cors: bool,
    pub coi: bool,
    pub dotfiles: bool,
    pub follow: bool,
    pub no_list: bool,
    pub no_clean: bool,
    pub gz: bool,
    pub reload: bool,
    pub open: bool,
    pub qr: bool,
    pub log: Format,
    /// Where it goes; standard error where none is named.
    pub log_file: Option<PathBuf>,
    pub quiet: bool,
    /// Who serves, where root started it.
    pub user: Option<String>,
    pub pid_file: Option<PathBuf>,
    pub colour: Colour,
    pub threads: Option<usize>,
    /// Where it says how it is, and to whom besides this machine.
    pub status: Option<(String, Askers)>,
    /// How long a download or an upload may pause.
    pub stall: Option<Duration>,
    pub stdin: bool,
    pub until_eof: bool,
    pub demo: bool,
    /// Addresses at which the protocols of front servers are spoken.
    pub doors: Vec<(Door, String)>,
}

/// How applications in Python are run.
#[derive(Clone, Debug)]
pub struct Python {
    /// `None`: that of the virtual environment, or `python3`.
    pub path: Option<PathBuf>,
    pub workers: usize,
    /// In each of them.
    pub threads: usize,
    /// How long a call may last.
    pub timeout: Duration,
    pub max_requests: Option<u64>,
}

impl Default for Python {
    fn default() -> Python {
        Python { path: None, workers: 1, threads: 4, timeout: Duration::from_secs(30), max_requests: None }
    }
}

/// Who may ask how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Askers {
    These(Vec<IpAddr>),
    All,
}

/// How a request is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `Short` on a terminal, `Common` elsewhere.
    #[default]
    Auto,
    Off,
    Short,
    Common,
    Combined,
    Json,
}

/// When the log has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

impl Options {
    /// Whether HTTP is served: always, unless only doors of front servers are named.
    pub fn speaks_http(&self) -> bool {
        self.doors.is_empty() || self.port.is_some() || !self.hosts.is_empty() || self.stdin
    }

    /// How requests are logged.
    pub fn format(&self) -> Format {
        match self.log {
            _ if self.quiet => Format::Off,
            Format::Auto if self.is_terminal() => Format::Short,
            Format::Auto => Format::Common,
            format => format,
        }
    }

    pub fn has_colour(&self) -> bool {
        match self.colour {
            Colour::Always => true,
            Colour::Never => false,
            // https://no-color.org: set and not empty.
            Colour::Auto => self.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// Whether somebody reads the log as it is written.
    pub fn is_terminal(&self) -> bool {
        self.log_file.is_none() && io::stderr().is_terminal()
    }

    /// Makes one meaning of all of it: a mount at the root is the folder. What cannot be meant together is an error.
    pub fn settle(&mut self) -> Result<(), String> {
        let has_pages = self.spa.is_some() || self.upload.is_some() || !self.error_pages.is_empty();
        if self.demo && (self.folder.is_some() || self.reload || has_pages) {
            return Err(
                "--demo serves no folder: leave out the folder, --reload, --spa, --upload and --error-page".into()
            );
        }
        if self.stdin && (self.port.is_some() || !self.hosts.is_empty() || self.until_eof) {
            return Err("--stdin takes its address from the socket: leave out --port, --host and --until-eof".into());
        }
        self.check_places()?;
        if let Some(at) = self.mounts.iter().position(|(prefix, _)| prefix.is_empty()) {
            self.folder = Some(self.mounts.remove(at).1);
        }
        if has_pages && self.behind_at_root().is_some() {
            return Err(
                "there is no folder at /, which --spa, --upload and --error-page are about: leave them out, or give what is \
                        at / another place"
                    .into(),
            );
        }
        Ok(())
    }

    /// What takes the place of the folder, if anything does.
    pub fn behind_at_root(&self) -> Option<&Behind> {
        self.behind.iter().find(|(prefix, _)| prefix.is_empty()).map(|(_, behind)| behind)
    }

    /// How a Python application is run; `number` tells it from the others.
    pub fn plan(&self, application: &str, number: usize) -> Plan {
        // A process that was killed has left its folder behind.
        let token = wsgi::unforeseen() >> 32;
        Plan {
            application: application.to_owned(),
            python: self.python.path.clone().unwrap_or_else(wsgi::default_python),
            workers: self.python.workers,
            threads: self.python.threads,
            timeout: self.python.timeout,
            max_requests: self.python.max_requests,
            reload: self.reload,
            quiet: self.quiet,
            folder: std::env::temp_dir().join(format!("doorway-{}-{number}-{token:08x}", std::process::id())),
        }
    }

    /// Whether there are Python applications.
    pub fn has_python(&self) -> bool {
        self.behind.iter().any(|(_, behind)| matches!(behind, Behind::Wsgi(_)))
    }

    /// One thing at each place: of two, one would not be served, and nobody would be told which.
    fn check_places(&self) -> Result<(), String> {
        let mut all: Vec<(&str, String)> = Vec::new();
        self.folder.iter().for_each(|folder| all.push(("", format!("the folder {}", folder.display()))));
        self.demo.then(|| all.push(("", "--demo".to_owned())));
        for (prefix, folder) in &self.mounts {
            all.push((prefix, format!("--mount {}={}", shown(prefix), folder.display())));
        }
        for (prefix, behind) in &self.behind {
            all.push((prefix, format!("{} {}", behind.flag(), shown(prefix))));
        }
        self.status.iter().for_each(|(prefix, _)| all.push((prefix, format!("--status {}", shown(prefix)))));
        for (at, (prefix, one)) in all.iter().enumerate() {
            if let Some((_, other)) = all.iter().skip(at + 1).find(|(second, _)| second == prefix) {
                let advice = match prefix.is_empty() {
                    true => "leave one out, or give it another place, as in --mount /name=DIR",
                    false => "give each a place of its own",
                };
                return Err(format!("two things at {}: {one} and {other}; {advice}", shown(prefix)));
            }
        }
        Ok(())
    }
}

fn shown(prefix: &str) -> &str {
    if prefix.is_empty() { "/" } else { prefix }
}
