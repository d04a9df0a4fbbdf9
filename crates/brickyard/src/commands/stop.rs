//! `stop`.

use brickyard_api::Command;
use clap::Args;

use super::{follow, targets};
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Stop instances; they stay stopped until `start` or `up`
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard stop web/2")]
pub(crate) struct StopArgs {
    /// Seconds that they have to end by themselves, instead of what the model says
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Services or instances; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &StopArgs) -> Result<(), CommandError> {
    let (key, view) = context.show().await?;
    let targets = targets::slots(&key, &view, &args.targets)?;
    let command = Command::Stop { targets, grace_ms: targets::grace_ms(args.timeout) };
    follow::send(ui, &context.client()?, &key, &command).await?;
    ui.say(&format!("{} /{}/{}", ui.paint(Role::Good, "stopped"), key.system, key.environment));
    Ok(())
}
