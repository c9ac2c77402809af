//! HTTP/1.1 on the wire (RFC 9110, RFC 9112): bytes in, values out.
//!
//! The room knows no socket, no thread, no clock and no allocator: the parsers borrow from the buffer they are given.
//! Every parser reads from left to right and raises a fault at the first byte that makes the input wrong, so that a
//! verdict never depends on how the network cut the bytes. What RFC 9112 lets a server refuse for ambiguity is refused;
//! nothing is repaired. Of the crate, the room uses [`Cause`](crate::cause::Cause) and [`scan`].
//!
//! Reading goes [`head`] → [`request`] (which asks [`target`] and [`framing`]) → [`chunked`]; writing asks
//! [`framing`], [`chunked`] and [`date`]. The other side, for whoever asks another server, is a leaf: [`response_head`].

pub mod chunked;
pub mod date;
pub(crate) mod field;
pub mod framing;
pub mod head;
pub mod request;
pub mod target;

/// The byte classes of HTTP and fast searches for the first byte outside one.
pub mod scan {
    pub use crate::scan::*;
}

// A leaf of the crate, given out here as well, beside the parser of the other side.
pub use crate::web::response_head;

#[cfg(test)]
pub(crate) mod proof;
