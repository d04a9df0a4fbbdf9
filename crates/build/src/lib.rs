//! Dockerfile builds that run nothing: files are copied, metadata is set.
//!
//! Every COPY and ADD is a layer whose bytes depend on its files alone, so an unchanged build
//! gives the same image and makes no layer again. `RUN` and what else would need a container is a
//! named error.

#![forbid(unsafe_code)]

mod build;
pub mod codes;
mod copy;
pub mod dockerfile;
mod ignore;
mod layer;
mod lines;
mod pattern;
mod stage;
mod tree;
mod words;

pub use build::{Built, Error, Progress, Request, build};
pub use dockerfile::{Dockerfile, parse};
