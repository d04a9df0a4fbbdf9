//! What is Redis' own: hashes, databases, passwords, and a server that tells nothing.

use std::time::Duration;

use brickyard_source::{Backend, Config, Entries, Error, Update, Watch, Watching, connect};
use brickyard_testkit::{DEADLINE, Server, claim_port};
use tokio::time::timeout;

use crate::subjects::{redis, redis_server};

fn config(server: &Server, database: &str) -> Config {
    let mut config = Config::new(Backend::Redis);
    config.nodes = vec![format!("{}{database}", server.address())];
    config
}

async fn read(config: &Config, path: &str) -> Result<Vec<(String, String)>, Error> {
    let entries: Entries = connect(config).await?.read(&[path.to_owned()]).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(entries.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn fields_of_hashes_are_keys_and_are_watched() {
    let server = redis_server();
    redis(&server, &[b"HSET", b"/h", b"a", b"1", b"b", b"2"]);
    redis(&server, &[b"HSET", b"/h/below", b"c", b"3"]);
    redis(&server, &[b"LPUSH", b"/h/list", b"no key"]);
    let config = config(&server, "");
    let all = read(&config, "/h").await.expect("it answers");
    assert_eq!(all, pairs(&[("/h/a", "1"), ("/h/b", "2"), ("/h/below/c", "3")]));
    let source = connect(&config).await.expect("it is an address");
    let Ok(Watching::Watch(mut watch)) = source.watch(&["/h".to_owned()]).await else {
        panic!("it tells of changes");
    };
    assert!(matches!(watch.next().await, Ok(Update::All(_))));
    redis(&server, &[b"HDEL", b"/h", b"a"]);
    let next = timeout(Duration::from_secs(10), watch.next()).await.expect("in time");
    let Ok(Update::Some(changes)) = next else { panic!("{next:?}") };
    assert!(changes.contains(&("/h/a".to_owned(), None)), "{changes:?}");
    // What ends by itself is told of, too.
    redis(&server, &[b"SET", b"/h/brief", b"x", b"PX", b"30"]);
    let gone = timeout(Duration::from_secs(10), async {
        loop {
            if let Ok(Update::Some(changes)) = watch.next().await
                && changes.contains(&("/h/brief".to_owned(), None))
            {
                return;
            }
        }
    });
    gone.await.expect("it ends");
}

#[tokio::test]
async fn databases_and_passwords_are_confds() {
    let server = redis_server();
    redis(&server, &[b"CONFIG", b"SET", b"requirepass", b"s3cret"]);
    let mut config = config(&server, "/2");
    let refused = read(&config, "/k").await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    // trap: the password stands where others have a client's key.
    config.tls.key = Some("s3cret".into());
    assert_eq!(read(&config, "/k").await.expect("it is right"), Vec::new());
    config.tls.key = None;
    config.login.password = "s3cret".to_owned();
    assert_eq!(read(&config, "/k").await.expect("it is right"), Vec::new());
    for node in ["127.0.0.1:port", "127.0.0.1:1/x"] {
        config.nodes = vec![node.to_owned()];
        let bad = read(&config, "/k").await;
        assert!(matches!(bad, Err(Error::Config { .. })), "{node}: {bad:?}");
    }
}

#[tokio::test]
async fn a_server_that_tells_nothing_is_polled_and_the_reason_is_said() {
    let server = redis_server();
    // What tells of some changes alone would leave removed keys in place.
    for flags in [&b""[..], b"K$", b"EA"] {
        redis(&server, &[b"CONFIG", b"SET", b"notify-keyspace-events", flags]);
        let source = connect(&config(&server, "")).await.expect("it is an address");
        let Ok(Watching::Poll(why)) = source.watch(&["/k".to_owned()]).await else {
            panic!("it does not tell of all changes");
        };
        assert!(why.contains("config set notify-keyspace-events KEA"), "{why}");
    }
}

async fn watch(config: &Config, path: &str) -> Box<dyn Watch> {
    let source = connect(config).await.expect("it is an address");
    let Ok(Watching::Watch(mut watch)) = source.watch(&[path.to_owned()]).await else {
        panic!("it tells of changes");
    };
    assert!(matches!(watch.next().await, Ok(Update::All(_))));
    watch
}

#[tokio::test]
async fn names_that_look_like_patterns_are_names() {
    let server = redis_server();
    for key in ["/b[1]", "/b1", "/b[1]/x", "/b1/y"] {
        redis(&server, &[b"SET", key.as_bytes(), b"v"]);
    }
    let config = config(&server, "");
    let expected = pairs(&[("/b[1]", "v"), ("/b[1]/x", "v")]);
    assert_eq!(read(&config, "/b[1]").await.expect("it answers"), expected);
    let mut watch = watch(&config, "/b[1]").await;
    redis(&server, &[b"SET", b"/b1", b"other"]);
    redis(&server, &[b"SET", b"/b[1]", b"new"]);
    let next = timeout(DEADLINE, watch.next()).await.expect("in time").expect("it goes on");
    assert_eq!(next, Update::Some(vec![("/b[1]".to_owned(), Some("new".into()))]));
}

#[tokio::test]
async fn another_server_is_asked_where_one_is_away() {
    let server = redis_server();
    redis(&server, &[b"SET", b"/k", b"v"]);
    let away = claim_port();
    let mut config = config(&server, "");
    config.nodes.insert(0, format!("127.0.0.1:{}", away.port));
    assert_eq!(read(&config, "/k").await.expect("one answers"), pairs(&[("/k", "v")]));
    config.nodes.truncate(1);
    let text = read(&config, "/k").await.expect_err("nobody answers").to_string();
    assert_eq!(text, format!("127.0.0.1:{}: Connection refused (os error 111)", away.port));
}

#[tokio::test]
async fn a_server_that_is_silent_is_noticed() {
    let server = redis_server();
    let mut watch = watch(&config(&server, ""), "/k").await;
    server.hold(true);
    let next = timeout(DEADLINE, watch.next()).await;
    server.hold(false);
    let Ok(Err(Error::Unavailable { reason, .. })) = next else { panic!("{next:?}") };
    assert!(reason.contains("no answer within"), "{reason}");
}

#[tokio::test]
async fn keys_that_go_without_a_word_are_missed() {
    let server = redis_server();
    redis(&server, &[b"SET", b"/k", b"v"]);
    let mut watch = watch(&config(&server, ""), "/k").await;
    redis(&server, &[b"FLUSHALL"]);
    let next = timeout(DEADLINE, watch.next()).await.expect("in time").expect("it goes on");
    assert_eq!(next, Update::All(Entries::new()));
    redis(&server, &[b"SET", b"/k", b"new"]);
    let next = timeout(DEADLINE, watch.next()).await.expect("in time").expect("it goes on");
    assert_eq!(next, Update::Some(vec![("/k".to_owned(), Some("new".into()))]));
}

#[tokio::test]
async fn many_paths_are_watched_as_one_directory() {
    let server = redis_server();
    let source = connect(&config(&server, "")).await.expect("it is an address");
    let paths: Vec<String> = (0..200).map(|number| format!("/d/{number}")).collect();
    let Ok(Watching::Watch(mut watch)) = source.watch(&paths).await else {
        panic!("it tells of changes");
    };
    assert!(matches!(watch.next().await, Ok(Update::All(_))));
    redis(&server, &[b"SET", b"/d/none-of-them", b"v"]);
    redis(&server, &[b"SET", b"/d/77/x", b"v"]);
    let next = timeout(DEADLINE, watch.next()).await.expect("in time").expect("it goes on");
    assert_eq!(next, Update::Some(vec![("/d/77/x".to_owned(), Some("v".into()))]));
}
