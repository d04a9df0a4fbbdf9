//! `top`.

use std::io::IsTerminal;

use brickyard_core::clock::rfc3339;
use brickyard_engine::{Engine, Process};
use clap::Args;

use super::follow::short_address;
use super::targets;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::{cut, table};
use crate::terminal;
use crate::ui::Ui;

/// Show the processes of instances
///
/// Numbers are the host's, users are the instance's own.
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard top web")]
pub(crate) struct TopArgs {
    /// Services or instances; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &TopArgs) -> Result<(), CommandError> {
    let (key, view) = context.show_all().await?;
    let engine = context.engine()?;
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for instance in targets::running(&key, &view, &args.targets)? {
        // One that has just ended has no processes any more.
        let found = engine.processes(&targets::id(&key, instance)).await.unwrap_or_default();
        let name = short_address(instance);
        rows.extend(found.iter().map(|process| row(&name, process)));
        values.push(serde_json::json!({"instance": name, "processes": found}));
    }
    match ui.json {
        true => ui.json_value(&values),
        false => {
            let header = ["INSTANCE", "USER", "PID", "PPID", "STARTED", "TIME", "COMMAND"];
            let text = table(&header, &rows);
            ui.data(&match std::io::stdout().is_terminal() {
                true => cut(&text, usize::from(terminal::size().columns)),
                false => text,
            });
        }
    }
    Ok(())
}

fn row(name: &str, process: &Process) -> Vec<String> {
    let seconds = process.cpu_ms / 1000;
    let started = rfc3339(process.started_ms);
    vec![
        name.to_owned(),
        process.user.clone().unwrap_or_else(|| process.uid.to_string()),
        process.pid.to_string(),
        process.parent.to_string(),
        started.get(..19).unwrap_or(&started).replace('T', " "),
        format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        // A line for each process: no command breaks it, and none rings the bell.
        process.command.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
    ]
}
