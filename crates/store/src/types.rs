//! The words of a store: keys with revisions, transactions, batches of changes.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::error::Error;
use crate::lease::LeaseId;

/// A store's logical time: it grows by one with each transaction that changes something.
pub type Revision = u64;

/// The most operations, and the most compares, in one transaction: etcd's `--max-txn-ops`.
pub const OPERATIONS_MAX: usize = 128;

/// The most bytes in one transaction: etcd's `--max-request-bytes`.
pub const BYTES_MAX: usize = 3 * 512 * 1024;

/// What one operation or compare costs on the wire beside its key and value, rounded up: field
/// tags, lengths, revision and lease.
const OVERHEAD_BYTES: usize = 48;

/// One key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// The revision that made the key, after its last delete.
    pub create_revision: Revision,
    /// The revision that last wrote it.
    pub mod_revision: Revision,
    /// The lease whose end deletes the key.
    pub lease: Option<LeaseId>,
}

/// Keys as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's revision.
    pub revision: Revision,
    /// The entries, ordered by key.
    pub entries: Vec<KeyValue>,
}

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key is not there.
    Absent {
        /// The key.
        key: String,
    },
    /// The key is there.
    Exists {
        /// The key.
        key: String,
    },
    /// The key was last written by this revision; 0 stands for a key that is not there.
    ModRevision {
        /// The key.
        key: String,
        /// The revision.
        revision: Revision,
    },
}

impl Compare {
    /// Holds when the key is not there.
    pub fn absent(key: impl Into<String>) -> Self {
        Self::Absent { key: key.into() }
    }

    /// Holds when the key is there.
    pub fn exists(key: impl Into<String>) -> Self {
        Self::Exists { key: key.into() }
    }

    /// Holds when the key was last written by `revision`.
    pub fn mod_revision(key: impl Into<String>, revision: Revision) -> Self {
        Self::ModRevision { key: key.into(), revision }
    }

    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Absent { key } | Self::Exists { key } | Self::ModRevision { key, .. } => key,
        }
    }
}

/// A change that a transaction asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes a key; an earlier lease is let go.
    Put {
        /// The key.
        key: String,
        /// Its value.
        value: Bytes,
        /// The lease whose end deletes it.
        lease: Option<LeaseId>,
    },
    /// Deletes a key if it is there.
    Delete {
        /// The key.
        key: String,
    },
    /// Deletes every key that begins with a text.
    DeletePrefix {
        /// The text.
        prefix: String,
    },
}

/// Operations that happen together, under conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// All of these must hold.
    pub compares: Vec<Compare>,
    /// What is done then, in this order.
    pub operations: Vec<Operation>,
}

impl Txn {
    /// A transaction without conditions and operations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn require(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn put(self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.operation(Operation::Put { key: key.into(), value: value.into(), lease: None })
    }

    /// Adds a write of a key that goes away with its lease.
    #[must_use]
    pub fn put_leased(
        self,
        key: impl Into<String>,
        value: impl Into<Bytes>,
        lease: LeaseId,
    ) -> Self {
        self.operation(Operation::Put { key: key.into(), value: value.into(), lease: Some(lease) })
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(self, key: impl Into<String>) -> Self {
        self.operation(Operation::Delete { key: key.into() })
    }

    /// Adds a delete of every key that begins with `prefix`.
    #[must_use]
    pub fn delete_prefix(self, prefix: impl Into<String>) -> Self {
        self.operation(Operation::DeletePrefix { prefix: prefix.into() })
    }

    /// Adds an operation.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Checks what every store refuses: empty keys, keys named twice, too much at once.
    ///
    /// etcd refuses a key that is put twice, or put and deleted. Here two deletes of one key are
    /// refused as well, so that the rule is one sentence.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let operations = self.operations.len().max(self.compares.len());
        let bytes = self.size_bytes();
        if operations > OPERATIONS_MAX || bytes > BYTES_MAX {
            return Err(Error::TooLarge { operations, bytes });
        }
        if self.compares.iter().any(|compare| compare.key().is_empty()) {
            return Err(Error::EmptyKey);
        }
        let mut keys = BTreeSet::new();
        let mut prefixes: Vec<&str> = Vec::new();
        for operation in &self.operations {
            match operation {
                Operation::Put { key, .. } | Operation::Delete { key } => {
                    if key.is_empty() {
                        return Err(Error::EmptyKey);
                    }
                    if !keys.insert(key.as_str()) {
                        return Err(Error::DuplicateKey { key: key.clone() });
                    }
                }
                Operation::DeletePrefix { prefix } => prefixes.push(prefix),
            }
        }
        for (index, prefix) in prefixes.iter().enumerate() {
            let covers_key =
                keys.range::<&str, _>(prefix..).next().is_some_and(|key| key.starts_with(*prefix));
            let meets_prefix = prefixes[..index]
                .iter()
                .any(|other| other.starts_with(*prefix) || prefix.starts_with(other));
            if covers_key || meets_prefix {
                return Err(Error::DuplicateKey { key: (*prefix).to_owned() });
            }
        }
        Ok(())
    }

    /// What it takes on the wire, about.
    pub(crate) fn size_bytes(&self) -> usize {
        let compares = self.compares.iter().map(|compare| compare.key().len());
        let operations = self.operations.iter().map(|operation| match operation {
            Operation::Put { key, value, .. } => key.len() + value.len(),
            Operation::Delete { key } => key.len(),
            Operation::DeletePrefix { prefix } => 2 * prefix.len(),
        });
        compares.chain(operations).map(|bytes| bytes + OVERHEAD_BYTES).sum()
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Every condition held.
    Committed {
        /// The revision that it made; the store's revision when nothing had to change.
        revision: Revision,
    },
    /// A condition did not hold, and nothing was done.
    Conflict {
        /// The store's revision at that time.
        revision: Revision,
    },
}

/// Everything that one transaction changed under a watched prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The revision that the transaction made.
    pub revision: Revision,
    /// The changes, in the order of the operations.
    pub changes: Vec<Change>,
}

/// One key's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key was written.
    Put(KeyValue),
    /// The key was deleted.
    Delete {
        /// The key.
        key: String,
    },
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key } => key,
        }
    }
}
