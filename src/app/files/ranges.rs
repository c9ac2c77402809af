//! Which bytes of a file a `Range` asks for.
//!
//! RFC 9110 section 14. Pure. What is no range of bytes by the grammar is ignored, as the section allows, and so is what asks for too
//! many: more than [`MOST`] ranges, which only cost the server (CVE-2011-3192). Ranges that touch, overlap, or leave out less than
//! the head of a part would cost are joined, so that no byte is ever sent twice.

/// So many ranges at most are answered.
const MOST: usize = 8;

/// A gap of up to so many bytes is sent along: another part would cost as much.
const GAP: u64 = 80;

/// A run of bytes that is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    /// At least 1.
    pub(super) length: u64,
}

/// What a Range field comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The field is ignored: everything.
    Everything,
    /// 206 with these, at least one.
    Parts(Vec<Range>),
    /// 416: no byte of the file is among them.
    Nothing,
}

impl Range {
    /// The position behind the last byte.
    fn end(self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// The value of Content-Range.
    pub(super) fn content_range(self, complete: u64) -> String {
        format!("bytes {}-{}/{complete}", self.start, self.end().saturating_sub(1))
    }

    fn is_near(self, other: Range) -> bool {
        self.start <= other.end().saturating_add(GAP) && other.start <= self.end().saturating_add(GAP)
    }

    fn join(self, other: Range) -> Range {
        let start = self.start.min(other.start);
        Range { start, length: self.end().max(other.end()) - start }
    }
}

/// Reads a field for a file of so many bytes.
// ranges-specifier = range-unit "=" range-set
// range-set        = 1#range-spec
pub(super) fn read(field: &[u8], complete: u64) -> Asked {
    let Some((unit, set)) = field.split_at_checked(6) else { return Asked::Everything };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Asked::Everything;
    }
    let mut parts: Vec<Range> = Vec::new();
    let (mut count, mut has_suffix) = (0, false);
    for spec in set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        count += 1;
        has_suffix |= spec.strip_prefix(b"-").and_then(number).is_some_and(|length| length > 0);
        match read_spec(spec, complete) {
            Some(Some(range)) if count <= MOST => parts.push(range),
            Some(None) if count <= MOST => {}
            _ => return Asked::Everything,
        }
    }
    match (count, parts.is_empty()) {
        (0, _) => Asked::Everything,
        // The last bytes of nothing: they can be had (section 14.1.2), and no Content-Range can say so.
        (_, true) if complete == 0 && has_suffix => Asked::Everything,
        (_, true) => Asked::Nothing,
        _ => Asked::Parts(joined(parts)),
    }
}

/// One range: `None` where it breaks the grammar, `Some(None)` where it lies outside of the file.
// int-range    = first-pos "-" [ last-pos ]
// suffix-range = "-" suffix-length
fn read_spec(spec: &[u8], complete: u64) -> Option<Option<Range>> {
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (spec.get(..dash)?, spec.get(dash + 1..)?);
    let (start, end) = match (first, last) {
        ([], last) => (complete.saturating_sub(number(last)?), complete),
        (first, []) => (number(first)?, complete),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, complete.min(last.saturating_add(1)))
        }
    };
    Some((start < end).then(|| Range { start, length: end - start }))
}

/// Digits only, within 64 bits.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// Joins what is near each other; what is left stands in the order in which it was asked for (section 15.3.7.2).
fn joined(parts: Vec<Range>) -> Vec<Range> {
    let mut out: Vec<Range> = Vec::new();
    for mut part in parts {
        // A part that grows may come near to another one, so each is looked at again. There are few.
        let mut place = out.len();
        while let Some(at) = out.iter().position(|other| other.is_near(part)) {
            part = part.join(out.remove(at));
            place = at;
        }
        out.insert(place.min(out.len()), part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(field: &str, complete: u64) -> Asked {
        read(field.as_bytes(), complete)
    }

    fn parts(ranges: &[(u64, u64)]) -> Asked {
        Asked::Parts(ranges.iter().map(|(start, end)| Range { start: *start, length: end - start }).collect())
    }

    #[test]
    fn rfc9110_14_1_2_closed_open_and_suffix_ranges_are_cut_to_the_file() {
        for (field, expected) in [
            ("bytes=0-0", (0, 1)),
            ("bytes=0-499", (0, 500)),
            ("bytes=500-999", (500, 1000)),
            ("bytes=-500", (500, 1000)),
            ("bytes=500-", (500, 1000)),
            ("bytes=999-", (999, 1000)),
            ("bytes=-1", (999, 1000)),
            ("bytes=-5000", (0, 1000)),
            ("bytes=900-5000", (900, 1000)),
            ("bytes=0-18446744073709551615", (0, 1000)),
            ("bytes= 1-2 ", (1, 3)),
            ("BYTES=1-2", (1, 3)),
            ("bytes=,1-2,,", (1, 3)),
            ("bytes=001-002", (1, 3)),
        ] {
            assert_eq!(asked(field, 1000), parts(&[expected]), "{field}");
        }
    }

    #[test]
    fn rfc9110_14_2_what_is_no_range_of_bytes_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes= ",
            "bytes=,",
            "foo=0-1",
            "bytes=1",
            "bytes=-",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=1 -2",
            "bytes=0x1-2",
            "bytes=1-2;3-4",
            "bytes=0-1,2-1",
            "bytes=0-1,x",
            "bytes 0-1",
            "bytes=0-18446744073709551616",
            "bytes=18446744073709551616-",
            "bytes=-18446744073709551616",
            "bytes:0-1",
            "byte=0-1",
            "bytes =0-1",
        ] {
            assert_eq!(asked(field, 1000), Asked::Everything, "{field}");
        }
    }

    #[test]
    fn rfc9110_15_5_17_ranges_outside_of_the_file_are_none() {
        for field in ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=5000-,-0", "bytes=18446744073709551615-"] {
            assert_eq!(asked(field, 1000), Asked::Nothing, "{field}");
        }
        assert_eq!(asked("bytes=5000-6000,0-1", 1000), parts(&[(0, 2)]));
        assert_eq!(asked("bytes=0-", 0), Asked::Nothing);
        // Section 14.1.2: the last bytes of anything can be had, if they are more than none.
        for field in ["bytes=-5", "bytes=,-5", "bytes=0-,-5", "bytes=0-1, -5"] {
            assert_eq!(asked(field, 0), Asked::Everything, "{field}");
        }
        for field in ["bytes=-0", "bytes=,-0", "bytes=0-,-0"] {
            assert_eq!(asked(field, 0), Asked::Nothing, "{field}");
        }
    }

    #[test]
    fn rfc9110_15_3_7_2_what_touches_or_overlaps_is_joined_and_order_is_kept() {
        assert_eq!(asked("bytes=500-599,0-99", 1000), parts(&[(500, 600), (0, 100)]));
        assert_eq!(asked("bytes=0-99,100-199", 1000), parts(&[(0, 200)]));
        assert_eq!(asked("bytes=0-99,180-199", 1000), parts(&[(0, 200)]));
        assert_eq!(asked("bytes=0-99,181-199", 1000), parts(&[(0, 100), (181, 200)]));
        assert_eq!(asked("bytes=0-9,500-509,0-999", 1000), parts(&[(0, 1000)]));
        assert_eq!(asked("bytes=900-,300-309,0-9,-50", 1000), parts(&[(900, 1000), (300, 310), (0, 10)]));
    }

    #[test]
    fn rfc9110_14_2_more_than_eight_ranges_are_ignored_and_no_byte_is_sent_twice() {
        let field = |count: u64| {
            let specs: Vec<String> = (0..count).map(|n| format!("{}-{}", n * 100_000, n * 100_000)).collect();
            format!("bytes={}", specs.join(","))
        };
        assert!(matches!(asked(&field(8), 1_000_000), Asked::Parts(parts) if parts.len() == 8));
        assert_eq!(asked(&field(9), 1_000_000), Asked::Everything);
        assert_eq!(asked(&format!("bytes={}", "0-,".repeat(1000)), 1000), Asked::Everything);

        let mut state: u64 = 2_463_534_242;
        let mut next = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..5_000 {
            let complete = 1 + next(2_000);
            let specs: Vec<(u64, u64)> = (0..1 + next(8)).map(|_| (next(2_500), next(500))).collect();
            let text: Vec<String> = specs.iter().map(|(start, more)| format!("{start}-{}", start + more)).collect();
            let field = format!("bytes={}", text.join(", "));
            let mut sent = vec![0_u32; complete as usize];
            if let Asked::Parts(parts) = asked(&field, complete) {
                for part in &parts {
                    assert!(part.length > 0 && part.end() <= complete, "{field} of {complete}: {parts:?}");
                    (part.start..part.end()).for_each(|at| sent[at as usize] += 1);
                }
            }
            assert!(sent.iter().all(|times| *times < 2), "{field} of {complete}");
            for (at, times) in (0..).zip(&sent) {
                let is_asked = specs.iter().any(|(start, more)| (*start..=start + more).contains(&at));
                assert!(!is_asked || *times == 1, "{field} of {complete}: byte {at}");
            }
        }
    }
}
