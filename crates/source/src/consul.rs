//! Consul's key-value store.
//!
//! A path is asked for with everything that begins with it, and what it does not cover is left out.
//! Changes are waited for with blocking queries, one for each path or, where there are many, one for
//! the directory above them: an answer that has another index is compared with the last one. An
//! index that goes backwards, as after a restore, begins anew.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use hyper::StatusCode;
use serde::Deserialize;

use crate::http::{Http, decoded, escaped};
use crate::paths::{Paths, outermost, watched};
use crate::{Backend, Config, Entries, Error, Result, Source, Update, Watch, Watching, covers};

/// How long a query waits for a change; the server may add a sixteenth.
const WAIT: Duration = Duration::from_secs(60);
/// How long we wait after an answer that tells nothing new, which comes early now and then.
const PAUSE: Duration = Duration::from_millis(100);
/// The most queries at a time: agents allow 200 connections of one address, all its programs together.
const QUERIES_MAX: usize = 16;

/// The store of a Consul agent.
#[derive(Debug, Clone)]
pub struct Consul {
    http: Http,
    timeout: Duration,
}

/// A key as Consul lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    value: Option<String>,
}

impl Consul {
    /// The nodes' agents; what flags leave open is taken from the variables of Consul's own tools.
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] when certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self> {
        let variable = |name: &str| config.variable(name);
        let mut config = config.clone();
        if let Some(address) = variable("CONSUL_HTTP_ADDR")
            && config.nodes == Backend::Consul.default_nodes()
        {
            config.nodes = vec![address.to_owned()];
        }
        if variable("CONSUL_HTTP_SSL").is_some_and(|text| matches!(text, "1" | "true")) {
            config.scheme = "https".to_owned();
        }
        let names = ["CONSUL_CACERT", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"];
        config.tls.fill(names.map(variable));
        if variable("CONSUL_HTTP_SSL_VERIFY").is_some_and(|text| matches!(text, "0" | "false")) {
            config.tls.insecure = true;
        }
        if let Some((username, password)) =
            variable("CONSUL_HTTP_AUTH").and_then(|text| text.split_once(':'))
            && !config.login.basic
        {
            config.login.basic = true;
            config.login.username = username.to_owned();
            config.login.password = password.to_owned();
        }
        let mut http = Http::new(&config)?;
        let own = Some(config.login.token.as_str()).filter(|token| !token.is_empty());
        if let Some(token) = own.or_else(|| variable("CONSUL_HTTP_TOKEN")) {
            http = http.with("x-consul-token", token.to_owned());
        }
        Ok(Self { http, timeout: config.timeout })
    }

    /// What a path covers, and the index as of which: none where the answer does not say. With an
    /// index it waits for the next one.
    async fn list(&self, path: &str, index: Option<u64>) -> Result<(Entries, Option<u64>)> {
        let name = path.trim_matches('/');
        let mut query = format!("/v1/kv/{}?recurse=true", escaped(name));
        let mut timeout = self.timeout;
        if let Some(index) = index {
            query.push_str(&format!("&index={index}&wait={}s", WAIT.as_secs()));
            timeout += WAIT + WAIT / 16;
        }
        let answer = self.http.ask("GET", &query, &[], None, timeout).await?;
        let index = answer.headers.get("x-consul-index").and_then(|text| text.to_str().ok());
        let index = index.and_then(|text| text.parse().ok());
        let listed: Vec<Listed> = match answer.status {
            StatusCode::NOT_FOUND => Vec::new(),
            StatusCode::OK => serde_json::from_slice(&answer.body).map_err(|err| Error::Bad {
                place: format!("{}{query}", self.http.node()),
                reason: err.to_string(),
            })?,
            _ => return Err(self.http.refusal(&answer)),
        };
        let mut entries = Entries::new();
        for found in listed {
            let key = format!("/{}", found.key.trim_end_matches('/'));
            if covers(path, &key) {
                let value = found.value.as_deref().and_then(decoded).unwrap_or_default();
                entries.insert(key, value.into());
            }
        }
        Ok((entries, index))
    }

    /// What each of the paths covers.
    async fn list_all(&self, paths: &[String]) -> Result<Vec<(Entries, Option<u64>)>> {
        let asked: Vec<_> = paths.iter().map(|path| self.list(path, None)).collect();
        stream::iter(asked).buffered(QUERIES_MAX).try_collect().await
    }

    /// Waits for the next state of a path.
    fn wait(&self, number: usize, path: String, index: u64) -> BoxFuture<'static, Waited> {
        let source = self.clone();
        async move { (number, source.list(&path, Some(index)).await) }.boxed()
    }
}

/// What is said where answers have no index: something between us and the agent leaves it out.
const NO_INDEX: &str = "its answers have no X-Consul-Index";

/// The number of a path, and what it covers now.
type Waited = (usize, Result<(Entries, Option<u64>)>);

#[async_trait]
impl Source for Consul {
    fn name(&self) -> &'static str {
        "consul"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        let found = self.list_all(&outermost(paths)).await?;
        Ok(found.into_iter().flat_map(|(entries, _)| entries).collect())
    }

    async fn watch(&self, paths: &[String]) -> Result<Watching> {
        let paths = outermost(paths);
        let watched = watched(&paths, QUERIES_MAX);
        let paths = Paths::new(&paths);
        let found = self.list_all(&watched).await?;
        let waiting = FuturesUnordered::new();
        let mut states = Vec::new();
        for (number, (path, (entries, index))) in watched.into_iter().zip(found).enumerate() {
            let Some(index) = index else { return Ok(Watching::Poll(NO_INDEX.to_owned())) };
            // An index below 1 would not wait.
            waiting.push(self.wait(number, path.clone(), index.max(1)));
            states.push(State { path, index, entries: only(&paths, entries) });
        }
        let first = states.iter().flat_map(|state| state.entries.clone()).collect();
        let source = self.clone();
        let first = Some(first);
        Ok(Watching::Watch(Box::new(ConsulWatch { source, paths, states, waiting, first })))
    }
}

/// What is known of a path.
struct State {
    path: String,
    index: u64,
    entries: Entries,
}

struct ConsulWatch {
    source: Consul,
    paths: Paths,
    states: Vec<State>,
    waiting: FuturesUnordered<BoxFuture<'static, Waited>>,
    first: Option<Entries>,
}

#[async_trait]
impl Watch for ConsulWatch {
    async fn next(&mut self) -> Result<Update> {
        if let Some(first) = self.first.take() {
            return Ok(Update::All(first));
        }
        loop {
            // Cancel safe: what is waited for is kept here.
            let Some((number, found)) = self.waiting.next().await else {
                return std::future::pending().await;
            };
            let (entries, index) = found?;
            let entries = only(&self.paths, entries);
            let Some(state) = self.states.get_mut(number) else { continue };
            let Some(index) = index else {
                let (node, reason) = (self.source.http.node().to_owned(), NO_INDEX.to_owned());
                return Err(Error::Unavailable { node, reason });
            };
            let next = if index < state.index { 0 } else { index };
            state.index = next;
            let changes = differences(&state.entries, &entries);
            let waiting = self.source.wait(number, state.path.clone(), next.max(1));
            self.waiting.push(match changes.is_empty() {
                true => tokio::time::sleep(PAUSE).then(|()| waiting).boxed(),
                false => waiting,
            });
            state.entries = entries;
            if !changes.is_empty() {
                return Ok(Update::Some(changes));
            }
        }
    }
}

/// The entries that some path covers.
fn only(paths: &Paths, mut entries: Entries) -> Entries {
    entries.retain(|key, _| paths.cover(key));
    entries
}

fn differences(before: &Entries, after: &Entries) -> Vec<(String, Option<Bytes>)> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    changed.map(|key| (key.clone(), after.get(key).cloned())).collect()
}
