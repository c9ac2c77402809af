//! The CGI door: a request in the environment of the process, its content on standard input, the answer on standard output.
//!
//! RFC 3875. The environment is put in front of the content as one block (`<length>:<name NUL value NUL ...>`), so that the exchange is
//! that of every other door. SCRIPT_NAME and PATH_INFO stay as the server split them: it knows where the program is mounted. Arguments
//! of the process are not looked at: a server may pass words of the query there (section 4.4). No file is opened, no variable set.

use super::variables::{self, Block, addressee, next_of_nul, ready, write_cgi_head};
use super::{Door, Examined, Facts, Filling, NotReady, Policy, Progress, Protocol, Reply, Room};

/// CGI.
pub(crate) struct Cgi;

/// Linux gives a process at most 6 MiB of environment and arguments.
const MAX_ENVIRONMENT: usize = 8 * 1024 * 1024;

#[allow(non_upper_case_globals, reason = "a door reads like a variant of an enum wherever it is used")]
impl Door {
    /// CGI: the environment and the standard streams of the process. Not spoken at addresses; see [`Server::serve_cgi`](crate::Server::serve_cgi).
    pub const Cgi: Door = Door { name: "cgi", protocol: &Cgi };
}

impl Protocol for Cgi {
    fn longest_head(&self, _policy: &Policy) -> usize {
        MAX_ENVIRONMENT
    }

    fn may_be_decided(&self, bytes: &[u8], _progress: &mut Progress, _policy: &Policy) -> bool {
        split(bytes).is_some()
    }

    fn examine(&self, bytes: &[u8], policy: &Policy, _room: &mut Room, filling: Option<Filling<'_>>) -> Examined {
        let (variables, head_len) = split(bytes).ok_or(NotReady::Incomplete)?;
        let request = variables::Request::read(block(variables), Door::Cgi, head_len, policy)?;
        // Nobody else waits for the thread, so nothing is gathered.
        let is_here = request.gather(bytes.len(), policy).unwrap_or(false);
        ready(request, is_here, filling)
    }

    fn addressee(&self, bytes: &[u8], _is_first: bool) -> Option<Facts> {
        let (variables, _) = split(bytes)?;
        Some(addressee(Door::Cgi, block(variables)))
    }

    fn request_line(&self, bytes: &[u8]) -> Vec<u8> {
        split(bytes).map_or_else(Vec::new, |(variables, _)| variables::request_line(block(variables)))
    }

    fn has_addresses(&self) -> bool {
        false
    }

    fn write_head(&self, out: &mut Vec<u8>, reply: &Reply<'_>) {
        write_cgi_head(out, reply);
    }
}

fn block(bytes: &[u8]) -> Block<'_> {
    Block { bytes, next: next_of_nul }
}

/// What stands in front of the content, and how long content may be: what CONTENT_LENGTH says, which is as far as standard input may be
/// read (RFC 3875 section 4.2).
pub(crate) fn enclose<'a>(environment: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> (Vec<u8>, u64) {
    let (mut block, mut length) = (Vec::new(), 0);
    for (name, value) in environment {
        // A name without text, or with a NUL, is none that a system could have given.
        if name.is_empty() || name.contains(&0) || value.contains(&0) {
            continue;
        }
        if name == b"CONTENT_LENGTH" {
            length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        }
        for text in [name, b"\0", value, b"\0"] {
            block.extend_from_slice(text);
        }
    }
    let mut enclosed = format!("{}:", block.len()).into_bytes();
    enclosed.append(&mut block);
    (enclosed, length)
}

/// The variables, and where the content begins.
fn split(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(bytes.get(..colon)?).ok()?.parse().ok()?;
    Some((bytes.get(colon + 1..colon + 1 + length)?, colon + 1 + length))
}
