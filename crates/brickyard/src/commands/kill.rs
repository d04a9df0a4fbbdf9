//! `kill`.

use brickyard_api::Command;
use brickyard_engine::{Engine, signal_number};
use clap::Args;

use super::{follow, targets};
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui, count};

/// The number of SIGKILL.
const SIGKILL: i32 = 9;

/// Kill instances at once, or send them a signal
///
/// What is killed counts as stopped: no restart policy starts it again. Any other signal is only
/// sent to the first process of each instance; what follows is the restart policy's affair.
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard kill -s HUP web")]
pub(crate) struct KillArgs {
    /// Signal, by name or number
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// Services or instances; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &KillArgs) -> Result<(), CommandError> {
    let number = signal_number(&args.signal)
        .ok_or_else(|| CommandError::usage(format!("`{}` is not a signal", args.signal)))?;
    let (key, view) = context.show_all().await?;
    let engine = context.engine()?;
    if number == SIGKILL {
        let (targets, one_offs) = targets::split(&key, &view, &args.targets)?;
        for one_off in one_offs.into_iter().filter(|instance| targets::is_alive(instance)) {
            engine.signal(&targets::id(&key, one_off), "KILL").await?;
        }
        if !targets.is_empty() {
            follow::send(ui, &context.client()?, &key, &Command::Kill { targets }).await?;
        }
        ui.say(&format!("{} /{}/{}", ui.paint(Role::Good, "killed"), key.system, key.environment));
        return Ok(());
    }
    let chosen = targets::running(&key, &view, &args.targets)?;
    for instance in &chosen {
        engine.signal(&targets::id(&key, instance), &args.signal).await?;
    }
    let sent = ui.paint(Role::Good, "sent");
    ui.say(&format!("{sent} {} to {}", args.signal, count(chosen.len(), "instance")));
    Ok(())
}
