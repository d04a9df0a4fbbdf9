//! The corpus: small files below `tests/corpus`, each for one rule of the Compose Specification, with
//! the model that comes of it, written by hand from the specification's text.
//!
//! A case has parts, each after a line `== NAME`: files by their names (those that begin with `over` are
//! given after `compose.yaml`, the others are only there), `environment`, `profiles`, and what comes of
//! it: `expect`, `warnings`, `errors`. The network that every service is on when nothing is said is left
//! out of `expect` unless the case is about networks; of a finding, its place, code and the beginning of
//! its message are given.

use std::path::{Path, PathBuf};

use brickyard_yaml::Value as Yaml;
use serde_json::{Map, Value, json};

use crate::yard::{Yard, shown};

#[test]
fn every_case_is_resolved_as_it_is_written() {
    let cases = cases();
    assert!(cases.len() >= 150, "the corpus has {} cases only", cases.len());
    let mut wrong = Vec::new();
    for path in &cases {
        let text = std::fs::read_to_string(path).unwrap();
        if let Err(reason) = try_case(&text) {
            wrong.push(format!("{}: {reason}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// What is shown of a model loads to the same model, and an override that says nothing changes nothing.
#[test]
fn what_is_shown_is_a_fixed_point() {
    for path in cases() {
        let text = std::fs::read_to_string(&path).unwrap();
        let yard = yard(&parts(&text));
        let Some(model) = yard.load().model else {
            continue;
        };
        let yaml = model.to_yaml(true);
        let mut again = Yard::new(&yaml);
        again.files = yard.files.clone().with("compose.yaml", &yaml);
        again.profiles = vec!["*".to_owned()];
        let loaded = again.load();
        let second = loaded.model.as_ref().map(|model| model.to_yaml(true));
        assert_eq!(
            second.as_deref(),
            Some(&*yaml),
            "{}: {}",
            path.display(),
            shown(&loaded.findings())
        );
        let with_empty = yard.over("empty.yaml", "services: {}\n").load();
        assert_eq!(
            with_empty.model.map(|model| model.to_yaml(true)),
            Some(yaml),
            "{}",
            path.display()
        );
    }
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut cases = Vec::new();
    for area in std::fs::read_dir(root).expect("the corpus is there") {
        let area = area.expect("an area is read").path();
        let files = std::fs::read_dir(area).expect("an area is a directory");
        cases.extend(files.map(|file| file.expect("a case is read").path()));
    }
    cases.sort();
    cases
}

/// The parts of a case by their names.
fn parts(text: &str) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("== "), parts.last_mut()) {
            (Some(name), _) => parts.push((name.to_owned(), String::new())),
            (None, Some((_, part))) => {
                part.push_str(line);
                part.push('\n');
            }
            // What the case is about.
            (None, None) => assert!(line.starts_with("# "), "{line}"),
        }
    }
    parts
}

fn yard(parts: &[(String, String)]) -> Yard {
    let mut yard = Yard::new("");
    for (name, text) in parts {
        yard = match name.as_str() {
            "expect" | "warnings" | "errors" => yard,
            "environment" => text.lines().fold(yard, |yard, line| {
                let (name, value) = line.split_once('=').expect("NAME=VALUE");
                yard.variable(name, value)
            }),
            "profiles" => {
                yard.profiles = text.lines().map(str::to_owned).collect();
                yard
            }
            "compose.yaml" => yard.file(name, text).file("/project/compose.yaml", text),
            name if name.starts_with("over") => yard.over(name, text),
            name => yard.file(&format!("/project/{name}"), text),
        };
    }
    yard
}

fn try_case(text: &str) -> Result<(), String> {
    let parts = parts(text);
    let part = |name: &str| parts.iter().find(|(part, _)| part == name).map(|(_, text)| text);
    let loaded = yard(&parts).load();
    let found = shown(&loaded.diagnostics).replace(" warning", "");
    let found: Vec<&str> = found.lines().filter(|line| !line.is_empty()).collect();
    let wanted = part("errors").or_else(|| part("warnings")).map_or("", String::as_str);
    let wanted: Vec<String> =
        wanted.lines().map(|line| line.replace("compose.yaml:", "")).collect();
    let all_are_found = found.len() == wanted.len()
        && wanted.iter().all(|line| found.iter().any(|found| found.starts_with(line.as_str())));
    if !all_are_found {
        return Err(format!("found\n  {}\nwanted\n  {}", found.join("\n  "), wanted.join("\n  ")));
    }
    let Some(expected) = part("expect") else {
        return Ok(());
    };
    let model = loaded.model.ok_or("there is no model")?;
    let mut is = model.to_json(false);
    let root = is.as_object_mut().expect("a model is a mapping");
    root.remove("name");
    let expected = brickyard_yaml::read(expected).map_err(|err| format!("{err:?}"))?;
    let expected = value(&expected);
    if expected.pointer("/networks/default").is_none() {
        without_default_network(root);
    }
    match is == expected {
        true => Ok(()),
        false => Err(format!("is\n  {is}\nexpected\n  {expected}")),
    }
}

fn without_default_network(root: &mut Map<String, Value>) {
    for service in root["services"].as_object_mut().expect("there are services").values_mut() {
        let service = service.as_object_mut().expect("a service is a mapping");
        if service.get("networks") == Some(&json!({"default": null})) {
            service.remove("networks");
        }
    }
    let Some(networks) = root.get_mut("networks").and_then(Value::as_object_mut) else {
        return;
    };
    networks.remove("default");
    if networks.is_empty() {
        root.remove("networks");
    }
}

fn value(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(truth) => json!(truth),
        Yaml::Int(number) => json!(number),
        Yaml::Uint(number) => json!(number),
        Yaml::Float(number) => json!(number),
        Yaml::String(text) => json!(text),
        Yaml::List(items) => items.iter().map(value).collect(),
        Yaml::Map(entries) => {
            let entries = entries.iter().map(|(key, inner)| (key.clone(), value(inner)));
            Value::Object(entries.collect())
        }
    }
}
