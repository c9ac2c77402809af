//! What differs between systems of one family: numbers that POSIX leaves to them.

/// The numbers of SIGUSR1 and SIGUSR2.
pub const USER_SIGNALS: (u8, u8) =
    if cfg!(any(target_os = "linux", target_os = "android", target_os = "illumos", target_os = "solaris")) {
        match cfg!(any(target_arch = "mips", target_arch = "mips64"))
            || cfg!(any(target_os = "illumos", target_os = "solaris"))
        {
            true => (16, 17),
            false => (10, 12),
        }
    } else {
        // The BSDs and macOS.
        (30, 31)
    };
