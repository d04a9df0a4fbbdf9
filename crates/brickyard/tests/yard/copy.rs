//! `cp`: what arrives where, whose it is, and that nothing leads out of an instance.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Stdio;

use brickyard_testkit::{Project, Yard};

use crate::support::yard_with_box;

fn up(yard: &Yard) -> Project<'_> {
    let model = "name: copy\nservices:\n  app: {image: box, command: [sleep, '1000'], \
                 stop_signal: KILL, deploy: {replicas: 2}, volumes: ['data:/data'], tmpfs: /mem}\n\
                 volumes: {data: {}}\n";
    let project = yard.project("copy", &[("compose.yaml", model), ("from/a", "A\n")]);
    project.write("from/below/b", "B\n");
    symlink("below/b", project.directory().join("from/link")).expect("it is writable");
    project.up();
    project
}

fn here(project: &Project<'_>, path: &str) -> String {
    project.directory().join(path).into_string()
}

fn copy(project: &Project<'_>, from: &str, to: &str) {
    let _ = project.run(&["cp", from, to]).ok();
}

#[test]
fn files_and_directories_arrive_as_dockers_do() {
    let yard = yard_with_box();
    let project = up(&yard);
    let from = here(&project, "from");
    copy(&project, &format!("{from}/a"), "app/1:/tmp/renamed");
    copy(&project, &format!("{from}/a"), "app/1:/tmp");
    copy(&project, &from, "app/1:/tmp/made");
    copy(&project, &from, "app/1:/data");
    copy(&project, &format!("{from}/."), "app/1:/mem");
    let listing = "cat /tmp/renamed /tmp/a /tmp/made/below/b /data/from/link /mem/a; \
                   stat -c '%u %g' /tmp/made/below/b; ls -l /mem/link";
    let text = project.exec("app/1", listing);
    assert!(text.starts_with("A\nA\nB\nB\nA\n0 0\n"), "{text}");
    assert!(text.trim_end().ends_with("/mem/link -> below/b"), "{text}");
    // Out again, and what is a directory here is copied into.
    let out = here(&project, "out");
    copy(&project, "app/1:/data/from", &out);
    copy(&project, "app/1:/data/from/.", &format!("{out}/below"));
    copy(&project, "app/1:tmp/renamed", &out);
    let read = |path: &str| std::fs::read_to_string(project.directory().join(path)).expect(path);
    for path in ["out/a", "out/below/a", "out/renamed"] {
        assert_eq!(read(path), "A\n", "{path}");
    }
    assert_eq!(read("out/below/below/b"), "B\n");
    let link = std::fs::read_link(project.directory().join("out/link")).expect("it is a link");
    assert_eq!(link.to_str(), Some("below/b"));
    copy(&project, "app/1:/data/from/link", &format!("{out}/bare"));
    let _ = project.run(&["cp", "-L", "app/1:/data/from/link", &format!("{out}/led")]).ok();
    let meta = |path: &str| std::fs::symlink_metadata(project.directory().join(path)).expect(path);
    assert!(meta("out/bare").is_symlink() && meta("out/led").is_file());
    let _ = project.run(&["cp", "--all", &format!("{from}/a"), "app:/www/"]).ok();
    assert_eq!(project.exec("app/2", "cat /www/a"), "A\n");
    // While it stands still, too.
    let _ = project.run(&["pause", "app/2"]).ok();
    let _ = project.run(&["cp", "--index", "2", "app:/www/a", &format!("{out}/paused")]).ok();
    assert_eq!(read("out/paused"), "A\n");
}

#[test]
fn what_cannot_be_copied_is_said() {
    let yard = yard_with_box();
    let project = up(&yard);
    let (from, file) = (here(&project, "from"), here(&project, "from/a"));
    let fails = |code: i32, from: &str, to: &str| {
        let _ = project.run(&["cp", from, to]).fails_with(code);
    };
    fails(3, "app:/absent", &from);
    fails(3, &here(&project, "absent"), "app:/tmp");
    fails(3, "app:/etc/passwd", &here(&project, "absent/file"));
    fails(3, &file, "app:/absent/file");
    fails(3, &file, "app:/absent/");
    fails(1, &from, "app:/etc/passwd");
    fails(1, &file, "app:/proc/absent");
    fails(2, &from, &file);
    fails(2, "app/1:/etc", "app/2:/etc");
    fails(3, "nobody:/etc", &from);
}

#[test]
fn what_does_not_run_is_copied_from_and_to() {
    let yard = yard_with_box();
    let project = up(&yard);
    let _ = project.exec("app/1", "echo written >/tmp/own; echo kept >/data/kept");
    let _ = project.run(&["stop", "app/1"]).ok();
    let (file, out) = (here(&project, "from/a"), here(&project, "out"));
    let read = || std::fs::read_to_string(&out).expect("it came");
    copy(&project, "app/1:/tmp/own", &out);
    assert_eq!(read(), "written\n");
    copy(&project, "app/1:/data/kept", &out);
    assert_eq!(read(), "kept\n");
    let _ = project.run(&["cp", "app/1:/absent", &out]).fails_with(3);
    copy(&project, &file, "app/1:/tmp/put");
    copy(&project, &file, "app/1:/data/put");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("there are mounts");
    let left = mounts.lines().filter(|line| line.starts_with("overlay") && line.contains("copy"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<&str>::new());
    let _ = project.run(&["start", "app/1"]).ok();
    let text = project.exec("app/1", "cat /tmp/put /data/put; stat -c '%u %g' /tmp/put /data/put");
    assert_eq!(text, "A\nA\n0 0\n0 0\n");
}

#[test]
fn links_resolve_inside_and_lead_nowhere_else() {
    let yard = yard_with_box();
    let project = up(&yard);
    let host = yard.home().join("host");
    std::fs::write(&host, "of the host\n").expect("it is writable");
    let script = format!(
        "echo inside >/tmp/own; ln -s /tmp/own /tmp/absolute; ln -s {host} /tmp/out; \
         ln -s ../../../../../../../../..{host} /tmp/up; ln -s / /tmp/root; mkdir /tmp/d; \
         ln -s {} /tmp/d/x; cp /bin/busybox /tmp/suid; chmod 4755 /tmp/suid",
        yard.home()
    );
    let _ = project.exec(
        "app/1",
        &script
            .replace("ln ", "busybox ln ")
            .replace("mkdir", "busybox mkdir")
            .replace("; cp", "; busybox cp")
            .replace("chmod", "busybox chmod"),
    );
    let out = here(&project, "got");
    let _ = project.run(&["cp", "-L", "app/1:/tmp/absolute", &out]).ok();
    assert_eq!(std::fs::read_to_string(&out).expect("it came"), "inside\n");
    for path in ["/tmp/out", "/tmp/up", "/tmp/root/proc/1/root/../..//nowhere"] {
        let _ = project.run(&["cp", "-L", &format!("app/1:{path}"), &out]);
        let got = std::fs::read_to_string(&out).expect("it is still there");
        assert_eq!(got, "inside\n", "{path} leads out");
    }
    // What is written through a link lands inside, too.
    let source = here(&project, "from/a");
    let _ = project.run(&["cp", &source, "app/1:/tmp/out"]);
    let _ = project.run(&["cp", &source, &format!("app/1:/tmp/root{host}")]);
    assert_eq!(std::fs::read_to_string(&host).expect("it is there"), "of the host\n");
    copy(&project, "app/1:/tmp/d", &here(&project, "d"));
    let link = std::fs::symlink_metadata(project.directory().join("d/x")).expect("it came");
    assert!(link.is_symlink(), "a link comes out as a link");
    // A program that makes its caller root stays one inside alone.
    copy(&project, "app/1:/tmp/suid", &here(&project, "suid"));
    let meta = std::fs::metadata(here(&project, "suid")).expect("it came");
    assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (0o755, 0));
}

#[test]
fn streams_are_archives() {
    let yard = yard_with_box();
    let project = up(&yard);
    let file = here(&project, "compose.yaml");
    let run = |arguments: &[&str], input: &[u8]| {
        let mut command = yard.command(&[&["-f", &*file], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = input.to_vec();
        std::thread::spawn(move || stdin.write_all(&input));
        child.wait_with_output().expect("it ends")
    };
    copy(&project, &here(&project, "from"), "app/1:/tmp/tree");
    let archive = run(&["cp", "app/1:/tmp/tree", "-"], b"");
    assert!(archive.status.success(), "{archive:?}");
    let done = run(&["cp", "-", "app/2:/data"], &archive.stdout);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(project.exec("app/2", "cat /data/tree/a /data/tree/link"), "A\nB\n");
    let refused = run(&["cp", "-", "app/2:/etc/passwd"], &archive.stdout);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}
