//! Arguments as the table of flags understands them.
//!
//! `--flag value`, `--flag=value`, `-f value`; an optional value only behind `=`; `--` ends the flags; one folder may stand anywhere.
//! What is not understood is an error that says what to write instead, because a command that guesses serves the wrong folder to
//! the wrong people. Nothing here looks at the system: whether a folder is there is found out later.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use doorway::VERSION;

use crate::flags::{Value, flags};
use crate::options::Options;
use crate::{completions, help};

/// What the arguments come to.
#[derive(Debug)]
pub enum Parsed {
    Serve(Box<Options>),
    /// What is to be printed instead.
    Text(String),
}

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
        let flag = flags().find(|flag| flag.is_called(name)).ok_or_else(|| unknown(name))?;
        let takes_next = match flag.value {
            Value::None | Value::Optional => false,
            Value::Address => rest.as_slice().first().and_then(|next| next.to_str()).is_some_and(is_address),
            _ => true,
        };
        if value.is_none() && takes_next {
            value = rest.next().and_then(|value| value.to_str());
        }
        let text = match (flag.value, value) {
            (Value::None, Some(_)) => return Err(format!("--{} takes no value", flag.long)),
            (Value::None | Value::Optional | Value::Address, None) => "",
            (_, value) => value.ok_or_else(|| format!("--{} needs a value", flag.long))?,
        };
        let wrong = |wrong: String| format!("--{} {text}: {wrong}", flag.long);
        match flag.long {
            "help" if name == "-h" => return Ok(Parsed::Text(help::brief())),
            "help" => return Ok(Parsed::Text(help::whole())),
            "man" => return Ok(Parsed::Text(help::manual())),
            "version" => return Ok(Parsed::Text(format!("doorway {VERSION}\n"))),
            "completions" => return completions::script(text).map(Parsed::Text).map_err(wrong),
            _ => flag.apply(text, &mut options).map_err(wrong)?,
        }
    }
    options.settle().map(|()| Parsed::Serve(Box::new(options)))
}

/// Whether a word behind `--host` is meant by it: any other word is what is served, and a name of this machine is written `--host=NAME`.
fn is_address(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok()
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

fn unknown(name: &str) -> String {
    let bare = name.trim_start_matches('-');
    let nearest = flags().map(|flag| (distance(flag.long, bare), flag.long)).min();
    match nearest.filter(|(distance, long)| *distance * 2 <= long.len()) {
        Some((_, long)) => format!("unknown flag {name}; did you mean --{long}?"),
        None => format!("unknown flag {name}"),
    }
}

/// How many letters have to be added, left out or replaced to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, second) in other.chars().enumerate() {
            let replaced = diagonal + usize::from(letter != second);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[row.len() - 1]
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
        for (arguments, text) in [
            (&["-h"][..], help::brief()),
            (&["--help"], help::whole()),
            (&["--man"], help::manual()),
            (&["x", "--version"], format!("doorway {VERSION}\n")),
            (&["--completions", "fish"], completions::script("fish").unwrap()),
        ] {
            assert!(matches!(parsed(arguments), Ok(Parsed::Text(printed)) if printed == text), "{arguments:?}");
        }
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
    fn an_address_may_stand_behind_a_space_and_a_folder_there_is_a_folder() {
        let both = |arguments: &[&str]| {
            let options = options(arguments);
            (options.hosts, options.folder.map(|folder| folder.display().to_string()))
        };
        let folder = |name: &str| Some(name.to_owned());
        assert_eq!(both(&["--host"]), (vec![String::new()], None));
        assert_eq!(both(&["--host", "site"]), (vec![String::new()], folder("site")));
        assert_eq!(both(&["--host", "--open"]), (vec![String::new()], None));
        assert_eq!(both(&["--host", "192.0.2.7", "site"]), (vec!["192.0.2.7".into()], folder("site")));
        for address in ["::", "[::1]", "0.0.0.0", "localhost"] {
            assert_eq!(both(&["--host", address]), (vec![address.into()], None));
        }
        assert_eq!(both(&["--host=machine.local", "site"]), (vec!["machine.local".into()], folder("site")));
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
            (&["--wsgi", "app:app", "--upload"], "there is no folder at /"),
            (&["--workers", "0"], "workers are a number from 1 to 256"),
            (&["--worker-timeout", "0"], "from 1 to 86400"),
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
            (&["--type", "glsl"], "write it as EXT=TYPE"),
            (&["--type", "glsl=text"], "such as text/plain"),
            (&["--type", "a/b=text/plain"], "without a point"),
            (&["--type", "glsl=text/plain\r\nA: b"], "such as text/plain"),
            (&["--upload=../x"], "without .."),
            (&["--upload", "--demo"], "--demo serves no folder"),
            (&["--upload", "--proxy", "/=http://localhost"], "there is no folder at /"),
            (&["--upload-limit", "1GB"], "with k, M, G or T"),
            (&["--proxy-timeout", "1.5"], "a whole number of seconds"),
            (&["--stall", "-1"], "a whole number of seconds"),
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
}
