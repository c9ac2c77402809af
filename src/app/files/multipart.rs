//! Several ranges in one answer: `multipart/byteranges` (RFC 9110 section 14.6, RFC 2046 section 5.1.1).
//!
//! The boundary is drawn anew for every answer, so that nobody can write a file that holds it. The length is known before the first byte.

use std::fs::File;

use super::ranges::Range;
use crate::gateway::{Body, FileRange};
use crate::web::Response;
use crate::web::token::unforeseen;

/// 206 with the parts of a file, in order.
pub(super) fn answer(file: File, parts: Vec<Range>, complete: u64, content_type: &str) -> Response {
    let boundary = format!("{:016x}{:016x}", unforeseen(), unforeseen());
    let heads: Vec<Vec<u8>> = parts
        .iter()
        .map(|part| {
            let content_range = part.content_range(complete);
            format!("\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range}\r\n\r\n")
                .into_bytes()
        })
        .collect();
    let end = format!("\r\n--{boundary}--\r\n").into_bytes();
    let length = heads.iter().map(|head| head.len() as u64).sum::<u64>()
        + parts.iter().map(|part| part.length).sum::<u64>()
        + end.len() as u64;

    let mut rest = heads.into_iter().zip(parts);
    let mut end = Some(end);
    let mut reading = FileRange { file, position: 0, left: 0 };
    let blocks = std::iter::from_fn(move || {
        if let Some(block) = reading.next_block(Vec::new()) {
            return Some(block);
        }
        if let Some((head, part)) = rest.next() {
            (reading.position, reading.left) = (part.start, part.length);
            return Some(Ok(head.into()));
        }
        end.take().map(|end| Ok(end.into()))
    });
    Response::new("206 Partial Content", Body::blocks(blocks))
        .with_header("Content-Type", format!("multipart/byteranges; boundary={boundary}"))
        .with_header("Content-Length", length.to_string())
}
