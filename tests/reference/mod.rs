//! A naive reading of HTTP/1.1 requests, to hold the library's against: one byte after the other, no table, no fast path.
//!
//! Written from the grammar of RFC 9110, RFC 9112 and RFC 3986 and from `docs/refusals.md` alone. Nothing of doorway is used here,
//! not even the names of its causes: a test maps [`Fault`] to their numbers. Where an input has several faults, the first one from
//! left to right is named; behind a syntactically valid head the order is target, repeated fields, Host, content, Expect, and then what
//! the settings refuse.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod chunked;
pub mod connection;
pub mod date;
pub mod environ;
pub mod generator;
pub mod head;
pub mod multipart;
pub mod request;
pub mod target;

/// Why an input is refused, in this module's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    LfAlone,
    CrAlone,
    ThreeEmptyLines,
    LineShape,
    MethodNoToken,
    MethodOver32,
    TargetOctet,
    TargetOverLimit,
    VersionShape,
    VersionNotOne,
    TargetNoForm,
    SchemeUnknown,
    UserInformation,
    EncodedNul,
    Tunnel,
    NameNoToken,
    SpaceBeforeColon,
    NoColon,
    Folded,
    ValueControl,
    LineOverLimit,
    FieldsOverLimit,
    HeadOverLimit,
    SaidTwice,
    NoHost,
    BadHost,
    Underscore,
    OtherExpectation,
    HeadCut,
    LengthNoNumber,
    LengthAndCoding,
    OtherCoding,
    CodingNoToken,
    CodingInOneZero,
    ContentOverLimit,
    SizeNoNumber,
    ExtensionShape,
    ExtensionOverLimit,
    DataWithoutEnd,
    MoreFrameThanData,
    TrailerShape,
    TrailerOverLimit,
    ContentCut,
}

impl Fault {
    pub const ALL: [Fault; 43] = [
        Fault::LfAlone,
        Fault::CrAlone,
        Fault::ThreeEmptyLines,
        Fault::LineShape,
        Fault::MethodNoToken,
        Fault::MethodOver32,
        Fault::TargetOctet,
        Fault::TargetOverLimit,
        Fault::VersionShape,
        Fault::VersionNotOne,
        Fault::TargetNoForm,
        Fault::SchemeUnknown,
        Fault::UserInformation,
        Fault::EncodedNul,
        Fault::Tunnel,
        Fault::NameNoToken,
        Fault::SpaceBeforeColon,
        Fault::NoColon,
        Fault::Folded,
        Fault::ValueControl,
        Fault::LineOverLimit,
        Fault::FieldsOverLimit,
        Fault::HeadOverLimit,
        Fault::SaidTwice,
        Fault::NoHost,
        Fault::BadHost,
        Fault::Underscore,
        Fault::OtherExpectation,
        Fault::HeadCut,
        Fault::LengthNoNumber,
        Fault::LengthAndCoding,
        Fault::OtherCoding,
        Fault::CodingNoToken,
        Fault::CodingInOneZero,
        Fault::ContentOverLimit,
        Fault::SizeNoNumber,
        Fault::ExtensionShape,
        Fault::ExtensionOverLimit,
        Fault::DataWithoutEnd,
        Fault::MoreFrameThanData,
        Fault::TrailerShape,
        Fault::TrailerOverLimit,
        Fault::ContentCut,
    ];
}

/// Why a reading stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The bytes so far are the beginning of something; more must come.
    More,
    /// No further byte can mend it.
    Fault(Fault),
}

pub type Reading<T> = Result<T, Stop>;

/// What a server may choose: limits, and three switches.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub target: usize,
    pub field_line: usize,
    pub fields: usize,
    pub head: usize,
    /// Bytes of content; `None` for no limit.
    pub content: Option<u64>,
    /// Content with a length up to this is there before the application is called.
    pub gathered: u64,
    /// Unread content up to this is skipped.
    pub drained: u64,
    pub refuse_underscores: bool,
    /// Absolute targets may say https.
    pub https: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            target: 8_190,
            field_line: 8_190,
            fields: 100,
            head: 65_536,
            content: Some(16 * 1024 * 1024),
            gathered: 16 * 1024,
            drained: 64 * 1024,
            refuse_underscores: false,
            https: false,
        }
    }
}

/// A place in the bytes.
pub struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl Cursor<'_> {
    pub fn peek(&self) -> Reading<u8> {
        self.bytes.get(self.at).copied().ok_or(Stop::More)
    }

    pub fn take(&mut self) -> Reading<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    /// The LF that must follow a CR which was taken.
    pub fn take_lf(&mut self) -> Reading<()> {
        if self.take()? == b'\n' { Ok(()) } else { Err(Stop::Fault(Fault::CrAlone)) }
    }

    /// Judges a byte that may not stand where it stands: an LF or a CR without its other half is that; a proper line end is
    /// `line_end`; and everything else is `other`.
    pub fn misplaced<T>(&mut self, line_end: Fault, other: Fault) -> Reading<T> {
        match self.take()? {
            b'\n' => Err(Stop::Fault(Fault::LfAlone)),
            b'\r' => {
                self.take_lf()?;
                Err(Stop::Fault(line_end))
            }
            _ => Err(Stop::Fault(other)),
        }
    }
}

/// tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA
pub fn is_tchar(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9') || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// HTAB / SP / VCHAR / obs-text
pub fn is_value_byte(byte: u8) -> bool {
    byte == 0x09 || (0x20..=0x7E).contains(&byte) || byte >= 0x80
}

/// Letters are the same in both cases.
pub fn same(a: &[u8], b: &str) -> bool {
    a.to_ascii_lowercase() == b.to_ascii_lowercase().as_bytes()
}

/// The value of a HEXDIG.
pub fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Without SP and HTAB at both ends.
pub fn without_space(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().take_while(|byte| is_space(byte)).count();
    let end = value.len() - value[start..].iter().rev().take_while(|byte| is_space(byte)).count();
    &value[start..end]
}
