//! One contract for every store: the fake, the embedded one and a real etcd.
//!
//! Each rule is a generic function in `contract/`; the macro makes one test of it for each store.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod contract;
mod embedded;
mod etcd_server;

use std::sync::Arc;
use std::time::Duration;

use brickyard_core::SystemClock;
use brickyard_store::{Config, Etcd, EtcdConfig, Memory, Redb, Store, Txn};
use camino::Utf8PathBuf;

use etcd_server::EtcdServer;

/// A store under test, and what must live as long as it.
struct Subject {
    store: Arc<dyn Store>,
    _directory: Option<tempfile::TempDir>,
    _server: Option<EtcdServer>,
}

async fn memory() -> Subject {
    Subject { store: Arc::new(Memory::default()), _directory: None, _server: None }
}

async fn redb() -> Subject {
    let directory = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(directory.path().join("store")).unwrap();
    let config = Config::new(Arc::new(SystemClock::default()));
    Subject {
        store: Arc::new(Redb::open(&path, config).unwrap()),
        _directory: Some(directory),
        _server: None,
    }
}

async fn etcd() -> Subject {
    let server = EtcdServer::start().await;
    let store = Etcd::connect(EtcdConfig::new([server.endpoint()])).await;
    Subject { store: Arc::new(store.unwrap()), _directory: None, _server: Some(server) }
}

macro_rules! contract {
    ($($module:ident :: $rule:ident),* $(,)?) => {
        mod in_memory { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                let subject = super::memory().await;
                crate::contract::$module::$rule(subject.store.clone()).await;
            }
        )* }
        mod in_redb { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                let subject = super::redb().await;
                crate::contract::$module::$rule(subject.store.clone()).await;
            }
        )* }
        // One server takes its time to start, so all rules share one, each after the other has
        // emptied it; compaction comes last because it takes the others' history.
        #[tokio::test(flavor = "multi_thread")]
        async fn in_etcd() {
            let subject = etcd().await;
            $(
                println!("{}", stringify!($rule));
                let all = Txn::new().delete_prefix("");
                let _ = subject.store.txn(all).await.unwrap();
                contract::$module::$rule(subject.store.clone()).await;
            )*
        }
    };
}

contract![
    transactions::keys_are_ordered_and_prefixes_are_text,
    transactions::one_revision_per_commit,
    transactions::compares_decide,
    transactions::exactly_one_of_many_rivals_wins,
    transactions::limits_are_refused_by_name,
    transactions::a_key_may_be_named_once,
    transactions::delete_prefix_deletes_what_it_covers,
    watches::a_transaction_arrives_whole,
    watches::a_snapshot_and_its_watch_have_no_gap,
    watches::only_the_prefix_is_seen,
    watches::history_is_replayed,
    watches::a_slow_watcher_loses_nothing,
    watches::a_dropped_wait_loses_nothing,
    leases::keys_end_with_their_lease,
    leases::keep_alive_keeps,
    leases::revoking_deletes_in_one_batch,
    leases::a_key_put_again_leaves_its_lease,
    leases::an_unknown_lease_is_named,
    watches::compacted_history_is_said_to_be_gone,
];

/// The server is killed and comes back: the watch goes on where it was, without a gap, and the
/// caller sees at most errors that it may retry.
#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_watch_outlives_a_restart_of_the_server() {
    let mut server = EtcdServer::start().await;
    let store = Etcd::connect(EtcdConfig::new([server.endpoint()])).await.unwrap();
    let (snapshot, mut watch) = store.watch("/").await.unwrap();
    let first = contract::commit(&store, Txn::new().put("/a", "1")).await;
    assert_eq!(contract::next(&mut watch).await.revision, first);

    server.restart().await;
    let other = Etcd::connect(EtcdConfig::new([server.endpoint()])).await.unwrap();
    let second = contract::commit(&other, Txn::new().put("/a", "2")).await;
    assert_eq!(second, snapshot.revision + 2);
    let batch = loop {
        match watch.next().await {
            Ok(batch) => break batch,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((batch.revision, contract::changes(&batch)), (second, vec!["+/a=2".to_owned()]));
}

#[tokio::test]
async fn a_cluster_that_is_away_is_a_retryable_error() {
    let mut config = EtcdConfig::new(["http://127.0.0.1:1"]);
    config.timeout = Duration::from_millis(500);
    let error = Etcd::connect(config).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}
