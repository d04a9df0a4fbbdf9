//! The front as the agent sees it: snapshots over its socket, connections through its ports.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod names;
mod ports;
mod support;
