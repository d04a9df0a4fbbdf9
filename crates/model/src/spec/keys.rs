//! By what an element of a list is known: two files that name the same mean the same thing.

use crate::tree::Node;

/// By what an element is known; none for one that is broken.
pub(crate) type KeyOf = fn(&Node) -> Option<String>;

/// By its whole text.
pub(super) fn by_text(node: &Node) -> Option<String> {
    node.as_text().map(str::to_owned)
}

/// A file by its path.
pub(super) fn by_path(node: &Node) -> Option<String> {
    field(node, "path").map(str::to_owned)
}

/// A device or a mount by where it is seen.
pub(super) fn by_target(node: &Node) -> Option<String> {
    field(node, "target").map(|target| target.trim_end_matches('/').to_owned())
}

/// A published port by address, both numbers and protocol.
pub(super) fn by_port(node: &Node) -> Option<String> {
    let of = |key: &str, default: &str| field(node, key).unwrap_or(default).to_owned();
    let parts = [of("host_ip", "0.0.0.0"), of("published", ""), of("target", "")];
    Some(format!("{}/{}", parts.join("|"), of("protocol", "tcp")))
}

/// A secret by the file in which it is seen.
pub(super) fn by_secret_file(node: &Node) -> Option<String> {
    by_file(node, "/run/secrets")
}

/// A config by the file in which it is seen.
pub(super) fn by_config_file(node: &Node) -> Option<String> {
    by_file(node, "")
}

fn by_file(node: &Node, directory: &str) -> Option<String> {
    let name = field(node, "target").or_else(|| field(node, "source"))?;
    Some(match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("{directory}/{name}"),
    })
}

/// A block of addresses by its network.
pub(super) fn by_subnet(node: &Node) -> Option<String> {
    field(node, "subnet").map(str::to_owned)
}

fn field<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::as_text).filter(|text| !text.is_empty())
}
