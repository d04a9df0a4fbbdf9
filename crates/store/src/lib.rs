//! Ordered keys with revisions, transactions, leases and watches.
//!
//! [`Store`] has etcd's semantics, so that one machine (a [`Redb`] file) and many machines (an
//! [`Etcd`] cluster) behave alike; [`Memory`] is the fake for tests. One contract suite holds all
//! three to the same answers.
//!
//! The rules that every implementation keeps:
//!
//! - A committed transaction that changes something makes exactly one revision. A transaction that
//!   changes nothing (deletes of keys that are not there) makes none.
//! - A watch delivers whole transactions, in order, each once. It never skips one: a watcher that
//!   falls behind reads the history, and when the history is gone it is told [`Error::Compacted`].
//! - An acknowledged transaction survives `kill -9` and power loss; one that was not acknowledged
//!   is there whole or not at all.
//!
//! Deliberately absent: historical reads, nested transactions, and any consensus of our own.

#![forbid(unsafe_code)]

mod apply;
mod codec;
mod embedded;
mod error;
mod etcd;
mod lease;
mod memory;
mod types;
mod watch;
mod writer;

use async_trait::async_trait;

pub use embedded::{Config, Redb};
pub use error::Error;
pub use etcd::{Etcd, EtcdConfig};
pub use lease::LeaseId;
pub use memory::Memory;
pub use types::{
    BYTES_MAX, Batch, Change, Compare, KeyValue, OPERATIONS_MAX, Operation, Outcome, Revision,
    Snapshot, Txn,
};
pub use watch::Watch;

/// The result of a store call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Ordered keys with etcd's semantics.
///
/// Prefixes are prefixes of text: `/a` covers `/a`, `/a/b` and `/ab`; the empty prefix covers all.
#[async_trait]
pub trait Store: Send + Sync {
    /// The value of one key.
    async fn get(&self, key: &str) -> Result<Option<KeyValue>>;

    /// All keys under a prefix, as of one revision.
    async fn range(&self, prefix: &str) -> Result<Snapshot>;

    /// Carries out all operations as one revision if every compare holds, and nothing otherwise.
    ///
    /// After [`Error::Unavailable`] the transaction may or may not have been carried out.
    async fn txn(&self, txn: Txn) -> Result<Outcome>;

    /// The keys under a prefix at a revision R, and a watch of everything from R+1 on.
    async fn watch(&self, prefix: &str) -> Result<(Snapshot, Watch)>;

    /// A watch of every change whose revision is `revision` or later.
    ///
    /// Fails with [`Error::Compacted`] when that history is gone.
    async fn watch_from(&self, prefix: &str, revision: Revision) -> Result<Watch>;

    /// Forgets the history up to and including `revision`; the keys themselves stay.
    ///
    /// Compacting what is already compacted does nothing.
    async fn compact(&self, revision: Revision) -> Result<()>;

    /// Makes a lease that ends after `ttl_seconds` without a keep-alive.
    ///
    /// A store may raise a very short time to its own minimum.
    async fn lease_grant(&self, ttl_seconds: u64) -> Result<LeaseId>;

    /// Starts a lease's time again.
    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()>;

    /// Ends a lease and deletes its keys as one revision.
    async fn lease_revoke(&self, lease: LeaseId) -> Result<()>;
}
