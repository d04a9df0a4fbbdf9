//! Deciding: wanted and observed in, plan and next actions out. Pure and deterministic.
//!
//! - [`wanted`]: a release with its configuration, resolved to what each service should run;
//! - [`observed`]: one [`observed::Record`] for each generation that exists or is intended;
//! - [`view`]: configuration and registry as templates and lines see them;
//! - [`difference`]: what is different about one slot, and why;
//! - [`reads`]: what files were made of, and what of it has changed;
//! - [`order`]: who has to wait for whom;
//! - [`restart`]: whether what has ended is started again;
//! - [`action`]: things to do, as values;
//! - [`decide`]: what may be done *now*; called again after every event until nothing is left;
//! - [`apply`]: what an action's beginning and end change;
//! - [`plan`]: everything that would be done, with the keys that it was decided on;
//! - [`simulator`]: scripted scenarios on a fake world.
//!
//! Guarantees: the same input gives the same output; run to the end, [`decide::decide`] reaches a
//! state in which it returns nothing, cycles of lines included; a tier never changes as a whole.

#![forbid(unsafe_code)]

pub mod action;
pub mod apply;
pub mod decide;
pub mod difference;
mod leave;
pub mod observed;
pub mod order;
pub mod plan;
pub mod reads;
pub mod restart;

pub mod simulator;
pub mod view;
pub mod wanted;

pub use action::{Action, Decision, Drain, Method, StartJob};
pub use apply::{Outcome, begin, finish};
pub use decide::decide;
pub use observed::{Health, Observed, Place, Record, State};
pub use plan::Plan;
pub use view::{Sight, View};
pub use wanted::{ImageConfig, Wanted, WantedService};
