//! Protections are sabotaged in turn, by a kernel that answers "done" and does nothing: every
//! start is refused, and nothing of the image has run.

use std::process::Command;

use camino::Utf8PathBuf;

use crate::support::{binary, make_layer};

/// Words of the refusal for each sabotage.
const CASES: &[(&str, &str)] = &[
    ("seccomp", "system call filter could not be applied"),
    ("user-namespace", "user namespace could not be applied"),
    ("limits", "cgroup"),
];

#[test]
fn a_start_without_its_protections_is_refused() {
    let helper = binary().parent().unwrap().join("examples/sabotage");
    assert!(
        helper.exists(),
        "{helper} is missing: build the examples too (cargo build --examples)"
    );
    let directory = tempfile::tempdir().unwrap();
    let base = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
    std::fs::create_dir(base.join("yard")).unwrap();
    make_layer(&base.join("layer"));
    let archive = base.join("layer.tar");
    let packed = Command::new("tar")
        .args(["-C", base.join("layer").as_str(), "-cf", archive.as_str(), "."])
        .status();
    assert!(packed.unwrap().success());
    let root = base.join("yard");
    let brickyard = |sabotage: &str, rest: &[&str]| {
        Command::new(&helper)
            .args([sabotage, binary().as_str(), "--root", root.as_str()])
            .args(rest)
            .current_dir(&base)
            .output()
            .unwrap()
    };
    let imported = brickyard("nothing", &["image", "import", "box", archive.as_str()]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let run = ["run", "--rm", "box", "sh", "-c", "echo the image has run"];
    let fine = brickyard("nothing", &run);
    assert!(fine.status.success(), "{}", String::from_utf8_lossy(&fine.stderr));
    assert_eq!(String::from_utf8_lossy(&fine.stdout), "the image has run\n");
    for (sabotage, words) in CASES {
        let refused = brickyard(sabotage, &run);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{sabotage}: it ran");
        assert!(!String::from_utf8_lossy(&refused.stdout).contains("has run"), "{sabotage}");
        assert!(said.contains("was refused") && said.contains(words), "{sabotage}: {said}");
    }
}
