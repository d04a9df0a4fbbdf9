//! The Compose loader, `x-brickyard` and the graph of services and lines. Pure: files and the
//! environment come in as values.

#![forbid(unsafe_code)]

pub mod types;

pub use types::System;
