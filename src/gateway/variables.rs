//! The variables of a request: places in one copy of what was received, and behind it what does not stand there.
//!
//! A value that came in the head is not copied again, and a name that many requests have is a constant. What is the same for every request
//! of a listener is one shared list, copied by the first edit that touches a name of it. Invariants: a name stands once, and none of the
//! shared list among the own ones; the text only grows until the next request, so that no place moves. Positions are those of memory
//! itself, which no length leaves.

use std::sync::Arc;

/// As much memory stays for the next request: few heads are as large as that.
const MAX_KEPT: usize = 16 * 1024;

/// Room behind the head for what is usually appended: an address, names that are not known, a decoded path.
const BEHIND: usize = 512;

/// The list.
#[derive(Default)]
pub(crate) struct Variables {
    /// The head of the request, and what was appended.
    text: Vec<u8>,
    /// How long the head is.
    head: usize,
    own: Vec<(Name, Place)>,
    shared: Option<Arc<Variables>>,
}

/// From here to there in the text.
pub(crate) type Place = (usize, usize);

#[derive(Clone, Copy)]
pub(crate) enum Name {
    Fixed(&'static [u8]),
    Text(Place),
}

impl Clone for Variables {
    /// Made to be edited, so with room for what that appends.
    fn clone(&self) -> Variables {
        let mut text = Vec::with_capacity(self.text.len() + BEHIND);
        text.extend_from_slice(&self.text);
        Variables { text, head: self.head, own: self.own.clone(), shared: self.shared.clone() }
    }
}

impl Variables {
    /// Begins a new list with the head of a request, which is copied, beside a shared list.
    pub(crate) fn refill(&mut self, head: &[u8], shared: &Arc<Variables>) {
        self.own.clear();
        self.text.clear();
        self.text.shrink_to(MAX_KEPT);
        // Doubled when the first byte is appended, a large head would take twice its length.
        self.text.reserve_exact(head.len() + BEHIND);
        self.text.extend_from_slice(head);
        self.head = head.len();
        if !self.shared.as_ref().is_some_and(|own| Arc::ptr_eq(own, shared)) {
            self.shared = Some(Arc::clone(shared));
        }
    }

    /// How many bytes of memory it holds.
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity() + self.own.capacity() * size_of::<(Name, Place)>()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let shared = self.shared.iter().flat_map(|shared| shared.own.iter().map(|pair| shared.pair(pair)));
        self.own.iter().map(|pair| self.pair(pair)).chain(shared)
    }

    /// The value of the variable with such a name.
    pub(crate) fn find(&self, is: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
        let own = self.own.iter().find(|(name, _)| is(self.name(name)));
        own.map(|(_, value)| self.at(value)).or_else(|| self.shared.as_ref()?.find(is))
    }

    /// Where something stands in the text, to which it is appended unless it is a part of the head that was copied.
    #[inline]
    pub(crate) fn place(&mut self, head: &[u8], part: &[u8]) -> Place {
        let start = part.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
        let end = start.wrapping_add(part.len());
        if head.get(start..end).is_some() { (start, end) } else { self.append(|text| text.extend_from_slice(part)) }
    }

    /// Writes something behind the text.
    #[inline]
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Place {
        let start = self.text.len();
        write(&mut self.text);
        (start, self.text.len())
    }

    /// Appends a variable that is not there yet.
    #[inline]
    pub(crate) fn push(&mut self, name: &'static [u8], value: Place) {
        self.own.push((Name::Fixed(name), value));
    }

    /// The same, with a value that may stand in the head.
    #[inline]
    pub(crate) fn push_part(&mut self, head: &[u8], name: &'static [u8], value: &[u8]) {
        let value = self.place(head, value);
        self.push(name, value);
    }

    /// Appends a field of the head. Where its name is there already, `all` values of that name are joined in its place, the first time that it
    /// comes again: a copy for each would leave the ones before it, and make megabytes of a few kilobytes.
    pub(crate) fn push_field<'v>(&mut self, field: (Name, Place), between: &[u8], all: impl Iterator<Item = &'v [u8]>) {
        let there = self.position(self.name(&field.0));
        match there.and_then(|index| self.own.get_mut(index)) {
            None => self.own.push(field),
            // What stands behind the head is joined already.
            Some((_, (_, end))) if *end > self.head => {}
            Some((_, place)) => {
                let start = self.text.len();
                // All that will be joined is shorter than the head it stands in.
                self.text.reserve_exact((2 * self.head + BEHIND).saturating_sub(start));
                all.for_each(|value| self.text.extend([value, between].into_iter().flatten()));
                *place = (start, self.text.len() - between.len());
            }
        }
    }

    /// Replaces the value of a variable, or appends it. The bytes of the old one stay in the text.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        let value = self.append(|text| text.extend_from_slice(value));
        let there = self.position_to_edit(name);
        match there.and_then(|index| self.own.get_mut(index)) {
            Some((_, place)) => *place = value,
            None => {
                let name = self.append(|text| text.extend_from_slice(name));
                self.own.push((Name::Text(name), value));
            }
        }
    }

    pub(crate) fn set_all(&mut self, others: &Variables) {
        others.iter().for_each(|(name, value)| self.set(name, value));
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        if let Some(index) = self.position_to_edit(name) {
            self.own.remove(index);
        }
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.own.iter().position(|(other, _)| self.name(other) == name)
    }

    /// The same, once those of the shared list have become own ones if this is one of them.
    fn position_to_edit(&mut self, name: &[u8]) -> Option<usize> {
        if let Some(shared) = self.shared.take_if(|shared| shared.position(name).is_some()) {
            self.set_all(&shared);
        }
        self.position(name)
    }

    fn pair<'a>(&'a self, (name, value): &'a (Name, Place)) -> (&'a [u8], &'a [u8]) {
        (self.name(name), self.at(value))
    }

    fn name<'a>(&'a self, name: &'a Name) -> &'a [u8] {
        match name {
            Name::Fixed(name) => name,
            Name::Text(place) => self.at(place),
        }
    }

    fn at(&self, (start, end): &Place) -> &[u8] {
        self.text.split_at(*end).0.split_at(*start).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(variables: &Variables) -> Vec<(&[u8], &[u8])> {
        variables.iter().collect()
    }

    fn shared(pairs: &[(&str, &str)]) -> Arc<Variables> {
        let mut list = Variables::default();
        pairs.iter().for_each(|(name, value)| list.set(name.as_bytes(), value.as_bytes()));
        Arc::new(list)
    }

    #[test]
    fn what_stands_in_the_head_is_found_in_its_copy_and_nothing_else_is() {
        let (mut variables, head, another) = (Variables::default(), *b"one two", *b"one two");
        variables.refill(&head, &Arc::default());
        for part in [&head[4..], &head[7..], &head[..], &another[4..], b""] {
            let place = variables.place(&head, part);
            variables.push(b"A", place);
        }
        assert_eq!(variables.text, b"one twotwo");
        let values: Vec<_> = variables.iter().map(|(_, value)| value).collect();
        assert_eq!(values, [&b"two"[..], b"", b"one two", b"two", b""]);
    }

    #[test]
    fn p_env_01_an_edit_of_what_is_shared_copies_it_and_every_name_stands_once() {
        let list = shared(&[("S", "1"), ("T", "2")]);
        let mut variables = Variables::default();
        variables.refill(b"head", &list);
        variables.push(b"A", (0, 4));
        variables.set(b"B", b"x");
        assert!(variables.shared.is_some());
        variables.set(b"T", b"3");
        variables.remove(b"S");
        variables.remove(b"none");
        variables.set(b"B", b"y");
        assert_eq!(all(&variables), [(&b"A"[..], &b"head"[..]), (b"B", b"y"), (b"T", b"3")]);
        assert_eq!(all(&list), [(&b"S"[..], &b"1"[..]), (b"T", b"2")]);
        variables.refill(b"next", &list);
        assert_eq!(all(&variables), all(&list));
    }

    #[test]
    fn g_08_two_names_that_take_turns_cost_no_more_memory_than_came() {
        let (long, times) = (125_000, 254);
        let head = [&vec![b'x'; long][..], b"c"].concat();
        let (first, rest) = head.split_at(long);
        let mut variables = Variables::default();
        variables.refill(&head, &Arc::default());
        for turn in 0..times {
            for (name, value) in [(&b"HTTP_A"[..], first), (b"HTTP_B", &first[..0])] {
                let all = std::iter::once(value).chain(std::iter::repeat_n(&first[..0], times - 1));
                let name = Name::Text(variables.append(|text| text.extend_from_slice(name)));
                let place = variables.place(&head, if turn == 0 { value } else { &first[..0] });
                variables.push_field((name, place), b", ", all);
            }
        }
        let last = variables.place(&head, rest);
        variables.push(b"HTTP_C", last);
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
    fn g_08_a_large_head_takes_its_length_and_what_is_appended_and_not_twice_that() {
        let head = [b'x'; 50_000];
        let mut variables = Variables::default();
        variables.refill(&head, &Arc::default());
        variables.append(|text| text.extend_from_slice(b"192.0.2.7"));
        assert!(variables.memory() < 51_000, "{}", variables.memory());
        let mut copy = variables.clone();
        copy.set(b"SCRIPT_NAME", b"/mounted");
        assert!(copy.memory() < 52_000, "{}", copy.memory());
        // Its two halves are of one name.
        for half in [(0, 25_000), (25_000, 50_000)] {
            let all = head.chunks(25_000);
            variables.push_field((Name::Fixed(b"HTTP_A"), half), b", ", all);
        }
        assert!(variables.memory() < 102_000, "{}", variables.memory());
    }

    #[test]
    fn variables_that_are_filled_again_do_not_grow() {
        let mut variables = Variables::default();
        let fill = |variables: &mut Variables| {
            variables.refill(b"value", &Arc::default());
            (0..20).for_each(|_| variables.push(b"NAME", (0, 5)));
            variables.memory()
        };
        let first = fill(&mut variables);
        assert_eq!(fill(&mut variables), first);
    }
}
