//! What an action's beginning and end change in the records.
//!
//! [`begin`] is the intent: its result is written before the effect starts. [`finish`] takes what
//! the effect, or the world by itself, brought about. Both are used by the agent and by the
//! simulator, so what is simulated is what runs.

use std::collections::BTreeMap;

use brickyard_core::clock::Millis;
use brickyard_core::spec::Exit;
use brickyard_core::{Alias, Digest, Generation};
use camino::Utf8PathBuf;

use crate::action::{Action, StartJob};
use crate::decide::STEADY_MS;
use crate::observed::{Health, Observed, Place, Record, State, Withheld};
use crate::reads::Marks;
use crate::restart::Ending;
use crate::wanted::Wanted;

/// First pause before a failed reload is repeated; it doubles up to a minute.
const RELOAD_RETRY_FIRST_MS: Millis = 200;

/// What an effect, or the world by itself, brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A start or restart ended: with a process, or refused.
    Started(Result<i32, String>),
    /// A stop ended. With `removed`, nothing of the generation is left.
    Stopped {
        /// How the process ended.
        exit: Exit,
        /// Whether the generation was removed too.
        removed: bool,
    },
    /// A generation was paused, or goes on.
    Paused(bool),
    /// A removal ended.
    Removed,
    /// A file was put into place, or its check refused it.
    Rendered {
        /// Its destination.
        dest: Utf8PathBuf,
        /// Its digest.
        digest: Digest,
        /// What it was made of.
        reads: Marks,
        /// Whether the process need not be told.
        silent: bool,
        /// Why it was refused.
        result: Result<(), String>,
    },
    /// The process was told.
    Reloaded {
        /// What it has loaded now.
        loaded: BTreeMap<Utf8PathBuf, Digest>,
        /// The lines of which it has taken notice.
        lines: BTreeMap<Alias, Digest>,
        /// Why it could not be told.
        result: Result<(), String>,
    },
    /// An effect could not be carried out for a reason of the machine's; it is tried again.
    Interrupted,
    /// The process ended by itself.
    Ended(Exit),
    /// Its checks say something else.
    Health(Health),
}

/// Changes the record that an action concerns, before its effect begins.
pub fn begin(observed: &mut Observed, action: &Action, now_ms: Millis) {
    if let Action::Intend(record) = action {
        observed.put((**record).clone());
        return;
    }
    let (place, generation) = action.subject();
    match action {
        Action::Withhold { for_good, .. } => change(observed, place, generation, |record| {
            record.withheld = Some(Withheld { since_ms: now_ms, for_good: *for_good });
        }),
        Action::Admit { .. } => change(observed, place, generation, |record| {
            record.withheld = None;
        }),
        Action::Refuse { dest, digest, .. } => {
            let transient = observed.transient_mut(place, generation);
            transient.refused.insert(dest.clone(), *digest);
        }
        Action::GiveUp { spec, .. } => {
            if let Some(record) = observed.get(place, generation) {
                let key = (record.deploy, *spec);
                observed.given_up.insert(place.clone(), key);
            }
            change(observed, place, generation, |record| {
                to_stopping(record, true);
            });
        }
        Action::Start { job, .. } => change(observed, place, generation, |record| {
            record.restarts += u32::from(record.state != State::Intended);
            record.state = State::Intended;
            prepare(record, job, now_ms);
        }),
        Action::Restart { job, .. } => change(observed, place, generation, |record| {
            record.restart_requested = true;
            record.restarts += 1;
            prepare(record, job, now_ms);
        }),
        Action::Stop { remove, .. } => {
            change(observed, place, generation, |record| {
                to_stopping(record, *remove);
            });
        }
        Action::Kill { .. } => change(observed, place, generation, |record| {
            to_stopping(record, false);
        }),
        Action::Intend(_)
        | Action::Pause { .. }
        | Action::Unpause { .. }
        | Action::Remove { .. }
        | Action::Render { .. }
        | Action::Reload { .. } => {}
    }
    if let Some((place, generation, busy)) = action.busy() {
        observed.transient_mut(place, generation).busy = Some(busy);
    }
}

fn to_stopping(record: &mut Record, remove: bool) {
    let pid = record.state.pid().unwrap_or(0);
    record.state = State::Stopping { pid, remove };
}

fn prepare(record: &mut Record, job: &StartJob, now_ms: Millis) {
    record.started_ms = now_ms;
    record.withheld = Some(Withheld { since_ms: now_ms, for_good: false });
    record.spec = job.spec.digest();
    record.base = job.base;
    record.image = job.spec.image;
    record.health = Health::Starting;
    record.lines.clone_from(&job.lines);
    record.pinned.clone_from(&job.pinned);
    record.rendered =
        job.files.iter().map(|file| (file.template.dest.clone(), file.digest)).collect();
    record.reads =
        job.files.iter().map(|file| (file.template.dest.clone(), file.marks())).collect();
    record.loaded.clone_from(&record.rendered);
}

fn change(
    observed: &mut Observed,
    place: &Place,
    generation: Generation,
    with: impl FnOnce(&mut Record),
) {
    if let Some(record) = observed.get_mut(place, generation) {
        with(record);
    }
}

/// Takes in what happened to a generation. Returns whether anything changed.
pub fn finish(
    wanted: &Wanted,
    observed: &mut Observed,
    place: &Place,
    generation: Generation,
    outcome: Outcome,
    now_ms: Millis,
) -> bool {
    if observed.get(place, generation).is_none() {
        return false;
    }
    let was_busy = observed.transient_mut(place, generation).busy;
    let own_doing = matches!(outcome, Outcome::Ended(_)) && was_busy.is_some_and(is_lifecycle);
    if own_doing {
        // A stop or restart brings its own outcome.
        return false;
    }
    if !matches!(outcome, Outcome::Ended(_) | Outcome::Health(_)) {
        observed.transient_mut(place, generation).busy = None;
    }
    match outcome {
        Outcome::Started(result) => change(observed, place, generation, |record| {
            started(record, result, now_ms);
        }),
        Outcome::Stopped { removed: true, .. } | Outcome::Removed => {
            observed.remove(place, generation);
        }
        Outcome::Stopped { exit, .. } => change(observed, place, generation, |record| {
            record.state = State::Stopped { exit };
        }),
        Outcome::Paused(paused) => change(observed, place, generation, |record| {
            let pid = record.state.pid().unwrap_or(0);
            record.state = if paused { State::Paused { pid } } else { State::Running { pid } };
        }),
        Outcome::Rendered { dest, digest, reads, silent, result } => {
            rendered(observed, place, generation, (dest, digest, reads), silent, &result);
        }
        Outcome::Reloaded { loaded, lines, result: Ok(()) } => {
            // The next of its tier waits until this one is known to serve with what it has loaded.
            let service = wanted.services.get(&place.service);
            let has_checks = service.is_some_and(|service| !service.probes().is_empty());
            let health = if has_checks { Health::Starting } else { Health::Healthy };
            observed.transient_mut(place, generation).reloaded_ms = Some(now_ms);
            reloaded(observed, place, generation, loaded, lines, health);
        }
        Outcome::Reloaded { result: Err(reason), .. } => {
            let transient = observed.transient_mut(place, generation);
            let doublings = transient.reload_failures.min(8);
            transient.reload_failures += 1;
            transient.reload_not_before_ms = now_ms + (RELOAD_RETRY_FIRST_MS << doublings);
            transient.reload_error = reason;
        }
        Outcome::Interrupted => {}
        Outcome::Ended(exit) => change(observed, place, generation, |record| {
            let was_steady = now_ms.saturating_sub(record.started_ms) >= STEADY_MS;
            record.failures = match Ending::of(Some(exit)) {
                Ending::Reboot => 0,
                _ if was_steady => 1,
                _ => record.failures + 1,
            };
            record.state = State::Exited { exit };
            record.health = Health::Starting;
        }),
        Outcome::Health(health) => {
            let Some(record) = observed.get_mut(place, generation) else {
                return false;
            };
            return judged(record, health);
        }
    }
    true
}

/// Takes in what checks say; a frozen process says nothing by not answering.
fn judged(record: &mut Record, health: Health) -> bool {
    let admitted = record.withheld.is_some_and(|withheld| !withheld.for_good);
    let tells_nothing = !record.is_running() || record.is_paused();
    if tells_nothing || (record.health == health && !admitted) {
        return false;
    }
    record.health = health;
    record.proven |= health == Health::Healthy;
    if admitted {
        record.withheld = None;
    }
    true
}

/// One without checks is healthy, too, only when it has run for a moment.
fn started(record: &mut Record, result: Result<i32, String>, now_ms: Millis) {
    record.restart_requested = false;
    record.grace_ms = None;
    record.health = Health::Starting;
    match result {
        Ok(pid) => record.state = State::Running { pid },
        Err(reason) => {
            record.failures += 1;
            record.state = State::Refused { reason, time_ms: now_ms };
        }
    }
}

fn is_lifecycle(busy: crate::observed::Busy) -> bool {
    busy == crate::observed::Busy::Lifecycle
}

fn rendered(
    observed: &mut Observed,
    place: &Place,
    generation: Generation,
    (dest, digest, reads): (Utf8PathBuf, Digest, Marks),
    silent: bool,
    result: &Result<(), String>,
) {
    if result.is_err() {
        observed.transient_mut(place, generation).refused.insert(dest, digest);
        return;
    }
    let transient = observed.transient_mut(place, generation);
    transient.refused.remove(&dest);
    // Its process was not told of this yet.
    transient.reload_failures = 0;
    transient.reload_not_before_ms = 0;
    change(observed, place, generation, |record| {
        if silent {
            record.loaded.insert(dest.clone(), digest);
        }
        record.reads.insert(dest.clone(), reads);
        record.rendered.insert(dest, digest);
    });
}

fn reloaded(
    observed: &mut Observed,
    place: &Place,
    generation: Generation,
    loaded: BTreeMap<Utf8PathBuf, Digest>,
    lines: BTreeMap<Alias, Digest>,
    health: Health,
) {
    let transient = observed.transient_mut(place, generation);
    transient.reload_failures = 0;
    transient.reload_not_before_ms = 0;
    change(observed, place, generation, |record| {
        record.loaded = loaded;
        record.lines = lines;
        record.health = health;
    });
}
