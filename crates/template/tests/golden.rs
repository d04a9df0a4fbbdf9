//! Every template in `golden/go.txt` gives what Go's own `text/template` (1.27) gives, byte for
//! byte, errors included. There the functions that read data were small Go functions of the same
//! meaning, and `.` and the keys were those below.

use brickyard_template::{MapScope, Value, parse};

const GOLDEN: &str = include_str!("golden/go.txt");

const JSON: &str = include_str!("golden/data.json");

fn scope() -> MapScope {
    let mut scope = MapScope::new([
        ("/text", "father"),
        ("/empty", ""),
        ("/app/a", "3"),
        ("/app/b", "1"),
        ("/app/sub/x", "2"),
        ("/rootkey", "r"),
        ("/json", JSON.trim()),
    ]);
    scope.env = [("HOME", "/root"), ("NIL", "")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    scope
}

/// `golden/data.json` as Go's `json.Unmarshal` into `any` makes it.
fn dot() -> Value {
    let text = |text: &str| Value::text(text);
    let any = |items| Value::list("[]interface {}", items);
    let map = |entries: &[(&str, Value)]| Value::map(entries.iter().cloned());
    let deep = map(&[("d", text("deep"))]);
    map(&[
        ("s", text("hello")),
        ("n", Value::Float(12_345_678.0)),
        ("f", Value::Float(1.5)),
        ("t", Value::Bool(true)),
        ("nul", Value::Nil),
        ("l", any(vec![text("a"), text("b"), Value::Float(3.0), Value::Nil])),
        ("m", map(&[("b", Value::Float(2.0)), ("a", text("x")), ("c", deep)])),
        ("e", any(Vec::new())),
        ("em", map(&[])),
        ("z", Value::Float(0.0)),
        ("html", text("<a href='x'>&\"</a>")),
        ("u", text("héllo wörld")),
        ("big", Value::Float(1e21)),
        ("neg", Value::Float(-2.5)),
        ("i", Value::Float(3.0)),
    ])
}

#[test]
fn go_says_the_same() {
    let cases: Vec<(&str, &str)> = GOLDEN
        .split("--- template\n")
        .skip(1)
        .map(|case| case.split_once("\n--- output\n").unwrap())
        .collect();
    assert!(cases.len() > 300, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let expected = expected.strip_suffix('\n').unwrap();
        let found = match parse("t", text) {
            Err(error) => format!("PARSE {error}"),
            Ok(template) => match template.render_with(&scope(), dot()) {
                Err(error) => format!("EXEC {error}"),
                Ok(rendered) => String::from_utf8_lossy(&rendered.output).into_owned(),
            },
        };
        if found != expected {
            wrong.push(format!("{text}\n  Go:   {expected}\n  here: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
