//! Health: Compose's `healthcheck` and the `health` of a provided endpoint.

use brickyard_core::spec::{Probe, ProbeKind};

use super::Decoder;
use crate::spec::extension;
use crate::tree::{Kind, Node};
use crate::types::Service;

/// Compose's defaults.
fn compose_probe(kind: ProbeKind) -> Probe {
    Probe {
        kind,
        interval_ms: 30_000,
        timeout_ms: 30_000,
        retries: 3,
        start_period_ms: 0,
        start_interval_ms: 5_000,
    }
}

/// Defaults of an endpoint's check. It is asked often until it passes, so that a deploy is quick, and
/// seldom afterwards: an end is noticed without it, and one that fails is repeated soon (see
/// [`ProbeKind::is_repeated_soon`]).
fn endpoint_probe(kind: ProbeKind) -> Probe {
    Probe {
        kind,
        interval_ms: 10_000,
        timeout_ms: 2_000,
        retries: 3,
        start_period_ms: 10_000,
        start_interval_ms: 100,
    }
}

/// `healthcheck` of a service.
pub(super) fn healthcheck(d: &mut Decoder<'_>, service: &mut Service, node: &Node) {
    let mut probe = compose_probe(ProbeKind::Exec { argv: Vec::new() });
    for entry in node.entries() {
        match entry.key.as_str() {
            "test" => match test(d, &entry.value) {
                Some(argv) if !argv.is_empty() => probe.kind = ProbeKind::Exec { argv },
                Some(_) => service.healthcheck_disabled = true,
                None => {}
            },
            "disable" => service.healthcheck_disabled |= entry.value.as_text() == Some("true"),
            key => {
                timing(d, &mut probe, key, &entry.value);
            }
        }
    }
    if service.healthcheck_disabled {
        return;
    }
    if node.get("test").is_none() {
        return d.unsupported("a `healthcheck` without `test`", &node.place);
    }
    service.healthcheck = Some(probe);
}

/// The command of a test; empty when it is `NONE`.
fn test(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<String>> {
    let shell = |text: String| vec!["/bin/sh".to_owned(), "-c".to_owned(), text];
    let mut words = d.texts(node, "`test`");
    let first = if words.is_empty() { String::new() } else { words.remove(0) };
    let argv = match (first.as_str(), words.len()) {
        ("NONE", 0) => Some(Vec::new()),
        ("CMD", 1..) => Some(words),
        ("CMD-SHELL", 1) => Some(shell(words.remove(0))),
        _ => None,
    };
    if argv.is_none() {
        let message = "a `test` list is [NONE], [CMD, PROGRAM, ...] or [CMD-SHELL, TEXT]";
        d.bad_value(message, &node.place);
    }
    argv
}

/// The keys that both kinds of check share. Returns whether `key` is one.
fn timing(d: &mut Decoder<'_>, probe: &mut Probe, key: &str, node: &Node) -> bool {
    let what = format!("`{key}`");
    let slot = match key {
        "interval" => &mut probe.interval_ms,
        "timeout" => &mut probe.timeout_ms,
        "start_period" => &mut probe.start_period_ms,
        "start_interval" => &mut probe.start_interval_ms,
        "retries" => {
            probe.retries = d.whole(node, &what).unwrap_or(probe.retries).max(1);
            return true;
        }
        _ => return false,
    };
    if let Some(millis) = d.duration_ms(node, &what) {
        // Zero means the default, as in Docker; a pause of zero would be a busy loop.
        if millis > 0 || key == "start_period" {
            *slot = millis;
        }
    }
    true
}

/// `health` of an endpoint: `tcp`, `http`, `none` or a mapping.
pub(super) fn endpoint_health(
    d: &mut Decoder<'_>,
    node: &Node,
    port: u16,
    protocol: &str,
) -> Option<Probe> {
    let http = |path: String| endpoint_probe(ProbeKind::Http { port, path });
    let tcp = || endpoint_probe(ProbeKind::Tcp { port });
    if matches!(node.kind, Kind::Scalar { .. }) {
        let words = [("tcp", 't'), ("http", 'h'), ("none", 'n')];
        return match d.word(node, "`health`", &words)? {
            't' => Some(tcp()),
            'h' => Some(http("/".to_owned())),
            _ => None,
        };
    }
    let mut probe = match protocol {
        "http" => http("/".to_owned()),
        _ => tcp(),
    };
    for entry in d.entries(node, "`health`") {
        match entry.key.as_str() {
            "path" => {
                let path = d.parsed(&entry.value, "`path`", "a path from `/` on", |text| {
                    let good = text.starts_with('/') && !text.contains(char::is_whitespace);
                    good.then(|| text.to_owned())
                });
                probe.kind = http(path.unwrap_or_else(|| "/".to_owned())).kind;
            }
            key if timing(d, &mut probe, key, &entry.value) => {}
            _ => d.unknown_brickyard_key(entry, &extension::HEALTH, "`health`"),
        }
    }
    Some(probe)
}
