//! `image`.

use std::collections::BTreeSet;

use brickyard_core::Digest;
use brickyard_core::clock::rfc3339;
use brickyard_image::Store;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::CommandError;
use crate::output::{size, table};
use crate::ui::{Role, Ui};

/// Look after the yard's images
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard image import base rootfs.tar.zst")]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Make an image of a root file system's archive (.tar, .tar.gz, .tar.zst)
    Import {
        /// Its name
        name: String,
        /// The archive
        file: Utf8PathBuf,
    },
    /// List images
    Ls,
    /// Show an image's configuration
    Inspect {
        /// Name, or the beginning of a digest
        name: String,
    },
    /// Read images as a whole and say what is damaged
    Verify {
        /// Names; all when none is given
        names: Vec<String>,
    },
    /// Remove images' names, and what no release and no other name needs
    Rm {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &ImageArgs) -> Result<(), CommandError> {
    let images = context.images()?;
    match &args.command {
        ImageCommand::Import { name, file } => {
            let archive = std::fs::File::open(file)
                .map_err(|err| CommandError::usage(format!("cannot read `{file}`: {err}")))?;
            let image = images.import_rootfs(name, archive, &|_| {})?;
            ui.say(&format!(
                "{} {} {} ({})",
                ui.paint(Role::Good, "imported"),
                image.name,
                image.digest.short(),
                size(image.size_bytes)
            ));
        }
        ImageCommand::Ls => {
            let all = images.list()?;
            if ui.json {
                let values: Vec<_> = all.iter().map(json).collect();
                ui.json_value(&values);
            } else {
                let rows: Vec<Vec<String>> = all
                    .iter()
                    .map(|image| {
                        let created = rfc3339(image.created_ms);
                        vec![
                            image.name.clone(),
                            image.digest.short(),
                            size(image.size_bytes),
                            created,
                        ]
                    })
                    .collect();
                ui.data(&table(&["NAME", "DIGEST", "SIZE", "CREATED"], &rows));
            }
        }
        ImageCommand::Inspect { name } => ui.json_value(&json(&images.require(name)?)),
        ImageCommand::Verify { names } => verify(ui, &images, names)?,
        ImageCommand::Rm { names } => {
            let pinned = pinned(context).await?;
            for name in names {
                images.require(name)?;
                images.remove(name, &pinned)?;
                ui.say(&format!("{} {name}", ui.paint(Role::Good, "removed")));
            }
        }
    }
    Ok(())
}

fn verify(ui: &Ui, images: &Store, names: &[String]) -> Result<(), CommandError> {
    let all = match names {
        [] => images.list()?.into_iter().map(|image| image.name).collect(),
        names => names.to_vec(),
    };
    for name in &all {
        let name = images.require(name)?.name;
        if let Some(reason) = images.verify(&name)?.into_iter().next() {
            let reason = format!("image `{name}`: {reason}");
            return Err(brickyard_image::Error::Damaged { reason }.into());
        }
        ui.say(&format!("{} {name}", ui.paint(Role::Good, "whole")));
    }
    Ok(())
}

fn json(image: &brickyard_image::Image) -> serde_json::Value {
    serde_json::json!({
        "name": image.name,
        "digest": image.digest,
        "size": image.size_bytes,
        "created": rfc3339(image.created_ms),
        "config": image.config,
    })
}

/// Images that releases need; without an agent nobody can say, and nothing runs.
async fn pinned(context: &Context) -> Result<BTreeSet<Digest>, CommandError> {
    let digests: Vec<Digest> = match context.client()?.get("/v1/images/pinned").await {
        Ok(digests) => digests,
        Err(brickyard_api::ClientError::NoAgent { .. }) => Vec::new(),
        Err(err) => return Err(err.into()),
    };
    Ok(digests.into_iter().collect())
}
