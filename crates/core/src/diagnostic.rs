//! What is wrong with what a person wrote: code, message, labelled places and hints.
//!
//! Checking code returns a value *and* [`Diagnostics`]; it never stops at the first one. Rendering
//! is [`Diagnostic::render`] for people (cargo's look) and [`Diagnostic::to_json`] for programs.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

/// A stable code, as in `BY0101`; `docs/errors.md` has a paragraph for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub &'static str);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// What was asked for cannot be done.
    Error,
    /// It can be done, but something will not be as written.
    Warning,
}

/// A text that spans point into.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name as the user wrote it, usually a path.
    pub name: String,
    /// Its whole text.
    pub text: String,
}

impl Source {
    /// A shared source.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }

    /// Line and column of a byte offset, both from 1; columns count characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// A place in a source and what to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where it is.
    pub source: Arc<Source>,
    /// Byte range in the source's text.
    pub span: Range<usize>,
    /// What to write beside it; may be empty.
    pub text: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Which kind.
    pub code: Code,
    /// One sentence in lower case without a period.
    pub message: String,
    /// Places, the most important first.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub hints: Vec<String>,
}

/// Findings in the order in which they were made.
pub type Diagnostics = Vec<Diagnostic>;

impl Diagnostic {
    /// An error without a place.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// A warning without a place.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, source: &Arc<Source>, span: Range<usize>, text: impl Into<String>) -> Self {
        self.labels.push(Label { source: Arc::clone(source), span, text: text.into() });
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Whether this one forbids going on.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// For people, in cargo's look, with a trailing newline.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&self.message).id(self.code.0));
        for (index, label) in self.labels.iter().enumerate() {
            let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let text = &label.source.text;
            let start = label.span.start.min(text.len());
            let end = label.span.end.clamp(start, text.len());
            let note = (!label.text.is_empty()).then_some(label.text.as_str());
            let annotation = kind.span(start..end).label(note);
            let snippet = Snippet::source(text).path(&label.source.name).annotation(annotation);
            group = group.element(snippet);
        }
        let mut report = vec![group];
        if let Some(last) = report.pop() {
            let hints = self.hints.iter().map(|hint| Level::HELP.with_name("hint").message(hint));
            report.push(hints.fold(last, Group::element));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        format!("{}\n", renderer.render(&report))
    }

    /// For programs: severity, code, message, places with file, line and column, hints.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let places: Vec<_> = self
            .labels
            .iter()
            .map(|label| {
                let (line, column) = label.source.position(label.span.start);
                json!({
                    "file": label.source.name, "line": line, "column": column, "text": label.text,
                })
            })
            .collect();
        json!({
            "severity": match self.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            "code": self.code.0,
            "message": self.message,
            "places": places,
            "hints": self.hints,
        })
    }
}

/// Whether any finding forbids going on.
#[must_use]
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// The name among `known` that `word` was most likely meant to be.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.len() / 3))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_shows_its_line_and_hint() {
        let source = Source::new("compose.yaml", "services:\n  web:\n    dependson: [db]\n");
        let found = Diagnostic::error(Code("BY0102"), "unknown key `dependson`")
            .at(&source, 21..30, "in service `web`")
            .hint("did you mean `depends_on`?");
        let text = found.render(false);
        for part in [
            "error[BY0102]: unknown key `dependson`",
            "compose.yaml:3:5",
            "in service `web`",
            "hint: did you mean `depends_on`?",
        ] {
            assert!(text.contains(part), "{part} is missing from\n{text}");
        }
        assert_eq!(found.to_json()["places"][0]["line"], 3);
    }

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("dependson", ["depends_on", "deploy"]), Some("depends_on"));
        assert_eq!(nearest("xyz", ["depends_on", "deploy"]), None);
        assert_eq!(nearest("iamge", ["image", "init"]), Some("image"));
    }

    #[test]
    fn positions_survive_bad_offsets() {
        let source = Source::new("a", "ä\nb");
        assert_eq!(source.position(1), (1, 1));
        assert_eq!(source.position(3), (2, 1));
        assert_eq!(source.position(99), (2, 2));
    }
}
