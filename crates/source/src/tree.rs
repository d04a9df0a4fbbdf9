//! Files of keys: YAML, which JSON is too, and TOML, flattened to paths.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::Entries;

/// Reads YAML or JSON as confd does, by Go's rules; what is wrong comes with the line that it is on.
pub(crate) fn yaml(text: &str) -> Result<Node, (u64, String)> {
    let read = brickyard_yaml::read(text);
    read.map(Node::from).map_err(|err| (err.line as u64, err.message))
}

/// Reads TOML; what is wrong comes with the line that it is on.
pub(crate) fn toml(text: &str) -> Result<Node, (u64, String)> {
    toml::from_str(text).map_err(|err| {
        let line = err.span().map_or(0, |span| {
            text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
        });
        (line as u64, err.message().to_owned())
    })
}

/// A value of a file, as far as confd knows values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// Null, and what no key can be: confd leaves it out.
    Nothing,
    /// Text, or a number or truth as Go prints it.
    Leaf(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Puts every value at its path below `path`; parts of lists are called by their number.
    pub(crate) fn flatten(&self, path: &str, into: &mut Entries) {
        match self {
            Self::Nothing => {}
            Self::Leaf(text) => {
                into.insert(path.to_owned(), Bytes::copy_from_slice(text.as_bytes()));
            }
            Self::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    item.flatten(&format!("{path}/{number}"), into);
                }
            }
            Self::Map(entries) => {
                for (key, value) in entries {
                    value.flatten(&format!("{path}/{key}"), into);
                }
            }
        }
    }
}

impl From<brickyard_yaml::Value> for Node {
    fn from(value: brickyard_yaml::Value) -> Self {
        use brickyard_yaml::Value;
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(truth) => Self::Leaf(truth.to_string()),
            Value::Int(number) => Self::Leaf(number.to_string()),
            // confd leaves them out; nobody misses a key that is there.
            Value::Uint(number) => Self::Leaf(number.to_string()),
            Value::Float(number) => Self::Leaf(float(number)),
            Value::String(text) => Self::Leaf(text),
            Value::List(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Map(entries) => {
                let entries = entries.into_iter();
                Self::Map(entries.map(|(key, value)| (key, Self::from(value))).collect())
            }
        }
    }
}

/// Without an exponent and with as many digits as it takes, as Go's 'f' and -1 have it.
fn float(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".to_owned(),
        _ if number.is_infinite() => if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        _ => number.to_string(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Leaf(float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Leaf(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry::<String, Node>()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(node: &Node) -> Vec<(String, String)> {
        let mut entries = Entries::new();
        node.flatten("", &mut entries);
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        entries.iter().map(|(key, value)| (key.clone(), text(value))).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn yaml_is_flattened_as_confd_does() {
        let text = "go: [010, yes, 1_000, 12345678901234567890]\na:\n  b: text\n  n: 12\n  t: true\n  f: 1.50\n  big: 1e21\n  list: [x, {y: z}]\n  none: null\n1: one\n\
                    base: &base {k: v}\ncopy: *base\n";
        let node = yaml(text).expect("it is valid");
        let expected = [
            ("/1", "one"),
            ("/a/b", "text"),
            ("/a/big", "1000000000000000000000"),
            ("/a/f", "1.5"),
            ("/a/list/0", "x"),
            ("/a/list/1/y", "z"),
            ("/a/n", "12"),
            ("/a/t", "true"),
            ("/base/k", "v"),
            ("/copy/k", "v"),
            ("/go/0", "8"),
            ("/go/1", "true"),
            ("/go/2", "1000"),
            ("/go/3", "12345678901234567890"),
        ];
        assert_eq!(flat(&node), pairs(&expected));
        assert_eq!(yaml("# nothing\n---\n"), Ok(Node::Nothing));
        assert_eq!(
            flat(&yaml("{\"a\": {\"b\": \"c\"}}").expect("JSON is YAML")),
            pairs(&[("/a/b", "c")])
        );
    }

    #[test]
    fn toml_is_flattened_alike() {
        let node = toml("top = 1\n[a]\nb = \"text\"\nlist = [1.5, true]\n").expect("it is valid");
        let expected =
            [("/a/b", "text"), ("/a/list/0", "1.5"), ("/a/list/1", "true"), ("/top", "1")];
        assert_eq!(flat(&node), pairs(&expected));
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        assert_eq!(yaml("a: 1\nb: [\n").expect_err("it ends too early").0, 2);
        assert_eq!(toml("a = 1\nb = \n").expect_err("there is no value").0, 2);
    }
}
