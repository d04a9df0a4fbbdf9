//! `pause`.

use brickyard_api::Command;
use clap::Args;

use super::{follow, targets};
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Freeze instances where they stand, until `unpause`
///
/// Nothing of a paused instance is probed, rendered or restarted; it can be stopped, killed and
/// removed, and `up`, `restart` and `start` let it go on.
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard pause web/2")]
pub(crate) struct PauseArgs {
    /// Services or instances; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &PauseArgs) -> Result<(), CommandError> {
    let (key, view) = context.show().await?;
    let targets = targets::slots(&key, &view, &args.targets)?;
    let command = Command::Pause { targets };
    follow::send(ui, &context.client()?, &key, &command).await?;
    ui.say(&format!("{} /{}/{}", ui.paint(Role::Good, "paused"), key.system, key.environment));
    Ok(())
}
