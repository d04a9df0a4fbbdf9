//! A project directory with its model, and the commands that read it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::command::Output;
use crate::yard::{BUSYBOX, Yard};

/// A directory with a `compose.yaml` and what belongs to it.
pub struct Project<'a> {
    yard: &'a Yard,
    directory: Utf8PathBuf,
}

impl<'a> Project<'a> {
    pub(crate) fn new(yard: &'a Yard, directory: Utf8PathBuf, files: &[(&str, &str)]) -> Self {
        let project = Self { yard, directory };
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// Writes a file, and puts a busybox beside every Dockerfile.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.directory.join(path);
        let parent = path.parent().expect("a file has a directory");
        std::fs::create_dir_all(parent).expect("the project's directory is writable");
        std::fs::write(&path, text).expect("the project's directory is writable");
        let busybox = parent.join("busybox");
        if path.file_name() == Some("Dockerfile") && !busybox.exists() {
            std::fs::copy(BUSYBOX, busybox).expect("busybox-static is installed");
        }
    }

    /// Replaces a part of a file's text.
    ///
    /// # Panics
    /// When the file does not have that part.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.directory.join(path)).expect("it was written");
        assert!(text.contains(from), "no `{from}` in {text}");
        self.write(path, &text.replace(from, to));
    }

    /// Runs `brickyard -f compose.yaml ARGUMENTS`.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let file = self.directory.join("compose.yaml");
        let mut all = vec!["-f", file.as_str()];
        all.extend(arguments);
        self.yard.run(&all)
    }

    /// `up -d`, which must succeed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn up(&self) {
        let _ = self.run(&["up", "-d"]).ok();
    }

    /// All generations, as `ps --json` shows them.
    ///
    /// # Panics
    /// When `ps` fails or prints no array.
    #[must_use]
    #[track_caller]
    pub fn ps(&self) -> Vec<Value> {
        let out = self.run(&["--json", "ps"]).ok();
        serde_json::from_str(&out.stdout)
            .unwrap_or_else(|err| panic!("`ps` prints no JSON array: {err}: {}", out.stdout))
    }

    /// One field of every generation, by `SERVICE/INSTANCE`.
    ///
    /// # Panics
    /// As [`ps`](Self::ps).
    #[must_use]
    #[track_caller]
    pub fn field(&self, name: &str) -> BTreeMap<String, Value> {
        let short = |row: &Value| {
            let service = row["service"].as_str().unwrap_or_default();
            format!("{service}/{}", row["instance"])
        };
        let rows = self.ps();
        rows.iter().map(|row| (short(row), row[name].clone())).collect()
    }

    /// The only generation of a slot, as `ps --json` shows it.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    #[track_caller]
    pub fn instance(&self, address: &str) -> Value {
        let rows = self.ps();
        let mut matching = rows.iter().filter(|row| {
            row["address"].as_str().is_some_and(|known| known.ends_with(&format!("/{address}")))
        });
        match (matching.next(), matching.next()) {
            (Some(only), None) => only.clone(),
            _ => panic!("`{address}` is not there exactly once: {rows:#?}"),
        }
    }

    /// Output of a command that runs in an instance and must succeed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    #[track_caller]
    pub fn exec(&self, target: &str, script: &str) -> String {
        let out = self.run(&["exec", target, "/bin/busybox", "sh", "-c", script]);
        out.ok().stdout
    }
}
