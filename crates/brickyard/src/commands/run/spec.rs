//! What a one-off container runs: a service of the model, or an image by itself, with what the
//! command line says on top; and where it runs.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_api::{
    ClientError, Command, EnvironmentView, FailureKind, RenderRequest, RenderView, TargetSlots,
};
use brickyard_core::spec::{InstanceSpec, Limits, Mount, MountKind, PIDS_MAX_DEFAULT, Stop};
use brickyard_core::{Address, ServiceName};
use brickyard_engine::EnvironmentKey;
use brickyard_image::Image;
use brickyard_model::release::Release;
use brickyard_model::{System, shell_words};
use brickyard_plan::ImageConfig;
use brickyard_plan::wanted::{Adjustments, resolve};
use camino::Utf8PathBuf;

use super::RunArgs;
use super::ports::{self, Forward};
use crate::commands::{build, exec, follow, targets};
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// What is run.
pub(super) struct Work {
    pub(super) image: Image,
    pub(super) spec: InstanceSpec,
    pub(super) ports: Vec<Forward>,
    /// The environment that it belongs to; absent for an image by itself.
    pub(super) home: Option<Home>,
}

/// The environment of a service, and the service.
pub(super) struct Home {
    pub(super) key: EnvironmentKey,
    system: System,
    service: ServiceName,
}

/// Reads model, image and command line.
pub(super) fn work(ui: &Ui, context: &Context, args: &RunArgs) -> Result<Work, CommandError> {
    let images = context.images()?;
    let system = match context.model(ui) {
        Ok(system) => Some(system),
        Err(CommandError::Plain { .. }) => None,
        Err(err) => return Err(err),
    };
    let found = system.and_then(|system| {
        let name = system.services.keys().find(|name| name.as_str() == args.image)?.clone();
        Some((system, name))
    });
    let mut ports: Vec<Forward> =
        args.publish.iter().map(|text| ports::parse(text)).collect::<Result<_, _>>()?;
    let Some((system, name)) = found else {
        let image = images.require(&args.image)?;
        let only_of_services = [(args.service_ports, "service-ports"), (args.detach, "detach")];
        if let Some((_, flag)) = only_of_services.iter().find(|(given, _)| *given) {
            return Err(CommandError::usage(format!("--{flag} needs a service of the model"))
                .hint("an image by itself runs as long as this command"));
        }
        let config = brickyard_agent::images::config_of(&image);
        let spec = adjusted(args, plain_spec(&image, &config), &config)?;
        return Ok(Work { image, spec, ports, home: None });
    };
    let service = &system.services[&name];
    let image = build::image_of(ui, &images, &system, &name, service, args.build)?;
    let config = brickyard_agent::images::config_of(&image);
    if args.service_ports {
        ports.extend(ports::of_service(&service.ports)?);
    }
    let spec = service_spec(&system, &name, &image, &config)?;
    let mut config = config;
    if let Some(entrypoint) = &service.entrypoint {
        config.entrypoint.clone_from(entrypoint);
    }
    let spec = adjusted(args, spec, &config)?;
    let key =
        EnvironmentKey { system: system.name.clone(), environment: context.environment_name()? };
    Ok(Work { image, spec, ports, home: Some(Home { key, system, service: name }) })
}

/// What is rendered into the service's instances, as of now.
pub(super) async fn rendered(context: &Context, work: &Work) -> Result<RenderView, CommandError> {
    let Some(home) = &work.home else {
        return Ok(RenderView { environment: BTreeMap::new(), files: Vec::new() });
    };
    let service = home.service.clone();
    let images = BTreeMap::from([(service.clone(), work.image.digest)]);
    let mut system = home.system.clone();
    system.services.retain(|name, _| *name == service);
    let request = RenderRequest { release: Release { system, images }, service };
    let path = Context::path(&home.key, "/render");
    context.client()?.post(&path, &request).await.map_err(|err| match err {
        ClientError::Refused { message, .. } => CommandError::refused(message),
        other => other.into(),
    })
}

/// What the service's instances run, without what is rendered into them.
fn service_spec(
    system: &System,
    name: &ServiceName,
    image: &Image,
    config: &ImageConfig,
) -> Result<InstanceSpec, CommandError> {
    let mut alone = system.clone();
    alone.services.retain(|known, _| known == name);
    if let Some(service) = alone.services.get_mut(name)
        && service.command.is_none()
        && config.cmd.is_empty()
        && config.entrypoint.is_empty()
    {
        // The command line may say what neither the model nor the image says.
        service.command = Some(vec![String::new()]);
    }
    let images = BTreeMap::from([(name.clone(), (image.digest, config.clone()))]);
    let environment = "run".parse().map_err(|err| CommandError::machine(format!("{err}")))?;
    let address = Address::environment(&alone.name, &environment);
    let wanted = resolve(address, 0, &alone, &images, &Adjustments::default());
    let wanted = wanted.map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        CommandError::usage(texts.join("; "))
    })?;
    Ok(wanted.services[name].spec.clone())
}

fn plain_spec(image: &Image, config: &ImageConfig) -> InstanceSpec {
    let directory = if config.working_dir.is_empty() { "/" } else { &config.working_dir };
    InstanceSpec {
        image: image.digest,
        argv: config.entrypoint.iter().chain(&config.cmd).cloned().collect(),
        environment: config.environment.clone(),
        working_dir: directory.into(),
        user: config.user.clone(),
        hostname: String::new(),
        mounts: Vec::new(),
        read_only: false,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        limits: Limits { memory_bytes: None, cpu_millis: None, pids_max: PIDS_MAX_DEFAULT },
        stop: Stop::default(),
        labels: BTreeMap::new(),
    }
}

/// The spec with what the command line says. A command keeps the entrypoint, an entrypoint clears
/// the command, as Compose has it.
fn adjusted(
    args: &RunArgs,
    mut spec: InstanceSpec,
    config: &ImageConfig,
) -> Result<InstanceSpec, CommandError> {
    if let Some(text) = &args.entrypoint {
        let words = shell_words::split(text)
            .ok_or_else(|| CommandError::usage(format!("`{text}` ends within quotes")))?;
        spec.argv = words.into_iter().chain(args.command.iter().cloned()).collect();
    } else if !args.command.is_empty() {
        spec.argv = config.entrypoint.iter().chain(&args.command).cloned().collect();
    }
    if args.network.is_some() && (args.service_ports || !args.publish.is_empty()) {
        return Err(CommandError::usage("without a network no port can be published"));
    }
    if spec.argv.iter().all(String::is_empty) {
        return Err(CommandError::usage(format!("`{}` does not say what to run", args.image))
            .hint("name a program after it"));
    }
    if exec::wants_terminal(args.tty, args.no_tty)? && !args.detach {
        let term = brickyard_engine::native::TERM.to_owned();
        spec.environment.entry("TERM".to_owned()).or_insert(term);
    }
    if let Some(user) = &args.user {
        spec.user.clone_from(user);
    }
    if let Some(directory) = &args.workdir {
        spec.working_dir.clone_from(directory);
    }
    for text in &args.label {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        spec.labels.insert(name.to_owned(), value.to_owned());
    }
    for text in &args.volume {
        let mount = mount(text)?;
        spec.mounts.retain(|known| known.target != mount.target);
        spec.mounts.push(mount);
    }
    spec.cap_add.extend(args.cap_add.iter().cloned());
    spec.cap_drop.extend(args.cap_drop.iter().cloned());
    Ok(spec)
}

/// `SOURCE:TARGET[:ro|rw]`.
fn mount(text: &str) -> Result<Mount, CommandError> {
    let bad = |why: &str| CommandError::usage(format!("`{text}`: {why}"));
    let mut parts = text.splitn(3, ':');
    let source = parts.next().unwrap_or_default();
    let target: Utf8PathBuf =
        parts.next().ok_or_else(|| bad("write SOURCE:TARGET or SOURCE:TARGET:ro"))?.into();
    if !target.is_absolute() {
        return Err(bad("the target must be an absolute path"));
    }
    let read_only = match parts.next() {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(mode) => return Err(bad(&format!("the mode `{mode}` is not supported"))),
    };
    let kind = match source.starts_with(['.', '/', '~']) {
        true => {
            let home = std::env::var("HOME").unwrap_or_default();
            let source = match source.strip_prefix('~') {
                Some(rest) => format!("{home}{rest}"),
                None => source.to_owned(),
            };
            MountKind::Bind { source: camino::absolute_utf8(source)?, create: true }
        }
        false => {
            let name = source.parse().map_err(|err| bad(&format!("{err}")))?;
            MountKind::Volume { name }
        }
    };
    Ok(Mount { target, kind, read_only })
}

/// Makes sure that the service's environment is there and that what it depends on is well. An
/// environment that does not run gets its network and volumes, and no instance but those.
pub(super) async fn ensure_home(
    ui: &Ui,
    context: &Context,
    home: &Home,
    no_deps: bool,
) -> Result<(), CommandError> {
    let needed =
        if no_deps { BTreeSet::new() } else { targets::dependencies(&home.system, &home.service) };
    let client = context.agent().await?;
    let view: Option<EnvironmentView> = match client.get(&Context::path(&home.key, "")).await {
        Ok(view) => Some(view),
        Err(ClientError::Refused { status: 404, .. }) => None,
        Err(err) => return Err(err.into()),
    };
    let instances = view.as_ref().map_or(&[][..], |view| &view.instances);
    let runs =
        |name: &ServiceName| instances.iter().any(|i| i.service == *name && targets::is_alive(i));
    let missing: Vec<&ServiceName> = needed.iter().filter(|name| !runs(name)).collect();
    if view.is_some() {
        if missing.is_empty() {
            return Ok(());
        }
        let wanted = |name: &ServiceName| home.system.services.get(name).map_or(1, |s| s.replicas);
        let replicas = missing.iter().map(|name| ((*name).clone(), wanted(name))).collect();
        match follow::send(ui, &client, &home.key, &Command::Scale { replicas }).await {
            // What runs was made of a model without them.
            Err(CommandError::Failed { kind: FailureKind::NotFound, .. }) => {}
            scaled => {
                scaled?;
                let target =
                    |name: &&ServiceName| TargetSlots { service: (*name).clone(), slot: None };
                let command = Command::Start { targets: missing.iter().map(target).collect() };
                return follow::send(ui, &client, &home.key, &command).await.map(drop);
            }
        }
    }
    // Of the others nothing is needed, not even their images; of the service itself no instance.
    let mut system = home.system.clone();
    let has = |name: &ServiceName| instances.iter().any(|instance| instance.service == *name);
    let home_runs = has(&home.service);
    system
        .services
        .retain(|name, _| needed.contains(name) || (*name == home.service && !home_runs));
    let replicas = match home_runs {
        true => BTreeMap::new(),
        false => BTreeMap::from([(home.service.clone(), 0)]),
    };
    let release = Box::new(context.release(ui, system, false)?);
    let command = Command::Deploy { release, replicas, partial: true, files: context.files() };
    follow::send(ui, &client, &home.key, &command).await.map(drop)
}
