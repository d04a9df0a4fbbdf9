//! Engines: what runs instances.
//!
//! [`Engine`] is the one narrow trait; [`native`] runs containers with nothing but the kernel,
//! [`fake`] keeps them in memory. Both pass the suite in `tests/contract.rs`. An engine runs what
//! it is told or refuses; it decides nothing, keeps no wanted state and never restarts anything.

#![forbid(unsafe_code)]

pub mod error;
pub mod fake;
pub mod native;
mod usage;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::SystemTime;

use async_trait::async_trait;
use brickyard_core::spec::{Exit, InstanceSpec, Stop};
use brickyard_core::{EnvironmentName, Generation, ServiceName, Slot, SystemName};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

pub use brickyard_sys::process::signal_number;
pub use error::Error;
pub use usage::{Loss, Process, Usage};

/// An environment, as engines name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EnvironmentKey {
    /// The system.
    pub system: SystemName,
    /// The environment.
    pub environment: EnvironmentName,
}

impl std::fmt::Display for EnvironmentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.system, self.environment)
    }
}

impl std::str::FromStr for EnvironmentKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (system, environment) =
            text.split_once('.').ok_or_else(|| format!("`{text}` is not SYSTEM.ENVIRONMENT"))?;
        Ok(Self {
            system: system.parse().map_err(|err| format!("{err}"))?,
            environment: environment.parse().map_err(|err| format!("{err}"))?,
        })
    }
}

/// One generation in one slot, as engines name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// Where it runs.
    pub environment: EnvironmentKey,
    /// Its service.
    pub service: ServiceName,
    /// Its slot.
    pub slot: Slot,
    /// Its generation.
    pub generation: Generation,
}

/// The slot of one-off containers, as `run` starts them: nobody wants them, so nobody replaces or
/// restarts them, and an agent that finds one leaves it alone. Each has a service name of its own.
pub const SLOT_ONE_OFF: Slot = Slot(u32::MAX);

impl InstanceId {
    /// `SERVICE.SLOT.GENERATION`, the name of its directory and cgroup.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}.{}.{}", self.service, self.slot, self.generation)
    }

    /// Reads what [`InstanceId::key`] wrote.
    #[must_use]
    pub fn from_key(environment: &EnvironmentKey, key: &str) -> Option<Self> {
        let mut parts = key.rsplitn(3, '.');
        let generation = Generation(parts.next()?.parse().ok()?);
        let slot = Slot(parts.next()?.parse().ok()?);
        let service = parts.next()?.parse().ok()?;
        Some(Self { environment: environment.clone(), service, slot, generation })
    }
}

impl std::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "/{}/{}/{}/{}#{}",
            self.environment.system,
            self.environment.environment,
            self.service,
            self.slot,
            self.generation
        )
    }
}

/// What an open environment has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentFacts {
    /// First address of its network.
    pub subnet: Ipv4Addr,
    /// Bits of the network's prefix.
    pub prefix_bits: u8,
    /// The bridge's address: gateway and name server of the instances.
    pub gateway: Ipv4Addr,
    /// The host's address on the environment's network.
    pub host: Ipv4Addr,
    /// First of the 65,536 ids that its instances own on the host.
    pub uid_base: u32,
    /// A path that opens its network namespace; absent where there is none.
    pub network_namespace: Option<Utf8PathBuf>,
}

impl EnvironmentFacts {
    /// Addresses that instances may have, the lowest first.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        // The network's own, the gateway's and the broadcast address are taken.
        let first = u32::from(self.subnet) + 2;
        let last = u32::from(self.subnet) + (1 << (32 - self.prefix_bits)) - 2;
        (first..=last).map(Ipv4Addr::from)
    }
}

/// A file to write into an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWrite {
    /// Absolute path inside.
    pub dest: Utf8PathBuf,
    /// Its contents.
    pub contents: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
}

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// Its name.
    pub id: InstanceId,
    /// What it runs.
    pub spec: InstanceSpec,
    /// Unpacked layers of its image, the lowest first.
    pub layers: Vec<Utf8PathBuf>,
    /// Its address; `None` gives it a network of its own with nothing in it.
    pub address: Option<Ipv4Addr>,
    /// Files put into place before its first process starts.
    pub files: Vec<FileWrite>,
    /// The host name it gets when the spec names none.
    pub hostname: String,
}

impl StartRequest {
    /// The host name that the instance gets.
    #[must_use]
    pub fn effective_hostname(&self) -> &str {
        match self.spec.hostname.as_str() {
            "" => &self.hostname,
            name => name,
        }
    }
}

/// A started instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its first process, as the host numbers it.
    pub pid: i32,
}

/// What an engine knows of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub id: InstanceId,
    /// What it does.
    pub state: KnownState,
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownState {
    /// Its first process runs.
    Running {
        /// That process.
        pid: i32,
    },
    /// Its processes are frozen where they stood.
    Paused {
        /// Its first process.
        pid: i32,
    },
    /// It ended, and this is how.
    Exited(Exit),
    /// Its start was never finished, or nobody saw its end; only removal is left.
    Broken,
}

/// A command to run inside an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables on top of the instance's own.
    pub environment: BTreeMap<String, String>,
    /// Working directory; the instance's when absent.
    pub working_dir: Option<Utf8PathBuf>,
    /// `USER[:GROUP]`; the instance's when absent.
    pub user: Option<String>,
}

impl ExecRequest {
    /// A plain command as the instance's own user.
    #[must_use]
    pub fn of(argv: &[String]) -> Self {
        Self { argv: argv.to_vec(), environment: BTreeMap::new(), working_dir: None, user: None }
    }
}

/// What a command inside an instance did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code; 126 when it could not be run, 127 when it was not found.
    pub code: i32,
    /// The first 64 KiB of its output, both streams in the order of arrival.
    pub output: Vec<u8>,
}

/// A TCP connection that somebody has opened to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// The instance's port.
    pub port: u16,
    /// Whether the instance may still send something new.
    pub is_open: bool,
    /// Bytes that the instance has not read yet, or the other end not acknowledged.
    pub queued_bytes: u64,
    /// Bytes that the instance has received.
    pub received_bytes: u64,
    /// Bytes that it has sent.
    pub sent_bytes: u64,
    /// How long ago the last of the received ones came; since the connection was opened when none did.
    pub received_ago_ms: u64,
    /// How long ago the instance sent something, or since the connection was opened.
    pub sent_ago_ms: u64,
}

/// Most output of a command that is kept.
pub const EXEC_OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// A staged file: written beside its destination, not yet in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its path inside, as a check command sees it.
    pub path: Utf8PathBuf,
    /// Where it will go.
    pub dest: Utf8PathBuf,
}

/// What runs instances. Every call may be repeated: the end is the same.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Makes the environment's network and claims its id range, or finds them.
    async fn open_environment(&self, key: &EnvironmentKey) -> Result<EnvironmentFacts, Error>;

    /// Takes the environment's network and id range away; no instance is left in it.
    async fn close_environment(&self, key: &EnvironmentKey) -> Result<(), Error>;

    /// Environments that are open or left things behind.
    async fn environments(&self) -> Result<Vec<EnvironmentKey>, Error>;

    /// Starts a generation; one that ended is started again with the files that it has.
    async fn start(&self, request: &StartRequest) -> Result<Started, Error>;

    /// Waits until a generation ends. Dropping the future stops the wait alone.
    async fn wait(&self, id: &InstanceId) -> Result<Exit, Error>;

    /// Asks a generation to end, waits, kills; returns how it ended. A paused one goes on first.
    async fn stop(&self, id: &InstanceId, stop: &Stop) -> Result<Exit, Error>;

    /// How a generation asked to be stopped when it was started.
    fn stop_of(&self, id: &InstanceId) -> Stop;

    /// Sends a signal to a generation's first process.
    async fn signal(&self, id: &InstanceId, signal: &str) -> Result<(), Error>;

    /// Freezes every process of a generation, until it is unpaused, stopped or removed.
    async fn pause(&self, id: &InstanceId) -> Result<(), Error>;

    /// Lets a paused generation go on; one that is not paused goes on anyway.
    async fn unpause(&self, id: &InstanceId) -> Result<(), Error>;

    /// What a running generation uses at this moment.
    async fn usage(&self, id: &InstanceId) -> Result<Usage, Error>;

    /// Processes of a running generation, commands that were started in it included.
    async fn processes(&self, id: &InstanceId) -> Result<Vec<Process>, Error>;

    /// Removes a generation with all that belongs to it, killing what still runs.
    async fn remove(&self, id: &InstanceId) -> Result<(), Error>;

    /// Every generation that this engine knows, half-made ones too.
    async fn list(&self) -> Result<Vec<Known>, Error>;

    /// Runs a command inside; it is killed when the future is dropped.
    async fn exec(&self, id: &InstanceId, request: &ExecRequest) -> Result<ExecOutput, Error>;

    /// Writes a file beside its destination inside.
    async fn stage_file(&self, id: &InstanceId, file: &FileWrite) -> Result<Staged, Error>;

    /// Writes a file into its place in one step, without a stage that anybody sees.
    async fn place_file(&self, id: &InstanceId, file: &FileWrite) -> Result<(), Error> {
        let staged = self.stage_file(id, file).await?;
        self.commit_file(id, &staged).await
    }

    /// Puts a staged file in its place in one step.
    async fn commit_file(&self, id: &InstanceId, staged: &Staged) -> Result<(), Error>;

    /// Removes a staged file.
    async fn discard_file(&self, id: &InstanceId, staged: &Staged) -> Result<(), Error>;

    /// Removes what others than this engine have left staged for these destinations.
    async fn sweep_files(&self, id: &InstanceId, dests: &[Utf8PathBuf]) -> Result<(), Error>;

    /// Connections that others have opened to a generation that runs.
    async fn connections(&self, id: &InstanceId) -> Result<Vec<Connection>, Error>;

    /// Files that hold a generation's output, the oldest first.
    fn log_files(&self, id: &InstanceId) -> Vec<PathBuf>;

    /// What of a generation's output could not be kept.
    fn loss(&self, id: &InstanceId) -> Loss;

    /// When what [`Engine::loss`] says was last written: asking costs less.
    fn loss_noted(&self, id: &InstanceId) -> Option<SystemTime>;

    /// Removes a named volume and all in it.
    async fn remove_volume(
        &self,
        key: &EnvironmentKey,
        volume: &brickyard_core::VolumeName,
    ) -> Result<(), Error>;
}
