//! `register`.

use brickyard_api::Command;
use clap::Args;

use super::follow;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Register a box that runs elsewhere; everything on a line to it follows
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard register mail/1/smtp 192.0.2.26:25")]
pub(crate) struct RegisterArgs {
    /// SERVICE/INSTANCE/ENDPOINT
    endpoint: String,
    /// HOST:PORT
    #[arg(required_unless_present = "remove")]
    at: Option<String>,
    /// Take the registration back: the service's own instances, or the model's address, show again
    #[arg(long, conflicts_with = "at")]
    remove: bool,
}

pub(crate) async fn run(
    ui: &Ui,
    context: &Context,
    args: &RegisterArgs,
) -> Result<(), CommandError> {
    let key = context.key().await?;
    let changes = std::collections::BTreeMap::from([(args.endpoint.clone(), args.at.clone())]);
    follow::send(ui, &context.client()?, &key, &Command::Register { changes }).await?;
    let text = match &args.at {
        Some(at) => format!("{} {} at {at}", ui.paint(Role::Good, "registered"), args.endpoint),
        None => format!("{} {}", ui.paint(Role::Good, "took back"), args.endpoint),
    };
    ui.say(&text);
    Ok(())
}
