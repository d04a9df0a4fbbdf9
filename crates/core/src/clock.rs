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
