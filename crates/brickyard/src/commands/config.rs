//! `config`.

use brickyard_model::{Model, Options};
use clap::{Args, ValueEnum};

use super::targets::no_such_service;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// Print the model as it was understood: variables replaced, files merged, short forms written out
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard config --images")]
pub(crate) struct ConfigArgs {
    /// Services to print, with those that they depend on; all by default
    services: Vec<String>,
    /// Print as YAML or JSON
    #[arg(long, value_name = "FORMAT", default_value = "yaml")]
    format: Format,
    /// Print the names of services only
    #[arg(long = "services")]
    services_only: bool,
    /// Print the names of volumes only
    #[arg(long)]
    volumes: bool,
    /// Print the names of networks only
    #[arg(long)]
    networks: bool,
    /// Print the names of images only
    #[arg(long)]
    images: bool,
    /// Print the names of profiles only
    #[arg(long)]
    profiles: bool,
    /// Print the variables that values are interpolated with
    #[arg(long)]
    environment: bool,
    /// Print a digest of a service, or of each with `*`
    #[arg(long, value_name = "SERVICE")]
    hash: Option<String>,
    /// Leave variables as they are written
    #[arg(long)]
    no_interpolate: bool,
    /// Leave files of variables named instead of reading them
    #[arg(long)]
    no_env_resolution: bool,
    /// Name images by the digests that they have in the yard
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print the JSON Schema of `x-brickyard`, for editors; no model is read
    #[arg(long)]
    schema: bool,
    /// Only validate
    #[arg(short, long)]
    quiet: bool,
}

/// How the model is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

pub(crate) fn run(ui: &Ui, context: &Context, args: &ConfigArgs) -> Result<(), CommandError> {
    if args.schema {
        ui.json_value(&brickyard_model::spec::schema());
        return Ok(());
    }
    let options = Options {
        keeps_variables: args.no_interpolate,
        keeps_files: args.no_env_resolution,
        ..Options::default()
    };
    let mut loaded = context.loaded(options)?;
    let Some(mut model) = loaded.model.take() else {
        return Err(CommandError::Findings(loaded.diagnostics));
    };
    loaded.diagnostics.iter().for_each(|found| ui.finding(found));
    if args.quiet {
        // The process ends now: a large model is not taken apart for that.
        std::mem::forget((loaded, model));
        return Ok(());
    }
    let known = model.names("services");
    for name in args.services.iter().chain(args.hash.iter().filter(|name| *name != "*")) {
        if !known.contains(&name.as_str()) {
            return Err(no_such_service(name, known));
        }
    }
    model.select(&args.services);
    if args.resolve_image_digests {
        resolve_digests(context, &mut model)?;
    }
    let lines: Option<Vec<String>> = if args.services_only {
        Some(owned(&model.names("services")))
    } else if args.volumes {
        Some(owned(&model.names("volumes")))
    } else if args.networks {
        Some(owned(&model.names("networks")))
    } else if args.images {
        Some(model.images().into_values().collect())
    } else if args.profiles {
        Some(loaded.profiles)
    } else if args.environment {
        let pairs = loaded.environment.iter();
        Some(pairs.map(|(name, value)| format!("{name}={value}")).collect())
    } else {
        args.hash.as_ref().map(|wanted| {
            let hashes = model.hashes().into_iter();
            let wanted = hashes.filter(|(name, _)| wanted == "*" || wanted == name);
            wanted.map(|(name, digest)| format!("{name} {}", digest.hex())).collect()
        })
    };
    match lines {
        Some(lines) if ui.json => ui.json_value(&lines),
        Some(lines) => lines.iter().for_each(|line| ui.line(line)),
        None if ui.json => ui.json_value(&model.to_json(!args.no_interpolate)),
        None if args.format == Format::Json => {
            let json = model.to_json(!args.no_interpolate);
            ui.line(&serde_json::to_string_pretty(&json).map_err(std::io::Error::from)?);
        }
        None => ui.data(&model.to_yaml(!args.no_interpolate)),
    }
    Ok(())
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Names every image of the model by its digest in the yard.
fn resolve_digests(context: &Context, model: &mut Model) -> Result<(), CommandError> {
    let images = context.images()?;
    let wanted: Vec<(String, String)> =
        model.images().into_iter().map(|(name, image)| (name.to_owned(), image)).collect();
    for (service, image) in wanted {
        let digest = images.require(&image)?.digest;
        let name = image.split_once('@').map_or(image.as_str(), |(name, _)| name);
        model.set_image(&service, &format!("{name}@{digest}"));
    }
    Ok(())
}
