//! `unpause`.

use brickyard_api::Command;
use clap::Args;

use super::{follow, targets};
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Let paused instances go on
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard unpause web/2")]
pub(crate) struct UnpauseArgs {
    /// Services or instances; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

pub(crate) async fn run(
    ui: &Ui,
    context: &Context,
    args: &UnpauseArgs,
) -> Result<(), CommandError> {
    let (key, view) = context.show().await?;
    let targets = targets::slots(&key, &view, &args.targets)?;
    let command = Command::Unpause { targets };
    follow::send(ui, &context.client()?, &key, &command).await?;
    ui.say(&format!("{} /{}/{}", ui.paint(Role::Good, "unpaused"), key.system, key.environment));
    Ok(())
}
