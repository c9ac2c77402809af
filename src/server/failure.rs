//! Why a response cannot go on, and the texts of what the application did.
//!
//! Everything of the application's may panic, also the text of its error and the value of its panic.

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cause::Cause;
use crate::gateway::discard_panic;

/// Why a response cannot go on as the application meant it.
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) detail: String,
}

impl Failure {
    pub(super) fn new(cause: Cause, detail: String) -> Failure {
        Failure { cause, detail }
    }
}

/// The text of an application's error, whose `Display` may panic as everything of the application's may.
pub(super) fn error_text(error: &dyn Display) -> String {
    catch_unwind(AssertUnwindSafe(|| error.to_string())).unwrap_or_else(panic_text)
}

/// The message of a panic.
pub(super) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => {
            discard_panic(panic);
            "a panic without a text".to_owned()
        }
    }
}
