//! Paths of keys, as Go's `path` has them: cleaning, base, directory, and patterns.

/// The shortest path that means the same.
#[must_use]
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The last part.
#[must_use]
pub fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some(last) if !last.is_empty() => last,
        _ => "/",
    }
}

/// Parts put together with slashes, cleaned; empty ones are left out.
#[must_use]
pub fn join(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { String::new() } else { clean(&parts.join("/")) }
}

/// All but the last part.
#[must_use]
pub fn dir(path: &str) -> String {
    let end = path.rfind('/').map_or(0, |slash| slash + 1);
    clean(&path[..end])
}

/// A pattern is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// `*`: any characters but `/`.
    Star,
    /// `?`: one character but `/`.
    Any,
    /// Itself.
    Char(char),
    /// `[a-z]`, or `[^a-z]`. Go lets a negated class match `/`.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A pattern that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What follows the prefix.
    pieces: Vec<Piece>,
    /// What every match begins with.
    prefix: String,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`BadPattern`] where a class or an escape does not end.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let mut pieces = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(found) = rest.next() {
            pieces.push(match found {
                '*' => Piece::Star,
                '?' => Piece::Any,
                '\\' => Piece::Char(rest.next().ok_or(BadPattern)?),
                '[' => {
                    let negated = rest.next_if_eq(&'^').is_some();
                    let ranges = class(&mut rest)?;
                    Piece::Class { negated, ranges }
                }
                found => Piece::Char(found),
            });
        }
        let literal = pieces.iter().map_while(|piece| match piece {
            Piece::Char(found) => Some(*found),
            _ => None,
        });
        let prefix: String = literal.collect();
        pieces.drain(..prefix.chars().count());
        Ok(Self { pieces, prefix })
    }

    /// The text that every match begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(self.prefix.as_bytes()) else {
            return false;
        };
        match self.pieces.as_slice() {
            [] => rest.is_empty(),
            // What nearly all patterns are.
            [Piece::Star] => !rest.contains(&b'/'),
            _ => self.matches_pieces(rest),
        }
    }

    fn matches_pieces(&self, rest: &[u8]) -> bool {
        // Each byte that is none of a character stands for the replacement character.
        let chunk = |chunk: std::str::Utf8Chunk<'_>| {
            let bad = std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len());
            chunk.valid().chars().chain(bad).collect::<Vec<char>>()
        };
        let rest: Vec<char> = rest.utf8_chunks().flat_map(chunk).collect();
        // `reached` holds how far the pieces so far can have come; no backtracking, so a
        // pattern of many stars costs no more than its length times the text's.
        let mut reached = vec![false; rest.len() + 1];
        let mut next = reached.clone();
        reached[0] = true;
        for piece in &self.pieces {
            for at in 0..=rest.len() {
                next[at] = if *piece == Piece::Star {
                    reached[at] || (at > 0 && next[at - 1] && rest[at - 1] != '/')
                } else {
                    at > 0 && reached[at - 1] && one(piece, rest[at - 1])
                };
            }
            std::mem::swap(&mut reached, &mut next);
        }
        reached[rest.len()]
    }
}

fn one(piece: &Piece, found: char) -> bool {
    match piece {
        Piece::Star => false,
        Piece::Any => found != '/',
        Piece::Char(expected) => *expected == found,
        Piece::Class { negated, ranges } => {
            let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&found));
            inside != *negated
        }
    }
}

fn class(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> Result<Vec<(char, char)>, BadPattern> {
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.next_if_eq(&']').is_some() {
            return Ok(ranges);
        }
        let low = class_char(rest)?;
        let high = match rest.next_if_eq(&'-') {
            Some(_) => class_char(rest)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn class_char(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    match rest.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => rest.next().ok_or(BadPattern),
        Some(found) => Ok(found),
    }
}
