//! Where everything is in the store. Every key begins with `/brickyard/v1/`; the number is the
//! layout's version.

use brickyard_core::Generation;
use brickyard_engine::EnvironmentKey;
use brickyard_plan::Place;

/// Beginning of all environments' keys.
pub(crate) const ENVIRONMENTS: &str = "/brickyard/v1/env/";

/// Beginning of the journal.
pub(crate) const JOURNAL: &str = "/brickyard/v1/journal/";

/// Beginning of an environment's keys.
pub(crate) fn environment(key: &EnvironmentKey) -> String {
    format!("{ENVIRONMENTS}{}/{}/", key.system, key.environment)
}

/// What an environment should be.
pub(crate) fn wanted(key: &EnvironmentKey) -> String {
    format!("{}wanted", environment(key))
}

/// The highest generation that was ever given out. It is written with every change of records, so
/// its revision is that of them all.
pub(crate) fn issued(key: &EnvironmentKey) -> String {
    format!("{}issued", environment(key))
}

/// Beginning of an environment's records.
pub(crate) fn records(key: &EnvironmentKey) -> String {
    format!("{}instance/", environment(key))
}

/// A generation's record.
pub(crate) fn record(key: &EnvironmentKey, place: &Place, generation: Generation) -> String {
    format!("{}{}/{:06}/{:012}", records(key), place.service, place.slot.0, generation.0)
}

/// Beginning of an environment's configuration; the rest of a key is the configuration key.
pub(crate) fn config(key: &EnvironmentKey) -> String {
    format!("{}config", environment(key))
}

/// Written with every change of configuration or registrations, so that its revision is that of
/// them all; the value says nothing.
pub(crate) fn data(key: &EnvironmentKey) -> String {
    format!("{}data", environment(key))
}

/// Beginning of what was registered at run time.
pub(crate) fn registered(key: &EnvironmentKey) -> String {
    format!("{}registered/", environment(key))
}

/// A deploy with its plan.
pub(crate) fn deploy(key: &EnvironmentKey, number: u64) -> String {
    format!("{}deploy/{number:08}", environment(key))
}

/// An event.
pub(crate) fn event(cursor: u64) -> String {
    format!("{JOURNAL}{cursor:020}")
}

/// The environment that a key belongs to.
pub(crate) fn environment_of(key: &str) -> Option<EnvironmentKey> {
    let mut parts = key.strip_prefix(ENVIRONMENTS)?.split('/');
    let system = parts.next()?.parse().ok()?;
    let environment = parts.next()?.parse().ok()?;
    Some(EnvironmentKey { system, environment })
}
