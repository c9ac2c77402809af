//! The flags of the command: one table from which parsing and help are made.

use std::ffi::OsString;

/// What one flag is.
struct Flag {
    long: &'static str,
    short: Option<char>,
    /// The name of its value in the help; `None` for a flag without one.
    value: Option<&'static str>,
    help: &'static str,
    apply: Apply,
}

enum Apply {
    Value(fn(&mut Options, &str) -> Result<(), String>),
    Ask(Asked),
}

/// Every flag, in the order of the help.
const FLAGS: &[Flag] = &[
    Flag {
        long: "port",
        short: Some('p'),
        value: Some("PORT"),
        help: "listen at this port; 0 takes a free one (default 8000)",
        apply: Apply::Value(|options, text| set(&mut options.port, text, "a port is a number from 0 to 65535")),
    },
    Flag {
        long: "host",
        short: None,
        value: Some("HOST"),
        help: "listen at this address or name (default 127.0.0.1)",
        apply: Apply::Value(|options, text| {
            text.clone_into(&mut options.host);
            Ok(())
        }),
    },
    Flag {
        long: "threads",
        short: None,
        value: Some("N"),
        help: "call the application in N threads (default 4 a core, at least 16)",
        apply: Apply::Value(|options, text| match text.parse() {
            Ok(threads) if (1..=1024).contains(&threads) => {
                options.threads = Some(threads);
                Ok(())
            }
            _ => Err("threads are a number from 1 to 1024".into()),
        }),
    },
    Flag { long: "help", short: Some('h'), value: None, help: "print this and exit", apply: Apply::Ask(Asked::Help) },
    Flag {
        long: "version",
        short: Some('V'),
        value: None,
        help: "print the version and exit",
        apply: Apply::Ask(Asked::Version),
    },
];

/// What the arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Serve(Options),
    Help,
    Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub host: String,
    pub port: u16,
    pub threads: Option<usize>,
}

impl Default for Options {
    fn default() -> Options {
        Options { host: "127.0.0.1".into(), port: 8000, threads: None }
    }
}

/// Reads the arguments: `--flag value`, `--flag=value`, `-f value`. An unknown one is an error that names the nearest flag.
pub fn parse(arguments: &[OsString]) -> Result<Asked, String> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let argument = argument.to_str().ok_or_else(|| format!("{} is not text", argument.to_string_lossy()))?;
        let (name, mut value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
        let flag = FLAGS.iter().find(|flag| flag.is_called(name)).ok_or_else(|| unknown(name))?;
        match (&flag.apply, value) {
            (Apply::Ask(asked), None) => return Ok(asked.clone()),
            (Apply::Ask(_), Some(_)) => return Err(format!("--{} takes no value", flag.long)),
            (Apply::Value(apply), _) => {
                if value.is_none() {
                    value = rest.next().and_then(|value| value.to_str());
                }
                let text = value.ok_or_else(|| format!("--{} needs a value", flag.long))?;
                apply(&mut options, text).map_err(|wrong| format!("--{} {text}: {wrong}", flag.long))?;
            }
        }
    }
    Ok(Asked::Serve(options))
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "doorway: serves the demo application over HTTP/1.1\n\n\
         Usage: doorway [FLAGS]\n\n",
    );
    for flag in FLAGS {
        let short = flag.short.map_or("    ".into(), |short| format!("-{short}, "));
        let long = format!("--{} {}", flag.long, flag.value.unwrap_or_default());
        text.push_str(&format!("  {short}{long:<18} {}\n", flag.help));
    }
    text.push_str("\nThe first line of output is the URL; a line for each request goes to standard error.\n");
    text
}

impl Flag {
    fn is_called(&self, name: &str) -> bool {
        let short = self.short.is_some_and(|short| name.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4])));
        short || name.strip_prefix("--") == Some(self.long)
    }
}

fn set<T: std::str::FromStr>(place: &mut T, text: &str, wrong: &str) -> Result<(), String> {
    *place = text.parse().map_err(|_| wrong.to_owned())?;
    Ok(())
}

fn unknown(name: &str) -> String {
    let bare = name.trim_start_matches('-');
    let shared = |flag: &Flag| flag.long.chars().zip(bare.chars()).take_while(|(a, b)| a == b).count();
    match FLAGS.iter().max_by_key(|flag| shared(flag)).filter(|flag| shared(flag) > 0) {
        Some(near) => format!("unknown argument {name}; did you mean --{}?", near.long),
        None => format!("unknown argument {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Asked, String> {
        parse(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn flags_take_their_value_behind_a_space_or_an_equals_sign() {
        let expected = Ok(Asked::Serve(Options { host: "::1".into(), port: 80, threads: Some(2) }));
        assert_eq!(parsed(&["--port", "80", "--host", "::1", "--threads", "2"]), expected);
        assert_eq!(parsed(&["-p", "80", "--host=::1", "--threads=2"]), expected);
        assert_eq!(parsed(&[]), Ok(Asked::Serve(Options::default())));
        assert_eq!(parsed(&["-h"]), Ok(Asked::Help));
        assert_eq!(parsed(&["--version"]), Ok(Asked::Version));
    }

    #[test]
    fn wrong_usage_is_an_error_that_says_what_is_wrong() {
        for (arguments, part) in [
            (&["--prot", "1"][..], "did you mean --port?"),
            (&["--port"], "--port needs a value"),
            (&["--port", "65536"], "a port is a number"),
            (&["--threads", "0"], "from 1 to 1024"),
            (&["--help=yes"], "takes no value"),
            (&["folder"], "unknown argument folder"),
        ] {
            let wrong = parsed(arguments).unwrap_err();
            assert!(wrong.contains(part), "{arguments:?}: {wrong}");
        }
    }

    #[test]
    fn the_help_names_every_flag_within_80_columns() {
        let help = help();
        assert!(FLAGS.iter().all(|flag| help.contains(&format!("--{}", flag.long))));
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
}
