//! What shells complete beside commands and flags: the model's services.

use std::collections::BTreeMap;

use brickyard_core::OsFiles;
use camino::{Utf8Path, Utf8PathBuf};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

/// The variable by which a shell asks.
pub(crate) const VARIABLE: &str = "BRICKYARD_COMPLETE";

/// Names of the model's services. Only the model is read: no agent is asked for what may be typed.
pub(crate) fn services() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates().unwrap_or_default())
}

fn candidates() -> Option<Vec<CompletionCandidate>> {
    let words: Vec<String> = std::env::args().collect();
    let path = match file_of(&words) {
        Some(file) => camino::absolute_utf8(file).ok()?,
        None => {
            let here = camino::absolute_utf8(".").ok()?;
            here.ancestors().find_map(|dir| brickyard_model::default_file(&OsFiles, dir))?
        }
    };
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let loaded = brickyard_model::load(&brickyard_model::Input {
        files: &OsFiles,
        path: &path,
        project_directory: path.parent().unwrap_or(Utf8Path::new("/")).to_owned(),
        environment: &environment,
        env_files: &[],
        name: None,
    });
    let names = loaded.system?.services.into_keys();
    Some(names.map(|name| CompletionCandidate::new(name.to_string())).collect())
}

/// The file that the line which is completed names.
fn file_of(words: &[String]) -> Option<Utf8PathBuf> {
    let at = words.iter().position(|word| word == "-f" || word == "--file")?;
    words.get(at + 1).map(Utf8PathBuf::from)
}
