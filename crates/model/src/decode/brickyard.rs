//! `x-brickyard`, on the top level and in a service.

use std::collections::BTreeMap;

use brickyard_core::{Alias, Diagnostic, EndpointName, LineTarget, ServiceName};

use super::service::{Reading, signal};
use super::{Decoder, Need, Spot, health};
use crate::codes;
use crate::spec::extension::{self, Fields};
use crate::tree::{Entry, Kind, Node, Place};
use crate::types::{
    CHECK_TIMEOUT_MS, Endpoint, EnvironmentTemplate, HostPort, OnChange, RELOAD_TIMEOUT_MS, Reload,
    Template,
};

/// The top-level extension.
#[derive(Default)]
pub(super) struct TopLevel {
    pub config: BTreeMap<String, String>,
    pub external: BTreeMap<ServiceName, BTreeMap<EndpointName, HostPort>>,
}

impl Decoder<'_> {
    /// Reports a key of ours that does not exist.
    pub(super) fn unknown_brickyard_key(&mut self, entry: &Entry, fields: &Fields, within: &str) {
        let known = fields.names();
        let message = format!("unknown key `{}`", entry.key);
        let mut found = Diagnostic::error(codes::UNKNOWN_KEY, message);
        let near = brickyard_core::diagnostic::nearest(&entry.key, known.iter().copied());
        found = match near {
            Some(name) => found.hint(format!("did you mean `{name}`?")),
            None => found.hint(format!("{within} has the keys {}", known.join(", "))),
        };
        self.report(found, &entry.key_place);
    }
}

pub(super) fn top_level(d: &mut Decoder<'_>, node: &Node) -> TopLevel {
    let mut top = TopLevel::default();
    for entry in d.entries(node, "`x-brickyard`") {
        match entry.key.as_str() {
            "config" => config(d, &entry.value, "", &mut top.config),
            "external" => {
                for entry in d.entries(&entry.value, "`external`") {
                    let name = d.name::<ServiceName>(&entry.key, &entry.key_place);
                    let endpoints = external(d, entry);
                    top.external.extend(name.map(|name| (name, endpoints)));
                }
            }
            "provides" | "needs" | "templates" | "environment" => {
                let message = format!("`{}` belongs into a service's `x-brickyard`", entry.key);
                d.error(codes::UNKNOWN_KEY, message, &entry.key_place);
            }
            _ => d.unknown_brickyard_key(entry, &extension::SYSTEM, "`x-brickyard`"),
        }
    }
    top
}

/// Flattens nested maps: `{a: {b: c}}` is `/a/b`.
fn config(d: &mut Decoder<'_>, node: &Node, prefix: &str, out: &mut BTreeMap<String, String>) {
    for entry in d.entries(node, "`config`") {
        let parts: Vec<&str> = entry.key.split('/').filter(|part| !part.is_empty()).collect();
        if parts.is_empty() || parts.iter().any(|part| matches!(*part, "." | "..")) {
            let message = format!("`{}` is not a configuration key", entry.key);
            d.error(codes::BAD_NAME, message, &entry.key_place);
            continue;
        }
        let key = format!("{prefix}/{}", parts.join("/"));
        if key == "/brickyard" || key.starts_with("/brickyard/") {
            let message = "keys below `/brickyard` belong to the registry";
            d.error(codes::BAD_NAME, message, &entry.key_place);
            continue;
        }
        let value = match &entry.value.kind {
            Kind::Mapping(_) => {
                config(d, &entry.value, &key, out);
                continue;
            }
            Kind::Scalar { .. } if entry.value.is_null() => Some(String::new()),
            Kind::Scalar { .. } | Kind::Sequence(_) => {
                d.text(&entry.value, &format!("the value of `{key}`"))
            }
        };
        let Some(value) = value else { continue };
        if out.insert(key.clone(), value).is_some() {
            let message = format!("the configuration key `{key}` is set twice");
            d.error(codes::DUPLICATE_KEY, message, &entry.key_place);
        }
    }
}

fn external(d: &mut Decoder<'_>, entry: &Entry) -> BTreeMap<EndpointName, HostPort> {
    let within = format!("external `{}`", entry.key);
    let mut endpoints = BTreeMap::new();
    for entry in d.entries(&entry.value, &within) {
        let name = d.name::<EndpointName>(&entry.key, &entry.key_place);
        let to = d.parsed(&entry.value, &within, "HOST:PORT", parse_host_port);
        if let (Some(name), Some(to)) = (name, to) {
            endpoints.insert(name, to);
        }
    }
    if endpoints.is_empty() && entry.value.is_null() {
        let message = format!("{within} has no endpoint");
        d.error(codes::MISSING_KEY, message, &entry.key_place);
    }
    endpoints
}

fn parse_host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    let valid = !host.is_empty() && host.chars().all(good);
    let port = port.parse().ok().filter(|port: &u16| *port != 0)?;
    valid.then(|| HostPort { host: host.to_owned(), port })
}

pub(super) fn service(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for entry in d.entries(node, "`x-brickyard`") {
        match entry.key.as_str() {
            "provides" => provides(d, reading, &entry.value),
            "needs" => needs(d, reading, &entry.value),
            "templates" => {
                for item in d.items(&entry.value, "`templates`") {
                    template(d, reading, item);
                }
            }
            "environment" => environment(d, reading, &entry.value),
            "config" | "external" => {
                let message = format!("`{}` belongs into the top-level `x-brickyard`", entry.key);
                d.error(codes::UNKNOWN_KEY, message, &entry.key_place);
            }
            _ => d.unknown_brickyard_key(entry, &extension::SERVICE, "`x-brickyard`"),
        }
    }
}

fn provides(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for entry in d.entries(node, "`provides`") {
        let name = d.name::<EndpointName>(&entry.key, &entry.key_place);
        let endpoint =
            match &entry.value.kind {
                Kind::Mapping(_) => long_endpoint(d, entry),
                Kind::Scalar { .. } | Kind::Sequence(_) => port(d, &entry.value)
                    .map(|port| Endpoint { port, protocol: "tcp".to_owned(), health: None }),
            };
        if let (Some(name), Some(endpoint)) = (name, endpoint) {
            reading.service.provides.insert(name, endpoint);
        }
    }
}

fn port(d: &mut Decoder<'_>, node: &Node) -> Option<u16> {
    d.parsed(node, "a port", "a number from 1 to 65535", |text| {
        text.parse().ok().filter(|port| *port != 0)
    })
}

fn long_endpoint(d: &mut Decoder<'_>, entry: &Entry) -> Option<Endpoint> {
    let within = format!("endpoint `{}`", entry.key);
    let (mut number, mut protocol, mut check) = (None, "tcp".to_owned(), None);
    for entry in d.entries(&entry.value, &within) {
        match entry.key.as_str() {
            "port" => number = Some(port(d, &entry.value)),
            "protocol" => {
                let text = d.text(&entry.value, "`protocol`");
                protocol = text.unwrap_or(protocol);
            }
            "health" => check = Some(&entry.value),
            _ => d.unknown_brickyard_key(entry, &extension::ENDPOINT, &within),
        }
    }
    let Some(number) = number else {
        let message = format!("{within} has no `port`");
        d.error(codes::MISSING_KEY, message, &entry.key_place);
        return None;
    };
    let number = number?;
    let check = check.filter(|check| !check.is_null());
    let health = check.and_then(|check| health::endpoint_health(d, check, number, &protocol));
    Some(Endpoint { port: number, protocol, health })
}

/// `[db, db/redis]`, `{db: db/redis}`, `{db: }` or `{db: {to: db/redis, on_change: reload}}`.
fn needs(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    if let Kind::Sequence(items) = &node.kind {
        for item in items {
            if let Kind::Mapping(_) = item.kind {
                needs(d, reading, item);
            } else if let Some(text) = d.text(item, "an item of `needs`") {
                let to = target(d, &text, &item.place);
                let alias = to.as_ref().map(|to| to.service.to_string());
                let alias = alias.and_then(|alias| d.name::<Alias>(&alias, &item.place));
                add_need(d, reading, alias, to, OnChange::Auto, &item.place);
            }
        }
        return;
    }
    for entry in d.entries(node, "`needs`") {
        let alias = d.name::<Alias>(&entry.key, &entry.key_place);
        let (to, on_change, place) = match &entry.value.kind {
            Kind::Mapping(_) => long_need(d, entry),
            _ if entry.value.is_null() => {
                let to = target(d, &entry.key, &entry.key_place);
                (to, OnChange::Auto, &entry.key_place)
            }
            Kind::Scalar { .. } | Kind::Sequence(_) => {
                let text = d.text(&entry.value, "a need");
                let place = &entry.value.place;
                let to = text.and_then(|text| target(d, &text, place));
                (to, OnChange::Auto, place)
            }
        };
        add_need(d, reading, alias, to, on_change, place);
    }
}

fn add_need(
    d: &mut Decoder<'_>,
    reading: &mut Reading<'_>,
    alias: Option<Alias>,
    to: Option<LineTarget>,
    on_change: OnChange,
    place: &Place,
) {
    let (Some(alias), Some(to)) = (alias, to) else {
        return;
    };
    let needs = &mut reading.wishes.needs;
    if needs.iter().any(|need| need.alias == alias) {
        let message = format!("there are two needs with the alias `{alias}`");
        let found = Diagnostic::error(codes::DUPLICATE_KEY, message)
            .hint("give one of them another alias, as {ALIAS: SERVICE/ENDPOINT}");
        return d.report(found, place);
    }
    let spot = Spot::Need(reading.name.clone(), alias.clone());
    d.places.insert(spot, place.clone());
    needs.push(Need { alias, to, on_change });
}

fn target(d: &mut Decoder<'_>, text: &str, place: &Place) -> Option<LineTarget> {
    let target: LineTarget = match text.parse() {
        Ok(target) => target,
        Err(err) => {
            let found =
                Diagnostic::error(codes::BAD_NAME, format!("in the target `{text}`: {err}"))
                    .hint("a target is SERVICE or SERVICE/ENDPOINT");
            d.report(found, place);
            return None;
        }
    };
    if target.elsewhere.is_some() {
        d.unsupported("a line to another system", place);
        return None;
    }
    Some(target)
}

fn long_need<'n>(
    d: &mut Decoder<'_>,
    entry: &'n Entry,
) -> (Option<LineTarget>, OnChange, &'n Place) {
    let words = [
        ("auto", OnChange::Auto),
        ("reload", OnChange::Reload),
        ("restart", OnChange::Restart),
        ("ignore", OnChange::Ignore),
    ];
    let mut to = None;
    let mut place = &entry.key_place;
    let mut written = false;
    let mut on_change = OnChange::Auto;
    for entry in d.entries(&entry.value, "a need") {
        match entry.key.as_str() {
            "to" => {
                written = true;
                place = &entry.value.place;
                let text = d.text(&entry.value, "`to`");
                to = text.and_then(|text| target(d, &text, place));
            }
            "on_change" => {
                let word = d.word(&entry.value, "`on_change`", &words);
                on_change = word.unwrap_or(on_change);
            }
            _ => d.unknown_brickyard_key(entry, &extension::NEED, "a need"),
        }
    }
    if !written {
        to = target(d, &entry.key, &entry.key_place);
    }
    (to, on_change, place)
}

fn environment(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for entry in d.entries(node, "`environment`") {
        let key = &entry.key;
        if key.is_empty() || key.contains(['=', '\0']) {
            let message = format!("`{key}` is not a variable's name");
            d.error(codes::BAD_NAME, message, &entry.key_place);
            continue;
        }
        let text = match entry.value.is_null() {
            true => Some(String::new()),
            false => d.text(&entry.value, &format!("`{key}`")),
        };
        if let Some(text) = text {
            let place = entry.value.place.describe();
            let template = EnvironmentTemplate { text, place };
            let templates = &mut reading.service.environment_templates;
            templates.insert(key.to_string(), template);
        }
    }
}

fn template(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    let (mut src, mut dest, mut text) = (None, None, None);
    let (mut mode, mut uid, mut gid) = (0o644, 0, 0);
    let (mut check, mut reload) = (None, Reload::None);
    let (mut check_timeout_ms, mut reload_timeout_ms) = (CHECK_TIMEOUT_MS, RELOAD_TIMEOUT_MS);
    for entry in d.entries(node, "a template") {
        let value = &entry.value;
        match entry.key.as_str() {
            "src" => {
                // The path is absolute by now; messages call it what it was written as.
                let path = d.text(value, "`src`");
                src = path.as_deref().map(|path| value.written(path).to_owned());
                text = path
                    .zip(src.as_ref())
                    .and_then(|(path, src)| d.read(path.as_str().into(), src, &value.place));
            }
            "dest" => dest = destination(d, reading, value),
            "mode" => mode = d.mode(value).unwrap_or(mode),
            "uid" => uid = d.whole(value, "`uid`").unwrap_or(uid),
            "gid" => gid = d.whole(value, "`gid`").unwrap_or(gid),
            "check" => check = argv(d, value, "`check`"),
            "check_timeout" => timeout(d, entry, &mut check_timeout_ms),
            "reload" => reload = self::reload(d, value).unwrap_or(Reload::None),
            "reload_timeout" => timeout(d, entry, &mut reload_timeout_ms),
            _ => d.unknown_brickyard_key(entry, &extension::TEMPLATE, "a template"),
        }
    }
    for key in extension::TEMPLATE.required {
        let is_mapping = matches!(node.kind, Kind::Mapping(_)) || node.is_null();
        if is_mapping && node.get(key).is_none() {
            let message = format!("a template has no `{key}`");
            d.error(codes::MISSING_KEY, message, &node.place);
        }
    }
    idle_timeouts(d, node);
    if let (Some(src), Some(text), Some(dest)) = (src, text, dest) {
        reading.service.templates.push(Template {
            src,
            text,
            dest,
            mode,
            uid,
            gid,
            check,
            check_timeout_ms,
            reload,
            reload_timeout_ms,
        });
    }
}

fn timeout(d: &mut Decoder<'_>, entry: &Entry, timeout_ms: &mut u64) {
    match d.duration_ms(&entry.value, &format!("`{}`", entry.key)) {
        Some(0) => {
            let message = format!("`{}` must be longer than nothing", entry.key);
            d.bad_value(message, &entry.value.place);
        }
        Some(millis) => *timeout_ms = millis,
        None => {}
    }
}

/// Reports timeouts that bound nothing.
fn idle_timeouts(d: &mut Decoder<'_>, node: &Node) {
    let by_command = node.get("reload").is_some_and(|reload| reload.get("exec").is_some());
    let bounds = [
        ("check_timeout", "`check`", node.get("check").is_some()),
        ("reload_timeout", "`reload: {exec: [...]}`", by_command),
    ];
    for (key, what, is_there) in bounds {
        if let Some(value) = node.get(key)
            && !is_there
        {
            d.bad_value(format!("`{key}` without {what} bounds nothing"), &value.place);
        }
    }
}

fn destination(
    d: &mut Decoder<'_>,
    reading: &mut Reading<'_>,
    node: &Node,
) -> Option<camino::Utf8PathBuf> {
    let text = d.text(node, "`dest`")?;
    let dest = d.inner_path(&text, "`dest`", &node.place);
    if dest.file_name().is_none() || text.ends_with('/') {
        let message = format!("`dest` must name a file, and `{text}` is a directory");
        d.bad_value(message, &node.place);
    }
    let spot = Spot::Template(reading.name.clone(), reading.service.templates.len());
    d.places.insert(spot, node.place.clone());
    Some(dest)
}

fn argv(d: &mut Decoder<'_>, node: &Node, what: &str) -> Option<Vec<String>> {
    let words = d.texts(node, what);
    if words.is_empty() && (matches!(node.kind, Kind::Sequence(_)) || node.is_null()) {
        d.bad_value(format!("{what} must name a program"), &node.place);
    }
    (!words.is_empty()).then_some(words)
}

fn reload(d: &mut Decoder<'_>, node: &Node) -> Option<Reload> {
    if let Kind::Scalar { .. } = node.kind {
        let restarts = d.word(node, "`reload`", &[("none", false), ("restart", true)])?;
        return Some(if restarts { Reload::Restart } else { Reload::None });
    }
    let entries = d.entries(node, "`reload`");
    if entries.len() != 1 {
        let message = "`reload` is none, restart, {signal: NAME} or {exec: [PROGRAM, ...]}";
        d.bad_value(message, &node.place);
        return None;
    }
    let entry = &entries[0];
    match entry.key.as_str() {
        "signal" => d.text(&entry.value, "`signal`").map(|text| Reload::Signal(signal(&text))),
        "exec" => argv(d, &entry.value, "`exec`").map(Reload::Exec),
        _ => {
            d.unknown_brickyard_key(entry, &extension::RELOAD, "`reload`");
            None
        }
    }
}
