//! What keys of a model mean to each other, so that a model which Compose refuses is refused.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::diagnostic::nearest;
use brickyard_core::{Code, Diagnostic, Diagnostics};

use crate::codes;
use crate::findings::AtPlace;
use crate::tree::{Entry, Node, Place};

/// Checks a model whose services are those that are enabled; `disabled` has the profiles of others.
pub(crate) fn check(
    root: &Node,
    disabled: &BTreeMap<String, Vec<String>>,
    diagnostics: &mut Diagnostics,
) {
    let names = |kind| {
        let entries = root.get(kind).map(Node::entries).unwrap_or_default();
        (kind, entries.iter().map(|entry| entry.key.as_str()).collect())
    };
    let kinds = ["networks", "volumes", "secrets", "configs", "models"];
    let declared = kinds.into_iter().map(names).collect();
    let mut check = Check { root, declared, disabled, diagnostics };
    for service in root.get("services").map(Node::entries).unwrap_or_default() {
        check.service(service);
    }
    for kind in ["networks", "volumes"] {
        check.externals(kind);
    }
    check.files("secrets", &["file", "environment", "external"]);
    check.files("configs", &["file", "environment", "content", "external"]);
}

struct Check<'a> {
    root: &'a Node,
    /// What the top level declares, by its kind.
    declared: BTreeMap<&'static str, BTreeSet<&'a str>>,
    disabled: &'a BTreeMap<String, Vec<String>>,
    diagnostics: &'a mut Diagnostics,
}

impl Check<'_> {
    fn add(&mut self, found: Diagnostic, places: &[&Place]) {
        let found = places.iter().fold(found, |found, place| found.at_place(place, ""));
        self.diagnostics.push(found);
    }

    fn error(&mut self, code: Code, message: String, places: &[&Place]) {
        self.add(Diagnostic::error(code, message), places);
    }

    fn service(&mut self, entry: &Entry) {
        let (name, service) = (entry.key.as_str(), &entry.value);
        let has = |key: &str| service.get(key).is_some();
        let is_named = service.get("image").is_some_and(|image| image.as_text() != Some(""));
        if !is_named && !has("build") && !has("provider") {
            let message = format!("service `{name}` has neither `image` nor `build`");
            self.error(codes::MISSING_KEY, message, &[&entry.key_place]);
        }
        for (keys, path) in [
            (("network_mode", "networks"), [].as_slice()),
            (("dockerfile", "dockerfile_inline"), ["build"].as_slice()),
        ] {
            let at = |key: &str| service.at(path).and_then(|node| node.get(key));
            if let (Some(one), Some(other)) = (at(keys.0), at(keys.1)) {
                let message = format!("`{}` and `{}` exclude each other", keys.0, keys.1);
                self.error(codes::CONFLICT, message, &[&one.place, &other.place]);
            }
        }
        self.one_name(name, service);
        self.dependencies(name, service);
        self.modes(name, service);
        for kind in ["networks", "models"] {
            for used in service.get(kind).map(Node::entries).unwrap_or_default() {
                self.defined(name, kind, &used.key, &used.key_place);
            }
        }
        for (kind, path) in [
            ("secrets", ["secrets"].as_slice()),
            ("secrets", ["build", "secrets"].as_slice()),
            ("configs", ["configs"].as_slice()),
        ] {
            for used in service.at(path).map(Node::items).unwrap_or_default() {
                match used.get("source").and_then(Node::as_text) {
                    Some(source) => self.defined(name, kind, source, &used.place),
                    None => {
                        let message = format!("an item of `{kind}` has no `source`");
                        self.error(codes::MISSING_KEY, message, &[&used.place]);
                    }
                }
            }
        }
        self.mounts(name, service);
        self.platforms(service);
        self.devices(service);
        self.watch(service);
    }

    fn one_name(&mut self, name: &str, service: &Node) {
        let count = service.at(&["deploy", "replicas"]).or_else(|| service.get("scale"));
        let number = count.and_then(Node::as_text).and_then(|text| text.parse::<i64>().ok());
        if let (Some(own), Some(count)) = (service.get("container_name"), count)
            && number.is_some_and(|number| number > 1)
        {
            let message =
                format!("service `{name}` has one `container_name` for several instances");
            self.error(codes::CONFLICT, message, &[&own.place, &count.place]);
        }
    }

    /// Dependencies on services that are there but not enabled.
    fn dependencies(&mut self, name: &str, service: &Node) {
        for on in service.get("depends_on").map(Node::entries).unwrap_or_default() {
            let is_required = on.value.get("required").and_then(Node::as_text) != Some("false");
            let Some(profiles) = self.disabled.get(on.key.as_str()).filter(|_| is_required) else {
                continue;
            };
            let message =
                format!("service `{name}` depends on `{}`, which no profile enables", on.key);
            let found = Diagnostic::error(codes::UNDEFINED, message)
                .hint(format!("`--profile {}` enables it", profiles.join("` or `--profile ")));
            self.add(found, &[&on.key_place]);
        }
    }

    /// Namespaces of other services.
    fn modes(&mut self, name: &str, service: &Node) {
        for key in ["network_mode", "ipc", "pid"] {
            let Some(mode) = service.get(key) else {
                continue;
            };
            if mode.as_text() == Some(&format!("service:{name}")) {
                let message = format!("service `{name}` shares its `{key}` with itself");
                self.error(codes::CONFLICT, message, &[&mode.place]);
            }
        }
    }

    /// A name that must be defined on the top level.
    fn defined(&mut self, service: &str, kind: &str, name: &str, place: &Place) {
        let known = &self.declared[kind];
        if known.contains(name) {
            return;
        }
        let one = kind.trim_end_matches('s');
        let message = format!("service `{service}` uses the {one} `{name}`, which is not declared");
        let near = nearest(name, known.iter().copied());
        let hint = match near {
            Some(near) => format!("a {one} named `{near}` exists; did you mean that?"),
            None => format!("declare it on the top level: `{kind}: {{{name}: {{}}}}`"),
        };
        self.add(Diagnostic::error(codes::UNDEFINED, message).hint(hint), &[place]);
    }

    fn mounts(&mut self, name: &str, service: &Node) {
        for mount in service.get("volumes").map(Node::items).unwrap_or_default() {
            let of = |key: &str| mount.get(key).and_then(Node::as_text);
            match (of("type"), of("source")) {
                (Some("volume"), Some(source)) => {
                    self.defined(name, "volumes", source, &mount.place);
                }
                (Some("bind" | "image"), None) => {
                    let message = "`source` is missing".to_owned();
                    self.error(codes::MISSING_KEY, message, &[&mount.place]);
                }
                _ => {}
            }
        }
    }

    fn platforms(&mut self, service: &Node) {
        let (Some(platform), Some(platforms)) =
            (service.get("platform"), service.at(&["build", "platforms"]))
        else {
            return;
        };
        if !platforms.items().iter().any(|item| item.as_text() == platform.as_text()) {
            let message = "`build.platforms` must have the service's `platform`".to_owned();
            self.error(codes::CONFLICT, message, &[&platforms.place, &platform.place]);
        }
    }

    fn devices(&mut self, service: &Node) {
        let reserved = ["deploy", "resources", "reservations", "devices"];
        let lists = [service.at(&reserved), service.get("gpus")];
        for device in lists.into_iter().flatten().flat_map(Node::items) {
            if let (Some(count), Some(ids)) = (device.get("count"), device.get("device_ids")) {
                let message = "`count` and `device_ids` exclude each other".to_owned();
                self.error(codes::CONFLICT, message, &[&count.place, &ids.place]);
            }
        }
        for device in service.at(&reserved).map(Node::items).unwrap_or_default() {
            if device.get("capabilities").is_none() {
                let message = "a device has no `capabilities`".to_owned();
                self.error(codes::MISSING_KEY, message, &[&device.place]);
            }
        }
    }

    fn watch(&mut self, service: &Node) {
        for watch in service.at(&["develop", "watch"]).map(Node::items).unwrap_or_default() {
            let action = watch.get("action").and_then(Node::as_text).unwrap_or_default();
            if action.starts_with("sync") && watch.get("target").is_none() {
                let message = format!("the action `{action}` needs a `target`");
                self.error(codes::MISSING_KEY, message, &[&watch.place]);
            }
            if action == "rebuild" && service.get("build").is_none() {
                let message = "the action `rebuild` needs a `build` of the service".to_owned();
                self.error(codes::MISSING_KEY, message, &[&watch.place]);
            }
        }
    }

    /// What exists already is not described.
    fn externals(&mut self, kind: &str) {
        for entry in self.root.get(kind).map(Node::entries).unwrap_or_default() {
            let Some(external) = entry.value.get("external") else {
                continue;
            };
            for other in entry.value.entries() {
                if !matches!(other.key.as_str(), "name" | "external")
                    && !other.key.starts_with("x-")
                {
                    let message = format!("`external` and `{}` exclude each other", other.key);
                    self.error(codes::CONFLICT, message, &[&other.key_place, &external.place]);
                }
            }
        }
    }

    /// A secret or config has one place where it comes from.
    fn files(&mut self, kind: &str, sources: &[&str]) {
        for entry in self.root.get(kind).map(Node::entries).unwrap_or_default() {
            let of = |key: &&str| entry.value.get(key).map(|node| (key.to_string(), node));
            let given: Vec<(String, &Node)> = sources.iter().filter_map(of).collect();
            // A driver has its own way.
            if given.is_empty() && entry.value.get("driver").is_none() {
                let one = kind.trim_end_matches('s');
                let list = sources.join("`, `");
                let message = format!("the {one} `{}` has none of `{list}`", entry.key);
                self.error(codes::MISSING_KEY, message, &[&entry.key_place]);
            }
            if let [(one, first), (other, second), ..] = &given[..] {
                let message = format!("`{one}` and `{other}` exclude each other");
                self.error(codes::CONFLICT, message, &[&first.place, &second.place]);
            }
        }
    }
}
