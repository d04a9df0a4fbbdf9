//! Short ways of writing, written out.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use brickyard_core::Diagnostic;

use super::{Canonical, What, dependency};
use crate::codes;
use crate::shell_words;
use crate::spec::Short;
use crate::tree::{Entry, Kind, Node, Place};

/// Whether a value is written in its short way.
pub(super) fn is_short(short: Short, node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar { .. } => match short {
            Short::Names | Short::Dependencies | Short::Assignments | Short::Hosts => false,
            _ => !node.is_null(),
        },
        Kind::Sequence(_) => matches!(
            short,
            Short::Names | Short::Dependencies | Short::Assignments | Short::Ssh | Short::Hosts
        ),
        Kind::Mapping(_) => short == Short::Hosts,
    }
}

/// Entries of `NAME=TEXT`, or of a `NAME` with nothing; of a name that stands twice, the last counts.
pub(super) fn assignments(items: &[Node]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for item in items {
        let text = item.as_text().unwrap_or_default();
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Node::text_at(&item.place, value)),
            None => (text, Node::literal_at(&item.place, "")),
        };
        entries.retain(|known| known.key != key);
        entries.push(Entry { key: key.into(), key_place: item.place.clone(), value });
    }
    entries
}

impl Canonical<'_> {
    /// What a short way of writing stands for; nothing when it is wrong, which is reported.
    pub(super) fn expand(
        &mut self,
        node: &Node,
        short: Short,
        what: What<'_>,
    ) -> Option<Vec<Node>> {
        let place = &node.place;
        let text = node.as_text().unwrap_or_default();
        let named = |key| Node::mapping_at(place, [(key, Some(Node::text_at(place, text)))]);
        if self.keeps_variables && text.contains('$') && matches!(short, Short::Port | Short::Mount)
        {
            // What it stands for is known when its variables are.
            return Some(vec![node.clone()]);
        }
        Some(vec![match short {
            Short::Build => named("context"),
            Short::Extends => named("service"),
            Short::EnvFile | Short::Include => named("path"),
            Short::Config | Short::Secret => named("source"),
            // How it is shown, too; it is not asked for.
            Short::Limit => node.clone(),
            Short::Command => return self.command(node, text, what).map(|node| vec![node]),
            Short::Test => {
                let words = ["CMD-SHELL", text].map(|word| Node::text_at(place, word));
                Node::list_at(place, words.into())
            }
            Short::Names | Short::Dependencies => self.names(node, short, what)?,
            Short::Assignments | Short::Ssh => {
                let items = match &node.kind {
                    Kind::Sequence(items) => items.clone(),
                    _ => vec![node.clone()],
                };
                let kind = Kind::Mapping(assignments(&items));
                Node { kind, place: place.clone(), tag: None }
            }
            Short::Hosts => self.hosts(node, what)?,
            Short::Gpus => self.gpus(node, text, what)?,
            Short::Device => self.device(node, text)?,
            Short::Mount => self.mount(node, text)?,
            Short::Port => return self.ports(node, text),
        }])
    }

    fn command(&mut self, node: &Node, text: &str, what: What<'_>) -> Option<Node> {
        let Some(words) = shell_words::split(text) else {
            self.bad_value(format!("{what} has a quote that is never closed"), node);
            return None;
        };
        if shell_words::wants_a_shell(&words) {
            let message = format!("no shell reads {what}: its operators are passed on as words");
            let found = Diagnostic::warning(codes::NO_EFFECT, message)
                .hint("for a shell's operators write [\"/bin/sh\", \"-c\", \"...\"]");
            self.report(found, node);
        }
        let words = words.into_iter().map(|word| Node::text_at(&node.place, word));
        Some(Node::list_at(&node.place, words.collect()))
    }

    /// Names as a mapping: with nothing, or with what a dependency is when only its name is written.
    fn names(&mut self, node: &Node, short: Short, what: What<'_>) -> Option<Node> {
        let mut entries: Vec<Entry> = Vec::new();
        for item in node.items() {
            let Some(name) = item.as_text() else {
                self.wrong_type(What::ItemOf(&what), "text", item);
                continue;
            };
            let place = &item.place;
            let value = match short {
                Short::Dependencies => dependency(place, false),
                _ => Node::literal_at(place, ""),
            };
            if entries.iter().all(|known| known.key != name) {
                entries.push(Entry { key: name.into(), key_place: place.clone(), value });
            }
        }
        Some(Node { kind: Kind::Mapping(entries), place: node.place.clone(), tag: None })
    }

    /// `HOST=ADDRESS`, of lists of `HOST:ADDRESS` and of mappings.
    fn hosts(&mut self, node: &Node, what: What<'_>) -> Option<Node> {
        let mut lines = Vec::new();
        let mut line = |place: &Place, host: &str, address: &str| {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            lines.push(Node::text_at(place, format!("{host}={address}")));
        };
        for item in node.items() {
            let text = item.as_text().unwrap_or_default();
            let Some((host, address)) = text.split_once('=').or_else(|| text.split_once(':'))
            else {
                let message = format!("`{text}` is no item of {what}: it must be HOST:ADDRESS");
                self.bad_value(message, item);
                continue;
            };
            line(&item.place, host, address);
        }
        for entry in node.entries() {
            let one = std::slice::from_ref(&entry.value);
            let addresses = match &entry.value.kind {
                Kind::Sequence(items) => items,
                _ => one,
            };
            for address in addresses {
                match address.as_text() {
                    Some(text) => line(&address.place, &entry.key, text),
                    None => self.wrong_type(What::Key(&entry.key), "an address", address),
                }
            }
        }
        Some(Node::list_at(&node.place, lines))
    }

    /// `all` of a list of devices, or of their number.
    fn gpus(&mut self, node: &Node, text: &str, what: What<'_>) -> Option<Node> {
        let place = &node.place;
        let is_count = matches!(what, What::Key("count"));
        match (is_count, text) {
            (true, "all") => Some(Node::literal_at(place, "-1")),
            (true, _) => Some(node.clone()),
            (false, "all") => {
                let count = Some(Node::literal_at(place, "-1"));
                Some(Node::list_at(place, vec![Node::mapping_at(place, [("count", count)])]))
            }
            (false, _) => {
                self.bad_value(format!("{what} is `all` or a list, and this is `{text}`"), node);
                None
            }
        }
    }

    /// `HOST[:CONTAINER[:PERMISSIONS]]`.
    fn device(&mut self, node: &Node, text: &str) -> Option<Node> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, permissions) = match parts[..] {
            [source] => (source, source, "rwm"),
            [source, target] => (source, target, "rwm"),
            [source, target, permissions] => (source, target, permissions),
            _ => {
                self.bad_value(
                    format!("`{text}` is no device: it has more than three parts"),
                    node,
                );
                return None;
            }
        };
        let of = |text| Some(Node::text_at(&node.place, text));
        Some(Node::mapping_at(
            &node.place,
            [("source", of(source)), ("target", of(target)), ("permissions", of(permissions))],
        ))
    }

    /// `[SOURCE:]TARGET[:MODES]`.
    fn mount(&mut self, node: &Node, text: &str) -> Option<Node> {
        let place = &node.place;
        let of = |text: &str| Some(Node::text_at(place, text));
        let parts: Vec<&str> = text.splitn(3, ':').collect();
        if parts.iter().any(|part| part.is_empty()) {
            self.bad_value(format!("`{text}` is no mount: a part of it is empty"), node);
            return None;
        }
        let [source, target, rest @ ..] = &parts[..] else {
            return Some(Node::mapping_at(place, [("type", of("volume")), ("target", of(text))]));
        };
        let is_bind = source.starts_with(['.', '/', '~']);
        let mut read_only = None;
        let mut consistency = None;
        let mut options: Vec<(&str, Node)> = Vec::new();
        for mode in rest.iter().flat_map(|modes| modes.split(',')) {
            match mode {
                "ro" => read_only = Some(Node::literal_at(place, "true")),
                "rw" => read_only = None,
                "nocopy" if !is_bind => options.push(("nocopy", Node::literal_at(place, "true"))),
                "z" | "Z" if is_bind => options.push(("selinux", Node::text_at(place, mode))),
                "shared" | "slave" | "private" | "rshared" | "rslave" | "rprivate" if is_bind => {
                    options.push(("propagation", Node::text_at(place, mode)));
                }
                "cached" | "delegated" | "consistent" => consistency = of(mode),
                _ => {
                    let kind = if is_bind { "a directory or file" } else { "a volume" };
                    let message = format!("the mode `{mode}` means nothing for {kind}");
                    let found = Diagnostic::warning(codes::NO_EFFECT, message);
                    self.report(found, node);
                }
            }
        }
        let kind = if is_bind { "bind" } else { "volume" };
        let mut inner = Node::mapping_at(place, []);
        options.into_iter().for_each(|(key, value)| inner.put(key, value));
        Some(Node::mapping_at(
            place,
            [
                ("type", of(kind)),
                ("source", of(source)),
                ("target", of(target)),
                ("read_only", read_only),
                ("consistency", consistency),
                (kind, Some(inner)),
            ],
        ))
    }

    /// `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, where both may be ranges.
    fn ports(&mut self, node: &Node, text: &str) -> Option<Vec<Node>> {
        let ports = match short_ports(text.trim()) {
            Ok(ports) => ports,
            Err(reason) => {
                self.bad_value(format!("`{text}` is no port: {reason}"), node);
                return None;
            }
        };
        let place = &node.place;
        let of = |text: &str| Some(Node::text_at(place, text)).filter(|_| !text.is_empty());
        let nodes = ports.iter().map(|port| {
            Node::mapping_at(
                place,
                [
                    ("mode", of("ingress")),
                    ("host_ip", of(&port.host_ip)),
                    ("target", Some(Node::literal_at(place, port.target.to_string()))),
                    ("published", of(&port.published)),
                    ("protocol", of(&port.protocol)),
                ],
            )
        });
        Some(nodes.collect())
    }
}

/// What one short text of `ports` stands for, once for each port inside.
#[derive(Debug, PartialEq, Eq)]
struct ShortPort {
    host_ip: String,
    published: String,
    target: u16,
    protocol: String,
}

fn short_ports(text: &str) -> Result<Vec<ShortPort>, &'static str> {
    let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err("the protocol is tcp, udp or sctp");
    }
    let (host, container) = match address.rsplit_once(':') {
        Some((host, container)) => (host, container),
        None => ("", address),
    };
    let targets = port_range(container).ok_or("the container's port is not a number or range")?;
    let (host_ip, published) = host_side(host)?;
    let published: Vec<String> = match published {
        None => targets.clone().map(|_| String::new()).collect(),
        Some(range) if range.clone().count() == targets.clone().count() => {
            range.map(|port| port.to_string()).collect()
        }
        // One of them is taken when it starts.
        Some(range) if targets.clone().count() == 1 => {
            vec![format!("{}-{}", range.start(), range.end())]
        }
        Some(_) => return Err("both ranges must have the same length"),
    };
    let ports = targets.zip(published).map(|(target, published)| ShortPort {
        host_ip: host_ip.clone(),
        published,
        target,
        protocol: protocol.clone(),
    });
    let mut ports: Vec<ShortPort> = ports.collect();
    // Compose has them in the order of their texts.
    ports.sort_by_cached_key(|port| port.target.to_string());
    Ok(ports)
}

type HostSide = (String, Option<RangeInclusive<u16>>);

/// `IP`, `IP:PORT`, `IP:` or `PORT`; an IPv6 address may stand in brackets.
fn host_side(host: &str) -> Result<HostSide, &'static str> {
    let (ip, port) = match host.rsplit_once(':') {
        // An IPv6 address without a port of its own is told apart by its brackets.
        Some((ip, port)) if !host.ends_with(']') => (ip, port),
        _ if host.contains(']') || host.contains('.') => (host, ""),
        _ => ("", host),
    };
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return Err("the host's address is no IP address");
    }
    let port = match port {
        "" | "0" => None,
        port => Some(port_range(port).ok_or("the host's port is not a number or range")?),
    };
    Ok((ip.to_owned(), port))
}

/// `N` or `N-M`, from 1.
pub(crate) fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match short_ports(text) {
            Err(reason) => reason.to_owned(),
            Ok(ports) => {
                let or = |text: &str, other: &str| {
                    if text.is_empty() { other.to_owned() } else { text.to_owned() }
                };
                let one = |port: &ShortPort| {
                    let (ip, published) = (or(&port.host_ip, "*"), or(&port.published, "any"));
                    format!("{ip} {published} {} {}", port.target, port.protocol)
                };
                ports.iter().map(one).collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn short_ports_are_read_as_compose_reads_them() {
        for (text, expected) in [
            ("80", "* any 80 tcp"),
            ("8080:80", "* 8080 80 tcp"),
            ("8080:80/udp", "* 8080 80 udp"),
            ("8080:80/TCP", "* 8080 80 tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080 80 tcp"),
            ("127.0.0.1::80", "127.0.0.1 any 80 tcp"),
            ("[::1]:8080:80", "::1 8080 80 tcp"),
            ("::1:8080:80", "::1 8080 80 tcp"),
            ("9000-9001:80-81", "* 9000 80 tcp, * 9001 81 tcp"),
            ("9000-9009:80", "* 9000-9009 80 tcp"),
            ("9-10", "* any 10 tcp, * any 9 tcp"),
            ("80/dccp", "the protocol is tcp, udp or sctp"),
            ("0", "the container's port is not a number or range"),
            ("70000", "the container's port is not a number or range"),
            ("x:80", "the host's port is not a number or range"),
            ("1.2.3:80:80", "the host's address is no IP address"),
            ("1-3:5-6", "both ranges must have the same length"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
