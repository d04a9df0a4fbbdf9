//! Files and directories of YAML, JSON and TOML.
//!
//! Directories are searched through as a whole; of the files in them those count whose name matches
//! the filter. What a later file says counts. A change is noticed by the directories that the files
//! lie in, so that it does not matter whether a file is written, renamed into its place or led to
//! by a link that changes.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;

use async_trait::async_trait;
use brickyard_core::path::Pattern;
use brickyard_sys::directories::Directories;
use camino::{Utf8Path, Utf8PathBuf};

use crate::{Config, Entries, Error, Result, Source, Update, Watch, Watching, tree};

/// Files, and directories of files.
#[derive(Debug, Clone)]
pub struct Files {
    paths: Vec<Utf8PathBuf>,
    filter: Pattern,
}

fn unavailable(node: &Utf8Path, err: &std::io::Error) -> Error {
    Error::Unavailable { node: node.to_string(), reason: err.to_string() }
}

impl Files {
    /// The files of a configuration.
    ///
    /// # Errors
    /// [`Error::Config`] without any, or with a bad filter.
    pub fn new(config: &Config) -> Result<Self> {
        if config.files.is_empty() {
            return Err(Error::Config {
                message: "the file backend needs a file".to_owned(),
                hint: Some("name one with -file FILE; it may be a directory, too".to_owned()),
            });
        }
        let filter = Pattern::parse(&config.filter).map_err(|err| Error::Config {
            message: format!("the filter `{}` is no pattern: {err}", config.filter),
            hint: None,
        })?;
        Ok(Self { paths: config.files.clone(), filter })
    }

    /// All files, in the order in which they are read, and the directories that were looked into.
    fn find(&self) -> Result<(Vec<Utf8PathBuf>, BTreeSet<Utf8PathBuf>)> {
        let (mut files, mut directories) = (Vec::new(), BTreeSet::new());
        for path in &self.paths {
            let meta = fs::metadata(path).map_err(|err| unavailable(path, &err))?;
            if meta.is_dir() {
                self.look_into(path, &mut files, &mut directories)?;
            } else {
                directories.insert(parent(path));
                // A link's target may be written where it lies.
                let real = path.canonicalize_utf8().map_err(|err| unavailable(path, &err))?;
                directories.insert(parent(&real));
                files.push(path.clone());
            }
        }
        Ok((files, directories))
    }

    fn look_into(
        &self,
        directory: &Utf8Path,
        files: &mut Vec<Utf8PathBuf>,
        directories: &mut BTreeSet<Utf8PathBuf>,
    ) -> Result<()> {
        // A link may lead back.
        let real = directory.canonicalize_utf8().map_err(|err| unavailable(directory, &err))?;
        if !directories.insert(real) {
            return Ok(());
        }
        let entries = directory.read_dir_utf8().map_err(|err| unavailable(directory, &err))?;
        let mut names: Vec<String> =
            entries.filter_map(|entry| Some(entry.ok()?.file_name().to_owned())).collect();
        names.sort();
        for name in names {
            let path = directory.join(&name);
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => self.look_into(&path, files, directories)?,
                Ok(_) if self.filter.matches(name.as_bytes()) => files.push(path),
                // What has just gone, or leads nowhere, is not there.
                _ => {}
            }
        }
        Ok(())
    }

    fn entries(&self, paths: &[String]) -> Result<(Entries, BTreeSet<Utf8PathBuf>)> {
        let (files, directories) = self.find()?;
        let mut all = Entries::new();
        for file in &files {
            let text = match fs::read_to_string(file) {
                Ok(text) => text,
                Err(err) if err.kind() == ErrorKind::InvalidData => {
                    return Err(bad(file, 0, "it is not UTF-8".to_owned()));
                }
                Err(err) => return Err(unavailable(file, &err)),
            };
            let read = match file.extension() {
                Some("toml") => tree::toml(&text),
                _ => tree::yaml(&text),
            };
            read.map_err(|(line, reason)| bad(file, line, reason))?.flatten("", &mut all);
        }
        all.retain(|key, _| paths.iter().any(|path| key.starts_with(path.as_str())));
        Ok((all, directories))
    }
}

fn parent(path: &Utf8Path) -> Utf8PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent.to_owned(),
        _ => Utf8PathBuf::from("."),
    }
}

fn bad(file: &Utf8Path, line: u64, reason: String) -> Error {
    let place = if line > 0 { format!("{file}:{line}") } else { file.to_string() };
    Error::Bad { place, reason }
}

#[async_trait]
impl Source for Files {
    fn name(&self) -> &'static str {
        "file"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        Ok(self.entries(paths)?.0)
    }

    async fn watch(&self, paths: &[String]) -> Result<Watching> {
        Ok(Watching::Watch(Box::new(FileWatch {
            files: self.clone(),
            paths: paths.to_vec(),
            directories: Directories::new().map_err(|err| no_notice(&err))?,
            known: None,
        })))
    }
}

fn no_notice(err: &std::io::Error) -> Error {
    Error::Unavailable { node: "inotify".to_owned(), reason: err.to_string() }
}

struct FileWatch {
    files: Files,
    paths: Vec<String>,
    directories: Directories,
    known: Option<Entries>,
}

impl FileWatch {
    /// Reads everything; directories that are new are watched first, and looked into once more.
    fn look(&mut self) -> Result<Entries> {
        loop {
            let (entries, directories) = self.files.entries(&self.paths)?;
            let mut any_new = false;
            for directory in directories {
                let is_new = self.directories.watch(directory.as_std_path());
                any_new |= is_new.map_err(|err| unavailable(&directory, &err))?;
            }
            if !any_new {
                return Ok(entries);
            }
        }
    }
}

#[async_trait]
impl Watch for FileWatch {
    async fn next(&mut self) -> Result<Update> {
        loop {
            if self.known.is_some() {
                self.directories.changed().await.map_err(|err| no_notice(&err))?;
            }
            let entries = self.look()?;
            if self.known.as_ref() != Some(&entries) {
                self.known = Some(entries.clone());
                return Ok(Update::All(entries));
            }
        }
    }
}
