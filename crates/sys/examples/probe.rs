//! Tries what a contained process must not be able to do, for the tests of containment.
//!
//! `probe ATTEMPT...` prints a line for each: `ok`, `ok VALUE` or the name of the error. An attempt
//! is a word with its arguments, divided by `:`. With `private` first, mounts made by the rest stay
//! in a mount namespace of their own: so the same attempts can be made outside, as root, to show
//! that they would succeed there. `probe CALL-NUMBERS` never reaches a call that stops a machine.

#![expect(unsafe_code, reason = "system calls are made as they are, with bad arguments too")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;

type Tried = io::Result<String>;

fn main() {
    for attempt in std::env::args().skip(1) {
        let words: Vec<&str> = attempt.split(':').collect();
        let line = match attempted(&words) {
            Ok(value) if value.is_empty() => "ok".to_owned(),
            Ok(value) => format!("ok {value}"),
            Err(err) => err.raw_os_error().map_or_else(|| err.to_string(), name_of),
        };
        // Whoever reads these lines may have gone.
        let _ = writeln!(io::stdout(), "{line}");
    }
}

/// Makes a system call with up to six arguments.
fn call(number: i64, arguments: &[i64]) -> io::Result<i64> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: pointers among the arguments come from `text` and from buffers of the caller that
    // outlive the call, or are null.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A C string that lives as long as this short process.
fn text(text: &str) -> i64 {
    let bytes: Vec<u8> = text.bytes().chain([0]).collect();
    bytes.leak().as_ptr() as i64
}

fn done(result: io::Result<i64>) -> Tried {
    result.map(|_| String::new())
}

fn attempted(words: &[&str]) -> Tried {
    mounts(words)
        .or_else(|| namespaces(words))
        .or_else(|| kernel(words))
        .or_else(|| processes(words))
        .or_else(|| sockets(words))
        .or_else(|| files(words))
        .unwrap_or_else(|| Err(io::Error::other(format!("unknown attempt {words:?}"))))
}

fn mounts(words: &[&str]) -> Option<Tried> {
    let none = text("none");
    Some(match words {
        ["private"] => done(call(libc::SYS_unshare, &[libc::CLONE_NEWNS.into()]).and_then(|_| {
            let flags = (libc::MS_REC | libc::MS_PRIVATE) as i64;
            call(libc::SYS_mount, &[none, text("/"), 0, flags])
        })),
        ["mount", kind, target] => {
            done(call(libc::SYS_mount, &[none, text(target), text(kind), 0, 0]))
        }
        ["mount", kind, target, options] => {
            done(call(libc::SYS_mount, &[none, text(target), text(kind), 0, text(options)]))
        }
        ["bind", source, target] => {
            done(call(libc::SYS_mount, &[text(source), text(target), 0, libc::MS_BIND as i64]))
        }
        ["remount", target] => {
            let flags = (libc::MS_REMOUNT | libc::MS_BIND) as i64;
            done(call(libc::SYS_mount, &[none, text(target), 0, flags]))
        }
        ["fsopen", kind] => done(call(libc::SYS_fsopen, &[text(kind), 0])),
        ["fsmount"] => done(call(libc::SYS_fsopen, &[text("tmpfs"), 0]).and_then(|fs| {
            // FSCONFIG_CMD_CREATE.
            call(libc::SYS_fsconfig, &[fs, 6, 0, 0, 0])?;
            call(libc::SYS_fsmount, &[fs, 0, 0])
        })),
        ["fsmount", "blind"] => done(call(libc::SYS_fsmount, &[-1, 0, 0])),
        ["fspick", path] => done(call(libc::SYS_fspick, &[libc::AT_FDCWD.into(), text(path), 0])),
        ["open_tree", path] => {
            let arguments = [libc::AT_FDCWD.into(), text(path), libc::OPEN_TREE_CLONE.into()];
            done(call(libc::SYS_open_tree, &arguments))
        }
        ["move_mount", from, to] => {
            let here = libc::AT_FDCWD.into();
            done(call(libc::SYS_move_mount, &[here, text(from), here, text(to), 0]))
        }
        ["mount_setattr", path] => {
            let clear = [0_u64, libc::MOUNT_ATTR_RDONLY, 0, 0];
            let arguments = [
                libc::AT_FDCWD.into(),
                text(path),
                0,
                clear.as_ptr() as i64,
                size_of_val(&clear) as i64,
            ];
            done(call(libc::SYS_mount_setattr, &arguments))
        }
        ["umount", path] => done(call(libc::SYS_umount2, &[text(path), libc::MNT_DETACH.into()])),
        ["pivot_root", new, old] => done(call(libc::SYS_pivot_root, &[text(new), text(old)])),
        ["chroot", path] => done(call(libc::SYS_chroot, &[text(path)])),
        // The old way out: stand outside of the own root, then climb.
        ["break-chroot", inner, wanted] => break_chroot(inner, wanted),
        ["swapon", path] => done(call(libc::SYS_swapon, &[text(path), 0])),
        ["quotactl"] => done(call(libc::SYS_quotactl, &[-1, 0, 0, 0])),
        _ => return None,
    })
}

fn break_chroot(inner: &str, wanted: &str) -> Tried {
    let outside = File::open("/")?;
    call(libc::SYS_chroot, &[text(inner)])?;
    call(libc::SYS_fchdir, &[outside.as_raw_fd().into()])?;
    for _ in 0..64 {
        std::env::set_current_dir("..")?;
    }
    call(libc::SYS_chroot, &[text(".")])?;
    std::fs::read_to_string(wanted).map(|text| text.trim().to_owned())
}

fn namespaces(words: &[&str]) -> Option<Tried> {
    Some(match words {
        ["unshare", name] => done(call(libc::SYS_unshare, &[flag_of(name)])),
        ["clone", name] => done(reaped(call(
            libc::SYS_clone,
            &[flag_of(name) | i64::from(libc::SIGCHLD), 0, 0, 0, 0],
        ))),
        ["clone3", name] => {
            let mut arguments = [0_u64; 8];
            arguments[0] = u64::try_from(flag_of(name)).unwrap_or(0);
            arguments[4] = libc::SIGCHLD as u64;
            let size = size_of_val(&arguments) as i64;
            done(reaped(call(libc::SYS_clone3, &[arguments.as_ptr() as i64, size])))
        }
        ["setns", path] => match File::open(path) {
            Ok(file) => done(call(libc::SYS_setns, &[file.as_raw_fd().into(), 0])),
            Err(err) => Err(err),
        },
        ["sethostname"] => done(call(libc::SYS_sethostname, &[text("changed"), 7])),
        ["setdomainname"] => done(call(libc::SYS_setdomainname, &[text("changed"), 7])),
        _ => return None,
    })
}

/// Ends the child at once, and waits for it in the parent.
fn reaped(pid: io::Result<i64>) -> io::Result<i64> {
    match pid? {
        // SAFETY: _exit touches no memory.
        0 => unsafe { libc::_exit(0) },
        pid => call(libc::SYS_wait4, &[pid, 0, 0, 0]),
    }
}

fn flag_of(name: &str) -> i64 {
    i64::from(match name {
        "user" => libc::CLONE_NEWUSER,
        "mount" => libc::CLONE_NEWNS,
        "pid" => libc::CLONE_NEWPID,
        "net" => libc::CLONE_NEWNET,
        "ipc" => libc::CLONE_NEWIPC,
        "uts" => libc::CLONE_NEWUTS,
        "cgroup" => libc::CLONE_NEWCGROUP,
        // CLONE_NEWTIME, which `clone` cannot make.
        "time" => 0x80,
        _ => 0,
    })
}

fn kernel(words: &[&str]) -> Option<Tried> {
    let map = [1_u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // A software clock event: type, size, configuration.
    let event: [u64; 16] = [1 | 128 << 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut zeros = [0_u8; 256];
    let zeros = zeros.as_mut_ptr() as i64;
    Some(match words {
        ["init_module"] => done(call(libc::SYS_init_module, &[zeros, 16, text("")])),
        ["finit_module"] => done(call(libc::SYS_finit_module, &[-1, text(""), 0])),
        ["delete_module"] => done(call(libc::SYS_delete_module, &[text("no such"), 0])),
        // KEYCTL_GET_KEYRING_ID of the process's own keyring, made if need be.
        ["keyctl"] => done(call(libc::SYS_keyctl, &[0, -2, 1])),
        ["add_key"] => {
            let arguments = [text("user"), text("probe"), text("secret"), 6, -2];
            done(call(libc::SYS_add_key, &arguments))
        }
        ["request_key"] => done(call(libc::SYS_request_key, &[text("user"), text("no"), 0, 0])),
        ["bpf"] => done(call(libc::SYS_bpf, &[0, map.as_ptr() as i64, size_of_val(&map) as i64])),
        ["perf_event_open"] => {
            done(call(libc::SYS_perf_event_open, &[event.as_ptr() as i64, 0, -1, -1, 0]))
        }
        ["userfaultfd"] => done(call(libc::SYS_userfaultfd, &[0])),
        ["io_uring_setup"] => done(call(libc::SYS_io_uring_setup, &[1, zeros])),
        // Flags that no kernel knows: nothing is ever loaded.
        ["kexec_load"] => done(call(libc::SYS_kexec_load, &[0, 0, 0, 0x7fff_0000])),
        // The wrong magic number: nothing ever happens.
        ["reboot"] => done(call(libc::SYS_reboot, &[1, 2, 3, 0])),
        ["settimeofday"] => done(call(libc::SYS_settimeofday, &[0, 0])),
        ["clock_settime"] => done(call(libc::SYS_clock_settime, &[0, 0])),
        ["adjtimex"] => done(call(libc::SYS_adjtimex, &[0])),
        ["acct", path] => done(call(libc::SYS_acct, &[text(path)])),
        // SYSLOG_ACTION_SIZE_BUFFER, which asks for the same right as reading.
        ["syslog"] => done(call(libc::SYS_syslog, &[10, 0, 0])),
        ["open_by_handle_at"] => done(call(libc::SYS_open_by_handle_at, &[-1, zeros, 0])),
        ["fanotify"] => done(call(libc::SYS_fanotify_init, &[0, 0])),
        ["personality", value] => {
            let value = i64::from_str_radix(value, 16).unwrap_or(0);
            done(call(libc::SYS_personality, &[value]))
        }
        ["newer-call"] => done(call(libc::SYS_fchmodat2 + 500, &[])),
        #[cfg(target_arch = "x86_64")]
        ["x32"] => done(call(0x4000_0000 + libc::SYS_getpid, &[])),
        #[cfg(target_arch = "x86_64")]
        ["int80"] => {
            let result: i64;
            // SAFETY: call 20 of the 32-bit table is getpid, which touches no memory.
            unsafe {
                std::arch::asm!("int 0x80", inout("rax") 20_i64 => result,
                    out("r8") _, out("r9") _, out("r10") _, out("r11") _);
            }
            Ok(if result > 0 { String::new() } else { format!("answered {result}") })
        }
        _ => return None,
    })
}

fn processes(words: &[&str]) -> Option<Tried> {
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    Some(match words {
        ["kill", pid] => done(call(libc::SYS_kill, &[number(pid), 0])),
        ["attach", pid] => {
            done(call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE.into(), number(pid), 0, 0]))
        }
        ["vm_readv", pid] => {
            let mut here = [0_u8; 8];
            let local = [here.as_mut_ptr() as u64, 8];
            let remote = [0x40_0000_u64, 8];
            let (local, remote) = (local.as_ptr() as i64, remote.as_ptr() as i64);
            done(call(libc::SYS_process_vm_readv, &[number(pid), local, 1, remote, 1, 0]))
        }
        ["pidfd_getfd"] => done(call(libc::SYS_pidfd_getfd, &[-1, 0, 0])),
        ["kcmp"] => {
            let own = i64::from(std::process::id());
            done(call(libc::SYS_kcmp, &[own, own, 0, 0, 0]))
        }
        ["setuid", id] => done(call(libc::SYS_setuid, &[number(id)])),
        // What a program with set-uid bit or file capabilities has become.
        ["rights"] => std::fs::read_to_string("/proc/self/status").map(|status| {
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or("?").split_whitespace().nth(1).unwrap_or("?").to_owned()
            };
            format!("{} {}", field("Uid:"), {
                let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
                line.unwrap_or("?").trim().to_owned()
            })
        }),
        ["forks"] => {
            let mut count = 0;
            // A thousand at most: outside this is harmless, inside the limit comes first.
            while count < 1000 {
                match call(libc::SYS_clone, &[libc::SIGCHLD.into(), 0, 0, 0, 0]) {
                    Ok(0) => {
                        std::thread::sleep(std::time::Duration::from_secs(60));
                        std::process::exit(0);
                    }
                    Ok(_) => count += 1,
                    Err(err) => {
                        let name = err.raw_os_error().map(name_of).unwrap_or_default();
                        return Some(Ok(format!("{count} {name}")));
                    }
                }
            }
            Ok(format!("{count} no end"))
        }
        // Races against every process that appears in this pid namespace.
        ["watch", count] => Ok(watch(number(count))),
        ["descriptors"] => descriptors(),
        _ => return None,
    })
}

/// Tries to get hold of each new process until it runs the program that it was made for, until so
/// many were met in time: what it got of them, or `nothing`.
fn watch(wanted: i64) -> String {
    let end = std::time::Instant::now() + WATCH_DEADLINE;
    let (mut met, mut caught) = (0, Vec::new());
    while met < wanted && std::time::Instant::now() < end {
        // Numbers go up by one: the next process is tried before it is there.
        let newest = newest_pid();
        for pid in newest.max(i64::from(std::process::id()) + 1)..newest + 3 {
            let mut is_met = false;
            while is_ours(pid) {
                is_met = true;
                for place in ["exe", "fd/1", "root", "mem", "environ"] {
                    let opened = File::open(format!("/proc/{pid}/{place}")).is_ok();
                    if opened && is_ours(pid) && !caught.contains(&place) {
                        caught.push(place);
                    }
                }
                if caught.contains(&"ptrace") {
                    continue;
                }
                if call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE.into(), pid, 0, 0]).is_ok() {
                    if is_ours(pid) {
                        caught.push("ptrace");
                    }
                    // It may have become a program of the container's just then.
                    let_go(pid);
                }
            }
            met += i64::from(is_met);
        }
    }
    let caught = if caught.is_empty() { "nothing".to_owned() } else { caught.join(" ") };
    format!("{} {caught}", if met >= wanted { "met" } else { "missed" })
}

/// Stops tracing a process, so that its own parent sees its end.
fn let_go(pid: i64) {
    let _ = call(libc::SYS_ptrace, &[libc::PTRACE_INTERRUPT.into(), pid, 0, 0]);
    let _ = call(libc::SYS_wait4, &[pid, 0, libc::__WALL.into(), 0]);
    let _ = call(libc::SYS_ptrace, &[libc::PTRACE_DETACH.into(), pid, 0, 0]);
}

/// How long helpers are watched for at most.
const WATCH_DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// The process made last in this pid namespace.
fn newest_pid() -> i64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().last().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Whether a process still runs the product's program.
fn is_ours(pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .is_ok_and(|name| name.starts_with("brickyard"))
}

/// Every open descriptor of this process but the one that lists them.
fn descriptors() -> Tried {
    let mut open = Vec::new();
    for number in 0..4096 {
        if let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{number}")) {
            open.push(format!("{number}={}", target.display()));
        }
    }
    Ok(open.join(" "))
}

fn sockets(words: &[&str]) -> Option<Tried> {
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    Some(match words {
        ["socket", family, kind, protocol] => {
            done(call(libc::SYS_socket, &[number(family), number(kind), number(protocol)]))
        }
        ["connect", address, port] => {
            let target = format!("{address}:{port}").parse().map_err(io::Error::other);
            target.and_then(|target| {
                let timeout = std::time::Duration::from_secs(3);
                std::net::TcpStream::connect_timeout(&target, timeout).map(|_| String::new())
            })
        }
        ["send-as", source, target] => send_as(source, target),
        ["abstract", name] => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
            address
                .and_then(|address| std::os::unix::net::UnixStream::connect_addr(&address))
                .map(|_| String::new())
        }
        // NETLINK_ROUTE: a request to bring the loopback down.
        ["link-down"] => link_down(),
        // AUDIT_GET, to be acknowledged.
        ["audit"] => netlink(9, &mut [16, 0, 0, 0, 0xe8, 3, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        _ => return None,
    })
}

/// Sends a datagram from an address that is not this machine's: binding to it is allowed to all by
/// `IP_FREEBIND`.
fn send_as(source: &str, target: &str) -> Tried {
    let bytes = |text: &str| -> io::Result<[u8; 16]> {
        let address: std::net::Ipv4Addr = text.parse().map_err(io::Error::other)?;
        let mut socket = [0_u8; 16];
        socket[0] = libc::AF_INET as u8;
        socket[2..4].copy_from_slice(&9_u16.to_be_bytes());
        socket[4..8].copy_from_slice(&address.octets());
        Ok(socket)
    };
    let fd = call(libc::SYS_socket, &[2, 2, 0])?;
    let one = 1_i32;
    let arguments = [fd, 0, libc::IP_FREEBIND.into(), (&raw const one) as i64, 4];
    call(libc::SYS_setsockopt, &arguments)?;
    let (source, target) = (bytes(source)?, bytes(target)?);
    call(libc::SYS_bind, &[fd, source.as_ptr() as i64, 16])?;
    done(call(libc::SYS_sendto, &[fd, source.as_ptr() as i64, 1, 0, target.as_ptr() as i64, 16]))
}

fn link_down() -> Tried {
    let mut message = [0_u8; 32];
    message[0] = 32;
    // RTM_NEWLINK as a request to be acknowledged; index 1; the change is "down".
    message[4] = 16;
    message[6] = 5;
    message[20] = 1;
    message[28] = 1;
    netlink(0, &mut message)
}

/// Sends one request to a part of the kernel, and says how it is acknowledged.
fn netlink(protocol: i64, message: &mut [u8]) -> Tried {
    let fd = call(libc::SYS_socket, &[16, 3, protocol])?;
    let length = message.len() as i64;
    call(libc::SYS_sendto, &[fd, message.as_mut_ptr() as i64, length, 0, 0, 0])?;
    let mut answer = [0_u8; 128];
    call(libc::SYS_recvfrom, &[fd, answer.as_mut_ptr() as i64, 128, 0, 0, 0])?;
    let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if code == 0 { Ok(String::new()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

fn files(words: &[&str]) -> Option<Tried> {
    Some(match words {
        ["read", path] => File::open(path).and_then(|mut file| {
            let mut buffer = [0; 64];
            let count = file.read(&mut buffer)?;
            let text = String::from_utf8_lossy(&buffer[..count]);
            Ok(text.lines().next().unwrap_or_default().to_owned())
        }),
        // Opens it to write and writes nothing.
        ["write", path] => OpenOptions::new().write(true).open(path).map(|_| String::new()),
        ["store", path, what] => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(what.as_bytes()))
            .map(|()| String::new()),
        ["create", path] => OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .map(|_| String::new()),
        ["mkdir", path] => std::fs::create_dir(path).map(|()| String::new()),
        ["chmod", path, mode] => {
            let mode = i64::from_str_radix(mode, 8).unwrap_or(0);
            done(call(libc::SYS_fchmodat, &[libc::AT_FDCWD.into(), text(path), mode]))
        }
        ["mknod", kind, path, major, minor] => {
            let kind = if *kind == "block" { libc::S_IFBLK } else { libc::S_IFCHR };
            let part = |text: &str| text.parse().unwrap_or(0);
            let device = libc::makedev(part(major), part(minor));
            let here = libc::AT_FDCWD.into();
            let arguments = [here, text(path), i64::from(kind | 0o666), device as i64];
            done(call(libc::SYS_mknodat, &arguments))
        }
        // Which program this process runs, opened to write: by itself, and by another name of it.
        ["rewrite-self"] => {
            let file = File::open("/proc/self/exe").map(IntoRawFd::into_raw_fd);
            file.and_then(|fd| OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}")))
                .map(|_| String::new())
        }
        // Types a line into the terminal that is this process's standard input.
        ["type"] => {
            let typed = b'!';
            done(call(libc::SYS_ioctl, &[0, libc::TIOCSTI as i64, (&raw const typed) as i64]))
        }
        ["take-terminal"] => {
            let _ = call(libc::SYS_setsid, &[]);
            done(call(libc::SYS_ioctl, &[0, libc::TIOCSCTTY as i64, 0]))
        }
        ["is-terminal", number] => {
            let mut size = [0_u16; 4];
            let fd = number.parse().unwrap_or(-1);
            done(call(libc::SYS_ioctl, &[fd, libc::TIOCGWINSZ as i64, size.as_mut_ptr() as i64]))
        }
        ["crash"] => std::process::abort(),
        _ => return None,
    })
}

fn name_of(code: i32) -> String {
    let known = [
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::ESRCH, "ESRCH"),
        (libc::EIO, "EIO"),
        (libc::ENXIO, "ENXIO"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::EACCES, "EACCES"),
        (libc::EFAULT, "EFAULT"),
        (libc::EBUSY, "EBUSY"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENOTTY, "ENOTTY"),
        (libc::ETXTBSY, "ETXTBSY"),
        (libc::EROFS, "EROFS"),
        (libc::ENOSYS, "ENOSYS"),
        (libc::ENOEXEC, "ENOEXEC"),
        (libc::ENOKEY, "ENOKEY"),
        (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
        (libc::EPROTONOSUPPORT, "EPROTONOSUPPORT"),
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::EHOSTUNREACH, "EHOSTUNREACH"),
        (libc::ETIMEDOUT, "ETIMEDOUT"),
    ];
    let name = known.iter().find(|(known, _)| *known == code).map(|(_, name)| *name);
    name.map_or_else(|| format!("errno {code}"), str::to_owned)
}
