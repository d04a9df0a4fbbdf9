//! The functions that templates may call: names, what they take, where they are from.
//!
//! Names are resolved when a template is parsed, arguments are checked against the signature when
//! it is executed, as Go does both. Each function is one row of a table beside its code; the
//! manual's table is made of the same rows.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::Reads;
use crate::scope::{Scope, World};
use crate::value::Value;
use crate::{builtin, collection, confd, convert, encode, network, strings, time};

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Param {
    /// Anything (`interface {}` or `reflect.Value`).
    Any,
    /// A text.
    String,
    /// A whole number.
    Int,
    /// A truth.
    Bool,
    /// A `[]string`.
    Strings,
    /// A `[]memkv.KVPair`.
    Pairs,
    /// A `map[string]interface {}`.
    Map,
    /// A `time.Duration`.
    Duration,
    /// A `time.Time`.
    Time,
}

impl Param {
    /// Go's name of the type.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::String => "string",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Strings => crate::value::STRINGS,
            Self::Pairs => "[]memkv.KVPair",
            Self::Map => crate::value::ANY_MAP,
            Self::Duration => "time.Duration",
            Self::Time => "time.Time",
        }
    }

    /// Whether Go's type has a nil.
    pub(crate) fn can_be_nil(self) -> bool {
        matches!(self, Self::Any | Self::Strings | Self::Pairs | Self::Map)
    }
}

/// Where a function is from, which says whose meaning it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Go's `text/template` itself.
    Go,
    /// confd 0.16.
    Confd,
    /// abtreece/confd, which goes on from it.
    Abtreece,
    /// consul-template.
    ConsulTemplate,
    /// Sprig, the collection that Helm made known.
    Sprig,
    /// Brickyard.
    Brickyard,
}

/// A function as the manual shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDoc {
    /// What it is called.
    pub name: &'static str,
    /// Go's names of the types of its parameters; the last may end in `...`.
    pub parameters: Vec<String>,
    /// Whose it is.
    pub origin: Origin,
    /// What it does.
    pub meaning: &'static str,
}

/// Where functions read, and where it is written down what they read.
pub(crate) struct Data<'a> {
    pub(crate) scope: &'a dyn Scope,
    pub(crate) reads: &'a mut Reads,
}

impl<'a> Data<'a> {
    /// What is around, for the function of a name. What it says changes without notice.
    pub(crate) fn world(&mut self, name: &str) -> Result<&'a dyn World, String> {
        self.reads.volatile = true;
        self.scope.world().ok_or_else(|| format!("`{name}` is not available here"))
    }
}

/// Adds a text to a set, which usually has it.
pub(crate) fn note(set: &mut BTreeSet<String>, text: &str) {
    if !set.contains(text) {
        set.insert(text.to_owned());
    }
}

/// What a function gives, or what is wrong.
pub(crate) type Answer = Result<Value, String>;

/// The code of a function.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Stops at the first argument that is false.
    And,
    /// Stops at the first argument that is true.
    Or,
    /// Go's `call`, for which it matters how its argument is written.
    Call,
    /// Renders another source in place.
    Include,
    /// Depends on its arguments alone.
    Pure(fn(&[Value]) -> Answer),
    /// The same, with a bit for each argument that an interface holds.
    Boxed(fn(&[Value], u64) -> Answer),
    /// Reads data.
    Data(fn(&[Value], &mut Data<'_>) -> Answer),
}

/// A function.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) fixed: &'static [Param],
    /// What every further argument is.
    pub(crate) variadic: Option<Param>,
    pub(crate) origin: Origin,
    pub(crate) meaning: &'static str,
    pub(crate) run: Run,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Origin {
    /// A row of a table.
    pub(crate) const fn row(
        self,
        name: &'static str,
        fixed: &'static [Param],
        run: Run,
        meaning: &'static str,
    ) -> Definition {
        Definition { name, fixed, variadic: None, origin: self, meaning, run }
    }
}

impl Definition {
    /// Lets it take any number of further arguments.
    pub(crate) const fn and_more(self, each: Param) -> Self {
        Self { variadic: Some(each), ..self }
    }
}

/// A function that is known.
pub(crate) type Function = &'static Definition;

fn tables() -> impl Iterator<Item = Function> {
    [
        builtin::TABLE,
        confd::TABLE,
        network::TABLE,
        strings::TABLE,
        collection::TABLE,
        convert::TABLE,
        encode::TABLE,
        time::TABLE,
    ]
    .into_iter()
    .flatten()
}

/// The function of a name.
pub(crate) fn find(name: &[u8]) -> Option<Function> {
    static BY_NAME: LazyLock<HashMap<&'static [u8], Function>> =
        LazyLock::new(|| tables().map(|found| (found.name.as_bytes(), found)).collect());
    BY_NAME.get(name).copied()
}

/// All functions, by origin and name.
#[must_use]
pub fn functions() -> Vec<FunctionDoc> {
    let mut all: Vec<FunctionDoc> = tables()
        .map(|found| {
            let fixed = found.fixed.iter().map(|param| param.type_name().to_owned());
            let rest = found.variadic.map(|param| format!("{}...", param.type_name()));
            FunctionDoc {
                name: found.name,
                parameters: fixed.chain(rest).collect(),
                origin: found.origin,
                meaning: found.meaning,
            }
        })
        .collect();
    all.sort_by_key(|found| (found.origin, found.name));
    all
}

/// An argument that was checked to be a text.
#[inline]
pub(crate) fn bytes(values: &[Value], index: usize) -> &[u8] {
    match values.get(index) {
        Some(Value::String(text)) => text.as_bytes(),
        _ => &[],
    }
}

/// An argument that was checked to be a text, as one of characters.
pub(crate) fn text(values: &[Value], index: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes(values, index))
}

/// An argument that was checked to be a whole number.
pub(crate) fn int(values: &[Value], index: usize) -> i64 {
    match values.get(index) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    }
}
