//! Times as Go writes them: `1m30s`, `250ms`; a number alone is seconds.

use std::time::Duration;

const UNITS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// Reads a time; `None` when it is none.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..end])?;
        seconds += number * unit;
        rest = &rest[end..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// Reads `MIN` or `MIN:MAX`; the maximum is four times the minimum when it is not given.
#[must_use]
pub fn parse_range(text: &str) -> Option<(Duration, Duration)> {
    match text.split_once(':') {
        Some((min, max)) => Some((parse(min)?, parse(max)?)),
        None => parse(text).map(|min| (min, min * 4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        for (text, milliseconds) in
            [("5", 5000), ("1m30s", 90_000), ("250ms", 250), ("1.5s", 1500), ("1h0m1s", 3_601_000)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "5x", "-1s", "1s2"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let range = Some((Duration::from_secs(2), Duration::from_secs(8)));
        assert_eq!(parse_range("2s"), range);
        assert_eq!(parse_range("2s:8s"), range);
    }
}
