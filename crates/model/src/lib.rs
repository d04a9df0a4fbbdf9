//! The Compose loader, `x-brickyard` and the graph of services and lines. Pure: files and the
//! environment come in as values.

#![forbid(unsafe_code)]

pub mod codes;
mod decode;
mod derive;
pub mod dotenv;
pub mod graph;
pub mod interpolate;
pub mod load;
pub mod merge;
mod output;
pub mod release;
pub mod shell_words;
mod spec_keys;
pub mod tree;
pub mod types;
mod validate;

pub use load::{Input, Loaded, default_files, load};
pub use output::to_yaml;
pub use release::Release;
pub use types::System;
