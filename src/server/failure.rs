//! Why a response cannot go on, and the texts of what the application did.
//!
//! Everything of the application's may panic, also the text of its error and the value of its panic.

use std::any::Any;
use std::error::Error;
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
    pub(super) fn new(cause: Cause, detail: impl Display) -> Failure {
        Failure { cause, detail: detail.to_string() }
    }

    /// The message of a panic.
    pub(super) fn of_panic(panic: Box<dyn Any + Send>) -> Failure {
        let detail = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => {
                discard_panic(panic);
                "a panic without a text".to_owned()
            }
        };
        Failure { cause: Cause::ApplicationPanic, detail }
    }

    /// An error of the application's. Some carry a cause that a client is told: that of an upstream, or of content over a limit.
    pub(super) fn of_error(error: &(dyn Error + Send + Sync + 'static), otherwise: Cause) -> Failure {
        // What it says of itself may panic as everything of the application's may.
        let said = catch_unwind(AssertUnwindSafe(|| (Cause::of(error), error.to_string())));
        let (own, detail) = said.unwrap_or_else(|panic| (None, Failure::of_panic(panic).detail));
        Failure { cause: own.filter(|cause| cause.status().is_some()).unwrap_or(otherwise), detail }
    }
}
