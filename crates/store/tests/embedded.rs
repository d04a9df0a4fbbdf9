//! What only the file has: reopening, locks, versions, damage, and `kill -9` in mid-write.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use brickyard_core::{SystemClock, TestClock};
use brickyard_store::{Change, Config, Error, Redb, Store, Txn};
use camino::{Utf8Path, Utf8PathBuf};
use redb::ReadableDatabase;

use crate::contract::{changes, commit, keys, next};

fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(directory.path().join("store")).unwrap();
    (directory, path)
}

fn config() -> Config {
    Config::new(Arc::new(SystemClock::default()))
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let (_directory, path) = directory();
    let store = Redb::open(&path, config()).unwrap();
    let first = commit(&store, Txn::new().put("/a", "1").put("/b", "1")).await;
    let last = commit(&store, Txn::new().delete("/b")).await;
    let mut orphan = store.watch_from("/", last + 1).await.unwrap();
    drop(store);
    assert_eq!(orphan.next().await.unwrap_err(), Error::Closed);

    let store = Redb::open(&path, config()).unwrap();
    let all = store.range("").await.unwrap();
    assert_eq!((all.revision, keys(&all)), (last, vec!["/a"]));
    let mut watch = store.watch_from("", first).await.unwrap();
    assert_eq!(changes(&next(&mut watch).await), ["+/a=1", "+/b=1"]);
    assert_eq!(changes(&next(&mut watch).await), ["-/b"]);
    assert_eq!(commit(&store, Txn::new().put("/c", "1")).await, last + 1);
    assert_eq!(changes(&next(&mut watch).await), ["+/c=1"]);
}

#[tokio::test]
async fn a_lease_has_its_whole_time_again_after_reopening() {
    let (_directory, path) = directory();
    let clock = Arc::new(TestClock::default());
    let store = Redb::open(&path, Config::new(clock.clone())).unwrap();
    let lease = store.lease_grant(10).await.unwrap();
    let _ = commit(&store, Txn::new().put_leased("/a", "1", lease)).await;
    clock.advance(9_000);
    drop(store);

    let store = Redb::open(&path, Config::new(clock.clone())).unwrap();
    clock.advance(9_000);
    // A write passes through the writer, which looks for ended leases first.
    let _ = commit(&store, Txn::new().put("/b", "1")).await;
    assert_eq!(keys(&store.range("").await.unwrap()), ["/a", "/b"]);
    let other = store.lease_grant(10).await.unwrap();
    assert!(other > lease, "the id of a lease is not used again");

    let (_, mut watch) = store.watch("/a").await.unwrap();
    clock.advance(1_001);
    assert_eq!(changes(&next(&mut watch).await), ["-/a"]);
    let error = store.lease_keep_alive(lease).await.unwrap_err();
    assert_eq!(error, Error::LeaseNotFound { lease });
}

#[tokio::test]
async fn the_log_is_bounded_in_revisions_and_bytes() {
    let (_directory, path) = directory();
    let bounded = |revisions, bytes| Config {
        log_revisions_max: revisions,
        log_bytes_max: bytes,
        ..config()
    };
    let store = Redb::open(&path, bounded(50, 1 << 20)).unwrap();
    let mut last = 0;
    for at in 0..200 {
        last = commit(&store, Txn::new().put("/a", at.to_string())).await;
    }
    let error = store.watch_from("/a", last - 60).await.unwrap_err();
    let Error::Compacted { compacted } = error else { panic!("{error}") };
    assert!((last - 55..=last - 50).contains(&compacted), "{compacted} of {last}");
    drop(store);

    let store = Redb::open(&path, bounded(50, 10_000)).unwrap();
    for _ in 0..20 {
        last = commit(&store, Txn::new().put("/a", vec![0; 2_000])).await;
    }
    drop(store);
    // Opened again, nothing is in memory: what is left comes from the file.
    let store = Redb::open(&path, bounded(50, 10_000)).unwrap();
    assert!(store.watch_from("/a", last - 5).await.is_err());
    let mut watch = store.watch_from("/a", last - 3).await.unwrap();
    assert_eq!(next(&mut watch).await.revision, last - 3);
}

#[tokio::test]
async fn a_watch_overtaken_by_compaction_is_told() {
    let (_directory, path) = directory();
    let store = Redb::open(&path, config()).unwrap();
    let (_, mut watch) = store.watch("/a").await.unwrap();
    let mut last = 0;
    for _ in 0..5 {
        last = commit(&store, Txn::new().put("/a", "1")).await;
    }
    store.compact(last - 1).await.unwrap();
    let error = watch.next().await.unwrap_err();
    assert_eq!(error, Error::Compacted { compacted: last - 1 });
}

#[tokio::test]
async fn a_second_opener_is_told_that_it_is_locked() {
    let (_directory, path) = directory();
    let store = Redb::open(&path, config()).unwrap();
    let error = Redb::open(&path, config()).unwrap_err();
    assert_eq!(error, Error::Locked { path: path.clone() });
    assert!(error.is_retryable());
    let _ = commit(&store, Txn::new().put("/a", "1")).await;
    drop(store);
    Redb::open(&path, config()).unwrap();
}

#[test]
fn a_newer_format_is_refused_with_both_numbers() {
    let (_directory, path) = directory();
    drop(Redb::open(&path, config()).unwrap());
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(meta).unwrap().insert("format", 2).unwrap();
    write.commit().unwrap();
    drop(database);
    let error = Redb::open(&path, config()).unwrap_err();
    let expected = Error::NewerFormat { path: path.clone(), found: 2, supported: 1 };
    assert_eq!(error, expected);
    // The refusal changed nothing.
    let database = redb::Database::open(&path).unwrap();
    let read = database.begin_read().unwrap();
    assert_eq!(read.open_table(meta).unwrap().get("format").unwrap().unwrap().value(), 2);
}

#[test]
fn other_files_are_damage_and_stay_as_they_are() {
    let (_directory, path) = directory();
    for content in ["services:\n  web: {}\n".to_owned(), "x".repeat(100_000)] {
        std::fs::write(&path, &content).unwrap();
        let error = Redb::open(&path, config()).unwrap_err();
        assert!(matches!(error, Error::Corrupted { .. }), "{error}");
        assert!(error.to_string().contains(path.as_str()), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    std::fs::remove_file(&path).unwrap();
    let database = redb::Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    let other = redb::TableDefinition::<u64, u64>::new("other");
    write.open_table(other).unwrap();
    write.commit().unwrap();
    drop(database);
    let error = Redb::open(&path, config()).unwrap_err();
    assert!(matches!(error, Error::Corrupted { .. }), "{error}");

    let error = Redb::open(Utf8Path::new("/nowhere/store"), config()).unwrap_err();
    assert!(error.to_string().contains("`/nowhere/store`"), "{error}");
}

/// Where the child writes; without it the test is the parent.
const CHILD_PATH: &str = "BRICKYARD_STORE_KILL_CHILD";

/// How many keys each of the child's transactions writes.
const KEYS: u64 = 3;

/// A child process writes numbered transactions from several tasks and says which are
/// acknowledged; it gets SIGKILL at an arbitrary moment. After reopening, every acknowledged one
/// is there whole, no other is there in part, and the revisions in the log have no hole.
#[tokio::test]
async fn kill_9_loses_nothing_that_was_acknowledged() {
    if let Ok(path) = std::env::var(CHILD_PATH) {
        write_until_killed(Utf8Path::new(&path)).await;
    }
    let (_directory, path) = directory();
    let mut acknowledged = Vec::new();
    // A slow machine writes little in that time, and gets more rounds.
    for round in 0..400_u64 {
        if round >= 12 && acknowledged.len() > 100 {
            break;
        }
        // Spread over the first 200 ms: opening, table creation, and steady writing are all hit.
        let lifetime = Duration::from_millis(20 + (round * 37) % 180);
        acknowledged.extend(run_child(&path, lifetime));
        let store = Redb::open(&path, config()).unwrap();
        check(&store, &acknowledged).await;
    }
    assert!(acknowledged.len() > 100, "only {} were written", acknowledged.len());
}

async fn write_until_killed(path: &Utf8Path) -> ! {
    let store = Arc::new(Redb::open(path, config()).unwrap());
    let first = store.range("").await.unwrap().revision;
    for task in 0..4_u64 {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for count in 0_u64.. {
                // Unique over all rounds and tasks.
                let number = (first * 4 + task) * 1_000_000 + count;
                let txn = (0..KEYS).fold(Txn::new(), |txn, part| {
                    txn.put(format!("/{number:020}/{part}"), vec![b'x'; 200])
                });
                let _ = commit(&*store, txn).await;
                let mut stdout = std::io::stdout().lock();
                writeln!(stdout, "ack {number}").unwrap();
                stdout.flush().unwrap();
            }
        });
    }
    std::future::pending().await
}

fn run_child(path: &Utf8Path, lifetime: Duration) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::kill_9_loses_nothing_that_was_acknowledged", "--nocapture"])
        .env(CHILD_PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let number = |line: &str| line.strip_prefix("ack ")?.parse().ok();
        stdout.lines().filter_map(|line| number(&line.ok()?)).collect()
    });
    std::thread::sleep(lifetime);
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    reader.join().unwrap()
}

async fn check(store: &Redb, acknowledged: &[u64]) {
    let all = store.range("").await.unwrap();
    for number in acknowledged {
        let prefix = format!("/{number:020}/");
        let begin = all.entries.partition_point(|entry| entry.key < prefix);
        let found = all.entries[begin..].iter().take_while(|entry| entry.key.starts_with(&prefix));
        assert_eq!(found.count() as u64, KEYS, "acknowledged transaction {number}");
    }
    assert_eq!(all.entries.len() as u64 % KEYS, 0, "a transaction is there in part");
    if all.revision < 2 {
        return;
    }
    let mut watch = store.watch_from("", 2).await.unwrap();
    let mut logged = 0;
    for revision in 2..=all.revision {
        let batch = next(&mut watch).await;
        assert_eq!(batch.revision, revision, "a hole in the log");
        assert_eq!(batch.changes.len() as u64, KEYS);
        assert!(batch.changes.iter().all(|change| matches!(change, Change::Put(_))));
        logged += batch.changes.len();
    }
    assert_eq!(logged, all.entries.len(), "log and keys agree");
}

/// Opens a store whose file was damaged and reads all of it: `None` when that is refused as it
/// should be, with the file's name.
async fn read_damaged(path: &Utf8Path, what: &str) -> Option<Vec<(String, bytes::Bytes)>> {
    let store = match Redb::open(path, config()) {
        Ok(store) => store,
        Err(error) => {
            assert!(matches!(error, Error::Corrupted { .. }), "{what}: {error:?}");
            assert!(error.to_string().contains(path.as_str()), "{what}: {error}");
            return None;
        }
    };
    let all = store.range("").await.unwrap();
    Some(all.entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
}

#[tokio::test]
async fn damage_is_said_and_never_read() {
    let (_directory, path) = directory();
    let store = Redb::open(&path, config()).unwrap();
    for number in 0..40 {
        let value = format!("{number}").repeat(1000);
        let _ = commit(&store, Txn::new().put(format!("/key/{number}"), value)).await;
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let content = read_damaged(&path, "nothing").await.unwrap();
    assert_eq!(content.len(), 40);
    let mut refused = 0;
    for page in 0..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096 + 100] ^= 0x40;
        std::fs::write(&path, &bytes).unwrap();
        match read_damaged(&path, &format!("page {page}")).await {
            Some(found) => assert!(found == content, "page {page} changed what is read"),
            None => refused += 1,
        }
    }
    assert!(refused > 20, "{refused} pages hold what was written");
    for length in [0, 1, 100, 4096, whole.len() / 2] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let found = read_damaged(&path, &format!("{length} bytes")).await;
        assert_eq!(found, None, "{length} bytes are left");
    }
    for (what, from, to) in [("all", 0, whole.len()), ("the first page", 0, 4096)] {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_damaged(&path, what).await, None, "{what} is zero");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "what may be mended is left alone");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(read_damaged(&path, "nothing").await, Some(content));
}
