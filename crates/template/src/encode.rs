//! Values as JSON, YAML and TOML and back; base64 and digests.

use std::fmt::Write as _;

use crate::float;
use crate::format::{DEPTH_MAX, VALUE_BYTES_MAX, too_large};
use crate::function::Origin::{Abtreece, Confd, ConsulTemplate, Sprig};
use crate::function::Param::{Any, String as Str};
use crate::function::{Answer, Definition, Run, bytes};
use crate::json;
use crate::quote::lossy;
use crate::value::{Text, Value};
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
    let parsed: serde_json::Value = serde_saphyr::from_str(source).map_err(|error| {
        let error = error.to_string();
        format!("yaml: {}", error.lines().next().unwrap_or_default())
    })?;
    from_tree(parsed, 0)
}

fn from_tree(tree: serde_json::Value, depth: usize) -> Answer {
    if depth > DEPTH_MAX {
        return Err("yaml: exceeded max depth".to_owned());
    }
    Ok(match tree {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(truth) => Value::Bool(truth),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::text(text),
        serde_json::Value::Array(items) => {
            let items = items.into_iter().map(|item| from_tree(item, depth + 1));
            Value::anys(items.collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(entries) => {
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

    /// A value after a key or a dash: on the same line, or on lines of its own below.
    fn yaml(&mut self, value: &Value, depth: usize, in_list: bool) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(too_large());
        }
        let spaces = "  ".repeat(depth);
        match shape(value)? {
            Shape::Nil => self.push(" null\n"),
            Shape::Literal(shown) => self.push(&format!(" {shown}\n")),
            Shape::Text(text) => self.push(&format!(" {}\n", yaml_text(&text, &spaces))),
            Shape::List(items) if items.is_empty() => self.push(" []\n"),
            Shape::Map(entries) if entries.is_empty() => self.push(" {}\n"),
            Shape::List(items) => {
                // The first element of a list in a list stands beside its dash.
                self.push(if in_list { " " } else { "\n" })?;
                for (at, item) in items.iter().enumerate() {
                    self.push(if in_list && at == 0 { "" } else { &spaces })?;
                    self.push("-")?;
                    self.yaml(item, depth + 1, true)?;
                }
                Ok(())
            }
            Shape::Map(entries) => {
                self.push(if in_list { " " } else { "\n" })?;
                for (at, (key, item)) in entries.iter().enumerate() {
                    self.push(if in_list && at == 0 { "" } else { &spaces })?;
                    self.push(&yaml_key(key))?;
                    self.push(":")?;
                    self.yaml(item, depth + 1, false)?;
                }
                Ok(())
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

/// Whether YAML reads a text as itself, in this version and in older ones.
fn is_plain_yaml(text: &str) -> bool {
    const WORDS: [&str; 11] =
        ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"];
    let good = |found: char| found.is_ascii_alphanumeric() || "_/.-+@ ".contains(found);
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == '/')
        && text.chars().all(good)
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

fn yaml_key(key: &Text) -> String {
    match std::str::from_utf8(key.as_bytes()) {
        Ok(plain) if is_plain_yaml(plain) => plain.to_owned(),
        _ => json_text(key, false),
    }
}

fn yaml_text(text: &Text, spaces: &str) -> String {
    let Ok(source) = std::str::from_utf8(text.as_bytes()) else {
        return json_text(text, false);
    };
    if is_plain_yaml(source) {
        return source.to_owned();
    }
    let body = source.strip_suffix('\n').unwrap_or(source);
    let is_block = source.contains('\n')
        && !body.is_empty()
        && !body.starts_with([' ', '\n'])
        && !body.ends_with('\n')
        && source.chars().all(|found| found == '\n' || !found.is_control());
    if !is_block {
        return json_text(text, false);
    }
    // At the top there is no indentation yet, and a block needs some.
    let spaces = if spaces.is_empty() { "  " } else { spaces };
    let indented = body.lines().map(|line| match line {
        "" => String::new(),
        line => format!("{spaces}{line}"),
    });
    let mark = if source.ends_with('\n') { "|" } else { "|-" };
    format!("{mark}\n{}", indented.collect::<Vec<_>>().join("\n"))
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
    let mut writer = Writer::default();
    writer.yaml(&values[0], 0, false)?;
    Ok(Value::text(writer.text.trim_matches('\n').trim_start_matches(' ')))
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
