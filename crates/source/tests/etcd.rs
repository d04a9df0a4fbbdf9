//! What is etcd's own: users, tokens that end, and members that are away.

use std::time::Duration;

use brickyard_source::{Backend, Config, Error, Update, Watching, connect};
use brickyard_testkit::{DEADLINE, Etcd, base64, claim_port};
use serde_json::json;
use tokio::time::{sleep, timeout};

fn config(nodes: &[String]) -> Config {
    let mut config = Config::new(Backend::Etcd);
    config.nodes = nodes.to_vec();
    config
}

fn paths(path: &str) -> Vec<String> {
    vec![path.to_owned()]
}

/// An etcd with the users `root` and `reader`, who may read what is below `/open`.
fn guarded(more: &[&str]) -> Etcd {
    let etcd = Etcd::start_with("http", more);
    etcd.put("/open/k", "v");
    etcd.put("/closed/k", "v");
    let ask = |what: &str, body: serde_json::Value| drop(etcd.ask(&format!("auth/{what}"), &body));
    let (key, end) = (base64(b"/open"), base64(b"/open0"));
    ask("role/add", json!({"name": "open"}));
    let permission = json!({"permType": "READ", "key": key, "range_end": end});
    ask("role/grant", json!({"name": "open", "perm": permission}));
    for (user, role) in [("root", "root"), ("reader", "open")] {
        ask("user/add", json!({"name": user, "password": "pw"}));
        ask("user/grant", json!({"user": user, "role": role}));
    }
    ask("enable", json!({}));
    etcd
}

#[tokio::test]
async fn users_see_what_they_may_and_refusals_are_said() {
    let etcd = guarded(&[]);
    let mut config = config(&[etcd.address()]);
    let anonymous = connect(&config).await.expect("an address").read(&paths("/open")).await;
    assert!(matches!(anonymous, Err(Error::Refused { .. })), "{anonymous:?}");
    config.login.username = "reader".to_owned();
    config.login.password = "wrong".to_owned();
    let wrong = connect(&config).await.expect("an address").read(&paths("/open")).await;
    let Err(Error::Refused { reason, .. }) = wrong else { panic!("{wrong:?}") };
    assert!(reason.contains("invalid user ID or password"), "{reason}");
    config.login.password = "pw".to_owned();
    let source = connect(&config).await.expect("an address");
    assert_eq!(source.read(&paths("/open")).await.expect("it may").len(), 1);
    let closed = source.read(&paths("/closed")).await;
    assert!(matches!(closed, Err(Error::Refused { .. })), "{closed:?}");
}

#[tokio::test]
async fn a_login_that_has_ended_is_made_anew() {
    let etcd = guarded(&["--auth-token-ttl", "1"]);
    let mut config = config(&[etcd.address()]);
    config.login.username = "reader".to_owned();
    config.login.password = "pw".to_owned();
    let source = connect(&config).await.expect("an address");
    assert_eq!(source.read(&paths("/open")).await.expect("it may").len(), 1);
    let mut refusals = 0;
    // The server looks for tokens that are over now and then.
    let ended = timeout(DEADLINE, async {
        while refusals == 0 {
            sleep(Duration::from_millis(2500)).await;
            refusals += usize::from(source.read(&paths("/open")).await.is_err());
        }
    });
    ended.await.expect("the token ends");
    assert_eq!(source.read(&paths("/open")).await.expect("a new token").len(), 1);
}

#[tokio::test]
async fn another_member_is_asked_where_one_is_away_and_both_are_named_otherwise() {
    let etcd = Etcd::start();
    etcd.put("/k", "v");
    let (away, gone) = (claim_port(), claim_port());
    let away = [&away, &gone].map(|claim| format!("127.0.0.1:{}", claim.port));
    let nodes = [away[0].clone(), away[1].clone(), etcd.address()];
    let source = connect(&config(&nodes)).await.expect("an address");
    let Ok(Watching::Watch(mut watch)) = source.watch(&paths("/k")).await else {
        panic!("one of them answers");
    };
    assert!(matches!(watch.next().await, Ok(Update::All(entries)) if entries.len() == 1));
    let source = connect(&config(&away)).await.expect("an address");
    let text = source.read(&paths("/k")).await.expect_err("both are away").to_string();
    assert_eq!(text, format!("{}, {}: Connection refused (os error 111)", away[0], away[1]));
}
