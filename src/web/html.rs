//! Text in HTML that a browser shows and never runs.

use std::borrow::Cow;

/// `text` with `&`, `<`, `>` and both quotation marks as character references: safe in an element and in a quoted attribute.
///
/// It is not enough inside of `<script>` or `<style>`, in an attribute without quotation marks, or for a URL that somebody else gave
/// (`javascript:`).
///
/// ```
/// use doorway::escape_html;
///
/// assert_eq!(escape_html("<b title='a'>\"R&D\""), "&lt;b title=&#39;a&#39;&gt;&quot;R&amp;D&quot;");
/// ```
pub fn escape_html(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| reference(char::from(byte)).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut html = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match reference(char) {
            Some(reference) => html.push_str(reference),
            None => html.push(char),
        }
    }
    Cow::Owned(html)
}

fn reference(char: char) -> Option<&'static str> {
    match char {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::escape_html;

    #[test]
    fn markup_is_escaped_and_everything_else_kept() {
        assert_eq!(escape_html("&lt;"), "&amp;lt;");
        assert_eq!(escape_html("<a b='c' d=\"e\">"), "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;");
        assert_eq!(escape_html("\u{e4}<\u{1F980}"), "\u{e4}&lt;\u{1F980}");
        assert!(matches!(escape_html("plain \u{e4}"), Cow::Borrowed(_)));
    }
}
