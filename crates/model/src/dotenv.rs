//! `.env` and `env_file` files in Compose's format.
//!
//! `KEY=value`, an optional `export` before it, `#` comments (after white space, at a line's end),
//! single quotes (literal), double quotes (escapes and variables), both over several lines. Unquoted
//! and double-quoted values may use variables of the environment and of earlier lines. A key without
//! `=` takes its value from the environment.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use brickyard_core::{Diagnostic, Diagnostics, Source};

use crate::codes;
use crate::interpolate::{Finding, substitute};

/// Reads a file's text. `environment` wins over earlier lines where a value uses a variable.
#[must_use]
pub fn parse(
    source: &Arc<Source>,
    environment: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Diagnostics) {
    let mut reader =
        Reader { source, at: 0, environment, variables: BTreeMap::new(), diagnostics: Vec::new() };
    if source.text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    while reader.at < source.text.len() {
        reader.entry();
    }
    (reader.variables, reader.diagnostics)
}

/// Variables of several files: a later one knows what earlier ones say, and what is set outside counts
/// more than all of them.
pub(crate) struct Layered<'a> {
    outside: &'a BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

impl<'a> Layered<'a> {
    pub(crate) fn new(outside: &'a BTreeMap<String, String>) -> Self {
        Self { outside, variables: BTreeMap::new() }
    }

    /// Reads a further file.
    pub(crate) fn add(&mut self, source: &Arc<Source>) -> Diagnostics {
        let mut known = self.variables.clone();
        known.extend(self.outside.clone());
        let (found, findings) = parse(source, &known);
        self.variables.extend(found);
        findings
    }

    /// All variables.
    pub(crate) fn finish(mut self) -> BTreeMap<String, String> {
        self.variables.extend(self.outside.clone());
        self.variables
    }
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    at: usize,
    environment: &'a BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    diagnostics: Diagnostics,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.source.text[self.at..]
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(skipped).len();
    }

    fn skip_line(&mut self) {
        self.at += self.line_length();
    }

    fn line_length(&self) -> usize {
        let rest = self.rest();
        rest.find('\n').unwrap_or(rest.len())
    }

    fn error(&mut self, message: impl Into<String>, span: Range<usize>) {
        let found = Diagnostic::error(codes::BAD_ENV_FILE, message).at(self.source, span, "");
        self.diagnostics.push(found);
    }

    /// One line, or more when a quoted value spans them.
    fn entry(&mut self) {
        self.skip(char::is_whitespace);
        if self.rest().is_empty() || self.rest().starts_with('#') {
            return self.skip_line();
        }
        let after_export =
            self.rest().strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
        if let Some(rest) = after_export {
            self.at = self.source.text.len() - rest.len();
            self.skip(|c| c == ' ' || c == '\t');
        }
        let start = self.at;
        self.skip(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']'));
        let key = self.source.text[start..self.at].to_owned();
        self.skip(|c| c == ' ' || c == '\t');
        let separator = self.rest().chars().next();
        match separator {
            _ if key.is_empty() => {
                let end = start + self.line_length();
                self.error("a line must begin with a variable's name", start..end);
                self.skip_line();
            }
            Some('=' | ':') => {
                self.at += 1;
                self.skip(|c| c == ' ' || c == '\t');
                let value = self.value();
                self.variables.insert(key, value);
            }
            None | Some('\n' | '\r' | '#') => {
                self.skip_line();
                if let Some(value) = self.environment.get(&key) {
                    self.variables.insert(key, value.clone());
                }
            }
            Some(_) => {
                let end = self.at + self.line_length();
                self.error(format!("`=` is missing after `{key}`"), start..end);
                self.skip_line();
            }
        }
    }

    fn value(&mut self) -> String {
        match self.rest().chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => self.unquoted(),
        }
    }

    fn unquoted(&mut self) -> String {
        let start = self.at;
        let line = &self.source.text[start..start + self.line_length()];
        let mut end = line.len();
        for (index, _) in line.match_indices('#') {
            if index == 0 || line[..index].ends_with([' ', '\t']) {
                end = index;
                break;
            }
        }
        let text = line[..end].trim_end().to_owned();
        self.skip_line();
        self.expand(&text, start..start + text.len())
    }

    fn quoted(&mut self, quote: char) -> String {
        let start = self.at;
        self.at += 1;
        let mut raw = String::new();
        let mut escaped = false;
        let mut closed = false;
        for c in self.source.text[self.at..].chars() {
            self.at += c.len_utf8();
            if escaped {
                unescape(c, quote, &mut raw);
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                closed = true;
                break;
            } else {
                raw.push(c);
            }
        }
        if !closed {
            let end = start + self.source.text[start..].find('\n').unwrap_or(1);
            self.error("this quote is never closed", start..end);
            return String::new();
        }
        let span = start..self.at;
        self.skip(|c| c == ' ' || c == '\t' || c == '\r');
        if !self.rest().is_empty() && !self.rest().starts_with(['\n', '#']) {
            let end = self.at + self.line_length();
            self.error("nothing may follow the closing quote", self.at..end);
        }
        self.skip_line();
        match quote {
            '"' => self.expand(&raw, span),
            _ => raw,
        }
    }

    fn expand(&mut self, text: &str, span: Range<usize>) -> String {
        let mut findings = Vec::new();
        let lookup = |name: &str| {
            let known = self.environment.get(name);
            known.or_else(|| self.variables.get(name)).cloned()
        };
        let expanded = substitute(text, &lookup, &mut findings);
        for finding in findings {
            match finding {
                // As in a shell, an unset variable is simply empty here.
                Finding::Unset { .. } => {}
                Finding::Required { name, message } => {
                    let message = format!("the variable `{name}` must be set: {message}");
                    self.error(message, span.clone());
                }
                Finding::Invalid { rest } => {
                    let message = format!("`{rest}` is no variable expression; write $$ for $");
                    self.error(message, span.clone());
                }
            }
        }
        expanded
    }
}

/// What `\c` stands for. A dollar sign is doubled so that it survives the expansion.
fn unescape(c: char, quote: char, out: &mut String) {
    match (quote, c) {
        ('"', 'n') => out.push('\n'),
        ('"', 'r') => out.push('\r'),
        ('"', 't') => out.push('\t'),
        ('"', '$') => out.push_str("$$"),
        ('"', '"' | '\\') | ('\'', '\'') => out.push(c),
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
        let environment = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        let (variables, diagnostics) = parse(&Source::new(".env", text), &environment);
        let messages = diagnostics.into_iter().map(|found| found.message);
        (variables, messages.collect())
    }

    #[test]
    fn every_form_is_read() {
        let (variables, messages) = read(
            "# comment\n\nPLAIN=a b\nexport EXPORTED = x\nINLINE=v # comment\nHASH=a#b\nEMPTY=\n\
             COMMENTED= # nothing\nSINGLE='$HOME \\n it'\nDOUBLE=\"$HOME\\tq\\\"q \\$x\" # c\n\
             MULTI=\"one\ntwo\"\nUSES=${PLAIN}/$HOME/${NO:-d}\nHOME\nYAML: y\r\nLAST=1",
        );
        let expected = [
            ("COMMENTED", ""),
            ("DOUBLE", "/root\tq\"q $x"),
            ("EMPTY", ""),
            ("EXPORTED", "x"),
            ("HASH", "a#b"),
            ("HOME", "/root"),
            ("INLINE", "v"),
            ("LAST", "1"),
            ("MULTI", "one\ntwo"),
            ("PLAIN", "a b"),
            ("SINGLE", "$HOME \\n it"),
            ("USES", "a b//root/d"),
            ("YAML", "y"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(messages, Vec::<String>::new());
        assert_eq!(variables, BTreeMap::from(expected));
    }

    #[test]
    fn broken_lines_are_all_reported_and_the_rest_is_read() {
        let (variables, messages) = read("=x\nA B\nC=1\nD=\"a\" b\nE='never\n");
        assert_eq!(
            messages,
            [
                "a line must begin with a variable's name",
                "`=` is missing after `A`",
                "nothing may follow the closing quote",
                "this quote is never closed",
            ]
        );
        assert_eq!(variables["C"], "1");
    }
}
