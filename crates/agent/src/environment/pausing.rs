//! `pause`, `unpause` and `kill`: changes of what is wanted of single slots that run.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_api::{FailureKind, TargetSlots};
use brickyard_core::{EventKind, Generation, ServiceName, Slot};
use brickyard_plan::{Action, Place};

use super::{Answer, Environment, Failure};
use crate::journal::Draft;

/// Slots by service, as adjustments keep them.
pub(super) type Slots = BTreeMap<ServiceName, BTreeSet<Slot>>;

/// Takes places out of such a set.
pub(super) fn forget<'a>(slots: &mut Slots, places: impl IntoIterator<Item = &'a Place>) {
    for place in places {
        if let Some(of_service) = slots.get_mut(&place.service) {
            of_service.remove(&place.slot);
        }
    }
    slots.retain(|_, of_service| !of_service.is_empty());
}

fn remember(slots: &mut Slots, places: &[Place]) {
    for place in places {
        slots.entry(place.service.clone()).or_default().insert(place.slot);
    }
}

impl Environment {
    /// Pauses slots, or lets them go on.
    pub(super) async fn set_paused(&mut self, targets: &[TargetSlots], paused: bool) -> Answer {
        let places: Vec<Place> =
            self.running(targets)?.into_iter().map(|(place, _)| place).collect();
        let verb = if paused { "pause" } else { "unpause" };
        let event = self.asked_for(verb, &places);
        self.adjust(
            |record| match paused {
                true => remember(&mut record.adjustments.paused, &places),
                false => forget(&mut record.adjustments.paused, &places),
            },
            event,
        )
        .await
    }

    /// Kills what runs at once. It counts as stopped: no restart policy brings it back.
    pub(super) async fn kill(&mut self, targets: &[TargetSlots]) -> Answer {
        let running = self.running(targets)?;
        let places: Vec<Place> = running.iter().map(|(place, _)| place.clone()).collect();
        let event = self.asked_for("kill", &places);
        let change = |record: &mut super::WantedRecord| {
            remember(&mut record.adjustments.stopped, &places);
            forget(&mut record.adjustments.paused, &places);
        };
        let accepted = self.adjust(change, event).await?;
        let now_ms = self.yard.clock.now_ms();
        for (place, generation) in running {
            let record = self.observed.get(&place, generation);
            if record.is_some_and(|record| self.observed.transient(record).busy.is_none()) {
                let action = Action::Kill { place, generation };
                brickyard_plan::begin(&mut self.observed, &action, now_ms);
                self.perform(action);
            }
        }
        Ok(accepted)
    }

    /// The newest generations of the slots that targets mean, as far as they run. A slot that is
    /// named must run.
    fn running(&self, targets: &[TargetSlots]) -> Result<Vec<(Place, Generation)>, Failure> {
        let mut running = Vec::new();
        for place in self.slots(targets)? {
            let newest = self.observed.newest(&place);
            if let Some(record) = newest.filter(|record| record.is_running()) {
                running.push((place, record.generation));
                continue;
            }
            let is_named = targets
                .iter()
                .any(|target| target.service == place.service && target.slot == Some(place.slot));
            if is_named {
                let address = self.address.with_service(&place.service).with_slot(place.slot);
                let word = newest.map_or("not there", |record| record.state.word());
                let text = format!("it does not run: it is {word}");
                return Err(Failure::of(FailureKind::Refused, address, text));
            }
        }
        Ok(running)
    }

    fn asked_for(&self, verb: &str, places: &[Place]) -> Draft {
        let event = Draft::new(EventKind::DeployStarted, self.address.clone());
        places.iter().fold(event, |event, place| event.with(&format!("{verb} {place}"), true))
    }
}
