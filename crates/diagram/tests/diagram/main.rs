//! Drawings and their layout.

mod drawings;
mod layout;
