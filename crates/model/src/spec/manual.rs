//! The manual's page about the Compose Specification, from the tables.

use std::fmt::Write as _;

use super::extension::{self, Fields};
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

/// The keys of `x-brickyard` and what they mean, in Markdown.
#[must_use]
pub fn extension_manual() -> String {
    let parts: [(&str, &Fields); 7] = [
        ("on the top level", &extension::SYSTEM),
        ("in a service", &extension::SERVICE),
        ("of an endpoint, instead of its port alone", &extension::ENDPOINT),
        ("of an endpoint's `health`, instead of `tcp`, `http` or `none`", &extension::HEALTH),
        ("of a need, instead of SERVICE/ENDPOINT alone", &extension::NEED),
        ("of a template", &extension::TEMPLATE),
        ("of a template's `reload`, instead of `none` or `restart`", &extension::RELOAD),
    ];
    let mut out = String::new();
    for (where_, fields) in parts {
        let _ = writeln!(out, "Keys {where_}:\n\n| key | meaning |\n|---|---|");
        for key in fields.keys {
            let _ = writeln!(out, "| `{}` | {} |", key.name, key.about);
        }
        out.push('\n');
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
