//! `exec`.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use brickyard_engine::native::{Native, terminal as inside};
use brickyard_engine::{ExecRequest, InstanceId};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::targets;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::relay::{self, Relay};
use crate::terminal::{self, End};

/// Run a command in a running instance
///
/// At a terminal the command gets a terminal of its own inside; standard input always reaches it.
/// The exit code is the command's: 126 when it could not be run, 127 when it was not found,
/// 128 + N when signal N ended it.
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard exec web/2 sh")]
pub(crate) struct ExecArgs {
    /// Set a variable, as NAME=VALUE; a name alone takes the caller's value
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Run as this user
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<camino::Utf8PathBuf>,
    /// Leave it running and return at once
    #[arg(short, long, conflicts_with = "tty")]
    detach: bool,
    /// Number of the instance, as `SERVICE/NUMBER` says, too
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// No terminal, even where there is one
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    no_tty: bool,
    /// A terminal, as is the default where there is one
    #[arg(short, long, conflicts_with = "no_tty")]
    tty: bool,
    /// Standard input reaches the command, as it always does
    #[arg(short, long)]
    interactive: bool,
    /// Instance, or a service for its first instance
    #[arg(add = services())]
    target: String,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: &ExecArgs) -> Result<(), CommandError> {
    let (key, view) = context.show_all().await?;
    let instance = targets::instance(&key, &view, &targets::with_index(&args.target, args.index))?;
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
    let engine = context.engine()?;
    if args.detach {
        let mut command = engine.exec_command(&id, &request)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        brickyard_sys::command::new_session(&mut command).spawn()?;
        return Ok(());
    }
    let status = match wants_terminal(args.tty, args.no_tty)? {
        true => in_terminal(&engine, &id, &request).await?,
        false => with_streams(&engine, &id, &request).await?,
    };
    match status.code().or_else(|| status.signal().map(|number| 128 + number)) {
        Some(0) => Ok(()),
        Some(code) => Err(CommandError::Code(code)),
        None => Err(CommandError::machine("the command's end was not seen")),
    }
}

/// Whether there is to be a terminal: where a person sits at one, unless it is not wanted.
pub(crate) fn wants_terminal(asked: bool, refused: bool) -> Result<bool, CommandError> {
    match (asked, terminal::is_interactive()) {
        (true, false) => Err(CommandError::usage("standard input or output is no terminal")
            .hint("leave out -t, or write -T")),
        (_, there) => Ok(there && !refused),
    }
}

/// Runs it in a terminal inside that is connected with the caller's.
async fn in_terminal(
    engine: &Native,
    id: &InstanceId,
    request: &ExecRequest,
) -> Result<ExitStatus, CommandError> {
    let (command, socket) = engine.exec_in_terminal(id, request, terminal::size())?;
    let mut command = tokio::process::Command::from(command);
    let mut child = command.kill_on_drop(true).spawn()?;
    // Our copy of the other end goes with it, so that its end is seen.
    drop(command);
    let received = tokio::task::spawn_blocking(move || inside::receive(&socket));
    let received = received.await.map_err(|err| CommandError::machine(err.to_string()))?;
    let Ok(master) = received else {
        // It has said why it never came to its terminal.
        return Ok(child.wait().await?);
    };
    let output = master.try_clone()?;
    match terminal::session(master, output, false, child.wait()).await? {
        End::Done(status) => Ok(status?),
        End::Signal(number) => Err(CommandError::Code(128 + number)),
        End::Detached => Ok(ExitStatus::default()),
    }
}

/// Runs it with the caller's own streams, but never with a terminal of the caller's. Signals are the command's affair: the helper, which has
/// the terminal's own as this process does, passes them on.
async fn with_streams(
    engine: &Native,
    id: &InstanceId,
    request: &ExecRequest,
) -> Result<ExitStatus, CommandError> {
    let mut command = tokio::process::Command::from(engine.exec_command(id, request)?);
    relay::keep_terminals_out(&mut command);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut child = command.spawn()?;
    let relay = Relay::begin(&mut child)?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
    loop {
        let number = tokio::select! {
            status = child.wait() => {
                relay.finish();
                return Ok(status?);
            }
            _ = interrupt.recv() => continue,
            _ = terminate.recv() => SignalKind::terminate(),
            _ = hang_up.recv() => SignalKind::hangup(),
        };
        let _ = brickyard_sys::process::kill(pid, number.as_raw_value());
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
