//! The top level of a model.

use std::collections::BTreeMap;

use brickyard_core::{ServiceName, SystemName, VolumeName};

use super::{Decoder, Draft, Spot, Wishes, brickyard, service};
use crate::tree::{Entry, Node};
use crate::types::{Service, System};

/// Decodes a whole model. `name` has been settled by the caller.
pub(crate) fn system(d: &mut Decoder<'_>, name: SystemName) -> Draft {
    let mut services = BTreeMap::new();
    let mut wishes = BTreeMap::new();
    let root = d.root;
    for entry in root.get("services").map(Node::entries).unwrap_or_default() {
        if let Some((name, service, wish)) = one_service(d, entry) {
            wishes.insert(name.clone(), wish);
            services.insert(name, service);
        }
    }
    let volumes = volumes(d, root.get("volumes").map(Node::entries).unwrap_or_default());
    networks(d, root.get("networks").map(Node::entries).unwrap_or_default());
    let extension = root.get("x-brickyard").map(|node| brickyard::top_level(d, node));
    let extension = extension.unwrap_or_default();
    let system =
        System { name, services, volumes, config: extension.config, external: extension.external };
    Draft { system, wishes }
}

fn one_service(d: &mut Decoder<'_>, entry: &Entry) -> Option<(ServiceName, Service, Wishes)> {
    let name: ServiceName = d.name(&entry.key, &entry.key_place)?;
    d.places.insert(Spot::Service(name.clone()), entry.key_place.clone());
    let (service, wishes) = service::service(d, &name, &entry.value);
    Some((name, service, wishes))
}

fn volumes(d: &mut Decoder<'_>, entries: &[Entry]) -> Vec<VolumeName> {
    let mut names = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
        let volume = &entry.value;
        if let Some(external) = volume.get("external") {
            d.unsupported("a volume from outside of the environment", &external.place);
        }
        let driver = volume.get("driver");
        if let Some(driver) = driver.filter(|driver| driver.as_text() != Some("local")) {
            d.unsupported("a driver of volumes other than `local`", &driver.place);
        }
        names.extend(d.name::<VolumeName>(&entry.key, &entry.key_place));
    }
    names.sort();
    names
}

/// What a network would be other than the environment's own.
fn networks(d: &mut Decoder<'_>, entries: &[Entry]) {
    for entry in entries {
        let network = &entry.value;
        let of = |key: &str| network.get(key).and_then(Node::as_text);
        if of("external").is_some() {
            let message = format!(
                "the network `{}` is not joined: services reach other networks through the host's",
                entry.key
            );
            d.no_effect(message, &entry.key_place);
        }
        if of("internal") == Some("true") {
            let message = format!(
                "the network `{}` is not kept from others: every service reaches the host's networks",
                entry.key
            );
            d.no_effect(message, &entry.key_place);
        }
        if let Some(driver) = of("driver").filter(|driver| !matches!(*driver, "bridge" | "default"))
        {
            let message = format!(
                "the network `{}` has no driver `{driver}`: an environment's network is a bridge",
                entry.key
            );
            d.no_effect(message, &entry.key_place);
        }
    }
}
