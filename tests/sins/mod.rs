//! A kit of sins: for each check of `middleware::Lint` something small that breaks its rule and no other.
//!
//! Applications and middleware are named after their sin, the server's sins are environs made by hand. Each stands in a table with
//! what `Lint` must find. They are also what a server can be tried with.

pub mod application;
pub mod good;
pub mod middleware;
pub mod server;

use doorway::middleware::{Culprit, Finding, Level, Place};

/// What `Lint` must find, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub rule: &'static str,
    pub culprit: Culprit,
    pub level: Level,
    pub place: Place,
}

impl Expected {
    pub fn of(finding: &Finding) -> Expected {
        Expected { rule: finding.rule, culprit: finding.culprit, level: finding.level, place: finding.place }
    }
}
