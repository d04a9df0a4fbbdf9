//! One resource: its template rendered against what there is, and what follows of it.
//!
//! Two steps: [`Job::prepare`] decides, on this thread and without waiting, what is to be done;
//! [`carry_out`] does it, and may wait for commands. What is in sync writes nothing anywhere.

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use brickyard_template::{Reads, Template};

use crate::command;
use crate::context::{Context, id_of};
use crate::data::{Data, View};
use crate::diff;
use crate::log::Level;
use crate::place::{self, Found, Purpose, Unloaded, Wanted, Way};
use crate::resource::{Format, Resource};
use crate::status::count;

/// A resource with its template.
pub(crate) struct Job {
    pub(crate) resource: Arc<Resource>,
    /// What the last rendering looked at.
    reads: Option<Reads>,
    /// Whether the last reload failed; the note beside the file outlives us, where one can be made.
    pub(crate) is_unloaded: bool,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// Nothing.
    InSync,
    /// The file is to be put into place, or somebody is to be told of it.
    Due(Box<Work>),
}

/// What is to be done for one resource, with all that it takes.
#[derive(Debug)]
pub(crate) struct Work {
    resource: Arc<Resource>,
    wanted: Wanted,
    found: Found,
    /// Whether only the reload is missing.
    only_reload: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The file is in its place, and whoever should know knows.
    Done,
    /// The file is in its place; the reload is left to the caller.
    Placed,
    /// It is not in its place.
    Failed(String),
    /// It is in its place, and the reload failed.
    NotLoaded(String),
}

impl Job {
    pub(crate) fn new(resource: Resource) -> Self {
        Self { resource: Arc::new(resource), reads: None, is_unloaded: false }
    }

    /// The compiled template.
    pub(crate) fn template(&self, context: &Context) -> Result<Rc<Template>, String> {
        let resource = &self.resource;
        let path = context.templates_directory().join(&resource.src);
        let templates = &context.templates;
        templates.get(&path, &resource.delimiters, resource.error_on_missing_key)
    }

    /// Renders the template and looks at the file.
    pub(crate) fn prepare(
        &mut self,
        data: &Data,
        matches_text: bool,
        context: &Context,
    ) -> Result<Prepared, String> {
        let template = self.template(context)?;
        let resource = &self.resource;
        let view = View {
            data,
            paths: &resource.keys,
            prefix: &resource.prefix,
            matches_text,
            environment: &context.settings.environment,
            world: &context.machine,
        };
        count(&context.status.renders);
        let rendered = template.render(&view).map_err(|err| {
            count(&context.status.render_failures);
            err.to_string()
        })?;
        self.reads = Some(rendered.reads);
        if let Some(format) = resource.format {
            validate(format, &rendered.output)
                .map_err(|err| format!("{} is no {format:?}: {err}", resource.dest))?;
        }
        let wanted = Wanted {
            dest: resource.dest.clone(),
            contents: rendered.output,
            mode: resource.mode,
            uid: owner(resource.uid, resource.owner.as_ref(), "/etc/passwd", context)?
                .unwrap_or_else(|| rustix::process::geteuid().as_raw()),
            gid: owner(resource.gid, resource.group.as_ref(), "/etc/group", context)?
                .unwrap_or_else(|| rustix::process::getegid().as_raw()),
        };
        let found = place::look(&wanted).map_err(|err| format!("{}: {err}", wanted.dest))?;
        self.compare(wanted, found, context)
    }

    fn compare(&self, wanted: Wanted, found: Found, context: &Context) -> Result<Prepared, String> {
        let (log, settings) = (&context.log, &context.settings);
        let dest = &wanted.dest;
        if log.says(Level::Info) {
            found.differences(&wanted).iter().for_each(|difference| log.info(difference));
        }
        if settings.keep_stage_file {
            let kept = place::stage(&wanted, &found, Purpose::Keep, false)
                .map_err(|err| err.to_string())?;
            log.info(format!("Keeping staged file: {}", kept.path));
        }
        if settings.diff && !found.is_in_sync {
            let before = found.contents.as_deref().unwrap_or_default();
            let shown = diff::unified(dest.as_str(), before, &wanted.contents);
            // Nobody may be reading any more.
            let _ = std::io::stdout().write_all(shown.as_bytes());
        }
        if settings.noop {
            log.warning(format!("Noop mode enabled. {dest} will not be modified"));
            return Ok(Prepared::InSync);
        }
        let resource = Arc::clone(&self.resource);
        if found.is_in_sync {
            let reloads = resource.reload.is_some() && !settings.sync_only && !settings.strict;
            if reloads && (self.is_unloaded || Unloaded::of(dest).exists()) {
                log.info(format!("Target config {dest} is in place, but was not loaded"));
                let work = Work { resource, wanted, found, only_reload: true };
                return Ok(Prepared::Due(Box::new(work)));
            }
            log.debug(format!("Target config {dest} in sync"));
            return Ok(Prepared::InSync);
        }
        log.info(format!("Target config {dest} out of sync"));
        Ok(Prepared::Due(Box::new(Work { resource, wanted, found, only_reload: false })))
    }

    /// Whether a change of a key can change what is rendered.
    pub(crate) fn reads_key(&self, key: &str) -> bool {
        let Some(reads) = &self.reads else { return true };
        let before = self.resource.prefix.trim_end_matches('/');
        let Some(seen) = key.strip_prefix(before) else { return true };
        reads.keys.contains(seen) || reads.prefixes.iter().any(|p| seen.starts_with(p.as_str()))
    }
}

fn owner(
    number: Option<u32>,
    name: Option<&String>,
    file: &str,
    context: &Context,
) -> Result<Option<u32>, String> {
    match (number, name) {
        (Some(number), _) => Ok(Some(number)),
        // confd has never read names.
        (None, Some(_)) if context.settings.strict => Ok(None),
        (None, Some(name)) => match id_of(name, file.into()) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("`{name}` is not in {file}")),
        },
        (None, None) => Ok(None),
    }
}

fn validate(format: Format, contents: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(contents).map_err(|err| err.to_string())?;
    match format {
        Format::Json => {
            serde_json::from_str::<serde_json::Value>(text).map(drop).map_err(|err| err.to_string())
        }
        Format::Toml => toml::de::DeTable::parse(text).map(drop).map_err(|err| err.to_string()),
        Format::Yaml => brickyard_source::check_yaml(text),
    }
}

/// Stages, checks, puts into place and reloads. With `defers`, the reload is the caller's.
pub(crate) async fn carry_out(work: Work, defers: bool, context: &Context) -> Outcome {
    let Work { resource, wanted, found, only_reload } = work;
    let (log, settings) = (&context.log, &context.settings);
    let dest = &wanted.dest;
    let unloaded = Unloaded::of(dest);
    let reload = resource.reload.as_deref().filter(|_| !settings.sync_only);
    if !only_reload {
        if let Err(failure) = put(&resource, &wanted, &found, reload.is_some(), context).await {
            return Outcome::Failed(failure);
        }
        count(&context.status.updates);
    }
    let Some(reload) = reload else {
        log.info(format!("Target config {dest} has been updated"));
        return Outcome::Done;
    };
    if defers {
        return Outcome::Placed;
    }
    let command = reload_command(reload, dest.as_str(), settings.strict);
    let limit = settings.reload_timeout.unwrap_or(resource.reload_timeout);
    match run(&command, limit, context).await {
        Some(failure) => {
            count(&context.status.reload_failures);
            Outcome::NotLoaded(failure)
        }
        None => {
            count(&context.status.reloads);
            unloaded.clear();
            log.info(format!("Target config {dest} has been updated"));
            Outcome::Done
        }
    }
}

async fn put(
    resource: &Resource,
    wanted: &Wanted,
    found: &Found,
    reloads: bool,
    context: &Context,
) -> Result<(), String> {
    let (log, settings) = (&context.log, &context.settings);
    let dest = &wanted.dest;
    if resource.create_directories
        && let Some(parent) = dest.parent()
    {
        std::fs::create_dir_all(parent).map_err(|err| format!("{parent}: {err}"))?;
    }
    let staged = place::stage(wanted, found, Purpose::Place, settings.fsync)
        .map_err(|err| err.to_string())?;
    if let Some(check) = resource.check.as_ref().filter(|_| !settings.sync_only) {
        let checked = check_file(check, staged.path.as_str(), resource, context).await;
        if let Err(failure) = checked {
            staged.discard();
            count(&context.status.check_failures);
            return Err(format!("Config check failed: {failure}"));
        }
    }
    if reloads
        && !settings.strict
        && let Err(err) = Unloaded::of(dest).set()
    {
        log.debug(format!("it cannot be noted that {dest} is not loaded yet: {err}"));
    }
    if resource.backup && found.contents.is_some() {
        let kept = std::fs::copy(dest, format!("{dest}.bak"));
        kept.map_err(|err| format!("{dest}.bak: {err}"))?;
    }
    log.debug(format!("Overwriting target config {dest}"));
    match staged.put(wanted) {
        Ok(Way::Renamed) => Ok(()),
        Ok(Way::Written) => {
            log.debug("Rename failed - target is likely a mount. Trying to write instead");
            Ok(())
        }
        Err(err) => Err(format!("{dest}: {err}")),
    }
}

async fn check_file(
    check: &str,
    staged: &str,
    resource: &Resource,
    context: &Context,
) -> Result<(), String> {
    let expanded = brickyard_template::expand_check(&[check.to_owned()], staged);
    let command = expanded.map_err(|err| err.to_string())?.concat();
    let limit = context.settings.check_timeout.unwrap_or(resource.check_timeout);
    run(&command, limit, context).await.map_or(Ok(()), Err)
}

/// Runs a command, says what it said, and returns why it failed.
pub(crate) async fn run(command: &str, limit: Duration, context: &Context) -> Option<String> {
    let log = &context.log;
    log.debug(format!("Running {command}"));
    let ended = command::run(command, limit).await;
    let level = if ended.failure.is_some() { Level::Error } else { Level::Debug };
    if log.says(level) {
        let said = brickyard_template::go_quoted(&ended.output);
        match level {
            Level::Error => log.error(said),
            _ => log.debug(said),
        }
    }
    ended.failure
}

/// A reload command with the places of its file. Only these two are replaced: other software's
/// templates, as Docker's `--format`, are left alone. confd 0.16 replaced nothing.
pub(crate) fn reload_command(command: &str, dest: &str, strict: bool) -> String {
    if strict || !command.contains("{{") {
        return command.to_owned();
    }
    let mut replaced = String::with_capacity(command.len() + dest.len());
    let mut rest = command;
    while let Some(begin) = rest.find("{{") {
        let (before, from) = rest.split_at(begin);
        replaced.push_str(before);
        let end = from.find("}}").map(|end| end + 2);
        let inside = end.map(|end| from[2..end - 2].trim());
        match (inside, end) {
            (Some(".src" | ".dest"), Some(end)) => {
                replaced.push_str(dest);
                rest = &from[end..];
            }
            _ => {
                replaced.push_str("{{");
                rest = &from[2..];
            }
        }
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reload_commands_get_their_file_and_keep_all_else() {
        let reload = |text: &str| reload_command(text, "/etc/x", false);
        assert_eq!(reload("cp {{.src}} {{ .dest }}.b"), "cp /etc/x /etc/x.b");
        let others = "docker ps --format '{{.ID}} {{.src' {{";
        assert_eq!(reload(others), others);
        assert_eq!(reload_command("cat {{.src}}", "/etc/x", true), "cat {{.src}}");
    }
}
