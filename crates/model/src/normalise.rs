//! What the whole model implies: profiles, files of variables, networks, dependencies, names.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::{Diagnostic, Diagnostics, Files, Source};
use camino::Utf8Path;

use crate::canonical;
use crate::decode::read_text;
use crate::findings::AtPlace;
use crate::spec::{Shape, TOP};
use crate::tree::{Entry, Kind, Node, Place};
use crate::{codes, dotenv};

/// What normalising needs besides the tree.
pub(crate) struct Normalise<'a> {
    /// Where files of variables and labels are read.
    pub files: &'a dyn Files,
    /// The system's name.
    pub name: &'a str,
    /// Variables of the process and of `.env`.
    pub environment: &'a BTreeMap<String, String>,
    /// Whether files of variables and labels stay named instead of being read.
    pub keeps_files: bool,
    /// Whether variables stay as they are written.
    pub keeps_variables: bool,
    /// Where findings go.
    pub diagnostics: &'a mut Diagnostics,
}

/// The profiles that services name, each once.
pub(crate) fn profiles(root: &Node) -> Vec<String> {
    let services = root.get("services").map(Node::entries).unwrap_or_default();
    let lists = services.iter().filter_map(|entry| entry.value.get("profiles"));
    let names = lists.flat_map(Node::items).filter_map(Node::as_text).map(str::to_owned);
    names.collect::<BTreeSet<String>>().into_iter().collect()
}

/// Services that no active profile enables, taken out of a model.
pub(crate) fn without_disabled(
    root: &mut Node,
    profiles: &[String],
) -> BTreeMap<String, Vec<String>> {
    let mut disabled = BTreeMap::new();
    let is_active = |profile: &Node| {
        let active = |name: &str| profiles.iter().any(|active| active == name || active == "*");
        profile.as_text().is_some_and(active)
    };
    let Some(entries) = root.get_mut("services").and_then(Node::entries_mut) else {
        return disabled;
    };
    entries.retain(|entry| {
        let of = entry.value.get("profiles").map(Node::items).unwrap_or_default();
        let is_enabled = of.is_empty() || of.iter().any(is_active);
        if !is_enabled {
            let names = of.iter().filter_map(Node::as_text).map(str::to_owned);
            disabled.insert(entry.key.to_string(), names.collect());
        }
        is_enabled
    });
    disabled
}

impl Normalise<'_> {
    /// Writes out what is implied, of the services that are enabled.
    pub(crate) fn model(&mut self, root: &mut Node) {
        root.take("version");
        canonical::complete(root, &Shape::Section(TOP));
        if let Some(entries) = root.get_mut("services").and_then(Node::entries_mut) {
            entries.retain(|entry| !entry.key.starts_with("x-"));
            for entry in entries {
                if entry.value.is_null() {
                    entry.value.kind = Kind::Mapping(Vec::new());
                }
                self.service(&mut entry.value);
            }
        }
        default_network(root);
        self.names(root);
    }

    fn service(&mut self, service: &mut Node) {
        let place = service.place.clone();
        self.build(service);
        if !self.keeps_files {
            self.variables(service);
            self.labels(service);
        }
        if let Some(environment) = service.get_mut("environment") {
            self.fill_from_outside(environment);
        }
        if service.get("networks").is_none()
            && service.get("network_mode").is_none()
            && service.get("provider").is_none()
        {
            let only = [("default", Some(Node::literal_at(&place, "")))];
            service.put("networks", Node::mapping_at(&place, only));
        }
        if let Some(policy) = service.get_mut("pull_policy")
            && policy.as_text() == Some("if_not_present")
        {
            *policy = Node::text_at(&policy.place.clone(), "missing");
        }
        dependencies(service);
        replicas(service);
    }

    fn build(&mut self, service: &mut Node) {
        let Some(build) = service.get_mut("build") else {
            return;
        };
        let place = build.place.clone();
        if build.get("dockerfile").is_none() && build.get("dockerfile_inline").is_none() {
            build.put("dockerfile", Node::text_at(&place, "Dockerfile"));
        }
        if let Some(args) = build.get_mut("args") {
            self.fill_from_outside(args);
        }
    }

    /// Gives names without a value the one that they have outside.
    fn fill_from_outside(&self, pairs: &mut Node) {
        if self.keeps_variables {
            return;
        }
        for entry in pairs.entries_mut().into_iter().flatten() {
            if entry.value.is_null()
                && let Some(value) = self.environment.get(entry.key.as_str())
            {
                entry.value = Node::text_at(&entry.key_place, value);
            }
        }
    }

    /// The variables of files, below those that are written.
    fn variables(&mut self, service: &mut Node) {
        let Some(files) = service.take("env_file") else {
            return;
        };
        let mut pairs = Vec::new();
        let mut known = self.environment.clone();
        for file in files.value.items() {
            let of = |key: &str| file.get(key).and_then(Node::as_text);
            let is_required = of("required") != Some("false");
            let Some(path) = file.get("path") else {
                continue;
            };
            let Some(source) = self.file(path, is_required) else {
                continue;
            };
            let place = &path.place;
            let found = match of("format") {
                Some("raw") => raw_variables(&source.text),
                _ => {
                    let (found, findings) = dotenv::parse(&source, &known);
                    self.diagnostics.extend(findings);
                    found.into_iter().collect()
                }
            };
            for (name, value) in found {
                pair(&mut pairs, &name, &value, place);
                known.entry(name).or_insert(value);
            }
        }
        below(service, "environment", pairs, &files.value.place);
    }

    fn labels(&mut self, service: &mut Node) {
        let Some(files) = service.take("label_file") else {
            return;
        };
        let mut pairs = Vec::new();
        for file in files.value.items() {
            let Some(source) = self.file(file, true) else {
                continue;
            };
            let (found, findings) = dotenv::parse(&source, &BTreeMap::new());
            self.diagnostics.extend(findings);
            for (name, value) in found {
                pair(&mut pairs, &name, &value, &file.place);
            }
        }
        below(service, "labels", pairs, &files.value.place);
    }

    fn file(&mut self, node: &Node, is_required: bool) -> Option<std::sync::Arc<Source>> {
        let path = node.as_text()?;
        let is_missing = |files: &dyn Files| {
            let read = files.read(Utf8Path::new(path));
            read.is_err_and(|err| err.kind() == std::io::ErrorKind::NotFound)
        };
        if !is_required && is_missing(self.files) {
            return None;
        }
        // Messages call it what the model calls it.
        let shown = node.written(path);
        let place = &node.place;
        match read_text(self.files, Utf8Path::new(path)) {
            Ok(text) => Some(Source::new(shown, text)),
            Err(reason) => {
                let message = format!("`{shown}` cannot be read: {reason}");
                let found = Diagnostic::error(codes::UNREADABLE, message);
                self.diagnostics.push(found.at_place(place, ""));
                None
            }
        }
    }

    /// Gives what has no name of its own one after the system.
    fn names(&self, root: &mut Node) {
        for kind in ["networks", "volumes", "secrets", "configs"] {
            for entry in root.get_mut(kind).and_then(Node::entries_mut).into_iter().flatten() {
                if entry.value.is_null() {
                    entry.value.kind = Kind::Mapping(Vec::new());
                }
                let is_external =
                    entry.value.get("external").and_then(Node::as_text) == Some("true");
                if entry.value.get("external").is_some() && !is_external {
                    entry.value.take("external");
                }
                let name = match is_external {
                    true => entry.key.to_string(),
                    false => format!("{}_{}", self.name, entry.key),
                };
                if entry.value.get("name").is_none() {
                    entry.value.put("name", Node::text_at(&entry.key_place, name));
                }
            }
        }
    }
}

/// Lines of `NAME=VALUE`, of which nothing is read into.
fn raw_variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect()
}

/// A pair of a file, in the place of one of an earlier file.
fn pair(pairs: &mut Vec<Entry>, name: &str, value: &str, place: &Place) {
    pairs.retain(|entry| entry.key != name);
    let value = Node::text_at(place, value);
    pairs.push(Entry { key: name.into(), key_place: place.clone(), value });
}

/// Puts pairs below those that are written.
fn below(service: &mut Node, key: &str, pairs: Vec<Entry>, place: &Place) {
    if pairs.is_empty() {
        return;
    }
    if service.get(key).is_none() {
        service.put(key, Node::mapping_at(place, []));
    }
    let Some(entries) = service.get_mut(key).and_then(Node::entries_mut) else {
        return;
    };
    for pair in pairs {
        if entries.iter().all(|entry| entry.key != pair.key) {
            entries.push(pair);
        }
    }
}

/// Dependencies that other keys imply.
fn dependencies(service: &mut Node) {
    let mut implied: Vec<(String, Place, bool)> = Vec::new();
    for link in service.get("links").map(Node::items).unwrap_or_default() {
        let text = link.as_text().unwrap_or_default();
        let name = text.split_once(':').map_or(text, |(name, _)| name);
        implied.push((name.to_owned(), link.place.clone(), true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let mode = service.get(key).and_then(|node| Some((node.as_text()?, &node.place)));
        if let Some((text, place)) = mode
            && let Some(name) = text.strip_prefix("service:")
        {
            implied.push((name.to_owned(), place.clone(), true));
        }
    }
    for from in service.get("volumes_from").map(Node::items).unwrap_or_default() {
        let text = from.as_text().unwrap_or_default();
        if !text.starts_with("container:") {
            let name = text.split_once(':').map_or(text, |(name, _)| name);
            implied.push((name.to_owned(), from.place.clone(), false));
        }
    }
    if implied.is_empty() {
        return;
    }
    if service.get("depends_on").is_none() {
        let place = service.place.clone();
        service.put("depends_on", Node::mapping_at(&place, []));
    }
    let Some(dependencies) = service.get_mut("depends_on") else {
        return;
    };
    for (name, place, restarts) in implied {
        if dependencies.get(&name).is_none() {
            dependencies.put(&name, canonical::dependency(&place, restarts));
        }
    }
}

/// `scale` is also the number of `deploy`, where there is one.
fn replicas(service: &mut Node) {
    let Some(scale) = service.get("scale").cloned() else {
        return;
    };
    if let Some(deploy) = service.get_mut("deploy")
        && deploy.get("replicas").is_none()
    {
        deploy.put("replicas", scale);
    }
}

/// The network that services are on which say nothing.
fn default_network(root: &mut Node) {
    let is_used = |service: &Entry| service.value.at(&["networks", "default"]).is_some();
    let services = root.get("services").map(Node::entries).unwrap_or_default();
    if root.at(&["networks", "default"]).is_some() || !services.iter().any(is_used) {
        return;
    }
    let place = root.place.clone();
    if root.get("networks").is_none() {
        root.put("networks", Node::mapping_at(&place, []));
    }
    if let Some(networks) = root.get_mut("networks") {
        networks.put("default", Node::mapping_at(&place, []));
    }
}

/// Takes away what no service uses, as Compose does before it does anything.
pub(crate) fn without_unused(root: &mut Node) {
    let services = root.get("services").map(Node::entries).unwrap_or_default();
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for service in services {
        let service = &service.value;
        let mut use_of = |kind: &'static str, names: Vec<Option<&str>>| {
            let names = names.into_iter().flatten().map(str::to_owned);
            used.entry(kind).or_default().extend(names);
        };
        let keys = |key: &str| -> Vec<Option<&str>> {
            let entries = service.get(key).map(Node::entries).unwrap_or_default();
            entries.iter().map(|entry| Some(entry.key.as_str())).collect()
        };
        let sources = |path: &[&str]| -> Vec<Option<&str>> {
            let items = service.at(path).map(Node::items).unwrap_or_default();
            items.iter().map(|item| item.get("source").and_then(Node::as_text)).collect()
        };
        use_of("networks", keys("networks"));
        use_of("models", keys("models"));
        use_of("volumes", sources(&["volumes"]));
        use_of("secrets", sources(&["secrets"]));
        use_of("secrets", sources(&["build", "secrets"]));
        use_of("configs", sources(&["configs"]));
        use_of("configs", vec![service.at(&["credential_spec", "config"]).and_then(Node::as_text)]);
    }
    for (kind, used) in used {
        if let Some(entries) = root.get_mut(kind).and_then(Node::entries_mut) {
            entries
                .retain(|entry| used.contains(entry.key.as_str()) || entry.key.starts_with("x-"));
            if entries.is_empty() {
                root.take(kind);
            }
        }
    }
}
