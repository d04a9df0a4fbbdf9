//! Words of an instruction: quotes, escapes and variables, as Docker's builder reads them.

use std::ops::Range;

/// Deepest nesting of defaults.
const DEPTH_MAX: usize = 16;

/// Splits at white space outside of quotes; quotes and escapes stay in the words.
pub(crate) fn split(text: &str, escape: char) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            _ if c == escape && quote != Some('\'') => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c.is_whitespace() => {
                words.extend(start.take().map(|start| start..at));
                continue;
            }
            None => {}
        }
        start.get_or_insert(at);
    }
    words.extend(start.map(|start| start..text.len()));
    words
}

/// Takes quotes and escapes away and puts variables in. `Err` says what is wrong.
pub(crate) fn expand(
    text: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut reader = Reader { rest: text, escape, lookup };
    reader.until(None, 0)
}

struct Reader<'a> {
    rest: &'a str,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Reads up to the end, or up to and with `end`.
    fn until(&mut self, end: Option<char>, depth: usize) -> Result<String, String> {
        let mut out = String::new();
        while let Some(c) = self.take() {
            match c {
                _ if Some(c) == end => return Ok(out),
                '\'' => self.single_quoted(&mut out)?,
                '"' => self.double_quoted(&mut out, depth)?,
                '$' => self.variable(&mut out, depth)?,
                _ if c == self.escape => out.extend(self.take()),
                _ => out.push(c),
            }
        }
        match end {
            Some(end) => Err(format!("a `{end}` is missing")),
            None => Ok(out),
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), String> {
        let end = self.rest.find('\'').ok_or("a quote is never closed")?;
        out.push_str(&self.rest[..end]);
        self.rest = &self.rest[end + 1..];
        Ok(())
    }

    fn double_quoted(&mut self, out: &mut String, depth: usize) -> Result<(), String> {
        while let Some(c) = self.take() {
            match c {
                '"' => return Ok(()),
                '$' => self.variable(out, depth)?,
                _ if c == self.escape => match self.take() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        out.push(next);
                    }
                    Some(next) => out.extend([c, next]),
                    None => break,
                },
                _ => out.push(c),
            }
        }
        Err("a quote is never closed".to_owned())
    }

    fn name(&mut self) -> String {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = self.rest.find(|c| !valid(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        name.to_owned()
    }

    fn variable(&mut self, out: &mut String, depth: usize) -> Result<(), String> {
        if !self.rest.starts_with('{') {
            let name = self.name();
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(&(self.lookup)(&name).unwrap_or_default());
            }
            return Ok(());
        }
        if depth > DEPTH_MAX {
            return Err("variables are nested too deep".to_owned());
        }
        self.take();
        let name = self.name();
        let mut value = (self.lookup)(&name);
        let mut operator = self.take();
        if name.is_empty() {
            return Err("`${` needs a variable's name".to_owned());
        }
        if operator == Some(':') {
            value = value.filter(|value| !value.is_empty());
            operator = self.take();
        } else if operator == Some('}') {
            out.push_str(&value.unwrap_or_default());
            return Ok(());
        }
        let word = self.until(Some('}'), depth + 1)?;
        match (operator, value) {
            (Some('-'), value) => out.push_str(&value.unwrap_or(word)),
            (Some('+'), Some(_)) => out.push_str(&word),
            (Some('+'), None) => {}
            (Some('?'), Some(value)) => out.push_str(&value),
            (Some('?'), None) => return Err(format!("`{name}` must be set: {word}")),
            _ => return Err(format!("`${{{name}` has a modifier that is not supported")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, String> {
        expand(text, '\\', &|name| (name == "V").then(|| "v".to_owned()))
    }

    #[test]
    fn words_and_variables() {
        for (text, expected) in [
            ("$V-${V}-${N:-d}-${V:+r}-${N:+r}", "v-v-d-r-"),
            (r#""a $V \" \n"'$V'\$V"#, r#"a v " \n$V$V"#),
            ("${N:-${V}x}", "vx"),
            ("a$", "a$"),
        ] {
            assert_eq!(run(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["'a", "\"a", "${V", "${}", "${V:!x}", "${N:?why}"] {
            assert!(run(text).is_err(), "{text}");
        }
        assert!(run(&"${A:-".repeat(1000)).is_err());
        let words = |text: &'static str| -> Vec<&str> {
            split(text, '\\').into_iter().map(|range| &text[range]).collect()
        };
        assert_eq!(words(r#"a="b c" d\ e  'f g'"#), [r#"a="b c""#, r"d\ e", "'f g'"]);
    }
}
