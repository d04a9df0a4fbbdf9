//! What instances use, and what runs in them, as `stats` and `top` show it.

use serde::{Deserialize, Serialize};

/// What one generation uses at a moment. Counters only grow while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time used so far, in microseconds of one core.
    pub cpu_us: u64,
    /// Memory in use, in bytes, without files' pages that can be dropped at once.
    pub memory_bytes: u64,
    /// Most memory that it may use; absent where only the machine is the limit.
    pub memory_max_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Most processes and threads that it may have.
    pub pids_max: Option<u64>,
    /// Bytes received over the network, the loopback excluded.
    pub received_bytes: u64,
    /// Bytes sent over the network, the loopback excluded.
    pub sent_bytes: u64,
    /// Bytes read from block devices.
    pub read_bytes: u64,
    /// Bytes written to block devices.
    pub written_bytes: u64,
}

/// One process of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number on the host.
    pub pid: i32,
    /// Its parent's number on the host.
    pub parent: i32,
    /// Its number inside.
    pub pid_inside: i32,
    /// Its user id inside.
    pub uid: u32,
    /// Its user's name inside, where the instance knows one.
    pub user: Option<String>,
    /// CPU time used so far, in milliseconds.
    pub cpu_ms: u64,
    /// When it was started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Program and arguments; the name in brackets where there are none.
    pub command: String,
}

/// Output that could not be kept, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Lines and pieces of lines.
    pub lines: u64,
    /// Whether what is said now is lost, too.
    pub goes_on: bool,
    /// Why, the last time.
    pub reason: String,
}
