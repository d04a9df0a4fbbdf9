//! Runs a command under a kernel that lies: for tests that see whether a start is refused when a
//! protection could not be applied. `sabotage WHAT COMMAND...`
//!
//! A seccomp filter that answers "0" makes a call look as if it had worked. Limits are taken away by
//! other mounts at the place of the cgroup hierarchies.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

const CGROUPS: &str = "/sys/fs/cgroup";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, program, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: sabotage WHAT COMMAND...");
    };
    match what.as_str() {
        "nothing" => {}
        // The filter is "installed", by either of the two calls that do that.
        "seccomp" => lie(vec![
            (libc::SYS_seccomp, Vec::new()),
            (libc::SYS_prctl, vec![(0, libc::PR_SET_SECCOMP as u64)]),
        ])?,
        "user-namespace" => {
            lie(vec![(libc::SYS_setns, vec![(1, libc::CLONE_NEWUSER as u64)])])?;
        }
        "limits" => {
            brickyard_sys::namespace::private_mounts()?;
            if Path::new(CGROUPS).join("cgroup.controllers").exists() {
                return without_controllers(program, rest);
            }
            for hierarchy in ["pids", "memory"] {
                let path = format!("{CGROUPS}/{hierarchy}");
                if Path::new(&path).exists() {
                    let flags = rustix::mount::MountFlags::empty();
                    rustix::mount::mount("none", &path, "tmpfs", flags, None)?;
                }
            }
        }
        other => anyhow::bail!("`{other}` is not known"),
    }
    Err(std::process::Command::new(program).args(rest).exec().into())
}

/// Runs a command on a machine whose unified hierarchy, a part of the real one, has no controllers.
fn without_controllers(program: &str, rest: &[String]) -> anyhow::Result<()> {
    let outer = format!("{CGROUPS}/brickyard-sabotage-{}", std::process::id());
    // Controllers are handed down one floor at a time, and here the outer one keeps them.
    let inner = format!("{outer}/inner");
    std::fs::create_dir_all(&inner)?;
    rustix::mount::mount_bind(&inner, CGROUPS)?;
    let status = std::process::Command::new(program).args(rest).status()?;
    rustix::mount::unmount(CGROUPS, rustix::mount::UnmountFlags::DETACH)?;
    remove_groups(Path::new(&outer))?;
    std::process::exit(status.code().unwrap_or(1));
}

fn remove_groups(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    std::fs::remove_dir(directory)
}

/// Lets calls whose arguments are as given return 0 without doing anything.
fn lie(calls: Vec<(i64, Vec<(u8, u64)>)>) -> anyhow::Result<()> {
    let mut rules = BTreeMap::new();
    for (number, arguments) in calls {
        let conditions: Result<Vec<_>, _> = arguments
            .into_iter()
            .map(|(at, value)| {
                SeccompCondition::new(at, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
            })
            .collect();
        let conditions = conditions?;
        let list = match conditions.is_empty() {
            true => Vec::new(),
            false => vec![SeccompRule::new(conditions)?],
        };
        rules.insert(number, list);
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(0),
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}
