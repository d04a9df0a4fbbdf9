//! The fake: a whole store in memory, with the same rules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use brickyard_core::{Clock, SystemClock};

use crate::apply::{Tables, apply, revoke};
use crate::error::Error;
use crate::lease::{LeaseId, Leases};
use crate::types::{Batch, KeyValue, Outcome, Revision, Snapshot, Txn};
use crate::watch::{History, Hub, Watch};
use crate::{Result, Store};

/// How much history is kept, as in [`crate::Redb`]'s default.
const HISTORY_MAX: usize = 10_000;

/// How often leases are looked at while there are some.
const LEASE_POLL: Duration = Duration::from_millis(20);

/// A store that lives and dies with this value.
#[derive(Debug)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    hub: Hub,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keys: BTreeMap<String, KeyValue>,
    leases: Leases,
    revision: Revision,
    compacted: Revision,
    /// Whether a thread looks after the leases.
    watched: bool,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock::default()))
    }
}

impl Memory {
    /// An empty store whose leases end by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            keys: BTreeMap::new(),
            leases: Leases::default(),
            revision: 1,
            compacted: 0,
            watched: false,
        };
        let inner = Inner {
            clock,
            hub: Hub::new(state.revision, HISTORY_MAX, usize::MAX),
            state: Mutex::new(state),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Ends the leases whose time has passed. Every call does so first; a test that moved its
    /// clock calls this to see the end at once in a watch.
    pub fn tick(&self) {
        drop(self.inner.lock());
    }
}

impl Inner {
    /// The state, with no lease in it that has passed.
    fn lock(&self) -> MutexGuard<'_, State> {
        // A state is changed only by `apply`, which does not panic half-way.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state_ref = &mut *state;
        for lease in state_ref.leases.expired(self.clock.monotonic_ms()) {
            let revoked =
                revoke(&mut state_ref.keys, &mut state_ref.leases, state_ref.revision, lease);
            self.publish(state_ref, revoked.ok().flatten());
        }
        state
    }

    /// Called under the lock, so that batches are published in order.
    fn publish(&self, state: &mut State, batch: Option<Batch>) {
        if let Some(batch) = &batch {
            state.revision = batch.revision;
        }
        self.hub.publish(batch);
    }
}

impl History for Inner {
    fn read(&self, revision: Revision, count_max: usize) -> Result<Vec<Arc<Batch>>> {
        let state = self.lock();
        if revision > state.revision {
            return Ok(Vec::new());
        }
        let batches = self.hub.read(revision, count_max);
        let compacted = state.compacted.max(revision);
        batches.ok_or(Error::Compacted { compacted })
    }
}

/// Ends leases on time for those who only watch. It stops when there is nothing to look after.
fn look_after_leases(inner: &Weak<Inner>) {
    loop {
        std::thread::sleep(LEASE_POLL);
        let Some(inner) = inner.upgrade() else { return };
        let mut state = inner.lock();
        if state.leases.next_end_ms(0).is_none() {
            state.watched = false;
            return;
        }
    }
}

impl Tables for BTreeMap<String, KeyValue> {
    fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        Ok(self.get(key).cloned())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(under(self, prefix).map(|entry| entry.key.clone()).collect())
    }

    fn put(&mut self, entry: &KeyValue) -> Result<()> {
        self.insert(entry.key.clone(), entry.clone());
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<Option<KeyValue>> {
        Ok(self.remove(key))
    }
}

fn under<'a>(
    keys: &'a BTreeMap<String, KeyValue>,
    prefix: &'a str,
) -> impl Iterator<Item = &'a KeyValue> {
    keys.range(prefix.to_owned()..)
        .map(|(_, entry)| entry)
        .take_while(move |entry| entry.key.starts_with(prefix))
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        Ok(self.inner.lock().keys.get(key).cloned())
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot> {
        let state = self.inner.lock();
        Ok(Snapshot {
            revision: state.revision,
            entries: under(&state.keys, prefix).cloned().collect(),
        })
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome> {
        txn.validate()?;
        let mut state = self.inner.lock();
        let state = &mut *state;
        let (outcome, batch) = apply(&mut state.keys, &mut state.leases, state.revision, &txn)?;
        self.inner.publish(state, batch);
        Ok(outcome)
    }

    async fn watch(&self, prefix: &str) -> Result<(Snapshot, Watch)> {
        let snapshot = self.range(prefix).await?;
        let history: Arc<dyn History> = self.inner.clone();
        let watch = Watch::history(
            Arc::downgrade(&history),
            &self.inner.hub,
            prefix,
            snapshot.revision + 1,
        );
        Ok((snapshot, watch))
    }

    async fn watch_from(&self, prefix: &str, revision: Revision) -> Result<Watch> {
        let history: Arc<dyn History> = self.inner.clone();
        // The store begins at revision 1 with nothing in it, so 2 is the first with events.
        let revision = revision.max(2);
        history.read(revision, 1)?;
        let history = Arc::downgrade(&history);
        Ok(Watch::history(history, &self.inner.hub, prefix, revision))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        let mut state = self.inner.lock();
        if revision > state.revision {
            let current = state.revision;
            return Err(Error::FutureRevision { revision, current });
        }
        state.compacted = state.compacted.max(revision);
        self.inner.hub.forget(state.compacted);
        Ok(())
    }

    async fn lease_grant(&self, ttl_seconds: u64) -> Result<LeaseId> {
        let mut state = self.inner.lock();
        let lease = state.leases.grant(ttl_seconds, self.inner.clock.monotonic_ms());
        if !state.watched {
            state.watched = true;
            let inner = Arc::downgrade(&self.inner);
            std::thread::spawn(move || look_after_leases(&inner));
        }
        Ok(lease)
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()> {
        let mut state = self.inner.lock();
        state.leases.keep_alive(lease, self.inner.clock.monotonic_ms())
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        let mut state = self.inner.lock();
        let state = &mut *state;
        let batch = revoke(&mut state.keys, &mut state.leases, state.revision, lease)?;
        self.inner.publish(state, batch);
        Ok(())
    }
}
