//! What the command was told: one value for each flag, with what holds where none was given.

use std::path::PathBuf;

use doorway::app::Proxy;
use doorway::{Door, Headers};

/// Everything the arguments say.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is served at `/`; the current folder where none is named.
    pub folder: Option<PathBuf>,
    /// `None`: 8000, or the next free one.
    pub port: Option<u16>,
    /// Empty: both loopback addresses.
    pub hosts: Vec<String>,
    pub mounts: Vec<(String, PathBuf)>,
    pub proxies: Vec<(String, Proxy)>,
    pub prefix: Option<String>,
    pub spa: Option<String>,
    /// Empty: `index.html`.
    pub index: Vec<String>,
    pub error_pages: Vec<(u16, String)>,
    pub headers: Headers,
    pub cors: bool,
    pub coi: bool,
    pub dotfiles: bool,
    pub follow: bool,
    pub list: bool,
    pub gz: bool,
    pub reload: bool,
    pub open: bool,
    pub log: Format,
    pub quiet: bool,
    pub colour: Colour,
    pub threads: Option<usize>,
    pub stdin: bool,
    pub until_eof: bool,
    pub demo: bool,
    pub completions: Option<String>,
    /// Addresses at which the protocols of front servers are spoken.
    pub doors: Vec<(Door, String)>,
}

/// How a request is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `Short` on a terminal, `Common` elsewhere.
    Auto,
    Off,
    Short,
    Common,
    Combined,
    Json,
}

/// When the log has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            folder: None,
            port: None,
            hosts: Vec::new(),
            mounts: Vec::new(),
            proxies: Vec::new(),
            prefix: None,
            spa: None,
            index: Vec::new(),
            error_pages: Vec::new(),
            headers: Headers::new(),
            cors: false,
            coi: false,
            dotfiles: false,
            follow: false,
            list: true,
            gz: false,
            reload: false,
            open: false,
            log: Format::Auto,
            quiet: false,
            colour: Colour::Auto,
            threads: None,
            stdin: false,
            until_eof: false,
            demo: false,
            completions: None,
            doors: Vec::new(),
        }
    }
}

impl Options {
    /// Whether HTTP is served: always, unless only doors of front servers are named.
    pub fn speaks_http(&self) -> bool {
        self.doors.is_empty() || self.port.is_some() || !self.hosts.is_empty() || self.stdin
    }

    /// What cannot be meant together.
    pub fn agree(&self) -> Result<(), String> {
        if self.demo && (self.folder.is_some() || self.reload || self.spa.is_some()) {
            return Err("--demo serves no folder: leave out the folder, --reload and --spa".into());
        }
        if self.stdin && (self.port.is_some() || !self.hosts.is_empty() || self.until_eof) {
            return Err("--stdin takes its address from the socket: leave out --port, --host and --until-eof".into());
        }
        Ok(())
    }
}
