//! Faults: what breaks on a machine in a bad night. Each ends in a clear error or a recovery, and
//! the others go on unharmed.

mod damage;
mod hanging;
mod logs;
mod loops;
mod memory;
mod ports;

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

use brickyard_testkit::{DEADLINE, Project, Yard, get, wait_until};
use rustix::mount::{MountFlags, mount_remount};
use serde_json::Value;

use crate::support::yard;

/// A yard whose directory is a file system of its own, of so many MiB.
fn yard_of(size_mib: u32) -> Yard {
    let yard = yard();
    mount_own(&yard, size_mib, &[]);
    yard.import_box();
    yard
}

/// Mounts a disk at the yard's root. It is one that every supported kernel maps ids on: memory file
/// systems are not, before Linux 6.3.
fn mount_own(yard: &Yard, size_mib: u32, options: &[&str]) {
    let image = yard.home().join("disk");
    let file = std::fs::File::create(&image).expect("our own directory is writable");
    file.set_len(u64::from(size_mib) << 20).expect("it need not be there on the disk");
    let run = |command: &mut Command| {
        let out = command.output().expect("e2fsprogs and mount are installed");
        assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    let all = ["-q", "-F", "-b", "4096", "-m", "0", "-O", "^has_journal"];
    run(Command::new("mkfs.ext4").args(all).args(options).arg(&image));
    // Not every machine has it in its kernel, or loads it by itself.
    let _ = Command::new("modprobe").arg("loop").output();
    run(Command::new("mount").args(["-o", "loop", image.as_str(), yard.root().as_str()]));
    std::fs::set_permissions(yard.root(), std::fs::Permissions::from_mode(0o711))
        .expect("our own directory's mode can be set");
}

/// A page that shows a key, and something else that only has to go on.
fn page(yard: &Yard) -> (Project<'_>, u16) {
    let port = yard.port();
    let model = format!(
        r#"
name: faults
services:
  web:
    image: box
    command: [httpd, -f, -p, "80", -h, /www]
    stop_signal: KILL
    restart: always
    ports: ["127.0.0.1:{port}:80"]
    volumes: ["data:/data"]
    x-brickyard:
      provides: {{http: 80}}
      templates: [{{src: page.tmpl, dest: /www/index.html, reload: none}}]
volumes: {{data: {{}}}}
x-brickyard: {{config: {{text: one}}}}
"#
    );
    let files = [("compose.yaml", &*model), ("page.tmpl", "{{getv \"/text\"}}\n")];
    let project = yard.project("faults", &files);
    project.up();
    (project, port)
}

#[track_caller]
fn shows(port: u16, text: &str) {
    assert_eq!(get(port, "/").expect("it is served"), (200, format!("{text}\n")));
}

/// Writes until nothing more fits.
fn fill(path: &camino::Utf8Path) {
    let mut file = std::fs::File::create(path).expect("a name still fits");
    let block = [0_u8; 4096];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let yard = yard_of(64);
    let (project, port) = page(&yard);
    let _ = project.run(&["set", "text=two"]).ok();
    let pids = project.field("pid");
    let ballast = yard.root().join("ballast");
    fill(&ballast);
    let refused = project.run(&["set", "text=three"]).fails_with(4);
    assert!(refused.stderr.contains("No space left"), "{}", refused.stderr);
    shows(port, "two");
    // The agent ends, because its store takes no more writes; the next one opens it anew and finds
    // everything that was acknowledged.
    wait_until("the agent ends", DEADLINE, || yard.agent().is_none());
    std::fs::remove_file(&ballast).expect("it is there");
    project.up();
    assert_eq!(project.field("pid"), pids);
    assert_eq!(project.run(&["get", "text"]).ok().stdout, "two\n");
    let _ = project.run(&["set", "text=three"]).ok();
    shows(port, "three");
}

#[test]
fn a_full_volume_is_the_business_of_its_service_alone() {
    let yard = yard_of(64);
    let (project, port) = page(&yard);
    let out = project.run(&["exec", "web", "sh", "-c", "cat /dev/zero >/data/ballast"]);
    assert!(out.code != 0 && out.stderr.contains("No space left"), "{}", out.stderr);
    shows(port, "one");
    let _ = project.exec("web", "busybox rm /data/ballast");
    let _ = project.run(&["set", "text=two"]).ok();
    shows(port, "two");
}

#[test]
fn without_inodes_a_start_is_refused_and_made_good_later() {
    let yard = yard();
    mount_own(&yard, 64, &["-N", "400"]);
    yard.import_box();
    let (project, port) = page(&yard);
    let ballast = yard.root().join("ballast");
    std::fs::create_dir(&ballast).expect("one still fits");
    let many = (0..500).take_while(|i| std::fs::File::create(ballast.join(i.to_string())).is_ok());
    assert!(many.count() < 400, "the inodes are used up");
    let refused = project.run(&["scale", "web=3"]).fails_with(1);
    assert!(refused.stderr.contains("No space left"), "{}", refused.stderr);
    shows(port, "one");
    std::fs::remove_dir_all(&ballast).expect("it is there");
    let _ = project.run(&["scale", "web=3"]).ok();
    assert_eq!(project.ps().len(), 3);
}

#[test]
fn a_read_only_state_directory_is_said() {
    let yard = yard_of(64);
    let model = "name: faults\nservices:\n  app: {image: box, command: [sleep, '1000'], stop_signal: KILL}\n";
    let project = yard.project("faults", &[("compose.yaml", model)]);
    let remount = |flags| mount_remount(yard.root().as_str(), flags, c"").expect("it is our own");
    remount(MountFlags::RDONLY | MountFlags::BIND);
    let refused = project.run(&["up", "-d"]).fails_with(4);
    assert!(refused.stderr.contains("Read-only"), "{}", refused.stderr);
    remount(MountFlags::BIND);
    project.up();
}

#[test]
fn a_broken_store_is_said_with_its_path_and_what_runs_goes_on() {
    let yard = yard_of(64);
    let (project, port) = page(&yard);
    let pids = project.field("pid");
    yard.kill_agent();
    let path = yard.root().join("yard.redb");
    let whole = std::fs::read(&path).expect("it is there");
    let file = std::fs::File::options().write(true).open(&path).expect("it is there");
    // The header, and a page in the middle.
    for at in [0, u64::try_from(whole.len() / 2).unwrap_or(0)] {
        file.write_all_at(&[0x5a; 4096], at).expect("it is writable");
    }
    let refused = project.run(&["up", "-d"]).fails_with(4);
    assert!(refused.stderr.contains("yard.redb"), "{}", refused.stderr);
    shows(port, "one");
    // A copy of the file mends it.
    std::fs::write(&path, whole).expect("it is writable");
    project.up();
    assert_eq!(project.field("pid"), pids);
}

#[test]
fn a_flood_of_output_is_bounded_on_disk_and_in_memory() {
    let yard = yard();
    yard.import_box();
    let model = r#"
name: flood
services:
  loud:
    image: box
    command: [sh, -c, "busybox yes something is very wrong with this software | busybox head -c 100000 >/tmp/lines; i=0; while [ $$i -lt 3000 ]; do cat /tmp/lines; i=$$((i+1)); done; echo; echo the end; exec sleep 1000"]
    stop_signal: KILL
  calm: {image: box, command: [sleep, "1000"], stop_signal: KILL}
"#;
    let project = yard.project("flood", &[("compose.yaml", model)]);
    project.up();
    let calm = project.instance("calm/1")["pid"].clone();
    let last = || project.run(&["logs", "--tail", "1", "loud"]).ok().stdout;
    wait_until("it has said everything", 8 * DEADLINE, || last().contains("the end"));
    let instances = yard.root().join("environments/flood.dev/instances");
    let kept: u64 = walk(instances.as_std_path());
    assert!(kept < 40 << 20, "{kept} bytes of logs are kept");
    for pid in yard.processes() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        assert!(kib.unwrap_or(0) < 100 << 10, "process {pid} used {kib:?} KiB");
    }
    assert_eq!(project.instance("calm/1")["pid"], calm);
}

/// Bytes of the log files below.
fn walk(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => walk(&entry.path()),
        _ if entry.file_name().to_string_lossy().starts_with("log") => {
            entry.metadata().map_or(0, |meta| meta.len())
        }
        _ => 0,
    };
    entries.map(size).sum()
}

#[test]
fn a_process_that_ignores_its_stop_signal_is_killed_after_its_grace() {
    let yard = yard();
    yard.import_box();
    let model = r#"
name: deaf
services:
  app:
    image: box
    command: [sh, -c, "trap '' TERM; while true; do sleep 1; done"]
    stop_grace_period: 300ms
"#;
    let project = yard.project("deaf", &[("compose.yaml", model)]);
    project.up();
    let _ = project.run(&["stop"]).ok();
    let row = project.instance("app/1");
    assert_eq!((&row["state"], &row["exit_code"]), (&"stopped".into(), &137.into()));
}

#[test]
fn a_bomb_of_processes_stays_inside() {
    let yard = yard();
    yard.import_box();
    let model = r#"
name: bomb
services:
  bomb:
    image: box
    command: [sh, -c, "while true; do sleep 1000 & done 2>/dev/null; exec sleep 1000"]
    pids_limit: 50
    stop_signal: KILL
    restart: always
  calm: {image: box, command: [sleep, "1000"], stop_signal: KILL}
"#;
    let project = yard.project("bomb", &[("compose.yaml", model)]);
    let _ = project.run(&["up", "-d"]);
    let calm = project.instance("calm/1")["pid"].clone();
    assert!(calm.as_i64().is_some(), "the other one runs");
    wait_until("the limit is met", DEADLINE, || {
        yard.cgroups().iter().any(|group| {
            let events = std::fs::read_to_string(group.join("pids.events")).unwrap_or_default();
            events.split_whitespace().last().is_some_and(|count| count != "0")
        })
    });
    assert_eq!(project.instance("calm/1")["pid"], calm);
    let _ = project.run(&["down", "-v"]).ok();
    assert_eq!(yard.processes(), Vec::<i32>::new());
}

#[test]
fn a_layer_that_lost_its_files_is_said() {
    let yard = yard_of(64);
    let (project, port) = page(&yard);
    let layers = yard.root().join("images/layers");
    let layer = layers.read_dir_utf8().expect("it is there").next().expect("there is one");
    let layer = layer.expect("it can be listed").into_path();
    let aside = layer.with_extension("aside");
    std::fs::rename(&layer, &aside).expect("it is there");
    let refused = project.run(&["scale", "web=2"]).fails_with(1);
    assert!(refused.stderr.contains("layer"), "{}", refused.stderr);
    shows(port, "one");
    std::fs::rename(&aside, &layer).expect("it is there");
    let _ = project.run(&["scale", "web=2"]).ok();
    let healthy = |row: &Value| row["health"] == "healthy";
    assert!(project.ps().iter().all(healthy));
}
