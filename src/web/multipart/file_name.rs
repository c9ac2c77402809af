//! A name under which a file that a stranger sent can be stored.
//!
//! The name in a form is what the client says (RFC 7578 section 4.2: never to be used blindly). It may lead out of the folder, name a device of
//! Windows, hide the file, end in what a file system drops, or look like another name where it is shown. This makes one component
//! of it that does none of that on any system; it does not make it unique, and does not look at a file system.

/// More than this some file systems refuse with the `.part` or number that a program adds.
const LONGEST: usize = 200;

/// The last component of a path in either style, made harmless; `None` where nothing is left of it.
///
/// Controls, characters that change the direction of text, and those that no Windows name may hold become `_`. Dots and spaces at both
/// ends go. Of a name of more than 200 bytes the beginning and a short extension stay.
///
/// ```
/// use doorway::web::multipart::safe_file_name;
///
/// assert_eq!(safe_file_name("../../etc/passwd").as_deref(), Some("passwd"));
/// assert_eq!(safe_file_name("C:\\Users\\ada\\r\u{e9}sum\u{e9}.pdf").as_deref(), Some("r\u{e9}sum\u{e9}.pdf"));
/// assert_eq!(safe_file_name(".htaccess").as_deref(), Some("htaccess"));
/// assert_eq!(safe_file_name("NUL.txt").as_deref(), Some("_NUL.txt"));
/// assert_eq!(safe_file_name(".."), None);
/// ```
pub fn safe_file_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let plain: String = last.chars().map(|char| if is_plain(char) { char } else { '_' }).collect();
    let is_dropped = |char: char| char == '.' || char.is_whitespace();
    let mut safe = shortened(plain.trim_matches(is_dropped)).trim_end_matches(is_dropped).to_owned();
    if is_device(safe.as_bytes()) {
        safe.insert(0, '_');
    }
    (!safe.is_empty()).then_some(safe)
}

/// Whether a name means a device on Windows, as it does with any extension behind it. Of the digits of a port three may be raised ones.
pub(crate) fn is_device(name: &[u8]) -> bool {
    const DEVICES: [&[u8]; 6] = [b"con", b"prn", b"aux", b"nul", b"conin$", b"conout$"];
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default().trim_ascii_end().to_ascii_lowercase();
    let port = stem.strip_prefix(b"com").or_else(|| stem.strip_prefix(b"lpt")).unwrap_or_default();
    DEVICES.contains(&&*stem) || matches!(port, [b'0'..=b'9'] | [0xc2, 0xb9 | 0xb2 | 0xb3])
}

fn is_plain(char: char) -> bool {
    let changes_direction =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !char.is_control() && !changes_direction && !"<>:\"|?*\u{feff}\u{2028}\u{2029}".contains(char)
}

/// At most [`LONGEST`] bytes, with the extension where it is short.
fn shortened(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let extension = if extension.len() <= 16 { extension } else { "" };
    let most = LONGEST - extension.len() - 1;
    let mut stem = String::new();
    for char in name.chars() {
        if stem.len() + char.len_utf8() > most {
            break;
        }
        stem.push(char);
    }
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, safe_file_name};

    #[test]
    fn rfc7578_4_2_no_name_leads_out_of_its_folder_hides_or_means_a_device() {
        for (name, expected) in [
            ("a.txt", Some("a.txt")),
            ("na\u{ef}ve file (1).tar.gz", Some("na\u{ef}ve file (1).tar.gz")),
            ("/etc/passwd", Some("passwd")),
            ("..\\..\\boot.ini", Some("boot.ini")),
            ("a/", None),
            ("..", None),
            (". . .", None),
            ("", None),
            ("...a...", Some("a")),
            (" a ", Some("a")),
            ("a\0b\r\nc\u{7f}", Some("a_b__c_")),
            ("a\u{202e}gpj.exe", Some("a_gpj.exe")),
            ("a:b<c>\"|?*", Some("a_b_c_____")),
            ("con", Some("_con")),
            ("Lpt1.tar.gz", Some("_Lpt1.tar.gz")),
            ("AUX .txt", Some("_AUX .txt")),
            ("COM\u{b9}.txt", Some("_COM\u{b9}.txt")),
            ("lpt\u{b3}", Some("_lpt\u{b3}")),
            ("COM0", Some("_COM0")),
            ("conout$.log", Some("_conout$.log")),
            ("com10", Some("com10")),
            ("com\u{b4}", Some("com\u{b4}")),
            ("console", Some("console")),
        ] {
            assert_eq!(safe_file_name(name).as_deref(), expected, "{name:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_beginning_its_extension_and_whole_characters() {
        let long = safe_file_name(&format!("{}.jpeg", "\u{e4}".repeat(300))).unwrap();
        assert!(long.len() <= LONGEST && long.len() > LONGEST - 3, "{}", long.len());
        assert!(long.starts_with("\u{e4}\u{e4}") && long.ends_with("\u{e4}.jpeg"), "{long}");
        let all = safe_file_name(&"a.".repeat(300)).unwrap();
        assert!(all.len() <= LONGEST && !all.ends_with('.'), "{all}");
        let late = safe_file_name(&format!("{}.{}", "a".repeat(150), "b".repeat(100))).unwrap();
        assert_eq!(late.len(), LONGEST - 1);
    }
}
