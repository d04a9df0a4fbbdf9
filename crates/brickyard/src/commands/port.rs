//! `port`.

use clap::Args;

use super::targets;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::Ui;

/// Print where a port of a service is published
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard port web 80")]
pub(crate) struct PortArgs {
    /// Transport; only tcp is published yet
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "udp"])]
    protocol: String,
    /// Number of the instance; all instances of a service share its ports
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// Service or instance
    #[arg(add = services())]
    service: String,
    /// Port inside
    private_port: u16,
}

pub(crate) async fn run(ui: &Ui, context: &Context, args: &PortArgs) -> Result<(), CommandError> {
    let (key, view) = context.show().await?;
    let target = targets::with_index(&args.service, args.index);
    let instance = targets::instance(&key, &view, &target)?;
    let wanted = format!("{}/{}", args.private_port, args.protocol);
    let published: Vec<&str> = instance
        .ports
        .iter()
        .filter_map(|text| text.split_once("->"))
        .filter(|(_, inside)| *inside == wanted)
        .map(|(listen, _)| listen)
        .collect();
    if published.is_empty() {
        let err = CommandError::not_found(format!("`{}` publishes no {wanted}", args.service));
        return Err(match instance.ports.is_empty() {
            true => err,
            false => err.hint(format!("it publishes {}", instance.ports.join(", "))),
        });
    }
    match ui.json {
        true => ui.json_value(&published),
        false => published.iter().for_each(|listen| ui.line(listen)),
    }
    Ok(())
}
