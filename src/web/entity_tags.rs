//! Entity tags as requests list them, and how two of them compare.
//!
//! RFC 9110 sections 8.8.3 and 13.1. Pure: bytes in, an answer out. A list that breaks the grammar counts as far as it keeps it.

// If-Match = "*" / #entity-tag
/// Whether a list of tags, or `*`, has one that is the same as this.
pub(crate) fn matches_any(list: &[u8], etag: &str, same: fn(&[u8], &[u8]) -> bool) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    while let Some((tag, after)) = next_tag(rest) {
        if same(tag, etag.as_bytes()) {
            return true;
        }
        rest = after;
    }
    false
}

/// The first tag of a list and what stands behind it; `None` at the end and at what is no tag.
// entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE, and a tag may hold a comma
fn next_tag(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    let list = list.get(start..)?;
    let open = if list.starts_with(b"W/") { 2 } else { 0 };
    let opaque = list.get(open..)?.strip_prefix(b"\"")?;
    let end = open + 1 + opaque.iter().position(|byte| *byte == b'"')? + 1;
    let (tag, after) = list.split_at_checked(end)?;
    // What follows is a comma or nothing; anything else is no list of tags.
    let is_list = matches!(after.trim_ascii_start().first(), None | Some(b','));
    is_list.then_some((tag, after))
}

/// Section 8.8.3.2: the same, and neither of them weak.
pub(crate) fn strongly(one: &[u8], other: &[u8]) -> bool {
    !one.starts_with(b"W/") && one == other
}

/// The same, whether weak or not.
pub(crate) fn weakly(one: &[u8], other: &[u8]) -> bool {
    one.strip_prefix(b"W/").unwrap_or(one) == other.strip_prefix(b"W/").unwrap_or(other)
}
