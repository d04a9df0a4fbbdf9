//! `scale`.

use brickyard_api::Command;
use clap::Args;

use super::{follow, targets};
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Change how many instances services have
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard scale web=5")]
pub(crate) struct ScaleArgs {
    /// SERVICE=COUNT
    #[arg(required = true)]
    counts: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &ScaleArgs) -> Result<(), CommandError> {
    let (key, _) = context.show().await?;
    let command = Command::Scale { replicas: targets::counts(&args.counts)? };
    follow::send(ui, &context.client()?, &key, &command).await?;
    ui.say(&format!("{} {}", ui.paint(Role::Good, "scaled"), args.counts.join(" ")));
    Ok(())
}
