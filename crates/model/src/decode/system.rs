//! The top level of a Compose file.

use std::collections::BTreeMap;

use brickyard_core::{Diagnostic, ServiceName, SystemName, VolumeName};

use super::{Decoder, Draft, Wishes, brickyard, service};
use crate::codes;
use crate::spec_keys;
use crate::tree::{Entry, Kind, Node};
use crate::types::{Service, System};

/// Decodes a whole file. `name` has been settled by the caller.
pub(crate) fn system(d: &mut Decoder<'_>, root: &Node, name: SystemName) -> Draft {
    let mut services = BTreeMap::new();
    let mut wishes = BTreeMap::new();
    let mut volumes = Vec::new();
    let mut extension = brickyard::TopLevel::default();
    for entry in d.entries(root, "a Compose file") {
        match entry.key.as_str() {
            "version" => {
                let message = "`version` is obsolete and has no effect";
                let found = Diagnostic::warning(codes::NO_EFFECT, message).hint("remove it");
                d.report(found, &entry.key_place);
            }
            "services" => {
                for entry in d.entries(&entry.value, "`services`") {
                    if let Some((name, service, wish)) = one_service(d, entry) {
                        wishes.insert(name.clone(), wish);
                        services.insert(name, service);
                    }
                }
            }
            "volumes" => volumes = named_volumes(d, &entry.value),
            "x-brickyard" => extension = brickyard::top_level(d, &entry.value),
            _ => d.unknown_key(entry, spec_keys::TOP, "the top level"),
        }
    }
    if root.get("services").is_none() && matches!(root.kind, Kind::Mapping(_)) {
        let found = Diagnostic::error(codes::MISSING_KEY, "the file has no `services`");
        let start = root.place.span.start;
        let place = crate::tree::Place { source: root.place.source.clone(), span: start..start };
        d.report(found, &place);
    }
    let system =
        System { name, services, volumes, config: extension.config, external: extension.external };
    Draft { system, wishes }
}

fn one_service(d: &mut Decoder<'_>, entry: &Entry) -> Option<(ServiceName, Service, Wishes)> {
    if entry.key.starts_with("x-") {
        return None;
    }
    let name: ServiceName = d.name(&entry.key, &entry.key_place)?;
    let spot = super::Spot::Service(name.clone());
    d.places.insert(spot, entry.key_place.clone());
    let (service, wishes) = service::service(d, &name, &entry.value);
    Some((name, service, wishes))
}

fn named_volumes(d: &mut Decoder<'_>, node: &Node) -> Vec<VolumeName> {
    let mut names = Vec::new();
    for entry in d.entries(node, "`volumes`") {
        if entry.key.starts_with("x-") {
            continue;
        }
        let within = format!("volume `{}`", entry.key);
        for option in d.entries(&entry.value, &within) {
            d.unknown_key(option, spec_keys::VOLUME, &within);
        }
        names.extend(d.name::<VolumeName>(&entry.key, &entry.key_place));
    }
    names.sort();
    names
}
