//! What an engine is asked to run: one generation, fully resolved.
//!
//! Deciding code makes a [`InstanceSpec`] out of model, release and configuration; an engine runs
//! it as written or refuses. Nothing in it depends on the slot, so its digest tells whether a
//! running generation is still the wanted one.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::VolumeName;

/// One generation's software, limits and rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Digest of the image's manifest.
    pub image: Digest,
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// The whole environment of the process.
    pub environment: BTreeMap<String, String>,
    /// Working directory; it is made when the image lacks it.
    pub working_dir: Utf8PathBuf,
    /// `USER`, `USER:GROUP` by name or number; empty means 0:0.
    pub user: String,
    /// Host name; empty means `SERVICE-SLOT`.
    pub hostname: String,
    /// Volumes, binds and tmpfs.
    pub mounts: Vec<Mount>,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Capabilities beyond the default set, as `NET_ADMIN`.
    pub cap_add: Vec<String>,
    /// Capabilities taken away; `ALL` takes all.
    pub cap_drop: Vec<String>,
    /// Limits.
    pub limits: Limits,
    /// How it is asked to end.
    pub stop: Stop,
    /// Labels, kept with the record.
    pub labels: BTreeMap<String, String>,
}

impl InstanceSpec {
    /// The digest by which two specs are compared.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }
}

/// Limits of one generation's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU time in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Most processes and threads.
    pub pids_max: u64,
}

/// Default of [`Limits::pids_max`], so that a fork bomb ends inside its own container.
pub const PIDS_MAX_DEFAULT: u64 = 1024;

/// How a generation is stopped: signal, wait, kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Signal name with or without `SIG`, or a number.
    pub signal: String,
    /// How long to wait before the kill, in milliseconds.
    pub grace_ms: u64,
}

impl Default for Stop {
    /// Compose's: TERM, then ten seconds.
    fn default() -> Self {
        Self { signal: "TERM".to_owned(), grace_ms: 10_000 }
    }
}

/// Something mounted into the root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside.
    pub target: Utf8PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum MountKind {
    /// A named volume of the environment.
    Volume {
        /// Its name.
        name: VolumeName,
    },
    /// A directory or file of the host.
    Bind {
        /// Absolute path on the host.
        source: Utf8PathBuf,
        /// Whether a missing source is made as a directory, as Compose's short form does.
        create: bool,
    },
    /// Memory.
    Tmpfs {
        /// Size limit in bytes.
        size_bytes: Option<u64>,
        /// Permission bits; 1777 by default.
        mode: Option<u32>,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// Whether the kernel killed something in it for want of memory.
    pub oom: bool,
    /// Why nobody saw the end, when nobody did; the code is -1 then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// Why nobody saw how a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// The monitor was killed.
    Monitor,
    /// The machine was started anew.
    Reboot,
}

/// How to find out whether a generation is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is done.
    pub kind: ProbeKind,
    /// Time between two probes, in milliseconds.
    pub interval_ms: u64,
    /// Most time one probe may take, in milliseconds.
    pub timeout_ms: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Time after the start in which failures do not count, in milliseconds.
    pub start_period_ms: u64,
    /// Time between two probes within the start period, in milliseconds.
    pub start_interval_ms: u64,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ProbeKind {
    /// Runs a command inside; exit code 0 is well.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Opens a TCP connection.
    Tcp {
        /// The port.
        port: u16,
    },
    /// Gets a path over HTTP; a status from 200 to 399 is well.
    Http {
        /// The port.
        port: u16,
        /// The path.
        path: String,
    },
}

impl ProbeKind {
    /// Whether one that fails is asked again after a second, until it passes or counts as failed,
    /// however long its interval is. A command is run as often as Compose runs it.
    #[must_use]
    pub fn is_repeated_soon(&self) -> bool {
        !matches!(self, Self::Exec { .. })
    }
}
