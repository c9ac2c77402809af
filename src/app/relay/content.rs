//! How much content a request has, for protocols that say so before it comes.
//!
//! RFC 3875 section 4.1.2, RFC 9110 section 15.5.12. A request whose content has no length (the chunked coding) is received first, up to a
//! limit, and then has one; beyond the limit it is refused with 411, so that its client may send it again with a length. It is read from memory
//! then, by whoever is asked next too, where nobody could be reached.

use std::io::BufRead;

use super::Failure;
use crate::gateway::Environ;
use crate::web::content;

/// Sees to it that the request has a length, and gives it. `most` bytes at most are kept in memory for that.
pub(crate) fn measure(environ: &mut Environ, most: usize) -> Result<u64, Failure> {
    if let Some(length) = environ.content_length() {
        return Ok(length);
    }
    let mut content = Vec::new();
    let mut input = environ.input();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    content::read(&mut input, limit, &mut content).map_err(Failure::OfContent)?;
    if content.len() >= most && !input.fill_buf().map_err(Failure::OfContent)?.is_empty() {
        let detail = "content without a Content-Length, and more of it than is gathered";
        return Err(Failure::Refused("411 Length Required", detail));
    }
    let length = content.len() as u64;
    if length > 0 {
        input.put_back(content);
        drop(input);
        environ.set("CONTENT_LENGTH", length.to_string());
    }
    Ok(length)
}
