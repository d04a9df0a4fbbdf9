//! Names that templates look up: `/etc/hosts` and the servers of `/etc/resolv.conf`, asked directly.
//!
//! The C library's own resolver loads parts of itself while it runs, which a static binary in an image
//! from scratch does not have. A name that is not found has no addresses, as for confd.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use brickyard_template::Service;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

/// How long one server may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Longest answer over UDP.
const ANSWER_BYTES_MAX: usize = 4096;

/// The addresses of a name, sorted by their text.
pub(crate) fn addresses(host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let found = in_hosts(&hosts, host);
    if !found.is_empty() {
        return found;
    }
    let config = Config::read();
    let mut all = BTreeSet::new();
    for name in config.candidates(host) {
        for kind in [RecordType::A, RecordType::AAAA] {
            for data in config.ask(&name, kind) {
                match data {
                    RData::A(address) => drop(all.insert(IpAddr::V4(address.0))),
                    RData::AAAA(address) => drop(all.insert(IpAddr::V6(address.0))),
                    _ => {}
                }
            }
        }
        if !all.is_empty() {
            break;
        }
    }
    all.into_iter().collect()
}

/// What provides a service in a domain.
pub(crate) fn services(service: &str, protocol: &str, domain: &str) -> Vec<Service> {
    let name = match (service, protocol) {
        ("", "") => domain.to_owned(),
        _ => format!("_{service}._{protocol}.{domain}"),
    };
    record(&name)
}

/// What an SRV record names.
pub(crate) fn record(name: &str) -> Vec<Service> {
    let config = Config::read();
    for name in config.candidates(name) {
        let found: Vec<Service> = config
            .ask(&name, RecordType::SRV)
            .into_iter()
            .filter_map(|data| match data {
                RData::SRV(found) => Some(Service {
                    target: found.target().to_string(),
                    port: found.port(),
                    priority: found.priority(),
                    weight: found.weight(),
                }),
                _ => None,
            })
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn in_hosts(hosts: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// Who is asked, and for which names.
#[derive(Debug, PartialEq, Eq)]
struct Config {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// So many dots make a name whole.
    dots: usize,
}

impl Config {
    fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut config = Self { servers: Vec::new(), search: Vec::new(), dots: 1 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
                    config.servers.extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                Some("search" | "domain") => {
                    config.search = words.map(str::to_owned).collect();
                }
                Some("options") => {
                    for option in words {
                        if let Some(Ok(dots)) = option.strip_prefix("ndots:").map(str::parse) {
                            config.dots = dots;
                        }
                    }
                }
                _ => {}
            }
        }
        if config.servers.is_empty() {
            config.servers.push(SocketAddr::from(([127, 0, 0, 1], 53)));
        }
        config
    }

    /// The names that a name may stand for, the likeliest first.
    fn candidates(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_owned()];
        }
        let whole = format!("{host}.");
        let mut names: Vec<String> = self
            .search
            .iter()
            .map(|domain| format!("{host}.{}.", domain.trim_end_matches('.')))
            .collect();
        match host.matches('.').count() >= self.dots {
            true => names.insert(0, whole),
            false => names.push(whole),
        }
        names
    }

    fn ask(&self, name: &str, kind: RecordType) -> Vec<RData> {
        let Ok(name) = Name::from_ascii(name) else { return Vec::new() };
        for server in &self.servers {
            if let Some(found) = ask(*server, &name, kind) {
                return found;
            }
        }
        Vec::new()
    }
}

/// Asks one server; `None` when it does not know, and another may.
fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> Option<Vec<RData>> {
    let mut question = Message::new();
    question.add_query(Query::query(name.clone(), kind)).set_recursion_desired(true);
    let here: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(here).ok()?;
    socket.set_read_timeout(Some(TIMEOUT)).ok()?;
    socket.connect(server).ok()?;
    socket.send(&question.to_vec().ok()?).ok()?;
    let mut buffer = [0; ANSWER_BYTES_MAX];
    let length = socket.recv(&mut buffer).ok()?;
    let answer = Message::from_vec(buffer.get(..length)?).ok()?;
    let is_known = matches!(answer.response_code(), ResponseCode::NoError | ResponseCode::NXDomain);
    if answer.id() != question.id() || !is_known {
        return None;
    }
    Some(answer.answers().iter().map(|record| record.data().clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_files_are_read() {
        let hosts =
            "127.0.0.1 localhost here # not this\n::1 localhost\nbad line\n10.0.0.1 Other\n";
        let text = |host: &str| {
            in_hosts(hosts, host).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text("localhost"), "127.0.0.1 ::1");
        assert_eq!(text("other"), "10.0.0.1");
        assert_eq!(text("this"), "");
        let config =
            Config::parse("nameserver 192.0.2.1\nsearch a.test b.test.\noptions ndots:2\n");
        assert_eq!(config.servers, ["192.0.2.1:53".parse().expect("an address")]);
        assert_eq!(config.candidates("x.y"), ["x.y.a.test.", "x.y.b.test.", "x.y."]);
        assert_eq!(config.candidates("x.y.z")[0], "x.y.z.");
        assert_eq!(config.candidates("x."), ["x."]);
    }
}
