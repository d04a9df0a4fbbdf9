//! `environment` and `env_file`.

use std::collections::BTreeMap;

use super::service::Reading;
use super::{Decoder, source_of};
use crate::spec_keys;
use crate::tree::{Kind, Node};
use crate::{codes, dotenv};

/// The variables of both keys, kept apart until the service is read, as keys come in any order.
#[derive(Default)]
pub(super) struct Layers {
    from_files: BTreeMap<String, String>,
    written: BTreeMap<String, Option<String>>,
}

impl Layers {
    /// The variables of the files below those of `environment`. One without a value there that the
    /// environment does not have either is no variable at all.
    pub(super) fn merged(&mut self) -> BTreeMap<String, String> {
        let mut merged = std::mem::take(&mut self.from_files);
        for (key, value) in std::mem::take(&mut self.written) {
            match value {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        merged
    }
}

pub(super) fn environment(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for (key, value) in d.pairs(node, "`environment`") {
        if key.is_empty() || key.contains(['=', '\0']) {
            d.error(codes::BAD_NAME, format!("`{key}` is not a variable's name"), &node.place);
            continue;
        }
        let value = value.or_else(|| d.environment.get(&key).cloned());
        reading.environment.written.insert(key, value);
    }
}

pub(super) fn env_file(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    let items = match &node.kind {
        Kind::Sequence(items) => items.as_slice(),
        Kind::Scalar { .. } | Kind::Mapping(_) => std::slice::from_ref(node),
    };
    for item in items {
        let mut path_node = Some(item);
        let mut required = true;
        if let Kind::Mapping(entries) = &item.kind {
            path_node = None;
            for entry in entries {
                match entry.key.as_str() {
                    "path" => path_node = Some(&entry.value),
                    "required" => {
                        required = d.boolean(&entry.value, "`required`").unwrap_or(true);
                    }
                    _ => d.unknown_key(entry, spec_keys::ENV_FILE, "`env_file`"),
                }
            }
        }
        let Some(path_node) = path_node else {
            d.error(codes::MISSING_KEY, "`path` is missing", &item.place);
            continue;
        };
        if let Some(text) = d.text(path_node, "`env_file`") {
            one_file(d, reading, &text, path_node, required);
        }
    }
}

fn one_file(
    d: &mut Decoder<'_>,
    reading: &mut Reading<'_>,
    shown: &str,
    node: &Node,
    required: bool,
) {
    let path = d.path(shown);
    let missing = d.files.read(&path).is_err_and(|err| err.kind() == std::io::ErrorKind::NotFound);
    if missing && !required {
        return;
    }
    let Some(text) = d.read(&path, shown, &node.place) else {
        return;
    };
    let (variables, found) = dotenv::parse(&source_of(shown, text), d.environment);
    d.diagnostics.extend(found);
    reading.environment.from_files.extend(variables);
}
