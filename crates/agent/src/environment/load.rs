//! Taking an environment up from the store and the engine, after a start or a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use brickyard_core::spec::Lost;
use brickyard_core::{Address, EventKind, Generation, Slot};
use brickyard_engine::{EnvironmentKey, InstanceId, KnownState, SLOT_ONE_OFF};
use brickyard_model::types::{HostPort, RestartPolicy};
use brickyard_plan::wanted::resolve;
use brickyard_plan::{Decision, Health, Observed, Outcome, Place, Record, State, View, Wanted};
use brickyard_store::{KeyValue, Txn};
use tokio::sync::{mpsc, watch};

use super::{Environment, Message, Status, WantedRecord, staging};
use crate::journal::Draft;
use crate::tasks::OnCancel;
use crate::yard::Yard;
use crate::{images, keys};

/// Exit of a generation whose end nobody saw.
const EXIT_UNSEEN: i32 = -1;

impl Environment {
    /// Reads what is stored, compares it with what the engine knows, and adopts what runs.
    pub(super) async fn load(
        yard: Arc<Yard>,
        key: EnvironmentKey,
        messages: mpsc::Sender<Message>,
        status: watch::Sender<Status>,
    ) -> Result<Self, String> {
        let address = Address::environment(&key.system, &key.environment);
        let mut environment = Self {
            wanted: nothing(&address),
            address,
            facts: None,
            open_error: None,
            record: None,
            fence: 0,
            layers: BTreeMap::new(),
            observed: Observed::default(),
            persisted: BTreeMap::new(),
            view: View::default(),
            data_revision: 0,
            records_revision: 0,
            issued: Generation(0),
            last_address: None,
            watchers: BTreeMap::new(),
            staged: BTreeMap::new(),
            staging: staging::Queue::default(),
            decision: Decision::default(),
            logs: BTreeMap::new(),
            clock_offset_ms: super::clock_offset_ms(&*yard.clock),
            losses: BTreeMap::new(),
            front_problems: Vec::new(),
            sequence: 0,
            gone: false,
            status,
            messages,
            yard,
            key,
        };
        environment.read_store().await?;
        if environment.yard.rebooted {
            environment.forget_stops().await?;
        }
        if environment.record.is_some() {
            environment.ensure_open().await;
        }
        let events = environment.adopt().await?;
        environment.persist(events).await?;
        Ok(environment)
    }

    async fn read_store(&mut self) -> Result<(), String> {
        let prefix = keys::environment(&self.key);
        let snapshot = self.yard.store.range(&prefix).await.map_err(|err| err.to_string())?;
        for entry in &snapshot.entries {
            if entry.key == keys::wanted(&self.key) {
                let record: WantedRecord = parse(entry)?;
                self.fence = entry.mod_revision;
                self.set_wanted(record)?;
            } else if entry.key == keys::issued(&self.key) {
                let text = String::from_utf8_lossy(&entry.value);
                self.issued = Generation(text.parse().unwrap_or(0));
                self.records_revision = entry.mod_revision;
            } else if entry.key == keys::data(&self.key) {
                self.data_revision = entry.mod_revision;
            } else if entry.key.starts_with(&keys::records(&self.key)) {
                let record: Record = parse(entry)?;
                let mut written = record.clone();
                written.health = Health::Starting;
                self.persisted.insert((record.place.clone(), record.generation), written);
                self.observed.put(record);
            } else if let Some(name) = entry.key.strip_prefix(&keys::config(&self.key)) {
                let value = String::from_utf8_lossy(&entry.value).into_owned();
                self.view.config.insert(name.to_owned(), value);
            } else if let Some(name) = entry.key.strip_prefix(&keys::registered(&self.key)) {
                let value = String::from_utf8_lossy(&entry.value).into_owned();
                let (service, slot, endpoint, at) = parse_registration(name, &value)?;
                self.view.registered.entry(service).or_default().insert((slot, endpoint), at);
            }
        }
        self.observed.end_times_at(self.yard.clock.now_ms());
        self.last_address = self.observed.all().map(|record| record.address).max();
        Ok(())
    }

    /// Makes a stored release what is wanted.
    pub(super) fn set_wanted(&mut self, record: WantedRecord) -> Result<(), String> {
        let mut configs = BTreeMap::new();
        for (service, digest) in &record.release.images {
            let known = images::lookup(&self.yard.images, digest)?;
            self.layers.insert(*digest, known.layers);
            configs.insert(service.clone(), (*digest, known.config));
        }
        let wanted = resolve(
            self.address.clone(),
            record.deploy,
            &record.release.system,
            &configs,
            &record.adjustments,
        );
        self.wanted = wanted.map_err(|errors| {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        })?;
        self.record = Some(record);
        Ok(())
    }

    /// A reboot starts what is always to run, even if it was stopped by hand, as Docker does.
    async fn forget_stops(&mut self) -> Result<(), String> {
        let Some(mut record) = self.record.clone() else { return Ok(()) };
        let services = &record.release.system.services;
        let stopped = &mut record.adjustments.stopped;
        stopped.retain(|name, _| {
            services.get(name).is_none_or(|service| service.restart != RestartPolicy::Always)
        });
        if self.record.as_ref() == Some(&record) {
            return Ok(());
        }
        let event = Draft::new(EventKind::DeployStarted, self.address.clone());
        let event = event.with("deploy", record.deploy).with("reboot", true);
        let written = self.write_wanted(record.clone(), Txn::new(), event).await;
        written.map_err(|failure| failure.text())?;
        self.set_wanted(record)
    }

    /// Compares records with the engine's list.
    async fn adopt(&mut self) -> Result<Vec<Draft>, String> {
        let known = self.yard.engine.list().await.map_err(|err| err.whole())?;
        let known: BTreeMap<InstanceId, KnownState> = known
            .into_iter()
            .filter(|found| found.id.environment == self.key)
            .map(|found| (found.id, found.state))
            .collect();
        for (id, state) in &known {
            if id.slot == SLOT_ONE_OFF && *state != KnownState::Broken {
                continue;
            }
            let place = Place { service: id.service.clone(), slot: id.slot };
            let is_known = self.observed.get(&place, id.generation).is_some();
            if !is_known || id.slot == brickyard_render::SLOT_THROWAWAY {
                self.yard.engine.remove(id).await.map_err(|err| err.whole())?;
            }
        }
        let mut events = Vec::new();
        let records: Vec<Record> = self.observed.all().cloned().collect();
        for record in records {
            let id = self.id(&record.place, record.generation);
            let state = known.get(&id).copied();
            self.adopt_one(&record, &id, state, &mut events);
        }
        Ok(events)
    }

    fn adopt_one(
        &mut self,
        record: &Record,
        id: &InstanceId,
        state: Option<KnownState>,
        events: &mut Vec<Draft>,
    ) {
        let unseen = brickyard_core::spec::Exit {
            code: EXIT_UNSEEN,
            oom: false,
            lost: Some(if self.yard.rebooted { Lost::Reboot } else { Lost::Monitor }),
            time_ms: self.yard.clock.now_ms(),
        };
        let key = (record.place.clone(), record.generation);
        match (&record.state, state) {
            (
                State::Running { .. } | State::Paused { .. },
                Some(known @ (KnownState::Running { pid } | KnownState::Paused { pid })),
            ) => {
                if let Some(record) = self.observed.get_mut(&key.0, key.1) {
                    record.state = match known {
                        KnownState::Paused { .. } => State::Paused { pid },
                        _ => State::Running { pid },
                    };
                }
                self.watch(&key);
                self.sweep_staged(record, id);
                let address = self.address.with_service(&id.service).with_slot(id.slot);
                events.push(
                    Draft::new(EventKind::InstanceAdopted, address)
                        .with("generation", id.generation)
                        .with("pid", pid),
                );
            }
            (State::Intended, Some(KnownState::Running { pid })) if !record.restart_requested => {
                self.finish(id, Outcome::Started(Ok(pid)), events);
            }
            (State::Running { .. } | State::Paused { .. }, Some(KnownState::Exited(exit))) => {
                self.finish(id, Outcome::Ended(exit), events);
            }
            (State::Running { .. } | State::Paused { .. }, _) => {
                self.finish(id, Outcome::Ended(unseen), events);
            }
            _ => {}
        }
    }
}

impl Environment {
    /// Removes files that a former agent has staged in a generation and never put into place.
    fn sweep_staged(&self, record: &Record, id: &InstanceId) {
        let dests: Vec<_> = record.rendered.keys().cloned().collect();
        if dests.is_empty() {
            return;
        }
        let (engine, id) = (Arc::clone(&self.yard.engine), id.clone());
        self.yard.tasks.spawn(format!("sweep {id}"), OnCancel::Drop, async move {
            if let Err(err) = engine.sweep_files(&id, &dests).await {
                tracing::warn!("{}", err.whole());
            }
        });
    }
}

fn nothing(address: &Address) -> Wanted {
    Wanted {
        address: address.clone(),
        deploy: 0,
        services: BTreeMap::new(),
        external: BTreeMap::new(),
        config: BTreeMap::new(),
        volumes: Vec::new(),
    }
}

fn parse<T: serde::de::DeserializeOwned>(entry: &KeyValue) -> Result<T, String> {
    serde_json::from_slice(&entry.value)
        .map_err(|err| format!("the store's key `{}` cannot be read: {err}", entry.key))
}

/// A registration as `SERVICE/SLOT/ENDPOINT` and `host:port`.
pub(super) fn parse_registration(
    name: &str,
    at: &str,
) -> Result<(brickyard_core::ServiceName, Slot, brickyard_core::EndpointName, HostPort), String> {
    let shape = || format!("`{name}` is not SERVICE/INSTANCE/ENDPOINT");
    let mut parts = name.split('/');
    let service = parts.next().ok_or_else(shape)?.parse().map_err(|err| format!("{err}"))?;
    let slot: u32 = parts.next().and_then(|part| part.parse().ok()).ok_or_else(shape)?;
    let endpoint = parts.next().ok_or_else(shape)?.parse().map_err(|err| format!("{err}"))?;
    if slot == 0 || parts.next().is_some() {
        return Err(shape());
    }
    let (host, port) = at.rsplit_once(':').ok_or_else(|| format!("`{at}` is not HOST:PORT"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse().map_err(|_| format!("`{at}` is not HOST:PORT"))?;
    if host.is_empty() {
        return Err(format!("`{at}` is not HOST:PORT"));
    }
    Ok((service, Slot(slot), endpoint, HostPort { host, port }))
}
