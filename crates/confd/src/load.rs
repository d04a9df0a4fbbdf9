//! Resources of a directory, in the order of their paths, as confd walks it.

use camino::{Utf8Path, Utf8PathBuf};

use crate::context::Context;
use crate::resource::{self, Resource};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) resources: Vec<Resource>,
    /// What is wrong, one line each.
    pub(crate) problems: Vec<String>,
    /// Directories that were looked into.
    pub(crate) directories: Vec<Utf8PathBuf>,
}

/// Reads all resources; those that are wrong are left out and said.
pub(crate) fn resources(context: &Context) -> Loaded {
    let mut loaded = Loaded::default();
    let root = context.resources();
    if !context.settings.confdir.exists() {
        let confdir = &context.settings.confdir;
        let text = format!("Cannot load template resources: confdir '{confdir}' does not exist");
        context.log.warning(text);
        return loaded;
    }
    let mut files = Vec::new();
    walk(&root, &mut files, &mut loaded.directories);
    if files.is_empty() {
        context.log.warning("Found no templates");
    }
    for file in files {
        context.log.debug(format!("Loading template resource from {file}"));
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(err) => {
                let problem = format!("Cannot process template resource {file} - {err}");
                loaded.problems.push(problem);
                continue;
            }
        };
        match resource::parse(&file, &text, &context.settings.prefix) {
            Ok((resource, notes)) => {
                notes.iter().for_each(|note| context.log.warning(note.to_string()));
                loaded.resources.push(resource);
            }
            Err(problems) => {
                for problem in problems {
                    let text = format!("Cannot process template resource {problem}");
                    loaded.problems.push(text);
                }
            }
        }
    }
    loaded
}

/// Files whose names end with `toml`, with or without a dot, in directories in the order of names.
fn walk(directory: &Utf8Path, files: &mut Vec<Utf8PathBuf>, directories: &mut Vec<Utf8PathBuf>) {
    directories.push(directory.to_owned());
    let entries = directory.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by(|a, b| a.file_name().cmp(b.file_name()));
    for entry in entries {
        // Links to directories are not followed, as Go's walk does not. What it is comes with its name.
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.into_path();
        if kind.is_dir() {
            walk(&path, files, directories);
        } else if path.as_str().ends_with("toml") && (kind.is_file() || path.is_file()) {
            files.push(path);
        }
    }
}

/// All directories below one, itself included.
pub(crate) fn directories_below(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut directories = Vec::new();
    walk(directory, &mut Vec::new(), &mut directories);
    directories
}
