//! Keeps a terminal of the caller's out of instances: where a stream is one, a command inside gets a
//! pipe, and this process passes on what is written.
//!
//! A process that holds the caller's terminal could read what is typed there long after the command
//! has ended, or change how it behaves.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::process::{Child, Command};

/// How often a pump looks whether the command has ended while something else keeps its pipe open.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What passes a command's streams on.
pub(crate) struct Relay {
    ended: Arc<AtomicBool>,
    pumps: Vec<JoinHandle<()>>,
}

/// Gives the command pipes where the caller has a terminal; to be called before it is started.
pub(crate) fn keep_terminals_out(command: &mut Command) {
    if io::stdin().is_terminal() {
        command.stdin(Stdio::piped());
    }
    if io::stdout().is_terminal() {
        command.stdout(Stdio::piped());
    }
    if io::stderr().is_terminal() {
        command.stderr(Stdio::piped());
    }
}

impl Relay {
    /// Begins to pass on what goes through the child's pipes.
    pub(crate) fn begin(child: &mut Child) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let mut pumps = Vec::new();
        if let Some(pipe) = child.stdin.take() {
            // In the background a read from the terminal fails instead of stopping this process.
            brickyard_sys::process::ignore_signal(rustix::process::Signal::TTIN.as_raw())?;
            let mut to = File::from(pipe.into_owned_fd()?);
            // It ends with this process: nobody waits for what a person may type.
            drop(std::thread::spawn(move || io::copy(&mut io::stdin(), &mut to)));
        }
        if let Some(pipe) = child.stdout.take() {
            pumps.push(pump(pipe.into_owned_fd()?, io::stdout(), ended.clone()));
        }
        if let Some(pipe) = child.stderr.take() {
            pumps.push(pump(pipe.into_owned_fd()?, io::stderr(), ended.clone()));
        }
        Ok(Self { ended, pumps })
    }

    /// Passes on what is left after the command's end.
    pub(crate) fn finish(self) {
        self.ended.store(true, Ordering::Release);
        for pump in self.pumps {
            let _ = pump.join();
        }
    }
}

fn pump(
    from: OwnedFd,
    mut to: impl Write + Send + 'static,
    ended: Arc<AtomicBool>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = File::from(from);
        let mut buffer = [0; 16 << 10];
        loop {
            // Before the look at the pipe: what was written before the end must not be missed.
            let last = ended.load(Ordering::Acquire);
            let ready = {
                let mut fds = [PollFd::new(&from, PollFlags::IN)];
                poll(&mut fds, Some(&PAUSE))
            };
            match ready {
                Ok(0) if last => return,
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(_) => return,
            }
            match from.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    let written = to.write_all(&buffer[..count]).and_then(|()| to.flush());
                    if written.is_err() {
                        return;
                    }
                }
            }
        }
    })
}
