//! `ps`.

use brickyard_api::{ClientError, EnvironmentView, InstanceView};
use brickyard_core::diagnostic::nearest;
use brickyard_engine::{Engine, EnvironmentKey, KnownState, SLOT_ONE_OFF};
use clap::Args;

use super::follow::short_address;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::table;
use crate::ui::Ui;

/// States that can be asked for.
const STATES: [&str; 7] =
    ["starting", "running", "paused", "stopping", "exited", "stopped", "refused"];

/// List instances
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard ps --status paused")]
pub(crate) struct PsArgs {
    /// Also those that have ended, and one-off containers
    #[arg(short, long)]
    all: bool,
    /// Print addresses only
    #[arg(short, long)]
    quiet: bool,
    /// Print the names of services only
    #[arg(long, conflicts_with = "quiet")]
    services: bool,
    /// Only those in this state: starting, running, paused, stopping, exited, stopped or refused
    #[arg(long, value_name = "STATE")]
    status: Vec<String>,
    /// Only those for which this holds, as status=running
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Services; all when none is named
    #[arg(value_name = "SERVICES", add = services())]
    of: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &PsArgs) -> Result<(), CommandError> {
    let states = states(args)?;
    let key = context.key().await?;
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
    let mut instances = view.map(|view| view.instances).unwrap_or_default();
    if args.all {
        instances.extend(context.one_offs(&key).await?);
    }
    instances.retain(|instance| {
        let of_state = match states.is_empty() {
            true => args.all || ui.json || instance.state != "exited",
            false => states.contains(&instance.state),
        };
        of_state && (args.of.is_empty() || args.of.iter().any(|s| *s == instance.service.as_str()))
    });
    show(ui, args, &instances);
    Ok(())
}

/// States by `--status` and `--filter`.
fn states(args: &PsArgs) -> Result<Vec<String>, CommandError> {
    let mut states = args.status.clone();
    for text in &args.filter {
        match text.split_once('=') {
            Some(("status", state)) => states.push(state.to_owned()),
            _ => {
                return Err(CommandError::usage(format!("`{text}` is not a filter"))
                    .hint("`status=STATE` is"));
            }
        }
    }
    for state in &states {
        if !STATES.contains(&state.as_str()) {
            let err = CommandError::usage(format!("`{state}` is not a state"));
            return Err(match nearest(state, STATES) {
                Some(near) => err.hint(format!("did you mean `{near}`?")),
                None => err.hint(format!("states are {}", STATES.join(", "))),
            });
        }
    }
    Ok(states)
}

fn show(ui: &Ui, args: &PsArgs, instances: &[InstanceView]) {
    if args.services {
        let mut names: Vec<&str> = instances
            .iter()
            .filter(|instance| instance.instance != SLOT_ONE_OFF)
            .map(|instance| instance.service.as_str())
            .collect();
        names.dedup();
        match ui.json {
            true => ui.json_value(&names),
            false => names.iter().for_each(|name| ui.line(name)),
        }
    } else if ui.json {
        ui.json_value(&instances);
    } else if args.quiet {
        instances.iter().for_each(|instance| ui.line(&instance.address));
    } else {
        let rows: Vec<Vec<String>> = instances.iter().map(row).collect();
        let header = ["INSTANCE", "GENERATION", "STATE", "HEALTH", "PID", "IP", "IMAGE", "PORTS"];
        ui.data(&table(&header, &rows));
    }
}

fn row(instance: &InstanceView) -> Vec<String> {
    let is_one_off = instance.instance == SLOT_ONE_OFF;
    let state = match instance.exit_code {
        Some(code) if instance.out_of_memory => {
            format!("{} ({code}, out of memory)", instance.state)
        }
        Some(code) => format!("{} ({code})", instance.state),
        None if instance.restarts > 0 => {
            format!("{} (restarts {})", instance.state, instance.restarts)
        }
        None => instance.state.clone(),
    };
    let state = match instance.output_lost {
        Some(_) => format!("{state}, its output is lost"),
        None => state,
    };
    vec![
        short_address(instance),
        if is_one_off { "-".to_owned() } else { instance.generation.to_string() },
        state,
        match instance.state.as_str() {
            "running" if !is_one_off => instance.health.clone(),
            _ => "-".to_owned(),
        },
        instance.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        instance.ip.clone(),
        instance.image.clone(),
        instance.ports.join(", "),
    ]
}

/// What the engine knows while no agent runs.
async fn orphans(context: &Context, key: &EnvironmentKey, ui: &Ui) -> Result<(), CommandError> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for known in context.engine()?.list().await? {
        let id = &known.id;
        if id.environment != *key || id.slot == SLOT_ONE_OFF {
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
