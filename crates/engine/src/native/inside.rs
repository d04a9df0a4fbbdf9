//! What runs inside a running instance on request: commands, and files put into place.
//!
//! Each is a freshly exec'd, single-threaded process that joins the instance's namespaces. A
//! command gets the instance's limits, capabilities and filter, never more. Files are written by a
//! process that is root *inside*: through `/proc/PID/root` the host's root could not write to
//! read-only roots, memory file systems or idmapped mounts.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use brickyard_sys::mount::{Attributes, clone_tree, open_within, set_attributes};
use brickyard_sys::namespace::{Join, enter};
use brickyard_sys::process::{self, Fork};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, StatxFlags, Uid};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::cgroup::Layout;
use super::rootfs::context;
use super::terminal::{self, Size};
use super::{capability, seccomp, user};

/// Exit code of a command that could not be run.
pub(crate) const CODE_CANNOT_RUN: i32 = 126;
/// Exit code of a command that was not found.
pub(crate) const CODE_NOT_FOUND: i32 = 127;

/// The instance to join.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) pid: i32,
    pub(crate) cgroup: String,
}

impl Target {
    /// Opens the process and makes sure that the number still means the instance's.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        let gone = || io::Error::new(ErrorKind::NotFound, "the instance does not run");
        let pid = Pid::from_raw(self.pid).ok_or_else(gone)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
        let cgroups = std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid))?;
        match cgroups.lines().any(|line| line.ends_with(&format!("{}/c", self.cgroup))) {
            true => Ok(pidfd),
            false => Err(gone()),
        }
    }
}

/// A command to run inside, read from descriptor 3.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecJob {
    pub(crate) target: Target,
    pub(crate) argv: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_dir: Utf8PathBuf,
    pub(crate) user: String,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    /// A cgroup of its own, below the container's.
    pub(crate) group: Option<String>,
    /// Size of the terminal that it gets, whose master goes to the caller over descriptor 4.
    pub(crate) terminal: Option<Size>,
}

/// Entry of the hidden `__exec` command: runs the command with this process's own streams and
/// returns its exit code.
pub fn exec_main() -> i32 {
    let run = super::read_job::<ExecJob>(3).and_then(|(job, _)| exec(&job));
    match run {
        Ok(code) => code,
        Err(err) => {
            let _ = writeln!(io::stderr(), "brickyard: {err}");
            CODE_CANNOT_RUN
        }
    }
}

fn exec(job: &ExecJob) -> io::Result<i32> {
    let socket = job.terminal.map(|_| brickyard_sys::command::inherited(4)).transpose()?;
    let pidfd = job.target.open()?;
    let layout = Layout::detect()?;
    layout.enter_container(&job.target.cgroup).map_err(context("enter the cgroup"))?;
    if let Some(group) = &job.group {
        layout.enter(group).map_err(context("enter the cgroup"))?;
    }
    // Signals meant for the command are passed on; they interrupt the wait below.
    process::remember_signals(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT])?;
    // Still the machine's root, with our own binary mapped: what runs inside must not get hold of it,
    // even with the right to trace.
    process::close_to_others()?;
    enter(&pidfd, Join::All).map_err(context("join the instance's namespaces"))?;
    drop(pidfd);
    match process::fork()? {
        Fork::Child => {
            let failure = become_command(job, socket);
            let _ = writeln!(io::stderr(), "brickyard: {failure}");
            let missing = failure.kind() == ErrorKind::NotFound;
            process::exit_now(if missing { CODE_NOT_FOUND } else { CODE_CANNOT_RUN })
        }
        Fork::Parent(child) => {
            // The caller must see the end of a command that never came to its terminal.
            drop(socket);
            Ok(wait_and_forward(child))
        }
    }
}

fn wait_and_forward(child: i32) -> i32 {
    loop {
        if let Some((pid, code)) = process::try_wait_any()
            && pid == child
        {
            return code;
        }
        let Some(pid) = Pid::from_raw(child) else {
            return -1;
        };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
            return process::wait(child);
        };
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        if rustix::event::poll(&mut fds, None).is_err() {
            let signal = process::interrupted_by();
            if signal != 0 {
                let _ = process::kill(child, signal);
            }
        }
    }
}

/// Takes on the instance's rights in the order in which each step still may be done, then execs.
fn become_command(job: &ExecJob, socket: Option<OwnedFd>) -> io::Error {
    let prepare = || -> io::Result<()> {
        let root = rustix::fs::openat(
            CWD,
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let user = user::resolve(&root, &job.user).map_err(io::Error::other)?;
        let names = capability::resolve(&job.cap_add, &job.cap_drop).map_err(io::Error::other)?;
        let filters = seccomp::programs(&names)?;
        let bits = capability::bits(&names);
        let kept = if user.uid == 0 { bits } else { 0 };
        process::set_bounding(bits).map_err(context("limit capabilities"))?;
        process::keep_capabilities()?;
        process::become_user(user.uid, user.gid, &user.groups).map_err(context("change user"))?;
        // The machine's `fs.suid_dumpable` was applied by the change of user.
        process::close_to_others()?;
        set_capabilities(kept).map_err(context("drop capabilities"))?;
        process::die_with_parent()?;
        brickyard_sys::command::hide_descriptors().map_err(context("hide descriptors"))?;
        match (job.terminal, socket) {
            (Some(size), Some(socket)) => {
                terminal::take(socket, size).map_err(context("make a terminal"))?;
            }
            // Away from a terminal of the caller's, into which a process of its session could type.
            _ => drop(rustix::process::setsid()),
        }
        std::env::set_current_dir(&job.working_dir)
            .map_err(context(format!("enter `{}`", job.working_dir)))?;
        rustix::thread::set_no_new_privs(true)?;
        seccomp::install(&filters)
    };
    if let Err(err) = prepare() {
        return io::Error::other(err);
    }
    let err = process::exec(&job.argv, &job.environment);
    let program = job.argv.first().map_or("", String::as_str);
    io::Error::new(err.kind(), format!("`{program}` could not be run: {err}"))
}

fn set_capabilities(bits: u64) -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    let kept = CapabilitySet::from_bits_retain(bits);
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// A change of a file inside, read from descriptor 3; the contents follow the job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FileJob {
    pub(crate) target: Target,
    /// Where it will go.
    pub(crate) dest: Utf8PathBuf,
    /// Where it lies until then.
    pub(crate) staged: Utf8PathBuf,
    pub(crate) step: FileStep,
}

/// What is done with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FileStep {
    /// Write it beside its destination.
    Stage { mode: u32, uid: u32, gid: u32 },
    /// Write it beside its destination and put it in its place.
    Place { mode: u32, uid: u32, gid: u32 },
    /// Put it in its place.
    Commit,
    /// Remove it.
    Discard,
    /// Remove what former agents left staged for these destinations.
    Sweep { dests: Vec<Utf8PathBuf>, kept: String },
}

/// Counts the files that this process has staged.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// A path beside the destination that nobody else uses: a change that is tried must not meet one
/// that is put into place at the same moment.
pub(crate) fn staged_path(dest: &Utf8Path) -> Utf8PathBuf {
    let prefix = staged_prefix(dest.file_name().unwrap_or("file"));
    let number = STAGED.fetch_add(1, Ordering::Relaxed);
    dest.with_file_name(format!("{prefix}{}{number}", staged_mark()))
}

/// How the names of all files begin that are staged for `name`.
pub(crate) fn staged_prefix(name: &str) -> String {
    format!(".{name}.brickyard")
}

/// What stands after that in the names of this process's own.
pub(crate) fn staged_mark() -> String {
    format!("-{}-", std::process::id())
}

/// Removes what was staged in a directory for `name`, but for names that contain `kept`.
pub(crate) fn sweep_staged(dir: &OwnedFd, name: &str, kept: Option<&str>) -> io::Result<()> {
    let prefix = staged_prefix(name);
    // The descriptor may be one that only names the directory.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listed = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
    for entry in rustix::fs::Dir::new(listed)? {
        let entry = entry?;
        let Ok(found) = entry.file_name().to_str() else { continue };
        let rest = found.strip_prefix(&prefix);
        if rest.is_some_and(|rest| !kept.is_some_and(|kept| rest.starts_with(kept))) {
            remove_if_there(dir, found)?;
        }
    }
    Ok(())
}

/// Entry of the hidden `__file` command; what went wrong is told on standard output.
pub fn file_main() -> i32 {
    match super::read_job::<FileJob>(3).and_then(|(job, contents)| change(&job, &contents)) {
        Ok(()) => 0,
        Err(err) => {
            let _ = write!(io::stdout(), "{err}");
            1
        }
    }
}

fn change(job: &FileJob, contents: &[u8]) -> io::Result<()> {
    let pidfd = job.target.open()?;
    enter(&pidfd, Join::Files).map_err(context("join the instance's namespaces"))?;
    process::become_user(0, 0, &[])?;
    process::close_to_others()?;
    // Joining took it away. What nobody waits for any more must not change anything.
    process::die_with_parent()?;
    if let FileStep::Sweep { dests, kept } = &job.step {
        return dests.iter().try_for_each(|dest| {
            let name = dest.file_name().unwrap_or_default();
            sweep_staged(&writable_dir(dest.parent().unwrap_or(dest))?, name, Some(kept))
        });
    }
    let parent = job.dest.parent().unwrap_or(Utf8Path::new("/"));
    let name = job.dest.file_name().unwrap_or_default();
    let staged = job.staged.file_name().unwrap_or_default();
    let dir = writable_dir(parent).map_err(context(format!("open `{parent}`")))?;
    match job.step {
        FileStep::Sweep { .. } => Ok(()),
        FileStep::Stage { mode, uid, gid } => stage(&dir, staged, contents, mode, (uid, gid)),
        FileStep::Place { mode, uid, gid } => {
            stage(&dir, staged, contents, mode, (uid, gid))?;
            Ok(rustix::fs::renameat(&dir, staged, &dir, name)?)
        }
        FileStep::Commit => Ok(rustix::fs::renameat(&dir, staged, &dir, name)?),
        FileStep::Discard => remove_if_there(&dir, staged),
    }
}

/// Writes a file that nobody reads yet. It need not reach the disk: after a power failure the
/// instance is started anew, with files written anew.
fn stage(
    dir: &OwnedFd,
    name: &str,
    contents: &[u8],
    mode: u32,
    (uid, gid): (u32, u32),
) -> io::Result<()> {
    remove_if_there(dir, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(mode);
    let fd = rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, mode)?;
    let mut file = File::from(fd);
    file.write_all(contents)?;
    rustix::fs::fchmod(&file, mode)?;
    Ok(rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

fn remove_if_there(dir: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Opens a directory inside so that it can be written to, even below a read-only root: there a
/// detached copy of the root mount gets its read-only flag cleared, for this process alone.
fn writable_dir(path: &Utf8Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let root = rustix::fs::openat(CWD, "/", flags, Mode::empty())?;
    let open = |root: &OwnedFd| -> io::Result<OwnedFd> {
        match open_within(root, path.as_std_path(), flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::NOENT) => {
                make_dirs(root, path)?;
                Ok(open_within(root, path.as_std_path(), flags, Mode::empty(), resolve)?)
            }
            other => Ok(other?),
        }
    };
    let plain = open(&root);
    let read_only = match &plain {
        Ok(dir) => {
            rustix::fs::fstatvfs(dir)?.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY)
        }
        Err(err) => err.kind() == ErrorKind::ReadOnlyFilesystem,
    };
    if !read_only {
        return plain;
    }
    if let Ok(dir) = &plain
        && mount_id(dir)? != mount_id(&root)?
    {
        return Err(io::Error::new(
            ErrorKind::ReadOnlyFilesystem,
            format!("`{path}` lies on a read-only volume"),
        ));
    }
    // With all mounts below it: volumes came from outside and may not be taken off.
    let copy = clone_tree(&root, "", true)?;
    set_attributes(&copy, Attributes { writable: true, ..Attributes::default() })?;
    open(&copy)
}

fn make_dirs(root: &OwnedFd, path: &Utf8Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut parent = open_within(root, ".", flags, Mode::empty(), resolve)?;
    let mut whole = Utf8PathBuf::from("/");
    for name in path.components().filter_map(|part| match part {
        camino::Utf8Component::Normal(name) => Some(name),
        _ => None,
    }) {
        whole.push(name);
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(err) => return Err(err.into()),
        }
        parent = open_within(root, whole.as_std_path(), flags, Mode::empty(), resolve)?;
    }
    Ok(())
}

/// Which mount an open file lies on.
pub(super) fn mount_id(fd: impl AsFd) -> io::Result<u64> {
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}
