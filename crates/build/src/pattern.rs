//! Go's `filepath.Match` with `**` on top, as COPY sources and `.dockerignore` need it.

use std::collections::BTreeSet;

/// A pattern over paths with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Char(char),
    /// `?`: one character but no slash.
    One,
    /// `*`: any characters but no slash.
    Some,
    /// `**/`: nothing, or anything that ends with a slash.
    Directories,
    /// `**` elsewhere: anything.
    Anything,
    /// `[...]`: one of these ranges, or none of them.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern; `**` is two single stars unless `deep` is set. `None` when it is malformed.
    pub(crate) fn new(text: &str, deep: bool) -> Option<Self> {
        let chars: Vec<char> = text.chars().collect();
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let (piece, length) = match (chars[at], chars.get(at + 1), chars.get(at + 2)) {
                ('*', Some('*'), Some('/')) if deep => (Piece::Directories, 3),
                ('*', Some('*'), _) if deep => (Piece::Anything, 2),
                ('*', _, _) => (Piece::Some, 1),
                ('?', _, _) => (Piece::One, 1),
                ('\\', next, _) => (Piece::Char(*next?), 2),
                ('[', _, _) => class(&chars[at..])?,
                (c, _, _) => (Piece::Char(c), 1),
            };
            pieces.push(piece);
            at += length;
        }
        Some(Self(pieces))
    }

    /// Whether the whole path is matched.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let text: Vec<char> = path.chars().collect();
        // Every pair of positions is tried once, so that no pattern takes exponential time.
        let mut open = vec![(0, 0)];
        let mut seen = BTreeSet::new();
        while let Some((piece, at)) = open.pop() {
            if piece == self.0.len() && at == text.len() {
                return true;
            }
            if piece >= self.0.len() || !seen.insert((piece, at)) {
                continue;
            }
            let next = text.get(at).copied();
            match &self.0[piece] {
                Piece::Some | Piece::Anything => {
                    open.push((piece + 1, at));
                    let deep = self.0[piece] == Piece::Anything;
                    if next.is_some_and(|c| deep || c != '/') {
                        open.push((piece, at + 1));
                    }
                }
                Piece::Directories => {
                    open.push((piece + 1, at));
                    let slashes = (at..text.len()).filter(|at| text[*at] == '/');
                    open.extend(slashes.map(|at| (piece + 1, at + 1)));
                }
                single => {
                    if next.is_some_and(|c| single.takes(c)) {
                        open.push((piece + 1, at + 1));
                    }
                }
            }
        }
        false
    }
}

impl Piece {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(own) => *own == c,
            Self::One => c != '/',
            Self::Class { negated, ranges } => {
                let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                c != '/' && inside != *negated
            }
            Self::Some | Self::Anything | Self::Directories => false,
        }
    }
}

fn class(chars: &[char]) -> Option<(Piece, usize)> {
    let negated = matches!(chars.get(1), Some('^' | '!'));
    let mut at = 1 + usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        if *chars.get(at)? == ']' && !ranges.is_empty() {
            return Some((Piece::Class { negated, ranges }, at + 1));
        }
        let from = one(chars, &mut at)?;
        let to = match chars.get(at) {
            Some('-') => {
                at += 1;
                one(chars, &mut at)?
            }
            _ => from,
        };
        ranges.push((from, to));
    }
}

fn one(chars: &[char], at: &mut usize) -> Option<char> {
    let mut c = *chars.get(*at)?;
    *at += 1;
    if matches!(c, '-' | ']') {
        return None;
    }
    if c == '\\' {
        c = *chars.get(*at)?;
        *at += 1;
    }
    Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_gos_do() {
        for (pattern, path, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*b", "a*b", true),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("a/**", "a/b/c", true),
            ("a/**/z", "a/z", true),
            ("**", "any/thing", true),
            ("a*b*c", "aXbYc", true),
        ] {
            let found = Pattern::new(pattern, true).unwrap().matches(path);
            assert_eq!(found, expected, "{pattern} {path}");
        }
        assert!(!Pattern::new("**/x", false).unwrap().matches("a/b/x"));
        for bad in ["[", "[a", "a\\", "[]", "[a-]"] {
            assert_eq!(Pattern::new(bad, true), None, "{bad}");
        }
        let slow = "*a".repeat(30);
        assert!(!Pattern::new(&slow, true).unwrap().matches(&"a".repeat(29)));
    }
}
