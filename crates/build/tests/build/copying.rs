//! Which files go where.

use crate::yard::{Yard, files, listing};

/// The files of the layer of one COPY (or ADD) line.
fn copied(line: &str) -> Vec<String> {
    let yard = Yard::new(&format!("FROM scratch\nWORKDIR /work\n{line}\n"))
        .file("a.txt", "a")
        .file("b.txt", "b")
        .file("dir/x", "x")
        .file("dir/sub/y", "y")
        .file("other/sub/y", "other")
        .file("with space", "s")
        .file(".dockerignore", "Dockerfile\n.dockerignore\n");
    files(&yard.image().layers[0])
}

#[test]
fn destinations_follow_dockers_rules() {
    for (line, expected) in [
        ("COPY a.txt /dest", vec!["dest"]),
        ("COPY a.txt /dest/", vec!["dest/a.txt"]),
        ("COPY a.txt .", vec!["work/a.txt"]),
        ("COPY ./a.txt b", vec!["work/b"]),
        ("COPY a.txt b.txt /d/", vec!["d/a.txt", "d/b.txt"]),
        ("COPY *.txt /d/", vec!["d/a.txt", "d/b.txt"]),
        ("COPY ?.txt [c-z]ir/x /d/", vec!["d/a.txt", "d/b.txt", "d/x"]),
        ("COPY dir /d", vec!["d/sub/y", "d/x"]),
        ("COPY dir/ /", vec!["sub/y", "x"]),
        ("COPY dir other /d/", vec!["d/sub/y", "d/x"]),
        ("COPY */sub /d/", vec!["d/y"]),
        ("COPY [\"with space\", \"/d e/\"]", vec!["d e/with space"]),
        ("COPY /a.txt /dest", vec!["dest"]),
        ("ADD a.txt /dest", vec!["dest"]),
    ] {
        assert_eq!(copied(line), expected, "{line}");
    }
    let all = ["a.txt", "b.txt", "dir/sub/y", "dir/x", "other/sub/y", "with space"];
    assert_eq!(copied("COPY . /"), all);
}

#[test]
fn owners_modes_and_links() {
    let yard = Yard::new(
        "FROM scratch\nCOPY --chown=7:8 --chmod=640 run /b/\nCOPY --link run link tree /c/\nCOPY alias /d\n",
    )
    .file("run", "r")
    .mode("run", 0o4755)
    .symlink("link", "run")
    .file("tree/f", "f")
    .symlink("tree/l", "../run")
    .symlink("alias", "tree");
    let layers = yard.image().layers;
    assert_eq!(listing(&layers[0]), ["b/ 755 7:8", "b/run \"r\" 640 7:8"]);
    // A source that is a link gives its target; one inside of a directory stays a link.
    assert_eq!(
        listing(&layers[1]),
        [
            "c/ 755 0:0",
            "c/f \"f\" 644 0:0",
            "c/l -> ../run 777 0:0",
            "c/link \"r\" 4755 0:0",
            "c/run \"r\" 4755 0:0",
        ]
    );
    assert_eq!(files(&layers[2]), ["d/f", "d/l"]);
}

#[test]
fn dockerignore_leaves_out() {
    let yard = Yard::new("FROM scratch\nCOPY . /\n")
        .file(".dockerignore", "*\n!src\nsrc/**/*.tmp\n!keep/me\n")
        .file("src/a", "a")
        .file("src/deep/b.tmp", "b")
        .file("keep/me", "k")
        .file("keep/not", "n")
        .file("secret", "s");
    assert_eq!(files(&yard.image().layers[0]), ["keep/me", "src/a"]);
}

/// An image whose `/bin` is a link and whose `/tmp` everybody may write stays so.
#[test]
fn links_and_directories_of_the_base_survive() {
    let base = Yard::new("FROM scratch\nCOPY root /\n")
        .file("root/usr/bin/sh", "sh")
        .file("root/tmp/.keep", "")
        .symlink("root/bin", "usr/bin")
        .mode("root/tmp", 0o1777);
    base.image();
    let yard = base.file("tool", "t").file(
        "Dockerfile",
        "FROM built\nCOPY tool /bin/tool\nCOPY tool /tmp/new/\nCOPY tool /bin\n",
    );
    let layers = yard.image().layers;
    assert_eq!(files(&layers[1]), ["usr/bin/tool"]);
    assert_eq!(
        listing(&layers[2]),
        ["tmp/ 1777 0:0", "tmp/new/ 755 0:0", "tmp/new/tool \"t\" 644 0:0"]
    );
    assert_eq!(files(&layers[3]), ["usr/bin/tool"], "a directory takes the file in");
}

#[test]
fn add_unpacks_local_archives() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o600);
    header.set_uid(9);
    header.set_gid(0);
    header.set_mtime(1);
    builder.append_data(&mut header, "in/f", &b"f"[..]).unwrap();
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Link);
    builder.append_link(&mut header, "hard", "in/f").unwrap();
    let tar = builder.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let yard = Yard::new(
        "FROM scratch\nADD a.tar /t/\nADD a.tgz /g\nCOPY a.tar /c/\nADD --chown=1:2 a.tar /\nADD fake.tar /f/\n",
    )
    .bytes("a.tar", &tar)
    .bytes("a.tgz", &gzip)
    .file("fake.tar", "no archive");
    let layers = yard.image().layers;
    let unpacked = |top: &str, owner: &str| {
        [
            format!("{top}hard \"f\" 600 {owner}"),
            format!("{top}in/ 755 0:0"),
            format!("{top}in/f \"f\" 600 {owner}"),
        ]
    };
    assert_eq!(listing(&layers[0])[1..], unpacked("t/", "9:0"));
    assert_eq!(listing(&layers[1])[1..], unpacked("g/", "9:0"));
    assert_eq!(files(&layers[2]), ["c/a.tar"]);
    assert_eq!(listing(&layers[3]), unpacked("", "1:2"));
    assert_eq!(files(&layers[4]), ["f/fake.tar"]);
}

/// A link in the context may not pull in files of the machine.
#[test]
fn nothing_outside_of_the_context_is_read() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "s").unwrap();
    let out = outside.path().to_str().unwrap();
    let yard =
        Yard::new("FROM scratch\nCOPY l/secret /\nCOPY f /\nCOPY up/etc/passwd /\nCOPY ../x /\n")
            .symlink("l", out)
            .symlink("f", &format!("{out}/secret"))
            .symlink("up", "../../../../..");
    assert_eq!(
        yard.findings().lines().count(),
        4,
        "each of the four lines is refused: {}",
        yard.findings()
    );
}

#[test]
fn building_again_makes_nothing_and_gives_the_same_image() {
    let yard = Yard::new("FROM scratch\nCOPY a /a\nCOPY b /b\nCMD [\"/a\"]\n")
        .file("a", "a")
        .file("b", "b");
    let first = yard.image();
    assert_eq!(*yard.cached.borrow(), [false, false]);
    let second = yard.image();
    assert_eq!(*yard.cached.borrow(), [true, true]);
    assert_eq!(first, second);
    // A file that is not copied does not count, though it changes its directory's time.
    let yard = yard.file("c", "c");
    assert_eq!(yard.image().digest, first.digest);
    let yard = yard.file("b", "changed");
    assert_ne!(yard.image().digest, first.digest);
    assert_eq!(*yard.cached.borrow(), [true, false]);
}
