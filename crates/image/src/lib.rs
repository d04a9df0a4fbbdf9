//! The content store: images as OCI blobs, their layers unpacked for overlay mounts, and names.
//!
//! [`Store`] is synchronous and safe to use from several processes: every write is a temporary
//! file or directory that is renamed when it is complete and on disk, and a lock keeps the removal
//! of garbage away from what is being added. It runs nothing and fetches nothing.

#![forbid(unsafe_code)]

mod compare;
mod compression;
pub mod config;
mod disk;
mod error;
pub mod layer;
pub mod reference;
mod store;
mod writer;

pub use config::{ContainerConfig, Healthcheck, ImageConfig};
pub use error::Error;
pub use layer::Limits;
pub use store::{Image, Store};
pub use writer::{Layer, Writer};

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;
