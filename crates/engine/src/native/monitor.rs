//! The monitor: one small, sleeping process for each generation. It is the parent of the
//! container's first process, keeps its output and its exit code, and outlives the agent.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use brickyard_core::clock::{Clock, SystemClock};
use brickyard_core::spec::Exit;
use camino::Utf8Path;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::cgroup::Layout;
use super::log::{self, Stream, Writer};
use super::paths::{InstancePaths, Paths};
use crate::InstanceId;

/// How long output that is still in the pipes is waited for after the end.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// How often a log that was full is tried again.
const LOG_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of the record of the end.
const EXIT_BYTES: usize = 256;

/// Stands for a descriptor that there is not.
pub(crate) const NONE: &str = "-";

/// Replaces this process by the same binary with other arguments, even if its file was replaced.
pub(crate) fn exec_self(argv: &[String]) -> io::Error {
    use std::os::unix::process::CommandExt;
    std::process::Command::new("/proc/self/exe")
        .arg0(&argv[0])
        .args(&argv[1..])
        .env_clear()
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .exec()
}

/// Entry of the hidden `__monitor` command, with the arguments after that word.
pub fn main(arguments: &[String]) -> i32 {
    match watch(arguments) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn watch(arguments: &[String]) -> io::Result<()> {
    let [root, environment, key, pid, stdout, stderr, output, errors] = arguments else {
        return Err(io::Error::other("wrong arguments"));
    };
    let environment = environment.parse().map_err(io::Error::other)?;
    let id = InstanceId::from_key(&environment, key)
        .ok_or_else(|| io::Error::other("wrong instance key"))?;
    let number = |text: &String| text.parse::<i32>().map_err(io::Error::other);
    let pid = number(pid)?;
    let paths = Paths::new(Utf8Path::new(root));
    let instance = paths.instance(&id);
    let open = |text: &String| match text.as_str() {
        NONE => Ok(None),
        _ => brickyard_sys::command::inherited(number(text)?).map(Some),
    };
    let source = |stream, from: &String, to: &String| -> io::Result<Source> {
        Ok(Source { stream, from: open(from)?, copy: open(to)?.map(fs::File::from) })
    };
    let mut output = Output {
        writer: Writer::open(&instance.log())?,
        sources: [source(Stream::Stdout, stdout, output)?, source(Stream::Stderr, stderr, errors)?],
    };
    // A full disk must not hide how it ended.
    let record = log::reserve(&instance.exit_reserve(), EXIT_BYTES).ok();
    let process = Pid::from_raw(pid).ok_or_else(|| io::Error::other("wrong pid"))?;
    let pidfd = pidfd_open(process, PidfdFlags::empty())?;
    loop {
        let pause = output.writer.has_news().then_some(LOG_PAUSE);
        if output.pump(Some(pidfd.as_fd()), pause)? {
            break;
        }
        output.writer.tell();
    }
    let code = brickyard_sys::process::wait(pid);
    // Whatever else was in it ended with the first process of its pid namespace.
    let cgroup = paths.instance_cgroup(&id);
    let layout = Layout::detect()?;
    layout.kill(&format!("{cgroup}/c"))?;
    let deadline = Instant::now() + DRAIN_DEADLINE;
    while output.is_open() && Instant::now() < deadline {
        output.pump(None, Some(Duration::from_millis(50)))?;
    }
    output.writer.finish();
    let oom = layout.oom_kills(&cgroup) > 0;
    let exit = Exit { code, oom, lost: None, time_ms: SystemClock::default().now_ms() };
    record_exit(&instance, record.as_ref(), &exit)
}

/// Writes how it ended, into room that was kept for it where there is some.
fn record_exit(instance: &InstancePaths, record: Option<&fs::File>, exit: &Exit) -> io::Result<()> {
    let reserved = record.is_some_and(|file| {
        log::overwrite(file, exit, EXIT_BYTES)
            .and_then(|()| fs::rename(instance.exit_reserve(), instance.exit()))
            .is_ok()
    });
    match reserved {
        true => Ok(()),
        false => super::write_record(&instance.exit(), exit),
    }
}

/// Both output streams of a container and where they go.
struct Output {
    writer: Writer,
    sources: [Source; 2],
}

/// One stream. What cannot be copied any more, because nobody listens, goes to the log alone.
struct Source {
    stream: Stream,
    from: Option<OwnedFd>,
    copy: Option<fs::File>,
}

impl Output {
    fn is_open(&self) -> bool {
        self.sources.iter().any(|source| source.from.is_some())
    }

    /// Waits for output or the end of the process, takes the output; true when it ended.
    fn pump(
        &mut self,
        process: Option<std::os::fd::BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        let mut ready = [false; 2];
        let ended = {
            let mut fds: Vec<PollFd<'_>> =
                process.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
            let open: Vec<usize> = (0..2).filter(|at| self.sources[*at].from.is_some()).collect();
            fds.extend(
                self.sources
                    .iter()
                    .filter_map(|source| source.from.as_ref())
                    .map(|fd| PollFd::new(fd, PollFlags::IN)),
            );
            let timeout: Option<Timespec> = timeout.and_then(|wait| wait.try_into().ok());
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(err) => return Err(err.into()),
            }
            let first = usize::from(process.is_some());
            for (at, fd) in open.iter().zip(&fds[first..]) {
                ready[*at] = !fd.revents().is_empty();
            }
            process.is_some() && !fds[0].revents().is_empty()
        };
        let mut buffer = [0; 16 << 10];
        for at in (0..2).filter(|at| ready[*at]) {
            let Source { stream, from, copy } = &mut self.sources[at];
            let Some(open) = from else { continue };
            match rustix::io::read(open, &mut buffer) {
                Ok(0) => *from = None,
                Ok(count) => {
                    let text = &buffer[..count];
                    if copy.as_mut().is_some_and(|copy| copy.write_all(text).is_err()) {
                        *copy = None;
                    }
                    self.writer.push(*stream, text);
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                // The end of a terminal that nobody has open any more.
                Err(_) => *from = None,
            }
        }
        Ok(ended)
    }
}
