//! `wait`.

use brickyard_api::InstanceView;
use brickyard_engine::native::Native;
use brickyard_engine::{Engine, EnvironmentKey};
use clap::Args;
use tokio::task::JoinSet;

use super::down::{self, DownArgs};
use super::follow::short_address;
use super::targets;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// Wait until instances have ended
///
/// Prints the exit code of each as it ends, and ends with the code of the last. One that its
/// restart policy starts again has ended all the same.
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard wait migrate")]
pub(crate) struct WaitArgs {
    /// Take the whole environment down when the first one has ended
    #[arg(long)]
    down_project: bool,
    /// Services or instances
    #[arg(required = true, add = services())]
    targets: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &WaitArgs) -> Result<(), CommandError> {
    let (key, view) = context.show_all().await?;
    let engine = context.engine()?;
    let mut waits: JoinSet<Result<(String, i32), CommandError>> = JoinSet::new();
    for instance in targets::instances(&key, &view, &args.targets)? {
        waits.spawn(wait(engine.clone(), key.clone(), instance.clone()));
    }
    let mut last = 0;
    while let Some(ended) = waits.join_next().await {
        let (name, code) = ended.map_err(|err| CommandError::machine(err.to_string()))??;
        match ui.json {
            true => ui.json_value(&serde_json::json!({"instance": name, "exit_code": code})),
            false => ui.line(&format!("{name} exited with code {code}")),
        }
        last = code;
        if args.down_project {
            down::run(ui, context, &DownArgs::keeping_volumes()).await?;
            break;
        }
    }
    match last {
        0 => Ok(()),
        code => Err(CommandError::Code(code)),
    }
}

async fn wait(
    engine: Native,
    key: EnvironmentKey,
    instance: InstanceView,
) -> Result<(String, i32), CommandError> {
    let name = short_address(&instance);
    if let Some(code) = instance.exit_code {
        return Ok((name, code));
    }
    if !targets::is_alive(&instance) && instance.state != "stopping" {
        return Err(targets::does_not_run(&instance));
    }
    let exit = engine.wait(&targets::id(&key, &instance)).await?;
    Ok((name, exit.code))
}
