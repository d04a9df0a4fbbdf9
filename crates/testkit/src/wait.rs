//! Waiting for states.

use std::time::{Duration, Instant};

/// How long a test waits for something that happens by itself. Generous: a busy machine must not
/// fail a test, and a test that passes never waits so long.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// How often a state is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `holds`.
///
/// # Panics
/// When it does not within `deadline`; the message says `what` was waited for.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, deadline, || holds().then_some(()));
}

/// Waits until `look` finds something.
///
/// # Panics
/// When it does not within `deadline`; the message says `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < deadline, "{what}: not within {} s", deadline.as_secs_f32());
        std::thread::sleep(PAUSE);
    }
}
