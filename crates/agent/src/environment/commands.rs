//! Commands: each is checked as a whole, written in one transaction, and then brought about by
//! the loop.

use std::collections::BTreeMap;

use brickyard_api::{
    Command, FailureKind, FileStateView, FileView, PlanView, ReadView, Reason, RenderRequest,
    RenderView, TargetSlots,
};
use brickyard_core::clock::Millis;
use brickyard_core::{Digest, EventKind, Generation, ServiceName, Slot};
use brickyard_model::release::Release;
use brickyard_plan::difference::{RenderedFile, desired};
use brickyard_plan::plan::{Plan, ReadSet, plan};
use brickyard_plan::reads::Read;
use brickyard_plan::wanted::Adjustments;
use brickyard_plan::{Action, Place, State, Wanted};
use brickyard_store::{Compare, Outcome, Txn};
use camino::Utf8PathBuf;
use tokio::sync::oneshot;

use super::pausing::forget;
use super::status::listen_address;
use super::{Accepted, Answer, Environment, Failure, WantedRecord};
use crate::journal::Draft;
use crate::{images, keys, ports};

impl Environment {
    /// Carries out a command, or queues it behind a change of data that is being tried.
    pub(super) async fn command(&mut self, command: Command, answer: oneshot::Sender<Answer>) {
        let done = match command {
            Command::Config { .. } | Command::Register { .. } => {
                self.stage(command, answer);
                return;
            }
            Command::Deploy { release, replicas, partial, files } => {
                let adjustments = Adjustments { replicas, ..Adjustments::default() };
                let (release, adjustments) = match &self.record {
                    Some(former) if partial && !former.adjustments.down => {
                        former.beside(*release, adjustments)
                    }
                    _ => (*release, adjustments),
                };
                self.deploy(release, adjustments, files).await
            }
            Command::Down { volumes, grace_ms } => self.down(volumes, grace_ms).await,
            Command::Scale { replicas } => self.scale(replicas).await,
            Command::Restart { targets, grace_ms } => self.restart(&targets, grace_ms).await,
            Command::Stop { targets, grace_ms } => self.set_stopped(&targets, true, grace_ms).await,
            Command::Start { targets } => self.set_stopped(&targets, false, None).await,
            Command::Pause { targets } => self.set_paused(&targets, true).await,
            Command::Unpause { targets } => self.set_paused(&targets, false).await,
            Command::Kill { targets } => self.kill(&targets).await,
            Command::Remove { targets } => self.remove_ended(&targets).await,
        };
        let _ = answer.send(done);
    }

    /// What a deploy would do, and what would stop it.
    pub(super) fn plan(&mut self, release: &Release) -> Result<PlanView, Failure> {
        let record = self.record_of(release.clone(), Adjustments::default(), Vec::new());
        let (_, (plan, problems)) =
            self.as_if(record, |this| (this.make_plan(), this.port_problems()))?;
        Ok(PlanView { plan, problems })
    }

    /// What an instance of a service would get now.
    pub(super) fn render(&mut self, request: RenderRequest) -> Result<RenderView, Failure> {
        let RenderRequest { release, service } = request;
        let release =
            self.record.iter().fold(release, |release, record| release.over(&record.release));
        let record = self.record_of(release, Adjustments::default(), Vec::new());
        let (_, view) = self.as_if(record, |this| this.rendered(&service))?;
        view
    }

    fn rendered(&self, name: &ServiceName) -> Result<RenderView, Failure> {
        let refused =
            |text: String| Failure::of(FailureKind::Refused, self.address.with_service(name), text);
        let service = self.wanted.services.get(name);
        let service = service.ok_or_else(|| refused("there is no such service".to_owned()))?;
        let mut desired =
            desired(&self.wanted, &self.observed, &self.view, service, None).map_err(refused)?;
        let names = service.model.environment_templates.keys();
        let environment = names.filter_map(|name| desired.spec.environment.remove_entry(name));
        let files = desired.files.into_iter().map(|(dest, file)| {
            let file = file.map_err(|text| refused(format!("{dest}: {text}")))?;
            let RenderedFile { template, contents, .. } = file;
            Ok(FileView {
                dest,
                contents,
                mode: template.mode,
                uid: template.uid,
                gid: template.gid,
            })
        });
        Ok(RenderView {
            environment: environment.collect(),
            files: files.collect::<Result<_, _>>()?,
        })
    }

    /// What the files of a service's instances are made of now.
    pub(super) fn files_of(&self, name: &ServiceName) -> Result<Vec<FileStateView>, Failure> {
        self.known_service(name)?;
        let Some(service) = self.wanted.services.get(name) else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        for record in self.observed.of(name) {
            let made = desired(&self.wanted, &self.observed, &self.view, service, Some(record));
            let made = made.map_err(|text| {
                Failure::of(FailureKind::Refused, self.address.with_service(name), text)
            })?;
            for (dest, file) in made.files {
                let is_current = |digests: &BTreeMap<Utf8PathBuf, Digest>| {
                    file.as_ref().is_ok_and(|file| digests.get(&dest) == Some(&file.digest))
                };
                files.push(FileStateView {
                    address: self.address_of(&record.place),
                    in_place: is_current(&record.rendered),
                    loaded: is_current(&record.loaded),
                    reads: file.as_ref().map_or_else(
                        |_| Vec::new(),
                        |file| {
                            let read = |read: &Read| ReadView {
                                kind: read.kind.to_owned(),
                                name: read.name.clone(),
                                found: read.found.clone(),
                            };
                            file.reads.iter().map(read).collect()
                        },
                    ),
                    problem: file.err(),
                    dest,
                });
            }
        }
        Ok(files)
    }

    /// The record of the next deploy, of a release.
    fn record_of(
        &self,
        release: Release,
        adjustments: Adjustments,
        files: Vec<Utf8PathBuf>,
    ) -> WantedRecord {
        WantedRecord {
            digest: release.digest(),
            release,
            deploy: self.record.as_ref().map_or(self.wanted.deploy, |record| record.deploy) + 1,
            adjustments,
            files,
            remove_volumes: false,
        }
    }

    /// What would be wanted with this record, and what `look` makes of it. Nothing has changed
    /// afterwards.
    fn as_if<T>(
        &mut self,
        record: WantedRecord,
        look: impl FnOnce(&Self) -> T,
    ) -> Result<(Wanted, T), Failure> {
        let former = (self.record.clone(), self.wanted.clone());
        let seen = self.set_wanted(record).map(|()| look(self));
        let wanted = std::mem::replace(&mut self.wanted, former.1);
        self.record = former.0;
        let refused = |text| Failure::of(FailureKind::Refused, &self.address, text);
        Ok((wanted, seen.map_err(refused)?))
    }

    /// The plan for what is wanted now, with the revisions of what it was decided on.
    fn make_plan(&self) -> Plan {
        let mut read_set = ReadSet::new();
        read_set.insert(keys::wanted(&self.key), self.fence);
        read_set.insert(keys::data(&self.key), self.data_revision);
        read_set.insert(keys::issued(&self.key), self.records_revision);
        plan(&self.wanted, &self.observed, &self.view, read_set, self.fence)
    }

    async fn deploy(
        &mut self,
        release: Release,
        adjustments: Adjustments,
        files: Vec<Utf8PathBuf>,
    ) -> Answer {
        let refused = |text: String| Failure::of(FailureKind::Refused, &self.address, text);
        let digest = release.digest();
        if let Some(record) = &self.record
            && record.digest == digest
            && record.adjustments == adjustments
        {
            // Nothing new is wanted; what failed or ended is tried once more.
            let revision = record.deploy;
            self.try_again();
            self.sequence += 1;
            return Ok(Accepted { revision, sequence: self.sequence });
        }
        for digest in release.images.values() {
            images::lookup(&self.yard.images, digest).map_err(refused)?;
        }
        let record = self.record_of(release, adjustments, files);
        let number = record.deploy;
        let (wanted, (plan, problems)) =
            self.as_if(record.clone(), |this| (this.make_plan(), this.port_problems()))?;
        if !problems.is_empty() {
            return Err(Failure { kind: FailureKind::Refused, reasons: problems });
        }
        let txn = require_all(Txn::new(), &plan.read_set);
        let plan = serde_json::to_vec(&plan).unwrap_or_default();
        let txn = txn.put(keys::deploy(&self.key, number), plan);
        let event = Draft::new(EventKind::DeployStarted, self.address.clone())
            .with("deploy", number)
            .with("release", digest.short());
        self.write_wanted(record, txn, event).await?;
        self.wanted = wanted;
        self.try_again();
        Ok(Accepted { revision: number, sequence: self.sequence })
    }

    /// Lets everything that failed, or ended other than successfully, be started once more. What runs
    /// has not failed either until it does so anew.
    fn try_again(&mut self) {
        self.observed.given_up.clear();
        for record in self.observed.records.values_mut().flatten() {
            record.failures = 0;
            let ended = matches!(record.state, State::Exited { .. } | State::Refused { .. });
            if ended && !record.is_completed() {
                record.state = State::Intended;
            }
        }
    }

    /// Writes what is wanted, fenced by the revision that was read.
    pub(super) async fn write_wanted(
        &mut self,
        record: WantedRecord,
        txn: Txn,
        event: Draft,
    ) -> Result<(), Failure> {
        let key = keys::wanted(&self.key);
        let value = serde_json::to_vec(&record).unwrap_or_default();
        let txn = require_all(txn, &ReadSet::from([(key.clone(), self.fence)])).put(key, value);
        let internal = |text: String| Failure::of(FailureKind::Internal, &self.address, text);
        match self.yard.journal.commit(txn, vec![event]).await {
            Ok(Outcome::Committed { revision }) => {
                self.fence = revision;
                self.record = Some(record);
                self.sequence += 1;
                Ok(())
            }
            Ok(Outcome::Conflict { .. }) => Err(internal(
                "the plan is stale: what it was made for has changed meanwhile".to_owned(),
            )),
            Err(err) => Err(internal(err.to_string())),
        }
    }

    /// Published ports that cannot be listened on, with who has them.
    fn port_problems(&self) -> Vec<Reason> {
        let mine = self.yard.front.listeners_of(&self.key);
        let others = self.yard.front.listeners_of_others(&self.key);
        let mut problems = Vec::new();
        for (name, service) in &self.wanted.services {
            for listen in service.model.ports.iter().filter_map(listen_address) {
                let overlaps = |other: &brickyard_front::Listener| {
                    let (a, b) = (other.listen.ip(), listen.ip());
                    other.listen.port() == listen.port()
                        && (a == b || a.is_unspecified() || b.is_unspecified())
                };
                let text = if let Some(other) = others.iter().find(|other| overlaps(other)) {
                    format!("port {listen} is in use by {}", other.owner)
                } else if mine.iter().any(overlaps) {
                    continue;
                } else if let Err(text) = ports::check(listen) {
                    text
                } else {
                    continue;
                };
                let address = self.address.with_service(name).to_string();
                problems.push(Reason { address, text, log: Vec::new() });
            }
        }
        problems
    }

    fn wanted_record(&self) -> Result<WantedRecord, Failure> {
        self.record.clone().ok_or_else(|| {
            Failure::of(FailureKind::NotFound, &self.address, "nothing runs in this environment")
        })
    }

    /// Changes adjustments and resolves anew.
    pub(super) async fn adjust(
        &mut self,
        change: impl FnOnce(&mut WantedRecord),
        event: Draft,
    ) -> Answer {
        let mut record = self.wanted_record()?;
        change(&mut record);
        let deploy = record.deploy;
        let (wanted, ()) = self.as_if(record.clone(), |_| ())?;
        self.write_wanted(record, Txn::new(), event).await?;
        self.wanted = wanted;
        Ok(Accepted { revision: deploy, sequence: self.sequence })
    }

    async fn down(&mut self, volumes: bool, grace_ms: Option<Millis>) -> Answer {
        let event = Draft::new(EventKind::DeployStarted, self.address.clone()).with("down", true);
        let change = |record: &mut WantedRecord| {
            record.adjustments.down = true;
            record.remove_volumes = volumes;
        };
        let accepted = self.adjust(change, event).await?;
        self.give_time(grace_ms, |_| true);
        Ok(accepted)
    }

    /// Says how long what is stopped now has to end by itself.
    fn give_time(&mut self, grace_ms: Option<Millis>, concerns: impl Fn(&Place) -> bool) {
        let Some(grace_ms) = grace_ms else { return };
        let records = self.observed.records.iter_mut().filter(|(place, _)| concerns(place));
        for record in records.flat_map(|(_, records)| records) {
            record.grace_ms = Some(grace_ms);
        }
    }

    async fn scale(&mut self, replicas: BTreeMap<ServiceName, u32>) -> Answer {
        for name in replicas.keys() {
            self.known_service(name)?;
        }
        let mut event = Draft::new(EventKind::DeployStarted, self.address.clone());
        for (name, count) in &replicas {
            event = event.with(&format!("scale {name}"), count);
        }
        let change = |record: &mut WantedRecord| record.adjustments.replicas.extend(replicas);
        let accepted = self.adjust(change, event).await?;
        self.try_again();
        Ok(accepted)
    }

    fn known_service(&self, name: &ServiceName) -> Result<(), Failure> {
        self.wanted_record()?;
        if self.wanted.services.contains_key(name) {
            return Ok(());
        }
        let known = self.wanted.services.keys().map(ServiceName::as_str);
        let hint = brickyard_core::diagnostic::nearest(name.as_str(), known)
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let text = format!("there is no service `{name}` in it{hint}");
        Err(Failure::of(FailureKind::NotFound, &self.address, text))
    }

    /// The slots that targets mean; all of them must exist.
    pub(super) fn slots(&self, targets: &[TargetSlots]) -> Result<Vec<Place>, Failure> {
        let mut places = Vec::new();
        for target in targets {
            self.known_service(&target.service)?;
            let replicas =
                self.wanted.services.get(&target.service).map_or(0, |service| service.replicas);
            let slots: Vec<Slot> = match target.slot {
                Some(slot) if slot.0 > replicas => {
                    let address = self.address.with_service(&target.service).with_slot(slot);
                    let text = format!("`{}` has {replicas} instances", target.service);
                    return Err(Failure::of(FailureKind::NotFound, address, text));
                }
                Some(slot) => vec![slot],
                None => (1..=replicas).map(Slot).collect(),
            };
            let service = target.service.clone();
            places.extend(slots.into_iter().map(|slot| Place { service: service.clone(), slot }));
        }
        Ok(places)
    }

    async fn restart(&mut self, targets: &[TargetSlots], grace_ms: Option<Millis>) -> Answer {
        let places = self.slots(targets)?;
        let mut event = Draft::new(EventKind::DeployStarted, self.address.clone());
        for place in &places {
            event = event.with(&format!("restart {place}"), true);
        }
        for place in &places {
            let Some(newest) = self.observed.newest(place) else {
                continue;
            };
            let (generation, runs) = (newest.generation, newest.is_running());
            if let Some(record) = self.observed.get_mut(place, generation).filter(|_| runs) {
                record.restart_requested = true;
            }
        }
        let change = |record: &mut WantedRecord| {
            forget(&mut record.adjustments.stopped, &places);
            forget(&mut record.adjustments.paused, &places);
        };
        let accepted = self.adjust(change, event).await?;
        self.give_time(grace_ms, |place| places.contains(place));
        Ok(accepted)
    }

    async fn set_stopped(
        &mut self,
        targets: &[TargetSlots],
        stopped: bool,
        grace_ms: Option<Millis>,
    ) -> Answer {
        let places = self.slots(targets)?;
        let verb = if stopped { "stop" } else { "start" };
        let mut event = Draft::new(EventKind::DeployStarted, self.address.clone());
        for place in &places {
            event = event.with(&format!("{verb} {place}"), true);
        }
        let change = |record: &mut WantedRecord| {
            for place in &places {
                let slots = record.adjustments.stopped.entry(place.service.clone()).or_default();
                if stopped {
                    slots.insert(place.slot);
                } else {
                    slots.remove(&place.slot);
                }
            }
            record.adjustments.stopped.retain(|_, slots| !slots.is_empty());
            forget(&mut record.adjustments.paused, &places);
        };
        let accepted = self.adjust(change, event).await?;
        self.give_time(grace_ms, |place| places.contains(place));
        Ok(accepted)
    }

    /// Removes what does not run; its slot stays empty until `up` or `start`.
    async fn remove_ended(&mut self, targets: &[TargetSlots]) -> Answer {
        let places = self.slots(targets)?;
        let ended: Vec<(Place, Generation)> = places
            .iter()
            .filter_map(|place| self.observed.newest(place))
            .filter(|record| {
                matches!(
                    record.state,
                    State::Stopped { .. } | State::Exited { .. } | State::Refused { .. }
                )
            })
            .map(|record| (record.place.clone(), record.generation))
            .collect();
        let mut event = Draft::new(EventKind::DeployStarted, self.address.clone());
        for (place, _) in &ended {
            event = event.with(&format!("rm {place}"), true);
        }
        let change = |record: &mut WantedRecord| {
            for (place, _) in &ended {
                let stopped = &mut record.adjustments.stopped;
                stopped.entry(place.service.clone()).or_default().insert(place.slot);
            }
        };
        let accepted = self.adjust(change, event).await?;
        let now_ms = self.yard.clock.now_ms();
        for (place, generation) in ended {
            let action = Action::Remove { place, generation };
            brickyard_plan::begin(&mut self.observed, &action, now_ms);
            self.perform(action);
        }
        Ok(accepted)
    }
}

impl WantedRecord {
    /// A release that leaves alone what it does not name, as a whole one.
    fn beside(&self, release: Release, mut adjustments: Adjustments) -> (Release, Adjustments) {
        let former = &self.adjustments;
        let stays = |name: &ServiceName| !release.system.services.contains_key(name);
        adjustments.replicas.extend(kept(&former.replicas, stays));
        adjustments.stopped.extend(kept(&former.stopped, stays));
        adjustments.paused.extend(kept(&former.paused, stays));
        (release.over(&self.release), adjustments)
    }
}

fn kept<T: Clone>(
    all: &BTreeMap<ServiceName, T>,
    stays: impl Fn(&ServiceName) -> bool,
) -> BTreeMap<ServiceName, T> {
    let kept = all.iter().filter(|(name, _)| stays(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Lets a transaction fail when anything that was read has changed since.
fn require_all(txn: Txn, read_set: &ReadSet) -> Txn {
    read_set.iter().fold(txn, |txn, (key, revision)| {
        txn.require(match revision {
            0 => Compare::absent(key.clone()),
            revision => Compare::mod_revision(key.clone(), *revision),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use brickyard_core::clock::SystemClock;
    use brickyard_store::{Memory, Store};

    use super::*;

    #[tokio::test]
    async fn a_plan_is_stale_when_anything_that_it_read_has_changed() {
        let store = Memory::new(Arc::new(SystemClock::default()));
        let key: brickyard_engine::EnvironmentKey = "s.dev".parse().expect("a valid key");
        let keys = [keys::wanted(&key), keys::data(&key), keys::issued(&key)];
        let mut read_set = ReadSet::new();
        for key in &keys {
            let put = store.txn(Txn::new().put(key.clone(), "1")).await.expect("it is written");
            let Outcome::Committed { revision } = put else { panic!("nothing was required") };
            read_set.insert(key.clone(), revision);
        }
        let deploy = |read: &ReadSet| require_all(Txn::new(), read).put("deploy", "1");
        let first = store.txn(deploy(&read_set)).await.expect("it is decided");
        assert!(matches!(first, Outcome::Committed { .. }));
        for key in keys {
            let change = Txn::new().put(key.clone(), "2");
            let _ = store.txn(change).await.expect("it is written");
            let stale = store.txn(deploy(&read_set)).await.expect("it is decided");
            assert!(matches!(stale, Outcome::Conflict { .. }), "{key}");
            let now = store.range(&key).await.expect("it is read").entries[0].mod_revision;
            read_set.insert(key, now);
        }
    }
}
