//! The store of one machine: one redb file, opened by one process.
//!
//! Reads go to the file's last commit without waiting for the writer; writes go to one thread
//! (`writer`). The history is in the file as well, bounded in revisions and bytes.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use brickyard_core::Clock;
use camino::{Utf8Path, Utf8PathBuf};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, TableHandle, backends::FileBackend,
};
use tokio::sync::{Semaphore, oneshot};

use crate::codec::{decode_batch, decode_entry};
use crate::error::Error;
use crate::lease::{LeaseId, Leases};
use crate::types::{Batch, KeyValue, Outcome, Revision, Snapshot, Txn};
use crate::watch::{History, Hub, Watch};
use crate::writer::{Answer, Command, Position, Request, Writer};
use crate::{Result, Store};

/// The format that this version writes, and the newest that it reads.
const FORMAT: u64 = 1;

pub(crate) const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("kv");
pub(crate) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
pub(crate) const LEASES: TableDefinition<'_, i64, u64> = TableDefinition::new("lease");
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const META_FORMAT: &str = "format";
pub(crate) const META_REVISION: &str = "revision";
pub(crate) const META_COMPACTED: &str = "compacted";
pub(crate) const META_LOG_BYTES: &str = "log_bytes";
pub(crate) const META_LEASE: &str = "lease";

/// Places in the writer's queue: a request takes one, and one more for each 16 KiB, so that what
/// waits is at most 1024 requests and 16 MiB. The next one waits for its places.
const PLACES: usize = 1024;
const PLACE_BYTES: usize = 16 << 10;

/// How much of the recent history watchers share in memory.
const RING_COUNT_MAX: usize = 1024;
const RING_BYTES_MAX: usize = 1 << 20;

/// redb's own default is 1 GiB, and an idle agent has 15 MB in all.
const CACHE_BYTES: usize = 1 << 20;

/// How an embedded store is kept.
#[derive(Clone)]
pub struct Config {
    /// Ends the leases.
    pub clock: Arc<dyn Clock>,
    /// How many revisions of history are kept, to within a tenth.
    pub log_revisions_max: u64,
    /// How many bytes of history are kept.
    pub log_bytes_max: u64,
}

impl Config {
    /// 10,000 revisions and 64 MiB of history.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, log_revisions_max: 10_000, log_bytes_max: 64 << 20 }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("log_revisions_max", &self.log_revisions_max)
            .field("log_bytes_max", &self.log_bytes_max)
            .finish_non_exhaustive()
    }
}

/// A store in one file.
#[derive(Debug)]
pub struct Redb {
    /// Taken only by `drop`.
    requests: Option<mpsc::Sender<Request>>,
    places: Arc<Semaphore>,
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Inner {
    pub(crate) database: Database,
    pub(crate) hub: Hub,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redb").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Redb {
    /// Opens or makes the file; its directory must be there.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::NewerFormat`],
    /// [`Error::Corrupted`] when it is no store, [`Error::Storage`] when it cannot be read.
    pub fn open(path: &Utf8Path, config: Config) -> Result<Self> {
        let database = open_database(path)?;
        let state = load(path, &database, config.clock.as_ref())?;
        let inner = Arc::new(Inner {
            database,
            hub: Hub::new(state.position.revision, RING_COUNT_MAX, RING_BYTES_MAX),
            clock: Arc::clone(&config.clock),
            config,
        });
        let writer = Writer {
            inner: Arc::clone(&inner),
            leases: state.leases,
            position: state.position,
            failed: None,
        };
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(storage)?;
        Ok(Self {
            requests: Some(sender),
            places: Arc::new(Semaphore::new(PLACES)),
            inner,
            thread: Some(thread),
        })
    }

    async fn request(&self, command: Command) -> Result<Answer> {
        let size_bytes = match &command {
            Command::Txn(txn) => txn.size_bytes(),
            _ => 0,
        };
        // A transaction has at most 1.5 MiB, so it never asks for more places than there are.
        let count = u32::try_from(1 + size_bytes / PLACE_BYTES).unwrap_or(1);
        let places = Arc::clone(&self.places);
        let permit = places.acquire_many_owned(count).await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let request = Request { command, reply, _permit: permit };
        let requests = self.requests.as_ref().ok_or(Error::Closed)?;
        requests.send(request).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Redb {
    /// Waits for the writer, so that the file is free when this returns.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Turns a failure of the file into ours.
pub(crate) fn storage(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Corrupted(reason) => Error::Corrupted { reason },
        error => Error::Storage { reason: error.to_string() },
    }
}

fn open_database(path: &Utf8Path) -> Result<Database> {
    // What has its name was whole once: whatever is wrong with it, it is not just being made.
    if !path.exists() {
        make(path)?;
    }
    open_file(path)
}

fn open_file(path: &Utf8Path) -> Result<Database> {
    let failed = |error| Error::Storage { reason: format!("`{path}`: {error}") };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() == 0 {
        return Err(Error::Corrupted { reason: format!("`{path}`: the file is empty") });
    }
    let backend = FileBackend::new(file).map_err(|error| open_error(path, error))?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    // Who reads a damaged page may get anything, or panics: none is read that was not looked at.
    builder.set_check_integrity_on_open(true);
    builder.create_with_backend(backend).map_err(|error| open_error(path, error))
}

/// Makes a store beside its place and puts it there when it is whole, so that a file cut short by a
/// crash is never taken for a store, nor a damaged one for a file cut short.
fn make(path: &Utf8Path) -> Result<()> {
    let failed = |error| Error::Storage { reason: format!("`{path}`: {error}") };
    let new = Utf8PathBuf::from(format!("{path}.{}.new", std::process::id()));
    let made = || -> Result<()> {
        // Secrets are stored encrypted, names are not: nobody else has to read them.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(failed)?;
        let backend = FileBackend::new(file).map_err(|error| open_error(path, error))?;
        let database = Database::builder().create_with_backend(backend);
        let database = database.map_err(|error| open_error(path, error))?;
        create(&database)?;
        drop(database);
        match std::fs::hard_link(&new, path) {
            // Another process was first: theirs counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(failed),
        }
    };
    let made = made();
    let _ = std::fs::remove_file(&new);
    made?;
    // The file's name must survive a power loss as well as its content.
    match path.parent().filter(|parent| !parent.as_str().is_empty()) {
        Some(directory) => sync_directory(directory),
        None => Ok(()),
    }
}

fn sync_directory(directory: &Utf8Path) -> Result<()> {
    let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Error::Storage { reason: format!("`{directory}`: {error}") })
}

fn open_error(path: &Utf8Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::Locked { path: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Error::Storage { reason: format!("`{path}`: {error}") }
        }
        error => Error::Corrupted { reason: format!("`{path}`: {error}") },
    }
}

/// What the writer starts from.
struct Loaded {
    leases: Leases,
    position: Position,
}

fn load(path: &Utf8Path, database: &Database, clock: &dyn Clock) -> Result<Loaded> {
    let read = database.begin_read().map_err(storage)?;
    check_format(path, &read)?;
    let meta = read.open_table(META).map_err(storage)?;
    let number = |name: &str| -> Result<u64> {
        Ok(meta.get(name).map_err(storage)?.map_or(0, |value| value.value()))
    };
    let now_ms = clock.monotonic_ms();
    let mut leases = Leases::default();
    leases.reserve(i64::try_from(number(META_LEASE)?).unwrap_or_default());
    for found in read.open_table(LEASES).map_err(storage)?.iter().map_err(storage)? {
        let (lease, ttl_seconds) = found.map_err(storage)?;
        leases.restore(LeaseId(lease.value()), ttl_seconds.value(), now_ms);
    }
    for entry in entries(&read, "")? {
        leases.attach(&entry.key, None, entry.lease);
    }
    Ok(Loaded {
        leases,
        position: Position {
            revision: number(META_REVISION)?,
            compacted: number(META_COMPACTED)?,
            log_bytes: number(META_LOG_BYTES)?,
        },
    })
}

/// Makes the tables. As in etcd, an empty store is at revision 1; that revision has no events, so
/// it counts as compacted.
fn create(database: &Database) -> Result<Loaded> {
    let position = Position { revision: 1, compacted: 1, log_bytes: 0 };
    let write = database.begin_write().map_err(storage)?;
    {
        write.open_table(KEYS).map_err(storage)?;
        write.open_table(LOG).map_err(storage)?;
        write.open_table(LEASES).map_err(storage)?;
        let mut meta = write.open_table(META).map_err(storage)?;
        meta.insert(META_FORMAT, FORMAT).map_err(storage)?;
        meta.insert(META_REVISION, position.revision).map_err(storage)?;
        meta.insert(META_COMPACTED, position.compacted).map_err(storage)?;
    }
    write.commit().map_err(storage)?;
    Ok(Loaded { leases: Leases::default(), position })
}

/// Refuses a file of a newer version before any other table is touched: a newer version may have
/// changed their types.
fn check_format(path: &Utf8Path, read: &ReadTransaction) -> Result<()> {
    let tables: Vec<String> =
        read.list_tables().map_err(storage)?.map(|table| table.name().to_owned()).collect();
    let found = match tables.iter().any(|table| table == META.name()) {
        true => {
            let meta = read.open_table(META).map_err(storage)?;
            meta.get(META_FORMAT).map_err(storage)?.map(|value| value.value())
        }
        false => None,
    };
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => {
            Err(Error::NewerFormat { path: path.to_owned(), found, supported: FORMAT })
        }
        _ => Err(Error::Corrupted {
            reason: format!("`{path}` is a database, but not one of this store"),
        }),
    }
}

fn entries(read: &ReadTransaction, prefix: &str) -> Result<Vec<KeyValue>> {
    let table = read.open_table(KEYS).map_err(storage)?;
    let mut entries = Vec::new();
    for found in table.range(prefix..).map_err(storage)? {
        let (key, bytes) = found.map_err(storage)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        entries.push(decode_entry(key.value(), bytes.value())?);
    }
    Ok(entries)
}

impl Inner {
    fn snapshot(&self, prefix: &str) -> Result<Snapshot> {
        let read = self.database.begin_read().map_err(storage)?;
        Ok(Snapshot { revision: meta(&read, META_REVISION)?, entries: entries(&read, prefix)? })
    }
}

fn meta(read: &ReadTransaction, name: &str) -> Result<u64> {
    let table = read.open_table(META).map_err(storage)?;
    let found = table.get(name).map_err(storage)?;
    Ok(found.map_or(0, |value| value.value()))
}

impl History for Inner {
    fn read(&self, revision: Revision, count_max: usize) -> Result<Vec<Arc<Batch>>> {
        if let Some(batches) = self.hub.read(revision, count_max) {
            return Ok(batches);
        }
        let read = self.database.begin_read().map_err(storage)?;
        let compacted = meta(&read, META_COMPACTED)?;
        if revision <= compacted {
            return Err(Error::Compacted { compacted });
        }
        let log = read.open_table(LOG).map_err(storage)?;
        let mut batches = Vec::new();
        for found in log.range(revision..).map_err(storage)?.take(count_max) {
            let (revision, record) = found.map_err(storage)?;
            batches.push(Arc::new(decode_batch(revision.value(), record.value())?));
        }
        Ok(batches)
    }
}

#[async_trait]
impl Store for Redb {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let read = self.inner.database.begin_read().map_err(storage)?;
        let table = read.open_table(KEYS).map_err(storage)?;
        let found = table.get(key).map_err(storage)?;
        found.map(|bytes| decode_entry(key, bytes.value())).transpose()
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot> {
        self.inner.snapshot(prefix)
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome> {
        txn.validate()?;
        match self.request(Command::Txn(txn)).await? {
            Answer::Outcome(outcome) => Ok(outcome),
            Answer::Lease(_) | Answer::Done => Err(Error::Closed),
        }
    }

    async fn watch(&self, prefix: &str) -> Result<(Snapshot, Watch)> {
        let snapshot = self.inner.snapshot(prefix)?;
        let history: Arc<dyn History> = self.inner.clone();
        let next = snapshot.revision + 1;
        let watch = Watch::history(Arc::downgrade(&history), &self.inner.hub, prefix, next);
        Ok((snapshot, watch))
    }

    async fn watch_from(&self, prefix: &str, revision: Revision) -> Result<Watch> {
        let history: Arc<dyn History> = self.inner.clone();
        // Revision 1 is the empty store, so 2 is the first with events.
        let revision = revision.max(2);
        history.read(revision, 1)?;
        let history = Arc::downgrade(&history);
        Ok(Watch::history(history, &self.inner.hub, prefix, revision))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.request(Command::Compact(revision)).await.map(drop)
    }

    async fn lease_grant(&self, ttl_seconds: u64) -> Result<LeaseId> {
        match self.request(Command::Grant(ttl_seconds)).await? {
            Answer::Lease(lease) => Ok(lease),
            Answer::Outcome(_) | Answer::Done => Err(Error::Closed),
        }
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.request(Command::KeepAlive(lease)).await.map(drop)
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.request(Command::Revoke(lease)).await.map(drop)
    }
}
