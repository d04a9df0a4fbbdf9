//! The names of an environment, answered inside its network namespace.
//!
//! `answer` decides, on bytes alone; `serve` owns the sockets; `forward` asks the host's name
//! servers for names that are not ours.

mod answer;
mod forward;
mod serve;

pub(crate) use serve::ServedZone;
