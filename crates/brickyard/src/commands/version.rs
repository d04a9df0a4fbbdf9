//! `version`.

use clap::Args;

use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// Print the version
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard version --short")]
pub(crate) struct VersionArgs {
    /// Only the number
    #[arg(long)]
    short: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "all commands have the same shape")]
pub(crate) fn run(ui: &Ui, _: &Context, args: &VersionArgs) -> Result<(), CommandError> {
    let version = env!("CARGO_PKG_VERSION");
    match (ui.json, args.short) {
        (true, _) => ui.json_value(&serde_json::json!({"version": version})),
        (false, true) => ui.line(version),
        (false, false) => ui.line(&format!("brickyard {version}")),
    }
    Ok(())
}
