//! One service: the dispatch over its keys, and the keys that are simple.

use brickyard_core::ServiceName;
use camino::Utf8PathBuf;

use super::{Decoder, Spot, Wishes, brickyard, environment, health, mounts, network, resources};
use crate::canonical::{clean, is_remote};
use crate::codes;
use crate::tree::{Entry, Node};
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
    /// Whether `restart` is there, which counts more than `deploy.restart_policy`.
    pub is_restart_written: bool,
}

/// Decodes a service.
pub(super) fn service(d: &mut Decoder<'_>, name: &ServiceName, node: &Node) -> (Service, Wishes) {
    let mut reading = Reading {
        name,
        service: empty(),
        wishes: Wishes::default(),
        scale: resources::Scale::default(),
        is_restart_written: node.get("restart").is_some(),
    };
    for entry in node.entries() {
        if !plain_key(d, &mut reading, entry) && !grouped_key(d, &mut reading, entry) {
            only_one_way(d, entry);
        }
    }
    // Last, so that what the service itself mounts is known.
    if let Some(node) = node.get("volumes_from") {
        mounts::volumes_from(d, &mut reading, node);
    }
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
        "command" => service.command = Some(d.texts(node, &what)),
        "entrypoint" => service.entrypoint = Some(d.texts(node, &what)),
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
        "read_only" => service.read_only = node.as_text() == Some("true"),
        "cap_add" => service.cap_add = capabilities(d, node, &what),
        "cap_drop" => service.cap_drop = capabilities(d, node, &what),
        "environment" => service.environment = environment::environment(d, node),
        "labels" => {
            let text = |value: &Node| value.as_text().unwrap_or_default().to_owned();
            let pairs =
                node.entries().iter().map(|entry| (entry.key.to_string(), text(&entry.value)));
            service.labels = pairs.collect();
        }
        _ => return false,
    }
    true
}

/// Keys that belong together with others. Returns whether the key is one.
fn grouped_key(d: &mut Decoder<'_>, reading: &mut Reading<'_>, entry: &Entry) -> bool {
    let node = &entry.value;
    match entry.key.as_str() {
        "ports" => network::ports(d, reading, node),
        "expose" => network::expose(d, reading, node),
        "links" => network::links(d, reading, node),
        "networks" => network::networks(d, node),
        "network_mode" => network::mode(d, node),
        "depends_on" => depends_on(d, reading, node),
        "healthcheck" => health::healthcheck(d, &mut reading.service, node),
        "volumes" => mounts::volumes(d, reading, node),
        "tmpfs" => mounts::tmpfs(d, reading, node),
        "shm_size" => mounts::shared_memory(d, reading, node),
        "secrets" | "configs" => mounts::granted(d, reading, node, &entry.key),
        "mem_limit" | "cpus" | "pids_limit" | "scale" => {
            reading.scale.service_key(d, &entry.key, node);
        }
        "deploy" => resources::deploy(d, reading, node),
        "x-brickyard" => brickyard::service(d, reading, node),
        _ => return false,
    }
    true
}

/// Keys of which the engine has one value, whatever a service says.
fn only_one_way(d: &mut Decoder<'_>, entry: &Entry) {
    let text = entry.value.as_text().unwrap_or_default();
    let is_so = match entry.key.as_str() {
        "cgroup" => text == "private",
        "ipc" => matches!(text, "private" | "shareable"),
        "privileged" | "use_api_socket" => text != "true",
        "security_opt" => {
            let mut items = entry.value.items().iter().filter_map(Node::as_text);
            let held = ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"];
            items.all(|item| held.contains(&item))
        }
        "pull_policy" => {
            if !matches!(text, "never" | "missing" | "build") {
                let message = format!("`pull_policy: {text}` has no effect: nothing is pulled yet");
                d.no_effect(message, &entry.value.place);
            }
            true
        }
        _ => true,
    };
    if !is_so {
        let what = if text.is_empty() { String::new() } else { format!(": {text}") };
        d.unsupported(&format!("`{}{what}`", entry.key), &entry.value.place);
    }
}

fn build(d: &mut Decoder<'_>, node: &Node) -> Option<Build> {
    let of = |key: &str| node.get(key).and_then(Node::as_text);
    let Some(context) = node.get("context") else {
        let message = "`build` has no `context`";
        d.error(codes::MISSING_KEY, message, &node.place);
        return None;
    };
    let text = context.as_text()?;
    if is_remote(text) {
        d.unsupported("a build context that is not a directory", &context.place);
        return None;
    }
    if of("privileged") == Some("true") {
        d.unsupported("a privileged build", &node.place);
    }
    let args = node.get("args").map(Node::entries).unwrap_or_default();
    let args = args.iter().filter_map(|entry| {
        // One without a value that nobody has given is the Dockerfile's own.
        Some((entry.key.to_string(), entry.value.as_text()?.to_owned()))
    });
    let context = Utf8PathBuf::from(text);
    let dockerfile = clean(&context.join(of("dockerfile").unwrap_or("Dockerfile")));
    let target = of("target").map(str::to_owned);
    Some(Build { dockerfile, context, target, args: args.collect() })
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
    let conditions = [
        ("service_started", Condition::ServiceStarted),
        ("service_healthy", Condition::ServiceHealthy),
        ("service_completed_successfully", Condition::ServiceCompletedSuccessfully),
    ];
    for entry in node.entries() {
        let Some(other) = d.name::<ServiceName>(&entry.key, &entry.key_place) else {
            continue;
        };
        let spot = Spot::Dependency(reading.name.clone(), other.clone());
        d.places.insert(spot, entry.key_place.clone());
        let condition = entry.value.get("condition");
        let condition = condition.and_then(|node| d.word(node, "`condition`", &conditions));
        let is = |key: &str, wanted: &str| {
            entry.value.get(key).and_then(Node::as_text).is_some_and(|text| text == wanted)
        };
        let dependency = Dependency {
            condition: condition.unwrap_or(Condition::ServiceStarted),
            restart: is("restart", "true"),
            required: !is("required", "false"),
        };
        reading.service.depends_on.insert(other, dependency);
    }
}
