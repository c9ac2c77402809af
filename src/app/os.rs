//! Numbers of the system that `std` does not name and that differ between systems: flags to open a file with, and error numbers.
//!
//! POSIX names them and leaves the values open; they are those of the systems' own headers (`fcntl.h`, `errno.h`, `winerror.h`). On a Unix that
//! is not listed files are opened without flags, and its own error numbers count as errors that nobody has a better name for.

/// `O_NONBLOCK | O_NOCTTY`: to open a FIFO does not wait for its other end, and a terminal does not become ours.
#[cfg(unix)]
pub(super) const OPEN_FLAGS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        0x80 | 0x800
    } else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
        0x4000 | 0x8000
    } else {
        0x800 | 0x100
    }
} else if cfg!(any(target_os = "macos", target_os = "ios")) {
    0x4 | 0x2_0000
} else if cfg!(any(target_os = "freebsd", target_os = "dragonfly", target_os = "netbsd", target_os = "openbsd")) {
    0x4 | 0x8000
} else if cfg!(any(target_os = "illumos", target_os = "solaris")) {
    0x80 | 0x800
} else {
    0
};

/// Errors by which a system says that there can be no such file: a name that is too long, a circle of links, a name it does not allow, a
/// socket or a device without a driver.
pub(super) const NO_SUCH_FILE: &[i32] = if cfg!(windows) {
    // ERROR_INVALID_NAME, ERROR_FILENAME_EXCED_RANGE, ERROR_CANT_RESOLVE_FILENAME
    &[123, 206, 1921]
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        &[78, 90, 6, 19]
    } else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
        &[63, 62, 6, 19]
    } else {
        // ENAMETOOLONG, ELOOP, ENXIO, ENODEV
        &[36, 40, 6, 19]
    }
} else if cfg!(any(target_os = "illumos", target_os = "solaris")) {
    &[78, 90, 6, 19]
} else {
    // The BSDs and what comes from them.
    &[63, 62, 6, 19]
};

/// Errors by which a system says that no descriptor is free: `EMFILE` and `ENFILE`, `ERROR_TOO_MANY_OPEN_FILES`.
pub(super) const NO_DESCRIPTOR: &[i32] = if cfg!(windows) { &[4] } else { &[24, 23] };
