//! `down`.

use std::time::Duration;

use brickyard_api::{AgentView, ClientError, Command};
use clap::Args;

use super::{follow, targets};
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
    /// Seconds that instances have to end by themselves, instead of what the model says
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u32>,
}

/// How often it is tried when an agent ends instead of answering.
const TRIES: u32 = 3;

impl DownArgs {
    /// What `down` does without flags.
    pub(crate) fn keeping_volumes() -> Self {
        Self { volumes: false, timeout: None }
    }
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &DownArgs) -> Result<(), CommandError> {
    let key = context.key().await?;
    let client = context.client()?;
    let nothing = || ui.say(&format!("nothing runs in /{}/{}", key.system, key.environment));
    let mut tries = 0;
    let (agent, done) = loop {
        let Some(agent) = agent(context, &client).await? else {
            nothing();
            return Ok(());
        };
        let command =
            Command::Down { volumes: args.volumes, grace_ms: targets::grace_ms(args.timeout) };
        let done = follow::send(ui, &client, &key, &command).await;
        tries += 1;
        // One that just ends, because a former `down` is done, may still take the call.
        let is_answered = matches!(done, Ok(_) | Err(CommandError::Failed { .. }));
        if is_answered || tries == TRIES || !ends_soon(agent.pid).await {
            break (agent, done);
        }
    };
    match done {
        Err(CommandError::Failed { kind: brickyard_api::FailureKind::NotFound, .. }) => {
            // The agent may just have finished what a former `down` began.
            wait_for_own_end(&client, &agent).await;
            nothing();
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

/// The agent that takes things down; none where there is nothing.
async fn agent(
    context: &Context,
    client: &brickyard_api::Client,
) -> Result<Option<AgentView>, CommandError> {
    match client.get("/v1/agent").await {
        Ok(agent) => Ok(Some(agent)),
        Err(ClientError::NoAgent { .. } | ClientError::Broken(_)) => {
            if !context.root()?.join(brickyard_agent::STORE).exists() {
                return Ok(None);
            }
            // Things may be left of an agent that died: a new one knows them.
            Ok(Some(context.agent().await?.get("/v1/agent").await?))
        }
        Err(err) => Err(err.into()),
    }
}

/// Whether an agent that did not answer is on its way out.
async fn ends_soon(pid: u32) -> bool {
    for _ in 0..100 {
        if has_ended(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
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
