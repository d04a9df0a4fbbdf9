//! Values as JSON, YAML and TOML and back; base64 and digests.

use std::fmt::Write as _;

use crate::float;
use crate::format::{DEPTH_MAX, VALUE_BYTES_MAX, too_large};
use crate::function::Origin::{Abtreece, Confd, ConsulTemplate, Sprig};
use crate::function::Param::{Any, String as Str};
use crate::function::{Answer, Definition, Run, bytes};
use crate::json;
use crate::quote::lossy;
use crate::value::{Text, UintType, Value};
use brickyard_yaml::Written;
use md5::Digest as _;

/// Functions that encode and decode.
pub(crate) const TABLE: &[Definition] = &[
    Confd.row("base64Encode", &[Str], Run::Pure(to_base64), "in base64"),
    Confd.row("base64Decode", &[Str], Run::Pure(from_base64), "what base64 stands for"),
    Sprig.row("b64enc", &[Str], Run::Pure(to_base64), "in base64"),
    Sprig.row("b64dec", &[Str], Run::Pure(from_base64), "what base64 stands for"),
    Abtreece.row("toJson", &[Any], Run::Pure(to_json), "as JSON in one line"),
    Abtreece.row(
        "toPrettyJson",
        &[Any],
        Run::Pure(to_json_pretty),
        "as JSON, two spaces for each level",
    ),
    Abtreece.row("fromJson", &[Str], Run::Pure(from_json), "any JSON; all numbers are `float64`"),
    ConsulTemplate.row("toJSON", &[Any], Run::Pure(to_json), "the same as `toJson`"),
    ConsulTemplate.row(
        "toJSONPretty",
        &[Any],
        Run::Pure(to_json_pretty),
        "the same as `toPrettyJson`",
    ),
    ConsulTemplate.row(
        "parseJSON",
        &[Str],
        Run::Pure(parse_json),
        "the same as `fromJson`; a map without entries for an empty text",
    ),
    ConsulTemplate.row(
        "toYAML",
        &[Any],
        Run::Pure(to_yaml),
        "as YAML, without a new line at the end",
    ),
    ConsulTemplate.row(
        "parseYAML",
        &[Str],
        Run::Pure(from_yaml),
        "what YAML says; a map without entries for an empty text",
    ),
    ConsulTemplate.row(
        "toTOML",
        &[Any],
        Run::Pure(to_toml),
        "a map as TOML, without a new line at the end",
    ),
    Sprig.row("toYaml", &[Any], Run::Pure(to_yaml), "the same as `toYAML`"),
    Sprig.row("fromYaml", &[Str], Run::Pure(from_yaml), "the same as `parseYAML`"),
    Sprig.row("toToml", &[Any], Run::Pure(to_toml), "the same as `toTOML`"),
    Abtreece.row(
        "sha256sum",
        &[Str],
        Run::Pure(sha256),
        "the SHA-256 digest in hexadecimal digits",
    ),
    Sprig.row("sha1sum", &[Str], Run::Pure(sha1), "the SHA-1 digest"),
    Sprig.row("md5sum", &[Str], Run::Pure(md5_digest), "the MD5 digest"),
    ConsulTemplate.row("sha256Hex", &[Str], Run::Pure(sha256), "the same as `sha256sum`"),
];

fn hexadecimal(digest: &[u8]) -> Value {
    let mut shown = String::with_capacity(2 * digest.len());
    for byte in digest {
        // Writing to a String does not fail.
        let _ = write!(shown, "{byte:02x}");
    }
    Value::text(shown)
}

fn sha256(values: &[Value]) -> Answer {
    Ok(hexadecimal(&sha2::Sha256::digest(bytes(values, 0))))
}

fn sha1(values: &[Value]) -> Answer {
    Ok(hexadecimal(&sha1::Sha1::digest(bytes(values, 0))))
}

fn md5_digest(values: &[Value]) -> Answer {
    Ok(hexadecimal(&md5::Md5::digest(bytes(values, 0))))
}

fn from_json(values: &[Value]) -> Answer {
    json::parse(bytes(values, 0))
}

fn parse_json(values: &[Value]) -> Answer {
    match bytes(values, 0) {
        b"" => Ok(Value::map(std::iter::empty::<(Text, Value)>())),
        text => json::parse(text),
    }
}

fn from_yaml(values: &[Value]) -> Answer {
    let source = bytes(values, 0);
    if source.trim_ascii().is_empty() {
        return Ok(Value::map(std::iter::empty::<(Text, Value)>()));
    }
    let source = std::str::from_utf8(source).map_err(|_| "yaml: control characters".to_owned())?;
    let read = brickyard_yaml::read(source).map_err(|error| format!("yaml: {error}"))?;
    from_tree(read, 0)
}

fn from_tree(tree: brickyard_yaml::Value, depth: usize) -> Answer {
    use brickyard_yaml::Value as Tree;
    if depth > DEPTH_MAX {
        return Err("yaml: exceeded max depth".to_owned());
    }
    Ok(match tree {
        Tree::Null => Value::Nil,
        Tree::Bool(truth) => Value::Bool(truth),
        Tree::Int(number) => Value::Int(number),
        Tree::Uint(number) => Value::Uint(number, UintType::Uint64),
        Tree::Float(number) => Value::Float(number),
        Tree::String(text) => Value::text(text),
        Tree::List(items) => {
            let items = items.into_iter().map(|item| from_tree(item, depth + 1));
            Value::anys(items.collect::<Result<_, _>>()?)
        }
        Tree::Map(entries) => {
            let mut map = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                map.push((key, from_tree(value, depth + 1)?));
            }
            Value::map(map)
        }
    })
}

/// A text under way that does not grow beyond what a value may hold.
#[derive(Default)]
struct Writer {
    text: String,
    pretty: bool,
}

/// Keys and values, in the order of the keys.
type Table = Vec<(Text, Value)>;

/// What a value is made of, whichever notation it is written in.
enum Shape {
    /// As it stands in all three notations.
    Literal(String),
    Nil,
    Text(Text),
    List(Vec<Value>),
    Map(Table),
}

fn shape(value: &Value) -> Result<Shape, String> {
    Ok(match value {
        Value::Nil => Shape::Nil,
        Value::Bool(truth) => Shape::Literal(truth.to_string()),
        Value::Int(number) => Shape::Literal(number.to_string()),
        Value::Uint(number, _) => Shape::Literal(number.to_string()),
        Value::Float(number) if !number.is_finite() => {
            let shown = float::format(*number, 'g', None);
            return Err(format!("json: unsupported value: {shown}"));
        }
        Value::Float(number) => Shape::Literal(json_float(*number)),
        Value::Complex(..) => return Err("json: unsupported type: complex128".to_owned()),
        Value::String(text) => Shape::Text(text.clone()),
        Value::List(list) => Shape::List(list.items().clone()),
        Value::Map(map) => {
            let entries = map.entries();
            Shape::Map(entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        Value::Pair(pair) => {
            let fields = [("Key", pair.key()), ("Value", pair.value())];
            let fields = fields.map(|(name, text)| (name.into(), Value::String(text.clone())));
            Shape::Map(fields.into())
        }
        Value::Record(record) => {
            let fields = record.fields.iter();
            Shape::Map(fields.map(|(name, value)| ((*name).into(), value.clone())).collect())
        }
        Value::Opaque(opaque) => match (opaque.number(), crate::time::time(value)) {
            (Some(number), _) => Shape::Literal(number.to_string()),
            (None, Some(time)) => {
                Shape::Text(time.format("2006-01-02T15:04:05.999999999Z07:00").into())
            }
            (None, None) => Shape::Text(opaque.text()),
        },
    })
}

/// Go's way to write a number in JSON: exponents only for the very small and the very large.
fn json_float(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let shown = float::format(number, 'e', None);
        return match shown.strip_suffix(|last: char| last.is_ascii_digit()) {
            Some(head) if head.ends_with("e-0") => {
                format!("{}{}", &head[..head.len() - 1], &shown[head.len()..])
            }
            _ => shown,
        };
    }
    float::format(number, 'f', None)
}

impl Writer {
    fn push(&mut self, text: &str) -> Result<(), String> {
        if self.text.len() + text.len() > VALUE_BYTES_MAX {
            return Err(too_large());
        }
        self.text.push_str(text);
        Ok(())
    }

    fn line(&mut self, depth: usize) -> Result<(), String> {
        match self.pretty {
            true => self.push(&format!("\n{}", "  ".repeat(depth))),
            false => Ok(()),
        }
    }

    fn json(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(too_large());
        }
        match shape(value)? {
            Shape::Nil => self.push("null"),
            Shape::Literal(shown) => self.push(&shown),
            Shape::Text(text) => self.push(&json_text(&text, true)),
            Shape::List(items) if items.is_empty() => self.push("[]"),
            Shape::List(items) => {
                self.push("[")?;
                for (at, item) in items.iter().enumerate() {
                    self.push(if at > 0 { "," } else { "" })?;
                    self.line(depth + 1)?;
                    self.json(item, depth + 1)?;
                }
                self.line(depth)?;
                self.push("]")
            }
            Shape::Map(entries) if entries.is_empty() => self.push("{}"),
            Shape::Map(entries) => {
                self.push("{")?;
                for (at, (key, item)) in entries.iter().enumerate() {
                    self.push(if at > 0 { "," } else { "" })?;
                    self.line(depth + 1)?;
                    self.push(&json_text(key, true))?;
                    self.push(if self.pretty { ": " } else { ":" })?;
                    self.json(item, depth + 1)?;
                }
                self.line(depth)?;
                self.push("}")
            }
        }
    }

    fn toml(&mut self, entries: &[(Text, Value)], path: &str) -> Result<(), String> {
        let mut tables = Vec::new();
        for (key, value) in entries {
            let key = toml_key(key);
            match shape(value)? {
                // TOML has no nil: the key is left out.
                Shape::Nil => {}
                Shape::Map(inner) => tables.push((key, vec![inner], false)),
                Shape::List(items) => match tables_of(&items)? {
                    Some(inner) => tables.push((key, inner, true)),
                    None => {
                        self.push(&format!("{key} = "))?;
                        self.toml_value(value, 0)?;
                        self.push("\n")?;
                    }
                },
                Shape::Text(_) | Shape::Literal(_) => {
                    self.push(&format!("{key} = "))?;
                    self.toml_value(value, 0)?;
                    self.push("\n")?;
                }
            }
        }
        if path.len() > VALUE_BYTES_MAX.isqrt() {
            return Err(too_large());
        }
        for (key, inner, many) in tables {
            let path = if path.is_empty() { key } else { format!("{path}.{key}") };
            if path.matches('.').count() > DEPTH_MAX {
                return Err(too_large());
            }
            for entries in inner {
                let before = if self.text.is_empty() { "" } else { "\n" };
                let (open, close) = if many { ("[[", "]]") } else { ("[", "]") };
                self.push(&format!("{before}{open}{path}{close}\n"))?;
                self.toml(&entries, &path)?;
            }
        }
        Ok(())
    }

    fn toml_value(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(too_large());
        }
        match shape(value)? {
            Shape::Nil => Err("TOML has no nil in lists".to_owned()),
            // A whole number of floating-point type keeps its type.
            Shape::Literal(shown)
                if matches!(value, Value::Float(_)) && !shown.contains(['.', 'e']) =>
            {
                self.push(&format!("{shown}.0"))
            }
            Shape::Literal(shown) => self.push(&shown),
            Shape::Text(text) => self.push(&json_text(&text, false)),
            Shape::List(items) => {
                self.push("[")?;
                for (at, item) in items.iter().enumerate() {
                    self.push(if at > 0 { ", " } else { "" })?;
                    self.toml_value(item, depth + 1)?;
                }
                self.push("]")
            }
            Shape::Map(entries) => {
                self.push("{")?;
                for (at, (key, item)) in entries.iter().enumerate() {
                    self.push(if at > 0 { ", " } else { "" })?;
                    self.push(&format!("{} = ", toml_key(key)))?;
                    self.toml_value(item, depth + 1)?;
                }
                self.push("}")
            }
        }
    }
}

/// A list of maps alone is one of tables.
fn tables_of(items: &[Value]) -> Result<Option<Vec<Table>>, String> {
    let mut tables = Vec::new();
    for item in items {
        match shape(item)? {
            Shape::Map(entries) => tables.push(entries),
            _ => return Ok(None),
        }
    }
    Ok((!tables.is_empty()).then_some(tables))
}

/// A text in double quotes, with the escapes that JSON, YAML and TOML share; `html` also escapes what
/// means something in HTML, as Go's JSON does.
fn json_text(text: &Text, html: bool) -> String {
    let text = lossy(text.as_bytes());
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push('"');
    for found in text.chars() {
        match found {
            '"' => shown.push_str("\\\""),
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\x08' => shown.push_str("\\b"),
            '\x0c' => shown.push_str("\\f"),
            '<' | '>' | '&' if html => {
                let _ = write!(shown, "\\u{:04x}", u32::from(found));
            }
            '\u{2028}' | '\u{2029}' | '\0'..' ' => {
                let _ = write!(shown, "\\u{:04x}", u32::from(found));
            }
            '\x7f'..'\u{a0}' if !html => {
                let _ = write!(shown, "\\u{:04x}", u32::from(found));
            }
            found => shown.push(found),
        }
    }
    shown.push('"');
    shown
}

fn toml_key(key: &Text) -> String {
    let bare = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !key.is_empty() && key.as_bytes().iter().all(bare) {
        true => key.to_lossy(),
        false => json_text(key, false),
    }
}

fn to_json(values: &[Value]) -> Answer {
    let mut writer = Writer::default();
    writer.json(&values[0], 0)?;
    Ok(Value::text(writer.text))
}

fn to_json_pretty(values: &[Value]) -> Answer {
    let mut writer = Writer { pretty: true, ..Writer::default() };
    writer.json(&values[0], 0)?;
    Ok(Value::text(writer.text))
}

fn to_yaml(values: &[Value]) -> Answer {
    let mut budget = VALUE_BYTES_MAX;
    let text = brickyard_yaml::write(&yaml(&values[0], 0, &mut budget)?);
    match text.len() > VALUE_BYTES_MAX {
        true => Err(too_large()),
        false => Ok(Value::text(text.trim_end_matches('\n'))),
    }
}

/// A value as YAML's writer takes it; `budget` is how many bytes it may still have.
fn yaml(value: &Value, depth: usize, budget: &mut usize) -> Result<Written, String> {
    if depth > DEPTH_MAX {
        return Err(too_large());
    }
    let mut spend = |bytes: usize| match budget.checked_sub(bytes + 1) {
        Some(left) => {
            *budget = left;
            Ok(())
        }
        None => Err(too_large()),
    };
    if let Value::Float(number) = value {
        return Ok(Written::Literal(match number {
            _ if number.is_nan() => ".nan".to_owned(),
            _ if number.is_infinite() => if *number > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
            _ => float::format(*number, 'g', None),
        }));
    }
    Ok(match shape(value)? {
        Shape::Nil => Written::Literal("null".to_owned()),
        Shape::Literal(text) => {
            spend(text.len())?;
            Written::Literal(text)
        }
        Shape::Text(text) => {
            spend(text.len())?;
            match std::str::from_utf8(text.as_bytes()) {
                Ok(text) => Written::Text(text.to_owned()),
                // Bytes that are no text are in base64 there.
                Err(_) => Written::Literal(format!(
                    "!!binary {}",
                    String::from_utf8_lossy(&base64_encode(text.as_bytes()))
                )),
            }
        }
        Shape::List(items) => {
            let items = items.iter().map(|item| yaml(item, depth + 1, budget));
            Written::List(items.collect::<Result<_, _>>()?)
        }
        Shape::Map(entries) => {
            let mut written = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                written.push((key.to_lossy(), yaml(&value, depth + 1, budget)?));
            }
            Written::Map(written)
        }
    })
}

fn to_toml(values: &[Value]) -> Answer {
    let mut writer = Writer::default();
    match shape(&values[0])? {
        Shape::Map(entries) => writer.toml(&entries, "")?,
        _ => return Err(format!("TOML is made of maps; got {}", values[0].type_name())),
    }
    Ok(Value::text(writer.text.trim_end()))
}

fn to_base64(values: &[Value]) -> Answer {
    Ok(Value::text(base64_encode(bytes(values, 0))))
}

fn from_base64(values: &[Value]) -> Answer {
    base64_decode(bytes(values, 0)).map(Value::text)
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
