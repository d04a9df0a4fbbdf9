//! How a source is reached: what confd's flags say, once they are put together.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::{Error, Result};

/// confd's backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// Configuration and registry of a yard's environment.
    Brickyard,
    /// Consul's key-value store.
    Consul,
    /// A table of DynamoDB.
    Dynamodb,
    /// Environment variables.
    Env,
    /// etcd, by its third interface: `etcd` and `etcdv3` are both this, as the second is gone.
    Etcd,
    /// YAML, JSON and TOML files.
    File,
    /// Redis.
    Redis,
    /// The parameter store of AWS Systems Manager.
    Ssm,
    /// Vault's key-value secrets.
    Vault,
    /// ZooKeeper.
    Zookeeper,
}

/// What a table says of a name; an empty text says nothing.
pub(crate) fn said<'a>(table: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    table.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// The secret in a file, without the space around it.
pub(crate) fn secret_in(file: &Utf8Path, hint: Option<&str>) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|err| Error::Config {
        message: format!("cannot read `{file}`: {err}"),
        hint: hint.map(str::to_owned),
    })?;
    Ok(text.trim().to_owned())
}

/// confd's names, with what they stand for.
const NAMES: &[(&str, Backend)] = &[
    ("brickyard", Backend::Brickyard),
    ("consul", Backend::Consul),
    ("dynamodb", Backend::Dynamodb),
    ("env", Backend::Env),
    ("etcd", Backend::Etcd),
    ("etcdv3", Backend::Etcd),
    ("file", Backend::File),
    ("redis", Backend::Redis),
    ("ssm", Backend::Ssm),
    ("vault", Backend::Vault),
    ("zookeeper", Backend::Zookeeper),
];

impl Backend {
    /// The backend of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, backend)| *backend)
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// Whether a path covers all keys whose text begins with it, `/data` also `/database`: confd's
    /// way with variables and files.
    #[must_use]
    pub fn matches_text(self) -> bool {
        matches!(self, Self::Env | Self::File)
    }

    /// Where its server is when nobody says otherwise.
    #[must_use]
    pub fn default_nodes(self) -> Vec<String> {
        let node = match self {
            Self::Brickyard => "/var/lib/brickyard",
            Self::Consul => "127.0.0.1:8500",
            Self::Etcd => "127.0.0.1:2379",
            Self::Redis => "127.0.0.1:6379",
            Self::Vault => "http://127.0.0.1:8200",
            Self::Zookeeper => "127.0.0.1:2181",
            Self::Dynamodb | Self::Env | Self::File | Self::Ssm => return Vec::new(),
        };
        vec![node.to_owned()]
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, backend)| backend == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// Certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tls {
    /// Who vouches for the server, PEM; the system's authorities where it is absent.
    pub authorities: Option<Utf8PathBuf>,
    /// Our certificate, PEM.
    pub certificate: Option<Utf8PathBuf>,
    /// Its key, PEM.
    pub key: Option<Utf8PathBuf>,
    /// Whether any server is believed.
    pub insecure: bool,
}

impl Tls {
    /// Takes authorities, certificate and key from elsewhere where they are not given.
    pub(crate) fn fill(&mut self, [authorities, certificate, key]: [Option<&str>; 3]) {
        let path = |text: Option<&str>| text.map(Utf8PathBuf::from);
        self.authorities = self.authorities.take().or(path(authorities));
        if self.certificate.is_none() && self.key.is_none() {
            (self.certificate, self.key) = (path(certificate), path(key));
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Login {
    /// Whether user and password are sent: confd's `-basic-auth`.
    pub basic: bool,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
    /// How one logs in to Vault.
    pub kind: String,
    /// A token.
    pub token: String,
    /// A file that has it: with `kubernetes` the pod's, which is at its usual place otherwise.
    pub token_file: Option<Utf8PathBuf>,
    /// Vault's `app-id`.
    pub app_id: String,
    /// Vault's `app-id`.
    pub user_id: String,
    /// Vault's `app-role` and `kubernetes`.
    pub role_id: String,
    /// Vault's `app-role`.
    pub secret_id: String,
    /// Where the login is mounted in Vault.
    pub mount: String,
}

/// How a source is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Config {
    /// Which kind it is.
    pub backend: Backend,
    /// Servers, as `HOST:PORT` or URLs.
    pub nodes: Vec<String>,
    /// `http` or `https`, where nodes do not say.
    pub scheme: String,
    /// Certificates.
    pub tls: Tls,
    /// Who asks.
    pub login: Login,
    /// What stands between the parts of a key in Redis.
    pub separator: String,
    /// A table of DynamoDB.
    pub table: String,
    /// An environment of a yard, `SYSTEM/ENVIRONMENT`; empty where it is the only one.
    pub yard: String,
    /// Files and directories.
    pub files: Vec<Utf8PathBuf>,
    /// Which names in directories count.
    pub filter: String,
    /// Whether `__` in a variable's name stands for `_` in the key's.
    pub double_underscore: bool,
    /// Environment variables: what is read, or where an SDK would look.
    pub environment: BTreeMap<String, String>,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Config {
    /// A backend at its usual place.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            nodes: backend.default_nodes(),
            scheme: "http".to_owned(),
            tls: Tls::default(),
            login: Login::default(),
            separator: "/".to_owned(),
            table: String::new(),
            yard: String::new(),
            files: Vec::new(),
            filter: "*".to_owned(),
            double_underscore: false,
            environment: BTreeMap::new(),
            timeout: Duration::from_secs(5),
        }
    }

    /// An environment variable that says something.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        said(&self.environment, name)
    }

    /// Whether servers are spoken to with TLS: as their addresses say, or where none says anything,
    /// as the scheme and the certificates do. That anybody would be believed says nothing of it.
    pub(crate) fn is_secured(&self, open: &str, secured: &str) -> bool {
        let any = |scheme: &str| self.nodes.iter().any(|node| node.starts_with(scheme));
        let is_meant = self.scheme == "https"
            || self.tls.authorities.is_some()
            || self.tls.certificate.is_some();
        any(secured) || (!any(open) && is_meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_first_whether_a_server_is_spoken_to_with_tls() {
        let secured = |node: &str, scheme: &str, tls: Tls| {
            let mut config = Config::new(Backend::Etcd);
            config.nodes = vec![node.to_owned()];
            config.scheme = scheme.to_owned();
            config.tls = tls;
            config.is_secured("http:", "https:")
        };
        let authorities = || Tls { authorities: Some("/ca".into()), ..Tls::default() };
        assert!(secured("https://a:1", "http", Tls::default()));
        assert!(secured("a:1", "https", Tls::default()));
        assert!(secured("a:1", "http", authorities()));
        assert!(!secured("http://a:1", "https", authorities()));
        // As by confd, this alone says nothing.
        assert!(!secured("a:1", "http", Tls { insecure: true, ..Tls::default() }));
    }
}
