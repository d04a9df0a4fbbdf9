//! Checks and reloads: commands of a shell with a deadline, killed with all that they started.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::FutureExt;
use futures::future::FusedFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// Most output that is kept of a command.
const OUTPUT_MAX: u64 = 64 << 10;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// What it said, both streams in the order of arrival.
    pub(crate) output: Vec<u8>,
    /// Why it did not end well, as Go words it.
    pub(crate) failure: Option<String>,
}

/// Runs a command to its end.
pub(crate) async fn run(command: &str, limit: Duration) -> Ended {
    let failed = |failure: String| Ended { output: Vec::new(), failure: Some(failure) };
    let (reader, writer) = match std::io::pipe() {
        Ok(pipe) => pipe,
        Err(err) => return failed(err.to_string()),
    };
    let streams = writer.try_clone().map(|copy| (Stdio::from(writer), Stdio::from(copy)));
    let (stdout, stderr) = match streams {
        Ok(streams) => streams,
        Err(err) => return failed(err.to_string()),
    };
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    shell.process_group(0).kill_on_drop(true);
    let mut child = match shell.spawn() {
        Ok(child) => child,
        Err(err) => return failed(format!("fork/exec /bin/sh: {err}")),
    };
    // Ours hold the pipe's other end open.
    drop(shell);
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut output = Vec::new();
    let reading = async {
        let Ok(receiver) = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into()) else {
            return;
        };
        let mut receiver = receiver.take(OUTPUT_MAX);
        let _ = receiver.read_to_end(&mut output).await;
        // What comes after that is taken, so that nobody waits for it, and forgotten.
        let _ = tokio::io::copy(receiver.get_mut(), &mut tokio::io::sink()).await;
    };
    // What it leaves running in the background may hold the pipe open: its own end counts.
    let ended = tokio::time::timeout(limit, async {
        let mut reading = std::pin::pin!(reading.fuse());
        let status = tokio::select! {
            status = child.wait() => status,
            () = &mut reading => child.wait().await,
        };
        // What it has said before its end is on its way already.
        if !reading.is_terminated() {
            let _ = tokio::time::timeout(DRAIN, reading).await;
        }
        status
    });
    let failure = match ended.await {
        Ok(Ok(status)) => failure_of(status),
        Ok(Err(err)) => Some(err.to_string()),
        Err(_) => {
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
            Some(format!("it took longer than {limit:?} and was killed"))
        }
    };
    Ended { output, failure }
}

/// How long the rest of an ended command's output is waited for.
const DRAIN: Duration = Duration::from_millis(20);

/// What Go says of an exit that was not a success.
pub(crate) fn failure_of(status: ExitStatus) -> Option<String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit status {code}")),
        (None, Some(9)) => Some("signal: killed".to_owned()),
        (None, Some(15)) => Some("signal: terminated".to_owned()),
        (None, signal) => Some(format!("signal: {}", signal.unwrap_or_default())),
    }
}
