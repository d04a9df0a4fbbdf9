//! A Dockerfile as logical lines: continued lines are joined, comments are gone, and every byte
//! still knows where it came from.

use std::ops::Range;

/// One instruction's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The joined text, without white space at its ends.
    pub(crate) text: String,
    /// Pieces of the source: offset in `text`, offset in the source.
    pieces: Vec<(usize, usize)>,
}

impl Line {
    /// The range of the source that a range of the text comes from.
    pub(crate) fn span(&self, range: Range<usize>) -> Range<usize> {
        let start = self.source_offset(range.start);
        let last = range.end.saturating_sub(1).max(range.start);
        start..self.source_offset(last).max(start) + usize::from(range.end > range.start)
    }

    fn source_offset(&self, offset: usize) -> usize {
        let piece = self.pieces.iter().rev().find(|(at, _)| *at <= offset);
        piece.map_or(0, |(at, source)| source + (offset - at))
    }
}

/// The lines of a file and its escape character.
pub(crate) struct Lines<'a> {
    text: &'a str,
    at: usize,
    /// The escape character: a backslash unless a directive says otherwise.
    pub(crate) escape: char,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let escape = escape_directive(&text[at..]).unwrap_or('\\');
        Self { text, at, escape }
    }

    /// The next physical line without its end, and where it starts.
    pub(crate) fn physical(&mut self) -> Option<(usize, &'a str)> {
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return None;
        }
        let start = self.at;
        let length = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        self.at += length;
        Some((start, rest[..length].trim_end_matches(['\n', '\r'])))
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let mut line = Line { text: String::new(), pieces: Vec::new() };
        while let Some((start, physical)) = self.physical() {
            let trimmed = physical.trim_start();
            // Comments and empty lines may stand in the middle of a continued instruction.
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let from = if line.text.is_empty() { trimmed } else { physical };
            let offset = start + (physical.len() - from.len());
            let ended = from.trim_end();
            line.pieces.push((line.text.len(), offset));
            match ended.strip_suffix(self.escape) {
                Some(continued) => line.text.push_str(continued),
                None => {
                    line.text.push_str(ended);
                    return Some(line);
                }
            }
        }
        line.text.truncate(line.text.trim_end().len());
        (!line.text.is_empty()).then_some(line)
    }
}

/// `# escape=C` among the directives at the very top.
fn escape_directive(text: &str) -> Option<char> {
    for line in text.lines() {
        let comment = line.trim().strip_prefix('#')?;
        let (name, value) = comment.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("escape") {
            return match value.trim() {
                "`" => Some('`'),
                _ => Some('\\'),
            };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_know_where_they_came_from() {
        let text = "# c\nFROM a\n\nENV x=1 \\\n  # inside\n\n  y=2\\\n   z\nCMD last \\";
        let lines: Vec<Line> = Lines::new(text).collect();
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["FROM a", "ENV x=1   y=2   z", "CMD last"]);
        let at = lines[1].text.find("y=2").unwrap();
        assert_eq!(&text[lines[1].span(at..at + 3)], "y=2");
    }

    #[test]
    fn the_escape_character_may_be_another() {
        let mut lines = Lines::new("# syntax=x\n# escape=`\nCOPY a\\ `\n b\n");
        assert_eq!(lines.next().unwrap().text, "COPY a\\  b");
        assert_eq!(Lines::new("# note\n# escape=`\n").escape, '\\');
    }
}
