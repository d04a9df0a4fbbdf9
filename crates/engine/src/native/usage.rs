//! What a container uses and what runs in it, read from control groups of both layouts and from
//! `/proc`. Nothing here changes anything; what has just ended is left out.

use std::fs;

use camino::Utf8Path;
use rustix::fs::{CWD, Mode, OFlags};

use super::cgroup::Layout;
use super::user;
use crate::{Process, Usage};

/// Ticks a second of the times in `/proc/PID/stat`: USER_HZ, a constant of the kernel's interface.
const TICKS_PER_SECOND: u64 = 100;
/// A v1 limit from here on means none; the kernel rounds its largest number down to a page.
const UNLIMITED_BYTES: u64 = 1 << 62;

/// What the container whose processes are in `cgroup` uses; `pid` is its first process.
pub(super) fn of(layout: &Layout, cgroup: &str, pid: i32) -> Usage {
    let unified = layout.unified.join(cgroup);
    let mut usage =
        Usage { cpu_us: field(&read(&unified, "cpu.stat"), "usage_usec"), ..Usage::default() };
    if let Some(memory) = layout.legacy_of("memory") {
        let dir = memory.join(cgroup);
        let droppable = field(&read(&dir, "memory.stat"), "total_inactive_file");
        let used = number(&read(&dir, "memory.usage_in_bytes")).unwrap_or(0);
        usage.memory_bytes = used.saturating_sub(droppable);
        let most = number(&read(&dir, "memory.limit_in_bytes"));
        usage.memory_max_bytes = most.filter(|bytes| *bytes < UNLIMITED_BYTES);
    } else {
        let droppable = field(&read(&unified, "memory.stat"), "inactive_file");
        let used = number(&read(&unified, "memory.current")).unwrap_or(0);
        usage.memory_bytes = used.saturating_sub(droppable);
        usage.memory_max_bytes = number(&read(&unified, "memory.max"));
    }
    let pids = layout.legacy_of("pids").map_or(unified.clone(), |path| path.join(cgroup));
    usage.pids = number(&read(&pids, "pids.current")).unwrap_or(0);
    usage.pids_max = number(&read(&pids, "pids.max"));
    (usage.read_bytes, usage.written_bytes) = match layout.legacy_of("blkio") {
        Some(path) => {
            let file = "blkio.throttle.io_service_bytes";
            block_v1(&read(&path.join(cgroup), file))
        }
        None => block_v2(&read(&unified, "io.stat")),
    };
    let network = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    (usage.received_bytes, usage.sent_bytes) = traffic(&network);
    usage
}

fn read(dir: &Utf8Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_default()
}

/// A file's only number; `max` is none.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(found, _)| *found == name).and_then(|(_, value)| number(value)).unwrap_or(0)
}

/// `MAJOR:MINOR Read BYTES` and `MAJOR:MINOR Write BYTES`.
fn block_v1(text: &str) -> (u64, u64) {
    let sum = |word: &str| {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let of_word = lines.filter(|fields| fields.len() == 3 && fields[1] == word);
        of_word.filter_map(|fields| number(fields[2])).sum()
    };
    (sum("Read"), sum("Write"))
}

/// `MAJOR:MINOR rbytes=BYTES wbytes=BYTES ...`.
fn block_v2(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let words = text.split_whitespace().filter_map(|word| word.strip_prefix(key));
        words.filter_map(|rest| number(rest.strip_prefix('=')?)).sum()
    };
    (sum("rbytes"), sum("wbytes"))
}

/// Bytes received and sent, as `/proc/PID/net/dev` counts them for each interface.
fn traffic(text: &str) -> (u64, u64) {
    let mut sums = (0, 0);
    for (name, counters) in text.lines().filter_map(|line| line.split_once(':')) {
        let counters: Vec<u64> = counters.split_whitespace().filter_map(number).collect();
        if name.trim() != "lo" && counters.len() > 8 {
            sums.0 += counters[0];
            sums.1 += counters[8];
        }
    }
    sums
}

/// Processes in `cgroup` and below it, in the order in which they were started; `first` is the first one.
pub(super) fn processes(layout: &Layout, cgroup: &str, first: i32, uid_base: u32) -> Vec<Process> {
    let below = layout.children(cgroup).into_iter().map(|name| format!("{cgroup}/{name}"));
    let groups = std::iter::once(cgroup.to_owned()).chain(below);
    let pids: String =
        groups.map(|group| read(&layout.unified.join(group), "cgroup.procs")).collect();
    let boot_ms = field(&fs::read_to_string("/proc/stat").unwrap_or_default(), "btime") * 1000;
    let names = user_names(first);
    let mut all: Vec<Process> = pids
        .lines()
        .filter_map(|pid| process(pid.parse().ok()?, boot_ms, uid_base))
        .map(|process| {
            let known = names.iter().find(|(uid, _)| *uid == process.uid);
            Process { user: known.map(|(_, name)| name.clone()), ..process }
        })
        .collect();
    all.sort_by_key(|process| (process.started_ms, process.pid));
    all
}

/// Users as the instance's own files name them.
fn user_names(pid: i32) -> Vec<(u32, String)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())
        .map(user::names)
        .unwrap_or_default()
}

fn process(pid: i32, boot_ms: u64, uid_base: u32) -> Option<Process> {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).ok();
    let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
    // The name stands in parentheses and may hold any character.
    let (before, after) = stat.rsplit_once(") ")?;
    let name = before.split_once(" (")?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| number(text)).unwrap_or(0);
    let status = String::from_utf8_lossy(&read("status")?).into_owned();
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
    let uid: u32 = line("Uid:")?.split_whitespace().nth(1)?.parse().ok()?;
    let inside = line("NSpid:").and_then(|numbers| numbers.split_whitespace().last());
    let mut words: Vec<String> = read("cmdline")?
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    words.pop();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        pid_inside: inside.and_then(|number| number.parse().ok()).unwrap_or(pid),
        uid: uid.checked_sub(uid_base).unwrap_or(uid),
        user: None,
        cpu_ms: (ticks(11) + ticks(12)) * 1000 / TICKS_PER_SECOND,
        started_ms: boot_ms + ticks(19) * 1000 / TICKS_PER_SECOND,
        command: if words.is_empty() { format!("[{name}]") } else { words.join(" ") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_both_layouts_are_read() {
        assert_eq!(field("usage_usec 42\nuser_usec 40\n", "usage_usec"), 42);
        assert_eq!(field("user_usec 40\n", "usage_usec"), 0);
        let v1 = "8:0 Read 10\n8:0 Write 20\n8:16 Read 1\n8:0 Total 31\nTotal 31\n";
        assert_eq!(block_v1(v1), (11, 20));
        let v2 = "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n";
        assert_eq!(block_v2(v2), (11, 22));
        assert_eq!((number("max\n"), number("7\n")), (None, Some(7)));
    }

    #[test]
    fn the_loopback_does_not_count() {
        let text = "Inter-|   Receive      |  Transmit\n face |bytes packets\n    lo: 9 1 0 0 0 0 0 0 9 1 \
                    0 0 0 0 0 0\n  eth0: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), (100, 200));
    }
}
