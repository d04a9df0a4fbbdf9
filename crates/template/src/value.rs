//! Go's values as templates see them.
//!
//! Texts are bytes: Go strings need not be UTF-8. Type names are Go's, because error texts and
//! `%T` show them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A Go string: bytes that are cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Arc<[u8]>);

impl Text {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As text, with bad bytes replaced.
    #[must_use]
    pub fn to_lossy(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::quote::quote(&self.0, '"', false))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

/// Which of Go's unsigned types a number has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UintType {
    /// `uint`
    Uint,
    /// `uint8`, a byte of a string
    Uint8,
    /// `uint16`, a port
    Uint16,
}

/// A value.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Nothing: an untyped nil, a missing key.
    #[default]
    Nil,
    /// A truth.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64, UintType),
    /// A floating-point number.
    Float(f64),
    /// A complex number.
    Complex(f64, f64),
    /// A text.
    String(Text),
    /// A slice.
    List(Arc<List>),
    /// A map with texts as keys.
    Map(Arc<Map>),
    /// A struct.
    Record(Arc<Record>),
    /// Something with methods and no fields.
    Opaque(Arc<dyn Opaque>),
}

/// A slice with its Go type.
#[derive(Debug, Clone)]
pub struct List {
    /// `[]string`, `[]interface {}`, ...
    pub type_name: &'static str,
    /// The elements.
    pub items: Vec<Value>,
}

/// A map with its Go type; ranging over it goes by key.
#[derive(Debug, Clone)]
pub struct Map {
    /// `map[string]interface {}`, ...
    pub type_name: &'static str,
    /// The entries.
    pub entries: BTreeMap<Text, Value>,
}

/// A struct with its Go type; its fields are in order.
#[derive(Debug, Clone)]
pub struct Record {
    /// `memkv.KVPair`, ...
    pub type_name: &'static str,
    /// Names and values.
    pub fields: Vec<(&'static str, Value)>,
    /// What prints in its place, for types with a `String` method.
    pub text: Option<Text>,
}

/// A value that is known by its methods alone, as a Go time is.
pub trait Opaque: fmt::Debug + Send + Sync {
    /// Its Go type.
    fn type_name(&self) -> &str;
    /// What it prints.
    fn text(&self) -> Text;
    /// Calls a method; `None` when there is none of that name.
    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>>;
}

/// Go's name for a slice of texts.
pub(crate) const STRINGS: &str = "[]string";
/// Go's name for a slice of anything.
pub(crate) const ANYS: &str = "[]interface {}";
/// Go's name for a map from text to anything.
pub(crate) const ANY_MAP: &str = "map[string]interface {}";

impl Value {
    /// A text.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::String(text.into())
    }

    /// A `[]string`.
    pub fn strings(items: impl IntoIterator<Item = impl Into<Text>>) -> Self {
        Self::list(STRINGS, items.into_iter().map(Self::text).collect())
    }

    /// A slice of a type.
    #[must_use]
    pub fn list(type_name: &'static str, items: Vec<Self>) -> Self {
        Self::List(Arc::new(List { type_name, items }))
    }

    /// A `map[string]interface {}`.
    pub fn map(entries: impl IntoIterator<Item = (impl Into<Text>, Self)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
        Self::Map(Arc::new(Map { type_name: ANY_MAP, entries: entries.collect() }))
    }

    /// A struct without a text of its own.
    #[must_use]
    pub fn record(type_name: &'static str, fields: Vec<(&'static str, Self)>) -> Self {
        Self::Record(Arc::new(Record { type_name, fields, text: None }))
    }

    /// Go's name for its type.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Nil => "interface {}",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_, UintType::Uint) => "uint",
            Self::Uint(_, UintType::Uint8) => "uint8",
            Self::Uint(_, UintType::Uint16) => "uint16",
            Self::Float(_) => "float64",
            Self::Complex(..) => "complex128",
            Self::String(_) => "string",
            Self::List(list) => list.type_name,
            Self::Map(map) => map.type_name,
            Self::Record(record) => record.type_name,
            Self::Opaque(opaque) => opaque.type_name(),
        }
    }

    /// Whether `if` takes it for true: not the zero value and not empty.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Uint(number, _) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Record(_) | Self::Opaque(_) => true,
        }
    }

    pub(crate) fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The text of a type with a `String` method.
    pub(crate) fn own_text(&self) -> Option<Text> {
        match self {
            Self::Record(record) => record.text.clone(),
            Self::Opaque(opaque) => Some(opaque.text()),
            _ => None,
        }
    }
}

impl List {
    /// Whether the elements are interfaces, which then may be nil.
    pub(crate) fn holds_any(&self) -> bool {
        self.type_name == ANYS
    }
}

impl Map {
    /// Whether the values are interfaces, which then may be nil.
    pub(crate) fn holds_any(&self) -> bool {
        self.type_name == ANY_MAP
    }
}
