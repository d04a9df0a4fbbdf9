//! Who asks AWS: variables, the files of AWS' tools, a role that a token stands for, a container's or
//! a machine's own role, in this order.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::config::{said, secret_in};
use crate::http::{Answer, Http, escaped};
use crate::{Config, Error, Result};

/// Credentials are asked for anew this long before they end.
const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// How long a machine that is none of AWS' is waited for.
const MACHINE_TIMEOUT: Duration = Duration::from_secs(1);
/// Where a container's role is asked for, and a machine's.
const CONTAINER: &str = "http://169.254.170.2";
const MACHINE: &str = "http://169.254.169.254";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) key: String,
    pub(super) secret: String,
    pub(super) session: Option<String>,
    pub(super) ends_at: Option<Timestamp>,
}

impl Credentials {
    /// As AWS' own servers say them, in JSON.
    fn from_json(value: &Value, place: &str) -> Result<Self> {
        let field = |name: &str| value[name].as_str().map(str::to_owned);
        let bad = || Error::Bad {
            place: place.to_owned(),
            reason: "the answer has no credentials".to_owned(),
        };
        Ok(Self {
            key: field("AccessKeyId").ok_or_else(bad)?,
            secret: field("SecretAccessKey").ok_or_else(bad)?,
            session: field("Token"),
            ends_at: field("Expiration").and_then(|text| text.parse().ok()),
        })
    }
}

/// One profile of the files that AWS' tools keep.
#[derive(Debug, Default)]
pub(super) struct Profile {
    name: String,
    settings: BTreeMap<String, String>,
}

impl Profile {
    /// Reads the profile that the variables name. Files that are not there say nothing.
    pub(super) fn read(environment: &BTreeMap<String, String>) -> Result<Self> {
        let name = said(environment, "AWS_PROFILE").unwrap_or("default").to_owned();
        let home = said(environment, "HOME").unwrap_or("/");
        let file = |variable: &str, name: &str| {
            let own = said(environment, variable).map(Utf8PathBuf::from);
            own.unwrap_or_else(|| Utf8PathBuf::from(home).join(".aws").join(name))
        };
        let mut settings = BTreeMap::new();
        let files = [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
        for (variable, usual) in files {
            let path = file(variable, usual);
            let read = match std::fs::read_to_string(&path) {
                Ok(read) => read,
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => continue,
                Err(err) => {
                    let message = format!("cannot read `{path}`: {err}");
                    return Err(Error::Config { message, hint: None });
                }
            };
            settings.extend(section(&read, &name));
        }
        Ok(Self { name, settings })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        said(&self.settings, name)
    }
}

/// The settings of a profile: those of `[NAME]` or `[profile NAME]`.
fn section(file: &str, name: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut is_ours = false;
    for line in file.lines() {
        let line = line.trim_end();
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            let title = title.0.trim();
            is_ours = title.strip_prefix("profile ").map_or(title, str::trim) == name;
        } else if is_ours
            // What is indented belongs to the setting before it, and comments say nothing.
            && !line.starts_with([' ', '\t', '#', ';'])
            && let Some((name, value)) = line.split_once('=')
        {
            settings.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    settings
}

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    /// They were given, and never end.
    Given(Credentials),
    /// A token in a file stands for a role.
    WebIdentity { file: Utf8PathBuf, role: String, session: String, endpoint: String },
    /// An address says them, to who has a token.
    Container { url: String, token: Option<String>, token_file: Option<Utf8PathBuf> },
    /// The machine's own role.
    Machine { url: String },
}

/// Brings credentials, and keeps them until they end.
#[derive(Debug)]
pub(super) struct Provider {
    from: From,
    config: Config,
    kept: Mutex<Option<Credentials>>,
}

impl Provider {
    pub(super) fn new(config: &Config, profile: Profile) -> Result<Self> {
        let from = from(&config.environment, &profile)?;
        let mut config = config.clone();
        // Their servers are others than those that are read.
        config.tls = crate::Tls::default();
        Ok(Self { from, config, kept: Mutex::new(None) })
    }

    /// Credentials that count now.
    pub(super) async fn get(&self) -> Result<Credentials> {
        if let From::Given(given) = &self.from {
            return Ok(given.clone());
        }
        let mut kept = self.kept.lock().await;
        let soon = Timestamp::now() + EARLY;
        if let Some(known) = kept.as_ref().filter(|kept| kept.ends_at.is_none_or(|at| at > soon)) {
            return Ok(known.clone());
        }
        match self.bring().await {
            Ok(brought) => Ok(kept.insert(brought).clone()),
            // The last minutes are good for a server that is away for a moment.
            Err(err) => {
                let now = Timestamp::now();
                let lasting = kept.as_ref().filter(|kept| kept.ends_at.is_none_or(|at| at > now));
                lasting.cloned().ok_or(err)
            }
        }
    }

    /// Forgets credentials that were refused. Those that were given cannot be had anew.
    pub(super) async fn forget(&self) -> bool {
        self.kept.lock().await.take().is_some()
    }

    /// A server that says credentials.
    fn server(&self, url: &str) -> Result<(Http, String)> {
        let mut config = self.config.clone();
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        config.nodes = vec![format!("{scheme}://{host}")];
        config.login.basic = false;
        Ok((Http::new(&config)?, format!("/{path}")))
    }

    async fn bring(&self) -> Result<Credentials> {
        let timeout = self.config.timeout;
        match &self.from {
            From::Given(given) => Ok(given.clone()),
            From::WebIdentity { file, role, session, endpoint } => {
                let (http, _) = self.server(endpoint)?;
                let query = format!(
                    "/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}\
                     &RoleSessionName={}&WebIdentityToken={}",
                    whole(role),
                    whole(session),
                    whole(&secret_in(file, None)?),
                );
                let answer = http.ask("GET", &query, &[], None, timeout).await?;
                from_xml(&good(&http, answer)?).ok_or_else(|| Error::Bad {
                    place: endpoint.clone(),
                    reason: "the answer has no credentials".to_owned(),
                })
            }
            From::Container { url, token, token_file } => {
                let (http, path) = self.server(url)?;
                let token = match token_file {
                    Some(file) => Some(secret_in(file, None)?),
                    None => token.clone(),
                };
                let headers: Vec<_> =
                    token.iter().map(|token| ("authorization", token.as_str())).collect();
                let answer = http.ask("GET", &path, &headers, None, timeout).await?;
                let said = serde_json::from_slice(&good(&http, answer)?.body).unwrap_or_default();
                Credentials::from_json(&said, url)
            }
            From::Machine { url } => self.of_machine(url).await,
        }
    }

    async fn of_machine(&self, url: &str) -> Result<Credentials> {
        let (http, _) = self.server(url)?;
        let nobody = |_| Error::Config {
            message: "nobody says who asks AWS".to_owned(),
            hint: Some(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE".to_owned(),
            ),
        };
        let life = [("x-aws-ec2-metadata-token-ttl-seconds", "21600")];
        let asking = http.ask("PUT", "/latest/api/token", &life, None, MACHINE_TIMEOUT);
        let token = good(&http, asking.await.map_err(nobody)?)?;
        let token = String::from_utf8_lossy(&token.body).trim().to_owned();
        let headers = [("x-aws-ec2-metadata-token", token.as_str())];
        let path = "/latest/meta-data/iam/security-credentials/";
        let role = http.ask("GET", path, &headers, None, MACHINE_TIMEOUT).await?;
        let role = good(&http, role)?;
        let role = String::from_utf8_lossy(&role.body).lines().next().unwrap_or("").to_owned();
        let path = format!("{path}{}", escaped(role.trim()));
        let answer = http.ask("GET", &path, &headers, None, MACHINE_TIMEOUT).await?;
        let said = serde_json::from_slice(&good(&http, answer)?.body).unwrap_or_default();
        Credentials::from_json(&said, url)
    }
}

/// What the variables and files say first.
fn from(environment: &BTreeMap<String, String>, profile: &Profile) -> Result<From> {
    let variable = |name: &str| said(environment, name).map(str::to_owned);
    let given = |key: Option<String>, secret: Option<String>, session: Option<String>| {
        Some(From::Given(Credentials { key: key?, secret: secret?, session, ends_at: None }))
    };
    let of_variables = given(
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
        variable("AWS_SESSION_TOKEN"),
    );
    let setting = |name: &str| profile.get(name).map(str::to_owned);
    let of_profile = given(
        setting("aws_access_key_id"),
        setting("aws_secret_access_key"),
        setting("aws_session_token"),
    );
    if let Some(given) = of_variables.or(of_profile) {
        return Ok(given);
    }
    if variable("AWS_PROFILE").is_some() {
        return Err(Error::Config {
            message: format!("the profile `{}` has no keys", profile.name),
            hint: Some("aws_access_key_id and aws_secret_access_key are read".to_owned()),
        });
    }
    let token = variable("AWS_WEB_IDENTITY_TOKEN_FILE");
    if let (Some(file), Some(role)) = (token, variable("AWS_ROLE_ARN")) {
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let usual = match region {
            Some(region) => format!("https://sts.{region}.amazonaws.com"),
            None => "https://sts.amazonaws.com".to_owned(),
        };
        return Ok(From::WebIdentity {
            file: file.into(),
            role,
            session: variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "confd".to_owned()),
            endpoint: variable("AWS_ENDPOINT_URL_STS").unwrap_or(usual),
        });
    }
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let url = relative.map(|path| format!("{CONTAINER}{path}"));
    if let Some(url) = url.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        return Ok(From::Container {
            url,
            token: variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
            token_file: variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(Utf8PathBuf::from),
        });
    }
    let own = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    Ok(From::Machine { url: own.unwrap_or_else(|| MACHINE.to_owned()) })
}

/// A part of a query, escaped whole.
fn whole(text: &str) -> String {
    escaped(text).replace('/', "%2F")
}

fn good(http: &Http, answer: Answer) -> Result<Answer> {
    if answer.status.is_success() { Ok(answer) } else { Err(http.refusal(&answer)) }
}

/// As the service of roles says them.
fn from_xml(answer: &Answer) -> Option<Credentials> {
    let body = String::from_utf8_lossy(&answer.body);
    let field = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.trim().to_owned())
    };
    Some(Credentials {
        key: field("AccessKeyId")?,
        secret: field("SecretAccessKey")?,
        session: field("SessionToken"),
        ends_at: field("Expiration").and_then(|text| text.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn profiles_are_read_as_awss_tools_write_them() {
        let file = "# comment\n[default]\nregion = eu-west-1\n[profile other]\nregion=us-east-2\n\
                    s3 =\n  region = nowhere\naws_access_key_id = KEY\n";
        assert_eq!(section(file, "default"), pairs(&[("region", "eu-west-1")]));
        let expected = [("aws_access_key_id", "KEY"), ("region", "us-east-2"), ("s3", "")];
        assert_eq!(section(file, "other"), pairs(&expected));
    }

    #[test]
    fn variables_count_before_files_and_roles() {
        let mut profile = Profile::default();
        let keys = [("aws_access_key_id", "FILE"), ("aws_secret_access_key", "s")];
        profile.settings = pairs(&keys);
        let key = |environment: &[(&str, &str)], profile: &Profile| match from(
            &pairs(environment),
            profile,
        )
        .expect("somebody says")
        {
            From::Given(given) => given.key,
            other => format!("{other:?}").split(' ').next().unwrap_or_default().to_owned(),
        };
        let own = [("AWS_ACCESS_KEY_ID", "OWN"), ("AWS_SECRET_ACCESS_KEY", "s")];
        assert_eq!(key(&own, &profile), "OWN");
        assert_eq!(key(&[], &profile), "FILE");
        let none = Profile::default();
        let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "arn")];
        assert_eq!(key(&web, &none), "WebIdentity");
        assert_eq!(key(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/c")], &none), "Container");
        assert_eq!(key(&[], &none), "Machine");
        assert!(from(&pairs(&[("AWS_PROFILE", "absent")]), &none).is_err());
    }
}
