//! The lexer: text and actions into items, with Go's trimming rules.
//!
//! Trim markers are dealt with here and the parser never sees them: `{{- ` takes the space before
//! it away, ` -}}` the space after it. Lines are counted as Go counts them, because error texts
//! name them.

use std::borrow::Cow;

use crate::quote::{code_point, decode, is_alphanumeric, quote};

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Kind {
    /// Keywords are shown as `<word>` in errors.
    pub(crate) fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Block
                | Self::Break
                | Self::Continue
                | Self::Dot
                | Self::Define
                | Self::Else
                | Self::End
                | Self::If
                | Self::Nil
                | Self::Range
                | Self::Template
                | Self::With
        )
    }
}

fn keyword(word: &[u8]) -> Option<Kind> {
    Some(match word {
        b"block" => Kind::Block,
        b"break" => Kind::Break,
        b"continue" => Kind::Continue,
        b"define" => Kind::Define,
        b"else" => Kind::Else,
        b"end" => Kind::End,
        b"if" => Kind::If,
        b"nil" => Kind::Nil,
        b"range" => Kind::Range,
        b"template" => Kind::Template,
        b"with" => Kind::With,
        b"true" | b"false" => Kind::Bool,
        _ => return None,
    })
}

/// A piece of the template. The text of an error is kept by the lexer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) kind: Kind,
    pub(crate) position: usize,
    pub(crate) text: &'a [u8],
    pub(crate) line: usize,
}

/// What actions stand between by themselves.
pub(crate) const LEFT: &[u8] = b"{{";
/// Its other half.
pub(crate) const RIGHT: &[u8] = b"}}";
const LEFT_COMMENT: &[u8] = b"/*";
const RIGHT_COMMENT: &[u8] = b"*/";
/// The marker and the space beside it.
const TRIM_MARKER_LENGTH: usize = 2;

/// Reads items one at a time.
pub(crate) struct Lexer<'a> {
    input: &'a [u8],
    left: &'a [u8],
    right: &'a [u8],
    /// What is wrong, once something is.
    pub(crate) error: Cow<'static, str>,
    position: usize,
    start: usize,
    line: usize,
    start_line: usize,
    paren_depth: usize,
    inside_action: bool,
    failed: bool,
}

fn is_space(found: char) -> bool {
    matches!(found, ' ' | '\t' | '\r' | '\n')
}

fn is_space_byte(found: &u8) -> bool {
    matches!(found, b' ' | b'\t' | b'\r' | b'\n')
}

fn trim_spaces_end(text: &[u8]) -> usize {
    text.iter().rev().take_while(|found| is_space_byte(found)).count()
}

fn trim_spaces_start(text: &[u8]) -> usize {
    text.iter().take_while(|found| is_space_byte(found)).count()
}

fn has_left_trim_marker(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if is_space_byte(space))
}

fn has_right_trim_marker(text: &[u8]) -> bool {
    matches!(text, [space, b'-', ..] if is_space_byte(space))
}

/// Where a text is found in another.
pub(crate) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let Some((first, rest)) = wanted.split_first() else {
        return Some(0);
    };
    let mut from = 0;
    while let Some(at) = memchr::memchr(*first, text.get(from..)?) {
        if text[from + at + 1..].starts_with(rest) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a [u8], left: &'a [u8], right: &'a [u8]) -> Self {
        Self {
            input,
            left,
            right,
            error: Cow::Borrowed(""),
            position: 0,
            start: 0,
            line: 1,
            start_line: 1,
            paren_depth: 0,
            inside_action: false,
            failed: false,
        }
    }

    /// The next item. After an error, and after the end, it is always the end.
    pub(crate) fn next_item(&mut self) -> Item<'a> {
        if self.failed {
            return self.end();
        }
        match self.inside_action {
            true => self.inside_action(),
            false => self.text(),
        }
    }

    fn end(&self) -> Item<'a> {
        Item { kind: Kind::Eof, position: self.position, text: b"EOF", line: self.start_line }
    }

    fn rest(&self) -> &'a [u8] {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        match self.input.get(self.position) {
            Some(byte) if byte.is_ascii() => Some(char::from(*byte)),
            Some(_) => Some(decode(self.rest()).0.unwrap_or(char::REPLACEMENT_CHARACTER)),
            None => None,
        }
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.position += match found.is_ascii() {
            true => 1,
            false => decode(self.rest()).1,
        };
        if found == '\n' {
            self.line += 1;
        }
        Some(found)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let accepted = self.peek().is_some_and(|found| valid.contains(found));
        if accepted {
            self.next();
        }
        accepted
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn count_lines(&mut self) {
        let skipped = &self.input[self.start..self.position];
        self.line += memchr::memchr_iter(b'\n', skipped).count();
    }

    fn emit(&mut self, kind: Kind) -> Item<'a> {
        let item = Item {
            kind,
            position: self.start,
            text: &self.input[self.start..self.position],
            line: self.start_line,
        };
        self.start = self.position;
        self.start_line = self.line;
        item
    }

    fn ignore(&mut self) {
        self.count_lines();
        self.start = self.position;
        self.start_line = self.line;
    }

    fn error(&mut self, text: impl Into<Cow<'static, str>>) -> Item<'a> {
        self.failed = true;
        self.error = text.into();
        Item { kind: Kind::Error, position: self.start, text: b"", line: self.start_line }
    }

    fn text(&mut self) -> Item<'a> {
        loop {
            let Some(found) = find(self.rest(), self.left) else {
                self.position = self.input.len();
                if self.position == self.start {
                    return self.end();
                }
                self.count_lines();
                return self.emit(Kind::Text);
            };
            if found > 0 {
                self.position += found;
                let after = &self.input[self.position + self.left.len()..];
                let trimmed = match has_left_trim_marker(after) {
                    true => trim_spaces_end(&self.input[self.start..self.position]),
                    false => 0,
                };
                self.position -= trimmed;
                self.count_lines();
                let item = self.emit(Kind::Text);
                self.position += trimmed;
                self.ignore();
                if !item.text.is_empty() {
                    return item;
                }
            }
            match self.left_delim() {
                Some(item) => return item,
                // A comment was skipped.
                None => continue,
            }
        }
    }

    fn left_delim(&mut self) -> Option<Item<'a>> {
        self.position += self.left.len();
        let marker = match has_left_trim_marker(self.rest()) {
            true => TRIM_MARKER_LENGTH,
            false => 0,
        };
        if self.rest()[marker..].starts_with(LEFT_COMMENT) {
            self.position += marker;
            self.ignore();
            return self.comment();
        }
        let item = self.emit(Kind::LeftDelim);
        self.inside_action = true;
        self.position += marker;
        self.ignore();
        self.paren_depth = 0;
        Some(item)
    }

    fn comment(&mut self) -> Option<Item<'a>> {
        self.position += LEFT_COMMENT.len();
        let Some(found) = find(self.rest(), RIGHT_COMMENT) else {
            return Some(self.error("unclosed comment"));
        };
        self.position += found + RIGHT_COMMENT.len();
        let Some(trims) = self.at_right_delim() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        if trims {
            self.position += TRIM_MARKER_LENGTH;
        }
        self.position += self.right.len();
        if trims {
            self.position += trim_spaces_start(self.rest());
        }
        self.ignore();
        None
    }

    /// Whether an action ends here, and whether the space after it goes too.
    fn at_right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim_marker(rest) && rest[TRIM_MARKER_LENGTH..].starts_with(self.right) {
            return Some(true);
        }
        rest.starts_with(self.right).then_some(false)
    }

    fn right_delim(&mut self) -> Item<'a> {
        let trims = self.at_right_delim() == Some(true);
        if trims {
            self.position += TRIM_MARKER_LENGTH;
            self.ignore();
        }
        self.position += self.right.len();
        let item = self.emit(Kind::RightDelim);
        if trims {
            self.position += trim_spaces_start(self.rest());
            self.ignore();
        }
        self.inside_action = false;
        item
    }

    fn inside_action(&mut self) -> Item<'a> {
        if self.at_right_delim().is_some() {
            return match self.paren_depth {
                0 => self.right_delim(),
                _ => self.error("unclosed left paren"),
            };
        }
        let Some(found) = self.peek() else {
            return self.error("unclosed action");
        };
        match found {
            _ if is_space(found) => self.space(),
            '.' => self.dot(),
            '+' | '-' | '0'..='9' => self.number(),
            _ if is_alphanumeric(found) => self.identifier(),
            _ => {
                self.next();
                self.punctuation(found)
            }
        }
    }

    fn punctuation(&mut self, found: char) -> Item<'a> {
        match found {
            '=' => self.emit(Kind::Assign),
            ':' => match self.next() {
                Some('=') => self.emit(Kind::Declare),
                _ => self.error("expected :="),
            },
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => self.raw(),
            '$' => self.field_or_variable(Kind::Variable, Kind::Variable),
            '(' => {
                self.paren_depth += 1;
                self.emit(Kind::LeftParen)
            }
            ')' => match self.paren_depth.checked_sub(1) {
                Some(depth) => {
                    self.paren_depth = depth;
                    self.emit(Kind::RightParen)
                }
                None => self.error("unexpected right paren"),
            },
            '!'..='~' => self.emit(Kind::Char),
            _ => self.error(format!("unrecognized character in action: {}", code_point(found))),
        }
    }

    fn space(&mut self) -> Item<'a> {
        let mut before_last = self.position;
        let mut count = 0;
        while self.peek().is_some_and(is_space) {
            before_last = self.position;
            self.next();
            count += 1;
        }
        // The last space may belong to a closing trim marker.
        let tail = &self.input[before_last..];
        if has_right_trim_marker(tail) && tail[TRIM_MARKER_LENGTH..].starts_with(self.right) {
            if self.input[before_last] == b'\n' {
                self.line -= 1;
            }
            self.position = before_last;
            if count == 1 {
                return self.right_delim();
            }
        }
        self.emit(Kind::Space)
    }

    fn dot(&mut self) -> Item<'a> {
        self.next();
        match self.peek() {
            Some('0'..='9') => {
                self.position -= 1;
                self.number()
            }
            Some(_) => self.field_or_variable(Kind::Field, Kind::Dot),
            None => {
                self.position -= 1;
                self.number()
            }
        }
    }

    /// After a `.` or a `$`: a name, or nothing, which then is an item of its own.
    fn field_or_variable(&mut self, named: Kind, bare: Kind) -> Item<'a> {
        if self.at_terminator() {
            return self.emit(bare);
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.emit(named)
    }

    fn identifier(&mut self) -> Item<'a> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        let word = &self.input[self.start..self.position];
        self.emit(keyword(word).unwrap_or(Kind::Identifier))
    }

    fn bad_character(&mut self) -> Item<'a> {
        // At the end there is a terminator, so a character is there.
        let found = self.peek().unwrap_or_default();
        self.error(format!("bad character {}", code_point(found)))
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(found) => is_space(found) || self.rest().starts_with(self.right),
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &'static str) -> Item<'a> {
        loop {
            match self.next() {
                Some('\\') => match self.next() {
                    None | Some('\n') => return self.error(unterminated),
                    Some(_) => {}
                },
                None | Some('\n') => return self.error(unterminated),
                Some(found) if found == quote => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw(&mut self) -> Item<'a> {
        loop {
            match self.next() {
                None => return self.error("unterminated raw quoted string"),
                Some('`') => return self.emit(Kind::RawString),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Item<'a> {
        if !self.scan_number() {
            return self.bad_number();
        }
        if self.peek().is_some_and(|found| found == '+' || found == '-') {
            if !self.scan_number() || !self.input[..self.position].ends_with(b"i") {
                return self.bad_number();
            }
            return self.emit(Kind::Complex);
        }
        self.emit(Kind::Number)
    }

    fn bad_number(&mut self) -> Item<'a> {
        let text = &self.input[self.start..self.position];
        self.error(format!("bad number syntax: {}", quote(text, '"', false)))
    }

    /// Finds where a number ends; whether it is a good one is seen when it is converted.
    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if !exponent.is_empty() && self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}
