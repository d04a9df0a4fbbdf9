//! `doctor`.

use clap::Args;

use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Tell what this machine can do
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard doctor")]
pub(crate) struct DoctorArgs {}

pub(crate) fn run(ui: &Ui, _: &Context, _: &DoctorArgs) -> Result<(), CommandError> {
    let findings = brickyard_engine::native::doctor::examine();
    if ui.json {
        ui.json_value(&findings);
    } else {
        for finding in &findings {
            let sign = match (finding.ok, finding.required) {
                (true, _) => ui.paint_data(Role::Good, "ok     "),
                (false, true) => ui.paint_data(Role::Bad, "missing"),
                (false, false) => ui.paint_data(Role::Busy, "without"),
            };
            ui.line(&format!("{sign}  {:28} {}", finding.name, finding.detail));
            if let Some(hint) = &finding.hint {
                ui.line(&format!("         {:28} {}", "", ui.paint_data(Role::Faint, hint)));
            }
        }
    }
    match findings.iter().any(|finding| finding.required && !finding.ok) {
        true => Err(CommandError::machine("the native engine cannot run on this machine")),
        false => Ok(()),
    }
}
