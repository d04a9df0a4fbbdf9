//! Consul, stood in for as its published interface has it: lists of keys, indexes that wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use brickyard_source::{Backend, Config, Error, Source, Update, Watching, connect};
use serde_json::{Value, json};

use crate::stand_in::{Answered, Asked, StandIn};
use crate::subjects::Subject;

#[derive(Default)]
struct State {
    /// Values with the index that set them, by names without a slash before them.
    keys: BTreeMap<String, (Vec<u8>, u64)>,
    index: u64,
    token: Option<String>,
    /// Whether something on the way takes the index out of answers.
    hides_index: bool,
    /// How many queries were asked.
    asked: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct InConsul {
    shared: Arc<Shared>,
    server: StandIn,
}

impl InConsul {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        shared.state.lock().expect("nobody panics with it").index = 10;
        let state = Arc::clone(&shared);
        Self { shared, server: StandIn::start(move |asked| answer(&state, asked)) }
    }

    fn with(&self, work: impl FnOnce(&mut State)) {
        let mut state = self.shared.state.lock().expect("nobody panics with it");
        state.index += 1;
        work(&mut state);
        drop(state);
        self.shared.changed.notify_all();
    }

    fn config(&self) -> Config {
        let mut config = Config::new(Backend::Consul);
        config.nodes = vec![self.server.address()];
        config
    }
}

fn refuse(status: u16, why: &str) -> Answered {
    (status, Vec::new(), why.to_owned())
}

fn answer(shared: &Shared, asked: &Asked) -> Answered {
    let Some(name) = asked.path.strip_prefix("/v1/kv/") else {
        return refuse(404, &format!("no such path: {}", asked.path));
    };
    if asked.method != "GET" {
        return refuse(405, "method not allowed");
    }
    let known = ["recurse", "index", "wait"];
    if let Some(unknown) = asked.query.keys().find(|name| !known.contains(&name.as_str())) {
        return refuse(400, &format!("unknown parameter: {unknown}"));
    }
    if !asked.query.contains_key("recurse") {
        return refuse(400, "only lists are asked for");
    }
    let mut state = shared.state.lock().expect("nobody panics with it");
    state.asked += 1;
    if state.token.is_some() && state.token.as_ref() != asked.headers.get("x-consul-token") {
        return refuse(403, "Permission denied");
    }
    let find = |state: &State| -> (Vec<Value>, u64) {
        let under = state.keys.iter().filter(|(key, _)| key.starts_with(name));
        let listed = |(key, (value, index)): (&String, &(Vec<u8>, u64))| {
            let value = (!value.is_empty()).then(|| base64(value));
            json!({"LockIndex": 0, "Key": key, "Flags": 0, "Value": value,
                   "CreateIndex": index, "ModifyIndex": index})
        };
        (under.map(listed).collect(), state.index)
    };
    let mut found = find(&state);
    if let Some(index) = asked.query.get("index") {
        let index: u64 = index.parse().expect("it is a number");
        let wait = asked.query.get("wait").and_then(|wait| wait.strip_suffix('s'));
        let wait: u64 = wait.and_then(|wait| wait.parse().ok()).expect("it says how long it waits");
        let until = Instant::now() + Duration::from_secs(wait);
        // An index that is not the last one is answered at once.
        while found.1 == index && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            state = shared.changed.wait_timeout(state, left).expect("nobody panics with it").0;
            found = find(&state);
        }
    }
    let (listed, index) = found;
    let headers = match state.hides_index {
        true => Vec::new(),
        false => vec![("X-Consul-Index", index.to_string())],
    };
    match listed.is_empty() {
        true => (404, headers, String::new()),
        false => (200, headers, Value::Array(listed).to_string()),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[async_trait]
impl Subject for InConsul {
    async fn source(&self) -> Arc<dyn Source> {
        connect(&self.config()).await.expect("it is an address")
    }

    async fn set(&self, key: &str, value: &[u8]) {
        self.with(|state| {
            let index = state.index;
            state.keys.insert(key.trim_start_matches('/').to_owned(), (value.to_vec(), index));
        });
    }

    async fn remove(&self, key: &str) {
        self.with(|state| drop(state.keys.remove(key.trim_start_matches('/'))));
    }

    async fn go_away(&mut self) {
        self.server.go_away();
    }

    async fn come_back(&mut self) {
        self.server.come_back();
    }
}

#[tokio::test]
async fn an_index_that_goes_backwards_begins_anew() {
    let consul = InConsul::start();
    consul.set("/k", b"1").await;
    let source = consul.source().await;
    let Ok(Watching::Watch(mut watch)) = source.watch(&["/k".to_owned()]).await else {
        panic!("it can be watched");
    };
    assert!(matches!(watch.next().await, Ok(Update::All(_))));
    // As after a restore of an older state.
    {
        let mut state = consul.shared.state.lock().expect("nobody panics with it");
        state.index = 2;
        state.keys.insert("k".to_owned(), (b"older".to_vec(), 2));
    }
    consul.shared.changed.notify_all();
    let next = watch.next().await.expect("it goes on");
    assert_eq!(next, Update::Some(vec![("/k".to_owned(), Some("older".into()))]));
    consul.set("/k", b"newer").await;
    let next = watch.next().await.expect("it goes on");
    assert_eq!(next, Update::Some(vec![("/k".to_owned(), Some("newer".into()))]));
}

#[tokio::test]
async fn tokens_and_addresses_come_from_flags_or_variables() {
    let consul = InConsul::start();
    consul.with(|state| state.token = Some("t0ken".to_owned()));
    let read = |config: Config| async move {
        connect(&config).await.expect("it is an address").read(&["/k".to_owned()]).await
    };
    let refused = read(consul.config()).await;
    assert!(
        matches!(&refused, Err(Error::Refused { reason, .. }) if reason.contains("Permission denied")),
        "{refused:?}"
    );
    let mut config = consul.config();
    config.login.token = "t0ken".to_owned();
    assert!(read(config).await.is_ok());
    let mut config = Config::new(Backend::Consul);
    for (name, value) in
        [("CONSUL_HTTP_ADDR", consul.server.address()), ("CONSUL_HTTP_TOKEN", "t0ken".to_owned())]
    {
        config.environment.insert(name.to_owned(), value);
    }
    assert!(read(config).await.is_ok());
}

#[tokio::test]
async fn answers_without_an_index_are_polled_and_the_reason_is_said() {
    let consul = InConsul::start();
    consul.with(|state| state.hides_index = true);
    let source = consul.source().await;
    let Ok(Watching::Poll(why)) = source.watch(&["/k".to_owned()]).await else {
        panic!("it cannot wait");
    };
    assert_eq!(why, "its answers have no X-Consul-Index");
    // One that loses it later ends the watch.
    consul.with(|state| state.hides_index = false);
    let Ok(Watching::Watch(mut watch)) = source.watch(&["/k".to_owned()]).await else {
        panic!("it can wait");
    };
    assert!(matches!(watch.next().await, Ok(Update::All(_))));
    consul.with(|state| state.hides_index = true);
    let next = watch.next().await;
    assert!(matches!(next, Err(Error::Unavailable { .. })), "{next:?}");
}

#[tokio::test]
async fn many_paths_are_watched_by_few_queries() {
    let consul = InConsul::start();
    consul.set("/d/7/x", b"1").await;
    let paths: Vec<String> = (0..300).map(|number| format!("/d/{number}")).collect();
    let source = consul.source().await;
    let Ok(Watching::Watch(mut watch)) = source.watch(&paths).await else {
        panic!("it can be watched");
    };
    assert!(matches!(watch.next().await, Ok(Update::All(all)) if all.len() == 1));
    consul.set("/d/none-of-them", b"1").await;
    consul.set("/d/299", b"2").await;
    let next = watch.next().await.expect("it goes on");
    assert_eq!(next, Update::Some(vec![("/d/299".to_owned(), Some("2".into()))]));
    let asked = consul.shared.state.lock().expect("nobody panics with it").asked;
    assert!(asked <= 5, "{asked} queries");
    assert_eq!(source.read(&paths).await.expect("it answers").len(), 2);
}

#[tokio::test]
async fn variables_of_consuls_tools_say_what_flags_leave_open() {
    let directory = tempfile::tempdir().expect("there is room");
    let at = camino::Utf8Path::from_path(directory.path()).expect("it is UTF-8");
    let authority = brickyard_testkit::Authority::new(at, "ours");
    let (certificate, key) = authority.issue("127.0.0.1", brickyard_testkit::Life::Long);
    let seen = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&seen);
    let answer = move |asked: &Asked| {
        let who = asked.headers.get("authorization").cloned();
        *noted.lock().expect("nobody panics with it") = who.unwrap_or_default();
        refuse(404, "")
    };
    let server = StandIn::start_secured(answer, &certificate, &key, None);
    let mut config = Config::new(Backend::Consul);
    let mut variable = |name: &str, value: &str| {
        config.environment.insert(name.to_owned(), value.to_owned());
    };
    variable("CONSUL_HTTP_ADDR", &server.address());
    variable("CONSUL_HTTP_SSL", "true");
    variable("CONSUL_CACERT", authority.file().as_str());
    variable("CONSUL_HTTP_AUTH", "u:p");
    let read = |config: Config| async move {
        connect(&config).await.expect("it is an address").read(&["/k".to_owned()]).await
    };
    read(config.clone()).await.expect("all of them count");
    assert_eq!(*seen.lock().expect("nobody panics with it"), "Basic dTpw");
    config.environment.remove("CONSUL_CACERT");
    assert!(read(config.clone()).await.is_err(), "nobody vouches for it");
    config.environment.insert("CONSUL_HTTP_SSL_VERIFY".to_owned(), "false".to_owned());
    assert!(read(config).await.is_ok());
}
