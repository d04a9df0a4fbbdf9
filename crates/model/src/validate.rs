//! Rules that need the whole system: names exist, starts are not circular, nothing collides.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::diagnostic::nearest;
use brickyard_core::{Diagnostic, Diagnostics, ServiceName};

use crate::codes;
use crate::decode::Spot;
use crate::findings::AtPlace;
use crate::graph;
use crate::tree::Place;
use crate::types::{PublishedPort, System};

/// Checks the system. Dependencies that need not exist and do not are removed.
pub(crate) fn validate(
    system: &mut System,
    disabled: &BTreeMap<String, Vec<String>>,
    places: &BTreeMap<Spot, Place>,
    diagnostics: &mut Diagnostics,
) {
    let mut check = Check { places, diagnostics };
    check.dependencies(system, disabled);
    check.start_cycles(system);
    check.templates(system);
    check.externals(system);
}

/// Finds ports of the host that two services publish: one of them could not be run beside the other.
pub(crate) fn published_ports(
    system: &System,
    places: &BTreeMap<Spot, Place>,
    diagnostics: &mut Diagnostics,
) {
    Check { places, diagnostics }.published_ports(system);
}

struct Check<'a> {
    places: &'a BTreeMap<Spot, Place>,
    diagnostics: &'a mut Diagnostics,
}

impl Check<'_> {
    fn add(&mut self, found: Diagnostic, spots: &[(Spot, &str)]) {
        let mut found = found;
        for (spot, text) in spots {
            if let Some(place) = self.places.get(spot) {
                found = found.at_place(place, *text);
            }
        }
        self.diagnostics.push(found);
    }

    /// Services that no profile enables are left out: who depends on them has been told.
    fn dependencies(&mut self, system: &mut System, disabled: &BTreeMap<String, Vec<String>>) {
        let known: BTreeSet<ServiceName> = system.services.keys().cloned().collect();
        for (name, service) in &mut system.services {
            service.depends_on.retain(|other, dependency| {
                if known.contains(other) {
                    return true;
                }
                if disabled.contains_key(other.as_str()) {
                    return false;
                }
                let message =
                    format!("service `{name}` depends on `{other}`, which is not defined");
                let mut found = match dependency.required {
                    true => Diagnostic::error(codes::UNDEFINED, message),
                    false => Diagnostic::warning(codes::UNDEFINED, message),
                };
                if let Some(near) = nearest(other.as_str(), known.iter().map(ServiceName::as_str)) {
                    let hint = format!("a service named `{near}` exists; did you mean that?");
                    found = found.hint(hint);
                }
                self.add(found, &[(Spot::Dependency(name.clone(), other.clone()), "")]);
                false
            });
        }
    }

    fn start_cycles(&mut self, system: &System) {
        for cycle in graph::start_cycles(system) {
            let mut shown: Vec<String> = cycle.iter().map(|name| format!("`{name}`")).collect();
            shown.push(shown[0].clone());
            let message = format!("services wait for each other's start: {}", shown.join(" -> "));
            let spots: Vec<_> = cycle
                .iter()
                .zip(cycle.iter().cycle().skip(1))
                .map(|(name, next)| (Spot::Dependency(name.clone(), next.clone()), ""))
                .collect();
            let found = Diagnostic::error(codes::START_CYCLE, message)
                .hint("break the circle, or use `needs`, which may be circular");
            self.add(found, &spots);
        }
    }

    fn published_ports(&mut self, system: &System) {
        let mut seen: BTreeMap<u16, Vec<(&PublishedPort, Spot)>> = BTreeMap::new();
        for (name, service) in &system.services {
            for (index, port) in service.ports.iter().enumerate() {
                // One that gets any free port collides with none.
                let Some(published) = port.published else {
                    continue;
                };
                let spot = Spot::Port(name.clone(), index);
                let seen = seen.entry(published).or_default();
                if let Some((_, first)) = seen.iter().find(|(other, _)| collide(port, other)) {
                    let message = format!("the host port {published} is published twice");
                    let found = Diagnostic::error(codes::CONFLICT, message);
                    let spots = [(spot.clone(), "again here"), (first.clone(), "first here")];
                    self.add(found, &spots);
                }
                seen.push((port, spot));
            }
        }
    }

    fn templates(&mut self, system: &System) {
        for (name, service) in &system.services {
            let mut seen = BTreeMap::new();
            for (index, template) in service.templates.iter().enumerate() {
                let spot = Spot::Template(name.clone(), index);
                if let Some(first) = seen.insert(&template.dest, spot.clone()) {
                    let message = format!("two templates of `{name}` write `{}`", template.dest);
                    let found = Diagnostic::error(codes::CONFLICT, message);
                    self.add(found, &[(spot, "again here"), (first, "first here")]);
                }
            }
        }
    }

    fn externals(&mut self, system: &System) {
        for name in system.external.keys() {
            if system.services.contains_key(name) {
                let message = format!("`{name}` is a service and an external box at once");
                let found = Diagnostic::error(codes::CONFLICT, message);
                self.add(found, &[(Spot::Service(name.clone()), "")]);
            }
        }
    }
}

/// Whether the host cannot listen for both, which have the same number.
fn collide(one: &PublishedPort, other: &PublishedPort) -> bool {
    let everywhere = |port: &PublishedPort| port.host_ip.is_none_or(|ip| ip.is_unspecified());
    one.transport == other.transport
        && (one.host_ip == other.host_ip || everywhere(one) || everywhere(other))
}
