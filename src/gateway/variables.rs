//! The variables of a request: places in one copy of what was received, and behind it what does not stand there.
//!
//! A value that came in the head is not copied again, and a name that many requests have is a constant. What is the same for every request
//! of a listener is one shared list, copied by the first edit that touches a name of it. Invariants: a name stands once, and none of the
//! shared list among the own ones; the text only grows until the next request, so that no place moves. Positions are those of memory
//! itself, which no length leaves.

use std::sync::Arc;

use super::Pairs;

/// As much memory stays for the next request: twice the largest head of a gateway door.
const MAX_KEPT: usize = 256 * 1024;

/// The list.
#[derive(Clone, Default)]
pub(crate) struct Variables {
    /// The head of the request, and what was appended.
    text: Vec<u8>,
    own: Vec<(Part, Part)>,
    shared: Arc<Pairs>,
}

/// A name or a value.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Fixed(&'static [u8]),
    /// From here to there in the text.
    Text(usize, usize),
}

impl Variables {
    /// Begins a new list with the head of a request, which is copied.
    pub(crate) fn refill<'a>(&'a mut self, head: &'a [u8], shared: &Arc<Pairs>) -> Filling<'a> {
        self.own.clear();
        self.text.clear();
        if self.text.capacity() > MAX_KEPT {
            self.text.shrink_to(MAX_KEPT);
        }
        self.text.extend_from_slice(head);
        if !Arc::ptr_eq(&self.shared, shared) {
            self.shared = Arc::clone(shared);
        }
        Filling { variables: self, head }
    }

    /// How many bytes of memory it holds.
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity() + self.own.capacity() * size_of::<(Part, Part)>()
    }

    /// The value of the variable with such a name.
    pub(crate) fn find(&self, mut is: impl FnMut(&[u8]) -> bool) -> Option<&[u8]> {
        let own = self.own.iter().find(|(name, _)| is(self.part(*name)));
        own.map(|(_, value)| self.part(*value)).or_else(|| self.shared.find(is))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.own.iter().map(|(name, value)| (self.part(*name), self.part(*value))).chain(self.shared.iter())
    }

    /// Replaces the value of a variable, or appends it. The bytes of the old one stay in the text.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        Filling { variables: self, head: b"" }.set(name, value);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        if let Some(index) = self.position(name) {
            self.own.remove(index);
        }
    }

    /// Where a variable stands among the own ones, to which those of the shared list belong from now on if it is one of them.
    fn position(&mut self, name: &[u8]) -> Option<usize> {
        if self.shared.find(|other| other == name).is_some() {
            for (name, value) in std::mem::take(&mut self.shared).iter() {
                let pair = (self.append(name), self.append(value));
                self.own.push(pair);
            }
        }
        self.own.iter().position(|(other, _)| self.part(*other) == name)
    }

    fn append(&mut self, bytes: &[u8]) -> Part {
        self.append_with(|text| text.extend_from_slice(bytes))
    }

    fn append_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Part {
        let start = self.text.len();
        write(&mut self.text);
        Part::Text(start, self.text.len())
    }

    fn part(&self, part: Part) -> &[u8] {
        match part {
            Part::Fixed(bytes) => bytes,
            Part::Text(start, end) => self.text.get(start..end).unwrap_or_default(),
        }
    }
}

/// Variables that are being filled from a head. What stands in the head itself is a place in the copy; anything else is appended.
pub(crate) struct Filling<'a> {
    variables: &'a mut Variables,
    head: &'a [u8],
}

impl Filling<'_> {
    /// Appends a variable that is not there yet.
    #[inline]
    pub(crate) fn push(&mut self, name: &'static [u8], value: &[u8]) {
        let value = self.place(value);
        self.variables.own.push((Part::Fixed(name), value));
    }

    /// The same, with a value that stands from here to there in the head.
    #[inline]
    pub(crate) fn push_place(&mut self, name: &'static [u8], (start, end): (usize, usize)) {
        self.variables.own.push((Part::Fixed(name), Part::Text(start, end)));
    }

    /// The same, with a value that is written behind the text.
    pub(crate) fn push_with(&mut self, name: &'static [u8], value: impl FnOnce(&mut Vec<u8>)) {
        let value = self.variables.append_with(value);
        self.variables.own.push((Part::Fixed(name), value));
    }

    /// The same, with a value that stays.
    #[inline]
    pub(crate) fn push_fixed(&mut self, name: &'static [u8], value: &'static [u8]) {
        self.variables.own.push((Part::Fixed(name), Part::Fixed(value)));
    }

    /// Appends a field. Where its name is there already, `all` values of that name are joined in its place, the first time that it comes
    /// again: a copy for each would leave the ones before it, and make megabytes of a few kilobytes.
    pub(crate) fn field<'v>(
        &mut self,
        name: Part,
        value: &[u8],
        separator: &[u8],
        all: impl Iterator<Item = &'v [u8]>,
    ) {
        let own = &self.variables.own;
        let index = own.iter().position(|(other, _)| self.variables.part(*other) == self.variables.part(name));
        let value = match index.and_then(|index| own.get(index)) {
            None => self.place(value),
            Some((_, Part::Text(_, end))) if *end <= self.head.len() => self.variables.append_with(|text| {
                for value in all {
                    text.extend_from_slice(value);
                    text.extend_from_slice(separator);
                }
                text.truncate(text.len().saturating_sub(separator.len()));
            }),
            // What stands behind the head is joined already.
            Some(_) => return,
        };
        match index.and_then(|index| self.variables.own.get_mut(index)) {
            Some((_, place)) => *place = value,
            None => self.variables.own.push((name, value)),
        }
    }

    /// Writes a name behind the text.
    pub(crate) fn write(&mut self, name: impl FnOnce(&mut Vec<u8>)) -> Part {
        self.variables.append_with(name)
    }

    /// Where something stands in the text, to which it is appended unless it stands in the head.
    #[inline]
    pub(crate) fn place(&mut self, bytes: &[u8]) -> Part {
        let start = bytes.as_ptr().addr().wrapping_sub(self.head.as_ptr().addr());
        let end = start.wrapping_add(bytes.len());
        match self.head.get(start..end) {
            Some(_) => Part::Text(start, end),
            None => self.variables.append(bytes),
        }
    }

    /// Replaces the value of a variable, or appends it.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        let (index, value) = (self.variables.position(name), self.place(value));
        match index.and_then(|index| self.variables.own.get_mut(index)) {
            Some((_, place)) => *place = value,
            None => {
                let name = self.place(name);
                self.variables.own.push((name, value));
            }
        }
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        self.variables.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(variables: &Variables) -> Vec<(&[u8], &[u8])> {
        variables.iter().collect()
    }

    fn shared(pairs: &[(&str, &str)]) -> Arc<Pairs> {
        let mut list = Pairs::default();
        pairs.iter().for_each(|(name, value)| list.push(name.as_bytes(), value.as_bytes()));
        Arc::new(list)
    }

    #[test]
    fn what_stands_in_the_head_is_found_in_its_copy_and_nothing_else_is() {
        let (mut variables, head) = (Variables::default(), *b"one two");
        let mut filling = variables.refill(&head, &Arc::default());
        filling.push(b"A", &head[4..]);
        filling.push(b"B", &head[7..]);
        filling.push(b"C", &[b"elsewhere, ", &head[..]].concat());
        filling.push_fixed(b"D", b"fixed");
        filling.push_with(b"E", |text| text.push(b'x'));
        assert_eq!(variables.text, b"one twoelsewhere, one twox");
        let expected: [(&[u8], &[u8]); 5] =
            [(b"A", b"two"), (b"B", b""), (b"C", b"elsewhere, one two"), (b"D", b"fixed"), (b"E", b"x")];
        assert_eq!(all(&variables), expected);
    }

    #[test]
    fn p_env_01_an_edit_of_what_is_shared_copies_it_and_every_name_stands_once() {
        let list = shared(&[("S", "1"), ("T", "2")]);
        let mut variables = Variables::default();
        variables.refill(b"head", &list).push(b"A", b"own");
        variables.set(b"B", b"x");
        assert!(Arc::ptr_eq(&variables.shared, &list));
        variables.set(b"T", b"3");
        variables.remove(b"S");
        variables.remove(b"none");
        variables.set(b"B", b"y");
        assert_eq!(all(&variables), [(&b"A"[..], &b"own"[..]), (b"B", b"y"), (b"T", b"3")]);
        variables.refill(b"next", &list);
        assert_eq!(all(&variables), [(&b"S"[..], &b"1"[..]), (b"T", b"2")]);
    }

    #[test]
    fn g_08_two_names_that_take_turns_cost_no_more_memory_than_came() {
        let (long, times) = (125_000, 254);
        let head = [&vec![b'x'; long][..], b"c"].concat();
        let (first, last) = head.split_at(long);
        let mut variables = Variables::default();
        let mut filling = variables.refill(&head, &Arc::default());
        for turn in 0..times {
            for (name, value) in [(&b"HTTP_A"[..], first), (b"HTTP_B", &first[..0])] {
                let all = std::iter::once(value).chain(std::iter::repeat_n(&first[..0], times - 1));
                let name = filling.write(|text| text.extend_from_slice(name));
                filling.field(name, if turn == 0 { value } else { &first[..0] }, b", ", all);
            }
        }
        filling.push(b"HTTP_C", last);
        let commas = ", ".repeat(times - 1).into_bytes();
        let joined = [first, &commas].concat();
        assert_eq!(all(&variables), [(&b"HTTP_A"[..], &joined[..]), (b"HTTP_B", &commas), (b"HTTP_C", b"c")]);
        // The head, and behind it what was joined, with the names.
        let came = long + times * 2 * 8;
        assert!(variables.text.len() <= 2 * came, "{}", variables.text.len());
    }

    #[test]
    fn g_08_memory_of_an_unusual_request_is_given_back() {
        let mut variables = Variables::default();
        variables.refill(&[b'x'; 1_000_000], &Arc::default());
        variables.refill(b"", &Arc::default());
        assert!(variables.text.capacity() <= MAX_KEPT, "{}", variables.text.capacity());
    }

    #[test]
    fn variables_that_are_filled_again_do_not_grow() {
        let mut variables = Variables::default();
        let fill = |variables: &mut Variables| {
            let head = b"value";
            let mut filling = variables.refill(head, &Arc::default());
            (0..20).for_each(|_| filling.push(b"NAME", head));
            variables.memory()
        };
        let first = fill(&mut variables);
        assert_eq!(fill(&mut variables), first);
    }
}
