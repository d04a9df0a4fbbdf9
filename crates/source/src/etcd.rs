//! etcd, by its third interface.
//!
//! What the paths cover is read as of one revision, and watched from the next one on over a single
//! stream. A stream that breaks, or that wants a revision that is compacted away, ends the watch: the
//! next one begins with everything.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client as client;
use etcd_client::{
    Channel, Client, ConnectOptions, EventType, GetOptions, Txn, TxnOp, WatchOptions, WatchStream,
};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;
use tonic::transport::Endpoint;

use crate::dial::{Address, Dialer};
use crate::error::within;
use crate::paths::{Paths, outermost, watched};
use crate::tls::{self, plain};
use crate::{Config, Entries, Error, Result, Source, Update, Watch, Watching, covers};

/// Where servers listen by default.
const PORT: u16 = 2379;
/// The most operations of a transaction that servers take by default.
const OPERATIONS_MAX: usize = 128;
/// The most paths that are watched one by one; more share a watch of the directory above them all.
const WATCHES_MAX: usize = 64;
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 512 << 20;
/// HTTP/2 pings on a silent connection find a dead peer within the sum of both.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// An etcd cluster.
pub struct Etcd {
    dialer: Arc<Dialer>,
    endpoint: Endpoint,
    options: ConnectOptions,
    /// None before the first question, and after trouble: what is asked then connects anew.
    client: Mutex<Option<Client>>,
    node: String,
    timeout: Duration,
}

impl Etcd {
    /// A cluster's members, as `HOST:PORT` or URLs. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] when addresses are none, or certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self> {
        let node = config.nodes.join(",");
        let mut addresses = Vec::new();
        for node in &config.nodes {
            let place = node.split_once("://").map_or(node.as_str(), |(_, place)| place);
            let address = Address::parse(place.trim_end_matches('/'), PORT);
            addresses.push(address.map_err(|why| Error::Config {
                message: format!("`{node}` is no address of an etcd: {why}"),
                hint: Some("write HOST:PORT or https://HOST:PORT".to_owned()),
            })?);
        }
        let tls = &config.tls;
        let secured = match config.is_secured("http:", "https:") {
            true => {
                let mut secured = tls::client(tls)?;
                secured.alpn_protocols = vec![b"h2".to_vec()];
                Some(secured)
            }
            false => None,
        };
        // Members are dialed by their addresses; this is what requests are addressed to.
        let endpoint = Endpoint::from_static("http://etcd")
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        let mut options = ConnectOptions::new()
            // A member that is cut off from the others must not be believed.
            .with_require_leader(true);
        if !config.login.username.is_empty() {
            options = options.with_user(&config.login.username, &config.login.password);
        }
        let dialer = Arc::new(Dialer::new(addresses, secured, config.timeout));
        let client = Mutex::new(None);
        Ok(Self { dialer, endpoint, options, client, node, timeout: config.timeout })
    }

    /// The client that is connected, or another one.
    async fn client(&self) -> Result<Client> {
        let mut kept = self.client.lock().await;
        if let Some(client) = &*kept {
            return Ok(client.clone());
        }
        let dialer = Arc::clone(&self.dialer);
        let connector = tower::service_fn(move |_: tonic::transport::Uri| {
            let dialer = Arc::clone(&dialer);
            async move { dialer.dial().await.map(TokioIo::new) }
        });
        let channel = Channel::Tonic(self.endpoint.connect_with_connector_lazy(connector));
        let connecting = Client::from_channel(channel, Some(self.options.clone()));
        let client = self.limited(connecting).await?;
        Ok(kept.insert(client).clone())
    }

    /// Gives work its deadline, and turns its error into ours.
    async fn limited<T>(&self, work: impl Future<Output = Result<T, client::Error>>) -> Result<T> {
        // Generated client futures are large; on the heap they do not grow every caller's.
        let work = Box::pin(work);
        let said = async { work.await.map_err(|err| translate(&self.node, &err)) };
        within(self.timeout, &self.node, said).await
    }

    /// Asks a member. After trouble the next question goes to another one, and logs in anew: tokens
    /// end by themselves.
    async fn call<T, F>(&self, work: impl FnOnce(Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, client::Error>>,
    {
        let client = self.client().await?;
        let answer = self.limited(work(client)).await;
        if let Err(err) = &answer {
            *self.client.lock().await = None;
            if matches!(err, Error::Unavailable { .. }) {
                self.dialer.pass_on();
            }
        }
        answer
    }

    /// What the paths cover, and as of which revision.
    async fn snapshot(&self, paths: &[String]) -> Result<(Entries, i64)> {
        let (mut entries, mut revision) = (Entries::new(), 0);
        for paths in paths.chunks(OPERATIONS_MAX) {
            let ranges = paths.iter().map(|path| {
                let options = GetOptions::new().with_range(end(path)).with_revision(revision);
                TxnOp::get(path.as_str(), Some(options))
            });
            let txn = Txn::new().and_then(ranges.collect::<Vec<_>>());
            let asking = |client: Client| async move {
                client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX).txn(txn).await
            };
            let answer = self.call(asking).await?;
            if revision == 0 {
                revision = answer.header().map_or(0, client::ResponseHeader::revision);
            }
            for (path, found) in paths.iter().zip(answer.op_responses()) {
                let client::TxnOpResponse::Get(found) = found else { continue };
                for pair in found.kvs() {
                    // Keys that are no text cannot be asked for.
                    if let Ok(key) = pair.key_str()
                        && covers(path, key)
                    {
                        entries.insert(key.to_owned(), Bytes::copy_from_slice(pair.value()));
                    }
                }
            }
        }
        Ok((entries, revision))
    }

    async fn open_watch(&self, paths: &[String], revision: i64) -> Result<Option<WatchStream>> {
        let options =
            |path: &str| WatchOptions::new().with_range(end(path)).with_start_revision(revision);
        let watched = watched(paths, WATCHES_MAX);
        let Some((first, others)) = watched.split_first() else { return Ok(None) };
        let opening = |client: Client| async move {
            let mut watches = client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX);
            let mut stream = watches.watch(first.as_str(), Some(options(first))).await?;
            for path in others {
                stream.watch(path.as_str(), Some(options(path))).await?;
            }
            Ok(stream)
        };
        self.call(opening).await.map(Some)
    }
}

/// Where the range ends that begins with a path and has all that it covers. Between the path and
/// what lies below it there may be others, whose names go on with a character before the slash.
fn end(path: &str) -> String {
    // `0` is what comes after `/`.
    format!("{}0", path.trim_end_matches('/'))
}

/// gRPC status codes that say no, as its specification numbers them.
const REFUSALS: [i32; 3] = [3, 7, 16];

fn translate(node: &str, err: &client::Error) -> Error {
    // What dialing failed of is known better there.
    let mut below = match err {
        client::Error::GRpcStatus(status) => status.source(),
        err => err.source(),
    };
    while let Some(err) = below {
        if let Some(known) = err.downcast_ref::<Error>() {
            return known.clone();
        }
        below = err.source();
    }
    let node = node.to_owned();
    match err {
        client::Error::GRpcStatus(status) if REFUSALS.contains(&(status.code() as i32)) => {
            Error::Refused { node, reason: status.message().to_owned() }
        }
        client::Error::GRpcStatus(status) => {
            let inner = status.source().map(plain);
            Error::Unavailable {
                node,
                reason: inner.unwrap_or_else(|| status.message().to_owned()),
            }
        }
        client::Error::InvalidArgs(_) | client::Error::InvalidUri(_) => {
            Error::Config { message: format!("{node}: {err}"), hint: None }
        }
        _ => Error::Unavailable { node, reason: plain(err) },
    }
}

#[async_trait]
impl Source for Etcd {
    fn name(&self) -> &'static str {
        "etcdv3"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        Ok(self.snapshot(&outermost(paths)).await?.0)
    }

    async fn watch(&self, paths: &[String]) -> Result<Watching> {
        let paths = outermost(paths);
        let (entries, revision) = self.snapshot(&paths).await?;
        let stream = self.open_watch(&paths, revision + 1).await?;
        let node = self.node.clone();
        Ok(Watching::Watch(Box::new(EtcdWatch {
            node,
            paths: Paths::new(&paths),
            first: Some(entries),
            stream,
        })))
    }
}

struct EtcdWatch {
    node: String,
    paths: Paths,
    first: Option<Entries>,
    /// None where nothing is watched.
    stream: Option<WatchStream>,
}

#[async_trait]
impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Update> {
        if let Some(first) = self.first.take() {
            return Ok(Update::All(first));
        }
        let Some(stream) = &mut self.stream else { return std::future::pending().await };
        loop {
            let lost = |reason: String| Error::Unavailable { node: self.node.clone(), reason };
            // Cancel safe: an answer is taken off the stream only when it is whole.
            let answer = match stream.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Err(lost("the watch's stream has ended".to_owned())),
                Err(err) => return Err(translate(&self.node, &err)),
            };
            if answer.canceled() {
                let why = answer.cancel_reason();
                if why.contains("permission denied") {
                    let (node, reason) = (self.node.clone(), why.to_owned());
                    return Err(Error::Refused { node, reason });
                }
                return Err(lost(match answer.compact_revision() {
                    0 => format!("the watch was ended: {why}"),
                    revision => {
                        format!("what changed before revision {revision} is compacted away")
                    }
                }));
            }
            let mut changes = Vec::new();
            for event in answer.events() {
                let Some(pair) = event.kv() else { continue };
                let Ok(key) = pair.key_str() else { continue };
                if !self.paths.cover(key) {
                    continue;
                }
                let value = match event.event_type() {
                    EventType::Put => Some(Bytes::copy_from_slice(pair.value())),
                    EventType::Delete => None,
                };
                changes.push((key.to_owned(), value));
            }
            if !changes.is_empty() {
                return Ok(Update::Some(changes));
            }
        }
    }
}
