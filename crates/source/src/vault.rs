//! Vault's key-value secrets, of both versions.
//!
//! A path is read and listed; a secret of one field `value` is its text, another is its JSON, and its
//! fields lie below it. A token is renewed when two thirds of its time are over, and one that we logged
//! in for and that is refused is asked for anew. Vault does not tell of changes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::secret_in;
use crate::http::{Answer, Http, escaped};
use crate::{Backend, Config, Entries, Error, Login, Result, Source, Watching};

/// Where Kubernetes puts a pod's token.
const SERVICE_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What helps where a token's file cannot be read.
const TOKEN_HINT: &str = "-auth-token-file names the file of a token";
/// How long one waits after a renewal that failed because nobody answered.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// The secrets of a Vault.
pub struct Vault(Arc<Session>);

/// A server, and who asks it.
struct Session {
    http: Http,
    login: Login,
    timeout: Duration,
    token: Mutex<Option<Token>>,
}

/// A token, and when it is renewed.
#[derive(Debug, Clone)]
struct Token {
    text: String,
    renew_at: Option<Instant>,
}

/// Where a path lies: its mount, what is left of it, and whether secrets have versions there.
#[derive(Debug, Clone)]
struct Mounted {
    mount: String,
    rest: String,
    is_versioned: bool,
}

impl Vault {
    /// The nodes' servers; what flags leave open is taken from the variables of Vault's own tools.
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] without a kind of login, or when certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self> {
        let variable = |name: &str| config.variable(name);
        let mut config = config.clone();
        if config.login.token.is_empty()
            && matches!(&*config.login.kind, "" | "token")
            && let Some(token) = variable("VAULT_TOKEN")
        {
            config.login.kind = "token".to_owned();
            config.login.token = token.to_owned();
        }
        if config.login.kind.is_empty() {
            return Err(Error::Config {
                message: "you have to set the auth type when using the vault backend".to_owned(),
                hint: Some("-auth-type token -auth-token TOKEN is the simplest".to_owned()),
            });
        }
        if let Some(address) = variable("VAULT_ADDR")
            && config.nodes == Backend::Vault.default_nodes()
        {
            config.nodes = vec![address.to_owned()];
        }
        let names = ["VAULT_CACERT", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY"];
        config.tls.fill(names.map(variable));
        if variable("VAULT_SKIP_VERIFY").is_some_and(|text| matches!(text, "1" | "true")) {
            config.tls.insecure = true;
        }
        let mut http = Http::new(&config)?;
        if let Some(namespace) = variable("VAULT_NAMESPACE") {
            http = http.with("x-vault-namespace", namespace.to_owned());
        }
        let token = Mutex::new(None);
        let session = Session { http, login: config.login, timeout: config.timeout, token };
        if session.login.kind != "token" {
            session.way_in()?;
        }
        Ok(Self(Arc::new(session)))
    }
}

impl Session {
    /// Path and body of a login.
    fn way_in(&self) -> Result<(String, Value)> {
        let login = &self.login;
        let at = |default: &str| match &*login.mount {
            "" => default.to_owned(),
            mount => mount.trim_matches('/').to_owned(),
        };
        Ok(match &*login.kind {
            "app-role" | "approle" => (
                format!("{}/login", at("approle")),
                json!({"role_id": login.role_id, "secret_id": login.secret_id}),
            ),
            "app-id" => (
                format!("{}/login", at("app-id")),
                json!({"app_id": login.app_id, "user_id": login.user_id}),
            ),
            "userpass" => (
                format!("{}/login/{}", at("userpass"), escaped(&login.username)),
                json!({"password": login.password}),
            ),
            "github" => (format!("{}/login", at("github")), json!({"token": self.own_token()?})),
            "cert" => (format!("{}/login", at("cert")), json!({})),
            "kubernetes" => {
                let file = login.token_file.as_deref().unwrap_or(SERVICE_TOKEN.into());
                let body =
                    json!({"jwt": secret_in(file, Some(TOKEN_HINT))?, "role": login.role_id});
                (format!("{}/login", at("kubernetes")), body)
            }
            other => {
                return Err(Error::Config {
                    message: format!("`{other}` is no way to log in to Vault"),
                    hint: Some(
                        "app-role, app-id, cert, github, kubernetes, token and userpass are"
                            .to_owned(),
                    ),
                });
            }
        })
    }

    async fn log_in(&self) -> Result<Token> {
        if self.login.kind == "token" {
            return self.given().await;
        }
        let (path, body) = self.way_in()?;
        let body = Some(body.to_string().into_bytes());
        let path = format!("/v1/auth/{path}");
        let answer = self.http.ask("POST", &path, &[], body, self.timeout).await?;
        self.token_of(&answer)
    }

    /// The token that we were given, or that is in a file now.
    fn own_token(&self) -> Result<String> {
        match &self.login.token_file {
            Some(file) if self.login.token.is_empty() => secret_in(file, Some(TOKEN_HINT)),
            _ => Ok(self.login.token.clone()),
        }
    }

    /// Whether a token counts at all: one that has ended is refused as one that may not do something.
    async fn counts(&self, token: &str) -> Result<bool> {
        let headers = [("x-vault-token", token)];
        let path = "/v1/auth/token/lookup-self";
        let answer = self.http.ask("GET", path, &headers, None, self.timeout).await?;
        Ok(answer.status == StatusCode::OK)
    }

    /// The token that we were given. How long it lasts is asked for; who may not ask does not renew it.
    async fn given(&self) -> Result<Token> {
        let text = self.own_token()?;
        let headers = [("x-vault-token", text.as_str())];
        let path = "/v1/auth/token/lookup-self";
        let answer = self.http.ask("GET", path, &headers, None, self.timeout).await?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let renew_at = renewal(&value["data"], "ttl").filter(|_| answer.status == StatusCode::OK);
        Ok(Token { text, renew_at })
    }

    fn token_of(&self, answer: &Answer) -> Result<Token> {
        if answer.status != StatusCode::OK {
            return Err(self.http.refusal(answer));
        }
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let auth = &value["auth"];
        let Some(text) = auth["client_token"].as_str() else {
            let reason = "the answer to the login has no token".to_owned();
            return Err(Error::Bad { place: self.http.node().to_owned(), reason });
        };
        Ok(Token { text: text.to_owned(), renew_at: renewal(auth, "lease_duration") })
    }

    /// A token that can be used now.
    async fn token(self: &Arc<Self>) -> Result<String> {
        let mut kept = self.token.lock().await;
        if let Some(token) = &*kept {
            return Ok(token.text.clone());
        }
        let token = kept.insert(self.log_in().await?);
        if let Some(at) = token.renew_at {
            tokio::spawn(Self::renew(Arc::downgrade(self), token.text.clone(), at));
        }
        Ok(token.text.clone())
    }

    /// Renews a token again and again, as long as it is used.
    async fn renew(session: Weak<Self>, text: String, mut at: Instant) {
        loop {
            tokio::time::sleep_until(at).await;
            let Some(session) = session.upgrade() else { return };
            let headers = [("x-vault-token", text.as_str())];
            let path = "/v1/auth/token/renew-self";
            let answer = session.http.ask("POST", path, &headers, None, session.timeout).await;
            let renewed = answer.and_then(|answer| session.token_of(&answer));
            let mut kept = session.token.lock().await;
            if kept.as_ref().is_none_or(|token| token.text != text) {
                return;
            }
            at = match renewed {
                Ok(Token { renew_at: Some(at), .. }) => at,
                Err(err @ Error::Unavailable { .. }) => {
                    tracing::warn!("a token cannot be renewed: {err}");
                    Instant::now() + RENEWAL_PAUSE
                }
                // One that has come to its end cannot be renewed; the next question logs in anew.
                Ok(_) | Err(_) => {
                    *kept = None;
                    return;
                }
            };
        }
    }

    /// Whether another token can be had than the one that was.
    fn can_ask_anew(&self) -> bool {
        self.login.kind != "token"
            || (self.login.token.is_empty() && self.login.token_file.is_some())
    }

    /// Asks with a token; one that is refused is asked for anew, once. What is not there is nothing.
    async fn ask(self: &Arc<Self>, method: &str, path: &str) -> Result<Option<Value>> {
        let mut tries = 0;
        loop {
            let token = self.token().await?;
            let headers = [("x-vault-token", token.as_str())];
            let answer = self.http.ask(method, path, &headers, None, self.timeout).await?;
            match answer.status {
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::OK => {
                    let value = serde_json::from_slice(&answer.body).map_err(|err| Error::Bad {
                        place: format!("{}{path}", self.http.node()),
                        reason: err.to_string(),
                    });
                    return value.map(Some);
                }
                StatusCode::FORBIDDEN
                    if tries == 0 && self.can_ask_anew() && !self.counts(&token).await? =>
                {
                    tries += 1;
                    *self.token.lock().await = None;
                }
                _ => return Err(self.http.refusal(&answer)),
            }
        }
    }

    /// As [`Self::ask`]; that one may not ask is the inner result.
    async fn ask_if_allowed(
        self: &Arc<Self>,
        method: &str,
        path: &str,
    ) -> Result<Result<Option<Value>>> {
        match self.ask(method, path).await {
            Err(err @ Error::Refused { .. }) => Ok(Err(err)),
            other => other.map(Ok),
        }
    }

    /// Where a path lies. Who may not ask for that has secrets without versions.
    async fn mounted(self: &Arc<Self>, path: &str) -> Result<Mounted> {
        let path = path.trim_matches('/');
        let asked = format!("/v1/sys/internal/ui/mounts/{}", escaped(path));
        let plain = || Mounted { mount: String::new(), rest: path.to_owned(), is_versioned: false };
        let found = match self.ask("GET", &asked).await {
            Ok(Some(found)) => found,
            Ok(None) | Err(Error::Refused { .. }) => return Ok(plain()),
            Err(err) => return Err(err),
        };
        let data = &found["data"];
        let mount = data["path"].as_str().unwrap_or_default();
        match format!("{path}/").strip_prefix(mount) {
            Some(rest) if !mount.is_empty() => Ok(Mounted {
                mount: mount.to_owned(),
                rest: rest.trim_matches('/').to_owned(),
                is_versioned: data["options"]["version"] == "2",
            }),
            _ => Ok(plain()),
        }
    }

    /// Reads what is at a place and below it. Who may read a secret but not list what is below it, or
    /// the other way round, gets the one; what may neither be read nor listed is an error where it was
    /// asked for, and left out below that.
    fn walk<'a>(
        self: &'a Arc<Self>,
        at: &'a Mounted,
        rest: String,
    ) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>> {
        async move {
            let (list, read) = match at.is_versioned {
                true => ("metadata/", "data/"),
                false => ("", ""),
            };
            let path = |part: &str| format!("/v1/{}{part}{}", at.mount, escaped(&rest));
            let mut found = Vec::new();
            let mut refusal = None;
            if !rest.is_empty() {
                let asked = path(read);
                let secret = self.ask_if_allowed("GET", asked.trim_end_matches('/')).await?;
                let secret = secret.unwrap_or_else(|err| {
                    refusal = Some(err);
                    None
                });
                let data = secret.as_ref().map(|secret| match at.is_versioned {
                    true => &secret["data"]["data"],
                    false => &secret["data"],
                });
                if let Some(Value::Object(fields)) = data {
                    add(&format!("/{}{rest}", at.mount), fields, &mut found);
                }
            }
            let listed = self.ask_if_allowed("LIST", path(list).trim_end_matches('/')).await?;
            let listed = match (listed, refusal) {
                (Ok(listed), _) => listed,
                (Err(_), Some(refusal)) if rest == at.rest => return Err(refusal),
                (Err(refusal), None) if rest.is_empty() => return Err(refusal),
                (Err(_), _) => None,
            };
            let keys = listed.as_ref().and_then(|listed| listed["data"]["keys"].as_array());
            let names = keys.into_iter().flatten().filter_map(Value::as_str);
            let below = names.map(|name| {
                let name = name.trim_end_matches('/');
                match rest.is_empty() {
                    true => name.to_owned(),
                    false => format!("{rest}/{name}"),
                }
            });
            // A name may stand for a secret and a directory alike, and is listed twice then.
            let below: std::collections::BTreeSet<String> = below.collect();
            let all = try_join_all(below.into_iter().map(|rest| self.walk(at, rest))).await?;
            found.extend(all.into_iter().flatten());
            Ok(found)
        }
        .boxed()
    }
}

/// When a token is renewed, of which an answer says how long it lasts.
fn renewal(said: &Value, seconds: &str) -> Option<Instant> {
    let seconds = said[seconds].as_u64().filter(|seconds| *seconds > 0)?;
    let renews = said["renewable"].as_bool().unwrap_or(false);
    renews.then(|| Instant::now() + Duration::from_secs(seconds) * 2 / 3)
}

/// Adds a secret: its text where it has nothing but a `value`, its JSON and its fields otherwise.
fn add(key: &str, fields: &Map<String, Value>, into: &mut Vec<(String, Bytes)>) {
    if let (Some(Value::String(value)), 1) = (fields.get("value"), fields.len()) {
        into.push((key.to_owned(), value.clone().into()));
        return;
    }
    into.push((key.to_owned(), Value::Object(fields.clone()).to_string().into()));
    for (name, value) in fields {
        flatten(&format!("{key}/{name}"), value, into);
    }
}

fn flatten(key: &str, value: &Value, into: &mut Vec<(String, Bytes)>) {
    match value {
        Value::Null => {}
        Value::String(text) => into.push((key.to_owned(), text.clone().into())),
        Value::Bool(_) | Value::Number(_) => into.push((key.to_owned(), value.to_string().into())),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                flatten(&format!("{key}/{number}"), item, into);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{key}/{name}"), value, into);
            }
        }
    }
}

#[async_trait]
impl Source for Vault {
    fn name(&self) -> &'static str {
        "vault"
    }

    async fn read(&self, paths: &[String]) -> Result<Entries> {
        let mut entries = Entries::new();
        for path in paths {
            let at = self.0.mounted(path).await?;
            entries.extend(self.0.walk(&at, at.rest.clone()).await?);
        }
        Ok(entries)
    }

    async fn watch(&self, _: &[String]) -> Result<Watching> {
        Ok(Watching::Poll("it does not tell of changes".to_owned()))
    }
}
