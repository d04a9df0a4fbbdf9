//! Everything that would be done, as a value: printed, compared, refused when it is stale.

use std::collections::BTreeMap;

use brickyard_model::types::{OnChange, Reload, UpdateOrder};
use serde::{Deserialize, Serialize};

use crate::difference::{Replacement, changed_lines, desired, replacement};
use crate::observed::{Observed, Place, Record, State};
use crate::order::Order;
use crate::view::View;
use crate::wanted::{Wanted, WantedService};

/// Keys of the store with the revision at which each was read; 0 means that it was absent.
pub type ReadSet = BTreeMap<String, u64>;

/// What happens to one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// Nothing.
    Keep,
    /// A first generation is started.
    Create,
    /// A newer generation takes the place of the older.
    Replace {
        /// Whether the newer one is started first.
        start_first: bool,
    },
    /// The generation is started again.
    Restart,
    /// Files are rendered, and the process told as their templates say.
    Render {
        /// Destinations.
        files: Vec<String>,
        /// `none`, `signal HUP`, `exec`, `restart`.
        reload: Vec<String>,
    },
    /// The slot is not wanted any more.
    Remove,
    /// It cannot be brought about.
    Blocked,
}

/// One slot's line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The slot.
    pub place: Place,
    /// What happens.
    #[serde(flatten)]
    pub change: Change,
    /// Why, in the order of weight.
    pub reasons: Vec<String>,
    /// What it waits for first.
    pub after: Option<String>,
}

/// All slots' changes with what they were decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The deploy that would be made.
    pub deploy: u64,
    /// Changes, in the order of places.
    pub steps: Vec<Step>,
    /// Keys that were read; when one has changed the plan is stale and refused.
    pub read_set: ReadSet,
    /// The fencing token: the revision of the wanted state that it was decided on.
    pub fence: u64,
}

impl Plan {
    /// Whether nothing would be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.change == Change::Keep)
    }
}

/// Compares everything wanted with everything observed.
#[must_use]
pub fn plan(
    wanted: &Wanted,
    observed: &Observed,
    view: &View,
    read_set: ReadSet,
    fence: u64,
) -> Plan {
    let order = Order::of(wanted);
    let mut steps = Vec::new();
    for (name, service) in &wanted.services {
        for slot in 1..=service.replicas {
            let place = Place { service: name.clone(), slot: brickyard_core::Slot(slot) };
            let record = observed.newest(&place);
            let (change, reasons) = slot_change(wanted, observed, view, service, &place, record);
            let acts = !matches!(change, Change::Keep | Change::Render { .. });
            let after = acts.then(|| order.waits_for(wanted, observed, name)).flatten();
            steps.push(Step { place, change, reasons, after });
        }
    }
    for place in observed.records.keys() {
        let replicas = wanted.services.get(&place.service).map_or(0, |s| s.replicas);
        if place.slot.0 > replicas {
            let reasons = vec!["it is not wanted any more".to_owned()];
            let place = place.clone();
            steps.push(Step { place, change: Change::Remove, reasons, after: None });
        }
    }
    steps.sort_by(|a, b| a.place.cmp(&b.place));
    Plan { deploy: wanted.deploy, steps, read_set, fence }
}

fn slot_change(
    wanted: &Wanted,
    observed: &Observed,
    view: &View,
    service: &WantedService,
    place: &Place,
    record: Option<&Record>,
) -> (Change, Vec<String>) {
    let Some(record) = record else {
        return match service.stopped.contains(&place.slot) {
            true => (Change::Keep, vec!["it was stopped".to_owned()]),
            false => (Change::Create, vec!["it does not run".to_owned()]),
        };
    };
    let desired = match desired(wanted, observed, view, service, Some(record)) {
        Ok(desired) => desired,
        Err(reason) => return (Change::Blocked, vec![reason]),
    };
    if let Some(why) = replacement(record, &desired) {
        let keeps_address = why == Replacement::Reaction { echo: true };
        let start_first = service.model.update.order == UpdateOrder::StartFirst && !keeps_address;
        return (Change::Replace { start_first }, vec![why.to_string()]);
    }
    let lines = changed_lines(service, record, &desired, OnChange::Restart);
    if record.is_running() && !lines.is_empty() {
        let reasons = lines.iter().map(|alias| format!("line `{alias}` leads elsewhere"));
        return (Change::Restart, reasons.collect());
    }
    match &record.state {
        State::Running { .. } => files_change(service, record, &desired),
        State::Paused { .. } => (Change::Keep, vec!["it goes on".to_owned()]),
        State::Exited { .. } if record.is_completed() => (Change::Keep, Vec::new()),
        State::Stopped { .. } if service.stopped.contains(&place.slot) => {
            (Change::Keep, vec!["it was stopped".to_owned()])
        }
        state => (Change::Restart, vec![format!("it is {}", state.word())]),
    }
}

fn files_change(
    service: &WantedService,
    record: &Record,
    desired: &crate::difference::Desired,
) -> (Change, Vec<String>) {
    let mut files = Vec::new();
    let mut reload = Vec::new();
    let mut problems = Vec::new();
    for ((dest, file), template) in desired.files.iter().zip(&service.model.templates) {
        match file {
            Err(reason) => problems.push(reason.clone()),
            Ok(file) if record.rendered.get(dest) == Some(&file.digest) => {}
            Ok(_) => {
                files.push(dest.to_string());
                let how = match &template.reload {
                    Reload::None => "none".to_owned(),
                    Reload::Signal(name) => format!("signal {name}"),
                    Reload::Exec(argv) => format!("exec {}", argv.join(" ")),
                    Reload::Restart => "restart".to_owned(),
                };
                if !reload.contains(&how) {
                    reload.push(how);
                }
            }
        }
    }
    if !problems.is_empty() {
        return (Change::Blocked, problems);
    }
    if files.is_empty() {
        return (Change::Keep, Vec::new());
    }
    (Change::Render { files, reload }, vec!["its data changed".to_owned()])
}
