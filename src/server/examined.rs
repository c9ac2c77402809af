//! What received bytes are: half a request, a whole one, or one that is refused before the application hears of it.
//!
//! The rules are those of `http`; here are the ones that depend on the settings: which schemes, names and lengths are served.

use super::settings::Settings;
use crate::cause::Cause;
use crate::http::framing;
use crate::http::head::{self, Parsed, Spans};
use crate::http::request::{self, Request};
use crate::http::target::Target;

/// What the received bytes are.
pub(super) enum Examined<'buf> {
    /// The head is not whole.
    Incomplete,
    /// The head is whole; so many bytes are needed before the call.
    Gather(usize),
    /// A request to answer.
    Ready(Request<'buf>),
    /// Nothing that is answered by an application.
    Refused(Cause),
}

/// Reads what has arrived as a request.
pub(super) fn examine<'buf>(bytes: &'buf [u8], settings: &Settings, spans: &'buf mut Spans) -> Examined<'buf> {
    let head = match head::parse(bytes, &settings.head_limits(), spans) {
        Parsed::Incomplete => return Examined::Incomplete,
        Parsed::Invalid(cause) => return Examined::Refused(cause),
        Parsed::Complete(head) => head,
    };
    let request = match request::read(head) {
        Ok(request) => request,
        Err(cause) => return Examined::Refused(cause),
    };
    if matches!(request.target, Target::Absolute { https: true, .. }) && !settings.https {
        return Examined::Refused(Cause::TargetScheme);
    }
    if settings.refuse_underscores && request.head.fields().any(|(name, _)| name.contains(&b'_')) {
        return Examined::Refused(Cause::FieldUnderscore);
    }
    if let framing::Content::Length(length) = request.content {
        if settings.max_content.is_some_and(|most| length > most) {
            return Examined::Refused(Cause::ContentLong);
        }
        let gathered = usize::try_from(length).ok().filter(|length| *length <= settings.gathered_content);
        if let (Some(length), false) = (gathered, request.expects_continue) {
            let whole = head.len() + length;
            if bytes.len() < whole {
                return Examined::Gather(whole);
            }
        }
    }
    Examined::Ready(request)
}
