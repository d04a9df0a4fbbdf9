//! Images whose links lead elsewhere, and archives that want to be unpacked elsewhere.

use std::os::unix::fs::symlink;

use brickyard_core::spec::{Mount, MountKind};
use brickyard_engine::{Engine, FileWrite};
use brickyard_testkit::Yard;
use camino::Utf8PathBuf;

use super::Cell;
use crate::support::{Bench, binary};

/// A directory of the machine's with one file, which must stay as it is.
struct Outside(Utf8PathBuf);

impl Outside {
    fn new(bench: &Bench) -> Self {
        let path = bench.root.join("outside");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("hosts"), "untouched").unwrap();
        Self(path)
    }

    #[track_caller]
    fn is_untouched(&self) {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["hosts"]);
        assert_eq!(std::fs::read_to_string(self.0.join("hosts")).unwrap(), "untouched");
    }
}

fn file(dest: &str) -> FileWrite {
    FileWrite { dest: dest.into(), contents: b"made".to_vec(), mode: 0o644, uid: 0, gid: 0 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_in_an_image_do_not_lead_out() {
    let mut outside = None;
    let cell = Cell::with(|bench, request| {
        let place = Outside::new(bench);
        let layer = bench.root.join("layer");
        std::fs::remove_dir_all(layer.join("etc")).unwrap();
        symlink(&place.0, layer.join("etc")).unwrap();
        let inner = place.0.as_str().trim_start_matches('/');
        std::fs::create_dir_all(layer.join(inner)).unwrap();
        let up = format!("{}{}", "../".repeat(12), place.0);
        for name in ["work", "conf", "data", "bind", "memory"] {
            symlink(&up, layer.join(name)).unwrap();
        }
        let source = bench.root.join("source");
        std::fs::create_dir(&source).unwrap();
        request.spec.working_dir = "/work/deep".into();
        request.files = vec![file("/conf/template"), file("/etc/hosts.more")];
        let kinds = [
            ("/data/volume", MountKind::Volume { name: "data".parse().unwrap() }),
            ("/bind/source", MountKind::Bind { source, create: false }),
            ("/memory/tmpfs", MountKind::Tmpfs { size_bytes: None, mode: None }),
        ];
        for (target, kind) in kinds {
            request.spec.mounts.push(Mount { target: target.into(), kind, read_only: false });
        }
        outside = Some(place);
    })
    .await;
    let outside = outside.unwrap();
    outside.is_untouched();
    // All of it is there, at the path that the links name, inside.
    let seen = cell.sh(&format!("ls {}", outside.0)).await;
    let names: Vec<&str> = seen.split_whitespace().collect();
    let wanted = [
        "deep",
        "hostname",
        "hosts",
        "hosts.more",
        "resolv.conf",
        "source",
        "template",
        "tmpfs",
        "volume",
    ];
    assert_eq!(names, wanted);
    let staged = cell.bench.engine.stage_file(&cell.id, &file("/conf/later")).await.unwrap();
    cell.bench.engine.commit_file(&cell.id, &staged).await.unwrap();
    cell.sh("for name in volume source tmpfs; do touch /work/$name/made; done").await;
    outside.is_untouched();
    let data = "data".parse().unwrap();
    cell.bench.engine.remove(&cell.id).await.unwrap();
    cell.bench.engine.remove_volume(&cell.bench.key, &data).await.unwrap();
    cell.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_links_are_replaced_and_not_followed() {
    let mut outside = None;
    let cell = Cell::with(|bench, request| {
        let place = Outside::new(bench);
        let layer = bench.root.join("layer/etc");
        for name in ["hosts", "hostname", "resolv.conf", ".hosts.brickyard", "template"] {
            symlink(place.0.join("hosts"), layer.join(name)).unwrap();
        }
        request.files = vec![file("/etc/template")];
        outside = Some(place);
    })
    .await;
    outside.as_ref().unwrap().is_untouched();
    assert!(cell.sh("cat /etc/hosts").await.contains("localhost"));
    assert_eq!(cell.sh("cat /etc/template").await, "made");
    // A container that puts links into the place of what is written next.
    cell.sh("rm /etc/template; ln -s /proc/1/root/outside /etc/.template.brickyard").await;
    let staged = cell.bench.engine.stage_file(&cell.id, &file("/etc/template")).await.unwrap();
    cell.sh("ln -s /mnt /etc/template").await;
    cell.bench.engine.commit_file(&cell.id, &staged).await.unwrap();
    assert_eq!(cell.sh("cat /etc/template").await, "made");
    outside.unwrap().is_untouched();
    cell.end().await;
}

/// A kernel file system that is mounted over a link would lie elsewhere, and what is masked would be
/// bare: such a start is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_in_the_place_of_kernel_file_systems_are_refused() {
    for name in ["proc", "sys"] {
        let bench = Cell::bench().await;
        symlink("/tmp", bench.root.join("layer").join(name)).unwrap();
        let refused = bench.engine.start(&bench.request("cell", &["sleep", "1000"])).await;
        let refused = refused.unwrap_err().whole();
        assert!(refused.contains("ordinary directory"), "{name}: {refused}");
        bench.end().await;
    }
}

/// Devices go where the link leads inside; the machine's own /dev has nothing more than before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_in_the_place_of_dev_stays_inside() {
    let bench = Cell::bench().await;
    let place = Outside::new(&bench);
    symlink(&place.0, bench.root.join("layer/dev")).unwrap();
    let request = bench.request("cell", &["sh", "-c", "ls /dev/; sleep 1000"]);
    if let Err(err) = bench.engine.start(&request).await {
        assert!(!err.to_string().is_empty());
    }
    place.is_untouched();
    bench.end().await;
}

/// Nothing can be mounted over what protects: the kernel's file systems and what lies below them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_do_not_cover_kernel_file_systems() {
    let bench = Cell::bench().await;
    let memory = MountKind::Tmpfs { size_bytes: None, mode: None };
    let volume = MountKind::Volume { name: "data".parse().unwrap() };
    let places = ["/proc", "/proc/sys", "/sys/fs/cgroup", "/dev/mqueue", "/x/../proc"];
    let mounts = places.map(|place| (place, memory.clone()));
    // Of the memory that processes share, the size may be said; nothing else may be in its place.
    for (target, kind) in mounts.into_iter().chain([("/dev/shm", volume)]) {
        let mut request = bench.request("cell", &["sleep", "1000"]);
        request.spec.mounts.push(Mount { target: target.into(), kind, read_only: false });
        let refused = bench.engine.start(&request).await.unwrap_err().whole();
        let is_named = refused.contains("nothing can be mounted") || refused.contains("`..`");
        assert!(is_named, "{target}: {refused}");
    }
    bench.end().await;
}

/// Entries by which an archive would write elsewhere are refused.
#[test]
fn a_hostile_archive_writes_nothing_outside() {
    let yard = Yard::new(binary().as_str());
    let outside = yard.home().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("hosts"), "untouched").unwrap();
    let target = outside.as_str();
    let up = format!("{}{target}/made", "../".repeat(12));
    let linked = format!("{target}/hosts");
    // A name, the entries, and what is said when they are refused.
    let cases: [(&str, &[Entry<'_>], &str); 6] = [
        ("climb", &[(&up, tar::EntryType::Regular, "")], "must not contain `..`"),
        (
            "through",
            &[("way", tar::EntryType::Symlink, target), ("way/made", tar::EntryType::Regular, "")],
            "File exists",
        ),
        ("hard", &[("made", tar::EntryType::Link, &linked)], "fails"),
        (
            "hard-up",
            &[("made", tar::EntryType::Link, "../../../../etc/shadow")],
            "must not contain `..`",
        ),
        (
            "whiteout",
            &[
                ("way", tar::EntryType::Symlink, target),
                ("way/.wh.hosts", tar::EntryType::Regular, ""),
                ("way/.wh..wh..opq", tar::EntryType::Regular, ""),
            ],
            "File exists",
        ),
        ("whiteout-up", &[("etc/.wh...", tar::EntryType::Regular, "")], "must name a file"),
    ];
    for (name, entries, said) in cases {
        let path = yard.home().join(format!("{name}.tar"));
        archive(&path, entries);
        let output = yard.run(&["image", "import", name, path.as_str()]);
        let _ = output.fails_with(4).says(said);
        Outside(outside.clone()).is_untouched();
    }
}

/// An entry's name, kind, and where it leads.
type Entry<'a> = (&'a str, tar::EntryType, &'a str);

/// An archive with these entries, names as they are.
fn archive(path: &camino::Utf8Path, entries: &[Entry<'_>]) {
    let mut archive = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, kind, target) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        archive.append(&header, std::io::empty()).unwrap();
    }
    archive.into_inner().unwrap();
}
