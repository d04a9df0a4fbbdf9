//! A system as boxes and lines, and three ways to draw it: as [`text`] for a terminal, as [`dot`] for
//! Graphviz, and as [`svg`] for people. Pure: a drawing depends on the model alone.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::ServiceName;
use brickyard_core::spec::MountKind;
use brickyard_model::System;
use brickyard_model::types::{Condition, Line as ModelLine, OnChange, PublishedPort, Service};
use serde::Serialize;

pub mod dot;
pub mod layout;
pub mod svg;
pub mod text;

/// Boxes and the lines between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagram {
    /// The system's name.
    pub name: String,
    /// Services, external boxes, volumes, each kind by name.
    pub nodes: Vec<Node>,
    /// Lines by the box where they begin.
    pub lines: Vec<Line>,
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its name; boxes of different kinds may have the same.
    pub name: String,
    /// A service's image.
    pub image: Option<String>,
    /// How many instances a service has.
    pub replicas: u32,
    /// What lines can lead to.
    pub endpoints: Vec<Endpoint>,
}

/// What a box is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A service.
    Service,
    /// What Brickyard does not run.
    External,
    /// A named volume.
    Volume,
}

/// A named port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Its port, or host and port of an external one; empty where the name is the port.
    pub address: String,
    /// The ports of the host that lead to it, as `ADDRESS:PORT` or `:PORT`.
    pub published: Vec<String>,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Index of the box where it begins.
    pub from: usize,
    /// Index of the box where it ends.
    pub to: usize,
    /// Index of the endpoint at its end.
    pub endpoint: Option<usize>,
    /// What it is.
    pub kind: LineKind,
    /// By which name the one end knows the other, where it is not the other's own; for a volume, where
    /// it is seen.
    pub alias: Option<String>,
    /// What is to be known beyond that, as a few words.
    pub notes: Vec<&'static str>,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// A need.
    Need,
    /// It was derived from `depends_on` or `links`.
    Derived,
    /// A volume is seen in a service.
    Mount,
}

impl Diagram {
    /// The boxes and lines of a system; with names, only those of these services and of what they lead
    /// to, directly or not.
    #[must_use]
    pub fn of(system: &System, only: &[ServiceName]) -> Self {
        let shown = reachable(system, only);
        let is_shown = |name: &ServiceName| shown.as_ref().is_none_or(|shown| shown.contains(name));
        let services = system.services.iter().filter(|(name, _)| is_shown(name));
        let external = system.external.iter().filter(|(name, _)| is_shown(name));
        let mut nodes: Vec<Node> = services.clone().map(|(name, one)| service(name, one)).collect();
        nodes.extend(external.map(|(name, endpoints)| {
            let endpoints = endpoints.iter().map(|(name, to)| Endpoint {
                name: name.to_string(),
                address: to.to_string(),
                published: Vec::new(),
            });
            Node {
                kind: Kind::External,
                name: name.to_string(),
                image: None,
                replicas: 1,
                endpoints: endpoints.collect(),
            }
        }));
        // A service and an external box of one name are refused before.
        let places: BTreeMap<String, usize> =
            nodes.iter().enumerate().map(|(place, node)| (node.name.clone(), place)).collect();
        let mut lines = Vec::new();
        let mut volumes: BTreeMap<&str, Vec<(usize, String, bool)>> = BTreeMap::new();
        for (from, (_, service)) in services.enumerate() {
            for (alias, line) in &service.needs {
                if let Some(to) = places.get(line.to.service.as_str()) {
                    lines.push(need(&nodes, (from, *to), alias.as_str(), line, service));
                }
            }
            for mount in &service.mounts {
                if let MountKind::Volume { name } = &mount.kind {
                    let mounts = volumes.entry(name.as_str()).or_default();
                    mounts.push((from, mount.target.to_string(), mount.read_only));
                }
            }
        }
        for (name, mounts) in volumes {
            let to = nodes.len();
            nodes.push(Node {
                kind: Kind::Volume,
                name: name.to_owned(),
                image: None,
                replicas: 1,
                endpoints: Vec::new(),
            });
            lines.extend(mounts.into_iter().map(|(from, target, read_only)| Line {
                from,
                to,
                endpoint: None,
                kind: LineKind::Mount,
                alias: Some(target),
                notes: if read_only { vec!["read-only"] } else { Vec::new() },
            }));
        }
        lines.sort_by_key(|line| (line.from, line.to, line.endpoint));
        Self { name: system.name.to_string(), nodes, lines }
    }
}

/// Some services and what their lines lead to; none when all are meant.
fn reachable(system: &System, only: &[ServiceName]) -> Option<BTreeSet<ServiceName>> {
    if only.is_empty() {
        return None;
    }
    let mut shown = BTreeSet::new();
    let mut waiting = only.to_vec();
    while let Some(name) = waiting.pop() {
        if let Some(service) = system.services.get(&name)
            && !shown.contains(&name)
        {
            waiting.extend(service.needs.values().map(|line| line.to.service.clone()));
        }
        shown.insert(name);
    }
    Some(shown)
}

fn service(name: &ServiceName, service: &Service) -> Node {
    let mut ports: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for port in &service.ports {
        ports.entry(port.target).or_default().push(published(port));
    }
    let endpoints = service.provides.iter().map(|(name, endpoint)| {
        let number = endpoint.port.to_string();
        Endpoint {
            name: name.to_string(),
            address: if name.as_str() == number { String::new() } else { number },
            published: ports.get(&endpoint.port).cloned().unwrap_or_default(),
        }
    });
    Node {
        kind: Kind::Service,
        name: name.to_string(),
        image: service.image.clone(),
        replicas: service.replicas,
        endpoints: endpoints.collect(),
    }
}

fn published(port: &PublishedPort) -> String {
    let number = port.published.map_or_else(|| "any".to_owned(), |number| number.to_string());
    match port.host_ip {
        Some(address) if address.is_ipv6() => format!("[{address}]:{number}"),
        Some(address) => format!("{address}:{number}"),
        None => format!(":{number}"),
    }
}

/// The line of a need.
fn need(
    nodes: &[Node],
    (from, to): (usize, usize),
    alias: &str,
    line: &ModelLine,
    service: &Service,
) -> Line {
    let target = line.to.service.as_str();
    let endpoint = line.to.endpoint.as_ref().and_then(|wanted| {
        nodes[to].endpoints.iter().position(|endpoint| endpoint.name == wanted.as_str())
    });
    let condition = service.depends_on.get(&line.to.service).map(|on| on.condition);
    let waits = match condition {
        Some(Condition::ServiceHealthy) => Some("healthy first"),
        Some(Condition::ServiceCompletedSuccessfully) => Some("completed first"),
        Some(Condition::ServiceStarted) | None => None,
    };
    let follows = match line.on_change {
        OnChange::Auto => None,
        OnChange::Reload => Some("reloads on change"),
        OnChange::Restart => Some("restarts on change"),
        OnChange::Ignore => Some("ignores changes"),
    };
    Line {
        from,
        to,
        endpoint,
        kind: if line.derived { LineKind::Derived } else { LineKind::Need },
        alias: (alias != target).then(|| alias.to_owned()),
        notes: waits.into_iter().chain(follows).collect(),
    }
}

impl Node {
    /// What a line to it is called: the box, and the endpoint where it has a name of its own.
    fn target(&self, endpoint: Option<usize>) -> String {
        match endpoint {
            Some(endpoint) => format!("{}/{}", self.name, self.endpoints[endpoint].name),
            None => self.name.clone(),
        }
    }
}

impl Endpoint {
    /// Its name, and its address where that says more.
    fn shown(&self) -> String {
        match self.address.is_empty() {
            true => self.name.clone(),
            false => format!("{} {}", self.name, self.address),
        }
    }
}

impl Diagram {
    /// A line as a phrase: `db/postgres as main`.
    fn phrase(&self, line: &Line) -> String {
        let node = &self.nodes[line.to];
        let mut phrase = node.target(line.endpoint);
        match (&line.alias, line.kind) {
            (Some(target), LineKind::Mount) => phrase = format!("{phrase} at {target}"),
            (Some(alias), _) => phrase = format!("{phrase} as {alias}"),
            (None, _) => {}
        }
        if !line.notes.is_empty() {
            phrase = format!("{phrase} ({})", line.notes.join(", "));
        }
        phrase
    }
}
