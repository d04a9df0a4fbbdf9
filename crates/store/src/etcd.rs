//! The store of many machines: an etcd cluster.
//!
//! Every call has a deadline. A watch that loses its connection goes on from the revision that it
//! has seen; the caller hears of the loss as a retryable error only when the cluster cannot be
//! reached again at once. Keys that are not UTF-8 are not ours and are left out.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client as client;
use etcd_client::{
    CompareOp, ConnectOptions, DeleteOptions, EventType, GetOptions, KvClient, LeaseClient,
    PutOptions, SortOrder, SortTarget, TxnOp, WatchClient, WatchOptions, WatchStream,
};

use tokio::time::Instant;

use crate::error::Error;
use crate::lease::LeaseId;
use crate::types::{Batch, Change, Compare, KeyValue, Operation, Outcome, Revision, Snapshot, Txn};
use crate::watch::Watch;
use crate::{Result, Store};

/// The longest answer that is read: a snapshot or a long history in one message. tonic's default
/// of 4 MiB holds about 20,000 small keys.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// HTTP/2 pings on a silent connection find a dead peer within the sum of both.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a watch waits before it connects again: a server that ends every stream at once must
/// not be asked in a tight loop.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How a cluster is reached.
#[derive(Debug, Clone)]
pub struct EtcdConfig {
    /// `http://HOST:PORT` of each member.
    pub endpoints: Vec<String>,
    /// User and password, where the cluster wants them.
    pub user: Option<(String, String)>,
    /// How long one call may take.
    pub timeout: Duration,
}

impl EtcdConfig {
    /// These endpoints, no user, 5 seconds a call.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            user: None,
            timeout: Duration::from_secs(5),
        }
    }
}

/// A store in an etcd cluster.
pub struct Etcd {
    /// Holds the connections; the three below share them.
    _client: client::Client,
    keys: KvClient,
    leases: LeaseClient,
    watches: WatchClient,
    timeout: Duration,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Etcd {
    /// Connects, and makes one read to see that the cluster answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no member answers, [`Error::Refused`] when an endpoint or the
    /// user is wrong.
    pub async fn connect(config: EtcdConfig) -> Result<Self> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(config.timeout)
            .with_keep_alive(PING_EVERY, PING_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some((user, password)) = config.user {
            options = options.with_user(user, password);
        }
        let connecting = client::Client::connect(&config.endpoints, Some(options));
        let connected = call(config.timeout, connecting).await?;
        let store = Self {
            keys: connected.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX),
            leases: connected.lease_client(),
            watches: connected.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX),
            _client: connected,
            timeout: config.timeout,
        };
        let options = GetOptions::new().with_count_only();
        store.call(store.keys.clone().get("/", Some(options))).await?;
        Ok(store)
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T, client::Error>>) -> Result<T> {
        call(self.timeout, work).await
    }

    async fn open_watch(&self, prefix: &str, revision: Revision) -> Result<Watch> {
        let mut watch = EtcdWatch {
            watches: self.watches.clone(),
            timeout: self.timeout,
            prefix: prefix.to_owned(),
            next: revision,
            stream: None,
            not_before: None,
            ready: VecDeque::new(),
        };
        watch.reconnect().await?;
        Ok(Watch::etcd(watch))
    }
}

/// Gives a call its deadline and turns its error into ours.
async fn call<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, client::Error>>,
) -> Result<T> {
    // Generated client futures are large; on the heap they do not grow every caller's.
    match tokio::time::timeout(timeout, Box::pin(work)).await {
        Ok(result) => result.map_err(translate),
        Err(_) => Err(Error::Unavailable { reason: format!("no answer within {timeout:?}") }),
    }
}

/// gRPC status codes, as its specification numbers them.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNAVAILABLE: i32 = 14;
}

fn translate(error: client::Error) -> Error {
    let reason = error.to_string();
    let client::Error::GRpcStatus(status) = error else {
        return match error {
            client::Error::InvalidArgs(_)
            | client::Error::InvalidUri(_)
            | client::Error::LeaseKeepAliveError(_) => Error::Refused { reason },
            _ => Error::Unavailable { reason },
        };
    };
    let message = status.message();
    let reason = message.to_owned();
    if message.contains("has been compacted") {
        // The answer does not say up to where; callers that know put the number in.
        return Error::Compacted { compacted: 0 };
    }
    if message.contains("too many requests") {
        return Error::Unavailable { reason };
    }
    match status.code() as i32 {
        code::CANCELLED
        | code::UNKNOWN
        | code::DEADLINE_EXCEEDED
        | code::INTERNAL
        | code::UNAVAILABLE => Error::Unavailable { reason },
        _ => Error::Refused { reason },
    }
}

/// Names the lease in a "lease not found" answer.
fn about_lease(lease: LeaseId) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Refused { reason } if reason.contains("lease not found") => {
            Error::LeaseNotFound { lease }
        }
        error => error,
    }
}

/// Names the revision in a "compacted" answer.
fn about_revision(revision: Revision) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Compacted { .. } => Error::Compacted { compacted: revision },
        error => error,
    }
}

fn from_wire(number: i64) -> Revision {
    Revision::try_from(number).unwrap_or_default()
}

fn to_wire(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn header_revision(header: Option<&client::ResponseHeader>) -> Revision {
    header.map_or(0, |header| from_wire(header.revision()))
}

fn entry(found: &client::KeyValue) -> Option<KeyValue> {
    Some(KeyValue {
        key: found.key_str().ok()?.to_owned(),
        value: Bytes::copy_from_slice(found.value()),
        create_revision: from_wire(found.create_revision()),
        mod_revision: from_wire(found.mod_revision()),
        lease: (found.lease() != 0).then_some(LeaseId(found.lease())),
    })
}

fn compare(compare: &Compare) -> client::Compare {
    match compare {
        Compare::Absent { key } => {
            client::Compare::create_revision(key.as_str(), CompareOp::Equal, 0)
        }
        Compare::Exists { key } => {
            client::Compare::create_revision(key.as_str(), CompareOp::Greater, 0)
        }
        Compare::ModRevision { key, revision } => {
            client::Compare::mod_revision(key.as_str(), CompareOp::Equal, to_wire(*revision))
        }
    }
}

fn operation(operation: Operation) -> TxnOp {
    match operation {
        Operation::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key, value, options)
        }
        Operation::Delete { key } => TxnOp::delete(key, None),
        Operation::DeletePrefix { prefix } => {
            let options = match prefix.is_empty() {
                true => DeleteOptions::new().with_all_keys(),
                false => DeleteOptions::new().with_prefix(),
            };
            TxnOp::delete(prefix, Some(options))
        }
    }
}

fn get_prefix(prefix: &str) -> GetOptions {
    match prefix.is_empty() {
        true => GetOptions::new().with_all_keys(),
        false => GetOptions::new().with_prefix(),
    }
}

#[async_trait]
impl Store for Etcd {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let found = self.call(self.keys.clone().get(key, None)).await?;
        Ok(found.kvs().first().and_then(entry))
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot> {
        let options = get_prefix(prefix).with_sort(SortTarget::Key, SortOrder::Ascend);
        let found = self.call(self.keys.clone().get(prefix, Some(options))).await?;
        Ok(Snapshot {
            revision: header_revision(found.header()),
            entries: found.kvs().iter().filter_map(entry).collect(),
        })
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome> {
        txn.validate()?;
        let lease = txn.operations.iter().find_map(|operation| match operation {
            Operation::Put { lease, .. } => *lease,
            Operation::Delete { .. } | Operation::DeletePrefix { .. } => None,
        });
        let request = client::Txn::new()
            .when(txn.compares.iter().map(compare).collect::<Vec<_>>())
            .and_then(txn.operations.into_iter().map(operation).collect::<Vec<_>>());
        let answer = self.call(self.keys.clone().txn(request)).await;
        let answer = answer.map_err(about_lease(lease.unwrap_or(LeaseId(0))))?;
        let revision = header_revision(answer.header());
        Ok(match answer.succeeded() {
            true => Outcome::Committed { revision },
            false => Outcome::Conflict { revision },
        })
    }

    async fn watch(&self, prefix: &str) -> Result<(Snapshot, Watch)> {
        let snapshot = self.range(prefix).await?;
        let watch = self.open_watch(prefix, snapshot.revision + 1).await?;
        Ok((snapshot, watch))
    }

    async fn watch_from(&self, prefix: &str, revision: Revision) -> Result<Watch> {
        // Revision 1 is the empty store, and 0 would mean "now".
        let revision = revision.max(2);
        // A watch would be told of compaction only some time after it is made.
        let options = GetOptions::new().with_count_only().with_revision(to_wire(revision));
        let probed = self.call(self.keys.clone().get("/", Some(options))).await;
        match probed.map_err(about_revision(revision)) {
            Err(Error::Refused { reason }) if reason.contains("future revision") => {}
            result => drop(result?),
        }
        self.open_watch(prefix, revision).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        let mut keys = self.keys.clone();
        match self.call(keys.compact(to_wire(revision), None)).await {
            Ok(_) | Err(Error::Compacted { .. }) => Ok(()),
            Err(Error::Refused { reason }) if reason.contains("future revision") => {
                let current = self.range("/").await?.revision;
                Err(Error::FutureRevision { revision, current })
            }
            Err(error) => Err(error),
        }
    }

    async fn lease_grant(&self, ttl_seconds: u64) -> Result<LeaseId> {
        let ttl = i64::try_from(ttl_seconds.max(1)).unwrap_or(i64::MAX);
        let granted = self.call(self.leases.clone().grant(ttl, None)).await?;
        Ok(LeaseId(granted.id()))
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()> {
        let mut leases = self.leases.clone();
        let keeping = async move {
            // This sends the first keep-alive and waits for its answer.
            leases.keep_alive(lease.0).await.map(drop)
        };
        self.call(keeping).await.map_err(about_lease(lease))
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        let revoked = self.call(self.leases.clone().revoke(lease.0)).await;
        revoked.map_err(about_lease(lease)).map(drop)
    }
}

/// A watch that reconnects.
pub(crate) struct EtcdWatch {
    watches: WatchClient,
    timeout: Duration,
    prefix: String,
    /// The first revision that has not been received.
    next: Revision,
    stream: Option<WatchStream>,
    /// When to connect again; kept here so that a dropped wait does not start the pause anew.
    not_before: Option<Instant>,
    ready: VecDeque<Batch>,
}

impl std::fmt::Debug for EtcdWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdWatch")
            .field("prefix", &self.prefix)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl EtcdWatch {
    pub(crate) async fn next(&mut self) -> Result<Batch> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(batch);
            }
            let Some(stream) = &mut self.stream else {
                if let Some(time) = self.not_before {
                    tokio::time::sleep_until(time).await;
                    self.not_before = None;
                }
                self.reconnect().await?;
                continue;
            };
            // Cancel safe: an answer is taken off the stream only when it is whole.
            match stream.message().await {
                Ok(Some(answer)) => self.take(&answer)?,
                Ok(None) => self.lost(),
                Err(error) => {
                    tracing::debug!(prefix = self.prefix, %error, "a watch lost its connection");
                    self.lost();
                }
            }
        }
    }

    fn lost(&mut self) {
        self.stream = None;
        self.not_before = Some(Instant::now() + RECONNECT_PAUSE);
    }

    async fn reconnect(&mut self) -> Result<()> {
        let options = match self.prefix.is_empty() {
            true => WatchOptions::new().with_all_keys(),
            false => WatchOptions::new().with_prefix(),
        };
        let options = options.with_start_revision(to_wire(self.next));
        let opening = self.watches.watch(self.prefix.as_str(), Some(options));
        self.stream = Some(call(self.timeout, opening).await?);
        Ok(())
    }

    /// Sorts one answer into batches: while a watch catches up, an answer holds many revisions,
    /// and each of them whole.
    fn take(&mut self, answer: &client::WatchResponse) -> Result<()> {
        if answer.canceled() {
            self.lost();
            return Err(match answer.compact_revision() {
                0 => Error::Unavailable {
                    reason: format!("the watch was ended: {}", answer.cancel_reason()),
                },
                compacted => Error::Compacted { compacted: from_wire(compacted) },
            });
        }
        let first = self.next;
        for event in answer.events() {
            let Some(found) = event.kv() else { continue };
            let revision = from_wire(found.mod_revision());
            let Some(found) = entry(found).filter(|_| revision >= first) else {
                continue;
            };
            let change = match event.event_type() {
                EventType::Put => Change::Put(found),
                EventType::Delete => Change::Delete { key: found.key },
            };
            match self.ready.back_mut() {
                Some(batch) if batch.revision == revision => batch.changes.push(change),
                _ => self.ready.push_back(Batch { revision, changes: vec![change] }),
            }
            self.next = revision + 1;
        }
        Ok(())
    }
}
