//! `.dockerignore`: which files of the context are none.

use crate::pattern::Pattern;

/// The patterns of a file, in order; the last one that matches a path or a parent of it decides.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<(bool, Pattern)>,
}

impl Ignore {
    /// Reads a file. `Err` is the line that is malformed, with its number from 1.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut rules = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (again, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let cleaned = clean(pattern);
            if cleaned.is_empty() {
                continue;
            }
            let pattern = Pattern::new(&cleaned, true);
            rules.push((again, pattern.ok_or_else(|| (index + 1, line.to_owned()))?));
        }
        Ok(Self { rules })
    }

    /// Whether a path of the context is left out.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for (again, pattern) in &self.rules {
            // Only a rule that would change the answer needs to be asked.
            if *again == excluded && matches_or_parent(pattern, path) {
                excluded = !*again;
            }
        }
        excluded
    }

    /// Whether something below an excluded directory may be taken back in.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|(again, _)| *again)
    }
}

fn matches_or_parent(pattern: &Pattern, path: &str) -> bool {
    let ends = path.match_indices('/').map(|(slash, _)| slash);
    ends.chain([path.len()]).any(|end| pattern.matches(&path[..end]))
}

/// Go's `filepath.Clean` without a leading slash.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_matching_rule_decides() {
        let ignore = Ignore::parse(
            "# comment\n\n*.md\n!README.md\n/target/\n**/*.log\nsecret\n!secret/public\n!sub/*.log\nsub/x.log\n",
        )
        .unwrap();
        for (path, excluded) in [
            ("a.md", true),
            ("README.md", false),
            ("docs/a.md", false),
            ("target", true),
            ("target/debug/x", true),
            ("deep/in/a.log", true),
            ("a.log", true),
            ("secret/key", true),
            ("secret/public/a", false),
            ("sub/a.log", false),
            ("sub/x.log", true),
            ("src/main.rs", false),
        ] {
            assert_eq!(ignore.excludes(path), excluded, "{path}");
        }
        assert!(ignore.has_exceptions());
        assert_eq!(Ignore::parse("a\n[\n").unwrap_err(), (2, "[".to_owned()));
        assert!(Ignore::parse("*\n!keep\n").unwrap().excludes("other"));
    }
}
