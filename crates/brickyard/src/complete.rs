//! What shells complete beside commands and flags: the model's services.

use std::collections::BTreeMap;

use brickyard_core::OsFiles;
use camino::Utf8Path;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

/// The variable by which a shell asks.
pub(crate) const VARIABLE: &str = "BRICKYARD_COMPLETE";

/// Names of the model's services. Only the model is read: no agent is asked for what may be typed.
pub(crate) fn services() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates().unwrap_or_default())
}

fn candidates() -> Option<Vec<CompletionCandidate>> {
    let words: Vec<String> = std::env::args().collect();
    let mut paths = Vec::new();
    for file in files_of(&words) {
        paths.push(camino::absolute_utf8(file).ok()?);
    }
    if paths.is_empty() {
        let here = camino::absolute_utf8(".").ok()?;
        paths = here.ancestors().find_map(|dir| brickyard_model::default_files(&OsFiles, dir))?;
    }
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let loaded = brickyard_model::load(&brickyard_model::Input {
        files: &OsFiles,
        paths: &paths,
        project_directory: paths.first()?.parent().unwrap_or(Utf8Path::new("/")).to_owned(),
        environment: &environment,
        env_files: &[],
        name: None,
        profiles: &["*".to_owned()],
        options: brickyard_model::Options::default(),
    });
    let model = loaded.model?;
    Some(model.names("services").into_iter().map(CompletionCandidate::new).collect())
}

/// The files that the line which is completed names.
fn files_of(words: &[String]) -> impl Iterator<Item = &String> {
    let pairs = words.iter().zip(words.iter().skip(1));
    pairs.filter(|(word, _)| *word == "-f" || *word == "--file").map(|(_, file)| file)
}
