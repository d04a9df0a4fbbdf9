//! Loads what may be Compose files. Nothing may panic, hang or fill the memory, every finding has a
//! place that exists, and what is shown of a model loads to the same model.

#![no_main]

use std::collections::BTreeMap;

use brickyard_core::{Diagnostic, MemoryFiles};
use brickyard_diagram::{Diagram, dot, svg, text};
use brickyard_model::{Input, Loaded, Options, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let case = Case::read(text);
    let loaded = case.load(&case.files, &case.profiles);
    for found in loaded.diagnostics.iter().chain(&loaded.unsupported) {
        shown(found);
    }
    if let Some(system) = &loaded.system {
        let diagram = Diagram::of(system, &[]);
        let drawn = text::draw(&diagram, &|_, words| words.to_owned());
        assert!(drawn.lines().count() >= diagram.nodes.len());
        let _ = (dot::draw(&diagram), svg::draw(&diagram));
    }
    let Some(model) = loaded.model else { return };
    let yaml = model.to_yaml(true);
    let again = case.load(&case.files.clone().with("/p/compose.yaml", &yaml), &["*".to_owned()]);
    let found: Vec<&str> = again.diagnostics.iter().map(|found| found.message.as_str()).collect();
    let second = again.model.map(|model| model.to_yaml(true));
    assert_eq!(second.as_deref(), Some(&*yaml), "{found:?}");
});

/// Files as the corpus of the model's tests has them: each after a line `== NAME`.
struct Case {
    files: MemoryFiles,
    paths: Vec<camino::Utf8PathBuf>,
    profiles: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Case {
    fn read(text: &str) -> Self {
        let mut parts: Vec<(&str, String)> = vec![("compose.yaml", String::new())];
        for line in text.split_inclusive('\n') {
            match line.strip_prefix("== ") {
                Some(name) => parts.push((name.trim_end(), String::new())),
                None => parts.last_mut().expect("there is one").1.push_str(line),
            }
        }
        let mut case = Self {
            files: MemoryFiles::default(),
            paths: vec!["/p/compose.yaml".into()],
            profiles: Vec::new(),
            environment: BTreeMap::new(),
        };
        for (name, text) in parts {
            match name {
                "expect" | "warnings" | "errors" => {}
                "environment" => {
                    let pairs = text.lines().filter_map(|line| line.split_once('='));
                    let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
                    case.environment.extend(owned);
                }
                "profiles" => case.profiles = text.lines().map(str::to_owned).collect(),
                name => {
                    let path = format!("/p/{name}");
                    case.files = case.files.with(&path, &text);
                    if name.starts_with("over") {
                        case.paths.push(path.into());
                    }
                }
            }
        }
        case
    }

    fn load(&self, files: &MemoryFiles, profiles: &[String]) -> Loaded {
        let paths = if profiles == ["*"] { &self.paths[..1] } else { &self.paths };
        load(&Input {
            files,
            paths,
            project_directory: "/p".into(),
            environment: &self.environment,
            env_files: &[],
            name: None,
            profiles,
            options: Options::default(),
        })
    }
}

fn shown(found: &Diagnostic) {
    for label in &found.labels {
        assert!(label.span.start <= label.span.end && label.span.end <= label.source.text.len());
    }
    assert!(!found.render(false).is_empty());
}
