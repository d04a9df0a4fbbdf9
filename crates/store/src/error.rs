//! What can go wrong in a store, and whether trying again can help.

use camino::Utf8PathBuf;

use crate::lease::LeaseId;
use crate::types::{BYTES_MAX, OPERATIONS_MAX, Revision};

/// Why a store call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A transaction is beyond the limits that all stores share.
    #[error(
        "the transaction has {operations} operations and {bytes} bytes; the limits are \
         {OPERATIONS_MAX} and {BYTES_MAX}"
    )]
    TooLarge {
        /// Its operations, or its compares when these are more.
        operations: usize,
        /// Its size as sent.
        bytes: usize,
    },
    /// Two operations of one transaction touch the same key.
    #[error("two operations of one transaction touch the key `{key}`")]
    DuplicateKey {
        /// The key, or the prefix that covers it.
        key: String,
    },
    /// A key is empty.
    #[error("a key must not be empty")]
    EmptyKey,
    /// The history that was asked for is gone.
    #[error("the history up to revision {compacted} has been compacted")]
    Compacted {
        /// The newest revision whose events are gone.
        compacted: Revision,
    },
    /// A revision that does not exist yet.
    #[error("revision {revision} does not exist yet, the newest is {current}")]
    FutureRevision {
        /// What was asked for.
        revision: Revision,
        /// The store's revision.
        current: Revision,
    },
    /// The lease has ended or never was.
    #[error("lease {lease} does not exist or has ended")]
    LeaseNotFound {
        /// The lease.
        lease: LeaseId,
    },
    /// The store behind a watch has been closed.
    #[error("the store has been closed")]
    Closed,
    /// Another process has the file open.
    #[error("the store `{path}` is in use by another process")]
    Locked {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The file was written by a newer version of this software.
    #[error(
        "the store `{path}` has format {found}, and this version reads formats up to {supported}"
    )]
    NewerFormat {
        /// The file.
        path: Utf8PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that can be read.
        supported: u64,
    },
    /// What is stored makes no sense.
    #[error("the store is damaged: {reason}")]
    Corrupted {
        /// What was found.
        reason: String,
    },
    /// The disk or the file failed. The store takes no more writes until it is opened again.
    #[error("the store's file failed: {reason}")]
    Storage {
        /// What the system said.
        reason: String,
    },
    /// The server cannot be reached or did not answer in time.
    #[error("the store cannot be reached: {reason}")]
    Unavailable {
        /// What was seen.
        reason: String,
    },
    /// The server refused the request.
    #[error("the store refused the request: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing something.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Locked { .. })
    }

    /// Whether the store itself failed, rather than one request being wrong.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Storage { .. } | Self::Corrupted { .. } | Self::Closed)
    }
}
