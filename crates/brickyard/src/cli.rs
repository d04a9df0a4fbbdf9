//! The command line: what Compose's users know keeps its name and meaning.

use std::collections::BTreeMap;
use std::io::Write;

use camino::Utf8PathBuf;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::CompleteEnv;

use crate::commands;
use crate::complete;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// Where a yard is when nobody says otherwise.
pub(crate) const ROOT_DEFAULT: &str = "/var/lib/brickyard";

/// Service management for containers
#[derive(Debug, Parser)]
#[command(name = "brickyard", version, disable_help_subcommand = true)]
#[command(
    after_help = "Example: brickyard up -d\n\nExit codes: 0 done, 1 it failed or was refused, \
2 wrong command line or file, 3 not found, 4 the agent or the machine failed."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that stand before the verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Compose files, of which later ones count more; when not given, COMPOSE_FILE names them, or
    /// they are found in the current directory or above
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: Vec<Utf8PathBuf>,
    /// Name of the system instead of the file's
    #[arg(short = 'p', long, value_name = "NAME")]
    pub(crate) project_name: Option<String>,
    /// File with variables for interpolation instead of .env; COMPOSE_ENV_FILES names them, too
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<Utf8PathBuf>,
    /// Profile that is active, beside services without any; COMPOSE_PROFILES names them, too
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Vec<String>,
    /// Environment: one running copy of the system
    #[arg(short = 'E', long, default_value = "dev", value_name = "NAME")]
    pub(crate) environment: String,
    /// The yard's directory
    #[arg(long, env = "BRICKYARD_ROOT", default_value = ROOT_DEFAULT, value_name = "DIR")]
    pub(crate) root: Utf8PathBuf,
    /// What runs instances
    #[arg(long, default_value = "native", value_name = "ENGINE")]
    pub(crate) engine: String,
    /// Data as JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but data and errors
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Say more about what is done
    #[arg(long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(commands::check::CheckArgs),
    Plan(commands::plan::PlanArgs),
    Config(commands::config::ConfigArgs),
    Graph(commands::graph::GraphArgs),
    Up(commands::up::UpArgs),
    Down(commands::down::DownArgs),
    Ps(commands::ps::PsArgs),
    Ls(commands::ls::LsArgs),
    Port(commands::port::PortArgs),
    Logs(commands::logs::LogsArgs),
    Exec(commands::exec::ExecArgs),
    Run(commands::run::RunArgs),
    Cp(commands::cp::CpArgs),
    Restart(commands::restart::RestartArgs),
    Stop(commands::stop::StopArgs),
    Start(commands::start::StartArgs),
    Scale(commands::scale::ScaleArgs),
    Rm(commands::rm::RmArgs),
    Kill(commands::kill::KillArgs),
    Stats(commands::stats::StatsArgs),
    Top(commands::top::TopArgs),
    Wait(commands::wait::WaitArgs),
    Pause(commands::pause::PauseArgs),
    Unpause(commands::unpause::UnpauseArgs),
    Set(commands::set::SetArgs),
    Get(commands::get::GetArgs),
    Unset(commands::unset::UnsetArgs),
    Kv(commands::kv::KvArgs),
    Register(commands::register::RegisterArgs),
    Confd(commands::confd::ConfdArgs),
    Template(commands::template::TemplateArgs),
    Build(commands::build::BuildArgs),
    Image(commands::image::ImageArgs),
    Images(commands::images::ImagesArgs),
    Events(commands::events::EventsArgs),
    Agent(commands::agent::AgentArgs),
    Doctor(commands::doctor::DoctorArgs),
    Completion(commands::completion::CompletionArgs),
    Man(commands::man::ManArgs),
    Version(commands::version::VersionArgs),
}

/// The whole command line, for what describes it.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Reads the command line, runs the command and returns the exit code.
pub(crate) fn main() -> i32 {
    // A shell that completes asks through a variable of its own, and gets no more than an answer.
    CompleteEnv::with_factory(command).var(complete::VARIABLE).complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() { 2 } else { 0 };
        }
    };
    // Neither an agent nor a container is to hold open what the caller's shell had open.
    if let Err(err) = brickyard_sys::command::hide_descriptors() {
        let _ = writeln!(std::io::stderr(), "error: cannot hide inherited descriptors: {err}");
        return 4;
    }
    let ui = Ui::new(cli.global.json, cli.global.quiet, cli.global.verbose);
    let level = if cli.global.verbose { "info" } else { "warn" };
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(level)
        // A log that cannot be written, as on a full disk, is no reason to die.
        .log_internal_errors(false)
        .with_target(false);
    let _ = subscriber.try_init();
    if matches!(cli.command, Command::Agent(_)) {
        brickyard_sys::memory::share_one_heap();
    }
    let workers = 2;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let done = match runtime {
        Err(err) => Err(CommandError::machine(format!("cannot start threads: {err}"))),
        Ok(runtime) => {
            let environment: BTreeMap<String, String> = std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect();
            let context = Context::new(cli.global, environment);
            runtime.block_on(run(&ui, &context, &cli.command))
        }
    };
    match done {
        Ok(()) => 0,
        Err(err) => {
            ui.failure(&err);
            err.exit_code()
        }
    }
}

async fn run(ui: &Ui, context: &Context, command: &Command) -> Result<(), CommandError> {
    match command {
        Command::Check(args) => commands::check::run(ui, context, args),
        Command::Plan(args) => commands::plan::run(ui, context, args).await,
        Command::Config(args) => commands::config::run(ui, context, args),
        Command::Graph(args) => commands::graph::run(ui, context, args),
        Command::Up(args) => commands::up::run(ui, context, args).await,
        Command::Down(args) => commands::down::run(ui, context, args).await,
        Command::Ps(args) => commands::ps::run(ui, context, args).await,
        Command::Ls(args) => commands::ls::run(ui, context, args).await,
        Command::Port(args) => commands::port::run(ui, context, args).await,
        Command::Logs(args) => commands::logs::run(ui, context, args).await,
        Command::Exec(args) => commands::exec::run(context, args).await,
        Command::Run(args) => commands::run::run(ui, context, args).await,
        Command::Cp(args) => commands::cp::run(ui, context, args).await,
        Command::Restart(args) => commands::restart::run(ui, context, args).await,
        Command::Stop(args) => commands::stop::run(ui, context, args).await,
        Command::Start(args) => commands::start::run(ui, context, args).await,
        Command::Scale(args) => commands::scale::run(ui, context, args).await,
        Command::Rm(args) => commands::rm::run(ui, context, args).await,
        Command::Kill(args) => commands::kill::run(ui, context, args).await,
        Command::Stats(args) => commands::stats::run(ui, context, args).await,
        Command::Top(args) => commands::top::run(ui, context, args).await,
        Command::Wait(args) => commands::wait::run(ui, context, args).await,
        Command::Pause(args) => commands::pause::run(ui, context, args).await,
        Command::Unpause(args) => commands::unpause::run(ui, context, args).await,
        Command::Set(args) => commands::set::run(ui, context, args).await,
        Command::Get(args) => commands::get::run(ui, context, args).await,
        Command::Unset(args) => commands::unset::run(ui, context, args).await,
        Command::Kv(args) => commands::kv::run(ui, context, args).await,
        Command::Register(args) => commands::register::run(ui, context, args).await,
        Command::Template(args) => commands::template::run(ui, context, args).await,
        Command::Confd(args) => tokio::task::block_in_place(|| commands::confd::run(args)),
        Command::Build(args) => commands::build::run(ui, context, args),
        Command::Image(args) => commands::image::run(ui, context, args).await,
        Command::Images(args) => commands::images::run(ui, context, args).await,
        Command::Events(args) => commands::events::run(ui, context, args).await,
        Command::Agent(args) => commands::agent::run(ui, context, args).await,
        Command::Doctor(args) => commands::doctor::run(ui, context, args),
        Command::Completion(args) => commands::completion::run(ui, context, args),
        Command::Man(args) => commands::man::run(ui, context, args),
        Command::Version(args) => commands::version::run(ui, context, args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_help_with_an_example() {
        let command = command();
        command.clone().debug_assert();
        let mut count = 0;
        for verb in command.get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example: "), "{} has no example", verb.get_name());
            assert!(verb.get_about().is_some(), "{} says nothing", verb.get_name());
            count += 1;
        }
        assert!(count > 30, "only {count} commands were found");
    }
}
