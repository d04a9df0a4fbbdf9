//! Functions on lists and maps, and those that choose between values.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::confd::check_items;
use crate::convert::whole;
use crate::format::{DEPTH_MAX, too_large};
use crate::function::Origin::{Abtreece, ConsulTemplate, Sprig};
use crate::function::Param::{Any, Bool, Int, Map as Dict, String as Str};
use crate::function::{Answer, Definition, Run, bytes, int, text};
use crate::strings::plain;
use crate::value::{ANYS, Map, STRINGS, Text, Value};

/// Functions on lists and maps.
pub(crate) const TABLE: &[Definition] = &[
    Abtreece.row(
        "default",
        &[Any, Any],
        Run::Pure(default),
        "the second value, or the first where it is empty",
    ),
    Abtreece.row(
        "ternary",
        &[Any, Any, Bool],
        Run::Pure(ternary),
        "the first value where the truth, which comes last, is true; else the second",
    ),
    Abtreece
        .row("coalesce", &[], Run::Pure(coalesce), "the first value that is not empty")
        .and_more(Any),
    Abtreece.row(
        "empty",
        &[Any],
        Run::Pure(empty),
        "whether a value is nil, false, 0, `\"\"` or has no elements",
    ),
    Abtreece.row("dict", &[], Run::Pure(dict), "a map of keys and values in turn").and_more(Any),
    Abtreece.row("list", &[], Run::Pure(list), "a list of the arguments").and_more(Any),
    Abtreece.row("hasKey", &[Dict, Str], Run::Pure(has_key), "whether a map has a key"),
    Abtreece.row("keys", &[Dict], Run::Pure(keys), "the keys of maps, sorted").and_more(Dict),
    Abtreece.row("values", &[Dict], Run::Pure(all_values), "the values of a map, by key"),
    Abtreece.row("append", &[Any, Any], Run::Pure(append), "a list with one more element"),
    Abtreece
        .row("pluck", &[Str], Run::Pure(pluck), "the values of a key in all maps that have it")
        .and_more(Dict),
    Sprig.row("push", &[Any, Any], Run::Pure(append), "the same as `append`"),
    Sprig.row(
        "prepend",
        &[Any, Any],
        Run::Pure(prepend),
        "a list with one more element before the others",
    ),
    Sprig.row("concat", &[], Run::Pure(concat), "one list of all elements of lists").and_more(Any),
    Sprig.row("first", &[Any], Run::Pure(first), "the first element, or nil"),
    Sprig.row("last", &[Any], Run::Pure(last), "the last element, or nil"),
    Sprig.row("rest", &[Any], Run::Pure(rest), "all elements but the first"),
    Sprig.row("initial", &[Any], Run::Pure(initial), "all elements but the last"),
    Sprig.row("uniq", &[Any], Run::Pure(uniq), "each element once, where it is first"),
    Sprig.row("compact", &[Any], Run::Pure(compact), "without empty elements"),
    Sprig
        .row("without", &[Any], Run::Pure(without), "without the elements that follow")
        .and_more(Any),
    Sprig.row(
        "has",
        &[Any, Any],
        Run::Pure(has),
        "whether the list, which comes last, has an element",
    ),
    Sprig.row("sortAlpha", &[Any], Run::Pure(sort_alpha), "the elements as texts, sorted"),
    Sprig.row("toStrings", &[Any], Run::Pure(to_strings), "the elements as texts"),
    Sprig.row("until", &[Int], Run::Pure(until), "the numbers from 0 to before the argument"),
    Sprig.row(
        "untilStep",
        &[Int, Int, Int],
        Run::Pure(until_step),
        "the numbers from the first to before the second, by the third",
    ),
    ConsulTemplate
        .row(
            "loop",
            &[Int],
            Run::Pure(loop_over),
            "`loop n`: 0 to before n; `loop a b`: a to before b",
        )
        .and_more(Int),
    ConsulTemplate.row(
        "in",
        &[Any, Any],
        Run::Pure(is_in),
        "whether the list, which comes first, has an element",
    ),
    Sprig.row(
        "set",
        &[Dict, Str, Any],
        Run::Pure(set),
        "sets a key in a map, in place, and gives the map",
    ),
    Sprig.row(
        "unset",
        &[Dict, Str],
        Run::Pure(unset),
        "removes a key from a map, in place, and gives the map",
    ),
    Sprig
        .row(
            "merge",
            &[Dict],
            Run::Pure(merge),
            "adds what the first map lacks from the others, in place, deeply",
        )
        .and_more(Dict),
    Sprig.row("pick", &[Dict], Run::Pure(pick), "a map of these keys alone").and_more(Str),
    Sprig.row("omit", &[Dict], Run::Pure(omit), "a map without these keys").and_more(Str),
    Sprig
        .row(
            "dig",
            &[Str, Any],
            Run::Pure(dig),
            "`dig \"a\" \"b\" default map`: `map.a.b`, or the default",
        )
        .and_more(Any),
    Sprig.row("fail", &[Str], Run::Pure(fail), "an error of this text"),
    Sprig.row(
        "required",
        &[Str, Any],
        Run::Pure(required),
        "the value, or an error of this text where it is nil or `\"\"`",
    ),
];

fn default(values: &[Value]) -> Answer {
    Ok(values[usize::from(values[1].is_true())].clone())
}

fn ternary(values: &[Value]) -> Answer {
    Ok(values[usize::from(!values[2].is_true())].clone())
}

fn coalesce(values: &[Value]) -> Answer {
    Ok(values.iter().find(|value| value.is_true()).cloned().unwrap_or_default())
}

fn empty(values: &[Value]) -> Answer {
    Ok(Value::Bool(!values[0].is_true()))
}

fn dict(values: &[Value]) -> Answer {
    map_of_pairs("dict", "invalid dict call: an odd number of arguments", values)
}

/// A map of keys and values in turn, as the function `name` makes it; `odd` is what it says when a
/// value is missing.
pub(crate) fn map_of_pairs(name: &str, odd: &str, values: &[Value]) -> Answer {
    if !values.len().is_multiple_of(2) {
        return Err(odd.to_owned());
    }
    let mut entries = Vec::new();
    for pair in values.chunks_exact(2) {
        let Value::String(key) = &pair[0] else {
            return Err(format!("{name} keys must be strings"));
        };
        entries.push((key.clone(), pair[1].clone()));
    }
    Ok(Value::map(entries))
}

fn list(values: &[Value]) -> Answer {
    Ok(Value::anys(values.to_vec()))
}

/// The map that an argument is; what may be nil has no entries.
fn entries(value: Option<&Value>) -> BTreeMap<Text, Value> {
    match value {
        Some(Value::Map(map)) => map.entries().clone(),
        _ => BTreeMap::new(),
    }
}

fn has_key(values: &[Value]) -> Answer {
    Ok(Value::Bool(match &values[0] {
        Value::Map(map) => map.entries().contains_key(bytes(values, 1)),
        _ => false,
    }))
}

fn keys(values: &[Value]) -> Answer {
    let mut all: Vec<Text> = values.iter().flat_map(|map| entries(Some(map)).into_keys()).collect();
    all.sort();
    Ok(Value::strings(all))
}

fn all_values(values: &[Value]) -> Answer {
    Ok(Value::anys(entries(values.first()).into_values().collect()))
}

fn pluck(values: &[Value]) -> Answer {
    let found = values[1..].iter().filter_map(|map| match map {
        Value::Map(map) => map.entries().get(bytes(values, 0)).cloned(),
        _ => None,
    });
    Ok(Value::anys(found.collect()))
}

/// The elements of a list, or what is wrong with an argument that is none.
pub(crate) fn elements(value: &Value) -> Result<Vec<Value>, String> {
    match value {
        Value::List(list) => Ok(list.items().clone()),
        Value::Nil => Ok(Vec::new()),
        other => Err(format!("wrong type: expected a list; got {}", other.type_name())),
    }
}

/// A list of the type that another has.
fn like(value: &Value, items: Vec<Value>) -> Value {
    match value {
        Value::List(list) => Value::list(list.type_name(), items),
        _ => Value::anys(items),
    }
}

/// A list with another element: of texts, as long as all are.
fn with(value: &Value, items: Vec<Value>) -> Value {
    let texts = items.iter().all(|item| matches!(item, Value::String(_)));
    match value {
        Value::List(list) if list.type_name() == STRINGS && texts => Value::list(STRINGS, items),
        _ => Value::list(ANYS, items),
    }
}

fn append(values: &[Value]) -> Answer {
    let mut items = elements(&values[0])?;
    check_items(items.len())?;
    items.push(values[1].clone());
    Ok(with(&values[0], items))
}

fn prepend(values: &[Value]) -> Answer {
    let mut items = vec![values[1].clone()];
    items.extend(elements(&values[0])?);
    check_items(items.len())?;
    Ok(with(&values[0], items))
}

fn concat(values: &[Value]) -> Answer {
    let mut all = Vec::new();
    for value in values {
        all.extend(elements(value)?);
        check_items(all.len())?;
    }
    Ok(Value::anys(all))
}

fn first(values: &[Value]) -> Answer {
    Ok(elements(&values[0])?.into_iter().next().unwrap_or_default())
}

fn last(values: &[Value]) -> Answer {
    Ok(elements(&values[0])?.pop().unwrap_or_default())
}

fn rest(values: &[Value]) -> Answer {
    Ok(like(&values[0], elements(&values[0])?.into_iter().skip(1).collect()))
}

fn initial(values: &[Value]) -> Answer {
    let mut items = elements(&values[0])?;
    items.pop();
    Ok(like(&values[0], items))
}

/// Compares values deeply, as far as a budget of visits goes.
struct Comparison {
    visits: usize,
}

impl Comparison {
    const VISITS_MAX: usize = 1_000_000;

    fn new() -> Self {
        Self { visits: Self::VISITS_MAX }
    }

    fn same(&mut self, left: &Value, right: &Value, depth: usize) -> Result<bool, String> {
        self.visits = self.visits.saturating_sub(1);
        if self.visits == 0 || depth > DEPTH_MAX {
            return Err("the values are too large to compare".to_owned());
        }
        match (left, right) {
            (Value::List(left), Value::List(right)) => {
                let (left, right) = (left.items(), right.items());
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (left, right) in left.iter().zip(right.iter()) {
                    if !self.same(left, right, depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Map(left), Value::Map(right)) => {
                let (left, right) = (left.entries(), right.entries());
                if !left.keys().eq(right.keys()) {
                    return Ok(false);
                }
                for (left, right) in left.values().zip(right.values()) {
                    if !self.same(left, right, depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(crate::builtin::same(left, right)),
        }
    }

    fn holds(&mut self, items: &[Value], wanted: &Value) -> Result<bool, String> {
        for item in items {
            if self.same(item, wanted, 0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn uniq(values: &[Value]) -> Answer {
    let mut comparison = Comparison::new();
    let mut texts = std::collections::BTreeSet::new();
    let mut kept: Vec<Value> = Vec::new();
    for item in elements(&values[0])? {
        let is_known = match &item {
            Value::String(text) => !texts.insert(text.clone()),
            item => comparison.holds(&kept, item)?,
        };
        if !is_known {
            kept.push(item);
        }
    }
    Ok(like(&values[0], kept))
}

fn compact(values: &[Value]) -> Answer {
    let mut items = elements(&values[0])?;
    items.retain(Value::is_true);
    Ok(like(&values[0], items))
}

fn without(values: &[Value]) -> Answer {
    let mut comparison = Comparison::new();
    let mut kept = Vec::new();
    for item in elements(&values[0])? {
        if !comparison.holds(&values[1..], &item)? {
            kept.push(item);
        }
    }
    Ok(like(&values[0], kept))
}

fn has(values: &[Value]) -> Answer {
    Comparison::new().holds(&elements(&values[1])?, &values[0]).map(Value::Bool)
}

fn is_in(values: &[Value]) -> Answer {
    match (&values[0], &values[1]) {
        (Value::String(text), Value::String(part)) => {
            Ok(Value::Bool(crate::lex::find(text.as_bytes(), part.as_bytes()).is_some()))
        }
        _ => Comparison::new().holds(&elements(&values[0])?, &values[1]).map(Value::Bool),
    }
}

fn texts(value: &Value) -> Result<Vec<Text>, String> {
    match value {
        Value::List(_) => elements(value)?.iter().map(plain).collect(),
        value => Ok(vec![plain(value)?]),
    }
}

fn sort_alpha(values: &[Value]) -> Answer {
    let mut texts = texts(&values[0])?;
    texts.sort();
    Ok(Value::strings(texts))
}

fn to_strings(values: &[Value]) -> Answer {
    texts(&values[0]).map(Value::strings)
}

fn numbers(from: i64, to: i64, step: i64) -> Answer {
    let mut items = Vec::new();
    let mut at = from;
    while (step > 0 && at < to) || (step < 0 && at > to) {
        check_items(items.len())?;
        items.push(Value::Int(at));
        at = at.saturating_add(step);
    }
    Ok(Value::list("[]int", items))
}

fn until(values: &[Value]) -> Answer {
    let end = int(values, 0);
    numbers(0, end, if end < 0 { -1 } else { 1 })
}

fn until_step(values: &[Value]) -> Answer {
    numbers(int(values, 0), int(values, 1), int(values, 2))
}

fn loop_over(values: &[Value]) -> Answer {
    match values {
        [end] => numbers(0, whole(end), 1),
        [start, end] => numbers(whole(start), whole(end), 1),
        _ => Err(format!("takes 1 or 2 arguments, not {}", values.len())),
    }
}

/// Whether a map can be reached from a value: setting it there would make a circle.
fn reaches(value: &Value, map: &Rc<Map>, visits: &mut usize, depth: usize) -> Result<bool, String> {
    *visits = visits.saturating_sub(1);
    if *visits == 0 || depth > DEPTH_MAX {
        return Err(too_large());
    }
    let inner: Vec<Value> = match value {
        Value::Map(inner) if Rc::ptr_eq(inner, map) => return Ok(true),
        Value::Map(inner) => inner.entries().values().cloned().collect(),
        Value::List(list) => list.items().clone(),
        _ => return Ok(false),
    };
    for value in &inner {
        if reaches(value, map, visits, depth + 1)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn set(values: &[Value]) -> Answer {
    const VISITS_MAX: usize = 100_000;
    let Value::Map(map) = &values[0] else {
        return Err("cannot set a key of nil".to_owned());
    };
    if reaches(&values[2], map, &mut VISITS_MAX.clone(), 0)? {
        return Err("a map cannot be put into itself".to_owned());
    }
    map.entries_mut().insert(Text::from(bytes(values, 1)), values[2].clone());
    Ok(values[0].clone())
}

fn unset(values: &[Value]) -> Answer {
    if let Value::Map(map) = &values[0] {
        map.entries_mut().remove(bytes(values, 1));
    }
    Ok(values[0].clone())
}

fn merge(values: &[Value]) -> Answer {
    let mut visits = 100_000;
    for other in &values[1..] {
        merge_into(&values[0], other, &mut visits, 0)?;
    }
    Ok(values[0].clone())
}

fn merge_into(into: &Value, from: &Value, visits: &mut usize, depth: usize) -> Result<(), String> {
    let (Value::Map(into), Value::Map(_)) = (into, from) else {
        return Ok(());
    };
    if depth > DEPTH_MAX {
        return Err(too_large());
    }
    for (key, value) in entries(Some(from)) {
        let known = into.entries().get(&key).cloned();
        match known {
            Some(known @ Value::Map(_)) => merge_into(&known, &value, visits, depth + 1)?,
            Some(known) if known.is_true() => {}
            _ if reaches(&value, into, visits, 0)? => {
                return Err("a map cannot be put into itself".to_owned());
            }
            _ => {
                into.entries_mut().insert(key, value);
            }
        }
    }
    Ok(())
}

fn pick(values: &[Value]) -> Answer {
    let mut kept = entries(values.first());
    kept.retain(|key, _| (1..values.len()).any(|at| bytes(values, at) == key.as_bytes()));
    Ok(Value::map(kept))
}

fn omit(values: &[Value]) -> Answer {
    let mut kept = entries(values.first());
    kept.retain(|key, _| (1..values.len()).all(|at| bytes(values, at) != key.as_bytes()));
    Ok(Value::map(kept))
}

fn dig(values: &[Value]) -> Answer {
    let [keys @ .., default, map] = values else {
        return Err("takes at least 3 arguments".to_owned());
    };
    if keys.is_empty() {
        return Err("takes at least 3 arguments".to_owned());
    }
    let mut found = map.clone();
    for key in keys {
        let Value::String(key) = key else {
            return Err(format!("keys are texts; got {}", key.type_name()));
        };
        let inner = match &found {
            Value::Map(map) => map.entries().get(key).cloned(),
            _ => None,
        };
        match inner {
            Some(inner) => found = inner,
            None => return Ok(default.clone()),
        }
    }
    Ok(found)
}

fn fail(values: &[Value]) -> Answer {
    Err(text(values, 0).into_owned())
}

fn required(values: &[Value]) -> Answer {
    match &values[1] {
        Value::Nil => fail(values),
        Value::String(found) if found.is_empty() => fail(values),
        value => Ok(value.clone()),
    }
}
