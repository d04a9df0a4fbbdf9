//! Leases: keys that go away with their owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use brickyard_store::{Error, LeaseId, Store, Txn};

use super::{changes, commit, keys, next};

/// A real etcd raises shorter ones to this.
const TTL_SECONDS: u64 = 2;

pub(crate) async fn keys_end_with_their_lease(store: Arc<dyn Store>) {
    let lease = store.lease_grant(TTL_SECONDS).await.unwrap();
    let begin = Instant::now();
    let txn = Txn::new().put_leased("/a", "1", lease).put_leased("/b", "1", lease).put("/c", "1");
    let made = commit(&*store, txn).await;
    assert_eq!(store.get("/a").await.unwrap().unwrap().lease, Some(lease));

    let mut watch = store.watch_from("/", made + 1).await.unwrap();
    let batch = next(&mut watch).await;
    assert!(begin.elapsed() > Duration::from_millis(1500), "{:?}", begin.elapsed());
    let mut gone = changes(&batch);
    gone.sort();
    assert_eq!(gone, ["-/a", "-/b"]);
    assert_eq!(batch.revision, made + 1);
    assert_eq!(keys(&store.range("").await.unwrap()), ["/c"]);
    let error = store.lease_keep_alive(lease).await.unwrap_err();
    assert_eq!(error, Error::LeaseNotFound { lease });
}

pub(crate) async fn keep_alive_keeps(store: Arc<dyn Store>) {
    let lease = store.lease_grant(TTL_SECONDS).await.unwrap();
    let _ = commit(&*store, Txn::new().put_leased("/a", "1", lease)).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        store.lease_keep_alive(lease).await.unwrap();
    }
    assert!(store.get("/a").await.unwrap().is_some());
    store.lease_revoke(lease).await.unwrap();
}

pub(crate) async fn revoking_deletes_in_one_batch(store: Arc<dyn Store>) {
    let lease = store.lease_grant(60).await.unwrap();
    let other = store.lease_grant(60).await.unwrap();
    let mut made = 0;
    for key in ["/a", "/b", "/c"] {
        made = commit(&*store, Txn::new().put_leased(key, "1", lease)).await;
    }
    made = commit(&*store, Txn::new().put_leased("/d", "1", other)).await.max(made);
    let mut watch = store.watch_from("/", made + 1).await.unwrap();
    store.lease_revoke(lease).await.unwrap();
    let batch = next(&mut watch).await;
    let mut gone = changes(&batch);
    gone.sort();
    assert_eq!(gone, ["-/a", "-/b", "-/c"]);
    assert_eq!(keys(&store.range("").await.unwrap()), ["/d"]);
    let error = store.lease_revoke(lease).await.unwrap_err();
    assert_eq!(error, Error::LeaseNotFound { lease });
    store.lease_revoke(other).await.unwrap();
}

pub(crate) async fn a_key_put_again_leaves_its_lease(store: Arc<dyn Store>) {
    let lease = store.lease_grant(60).await.unwrap();
    let other = store.lease_grant(60).await.unwrap();
    let _ =
        commit(&*store, Txn::new().put_leased("/a", "1", lease).put_leased("/b", "1", lease)).await;
    let _ = commit(&*store, Txn::new().put("/a", "2").put_leased("/b", "2", other)).await;
    store.lease_revoke(lease).await.unwrap();
    assert_eq!(keys(&store.range("").await.unwrap()), ["/a", "/b"]);
    store.lease_revoke(other).await.unwrap();
    assert_eq!(keys(&store.range("").await.unwrap()), ["/a"]);
}

pub(crate) async fn an_unknown_lease_is_named(store: Arc<dyn Store>) {
    let lease = LeaseId(4711);
    let expected = Error::LeaseNotFound { lease };
    let txn = Txn::new().put("/a", "1").put_leased("/b", "1", lease);
    assert_eq!(store.txn(txn).await.unwrap_err(), expected);
    assert_eq!(store.lease_keep_alive(lease).await.unwrap_err(), expected);
    assert_eq!(store.lease_revoke(lease).await.unwrap_err(), expected);
    assert_eq!(keys(&store.range("").await.unwrap()), [""; 0], "nothing of it was done");
}
