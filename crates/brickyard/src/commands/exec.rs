//! `exec`.

use std::collections::BTreeMap;

use brickyard_engine::ExecRequest;
use clap::Args;

use super::targets;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// Run a command in a running instance
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard exec web/2 ls /www")]
pub(crate) struct ExecArgs {
    /// Set a variable, as NAME=VALUE
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Run as this user
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<camino::Utf8PathBuf>,
    /// Accepted for Compose's sake: there is no terminal either way
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Instance, or a service for its first instance
    target: String,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &ExecArgs) -> Result<(), CommandError> {
    let (key, view) = context.show(ui).await?;
    let instance = targets::instance(&key, &view, &args.target)?;
    if instance.state != "running" {
        return Err(targets::does_not_run(instance));
    }
    let id = targets::id(&key, instance);
    let request = ExecRequest {
        argv: args.command.clone(),
        environment: variables(&args.env)?,
        working_dir: args.workdir.clone(),
        user: args.user.clone(),
    };
    let mut command = context.engine()?.exec_command(&id, &request)?;
    let status = tokio::task::spawn_blocking(move || command.status())
        .await
        .map_err(|err| CommandError::machine(err.to_string()))??;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(CommandError::Code(code)),
        None => Err(CommandError::machine("the command was killed")),
    }
}

/// `NAME=VALUE` pairs; a name alone takes the caller's value.
pub(crate) fn variables(pairs: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    pairs
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => match std::env::var(pair) {
                Ok(value) => Ok((pair.clone(), value)),
                Err(_) => Err(CommandError::usage(format!("`{pair}` is not NAME=VALUE"))),
            },
        })
        .collect()
}
