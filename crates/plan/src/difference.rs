//! What one slot should be, and how that differs from what it is.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::spec::InstanceSpec;
use brickyard_core::{Alias, Digest, ServiceName};
use brickyard_model::types::{OnChange, Reload, Template as TemplateModel};
use brickyard_template::Reads;
use camino::Utf8PathBuf;

use crate::observed::{Observed, Record};
use crate::reads::{Marks, Read, reads_of};
use crate::view::{InstanceScope, REGISTRY_PREFIX, Sight, Target, View};
use crate::wanted::{Wanted, WantedService};

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// The template that it came from.
    pub template: TemplateModel,
    /// Its contents.
    pub contents: Vec<u8>,
    /// Digest of contents, mode and owner.
    pub digest: Digest,
    /// A line that it uses and whose target is on its way up.
    pub rising: Option<Alias>,
    /// Services whose instances it tells of.
    pub tells_of: BTreeSet<ServiceName>,
    /// What it was made of.
    pub reads: Vec<Read>,
}

impl RenderedFile {
    /// What it was made of, as records keep it.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.reads.iter().map(|read| (read.to_string(), read.mark())).collect()
    }
}

/// What a slot should be now.
#[derive(Debug, Clone)]
pub struct Desired {
    /// What runs, rendered variables included.
    pub spec: InstanceSpec,
    /// Its digest.
    pub digest: Digest,
    /// Digest without rendered variables.
    pub base: Digest,
    /// Its files; a template that cannot be rendered says why.
    pub files: Vec<(Utf8PathBuf, Result<RenderedFile, String>)>,
    /// The other ends of its lines.
    pub lines: BTreeMap<Alias, Digest>,
    /// Lines that must not be followed later.
    pub pinned: BTreeMap<Alias, Vec<Target>>,
    /// Lines whose target is on its way up.
    pub rising: BTreeSet<Alias>,
    /// Whether a rendered variable uses one of them.
    pub variables_rising: bool,
    /// Services whose instances rendered variables tell of.
    pub variables_tell_of: BTreeSet<ServiceName>,
    /// Services whose replacement would lead to this one's, with what led to theirs.
    pub cause: Vec<ServiceName>,
}

/// Renders what an instance should be: `record` is the generation that runs, if one does.
///
/// # Errors
/// When a variable cannot be rendered: then nothing can be started.
pub fn desired(
    wanted: &Wanted,
    observed: &Observed,
    view: &View,
    service: &WantedService,
    record: Option<&Record>,
) -> Result<Desired, String> {
    let empty = BTreeMap::new();
    let pinned = record.map_or(&empty, |record| &record.pinned);
    let scope = |sight| InstanceScope::new(wanted, observed, view, service, pinned, sight);
    let (steady, sharp) = (scope(Sight::Steady), scope(Sight::Sharp));
    let mut spec = service.spec.clone();
    let base = spec.digest();
    let rising = view.rising_lines(wanted, observed, service);
    let moving = view.moving_lines(observed, service);
    let first_of = |some: &BTreeSet<Alias>, lines: &BTreeSet<String>| {
        some.iter().find(|alias| lines.contains(alias.as_str())).cloned()
    };
    let mut used = BTreeSet::new();
    let mut variables_tell_of = BTreeSet::new();
    for (name, template) in &service.variables {
        let rendered = template.render(&steady).map_err(|err| format!("`{name}`: {err}"))?;
        let value = String::from_utf8_lossy(&rendered.output).into_owned();
        spec.environment.insert(name.clone(), value);
        variables_tell_of.extend(told_of(wanted, service, &rendered.reads));
        used.extend(rendered.reads.lines);
    }
    let files = service
        .model
        .templates
        .iter()
        .zip(&service.templates)
        .map(|(model, program)| {
            let (scope, unready) = match model.reload {
                Reload::Restart => (&steady, &moving),
                _ => (&sharp, &rising),
            };
            let rendered = program.render(scope).map_err(|err| err.to_string());
            let file = rendered.map(|rendered| RenderedFile {
                tells_of: told_of(wanted, service, &rendered.reads),
                reads: reads_of(scope, &rendered.reads),
                digest: file_digest(model, &rendered.output),
                rising: first_of(unready, &rendered.reads.lines),
                template: model.clone(),
                contents: rendered.output,
            });
            (model.dest.clone(), file)
        })
        .collect();
    Ok(Desired {
        digest: spec.digest(),
        base,
        files,
        lines: view.line_digests(wanted, observed, service),
        pinned: pins(wanted, observed, view, service),
        cause: cause(observed, service, &used),
        variables_rising: first_of(&moving, &used).is_some(),
        variables_tell_of,
        rising,
        spec,
    })
}

fn file_digest(model: &TemplateModel, contents: &[u8]) -> Digest {
    Digest::of_json(&(Digest::of(contents), model.mode, model.uid, model.gid))
}

/// Services whose instances a template shows: by its lines, or out of the registry.
fn told_of(wanted: &Wanted, service: &WantedService, reads: &Reads) -> BTreeSet<ServiceName> {
    let lines = service.model.needs.iter();
    let by_line = lines.filter(|(alias, _)| reads.lines.contains(alias.as_str()));
    let mut told: BTreeSet<_> = by_line.map(|(_, line)| line.to.service.clone()).collect();
    for name in wanted.services.keys().chain(wanted.external.keys()) {
        let all = format!("{REGISTRY_PREFIX}/{name}/");
        let is_read = reads.keys.iter().any(|key| key.starts_with(&all))
            || reads.prefixes.iter().any(|p| p.starts_with(&all) || all.starts_with(p.as_str()));
        if is_read {
            told.insert(name.clone());
        }
    }
    told
}

fn pins(
    wanted: &Wanted,
    observed: &Observed,
    view: &View,
    service: &WantedService,
) -> BTreeMap<Alias, Vec<Target>> {
    let ignored = service.model.needs.iter().filter(|(_, l)| l.on_change == OnChange::Ignore);
    let targets = |line| view.line(wanted, observed, line, Sight::Steady);
    ignored.map(|(alias, line)| (alias.clone(), targets(line))).collect()
}

/// The services on the other ends of the lines `used`, with the causes of their generations.
fn cause(
    observed: &Observed,
    service: &WantedService,
    used: &BTreeSet<String>,
) -> Vec<ServiceName> {
    let mut cause = Vec::new();
    for (alias, line) in &service.model.needs {
        if !used.contains(alias.as_str()) {
            continue;
        }
        let newest = observed.of(&line.to.service).max_by_key(|record| record.generation);
        let before = newest.map(|record| record.cause.clone()).unwrap_or_default();
        for name in before.into_iter().chain([line.to.service.clone()]) {
            if !cause.contains(&name) {
                cause.push(name);
            }
        }
    }
    cause
}

/// Why a generation is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replacement {
    /// The release asks for another spec.
    Release {
        /// Whether the image is another one.
        image: bool,
    },
    /// A rendered variable changed.
    Reaction {
        /// Whether this service already stands in the chain of causes: then the address is kept,
        /// nobody else has to follow, and the chain ends.
        echo: bool,
    },
}

/// Whether a generation has to be replaced to become `desired`.
#[must_use]
pub fn replacement(record: &Record, desired: &Desired) -> Option<Replacement> {
    if record.spec == desired.digest {
        return None;
    }
    if record.base != desired.base {
        return Some(Replacement::Release { image: record.image != desired.spec.image });
    }
    Some(Replacement::Reaction { echo: desired.cause.contains(&record.place.service) })
}

impl std::fmt::Display for Replacement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Release { image: true } => "its image changed",
            Self::Release { image: false } => "its definition changed",
            Self::Reaction { .. } => "a rendered variable changed",
        })
    }
}

/// Lines whose other end changed and that ask for more than a rendering.
#[must_use]
pub fn changed_lines(
    service: &WantedService,
    record: &Record,
    desired: &Desired,
    wanted: OnChange,
) -> Vec<Alias> {
    service
        .model
        .needs
        .iter()
        .filter(|(alias, line)| {
            line.on_change == wanted && record.lines.get(*alias) != desired.lines.get(*alias)
        })
        .map(|(alias, _)| alias.clone())
        .collect()
}
