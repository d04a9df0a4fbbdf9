//! Vault, stood in for as its published interface has it: logins, tokens that end, both versions of
//! key-value secrets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use brickyard_source::{Backend, Config, Error, Watching, connect};
use serde_json::{Value, json};

use crate::stand_in::{Answered, Asked, StandIn};

#[derive(Default)]
struct State {
    /// Secrets by mount and path, `kv/app/db`; `kv/` has versions, `old/` has none.
    secrets: BTreeMap<String, Value>,
    /// What is sent to log in, by path.
    logins: BTreeMap<String, Value>,
    token: String,
    /// How many logins and renewals there were.
    logged_in: usize,
    renewed: usize,
    lease_s: u64,
    /// Whether mounts may be asked for.
    hides_mounts: bool,
    /// What may not be asked for, `LIST old/k`.
    forbidden: Vec<String>,
}

struct InVault {
    state: Arc<Mutex<State>>,
    server: StandIn,
}

impl InVault {
    fn start() -> Self {
        let secrets = [
            ("kv/app/db", json!({"value": "s3cret"})),
            ("kv/app/db/more", json!({"user": "u", "port": 5432, "tls": true, "list": ["x"]})),
            ("kv/apple", json!({"value": "other"})),
            ("old/k", json!({"value": "plain"})),
        ];
        let secrets = secrets.into_iter().map(|(path, value)| (path.to_owned(), value)).collect();
        let state = State { secrets, token: "root".to_owned(), lease_s: 3600, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = StandIn::start(move |asked| {
            answer(&mut shared.lock().expect("nobody panics with it"), asked)
        });
        Self { state, server }
    }

    fn config(&self, kind: &str) -> Config {
        let mut config = Config::new(Backend::Vault);
        config.nodes = vec![self.server.address()];
        config.login.kind = kind.to_owned();
        config
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().expect("nobody panics with it"))
    }
}

fn say(status: u16, value: &Value) -> Answered {
    (status, vec![("Content-Type", "application/json".to_owned())], value.to_string())
}

fn errors(status: u16, why: &str) -> Answered {
    say(status, &json!({"errors": [why]}))
}

fn answer(state: &mut State, asked: &Asked) -> Answered {
    let path = asked.path.strip_prefix("/v1/").unwrap_or_default().to_owned();
    let method = asked.method.as_str();
    let auth = |state: &State| json!({"auth": {"client_token": state.token, "lease_duration": state.lease_s, "renewable": true}});
    if let Some(wanted) = state.logins.get(&path) {
        let sent: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        if method != "POST" || sent != *wanted {
            return errors(400, "invalid login");
        }
        state.logged_in += 1;
        return say(200, &auth(state));
    }
    if asked.headers.get("x-vault-token") != Some(&state.token) {
        return errors(403, "permission denied");
    }
    if state.forbidden.contains(&format!("{method} {path}")) {
        return errors(403, "permission denied");
    }
    match (method, path.as_str()) {
        ("GET", "auth/token/lookup-self") => {
            return say(200, &json!({"data": {"ttl": state.lease_s, "renewable": true}}));
        }
        ("POST", "auth/token/renew-self") => {
            state.renewed += 1;
            return say(200, &auth(state));
        }
        _ => {}
    }
    if let Some(asked) = path.strip_prefix("sys/internal/ui/mounts/") {
        if state.hides_mounts {
            return errors(403, "preflight capability check returned 403");
        }
        return match asked.split('/').next() {
            Some("kv") => say(200, &json!({"data": {"path": "kv/", "options": {"version": "2"}}})),
            Some("old") => say(200, &json!({"data": {"path": "old/", "options": null}})),
            _ => errors(403, "preflight capability check returned 403"),
        };
    }
    let (name, is_versioned) = match path.strip_prefix("kv/") {
        Some(rest) => match (method, rest.strip_prefix("data"), rest.strip_prefix("metadata")) {
            ("GET", Some(rest), _) | ("LIST", _, Some(rest)) => (format!("kv{rest}"), true),
            _ => return errors(404, "no handler for route"),
        },
        None if path.starts_with("old") => (path.clone(), false),
        None => return errors(404, "no handler for route"),
    };
    match method {
        "GET" => match state.secrets.get(&name) {
            Some(secret) if is_versioned => {
                say(200, &json!({"data": {"data": secret, "metadata": {"version": 1}}}))
            }
            Some(secret) => say(200, &json!({"data": secret})),
            None => errors(404, ""),
        },
        "LIST" => list(state, &name),
        _ => errors(405, "unsupported operation"),
    }
}

/// The names right below one, those of directories with a slash.
fn list(state: &State, name: &str) -> Answered {
    let prefix = format!("{name}/");
    let mut keys: Vec<String> = Vec::new();
    for key in state.secrets.keys().filter_map(|key| key.strip_prefix(&prefix)) {
        let name = match key.split_once('/') {
            Some((directory, _)) => format!("{directory}/"),
            None => key.to_owned(),
        };
        if !keys.contains(&name) {
            keys.push(name);
        }
    }
    match keys.is_empty() {
        true => errors(404, ""),
        false => say(200, &json!({"data": {"keys": keys}})),
    }
}

async fn read(config: &Config, path: &str) -> Result<Vec<(String, String)>, Error> {
    let entries = connect(config).await?.read(&[path.to_owned()]).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(entries.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn secrets_of_both_versions_are_read_and_flattened() {
    let vault = InVault::start();
    let mut config = vault.config("token");
    config.login.token = "root".to_owned();
    let more = r#"{"list":["x"],"port":5432,"tls":true,"user":"u"}"#;
    let expected = [
        ("/kv/app/db", "s3cret"),
        ("/kv/app/db/more", more),
        ("/kv/app/db/more/list/0", "x"),
        ("/kv/app/db/more/port", "5432"),
        ("/kv/app/db/more/tls", "true"),
        ("/kv/app/db/more/user", "u"),
    ];
    assert_eq!(read(&config, "/kv/app").await.expect("it answers"), pairs(&expected));
    let all = read(&config, "/kv").await.expect("it answers");
    assert_eq!(all.len(), 7, "{all:?}");
    assert_eq!(read(&config, "/old").await.expect("it answers"), pairs(&[("/old/k", "plain")]));
    assert_eq!(read(&config, "/old/absent").await.expect("it answers"), Vec::new());
    vault.with(|state| state.hides_mounts = true);
    assert_eq!(read(&config, "/old/k").await.expect("it answers"), pairs(&[("/old/k", "plain")]));
    let source = connect(&config).await.expect("it is an address");
    assert!(matches!(source.watch(&["/kv".to_owned()]).await, Ok(Watching::Poll(_))));
}

#[tokio::test]
async fn every_way_to_log_in_is_taken() {
    let vault = InVault::start();
    let logins = [
        ("auth/approle/login", json!({"role_id": "r", "secret_id": "s"})),
        ("auth/app-id/login", json!({"app_id": "a", "user_id": "i"})),
        ("auth/userpass/login/u", json!({"password": "p"})),
        ("auth/own/login/u", json!({"password": "p"})),
        ("auth/github/login", json!({"token": "g"})),
        ("auth/cert/login", json!({})),
        ("auth/kubernetes/login", json!({"jwt": "pod", "role": "r"})),
    ];
    let directory = tempfile::tempdir().expect("there is room");
    let token = directory.path().join("token");
    std::fs::write(&token, "pod\n").expect("the directory is new");
    vault.with(|state| {
        state.logins = logins.map(|(path, sent)| (path.to_owned(), sent)).into_iter().collect();
    });
    let mut config = vault.config("");
    config.login.role_id = "r".to_owned();
    config.login.secret_id = "s".to_owned();
    config.login.app_id = "a".to_owned();
    config.login.user_id = "i".to_owned();
    config.login.username = "u".to_owned();
    config.login.password = "p".to_owned();
    config.login.token = "g".to_owned();
    config.login.token_file = Some(token.to_string_lossy().into_owned().into());
    for kind in ["app-role", "app-id", "userpass", "github", "cert", "kubernetes"] {
        config.login.kind = kind.to_owned();
        let found = read(&config, "/old/k").await;
        assert_eq!(found.expect(kind), pairs(&[("/old/k", "plain")]), "{kind}");
    }
    config.login.kind = "userpass".to_owned();
    config.login.mount = "own".to_owned();
    assert!(read(&config, "/old/k").await.is_ok());
    assert_eq!(vault.with(|state| state.logged_in), 7);
    config.login.password = "wrong".to_owned();
    let refused = read(&config, "/old/k").await;
    assert!(
        matches!(&refused, Err(Error::Refused { reason, .. }) if reason.contains("invalid login")),
        "{refused:?}"
    );
    config.login.kind = "magic".to_owned();
    assert!(matches!(read(&config, "/k").await, Err(Error::Config { .. })));
    config.login.kind = String::new();
    let text = read(&config, "/k").await.expect_err("it says no").to_string();
    assert_eq!(text, "you have to set the auth type when using the vault backend");
}

#[tokio::test]
async fn tokens_are_renewed_and_asked_for_anew() {
    let vault = InVault::start();
    vault.with(|state| {
        state.logins.insert("auth/cert/login".to_owned(), json!({}));
        state.lease_s = 1;
    });
    let source = connect(&vault.config("cert")).await.expect("it is an address");
    let read = || async { source.read(&["/old/k".to_owned()]).await.map(|entries| entries.len()) };
    assert_eq!(read().await.expect("it answers"), 1);
    tokio::time::sleep(std::time::Duration::from_millis(800)).await;
    assert_eq!(read().await.expect("it answers"), 1);
    let counts = |state: &mut State| (state.logged_in, state.renewed);
    assert_eq!(vault.with(counts), (1, 1));
    // A token that was taken back is asked for anew, once.
    vault.with(|state| {
        state.token = "another".to_owned();
        state.lease_s = 3600;
    });
    assert_eq!(read().await.expect("it answers"), 1);
    assert_eq!(vault.with(counts), (2, 1));
}

#[tokio::test]
async fn a_token_that_was_given_is_renewed_while_nobody_asks() {
    let vault = InVault::start();
    vault.with(|state| state.lease_s = 1);
    let mut config = vault.config("token");
    config.login.token = "root".to_owned();
    let source = connect(&config).await.expect("it is an address");
    source.read(&["/old/k".to_owned()]).await.expect("it answers");
    let renewed = async {
        while vault.with(|state| state.renewed) < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(brickyard_testkit::DEADLINE, renewed).await.expect("by itself");
    drop(source);
    // Who may not ask how long it lasts uses it all the same.
    vault.with(|state| state.forbidden = vec!["GET auth/token/lookup-self".to_owned()]);
    assert_eq!(read(&config, "/old/k").await.expect("it may"), pairs(&[("/old/k", "plain")]));
}

#[tokio::test]
async fn what_may_be_read_is_read_although_it_may_not_be_listed() {
    let vault = InVault::start();
    let mut config = vault.config("token");
    config.login.token = "root".to_owned();
    let forbid = |all: &[&str]| {
        vault.with(|state| state.forbidden = all.iter().map(ToString::to_string).collect());
    };
    forbid(&["LIST old/k"]);
    assert_eq!(read(&config, "/old/k").await.expect("it may"), pairs(&[("/old/k", "plain")]));
    forbid(&["GET old/k", "LIST old/k"]);
    let refused = read(&config, "/old/k").await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    // Below what may be listed, a secret that may not be read is left out.
    assert_eq!(read(&config, "/old").await.expect("it may"), Vec::new());
    forbid(&["GET kv/data/app", "GET kv/data/app/db/more", "LIST kv/metadata/app/db"]);
    assert_eq!(read(&config, "/kv/app").await.expect("it may"), pairs(&[("/kv/app/db", "s3cret")]));
    forbid(&["LIST old"]);
    assert!(matches!(read(&config, "/old").await, Err(Error::Refused { .. })));
}

#[tokio::test]
async fn variables_of_vaults_tools_say_what_flags_leave_open() {
    let vault = InVault::start();
    let mut config = Config::new(Backend::Vault);
    for (name, value) in [
        ("VAULT_ADDR", format!("http://{}", vault.server.address())),
        ("VAULT_TOKEN", "root".to_owned()),
        ("VAULT_NAMESPACE", "team".to_owned()),
    ] {
        config.environment.insert(name.to_owned(), value);
    }
    assert_eq!(read(&config, "/old/k").await.expect("it answers"), pairs(&[("/old/k", "plain")]));
}

#[tokio::test]
async fn refusals_do_not_lead_to_new_logins_and_tokens_in_files_may_change() {
    let vault = InVault::start();
    vault.with(|state| {
        state.logins.insert("auth/cert/login".to_owned(), json!({}));
        state.hides_mounts = true;
        state.forbidden = vec!["LIST old/k".to_owned()];
    });
    let source = connect(&vault.config("cert")).await.expect("it is an address");
    for _ in 0..3 {
        assert_eq!(source.read(&["/old/k".to_owned()]).await.expect("it may").len(), 1);
    }
    assert_eq!(vault.with(|state| state.logged_in), 1);
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("token");
    std::fs::write(&file, "root\n").expect("the directory is new");
    let mut config = vault.config("token");
    config.login.token_file = Some(file.to_string_lossy().into_owned().into());
    let source = connect(&config).await.expect("it is an address");
    assert_eq!(source.read(&["/old/k".to_owned()]).await.expect("it may").len(), 1);
    vault.with(|state| state.token = "another".to_owned());
    std::fs::write(&file, "another\n").expect("it is there");
    assert_eq!(source.read(&["/old/k".to_owned()]).await.expect("it may").len(), 1);
}
