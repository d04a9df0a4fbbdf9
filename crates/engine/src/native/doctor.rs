//! What this machine can do, one finding for each thing that the engine asks of it.

use std::fs;

use serde::Serialize;

use super::cgroup::Layout;

/// One thing, whether it is there, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// Whether it is there.
    pub ok: bool,
    /// Whether the engine cannot run without it.
    pub required: bool,
    /// What was found.
    pub detail: String,
    /// What to do when it is missing.
    pub hint: Option<String>,
}

/// Looks at the machine; changes nothing.
#[must_use]
pub fn examine() -> Vec<Finding> {
    vec![
        root(),
        kernel(),
        cgroups(),
        controllers(),
        user_namespaces(),
        overlay(),
        seccomp(),
        forwarding(),
    ]
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn finding(name: &'static str, ok: bool, detail: impl Into<String>) -> Finding {
    Finding { name, ok, required: true, detail: detail.into(), hint: None }
}

impl Finding {
    fn hint(mut self, text: &str) -> Self {
        self.hint = (!self.ok).then(|| text.to_owned());
        self
    }

    fn optional(mut self) -> Self {
        self.required = false;
        self
    }
}

fn root() -> Finding {
    let status = read("/proc/self/status");
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    // CAP_SYS_ADMIN is bit 21, CAP_NET_ADMIN bit 12.
    let ok = capabilities & (1 << 21) != 0 && capabilities & (1 << 12) != 0;
    finding("root", ok, if ok { "yes" } else { "no" }).hint("run it with sudo")
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    // Overlay over layers with mapped ids came with Linux 5.19.
    finding("kernel", version >= (5, 19), release).hint("Linux 5.19 or newer is needed")
}

fn cgroups() -> Finding {
    match Layout::detect() {
        Ok(layout) if layout.legacy.is_empty() => finding("cgroups", true, "unified"),
        Ok(layout) => {
            let detail = format!("hybrid, {} v1 hierarchies", layout.legacy.len());
            finding("cgroups", true, detail)
        }
        Err(err) => finding("cgroups", false, err.to_string()),
    }
}

fn controllers() -> Finding {
    let missing: Vec<&str> = match Layout::detect() {
        Ok(layout) => {
            let has = |name: &&str| layout.has_controller(name);
            ["cpu", "memory", "pids"].into_iter().filter(|name| !has(name)).collect()
        }
        // The finding before this one says why.
        Err(_) => return finding("limits", false, "no cgroups"),
    };
    match missing.is_empty() {
        true => finding("limits", true, "cpu, memory, pids"),
        false => finding("limits", false, format!("no controller for {}", missing.join(", "))).hint(
            "they must be in /sys/fs/cgroup/cgroup.controllers, or mounted beside it in a hybrid layout",
        ),
    }
}

fn user_namespaces() -> Finding {
    let most = read("/proc/sys/user/max_user_namespaces");
    let ok = most.parse::<u64>().is_ok_and(|count| count > 0);
    finding("user namespaces", ok, format!("at most {most}"))
        .hint("sysctl -w user.max_user_namespaces=10000")
}

fn overlay() -> Finding {
    let known = read("/proc/filesystems");
    let ok = known.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay");
    finding("overlay file system", ok, if ok { "yes" } else { "no" }).hint("modprobe overlay")
}

fn seccomp() -> Finding {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail");
    let ok = actions.split_whitespace().any(|action| action == "errno");
    finding("system call filter", ok, actions)
}

/// Whether packets may leave the machine. Without it instances reach each other and the host only.
#[must_use]
pub fn forwarding() -> Finding {
    let on = read("/proc/sys/net/ipv4/ip_forward") == "1";
    let detail = if on { "net.ipv4.ip_forward is on" } else { "net.ipv4.ip_forward is off" };
    finding("way out of the machine", on, detail)
        .optional()
        .hint("instances reach each other and this host, but nothing beyond it")
}
