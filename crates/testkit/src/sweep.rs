//! Taking away what a yard may have left, whatever state it is in: the guard behind every test.

use std::fs;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_until;

/// Where control groups are mounted, each hierarchy of v1 in a directory of its own.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Claims of id ranges and subnets.
const PLOTS: &str = "/run/brickyard/plots";

/// Pids of processes that name the yard's home on their command line, as all of the product's do.
pub(crate) fn processes(home: &Utf8Path) -> Vec<i32> {
    let mine = std::process::id();
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names_home = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            line.windows(home.as_str().len()).any(|part| part == home.as_str().as_bytes())
        })
    };
    all.filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| pid.unsigned_abs() != mine)
        .filter(names_home)
        .collect()
}

/// The yard's control groups, in every hierarchy, the outermost first.
pub(crate) fn cgroups(name: &str) -> Vec<Utf8PathBuf> {
    let base = Utf8Path::new(CGROUPS);
    let mut tops = vec![base.join(name)];
    for entry in base.read_dir_utf8().into_iter().flatten().flatten() {
        tops.push(entry.path().join(name));
    }
    let mut open: Vec<Utf8PathBuf> = tops.into_iter().filter(|top| top.is_dir()).collect();
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir_utf8().into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path().to_owned());
            }
        }
        found.push(directory);
    }
    found.sort();
    found.dedup();
    found
}

/// Mounts below the yard's home, the innermost last.
pub(crate) fn mounts(home: &Utf8Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|at| Utf8Path::new(at).starts_with(home))
        .map(str::to_owned)
        .collect()
}

/// Kills and removes everything that belongs to the yard in `home`.
pub(crate) fn sweep(home: &Utf8Path, cgroup: &str) {
    // Monitors would see the end of what they watch and write it down: they go first.
    for pid in processes(home) {
        kill(pid);
    }
    let groups = cgroups(cgroup);
    wait_until("the yard's processes die", Duration::from_secs(10), || {
        let pids: Vec<i32> = groups.iter().flat_map(|group| members(group)).collect();
        pids.iter().for_each(|pid| kill(*pid));
        pids.is_empty()
    });
    for group in groups.iter().rev() {
        let _ = fs::remove_dir(group);
    }
    for at in mounts(home).iter().rev() {
        let _ = rustix::mount::unmount(at.as_str(), rustix::mount::UnmountFlags::DETACH);
    }
    for entry in fs::read_dir(PLOTS).into_iter().flatten().flatten() {
        let owner = fs::read_to_string(entry.path()).unwrap_or_default();
        if Utf8Path::new(owner.trim()).starts_with(home) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn members(group: &Utf8Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended by itself meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Kills a process and waits until it has ended and let go of all that it had open.
#[track_caller]
pub fn kill_and_wait(pid: i32) {
    kill(pid);
    wait_until("the killed process ends", Duration::from_secs(10), || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie that its parent has not asked for yet has ended, too.
        stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
    });
}
