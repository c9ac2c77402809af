//! Completions for shells, made from the table of flags. `source <(doorway --completions bash)`, or see the README.

use std::fmt::Write;

use crate::flags::{FLAGS, Flag, Value};

pub const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// The script for a shell; nothing for one that is not in [`SHELLS`].
pub fn script(shell: &str) -> String {
    match shell {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        _ => String::new(),
    }
}

fn bash() -> String {
    let mut words = String::new();
    let (mut choices, mut files, mut free) = (String::new(), Vec::new(), Vec::new());
    for flag in FLAGS {
        let _ = write!(words, " --{}", flag.long);
        if let Some(short) = flag.short {
            let _ = write!(words, " -{short}");
        }
        match flag.value {
            Value::Choice(_, all) => {
                let all = all.join(" ");
                let _ =
                    writeln!(choices, "    --{}) COMPREPLY=($(compgen -W '{all}' -- \"$word\")); return ;;", flag.long);
            }
            Value::Text(_) => free.push(format!("--{}", flag.long)),
            Value::File(_) | Value::Optional(_) => files.push(format!("--{}", flag.long)),
            // A folder stands behind a prefix and an equals sign, where bash sees a word of its own.
            Value::None | Value::Folder(_) | Value::Address(_) => {}
        }
    }
    format!(
        "_doorway() {{\n    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} equals=\n    COMPREPLY=()\n    \
         if [ \"$word\" = = ]; then word= equals=1\n    \
         elif [ \"$before\" = = ]; then before=${{COMP_WORDS[COMP_CWORD-2]}} equals=1; fi\n    \
         case $before in\n{choices}    {}) return ;;\n    {}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n    esac\n    \
         case $equals$word in\n    -*) COMPREPLY=($(compgen -W '{}' -- \"$word\")) ;;\n    \
         1*) COMPREPLY=($(compgen -d -- \"$word\")) ;;\n    \
         *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n    esac\n}}\n\
         complete -o filenames -F _doorway doorway\n",
        free.join("|"),
        files.join("|"),
        words.trim_start()
    )
}

fn zsh() -> String {
    let mut script = String::from("#compdef doorway\n_arguments -s \\\n");
    for flag in FLAGS {
        let help = flag.help.replace('\'', "").replace('[', "(").replace(']', ")").replace(':', "\\:");
        let (behind, action) = match flag.value {
            Value::None => ("", String::new()),
            Value::Text(name) => ("=", format!(":{}: ", plain(name))),
            Value::File(name) => ("=", format!(":{}:_files", plain(name))),
            Value::Folder(name) => ("=", format!(":{}:{{compset -P \"*=\"; _files -/}}", plain(name))),
            Value::Choice(name, all) => ("=", format!(":{}:({})", plain(name), all.join(" "))),
            Value::Optional(name) => ("=-", format!("::{}:_files", plain(name))),
            Value::Address(name) => ("=-", format!("::{}: ", plain(name))),
        };
        let _ = writeln!(script, "  '*--{}{behind}[{help}]{action}' \\", flag.long);
        if let Some(short) = flag.short {
            let behind = if behind.is_empty() { "" } else { "+" };
            let _ = writeln!(script, "  '*-{short}{behind}[{help}]{action}' \\");
        }
    }
    script.push_str("  '*:folder or file:_files'\n");
    script
}

/// Folders behind what has been written up to the equals sign.
const FISH_FOLDERS: &str = "(set -l begin (string match -r \"^.*=\" -- (commandline -ct)); \
    __fish_complete_directories (string replace -r \"^.*=\" \"\" -- (commandline -ct)) | string replace -r \"^\" -- \"$begin\")";

fn fish() -> String {
    let mut script = String::new();
    for flag in FLAGS {
        let short = flag.short.map_or(String::new(), |short| format!(" -s {short}"));
        let value = match flag.value {
            Value::None | Value::Optional(_) | Value::Address(_) => String::new(),
            Value::Text(_) => " -x".into(),
            Value::File(_) => " -r -F".into(),
            Value::Folder(_) => format!(" -x -a '{FISH_FOLDERS}'"),
            Value::Choice(_, all) => format!(" -x -a '{}'", all.join(" ")),
        };
        let _ = writeln!(script, "complete -c doorway -l {}{short}{value} -d '{}'", flag.long, quoted(flag));
    }
    script
}

/// A help text between single quotes of fish.
fn quoted(flag: &Flag) -> String {
    flag.help.replace('\\', "\\\\").replace('\'', "\\'")
}

/// The name of a value without what zsh would read as syntax.
fn plain(name: &str) -> String {
    name.replace(['\'', ':', '[', ']'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_stands_in_every_script() {
        for shell in SHELLS {
            let script = script(shell);
            for flag in FLAGS {
                let found =
                    script.contains(&format!("--{}", flag.long)) || script.contains(&format!("-l {}", flag.long));
                assert!(found, "{shell}: {}\n{script}", flag.long);
            }
        }
    }
}
