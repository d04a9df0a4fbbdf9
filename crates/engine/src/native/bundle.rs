//! The runtime's bundle: what libcontainer is told, as the OCI runtime specification's JSON.
//!
//! It has no seccomp profile (a libcontainer without libseccomp would ignore it silently; the
//! filter is installed by our own hook) and no cgroup mount (its read-only flag is not honoured
//! on v1).

use brickyard_core::spec::{InstanceSpec, Mount, MountKind};
use serde_json::{Value, json};

use super::cgroup::CPU_PERIOD_US;
use super::user::User;

/// Paths of /proc and /sys that show or change the host, hidden from instances.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// Paths that instances may read but not write.
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the runtime is told beside the spec.
pub(crate) struct Context<'a> {
    pub(crate) rootfs: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) cgroup: String,
    pub(crate) capabilities: &'a [&'static str],
    pub(crate) user: &'a User,
    pub(crate) user_namespace: i32,
    pub(crate) network_namespace: i32,
}

/// The environment of an instance's processes. `PATH` and `HOME` are always there: without `HOME`
/// the runtime would look users up with the image's own libraries.
pub(crate) fn environment(spec: &InstanceSpec, user: &User) -> Vec<(String, String)> {
    let mut variables = vec![
        (
            "PATH".to_owned(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ),
        ("HOME".to_owned(), user.home.clone()),
    ];
    variables.retain(|(name, _)| !spec.environment.contains_key(name));
    variables.extend(spec.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    variables
}

/// The contents of `config.json`.
pub(crate) fn config(spec: &InstanceSpec, context: &Context<'_>) -> Value {
    let names: Vec<String> =
        context.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
    // A process of another user than root starts without capabilities, as with other engines.
    let active = if context.user.uid == 0 { names.clone() } else { Vec::new() };
    let variables: Vec<String> = environment(spec, context.user)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    json!({
        "ociVersion": "1.1.0",
        "root": {"path": context.rootfs, "readonly": spec.read_only},
        "hostname": context.hostname,
        "process": {
            "terminal": false,
            "user": {
                "uid": context.user.uid,
                "gid": context.user.gid,
                "additionalGids": context.user.groups,
            },
            "args": spec.argv,
            "env": variables,
            "cwd": spec.working_dir,
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": names, "permitted": active, "effective": active,
                "inheritable": [], "ambient": [],
            },
        },
        "mounts": mounts(shared_memory_bytes(spec)),
        "linux": {
            "cgroupsPath": context.cgroup,
            "namespaces": [
                {"type": "user", "path": format!("/proc/self/fd/{}", context.user_namespace)},
                {"type": "network", "path": format!("/proc/self/fd/{}", context.network_namespace)},
                {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "cgroup"},
            ],
            "resources": resources(spec),
            "sysctl": {
                "net.ipv4.ip_unprivileged_port_start": "0",
                "net.ipv4.ping_group_range": "0 65535",
            },
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

/// Room in `/dev/shm` where nobody says otherwise, as with other engines.
const SHARED_MEMORY_BYTES: u64 = 64 << 20;

/// Whether a mount says how large the memory is that processes share, which is there in any case.
pub(super) fn is_shared_memory(mount: &Mount) -> bool {
    mount.target == "/dev/shm" && matches!(mount.kind, MountKind::Tmpfs { .. })
}

fn shared_memory_bytes(spec: &InstanceSpec) -> u64 {
    let wanted = spec.mounts.iter().find(|mount| is_shared_memory(mount));
    let size = wanted.and_then(|mount| match mount.kind {
        MountKind::Tmpfs { size_bytes, .. } => size_bytes,
        MountKind::Volume { .. } | MountKind::Bind { .. } => None,
    });
    size.unwrap_or(SHARED_MEMORY_BYTES)
}

fn mounts(shared_memory_bytes: u64) -> Value {
    let shared_memory = format!("size={shared_memory_bytes}");
    let secure = ["nosuid", "noexec", "nodev"];
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc", "options": secure},
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", shared_memory],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": secure},
        {
            "destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
    ])
}

fn resources(spec: &InstanceSpec) -> Value {
    let mut resources = json!({
        "devices": [
            {"allow": false, "access": "rwm"},
            // null, zero, full, tty, random, urandom, ptmx and pseudo terminals.
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 7, "access": "rwm"},
            {"allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
            {"allow": true, "type": "c", "major": 5, "minor": 2, "access": "rwm"},
            {"allow": true, "type": "c", "major": 136, "access": "rwm"},
        ],
        "pids": {"limit": spec.limits.pids_max},
    });
    if let Some(bytes) = spec.limits.memory_bytes {
        resources["memory"] = json!({"limit": bytes});
    }
    if let Some(millis) = spec.limits.cpu_millis {
        resources["cpu"] = json!({"quota": millis * CPU_PERIOD_US / 1000, "period": CPU_PERIOD_US});
    }
    resources
}
