//! Go's quoting of texts, both ways, and which characters it takes for printable.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::LazyLock;

use crate::value::Text;

/// A letter, a decimal digit or `_`.
pub(crate) fn is_alphanumeric(found: char) -> bool {
    static WIDE: LazyLock<Option<regex::Regex>> =
        LazyLock::new(|| regex::Regex::new(r"^[\p{L}\p{Nd}]$").ok());
    if found.is_ascii() {
        return found == '_' || found.is_ascii_alphanumeric();
    }
    WIDE.as_ref().is_some_and(|wide| wide.is_match(found.encode_utf8(&mut [0; 4])))
}

/// Whether Go prints the character as it is: letters, marks, numbers, punctuation, symbols and the
/// ASCII space.
pub(crate) fn is_print(found: char) -> bool {
    if found.is_ascii() {
        return matches!(found, ' '..='~');
    }
    // The standard library shows its table only through escaping. A character in front keeps a
    // combining mark from being escaped for being first.
    let mut text = String::with_capacity(5);
    text.push('a');
    text.push(found);
    text.escape_debug().nth(1) == Some(found)
}

/// `U+0041 'A'`, as `%#U` prints it.
pub(crate) fn code_point(found: char) -> String {
    let number = u32::from(found);
    match is_print(found) {
        true => format!("U+{number:04X} '{found}'"),
        false => format!("U+{number:04X}"),
    }
}

/// One step through bytes that may not be UTF-8: the character, or `None` for a bad byte, and how
/// many bytes it takes.
pub(crate) fn decode(bytes: &[u8]) -> (Option<char>, usize) {
    if let Some(byte) = bytes.first().filter(|byte| byte.is_ascii()) {
        return (Some(char::from(*byte)), 1);
    }
    let head = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => {
            let (good, _) = head.split_at(error.valid_up_to());
            // Valid up to there by the error's own word.
            std::str::from_utf8(good).unwrap_or_default()
        }
    };
    match valid.chars().next() {
        Some(found) => (Some(found), found.len_utf8()),
        None => (None, 1),
    }
}

/// How many characters bytes have; a bad byte counts as one.
pub(crate) fn char_count(bytes: &[u8]) -> usize {
    if bytes.is_ascii() {
        return bytes.len();
    }
    let mut rest = bytes;
    let mut count = 0;
    while !rest.is_empty() {
        let (_, width) = decode(rest);
        rest = &rest[width..];
        count += 1;
    }
    count
}

/// A text in double quotes.
pub(crate) fn quote_text(text: &str) -> String {
    quote(text.as_bytes(), '"', false)
}

/// Bytes in quotes, with Go's escapes; `ascii` escapes everything beyond ASCII.
pub(crate) fn quote(bytes: &[u8], mark: char, ascii: bool) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push(mark);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (found, width) = decode(rest);
        match found {
            Some(found) => escape(&mut quoted, found, mark, ascii),
            None => push(&mut quoted, format_args!("\\x{:02x}", rest[0])),
        }
        rest = &rest[width..];
    }
    quoted.push(mark);
    quoted
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = text.write_fmt(arguments);
}

fn escape(quoted: &mut String, found: char, mark: char, ascii: bool) {
    let number = u32::from(found);
    match found {
        '\\' => quoted.push_str("\\\\"),
        _ if found == mark => {
            quoted.push('\\');
            quoted.push(mark);
        }
        _ if is_print(found) && (found.is_ascii() || !ascii) => quoted.push(found),
        '\x07' => quoted.push_str("\\a"),
        '\x08' => quoted.push_str("\\b"),
        '\x0c' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\x0b' => quoted.push_str("\\v"),
        _ if found < ' ' || found == '\x7f' => push(quoted, format_args!("\\x{number:02x}")),
        _ if number < 0x1_0000 => push(quoted, format_args!("\\u{number:04x}")),
        _ => push(quoted, format_args!("\\U{number:08x}")),
    }
}

/// A text is not a Go literal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidSyntax;

/// As text; each bad byte becomes a replacement character, as Go does it.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (found, width) = decode(rest);
        text.push(found.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &rest[width..];
    }
    Cow::Owned(text)
}

/// What a literal in double quotes or backquotes stands for.
pub(crate) fn unquote(literal: &[u8]) -> Result<Text, InvalidSyntax> {
    let inner = |mark: &[u8; 1]| literal.strip_prefix(mark)?.strip_suffix(mark);
    if let Some(raw) = inner(b"`").filter(|_| literal.len() >= 2) {
        // As in Go source, carriage returns are not part of a raw literal.
        return Ok(match raw.contains(&b'\r') {
            true => raw.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<_>>().into(),
            false => raw.into(),
        });
    }
    let quoted = inner(b"\"").filter(|_| literal.len() >= 2).ok_or(InvalidSyntax)?;
    if quoted.is_ascii() && !quoted.iter().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        return Ok(quoted.into());
    }
    let quoted = lossy(quoted);
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = &*quoted;
    while !rest.is_empty() {
        let (unit, tail) = unquote_char(rest, '"')?;
        match unit {
            Unit::Byte(byte) => bytes.push(byte),
            Unit::Char(found) => bytes.extend(found.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = tail;
    }
    Ok(bytes.into())
}

/// What one step of a literal stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Byte(u8),
    Char(char),
}

/// Reads one character or escape.
pub(crate) fn unquote_char(text: &str, mark: char) -> Result<(Unit, &str), InvalidSyntax> {
    let mut found = text.chars();
    let first = found.next().ok_or(InvalidSyntax)?;
    if first == mark || first == '\n' {
        return Err(InvalidSyntax);
    }
    if first != '\\' {
        return Ok((Unit::Char(first), found.as_str()));
    }
    let escape = found.next().ok_or(InvalidSyntax)?;
    let rest = found.as_str();
    let simple = |character| Ok((Unit::Char(character), rest));
    match escape {
        'a' => simple('\x07'),
        'b' => simple('\x08'),
        'f' => simple('\x0c'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0b'),
        '\\' => simple('\\'),
        '\'' | '"' if escape == mark => simple(escape),
        'x' => {
            let (number, rest) = digits(rest, 2, 16)?;
            let byte = u8::try_from(number).map_err(|_| InvalidSyntax)?;
            Ok((Unit::Byte(byte), rest))
        }
        'u' | 'U' => {
            let (number, rest) = digits(rest, if escape == 'u' { 4 } else { 8 }, 16)?;
            let character = char::from_u32(number).ok_or(InvalidSyntax)?;
            Ok((Unit::Char(character), rest))
        }
        '0'..='7' => {
            let (number, rest) = digits(&text[1..], 3, 8)?;
            let byte = u8::try_from(number).map_err(|_| InvalidSyntax)?;
            Ok((Unit::Byte(byte), rest))
        }
        _ => Err(InvalidSyntax),
    }
}

fn digits(text: &str, count: usize, radix: u32) -> Result<(u32, &str), InvalidSyntax> {
    let (head, rest) = text.split_at_checked(count).ok_or(InvalidSyntax)?;
    if !head.chars().all(|digit| digit.is_digit(radix)) {
        return Err(InvalidSyntax);
    }
    let number = u32::from_str_radix(head, radix).map_err(|_| InvalidSyntax)?;
    Ok((number, rest))
}
