//! Throw-away yards for tests of the whole product: the real binary, real containers, a root
//! directory of their own.
//!
//! A [`Yard`] takes everything away when it is dropped, also what a failed test left running. Two
//! yards never meet: each has its own root, from which the product derives every name, and ports
//! that are claimed machine-wide. Everything here waits for states with a deadline; nothing hangs.

#![forbid(unsafe_code)]

mod certificate;
mod command;
mod etcd;
mod net;
mod picture;
mod project;
mod random;
mod server;
mod sweep;
mod wait;
mod yard;

pub use certificate::{Authority, Life};
pub use command::{Output, run};
pub use etcd::{Etcd, base64};
pub use net::{Claim, ask, claim_port, get, get_unix, post};
pub use picture::{ASYNCHRONOUS, Aside, Picture};
pub use project::Project;
pub use random::Random;
pub use server::Server;
pub use sweep::kill_and_wait;
pub use wait::{DEADLINE, wait_for, wait_until};
pub use yard::{BOX, Yard};
