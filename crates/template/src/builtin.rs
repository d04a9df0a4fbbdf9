//! Go's own template functions.

use std::cmp::Ordering;

use crate::format::{byte, sprint, sprintf, sprintln, verb};
use crate::function::Origin::Go;
use crate::function::Param::{Any, String as Str};
use crate::function::{Answer, Definition, Run};
use crate::quote::{decode, is_print};
use crate::value::{Text, Value};

/// Go's own functions.
pub(crate) const TABLE: &[Definition] = &[
    Go.row("and", &[Any], Run::And, "the first argument that is empty, or else the last")
        .and_more(Any),
    Go.row("call", &[Any], Run::Call, "always an error: no value of a template is a function")
        .and_more(Any),
    Go.row("eq", &[Any], Run::Pure(eq), "whether the first equals any of the others").and_more(Any),
    Go.row("ge", &[Any, Any], Run::Pure(ge), "whether the first is greater or equal"),
    Go.row("gt", &[Any, Any], Run::Pure(gt), "whether the first is greater"),
    Go.row("html", &[], Run::Pure(html), "the arguments printed and escaped for HTML")
        .and_more(Any),
    Go.row("index", &[Any], Run::Pure(index), "`index x 1 2` is `x[1][2]`").and_more(Any),
    Go.row("js", &[], Run::Pure(js), "the arguments printed and escaped for JavaScript")
        .and_more(Any),
    Go.row("le", &[Any, Any], Run::Pure(le), "whether the first is less or equal"),
    Go.row("len", &[Any], Run::Boxed(length), "how many elements, entries or bytes"),
    Go.row("lt", &[Any, Any], Run::Pure(lt), "whether the first is less"),
    Go.row("ne", &[Any, Any], Run::Pure(ne), "whether the two differ"),
    Go.row("not", &[Any], Run::Pure(not), "whether the argument is empty"),
    Go.row("or", &[Any], Run::Or, "the first argument that is not empty, or else the last")
        .and_more(Any),
    Go.row("print", &[], Run::Pure(print), "`fmt.Sprint`").and_more(Any),
    Go.row("printf", &[Str], Run::Pure(printf), "`fmt.Sprintf`").and_more(Any),
    Go.row("println", &[], Run::Pure(println), "`fmt.Sprintln`").and_more(Any),
    Go.row("slice", &[Any], Run::Boxed(slice), "`slice x 1 2` is `x[1:2]`").and_more(Any),
    Go.row("urlquery", &[], Run::Pure(urlquery), "the arguments printed and escaped for URLs")
        .and_more(Any),
];

fn eq(values: &[Value]) -> Answer {
    equal_any(&values[0], &values[1..]).map(Value::Bool)
}

fn ne(values: &[Value]) -> Answer {
    equal_any(&values[0], &values[1..]).map(|same| Value::Bool(!same))
}

fn lt(values: &[Value]) -> Answer {
    Ok(Value::Bool(compare(&values[0], &values[1])? == Some(Ordering::Less)))
}

fn le(values: &[Value]) -> Answer {
    let order = compare(&values[0], &values[1])?;
    Ok(Value::Bool(matches!(order, Some(Ordering::Less | Ordering::Equal))))
}

// As in Go, these two are the opposites of the two above, also for what is no number.
fn gt(values: &[Value]) -> Answer {
    let order = compare(&values[0], &values[1])?;
    Ok(Value::Bool(!matches!(order, Some(Ordering::Less | Ordering::Equal))))
}

fn ge(values: &[Value]) -> Answer {
    Ok(Value::Bool(compare(&values[0], &values[1])? != Some(Ordering::Less)))
}

fn not(values: &[Value]) -> Answer {
    Ok(Value::Bool(!values[0].is_true()))
}

fn print(values: &[Value]) -> Answer {
    sprint(values).map(Value::text)
}

fn println(values: &[Value]) -> Answer {
    sprintln(values).map(Value::text)
}

fn printf(values: &[Value]) -> Answer {
    match values {
        [Value::String(format), values @ ..] => sprintf(format.as_bytes(), values).map(Value::text),
        _ => Ok(Value::Nil),
    }
}

fn html(values: &[Value]) -> Answer {
    Ok(Value::String(escape_html(&joined(values)?)))
}

fn js(values: &[Value]) -> Answer {
    Ok(Value::String(escape_js(&joined(values)?)))
}

fn urlquery(values: &[Value]) -> Answer {
    Ok(Value::String(escape_query(&joined(values)?)))
}

/// `index x 1 2`: x[1][2].
fn index(values: &[Value]) -> Answer {
    let (item, indexes) = (&values[0], &values[1..]);
    if item.is_nil() {
        return Err("index of untyped nil".to_owned());
    }
    let mut item = item.clone();
    for at in indexes {
        item = match &item {
            Value::Nil => return Err("index of nil pointer".to_owned()),
            Value::List(list) => {
                let at = position(at, list.len())?;
                let found = list.items().get(at).cloned();
                found.ok_or("reflect: slice index out of range")?
            }
            Value::String(text) => {
                let at = position(at, text.len())?;
                let found = text.as_bytes().get(at).copied();
                byte(found.ok_or("reflect: string index out of range")?)
            }
            Value::Map(map) => match at {
                Value::String(key) => match map.entries().get(key) {
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
        Value::Opaque(opaque) if opaque.number().is_some() => opaque.number().unwrap_or_default(),
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
fn slice(values: &[Value], boxed: u64) -> Answer {
    let (item, indexes, boxed) = (&values[0], &values[1..], boxed >> 1);
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
        Value::List(list) => list.len(),
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
        Value::List(list) => Value::list(list.type_name(), list.items()[range].to_vec()),
        Value::String(text) => Value::text(&text.as_bytes()[range]),
        _ => Value::Nil,
    })
}

/// `len x`; `boxed` is whether x came as an interface.
fn length(values: &[Value], boxed: u64) -> Answer {
    let length = match &values[0] {
        Value::String(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.entries().len(),
        Value::Nil if boxed & 1 == 1 => return Err("len of nil pointer".to_owned()),
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
        Value::Opaque(opaque) if opaque.number().is_some() => Basic::Int,
        Value::Nil
        | Value::List(_)
        | Value::Map(_)
        | Value::Pair(_)
        | Value::Record(_)
        | Value::Opaque(_) => return None,
    })
}

fn incompatible(left: &Value, right: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name())
}

/// `eq x a b`: whether x is a or b.
fn equal_any(value: &Value, others: &[Value]) -> Result<bool, String> {
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

/// Numbers of types with names, as `time.Month`, as plain ones.
fn plain(value: &Value) -> Value {
    match value {
        Value::Opaque(opaque) => opaque.number().map_or_else(|| value.clone(), Value::Int),
        value => value.clone(),
    }
}

fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    if let (Value::Opaque(_), _) | (_, Value::Opaque(_)) = (left, right)
        && basic(left).is_some()
        && basic(right).is_some()
    {
        return equal(&plain(left), &plain(right));
    }
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
pub(crate) fn same(left: &Value, right: &Value) -> bool {
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
        (Value::Pair(left), Value::Pair(right)) => left == right,
        (Value::Opaque(left), Value::Opaque(right)) => {
            left.type_name() == right.type_name() && left.text() == right.text()
        }
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
    match (&plain(left), &plain(right)) {
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
fn joined(values: &[Value]) -> Result<Vec<u8>, String> {
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
fn escape_html(bytes: &[u8]) -> Text {
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
fn escape_js(bytes: &[u8]) -> Text {
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
