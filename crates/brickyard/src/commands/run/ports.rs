//! Ports of one-off containers, listened on by the process that attends to them.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use brickyard_engine::EnvironmentFacts;
use brickyard_model::types::{PublishedPort, Transport};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

use crate::error::CommandError;

/// A port to listen on, and the port inside that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forward {
    pub(crate) listen: SocketAddr,
    pub(crate) target: u16,
}

/// Reads `[ADDRESS:]PORT:TARGET[/tcp]`.
pub(super) fn parse(text: &str) -> Result<Forward, CommandError> {
    let bad = || {
        CommandError::usage(format!("`{text}` is not a port to publish"))
            .hint("write PORT:TARGET or ADDRESS:PORT:TARGET; only TCP is supported yet")
    };
    let ports = text.strip_suffix("/tcp").unwrap_or(text);
    let mut parts = ports.rsplitn(3, ':');
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u16>().ok());
    let target = number(parts.next()).ok_or_else(bad)?;
    let port = number(parts.next()).ok_or_else(bad)?;
    let ip = match parts.next() {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(ip) => ip.trim_matches(['[', ']']).parse().map_err(|_| bad())?,
    };
    Ok(Forward { listen: SocketAddr::new(ip, port), target })
}

/// The ports that a service publishes.
pub(super) fn of_service(ports: &[PublishedPort]) -> Result<Vec<Forward>, CommandError> {
    let forward = |port: &PublishedPort| match (port.transport, port.published) {
        (Transport::Tcp, published) => {
            let ip = port.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let listen = SocketAddr::new(ip, published.unwrap_or(0));
            Ok(Forward { listen, target: port.target })
        }
        (Transport::Udp, _) => Err(CommandError::usage("UDP ports are not supported yet")),
    };
    ports.iter().map(forward).collect()
}

/// Begins to listen on all of them.
pub(super) async fn listen(forwards: &[Forward]) -> Result<Vec<(TcpListener, u16)>, CommandError> {
    let mut listeners = Vec::new();
    for forward in forwards {
        let at = forward.listen;
        let listener = TcpListener::bind(at)
            .await
            .map_err(|err| CommandError::refused(format!("cannot listen on {at}: {err}")))?;
        listeners.push((listener, forward.target));
    }
    Ok(listeners)
}

/// Passes connections on to `address` until it is dropped.
pub(super) async fn forward(
    listeners: Vec<(TcpListener, u16)>,
    address: Option<Ipv4Addr>,
) -> Infallible {
    let mut tasks = tokio::task::JoinSet::new();
    for (listener, target) in listeners {
        let at = SocketAddr::from((address.unwrap_or(Ipv4Addr::LOCALHOST), target));
        tasks.spawn(accept(listener, at));
    }
    loop {
        if tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

async fn accept(listener: TcpListener, at: SocketAddr) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            // Cancel safe: a connection that was not accepted stays in the queue.
            accepted = listener.accept() => {
                let Ok((mut outside, _)) = accepted else {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                };
                connections.spawn(async move {
                    if let Ok(mut inside) = TcpStream::connect(at).await {
                        let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The highest address, away from those that the agent gives out, moved by our own pid.
pub(super) fn last_free(facts: &EnvironmentFacts) -> Ipv4Addr {
    let step = usize::try_from(std::process::id() % 200).unwrap_or(0);
    let mut all: Vec<Ipv4Addr> = facts.addresses().collect();
    all.reverse();
    all.get(step).or(all.first()).copied().unwrap_or(facts.subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_compose_reads_them() {
        let read = |text| parse(text).map(|f| (f.listen.to_string(), f.target)).ok();
        assert_eq!(read("8080:80"), Some(("0.0.0.0:8080".to_owned(), 80)));
        assert_eq!(read("127.0.0.1:8080:80/tcp"), Some(("127.0.0.1:8080".to_owned(), 80)));
        assert_eq!(read("[::1]:8080:80"), Some(("[::1]:8080".to_owned(), 80)));
        for bad in ["80", "x:80", "8080:80/udp", "host:1:2", "99999:1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
