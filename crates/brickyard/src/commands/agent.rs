//! `agent`.

use std::sync::Arc;
use std::time::Duration;

use brickyard_api::AgentView;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use super::unit;
use crate::context::{Context, binary};
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Run, stop or install the agent of the yard
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard agent run")]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    /// Serve until told to stop; what runs goes on without it
    Run {
        /// End when nothing is left in the yard
        #[arg(long)]
        until_empty: bool,
    },
    /// Stop the agent; what runs goes on
    Stop,
    /// Let systemd run it, now and after each boot
    Install {
        /// Where the unit is written
        #[arg(long, value_name = "DIR", default_value = unit::UNIT_DIR)]
        unit_dir: Utf8PathBuf,
    },
    /// Take the unit away; what runs goes on
    Uninstall {
        /// Where the unit was written
        #[arg(long, value_name = "DIR", default_value = unit::UNIT_DIR)]
        unit_dir: Utf8PathBuf,
    },
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &AgentArgs) -> Result<(), CommandError> {
    match &args.command {
        AgentCommand::Run { until_empty } => serve(context, *until_empty).await,
        AgentCommand::Stop => stop(ui, context).await,
        AgentCommand::Install { unit_dir } => {
            // An agent that `up` started gives way to the unit's.
            let runs = match context.client() {
                Ok(client) => client.get::<AgentView>("/v1/agent").await.is_ok(),
                Err(_) => false,
            };
            if runs && unit::systemd_runs() {
                stop(ui, context).await?;
            }
            unit::install(ui, context, unit_dir)
        }
        AgentCommand::Uninstall { unit_dir } => unit::uninstall(ui, context, unit_dir),
    }
}

async fn serve(context: &Context, until_empty: bool) -> Result<(), CommandError> {
    if context.global.engine != "native" {
        let engine = &context.global.engine;
        return Err(CommandError::usage(format!("engine `{engine}` is not supported yet"))
            .hint("`native` is"));
    }
    let engine = context.engine()?;
    let config = brickyard_agent::Config {
        root: context.root()?,
        binary: binary()?,
        until_empty,
        engine: Arc::new(engine.clone()),
    };
    let failed =
        |err: std::io::Error| CommandError::machine(format!("cannot wait for signals: {err}"));
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    // An agent that a terminal started must not die with it.
    let _hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    brickyard_agent::run(config, stop).await.map_err(|err| {
        let hint = err.hint();
        let mut message = err.to_string();
        let mut source = std::error::Error::source(&err);
        while let Some(cause) = source {
            message.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        let failed = CommandError::machine(message);
        hint.into_iter().fold(failed, CommandError::hint)
    })?;
    use brickyard_engine::Engine;
    if until_empty && engine.environments().await?.is_empty() {
        engine.close()?;
    }
    Ok(())
}

async fn stop(ui: &Ui, context: &Context) -> Result<(), CommandError> {
    let client = context.client()?;
    let agent: AgentView = client.get("/v1/agent").await?;
    let _: bool = client.post("/v1/agent/stop", &()).await?;
    for _ in 0..500 {
        if super::down::has_ended(agent.pid) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stopped = ui.paint(Role::Good, "stopped");
    ui.say(&format!("{stopped} the agent (process {}); what runs goes on", agent.pid));
    Ok(())
}
