//! Services, instances and counts as people type them.

use std::collections::BTreeMap;

use brickyard_api::{EnvironmentView, InstanceView, TargetSlots};
use brickyard_core::diagnostic::nearest;
use brickyard_core::{Address, ServiceName, Slot};
use brickyard_engine::EnvironmentKey;
use brickyard_model::System;

use crate::error::CommandError;

/// `SERVICE=COUNT` pairs.
pub(crate) fn counts(pairs: &[String]) -> Result<BTreeMap<ServiceName, u32>, CommandError> {
    pairs
        .iter()
        .map(|pair| {
            let bad = || CommandError::usage(format!("`{pair}` is not SERVICE=COUNT"));
            let (name, count) = pair.split_once('=').ok_or_else(bad)?;
            let name = name.parse().map_err(|err| CommandError::usage(format!("{err}")))?;
            Ok((name, count.parse().map_err(|_| bad())?))
        })
        .collect()
}

/// Fails with the nearest name when the model has no such service.
pub(crate) fn require(system: &System, name: &ServiceName) -> Result<(), CommandError> {
    if system.services.contains_key(name) {
        return Ok(());
    }
    let err = CommandError::not_found(format!("there is no service `{name}`"));
    Err(match nearest(name.as_str(), system.services.keys().map(ServiceName::as_str)) {
        Some(near) => err.hint(format!("did you mean `{near}`?")),
        None => err,
    })
}

/// Addresses of services and instances; none means all services of the view.
pub(crate) fn slots(
    key: &EnvironmentKey,
    view: &EnvironmentView,
    texts: &[String],
) -> Result<Vec<TargetSlots>, CommandError> {
    if texts.is_empty() {
        let mut services: Vec<ServiceName> =
            view.instances.iter().map(|instance| instance.service.clone()).collect();
        services.sort();
        services.dedup();
        let all = services.into_iter().map(|service| TargetSlots { service, slot: None });
        return Ok(all.collect());
    }
    texts.iter().map(|text| slot(key, text)).collect()
}

fn slot(key: &EnvironmentKey, text: &str) -> Result<TargetSlots, CommandError> {
    let here = Address::environment(&key.system, &key.environment);
    let address =
        Address::parse_in(&here, text).map_err(|err| CommandError::usage(err.to_string()))?;
    if !here.contains(&address) {
        return Err(CommandError::usage(format!("`{text}` is not in {here}"))
            .hint("choose the environment with -E and the system with -p"));
    }
    let service =
        address.service.ok_or_else(|| CommandError::usage(format!("`{text}` names no service")))?;
    Ok(TargetSlots { service, slot: address.slot })
}

/// The newest generation of the instance that `text` names; the first running one of a service.
pub(crate) fn instance<'a>(
    key: &EnvironmentKey,
    view: &'a EnvironmentView,
    text: &str,
) -> Result<&'a InstanceView, CommandError> {
    let wanted = slot(key, text)?;
    let matching = view.instances.iter().filter(|instance| {
        instance.service == wanted.service
            && wanted.slot.is_none_or(|slot: Slot| instance.instance == slot)
    });
    let best = matching.max_by_key(|instance| {
        (instance.state == "running", std::cmp::Reverse(instance.instance), instance.generation)
    });
    best.ok_or_else(|| {
        let known = view.instances.iter().map(|instance| instance.service.as_str());
        let err = CommandError::not_found(format!("there is no instance `{text}`"));
        match nearest(wanted.service.as_str(), known) {
            Some(near) if near != wanted.service.as_str() => {
                err.hint(format!("did you mean `{near}`?"))
            }
            _ => err,
        }
    })
}
