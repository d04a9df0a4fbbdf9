//! `start`.

use brickyard_api::Command;
use clap::Args;

use super::{follow, targets};
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Start stopped instances
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard start web/2")]
pub(crate) struct StartArgs {
    /// Services or instances; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &StartArgs) -> Result<(), CommandError> {
    let (key, view) = context.show().await?;
    let targets = targets::slots(&key, &view, &args.targets)?;
    let command = Command::Start { targets };
    follow::send(ui, &context.client()?, &key, &command).await?;
    ui.say(&format!("{} /{}/{}", ui.paint(Role::Good, "started"), key.system, key.environment));
    Ok(())
}
