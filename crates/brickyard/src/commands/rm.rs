//! `rm`.

use brickyard_api::Command;
use clap::Args;

use super::{follow, targets};
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Remove instances that have ended or were stopped
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard rm web")]
pub(crate) struct RmArgs {
    /// Services or instances; all when none is named
    targets: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &RmArgs) -> Result<(), CommandError> {
    let (key, view) = context.show(ui).await?;
    let targets = targets::slots(&key, &view, &args.targets)?;
    let command = Command::Remove { targets };
    follow::send(ui, &context.client()?, &key, &command).await?;
    ui.say(&format!("{} /{}/{}", ui.paint(Role::Good, "removed"), key.system, key.environment));
    Ok(())
}
