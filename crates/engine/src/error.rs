//! What an engine can fail at.

use std::io;

use crate::{EnvironmentKey, InstanceId};

/// Why an engine could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A start was refused: what was asked for could not be applied, or the program cannot run.
    #[error("start of {id} was refused: {reason}")]
    Refused {
        /// The generation.
        id: InstanceId,
        /// What could not be done, with the kernel's answer.
        reason: String,
    },
    /// There is no such generation.
    #[error("there is no generation {id}")]
    Unknown {
        /// The generation.
        id: InstanceId,
    },
    /// The generation does not run.
    #[error("{id} does not run")]
    NotRunning {
        /// The generation.
        id: InstanceId,
    },
    /// The signal's name is unknown.
    #[error("`{name}` is not a signal")]
    Signal {
        /// The name.
        name: String,
    },
    /// The network or id range of an environment could not be made.
    #[error("environment {key}: failed to {action}")]
    Environment {
        /// The environment.
        key: EnvironmentKey,
        /// What was tried.
        action: String,
        /// The kernel's answer.
        #[source]
        err: io::Error,
    },
    /// Something inside an instance failed.
    #[error("{id}: {reason}")]
    Inside {
        /// The generation.
        id: InstanceId,
        /// What failed.
        reason: String,
    },
    /// A process of the engine's own was killed before it was done. It may be tried again.
    #[error("{id}: what was done for it was interrupted")]
    Interrupted {
        /// The generation.
        id: InstanceId,
    },
    /// A file or process of the engine's own could not be handled.
    #[error("failed to {action}")]
    Io {
        /// What was tried.
        action: String,
        /// The system's answer.
        #[source]
        err: io::Error,
    },
}

impl Error {
    /// Wraps a system error with what was tried.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |err| Self::Io { action, err }
    }

    /// The message with all its causes, as one line.
    #[must_use]
    pub fn whole(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(err) = source {
            text.push_str(&format!(": {err}"));
            source = err.source();
        }
        text
    }
}
