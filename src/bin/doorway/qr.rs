//! A QR code of a short text, for a telephone that looks at the terminal.
//!
//! ISO/IEC 18004:2015: byte mode, error correction level L, versions 1 to 10 (271 bytes). Section numbers are those of the standard. Of its eight masks
//! it is always the chequered one: which has the fewest penalty points (7.8.3) matters to bad prints, and a reader takes any. Half blocks show two modules in one character; colours are set, so that dark is dark on every terminal.

/// Of each version from 1 on, for level L (table 9): codewords of data, codewords of error correction in a block, and blocks.
const DATA: [usize; 10] = [19, 34, 55, 80, 108, 136, 156, 194, 232, 274];
const CORRECTION: [usize; 10] = [7, 10, 15, 20, 26, 18, 20, 24, 30, 18];
const BLOCKS: [usize; 10] = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4];

/// Modules of light around a code (6.3.8).
const QUIET: usize = 4;

/// A code: dark modules are true.
pub struct Code {
    size: usize,
    dark: Vec<bool>,
    /// Modules that are no data.
    fixed: Vec<bool>,
}

impl Code {
    /// The code of a text; `None` for one that is too long.
    pub fn of(text: &[u8]) -> Option<Code> {
        let room = |version: usize| DATA[version - 1] - if version < 10 { 2 } else { 3 };
        let version = (1..=DATA.len()).find(|version| text.len() <= room(*version))?;
        let mut code = Code::empty(version);
        code.place(&codewords(text, version));
        Some(code)
    }

    /// What is the same in every code of a version (6.3): finders, timing, alignment, version; room for the format.
    fn empty(version: usize) -> Code {
        let size = 17 + 4 * version;
        let mut code = Code { size, dark: vec![false; size * size], fixed: vec![false; size * size] };
        for at in 0..size {
            code.fix(6, at, at % 2 == 0);
            code.fix(at, 6, at % 2 == 0);
        }
        for (row, column) in [(3, 3), (3, size - 4), (size - 4, 3)] {
            code.fix_square(row, column, 4, |distance| distance != 2 && distance != 4);
        }
        let places = alignments(version);
        for (one, row) in places.iter().enumerate() {
            for (other, column) in places.iter().enumerate() {
                let last = places.len() - 1;
                // Three would be on finders.
                if ![(0, 0), (0, last), (last, 0)].contains(&(one, other)) {
                    code.fix_square(*row, *column, 2, |distance| distance != 1);
                }
            }
        }
        code.fix_format();
        if version >= 7 {
            let bits = with_remainder(version as u32, 12, 0x1f25);
            for at in 0..18 {
                let (near, far) = (at / 3, size - 11 + at % 3);
                code.fix(near, far, bits >> at & 1 == 1);
                code.fix(far, near, bits >> at & 1 == 1);
            }
        }
        code
    }

    fn fix(&mut self, row: usize, column: usize, dark: bool) {
        self.dark[row * self.size + column] = dark;
        self.fixed[row * self.size + column] = true;
    }

    /// A square around a module, whose rings are dark as `is_dark` says, as far as it is in the code.
    fn fix_square(&mut self, row: usize, column: usize, reach: usize, is_dark: fn(usize) -> bool) {
        for r in row.saturating_sub(reach)..=(row + reach).min(self.size - 1) {
            for c in column.saturating_sub(reach)..=(column + reach).min(self.size - 1) {
                self.fix(r, c, is_dark(row.abs_diff(r).max(column.abs_diff(c))));
            }
        }
    }

    /// Level and mask, twice, and the module that is always dark (7.9).
    fn fix_format(&mut self) {
        // Level L is 01, and the mask 000.
        let bits = with_remainder(0b01 << 3, 10, 0x537) ^ 0x5412;
        let size = self.size;
        for at in 0..15 {
            let dark = bits >> at & 1 == 1;
            match at {
                0..6 => self.fix(at, 8, dark),
                6 | 7 => self.fix(at + 1, 8, dark),
                8 => self.fix(8, 7, dark),
                _ => self.fix(8, 14 - at, dark),
            }
            match at {
                0..8 => self.fix(8, size - 1 - at, dark),
                _ => self.fix(size - 15 + at, 8, dark),
            }
        }
        self.fix(size - 8, 8, true);
    }

    /// Puts the bits into what is free, in columns of two from the right, upwards and downwards in turn (7.7.3), with the mask over them (7.8.2).
    fn place(&mut self, codewords: &[u8]) {
        let mut bits = codewords.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1));
        let columns = (0..self.size).rev().filter(|column| *column != 6).collect::<Vec<_>>();
        for (turn, pair) in columns.chunks(2).enumerate() {
            for step in 0..self.size {
                let row = if turn % 2 == 0 { self.size - 1 - step } else { step };
                for column in pair {
                    let place = row * self.size + column;
                    if !self.fixed[place] {
                        self.dark[place] = bits.next().unwrap_or(false) ^ ((row + column) % 2 == 0);
                    }
                }
            }
        }
    }

    fn is_dark(&self, row: usize, column: usize) -> bool {
        self.dark[row * self.size + column]
    }

    /// Lines of half blocks with its quiet zone, dark on light; with colours they are so on every terminal, without on a dark one.
    pub fn show(&self, colour: bool) -> String {
        let side = self.size + 2 * QUIET;
        let is_light = |row: usize, column: usize| {
            let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < self.size);
            inside(row).zip(inside(column)).is_none_or(|(row, column)| !self.is_dark(row, column))
        };
        let (begin, end) = if colour { ("\x1b[97;40m", "\x1b[0m") } else { ("", "") };
        let mut text = String::new();
        for row in (0..side).step_by(2) {
            text.push_str(begin);
            for column in 0..side {
                // The number of rows is odd: below the last one there is nothing, and light is next to it.
                text.push(match (is_light(row, column), row + 1 < side && is_light(row + 1, column)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            text.push_str(end);
            text.push('\n');
        }
        text
    }
}

/// Where alignment patterns have their middle, in both directions (annex E).
fn alignments(version: usize) -> Vec<usize> {
    let last = 10 + 4 * version;
    match version {
        1 => Vec::new(),
        2..7 => vec![6, last],
        _ => vec![6, (6 + last) / 2, last],
    }
}

/// The text in byte mode, filled up, in blocks with their error correction, interleaved (7.4 to 7.6).
fn codewords(text: &[u8], version: usize) -> Vec<u8> {
    let (capacity, correction, blocks) = (DATA[version - 1], CORRECTION[version - 1], BLOCKS[version - 1]);
    // Four bits say byte mode, then comes the count; so every byte stands across two codewords.
    let count = if version < 10 { vec![text.len() as u8] } else { (text.len() as u16).to_be_bytes().to_vec() };
    let mut data = vec![0b0100 << 4];
    for byte in [&count, text].concat() {
        data.last_mut().into_iter().for_each(|last| *last |= byte >> 4);
        data.push(byte << 4);
    }
    let filling = [0xec, 0x11].iter().cycle().take(capacity - data.len());
    data.extend(filling);

    // The last blocks have one codeword more, where they cannot be equal.
    let (short, longer) = (capacity / blocks, capacity % blocks);
    let mut parts = Vec::new();
    let mut rest = data.as_slice();
    for block in 0..blocks {
        let (part, behind) = rest.split_at(short + usize::from(block >= blocks - longer));
        parts.push((part.to_vec(), remainder(part, correction)));
        rest = behind;
    }
    let mut all = Vec::new();
    (0..=short).for_each(|at| all.extend(parts.iter().filter_map(|(part, _)| part.get(at))));
    (0..correction).for_each(|at| all.extend(parts.iter().filter_map(|(_, part)| part.get(at))));
    all
}

/// The codewords of error correction: what is left of a division by the generator of so many roots (annex A).
fn remainder(data: &[u8], count: usize) -> Vec<u8> {
    let mut generator = vec![1];
    let mut root = 1;
    for _ in 0..count {
        generator.push(0);
        for at in (1..generator.len()).rev() {
            generator[at] ^= product(generator[at - 1], root);
        }
        root = product(root, 2);
    }
    let mut left = vec![0; count];
    for byte in data {
        let factor = byte ^ left.remove(0);
        left.push(0);
        left.iter_mut().zip(&generator[1..]).for_each(|(left, part)| *left ^= product(*part, factor));
    }
    left
}

/// A product in the field of 256 elements of polynomial 0x11d.
fn product(one: u8, other: u8) -> u8 {
    let (mut sum, mut power) = (0, one);
    for bit in 0..8 {
        if other >> bit & 1 == 1 {
            sum ^= power;
        }
        power = power << 1 ^ if power & 0x80 == 0 { 0 } else { 0x1d };
    }
    sum
}

/// A number with the remainder of a BCH code behind it (annexes C and D).
fn with_remainder(number: u32, bits: u32, generator: u32) -> u32 {
    let mut left = number << bits;
    while left >> bits != 0 {
        left ^= generator << (left.ilog2() - bits);
    }
    number << bits | left
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn annexes_c_and_d_have_these_examples() {
        // C.3: level M and mask 101; D.4: version 7.
        assert_eq!(with_remainder(0b00101, 10, 0x537) ^ 0x5412, 0b100_0000_1100_1110);
        assert_eq!(with_remainder(7, 12, 0x1f25), 0b000111110010010100);
        // Annex I.2: the codewords of "01234567" in version 1-M, which has ten for correction.
        let data = [0x10, 0x20, 0x0c, 0x56, 0x61, 0x80, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11];
        assert_eq!(remainder(&data, 10), [0xa5, 0x24, 0xd4, 0xc1, 0xed, 0x36, 0xc7, 0x87, 0x2c, 0x55]);
    }

    #[test]
    fn a_text_has_the_smallest_version_that_holds_it() {
        for (length, size) in [(0, 21), (17, 21), (18, 25), (32, 25), (154, 45), (230, 53), (231, 57), (271, 57)] {
            assert_eq!(Code::of(&vec![b'a'; length]).map(|code| code.size), Some(size), "{length}");
        }
        assert!(Code::of(&[b'a'; 272]).is_none());
    }

    /// The picture of what is shown, 4 dots a module; a reader sees it as a camera sees a terminal.
    fn picture(shown: &str) -> Vec<u8> {
        let lines: Vec<Vec<char>> = shown.lines().map(|line| line.chars().collect()).collect();
        let (width, height) = (4 * lines[0].len(), 8 * lines.len());
        let mut picture = format!("P5 {width} {height} 255\n").into_bytes();
        for y in 0..height {
            picture.extend((0..width).map(|x| match (lines[y / 8][x / 4], y % 8 < 4) {
                ('█', _) | ('▀', true) | ('▄', false) => 255,
                _ => 0,
            }));
        }
        picture
    }

    #[test]
    fn a_reader_reads_what_was_written_in_every_version() {
        let folder = std::env::temp_dir().join(format!("doorway-qr-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for length in [17, 32, 53, 78, 106, 134, 154, 192, 230, 271] {
            let text: String =
                "http://192.168.100.200:8000/".chars().chain("abcdefghijklm/".chars().cycle()).take(length).collect();
            let path = folder.join(format!("{length}.pgm"));
            std::fs::write(&path, picture(&Code::of(text.as_bytes()).unwrap().show(false))).unwrap();
            let Ok(output) = Command::new("zbarimg").args(["--raw", "--quiet"]).arg(&path).output() else {
                println!("skipped: zbarimg is not installed");
                break;
            };
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), text, "{length}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
