//! The store on a real disk, fed with archives that are good, broken and hostile.
//!
//! Owners, devices and overlay attributes need root, as the store itself does.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archive;
mod hostile;
mod store;
mod unpacking;
