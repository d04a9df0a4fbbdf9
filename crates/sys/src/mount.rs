//! `mount_setattr`, the one call of the new mount API that rustix lacks.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::mount::{MoveMountFlags, OpenTreeFlags};

/// What [`set_attributes`] changes on a detached mount.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// Makes it read-only.
    pub read_only: bool,
    /// Clears read-only.
    pub writable: bool,
    /// Ignores set-uid bits.
    pub no_suid: bool,
    /// Ignores device nodes.
    pub no_dev: bool,
    /// Maps on-disk ids through this user namespace.
    pub idmap: Option<BorrowedFd<'a>>,
    /// Changes the mounts below it, too: all of them or none.
    pub recursive: bool,
}

/// Changes the attributes of a mount made by [`clone_tree`] that is not attached yet.
///
/// # Errors
/// `EINVAL` where the file system cannot be idmapped, `EPERM` without the right.
pub fn set_attributes(mount: impl AsFd, attributes: Attributes<'_>) -> io::Result<()> {
    let below = if attributes.recursive { libc::AT_RECURSIVE } else { 0 };
    let flag = |on: bool, value: u64| if on { value } else { 0 };
    let attr = libc::mount_attr {
        attr_set: flag(attributes.read_only, libc::MOUNT_ATTR_RDONLY)
            | flag(attributes.no_suid, libc::MOUNT_ATTR_NOSUID)
            | flag(attributes.no_dev, libc::MOUNT_ATTR_NODEV)
            | flag(attributes.idmap.is_some(), libc::MOUNT_ATTR_IDMAP),
        attr_clr: flag(attributes.writable, libc::MOUNT_ATTR_RDONLY),
        propagation: 0,
        userns_fd: attributes
            .idmap
            .map_or(0, |fd| u64::try_from(fd.as_raw_fd()).unwrap_or_default()),
    };
    // SAFETY: the path is an empty C string, `attr` lives across the call and its size is given.
    // JUSTIFICATION: rustix 1.1 has no mount_setattr.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | below,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A detached copy of the mount at `path` under `dir`.
///
/// # Errors
/// As `open_tree(2)`.
pub fn clone_tree(
    dir: impl AsFd,
    path: impl rustix::path::Arg,
    recursive: bool,
) -> io::Result<std::os::fd::OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(dir, path, flags)?)
}

/// Attaches a detached mount at an open directory or file.
///
/// # Errors
/// As `move_mount(2)`.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let empty = CString::default();
    Ok(rustix::mount::move_mount(mount, empty.as_c_str(), target, empty.as_c_str(), flags)?)
}

/// Opens a path below `dir` under rules of how it may resolve. The kernel asks for another try when
/// anything was renamed or mounted meanwhile, anywhere, and it cannot say whether `..` led out.
///
/// # Errors
/// As `openat2(2)`.
pub fn open_within(
    dir: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: rustix::fs::OFlags,
    mode: rustix::fs::Mode,
    resolve: rustix::fs::ResolveFlags,
) -> rustix::io::Result<std::os::fd::OwnedFd> {
    /// One try takes microseconds; so many fail only where something mounts without end.
    const TRIES_MAX: usize = 1000;
    let mut last = rustix::io::Errno::AGAIN;
    for _ in 0..TRIES_MAX {
        match rustix::fs::openat2(&dir, path, flags, mode, resolve) {
            Err(err @ (rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)) => last = err,
            other => return other,
        }
    }
    Err(last)
}
