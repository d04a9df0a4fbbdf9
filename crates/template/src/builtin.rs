//! Go's own template functions.

use std::cmp::Ordering;

use crate::format::{byte, sprint, verb};
use crate::quote::{decode, is_print};
use crate::value::{Text, Value};

/// `index x 1 2`: x[1][2].
pub(crate) fn index(item: &Value, indexes: &[Value]) -> Result<Value, String> {
    if item.is_nil() {
        return Err("index of untyped nil".to_owned());
    }
    let mut item = item.clone();
    for at in indexes {
        item = match &item {
            Value::Nil => return Err("index of nil pointer".to_owned()),
            Value::List(list) => {
                let at = position(at, list.items.len())?;
                let found = list.items.get(at).cloned();
                found.ok_or("reflect: slice index out of range")?
            }
            Value::String(text) => {
                let at = position(at, text.len())?;
                let found = text.as_bytes().get(at).copied();
                byte(found.ok_or("reflect: string index out of range")?)
            }
            Value::Map(map) => match at {
                Value::String(key) => match map.entries.get(key) {
                    Some(found) => found.clone(),
                    None if map.holds_any() => Value::Nil,
                    None => Value::text(""),
                },
                Value::Nil => {
                    return Err("value is nil; should be of type string".to_owned());
                }
                other => {
                    let found = other.type_name();
                    return Err(format!("value has type {found}; should be string"));
                }
            },
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(item)
}

/// An index up to and including `end`.
fn position(index: &Value, end: usize) -> Result<usize, String> {
    let number = match index {
        Value::Int(number) => *number,
        Value::Uint(number, _) => i64::try_from(*number).unwrap_or(-1),
        Value::Nil => return Err("cannot index slice/array with nil".to_owned()),
        other => {
            let found = other.type_name();
            return Err(format!("cannot index slice/array with type {found}"));
        }
    };
    let at = usize::try_from(number).ok().filter(|at| *at <= end);
    at.ok_or_else(|| format!("index out of range: {number}"))
}

/// `slice x 1 2`: x[1:2]. `boxed` has a bit for each index that came as an interface: Go does not
/// look into these here.
pub(crate) fn slice(item: &Value, indexes: &[Value], boxed: u64) -> Result<Value, String> {
    if item.is_nil() {
        return Err("slice of untyped nil".to_owned());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let length = match item {
        Value::String(_) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::String(text) => text.len(),
        Value::List(list) => list.items.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (at, (bound, index)) in bounds.iter_mut().zip(indexes).enumerate() {
        if boxed >> at & 1 == 1 {
            return Err("cannot index slice/array with type interface {}".to_owned());
        }
        *bound = position(index, length)?;
    }
    for pair in bounds.windows(2) {
        if pair[0] > pair[1] {
            return Err(format!("invalid slice index: {} > {}", pair[0], pair[1]));
        }
    }
    let range = bounds[0]..bounds[1];
    Ok(match item {
        Value::List(list) => Value::list(list.type_name, list.items[range].to_vec()),
        Value::String(text) => Value::text(&text.as_bytes()[range]),
        _ => Value::Nil,
    })
}

/// `len x`; `boxed` is whether x came as an interface.
pub(crate) fn length(item: &Value, boxed: bool) -> Result<Value, String> {
    let length = match item {
        Value::String(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        Value::Nil if boxed => return Err("len of nil pointer".to_owned()),
        Value::Nil => {
            return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
        }
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// The kinds that compare with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basic {
    Bool,
    Complex,
    Int,
    Float,
    String,
    Uint,
}

fn basic(value: &Value) -> Option<Basic> {
    Some(match value {
        Value::Bool(_) => Basic::Bool,
        Value::Int(_) => Basic::Int,
        Value::Uint(..) => Basic::Uint,
        Value::Float(_) => Basic::Float,
        Value::Complex(..) => Basic::Complex,
        Value::String(_) => Basic::String,
        Value::Nil | Value::List(_) | Value::Map(_) | Value::Record(_) | Value::Opaque(_) => {
            return None;
        }
    })
}

fn incompatible(left: &Value, right: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name())
}

/// `eq x a b`: whether x is a or b.
pub(crate) fn equal_any(value: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(value, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    match (left, right) {
        (Value::Int(int), Value::Uint(uint, _)) | (Value::Uint(uint, _), Value::Int(int)) => {
            return Ok(u64::try_from(*int) == Ok(*uint));
        }
        (Value::Nil, Value::Nil) => return Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => return Ok(false),
        _ => {}
    }
    if basic(left) != basic(right) {
        return Err(incompatible(left, right));
    }
    if basic(left).is_some() {
        return Ok(same(left, right));
    }
    if std::mem::discriminant(left) != std::mem::discriminant(right) {
        return Err(format!(
            "non-comparable types {}: {}, {}: {}",
            verb(left, 's'),
            left.type_name(),
            right.type_name(),
            verb(right, 'v')
        ));
    }
    if matches!(right, Value::List(_) | Value::Map(_)) {
        let text = verb(right, 's');
        return Err(format!("non-comparable type {text}: {}", right.type_name()));
    }
    Ok(same(left, right))
}

/// Go's `==` on values of one type.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Uint(left, _), Value::Uint(right, _)) => left == right,
        (Value::Float(left), Value::Float(right)) => left == right,
        (Value::Complex(a, b), Value::Complex(c, d)) => a == c && b == d,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::Record(left), Value::Record(right)) => {
            left.type_name == right.type_name
                && left.fields.len() == right.fields.len()
                && left.fields.iter().zip(&right.fields).all(|(a, b)| same(&a.1, &b.1))
        }
        (Value::Opaque(left), Value::Opaque(right)) => std::sync::Arc::ptr_eq(left, right),
        (Value::Nil, Value::Nil) => true,
        _ => false,
    }
}

/// How two values stand to each other; `None` where a number is not one.
pub(crate) fn compare(left: &Value, right: &Value) -> Result<Option<Ordering>, String> {
    const BAD: &str = "invalid type for comparison";
    if basic(left).is_none() || basic(right).is_none() {
        return Err(BAD.to_owned());
    }
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Ok(Some(left.cmp(right))),
        (Value::Uint(left, _), Value::Uint(right, _)) => Ok(Some(left.cmp(right))),
        (Value::Int(left), Value::Uint(right, _)) => {
            Ok(Some(i128::from(*left).cmp(&i128::from(*right))))
        }
        (Value::Uint(left, _), Value::Int(right)) => {
            Ok(Some(i128::from(*left).cmp(&i128::from(*right))))
        }
        (Value::Float(left), Value::Float(right)) => Ok(left.partial_cmp(right)),
        (Value::String(left), Value::String(right)) => Ok(Some(left.cmp(right))),
        (Value::Bool(_), Value::Bool(_)) | (Value::Complex(..), Value::Complex(..)) => {
            Err(BAD.to_owned())
        }
        _ => Err(incompatible(left, right)),
    }
}

/// The text of the arguments of `html`, `js` and `urlquery`.
pub(crate) fn joined(values: &[Value]) -> Result<Vec<u8>, String> {
    if let [Value::String(text)] = values {
        return Ok(text.as_bytes().to_vec());
    }
    let shown = values.iter().map(|value| match value {
        Value::Nil => Value::text("<no value>"),
        value => value.clone(),
    });
    sprint(&shown.collect::<Vec<_>>())
}

/// `html`
pub(crate) fn escape_html(bytes: &[u8]) -> Text {
    let mut escaped = Vec::with_capacity(bytes.len());
    for found in bytes {
        match found {
            0 => escaped.extend("\u{fffd}".as_bytes()),
            b'"' => escaped.extend(b"&#34;"),
            b'\'' => escaped.extend(b"&#39;"),
            b'&' => escaped.extend(b"&amp;"),
            b'<' => escaped.extend(b"&lt;"),
            b'>' => escaped.extend(b"&gt;"),
            _ => escaped.push(*found),
        }
    }
    escaped.into()
}

/// `js`
pub(crate) fn escape_js(bytes: &[u8]) -> Text {
    let mut escaped = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first().copied() {
        let (found, width) = decode(rest);
        let (unit, tail) = rest.split_at(width);
        rest = tail;
        match first {
            b'\\' => escaped.extend(b"\\\\"),
            b'\'' => escaped.extend(b"\\'"),
            b'"' => escaped.extend(b"\\\""),
            b'<' => escaped.extend(b"\\u003C"),
            b'>' => escaped.extend(b"\\u003E"),
            b'&' => escaped.extend(b"\\u0026"),
            b'=' => escaped.extend(b"\\u003D"),
            0..b' ' => escaped.extend(format!("\\u00{first:02X}").as_bytes()),
            b' '..0x80 => escaped.push(first),
            _ => match found {
                Some(found) if is_print(found) => escaped.extend(unit),
                found => {
                    let number = u32::from(found.unwrap_or(char::REPLACEMENT_CHARACTER));
                    // Go prints a bad byte, as the replacement character, as it stands.
                    match number {
                        0xfffd => escaped.extend(unit),
                        _ => escaped.extend(format!("\\u{number:04X}").as_bytes()),
                    }
                }
            },
        }
    }
    escaped.into()
}

/// `urlquery`
pub(crate) fn escape_query(bytes: &[u8]) -> Text {
    let mut escaped = Vec::with_capacity(bytes.len());
    for found in bytes {
        match found {
            b' ' => escaped.push(b'+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(*found);
            }
            _ => escaped.extend(format!("%{found:02X}").as_bytes()),
        }
    }
    escaped.into()
}
