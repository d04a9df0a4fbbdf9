//! The front: published ports and the DNS of environments, in a process of its own.
//!
//! The agent tells it everything as one [`Snapshot`], which it persists before it acknowledges; so
//! it serves on, and comes back, while no agent runs. [`process`] is the process with its socket,
//! `state` makes what is open equal to the snapshot, `listen` carries connections and `dns`
//! answers names. It terminates no TLS and reads no HTTP: it passes bytes on.

#![forbid(unsafe_code)]

pub mod client;
pub mod process;
pub mod snapshot;

mod balance;
mod dns;
mod listen;
mod state;

pub use client::{Client, ClientError};
pub use snapshot::{Ack, Listener, Problem, Snapshot, Zone};

/// File name of the front's socket under the yard's root.
pub const SOCKET: &str = "front.sock";
/// File name of the persisted snapshot under the yard's root.
pub const SNAPSHOT: &str = "front.json";
/// File name of the lock that the one front of a yard holds.
pub const LOCK: &str = "front.lock";
