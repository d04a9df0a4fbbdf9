//! A file written out in full: every key known, every value of its shape, short ways of writing
//! replaced by long ones, paths absolute.
//!
//! It works on the tree of one file, before files are put together, so that a mistake is found in the
//! file that has it and a path starts at the directory of its file. [`complete`] adds what is implied
//! afterwards: a default in one file must not count more than what another one says.

mod scalar;
mod short;

pub(crate) use scalar::{clean, is_remote};
pub(crate) use short::port_range;

use std::fmt;

use brickyard_core::diagnostic::nearest;
use brickyard_core::{Diagnostic, Diagnostics};
use camino::Utf8Path;

use crate::codes;
use crate::findings::{self, AtPlace};
use crate::spec::{Rule, Section, Shape, Short};
use crate::tree::{Entry, Kind, Node, Place, Tag};

/// Longest list after ranges are written out: all ports of one protocol and more than anybody lists.
const ITEMS_MAX: usize = 70_000;

/// What the tree of one file is written out with.
pub(crate) struct Canonical<'a> {
    /// Where its relative paths start.
    pub directory: &'a Utf8Path,
    /// What `~` stands for, where it is known.
    pub home: Option<&'a str>,
    /// Whether variables stay as they are written, so that a value may be anything yet.
    pub keeps_variables: bool,
    /// Where findings go.
    pub diagnostics: &'a mut Diagnostics,
}

/// What a value is called in messages. It is written only when there is one.
#[derive(Clone, Copy)]
pub(crate) enum What<'a> {
    /// By these words.
    Text(&'a str),
    /// By its key.
    Key(&'a str),
    /// By what it is, if that has a word, and the name that the user gave it.
    Named(&'a str, &'a str),
    /// As a part of something.
    ItemOf(&'a Self),
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(words) => f.write_str(words),
            Self::Key(key) | Self::Named("", key) => write!(f, "`{key}`"),
            Self::Named(kind, name) => write!(f, "{kind} `{name}`"),
            Self::ItemOf(whole) => write!(f, "an item of {whole}"),
        }
    }
}

impl Canonical<'_> {
    /// Writes out what has these keys. What is wrong is reported and taken away.
    pub(crate) fn section(&mut self, node: &mut Node, section: &'static Section, within: What<'_>) {
        if !matches!(node.kind, Kind::Mapping(_)) && !node.is_null() {
            self.wrong_type(within, "a mapping", node);
            node.kind = Kind::Mapping(Vec::new());
        }
        let is_written = !node.is_null();
        self.before(node, section);
        let is_missing = |value: Option<&Node>| {
            value.is_none_or(|value| value.is_null() && value.tag != Some(Tag::Reset))
        };
        for key in section.required.iter().filter(|key| is_written && is_missing(node.get(key))) {
            let message = format!("{within} has no `{key}`");
            let found = Diagnostic::error(codes::MISSING_KEY, message);
            self.report(found, node);
        }
        if let Some(entries) = node.entries_mut() {
            entries.retain_mut(|entry| self.entry(entry, section, within));
        }
        self.after(node, section);
    }

    /// Whether an entry is kept.
    fn entry(&mut self, entry: &mut Entry, section: &Section, within: What<'_>) -> bool {
        let Some(key) = section.key(&entry.key) else {
            if entry.key == "x-brickyard" {
                self.extension(&mut entry.value);
            }
            return self.unknown_key(entry, section, within);
        };
        if entry.value.tag == Some(Tag::Reset) {
            return true;
        }
        // `key:` without a value is the same as no key at all.
        if entry.value.is_null() {
            return false;
        }
        self.value(&mut entry.value, &key.shape, What::Key(&entry.key))
    }

    /// Writes out a value; whether it is one is returned.
    fn value(&mut self, node: &mut Node, shape: &Shape, what: What<'_>) -> bool {
        match shape {
            Shape::Any => true,
            Shape::Section(section) => {
                let is_named = section.name.starts_with('`');
                let within = if is_named { What::Text(section.name) } else { what };
                self.section(node, section, within);
                true
            }
            // Of a limit, the number alone is how it is shown.
            Shape::Short(Short::Limit, _) if matches!(node.kind, Kind::Scalar { .. }) => {
                self.scalar(node, &Shape::Int, what)
            }
            Shape::Short(short, long) => match short::is_short(*short, node) {
                true => self.expanded(node, *short, long, what),
                false => self.value(node, long, what),
            },
            Shape::OneOrMore(_) if matches!(node.kind, Kind::Scalar { .. } | Kind::Mapping(_)) => {
                let only = node.clone();
                node.kind = Kind::Sequence(vec![Node { tag: None, ..only }]);
                self.value(node, shape, what)
            }
            Shape::List(item) | Shape::OneOrMore(item) => {
                let Kind::Sequence(items) = &mut node.kind else {
                    self.wrong_type(what, "a list", node);
                    return false;
                };
                self.items(items, item, what);
                true
            }
            Shape::Map(value) => self.map(node, value, what),
            Shape::Pairs => self.pairs(node, what),
            _ => self.scalar(node, shape, what),
        }
    }

    /// Writes out the items of a list, some of which may stand for several.
    fn items(&mut self, items: &mut Vec<Node>, shape: &Shape, what: What<'_>) {
        let item_what = What::ItemOf(&what);
        let (short, long) = match shape {
            Shape::Short(short, long) => (Some(*short), *long),
            _ => (None, shape),
        };
        for item in std::mem::take(items) {
            if item.is_null() && matches!(long, Shape::Section(_)) {
                self.wrong_type(item_what, "a mapping", &item);
                continue;
            }
            let expanded = match short.filter(|short| short::is_short(*short, &item)) {
                Some(short) => self.expand(&item, short, item_what).unwrap_or_default(),
                None => vec![item],
            };
            for mut item in expanded {
                if items.len() == ITEMS_MAX {
                    let message = format!("{what} has more than {ITEMS_MAX} items");
                    return self.bad_value(message, &item);
                }
                if self.value(&mut item, long, item_what) {
                    items.push(item);
                }
            }
        }
    }

    /// A value in its short way, written out.
    fn expanded(&mut self, node: &mut Node, short: Short, long: &Shape, what: What<'_>) -> bool {
        let tag = node.tag;
        let Some([only]) =
            self.expand(node, short, what).map(<[Node; 1]>::try_from).and_then(Result::ok)
        else {
            return false;
        };
        *node = Node { tag, ..only };
        self.value(node, long, what)
    }

    fn map(&mut self, node: &mut Node, shape: &Shape, what: What<'_>) -> bool {
        let Kind::Mapping(entries) = &mut node.kind else {
            self.wrong_type(what, "a mapping", node);
            return false;
        };
        let kind = match shape {
            Shape::Section(section) if !section.name.starts_with('`') => {
                section.name.split_once(' ').map_or(section.name, |(_, kind)| kind)
            }
            _ => "",
        };
        entries.retain_mut(|entry| {
            is_unsaid(&entry.value)
                || self.value(&mut entry.value, shape, What::Named(kind, &entry.key))
        });
        true
    }

    fn pairs(&mut self, node: &mut Node, what: What<'_>) -> bool {
        match &mut node.kind {
            Kind::Sequence(items) => {
                let item_what = What::ItemOf(&what);
                items.retain_mut(|item| self.scalar(item, &Shape::Text, item_what));
                node.kind = Kind::Mapping(short::assignments(items));
                true
            }
            Kind::Mapping(entries) => {
                entries.retain_mut(|entry| {
                    let what = What::Key(&entry.key);
                    is_unsaid(&entry.value) || self.scalar(&mut entry.value, &Shape::Text, what)
                });
                true
            }
            Kind::Scalar { .. } => {
                self.wrong_type(what, "a mapping", node);
                false
            }
        }
    }

    /// What keys mean to each other, before their shapes are looked at.
    fn before(&mut self, node: &mut Node, section: &Section) {
        if !matches!(section.rule, Rule::External | Rule::Volume) {
            return;
        }
        let Some(external) =
            node.get("external").filter(|value| matches!(value.kind, Kind::Mapping(_)))
        else {
            return;
        };
        let (place, name) = (external.place.clone(), external.get("name").cloned());
        match (name, node.get("name")) {
            (Some(former), Some(name)) if !former.says_the_same(name) => {
                let message = "`name` and the former `external: {name: ...}` say different things";
                let found = Diagnostic::error(codes::CONFLICT, message);
                self.diagnostics.push(found.at_place(&place, ""));
            }
            (Some(former), None) => node.put("name", former),
            _ => {}
        }
        node.put("external", Node::literal_at(&place, "true"));
    }

    /// What keys mean to each other, where it has to do with the file that they stand in.
    fn after(&mut self, node: &mut Node, section: &Section) {
        let is = |node: &Node, key: &str, wanted: &str| {
            node.get(key).and_then(Node::as_text).is_some_and(|text| text == wanted)
        };
        match section.rule {
            Rule::Mount if is(node, "type", "bind") => {
                if let Some(source) = node.get_mut("source") {
                    self.scalar(source, &Shape::Path, What::Key("source"));
                }
            }
            Rule::Volume if is(node, "driver", "local") => {
                if let Some(options) = node.get_mut("driver_opts")
                    && is(options, "o", "bind")
                    && let Some(device) = options.get_mut("device")
                {
                    self.scalar(device, &Shape::Path, What::Key("device"));
                }
            }
            _ => {}
        }
    }

    /// Of our own extension, the files of templates are paths.
    fn extension(&mut self, node: &mut Node) {
        let Some(Kind::Sequence(templates)) = node.get_mut("templates").map(|node| &mut node.kind)
        else {
            return;
        };
        for template in templates {
            if let Some(source) = template.get_mut("src").filter(|node| node.as_text().is_some()) {
                self.scalar(source, &Shape::Path, What::Key("src"));
            }
        }
    }

    /// Reports a key that nothing knows. Extension keys pass, as in Compose.
    fn unknown_key(&mut self, entry: &Entry, section: &Section, within: What<'_>) -> bool {
        let (key, place) = (entry.key.as_str(), &entry.key_place);
        let label = format!("in {within}");
        if section.extensible && key.starts_with("x-") {
            if key != "x-brickyard" && nearest(key, ["x-brickyard"]).is_some() {
                let message = format!("unknown key `{key}`");
                let found = Diagnostic::warning(codes::UNKNOWN_KEY, message)
                    .hint("did you mean `x-brickyard`?");
                self.diagnostics.push(found.at_place(place, ""));
            }
            return true;
        }
        let mut found = Diagnostic::error(codes::UNKNOWN_KEY, format!("unknown key `{key}`"));
        if let Some(name) = nearest(key, section.keys.iter().map(|key| key.name)) {
            found = found.hint(format!("did you mean `{name}`?"));
        }
        self.diagnostics.push(found.at_place(place, label));
        false
    }

    fn wrong_type(&mut self, what: What<'_>, wanted: &str, node: &Node) {
        self.diagnostics.push(findings::wrong_type(&what.to_string(), wanted, node));
    }

    fn bad_value(&mut self, message: String, node: &Node) {
        self.report(Diagnostic::error(codes::BAD_VALUE, message), node);
    }

    fn report(&mut self, found: Diagnostic, node: &Node) {
        let place = &node.place;
        self.diagnostics.push(found.at_place(place, ""));
    }
}

/// Whether nothing is said of a name that the user gave, which is allowed.
fn is_unsaid(value: &Node) -> bool {
    value.tag == Some(Tag::Reset) || value.is_null()
}

/// A dependency of which only the name is known.
pub(crate) fn dependency(place: &Place, restarts: bool) -> Node {
    Node::mapping_at(
        place,
        [
            ("condition", Some(Node::text_at(place, "service_started"))),
            ("restart", restarts.then(|| Node::literal_at(place, "true"))),
            ("required", Some(Node::literal_at(place, "true"))),
        ],
    )
}

/// Takes keys away whose text is empty, as of a variable that nobody set: they say nothing.
pub(crate) fn without_empty(node: &mut Node, shape: &Shape) {
    match (shape, &mut node.kind) {
        (Shape::Section(section), Kind::Mapping(entries)) => entries.retain_mut(|entry| {
            let Some(key) = section.key(&entry.key) else {
                return true;
            };
            without_empty(&mut entry.value, &key.shape);
            !(matches!(key.shape, Shape::Text) && entry.value.as_text() == Some(""))
        }),
        (Shape::Map(value), Kind::Mapping(entries)) => {
            entries.iter_mut().for_each(|entry| without_empty(&mut entry.value, value));
        }
        (Shape::List(item) | Shape::OneOrMore(item), Kind::Sequence(items)) => {
            items.iter_mut().for_each(|node| without_empty(node, item));
        }
        (Shape::Short(_, long), _) => without_empty(node, long),
        _ => {}
    }
}

/// Adds what is implied where nothing is written, everywhere below a node.
pub(crate) fn complete(node: &mut Node, shape: &Shape) {
    match shape {
        Shape::Section(section) => {
            for entry in node.entries_mut().into_iter().flatten() {
                if let Some(key) = section.key(&entry.key) {
                    complete(&mut entry.value, &key.shape);
                }
            }
            imply(node, section.rule);
        }
        Shape::Map(value) => {
            let Kind::Mapping(entries) = &mut node.kind else {
                return;
            };
            let values = entries.iter_mut().map(|entry| &mut entry.value);
            let is_said = |node: &&mut Node| {
                !node.is_null()
                    || matches!(value, Shape::Section(section) if section.rule == Rule::Dependency)
            };
            values.filter(is_said).for_each(|node| complete(node, value));
        }
        Shape::List(item) | Shape::OneOrMore(item) => {
            if let Kind::Sequence(items) = &mut node.kind {
                items.iter_mut().for_each(|node| complete(node, item));
            }
        }
        Shape::Short(_, long) if !matches!(node.kind, Kind::Scalar { .. }) => complete(node, long),
        _ => {}
    }
}

fn imply(node: &mut Node, rule: Rule) {
    let place = node.place.clone();
    let unless = |node: &mut Node, key: &str, value: Node| {
        if node.get(key).is_none() {
            node.put(key, value);
        }
    };
    match rule {
        Rule::Port => {
            unless(node, "mode", Node::text_at(&place, "ingress"));
            unless(node, "protocol", Node::text_at(&place, "tcp"));
        }
        Rule::Dependency => {
            unless(node, "condition", Node::text_at(&place, "service_started"));
            unless(node, "required", Node::literal_at(&place, "true"));
        }
        Rule::EnvFile => unless(node, "required", Node::literal_at(&place, "true")),
        Rule::Secret => {
            let source = node.get("source").and_then(Node::as_text).map(str::to_owned);
            let mut target = source.unwrap_or_default();
            if let Some(written) = node.get("target").and_then(Node::as_text) {
                target = written.to_owned();
            }
            if !target.starts_with('/') {
                node.put("target", Node::text_at(&place, format!("/run/secrets/{target}")));
            }
        }
        Rule::DeviceRequest if node.get("device_ids").is_none() => {
            unless(node, "count", Node::literal_at(&place, "-1"));
        }
        _ => {}
    }
}

/// Puts keys into the order in which Compose shows them.
pub(crate) fn order(node: &mut Node, shape: &Shape) {
    match (shape, &mut node.kind) {
        (Shape::Section(section), Kind::Mapping(entries)) => {
            let ranked = std::mem::take(entries).into_iter().map(|mut entry| {
                let place = section.place(&entry.key);
                if let Some(place) = place {
                    order(&mut entry.value, &section.keys[place].shape);
                }
                (place.unwrap_or(usize::MAX), entry)
            });
            let mut ranked: Vec<(usize, Entry)> = ranked.collect();
            ranked.sort_by(|one, other| (one.0, &one.1.key).cmp(&(other.0, &other.1.key)));
            entries.extend(ranked.into_iter().map(|(_, entry)| entry));
        }
        (Shape::Map(value), Kind::Mapping(entries)) => {
            entries.iter_mut().for_each(|entry| order(&mut entry.value, value));
            entries.sort_by(|one, other| one.key.cmp(&other.key));
        }
        (Shape::Pairs, Kind::Mapping(entries)) => {
            entries.sort_by(|one, other| one.key.cmp(&other.key));
        }
        (Shape::List(item) | Shape::OneOrMore(item), Kind::Sequence(items)) => {
            items.iter_mut().for_each(|node| order(node, item));
        }
        (Shape::Short(_, long), _) => order(node, long),
        _ => {}
    }
}
