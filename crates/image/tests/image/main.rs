//! The store on a real disk, fed with archives that are good, broken and hostile.
//!
//! Owners, devices and overlay attributes need root, as the store itself does.

#![forbid(unsafe_code)]

mod archive;
mod hostile;
mod store;
mod unpacking;
