//! Variables in values: `$V ${V} ${V:-default} ${V-default} ${V:?error} ${V?error} ${V:+other}
//! ${V+other}` and `$$` for a dollar sign, nested to any sensible depth.
//!
//! Keys are left alone, as Compose does, and so is everything below `x-brickyard`: its values are
//! templates in which `$x` is a variable of the template language.

use std::collections::{BTreeMap, BTreeSet};

use brickyard_core::{Diagnostic, Diagnostics};

use crate::codes;
use crate::tree::{Kind, Node, Place};

/// Deepest nesting of defaults.
const DEPTH_MAX: usize = 32;

/// What a substitution met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A variable is not set and has no default.
    Unset {
        /// Its name.
        name: String,
    },
    /// A variable that must be set is not.
    Required {
        /// Its name.
        name: String,
        /// What its author says about it; may be empty.
        message: String,
    },
    /// A `$` that starts no expression.
    Invalid {
        /// The rest of the text from the `$` on.
        rest: String,
    },
}

/// Replaces every expression in `text`.
pub fn substitute(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    findings: &mut Vec<Finding>,
) -> String {
    let mut reader = Reader { rest: text, lookup, findings };
    reader.text(None, 0)
}

/// Interpolates all values of a tree except those below `x-brickyard`.
pub fn interpolate(
    root: &mut Node,
    environment: &BTreeMap<String, String>,
    diagnostics: &mut Diagnostics,
) {
    let mut walk = Walk { environment, warned: BTreeSet::new(), diagnostics };
    walk.node(root);
}

struct Walk<'a> {
    environment: &'a BTreeMap<String, String>,
    warned: BTreeSet<String>,
    diagnostics: &'a mut Diagnostics,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node) {
        match &mut node.kind {
            Kind::Scalar { text, plain } => {
                if text.contains('$') {
                    let mut findings = Vec::new();
                    let lookup = |name: &str| self.environment.get(name).cloned();
                    *text = substitute(text, &lookup, &mut findings).into();
                    // What a variable brings is text: an empty one is empty text and not null.
                    *plain = false;
                    for finding in findings {
                        self.report(finding, &node.place);
                    }
                }
            }
            Kind::Sequence(items) => items.iter_mut().for_each(|item| self.node(item)),
            Kind::Mapping(entries) => {
                for entry in entries.iter_mut().filter(|entry| entry.key != "x-brickyard") {
                    self.node(&mut entry.value);
                }
            }
        }
    }

    fn report(&mut self, finding: Finding, place: &Place) {
        let (diagnostic, wanted) = match finding {
            Finding::Unset { name } => {
                if !self.warned.insert(name.clone()) {
                    return;
                }
                let message = format!("the variable `{name}` is not set and becomes empty");
                let hint = format!("set it in the environment or in .env, or write ${{{name}:-}}");
                let found = Diagnostic::warning(codes::UNSET_VARIABLE, message).hint(hint);
                (found, name)
            }
            Finding::Required { name, message } => {
                let said = if message.is_empty() { String::new() } else { format!(": {message}") };
                let message = format!("the variable `{name}` must be set{said}");
                (Diagnostic::error(codes::REQUIRED_VARIABLE, message), name)
            }
            Finding::Invalid { rest } => {
                let shown: String = rest.chars().take(20).collect();
                let message = format!("`{shown}` is no variable expression");
                let found = Diagnostic::error(codes::BAD_INTERPOLATION, message)
                    .hint("write ${NAME}, or $$ for a dollar sign");
                (found, rest)
            }
        };
        let span = narrow(place, &wanted);
        self.diagnostics.push(diagnostic.at(&place.source, span, ""));
    }
}

/// The part of a value's source that holds `wanted`, or all of it.
fn narrow(place: &Place, wanted: &str) -> std::ops::Range<usize> {
    let whole = place.span.clone();
    let found = place.source.text.get(whole.clone()).and_then(|text| text.find(wanted));
    match found {
        Some(at) => whole.start + at..whole.start + at + wanted.len(),
        None => whole,
    }
}

struct Reader<'a> {
    rest: &'a str,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    /// Text up to the end, or up to `end` outside of an expression, which is consumed.
    fn text(&mut self, end: Option<char>, depth: usize) -> String {
        let mut out = String::new();
        while let Some(c) = self.rest.chars().next() {
            if Some(c) == end {
                return out;
            }
            if c == '$' {
                self.expression(&mut out, depth);
            } else {
                out.push(c);
                self.rest = &self.rest[c.len_utf8()..];
            }
        }
        out
    }

    fn expression(&mut self, out: &mut String, depth: usize) {
        let from = self.rest;
        let after = &from[1..];
        if let Some(rest) = after.strip_prefix('$') {
            out.push('$');
            self.rest = rest;
        } else if let Some(rest) = after.strip_prefix('{') {
            self.rest = rest;
            let value = (depth < DEPTH_MAX).then(|| self.braced(depth)).flatten();
            match value {
                Some(value) => out.push_str(&value),
                None => self.invalid(from),
            }
        } else {
            let length = name_length(after);
            if length == 0 {
                return self.invalid(from);
            }
            self.rest = &after[length..];
            out.push_str(&self.value_or_unset(&after[..length]));
        }
    }

    /// The rest is not looked at again: one finding for one broken text is enough.
    fn invalid(&mut self, from: &str) {
        self.findings.push(Finding::Invalid { rest: from.to_owned() });
        self.rest = "";
    }

    fn value_or_unset(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            self.findings.push(Finding::Unset { name: name.to_owned() });
            String::new()
        })
    }

    /// What follows `${`, up to and with the closing brace; `None` when it is malformed.
    fn braced(&mut self, depth: usize) -> Option<String> {
        let length = name_length(self.rest);
        let (name, rest) = self.rest.split_at(length);
        let operator_length = if rest.starts_with(':') { 2 } else { 1 };
        let operator = rest.get(..operator_length)?;
        if length == 0 {
            return None;
        }
        self.rest = &rest[operator_length..];
        let value = (self.lookup)(name);
        let value = match operator.starts_with(':') {
            true => value.filter(|value| !value.is_empty()),
            false => value,
        };
        if operator == "}" {
            return Some(self.value_or_unset(name));
        }
        let word_findings = self.findings.len();
        let word = self.text(Some('}'), depth + 1);
        self.rest = self.rest.strip_prefix('}')?;
        let (result, word_counts) = match (operator.trim_start_matches(':'), value) {
            ("-", Some(value)) => (value, false),
            ("-", None) => (word, true),
            ("+", Some(_)) => (word, true),
            ("+", None) => (String::new(), false),
            ("?", Some(value)) => (value, false),
            ("?", None) => {
                self.findings.truncate(word_findings);
                self.findings.push(Finding::Required { name: name.to_owned(), message: word });
                return Some(String::new());
            }
            _ => return None,
        };
        if !word_counts {
            // A default that is not used may name variables that are not set.
            self.findings.truncate(word_findings);
        }
        Some(result)
    }
}

fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let starts = bytes.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    if !starts {
        return 0;
    }
    bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> (String, Vec<Finding>) {
        let lookup = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let mut findings = Vec::new();
        let out = substitute(text, &lookup, &mut findings);
        (out, findings)
    }

    #[test]
    fn every_form_of_the_specification() {
        for (text, expected) in [
            ("$SET-${SET}", "value-value"),
            ("${NONE:-d} ${EMPTY:-d} ${SET:-d}", "d d value"),
            ("${NONE-d} ${EMPTY-d} ${SET-d}", "d  value"),
            ("${NONE:+r} ${EMPTY:+r} ${SET:+r}", "  r"),
            ("${NONE+r} ${EMPTY+r} ${SET+r}", " r r"),
            ("${SET:?e}${SET?e}${EMPTY?e}", "valuevalue"),
            ("$$SET $${SET}", "$SET ${SET}"),
            ("${NONE:-${EMPTY:-${SET}}}!", "value!"),
            ("${SET:-${NONE}}", "value"),
            ("${NONE:-a b:c-d}", "a b:c-d"),
        ] {
            assert_eq!(run(text), (expected.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn findings_name_the_variable() {
        let unset = |name: &str| Finding::Unset { name: name.into() };
        assert_eq!(run("a$NONE"), ("a".into(), vec![unset("NONE")]));
        let required =
            |message: &str| Finding::Required { name: "NONE".into(), message: message.into() };
        assert_eq!(run("${NONE:?say $SET}").1, [required("say value")]);
        assert_eq!(run("${NONE?}").1, [required("")]);
    }

    #[test]
    fn broken_expressions_are_found() {
        for text in ["$", "a $ b", "${", "${}", "${SET", "${SET:}", "${SET!x}", "${SET:-", "$1"] {
            let findings = run(text).1;
            assert!(
                matches!(findings.last(), Some(Finding::Invalid { .. })),
                "{text}: {findings:?}"
            );
        }
        run(&"${A:-".repeat(10_000));
    }
}
