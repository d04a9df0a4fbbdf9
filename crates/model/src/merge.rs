//! Several files as one tree, by the rules of the Compose Specification.
//!
//! Mappings are merged key by key, lists are put one after the other, anything else is replaced;
//! what is different about some keys stands in the tables of [`spec`](crate::spec). `!reset` takes a
//! key away and `!override` replaces it whole. The trees have been written out in full before.

use std::collections::HashMap;

use brickyard_core::{Diagnostic, Diagnostics};

use crate::codes;
use crate::findings::AtPlace;
use crate::spec::{KeyOf, Merge, Shape};
use crate::tree::{Entry, Kind, Node, Tag};

/// Puts what a later file says over what earlier ones say.
///
/// What is taken away or replaced stays marked as such: it may be put over yet another tree. See
/// [`settle`].
pub(crate) fn over(node: &mut Node, over: Node, shape: &Shape) {
    both(node, over, shape, Merge::Usual);
}

/// Takes away what is reset, and the marks; for a tree that nothing comes before any more.
pub(crate) fn settle(node: &mut Node) {
    node.tag = None;
    match &mut node.kind {
        Kind::Scalar { .. } => {}
        Kind::Sequence(items) => {
            items.retain(|item| item.tag != Some(Tag::Reset));
            items.iter_mut().for_each(settle);
        }
        Kind::Mapping(entries) => {
            entries.retain(|entry| entry.value.tag != Some(Tag::Reset));
            entries.iter_mut().for_each(|entry| settle(&mut entry.value));
        }
    }
}

fn both(node: &mut Node, over: Node, shape: &Shape, merge: Merge) {
    let is_replaced = match merge {
        Merge::Replace => true,
        Merge::SameDriver => !has_same_driver(node, &over),
        Merge::Usual | Merge::Unique(_) => false,
    };
    if is_replaced || over.tag.is_some() || node.tag == Some(Tag::Reset) {
        *node = Node { tag: over.tag.or(node.tag.and(Some(Tag::Override))), ..over };
        return;
    }
    // Nothing written is nothing said.
    if over.is_null() {
        return;
    }
    match (&mut node.kind, over.kind) {
        (Kind::Mapping(entries), Kind::Mapping(others)) => mapping(entries, others, shape),
        (Kind::Sequence(items), Kind::Sequence(others)) => match merge {
            Merge::Unique(key) => unique(items, others, key),
            _ => items.extend(others),
        },
        (_, kind) => *node = Node { kind, place: over.place, tag: node.tag },
    }
}

fn mapping(entries: &mut Vec<Entry>, others: Vec<Entry>, shape: &Shape) {
    let places: HashMap<String, usize> = match others.len() {
        // A few keys are found as quickly without.
        0..8 => HashMap::new(),
        _ => entries.iter().enumerate().map(|(at, entry)| (entry.key.to_string(), at)).collect(),
    };
    let is_indexed = others.len() >= 8;
    for other in others {
        let at = match is_indexed {
            true => places.get(other.key.as_str()).copied(),
            false => entries.iter().position(|entry| entry.key == other.key),
        };
        match at.and_then(|at| entries.get_mut(at)) {
            Some(entry) => {
                let (shape, merge) = inside(shape, &other.key);
                both(&mut entry.value, other.value, shape, merge);
            }
            None => entries.push(other),
        }
    }
}

/// What the value of a key looks like, and how it is merged.
fn inside<'a>(shape: &'a Shape, key: &str) -> (&'a Shape, Merge) {
    match shape {
        Shape::Section(section) => match section.key(key) {
            Some(key) => (&key.shape, key.merge),
            None => (&Shape::Any, Merge::Usual),
        },
        Shape::Map(value) => (value, Merge::Usual),
        Shape::Short(_, long) => inside(long, key),
        _ => (&Shape::Any, Merge::Usual),
    }
}

fn unique(items: &mut Vec<Node>, others: Vec<Node>, key: KeyOf) {
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        places.extend(key(item).map(|key| (key, at)));
    }
    for other in others {
        match key(&other) {
            Some(key) => match places.get(&key).and_then(|at| items.get_mut(*at)) {
                Some(item) => *item = other,
                None => {
                    places.insert(key, items.len());
                    items.push(other);
                }
            },
            None => items.push(other),
        }
    }
}

/// Lists in which an element stands twice, with the last one in the place of the first. That is said
/// where the two are not the same.
pub(crate) fn once(node: &mut Node, shape: &Shape, diagnostics: &mut Diagnostics) {
    match (shape, &mut node.kind) {
        (Shape::Section(section), Kind::Mapping(entries)) => {
            for entry in entries {
                let Some(key) = section.key(&entry.key) else {
                    continue;
                };
                if let (Merge::Unique(key), Kind::Sequence(items)) =
                    (key.merge, &mut entry.value.kind)
                {
                    let all = std::mem::take(items);
                    say_twice(&all, key, diagnostics);
                    unique(items, all, key);
                }
                once(&mut entry.value, &key.shape, diagnostics);
            }
        }
        (Shape::Map(value), Kind::Mapping(entries)) => {
            entries.iter_mut().for_each(|entry| once(&mut entry.value, value, diagnostics));
        }
        (Shape::Short(_, long), _) => once(node, long, diagnostics),
        _ => {}
    }
}

fn say_twice(items: &[Node], key: KeyOf, diagnostics: &mut Diagnostics) {
    let mut known: HashMap<String, &Node> = HashMap::new();
    for item in items {
        let Some(key) = key(item) else {
            continue;
        };
        if let Some(first) = known.insert(key.clone(), item)
            && !first.says_the_same(item)
        {
            let (here, there) = (&item.place, &first.place);
            let message = format!("`{key}` stands twice in one list, and the last one counts");
            let found = Diagnostic::warning(codes::NO_EFFECT, message)
                .at_place(there, "this one has no effect")
                .at_place(here, "this one counts");
            diagnostics.push(found);
        }
    }
}

fn has_same_driver(node: &Node, over: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(Node::as_text).map(str::to_owned);
    match (driver(node), driver(over)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use brickyard_core::Source;

    use super::*;
    use crate::canonical::{Canonical, What};
    use crate::spec::TOP;
    use crate::tree;

    /// A tree in one line.
    fn shown(node: &Node) -> String {
        match &node.kind {
            Kind::Scalar { text, .. } => text.to_string(),
            Kind::Sequence(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
            // What is mounted or published is known by its two ends.
            Kind::Mapping(_) if node.get("target").or(node.get("source")).is_some() => {
                let of = |key: &str| node.get(key).and_then(Node::as_text).unwrap_or_default();
                let mode = if of("read_only").is_empty() { "" } else { " ro" };
                format!("{}{}>{}{mode}", of("source"), of("published"), of("target"))
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
            let (mut documents, found) = tree::parse(&Source::new("t.yaml", text));
            assert_eq!(found, [], "{part}");
            let mut document = documents.remove(0);
            let mut diagnostics = Vec::new();
            let mut canonical = Canonical {
                directory: "/".into(),
                home: None,
                keeps_variables: false,
                diagnostics: &mut diagnostics,
            };
            canonical.section(&mut document, TOP, What::Text(TOP.name));
            assert_eq!(diagnostics, [], "{part}");
            document
        };
        let mut merged = tree(one);
        over(&mut merged, tree(other), &Shape::Section(TOP));
        settle(&mut merged);
        shown(merged.at(&["services", "a"]).expect("it is there"))
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
        ("networks: [x]", "networks: [x, y]", "{networks: {x: , y: }}"),
        (
            "depends_on: [x]",
            "depends_on: {y: {condition: service_healthy}}",
            "{depends_on: {x: {condition: service_started, required: true}, y: {condition: service_healthy}}}",
        ),
        (
            "ports: ['80:80', '81:81']",
            "ports: ['80:80', '82:82']",
            "{ports: [80>80, 81>81, 82>82]}",
        ),
        (
            "ports: ['127.0.0.1:80:80/tcp']",
            "ports: [{host_ip: 127.0.0.1, published: '80', target: 80}]",
            "{ports: [80>80]}",
        ),
        (
            "volumes: ['./a:/x', 'v:/y']",
            "volumes: ['w:/y:ro', 'z:/z']",
            "{volumes: [/a>/x, w>/y ro, z>/z]}",
        ),
        ("volumes: ['./a:/x']", "volumes: [{type: tmpfs, target: /x}]", "{volumes: [>/x]}"),
        (
            "devices: ['/dev/a:/dev/x']",
            "devices: ['/dev/b:/dev/x:r']",
            "{devices: [/dev/b>/dev/x]}",
        ),
        ("secrets: [s]", "secrets: [{source: t, target: s}]", "{secrets: [t>s]}"),
        ("configs: [c]", "configs: [d]", "{configs: [c>, d>]}"),
        ("ports: ['80:80'], image: a", "ports: !reset []", "{image: a}"),
        ("ports: ['80:80']", "ports: !override ['81:81']", "{ports: [81>81]}"),
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
}
