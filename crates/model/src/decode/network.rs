//! `ports`, `expose`, `links` and networks.

use brickyard_core::{Alias, ServiceName};

use super::service::Reading;
use super::{Decoder, Spot};
use crate::canonical::port_range;
use crate::tree::Node;
use crate::types::{PublishedPort, Transport};

pub(super) fn ports(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in node.items() {
        if let Some(port) = port(d, item) {
            let spot = Spot::Port(reading.name.clone(), reading.service.ports.len());
            d.places.insert(spot, item.place.clone());
            reading.service.ports.push(port);
        }
    }
}

fn port(d: &mut Decoder<'_>, node: &Node) -> Option<PublishedPort> {
    let of = |key: &str| node.get(key).filter(|node| !node.is_null());
    let wanted = "a port from 1 to 65535";
    let number = |text: &str| text.parse().ok().filter(|port: &u16| *port != 0);
    let target = d.parsed(of("target")?, "`target`", wanted, number)?;
    let host_ip = match of("host_ip") {
        Some(node) => Some(d.parsed(node, "`host_ip`", "an IP address", |text| text.parse().ok())?),
        None => None,
    };
    match of("protocol").and_then(Node::as_text) {
        Some("tcp") | None => {}
        Some(other) => {
            let what = format!("publishing a port of {}", other.to_ascii_uppercase());
            d.unsupported(&what, &node.place);
            return None;
        }
    }
    let published = of("published").and_then(Node::as_text).filter(|text| *text != "0");
    let Some(published) = published else {
        d.unsupported("a published port without a number for the host", &node.place);
        return None;
    };
    if published.contains('-') {
        d.unsupported("a range of host ports for one port inside", &node.place);
        return None;
    }
    let published = d.parsed(of("published")?, "`published`", wanted, number)?;
    Some(PublishedPort { host_ip, published: Some(published), target, transport: Transport::Tcp })
}

pub(super) fn expose(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in node.items() {
        let wanted = "a port or a range, as 80, 80/tcp or 8000-8003";
        let range = d.parsed(item, "`expose`", wanted, |text| {
            let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            port_range(port).filter(|_| matches!(protocol, "tcp" | "udp"))
        });
        reading.wishes.expose.extend(range.into_iter().flatten());
    }
}

pub(super) fn links(d: &mut Decoder<'_>, reading: &mut Reading<'_>, node: &Node) {
    for item in node.items() {
        let text = item.as_text().unwrap_or_default();
        let (service, alias) = text.split_once(':').unwrap_or((text, text));
        let service = d.name::<ServiceName>(service, &item.place);
        let alias = d.name::<Alias>(alias, &item.place);
        if let (Some(service), Some(alias)) = (service, alias) {
            reading.wishes.links.push((alias, service));
        }
    }
}

/// A mode other than the one that the engine has.
pub(super) fn mode(d: &mut Decoder<'_>, node: &Node) {
    let text = node.as_text().unwrap_or_default();
    if text != "bridge" {
        d.unsupported(&format!("the network mode `{text}`"), &node.place);
    }
}

/// Networks that would keep services apart.
pub(super) fn networks(d: &mut Decoder<'_>, node: &Node) {
    let apart: Vec<&str> = node
        .entries()
        .iter()
        .map(|entry| entry.key.as_str())
        .filter(|name| *name != "default")
        .collect();
    if let Some(first) = node.entries().iter().find(|entry| entry.key != "default") {
        let message = format!(
            "`networks` keeps no services apart: all of an environment are on one network, {} too",
            apart.join(", ")
        );
        d.no_effect(message, &first.key_place);
    }
}
