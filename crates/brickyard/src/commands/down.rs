//! `down`.

use std::time::Duration;

use brickyard_api::{AgentView, ClientError, Command};
use clap::Args;

use super::follow;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Stop and remove everything of an environment
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard down -v")]
pub(crate) struct DownArgs {
    /// Remove named volumes, configuration that was set and registrations, too
    #[arg(short, long)]
    volumes: bool,
}

impl DownArgs {
    /// What `down` does without flags.
    pub(crate) fn keeping_volumes() -> Self {
        Self { volumes: false }
    }
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &DownArgs) -> Result<(), CommandError> {
    let key = context.key(ui).await?;
    let client = context.client()?;
    let agent: AgentView = match client.get("/v1/agent").await {
        Ok(agent) => agent,
        Err(ClientError::NoAgent { .. }) => {
            if !context.root()?.join(brickyard_agent::STORE).exists() {
                ui.say(&format!("nothing runs in /{}/{}", key.system, key.environment));
                return Ok(());
            }
            // Things may be left of an agent that died: a new one knows them.
            context.agent().await?.get("/v1/agent").await?
        }
        Err(err) => return Err(err.into()),
    };
    match follow::send(ui, &client, &key, &Command::Down { volumes: args.volumes }).await {
        Err(CommandError::Failed { kind: brickyard_api::FailureKind::NotFound, .. }) => {
            // The agent may just have finished what a former `down` began.
            wait_for_own_end(&client, &agent).await;
            ui.say(&format!("nothing runs in /{}/{}", key.system, key.environment));
            Ok(())
        }
        Err(err) => Err(err),
        Ok(_) => {
            wait_for_own_end(&client, &agent).await;
            let kept = if args.volumes { "" } else { "; volumes and configuration are kept" };
            let down = ui.paint(Role::Good, "down");
            ui.say(&format!("{down} /{}/{}{kept}", key.system, key.environment));
            Ok(())
        }
    }
}

/// An agent that was started by `up` ends by itself when the yard is empty: then the command
/// returns to a machine on which nothing is left.
async fn wait_for_own_end(client: &brickyard_api::Client, agent: &AgentView) {
    if !agent.until_empty {
        return;
    }
    for _ in 0..1000 {
        let others = client.get::<Vec<serde_json::Value>>("/v1/environments").await;
        if others.is_ok_and(|all| !all.is_empty()) || has_ended(agent.pid) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process is gone, or only waits for its parent to notice.
pub(crate) fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}
