//! What one run is to do: flags, variables and file put together.

use std::collections::BTreeMap;
use std::time::Duration;

use brickyard_source::{Backend, Config, Login, Tls};
use camino::{Utf8Path, Utf8PathBuf};
use toml::de::DeTable;

use crate::duration;
use crate::flags::{self, Usage, Values};
use crate::log::{Form, Level};
use crate::resource::Quiescence;

/// When files are rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Once.
    Onetime,
    /// Every so often.
    Interval,
    /// As soon as something changes, and every so often all the same.
    Watch,
}

/// The process that is run beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exec {
    pub(crate) command: String,
    pub(crate) reload_signal: Option<i32>,
    pub(crate) kill_signal: i32,
    pub(crate) kill_timeout: Duration,
    pub(crate) splay: Duration,
}

/// What one run is to do.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) confdir: Utf8PathBuf,
    pub(crate) prefix: String,
    pub(crate) interval: Duration,
    pub(crate) noop: bool,
    pub(crate) sync_only: bool,
    pub(crate) keep_stage_file: bool,
    pub(crate) strict: bool,
    pub(crate) diff: bool,
    pub(crate) fsync: bool,
    pub(crate) validate: bool,
    pub(crate) group_reloads: bool,
    pub(crate) check_timeout: Option<Duration>,
    pub(crate) reload_timeout: Option<Duration>,
    pub(crate) quiescence: Option<Quiescence>,
    pub(crate) level: Level,
    pub(crate) form: Form,
    pub(crate) metrics: Option<std::net::SocketAddr>,
    pub(crate) keyring: Option<Utf8PathBuf>,
    pub(crate) exec: Option<Exec>,
    /// The name of the backend as it was given.
    pub(crate) backend_name: String,
    /// How resources' own backends are put together with the command line's.
    values: Values,
    pub(crate) environment: BTreeMap<String, String>,
}

/// The run cannot begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The command line is wrong, or asks for its description or the version.
    Usage(Usage),
    Version,
    /// A setting is wrong.
    Fatal(String),
}

/// Puts a run's settings together.
pub(crate) fn settings(
    arguments: &[String],
    environment: &BTreeMap<String, String>,
) -> Result<Settings, Refusal> {
    let given = flags::from_arguments(arguments).map_err(Refusal::Usage)?;
    if given.contains_key("version") {
        return Err(Refusal::Version);
    }
    let variables = flags::from_environment(environment).map_err(Refusal::Fatal)?;
    let text = |name: &str, default: &str| {
        let found = given.get(name).or_else(|| variables.get(name));
        found.and_then(|texts| texts.last()).cloned().unwrap_or_else(|| default.to_owned())
    };
    let file: Utf8PathBuf = text("config-file", "/etc/confd/confd.toml").into();
    let mut values = from_file(&file).map_err(Refusal::Fatal)?;
    values.extend(variables);
    values.extend(given);
    Reader { values, environment }.settings().map_err(Refusal::Fatal)
}

/// confd's file; one that is not there says nothing.
fn from_file(path: &Utf8Path) -> Result<Values, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Values::new()),
        Err(err) => return Err(format!("{path}: {err}")),
    };
    let line = |at: usize| text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
    let table = DeTable::parse(&text).map_err(|err| {
        let at = err.span().map_or(0, |span| span.start);
        format!("{path}:{}: {}", line(at), err.message())
    })?;
    flags::from_table(table.get_ref()).map_err(|(at, text)| format!("{path}:{}: {text}", line(at)))
}

struct Reader<'a> {
    values: Values,
    environment: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str).filter(|text| !text.is_empty())
    }

    fn is_set(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    fn time(&self, name: &str) -> Result<Option<Duration>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let bad = || format!("-{name}: `{text}` is no time; write seconds, or `1m30s`");
        duration::parse(text).map(Some).ok_or_else(bad)
    }

    fn settings(self) -> Result<Settings, String> {
        let backend_name = self.text("backend").unwrap_or("etcd").to_owned();
        let mode = if self.is_set("onetime") {
            Mode::Onetime
        } else if self.is_set("watch") {
            Mode::Watch
        } else {
            Mode::Interval
        };
        let level = self.text("log-level").unwrap_or("info");
        let level = Level::named(level).ok_or_else(|| format!("not a valid level: {level:?}"))?;
        let form = match self.text("log-format").unwrap_or("text") {
            "text" => Form::Text,
            "json" => Form::Json,
            other => return Err(format!("not a valid log format: {other:?}")),
        };
        let quiescence = match self.text("wait") {
            None => None,
            Some(text) => match duration::parse_range(text) {
                Some((min, max)) if min <= max => Some(Quiescence { min, max }),
                _ => return Err(format!("-wait: `{text}` is neither a time nor `MIN:MAX`")),
            },
        };
        let metrics = match self.text("metrics-addr") {
            None => None,
            Some(text) => {
                // As Go has it, `:9100` is every address.
                let whole = match text.strip_prefix(':') {
                    Some(port) => format!("0.0.0.0:{port}"),
                    None => text.to_owned(),
                };
                let bad = |err| format!("-metrics-addr: `{text}`: {err}");
                Some(whole.parse().map_err(bad)?)
            }
        };
        Ok(Settings {
            mode,
            confdir: self.text("confdir").unwrap_or("/etc/confd").into(),
            prefix: self.text("prefix").unwrap_or_default().to_owned(),
            interval: self.time("interval")?.unwrap_or(Duration::from_secs(600)),
            noop: self.is_set("noop"),
            sync_only: self.is_set("sync-only"),
            keep_stage_file: self.is_set("keep-stage-file"),
            strict: self.is_set("strict-compat"),
            diff: self.is_set("diff"),
            fsync: self.is_set("fsync"),
            validate: self.is_set("validate"),
            group_reloads: self.is_set("group-reloads"),
            check_timeout: self.time("check-timeout")?,
            reload_timeout: self.time("reload-timeout")?,
            quiescence,
            level,
            form,
            metrics,
            keyring: self.text("secret-keyring").map(Utf8PathBuf::from),
            exec: self.exec()?,
            backend_name,
            environment: self.environment.clone(),
            values: self.values,
        })
    }

    fn signal(&self, name: &str) -> Result<Option<i32>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = brickyard_sys::process::signal_number(text);
        number.map(Some).ok_or_else(|| format!("-{name}: `{text}` is no signal"))
    }

    /// The servers that an SRV record names, which count more than all others.
    fn named_by_dns(&self, name: &str, backend: Backend) -> Result<Option<Vec<String>>, String> {
        let record = match (self.text("srv-record"), self.text("srv-domain")) {
            (Some(record), _) => record.to_owned(),
            (None, Some(domain)) => format!("_{name}._tcp.{}.", domain.trim_end_matches('.')),
            (None, None) => return Ok(None),
        };
        if matches!(backend, Backend::Env | Backend::File) {
            return Ok(None);
        }
        let found = crate::resolve::record(&record);
        if found.is_empty() {
            return Err(format!("Cannot get nodes from SRV records: {record} names nothing"));
        }
        let node = |service: brickyard_template::Service| {
            let host = service.target.trim_end_matches('.');
            match backend {
                Backend::Etcd => {
                    let scheme = self.text("scheme").unwrap_or("http");
                    format!("{scheme}://{host}:{}", service.port)
                }
                _ => format!("{host}:{}", service.port),
            }
        };
        Ok(Some(found.into_iter().map(node).collect()))
    }

    fn exec(&self) -> Result<Option<Exec>, String> {
        let Some(command) = self.text("exec") else { return Ok(None) };
        Ok(Some(Exec {
            command: command.to_owned(),
            reload_signal: self.signal("exec-reload-signal")?,
            kill_signal: self.signal("exec-kill-signal")?.unwrap_or(2),
            kill_timeout: self.time("exec-kill-timeout")?.unwrap_or(Duration::from_secs(30)),
            splay: self.time("exec-splay")?.unwrap_or_default(),
        }))
    }
}

impl Settings {
    /// How a backend is reached: the command line's, or a resource's own, whose table counts more.
    pub(crate) fn source(
        &self,
        own: Option<&BTreeMap<String, Vec<String>>>,
    ) -> Result<Config, String> {
        let mut values = self.values.clone();
        if let Some(own) = own {
            // Another server's address is of no use.
            if own.contains_key("backend") {
                values.remove("node");
            }
            values.extend(own.iter().map(|(name, texts)| (name.clone(), texts.clone())));
        }
        let reader = Reader { values, environment: &self.environment };
        let text = |name: &str| reader.text(name).unwrap_or_default().to_owned();
        let path = |name: &str| reader.text(name).map(Utf8PathBuf::from);
        let all = |name: &str| reader.values.get(name).cloned().unwrap_or_default();
        let name = reader.text("backend").unwrap_or("etcd");
        let backend = Backend::named(name).ok_or("Invalid backend")?;
        let mut config = Config::new(backend);
        let nodes = all("node");
        if let Some(nodes) = reader.named_by_dns(name, backend)? {
            config.nodes = nodes;
        } else if !nodes.is_empty() {
            config.nodes = nodes;
        } else if backend == Backend::Etcd
            && let Some(peers) = self.environment.get("ETCDCTL_PEERS")
        {
            config.nodes = peers.split(',').map(str::to_owned).collect();
        }
        config.tls = Tls {
            authorities: path("client-ca-keys"),
            certificate: path("client-cert"),
            key: path("client-key"),
            insecure: reader.is_set("client-insecure"),
        };
        config.login = Login {
            basic: reader.is_set("basic-auth"),
            username: text("username"),
            password: text("password"),
            kind: text("auth-type"),
            token: text("auth-token"),
            token_file: path("auth-token-file"),
            app_id: text("app-id"),
            user_id: text("user-id"),
            role_id: text("role-id"),
            secret_id: text("secret-id"),
            mount: text("path"),
        };
        config.scheme = reader.text("scheme").unwrap_or("http").to_owned();
        config.separator = reader.text("separator").unwrap_or("/").to_owned();
        config.table = text("table");
        config.yard = text("yard");
        config.files = all("file").into_iter().map(Utf8PathBuf::from).collect();
        config.filter = reader.text("filter").unwrap_or("*").to_owned();
        config.double_underscore = reader.is_set("env-underscores");
        config.environment.clone_from(&self.environment);
        if let Some(timeout) = reader.time("timeout")? {
            config.timeout = timeout;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags that say how a backend is reached, each with a value that is none of the defaults.
    const REACHING: &[(&str, &str)] = &[
        ("app-id", "app"),
        ("auth-token", "token"),
        ("auth-token-file", "/token"),
        ("auth-type", "app-id"),
        ("backend", "redis"),
        ("basic-auth", "true"),
        ("client-ca-keys", "/ca"),
        ("client-cert", "/cert"),
        ("client-insecure", "true"),
        ("client-key", "/key"),
        ("env-underscores", "true"),
        ("file", "/file"),
        ("filter", "*.yaml"),
        ("node", "n:1"),
        ("password", "pw"),
        ("path", "mount"),
        ("role-id", "role"),
        ("scheme", "https"),
        ("secret-id", "secret"),
        ("separator", ":"),
        ("table", "t"),
        ("timeout", "7s"),
        ("user-id", "user"),
        ("username", "u"),
        ("yard", "s/e"),
    ];

    fn reached() -> Config {
        let mut config = Config::new(Backend::Redis);
        let text = str::to_owned;
        config.nodes = vec![text("n:1")];
        config.scheme = text("https");
        config.tls = Tls {
            authorities: Some("/ca".into()),
            certificate: Some("/cert".into()),
            key: Some("/key".into()),
            insecure: true,
        };
        config.login = Login {
            basic: true,
            username: text("u"),
            password: text("pw"),
            kind: text("app-id"),
            token: text("token"),
            token_file: Some("/token".into()),
            app_id: text("app"),
            user_id: text("user"),
            role_id: text("role"),
            secret_id: text("secret"),
            mount: text("mount"),
        };
        config.separator = text(":");
        config.table = text("t");
        config.yard = text("s/e");
        config.files = vec!["/file".into()];
        config.filter = text("*.yaml");
        config.double_underscore = true;
        config.timeout = Duration::from_secs(7);
        config
    }

    fn read(arguments: &[String], environment: &BTreeMap<String, String>) -> Config {
        let settings = settings(arguments, environment).expect("it is right");
        let mut config = settings.source(None).expect("it is right");
        config.environment.clear();
        config
    }

    #[test]
    fn flags_of_the_backend_reach_it_from_the_command_line_the_variables_and_the_file() {
        let nowhere = "-config-file=/nonexistent".to_owned();
        let flags = REACHING.iter().map(|(name, value)| format!("-{name}={value}"));
        let none = BTreeMap::new();
        let arguments: Vec<String> = flags.chain([nowhere.clone()]).collect();
        assert_eq!(read(&arguments, &none), reached());
        let variable = |name: &str| match name {
            "client-ca-keys" => "CONFD_CLIENT_CAKEYS".to_owned(),
            name => format!("CONFD_{}", name.to_ascii_uppercase().replace('-', "_")),
        };
        let variables = REACHING.iter().map(|(name, value)| (variable(name), (*value).to_owned()));
        assert_eq!(read(&[nowhere], &variables.collect()), reached());
        let file = tempfile::NamedTempFile::new().expect("there is room");
        let lines = REACHING.iter().map(|(name, value)| {
            // confd's own spellings of these two.
            let key = match *name {
                "node" => "nodes".to_owned(),
                "client-ca-keys" => "client_cakeys".to_owned(),
                name => name.replace('-', "_"),
            };
            match (*name, *value) {
                ("node" | "file", value) => format!("{key} = [\"{value}\"]\n"),
                (_, "true") => format!("{key} = true\n"),
                (_, value) => format!("{key} = \"{value}\"\n"),
            }
        });
        std::fs::write(&file, lines.collect::<String>()).expect("there is room");
        let arguments = [format!("-config-file={}", file.path().display())];
        assert_eq!(read(&arguments, &none), reached());
    }

    #[test]
    fn what_is_not_said_is_confds() {
        let arguments = ["-config-file=/nonexistent".to_owned()];
        let settings = settings(&arguments, &BTreeMap::new()).expect("it is right");
        assert_eq!(settings.mode, Mode::Interval);
        assert_eq!(settings.interval, Duration::from_secs(600));
        assert_eq!((settings.confdir.as_str(), settings.prefix.as_str()), ("/etc/confd", ""));
        assert!(!settings.noop && !settings.sync_only && !settings.keep_stage_file);
        let usual = settings.source(None).expect("it is right");
        assert_eq!(usual, Config::new(Backend::Etcd));
        let peers = ("ETCDCTL_PEERS".to_owned(), "http://a:1,http://b:2".to_owned());
        let found = read(&arguments, &[peers].into_iter().collect());
        assert_eq!(found.nodes, ["http://a:1", "http://b:2"]);
        let once = ["-onetime".to_owned(), "-watch".to_owned(), arguments[0].clone()];
        let both = super::settings(&once, &BTreeMap::new()).expect("it is right");
        assert_eq!(both.mode, Mode::Onetime, "once wins");
    }
}
