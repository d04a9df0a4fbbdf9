//! What every engine does, whatever it runs on.

use brickyard_core::spec::Stop;
use brickyard_engine::fake::Fake;
use brickyard_engine::{
    Engine, EnvironmentKey, Error, ExecRequest, FileWrite, KnownState, StartRequest,
};

use crate::support::{Bench, request};

/// Runs the whole contract; `make` gives a request that runs until it is stopped.
async fn contract(engine: &dyn Engine, key: &EnvironmentKey, make: &dyn Fn(&str) -> StartRequest) {
    environments_open_once(engine, key).await;
    starts_are_idempotent(engine, make).await;
    ends_are_seen_and_repeated(engine, make).await;
    files_go_through_a_stage(engine, make).await;
    pauses_hold_until_they_end(engine, make).await;
    what_is_not_there_is_said(engine, key, make).await;
}

async fn environments_open_once(engine: &dyn Engine, key: &EnvironmentKey) {
    let first = engine.open_environment(key).await.unwrap();
    assert_eq!(engine.open_environment(key).await.unwrap(), first);
    assert!(engine.environments().await.unwrap().contains(key));
    assert!(first.addresses().count() > 100);
    assert!(!first.addresses().any(|address| address == first.gateway || address == first.host));
}

async fn starts_are_idempotent(engine: &dyn Engine, make: &dyn Fn(&str) -> StartRequest) {
    let request = make("twice");
    let first = engine.start(&request).await.unwrap();
    assert_eq!(engine.start(&request).await.unwrap(), first, "a second start changes nothing");
    let known = engine.list().await.unwrap();
    let state = known.iter().find(|known| known.id == request.id).unwrap().state;
    assert_eq!(state, KnownState::Running { pid: first.pid });
    engine.remove(&request.id).await.unwrap();
    assert!(!engine.list().await.unwrap().iter().any(|known| known.id == request.id));
    engine.remove(&request.id).await.unwrap();
}

async fn ends_are_seen_and_repeated(engine: &dyn Engine, make: &dyn Fn(&str) -> StartRequest) {
    let request = make("ends");
    let first = engine.start(&request).await.unwrap();
    let stop = Stop { signal: "KILL".to_owned(), grace_ms: 1000 };
    let (waited, stopped) = tokio::join!(engine.wait(&request.id), engine.stop(&request.id, &stop));
    let (waited, stopped) = (waited.unwrap(), stopped.unwrap());
    assert_eq!(waited.code, stopped.code, "all who ask get the same answer");
    assert!(waited.code > 128, "{}", waited.code);
    assert_eq!(engine.stop(&request.id, &stop).await.unwrap().code, waited.code);
    assert_eq!(engine.wait(&request.id).await.unwrap().code, waited.code);
    let known = engine.list().await.unwrap();
    let state = known.iter().find(|known| known.id == request.id).unwrap().state;
    assert!(matches!(state, KnownState::Exited(exit) if exit.code == waited.code));
    let again = engine.start(&request).await.unwrap();
    assert_ne!(again.pid, first.pid, "one that ended is started again");
    engine.remove(&request.id).await.unwrap();
}

async fn files_go_through_a_stage(engine: &dyn Engine, make: &dyn Fn(&str) -> StartRequest) {
    let request = make("files");
    engine.start(&request).await.unwrap();
    let file = FileWrite {
        dest: "/made/for/this/file".into(),
        contents: b"one".to_vec(),
        mode: 0o640,
        uid: 0,
        gid: 0,
    };
    let staged = engine.stage_file(&request.id, &file).await.unwrap();
    assert_ne!(staged.path, file.dest);
    engine.discard_file(&request.id, &staged).await.unwrap();
    assert!(engine.commit_file(&request.id, &staged).await.is_err(), "what is gone is gone");
    let staged = engine.stage_file(&request.id, &file).await.unwrap();
    engine.commit_file(&request.id, &staged).await.unwrap();
    let ran = engine.exec(&request.id, &ExecRequest::of(&["true".to_owned()])).await.unwrap();
    assert_eq!(ran.code, 0);
    engine.remove(&request.id).await.unwrap();
}

async fn pauses_hold_until_they_end(engine: &dyn Engine, make: &dyn Fn(&str) -> StartRequest) {
    let request = make("paused");
    let id = &request.id;
    let pid = engine.start(&request).await.unwrap().pid;
    let state = async || {
        let known = engine.list().await.unwrap();
        known.iter().find(|known| known.id == *id).unwrap().state
    };
    for _ in 0..2 {
        engine.pause(id).await.unwrap();
        assert_eq!(state().await, KnownState::Paused { pid }, "a second pause changes nothing");
    }
    let processes = engine.processes(id).await.unwrap();
    assert_eq!(processes.iter().map(|p| p.pid_inside).collect::<Vec<_>>(), [1]);
    assert_eq!(engine.usage(id).await.unwrap().pids, 1, "what is paused is still there");
    for _ in 0..2 {
        engine.unpause(id).await.unwrap();
        assert_eq!(state().await, KnownState::Running { pid });
    }
    engine.pause(id).await.unwrap();
    engine.start(&request).await.unwrap();
    assert_eq!(state().await, KnownState::Running { pid }, "what is started runs");
    engine.pause(id).await.unwrap();
    engine.stop(id, &Stop { signal: "KILL".to_owned(), grace_ms: 1000 }).await.unwrap();
    assert!(matches!(state().await, KnownState::Exited(_)), "what is paused can be stopped");
    let ended = engine.pause(id).await;
    assert!(matches!(ended, Err(Error::NotRunning { .. })), "{ended:?}");
    engine.start(&request).await.unwrap();
    engine.pause(id).await.unwrap();
    engine.remove(id).await.unwrap();
    assert!(!engine.list().await.unwrap().iter().any(|known| known.id == *id));
}

async fn what_is_not_there_is_said(
    engine: &dyn Engine,
    key: &EnvironmentKey,
    make: &dyn Fn(&str) -> StartRequest,
) {
    let request = make("gone");
    engine.start(&request).await.unwrap();
    let unknown = engine.signal(&request.id, "WINK").await;
    assert!(matches!(unknown, Err(Error::Signal { .. })), "{unknown:?}");
    engine.stop(&request.id, &Stop { signal: "KILL".to_owned(), grace_ms: 100 }).await.unwrap();
    let ended = engine.signal(&request.id, "HUP").await;
    assert!(matches!(ended, Err(Error::NotRunning { .. })), "{ended:?}");
    engine.remove(&request.id).await.unwrap();
    engine.close_environment(key).await.unwrap();
    assert!(!engine.environments().await.unwrap().contains(key));
    let refused = engine.start(&request).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    engine.close_environment(key).await.unwrap();
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    let engine = Fake::default();
    let key: EnvironmentKey = "contract.dev".parse().unwrap();
    let own = key.clone();
    contract(&engine, &key, &move |name| request(&own, name, &["sleep", "1000"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_keeps_the_contract() {
    let bench = Bench::new().await;
    let make = |name: &str| bench.request(name, &["sleep", "1000"]);
    contract(&bench.engine, &bench.key, &make).await;
    bench.end().await;
}
