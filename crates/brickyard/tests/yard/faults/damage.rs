//! Files of the yard that are not any more what was written: the store's and the images'.

use std::os::unix::fs::FileExt;

use brickyard_testkit::{DEADLINE, Yard, kill_and_wait, wait_until};
use camino::{Utf8Path, Utf8PathBuf};

use super::{page, shows};
use crate::support::{kinds, yard_with_box};

/// Flips a bit.
fn flip(path: &Utf8Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is long enough");
    file.write_all_at(&[byte[0] ^ 1], at).expect("it is writable");
}

fn length(path: &Utf8Path) -> u64 {
    std::fs::metadata(path).expect("it is there").len()
}

fn cut(path: &Utf8Path, length: u64) {
    let file = std::fs::File::options().write(true).open(path).expect("it is there");
    file.set_len(length).expect("it is writable");
}

fn only_file_of(directory: &Utf8Path, choose: impl Fn(&Utf8PathBuf) -> bool) -> Utf8PathBuf {
    let files = directory.read_dir_utf8().expect("it is there").flatten();
    let mut files = files.map(camino::Utf8DirEntry::into_path).filter(choose);
    files.next().expect("there is one")
}

#[test]
fn a_damaged_store_is_named_and_what_runs_goes_on_until_it_is_mended() {
    let yard = yard_with_box();
    let (project, port) = page(&yard);
    let pids = project.field("pid");
    let path = yard.root().join("yard.redb");
    // After a clean end nothing else makes the next agent look at every page.
    let _ = yard.run(&["agent", "stop"]).ok();
    wait_until("it has ended", DEADLINE, || yard.agent().is_none());
    let whole = std::fs::read(&path).expect("it is there");
    let text = b"/faults/dev";
    let content = whole.windows(text.len()).rposition(|part| part == text).expect("it is there");
    let damages: [(&str, &dyn Fn()); 5] = [
        ("a bit is flipped", &|| flip(&path, content as u64)),
        ("half of it is gone", &|| cut(&path, length(&path) / 2)),
        ("all of it is gone", &|| cut(&path, 0)),
        ("its first page is zero", &|| zero(&path, 4096)),
        ("all of it is zero", &|| zero(&path, length(&path))),
    ];
    for (what, damage) in damages {
        damage();
        let damaged = std::fs::read(&path).expect("it is there");
        let refused = project.run(&["up", "-d"]);
        assert_eq!(refused.code, 4, "{what}: {refused:?}");
        assert!(refused.stderr.contains(path.as_str()), "{what}: {}", refused.stderr);
        assert!(refused.stderr.contains("hint: "), "{what}: {}", refused.stderr);
        shows(port, "one");
        assert_eq!(std::fs::read(&path).expect("it is there"), damaged, "{what}: it is left alone");
        std::fs::write(&path, &whole).expect("it is writable");
    }
    project.up();
    assert_eq!(project.field("pid"), pids);
    let _ = project.run(&["set", "text=two"]).ok();
    shows(port, "two");
}

fn zero(path: &Utf8Path, length: u64) {
    let file = std::fs::File::options().write(true).open(path).expect("it is there");
    let zeros = vec![0; usize::try_from(length).expect("it is small")];
    file.write_all_at(&zeros, 0).expect("it is writable");
}

/// The image's configuration, its manifest, and its layer.
fn blobs(yard: &Yard) -> [Utf8PathBuf; 3] {
    let directory = yard.root().join("images/blobs/sha256");
    let has = |path: &Utf8PathBuf, text: &str| {
        length(path) < 10_000
            && std::fs::read_to_string(path).is_ok_and(|found| found.contains(text))
    };
    [
        only_file_of(&directory, |path| has(path, "rootfs")),
        only_file_of(&directory, |path| has(path, "schemaVersion")),
        only_file_of(&directory, |path| length(path) > 10_000),
    ]
}

#[test]
fn a_damaged_image_is_said_and_mended_by_another_import() {
    let yard = yard_with_box();
    let (project, port) = page(&yard);
    let pids = project.field("pid");
    let archive = yard.home().join("box.tar");
    let import = || yard.run(&["image", "import", "box", archive.as_str()]);
    let [config, manifest, layer] = blobs(&yard);
    let layers = yard.root().join("images/layers");
    let unpacked = only_file_of(&layers, |_| true);
    let busybox = unpacked.join("bin/busybox");
    let damages: [(&str, &Utf8Path, &dyn Fn()); 6] = [
        ("the configuration", &config, &|| flip(&config, 20)),
        ("the manifest", &manifest, &|| flip(&manifest, 20)),
        ("the manifest", &manifest, &|| cut(&manifest, 20)),
        ("the layer's archive", &layer, &|| flip(&layer, 100_000)),
        ("the layer's archive", &layer, &|| cut(&layer, 100_000)),
        ("a file of the unpacked layer", Utf8Path::new("/bin/busybox"), &|| flip(&busybox, 4_000)),
    ];
    for (what, named, damage) in damages {
        damage();
        let found = yard.run(&["image", "verify", "box"]).fails_with(4);
        for part in ["box:latest", named.as_str(), "hint: "] {
            assert!(found.stderr.contains(part), "{what}: no {part} in {}", found.stderr);
        }
        shows(port, "one");
        let _ = import().ok();
        let _ = yard.run(&["image", "verify"]).ok();
    }
    // What ran from a damaged layer runs on, and what starts from now on has the whole one.
    assert_eq!(project.field("pid"), pids);
    let _ = project.run(&["scale", "web=2"]).ok();
    project.up();
    let _ = project.run(&["set", "text=two"]).ok();
    shows(port, "two");
}

#[test]
fn an_environment_whose_image_is_damaged_does_not_hold_up_another() {
    let yard = yard_with_box();
    let (project, port) = page(&yard);
    let pids = project.field("pid");
    let other = std::fs::read(yard.home().join("box.tar")).expect("it is there");
    // The same root file system with something behind it is another image.
    let archive = yard.home().join("other.tar");
    std::fs::write(&archive, [other, vec![0; 10_240]].concat()).expect("it is writable");
    let before = blob_names(&yard);
    let _ = yard.run(&["image", "import", "other", archive.as_str()]).ok();
    let added: Vec<Utf8PathBuf> =
        blob_names(&yard).into_iter().filter(|path| !before.contains(path)).collect();
    let model = "name: calm\nservices:\n  app: {image: other, command: [sleep, '1000'], stop_signal: KILL}\n";
    let calm = yard.project("calm", &[("compose.yaml", model)]);
    calm.up();
    let small = added.iter().filter(|path| length(path) < 10_000);
    small.for_each(|path| flip(path, 20));
    kill_and_wait(yard.agent_pid());
    let refused = calm.run(&["up", "-d"]).fails_with(4);
    assert!(refused.stderr.contains("image"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    project.up();
    assert_eq!(project.field("pid"), pids);
    let _ = project.run(&["set", "text=two"]).ok();
    shows(port, "two");
    let failed = kinds(&yard.events());
    let failed = failed.iter().filter(|kind| kind.starts_with("environment.failed"));
    assert!(failed.count() > 0, "events tell of it");
    let _ = yard.run(&["image", "import", "other", archive.as_str()]).ok();
    calm.up();
}

fn blob_names(yard: &Yard) -> Vec<Utf8PathBuf> {
    let directory = yard.root().join("images/blobs/sha256");
    let files = directory.read_dir_utf8().expect("it is there").flatten();
    files.map(camino::Utf8DirEntry::into_path).collect()
}
