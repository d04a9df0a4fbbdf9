//! Leaving: how a generation that serves is stopped without anybody noticing.
//!
//! *Expected flow*: connections are withheld from it, so that the front and all templates show the
//! others of its tier alone; those who have its address in a file or a variable take notice; what
//! is under way is finished ([`Drain`]); then it is stopped. *Guarantees*: nobody is waited for
//! longer than [`NOTICE_MS`], and nobody who cannot take notice is waited for at all. An only
//! instance stays in sight, so there is nothing to take notice of.

use std::collections::BTreeSet;

use brickyard_core::ServiceName;
use brickyard_core::clock::Millis;
use brickyard_model::types::OnChange;

use crate::action::{Action, Drain};
use crate::decide::{Decider, starts_first};
use crate::difference::{Replacement, changed_lines, desired, replacement};
use crate::observed::{Health, Place, Record, State};
use crate::view::{Sight, serving};
use crate::wanted::WantedService;

/// How long those who use an instance may take to notice that it leaves.
pub(crate) const NOTICE_MS: Millis = 10_000;

/// How long a process that was told may take to act: a signal has no answer.
pub(crate) const ACTING_MS: Millis = 250;

/// A running instance that shows something else than what is, with the services that it is about.
pub(crate) struct Unaware {
    place: Place,
    about: BTreeSet<ServiceName>,
    /// Until when, where time alone is lacking.
    until_ms: Option<Millis>,
    /// Whether it leaves itself, to take notice by being started again.
    is_withheld: bool,
}

impl Decider<'_> {
    /// Stops a generation that runs, once it may leave.
    pub(crate) fn leave(&mut self, record: &Record, remove: bool, reason: &str) {
        self.decision.unsettled = true;
        if self.may_leave(record, true, reason) {
            self.stop(record, remove, reason);
        }
    }

    /// Whether a generation that runs may be stopped now.
    pub(crate) fn may_leave(&mut self, record: &Record, for_good: bool, reason: &str) -> bool {
        let withheld = match record.withheld {
            Some(withheld) if withheld.for_good || !for_good => withheld,
            _ => {
                self.decision.actions.push(Action::Withhold {
                    place: record.place.clone(),
                    generation: record.generation,
                    for_good,
                    reason: reason.to_owned(),
                });
                return false;
            }
        };
        let mut until_ms = withheld.since_ms + NOTICE_MS;
        if self.now_ms >= until_ms {
            return true;
        }
        let service = &record.place.service;
        let unaware = self.unaware.take().unwrap_or_else(|| self.find_unaware());
        // Two that wait for each other would wait in vain.
        let own = unaware.iter().find(|one| one.place == record.place);
        let in_turn = |one: &Unaware| {
            one.is_withheld && own.is_some_and(|own| own.about.contains(&one.place.service))
        };
        let who = unaware
            .iter()
            .find(|one| one.place != record.place && one.about.contains(service) && !in_turn(one));
        let reason = who.map(|one| format!("waits for {} to notice that it leaves", one.place));
        until_ms = who.and_then(|one| one.until_ms).map_or(until_ms, |at| at.min(until_ms));
        self.unaware = Some(unaware);
        let Some(reason) = reason else {
            return true;
        };
        self.wait(&record.place, &reason);
        let wake = self.decision.wake_at_ms.map_or(until_ms, |at| at.min(until_ms));
        self.decision.wake_at_ms = Some(wake);
        false
    }

    /// Lets connections come again to one that does not leave after all.
    pub(crate) fn admit(&mut self, record: &Record) {
        if record.withheld.is_some() && record.health != Health::Starting {
            let (place, generation) = (record.place.clone(), record.generation);
            self.decision.actions.push(Action::Admit { place, generation });
        }
    }

    /// Whose connections to it can come to an end.
    pub(crate) fn drain(&self, record: &Record) -> Drain {
        let shown = serving(self.observed, &record.place.service, Sight::Sharp);
        let is_shown = |shown: &&Record| {
            (&shown.place, shown.generation) == (&record.place, record.generation)
        };
        if shown.iter().any(is_shown) { Drain::Published } else { Drain::Everybody }
    }

    fn find_unaware(&self) -> Vec<Unaware> {
        let mut found = Vec::new();
        for (name, service) in &self.wanted.services {
            if service.templates.is_empty()
                && service.variables.is_empty()
                && service.model.needs.is_empty()
            {
                continue;
            }
            for record in self.observed.of(name).filter(|record| record.is_running()) {
                // One that leaves itself, is paused, or could not be told, is not waited for.
                let leaves =
                    record.withheld.is_some_and(|withheld| withheld.for_good) || record.is_paused();
                let fails = self.observed.transient(record).reload_failures > 0;
                if leaves || fails || record.place.slot.0 > service.replicas {
                    continue;
                }
                let place = record.place.clone();
                let is_withheld = record.withheld.is_some();
                let about = self.shows_other_than_is(record, service);
                let acts_until_ms = self.acts_until_ms(record);
                if !about.is_empty() {
                    found.push(Unaware { place, about, is_withheld, until_ms: None });
                } else if acts_until_ms.is_some() {
                    let needs = service.model.needs.values();
                    let about = needs.map(|line| line.to.service.clone()).collect();
                    found.push(Unaware { place, about, is_withheld, until_ms: acts_until_ms });
                }
            }
        }
        found
    }

    /// Until when a process that was told of something may still be acting on it.
    fn acts_until_ms(&self, record: &Record) -> Option<Millis> {
        let told_ms = self.observed.transient(record).reloaded_ms?;
        Some(told_ms + ACTING_MS).filter(|until_ms| *until_ms > self.now_ms)
    }

    /// Services about which a running instance has yet to take notice of something, and can before
    /// they have left.
    fn shows_other_than_is(
        &self,
        record: &Record,
        service: &WantedService,
    ) -> BTreeSet<ServiceName> {
        let made = desired(self.wanted, self.observed, self.view, service, Some(record));
        let Ok(desired) = made else {
            return BTreeSet::new();
        };
        let given_up = self.observed.given_up.get(&record.place);
        if given_up == Some(&(self.wanted.deploy, desired.digest)) {
            return BTreeSet::new();
        }
        let pending = replacement(record, &desired);
        let newest = self.observed.newest(&record.place);
        let is_replaced =
            pending.is_some() || newest.is_some_and(|one| one.generation != record.generation);
        let mut about = Vec::new();
        if let Some(Replacement::Reaction { .. }) = pending {
            about.extend(desired.variables_tell_of.iter().map(|name| (name.clone(), true)));
        }
        let refused = self.observed.transient(record).refused;
        for (dest, file) in &desired.files {
            let Ok(file) = file else { continue };
            if refused.get(dest) == Some(&file.digest) {
                continue;
            }
            let digest = Some(&file.digest);
            if record.rendered.get(dest) != digest || record.loaded.get(dest) != digest {
                let waits = file.rising.is_some();
                about.extend(file.tells_of.iter().map(|name| (name.clone(), waits)));
            }
        }
        for on_change in [OnChange::Reload, OnChange::Restart] {
            for alias in changed_lines(service, record, &desired, on_change) {
                let waits = on_change == OnChange::Restart && desired.rising.contains(&alias);
                let line = service.model.needs.get(&alias);
                about.extend(line.map(|line| (line.to.service.clone(), waits)));
            }
        }
        let can_follow =
            |(name, waits): &(_, bool)| !((is_replaced || *waits) && self.makes_way(name));
        about.into_iter().filter(can_follow).map(|(name, _)| name).collect()
    }

    /// Whether a newer generation of a service cannot start before an older one has left. Who
    /// follows by a start of its own waits until all of the tier are healthy: to wait for it in
    /// turn would be in vain.
    fn makes_way(&self, name: &ServiceName) -> bool {
        let Some(service) = self.wanted.services.get(name) else {
            return false;
        };
        let records = self.observed.records.iter().filter(|(place, _)| place.service == *name);
        records.into_iter().any(|(_, records)| match records.as_slice() {
            [older @ .., newest] => {
                newest.state == State::Intended
                    && older.iter().any(Record::is_running)
                    && !starts_first(service, older, newest)
            }
            [] => false,
        })
    }
}
