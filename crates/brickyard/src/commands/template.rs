//! `template`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use brickyard_api::FileStateView;
use brickyard_confd::preview;
use brickyard_core::clock::rfc3339;
use brickyard_core::{Event, EventKind, ServiceName};
use brickyard_source::{Backend, Config, Entries, Files, Source};
use brickyard_template::{MissingKey, Options, Rendered, Template, formatted, parse_with};
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::table;
use crate::ui::{Role, Ui, count};

/// Check, format, render and explain single templates
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard template render web.tmpl -k /text=father")]
pub(crate) struct TemplateArgs {
    #[command(subcommand)]
    command: TemplateCommand,
}

#[derive(Debug, Subcommand)]
enum TemplateCommand {
    Check(CheckArgs),
    Fmt(FmtArgs),
    Render(RenderArgs),
    Explain(ExplainArgs),
}

/// Say what is wrong with templates
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard template check templates/*.tmpl")]
struct CheckArgs {
    #[command(flatten)]
    reading: Reading,
    /// Templates
    #[arg(required = true)]
    files: Vec<Utf8PathBuf>,
}

/// Put the space in templates' actions in order; what comes out stays the same
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard template fmt templates/*.tmpl")]
struct FmtArgs {
    #[command(flatten)]
    reading: Reading,
    /// Change nothing, and end with 1 where something is not in order
    #[arg(long)]
    check: bool,
    /// Templates
    #[arg(required = true)]
    files: Vec<Utf8PathBuf>,
}

/// Render a template to standard output
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard template render app.tmpl --keys keys.yaml")]
struct RenderArgs {
    #[command(flatten)]
    with: With,
    /// The template
    file: Utf8PathBuf,
}

/// Say what a template reads; of a service that runs, also why its files last changed
#[derive(Debug, Args)]
#[command(after_help = "Example: brickyard template explain --service web")]
struct ExplainArgs {
    #[command(flatten)]
    with: With,
    /// Explain the files of a service's instances
    #[arg(short, long, value_name = "SERVICE", conflicts_with_all = ["file", "key", "keys"])]
    service: Option<ServiceName>,
    /// The template
    #[arg(required_unless_present = "service")]
    file: Option<Utf8PathBuf>,
}

/// How a template is read, and what it finds.
#[derive(Debug, Args)]
struct With {
    #[command(flatten)]
    reading: Reading,
    /// Set a key
    #[arg(short, long, value_name = "KEY=VALUE")]
    key: Vec<String>,
    /// Take keys from a YAML, JSON or TOML file, or a directory of them
    #[arg(long, value_name = "FILE")]
    keys: Vec<Utf8PathBuf>,
}

/// How templates are read.
#[derive(Debug, Args)]
struct Reading {
    /// What actions begin with
    #[arg(long, default_value = "{{", value_name = "TEXT")]
    left_delimiter: String,
    /// What actions end with
    #[arg(long, default_value = "}}", value_name = "TEXT")]
    right_delimiter: String,
    /// Refuse keys that a map does not have
    #[arg(long)]
    error_on_missing_key: bool,
}

impl Reading {
    fn template(&self, path: &Utf8Path) -> Result<Template, CommandError> {
        // Its whole path is what a person looks for.
        parse_with(path.as_str(), read(path)?, self.options())
            .map_err(|err| CommandError::usage(err.to_string()))
    }

    fn options(&self) -> Options {
        Options {
            delimiters: (self.left_delimiter.clone(), self.right_delimiter.clone()),
            missing_key: match self.error_on_missing_key {
                true => MissingKey::Error,
                false => MissingKey::NoValue,
            },
        }
    }
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).map_err(|err| match err.kind() {
        std::io::ErrorKind::NotFound => CommandError::not_found(format!("there is no `{path}`")),
        _ => CommandError::usage(format!("{path}: {err}")),
    })
}

pub(crate) async fn run(
    ui: &Ui,
    context: &Context,
    args: &TemplateArgs,
) -> Result<(), CommandError> {
    let environment = context.environment();
    match &args.command {
        TemplateCommand::Check(args) => check(ui, args),
        TemplateCommand::Fmt(args) => fmt(ui, args),
        TemplateCommand::Render(args) => {
            let (rendered, _) = render(environment, &args.with, &args.file).await?;
            // As bytes: a template may make what is no text.
            std::io::stdout().write_all(&rendered.output)?;
            Ok(())
        }
        TemplateCommand::Explain(args) => {
            if let Some(service) = &args.service {
                return explain_service(ui, context, service).await;
            }
            let file = args.file.as_deref().unwrap_or(Utf8Path::new(""));
            let (rendered, entries) = render(environment, &args.with, file).await?;
            explain(ui, environment, &rendered, &entries);
            Ok(())
        }
    }
}

fn check(ui: &Ui, args: &CheckArgs) -> Result<(), CommandError> {
    let mut problems = Vec::new();
    for file in &args.files {
        match args.reading.template(file) {
            Ok(template) => {
                let undefined = template.undefined_templates().into_iter();
                problems.extend(
                    undefined.map(|name| format!("{file}: template {name:?} is not defined")),
                );
            }
            Err(CommandError::Plain { code: 3, message, hints }) => {
                return Err(CommandError::Plain { code: 3, message, hints });
            }
            Err(CommandError::Plain { message, .. }) => problems.push(message),
            Err(other) => return Err(other),
        }
    }
    match problems.is_empty() {
        true => {
            let checked = count(args.files.len(), "template");
            ui.say(&format!("{} {checked}", ui.paint(Role::Good, "checked")));
            Ok(())
        }
        false => Err(CommandError::usage(problems.join("\nerror: "))),
    }
}

/// Nothing is written unless all are templates.
fn fmt(ui: &Ui, args: &FmtArgs) -> Result<(), CommandError> {
    let mut changed = Vec::new();
    for file in &args.files {
        let text = read(file)?;
        let written = formatted(file.as_str(), &text, args.reading.options());
        let written = written.map_err(|err| CommandError::usage(err.to_string()))?;
        if written != text {
            changed.push((file, written));
        }
    }
    let names = changed.iter().map(|(file, _)| file.as_str());
    ui.data(&names.map(|name| format!("{name}\n")).collect::<String>());
    if args.check {
        return match changed.is_empty() {
            true => Ok(()),
            false => {
                let text = format!("{} not in order", count(changed.len(), "template"));
                Err(CommandError::refused(text).hint("without --check they are put in order"))
            }
        };
    }
    for (file, written) in changed {
        write(file, &written).map_err(|err| CommandError::machine(format!("{file}: {err}")))?;
    }
    Ok(())
}

/// Replaces a file in one step, with its mode.
fn write(file: &Utf8Path, text: &[u8]) -> std::io::Result<()> {
    let file = file.canonicalize_utf8()?;
    let directory = file.parent().unwrap_or(Utf8Path::new("/"));
    let mut staged = tempfile::NamedTempFile::new_in(directory)?;
    staged.write_all(text)?;
    staged.as_file().set_permissions(std::fs::metadata(&file)?.permissions())?;
    staged.persist(&file)?;
    Ok(())
}

async fn render(
    environment: &BTreeMap<String, String>,
    args: &With,
    file: &Utf8Path,
) -> Result<(Rendered, Entries), CommandError> {
    let template = args.reading.template(file)?;
    let mut entries = Entries::new();
    if !args.keys.is_empty() {
        let mut config = Config::new(Backend::File);
        config.files.clone_from(&args.keys);
        let files = Files::new(&config).map_err(|err| CommandError::usage(err.to_string()))?;
        let read = files.read(&["/".to_owned()]).await;
        entries = read.map_err(|err| CommandError::usage(err.to_string()))?;
    }
    for pair in &args.key {
        let bad = || CommandError::usage(format!("`{pair}` is not KEY=VALUE"));
        let (key, value) = pair.split_once('=').ok_or_else(bad)?;
        entries.insert(format!("/{}", key.trim_start_matches('/')), value.to_owned().into());
    }
    let directory = match file.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        _ => Utf8Path::new("."),
    };
    let rendered = preview::render(&template, entries.clone(), environment, directory);
    let rendered = rendered.map_err(CommandError::refused)?;
    Ok((rendered, entries))
}

/// What the files of a service's instances are made of, and why each last changed.
async fn explain_service(
    ui: &Ui,
    context: &Context,
    service: &ServiceName,
) -> Result<(), CommandError> {
    let key = context.key().await?;
    let files: Vec<FileStateView> = context.get(&key, &format!("/files/{service}")).await?;
    let mut causes: BTreeMap<(String, String), (String, String)> = BTreeMap::new();
    let mut events =
        context.client()?.follow::<()>("/v1/events?after=0&follow=false", None).await?;
    while let Some(event) = events.next::<Event>().await? {
        if event.kind == EventKind::TemplateRendered
            && let (Some(address), Some(file)) = (&event.address, event.details.get("file"))
        {
            let because = event.details.get("because").cloned().unwrap_or_default();
            let place = (address.to_string(), file.clone());
            causes.insert(place, (rfc3339(event.time_ms), because));
        }
    }
    let mut all = Vec::new();
    for file in &files {
        let cause = causes.get(&(file.address.clone(), file.dest.to_string()));
        match ui.json {
            true => all.push(json!({
                "address": file.address, "file": file.dest, "in_place": file.in_place,
                "loaded": file.loaded, "problem": file.problem, "reads": file.reads,
                "changed": cause.map(|(time, because)| json!({"time": time, "because": because})),
            })),
            false => show_file(ui, file, cause),
        }
    }
    if ui.json {
        ui.json_value(&all);
    } else if files.is_empty() {
        ui.say(&format!("`{service}` has no files that are rendered, or does not run"));
    }
    Ok(())
}

fn show_file(ui: &Ui, file: &FileStateView, cause: Option<&(String, String)>) {
    let state = match (&file.problem, file.in_place, file.loaded) {
        (Some(problem), ..) => problem.clone(),
        (None, true, true) => "in place, loaded".to_owned(),
        (None, true, false) => "in place, not loaded yet".to_owned(),
        (None, false, _) => "not in place yet".to_owned(),
    };
    ui.line(&format!("{} {}: {state}", ui.paint_data(Role::Strong, &file.address), file.dest));
    let rows: Vec<Vec<String>> = file
        .reads
        .iter()
        .map(|read| match (&*read.kind, &read.found) {
            ("keys", found) => {
                let keys = found.as_ref().map_or(0, |found| found.lines().count());
                vec!["keys below".to_owned(), format!("{}*", read.name), count(keys, "key")]
            }
            (kind, found) => {
                let found = found.clone().unwrap_or_else(|| "-".to_owned());
                vec![kind.to_owned(), read.name.clone(), found]
            }
        })
        .collect();
    if !rows.is_empty() {
        ui.data(&table(&["READS", "NAME", "FOUND"], &rows));
    }
    ui.line(&match cause {
        Some((time, because)) => format!("last changed {time}: {because}"),
        None => "not changed since its instance was started".to_owned(),
    });
}

/// What was looked at, found or not.
fn explain(
    ui: &Ui,
    environment: &BTreeMap<String, String>,
    rendered: &Rendered,
    entries: &Entries,
) {
    let reads = &rendered.reads;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut rows: Vec<[String; 3]> = Vec::new();
    for key in &reads.keys {
        let value = entries.get(key).map_or("-".to_owned(), |value| text(value));
        rows.push(["key".to_owned(), key.clone(), value]);
    }
    for prefix in &reads.prefixes {
        let under: BTreeSet<&String> =
            entries.keys().filter(|key| key.starts_with(prefix)).collect();
        rows.push(["keys below".to_owned(), format!("{prefix}*"), count(under.len(), "key")]);
    }
    for name in &reads.env {
        let value = environment.get(name).cloned().unwrap_or_else(|| "-".to_owned());
        rows.push(["variable".to_owned(), name.clone(), value]);
    }
    for source in &reads.sources {
        rows.push(["template".to_owned(), source.clone(), "included".to_owned()]);
    }
    if ui.json {
        let read: Vec<_> = rows
            .iter()
            .map(|[kind, name, found]| serde_json::json!({"kind": kind, "name": name, "found": found}))
            .collect();
        ui.json_value(&serde_json::json!({
            "reads": read, "volatile": reads.volatile, "bytes": rendered.output.len(),
        }));
        return;
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    ui.data(&table(&["READS", "NAME", "FOUND"], &rows));
    if reads.volatile {
        ui.say("it also looks at the clock, names or files, of whose changes nobody tells");
    }
}
