//! Leases: who holds which keys, and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use brickyard_core::Millis;

use crate::error::Error;

/// The name of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The leases of an embedded store. Deadlines live here alone and not on disk: a store that is
/// opened again gives every lease its whole time anew, because its holder could not renew it.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    leases: BTreeMap<LeaseId, Lease>,
    last: i64,
}

#[derive(Debug)]
struct Lease {
    ttl_ms: Millis,
    deadline_ms: Millis,
    keys: BTreeSet<String>,
}

impl Leases {
    /// Makes a lease under the next free id.
    pub(crate) fn grant(&mut self, ttl_seconds: u64, now_ms: Millis) -> LeaseId {
        let id = LeaseId(self.last + 1);
        self.restore(id, ttl_seconds, now_ms);
        id
    }

    /// Takes over a lease that was granted before.
    pub(crate) fn restore(&mut self, id: LeaseId, ttl_seconds: u64, now_ms: Millis) {
        let ttl_ms = ttl_seconds.max(1).saturating_mul(1000);
        self.last = self.last.max(id.0);
        self.leases.insert(
            id,
            Lease { ttl_ms, deadline_ms: now_ms.saturating_add(ttl_ms), keys: BTreeSet::new() },
        );
    }

    /// Makes sure that ids up to `last` are not used again.
    pub(crate) fn reserve(&mut self, last: i64) {
        self.last = self.last.max(last);
    }

    /// The newest id that was ever granted.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    pub(crate) fn keep_alive(&mut self, id: LeaseId, now_ms: Millis) -> Result<(), Error> {
        let lease = self.leases.get_mut(&id).ok_or(Error::LeaseNotFound { lease: id })?;
        lease.deadline_ms = now_ms.saturating_add(lease.ttl_ms);
        Ok(())
    }

    pub(crate) fn check(&self, id: LeaseId) -> Result<(), Error> {
        match self.leases.contains_key(&id) {
            true => Ok(()),
            false => Err(Error::LeaseNotFound { lease: id }),
        }
    }

    /// Moves a key from one lease to another.
    pub(crate) fn attach(&mut self, key: &str, from: Option<LeaseId>, to: Option<LeaseId>) {
        if let Some(lease) = from.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.remove(key);
        }
        if let Some(lease) = to.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.insert(key.to_owned());
        }
    }

    /// Ends a lease and says which keys it held.
    pub(crate) fn remove(&mut self, id: LeaseId) -> Result<BTreeSet<String>, Error> {
        let lease = self.leases.remove(&id).ok_or(Error::LeaseNotFound { lease: id })?;
        Ok(lease.keys)
    }

    /// The leases whose time has passed.
    pub(crate) fn expired(&self, now_ms: Millis) -> Vec<LeaseId> {
        let passed = self.leases.iter().filter(|(_, lease)| lease.deadline_ms <= now_ms);
        passed.map(|(id, _)| *id).collect()
    }

    /// Whether a lease's time has passed.
    pub(crate) fn is_expired(&self, id: LeaseId, now_ms: Millis) -> bool {
        self.leases.get(&id).is_some_and(|lease| lease.deadline_ms <= now_ms)
    }

    /// How long until the next lease ends; `None` without leases.
    pub(crate) fn next_end_ms(&self, now_ms: Millis) -> Option<Millis> {
        let deadlines = self.leases.values().map(|lease| lease.deadline_ms);
        deadlines.min().map(|deadline| deadline.saturating_sub(now_ms))
    }
}
