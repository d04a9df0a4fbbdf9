//! YAML as programs in Go read and write it: `gopkg.in/yaml.v2`, which confd, consul-template and
//! Helm use.
//!
//! It is YAML 1.1 where that shows: `yes` is true, `010` is eight, `1_000` a thousand. [`read`] gives
//! a tree of [`Value`]s, [`write`] the text that Go would write for one, byte for byte: which texts it
//! quotes, how, and where it breaks long lines.

#![forbid(unsafe_code)]

mod emit;
mod order;
mod read;
mod resolve;

pub use emit::{Style, Written, write, write_in};
pub use read::{Error, read};

/// A document or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above those.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// A text.
    String(String),
    /// A list.
    List(Vec<Value>),
    /// Keys and values in the order in which they were written; of a key that stands twice, the last
    /// value. A key is its text, whatever it would be as a value.
    Map(Vec<(String, Value)>),
}
