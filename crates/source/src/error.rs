//! Why a source cannot be read.

use std::future::Future;
use std::time::Duration;

/// Why a source cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or did not answer in time. Another time it may.
    #[error("{node}: {reason}")]
    Unavailable {
        /// The server's address, or the file.
        node: String,
        /// What went wrong.
        reason: String,
    },
    /// It answers, and says no: to who asks, or to what is asked.
    #[error("{node}: {reason}")]
    Refused {
        /// The server's address, or the file.
        node: String,
        /// What it says.
        reason: String,
    },
    /// What it has cannot be read.
    #[error("{place}: {reason}")]
    Bad {
        /// `FILE:LINE` or a key.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration does not fit.
    #[error("{message}")]
    Config {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl Error {
    /// Whether another try may help without anybody changing the configuration. A server that says
    /// no may be told otherwise while we wait.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Config { .. })
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Config { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

/// Gives work its deadline, and says of which server there was no answer.
pub(crate) async fn within<T>(
    limit: Duration,
    node: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let reason = format!("no answer within {limit:?}");
        Err(Error::Unavailable { node: node.to_owned(), reason })
    })
}
