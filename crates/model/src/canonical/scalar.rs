//! Single values: texts, numbers, times, sizes, paths.

use brickyard_core::size::{duration_text, parse_bytes, parse_duration_ns};
use camino::{Utf8Path, Utf8PathBuf};

use super::{Canonical, What};
use crate::findings;
use crate::spec::Shape;
use crate::tree::{Kind, Node};

impl Canonical<'_> {
    /// Writes out a single value; whether it is one is returned.
    pub(super) fn scalar(&mut self, node: &mut Node, shape: &Shape, what: What<'_>) -> bool {
        let Kind::Scalar { text, plain } = &node.kind else {
            self.wrong_type(what, wanted(shape).1, node);
            return false;
        };
        if node.is_null() {
            self.wrong_type(what, wanted(shape).1, node);
            return false;
        }
        let text = text.to_string();
        if self.keeps_variables && text.contains('$') {
            return true;
        }
        match self.read(&text, *plain, shape) {
            Some((text, plain)) => {
                node.kind = Kind::Scalar { text: text.into(), plain };
                true
            }
            None => {
                self.no_value(&text, shape, what, node);
                false
            }
        }
    }

    /// The text of a value as it is shown, and whether it needs no quotes because it is no text.
    fn read(&self, text: &str, plain: bool, shape: &Shape) -> Option<(String, bool)> {
        let trimmed = text.trim();
        Some(match shape {
            Shape::Text => (text.to_owned(), false),
            Shape::Path => (self.path(text).into_string(), false),
            Shape::Context if is_remote(text) => (text.to_owned(), false),
            Shape::Context => (self.path(text).into_string(), false),
            Shape::Bool => (parse_bool(trimmed)?.to_string(), true),
            Shape::Int => (parse_int(trimmed)?.to_string(), true),
            Shape::Number => {
                let number: f32 = trimmed.parse().ok().filter(|number: &f32| number.is_finite())?;
                (number.to_string(), true)
            }
            Shape::Duration => (duration_text(parse_duration_ns(trimmed)?), false),
            Shape::Bytes if trimmed == "-1" => (trimmed.to_owned(), false),
            Shape::Bytes => (parse_bytes(trimmed)?.to_string(), false),
            Shape::Mode => (format!("0{:o}", parse_mode(trimmed, plain)?), false),
            Shape::ModeNumber => (parse_mode(trimmed, plain)?.to_string(), true),
            Shape::Word(words) => (words.iter().find(|word| **word == text)?.to_string(), false),
            _ => return None,
        })
    }

    fn no_value(&mut self, text: &str, shape: &Shape, what: What<'_>, node: &Node) {
        self.diagnostics.push(match shape {
            Shape::Word(words) => findings::no_word(text, &what.to_string(), words, node),
            _ => findings::no_value(text, &what.to_string(), wanted(shape).0, node),
        });
    }

    /// An absolute path without `.` and `..`.
    fn path(&self, text: &str) -> Utf8PathBuf {
        let path = match (text.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                Utf8Path::new(home).join(rest.trim_start_matches('/'))
            }
            _ => text.into(),
        };
        clean(&self.directory.join(path))
    }
}

/// What a value must be, in full and in short.
fn wanted(shape: &Shape) -> (&'static str, &'static str) {
    match shape {
        Shape::Bool => ("true or false", "true or false"),
        Shape::Int => ("a whole number", "a number"),
        Shape::Number => ("a number as 0.5 or 2", "a number"),
        Shape::Duration => ("a duration as 500ms, 10s or 1m30s", "a duration"),
        Shape::Bytes => ("a size as 64m or 1.5g", "a size"),
        Shape::Mode | Shape::ModeNumber => {
            ("permission bits in octal, as \"0644\"", "permission bits")
        }
        _ => ("text", "text"),
    }
}

/// Where a build context comes from that is no directory.
pub(crate) fn is_remote(text: &str) -> bool {
    let schemes = ["git@", "github.com/", "docker-image:", "oci-layout:", "service:", "target:"];
    text.contains("://") || schemes.iter().any(|scheme| text.starts_with(scheme))
}

/// Removes `.`, `..` and doubled slashes by the text alone.
pub(crate) fn clean(path: &Utf8Path) -> Utf8PathBuf {
    use camino::Utf8Component;
    let mut out = Utf8PathBuf::new();
    for part in path.components() {
        match part {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// Booleans as YAML 1.1 and 1.2 write them.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// Whole numbers as YAML writes them.
fn parse_int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = match digits.split_at_checked(2) {
        Some(("0x", digits)) => i64::from_str_radix(digits, 16).ok()?,
        Some(("0o", digits)) => i64::from_str_radix(digits, 8).ok()?,
        _ if digits.starts_with(|c: char| c.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    Some(sign * number)
}

/// Permission bits: in octal, except for a bare number that YAML takes for a decimal one.
fn parse_mode(text: &str, plain: bool) -> Option<u32> {
    let is_decimal = plain && !text.starts_with('0');
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, if is_decimal { 10 } else { 8 }).ok()?;
    Some(mode).filter(|mode| *mode <= 0o7777)
}
