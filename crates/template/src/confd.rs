//! confd's functions that read data, those on lists and pairs, and `line`.

use std::collections::BTreeSet;
use std::rc::Rc;

use brickyard_core::path;

use crate::function::Origin::{Brickyard, Confd};
use crate::function::Param::{Any, Int, Pairs, String as Str, Strings};
use crate::function::{Answer, Data, Definition, Run, bytes, int, note, text};
use crate::json;
use crate::scope::{LineInstance, LineValue};
use crate::value::{ANY_MAP, ANYS, Pair, Record, STRINGS, Text, UintType, Value};

/// What `gets` returns: a type of its own in confd, which is why `reverse` does not know it.
pub(crate) const PAIRS: &str = "memkv.KVPairs";
/// What `sortKVByLength` returns.
pub(crate) const PAIR_SLICE: &str = "[]memkv.KVPair";

/// The most elements that a function makes.
const ITEMS_MAX: usize = 1_000_000;

/// confd's functions on data, and ours.
pub(crate) const TABLE: &[Definition] = &[
    Confd.row(
        "get",
        &[Str],
        Run::Data(get),
        "the pair (`.Key`, `.Value`) of a key; an error without the key",
    ),
    Confd.row(
        "gets",
        &[Str],
        Run::Data(gets),
        "the pairs whose keys match a pattern, by key; `*` stays within a part of the path",
    ),
    Confd
        .row(
            "getv",
            &[Str],
            Run::Data(getv),
            "the value of a key, or the default; an error without both",
        )
        .and_more(Str),
    Confd.row(
        "getvs",
        &[Str],
        Run::Data(getvs),
        "the values whose keys match a pattern, sorted by value",
    ),
    Confd.row(
        "cget",
        &[Str],
        Run::Data(cget),
        "like `get`, with the value decrypted by the keyring",
    ),
    Confd.row(
        "cgets",
        &[Str],
        Run::Data(cgets),
        "like `gets`, with the values decrypted by the keyring",
    ),
    Confd
        .row(
            "cgetv",
            &[Str],
            Run::Data(cgetv),
            "like `getv`, with the value decrypted by the keyring",
        )
        .and_more(Str),
    Confd.row(
        "cgetvs",
        &[Str],
        Run::Data(cgetvs),
        "like `getvs`, with the values decrypted by the keyring",
    ),
    Confd.row("exists", &[Str], Run::Data(exists), "whether there is a key"),
    Confd.row(
        "ls",
        &[Str],
        Run::Data(ls),
        "the names of what lies in a directory of keys; of a key, its own; of `/`, only keys in the root itself",
    ),
    Confd.row(
        "lsdir",
        &[Str],
        Run::Data(lsdir),
        "the names of the directories in a directory of keys; none for `/`",
    ),
    Confd
        .row(
            "getenv",
            &[Str],
            Run::Data(getenv),
            "an environment variable, or the default where it is empty or not set",
        )
        .and_more(Str),
    Confd.row(
        "json",
        &[Str],
        Run::Pure(json_object),
        "a JSON object as a map; all numbers are `float64`",
    ),
    Confd.row(
        "jsonArray",
        &[Str],
        Run::Pure(json_array),
        "a JSON array as a list; all numbers are `float64`",
    ),
    Confd.row("map", &[], Run::Pure(make_map), "a map of keys and values in turn").and_more(Any),
    Confd.row(
        "seq",
        &[Int, Int],
        Run::Pure(sequence),
        "the numbers from the first to the last; none when the last is smaller",
    ),
    Confd.row(
        "reverse",
        &[Any],
        Run::Pure(reverse),
        "a `[]string` or the pairs of `sortKVByLength` turned around, in place; all else, what `gets` gives too, as it is",
    ),
    Confd.row(
        "sortByLength",
        &[Strings],
        Run::Pure(sort_by_length),
        "a `[]string` sorted by length, in place; equals keep their order",
    ),
    Confd.row(
        "sortKVByLength",
        &[Pairs],
        Run::Pure(sort_pairs),
        "pairs sorted by the length of their keys, in place; equals keep their order",
    ),
    Brickyard.row(
        "line",
        &[Str],
        Run::Data(line),
        "the other end of a line: `.Host`, `.Port`, `.Address`, `.Endpoint`, `.Instances`; prints `HOST:PORT`",
    ),
];

fn missing(key: &str) -> String {
    format!("key does not exist: {key}")
}

fn getv(values: &[Value], data: &mut Data<'_>) -> Answer {
    let key = &*text(values, 0);
    note(&mut data.reads.keys, key);
    match (data.scope.value(key), values.get(1)) {
        (Some(value), _) => Ok(Value::String(value)),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(missing(key)),
    }
}

fn get(values: &[Value], data: &mut Data<'_>) -> Answer {
    let key = &*text(values, 0);
    note(&mut data.reads.keys, key);
    let value = data.scope.value(key).ok_or_else(|| missing(key))?;
    Ok(Value::Pair(Pair::new(key, value)))
}

fn exists(values: &[Value], data: &mut Data<'_>) -> Answer {
    let key = &*text(values, 0);
    note(&mut data.reads.keys, key);
    Ok(Value::Bool(data.scope.value(key).is_some()))
}

fn getenv(values: &[Value], data: &mut Data<'_>) -> Answer {
    let name = &*text(values, 0);
    note(&mut data.reads.env, name);
    let found = data.scope.env(name).filter(|value| !value.is_empty());
    Ok(match (found, values.get(1)) {
        (Some(value), _) => Value::text(value),
        (None, Some(default)) => default.clone(),
        (None, None) => Value::text(""),
    })
}

fn matching(values: &[Value], data: &mut Data<'_>) -> Result<Vec<Pair>, String> {
    let pattern = &*text(values, 0);
    let pattern = path::Pattern::parse(pattern).map_err(|err| err.to_string())?;
    note(&mut data.reads.prefixes, pattern.prefix());
    let mut found = data.scope.keys(pattern.prefix());
    found.retain(|pair| pattern.matches(pair.key().as_bytes()));
    if !found.is_sorted_by_key(Pair::key) {
        found.sort();
    }
    Ok(found)
}

fn gets(values: &[Value], data: &mut Data<'_>) -> Answer {
    let found = matching(values, data)?;
    Ok(Value::list(PAIRS, found.into_iter().map(Value::Pair).collect()))
}

fn getvs(values: &[Value], data: &mut Data<'_>) -> Answer {
    let found = matching(values, data)?;
    let mut found: Vec<Text> = found.iter().map(|pair| pair.value().clone()).collect();
    found.sort();
    Ok(Value::strings(found))
}

/// What an encrypted value says.
fn decrypt(value: &Text, data: &Data<'_>) -> Result<Text, String> {
    let world = data.scope.world().ok_or("no keyring is given")?;
    world.decrypt(value.as_bytes()).map(Text::from)
}

fn cget(values: &[Value], data: &mut Data<'_>) -> Answer {
    match get(values, data)? {
        Value::Pair(pair) => {
            let value = decrypt(pair.value(), data)?;
            Ok(Value::Pair(Pair::new(pair.key().clone(), value)))
        }
        other => Ok(other),
    }
}

fn cgetv(values: &[Value], data: &mut Data<'_>) -> Answer {
    match getv(values, data)? {
        Value::String(value) => decrypt(&value, data).map(Value::String),
        other => Ok(other),
    }
}

fn cgets(values: &[Value], data: &mut Data<'_>) -> Answer {
    let mut pairs = Vec::new();
    for pair in matching(values, data)? {
        let value = decrypt(pair.value(), data)?;
        pairs.push(Value::Pair(Pair::new(pair.key().clone(), value)));
    }
    Ok(Value::list(PAIRS, pairs))
}

fn cgetvs(values: &[Value], data: &mut Data<'_>) -> Answer {
    let mut found = Vec::new();
    for pair in matching(values, data)? {
        found.push(decrypt(pair.value(), data)?);
    }
    found.sort();
    Ok(Value::strings(found))
}

fn ls(values: &[Value], data: &mut Data<'_>) -> Answer {
    Ok(list(&text(values, 0), false, data))
}

fn lsdir(values: &[Value], data: &mut Data<'_>) -> Answer {
    Ok(list(&text(values, 0), true, data))
}

/// `ls` and `lsdir`. A path is taken apart at its slashes, and `/` has two empty parts, so that
/// both find only leaves of the root in it; users' templates rely on that.
fn list(directory: &str, only_directories: bool, data: &mut Data<'_>) -> Value {
    let cleaned = path::clean(directory);
    let prefix: Vec<&str> = cleaned.split('/').collect();
    note(&mut data.reads.prefixes, &cleaned);
    let mut names = BTreeSet::new();
    for pair in data.scope.keys(&cleaned) {
        let key = &*String::from_utf8_lossy(pair.key().as_bytes());
        if key == directory && !only_directories {
            names.insert(path::base(key).to_owned());
            continue;
        }
        let parent = path::dir(key);
        let parts: Vec<&str> = parent.split('/').collect();
        if !parts.starts_with(&prefix) {
            continue;
        }
        if only_directories {
            if key.starts_with(directory) {
                names.extend(parts.get(prefix.len()).map(|part| (*part).to_owned()));
            }
        } else {
            let rest = key.strip_prefix(directory).unwrap_or(key);
            let rest = rest.strip_prefix('/').unwrap_or(rest);
            names.extend(rest.split('/').next().map(str::to_owned));
        }
    }
    Value::strings(names)
}

fn json_object(values: &[Value]) -> Answer {
    decode_json(bytes(values, 0), ANY_MAP)
}

fn json_array(values: &[Value]) -> Answer {
    decode_json(bytes(values, 0), ANYS)
}

fn decode_json(text: &[u8], wanted: &'static str) -> Answer {
    let value = json::parse(text)?;
    let is_map = wanted == ANY_MAP;
    let found = match &value {
        Value::Map(_) if is_map => return Ok(value),
        Value::List(_) if !is_map => return Ok(value),
        // Go decodes null into the zero value: no map, no list, nothing in it.
        Value::Nil if is_map => {
            return Ok(Value::map(std::iter::empty::<(Text, Value)>()));
        }
        Value::Nil => return Ok(Value::anys(Vec::new())),
        Value::Map(_) => "object",
        Value::List(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    };
    Err(format!("json: cannot unmarshal {found} into Go value of type {wanted}"))
}

/// The other end of a line as a record that prints `HOST:PORT`.
fn line(values: &[Value], data: &mut Data<'_>) -> Answer {
    let alias = &*text(values, 0);
    note(&mut data.reads.lines, alias);
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
    Value::Record(Rc::new(Record {
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

/// Refuses to make more elements than there is any use for.
pub(crate) fn check_items(count: usize) -> Result<(), String> {
    match count < ITEMS_MAX {
        true => Ok(()),
        false => Err(format!("the result has more than {ITEMS_MAX} elements")),
    }
}

fn sequence(values: &[Value]) -> Answer {
    let (first, last) = (int(values, 0), int(values, 1));
    check_items(usize::try_from(last.saturating_sub(first)).unwrap_or(0))?;
    Ok(Value::list("[]int", (first..=last).map(Value::Int).collect()))
}

fn make_map(values: &[Value]) -> Answer {
    crate::collection::map_of_pairs("map", "invalid map call", values)
}

fn reverse(values: &[Value]) -> Answer {
    if let Value::List(list) = &values[0]
        && matches!(list.type_name(), STRINGS | PAIR_SLICE)
    {
        list.items_mut().reverse();
    }
    Ok(values[0].clone())
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Pair(pair) => pair.key().len(),
        _ => 0,
    }
}

fn sort_by_length(values: &[Value]) -> Answer {
    match &values[0] {
        Value::List(list) => {
            list.items_mut().sort_by_key(length);
            Ok(values[0].clone())
        }
        _ => Ok(Value::list(STRINGS, Vec::new())),
    }
}

fn sort_pairs(values: &[Value]) -> Answer {
    match &values[0] {
        // Sorting gives the type that `reverse` knows, and what was sorted is sorted, too.
        Value::List(list) => {
            list.items_mut().sort_by_key(length);
            Ok(Value::list(PAIR_SLICE, list.items().clone()))
        }
        _ => Ok(Value::list(PAIR_SLICE, Vec::new())),
    }
}
