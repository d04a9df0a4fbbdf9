//! What a scalar without quotes is.

use crate::Value;

/// Words that are truths.
const TRUE: &[&str] = &["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
const FALSE: &[&str] =
    &["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"];
/// Words that are nothing.
const NULL: &[&str] = &["", "~", "null", "Null", "NULL"];

/// The value that a plain scalar stands for.
pub(crate) fn resolve(text: &str) -> Value {
    if NULL.contains(&text) {
        return Value::Null;
    }
    if TRUE.contains(&text) {
        return Value::Bool(true);
    }
    if FALSE.contains(&text) {
        return Value::Bool(false);
    }
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A number as Go reads it: underscores count for nothing, a leading zero means eight.
fn number(text: &str) -> Option<Value> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let plain = text.replace('_', "");
    whole(&plain).or_else(|| {
        // What is too great for a number is a text.
        let number: f64 = is_float(&plain).then(|| plain.parse().ok())??;
        number.is_finite().then_some(Value::Float(number))
    })
}

fn whole(plain: &str) -> Option<Value> {
    let (is_negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, plain.get(1..)?),
        b'+' => (false, plain.get(1..)?),
        _ => (false, plain),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.get(2..)?),
        [b'0', b'b', ..] => (2, lower.get(2..)?),
        [b'0', b'o', ..] => (8, lower.get(2..)?),
        [b'0', _, ..] => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    // What follows a sign is no other sign.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    match (is_negative, i64::try_from(size)) {
        (false, Ok(number)) => Some(Value::Int(number)),
        (false, Err(_)) if plain.starts_with('+') => None,
        (false, Err(_)) => Some(Value::Uint(size)),
        (true, _) => 0_i64.checked_sub_unsigned(size).map(Value::Int),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_mantissa = match mantissa.split_once('.') {
        None => are_digits(mantissa),
        Some(("", fraction)) => are_digits(fraction),
        Some((front, fraction)) => {
            are_digits(front) && (fraction.is_empty() || are_digits(fraction))
        }
    };
    let is_exponent = |text: &str| are_digits(text.strip_prefix(['-', '+']).unwrap_or(text));
    is_mantissa && exponent.is_none_or(is_exponent)
}

/// Whether a text is a number in base sixty, which older readers take for one: `1:30`.
pub(crate) fn is_base_sixty(text: &str) -> bool {
    let Some((first, rest)) = text.split_once(':') else { return false };
    let are_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'_'));
    let first = first.strip_prefix(['-', '+']).unwrap_or(first);
    if !first.starts_with(|c: char| c.is_ascii_digit()) || !are_digits(first) {
        return false;
    }
    let (rest, fraction) = rest.split_once('.').map_or((rest, None), |(a, b)| (a, Some(b)));
    let is_part = |part: &str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => matches!(ten, b'0'..=b'5') && one.is_ascii_digit(),
        _ => false,
    };
    rest.split(':').all(is_part) && fraction.is_none_or(|text| text.is_empty() || are_digits(text))
}

/// Whether a text is a date or a moment, which other readers take for one: `2001-01-01`.
pub(crate) fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let part = |text: &str, least: u32, most: u32| {
        let is_short = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
        is_short && text.parse::<u32>().is_ok_and(|number| (least..=most).contains(&number))
    };
    let is_date = match date.split('-').collect::<Vec<_>>()[..] {
        [year, month, day] => {
            let is_year = year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit());
            is_year && part(month, 1, 12) && part(day, 1, days(year, month))
        }
        _ => false,
    };
    let Some((between, time)) = time else { return is_date };
    let (clock, zone) = match (between, time.find(['Z', '+', '-'])) {
        (" ", Some(_)) => return false,
        (" ", None) => (time, None),
        (_, Some(at)) => (&time[..at], Some(&time[at..])),
        (_, None) => return false,
    };
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(a, b)| (a, Some(b)));
    let is_clock = match clock.split(':').collect::<Vec<_>>()[..] {
        [hour, minute, second] => part(hour, 0, 23) && part(minute, 0, 59) && part(second, 0, 59),
        _ => false,
    };
    let is_fraction = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_zone = |text: &str| {
        text == "Z"
            || text.get(1..).and_then(|text| text.split_once(':')).is_some_and(|(hour, minute)| {
                hour.len() == 2 && minute.len() == 2 && part(hour, 0, 24) && part(minute, 0, 60)
            })
    };
    is_date && is_clock && fraction.is_none_or(is_fraction) && zone.is_none_or(is_zone)
}

fn days(year: &str, month: &str) -> u32 {
    let year: u32 = year.parse().unwrap_or(0);
    match month.parse() {
        Ok(2)
            if year.is_multiple_of(4)
                && (!year.is_multiple_of(100) || year.is_multiple_of(400)) =>
        {
            29
        }
        Ok(2) => 28,
        Ok(4 | 6 | 9 | 11) => 30,
        _ => 31,
    }
}
