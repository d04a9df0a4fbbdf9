//! Escapes and abuses, each contained: what stops it is asserted by the exact refusal, or by the
//! absence of the effect outside. The table in `docs/security.md` names these tests.
//!
//! Attempts are words of `crates/sys/examples/probe.rs`. Each is made twice: inside a container with
//! the defaults, and outside as root, in namespaces of its own where it would change the machine.
//! What the second one answers shows that the first is not refused for another reason.

mod calls;
mod devices;
mod helpers;
mod images;
mod network;
mod proc_and_sys;
mod resources;
mod rights;
mod storage;

use std::os::unix::fs::symlink;
use std::process::Command;

use brickyard_engine::{Engine, ExecRequest, InstanceId, StartRequest};
use camino::Utf8PathBuf;

use crate::support::{Bench, binary};

/// The program that makes the attempts.
pub(super) fn probe() -> Utf8PathBuf {
    let probe = binary().parent().unwrap().join("examples/probe");
    assert!(
        probe.exists(),
        "{probe} is missing: build it (cargo build -p brickyard-sys --examples)"
    );
    probe
}

/// Makes attempts outside, as root; an answer for each.
pub(super) fn outside(attempts: &[&str]) -> Vec<String> {
    let output = Command::new(probe()).args(attempts).output().unwrap();
    lines(&output.stdout)
}

fn lines(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output).lines().map(str::to_owned).collect()
}

/// One running container with the probe in it.
pub(super) struct Cell {
    pub(super) bench: Bench,
    pub(super) id: InstanceId,
    pub(super) pid: i32,
}

impl Cell {
    /// A container with the defaults.
    pub(super) async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    /// A container whose image or request was changed.
    pub(super) async fn with(change: impl FnOnce(&Bench, &mut StartRequest)) -> Self {
        let bench = Self::bench().await;
        let mut request = bench.request("cell", &["sleep", "1000"]);
        change(&bench, &mut request);
        let pid = bench.engine.start(&request).await.unwrap().pid;
        Self { bench, id: request.id, pid }
    }

    /// A bench whose layer has the probe.
    pub(super) async fn bench() -> Bench {
        let bench = Bench::new().await;
        let layer = bench.root.join("layer");
        std::fs::copy(probe(), layer.join("probe")).unwrap();
        for directory in ["mnt", "tmp"] {
            std::fs::create_dir(layer.join(directory)).unwrap();
        }
        for applet in ["httpd", "nc", "mkdir", "ln", "chmod", "cp", "rm", "stat", "ps"] {
            symlink("busybox", layer.join("bin").join(applet)).unwrap();
        }
        bench
    }

    /// Makes attempts inside, as root there; an answer for each.
    pub(super) async fn inside(&self, attempts: &[&str]) -> Vec<String> {
        let argv: Vec<&str> = std::iter::once("/probe").chain(attempts.iter().copied()).collect();
        let (_, output) = self.run(&argv, "").await;
        lines(output.as_bytes())
    }

    /// Runs a program inside as a user; its code and output.
    pub(super) async fn run(&self, argv: &[&str], user: &str) -> (i32, String) {
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        let mut request = ExecRequest::of(&argv);
        request.user = Some(user.to_owned());
        let ran = self.bench.engine.exec(&self.id, &request).await.unwrap();
        (ran.code, String::from_utf8_lossy(&ran.output).trim().to_owned())
    }

    /// Runs a script inside; its output.
    pub(super) async fn sh(&self, script: &str) -> String {
        self.run(&["sh", "-c", script], "").await.1
    }

    /// Looks whether each attempt is answered as its row says, inside and outside.
    pub(super) async fn contains(&self, rows: &[Row]) {
        for (attempt, contained, control) in rows {
            let words: Vec<&str> = attempt.split(' ').collect();
            let answers = self.inside(&words).await;
            let answer = answers.last().map_or("", String::as_str);
            assert!(fits(contained, answer), "`{attempt}` inside: `{answer}`, not `{contained}`");
            let free: Vec<&str> = std::iter::once("private").chain(words).collect();
            let answers = outside(&free);
            let answer = answers.last().map_or("", String::as_str);
            assert!(fits(control, answer), "`{attempt}` outside: `{answer}`, not `{control}`");
        }
    }

    /// Takes everything away.
    pub(super) async fn end(self) {
        self.bench.end().await;
    }
}

/// An attempt, how it is answered inside and how outside. Several attempts in one process are divided
/// by spaces; the last one's answer counts. Answers that may be are divided by `|`; `!EPERM` means
/// any other, `*` what this kernel and this machine happen to say.
pub(super) type Row = (&'static str, &'static str, &'static str);

fn fits(pattern: &str, answer: &str) -> bool {
    match pattern.strip_prefix('!') {
        Some(other) => answer != other && !answer.is_empty(),
        None => pattern == "*" || pattern.split('|').any(|one| one == answer),
    }
}
