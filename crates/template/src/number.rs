//! Go's number literals, and its conversions between texts and numbers.

use crate::ast::Number;
use crate::lex::Kind;
use crate::quote::{Unit, lossy, quote_text, unquote_char};

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberError {
    Syntax,
    Range,
}

impl NumberError {
    /// As Go's `strconv` says it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        }
    }
}

/// Reads a literal as it stands in a template.
pub(crate) fn parse_literal(bytes: &[u8], kind: Kind) -> Result<Number, String> {
    let text = &*lossy(bytes);
    let mut number =
        Number { text: bytes.into(), int: None, is_uint: false, float: None, complex: None };
    match kind {
        Kind::CharConstant => char_constant(text, &mut number)?,
        Kind::Complex => {
            let (real, imaginary) = split_complex(text)?;
            number.complex = Some((real, imaginary));
            simplify(&mut number);
        }
        _ => plain(text, &mut number)?,
    }
    Ok(number)
}

fn char_constant(text: &str, number: &mut Number) -> Result<(), String> {
    let (unit, tail) = unquote_char(&text[1..], '\'').map_err(|_| "invalid syntax".to_owned())?;
    if tail != "'" {
        return Err(format!("malformed character constant: {text}"));
    }
    let value = match unit {
        Unit::Byte(byte) => i64::from(byte),
        Unit::Char(found) => i64::from(u32::from(found)),
    };
    number.int = Some(value);
    number.is_uint = true;
    number.float = Some(value as f64);
    Ok(())
}

fn plain(text: &str, number: &mut Number) -> Result<(), String> {
    if let Some(imaginary) = text.strip_suffix('i').and_then(|text| parse_float(text).ok()) {
        number.complex = Some((0.0, imaginary));
        simplify(number);
        return Ok(());
    }
    let uint = parse_uint(text, 0);
    number.is_uint = uint.is_ok();
    number.int = parse_int(text, 0).ok();
    if let Some(int) = number.int {
        number.is_uint |= int == 0;
        number.float = Some(int as f64);
    } else if let Ok(uint) = uint {
        number.float = Some(uint as f64);
    } else if let Ok(float) = parse_float(text) {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {}", quote_text(text)));
        }
        set_float(number, float);
    }
    if number.int.is_none() && !number.is_uint && number.float.is_none() {
        return Err(format!("illegal number syntax: {}", quote_text(text)));
    }
    Ok(())
}

fn set_float(number: &mut Number, float: f64) {
    // 2^63 and 2^64: the first values that do not fit.
    const INT_END: f64 = 9_223_372_036_854_775_808.0;
    const UINT_END: f64 = 18_446_744_073_709_551_616.0;
    number.float = Some(float);
    if float.trunc() == float {
        if (-INT_END..INT_END).contains(&float) {
            number.int = Some(float as i64);
        }
        number.is_uint = (0.0..UINT_END).contains(&float);
    }
}

/// A complex literal without an imaginary part is also the real number.
fn simplify(number: &mut Number) {
    if let Some((real, 0.0)) = number.complex {
        set_float(number, real);
    }
}

fn split_complex(text: &str) -> Result<(f64, f64), String> {
    let wrong = || "syntax error scanning complex number".to_owned();
    let text = text.strip_suffix('i').ok_or_else(wrong)?;
    let (at, _) = text
        .char_indices()
        .skip(1)
        .filter(|(at, found)| {
            matches!(found, '+' | '-') && !text[..*at].ends_with(['e', 'E', 'p', 'P'])
        })
        .last()
        .ok_or_else(wrong)?;
    let part = |part: &str| {
        if part.trim_start_matches(['+', '-']).is_empty() {
            return Err(wrong());
        }
        let bad = |err: NumberError| {
            format!("strconv.ParseFloat: parsing {}: {}", quote_text(part), err.reason())
        };
        parse_float(part).map_err(bad)
    };
    Ok((part(&text[..at])?, part(&text[at..])?))
}

/// Go's `ParseUint`; base 0 goes by the prefix and allows `_` between digits.
pub(crate) fn parse_uint(text: &str, base: u32) -> Result<u64, NumberError> {
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match (base, lower.as_bytes()) {
        (0, [b'0', b'x', ..]) => (&lower[2..], 16),
        (0, [b'0', b'b', ..]) => (&lower[2..], 2),
        (0, [b'0', b'o', ..]) => (&lower[2..], 8),
        (0, [b'0', _, ..]) => (&lower[1..], 8),
        (0, _) => (lower.as_str(), 10),
        (base, _) => (lower.as_str(), base),
    };
    if digits.is_empty() {
        return Err(NumberError::Syntax);
    }
    let underscores = digits.contains('_');
    if underscores && !(lower.len() > 1 && underscores_are_good(&lower)) {
        return Err(NumberError::Syntax);
    }
    let mut value = Some(0_u64);
    for digit in digits.chars().filter(|digit| *digit != '_') {
        let digit = digit.to_digit(base).ok_or(NumberError::Syntax)?;
        value = value
            .and_then(|value| value.checked_mul(u64::from(base)))
            .and_then(|value| value.checked_add(u64::from(digit)));
    }
    value.ok_or(NumberError::Range)
}

/// Underscores stand between digits; one may follow the prefix.
fn underscores_are_good(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-']);
    let prefixed = text.starts_with("0x") || text.starts_with("0b") || text.starts_with("0o");
    let hex = text.starts_with("0x");
    let body = if prefixed { &text[2..] } else { text };
    let is_digit = |found: char| found.is_ascii_digit() || (hex && found.is_ascii_hexdigit());
    let mut before_is_digit = prefixed;
    let mut pending = false;
    for found in body.chars() {
        if is_digit(found) {
            before_is_digit = true;
            pending = false;
        } else if found == '_' {
            if !before_is_digit {
                return false;
            }
            before_is_digit = false;
            pending = true;
        } else {
            if pending {
                return false;
            }
            before_is_digit = false;
        }
    }
    !pending
}

/// Go's `ParseInt`.
pub(crate) fn parse_int(text: &str, base: u32) -> Result<i64, NumberError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let value = parse_uint(digits, base)?;
    match negative {
        true if value <= 1 << 63 => Ok(0_i64.wrapping_sub_unsigned(value)),
        false => i64::try_from(value).map_err(|_| NumberError::Range),
        true => Err(NumberError::Range),
    }
}

/// Go's `ParseFloat`, without its names for infinity and the like, which no literal can hold.
pub(crate) fn parse_float(text: &str) -> Result<f64, NumberError> {
    if text.contains('_') && !underscores_are_good(&text.to_ascii_lowercase()) {
        return Err(NumberError::Syntax);
    }
    let text = text.replace('_', "");
    let unsigned = text.trim_start_matches(['+', '-']);
    if text.len() - unsigned.len() > 1 {
        return Err(NumberError::Syntax);
    }
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        let value = hex_float(&unsigned[2..]).ok_or(NumberError::Syntax)?;
        return Ok(if text.starts_with('-') { -value } else { value });
    }
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Err(NumberError::Syntax);
    }
    let value: f64 = text.parse().map_err(|_| NumberError::Syntax)?;
    match value.is_finite() {
        true => Ok(value),
        false => Err(NumberError::Range),
    }
}

/// `1.8p3` in hexadecimal digits; the exponent is required.
fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0_f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let exponent: i32 = exponent.parse().ok()?;
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let value = value * f64::from(exponent.checked_sub(shift)?).exp2();
    value.is_finite().then_some(value)
}
