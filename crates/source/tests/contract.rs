//! What every source that watches keeps to.

use std::time::Duration;

use brickyard_source::{Entries, Memory, Source, Update, Watch, Watching};
use brickyard_testkit::Etcd;
use tokio::time::timeout;

use crate::consul::InConsul;
use crate::subjects::{
    InEtcd, InMemory, InRedis, InZooKeeper, Subject, redis_server, zookeeper_server,
};

/// How long something that happens by itself may take.
const DEADLINE: Duration = Duration::from_secs(20);

fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}

fn entries(pairs: &[(&str, &str)]) -> Entries {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), value.to_string().into());
    pairs.iter().map(pair).collect()
}

/// What a watch makes of the keys that it has told of.
struct Mirror {
    watch: Box<dyn Watch>,
    entries: Entries,
}

impl Mirror {
    async fn of(source: &dyn Source, watched: &[&str]) -> Self {
        let watch = source.watch(&paths(watched)).await.expect("it answers");
        let mut watch = match watch {
            Watching::Watch(watch) => watch,
            Watching::Poll(why) => panic!("it cannot be watched: {why}"),
        };
        let first = timeout(DEADLINE, watch.next()).await.expect("in time").expect("it answers");
        let Update::All(entries) = first else { panic!("the first is everything: {first:?}") };
        Self { watch, entries }
    }

    async fn wait_for(&mut self, wanted: &Entries) {
        while self.entries != *wanted {
            let next = timeout(DEADLINE, self.watch.next()).await;
            let next = next.unwrap_or_else(|_| panic!("it has {:?}", self.entries));
            match next.expect("it goes on") {
                Update::All(entries) => self.entries = entries,
                Update::Some(changes) => {
                    assert!(!changes.is_empty(), "an update without a change");
                    for (key, value) in changes {
                        match value {
                            Some(value) => self.entries.insert(key, value),
                            None => self.entries.remove(&key),
                        };
                    }
                }
            }
        }
    }
}

async fn paths_cover_what_lies_below_them(subject: &mut dyn Subject) {
    let source = subject.source().await;
    for (key, value) in
        [("/a", "0"), ("/a/b", "1"), ("/a/b/c", "2"), ("/a-b", "3"), ("/ab", "4"), ("/z", "")]
    {
        subject.set(key, value.as_bytes()).await;
    }
    let read = |wanted: &[&str]| {
        let (source, wanted) = (source.clone(), paths(wanted));
        async move { source.read(&wanted).await.expect("it answers") }
    };
    // Where directories have no values, they are none of the keys.
    let inner = subject.has_inner_values();
    let mut a = entries(&[("/a", "0"), ("/a/b", "1"), ("/a/b/c", "2")]);
    a.retain(|key, _| inner || key == "/a/b/c");
    assert_eq!(read(&["/a"]).await, a);
    assert_eq!(read(&["/a/b", "/a", "/a"]).await, a);
    assert_eq!(read(&["/z", "/a-b"]).await, entries(&[("/a-b", "3"), ("/z", "")]));
    assert_eq!(read(&["/absent"]).await, Entries::new());
    assert_eq!(read(&[]).await, Entries::new());
    assert_eq!(read(&["/"]).await.len(), if inner { 6 } else { 4 });
}

async fn a_watch_tells_of_every_end_state(subject: &mut dyn Subject) {
    let source = subject.source().await;
    subject.set("/w/a", b"1").await;
    let mut mirror = Mirror::of(&*source, &["/w", "/other"]).await;
    assert_eq!(mirror.entries, entries(&[("/w/a", "1")]));
    subject.set("/w/b", b"2").await;
    subject.set("/wide", b"not ours").await;
    subject.set("/other/c", b"").await;
    mirror.wait_for(&entries(&[("/w/a", "1"), ("/w/b", "2"), ("/other/c", "")])).await;
    subject.remove("/w/a").await;
    mirror.wait_for(&entries(&[("/w/b", "2"), ("/other/c", "")])).await;
    for number in 0..50 {
        subject.set("/w/b", number.to_string().as_bytes()).await;
    }
    subject.set("/w/last", b"x").await;
    mirror.wait_for(&entries(&[("/w/b", "49"), ("/w/last", "x"), ("/other/c", "")])).await;
}

async fn values_are_bytes(subject: &mut dyn Subject) {
    let source = subject.source().await;
    subject.set("/bytes", &[0, 0xff, b'\n']).await;
    let read = source.read(&paths(&["/bytes"])).await.expect("it answers");
    assert_eq!(read["/bytes"].as_ref(), [0, 0xff, b'\n']);
}

async fn many_paths_are_one_question(subject: &mut dyn Subject) {
    let source = subject.source().await;
    let many: Vec<String> = (0..300).map(|number| format!("/many/k{number}")).collect();
    subject.set("/many/k7", b"seven").await;
    subject.set("/many/unasked", b"x").await;
    let read = source.read(&many).await.expect("it answers");
    assert_eq!(read, entries(&[("/many/k7", "seven")]));
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut mirror = Mirror::of(&*source, &many).await;
    subject.set("/many/unasked", b"y").await;
    subject.set("/many/k299", b"last").await;
    mirror.wait_for(&entries(&[("/many/k7", "seven"), ("/many/k299", "last")])).await;
}

async fn nothing_is_stale_after_an_outage(subject: &mut dyn Subject) {
    let source = subject.source().await;
    subject.set("/o/a", b"1").await;
    subject.set("/o/b", b"1").await;
    let mut mirror = Mirror::of(&*source, &["/o"]).await;
    subject.go_away().await;
    let ended = timeout(DEADLINE, async {
        loop {
            if let Err(err) = mirror.watch.next().await {
                return err;
            }
        }
    });
    let err = ended.await.expect("the loss is noticed");
    assert!(err.is_retryable(), "{err}");
    assert!(source.read(&paths(&["/o"])).await.is_err(), "it answers without a server");
    subject.come_back().await;
    subject.remove("/o/a").await;
    subject.set("/o/b", b"2").await;
    let again = timeout(DEADLINE, async {
        loop {
            match source.read(&paths(&["/o"])).await {
                Ok(read) => return read,
                Err(err) => assert!(err.is_retryable(), "{err}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(again.await.expect("it answers again"), entries(&[("/o/b", "2")]));
    let mirror = Mirror::of(&*source, &["/o"]).await;
    assert_eq!(mirror.entries, entries(&[("/o/b", "2")]));
}

macro_rules! contract {
    ($name:ident, $subject:expr; $($test:ident)*) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&mut $subject).await;
                }
            )*
        }
    };
}

macro_rules! contracts {
    ($($name:ident: $subject:expr;)*) => {
        $(contract! { $name, $subject;
            paths_cover_what_lies_below_them
            a_watch_tells_of_every_end_state
            values_are_bytes
            many_paths_are_one_question
            nothing_is_stale_after_an_outage
        })*
    };
}

contracts! {
    memory: InMemory(Memory::default());
    etcd: InEtcd(Etcd::start());
    redis: InRedis(redis_server(), "/");
    consul: InConsul::start();
    zookeeper: InZooKeeper(zookeeper_server());
    redis_with_colons: InRedis(redis_server(), ":");
}
