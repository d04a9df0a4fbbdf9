//! The manual's page about the Compose Specification, from the tables.

use std::fmt::Write as _;

use super::{Key, Section, Shape, Support, TOP};

/// A table of every key and what the engine does with it, in Markdown.
#[must_use]
pub fn manual() -> String {
    let mut out = String::new();
    let mut seen: Vec<&Section> = Vec::new();
    let mut waiting = vec![TOP];
    while let Some(section) = waiting.pop() {
        if seen.iter().any(|known| known.name == section.name) {
            continue;
        }
        seen.push(section);
        let _ = writeln!(out, "### Keys of {}\n\n| key | native |\n|---|---|", section.name);
        for key in section.keys {
            let _ = writeln!(out, "| `{}` | {} |", key.name, said(key));
        }
        out.push('\n');
        let inner = section.keys.iter().filter_map(|key| inner(&key.shape));
        // The stack gives them back in the order of the table.
        let mut inner: Vec<&'static Section> = inner.collect();
        inner.reverse();
        waiting.extend(inner);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn said(key: &Key) -> String {
    match key.native {
        Support::Yes => "yes".to_owned(),
        Support::Partly(cases) => format!("partly: {cases}"),
        Support::Ignored(reason) => format!("warning: {reason}"),
        Support::No(reason) => format!("error: {reason}"),
    }
}

fn inner(shape: &Shape) -> Option<&'static Section> {
    match shape {
        Shape::Section(section) => Some(section),
        Shape::List(shape) | Shape::OneOrMore(shape) | Shape::Map(shape) => inner(shape),
        Shape::Short(_, long) => inner(long),
        _ => None,
    }
}
