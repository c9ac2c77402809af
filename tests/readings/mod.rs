//! The two readings side by side: what doorway makes of bytes, and what the naive reading in `reference/` makes of them, brought to one form.
//!
//! Whoever compares them (`randomised.rs` with bytes of its own making, `fuzz/` with those a fuzzer finds) asks here. Nothing here
//! panics on a difference: it is told.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

pub mod form;
pub mod served;

use doorway::http::chunked::{Decoder, Step};
use doorway::http::framing::Content;
use doorway::http::head::{self, Limits, Parsed, Spans, Version};
use doorway::http::request;
use doorway::http::target::{self, Target};
use doorway::{Cause, Settings};

use crate::reference::generator::{Random, Room};
use crate::reference::request::{Framing, Request, read_request};
use crate::reference::{self, Fault, Policy, Stop};

/// The number of the cause that a fault is called here.
pub fn cause_of(fault: Fault) -> Cause {
    match fault {
        Fault::LfAlone => Cause::BareLf,
        Fault::CrAlone => Cause::BareCr,
        Fault::ThreeEmptyLines => Cause::EmptyLines,
        Fault::LineShape => Cause::RequestLine,
        Fault::MethodNoToken => Cause::Method,
        Fault::MethodOver32 => Cause::MethodLong,
        Fault::TargetOctet => Cause::TargetByte,
        Fault::TargetOverLimit => Cause::TargetLong,
        Fault::VersionShape => Cause::Version,
        Fault::VersionNotOne => Cause::VersionUnsupported,
        Fault::TargetNoForm => Cause::TargetForm,
        Fault::SchemeUnknown => Cause::TargetScheme,
        Fault::UserInformation => Cause::TargetUserinfo,
        Fault::EncodedNul => Cause::TargetNul,
        Fault::Tunnel => Cause::ConnectRefused,
        Fault::NameNoToken => Cause::FieldName,
        Fault::SpaceBeforeColon => Cause::FieldSpace,
        Fault::NoColon => Cause::FieldColon,
        Fault::Folded => Cause::FieldFold,
        Fault::ValueControl => Cause::FieldValue,
        Fault::LineOverLimit => Cause::FieldLong,
        Fault::FieldsOverLimit => Cause::FieldCount,
        Fault::HeadOverLimit => Cause::HeadLong,
        Fault::SaidTwice => Cause::FieldRepeated,
        Fault::NoHost => Cause::HostMissing,
        Fault::BadHost => Cause::HostInvalid,
        Fault::Underscore => Cause::FieldUnderscore,
        Fault::OtherExpectation => Cause::ExpectUnknown,
        Fault::HeadCut => Cause::HeadTruncated,
        Fault::LengthNoNumber => Cause::ContentLength,
        Fault::LengthAndCoding => Cause::LengthAndCoding,
        Fault::OtherCoding => Cause::CodingUnknown,
        Fault::CodingNoToken => Cause::CodingInvalid,
        Fault::CodingInOneZero => Cause::CodingVersion,
        Fault::ContentOverLimit => Cause::ContentLong,
        Fault::SizeNoNumber => Cause::ChunkSize,
        Fault::ExtensionShape => Cause::ChunkExtension,
        Fault::ExtensionOverLimit => Cause::ChunkExtensionLong,
        Fault::DataWithoutEnd => Cause::ChunkEnd,
        Fault::MoreFrameThanData => Cause::ChunkOverhead,
        Fault::TrailerShape => Cause::Trailer,
        Fault::TrailerOverLimit => Cause::TrailerLong,
        Fault::ContentCut => Cause::ContentTruncated,
    }
}

/// One way to configure a server, said to both readings.
pub struct Variant {
    pub policy: Policy,
    pub configure: fn(&mut Settings),
    pub room: Room,
}

pub fn variants() -> [Variant; 4] {
    let usual = Policy::default();
    let room = Room { target: 8_190, field_line: 8_190, fields: 100, head: 65_536, content: 4_096 };
    let small = Room { target: 60, field_line: 70, fields: 9, head: 500, content: 64 };
    [
        Variant { policy: usual, configure: |_| {}, room },
        Variant {
            policy: Policy { target: 60, field_line: 70, fields: 9, head: 500, content: Some(64), ..usual },
            configure: |settings| {
                (settings.max_target, settings.max_field_line, settings.max_fields) = (60, 70, 9);
                (settings.max_head, settings.max_content) = (500, Some(64));
            },
            room: small,
        },
        Variant {
            policy: Policy { refuse_underscores: true, https: true, ..usual },
            configure: |settings| (settings.refuse_underscores, settings.https) = (true, true),
            room,
        },
        Variant {
            policy: Policy { gathered: 0, content: None, ..usual },
            configure: |settings| (settings.gathered_content, settings.max_content) = (0, None),
            room,
        },
    ]
}

pub fn limits_of(policy: &Policy) -> Limits {
    let mut limits = Limits::default();
    (limits.target, limits.field_line) = (policy.target, policy.field_line);
    (limits.fields, limits.head) = (policy.fields, policy.head);
    limits
}

/// How the network cut the bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cuts {
    Nowhere,
    Everywhere,
    /// Once.
    After(usize),
    At(u64),
}

impl Cuts {
    pub fn pieces<'a>(&self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        match *self {
            Cuts::Nowhere => vec![bytes],
            Cuts::Everywhere => bytes.chunks(1).collect(),
            Cuts::After(place) => {
                let (front, behind) = bytes.split_at(place);
                vec![front, behind]
            }
            Cuts::At(seed) => {
                let (mut random, mut rest, mut pieces) = (Random(seed), bytes, Vec::new());
                while !rest.is_empty() {
                    let most = rest.len().min([1, 3, 20, 400 + bytes.len() / 8][random.below(4)]);
                    let (piece, behind) = rest.split_at(random.between(1, most));
                    pieces.push(piece);
                    rest = behind;
                }
                pieces
            }
        }
    }
}

/// What a head came to, in a form that both readings can be brought to.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Incomplete,
    Refused(Cause),
    Accepted(Box<Request>),
}

/// What doorway's parser says about the front of the bytes.
pub fn doorway_reads(bytes: &[u8], limits: &Limits, spans: &mut Spans) -> Verdict {
    let head = match head::parse(bytes, limits, spans) {
        Parsed::Incomplete => return Verdict::Incomplete,
        Parsed::Invalid(cause) => return Verdict::Refused(cause),
        Parsed::Complete(head) => head,
    };
    assert!(head.len() <= bytes.len(), "more consumed than was given");
    let read = match request::read(head) {
        Ok(read) => read,
        Err(cause) => return Verdict::Refused(cause),
    };
    let own = <[u8]>::to_vec;
    let target = target_of(read.target);
    // Only the difference between 1.0 and the others is kept.
    let minor = u8::from(head.version() == Version::Http11);
    Verdict::Accepted(Box::new(Request {
        head: reference::head::Head {
            method: own(head.method()),
            target: own(head.target()),
            minor,
            fields: head.fields().map(|(name, value)| (own(name), own(value))).collect(),
            length: head.len(),
        },
        target,
        host: read.host.map(own),
        framing: match read.content {
            Content::None => Framing::Nothing,
            Content::Length(length) => Framing::Length(length),
            Content::Chunked => Framing::Chunked,
        },
        expects_continue: read.expects_continue,
        persists: read.keep_alive,
    }))
}

/// A target in the form of the reference.
fn target_of(target: Target<'_>) -> reference::target::Target {
    let own = <[u8]>::to_vec;
    let (absolute, path, query) = match target {
        Target::Origin { path, query } => (None, Some(path), query),
        Target::Absolute { https, authority, path, query } => (Some((https, own(authority))), Some(path), query),
        Target::Asterisk => (None, None, None),
    };
    reference::target::Target { absolute, path: path.map(own), query: query.map(own) }
}

/// What doorway and the reference make of a target that a method asks for.
pub fn both_read_target(text: &[u8], method: &[u8]) -> [Result<reference::target::Target, Cause>; 2] {
    let found = target::parse(text, method).map(target_of);
    [found, reference::target::read_target(text, method).map_err(cause_of)]
}

pub fn reference_reads(bytes: &[u8], policy: &Policy) -> Verdict {
    match read_request(bytes, policy) {
        Ok(mut request) => {
            request.head.minor = request.head.minor.min(1);
            Verdict::Accepted(Box::new(request))
        }
        Err(Stop::More) => Verdict::Incomplete,
        Err(Stop::Fault(fault)) => Verdict::Refused(cause_of(fault)),
    }
}

/// What doorway's decoder makes of a content, delivered in a way: the data, or the cause, or that more is needed; and how much it
/// consumed.
pub fn decoded(bytes: &[u8], policy: &Policy, cuts: Cuts) -> (Result<Vec<u8>, Option<Cause>>, usize) {
    let mut decoder = Decoder::new(limits_of(policy));
    let (mut content, mut used) = (Vec::new(), 0);
    for piece in cuts.pieces(bytes) {
        let mut rest = piece;
        loop {
            let (consumed, step) = decoder.step(rest);
            assert!(consumed <= rest.len(), "more consumed than was given");
            rest = &rest[consumed..];
            used += consumed;
            match step {
                Step::Incomplete => {
                    assert!(rest.is_empty(), "more is needed, and not all was taken");
                    break;
                }
                Step::Data { len } => {
                    assert!((1..=rest.len()).contains(&len) && len as u64 <= decoder.remaining());
                    content.extend_from_slice(&rest[..len]);
                    decoder.advance(len as u64);
                    used += len;
                    rest = &rest[len..];
                }
                Step::End => return (Ok(content), used),
                Step::Invalid(cause) => {
                    assert_eq!(decoder.step(b"0\r\n\r\n").1, Step::Invalid(cause), "broken is broken");
                    return (Err(Some(cause)), used);
                }
            }
        }
    }
    (Err(None), used)
}
