//! Watches: a cursor in the history, woken by commits.
//!
//! An embedded store gives a watcher no queue of its own. The history is the queue: recent batches
//! are shared in a bounded ring, older ones are read from the store's log. A slow watcher costs
//! no memory and loses nothing; one that is slower than compaction is told so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use crate::error::Error;
use crate::etcd::EtcdWatch;
use crate::types::{Batch, Change, Revision};

/// How many batches a watcher takes from the history at a time.
const READ_MAX: usize = 256;

/// Changes under a prefix, one whole transaction at a time.
#[derive(Debug)]
pub struct Watch {
    source: Source,
}

#[derive(Debug)]
enum Source {
    History(Cursor),
    Etcd(Box<EtcdWatch>),
}

impl Watch {
    /// The next transaction that changed something under the prefix.
    ///
    /// Cancel safe: a dropped call loses no batch. After an error that is retryable, calling again
    /// goes on where the watch was.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the history was compacted before this watch has read it: take a
    /// snapshot again. [`Error::Closed`] when the store was closed.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        match &mut self.source {
            Source::History(cursor) => cursor.next().await,
            Source::Etcd(watch) => watch.next().await,
        }
    }

    pub(crate) fn history(
        history: Weak<dyn History>,
        hub: &Hub,
        prefix: &str,
        revision: Revision,
    ) -> Self {
        Self {
            source: Source::History(Cursor {
                history,
                latest: hub.latest.subscribe(),
                prefix: prefix.to_owned(),
                next: revision,
                ready: VecDeque::new(),
            }),
        }
    }

    pub(crate) fn etcd(watch: EtcdWatch) -> Self {
        Self { source: Source::Etcd(Box::new(watch)) }
    }
}

/// Where a watcher reads what has happened.
pub(crate) trait History: Send + Sync + std::fmt::Debug {
    /// Up to `count_max` batches from `revision` on, without a hole.
    fn read(&self, revision: Revision, count_max: usize) -> Result<Vec<Arc<Batch>>, Error>;
}

#[derive(Debug)]
struct Cursor {
    /// Weak, so that a forgotten watch does not keep a closed store's file locked.
    history: Weak<dyn History>,
    latest: watch::Receiver<Revision>,
    prefix: String,
    /// The first revision that was not looked at.
    next: Revision,
    ready: VecDeque<Batch>,
}

impl Cursor {
    async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(batch);
            }
            let latest = *self.latest.borrow_and_update();
            if self.next > latest {
                self.latest.changed().await.map_err(|_| Error::Closed)?;
                continue;
            }
            let history = self.history.upgrade().ok_or(Error::Closed)?;
            let batches = history.read(self.next, READ_MAX)?;
            self.next = batches.last().map_or(latest, |batch| batch.revision) + 1;
            let matching = batches.iter().filter_map(|batch| select(batch, &self.prefix));
            self.ready.extend(matching);
        }
    }
}

/// The part of a batch under a prefix, if there is one.
fn select(batch: &Batch, prefix: &str) -> Option<Batch> {
    let matching = |change: &&Change| change.key().starts_with(prefix);
    let changes: Vec<Change> = batch.changes.iter().filter(matching).cloned().collect();
    (!changes.is_empty()).then_some(Batch { revision: batch.revision, changes })
}

/// Recent batches and the newest revision, shared by all watchers of a store.
#[derive(Debug)]
pub(crate) struct Hub {
    ring: Mutex<Ring>,
    latest: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Ring {
    batches: VecDeque<Arc<Batch>>,
    size_bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Hub {
    pub(crate) fn new(revision: Revision, count_max: usize, bytes_max: usize) -> Self {
        Self {
            ring: Mutex::new(Ring {
                batches: VecDeque::new(),
                size_bytes: 0,
                count_max,
                bytes_max,
            }),
            latest: watch::Sender::new(revision),
        }
    }

    /// Makes committed batches visible and wakes the watchers.
    pub(crate) fn publish(&self, batches: impl IntoIterator<Item = Batch>) {
        let mut ring = self.ring();
        let mut latest = None;
        for batch in batches {
            latest = Some(batch.revision);
            ring.size_bytes += size_bytes(&batch);
            ring.batches.push_back(Arc::new(batch));
            while ring.batches.len() > ring.count_max || ring.size_bytes > ring.bytes_max {
                ring.drop_oldest();
            }
        }
        drop(ring);
        if let Some(latest) = latest {
            self.latest.send_replace(latest);
        }
    }

    /// Batches from `revision` on, or `None` when the ring no longer holds that one.
    pub(crate) fn read(&self, revision: Revision, count_max: usize) -> Option<Vec<Arc<Batch>>> {
        let ring = self.ring();
        let first = ring.batches.front()?.revision;
        let skip = usize::try_from(revision.checked_sub(first)?).ok()?;
        let batches = ring.batches.iter().skip(skip).take(count_max).cloned();
        Some(batches.collect())
    }

    /// Forgets the batches up to `revision`.
    pub(crate) fn forget(&self, revision: Revision) {
        let mut ring = self.ring();
        while ring.batches.front().is_some_and(|batch| batch.revision <= revision) {
            ring.drop_oldest();
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // The ring is whole after every statement that could panic, so poison is harmless.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn drop_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.size_bytes -= size_bytes(&batch);
        }
    }
}

fn size_bytes(batch: &Batch) -> usize {
    let changes = batch.changes.iter().map(|change| match change {
        Change::Put(entry) => entry.key.len() + entry.value.len(),
        Change::Delete { key } => key.len(),
    });
    changes.map(|bytes| bytes + size_of::<Change>()).sum()
}
