//! Redis: strings and hashes as keys.
//!
//! A path is the key of its name, if there is one, and all keys whose names go on with the separator.
//! The fields of a hash lie below it. Changes are told by keyspace notifications, which a server
//! sends only when it is told to; a key of which one comes is read again, so it does not matter what
//! exactly has happened to it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use redis::aio::{MultiplexedConnection, PubSub, PubSubSink, PubSubStream};
use redis::{
    AsyncConnectionConfig, ErrorKind, Msg, Pipeline, RedisConnectionInfo, RedisError,
    ServerErrorKind, cmd, pipe,
};
use tokio::time::Instant;

use crate::dial::{Address, Dialer};
use crate::error::within;
use crate::paths::{Paths, common_directory, outermost, watched};
use crate::{Config, Entries, Error, Result, Source, Update, Watch, Watching, tls};

/// Where servers listen by default.
const PORT: u16 = 6379;
/// Keys that one SCAN looks at.
const SCAN_COUNT: usize = 1000;
/// The most paths that are listened for one by one; a server compares each event with each of them.
const WATCHES_MAX: usize = 64;
/// How often a silent server is asked whether it is still there, and whether it was emptied.
const PING_EVERY: Duration = Duration::from_secs(5);
/// What a server that tells nothing has to be told.
const HOW_TO: &str = "`redis-cli config set notify-keyspace-events KEA` makes it tell";
/// Commands that change keys without telling of them.
const SILENT: [&str; 3] = ["cmdstat_flushall", "cmdstat_flushdb", "cmdstat_swapdb"];

/// One database of a Redis.
#[derive(Clone)]
pub struct Redis {
    dialer: Arc<Dialer>,
    login: RedisConnectionInfo,
    node: String,
    database: i64,
    separator: String,
    timeout: Duration,
}

impl Redis {
    /// The first of the nodes that answers: `HOST:PORT[/DATABASE]`, or the path of a socket. Nothing
    /// is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] when one is no address, or certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self> {
        let mut addresses = Vec::new();
        let mut database = 0;
        for node in &config.nodes {
            let bad = |why: &str| Error::Config {
                message: format!("`{node}` is no address of a redis: {why}"),
                hint: Some(
                    "write HOST:PORT, HOST:PORT/DATABASE or the path of a socket".to_owned(),
                ),
            };
            let plain = node.split_once("://").map_or(node.as_str(), |(_, plain)| plain);
            let place = match plain.split_once('/') {
                Some((place, number)) if !place.is_empty() => {
                    let number = number.parse().map_err(|_| bad("the database is no number"))?;
                    database = number;
                    place
                }
                _ => plain,
            };
            addresses.push(Address::parse(place, PORT).map_err(bad)?);
        }
        let mut settings = config.tls.clone();
        // confd takes the password for a client's key, which it cannot be beside a certificate.
        let key = match settings.certificate {
            None => settings.key.take(),
            Some(_) => None,
        };
        let password = match (&*config.login.password, &key) {
            ("", Some(key)) => key.as_str(),
            (password, _) => password,
        };
        let mut login = RedisConnectionInfo::default().set_db(database);
        if !password.is_empty() {
            login = login.set_password(password);
        }
        if !config.login.username.is_empty() {
            login = login.set_username(&config.login.username);
        }
        let secured = match config.is_secured("redis:", "rediss:") {
            true => Some(tls::client(&settings)?),
            false => None,
        };
        Ok(Self {
            dialer: Arc::new(Dialer::new(addresses, secured, config.timeout)),
            login,
            node: config.nodes.join(", "),
            database,
            separator: config.separator.clone(),
            timeout: config.timeout,
        })
    }

    /// Gives work its deadline, and turns its error into ours.
    async fn call<T>(&self, work: impl Future<Output = Result<T, RedisError>>) -> Result<T> {
        let work = async { work.await.map_err(|err| translate(self.node.clone(), &err)) };
        within(self.timeout, &self.node, work).await
    }

    /// A connection for questions.
    async fn connect(&self) -> Result<MultiplexedConnection> {
        let stream = self.dialer.dial().await?;
        // Deadlines are ours.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let opening = MultiplexedConnection::new_with_config(&self.login, stream, config);
        let (connection, driver) = self.call(opening).await.inspect_err(|err| self.leave(err))?;
        tokio::spawn(driver);
        Ok(connection)
    }

    /// Has another server asked next time, where this one cannot answer.
    fn leave(&self, err: &Error) {
        if matches!(err, Error::Unavailable { .. }) {
            self.dialer.pass_on();
        }
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
        match name.is_empty() {
            true if self.separator == "/" => "/*".to_owned(),
            true => "*".to_owned(),
            false => format!("{}{}*", literal(&name), literal(&self.separator)),
        }
    }

    /// All names that the paths cover. A server looks at every key that it has for each question of
    /// a pattern, so all paths are asked for as one.
    async fn names(
        &self,
        connection: &mut MultiplexedConnection,
        paths: &[String],
    ) -> Result<BTreeSet<String>> {
        let mut names: BTreeSet<String> = paths.iter().map(|path| self.name(path)).collect();
        if paths.is_empty() {
            return Ok(names);
        }
        let covering = Paths::new(paths);
        let pattern = self.below(&common_directory(paths));
        let mut cursor = 0_u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT);
            let (next, found): (u64, Vec<Vec<u8>>) =
                self.call(scan.query_async(connection)).await?;
            // Names that are no text cannot be asked for.
            let found = found.into_iter().filter_map(|name| String::from_utf8(name).ok());
            names.extend(found.filter(|name| covering.cover(&self.path(name))));
            cursor = next;
            if cursor == 0 {
                return Ok(names);
            }
        }
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
            // Who rents a Redis may not be allowed to ask, or there is no such command.
            Err(Error::Refused { .. }) => return Ok(true),
            Err(err) => return Err(err),
        };
        // `A` stands for all; without it, what sets, removes and ends keys has to be there.
        let tells_all = flags.contains('A') || "g$hxe".chars().all(|flag| flags.contains(flag));
        Ok(flags.contains('K') && tells_all)
    }

    /// How often keys were changed by commands that do not tell of it; none where one may not ask.
    async fn silences(&self, connection: &mut MultiplexedConnection) -> Result<u64> {
        let mut asking = cmd("INFO");
        asking.arg("commandstats");
        let said: Result<String> = self.call(asking.query_async(connection)).await;
        let said = match said {
            Ok(said) => said,
            Err(Error::Refused { .. }) => return Ok(0),
            Err(err) => return Err(err),
        };
        let calls = |line: &str| {
            let (name, rest) = line.split_once(":calls=")?;
            let known = SILENT.contains(&name).then_some(rest)?;
            known.split(',').next()?.trim().parse::<u64>().ok()
        };
        Ok(said.lines().filter_map(calls).sum())
    }

    /// Listens for changes of what the paths cover.
    async fn listen(&self, paths: &[String]) -> Result<(PubSubSink, PubSubStream)> {
        let stream = self.dialer.dial().await?;
        let mut listening = self.call(PubSub::new(&self.login, stream)).await?;
        let channel = |name: &str| format!("__keyspace@{}__:{name}", self.database);
        let watched = watched(paths, WATCHES_MAX);
        let names: Vec<String> = watched.iter().map(|path| channel(&self.name(path))).collect();
        let patterns: Vec<String> = watched.iter().map(|path| channel(&self.below(path))).collect();
        if !watched.is_empty() {
            self.call(listening.subscribe(names)).await?;
            self.call(listening.psubscribe(patterns)).await?;
        }
        Ok(listening.split())
    }
}

/// A text as a pattern that matches nothing else.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

fn translate(node: String, err: &RedisError) -> Error {
    let is_away = err.is_io_error()
        || err.is_connection_dropped()
        || matches!(
            err.kind(),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::TryAgain
            )
        );
    let reason = tls::meaning(err.to_string());
    match is_away {
        true => Error::Unavailable { node, reason },
        false => Error::Refused { node, reason },
    }
}

#[async_trait]
impl Source for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        let paths = outermost(paths);
        let mut connection = self.connect().await?;
        let found = self.snapshot(&mut connection, &paths).await;
        let found = found.inspect_err(|err| self.leave(err))?;
        Ok(found.into_values().flatten().collect())
    }

    async fn watch(&self, paths: &[String]) -> Result<Watching> {
        let paths = outermost(paths);
        let mut connection = self.connect().await?;
        if !self.tells(&mut connection).await? {
            return Ok(Watching::Poll(format!("it does not tell of changes; {HOW_TO}")));
        }
        // Listening comes first, so that nothing happens unheard between it and the reading.
        let (pings, heard) = self.listen(&paths).await?;
        let silences = self.silences(&mut connection).await?;
        let mut watch = RedisWatch {
            source: self.clone(),
            covering: Paths::new(&paths),
            paths,
            connection,
            pings,
            heard,
            ping_at: Instant::now() + PING_EVERY,
            silences,
            is_stale: false,
            changed: BTreeSet::new(),
            first: None,
            known: BTreeMap::new(),
        };
        watch.first = Some(watch.all().await?);
        Ok(Watching::Watch(Box::new(watch)))
    }
}

struct RedisWatch {
    source: Redis,
    paths: Vec<String>,
    covering: Paths,
    connection: MultiplexedConnection,
    pings: PubSubSink,
    heard: PubSubStream,
    ping_at: Instant,
    /// How often keys were changed in silence before they were read.
    silences: u64,
    /// Whether they were since.
    is_stale: bool,
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
            && self.covering.cover(&self.source.path(name))
        {
            self.changed.insert(name.to_owned());
        }
    }

    /// Reads everything.
    async fn all(&mut self) -> Result<Entries> {
        let found = self.source.snapshot(&mut self.connection, &self.paths).await?;
        self.changed.clear();
        self.is_stale = false;
        let mut entries = Entries::new();
        self.known.clear();
        for (name, values) in found {
            self.known.insert(name, values.iter().map(|(path, _)| path.clone()).collect());
            entries.extend(values);
        }
        Ok(entries)
    }

    /// Asks whether keys were changed in silence. A connection that nothing comes over may be dead,
    /// so both are tried.
    async fn ping(&mut self) -> Result<()> {
        let _: redis::Value = self.source.call(self.pings.ping()).await?;
        let silences = self.source.silences(&mut self.connection).await?;
        self.ping_at = Instant::now() + PING_EVERY;
        self.is_stale |= std::mem::replace(&mut self.silences, silences) != silences;
        Ok(())
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
            if self.is_stale {
                return Ok(Update::All(self.all().await?));
            }
            if self.changed.is_empty() {
                tokio::select! {
                    message = self.heard.next() => {
                        let Some(message) = message else {
                            let node = self.source.node.clone();
                            let reason = "the connection was lost".to_owned();
                            return Err(Error::Unavailable { node, reason });
                        };
                        self.hear(&message);
                    }
                    () = tokio::time::sleep_until(self.ping_at) => {
                        self.ping().await?;
                        continue;
                    }
                }
            }
            // What came with it is read with it.
            while let Some(Some(message)) = self.heard.next().now_or_never() {
                self.hear(&message);
            }
            let changes = self.look().await?;
            if !changes.is_empty() {
                return Ok(Update::Some(changes));
            }
        }
    }
}
