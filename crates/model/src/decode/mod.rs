//! Typed decoding: from the tree to values, with every error at once.
//!
//! A function that meets a mistake reports it and returns what can still be used, so that one bad
//! key hides no other. [`Decoder`] has the findings, the context and the readers of single values;
//! the modules beside it read one part of the file each.

mod brickyard;
mod environment;
mod health;
mod mounts;
mod network;
mod resources;
mod service;
mod system;

use std::collections::BTreeMap;
use std::str::FromStr;

use brickyard_core::size::{parse_bytes, parse_duration_ms};
use brickyard_core::{
    Alias, Code, Diagnostic, Diagnostics, Files, LineTarget, ServiceName, VolumeName,
};
use camino::{Utf8Path, Utf8PathBuf};

use crate::canonical::clean;
use crate::codes;
use crate::findings::{self, AtPlace};
use crate::tree::{Entry, Kind, Node, Place};
use crate::types::{OnChange, System};

pub(crate) use system::system;

/// What decoding sees besides the tree.
pub(crate) struct Decoder<'a> {
    /// The files, for templates.
    pub files: &'a dyn Files,
    /// What is wrong.
    pub diagnostics: Diagnostics,
    /// What the engine does not honour.
    pub unsupported: Diagnostics,
    /// The whole model, written out in full.
    pub root: &'a Node,
    /// Where things stand, for findings that later stages make.
    pub places: BTreeMap<Spot, Place>,
}

/// A thing whose place later stages may have to show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spot {
    /// A service's name.
    Service(ServiceName),
    /// An entry of `depends_on`, or a link that implies one.
    Dependency(ServiceName, ServiceName),
    /// A need's target.
    Need(ServiceName, Alias),
    /// A published port, by its number in the list.
    Port(ServiceName, usize),
    /// A use of a named volume.
    Volume(ServiceName, VolumeName),
    /// A template's destination, by its number in the list.
    Template(ServiceName, usize),
}

/// A decoded file; lines and endpoints that are implied are not in the system yet.
pub(crate) struct Draft {
    /// What is known so far.
    pub system: System,
    /// What derivation needs to know about each service.
    pub wishes: BTreeMap<ServiceName, Wishes>,
}

/// What a service says about its neighbours.
#[derive(Default)]
pub(crate) struct Wishes {
    /// `expose`.
    pub expose: Vec<u16>,
    /// `links`.
    pub links: Vec<(Alias, ServiceName)>,
    /// `x-brickyard.needs`.
    pub needs: Vec<Need>,
}

/// A need as written.
pub(crate) struct Need {
    pub alias: Alias,
    pub to: LineTarget,
    pub on_change: OnChange,
}

impl Decoder<'_> {
    /// Reports an error at a place.
    pub(crate) fn error(&mut self, code: Code, message: impl Into<String>, place: &Place) {
        self.report(Diagnostic::error(code, message), place);
    }

    /// Reports a finding at a place.
    pub(crate) fn report(&mut self, found: Diagnostic, place: &Place) {
        let found = found.at_place(place, "");
        self.diagnostics.push(found);
    }

    pub(crate) fn bad_value(&mut self, message: impl Into<String>, place: &Place) {
        self.error(codes::BAD_VALUE, message, place);
    }

    /// Reports what the engine cannot honour.
    pub(crate) fn unsupported(&mut self, what: &str, place: &Place) {
        self.unsupported.push(findings::cannot_honour(what, place));
    }

    /// Reports what the engine ignores.
    pub(crate) fn no_effect(&mut self, message: impl Into<String>, place: &Place) {
        self.unsupported.push(findings::no_effect(message, place));
    }

    fn wrong_type(&mut self, what: &str, wanted: &str, node: &Node) {
        self.diagnostics.push(findings::wrong_type(what, wanted, node));
    }

    /// Text; numbers and booleans count as written.
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            Kind::Scalar { text, .. } if !node.is_null() => Some(text.to_string()),
            _ => {
                self.wrong_type(what, "text", node);
                None
            }
        }
    }

    /// Text that `parse` understands.
    pub(crate) fn parsed<T>(
        &mut self,
        node: &Node,
        what: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        let value = parse(text.trim());
        if value.is_none() {
            self.diagnostics.push(findings::no_value(&text, what, wanted, node));
        }
        value
    }

    pub(crate) fn whole<T: FromStr>(&mut self, node: &Node, what: &str) -> Option<T> {
        self.parsed(node, what, "a whole number", |text| text.parse().ok())
    }

    pub(crate) fn duration_ms(&mut self, node: &Node, what: &str) -> Option<u64> {
        let wanted = "a duration as 500ms, 10s or 1m30s";
        self.parsed(node, what, wanted, parse_duration_ms)
    }

    pub(crate) fn bytes(&mut self, node: &Node, what: &str) -> Option<u64> {
        self.parsed(node, what, "a size as 64m or 1.5g", parse_bytes)
    }

    pub(crate) fn cpu_millis(&mut self, node: &Node, what: &str) -> Option<u64> {
        self.parsed(node, what, "a number of cores as 0.5 or 2", parse_cpus)
    }

    /// A name or another type whose parser explains what is wrong.
    pub(crate) fn name<T>(&mut self, text: &str, place: &Place) -> Option<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        text.parse().map_err(|err: T::Err| self.error(codes::BAD_NAME, err.to_string(), place)).ok()
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(node, what)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.diagnostics.push(findings::no_word(&text, what, &known, node));
        None
    }

    /// The entries of a mapping; null is an empty one.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.kind {
            Kind::Mapping(entries) => entries,
            _ if node.is_null() => &[],
            _ => {
                self.wrong_type(what, "a mapping", node);
                &[]
            }
        }
    }

    /// The items of a list; null is an empty one.
    pub(crate) fn items<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.kind {
            Kind::Sequence(items) => items,
            _ if node.is_null() => &[],
            _ => {
                self.wrong_type(what, "a list", node);
                &[]
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        let item = format!("an item of {what}");
        self.items(node, what).iter().filter_map(|node| self.text(node, &item)).collect()
    }

    /// A path inside an instance.
    pub(crate) fn inner_path(&mut self, text: &str, what: &str, place: &Place) -> Utf8PathBuf {
        let path = Utf8Path::new(text);
        if !path.is_absolute() || path.components().any(|part| part.as_str() == "..") {
            let message = format!("{what} must be an absolute path without `..`, not `{text}`");
            self.bad_value(message, place);
        }
        clean(path)
    }

    /// A file's text. A file that cannot be read is an error at `place`.
    pub(crate) fn read(&mut self, path: &Utf8Path, shown: &str, place: &Place) -> Option<String> {
        match read_text(self.files, path) {
            Ok(text) => Some(text),
            Err(reason) => {
                let message = format!("`{shown}` cannot be read: {reason}");
                self.error(codes::UNREADABLE, message, place);
                None
            }
        }
    }
}

/// A file's text, or why there is none.
pub(crate) fn read_text(files: &dyn Files, path: &Utf8Path) -> Result<String, String> {
    let bytes = files.read(path).map_err(|err| match err.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file `{path}`"),
        _ => err.to_string(),
    })?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

fn parse_cpus(text: &str) -> Option<u64> {
    let cores: f64 = text.parse().ok()?;
    (cores.is_finite() && (0.0..1e6).contains(&cores)).then_some((cores * 1000.0).round() as u64)
}
