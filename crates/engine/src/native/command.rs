//! Commands that the agent runs inside: checks and reloads.
//!
//! Each has a cgroup of its own below the container's, so that one that takes too long is ended
//! with all that it has started, whatever sessions that made for itself.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncReadExt;

use super::Native;
use super::cgroup::Layout;
use crate::{EXEC_OUTPUT_BYTES_MAX, Error, ExecOutput, ExecRequest, InstanceId};

/// Counts the commands that this process has run.
static RUN: AtomicU64 = AtomicU64::new(0);
/// How often processes are looked for that a command left behind and that go on forking.
const LEAVE_TRIES: u32 = 20;

/// A command's cgroup; dropping it before its end kills what is in it.
struct Group {
    layout: Layout,
    /// The container's.
    container: String,
    path: String,
    has_ended: bool,
}

impl Group {
    fn new(layout: &Layout, instance: &str) -> io::Result<Self> {
        let number = RUN.fetch_add(1, Ordering::Relaxed);
        let container = format!("{instance}/c");
        let path = format!("{container}/command-{}-{number}", std::process::id());
        layout.create(&path)?;
        Ok(Self { layout: layout.clone(), container, path, has_ended: false })
    }

    /// The command has ended: what it left running on purpose goes on as a part of the container.
    fn leave(mut self) {
        self.has_ended = true;
        for _ in 0..LEAVE_TRIES {
            if self.layout.merge(&self.path, &self.container) {
                return;
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let (layout, path) = (self.layout.clone(), self.path.clone());
        let end = move || {
            if let Err(err) = layout.kill(&path).and_then(|()| layout.remove(&path)) {
                tracing::warn!("cannot end the command in cgroup `{path}`: {err}");
            }
        };
        // Not here: this may be a thread that others wait for.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
        }
    }
}

impl Native {
    /// Runs a command to its end; it is killed with all that it started when the future is dropped.
    pub(super) async fn run_command(
        &self,
        id: &InstanceId,
        request: &ExecRequest,
    ) -> Result<ExecOutput, Error> {
        let mut job = self.exec_job(id, request)?;
        let group = Group::new(&self.layout, &self.paths.instance_cgroup(id));
        let group = group.map_err(|err| match err.kind() {
            io::ErrorKind::NotFound => Error::NotRunning { id: id.clone() },
            _ => Error::io("make a cgroup for a command")(err),
        })?;
        job.group = Some(group.path.clone());
        let mut command = self.helper("__exec", &job, &[], Vec::new())?;
        brickyard_sys::command::die_with_parent(&mut command);
        let (reader, writer) = io::pipe().map_err(Error::io("make a pipe"))?;
        let second = writer.try_clone().map_err(Error::io("make a pipe"))?;
        command.stdin(Stdio::null()).stdout(writer).stderr(second);
        // Dropped before the group, so that nothing enters that any more when it is killed.
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io("start a worker"))?;
        let fd = OwnedFd::from(reader);
        let mut reader = tokio::net::unix::pipe::Receiver::from_owned_fd(fd)
            .map_err(Error::io("read a command's output"))?;
        let mut output = Vec::new();
        let collect = async {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                let room = EXEC_OUTPUT_BYTES_MAX.saturating_sub(output.len()).min(count);
                output.extend_from_slice(&buffer[..room]);
            }
        };
        // A grandchild may keep the pipe open for ever: the command's own end is what counts.
        let status = tokio::select! {
            status = child.wait() => status,
            () = collect => child.wait().await,
        };
        let status = status.map_err(Error::io("wait for a command"))?;
        let mut rest = [0; 8192];
        while output.len() < EXEC_OUTPUT_BYTES_MAX
            && let Ok(count @ 1..) = reader.try_read(&mut rest)
        {
            output.extend_from_slice(&rest[..count]);
        }
        let code = status.code().ok_or_else(|| Error::Interrupted { id: id.clone() })?;
        group.leave();
        Ok(ExecOutput { code, output })
    }
}

impl Layout {
    fn create(&self, cgroup: &str) -> io::Result<()> {
        fs::create_dir(self.unified.join(cgroup))
    }

    /// Moves what is in `from` into `to` and removes `from`; whether that is done.
    fn merge(&self, from: &str, to: &str) -> bool {
        let from = self.unified.join(from);
        if fs::remove_dir(&from).is_ok() || !from.exists() {
            return true;
        }
        let members = fs::read_to_string(from.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines() {
            // It may have ended meanwhile.
            let _ = fs::write(self.unified.join(to).join("cgroup.procs"), pid);
        }
        fs::remove_dir(&from).is_ok()
    }
}
