//! The writer: one thread that turns waiting requests into one durable commit.
//!
//! Expected flow: requests queue up while the disk works; the thread takes all that wait (up to a
//! bound), applies each on top of the one before, and commits once. Each transaction still has a
//! revision of its own.
//!
//! Guarantees: nobody is answered, and no watcher sees anything, before the commit is on disk.
//! When the file fails, everyone in the group is told so and the thread takes no more writes: what
//! the disk holds is then unknown until the store is opened again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use redb::{ReadableTable, Table, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::apply::{Tables, apply, revoke};
use crate::codec::{decode_entry, encode_batch, encode_entry};
use crate::embedded::{
    self, Inner, KEYS, LEASES, LOG, META, META_COMPACTED, META_LEASE, META_LOG_BYTES,
    META_REVISION, storage,
};
use crate::error::Error;
use crate::lease::{LeaseId, Leases};
use crate::types::{Batch, KeyValue, Outcome, Revision, Txn};

/// How many requests share a commit. At 5,000 a second a group is a few dozen; the bound keeps one
/// commit short.
const GROUP_MAX: usize = 256;

/// The longest sleep while there are leases, for clocks that are moved by hand.
const LEASE_SLEEP_MAX: Duration = Duration::from_millis(250);

/// What the writer is asked for.
pub(crate) enum Command {
    Txn(Txn),
    Compact(Revision),
    Grant(u64),
    KeepAlive(LeaseId),
    Revoke(LeaseId),
}

/// What it answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Outcome(Outcome),
    Lease(LeaseId),
    Done,
}

pub(crate) type Reply = oneshot::Sender<Result<Answer, Error>>;

/// A command, who waits for it, and its place in the bounded queue.
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) reply: Reply,
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// What the writer alone knows and changes.
pub(crate) struct Writer {
    pub(crate) inner: Arc<Inner>,
    pub(crate) leases: Leases,
    pub(crate) position: Position,
    /// Why the file can no longer be written.
    pub(crate) failed: Option<Error>,
}

/// Where the log begins and ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) log_bytes: u64,
}

impl Writer {
    /// Serves requests until every sender is gone.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let Some(mut group) = self.wait(requests) else {
                return;
            };
            group.extend(requests.try_iter().take(GROUP_MAX - group.len()));
            let expired = self.leases.expired(self.inner.clock.monotonic_ms());
            if !group.is_empty() || !expired.is_empty() {
                self.serve(group, &expired);
            }
        }
    }

    /// The first request of a group; an empty group when a lease may have ended; `None` at the end.
    fn wait(&self, requests: &Receiver<Request>) -> Option<Vec<Request>> {
        let Some(rest_ms) = self.leases.next_end_ms(self.inner.clock.monotonic_ms()) else {
            return requests.recv().ok().map(|request| vec![request]);
        };
        let sleep = Duration::from_millis(rest_ms).min(LEASE_SLEEP_MAX);
        match requests.recv_timeout(sleep) {
            Ok(request) => Some(vec![request]),
            Err(RecvTimeoutError::Timeout) => Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn serve(&mut self, group: Vec<Request>, expired: &[LeaseId]) {
        let now_ms = self.inner.clock.monotonic_ms();
        let mut writing = Vec::new();
        for request in group {
            // A keep-alive moves a deadline in memory and must not wait for the disk.
            if let Command::KeepAlive(lease) = request.command {
                let kept = self.leases.keep_alive(lease, now_ms);
                answer(request.reply, kept.map(|()| Answer::Done));
            } else {
                writing.push(request);
            }
        }
        let expired: Vec<LeaseId> = expired
            .iter()
            .copied()
            .filter(|lease| self.leases.is_expired(*lease, now_ms))
            .collect();
        if writing.is_empty() && expired.is_empty() {
            return;
        }
        let result = match self.failed.clone() {
            Some(error) => Err(error),
            None => self.commit(&writing, &expired),
        };
        match result {
            Ok(answers) => {
                for (request, result) in writing.into_iter().zip(answers) {
                    answer(request.reply, result);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store takes no more writes");
                self.leases = Leases::default();
                self.failed = Some(error.clone());
                for request in writing {
                    answer(request.reply, Err(error.clone()));
                }
            }
        }
    }

    /// Applies a group and commits it; the answers are in the group's order.
    fn commit(
        &mut self,
        group: &[Request],
        expired: &[LeaseId],
    ) -> Result<Vec<Result<Answer, Error>>, Error> {
        let inner = Arc::clone(&self.inner);
        let transaction = inner.database.begin_write().map_err(storage)?;
        let mut step = Step {
            leases: &mut self.leases,
            position: self.position,
            batches: Vec::new(),
            dirty: false,
            now_ms: inner.clock.monotonic_ms(),
        };
        let mut answers = Vec::with_capacity(group.len());
        {
            let mut tables = WriteTables::open(&transaction)?;
            for lease in expired {
                step.revoke(&mut tables, *lease)?;
            }
            for request in group {
                let result = step.command(&mut tables, &request.command);
                match result {
                    Err(error) if error.is_fatal() => return Err(error),
                    result => answers.push(result),
                }
            }
            step.trim(&mut tables, &inner.config)?;
            if step.dirty {
                tables.write_meta(step.position, step.leases.last())?;
            }
        }
        let Step { position, batches, dirty, .. } = step;
        if dirty {
            transaction.commit().map_err(storage)?;
            if position.compacted > self.position.compacted {
                inner.hub.forget(position.compacted);
            }
            self.position = position;
            inner.hub.publish(batches);
        } else {
            transaction.abort().map_err(storage)?;
        }
        Ok(answers)
    }
}

fn answer(reply: Reply, result: Result<Answer, Error>) {
    // Whoever asked may have stopped waiting; what was committed stays committed.
    drop(reply.send(result));
}

/// One group under way.
struct Step<'a> {
    leases: &'a mut Leases,
    position: Position,
    batches: Vec<Batch>,
    dirty: bool,
    now_ms: u64,
}

impl Step<'_> {
    fn command(
        &mut self,
        tables: &mut WriteTables<'_>,
        command: &Command,
    ) -> Result<Answer, Error> {
        match command {
            Command::Txn(txn) => {
                let (outcome, batch) = apply(tables, self.leases, self.position.revision, txn)?;
                self.record(tables, batch)?;
                Ok(Answer::Outcome(outcome))
            }
            Command::Compact(revision) => {
                let current = self.position.revision;
                if *revision > current {
                    return Err(Error::FutureRevision { revision: *revision, current });
                }
                self.compact(tables, *revision)?;
                Ok(Answer::Done)
            }
            Command::Grant(ttl_seconds) => {
                let lease = self.leases.grant(*ttl_seconds, self.now_ms);
                tables.leases.insert(lease.0, *ttl_seconds).map_err(storage)?;
                self.dirty = true;
                Ok(Answer::Lease(lease))
            }
            Command::Revoke(lease) => {
                self.revoke(tables, *lease)?;
                Ok(Answer::Done)
            }
            Command::KeepAlive(lease) => {
                self.leases.keep_alive(*lease, self.now_ms)?;
                Ok(Answer::Done)
            }
        }
    }

    fn revoke(&mut self, tables: &mut WriteTables<'_>, lease: LeaseId) -> Result<(), Error> {
        let batch = revoke(tables, self.leases, self.position.revision, lease)?;
        tables.leases.remove(lease.0).map_err(storage)?;
        self.dirty = true;
        self.record(tables, batch)
    }

    fn record(&mut self, tables: &mut WriteTables<'_>, batch: Option<Batch>) -> Result<(), Error> {
        let Some(batch) = batch else { return Ok(()) };
        let record = encode_batch(&batch);
        tables.log.insert(batch.revision, record.as_slice()).map_err(storage)?;
        self.position.revision = batch.revision;
        self.position.log_bytes += record.len() as u64;
        self.batches.push(batch);
        self.dirty = true;
        Ok(())
    }

    /// Keeps the log within its bounds, the newest revision aside.
    fn trim(
        &mut self,
        tables: &mut WriteTables<'_>,
        config: &embedded::Config,
    ) -> Result<(), Error> {
        let Position { revision, compacted, .. } = self.position;
        let over = (revision - compacted).saturating_sub(config.log_revisions_max);
        // A tenth above the bound is let through, so that not every commit trims.
        if over > config.log_revisions_max / 10 {
            self.compact(tables, compacted + over)?;
        }
        while self.position.log_bytes > config.log_bytes_max
            && self.position.compacted + 1 < revision
        {
            self.compact(tables, self.position.compacted + 1)?;
        }
        Ok(())
    }

    fn compact(&mut self, tables: &mut WriteTables<'_>, revision: Revision) -> Result<(), Error> {
        while self.position.compacted < revision {
            let next = self.position.compacted + 1;
            let record = tables.log.remove(next).map_err(storage)?;
            let bytes = record.map_or(0, |record| record.value().len() as u64);
            self.position.log_bytes = self.position.log_bytes.saturating_sub(bytes);
            self.position.compacted = next;
            self.dirty = true;
        }
        Ok(())
    }
}

/// The open tables of a write.
struct WriteTables<'a> {
    keys: Table<'a, &'static str, &'static [u8]>,
    log: Table<'a, u64, &'static [u8]>,
    leases: Table<'a, i64, u64>,
    meta: Table<'a, &'static str, u64>,
}

impl<'a> WriteTables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            keys: transaction.open_table(KEYS).map_err(storage)?,
            log: transaction.open_table(LOG).map_err(storage)?,
            leases: transaction.open_table(LEASES).map_err(storage)?,
            meta: transaction.open_table(META).map_err(storage)?,
        })
    }

    fn write_meta(&mut self, position: Position, last_lease: i64) -> Result<(), Error> {
        let last_lease = u64::try_from(last_lease).unwrap_or_default();
        for (name, value) in [
            (META_REVISION, position.revision),
            (META_COMPACTED, position.compacted),
            (META_LOG_BYTES, position.log_bytes),
            (META_LEASE, last_lease),
        ] {
            self.meta.insert(name, value).map_err(storage)?;
        }
        Ok(())
    }
}

impl Tables for WriteTables<'_> {
    fn get(&self, key: &str) -> Result<Option<KeyValue>, Error> {
        let found = self.keys.get(key).map_err(storage)?;
        found.map(|bytes| decode_entry(key, bytes.value())).transpose()
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut keys = Vec::new();
        for found in self.keys.range(prefix..).map_err(storage)? {
            let (key, _) = found.map_err(storage)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            keys.push(key.value().to_owned());
        }
        Ok(keys)
    }

    fn put(&mut self, entry: &KeyValue) -> Result<(), Error> {
        let bytes = encode_entry(entry);
        self.keys.insert(entry.key.as_str(), bytes.as_slice()).map_err(storage)?;
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<Option<KeyValue>, Error> {
        let found = self.keys.remove(key).map_err(storage)?;
        found.map(|bytes| decode_entry(key, bytes.value())).transpose()
    }
}
