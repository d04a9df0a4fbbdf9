//! Ids, set-uid bits, capabilities, and other processes.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::fs::XattrFlags;

use super::{Cell, outside, probe};

/// A process of the machine's that a container might be after.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_outside_are_out_of_reach() {
    let cell = Cell::new().await;
    let victim = Victim::new();
    let pid = victim.0.id();
    for (word, contained, control) in
        [("kill", "ESRCH", "ok"), ("attach", "ESRCH", "ok"), ("vm_readv", "EPERM", "EFAULT|ok")]
    {
        let attempt = format!("{word}:{pid}");
        assert_eq!(cell.inside(&[&attempt]).await, [contained], "{attempt}");
        assert!(control.contains(&*outside(&[&attempt])[0]), "{attempt}");
    }
    cell.contains(&[
        ("pidfd_getfd", "EPERM", "EBADF|EINVAL"),
        ("kcmp", "EPERM", "ok"),
        // Numbers of the container's own processes mean those alone.
        ("kill:1", "ok", "ok"),
    ])
    .await;
    let inside = cell.sh("ls /proc").await;
    assert!(!inside.lines().any(|line| line == pid.to_string()), "{inside}");
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_inside_is_not_root_outside() {
    let cell = Cell::new().await;
    let base = cell.bench.facts.uid_base;
    let status = std::fs::read_to_string(format!("/proc/{}/status", cell.pid)).unwrap();
    for name in ["Uid:", "Gid:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let ids: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(ids, [base; 4], "{name}");
    }
    assert_eq!(cell.sh("id -u; touch /tmp/made; stat -c %u /tmp/made").await, "0\n0");
    let upper = cell.bench.root.join("environments/bench.dev/instances/cell.1.1/upper/tmp/made");
    assert_eq!(std::fs::metadata(upper).unwrap().uid(), base);
    // Ids that are not in the range are nobody's.
    let answers = cell.inside(&["setuid:65535", "setuid:65536"]).await;
    assert_eq!(answers, ["ok", "EINVAL"]);
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_uid_programs_and_file_capabilities_give_nothing() {
    let cell = Cell::with(|bench, _| {
        let layer = bench.root.join("layer");
        for name in ["suid", "capable"] {
            std::fs::copy(probe(), layer.join(name)).unwrap();
        }
        chown(layer.join("suid"), Some(0), Some(0)).unwrap();
        let mode = std::fs::Permissions::from_mode(0o4755);
        std::fs::set_permissions(layer.join("suid"), mode).unwrap();
        // Revision 2, effective; CAP_CHOWN permitted.
        let mut attribute = [0_u8; 20];
        attribute[0] = 1;
        attribute[3] = 2;
        attribute[4] = 1;
        let path = layer.join("capable").into_std_path_buf();
        let flags = XattrFlags::empty();
        rustix::fs::setxattr(path, "security.capability", &attribute, flags).unwrap();
    })
    .await;
    for program in ["suid", "capable"] {
        let inside = cell.run(&[&format!("/{program}"), "rights"], "web").await;
        assert_eq!(inside, (0, "ok 33 0000000000000000".to_owned()), "{program}");
    }
    let outside = |program: &str| {
        let mut command = Command::new(cell.bench.root.join("layer").join(program));
        let output = command.arg("rights").uid(33).gid(33).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert!(outside("suid").starts_with("ok 0 "), "{}", outside("suid"));
    assert_eq!(outside("capable"), "ok 33 0000000000000001");
    cell.end().await;
}

/// With every capability only the user namespace is left, and it holds: what belongs to the machine
/// asks for rights in the machine's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_capability_inside_is_none_outside() {
    let cell = Cell::with(|_, request| request.spec.cap_add = vec!["ALL".to_owned()]).await;
    cell.contains(&[
        ("init_module", "EPERM|ENOSYS", "!EPERM"),
        ("bpf", "EPERM", "ok"),
        ("syslog", "EPERM", "ok"),
        ("settimeofday", "EPERM", "ok"),
        ("acct:/no/such/file", "EPERM|ENOSYS", "ENOENT|ENOSYS"),
        ("swapon:/no/such/file", "EPERM", "ENOENT"),
        ("kexec_load", "EPERM", "!EPERM"),
        ("mount:tmpfs:/mnt mknod:block:/mnt/disk:8:0", "EPERM", "ok"),
        ("mount:devtmpfs:/mnt", "EPERM", "ok"),
        (
            "umount:/proc/sysrq-trigger write:/proc/sysrq-trigger",
            "EACCES|EROFS|ENOENT",
            "ok|ENOENT",
        ),
        ("umount:/proc/sys write:/proc/sys/kernel/core_pattern", "EACCES|EROFS", "ok"),
    ])
    .await;
    // Its own part of a hierarchy is all that it may mount, and no program is named there.
    let agent = cell.inside(&["mount:cgroup:/mnt:memory", "write:/mnt/release_agent"]).await;
    assert!(["EACCES", "EPERM", "ENOENT"].contains(&&*agent[1]), "{agent:?}");
    // Nothing that it mounts is seen outside.
    let mounted = cell.inside(&["mount:tmpfs:/mnt", "create:/mnt/own"]).await;
    assert_eq!(mounted, ["ok", "ok"]);
    let layer = cell.bench.root.join("environments/bench.dev/instances/cell.1.1/upper/mnt/own");
    assert!(!layer.exists());
    cell.end().await;
}
