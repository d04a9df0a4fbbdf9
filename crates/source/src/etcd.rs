//! etcd, by its third interface.
//!
//! What the paths cover is read as of one revision, and watched from the next one on over a single
//! stream. A stream that breaks, or that wants a revision that is compacted away, ends the watch: the
//! next one begins with everything.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client as client;
use etcd_client::{
    Certificate, ConnectOptions, EventType, GetOptions, Identity, KvClient, TlsOptions, Txn, TxnOp,
    WatchClient, WatchOptions, WatchStream,
};

use crate::{Config, Entries, Error, Result, Source, Update, Watch, Watching, covers};

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
    /// Holds the connections.
    _client: client::Client,
    keys: KvClient,
    watches: WatchClient,
    node: String,
    timeout: Duration,
}

impl Etcd {
    /// Connects, and logs in where there is a user.
    ///
    /// # Errors
    /// [`Error::Config`] when certificates cannot be read, [`Error::Unavailable`] when no member
    /// answers, [`Error::Refused`] when the user is wrong.
    pub async fn connect(config: &Config) -> Result<Self> {
        let node = config.nodes.join(",");
        let mut options = ConnectOptions::new()
            .with_connect_timeout(config.timeout)
            .with_keep_alive(PING_EVERY, PING_TIMEOUT)
            .with_keep_alive_while_idle(true)
            // A member that is cut off from the others must not be believed.
            .with_require_leader(true);
        let tls = tls(config)?;
        let scheme = if tls.is_some() { "https" } else { &config.scheme };
        let endpoints: Vec<String> = config
            .nodes
            .iter()
            .map(|node| match node.contains("://") {
                true => node.clone(),
                false => format!("{scheme}://{node}"),
            })
            .collect();
        if let Some(tls) = tls {
            options = options.with_tls(tls);
        }
        if !config.login.username.is_empty() {
            options = options.with_user(&config.login.username, &config.login.password);
        }
        let connecting = client::Client::connect(&endpoints, Some(options));
        let connected = call(&node, config.timeout, connecting).await?;
        Ok(Self {
            keys: connected.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX),
            watches: connected.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX),
            _client: connected,
            node,
            timeout: config.timeout,
        })
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T, client::Error>>) -> Result<T> {
        call(&self.node, self.timeout, work).await
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
            let answer = self.call(self.keys.clone().txn(txn)).await?;
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
        let whole;
        let watched = match paths.len() > WATCHES_MAX {
            true => {
                whole = [common_directory(paths)];
                &whole[..]
            }
            false => paths,
        };
        let options =
            |path: &str| WatchOptions::new().with_range(end(path)).with_start_revision(revision);
        let Some((first, others)) = watched.split_first() else { return Ok(None) };
        let mut watches = self.watches.clone();
        let opening = watches.watch(first.as_str(), Some(options(first)));
        let mut stream = self.call(opening).await?;
        for path in others {
            self.call(stream.watch(path.as_str(), Some(options(path)))).await?;
        }
        Ok(Some(stream))
    }
}

/// Where the range ends that begins with a path and has all that it covers. Between the path and
/// what lies below it there may be others, whose names go on with a character before the slash.
fn end(path: &str) -> String {
    // `0` is what comes after `/`.
    format!("{}0", path.trim_end_matches('/'))
}

/// Paths without those that others cover already.
fn outermost(paths: &[String]) -> Vec<String> {
    let mut sorted: Vec<&String> = paths.iter().collect();
    // By their parts, so that what a path covers follows it without anything between.
    sorted.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    let mut kept: Vec<String> = Vec::new();
    for path in sorted {
        if !kept.last().is_some_and(|known| covers(known, path)) {
            kept.push(path.clone());
        }
    }
    kept
}

/// The directory that has all of the paths.
fn common_directory(paths: &[String]) -> String {
    let mut common = paths.first().cloned().unwrap_or_default();
    while !paths.iter().all(|path| covers(&common, path)) {
        let end = common.trim_end_matches('/').rfind('/').unwrap_or(0);
        common.truncate(end);
    }
    if common.is_empty() { "/".to_owned() } else { common }
}

fn tls(config: &Config) -> Result<Option<TlsOptions>> {
    let tls = &config.tls;
    let is_https = config.scheme == "https" || config.nodes.iter().any(|n| n.starts_with("https:"));
    if tls.authorities.is_none() && tls.certificate.is_none() && !is_https {
        return Ok(None);
    }
    let read = |path: &camino::Utf8PathBuf| {
        std::fs::read(path).map_err(|err| Error::Config {
            message: format!("cannot read `{path}`: {err}"),
            hint: None,
        })
    };
    let mut options = TlsOptions::new();
    options = match &tls.authorities {
        Some(path) => options.ca_certificate(Certificate::from_pem(read(path)?)),
        None => options.with_native_roots(),
    };
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            options = options.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        (None, None) => {}
        _ => {
            return Err(Error::Config {
                message: "a client's certificate and its key go together".to_owned(),
                hint: Some("give both -client-cert and -client-key".to_owned()),
            });
        }
    }
    if tls.insecure {
        return Err(Error::Config {
            message: "etcd's certificate is always verified".to_owned(),
            hint: Some("name its authority with -client-ca-keys FILE".to_owned()),
        });
    }
    Ok(Some(options))
}

/// Gives a call its deadline and turns its error into ours.
async fn call<T>(
    node: &str,
    timeout: Duration,
    work: impl Future<Output = Result<T, client::Error>>,
) -> Result<T> {
    // Generated client futures are large; on the heap they do not grow every caller's.
    match tokio::time::timeout(timeout, Box::pin(work)).await {
        Ok(result) => result.map_err(|err| translate(node, &err)),
        Err(_) => Err(Error::Unavailable {
            node: node.to_owned(),
            reason: format!("no answer within {timeout:?}"),
        }),
    }
}

/// gRPC status codes that say no, as its specification numbers them.
const REFUSALS: [i32; 3] = [3, 7, 16];

fn translate(node: &str, err: &client::Error) -> Error {
    let node = node.to_owned();
    match err {
        client::Error::GRpcStatus(status) if REFUSALS.contains(&(status.code() as i32)) => {
            Error::Refused { node, reason: status.message().to_owned() }
        }
        client::Error::InvalidArgs(_) | client::Error::InvalidUri(_) => {
            Error::Config { message: format!("{node}: {err}"), hint: None }
        }
        _ => Error::Unavailable { node, reason: whole(err) },
    }
}

/// An error with what lies below it: what a connection failed of is said only there.
fn whole(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut below = err.source();
    while let Some(err) = below {
        let more = err.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        below = err.source();
    }
    text
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
        Ok(Watching::Watch(Box::new(EtcdWatch { node, paths, first: Some(entries), stream })))
    }
}

struct EtcdWatch {
    node: String,
    paths: Vec<String>,
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
                return Err(lost(match answer.compact_revision() {
                    0 => format!("the watch was ended: {}", answer.cancel_reason()),
                    revision => {
                        format!("what changed before revision {revision} is compacted away")
                    }
                }));
            }
            let mut changes = Vec::new();
            for event in answer.events() {
                let Some(pair) = event.kv() else { continue };
                let Ok(key) = pair.key_str() else { continue };
                if !self.paths.iter().any(|path| covers(path, key)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_that_others_cover_are_not_asked_for() {
        let paths = strings(&["/b", "/a/x", "/a", "/a-b", "/a/x/y", "/b"]);
        assert_eq!(outermost(&paths), strings(&["/a", "/a-b", "/b"]));
        assert_eq!(outermost(&strings(&["/a-b", "/a/b", "/a"])), strings(&["/a", "/a-b"]));
        assert_eq!(outermost(&strings(&["/", "/a"])), strings(&["/"]));
    }

    #[test]
    fn the_directory_of_all_is_the_deepest() {
        assert_eq!(common_directory(&strings(&["/a/b/c", "/a/b/d"])), "/a/b");
        assert_eq!(common_directory(&strings(&["/a/b", "/a/b/d"])), "/a/b");
        assert_eq!(common_directory(&strings(&["/ab", "/a"])), "/");
    }
}
