//! An ordered list of name-value pairs in one run of memory: the store behind `Environ` and `Headers`.
//!
//! A pair is three positions in a shared text, so that a list which is cleared and filled again allocates nothing once it
//! has grown to its usual size (the steady state of the server). It compares nothing and validates nothing.

/// As much memory stays for the next request: twice the largest head of a gateway door.
const MAX_KEPT: usize = 256 * 1024;

/// The list. Removed and replaced pairs leave their bytes in the text until the list is cleared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

/// `name` is `text[name..value]`, the value `text[value..end]`.
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

    /// How many bytes of memory it holds.
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        if self.text.capacity() > MAX_KEPT {
            self.text.shrink_to(MAX_KEPT);
        }
        self.entries.clear();
    }

    #[inline]
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_with(|text| text.extend_from_slice(name), |text| text.extend_from_slice(value));
    }

    /// Appends a pair whose name and value are written straight into the text.
    #[inline]
    pub(crate) fn push_with(&mut self, name: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        name(&mut self.text);
        let middle = self.text.len();
        value(&mut self.text);
        self.entries.push(Entry { name: start, value: middle, end: self.text.len() });
    }

    /// Removes the pair that was appended last, bytes and all.
    pub(crate) fn pop(&mut self) {
        if let Some(entry) = self.entries.pop() {
            self.text.truncate(entry.name);
        }
    }

    /// Replaces the value of the first pair of this name, or appends the pair.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.position(|other| other == name) {
            Some(index) => self.replace(index, name, value),
            None => self.push(name, value),
        }
    }

    /// Replaces the pair at `index`; the bytes of the old one stay in the text.
    pub(crate) fn replace(&mut self, index: usize, name: &[u8], value: &[u8]) {
        if index < self.len() {
            self.push(name, value);
            self.entries.swap_remove(index);
        }
    }

    /// Appends `separator` and `value` to the value of the pair at `index`. What stands behind it moves on: a copy at the end of the text
    /// would leave the old one there, and names that take turns could make megabytes of a few kilobytes.
    pub(crate) fn join(&mut self, index: usize, separator: &[u8], value: &[u8]) {
        let Some(end) = self.entries.get(index).map(|entry| entry.end) else { return };
        let added = separator.len() + value.len();
        self.text.extend_from_slice(separator);
        self.text.extend_from_slice(value);
        if let Some(behind) = self.text.get_mut(end..) {
            behind.rotate_right(added);
        }
        for (other, entry) in self.entries.iter_mut().enumerate() {
            if other == index {
                entry.end += added;
            } else if entry.name >= end {
                *entry = entry.moved(added);
            }
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let text = &self.text;
        self.entries.retain(|entry| {
            let (name, value) = entry.pair(text);
            keep(name, value)
        });
    }

    /// Appends every pair of `other`, without the bytes of those that are gone: a list that takes in its own copies would double each time.
    pub(crate) fn extend(&mut self, other: &Pairs) {
        for (name, value) in other.iter() {
            self.push(name, value);
        }
    }

    pub(crate) fn position(&self, mut is: impl FnMut(&[u8]) -> bool) -> Option<usize> {
        self.iter().position(|(name, _)| is(name))
    }

    /// The value of the first pair with such a name.
    pub(crate) fn find(&self, mut is: impl FnMut(&[u8]) -> bool) -> Option<&[u8]> {
        self.iter().find(|(name, _)| is(name)).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.entries.iter().map(|entry| entry.pair(&self.text))
    }
}

impl Entry {
    /// The same pair, so many bytes further on.
    fn moved(self, by: usize) -> Entry {
        Entry { name: self.name + by, value: self.value + by, end: self.end + by }
    }

    fn pair<'a>(&self, text: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let part = |from, to| text.get(from..to).unwrap_or_default();
        (part(self.name, self.value), part(self.value, self.end))
    }
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
    fn a_list_that_takes_in_its_own_copies_holds_no_more_than_its_pairs_need() {
        let mut pairs = Pairs::default();
        for _ in 0..20 {
            let copy = pairs.clone();
            pairs.extend(&copy);
            pairs.retain(|_, _| false);
            pairs.push(b"a", b"b");
        }
        assert!(pairs.text.len() < 100, "{} bytes for one pair", pairs.text.len());
    }

    #[test]
    fn pairs_keep_their_order_through_joins_replacements_and_removals() {
        let mut pairs = Pairs::default();
        pairs.push(b"a", b"1");
        pairs.push(b"b", b"2");
        pairs.join(1, b", ", b"3");
        pairs.join(0, b"; ", b"4");
        pairs.join(0, b"; ", b"5");
        assert_eq!(all(&pairs), own(&[("a", "1; 4; 5"), ("b", "2, 3")]));
        pairs.replace(0, b"A", b"");
        pairs.retain(|name, _| name != b"b");
        let mut other = Pairs::default();
        other.push(b"x", b"y");
        other.extend(&pairs);
        assert_eq!(all(&other), own(&[("x", "y"), ("A", "")]));
    }

    #[test]
    fn pairs_that_are_joined_late_taken_back_and_appended_to_others_keep_their_bytes() {
        let mut pairs = Pairs::default();
        for (name, value) in [("a", "1"), ("long name", "2"), ("c", "3"), ("gone", "4")] {
            pairs.push(name.as_bytes(), value.as_bytes());
        }
        pairs.pop();
        pairs.join(1, b", ", b"5");
        assert_eq!(all(&pairs), own(&[("a", "1"), ("long name", "2, 5"), ("c", "3")]));
        pairs.join(7, b", ", b"nowhere");
        let mut other = Pairs::default();
        other.push(b"first", b"value");
        other.extend(&pairs);
        assert_eq!(all(&other), own(&[("first", "value"), ("a", "1"), ("long name", "2, 5"), ("c", "3")]));
    }

    #[test]
    fn a_pair_that_is_taken_back_leaves_no_bytes() {
        let mut pairs = Pairs::default();
        pairs.push(b"a", b"1");
        let before = pairs.text.len();
        pairs.push(b"b", b"2");
        pairs.pop();
        assert_eq!((pairs.len(), pairs.text.len()), (1, before));
        pairs.pop();
        pairs.pop();
        assert_eq!((pairs.len(), pairs.text.len()), (0, 0));
    }

    #[test]
    fn g_08_two_names_that_take_turns_cost_no_more_memory_than_came() {
        let mut pairs = Pairs::default();
        let long = vec![b'x'; 125_000];
        pairs.push(b"HTTP_A", &long);
        pairs.push(b"HTTP_B", b"");
        let mut came = long.len() + 12;
        for _ in 0..254 {
            pairs.join(1, b", ", b"");
            pairs.join(0, b", ", b"");
            came += 16;
        }
        pairs.push(b"HTTP_C", b"c");
        assert!(pairs.text.len() <= came && pairs.text.capacity() <= 2 * came, "{}", pairs.text.capacity());
        let commas = ", ".repeat(254).into_bytes();
        let all: Vec<_> = pairs.iter().collect();
        let first = [&long[..], &commas].concat();
        assert_eq!(all, [(&b"HTTP_A"[..], &first[..]), (b"HTTP_B", &commas), (b"HTTP_C", b"c")]);
    }

    #[test]
    fn g_08_memory_of_an_unusual_request_is_given_back() {
        let mut pairs = Pairs::default();
        pairs.push(b"A", &[b'x'; 1_000_000]);
        pairs.clear();
        assert!(pairs.text.capacity() <= super::MAX_KEPT, "{}", pairs.text.capacity());
    }

    #[test]
    fn pairs_that_were_replaced_and_removed_are_joined_in_their_place() {
        let mut pairs = Pairs::default();
        for (name, value) in [("a", "1"), ("b", ""), ("c", "3"), ("d", "4")] {
            pairs.push(name.as_bytes(), value.as_bytes());
        }
        pairs.replace(0, b"a", b"one");
        pairs.retain(|name, _| name != b"c");
        for index in [0, 1, 2, 1, 0] {
            pairs.join(index, b"+", b"longer than the rest");
        }
        let long = "+longer than the rest";
        let (one, twice, four) = (format!("one{long}{long}"), format!("{long}{long}"), format!("4{long}"));
        assert_eq!(all(&pairs), own(&[("a", &one), ("b", &twice), ("d", &four)]));
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
