//! One service: the dispatch over its keys, and the keys that are simple.

use brickyard_core::{Diagnostic, ServiceName};

use super::{Decoder, Spot, Wishes, brickyard, environment, health, mounts, network, resources};
use crate::codes;
use crate::shell_words;
use crate::spec_keys;
use crate::tree::{Entry, Kind, Node};
use crate::types::{
    Build, Condition, Dependency, FailureAction, RestartPolicy, Service, UpdateConfig, UpdateOrder,
};

/// Compose's default of `stop_grace_period`.
const STOP_GRACE_MS: u64 = 10_000;

/// Compose's defaults of `deploy.update_config`.
const UPDATE: UpdateConfig = UpdateConfig {
    parallelism: 1,
    delay_ms: 0,
    order: UpdateOrder::StopFirst,
    failure_action: FailureAction::Pause,
    monitor_ms: 5_000,
    max_failure_permille: 0,
};

fn empty() -> Service {
    Service {
        image: None,
        build: None,
        command: None,
        entrypoint: None,
        environment: Default::default(),
        environment_templates: Default::default(),
        ports: Vec::new(),
        depends_on: Default::default(),
        healthcheck: None,
        healthcheck_disabled: false,
        mounts: Vec::new(),
        restart: RestartPolicy::No,
        user: None,
        working_dir: None,
        hostname: None,
        stop_signal: None,
        stop_grace_ms: STOP_GRACE_MS,
        read_only: false,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        memory_bytes: None,
        cpu_millis: None,
        pids_max: None,
        labels: Default::default(),
        replicas: 1,
        update: UPDATE,
        provides: Default::default(),
        needs: Default::default(),
        templates: Vec::new(),
    }
}

/// What several keys of one service have in common while it is read.
pub(super) struct Reading<'n> {
    pub name: &'n ServiceName,
    pub service: Service,
    pub wishes: Wishes,
    pub scale: resources::Scale,
    pub environment: environment::Layers,
}

/// Decodes a service.
pub(super) fn service(d: &mut Decoder<'_>, name: &ServiceName, node: &Node) -> (Service, Wishes) {
    let mut reading = Reading {
        name,
        service: empty(),
        wishes: Wishes::default(),
        scale: resources::Scale::default(),
        environment: environment::Layers::default(),
    };
    let within = format!("service `{name}`");
    for entry in d.entries(node, &within) {
        // `key:` without a value is the same as no key at all.
        if entry.value.is_null() && spec_keys::SERVICE.contains(&entry.key.as_str()) {
            continue;
        }
        if !plain_key(d, &mut reading, entry) && !grouped_key(d, &mut reading, entry) {
            d.unknown_key(entry, spec_keys::SERVICE, &within);
        }
    }
    reading.service.environment = reading.environment.merged();
    reading.scale.apply(d, &mut reading.service);
    (reading.service, reading.wishes)
}

/// Keys with one value of their own. Returns whether the key is one.
fn plain_key(d: &mut Decoder<'_>, reading: &mut Reading<'_>, entry: &Entry) -> bool {
    let node = &entry.value;
    let service = &mut reading.service;
    let what = format!("`{}`", entry.key);
    match entry.key.as_str() {
        "image" => service.image = d.text(node, &what).filter(|image| !image.is_empty()),
        "build" => service.build = build(d, node),
        "command" => service.command = command(d, node, &what),
        "entrypoint" => service.entrypoint = command(d, node, &what),
        "restart" => service.restart = restart(d, node).unwrap_or(RestartPolicy::No),
        "user" => service.user = d.text(node, &what),
        "working_dir" => {
            let text = d.text(node, &what);
            service.working_dir = text.map(|text| d.inner_path(&text, &what, &node.place));
        }
        "hostname" => service.hostname = hostname(d, node),
        "stop_signal" => service.stop_signal = d.text(node, &what).map(|text| signal(&text)),
        "stop_grace_period" => {
            service.stop_grace_ms = d.duration_ms(node, &what).unwrap_or(STOP_GRACE_MS);
        }
        "read_only" => service.read_only = d.boolean(node, &what).unwrap_or(false),
        "cap_add" => service.cap_add = capabilities(d, node, &what),
        "cap_drop" => service.cap_drop = capabilities(d, node, &what),
        "labels" => {
            let pairs = d.pairs(node, &what).into_iter();
            service.labels = pairs.map(|(key, value)| (key, value.unwrap_or_default())).collect();
        }
        _ => return false,
    }
    true
}

/// Keys that belong together with others. Returns whether the key is one.
fn grouped_key(d: &mut Decoder<'_>, reading: &mut Reading<'_>, entry: &Entry) -> bool {
    let node = &entry.value;
    match entry.key.as_str() {
        "environment" => environment::environment(d, reading, node),
        "env_file" => environment::env_file(d, reading, node),
        "ports" => network::ports(d, reading, node),
        "expose" => network::expose(d, reading, node),
        "links" => network::links(d, reading, node),
        "depends_on" => depends_on(d, reading, node),
        "healthcheck" => health::healthcheck(d, &mut reading.service, node),
        "volumes" => mounts::volumes(d, reading, node),
        "tmpfs" => mounts::tmpfs(d, reading, node),
        "mem_limit" | "cpus" | "pids_limit" | "scale" => {
            resources::service_key(d, &mut reading.scale, entry);
        }
        "deploy" => resources::deploy(d, reading, node),
        "x-brickyard" => brickyard::service(d, reading, node),
        _ => return false,
    }
    true
}

fn build(d: &mut Decoder<'_>, node: &Node) -> Option<Build> {
    let mut context = ".".to_owned();
    let mut dockerfile = "Dockerfile".to_owned();
    let mut target = None;
    let mut args = Vec::new();
    let mut context_place = &node.place;
    if let Kind::Scalar { .. } = node.kind {
        context = d.text(node, "`build`")?;
    } else {
        for entry in d.entries(node, "`build`") {
            let what = format!("`{}`", entry.key);
            match entry.key.as_str() {
                "context" => {
                    context = d.text(&entry.value, &what)?;
                    context_place = &entry.value.place;
                }
                "dockerfile" => dockerfile = d.text(&entry.value, &what)?,
                "target" => target = d.text(&entry.value, &what),
                "args" => args = d.pairs(&entry.value, &what),
                _ => d.unknown_key(entry, spec_keys::BUILD, "`build`"),
            }
        }
    }
    if context.contains("://") || context.starts_with("git@") {
        d.unsupported("a build context that is not a directory", context_place);
        return None;
    }
    let context = d.path(&context);
    let environment = d.environment;
    let args = args
        .into_iter()
        .filter_map(|(key, value)| {
            let value = value.or_else(|| environment.get(&key).cloned())?;
            Some((key, value))
        })
        .collect();
    Some(Build { dockerfile: super::clean(&context.join(dockerfile)), context, target, args })
}

fn command(d: &mut Decoder<'_>, node: &Node, what: &str) -> Option<Vec<String>> {
    if !matches!(node.kind, Kind::Scalar { .. }) {
        return Some(d.texts(node, what));
    }
    let text = d.text(node, what)?;
    let words = shell_words::split(&text);
    match &words {
        None => d.bad_value(format!("{what} has a quote that is never closed"), &node.place),
        Some(words) if shell_words::wants_a_shell(words) => {
            let message = format!("no shell reads {what}: its operators are passed on as words");
            let found = Diagnostic::warning(codes::NO_EFFECT, message)
                .hint("for a shell's operators write [\"/bin/sh\", \"-c\", \"...\"]");
            d.report(found, &node.place);
        }
        Some(_) => {}
    }
    words
}

fn restart(d: &mut Decoder<'_>, node: &Node) -> Option<RestartPolicy> {
    let text = d.text(node, "`restart`")?;
    let retries = text.strip_prefix("on-failure:").map(str::parse::<u32>);
    if let Some(Ok(retries)) = retries {
        return Some(RestartPolicy::OnFailure { retries_max: Some(retries) });
    }
    let words = [
        ("no", RestartPolicy::No),
        ("always", RestartPolicy::Always),
        ("unless-stopped", RestartPolicy::UnlessStopped),
        ("on-failure", RestartPolicy::OnFailure { retries_max: None }),
        // Only a hint: the number has been read above.
        ("on-failure:N", RestartPolicy::No),
    ];
    d.word(node, "`restart`", &words)
}

fn hostname(d: &mut Decoder<'_>, node: &Node) -> Option<String> {
    let wanted = "a host name: letters, digits, `-` and `.`, at most 63 characters";
    d.parsed(node, "`hostname`", wanted, |text| {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let good = !text.is_empty() && text.len() <= 63 && text.chars().all(valid);
        good.then(|| text.to_owned())
    })
}

/// A signal's name without `SIG`, in upper case; numbers stay.
pub(super) fn signal(text: &str) -> String {
    let upper = text.trim().to_ascii_uppercase();
    upper.strip_prefix("SIG").unwrap_or(&upper).to_owned()
}

fn capabilities(d: &mut Decoder<'_>, node: &Node, what: &str) -> Vec<String> {
    let names = d.texts(node, what).into_iter().map(|name| {
        let upper = name.to_ascii_uppercase();
        upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names
}

fn depends_on(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    if let Kind::Sequence(items) = &node.kind {
        for item in items {
            let Some(text) = d.text(item, "an item of `depends_on`") else {
                continue;
            };
            if let Some(other) = d.name::<ServiceName>(&text, &item.place) {
                let spot = Spot::Dependency(reading.name.clone(), other.clone());
                d.places.insert(spot, item.place.clone());
                let dependency = Dependency {
                    condition: Condition::ServiceStarted,
                    restart: false,
                    required: true,
                };
                reading.service.depends_on.insert(other, dependency);
            }
        }
        return;
    }
    for entry in d.entries(node, "`depends_on`") {
        if let Some(other) = d.name::<ServiceName>(&entry.key, &entry.key_place) {
            let spot = Spot::Dependency(reading.name.clone(), other.clone());
            d.places.insert(spot, entry.key_place.clone());
            let dependency = dependency(d, entry);
            reading.service.depends_on.insert(other, dependency);
        }
    }
}

fn dependency(d: &mut Decoder<'_>, entry: &Entry) -> Dependency {
    let mut dependency =
        Dependency { condition: Condition::ServiceStarted, restart: false, required: true };
    let conditions = [
        ("service_started", Condition::ServiceStarted),
        ("service_healthy", Condition::ServiceHealthy),
        ("service_completed_successfully", Condition::ServiceCompletedSuccessfully),
    ];
    let within = format!("`depends_on` of `{}`", entry.key);
    for entry in d.entries(&entry.value, &within) {
        let node = &entry.value;
        match entry.key.as_str() {
            "condition" => {
                let condition = d.word(node, "`condition`", &conditions);
                dependency.condition = condition.unwrap_or(dependency.condition);
            }
            "restart" => dependency.restart = d.boolean(node, "`restart`").unwrap_or(false),
            "required" => dependency.required = d.boolean(node, "`required`").unwrap_or(true),
            _ => d.unknown_key(entry, spec_keys::DEPENDENCY, &within),
        }
    }
    dependency
}
