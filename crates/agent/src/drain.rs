//! Draining: requests that are under way when an instance is to be stopped are finished first.
//!
//! Bytes have no request in them, so this looks at whose turn it is: a connection on which the
//! instance spoke last, and some time ago, is between two requests. One that was seen so need not
//! be waited for again, nor one that was opened later: those that know better are served elsewhere
//! already.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use brickyard_engine::{Connection, Engine, Error, InstanceId};
use tokio::time::{Instant, sleep};

/// Silence after which an answer counts as whole.
const QUIET_MS: u64 = 200;
/// Silence after which nothing is expected to be asked on a new connection.
const UNASKED_MS: u64 = 1000;
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// For how long new connections may still appear that were on their way.
const ARRIVING: Duration = Duration::from_millis(20);

/// The connections of an instance that is to be stopped.
#[derive(Debug, Default)]
struct Pending {
    /// By peer and port: whether it was seen between two requests.
    known: BTreeMap<(SocketAddr, u16), bool>,
}

impl Pending {
    /// Takes in what there is now; `arriving` tells whether unknown connections count. Returns how
    /// many are still in the middle of something.
    fn look(&mut self, connections: &[Connection], arriving: bool) -> usize {
        let now: BTreeMap<_, _> =
            connections.iter().map(|one| ((one.peer, one.port), one)).collect();
        self.known.retain(|key, _| now.contains_key(key));
        for (key, connection) in now {
            if arriving || self.known.contains_key(&key) {
                *self.known.entry(key).or_default() |= is_between_requests(connection);
            }
        }
        self.known.values().filter(|done| !**done).count()
    }
}

fn is_between_requests(connection: &Connection) -> bool {
    let silent_ms = connection.sent_ago_ms.min(connection.received_ago_ms);
    let rests = match (connection.received_bytes, connection.sent_bytes) {
        (0, _) => silent_ms >= UNASKED_MS,
        (_, 0) => false,
        // The kernel counts in ticks of some milliseconds: an answer within one of them is as old
        // as its question.
        _ => connection.sent_ago_ms <= connection.received_ago_ms && silent_ms >= QUIET_MS,
    };
    connection.queued_bytes == 0 && (rests || !connection.is_open)
}

/// Waits until the instance is in the middle of nothing, at most for `limit`; of connections from
/// `only_from` alone, where that is given. Returns how many were still under way.
pub(crate) async fn drain(
    engine: &dyn Engine,
    id: &InstanceId,
    only_from: Option<Ipv4Addr>,
    limit: Duration,
) -> usize {
    let start = Instant::now();
    let mut pending = Pending::default();
    loop {
        // Before they are listed, which may take longer (the first time, the kernel loads a module
        // for it): the first list counts in any case.
        let arriving = start.elapsed() < ARRIVING;
        let mut connections = match engine.connections(id).await {
            Ok(connections) => connections,
            // It has ended, and its connections with it.
            Err(Error::NotRunning { .. } | Error::Unknown { .. }) => return 0,
            Err(err) => {
                tracing::warn!("{}", err.whole());
                return 0;
            }
        };
        if let Some(peer) = only_from {
            connections.retain(|connection| connection.peer.ip() == peer);
        }
        let busy = pending.look(&connections, arriving);
        if (busy == 0 && !arriving) || start.elapsed() >= limit {
            return busy;
        }
        sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(received: u64, received_ago_ms: u64, sent_ago_ms: u64) -> Connection {
        Connection {
            peer: SocketAddr::from(([10, 0, 0, 1], 4000)),
            port: 80,
            is_open: true,
            queued_bytes: 0,
            received_bytes: received,
            sent_bytes: 10,
            received_ago_ms,
            sent_ago_ms,
        }
    }

    #[test]
    fn whose_turn_it_is_decides() {
        let asked = connection(10, 5000, 6000);
        let answering = connection(10, 60, 10);
        let answered = connection(10, 300, 250);
        let fresh = connection(0, 10, 10);
        let silent = connection(0, 1400, 1400);
        let first = Connection { sent_bytes: 0, ..connection(10, 300, 300) };
        let unread = Connection { queued_bytes: 5, ..answered };
        for (one, between) in [
            (asked, false),
            (answering, false),
            (answered, true),
            (fresh, false),
            (silent, true),
            (first, false),
            (unread, false),
        ] {
            assert_eq!(is_between_requests(&one), between, "{one:?}");
        }
    }

    #[test]
    fn a_connection_is_waited_for_once() {
        let mut pending = Pending::default();
        assert_eq!(pending.look(&[connection(10, 1, 2)], true), 1);
        assert_eq!(pending.look(&[connection(10, 300, 250)], false), 0);
        // Its next request is its own risk, and so is a connection that comes later.
        assert_eq!(pending.look(&[connection(20, 1, 2)], false), 0);
        let peer = SocketAddr::from(([10, 0, 0, 1], 4001));
        let later = Connection { peer, ..connection(10, 1, 2) };
        assert_eq!(pending.look(&[later], false), 0);
        assert_eq!(pending.look(&[later], true), 1);
        assert_eq!(pending.look(&[], false), 0);
    }
}
