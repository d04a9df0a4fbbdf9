//! Services, instances and counts as people type them.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_api::{EnvironmentView, InstanceView, TargetSlots};
use brickyard_core::diagnostic::nearest;
use brickyard_core::{Address, Generation, ServiceName, Slot};
use brickyard_engine::{EnvironmentKey, InstanceId, SLOT_ONE_OFF};
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
    Err(no_such_service(name.as_str(), system.services.keys().map(ServiceName::as_str)))
}

/// The error for a service that is none of these, with the one that may have been meant.
pub(crate) fn no_such_service<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> CommandError {
    let err = CommandError::not_found(format!("there is no service `{name}`"));
    match nearest(name, known) {
        Some(near) => err.hint(format!("did you mean `{near}`?")),
        None => err,
    }
}

/// All services that one depends on or has a line to, with theirs.
pub(crate) fn dependencies(system: &System, name: &ServiceName) -> BTreeSet<ServiceName> {
    let of = |name: &ServiceName| -> Vec<ServiceName> {
        let Some(service) = system.services.get(name) else {
            return Vec::new();
        };
        let lines = service.needs.values().map(|line| line.to.service.clone());
        let all = service.depends_on.keys().cloned().chain(lines);
        all.filter(|other| system.services.contains_key(other)).collect()
    };
    let mut found = BTreeSet::new();
    let mut open = of(name);
    while let Some(other) = open.pop() {
        if other != *name && found.insert(other.clone()) {
            open.extend(of(&other));
        }
    }
    found
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

/// How engines name an instance of a view.
pub(crate) fn id(key: &EnvironmentKey, instance: &InstanceView) -> InstanceId {
    InstanceId {
        environment: key.clone(),
        service: instance.service.clone(),
        slot: instance.instance,
        generation: Generation(instance.generation),
    }
}

/// Whether an instance has processes.
pub(crate) fn is_alive(instance: &InstanceView) -> bool {
    matches!(instance.state.as_str(), "running" | "paused")
}

/// The generations that `texts` name, in the view's order; none means all. Each text must name
/// something that there is.
pub(crate) fn instances<'a>(
    key: &EnvironmentKey,
    view: &'a EnvironmentView,
    texts: &[String],
) -> Result<Vec<&'a InstanceView>, CommandError> {
    let wanted = slots(key, view, texts)?;
    let names = |target: &TargetSlots, instance: &InstanceView| {
        target.service == instance.service
            && target.slot.is_none_or(|slot| slot == instance.instance)
    };
    for (target, text) in wanted.iter().zip(texts) {
        if !view.instances.iter().any(|instance| names(target, instance)) {
            return Err(unknown(view, target, text));
        }
    }
    let all = view.instances.iter();
    Ok(all.filter(|instance| wanted.iter().any(|target| names(target, instance))).collect())
}

/// Those of [`instances`] that have processes; an instance that is named must have some.
pub(crate) fn running<'a>(
    key: &EnvironmentKey,
    view: &'a EnvironmentView,
    texts: &[String],
) -> Result<Vec<&'a InstanceView>, CommandError> {
    let found = instances(key, view, texts)?;
    let alive: Vec<_> = found.iter().copied().filter(|instance| is_alive(instance)).collect();
    match (alive.is_empty(), found.first()) {
        (true, Some(first)) if !texts.is_empty() => Err(does_not_run(first)),
        _ => Ok(alive),
    }
}

/// What [`instances`] finds, as the agent is told of it, and one-off containers, which it does not
/// know.
pub(crate) fn split<'a>(
    key: &EnvironmentKey,
    view: &'a EnvironmentView,
    texts: &[String],
) -> Result<(Vec<TargetSlots>, Vec<&'a InstanceView>), CommandError> {
    let found = instances(key, view, texts)?;
    let one_offs: Vec<_> =
        found.into_iter().filter(|instance| instance.instance == SLOT_ONE_OFF).collect();
    let mut targets = slots(key, view, texts)?;
    targets.retain(|target| !one_offs.iter().any(|instance| instance.service == target.service));
    Ok((targets, one_offs))
}

/// What `--timeout` says, in milliseconds.
pub(crate) fn grace_ms(seconds: Option<u32>) -> Option<u64> {
    seconds.map(|seconds| u64::from(seconds) * 1000)
}

/// `SERVICE/INDEX` of a service and an index that was given apart.
pub(crate) fn with_index(target: &str, index: Option<u32>) -> String {
    index.map_or_else(|| target.to_owned(), |index| format!("{target}/{index}"))
}

/// What is said of an instance that has no processes.
pub(crate) fn does_not_run(instance: &InstanceView) -> CommandError {
    let (address, state) = (&instance.address, &instance.state);
    CommandError::not_found(format!("{address} does not run: it is {state}"))
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
    best.ok_or_else(|| unknown(view, &wanted, text))
}

fn unknown(view: &EnvironmentView, wanted: &TargetSlots, text: &str) -> CommandError {
    let known: Vec<&str> = view.instances.iter().map(|i| i.service.as_str()).collect();
    let is_known = known.contains(&wanted.service.as_str());
    let what = if wanted.slot.is_some() || is_known { "instance" } else { "service" };
    let err = CommandError::not_found(format!("there is no {what} `{text}`"));
    match nearest(wanted.service.as_str(), known) {
        Some(near) if !is_known => err.hint(format!("did you mean `{near}`?")),
        _ => err,
    }
}
