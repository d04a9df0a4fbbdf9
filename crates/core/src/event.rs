//! Events: what happened, in one journal per yard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Address;
use crate::clock::Millis;

/// What kind of thing happened; the text form is `area.verb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// A deploy began.
    #[serde(rename = "deploy.started")]
    DeployStarted,
    /// A deploy reached its end with everything healthy.
    #[serde(rename = "deploy.finished")]
    DeployFinished,
    /// A deploy gave up.
    #[serde(rename = "deploy.failed")]
    DeployFailed,
    /// Config keys were set or removed.
    #[serde(rename = "config.changed")]
    ConfigChanged,
    /// An external box was registered at run time.
    #[serde(rename = "registry.changed")]
    RegistryChanged,
    /// A generation was created and its process started.
    #[serde(rename = "instance.started")]
    InstanceStarted,
    /// A generation could not be started.
    #[serde(rename = "instance.refused")]
    InstanceRefused,
    /// A generation's process ended.
    #[serde(rename = "instance.exited")]
    InstanceExited,
    /// A generation was stopped on purpose.
    #[serde(rename = "instance.stopped")]
    InstanceStopped,
    /// A generation's processes were frozen.
    #[serde(rename = "instance.paused")]
    InstancePaused,
    /// A paused generation goes on.
    #[serde(rename = "instance.unpaused")]
    InstanceUnpaused,
    /// A generation and what belonged to it was removed.
    #[serde(rename = "instance.removed")]
    InstanceRemoved,
    /// A generation of an agent that died was taken over.
    #[serde(rename = "instance.adopted")]
    InstanceAdopted,
    /// Health changed.
    #[serde(rename = "instance.health")]
    InstanceHealth,
    /// What an instance says cannot be kept.
    #[serde(rename = "output.lost")]
    OutputLost,
    /// What an instance says is kept again.
    #[serde(rename = "output.kept")]
    OutputKept,
    /// A template was rendered into an instance.
    #[serde(rename = "template.rendered")]
    TemplateRendered,
    /// A template or its check refused the data; the old file stays.
    #[serde(rename = "template.refused")]
    TemplateRefused,
    /// An instance has loaded what was rendered.
    #[serde(rename = "template.loaded")]
    TemplateLoaded,
    /// A reload failed and will be repeated.
    #[serde(rename = "template.reload_failed")]
    TemplateReloadFailed,
    /// A published port cannot be listened on; it is tried again.
    #[serde(rename = "port.refused")]
    PortRefused,
    /// A published port that could not be listened on is served.
    #[serde(rename = "port.opened")]
    PortOpened,
    /// An environment cannot be taken up; what runs in it goes on.
    #[serde(rename = "environment.failed")]
    EnvironmentFailed,
    /// The agent began to serve.
    #[serde(rename = "agent.started")]
    AgentStarted,
    /// The agent ended by itself or when told to.
    #[serde(rename = "agent.stopped")]
    AgentStopped,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the journal; it only grows.
    pub cursor: u64,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: Millis,
    /// What.
    pub kind: EventKind,
    /// To what; absent for the yard itself.
    pub address: Option<Address>,
    /// More, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}
