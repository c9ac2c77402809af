//! `--user`: who starts as root serves as somebody else.
//!
//! What needs root is done first (sockets, the files of the log and of the process number), then this process becomes the same program again, as that
//! user and with those sockets: no thread and no memory of root's is left. A file is given to that user only where it was made here: one that is there may
//! be a link of the user's own to a file of root's (CVE-2016-1247 in nginx). As root only somebody at work on this machine is served, unless `--user root` says so:
//! the one who starts it in a container to look at a folder. Whatever a service has (an address that others reach, a door of a front server, a socket of
//! a service manager, a name of a site) is refused.
//!
//! `--chroot` is not offered: whatever is opened later (workers and their interpreter, error pages, the log) would have to be copied there, and kept up to
//! date. A unit of systemd with `ProtectSystem=strict`, or a container, keeps more out and needs no copies.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::fchown;
use std::path::Path;

use crate::listen;
use crate::options::Options;
use crate::signals::effective_user;
use crate::sockets::{self, Inherited};

/// Goes on as the user that is asked for, where this process is not that already.
pub fn settle(options: &Options, inherited: &mut Inherited) -> io::Result<()> {
    let Some(name) = &options.user else { return Ok(()) };
    let (user, group) = find(name)?;
    if user == effective_user() {
        return Ok(());
    }
    if effective_user() != 0 {
        let text = format!("--user {name}: only root can become another user; start it as root, or leave that out");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let (servers, _) = listen::servers(options, inherited)?;
    let mut sockets = Vec::new();
    servers.iter().try_for_each(|(_, server)| server.hand_over().map(|own| sockets.extend(own)))?;
    for path in options.log_file.iter().chain(&options.pid_file) {
        make(path, user, group)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    Err(sockets::become_user(sockets, (user, group)))
}

/// Makes a file that is the user's, in a folder that may be root's; one that is there stays as it is.
fn make(path: &Path, user: u32, group: u32) -> io::Result<()> {
    match OpenOptions::new().append(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => fchown(made?, Some(user), Some(group)),
    }
}

/// Whether this is root without having been asked to be.
pub fn is_root_by_chance(options: &Options) -> bool {
    effective_user() == 0 && options.user.is_none()
}

/// Whether the process may serve as who it is. `is_own`: nobody but browsers of this machine can connect, at addresses that were opened here.
pub fn check(options: &Options, is_own: bool) -> io::Result<()> {
    if is_own && options.allowed_hosts.is_empty() || !is_root_by_chance(options) {
        return Ok(());
    }
    let text = "this is root, and not only browsers of this machine are served: name who is to serve with --user NAME (or --user root)";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

/// The numbers of a user and of the user's group: `NAME` as in /etc/passwd, or `UID:GID`.
fn find(name: &str) -> io::Result<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1).zip(fields.next())).flatten()
    });
    let numbers =
        found.chain(name.split_once(':')).find_map(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    let text = format!("--user {name}: /etc/passwd has no such name; UID:GID is understood too");
    numbers.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, text))
}
