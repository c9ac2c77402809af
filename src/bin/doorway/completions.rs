//! Completions for shells, made from the table of flags. `source <(doorway --completions bash)`, or see the README.

use std::fmt::Write;

use crate::flags::{Flag, Value, flags};

/// The script for a shell.
pub fn script(shell: &str) -> Result<String, String> {
    match shell {
        "bash" => Ok(bash()),
        "zsh" => Ok(zsh()),
        "fish" => Ok(fish()),
        _ => Err("a shell is bash, zsh or fish".into()),
    }
}

fn bash() -> String {
    let mut words = String::new();
    let (mut choices, mut files, mut free) = (String::new(), Vec::new(), Vec::new());
    for flag in flags() {
        let _ = write!(words, " --{}", flag.long);
        if !flag.short.is_empty() {
            let _ = write!(words, " {}", flag.short);
        }
        match flag.value {
            Value::Choice(all) => {
                let _ =
                    writeln!(choices, "    --{}) COMPREPLY=($(compgen -W '{all}' -- \"$word\")); return ;;", flag.long);
            }
            Value::Text => free.push(format!("--{}", flag.long)),
            Value::File | Value::Optional => files.push(format!("--{}", flag.long)),
            // A folder stands behind a prefix and an equals sign, where bash sees a word of its own.
            Value::None | Value::Folder | Value::Address => {}
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
    for flag in flags() {
        let help = flag.help.replace('\'', "").replace('[', "(").replace(']', ")").replace(':', "\\:");
        // The name of the value, without what zsh would read as syntax.
        let name = flag.name.trim_start_matches("[=").replace(['\'', ':', '[', ']'], "");
        let (behind, action) = match flag.value {
            Value::None => ("", String::new()),
            Value::Text => ("=", format!(":{name}: ")),
            Value::File => ("=", format!(":{name}:_files")),
            Value::Folder => ("=", format!(":{name}:{{compset -P \"*=\"; _files -/}}")),
            Value::Choice(all) => ("=", format!(":{name}:({all})")),
            Value::Optional => ("=-", format!("::{name}:_files")),
            Value::Address => ("=-", format!("::{name}: ")),
        };
        let _ = writeln!(script, "  '*--{}{behind}[{help}]{action}' \\", flag.long);
        if !flag.short.is_empty() {
            let behind = if behind.is_empty() { "" } else { "+" };
            let _ = writeln!(script, "  '*{}{behind}[{help}]{action}' \\", flag.short);
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
    for flag in flags() {
        let short = flag.short.replace('-', " -s ");
        let value = match flag.value {
            Value::None | Value::Optional | Value::Address => String::new(),
            Value::Text => " -x".into(),
            Value::File => " -r -F".into(),
            Value::Folder => format!(" -x -a '{FISH_FOLDERS}'"),
            Value::Choice(all) => format!(" -x -a '{all}'"),
        };
        let _ = writeln!(script, "complete -c doorway -l {}{short}{value} -d '{}'", flag.long, quoted(&flag));
    }
    script
}

/// A help text between single quotes of fish.
fn quoted(flag: &Flag) -> String {
    flag.help.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_stands_in_every_script() {
        for shell in ["bash", "zsh", "fish"] {
            let script = script(shell).unwrap();
            for flag in flags() {
                let found =
                    script.contains(&format!("--{}", flag.long)) || script.contains(&format!("-l {}", flag.long));
                assert!(found, "{shell}: {}\n{script}", flag.long);
            }
        }
    }
}
