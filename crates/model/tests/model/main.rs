//! Loading whole files through the public interface.

#![forbid(unsafe_code)]

mod corpus;
mod decoding;
mod derivation;
mod errors;
mod extension;
mod graph;
mod manual;
mod merging;
mod names;
mod robustness;
mod yard;
