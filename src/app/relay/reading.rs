//! The content of a response, taken out of what was received.
//!
//! RFC 9112 sections 6 and 7. No socket here: bytes in, values out.

use super::Fault;
use crate::cause::Cause;
use crate::http::chunked::{Decoder, Step};
use crate::web::response_head::Content;

/// How much of the content is still to come.
pub(crate) enum Reading {
    /// As many bytes.
    Length(u64),
    /// As the coding says.
    Chunked(Box<Decoder>),
    /// Everything until the connection ends.
    Close,
    /// It ended with the connection.
    Closed,
}

impl Reading {
    pub(crate) fn of(content: Content) -> Reading {
        match content {
            Content::None => Reading::Length(0),
            Content::Length(length) => Reading::Length(length),
            Content::Chunked => Reading::Chunked(Box::new(Decoder::default().of_tiny_chunks())),
            Content::Close => Reading::Close,
        }
    }

    /// Whether the content is whole.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Reading::Length(left) => *left == 0,
            Reading::Chunked(decoder) => decoder.is_end(),
            Reading::Close => false,
            Reading::Closed => true,
        }
    }

    /// How many bytes to wait for where the whole is to be had: of a length up to `most`, or as many as may come before the end.
    pub(crate) fn awaited(&self, most: usize, to_end: usize) -> usize {
        match self {
            Reading::Length(left) => usize::try_from(*left).ok().filter(|left| *left <= most).unwrap_or(0),
            Reading::Chunked(_) => 0,
            Reading::Close | Reading::Closed => to_end,
        }
    }

    /// Takes the content that is there out of `received`; empty when there is none. Bytes behind the content stay, and belong to nobody.
    pub(crate) fn take(&mut self, received: &mut Vec<u8>) -> Result<Vec<u8>, Fault> {
        match self {
            Reading::Length(left) => {
                let taken = usize::try_from(*left).map_or(received.len(), |left| left.min(received.len()));
                *left -= taken as u64;
                let behind = received.split_off(taken);
                Ok(std::mem::replace(received, behind))
            }
            Reading::Chunked(decoder) => decode(decoder, received),
            Reading::Close | Reading::Closed => Ok(std::mem::take(received)),
        }
    }

    /// The connection has ended.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        if let Reading::Close = self {
            *self = Reading::Closed;
        }
        if self.is_whole() {
            return Ok(());
        }
        Err(Fault::new(Cause::UpstreamTruncated, "in the middle of the content"))
    }
}

fn decode(decoder: &mut Decoder, received: &mut Vec<u8>) -> Result<Vec<u8>, Fault> {
    let (mut data, mut rest) = (Vec::new(), received.as_slice());
    loop {
        let (consumed, step) = decoder.step(rest);
        rest = rest.split_at(consumed).1;
        match step {
            Step::Data { len } => {
                let (block, behind) = rest.split_at(len);
                data.extend_from_slice(block);
                decoder.advance(block.len() as u64);
                rest = behind;
            }
            Step::Incomplete | Step::End => break,
            // What came before the fault is held back too: the response is cut, and visibly so.
            Step::Invalid(cause) => return Err(Fault::new(Cause::UpstreamInvalid, cause)),
        }
    }
    // The decoder has seen every byte that is no data, so nothing of them is left to keep.
    let behind = rest.len();
    received.drain(..received.len() - behind);
    Ok(data)
}
