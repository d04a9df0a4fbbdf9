//! Writing, as libyaml's descendant in Go does it.

use crate::Value;
use crate::order::sorted;
use crate::resolve::{is_base_sixty, is_timestamp, resolve};

/// Where a space may become a new line.
const WIDTH: usize = 80;
/// Longest key that stands on one line with its value.
const KEY_BYTES_MAX: usize = 128;
/// How far what is inside stands to the right.
const STEP: usize = 2;

/// What is written: a tree whose numbers have their text already.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// As it stands: a number, a truth, `null`.
    Literal(String),
    /// A text, quoted where it has to be.
    Text(String),
    /// A list.
    List(Vec<Written>),
    /// Keys and values in their order.
    Map(Vec<(String, Written)>),
}

/// Where writers of the one family differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether a list stands further to the right than the key whose value it is.
    lists_stand_in: bool,
    /// Whether long lines are broken.
    breaks_lines: bool,
    /// Whether keys are put into Go's order.
    sorts_keys: bool,
}

impl Style {
    /// `gopkg.in/yaml.v2`, as confd has it.
    pub const V2: Self = Self { lists_stand_in: false, breaks_lines: true, sorts_keys: true };
    /// `gopkg.in/yaml.v3` with two spaces, as Docker Compose has it, of keys that are in order.
    pub const COMPOSE: Self = Self { lists_stand_in: true, breaks_lines: false, sorts_keys: false };
}

/// The document of a value as yaml.v2 writes it, with a new line at its end.
#[must_use]
pub fn write(value: &Written) -> String {
    write_in(value, Style::V2)
}

/// The document of a value, with a new line at its end.
#[must_use]
pub fn write_in(value: &Written, style: Style) -> String {
    let mut emitter = Emitter { text: String::new(), column: 0, style };
    emitter.node(value, None, false);
    emitter.text.push('\n');
    emitter.text
}

struct Emitter {
    text: String,
    column: usize,
    style: Style,
}

impl Emitter {
    fn put(&mut self, text: &str) {
        match text.rfind('\n') {
            Some(at) => self.column = text[at + 1..].chars().count(),
            None => self.column += text.chars().count(),
        }
        self.text.push_str(text);
    }

    fn is_line_long(&self) -> bool {
        self.style.breaks_lines && self.column > WIDTH
    }

    fn new_line(&mut self, indent: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    /// A node within what is indented so far; none at the top. A list as a key's value does not stand
    /// further to the right than the key.
    fn node(&mut self, value: &Written, indent: Option<usize>, is_of_key: bool) {
        let inner = indent.map_or(0, |indent| indent + STEP);
        match value {
            Written::Literal(text) => self.put(text),
            Written::Text(text) => {
                self.scalar(text, indent.map_or(STEP, |indent| indent + STEP), false);
            }
            Written::List(items) if items.is_empty() => self.put("[]"),
            Written::Map(entries) if entries.is_empty() => self.put("{}"),
            Written::List(items) => {
                let stands_out = is_of_key && !self.style.lists_stand_in;
                let indent = if stands_out { indent.unwrap_or(0) } else { inner };
                for (number, item) in items.iter().enumerate() {
                    // The first stands beside the dash that it is in.
                    if number > 0 || is_of_key {
                        self.new_line(indent);
                    }
                    self.put("- ");
                    self.node(item, Some(indent), false);
                }
            }
            Written::Map(entries) => {
                let ordered = match self.style.sorts_keys {
                    true => sorted(entries),
                    false => entries.iter().collect(),
                };
                for (number, (key, value)) in ordered.into_iter().enumerate() {
                    if number > 0 || is_of_key {
                        self.new_line(inner);
                    }
                    if is_long(key) {
                        self.put("? ");
                        self.scalar(key, inner + STEP, false);
                        self.new_line(inner);
                        self.put(": ");
                        self.node(value, Some(inner), false);
                        continue;
                    }
                    self.scalar(key, inner + STEP, true);
                    self.put(":");
                    match value {
                        Written::Map(entries) if !entries.is_empty() => {}
                        Written::List(items) if !items.is_empty() => {}
                        _ => self.put(" "),
                    }
                    self.node(value, Some(inner), true);
                }
            }
        }
    }

    fn scalar(&mut self, text: &str, indent: usize, is_key: bool) {
        let found = Analysis::of(text);
        let is_text = matches!(resolve(text), Value::String(_))
            && !is_base_sixty(text)
            && !is_timestamp(text);
        if text.contains('\n') && !is_key && found.block {
            return self.literal(text, indent);
        }
        let wants_plain = is_text && !text.contains('\n');
        if wants_plain && found.plain && !(text.is_empty() && is_key) {
            return self.folded(text, indent, is_key, "", false);
        }
        if wants_plain && found.single {
            return self.folded(&text.replace('\'', "''"), indent, is_key, "'", true);
        }
        self.double(text, indent, is_key);
    }

    /// Plain or in single quotes: a long line is broken at a single space.
    fn folded(&mut self, text: &str, indent: usize, is_key: bool, quote: &str, is_quoted: bool) {
        self.put(quote);
        let letters: Vec<char> = text.chars().collect();
        let mut was_space = false;
        let mut one = [0; 4];
        for (number, letter) in letters.iter().enumerate() {
            let is_space = *letter == ' ';
            let is_next_space = letters.get(number + 1) == Some(&' ');
            let is_inside = !is_quoted || (number > 0 && number + 1 < letters.len());
            if is_space
                && !is_key
                && !was_space
                && self.is_line_long()
                && is_inside
                && !is_next_space
            {
                self.new_line(indent);
            } else {
                self.put(letter.encode_utf8(&mut one));
            }
            was_space = is_space;
        }
        self.put(quote);
    }

    fn double(&mut self, text: &str, indent: usize, is_key: bool) {
        self.put("\"");
        let letters: Vec<char> = text.chars().collect();
        let mut was_space = false;
        let mut one = [0; 4];
        // After a mark of the byte order at its beginning, libyaml takes everything for one.
        let is_marked = text.starts_with('\u{feff}');
        for (number, letter) in letters.iter().enumerate() {
            if is_marked && escape(*letter).is_none() {
                self.put(&by_number(*letter));
                continue;
            }
            if *letter == ' ' {
                let is_inside = number > 0 && number + 1 < letters.len();
                if !is_key && !was_space && self.is_line_long() && is_inside {
                    self.new_line(indent);
                    if letters.get(number + 1) == Some(&' ') {
                        self.put("\\");
                    }
                } else {
                    self.put(" ");
                }
                was_space = true;
                continue;
            }
            was_space = false;
            match escape(*letter) {
                Some(escaped) => self.put(&escaped),
                None => self.put(letter.encode_utf8(&mut one)),
            }
        }
        self.put("\"");
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n', '\u{85}', '\u{2028}', '\u{2029}']) {
            self.put(&STEP.to_string());
        }
        let is_break = |letter: char| matches!(letter, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let mut back = text.chars().rev();
        match (back.next().is_some_and(is_break), back.next().is_none_or(is_break)) {
            (false, _) => self.put("-"),
            (true, true) => self.put("+"),
            (true, false) => {}
        }
        let lines: Vec<&str> = text.split('\n').collect();
        for (number, line) in lines.iter().enumerate() {
            let is_last = number + 1 == lines.len();
            match line.is_empty() {
                // The break after the last line is the next node's.
                true if is_last => {}
                true => self.put("\n"),
                false => {
                    self.new_line(indent);
                    self.put(line);
                }
            }
        }
    }
}

/// Whether a key does not stand on one line with its value.
fn is_long(key: &str) -> bool {
    key.len() > KEY_BYTES_MAX || key.contains(is_break)
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// How a letter is written in double quotes where it does not stand for itself.
fn escape(letter: char) -> Option<String> {
    let short = match letter {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        letter if is_printable(letter) => return None,
        letter => return Some(by_number(letter)),
    };
    Some(format!("\\{short}"))
}

fn by_number(letter: char) -> String {
    match u32::from(letter) {
        number @ 0..=0xff => format!("\\x{number:02X}"),
        number @ 0x100..=0xffff => format!("\\u{number:04X}"),
        number => format!("\\U{number:08X}"),
    }
}

/// What libyaml prints as it stands.
fn is_printable(letter: char) -> bool {
    matches!(letter, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && letter != '\u{feff}'
}

/// In which ways a text can be written.
struct Analysis {
    plain: bool,
    single: bool,
    block: bool,
}

impl Analysis {
    fn of(text: &str) -> Self {
        let letters: Vec<char> = text.chars().collect();
        if letters.is_empty() {
            return Self { plain: true, single: true, block: false };
        }
        let is_blank_or_end =
            |letter: Option<&char>| letter.is_none_or(|c| matches!(c, ' ' | '\t') || is_break(*c));
        let mut found = Self { plain: true, single: true, block: true };
        if text.starts_with("---") || text.starts_with("...") {
            found.plain = false;
        }
        let (mut was_space, mut was_break, mut was_blank) = (false, false, true);
        for (number, letter) in letters.iter().copied().enumerate() {
            let next = letters.get(number + 1);
            let is_first = number == 0;
            let is_indicator = match letter {
                '#' => is_first || was_blank,
                ',' | '[' | ']' | '{' | '}' => is_first,
                '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => is_first,
                ':' => is_blank_or_end(next),
                '?' | '-' => is_first && is_blank_or_end(next),
                _ => false,
            };
            if is_indicator {
                found.plain = false;
            }
            if !is_printable(letter) {
                found = Self { plain: false, single: false, block: false };
            }
            if letter == ' ' {
                if is_first || next.is_none() {
                    found.plain = false;
                }
                if next.is_none() {
                    found.block = false;
                }
                if was_break {
                    found.plain = false;
                    found.single = false;
                }
                (was_space, was_break) = (true, false);
            } else if is_break(letter) {
                found.plain = false;
                if was_space {
                    found.single = false;
                    found.block = false;
                }
                (was_space, was_break) = (false, true);
            } else {
                (was_space, was_break) = (false, false);
            }
            was_blank = is_blank_or_end(Some(&letter));
        }
        found
    }
}
