//! Starts and commands for a person who is there: with streams or a terminal of the caller's own.
//!
//! What a container writes always goes to its log through its monitor, which copies it to the
//! caller as long as that one listens: a caller that goes away stops nothing.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::terminal::{self, Size};
use super::{Native, prepare_instance};
use crate::{Error, ExecRequest, InstanceId, StartRequest, Started};

/// The kind of terminal that programs inside are told of: every image that knows any knows this one.
pub const TERM: &str = "xterm";

/// The caller's ends of a container's streams.
#[derive(Debug)]
pub enum Streams {
    /// Three pipes. Without input the container reads from nothing.
    Pipes {
        /// Where its input is written to.
        input: Option<io::PipeWriter>,
        /// Its output.
        output: io::PipeReader,
        /// Its errors.
        errors: io::PipeReader,
    },
    /// A terminal.
    Terminal {
        /// The terminal's master: input is written to it, and its size is set on it.
        master: OwnedFd,
        /// Its output.
        output: io::PipeReader,
    },
}

/// Which streams are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// Pipes.
    Pipes {
        /// Whether it gets input.
        input: bool,
    },
    /// A terminal.
    Terminal(Size),
}

/// What the worker is told of its caller's descriptors, which it finds from number 4 on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Attached {
    /// None: output goes to the log alone.
    Nothing,
    /// Where output and errors go to, and where input comes from.
    Pipes { input: bool },
    /// Where the master and where output go to.
    Terminal(Size),
}

impl Attached {
    /// Keeps the descriptors away from every program that is run; to be called first of all.
    pub(super) fn hide(self) -> io::Result<()> {
        let numbers = match self {
            Self::Nothing => 4..4,
            Self::Pipes { .. } => 4..7,
            Self::Terminal(_) => 4..6,
        };
        for number in numbers {
            // They are taken by these numbers later.
            let _ = brickyard_sys::command::inherited(number)?.into_raw_fd();
        }
        Ok(())
    }
}

impl Native {
    /// Starts a generation with streams of the caller's own.
    ///
    /// # Errors
    /// As [`crate::Engine::start`].
    pub async fn start_attached(
        &self,
        request: &StartRequest,
        attach: Attach,
    ) -> Result<(Started, Streams), Error> {
        let instance = self.paths.instance(&request.id);
        let prepared = prepare_instance(&instance, request);
        prepared.map_err(Error::io(format!("make `{}`", instance.dir)))?;
        let pipe = || io::pipe().map_err(Error::io("make a pipe"));
        let (output, output_writer) = pipe()?;
        match attach {
            Attach::Pipes { input } => {
                let (errors, errors_writer) = pipe()?;
                let (input_reader, input_writer) = pipe()?;
                let fds = vec![output_writer.into(), errors_writer.into(), input_reader.into()];
                let job = self.job(request, Attached::Pipes { input })?;
                let started = self.launch(request, &job, fds).await?;
                let input = input.then_some(input_writer);
                Ok((started, Streams::Pipes { input, output, errors }))
            }
            Attach::Terminal(size) => {
                let (ours, theirs) =
                    terminal::hand_over_pair().map_err(Error::io("make a socket"))?;
                let job = self.job(request, Attached::Terminal(size))?;
                let fds = vec![output_writer.into(), theirs];
                let started = self.launch(request, &job, fds).await?;
                let master = terminal::receive(&ours).map_err(Error::io("take a terminal over"))?;
                Ok((started, Streams::Terminal { master, output }))
            }
        }
    }

    /// A command that runs `request` inside in a terminal of its own, and the socket from which
    /// [`terminal::receive`] takes the terminal's master once it was started.
    ///
    /// # Errors
    /// When the generation does not run.
    pub fn exec_in_terminal(
        &self,
        id: &InstanceId,
        request: &ExecRequest,
        size: Size,
    ) -> Result<(Command, OwnedFd), Error> {
        let mut job = self.exec_job(id, request)?;
        job.terminal = Some(size);
        if !job.environment.iter().any(|(name, _)| name == "TERM") {
            job.environment.push(("TERM".to_owned(), TERM.to_owned()));
        }
        let (ours, theirs) = terminal::hand_over_pair().map_err(Error::io("make a socket"))?;
        let mut command = self.helper("__exec", &job, &[], vec![theirs])?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // The terminal's own keys reach the command, not the helper.
        brickyard_sys::command::new_session(&mut command);
        Ok((command, ours))
    }
}
