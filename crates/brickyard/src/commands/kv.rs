//! `kv`.

use clap::{Args, Subcommand};

use super::get;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::table;
use crate::ui::Ui;

/// Look at configuration and registry
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard kv ls /brickyard")]
pub(crate) struct KvArgs {
    #[command(subcommand)]
    command: KvCommand,
}

#[derive(Debug, Subcommand)]
enum KvCommand {
    /// List keys with their values
    Ls {
        /// Beginning of the keys
        #[arg(default_value = "/")]
        prefix: String,
    },
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &KvArgs) -> Result<(), CommandError> {
    let KvCommand::Ls { prefix } = &args.command;
    let key = context.key().await?;
    let data = get::data(context, &key).await?;
    let all: std::collections::BTreeMap<&String, &String> = data
        .config
        .iter()
        .chain(&data.registry)
        .filter(|(name, _)| name.starts_with(prefix.as_str()))
        .collect();
    if ui.json {
        ui.json_value(&all);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|(name, value)| {
            let from = match (data.set.contains(name), data.config.contains_key(name)) {
                (true, _) => "set",
                (false, true) => "default",
                (false, false) => "registry",
            };
            vec![name.clone(), from.to_owned(), value.clone()]
        })
        .collect();
    ui.data(&table(&["KEY", "FROM", "VALUE"], &rows));
    Ok(())
}
