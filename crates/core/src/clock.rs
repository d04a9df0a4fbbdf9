//! Time behind a port: wall time for records, monotonic time for waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// Tells the time. Deciding code gets the time as a value; only shells hold a clock.
pub trait Clock: Send + Sync {
    /// Wall time in milliseconds since the Unix epoch; it may jump.
    fn now_ms(&self) -> Millis;
    /// Milliseconds since this clock was made; it never goes back.
    fn monotonic_ms(&self) -> Millis;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ms(&self) -> Millis {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct TestClock {
    now_ms: AtomicU64,
}

impl TestClock {
    /// Moves time forward.
    pub fn advance(&self, millis: Millis) {
        self.now_ms.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> Millis {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> Millis {
        self.now_ms.load(Ordering::SeqCst)
    }
}

/// The time as RFC 3339 in UTC with milliseconds, as logs and events show it.
#[must_use]
pub fn rfc3339(millis: Millis) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| "?".to_owned(), |time| format!("{time:.3}"))
}

/// A moment as people give one to `--since`: RFC 3339 (a date alone is its midnight, a time without
/// zone is UTC), seconds since the Unix epoch with or without a fraction, or a duration before
/// `now_ms` such as `1h30m`. `None` when it is none of them.
#[must_use]
pub fn parse_moment(text: &str, now_ms: Millis) -> Option<Millis> {
    let text = text.trim();
    if let Some(millis) = crate::size::parse_duration_ms(text).filter(|_| text != "0") {
        return Some(now_ms.saturating_sub(millis));
    }
    if text.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(seconds) = text.parse::<f64>()
    {
        return Some((seconds * 1000.0) as Millis);
    }
    let zoned = text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond);
    let civil = || {
        let civil = text.parse::<jiff::civil::DateTime>().or_else(|_| {
            text.parse::<jiff::civil::Date>().map(|date| date.to_datetime(jiff::civil::Time::MIN))
        });
        let zoned = civil.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp().as_millisecond())
    };
    zoned.ok().or_else(civil).and_then(|millis| Millis::try_from(millis).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_all_forms() {
        let now_ms = 1_700_000_000_000;
        for (text, expected) in [
            ("10m", now_ms - 600_000),
            ("1h30m", now_ms - 5_400_000),
            ("1699999999", 1_699_999_999_000),
            ("1699999999.25", 1_699_999_999_250),
            ("0", 0),
            ("2023-11-14T22:13:19Z", now_ms - 1000),
            ("2023-11-14T23:13:19.500+01:00", now_ms - 500),
            ("2023-11-14T22:13:19", now_ms - 1000),
            ("2023-11-14", 1_699_920_000_000),
        ] {
            assert_eq!(parse_moment(text, now_ms), Some(expected), "{text}");
        }
        for text in ["", "yesterday", "10x", "-5", "2023-13-01"] {
            assert_eq!(parse_moment(text, now_ms), None, "{text}");
        }
    }
}
