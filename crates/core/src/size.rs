//! Sizes and durations as Compose writes them: `64m`, `1.5gb`, `1m30s`, `500ms`.

/// Bytes of a size: a number with an optional unit `b`, `k`/`kb`, `m`/`mb`, `g`/`gb` (powers of
/// 1024, any case), as Docker reads it. `None` when it is no size.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let factor: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let number: f64 = number.parse().ok()?;
    let bytes = number * factor as f64;
    (bytes.is_finite() && bytes >= 0.0 && bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Milliseconds of a Go duration (`1h2m3.5s`, `500ms`, `10us`). `None` when it is no duration.
#[must_use]
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    parse_duration_ns(text).map(|nanos| nanos / 1_000_000)
}

/// Nanoseconds of a Go duration; days and weeks count, too, as in Compose. `None` when it is no
/// duration.
#[must_use]
pub fn parse_duration_ns(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(0);
    }
    let mut total_ns = 0.0;
    let mut seen = false;
    while !rest.is_empty() {
        let digits_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits_end].parse().ok()?;
        rest = &rest[digits_end..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor_ns = match &rest[..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            "d" => 86_400e9,
            "w" => 604_800e9,
            _ => return None,
        };
        rest = &rest[unit_end..];
        total_ns += number * factor_ns;
        seen = true;
    }
    // Go's durations are signed numbers of 64 bits.
    (seen && total_ns < i64::MAX as f64).then_some(total_ns as u64)
}

/// A time as Go writes it: `1h0m0s`, `1m30s`, `1.5s`, `500ms`, `0s`.
#[must_use]
pub fn duration_text(nanos: u64) -> String {
    let with_fraction = |nanos: u64, unit: u64| {
        let (whole, rest) = (nanos / unit, nanos % unit);
        let width = unit.ilog10() as usize;
        let fraction = format!("{rest:0width$}");
        match fraction.trim_end_matches('0') {
            "" => whole.to_string(),
            fraction => format!("{whole}.{fraction}"),
        }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", with_fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", with_fraction(nanos, 1_000_000)),
        _ => {
            let seconds = with_fraction(nanos % 60_000_000_000, 1_000_000_000);
            let minutes = nanos / 60_000_000_000;
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("0", 0), ("64m", 64 << 20), ("1.5GB", 3 << 29), ("12 kb", 12288)] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "m", "-1", "3x"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
        assert_eq!(parse_bytes("18446744073709551615k"), None);
    }

    #[test]
    fn durations_are_gos() {
        for (text, millis) in [("1m30s", 90_000), ("500ms", 500), ("1.5s", 1500), ("0", 0)] {
            assert_eq!(parse_duration_ms(text), Some(millis), "{text}");
        }
        for text in ["", "10", "s", "1x"] {
            assert_eq!(parse_duration_ms(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (text, written) in [
            ("0", "0s"),
            ("7ns", "7ns"),
            ("1500ns", "1.5µs"),
            ("500ms", "500ms"),
            ("1.5ms", "1.5ms"),
            ("90s", "1m30s"),
            ("1500ms", "1.5s"),
            ("60m", "1h0m0s"),
            ("1d", "24h0m0s"),
            ("1h0.05s", "1h0m0.05s"),
        ] {
            assert_eq!(
                parse_duration_ns(text).map(duration_text).as_deref(),
                Some(written),
                "{text}"
            );
        }
    }
}
