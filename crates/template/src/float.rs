//! Floating-point numbers as Go prints them.

/// The significant decimal digits of a number and where its point is.
struct Digits {
    /// Without trailing zeros; empty for zero.
    digits: Vec<u8>,
    /// How many of them are before the point; negative for small numbers.
    point: i32,
}

/// No double has more digits than this behind its point, so more precision only adds zeros.
const PRECISION_MAX: usize = 1100;

/// Formats a number by Go's verbs `e E f g G b x X`; without a precision, with as many digits as
/// are needed to read the same number again.
pub(crate) fn format(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let magnitude = value.abs();
    if magnitude.is_infinite() {
        return if sign.is_empty() { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = match verb {
        'e' | 'E' => {
            let digits = significant(magnitude, precision.map(|precision| precision + 1));
            let precision = precision.unwrap_or(digits.digits.len().saturating_sub(1));
            exponent_form(&digits, precision)
        }
        'f' => fixed_form(magnitude, precision),
        'b' => binary(magnitude),
        'x' | 'X' => hexadecimal(magnitude, precision),
        _ => general(magnitude, precision),
    };
    match verb {
        'E' | 'G' | 'X' => format!("{sign}{}", text.to_uppercase()),
        _ => format!("{sign}{text}"),
    }
}

/// The number rounded to `count` significant digits, or its shortest form.
fn significant(magnitude: f64, count: Option<usize>) -> Digits {
    if magnitude == 0.0 {
        return Digits { digits: Vec::new(), point: 0 };
    }
    let text = match count {
        Some(count) => format!("{magnitude:.*e}", count.clamp(1, PRECISION_MAX) - 1),
        None => format!("{magnitude:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mut digits: Vec<u8> = mantissa.bytes().filter(|digit| *digit != b'.').collect();
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    Digits { digits, point: exponent.parse::<i32>().unwrap_or_default() + 1 }
}

/// `%e` for very small and large exponents, `%f` in between.
fn general(magnitude: f64, precision: Option<usize>) -> String {
    let wanted = precision.map(|precision| precision.max(1));
    let digits = significant(magnitude, wanted);
    let count = digits.digits.len();
    let signed = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let mut threshold = signed(wanted.unwrap_or(SHORTEST_EXPONENT));
    if wanted.is_some() && threshold > signed(count) && signed(count) >= digits.point {
        threshold = signed(count);
    }
    let exponent = digits.point - 1;
    if exponent < -4 || exponent >= threshold {
        let precision = wanted.map_or(count, |wanted| wanted.min(count));
        return exponent_form(&digits, precision.saturating_sub(1));
    }
    let fraction = (signed(count) - digits.point).max(0);
    point_form(&digits, usize::try_from(fraction).unwrap_or_default())
}

/// From this exponent on the shortest form has an exponent.
const SHORTEST_EXPONENT: usize = 6;

fn exponent_form(digits: &Digits, precision: usize) -> String {
    let mut text = String::new();
    let digit = |index: usize| char::from(digits.digits.get(index).copied().unwrap_or(b'0'));
    text.push(digit(0));
    if precision > 0 {
        text.push('.');
        text.extend((1..=precision).map(digit));
    }
    let exponent = match digits.digits.is_empty() {
        true => 0,
        false => digits.point - 1,
    };
    let sign = if exponent < 0 { '-' } else { '+' };
    text + &format!("e{sign}{:02}", exponent.unsigned_abs())
}

fn fixed_form(magnitude: f64, precision: Option<usize>) -> String {
    match precision {
        Some(precision) => {
            let kept = precision.min(PRECISION_MAX);
            format!("{magnitude:.kept$}") + &"0".repeat(precision - kept)
        }
        None => format!("{magnitude}"),
    }
}

fn point_form(digits: &Digits, precision: usize) -> String {
    let digit = |index: i32| {
        let found = usize::try_from(index).ok().and_then(|index| digits.digits.get(index));
        char::from(found.copied().unwrap_or(b'0'))
    };
    let mut text: String = (0..digits.point).map(digit).collect();
    if text.is_empty() {
        text.push('0');
    }
    if precision > 0 {
        text.push('.');
        let end = i32::try_from(precision).unwrap_or(i32::MAX);
        text.extend((0..end).map(|index| digit(digits.point + index)));
    }
    text
}

/// Mantissa and exponent as the bits have them: the value is `mantissa * 2^exponent`.
fn parts(magnitude: f64) -> (u64, i32) {
    const MANTISSA_BITS: u32 = 52;
    let bits = magnitude.to_bits();
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let exponent = i32::try_from(bits >> MANTISSA_BITS).unwrap_or_default();
    match exponent {
        0 => (fraction, 1 - 1075),
        _ => (fraction | 1 << MANTISSA_BITS, exponent - 1075),
    }
}

fn binary(magnitude: f64) -> String {
    let (mantissa, exponent) = parts(magnitude);
    format!("{mantissa}p{exponent:+}")
}

fn hexadecimal(magnitude: f64, precision: Option<usize>) -> String {
    // The leading bit is put at 60, so that each further digit is four bits below.
    const TOP: u32 = 60;
    let (mantissa, exponent) = parts(magnitude);
    let shift = mantissa.leading_zeros().saturating_sub(63 - TOP);
    let mut mantissa = mantissa.checked_shl(shift).unwrap_or(0);
    let mut exponent = match mantissa {
        0 => 0,
        _ => exponent + 60 - i32::try_from(shift).unwrap_or_default(),
    };
    if let Some(precision) = precision.filter(|precision| *precision < 15) {
        let kept = 4 * u32::try_from(precision).unwrap_or_default();
        let extra = (mantissa << kept) & ((1 << TOP) - 1);
        mantissa >>= TOP - kept;
        // Round to nearest, ties to even.
        if extra | (mantissa & 1) > 1 << (TOP - 1) {
            mantissa += 1;
        }
        mantissa <<= TOP - kept;
        if mantissa & (1 << (TOP + 1)) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut text = format!("0x{}", (mantissa >> TOP) & 1);
    let mut fraction = String::new();
    let mut rest = mantissa << 4;
    let more = |count: usize, rest: u64| precision.map_or(rest != 0, |precision| count < precision);
    while more(fraction.len(), rest) {
        fraction.push(char::from_digit(((rest >> TOP) & 15) as u32, 16).unwrap_or('0'));
        rest <<= 4;
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(&fraction);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    text + &format!("p{sign}{:02}", exponent.unsigned_abs())
}
