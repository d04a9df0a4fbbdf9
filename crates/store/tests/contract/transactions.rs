//! Transactions: order, revisions, conditions, limits.

use std::sync::Arc;

use brickyard_store::{BYTES_MAX, Compare, Error, OPERATIONS_MAX, Operation, Outcome, Store, Txn};

use super::{commit, keys};

pub(crate) async fn keys_are_ordered_and_prefixes_are_text(store: Arc<dyn Store>) {
    let txn =
        Txn::new().put("/b", "2").put("/a/z", "1").put("/ab", "3").put("/a", "0").put("/ä", "4");
    let revision = commit(&*store, txn).await;

    let all = store.range("").await.unwrap();
    assert_eq!(keys(&all), ["/a", "/a/z", "/ab", "/b", "/ä"]);
    assert_eq!(all.revision, revision);
    assert_eq!(keys(&store.range("/a").await.unwrap()), ["/a", "/a/z", "/ab"]);
    assert_eq!(keys(&store.range("/a/").await.unwrap()), ["/a/z"]);
    assert_eq!(keys(&store.range("/c").await.unwrap()), [""; 0]);
    assert_eq!(store.get("/nothing").await.unwrap(), None);
    assert_eq!(store.get("").await.unwrap_err(), Error::EmptyKey);
}

pub(crate) async fn one_revision_per_commit(store: Arc<dyn Store>) {
    let first = commit(&*store, Txn::new().put("/a", "1").put("/b", "1")).await;
    let second = commit(&*store, Txn::new().put("/a", "2").delete("/b")).await;
    assert_eq!(second, first + 1);
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!((entry.create_revision, entry.mod_revision), (first, second));

    let nothing = commit(&*store, Txn::new().delete("/b").delete_prefix("/none")).await;
    assert_eq!(nothing, second, "deleting nothing makes no revision");
    assert_eq!(commit(&*store, Txn::new()).await, second);

    let third = commit(&*store, Txn::new().put("/b", "3")).await;
    assert_eq!(third, second + 1);
    let entry = store.get("/b").await.unwrap().unwrap();
    assert_eq!((entry.create_revision, entry.mod_revision), (third, third));
}

pub(crate) async fn compares_decide(store: Arc<dyn Store>) {
    let revision = commit(&*store, Txn::new().put("/a", "1")).await;
    for (compare, holds) in [
        (Compare::absent("/a"), false),
        (Compare::absent("/b"), true),
        (Compare::exists("/a"), true),
        (Compare::exists("/b"), false),
        (Compare::mod_revision("/a", revision), true),
        (Compare::mod_revision("/a", revision + 1), false),
        (Compare::mod_revision("/b", 0), true),
        (Compare::mod_revision("/b", revision), false),
    ] {
        let txn = Txn::new().require(compare.clone());
        let outcome = store.txn(txn).await.unwrap();
        let expected = match holds {
            true => Outcome::Committed { revision },
            false => Outcome::Conflict { revision },
        };
        assert_eq!(outcome, expected, "{compare:?}");
    }

    // One condition that fails stops the whole transaction.
    let txn = Txn::new()
        .require(Compare::exists("/a"))
        .require(Compare::absent("/a"))
        .put("/c", "1")
        .delete("/a");
    assert_eq!(store.txn(txn).await.unwrap(), Outcome::Conflict { revision });
    assert_eq!(keys(&store.range("").await.unwrap()), ["/a"]);
}

/// Many tasks read a counter and write it back under its mod revision. No increment is lost.
pub(crate) async fn exactly_one_of_many_rivals_wins(store: Arc<dyn Store>) {
    let _ = commit(&*store, Txn::new().put("/count", "0")).await;
    let rivals = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                let entry = store.get("/count").await.unwrap().unwrap();
                let count: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let txn = Txn::new()
                    .require(Compare::mod_revision("/count", entry.mod_revision))
                    .put("/count", (count + 1).to_string());
                if let Outcome::Committed { .. } = store.txn(txn).await.unwrap() {
                    done += 1;
                }
            }
        })
    });
    for rival in rivals.collect::<Vec<_>>() {
        rival.await.unwrap();
    }
    assert_eq!(store.get("/count").await.unwrap().unwrap().value, "80");
}

pub(crate) async fn limits_are_refused_by_name(store: Arc<dyn Store>) {
    let many = |count: usize| (0..count).fold(Txn::new(), |txn, at| txn.put(format!("/{at}"), ""));
    let _ = commit(&*store, many(OPERATIONS_MAX)).await;
    let error = store.txn(many(OPERATIONS_MAX + 1)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { operations: 129, .. }), "{error}");
    let compares =
        (0..129).fold(Txn::new(), |txn, at| txn.require(Compare::absent(format!("/x{at}"))));
    let error = store.txn(compares).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");

    // Just below the limit is taken by every store, a real etcd with its own framing included.
    let _ = commit(&*store, Txn::new().put("/big", vec![7; BYTES_MAX - 64])).await;
    let error = store.txn(Txn::new().put("/big", vec![7; BYTES_MAX])).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(store.get("/big").await.unwrap().unwrap().value.len(), BYTES_MAX - 64);
}

pub(crate) async fn a_key_may_be_named_once(store: Arc<dyn Store>) {
    for txn in [
        Txn::new().put("/a", "1").put("/a", "2"),
        Txn::new().put("/a", "1").delete("/a"),
        Txn::new().put("/a/b", "1").delete_prefix("/a"),
        Txn::new().delete_prefix("/a").delete_prefix("/a/b"),
    ] {
        let error = store.txn(txn).await.unwrap_err();
        assert!(matches!(error, Error::DuplicateKey { .. }), "{error}");
    }
    let error = store.txn(Txn::new().put("", "1")).await.unwrap_err();
    assert_eq!(error, Error::EmptyKey);
    assert_eq!(keys(&store.range("").await.unwrap()), [""; 0]);
    // Neighbours of a prefix are other keys.
    let _ = commit(&*store, Txn::new().put("/b", "1").delete_prefix("/a").put("/Z", "1")).await;
}

pub(crate) async fn delete_prefix_deletes_what_it_covers(store: Arc<dyn Store>) {
    let txn = Txn::new().put("/a/1", "").put("/a/2", "").put("/ab", "").put("/b", "");
    let made = commit(&*store, txn).await;
    let mut watch = store.watch_from("", made + 1).await.unwrap();
    let txn =
        Txn::new().operation(Operation::DeletePrefix { prefix: "/a/".to_owned() }).put("/c", "");
    let revision = commit(&*store, txn).await;
    assert_eq!(revision, made + 1);
    assert_eq!(keys(&store.range("").await.unwrap()), ["/ab", "/b", "/c"]);
    let batch = super::next(&mut watch).await;
    assert_eq!(super::changes(&batch), ["-/a/1", "-/a/2", "+/c="]);

    let _ = commit(&*store, Txn::new().delete_prefix("")).await;
    assert_eq!(keys(&store.range("").await.unwrap()), [""; 0]);
}
