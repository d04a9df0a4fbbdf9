//! `run`.

use std::net::Ipv4Addr;
use std::time::Duration;

use brickyard_core::spec::{InstanceSpec, Limits, PIDS_MAX_DEFAULT, Stop};
use brickyard_core::{Generation, ServiceName, Slot};
use brickyard_engine::native::Native;
use brickyard_engine::native::log::parse_line;
use brickyard_engine::{Engine, EnvironmentFacts, EnvironmentKey, Error, InstanceId, StartRequest};
use brickyard_image::Image;
use clap::Args;

use super::{build, exec, logs};
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// How often output is passed on.
const OUTPUT_PAUSE: Duration = Duration::from_millis(5);

/// Run one container to its exit code
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard run --rm base ls /")]
pub(crate) struct RunArgs {
    /// Remove it afterwards, as is always done
    #[arg(long)]
    rm: bool,
    /// Set a variable, as NAME=VALUE
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Run as this user
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<camino::Utf8PathBuf>,
    /// `none` leaves it without a network
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// Image, or a service of the model
    image: String,
    /// Program and arguments instead of the image's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &RunArgs) -> Result<(), CommandError> {
    let engine = context.engine()?;
    let (image, mut spec, home) = what(ui, context, args)?;
    if spec.argv.is_empty() {
        return Err(CommandError::usage(format!("`{}` does not say what to run", args.image)));
    }
    spec.environment.extend(exec::variables(&args.env)?);
    let own = own_environment()?;
    // A service of an environment that runs joins its network; all else gets one of its own.
    let open = match &home {
        Some(key) => engine.environments().await?.contains(key).then(|| key.clone()),
        None => None,
    };
    let key = open.clone().unwrap_or_else(|| own.clone());
    let facts = engine.open_environment(&key).await?;
    let address = match args.network.as_deref() {
        Some("none") => None,
        None => Some(last_free(&facts)),
        Some(mode) => {
            return Err(CommandError::usage(format!("network `{mode}` is not supported yet")));
        }
    };
    let id = InstanceId {
        environment: key.clone(),
        service: args.image.replace(['/', ':'], "-").parse().unwrap_or_else(|_| fallback_name()),
        slot: Slot(0),
        generation: Generation(u64::from(std::process::id())),
    };
    let request = StartRequest {
        id: id.clone(),
        hostname: id.service.to_string(),
        spec,
        layers: image.layers,
        address,
        files: Vec::new(),
    };
    let ran = tokio::select! {
        ran = to_the_end(&engine, &request) => ran,
        _ = tokio::signal::ctrl_c() => Ok(130),
    };
    engine.remove(&id).await?;
    if open.is_none() {
        engine.close_environment(&own).await?;
        if engine.environments().await?.is_empty() {
            engine.close()?;
        }
    }
    match ran? {
        0 => Ok(()),
        code => Err(CommandError::Code(code)),
    }
}

/// An environment of this process alone.
fn own_environment() -> Result<EnvironmentKey, CommandError> {
    let text = format!("run.p{}", std::process::id());
    text.parse().map_err(|err: String| CommandError::machine(err))
}

fn fallback_name() -> ServiceName {
    ServiceName::new("run").unwrap_or_else(|_| unreachable!("`run` is a valid name"))
}

/// The highest address, away from those that the agent gives out, moved by our own pid.
fn last_free(facts: &EnvironmentFacts) -> Ipv4Addr {
    let step = usize::try_from(std::process::id() % 200).unwrap_or(0);
    let mut all: Vec<Ipv4Addr> = facts.addresses().collect();
    all.reverse();
    all.get(step).or(all.first()).copied().unwrap_or(facts.subnet)
}

/// The image and the spec of a service, or of an image by itself.
fn what(
    ui: &Ui,
    context: &Context,
    args: &RunArgs,
) -> Result<(Image, InstanceSpec, Option<EnvironmentKey>), CommandError> {
    let images = context.images()?;
    let system = match context.model(ui) {
        Ok(system) => Some(system),
        Err(CommandError::Plain { .. }) => None,
        Err(err) => return Err(err),
    };
    let service = system.as_ref().and_then(|system| {
        let (name, service) = system.services.iter().find(|(n, _)| n.as_str() == args.image)?;
        Some((system, name, service))
    });
    let Some((system, name, service)) = service else {
        let image = images.require(&args.image)?;
        let spec = plain_spec(&image, args);
        return Ok((image, spec, None));
    };
    let image = build::image_of(ui, &images, system, name, service, false)?;
    let mut spec = plain_spec(&image, args);
    spec.environment.extend(service.environment.clone());
    if args.command.is_empty()
        && let Some(command) = &service.command
    {
        let entrypoint = service.entrypoint.clone().or(image.config.entrypoint.clone());
        spec.argv = entrypoint.unwrap_or_default();
        spec.argv.extend(command.clone());
    }
    spec.mounts.clone_from(&service.mounts);
    spec.read_only = service.read_only;
    spec.cap_add.clone_from(&service.cap_add);
    spec.cap_drop.clone_from(&service.cap_drop);
    spec.limits.memory_bytes = service.memory_bytes;
    spec.limits.cpu_millis = service.cpu_millis;
    if args.user.is_none()
        && let Some(user) = &service.user
    {
        spec.user.clone_from(user);
    }
    let key =
        EnvironmentKey { system: system.name.clone(), environment: context.environment_name()? };
    Ok((image, spec, Some(key)))
}

fn plain_spec(image: &Image, args: &RunArgs) -> InstanceSpec {
    let config = &image.config;
    let mut argv = config.entrypoint.clone().unwrap_or_default();
    match args.command.is_empty() {
        true => argv.extend(config.cmd.clone().unwrap_or_default()),
        false => argv.extend(args.command.clone()),
    }
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    let directory = if config.working_dir.is_empty() { "/" } else { &config.working_dir };
    InstanceSpec {
        image: image.digest,
        argv,
        environment: config.env.iter().map(pair).collect(),
        working_dir: args.workdir.clone().unwrap_or_else(|| directory.into()),
        user: args.user.clone().unwrap_or_else(|| config.user.clone()),
        hostname: String::new(),
        mounts: Vec::new(),
        read_only: false,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        limits: Limits { memory_bytes: None, cpu_millis: None, pids_max: PIDS_MAX_DEFAULT },
        stop: Stop::default(),
        labels: std::collections::BTreeMap::new(),
    }
}

/// Starts it, passes its output on, and returns its exit code.
async fn to_the_end(engine: &Native, request: &StartRequest) -> Result<i32, CommandError> {
    let id = &request.id;
    if let Err(err) = engine.start(request).await {
        return Err(match &err {
            Error::Refused { reason, .. } if reason.ends_with("was not found in the image") => {
                CommandError::Plain { code: 127, message: reason.clone(), hints: Vec::new() }
            }
            Error::Refused { reason, .. } if reason.contains("could not be run:") => {
                CommandError::Plain { code: 126, message: reason.clone(), hints: Vec::new() }
            }
            _ => err.into(),
        });
    }
    let mut reader = logs::Reader::new(Vec::new(), None);
    let wait = engine.wait(id);
    tokio::pin!(wait);
    loop {
        tokio::select! {
            exit = &mut wait => {
                pass_on(&mut reader, &engine.log_files(id));
                return Ok(exit?.code);
            }
            () = tokio::time::sleep(OUTPUT_PAUSE) => pass_on(&mut reader, &engine.log_files(id)),
        }
    }
}

fn pass_on(reader: &mut logs::Reader, files: &[std::path::PathBuf]) {
    use std::io::Write;
    for record in reader.read(files) {
        let Some(line) = parse_line(&record) else {
            continue;
        };
        let mut text = line.text.to_vec();
        if !line.is_partial {
            text.push(b'\n');
        }
        // A reader that has gone away does not stop the container.
        let _ = match line.is_stderr {
            true => std::io::stderr().write_all(&text),
            false => std::io::stdout().write_all(&text),
        };
    }
    let _ = std::io::stdout().flush();
}
