//! confd's command line and its file, and the variables that stand for flags.
//!
//! A flag is a row of [`FLAGS`]. All three places fill the same table of texts by the flag's name;
//! what a nearer place says counts: the file over the defaults, variables over the file, the command
//! line over both.

use std::collections::BTreeMap;

use brickyard_source::Backend;
use toml::de::{DeTable, DeValue};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `=false`.
    Bool,
    /// A text, the last one counts.
    Text,
    /// A text each time.
    List,
}

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What it does; where it has a default, that is said.
    pub(crate) help: &'static str,
}

const fn flag(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, help }
}

/// All flags, in the order of their names.
pub(crate) const FLAGS: &[Flag] = &[
    flag("app-id", Kind::Text, "Vault app-id (auth-type app-id)"),
    flag("auth-token", Kind::Text, "token of Vault or Consul"),
    flag("auth-token-file", Kind::Text, "file that has Vault's token, or a pod's"),
    flag(
        "auth-type",
        Kind::Text,
        "how one logs in to Vault: app-role app-id cert github kubernetes token userpass",
    ),
    flag("backend", Kind::Text, "where keys are read from (default etcd)"),
    flag("basic-auth", Kind::Bool, "send username and password"),
    flag("check-timeout", Kind::Text, "how long a check may take (default 30s)"),
    flag("client-ca-keys", Kind::Text, "file with the server's authorities"),
    flag("client-cert", Kind::Text, "file with the client's certificate"),
    flag("client-insecure", Kind::Bool, "believe any server's certificate"),
    flag("client-key", Kind::Text, "file with the client's key; for redis, the password"),
    flag("confdir", Kind::Text, "directory with conf.d and templates (default /etc/confd)"),
    flag("config-file", Kind::Text, "file with settings (default /etc/confd/confd.toml)"),
    flag("diff", Kind::Bool, "show what changes in files"),
    flag(
        "env-underscores",
        Kind::Bool,
        "in the env backend, __ in a variable's name stands for _ in the key",
    ),
    flag(
        "exec",
        Kind::Text,
        "command to run while files are kept up to date; its exit code is passed on",
    ),
    flag("exec-kill-signal", Kind::Text, "signal that ends the command (default SIGINT)"),
    flag("exec-kill-timeout", Kind::Text, "how long it has to end (default 30s)"),
    flag(
        "exec-reload-signal",
        Kind::Text,
        "signal that tells the command of changes; without it, it is started again",
    ),
    flag("exec-splay", Kind::Text, "the command is told of changes after a random time up to this"),
    flag("file", Kind::List, "YAML, JSON or TOML file, or a directory of them (file backend)"),
    flag("filter", Kind::Text, "which files of directories count (default *)"),
    flag("fsync", Kind::Bool, "have files on the disk before they get into their places"),
    flag("group-reloads", Kind::Bool, "run a reload command once for all templates that share it"),
    flag("interval", Kind::Text, "seconds between two looks at the backend (default 600)"),
    flag("keep-stage-file", Kind::Bool, "keep staged files"),
    flag("log-format", Kind::Text, "text or json (default text)"),
    flag("log-level", Kind::Text, "panic fatal error warn info debug (default info)"),
    flag("metrics-addr", Kind::Text, "serve /metrics, /health and /ready at this address"),
    flag("node", Kind::List, "address of a server"),
    flag("noop", Kind::Bool, "only say what would change"),
    flag("onetime", Kind::Bool, "run once and exit"),
    flag("path", Kind::Text, "where the login is mounted in Vault"),
    flag("prefix", Kind::Text, "what all keys begin with"),
    flag("reload-timeout", Kind::Text, "how long a reload may take (default 60s)"),
    flag("role-id", Kind::Text, "Vault role-id (auth-type app-role, kubernetes)"),
    flag("scheme", Kind::Text, "http or https (default http)"),
    flag("secret-id", Kind::Text, "Vault secret-id (auth-type app-role)"),
    flag("secret-keyring", Kind::Text, "file with a PGP keyring for cget and its like"),
    flag("separator", Kind::Text, "what stands between the parts of a key in redis (default /)"),
    flag("srv-domain", Kind::Text, "domain whose SRV records name the servers"),
    flag("srv-record", Kind::Text, "SRV record that names the servers"),
    flag("strict-compat", Kind::Bool, "do as confd 0.16 did where that loses changes, too"),
    flag("sync-only", Kind::Bool, "run neither checks nor reloads"),
    flag("table", Kind::Text, "table of DynamoDB"),
    flag("timeout", Kind::Text, "how long the backend may take for an answer (default 5s)"),
    flag("user-id", Kind::Text, "Vault user-id (auth-type app-id)"),
    flag("username", Kind::Text, "user"),
    flag("password", Kind::Text, "password"),
    flag(
        "validate",
        Kind::Bool,
        "read resources and templates, say what is wrong with them, and exit",
    ),
    flag("version", Kind::Bool, "print the version and exit"),
    flag("wait", Kind::Text, "how long there must be silence after a change, MIN or MIN:MAX"),
    flag("watch", Kind::Bool, "watch the backend for changes"),
    flag("yard", Kind::Text, "environment of a yard, SYSTEM/ENVIRONMENT (backend brickyard)"),
];

/// Texts of flags by their names; a bool is `true` or `false`.
pub(crate) type Values = BTreeMap<String, Vec<String>>;

pub(crate) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The command line is wrong, or asks for its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Usage {
    Help,
    Wrong(String),
}

/// Reads a command line the way Go's `flag` does; a backend's name may stand before the flags, too.
pub(crate) fn from_arguments(arguments: &[String]) -> Result<Values, Usage> {
    let mut values = Values::new();
    let mut rest = arguments.iter();
    let mut is_first = true;
    while let Some(argument) = rest.next() {
        let first = std::mem::take(&mut is_first);
        let Some(name) = argument.strip_prefix('-').filter(|name| !name.is_empty()) else {
            if first && Backend::named(argument).is_some() {
                values.insert("backend".to_owned(), vec![argument.clone()]);
                continue;
            }
            return Err(Usage::Wrong(format!("unexpected argument: {argument}")));
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.is_empty() {
            break;
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        if matches!(name, "h" | "help") {
            return Err(Usage::Help);
        }
        let Some(flag) = find(name) else {
            return Err(Usage::Wrong(format!("flag provided but not defined: -{name}")));
        };
        let value = match (flag.kind, value) {
            (Kind::Bool, None) => "true".to_owned(),
            (Kind::Bool, Some(value)) => {
                let bad = || format!("invalid boolean value {value:?} for -{name}: parse error");
                let truth = truth(&value).ok_or_else(|| Usage::Wrong(bad()))?;
                truth.to_string()
            }
            (_, Some(value)) => value,
            (_, None) => match rest.next() {
                Some(value) => value.clone(),
                None => return Err(Usage::Wrong(format!("flag needs an argument: -{name}"))),
            },
        };
        put(&mut values, flag, value);
    }
    Ok(values)
}

fn put(values: &mut Values, flag: &Flag, value: String) {
    let texts = values.entry(flag.name.to_owned()).or_default();
    if flag.kind != Kind::List {
        texts.clear();
    }
    texts.push(value);
}

/// Go's idea of truth.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Variables that stand for flags: `CONFD_` and the name.
pub(crate) fn from_environment(environment: &BTreeMap<String, String>) -> Result<Values, String> {
    let mut values = Values::new();
    for flag in FLAGS {
        let spelled = flag.name.to_uppercase().replace('-', "_");
        // The one that confd has always had is spelled otherwise.
        let spelled = spelled.replace("CLIENT_CA_KEYS", "CLIENT_CAKEYS");
        let name = format!("CONFD_{spelled}");
        let Some(text) = environment.get(&name).filter(|text| !text.is_empty()) else { continue };
        let texts: Vec<String> = match flag.kind {
            Kind::Text => vec![text.clone()],
            Kind::List => text.split(',').map(str::to_owned).collect(),
            Kind::Bool => match truth(text) {
                Some(truth) => vec![truth.to_string()],
                None => return Err(format!("{name}: `{text}` is neither true nor false")),
            },
        };
        values.insert(flag.name.to_owned(), texts);
    }
    Ok(values)
}

/// What a key of confd's file is called on the command line.
fn name_of_key(key: &str) -> String {
    let name = key.to_ascii_lowercase().replace('_', "-");
    match &*name {
        "nodes" => "node".to_owned(),
        "client-cakeys" => "client-ca-keys".to_owned(),
        "keepstagefile" => "keep-stage-file".to_owned(),
        _ => name,
    }
}

/// Flags out of a table of confd's file; unknown keys are left out, as confd does. An error comes
/// with the byte at which it is.
pub(crate) fn from_table(table: &DeTable<'_>) -> Result<Values, (usize, String)> {
    let mut values = Values::new();
    for (key, value) in table {
        let name = name_of_key(key.get_ref());
        let Some(flag) = find(&name) else { continue };
        let at = value.span().start;
        let wrong = |what: &str| (at, format!("`{}` must be {what}", key.get_ref()));
        let texts = match (flag.kind, value.get_ref()) {
            (Kind::Bool, DeValue::Boolean(truth)) => vec![truth.to_string()],
            (Kind::Bool, _) => return Err(wrong("true or false")),
            (_, DeValue::String(text)) => vec![text.to_string()],
            (_, DeValue::Integer(number)) => vec![number.as_str().to_owned()],
            (Kind::List, DeValue::Array(items)) => {
                let text =
                    |item: &toml::Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
                let texts: Option<Vec<String>> = items.iter().map(text).collect();
                texts.ok_or_else(|| wrong("a list of strings"))?
            }
            (Kind::List, _) => return Err(wrong("a list of strings")),
            (Kind::Text, _) => return Err(wrong("a string")),
        };
        values.insert(name, texts);
    }
    Ok(values)
}

/// How the command is used.
pub(crate) fn usage(program: &str) -> String {
    let mut text = format!("Usage of {program}:\n");
    for flag in FLAGS {
        let value = match flag.kind {
            Kind::Bool => "",
            Kind::Text => " string",
            Kind::List => " value",
        };
        text.push_str(&format!("  -{}{value}\n    \t{}\n", flag.name, flag.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn values(words: &[&str]) -> Result<Vec<(String, Vec<String>)>, Usage> {
        from_arguments(&arguments(words)).map(|values| values.into_iter().collect())
    }

    #[test]
    fn a_command_line_is_gos_or_abtreeces() {
        let pair = |name: &str, texts: &[&str]| (name.to_owned(), arguments(texts));
        let plain =
            values(&["-backend", "env", "--onetime", "-node=a", "-node", "b", "-watch=false"]);
        let expected = [
            pair("backend", &["env"]),
            pair("node", &["a", "b"]),
            pair("onetime", &["true"]),
            pair("watch", &["false"]),
        ];
        assert_eq!(plain, Ok(expected.to_vec()));
        let other = values(&["redis", "--node", "r:1"]);
        assert_eq!(other, Ok(vec![pair("backend", &["redis"]), pair("node", &["r:1"])]));
        let wrong = |words: &[&str]| match values(words) {
            Err(Usage::Wrong(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(&["-nope"]), "flag provided but not defined: -nope");
        assert_eq!(wrong(&["-prefix"]), "flag needs an argument: -prefix");
        assert_eq!(wrong(&["-noop=x"]), "invalid boolean value \"x\" for -noop: parse error");
        assert_eq!(values(&["-h"]), Err(Usage::Help));
    }

    #[test]
    fn names_are_in_order_and_unique() {
        let mut names: Vec<&str> = FLAGS.iter().map(|flag| flag.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FLAGS.len());
    }
}
