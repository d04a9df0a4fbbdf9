//! What all parts of the agent share.

use std::sync::Arc;

use brickyard_core::clock::Clock;
use brickyard_engine::Engine;
use brickyard_image::Store as Images;
use brickyard_store::Store;

use crate::front_link::FrontLink;
use crate::journal::Journal;
use crate::tasks::Tasks;

/// The yard: one root, one store, one engine.
pub(crate) struct Yard {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) images: Images,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Journal,
    pub(crate) front: FrontLink,
    pub(crate) tasks: Tasks,
    /// Whether the machine was started anew since the last agent.
    pub(crate) rebooted: bool,
}
