//! ZooKeeper: the data of nodes without children, as confd reads it.
//!
//! A change anywhere below a path is told of by name; that node and the one above it are read again,
//! as a node with a first child has no value any more, and one without its last child has one. Each
//! reading and each watch has a session of its own, which ends with it.

use std::collections::BTreeSet;
use std::future::Future;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, select_all, try_join_all};
use zookeeper_client as client;
use zookeeper_client::{AddWatchMode, Client, EventType, PersistentWatcher, WatchedEvent};

use crate::error::within;
use crate::{Config, Entries, Error, Result, Source, Tls, Update, Watch, Watching, covers};

/// How long a session outlives its connection; a loss of it is told of at once.
const SESSION_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// The server's own nodes.
const ITS_OWN: &str = "/zookeeper";

/// A ZooKeeper ensemble.
#[derive(Debug, Clone)]
pub struct ZooKeeper {
    config: Config,
    node: String,
}

impl ZooKeeper {
    /// The ensemble of a configuration. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] where certificates are given: it is spoken to in the open, as by confd.
    pub fn new(config: &Config) -> Result<Self> {
        if config.tls != Tls::default() || config.scheme == "https" {
            return Err(Error::Config {
                message: "zookeeper cannot be spoken to with TLS".to_owned(),
                hint: Some("leave the -client-* flags and -scheme out".to_owned()),
            });
        }
        Ok(Self { config: config.clone(), node: config.nodes.join(",") })
    }

    async fn connect(&self) -> Result<Client> {
        let mut connector = Client::connector()
            .with_session_timeout(SESSION_TIMEOUT)
            .with_connection_timeout(self.config.timeout);
        let login = &self.config.login;
        if !login.username.is_empty() {
            let who = format!("{}:{}", login.username, login.password);
            connector = connector.with_auth("digest", who.as_bytes());
        }
        self.call(connector.connect(&self.node)).await
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T, client::Error>>) -> Result<T> {
        let work = async { work.await.map_err(|err| translate(&self.node, &err)) };
        within(self.config.timeout, &self.node, work).await
    }

    /// The value of a node: nothing where there is none, or it has children.
    async fn leaf(&self, client: &Client, path: &str) -> Result<Option<Bytes>> {
        match self.call(client.get_data(path)).await {
            Ok((data, stat)) if stat.num_children == 0 => Ok(Some(data.into())),
            Ok(_) => Ok(None),
            Err(Error::Bad { .. }) => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// All leaves at and below a path.
    fn walk<'a>(
        &'a self,
        client: &'a Client,
        path: String,
    ) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>> {
        async move {
            let children = match self.call(client.list_children(&path)).await {
                Ok(children) => children,
                Err(Error::Bad { .. }) => return Ok(Vec::new()),
                Err(err) => return Err(err),
            };
            if children.is_empty() {
                let value = self.leaf(client, &path).await?;
                return Ok(value.map(|value| (path, value)).into_iter().collect());
            }
            let below = children.iter().map(|name| match path.as_str() {
                "/" => format!("/{name}"),
                path => format!("{path}/{name}"),
            });
            let below = below.filter(|path| path != ITS_OWN);
            let found = try_join_all(below.map(|path| self.walk(client, path))).await?;
            Ok(found.into_iter().flatten().collect())
        }
        .boxed()
    }

    async fn snapshot(&self, client: &Client, paths: &[String]) -> Result<Entries> {
        let found = try_join_all(paths.iter().map(|path| self.walk(client, path.clone()))).await?;
        Ok(found.into_iter().flatten().collect())
    }
}

fn translate(node: &str, err: &client::Error) -> Error {
    let (node, reason) = (node.to_owned(), err.to_string());
    match err {
        // What is not there is no trouble; callers take it for nothing.
        client::Error::NoNode => Error::Bad { place: node, reason },
        client::Error::NoAuth | client::Error::AuthFailed | client::Error::InvalidAcl => {
            Error::Refused { node, reason }
        }
        client::Error::BadArguments(_) | client::Error::NoHosts => {
            Error::Config { message: format!("{node}: {reason}"), hint: None }
        }
        _ => Error::Unavailable { node, reason },
    }
}

#[async_trait]
impl Source for ZooKeeper {
    fn name(&self) -> &'static str {
        "zookeeper"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        if paths.is_empty() {
            return Ok(Entries::new());
        }
        let client = self.connect().await?;
        self.snapshot(&client, paths).await
    }

    async fn watch(&self, paths: &[String]) -> Result<Watching> {
        let client = self.connect().await?;
        let mut watchers = Vec::new();
        for path in paths {
            // Before anything is read, so that nothing happens unheard.
            let watching = client.watch(path, AddWatchMode::PersistentRecursive);
            watchers.push(self.call(watching).await?);
        }
        let first = self.snapshot(&client, paths).await?;
        Ok(Watching::Watch(Box::new(ZooKeeperWatch {
            source: self.clone(),
            client,
            paths: paths.to_vec(),
            watchers,
            known: first.keys().cloned().collect(),
            first: Some(first),
            changed: BTreeSet::new(),
        })))
    }
}

struct ZooKeeperWatch {
    source: ZooKeeper,
    client: Client,
    paths: Vec<String>,
    watchers: Vec<PersistentWatcher>,
    first: Option<Entries>,
    /// Leaves that were told of.
    known: BTreeSet<String>,
    /// Nodes of which it was told, and that are not read yet.
    changed: BTreeSet<String>,
}

impl ZooKeeperWatch {
    /// Waits for the next event. Dropping the future loses none.
    async fn event(&mut self) -> WatchedEvent {
        if self.watchers.is_empty() {
            return std::future::pending().await;
        }
        let all = self.watchers.iter_mut().map(|watcher| watcher.changed().boxed());
        select_all(all).await.0
    }

    fn hear(&mut self, event: &WatchedEvent) -> Result<()> {
        if event.event_type == EventType::Session {
            // A new session begins with everything.
            return Err(Error::Unavailable {
                node: self.source.node.clone(),
                reason: format!("the session is {:?}", event.session_state),
            });
        }
        let above = event.path.rfind('/').map(|at| event.path[..at.max(1)].to_owned());
        for path in above.into_iter().chain([event.path.clone()]) {
            let is_ours = self.paths.iter().any(|known| covers(known, &path));
            if is_ours && !covers(ITS_OWN, &path) {
                self.changed.insert(path);
            }
        }
        Ok(())
    }

    /// Reads what has changed. What was not read to its end is read again.
    async fn look(&mut self) -> Result<Vec<(String, Option<Bytes>)>> {
        let nodes: Vec<String> = self.changed.iter().cloned().collect();
        let reading = nodes.iter().map(|path| self.source.leaf(&self.client, path));
        let values = try_join_all(reading).await?;
        self.changed.clear();
        let mut changes = Vec::new();
        for (path, value) in nodes.into_iter().zip(values) {
            let was_known = match value {
                Some(_) => !self.known.insert(path.clone()),
                None => self.known.remove(&path),
            };
            if value.is_some() || was_known {
                changes.push((path, value));
            }
        }
        Ok(changes)
    }
}

#[async_trait]
impl Watch for ZooKeeperWatch {
    async fn next(&mut self) -> Result<Update> {
        if let Some(first) = self.first.take() {
            return Ok(Update::All(first));
        }
        loop {
            if self.changed.is_empty() {
                let event = self.event().await;
                self.hear(&event)?;
            }
            while let Some(event) = self.event().now_or_never() {
                self.hear(&event)?;
            }
            let changes = self.look().await?;
            if !changes.is_empty() {
                return Ok(Update::Some(changes));
            }
        }
    }
}
