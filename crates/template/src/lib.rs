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
mod collection;
mod confd;
mod convert;
mod encode;
mod exec;
mod float;
mod format;
mod function;
mod json;
mod layout;
mod lex;
mod network;
mod number;
mod parse;
mod quote;
mod scope;
mod strings;
mod text;
mod time;
mod value;
mod walk;

use std::collections::BTreeSet;

use exec::Program;

pub use check::{CheckError, expand_check};
pub use function::{FunctionDoc, Origin, Param, functions};
pub use layout::formatted;
pub use parse::ParseError;
pub use scope::{
    LineError, LineErrorKind, LineInstance, LineValue, MapScope, Moment, Scope, Service, World,
};
pub use text::{Pair, Text};
pub use value::{List, Map, Opaque, Record, UintType, Value};

/// A parsed template, with those that it defines.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    text: Vec<u8>,
    trees: parse::Trees,
    options: Options,
    limits: Limits,
}

/// How a template is read and executed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// What actions stand between; `{{` and `}}` where it is empty.
    pub delimiters: (String, String),
    /// What a key that a map does not have is.
    pub missing_key: MissingKey,
}

/// What a key that a map does not have is; Go's option `missingkey`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// Nothing, which prints as `<no value>`.
    #[default]
    NoValue,
    /// An error.
    Error,
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
    /// Sources that were included.
    pub sources: BTreeSet<String>,
    /// Whether something was read of whose changes nobody tells: the clock, names in DNS, files.
    pub volatile: bool,
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
pub fn parse(name: &str, text: impl AsRef<[u8]>) -> Result<Template, ParseError> {
    parse_with(name, text, Options::default())
}

/// Parses a template with options.
///
/// # Errors
/// The first thing that is wrong, as Go words it.
pub fn parse_with(
    name: &str,
    text: impl AsRef<[u8]>,
    options: Options,
) -> Result<Template, ParseError> {
    let text = text.as_ref();
    let (left, right) = &options.delimiters;
    let trees = parse::parse(name, text, (left, right))?;
    let limits = Limits::default();
    Ok(Template { name: name.to_owned(), text: text.to_vec(), trees, options, limits })
}

/// Bytes as Go's `%q` shows them, in double quotes.
#[must_use]
pub fn go_quoted(bytes: &[u8]) -> String {
    quote::quote(bytes, '"', false)
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
            options: &self.options,
            scope,
            limits: self.limits,
        };
        let (output, reads) = exec::execute(program, dot).map_err(|error| *error)?;
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
        let called = walk::templates_called(self.trees.values());
        let undefined = called.into_iter().filter(|name| !self.trees.contains_key(name.as_bytes()));
        undefined.map(Text::to_lossy).collect()
    }
}
