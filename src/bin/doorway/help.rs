//! What the command says about itself: the short help, the whole one, and the manual page, from the table of flags.

use std::fmt::Write;

use doorway::VERSION;

use crate::flags::{Flag, OFTEN_USED, TABLE};

const USAGE: &str = "doorway [FLAGS] [DIR or FILE] serves a folder (default: this one) over HTTP.";

/// Commands that people type, and what for.
const EXAMPLES: &str = "\
doorway
    this folder, at http://127.0.0.1:8000/
doorway --reload --open dist
    a site while it is made
doorway --spa dist --proxy /api=http://127.0.0.1:3000
    an application and what it asks
doorway --wsgi app:app --reload
    a Python application while it is written
doorway --host 0.0.0.0 holiday.mp4
    one film, for the television
";

/// The text of `-h`: the most used flags. It fits a screen of 80 columns and 25 lines.
pub fn brief() -> String {
    let is_often_used = |flag: Flag| OFTEN_USED.split(' ').any(|long| long == flag.long);
    let lines: Vec<&str> = TABLE.lines().filter(|line| Flag::of(line).is_some_and(is_often_used)).collect();
    format!("{USAGE}\n\n{}\n\ndoorway --help has all flags and examples.\n", lines.join("\n"))
}

/// The text of `--help`: all flags, in groups, and examples.
pub fn whole() -> String {
    format!("{USAGE}\n\n{TABLE}\nExamples:\n{EXAMPLES}")
}

/// The text of `--man`: a page for man(1), in the macros of man(7).
pub fn manual() -> String {
    let mut page = format!(
        ".TH DOORWAY 1 \"\" \"doorway {VERSION}\" \"User Commands\"\n.SH NAME\ndoorway \\- serve a folder over HTTP\n\
        .SH SYNOPSIS\n.B doorway\n.RI [ FLAGS ]\n.RI [ DIR \" or \" FILE ]\n.SH DESCRIPTION\n"
    );
    push_text(
        "Serves a folder, or one file, to people at work on what is in it: to this machine alone unless --host says otherwise, \
        never a stale file, nothing hidden. The first line of standard output is the URL; everything else goes to standard error.",
        &mut page,
    );
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        match Flag::of(line) {
            Some(flag) => push_item(flag.names, flag.help, &mut page),
            None => page.push_str(&format!(".SH {}\n", line.trim_end_matches(':').to_ascii_uppercase())),
        }
    }
    page.push_str(".SH EXAMPLES\n");
    let mut examples = EXAMPLES.lines();
    while let (Some(command), Some(what)) = (examples.next(), examples.next()) {
        push_item(command, what.trim_start(), &mut page);
    }
    page.push_str(".SH EXIT STATUS\n");
    for (code, what) in [
        ("0", "It served and was stopped, or printed what was asked for."),
        ("1", "It did not work, and says what to do."),
        ("2", "The arguments are wrong, and it says which."),
        ("130, 143", "A second SIGINT or SIGTERM."),
    ] {
        push_item(code, what, &mut page);
    }
    page
}

/// A term, and what it means.
fn push_item(term: &str, meaning: &str, page: &mut String) {
    let _ = writeln!(page, ".TP\n.B {}", quoted(term));
    push_text(meaning, page);
}

/// A line of text, in which nothing is a request or an escape of roff.
fn push_text(text: &str, page: &mut String) {
    let guard = if text.starts_with(['.', '\'']) { "\\&" } else { "" };
    let _ = writeln!(page, "{guard}{}", escaped(text));
}

/// One argument of a macro.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\\(dq"))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::flags;

    #[test]
    fn the_help_has_one_line_a_flag_in_groups_and_examples_that_are_understood() {
        let help = whole();
        assert!(help.lines().all(|line| line.len() < 80), "{help}");
        for command in EXAMPLES.lines().filter(|line| !line.starts_with(' ')) {
            let arguments: Vec<_> = command.split(' ').skip(1).map(std::ffi::OsString::from).collect();
            assert!(crate::arguments::parse(&arguments).is_ok(), "{command}");
        }
    }

    #[test]
    fn the_short_help_fits_a_screen_and_leads_to_the_whole_one() {
        let help = brief();
        assert!(help.lines().count() <= 25 && help.lines().all(|line| line.len() < 80), "{help}");
        let flags = help.lines().filter(|line| line.get(4..6) == Some("--"));
        assert_eq!(flags.count(), OFTEN_USED.split(' ').count(), "a name that is no flag: {help}");
        assert!(
            help.contains("--port PORT") && help.ends_with("doorway --help has all flags and examples.\n"),
            "{help}"
        );
    }

    #[test]
    fn nothing_in_the_manual_page_is_an_escape_by_accident() {
        let mut page = String::new();
        push_text(".it's a \\-", &mut page);
        assert_eq!(page, "\\&.it\\(aqs a \\e\\-\n");
        assert_eq!(quoted("--header 'K: \"V\"'"), "\"\\-\\-header \\(aqK: \\(dqV\\(dq\\(aq\"");
        assert!(flags().all(|flag| manual().contains(&escaped(&format!("--{}", flag.long)))));
    }
}
