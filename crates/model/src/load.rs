//! The stages, one after the other: parse -> interpolate -> merge -> decode -> derive -> validate.
//!
//! Each file is a tree until all of them are merged. Include, extends and profiles work on trees, too,
//! so they have their place between interpolation and decoding.

use std::collections::BTreeMap;

use brickyard_core::diagnostic::has_errors;
use brickyard_core::{Diagnostic, Diagnostics, Files, Source, SystemName};
use camino::{Utf8Path, Utf8PathBuf};

use crate::decode::{Decoder, read_text, system};
use crate::interpolate::interpolate;
use crate::merge::merge;
use crate::tree::{Kind, Node};
use crate::types::System;
use crate::{codes, derive, dotenv, tree, validate};

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
    /// Env files given by hand, relative ones from the project directory; when empty, `.env` of the project directory is read if it is there.
    pub env_files: &'a [Utf8PathBuf],
    /// The system's name when it was given by hand.
    pub name: Option<&'a str>,
}

/// What came of it.
#[derive(Debug)]
pub struct Loaded {
    /// The system; absent when there is any error.
    pub system: Option<System>,
    /// Everything that was found.
    pub diagnostics: Diagnostics,
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
    let mut diagnostics = Vec::new();
    let system = stages(input, &mut diagnostics);
    let system = system.filter(|_| !has_errors(&diagnostics));
    // People work through a file from the top; the sort is stable, so stages stay in order.
    diagnostics.sort_by_key(|found| {
        let label = found.labels.first();
        label.map(|label| (label.source.name.clone(), label.span.start))
    });
    Loaded { system, diagnostics }
}

fn stages(input: &Input<'_>, diagnostics: &mut Diagnostics) -> Option<System> {
    let mut environment = environment(input, diagnostics);
    let mut trees = Vec::new();
    for path in input.paths {
        trees.extend(file(input.files, path, diagnostics));
    }
    if trees.len() < input.paths.len() {
        return None;
    }
    // The name comes first and on its own, as other values may use it.
    let mut name_node = None;
    for tree in &mut trees {
        name_node = take_name(tree).or(name_node);
    }
    if let Some(node) = &mut name_node {
        interpolate(node, &environment, diagnostics);
    }
    let name = name(input, &environment, name_node.as_ref(), diagnostics);
    environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.to_string());
    trees.iter_mut().for_each(|tree| interpolate(tree, &environment, diagnostics));
    let root = merge(trees)?;
    let mut decoder = Decoder {
        files: input.files,
        environment: &environment,
        directory: &input.project_directory,
        diagnostics: Vec::new(),
        places: BTreeMap::new(),
    };
    let draft = system(&mut decoder, &root, name);
    diagnostics.append(&mut decoder.diagnostics);
    let places = decoder.places;
    let mut system = derive::derive(draft, &places, diagnostics);
    validate::validate(&mut system, &places, diagnostics);
    Some(system)
}

/// One file's tree.
fn file(files: &dyn Files, path: &Utf8Path, diagnostics: &mut Diagnostics) -> Option<Node> {
    let text = match read_text(files, path) {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("the Compose file cannot be read: {reason}");
            diagnostics.push(Diagnostic::error(codes::UNREADABLE, message));
            return None;
        }
    };
    let source = Source::new(path.as_str(), text);
    let (root, found) = tree::parse(&source);
    if root.is_none() && !has_errors(&found) {
        let message = "the Compose file is empty";
        diagnostics.push(Diagnostic::error(codes::SYNTAX, message).at(&source, 0..0, ""));
    }
    diagnostics.extend(found);
    root
}

/// The value of `name`, taken out of the tree.
fn take_name(root: &mut Node) -> Option<Node> {
    let Kind::Mapping(entries) = &mut root.kind else {
        return None;
    };
    let at = entries.iter().position(|entry| entry.key == "name")?;
    Some(entries.remove(at).value)
}

/// Variables of the process over those of the env files.
fn environment(input: &Input<'_>, diagnostics: &mut Diagnostics) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let default = [input.project_directory.join(".env")];
    let (paths, required) = match input.env_files {
        [] => (default.as_slice(), false),
        paths => (paths, true),
    };
    for path in paths {
        match read_text(input.files, &input.project_directory.join(path)) {
            Ok(text) => {
                // A later file may use what an earlier one says.
                let mut known = variables.clone();
                known.extend(input.environment.clone());
                let shown = path.strip_prefix(&input.project_directory).unwrap_or(path).as_str();
                let (found, findings) = dotenv::parse(&Source::new(shown, text), &known);
                variables.extend(found);
                diagnostics.extend(findings);
            }
            Err(reason) if required => {
                let message = format!("the env file `{path}` cannot be read: {reason}");
                diagnostics.push(Diagnostic::error(codes::UNREADABLE, message));
            }
            Err(_) => {}
        }
    }
    variables.extend(input.environment.clone());
    variables
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
            diagnostics.push(found.at(&place.source, place.span.clone(), ""));
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
            found = found.at(&place.source, place.span.clone(), "");
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
