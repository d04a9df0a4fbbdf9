//! `up`.

use std::collections::BTreeSet;

use brickyard_api::{Command, TargetSlots};
use brickyard_core::ServiceName;
use brickyard_engine::EnvironmentKey;
use brickyard_model::System;
use clap::Args;

use super::{check, follow, logs, targets};
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui, count};

/// Build, freeze a release and deploy it; returns when everything is healthy
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard up -d")]
pub(crate) struct UpArgs {
    /// Leave it running and return
    #[arg(short, long)]
    detach: bool,
    /// Build images even where they exist
    #[arg(long)]
    build: bool,
    /// Number of instances, as SERVICE=COUNT
    #[arg(long, value_name = "SERVICE=COUNT")]
    scale: Vec<String>,
    /// Services to bring up with those that they depend on; the others stay as they are. All when
    /// none is named
    #[arg(add = services())]
    services: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &UpArgs) -> Result<(), CommandError> {
    let system = check::valid_model(ui, context)?;
    let key =
        EnvironmentKey { system: system.name.clone(), environment: context.environment_name()? };
    let replicas = targets::counts(&args.scale)?;
    for name in replicas.keys() {
        targets::require(&system, name)?;
    }
    let partial = !args.services.is_empty();
    let system = if partial { part(system, &args.services)? } else { system };
    let release = context.release(ui, system, args.build)?;
    let client = context.agent().await?;
    let files = context.files();
    let command = Command::Deploy { release: Box::new(release), replicas, partial, files };
    let done = follow::send(ui, &client, &key, &command).await?;
    let published: Vec<String> = {
        let mut ports: Vec<String> =
            done.instances.iter().flat_map(|instance| instance.ports.clone()).collect();
        ports.sort();
        ports.dedup();
        ports
    };
    ui.say(&format!(
        "{} /{}/{}: {} healthy{}",
        ui.paint(Role::Good, "up"),
        key.system,
        key.environment,
        count(done.instances.len(), "instance"),
        match published.is_empty() {
            true => String::new(),
            false => format!(", listening on {}", published.join(", ")),
        }
    ));
    let way_out = brickyard_engine::native::doctor::forwarding();
    if let Some(hint) = way_out.hint.filter(|_| !done.instances.is_empty()) {
        ui.say(&ui.paint(Role::Faint, &format!("note: {}: {hint}", way_out.detail)));
    }
    if args.detach {
        return Ok(());
    }
    ui.say(&ui.paint(Role::Faint, "following the logs; Ctrl-C stops everything"));
    let follow_all = logs::LogsArgs::follow_all();
    tokio::select! {
        done = logs::run(ui, context, &follow_all) => done?,
        _ = tokio::signal::ctrl_c() => {}
    }
    let services: Vec<TargetSlots> = done
        .instances
        .iter()
        .map(|i| TargetSlots { service: i.service.clone(), slot: None })
        .collect();
    ui.say("stopping");
    follow::send(ui, &client, &key, &Command::Stop { targets: services, grace_ms: None }).await?;
    Ok(())
}

/// The named services with those that they depend on or have a line to.
fn part(mut system: System, names: &[String]) -> Result<System, CommandError> {
    let mut chosen = BTreeSet::new();
    for name in names {
        let name: ServiceName =
            name.parse().map_err(|err| CommandError::usage(format!("{err}")))?;
        targets::require(&system, &name)?;
        chosen.extend(targets::dependencies(&system, &name));
        chosen.insert(name);
    }
    system.services.retain(|name, _| chosen.contains(name));
    Ok(system)
}
