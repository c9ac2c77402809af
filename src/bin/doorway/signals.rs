//! SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 as a stream that one can wait for, and descriptors that come from
//! and go to other processes. The only `unsafe` of the project.
//!
//! std has no signals. The handler writes one byte, the number of the signal, into one end of a pair of Unix sockets; a thread reads
//! the other end and sleeps in the kernel until then. Nothing polls, and nothing else happens in the handler, because hardly
//! anything may. With a handler set, process 1 of a container gets these signals too (the kernel drops there what is not handled).
//!
//! Both signals are taken even where the parent had them ignored, as a shell does for `doorway &` in a script: Ctrl-C then stops the
//! server together with the script.

#[cfg(unix)]
mod system {
    use std::ffi::{c_int, c_void};
    use std::io::{self, Read};
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::time::Duration;

    use super::{HANGUP, USER_1, USER_2};

    // The numbers are the same on every Unix.
    const SIGINT: c_int = 2;
    const SIGTERM: c_int = 15;
    /// What `signal` returns on failure: `(void (*)(int)) -1`.
    const SIG_ERR: usize = usize::MAX;

    // SAFETY: these are the declarations of C11 7.14.1.1 and POSIX write(2), dup(2) and geteuid(2), in the C library that std links anyway. A handler is a
    // pointer to a function, which has the size of usize on every platform with these signals; it travels as usize because the special
    // values SIG_DFL, SIG_IGN and SIG_ERR are no functions.
    unsafe extern "C" {
        fn signal(number: c_int, handler: usize) -> usize;
        fn write(descriptor: c_int, bytes: *const c_void, count: usize) -> isize;
        fn dup(descriptor: c_int) -> c_int;
        safe fn geteuid() -> u32;
    }

    /// Takes a descriptor that this process was started with, for this process alone.
    pub fn adopt(number: i32) -> io::Result<OwnedFd> {
        if number < 3 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "descriptors 0 to 2 are std's"));
        }
        // SAFETY: the borrow ends with this statement, and a number that is not open makes the call fail (EBADF).
        let own = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?;
        // SAFETY: it is open, as the line above has shown. Whoever started this process has opened it for this process and says its number
        // (sd_listen_fds(3)); each is taken once, first of all, when neither this program nor std has opened any but 0 to 2. So nobody else
        // has it, and it is closed here, because children would inherit it.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
        Ok(own)
    }

    /// A descriptor for the same that children of this process inherit, which no descriptor of std's is. Those that are started by chance
    /// meanwhile inherit it as well.
    pub fn inheritable(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
        // SAFETY: dup(2) takes any number; this one is open.
        let number = unsafe { dup(descriptor.as_raw_fd()) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: dup(2) has just opened it, for nobody but the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }

    /// The user whose rights this process has.
    pub fn effective_user() -> u32 {
        geteuid()
    }

    /// Where the handler writes. Set once, before the handler is, and never closed.
    static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

    extern "C" fn on_signal(number: c_int) {
        // Signal numbers are small.
        let byte = number as u8;
        // SAFETY: write(2) is async-signal-safe. The pointer is to one readable byte that outlives the call, the count is 1. The
        // descriptor was stored before this handler was installed, is open for as long as the process lives (`into_raw_fd` gave it up),
        // and non-blocking, so the handler cannot hang. A load of an atomic integer is lock-free. `errno` of the interrupted code
        // changes only if the write fails, which takes a full socket buffer: thousands of signals that nobody has read, after the
        // second of which the process ends.
        unsafe { write(DESCRIPTOR.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
    }

    /// The signals that arrive from now on.
    pub struct Signals(UnixStream);

    impl Signals {
        pub fn catch() -> io::Result<Signals> {
            let (reader, writer) = UnixStream::pair()?;
            writer.set_nonblocking(true)?;
            DESCRIPTOR.store(writer.into_raw_fd(), Ordering::Relaxed);
            for number in [SIGINT, SIGTERM, i32::from(HANGUP), i32::from(USER_1), i32::from(USER_2)] {
                // SAFETY: the number is one that may be caught; the handler is a function with the C ABI and the signature that
                // `signal` asks for, lives for ever, and does only what a handler may do. The C libraries of Linux, the BSDs and macOS
                // keep it installed after a signal and restart interrupted calls, which std expects in neither way.
                let before = unsafe { signal(number, on_signal as extern "C" fn(c_int) as usize) };
                if before == SIG_ERR {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(Signals(reader))
        }

        /// Waits for the next signal and gives its number; `None` when the time is over. Without a limit it waits for ever.
        pub fn wait(&mut self, limit: Option<Duration>) -> Option<u8> {
            let mut byte = [0];
            self.0.set_read_timeout(limit).ok()?;
            // The other end is never closed, so this ends with a byte or with the time; an interruption is restarted by read_exact.
            self.0.read_exact(&mut byte).ok()?;
            Some(byte[0])
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        unsafe extern "C" {
            fn raise(number: c_int) -> c_int;
        }

        #[test]
        fn a_signal_is_a_byte_to_wait_for_and_ends_nothing_by_itself() {
            let mut signals = Signals::catch().unwrap();
            assert_eq!(signals.wait(Some(Duration::from_millis(1))), None);
            for number in [SIGTERM, SIGINT, SIGINT, i32::from(HANGUP), i32::from(USER_1), i32::from(USER_2)] {
                // SAFETY: raise(3) sends a signal that has a handler to the calling thread.
                assert_eq!(unsafe { raise(number) }, 0);
                assert_eq!(signals.wait(None), Some(number as u8));
            }
        }
    }
}

#[cfg(unix)]
pub use system::{Signals, adopt, effective_user, inheritable};

/// The number of SIGHUP, and those of SIGUSR1 and SIGUSR2, which differ.
pub const HANGUP: u8 = 1;
pub const USER_1: u8 = crate::os::USER_SIGNALS.0;
pub const USER_2: u8 = crate::os::USER_SIGNALS.1;

/// Where there are no such signals, Ctrl-C ends the process at once.
#[cfg(not(unix))]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub fn catch() -> std::io::Result<Signals> {
        Ok(Signals)
    }

    pub fn wait(&mut self, limit: Option<std::time::Duration>) -> Option<u8> {
        match limit {
            Some(limit) => std::thread::sleep(limit),
            None => loop {
                std::thread::park();
            },
        }
        None
    }
}
