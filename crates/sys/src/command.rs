//! Starting our own binary again, with chosen descriptors at chosen numbers.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the child inherit `fds`, the first as descriptor 3, the next as 4, and so on.
///
/// The descriptors stay open in this process as long as the command lives.
pub fn inherit(command: &mut Command, fds: Vec<OwnedFd>) -> &mut Command {
    let install = move || {
        // Targets may collide with sources, so everything moves out of the way first.
        let first_free = 3 + RawFd::try_from(fds.len()).unwrap_or(RawFd::MAX);
        let mut moved = [0 as RawFd; 16];
        for (slot, fd) in moved.iter_mut().zip(&fds) {
            // SAFETY: fcntl on an open descriptor that `fds` owns; async-signal-safe.
            *slot = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, first_free) })?;
        }
        for (index, fd) in moved.iter().take(fds.len()).enumerate() {
            let target = 3 + RawFd::try_from(index).unwrap_or(0);
            // SAFETY: both numbers are plain descriptors; async-signal-safe.
            check(unsafe { libc::dup2(*fd, target) })?;
            // SAFETY: the duplicate made above is not used again.
            check(unsafe { libc::close(*fd) })?;
        }
        Ok(())
    };
    // SAFETY: the closure only calls fcntl, dup2 and close, which are async-signal-safe, and does
    // not allocate. JUSTIFICATION: std has no safe way to place descriptors in a child.
    unsafe { command.pre_exec(install) }
}

/// Puts the child into a session of its own, away from the terminal's signals.
pub fn new_session(command: &mut Command) -> &mut Command {
    // SAFETY: setsid is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        })
    }
}

/// Puts the child into a session of its own whose terminal is its standard input.
pub fn own_terminal(command: &mut Command) -> &mut Command {
    // SAFETY: setsid and ioctl are async-signal-safe; the ioctl takes a plain number.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            check(libc::ioctl(0, libc::TIOCSCTTY, 0)).map(drop)
        })
    }
}

/// Kills the child when the thread that starts it ends.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = libc::pid_t::try_from(std::process::id()).unwrap_or(0);
    let arm = move || {
        // SAFETY: prctl with plain numbers; async-signal-safe.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        // A parent that has died before sends nothing any more.
        // SAFETY: getppid only returns a number.
        match unsafe { libc::getppid() } == parent {
            true => Ok(()),
            false => Err(std::io::ErrorKind::Interrupted.into()),
        }
    };
    // SAFETY: the closure only calls prctl and getppid and does not allocate.
    unsafe { command.pre_exec(arm) }
}

/// Takes ownership of a descriptor that this process inherited by number.
///
/// # Errors
/// When no such descriptor is open.
pub fn inherited(number: RawFd) -> std::io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: fcntl only inspects the number.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open, and the caller, by protocol with its parent, is its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Keeps every descriptor from 3 on away from programs that this process runs from now on: what a
/// caller happened to have open is none of theirs.
///
/// # Errors
/// As `close_range(2)`.
pub fn hide_descriptors() -> std::io::Result<()> {
    // SAFETY: close_range with CLOEXEC closes nothing; it takes plain numbers.
    // JUSTIFICATION: rustix 1.1 has no close_range.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn check(result: libc::c_int) -> std::io::Result<libc::c_int> {
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}
