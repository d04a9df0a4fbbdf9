//! Replicas and limits, which may be written in two places: on the service and below `deploy`.

use brickyard_core::Diagnostic;

use super::Decoder;
use super::service::Reading;
use crate::codes;
use crate::findings::AtPlace;
use crate::tree::{Node, Place};
use crate::types::{FailureAction, RestartPolicy, Service, UpdateConfig, UpdateOrder};

/// Values with their places, so that two that differ can be shown.
#[derive(Default)]
pub(super) struct Scale {
    replicas: Vec<(u64, Place)>,
    memory: Vec<(u64, Place)>,
    cpus: Vec<(u64, Place)>,
    pids: Vec<(u64, Place)>,
}

impl Scale {
    /// Moves the values into the service.
    pub(super) fn apply(&self, d: &mut Decoder<'_>, service: &mut Service) {
        if let Some(replicas) = agreed(d, &self.replicas, "`scale` and `deploy.replicas`") {
            service.replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
        }
        let memory = agreed(d, &self.memory, "`mem_limit` and `deploy.resources.limits.memory`");
        let cpus = agreed(d, &self.cpus, "`cpus` and `deploy.resources.limits.cpus`");
        let pids = agreed(d, &self.pids, "`pids_limit` and `deploy.resources.limits.pids`");
        // Zero means "no limit", as in Compose.
        service.memory_bytes = memory.filter(|bytes| *bytes > 0);
        service.cpu_millis = cpus.filter(|millis| *millis > 0);
        service.pids_max = pids.filter(|count| *count > 0);
    }

    /// `mem_limit`, `cpus`, `pids_limit` and `scale` of a service.
    pub(super) fn service_key(&mut self, d: &mut Decoder<'_>, key: &str, node: &Node) {
        let what = format!("`{key}`");
        let place = || node.place.clone();
        match key {
            "mem_limit" => self.memory.extend(d.bytes(node, &what).map(|bytes| (bytes, place()))),
            "cpus" => self.cpus.extend(d.cpu_millis(node, &what).map(|millis| (millis, place()))),
            "pids_limit" => {
                // Without a limit there is the default one; a bomb of processes stays inside.
                if node.as_text() == Some("-1") {
                    return d.unsupported("an unlimited number of processes", &node.place);
                }
                self.pids.extend(d.whole(node, &what).map(|count| (count, place())));
            }
            _ => self.replicas.extend(replicas(d, node)),
        }
    }
}

fn agreed(d: &mut Decoder<'_>, values: &[(u64, Place)], names: &str) -> Option<u64> {
    let (first, there) = values.first()?;
    if let Some((_, here)) = values.iter().find(|(value, _)| value != first) {
        let message = format!("{names} say different things");
        let found =
            Diagnostic::error(codes::CONFLICT, message).at_place(here, "").at_place(there, "");
        d.diagnostics.push(found);
    }
    Some(*first)
}

fn replicas(d: &mut Decoder<'_>, node: &Node) -> Option<(u64, Place)> {
    let count: u32 = d.whole(node, "the number of replicas")?;
    Some((u64::from(count), node.place.clone()))
}

/// `deploy`.
pub(super) fn deploy(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for entry in node.entries() {
        match entry.key.as_str() {
            "mode" => mode(d, &entry.value),
            "replicas" => reading.scale.replicas.extend(replicas(d, &entry.value)),
            "update_config" => update_config(d, &mut reading.service.update, &entry.value),
            "resources" => {
                if let Some(node) = entry.value.get("limits") {
                    limits(d, &mut reading.scale, node);
                }
            }
            // What the service itself says counts more, as in Compose.
            "restart_policy" if !reading.is_restart_written => {
                restart_policy(d, &mut reading.service, &entry.value);
            }
            _ => {}
        }
    }
}

fn mode(d: &mut Decoder<'_>, node: &Node) {
    let words = [("replicated", false), ("global", true)];
    if let Some(true) = d.word(node, "`mode`", &words) {
        let message = "`deploy.mode` has no effect: `global` is one instance on one machine";
        d.no_effect(message, &node.place);
    }
}

fn limits(d: &mut Decoder<'_>, scale: &mut Scale, node: &Node) {
    for entry in node.entries() {
        let node = &entry.value;
        let place = node.place.clone();
        match entry.key.as_str() {
            "cpus" => {
                let millis = d.cpu_millis(node, "`cpus`");
                scale.cpus.extend(millis.map(|millis| (millis, place)));
            }
            "memory" => {
                let bytes = d.bytes(node, "`memory`");
                scale.memory.extend(bytes.map(|bytes| (bytes, place)));
            }
            "pids" => {
                let count = d.whole(node, "`pids`");
                scale.pids.extend(count.map(|count| (count, place)));
            }
            _ => {}
        }
    }
}

fn restart_policy(d: &mut Decoder<'_>, service: &mut Service, node: &Node) {
    let most = node.get("max_attempts");
    let retries_max = most.and_then(|node| d.whole(node, "`max_attempts`"));
    let words = [
        ("none", RestartPolicy::No),
        ("on-failure", RestartPolicy::OnFailure { retries_max }),
        ("any", RestartPolicy::UnlessStopped),
    ];
    let condition = node.get("condition");
    let policy = condition.and_then(|node| d.word(node, "`condition`", &words));
    service.restart = match condition {
        Some(_) => policy.unwrap_or(RestartPolicy::No),
        None => RestartPolicy::UnlessStopped,
    };
}

fn update_config(d: &mut Decoder<'_>, update: &mut UpdateConfig, node: &Node) {
    let orders = [("stop-first", UpdateOrder::StopFirst), ("start-first", UpdateOrder::StartFirst)];
    let actions = [
        ("pause", FailureAction::Pause),
        ("continue", FailureAction::Continue),
        ("rollback", FailureAction::Rollback),
    ];
    for entry in node.entries() {
        let node = &entry.value;
        let what = format!("`{}`", entry.key);
        match entry.key.as_str() {
            "parallelism" => {
                update.parallelism = d.whole(node, &what).unwrap_or(update.parallelism);
            }
            "delay" => update.delay_ms = d.duration_ms(node, &what).unwrap_or(update.delay_ms),
            "monitor" => {
                update.monitor_ms = d.duration_ms(node, &what).unwrap_or(update.monitor_ms);
            }
            "order" => update.order = d.word(node, &what, &orders).unwrap_or(update.order),
            "failure_action" => {
                let action = d.word(node, &what, &actions);
                update.failure_action = action.unwrap_or(update.failure_action);
            }
            "max_failure_ratio" => {
                let ratio = d.parsed(node, &what, "a share from 0 to 1", |text| {
                    let ratio: f64 = text.parse().ok()?;
                    (0.0..=1.0).contains(&ratio).then_some(ratio)
                });
                let permille = ratio.map(|ratio| (ratio * 1000.0).round() as u32);
                update.max_failure_permille = permille.unwrap_or(update.max_failure_permille);
            }
            _ => {}
        }
    }
}
