//! What may be done now.
//!
//! Expected flow of a slot: *intend* (the record is written) -> *start* -> healthy -> *render* and
//! *reload* as data changes -> *stop* -> *remove*. A replacement intends the newer generation
//! beside the older: start-first starts it at once and stops the older when it is healthy;
//! stop-first stops the older first.
//!
//! Guarantees: an action is only returned for a generation that is not busy; what is returned
//! together may run together; within a service at most `parallelism` slots are between two states.
//! Assumptions: the caller writes an action's intent before it begins the effect, keeps
//! [`crate::observed::Transient::busy`] set until the effect has ended, and calls again after it.

use std::collections::BTreeMap;

use brickyard_core::clock::Millis;
use brickyard_core::spec::{Exit, Lost};
use brickyard_core::{Digest, Generation, ServiceName, Slot};
use brickyard_model::types::{FailureAction, OnChange, Reload, UpdateOrder};
use camino::Utf8PathBuf;

use crate::action::{Action, Decision, Method, StartJob};
use crate::difference::{Desired, RenderedFile, Replacement, changed_lines, desired, replacement};
use crate::leave::Unaware;
use crate::observed::{Health, Observed, Place, Record, State, Transient};
use crate::order::Order;
use crate::restart::{self, Ending};
use crate::view::View;
use crate::wanted::{Wanted, WantedService};

/// A run of this length clears the count of failures.
pub const STEADY_MS: Millis = 10_000;
/// Failures in a row after which a deploy counts a service as failed.
pub const CRASH_LOOP_FAILURES: u32 = 3;
/// Failed reloads in a row of which people are told: one may have met a process that just ended.
const RELOAD_FAILURES_TOLD: u32 = 2;

/// Looks at everything and says what may be done now.
#[must_use]
pub fn decide(
    wanted: &Wanted,
    observed: &Observed,
    view: &View,
    now_ms: Millis,
    issued: Generation,
) -> Decision {
    let mut decider = Decider {
        wanted,
        observed,
        view,
        now_ms,
        order: Order::of(wanted),
        next_generation: observed.next_generation(issued),
        unaware: None,
        decision: Decision::default(),
    };
    for (name, service) in &wanted.services {
        decider.service(name, service);
    }
    for place in observed.records.keys() {
        let replicas = wanted.services.get(&place.service).map_or(0, |s| s.replicas);
        if place.slot.0 > replicas {
            decider.surplus(place);
        }
    }
    decider.decision
}

pub(crate) struct Decider<'a> {
    pub(crate) wanted: &'a Wanted,
    pub(crate) observed: &'a Observed,
    pub(crate) view: &'a View,
    pub(crate) now_ms: Millis,
    order: Order,
    next_generation: Generation,
    /// Who has yet to take notice of what; found out when it is first asked for.
    pub(crate) unaware: Option<Vec<Unaware>>,
    pub(crate) decision: Decision,
}

impl Decider<'_> {
    fn service(&mut self, name: &ServiceName, service: &WantedService) {
        let places: Vec<Place> = (1..=service.replicas)
            .map(|slot| Place { service: name.clone(), slot: Slot(slot) })
            .collect();
        let mut room = self.room(service, &places);
        for place in &places {
            match self.observed.records.get(place).map(Vec::as_slice) {
                None | Some([]) => self.create(place, service),
                Some([only]) => self.single(only, service, &mut room),
                Some([older @ .., newest]) => self.replacing(older, newest, service),
            }
        }
    }

    /// How many slots of a tier may begin to change.
    fn room(&self, service: &WantedService, places: &[Place]) -> u32 {
        let parallelism = service.model.update.parallelism;
        if parallelism == 0 {
            return u32::MAX;
        }
        let failed = places.iter().any(|place| {
            self.observed
                .given_up
                .get(place)
                .is_some_and(|(deploy, _)| *deploy == self.wanted.deploy)
        });
        if failed && service.model.update.failure_action != FailureAction::Continue {
            return 0;
        }
        let changing = places.iter().filter(|place| {
            let records = self.observed.records.get(place).map_or(&[][..], Vec::as_slice);
            records.len() > 1
                || records.iter().any(|record| {
                    let took_place = record.replaces && record.deploy == self.wanted.deploy;
                    // One that was stopped by hand rests.
                    let rests = service.stopped.contains(&record.place.slot);
                    let unsure = if took_place {
                        !record.is_healthy() && !rests
                    } else {
                        record.is_running()
                            && !record.is_paused()
                            && record.health == Health::Starting
                            && (record.restarts > 0 || !record.loaded.is_empty())
                    };
                    let busy = self.observed.transient(record).busy.is_some();
                    let leaves = record.withheld.is_some() && record.is_healthy();
                    unsure || leaves || (busy && record.is_running())
                })
        });
        parallelism.saturating_sub(u32::try_from(changing.count()).unwrap_or(u32::MAX))
    }

    /// Intent waits for nobody: so the addresses of a whole cycle are known before anything in it
    /// is rendered or started.
    fn create(&mut self, place: &Place, service: &WantedService) {
        if service.stopped.contains(&place.slot) {
            return;
        }
        let base = service.spec.digest();
        self.intend(place, service, (base, base), None);
    }

    fn intend(
        &mut self,
        place: &Place,
        service: &WantedService,
        (spec, base): (Digest, Digest),
        older: Option<(&Record, &Replacement, &[ServiceName])>,
    ) {
        self.decision.unsettled = true;
        let generation = self.next_generation;
        self.next_generation = Generation(generation.0 + 1);
        let unspecified = std::net::Ipv4Addr::UNSPECIFIED;
        let (address, cause) = match older {
            Some((older, Replacement::Reaction { echo: true }, cause)) => (older.address, cause),
            Some((_, Replacement::Reaction { echo: false }, cause)) => (unspecified, cause),
            Some((_, Replacement::Release { .. }, _)) | None => (unspecified, &[][..]),
        };
        let record = Record {
            place: place.clone(),
            generation,
            deploy: self.wanted.deploy,
            state: State::Intended,
            health: Health::Starting,
            spec,
            base,
            image: service.spec.image,
            address,
            cause: cause.to_vec(),
            lines: BTreeMap::new(),
            rendered: BTreeMap::new(),
            reads: BTreeMap::new(),
            loaded: BTreeMap::new(),
            restarts: 0,
            failures: 0,
            created_ms: self.now_ms,
            started_ms: 0,
            restart_requested: false,
            grace_ms: None,
            replaces: older.is_some(),
            pinned: BTreeMap::new(),
            proven: false,
            withheld: None,
        };
        self.decision.actions.push(Action::Intend(Box::new(record)));
    }

    /// Whether every slot is at least intended: then a line without a target stays without one.
    fn all_intended(&self) -> bool {
        self.wanted.services.iter().all(|(name, service)| {
            let count = self.observed.of(name).map(|r| r.place.slot).max().map_or(0, |s| s.0);
            count >= service.replicas || !service.stopped.is_empty()
        })
    }

    /// A slot with one generation.
    fn single(&mut self, record: &Record, service: &WantedService, room: &mut u32) {
        let transient = self.observed.transient(record);
        if transient.busy.is_some() {
            self.decision.unsettled = true;
            return;
        }
        let stop_wanted = service.stopped.contains(&record.place.slot);
        match &record.state {
            State::Stopping { remove, .. } => self.stop(record, *remove, "it was being stopped"),
            State::Running { .. } if stop_wanted => self.leave(record, false, "it was asked to"),
            // A paused one rests: neither its files nor its process follow anything.
            State::Paused { .. } if service.paused.contains(&record.place.slot) && !stop_wanted => {
            }
            State::Paused { .. } => self.unpause(record),
            State::Running { .. } if service.paused.contains(&record.place.slot) => {
                self.decision.unsettled = true;
                let (place, generation) = (record.place.clone(), record.generation);
                self.decision.actions.push(Action::Pause { place, generation });
            }
            State::Exited { .. } | State::Stopped { .. } | State::Refused { .. } if stop_wanted => {
            }
            _ => match desired(self.wanted, self.observed, self.view, service, Some(record)) {
                Ok(desired) => self.compare(record, service, &desired, &transient, room),
                Err(reason) if record.is_running() => {
                    let dest = Utf8PathBuf::from("environment");
                    self.refuse(record, &transient, dest, reason);
                }
                Err(reason) => self.unrenderable(record, reason),
            },
        }
    }

    /// Nothing can be started from this; others may still make it possible.
    fn unrenderable(&mut self, record: &Record, reason: String) {
        match self.all_intended() {
            true => self.decision.failed.push((record.place.clone(), reason)),
            false => self.wait(&record.place, &reason),
        }
    }

    fn compare(
        &mut self,
        record: &Record,
        service: &WantedService,
        desired: &Desired,
        transient: &Transient,
        room: &mut u32,
    ) {
        match &record.state {
            State::Intended if record.restart_requested => {
                self.restart(record, desired, "a restart was asked for");
                return;
            }
            State::Intended => {
                self.start(record, desired, "it is wanted");
                return;
            }
            _ => {}
        }
        if let Some(why) = replacement(record, desired) {
            self.replace(record, service, desired, &why, room);
            return;
        }
        match &record.state {
            State::Stopped { .. } => self.start(record, desired, "it was asked to"),
            // The agent died between the two halves of a restart, or it ended while it waited for
            // its turn: no policy is asked.
            State::Exited { .. } if record.restart_requested => {
                self.start(record, desired, "a restart was asked for");
            }
            State::Exited { exit } => self.ended(record, service, desired, Some(*exit)),
            State::Refused { .. } => self.ended(record, service, desired, None),
            State::Running { .. } => self.running(record, service, desired, transient, room),
            State::Intended | State::Paused { .. } | State::Stopping { .. } => {}
        }
    }

    fn replace(
        &mut self,
        record: &Record,
        service: &WantedService,
        desired: &Desired,
        why: &Replacement,
        room: &mut u32,
    ) {
        if self.observed.given_up.get(&record.place) == Some(&(self.wanted.deploy, desired.digest))
        {
            if service.model.update.failure_action != FailureAction::Continue {
                let reason = "the newer generation failed and the older one was kept".to_owned();
                self.decision.failed.push((record.place.clone(), reason));
            }
            return;
        }
        self.decision.unsettled = true;
        let is_reaction = matches!(why, Replacement::Reaction { .. });
        if is_reaction && desired.variables_rising && record.is_running() {
            self.wait(&record.place, "waits for the other end of a line to be healthy");
            return;
        }
        // One that does not serve may change without regard to the others.
        let serves = record.is_healthy();
        if serves && *room == 0 {
            self.wait(&record.place, "waits for its turn");
            return;
        }
        if let Some(reason) =
            self.order.waits_for(self.wanted, self.observed, &record.place.service)
        {
            self.wait(&record.place, &reason);
            return;
        }
        if let Some(reason) = first_error(desired) {
            self.decision.failed.push((record.place.clone(), reason));
            return;
        }
        if serves {
            *room -= 1;
        }
        let digests = (desired.digest, desired.base);
        self.intend(&record.place, service, digests, Some((record, why, &desired.cause)));
    }

    /// A slot in which a newer generation takes the place of older ones.
    fn replacing(&mut self, older: &[Record], newest: &Record, service: &WantedService) {
        self.decision.unsettled = true;
        let busy = |record: &Record| self.observed.transient(record).busy.is_some();
        if busy(newest) {
            return;
        }
        let start_first = starts_first(service, older, newest);
        let runs = older.iter().any(|record| record.state.pid().is_some());
        match &newest.state {
            State::Intended if !start_first => {
                for record in older.iter().filter(|record| !busy(record)) {
                    self.clear(
                        record,
                        &format!("generation {} takes its place", newest.generation),
                    );
                }
            }
            State::Intended => self.start_newest(newest, service),
            State::Paused { .. } => self.unpause(newest),
            State::Running { .. } if newest.health == Health::Starting => {}
            State::Running { .. } if newest.health == Health::Healthy || !runs => {
                for record in older.iter().filter(|record| !busy(record)) {
                    self.clear(record, &format!("generation {} serves", newest.generation));
                }
            }
            State::Stopping { remove, .. } => self.stop(newest, *remove, "it failed"),
            state => self.give_up(newest, failure_text(state)),
        }
    }

    fn start_newest(&mut self, newest: &Record, service: &WantedService) {
        match desired(self.wanted, self.observed, self.view, service, Some(newest)) {
            Ok(desired) => self.start(newest, &desired, "it is wanted"),
            Err(reason) => self.give_up(newest, reason),
        }
    }

    fn give_up(&mut self, newest: &Record, reason: String) {
        self.decision.actions.push(Action::GiveUp {
            place: newest.place.clone(),
            generation: newest.generation,
            spec: newest.spec,
            reason,
        });
    }

    /// A slot that is not wanted. What others still use goes last.
    fn surplus(&mut self, place: &Place) {
        self.decision.unsettled = true;
        let goes = |name: &ServiceName| {
            self.wanted.services.get(name).is_some_and(|service| service.replicas == 0)
                && self.observed.of(name).next().is_some()
        };
        let user = self.order.dependents(&place.service).find(|name| goes(name)).cloned();
        if let Some(user) = user {
            self.wait(place, &format!("waits for `{user}` to end"));
            return;
        }
        let records = self.observed.records.get(place).cloned().unwrap_or_default();
        for record in &records {
            if self.observed.transient(record).busy.is_none() {
                self.clear(record, "it is not wanted any more");
            }
        }
    }

    /// Stops and removes, or just removes.
    fn clear(&mut self, record: &Record, reason: &str) {
        match record.state {
            State::Running { .. } => self.leave(record, true, reason),
            State::Paused { .. } => self.unpause(record),
            State::Stopping { .. } => self.stop(record, true, reason),
            _ => self.decision.actions.push(Action::Remove {
                place: record.place.clone(),
                generation: record.generation,
            }),
        }
    }

    /// Lets a paused one go on, before anything else may happen to it.
    fn unpause(&mut self, record: &Record) {
        self.decision.unsettled = true;
        let (place, generation) = (record.place.clone(), record.generation);
        self.decision.actions.push(Action::Unpause { place, generation });
    }

    pub(crate) fn stop(&mut self, record: &Record, remove: bool, reason: &str) {
        self.decision.unsettled = true;
        let drain = self.drain(record);
        self.decision.actions.push(Action::Stop {
            drain,
            place: record.place.clone(),
            generation: record.generation,
            remove,
            reason: reason.to_owned(),
        });
    }

    pub(crate) fn wait(&mut self, place: &Place, reason: &str) {
        self.decision.unsettled = true;
        self.decision.waiting.push((place.clone(), reason.to_owned()));
    }

    fn start(&mut self, record: &Record, desired: &Desired, reason: &str) {
        self.decision.unsettled = true;
        let place = &record.place;
        if let Some(reason) = self.order.waits_for(self.wanted, self.observed, &place.service) {
            self.wait(place, &reason);
            return;
        }
        match job(desired) {
            Ok(job) => self.decision.actions.push(Action::Start {
                place: place.clone(),
                generation: record.generation,
                job: Box::new(job),
                reason: reason.to_owned(),
            }),
            Err(reason) => self.unrenderable(record, reason),
        }
    }

    fn restart(&mut self, record: &Record, desired: &Desired, reason: &str) {
        self.decision.unsettled = true;
        if record.is_running() && !self.may_leave(record, false, reason) {
            return;
        }
        let drain = self.drain(record);
        match job(desired) {
            Ok(job) => self.decision.actions.push(Action::Restart {
                drain,
                place: record.place.clone(),
                generation: record.generation,
                job: Box::new(job),
                reason: reason.to_owned(),
            }),
            Err(reason) => self.decision.failed.push((record.place.clone(), reason)),
        }
    }

    /// One that ended by itself or was refused: `exit` is how, `None` means refused.
    fn ended(
        &mut self,
        record: &Record,
        service: &WantedService,
        desired: &Desired,
        exit: Option<Exit>,
    ) {
        let failed_at = match (&record.state, exit) {
            (_, Some(exit)) => exit.time_ms,
            (State::Refused { time_ms, .. }, _) => *time_ms,
            _ => self.now_ms,
        };
        let ending = Ending::of(exit);
        let again = restart::again(&service.model.restart, ending, record);
        let looping = record.failures >= CRASH_LOOP_FAILURES;
        if ending.is_failure() && (!again || looping || exit.is_none()) {
            self.decision.failed.push((record.place.clone(), failure_text(&record.state)));
        }
        if !again {
            return;
        }
        let due_ms = failed_at + restart::backoff_ms(record.failures);
        self.decision.unsettled |= !looping;
        if self.now_ms < due_ms {
            let wake = self.decision.wake_at_ms.map_or(due_ms, |at| at.min(due_ms));
            self.decision.wake_at_ms = Some(wake);
            return;
        }
        self.start(record, desired, "its restart policy says so");
    }

    fn running(
        &mut self,
        record: &Record,
        service: &WantedService,
        desired: &Desired,
        transient: &Transient,
        room: &mut u32,
    ) {
        match record.health {
            Health::Starting => self.decision.unsettled = true,
            Health::Unhealthy => {
                self.decision.failed.push((record.place.clone(), "it is unhealthy".to_owned()));
            }
            Health::Healthy => {}
        }
        if record.restart_requested {
            if self.turn(record, room) {
                self.restart(record, desired, "a restart was asked for");
            }
            return;
        }
        let changed = changed_lines(service, record, desired, OnChange::Restart);
        if let Some(alias) = changed.first() {
            if desired.rising.contains(alias) {
                let reason = format!("waits for the other end of line `{alias}` to be healthy");
                self.wait(&record.place, &reason);
            } else if self.turn(record, room) {
                self.restart(record, desired, &format!("the other end of line `{alias}` changed"));
            }
            return;
        }
        self.files(record, service, desired, transient, room);
    }

    /// Whether it is this slot's turn to change; one that does not serve needs none.
    fn turn(&mut self, record: &Record, room: &mut u32) -> bool {
        // One from which connections are withheld has had its turn.
        if record.is_healthy() && record.withheld.is_none() {
            if *room == 0 {
                self.wait(&record.place, "waits for its turn");
                return false;
            }
            *room -= 1;
        }
        true
    }

    /// Files that are not as they should be, then a process that has not loaded them.
    fn files(
        &mut self,
        record: &Record,
        service: &WantedService,
        desired: &Desired,
        transient: &Transient,
        room: &mut u32,
    ) {
        for (dest, file) in &desired.files {
            match file {
                Err(reason) => {
                    self.refuse(record, transient, dest.clone(), reason.clone());
                }
                Ok(file) if record.rendered.get(dest) == Some(&file.digest) => {}
                Ok(file) if transient.refused.get(dest) == Some(&file.digest) => {}
                Ok(RenderedFile { rising: Some(alias), .. })
                    if record.rendered.contains_key(dest) =>
                {
                    let reason = format!("waits for the other end of line `{alias}` to be healthy");
                    self.wait(&record.place, &reason);
                }
                Ok(file) => {
                    if self.turn(record, room) {
                        self.decision.unsettled = true;
                        self.decision.actions.push(Action::Render {
                            place: record.place.clone(),
                            generation: record.generation,
                            file: Box::new(file.clone()),
                        });
                    }
                    return;
                }
            }
        }
        self.reload(record, service, desired, transient, room);
    }

    fn reload(
        &mut self,
        record: &Record,
        service: &WantedService,
        desired: &Desired,
        transient: &Transient,
        room: &mut u32,
    ) {
        let all = !changed_lines(service, record, desired, OnChange::Reload).is_empty();
        let mut methods: Vec<Method> = Vec::new();
        for template in &service.model.templates {
            let stale = record.rendered.get(&template.dest) != record.loaded.get(&template.dest);
            if template.reload == Reload::None || !(stale || all) {
                continue;
            }
            let (reload, timeout_ms) = (&template.reload, template.reload_timeout_ms);
            match methods.iter_mut().find(|method| method.reload == *reload) {
                Some(method) => method.timeout_ms = method.timeout_ms.max(timeout_ms),
                None => methods.push(Method { reload: reload.clone(), timeout_ms }),
            }
        }
        let unnoticed = record.rendered != record.loaded || all;
        if !unnoticed {
            self.admit(record);
            return;
        }
        self.decision.unsettled = true;
        let is_told = transient.reload_failures >= RELOAD_FAILURES_TOLD;
        if is_told {
            let text = format!("it could not be told of its files: {}", transient.reload_error);
            self.decision.failed.push((record.place.clone(), text));
        }
        self.decision.repeating |= transient.reload_failures > 0 && !is_told;
        if self.now_ms < transient.reload_not_before_ms {
            let at = transient.reload_not_before_ms;
            let wake = self.decision.wake_at_ms.map_or(at, |other| other.min(at));
            self.decision.wake_at_ms = Some(wake);
            return;
        }
        if !self.turn(record, room) {
            return;
        }
        if methods.iter().any(|method| method.reload == Reload::Restart) {
            self.restart(record, desired, "a file changed that it reads at its start");
            return;
        }
        self.decision.actions.push(Action::Reload {
            place: record.place.clone(),
            generation: record.generation,
            methods,
            loaded: record.rendered.clone(),
            lines: desired.lines.clone(),
        });
    }

    fn refuse(
        &mut self,
        record: &Record,
        transient: &Transient,
        dest: Utf8PathBuf,
        reason: String,
    ) {
        let digest = Digest::of(&reason);
        if transient.refused.get(&dest) != Some(&digest) {
            self.decision.actions.push(Action::Refuse {
                place: record.place.clone(),
                generation: record.generation,
                dest,
                digest,
                reason,
            });
        }
    }
}

/// Whether the newest generation of a slot starts beside the older ones.
pub(crate) fn starts_first(service: &WantedService, older: &[Record], newest: &Record) -> bool {
    let keeps_address = older.iter().any(|record| record.address == newest.address);
    service.model.update.order == UpdateOrder::StartFirst && !keeps_address
}

fn first_error(desired: &Desired) -> Option<String> {
    desired.files.iter().find_map(|(_, file)| file.as_ref().err().cloned())
}

fn job(desired: &Desired) -> Result<StartJob, String> {
    if let Some(reason) = first_error(desired) {
        return Err(reason);
    }
    Ok(StartJob {
        spec: desired.spec.clone(),
        base: desired.base,
        files: desired.files.iter().filter_map(|(_, file)| file.clone().ok()).collect(),
        lines: desired.lines.clone(),
        pinned: desired.pinned.clone(),
    })
}

fn failure_text(state: &State) -> String {
    match state {
        State::Exited { exit } if exit.lost == Some(Lost::Monitor) => {
            "its monitor was killed, and it with it".to_owned()
        }
        State::Exited { exit } if exit.oom => "it was killed for want of memory".to_owned(),
        State::Exited { exit } => format!("it ended with exit code {}", exit.code),
        State::Refused { reason, .. } => reason.clone(),
        State::Running { .. } => "it is unhealthy".to_owned(),
        state => format!("it is {}", state.word()),
    }
}
