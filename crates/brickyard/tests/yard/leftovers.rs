//! `down` leaves the machine as it was: everything that the kernel lists is compared before and
//! after a life with every sort of change in it.
//!
//! The yard lives in network and mount namespaces of its own, so that neither other tests nor
//! anything else on the machine shows in the comparison, and everything of its own does.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use brickyard_testkit::{Project, Yard, run, wait_until};

use crate::support::BRICKYARD;

/// The kernel removes the links of a dead network namespace some time later.
const ASYNCHRONOUS: Duration = Duration::from_secs(5);

/// Namespaces that stay while the test runs.
struct Aside {
    holder: Child,
    prefix: Vec<String>,
}

impl Aside {
    fn new() -> Self {
        // Mounts propagate within, as they do on an ordinary host, and not to the real host.
        // Network namespaces of other tests, pinned by mounts, are let go.
        let script = "
            mount --make-rshared /
            mount -t tmpfs none /run
            ip link set lo up
            grep ' - nsfs ' /proc/self/mountinfo | cut -d' ' -f5 | xargs -r -n1 umount -l || true
            echo ready >/run/ready
            exec sleep 600";
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

    fn output(&self, words: &str) -> String {
        let mut command = Command::new(&self.prefix[0]);
        command.args(&self.prefix[1..]).args(["sh", "-c", words]);
        run(command).ok().stdout
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What the machine and the yard look like, by what is looked at.
fn picture(aside: &Aside, yard: &Yard) -> BTreeMap<&'static str, String> {
    let looked_at = [
        // Without the ids of mounts, which are never given again in the same order.
        (
            "mounts",
            "cut -d' ' -f4- /proc/self/mountinfo | sed 's/ shared:[0-9]*//; s/ master:[0-9]*//' | sort",
        ),
        ("links", "ip -o link | cut -d: -f2-"),
        ("addresses", "ip -o addr | cut -d: -f2-"),
        ("routes", "ip route show table all; ip -6 route show table all"),
        ("rules", "ip rule; nft list ruleset"),
        ("neighbours", "ip neigh"),
        (
            "sysctls",
            "sysctl -a 2>/dev/null | grep -E '^(net\\.ipv4\\.(conf|ip_forward|ip_unpriv|ping)|net\\.ipv6\\.conf|kernel\\.(core|pid_max|randomize|yama|unpriv|keys)|user\\.)' | grep -v -E 'stable_secret'",
        ),
        ("named namespaces", "ip netns list; cat /proc/self/mountinfo | grep -c nsfs || true"),
        ("plots", "ls /run/brickyard/plots 2>/dev/null || true"),
    ];
    let mut picture: BTreeMap<&'static str, String> =
        looked_at.iter().map(|(name, words)| (*name, aside.output(words))).collect();
    let list = |paths: Vec<String>| paths.join("\n");
    let cgroups = yard.cgroups().iter().map(ToString::to_string).collect();
    picture.insert("cgroups", list(cgroups));
    let processes = yard.processes().iter().map(describe).collect();
    picture.insert("processes", list(processes));
    let holder = i32::try_from(aside.holder.id()).expect("a pid fits");
    picture.insert("children", list(processes_in_namespace(holder)));
    picture
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

fn project<'a>(yard: &'a Yard, name: &str) -> Project<'a> {
    let port = yard.port();
    let model = format!(
        r#"
name: {name}
services:
  web:
    image: box
    command: [httpd, -f, -p, "80", -h, /www]
    stop_signal: KILL
    ports: ["127.0.0.1:{port}:80"]
    deploy: {{replicas: 2, update_config: {{order: start-first}}}}
    mem_limit: 64m
    tmpfs: [/scratch]
    x-brickyard:
      provides: {{http: 80}}
      needs: {{db: db/echo}}
      templates: [{{src: page.tmpl, dest: /www/index.html, check: [grep, -q, text, "{{{{.src}}}}"], reload: none}}]
  db:
    image: box
    command: [nc, -ll, -p, "7", -e, cat]
    stop_signal: KILL
    read_only: true
    volumes: ["data:/data"]
    healthcheck: {{test: [CMD, "true"], interval: 1s}}
    x-brickyard: {{provides: {{echo: 7}}}}
volumes: {{data: {{}}}}
x-brickyard: {{config: {{text: one}}}}
"#
    );
    let page = "text {{getv \"/text\"}} at {{line \"db\"}}\n";
    yard.project(name, &[("compose.yaml", &model), ("page.tmpl", page)])
}

/// One life of an environment, with every sort of change in it.
fn live(project: &Project<'_>) {
    project.up();
    let _ = project.exec("db", "echo kept >/data/file");
    let _ = project.run(&["exec", "web/1", "false"]).fails_with(1);
    let _ = project.run(&["set", "text=two"]).ok();
    let _ = project.run(&["scale", "web=3"]).ok();
    let _ = project.run(&["restart", "db"]).ok();
    let _ = project.run(&["stop", "web/3"]).ok();
    let _ = project.run(&["rm", "web"]).ok();
    let _ = project.run(&["scale", "web=1"]).ok();
    project.edit("compose.yaml", "64m", "65m");
    project.up();
}

#[test]
fn down_leaves_the_machine_as_it_was() {
    let aside = Aside::new();
    let yard = Yard::within(BRICKYARD, &aside.prefix);
    yard.import_box();
    let project = project(&yard, "life");
    let before = picture(&aside, &yard);

    live(&project);
    let during = picture(&aside, &yard);
    for looked_at in ["mounts", "links", "routes", "cgroups", "processes", "plots"] {
        assert_ne!(before[looked_at], during[looked_at], "{looked_at} shows nothing");
    }
    let _ = project.run(&["down", "-v"]).ok();
    assert_same(&aside, &yard, &before);

    // What runs once and what fails to start leaves nothing either.
    let _ = project.run(&["run", "--rm", "box", "echo", "once"]).ok();
    assert_same(&aside, &yard, &before);
    project.edit("compose.yaml", "httpd, -f", "no-such-program, -f");
    let _ = project.run(&["up", "-d"]).fails_with(1);
    let _ = project.run(&["down", "-v"]).ok();
    assert_same(&aside, &yard, &before);
    let volumes = yard.root().join("volumes");
    let left: Vec<_> = walk(&volumes);
    assert!(left.is_empty(), "{left:?}");
}

/// Waits until the pictures are the same, and names what is not.
#[track_caller]
fn assert_same(aside: &Aside, yard: &Yard, before: &BTreeMap<&'static str, String>) {
    let start = std::time::Instant::now();
    loop {
        let after = picture(aside, yard);
        if after == *before {
            return;
        }
        if start.elapsed() > ASYNCHRONOUS {
            let found: Vec<String> = before
                .iter()
                .flat_map(|(name, text)| difference(name, text, &after[name]))
                .collect();
            panic!("the machine is not as it was:\n{}", found.join("\n"));
        }
    }
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

/// Files below a directory.
fn walk(directory: &camino::Utf8Path) -> Vec<String> {
    let mut open = vec![directory.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = open.pop() {
        for entry in next.read_dir_utf8().into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => open.push(entry.path().to_owned()),
                false => files.push(entry.path().to_string()),
            }
        }
    }
    files
}

#[test]
fn volumes_stay_unless_they_are_told_to_go() {
    let yard = crate::support::yard_with_box();
    let project = project(&yard, "keep");
    project.up();
    let _ = project.exec("db", "echo kept >/data/file");
    let _ = project.run(&["down"]).ok();
    assert_eq!(yard.processes(), Vec::<i32>::new());
    project.up();
    assert_eq!(project.exec("db", "cat /data/file"), "kept\n");
    let _ = project.run(&["down", "-v"]).ok();
    project.up();
    assert_eq!(project.exec("db", "ls /data"), "");
}
