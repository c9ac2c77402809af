//! The SCGI door: a netstring of variables, then the content.
//!
//! "SCGI: A Simple Common Gateway Interface alternative" (2008-06-23): `<len>:<name NUL value NUL ...>,<content>` with CONTENT_LENGTH
//! and `SCGI=1` among the names. One request a connection; the answer is the head of CGI. Stricter than some: the length has no leading
//! zero. More lenient in one point: CONTENT_LENGTH need not come first, since its place says nothing.

use super::variables::{self, Block, addressee, next_of_nul, ready, write_cgi_head};
use super::{Door, Examined, Facts, Filling, NotReady, Policy, Progress, Protocol, Reply, Room, http, mistaken};
use crate::cause::Cause;

/// SCGI.
pub(crate) struct Scgi;

/// How long the variables may be: nginx sends 90 KB where a client sent as much.
const MAX_VARIABLES: usize = 128 * 1024;

/// How many digits their length may have.
const MAX_DIGITS: usize = 6;

#[allow(non_upper_case_globals, reason = "a door reads like a variant of an enum wherever it is used")]
impl Door {
    /// SCGI, for nginx (`scgi_pass`) and lighttpd.
    pub const Scgi: Door = Door { name: "scgi", protocol: &Scgi };
}

impl Protocol for Scgi {
    fn longest_head(&self, _policy: &Policy) -> usize {
        MAX_DIGITS + 1 + MAX_VARIABLES + 1
    }

    fn may_be_decided(&self, bytes: &[u8], _progress: &mut Progress, _policy: &Policy) -> bool {
        !matches!(whole(bytes), Ok(None))
    }

    fn examine(&self, bytes: &[u8], policy: &Policy, _room: &mut Room, filling: Option<Filling<'_>>) -> Examined {
        let end = whole(bytes)?.ok_or(NotReady::Incomplete)?;
        if bytes.get(end) != Some(&b',') {
            return Err(Cause::PacketFormat.into());
        }
        let request = variables::Request::read(readable(bytes), Door::Scgi, end + 1, policy)?;
        if request.length().is_none() || !request.is_scgi() {
            return Err(Cause::VariableMissing.into());
        }
        let is_here = request.gather(bytes.len(), policy)?;
        ready(request, is_here, filling)
    }

    fn addressee(&self, bytes: &[u8], _is_first: bool) -> Option<Facts> {
        if mistaken::is_http(bytes) {
            return http::Http.addressee(bytes, true);
        }
        (netstring(bytes) != Err(Cause::ProtocolMistaken)).then(|| addressee(Door::Scgi, readable(bytes)))
    }

    fn request_line(&self, bytes: &[u8]) -> Vec<u8> {
        match netstring(bytes) {
            Ok(_) => variables::request_line(readable(bytes)),
            Err(_) => http::Http.request_line(bytes),
        }
    }

    fn write_head(&self, out: &mut Vec<u8>, reply: &Reply<'_>) {
        write_cgi_head(out, reply);
    }
}

/// What of the variables has arrived: nothing behind their end has a say.
fn readable(bytes: &[u8]) -> Block<'_> {
    let (start, end) = netstring(bytes).ok().flatten().unwrap_or((0, 0));
    Block { bytes: bytes.split_at(end.min(bytes.len())).0.split_at(start).1, next: next_of_nul }
}

/// Where the variables end, once they and what stands for the comma are there.
fn whole(bytes: &[u8]) -> Result<Option<usize>, Cause> {
    Ok(netstring(bytes)?.map(|(_, end)| end).filter(|end| bytes.len() > *end))
}

/// Where the variables begin and end, once that is known; the comma stands at the end.
fn netstring(bytes: &[u8]) -> Result<Option<(usize, usize)>, Cause> {
    let digits = bytes.iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let length = bytes.split_at(digits).0;
    match (length, bytes.get(digits)) {
        ([], None) => Ok(None),
        ([], Some(_)) => mistaken::judge(bytes, Door::Scgi, Cause::PacketFormat).map_or(Ok(None), Err),
        // With a zero in front there is nothing in it, or it could be read in two ways.
        ([b'0', ..], _) => Err(Cause::PacketFormat),
        _ if digits > MAX_DIGITS => Err(Cause::PacketLong),
        (_, None) => Ok(None),
        (_, Some(b':')) => {
            let length = length.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit & 15));
            if length > MAX_VARIABLES {
                return Err(Cause::PacketLong);
            }
            Ok(Some((digits + 1, digits + 1 + length)))
        }
        (_, Some(_)) => Err(Cause::PacketFormat),
    }
}
