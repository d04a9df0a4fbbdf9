//! `plan`.

use brickyard_api::{PlanRequest, PlanView};
use brickyard_engine::EnvironmentKey;
use brickyard_plan::plan::{Change, Step};
use clap::Args;

use super::check;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Show what `up` would change, and why
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard plan")]
pub(crate) struct PlanArgs {
    /// Also what would stay as it is
    #[arg(short, long)]
    all: bool,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &PlanArgs) -> Result<(), CommandError> {
    let system = check::valid_model(ui, context)?;
    let key =
        EnvironmentKey { system: system.name.clone(), environment: context.environment_name()? };
    let request = PlanRequest { release: context.release(ui, system, false)? };
    let client = context.agent().await?;
    let view: PlanView = client.post(&Context::path(&key, "/plan"), &request).await?;
    if ui.json {
        ui.json_value(&view);
        return Ok(());
    }
    for step in view.plan.steps.iter().filter(|step| args.all || step.change != Change::Keep) {
        ui.line(&describe(ui, step));
    }
    if view.plan.is_empty() {
        ui.line("nothing would change");
    }
    match view.problems.is_empty() {
        true => Ok(()),
        false => Err(CommandError::Failed {
            kind: brickyard_api::FailureKind::Refused,
            reasons: view.problems,
        }),
    }
}

fn describe(ui: &Ui, step: &Step) -> String {
    let (sign, role, what) = match &step.change {
        Change::Keep => (" ", Role::Faint, "stays".to_owned()),
        Change::Create => ("+", Role::Good, "is created".to_owned()),
        Change::Replace { start_first: true } => {
            ("~", Role::Busy, "is replaced, the newer one first".to_owned())
        }
        Change::Replace { start_first: false } => ("~", Role::Busy, "is replaced".to_owned()),
        Change::Restart => ("~", Role::Busy, "is restarted".to_owned()),
        Change::Render { files, reload } => {
            let text = format!("gets {}, reload: {}", files.join(", "), reload.join(", "));
            ("~", Role::Busy, text)
        }
        Change::Remove => ("-", Role::Bad, "is removed".to_owned()),
        Change::Blocked => ("!", Role::Bad, "cannot be brought about".to_owned()),
    };
    let mut text = format!(
        "{} {} {what}",
        ui.paint_data(role, sign),
        ui.paint_data(Role::Strong, &step.place.to_string())
    );
    if !step.reasons.is_empty() {
        text.push_str(&format!(": {}", step.reasons.join("; ")));
    }
    if let Some(after) = &step.after {
        text.push_str(&ui.paint_data(Role::Faint, &format!(" ({after})")));
    }
    text
}
