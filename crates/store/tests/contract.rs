//! The rules of a store, each as a function over any store.

pub(crate) mod leases;
pub(crate) mod transactions;
pub(crate) mod watches;

use std::time::Duration;

use brickyard_store::{Batch, Change, Outcome, Revision, Snapshot, Store, Txn, Watch};

/// No wait in these tests is longer than this unless something is wrong.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn commit(store: &dyn Store, txn: Txn) -> Revision {
    match store.txn(txn).await.unwrap() {
        Outcome::Committed { revision } => revision,
        Outcome::Conflict { revision } => panic!("conflict at {revision}"),
    }
}

pub(crate) async fn next(watch: &mut Watch) -> Batch {
    let next = tokio::time::timeout(DEADLINE, watch.next()).await;
    next.expect("a batch within the deadline").unwrap()
}

/// `+key=value` and `-key`, in order.
pub(crate) fn changes(batch: &Batch) -> Vec<String> {
    let show = |change: &Change| match change {
        Change::Put(entry) => {
            format!("+{}={}", entry.key, String::from_utf8_lossy(&entry.value))
        }
        Change::Delete { key } => format!("-{key}"),
    };
    batch.changes.iter().map(show).collect()
}

pub(crate) fn keys(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.entries.iter().map(|entry| entry.key.as_str()).collect()
}
