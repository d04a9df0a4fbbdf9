//! The Compose loader, `x-brickyard` and the graph of services and lines. Pure: files and the
//! environment come in as values.

#![forbid(unsafe_code)]

mod canonical;
pub mod codes;
mod consistency;
mod decode;
mod derive;
pub mod dotenv;
mod findings;
pub mod graph;
pub mod interpolate;
mod layers;
pub mod load;
mod merge;
mod normalise;
mod output;
pub mod release;
pub mod shell_words;
pub mod spec;
mod support;
pub mod tree;
pub mod types;
mod validate;

pub use load::{Input, Loaded, Options, default_files, load};
pub use output::Model;
pub use release::Release;
pub use types::System;
