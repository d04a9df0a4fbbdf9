//! What the front is told.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::SNAPSHOT;

/// Everything that the front serves. An empty one ends it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Counts the snapshots of a yard.
    pub version: u64,
    /// Published ports.
    pub listeners: Vec<Listener>,
    /// Name services, one for each environment.
    pub zones: Vec<Zone>,
}

impl Snapshot {
    /// Whether there is nothing to serve.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.zones.is_empty()
    }
}

/// A published TCP port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Address of the service, for messages.
    pub owner: String,
    /// Instances that connections are spread over; may be empty for a while.
    pub backends: Vec<SocketAddr>,
}

/// The names of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Address of the environment, for messages.
    pub owner: String,
    /// Network namespace in which it is served.
    pub namespace: Utf8PathBuf,
    /// Address on which it is served, port 53 over UDP and TCP.
    pub listen: Ipv4Addr,
    /// Lower-case names with their addresses.
    pub names: BTreeMap<String, Vec<Ipv4Addr>>,
}

/// The answer to a snapshot: it is persisted and in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Its version.
    pub version: u64,
    /// What of it could not be brought about.
    pub problems: Vec<Problem>,
}

/// Something that the front could not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Whose it is.
    pub owner: String,
    /// What could not be done, with the system's answer.
    pub text: String,
    /// The port that somebody else has.
    #[serde(default)]
    pub taken: Option<SocketAddr>,
}

/// What the front of the yard at `root` was told last; one that cannot be read is as good as none:
/// the agent tells it again.
#[must_use]
pub fn persisted(root: &Utf8Path) -> Option<Snapshot> {
    let bytes = std::fs::read(root.join(SNAPSHOT)).ok()?;
    serde_json::from_slice(&bytes)
        .inspect_err(|err| tracing::warn!("ignoring a broken {SNAPSHOT}: {err}"))
        .ok()
}
