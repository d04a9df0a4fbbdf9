//! What a command can fail at, and with which exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it was tried and did not get well, or was refused by what runs |
//! | 2 | the command line, the model or another file is wrong; nothing was begun |
//! | 3 | there is no such system, service, instance, image or key |
//! | 4 | the agent, the store or the machine failed |
//!
//! `run` and `exec` end with the exit code of what they ran.

use brickyard_api::{ClientError, FailureKind, Reason};
use brickyard_core::Diagnostics;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// Findings in what the user wrote.
    Findings(Diagnostics),
    /// The agent said no.
    Failed { kind: FailureKind, reasons: Vec<Reason> },
    /// One sentence, and what to do about it.
    Plain { code: i32, message: String, hints: Vec<String> },
    /// A command inside ended with this code; it has said why itself.
    Code(i32),
}

impl CommandError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::plain(2, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::plain(1, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::plain(3, message)
    }

    pub(crate) fn machine(message: impl Into<String>) -> Self {
        Self::plain(4, message)
    }

    fn plain(code: i32, message: impl Into<String>) -> Self {
        Self::Plain { code, message: message.into(), hints: Vec::new() }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Plain { hints, .. } = &mut self {
            hints.push(hint.into());
        }
        self
    }

    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Findings(_) => 2,
            Self::Failed { kind, .. } => match kind {
                FailureKind::Refused | FailureKind::Unhealthy => 1,
                FailureKind::NotFound => 3,
                FailureKind::Internal => 4,
            },
            Self::Plain { code, .. } | Self::Code(code) => *code,
        }
    }
}

impl From<ClientError> for CommandError {
    fn from(err: ClientError) -> Self {
        match err {
            ClientError::Refused { status: 404, message } => Self::not_found(message),
            ClientError::Refused { status: 422, message } => Self::plain(1, message),
            err @ ClientError::NoAgent { .. } => {
                Self::machine(err.to_string()).hint("`brickyard up -d` starts one")
            }
            err => Self::machine(err.to_string()),
        }
    }
}

impl From<brickyard_image::Error> for CommandError {
    fn from(err: brickyard_image::Error) -> Self {
        use std::error::Error as _;
        let mut message = err.to_string();
        let mut source = err.source();
        while let Some(cause) = source {
            message.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        let code = if matches!(err, brickyard_image::Error::NotFound { .. }) { 3 } else { 4 };
        let hints = err.hint().into_iter().collect();
        Self::Plain { code, message, hints }
    }
}

impl From<brickyard_engine::Error> for CommandError {
    fn from(err: brickyard_engine::Error) -> Self {
        match err {
            brickyard_engine::Error::Unknown { .. } => Self::not_found(err.whole()),
            err => Self::machine(err.whole()),
        }
    }
}

impl From<std::io::Error> for CommandError {
    fn from(err: std::io::Error) -> Self {
        Self::machine(err.to_string())
    }
}
