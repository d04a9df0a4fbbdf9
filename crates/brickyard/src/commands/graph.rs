//! `graph`.

use brickyard_core::ServiceName;
use brickyard_diagram::text::Part;
use brickyard_diagram::{Diagram, dot, svg, text};
use brickyard_model::{Options, System};
use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};

use super::targets::no_such_service;
use crate::complete::services;
use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Role, Ui};

/// Draw the model: its boxes, and the lines between them
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard graph -o shop.svg")]
pub(crate) struct GraphArgs {
    /// Services to draw, with all that their lines lead to; all by default
    #[arg(add = services())]
    services: Vec<String>,
    /// As text for a terminal, as DOT for Graphviz, or as SVG; text by default, or what FILE ends with
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<Utf8PathBuf>,
}

/// How a drawing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Dot,
    Svg,
}

pub(crate) fn run(ui: &Ui, context: &Context, args: &GraphArgs) -> Result<(), CommandError> {
    let mut loaded = context.loaded(Options::default())?;
    let Some(system) = loaded.system.take() else {
        return Err(CommandError::Findings(loaded.diagnostics));
    };
    loaded.diagnostics.iter().for_each(|found| ui.finding(found));
    let diagram = Diagram::of(&system, &named(&system, &args.services)?);
    if ui.json {
        ui.json_value(&diagram);
        return Ok(());
    }
    let by_name = args.output.as_ref().and_then(|file| match file.extension() {
        Some("svg") => Some(Format::Svg),
        Some("dot" | "gv") => Some(Format::Dot),
        _ => None,
    });
    let drawn = match args.format.or(by_name).unwrap_or(Format::Text) {
        Format::Text => text::draw(&diagram, &|part, words| match part {
            _ if args.output.is_some() || words.is_empty() => words.to_owned(),
            Part::Faint => ui.paint_data(Role::Faint, words),
            Part::Name => ui.paint_data(Role::Strong, words),
            Part::Plain => words.to_owned(),
        }),
        Format::Dot => dot::draw(&diagram),
        Format::Svg => svg::draw(&diagram),
    };
    match &args.output {
        None => ui.data(&drawn),
        Some(file) => std::fs::write(file, drawn)
            .map_err(|err| CommandError::machine(format!("`{file}` cannot be written: {err}")))?,
    }
    Ok(())
}

/// The boxes of these names.
fn named(system: &System, names: &[String]) -> Result<Vec<ServiceName>, CommandError> {
    let known = || system.services.keys().chain(system.external.keys());
    let named = names.iter().map(|name| {
        let found = known().find(|known| known.as_str() == name).cloned();
        found.ok_or_else(|| no_such_service(name, known().map(ServiceName::as_str)))
    });
    named.collect()
}
