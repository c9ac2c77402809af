//! Text as a string in JSON. Whole documents are the business of a crate for JSON, or of `format!` where they are small.

use std::fmt::Write;

/// `text` as a JSON string with its quotation marks (RFC 8259 section 7). `<`, `>` and `&` are escaped too, so that it may stand in a script of an HTML page, and
/// a browser that takes JSON for HTML sees no markup.
///
/// ```
/// use doorway::{Response, json_string};
///
/// let title = "\"R&D\"\n";
/// let response = Response::json(format!("{{\"title\":{}}}", json_string(title)));
/// assert_eq!(json_string(title), r#""\"R\u0026D\"\u000a""#);
/// # assert_eq!(response.body.known_len(), Some(30));
/// ```
pub fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => json.extend(['\\', char]),
            // Two line ends of Unicode end a line in older JavaScript.
            char if char.is_control() || matches!(char, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') => {
                // Writing to a String cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(char));
            }
            char => json.push(char),
        }
    }
    json.push('"');
    json
}
