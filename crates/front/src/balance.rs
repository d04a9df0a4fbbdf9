//! Which backend a connection goes to.
//!
//! Round robin; a backend that refused a connection comes last for a second. Only the choice is
//! here: connecting is for `listen`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long a backend that failed comes last. A crashed instance is back, or gone from the
/// snapshot, after about as long.
const PENALTY: Duration = Duration::from_secs(1);

/// The backends of one listener.
pub(crate) struct Balance {
    turn: Mutex<Turn>,
    backends: watch::Sender<Vec<SocketAddr>>,
}

#[derive(Default)]
struct Turn {
    next: usize,
    failed: BTreeMap<SocketAddr, Instant>,
}

impl Balance {
    pub(crate) fn new(backends: &[SocketAddr]) -> Self {
        Self { turn: Mutex::default(), backends: watch::channel(backends.to_vec()).0 }
    }

    /// Changes the backends for connections to come.
    pub(crate) fn set(&self, backends: &[SocketAddr]) {
        let changed = self.backends.send_if_modified(|current| {
            let differs = current != backends;
            if differs {
                *current = backends.to_vec();
            }
            differs
        });
        if changed {
            // An address that was left and taken again is another instance.
            self.turn().failed.retain(|backend, _| backends.contains(backend));
        }
    }

    /// Tells of changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.backends.subscribe()
    }

    /// Notes that a backend could not be reached.
    pub(crate) fn failed(&self, backend: SocketAddr) {
        self.turn().failed.insert(backend, Instant::now());
    }

    /// All backends, in the order in which the next connection tries them.
    pub(crate) fn candidates(&self) -> Vec<SocketAddr> {
        let mut backends = self.backends.borrow().clone();
        if backends.is_empty() {
            return backends;
        }
        let mut turn = self.turn();
        let first = turn.next % backends.len();
        turn.next = first + 1;
        turn.failed.retain(|_, at| at.elapsed() < PENALTY);
        backends.rotate_left(first);
        // The sort is stable, so the turn decides among those that are well.
        backends.sort_by_key(|backend| turn.failed.contains_key(backend));
        backends
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    #[test]
    fn every_backend_has_its_turn() {
        let balance = Balance::new(&[backend(1), backend(2), backend(3)]);
        let firsts: Vec<SocketAddr> = (0..6).map(|_| balance.candidates()[0]).collect();
        let expected = [1, 2, 3, 1, 2, 3].map(backend);
        assert_eq!(firsts, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_failed_comes_last_for_a_second() {
        let balance = Balance::new(&[backend(1), backend(2)]);
        balance.failed(backend(1));
        for _ in 0..4 {
            assert_eq!(balance.candidates(), [backend(2), backend(1)]);
        }
        tokio::time::advance(PENALTY).await;
        let firsts: Vec<SocketAddr> = (0..2).map(|_| balance.candidates()[0]).collect();
        assert!(firsts.contains(&backend(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_comes_back_has_no_penalty() {
        let balance = Balance::new(&[backend(1), backend(2)]);
        balance.failed(backend(1));
        balance.set(&[backend(2)]);
        balance.set(&[backend(1), backend(2)]);
        let firsts: Vec<SocketAddr> = (0..2).map(|_| balance.candidates()[0]).collect();
        assert!(firsts.contains(&backend(1)));
    }
}
