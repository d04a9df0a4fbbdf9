//! What exists: one record for each generation, written before the effect that it tells of.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use brickyard_core::clock::Millis;
use brickyard_core::spec::Exit;
use brickyard_core::{Alias, Digest, Generation, ServiceName, Slot};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::reads::Marks;
use crate::view::Target;

/// A numbered slot of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The service.
    pub service: ServiceName,
    /// The slot.
    pub slot: Slot,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.slot)
    }
}

/// Where a generation is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// Its start was decided and may have begun.
    Intended,
    /// Its first process runs.
    Running {
        /// That process on its host.
        pid: i32,
    },
    /// Its processes are frozen where they stood.
    Paused {
        /// Its first process on its host.
        pid: i32,
    },
    /// It is being stopped, and removed afterwards if `remove` is set.
    Stopping {
        /// That process on its host.
        pid: i32,
        /// Whether nothing of it stays.
        remove: bool,
    },
    /// It ended by itself.
    Exited {
        /// How.
        exit: Exit,
    },
    /// It was stopped by hand and stays so.
    Stopped {
        /// How it ended.
        exit: Exit,
    },
    /// Its start was refused.
    Refused {
        /// Why.
        reason: String,
        /// When.
        time_ms: Millis,
    },
}

impl State {
    /// One word, as `ps` shows it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Intended => "starting",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Stopping { .. } => "stopping",
            Self::Exited { .. } => "exited",
            Self::Stopped { .. } => "stopped",
            Self::Refused { .. } => "refused",
        }
    }

    /// Its first process, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        match self {
            Self::Running { pid } | Self::Paused { pid } | Self::Stopping { pid, .. } => Some(*pid),
            _ => None,
        }
    }
}

/// What its checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Not known yet.
    Starting,
    /// All pass, or there are none.
    Healthy,
    /// One failed as often as it may.
    Unhealthy,
}

impl Health {
    /// The word that `ps` shows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Connections are withheld from a generation: those that use it are told of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// Since when.
    pub since_ms: Millis,
    /// Whether it does not come back: whoever uses it has to follow. One that is only started
    /// again keeps its address, which is not worth a restart of anybody else.
    pub for_good: bool,
}

/// One generation. The store keeps it under its place; what is transient is kept by the agent
/// alone and never written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where it is.
    pub place: Place,
    /// Which it is.
    pub generation: Generation,
    /// The deploy that made it.
    pub deploy: u64,
    /// Where it is in its life.
    pub state: State,
    /// What its checks say.
    pub health: Health,
    /// Digest of the whole spec, rendered variables included.
    pub spec: Digest,
    /// Digest of the spec without rendered variables: tells a reaction from a deploy.
    pub base: Digest,
    /// Its image.
    pub image: Digest,
    /// Its address.
    pub address: Ipv4Addr,
    /// Services whose replacement led to this generation, the first cause first. It bounds
    /// reactions: who stands in it already keeps its address and so ends the chain.
    pub cause: Vec<ServiceName>,
    /// The other ends of its lines as they were when it last took notice.
    pub lines: BTreeMap<Alias, Digest>,
    /// Digest of each file as it was put into place.
    pub rendered: BTreeMap<Utf8PathBuf, Digest>,
    /// What each file was made of.
    #[serde(default)]
    pub reads: BTreeMap<Utf8PathBuf, Marks>,
    /// Digest of each file as its process has loaded it.
    pub loaded: BTreeMap<Utf8PathBuf, Digest>,
    /// How often it was started again.
    pub restarts: u32,
    /// Starts again without a healthy time between them: the exponent of the backoff.
    pub failures: u32,
    /// When it was created.
    pub created_ms: Millis,
    /// When its first process was last started.
    pub started_ms: Millis,
    /// Whether a restart was asked for and is not done yet.
    pub restart_requested: bool,
    /// How long it has to end by itself, where somebody said so for this time.
    #[serde(default)]
    pub grace_ms: Option<Millis>,
    /// Whether it took the place of another generation.
    pub replaces: bool,
    /// The other ends of lines that must not be followed, as they were at its start.
    pub pinned: BTreeMap<Alias, Vec<Target>>,
    /// Whether it has been healthy: until then nobody counts on it.
    #[serde(default)]
    pub proven: bool,
    /// Set before it is stopped, and after a start until its checks have spoken.
    #[serde(default)]
    pub withheld: Option<Withheld>,
}

impl Record {
    /// Whether its process is there and not on its way out. A paused one counts: what others
    /// know of it stays as it is until it goes on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Paused { .. })
    }

    /// Whether its processes are frozen.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        matches!(self.state, State::Paused { .. })
    }

    /// Whether it runs and its checks pass.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.is_running() && self.health == Health::Healthy
    }

    fn change_times(&mut self, change: impl Fn(Millis) -> Millis) {
        self.created_ms = change(self.created_ms);
        self.started_ms = change(self.started_ms);
        if let Some(withheld) = &mut self.withheld {
            withheld.since_ms = change(withheld.since_ms);
        }
        match &mut self.state {
            State::Exited { exit } | State::Stopped { exit } => exit.time_ms = change(exit.time_ms),
            State::Refused { time_ms, .. } => *time_ms = change(*time_ms),
            State::Intended
            | State::Running { .. }
            | State::Paused { .. }
            | State::Stopping { .. } => {}
        }
    }

    /// Whether it has been healthy, is to go on, and so will be healthy again.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        let goes_on = matches!(
            self.state,
            State::Intended | State::Running { .. } | State::Paused { .. } | State::Exited { .. }
        );
        self.proven && goes_on && !self.withheld.is_some_and(|withheld| withheld.for_good)
    }

    /// Whether it has yet to show for the first time that it is well.
    #[must_use]
    pub fn is_rising(&self) -> bool {
        let starts = match self.state {
            State::Intended => true,
            State::Running { .. } => self.health == Health::Starting,
            _ => false,
        };
        starts && !self.proven
    }

    /// Whether it ended well by itself.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        matches!(&self.state, State::Exited { exit } if exit.code == 0)
    }
}

/// Something the agent does for a generation at this moment; nothing else is begun meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// A start, stop, restart or removal.
    Lifecycle,
    /// A file is rendered.
    Rendering,
    /// The process is told of a file.
    Reloading,
}

/// What is known and not written: refusals wait for a change, failures for their time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transient {
    /// What is being done.
    pub busy: Option<Busy>,
    /// Content that a template's check refused; it is not tried again.
    pub refused: BTreeMap<Utf8PathBuf, Digest>,
    /// When the next reload may be tried, after a failed one.
    pub reload_not_before_ms: Millis,
    /// When its process was last told of something.
    pub reloaded_ms: Option<Millis>,
    /// Failed reloads in a row, of what is in place now.
    pub reload_failures: u32,
    /// Why the last of them failed.
    pub reload_error: String,
}

/// All generations, in the order of place and generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Records by place; within one the oldest generation first.
    pub records: BTreeMap<Place, Vec<Record>>,
    /// What is not written, by generation.
    pub transient: BTreeMap<(Place, Generation), Transient>,
    /// Specs that failed to replace a running generation, and for which deploy: they are not
    /// tried again until something changes.
    pub given_up: BTreeMap<Place, (u64, Digest)>,
}

impl Observed {
    /// All records.
    pub fn all(&self) -> impl Iterator<Item = &Record> {
        self.records.values().flatten()
    }

    /// Records of one service.
    pub fn of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a Record> {
        self.all().filter(move |record| record.place.service == *service)
    }

    /// The newest generation of a slot.
    #[must_use]
    pub fn newest(&self, place: &Place) -> Option<&Record> {
        self.records.get(place)?.last()
    }

    /// One record.
    #[must_use]
    pub fn get(&self, place: &Place, generation: Generation) -> Option<&Record> {
        self.records.get(place)?.iter().find(|record| record.generation == generation)
    }

    /// One record, to be changed.
    pub fn get_mut(&mut self, place: &Place, generation: Generation) -> Option<&mut Record> {
        self.records.get_mut(place)?.iter_mut().find(|record| record.generation == generation)
    }

    /// Adds or replaces a record.
    pub fn put(&mut self, record: Record) {
        let list = self.records.entry(record.place.clone()).or_default();
        match list.iter_mut().find(|known| known.generation == record.generation) {
            Some(known) => *known = record,
            None => {
                list.push(record);
                list.sort_by_key(|known| known.generation);
            }
        }
    }

    /// Forgets a generation.
    pub fn remove(&mut self, place: &Place, generation: Generation) {
        if let Some(list) = self.records.get_mut(place) {
            list.retain(|record| record.generation != generation);
            if list.is_empty() {
                self.records.remove(place);
            }
        }
        self.transient.remove(&(place.clone(), generation));
    }

    /// Moves all times: the machine's clock was set, and pauses that have begun are to last as long
    /// as they were meant to.
    pub fn shift_times(&mut self, by_ms: i64) {
        let shifted = |time_ms: Millis| time_ms.saturating_add_signed(by_ms);
        for record in self.records.values_mut().flatten() {
            record.change_times(shifted);
        }
        for transient in self.transient.values_mut() {
            transient.reload_not_before_ms = shifted(transient.reload_not_before_ms);
            transient.reloaded_ms = transient.reloaded_ms.map(shifted);
        }
    }

    /// Takes times back that lie in the future, because the clock was set while nobody looked.
    pub fn end_times_at(&mut self, now_ms: Millis) {
        for record in self.records.values_mut().flatten() {
            record.change_times(|time_ms| time_ms.min(now_ms));
        }
    }

    /// What is transient about a generation.
    #[must_use]
    pub fn transient(&self, record: &Record) -> Transient {
        let key = (record.place.clone(), record.generation);
        self.transient.get(&key).cloned().unwrap_or_default()
    }

    /// What is transient about a generation, to be changed.
    pub fn transient_mut(&mut self, place: &Place, generation: Generation) -> &mut Transient {
        self.transient.entry((place.clone(), generation)).or_default()
    }

    /// The generation that a new one gets: generations only grow within an environment.
    #[must_use]
    pub fn next_generation(&self, issued: Generation) -> Generation {
        let highest = self.all().map(|record| record.generation).max().unwrap_or(Generation(0));
        Generation(highest.max(issued).0 + 1)
    }
}
