//! `unset`.

use brickyard_api::Command;
use clap::Args;

use super::{follow, set};
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Remove configuration keys; the model's defaults show again
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard unset text")]
pub(crate) struct UnsetArgs {
    /// Keys
    #[arg(required = true)]
    keys: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &UnsetArgs) -> Result<(), CommandError> {
    let key = context.key().await?;
    let data = super::get::data(context, &key).await?;
    let mut changes = std::collections::BTreeMap::new();
    for name in &args.keys {
        let name = set::config_key(name);
        if !data.set.contains(&name) {
            let err = CommandError::not_found(format!("`{name}` was not set"));
            return Err(match data.config.contains_key(&name) {
                true => err.hint("its value is the model's default"),
                false => err,
            });
        }
        changes.insert(name, None);
    }
    let done = follow::send(ui, &context.client()?, &key, &Command::Config { changes }).await?;
    ui.say(&format!(
        "{} {} (config revision {})",
        ui.paint(Role::Good, "unset"),
        args.keys.join(" "),
        done.revision
    ));
    Ok(())
}
