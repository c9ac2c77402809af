//! The records of a ZIP file, as bytes. Pure.
//!
//! APPNOTE.TXT 6.3, sections 4.3.7 (local head), 4.3.9 (data descriptor), 4.3.12 (central directory), 4.3.14 to 4.3.16 (its end), 4.5.3 (ZIP64). A field
//! that is too narrow for its value is full of ones, and the value stands in ZIP64's extra field.

use crate::http::date::civil;

/// Not compressed.
const STORED: u16 = 0;
/// Names are UTF-8.
const UTF_8: u16 = 1 << 11;
/// Sizes and sum stand behind the content.
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// 4.5, the first version with ZIP64; "made by" says Unix besides, for the modes.
const VERSION: u16 = 45;
const MADE_BY: u16 = 3 << 8 | VERSION;

/// One entry.
pub(super) struct Record {
    name: String,
    /// Seconds since 1970.
    modified: u64,
    /// Where its local head begins.
    position: u64,
    /// As far as it is known when the head is written.
    size: u64,
    /// How much of the content has been sent.
    pub(super) sent: u64,
    crc: u32,
    has_descriptor: bool,
    /// Whether the head has room for sizes of 64 bits, which it must say before the size is certain.
    is_wide: bool,
}

impl Record {
    /// An entry of an expected size. With a descriptor the content is written behind a head that does not know it.
    pub(super) fn new(name: String, modified: u64, position: u64, expected: u64, has_descriptor: bool) -> Record {
        let is_wide = expected >= u64::from(u32::MAX);
        Record { name, modified, position, size: 0, sent: 0, crc: 0, has_descriptor, is_wide }
    }

    /// Says what the content came to.
    pub(super) fn complete(&mut self, size: u64, crc: Crc) {
        (self.size, self.crc) = (size, crc.value());
    }

    pub(super) fn local_head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.name.len());
        push_u32(0x0403_4b50, &mut out);
        push_u16(VERSION, &mut out);
        self.push_common(&mut out);
        let size = if self.is_wide { u32::MAX } else { narrow(self.size) };
        push_u32(self.crc, &mut out);
        push_u32(size, &mut out);
        push_u32(size, &mut out);
        let mut extra = Vec::new();
        if self.is_wide {
            push_u16(1, &mut extra);
            push_u16(16, &mut extra);
            push_u64(self.size, &mut extra);
            push_u64(self.size, &mut extra);
        }
        self.push_time(&mut extra);
        push_u16(length(self.name.len()), &mut out);
        push_u16(length(extra.len()), &mut out);
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
        out
    }

    pub(super) fn descriptor(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        push_u32(0x0807_4b50, &mut out);
        push_u32(self.crc, &mut out);
        for _ in 0..2 {
            match self.is_wide {
                true => push_u64(self.size, &mut out),
                false => push_u32(narrow(self.size), &mut out),
            }
        }
        out
    }

    pub(super) fn push_central_head(&self, out: &mut Vec<u8>) {
        push_u32(0x0201_4b50, out);
        push_u16(MADE_BY, out);
        push_u16(VERSION, out);
        self.push_common(out);
        push_u32(self.crc, out);
        push_u32(narrow(self.size), out);
        push_u32(narrow(self.size), out);
        let mut wide = Vec::new();
        if narrow(self.size) == u32::MAX {
            push_u64(self.size, &mut wide);
            push_u64(self.size, &mut wide);
        }
        if narrow(self.position) == u32::MAX {
            push_u64(self.position, &mut wide);
        }
        let mut extra = Vec::new();
        if !wide.is_empty() {
            push_u16(1, &mut extra);
            push_u16(length(wide.len()), &mut extra);
            extra.extend_from_slice(&wide);
        }
        self.push_time(&mut extra);
        push_u16(length(self.name.len()), out);
        push_u16(length(extra.len()), out);
        // No comment, the first disk, bytes.
        out.extend_from_slice(&[0; 6]);
        let (mode, is_directory) = if self.name.ends_with('/') { (0o040_755, 0x10) } else { (0o100_644, 0) };
        push_u32(mode << 16 | is_directory, out);
        push_u32(narrow(self.position), out);
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
    }

    /// Flags, method, time and date of MS-DOS: the fields that both heads have in the same order.
    fn push_common(&self, out: &mut Vec<u8>) {
        push_u16(UTF_8 | if self.has_descriptor { HAS_DESCRIPTOR } else { 0 }, out);
        push_u16(STORED, out);
        let (time, date) = dos_time(self.modified);
        push_u16(time, out);
        push_u16(date, out);
    }

    /// The "extended timestamp" of Info-ZIP, which says the second and the time zone; until 2038, for it has 32 bits.
    fn push_time(&self, out: &mut Vec<u8>) {
        if let Ok(seconds) = i32::try_from(self.modified) {
            push_u16(0x5455, out);
            push_u16(5, out);
            out.push(1);
            out.extend_from_slice(&seconds.to_le_bytes());
        }
    }
}

/// The end of the central directory, which begins and ends at these places; in ZIP64's form before it where a field is too narrow.
pub(super) fn push_end(count: u64, begin: u64, end: u64, out: &mut Vec<u8>) {
    let size = end - begin;
    let narrow_count = u16::try_from(count).unwrap_or(u16::MAX);
    if narrow_count == u16::MAX || narrow(begin) == u32::MAX || narrow(size) == u32::MAX {
        push_u32(0x0606_4b50, out);
        push_u64(44, out);
        push_u16(MADE_BY, out);
        push_u16(VERSION, out);
        out.extend_from_slice(&[0; 8]);
        for value in [count, count, size, begin] {
            push_u64(value, out);
        }
        push_u32(0x0706_4b50, out);
        push_u32(0, out);
        push_u64(end, out);
        push_u32(1, out);
    }
    push_u32(0x0605_4b50, out);
    out.extend_from_slice(&[0; 4]);
    push_u16(narrow_count, out);
    push_u16(narrow_count, out);
    push_u32(narrow(size), out);
    push_u32(narrow(begin), out);
    push_u16(0, out);
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Names of files end far below this.
fn length(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn push_u16(value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn push_u32(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn push_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Time and date of MS-DOS, in UTC, from 1980 to 2107.
fn dos_time(seconds: u64) -> (u16, u16) {
    let at = civil(seconds);
    let field = |value: u64, shift: u32| u16::try_from(value << shift).unwrap_or_default();
    match u64::from(at.year).checked_sub(1980) {
        Some(year @ ..=127) => (
            field(u64::from(at.hour), 11) | field(u64::from(at.minute), 5) | field(u64::from(at.second) / 2, 0),
            field(year, 9) | field(u64::from(at.month), 5) | field(u64::from(at.day), 0),
        ),
        // The first day there is.
        _ => (0, 1 << 5 | 1),
    }
}

/// The cyclic redundancy check of ZIP (polynomial 0xedb88320, reflected).
#[derive(Clone, Copy)]
pub(super) struct Crc(u32);

/// What a byte does to the sum.
const TABLE: [u32; 256] = table();

#[allow(clippy::indexing_slicing, reason = "computed when this is compiled, where an index that is wrong is an error")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

impl Crc {
    pub(super) fn new() -> Crc {
        Crc(u32::MAX)
    }

    #[allow(clippy::indexing_slicing, reason = "a byte is an index of 256 entries")]
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let [low, ..] = self.0.to_le_bytes();
            self.0 = self.0 >> 8 ^ TABLE[usize::from(low ^ byte)];
        }
    }

    fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_standard_however_it_is_cut() {
        let sum = |parts: &[&[u8]]| {
            let mut crc = Crc::new();
            parts.iter().for_each(|part| crc.add(part));
            crc.value()
        };
        assert_eq!(sum(&[b"123456789"]), 0xcbf4_3926);
        assert_eq!((sum(&[]), sum(&[b"", b"a"])), (0, 0xe8b7_be43));
        let long: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        for cut in [1, 7, 8, 9, 2000, 3999] {
            assert_eq!(sum(&[&long[..cut], &long[cut..]]), sum(&[&long]), "{cut}");
        }
    }

    #[test]
    fn times_are_those_of_ms_dos_as_far_as_it_has_them() {
        // 1994-11-06 08:49:37 UTC
        assert_eq!(dos_time(784_111_777), (8 << 11 | 49 << 5 | 18, 14 << 9 | 11 << 5 | 6));
        assert_eq!(dos_time(0), (0, 33));
        assert_eq!(dos_time(u64::from(u32::MAX) * 2), (0, 33), "after 2107");
    }

    #[test]
    fn what_does_not_fit_32_bits_stands_in_the_fields_of_zip64() {
        let large = 5 << 30;
        let mut record = Record::new("a".into(), 0, large, large, true);
        let head = record.local_head();
        assert_eq!(head[18..26], [0xff; 8]);
        record.complete(large, Crc::new());
        assert_eq!(record.descriptor().len(), 24);
        let mut central = Vec::new();
        record.push_central_head(&mut central);
        assert_eq!((&central[20..28], &central[42..46]), (&[0xff; 8][..], &[0xff; 4][..]));
        let extra: Vec<u8> =
            [&[1, 0, 24, 0][..], &large.to_le_bytes(), &large.to_le_bytes(), &large.to_le_bytes()].concat();
        assert!(central.windows(extra.len()).any(|part| part == extra), "{central:x?}");
        let mut end = Vec::new();
        push_end(70_000, large, large + 1, &mut end);
        assert!(
            end.starts_with(b"PK\x06\x06")
                && end[56..].starts_with(b"PK\x06\x07")
                && end[76..].starts_with(b"PK\x05\x06")
        );
        let mut small = Vec::new();
        push_end(1, 10, 60, &mut small);
        assert_eq!(small.len(), 22);
    }
}
