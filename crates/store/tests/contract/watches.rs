//! Watches: whole transactions, in order, none lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use brickyard_store::{Change, Error, Store, Txn};

use super::{changes, commit, keys, next};

pub(crate) async fn a_transaction_arrives_whole(store: Arc<dyn Store>) {
    let _ = commit(&*store, Txn::new().put("/b", "0")).await;
    let (_, mut watch) = store.watch("/").await.unwrap();
    let first = commit(&*store, Txn::new().put("/c", "1").delete("/b").put("/a", "1")).await;
    let second = commit(&*store, Txn::new().put("/a", "2")).await;

    let batch = next(&mut watch).await;
    assert_eq!(changes(&batch), ["+/c=1", "-/b", "+/a=1"]);
    assert_eq!(batch.revision, first);
    let batch = next(&mut watch).await;
    assert_eq!(batch.revision, second);
    let Change::Put(entry) = &batch.changes[0] else { panic!("{batch:?}") };
    assert_eq!((entry.create_revision, entry.mod_revision), (first, second));
}

/// Writers run all the time; again and again a snapshot with its watch is taken and followed to
/// the end. Snapshot plus changes must give exactly what is stored then, and every revision once.
pub(crate) async fn a_snapshot_and_its_watch_have_no_gap(store: Arc<dyn Store>) {
    let writers = (0..3).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 0..60 {
                let both = round.to_string();
                let txn = Txn::new()
                    .put(format!("/w/{writer}/left"), both.clone())
                    .put(format!("/w/{writer}/right"), both);
                let _ = commit(&*store, txn).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let watchers = (0..6).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            let (snapshot, mut watch) = store.watch("/w/").await.unwrap();
            let mut revision = snapshot.revision;
            let mut seen: BTreeMap<String, _> = snapshot
                .entries
                .into_iter()
                .map(|entry| (entry.key.clone(), entry.value))
                .collect();
            let done = |seen: &BTreeMap<String, bytes::Bytes>| {
                seen.len() == 6 && seen.values().all(|value| value == "59")
            };
            while !done(&seen) {
                let batch = next(&mut watch).await;
                assert_eq!(batch.revision, revision + 1, "one batch per revision");
                assert_eq!(batch.changes.len(), 2, "both keys of a transaction at once");
                revision = batch.revision;
                for change in batch.changes {
                    let Change::Put(entry) = change else { panic!("{change:?}") };
                    seen.insert(entry.key, entry.value);
                }
            }
        })
    });
    for task in writers.into_iter().chain(watchers.collect::<Vec<_>>()) {
        task.await.unwrap();
    }
}

pub(crate) async fn only_the_prefix_is_seen(store: Arc<dyn Store>) {
    let _ = commit(&*store, Txn::new().put("/a/0", "").put("/b/0", "")).await;
    let (snapshot, mut watch) = store.watch("/a/").await.unwrap();
    assert_eq!(keys(&snapshot), ["/a/0"]);
    let _ = commit(&*store, Txn::new().put("/b/1", "")).await;
    let _ = commit(&*store, Txn::new().put("/ab", "").put("/a/1", "").put("/b/2", "")).await;
    assert_eq!(changes(&next(&mut watch).await), ["+/a/1="]);
    let _ = commit(&*store, Txn::new().delete_prefix("/")).await;
    assert_eq!(changes(&next(&mut watch).await), ["-/a/0", "-/a/1"]);
}

pub(crate) async fn history_is_replayed(store: Arc<dyn Store>) {
    let first = commit(&*store, Txn::new().put("/a", "1")).await;
    let _ = commit(&*store, Txn::new().put("/other", "1")).await;
    let third = commit(&*store, Txn::new().delete("/a")).await;

    let mut watch = store.watch_from("/a", first).await.unwrap();
    let batch = next(&mut watch).await;
    assert_eq!((batch.revision, changes(&batch)), (first, vec!["+/a=1".to_owned()]));
    let batch = next(&mut watch).await;
    assert_eq!((batch.revision, changes(&batch)), (third, vec!["-/a".to_owned()]));

    // A watch may begin in the future; what comes before its revision is not seen.
    let mut watch = store.watch_from("/a", third + 2).await.unwrap();
    let _ = commit(&*store, Txn::new().put("/a", "4")).await;
    let _ = commit(&*store, Txn::new().put("/a", "5")).await;
    assert_eq!(changes(&next(&mut watch).await), ["+/a=5"]);
}

/// Nobody reads while far more happens than any queue holds; then everything is read.
pub(crate) async fn a_slow_watcher_loses_nothing(store: Arc<dyn Store>) {
    const COUNT: usize = 3000;
    let (snapshot, mut watch) = store.watch("/n/").await.unwrap();
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for at in 0..COUNT / 8 {
                let _ = commit(&*store, Txn::new().put(format!("/n/{writer}/{at}"), "x")).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for at in 1..=COUNT as u64 {
        assert_eq!(next(&mut watch).await.revision, snapshot.revision + at);
    }
}

/// `next` is dropped over and over while batches arrive, as a `select!` does.
pub(crate) async fn a_dropped_wait_loses_nothing(store: Arc<dyn Store>) {
    let (snapshot, mut watch) = store.watch("/d").await.unwrap();
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for at in 0..100 {
                let _ = commit(&*store, Txn::new().put("/d", at.to_string())).await;
            }
        }
    });
    let mut revision = snapshot.revision;
    let mut dropped = 0;
    while revision < snapshot.revision + 100 {
        match tokio::time::timeout(Duration::from_micros(50), watch.next()).await {
            Ok(batch) => {
                revision += 1;
                assert_eq!(batch.unwrap().revision, revision);
            }
            Err(_) => dropped += 1,
        }
        assert!(dropped < 1_000_000, "batches stopped at {revision}");
    }
    writer.await.unwrap();
}

pub(crate) async fn compacted_history_is_said_to_be_gone(store: Arc<dyn Store>) {
    let first = commit(&*store, Txn::new().put("/a", "1")).await;
    for at in 2..6 {
        let _ = commit(&*store, Txn::new().put("/a", at.to_string())).await;
    }
    store.compact(first + 2).await.unwrap();
    store.compact(first + 1).await.unwrap();

    let error = store.watch_from("/a", first).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { .. }), "{error}");
    let mut watch = store.watch_from("/a", first + 3).await.unwrap();
    assert_eq!(changes(&next(&mut watch).await), ["+/a=4"]);
    assert_eq!(store.get("/a").await.unwrap().unwrap().value, "5");

    let error = store.compact(first + 1000).await.unwrap_err();
    assert_eq!(error, Error::FutureRevision { revision: first + 1000, current: first + 4 });
    assert!(!error.is_retryable());
}
