//! Redis: strings and hashes as keys.
//!
//! A path is the key of its name, if there is one, and all keys whose names go on with the separator.
//! The fields of a hash lie below it. Changes are told by keyspace notifications, which a server
//! sends only when it is told to; a key of which one comes is read again, so it does not matter what
//! exactly has happened to it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, Msg, Pipeline, RedisConnectionInfo, RedisError,
    cmd, pipe,
};

use crate::{Config, Entries, Error, Result, Source, Update, Watch, Watching, covers};

/// Keys that one SCAN looks at.
const SCAN_COUNT: usize = 1000;
/// What a server that tells nothing has to be told.
const HOW_TO: &str = "`redis-cli config set notify-keyspace-events KEA` makes it tell";

/// One database of a Redis.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    node: String,
    database: i64,
    separator: String,
    timeout: Duration,
}

impl Redis {
    /// The first of the nodes: `HOST:PORT[/DATABASE]`, or the path of a socket. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] when it is no address.
    pub fn new(config: &Config) -> Result<Self> {
        let node = config.nodes.first().cloned().unwrap_or_default();
        let bad = |why: &str| Error::Config {
            message: format!("`{node}` is no address of a redis: {why}"),
            hint: Some("write HOST:PORT, HOST:PORT/DATABASE or the path of a socket".to_owned()),
        };
        let (address, database) = if node.starts_with('/') {
            (ConnectionAddr::Unix(node.clone().into()), 0)
        } else {
            let plain = node.strip_prefix("redis://").unwrap_or(&node);
            let (address, database) = plain.split_once('/').unwrap_or((plain, "0"));
            let (host, port) = address.rsplit_once(':').unwrap_or((address, "6379"));
            let port = port.parse().map_err(|_| bad("the port is no number"))?;
            let database = database.parse().map_err(|_| bad("the database is no number"))?;
            (ConnectionAddr::Tcp(host.trim_matches(['[', ']']).to_owned(), port), database)
        };
        let mut settings = RedisConnectionInfo::default().set_db(database);
        // confd takes the password for a client's key.
        let password = match (&*config.login.password, &config.tls.key) {
            ("", Some(key)) => key.as_str(),
            (password, _) => password,
        };
        if !password.is_empty() {
            settings = settings.set_password(password);
        }
        if !config.login.username.is_empty() {
            settings = settings.set_username(&config.login.username);
        }
        let info = address.into_connection_info().map_err(|err| bad(&err.to_string()))?;
        let client = Client::open(info.set_redis_settings(settings));
        Ok(Self {
            client: client.map_err(|err| bad(&err.to_string()))?,
            database,
            separator: config.separator.clone(),
            timeout: config.timeout,
            node,
        })
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T, RedisError>>) -> Result<T> {
        let node = self.node.clone();
        match tokio::time::timeout(self.timeout, Box::pin(work)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(err)) if err.is_io_error() || err.is_connection_dropped() => {
                Err(Error::Unavailable { node, reason: err.to_string() })
            }
            Ok(Err(err)) => Err(Error::Refused { node, reason: err.to_string() }),
            Err(_) => {
                let reason = format!("no answer within {:?}", self.timeout);
                Err(Error::Unavailable { node, reason })
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection> {
        self.call(self.client.get_multiplexed_async_connection()).await
    }

    /// What a path is called there.
    fn name(&self, path: &str) -> String {
        match &*self.separator {
            "/" => path.to_owned(),
            separator => path.trim_start_matches('/').replace('/', separator),
        }
    }

    /// The path of a name.
    fn path(&self, name: &str) -> String {
        let path = match &*self.separator {
            "/" => name.to_owned(),
            separator => name.replace(separator, "/"),
        };
        if path.starts_with('/') { path } else { format!("/{path}") }
    }

    /// The pattern of all names that lie below a path.
    fn below(&self, path: &str) -> String {
        let name = self.name(path.trim_end_matches('/'));
        let mut pattern = String::with_capacity(name.len() + 2);
        for letter in name.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        match name.is_empty() {
            true if self.separator == "/" => "/*".to_owned(),
            true => "*".to_owned(),
            false => format!("{pattern}{}*", self.separator),
        }
    }

    /// All names that the paths cover.
    async fn names(
        &self,
        connection: &mut MultiplexedConnection,
        paths: &[String],
    ) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for path in paths {
            names.insert(self.name(path));
            let pattern = self.below(path);
            let mut cursor = 0_u64;
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT);
                let (next, found): (u64, Vec<Vec<u8>>) =
                    self.call(scan.query_async(connection)).await?;
                // Names that are no text cannot be asked for.
                names.extend(found.into_iter().filter_map(|name| String::from_utf8(name).ok()));
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(names)
    }

    /// What is under names: the paths and values that each stands for.
    async fn values(
        &self,
        connection: &mut MultiplexedConnection,
        names: &[String],
    ) -> Result<Vec<Vec<(String, Bytes)>>> {
        let mut all = Vec::with_capacity(names.len());
        for names in names.chunks(SCAN_COUNT) {
            let mut types = pipe();
            for name in names {
                types.cmd("TYPE").arg(name);
            }
            let types: Vec<String> = self.call(types.query_async(connection)).await?;
            let mut reading = Pipeline::new();
            for (name, kind) in names.iter().zip(&types) {
                match &**kind {
                    "string" => reading.cmd("GET").arg(name),
                    "hash" => reading.cmd("HGETALL").arg(name),
                    // Other kinds are no keys; the answers keep their order.
                    _ => reading.cmd("ECHO").arg(""),
                };
            }
            let values: Vec<redis::Value> = self.call(reading.query_async(connection)).await?;
            for ((name, kind), value) in names.iter().zip(&types).zip(values) {
                all.push(self.entries(name, kind, value));
            }
        }
        Ok(all)
    }

    fn entries(&self, name: &str, kind: &str, value: redis::Value) -> Vec<(String, Bytes)> {
        let path = self.path(name);
        match kind {
            "string" => {
                let value: Result<Option<Vec<u8>>, _> = redis::from_redis_value(value);
                value.ok().flatten().map(|value| (path, value.into())).into_iter().collect()
            }
            "hash" => {
                let fields: Result<BTreeMap<String, Vec<u8>>, _> = redis::from_redis_value(value);
                let fields = fields.unwrap_or_default().into_iter();
                fields.map(|(field, value)| (format!("{path}/{field}"), value.into())).collect()
            }
            _ => Vec::new(),
        }
    }

    async fn snapshot(
        &self,
        connection: &mut MultiplexedConnection,
        paths: &[String],
    ) -> Result<BTreeMap<String, Vec<(String, Bytes)>>> {
        let names: Vec<String> = self.names(connection, paths).await?.into_iter().collect();
        let values = self.values(connection, &names).await?;
        Ok(names.into_iter().zip(values).filter(|(_, entries)| !entries.is_empty()).collect())
    }

    /// Whether the server tells of changes of keys; one that does not say so is believed to.
    async fn tells(&self, connection: &mut MultiplexedConnection) -> Result<bool> {
        let mut asking = cmd("CONFIG");
        asking.arg("GET").arg("notify-keyspace-events");
        let said: Result<Vec<String>> = self.call(asking.query_async(connection)).await;
        let flags = match said {
            Ok(said) => said.get(1).cloned().unwrap_or_default(),
            // Who rents a Redis may not be allowed to ask.
            Err(Error::Refused { .. }) => return Ok(true),
            Err(err) => return Err(err),
        };
        // `A` stands for all; without it, what sets, removes and ends keys has to be there.
        let tells_all = flags.contains('A') || "g$hxe".chars().all(|flag| flags.contains(flag));
        Ok(flags.contains('K') && tells_all)
    }
}

#[async_trait]
impl Source for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        let mut connection = self.connect().await?;
        let found = self.snapshot(&mut connection, paths).await?;
        Ok(found.into_values().flatten().collect())
    }

    async fn watch(&self, paths: &[String]) -> Result<Watching> {
        let mut connection = self.connect().await?;
        if !self.tells(&mut connection).await? {
            return Ok(Watching::Poll(format!("it does not tell of changes; {HOW_TO}")));
        }
        // Listening comes first, so that nothing happens unheard between it and the reading.
        let mut listening = self.call(self.client.get_async_pubsub()).await?;
        for path in paths {
            for pattern in [self.name(path), self.below(path)] {
                let channel = format!("__keyspace@{}__:{pattern}", self.database);
                self.call(listening.psubscribe(channel)).await?;
            }
        }
        let known = self.snapshot(&mut connection, paths).await?;
        let first = Some(known.values().flatten().cloned().collect());
        Ok(Watching::Watch(Box::new(RedisWatch {
            source: self.clone(),
            paths: paths.to_vec(),
            connection,
            heard: listening.into_on_message(),
            changed: BTreeSet::new(),
            first,
            known: known
                .into_iter()
                .map(|(name, entries)| (name, entries.into_iter().map(|(path, _)| path).collect()))
                .collect(),
        })))
    }
}

struct RedisWatch {
    source: Redis,
    paths: Vec<String>,
    connection: MultiplexedConnection,
    heard: PubSubStream,
    /// Names of which it was told, and that are not read yet.
    changed: BTreeSet<String>,
    first: Option<Entries>,
    /// The paths that each name stands for.
    known: BTreeMap<String, BTreeSet<String>>,
}

impl RedisWatch {
    fn hear(&mut self, message: &Msg) {
        let channel = message.get_channel_name();
        if let Some((_, name)) = channel.split_once("__:")
            && self.paths.iter().any(|path| covers(path, &self.source.path(name)))
        {
            self.changed.insert(name.to_owned());
        }
    }

    /// Reads what has changed. What was not read to its end is read again.
    async fn look(&mut self) -> Result<Vec<(String, Option<Bytes>)>> {
        let names: Vec<String> = self.changed.iter().cloned().collect();
        let found = self.source.values(&mut self.connection, &names).await?;
        self.changed.clear();
        let mut changes = Vec::new();
        for (name, entries) in names.into_iter().zip(found) {
            let paths: BTreeSet<String> = entries.iter().map(|(path, _)| path.clone()).collect();
            let before = match paths.is_empty() {
                true => self.known.remove(&name),
                false => self.known.insert(name, paths.clone()),
            };
            let gone = before.unwrap_or_default();
            changes.extend(gone.difference(&paths).map(|path| (path.clone(), None)));
            changes.extend(entries.into_iter().map(|(path, value)| (path, Some(value))));
        }
        Ok(changes)
    }
}

#[async_trait]
impl Watch for RedisWatch {
    async fn next(&mut self) -> Result<Update> {
        if let Some(first) = self.first.take() {
            return Ok(Update::All(first));
        }
        loop {
            if self.changed.is_empty() {
                let Some(message) = self.heard.next().await else {
                    let node = self.source.node.clone();
                    let reason = "the connection was lost".to_owned();
                    return Err(Error::Unavailable { node, reason });
                };
                self.hear(&message);
            }
            // What came with it is read with it.
            while let Some(Some(message)) = futures::FutureExt::now_or_never(self.heard.next()) {
                self.hear(&message);
            }
            let changes = self.look().await?;
            if !changes.is_empty() {
                return Ok(Update::Some(changes));
            }
        }
    }
}
