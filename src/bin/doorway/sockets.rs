//! Sockets that come from another process, and those that go to one: from systemd, and from and to another doorway.
//!
//! sd_listen_fds(3): descriptors from 3 on, as many as `LISTEN_FDS` says, for the process `LISTEN_PID`; the names in `LISTEN_FDNAMES` that are those of
//! doors say what is spoken there, and every other name HTTP. A doorway that starts another says the same in `DOORWAY_SOCKETS`: its own process
//! number, names with descriptors, and the one at which it waits to hear that the other is ready. Numbers tell whom the sockets
//! are for: these variables are inherited by children that have no such descriptors.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorway::{Door, Listener, Server, Stopper};

use crate::doors::Servers;
use crate::signals::{adopt, inheritable};

const VARIABLE: &str = "DOORWAY_SOCKETS";

/// The name of the descriptor at which a process that is replaced waits.
const READY: &str = "ready";

/// How long another process may take to be ready: it may have workers to start.
const START: Duration = Duration::from_secs(90);

/// What was handed over.
#[derive(Default)]
pub struct Inherited {
    pub servers: Servers,
    /// Whether it is from systemd, so that no flag may ask for other addresses.
    pub is_managed: bool,
    ready: Option<UnixStream>,
}

impl Inherited {
    /// Takes what is meant for this process. To be called once, before anything else opens descriptors.
    pub fn take() -> io::Result<Inherited> {
        let mut inherited = Inherited::default();
        for (name, number) in ours() {
            let socket = adopt(number)?;
            if name == READY {
                inherited.ready = Some(socket.into());
                continue;
            }
            let door = [Door::Uwsgi, Door::Scgi, Door::FastCgi].into_iter().find(|door| door.name() == name);
            let door = door.unwrap_or(Door::Http);
            let wrong =
                |error| io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {number} ({name}): {error}"));
            inherited
                .servers
                .push((door, Server::from_listener(Listener::try_from(socket).map_err(wrong)?).door(door)));
        }
        inherited.is_managed = std::env::var_os(VARIABLE).is_none() && !inherited.servers.is_empty();
        Ok(inherited)
    }

    /// Tells whoever waits for it that this process serves.
    pub fn tell_ready(&mut self) {
        // Who has gone needs no answer.
        self.ready.take().map(|mut ready| ready.write_all(b"ready"));
    }
}

/// Names and numbers of the descriptors that are for this process.
fn ours() -> Vec<(String, i32)> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let text = variable(VARIABLE);
    let mut words = text.split(' ');
    let from = words.next().and_then(|word| word.parse().ok());
    if from.is_some_and(|from: u32| from == parent_id() || from == std::process::id()) {
        return words
            .filter_map(|word| word.split_once('='))
            .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
            .collect();
    }
    if variable("LISTEN_PID").parse() != Ok(std::process::id()) {
        return Vec::new();
    }
    let names = variable("LISTEN_FDNAMES");
    let name = |at: i32| names.split(':').nth(at as usize).unwrap_or_default().to_owned();
    (0..variable("LISTEN_FDS").parse().unwrap_or(0)).map(|at| (name(at), 3 + at)).collect()
}

/// The program as this one was called, which may be another by now, with these sockets; and what must stay open until it has begun.
fn successor(sockets: Vec<(Door, OwnedFd)>, ready: Option<OwnedFd>) -> io::Result<(Command, Vec<OwnedFd>)> {
    let (mut text, mut open) = (std::process::id().to_string(), Vec::new());
    let named =
        sockets.into_iter().map(|(door, socket)| (door.name(), socket)).chain(ready.map(|ready| (READY, ready)));
    for (name, socket) in named {
        let socket = inheritable(&socket)?;
        text.push_str(&format!(" {name}={}", socket.as_raw_fd()));
        open.push(socket);
    }
    let mut arguments = std::env::args_os();
    let mut command = Command::new(arguments.next().ok_or(io::ErrorKind::NotFound)?);
    // They name this process.
    let kept = std::env::vars_os().filter(|(name, _)| name != "LISTEN_PID" && name != "WATCHDOG_PID");
    command.args(arguments).env_clear().envs(kept).env(VARIABLE, text);
    Ok((command, open))
}

/// Who takes over.
static SUCCESSOR: Mutex<Successor> = Mutex::new(Successor { is_unwanted: false, starting: None });

struct Successor {
    /// This process was stopped.
    is_unwanted: bool,
    /// What was started, until it serves.
    starting: Option<Child>,
}

fn starting() -> MutexGuard<'static, Successor> {
    SUCCESSOR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts it with the sockets of a server that runs, and waits until it serves. Gives its number; nothing where it was ended.
pub fn start_successor(stopper: &Stopper) -> io::Result<Option<u32>> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let (mut command, open) = successor(stopper.hand_over()?, Some(theirs.into()))?;
    ours.set_read_timeout(Some(START))?;
    let mut place = starting();
    if place.is_unwanted {
        return Ok(None);
    }
    place.starting = Some(command.spawn()?);
    drop((place, open));
    let heard = ours.read(&mut [0; 5]);
    let Some(mut child) = starting().starting.take() else { return Ok(None) };
    match heard {
        Ok(length) if length > 0 => return Ok(Some(child.id())),
        Ok(_) => {}
        Err(_) => child.kill()?,
    }
    Err(io::Error::other(format!("the new process did not come to serve ({})", child.wait()?)))
}

/// Ends the process that is starting, if one is: whoever stops this one does not want another in its place.
pub fn end_successor() {
    let mut place = starting();
    place.is_unwanted = true;
    if let Some(mut child) = place.starting.take() {
        let _ = child.kill().and_then(|()| child.wait());
    }
}

/// Becomes it, as another user. Returns where that fails.
pub fn become_user(sockets: Vec<(Door, OwnedFd)>, (user, group): (u32, u32)) -> io::Error {
    match successor(sockets, None) {
        // std leaves the other groups too, where it may.
        Ok((mut command, _open)) => command.gid(group).uid(user).exec(),
        Err(error) => error,
    }
}
