//! Configuration and registry as templates and lines see them.
//!
//! A line shows the healthy instances of its target; where none is healthy, those that run; where
//! none runs, those that are known. So a target that keeps dying keeps its address in its
//! dependents, and peers on a cycle know each other's address before either has started.
//!
//! What follows by a restart looks with [`Sight::Steady`], all else with [`Sight::Sharp`]: so a
//! restart of one instance takes it out of a balancer's file for a moment, and restarts nobody.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::{Address, Alias, Digest, EndpointName, ServiceName, Slot};
use brickyard_model::types::{HostPort, Line, OnChange};
use brickyard_template::{LineError, LineErrorKind, LineInstance, LineValue, Pair, Scope, Text};
use serde::{Deserialize, Serialize};

use crate::observed::{Observed, Record};
use crate::wanted::{Wanted, WantedService};

/// Prefix of the registry among a template's keys.
pub const REGISTRY_PREFIX: &str = "/brickyard/services";

/// Values that came from people at run time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Keys that were set; defaults of the model lie below them.
    pub config: BTreeMap<String, String>,
    /// Endpoints that were registered. They stand in the place of the service's own instances.
    pub registered: BTreeMap<ServiceName, BTreeMap<(Slot, EndpointName), HostPort>>,
}

/// How much of what happens to instances is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// What is healthy now, without those from which connections are withheld.
    Sharp,
    /// What has been healthy and goes on: a restart, a crash or a failed check is not seen.
    Steady,
}

/// One instance at the other end of a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Its slot.
    pub slot: Slot,
    /// Its endpoint.
    pub endpoint: EndpointName,
    /// Where it listens.
    pub at: HostPort,
    /// Its generation; 0 for one that Brickyard does not run.
    pub generation: u64,
    /// Whether it is on its way up: dependents that run already do not follow it yet.
    pub rising: bool,
}

impl View {
    /// All configuration: what was set over the model's defaults.
    #[must_use]
    pub fn merged_config(&self, wanted: &Wanted) -> BTreeMap<String, String> {
        let mut config = wanted.config.clone();
        config.extend(self.config.clone());
        config
    }

    /// Every endpoint of a service that a line or the registry shows, by slot.
    #[must_use]
    pub fn targets(
        &self,
        wanted: &Wanted,
        observed: &Observed,
        service: &ServiceName,
        sight: Sight,
    ) -> Vec<Target> {
        if let Some(registered) = self.registered.get(service) {
            return registered
                .iter()
                .map(|((slot, endpoint), at)| Target {
                    slot: *slot,
                    endpoint: endpoint.clone(),
                    at: at.clone(),
                    generation: 0,
                    rising: false,
                })
                .collect();
        }
        if let Some(external) = wanted.external.get(service) {
            return external
                .iter()
                .map(|(endpoint, at)| Target {
                    slot: Slot(1),
                    endpoint: endpoint.clone(),
                    at: at.clone(),
                    generation: 0,
                    rising: false,
                })
                .collect();
        }
        let Some(provides) = wanted.services.get(service).map(|found| &found.model.provides) else {
            return Vec::new();
        };
        serving(observed, service, sight)
            .into_iter()
            .flat_map(|record| {
                provides.iter().map(|(name, endpoint)| Target {
                    slot: record.place.slot,
                    endpoint: name.clone(),
                    at: HostPort { host: record.address.to_string(), port: endpoint.port },
                    generation: record.generation.0,
                    rising: record.is_rising(),
                })
            })
            .collect()
    }

    /// What a line leads to now.
    #[must_use]
    pub fn line(
        &self,
        wanted: &Wanted,
        observed: &Observed,
        line: &Line,
        sight: Sight,
    ) -> Vec<Target> {
        let mut targets = self.targets(wanted, observed, &line.to.service, sight);
        if let Some(endpoint) = &line.to.endpoint {
            targets.retain(|target| target.endpoint == *endpoint);
        }
        targets
    }

    /// Lines of which an instance that is seen is on its way up.
    #[must_use]
    pub fn rising_lines(
        &self,
        wanted: &Wanted,
        observed: &Observed,
        service: &WantedService,
    ) -> BTreeSet<Alias> {
        lines_where(service, |line| {
            let sight = Sight::Steady;
            let targets = self.line(wanted, observed, line, sight);
            let own = targets.is_empty().then(|| serving(observed, &line.to.service, sight));
            targets.iter().any(|target| target.rising)
                || own.is_some_and(|records| records.into_iter().any(Record::is_rising))
        })
    }

    /// Lines whose target will soon look otherwise: any of its instances is on its way up. Who
    /// follows by a restart waits for the last of them.
    #[must_use]
    pub fn moving_lines(&self, observed: &Observed, service: &WantedService) -> BTreeSet<Alias> {
        lines_where(service, |line| {
            !self.registered.contains_key(&line.to.service)
                && observed.of(&line.to.service).any(Record::is_rising)
        })
    }

    /// The other ends of a service's lines, each as one digest.
    #[must_use]
    pub fn line_digests(
        &self,
        wanted: &Wanted,
        observed: &Observed,
        service: &WantedService,
    ) -> BTreeMap<Alias, Digest> {
        service
            .model
            .needs
            .iter()
            .map(|(alias, line)| {
                let sight = sight_of(line.on_change);
                let mut identity: Vec<(Slot, u64, String)> = self
                    .line(wanted, observed, line, sight)
                    .into_iter()
                    .map(|target| (target.slot, target.generation, target.at.to_string()))
                    .collect();
                if identity.is_empty() {
                    // A service without endpoints still has generations to follow.
                    identity = serving(observed, &line.to.service, sight)
                        .into_iter()
                        .map(|record| (record.place.slot, record.generation.0, String::new()))
                        .collect();
                }
                (alias.clone(), Digest::of_json(&identity))
            })
            .collect()
    }
}

fn lines_where(service: &WantedService, sort: impl Fn(&Line) -> bool) -> BTreeSet<Alias> {
    let needs = service.model.needs.iter();
    needs.filter(|(_, line)| sort(line)).map(|(alias, _)| alias.clone()).collect()
}

fn sight_of(on_change: OnChange) -> Sight {
    match on_change {
        OnChange::Restart | OnChange::Ignore => Sight::Steady,
        OnChange::Auto | OnChange::Reload => Sight::Sharp,
    }
}

/// The records of a service that stand for it: one for each slot, of the best sort there is.
#[must_use]
pub fn serving<'a>(
    observed: &'a Observed,
    service: &'a ServiceName,
    sight: Sight,
) -> Vec<&'a Record> {
    let of_sort = |sort: &dyn Fn(&Record) -> bool| {
        let mut by_slot: BTreeMap<Slot, &Record> = BTreeMap::new();
        for record in observed.of(service).filter(|record| sort(record)) {
            by_slot.insert(record.place.slot, record);
        }
        by_slot.into_values().collect::<Vec<_>>()
    };
    let sorts: [&dyn Fn(&Record) -> bool; 4] = [
        &|record| match sight {
            Sight::Sharp => record.is_healthy() && record.withheld.is_none(),
            Sight::Steady => record.is_steady(),
        },
        &Record::is_healthy,
        &Record::is_running,
        &|_| true,
    ];
    sorts.into_iter().map(of_sort).find(|found| !found.is_empty()).unwrap_or_default()
}

/// What one instance's templates see.
pub struct InstanceScope<'a> {
    wanted: &'a Wanted,
    observed: &'a Observed,
    view: &'a View,
    service: &'a WantedService,
    pinned: &'a BTreeMap<Alias, Vec<Target>>,
    sight: Sight,
    config: BTreeMap<String, String>,
}

impl<'a> InstanceScope<'a> {
    /// The scope of one instance: what its service sees, with the lines that it must not follow
    /// pinned.
    #[must_use]
    pub fn new(
        wanted: &'a Wanted,
        observed: &'a Observed,
        view: &'a View,
        service: &'a WantedService,
        pinned: &'a BTreeMap<Alias, Vec<Target>>,
        sight: Sight,
    ) -> Self {
        let mut config = view.merged_config(wanted);
        let names = wanted.services.keys().chain(wanted.external.keys());
        for name in names.chain(view.registered.keys()) {
            for target in view.targets(wanted, observed, name, sight) {
                let key = format!("{REGISTRY_PREFIX}/{name}/{}/{}", target.slot, target.endpoint);
                config.insert(key, target.at.to_string());
            }
        }
        Self { wanted, observed, view, service, pinned, sight, config }
    }

    fn address_of(&self, service: &ServiceName, target: &Target) -> String {
        let mut address: Address = self.wanted.address.with_service(service).with_slot(target.slot);
        address.endpoint = Some(target.endpoint.clone());
        address.to_string()
    }
}

impl Scope for InstanceScope<'_> {
    fn value(&self, key: &str) -> Option<Text> {
        self.config.get(key).map(Text::from)
    }

    fn keys(&self, prefix: &str) -> Vec<Pair> {
        self.config
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| Pair::new(key, value))
            .collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        self.service.spec.environment.get(name).cloned()
    }

    fn line(&self, alias: &str) -> Result<LineValue, LineError> {
        let unknown = || LineError {
            alias: alias.to_owned(),
            kind: LineErrorKind::Unknown {
                known: self.service.model.needs.keys().map(ToString::to_string).collect(),
            },
        };
        let line = self.service.model.needs.get(alias).ok_or_else(unknown)?;
        let pinned = self
            .pinned
            .iter()
            .find(|(known, _)| known.as_str() == alias)
            .map(|(_, targets)| targets.clone());
        let targets =
            pinned.unwrap_or_else(|| self.view.line(self.wanted, self.observed, line, self.sight));
        let Some(first) = targets.first() else {
            return Err(LineError {
                alias: alias.to_owned(),
                kind: LineErrorKind::NoInstance { target: line.to.to_string() },
            });
        };
        Ok(LineValue {
            host: first.at.host.clone(),
            port: first.at.port,
            address: self.address_of(&line.to.service, first),
            instances: targets
                .iter()
                .map(|target| LineInstance {
                    host: target.at.host.clone(),
                    port: target.at.port,
                    address: self.address_of(&line.to.service, target),
                    slot: target.slot.0,
                })
                .collect(),
        })
    }
}
