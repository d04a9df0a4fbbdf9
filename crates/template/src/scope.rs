//! The ports: to the data (keys, environment, lines), and to the world around.

use std::collections::BTreeMap;

use crate::text::{Pair, Text};

/// What a template may read. What it did read comes back with what it rendered.
pub trait Scope {
    /// The value of a key.
    fn value(&self, key: &str) -> Option<Text>;

    /// All keys that begin with a text, sorted, with their values.
    fn keys(&self, prefix: &str) -> Vec<Pair>;

    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// The other end of one of the instance's lines.
    ///
    /// # Errors
    /// When there is no such line, or nothing is at its other end.
    fn line(&self, alias: &str) -> Result<LineValue, LineError>;

    /// What is around: names, clock, files. Without it the functions that ask for it say that they
    /// are not available.
    fn world(&self) -> Option<&dyn World> {
        None
    }
}

/// What templates may ask of the machine that they are rendered on. What is not there by itself is
/// not available; nothing here tells when it changes.
pub trait World {
    /// The moment and where the clock hangs.
    fn now(&self) -> Option<Moment> {
        None
    }

    /// The machine's name.
    fn hostname(&self) -> Option<String> {
        None
    }

    /// The addresses of a name; none when it has none.
    fn addresses(&self, _host: &str) -> Vec<std::net::IpAddr> {
        Vec::new()
    }

    /// What provides a service in a domain; none when nothing does.
    fn services(&self, _service: &str, _protocol: &str, _domain: &str) -> Vec<Service> {
        Vec::new()
    }

    /// The addresses of a network interface.
    ///
    /// # Errors
    /// When there is no such interface.
    fn interface_addresses(&self, name: &str) -> Result<Vec<std::net::IpAddr>, String> {
        Err(format!("there is no interface `{name}`"))
    }

    /// Whether a file is there. All but a clear no is a yes, as for confd.
    fn file_exists(&self, _path: &str) -> bool {
        false
    }

    /// What an encrypted value says.
    ///
    /// # Errors
    /// When it cannot be decrypted; without a keyring, nothing can.
    fn decrypt(&self, _encrypted: &[u8]) -> Result<Vec<u8>, String> {
        Err("no keyring is given".to_owned())
    }

    /// The text of a template that `include` asks for.
    ///
    /// # Errors
    /// When there is none.
    fn source(&self, name: &str) -> Result<Text, String> {
        Err(format!("there is no template `{name}`"))
    }
}

/// A moment at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970 in UTC.
    pub seconds: i64,
    /// Nanoseconds of that second.
    pub nanoseconds: u32,
    /// Seconds that the clocks of the place are ahead of UTC.
    pub offset_s: i32,
    /// What the place's time is called, `CET`.
    pub zone: String,
}

/// What provides a service, as DNS says it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Its name, with the dot at its end.
    pub target: String,
    /// Its port.
    pub port: u16,
    /// Lower comes first.
    pub priority: u16,
    /// Its share among those of one priority.
    pub weight: u16,
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
    pub values: BTreeMap<String, Pair>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Lines by alias.
    pub lines: BTreeMap<String, LineValue>,
}

impl MapScope {
    /// A scope with these keys.
    pub fn new(values: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        let mut scope = Self::default();
        for (key, value) in values {
            scope.insert(key, value.into());
        }
        scope
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Text>) {
        let key = key.into();
        let pair = Pair::new(&key, value);
        self.values.insert(key, pair);
    }
}

impl Scope for MapScope {
    fn value(&self, key: &str) -> Option<Text> {
        self.values.get(key).map(|pair| pair.value().clone())
    }

    fn keys(&self, prefix: &str) -> Vec<Pair> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        let from = self.values.range::<str, _>(from);
        from.take_while(|(key, _)| key.starts_with(prefix)).map(|(_, pair)| pair.clone()).collect()
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
