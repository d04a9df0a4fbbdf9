//! `set`.

use brickyard_api::Command;
use clap::Args;

use super::follow;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Set configuration keys; every template that uses them follows
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard set text=mother\n\nAll keys are set or none: every \
instance first renders and checks what it would get.")]
pub(crate) struct SetArgs {
    /// KEY=VALUE
    #[arg(required = true)]
    pairs: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &SetArgs) -> Result<(), CommandError> {
    let mut changes = std::collections::BTreeMap::new();
    for pair in &args.pairs {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| CommandError::usage(format!("`{pair}` is not KEY=VALUE")))?;
        changes.insert(config_key(name), Some(value.to_owned()));
    }
    let key = context.key().await?;
    let done = follow::send(ui, &context.client()?, &key, &Command::Config { changes }).await?;
    ui.say(&format!(
        "{} {} (config revision {})",
        ui.paint(Role::Good, "set"),
        args.pairs.join(" "),
        done.revision
    ));
    Ok(())
}

/// Keys may be typed without their leading slash.
pub(crate) fn config_key(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("/{name}") }
}
