//! What a file implies: endpoints from `expose` and `ports`, lines from `links` and `depends_on`,
//! and the endpoint of a need whose target has only one.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::diagnostic::nearest;
use brickyard_core::{Alias, Diagnostic, Diagnostics, EndpointName, LineTarget, ServiceName};

use crate::codes;
use crate::decode::{Draft, Need, Spot};
use crate::findings::AtPlace;
use crate::tree::Place;
use crate::types::{Endpoint, Line, OnChange, System};

/// Fills in what is implied and returns the finished system.
pub(crate) fn derive(
    draft: Draft,
    places: &BTreeMap<Spot, Place>,
    diagnostics: &mut Diagnostics,
) -> System {
    let Draft { mut system, wishes } = draft;
    for (name, wish) in &wishes {
        let Some(service) = system.services.get_mut(name) else {
            continue;
        };
        let published = service.ports.iter().map(|port| port.target);
        let ports: Vec<u16> = wish.expose.iter().copied().chain(published).collect();
        let mut known: BTreeSet<u16> = service.provides.values().map(|known| known.port).collect();
        for port in ports {
            if known.insert(port) {
                add_endpoint(&mut service.provides, port);
            }
        }
    }
    for (name, wish) in wishes {
        let mut needs = BTreeMap::new();
        for need in wish.needs {
            let spot = Spot::Need(name.clone(), need.alias.clone());
            let place = places.get(&spot);
            match settle(&system, &need) {
                Ok(endpoint) => {
                    let line = Line {
                        to: LineTarget { endpoint: Some(endpoint), ..need.to },
                        on_change: need.on_change,
                        derived: false,
                    };
                    needs.insert(need.alias, line);
                }
                Err(found) => diagnostics.push(at(*found, place)),
            }
        }
        implied_lines(&system, &name, &wish.links, &mut needs);
        if let Some(service) = system.services.get_mut(&name) {
            service.needs = needs;
        }
    }
    system
}

fn at(found: Diagnostic, place: Option<&Place>) -> Diagnostic {
    match place {
        Some(place) => found.at_place(place, ""),
        None => found,
    }
}

fn add_endpoint(provides: &mut BTreeMap<EndpointName, Endpoint>, port: u16) {
    let name = EndpointName::new(port.to_string()).expect("a number is an endpoint name");
    let endpoint = Endpoint { port, protocol: "tcp".to_owned(), health: None };
    provides.entry(name).or_insert(endpoint);
}

/// Endpoint names of a service or an external box.
fn endpoints<'a>(system: &'a System, target: &ServiceName) -> Option<Vec<&'a EndpointName>> {
    if let Some(service) = system.services.get(target) {
        return Some(service.provides.keys().collect());
    }
    let external = system.external.get(target)?;
    Some(external.keys().collect())
}

/// The endpoint that a need means.
fn settle(system: &System, need: &Need) -> Result<EndpointName, Box<Diagnostic>> {
    let target = &need.to.service;
    let Some(known) = endpoints(system, target) else {
        let names = system.services.keys().chain(system.external.keys());
        let message =
            format!("the need `{}` leads to `{target}`, which is not defined", need.alias);
        let mut found = Diagnostic::error(codes::UNDEFINED, message);
        if let Some(name) = nearest(target.as_str(), names.map(ServiceName::as_str)) {
            found = found.hint(format!("`{name}` exists; did you mean that?"));
        }
        return Err(Box::new(found));
    };
    let list = || {
        let names: Vec<String> = known.iter().map(|name| format!("`{target}/{name}`")).collect();
        names.join(", ")
    };
    match (&need.to.endpoint, known.as_slice()) {
        (Some(wanted), _) if known.contains(&wanted) => Ok(wanted.clone()),
        (None, [only]) => Ok((*only).clone()),
        (_, []) => {
            let message = format!("`{target}` provides no endpoint");
            let found = Diagnostic::error(codes::AMBIGUOUS_ENDPOINT, message)
                .hint(format!("add `provides: {{NAME: PORT}}` to `{target}`'s x-brickyard"));
            Err(Box::new(found))
        }
        (None, _) => {
            let message = format!("`{target}` provides more than one endpoint");
            let found = Diagnostic::error(codes::AMBIGUOUS_ENDPOINT, message)
                .hint(format!("say which one: {}", list()));
            Err(Box::new(found))
        }
        (Some(wanted), _) => {
            let message = format!("`{target}` provides no endpoint `{wanted}`");
            let found = Diagnostic::error(codes::UNDEFINED, message)
                .hint(format!("it provides {}", list()));
            Err(Box::new(found))
        }
    }
}

/// Adds the lines of `links` and then those of `depends_on` that lead to no known neighbour yet.
fn implied_lines(
    system: &System,
    name: &ServiceName,
    links: &[(Alias, ServiceName)],
    needs: &mut BTreeMap<Alias, Line>,
) {
    let Some(service) = system.services.get(name) else {
        return;
    };
    let dependencies = service.depends_on.keys().filter_map(|other| {
        let alias = Alias::new(other.as_str()).ok()?;
        Some((alias, other.clone(), false))
    });
    let links = links.iter().cloned();
    let links = links.map(|(alias, other)| (alias, other, true));
    for (alias, other, is_link) in links.chain(dependencies) {
        let by_name = alias.as_str() == other.as_str();
        // A link is as good as written: only a need makes it superfluous, not another link.
        let known =
            needs.values().any(|line| line.to.service == other && !(is_link && line.derived));
        if needs.contains_key(&alias) || (by_name && known) {
            continue;
        }
        let Some(endpoints) = endpoints(system, &other) else {
            continue;
        };
        let endpoint = match endpoints.as_slice() {
            [only] => Some((*only).clone()),
            _ => None,
        };
        let restarts = service.depends_on.get(&other).is_some_and(|on| on.restart);
        let line = Line {
            to: LineTarget { elsewhere: None, service: other, endpoint },
            // A link, too, is a dependency that restarts, and only by hand.
            on_change: if restarts && !is_link { OnChange::Restart } else { OnChange::Auto },
            derived: true,
        };
        needs.insert(alias, line);
    }
}
