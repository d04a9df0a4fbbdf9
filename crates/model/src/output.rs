//! The model written out again, as `docker compose config` shows it.
//!
//! Everything is explicit: variables are replaced, short forms are written long, paths are absolute.
//! Loading the result gives the same model.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::{Digest, SystemName};
use brickyard_yaml::{Style, Written};
use serde_json::{Map, Value};

use crate::tree::{Kind, Node};

/// A resolved model: every key that was written, in its long form.
#[derive(Debug, Clone)]
pub struct Model {
    root: Node,
    name: SystemName,
}

impl Model {
    pub(crate) fn new(root: Node, name: SystemName) -> Self {
        Self { root, name }
    }

    /// The system's name.
    #[must_use]
    pub fn name(&self) -> &SystemName {
        &self.name
    }

    /// The model as a tree.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The names of the services, networks, volumes or others of the top level.
    #[must_use]
    pub fn names(&self, kind: &str) -> Vec<&str> {
        let entries = self.root.get(kind).map(Node::entries).unwrap_or_default();
        entries.iter().map(|entry| entry.key.as_str()).collect()
    }

    /// The image of every service: the one that is named, or the one that is built.
    #[must_use]
    pub fn images(&self) -> BTreeMap<&str, String> {
        let services = self.root.get("services").map(Node::entries).unwrap_or_default();
        services
            .iter()
            .filter_map(|entry| {
                let named = entry.value.get("image").and_then(Node::as_text).map(str::to_owned);
                let built = entry.value.get("build");
                let image = named.or(built.map(|_| format!("{}-{}", self.name, entry.key)))?;
                Some((entry.key.as_str(), image))
            })
            .collect()
    }

    /// A digest of what each service says, without what says how often it runs and how it is built: as
    /// long as it is the same, nothing has to be replaced.
    #[must_use]
    pub fn hashes(&self) -> BTreeMap<&str, Digest> {
        let services = self.root.get("services").map(Node::entries).unwrap_or_default();
        let hash = |node: &Node| {
            let mut service = node.clone();
            for key in ["build", "depends_on", "profiles", "pull_policy", "scale"] {
                service.take(key);
            }
            if let Some(deploy) = service.get_mut("deploy") {
                deploy.take("replicas");
            }
            Digest::of_json(&json(&service))
        };
        services.iter().map(|entry| (entry.key.as_str(), hash(&entry.value))).collect()
    }

    /// Puts another image into a service, as one that is known by its digest.
    pub fn set_image(&mut self, service: &str, image: &str) {
        let services = self.root.get_mut("services");
        if let Some(service) = services.and_then(|services| services.get_mut(service)) {
            let place = service.get("image").map_or(&service.place, |node| &node.place).clone();
            service.put("image", Node::text_at(&place, image));
        }
    }

    /// Leaves the services that are named and those that they depend on.
    pub fn select(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let mut kept = BTreeSet::new();
        let mut waiting = names.to_vec();
        while let Some(name) = waiting.pop() {
            let on = self.root.at(&["services", &name, "depends_on"]).map(Node::entries);
            let on = on.unwrap_or_default().iter().map(|entry| entry.key.to_string());
            waiting.extend(on.filter(|other| !kept.contains(other)));
            kept.insert(name);
        }
        if let Some(services) = self.root.get_mut("services").and_then(Node::entries_mut) {
            services.retain(|entry| kept.contains(entry.key.as_str()));
        }
        crate::normalise::without_unused(&mut self.root);
    }

    /// The model as YAML. `escapes` doubles dollar signs, as whoever reads it takes them for variables.
    #[must_use]
    pub fn to_yaml(&self, escapes: bool) -> String {
        let name = ("name".to_owned(), Written::Text(self.name.to_string()));
        let Written::Map(entries) = written(&self.root, escapes) else {
            return String::new();
        };
        let document = Written::Map([name].into_iter().chain(entries).collect());
        brickyard_yaml::write_in(&document, Style::COMPOSE)
    }

    /// The model as JSON.
    #[must_use]
    pub fn to_json(&self, escapes: bool) -> Value {
        let mut root = Map::new();
        root.insert("name".to_owned(), Value::String(self.name.to_string()));
        if let Value::Object(entries) = json_in(&self.root, escapes) {
            root.extend(entries);
        }
        Value::Object(root)
    }
}

fn escaped(text: &str, escapes: bool) -> String {
    if escapes { text.replace('$', "$$") } else { text.to_owned() }
}

/// Whether what is below a key is escaped: values of our extension are no place for variables.
fn is_escaped(key: &str, escapes: bool) -> bool {
    escapes && key != "x-brickyard"
}

fn written(node: &Node, escapes: bool) -> Written {
    match &node.kind {
        Kind::Scalar { .. } if node.is_null() => Written::Literal("null".to_owned()),
        Kind::Scalar { text, plain: true } if scalar(text).is_some() => {
            Written::Literal(text.to_string())
        }
        Kind::Scalar { text, .. } => Written::Text(escaped(text, escapes)),
        Kind::Sequence(items) => {
            Written::List(items.iter().map(|item| written(item, escapes)).collect())
        }
        Kind::Mapping(entries) => {
            let entries = entries.iter().map(|entry| {
                let escapes = is_escaped(&entry.key, escapes);
                (entry.key.to_string(), written(&entry.value, escapes))
            });
            Written::Map(entries.collect())
        }
    }
}

fn json(node: &Node) -> Value {
    json_in(node, false)
}

fn json_in(node: &Node, escapes: bool) -> Value {
    match &node.kind {
        Kind::Scalar { .. } if node.is_null() => Value::Null,
        Kind::Scalar { text, plain } => match plain.then(|| scalar(text)).flatten() {
            Some(value) => value,
            None => Value::String(escaped(text, escapes)),
        },
        Kind::Sequence(items) => items.iter().map(|item| json_in(item, escapes)).collect(),
        Kind::Mapping(entries) => {
            let entries = entries.iter().map(|entry| {
                let escapes = is_escaped(&entry.key, escapes);
                (entry.key.to_string(), json_in(&entry.value, escapes))
            });
            Value::Object(entries.collect())
        }
    }
}

/// What a scalar without quotes is when it is no text: a truth or a number.
fn scalar(text: &str) -> Option<Value> {
    match text {
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    let is_number =
        text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
    let number: f64 = text.parse().ok().filter(|_| is_number)?;
    serde_json::Number::from_f64(number).map(Value::Number)
}
