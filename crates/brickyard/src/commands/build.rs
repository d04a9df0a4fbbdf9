//! `build`.

use brickyard_build::Request;
use brickyard_core::ServiceName;
use brickyard_image::{Image, Store};
use brickyard_model::System;
use brickyard_model::types::Service;
use clap::Args;

use super::targets;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Build the images of services
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard build web")]
pub(crate) struct BuildArgs {
    /// Services; all with a `build` when none is named
    #[arg(add = services())]
    services: Vec<String>,
}

pub(crate) fn run(ui: &Ui, context: &Context, args: &BuildArgs) -> Result<(), CommandError> {
    let system = context.model(ui)?;
    for name in &args.services {
        let name = name.parse().map_err(|err| CommandError::usage(format!("{err}")))?;
        targets::require(&system, &name)?;
    }
    let images = context.images()?;
    let mut built = Vec::new();
    for (name, service) in &system.services {
        let chosen = args.services.is_empty() || args.services.iter().any(|s| *s == name.as_str());
        if chosen && service.build.is_some() {
            let image = image_of(ui, &images, &system, name, service, true)?;
            ui.say(&format!(
                "{} {} {}",
                ui.paint(Role::Good, "built"),
                image.name,
                image.digest.short()
            ));
            built.push(serde_json::json!({
                "service": name, "image": image.name, "digest": image.digest,
            }));
        }
    }
    if ui.json {
        ui.json_value(&built);
    }
    Ok(())
}

/// The image of a service: built when it has a `build`, otherwise from the content store. A build
/// of what has not changed finds all its layers and costs next to nothing.
pub(crate) fn image_of(
    ui: &Ui,
    images: &Store,
    system: &System,
    name: &ServiceName,
    service: &Service,
    say_steps: bool,
) -> Result<Image, CommandError> {
    let Some(build) = &service.build else {
        let reference = service.image.as_deref().unwrap_or_default();
        return Ok(images.require(reference)?);
    };
    let tag = system.image_name(name);
    let request = Request {
        context: &build.context,
        dockerfile: &build.dockerfile,
        target: build.target.as_deref(),
        args: &build.args,
        tag: &tag,
    };
    let progress = |step: &brickyard_build::Progress<'_>| {
        if say_steps {
            let cached = if step.cached { " (unchanged)" } else { "" };
            ui.say(&format!("  {name}: {} {}{cached}", step.instruction, step.detail));
        }
    };
    match brickyard_build::build(images, &request, &progress) {
        Ok(built) => {
            built.warnings.iter().for_each(|found| ui.finding(found));
            Ok(built.image)
        }
        Err(brickyard_build::Error::Dockerfile { diagnostics }) => {
            Err(CommandError::Findings(diagnostics))
        }
        Err(err) => Err(CommandError::machine(format!("service `{name}`: {err}"))),
    }
}
