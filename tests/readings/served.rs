//! The same for a whole connection: what the application sees, what is answered, and what the log is told.

use std::collections::BTreeMap;

use doorway::{Application, Body, Cause, Environ, StartResponse};

use super::{Cuts, Variant, cause_of};
use crate::apps::Recorder;
use crate::reference::Fault;
use crate::reference::connection::{Answer, Conversation, read_all};
use crate::support::{in_memory_with, parse_all};

/// Reads nothing and answers at once.
#[derive(Clone)]
pub struct Lazy(pub Recorder);

impl Application for Lazy {
    fn call(&self, environ: &Environ, start_response: &mut StartResponse) -> Body {
        // The recorder sees the same variables over an empty input.
        let mut without_content = environ.clone();
        without_content.set_input(std::io::empty());
        self.0.call(&without_content, start_response)
    }
}

/// Variables and content of a call; a content that cannot be read whole says so.
pub type Seen = (BTreeMap<String, Vec<u8>>, Result<Vec<u8>, ()>);

/// What a connection came to, in a form that both readings can be brought to.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub calls: Vec<Seen>,
    pub statuses: Vec<u16>,
    pub causes: Vec<Cause>,
}

/// Whether a variable says something of the request, and not of the connection or the server.
pub fn is_of_request(name: &str) -> bool {
    let names = ["REQUEST_METHOD", "REQUEST_URI", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "SERVER_NAME"];
    names.contains(&name) || name.starts_with("HTTP_") || name.starts_with("CONTENT_")
}

pub fn doorway_serves(bytes: &[u8], variant: &Variant, reads: bool, cuts: Cuts, heads: &[bool]) -> Outcome {
    let recorder = Recorder::default();
    let pieces = cuts.pieces(bytes);
    let (out, log) = if reads {
        in_memory_with(pieces, recorder.clone(), variant.configure)
    } else {
        in_memory_with(pieces, Lazy(recorder.clone()), variant.configure)
    };
    let calls = recorder.take().into_iter().map(|call| {
        let of_request = call.vars.into_iter().filter(|(name, _)| is_of_request(name)).collect();
        (of_request, call.content.map_err(drop))
    });
    let responses = parse_all(&out, heads);
    Outcome {
        calls: calls.collect(),
        statuses: responses.iter().map(|response| response.status).filter(|status| *status != 100).collect(),
        causes: log.causes(),
    }
}

pub fn expected_outcome(conversation: &Conversation) -> Outcome {
    let status = |answer: &Answer| match answer {
        Answer::Served => 200,
        Answer::Options => 204,
        Answer::Refused(fault) => cause_of(*fault).status().expect("a refusal has a status"),
    };
    let content = |content: &Result<Vec<u8>, Fault>| content.clone().map_err(drop);
    Outcome {
        calls: conversation.calls.iter().map(|call| (call.variables.clone(), content(&call.content))).collect(),
        statuses: conversation.answers.iter().map(|(answer, _)| status(answer)).collect(),
        causes: conversation.fault().map(cause_of).into_iter().collect(),
    }
}

/// A whole connection, delivered in a way, with an application that reads everything or nothing.
pub fn check_connection(bytes: &[u8], variant: &Variant, reads: bool, cuts: &[Cuts]) -> Result<Conversation, String> {
    let conversation = read_all(bytes, &variant.policy, reads);
    if conversation.depends_on_delivery {
        return Ok(conversation);
    }
    let expected = expected_outcome(&conversation);
    let heads = heads_of(&conversation);
    for cuts in cuts {
        let outcome = doorway_serves(bytes, variant, reads, *cuts, &heads);
        if outcome != expected {
            return Err(format!("connection, {cuts:?}, reads {reads}: {outcome:?}\nthe reference says {expected:?}"));
        }
    }
    Ok(conversation)
}

pub fn heads_of(conversation: &Conversation) -> Vec<bool> {
    conversation.answers.iter().map(|(_, is_head)| *is_head).collect()
}
