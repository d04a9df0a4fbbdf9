//! Files of the kernel: what would change or show the machine.

use super::{Cell, outside};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_kernel_are_not_written() {
    let cell = Cell::new().await;
    // Opened alone; nothing is written outside.
    cell.contains(&[
        ("write:/proc/sysrq-trigger", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
        ("write:/proc/sys/kernel/core_pattern", "EACCES|EROFS", "ok"),
        ("write:/proc/sys/kernel/modprobe", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
        ("write:/proc/sys/kernel/hostname", "EACCES|EROFS", "ok"),
        ("write:/proc/sys/kernel/sysrq", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
        ("write:/proc/sys/kernel/ns_last_pid", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
        ("write:/proc/sys/vm/drop_caches", "EACCES|EROFS", "ok"),
        ("write:/proc/sys/vm/overcommit_memory", "EACCES|EROFS", "ok"),
        ("write:/proc/sys/fs/file-max", "EACCES|EROFS", "ok"),
        ("write:/proc/sys/fs/suid_dumpable", "EACCES|EROFS", "ok"),
        ("write:/proc/sys/net/ipv4/ip_forward", "EACCES|EROFS", "ok"),
        ("write:/proc/irq/default_smp_affinity", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
    ])
    .await;
    // Nothing inside is spared when memory runs out. Outside root may only have the right to that.
    for process in ["self", "1"] {
        let attempt = format!("store:/proc/{process}/oom_score_adj:-1000");
        assert_eq!(cell.inside(&[&attempt]).await, ["EACCES"], "{attempt}");
    }
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machines_secrets_are_not_read() {
    let cell = Cell::new().await;
    // Masked files are there and empty.
    cell.contains(&[
        ("read:/proc/kcore", "ok|ENOENT", "!ok"),
        ("read:/proc/timer_list", "ok|ENOENT", "!ok"),
        ("read:/proc/interrupts", "ok|ENOENT", "!ok"),
        ("read:/proc/keys", "ok|ENOENT", "*"),
        ("read:/proc/vmallocinfo", "EACCES|EPERM|ENOENT", "!EACCES"),
        ("read:/proc/slabinfo", "EACCES|EPERM|ENOENT", "!EACCES"),
        ("read:/proc/kpagecount", "EACCES|EPERM|ENOENT", "!EACCES"),
        ("read:/proc/pagetypeinfo", "EACCES|EPERM|ENOENT", "!EACCES"),
        ("write:/proc/kmsg", "EACCES|EPERM|EROFS", "*"),
    ])
    .await;
    for path in ["/proc/latency_stats", "/proc/sched_debug", "/proc/timer_stats", "/proc/scsi"] {
        let seen = cell.sh(&format!("ls {path}/* 2>&1; cat {path} 2>&1")).await;
        let nothing =
            seen.lines().all(|line| line.contains("No such") || line.contains("Is a dir"));
        assert!(nothing, "{path}: {seen}");
    }
    // The addresses of the kernel's functions, as far as there is a file of them.
    let symbols = cell.inside(&["read:/proc/kallsyms"]).await;
    assert!(
        symbols[0].starts_with("ok 0000000000000000 ") || symbols[0] == "ENOENT",
        "{symbols:?}"
    );
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_devices_tree_is_read_only_and_without_secrets() {
    let cell = Cell::new().await;
    cell.contains(&[
        ("write:/sys/power/state", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
        ("write:/sys/kernel/uevent_helper", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
        ("write:/sys/kernel/profiling", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
        ("write:/sys/kernel/mm/ksm/run", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
        ("write:/sys/kernel/mm/transparent_hugepage/enabled", "EACCES|EROFS|ENOENT", "ok|ENOENT"),
        ("write:/sys/kernel/rcu_expedited", "EACCES|EROFS", "ok"),
    ])
    .await;
    for directory in [
        "/sys/firmware",
        "/sys/kernel/debug",
        "/sys/kernel/tracing",
        "/sys/kernel/security",
        "/sys/fs/bpf",
        "/sys/fs/cgroup",
        "/sys/fs/pstore",
        "/sys/devices/virtual/powercap",
    ] {
        let seen = cell.sh(&format!("ls {directory} 2>&1")).await;
        assert!(seen.is_empty() || seen.contains("No such file"), "{directory}: {seen}");
    }
    cell.end().await;
}

/// A control group's `release_agent` runs a program on the machine, as root: no hierarchy can be
/// mounted, none is there, and the container's own is out of its sight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_groups_are_no_way_out() {
    let cell = Cell::new().await;
    cell.contains(&[("mount:cgroup2:/mnt", "EPERM", "ok"), ("fsopen:cgroup2", "EPERM", "ok")])
        .await;
    let legacy = ["mount:cgroup:/mnt:memory", "mount:cgroup:/mnt:none,name=probe"];
    assert_eq!(cell.inside(&legacy).await, ["EPERM", "EPERM"]);
    let made = cell.inside(&["mkdir:/sys/fs/cgroup/probe"]).await;
    assert!(["EPERM", "EROFS", "EACCES", "ENOENT"].contains(&&*made[0]), "{made:?}");
    let found = "find / -name release_agent -o -name notify_on_release -o -name cgroup.procs";
    let found = cell.run(&["/bin/busybox", "sh", "-c", &format!("{found} 2>/dev/null")], "").await;
    assert_eq!(found.1, "");
    let groups = cell.sh("cat /proc/self/cgroup").await;
    let own = cell.bench.key.to_string();
    assert!(!groups.contains(&own), "the container reads its place on the machine: {groups}");
    let real = std::fs::read_to_string(format!("/proc/{}/cgroup", cell.pid)).unwrap();
    assert!(real.contains(&own), "{real}");
    let mounted = outside(&["private", "mount:cgroup2:/mnt", "read:/mnt/cgroup.procs"]);
    assert!(mounted[2].starts_with("ok"), "{mounted:?}");
    cell.end().await;
}
