//! Making and entering namespaces from a single-threaded worker.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use crate::command::check;
use crate::process::{Fork, fork};

/// A user namespace and a network namespace that it owns, held open by descriptors alone.
#[derive(Debug)]
pub struct Pair {
    /// The user namespace.
    pub user: OwnedFd,
    /// The network namespace, owned by the user namespace.
    pub network: OwnedFd,
}

/// Makes a user namespace whose ids 0.. are `base`.. outside, and a network namespace in it.
///
/// The caller is single-threaded and may write the maps (root). A short-lived child carries the
/// namespaces until the descriptors are open.
///
/// # Errors
/// When the kernel refuses a namespace or a map.
pub fn user_and_network(base: u32, count: u32) -> io::Result<Pair> {
    let (mut ready_reader, mut ready_writer) = io::pipe()?;
    let (mut go_reader, go_writer) = io::pipe()?;
    let child = match fork()? {
        Fork::Child => {
            drop(go_writer);
            drop(ready_reader);
            // SAFETY: unshare takes flags only; the child is single-threaded.
            let made = check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) });
            let code = made.map_or_else(|err| err.raw_os_error().unwrap_or(1), |_| 0);
            let _ = ready_writer.write_all(&code.to_ne_bytes());
            let _ = go_reader.read(&mut [0]);
            crate::process::exit_now(0);
        }
        Fork::Parent(child) => child,
    };
    drop(ready_writer);
    drop(go_reader);
    let opened = (|| {
        let mut code = [0; 4];
        ready_reader.read_exact(&mut code)?;
        match i32::from_ne_bytes(code) {
            0 => {}
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
        let map = format!("0 {base} {count}\n");
        std::fs::write(format!("/proc/{child}/gid_map"), &map)?;
        std::fs::write(format!("/proc/{child}/uid_map"), &map)?;
        Ok(Pair {
            user: File::open(format!("/proc/{child}/ns/user"))?.into(),
            network: File::open(format!("/proc/{child}/ns/net"))?.into(),
        })
    })();
    drop(go_writer);
    crate::process::reap(child);
    opened
}

/// Leaves the mount namespace of the parent; mounts made from now on are seen by nobody else.
///
/// # Errors
/// As `unshare(2)` and `mount(2)`.
pub fn private_mounts() -> io::Result<()> {
    // SAFETY: unshare takes flags only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::DOWNSTREAM
            | rustix::mount::MountPropagationFlags::REC,
    )?;
    Ok(())
}

/// Moves the calling thread alone into a network namespace made on the spot.
///
/// # Errors
/// As `unshare(2)`.
pub fn new_network() -> io::Result<()> {
    // SAFETY: unshare takes flags only; CLONE_NEWNET concerns the calling thread alone.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Moves the calling thread alone into an open network namespace.
///
/// # Errors
/// As `setns(2)`.
pub fn enter_network(namespace: impl std::os::fd::AsFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let fd = namespace.as_fd().as_raw_fd();
    // SAFETY: setns takes a descriptor that is open for the whole call.
    check(unsafe { libc::setns(fd, libc::CLONE_NEWNET) }).map(drop)
}

/// Moves the calling process, which is single-threaded, into an open user namespace. There it has
/// all rights and nobody's ids.
///
/// # Errors
/// As `setns(2)`.
pub fn enter_user(namespace: impl std::os::fd::AsFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let fd = namespace.as_fd().as_raw_fd();
    // SAFETY: setns takes a descriptor that is open for the whole call.
    check(unsafe { libc::setns(fd, libc::CLONE_NEWUSER) }).map(drop)
}

/// Which namespaces of a process [`enter`] joins.
#[derive(Debug, Clone, Copy)]
pub enum Join {
    /// User and mount namespace: enough to reach files as the process sees them.
    Files,
    /// All that an engine makes for an instance; the pid namespace takes effect for children.
    All,
}

/// Joins the namespaces of the process behind `pidfd`. The caller is single-threaded.
///
/// # Errors
/// As `setns(2)`; `ESRCH` when the process is gone.
pub fn enter(pidfd: impl std::os::fd::AsFd, join: Join) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let flags = match join {
        Join::Files => libc::CLONE_NEWUSER | libc::CLONE_NEWNS,
        Join::All => {
            libc::CLONE_NEWUSER
                | libc::CLONE_NEWNS
                | libc::CLONE_NEWPID
                | libc::CLONE_NEWNET
                | libc::CLONE_NEWIPC
                | libc::CLONE_NEWUTS
                | libc::CLONE_NEWCGROUP
        }
    };
    // SAFETY: setns takes a descriptor that is open for the whole call.
    check(unsafe { libc::setns(pidfd.as_fd().as_raw_fd(), flags) }).map(drop)
}
