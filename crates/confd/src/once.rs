//! A single run, resource by resource in the order of their paths, as confd's `-onetime`.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_source::{Config, Update, connect};

use crate::backends::Backends;
use crate::context::Context;
use crate::data::Data;
use crate::job::{self, Job, Outcome, Prepared, reload_command};
use crate::load;
use crate::resource::Resource;

/// Renders everything once; the exit code.
pub(crate) async fn run(context: &Context) -> i32 {
    let loaded = load::resources(context);
    if context.settings.strict
        && let Some(problem) = loaded.problems.first()
    {
        context.log.fatal(problem);
        return 1;
    }
    let mut once = Once { context, last_error: None };
    loaded.problems.into_iter().for_each(|problem| once.fail(problem));
    let mut jobs: Vec<(Job, usize)> = Vec::new();
    let mut backends = Backends::default();
    for resource in loaded.resources {
        match backends.number(&resource, &context.settings) {
            Ok(number) => jobs.push((Job::new(resource), number)),
            Err(text) => once.fail(text),
        }
    }
    let sources = once.read_all(backends).await;
    let directories: BTreeSet<_> = jobs
        .iter()
        .filter_map(|(job, _)| job.resource.dest.parent().map(ToOwned::to_owned))
        .collect();
    directories.iter().for_each(|directory| crate::place::sweep(directory));
    let mut reloads: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, (job, source)) in jobs.iter_mut().enumerate() {
        let Some(Some((data, config))) = sources.get(*source) else { continue };
        match process(job, data, config, context).await {
            Ok(None) => {}
            Ok(Some(command)) => reloads.entry(command).or_default().push(number),
            Err(text) => once.fail(text),
        }
    }
    for (command, numbers) in reloads {
        let due: Vec<&Resource> = numbers
            .into_iter()
            .filter_map(|number| jobs.get(number).map(|(job, _)| &*job.resource))
            .collect();
        once.reload(&command, &due).await;
    }
    match once.last_error {
        None => 0,
        Some(text) => {
            context.log.fatal(text);
            1
        }
    }
}

/// A single run, and what went wrong in it.
struct Once<'a> {
    context: &'a Context,
    last_error: Option<String>,
}

impl Once<'_> {
    fn fail(&mut self, text: String) {
        self.context.log.error(&text);
        self.last_error = Some(text);
    }

    /// What all backends have, by their numbers.
    async fn read_all(&mut self, backends: Backends) -> Vec<Option<(Data, Config)>> {
        let mut sources = Vec::new();
        for (config, paths) in backends.into_all() {
            let read = read(&config, paths).await;
            sources.push(match read {
                Ok(data) => Some((data, config)),
                Err(text) => {
                    self.fail(text);
                    None
                }
            });
        }
        sources
    }

    /// Runs a reload command that several resources share.
    async fn reload(&mut self, command: &str, due: &[&Resource]) {
        let limit = due.iter().map(|resource| resource.reload_timeout).max().unwrap_or_default();
        let limit = self.context.settings.reload_timeout.unwrap_or(limit);
        if let Some(text) = job::run(command, limit, self.context).await {
            self.fail(text);
            return;
        }
        for resource in due {
            crate::place::Unloaded::of(&resource.dest).clear();
            let text = format!("Target config {} has been updated", resource.dest);
            self.context.log.info(text);
        }
    }
}

async fn read(config: &Config, paths: Vec<String>) -> Result<Data, String> {
    let mut data = Data::default();
    if paths.is_empty() {
        return Ok(data);
    }
    let read = async { connect(config).await?.read(&paths).await };
    let entries = read.await.map_err(|err| match err.hint() {
        Some(hint) => format!("{err} ({hint})"),
        None => err.to_string(),
    })?;
    let _ = data.apply(Update::All(entries));
    Ok(data)
}

/// Does all that is due for one resource; the reload that is left for later, if one is.
async fn process(
    job: &mut Job,
    data: &Data,
    config: &Config,
    context: &Context,
) -> Result<Option<String>, String> {
    let settings = &context.settings;
    let Prepared::Due(work) = job.prepare(data, config.backend.matches_text(), context)? else {
        return Ok(None);
    };
    match job::carry_out(*work, settings.group_reloads && !settings.sync_only, context).await {
        Outcome::Done => Ok(None),
        Outcome::Placed => {
            let reload = job.resource.reload.as_deref().unwrap_or_default();
            Ok(Some(reload_command(reload, job.resource.dest.as_str(), settings.strict)))
        }
        Outcome::Failed(text) | Outcome::NotLoaded(text) => Err(text),
    }
}

/// Reads resources and templates, and says what is wrong; no backend is asked.
pub(crate) fn validate(context: &Context) -> i32 {
    let loaded = load::resources(context);
    let mut problems = loaded.problems;
    let count = loaded.resources.len();
    for resource in loaded.resources {
        if let Err(text) = context.settings.source(resource.backend.as_ref()) {
            problems.push(format!("{}: {text}", resource.path));
        }
        let job = Job::new(resource);
        if let Err(text) = job.template(context) {
            problems.push(format!("{}: {text}", job.resource.path));
        }
    }
    problems.iter().for_each(|problem| context.log.error(problem));
    match problems.len() {
        0 => {
            context.log.info(format!("{count} template resources are valid"));
            0
        }
        _ => 1,
    }
}
