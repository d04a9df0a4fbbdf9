//! The wire between the command and the agent: versioned types, and the client.
//!
//! Requests go over HTTP on the agent's unix socket. Everything that changes something is one
//! [`Command`] to `POST /v1/environments/SYSTEM/ENVIRONMENT/commands`; the answer is a stream of
//! [`Progress`], one JSON object a line, that ends with `done` or `failed`. A caller that goes away
//! stops nothing.

#![forbid(unsafe_code)]

pub mod client;

use std::collections::BTreeMap;

use brickyard_core::{Digest, ServiceName, Slot};
use brickyard_model::release::Release;
use brickyard_plan::Plan;
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

pub use client::{Client, ClientError, Lines};

/// File name of the agent's socket under the yard's root.
pub const SOCKET: &str = "agent.sock";

/// A change of an environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Deploys a release.
    Deploy {
        /// The release.
        release: Box<Release>,
        /// Numbers of instances other than the model's.
        replicas: BTreeMap<ServiceName, u32>,
        /// Whether services that it does not name stay as they are; otherwise they go.
        #[serde(default)]
        partial: bool,
        /// The model's files, for people who ask where an environment came from.
        #[serde(default)]
        files: Vec<Utf8PathBuf>,
    },
    /// Takes everything away.
    Down {
        /// Whether volumes, configuration and registrations go too.
        volumes: bool,
        /// How long they have to end by themselves, in milliseconds, instead of what the model says.
        #[serde(default)]
        grace_ms: Option<u64>,
    },
    /// Sets and removes configuration keys, all or none.
    Config {
        /// Keys with their values; `None` removes.
        changes: BTreeMap<String, Option<String>>,
    },
    /// Registers endpoints of boxes that run elsewhere, or takes registrations back.
    Register {
        /// `SERVICE/SLOT/ENDPOINT` with `host:port`; `None` takes back.
        changes: BTreeMap<String, Option<String>>,
    },
    /// Changes numbers of instances.
    Scale {
        /// By service.
        replicas: BTreeMap<ServiceName, u32>,
    },
    /// Starts instances again, a tier one by one.
    Restart {
        /// Which.
        targets: Vec<TargetSlots>,
        /// As for `Down`.
        #[serde(default)]
        grace_ms: Option<u64>,
    },
    /// Stops instances; they stay stopped.
    Stop {
        /// Which.
        targets: Vec<TargetSlots>,
        /// As for `Down`.
        #[serde(default)]
        grace_ms: Option<u64>,
    },
    /// Starts stopped instances.
    Start {
        /// Which.
        targets: Vec<TargetSlots>,
    },
    /// Freezes instances where they stand.
    Pause {
        /// Which.
        targets: Vec<TargetSlots>,
    },
    /// Lets paused instances go on.
    Unpause {
        /// Which.
        targets: Vec<TargetSlots>,
    },
    /// Kills instances at once; they stay stopped.
    Kill {
        /// Which.
        targets: Vec<TargetSlots>,
    },
    /// Removes stopped and ended instances.
    Remove {
        /// Which.
        targets: Vec<TargetSlots>,
    },
}

/// A service, or one slot of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSlots {
    /// The service.
    pub service: ServiceName,
    /// One slot; absent means all.
    pub slot: Option<Slot>,
}

/// One line of a command's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "progress")]
pub enum Progress {
    /// The change is written and will be brought about even if nobody listens.
    Accepted {
        /// Config revision or deploy number that it made.
        revision: u64,
    },
    /// How far it is.
    State {
        /// Instances with what they wait for.
        instances: Vec<InstanceView>,
    },
    /// Everything is as it should be.
    Done {
        /// Instances.
        instances: Vec<InstanceView>,
    },
    /// It cannot be brought about.
    Failed {
        /// Which kind of failure; picks the exit code.
        kind: FailureKind,
        /// Why, each with the address that it concerns.
        reasons: Vec<Reason>,
    },
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What failed.
    pub address: String,
    /// Why.
    pub text: String,
    /// Last lines of its output.
    pub log: Vec<String>,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It was refused before anything changed.
    Refused,
    /// It was begun, and something did not get well.
    Unhealthy,
    /// There is no such thing.
    NotFound,
    /// The agent itself failed.
    Internal,
}

/// One generation, as `ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// `/SYSTEM/ENVIRONMENT/SERVICE/INSTANCE`.
    pub address: String,
    /// Its service.
    pub service: ServiceName,
    /// Its slot.
    pub instance: Slot,
    /// Its generation.
    pub generation: u64,
    /// `starting running paused stopping exited stopped refused`.
    pub state: String,
    /// `starting healthy unhealthy`.
    pub health: String,
    /// Its first process.
    pub pid: Option<i32>,
    /// Its address in the environment's network.
    pub ip: String,
    /// Image reference of the model.
    pub image: String,
    /// Digest of its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<Digest>,
    /// Exit code, when it ended.
    pub exit_code: Option<i32>,
    /// Whether the kernel killed something in it for want of memory before it ended.
    #[serde(default)]
    pub out_of_memory: bool,
    /// Why what it says cannot be kept now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_lost: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// Published ports, as `0.0.0.0:8080->80/tcp`.
    pub ports: Vec<String>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Digest of what its files were rendered with, and of what its process has loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
    /// See `rendered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<String>,
    /// When it was started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
}

/// An environment with all in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnvironmentView {
    /// System.
    pub system: String,
    /// Environment.
    pub environment: String,
    /// Release that it was deployed from.
    pub release: Option<Digest>,
    /// Number of the deploy.
    pub deploy: u64,
    /// Instances.
    pub instances: Vec<InstanceView>,
    /// The model's files.
    #[serde(default)]
    pub files: Vec<Utf8PathBuf>,
    /// The host's address on its network.
    pub host_ip: Option<String>,
}

/// Configuration and registry of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataView {
    /// Revision that this is as of.
    pub revision: u64,
    /// Keys with their values, defaults included.
    pub config: BTreeMap<String, String>,
    /// Which of them were set at run time.
    pub set: Vec<String>,
    /// The registry: `/brickyard/services/SERVICE/SLOT/ENDPOINT` with `host:port`.
    pub registry: BTreeMap<String, String>,
}

/// About the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentView {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Whether it ends by itself when the yard is empty.
    pub until_empty: bool,
}

/// What a plan is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanRequest {
    /// The release that would be deployed.
    pub release: Release,
}

/// For which service files and variables are rendered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenderRequest {
    /// The service as the model has it, alone or among others.
    pub release: Release,
    /// Its name.
    pub service: ServiceName,
}

/// What an instance of a service would get now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenderView {
    /// Variables that are rendered.
    pub environment: BTreeMap<String, String>,
    /// Files.
    pub files: Vec<FileView>,
}

/// A rendered file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileView {
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

/// A file of an instance, and what it is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileStateView {
    /// The instance.
    pub address: String,
    /// Absolute path inside.
    pub dest: Utf8PathBuf,
    /// Whether it is in place as it would be rendered now.
    pub in_place: bool,
    /// Whether its process has loaded that.
    pub loaded: bool,
    /// Why it cannot be rendered.
    pub problem: Option<String>,
    /// What it is made of.
    pub reads: Vec<ReadView>,
}

/// One thing that a template looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadView {
    /// `key`, `keys`, `variable` or `line`.
    pub kind: String,
    /// Its name; of keys, what they begin with.
    pub name: String,
    /// What was there; of many keys, one line for each.
    pub found: Option<String>,
}

/// A plan, with problems that would stop the deploy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanView {
    /// The plan.
    pub plan: Plan,
    /// What is wrong.
    pub problems: Vec<Reason>,
}
