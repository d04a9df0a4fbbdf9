//! Whether what has ended is started again: one table of policy and ending, as Compose's users
//! know it, and the pauses between starts.

use brickyard_core::clock::Millis;
use brickyard_core::spec::{Exit, Lost};
use brickyard_model::types::RestartPolicy;

use crate::observed::Record;

/// First pause after a failure; it doubles with each further one.
pub const BACKOFF_FIRST_MS: Millis = 100;
/// Longest pause.
pub const BACKOFF_LAST_MS: Millis = 60_000;

/// How a generation came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its process ended with 0.
    Success,
    /// Its process ended with something else, or was never started.
    Failure,
    /// The kernel killed something in it for want of memory.
    OutOfMemory,
    /// Its monitor was killed: nobody saw how it ended.
    MonitorLost,
    /// The machine was started anew.
    Reboot,
}

impl Ending {
    /// The ending that an exit tells of; a start that was refused has none.
    #[must_use]
    pub fn of(exit: Option<Exit>) -> Self {
        match exit {
            None => Self::Failure,
            Some(Exit { lost: Some(Lost::Reboot), .. }) => Self::Reboot,
            Some(Exit { lost: Some(Lost::Monitor), .. }) => Self::MonitorLost,
            Some(Exit { oom: true, .. }) => Self::OutOfMemory,
            Some(Exit { code: 0, .. }) => Self::Success,
            Some(_) => Self::Failure,
        }
    }

    /// Whether something went wrong.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::OutOfMemory | Self::MonitorLost)
    }
}

/// What a policy says to an ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Stay,
    /// It is started again.
    Again,
    /// It is started again until it has failed too often in a row.
    Count,
}

/// The table.
///
/// | policy | success | failure | out of memory | monitor lost | reboot |
/// |---|---|---|---|---|---|
/// | `no` | stays | stays | stays | stays | stays |
/// | `on-failure[:N]` | stays | counts | counts | counts | stays |
/// | `always`, `unless-stopped` | again | again | again | again | again |
///
/// What was stopped by hand does not come here. At a reboot `always` forgets that it was.
#[must_use]
pub fn verdict(policy: &RestartPolicy, ending: Ending) -> Verdict {
    match (policy, ending) {
        (RestartPolicy::No, _) => Verdict::Stay,
        (RestartPolicy::Always | RestartPolicy::UnlessStopped, _) => Verdict::Again,
        (RestartPolicy::OnFailure { .. }, Ending::Success | Ending::Reboot) => Verdict::Stay,
        (
            RestartPolicy::OnFailure { .. },
            Ending::Failure | Ending::OutOfMemory | Ending::MonitorLost,
        ) => Verdict::Count,
    }
}

/// Whether a generation that ended is started again.
#[must_use]
pub fn again(policy: &RestartPolicy, ending: Ending, record: &Record) -> bool {
    match (verdict(policy, ending), policy) {
        (Verdict::Stay, _) => false,
        (Verdict::Count, RestartPolicy::OnFailure { retries_max: Some(most) }) => {
            record.failures <= *most
        }
        (Verdict::Again | Verdict::Count, _) => true,
    }
}

/// The pause before the next start, after so many failures in a row.
#[must_use]
pub fn backoff_ms(failures: u32) -> Millis {
    (BACKOFF_FIRST_MS << failures.min(16)).min(BACKOFF_LAST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds() {
        use Ending::{Failure, MonitorLost, OutOfMemory, Reboot, Success};
        use Verdict::{Again, Count, Stay};
        let on_failure = RestartPolicy::OnFailure { retries_max: Some(2) };
        let rows = [
            (RestartPolicy::No, [Stay, Stay, Stay, Stay, Stay]),
            (on_failure, [Stay, Count, Count, Count, Stay]),
            (RestartPolicy::Always, [Again; 5]),
            (RestartPolicy::UnlessStopped, [Again; 5]),
        ];
        for (policy, verdicts) in rows {
            let endings = [Success, Failure, OutOfMemory, MonitorLost, Reboot];
            for (ending, expected) in endings.into_iter().zip(verdicts) {
                assert_eq!(verdict(&policy, ending), expected, "{policy:?} {ending:?}");
            }
        }
    }

    #[test]
    fn an_exit_is_read_by_what_weighs_most() {
        let exit = Exit { code: 137, oom: true, lost: None, time_ms: 0 };
        assert_eq!(Ending::of(Some(exit)), Ending::OutOfMemory);
        let lost = Exit { lost: Some(Lost::Monitor), ..exit };
        assert_eq!(Ending::of(Some(lost)), Ending::MonitorLost);
        let reboot = Exit { lost: Some(Lost::Reboot), ..exit };
        assert_eq!(Ending::of(Some(reboot)), Ending::Reboot);
        assert_eq!(Ending::of(Some(Exit { code: 0, oom: false, ..exit })), Ending::Success);
        assert_eq!(Ending::of(None), Ending::Failure);
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        assert_eq!([0, 1, 2, 9, 10, 99].map(backoff_ms), [100, 200, 400, 51_200, 60_000, 60_000]);
    }
}
