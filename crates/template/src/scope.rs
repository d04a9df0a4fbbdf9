//! The port to the data: keys, environment, lines.

use std::collections::BTreeMap;

/// What a template may read. What it did read comes back with what it rendered.
pub trait Scope {
    /// The value of a key.
    fn value(&self, key: &str) -> Option<String>;

    /// All keys that begin with a text, sorted, with their values.
    fn keys(&self, prefix: &str) -> Vec<(String, String)>;

    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// The other end of one of the instance's lines.
    ///
    /// # Errors
    /// When there is no such line, or nothing is at its other end.
    fn line(&self, alias: &str) -> Result<LineValue, LineError>;
}

/// The other end of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineValue {
    /// Where to connect.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// The address, `/sys/env/db/1/redis`.
    pub address: String,
    /// All instances that can be used, the one above among them.
    pub instances: Vec<LineInstance>,
}

/// One instance at the other end of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineInstance {
    /// Where to connect.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// The address.
    pub address: String,
    /// The number of its slot; 0 for what this system does not run.
    pub slot: u32,
}

/// A line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line `{alias}`: {kind}")]
pub struct LineError {
    /// The alias that was asked for.
    pub alias: String,
    /// Why.
    pub kind: LineErrorKind,
}

/// Why a line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineErrorKind {
    /// The service needs nothing under that alias.
    #[error("{}", unknown(known))]
    Unknown {
        /// The aliases that there are.
        known: Vec<String>,
    },
    /// Nothing is at the other end.
    #[error("no instance of {target} yet")]
    NoInstance {
        /// What the line goes to.
        target: String,
    },
}

fn unknown(known: &[String]) -> String {
    match known {
        [] => "the service needs no line of that name; it has none".to_owned(),
        known => format!("the service needs no line of that name; it has `{}`", known.join("`, `")),
    }
}

/// A scope in memory.
#[derive(Debug, Clone, Default)]
pub struct MapScope {
    /// Keys and values.
    pub values: BTreeMap<String, String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Lines by alias.
    pub lines: BTreeMap<String, LineValue>,
}

impl MapScope {
    /// A scope with these keys.
    pub fn new(values: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        let values = values.into_iter().map(|(key, value)| (key.into(), value.into()));
        Self { values: values.collect(), ..Self::default() }
    }
}

impl Scope for MapScope {
    fn value(&self, key: &str) -> Option<String> {
        self.values.get(key).cloned()
    }

    fn keys(&self, prefix: &str) -> Vec<(String, String)> {
        let from = self.values.range(prefix.to_owned()..);
        from.take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn line(&self, alias: &str) -> Result<LineValue, LineError> {
        self.lines.get(alias).cloned().ok_or_else(|| LineError {
            alias: alias.to_owned(),
            kind: LineErrorKind::Unknown { known: self.lines.keys().cloned().collect() },
        })
    }
}
