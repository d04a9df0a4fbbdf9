//! The stages, one after the other: files -> one tree -> profiles -> what is implied -> checks ->
//! the typed system.
//!
//! Each file is read, interpolated, written out in full, and put over those before it by
//! [`layers`](crate::layers); what comes afterwards sees one tree.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::diagnostic::has_errors;
use brickyard_core::{Diagnostic, Diagnostics, Files, Source, SystemName};
use camino::{Utf8Path, Utf8PathBuf};

use crate::decode::{Decoder, read_text, system};
use crate::dotenv::Layered;
use crate::findings::AtPlace;
use crate::interpolate::interpolate;
use crate::layers::{Layers, TAKEN_OVER};
use crate::normalise::{self, Normalise};
use crate::output::Model;
use crate::spec::{Shape, TOP};
use crate::tree::{Kind, Node};
use crate::types::System;
use crate::{canonical, codes, consistency, derive, merge, support, validate};

/// Names that a Compose file has, the preferred one first.
const DEFAULT_NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// Names of what counts more where it stands beside it.
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];

/// What loading needs.
pub struct Input<'a> {
    /// Where files are read.
    pub files: &'a dyn Files,
    /// The Compose files, of which later ones count more; messages show them as they are here.
    pub paths: &'a [Utf8PathBuf],
    /// Absolute directory that relative paths start from.
    pub project_directory: Utf8PathBuf,
    /// The environment of the process.
    pub environment: &'a BTreeMap<String, String>,
    /// Env files given by hand, relative ones from the project directory; when empty, `.env` of the
    /// project directory is read if it is there and [`Options::ignores_env_file`] does not forbid it.
    pub env_files: &'a [Utf8PathBuf],
    /// The system's name when it was given by hand.
    pub name: Option<&'a str>,
    /// Profiles that are active; when there are none, `COMPOSE_PROFILES` names them.
    pub profiles: &'a [String],
    /// What is left undone.
    pub options: Options,
}

/// Which steps are left out, for those who want to see a model on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Variables stay as they are written.
    pub keeps_variables: bool,
    /// Files of variables and labels stay named instead of being read.
    pub keeps_files: bool,
    /// `.env` is not read.
    pub ignores_env_file: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Loaded {
    /// The model, resolved; absent when a file is wrong.
    pub model: Option<Model>,
    /// The typed system; absent when a file is wrong. What the engine cannot honour is missing in it.
    pub system: Option<System>,
    /// What is wrong with the files.
    pub diagnostics: Diagnostics,
    /// What of the model the engine does not honour: warnings for what has no effect, errors for what
    /// keeps a service from being run.
    pub unsupported: Diagnostics,
    /// The variables that values were interpolated with.
    pub environment: BTreeMap<String, String>,
    /// The profiles that services name, those of disabled ones included.
    pub profiles: Vec<String>,
}

impl Loaded {
    /// Takes the system if the engine can run it as it is written.
    pub fn take_runnable(&mut self) -> Option<System> {
        self.system.take().filter(|_| !has_errors(&self.unsupported))
    }

    /// All findings, those of the files first.
    #[must_use]
    pub fn findings(self) -> Diagnostics {
        let mut all = self.diagnostics;
        all.extend(self.unsupported);
        sort(&mut all);
        all
    }
}

/// The Compose files of a directory: one, and what people have beside it for their own machine.
#[must_use]
pub fn default_files(files: &dyn Files, directory: &Utf8Path) -> Option<Vec<Utf8PathBuf>> {
    let find = |names: [&str; 4]| {
        let paths = names.map(|name| directory.join(name));
        paths.into_iter().find(|path| files.read(path).is_ok())
    };
    let first = find(DEFAULT_NAMES)?;
    Some([first].into_iter().chain(find(OVERRIDE_NAMES)).collect())
}

/// Loads a model. Every error is found in one go, as far as one does not hide another.
#[must_use]
pub fn load(input: &Input<'_>) -> Loaded {
    let shown = input.paths.first().and_then(|path| path.parent()).unwrap_or(Utf8Path::new(""));
    let keeps_variables = input.options.keeps_variables;
    let mut layers = Layers::new(input.files, &input.project_directory, shown, keeps_variables);
    let mut environment = environment(input, &mut layers.diagnostics);
    let tree = one_tree(input, &mut layers, &mut environment);
    let mut loaded = Loaded {
        model: None,
        system: None,
        diagnostics: Vec::new(),
        unsupported: Vec::new(),
        environment,
        profiles: Vec::new(),
    };
    loaded.diagnostics.append(&mut layers.diagnostics);
    if let Some((root, name)) = tree {
        resolved(input, root, name, &mut loaded);
    }
    for list in [&mut loaded.diagnostics, &mut loaded.unsupported] {
        list.iter_mut().for_each(|found| layers.explain(found));
        sort(list);
    }
    if has_errors(&loaded.diagnostics) {
        loaded.model = None;
        loaded.system = None;
    }
    loaded
}

/// People work through a file from the top; the sort is stable, so stages stay in order. What many
/// services took over from one place, by `extends` or by an alias, is said once, by the shortest way.
fn sort(diagnostics: &mut Diagnostics) {
    let place = |found: &Diagnostic| {
        let label = found.labels.first();
        label.map(|label| (label.source.name.clone(), label.span.start))
    };
    diagnostics.sort_by_cached_key(|found| (place(found), found.labels.len()));
    let (mut said, mut at) = (BTreeSet::new(), BTreeSet::new());
    diagnostics.retain(|found| {
        let is_new = said.insert((found.code, place(found), found.message.clone()));
        let is_first = at.insert((found.code, place(found)));
        let is_taken_over = found.labels.iter().any(|label| label.text.ends_with(TAKEN_OVER));
        is_new && (is_first || !is_taken_over)
    });
}

/// All files as one tree, and the system's name.
fn one_tree(
    input: &Input<'_>,
    layers: &mut Layers<'_>,
    environment: &mut BTreeMap<String, String>,
) -> Option<(Node, SystemName)> {
    let mut files = Vec::new();
    for path in input.paths {
        files.push((path, layers.read(path, None)));
    }
    if files.iter().any(|(_, documents)| documents.is_empty()) {
        return None;
    }
    // The name comes first and on its own, as other values may use it.
    let mut name_node = None;
    for document in files.iter_mut().flat_map(|(_, documents)| documents) {
        name_node = document.take("name").map(|entry| entry.value).or(name_node);
    }
    if let Some(node) = name_node.as_mut().filter(|_| !input.options.keeps_variables) {
        interpolate(node, environment, &mut layers.diagnostics);
    }
    let name = name(input, environment, name_node.as_ref(), &mut layers.diagnostics);
    environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.to_string());
    let scope = layers.scope(input.project_directory.clone(), environment.clone());
    let mut root = None;
    for (path, documents) in files {
        let path = input.project_directory.join(path.file_name().unwrap_or_default());
        layers.add(&mut root, documents, &path, &scope, &mut Vec::new());
    }
    let mut root = root?;
    merge::settle(&mut root);
    Some((root, name))
}

/// From the tree of all files to the model and the system.
fn resolved(input: &Input<'_>, mut root: Node, name: SystemName, loaded: &mut Loaded) {
    let from_variable = || {
        let text = loaded.environment.get("COMPOSE_PROFILES").map_or("", String::as_str);
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let profiles = match input.profiles {
        [] => from_variable(),
        profiles => profiles.to_vec(),
    };
    let is_mapping = !root.entries().is_empty() || !has_errors(&loaded.diagnostics);
    if root.get("services").is_none() && is_mapping {
        let found = Diagnostic::error(codes::MISSING_KEY, "the file has no `services`");
        let start = root.place.span.start;
        loaded.diagnostics.push(found.at(&root.place.source, start..start, ""));
    }
    loaded.profiles = normalise::profiles(&root);
    let disabled = normalise::without_disabled(&mut root, &profiles);
    canonical::without_empty(&mut root, &Shape::Section(TOP));
    loaded.unsupported = support::findings(&root);
    let mut step = Normalise {
        files: input.files,
        name: name.as_str(),
        environment: &loaded.environment,
        keeps_files: input.options.keeps_files,
        keeps_variables: input.options.keeps_variables,
        diagnostics: &mut loaded.diagnostics,
    };
    step.model(&mut root);
    consistency::check(&root, &disabled, &mut loaded.diagnostics);
    normalise::without_unused(&mut root);
    canonical::order(&mut root, &Shape::Section(TOP));
    let mut decoder = Decoder {
        files: input.files,
        diagnostics: Vec::new(),
        unsupported: Vec::new(),
        places: BTreeMap::new(),
        root: &root,
    };
    let draft = system(&mut decoder, name.clone());
    loaded.diagnostics.append(&mut decoder.diagnostics);
    loaded.unsupported.append(&mut decoder.unsupported);
    let places = decoder.places;
    let mut system = derive::derive(draft, &places, &mut loaded.diagnostics);
    validate::validate(&mut system, &disabled, &places, &mut loaded.diagnostics);
    validate::published_ports(&system, &places, &mut loaded.unsupported);
    loaded.system = Some(system);
    loaded.model = Some(Model::new(root, name));
}

/// Variables of the process over those of the env files.
fn environment(input: &Input<'_>, diagnostics: &mut Diagnostics) -> BTreeMap<String, String> {
    let mut variables = Layered::new(input.environment);
    let default = [input.project_directory.join(".env")];
    let (paths, required) = match input.env_files {
        [] if input.options.ignores_env_file => return variables.finish(),
        [] => (default.as_slice(), false),
        paths => (paths, true),
    };
    for path in paths {
        match read_text(input.files, &input.project_directory.join(path)) {
            Ok(text) => {
                let shown = path.strip_prefix(&input.project_directory).unwrap_or(path).as_str();
                diagnostics.extend(variables.add(&Source::new(shown, text)));
            }
            Err(reason) if required => {
                let message = format!("the env file `{path}` cannot be read: {reason}");
                diagnostics.push(Diagnostic::error(codes::UNREADABLE, message));
            }
            Err(_) => {}
        }
    }
    variables.finish()
}
/// The system's name: given by hand, by variable, in the file, or from the directory.
fn name(
    input: &Input<'_>,
    environment: &BTreeMap<String, String>,
    node: Option<&Node>,
    diagnostics: &mut Diagnostics,
) -> SystemName {
    let variable = environment.get("COMPOSE_PROJECT_NAME").map(String::as_str);
    let node = node.filter(|node| !node.is_null());
    let written = node.and_then(|node| match &node.kind {
        Kind::Scalar { text, .. } => Some(text.as_str()),
        Kind::Sequence(_) | Kind::Mapping(_) => {
            let place = &node.place;
            let found = Diagnostic::error(codes::WRONG_TYPE, "`name` must be text");
            diagnostics.push(found.at_place(place, ""));
            None
        }
    });
    let given = input.name.or(variable.filter(|name| !name.is_empty()));
    let (text, place) = match (given, written) {
        (Some(text), _) => (text, None),
        (None, Some(text)) => (text, node.map(|node| &node.place)),
        (None, None) => return directory_name(&input.project_directory),
    };
    SystemName::new(text).unwrap_or_else(|err| {
        let mut found = Diagnostic::error(codes::BAD_NAME, err.to_string());
        if let Some(place) = place {
            found = found.at_place(place, "");
        }
        diagnostics.push(found);
        directory_name(&input.project_directory)
    })
}

/// A directory's name with all removed that no name may have, as Compose does it.
fn directory_name(directory: &Utf8Path) -> SystemName {
    let base = directory.file_name().unwrap_or_default().to_ascii_lowercase();
    let kept = base
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
    let kept: String = kept.collect();
    let kept = kept.trim_start_matches(['_', '-']);
    let short: String = kept.chars().take(63).collect();
    SystemName::new(short)
        .unwrap_or_else(|_| SystemName::new("default").expect("`default` is a name"))
}
