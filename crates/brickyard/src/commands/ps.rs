//! `ps`.

use brickyard_api::{ClientError, EnvironmentView, InstanceView};
use clap::Args;

use super::follow::short_address;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::table;
use crate::ui::Ui;

/// List instances
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard ps --all")]
pub(crate) struct PsArgs {
    /// Also those that have ended
    #[arg(short, long)]
    all: bool,
    /// Print addresses only
    #[arg(short, long)]
    quiet: bool,
    /// Services; all when none is named
    services: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &PsArgs) -> Result<(), CommandError> {
    let key = context.key(ui).await?;
    let path = Context::path(&key, "");
    let view: Option<EnvironmentView> = match context.client()?.get(&path).await {
        Ok(view) => Some(view),
        Err(ClientError::NoAgent { .. }) => {
            let root = context.root()?;
            if root.join("environments").read_dir_utf8().is_ok_and(|mut all| all.next().is_some()) {
                ui.say("no agent runs: nobody probes or restarts; `brickyard agent run` does");
                orphans(context, &key, ui).await?;
                return Ok(());
            }
            None
        }
        Err(ClientError::Refused { status: 404, .. }) => None,
        Err(err) => return Err(err.into()),
    };
    let instances: Vec<InstanceView> = view
        .into_iter()
        .flat_map(|view| view.instances)
        .filter(|instance| args.all || ui.json || !matches!(instance.state.as_str(), "exited"))
        .filter(|instance| {
            args.services.is_empty()
                || args.services.iter().any(|s| *s == instance.service.as_str())
        })
        .collect();
    if ui.json {
        ui.json_value(&instances);
    } else if args.quiet {
        instances.iter().for_each(|instance| ui.line(&instance.address));
    } else {
        let rows: Vec<Vec<String>> = instances.iter().map(row).collect();
        let header = ["INSTANCE", "GENERATION", "STATE", "HEALTH", "PID", "IP", "IMAGE", "PORTS"];
        ui.data(&table(&header, &rows));
    }
    Ok(())
}

fn row(instance: &InstanceView) -> Vec<String> {
    let state = match instance.exit_code {
        Some(code) => format!("{} ({code})", instance.state),
        None if instance.restarts > 0 => {
            format!("{} (restarts {})", instance.state, instance.restarts)
        }
        None => instance.state.clone(),
    };
    vec![
        short_address(instance),
        instance.generation.to_string(),
        state,
        match instance.state.as_str() {
            "running" => instance.health.clone(),
            _ => "-".to_owned(),
        },
        instance.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        instance.ip.clone(),
        instance.image.clone(),
        instance.ports.join(", "),
    ]
}

/// What the engine knows while no agent runs.
async fn orphans(
    context: &Context,
    key: &brickyard_engine::EnvironmentKey,
    ui: &Ui,
) -> Result<(), CommandError> {
    use brickyard_engine::{Engine, KnownState};
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for known in context.engine()?.list().await? {
        let id = &known.id;
        if id.environment != *key {
            continue;
        }
        let (state, pid, exit_code) = match known.state {
            KnownState::Running { pid } => ("running", Some(pid), None),
            KnownState::Paused { pid } => ("paused", Some(pid), None),
            KnownState::Exited(exit) => ("exited", None, Some(exit.code)),
            KnownState::Broken => ("broken", None, None),
        };
        rows.push(vec![
            format!("{}/{}", id.service, id.slot),
            id.generation.to_string(),
            state.to_owned(),
            pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        ]);
        // The same fields as with an agent; what only an agent knows is null.
        values.push(serde_json::json!({
            "address": format!("/{}/{}/{}/{}", key.system, key.environment, id.service, id.slot),
            "service": id.service, "instance": id.slot, "generation": id.generation,
            "state": state, "health": null, "pid": pid, "ip": null, "image": null,
            "exit_code": exit_code, "restarts": null, "ports": [],
        }));
    }
    if ui.json {
        ui.json_value(&values);
    } else {
        ui.data(&table(&["INSTANCE", "GENERATION", "STATE", "PID"], &rows));
    }
    Ok(())
}
