//! The tidy test: rules of the house that no compiler checks.
//!
//! What it looks for is written in two parts where this file would otherwise find itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

fn workspace() -> Utf8PathBuf {
    let here = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("crates lie two levels down").to_owned()
}

/// All Rust files of the workspace, by their path in it.
fn sources() -> BTreeMap<String, String> {
    let root = workspace();
    let mut sources = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root.join("crates")) {
        let entry = entry.expect("the workspace can be read");
        let path = Utf8Path::from_path(entry.path()).expect("paths are UTF-8");
        if path.extension() == Some("rs") && entry.file_type().is_file() {
            let short = path.strip_prefix(&root).expect("it lies in the workspace");
            let text = fs::read_to_string(path).expect("sources are UTF-8");
            sources.insert(short.to_string(), text);
        }
    }
    assert!(sources.len() > 100, "the sources were not found");
    sources
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    none("files that do not begin with `//! `", &silent);
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, count)| *count > FILE_LINES_MAX)
        .map(|(path, count)| format!("{path}: {count} lines"))
        .collect();
    none("files that are too long", &long);
}

/// Name, line and length of every function, without comments and empty lines. In code that rustfmt
/// has laid out the closing brace has the indentation of the first line.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indentation = &line[..line.len() - line.trim_start().len()];
        let close = format!("{indentation}}}");
        let end = lines[at..].iter().position(|l| {
            // One without a body, as in a trait, ends with its semicolon.
            *l == close || (l.starts_with(indentation) && is_end_of_signature(l, indentation))
        });
        if let Some(end) = end {
            let body = lines[at..=at + end].iter().map(|line| line.trim());
            let length = body.filter(|line| !line.is_empty() && !line.starts_with("//"));
            found.push((name.to_owned(), at + 1, length.count()));
        }
    }
    found
}

fn is_end_of_signature(line: &str, indentation: &str) -> bool {
    let rest = &line[indentation.len()..];
    !rest.starts_with(' ') && (rest.ends_with(';') || rest.ends_with(" }") || rest.ends_with("{}"))
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix("fn ") {
            return after.split(['(', '<']).next();
        }
        let (word, after) = rest.split_once(' ')?;
        let qualifies = matches!(word, "pub" | "async" | "const" | "unsafe" | "extern" | "\"C\"")
            || word.starts_with("pub(");
        if !qualifies {
            return None;
        }
        rest = after;
    }
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    let mut count = 0;
    for (path, text) in sources() {
        for (name, line, length) in functions(&text) {
            count += 1;
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{path}:{line}: `{name}` has {length} lines"));
            }
        }
    }
    assert!(count > 1000, "only {count} functions were found");
    none("functions that are too long", &long);
}

#[test]
fn functions_are_counted() {
    let text = "fn a() {}\nimpl X {\n    pub(crate) async fn b<T>(\n        x: T,\n    ) {\n        if y {\n\n        // Why.\n        }\n    }\n\n    fn c();\n}\n";
    let expected = [("a", 1, 1), ("b", 3, 6), ("c", 12, 1)];
    let expected = expected.map(|(name, at, length)| (name.to_owned(), at, length));
    assert_eq!(functions(text), expected);
}

/// Lines without their comment and the texts in quotes.
fn code(line: &str) -> String {
    let mut code = String::new();
    let mut quoted = false;
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        match character {
            '"' if before != '\\' => quoted = !quoted,
            '/' if !quoted && line[at..].starts_with("//") => break,
            _ if !quoted => code.push(character),
            _ => {}
        }
        before = character;
    }
    code
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("#[ig", "nore"),
        concat!("#[should_", "panic"),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X"),
        concat!("dbg", "!("),
    ];
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (at, line) in text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(**mark)) {
                found.push(format!("{path}:{}: {mark}", at + 1));
            }
        }
    }
    none("marks of unfinished work", &found);
}

#[test]
fn only_sys_is_unsafe() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        if path.starts_with("crates/sys/") {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let words = code(line);
            let mut words = words.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word == concat!("un", "safe")) {
                found.push(format!("{path}:{}", at + 1));
            }
        }
        let is_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
        let lint = concat!("#![forbid(un", "safe_code)]");
        if is_root && path.ends_with("lib.rs") && !text.contains(lint) {
            found.push(format!("{path}: no {lint}"));
        }
    }
    none("code outside of sys that the compiler cannot vouch for", &found);
    let all = sources();
    let sys = all.iter().filter(|(path, _)| path.starts_with("crates/sys/"));
    let mut silent = Vec::new();
    for (path, text) in sys {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let opens = code(line).contains(concat!("un", "safe {"));
            let above = &lines[at.saturating_sub(6)..at];
            if opens && !above.iter().any(|line| line.contains("SAFETY:")) {
                silent.push(format!("{path}:{}", at + 1));
            }
        }
    }
    none("blocks in sys without their SAFETY note", &silent);
}

/// Floors of the house, the lowest first. Neighbours are on one floor and do not use each other.
const FLOORS: [&[&[&str]]; 6] = [
    &[&["core", "sys", "yaml"]],
    &[&["model", "plan", "template", "diagram"], &["store", "image", "engine"]],
    &[&["api"]],
    &[&["source"]],
    &[&["agent", "front", "render", "confd", "build", "attack", "bench"]],
    &[&["brickyard"]],
];
/// For tests alone: it may be used by none, and uses what it likes.
const TESTKIT: &str = "testkit";

/// Floor, and which of its neighbours.
fn floor(name: &str) -> Option<(usize, usize)> {
    FLOORS.iter().enumerate().find_map(|(floor, rooms)| {
        let room = rooms.iter().position(|room| room.contains(&name))?;
        Some((floor, room))
    })
}

/// Crates of ours that a manifest lists as dependencies (not those for tests).
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-");
        } else if inside && let Some(rest) = line.strip_prefix("brickyard-") {
            found.extend(rest.split(['.', ' ', '=']).next());
        }
    }
    found
}

#[test]
fn floors_are_not_crossed() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    let crates = workspace().join("crates");
    for entry in crates.read_dir_utf8().expect("the workspace can be read") {
        let directory = entry.expect("the workspace can be read").into_path();
        let name = directory.file_name().expect("it has a name").to_owned();
        let manifest = fs::read_to_string(directory.join("Cargo.toml"));
        let Ok(manifest) = manifest else {
            continue;
        };
        for used in dependencies(&manifest) {
            seen += 1;
            let allowed = match (floor(&name), floor(used)) {
                _ if name == TESTKIT => true,
                (Some((own, room)), Some((other, neighbour))) => {
                    other < own || (other == own && neighbour == room)
                }
                _ => false,
            };
            if !allowed {
                wrong.push(format!("{name} uses {used}"));
            }
        }
        if floor(&name).is_none() && name != TESTKIT {
            wrong.push(format!("{name} has no floor"));
        }
    }
    assert!(seen > 20, "only {seen} dependencies were found");
    none("crates that use what is not below them", &wrong);
}

#[test]
fn every_error_has_its_section() {
    let path = workspace().join("docs/errors.md");
    let text = fs::read_to_string(&path).expect("docs/errors.md is there");
    let sections: BTreeSet<&str> = text.lines().filter_map(|l| l.strip_prefix("### ")).collect();
    let mut used = BTreeSet::new();
    for (path, source) in sources() {
        if path.contains("/src/") {
            for rest in source.split("Code(\"BY").skip(1) {
                let digits = rest.split('"').next().expect("a split has a part");
                used.insert(format!("BY{digits}"));
            }
        }
    }
    assert!(used.len() > 20, "only {} codes were found", used.len());
    let used: BTreeSet<&str> = used.iter().map(String::as_str).collect();
    let missing: Vec<String> = used.difference(&sections).map(ToString::to_string).collect();
    none("codes without a section in docs/errors.md", &missing);
    let unused: Vec<String> = sections.difference(&used).map(ToString::to_string).collect();
    none("sections of codes that nothing uses", &unused);
}

#[test]
fn every_abuse_has_its_row() {
    let path = workspace().join("docs/security.md");
    let text = fs::read_to_string(&path).expect("docs/security.md is there");
    let mut missing = Vec::new();
    let mut count = 0;
    for (path, source) in sources() {
        if !path.contains("/tests/engine/containment/") {
            continue;
        }
        let lines: Vec<&str> = source.lines().collect();
        for pair in lines.windows(2).filter(|pair| is_test(pair[0])) {
            count += 1;
            let name = function_name(pair[1]).unwrap_or(pair[1]);
            if !text.contains(&format!("{name}`")) {
                missing.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(count > 30, "only {count} tests were found");
    none("abuses that docs/security.md does not name", &missing);
}

fn is_test(line: &str) -> bool {
    line == "#[test]" || line.starts_with("#[tokio::test")
}
