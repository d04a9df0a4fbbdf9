//! `images`.

use std::collections::BTreeMap;

use brickyard_core::Digest;
use clap::Args;

use super::follow::short_address;
use super::targets;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::{size, table};
use crate::ui::Ui;

/// List the images that instances run
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard images web")]
pub(crate) struct ImagesArgs {
    /// Print digests only
    #[arg(short, long)]
    quiet: bool,
    /// Services or instances; all when none is named
    #[arg(add = services())]
    targets: Vec<String>,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &ImagesArgs) -> Result<(), CommandError> {
    let (key, view) = context.show().await?;
    let images = context.images()?;
    let chosen = targets::instances(&key, &view, &args.targets)?;
    let mut sizes: BTreeMap<Digest, Option<u64>> = BTreeMap::new();
    for digest in chosen.iter().filter_map(|instance| instance.image_digest) {
        let known = images.get_by_digest(&digest)?;
        sizes.insert(digest, known.map(|image| image.size_bytes));
    }
    if args.quiet {
        sizes.keys().for_each(|digest| ui.line(&digest.to_string()));
        return Ok(());
    }
    let size_of = |digest: Option<Digest>| digest.and_then(|digest| *sizes.get(&digest)?);
    if ui.json {
        let value = |instance: &&brickyard_api::InstanceView| {
            serde_json::json!({
                "instance": short_address(instance),
                "image": instance.image,
                "digest": instance.image_digest,
                "size": size_of(instance.image_digest),
            })
        };
        ui.json_value(&chosen.iter().map(value).collect::<Vec<_>>());
        return Ok(());
    }
    let row = |instance: &&brickyard_api::InstanceView| {
        let digest = instance.image_digest;
        vec![
            short_address(instance),
            instance.image.clone(),
            digest.map_or_else(|| "-".to_owned(), |digest| digest.short()),
            size_of(digest).map_or_else(|| "-".to_owned(), size),
        ]
    };
    let rows: Vec<Vec<String>> = chosen.iter().map(row).collect();
    ui.data(&table(&["INSTANCE", "IMAGE", "DIGEST", "SIZE"], &rows));
    Ok(())
}
