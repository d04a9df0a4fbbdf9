//! The command that is run beside: started when all files are in their places, told of changes,
//! ended with us; its exit code is ours.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use tokio::time::Instant;

use crate::feed::random;
use crate::log::Log;
use crate::settings::Exec;

/// Why the command is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It is started again.
    Restart,
    /// We end, too.
    Stop,
}

/// The command that is run beside.
#[derive(Debug)]
pub(crate) struct Child {
    exec: Exec,
    process: Option<tokio::process::Child>,
    was_started: bool,
    /// When it is told of changes.
    tell_at: Option<Instant>,
    /// Why and until when its end is waited for.
    ending: Option<(Ending, Instant)>,
}

impl Child {
    pub(crate) fn new(exec: Exec) -> Self {
        Self { exec, process: None, was_started: false, tell_at: None, ending: None }
    }

    /// Starts it for the first time.
    pub(crate) fn start_if_new(&mut self, log: &Log) {
        if !std::mem::replace(&mut self.was_started, true) {
            log.info(format!("Running {}", self.exec.command));
            self.start();
        }
    }

    fn start(&mut self) {
        let mut shell = Command::new("/bin/sh");
        // The shell makes way, so that signals reach the command itself.
        shell.arg("-c").arg(format!("exec {}", self.exec.command));
        shell.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        shell.process_group(0).kill_on_drop(true);
        self.process = shell.spawn().ok();
    }

    /// Something changed: it is told after a while.
    pub(crate) fn changed(&mut self) {
        if self.process.is_some() && self.tell_at.is_none() {
            self.tell_at = Some(Instant::now() + self.exec.splay.mul_f64(random()));
        }
    }

    fn signal(&self, number: i32) {
        let id = self.process.as_ref().and_then(tokio::process::Child::id);
        let group = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let (Some(group), Some(signal)) = (group, Signal::from_named_raw(number)) {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Waits for its end, tells it of changes meanwhile, and starts it again where that is the way to
    /// tell it. Dropping the future loses nothing.
    pub(crate) async fn ended(&mut self) -> i32 {
        loop {
            let at = [self.tell_at, self.ending.map(|(_, at)| at)].into_iter().flatten().min();
            let Some(process) = &mut self.process else {
                if self.was_started {
                    return 127;
                }
                return std::future::pending().await;
            };
            let sleep = async {
                match at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                status = process.wait() => {
                    let code = status.map_or(1, |status| {
                        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
                    });
                    // What it has started goes with it.
                    self.signal(9);
                    match self.ending.take() {
                        Some((Ending::Restart, _)) => self.start(),
                        _ => return code,
                    }
                }
                () = sleep => self.turn(),
            }
        }
    }

    /// Does what is due.
    fn turn(&mut self) {
        let now = Instant::now();
        if self.ending.is_some_and(|(_, at)| at <= now) {
            self.signal(9);
            return;
        }
        if self.tell_at.is_some_and(|at| at <= now) {
            self.tell_at = None;
            match self.exec.reload_signal {
                Some(signal) => self.signal(signal),
                None => self.end(Ending::Restart),
            }
        }
    }

    fn end(&mut self, why: Ending) {
        self.signal(self.exec.kill_signal);
        self.ending = Some((why, Instant::now() + self.exec.kill_timeout));
    }

    /// Ends it; its exit code.
    pub(crate) async fn stop(&mut self) -> i32 {
        if self.process.is_none() {
            return 0;
        }
        self.tell_at = None;
        self.end(Ending::Stop);
        self.ended().await
    }
}
