//! Pictures of the machine: everything that the kernel lists, to be compared before and after.
//!
//! A yard of which a picture is taken lives in network and mount namespaces of its own, so that
//! neither other tests nor anything else on the machine shows, and everything of its own does.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::run;
use crate::wait::wait_until;
use crate::yard::Yard;

/// The kernel removes the links of a dead network namespace some time later.
pub const ASYNCHRONOUS: Duration = Duration::from_secs(5);

/// What is asked of the machine, by name.
const LOOKED_AT: [(&str, &str); 9] = [
    // Without the ids of mounts, which are never given again in the same order.
    (
        "mounts",
        "cut -d' ' -f4- /proc/self/mountinfo | sed 's/ shared:[0-9]*//; s/ master:[0-9]*//' | sort",
    ),
    ("links", "ip -o link | cut -d: -f2-"),
    // Some time after it was made, an address counts as its own.
    ("addresses", "ip -o addr | cut -d: -f2- | sed 's/ tentative//'"),
    ("routes", "ip route show table all; ip -6 route show table all"),
    ("rules", "ip rule; nft list ruleset"),
    ("neighbours", "ip neigh"),
    (
        "sysctls",
        "sysctl -a 2>/dev/null | grep -E '^(net\\.ipv4\\.(conf|ip_forward|ip_unpriv|ping)|net\\.ipv6\\.conf|kernel\\.(core|pid_max|randomize|yama|unpriv|keys)|user\\.)' | grep -v -E 'stable_secret'",
    ),
    ("named namespaces", "ip netns list; cat /proc/self/mountinfo | grep -c nsfs || true"),
    ("plots", "cd /run/brickyard/plots 2>/dev/null && ls && grep -r . . || true"),
];

/// Namespaces that stay while the test runs.
pub struct Aside {
    holder: Child,
    prefix: Vec<String>,
}

impl Aside {
    /// Makes them.
    ///
    /// # Panics
    /// When `unshare` is missing or may not.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        // Mounts propagate within, as they do on an ordinary host, and not to the real host.
        // Network namespaces of other tests, pinned by mounts, are let go.
        let script = "
            mount --make-rshared /
            mount -t tmpfs none /run
            ip link set lo up
            grep ' - nsfs ' /proc/self/mountinfo | cut -d' ' -f5 | xargs -r -n1 umount -l || true
            echo ready >/run/ready
            exec sleep infinity";
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--mount", "--propagation", "private", "sh", "-ec"]);
        let holder = holder.arg(script).stdin(Stdio::null()).spawn();
        let holder = holder.expect("unshare of util-linux is installed");
        let pid = holder.id().to_string();
        let ready = format!("/proc/{pid}/root/run/ready");
        let prefix = ["nsenter", "--net", "--mount", "--target", &pid];
        let prefix = prefix.map(str::to_owned).to_vec();
        let aside = Self { holder, prefix };
        wait_until("the namespaces are made", ASYNCHRONOUS, || {
            // Before the mount it is the machine's own /run, which has no such file.
            std::path::Path::new(&ready).exists()
        });
        aside
    }

    /// What commands are started through to be in them.
    #[must_use]
    pub fn prefix(&self) -> &[String] {
        &self.prefix
    }

    /// Pid of the process that keeps them.
    ///
    /// # Panics
    /// Never: a pid fits.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.holder.id()).expect("a pid fits")
    }

    /// What a shell in them prints.
    #[must_use]
    #[track_caller]
    pub fn output(&self, words: &str) -> String {
        let mut command = Command::new(&self.prefix[0]);
        command.args(&self.prefix[1..]).args(["sh", "-c", words]);
        run(command).ok().stdout
    }

    /// Does `work` on a thread that is in the network namespace.
    ///
    /// # Panics
    /// When `work` does.
    #[track_caller]
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd;
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid()));
        let namespace = namespace.expect("the holder runs");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), kind).expect("root may join it");
                work()
            });
            thread.join().expect("the work ends")
        })
    }
}

impl Default for Aside {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What machine and yard look like, by what is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture(BTreeMap<&'static str, String>);

impl Picture {
    /// Takes a picture of everything, or of what is named alone.
    #[must_use]
    #[track_caller]
    pub fn of(aside: &Aside, yard: &Yard, only: &[&str]) -> Self {
        let is_asked = |name: &str| only.is_empty() || only.contains(&name);
        let asked = LOOKED_AT.iter().filter(|(name, _)| is_asked(name));
        let mut picture: BTreeMap<&'static str, String> =
            asked.map(|(name, words)| (*name, aside.output(words))).collect();
        let list = |paths: Vec<String>| paths.join("\n");
        let mut note = |name, lines: &dyn Fn() -> Vec<String>| {
            if is_asked(name) {
                picture.insert(name, list(lines()));
            }
        };
        note("cgroups", &|| yard.cgroups().iter().map(ToString::to_string).collect());
        note("processes", &|| yard.processes().iter().map(describe).collect());
        note("children", &|| processes_in_namespace(aside.pid()));
        Self(picture)
    }

    /// One part of it.
    ///
    /// # Panics
    /// When it was not looked at.
    #[must_use]
    #[track_caller]
    pub fn part(&self, name: &str) -> &str {
        &self.0[name]
    }

    /// Waits until the machine looks like this again, and names what does not.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_again(&self, aside: &Aside, yard: &Yard) {
        let only: Vec<&str> = self.0.keys().copied().collect();
        let start = Instant::now();
        loop {
            let now = Self::of(aside, yard, &only);
            if now == *self {
                return;
            }
            if start.elapsed() > ASYNCHRONOUS {
                let parts = self.0.iter();
                let found: Vec<String> =
                    parts.flat_map(|(name, text)| difference(name, text, &now.0[name])).collect();
                panic!("the machine is not as it was:\n{}", found.join("\n"));
            }
        }
    }
}

fn describe(pid: &i32) -> String {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid} {}", line.replace('\0', " "))
}

/// Processes that are in the holder's mount or network namespace, whatever they are called.
fn processes_in_namespace(holder: i32) -> Vec<String> {
    let of = |pid: &str, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let home = (of(&holder.to_string(), "mnt"), of(&holder.to_string(), "net"));
    let all = std::fs::read_dir("/proc").expect("/proc is mounted");
    all.filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let pid = pid.to_string();
            of(&pid, "mnt") == home.0 || of(&pid, "net") == home.1
        })
        .map(|pid| describe(&pid))
        .collect()
}

/// Lines that are only there before, or only after.
fn difference(name: &str, before: &str, after: &str) -> Vec<String> {
    let only = |sign: char, these: &str, those: &str| {
        let lines = these.lines().filter(|line| !those.lines().any(|l| l == *line));
        let shown = lines.map(|line| format!("{sign} {name}: {line}"));
        shown.collect::<Vec<_>>()
    };
    [only('-', before, after), only('+', after, before)].concat()
}
