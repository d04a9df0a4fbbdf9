//! Control groups on unified and hybrid machines.
//!
//! Every generation has `INSTANCE` with two children in the unified hierarchy: `m` holds worker
//! and monitor, `c` the container; `cgroup.kill` of one of them takes just that part, of the
//! parent everything. On a hybrid machine the limits live in `INSTANCE/c` of the v1 hierarchies,
//! which the runtime makes. A worker enters `m` before it does anything else, so that nothing it
//! starts can be lost from sight.

use std::fs;
use std::io::{self, ErrorKind};
use std::thread::sleep;
use std::time::{Duration, Instant};

use brickyard_core::spec::Limits;
use camino::{Utf8Path, Utf8PathBuf};

/// CGROUP_SUPER_MAGIC of linux/magic.h.
const CGROUP_MAGIC: i64 = 0x0027_e0eb;
/// CGROUP2_SUPER_MAGIC of linux/magic.h.
const CGROUP2_MAGIC: i64 = 0x6367_7270;
/// How long a cgroup may take to let go of its last process, or to stand still.
const EMPTY_DEADLINE: Duration = Duration::from_secs(10);

/// Where hybrid machines have their unified hierarchy.
const HYBRID: &str = "/sys/fs/cgroup/unified";
/// Where one is mounted on a machine that has none.
const OWN: &str = "/run/brickyard/cgroup";

/// Where the machine's hierarchies are.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The unified hierarchy.
    pub(crate) unified: Utf8PathBuf,
    /// The v1 hierarchies of a hybrid machine; empty on a unified one.
    pub(crate) legacy: Vec<Utf8PathBuf>,
}

impl Layout {
    /// Looks at the mounts under `/sys/fs/cgroup`.
    pub(crate) fn detect() -> io::Result<Self> {
        let is_unified =
            |path: &str| rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == CGROUP2_MAGIC);
        if is_unified("/sys/fs/cgroup") {
            return Ok(Self { unified: "/sys/fs/cgroup".into(), legacy: Vec::new() });
        }
        let found = [HYBRID, OWN].into_iter().find(|path| is_unified(path));
        // Opening the engine mounts it beside hierarchies of v1 that are alone.
        let alone = Utf8Path::new("/sys/fs/cgroup/memory").exists().then_some(OWN);
        let unified = found.or(alone).ok_or_else(|| {
            io::Error::other(
                "no unified cgroup hierarchy is mounted at /sys/fs/cgroup or \
                 /sys/fs/cgroup/unified; mount one (mount -t cgroup2 none /sys/fs/cgroup/unified)",
            )
        })?;
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mut legacy: Vec<Utf8PathBuf> = mounts
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields.get(2) == Some(&"cgroup"))
            .filter_map(|fields| fields.get(1).map(Utf8PathBuf::from))
            .collect();
        legacy.sort();
        legacy.dedup();
        Ok(Self { unified: unified.into(), legacy })
    }

    /// As [`Layout::detect`]; a machine with v1 hierarchies alone gets a unified one beside them, at a
    /// place of our own. It has no controllers, and stays until the next boot.
    pub(crate) fn detect_or_mount() -> io::Result<Self> {
        let layout = Self::detect()?;
        let is_there = rustix::fs::statfs(layout.unified.as_std_path())
            .is_ok_and(|stat| stat.f_type == CGROUP2_MAGIC);
        if !is_there {
            fs::create_dir_all(OWN)?;
            rustix::mount::mount("none", OWN, "cgroup2", rustix::mount::MountFlags::empty(), None)?;
        }
        Ok(layout)
    }

    fn hierarchies(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        std::iter::once(&self.unified).chain(&self.legacy)
    }

    pub(crate) fn legacy_of(&self, controller: &str) -> Option<&Utf8PathBuf> {
        self.legacy.iter().find(|path| {
            path.file_name().is_some_and(|name| name.split(',').any(|n| n == controller))
        })
    }

    /// Whether limits of this kind can be set: on a hybrid machine the runtime sets them in v1
    /// hierarchies alone.
    pub(crate) fn has_controller(&self, name: &str) -> bool {
        if !self.legacy.is_empty() {
            return self.legacy_of(name).is_some();
        }
        fs::read_to_string(self.unified.join("cgroup.controllers"))
            .is_ok_and(|text| text.split_whitespace().any(|found| found == name))
    }

    /// Makes the yard's own cgroup ready. With `clone_children` a new cpuset takes its parent's
    /// CPUs at once, instead of rebuilding the scheduler's domains at each write (1 ms a start).
    pub(crate) fn prepare_yard(&self, yard: &str) -> io::Result<()> {
        fs::create_dir_all(self.unified.join(yard))?;
        if let Some(cpuset) = self.legacy_of("cpuset") {
            let dir = cpuset.join(yard);
            fs::create_dir_all(&dir)?;
            for name in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(dir.join(name), fs::read_to_string(cpuset.join(name))?)?;
            }
            fs::write(dir.join("cgroup.clone_children"), "1")?;
        }
        Ok(())
    }

    /// Moves the calling process into `cgroup/m` of the unified hierarchy.
    pub(crate) fn enter_monitor(&self, cgroup: &str) -> io::Result<()> {
        let dir = self.unified.join(cgroup).join("m");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("cgroup.procs"), "0")
    }

    /// Moves the container's first process into `cgroup/c` of the unified hierarchy, which the
    /// runtime does not touch on a hybrid machine.
    pub(crate) fn adopt_container(&self, cgroup: &str, pid: i32) -> io::Result<()> {
        if self.legacy.is_empty() {
            return Ok(());
        }
        let dir = self.unified.join(cgroup).join("c");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("cgroup.procs"), pid.to_string())
    }

    /// Moves the calling process into `cgroup/c` of every hierarchy, so that limits hold for it.
    pub(crate) fn enter_container(&self, cgroup: &str) -> io::Result<()> {
        for hierarchy in self.hierarchies() {
            let procs = hierarchy.join(cgroup).join("c/cgroup.procs");
            match fs::write(&procs, "0") {
                Err(err) if err.kind() == ErrorKind::NotFound && *hierarchy != self.unified => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Moves the calling process into `cgroup` of the unified hierarchy.
    pub(crate) fn enter(&self, cgroup: &str) -> io::Result<()> {
        fs::write(self.unified.join(cgroup).join("cgroup.procs"), "0")
    }

    /// Whether any process is left in `cgroup`.
    pub(crate) fn is_populated(&self, cgroup: &str) -> bool {
        fs::read_to_string(self.unified.join(cgroup).join("cgroup.events"))
            .is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
    }

    /// Whether `cgroup` was frozen, or is about to be.
    pub(crate) fn is_frozen(&self, cgroup: &str) -> bool {
        fs::read_to_string(self.unified.join(cgroup).join("cgroup.freeze"))
            .is_ok_and(|text| text.trim() == "1")
    }

    /// Freezes everything in `cgroup` and waits until nothing moves. What cannot be frozen in time
    /// is left running: half a pause would be neither.
    pub(crate) fn freeze(&self, cgroup: &str) -> io::Result<()> {
        let dir = self.unified.join(cgroup);
        fs::write(dir.join("cgroup.freeze"), "1")?;
        let start = Instant::now();
        let holds = || {
            fs::read_to_string(dir.join("cgroup.events"))
                .is_ok_and(|text| text.lines().any(|line| line == "frozen 1"))
        };
        while !holds() {
            if start.elapsed() > EMPTY_DEADLINE {
                self.thaw(cgroup)?;
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    format!("processes in cgroup `{cgroup}` do not stand still"),
                ));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets everything in `cgroup` go on.
    pub(crate) fn thaw(&self, cgroup: &str) -> io::Result<()> {
        fs::write(self.unified.join(cgroup).join("cgroup.freeze"), "0")
    }

    /// Kills everything in `cgroup` and waits until it is gone.
    pub(crate) fn kill(&self, cgroup: &str) -> io::Result<()> {
        let file = self.unified.join(cgroup).join("cgroup.kill");
        match fs::write(file, "1") {
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        let start = Instant::now();
        while self.is_populated(cgroup) {
            if start.elapsed() > EMPTY_DEADLINE {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    format!("processes in cgroup `{cgroup}` do not end"),
                ));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Removes `cgroup` and its children in every hierarchy; it is empty of processes.
    pub(crate) fn remove(&self, cgroup: &str) -> io::Result<()> {
        for hierarchy in self.hierarchies() {
            let dir = hierarchy.join(cgroup);
            // What an instance has: reading its directories would take longer than removing them.
            for child in ["c", "m"] {
                let _ = fs::remove_dir(dir.join(child));
            }
            remove_tree(&dir)?;
        }
        Ok(())
    }

    /// Names of the children of `cgroup` in any hierarchy.
    pub(crate) fn children(&self, cgroup: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .hierarchies()
            .filter_map(|hierarchy| fs::read_dir(hierarchy.join(cgroup)).ok())
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// How often the kernel killed something in the container for want of memory.
    pub(crate) fn oom_kills(&self, cgroup: &str) -> u64 {
        let file = match self.legacy_of("memory") {
            Some(memory) => memory.join(cgroup).join("c/memory.oom_control"),
            None => self.unified.join(cgroup).join("c/memory.events"),
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|number| number.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Reads every limit back, looks whether `pid` is under it, and says what does not hold.
    ///
    /// # Errors
    /// Names the first limit that could not be applied.
    pub(crate) fn verify(&self, cgroup: &str, limits: &Limits, pid: i32) -> Result<(), String> {
        let unified = |file: &str| self.unified.join(cgroup).join("c").join(file);
        let legacy = |controller: &str, file: &str| {
            self.legacy_of(controller).map(|path| path.join(cgroup).join("c").join(file))
        };
        let (pids, memory, cpu) = if self.legacy.is_empty() {
            (Some(unified("pids.max")), Some(unified("memory.max")), Some(unified("cpu.max")))
        } else {
            (
                legacy("pids", "pids.max"),
                legacy("memory", "memory.limit_in_bytes"),
                legacy("cpu", "cpu.cfs_quota_us"),
            )
        };
        expect("the process limit", pids, limits.pids_max, pid)?;
        if let Some(bytes) = limits.memory_bytes {
            expect("the memory limit", memory, bytes / 4096 * 4096, pid)?;
        }
        if let Some(millis) = limits.cpu_millis {
            expect("the CPU limit", cpu, millis * CPU_PERIOD_US / 1000, pid)?;
        }
        Ok(())
    }
}

/// Period of the CPU limit, in microseconds; the kernel's default.
pub(crate) const CPU_PERIOD_US: u64 = 100_000;

fn expect(what: &str, file: Option<Utf8PathBuf>, wanted: u64, pid: i32) -> Result<(), String> {
    let failed = |why: String| Err(format!("{what} could not be applied: {why}"));
    let Some(file) = file else {
        return failed("the machine has no controller for it".to_owned());
    };
    // Something else may be mounted over the hierarchy and take any value.
    let is_cgroup = rustix::fs::statfs(file.as_std_path())
        .is_ok_and(|stat| [CGROUP_MAGIC, CGROUP2_MAGIC].contains(&stat.f_type));
    if !is_cgroup {
        return failed(format!("`{file}` is not in a cgroup hierarchy"));
    }
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(err) => return failed(format!("`{file}`: {err}")),
    };
    let first = text.split_whitespace().next().unwrap_or_default();
    if first != wanted.to_string() {
        return failed(format!("`{file}` says {first} instead of {wanted}"));
    }
    let members = fs::read_to_string(file.with_file_name("cgroup.procs")).unwrap_or_default();
    match members.lines().any(|line| line == pid.to_string()) {
        true => Ok(()),
        false => failed(format!("process {pid} is not under `{file}`")),
    }
}

/// Removes a cgroup directory with its children, waiting out the moments in which it is busy.
fn remove_tree(dir: &Utf8Path) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match fs::remove_dir(dir) {
            // It has children, or its last process is just going.
            Err(err) if err.kind() == ErrorKind::ResourceBusy => {
                if !remove_children(dir)? {
                    if start.elapsed() > EMPTY_DEADLINE {
                        return Err(err);
                    }
                    sleep(Duration::from_millis(1));
                }
            }
            Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
            _ => return Ok(()),
        }
    }
}

/// Removes the children of a cgroup; whether there were any.
fn remove_children(dir: &Utf8Path) -> io::Result<bool> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(false),
        Err(err) => return Err(err),
    };
    let mut had_any = false;
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            remove_tree(&dir.join(name))?;
            had_any = true;
        }
    }
    Ok(had_any)
}
