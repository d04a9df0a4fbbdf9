//! A crash loop that goes on for days.

use brickyard_testkit::{DEADLINE, Project, Yard, wait_until};

use crate::support::yard_with_box;

/// How many instances end as soon as they run. Each pauses for longer after each end, until it is
/// asked for anew.
const INSTANCES: usize = 16;

/// What must not grow with the number of starts.
#[derive(Debug)]
struct Size {
    resident_kib: u64,
    descriptors: usize,
    tasks: usize,
    processes: usize,
    cgroups: usize,
    mounts: usize,
    files: usize,
    file_kib: u64,
    store_kib: u64,
}

fn count(directory: impl AsRef<std::path::Path>) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

/// Looks when nothing runs.
fn size(yard: &Yard, project: &Project<'_>) -> Size {
    let _ = project.run(&["stop"]).ok();
    wait_until("nothing is under way", DEADLINE, || {
        project
            .ps()
            .iter()
            .all(|row| ["stopped", "exited"].contains(&row["state"].as_str().unwrap_or("")))
            && yard.processes().len() == 2
    });
    let pid = yard.agent_pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("it is there");
    let (files, bytes) = walk(yard.root().join("environments").as_std_path());
    let store = std::fs::metadata(yard.root().join("yard.redb")).expect("it is there").len();
    Size {
        resident_kib: resident.expect("the kernel says it"),
        descriptors: count(format!("/proc/{pid}/fd")),
        tasks: count(format!("/proc/{pid}/task")),
        processes: yard.processes().len(),
        cgroups: yard.cgroups().len(),
        mounts: table.lines().filter(|line| line.contains(yard.home().as_str())).count(),
        files,
        file_kib: bytes >> 10,
        store_kib: store >> 10,
    }
}

/// Files below a directory, and their bytes.
fn walk(directory: &std::path::Path) -> (usize, u64) {
    let mut sum = (0, 0);
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let (files, bytes) = if meta.is_dir() { walk(&entry.path()) } else { (1, meta.len()) };
        sum = (sum.0 + files, sum.1 + bytes);
    }
    sum
}

/// How often instances were started.
fn starts(yard: &Yard) -> usize {
    yard.events().iter().filter(|event| event["kind"] == "instance.started").count()
}

#[test]
fn a_thousand_restarts_cost_no_more_than_a_hundred() {
    let yard = yard_with_box();
    let model = format!(
        r#"
name: loops
services:
  app:
    image: box
    command: [echo, one more time]
    restart: always
    deploy: {{replicas: {INSTANCES}}}
"#
    );
    let project = yard.project("loops", &[("compose.yaml", &model)]);
    let until = |wanted: usize| {
        while starts(&yard) < wanted {
            let _ = project.run(&["up", "-d"]);
        }
    };
    let _ = project.run(&["up", "-d"]);
    until(100);
    let early = size(&yard, &project);
    until(1000);
    let late = size(&yard, &project);
    let shown = format!("{early:#?}\n{late:#?}");
    // Newest events are kept in memory (4 MiB), and pages of the store (8 MiB). Had each start left
    // 6 KiB behind, it would be more.
    assert!(late.resident_kib < early.resident_kib + (12 << 10), "{shown}");
    // 10,000 events and revisions are kept; 900 starts are some 2,000 of them.
    assert!(late.store_kib < early.store_kib + (16 << 10), "{shown}");
    // What each says goes on in the same log.
    assert!(late.file_kib < early.file_kib + 256, "{shown}");
    // Threads that wait for the disk come and go, as many as are needed at once.
    assert!(late.tasks < early.tasks + 3 * INSTANCES, "{shown}");
    assert!(late.descriptors < early.descriptors + 4, "{shown}");
    let counts = |size: &Size| (size.processes, size.cgroups, size.mounts, size.files);
    assert_eq!(counts(&late), counts(&early), "{shown}");
}
