//! What an archive says is what is on disk.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use tar::EntryType;

use crate::archive::{Tar, Yard, gzip};

fn xattr(path: &camino::Utf8Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path.as_std_path(), name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn modes_owners_times_and_kinds_are_kept() {
    let yard = Yard::new();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = yard.unpacked(
        Tar::new()
            .owned(EntryType::Directory, "./", "", b"", (0o711, 5, 6))
            .owned(EntryType::Directory, "bin/", "", b"", (0o1777, 0, 0))
            .owned(EntryType::Regular, "bin/su", "", b"x", (0o4755, 1000, 65_534))
            .pax("SCHILY.xattr.security.capability", &capability)
            .file("bin/ping", "p")
            .pax("SCHILY.xattr.trusted.overlay.redirect", b"/etc")
            .file("bin/redirected", "r")
            .symlink("sh", "/bin/su")
            .hard_link("bin/again", "./bin/su")
            .owned(EntryType::Char, "null", "", b"", (0o666, 0, 0))
            .owned(EntryType::Fifo, "fifo", "", b"", (0o600, 7, 7))
            .file("a/b/c/deep", "made parents"),
    );
    let stat = |path: &str| layer.join(path).symlink_metadata().unwrap();
    let root = layer.symlink_metadata().unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o711, 5, 6));
    assert_eq!(stat("bin").mode() & 0o7777, 0o1777);
    assert_eq!(stat("bin").mtime(), 1_700_000_000, "files put in later do not change it");
    let su = stat("bin/su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid()), (0o4755, 1000, 65_534));
    assert_eq!((su.mtime(), su.nlink()), (1_700_000_000, 2));
    assert_eq!(stat("bin/again").ino(), su.ino());
    assert!(xattr(&layer.join("bin/ping"), "security.capability").is_some());
    assert_eq!(xattr(&layer.join("bin/redirected"), "trusted.overlay.redirect"), None);
    assert_eq!(layer.join("sh").read_link_utf8().unwrap(), "/bin/su");
    assert!(stat("null").file_type().is_char_device());
    assert_eq!(stat("null").rdev(), rustix::fs::makedev(1, 3));
    assert!(stat("fifo").file_type().is_fifo());
    assert_eq!(std::fs::read_to_string(layer.join("a/b/c/deep")).unwrap(), "made parents");
    assert_eq!(stat("a/b").mode() & 0o7777, 0o755);
}

#[test]
fn whiteouts_become_those_of_overlayfs() {
    let yard = Yard::new();
    let layer = yard.unpacked(
        Tar::new()
            .file("etc/.wh.gone", "")
            .directory("opaque/")
            .file("opaque/.wh..wh..opq", "")
            .file("opaque/kept", "k")
            .file(".wh..wh.plnk", "")
            // Removed below and made again here: the older content must not shine through.
            .file(".wh.again", "")
            .directory("again/")
            .directory("later/")
            .file(".wh.later", ""),
    );
    let gone = layer.join("etc/gone").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device());
    assert_eq!(gone.rdev(), 0);
    for path in ["opaque", "again", "later"] {
        let value = xattr(&layer.join(path), "trusted.overlay.opaque");
        assert_eq!(value.as_deref(), Some(b"y".as_slice()), "{path}");
    }
    assert_eq!(xattr(&layer.join("etc"), "trusted.overlay.opaque"), None);
    assert!(layer.join("opaque/kept").is_file());
    assert!(!layer.join(".wh..wh.plnk").exists());
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let yard = Yard::new();
    let layer = yard.unpacked(
        Tar::new()
            .file("a", "first")
            .hard_link("b", "a")
            .file("a", "second")
            .directory("d/")
            .file("d/x/y", "deep")
            .file("d", "a file now")
            .symlink("l", "a")
            .directory("l/")
            .file("l/z", "z"),
    );
    let read = |path: &str| std::fs::read_to_string(layer.join(path)).unwrap();
    assert_eq!((read("a").as_str(), read("b").as_str()), ("second", "first"));
    assert_eq!((read("d").as_str(), read("l/z").as_str()), ("a file now", "z"));
}

#[test]
fn all_compressions_give_the_same_layer() {
    let tar = Tar::new().file("hello", "world").bytes();
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    let yard = Yard::new();
    let plain = yard.import(&tar).unwrap();
    for archive in [gzip(&tar), zstd] {
        let image = yard.import(&archive).unwrap();
        assert_eq!(image.layers, plain.layers);
        assert_ne!(image.digest, plain.digest, "the blob is kept as it was given");
    }
}

/// What overlayfs makes of a layer on top of another one is what Docker's format means.
#[test]
fn two_layers_stack_in_a_real_overlay() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let yard = Yard::new();
    let lower = yard
        .unpacked(Tar::new().file("etc/gone", "g").file("etc/kept", "k").file("opaque/old", "o"));
    let upper = yard.unpacked(
        Tar::new().file("etc/.wh.gone", "").file("opaque/.wh..wh..opq", "").file("opaque/new", "n"),
    );
    let target = yard.root().join("merged");
    std::fs::create_dir(&target).unwrap();
    let options = format!("lowerdir={upper}:{lower}");
    let options = std::ffi::CString::new(options).unwrap();
    let flags = MountFlags::RDONLY;
    mount("overlay", target.as_std_path(), "overlay", flags, Some(options.as_c_str())).unwrap();
    let exists = |path: &str| target.join(path).exists();
    let seen = ["etc/gone", "etc/kept", "opaque/old", "opaque/new"].map(exists);
    unmount(target.as_std_path(), UnmountFlags::empty()).unwrap();
    assert_eq!(seen, [false, true, false, true]);
}
