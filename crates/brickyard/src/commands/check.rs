//! `check`.

use brickyard_model::System;
use clap::Args;

use crate::context::Context;
use crate::error::CommandError;
use crate::ui::{Ui, count};

/// Validate the model: all errors at once, each with its place
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard check")]
pub(crate) struct CheckArgs {}

pub(crate) fn run(ui: &Ui, context: &Context, _: &CheckArgs) -> Result<(), CommandError> {
    let system = match context.model(ui) {
        Err(CommandError::Findings(findings)) if ui.json => {
            ui.json_value(
                &findings.iter().map(brickyard_core::Diagnostic::to_json).collect::<Vec<_>>(),
            );
            return Err(CommandError::Code(2));
        }
        other => other?,
    };
    let findings = templates(&system);
    if !findings.is_empty() {
        return Err(CommandError::Findings(findings));
    }
    let lines: usize = system.services.values().map(|service| service.needs.len()).sum();
    if ui.json {
        ui.json_value(&serde_json::json!([]));
    }
    ui.say(&format!(
        "`{}` is valid: {} and {}",
        system.name,
        count(system.services.len(), "service"),
        count(lines, "line"),
    ));
    Ok(())
}

/// Loads a model whose templates parse, too.
pub(crate) fn valid_model(ui: &Ui, context: &Context) -> Result<System, CommandError> {
    let system = context.model(ui)?;
    let findings = templates(&system);
    if findings.is_empty() { Ok(system) } else { Err(CommandError::Findings(findings)) }
}

/// Templates that do not parse, with their place in their own file.
fn templates(system: &System) -> brickyard_core::Diagnostics {
    use brickyard_core::{Code, Diagnostic, Source};
    let mut findings = Vec::new();
    for (name, service) in &system.services {
        let files = service.templates.iter().map(|template| (&template.src, &template.text));
        let variables = service
            .environment_templates
            .iter()
            .map(|(variable, template)| (variable, &template.text));
        for (place, text) in files.chain(variables) {
            if let Err(err) = brickyard_template::parse(place, text) {
                let source = Source::new(place.clone(), text.clone());
                let start = err.offset.min(text.len());
                let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
                let message = format!("template of service `{name}`: {err}");
                findings.push(Diagnostic::error(Code("BY0301"), message).at(
                    &source,
                    start..end,
                    "",
                ));
            }
        }
    }
    findings
}
