//! Several files as one tree, by the rules of the Compose Specification.
//!
//! Mappings are merged key by key, lists are put one after the other, anything else is replaced.
//! What is different about some keys is in the tables below. `!reset` takes a key away and
//! `!override` replaces it whole.

use crate::tree::{Entry, Kind, Node, Tag};

/// Lists of a service that are replaced: one command line makes no sense behind another.
const REPLACED: &[&[&str]] = &[&["command"], &["entrypoint"], &["healthcheck", "test"]];

/// Lists of `KEY=VALUE` that mean the same as a mapping.
const MAPPINGS: &[&[&str]] = &[
    &["annotations"],
    &["build", "args"],
    &["build", "labels"],
    &["deploy", "labels"],
    &["environment"],
    &["labels"],
    &["sysctls"],
];

/// Lists of names that mean the same as a mapping with nothing said of each.
const NAMES: &[&[&str]] = &[&["depends_on"], &["networks"]];

/// By what an element of a list is known.
type KeyOf = fn(&Node) -> Option<String>;

/// Lists whose elements stand for something that there is once.
const UNIQUE: &[(&str, KeyOf)] = &[
    ("configs", |node| mounted(node, "")),
    ("devices", |node| place_inside(node)),
    ("ports", port),
    ("secrets", |node| mounted(node, "/run/secrets")),
    ("volumes", |node| place_inside(node)),
];

/// The trees of several files as one; the later ones count more. Tags have been heeded.
#[must_use]
pub fn merge(trees: Vec<Node>) -> Option<Node> {
    let mut trees = trees.into_iter();
    let mut merged = trees.next()?;
    heed(&mut merged);
    for tree in trees {
        both(&mut merged, tree, &mut Vec::new());
    }
    Some(merged)
}

/// Takes away what is reset although nothing is there.
fn heed(node: &mut Node) {
    node.tag = None;
    match &mut node.kind {
        Kind::Scalar { .. } => {}
        Kind::Sequence(items) => items.iter_mut().for_each(heed),
        Kind::Mapping(entries) => {
            entries.retain(|entry| entry.value.tag != Some(Tag::Reset));
            entries.iter_mut().for_each(|entry| heed(&mut entry.value));
        }
    }
}

/// Puts another file's node over one at the same path.
fn both(node: &mut Node, mut over: Node, path: &mut Vec<String>) {
    // What is below a service; other parts of the model are merged alike.
    let inside: Vec<&str> = match &path[..] {
        [first, _, rest @ ..] if first == "services" => rest.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let is_of = |paths: &[&[&str]]| paths.iter().any(|path| **path == inside[..]);
    let is_replaced = over.tag == Some(Tag::Override) || is_of(REPLACED);
    if is_replaced {
        heed(&mut over);
        *node = over;
        return;
    }
    // Nothing written is nothing said.
    if over.is_null() {
        return;
    }
    if is_of(MAPPINGS) {
        [&mut *node, &mut over].into_iter().for_each(|node| to_mapping(node, assignment));
    } else if is_of(NAMES) && (is_mapping(node) || is_mapping(&over)) {
        let entry = if inside == ["depends_on"] { dependency } else { name };
        [&mut *node, &mut over].into_iter().for_each(|node| to_mapping(node, entry));
    }
    let key = match inside[..] {
        [name] => UNIQUE.iter().find(|(unique, _)| *unique == name).map(|(_, key)| *key),
        _ => None,
    };
    match (&mut node.kind, over.kind) {
        (Kind::Mapping(entries), Kind::Mapping(others)) => {
            others.into_iter().for_each(|other| entry_over(entries, other, path));
        }
        (Kind::Sequence(items), Kind::Sequence(mut others)) => {
            others.iter_mut().for_each(heed);
            for other in others {
                let same = key.and_then(|key| {
                    let wanted = key(&other)?;
                    items.iter().position(|item| key(item).as_ref() == Some(&wanted))
                });
                // A name of a network or a service stands once.
                let is_known = NAMES.contains(&&inside[..])
                    && items.iter().any(|item| item.kind == other.kind);
                match same.and_then(|at| items.get_mut(at)) {
                    Some(item) => *item = other,
                    None if is_known => {}
                    None => items.push(other),
                }
            }
        }
        (_, kind) => {
            let mut replaced = Node { kind, place: over.place, tag: None };
            heed(&mut replaced);
            *node = replaced;
        }
    }
}

fn entry_over(entries: &mut Vec<Entry>, other: Entry, path: &mut Vec<String>) {
    let at = entries.iter().position(|entry| entry.key == other.key);
    if other.value.tag == Some(Tag::Reset) {
        if let Some(at) = at {
            entries.remove(at);
        }
        return;
    }
    match at.and_then(|at| entries.get_mut(at)) {
        Some(entry) => {
            path.push(other.key);
            both(&mut entry.value, other.value, path);
            path.pop();
        }
        None => {
            let mut added = other;
            heed(&mut added.value);
            entries.push(added);
        }
    }
}

fn is_mapping(node: &Node) -> bool {
    matches!(node.kind, Kind::Mapping(_))
}

/// Makes a mapping of a list; elements that are none of its entries are left for others to refuse.
fn to_mapping(node: &mut Node, entry: fn(&Node) -> Option<Entry>) {
    if let Kind::Sequence(items) = &node.kind
        && let Some(entries) = items.iter().map(entry).collect::<Option<Vec<Entry>>>()
    {
        let mut kept: Vec<Entry> = Vec::new();
        for entry in entries {
            // Of a name that stands twice, the last one counts.
            kept.retain(|known| known.key != entry.key);
            kept.push(entry);
        }
        node.kind = Kind::Mapping(kept);
    }
}

fn text(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(text),
        Kind::Sequence(_) | Kind::Mapping(_) => None,
    }
}

fn scalar(node: &Node, text: &str, plain: bool) -> Node {
    let kind = Kind::Scalar { text: text.to_owned(), plain };
    Node { kind, place: node.place.clone(), tag: None }
}

fn entry(node: &Node, key: &str, value: Node) -> Entry {
    Entry { key: key.to_owned(), key_place: node.place.clone(), value }
}

/// `KEY=VALUE`, or `KEY` without a value.
fn assignment(node: &Node) -> Option<Entry> {
    Some(match text(node)?.split_once('=') {
        Some((key, value)) => entry(node, key, scalar(node, value, false)),
        None => entry(node, text(node)?, scalar(node, "", true)),
    })
}

fn name(node: &Node) -> Option<Entry> {
    Some(entry(node, text(node)?, scalar(node, "", true)))
}

/// A service that is only waited for to be started.
fn dependency(node: &Node) -> Option<Entry> {
    let condition = entry(node, "condition", scalar(node, "service_started", false));
    let value = Node { kind: Kind::Mapping(vec![condition]), place: node.place.clone(), tag: None };
    Some(entry(node, text(node)?, value))
}

/// What a mapping says of a key.
fn field<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(text).filter(|text| !text.is_empty())
}

/// By what a published port is known: address, published port, port inside and protocol.
fn port(node: &Node) -> Option<String> {
    let Some(short) = text(node) else {
        let of = |key: &str, default: &str| field(node, key).unwrap_or(default).to_owned();
        let (address, published) = (of("host_ip", ""), of("published", ""));
        return Some([address, published, of("target", ""), of("protocol", "tcp")].join("|"));
    };
    let (rest, protocol) = short.split_once('/').unwrap_or((short, "tcp"));
    let (rest, target) = rest.rsplit_once(':').unwrap_or(("", rest));
    // An address of IPv6 is in brackets and has colons of its own.
    let (address, published) = match rest.rsplit_once(':') {
        Some((address, published)) => (address.trim_matches(['[', ']']), published),
        None => ("", rest),
    };
    Some([address, published, target, protocol].join("|"))
}

/// The path inside that `SOURCE:TARGET[:MODE]` or `TARGET` names.
fn place_inside(node: &Node) -> Option<String> {
    let Some(short) = text(node) else { return field(node, "target").map(str::to_owned) };
    let parts: Vec<&str> = short.split(':').collect();
    let target = parts.get(1).or(parts.first())?;
    Some(target.trim_end_matches('/').to_owned())
}

/// Where a secret or config is seen, by default under its name in a directory.
fn mounted(node: &Node, directory: &str) -> Option<String> {
    let at = |name: &str| match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("{directory}/{name}"),
    };
    match text(node) {
        Some(name) => Some(at(name)),
        None => field(node, "target").or_else(|| field(node, "source")).map(at),
    }
}

#[cfg(test)]
mod tests {
    use brickyard_core::Source;

    use super::*;
    use crate::tree;

    /// A tree in one line.
    fn shown(node: &Node) -> String {
        match &node.kind {
            Kind::Scalar { text, .. } => text.clone(),
            Kind::Sequence(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
            Kind::Mapping(entries) => {
                let entries = entries.iter().map(|e| format!("{}: {}", e.key, shown(&e.value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What a service of two files is, of which each has a part.
    fn service(one: &str, other: &str) -> String {
        let tree = |part: &str| {
            let text = format!("services: {{a: {{{part}}}}}\n");
            let (root, found) = tree::parse(&Source::new("t.yaml", text));
            assert_eq!(found, [], "{part}");
            root.expect("it is YAML")
        };
        let merged = merge(vec![tree(one), tree(other)]).expect("there are two");
        let service = merged.get("services").and_then(|all| all.get("a")).expect("it is there");
        shown(service)
    }

    /// Parts of a service in two files, and what they are together.
    const CASES: &[(&str, &str, &str)] = &[
        ("image: a", "image: b", "{image: b}"),
        ("image: a", "user: u", "{image: a, user: u}"),
        ("image: a", "image: ", "{image: a}"),
        ("dns: [x]", "dns: [y]", "{dns: [x, y]}"),
        ("command: [a, b]", "command: [c]", "{command: [c]}"),
        ("entrypoint: a", "entrypoint: [c]", "{entrypoint: [c]}"),
        (
            "healthcheck: {test: [CMD, a], retries: 3}",
            "healthcheck: {test: [CMD, b]}",
            "{healthcheck: {test: [CMD, b], retries: 3}}",
        ),
        ("environment: [A=1, B]", "environment: {A: 2, C: 3}", "{environment: {A: 2, B: , C: 3}}"),
        ("labels: {a: 1}", "labels: [a=2, b=3]", "{labels: {a: 2, b: 3}}"),
        ("build: {args: [A=1]}", "build: {args: {A: 2}}", "{build: {args: {A: 2}}}"),
        (
            "networks: [x, y]",
            "networks: {y: {aliases: [z]}}",
            "{networks: {x: , y: {aliases: [z]}}}",
        ),
        ("networks: [x]", "networks: [x, y]", "{networks: [x, y]}"),
        (
            "depends_on: [x]",
            "depends_on: {y: {condition: service_healthy}}",
            "{depends_on: {x: {condition: service_started}, y: {condition: service_healthy}}}",
        ),
        (
            "ports: ['80:80', '81:81']",
            "ports: ['80:80', '82:82']",
            "{ports: [80:80, 81:81, 82:82]}",
        ),
        (
            "ports: ['127.0.0.1:80:80/tcp']",
            "ports: [{host_ip: 127.0.0.1, published: '80', target: 80}]",
            "{ports: [{host_ip: 127.0.0.1, published: 80, target: 80}]}",
        ),
        (
            "volumes: ['./a:/x', 'v:/y']",
            "volumes: ['w:/y:ro', 'z:/z']",
            "{volumes: [./a:/x, w:/y:ro, z:/z]}",
        ),
        (
            "volumes: ['./a:/x']",
            "volumes: [{type: tmpfs, target: /x}]",
            "{volumes: [{type: tmpfs, target: /x}]}",
        ),
        (
            "devices: ['/dev/a:/dev/x']",
            "devices: ['/dev/b:/dev/x:r']",
            "{devices: [/dev/b:/dev/x:r]}",
        ),
        (
            "secrets: [s]",
            "secrets: [{source: t, target: s}]",
            "{secrets: [{source: t, target: s}]}",
        ),
        ("configs: [c]", "configs: [d]", "{configs: [c, d]}"),
        ("ports: ['80:80'], image: a", "ports: !reset []", "{image: a}"),
        ("ports: ['80:80']", "ports: !override ['81:81']", "{ports: [81:81]}"),
        ("environment: {A: 1, B: 2}", "environment: {A: !reset null}", "{environment: {B: 2}}"),
        ("image: a", "labels: !reset {}", "{image: a}"),
        ("x-own: {a: [1], b: c}", "x-own: {a: [2], b: d}", "{x-own: {a: [1, 2], b: d}}"),
    ];

    #[test]
    fn parts_are_merged_by_their_rules() {
        for (one, other, merged) in CASES {
            assert_eq!(service(one, other), *merged, "{one} and {other}");
        }
    }

    #[test]
    fn one_file_alone_stays_as_it_is() {
        let text = "services: {a: {image: x, ports: !reset ['80:80'], dns: !override [y]}}\n";
        let (root, _) = tree::parse(&Source::new("t.yaml", text));
        let merged = merge(vec![root.expect("it is YAML")]).expect("it is there");
        assert_eq!(shown(&merged), "{services: {a: {image: x, dns: [y]}}}");
        assert_eq!(merge(Vec::new()), None);
    }
}
