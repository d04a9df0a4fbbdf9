//! Device nodes: none is made, and none that an image, a volume or a bind brings can be opened.

use brickyard_core::spec::{Mount, MountKind};
use camino::Utf8Path;
use rustix::fs::{CWD, FileType, Mode, chmod, makedev, mknodat};

use super::{Cell, outside};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_device_nodes_are_made() {
    let cell = Cell::new().await;
    cell.contains(&[
        ("mount:tmpfs:/mnt mknod:block:/mnt/disk:8:0", "EPERM", "ok"),
        ("mount:tmpfs:/mnt mknod:char:/mnt/memory:1:1", "EPERM", "ok"),
        ("mount:tmpfs:/mnt mknod:char:/mnt/null:1:3", "EPERM", "ok"),
        // Number 0:0 is overlay's mark of what is not there.
        ("mknod:char:/tmp/../mnt/gone:0:0", "EPERM|ok", "*"),
    ])
    .await;
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_harmless_devices_are_there() {
    let cell = Cell::new().await;
    let names = cell.sh("ls /dev").await;
    // The runtime links `kcore` to the masked file where the machine's kernel has one.
    let known = "console core fd full kcore mqueue null ptmx pts random shm stderr stdin stdout tty \
                 urandom zero";
    let known: Vec<&str> = known.split_whitespace().collect();
    for name in names.split_whitespace() {
        assert!(known.contains(&name), "{name} is in /dev: {names}");
    }
    for path in ["/dev/mem", "/dev/kmem", "/dev/port", "/dev/sda", "/dev/vda", "/dev/kmsg"] {
        assert_eq!(cell.inside(&[&format!("read:{path}")]).await, ["ENOENT"], "{path}");
    }
    assert_eq!(cell.inside(&["read:/dev/zero"]).await.len(), 1);
    // The nodes are the machine's own, and stay as they are.
    let answers = cell.inside(&["chmod:/dev/null:777", "write:/dev/null"]).await;
    assert_eq!(answers, ["EPERM", "ok"]);
    cell.end().await;
}

/// A node that everybody may open by its mode.
fn make_node(path: &Utf8Path) {
    let mode = Mode::from_raw_mode(0o666);
    let zero = makedev(1, 5);
    mknodat(CWD, path.as_std_path(), FileType::CharacterDevice, mode, zero).unwrap();
    chmod(path.as_std_path(), mode).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_images_volumes_and_binds_bring_stay_shut() {
    let mut paths = Vec::new();
    let cell = Cell::with(|bench, request| {
        let volume = bench.root.join("volumes").join(bench.key.to_string()).join("data");
        let bind = bench.root.join("bind");
        let layer = bench.root.join("layer");
        for directory in [&volume, &bind, &layer] {
            std::fs::create_dir_all(directory).unwrap();
            make_node(&directory.join("zero"));
            paths.push(directory.join("zero"));
        }
        let volume = MountKind::Volume { name: "data".parse().unwrap() };
        let bind = MountKind::Bind { source: bind, create: false };
        for (target, kind) in [("/data", volume), ("/bind", bind)] {
            request.spec.mounts.push(Mount { target: target.into(), kind, read_only: false });
        }
    })
    .await;
    for path in ["/zero", "/data/zero", "/bind/zero"] {
        assert_eq!(cell.inside(&[&format!("read:{path}")]).await, ["EACCES"], "{path}");
    }
    for path in paths {
        assert!(outside(&[&format!("read:{path}")])[0].starts_with("ok"), "{path}");
    }
    cell.end().await;
}
