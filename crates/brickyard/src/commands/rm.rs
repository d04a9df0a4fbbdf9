//! `rm`.

use std::io::{BufRead, IsTerminal};

use brickyard_api::{Command, InstanceView};
use clap::Args;

use super::{follow, run, targets};
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Remove instances that have ended or were stopped
///
/// At a terminal it asks first. Their slots stay empty until `start` or `up`.
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard rm -fs web")]
pub(crate) struct RmArgs {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Stop them first
    #[arg(short, long)]
    stop: bool,
    /// Remove anonymous volumes, too; all volumes have names here, and those stay
    #[arg(short, long)]
    volumes: bool,
    /// Services or instances; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &RmArgs) -> Result<(), CommandError> {
    let (key, view) = context.show_all().await?;
    let goes = |instance: &&InstanceView| {
        args.stop || matches!(instance.state.as_str(), "stopped" | "exited" | "refused")
    };
    let chosen = targets::instances(&key, &view, &args.targets)?;
    let names: Vec<String> = chosen.into_iter().filter(&goes).map(follow::short_address).collect();
    if !args.force && !names.is_empty() && !is_agreed(ui, &names) {
        return Err(CommandError::refused("nothing was removed"));
    }
    let (targets, one_offs) = targets::split(&key, &view, &args.targets)?;
    let engine = context.engine()?;
    for one_off in one_offs.into_iter().filter(&goes) {
        run::attend::clear(&engine, &targets::id(&key, one_off)).await?;
    }
    let client = context.client()?;
    if args.stop && !targets.is_empty() {
        let command = Command::Stop { targets: targets.clone(), grace_ms: None };
        follow::send(ui, &client, &key, &command).await?;
    }
    if !targets.is_empty() {
        follow::send(ui, &client, &key, &Command::Remove { targets }).await?;
    }
    ui.say(&format!("{} /{}/{}", ui.paint(Role::Good, "removed"), key.system, key.environment));
    Ok(())
}

/// Asks the person at the terminal; without one the command itself is the answer.
fn is_agreed(ui: &Ui, names: &[String]) -> bool {
    if !std::io::stdin().is_terminal() || !ui.terminal {
        return true;
    }
    ui.say(&format!("going to remove {}; type y to go on", names.join(", ")));
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
