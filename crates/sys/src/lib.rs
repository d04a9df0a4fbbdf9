//! The few unsafe things, each with its reason: namespaces, mounts, forks and inherited
//! descriptors. The only crate of the workspace in which `unsafe` is allowed; every function here
//! is safe to call and says what it asks of its caller.

#![expect(unsafe_code, reason = "this crate exists to hold what no safe crate offers")]

pub mod command;
pub mod directories;
mod interfaces;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod process;

pub use interfaces::interface_addresses;
