//! `get`.

use brickyard_api::DataView;
use brickyard_core::diagnostic::nearest;
use brickyard_engine::EnvironmentKey;
use clap::Args;

use super::set;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// Print a configuration key's value
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard get text")]
pub(crate) struct GetArgs {
    /// Key
    key: String,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &GetArgs) -> Result<(), CommandError> {
    let key = context.key().await?;
    let data = data(context, &key).await?;
    let name = set::config_key(&args.key);
    let found = data.config.get(&name).or_else(|| data.registry.get(&name));
    let Some(value) = found else {
        let err = CommandError::not_found(format!("there is no key `{name}`"));
        let known = data.config.keys().map(String::as_str);
        return Err(match nearest(&name, known) {
            Some(near) => err.hint(format!("did you mean `{near}`?")),
            None => err,
        });
    };
    match ui.json {
        true => ui.json_value(&serde_json::json!({"key": name, "value": value})),
        false => ui.line(value),
    }
    Ok(())
}

/// Configuration and registry of an environment that runs.
pub(crate) async fn data(
    context: &Context,
    key: &EnvironmentKey,
) -> Result<DataView, CommandError> {
    context.get(key, "/data").await
}
