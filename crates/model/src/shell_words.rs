//! Splitting a command line into words, as Compose does for `command: some text`.
//!
//! No shell is involved: quotes and backslashes group, nothing is expanded and operators such as
//! `;` or `|` are ordinary characters.

/// The words, or `None` when a quote is never closed or a backslash ends the text.
#[must_use]
pub fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().push(chars.next()?),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Whether the text has an operator that only a shell would understand outside of quotes.
pub(crate) fn wants_a_shell(words: &[String]) -> bool {
    let operators = ["|", "||", "&&", "&", ";", ">", ">>", "<"];
    words.iter().any(|word| operators.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_grouped_by_quotes_and_backslashes() {
        for (text, expected) in [
            ("nginx -g 'daemon off;'", vec!["nginx", "-g", "daemon off;"]),
            (r#"a "b \"c\"" d\ e "" f"#, vec!["a", "b \"c\"", "d e", "", "f"]),
            ("  x\n\ty  ", vec!["x", "y"]),
            ("x'y'z", vec!["xyz"]),
            ("", vec![]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(split(text), Some(expected), "{text}");
        }
        assert_eq!(split("a 'b"), None);
        assert_eq!(split("a\\"), None);
        assert!(wants_a_shell(&split("a && b").unwrap()));
        assert!(!wants_a_shell(&split("a 'b;c'").unwrap()));
    }
}
