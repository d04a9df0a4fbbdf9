//! confd's functions, and `line`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Reads;
use crate::format::{VALUE_BYTES_MAX, too_large};
use crate::function::Function;
use crate::json;
use crate::number::{parse_int, parse_uint};
use crate::path;
use crate::quote::quote;
use crate::scope::{LineInstance, LineValue, Scope};
use crate::value::{ANY_MAP, Record, STRINGS, Text, UintType, Value};

const PAIR: &str = "memkv.KVPair";
/// What `gets` returns: a type of its own in confd, which is why `reverse` does not know it.
pub(crate) const PAIRS: &str = "memkv.KVPairs";
/// What `sortKVByLength` returns.
pub(crate) const PAIR_SLICE: &str = "[]memkv.KVPair";

/// The most elements that a function makes.
const ITEMS_MAX: usize = 1_000_000;

/// Where functions read, and where it is written down what they read.
pub(crate) struct Data<'a> {
    pub(crate) scope: &'a dyn Scope,
    pub(crate) reads: &'a mut Reads,
}

/// Calls a function whose arguments were checked against its signature.
pub(crate) fn call(
    function: Function,
    arguments: &[Value],
    data: &mut Data<'_>,
) -> Result<Value, String> {
    let text = |index: usize| argument_text(arguments, index);
    let first = || text(0);
    match function {
        Function::Getv => getv(&first(), arguments.get(1), data),
        Function::Get => get(&first(), data),
        Function::Gets => {
            let found = matching(&first(), data)?;
            Ok(Value::list(PAIRS, found.into_iter().map(pair).collect()))
        }
        Function::Getvs => {
            let mut values: Vec<String> =
                matching(&first(), data)?.into_iter().map(|(_, value)| value).collect();
            values.sort();
            Ok(Value::strings(values))
        }
        Function::Exists => {
            data.reads.keys.insert(first());
            Ok(Value::Bool(data.scope.value(&first()).is_some()))
        }
        Function::Ls => Ok(list(&first(), false, data)),
        Function::Lsdir => Ok(list(&first(), true, data)),
        Function::Getenv => {
            data.reads.env.insert(first());
            let found = data.scope.env(&first()).filter(|value| !value.is_empty());
            let default = || arguments.get(1).cloned().unwrap_or_else(|| Value::text(""));
            Ok(found.map_or_else(default, Value::text))
        }
        Function::Json | Function::JsonArray => parse_json(function, arguments),
        Function::Line => line(&first(), data),
        _ => pure(function, arguments),
    }
}

fn argument_text(arguments: &[Value], index: usize) -> String {
    String::from_utf8_lossy(bytes(arguments, index)).into_owned()
}

fn bytes(arguments: &[Value], index: usize) -> &[u8] {
    match arguments.get(index) {
        Some(Value::String(text)) => text.as_bytes(),
        _ => &[],
    }
}

fn int(arguments: &[Value], index: usize) -> i64 {
    match arguments.get(index) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    }
}

fn items(arguments: &[Value]) -> &[Value] {
    match arguments.first() {
        Some(Value::List(list)) => &list.items,
        _ => &[],
    }
}

/// The functions that read nothing.
fn pure(function: Function, arguments: &[Value]) -> Result<Value, String> {
    let text = |index: usize| argument_text(arguments, index);
    let (left, right) = (int(arguments, 0), int(arguments, 1));
    Ok(match function {
        Function::Add => Value::Int(left.wrapping_add(right)),
        Function::Sub => Value::Int(left.wrapping_sub(right)),
        Function::Mul => Value::Int(left.wrapping_mul(right)),
        Function::Div | Function::Mod if right == 0 => {
            return Err("runtime error: integer divide by zero".to_owned());
        }
        Function::Div => Value::Int(left.wrapping_div(right)),
        Function::Mod => Value::Int(left.wrapping_rem(right)),
        Function::Seq => sequence(left, right)?,
        Function::Atoi => atoi(&text(0))?,
        Function::ParseBool => parse_bool(&text(0))?,
        Function::Base => Value::text(path::base(&text(0))),
        Function::Dir => Value::text(path::dir(&text(0))),
        Function::Base64Encode => Value::text(base64_encode(bytes(arguments, 0))),
        Function::Base64Decode => Value::text(base64_decode(bytes(arguments, 0))?),
        Function::Contains => Value::Bool(find(bytes(arguments, 0), bytes(arguments, 1)).is_some()),
        Function::Replace => {
            let (old, new) = (bytes(arguments, 1), bytes(arguments, 2));
            Value::text(replace(bytes(arguments, 0), old, new)?)
        }
        Function::Split => Value::strings(cut(bytes(arguments, 0), bytes(arguments, 1))?),
        Function::Join => join(items(arguments), bytes(arguments, 1))?,
        Function::ToLower => Value::text(map_case(bytes(arguments, 0), str::to_lowercase)),
        Function::ToUpper => Value::text(map_case(bytes(arguments, 0), str::to_uppercase)),
        Function::TrimSuffix => {
            let text = bytes(arguments, 0);
            Value::text(text.strip_suffix(bytes(arguments, 1)).unwrap_or(text))
        }
        Function::Map => make_map(arguments)?,
        Function::Reverse => reverse(arguments.first()),
        Function::SortByLength => {
            let mut sorted = items(arguments).to_vec();
            sorted.sort_by_key(length);
            Value::list(STRINGS, sorted)
        }
        Function::SortPairsByLength => {
            let mut sorted = items(arguments).to_vec();
            sorted.sort_by_key(|pair| match pair {
                Value::Record(record) => record.fields.first().map_or(0, |(_, key)| length(key)),
                _ => 0,
            });
            Value::list(PAIR_SLICE, sorted)
        }
        _ => return Err("is called elsewhere".to_owned()),
    })
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        _ => 0,
    }
}

fn pair((key, value): (String, String)) -> Value {
    Value::record(PAIR, vec![("Key", Value::text(key)), ("Value", Value::text(value))])
}

fn missing(key: &str) -> String {
    format!("key does not exist: {key}")
}

fn getv(key: &str, default: Option<&Value>, data: &mut Data<'_>) -> Result<Value, String> {
    data.reads.keys.insert(key.to_owned());
    match (data.scope.value(key), default) {
        (Some(value), _) => Ok(Value::text(value)),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(missing(key)),
    }
}

fn get(key: &str, data: &mut Data<'_>) -> Result<Value, String> {
    data.reads.keys.insert(key.to_owned());
    let value = data.scope.value(key).ok_or_else(|| missing(key))?;
    Ok(pair((key.to_owned(), value)))
}

fn matching(pattern: &str, data: &mut Data<'_>) -> Result<Vec<(String, String)>, String> {
    let pattern =
        path::Pattern::parse(pattern).map_err(|_| "syntax error in pattern".to_owned())?;
    data.reads.prefixes.insert(pattern.prefix.clone());
    let mut found = data.scope.keys(&pattern.prefix);
    found.retain(|(key, _)| pattern.matches(key));
    found.sort();
    Ok(found)
}

/// `ls` and `lsdir`. A path is taken apart at its slashes, and `/` has two empty parts, so that
/// both find only leaves of the root in it; users' templates rely on that.
fn list(directory: &str, only_directories: bool, data: &mut Data<'_>) -> Value {
    let cleaned = path::clean(directory);
    let prefix: Vec<&str> = cleaned.split('/').collect();
    data.reads.prefixes.insert(cleaned.clone());
    let mut names = BTreeSet::new();
    for (key, _) in data.scope.keys(&cleaned) {
        if key == directory && !only_directories {
            names.insert(path::base(&key).to_owned());
            continue;
        }
        let parent = path::dir(&key);
        let parts: Vec<&str> = parent.split('/').collect();
        if !parts.starts_with(&prefix) {
            continue;
        }
        if only_directories {
            names.extend(parts.get(prefix.len()).map(|part| (*part).to_owned()));
        } else {
            let rest = key.strip_prefix(directory).unwrap_or(&key);
            let rest = rest.strip_prefix('/').unwrap_or(rest);
            names.extend(rest.split('/').next().map(str::to_owned));
        }
    }
    Value::strings(names)
}

fn parse_json(function: Function, arguments: &[Value]) -> Result<Value, String> {
    let value = json::parse(bytes(arguments, 0))?;
    let wanted = match function {
        Function::Json => ANY_MAP,
        _ => crate::value::ANYS,
    };
    let found = match &value {
        Value::Map(_) if function == Function::Json => return Ok(value),
        Value::List(_) if function == Function::JsonArray => return Ok(value),
        // Go decodes null into the zero value: no map, no list, nothing in it.
        Value::Nil if function == Function::Json => {
            return Ok(Value::map(std::iter::empty::<(Text, Value)>()));
        }
        Value::Nil => return Ok(Value::list(crate::value::ANYS, Vec::new())),
        Value::Map(_) => "object",
        Value::List(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    };
    Err(format!("json: cannot unmarshal {found} into Go value of type {wanted}"))
}

/// The other end of a line as a record that prints `HOST:PORT`.
fn line(alias: &str, data: &mut Data<'_>) -> Result<Value, String> {
    data.reads.lines.insert(alias.to_owned());
    let LineValue { host, port, address, instances } =
        data.scope.line(alias).map_err(|error| error.to_string())?;
    let instances = instances.into_iter().map(|instance| {
        let LineInstance { host, port, address, slot } = instance;
        let slot = ("Slot", Value::Int(i64::from(slot)));
        endpoint_record("brickyard.Instance", &host, port, &address, slot)
    });
    let instances = Value::list("[]brickyard.Instance", instances.collect());
    let instances = ("Instances", instances);
    Ok(endpoint_record("brickyard.Line", &host, port, &address, instances))
}

fn endpoint_record(
    type_name: &'static str,
    host: &str,
    port: u16,
    address: &str,
    last: (&'static str, Value),
) -> Value {
    // An IPv6 host needs brackets before a port.
    let endpoint = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    Value::Record(Arc::new(Record {
        type_name,
        fields: vec![
            ("Host", Value::text(host)),
            ("Port", Value::Uint(u64::from(port), UintType::Uint16)),
            ("Address", Value::text(address)),
            ("Endpoint", Value::text(endpoint.as_str())),
            last,
        ],
        text: Some(endpoint.into()),
    }))
}

fn sequence(first: i64, last: i64) -> Result<Value, String> {
    let length = usize::try_from(last.saturating_sub(first)).unwrap_or(0);
    check_items(length)?;
    Ok(Value::list("[]int", (first..=last).map(Value::Int).collect()))
}

fn check_items(count: usize) -> Result<(), String> {
    match count < ITEMS_MAX {
        true => Ok(()),
        false => Err(format!("the result has more than {ITEMS_MAX} elements")),
    }
}

fn check_bytes(count: usize) -> Result<(), String> {
    match count <= VALUE_BYTES_MAX {
        true => Ok(()),
        false => Err(too_large()),
    }
}

fn atoi(text: &str) -> Result<Value, String> {
    let digits = text.trim_start_matches(['+', '-']);
    let good = match text.len() - digits.len() {
        0 | 1 if !digits.contains('_') => parse_int(text, 10),
        _ => parse_uint("", 10).map(|_| 0),
    };
    good.map(Value::Int).map_err(|error| {
        let shown = quote(text.as_bytes(), '"', false);
        format!("strconv.Atoi: parsing {shown}: {}", error.reason())
    })
}

fn parse_bool(text: &str) -> Result<Value, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
        _ => {
            let shown = quote(text.as_bytes(), '"', false);
            Err(format!("strconv.ParseBool: parsing {shown}: invalid syntax"))
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Cuts a text at a separator; at every character when it is empty.
fn cut<'a>(text: &'a [u8], separator: &[u8]) -> Result<Vec<&'a [u8]>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    if separator.is_empty() {
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(crate::quote::decode(rest).1);
            check_items(parts.len())?;
            parts.push(head);
            rest = tail;
        }
        return Ok(parts);
    }
    while let Some(at) = find(rest, separator) {
        check_items(parts.len())?;
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    Ok(parts)
}

fn join(items: &[Value], separator: &[u8]) -> Result<Value, String> {
    let texts = items.iter().filter_map(|item| match item {
        Value::String(text) => Some(text.as_bytes()),
        _ => None,
    });
    join_bytes(&texts.collect::<Vec<_>>(), separator).map(Value::text)
}

fn join_bytes(texts: &[&[u8]], separator: &[u8]) -> Result<Vec<u8>, String> {
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    check_bytes(bytes.saturating_add(texts.len().saturating_mul(separator.len())))?;
    Ok(texts.join(separator))
}

fn replace(text: &[u8], old: &[u8], new: &[u8]) -> Result<Vec<u8>, String> {
    let mut parts = cut(text, old)?;
    if old.is_empty() {
        // An empty text is found before every character and at the end.
        parts.insert(0, b"");
        parts.push(b"");
    }
    join_bytes(&parts, new)
}

fn map_case(text: &[u8], map: impl Fn(&str) -> String) -> Vec<u8> {
    map(&String::from_utf8_lossy(text)).into_bytes()
}

fn make_map(arguments: &[Value]) -> Result<Value, String> {
    if !arguments.len().is_multiple_of(2) {
        return Err("invalid map call".to_owned());
    }
    let mut entries = Vec::new();
    for pair in arguments.chunks_exact(2) {
        let Value::String(key) = &pair[0] else {
            return Err("map keys must be strings".to_owned());
        };
        entries.push((key.clone(), pair[1].clone()));
    }
    Ok(Value::map(entries))
}

/// Only `[]string` and `[]memkv.KVPair` are turned around; all else is given back as it is.
fn reverse(value: Option<&Value>) -> Value {
    match value {
        Some(Value::List(list)) if list.type_name == STRINGS || list.type_name == PAIR_SLICE => {
            Value::list(list.type_name, list.items.iter().rev().cloned().collect())
        }
        Some(value) => value.clone(),
        None => Value::Nil,
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64_encode(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let digit = (bits >> (18 - 6 * position)) & 63;
            encoded.push(match position <= chunk.len() {
                true => BASE64[digit as usize],
                false => b'=',
            });
        }
    }
    encoded
}

/// Decodes standard base64; line breaks are skipped, as Go does.
fn base64_decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let corrupt = |at: usize| format!("illegal base64 data at input byte {at}");
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    let mut group: Vec<u32> = Vec::with_capacity(4);
    let significant = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    let mut input = text.iter().copied().enumerate().filter(|(_, byte)| significant(byte));
    while let Some((at, byte)) = input.next() {
        if byte == b'=' {
            let good = match group.len() {
                2 => match input.next() {
                    Some((_, b'=')) => true,
                    Some((at, _)) => return Err(corrupt(at)),
                    None => return Err(corrupt(text.len())),
                },
                3 => true,
                _ => false,
            };
            if !good {
                return Err(corrupt(at));
            }
            if let Some((at, _)) = input.next() {
                return Err(corrupt(at));
            }
            push_group(&mut decoded, &group);
            return Ok(decoded);
        }
        let digit = BASE64.iter().position(|digit| *digit == byte).ok_or_else(|| corrupt(at))?;
        group.push(u32::try_from(digit).unwrap_or_default());
        if group.len() == 4 {
            push_group(&mut decoded, &group);
            group.clear();
        }
    }
    match group.len() {
        0 => Ok(decoded),
        count => Err(corrupt(text.len() - count)),
    }
}

fn push_group(decoded: &mut Vec<u8>, group: &[u32]) {
    let digit = |index: usize| group.get(index).copied().unwrap_or(0);
    let bits = digit(0) << 18 | digit(1) << 12 | digit(2) << 6 | digit(3);
    let bytes = bits.to_be_bytes();
    decoded.extend(&bytes[1..group.len()]);
}
