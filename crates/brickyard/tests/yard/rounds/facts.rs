//! What the kernel and the disk say of a yard, compared with what `ps` says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use brickyard_testkit::{Aside, Project, Yard};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

/// The environment's name on disk.
const ENVIRONMENT: &str = "rounds.dev";

/// All generations; `None` while nobody answers.
pub(super) fn rows(project: &Project<'_>) -> Option<Vec<Value>> {
    let out = project.run(&["--json", "ps"]);
    if out.code != 0 {
        return None;
    }
    serde_json::from_str(&out.stdout).ok()
}

/// One-offs, too.
pub(super) fn all_rows(project: &Project<'_>) -> Vec<Value> {
    let out = project.run(&["--json", "ps", "-a"]).ok();
    serde_json::from_str(&out.stdout).expect("it is JSON")
}

/// `SERVICE/SLOT`.
pub(super) fn place_of(row: &Value) -> String {
    format!("{}/{}", row["service"].as_str().unwrap_or_default(), row["instance"])
}

/// `SERVICE.SLOT.GENERATION`, the name on disk and in control groups.
fn key_of(row: &Value) -> String {
    let service = row["service"].as_str().unwrap_or_default();
    format!("{service}.{}.{}", row["instance"], row["generation"])
}

fn pid_of(row: &Value) -> Option<i64> {
    row["pid"].as_i64()
}

fn running(rows: &[Value]) -> BTreeMap<String, i64> {
    rows.iter().filter_map(|row| Some((key_of(row), pid_of(row)?))).collect()
}

/// A variable of an instance's first process.
pub(super) fn environment_of(row: &Value, name: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{}/environ", pid_of(row)?)).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.split('\0').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

/// A file of an instance.
pub(super) fn read_inside(row: &Value, path: &str) -> String {
    let pid = pid_of(row).unwrap_or_default();
    fs::read_to_string(format!("/proc/{pid}/root/{path}")).unwrap_or_else(|err| err.to_string())
}

/// Those of `pids` whose command line has these words after one another.
pub(super) fn with_words(pids: &[i32], words: &[&str]) -> Vec<i32> {
    let has = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let line: Vec<&str> = line.split('\0').collect();
        line.windows(words.len()).any(|part| part == words)
    };
    pids.iter().copied().filter(has).collect()
}

/// In every hierarchy there are the control groups of generations that exist, and in each of these
/// one tree of processes, the one that `ps` shows.
pub(super) fn cgroups(yard: &Yard, rows: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    let known: BTreeSet<String> = rows.iter().map(key_of).collect();
    let mut firsts: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for group in yard.cgroups() {
        let text = group.as_str();
        let Some((_, rest)) = text.split_once(&yard.cgroup()) else { continue };
        let mut parts = rest.trim_start_matches('/').split('/');
        let (environment, key) = (parts.next().unwrap_or(""), parts.next());
        if !["", ENVIRONMENT].contains(&environment) {
            problems.push(format!("control group {group} is left"));
        }
        let members = members(&group);
        match key {
            Some(key) if !known.contains(key) => {
                problems.push(format!("control group {group} is left with {members:?}"));
            }
            Some(key) if parts.next() == Some("c") => {
                let first = members.into_iter().filter(|pid| is_first(*pid));
                firsts.entry(key.to_owned()).or_default().extend(first);
            }
            Some(_) => {}
            None if members.is_empty() => {}
            None => problems.push(format!("control group {group} has {members:?}")),
        }
    }
    firsts.retain(|_, pids| !pids.is_empty());
    let wanted: BTreeMap<String, BTreeSet<i64>> =
        running(rows).into_iter().map(|(key, pid)| (key, BTreeSet::from([pid]))).collect();
    if firsts != wanted {
        problems.push(format!("control groups have {firsts:?}, `ps` shows {wanted:?}"));
    }
    problems
}

fn members(group: &Utf8Path) -> Vec<i64> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Whether a process is the first of its pid namespace.
fn is_first(pid: i64) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|text| {
        let numbers: Vec<&str> = text.split_whitespace().collect();
        numbers.len() > 1 && numbers.last() == Some(&"1")
    })
}

/// One agent, one front, one monitor for each instance that runs, and nothing else.
pub(super) fn processes(yard: &Yard, rows: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    let all = yard.processes();
    let count = |words: &[&str]| with_words(&all, words).len();
    let wanted = [
        (vec!["agent", "run"], 1),
        (vec!["__front"], 1),
        (vec!["__monitor"], running(rows).len()),
        (vec!["__worker"], 0),
        (vec!["__file"], 0),
        (vec!["__copy"], 0),
    ];
    for (words, wanted) in wanted {
        let found = count(&words);
        if found != wanted {
            problems.push(format!("{found} processes `{}` instead of {wanted}", words.join(" ")));
        }
    }
    // A check runs a command now and then, which is no leftover.
    for (key, pid) in running(rows) {
        let words = [ENVIRONMENT, key.as_str(), &pid.to_string()];
        if count(&words) != 1 {
            problems.push(format!("{} processes watch {key}", count(&words)));
        }
    }
    problems
}

/// Mounts of the yard in any mount namespace belong to a generation that exists, or are the
/// environment's network.
pub(super) fn mounts(yard: &Yard, aside: &Aside, rows: &[Value]) -> Vec<String> {
    let home = yard.home().as_str();
    let known: BTreeSet<String> = rows
        .iter()
        .map(|row| format!("/{}/{ENVIRONMENT}/{}/", yard.cgroup(), key_of(row)))
        .collect();
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let mut seen = BTreeSet::from([namespace(aside.pid()), namespace(1)]);
    let mut problems = Vec::new();
    for pid in pids() {
        if !seen.insert(namespace(pid)) {
            continue;
        }
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let is_known = groups.lines().any(|line| {
            let path = line.rsplit(':').next().unwrap_or_default();
            known.iter().any(|known| path.starts_with(known))
        });
        // Other tests' namespaces are copies of the machine's, in which nothing of ours is.
        if table.contains(home) && !is_known {
            let line = table.lines().find(|line| line.contains(home)).unwrap_or_default();
            problems.push(format!("process {pid} ({}) has a mount: {line}", groups.trim()));
        }
    }
    problems
}

fn pids() -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("/proc is mounted");
    all.filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// No temporary file is left under the root and in no instance, and no directory of a generation
/// that does not exist.
pub(super) fn files(yard: &Yard, rows: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    let instances = yard.root().join("environments").join(ENVIRONMENT).join("instances");
    let known: BTreeSet<String> = rows.iter().map(key_of).collect();
    for entry in instances.read_dir_utf8().into_iter().flatten().flatten() {
        if !known.contains(entry.file_name()) {
            problems.push(format!("`{}` is left", entry.path()));
        }
    }
    let environments = yard.root().join("environments");
    for entry in environments.read_dir_utf8().into_iter().flatten().flatten() {
        if entry.file_name() != ENVIRONMENT {
            problems.push(format!("`{}` is left", entry.path()));
        }
    }
    let running = running(rows);
    for path in walk(yard.root()) {
        let name = path.file_name().unwrap_or_default();
        // What is staged in one that was stopped meanwhile goes when it is started again.
        let inside = path.strip_prefix(&instances).ok().and_then(|rest| rest.iter().next());
        let is_still = inside.is_some_and(|key| !running.contains_key(key));
        let is_staged = name.starts_with('.') && name.contains(".brickyard") && !is_still;
        if name.ends_with(".new") || is_staged || path.starts_with(yard.root().join("images/tmp")) {
            problems.push(format!("`{path}` is left"));
        }
    }
    problems
}

/// Files below a directory, image layers and mounted roots left out.
pub(super) fn walk(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut open = vec![directory.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = open.pop() {
        for entry in next.read_dir_utf8().into_iter().flatten().flatten() {
            let path = entry.path().to_owned();
            let left_out = ["layers", "blobs", "rootfs"].contains(&entry.file_name());
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true if !left_out => open.push(path),
                true => {}
                false => files.push(path),
            }
        }
    }
    files
}

/// In the environment's namespace there is one link for each instance that runs.
pub(super) fn links(yard: &Yard, aside: &Aside, rows: &[Value]) -> Vec<String> {
    let pin = yard.root().join("environments").join(ENVIRONMENT).join("netns");
    let text = aside.output(&format!("nsenter --net={pin} ip -o link show type veth"));
    let names = text.lines().filter_map(|line| line.split(": ").nth(1));
    let names: Vec<&str> = names.filter(|name| !name.starts_with("uplink")).collect();
    match names.len() == running(rows).len() {
        true => Vec::new(),
        false => {
            vec![format!("{} instances run and there are links {names:?}", running(rows).len())]
        }
    }
}
