//! What becomes of everything that a client sends before it stops sending: requests in order, until one is refused or ends the
//! connection (RFC 9112 sections 9.3 and 9.3.2).

use std::collections::BTreeMap;

use super::chunked::read_chunked;
use super::environ::variables;
use super::request::{Framing, Request, read_request};
use super::{Fault, Policy, Reading, Stop, same};

/// One call of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub variables: BTreeMap<String, Vec<u8>>,
    /// What it reads, or why reading ends otherwise.
    pub content: Result<Vec<u8>, Fault>,
}

/// One final response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The application's.
    Served,
    /// The server's own, to `OPTIONS *`.
    Options,
    Refused(Fault),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    pub calls: Vec<Call>,
    /// The answers, and whether each is to HEAD.
    pub answers: Vec<(Answer, bool)>,
    /// A client that waits for 100 was answered without it: whether the connection goes on depends on what has arrived by then.
    pub depends_on_delivery: bool,
}

impl Conversation {
    pub fn fault(&self) -> Option<Fault> {
        match self.answers.last() {
            Some((Answer::Refused(fault), _)) => Some(*fault),
            _ => None,
        }
    }
}

/// Reads everything, for an application that reads the whole content of every request, or nothing of any.
pub fn read_all(mut bytes: &[u8], policy: &Policy, application_reads: bool) -> Conversation {
    let mut all = Conversation::default();
    while !bytes.is_empty() {
        // Bytes behind the first fault decide nothing, so only what may stand before a request line is skipped.
        let seems_head = (0..=2).any(|empty| bytes.starts_with(&[&b"\r\n".repeat(empty)[..], b"HEAD "].concat()));
        let request = match read_request(bytes, policy).and_then(|request| settle(request, policy)) {
            Ok(request) => request,
            // RFC 9112 section 2.2: an empty line is the beginning of no request.
            Err(Stop::More) if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => break,
            Err(stop) => {
                let fault = if let Stop::Fault(fault) = stop { fault } else { Fault::HeadCut };
                all.answers.push((Answer::Refused(fault), seems_head));
                break;
            }
        };
        let rest = &bytes[request.head.length..];
        let content = read_content(rest, request.framing, policy);
        let is_gathered = matches!(request.framing, Framing::Length(length) if length <= policy.gathered);
        if is_gathered && !request.expects_continue && content == Err(Stop::More) {
            all.answers.push((Answer::Refused(Fault::ContentCut), seems_head));
            break;
        }
        let is_head = request.head.method == b"HEAD";
        let reads = application_reads && request.target.path.is_some();
        if request.target.path.is_some() {
            let seen = match &content {
                Ok((seen, _)) => Ok(seen.clone()),
                Err(Stop::Fault(fault)) => Err(*fault),
                Err(Stop::More) => Err(Fault::ContentCut),
            };
            let content = if reads { seen } else { Ok(Vec::new()) };
            let answer = content.as_ref().err().map_or(Answer::Served, |fault| Answer::Refused(*fault));
            all.calls.push(Call { variables: variables(&request), content });
            all.answers.push((answer, is_head));
        } else {
            all.answers.push((Answer::Options, is_head));
        }
        if request.expects_continue && !reads {
            all.depends_on_delivery = true;
            break;
        }
        let Ok((seen, used)) = content else { break };
        let is_skipped = reads || seen.len() as u64 <= policy.drained;
        if !request.persists || !is_skipped {
            break;
        }
        bytes = &rest[used..];
    }
    all
}

/// What the settings refuse.
fn settle(request: Request, policy: &Policy) -> Reading<Request> {
    let is_https = request.target.absolute.as_ref().is_some_and(|(https, _)| *https);
    if is_https && !policy.https {
        return Err(Stop::Fault(Fault::SchemeUnknown));
    }
    if let (Framing::Length(length), Some(most)) = (request.framing, policy.content) {
        if length > most {
            return Err(Stop::Fault(Fault::ContentOverLimit));
        }
    }
    // Those that are acted on or withheld anyway have no underscore.
    let has_underscore = request.head.fields.iter().any(|(name, _)| name.contains(&b'_') && !same(name, "Proxy"));
    if has_underscore && policy.refuse_underscores {
        return Err(Stop::Fault(Fault::Underscore));
    }
    Ok(request)
}

fn read_content(bytes: &[u8], framing: Framing, policy: &Policy) -> Reading<(Vec<u8>, usize)> {
    match framing {
        Framing::Nothing => Ok((Vec::new(), 0)),
        Framing::Length(length) => {
            let length = usize::try_from(length).map_err(|_| Stop::More)?;
            let content = bytes.get(..length).ok_or(Stop::More)?;
            Ok((content.to_vec(), length))
        }
        Framing::Chunked => read_chunked(bytes, policy).map(|read| (read.content, read.length)),
    }
}
