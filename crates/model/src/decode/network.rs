//! `ports`, `expose` and `links`.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use brickyard_core::{Alias, ServiceName};

use super::service::Reading;
use super::{Decoder, Spot};
use crate::codes;
use crate::spec_keys;
use crate::tree::{Kind, Node};
use crate::types::{Condition, Dependency, PublishedPort, Transport};

const TRANSPORTS: [(&str, Transport); 2] = [("tcp", Transport::Tcp), ("udp", Transport::Udp)];

pub(super) fn ports(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in d.items(node, "`ports`") {
        let ports = match &item.kind {
            Kind::Mapping(_) => long_port(d, item).into_iter().collect(),
            Kind::Scalar { .. } | Kind::Sequence(_) => short_port(d, item),
        };
        for port in ports {
            if port.transport == Transport::Udp {
                d.unsupported("publishing a UDP port", &item.place);
            } else if port.published.is_none() {
                d.unsupported("a published port without a number for the host", &item.place);
            }
            let spot = Spot::Port(reading.name.clone(), reading.service.ports.len());
            d.places.insert(spot, item.place.clone());
            reading.service.ports.push(port);
        }
    }
}

/// `[IP:][HOST:]CONTAINER[/PROTOCOL]`, where ports may be ranges of the same length.
fn short_port(d: &mut Decoder<'_>, node: &Node) -> Vec<PublishedPort> {
    let Some(text) = d.text(node, "an item of `ports`") else {
        return Vec::new();
    };
    match parse_short(text.trim()) {
        Ok(ports) => ports,
        Err(reason) => {
            let message = format!("`{text}` is no port: {reason}");
            d.bad_value(message, &node.place);
            Vec::new()
        }
    }
}

fn parse_short(text: &str) -> Result<Vec<PublishedPort>, &'static str> {
    let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let transport = TRANSPORTS
        .iter()
        .find(|(word, _)| *word == protocol)
        .map(|(_, transport)| *transport)
        .ok_or("the protocol is tcp or udp")?;
    let (host, container) = match address.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, address),
    };
    let target = port_range(container).ok_or("the container's port is not a number or range")?;
    let (host_ip, published) = match host {
        None => (None, None),
        Some(host) => host_side(host)?,
    };
    let published: Vec<Option<u16>> = match published {
        None => target.clone().map(|_| None).collect(),
        Some(range) if range.len() == target.len() => range.map(Some).collect(),
        Some(_) if target.len() == 1 => {
            return Err("a range of host ports for one container port is not supported yet");
        }
        Some(_) => return Err("both ranges must have the same length"),
    };
    let ports = target.zip(published);
    Ok(ports
        .map(|(target, published)| PublishedPort { host_ip, published, target, transport })
        .collect())
}

type HostSide = (Option<IpAddr>, Option<RangeInclusive<u16>>);

/// `IP`, `IP:PORT`, `IP:` or `PORT`; an IPv6 address may stand in brackets.
fn host_side(host: &str) -> Result<HostSide, &'static str> {
    let (ip, port) = match host.rsplit_once(':') {
        // An IPv6 address without a port of its own is told apart by its brackets.
        Some((ip, port)) if !host.ends_with(']') => (Some(ip), port),
        _ if host.contains(']') || host.contains('.') => (Some(host), ""),
        _ => (None, host),
    };
    let ip = match ip.map(|ip| ip.trim_start_matches('[').trim_end_matches(']')) {
        None => None,
        Some(ip) => Some(ip.parse().map_err(|_| "the host's address is no IP address")?),
    };
    let port = match port {
        "" | "0" => None,
        port => Some(port_range(port).ok_or("the host's port is not a number or range")?),
    };
    Ok((ip, port))
}

/// `N` or `N-M`, from 1.
fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

fn long_port(d: &mut Decoder<'_>, node: &Node) -> Option<PublishedPort> {
    let mut port =
        PublishedPort { host_ip: None, published: None, target: 0, transport: Transport::Tcp };
    for entry in d.entries(node, "an item of `ports`") {
        let value = &entry.value;
        match entry.key.as_str() {
            "target" => port.target = d.parsed(value, "`target`", "a port", parse_port)?,
            "published" => {
                let wanted = "one port; a range is not supported yet";
                let published = d.parsed(value, "`published`", wanted, |text| text.parse().ok());
                port.published = published.filter(|port| *port != 0);
            }
            "host_ip" => {
                let wanted = "an IP address";
                port.host_ip = d.parsed(value, "`host_ip`", wanted, |text| text.parse().ok());
            }
            "protocol" => {
                let transport = d.word(value, "`protocol`", &TRANSPORTS);
                port.transport = transport.unwrap_or(Transport::Tcp);
            }
            // Only labels for people and for other orchestrators.
            "name" | "app_protocol" => {}
            _ => d.unknown_key(entry, spec_keys::PORT, "`ports`"),
        }
    }
    if port.target == 0 {
        d.error(codes::MISSING_KEY, "`target` is missing", &node.place);
        return None;
    }
    Some(port)
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

pub(super) fn expose(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in d.items(node, "`expose`") {
        let wanted = "a port or a range, as 80, 80/tcp or 8000-8003";
        let range = d.parsed(item, "`expose`", wanted, |text| {
            let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let known = TRANSPORTS.iter().any(|(word, _)| *word == protocol);
            port_range(port).filter(|_| known)
        });
        reading.wishes.expose.extend(range.into_iter().flatten());
    }
}

pub(super) fn links(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in d.items(node, "`links`") {
        let Some(text) = d.text(item, "an item of `links`") else {
            continue;
        };
        let (service, alias) = text.split_once(':').unwrap_or((&text, &text));
        let service = d.name::<ServiceName>(service, &item.place);
        let alias = d.name::<Alias>(alias, &item.place);
        let (Some(service), Some(alias)) = (service, alias) else {
            continue;
        };
        // A link also orders the start, as in Compose.
        let spot = Spot::Dependency(reading.name.clone(), service.clone());
        d.places.entry(spot).or_insert_with(|| item.place.clone());
        reading.wishes.links.push((alias, service));
    }
}

/// Adds the dependencies that links imply, where `depends_on` says nothing.
pub(crate) fn link_dependency() -> Dependency {
    Dependency { condition: Condition::ServiceStarted, restart: false, required: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse_short(text) {
            Err(reason) => reason.to_owned(),
            Ok(ports) => {
                let one = |port: &PublishedPort| {
                    let ip = port.host_ip.map_or("*".to_owned(), |ip| ip.to_string());
                    let published = port.published.map_or("any".into(), |port| port.to_string());
                    format!("{ip} {published} {} {:?}", port.target, port.transport)
                };
                ports.iter().map(one).collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn short_ports_are_read_as_compose_reads_them() {
        for (text, expected) in [
            ("80", "* any 80 Tcp"),
            ("8080:80", "* 8080 80 Tcp"),
            ("8080:80/udp", "* 8080 80 Udp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080 80 Tcp"),
            ("127.0.0.1::80", "127.0.0.1 any 80 Tcp"),
            ("[::1]:8080:80", "::1 8080 80 Tcp"),
            ("::1:8080:80", "::1 8080 80 Tcp"),
            ("9000-9001:80-81", "* 9000 80 Tcp, * 9001 81 Tcp"),
            ("80-81", "* any 80 Tcp, * any 81 Tcp"),
            ("80/sctp", "the protocol is tcp or udp"),
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
