//! Consul's key-value store.
//!
//! A path is asked for with everything that begins with it, and what it does not cover is left out.
//! Changes are waited for with blocking queries, one for each path: an answer that has another index
//! is compared with the last one. An index that goes backwards, as after a restore, begins anew.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use hyper::StatusCode;
use serde::Deserialize;

use crate::http::{Http, decoded, escaped};
use crate::{Backend, Config, Entries, Error, Result, Source, Update, Watch, Watching, covers};

/// How long a query waits for a change; the server may add a sixteenth.
const WAIT: Duration = Duration::from_secs(60);

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
    /// The first of the nodes, or the one that the variables of Consul's own tools name. Nothing is
    /// asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] when certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self> {
        let variable = |name: &str| config.environment.get(name).filter(|text| !text.is_empty());
        let node = match variable("CONSUL_HTTP_ADDR") {
            Some(address) if config.nodes == Backend::Consul.default_nodes() => address.as_str(),
            _ => config.nodes.first().map(String::as_str).unwrap_or_default(),
        };
        let mut http = Http::new(node, config)?;
        let own = Some(&config.login.token).filter(|token| !token.is_empty());
        if let Some(token) = own.or_else(|| variable("CONSUL_HTTP_TOKEN")) {
            http = http.with("x-consul-token", token.clone());
        }
        Ok(Self { http, timeout: config.timeout })
    }

    /// What a path covers, and the index as of which; with an index it waits for the next one.
    async fn list(&self, path: &str, index: Option<u64>) -> Result<(Entries, u64)> {
        let name = path.trim_matches('/');
        let mut query = format!("/v1/kv/{}?recurse=true", escaped(name));
        let mut timeout = self.timeout;
        if let Some(index) = index {
            query.push_str(&format!("&index={index}&wait={}s", WAIT.as_secs()));
            timeout += WAIT + WAIT / 16;
        }
        let answer = self.http.ask("GET", &query, &[], None, timeout).await?;
        let index = answer.headers.get("x-consul-index").and_then(|text| text.to_str().ok());
        let index = index.and_then(|text| text.parse().ok()).unwrap_or(0);
        let listed: Vec<Listed> = match answer.status {
            StatusCode::NOT_FOUND => Vec::new(),
            StatusCode::OK => serde_json::from_slice(&answer.body).map_err(|err| Error::Bad {
                place: format!("{}{query}", self.http.node),
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

    /// Waits for the next state of a path.
    fn wait(&self, number: usize, path: String, index: u64) -> BoxFuture<'static, Waited> {
        let source = self.clone();
        async move { (number, source.list(&path, Some(index)).await) }.boxed()
    }
}

/// The number of a path, and what it covers now.
type Waited = (usize, Result<(Entries, u64)>);

#[async_trait]
impl Source for Consul {
    fn name(&self) -> &'static str {
        "consul"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        let found = try_join_all(paths.iter().map(|path| self.list(path, None))).await?;
        Ok(found.into_iter().flat_map(|(entries, _)| entries).collect())
    }

    async fn watch(&self, paths: &[String]) -> Result<Watching> {
        let found = try_join_all(paths.iter().map(|path| self.list(path, None))).await?;
        let waiting = FuturesUnordered::new();
        let mut states = Vec::new();
        for (number, (path, (entries, index))) in paths.iter().zip(found).enumerate() {
            // An index below 1 would not wait.
            waiting.push(self.wait(number, path.clone(), index.max(1)));
            states.push(State { path: path.clone(), index, entries });
        }
        let first = states.iter().flat_map(|state| state.entries.clone()).collect();
        let source = self.clone();
        Ok(Watching::Watch(Box::new(ConsulWatch { source, states, waiting, first: Some(first) })))
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
            let Some(state) = self.states.get_mut(number) else { continue };
            let next = if index < state.index { 0 } else { index };
            state.index = next;
            self.waiting.push(self.source.wait(number, state.path.clone(), next.max(1)));
            let changes = differences(&state.entries, &entries);
            state.entries = entries;
            if !changes.is_empty() {
                return Ok(Update::Some(changes));
            }
        }
    }
}

fn differences(before: &Entries, after: &Entries) -> Vec<(String, Option<Bytes>)> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    changed.map(|key| (key.clone(), after.get(key).cloned())).collect()
}
