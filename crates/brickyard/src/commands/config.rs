//! `config`.

use clap::Args;

use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// Print the model as it was understood
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard config")]
pub(crate) struct ConfigArgs {
    /// Print the names of services only
    #[arg(long)]
    services: bool,
    /// Only validate
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(ui: &Ui, context: &Context, args: &ConfigArgs) -> Result<(), CommandError> {
    let system = context.model(ui)?;
    if args.quiet {
        return Ok(());
    }
    if args.services {
        system.services.keys().for_each(|name| ui.line(name.as_str()));
    } else if ui.json {
        ui.json_value(&system);
    } else {
        ui.data(&brickyard_model::to_yaml(&system));
    }
    Ok(())
}
