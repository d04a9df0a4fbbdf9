//! The lexer: text and actions into items, with Go's trimming rules.
//!
//! Trim markers are dealt with here and the parser never sees them: `{{- ` takes the space before
//! it away, ` -}}` the space after it. Lines are counted as Go counts them, because error texts
//! name them.

use crate::quote::is_alphanumeric;

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

fn keyword(word: &str) -> Option<Kind> {
    Some(match word {
        "block" => Kind::Block,
        "break" => Kind::Break,
        "continue" => Kind::Continue,
        "define" => Kind::Define,
        "else" => Kind::Else,
        "end" => Kind::End,
        "if" => Kind::If,
        "nil" => Kind::Nil,
        "range" => Kind::Range,
        "template" => Kind::Template,
        "with" => Kind::With,
        "true" | "false" => Kind::Bool,
        _ => return None,
    })
}

/// A piece of the template.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) position: usize,
    pub(crate) text: String,
    pub(crate) line: usize,
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const LEFT_COMMENT: &str = "/*";
const RIGHT_COMMENT: &str = "*/";
/// The marker and the space beside it.
const TRIM_MARKER_LENGTH: usize = 2;

/// Reads items one at a time.
pub(crate) struct Lexer<'a> {
    input: &'a str,
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

fn trim_spaces_end(text: &str) -> usize {
    text.len() - text.trim_end_matches(is_space).len()
}

fn trim_spaces_start(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_space).len()
}

fn has_left_trim_marker(text: &str) -> bool {
    let mut found = text.chars();
    found.next() == Some('-') && found.next().is_some_and(is_space)
}

fn has_right_trim_marker(text: &str) -> bool {
    let mut found = text.chars();
    found.next().is_some_and(is_space) && found.next() == Some('-')
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a str) -> Self {
        Self {
            input,
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
    pub(crate) fn next_item(&mut self) -> Item {
        if self.failed {
            return self.end();
        }
        match self.inside_action {
            true => self.inside_action(),
            false => self.text(),
        }
    }

    fn end(&self) -> Item {
        Item {
            kind: Kind::Eof,
            position: self.position,
            text: "EOF".to_owned(),
            line: self.start_line,
        }
    }

    fn rest(&self) -> &'a str {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.position += found.len_utf8();
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
        self.line += skipped.matches('\n').count();
    }

    fn emit(&mut self, kind: Kind) -> Item {
        let item = Item {
            kind,
            position: self.start,
            text: self.input[self.start..self.position].to_owned(),
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

    fn error(&mut self, text: impl Into<String>) -> Item {
        self.failed = true;
        Item { kind: Kind::Error, position: self.start, text: text.into(), line: self.start_line }
    }

    fn text(&mut self) -> Item {
        loop {
            let Some(found) = self.rest().find(LEFT) else {
                self.position = self.input.len();
                if self.position == self.start {
                    return self.end();
                }
                self.count_lines();
                return self.emit(Kind::Text);
            };
            if found > 0 {
                self.position += found;
                let after = &self.input[self.position + LEFT.len()..];
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

    fn left_delim(&mut self) -> Option<Item> {
        self.position += LEFT.len();
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

    fn comment(&mut self) -> Option<Item> {
        self.position += LEFT_COMMENT.len();
        let Some(found) = self.rest().find(RIGHT_COMMENT) else {
            return Some(self.error("unclosed comment"));
        };
        self.position += found + RIGHT_COMMENT.len();
        let Some(trims) = self.at_right_delim() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        if trims {
            self.position += TRIM_MARKER_LENGTH;
        }
        self.position += RIGHT.len();
        if trims {
            self.position += trim_spaces_start(self.rest());
        }
        self.ignore();
        None
    }

    /// Whether an action ends here, and whether the space after it goes too.
    fn at_right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim_marker(rest) && rest[TRIM_MARKER_LENGTH..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    fn right_delim(&mut self) -> Item {
        let trims = self.at_right_delim() == Some(true);
        if trims {
            self.position += TRIM_MARKER_LENGTH;
            self.ignore();
        }
        self.position += RIGHT.len();
        let item = self.emit(Kind::RightDelim);
        if trims {
            self.position += trim_spaces_start(self.rest());
            self.ignore();
        }
        self.inside_action = false;
        item
    }

    fn inside_action(&mut self) -> Item {
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

    fn punctuation(&mut self, found: char) -> Item {
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
            _ => self.error(format!(
                "unrecognized character in action: {}",
                crate::quote::code_point(found)
            )),
        }
    }

    fn space(&mut self) -> Item {
        let mut before_last = self.position;
        let mut count = 0;
        while self.peek().is_some_and(is_space) {
            before_last = self.position;
            self.next();
            count += 1;
        }
        // The last space may belong to a closing trim marker.
        let tail = &self.input[before_last..];
        if has_right_trim_marker(tail) && tail[TRIM_MARKER_LENGTH..].starts_with(RIGHT) {
            if self.input[before_last..].starts_with('\n') {
                self.line -= 1;
            }
            self.position = before_last;
            if count == 1 {
                return self.right_delim();
            }
        }
        self.emit(Kind::Space)
    }

    fn dot(&mut self) -> Item {
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
    fn field_or_variable(&mut self, named: Kind, bare: Kind) -> Item {
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

    fn identifier(&mut self) -> Item {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        let word = &self.input[self.start..self.position];
        self.emit(keyword(word).unwrap_or(Kind::Identifier))
    }

    fn bad_character(&mut self) -> Item {
        // At the end there is a terminator, so a character is there.
        let found = self.peek().unwrap_or_default();
        self.error(format!("bad character {}", crate::quote::code_point(found)))
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(found) => is_space(found) || self.rest().starts_with(RIGHT),
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Item {
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

    fn raw(&mut self) -> Item {
        loop {
            match self.next() {
                None => return self.error("unterminated raw quoted string"),
                Some('`') => return self.emit(Kind::RawString),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Item {
        if !self.scan_number() {
            return self.bad_number();
        }
        if self.peek().is_some_and(|found| found == '+' || found == '-') {
            if !self.scan_number() || !self.input[..self.position].ends_with('i') {
                return self.bad_number();
            }
            return self.emit(Kind::Complex);
        }
        self.emit(Kind::Number)
    }

    fn bad_number(&mut self) -> Item {
        let text = &self.input[self.start..self.position];
        self.error(format!("bad number syntax: {}", crate::quote::quote_text(text)))
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
