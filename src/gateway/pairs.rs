//! An ordered list of name-value pairs in one run of memory, each as it stands in a head: the store behind `Headers`, and lists that are
//! made once.
//!
//! A pair is three positions in a shared text, so that a list which is cleared and filled again allocates nothing once it has grown to its
//! usual size (the steady state of the server). It compares nothing and validates nothing.

/// As much memory stays for the next response.
const MAX_KEPT: usize = 256 * 1024;

/// The list. Removed and replaced pairs leave their bytes in the text until the list is cleared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

/// `name` is the beginning of a line, `value` and `end` are where its value stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: usize,
    value: usize,
    end: usize,
}

impl Pairs {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        if self.text.capacity() > MAX_KEPT {
            self.text.shrink_to(MAX_KEPT);
        }
        self.entries.clear();
    }

    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(b": ");
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        self.entries.push(Entry { name: start, value: middle, end: self.text.len() });
        self.text.extend_from_slice(b"\r\n");
    }

    /// Replaces the pair at `index`; the bytes of the old one stay in the text.
    pub(crate) fn replace(&mut self, index: usize, name: &[u8], value: &[u8]) {
        if index < self.len() {
            self.push(name, value);
            self.entries.swap_remove(index);
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let text = &self.text;
        self.entries.retain(|entry| keep(entry.name(text)));
    }

    pub(crate) fn position(&self, mut is: impl FnMut(&[u8]) -> bool) -> Option<usize> {
        self.entries.iter().position(|entry| is(entry.name(&self.text)))
    }

    /// The value of the first pair with such a name.
    pub(crate) fn find(&self, mut is: impl FnMut(&[u8]) -> bool) -> Option<&[u8]> {
        self.iter().find(|(name, _)| is(name)).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.entries.iter().map(|entry| (entry.name(&self.text), part(&self.text, entry.value, entry.end)))
    }

    /// Every name, and the line in which it stands.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|entry| (entry.name(&self.text), part(&self.text, entry.name, entry.end + 2)))
    }
}

impl Entry {
    fn name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        part(text, self.name, self.value - 2)
    }
}

fn part(text: &[u8], start: usize, end: usize) -> &[u8] {
    text.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Pairs;

    fn all(pairs: &Pairs) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| (String::from_utf8_lossy(name).into(), String::from_utf8_lossy(value).into()))
            .collect()
    }

    fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn pairs_keep_their_order_through_replacements_and_removals() {
        let mut pairs = Pairs::default();
        for (name, value) in [("a", "1"), ("b", ""), ("c", "3"), ("d", "4")] {
            pairs.push(name.as_bytes(), value.as_bytes());
        }
        pairs.replace(0, b"A", b"one");
        pairs.replace(7, b"none", b"");
        pairs.retain(|name| name != b"c");
        assert_eq!(all(&pairs), own(&[("A", "one"), ("b", ""), ("d", "4")]));
        assert_eq!((pairs.position(|name| name == b"d"), pairs.find(|name| name == b"c")), (Some(2), None));
    }

    #[test]
    fn a_line_is_what_a_head_has_of_its_pair() {
        let mut pairs = Pairs::default();
        pairs.push(b"A", b"1");
        pairs.push(b"B", b"");
        pairs.replace(0, b"A", b"2");
        assert_eq!(pairs.lines().collect::<Vec<_>>(), [(&b"A"[..], &b"A: 2\r\n"[..]), (b"B", b"B: \r\n")]);
    }

    #[test]
    fn memory_of_an_unusual_response_is_given_back() {
        let mut pairs = Pairs::default();
        pairs.push(b"A", &[b'x'; 1_000_000]);
        pairs.clear();
        assert!(pairs.text.capacity() <= super::MAX_KEPT, "{}", pairs.text.capacity());
    }

    #[test]
    fn pairs_that_are_cleared_and_filled_again_do_not_grow() {
        let mut pairs = Pairs::default();
        let fill = |pairs: &mut Pairs| {
            pairs.clear();
            for _ in 0..20 {
                pairs.push(b"NAME", b"value");
            }
            (pairs.text.capacity(), pairs.entries.capacity())
        };
        let first = fill(&mut pairs);
        assert_eq!(fill(&mut pairs), first);
    }
}
