//! The uwsgi door: what nginx's `uwsgi_pass` and lighttpd speak to a WSGI server.
//!
//! `uwsgi-docs`, "The uwsgi Protocol": `modifier1:u8 datasize:u16 modifier2:u8`, then the variables, each with its length in front
//! (all numbers little-endian), then the content. One request a connection. The answer is a response of HTTP/1.1: a `Status:` head
//! would work, but nginx passes the field on. Modifiers that order anything but a request are refused: uWSGI's others
//! evaluate code, run spoolers and reload. A block of 65,535 bytes is taken whole: uWSGI's own 4,096 is what deployers trip over.

use super::variables::{self, Block, Pair, addressee, ready, write_head};
use super::{Door, Examined, Facts, Filling, NotReady, Policy, Progress, Protocol, Reply, Room, http, mistaken};
use crate::cause::Cause;

/// uwsgi.
pub(crate) struct Uwsgi;

/// The bytes before the variables.
const HEADER: usize = 4;

/// The modifier of a request whose PATH_INFO is the whole path: SCRIPT_NAME is still to be taken off it.
const SPLIT: u8 = 30;

#[allow(non_upper_case_globals, reason = "a door reads like a variant of an enum wherever it is used")]
impl Door {
    /// uwsgi, for nginx (`uwsgi_pass`) and lighttpd.
    pub const Uwsgi: Door = Door { name: "uwsgi", protocol: &Uwsgi };
}

impl Protocol for Uwsgi {
    fn longest_head(&self, _policy: &Policy) -> usize {
        HEADER + usize::from(u16::MAX)
    }

    fn may_be_decided(&self, bytes: &[u8], _progress: &mut Progress, _policy: &Policy) -> bool {
        !matches!(whole(bytes), Ok(None))
    }

    fn examine(&self, bytes: &[u8], policy: &Policy, _room: &mut Room, filling: Option<Filling<'_>>) -> Examined {
        let head_len = whole(bytes)?.ok_or(NotReady::Incomplete)?;
        let request = variables::Request::read(readable(bytes), Door::Uwsgi, head_len, policy)?;
        let is_here = request.gather(bytes.len(), policy)?;
        ready(if bytes.first() == Some(&SPLIT) { request.split_path() } else { request }, is_here, filling)
    }

    /// The answer is one of HTTP, so it is also understood by a client of HTTP that came to the wrong port.
    fn addressee(&self, bytes: &[u8], _is_first: bool) -> Option<Facts> {
        if mistaken::is_http(bytes) {
            return http::Http.addressee(bytes, true);
        }
        (size(bytes) != Err(Cause::ProtocolMistaken)).then(|| addressee(Door::Uwsgi, readable(bytes)))
    }

    fn request_line(&self, bytes: &[u8]) -> Vec<u8> {
        match size(bytes) {
            Ok(_) => variables::request_line(readable(bytes)),
            Err(_) => http::Http.request_line(bytes),
        }
    }

    fn write_head(&self, out: &mut Vec<u8>, reply: &Reply<'_>) {
        write_head(out, b"HTTP/1.1 ", reply);
    }
}

/// What of the variables has arrived: nothing behind their end has a say.
fn readable(bytes: &[u8]) -> Block<'_> {
    let size = size(bytes).ok().flatten().unwrap_or(0);
    let variables = bytes.split_at(HEADER.min(bytes.len())).1;
    Block { bytes: variables.split_at(size.min(variables.len())).0, next }
}

/// Where the content begins, once all variables are there.
fn whole(bytes: &[u8]) -> Result<Option<usize>, Cause> {
    Ok(size(bytes)?.map(|size| HEADER + size).filter(|head_len| bytes.len() >= *head_len))
}

/// How long the variables are, once that is known.
fn size(bytes: &[u8]) -> Result<Option<usize>, Cause> {
    match *bytes {
        [modifier, ..] if modifier != 0 && modifier != SPLIT => {
            mistaken::judge(bytes, Door::Uwsgi, Cause::PacketModifier).map_or(Ok(None), Err)
        }
        [_, 0, 0, ..] => Err(Cause::PacketFormat),
        [_, low, high, _, ..] => Ok(Some(usize::from(u16::from_le_bytes([low, high])))),
        _ => Ok(None),
    }
}

/// `klen:u16 key vlen:u16 value`: a value may be empty, a key may not.
fn next(bytes: &[u8]) -> Option<Pair<'_>> {
    let (name, rest) = next_text(bytes)?;
    let (value, rest) = next_text(rest)?;
    (!name.is_empty()).then_some((name, value, rest))
}

fn next_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}
