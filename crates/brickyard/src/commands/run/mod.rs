//! `run`.
//!
//! One-off containers: not wanted by anybody, so no agent starts them again or replaces them. They
//! live in the network of their environment beside its instances, and an agent leaves them alone.
//! The command waits for the end and cleans up; of a detached one, a process of its own does.

pub(crate) mod attend;
mod ports;
mod spec;

use std::io::{Read, Write};

use brickyard_api::FileView;
use brickyard_core::spec::Stop;
use brickyard_core::{Digest, Generation, ServiceName};
use brickyard_engine::native::{Attach, Native, Streams};
use brickyard_engine::{
    Engine, EnvironmentKey, Error, FileWrite, InstanceId, SLOT_ONE_OFF, StartRequest,
};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exec;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::terminal::{self, End};
use crate::ui::Ui;
use attend::Attendance;
use spec::Work;

/// Run a one-off container to its exit code
///
/// Of a service it has volumes, variables, rendered files and limits, not its published ports; the
/// services that it depends on are started first. At a terminal it gets a terminal of its own, and Ctrl-P Ctrl-Q
/// leaves it running; `ps -a` shows it then. It is removed when it has ended, unless it was
/// detached without --rm. What is left goes with `rm` or `down`.
/// Exit codes are the program's: 126 when it could not be run, 127 when it was not found.
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard run --rm web sh -c 'env | sort'")]
pub(crate) struct RunArgs {
    /// Remove it when it has ended, a detached one too
    #[arg(long)]
    rm: bool,
    /// Leave it running, print its name and return
    #[arg(short, long)]
    detach: bool,
    /// Set a variable, as NAME=VALUE; a name alone takes the caller's value
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Run as this user
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<camino::Utf8PathBuf>,
    /// Program that the arguments are given to, instead of the image's
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// Standard input reaches the program, as is the default
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    interactive: bool,
    /// A terminal, as is the default where there is one
    #[arg(short, long, conflicts_with_all = ["no_tty", "detach"])]
    tty: bool,
    /// No terminal, even where there is one
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    no_tty: bool,
    /// Mount a volume or a path of the host, as SOURCE:TARGET[:ro]
    #[arg(short, long, value_name = "SOURCE:TARGET")]
    volume: Vec<String>,
    /// Publish a port while it runs, as [ADDRESS:]PORT:TARGET
    #[arg(short, long, value_name = "PORT:TARGET")]
    publish: Vec<String>,
    /// Publish the service's ports while it runs
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Do not start the services that it depends on
    #[arg(long)]
    no_deps: bool,
    /// Add a label, as NAME=VALUE
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Add a capability
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// Say how the image is built
    #[arg(long)]
    build: bool,
    /// `none` leaves it without a network
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// Service of the model, or an image
    #[arg(add = services())]
    image: String,
    /// Program and arguments instead of the image's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &RunArgs) -> Result<(), CommandError> {
    let engine = context.engine()?;
    let mut work = spec::work(ui, context, args)?;
    let wants_terminal = !args.detach && exec::wants_terminal(args.tty, args.no_tty)?;
    let key = match &work.home {
        Some(home) => {
            spec::ensure_home(ui, context, home, args.no_deps).await?;
            home.key.clone()
        }
        None => own_environment()?,
    };
    let rendered = spec::rendered(context, &work).await?;
    work.spec.environment.extend(rendered.environment);
    work.spec.environment.extend(exec::variables(&args.env)?);
    let facts = engine.open_environment(&key).await?;
    let mut request = request(args, &key, &work, &facts)?;
    request.files = rendered.files.into_iter().map(file_write).collect();
    if engine.list().await?.iter().any(|known| known.id == request.id) {
        return Err(CommandError::refused(format!("the name `{}` is in use", request.id.service)));
    }
    let attendance = Attendance {
        root: context.root()?,
        id: request.id.clone(),
        forwards: work.ports.clone(),
        address: request.address,
        remove: args.rm,
    };
    if args.detach {
        // Who cannot be told of it any more is told now.
        drop(ports::listen(&work.ports).await?);
        return detached(ui, &engine, &request, &attendance).await;
    }
    let attach = match wants_terminal {
        true => Attach::Terminal(terminal::size()),
        false => Attach::Pipes { input: args.interactive },
    };
    let ended = match ports::listen(&work.ports).await {
        Err(err) => Err(err),
        Ok(listeners) => {
            let forward = ports::forward(listeners, request.address);
            tokio::select! {
                ended = attached(&engine, &request, attach, work.home.is_some()) => ended,
                never = forward => match never {},
            }
        }
    };
    if let Ok(End::Detached) = ended {
        attendance.begin_if_needed()?;
        ui.say(&format!("left {} running", request.id.service));
        return Ok(());
    }
    attend::clear(&engine, &request.id).await?;
    match ended? {
        End::Done(0) | End::Detached => Ok(()),
        End::Done(code) => Err(CommandError::Code(code)),
        End::Signal(number) => Err(CommandError::Code(128 + number)),
    }
}

fn file_write(file: FileView) -> FileWrite {
    let FileView { dest, contents, mode, uid, gid } = file;
    FileWrite { dest, contents, mode, uid, gid }
}

/// An environment of this process alone, for what is no service.
fn own_environment() -> Result<EnvironmentKey, CommandError> {
    let text = format!("{}.p{}", attend::OWN_SYSTEM, std::process::id());
    text.parse().map_err(|err: String| CommandError::machine(err))
}

fn request(
    args: &RunArgs,
    key: &EnvironmentKey,
    work: &Work,
    facts: &brickyard_engine::EnvironmentFacts,
) -> Result<StartRequest, CommandError> {
    let address = match args.network.as_deref() {
        Some("none") => None,
        None => Some(ports::last_free(facts)),
        Some(mode) => {
            return Err(CommandError::usage(format!("network `{mode}` is not supported yet")));
        }
    };
    let service: ServiceName = match &args.name {
        Some(name) => name.parse().map_err(|err| CommandError::usage(format!("{err}")))?,
        None => one_off_name(&args.image)?,
    };
    Ok(StartRequest {
        id: InstanceId {
            environment: key.clone(),
            service: service.clone(),
            slot: SLOT_ONE_OFF,
            generation: Generation(1),
        },
        hostname: service.to_string(),
        spec: work.spec.clone(),
        layers: work.image.layers.clone(),
        address,
        files: Vec::new(),
    })
}

/// `SERVICE-run-` and something that no other has.
fn one_off_name(image: &str) -> Result<ServiceName, CommandError> {
    use brickyard_core::clock::{Clock, SystemClock};
    let moment = SystemClock::default().now_ms();
    let unique = &Digest::of(format!("{}/{moment}", std::process::id())).hex()[..8];
    let base: String = image
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect();
    let base = base.trim_matches(['.', '_', '-']);
    let name = format!("{base}-run-{unique}").parse();
    name.or_else(|_| format!("run-{unique}").parse())
        .map_err(|err| CommandError::machine(format!("{err}")))
}

async fn detached(
    ui: &Ui,
    engine: &Native,
    request: &StartRequest,
    attendance: &Attendance,
) -> Result<(), CommandError> {
    let started = engine.start(request).await.map_err(|err| why(&err));
    let attended = started.and_then(|_| attendance.begin_if_needed());
    if let Err(err) = attended {
        attend::clear(engine, &request.id).await?;
        return Err(err);
    }
    let name = request.id.service.as_str();
    match ui.json {
        true => ui.json_value(&serde_json::json!({"name": name})),
        false => ui.line(name),
    }
    Ok(())
}

/// What a shell would say of a start that was refused.
fn why(err: &Error) -> CommandError {
    let code = match err {
        Error::Refused { reason, .. } if reason.ends_with("was not found in the image") => 127,
        Error::Refused { reason, .. } if reason.contains("could not be run:") => 126,
        _ => return CommandError::machine(err.whole()),
    };
    let Error::Refused { reason, .. } = err else { return CommandError::machine(err.whole()) };
    CommandError::Plain { code, message: reason.clone(), hints: Vec::new() }
}

/// Starts it, connects its streams with ours, and returns its exit code.
async fn attached(
    engine: &Native,
    request: &StartRequest,
    attach: Attach,
    detachable: bool,
) -> Result<End<i32>, CommandError> {
    // From the start on: a signal must not leave a container behind.
    let mut signals = Signals::new()?;
    let (started, streams) =
        engine.start_attached(request, attach).await.map_err(|err| why(&err))?;
    let id = &request.id;
    match streams {
        Streams::Terminal { master, output } => {
            let wait = engine.wait(id);
            match terminal::session(master, output.into(), detachable, wait).await? {
                End::Done(exit) => Ok(End::Done(exit?.code)),
                End::Detached => Ok(End::Detached),
                End::Signal(number) => Ok(End::Signal(number)),
            }
        }
        Streams::Pipes { input, output, errors } => {
            if let Some(input) = input {
                // It may wait for input for ever, so nobody waits for it.
                std::thread::spawn(move || pass_on(std::io::stdin().lock(), input));
            }
            let printing = [
                std::thread::spawn(move || pass_on(output, std::io::stdout())),
                std::thread::spawn(move || pass_on(errors, std::io::stderr())),
            ];
            let grace_ms = request.spec.stop.grace_ms;
            let code = signals.until_the_end(engine, id, started.pid, grace_ms).await?;
            let printed = tokio::task::spawn_blocking(move || {
                printing.into_iter().for_each(|thread| drop(thread.join()));
            });
            printed.await.map_err(|err| CommandError::machine(err.to_string()))?;
            Ok(End::Done(code))
        }
    }
}

/// Copies byte by byte as they come. A reader that has gone away stops the copy alone.
fn pass_on(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(count @ 1..) => {
                if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// Signals that ask this command to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            // Cancel safe: a signal that was not received is kept.
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }

    /// Waits for the end of a container. Signals to us reach it; one that ends by them has its own
    /// exit code, one that does not is killed after its grace, or at the second signal.
    async fn until_the_end(
        &mut self,
        engine: &Native,
        id: &InstanceId,
        pid: i32,
        grace_ms: u64,
    ) -> Result<i32, CommandError> {
        let kind = tokio::select! {
            exit = engine.wait(id) => return Ok(exit?.code),
            kind = self.next() => kind,
        };
        let number = kind.as_raw_value();
        let grace_ms = if expects(pid, number) { grace_ms } else { 0 };
        let stop = Stop { signal: number.to_string(), grace_ms };
        let kill = Stop { signal: "KILL".to_owned(), grace_ms };
        let exit = tokio::select! {
            exit = engine.stop(id, &stop) => exit,
            _ = self.next() => engine.stop(id, &kill).await,
        };
        match exit?.code {
            137 => Ok(128 + number),
            code => Ok(code),
        }
    }
}

/// Whether a process handles a signal or waits for it. The first one of a container does not die
/// of a signal that it does not expect.
fn expects(pid: i32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let has = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        mask.is_some_and(|bits| bits & (1 << (signal - 1)) != 0)
    };
    has("SigCgt:") || has("SigBlk:")
}
