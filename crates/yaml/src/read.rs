//! Reading: events to values.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::Value;
use crate::resolve::resolve;

/// Most values after aliases are resolved: a few lines of nested aliases can ask for billions. A long
/// text counts as several.
const VALUES_MAX: usize = 1_000_000;
/// From this length on.
const TEXT_BYTES: usize = 256;
/// Deepest nesting.
const DEPTH_MAX: usize = 128;

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads the first document of a text; one without any is null.
///
/// # Errors
/// The first thing that is wrong.
pub fn read(text: &str) -> Result<Value, Error> {
    let mut reader =
        Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), count: 0, line: 1 };
    match reader.next()? {
        Event::StreamEnd => Ok(Value::Null),
        event => reader.value(event, 0),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What aliases stand for, with the number of values in it.
    anchors: BTreeMap<usize, (Value, usize)>,
    count: usize,
    line: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, message: impl Into<String>) -> Error {
        Error { line: self.line, message: message.into() }
    }

    fn next(&mut self) -> Result<Event<'a>, Error> {
        loop {
            match self.parser.next_event() {
                None => return Err(self.error("it ends too early")),
                Some(Err(err)) => {
                    self.line = err.marker().line();
                    let said = err.to_string();
                    // The parser's own place would repeat ours.
                    return Err(self.error(said.split(" at ").next().unwrap_or(&said)));
                }
                Some(Ok((event, span))) => {
                    self.line = line(&span);
                    if !matches!(
                        event,
                        Event::StreamStart | Event::DocumentStart(..) | Event::Comment(..)
                    ) {
                        return Ok(event);
                    }
                }
            }
        }
    }

    /// The value that an event begins.
    fn value(&mut self, event: Event<'a>, depth: usize) -> Result<Value, Error> {
        if depth > DEPTH_MAX {
            return Err(self.error(format!("it is nested more than {DEPTH_MAX} deep")));
        }
        let before = self.count;
        self.add(1)?;
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let Some((value, count)) = self.anchors.get(&id).cloned() else {
                    return Err(self.error("this alias stands inside of its own anchor"));
                };
                self.add(count)?;
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.add(text.len() / TEXT_BYTES)?;
                (self.scalar(&text, style == ScalarStyle::Plain, tag.as_deref())?, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(depth)?, anchor),
            // A document that has nothing but comments.
            Event::DocumentEnd => return Ok(Value::Null),
            _ => return Err(self.error("a value is missing")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), self.count - before));
        }
        Ok(value)
    }

    fn add(&mut self, count: usize) -> Result<(), Error> {
        self.count = self.count.saturating_add(count);
        match self.count > VALUES_MAX {
            true => Err(self.error(format!("it has more than {VALUES_MAX} values"))),
            false => Ok(()),
        }
    }

    fn scalar(&self, text: &str, is_plain: bool, tag: Option<&Tag>) -> Result<Value, Error> {
        let suffix = tag.and_then(Tag::core_suffix);
        let wrong = |kind: &str| self.error(format!("`{text}` is no {kind}"));
        match (suffix, resolve(text)) {
            (None, resolved) if is_plain => Ok(resolved),
            (Some("null"), Value::Null) => Ok(Value::Null),
            (Some("null"), _) => Err(wrong("null")),
            (Some("bool"), resolved @ Value::Bool(_)) => Ok(resolved),
            (Some("bool"), _) => Err(wrong("truth")),
            (Some("int"), resolved @ (Value::Int(_) | Value::Uint(_))) => Ok(resolved),
            (Some("int"), _) => Err(wrong("whole number")),
            (Some("float"), Value::Int(number)) => Ok(Value::Float(number as f64)),
            (Some("float"), Value::Uint(number)) => Ok(Value::Float(number as f64)),
            (Some("float"), resolved @ Value::Float(_)) => Ok(resolved),
            (Some("float"), _) => Err(wrong("number")),
            (Some("binary"), _) => {
                let compact: String = text.split_whitespace().collect();
                let bytes = STANDARD.decode(compact).map_err(|_| wrong("base64"))?;
                Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => Ok(Value::String(text.to_owned())),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Error> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::List(items)),
                event => items.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Error> {
        let mut map = Map::default();
        let mut merged = Vec::new();
        loop {
            let event = self.next()?;
            let (key, is_merge) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, anchor, _) => {
                    let key = text.into_owned();
                    let is_plain = style == ScalarStyle::Plain;
                    if anchor != 0 {
                        let value =
                            if is_plain { resolve(&key) } else { Value::String(key.clone()) };
                        self.anchors.insert(anchor, (value, 1));
                    }
                    (key.clone(), is_plain && key == "<<")
                }
                event @ Event::Alias(_) => match self.value(event, depth + 1)? {
                    Value::String(key) => (key, false),
                    _ => return Err(self.error("a key must be text")),
                },
                _ => return Err(self.error("a key must be text")),
            };
            let event = self.next()?;
            let value = self.value(event, depth + 1)?;
            match is_merge {
                true => merged.push(value),
                false => map.set(key, value),
            }
        }
        for value in merged {
            self.merge(&mut map, value)?;
        }
        Ok(Value::Map(map.entries))
    }

    /// Adds what `<<` brings: keys that are not there yet.
    fn merge(&self, map: &mut Map, value: Value) -> Result<(), Error> {
        match value {
            Value::Map(entries) => {
                entries.into_iter().for_each(|(key, value)| map.add(key, value));
                Ok(())
            }
            Value::List(all) => all.into_iter().try_for_each(|value| self.merge(map, value)),
            _ => Err(self.error("`<<` takes a mapping or a list of mappings")),
        }
    }
}

/// Entries, with where each key is.
#[derive(Default)]
struct Map {
    entries: Vec<(String, Value)>,
    places: BTreeMap<String, usize>,
}

impl Map {
    fn set(&mut self, key: String, value: Value) {
        match self.places.get(&key).and_then(|at| self.entries.get_mut(*at)) {
            Some(entry) => entry.1 = value,
            None => self.add(key, value),
        }
    }

    fn add(&mut self, key: String, value: Value) {
        if !self.places.contains_key(&key) {
            self.places.insert(key.clone(), self.entries.len());
            self.entries.push((key, value));
        }
    }
}

fn line(span: &Span) -> usize {
    span.start.line()
}
