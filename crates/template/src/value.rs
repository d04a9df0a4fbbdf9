//! Go's values as templates see them.
//!
//! Texts are bytes: Go strings need not be UTF-8. Type names are Go's, because error texts and
//! `%T` show them.

use std::any::Any;
use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use crate::function::Param;
pub(crate) use crate::text::{Pair, Text};

/// Which of Go's unsigned types a number has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UintType {
    /// `uint`
    Uint,
    /// `uint8`, a byte of a string
    Uint8,
    /// `uint16`, a port
    Uint16,
    /// `uint64`, a number of a document
    Uint64,
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
    List(Rc<List>),
    /// A map with texts as keys.
    Map(Rc<Map>),
    /// A key with its value, confd's struct `KVPair`.
    Pair(Pair),
    /// A struct.
    Record(Rc<Record>),
    /// Something with methods and no fields.
    Opaque(Rc<dyn Opaque>),
}

/// A slice with its Go type. Whoever holds it sees what functions that work in place do to it.
#[derive(Debug)]
pub struct List {
    type_name: &'static str,
    items: RefCell<Vec<Value>>,
}

/// A map with its Go type; ranging over it goes by key. Whoever holds it sees what is set in it.
#[derive(Debug)]
pub struct Map {
    type_name: &'static str,
    entries: RefCell<BTreeMap<Text, Value>>,
}

/// A struct with its Go type; its fields are in order.
#[derive(Debug, Clone)]
pub struct Record {
    /// `brickyard.Line`, ...
    pub type_name: &'static str,
    /// Names and values.
    pub fields: Vec<(&'static str, Value)>,
    /// What prints in its place, for types with a `String` method.
    pub text: Option<Text>,
}

/// A value that is known by its methods, as a Go time is.
pub trait Opaque: fmt::Debug {
    /// Its Go type.
    fn type_name(&self) -> &str;
    /// What it prints.
    fn text(&self) -> Text;
    /// The number that it is, for types like `time.Month`; `None` for structs.
    fn number(&self) -> Option<i64> {
        None
    }
    /// What a method takes; `None` when there is none of that name.
    fn method(&self, name: &str) -> Option<&'static [Param]>;
    /// Why a method of that name cannot be called from a template, where there is one.
    fn refusal(&self, _name: &str) -> Option<&'static str> {
        None
    }
    /// Calls a method with arguments that fit.
    ///
    /// # Errors
    /// When it fails.
    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String>;
    /// Itself, so that its kind can be found out.
    fn as_any(&self) -> &dyn Any;
}

/// Go's name for a slice of texts.
pub(crate) const STRINGS: &str = "[]string";
/// Go's name for a slice of anything.
pub(crate) const ANYS: &str = "[]interface {}";
/// Go's name for confd's pair of a key and a value.
pub(crate) const PAIR: &str = "memkv.KVPair";
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
        Self::List(Rc::new(List { type_name, items: RefCell::new(items) }))
    }

    /// A `[]interface {}`.
    #[must_use]
    pub fn anys(items: Vec<Self>) -> Self {
        Self::list(ANYS, items)
    }

    /// A `map[string]interface {}`.
    pub fn map(entries: impl IntoIterator<Item = (impl Into<Text>, Self)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
        Self::map_of(ANY_MAP, entries.collect())
    }

    /// A map of a type.
    #[must_use]
    pub fn map_of(type_name: &'static str, entries: BTreeMap<Text, Self>) -> Self {
        Self::Map(Rc::new(Map { type_name, entries: RefCell::new(entries) }))
    }

    /// A struct without a text of its own.
    #[must_use]
    pub fn record(type_name: &'static str, fields: Vec<(&'static str, Self)>) -> Self {
        Self::Record(Rc::new(Record { type_name, fields, text: None }))
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
            Self::Uint(_, UintType::Uint64) => "uint64",
            Self::Float(_) => "float64",
            Self::Complex(..) => "complex128",
            Self::String(_) => "string",
            Self::List(list) => list.type_name,
            Self::Map(map) => map.type_name,
            Self::Pair(_) => PAIR,
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
            Self::List(list) => !list.items().is_empty(),
            Self::Map(map) => !map.entries().is_empty(),
            Self::Opaque(opaque) => opaque.number() != Some(0),
            Self::Pair(_) | Self::Record(_) => true,
        }
    }

    pub(crate) fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    fn holds_others(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }

    /// A field of a struct.
    pub(crate) fn field(&self, name: &[u8]) -> Option<Self> {
        match self {
            Self::Pair(pair) => match name {
                b"Key" => Some(Self::String(pair.key().clone())),
                b"Value" => Some(Self::String(pair.value().clone())),
                _ => None,
            },
            Self::Record(record) => {
                let found = record.fields.iter().find(|(known, _)| known.as_bytes() == name);
                found.map(|(_, value)| value.clone())
            }
            _ => None,
        }
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
    /// `[]string`, `[]interface {}`, ...
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The elements.
    #[must_use]
    pub fn items(&self) -> Ref<'_, Vec<Value>> {
        self.items.borrow()
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.borrow().is_empty()
    }

    pub(crate) fn items_mut(&self) -> RefMut<'_, Vec<Value>> {
        self.items.borrow_mut()
    }

    /// Whether the elements are interfaces, which then may be nil.
    pub(crate) fn holds_any(&self) -> bool {
        self.type_name == ANYS
    }
}

impl Map {
    /// `map[string]interface {}`, ...
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> Ref<'_, BTreeMap<Text, Value>> {
        self.entries.borrow()
    }

    pub(crate) fn entries_mut(&self) -> RefMut<'_, BTreeMap<Text, Value>> {
        self.entries.borrow_mut()
    }

    /// Whether the values are interfaces, which then may be nil.
    pub(crate) fn holds_any(&self) -> bool {
        self.type_name == ANY_MAP
    }
}

// Templates can nest lists a million levels deep, one in each turn of a range. Letting go of them
// level by level, as they would by themselves, takes more stack than there is.
impl Drop for List {
    fn drop(&mut self) {
        let items = self.items.get_mut();
        if items.iter().any(Value::holds_others) {
            unravel(std::mem::take(items));
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let entries = self.entries.get_mut();
        if entries.values().any(Value::holds_others) {
            unravel(std::mem::take(entries).into_values().collect());
        }
    }
}

fn unravel(mut pending: Vec<Value>) {
    while let Some(value) = pending.pop() {
        match value {
            Value::List(list) => {
                if let Some(mut list) = Rc::into_inner(list) {
                    pending.append(list.items.get_mut());
                }
            }
            Value::Map(map) => {
                if let Some(mut map) = Rc::into_inner(map) {
                    pending.extend(std::mem::take(map.entries.get_mut()).into_values());
                }
            }
            _ => {}
        }
    }
}

// Values are moved about all the time: three words, one of which tells the kinds apart.
const _: () = assert!(size_of::<Value>() == 24);
