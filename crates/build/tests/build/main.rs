//! Builds of small contexts into a real store.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copying;
mod errors;
mod metadata;
mod robustness;
mod stages;
mod yard;
