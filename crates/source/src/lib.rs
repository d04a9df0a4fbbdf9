//! The read-only places that configuration is read from, as confd's backends are.
//!
//! A [`Source`] reads the keys under some paths, and where it can it watches them: a [`Watch`] begins
//! with everything and goes on with what changes. Each speaks its server's own protocol; none
//! keeps anything, retries anything or decides anything: whoever watches begins anew after an
//! error, and a new watch begins with everything, so nothing stays stale. [`Memory`] is the fake.
//!
//! What a path covers is [`covers`]' answer, but for sources that confd lets match by the beginning
//! of the text: there [`Backend::matches_text`] says so.

#![forbid(unsafe_code)]

mod aws;
mod config;
mod consul;
mod dial;
mod env;
mod error;
mod etcd;
mod file;
mod http;
mod memory;
mod paths;
mod redis;
mod tls;
mod tree;
mod vault;
mod yard;
mod zookeeper;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use aws::{DynamoDb, ParameterStore};
pub use config::{Backend, Config, Login, Tls};
pub use consul::Consul;
pub use env::Environment;
pub use error::Error;
pub use etcd::Etcd;
pub use file::Files;
pub use memory::Memory;
pub use redis::Redis;
pub use vault::Vault;
pub use yard::Yard;
pub use zookeeper::ZooKeeper;

/// The result of a source's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Keys with their values, ordered. Keys are absolute paths, `/a/b`.
pub type Entries = BTreeMap<String, Bytes>;

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Everything that was asked for, as of one moment; what is not in it is not there.
    All(Entries),
    /// What has changed since the last update; `None` is gone. A later one of the same key counts.
    Some(Vec<(String, Option<Bytes>)>),
}

/// A place that keys are read from.
#[async_trait]
pub trait Source: Send + Sync {
    /// confd's name of it.
    fn name(&self) -> &'static str;

    /// All keys that the paths cover, as of one moment where the server can tell.
    async fn read(&self, paths: &[String]) -> Result<Entries>;

    /// A watch of what the paths cover, where changes are told of.
    async fn watch(&self, paths: &[String]) -> Result<Watching>;
}

/// How one learns of changes.
pub enum Watching {
    /// They are told of.
    Watch(Box<dyn Watch>),
    /// They are not, for this reason: it has to be read again now and then.
    Poll(String),
}

/// A watch that goes on until it fails.
#[async_trait]
pub trait Watch: Send {
    /// Waits for the next update; the first is [`Update::All`]. Dropping the future loses nothing.
    /// After an error there is nothing more to wait for.
    async fn next(&mut self) -> Result<Update>;
}

/// Whether a path covers a key: it is the key, or a directory above it.
#[must_use]
pub fn covers(path: &str, key: &str) -> bool {
    let path = path.trim_end_matches('/');
    key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a text is YAML.
///
/// # Errors
/// What is wrong with it.
pub fn check_yaml(text: &str) -> Result<(), String> {
    tree::yaml(text).map(drop).map_err(|(line, reason)| format!("line {line}: {reason}"))
}

/// Opens the place that a configuration names. Nothing is asked of a server yet where that can be
/// avoided.
///
/// # Errors
/// [`Error::Config`] when the configuration does not fit the backend, [`Error::Unavailable`] when
/// it cannot be reached.
pub async fn connect(config: &Config) -> Result<Arc<dyn Source>> {
    Ok(match config.backend {
        Backend::Env => Arc::new(Environment::new(config)),
        Backend::File => Arc::new(Files::new(config)?),
        Backend::Etcd => Arc::new(Etcd::new(config)?),
        Backend::Consul => Arc::new(Consul::new(config)?),
        Backend::Vault => Arc::new(Vault::new(config)?),
        Backend::Redis => Arc::new(Redis::new(config)?),
        Backend::Zookeeper => Arc::new(ZooKeeper::new(config)?),
        Backend::Brickyard => Arc::new(Yard::new(config)),
        Backend::Ssm => Arc::new(ParameterStore::new(config)?),
        Backend::Dynamodb => Arc::new(DynamoDb::new(config)?),
    })
}
