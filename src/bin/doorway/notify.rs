//! What a service manager is told, by the protocol of sd_notify(3): lines in a datagram to the socket that `NOTIFY_SOCKET` names.
//!
//! Without that variable nothing here does anything. A socket without a file (`@name`) is not asked for: systemd's own has one.
//!
//! A thread of its own that says "alive" for a server which is stuck would be a lie. So it says so only when the thread that looks after all
//! others of the server has looked around since it was asked the last time. Calls of an application that last are no reason to be killed:
//! a new process would have the same.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use doorway::Observer;

use crate::threads;

/// How often the manager is told what the server does, where it does not ask for more.
const STATUS: Duration = Duration::from_secs(10);

/// How long a manager may take to read: it has others to listen to, and must not keep a stop.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the manager something. One that does not read for so long hears nothing of it.
pub fn say(state: &str) {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        let send = |socket: UnixDatagram| {
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.send_to(state.as_bytes(), path)
        };
        // There is nobody else to tell.
        let _ = UnixDatagram::unbound().and_then(send);
    }
}

/// Tells the manager that the server is there, now and then what it does, and as often as it asks for that it is alive.
pub fn begin(observer: Observer) -> io::Result<()> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(());
    }
    say(&format!("READY=1\nMAINPID={}", std::process::id()));
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let is_ours = variable("WATCHDOG_PID").is_none_or(|number| number == u64::from(std::process::id()));
    let watchdog = variable("WATCHDOG_USEC").filter(|_| is_ours).map(|time| Duration::from_micros(time) / 2);
    threads::start("notify", move || {
        let mut looks = None;
        // It ends with the server.
        while let Some(stats) = observer.stats() {
            let is_alive = looks.replace(stats.looks) != Some(stats.looks);
            let alive = if watchdog.is_some() && is_alive { "WATCHDOG=1\n" } else { "" };
            say(&format!(
                "{alive}STATUS={} connections, {} requests in threads, {} queued; {} answered, {} refused or cut",
                stats.open, stats.busy, stats.queued, stats.served, stats.refused
            ));
            std::thread::sleep(watchdog.unwrap_or(STATUS).min(STATUS));
        }
    })?;
    Ok(())
}
