//! `environment`, which has the variables of `env_file` in it.

use std::collections::BTreeMap;

use super::Decoder;
use crate::codes;
use crate::tree::Node;

/// The variables. One without a value is no variable: nobody has given it one.
pub(super) fn environment(d: &mut Decoder<'_>, node: &Node) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for entry in node.entries() {
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            let message = format!("`{}` is not a variable's name", entry.key);
            d.error(codes::BAD_NAME, message, &entry.key_place);
            continue;
        }
        if let Some(value) = entry.value.as_text() {
            variables.insert(entry.key.to_string(), value.to_owned());
        }
    }
    variables
}
