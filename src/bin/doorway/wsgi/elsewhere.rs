//! `--wsgi` on systems that are no Unix, where there is none of it: the workers need Unix sockets.

use std::io;
use std::time::Duration;

use doorway::{Application, app};

use super::Plan;

#[derive(Clone)]
pub struct Workers;

impl Workers {
    pub fn start(_plan: Plan) -> io::Result<Workers> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "--wsgi needs a Unix system"))
    }

    pub fn application(&self) -> impl Application + use<> {
        app::demo
    }

    pub fn reload(&self) {}

    pub fn loads(&self) -> u64 {
        0
    }

    pub fn stop(&self, _grace: Duration) {}

    pub fn kill(&self) {}
}
