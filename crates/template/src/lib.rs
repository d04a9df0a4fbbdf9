//! Go's `text/template`, with confd's functions and `line`.
//!
//! [`parse`] turns a text into a [`Template`] once; [`Template::render`] evaluates it against a
//! [`Scope`], the port to all data, and says what it read, so that the caller knows when to render
//! again. Grammar, values, printing and error texts are Go's, bytes and all: confd's templates run
//! as they are.
//!
//! Nothing here reads a file, an environment variable or a clock. Rendering is bounded in steps,
//! depth and output ([`Limits`]).

#![forbid(unsafe_code)]

mod ast;
mod builtin;
mod check;
mod confd;
mod exec;
mod float;
mod format;
mod function;
mod json;
mod lex;
mod number;
mod parse;
mod path;
mod quote;
mod scope;
mod value;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use exec::Program;

pub use check::{CheckError, expand_check};
pub use parse::ParseError;
pub use scope::{LineError, LineErrorKind, LineInstance, LineValue, MapScope, Scope};
pub use value::{List, Map, Opaque, Record, Text, UintType, Value};

/// A parsed template, with those that it defines.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    text: String,
    trees: BTreeMap<String, ast::List>,
    limits: Limits,
}

/// What rendering may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Statements, calls, elements: some tens of nanoseconds each.
    pub steps_max: u64,
    /// Lists and pipelines inside each other, through templates that call each other.
    pub depth_max: usize,
    /// Bytes that come out.
    pub output_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps_max: 10_000_000, depth_max: 1500, output_max: 64 << 20 }
    }
}

/// What came out, and what was read for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The file.
    pub output: Vec<u8>,
    /// What can change it.
    pub reads: Reads,
}

/// Everything that a rendering looked at, found or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// Single keys.
    pub keys: BTreeSet<String>,
    /// Beginnings of keys, all of which were looked at.
    pub prefixes: BTreeSet<String>,
    /// Environment variables.
    pub env: BTreeSet<String>,
    /// Lines by alias.
    pub lines: BTreeSet<String>,
}

/// A template cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExecError {
    /// Go's text: `template: NAME:LINE:COLUMN: executing "NAME" at <...>: ...`.
    pub message: String,
    /// The line, from 1; 0 when it is about the whole template.
    pub line: usize,
    /// The byte in the line, from 0, as Go counts.
    pub column: usize,
}

/// Parses a template; `name` is what errors call it.
///
/// # Errors
/// The first thing that is wrong, as Go words it.
pub fn parse(name: &str, text: &str) -> Result<Template, ParseError> {
    Ok(Template {
        name: name.to_owned(),
        text: text.to_owned(),
        trees: parse::parse(name, text)?,
        limits: Limits::default(),
    })
}

impl Template {
    /// The same template under other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Renders with nothing as `.`, as confd does.
    ///
    /// # Errors
    /// The first thing that fails, as Go words it.
    pub fn render(&self, scope: &dyn Scope) -> Result<Rendered, ExecError> {
        self.render_with(scope, Value::Nil)
    }

    /// Renders with a value as `.`.
    ///
    /// # Errors
    /// The first thing that fails, as Go words it.
    pub fn render_with(&self, scope: &dyn Scope, dot: Value) -> Result<Rendered, ExecError> {
        let program = Program {
            name: &self.name,
            text: &self.text,
            trees: &self.trees,
            scope,
            limits: self.limits,
        };
        let (output, reads) = exec::execute(&program, dot).map_err(|error| *error)?;
        Ok(Rendered { output, reads })
    }

    /// The aliases that `line` is called with as literals, whether or not these calls are reached.
    #[must_use]
    pub fn lines_used(&self) -> BTreeSet<String> {
        walk::lines_used(self.trees.values())
    }

    /// The templates that are called and not defined; calling one fails when it is reached.
    #[must_use]
    pub fn undefined_templates(&self) -> BTreeSet<String> {
        let mut called = walk::templates_called(self.trees.values());
        called.retain(|name| !self.trees.contains_key(name));
        called
    }
}
