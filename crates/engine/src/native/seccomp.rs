//! The system call filter: an allow-list with the shape of other engines' default profile, made
//! with seccompiler (pure Rust: 1 ms a start, where libseccomp takes 17 ms).
//!
//! What is not listed fails with EPERM; a call of a foreign architecture kills the process. A
//! second filter, written by hand because it has several answers, refuses as a kernel would that
//! lacks the thing: `clone3` with ENOSYS, because its flags lie in memory where a filter cannot
//! look (C libraries then use `clone`, whose flags can be judged); calls that are newer than the
//! list with ENOSYS, too; sockets of families that no service needs with EAFNOSUPPORT.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// How many filters [`programs`] makes.
pub(crate) const FILTER_COUNT: u64 = 2;

macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// Calls that every instance may use.
const ALLOWED: &[(&str, i64)] = calls! {
    SYS_accept SYS_accept4 SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_getres
    SYS_clock_gettime SYS_clock_nanosleep SYS_clone3 SYS_close SYS_close_range SYS_connect
    SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait
    SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_faccessat
    SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchmodat2
    SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock
    SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex
    SYS_futex_waitv SYS_get_robust_list SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid
    SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid
    SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrlimit
    SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid
    SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_io_cancel
    SYS_io_destroy SYS_io_getevents SYS_io_setup SYS_io_submit SYS_ioctl SYS_ioprio_get
    SYS_ioprio_set SYS_kill SYS_landlock_add_rule SYS_landlock_create_ruleset
    SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr
    SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier SYS_memfd_create
    SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect
    SYS_mq_getsetattr SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink
    SYS_mremap SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall
    SYS_munmap SYS_name_to_handle_at SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2
    SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect
    SYS_ppoll SYS_prctl SYS_pread64 SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease
    SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead
    SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_remap_file_pages
    SYS_removexattr SYS_renameat SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction
    SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend
    SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max
    SYS_sched_get_priority_min SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam
    SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr
    SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget
    SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_set_robust_list
    SYS_set_tid_address SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer
    SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid
    SYS_setrlimit SYS_setsid SYS_setsockopt SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt
    SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socketpair SYS_splice SYS_statfs
    SYS_statx SYS_symlinkat SYS_sync SYS_sync_file_range SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill
    SYS_timer_create SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime
    SYS_timerfd_create SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate
    SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice SYS_wait4 SYS_waitid SYS_write
    SYS_writev
};

/// Calls that only older architectures have.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[(&str, i64)] = calls! {
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create
    SYS_epoll_ctl_old SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat
    SYS_get_thread_area SYS_getdents SYS_getpgrp SYS_inotify_init SYS_lchown SYS_link SYS_lstat
    SYS_mkdir SYS_mknod SYS_modify_ldt SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink
    SYS_rename SYS_rmdir SYS_select SYS_set_thread_area SYS_signalfd SYS_stat SYS_symlink SYS_time
    SYS_unlink SYS_utime SYS_utimes SYS_vfork
};
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[(&str, i64)] = &[];

/// Calls that a capability brings with it.
const BY_CAPABILITY: &[(&str, &[(&str, i64)])] = &[
    ("DAC_READ_SEARCH", calls! { SYS_open_by_handle_at }),
    (
        "SYS_ADMIN",
        calls! {
            SYS_bpf SYS_clone SYS_fanotify_init SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick
            SYS_lookup_dcookie SYS_mount SYS_mount_setattr SYS_move_mount SYS_open_tree
            SYS_perf_event_open SYS_pivot_root SYS_quotactl SYS_setdomainname SYS_sethostname
            SYS_setns SYS_syslog SYS_umount2 SYS_unshare
        },
    ),
    ("SYS_BOOT", calls! { SYS_reboot }),
    ("SYS_CHROOT", calls! { SYS_chroot }),
    ("SYS_MODULE", calls! { SYS_delete_module SYS_init_module SYS_finit_module }),
    ("SYS_PACCT", calls! { SYS_acct }),
    (
        "SYS_PTRACE",
        calls! { SYS_kcmp SYS_pidfd_getfd SYS_process_madvise SYS_process_vm_readv
        SYS_process_vm_writev },
    ),
    ("SYS_TIME", calls! { SYS_adjtimex SYS_clock_adjtime SYS_clock_settime SYS_settimeofday }),
    ("SYS_TTY_CONFIG", calls! { SYS_vhangup }),
    ("SYS_NICE", calls! { SYS_get_mempolicy SYS_mbind SYS_set_mempolicy }),
    ("SYSLOG", calls! { SYS_syslog }),
    ("BPF", calls! { SYS_bpf }),
    ("PERFMON", calls! { SYS_perf_event_open }),
];

/// Flags of `clone` that make namespaces.
const CLONE_NAMESPACES: u64 = 0x7E02_0000;
/// `personality` values that every program may ask for: Linux, Linux32, both with the version
/// number of 2.6, and the query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Families of sockets that every instance may make: unix, IPv4, IPv6, netlink, packet (which asks
/// for a capability of its own). The kernel loads modules for others when they are first asked for,
/// and some lead around namespaces (virtual machine sockets) or write into pages that instances
/// share (the kernel's cryptography, CVE-2026-31431).
const FAMILIES: [u32; 5] = [1, 2, 10, 16, 17];
/// The newest call that the list was made with: `fchmodat2` came into Linux 6.6, and the numbers
/// are the same on all architectures from 424 on.
const NEWEST: u32 = libc::SYS_fchmodat2 as u32;
/// Where `struct seccomp_data` has the call's number.
const NUMBER_OFFSET: u32 = 0;
/// Where it has the lower half of the first argument, on machines with the lower half first.
const FIRST_ARGUMENT_OFFSET: u32 = 16;

/// The filters for an instance with these capabilities, in the order in which they are installed.
pub(crate) fn programs(capabilities: &[&str]) -> io::Result<Vec<BpfProgram>> {
    let arch: TargetArch =
        std::env::consts::ARCH.try_into().map_err(|err| io::Error::other(format!("{err}")))?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut lists = vec![ALLOWED, ALLOWED_HERE];
    lists.extend(
        BY_CAPABILITY
            .iter()
            .filter(|(capability, _)| capabilities.contains(capability))
            .map(|(_, calls)| *calls),
    );
    for (_, number) in lists.into_iter().flatten() {
        rules.insert(*number, Vec::new());
    }
    rules.entry(libc::SYS_clone).or_insert(vec![rule(
        0,
        SeccompCmpOp::MaskedEq(CLONE_NAMESPACES),
        0,
    )?]);
    let personalities: io::Result<_> =
        PERSONALITIES.iter().map(|value| rule(0, SeccompCmpOp::Eq, *value)).collect();
    rules.insert(libc::SYS_personality, personalities?);
    // Which families, the second filter says.
    rules.insert(libc::SYS_socket, Vec::new());
    Ok(vec![compile(rules, arch)?, answers()])
}

/// The second filter. Of two refusals the kernel takes the one installed last, so these win over
/// the first filter's EPERM; that one looks at the architecture for both.
fn answers() -> BpfProgram {
    let statement = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let load = |offset| statement((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, offset);
    let answer = |value| statement((libc::BPF_RET | libc::BPF_K) as u16, value);
    let refuse = |errno: i32| answer(libc::SECCOMP_RET_ERRNO | errno as u32);
    // Leaps over so many of the following instructions where it does not hold.
    let unless = |compare: u32, k: u32, skipped: u8| sock_filter {
        code: (libc::BPF_JMP | compare | libc::BPF_K) as u16,
        jt: 0,
        jf: skipped,
        k,
    };
    let mut program = vec![
        load(NUMBER_OFFSET),
        unless(libc::BPF_JEQ, libc::SYS_clone3 as u32, 1),
        refuse(libc::ENOSYS),
        unless(libc::BPF_JGT, NEWEST, 1),
        refuse(libc::ENOSYS),
        unless(libc::BPF_JEQ, libc::SYS_socket as u32, 2 + 2 * FAMILIES.len() as u8),
        load(FIRST_ARGUMENT_OFFSET),
    ];
    for family in FAMILIES {
        program.extend([unless(libc::BPF_JEQ, family, 1), answer(libc::SECCOMP_RET_ALLOW)]);
    }
    program.extend([refuse(libc::EAFNOSUPPORT), answer(libc::SECCOMP_RET_ALLOW)]);
    program
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(io::Error::other)
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, arch: TargetArch) -> io::Result<BpfProgram> {
    let eperm = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, eperm, SeccompAction::Allow, arch)
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)
}

/// Installs the filters on the calling thread.
pub(crate) fn install(programs: &[BpfProgram]) -> io::Result<()> {
    programs.iter().try_for_each(|program| {
        seccompiler::apply_filter(program).map_err(|err| io::Error::other(err.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dangerous_calls_are_only_there_with_their_capability() {
        let plain: Vec<i64> = ALLOWED.iter().chain(ALLOWED_HERE).map(|(_, n)| *n).collect();
        for number in [
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_userfaultfd,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_init_module,
            libc::SYS_kexec_load,
            libc::SYS_io_uring_setup,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_open_by_handle_at,
        ] {
            assert!(!plain.contains(&number), "{number}");
        }
    }

    #[test]
    fn filters_are_made_for_every_capability_set() {
        assert_eq!(programs(&[]).unwrap().len() as u64, FILTER_COUNT);
        let with_admin = programs(&["SYS_ADMIN"]).unwrap();
        assert!(with_admin[0].len() > 100);
    }

    #[test]
    fn the_list_has_nothing_that_is_newer_than_it_says() {
        let all = ALLOWED.iter().chain(ALLOWED_HERE);
        let all = all.chain(BY_CAPABILITY.iter().flat_map(|(_, calls)| *calls));
        for (name, number) in all {
            assert!(*number <= i64::from(NEWEST), "{name}");
        }
    }
}
