//! The `doorway` command: serves the demo application and says where.
//!
//! It uses the public interface of the library only. The first line of standard output is the URL, flushed, so that a script
//! can wait for it; the log goes to standard error. Exit codes: 0 done, 1 it did not work, 2 wrong usage.

mod flags;

use std::io::{self, Write};
use std::process::ExitCode;

use doorway::log::Lines;
use doorway::{Server, VERSION, app};

use flags::{Asked, Options};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match flags::parse(&arguments) {
        Ok(Asked::Serve(options)) => match serve(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error.to_string(), 1),
        },
        Ok(Asked::Help) => say(&flags::help()),
        Ok(Asked::Version) => say(&format!("doorway {VERSION}\n")),
        Err(wrong) => complain(&format!("{wrong}\nTry 'doorway --help'."), 2),
    }
}

fn serve(options: &Options) -> io::Result<()> {
    let mut server = Server::bind((options.host.as_str(), options.port))?.log(Lines::all(io::stderr()));
    if let Some(threads) = options.threads {
        server = server.threads(threads);
    }
    let handle = server.spawn(app::demo)?;
    let mut out = io::stdout().lock();
    for address in handle.addrs() {
        writeln!(out, "{}", address.url())?;
    }
    out.flush()?;
    drop(out);
    handle.join();
    Ok(())
}

fn say(text: &str) -> ExitCode {
    // Whoever reads this may have closed its end (`doorway --help | head`): that is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "doorway: {text}");
    ExitCode::from(code)
}
