//! Vault's key-value secrets, of both versions.
//!
//! A path is read and listed; a secret of one field `value` is its text, another is its JSON, and its
//! fields lie below it. A token that we logged in for is renewed when two thirds of its time are over,
//! and one that is refused is asked for anew. Vault does not tell of changes.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::http::{Answer, Http, escaped};
use crate::{Config, Entries, Error, Login, Result, Source, Watching};

/// Where Kubernetes puts a pod's token.
const SERVICE_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The secrets of a Vault.
pub struct Vault {
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
    /// The first of the nodes. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] without a kind of login, or when certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self> {
        if config.login.kind.is_empty() {
            return Err(Error::Config {
                message: "you have to set the auth type when using the vault backend".to_owned(),
                hint: Some("-auth-type token -auth-token TOKEN is the simplest".to_owned()),
            });
        }
        let node = config.nodes.first().map(String::as_str).unwrap_or_default();
        let vault = Self {
            http: Http::new(node, config)?,
            login: config.login.clone(),
            timeout: config.timeout,
            token: Mutex::new(None),
        };
        if vault.login.kind != "token" {
            vault.way_in()?;
        }
        Ok(vault)
    }

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
            "github" => (format!("{}/login", at("github")), json!({"token": login.token})),
            "cert" => (format!("{}/login", at("cert")), json!({})),
            "kubernetes" => {
                let token =
                    std::fs::read_to_string(SERVICE_TOKEN).map_err(|err| Error::Config {
                        message: format!("cannot read `{SERVICE_TOKEN}`: {err}"),
                        hint: Some("auth-type kubernetes works inside a pod".to_owned()),
                    })?;
                let body = json!({"jwt": token.trim(), "role": login.role_id});
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
            return Ok(Token { text: self.login.token.clone(), renew_at: None });
        }
        let (path, body) = self.way_in()?;
        let body = Some(body.to_string().into_bytes());
        let path = format!("/v1/auth/{path}");
        let answer = self.http.ask("POST", &path, &[], body, self.timeout).await?;
        self.token_of(&answer)
    }

    fn token_of(&self, answer: &Answer) -> Result<Token> {
        if answer.status != StatusCode::OK {
            return Err(self.http.refusal(answer));
        }
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let auth = &value["auth"];
        let Some(text) = auth["client_token"].as_str() else {
            let reason = "the answer to the login has no token".to_owned();
            return Err(Error::Bad { place: self.http.node.clone(), reason });
        };
        let seconds = auth["lease_duration"].as_u64().unwrap_or(0);
        let renews = auth["renewable"].as_bool().unwrap_or(false) && seconds > 0;
        let after = Duration::from_secs(seconds) * 2 / 3;
        let renew_at = renews.then(|| Instant::now() + after);
        Ok(Token { text: text.to_owned(), renew_at })
    }

    /// A token that can be used now.
    async fn token(&self) -> Result<String> {
        let mut kept = self.token.lock().await;
        let token = match &*kept {
            None => self.log_in().await?,
            Some(token) if token.renew_at.is_none_or(|at| at > Instant::now()) => {
                return Ok(token.text.clone());
            }
            Some(token) => {
                let headers = [("x-vault-token", token.text.as_str())];
                let path = "/v1/auth/token/renew-self";
                let renewing = self.http.ask("POST", path, &headers, None, self.timeout).await?;
                match self.token_of(&renewing) {
                    Ok(token) => token,
                    // One that has come to its end cannot be renewed.
                    Err(_) => self.log_in().await?,
                }
            }
        };
        let text = token.text.clone();
        *kept = Some(token);
        Ok(text)
    }

    /// Asks with a token; one that is refused is asked for anew, once. What is not there is nothing.
    async fn ask(&self, method: &str, path: &str) -> Result<Option<Value>> {
        let mut tries = 0;
        loop {
            let token = self.token().await?;
            let headers = [("x-vault-token", token.as_str())];
            let answer = self.http.ask(method, path, &headers, None, self.timeout).await?;
            match answer.status {
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::OK => {
                    let value = serde_json::from_slice(&answer.body).map_err(|err| Error::Bad {
                        place: format!("{}{path}", self.http.node),
                        reason: err.to_string(),
                    });
                    return value.map(Some);
                }
                StatusCode::FORBIDDEN if self.login.kind != "token" && tries == 0 => {
                    tries += 1;
                    *self.token.lock().await = None;
                }
                _ => return Err(self.http.refusal(&answer)),
            }
        }
    }

    /// Where a path lies. Who may not ask for that has secrets without versions.
    async fn mounted(&self, path: &str) -> Result<Mounted> {
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

    /// Reads what is at a place and below it.
    fn walk<'a>(
        &'a self,
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
            if !rest.is_empty() {
                let secret = self.ask("GET", path(read).trim_end_matches('/')).await?;
                let data = secret.as_ref().map(|secret| match at.is_versioned {
                    true => &secret["data"]["data"],
                    false => &secret["data"],
                });
                if let Some(Value::Object(fields)) = data {
                    add(&format!("/{}{rest}", at.mount), fields, &mut found);
                }
            }
            let listed = self.ask("LIST", path(list).trim_end_matches('/')).await?;
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
            let at = self.mounted(path).await?;
            entries.extend(self.walk(&at, at.rest.clone()).await?);
        }
        Ok(entries)
    }

    async fn watch(&self, _: &[String]) -> Result<Watching> {
        Ok(Watching::Poll("it does not tell of changes".to_owned()))
    }
}
