//! `ls`.

use std::collections::BTreeMap;

use brickyard_api::{ClientError, EnvironmentView};
use brickyard_engine::{Engine, KnownState};
use camino::Utf8PathBuf;
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::table;
use crate::ui::Ui;

/// List the environments of the yard
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard ls --all")]
pub(crate) struct LsArgs {
    /// Also environments in which nothing runs
    #[arg(short, long)]
    all: bool,
    /// Print /SYSTEM/ENVIRONMENT only
    #[arg(short, long)]
    quiet: bool,
    /// Only those for which this holds, as name=SYSTEM
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
}

/// One environment.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    environment: String,
    /// How many instances are in each state.
    status: BTreeMap<String, usize>,
    files: Vec<Utf8PathBuf>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &LsArgs) -> Result<(), CommandError> {
    let mut rows = match context.client()?.get::<Vec<EnvironmentView>>("/v1/environments").await {
        Ok(views) => views.into_iter().map(of_view).collect(),
        // One that is just ending may still take the call.
        Err(ClientError::NoAgent { .. } | ClientError::Broken(_)) => of_engine(ui, context).await?,
        Err(err) => return Err(err.into()),
    };
    for text in &args.filter {
        match text.split_once('=') {
            Some(("name", name)) => rows.retain(|row| row.name == name),
            _ => {
                return Err(CommandError::usage(format!("`{text}` is not a filter"))
                    .hint("`name=SYSTEM` is"));
            }
        }
    }
    let is_alive = |row: &Row| ["running", "paused"].iter().any(|s| row.status.contains_key(*s));
    rows.retain(|row| args.all || is_alive(row));
    if ui.json {
        ui.json_value(&rows);
    } else if args.quiet {
        rows.iter().for_each(|row| ui.line(&format!("/{}/{}", row.name, row.environment)));
    } else {
        let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        ui.data(&table(&["NAME", "ENVIRONMENT", "STATUS", "FILES"], &cells));
    }
    Ok(())
}

fn cells(row: &Row) -> Vec<String> {
    let status: Vec<String> =
        row.status.iter().map(|(state, count)| format!("{state} ({count})")).collect();
    let files: Vec<&str> = row.files.iter().map(|file| file.as_str()).collect();
    let or = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    vec![row.name.clone(), row.environment.clone(), or(status.join(", ")), or(files.join(", "))]
}

fn of_view(view: EnvironmentView) -> Row {
    let mut status = BTreeMap::new();
    for instance in view.instances {
        *status.entry(instance.state).or_default() += 1;
    }
    Row { name: view.system, environment: view.environment, status, files: view.files }
}

/// What the engine knows while no agent runs.
async fn of_engine(ui: &Ui, context: &Context) -> Result<Vec<Row>, CommandError> {
    if !context.root()?.join("environments").exists() {
        return Ok(Vec::new());
    }
    let engine = context.engine()?;
    let mut rows = Vec::new();
    for key in engine.environments().await? {
        let (name, environment) = (key.system.to_string(), key.environment.to_string());
        let mut status = BTreeMap::new();
        for known in engine.list().await?.iter().filter(|known| known.id.environment == key) {
            let word = match known.state {
                KnownState::Running { .. } => "running",
                KnownState::Paused { .. } => "paused",
                KnownState::Exited(_) => "exited",
                KnownState::Broken => "broken",
            };
            *status.entry(word.to_owned()).or_default() += 1;
        }
        rows.push(Row { name, environment, status, files: Vec::new() });
    }
    if !rows.is_empty() {
        ui.say("no agent runs: nobody probes or restarts; `brickyard agent run` does");
    }
    Ok(rows)
}
