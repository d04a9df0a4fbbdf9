//! Pauses that end together: a hundred instances then wake the agent at one moment and not at a
//! hundred.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

/// When a pause ends that may take up to `grain` longer: at a full multiple of it since the agent's
/// start.
pub(crate) fn shared_end(pause: Duration, grain: Duration) -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let epoch = *EPOCH.get_or_init(Instant::now);
    let after = (epoch.elapsed() + pause).as_millis() / grain.as_millis().max(1) + 1;
    epoch + grain * u32::try_from(after).unwrap_or(u32::MAX)
}
