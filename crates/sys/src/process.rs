//! Forks, ids and waits of single-threaded workers.

use std::ffi::CString;
use std::io::{self, Read, Write};

use crate::command::check;

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one, with the child's pid.
    Parent(i32),
}

/// Forks. The caller is single-threaded, so the child may run ordinary code.
///
/// # Errors
/// As `fork(2)`, and when this process has more than one thread.
pub fn fork() -> io::Result<Fork> {
    // A worker that has joined a foreign pid namespace does not see itself in /proc.
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(io::Error::other("fork in a process with several threads"));
    }
    // SAFETY: checked above: no other thread exists that could hold a lock in the child.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends this process without running anything more.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// How a child ended: exit code, or 128 + signal.
fn code_of(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// Waits for a child and returns its exit code, or 128 + signal; -1 when it is no child.
#[must_use = "the exit code tells whether the child did its work"]
pub fn wait(pid: i32) -> i32 {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives across the call.
        match check(unsafe { libc::waitpid(pid, &raw mut status, 0) }) {
            Ok(_) => return code_of(status),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return -1,
        }
    }
}

/// Does `work` in a child, so that what it changes of the process stays there, and waits for it.
/// The caller is single-threaded.
///
/// # Errors
/// What `work` answered, as text; or as `fork(2)`.
pub fn in_child(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    let child = match fork()? {
        Fork::Child => {
            drop(reader);
            let code = match work() {
                Ok(()) => 0,
                Err(err) => {
                    let _ = writer.write_all(err.to_string().as_bytes());
                    1
                }
            };
            exit_now(code)
        }
        Fork::Parent(child) => child,
    };
    drop(writer);
    let mut reason = String::new();
    let read = reader.read_to_string(&mut reason);
    match (wait(child), read?) {
        (0, _) => Ok(()),
        (code, 0) => Err(io::Error::other(format!("a child ended with {code}"))),
        _ => Err(io::Error::other(reason)),
    }
}

/// Waits for a child whose exit code does not matter.
pub fn reap(pid: i32) {
    let _ = wait(pid);
}

/// The pid and code of a child that has ended, if any has.
#[must_use]
pub fn try_wait_any() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` lives across the call.
    let pid = check(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) }).ok()?;
    (pid > 0).then(|| (pid, code_of(status)))
}

/// Becomes another user for good: groups, group and user.
///
/// # Errors
/// As `setgroups(2)`, `setresgid(2)` and `setresuid(2)`.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the slice's pointer and length belong together; the calls change credentials only.
    unsafe {
        check(libc::setgroups(groups.len(), groups.as_ptr()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
    }
    Ok(())
}

/// Keeps permitted capabilities across [`become_user`].
///
/// # Errors
/// As `prctl(2)`.
pub fn keep_capabilities() -> io::Result<()> {
    // SAFETY: prctl with plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }).map(drop)
}

/// Closes this process's memory, descriptors and directories in `/proc` to all but the machine's
/// root, until it runs another program or changes its user.
///
/// # Errors
/// As `prctl(2)`.
pub fn close_to_others() -> io::Result<()> {
    // SAFETY: prctl with plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// Has this process killed when its parent ends.
///
/// # Errors
/// As `prctl(2)`.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: prctl with plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }).map(drop)
}

/// Takes [`die_with_parent`] back.
///
/// # Errors
/// As `prctl(2)`.
pub fn outlive_parent() -> io::Result<()> {
    // SAFETY: prctl with plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) }).map(drop)
}

/// Sets capability sets of this process: `permitted` becomes permitted and effective, `bounding`
/// is what may ever be gained; inheritable and ambient are cleared.
///
/// # Errors
/// As `capset(2)`.
pub fn set_bounding(kept: u64) -> io::Result<()> {
    for capability in 0..64 {
        if kept & (1 << capability) == 0 {
            // SAFETY: prctl with plain numbers; an unknown capability gives EINVAL.
            let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            if result < 0 {
                let err = io::Error::last_os_error();
                if err.raw_os_error() == Some(libc::EINVAL) {
                    break;
                }
                return Err(err);
            }
        }
    }
    Ok(())
}

/// Replaces this process by a program, looked up in `PATH` of `environment`.
///
/// # Errors
/// Always: it only returns when the program could not be started.
pub fn exec(argv: &[String], environment: &[(String, String)]) -> io::Error {
    let text = |bytes: &str| CString::new(bytes).unwrap_or_default();
    let arguments: Vec<CString> = argv.iter().map(|argument| text(argument)).collect();
    let variables: Vec<CString> =
        environment.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect();
    let pointers = |list: &[CString]| {
        let mut pointers: Vec<_> = list.iter().map(|item| item.as_ptr()).collect();
        pointers.push(std::ptr::null());
        pointers
    };
    let (argument_pointers, variable_pointers) = (pointers(&arguments), pointers(&variables));
    let path = environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    default_signals();
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates(argv.first().map_or("", String::as_str), path) {
        let candidate = text(&candidate);
        // SAFETY: all three are valid, null-terminated arrays of C strings that outlive the call.
        unsafe {
            libc::execve(
                candidate.as_ptr(),
                argument_pointers.as_ptr(),
                variable_pointers.as_ptr(),
            );
        }
        let err = io::Error::last_os_error();
        if !matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
            last = err;
        }
    }
    last
}

/// Gives up what a program would inherit of this process's signals, and of its callers': Rust's
/// runtime ignores SIGPIPE, and a `yes | head` would never end.
fn default_signals() {
    /// The kernel's `struct sigaction`, which has four words; all zero is the default action.
    const DEFAULT: [usize; 4] = [0; 4];
    /// Bytes of the kernel's signal set.
    const SET_BYTES: usize = 8;
    for signal in 1..=64 {
        // SAFETY: the action is as large as the kernel reads and lives across the call; the former one
        // is not asked for.
        // JUSTIFICATION: the C library refuses the two signals that it keeps for itself.
        unsafe {
            let none = std::ptr::null_mut::<usize>();
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), none, SET_BYTES);
        }
    }
    // SAFETY: an all-zero set is made valid by sigemptyset, and is only read afterwards.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    path.split(':')
        .filter(|directory| !directory.is_empty())
        .map(|directory| format!("{directory}/{program}"))
        .collect()
}

/// Sends a signal to a process.
///
/// # Errors
/// As `kill(2)`.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes plain numbers; positive pids only, so that no group is ever meant.
    if pid <= 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: as above.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Installs a handler that only interrupts waits, for `signals`, and returns the last one seen.
#[must_use]
pub fn interrupted_by() -> i32 {
    LAST_SIGNAL.swap(0, std::sync::atomic::Ordering::SeqCst)
}

static LAST_SIGNAL: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

/// Ignores a signal from now on; programs that are run later ignore it, too.
///
/// # Errors
/// As `sigaction(2)`.
pub fn ignore_signal(signal: i32) -> io::Result<()> {
    // SAFETY: SIG_IGN runs no code; the zeroed sigaction is a valid value.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_IGN;
        check(libc::sigaction(signal, &raw const action, std::ptr::null_mut()))?;
    }
    Ok(())
}

extern "C" fn remember(signal: libc::c_int) {
    LAST_SIGNAL.store(signal, std::sync::atomic::Ordering::SeqCst);
}

/// Remembers these signals for [`interrupted_by`] instead of dying of them.
///
/// # Errors
/// As `sigaction(2)`.
pub fn remember_signals(signals: &[i32]) -> io::Result<()> {
    for signal in signals {
        // SAFETY: the handler only stores to an atomic; the zeroed sigaction is a valid value.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = remember as *const () as usize;
            check(libc::sigaction(*signal, &raw const action, std::ptr::null_mut()))?;
        }
    }
    Ok(())
}

/// Waits, within an async runtime, until the process behind a pidfd has ended.
///
/// # Errors
/// When the descriptor cannot be watched.
pub async fn ended(pidfd: std::os::fd::OwnedFd) -> io::Result<()> {
    use tokio::io::{Interest, unix::AsyncFd};
    // SAFETY: an owned descriptor stays the same open file as long as it lives, and it lives in
    // the value made here. JUSTIFICATION: tokio has deprecated its safe way.
    let fd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
    fd.readable().await.map(drop)
}

/// The number of a signal named with or without `SIG`, or given as a number.
#[must_use]
pub fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    SIGNALS.iter().find(|(known, _)| *known == bare).map(|(_, number)| *number)
}

const SIGNALS: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ABRT", libc::SIGABRT),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("RTMIN", 34),
];
