//! Volumes, binds and the yard's own directories.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use brickyard_core::spec::{Mount, MountKind};
use brickyard_engine::Engine;
use camino::{Utf8Path, Utf8PathBuf};
use rustix::mount::{MountFlags, UnmountFlags};

use super::{Cell, outside};

fn volume(name: &str, target: &str) -> Mount {
    let kind = MountKind::Volume { name: name.parse().unwrap() };
    Mount { target: target.into(), kind, read_only: false }
}

/// What a user of the machine without rights sees of a path.
fn as_nobody(path: &Utf8Path) -> String {
    let mut command = Command::new("/bin/cat");
    let output = command.arg(path).uid(65_534).gid(65_534).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
}

/// Root inside writes as root on a volume's disk: a set-uid program there must be nobody's to run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_container_writes_is_out_of_reach_of_local_users() {
    let cell = Cell::with(|_, request| request.spec.mounts.push(volume("data", "/data"))).await;
    let script = "cp /probe /data/suid; chmod 4755 /data/suid; cp /probe /tmp/suid; \
                  chmod 4755 /tmp/suid; echo kept > /data/text; echo kept > /tmp/text; \
                  stat -c %u /data/suid /tmp/suid";
    assert_eq!(cell.sh(script).await, "0\n0");
    let root = &cell.bench.root;
    let volume = root.join("volumes/bench.dev/data");
    let upper = root.join("environments/bench.dev/instances/cell.1.1/upper/tmp");
    for (place, owner) in [(&volume, 0), (&upper, cell.bench.facts.uid_base)] {
        let meta = std::fs::metadata(place.join("suid")).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (owner, 0o4755), "{place}");
        assert_eq!(std::fs::read_to_string(place.join("text")).unwrap(), "kept\n");
        let seen = as_nobody(&place.join("text"));
        assert!(seen.contains("Permission denied"), "{place}: {seen}");
    }
    // The same user reads what is in a directory that may be passed: the yard's root is one.
    let control = root.join("control");
    std::fs::write(&control, "control").unwrap();
    assert_eq!(as_nobody(&control), "control");
    let data = "data".parse().unwrap();
    cell.bench.engine.remove_volume(&cell.bench.key, &data).await.unwrap();
    cell.end().await;
}

/// Volumes belong to one environment, and one instance's files to it alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_others_are_not_there() {
    let cell = Cell::with(|_, request| request.spec.mounts.push(volume("data", "/data"))).await;
    let mut other = cell.bench.request("other", &["sleep", "1000"]);
    other.spec.mounts.push(volume("secret", "/secret"));
    cell.bench.engine.start(&other).await.unwrap();
    let secret = cell.bench.root.join("volumes/bench.dev/secret/key");
    std::fs::write(&secret, "secret").unwrap();
    assert_eq!(outside(&[&format!("read:{secret}")]), ["ok secret"]);
    for path in [secret.as_str(), "/secret/key", "/data/../secret/key", "/proc/1/root/secret/key"] {
        assert_eq!(cell.inside(&[&format!("read:{path}")]).await, ["ENOENT"], "{path}");
    }
    let mounts = cell.sh("cat /proc/self/mountinfo").await;
    assert!(!mounts.contains("secret"), "{mounts}");
    for name in ["data", "secret"] {
        let name = name.parse().unwrap();
        cell.bench.engine.remove(&cell.id).await.unwrap();
        cell.bench.engine.remove(&other.id).await.unwrap();
        cell.bench.engine.remove_volume(&cell.bench.key, &name).await.unwrap();
    }
    cell.end().await;
}

/// A mount of the machine's that goes with the test.
struct Mounted(Utf8PathBuf);

impl Mounted {
    fn memory(at: Utf8PathBuf) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        rustix::mount::mount("none", at.as_std_path(), "tmpfs", MountFlags::empty(), None).unwrap();
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.as_std_path(), UnmountFlags::DETACH);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_below_a_read_only_bind_are_read_only() {
    let mut mounted = None;
    let cell = Cell::with(|bench, request| {
        let source = bench.root.join("bind");
        let below = Mounted::memory(source.join("below"));
        let open = std::fs::Permissions::from_mode(0o1777);
        std::fs::set_permissions(&below.0, open).unwrap();
        mounted = Some(below);
        let kind = MountKind::Bind { source: source.clone(), create: false };
        request.spec.mounts.push(Mount { target: "/bind".into(), kind, read_only: true });
        let kind = MountKind::Bind { source, create: false };
        request.spec.mounts.push(Mount { target: "/open".into(), kind, read_only: false });
    })
    .await;
    let answers = cell.inside(&["create:/bind/file", "create:/bind/below/file"]).await;
    assert_eq!(answers, ["EROFS", "EROFS"]);
    // The mode would let anybody: below the writable bind it does.
    assert_eq!(cell.inside(&["create:/open/below/file"]).await, ["ok"]);
    let owner = mounted.as_ref().unwrap().0.join("file");
    assert_eq!(std::fs::metadata(owner).unwrap().uid(), cell.bench.facts.uid_base);
    cell.bench.engine.remove(&cell.id).await.unwrap();
    drop(mounted);
    cell.end().await;
}

/// Directories that are missing on a volume its instance makes itself, and on a bind it may not: a
/// link of the image's must not make the machine's root do that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_on_other_mounts_are_made_with_the_instances_rights() {
    let cell = Cell::with(|_, request| {
        request.spec.mounts.push(volume("data", "/data"));
        let kind = MountKind::Tmpfs { size_bytes: None, mode: None };
        let target = "/data/deep/memory".into();
        request.spec.mounts.push(Mount { target, kind, read_only: false });
        request.spec.working_dir = "/data/work/here".into();
    })
    .await;
    assert_eq!(cell.sh("pwd; stat -c %u /data/deep /data/work").await, "/data/work/here\n0\n0");
    let source = cell.bench.root.join("bind");
    let below = Mounted::memory(source.join("below"));
    let shut = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&below.0, shut).unwrap();
    let link = cell.bench.root.join("layer/link");
    std::os::unix::fs::symlink("/bind/below", link).unwrap();
    let kind = MountKind::Bind { source, create: false };
    let bind = Mount { target: "/bind".into(), kind, read_only: false };
    let kind = MountKind::Tmpfs { size_bytes: None, mode: None };
    let memory = Mount { target: "/link/memory".into(), kind, read_only: false };
    for (work, more) in [("/link/made", None), ("/", Some(memory))] {
        let mut request = cell.bench.request("linked", &["sleep", "1000"]);
        request.spec.working_dir = work.into();
        request.spec.mounts = std::iter::once(bind.clone()).chain(more).collect();
        let refused = cell.bench.engine.start(&request).await.unwrap_err().whole();
        assert!(refused.contains("/link") && refused.contains("denied"), "{refused}");
        assert_eq!(std::fs::read_dir(&below.0).unwrap().count(), 0);
    }
    drop(below);
    cell.bench.engine.remove(&cell.id).await.unwrap();
    let data = "data".parse().unwrap();
    cell.bench.engine.remove_volume(&cell.bench.key, &data).await.unwrap();
    cell.end().await;
}

/// An image's link from /etc to a bind makes nobody but the instance's own root write there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_we_write_do_not_follow_links_onto_binds() {
    let bench = Cell::bench().await;
    let source = bench.root.join("bind");
    let below = Mounted::memory(source.join("below"));
    let shut = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&below.0, shut).unwrap();
    std::fs::write(below.0.join("hosts"), "of the machine").unwrap();
    let layer = bench.root.join("layer");
    std::fs::remove_dir_all(layer.join("etc")).unwrap();
    std::os::unix::fs::symlink("/bind/below", layer.join("etc")).unwrap();
    let mut request = bench.request("cell", &["sleep", "1000"]);
    let kind = MountKind::Bind { source, create: false };
    request.spec.mounts.push(Mount { target: "/bind".into(), kind, read_only: false });
    let refused = bench.engine.start(&request).await.unwrap_err().whole();
    assert!(refused.contains("/etc/host"), "{refused}");
    let names: Vec<_> =
        std::fs::read_dir(&below.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["hosts"]);
    assert_eq!(std::fs::read_to_string(below.0.join("hosts")).unwrap(), "of the machine");
    drop(below);
    bench.end().await;
}
