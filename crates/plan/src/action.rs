//! What may be done, as values: actions, what a start needs, and a whole decision.

use std::collections::BTreeMap;

use brickyard_core::clock::Millis;
use brickyard_core::spec::InstanceSpec;
use brickyard_core::{Alias, Digest, Generation};
use brickyard_model::types::Reload;
use camino::Utf8PathBuf;

use crate::difference::RenderedFile;
use crate::observed::{Busy, Place, Record};
use crate::view::Target;

/// One way to tell a process of changed files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// What is done.
    pub reload: Reload,
    /// How long it may take.
    pub timeout_ms: Millis,
}

/// What a start needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartJob {
    /// What runs.
    pub spec: InstanceSpec,
    /// Digest of the spec without rendered variables.
    pub base: Digest,
    /// Files put into place before.
    pub files: Vec<RenderedFile>,
    /// The other ends of its lines.
    pub lines: BTreeMap<Alias, Digest>,
    /// Lines that must not be followed.
    pub pinned: BTreeMap<Alias, Vec<Target>>,
}

/// Whose connections a generation may finish before it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Everybody's: all know that others take its place.
    Everybody,
    /// Those that come over published ports. Who connects to it directly knows of no other
    /// instance and would go on and on.
    Published,
}

/// One thing to do. Every variant but `Intend` names a generation that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the record of a new generation; an unspecified address is to be chosen.
    Intend(Box<Record>),
    /// Withhold connections from a generation that is to be stopped.
    Withhold {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
        /// Whether it does not come back.
        for_good: bool,
        /// Why.
        reason: String,
    },
    /// Let connections come to a generation again.
    Admit {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
    },
    /// Start an intended generation, or an ended one again.
    Start {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
        /// What is started.
        job: Box<StartJob>,
        /// Why.
        reason: String,
    },
    /// Stop a running generation and start it again, address and files kept.
    Restart {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
        /// What is started.
        job: Box<StartJob>,
        /// Whose connections are waited for first.
        drain: Drain,
        /// Why.
        reason: String,
    },
    /// Stop a generation.
    Stop {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
        /// Whose connections are waited for first.
        drain: Drain,
        /// Whether it is removed afterwards.
        remove: bool,
        /// Why.
        reason: String,
    },
    /// Freeze a generation's processes.
    Pause {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
    },
    /// Let a paused generation go on.
    Unpause {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
    },
    /// Kill a generation at once; it stays stopped.
    Kill {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
    },
    /// Remove a generation that does not run.
    Remove {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
    },
    /// Check a file and put it into place.
    Render {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
        /// The file.
        file: Box<RenderedFile>,
    },
    /// A template cannot be rendered; the old file stays. Told once for each cause.
    Refuse {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
        /// The file's path.
        dest: Utf8PathBuf,
        /// Digest of the reason, by which it is recognised.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// Tell a process of what is in place now.
    Reload {
        /// Its slot.
        place: Place,
        /// Which.
        generation: Generation,
        /// How; each way once.
        methods: Vec<Method>,
        /// What it has loaded afterwards.
        loaded: BTreeMap<Utf8PathBuf, Digest>,
        /// The other ends of its lines, of which it has then taken notice.
        lines: BTreeMap<Alias, Digest>,
    },
    /// A replacement failed: keep the older generation and do not try this spec again.
    GiveUp {
        /// Its slot.
        place: Place,
        /// The failed generation.
        generation: Generation,
        /// Its deploy and spec.
        spec: Digest,
        /// Why.
        reason: String,
    },
}

/// What may be done now, and what stands in the way of the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Things to do.
    pub actions: Vec<Action>,
    /// Slots that wait, and for what.
    pub waiting: Vec<(Place, String)>,
    /// Slots that failed, and why.
    pub failed: Vec<(Place, String)>,
    /// When time alone makes something possible.
    pub wake_at_ms: Option<Millis>,
    /// Whether something is under way or not healthy yet.
    pub unsettled: bool,
    /// Whether something failed that is done again before anybody is told.
    pub repeating: bool,
}

impl Action {
    /// The generation that it concerns.
    #[must_use]
    pub fn subject(&self) -> (&Place, Generation) {
        match self {
            Self::Intend(record) => (&record.place, record.generation),
            Self::Withhold { place, generation, .. }
            | Self::Admit { place, generation }
            | Self::Start { place, generation, .. }
            | Self::Restart { place, generation, .. }
            | Self::Stop { place, generation, .. }
            | Self::Pause { place, generation }
            | Self::Unpause { place, generation }
            | Self::Kill { place, generation }
            | Self::Remove { place, generation }
            | Self::Render { place, generation, .. }
            | Self::Refuse { place, generation, .. }
            | Self::Reload { place, generation, .. }
            | Self::GiveUp { place, generation, .. } => (place, *generation),
        }
    }

    /// What it makes its generation do; `None` for an action without an effect.
    #[must_use]
    pub fn busy(&self) -> Option<(&Place, Generation, Busy)> {
        let busy = match self {
            Self::Intend(_)
            | Self::Withhold { .. }
            | Self::Admit { .. }
            | Self::Refuse { .. }
            | Self::GiveUp { .. } => return None,
            Self::Start { .. }
            | Self::Restart { .. }
            | Self::Stop { .. }
            | Self::Pause { .. }
            | Self::Unpause { .. }
            | Self::Kill { .. }
            | Self::Remove { .. } => Busy::Lifecycle,
            Self::Render { .. } => Busy::Rendering,
            Self::Reload { .. } => Busy::Reloading,
        };
        let (place, generation) = self.subject();
        Some((place, generation, busy))
    }
}
