//! The typed model: what the loader makes of a Compose file, ready for deciding code.
//!
//! Every value is resolved: variables are interpolated, short forms are written out, paths are
//! absolute, lines and endpoints that Compose keys imply are derived. It is plain data, so a
//! release can freeze it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use brickyard_core::spec::{Mount, Probe};
use brickyard_core::{Alias, EndpointName, LineTarget, ServiceName, SystemName, VolumeName};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// What one file describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Its name.
    pub name: SystemName,
    /// Its boxes.
    pub services: BTreeMap<ServiceName, Service>,
    /// Named volumes that services use.
    pub volumes: Vec<VolumeName>,
    /// Defaults of the configuration; keys start with `/`.
    pub config: BTreeMap<String, String>,
    /// Boxes that Brickyard does not run: endpoint -> `host:port`.
    pub external: BTreeMap<ServiceName, BTreeMap<EndpointName, HostPort>>,
}

impl System {
    /// What a service's image is called: as the model says, or after system and service.
    #[must_use]
    pub fn image_name(&self, name: &ServiceName) -> String {
        let named = self.services.get(name).and_then(|service| service.image.clone());
        named.unwrap_or_else(|| format!("{}-{name}", self.name))
    }
}

/// One kind of software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Image reference as written; with `build` too, the name that the built image gets.
    pub image: Option<String>,
    /// How its image is built.
    pub build: Option<Build>,
    /// Replaces the image's CMD.
    pub command: Option<Vec<String>>,
    /// Replaces the image's ENTRYPOINT; an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Plain environment, `env_file` merged below it.
    pub environment: BTreeMap<String, String>,
    /// `x-brickyard.environment`: variables whose values are templates.
    pub environment_templates: BTreeMap<String, EnvironmentTemplate>,
    /// Published ports.
    pub ports: Vec<PublishedPort>,
    /// What must be true of others before its first start.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// Compose's healthcheck; `None` when absent or disabled.
    pub healthcheck: Option<Probe>,
    /// Whether `healthcheck: {disable: true}` also switches the image's own check off.
    pub healthcheck_disabled: bool,
    /// Volumes, binds and tmpfs.
    pub mounts: Vec<Mount>,
    /// What happens when it ends by itself.
    pub restart: RestartPolicy,
    /// `USER[:GROUP]`, or the image's.
    pub user: Option<String>,
    /// Working directory, or the image's.
    pub working_dir: Option<Utf8PathBuf>,
    /// Host name, or `SERVICE-SLOT`.
    pub hostname: Option<String>,
    /// Stop signal, or the image's, or TERM.
    pub stop_signal: Option<String>,
    /// Time between stop signal and kill, in milliseconds.
    pub stop_grace_ms: u64,
    /// Read-only root file system.
    pub read_only: bool,
    /// Capabilities added, without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities dropped, without `CAP_`.
    pub cap_drop: Vec<String>,
    /// Memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU limit in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Most processes; `None` means the default.
    pub pids_max: Option<u64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How many instances.
    pub replicas: u32,
    /// How a newer generation takes an older one's place.
    pub update: UpdateConfig,
    /// Endpoints, those derived from `expose`, `ports` and lines included.
    pub provides: BTreeMap<EndpointName, Endpoint>,
    /// Lines to others by alias, those derived from `depends_on` and `links` included.
    pub needs: BTreeMap<Alias, Line>,
    /// Files rendered into each instance.
    pub templates: Vec<Template>,
}

/// `build:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Absolute path of the context directory.
    pub context: Utf8PathBuf,
    /// Absolute path of the Dockerfile.
    pub dockerfile: Utf8PathBuf,
    /// Stage to stop at.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
}

/// A variable whose value is a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentTemplate {
    /// The template's text.
    pub text: String,
    /// Where it stands, as `FILE:LINE:COLUMN`, for messages.
    pub place: String,
}

/// A port that the front listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Address to listen on; absent means all.
    pub host_ip: Option<IpAddr>,
    /// Port to listen on; absent means any free one.
    pub published: Option<u16>,
    /// Port inside.
    pub target: u16,
    /// Transport.
    pub transport: Transport,
}

/// Transport of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One entry of `depends_on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What must be true.
    pub condition: Condition,
    /// Whether a replacement of the other restarts this one.
    pub restart: bool,
    /// Whether the other must exist; `false` only warns.
    pub required: bool,
}

/// A condition of `depends_on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its process runs.
    ServiceStarted,
    /// Its checks pass.
    ServiceHealthy,
    /// It ended with exit code 0.
    ServiceCompletedSuccessfully,
}

/// What happens when an instance ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "policy")]
pub enum RestartPolicy {
    /// Nothing.
    No,
    /// It is started again, after a reboot too.
    Always,
    /// It is started again unless it was stopped by hand.
    UnlessStopped,
    /// It is started again after a failure.
    OnFailure {
        /// At most so many times; absent means always.
        retries_max: Option<u32>,
    },
}

/// `deploy.update_config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateConfig {
    /// How many instances change at a time; 0 means all.
    pub parallelism: u32,
    /// Pause after each batch, in milliseconds.
    pub delay_ms: u64,
    /// Whether the newer one is started before the older one stops.
    pub order: UpdateOrder,
    /// What follows when a newer one does not get healthy.
    pub failure_action: FailureAction,
    /// How long a newer one is watched after its start, in milliseconds.
    pub monitor_ms: u64,
    /// Share of failed updates that is tolerated, in thousandths.
    pub max_failure_permille: u32,
}

/// Order of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The older one stops first.
    StopFirst,
    /// The newer one gets healthy first.
    StartFirst,
}

/// What follows a failed update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureAction {
    /// The rest of the tier stays as it is.
    Pause,
    /// It goes on with the rest.
    Continue,
    /// What was changed is changed back.
    Rollback,
}

/// A named port that a service provides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its port.
    pub port: u16,
    /// `tcp`, `http` or another word; only `http` has a meaning of its own.
    pub protocol: String,
    /// Its check.
    pub health: Option<Probe>,
}

/// One end of a line, as the service that needs it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The other end; its endpoint is filled in where the target provides exactly one, and absent
    /// only on a derived line to a service that provides none or several.
    pub to: LineTarget,
    /// Whether and how this end follows a change of the other.
    pub on_change: OnChange,
    /// Whether it was derived from `depends_on` or `links` rather than written as a need.
    pub derived: bool,
}

/// What a line lets follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// Templates that use it are rendered again and say how to go on.
    Auto,
    /// As auto, and the reload is done even when no template changed.
    Reload,
    /// The instance is restarted.
    Restart,
    /// Nothing: the values of the instance's start stay.
    Ignore,
}

/// A file rendered into each instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Path of the source as written, for messages.
    pub src: String,
    /// The template's text.
    pub text: String,
    /// Absolute path inside the instance.
    pub dest: Utf8PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// Command run inside before the file is put in place; `{{.src}}` is the staged file.
    pub check: Option<Vec<String>>,
    /// How long the check may take, in milliseconds.
    #[serde(default = "default_check_timeout_ms")]
    pub check_timeout_ms: u64,
    /// What is done after the file is in place.
    pub reload: Reload,
    /// How long a command of `reload` may take, in milliseconds.
    #[serde(default = "default_reload_timeout_ms")]
    pub reload_timeout_ms: u64,
}

/// How long a check may take when nothing is said; confd's successors use the same.
pub const CHECK_TIMEOUT_MS: u64 = 30_000;
/// How long a command of `reload` may take when nothing is said; confd's successors use the same.
pub const RELOAD_TIMEOUT_MS: u64 = 60_000;

// Releases that were frozen before there were such keys have none.
fn default_check_timeout_ms() -> u64 {
    CHECK_TIMEOUT_MS
}

fn default_reload_timeout_ms() -> u64 {
    RELOAD_TIMEOUT_MS
}

/// How an instance is told of a changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reload {
    /// It looks by itself.
    None,
    /// A signal to its first process, named without `SIG`.
    Signal(String),
    /// A command inside.
    Exec(Vec<String>),
    /// A restart.
    Restart,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
