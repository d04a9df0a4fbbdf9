//! System calls that no container makes: mounts, namespaces, modules, keys, tracing, clocks.

use super::{Cell, outside};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_mounted_by_any_call() {
    let cell = Cell::new().await;
    cell.contains(&[
        ("mount:tmpfs:/mnt", "EPERM", "ok"),
        ("mount:proc:/mnt", "EPERM", "ok"),
        ("mount:sysfs:/mnt", "EPERM", "ok"),
        ("mount:devtmpfs:/mnt", "EPERM", "ok"),
        ("bind:/etc:/mnt", "EPERM", "ok"),
        ("fsopen:tmpfs", "EPERM", "ok"),
        ("fsmount", "EPERM", "ok"),
        ("fsmount:blind", "EPERM", "EBADF"),
        ("fspick:/", "EPERM", "ok"),
        ("open_tree:/", "EPERM", "ok"),
        ("move_mount:/mnt:/tmp", "EPERM", "EINVAL"),
    ])
    .await;
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_masked_or_read_only_stays_so() {
    let cell = Cell::new().await;
    cell.contains(&[
        ("umount:/proc/kcore", "EPERM", "EINVAL|ENOENT"),
        ("umount:/proc/sys", "EPERM", "EINVAL"),
        ("umount:/sys", "EPERM", "ok|EBUSY"),
        ("remount:/proc/sys", "EPERM", "EINVAL"),
        ("remount:/sys", "EPERM", "ok"),
        ("mount_setattr:/proc/sys", "EPERM", "EINVAL"),
        ("mount_setattr:/sys", "EPERM", "ok"),
    ])
    .await;
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_root_directory_leads_nowhere() {
    let cell = Cell::new().await;
    cell.contains(&[("pivot_root:/mnt:/mnt", "EPERM", "EINVAL|EBUSY")]).await;
    // `chroot` is allowed. The old way out of it ends at the container's own root.
    let secret = cell.bench.root.join("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let attempt = format!("break-chroot:/mnt:{secret}");
    assert_eq!(cell.inside(&[&attempt]).await, ["ENOENT"]);
    assert_eq!(outside(&[&attempt]), ["ok of the host"]);
    assert_eq!(cell.inside(&["break-chroot:/mnt:/etc/hostname"]).await, ["ok test"]);
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_namespaces_are_made_or_entered() {
    let cell = Cell::new().await;
    cell.contains(&[
        ("unshare:user", "EPERM", "ok"),
        ("unshare:mount", "EPERM", "ok"),
        ("unshare:pid", "EPERM", "ok"),
        ("unshare:net", "EPERM", "ok"),
        ("unshare:ipc", "EPERM", "ok"),
        ("unshare:uts", "EPERM", "ok"),
        ("unshare:cgroup", "EPERM", "ok"),
        ("unshare:time", "EPERM", "ok"),
        ("clone:user", "EPERM", "ok"),
        ("clone:mount", "EPERM", "ok"),
        ("clone:pid", "EPERM", "ok"),
        ("clone:net", "EPERM", "ok"),
        ("clone:ipc", "EPERM", "ok"),
        ("clone:uts", "EPERM", "ok"),
        ("clone:cgroup", "EPERM", "ok"),
        ("clone3:user", "ENOSYS", "ok"),
        ("setns:/proc/self/ns/net", "EPERM", "ok"),
        // A process without namespaces of its own, by the call that C libraries fall back to.
        ("clone:none", "ok", "ok"),
    ])
    .await;
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_code_is_loaded_into_the_kernel() {
    let cell = Cell::new().await;
    // What outside says depends on what the kernel was built with; never that it is not permitted.
    cell.contains(&[
        ("init_module", "EPERM", "!EPERM"),
        ("finit_module", "EPERM", "!EPERM"),
        ("delete_module", "EPERM", "!EPERM"),
        ("kexec_load", "EPERM", "!EPERM"),
        ("bpf", "EPERM", "ok"),
    ])
    .await;
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_with_a_history_of_holes_are_refused() {
    let cell = Cell::new().await;
    cell.contains(&[
        ("keyctl", "EPERM", "ok"),
        ("add_key", "EPERM", "ok"),
        ("request_key", "EPERM", "ENOKEY|ENOENT"),
        ("perf_event_open", "EPERM", "!EPERM"),
        ("userfaultfd", "EPERM", "ok"),
        ("io_uring_setup", "EPERM", "!EPERM"),
        ("open_by_handle_at", "EPERM", "EBADF|EINVAL"),
        ("fanotify", "EPERM", "ok"),
        ("quotactl", "EPERM", "!EPERM"),
    ])
    .await;
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_is_not_stopped_renamed_or_set() {
    let cell = Cell::new().await;
    // Each call is made with arguments that can have no effect; names change in a namespace alone.
    cell.contains(&[
        ("reboot", "EPERM", "EINVAL"),
        ("swapon:/no/such/file", "EPERM", "ENOENT"),
        ("acct:/no/such/file", "EPERM", "ENOENT|ENOSYS"),
        ("syslog", "EPERM", "ok"),
        ("settimeofday", "EPERM", "ok"),
        ("clock_settime", "EPERM", "EFAULT"),
        ("adjtimex", "EPERM", "EFAULT"),
        ("unshare:uts sethostname", "EPERM", "ok"),
        ("unshare:uts setdomainname", "EPERM", "ok"),
    ])
    .await;
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_architectures_and_personalities_are_no_way_around() {
    let cell = Cell::new().await;
    cell.contains(&[
        ("personality:ffffffff", "ok", "ok"),
        // Without address randomisation, and with executable everything.
        ("personality:40000", "EPERM", "ok"),
        ("personality:400000", "EPERM", "ok"),
        ("newer-call", "ENOSYS", "ENOSYS"),
    ])
    .await;
    if cfg!(target_arch = "x86_64") {
        assert_eq!(cell.inside(&["x32"]).await, ["ENOSYS"]);
        // The filter's answer to the 32-bit table is SIGSYS, before the kernel looks at the call.
        let (code, output) = cell.run(&["/probe", "int80"], "").await;
        assert_eq!(code, 128 + 31, "{output}");
    }
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rare_and_raw_sockets_are_not_made() {
    let cell = Cell::new().await;
    cell.contains(&[
        // What every program may: unix, IPv4, IPv6, netlink.
        ("socket:1:1:0", "ok", "ok"),
        ("socket:2:1:0", "ok", "ok"),
        ("socket:10:2:0", "ok", "ok|EAFNOSUPPORT"),
        ("socket:16:3:0", "ok", "ok"),
        ("socket:2:3:1", "EPERM", "ok"),
        ("socket:17:3:0", "EPERM", "ok"),
        // Virtual machines, the kernel's cryptography (CVE-2026-31431), TIPC, RDS, X.25: whether a
        // kernel has them is its own affair.
        ("socket:40:1:0", "EAFNOSUPPORT", "*"),
        ("socket:38:5:0", "EAFNOSUPPORT", "*"),
        ("socket:30:1:0", "EAFNOSUPPORT", "*"),
        ("socket:21:5:0", "EAFNOSUPPORT", "*"),
        ("socket:9:5:0", "EAFNOSUPPORT", "*"),
        ("unshare:net link-down", "EPERM", "ok"),
        ("audit", "ECONNREFUSED|EPERM|EPROTONOSUPPORT", "*"),
    ])
    .await;
    cell.end().await;
}
