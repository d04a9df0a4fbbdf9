//! Archives that want out, want too much or are broken. Nothing of them may stay.

use brickyard_image::{Error, Limits};
use tar::EntryType;

use crate::archive::{Tar, Yard, gzip};

/// Imports an archive that must be refused and returns why.
fn refused(yard: &Yard, archive: &[u8]) -> String {
    let err = yard.import(archive).expect_err("a refusal");
    assert_eq!(yard.content(), Vec::<String>::new(), "after: {err}");
    err.to_string()
}

#[test]
fn links_lead_nowhere_outside() {
    let outside = tempfile::tempdir().unwrap();
    let out = outside.path().to_str().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let yard = Yard::new();
    for tar in [
        Tar::new().symlink("l", out).file("l/written", "x"),
        Tar::new().symlink("l", out).directory("l/made/"),
        Tar::new().symlink("l", out).symlink("l/made", "x"),
        Tar::new().symlink("l", out).file("l/.wh.secret", ""),
        Tar::new().symlink("l", &format!("{out}/secret")).file("l", "x"),
        Tar::new().symlink("a", "..").symlink("b", "a/..").file("b/../x", "x"),
        Tar::new().hard_link("h", &format!("{out}/secret")),
        Tar::new().symlink("l", out).hard_link("h", "l/secret"),
        Tar::new().symlink("l", "../../../../../../../../tmp").file("l/brickyard-escape", "x"),
        Tar::new().symlink("p", "/proc/self/root").file(&format!("p{out}/x"), "x"),
    ] {
        // Some are refused and some land inside; nothing may change or appear outside.
        if let Ok(image) = yard.import(&tar.bytes()) {
            let stolen = image.layers[0].join("h");
            assert!(!stolen.is_file(), "a hard link to the outside was made");
        }
        let names: Vec<_> = outside.path().read_dir().unwrap().collect();
        assert_eq!(names.len(), 1, "something was made outside");
        let secret = outside.path().join("secret");
        assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret");
        assert!(!std::path::Path::new("/tmp/brickyard-escape").exists());
    }
}

#[test]
fn an_absolute_path_lands_inside() {
    let yard = Yard::new();
    let layer = yard.unpacked(Tar::new().file("/etc/brickyard-absolute", "x"));
    assert!(layer.join("etc/brickyard-absolute").is_file());
    assert!(!std::path::Path::new("/etc/brickyard-absolute").exists());
}

#[test]
fn what_makes_no_sense_is_refused_with_its_entry() {
    let yard = Yard::new();
    for (tar, reason) in [
        (Tar::new().file("../x", ""), "cannot unpack `../x`: a path must not contain `..`"),
        (Tar::new().file("a/../../x", ""), "a path must not contain `..`"),
        (Tar::new().hard_link("h", "../../etc/passwd"), "a path must not contain `..`"),
        (Tar::new().hard_link("h", "nothing"), "the link to `nothing` fails"),
        (Tar::new().symlink("s", ""), "a link must have a target"),
        (Tar::new().file("d/.wh.", ""), "a whiteout must name a file"),
        (Tar::new().file("d/.wh...", ""), "a whiteout must name a file"),
        (Tar::new().file("f", "").file("f/x", ""), "cannot unpack `f/x`"),
        (Tar::new().entry(EntryType::new(b'Z'), "z", "", b""), "are not supported"),
    ] {
        let message = refused(&yard, &tar.bytes());
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn a_cut_or_damaged_archive_leaves_nothing() {
    let yard = Yard::new();
    let tar = Tar::new().file("a", &"x".repeat(5000)).file("b", "y").bytes();
    let gz = gzip(&tar);
    let mut flipped = gz.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let mut bad_header = tar.clone();
    bad_header[10] ^= 0x01;
    let mut cases = vec![flipped, bad_header, b"not an archive at all".to_vec(), Vec::new()];
    for length in [100, 512, 3000, 5632, 6000, 6700, tar.len() - 1024] {
        cases.push(tar[..length].to_vec());
    }
    for length in [5, gz.len() / 2, gz.len() - 1] {
        cases.push(gz[..length].to_vec());
    }
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    cases.push(zstd[..zstd.len() / 2].to_vec());
    for (index, case) in cases.iter().enumerate() {
        let message = refused(&yard, case);
        assert!(message.contains("cannot"), "case {index}: {message}");
    }
}

#[test]
fn limits_are_kept() {
    let yard = Yard::new();
    let limits = Limits { entry_count_max: 3, size_bytes_max: 20_000, path_length_max: 20 };
    let try_it = |archive: &[u8]| {
        let writer = yard.store.writer().unwrap().with_limits(limits);
        writer.put_layer(archive, None, &|_| {}).map(|_| ()).map_err(|err| err.to_string())
    };
    let many = Tar::new().file("a", "").file("b", "").file("c", "").file("d", "").bytes();
    assert!(try_it(&many).unwrap_err().contains("more than 3 entries"));
    let bomb = gzip(&Tar::new().file("a", &"\0".repeat(1 << 20)).bytes());
    assert!(bomb.len() < 20_000);
    assert!(try_it(&bomb).unwrap_err().contains("more than 20000 bytes"));
    let long = Tar::new().file("a/very/long/path/indeed", "").bytes();
    assert!(try_it(&long).unwrap_err().contains("longer than 20 bytes"));
    assert_eq!(yard.content(), Vec::<String>::new());
    try_it(&Tar::new().file("a", "").bytes()).unwrap();
}

#[test]
fn content_with_another_digest_is_not_kept() {
    let yard = Yard::new();
    let tar = Tar::new().file("a", "").bytes();
    let wrong = brickyard_core::Digest::of("something else");
    let right = brickyard_core::Digest::of(&tar);
    let writer = yard.store.writer().unwrap();
    let err = writer.put_layer(&tar[..], Some(&wrong), &|_| {}).unwrap_err();
    assert!(
        matches!(err, Error::Mismatch { expected, found } if (expected, found) == (wrong, right))
    );
    assert_eq!(yard.content(), Vec::<String>::new());
    assert_eq!(writer.put_layer(&tar[..], Some(&right), &|_| {}).unwrap().blob, right);
}
