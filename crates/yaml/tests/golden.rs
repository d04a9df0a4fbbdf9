//! What `gopkg.in/yaml.v2` 2.4 writes and reads: of each line, the first element is what it was given
//! and the second what it made of it. Numbers that it read are `{"i": ...}`, `{"u": ...}` and
//! `{"f": ...}`; where it failed, its error comes third.

use brickyard_yaml::{Value, Written, read, write};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn lines(text: &str) -> impl Iterator<Item = Json> {
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON"))
}

fn written(value: &Json) -> Written {
    match value {
        Json::Null => Written::Literal("null".to_owned()),
        Json::Bool(truth) => Written::Literal(truth.to_string()),
        Json::Number(number) => Written::Literal(number.to_string()),
        Json::String(text) => Written::Text(text.clone()),
        Json::Array(items) => Written::List(items.iter().map(written).collect()),
        Json::Object(entries) => {
            Written::Map(entries.iter().map(|(key, value)| (key.clone(), written(value))).collect())
        }
    }
}

fn found(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!({"i": number.to_string()}),
        Value::Uint(number) => json!({"u": number.to_string()}),
        Value::Float(number) => json!({"f": number}),
        Value::String(text) => json!(text),
        Value::List(items) => items.iter().map(found).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), found(value))).collect()
        }
    }
}

/// Go's texts of numbers as numbers.
fn expected(value: &Json) -> Json {
    match value {
        Json::Object(entries) if entries.len() == 1 => {
            let text = |name: &str| entries.get(name).and_then(Json::as_str);
            match (text("f"), text("special")) {
                (Some(number), _) => json!({"f": number.parse::<f64>().expect("it is a number")}),
                // JSON has none of these.
                (None, Some(_)) => json!({"f": null}),
                (None, None) => all(entries),
            }
        }
        Json::Object(entries) => all(entries),
        Json::Array(items) => items.iter().map(expected).collect(),
        other => other.clone(),
    }
}

fn all(entries: &serde_json::Map<String, Json>) -> Json {
    entries.iter().map(|(key, value)| (key.clone(), expected(value))).collect()
}

#[test]
fn what_is_written_is_gos_byte_for_byte() {
    let mut count = 0;
    for case in lines(include_str!("golden/write.jsonl")) {
        assert_eq!(write(&written(&case[0])), case[1], "{}", case[0]);
        count += 1;
    }
    assert!(count > 400, "{count} cases");
}

#[test]
fn what_is_read_is_gos() {
    let mut count = 0;
    for case in lines(include_str!("golden/read.jsonl")) {
        let text = case[0].as_str().expect("it is a text");
        match (read(text), case.get(2)) {
            (Ok(value), None) => assert_eq!(found(&value), expected(&case[1]), "{text}"),
            (Err(_), Some(_)) => {}
            (found, wanted) => panic!("{text}: {found:?}, in Go {wanted:?}"),
        }
        count += 1;
    }
    assert!(count > 400, "{count} cases");
}

#[test]
fn what_is_wrong_has_its_line() {
    for (text, line) in
        [("a: 1\nb: [\n", 2), ("a: 1\nb: *x\n", 2), ("a: &x [*x]\n", 1), ("? [a]\n: b\n", 1)]
    {
        let error = read(text).expect_err(text);
        assert!(error.line == line, "{text}: {error}");
    }
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for number in 1..9 {
        let items = vec![format!("*a{}", number - 1); 10].join(", ");
        laughs.push_str(&format!("a{number}: &a{number} [{items}]\n"));
    }
    let error = read(&laughs).expect_err("it would be a thousand million values");
    assert_eq!(error.message, "it has more than 1000000 values");
    let many = vec!["*x"; 10_000].join(", ");
    let long = format!("a: &x \"{}\"\nb: [{many}]\n", "x".repeat(1 << 20));
    assert!(read(&long).expect_err("it would be ten gigabytes").message.contains("more than"));
    let deep = format!("{}x{}", "[".repeat(200), "]".repeat(200));
    assert!(read(&deep).expect_err("it is deep").message.contains("nested"));
    assert_eq!(read("# nothing\n"), Ok(Value::Null));
    assert_eq!(read(""), Ok(Value::Null));
    assert_eq!(read("---\n# nothing\n"), Ok(Value::Null));
}

fn trees() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        "[ -~\n\u{e9}]{0,12}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map("[ -~\n]{0,6}", inner, 0..4)
                .prop_map(|map| Value::Map(map.into_iter().collect())),
        ]
    })
}

/// A tree of the strategy above, which has no fractions.
fn written_back(value: &Value) -> Written {
    match value {
        Value::Null => Written::Literal("null".to_owned()),
        Value::Bool(truth) => Written::Literal(truth.to_string()),
        Value::Int(number) => Written::Literal(number.to_string()),
        Value::String(text) => Written::Text(text.clone()),
        Value::List(items) => Written::List(items.iter().map(written_back).collect()),
        Value::Map(entries) => Written::Map(
            entries.iter().map(|(key, value)| (key.clone(), written_back(value))).collect(),
        ),
        Value::Uint(_) | Value::Float(_) => panic!("none is made: {value:?}"),
    }
}

/// The same tree with its keys in one order.
fn ordered(value: Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.into_iter().map(ordered).collect()),
        Value::Map(mut entries) => {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Map(entries.into_iter().map(|(key, value)| (key, ordered(value))).collect())
        }
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read_as_the_same(value in trees()) {
        let text = write(&written_back(&value));
        let read = read(&text);
        prop_assert_eq!(read.map(ordered), Ok(ordered(value)), "{}", text);
    }

    #[test]
    fn nothing_makes_it_panic(text in "[ -~\n\t]{0,60}") {
        let _ = read(&text);
    }
}
