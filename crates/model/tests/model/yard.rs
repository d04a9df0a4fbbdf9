//! A few files in memory, loaded.

use std::collections::BTreeMap;

use brickyard_core::{Diagnostic, MemoryFiles};
use brickyard_model::types::{Service, System};
use brickyard_model::{Input, Loaded, Options, load};

/// Files below `/project`, and variables.
pub(crate) struct Yard {
    pub(crate) files: MemoryFiles,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) env_files: Vec<camino::Utf8PathBuf>,
    paths: Vec<camino::Utf8PathBuf>,
    pub(crate) name: Option<String>,
    pub(crate) directory: &'static str,
    pub(crate) profiles: Vec<String>,
    pub(crate) options: Options,
}

impl Yard {
    pub(crate) fn new(compose: &str) -> Self {
        Self {
            files: MemoryFiles::default().with("compose.yaml", compose),
            environment: BTreeMap::new(),
            env_files: Vec::new(),
            name: None,
            paths: vec!["compose.yaml".into()],
            directory: "/project",
            profiles: Vec::new(),
            options: Options::default(),
        }
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files = self.files.with(path, text);
        self
    }

    /// A file that counts more than those before it.
    pub(crate) fn over(mut self, path: &str, text: &str) -> Self {
        self.paths.push(path.into());
        self.file(path, text)
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn load(&self) -> Loaded {
        load(&Input {
            files: &self.files,
            paths: &self.paths,
            project_directory: self.directory.into(),
            environment: &self.environment,
            env_files: &self.env_files,
            name: self.name.as_deref(),
            profiles: &self.profiles,
            options: self.options,
        })
    }

    /// The system of files without any finding.
    pub(crate) fn system(&self) -> System {
        let mut loaded = self.load();
        let system = loaded.take_runnable();
        assert_eq!(shown(&loaded.findings()), "");
        system.expect("no error, so a system")
    }
}

/// The system of one faultless file.
pub(crate) fn system(compose: &str) -> System {
    Yard::new(compose).system()
}

/// The service `web` of a file that has these lines below it.
pub(crate) fn web(lines: &str) -> Service {
    service(&system(&format!("services:\n  web:\n    image: i\n{}", indented(lines))), "web")
}

pub(crate) fn service(system: &System, name: &str) -> Service {
    system.services[name].clone()
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}

/// What is found in one file, a line each.
pub(crate) fn findings(compose: &str) -> String {
    shown(&Yard::new(compose).load().findings())
}

/// What is found in a service `web` with these lines, a line each.
pub(crate) fn web_findings(lines: &str) -> String {
    findings(&format!("services:\n  web:\n    image: i\n{}", indented(lines)))
}

/// `LINE:COLUMN CODE message (hints)`, warnings marked.
pub(crate) fn shown(diagnostics: &[Diagnostic]) -> String {
    let line = |found: &Diagnostic| {
        let places: Vec<String> = found
            .labels
            .iter()
            .map(|label| {
                let (line, column) = label.source.position(label.span.start);
                match label.source.name.as_str() {
                    "compose.yaml" => format!("{line}:{column}"),
                    name => format!("{name}:{line}:{column}"),
                }
            })
            .collect();
        let warning = if found.is_error() { "" } else { " warning" };
        let hints: String = found.hints.iter().map(|hint| format!(" ({hint})")).collect();
        format!("{} {}{warning} {}{hints}", places.join(" "), found.code.0, found.message)
    };
    diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
}
