//! The model written out again as a Compose file, as the `config` command shows it.
//!
//! Everything is explicit: variables are replaced, short forms are written long, paths are
//! absolute. Loading the result gives the same system, except that templates are named by their
//! source and not shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use brickyard_core::spec::{Mount, MountKind, Probe, ProbeKind};
use serde_json::{Map, Value, json};

use crate::types::{
    Endpoint, Line, Reload, RestartPolicy, Service, System, Template, UpdateConfig,
};

/// The system as YAML.
#[must_use]
pub fn to_yaml(system: &System) -> String {
    let mut root = Map::new();
    root.insert("name".into(), json!(system.name));
    let services = system.services.iter();
    let services: Map<String, Value> =
        services.map(|(name, service)| (name.to_string(), service_value(service))).collect();
    root.insert("services".into(), Value::Object(services));
    if !system.volumes.is_empty() {
        let volumes: BTreeMap<_, _> = system.volumes.iter().map(|name| (name, json!({}))).collect();
        root.insert("volumes".into(), json!(volumes));
    }
    let mut out = String::new();
    write_map(&mut out, &escaped(Value::Object(root)), 0);
    let mut extension = Map::new();
    if !system.config.is_empty() {
        extension.insert("config".into(), json!(system.config));
    }
    let external: Map<String, Value> = system
        .external
        .iter()
        .map(|(name, endpoints)| {
            let endpoints = endpoints.iter();
            let texts: BTreeMap<_, _> =
                endpoints.map(|(name, to)| (name, to.to_string())).collect();
            (name.to_string(), json!(texts))
        })
        .collect();
    if !external.is_empty() {
        extension.insert("external".into(), Value::Object(external));
    }
    if !extension.is_empty() {
        write_map(&mut out, &json!({"x-brickyard": extension}), 0);
    }
    out
}

/// A mapping that leaves out what says nothing.
#[derive(Default)]
struct Keys(Map<String, Value>);

impl Keys {
    fn put(&mut self, key: &str, value: Value) {
        let empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        if !empty {
            self.0.insert(key.to_owned(), value);
        }
    }

    /// As `put`, for lists that mean something when they are empty.
    fn put_always(&mut self, key: &str, value: Value) {
        if !value.is_null() {
            self.0.insert(key.to_owned(), value);
        }
    }
}

fn milliseconds(millis: u64) -> Value {
    match millis % 1000 {
        0 => json!(format!("{}s", millis / 1000)),
        _ => json!(format!("{millis}ms")),
    }
}

fn thousandths(value: u64) -> Value {
    json!(format!("{}.{:03}", value / 1000, value % 1000))
}

fn service_value(service: &Service) -> Value {
    let mut keys = Keys::default();
    keys.put("image", json!(service.image));
    if let Some(build) = &service.build {
        let mut inner = Keys::default();
        inner.put("context", json!(build.context));
        inner.put("dockerfile", json!(build.dockerfile));
        inner.put("target", json!(build.target));
        inner.put("args", json!(build.args));
        keys.put("build", Value::Object(inner.0));
    }
    keys.put_always("command", json!(service.command));
    keys.put_always("entrypoint", json!(service.entrypoint));
    keys.put("environment", json!(service.environment));
    keys.put("ports", ports(service));
    keys.put("depends_on", json!(service.depends_on));
    if service.healthcheck_disabled {
        keys.put("healthcheck", json!({"disable": true}));
    } else if let Some(probe) = &service.healthcheck {
        keys.put("healthcheck", probe_value(probe));
    }
    keys.put("links", links(service));
    keys.put("volumes", service.mounts.iter().map(mount).collect());
    keys.put("restart", restart(service.restart));
    keys.put("user", json!(service.user));
    keys.put("working_dir", json!(service.working_dir));
    keys.put("hostname", json!(service.hostname));
    keys.put("stop_signal", json!(service.stop_signal));
    keys.put("stop_grace_period", milliseconds(service.stop_grace_ms));
    if service.read_only {
        keys.put("read_only", json!(true));
    }
    keys.put("cap_add", json!(service.cap_add));
    keys.put("cap_drop", json!(service.cap_drop));
    keys.put("mem_limit", json!(service.memory_bytes));
    keys.put("cpus", service.cpu_millis.map_or(Value::Null, thousandths));
    keys.put("pids_limit", json!(service.pids_max));
    keys.put("labels", json!(service.labels));
    let update = update_config(&service.update);
    keys.put("deploy", json!({"replicas": service.replicas, "update_config": update}));
    keys.put("x-brickyard", extension(service));
    Value::Object(keys.0)
}

fn ports(service: &Service) -> Value {
    let port = |port: &crate::types::PublishedPort| {
        let mut keys = Keys::default();
        keys.put("host_ip", json!(port.host_ip));
        keys.put("published", json!(port.published));
        keys.put("target", json!(port.target));
        keys.put("protocol", json!(port.transport));
        Value::Object(keys.0)
    };
    service.ports.iter().map(port).collect()
}

/// Derived lines whose alias is not the service's own name came from links.
fn links(service: &Service) -> Value {
    let renamed = |(alias, line): &(&brickyard_core::Alias, &Line)| {
        line.derived && alias.as_str() != line.to.service.as_str()
    };
    let needs = service.needs.iter().filter(renamed);
    needs.map(|(alias, line)| json!(format!("{}:{alias}", line.to.service))).collect()
}

fn mount(mount: &Mount) -> Value {
    let mut keys = Keys::default();
    match &mount.kind {
        MountKind::Volume { name } => {
            keys.put("type", json!("volume"));
            keys.put("source", json!(name));
        }
        MountKind::Bind { source, create } => {
            keys.put("type", json!("bind"));
            keys.put("source", json!(source));
            keys.put("bind", json!({"create_host_path": create}));
        }
        MountKind::Tmpfs { size_bytes, mode } => {
            keys.put("type", json!("tmpfs"));
            let mut inner = Keys::default();
            inner.put("size", json!(size_bytes));
            inner.put("mode", json!(mode.map(octal)));
            keys.put("tmpfs", Value::Object(inner.0));
        }
    }
    keys.put("target", json!(mount.target));
    if mount.read_only {
        keys.put("read_only", json!(true));
    }
    Value::Object(keys.0)
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn restart(policy: RestartPolicy) -> Value {
    match policy {
        RestartPolicy::No => Value::Null,
        RestartPolicy::Always => json!("always"),
        RestartPolicy::UnlessStopped => json!("unless-stopped"),
        RestartPolicy::OnFailure { retries_max: None } => json!("on-failure"),
        RestartPolicy::OnFailure { retries_max: Some(count) } => {
            json!(format!("on-failure:{count}"))
        }
    }
}

fn update_config(update: &UpdateConfig) -> Value {
    json!({
        "parallelism": update.parallelism,
        "delay": milliseconds(update.delay_ms),
        "order": update.order,
        "failure_action": update.failure_action,
        "monitor": milliseconds(update.monitor_ms),
        "max_failure_ratio": thousandths(u64::from(update.max_failure_permille)),
    })
}

fn probe_value(probe: &Probe) -> Value {
    let mut keys = Keys::default();
    match &probe.kind {
        ProbeKind::Exec { argv } => {
            let words = std::iter::once("CMD").chain(argv.iter().map(String::as_str));
            keys.put("test", words.collect());
        }
        ProbeKind::Http { path, .. } => keys.put("path", json!(path)),
        ProbeKind::Tcp { .. } => {}
    }
    keys.put("interval", milliseconds(probe.interval_ms));
    keys.put("timeout", milliseconds(probe.timeout_ms));
    keys.put("retries", json!(probe.retries));
    keys.put("start_period", milliseconds(probe.start_period_ms));
    keys.put("start_interval", milliseconds(probe.start_interval_ms));
    Value::Object(keys.0)
}

fn extension(service: &Service) -> Value {
    let mut keys = Keys::default();
    let provides = service.provides.iter();
    let provides: Map<String, Value> =
        provides.map(|(name, endpoint)| (name.to_string(), endpoint_value(endpoint))).collect();
    keys.put("provides", Value::Object(provides));
    let needs = service.needs.iter().filter(|(_, line)| !line.derived);
    let needs: Map<String, Value> = needs
        .map(|(alias, line)| {
            let value = json!({"to": line.to.to_string(), "on_change": line.on_change});
            (alias.to_string(), value)
        })
        .collect();
    keys.put("needs", Value::Object(needs));
    keys.put("templates", service.templates.iter().map(template).collect());
    let environment = service.environment_templates.iter();
    let environment: Map<String, Value> =
        environment.map(|(key, template)| (key.clone(), json!(template.text))).collect();
    keys.put("environment", Value::Object(environment));
    Value::Object(keys.0)
}

fn endpoint_value(endpoint: &Endpoint) -> Value {
    let mut keys = Keys::default();
    keys.put("port", json!(endpoint.port));
    keys.put("protocol", json!(endpoint.protocol));
    if let Some(probe) = &endpoint.health {
        let tcp_on_http =
            endpoint.protocol == "http" && matches!(probe.kind, ProbeKind::Tcp { .. });
        let value = match tcp_on_http {
            true => json!("tcp"),
            false => probe_value(probe),
        };
        keys.put("health", value);
    }
    Value::Object(keys.0)
}

fn template(template: &Template) -> Value {
    let mut keys = Keys::default();
    keys.put("src", json!(template.src));
    keys.put("dest", json!(template.dest));
    keys.put("mode", json!(octal(template.mode)));
    keys.put("uid", json!(template.uid));
    keys.put("gid", json!(template.gid));
    keys.put("check", json!(template.check));
    if template.check.is_some() {
        keys.put("check_timeout", milliseconds(template.check_timeout_ms));
    }
    let reload = match &template.reload {
        Reload::None => json!("none"),
        Reload::Restart => json!("restart"),
        Reload::Signal(name) => json!({"signal": name}),
        Reload::Exec(argv) => json!({"exec": argv}),
    };
    keys.put("reload", reload);
    if matches!(template.reload, Reload::Exec(_)) {
        keys.put("reload_timeout", milliseconds(template.reload_timeout_ms));
    }
    Value::Object(keys.0)
}

/// Doubles dollar signs outside of `x-brickyard`, as a loader would take them for variables.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('$', "$$")),
        Value::Array(items) => items.into_iter().map(escaped).collect(),
        Value::Object(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let value = if key == "x-brickyard" { value } else { escaped(value) };
                (key, value)
            });
            Value::Object(entries.collect())
        }
        other => other,
    }
}

fn write_map(out: &mut String, value: &Value, indent: usize) {
    let Value::Object(entries) = value else {
        return;
    };
    for (key, value) in entries {
        out.push_str(&" ".repeat(indent));
        out.push_str(&key_text(key));
        out.push(':');
        write_value(out, value, indent);
    }
}

fn write_value(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            out.push('\n');
            write_map(out, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                out.push_str(&" ".repeat(indent + 2));
                out.push('-');
                match item {
                    Value::Object(_) => {
                        let mut block = String::new();
                        write_map(&mut block, item, indent + 4);
                        out.push(' ');
                        out.push_str(block.trim_start());
                    }
                    _ => write_value(out, item, indent + 2),
                }
            }
        }
        // JSON's text of a scalar is YAML's double-quoted text.
        _ => writeln!(out, " {value}").expect("a string takes every write"),
    }
}

/// A key without quotes where YAML reads it back as the same text.
fn key_text(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '.');
    let starts = |c: char| c.is_ascii_alphabetic() || c == '/' || c == '_';
    match key.starts_with(starts) && key.chars().all(plain) {
        true => key.to_owned(),
        false => json!(key).to_string(),
    }
}
