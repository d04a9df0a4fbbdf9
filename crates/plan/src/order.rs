//! Who has to wait for whom.
//!
//! `depends_on` says it outright. A line says it softly: its target should be healthy first,
//! unless both stand on one cycle of lines, where nobody can be first.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::ServiceName;
use brickyard_model::types::Condition;

use crate::observed::{Observed, Record};
use crate::wanted::Wanted;

/// Edges from a service to those that it starts after.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    hard: BTreeMap<ServiceName, BTreeMap<ServiceName, Condition>>,
    soft: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
}

impl Order {
    /// Reads the edges of all services.
    #[must_use]
    pub fn of(wanted: &Wanted) -> Self {
        let mut order = Self::default();
        for (name, service) in &wanted.services {
            let hard = service.model.depends_on.iter();
            let hard = hard.filter(|(other, _)| wanted.services.contains_key(*other));
            order.hard.insert(
                name.clone(),
                hard.map(|(other, how)| (other.clone(), how.condition)).collect(),
            );
            let soft: BTreeSet<ServiceName> = service
                .model
                .needs
                .values()
                .filter(|line| !line.derived)
                .map(|line| line.to.service.clone())
                .filter(|other| wanted.services.contains_key(other))
                .collect();
            order.soft.insert(name.clone(), soft);
        }
        let reach = order.reachable();
        let meets = |a: &ServiceName, b: &ServiceName| reach.get(a).is_some_and(|r| r.contains(b));
        for (name, targets) in &mut order.soft {
            targets.retain(|target| !meets(target, name));
        }
        order
    }

    /// All services that can be reached from each one along any edge.
    fn reachable(&self) -> BTreeMap<ServiceName, BTreeSet<ServiceName>> {
        let next = |name: &ServiceName| {
            let hard = self.hard.get(name).into_iter().flat_map(BTreeMap::keys);
            hard.chain(self.soft.get(name).into_iter().flatten()).cloned().collect::<Vec<_>>()
        };
        let mut reach = BTreeMap::new();
        for name in self.hard.keys() {
            let mut seen = BTreeSet::new();
            let mut open = next(name);
            while let Some(other) = open.pop() {
                if seen.insert(other.clone()) {
                    open.extend(next(&other));
                }
            }
            reach.insert(name.clone(), seen);
        }
        reach
    }

    /// What a start of `service` still waits for; `None` when it may begin.
    #[must_use]
    pub fn waits_for(
        &self,
        wanted: &Wanted,
        observed: &Observed,
        service: &ServiceName,
    ) -> Option<String> {
        for (other, condition) in self.hard.get(service).into_iter().flatten() {
            if let Some(reason) = unmet(wanted, observed, other, *condition) {
                return Some(reason);
            }
        }
        let soft = self.soft.get(service).into_iter().flatten();
        soft.filter(|other| wanted.services.get(*other).is_some_and(|s| s.replicas > 0))
            .filter(|other| !fully_stopped(wanted, observed, other))
            .find(|other| {
                // A tier that is coming up is waited for as a whole: who starts at its first
                // instance would have to follow all the others.
                !observed.of(other).any(|r| r.is_healthy() || r.is_completed())
                    || observed.of(other).any(Record::is_rising)
            })
            .map(|other| format!("waits for `{other}` to be healthy"))
    }

    /// Services that start after `service`, and so end before it.
    pub fn dependents<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = &'a ServiceName> + 'a {
        let hard = self.hard.iter().filter(move |(_, to)| to.contains_key(service));
        let soft = self.soft.iter().filter(move |(_, to)| to.contains(service));
        hard.map(|(name, _)| name).chain(soft.map(|(name, _)| name))
    }
}

fn fully_stopped(wanted: &Wanted, observed: &Observed, service: &ServiceName) -> bool {
    let stopped = wanted.services.get(service).map(|service| &service.stopped);
    let mut records = observed.of(service).peekable();
    records.peek().is_some()
        && records.all(|record| stopped.is_some_and(|slots| slots.contains(&record.place.slot)))
}

fn unmet(
    wanted: &Wanted,
    observed: &Observed,
    other: &ServiceName,
    condition: Condition,
) -> Option<String> {
    let replicas = wanted.services.get(other)?.replicas;
    if replicas == 0 {
        return None;
    }
    let count = |sort: fn(&Record) -> bool| {
        let places: BTreeSet<_> =
            observed.of(other).filter(|r| sort(r)).map(|record| &record.place).collect();
        u32::try_from(places.len()).unwrap_or(u32::MAX)
    };
    let (met, what) = match condition {
        Condition::ServiceStarted => {
            (count(|record| record.is_running() || record.is_completed()), "to run")
        }
        Condition::ServiceHealthy => (count(Record::is_healthy), "to be healthy"),
        Condition::ServiceCompletedSuccessfully => {
            (count(Record::is_completed), "to end successfully")
        }
    };
    (met < replicas).then(|| format!("waits for `{other}` {what}"))
}
