//! What an engine does not do of what a model says, key by key.
//!
//! Keys of which the tables say that they are ignored or refused are found here. Where it depends on the
//! value, decoding finds it: see [`Decoder::unsupported`](crate::decode::Decoder).

use std::fmt;

use brickyard_core::Diagnostics;

use crate::findings::{cannot_honour, no_effect};
use crate::spec::{Section, Shape, Support, TOP};
use crate::tree::Node;

/// What the native engine ignores (warnings) and refuses (errors) in a model as it was written.
pub(crate) fn findings(root: &Node) -> Diagnostics {
    let mut diagnostics = Vec::new();
    section(root, TOP, None, &mut diagnostics);
    diagnostics
}

/// Where a key stands, below which others.
#[derive(Clone, Copy)]
struct Path<'a> {
    key: &'a str,
    below: Option<&'a Self>,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.below {
            Some(below) => write!(f, "{below}.{}", self.key),
            None => f.write_str(self.key),
        }
    }
}

fn section(node: &Node, of: &Section, below: Option<&Path<'_>>, diagnostics: &mut Diagnostics) {
    for entry in node.entries() {
        let Some(key) = of.key(&entry.key) else {
            continue;
        };
        // What is switched off is as if it were not there.
        let is_off = matches!(key.shape, Shape::Bool) && entry.value.as_text() == Some("false");
        if is_off {
            continue;
        }
        let path = Path { key: &entry.key, below };
        match key.native {
            Support::Ignored(reason) => {
                let message = format!("`{path}` has no effect: {reason}");
                diagnostics.push(no_effect(message, &entry.key_place));
            }
            Support::No(reason) => {
                diagnostics.push(cannot_honour(&format!("`{path}`: {reason}"), &entry.key_place));
            }
            Support::Yes | Support::Partly(_) => {
                value(&entry.value, &key.shape, &path, diagnostics);
            }
        }
    }
}

fn value(node: &Node, shape: &Shape, path: &Path<'_>, diagnostics: &mut Diagnostics) {
    match shape {
        // What belongs to a service is called by its key alone: the place says of which one it is.
        Shape::Section(of) if of.name == "a service" => section(node, of, None, diagnostics),
        Shape::Section(of) => section(node, of, Some(path), diagnostics),
        Shape::Map(inner) => {
            node.entries().iter().for_each(|entry| value(&entry.value, inner, path, diagnostics));
        }
        Shape::List(item) | Shape::OneOrMore(item) => {
            node.items().iter().for_each(|node| value(node, item, path, diagnostics));
        }
        Shape::Short(_, long) => value(node, long, path, diagnostics),
        _ => {}
    }
}
