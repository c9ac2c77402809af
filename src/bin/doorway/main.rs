//! The `doorway` command: serves a folder, for people at work on it, and says where.
//!
//! It uses the public interface of the library only. The first line of standard output is the URL, flushed, so that a script
//! can wait for it; everything else it says goes to standard error. SIGINT and SIGTERM end it when what runs is done, after three
//! seconds at most; a second one ends it at once.
//!
//! | exit code | what it means |
//! |---|---|
//! | 0 | it served and was stopped, or printed what was asked for |
//! | 1 | it did not work, and says why |
//! | 2 | the arguments are wrong |
//! | 130, 143 | a second SIGINT or SIGTERM |
//!
//! `arguments` (by the table in `flags`, with `values`; `help` and `completions` are made from it) → `options` → `site` (the application), `listen` (the sockets) and `doors` (those of front servers, CGI) → here, where `hosts` is put around it; `console` is the log, and `control` what signals do.

mod arguments;
mod behind;
mod completions;
mod console;
mod control;
mod doors;
#[cfg(not(unix))]
mod elsewhere;
mod fields;
mod flags;
mod help;
mod hosts;
mod listen;
mod log_file;
#[cfg(unix)]
mod notify;
mod options;
mod os;
mod pid_file;
#[cfg(unix)]
mod privileges;
mod qr;
mod reload;
mod room;
mod signals;
mod site;
#[cfg(unix)]
mod sockets;
mod threads;
mod users;
mod values;
mod wsgi;

use std::io::{self, IsTerminal, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use doorway::app::Status;
use doorway::middleware::Mount;
use doorway::{Address, Application, Door, Environ, Observer, Server};

use arguments::Parsed;
use console::Console;
use control::Running;
#[cfg(not(unix))]
use elsewhere::{notify, privileges, sockets};
use hosts::Hosts;
use log_file::LogFile;
use options::{Askers, Options};
use signals::Signals;
use sockets::Inherited;
use wsgi::Workers;

/// Bytes of a field line that is passed on, as it is taken of an upstream.
const PASSED_FIELD_LINE: usize = 16_384;

/// How long what runs may take to end; a call to Python has the time that one may last.
const GRACE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    // Before the arguments are looked at: those of a CGI program are a part of the query.
    match doors::serve_as_cgi() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => return complain(&error.to_string(), 1),
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    match arguments::parse(arguments.get(1..).unwrap_or_default()) {
        Ok(Parsed::Serve(options)) => match serve(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error.to_string(), 1),
        },
        Ok(Parsed::Text(text)) => say(&text),
        Err(wrong) => complain(&format!("{wrong}\nTry 'doorway --help'."), 2),
    }
}

fn serve(options: &Options) -> io::Result<()> {
    let mut inherited = Inherited::take()?;
    privileges::settle(options, &mut inherited)?;
    let mut workers = Vec::new();
    let served = serve_with(options, inherited, &mut workers);
    control::finish(&workers);
    options.pid_file.iter().for_each(|path| pid_file::remove(path));
    served
}

fn serve_with(options: &Options, mut inherited: Inherited, workers: &mut Vec<Workers>) -> io::Result<()> {
    if let Some(path) = &options.log_file {
        console::log_to(LogFile::open(path)?);
    }
    let (site, served) = site::build(options, workers)?;
    let (servers, taken) = listen::servers(options, &mut inherited)?;
    let mut web: Vec<Address> = Vec::new();
    let of_http = servers.iter().filter(|(door, _)| *door == Door::Http);
    of_http.for_each(|(_, server)| web.extend(server.addrs().cloned()));
    let (lines, has_doors) = (doors::lines(&servers), servers.iter().any(|(door, _)| *door != Door::Http));
    let server =
        servers.into_iter().map(|(_, server)| server).reduce(Server::and).ok_or(io::ErrorKind::InvalidInput)?;
    let observer = server.observer();
    let site = with_status(options, site, observer.clone());
    let is_loopback = listen::is_loopback_only(&web);
    privileges::check(options, is_loopback && !has_doors && !inherited.is_managed && !options.stdin)?;
    let site: Box<dyn Application> = match is_loopback || !options.allowed_hosts.is_empty() {
        true => Box::new(Hosts::new(site, &options.allowed_hosts)),
        false => site,
    };
    let site = site::shown(site, options);
    let log = Console {
        requests: options.format(),
        reload: options.reload,
        colour: options.has_colour(),
        queue: console::queue(),
    };
    let server = server.log(log).configure(|settings| {
        // A request to Python holds a thread here for as long as one there.
        let calls = if options.has_python() { options.python.workers * options.python.threads } else { 0 };
        let for_python = if calls > 0 { 2 * calls + 8 } else { 0 };
        settings.threads = options.threads.unwrap_or(settings.threads.max(for_python));
        // And a descriptor, where a worker has three itself.
        let others = workers.len() * (calls + 3 * options.python.workers);
        // No more than half: a call is for a connection, so that there are no more calls than these.
        settings.max_connections -= others.min(settings.max_connections / 2);
        if options.upload.is_some() {
            settings.max_content = None;
        }
        if !options.behind.is_empty() {
            // How much it takes is its own affair; cookies and tokens of applications are long.
            settings.max_content = None;
            settings.max_field_line = settings.max_field_line.max(PASSED_FIELD_LINE);
        }
        if let Some(stall) = options.stall {
            settings.content_stall = stall;
            settings.response_stall = stall;
        }
    });
    // Before the URL is printed: who has read it may stop the server.
    let signals = Signals::catch()?;
    let handle = server.spawn(site)?;
    let urls = listen::urls(web.iter());
    say(&([urls.as_slice(), &lines].concat().join("\n") + "\n"));
    if !options.quiet {
        introduce(options, &web, &served, taken, &urls);
    }
    if let (true, Some(url)) = (options.open, urls.first()) {
        open_browser(url);
    }
    let grace = if options.has_python() { options.python.timeout.max(GRACE) } else { GRACE };
    let running = Running {
        stopper: handle.stopper(),
        workers: workers.clone(),
        grace,
        pid_file: options.pid_file.clone(),
        has_log_file: options.log_file.is_some(),
        has_terminal: io::stdin().is_terminal(),
        quiet: options.quiet,
    };
    if options.until_eof {
        running.clone().end_with_stdin()?;
    }
    running.obey(signals)?;
    options.pid_file.iter().try_for_each(|path| pid_file::write(path))?;
    notify::begin(observer)?;
    inherited.tell_ready();
    handle.join();
    Ok(())
}

/// With the place that says how the server is, which is behind no password and below no prefix.
fn with_status(options: &Options, site: Box<dyn Application>, observer: Observer) -> Box<dyn Application> {
    let Some((place, askers)) = options.status.clone() else { return site };
    let status = Status::new(move || observer.stats()).allow(move |environ: &Environ| match &askers {
        Askers::All => true,
        Askers::These(addresses) => environ.remote_addr().is_some_and(|address| addresses.contains(&address)),
    });
    Box::new(Mount::new().at(&place, status).at("/", site))
}

fn introduce(options: &Options, web: &[Address], served: &str, taken: Option<u16>, urls: &[String]) {
    let mut text = String::new();
    if let Some(port) = taken {
        text.push_str(&format!("doorway: port {port} is taken, so this is the next free one; --port chooses\n"));
    }
    text.push_str(&format!("doorway: serving {served}; Ctrl-C stops\n"));
    if privileges::is_root_by_chance(options) {
        text.push_str("doorway: this is root, and whoever can use this machine can ask root for that; --user NAME serves as somebody else\n");
    }
    if listen::is_public(web.iter()) {
        text.push_str(match options.auth {
            None => "doorway: whoever can reach this machine can read that, without encryption; without --host only this machine can, and --auth FILE asks for a password\n",
            Some(_) => "doorway: whoever can reach this machine is asked for a password, which travels without encryption, as all of it does\n",
        });
        if options.upload.is_some() && options.auth.is_none() {
            text.push_str("doorway: whoever can reach this machine can put files there, too, of any size that fits unless --upload-limit says otherwise; --auth FILE asks for a password\n");
        }
        let port = web.iter().find_map(Address::port).unwrap_or_default();
        text.push_str(&format!(
            "doorway: for TLS, --allow-host example.org in place of --host, and: caddy reverse-proxy --from example.org --to 127.0.0.1:{port}\n"
        ));
    }
    // For a telephone beside the screen: the first address that it can reach.
    let lan = urls.iter().find(|url| !listen::leads_to_loopback(url));
    let shown = if options.qr { lan.or(urls.first()) } else { lan.filter(|_| options.is_terminal()) };
    if let Some((url, code)) = shown.and_then(|url| Some((url, qr::Code::of(url.as_bytes())?))) {
        text.push_str(&format!("{}doorway: {url}\n", code.show(options.has_colour())));
    }
    console::say(&text);
}

/// Opens the URL in the browser of the desktop; says so where there is none.
fn open_browser(url: &str) {
    let openers: &[&[&str]] = if cfg!(windows) { &[&["cmd", "/c", "start", ""]] } else { &[&["xdg-open"], &["open"]] };
    let opened = openers.iter().any(|opener| {
        let mut command = Command::new(opener[0]);
        command.args(&opener[1..]).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().is_ok()
    });
    if !opened {
        console::say(&format!("doorway: found no program that opens a browser; open {url} yourself\n"));
    }
}

fn say(text: &str) -> ExitCode {
    // Whoever reads this may have closed its end (`doorway --help | head`), or want the first line only: that is no failure.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    ExitCode::SUCCESS
}

fn complain(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "doorway: {text}");
    ExitCode::from(code)
}
