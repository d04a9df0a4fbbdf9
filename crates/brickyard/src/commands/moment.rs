//! Moments as people type them after `--since` and `--until`.

use brickyard_core::clock::{Clock, Millis, SystemClock, parse_moment};

use crate::error::CommandError;

/// The moment that a flag names; `None` when it was not given.
pub(crate) fn moment(text: Option<&String>) -> Result<Option<Millis>, CommandError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let found = parse_moment(text, SystemClock::default().now_ms());
    found.map(Some).ok_or_else(|| {
        CommandError::usage(format!("`{text}` is no moment")).hint(
            "write a time (2026-01-31T12:00:00Z), seconds since 1970, or how long ago (1h30m)",
        )
    })
}
